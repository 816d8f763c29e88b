//! Lists messages, newest first, at a cost that does not depend on how many there are.
//!
//! A look walks one index from its newest end: the most telling one that the filter names, and the outbox itself where it names
//! none. What the walk meets is held against the rest of the filter. It goes past [`LOOKED_AT`] messages at most; then it says how far
//! it has looked, and the next page goes on from there. So a page may be short, or empty, and not the last one.
//!
//! Whoever follows the pages meets each message exactly once: a page ends at an id, and the next one begins below it.

use super::error::Doing;
use super::message::Message;
use super::{Store, StoreError};
use crate::domain::phone;

/// A look goes past so many messages at most, and then says how far it came.
pub const LOOKED_AT: usize = 10_000;

/// A page has so many messages at most.
pub const PAGE_AT_MOST: usize = 1_000;

/// The first slice of a walk; each one after it is four times as long.
const FIRST_SLICE: usize = 100;

/// Which messages to list: those of which all that is given is true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// In this state: ours, as `wa.messages` names it.
    pub state: Option<String>,
    /// With this status: WhatsApp's.
    pub status: Option<String>,
    /// Of this sender.
    pub sender: Option<String>,
    /// To this recipient, however it is written: `+1 650-555 1234`, `16505551234`.
    pub recipient: Option<String>,
    /// With this reference.
    pub reference: Option<String>,
    /// WhatsApp calls it so: personal data.
    pub wamid: Option<String>,
    /// Of the campaign with this number.
    pub campaign: Option<i64>,
    /// In a sequence of this name.
    pub sequence: Option<String>,
    /// Failed with this code, before or after its acceptance.
    pub code: Option<i64>,
    /// Accepted twice.
    pub duplicates_only: bool,
    /// Older than this id: [`MessagePage::next`] of the page before.
    pub before: Option<i64>,
}

/// Messages, newest first, and where to go on.
#[derive(Clone, Debug, Default)]
pub struct MessagePage {
    /// As many as were asked for, or fewer.
    pub messages: Vec<Message>,
    /// Older ones come with [`MessageFilter::before`] this id. None: there are none.
    pub next: Option<i64>,
    /// The look ended here, because it had gone past enough messages and not because it had found enough.
    pub looked_back_to: Option<i64>,
}

impl MessagePage {
    /// Whether nothing older is like that.
    pub fn is_whole(&self) -> bool {
        self.next.is_none()
    }
}

/// What a look walks along, newest first.
enum Walk {
    /// All there are.
    Outbox,
    /// To one recipient, as stored.
    Recipient(String),
    Reference(String),
    Campaign(i64),
    Queue,
    Uncertain,
    /// What has ended in a state other than accepted.
    Ended(String),
    /// What has ended.
    Results,
    /// What WhatsApp has said `failed` of.
    FailedStatus,
    Code(i64),
    Duplicates,
    /// So few that they were read at once.
    These(Vec<i64>),
}

/// A message on the way of a walk.
struct Candidate {
    id: i64,
    is_of_sender: bool,
}

impl Store {
    /// Messages, newest first: no more than `limit`, nor than [`PAGE_AT_MOST`].
    pub async fn messages(
        &self,
        filter: &MessageFilter,
        limit: usize,
    ) -> Result<MessagePage, StoreError> {
        let limit = limit.clamp(1, PAGE_AT_MOST);
        let recipient = match &filter.recipient {
            Some(written) => match self.recipient_as_stored(written).await? {
                Some(stored) => Some(stored),
                None => return Ok(MessagePage::default()),
            },
            None => None,
        };
        let filter = MessageFilter {
            recipient,
            ..filter.clone()
        };
        let walk = self.walk(&filter).await?;
        let mut page = MessagePage::default();
        let mut before = filter.before.unwrap_or(i64::MAX);
        let mut looked_at = 0;
        let mut slice = FIRST_SLICE.max(limit + 1);
        loop {
            let candidates = self.candidates(&walk, &filter, before, slice).await?;
            let is_last = candidates.len() < slice;
            looked_at += candidates.len();
            if let Some(last) = candidates.last() {
                before = last.id;
            }
            let ids = candidates.iter().filter(|one| one.is_of_sender);
            let ids: Vec<i64> = ids.map(|one| one.id).collect();
            // One more than is shown tells whether there is a next page.
            let wanted = limit + 1 - page.messages.len();
            page.messages
                .extend(self.messages_like(&ids, &filter, wanted).await?);
            if page.messages.len() > limit {
                page.messages.truncate(limit);
                page.next = page.messages.last().map(|last| last.id);
                break;
            }
            if is_last {
                break;
            }
            if looked_at >= LOOKED_AT {
                page.next = Some(before);
                page.looked_back_to = Some(before);
                break;
            }
            slice = (slice * 4).min(LOOKED_AT - looked_at);
        }
        // Some have moved on since the walk met them. What they are now is not what was asked for.
        page.messages.retain(|message| {
            let is_in_state = |state: &String| *state == message.state;
            filter.state.as_ref().is_none_or(is_in_state)
        });
        Ok(page)
    }

