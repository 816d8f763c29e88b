//! Numbers without + are read as they are dialled in the sender's country, by the database as by the library that knows how.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, PhoneNumberType, Region};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use wa_outbox::domain::numbering::Country;

use super::{TEXT, a_producer, refusal};
use crate::support::make::a_text;
use crate::support::world::{SENDER, World};

async fn enqueue(producer: &mut PgConnection, recipient: &str) -> String {
    let statement = format!(
        "insert into wa.outbox (recipient, payload) values ('{recipient}', {TEXT}) returning recipient"
    );
    sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_one(producer)
        .await
        .expect("the row is taken")
}

#[tokio::test]
async fn a_number_without_a_plus_goes_to_whom_one_reaches_who_dials_it_in_the_senders_country() {
    let world = World::at_rest().await;
    let set = ["sender", "set", SENDER, "--default-country"];
    world.says(&[&set[..], &["de"]].concat()).await;
    let mut producer = a_producer(&world.database).await;
    for dialled in ["0151 2345-6789", "0049 (151) 23456789", "+49 151 23456789"] {
        let recipient = enqueue(&mut producer, dialled).await;
        assert_eq!(recipient, "+4915123456789", "{dialled}");
    }
    let shown = world.says(&["sender", "show", SENDER]).await;
    assert!(shown.contains("as dialled in DE"), "{shown}");

    let row = |recipient: &str| {
        format!("insert into wa.outbox (recipient, payload) values ('{recipient}', {TEXT})")
    };
    for nobody in [
        "12345",
        "110",
        "0044 20 7946 0018",
        "0151234",
        "4915123456789",
    ] {
        let refused = refusal(&mut producer, &row(nobody)).await;
        assert!(
            refused
                .message
                .contains("is not clearly one number as it is dialled in DE"),
            "{}",
            refused.message
        );
        assert!(
            refused.hint.contains("write + and the country code"),
            "{}",
            refused.hint
        );
    }
    world.says(&[&set[..], &["default"]].concat()).await;
    let refused = refusal(&mut producer, &row("0151 23456789")).await;
    assert!(
        refused.message.contains("does not start with +"),
        "{}",
        refused.message
    );
}

#[tokio::test]
async fn members_of_a_sequence_stand_in_one_line_however_their_recipient_was_dialled() {
    let world = World::at_rest().await;
    let set = ["sender", "set", SENDER, "--default-country", "DE"];
    world.says(&set).await;
    world
        .enqueue(a_text().to("+4915123456789").in_sequence("story"))
        .await;
    world
        .enqueue(a_text().to("0151 23456789").in_sequence("story"))
        .await;
    assert_eq!(world.count("wa.sequences").await, 1);
}

/// What may be dialled to reach this number, and what looks like it.
fn ways_to_dial(region: Region, kind: PhoneNumberType, chance: &mut fastrand::Rng) -> Vec<String> {
    let Ok(number) = PHONE_NUMBER_UTIL.get_example_number_for_type_and_region(region, kind) else {
        return Vec::new();
    };
    let national = PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::National);
    let national: String = national.chars().filter(char::is_ascii_digit).collect();
    let bare = rlibphonenumber::get_national_significant_number_owned(&number);
    let code = number.country_code;
    let mut ways = vec![
        national.clone(),
        bare.clone(),
        format!("{code}{bare}"),
        format!("00{code}{bare}"),
        format!("0{bare}"),
        format!("1{bare}"),
        format!("8{bare}"),
        format!("{code}{national}"),
        format!("{bare}0"),
        bare[1..].to_owned(),
    ];
    for _ in 0..5 {
        let mut other = bare.clone().into_bytes();
        let place = chance.usize(..other.len());
        other[place] = chance.u8(b'0'..=b'9');
        ways.extend(String::from_utf8(other));
    }
    ways
}

#[tokio::test]
async fn the_database_reads_dialled_numbers_as_the_library_does() {
    let world = World::at_rest().await;
    let mut chance = fastrand::Rng::with_seed(4_711);
    let (mut regions, mut dialled, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    let mut known: Vec<Region> = PHONE_NUMBER_UTIL.get_supported_regions().collect();
    known.sort_by_key(ToString::to_string);
    for region in known {
        let country: Country = region.to_string().parse().expect("a country");
        for kind in [
            PhoneNumberType::FixedLine,
            PhoneNumberType::Mobile,
            PhoneNumberType::TollFree,
            PhoneNumberType::VoIP,
        ] {
            for digits in ways_to_dial(region, kind, &mut chance) {
                regions.push(region.to_string());
                expected.push(country.reached_by(&digits));
                dialled.push(digits);
            }
        }
    }
    let found: Vec<Option<String>> = sqlx::query_scalar(
        "select wa.dialled_in(d.digits, d.region)
         from unnest($1::text[], $2::text[]) with ordinality d (digits, region, place) order by d.place",
    )
    .bind(&dialled)
    .bind(&regions)
    .fetch_all(world.store.pool())
    .await
    .expect("an answer to each");

    let differ: Vec<_> = (regions.iter().zip(&dialled))
        .zip(expected.iter().zip(&found))
        .filter(|(_, (expected, found))| expected != found)
        .collect();
    let some = expected.iter().flatten().count();
    // Two ports of one library, not always of the same month: a few ranges are new to one of them.
    assert!(some > 3_000, "{some} of {}", dialled.len());
    assert!(
        differ.len() * 1_000 <= dialled.len(),
        "{} of {} differ: {differ:?}",
        differ.len(),
        dialled.len()
    );
}

#[tokio::test]
async fn migrating_brings_the_numbering_plans_up_to_date_and_drops_no_country() {
    let world = World::at_rest().await;
    let plans = async || -> Vec<String> {
        let all = "select c::text from wa.countries c order by c.region";
        let all = sqlx::query_scalar(all).fetch_all(world.store.pool()).await;
        all.expect("the plans")
    };
    let before = plans().await;
    for change in [
        "update wa.countries set lengths = '{1}', national_prefix = '7', general_pattern = 'x' where region = 'DE'",
        "delete from wa.countries where region = 'FR'",
        "insert into wa.countries select (jsonb_populate_record(c, '{\"region\": \"ZZ\"}')).* from wa.countries c where c.region = 'IT'",
    ] {
        world.run_sql(change).await;
    }
    world.store.migrate().await.expect("it is up to date");

    let after = plans().await;
    let (gone, known): (Vec<_>, Vec<_>) =
        after.into_iter().partition(|plan| plan.starts_with("(ZZ,"));
    let lost: Vec<_> = before.iter().filter(|plan| !known.contains(plan)).collect();
    assert_eq!((lost, known.len()), (vec![], before.len()));
    assert_eq!(gone.len(), 1, "a sender may name it");
}
