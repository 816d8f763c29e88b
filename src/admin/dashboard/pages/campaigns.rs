//! Campaigns: how far each is, how fast it goes, what failed, and leading it.

use maud::{Markup, html};

use crate::admin::dashboard::layout::{
    Shown, Tone, act, facts, moment, nothing, number, ours, pill, short, some_moment, table,
    verdict,
};
use crate::admin::dashboard::session::Visitor;
use crate::admin::dashboard::{Dashboard, Trouble};
use crate::domain::mask::Eyes;
use crate::standing::campaign::{Standing, ahead, per_second};
use crate::standing::facts::thousands;
use crate::standing::failure::meaning;
use crate::standing::veil::Veil;
use crate::store::campaign::{Campaign, CampaignKey};
use crate::store::campaign_progress::CampaignCounts;

/// Of what happened to it so much is shown.
const EVENTS: i64 = 20;

fn tone(campaign: &Campaign) -> Tone {
    match campaign.state.as_str() {
        "running" | "done" => Tone::Well,
        "paused" => Tone::Doubt,
        _ => Tone::Quiet,
    }
}

/// Where its recipients are, as one bar; told in words beside it.
fn bar(counts: &CampaignCounts) -> Markup {
    let total = counts.total().max(1);
    #[expect(clippy::cast_precision_loss, reason = "a share of a bar")]
    let share = |count: i64| 100.0 * count as f64 / total as f64;
    let reached = counts.delivered + counts.read;
    let parts = [
        ("one", share(reached)),
        ("two", share(counts.taken() - reached - counts.undelivered)),
        ("three", share(counts.failed + counts.undelivered)),
    ];
    let mut x = 0.0;
    let mut bars = String::new();
    for (class, width) in parts {
        bars += &format!(
            "<rect class=\"{class}\" x=\"{x:.2}\" y=\"0\" width=\"{width:.2}\" height=\"10\"/>"
        );
        x += width;
    }
    let words = format!(
        "{} reached, {} taken, {} failed, of {}",
        thousands(reached),
        thousands(counts.taken()),
        thousands(counts.failed + counts.undelivered),
        thousands(counts.total())
    );
    html! {
        svg.share viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label=(words) { (ours(bars)) }
    }
}

pub(super) async fn list(dashboard: &Dashboard) -> Result<Shown, Trouble> {
    let mut rows = Vec::new();
    for campaign in dashboard.store.campaigns().await?.veiled(Eyes::CLOSED) {
        let counts = dashboard.store.campaign_counts(campaign.id).await?;
        rows.push((campaign, counts));
    }
    let shown = Shown::new("Campaigns");
    if rows.is_empty() {
        return Ok(shown.section(
            "none",
            nothing("There is no campaign yet. Make one: wa-outbox campaign create --help"),
        ));
    }
    let rows = rows.iter().map(|(campaign, counts)| {
        [
            html! { a href={ "/campaigns/" (campaign.id) } { (campaign.name) } },
            pill(tone(campaign), &campaign.state),
            html! { (bar(counts)) },
            number(counts.total()),
            number(counts.open()),
            number(counts.taken()),
            number(counts.failed + counts.undelivered),
            moment(campaign.state_changed_at),
            short(campaign.state_reason.as_deref().unwrap_or_default(), 90),
        ]
    });
    let titles = [
        "Campaign",
        "State",
        "Progress",
        "Recipients",
        "Open",
        "Taken",
        "Failed",
        "Since",
        "Why",
    ];
    Ok(shown.section(
        "campaigns",
        table("Campaigns, those that are not over first", titles, rows),
    ))
}

