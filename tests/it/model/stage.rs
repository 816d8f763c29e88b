//! Plays a case to the model and to the database, and compares them after everything that happens.

use std::collections::BTreeSet;
use std::fmt::{Debug, Write as _};
use std::time::Duration;

use sqlx::postgres::PgPool;
use time::OffsetDateTime;
use wa_outbox::domain::id::{AttemptNumber, Epoch, Era, MessageId, SenderId, Wamid};
use wa_outbox::domain::outcome::Acceptance;
use wa_outbox::domain::status::Status;
use wa_outbox::domain::transition::Transition;
use wa_outbox::message::{self, OnUncertain, Outgoing};
use wa_outbox::store::Store;
use wa_outbox::store::claim::{Ask, Claim};
use wa_outbox::store::inbox::{FRONT, Handled};
use wa_outbox::store::lease::{HandOver, Suspect, WorkerId};
use wa_outbox::store::record::{Account, Record};
use wa_outbox::store::sender::SenderChange;
use wa_outbox::store::sequence::{SequenceChange, SequenceKey, Skipped, Word};
use wa_outbox::store::status::StatusSeen;
use wa_outbox::store::sweep::{BegunBefore, Place};
use wa_outbox::store::uncertain::{Finding, UncertainPolicy};

use super::books::{Books, Kind, Learned, Name, Request, State, Verdict, Who};
use super::line::Overdue;
use super::story::{Case, Happening, Heard, MESSAGES, Under};
use crate::support::make::ALICE;

const LONG: Duration = Duration::from_secs(3_600);
/// The name of the sequence.
const LINE: &str = "orders";
const ADA: Word<'static> = Word {
    by: "ada",
    reason: "she says so",
};

/// What went otherwise than the model says, or could not be done at all.
pub(super) struct Trouble(String);

impl<E: std::error::Error> From<E> for Trouble {
    fn from(error: E) -> Self {
        let mut told = format!("the database refused it: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            let _ = write!(told, ": {cause}");
            source = cause.source();
        }
        Self(told)
    }
}

fn agree<T: PartialEq + Debug>(what: &str, model: &T, database: &T) -> Result<(), Trouble> {
    match model == database {
        true => Ok(()),
        false => Err(Trouble(format!(
            "{what}\n  by the model:    {model:?}\n  by the database: {database:?}"
        ))),
    }
}

/// Where a message stands, as both can tell it.
#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Standing {
    /// The tables that have it.
    places: String,
    state: String,
    status: Option<String>,
    wamid: Option<String>,
    attempts: i32,
    /// Its last request, before its end.
    attempt: Option<i32>,
    resends: Option<i32>,
    /// Under which it is out.
    epoch: Option<i64>,
    may_resend: Option<bool>,
    needs_person: Option<bool>,
    is_passed: Option<bool>,
    wamids: i64,
    is_duplicate: bool,
    /// Doubts that nobody has marked as settled, although the wamid of their request is known.
    forgotten_doubts: i64,
}

/// Where the sequence stands, as both can tell it.
#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Gate {
    head: Option<i64>,
    passed: Option<i64>,
    halted_cause: Option<String>,
    halted_member: Option<i64>,
    unsettled: i64,
}

/// A worker whose every step the case takes itself.
struct Hand {
    worker: WorkerId,
    /// What it held the sender under when it last looked.
    believes: i64,
    /// What it has found begun by earlier holders.
    found: Vec<BegunBefore>,
}

/// One case being played.
pub(super) struct Stage<'a> {
    store: &'a Store,
    pool: &'a PgPool,
    sender: SenderId,
    key: SequenceKey,
    ids: Vec<MessageId>,
    a: Hand,
    b: Hand,
    books: Books,
    story: String,
}

/// Plays a case with a sender of its own. An error is the story, and what went wrong at its end.
pub(super) async fn play(
    store: &Store,
    pool: &PgPool,
    sender: &str,
    case: &Case,
) -> Result<usize, String> {
    let mut stage = Stage::set(store, pool, sender, case)
        .await
        .map_err(|Trouble(trouble)| trouble)?;
    let mut happened = 0;
    let mut played = Ok(());
    for happening in &case.happenings {
        let told_before = stage.story.len();
        played = stage.happen(happening).await;
        if played.is_ok() && stage.story.len() == told_before {
            continue;
        }
        happened += 1;
        if played.is_ok() {
            played = stage.compare().await;
        }
        if played.is_err() {
            break;
        }
    }
    let cleared = stage.clear_away().await;
    match played.and(cleared) {
        Ok(()) => Ok(happened),
        Err(Trouble(trouble)) => Err(format!("{:?}\n{}{trouble}", case.line, stage.story)),
    }
}

