//! `wa-outbox why message`: for each thing that a message can wait for, and each end it can come to, one true sentence from what
//! is stored.

use sqlx::AssertSqlSafe;

use crate::support::world::World;

const TEXT: &str = r#"{"type":"text","text":{"body":"Hello"}}"#;
const PROMO: &str =
    r#"{"type":"template","template":{"name":"promo","language":{"code":"en_US"}}}"#;
/// A worker has the sender, and has just said how it goes.
const WORKED: &str = "with w as (insert into wa.workers (name, expires_at) values ('w1', now() + interval '1 day') returning worker),
     l as (update wa.leases set worker = (select worker from w), epoch = 1 where sender = '{s}')
   insert into wa.sender_runtime (sender, worker, epoch, updated_at, rate_now, rate_limit, limit_source, in_flight, at_hand)
   select '{s}', worker, 1, now() + interval '1 hour', 80, 80, 'its setting', 0, 0 from w";
const BEGUN: &str = "update wa.queue set state = 'sending', attempt = 1, epoch = 1, begun_at = now() - interval '3 days 1 hour',
   deadline = now() + interval '1 day' where id = {id}";
const DOUBT: &str = "insert into wa.uncertain
     (id, sender, priority, expires_at, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt, waiting_for)
   select id, sender, priority, expires_at, in_sequence, 1, 1, 0, begun_at, now() + interval '20 days 1 hour', true, 'no answer came',
     'evidence' from wa.queue where id = {id}";
const ACCEPTED: &str = "insert into wa.acceptances (wamid, sender, id, attempt, learned_from)
   values ('wamid.{id}', '{s}', {id}, 1, 'response')";
const PUT_OFF: &str = "update wa.queue set due_at = now() + interval '10 days 1 hour'";

/// What is done, and the sentence that follows. `{s}` is the sender, `{id}` the message, `{front}` the first one before it.
struct Case {
    about: &'static str,
    before: Vec<String>,
    columns: &'static str,
    values: &'static str,
    payload: &'static str,
    after: Vec<String>,
    says: &'static str,
}

/// A text with these statements after it.
fn case(about: &'static str, after: &[&str], says: &'static str) -> Case {
    Case {
        about,
        before: Vec::new(),
        columns: "",
        values: "",
        payload: TEXT,
        after: after.iter().map(|&one| one.to_owned()).collect(),
        says,
    }
}

impl Case {
    /// Behind others, which these statements write.
    fn behind(mut self, before: &[&str]) -> Self {
        self.before = before.iter().map(|&one| one.to_owned()).collect();
        self
    }

    /// With more columns.
    fn with(mut self, columns: &'static str, values: &'static str) -> Self {
        (self.columns, self.values) = (columns, values);
        self
    }

    async fn is_told(&self, world: &World, number: usize) {
        let sender = format!("9000{number:04}");
        world.add_sender(&sender).await;
        for statement in &self.before {
            world.run_sql(&statement.replace("{s}", &sender)).await;
        }
        let front: Option<i64> =
            sqlx::query_scalar("select min(id) from wa.outbox where sender = $1")
                .bind(&sender)
                .fetch_one(&world.database.pool)
                .await
                .expect("the one in front");
        // A row of a campaign has no content of its own.
        let insert = format!(
            "insert into wa.outbox (sender, recipient, payload{}) values ('{sender}', '+16505551234', nullif('{}', '')::json{}) returning id",
            self.columns,
            self.payload,
            self.values.replace("{s}", &sender)
        );
        let id: i64 = sqlx::query_scalar(AssertSqlSafe(insert))
            .fetch_one(&world.database.pool)
            .await
            .expect("it is written");
        let filled = |text: &str| {
            let front = front.unwrap_or_default().to_string();
            let text = text.replace("{id}", &id.to_string());
            text.replace("{s}", &sender).replace("{front}", &front)
        };
        for statement in &self.after {
            world.run_sql(&filled(statement)).await;
        }
        let said = world.says(&["why", "message", &id.to_string()]).await;
        let first = said.lines().next().unwrap_or_default();
        assert_eq!(first, filled(self.says), "{}", self.about);
        let json = world
            .says_json(&["why", "message", &id.to_string(), "--json"])
            .await;
        assert_eq!(json["sentence"], first, "{}", self.about);
    }
}

