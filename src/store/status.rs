//! Applies statuses: what WhatsApp says about messages after it took them.
//!
//! A status names its message by our token, else by its wamid; one that names neither (yet) is kept and looked at again. A
//! token is also evidence: it ends a message whose answer was lost. What is written is a set of times, each kept once it is
//! known, and the status of a message is read off them (`wa.messages`); so the order and the number of deliveries do not
//! matter, and two appliers may meet on one message.
//!
//! A provider may count its ids for each sender. So an id is that of the sender whom the delivery names, where it names one of ours;
//! what is ambiguous still is kept like what is unknown.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use time::OffsetDateTime;

use super::connections::Transaction;
use super::error::Doing;
use super::hold::MACHINE;
use super::inbox::InboxBatch;
use super::record::storable;
use super::suppression::{STOPPED_MARKETING, note_stopped};
use super::{Store, StoreError};
use crate::domain::account_news::OurNumber;
use crate::domain::hold::template_rest;
use crate::domain::id::{AttemptNumber, MessageId, SenderId, Wamid};
use crate::domain::outcome::{ApiError, HoldScope};
use crate::domain::status::Status;
use crate::domain::transition::in_words;
use crate::provider::{Class, Dialect, classify};

/// With what WhatsApp's own ids begin. Each is of one message, whoever sent it.
const OF_ONE_MESSAGE: &str = "wamid.";

/// One status out of a delivery.
#[derive(Clone, Debug)]
pub struct StatusSeen {
    /// The delivery it came with.
    pub inbox_id: i64,
    /// When that came.
    pub received_at: OffsetDateTime,
    /// The number of ours that it names, as WhatsApp calls it.
    pub sender: Option<SenderId>,
    /// The message it is about.
    pub wamid: Wamid,
    /// What it says.
    pub status: Status,
    /// When WhatsApp says that happened.
    pub occurred_at: OffsetDateTime,
    /// The attempt that our token in it names.
    pub named: Option<(MessageId, AttemptNumber)>,
    /// The application's own callback data.
    pub callback_data: Option<String>,
    /// Why it failed.
    pub error: Option<ApiError>,
}

/// What a batch of statuses did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Belonged to a message of ours.
    pub matched: u64,
    /// Kept until their wamid is known.
    pub unmatched: u64,
    /// Of those that belong to messages of ours, how many said what, in the order of [`Status::ALL`].
    pub told: [u64; Status::ALL.len()],
    /// Told us of an acceptance that no answer had told.
    pub learned: u64,
    /// Of those, the ones whose message was uncertain.
    pub settled: u64,
    /// Brought our token back.
    pub echoed: u64,
    /// Templates that are held from now on, because messages of them were failed for it.
    pub held_templates: u64,
    /// Named a request of this era that this database has never begun: it has gone back.
    pub never_begun: u64,
}

/// What was told of an attempt of ours.
#[derive(Clone, Debug)]
pub struct Told {
    /// The message.
    pub id: MessageId,
    /// Its sender.
    pub sender: SenderId,
    /// Its how-manieth request.
    pub attempt: AttemptNumber,
    /// What WhatsApp says; none: that it took it, which no answer had told.
    pub status: Option<Status>,
    /// Why it failed.
    pub error: Option<ApiError>,
}