impl<'a> Stage<'a> {
    async fn set(
        store: &'a Store,
        pool: &'a PgPool,
        sender: &str,
        case: &Case,
    ) -> Result<Self, Trouble> {
        let sender = SenderId::from(sender);
        store
            .add_sender(&sender, "env:NONE", &SenderChange::default())
            .await?;
        let key = SequenceKey {
            sender: sender.to_string(),
            recipient: ALICE.to_owned(),
            sequence: LINE.to_owned(),
        };
        let words =
            |yes: bool, one: &str, other: &str| Some(if yes { one } else { other }.to_owned());
        let change = SequenceChange {
            on_failure: words(case.line.skips_failures, "skip", "halt"),
            // So short that whoever looks finds it over.
            delivery_timeout: case.line.overdue.map(|_| Duration::from_micros(1)),
            on_timeout: words(
                case.line.overdue == Some(Overdue::IsPassed),
                "proceed",
                "halt",
            ),
        };
        store.set_sequence(&key, &change, ADA).await?;
        let hand = async |name| -> Result<Hand, Trouble> {
            Ok(Hand {
                worker: store.register_worker(name, LONG).await?,
                believes: 0,
                found: Vec::new(),
            })
        };
        Ok(Self {
            a: hand("A").await?,
            b: hand("B").await?,
            store,
            pool,
            sender,
            key,
            ids: Vec::new(),
            books: Books::new(case.line),
            story: String::new(),
        })
    }

    /// What works on all senders shall not meet what this case has left.
    async fn clear_away(&self) -> Result<(), Trouble> {
        for table in ["waiting", "queue", "uncertain", "status_events", "leases"] {
            let clear = format!("delete from wa.{table} where sender = $1");
            sqlx::query(sqlx::AssertSqlSafe(clear))
                .bind(self.sender.as_str())
                .execute(self.pool)
                .await?;
        }
        sqlx::raw_sql("delete from wa.status_events where id is null; delete from wa.workers")
            .execute(self.pool)
            .await?;
        Ok(())
    }

    fn hand(&self, who: Who) -> &Hand {
        match who {
            Who::A => &self.a,
            Who::B => &self.b,
        }
    }

    fn hand_mut(&mut self, who: Who) -> &mut Hand {
        match who {
            Who::A => &mut self.a,
            Who::B => &mut self.b,
        }
    }

    fn id(&self, number: usize) -> Option<MessageId> {
        self.ids.get(number - 1).copied()
    }

    fn number(&self, id: MessageId) -> usize {
        let at = self.ids.iter().position(|known| *known == id);
        at.expect("a message of this case") + 1
    }

    fn number_of(&self, id: Option<i64>) -> Option<i64> {
        id.map(|id| self.number(MessageId(id)) as i64)
    }

    fn wamid(&self, name: Name) -> String {
        let twin = if name.is_twin { "'" } else { "" };
        format!("{}.m{}.r{}{twin}", self.sender, name.message, name.attempt)
    }

    fn tell(&mut self, line: &str) {
        let _ = writeln!(self.story, "  {line};");
    }

    /// The request so many before the last, if there was one.
    fn attempt(&self, number: usize, back: usize) -> Option<(MessageId, Request)> {
        let id = self.id(number)?;
        let requests = &self.books.message(number).requests;
        let at = requests.len().checked_sub(back + 1)?;
        Some((id, requests[at]))
    }

