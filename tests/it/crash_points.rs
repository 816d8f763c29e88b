//! A process that dies between two steps, at each of the points that the code names: whoever comes after it finds nothing lost and
//! repeats nothing.
//!
//! Each case lets a worker die at one point of what it does with the same mixture of messages, starts another, waits until everything
//! has ended, and compares the database with what WhatsApp has witnessed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Output};
use std::time::Duration;

use wa_outbox::config::Config;
use wa_outbox::domain::id::MessageId;
use wa_outbox::simulator::{Fault, WebhookFault};
use wa_outbox::store::campaign::{CampaignVerb, NewCampaign};
use wa_outbox::store::sender::SenderChange;

use crate::support::books::message_of;
use crate::support::database::TestDatabase;
use crate::support::make::{ALICE, BOB, a_message, a_text};
use crate::support::process::Process;
use crate::support::wire::{BEGIN, Mishap, Wire};
use crate::support::world::{APP_SECRET, SENDER, World, quick_settings};

/// Names the point in the environment of a process.
const CRASH_AT: &str = "WA_OUTBOX_CRASH_AT";
/// `abort` ends with this signal.
const SIGABRT: i32 = 6;
/// The end of a worker is got over: its lease, the deadline of its requests, the evidence clock of each request that is lost.
const RECOVERY: Duration = Duration::from_secs(90);
/// Is held, so that what it has to send expires or is cancelled.
const HELD: &str = "106540352242923";
const OFFER: &str = r#"{"type":"template","template":{"name":"offer","language":{"code":"en_US"},"components":[{"type":"body","parameters":[{"type":"text","text":"{{name}}"}]}]}}"#;

/// One test for each point.
macro_rules! points {
    ($($test:ident: $point:literal, $case:expr;)*) => {
        const COVERED: &[&str] = &[$($point),*];

        $(
            #[tokio::test]
            async fn $test() {
                $case($point).await;
            }
        )*
    };
}

points! {
    read_done: "read.done", dies_at_work;
    begin_asked: "begin.asked", dies_at_work;
    begin_committed: "begin.committed", dies_at_work;
    send_leaving: "send.leaving", dies_at_work;
    send_answered: "send.answered", dies_at_work;
    record_asked: "record.asked", dies_at_work;
    record_committed: "record.committed", dies_at_work;
    put_off_committed: "put-off.committed", dies_at_work;
    lease_renewed: "lease.renewed", dies_at_work;
    lease_taken: "lease.taken", dies_at_work;
    webhook_came: "webhook.came", dies_at_work;
    webhook_stored: "webhook.stored", dies_at_work;
    apply_taken: "apply.taken", dies_at_work;
    apply_statuses: "apply.statuses", dies_at_work;
    apply_asked: "apply.asked", dies_at_work;
    apply_committed: "apply.committed", dies_at_work;
    expire_committed: "expire.committed", dies_at_work;
    settle_committed: "settle.committed", dies_at_work;
    sequence_looked_after: "sequence.looked-after", dies_while_a_delivery_is_overdue;
    campaign_folded: "campaign.folded", dies_at_work;
    campaign_rows_ended: "campaign.rows-ended", dies_at_work;
    campaign_closed: "campaign.closed", dies_at_work;
    hold_asked: "hold.asked", dies_while_it_holds;
    hold_committed: "hold.committed", dies_while_it_holds;
    hold_template_committed: "hold.template-committed", dies_while_it_holds_a_template;
    sweep_asked: "sweep.asked", dies_after_another;
    sweep_committed: "sweep.committed", dies_after_another;
    take_back_asked: "take-back.asked", dies_after_a_lost_answer_of_the_database;
    take_back_committed: "take-back.committed", dies_after_a_lost_answer_of_the_database;
    hand_over_asked: "hand-over.asked", dies_while_it_shares;
    hand_over_committed: "hand-over.committed", dies_while_it_shares;
    leave_committed: "leave.committed", dies_while_it_stops;
    migrate_applied: "migrate.applied", dies_while_it_migrates;
    migrate_countries: "migrate.countries", dies_while_it_migrates;
    import_asked: "import.asked", dies_while_it_imports;
    import_committed: "import.committed", dies_while_it_imports;
}

