//! The model: what design.md §3 says of a message, in plain Rust and without a database.
//!
//! Messages are known by their numbers, from 1; a message's requests by theirs, as the database counts them.

use std::collections::BTreeSet;

use wa_outbox::domain::status::Status;

use super::line::{Line, LineSettings, Standing};

/// One of two workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    A,
    B,
}

impl Who {
    pub(super) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What sort of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// A member of the sequence.
    pub(super) is_in_line: bool,
    /// It is kept for a person when its answer stays lost.
    pub(super) is_held_when_lost: bool,
    /// A mark-as-read, which never has a wamid.
    pub(super) is_nameless: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Queued,
    Sending,
    Uncertain,
    Accepted,
    Failed,
    Expired,
    Cancelled,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Uncertain => "uncertain",
            Self::Accepted => "accepted",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    pub(super) fn is_end(self) -> bool {
        matches!(
            self,
            Self::Accepted | Self::Failed | Self::Expired | Self::Cancelled
        )
    }
}

/// A wamid: of this request of this message; or the twin of it, when something below us has sent the request twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) message: usize,
    pub(super) attempt: i32,
    pub(super) is_twin: bool,
}

/// A request that was begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) attempt: i32,
    pub(super) epoch: i64,
}

/// What the one that made a request has learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learned {
    Accepted { is_twin: bool },
    Refused,
    NoAnswer { may_resend: bool },
    NotNow { is_spent: bool, is_later: bool },
}

/// What a person has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    NotSent,
    SendAgain,
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) state: State,
    pub(super) attempt: i32,
    pub(super) attempts: i32,
    pub(super) resends: i32,
    pub(super) epoch: i64,
    pub(super) is_due: bool,
    /// Its time has passed.
    pub(super) is_past: bool,
    /// No answer to its request can come any more.
    pub(super) is_answer_overdue: bool,
    pub(super) may_resend: bool,
    pub(super) needs_person: bool,
    pub(super) is_passed: bool,
    pub(super) requests: Vec<Request>,
    pub(super) names: Vec<Name>,
    pub(super) told: Vec<Status>,
}

impl Message {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            state: if kind.is_in_line {
                State::Waiting
            } else {
                State::Queued
            },
            attempt: 0,
            attempts: 0,
            resends: 0,
            epoch: 0,
            is_due: true,
            is_past: false,
            is_answer_overdue: false,
            may_resend: false,
            needs_person: false,
            is_passed: false,
            requests: Vec::new(),
            names: Vec::new(),
            told: Vec::new(),
        }
    }

    /// WhatsApp's word on it.
    pub(super) fn status(&self) -> Option<&'static str> {
        let by_weight = [
            (Status::Played, "played"),
            (Status::Read, "read"),
            (Status::Delivered, "delivered"),
            (Status::Failed, "failed"),
            (Status::Sent, "sent"),
        ];
        let told = by_weight
            .into_iter()
            .find(|(status, _)| self.told.contains(status));
        told.map(|(_, name)| name)
    }

    /// How it stands for those behind it.
    pub(super) fn standing(&self) -> Standing {
        match self.state {
            State::Failed => Standing::Failed,
            State::Expired => Standing::Expired,
            State::Cancelled => Standing::Cancelled,
            State::Uncertain if self.needs_person => Standing::Held,
            State::Accepted if self.kind.is_nameless => Standing::Released,
            State::Accepted => match self.status() {
                Some("played" | "read" | "delivered") => Standing::Released,
                Some("failed") => Standing::Failed,
                _ => Standing::Open,
            },
            _ => Standing::Open,
        }
    }

    /// Whether this request is out and nobody has said yet what became of it.
    fn is_out(&self, attempt: i32) -> bool {
        self.state == State::Sending && self.attempt == attempt
    }

    /// Whether it is uncertain what became of this request.
    fn is_in_doubt(&self, attempt: i32) -> bool {
        self.state == State::Uncertain && self.attempt == attempt
    }

    fn becomes_uncertain(&mut self, may_resend: bool) {
        self.state = State::Uncertain;
        self.may_resend = may_resend;
        self.needs_person = false;
        self.is_passed = false;
    }
}