fn put_off(why: &str) -> String {
    format!("{PUT_OFF}, waiting_for = '{why}' where id = {{id}}")
}

/// What keeps a sender.
fn senders() -> Vec<Case> {
    vec![
        // First, while no worker is written down.
        case(
            "nobody works",
            &[],
            "Message {id} is queued; its sender waits for a worker: none runs; start one: wa-outbox run.",
        ),
        case(
            "nobody looks after what is uncertain",
            &[BEGUN, DOUBT],
            "Message {id} is uncertain: the answer to request 1 of 3 days ago was lost, and it may have reached WhatsApp. A webhook \
             settles it; without one, as soon as a worker runs again, it is sent again (its policy is retry).",
        ),
        case(
            "a worker that died",
            &[WORKED, "update wa.workers set expires_at = now() where worker = (select worker from wa.leases where sender = '{s}')",
              "insert into wa.workers (name, expires_at) values ('w2', now() + interval '1 day')"],
            "Message {id} is queued; its sender waits for a worker: those that run have not taken it yet.",
        ),
        case(
            "a person holds the sender",
            &[WORKED, "update wa.senders set held_reason = 'under review', held_by = 'ada', held_at = now() - interval '5 days 1 hour'
                       where sender = '{s}'"],
            "Message {id} is queued; its sender is held since 5 days by ada: under review; release it: wa-outbox sender release {s}.",
        ),
        case(
            "its worker cannot send",
            &[WORKED, "update wa.leases set problem = 'its token cannot be read: no such file' where sender = '{s}'"],
            "Message {id} is queued; its sender cannot be worked: its token cannot be read: no such file.",
        ),
        case(
            "no connection can be made",
            &[WORKED, "update wa.senders set base_url = 'http://example.com' where sender = '{s}'",
              "update wa.sender_runtime set breaker = 'open', breaker_until = now() + interval '4 days 1 hour' where sender = '{s}'"],
            "Message {id} is queued; its sender cannot connect to example.com: the circuit is open, next try in 4 days.",
        ),
        case(
            "told to slow down",
            &[WORKED, "update wa.sender_runtime set slow_until = now() + interval '4 days 1 hour' where sender = '{s}'"],
            "Message {id} is queued; its sender waits: WhatsApp told it to slow down for another 4 days.",
        ),
        case(
            "a worker that is silent",
            &[WORKED, "update wa.sender_runtime set updated_at = now() - interval '4 days 1 hour' where sender = '{s}'"],
            "Message {id} is queued; its sender is worked by w1, which last told 4 days ago how it goes.",
        ),
    ]
}

/// What keeps one message.
fn messages() -> Vec<Case> {
    let put_off_for = |about, why: &str, says| case(about, &[WORKED, &put_off(why)], says);
    vec![
        case(
            "nothing",
            &[WORKED],
            "Message {id} is queued and waits for its turn: it is the next to leave.",
        ),
        case(
            "those in front, some of them more urgent",
            &[WORKED],
            "Message {id} is queued and waits for its turn: 403 messages leave before it, 400 of them of a more urgent priority; at 80 a \
             second that takes 5 s.",
        )
        .behind(&[
            "insert into wa.outbox (sender, recipient, payload, priority)
             select '{s}', '+16505551234', '{\"type\":\"text\",\"text\":{\"body\":\"Hello\"}}', case when n <= 400 then 0 when n <= 403 then 5 else 9 end
             from generate_series(1, 500) n",
        ]),
        case(
            "its due time",
            &[WORKED, "update wa.queue set due_at = now() + interval '10 days 1 hour' where id = {id}"],
            "Message {id} is queued, due in 10 days, and waits for its due time.",
        ),
        put_off_for(
            "the pair limit",
            "this recipient''s limit: too many messages in a short time",
            "Message {id} is queued, due in 10 days, and waits for this recipient's limit: too many messages in a short time.",
        ),
        put_off_for(
            "quiet hours",
            "the quiet hours of its campaign",
            "Message {id} is queued, due in 10 days, and waits for the quiet hours of its campaign.",
        ),
        put_off_for(
            "an upload",
            "the upload of its file",
            "Message {id} is queued, due in 10 days, and waits for the upload of its file.",
        ),
        put_off_for(
            "a retry",
            "its next attempt (2 of 10): no connection could be made",
            "Message {id} is queued, due in 10 days, and waits for its next attempt (2 of 10): no connection could be made.",
        ),
        Case {
            payload: PROMO,
            ..case(
                "its template",
                &[WORKED, "insert into wa.template_holds (sender, template, cause, reason, held_by)
                           values ('{s}', 'promo', 'operator', 'wrong price', 'ada')"],
                "Message {id} is queued and waits for its template promo, held: wrong price.",
            )
        },
        case(
            "its end",
            &[WORKED],
            "Message {id} is queued and waits for its turn: it is the next to leave. It expires in 10 days.",
        )
        .with(", expires_at", ", now() + interval '10 days 1 hour'"),
        case(
            "an end that nobody has written down",
            &[WORKED, "select pg_sleep_until(expires_at) from wa.outbox where id = {id}"],
            "Message {id} is queued and waits for its turn: it is the next to leave. Its time has passed: it expires at a worker's next look.",
        )
        .with(", expires_at", ", now() + interval '200 milliseconds'"),
    ]
}

/// Requests that are out, and answers that were lost.
fn requests() -> Vec<Case> {
    let lost = |about, columns, values, after: &[&str], says| {
        let mut statements = vec![WORKED, BEGUN, DOUBT];
        statements.extend(after);
        case(about, &statements, says).with(columns, values)
    };
    vec![
        case(
            "an answer",
            &[WORKED, BEGUN],
            "Message {id} is being sent: request 1 was begun 3 days ago and waits for its answer.",
        ),
        case(
            "a sweep of what a worker has left",
            &[BEGUN, "update wa.queue set deadline = now() where id = {id}"],
            "Message {id} is being sent: request 1 was begun 3 days ago, and its worker has not told how it ended; it becomes uncertain \
             as soon as a worker has its sender.",
        ),
        case(
            "evidence, then it is sent again",
            &[WORKED, BEGUN, DOUBT],
            "Message {id} is uncertain: the answer to request 1 of 3 days ago was lost, and it may have reached WhatsApp. A webhook \
             settles it; without one, in 20 days it is sent again (its policy is retry).",
        ),
        lost(
            "evidence, then a person",
            ", on_uncertain",
            ", 'hold'",
            &[],
            "Message {id} is uncertain: the answer to request 1 of 3 days ago was lost, and it may have reached WhatsApp. A webhook \
             settles it; without one, in 20 days it is left to a person (its policy is hold).",
        ),
        lost(
            "evidence, and it was sent again already",
            "",
            "",
            &["update wa.uncertain set may_resend = false where id = {id}"],
            "Message {id} is uncertain: the answer to request 1 of 3 days ago was lost, and it may have reached WhatsApp. A webhook \
             settles it; without one, in 20 days it is left to a person: it may not be sent again.",
        ),
        lost(
            "evidence, until its own end",
            ", expires_at",
            ", now() + interval '9 days 1 hour'",
            &[],
            "Message {id} is uncertain: the answer to request 1 of 3 days ago was lost, and it may have reached WhatsApp. A webhook \
             settles it; without one, in 20 days it expires. It expires in 9 days.",
        ),
        lost(
            "a provider that tells nothing",
            "",
            "",
            &["update wa.senders set callback_echo = false where sender = '{s}'"],
            "Message {id} is uncertain: the answer to request 1 of 3 days ago was lost, and it may have reached WhatsApp. A webhook \
             settles it; without one, in 20 days it is left to a person: its provider does not say which message a status is about.",
        ),
        lost(
            "a person",
            "",
            "",
            &["update wa.uncertain set needs_person = true, waiting_for = 'a person: its policy is hold; see: wa-outbox uncertain resolve {id}'
               where id = {id}"],
            "Message {id} is uncertain: its answer was lost and it may have reached WhatsApp. It waits for a person: its policy is hold. \
             See: wa-outbox uncertain resolve {id}",
        ),
    ]
}

const FIRST: &str = "insert into wa.outbox (sender, recipient, payload, sequence)
   values ('{s}', '+16505551234', '{\"type\":\"text\",\"text\":{\"body\":\"Hello\"}}', 'story')";

/// Members of a sequence.
fn sequences() -> Vec<Case> {
    let member = |about, after: &[&str], says| {
        let statements: Vec<String> = after
            .iter()
            .map(|one| one.replace("{id}", "{front}"))
            .collect();
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        case(about, &statements, says)
            .behind(&[FIRST])
            .with(", sequence", ", 'story'")
    };
    vec![
        member(
            "one that is queued",
            &[WORKED],
            "Message {id} waits behind message {front} in sequence 'story': {front} is queued and waits for its turn.",
        ),
        member(
            "one that was accepted",
            &[WORKED, BEGUN, ACCEPTED, HOURS_AGO, LOOKED_AT_THEN],
            "Message {id} waits behind message {front} in sequence 'story': {front} was accepted 3 h ago, no status has come yet, and must \
             be delivered or read; if it is not, the sequence halts in 29 days.",
        ),
        member(
            "one that was sent on, and others",
            &[WORKED, BEGUN, ACCEPTED, HOURS_AGO, LOOKED_AT_THEN, "update wa.results set sent_at = now() where id = {id}",
              "update wa.sequences set on_timeout = 'proceed' where sender = '{s}'"],
            "Message {id} waits behind message {front} in sequence 'story': {front} was accepted 3 h ago, its status is sent, and must be \
             delivered or read; if it is not, the next one leaves all the same in 29 days. One more message of it comes before this one.",
        )
        .behind(&[FIRST, FIRST]),
        member(
            "a sequence that is halted",
            &["update wa.sequences set halted_cause = 'timeout', halted_member = {id}, halted_reason = 'message {id} was not delivered',
               halted_at = now() - interval '5 days 1 hour' where sender = '{s}'"],
            "Message {id} waits: its sequence 'story' is halted since 5 days: message {front} was not delivered; it goes on if that is \
             delivered after all, or by a person's word (sequence resume).",
        ),
    ]
}

/// Rows of a campaign.
fn campaigns() -> Vec<Case> {
    let row = |about, change: &'static str, says| {
        let made = format!(
            "select wa.create_campaign('c{{s}}', '{PROMO}', sender => '{{s}}', author => 'ada')"
        );
        Case {
            before: vec![made, change.to_owned()],
            columns: ", campaign_id",
            values: ", (select id from wa.campaigns where sender = '{s}')",
            payload: "",
            ..case(about, &[WORKED], says)
        }
    };
    vec![
        row(
            "its start",
            "select 1",
            "Message {id} is queued and waits for its campaign to be started: wa-outbox campaign start c{s}.",
        ),
        row(
            "its going on",
            "update wa.campaigns set state = 'paused', state_changed_by = 'ada', state_reason = 'wrong price' where name = 'c{s}'",
            "Message {id} is queued and waits for its campaign, paused by ada: wrong price; resume it: wa-outbox campaign resume c{s}.",
        ),
        row(
            "its turn among the rows of one that runs",
            "update wa.campaigns set state = 'running' where name = 'c{s}'",
            "Message {id} is queued and waits for its turn: it is the next to leave.",
        ),
        row(
            "its turn outside the quiet hours",
            "update wa.campaigns set state = 'running', quiet_hours = '21:00-08:00' where name = 'c{s}'",
            "Message {id} is queued and waits for its turn, outside the quiet hours 21:00-08:00 of its campaign: it is the next to leave.",
        ),
    ]
}

/// Messages that have come to an end.
fn ends() -> Vec<Case> {
    let ended = |about, state: &str, more: &str, says| {
        let end = format!(
            "insert into wa.results (id, sender, state, attempts, error_code, error_message, ended_at)
             values ({{id}}, '{{s}}', '{state}', 1, {more}, now() - interval '3 hours 10 minutes')"
        );
        case(about, &[WORKED, &end], says)
    };
    let taken = |about, status: &str, says| {
        case(about, &[WORKED, BEGUN, ACCEPTED, HOURS_AGO, status], says)
    };
    vec![
        ended(
            "failed",
            "failed",
            "131026, 'Message undeliverable'",
            "Message {id} failed 3 h ago: (131026) Message undeliverable.",
        ),
        ended(
            "expired",
            "expired",
            "null, 'its time passed before it could leave'",
            "Message {id} expired: its time passed before it could leave.",
        ),
        case(
            "cancelled",
            &[
                "update wa.queue set due_at = now() where id = {id}",
                "insert into wa.results (id, sender, state, attempts, error_message)
               values ({id}, '{s}', 'cancelled', 0, 'cancelled by ada')",
            ],
            "Message {id} was cancelled by ada.",
        ),
        taken(
            "accepted",
            "select 1",
            "Message {id} was accepted by WhatsApp 3 h ago; no status has come since.",
        ),
        taken(
            "sent",
            "update wa.results set sent_at = now() - interval '3 hours 10 minutes' where id = {id}",
            "Message {id} was sent on by WhatsApp 3 h ago and is not delivered yet.",
        ),
        taken(
            "delivered",
            "update wa.results set delivered_at = now() - interval '3 hours 10 minutes' where id = {id}",
            "Message {id} was delivered 3 h ago.",
        ),
        taken(
            "read",
            "update wa.results set read_at = now() - interval '3 hours 10 minutes' where id = {id}",
            "Message {id} was read 3 h ago.",
        ),
        taken(
            "played",
            "update wa.results set played_at = now() - interval '3 hours 10 minutes' where id = {id}",
            "Message {id} was played.",
        ),
        taken(
            "undelivered",
            "update wa.results set failed_at = now(), error_code = 131026, error_message = 'Message undeliverable' where id = {id}",
            "Message {id} was accepted by WhatsApp, which then could not deliver it: (131026) Message undeliverable.",
        ),
    ]
}

const LOOKED_AT_THEN: &str = "update wa.sequences set look_at = look_at - interval '3 hours 10 minutes' where sender = '{s}'";
const HOURS_AGO: &str =
    "update wa.results set ended_at = now() - interval '3 hours 10 minutes' where id = {id}";

#[tokio::test]
async fn each_thing_that_a_message_waits_for_and_each_end_is_told_truly_in_one_sentence() {
    let world = World::at_rest().await;
    let all = [
        senders(),
        messages(),
        requests(),
        sequences(),
        campaigns(),
        ends(),
    ];
    for (number, case) in all.iter().flatten().enumerate() {
        case.is_told(&world, number).await;
    }
}

#[tokio::test]
async fn people_are_told_the_time_on_their_own_clock_and_scripts_in_utc() {
    let world = World::at_rest().await;
    world
        .run_sql("insert into wa.outbox (recipient, payload, due_at)
                  values ('+16505551234', '{\"type\":\"text\",\"text\":{\"body\":\"Hello\"}}', '2026-07-01 12:00Z')")
        .await;
    let found = world.says_json(&["message", "list", "--json"]).await;
    let message = &found[0];
    assert_eq!(message["due_at"], "2026-07-01T12:00:00Z");
    let id = message["id"].to_string();
    let output = world
        .command_with(&[("TZ", "America/New_York")], &["why", "message", &id])
        .await;
    let says = String::from_utf8(output.stdout).expect("text");
    assert!(says.contains("2026-07-01 08:00:00 EDT ("), "{says}");
}
