//! What can happen, and how a case is made up of it.

use proptest::prelude::*;
use proptest::sample::select;
use wa_outbox::domain::status::Status;

use super::books::{Kind, Learned, Verdict, Who};
use super::line::{LineSettings, Overdue};

/// At most so many messages are written in a case.
pub(super) const MESSAGES: usize = 5;

/// One thing that happens. Messages are named by their numbers; what does not apply (no such message yet) does not happen.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    Enqueue(Kind),
    /// Whoever holds the sender has no lease any more, unless the taker does itself.
    Take(Who),
    HandOver(Who),
    /// The other's lease runs out; this one takes the sender, and sweeps what the other had begun.
    TakeOver(Who),
    LeaseRunsOut(Who),
    Renew(Who),
    ReadAhead,
    Begin {
        /// None: whoever has the sender.
        who: Option<Who>,
        message: usize,
        under: Under,
        /// No answer can come after it was begun.
        is_short: bool,
    },
    /// The begin of the next request was given up, and it was not done.
    GiveUp(usize),
    /// Of the request so many before the last.
    TakeBack {
        message: usize,
        back: usize,
    },
    Record {
        message: usize,
        back: usize,
        learned: Learned,
    },
    /// Of two messages in one batch.
    RecordBoth {
        first: (usize, usize, Learned),
        second: (usize, usize, Learned),
    },
    FindBegun(Who),
    Sweep(Who),
    SweepSuspect(usize),
    Hear(Vec<Heard>),
    MatchAgain,
    SettleSilent {
        hold: bool,
    },
    Resolve(usize, Verdict),
    Cancel(usize),
    PutOff(usize),
    TimePasses(usize),
    Expire,
    Resume,
    Skip,
    CancelLine,
    LookAfter,
    Hold,
    Release,
}

/// The epoch that a message is begun under.
#[derive(Clone, Copy, Debug)]
pub(super) enum Under {
    /// The one that the worker believes in.
    Believed,
    /// One before it: what it was to begin is left over from when it had the sender earlier.
    Earlier,
    /// The newest there is, whoever has it.
    Newest,
}

/// A status, of the request so many before the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) message: usize,
    pub(super) back: usize,
    pub(super) is_twin: bool,
    pub(super) status: Status,
    pub(super) has_token: bool,
}

/// One case.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) line: LineSettings,
    pub(super) happenings: Vec<Happening>,
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let overdue = prop_oneof![
        2 => Just(None),
        1 => Just(Some(Overdue::Halts)),
        1 => Just(Some(Overdue::IsPassed)),
    ];
    let line = (prop::bool::weighted(0.3), overdue);
    let line = line.prop_map(|(skips_failures, overdue)| LineSettings {
        skips_failures,
        overdue,
    });
    let happenings = prop::collection::vec(happening(), 1..60);
    // Without messages and an owner little happens.
    let beginning = prop::collection::vec(kind().prop_map(Happening::Enqueue), 1..=MESSAGES);
    let beginning = (
        beginning,
        prop::collection::vec(who().prop_map(Happening::Take), 0..2),
    );
    (line, beginning, happenings).prop_map(|(line, (written, taken), then)| Case {
        line,
        happenings: written.into_iter().chain(taken).chain(then).collect(),
    })
}

