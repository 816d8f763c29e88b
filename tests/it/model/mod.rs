//! Random stories of a few messages, two workers, WhatsApp and a person, played to the store and to a model of design.md §3.
//!
//! After everything that happens the two must agree on every message and on the sequence, and the promises of §1 must hold. A
//! story that fails is shrunk and printed, with the seed that leads to it.
//!
//! - `WA_OUTBOX_MODEL_CASES`: so many stories (default 100). For a night: 100000.
//! - `WA_OUTBOX_MODEL_SEED`: the seed that a failure printed, to see it again. Otherwise every run plays others.
//!
//! A story worth keeping is written down as a test of its own (`kept`), not as a file of seeds.

mod books;
mod kept;
mod line;
mod stage;
mod story;

use std::cell::Cell;
use std::env;
use std::fmt::Display;
use std::str::FromStr;

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use tokio::runtime::{self, Runtime};
use wa_outbox::store::Store;

use crate::support::database::TestDatabase;
use story::Case;

/// Where stories are played, one after the other, each with a sender of its own.
struct Theatre {
    store: Store,
    database: TestDatabase,
    played: Cell<usize>,
    runtime: Runtime,
}

impl Theatre {
    fn open() -> Self {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (database, store) = runtime.block_on(async {
            let database = TestDatabase::create().await;
            let store = Store::over(database.pool.clone());
            (database, store)
        });
        Self {
            store,
            database,
            played: Cell::new(0),
            runtime,
        }
    }

    /// An error is the story and what was wrong at its end.
    fn play(&self, case: &Case) -> Result<usize, String> {
        self.played.set(self.played.get() + 1);
        let sender = self.played.get().to_string();
        let playing = stage::play(&self.store, &self.database.pool, &sender, case);
        self.runtime.block_on(playing)
    }
}

/// As a variable of the environment says, if it says anything.
fn told<T: FromStr<Err: Display>>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    let parsed = value.parse();
    Some(parsed.unwrap_or_else(|error| panic!("{name} is {value:?}: {error}")))
}

#[test]
fn the_database_does_what_the_model_says_whatever_happens() {
    let seed = told("WA_OUTBOX_MODEL_SEED").unwrap_or_else(|| fastrand::u64(..));
    let config = Config {
        cases: told("WA_OUTBOX_MODEL_CASES").unwrap_or(100),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let theatre = Theatre::open();
    let happened = Cell::new(0);
    let done = TestRunner::new(config).run(&story::case(), |case| {
        let count = theatre.play(&case).map_err(TestCaseError::fail)?;
        happened.set(happened.get() + count);
        Ok(())
    });
    let (stories, happened) = (theatre.played.get(), happened.get());
    println!("{stories} stories, in which {happened} things happened");
    match done {
        Ok(()) => {}
        Err(TestError::Fail(story, _)) => {
            panic!("the database and the model part ways (WA_OUTBOX_MODEL_SEED={seed})\n{story}")
        }
        Err(TestError::Abort(why)) => panic!("the stories could not be played: {why}"),
    }
}
