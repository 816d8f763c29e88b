//! The end of the demo: what became of the messages, proved by WhatsApp's own ledger, and what to do next.
//!
//! The summary is made of what the database says and compared with what the simulator has witnessed. Where the two do not
//! agree, a promise is broken, and that is said instead of a good ending.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};

use super::act::Board;
use super::screen::Screen;
use super::script::{CONVERSATION, CONVERSATION_WITH};
use super::standing::{Seen, Tone};
use crate::cli::text::wrapped;
use crate::simulator::{Counts, Ledger};
use crate::store::Store;

/// What the ledger has witnessed, after it was compared with the database.
pub(super) struct Witnessed {
    counts: Counts,
}

/// Compares the database with the ledger.
///
/// # Errors
/// When a message was accepted twice, was lost, or left out of order.
pub(super) async fn compare(
    seen: &[Seen],
    ledger: &Ledger,
    store: &Store,
    board: &Board,
) -> anyhow::Result<Witnessed> {
    let counts = ledger.counts();
    let known = seen.iter().filter(|message| message.has_wamid).count() as u64;
    let twice = ledger.duplicates().len();
    ensure!(
        twice == 0,
        "{twice} messages were accepted twice, says WhatsApp's ledger"
    );
    ensure!(
        counts.accepted == known,
        "WhatsApp accepted {} messages, but the database knows of {known}",
        counts.accepted
    );
    in_order(&board.all(CONVERSATION), ledger, store).await?;
    Ok(Witnessed { counts })
}

/// Each part of the conversation was accepted after the one before had been delivered.
async fn in_order(ids: &[i64], ledger: &Ledger, store: &Store) -> anyhow::Result<()> {
    let doing = "could not read the conversation";
    let written: Vec<String> = sqlx::query_scalar(
        "select payload -> 'text' ->> 'body' from wa.outbox where id = any($1) order by id",
    )
    .bind(ids)
    .fetch_all(store.pool())
    .await
    .context(doing)?;
    let delivered_ms: Vec<f64> = sqlx::query_scalar(
        "select extract(epoch from min(received_at))::float8 * 1000 from wa.status_events
         where id = any($1) and status in ('delivered', 'read') group by id order by id",
    )
    .bind(ids)
    .fetch_all(store.pool())
    .await
    .context(doing)?;
    let accepted = ledger.accepted_for(CONVERSATION_WITH);
    let texts: Vec<&str> = accepted
        .iter()
        .filter_map(|entry| entry.text.as_deref())
        .collect();
    // The ledger's time is cut to the millisecond.
    let waited = accepted
        .iter()
        .skip(1)
        .zip(&delivered_ms)
        .all(|(next, delivered_ms)| (next.unix_ms + 1) as f64 >= *delivered_ms);
    ensure!(
        texts == written && delivered_ms.len() == written.len() && waited,
        "the conversation did not leave in order"
    );
    Ok(())
}

/// The summary.
pub(super) fn summary(
    seen: &[Seen],
    witnessed: &Witnessed,
    board: &Board,
    seconds: f64,
    screen: &Screen,
) -> String {
    let counts = &witnessed.counts;
    let mut text = format!(
        "\n{}\n\n",
        screen.bold(&format!(
            "All {} messages have settled, after {seconds:.0} seconds.",
            seen.len()
        ))
    );
    let acknowledged = match counts.acknowledged {
        0 => String::new(),
        done => format!(", and it did {done} mark as read"),
    };
    let ledger = format!(
        "WhatsApp accepted {} of them, each exactly once. So says its own ledger: of {} requests it accepted {}, none for a \
         message it had already{acknowledged}.",
        counts.accepted, counts.requests, counts.accepted
    );
    text.push_str(&wrapped("  ", "  ", &ledger, screen.columns()));
    text.push('\n');
    for (outcome, (tone, count)) in outcomes(seen) {
        let line = format!("  {count:>4}  {outcome}");
        text.push_str(&screen.toned(tone, &line));
        text.push('\n');
    }
    text.push_str(&format!(
        "\n{}\n\n",
        screen.bold("What went wrong, and what became of it")
    ));
    for (ids, story) in stories(seen, board) {
        text.push_str(&wrapped(
            &format!("  {ids:<8} "),
            "           ",
            &story,
            screen.columns(),
        ));
    }
    text
}

