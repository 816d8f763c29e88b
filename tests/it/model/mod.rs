//! Random stories of a few messages, two workers, WhatsApp and a person, played to the store and to a model of design.md §3.
//!
//! After everything that happens the two must agree on every message and on the sequence, and the promises of §1 must hold. A
//! story that fails is shrunk and printed, with the seed that leads to it.
//!
//! - `WA_OUTBOX_MODEL_CASES`: so many stories (default 150). For a night: 100000.
//! - `WA_OUTBOX_MODEL_SEED`: the seed that a failure printed, to see it again. Otherwise every run plays others.
//!
//! Stories worth keeping are written down as tests of their own, not as files of seeds.

mod books;
mod line;
mod stage;
mod story;

use std::cell::Cell;
use std::env;
use std::fmt::Display;
use std::str::FromStr;

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use wa_outbox::store::Store;

use crate::support::database::TestDatabase;

/// As a variable of the environment says, if it says anything.
fn told<T: FromStr<Err: Display>>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|error| panic!("{name} is {value:?}: {error}")),
    )
}

#[test]
fn the_database_does_what_the_model_says_whatever_happens() {
    let seed = told("WA_OUTBOX_MODEL_SEED").unwrap_or_else(|| fastrand::u64(..));
    let config = Config {
        cases: told("WA_OUTBOX_MODEL_CASES").unwrap_or(150),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let database = runtime.block_on(TestDatabase::create());
    let store = Store::over(database.pool.clone());
    let (cases, happened) = (Cell::new(0_usize), Cell::new(0_usize));
    let done = TestRunner::new(config).run(&story::case(), |case| {
        cases.set(cases.get() + 1);
        let sender = format!("{}", cases.get());
        let played = runtime.block_on(stage::play(&store, &database.pool, &sender, &case));
        let count = played.map_err(TestCaseError::fail)?;
        happened.set(happened.get() + count);
        Ok(())
    });
    println!("{} stories, {} happenings", cases.get(), happened.get());
    match done {
        Ok(()) => {}
        Err(TestError::Fail(story, _)) => {
            panic!("the database and the model part ways (WA_OUTBOX_MODEL_SEED={seed})\n{story}")
        }
        Err(TestError::Abort(why)) => panic!("the stories could not be played: {why}"),
    }
}
