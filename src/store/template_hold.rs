//! Holds of templates, and the messages that wait for them.
//!
//! A hold is one row, and acts on the whole backlog at once: the owner of the sender reads it each second and lets no message
//! of that template leave. Those that stand in the way of others are set aside, to a due time that belongs to the hold, and
//! brought back when it is released. What is set aside is still queued; it can be cancelled, and expires.

use time::OffsetDateTime;

use super::connections::Connection;
use super::error::Doing;
use super::hold::MACHINE;
use super::inbox::InboxBatch;
use super::lease::WorkerId;
use super::record::storable;
use super::{Store, StoreError};
use crate::domain::hold::{PROBE_AGAIN_AFTER, PROBE_HEARD_WITHIN, TemplateKey, WEBHOOK_HOLD};
use crate::domain::id::{MessageId, SenderId};

/// Why a template is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateCause {
    /// A person said so.
    Operator,
    /// An answer of WhatsApp's.
    Answer,
    /// Its parameters fitted no message of several in a row.
    Mismatch,
    /// A webhook about the template.
    Webhook,
}

impl TemplateCause {
    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Answer => "answer",
            Self::Mismatch => "mismatch",
            Self::Webhook => "webhook",
        }
    }
}

/// A hold of a template that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewTemplateHold<'a> {
    /// Of this sender.
    pub sender: &'a SenderId,
    /// This one; without a language, all of them.
    pub template: &'a TemplateKey,
    /// Why.
    pub cause: TemplateCause,
    /// In words, for people.
    pub reason: &'a str,
    /// By whom.
    pub by: &'a str,
    /// Meta's code, where an answer is the cause.
    pub code: Option<i64>,
    /// After this long a person's hold ends, and any other is tried again. None, for a person's only: until it is released.
    pub rest: Option<std::time::Duration>,
}

/// A template that is held, or was.
#[derive(Clone, Debug)]
pub struct TemplateHold {
    /// Its number.
    pub hold: i64,
    /// Of this sender.
    pub sender: String,
    /// The template.
    pub template: String,
    /// Its language; none: all of them.
    pub language: Option<String>,
    /// `operator`, `answer`, `mismatch` or `webhook`.
    pub cause: String,
    /// In words.
    pub reason: String,
    /// Meta's code.
    pub code: Option<i64>,
    /// By whom.
    pub held_by: String,
    /// Since when.
    pub held_at: OffsetDateTime,
    /// A person's hold ends then, any other is tried again.
    pub held_until: Option<OffsetDateTime>,
    /// So many messages were tried and refused.
    pub probes: i32,
    /// Whether one is being tried.
    pub is_probing: bool,
    /// Whether one may be tried now, by the database's clock.
    pub is_probe_due: bool,
    /// When it was released.
    pub released_at: Option<OffsetDateTime>,
    /// By whom.
    pub released_by: Option<String>,
    /// Why.
    pub released_why: Option<String>,
}

impl TemplateHold {
    /// Whether it keeps a message of this template back.
    pub fn covers(&self, template: &TemplateKey) -> bool {
        self.template == template.name
            && (self.language.is_none() || self.language == template.language)
    }
}

/// What became of the probe of a template.
#[derive(Clone, Copy, Debug)]
pub enum TemplateProbeEnd<'a> {
    /// It was accepted: the hold is over.
    Accepted,
    /// It was refused again.
    HeldAgain {
        /// In words.
        reason: &'a str,
        /// Meta's code.
        code: Option<i64>,
        /// Tried again after this.
        rest: std::time::Duration,
    },
    /// It taught nothing of the cause.
    Nothing,
}

/// What a webhook says of a template.
#[derive(Clone, Debug)]
pub struct TemplateNews {
    /// Whose template it is: a WhatsApp Business Account.
    pub account: Option<String>,
    /// The template; without a language, all of them.
    pub template: TemplateKey,
    /// In words, for people.
    pub reason: String,
    /// Whether it can be used now, or cannot.
    pub is_usable: bool,
}

/// Which templates are to be released.
#[derive(Clone, Copy, Debug)]
pub struct TemplateRelease<'a> {
    /// Of this sender; none: of all.
    pub sender: Option<&'a SenderId>,
    /// This one; without a language, every hold of it.
    pub template: &'a TemplateKey,
    /// By whom.
    pub by: &'a str,
    /// Why.
    pub why: &'a str,
}

impl Store {
    /// Holds a template of a sender. A hold that stands keeps its reason, except that a person's takes the place of a
    /// machine's. `false`: it stands.
    pub async fn hold_template(&self, hold: &NewTemplateHold<'_>) -> Result<bool, StoreError> {
        let held = sqlx::query!(
            "insert into wa.template_holds as h (sender, template, language, cause, reason, code, held_by, held_until)
             values ($1, $2, $3, $4, $5, $6, $7, clock_timestamp() + make_interval(secs => $8))
             on conflict (sender, template, coalesce(language, '')) where released_at is null do update
             set cause = excluded.cause, reason = excluded.reason, code = excluded.code, held_by = excluded.held_by,
               held_at = excluded.held_at, held_until = excluded.held_until, account = null, probes = 0, probing_until = null
             where excluded.cause = 'operator' and h.cause <> 'operator'",
            hold.sender.as_str(),
            hold.template.name,
            hold.template.language,
            hold.cause.as_str(),
            storable(hold.reason),
            hold.code,
            storable(hold.by),
            hold.rest.map(|rest| rest.as_secs_f64())
        )
        .execute(&self.pool)
        .await
        .doing("hold the template")?;
        Ok(held.rows_affected() == 1)
    }