    async fn happen(&mut self, happening: &Happening) -> Result<(), Trouble> {
        match happening {
            Happening::Begin { .. }
            | Happening::GiveUp(_)
            | Happening::TakeBack { .. }
            | Happening::Record { .. }
            | Happening::RecordBoth { .. }
            | Happening::ReadAhead => self.send(happening).await,
            Happening::Take(_)
            | Happening::HandOver(_)
            | Happening::TakeOver(_)
            | Happening::LeaseRunsOut(_)
            | Happening::Renew(_)
            | Happening::FindBegun(_)
            | Happening::Sweep(_)
            | Happening::SweepSuspect(_) => self.own(happening).await,
            Happening::Hear(statuses) => self.hear(statuses).await,
            Happening::MatchAgain => {
                self.tell("statuses without a message are looked at again");
                let told = self.store.match_again(time::Duration::days(36_500)).await?;
                agree(
                    "so many are matched",
                    &self.books.match_again(),
                    &told.len(),
                )
            }
            Happening::SettleSilent { hold } => self.settle_silent(*hold).await,
            Happening::Resume | Happening::Skip | Happening::CancelLine | Happening::LookAfter => {
                self.lead_the_line(happening).await
            }
            _ => self.do_with_a_message(happening).await,
        }
    }

    // ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────

    async fn send(&mut self, happening: &Happening) -> Result<(), Trouble> {
        match happening {
            Happening::ReadAhead => self.read_ahead().await,
            Happening::Begin {
                who,
                message,
                under,
                is_short,
            } => {
                let Some(who) = who.or(self.books.owner) else {
                    return Ok(());
                };
                let believes = self.hand(who).believes;
                let epoch = match under {
                    Under::Believed => believes,
                    Under::Earlier => believes - 1,
                    Under::Newest => self.books.epoch,
                };
                self.begin(who, epoch, *message, *is_short).await
            }
            Happening::GiveUp(message) => {
                let Some(id) = self.id(*message) else {
                    return Ok(());
                };
                let request = Request {
                    attempt: self.books.message(*message).attempt + 1,
                    epoch: self.books.epoch,
                };
                let attempt = request.attempt;
                self.tell(&format!(
                    "the begin of request {attempt} of {message} was not done, and is taken back"
                ));
                self.take_back(*message, id, request).await
            }
            Happening::TakeBack { message, back } => {
                let Some((id, request)) = self.attempt(*message, *back) else {
                    return Ok(());
                };
                let attempt = request.attempt;
                self.tell(&format!(
                    "request {attempt} of {message} never left, and is taken back"
                ));
                self.take_back(*message, id, request).await
            }
            Happening::Record {
                message,
                back,
                learned,
            } => self.record(&[(*message, *back, *learned)]).await,
            Happening::RecordBoth { first, second } if first.0 != second.0 => {
                self.record(&[*first, *second]).await
            }
            _ => Ok(()),
        }
    }

    async fn read_ahead(&mut self) -> Result<(), Trouble> {
        let ask = Ask {
            sender: self.sender.clone(),
            campaign: 0,
            priority: 5,
            after: (OffsetDateTime::UNIX_EPOCH, 0),
            limit: 100,
            known: 0,
        };
        self.tell("it is read what is due");
        let read = self.store.read_ahead(&[ask], &[]).await?;
        let read: BTreeSet<(usize, i32)> = read
            .iter()
            .map(|due| (self.number(due.id), due.last_attempt.0))
            .collect();
        agree("what is due, after which request", &self.books.due(), &read)
    }

    fn claim(&self, id: MessageId, epoch: i64, attempt: i32) -> Claim {
        Claim {
            id,
            sender: self.sender.clone(),
            epoch: Epoch(epoch),
            attempt: AttemptNumber(attempt),
        }
    }

    async fn begin(
        &mut self,
        who: Who,
        epoch: i64,
        number: usize,
        is_short: bool,
    ) -> Result<(), Trouble> {
        let Some(id) = self.id(number) else {
            return Ok(());
        };
        let claim = self.claim(id, epoch, self.books.message(number).attempt + 1);
        let within = if is_short { Duration::ZERO } else { LONG };
        let long = if is_short {
            ""
        } else {
            ", with a long time for its answer"
        };
        self.tell(&format!(
            "{who:?} begins {number} under epoch {epoch}{long}"
        ));
        let begun = self
            .store
            .begin(self.hand(who).worker, &[claim], within)
            .await?;
        let begun: Vec<(i32, i32)> = begun
            .iter()
            .map(|one| (one.attempt.0, one.attempts))
            .collect();
        let expected = self.books.begin(who, epoch, number, is_short);
        agree(
            "begun: request, attempts spent",
            &Vec::from_iter(expected),
            &begun,
        )
    }

