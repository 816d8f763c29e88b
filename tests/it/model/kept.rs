//! Stories that once went wrong.

use wa_outbox::domain::status::Status;

use super::Theatre;
use super::books::{Kind, Learned, Who};
use super::line::LineSettings;
use super::story::{Case, Happening, Heard, Under};

const LOOSE: Kind = Kind {
    is_in_line: false,
    is_held_when_lost: false,
    is_nameless: false,
};

const A_BEGINS_1: Happening = Happening::Begin {
    who: Some(Who::A),
    message: 1,
    under: Under::Believed,
    is_short: true,
};

fn of_1(learned: Learned) -> Happening {
    Happening::Record {
        message: 1,
        back: 0,
        learned,
    }
}

fn goes_well(happenings: Vec<Happening>) {
    let line = LineSettings {
        skips_failures: false,
        overdue: None,
    };
    let played = Theatre::open().play(&Case { line, happenings });
    if let Err(story) = played {
        panic!("{story}");
    }
}

#[test]
fn a_doubt_takes_the_place_of_another_outcome_and_is_settled_by_what_is_known() {
    goes_well(vec![
        Happening::Enqueue(LOOSE),
        Happening::Take(Who::A),
        A_BEGINS_1,
        Happening::Hear(vec![Heard {
            message: 1,
            back: 0,
            is_twin: false,
            status: Status::Sent,
            has_token: true,
        }]),
        of_1(Learned::NotNow {
            is_spent: false,
            is_later: false,
        }),
        of_1(Learned::NoAnswer { may_resend: true }),
    ]);
}

#[test]
fn an_answer_that_must_not_be_resent_counts_also_after_a_sweep() {
    goes_well(vec![
        Happening::Enqueue(LOOSE),
        Happening::Take(Who::A),
        A_BEGINS_1,
        Happening::TakeOver(Who::B),
        of_1(Learned::NoAnswer { may_resend: false }),
        of_1(Learned::NoAnswer { may_resend: true }),
    ]);
}

#[test]
fn a_delivery_sets_nothing_free_in_a_line_that_is_halted() {
    let in_line = Kind {
        is_in_line: true,
        ..LOOSE
    };
    goes_well(vec![
        Happening::Enqueue(in_line),
        Happening::Enqueue(in_line),
        Happening::Enqueue(in_line),
        // Which halts the line, whoever is in front of it.
        Happening::Cancel(2),
        Happening::Take(Who::A),
        A_BEGINS_1,
        Happening::Hear(vec![Heard {
            message: 1,
            back: 0,
            is_twin: false,
            status: Status::Delivered,
            has_token: true,
        }]),
    ]);
}