#[test]
fn every_point_of_the_code_has_its_case() {
    let mut points = BTreeSet::new();
    collect_points(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut points,
    );
    let covered: BTreeSet<String> = COVERED.iter().map(|point| (*point).to_owned()).collect();
    assert_eq!(points, covered);
}

/// What follows `crash_point!("` in the files of a folder.
fn collect_points(folder: &Path, points: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect_points(&path, points);
        } else {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let names = text.split("crash_point!(\"").skip(1);
            points.extend(names.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
}

/// Messages of every kind and fate, and what must become of them.
#[derive(Default)]
struct Mixture {
    /// Accepted once.
    sent: Vec<MessageId>,
    /// Ended otherwise, and never accepted.
    unsent: Vec<(MessageId, &'static str)>,
}

impl Mixture {
    fn sent(sent: Vec<MessageId>) -> Self {
        Self {
            sent,
            ..Self::default()
        }
    }

    /// The ledger holds each once that is to be sent and none of the others; the database knows it.
    async fn has_come_to_its_end(&self, world: &World) {
        world.until_all_have_ended_within(RECOVERY).await;
        world.until_webhooks_are_applied().await;
        let mut taken: BTreeMap<i64, usize> = BTreeMap::new();
        for entry in world.simulator.ledger().accepted() {
            *taken.entry(message_of(&entry)).or_default() += 1;
        }
        let expected: BTreeMap<i64, usize> = self.sent.iter().map(|id| (id.0, 1)).collect();
        assert_eq!(taken, expected, "what WhatsApp took, and how often");
        for id in &self.sent {
            assert_eq!(world.state_of(*id).await, "accepted", "message {id}");
        }
        for (id, state) in &self.unsent {
            assert_eq!(world.state_of(*id).await, *state, "message {id}");
        }
        let known = world.count("wa.known_wamids").await;
        assert_eq!(known, self.sent.len() as i64, "ids that WhatsApp gave");
        let all = world.count("wa.outbox").await;
        assert_eq!(all, (self.sent.len() + self.unsent.len()) as i64);
    }
}

/// Those of one place, whoever serves there: webhooks find the one who comes after.
fn settings() -> Config {
    let mut config = quick_settings();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    config.webhook.listen = free.local_addr().expect("its address");
    // A message may be lost by its own fault and by the crash.
    config.reconcile.max_resends = 5;
    config
}

async fn a_world() -> World {
    let world = World::at_rest_with(settings()).await;
    let webhook = format!("http://{}/webhook", world.config.webhook.listen);
    world.simulator.set_webhook(webhook, APP_SECRET);
    world
}

impl World {
    /// A worker that dies at this point.
    fn victim(&self, point: &str) -> Process {
        self.spawn_process_with("victim", &self.database.url, &[(CRASH_AT, point)])
    }

    fn survivor(&self) -> Process {
        self.spawn_process("survivor", &self.database.url)
    }

    /// Texts, a sequence, a campaign that ends, one that was cancelled, lost answers, what expires and
    /// more to one recipient than may leave at once.
    async fn a_mixture(&self) -> Mixture {
        let mut mixture = Mixture::default();
        let of_a_pair = SenderChange {
            pair_period_ms: Some(300),
            pair_burst: Some(2),
            ..SenderChange::default()
        };
        self.change_sender(SENDER, of_a_pair).await;
        self.simulator
            .fault_next("+16505551010", Fault::AcceptThenDropAnswer);
        self.simulator
            .fault_next("+16505551011", Fault::CloseAfterReading);
        let texts = (0..6).map(|_| a_text());
        let lost = ["+16505551010", "+16505551011"].map(|who| a_text().to(who));
        let sequence = (0..3).map(|_| a_text().to(BOB).in_sequence("story"));
        let drafts = texts.chain(lost).chain(sequence);
        mixture.sent = self.enqueue_all(drafts.collect::<Vec<_>>()).await;

        self.add_sender(HELD).await;
        let held = self
            .store
            .hold_sender(&HELD.into(), "a test", "ada", None)
            .await;
        assert!(held.expect("an answer"));
        self.run_sql(&format!(
            r#"insert into wa.outbox (sender, recipient, payload, expires_at)
               values ('{HELD}', '{ALICE}', '{{"type":"text","text":{{"body":"late"}}}}', clock_timestamp() + '1 second')"#
        ))
        .await;
        let expires = self.newest(1).await;
        mixture.unsent.extend(expires.map(|id| (id, "expired")));

        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), RECIPIENTS).expect("written");
        let path = file.path().to_str().expect("text");
        for (name, sender) in [("spring", SENDER), ("winter", HELD)] {
            let template = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(template.path(), OFFER).expect("written");
            let template = template.path().to_str().expect("text");
            let arguments = ["--template", template, "--recipients", path];
            let create = ["campaign", "create", name, "--sender", sender, "--complete"];
            self.says(&[create.as_slice(), &arguments].concat()).await;
            self.says(&["campaign", "start", name]).await;
            let rows = self.newest(3).await;
            match sender {
                SENDER => mixture.sent.extend(rows),
                _ => mixture.unsent.extend(rows.map(|id| (id, "cancelled"))),
            }
        }
        self.says(&["campaign", "cancel", "winter", "--reason", "a test"])
            .await;
        mixture
    }

    /// The newest rows.
    async fn newest(&self, rows: i64) -> impl Iterator<Item = MessageId> {
        let ids = sqlx::query_scalar("select id from wa.outbox order by id desc limit $1")
            .bind(rows)
            .fetch_all(&self.database.pool)
            .await
            .expect("ids");
        ids.into_iter().map(MessageId)
    }
}