    async fn take_back(
        &mut self,
        number: usize,
        id: MessageId,
        request: Request,
    ) -> Result<(), Trouble> {
        let claim = self.claim(id, request.epoch, request.attempt);
        let returned = self.store.take_back(&[claim]).await?;
        let expected = self.books.take_back(number, request);
        agree("so many are taken back", &u64::from(expected), &returned)
    }

    async fn record(&mut self, learned: &[(usize, usize, Learned)]) -> Result<(), Trouble> {
        let mut records = Vec::new();
        let mut facts = Vec::new();
        for (number, back, learned) in learned {
            let Some((id, request)) = self.attempt(*number, *back) else {
                return Ok(());
            };
            records.push(self.record_of(*number, id, request.attempt, *learned));
            facts.push((*number, request.attempt, *learned));
        }
        let told: Vec<String> = facts
            .iter()
            .map(|(number, attempt, learned)| format!("request {attempt} of {number}: {learned:?}"))
            .collect();
        self.tell(&format!("recorded is {}", told.join("; and ")));
        self.store.record(&records).await?;
        // As the store does: acceptances first, then refusals, doubts, and what goes back.
        facts.sort_by_key(|(.., learned)| match learned {
            Learned::Accepted { .. } => 0,
            Learned::Refused => 1,
            Learned::NoAnswer { .. } => 2,
            Learned::NotNow { .. } => 3,
        });
        for (number, attempt, learned) in facts {
            self.books.record(number, attempt, learned);
        }
        Ok(())
    }

    fn record_of(&self, number: usize, id: MessageId, attempt: i32, learned: Learned) -> Record {
        let (outcome, transition) = match learned {
            Learned::Accepted { is_twin } => {
                let name = Name {
                    message: number,
                    attempt,
                    is_twin,
                };
                let is_nameless = self.books.message(number).kind.is_nameless;
                let wamid = (!is_nameless).then(|| Wamid::from(self.wamid(name).as_str()));
                let acceptance = Acceptance {
                    wamid,
                    ..Acceptance::default()
                };
                (None, Transition::Accept(acceptance))
            }
            Learned::Refused => (
                Some("rejected"),
                Transition::Fail {
                    code: Some(131_026),
                    message: "refused".to_owned(),
                },
            ),
            Learned::NoAnswer { may_resend } => (
                Some("uncertain"),
                Transition::Doubt {
                    doubt: "no answer came".to_owned(),
                    may_resend,
                },
            ),
            Learned::NotNow { is_spent, is_later } => (
                Some("not_sent"),
                Transition::Requeue {
                    after: if is_later { LONG } else { Duration::ZERO },
                    spent: is_spent,
                    waiting_for: "its turn again".to_owned(),
                },
            ),
        };
        Record {
            id,
            sender: self.sender.clone(),
            attempt: AttemptNumber(attempt),
            begun_at: OffsetDateTime::UNIX_EPOCH,
            era: Era::FIRST,
            transition,
            account: outcome.map(|outcome| Account {
                outcome,
                ..Account::default()
            }),
        }
    }

    // ── who works ────────────────────────────────────────────────────────────────────────────────────────────────

