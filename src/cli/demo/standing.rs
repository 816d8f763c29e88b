//! Where a message stands, in the words of a person.
//!
//! All of it is read from the database, from the same view and tables that any application reads: the words cannot know
//! what was planned for a message, only what has become of it.

use crate::store::connections::Connections;

/// A message and its requests so far, as `watch.sql` reads them.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Seen {
    pub(super) id: i64,
    pub(super) recipient: String,
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) status: Option<String>,
    pub(super) attempts: i32,
    pub(super) waiting_for: Option<String>,
    pub(super) error_code: Option<i64>,
    pub(super) error_message: Option<String>,
    pub(super) has_wamid: bool,
    /// Until it is due; of an uncertain one, until silence counts.
    pub(super) due_in_s: f64,
    pub(super) learned_from: Option<String>,
    pub(super) accepted_attempt: Option<i32>,
    pub(super) told_attempts: Vec<i32>,
    pub(super) outcomes: Vec<String>,
    /// As they came.
    pub(super) statuses: Vec<String>,
}

/// How it feels, which decides the colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing has happened to it yet, or no more will.
    Quiet,
    /// On its way.
    Moving,
    /// We do not know.
    Doubt,
    /// It arrived.
    Good,
    /// It was seen.
    Seen,
    /// It never will.
    Bad,
}

/// Where a message stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Standing {
    pub(super) words: String,
    pub(super) tone: Tone,
    /// Seconds until it goes on; they count down, so they are no news.
    pub(super) goes_on_in_s: Option<u64>,
}

/// The newest `limit` messages, oldest first.
pub(super) async fn look(pool: &Connections, limit: i64) -> sqlx::Result<Vec<Seen>> {
    let mut seen: Vec<Seen> = sqlx::query_as(include_str!("watch.sql"))
        .bind(limit)
        .fetch_all(pool)
        .await?;
    seen.reverse();
    Ok(seen)
}

impl Seen {
    /// Whether it is queued, waiting, sending or uncertain.
    pub(super) fn is_open(&self) -> bool {
        !matches!(
            self.state.as_str(),
            "accepted" | "failed" | "expired" | "cancelled"
        )
    }

    /// Whether one of its requests ended so.
    pub(super) fn met(&self, outcome: &str) -> bool {
        self.times_met(outcome) > 0
    }

    fn times_met(&self, outcome: &str) -> usize {
        self.outcomes.iter().filter(|met| *met == outcome).count()
    }

    /// Whether it was accepted by a request that came after one whose answer was lost.
    pub(super) fn was_sent_again(&self) -> bool {
        let lost = self
            .told_attempts
            .iter()
            .zip(&self.outcomes)
            .filter(|(_, outcome)| *outcome == "uncertain")
            .map(|(attempt, _)| *attempt)
            .max();
        lost.is_some_and(|lost| self.accepted_attempt.is_some_and(|it| it > lost))
    }

    /// Whether a webhook told of its acceptance, because the answer was lost.
    pub(super) fn was_proved_by_webhook(&self) -> bool {
        self.learned_from.as_deref() == Some("webhook")
    }