const RECIPIENTS: &str = "phone,name\n+16505552001,Ada\n+16505552002,Bea\n+16505552003,Cleo\n";

fn assert_crashed(point: &str, ended: ExitStatus) {
    assert_eq!(
        ended.signal(),
        Some(SIGABRT),
        "{point} was never reached: {ended}"
    );
}

async fn dies_at_work(point: &str) {
    let world = a_world().await;
    let mixture = world.a_mixture().await;
    assert_crashed(point, world.victim(point).ended().await);
    let _survivor = world.survivor();
    mixture.has_come_to_its_end(&world).await;
}

/// A refusal that holds the sender: the message was not refused, and goes when the sender is released.
async fn dies_while_it_holds(point: &str) {
    let world = a_world().await;
    world.simulator.fault_next(ALICE, Fault::Error(190));
    let sent = world.enqueue_all([a_text(), a_text().to(BOB)]).await;
    assert_crashed(point, world.victim(point).ended().await);
    world
        .store
        .release_sender(&SENDER.into())
        .await
        .expect("an answer");
    let _survivor = world.survivor();
    Mixture::sent(sent).has_come_to_its_end(&world).await;
}

async fn dies_while_it_holds_a_template(point: &str) {
    let world = a_world().await;
    world.simulator.fault_next(ALICE, Fault::Error(132_001));
    let template = serde_json::json!({
        "type": "template",
        "template": {"name": "offer", "language": {"code": "en_US"}}
    });
    let sent = world
        .enqueue_all([a_message(template.clone()), a_message(template).to(BOB)])
        .await;
    assert_crashed(point, world.victim(point).ended().await);
    world.says(&["template", "release", "offer"]).await;
    let _survivor = world.survivor();
    Mixture::sent(sent).has_come_to_its_end(&world).await;
}

/// The delivery of a member of a sequence is not told in time, and the sequence goes on.
async fn dies_while_a_delivery_is_overdue(point: &str) {
    let world = a_world().await;
    world.simulator.webhook_fault_next(BOB, WebhookFault::Lost);
    world
        .run_sql(&format!(
            "select wa.set_sequence('{SENDER}', '{BOB}', 'story', delivery_timeout => '1 second', on_timeout => 'proceed')"
        ))
        .await;
    let sequence = (0..3).map(|_| a_text().to(BOB).in_sequence("story"));
    let sent = world.enqueue_all(sequence).await;
    assert_crashed(point, world.victim(point).ended().await);
    let _survivor = world.survivor();
    Mixture::sent(sent).has_come_to_its_end(&world).await;
}

