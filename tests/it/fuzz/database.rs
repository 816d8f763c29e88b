//! What is checked in the program and in the database is checked the same: inputs of the fuzzer's, changed by chance, are put to both.

use fastrand::Rng;
use serde_json::Value;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use wa_outbox::domain::numbering::Country;
use wa_outbox::domain::phone::normalised;
use wa_outbox::message::rules::{self, To};
use wa_outbox::provider::Payload;

use super::{changed, corpus};
use crate::support::database::TestDatabase;

const CHANGES: usize = 100;

/// What is kept of a surface and changes of it, as texts that Postgres can be given.
fn texts(surface: &str) -> Vec<String> {
    let mut chance = Rng::with_seed(4_711);
    let corpus = corpus(surface);
    let mut texts = Vec::new();
    for (_, input) in &corpus {
        texts.push(input.clone());
        for _ in 0..CHANGES {
            let (_, other) = &corpus[chance.usize(..corpus.len())];
            texts.push(changed(input, other, &mut chance));
        }
    }
    let texts = texts
        .into_iter()
        .filter_map(|text| String::from_utf8(text).ok());
    texts.filter(|text| !text.contains('\0')).collect()
}

/// Refusals that are not about what a message says: what cannot be stored, and what is ours to write.
const NO_RULES: [&str; 4] = [
    "payload cannot be stored",
    "payload.type ",
    "payload names another recipient",
    "payload.messaging_product ",
];

/// A database that tells what it refuses, in place of refusing it.
async fn a_database() -> (TestDatabase, PgConnection) {
    let database = TestDatabase::create().await;
    let mut connection = PgConnection::connect(&database.url)
        .await
        .expect("it answers");
    let asked = "
        create function pg_temp.recipient(given text, country text) returns text language plpgsql as $$
        begin
          return wa.checked_recipient(given, 'phone', country);
        exception when check_violation then
          return null;
        end $$;
        create function pg_temp.refusal(given text) returns text language plpgsql as $$
        begin
          perform wa.checked_payload(given::json, '+16505551234', 'refuse');
          return null;
        exception
          when check_violation then return sqlerrm;
          when invalid_text_representation then return 'no JSON';
          when untranslatable_character or invalid_parameter_value then return 'no text';
        end $$;
        create function pg_temp.is_plain(given text) returns boolean language plpgsql as $$
        begin
          return wa.payload_is_plain(given::json);
        exception when invalid_text_representation then
          return null;
        end $$";
    sqlx::raw_sql(asked)
        .execute(&mut connection)
        .await
        .expect("functions");
    (database, connection)
}

#[tokio::test]
async fn the_database_reads_phone_numbers_as_the_program_does() {
    let (_database, mut connection) = a_database().await;
    let (mut countries, mut numbers) = (Vec::new(), Vec::new());
    for text in texts("phone") {
        let (country, number) = text.split_once('\n').unwrap_or(("", &text));
        let country: Option<Country> = country.parse().ok();
        countries.push(country.map(|country| country.to_string()));
        numbers.push(number.to_owned());
    }
    let read: Vec<Option<String>> = sqlx::query_scalar(
        "select pg_temp.recipient(g.number, g.country) from unnest($1::text[], $2::text[]) with ordinality g (number, country, place) order by place",
    )
    .bind(&numbers)
    .bind(&countries)
    .fetch_all(&mut connection)
    .await
    .expect("an answer to each");
    let taken = read.iter().flatten().count();
    assert!(
        taken > 150 && read.len() - taken > 150,
        "{taken} of {} were taken",
        read.len()
    );
    // Of dialled numbers a few are new to one of two ports of a library; see the test of dialled numbers.
    let (mut differ, mut dialled) = (Vec::new(), 0);
    for ((number, country), read) in numbers.iter().zip(&countries).zip(read) {
        let known = country.as_ref().and_then(|country| country.parse().ok());
        let ours = normalised(number, known).ok();
        let is_dialled = known.is_some() && !number.contains('+');
        if ours != read && is_dialled {
            dialled += 1;
        } else if ours != read {
            differ.push((number, country, ours, read));
        }
    }
    assert!(
        dialled * 500 <= numbers.len(),
        "{dialled} of {}",
        numbers.len()
    );
    assert!(
        differ.is_empty(),
        "the program and the database differ: {differ:#?}"
    );
}

#[tokio::test]
async fn a_payload_that_needs_no_second_look_would_stand_it_and_what_is_refused_breaks_a_rule() {
    let (_database, mut connection) = a_database().await;
    let payloads = texts("payload");
    let judged: Vec<(Option<bool>, Option<String>)> = sqlx::query_as(
        "select pg_temp.is_plain(g.payload), pg_temp.refusal(g.payload) from unnest($1::text[]) with ordinality g (payload, place) order by place",
    )
    .bind(&payloads)
    .fetch_all(&mut connection)
    .await
    .expect("an answer to each");
    let plain = judged
        .iter()
        .filter(|(plain, _)| *plain == Some(true))
        .count();
    assert!(plain > 100, "{plain} of {} were plain", payloads.len());
    let is_another = |refusal: &str| NO_RULES.iter().any(|other| refusal.starts_with(other));
    let mut wrong = Vec::new();
    for (payload, (plain, refusal)) in payloads.iter().zip(judged) {
        let is_plain = plain == Some(true);
        let ours = Payload::parse(payload);
        let has_kind = ours.is_ok_and(|ours| ours.kind().is_some());
        let value = serde_json::from_str::<Value>(payload).ok();
        let breaks_a_rule = |value: &Value| {
            let broken = rules::check(value, Some(To::Phone), false);
            rules::refusals(&broken).next().is_some()
        };
        let breaks_a_rule = value
            .filter(Value::is_object)
            .is_none_or(|value| breaks_a_rule(&value));
        match refusal {
            Some(refusal) if is_plain => {
                wrong.push(format!("not looked at twice, and {refusal}: {payload}"))
            }
            Some(refusal) if !breaks_a_rule && !is_another(&refusal) => {
                wrong.push(format!("by no rule {refusal}: {payload}"))
            }
            None if !has_kind => wrong.push(format!("taken, and cannot be sent: {payload}")),
            Some(_) | None => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
