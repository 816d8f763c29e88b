//! Failures, grouped by WhatsApp's code and by sender, in plain words, with what can be done about a whole group.

use maud::html;

use crate::admin::dashboard::layout::{
    Shown, Tone, act, message_link, moment, nothing, number, pill, short, table, verdict,
};
use crate::admin::dashboard::page::Look;
use crate::admin::dashboard::session::Visitor;
use crate::admin::dashboard::{Dashboard, Trouble};
use crate::domain::mask::Eyes;
use crate::standing::facts::thousands;
use crate::standing::failure::meaning;
use crate::standing::veil::Veil;
use crate::store::failures::FailureFilter;

/// How far back: the word in the address, its name, and hours.
const BACK: [(&str, &str, i64); 4] = [
    ("1h", "An hour", 1),
    ("24h", "A day", 24),
    ("7d", "A week", 168),
    ("all", "Whatever is kept", 0),
];

pub(super) async fn list(
    dashboard: &Dashboard,
    visitor: &Visitor,
    look: &Look,
) -> Result<Shown, Trouble> {
    let word = look.get("since").unwrap_or("24h");
    let (word, _, hours) = BACK
        .into_iter()
        .find(|(known, ..)| *known == word)
        .unwrap_or(BACK[1]);
    let sender = look.get("sender");
    let filter = FailureFilter {
        sender: sender.map(str::to_owned),
        since: (hours > 0).then(|| dashboard.clock.now() - time::Duration::hours(hours)),
    };
    let mut failures = dashboard.store.failures(&filter).await?;
    failures.groups = failures.groups.veiled(Eyes::CLOSED);
    let all: i64 = failures.groups.iter().map(|group| group.messages).sum();
    let rows = failures.groups.iter().map(|group| {
        let (title, remedy) = meaning(group.code);
        let code = group.code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        let target = format!("{code}~{}", group.sender);
        let when = match (group.rejected, group.messages - group.rejected) {
            (_, 0) => pill(Tone::Bad, "refused"),
            (0, _) => pill(Tone::Doubt, "after acceptance"),
            _ => pill(Tone::Bad, "both"),
        };
        [
            html! { @match group.code {
                Some(code) => a href={ "/messages?code=" (code) "&sender=" (group.sender) } { (code) },
                None => "–",
            } },
            number(group.messages),
            html! { strong { (title) } br; span.nothing { (remedy) } },
            when,
            html! { a href={ "/senders/" (group.sender) } { (group.sender) } },
            moment(group.last_at),
            html! { (message_link(group.sample)) " " (short(group.sample_message.as_deref().unwrap_or_default(), 70)) },
            html! { div.buttons {
                (act(visitor, "failures-again", &target, "Send again"))
                (act(visitor, "suppress-failures", &target, "Suppress"))
            } },
        ]
    });
    let titles = [
        "Code",
        "Messages",
        "Means, and what to do",
        "When",
        "Sender",
        "Last",
        "The latest",
        "Do to all of them",
    ];
    Ok(Shown::new("Failures")
        .section("tabs", html! {
            div.tabs role="group" aria-label="How far back" {
                @for (known, name, _) in BACK { a href={ "/failures" (look.with("since", known)) } aria-current=[(known == word).then_some("true")] { (name) } }
            }
            @if sender.is_some() { p { "Of one sender. " a href={ "/failures" (look.with("sender", "")) } { "Of all" } } }
        })
        .section("failures", html! {
            @if failures.groups.is_empty() { (verdict(Tone::Well, "Nothing has failed in that time.")) }
            @else {
                (verdict(Tone::Doubt, &format!("{} messages have failed, in {} groups.", thousands(all), failures.groups.len())))
                (table("Failures by code and sender, the largest group first", titles, rows))
            }
            @if !failures.is_whole() { p.nothing { "The newest " (thousands(failures.looked_at)) " failures were looked at." } }
            @if failures.groups.is_empty() { (nothing("What WhatsApp refuses, and what it could not deliver, is grouped here by its code.")) }
        }))
}