/// All that is known.
#[derive(Clone, Debug)]
pub(super) struct Books {
    messages: Vec<Message>,
    pub(super) line: Line,
    pub(super) epoch: i64,
    pub(super) owner: Option<Who>,
    pub(super) a_lives: bool,
    pub(super) b_lives: bool,
    pub(super) is_held: bool,
    /// Statuses whose wamid is unknown.
    strays: Vec<(Name, Status)>,
}

impl Books {
    pub(super) fn new(line: LineSettings) -> Self {
        Self {
            messages: Vec::new(),
            line: Line::new(line),
            epoch: 0,
            owner: None,
            a_lives: true,
            b_lives: true,
            is_held: false,
            strays: Vec::new(),
        }
    }

    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    pub(super) fn message(&self, number: usize) -> &Message {
        &self.messages[number - 1]
    }

    fn message_mut(&mut self, number: usize) -> &mut Message {
        &mut self.messages[number - 1]
    }

    fn settle(&mut self, numbers: &[usize]) {
        let members = numbers.iter().copied();
        let members: Vec<usize> = members
            .filter(|number| self.message(*number).kind.is_in_line)
            .collect();
        if !members.is_empty() {
            self.line.settle(&mut self.messages, &members);
        }
    }

    pub(super) fn enqueue(&mut self, kind: Kind) {
        self.messages.push(Message::new(kind));
        self.line.advance(&mut self.messages);
    }