/// The one before died while a request was out, so there is something to be swept.
async fn dies_after_another(point: &str) {
    let world = a_world().await;
    world.simulator.fault_next(ALICE, Fault::Hang);
    let first = world.spawn_process("first", &world.database.url);
    let sent = world.enqueue_all([a_text(), a_text().to(BOB)]).await;
    world.until_asked(2).await;
    first.kill().await;
    assert_crashed(point, world.victim(point).ended().await);
    let _survivor = world.survivor();
    Mixture::sent(sent).has_come_to_its_end(&world).await;
}

/// A begin whose answer is lost is taken back.
async fn dies_after_a_lost_answer_of_the_database(point: &str) {
    let world = a_world().await;
    let wire = Wire::to(&world.database.url);
    let lost = wire.set(BEGIN, Mishap::AnswerLost);
    let sent = world.enqueue_all([a_text(), a_text().to(BOB)]).await;
    let victim = world.spawn_process_with("victim", &wire.url, &[(CRASH_AT, point)]);
    lost.over().await;
    assert_crashed(point, victim.ended().await);
    let _survivor = world.survivor();
    Mixture::sent(sent).has_come_to_its_end(&world).await;
}

/// Another joins, and gets one of two senders.
async fn dies_while_it_shares(point: &str) {
    let mut config = settings();
    // Two processes serve on one machine.
    config.webhook.listen = "127.0.0.1:0".parse().expect("an address");
    let world = World::at_rest_with(config).await;
    world.add_sender(HELD).await;
    let victim = world.spawn_process_with("victim", &world.database.url, &[(CRASH_AT, point)]);
    victim.until_logged("Took 2 senders").await;
    let survivor = world.start_process("survivor").await;
    assert_crashed(point, victim.ended().await);
    let mut sent = world.enqueue_all([a_text(), a_text().to(BOB)]).await;
    world
        .run_sql(&format!(
            r#"insert into wa.outbox (sender, recipient, payload) values ('{HELD}', '{ALICE}', '{{"type":"text","text":{{"body":"Hello"}}}}')"#
        ))
        .await;
    sent.extend(world.newest(1).await);
    Mixture::sent(sent).has_come_to_its_end(&world).await;
    drop(survivor);
}

async fn dies_while_it_stops(point: &str) {
    let world = a_world().await;
    let victim = world.victim(point);
    let sent = world.enqueue_all((0..8).map(|_| a_text())).await;
    world.until_taken(1).await;
    victim.ask_to_stop();
    assert_crashed(point, victim.ended().await);
    let _survivor = world.survivor();
    Mixture::sent(sent).has_come_to_its_end(&world).await;
}

async fn dies_while_it_migrates(point: &str) {
    let database = TestDatabase::empty().await;
    let migrate = async |env: &[(&str, &str)]| -> Output {
        tokio::process::Command::new(env!("CARGO_BIN_EXE_wa-outbox"))
            .arg("migrate")
            .env_clear()
            .env("DATABASE_URL", &database.url)
            .envs(env.iter().copied())
            .output()
            .await
            .expect("the program starts")
    };
    assert_crashed(point, migrate(&[(CRASH_AT, point)]).await.status);
    let again = migrate(&[]).await;
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success(), "{said}");
    let countries: i64 = sqlx::query_scalar("select count(*) from wa.countries")
        .fetch_one(&database.pool)
        .await
        .expect("a count");
    assert!(countries > 200, "{countries}");
}

async fn dies_while_it_imports(point: &str) {
    let world = a_world().await;
    let campaign = NewCampaign {
        name: "spring".to_owned(),
        payload: OFFER.to_owned(),
        by: "ada".to_owned(),
        ..NewCampaign::default()
    };
    let campaign = world.store.create_campaign(&campaign).await.expect("one");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), RECIPIENTS).expect("written");
    let path = file.path().to_str().expect("text");
    let import = ["campaign", "import", "spring", path];
    let died = world.command_with(&[(CRASH_AT, point)], &import).await;
    assert_crashed(point, died.status);
    world.says(&import).await;
    assert_eq!(world.count("wa.outbox").await, 3);

    let started = world
        .store
        .lead_campaign(campaign, CampaignVerb::Start, "ada", None)
        .await;
    assert!(started.expect("an answer"));
    let _survivor = world.survivor();
    let sent = world.newest(3).await.collect();
    Mixture::sent(sent).has_come_to_its_end(&world).await;
}