impl Told {
    fn of(key: &MessageKey, attempt: i32, status: Option<Status>) -> Self {
        Self {
            id: MessageId(key.id),
            sender: SenderId::from(key.sender.as_str()),
            attempt: AttemptNumber(attempt),
            status,
            error: None,
        }
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct MessageKey {
    id: i64,
    sender: String,
}

/// What the statuses of one message in one batch say together.
#[derive(Default)]
struct News {
    sent_at: Option<OffsetDateTime>,
    delivered_at: Option<OffsetDateTime>,
    read_at: Option<OffsetDateTime>,
    played_at: Option<OffsetDateTime>,
    failed_at: Option<OffsetDateTime>,
    error: Option<ApiError>,
    /// One of them named the message by our token.
    by_token: bool,
}

impl News {
    fn take(&mut self, status: Status, at: OffsetDateTime, error: Option<&ApiError>) {
        let place = match status {
            Status::Sent => &mut self.sent_at,
            Status::Delivered => &mut self.delivered_at,
            Status::Read => &mut self.read_at,
            Status::Played => &mut self.played_at,
            Status::Failed => {
                self.error = self.error.take().or_else(|| error.cloned());
                &mut self.failed_at
            }
        };
        *place = Some(place.map_or(at, |known| known.min(at)));
    }
}

/// What is written for people about a failure: the details where there are any, else the title.
fn error_text(error: &ApiError) -> Option<String> {
    match (error.title.as_deref(), error.details.as_deref()) {
        (Some(title), Some(details)) if title != details => {
            Some(storable(&format!("{title}: {details}")))
        }
        (title, details) => details.or(title).map(storable),
    }
}

impl InboxBatch {
    /// Applies the statuses found in these deliveries.
    pub async fn apply(&mut self, seen: &[StatusSeen]) -> Result<Applied, StoreError> {
        let transaction = &mut self.transaction;
        let (
            known,
            Learned {
                learned,
                settled,
                never_begun,
            },
        ) = identify(transaction, seen, (&self.of_now, &self.numbers)).await?;
        let count = learned.len() as u64;
        self.told.extend(learned);
        let mut news: BTreeMap<MessageKey, News> = BTreeMap::new();
        let mut owners = Vec::with_capacity(seen.len());
        let mut told = [0; Status::ALL.len()];
        for one in seen {
            let owner = known.owner(one);
            if let Some(owner) = owner {
                if let (Status::Sent, Some(answered_at)) = (one.status, owner.answered_at) {
                    let delay = (one.received_at - answered_at).try_into();
                    self.sent_delays.push(delay.unwrap_or_default());
                }
                told[one.status.place()] += 1;
                self.told.push(Told {
                    error: one.error.clone(),
                    ..Told::of(&owner.key, owner.attempt, Some(one.status))
                });
                let news = news.entry(owner.key.clone()).or_default();
                news.take(one.status, one.occurred_at, one.error.as_ref());
                news.by_token |= one.named.is_some();
            }
            owners.push(owner);
        }
        let senders: Vec<Option<&str>> = (seen.iter().zip(&owners))
            .map(|(one, owner)| owner.map_or_else(|| known.sender(one), Owner::sender))
            .collect();
        write_events(transaction, seen, (&owners, &senders)).await?;
        let held_templates = write_news(transaction, news).await?;
        let matched = owners.iter().flatten().count() as u64;
        Ok(Applied {
            matched,
            told,
            unmatched: seen.len() as u64 - matched,
            learned: count,
            settled,
            echoed: seen.iter().filter(|one| one.named.is_some()).count() as u64,
            held_templates,
            never_begun,
        })
    }
}

impl Store {
    /// Looks again at statuses whose wamid was unknown when they came, no older than given. Gives those that are known now.
    pub async fn match_again(
        &self,
        no_older_than: time::Duration,
    ) -> Result<Vec<Told>, StoreError> {
        let doing = "match statuses that came before their wamid";
        let mut transaction = self.pool.begin().await.doing(doing)?;
        let rows = sqlx::query!(
            r#"with known as materialized (
                 select e.event, k.id, k.sender, k.attempt
                 from wa.status_events e
                 cross join lateral (
                   select k.*, min(k.id) over () = max(k.id) over () as is_only from wa.known_wamids k where k.wamid = e.wamid offset 0) k
                 where e.id is null and e.received_at > now() - make_interval(secs => $1)
                   -- As when it came: of the sender that it names, else of the only one, unless that is another's.
                   and (k.sender = e.sender or k.is_only and (e.sender is null or e.wamid like $2 || '%'))
               )
               update wa.status_events e set id = k.id, sender = k.sender, attempt = k.attempt
               from known k
               where e.event = k.event and e.id is null
               returning e.id as "id!", e.sender as "sender!", e.attempt as "attempt!", e.status, e.occurred_at, e.error_code,
                 e.error_title, e.error_details"#,
            no_older_than.as_seconds_f64(),
            OF_ONE_MESSAGE
        )
        .fetch_all(&mut *transaction)
        .await
        .doing(doing)?;
        let mut news: BTreeMap<MessageKey, News> = BTreeMap::new();
        let mut told = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some(status) = Status::parse(&row.status) else {
                continue;
            };
            let error = ApiError {
                code: row.error_code,
                title: row.error_title.clone(),
                details: row.error_details.clone(),
                ..ApiError::default()
            };
            let key = MessageKey {
                id: row.id,
                sender: row.sender.clone(),
            };
            let is_failure = status == Status::Failed;
            told.push(Told {
                error: is_failure.then(|| error.clone()),
                ..Told::of(&key, row.attempt, Some(status))
            });
            let news = news.entry(key).or_default();
            news.take(status, row.occurred_at, Some(&error));
        }
        write_news(&mut transaction, news).await?;
        transaction.commit().await.doing(doing)?;
        Ok(told)
    }
}

