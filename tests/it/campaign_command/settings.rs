//! Settings that cannot be meant are refused before anything is written, with what to write instead.

use wa_outbox::store::campaign::CampaignSettings;

use super::{Desk, people};
use crate::support::world::World;

#[tokio::test]
async fn what_is_no_number_takes_neither_limit_nor_brake_away() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    let set = ["campaign", "set", "spring"];
    let limits = ["--slow-to", "20", "--pause-at", "0.2"];
    world.says(&[&set[..], &limits].concat()).await;

    for wrong in [
        ["--slow-to", "NaN"],
        ["--slow-to", "inf"],
        ["--pause-at", "NaN"],
        ["--rate-share", "NaN"],
        ["--rate-share", "1.5"],
        ["--priority", "10"],
        ["--pause-window", "5s"],
    ] {
        let output = world.command(&[&set[..], &wrong].concat()).await;
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
    // Past the command line the database refuses them.
    for settings in [
        CampaignSettings {
            max_per_second: Some(Some(f64::NAN)),
            ..CampaignSettings::default()
        },
        CampaignSettings {
            pause_failure_share: Some(Some(f64::INFINITY)),
            ..CampaignSettings::default()
        },
        CampaignSettings {
            rate_share: Some(f64::NAN),
            ..CampaignSettings::default()
        },
    ] {
        let campaign = world.store.campaigns().await.expect("a campaign")[0].id;
        let set = world.store.set_campaign(campaign, &settings, "ada", None);
        let refused = set.await.expect_err("it is refused");
        let (said, _) = refused.refusal().expect("by a rule");
        assert!(said.contains("above_0"), "{said}");
    }

    let shown = world
        .says_json(&["campaign", "show", "spring", "--json"])
        .await;
    let settings = &shown["settings"];
    assert_eq!(
        (
            &settings["max_per_second"],
            &settings["pause_failure_share"],
            &settings["rate_share"]
        ),
        (&20.0.into(), &0.2.into(), &1.0.into())
    );
}

#[tokio::test]
async fn a_time_that_is_past_ends_no_campaign() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let (template, file) = (desk.greeting(), desk.file("customers.csv", people(2)));
    let create = ["campaign", "create", "spring", "--template", &template];
    let past = ["--ends-at", "2020-01-01T00:00:00Z"];

    let output = world.command(&[&create[..], &past].concat()).await;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(world.count("wa.campaigns").await, 0);

    world
        .says(&[&create[..], &["--recipients", &file]].concat())
        .await;
    let refused = world
        .refuses(&[&["campaign", "set", "spring"][..], &past].concat())
        .await;
    assert!(
        refused.starts_with("error: --ends-at is past: 2020-01-01 00:00:00 UTC")
            && refused.contains("to end it: wa-outbox campaign cancel spring --reason …"),
        "{refused}"
    );
    let shown = world
        .says_json(&["campaign", "show", "spring", "--json"])
        .await;
    assert!(shown["settings"]["ends_at"].is_null(), "{shown}");

    // With the start that the campaign has already, it is the database that compares.
    let set = ["campaign", "set", "spring"];
    world
        .says(&[&set[..], &["--starts-at", "2h"]].concat())
        .await;
    let refused = world
        .refuses(&[&set[..], &["--ends-at", "1h"]].concat())
        .await;
    assert!(
        refused.contains("a campaign ends after it starts") && refused.contains("fix: set both"),
        "{refused}"
    );
}