    async fn own(&mut self, happening: &Happening) -> Result<(), Trouble> {
        match *happening {
            Happening::Take(who) => {
                self.tell(&format!(
                    "{who:?} renews, and takes the sender if nobody alive has it"
                ));
                self.renew(who).await?;
                let taken = self.store.take_senders(self.hand(who).worker).await?;
                agree(
                    "so many senders are taken",
                    &u64::from(self.books.take(who)),
                    &taken,
                )?;
                self.look(who).await
            }
            Happening::HandOver(who) => {
                let (giver, receiver) = (self.hand(who), self.hand(who.other()));
                let plan = HandOver {
                    sender: self.sender.clone(),
                    epoch: Epoch(giver.believes),
                    receiver: receiver.worker,
                };
                let given = self.store.hand_over(giver.worker, &[plan]).await?;
                let believes = giver.believes;
                self.tell(&format!(
                    "{who:?} hands the sender over as held under epoch {believes}"
                ));
                let expected = u64::from(self.books.hand_over(who, believes));
                agree("so many senders are handed over", &expected, &given)?;
                self.look(who.other()).await
            }
            Happening::TakeOver(who) => {
                let steps = [
                    Happening::LeaseRunsOut(who.other()),
                    Happening::Take(who),
                    Happening::FindBegun(who),
                    Happening::Sweep(who),
                ];
                for step in &steps {
                    Box::pin(self.own(step)).await?;
                }
                Ok(())
            }
            Happening::LeaseRunsOut(who) => {
                self.tell(&format!("the lease of {who:?} runs out"));
                self.books.set_lives(who, false);
                sqlx::query(
                    "update wa.workers set expires_at = now() - interval '1 s' where worker = $1",
                )
                .bind(self.hand(who).worker.0)
                .execute(self.pool)
                .await?;
                Ok(())
            }
            Happening::Renew(who) => {
                self.tell(&format!("{who:?} renews"));
                self.renew(who).await
            }
            Happening::FindBegun(who) => self.find_begun(who).await,
            Happening::Sweep(who) => {
                let found = self.hand(who).found.clone();
                let known: Vec<(usize, i32)> = found
                    .iter()
                    .map(|one| (self.number(one.id), one.attempt.0))
                    .collect();
                self.tell(&format!(
                    "{who:?} sweeps what it has found (message, request): {known:?}"
                ));
                let swept = self.store.sweep(&found).await?;
                let swept = swept.uncertain.iter().map(|one| self.number(one.id));
                let swept: BTreeSet<usize> = swept.collect();
                agree("swept are", &self.books.sweep(&known), &swept)
            }
            Happening::SweepSuspect(number) => {
                let Some(id) = self.id(number) else {
                    return Ok(());
                };
                self.tell(&format!(
                    "the begin of {number}, once given up, is looked at again"
                ));
                let suspect = Suspect {
                    id,
                    sender: self.sender.clone(),
                };
                let swept = self.store.sweep_suspects(&[suspect]).await?;
                let expected = self.books.sweep_suspect(number);
                agree(
                    "it was begun after all",
                    &expected,
                    &!swept.uncertain.is_empty(),
                )
            }
            _ => unreachable!("it is not about who works"),
        }
    }

    async fn renew(&mut self, who: Who) -> Result<(), Trouble> {
        self.books.set_lives(who, true);
        let renewed = self
            .store
            .heartbeat(self.hand(who).worker, LONG, LONG)
            .await?;
        agree("it is known", &true, &renewed)
    }

    /// Looks what it holds. What it holds no more it goes on believing in.
    async fn look(&mut self, who: Who) -> Result<(), Trouble> {
        let held = self.store.held_senders(self.hand(who).worker).await?;
        let epoch = held.first().map(|held| held.epoch.0);
        let expected = (self.books.owner == Some(who)).then_some(self.books.epoch);
        agree(
            &format!("{who:?} holds the sender under"),
            &expected,
            &epoch,
        )?;
        if let Some(epoch) = epoch {
            self.hand_mut(who).believes = epoch;
        }
        Ok(())
    }

    async fn find_begun(&mut self, who: Who) -> Result<(), Trouble> {
        let up_to = self.hand(who).believes - 1;
        self.tell(&format!(
            "{who:?} looks for what was begun up to epoch {up_to}"
        ));
        let slice = self
            .store
            .find_begun(&self.sender, Epoch(up_to), Place::FRONT, 100)
            .await?;
        let found = slice
            .begun
            .iter()
            .map(|one| (self.number(one.id), one.attempt.0));
        let found: BTreeSet<(usize, i32)> = found.collect();
        self.hand_mut(who).found = slice.begun;
        agree("found are", &self.books.begun_up_to(up_to), &found)
    }

    // ── what WhatsApp says ───────────────────────────────────────────────────────────────────────────────────────