/// Whose the ids are that a batch tells of.
#[derive(Default)]
struct Owners {
    /// Those who have got this id; several where each sender's are counted apart.
    by_wamid: HashMap<String, Vec<Owner>>,
    /// The senders of ours that numbers are, of which no owner was found under their own name.
    meant: HashMap<String, Vec<String>>,
}

/// The attempt that a wamid belongs to.
struct Owner {
    key: MessageKey,
    attempt: i32,
    /// When its answer was written down, where an answer told the wamid.
    answered_at: Option<OffsetDateTime>,
}

impl Owner {
    fn sender(&self) -> Option<&str> {
        Some(&self.key.sender)
    }
}

impl Owners {
    fn of(&self, wamid: &str) -> &[Owner] {
        self.by_wamid.get(wamid).map_or(&[], Vec::as_slice)
    }

    /// The one that our token in it names, or that got this id by the sender it names.
    fn certain_owner(&self, one: &StatusSeen) -> Option<&Owner> {
        let owners = self.of(one.wamid.reveal());
        let by_token = one
            .named
            .and_then(|(id, _)| owners.iter().find(|owner| owner.key.id == id.0));
        by_token.or_else(|| {
            let sender = one.sender.as_ref()?.as_str();
            owners.iter().find(|owner| owner.key.sender == sender)
        })
    }