    /// What was odd about how WhatsApp told of it, and that it did not matter.
    pub(super) fn odd_news(&self) -> Option<&'static str> {
        let place = |wanted: &str| self.statuses.iter().position(|status| status == wanted);
        let way = ["sent", "delivered", "read"];
        let times = |wanted: &str| self.statuses.iter().filter(|it| *it == wanted).count();
        if way.iter().any(|status| times(status) > 1) {
            return Some("Its statuses came twice. Each counts once.");
        }
        if place("read").is_some() && place("delivered").is_none() {
            return Some(
                "Only “read” was told, as it is of a chat that is open. Who has read it has got it.",
            );
        }
        // Not every message is read, so two statuses may be all there are.
        let came: Vec<usize> = way.iter().filter_map(|status| place(status)).collect();
        (!came.is_sorted()).then_some("Its statuses came in reverse. A status never goes back.")
    }

    /// The error in Meta's words, with its code once.
    pub(super) fn error_in_words(&self) -> String {
        let message = self.error_message.as_deref().unwrap_or("no reason given");
        // Some of Meta's titles are sentences, with the details behind them.
        let message = message.replace(".: ", ": ");
        match self.error_code {
            Some(code) if !message.contains(&code.to_string()) => format!("({code}) {message}"),
            _ => message,
        }
    }

    /// Whether there is more to tell of it than that it left and arrived.
    pub(super) fn is_notable(&self) -> bool {
        let plainly_accepted = self.state == "accepted" && self.status.as_deref() != Some("failed");
        !self.outcomes.is_empty() || !self.is_open() && !plainly_accepted
    }

    /// Where it stands, in one word or two.
    pub(super) fn word(&self) -> &str {
        match (self.state.as_str(), self.status.as_deref()) {
            ("accepted", Some("failed")) => "not delivered",
            ("accepted", Some(status)) => status,
            ("accepted", None) if !self.has_wamid => "done",
            ("failed", _) => "refused",
            ("uncertain", _) => "in doubt",
            (state, _) => state,
        }
    }

    /// Where it stands.
    pub(super) fn standing(&self) -> Standing {
        let (words, tone) = match self.state.as_str() {
            "queued" => (self.queued(), Tone::Quiet),
            "waiting" => (self.waiting(), Tone::Quiet),
            "sending" => (self.sending(), Tone::Moving),
            "uncertain" => (self.uncertain(), Tone::Doubt),
            "accepted" => self.accepted(),
            "failed" => (format!("refused: {}", self.error_in_words()), Tone::Bad),
            _ => (self.ended(), Tone::Quiet),
        };
        Standing {
            words,
            tone,
            goes_on_in_s: self.goes_on_in_s(),
        }
    }

    fn goes_on_in_s(&self) -> Option<u64> {
        let counts = matches!(self.state.as_str(), "queued" | "uncertain") && self.due_in_s > 0.0;
        counts.then(|| self.due_in_s.ceil() as u64)
    }

    fn waiting_for(&self) -> &str {
        self.waiting_for.as_deref().unwrap_or_default()
    }

    fn waiting(&self) -> String {
        let mut words = self.waiting_for().split(' ');
        match (words.next(), words.next()) {
            (Some("message"), Some(before)) => format!("waits until #{before} is delivered"),
            _ => format!("waits for {}", self.waiting_for()),
        }
    }

    fn queued(&self) -> String {
        let next = self.attempts + 1;
        match self.outcomes.last().map(String::as_str) {
            Some("throttled") => "told to slow down · goes again".to_owned(),
            Some("not_sent") => format!("no connection · attempt {next} follows"),
            Some("transient") => format!("not taken yet · attempt {next} follows"),
            Some("uncertain") => "answer lost · silence · goes once more".to_owned(),
            Some("held") => format!("waits for {}", self.waiting_for()),
            _ if self.due_in_s > 0.0 => "not due yet".to_owned(),
            _ => "queued".to_owned(),
        }
    }

    fn sending(&self) -> String {
        match self.told_attempts.last() {
            Some(before) => format!("request {} is out", before + 1),
            None => "request is out".to_owned(),
        }
    }

    fn uncertain(&self) -> String {
        match self.waiting_for().starts_with("a person") {
            true => format!("answer lost · waits for {}", self.waiting_for()),
            false => "answer lost · waiting for evidence".to_owned(),
        }
    }

    fn ended(&self) -> String {
        let (state, why) = (
            &self.state,
            self.error_message.as_deref().unwrap_or_default(),
        );
        match why.strip_prefix("its time passed ") {
            Some(when) => format!("{state} {when}"),
            None if why.starts_with(state) => why.to_owned(),
            None => format!("{state}: {why}"),
        }
    }

    fn accepted(&self) -> (String, Tone) {
        let (words, tone) = match self.status.as_deref() {
            Some("sent") => ("sent ✓".to_owned(), Tone::Moving),
            Some("delivered") => ("delivered ✓✓".to_owned(), Tone::Good),
            Some("read") => ("read ✓✓".to_owned(), Tone::Seen),
            Some("played") => ("played ✓✓".to_owned(), Tone::Seen),
            Some("failed") => (
                format!("not delivered: {}", self.error_in_words()),
                Tone::Bad,
            ),
            _ if self.has_wamid => ("accepted".to_owned(), Tone::Moving),
            _ => ("done".to_owned(), Tone::Good),
        };
        match self.history() {
            Some(history) => (format!("{words} · {history}"), tone),
            None => (words, tone),
        }
    }

    /// What it went through before it was accepted.
    fn history(&self) -> Option<String> {
        if self.was_sent_again() {
            return Some("sent once more after silence".to_owned());
        }
        if self.was_proved_by_webhook() {
            return Some("a webhook proved it".to_owned());
        }
        if self.met("throttled") {
            return Some("was told to slow down".to_owned());
        }
        let tried = self.times_met("not_sent") + self.times_met("transient");
        (tried > 0).then(|| format!("at attempt {}", self.attempts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(state: &str, status: Option<&str>) -> Seen {
        Seen {
            id: 1,
            recipient: "+16505550101".to_owned(),
            kind: "text".to_owned(),
            state: state.to_owned(),
            status: status.map(str::to_owned),
            attempts: 1,
            waiting_for: None,
            error_code: None,
            error_message: None,
            has_wamid: state == "accepted",
            due_in_s: -1.0,
            learned_from: (state == "accepted").then(|| "response".to_owned()),
            accepted_attempt: (state == "accepted").then_some(1),
            told_attempts: Vec::new(),
            outcomes: Vec::new(),
            statuses: Vec::new(),
        }
    }

    fn after(mut seen: Seen, outcomes: &[&str]) -> Seen {
        seen.outcomes = outcomes
            .iter()
            .map(|outcome| (*outcome).to_owned())
            .collect();
        seen.told_attempts = (1..).take(outcomes.len()).collect();
        seen
    }

    #[test]
    fn ticks_are_those_that_people_know() {
        let words = |status| seen("accepted", status).standing().words;
        assert_eq!(words(None), "accepted");
        assert_eq!(words(Some("sent")), "sent ✓");
        assert_eq!(words(Some("delivered")), "delivered ✓✓");
        assert_eq!(words(Some("read")), "read ✓✓");
    }

    #[test]
    fn a_lost_answer_tells_what_settled_it() {
        let lost = after(seen("uncertain", None), &["uncertain"]);
        assert_eq!(lost.standing().words, "answer lost · waiting for evidence");
        assert_eq!(lost.standing().tone, Tone::Doubt);

        let mut proved = after(seen("accepted", Some("sent")), &["uncertain"]);
        proved.learned_from = Some("webhook".to_owned());
        assert!(!proved.was_sent_again());
        assert!(proved.standing().words.ends_with("a webhook proved it"));

        let mut again = after(seen("accepted", Some("sent")), &["uncertain"]);
        again.accepted_attempt = Some(2);
        assert!(
            again
                .standing()
                .words
                .ends_with("sent once more after silence")
        );
        // Its second answer may be learned from a webhook as well: it was sent again all the same.
        again.learned_from = Some("webhook".to_owned());
        assert!(
            again
                .standing()
                .words
                .ends_with("sent once more after silence")
        );
    }

    #[test]
    fn a_person_who_must_decide_is_named() {
        let mut kept = after(seen("uncertain", None), &["uncertain"]);
        kept.waiting_for = Some("a person: its policy is hold".to_owned());
        assert!(
            kept.standing()
                .words
                .contains("a person: its policy is hold")
        );
    }

    #[test]
    fn seconds_count_down_beside_the_words_and_are_no_news() {
        let mut later = seen("queued", None);
        later.due_in_s = 2.2;
        assert_eq!(later.standing().goes_on_in_s, Some(3));
        assert_eq!(later.standing().words, "not due yet");
    }

    #[test]
    fn a_member_of_a_sequence_names_whom_it_waits_for() {
        let mut member = seen("waiting", None);
        member.waiting_for = Some("message 14 in sequence 'a b' to be delivered".to_owned());
        assert_eq!(member.standing().words, "waits until #14 is delivered");
        member.waiting_for = Some("sequence 'a b', halted: message 14 ended as failed".to_owned());
        assert!(member.standing().words.contains("halted: message 14"));
    }

    #[test]
    fn what_did_not_go_plainly_is_notable() {
        assert!(!seen("queued", None).is_notable());
        assert!(!seen("accepted", Some("read")).is_notable());
        assert!(seen("accepted", Some("failed")).is_notable());
        assert!(seen("expired", None).is_notable());
        assert!(after(seen("queued", None), &["not_sent"]).is_notable());
    }

    #[test]
    fn odd_news_is_told_of_and_ordinary_news_is_not() {
        let told = |statuses: &[&str]| {
            let mut message = seen("accepted", Some("read"));
            message.statuses = statuses.iter().map(|status| (*status).to_owned()).collect();
            message.odd_news().unwrap_or("nothing odd")
        };
        assert_eq!(told(&["sent", "delivered", "read"]), "nothing odd");
        assert_eq!(told(&["sent"]), "nothing odd");
        assert!(told(&["read"]).starts_with("Only “read”"));
        assert!(told(&["read", "delivered", "sent"]).contains("in reverse"));
        assert!(told(&["delivered", "sent"]).contains("in reverse"));
        assert!(told(&["sent", "sent", "delivered"]).contains("twice"));
    }

    #[test]
    fn an_end_says_its_state_once() {
        let words = |state, why: &str| {
            let mut ended = seen(state, None);
            ended.error_message = Some(why.to_owned());
            ended.standing().words
        };
        let expired = words("expired", "its time passed before it could leave");
        assert_eq!(expired, "expired before it could leave");
        assert_eq!(words("cancelled", "cancelled by ada"), "cancelled by ada");
        let other = words("expired", "no evidence came before its time passed");
        assert_eq!(other, "expired: no evidence came before its time passed");
    }

    #[test]
    fn an_error_shows_its_code_once() {
        let mut failed = seen("failed", None);
        failed.error_code = Some(131_026);
        failed.error_message = Some("(131026) Message undeliverable".to_owned());
        assert_eq!(
            failed.standing().words,
            "refused: (131026) Message undeliverable"
        );
        failed.error_message = Some("Message undeliverable".to_owned());
        assert_eq!(
            failed.standing().words,
            "refused: (131026) Message undeliverable"
        );
    }
}