pub(super) async fn one(
    dashboard: &Dashboard,
    visitor: &Visitor,
    id: i64,
) -> Result<Shown, Trouble> {
    let store = &dashboard.store;
    let gone = || Trouble::NotThere(format!("There is no campaign {id}."));
    let campaign = store
        .campaign(&CampaignKey::Id(id))
        .await?
        .veiled(Eyes::CLOSED)
        .ok_or_else(gone)?;
    let progress = store.campaign_progress(id).await?.veiled(Eyes::CLOSED);
    let progress = progress.ok_or_else(gone)?;
    let events = store.campaign_events(id, EVENTS).await?;
    let events = events.veiled(Eyes::CLOSED);
    let standing = Standing {
        campaign: &campaign,
        progress: &progress,
    };
    let counts = &progress.counts;
    let (limit, by) = standing.limit();
    Ok(Shown::new(format!("Campaign {}", campaign.name))
        .section("verdict", verdict(tone(&campaign), &standing.sentence()))
        .section("acts", acts(visitor, &campaign))
        .section("progress", html! {
            h2 { "Progress" }
            (bar(counts))
            p { span.one { "■" } " reached " span.two { "■" } " taken, not reached yet " span.three { "■" } " failed" }
            (facts([
                ("rate", html! { (standing.rate().map_or_else(|| "0".to_owned(), per_second)) " of " (per_second(limit)) " a second (" (by) ")" }),
                ("time left", html! { (standing.time_left().map_or_else(|| "–".to_owned(), |left| ahead(left, progress.now))) }),
                ("last answer", some_moment(progress.last_answer_at)),
                ("last status", some_moment(progress.last_status_at)),
                ("preflight", some_moment(campaign.preflight_at)),
                ("sender", html! { a href={ "/senders/" (campaign.sender) } { (campaign.sender) } }),
            ]))
        })
        .section("places", html! {
            h2 { "Where its " (thousands(counts.total())) " recipients are" }
            (facts(places(counts).into_iter().filter(|(_, count)| *count != 0).map(|(place, count)| (place, number(count)))))
        })
        .section("put-off", html! {
            @if !progress.put_off.is_empty() {
                h2 { "Put off" }
                ul { @for (why, count) in &progress.put_off { li { (thousands(*count)) " wait for " (why) } } }
                p.nothing { "The next of them is due " (some_moment(progress.next_due_at)) "." }
            }
        })
        .section("failures", html! {
            @if !counts.failures.is_empty() {
                h2 { "What failed" }
                (table("Failures by code", ["Code", "Messages", "Means", "What to do"], counts.failures.iter().map(|failure| {
                    let (title, remedy) = meaning(failure.code);
                    [html! { (failure.code.map_or("–".to_owned(), |code| code.to_string())) }, number(failure.count), html! { (title) }, html! { (remedy) }]
                })))
            }
        })
        .section("history", html! {
            h2 { "History" }
            ol.timeline { @for event in &events {
                li { (moment(event.happened_at)) (event.what) " by " (event.author) @if let Some(reason) = &event.reason { ": " (reason) } }
            } }
        }))
}

fn places(counts: &CampaignCounts) -> [(&'static str, i64); 12] {
    [
        ("queued", counts.queued),
        ("sending", counts.sending),
        ("uncertain", counts.uncertain),
        ("accepted", counts.accepted),
        ("sent", counts.sent),
        ("delivered", counts.delivered),
        ("read", counts.read),
        ("undelivered", counts.undelivered),
        ("failed", counts.failed),
        ("expired", counts.expired),
        ("cancelled", counts.cancelled),
        ("suppressed", counts.suppressed),
    ]
}

fn acts(visitor: &Visitor, campaign: &Campaign) -> Markup {
    let id = campaign.id;
    html! {
        div.buttons {
            @match campaign.state.as_str() {
                "draft" => { (act(visitor, "start-campaign", id, "Start it")) (act(visitor, "cancel-campaign", id, "Cancel it")) }
                "running" => { (act(visitor, "pause-campaign", id, "Pause it")) (act(visitor, "cancel-campaign", id, "Cancel it")) }
                "paused" => { (act(visitor, "resume-campaign", id, "Resume it")) (act(visitor, "cancel-campaign", id, "Cancel it")) }
                _ => {}
            }
        }
    }
}