    /// Releases templates by someone's word. Says how many holds that were. What they had set aside comes back by
    /// [`Store::bring_back`].
    pub async fn release_template(&self, release: &TemplateRelease<'_>) -> Result<u64, StoreError> {
        let released = sqlx::query!(
            "update wa.template_holds
             set released_at = clock_timestamp(), released_by = $4, released_why = $5, probing_until = null
             where template = $2 and ($1::text is null or sender = $1) and ($3::text is null or language = $3) and released_at is null",
            release.sender.map(SenderId::as_str),
            release.template.name,
            release.template.language,
            storable(release.by),
            storable(release.why)
        )
        .execute(&self.pool)
        .await
        .doing("release the template")?;
        Ok(released.rows_affected())
    }

    /// Which templates of these senders are held.
    pub async fn template_holds(
        &self,
        senders: &[SenderId],
    ) -> Result<Vec<TemplateHold>, StoreError> {
        let senders: Vec<&str> = senders.iter().map(SenderId::as_str).collect();
        sqlx::query_as!(
            TemplateHold,
            r#"select hold, sender, template, language, cause, reason, code, held_by, held_at, held_until, probes,
                      coalesce(probing_until > clock_timestamp(), false) as "is_probing!",
                      coalesce(cause <> 'operator' and held_until <= clock_timestamp()
                        and (probing_until is null or probing_until <= clock_timestamp()), false) as "is_probe_due!",
                      released_at, released_by, released_why
               from wa.template_holds
               where sender = any($1) and released_at is null
                 and (cause <> 'operator' or held_until is null or held_until > clock_timestamp())
               order by sender, template, language"#,
            &senders as &[&str]
        )
        .fetch_all(&self.pool)
        .await
        .doing("read which templates are held")
    }

    /// The holds of all senders, those that stand first, then the latest that were released.
    pub async fn template_holds_with_past(
        &self,
        released_at_most: i64,
    ) -> Result<Vec<TemplateHold>, StoreError> {
        sqlx::query_as!(
            TemplateHold,
            r#"with shown as (
                 (select * from wa.template_holds where released_at is null)
                 union all
                 (select * from wa.template_holds where released_at is not null order by released_at desc limit $1)
               )
               select hold as "hold!", sender as "sender!", template as "template!", language, cause as "cause!", reason as "reason!",
                      code, held_by as "held_by!", held_at as "held_at!", held_until, probes as "probes!",
                      coalesce(probing_until > clock_timestamp(), false) as "is_probing!",
                      coalesce(released_at is null and cause <> 'operator' and held_until <= clock_timestamp(), false) as "is_probe_due!",
                      released_at, released_by, released_why
               from shown order by released_at desc nulls first, sender, template, language"#,
            released_at_most
        )
        .fetch_all(&self.pool)
        .await
        .doing("list the holds of templates")
    }

    /// Sets messages aside, each for the hold of its template; they are out of the way of the others until it is released. What
    /// is released meanwhile sets nothing aside. Says how many.
    pub async fn put_off_for_template(
        &self,
        messages: &[(MessageId, i64)],
    ) -> Result<u64, StoreError> {
        let ids: Vec<i64> = messages.iter().map(|(id, _)| id.0).collect();
        let holds: Vec<i64> = messages.iter().map(|(_, hold)| *hold).collect();
        let aside = sqlx::query_file!("src/store/sql/put_off_for_template.sql", &ids, &holds)
            .execute(&self.pool)
            .await
            .doing("set messages of held templates aside")?;
        Ok(aside.rows_affected())
    }

    /// Makes due again what released holds had set aside, `at_most` so many messages. `false`: nothing is left to be done. Safe
    /// to run in every process at once.
    pub async fn bring_back(&self, at_most: i64) -> Result<bool, StoreError> {
        let row = sqlx::query_file!("src/store/sql/bring_back.sql", at_most)
            .fetch_one(&self.pool)
            .await
            .doing("bring messages of released templates back")?;
        Ok(row.holds > 0)
    }

    /// Begins the probe of a held template: `true` lets the caller send exactly one message of it. At most one caller gets it,
    /// only while it holds the sender's lease, and never for a person's hold.
    pub async fn begin_template_probe(
        &self,
        worker: WorkerId,
        hold: i64,
    ) -> Result<bool, StoreError> {
        let doing = "begin a probe of a held template";
        let mut transaction = self.pool.begin().await.doing(doing)?;
        let begun = sqlx::query_file!(
            "src/store/sql/begin_template_probe.sql",
            worker.0,
            hold,
            PROBE_HEARD_WITHIN.as_secs_f64()
        )
        .execute(&mut *transaction)
        .await
        .doing(doing)?
        .rows_affected();
        if begun == 0 {
            transaction.rollback().await.doing(doing)?;
            return Ok(false);
        }
        sqlx::query_file!("src/store/sql/make_probe_due.sql", hold)
            .execute(&mut *transaction)
            .await
            .doing(doing)?;
        transaction.commit().await.doing(doing)?;
        Ok(true)
    }

    /// Ends the probe of a template. `false`: there was none any more, for it has been released, or held by a person, meanwhile.
    pub async fn end_template_probe(
        &self,
        hold: i64,
        end: TemplateProbeEnd<'_>,
    ) -> Result<bool, StoreError> {
        let doing = "end the probe of a held template";
        let mut connection = self.pool.acquire().await.doing(doing)?;
        let ended = end_probe(&mut connection, hold, end).await.doing(doing)?;
        Ok(ended == 1)
    }
}

