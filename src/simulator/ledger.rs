//! The witness: every request as it came in, and what was done with it.
//!
//! A message is entered as accepted before anything of an answer leaves, so what a sender can know is never ahead
//! of the ledger. Tests and benches compare it with the database: nothing lost, nothing twice, in order, not too fast.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::entry::{Decision, Entry};
use super::message::recipient_key;

/// How much the ledger remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerSettings {
    /// Entries kept; beyond it the oldest are dropped. Counts go on counting.
    pub capacity: usize,
    /// Keep no bodies: for runs of millions.
    pub compact: bool,
    /// Also keep when each status was told.
    pub tellings: bool,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self {
            capacity: 200_000,
            compact: false,
            tellings: false,
        }
    }
}

/// How many of each there were since the start, or since the ledger was cleared; forgets nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All requests to send.
    pub requests: u64,
    /// Messages taken.
    pub accepted: u64,
    /// Mark-as-reads done.
    pub acknowledged: u64,
    /// Requests answered with an error.
    pub refused: u64,
    /// Requests neither taken nor answered.
    pub unanswered: u64,
    /// Refusals by Meta's code.
    pub by_code: BTreeMap<u32, u64>,
    /// Requests by the fault applied.
    pub by_fault: BTreeMap<String, u64>,
    /// Messages taken by number.
    pub accepted_by_number: BTreeMap<String, u64>,
    /// Entries dropped because the ledger was full.
    pub dropped: u64,
}