    // ── who works ────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn lives(&self, who: Who) -> bool {
        match who {
            Who::A => self.a_lives,
            Who::B => self.b_lives,
        }
    }

    pub(super) fn set_lives(&mut self, who: Who, lives: bool) {
        match who {
            Who::A => self.a_lives = lives,
            Who::B => self.b_lives = lives,
        }
    }

    /// Whether it took the sender.
    pub(super) fn take(&mut self, who: Who) -> bool {
        let is_free = self.owner.is_none_or(|owner| !self.lives(owner));
        if is_free {
            self.owner = Some(who);
            self.epoch += 1;
        }
        is_free
    }

    pub(super) fn hand_over(&mut self, giver: Who, believes: i64) -> bool {
        let receiver = giver.other();
        let is_its_own = self.owner == Some(giver) && self.epoch == believes;
        let is_done = is_its_own && self.lives(receiver);
        if is_done {
            self.owner = Some(receiver);
            self.epoch += 1;
        }
        is_done
    }

    // ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// What a look ahead finds, with the number of the last request.
    pub(super) fn due(&self) -> BTreeSet<(usize, i32)> {
        let numbered = self.messages.iter().enumerate();
        numbered
            .filter(|(_, message)| {
                message.state == State::Queued && message.is_due && !message.is_past
            })
            .map(|(at, message)| (at + 1, message.attempt))
            .collect()
    }

    /// The request that may leave, and the attempts spent.
    pub(super) fn begin(
        &mut self,
        who: Who,
        epoch: i64,
        number: usize,
        is_short: bool,
    ) -> Option<(i32, i32)> {
        let owns = self.owner == Some(who) && self.epoch == epoch && self.lives(who);
        let message = self.message_mut(number);
        if !owns || message.state != State::Queued {
            return None;
        }
        message.state = State::Sending;
        message.attempt += 1;
        message.attempts += 1;
        message.epoch = epoch;
        message.is_answer_overdue = is_short;
        let attempt = message.attempt;
        message.requests.push(Request { attempt, epoch });
        Some((attempt, message.attempts))
    }

    /// Puts back a request that was never made. Says whether anything changed.
    pub(super) fn take_back(&mut self, number: usize, request: Request) -> bool {
        let message = self.message_mut(number);
        if message.is_out(request.attempt) && message.epoch == request.epoch {
            message.state = State::Queued;
            message.attempts -= 1;
            return true;
        }
        if message.state == State::Queued && message.attempt < request.attempt {
            message.attempt = request.attempt;
            return true;
        }
        self.back_to_the_queue(number, request.attempt, false, true, false)
    }

    fn back_to_the_queue(
        &mut self,
        number: usize,
        attempt: i32,
        is_spent: bool,
        is_due: bool,
        is_resend: bool,
    ) -> bool {
        let message = self.message_mut(number);
        if !message.is_in_doubt(attempt) || message.is_passed {
            return false;
        }
        message.state = State::Queued;
        message.attempts -= i32::from(!is_spent);
        message.resends += i32::from(is_resend);
        message.is_due = is_due;
        if message.needs_person {
            self.settle(&[number]);
        }
        true
    }

    pub(super) fn record(&mut self, number: usize, attempt: i32, learned: Learned) {
        let message = self.message_mut(number);
        let is_known_of = message.is_out(attempt) || message.is_in_doubt(attempt);
        match learned {
            Learned::Accepted { .. } if message.kind.is_nameless => {
                if !message.state.is_end() {
                    message.state = State::Accepted;
                    self.settle(&[number]);
                }
            }
            Learned::Accepted { is_twin } => {
                self.accept(Name {
                    message: number,
                    attempt,
                    is_twin,
                });
            }
            Learned::Refused => {
                if is_known_of {
                    message.state = State::Failed;
                    self.settle(&[number]);
                }
            }
            Learned::NoAnswer { may_resend } => {
                if message.is_out(attempt) {
                    message.becomes_uncertain(may_resend);
                } else if message.state == State::Uncertain && message.attempt == attempt {
                    // Swept in the meantime.
                    message.may_resend &= may_resend;
                }
            }
            Learned::NotNow { is_spent, is_later } => {
                if message.is_out(attempt) {
                    message.state = State::Queued;
                    message.attempts -= i32::from(!is_spent);
                    message.is_due = !is_later;
                } else {
                    self.back_to_the_queue(number, attempt, is_spent, !is_later, false);
                }
            }
        }
    }

    /// A wamid becomes known. Says whether it was not before.
    fn accept(&mut self, name: Name) -> bool {
        let message = self.message_mut(name.message);
        if message.names.contains(&name) {
            return false;
        }
        message.names.push(name);
        let was_held =
            message.state == State::Uncertain && message.needs_person && !message.is_passed;
        message.state = State::Accepted;
        if was_held {
            self.settle(&[name.message]);
        }
        true
    }

    /// A new owner makes uncertain what it found.
    pub(super) fn sweep(&mut self, found: &[(usize, i32)]) -> BTreeSet<usize> {
        let mut swept = BTreeSet::new();
        for (number, attempt) in found {
            let message = self.message_mut(*number);
            if message.is_out(*attempt) && message.is_answer_overdue {
                message.becomes_uncertain(true);
                swept.insert(*number);
            }
        }
        swept
    }

    /// What was begun under this epoch or an earlier one.
    pub(super) fn begun_up_to(&self, epoch: i64) -> BTreeSet<(usize, i32)> {
        let numbered = self.messages.iter().enumerate();
        numbered
            .filter(|(_, message)| message.state == State::Sending && message.epoch <= epoch)
            .map(|(at, message)| (at + 1, message.attempt))
            .collect()
    }

    /// Makes uncertain what was begun when nobody waited for it any more.
    pub(super) fn sweep_suspect(&mut self, number: usize) -> bool {
        let attempt = self.message(number).attempt;
        !self.sweep(&[(number, attempt)]).is_empty()
    }

    // ── what WhatsApp and people say ─────────────────────────────────────────────────────────────────────────────

    /// Statuses of one batch; with our token or without.
    pub(super) fn hear(&mut self, statuses: &[(Name, Status, bool)]) {
        // Of several that are learned at once, that of the earliest request is the message's own.
        let named = statuses.iter().filter(|(.., has_token)| *has_token);
        let named: BTreeSet<Name> = named.map(|(name, ..)| *name).collect();
        for name in named {
            self.accept(name);
        }
        let mut changed = Vec::new();
        for (name, status, _) in statuses {
            if self.message(name.message).names.contains(name) {
                self.tell(*name, *status, &mut changed);
            } else {
                self.strays.push((*name, *status));
            }
        }
        self.settle(&changed);
    }

    /// Looks again at statuses whose wamid was unknown. Says how many are known now.
    pub(super) fn match_again(&mut self) -> usize {
        let strays = std::mem::take(&mut self.strays);
        let (known, strays) = strays
            .into_iter()
            .partition::<Vec<_>, _>(|(name, _)| self.message(name.message).names.contains(name));
        self.strays = strays;
        let mut changed = Vec::new();
        for (name, status) in &known {
            self.tell(*name, *status, &mut changed);
        }
        self.settle(&changed);
        known.len()
    }

    fn tell(&mut self, name: Name, status: Status, changed: &mut Vec<usize>) {
        let told = &mut self.message_mut(name.message).told;
        if !told.contains(&status) {
            told.push(status);
            changed.push(name.message);
        }
    }

    /// Settles by policy what stays silent: sent again, kept for a person, expired.
    pub(super) fn settle_silent(&mut self, hold: bool) -> (u64, u64, u64) {
        let (mut expired, mut resent, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for (at, message) in self.messages.iter().enumerate() {
            let is_silent = message.state == State::Uncertain && message.is_answer_overdue;
            if !is_silent || message.needs_person && !message.is_past {
                continue;
            }
            let may_resend = !hold
                && !message.kind.is_held_when_lost
                && message.may_resend
                && message.resends < 1;
            let verdict = match (message.is_past, may_resend) {
                (true, _) => &mut expired,
                (false, true) => &mut resent,
                (false, false) => &mut kept,
            };
            verdict.push(at + 1);
        }
        for number in &expired {
            self.message_mut(*number).state = State::Expired;
        }
        self.settle(&expired);
        for number in &resent {
            let attempt = self.message(*number).attempt;
            self.back_to_the_queue(*number, attempt, true, true, true);
        }
        for number in &kept {
            self.message_mut(*number).needs_person = true;
            self.settle(&[*number]);
        }
        let count = |numbers: &[usize]| numbers.len() as u64;
        (count(&resent), count(&kept), count(&expired))
    }

    pub(super) fn resolve(&mut self, number: usize, verdict: Verdict) -> bool {
        let message = self.message_mut(number);
        if message.state != State::Uncertain {
            return false;
        }
        let attempt = message.attempt;
        match verdict {
            Verdict::Accepted => self.accept(Name {
                message: number,
                attempt,
                is_twin: false,
            }),
            Verdict::NotSent => {
                message.state = State::Failed;
                self.settle(&[number]);
                true
            }
            Verdict::SendAgain => self.back_to_the_queue(number, attempt, true, true, true),
        }
    }

    pub(super) fn cancel(&mut self, number: usize) -> bool {
        let message = self.message_mut(number);
        let may = matches!(message.state, State::Queued | State::Waiting);
        if may {
            message.state = State::Cancelled;
            self.settle(&[number]);
        }
        may
    }

    pub(super) fn put_off(&mut self, number: usize) {
        let message = self.message_mut(number);
        if message.state == State::Queued {
            message.is_due = false;
        }
    }

    pub(super) fn time_passes(&mut self, number: usize) {
        self.message_mut(number).is_past = true;
    }

    pub(super) fn expire(&mut self) -> u64 {
        let mut expired = Vec::new();
        for (at, message) in self.messages.iter_mut().enumerate() {
            if message.is_past && matches!(message.state, State::Queued | State::Waiting) {
                message.state = State::Expired;
                expired.push(at + 1);
            }
        }
        self.settle(&expired);
        expired.len() as u64
    }

    pub(super) fn resume(&mut self) -> bool {
        self.line.resume(&mut self.messages)
    }

    pub(super) fn skip(&mut self) -> &'static str {
        self.line.skip(&mut self.messages)
    }

    pub(super) fn cancel_line(&mut self) -> u64 {
        self.line.cancel(&mut self.messages)
    }

    pub(super) fn look_after(&mut self) -> u64 {
        self.line.look_after(&mut self.messages)
    }
}
