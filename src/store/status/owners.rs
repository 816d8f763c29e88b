//! Whose statuses are: of our messages by our token, by the sender that is named, or by an id that only one has.
//!
//! A provider may count its ids for each sender. So an id is that of the sender whom the delivery names, where it names one of ours;
//! what is ambiguous still is kept like what is unknown. Where only a token tells of an acceptance, it is written down first.

use std::collections::{BTreeSet, HashMap, HashSet};

use time::OffsetDateTime;

use super::{MessageKey, StatusSeen, Told};
use crate::domain::account_news::OurNumber;
use crate::domain::id::{AttemptNumber, MessageId, SenderId};
use crate::store::StoreError;
use crate::store::connections::Transaction;
use crate::store::error::Doing;

/// With what WhatsApp's own ids begin. Each is of one message, whoever sent it.
pub(super) const OF_ONE_MESSAGE: &str = "wamid.";

/// Whose the ids are that a batch tells of.
#[derive(Default)]
pub(super) struct Owners {
    /// Those who have got this id; several where each sender's are counted apart.
    by_wamid: HashMap<String, Vec<Owner>>,
    /// The senders of ours that numbers are, of which no owner was found under their own name.
    meant: HashMap<String, Vec<String>>,
}

/// The attempt that a wamid belongs to.
pub(super) struct Owner {
    pub(super) key: MessageKey,
    pub(super) attempt: i32,
    /// When its answer was written down, where an answer told the wamid.
    pub(super) answered_at: Option<OffsetDateTime>,
}

impl Owner {
    pub(super) fn sender(&self) -> Option<&str> {
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
    pub(super) fn owner(&self, one: &StatusSeen) -> Option<&Owner> {
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

    /// The sender of ours that it names, if that is clear.
    pub(super) fn sender(&self, one: &StatusSeen) -> Option<&str> {
        match self.meant(one) {
            [only] => Some(only),
            _ => None,
        }
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
pub(super) struct Learned {
    pub(super) told: Vec<Told>,
    pub(super) settled: u64,
    pub(super) never_begun: u64,
}

/// Finds the message of each wamid; where only our token tells it, the acceptance is written down first.
pub(super) async fn identify(
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
            learned.told.push(told);
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
        r#"with told as materialized (
             select * from unnest($1::text[], $2::text[]) as t (name, digits)
           ), known as materialized (
             select t.name from told t cross join lateral (select from wa.senders s where s.sender = t.name offset 0) s
           ), others as materialized (
             select * from told t where t.digits is not null and not exists (select from known k where k.name = t.name)
           )
           select k.name as "name!", k.name as "sender!" from known k
           union select o.name, s.sender from others o join wa.senders s on ltrim(s.sender, '+') = o.digits
           union select o.name, n.sender from others o join wa.sender_numbers n on n.number = o.digits
           order by 1, 2"#,
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