/// A handle on the ledger; clones see the same one.
#[derive(Clone, Debug)]
pub struct Ledger {
    settings: LedgerSettings,
    book: Arc<Mutex<Book>>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Book {
    next_index: u64,
    entries: VecDeque<Arc<Entry>>,
    counts: Counts,
}

impl Ledger {
    pub(super) fn new(settings: LedgerSettings) -> Self {
        Self {
            settings,
            book: Arc::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Enters a request; its index is given here.
    pub(super) fn enter(&self, mut entry: Entry) -> Arc<Entry> {
        if self.settings.compact {
            entry.body = Bytes::new();
            entry.text = None;
        }
        let entry = self.book().enter(entry, self.settings.capacity);
        self.changes.send_modify(|changes| *changes += 1);
        entry
    }

    /// All entries still kept, in the order in which the requests came.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.book().entries.iter().cloned().collect()
    }

    /// At most `limit` entries from this index on.
    pub fn since(&self, index: u64, limit: usize) -> Vec<Arc<Entry>> {
        let book = self.book();
        book.entries
            .iter()
            .filter(|entry| entry.index >= index)
            .take(limit)
            .cloned()
            .collect()
    }

    /// All requests for this recipient, in order; `+` and separators do not matter.
    pub fn requests_for(&self, recipient: &str) -> Vec<Arc<Entry>> {
        let key = recipient_key(recipient);
        self.select(|entry| recipient_key(&entry.recipient) == key)
    }

    /// What was accepted for this recipient, in order; `+` and separators do not matter.
    pub fn accepted_for(&self, recipient: &str) -> Vec<Arc<Entry>> {
        let key = recipient_key(recipient);
        self.select(|entry| entry.wamid().is_some() && recipient_key(&entry.recipient) == key)
    }

    /// All that was accepted, in order.
    pub fn accepted(&self) -> Vec<Arc<Entry>> {
        self.select(|entry| entry.wamid().is_some())
    }

    /// The message with this id.
    pub fn find(&self, wamid: &str) -> Option<Arc<Entry>> {
        self.book()
            .entries
            .iter()
            .rev()
            .find(|entry| entry.wamid() == Some(wamid))
            .cloned()
    }

    fn select(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
        self.book()
            .entries
            .iter()
            .filter(|entry| wanted(entry))
            .cloned()
            .collect()
    }

    /// How many messages were accepted.
    pub fn accepted_count(&self) -> u64 {
        self.book().counts.accepted
    }

    /// How many requests to send came in.
    pub fn request_count(&self) -> u64 {
        self.book().counts.requests
    }

    /// All counts.
    pub fn counts(&self) -> Counts {
        self.book().counts.clone()
    }

    /// Messages accepted more than once, by [`Entry::message_identity`].
    pub fn duplicates(&self) -> Vec<(String, Vec<Arc<Entry>>)> {
        self.duplicates_by(|entry| Some(entry.message_identity()))
    }

    /// Messages accepted more than once, told apart by a key of the caller's; entries without a key do not count.
    pub fn duplicates_by<K: Hash + Eq>(
        &self,
        key: impl Fn(&Entry) -> Option<K>,
    ) -> Vec<(K, Vec<Arc<Entry>>)> {
        let mut groups = HashMap::<K, Vec<Arc<Entry>>>::new();
        for entry in self.accepted() {
            if let Some(key) = key(&entry) {
                groups.entry(key).or_default().push(entry);
            }
        }
        groups
            .into_iter()
            .filter(|(_, entries)| entries.len() > 1)
            .collect()
    }

    /// The most requests that any window of this length held for a number, refused ones among them. A window holds
    /// its first moment and not its last: two requests exactly `window` apart are never in one.
    pub fn max_in_any_window(&self, number: &str, window: Duration) -> usize {
        self.max_in_window_of(window, |entry| &*entry.number == number)
    }

    /// The same for one number and one recipient.
    pub fn max_for_pair_in_any_window(
        &self,
        number: &str,
        recipient: &str,
        window: Duration,
    ) -> usize {
        let key = recipient_key(recipient);
        self.max_in_window_of(window, |entry| {
            &*entry.number == number && recipient_key(&entry.recipient) == key
        })
    }

    fn max_in_window_of(&self, window: Duration, wanted: impl Fn(&Entry) -> bool) -> usize {
        let mut times: Vec<Duration> = self
            .book()
            .entries
            .iter()
            .filter(|entry| wanted(entry))
            .map(|entry| entry.at)
            .collect();
        // Requests of two connections may be entered a moment out of the order in which they were timed.
        times.sort_unstable();
        let mut first = 0;
        let mut most = 0;
        for (last, at) in times.iter().enumerate() {
            while *at - times[first] >= window {
                first += 1;
            }
            most = most.max(last + 1 - first);
        }
        most
    }

    /// Waits until `count` messages have been accepted since the start.
    pub async fn wait_for_accepted(&self, count: u64) {
        self.wait_until(|ledger| ledger.accepted_count() >= count)
            .await;
    }

    /// Waits until `count` requests have come in since the start.
    pub async fn wait_for_requests(&self, count: u64) {
        self.wait_until(|ledger| ledger.request_count() >= count)
            .await;
    }

    /// Waits until the ledger shows what is wanted; looks at every new entry, and never sleeps.
    pub async fn wait_until(&self, shows: impl Fn(&Ledger) -> bool) {
        // Subscribed before the first look, so that no entry falls between the two.
        let mut changes = self.changes.subscribe();
        while !shows(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Forgets all entries and counts. Indexes go on.
    pub fn clear(&self) {
        let mut book = self.book();
        book.entries.clear();
        book.counts = Counts::default();
    }

    pub(super) fn page(&self, recipient: Option<&str>, since: u64, limit: usize) -> Value {
        let entries: Vec<_> = match recipient {
            Some(recipient) => {
                let entries = self.requests_for(recipient).into_iter();
                entries
                    .filter(|entry| entry.index >= since)
                    .take(limit)
                    .collect()
            }
            None => self.since(since, limit),
        };
        let next = entries.last().map_or(since, |entry| entry.index + 1);
        let entries: Vec<Value> = entries.iter().map(|entry| entry.to_json()).collect();
        json!({ "entries": entries, "next": next })
    }

    pub(super) fn summary(&self) -> Value {
        let counts = self.counts();
        let fastest: BTreeMap<&String, usize> = counts
            .accepted_by_number
            .keys()
            .map(|number| {
                (
                    number,
                    self.max_in_any_window(number, Duration::from_secs(1)),
                )
            })
            .collect();
        json!({
            "requests": counts.requests,
            "accepted": counts.accepted,
            "acknowledged": counts.acknowledged,
            "refused": counts.refused,
            "unanswered": counts.unanswered,
            "accepted_twice": self.duplicates().len(),
            "refused_by_code": counts.by_code,
            "by_fault": counts.by_fault,
            "accepted_by_number": counts.accepted_by_number,
            "most_requests_in_one_second": fastest,
            "entries_dropped": counts.dropped,
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book
            .lock()
            .expect("nobody panics with the ledger open")
    }
}

impl Book {
    fn enter(&mut self, mut entry: Entry, capacity: usize) -> Arc<Entry> {
        entry.index = self.next_index;
        self.next_index += 1;
        self.counts.count(&entry);
        let entry = Arc::new(entry);
        self.entries.push_back(entry.clone());
        while self.entries.len() > capacity {
            self.entries.pop_front();
            self.counts.dropped += 1;
        }
        entry
    }
}

impl Counts {
    fn count(&mut self, entry: &Entry) {
        self.requests += 1;
        match &entry.decision {
            Decision::Accepted { .. } => {
                self.accepted += 1;
                match self.accepted_by_number.get_mut(&*entry.number) {
                    Some(count) => *count += 1,
                    None => drop(self.accepted_by_number.insert(entry.number.to_string(), 1)),
                }
            }
            Decision::Acknowledged => self.acknowledged += 1,
            Decision::Refused { code, .. } => {
                self.refused += 1;
                if let Some(code) = code {
                    *self.by_code.entry(*code).or_default() += 1;
                }
            }
            Decision::Unanswered => self.unanswered += 1,
        }
        if let Some(fault) = entry.fault {
            *self.by_fault.entry(fault.to_string()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(
        at_ms: u64,
        recipient: &str,
        callback_data: Option<&str>,
        decision: Decision,
    ) -> Entry {
        Entry {
            index: 0,
            at: Duration::from_millis(at_ms),
            unix_ms: 0,
            number: "1".into(),
            path: String::new(),
            recipient: recipient.to_owned(),
            kind: "text".to_owned(),
            body: Bytes::from_static(b"{}"),
            callback_data: callback_data.map(str::to_owned),
            text: Some("hello".to_owned()),
            decision,
            fault: None,
        }
    }

    fn accepted(wamid: &str) -> Decision {
        Decision::Accepted {
            wamid: wamid.to_owned(),
        }
    }

    #[test]
    fn two_attempts_of_one_message_are_a_duplicate_and_two_messages_are_not() {
        let ledger = Ledger::new(LedgerSettings::default());
        ledger.enter(entry(0, "+1", Some("w1-7-1-abc"), accepted("a")));
        ledger.enter(entry(1, "+1", Some("w1-8-1-abc"), accepted("b")));
        assert!(ledger.duplicates().is_empty());

        ledger.enter(entry(2, "+1", Some("w1-7-2-def"), Decision::Unanswered));
        assert!(
            ledger.duplicates().is_empty(),
            "only what was accepted counts"
        );

        ledger.enter(entry(3, "+1", Some("w1-7-3-fff"), accepted("c")));
        let duplicates = ledger.duplicates();
        assert_eq!(duplicates.len(), 1);
        assert_eq!(duplicates[0].0, "w1-7");
        assert_eq!(duplicates[0].1.len(), 2);
    }

    #[test]
    fn without_callback_data_recipient_and_text_tell_messages_apart() {
        let ledger = Ledger::new(LedgerSettings::default());
        ledger.enter(entry(0, "+1 650", None, accepted("a")));
        ledger.enter(entry(1, "+2", None, accepted("b")));
        ledger.enter(entry(2, "1650", None, accepted("c")));
        assert_eq!(ledger.duplicates().len(), 1);
    }

    #[test]
    fn a_window_holds_its_first_moment_and_not_its_last() {
        let ledger = Ledger::new(LedgerSettings::default());
        for at in [0, 400, 999, 1000, 1399, 1400] {
            ledger.enter(entry(at, "1", None, Decision::Unanswered));
        }
        assert_eq!(ledger.max_in_any_window("1", Duration::from_secs(1)), 4);
        assert_eq!(ledger.max_in_any_window("2", Duration::from_secs(1)), 0);
    }

    #[test]
    fn a_full_ledger_drops_its_oldest_entries_and_goes_on_counting() {
        let ledger = Ledger::new(LedgerSettings {
            capacity: 2,
            compact: true,
            tellings: false,
        });
        for n in 0..5 {
            ledger.enter(entry(n, "1", None, accepted(&n.to_string())));
        }
        assert_eq!(ledger.accepted_count(), 5);
        assert_eq!(ledger.counts().dropped, 3);
        let kept: Vec<u64> = ledger.all().iter().map(|entry| entry.index).collect();
        assert_eq!(kept, [3, 4]);
        assert!(ledger.all()[0].body.is_empty());
    }
}