    /// What to walk along: where few are met, or all that are met are meant.
    async fn walk(&self, filter: &MessageFilter) -> Result<Walk, StoreError> {
        if let Some(wamid) = &filter.wamid {
            return Ok(Walk::These(self.messages_of_wamid(wamid).await?));
        }
        if let Some(reference) = &filter.reference {
            return Ok(Walk::Reference(reference.clone()));
        }
        if let Some(recipient) = &filter.recipient {
            return Ok(Walk::Recipient(recipient.clone()));
        }
        if filter.duplicates_only {
            return Ok(Walk::Duplicates);
        }
        match filter.state.as_deref() {
            Some("sending") => return Ok(Walk::These(self.messages_under_way().await?)),
            Some("uncertain") => return Ok(Walk::Uncertain),
            Some("waiting") => {
                if let Some(few) = self.messages_that_wait().await? {
                    return Ok(Walk::These(few));
                }
            }
            _ => {}
        }
        if let Some(code) = filter.code {
            return Ok(Walk::Code(code));
        }
        if let Some(state @ ("failed" | "expired" | "cancelled")) = filter.state.as_deref() {
            return Ok(Walk::Ended(state.to_owned()));
        }
        if filter.status.as_deref() == Some("failed") {
            return Ok(Walk::FailedStatus);
        }
        if let Some(campaign) = filter.campaign {
            return Ok(Walk::Campaign(campaign));
        }
        Ok(match filter.state.as_deref() {
            Some("queued") => Walk::Queue,
            Some("accepted") => Walk::Results,
            _ if filter.status.is_some() => Walk::Results,
            _ => Walk::Outbox,
        })
    }

    /// The next so many on the way of a walk, newest first.
    async fn candidates(
        &self,
        walk: &Walk,
        filter: &MessageFilter,
        before: i64,
        slice: usize,
    ) -> Result<Vec<Candidate>, StoreError> {
        let sender = filter.sender.as_deref();
        let many = slice as i64;
        // One statement a walk, so that each is planned for the one index it is written for.
        macro_rules! walk {
            ($file:literal $(, $about:expr)?) => {
                sqlx::query_file_as!(Candidate, $file, before, sender, many $(, $about)?)
                    .fetch_all(&self.pool)
                    .await
            };
        }
        let candidates = match walk {
            Walk::Outbox => walk!("src/store/sql/walks/outbox.sql"),
            Walk::Recipient(recipient) => walk!("src/store/sql/walks/recipient.sql", recipient),
            Walk::Reference(reference) => walk!("src/store/sql/walks/reference.sql", reference),
            Walk::Campaign(campaign) => walk!("src/store/sql/walks/campaign.sql", campaign),
            Walk::Queue => walk!("src/store/sql/walks/queue.sql"),
            Walk::Uncertain => walk!("src/store/sql/walks/uncertain.sql"),
            Walk::Ended(state) => walk!("src/store/sql/walks/ended.sql", state),
            Walk::Results => walk!("src/store/sql/walks/results.sql"),
            Walk::FailedStatus => walk!("src/store/sql/walks/failed_status.sql"),
            Walk::Code(code) => walk!("src/store/sql/walks/code.sql", code),
            Walk::Duplicates => walk!("src/store/sql/walks/duplicates.sql"),
            Walk::These(ids) => {
                let older = ids.iter().filter(|id| **id < before).take(slice);
                let of_any_sender = |id: &i64| Candidate {
                    id: *id,
                    is_of_sender: true,
                };
                Ok(older.map(of_any_sender).collect())
            }
        };
        candidates.doing("list messages")
    }