    /// Whose status this is; none while that is unknown, or not to be told.
    fn owner(&self, one: &StatusSeen) -> Option<&Owner> {
        if let Some(owner) = self.certain_owner(one) {
            return Some(owner);
        }
        let owners = self.of(one.wamid.reveal());
        let meant = self.meant(one);
        let by_number = meant
            .iter()
            .find_map(|sender| owners.iter().find(|owner| owner.key.sender == *sender));
        match (by_number, owners) {
            (Some(owner), _) => Some(owner),
            // Its own answer may be on the way: what has the same id of another sender is another message.
            (None, [_]) if !meant.is_empty() && !is_of_one_message(one) => None,
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    /// The sender of ours that it names.
    fn sender(&self, one: &StatusSeen) -> Option<&str> {
        self.meant(one).first().map(String::as_str)
    }

    fn meant(&self, one: &StatusSeen) -> &[String] {
        let named = one.sender.as_ref();
        named
            .and_then(|sender| self.meant.get(sender.as_str()))
            .map_or(&[], Vec::as_slice)
    }

    /// What only its token tells, as far as we know.
    fn stranger<'a>(&self, one: &'a StatusSeen) -> Option<(&'a str, MessageId, AttemptNumber)> {
        let (id, attempt) = one.named?;
        let owners = self.of(one.wamid.reveal());
        let is_known = owners.iter().any(|owner| owner.key.id == id.0)
            || !owners.is_empty() && is_of_one_message(one);
        (!is_known).then_some((one.wamid.reveal(), id, attempt))
    }
}

fn is_of_one_message(one: &StatusSeen) -> bool {
    one.wamid.reveal().starts_with(OF_ONE_MESSAGE)
}

/// Acceptances that only our token has told, and of how many of them the message was uncertain until now.
#[derive(Default)]
struct Learned {
    learned: Vec<Told>,
    settled: u64,
    never_begun: u64,
}

/// Finds the message of each wamid; where only our token tells it, the acceptance is written down first.
async fn identify(
    transaction: &mut Transaction,
    seen: &[StatusSeen],
    (of_now, numbers): (&HashSet<(MessageId, AttemptNumber)>, &[OurNumber]),
) -> Result<(Owners, Learned), StoreError> {
    let mut owners = Owners {
        by_wamid: known_owners(transaction, seen).await?,
        ..Owners::default()
    };
    let strangers: BTreeSet<_> = seen.iter().filter_map(|one| owners.stranger(one)).collect();
    let mut learned = Learned::default();
    if !strangers.is_empty() {
        learned.never_begun = never_begun(transaction, &strangers, of_now).await?;
        let new = accept_strangers(transaction, &strangers).await?;
        // Read once more rather than trusted: the answer itself may have been recorded in the same moment.
        owners.by_wamid = known_owners(transaction, seen).await?;
        for fresh in new {
            let told_by_answer = (owners.of(&fresh.wamid).iter())
                .any(|owner| owner.key == fresh.key && owner.answered_at.is_some());
            if told_by_answer {
                continue;
            }
            learned.settled += u64::from(fresh.is_settled);
            let told = Told::of(&fresh.key, fresh.attempt, None);
            learned.learned.push(told);
        }
    }
    // As a rule a delivery names senders as we do, and this asks nothing.
    let unclear: BTreeSet<&SenderId> = seen
        .iter()
        .filter(|one| owners.certain_owner(one).is_none())
        .filter_map(|one| one.sender.as_ref())
        .collect();
    if !unclear.is_empty() {
        owners.meant = senders_meant(transaction, &unclear, numbers).await?;
    }
    Ok((owners, learned))
}

/// An acceptance that nobody knew of before.
struct Fresh {
    wamid: String,
    key: MessageKey,
    attempt: i32,
    is_settled: bool,
}

/// Writes down the acceptances that only tokens tell.
async fn accept_strangers(
    transaction: &mut Transaction,
    strangers: &BTreeSet<(&str, MessageId, AttemptNumber)>,
) -> Result<Vec<Fresh>, StoreError> {
    let wamids: Vec<&str> = strangers.iter().map(|(wamid, ..)| *wamid).collect();
    let ids: Vec<i64> = strangers.iter().map(|(_, id, _)| id.0).collect();
    let attempts: Vec<i32> = (strangers.iter()).map(|(.., attempt)| attempt.0).collect();
    let new = sqlx::query!(
        r#"with fresh as (
             insert into wa.acceptances (wamid, sender, id, attempt, learned_from)
             select n.wamid, o.sender, n.id, n.attempt, 'webhook'
             from unnest($1::text[], $2::bigint[], $3::int[]) as n (wamid, id, attempt)
             cross join lateral (select o.sender from wa.outbox o where o.id = n.id offset 0) o
             order by n.id, n.attempt, n.wamid -- as a recorder does that learns the same, or the two meet in a deadlock
             on conflict do nothing
             returning wamid, id, sender, attempt
           )
           select f.wamid as "wamid!", f.id as "id!", f.sender as "sender!", f.attempt as "attempt!", u.id is not null as "is_settled!"
           from fresh f left join wa.uncertain u on u.id = f.id and u.sender = f.sender"#,
        &wamids as &[&str],
        &ids,
        &attempts
    )
    .fetch_all(&mut **transaction)
    .await
    .doing("find the messages of statuses")?;
    Ok(new
        .into_iter()
        .map(|row| Fresh {
            wamid: row.wamid,
            key: MessageKey {
                id: row.id,
                sender: row.sender,
            },
            attempt: row.attempt,
            is_settled: row.is_settled,
        })
        .collect())
}

/// The senders of ours that these numbers are: by their id, else by their digits, for a provider may know a sender by another id.
async fn senders_meant(
    transaction: &mut Transaction,
    named: &BTreeSet<&SenderId>,
    numbers: &[OurNumber],
) -> Result<HashMap<String, Vec<String>>, StoreError> {
    let digits: HashMap<&str, &str> = numbers
        .iter()
        .filter_map(|one| Some((one.sender.as_str(), one.number.as_deref()?)))
        .collect();
    // What Postgres cannot hold is the id of nobody.
    let names: Vec<&str> = (named.iter().map(|sender| sender.as_str()))
        .filter(|name| !name.contains('\0'))
        .collect();
    let digits: Vec<Option<&str>> = (names.iter())
        .map(|name| digits.get(name).copied())
        .collect();
    let rows = sqlx::query!(
        r#"select t.name as "name!", s.sender as "sender!"
           from unnest($1::text[], $2::text[]) as t (name, digits)
           join wa.senders s on s.sender = t.name
             or not exists (select from wa.senders x where x.sender = t.name)
               and (ltrim(s.sender, '+') = t.digits
                 or exists (select from wa.sender_numbers n where n.sender = s.sender and n.number = t.digits))
           order by t.name, s.sender"#,
        &names as &[&str],
        &digits as &[Option<&str>]
    )
    .fetch_all(&mut **transaction)
    .await
    .doing("find the senders that statuses name")?;
    let mut meant: HashMap<String, Vec<String>> = HashMap::new();
    for row in rows {
        meant.entry(row.name).or_default().push(row.sender);
    }
    Ok(meant)
}