async fn end_probe(
    connection: &mut Connection,
    hold: i64,
    end: TemplateProbeEnd<'_>,
) -> Result<u64, sqlx::Error> {
    let ended = match end {
        TemplateProbeEnd::Accepted => {
            sqlx::query!(
                "update wa.template_holds
                 set released_at = clock_timestamp(), released_by = $2, released_why = 'the probe was accepted', probing_until = null
                 where hold = $1 and released_at is null and probing_until is not null",
                hold,
                MACHINE
            )
            .execute(connection)
            .await
        }
        TemplateProbeEnd::HeldAgain { reason, code, rest } => {
            sqlx::query!(
                "update wa.template_holds
                 set held_until = clock_timestamp() + make_interval(secs => $4), reason = $2, code = $3, cause = 'answer',
                   probes = probes + 1, probing_until = null
                 where hold = $1 and released_at is null and probing_until is not null",
                hold,
                storable(reason),
                code,
                rest.as_secs_f64()
            )
            .execute(connection)
            .await
        }
        TemplateProbeEnd::Nothing => {
            sqlx::query!(
                "update wa.template_holds set probing_until = clock_timestamp() + make_interval(secs => $2)
                 where hold = $1 and released_at is null and probing_until is not null",
                hold,
                PROBE_AGAIN_AFTER.as_secs_f64()
            )
            .execute(connection)
            .await
        }
    };
    Ok(ended?.rows_affected())
}

impl InboxBatch {
    /// Applies what webhooks say of templates, in their order. A template that can be used again is released, unless a person
    /// holds it; one that cannot is held for those who have used it lately, and tried again soon, for the webhook names an
    /// account and no sender. Says how many holds were released.
    pub async fn apply_template_news(&mut self, news: &[TemplateNews]) -> Result<u64, StoreError> {
        let mut released = 0;
        for run in news.chunk_by(|one, next| one.is_usable == next.is_usable) {
            if run.iter().any(|one| one.is_usable) {
                for one in run {
                    released += self.release_by_webhook(one).await?;
                }
            } else {
                self.hold_by_webhook(run).await?;
            }
        }
        Ok(released)
    }

    async fn release_by_webhook(&mut self, news: &TemplateNews) -> Result<u64, StoreError> {
        // Names are unique only within an account. A hold that an answer made knows none; if it is another account's, the next
        // message is refused and holds it again.
        let released = sqlx::query!(
            "update wa.template_holds
             set released_at = clock_timestamp(), released_by = $4, released_why = $5, probing_until = null
             where template = $1 and ($2::text is null or language is null or language = $2) and released_at is null
               and cause <> 'operator' and ($3::text is null or account is null or account = $3)",
            news.template.name,
            news.template.language,
            news.account,
            MACHINE,
            storable(&news.reason)
        )
        .execute(&mut *self.transaction)
        .await
        .doing("release a template by its webhook")?;
        Ok(released.rows_affected())
    }

    /// Together: each look at who uses templates is a look at thousands of messages.
    async fn hold_by_webhook(&mut self, news: &[TemplateNews]) -> Result<(), StoreError> {
        let names: Vec<&str> = news.iter().map(|one| one.template.name.as_str()).collect();
        let languages: Vec<_> = news
            .iter()
            .map(|one| one.template.language.as_deref())
            .collect();
        let reasons: Vec<String> = news.iter().map(|one| storable(&one.reason)).collect();
        let accounts: Vec<_> = news.iter().map(|one| one.account.as_deref()).collect();
        sqlx::query_file!(
            "src/store/sql/hold_for_webhook.sql",
            &names as &[&str],
            &languages as &[Option<&str>],
            &reasons,
            &accounts as &[Option<&str>],
            MACHINE,
            WEBHOOK_HOLD.as_secs_f64()
        )
        .execute(&mut *self.transaction)
        .await
        .doing("hold templates by their webhooks")
        .map(drop)
    }
}
