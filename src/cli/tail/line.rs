//! An event as people read it: when, what, whose, and why.

use time::OffsetDateTime;

use crate::cli::output::{painted, plain};
use crate::domain::event::{Event, EventKind, Tone};
use crate::domain::mask::Eyes;
use crate::standing::failure::meaning;
use crate::standing::message::without_stop;
use crate::standing::time::stamp;
use crate::store::tail::MessageTold;

/// As wide as the longest kind.
const KIND: usize = 18;

/// One line.
pub(super) fn of(
    event: &Event,
    message: Option<&MessageTold>,
    eyes: Eyes,
    colours: bool,
) -> String {
    let kind = painted(
        colour(event.kind.tone()),
        &format!("{:KIND$}", event.kind),
        colours,
    );
    let rest = format!("{}  {}", event.sender, story(event, message, eyes));
    format!("{}  {kind}  {}\n", stamp(event.at), plain(rest.trim_end()))
}

/// There were more, which nobody was told.
pub(super) fn left_out(at: OffsetDateTime, events: u64, colours: bool) -> String {
    let kind = painted(
        colour(Tone::Slow),
        &format!("{:KIND$}", "left out"),
        colours,
    );
    format!(
        "{}  {kind}  {events} more events, too many to tell; ask for fewer: --failures, --event, --sender\n",
        stamp(at)
    )
}

fn colour(tone: Tone) -> Option<&'static str> {
    match tone {
        Tone::Plain => None,
        Tone::Good => Some("32"),
        Tone::Slow => Some("33"),
        Tone::Bad => Some("31"),
    }
}

/// What it is about, and why it happened.
fn story(event: &Event, message: Option<&MessageTold>, eyes: Eyes) -> String {
    let mut about = Vec::new();
    if let Some(name) = &event.about {
        about.push(format!("{}{name}", sort_of(event.kind)));
    }
    if let Some(id) = event.message {
        about.push(match message {
            Some(message) => format!("message {id} to {}", eyes.recipient(&message.recipient)),
            None => format!("message {id}"),
        });
    }
    if let Some(attempt) = event.attempt {
        about.push(format!("attempt {attempt}"));
    }
    if let Some(by) = &event.by {
        about.push(format!("by {by}"));
    }
    let mut story = about.join(", ");
    if let Some(text) = &event.text {
        let colon = if story.is_empty() { "" } else { ": " };
        story += &format!("{colon}{}", without_stop(text));
    }
    if let Some(seconds) = event.again_in_s {
        story += &format!("; again in {}", span(seconds));
    }
    // What is tried again by itself needs nobody's help.
    if let (Some(code), Tone::Bad) = (event.code, event.kind.tone()) {
        story += &format!(". {}", meaning(Some(code)).1);
    }
    story
}

/// What a name is the name of.
fn sort_of(kind: EventKind) -> &'static str {
    match kind {
        EventKind::TemplateHeld | EventKind::TemplateReleased => "template ",
        EventKind::SequenceHalted
        | EventKind::SequenceResumed
        | EventKind::SequenceSkipped
        | EventKind::SequenceCancelled => "sequence ",
        EventKind::CampaignStarted
        | EventKind::CampaignPaused
        | EventKind::CampaignResumed
        | EventKind::CampaignDone
        | EventKind::CampaignCancelled => "campaign ",
        EventKind::Begun
        | EventKind::Accepted
        | EventKind::Deferred
        | EventKind::Throttled
        | EventKind::Failed
        | EventKind::Uncertain
        | EventKind::Settled
        | EventKind::LeftToPerson
        | EventKind::Expired
        | EventKind::Cancelled
        | EventKind::Sent
        | EventKind::Delivered
        | EventKind::Read
        | EventKind::Played
        | EventKind::Undelivered
        | EventKind::SenderHeld
        | EventKind::SenderReleased => "",
    }
}

/// A wait, which may be shorter than a second.
fn span(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{} ms", (seconds * 1_000.0).round()),
        ..120.0 => format!("{} s", seconds.round()),
        _ => crate::standing::time::span(time::Duration::seconds_f64(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::cli::tail::json::EventJson;
    use crate::standing::veil::Veil;

    fn event(kind: EventKind) -> Event {
        Event::new(datetime!(2026-03-01 12:00:05 UTC), kind, "4711")
    }

    fn told(event: &Event) -> String {
        let message = MessageTold {
            id: 7,
            recipient: "+16505551234".into(),
            campaign: None,
            sequence: None,
            reference: None,
        };
        let message = event.message.map(|_| message);
        of(event, message.as_ref(), Eyes::CLOSED, false)
    }

    #[test]
    fn a_line_says_when_what_whose_and_why() {
        let mut begun = event(EventKind::Begun);
        (begun.message, begun.attempt) = (Some(7), Some(1));
        assert_eq!(
            told(&begun),
            "2026-03-01 12:00:05 UTC  begun               4711  message 7 to +165…34, attempt 1\n"
        );
        let failed = Event {
            kind: EventKind::Failed,
            code: Some(131_047),
            text: Some("(131047) Re-engagement message".into()),
            ..begun.clone()
        };
        assert_eq!(
            told(&failed),
            "2026-03-01 12:00:05 UTC  failed              4711  message 7 to +165…34, attempt 1: (131047) Re-engagement message. \
             More than 24 hours since the recipient wrote: send a template instead.\n"
        );
        let deferred = Event {
            kind: EventKind::Deferred,
            again_in_s: Some(0.05),
            text: Some("its next attempt (2 of 5): no connection could be made".into()),
            ..begun
        };
        assert!(told(&deferred).ends_with("no connection could be made; again in 50 ms\n"));
    }

    #[test]
    fn what_is_about_no_message_is_named_by_its_name() {
        let paused = Event {
            about: Some("spring".into()),
            by: Some("ada".into()),
            text: Some("wrong price".into()),
            ..event(EventKind::CampaignPaused)
        };
        assert!(told(&paused).ends_with("  4711  campaign spring, by ada: wrong price\n"));
        let done = Event {
            text: Some("nothing is left".into()),
            ..event(EventKind::SenderReleased)
        };
        assert!(told(&done).ends_with("  4711  nothing is left\n"));
    }

    #[test]
    fn a_number_that_whatsapp_names_is_masked_until_it_is_asked_for() {
        let held = Event {
            text: Some("(131031) +1 650-555-1234 is locked".into()),
            ..event(EventKind::SenderHeld)
        };
        let seen = |reveal| held.clone().veiled(Eyes { reveal });
        let line = |reveal| of(&seen(reveal), None, Eyes::CLOSED, false);
        assert!(line(false).ends_with("  4711  (131031) +165…34 is locked\n"));
        assert!(line(true).ends_with("  4711  (131031) +1 650-555-1234 is locked\n"));
        let json = |reveal| EventJson::of(&seen(reveal), None, Eyes::CLOSED).line();
        assert!(json(false).contains("+165…34 is locked"));
        assert!(json(true).contains("+1 650-555-1234 is locked"));
    }

    #[test]
    fn only_the_kind_is_coloured_and_a_text_steers_no_terminal() {
        let held = Event {
            text: Some("\u{1b}[2Jgone".into()),
            ..event(EventKind::SenderHeld)
        };
        let line = of(&held, None, Eyes::CLOSED, true);
        assert_eq!(line.matches('\u{1b}').count(), 2, "{line:?}");
        assert!(line.contains("\u{1b}[31msender_held"));
    }
}