/// How many of these requests this database has never begun. As a rule a request is committed before it leaves, so there are none.
async fn never_begun(
    transaction: &mut Transaction,
    strangers: &BTreeSet<(&str, MessageId, AttemptNumber)>,
    of_now: &HashSet<(MessageId, AttemptNumber)>,
) -> Result<u64, StoreError> {
    let (ids, attempts): (Vec<i64>, Vec<i32>) = (strangers.iter())
        .filter(|(_, id, attempt)| of_now.contains(&(*id, *attempt)))
        .map(|(_, id, attempt)| (id.0, attempt.0))
        .unzip();
    if ids.is_empty() {
        return Ok(0);
    }
    let never = sqlx::query_scalar!(
        r#"select wa.never_begun($1, $2) as "never!""#,
        &ids,
        &attempts
    )
    .fetch_one(&mut **transaction)
    .await
    .doing("see whether the requests of statuses were begun")?;
    Ok(never as u64)
}

async fn known_owners(
    transaction: &mut Transaction,
    seen: &[StatusSeen],
) -> Result<HashMap<String, Vec<Owner>>, StoreError> {
    let wamids: Vec<&str> = seen.iter().map(|one| one.wamid.reveal()).collect();
    let rows = sqlx::query!(
        r#"select wamid as "wamid!", sender as "sender!", id as "id!", attempt as "attempt!",
             case when learned_from = 'response' then learned_at end as answered_at
           from wa.known_wamids where wamid = any($1)"#,
        &wamids as &[&str]
    )
    .fetch_all(&mut **transaction)
    .await
    .doing("look up wamids")?;
    let mut owners: HashMap<String, Vec<Owner>> = HashMap::with_capacity(rows.len());
    for row in rows {
        let owner = Owner {
            key: MessageKey {
                id: row.id,
                sender: row.sender,
            },
            attempt: row.attempt,
            answered_at: row.answered_at,
        };
        let of_this = owners.entry(row.wamid).or_default();
        match of_this.iter_mut().find(|known| known.key == owner.key) {
            Some(known) => *known = owner,
            None => of_this.push(owner),
        }
    }
    Ok(owners)
}

async fn write_events(
    transaction: &mut Transaction,
    seen: &[StatusSeen],
    (owners, senders): (&[Option<&Owner>], &[Option<&str>]),
) -> Result<(), StoreError> {
    if seen.is_empty() {
        return Ok(());
    }
    let ids: Vec<Option<i64>> = owners
        .iter()
        .map(|owner| owner.map(|owner| owner.key.id))
        .collect();
    let attempts: Vec<Option<i32>> = owners
        .iter()
        .map(|owner| owner.map(|owner| owner.attempt))
        .collect();
    let wamids: Vec<&str> = seen.iter().map(|one| one.wamid.reveal()).collect();
    let statuses: Vec<&str> = seen.iter().map(|one| one.status.as_str()).collect();
    let occurred: Vec<OffsetDateTime> = seen.iter().map(|one| one.occurred_at).collect();
    let received: Vec<OffsetDateTime> = seen.iter().map(|one| one.received_at).collect();
    let error = |one: &StatusSeen| one.error.clone().unwrap_or_default();
    let codes: Vec<Option<i64>> = seen.iter().map(|one| error(one).code).collect();
    let titles: Vec<Option<String>> = seen
        .iter()
        .map(|one| error(one).title.as_deref().map(storable))
        .collect();
    let details: Vec<Option<String>> = seen
        .iter()
        .map(|one| error(one).details.as_deref().map(storable))
        .collect();
    let callback: Vec<Option<String>> = seen
        .iter()
        .map(|one| one.callback_data.as_deref().map(storable))
        .collect();
    let inbox: Vec<i64> = seen.iter().map(|one| one.inbox_id).collect();
    sqlx::query_file!(
        "src/store/sql/write_events.sql",
        &ids as &[Option<i64>],
        senders as &[Option<&str>],
        &attempts as &[Option<i32>],
        &wamids as &[&str],
        &statuses as &[&str],
        &occurred,
        &received,
        &codes as &[Option<i64>],
        &titles as &[Option<String>],
        &details as &[Option<String>],
        &callback as &[Option<String>],
        &inbox
    )
    .execute(&mut **transaction)
    .await
    .doing("keep statuses")
    .map(drop)
}

