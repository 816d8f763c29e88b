//! The model of a sequence: who is in front, and what keeps those behind.
//!
//! Messages are known by their numbers, from 1, in the order in which they were written.

use super::books::{Message, State};

/// How a member stands for those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Released,
    Failed,
    Expired,
    Cancelled,
    Held,
    Open,
}

/// When somebody looks whether the head is overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    Now,
    Later,
    Never,
}

/// What the people who made it want of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineSettings {
    /// A member that fails is passed over; else it halts the line.
    pub(super) skips_failures: bool,
    /// What happens when a delivery is overdue, which it is as soon as somebody looks; none: it never is.
    pub(super) overdue: Option<Overdue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    Halts,
    IsPassed,
}

/// The gate of the sequence.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) settings: LineSettings,
    pub(super) head: Option<usize>,
    pub(super) passed: Option<usize>,
    pub(super) halted: Option<(&'static str, usize)>,
    look: Look,
}

fn cause(standing: Standing) -> &'static str {
    match standing {
        Standing::Failed => "failed",
        Standing::Expired => "expired",
        Standing::Cancelled => "cancelled",
        Standing::Held => "uncertain",
        Standing::Released | Standing::Open => unreachable!("it keeps nobody"),
    }
}

fn standing(messages: &[Message], member: usize) -> Standing {
    messages[member - 1].standing()
}

impl Line {
    pub(super) fn new(settings: LineSettings) -> Self {
        Self {
            settings,
            head: None,
            passed: None,
            halted: None,
            look: Look::Never,
        }
    }

    /// Makes the first that waits the head, if nothing keeps it.
    pub(super) fn advance(&mut self, messages: &mut [Message]) {
        if self.head.is_some() || self.halted.is_some() {
            return;
        }
        let next = messages
            .iter()
            .position(|message| message.state == State::Waiting);
        if let Some(next) = next {
            messages[next].state = State::Queued;
            messages[next].is_due = true;
            self.head = Some(next + 1);
            let overdue = self.settings.overdue;
            self.look = self.look.min(overdue.map_or(Look::Later, |_| Look::Now));
        }
    }

    /// The head is behind us, and if it is uncertain, it is never sent again.
    fn pass(&mut self, messages: &mut [Message]) {
        if let Some(head) = self.head.take() {
            let message = &mut messages[head - 1];
            if message.state == State::Uncertain {
                message.is_passed = true;
                message.needs_person = true;
            }
            self.passed = Some(head);
        }
    }

    fn lift(&mut self) {
        self.halted = None;
        self.look = Look::Now;
    }

    /// Opens, keeps or halts by what is known of these members.
    pub(super) fn settle(&mut self, messages: &mut [Message], members: &[usize]) {
        let ended = members.iter().copied().filter(|member| {
            let state = messages[member - 1].state;
            matches!(state, State::Expired | State::Cancelled)
        });
        let ended: Vec<usize> = ended.collect();
        self.settle_as(messages, members, &ended);
    }

    fn settle_as(&mut self, messages: &mut [Message], members: &[usize], ended: &[usize]) {
        let head_before = self.head;
        if let Some((why, member)) = self.halted
            && members.contains(&member)
        {
            let now = standing(messages, member);
            if now == Standing::Released || why == "uncertain" && now != Standing::Held {
                self.lift();
            }
        }
        if let Some(head) = self.head
            && members.contains(&head)
        {
            match standing(messages, head) {
                Standing::Open => {}
                Standing::Released => self.pass(messages),
                _ if self.settings.skips_failures => self.pass(messages),
                other if self.halted.is_none() => self.halted = Some((cause(other), head)),
                _ => {}
            }
        }
        let front = head_before.max(self.passed).unwrap_or(0);
        let gone = ended.iter().copied().filter(|member| *member > front).min();
        if let Some(gone) = gone
            && self.halted.is_none()
            && !self.settings.skips_failures
        {
            self.halted = Some((cause(standing(messages, gone)), gone));
        }
        self.advance(messages);
    }

    /// Looks whether the head is overdue.
    pub(super) fn look_after(&mut self, messages: &mut [Message]) -> u64 {
        if self.look != Look::Now {
            return 0;
        }
        if let Some(head) = self.head
            && standing(messages, head) != Standing::Open
        {
            self.settle_as(messages, &[head], &[]);
        }
        let (Some(head), None) = (self.head, self.halted) else {
            self.look = Look::Never;
            return 0;
        };
        let Some(overdue) = self.settings.overdue else {
            self.look = Look::Later;
            return 0;
        };
        if messages[head - 1].state != State::Accepted {
            return 0;
        }
        match overdue {
            Overdue::IsPassed => {
                self.pass(messages);
                self.advance(messages);
            }
            Overdue::Halts => {
                self.halted = Some(("timeout", head));
                self.look = Look::Never;
            }
        }
        1
    }

    /// A person lifts the halt.
    pub(super) fn resume(&mut self, messages: &mut [Message]) -> bool {
        let Some((_, member)) = self.halted else {
            return false;
        };
        self.lift();
        if self.head == Some(member) {
            self.pass(messages);
        }
        self.advance(messages);
        true
    }

    /// A person goes on without the head. Says what became of it.
    pub(super) fn skip(&mut self, messages: &mut [Message]) -> &'static str {
        if self.head.is_none() && self.halted.is_none() {
            return "nothing";
        }
        let state = self.head.map(|head| messages[head - 1].state);
        if state == Some(State::Sending) {
            return "sending";
        }
        if self.halted.is_some() {
            self.lift();
        }
        if let (Some(head), Some(State::Queued)) = (self.head, state) {
            self.pass(messages);
            messages[head - 1].state = State::Cancelled;
            self.settle(messages, &[head]);
            return "cancelled";
        }
        if self.head.is_some() {
            self.pass(messages);
        }
        self.advance(messages);
        "passed"
    }

    /// A person cancels all that has not left. Says how many.
    pub(super) fn cancel(&mut self, messages: &mut [Message]) -> u64 {
        let mut waiting = Vec::new();
        for (at, message) in messages.iter_mut().enumerate() {
            if message.state == State::Waiting {
                message.state = State::Cancelled;
                waiting.push(at + 1);
            }
        }
        if !waiting.is_empty() {
            self.settle(messages, &waiting);
        }
        let mut cancelled = waiting.len() as u64;
        if let Some(head) = self.head
            && messages[head - 1].state == State::Queued
        {
            messages[head - 1].state = State::Cancelled;
            self.settle(messages, &[head]);
            cancelled += 1;
        }
        if let Some(head) = self.head {
            let is_halted_by_it = self.halted.is_some_and(|(_, member)| member == head);
            let has_ended = matches!(
                standing(messages, head),
                Standing::Cancelled | Standing::Failed | Standing::Expired
            );
            if is_halted_by_it || has_ended {
                self.pass(messages);
            }
        }
        if self.halted.is_some() {
            self.lift();
        }
        cancelled
    }
}