    async fn hear(&mut self, statuses: &[Heard]) -> Result<(), Trouble> {
        let mut heard: Vec<(Name, Status, bool)> = Vec::new();
        let mut seen = Vec::new();
        let mut told = Vec::new();
        for one in statuses {
            let Some((id, request)) = self.attempt(one.message, one.back) else {
                continue;
            };
            if self.books.message(one.message).kind.is_nameless {
                continue;
            }
            let name = Name {
                message: one.message,
                attempt: request.attempt,
                is_twin: one.is_twin,
            };
            // Which of two wamids of one request is the message's own, when both are learned at once, is left to chance.
            let is_twin_of = |other: &Name| {
                (other.message, other.attempt) == (name.message, name.attempt) && *other != name
            };
            if heard.iter().any(|(other, ..)| is_twin_of(other)) {
                continue;
            }
            heard.push((name, one.status, one.has_token));
            seen.push(StatusSeen {
                inbox_id: 0,
                received_at: OffsetDateTime::UNIX_EPOCH,
                sender: None,
                wamid: Wamid::from(self.wamid(name).as_str()),
                status: one.status,
                occurred_at: OffsetDateTime::UNIX_EPOCH,
                named: one
                    .has_token
                    .then_some((id, AttemptNumber(request.attempt))),
                callback_data: None,
                error: None,
            });
            let twin = if one.is_twin { " (a twin)" } else { "" };
            let token = if one.has_token { "with" } else { "without" };
            told.push(format!(
                "request {} of {}{twin} {:?}, {token} our token",
                request.attempt, one.message, one.status
            ));
        }
        if seen.is_empty() {
            return Ok(());
        }
        self.tell(&format!("WhatsApp tells: {}", told.join("; and ")));
        self.store.store_deliveries(&[b"{}".to_vec()]).await?;
        let mut batch = self
            .store
            .take_deliveries((1, 1), FRONT, &[])
            .await?
            .expect("a delivery");
        let handled = Handled {
            id: batch.deliveries[0].id,
            statuses: 0,
            bad_entries: None,
            unreadable: false,
        };
        batch.apply(&seen).await?;
        batch.commit(&[handled]).await?;
        self.books.hear(&heard);
        Ok(())
    }

    async fn settle_silent(&mut self, hold: bool) -> Result<(), Trouble> {
        let policy = if hold { "hold" } else { "retry" };
        self.tell(&format!(
            "what stays silent is settled; the policy is {policy}"
        ));
        let policy = UncertainPolicy {
            window_s: 0,
            max_resends: 1,
            hold,
        };
        let settled = self.store.settle_silent(policy).await?;
        let settled = (settled.resent, settled.kept, settled.expired);
        agree(
            "resent, kept, expired",
            &self.books.settle_silent(hold),
            &settled,
        )
    }

    // ── what people do ───────────────────────────────────────────────────────────────────────────────────────────

    async fn lead_the_line(&mut self, happening: &Happening) -> Result<(), Trouble> {
        match happening {
            Happening::Resume => {
                self.tell("Ada resumes the sequence");
                let resumed = self.store.resume_sequence(&self.key, ADA).await?;
                agree("it was halted", &self.books.resume(), &resumed)
            }
            Happening::Skip => {
                self.tell("Ada skips the head of the sequence");
                let skipped = match self.store.skip_head(&self.key, ADA).await? {
                    Skipped::Passed => "passed",
                    Skipped::Cancelled => "cancelled",
                    Skipped::Sending => "sending",
                    Skipped::NoHead => "nothing",
                };
                agree("the head was", &self.books.skip(), &skipped)
            }
            Happening::CancelLine => {
                self.tell("Ada cancels the sequence");
                let cancelled = self.store.cancel_sequence(&self.key, ADA).await?;
                agree(
                    "so many are cancelled",
                    &self.books.cancel_line(),
                    &cancelled,
                )
            }
            _ => {
                self.tell("sequences are looked after");
                let senders = [self.sender.clone()];
                let overdue = self.store.look_after_sequences(&senders, 100).await?;
                agree("so many are overdue", &self.books.look_after(), &overdue)
            }
        }
    }