/// Writes what is new about messages, opens the gates of their sequences, and notes that webhooks flow. Says how many templates
/// are held for it.
async fn write_news(
    transaction: &mut Transaction,
    news: BTreeMap<MessageKey, News>,
) -> Result<u64, StoreError> {
    if news.is_empty() {
        return Ok(0);
    }
    let doing = "apply statuses";
    let error_code = |one: &News| one.error.as_ref().and_then(|error| error.code);
    // Before what is told is applied: what was known already is not told anew.
    let stopped: Vec<(i64, OffsetDateTime)> = news
        .iter()
        .filter(|(_, one)| error_code(one) == Some(STOPPED_MARKETING))
        .filter_map(|(key, one)| Some((key.id, one.failed_at?)))
        .collect();
    note_stopped(transaction, &stopped).await?;
    let ids: Vec<i64> = news.keys().map(|key| key.id).collect();
    let senders: Vec<&str> = news.keys().map(|key| key.sender.as_str()).collect();
    let times = |pick: fn(&News) -> Option<OffsetDateTime>| -> Vec<Option<OffsetDateTime>> {
        news.values().map(pick).collect()
    };
    let error = |one: &News| one.error.clone().unwrap_or_default();
    let codes: Vec<Option<i64>> = news.values().map(|one| error(one).code).collect();
    let messages: Vec<Option<String>> = news.values().map(|one| error_text(&error(one))).collect();
    let members: Vec<i64> = sqlx::query_file_scalar!(
        "src/store/sql/apply_news.sql",
        &ids,
        &senders as &[&str],
        &times(|one| one.sent_at) as &[Option<OffsetDateTime>],
        &times(|one| one.delivered_at) as &[Option<OffsetDateTime>],
        &times(|one| one.read_at) as &[Option<OffsetDateTime>],
        &times(|one| one.played_at) as &[Option<OffsetDateTime>],
        &times(|one| one.failed_at) as &[Option<OffsetDateTime>],
        &codes as &[Option<i64>],
        &messages as &[Option<String>]
    )
    // Planned each time, like all updates by a list of keys: a plan that is kept may have been made for an empty table.
    .persistent(false)
    .fetch_all(&mut **transaction)
    .await
    .doing(doing)?;
    if !members.is_empty() {
        sqlx::query!("select wa.settle_sequences($1)", &members)
            .fetch_all(&mut **transaction)
            .await
            .doing("open the gates of sequences")?;
    }
    let by_token: Vec<bool> = news.values().map(|one| one.by_token).collect();
    sqlx::query_file!(
        "src/store/sql/note_flow.sql",
        &ids,
        &senders as &[&str],
        &by_token
    )
    .execute(&mut **transaction)
    .await
    .doing(doing)?;
    hold_templates(transaction, &news).await
}

/// Holds the templates of messages that were failed for their template. The codes are those of an answer (Meta, Error codes: any
/// may come either way).
async fn hold_templates(
    transaction: &mut Transaction,
    news: &BTreeMap<MessageKey, News>,
) -> Result<u64, StoreError> {
    let (mut ids, mut senders, mut failed_at) = (Vec::new(), Vec::new(), Vec::new());
    let (mut codes, mut reasons, mut rests) = (Vec::new(), Vec::new(), Vec::new());
    for (key, one) in news {
        let (Some(at), Some(error)) = (one.failed_at, &one.error) else {
            continue;
        };
        let Some(code) = error.code.filter(|code| holds_its_template(*code)) else {
            continue;
        };
        ids.push(key.id);
        senders.push(key.sender.as_str());
        failed_at.push(at);
        codes.push(code);
        reasons.push(storable(&in_words(error)));
        rests.push(template_rest(Some(code)).as_secs_f64());
    }
    if ids.is_empty() {
        return Ok(0);
    }
    let held = sqlx::query_file!(
        "src/store/sql/hold_for_failures.sql",
        &ids,
        &senders as &[&str],
        &failed_at,
        &codes,
        &reasons,
        &rests,
        MACHINE
    )
    .execute(&mut **transaction)
    .await
    .doing("hold templates for their failed messages")?;
    Ok(held.rows_affected())
}

/// A status does not say whose code it is, and need not: the tables contradict each other nowhere.
fn holds_its_template(code: i64) -> bool {
    classify(code, None, Dialect::OnPremises) == Class::Held(HoldScope::Template)
}