fn happening() -> impl Strategy<Value = Happening> {
    let at_work = prop_oneof![
        2 => kind().prop_map(Happening::Enqueue),
        2 => who().prop_map(Happening::Take),
        1 => who().prop_map(Happening::HandOver),
        2 => who().prop_map(Happening::TakeOver),
        1 => who().prop_map(Happening::LeaseRunsOut),
        1 => who().prop_map(Happening::Renew),
        1 => Just(Happening::ReadAhead),
        12 => begin(),
        1 => message().prop_map(Happening::GiveUp),
        1 => (message(), back()).prop_map(|(message, back)| Happening::TakeBack { message, back }),
        10 => (message(), back(), learned())
            .prop_map(|(message, back, learned)| Happening::Record { message, back, learned }),
        1 => ((message(), back(), learned()), (message(), back(), learned()))
            .prop_map(|(first, second)| Happening::RecordBoth { first, second }),
        2 => who().prop_map(Happening::FindBegun),
        2 => who().prop_map(Happening::Sweep),
        1 => message().prop_map(Happening::SweepSuspect),
    ];
    let news = prop_oneof![
        6 => prop::collection::vec(heard(), 1..4).prop_map(Happening::Hear),
        1 => Just(Happening::MatchAgain),
        3 => prop::bool::weighted(0.2).prop_map(|hold| Happening::SettleSilent { hold }),
    ];
    let people = prop_oneof![
        3 => (message(), select(vec![Verdict::Accepted, Verdict::NotSent, Verdict::SendAgain]))
            .prop_map(|(message, verdict)| Happening::Resolve(message, verdict)),
        2 => message().prop_map(Happening::Cancel),
        1 => message().prop_map(Happening::PutOff),
        1 => message().prop_map(Happening::TimePasses),
        1 => Just(Happening::Expire),
        2 => Just(Happening::Resume),
        1 => Just(Happening::Skip),
        1 => Just(Happening::CancelLine),
        2 => Just(Happening::LookAfter),
        1 => Just(Happening::Hold),
        1 => Just(Happening::Release),
    ];
    prop_oneof![5 => at_work, 2 => news, 2 => people]
}

fn kind() -> impl Strategy<Value = Kind> {
    let yes = prop::bool::weighted;
    (yes(0.7), yes(0.2), yes(0.1)).prop_map(|(is_in_line, is_held_when_lost, is_nameless)| Kind {
        is_in_line,
        is_held_when_lost,
        is_nameless,
    })
}

fn begin() -> impl Strategy<Value = Happening> {
    let under = prop_oneof![
        14 => Just(Under::Believed),
        1 => Just(Under::Earlier),
        1 => Just(Under::Newest),
    ];
    let yes = prop::bool::weighted;
    (
        prop::option::weighted(0.3, who()),
        message(),
        under,
        yes(0.8),
    )
        .prop_map(|(who, message, under, is_short)| Happening::Begin {
            who,
            message,
            under,
            is_short,
        })
}

fn heard() -> impl Strategy<Value = Heard> {
    let yes = prop::bool::weighted;
    (message(), back(), yes(0.1), status(), yes(0.7)).prop_map(
        |(message, back, is_twin, status, has_token)| Heard {
            message,
            back,
            is_twin,
            status,
            has_token,
        },
    )
}

fn status() -> impl Strategy<Value = Status> {
    // A delivery is what sets the next one free.
    prop_oneof![2 => select(Status::ALL.to_vec()), 1 => Just(Status::Delivered)]
}

fn learned() -> impl Strategy<Value = Learned> {
    let yes = prop::bool::weighted;
    prop_oneof![
        4 => yes(0.1).prop_map(|is_twin| Learned::Accepted { is_twin }),
        2 => Just(Learned::Refused),
        4 => yes(0.8).prop_map(|may_resend| Learned::NoAnswer { may_resend }),
        3 => (any::<bool>(), yes(0.2))
            .prop_map(|(is_spent, is_later)| Learned::NotNow { is_spent, is_later }),
    ]
}

fn who() -> impl Strategy<Value = Who> {
    select(vec![Who::A, Who::B])
}

fn message() -> impl Strategy<Value = usize> {
    // Much befalls the first ones, which are there.
    (1..=MESSAGES, 1..=MESSAGES).prop_map(|(one, other)| one.min(other))
}

/// The last request, as a rule.
fn back() -> impl Strategy<Value = usize> {
    prop_oneof![5 => Just(0_usize), 2 => Just(1_usize), 1 => Just(2_usize)]
}