    async fn do_with_a_message(&mut self, happening: &Happening) -> Result<(), Trouble> {
        match *happening {
            Happening::Enqueue(kind) if self.ids.len() < MESSAGES => self.enqueue(kind).await,
            Happening::Hold => {
                self.tell("Ada holds the sender");
                let held = self
                    .store
                    .hold_sender(&self.sender, "a pause", "ada", None)
                    .await?;
                let was_held = std::mem::replace(&mut self.books.is_held, true);
                agree("it was free", &!was_held, &held)
            }
            Happening::Release => {
                self.tell("the sender is released");
                let released = self.store.release_sender(&self.sender).await?;
                let was_held = std::mem::replace(&mut self.books.is_held, false);
                agree("it was held", &was_held, &released)
            }
            Happening::Expire => {
                self.tell("what has not left in time expires");
                let expired = self.store.expire_overdue().await?;
                agree("so many expire", &self.books.expire(), &expired)
            }
            Happening::Resolve(number, verdict) => self.resolve(number, verdict).await,
            Happening::Cancel(number) => {
                let Some(id) = self.id(number) else {
                    return Ok(());
                };
                self.tell(&format!("Ada cancels {number}"));
                let cancelled = self.store.cancel(id).await.is_ok();
                agree(
                    "it could be cancelled",
                    &self.books.cancel(number),
                    &cancelled,
                )
            }
            Happening::PutOff(number) => {
                let Some(id) = self.id(number) else {
                    return Ok(());
                };
                self.tell(&format!("{number} is put off"));
                let later = OffsetDateTime::from_unix_timestamp(4_000_000_000).expect("a time");
                self.store.put_off(&[(id, later, "its pair")]).await?;
                self.books.put_off(number);
                Ok(())
            }
            Happening::TimePasses(number) => {
                let Some(id) = self.id(number) else {
                    return Ok(());
                };
                self.tell(&format!("the time of {number} passes"));
                for table in ["queue", "waiting", "uncertain"] {
                    let pass = format!(
                        "update wa.{table} set expires_at = now() - interval '1 s' where id = $1"
                    );
                    sqlx::query(sqlx::AssertSqlSafe(pass))
                        .bind(id.0)
                        .execute(self.pool)
                        .await?;
                }
                self.books.time_passes(number);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn enqueue(&mut self, kind: Kind) -> Result<(), Trouble> {
        let mut message = match kind.is_nameless {
            true => Outgoing::written(r#"{"status":"read","message_id":"wamid.theirs"}"#, ALICE),
            false => message::text("Your order has shipped").to(ALICE),
        };
        message.sender = Some(self.sender.to_string());
        message.sequence = kind.is_in_line.then(|| LINE.to_owned());
        message.on_uncertain = kind.is_held_when_lost.then_some(OnUncertain::Hold);
        let id = self.store.enqueue(&message).await?;
        self.ids.push(id);
        let number = self.ids.len();
        let line = if kind.is_in_line {
            " in the sequence"
        } else {
            ""
        };
        let nameless = if kind.is_nameless {
            ", a mark-as-read"
        } else {
            ""
        };
        let held = if kind.is_held_when_lost {
            ", on_uncertain hold"
        } else {
            ""
        };
        self.tell(&format!("{number} is written{line}{nameless}{held}"));
        self.books.enqueue(kind);
        Ok(())
    }

    async fn resolve(&mut self, number: usize, verdict: Verdict) -> Result<(), Trouble> {
        let Some(id) = self.id(number) else {
            return Ok(());
        };
        if verdict == Verdict::Accepted && self.books.message(number).kind.is_nameless {
            return Ok(());
        }
        let finding = match verdict {
            Verdict::Accepted => Finding::Accepted(Wamid::from(
                self.wamid(Name {
                    message: number,
                    attempt: self.books.message(number).attempt,
                    is_twin: false,
                })
                .as_str(),
            )),
            Verdict::NotSent => Finding::NotSent,
            Verdict::SendAgain => Finding::SendAgain,
        };
        self.tell(&format!("Ada settles {number}: {verdict:?}"));
        let settled = self.store.resolve(id, &finding, ADA.by, ADA.reason).await?;
        agree(
            "it was hers to settle",
            &self.books.resolve(number, verdict),
            &settled,
        )
    }

    // ── what is compared ─────────────────────────────────────────────────────────────────────────────────────────

    async fn compare(&self) -> Result<(), Trouble> {
        let standings = self.read_standings().await?;
        for (at, found) in standings.iter().enumerate() {
            agree(
                &format!("message {}", at + 1),
                &self.expected(at + 1),
                found,
            )?;
        }
        self.keep_the_promises(&standings)?;
        let line = &self.books.line;
        let number = |number: usize| number as i64;
        let expected = Gate {
            head: line.head.map(number),
            passed: line.passed.map(number),
            halted_cause: line.halted.map(|(cause, _)| cause.to_owned()),
            halted_member: line.halted.map(|(_, member)| number(member)),
            unsettled: 0,
        };
        agree("the sequence", &expected, &self.read_gate().await?)
    }

    fn expected(&self, number: usize) -> Standing {
        let message = self.books.message(number);
        let state = message.state;
        let is_open = matches!(state, State::Queued | State::Sending | State::Uncertain);
        let in_doubt = |value: bool| (state == State::Uncertain).then_some(value);
        let place = match state {
            State::Queued | State::Sending => "queue",
            State::Waiting => "waiting",
            State::Uncertain => "uncertain",
            _ => "results",
        };
        Standing {
            places: place.to_owned(),
            state: state.as_str().to_owned(),
            status: message.status().map(str::to_owned),
            wamid: message.names.first().map(|name| self.wamid(*name)),
            attempts: message.attempts,
            attempt: is_open.then_some(message.attempt),
            resends: is_open.then_some(message.resends),
            epoch: (state == State::Sending).then_some(message.epoch),
            may_resend: in_doubt(message.may_resend),
            needs_person: in_doubt(message.needs_person),
            is_passed: in_doubt(message.is_passed),
            wamids: message.names.len() as i64,
            is_duplicate: message.names.len() > 1,
            forgotten_doubts: 0,
        }
    }

    /// What design.md §1 promises, read off the database alone: were the model wrong in the same way, this would still see it.
    fn keep_the_promises(&self, standings: &[Standing]) -> Result<(), Trouble> {
        let mut in_front: Option<usize> = None;
        for (at, (found, message)) in standings.iter().zip(self.books.messages()).enumerate() {
            let number = at + 1;
            let broken =
                |promise: &str| Err(Trouble(format!("{promise}: message {number} is {found:?}")));
            if found.places.contains(',') || found.places.is_empty() {
                return broken("a message is in one table");
            }
            if found.wamids > 0 && found.state != "accepted" {
                return broken("a wamid ends its message");
            }
            if found.epoch.is_some_and(|epoch| epoch > self.books.epoch) {
                return broken("nothing begins under an epoch that is not");
            }
            if message.kind.is_in_line {
                if let (Some(other), "queue") = (in_front, found.places.as_str()) {
                    return broken(&format!(
                        "of a sequence the head alone is queued, and {other} is before it"
                    ));
                }
                if !message.state.is_end() && found.is_passed != Some(true) {
                    in_front = in_front.or(Some(number));
                }
            }
        }
        Ok(())
    }

    async fn read_standings(&self) -> Result<Vec<Standing>, Trouble> {
        let read = sqlx::query_as(
            "select concat_ws(',', case when q.id is not null then 'queue' end, case when w.id is not null then 'waiting' end,
               case when u.id is not null then 'uncertain' end, case when r.id is not null then 'results' end) as places,
               m.state, m.status, m.wamid, m.attempts, coalesce(q.attempt, u.attempt) as attempt, coalesce(q.resends, u.resends) as resends,
               q.epoch, u.may_resend, u.needs_person, u.passed as is_passed,
               (select count(*) from wa.known_wamids a where a.id = o.id) as wamids, m.duplicate is not null as is_duplicate,
               (select count(*) from wa.attempts t where t.id = o.id and t.outcome = 'uncertain' and t.settled_by is null
                  and exists (select from wa.known_wamids a where a.id = t.id and a.attempt = t.attempt)) as forgotten_doubts
             from wa.outbox o join wa.messages m on m.id = o.id
             left join wa.queue q on q.id = o.id left join wa.uncertain u on u.id = o.id left join wa.results r on r.id = o.id
             left join wa.waiting w on (w.sender, w.recipient, w.sequence, w.id) = (o.sender, o.recipient, o.sequence, o.id)
             where o.id = any($1) order by o.id",
        )
        .bind(self.ids.iter().map(|id| id.0).collect::<Vec<_>>())
        .fetch_all(self.pool)
        .await?;
        Ok(read)
    }

    async fn read_gate(&self) -> Result<Gate, Trouble> {
        let gate: Gate = sqlx::query_as(
            "select head_id as head, passed_id as passed, halted_cause, halted_member, (select count(*) from wa.unsettled) as unsettled
             from wa.sequences where sender = $1",
        )
        .bind(self.sender.as_str())
        .fetch_one(self.pool)
        .await?;
        Ok(Gate {
            head: self.number_of(gate.head),
            passed: self.number_of(gate.passed),
            halted_member: self.number_of(gate.halted_member),
            ..gate
        })
    }
}