    /// Those of them that are like that, newest first.
    async fn messages_like(
        &self,
        ids: &[i64],
        filter: &MessageFilter,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        sqlx::query_file_as!(
            Message,
            "src/store/sql/messages_like.sql",
            ids,
            filter.sender,
            filter.recipient,
            filter.reference,
            filter.sequence,
            filter.campaign,
            filter.state,
            filter.status,
            filter.code,
            filter.duplicates_only,
            limit as i64
        )
        .fetch_all(&self.pool)
        .await
        .doing("list messages")
    }

    /// A recipient as the outbox keeps it: the first way of writing it that any message has. None: there is no message to them.
    async fn recipient_as_stored(&self, written: &str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar!(
            r#"select s.spelling as "spelling!" from unnest($1::text[]) with ordinality as s (spelling, place)
               where exists (select from wa.outbox o where o.recipient = s.spelling)
               order by s.place limit 1"#,
            &spellings(written)
        )
        .fetch_optional(&self.pool)
        .await
        .doing("look for the recipient")
    }

    async fn messages_of_wamid(&self, wamid: &str) -> Result<Vec<i64>, StoreError> {
        sqlx::query_scalar!(
            r#"select id as "id!" from wa.known_wamids where wamid = $1 order by id desc limit $2"#,
            wamid,
            LOOKED_AT as i64
        )
        .fetch_all(&self.pool)
        .await
        .doing("look for the wamid")
    }

    /// What is on the wire. No index knows it (see `find_begun.sql`), so it is looked for where it stands: in front of its lane.
    pub(super) async fn messages_under_way(&self) -> Result<Vec<i64>, StoreError> {
        sqlx::query_file_scalar!("src/store/sql/messages_under_way.sql", LOOKED_AT as i64)
            .fetch_all(&self.pool)
            .await
            .doing("list the messages under way")
    }

    /// The members of sequences that wait, newest first. None: they are more than one look goes past. Their own table is in the order
    /// of sequences and not of ids, so few are read at once, and many are met soon enough among all messages.
    async fn messages_that_wait(&self) -> Result<Option<Vec<i64>>, StoreError> {
        let mut waiting = sqlx::query_scalar!(
            "select id from wa.waiting order by sender, recipient, sequence, id limit $1",
            LOOKED_AT as i64 + 1
        )
        .fetch_all(&self.pool)
        .await
        .doing("list the messages that wait")?;
        waiting.sort_unstable_by(|a, b| b.cmp(a));
        Ok((waiting.len() <= LOOKED_AT).then_some(waiting))
    }
}

/// The ways in which the outbox may keep a recipient that a person has written like this, the likeliest first. WhatsApp shows numbers
/// without their plus, and many dial 00 for it.
fn spellings(written: &str) -> Vec<String> {
    let written = written.trim();
    let mut spellings = Vec::new();
    if let Ok(number) = phone::normalised(written, None) {
        spellings.push(number);
    }
    spellings.push(written.to_owned());
    let with_plus = format!("+{}", written.strip_prefix("00").unwrap_or(written));
    if let Ok(number) = phone::normalised(&with_plus, None) {
        spellings.push(number);
    }
    spellings
}

#[cfg(test)]
mod tests {
    use super::spellings;

    #[test]
    fn a_number_is_looked_for_however_it_is_written() {
        for written in [
            " +1 (650) 555-1234",
            "1 650 555 1234",
            "16505551234",
            "0016505551234",
        ] {
            let spellings = spellings(written);
            assert!(spellings.contains(&"+16505551234".to_owned()), "{written}");
        }
    }

    #[test]
    fn an_id_of_whatsapps_is_looked_for_as_it_is() {
        let id = "US.13491208655302741918";
        assert_eq!(spellings(id), [id]);
    }
}
