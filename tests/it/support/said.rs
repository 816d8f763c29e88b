//! WhatsApp names a number, and its words have got into every place where they are kept.

use wa_outbox::domain::id::MessageId;

use super::make::a_text;
use super::world::{SENDER, World};

/// What it says. It holds the number twice, once in base64, and orders to a terminal and to whoever puts letters in line.
pub(crate) const SAID: &str =
    "the number +1 650-555-1234 (wamid.HBgLMTY1MDU1NTEyMzQVAgA=) is\u{1b}[2J\u{202e} locked";
/// What nobody sees of it.
pub(crate) const HIDDEN: [&str; 4] = ["555-1234", "LMTY1MDU1", "\u{1b}", "\u{202e}"];
/// What is seen of it.
pub(crate) const MASKED: &str = "the number +165…34 (wamid.HBg…A=) is";
/// A sender that is not held, and of which something went wrong lately.
pub(crate) const UNHELD: &str = "200000000000001";

/// Messages that its words are told of.
pub(crate) struct Told {
    /// Waits for its sender, which is held.
    pub(crate) queued: MessageId,
    /// Waits in a sequence that is halted.
    pub(crate) waiting: MessageId,
    pub(crate) uncertain: MessageId,
    pub(crate) failed: MessageId,
}

/// The places. No service may run that would go on from there.
pub(crate) async fn everywhere(world: &World) -> Told {
    let told = Told {
        queued: world.enqueue(a_text()).await,
        uncertain: world.enqueue(a_text()).await,
        failed: world.enqueue(a_text()).await,
        waiting: {
            world.enqueue(a_text().in_sequence("story")).await;
            world.enqueue(a_text().in_sequence("story")).await
        },
    };
    world.add_sender(UNHELD).await;
    let (uncertain, failed) = (told.uncertain, told.failed);
    let promo = r#"{"type":"template","template":{"name":"promo","language":{"code":"en_US"}}}"#;
    for statement in [
        format!("update wa.queue set state = 'sending', attempt = 1, epoch = 1, begun_at = now(), deadline = now() where id in ({uncertain}, {failed})"),
        format!("insert into wa.uncertain (id, sender, priority, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt, waiting_for)
                 select id, sender, priority, in_sequence, 1, 1, 0, begun_at, deadline, true, 'the service failed: {SAID}', 'evidence' from wa.queue where id = {uncertain}"),
        format!("insert into wa.results (id, sender, state, attempts, in_sequence, error_code, error_message)
                 select id, sender, 'failed', 1, in_sequence, 131026, '{SAID}' from wa.queue where id = {failed}"),
        format!("update wa.sequences set halted_cause = 'failed', halted_member = head_id, halted_at = now(), halted_reason = 'message ' || head_id || ' failed: {SAID}'"),
        "insert into wa.sequence_events (sender, recipient, sequence, what, author, reason) select sender, recipient, sequence, 'halted', 'wa-outbox', halted_reason from wa.sequences".to_owned(),
        format!("update wa.senders set held_reason = '{SAID}', held_by = 'wa-outbox', held_cause = 'account', held_at = clock_timestamp() where sender = '{SENDER}'"),
        format!("insert into wa.sender_runtime (sender, worker, epoch, rate_now, rate_limit, limit_source, in_flight, at_hand, last_error, last_error_at)
                 values ('{UNHELD}', 0, 0, 0, 80, 'its setting', 0, 0, '{SAID}', now())"),
        format!("insert into wa.template_holds (sender, template, cause, reason, held_by, held_until)
                 values ('{SENDER}', 'promo', 'answer', '{SAID}', 'wa-outbox', now() + interval '1 hour')"),
        format!("select wa.create_campaign('spring', '{promo}', sender => '{SENDER}', author => 'ada')"),
        format!("update wa.campaigns set state = 'paused', state_reason = '{SAID}', state_changed_by = 'wa-outbox'"),
        "insert into wa.campaign_events (campaign, what, author, reason) select id, 'paused', 'wa-outbox', state_reason from wa.campaigns".to_owned(),
    ] {
        world.run_sql(&statement).await;
    }
    told
}