/// How many ended how, in the order of how well.
fn outcomes(seen: &[Seen]) -> Vec<(String, (Tone, usize))> {
    let mut counts: BTreeMap<u8, (String, (Tone, usize))> = BTreeMap::new();
    for message in seen {
        let (rank, words, tone) = match (message.state.as_str(), message.status.as_deref()) {
            ("accepted", Some("read" | "played")) => (0, "read ✓✓", Tone::Seen),
            ("accepted", Some("delivered")) => (1, "delivered ✓✓", Tone::Good),
            ("accepted", Some("sent")) => (2, "sent ✓ (a reaction gets no more)", Tone::Moving),
            ("accepted", Some("failed")) => (4, "accepted, then reported as failed", Tone::Bad),
            ("accepted", _) => (3, "done (a mark as read gets no status)", Tone::Moving),
            ("failed", _) => (5, "refused", Tone::Bad),
            ("expired", _) => (6, "expired", Tone::Quiet),
            ("cancelled", _) => (7, "cancelled", Tone::Quiet),
            (_, _) => (8, "not settled", Tone::Doubt),
        };
        let count = counts
            .entry(rank)
            .or_insert_with(|| (words.to_owned(), (tone, 0)));
        count.1.1 += 1;
    }
    counts.into_values().collect()
}

/// What is worth telling, by message.
fn stories(seen: &[Seen], board: &Board) -> Vec<(String, String)> {
    let mut stories: Vec<(i64, String, String)> = seen
        .iter()
        .filter_map(|message| Some((message.id, format!("#{}", message.id), story(message)?)))
        .collect();
    let conversation = board.all(CONVERSATION);
    if let (Some(first), Some(last)) = (conversation.first(), conversation.last()) {
        let story = "In sequence: they left one by one and in order, each after the delivery of the one before.";
        stories.push((*first, format!("#{first}–{last}"), story.to_owned()));
    }
    stories.sort_by_key(|(id, ..)| *id);
    stories
        .into_iter()
        .map(|(_, ids, story)| (ids, story))
        .collect()
}

fn story(message: &Seen) -> Option<String> {
    let error = || message.error_in_words();
    if message.was_sent_again() {
        return Some(
            "The answer was lost and no webhook told of the message. When silence counted it was sent again, once: \
             the first request had never been taken."
                .to_owned(),
        );
    }
    if message.was_proved_by_webhook() {
        return Some(
            "The answer was lost. A webhook with our token proved that WhatsApp had the message, so it was not sent again."
                .to_owned(),
        );
    }
    match message.state.as_str() {
        "failed" => return Some(format!("Refused, which is final: {}", error())),
        "expired" => {
            return Some(
                "Its time passed while WhatsApp could not be reached, so it was not sent late."
                    .to_owned(),
            );
        }
        "cancelled" => return Some("Cancelled before it was due; nothing left.".to_owned()),
        _ => {}
    }
    if message.status.as_deref() == Some("failed") {
        return Some(format!(
            "Accepted, and later reported as not delivered: {}",
            error()
        ));
    }
    if message.met("throttled") {
        return Some(
            "WhatsApp said to slow down (130429). The number slowed down, the message went again, and no attempt \
             was spent on it."
                .to_owned(),
        );
    }
    if message.met("not_sent") {
        return Some(format!(
            "No connection: provably not sent, so it was simply tried again. Accepted at attempt {}.",
            message.attempts
        ));
    }
    message.odd_news().map(str::to_owned)
}

/// What to do next with a real number.
pub(super) fn next_steps(screen: &Screen) -> String {
    format!(
        "\n{}\n{}\n
  export DATABASE_URL=postgres://user@localhost/app
  export WHATSAPP_PHONE_NUMBER_ID=… WHATSAPP_ACCESS_TOKEN=…

  wa-outbox migrate
  wa-outbox run
  wa-outbox send --to +… --template hello_world --language en_US --wait\n",
        screen.bold("Now with a real number"),
        screen.dim(
            "(number id and token: developers.facebook.com → your app → WhatsApp → API Setup)"
        ),
    )
}
