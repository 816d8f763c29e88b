//! The figures of a run, as JSON and as tables.

use std::time::Duration;

use serde::Serialize;

use super::super::scene::Scene;
use super::super::{Options, PoolerMode};
use super::books::Books;
use super::witness::Witness;
use super::{Pace, Run};
use crate::cli::table::{Table, numbers, words};

/// What a run showed.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    seconds: f64,
    lease_seconds: f64,
    pooler: &'static str,
    senders: Vec<SenderRow>,
    events: Vec<EventRow>,
    books: Books,
}

/// One sender, by the ledger.
#[derive(Debug, Serialize)]
struct SenderRow {
    sender: String,
    rate: f64,
    requests: usize,
    /// In any window of one second, over the whole run and what came before it.
    most_in_one_second: usize,
    /// The shortest time in which as many as the rate and one more came, and when in the run that began.
    closest_ms: f64,
    closest_at_seconds: f64,
    share_of_rate: f64,
    /// Without the time in which nobody could work it.
    share_while_owned: f64,
    longest_gap_ms: u128,
}

/// Something that happened, and what it cost the senders it happened to.
#[derive(Debug, Serialize)]
struct EventRow {
    what: &'static str,
    at_seconds: f64,
    senders: usize,
    /// Until its cause was gone: other workers had the senders, or the database was there again.
    over_after_ms: Option<u128>,
    longest_gap_ms: u128,
    /// The median of the senders' longest gaps.
    median_gap_ms: u128,
    /// Messages in doubt when it happened, and when the next thing did.
    uncertain_before: i64,
    uncertain_after: i64,
}

impl Report {
    pub(super) fn of(
        options: &Options,
        scene: &Scene,
        fleet: &[Pace],
        run: &Run,
        (from, until): (Duration, Duration),
        books: Books,
    ) -> Self {
        let witness = Witness::of(scene);
        let senders = fleet.iter().map(|pace| {
            let sender = pace.sender.as_str();
            let changes = run.journal.changes();
            let unowned = run
                .events
                .iter()
                .map(|event| event.unowned(sender, &changes));
            let unowned: Duration = unowned.sum();
            let requests = witness.requests(sender, from, until);
            let share = |time: Duration| requests as f64 / (pace.rate * time.as_secs_f64());
            let second = Duration::from_secs(1);
            let closest = witness.closest(sender, pace.rate as usize);
            let (closest, closest_at) = closest.unwrap_or((second, from));
            SenderRow {
                sender: sender.to_owned(),
                rate: pace.rate,
                requests,
                most_in_one_second: scene.simulator.ledger().max_in_any_window(sender, second),
                closest_ms: closest.as_secs_f64() * 1_000.0,
                closest_at_seconds: closest_at.as_secs_f64() - from.as_secs_f64(),
                share_of_rate: share(until - from),
                share_while_owned: share((until - from).saturating_sub(unowned)),
                longest_gap_ms: witness.longest_gap(sender, from, until).as_millis(),
            }
        });
        let ends = run
            .events
            .iter()
            .skip(1)
            .map(|event| (event.at, event.uncertain))
            .chain([(until, run.uncertain)]);
        let events = run
            .events
            .iter()
            .zip(ends)
            .map(|(event, (end, uncertain))| {
                let gap = |sender: &String| witness.longest_gap(sender, event.at, end).as_millis();
                let mut gaps: Vec<u128> = event.senders.iter().map(gap).collect();
                gaps.sort_unstable();
                EventRow {
                    what: event.kind.in_words(),
                    at_seconds: event.at.saturating_sub(from).as_secs_f64(),
                    senders: event.senders.len(),
                    over_after_ms: event.over_at.map(|over| (over - event.at).as_millis()),
                    longest_gap_ms: gaps.last().copied().unwrap_or(0),
                    median_gap_ms: gaps.get(gaps.len() / 2).copied().unwrap_or(0),
                    uncertain_before: event.uncertain,
                    uncertain_after: uncertain,
                }
            });
        Self {
            seconds: (until - from).as_secs_f64(),
            lease_seconds: run.lease.lasts.as_secs_f64(),
            pooler: match options.pooler {
                None => "none",
                Some(PoolerMode::Session) => "session",
                Some(PoolerMode::Transaction) => "transaction",
            },
            senders: senders.collect(),
            events: events.collect(),
            books,
        }
    }

    /// What must never be, in words.
    pub(super) fn broken_promises(&self) -> Vec<String> {
        let books = &self.books;
        let mut broken = Vec::new();
        for (count, what) in [
            (books.duplicates, "messages were taken twice"),
            (books.lost, "messages were lost"),
            (books.uncertain_after, "messages stayed uncertain"),
        ] {
            if count > 0 {
                broken.push(format!("{count} {what}"));
            }
        }
        let too_fast = |row: &&SenderRow| row.most_in_one_second as f64 > row.rate.ceil();
        let too_fast = self.senders.iter().filter(too_fast).count();
        if too_fast > 0 {
            broken.push(format!("{too_fast} senders went too fast"));
        }
        broken
    }

    pub(super) fn print(&self) {
        println!(
            "fleet: {:.0} s, lease {} s, pooler {}\n",
            self.seconds, self.lease_seconds, self.pooler
        );
        let mut senders = Table::new([
            words("SENDER"),
            numbers("RATE"),
            numbers("REQUESTS"),
            numbers("MOST IN 1 S"),
            numbers("RATE + 1 IN MS"),
            numbers("AT S"),
            numbers("OF RATE"),
            numbers("WHILE OWNED"),
            numbers("LONGEST GAP MS"),
        ]);
        for row in &self.senders {
            senders.row([
                row.sender.clone(),
                format!("{:.0}", row.rate),
                row.requests.to_string(),
                row.most_in_one_second.to_string(),
                format!("{:.1}", row.closest_ms),
                format!("{:.1}", row.closest_at_seconds),
                percent(row.share_of_rate),
                percent(row.share_while_owned),
                row.longest_gap_ms.to_string(),
            ]);
        }
        println!("{}", senders.render(false));
        let mut events = Table::new([
            numbers("AT S"),
            words("WHAT"),
            numbers("SENDERS"),
            numbers("OVER AFTER MS"),
            numbers("MEDIAN GAP MS"),
            numbers("LONGEST GAP MS"),
            numbers("UNCERTAIN BEFORE"),
            numbers("AFTER"),
        ]);
        for row in &self.events {
            events.row([
                format!("{:.1}", row.at_seconds),
                row.what.to_owned(),
                row.senders.to_string(),
                row.over_after_ms
                    .map_or_else(String::new, |over| over.to_string()),
                row.median_gap_ms.to_string(),
                row.longest_gap_ms.to_string(),
                row.uncertain_before.to_string(),
                row.uncertain_after.to_string(),
            ]);
        }
        println!("{}", events.render(false));
        let books = &self.books;
        for (what, count) in [
            ("messages written", books.written),
            ("requests at WhatsApp", books.requests),
            ("accepted there", books.accepted),
            ("uncertain before settling", books.uncertain_before),
            ("uncertain after", books.uncertain_after),
            ("duplicates", books.duplicates),
            ("lost", books.lost),
        ] {
            println!("{what:<26} {count:>10}");
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
