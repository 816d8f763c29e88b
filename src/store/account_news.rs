//! News of our numbers and accounts: whose it is, and what is stopped or released for it.
//!
//! A webhook about an account or a number does not name the id that messages are sent by. Every webhook about messages names all of
//! them, so who is who is learned from those, and is certain long before a campaign has sent much. Where it is not certain who is
//! meant, campaigns are paused to be on the safe side, but no sender is held.
//!
//! Each piece of news is judged by when it happened: it changes nothing about what was started, resumed or released since.

use time::OffsetDateTime;

use super::StoreError;
use super::campaign_work::CampaignChange;
use super::error::Doing;
use super::hold::MACHINE;
use super::inbox::InboxBatch;
use super::record::storable;
use crate::domain::account_news::{About, AccountNews, Effect, OurNumber};
use crate::domain::hold::{Cause, TemplateKey};
use crate::domain::id::SenderId;

/// What news has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewsApplied {
    /// Campaigns that were paused.
    pub paused: Vec<CampaignChange>,
    /// Senders that are held from now on, and why.
    pub held: Vec<(SenderId, String)>,
    /// Senders that were released.
    pub released: Vec<SenderId>,
}

/// Who is meant, as the database takes it.
struct Meant<'a> {
    account: Option<&'a str>,
    number: Option<&'a str>,
    template: Option<&'a TemplateKey>,
}

impl<'a> Meant<'a> {
    fn by(news: &'a AccountNews) -> Self {
        let (number, template) = match &news.about {
            About::Account => (None, None),
            About::Number(number) => (Some(number.as_str()), None),
            About::Template(template) => (None, Some(template)),
        };
        Self {
            account: news.account.as_deref(),
            number,
            template,
        }
    }
}

impl InboxBatch {
    /// Keeps what webhooks call our numbers: those that the deliveries name.
    pub async fn learn_numbers(&mut self) -> Result<(), StoreError> {
        let numbers = &self.numbers;
        if numbers.is_empty() {
            return Ok(());
        }
        let senders: Vec<&str> = numbers.iter().map(|one| one.sender.as_str()).collect();
        let column = |pick: fn(&OurNumber) -> Option<&str>| -> Vec<Option<&str>> {
            numbers.iter().map(pick).collect()
        };
        sqlx::query_file!(
            "src/store/sql/learn_numbers.sql",
            &senders as &[&str],
            &column(|one| one.account.as_deref()) as &[Option<&str>],
            &column(|one| one.number.as_deref()) as &[Option<&str>]
        )
        .execute(&mut *self.transaction)
        .await
        .doing("keep what webhooks call our numbers")
        .map(drop)
    }

    /// Applies news, in its order; each with the moment that it counts from.
    pub async fn apply_account_news(
        &mut self,
        news: &[(AccountNews, OffsetDateTime)],
    ) -> Result<NewsApplied, StoreError> {
        let mut applied = NewsApplied::default();
        for (one, at) in news {
            let (meant, reason) = (Meant::by(one), storable(&one.reason));
            match one.effect {
                Effect::Warns => applied
                    .paused
                    .extend(self.pause(&meant, &reason, *at).await?),
                Effect::Stops { cause, until } => {
                    applied
                        .paused
                        .extend(self.pause(&meant, &reason, *at).await?);
                    let held = self.hold(&meant, &reason, *at, cause, until).await?;
                    let because = |sender| (sender, reason.clone());
                    applied.held.extend(held.into_iter().map(because));
                }
                Effect::Restores => {
                    applied
                        .released
                        .extend(self.release(&meant, &reason, *at).await?);
                }
            }
        }
        Ok(applied)
    }

    async fn pause(
        &mut self,
        meant: &Meant<'_>,
        reason: &str,
        at: OffsetDateTime,
    ) -> Result<Vec<CampaignChange>, StoreError> {
        let paused = sqlx::query_file!(
            "src/store/sql/pause_for_news.sql",
            meant.account,
            meant.number,
            meant.template.map(|template| template.name.as_str()),
            meant
                .template
                .and_then(|template| template.language.as_deref()),
            at,
            reason,
            MACHINE
        )
        .fetch_all(&mut *self.transaction)
        .await
        .doing("pause campaigns for what WhatsApp says")?;
        let paused = paused.into_iter().filter(|row| row.is_changed);
        Ok(paused
            .map(|row| CampaignChange {
                campaign: row.campaign,
                name: row.name,
                sender: row.sender,
                state: row.state,
                reason: row.reason,
            })
            .collect())
    }

    async fn hold(
        &mut self,
        meant: &Meant<'_>,
        reason: &str,
        at: OffsetDateTime,
        cause: Cause,
        until: Option<OffsetDateTime>,
    ) -> Result<Vec<SenderId>, StoreError> {
        let held = sqlx::query_file_scalar!(
            "src/store/sql/hold_for_news.sql",
            meant.account,
            meant.number,
            at,
            reason,
            MACHINE,
            until,
            cause.as_str()
        )
        .fetch_all(&mut *self.transaction)
        .await
        .doing("hold senders for what WhatsApp says")?;
        Ok(held.into_iter().map(SenderId::from).collect())
    }

    async fn release(
        &mut self,
        meant: &Meant<'_>,
        reason: &str,
        at: OffsetDateTime,
    ) -> Result<Vec<SenderId>, StoreError> {
        let released = sqlx::query_file_scalar!(
            "src/store/sql/release_for_news.sql",
            meant.account,
            meant.number,
            at,
            reason,
            MACHINE
        )
        .fetch_all(&mut *self.transaction)
        .await
        .doing("release senders for what WhatsApp says")?;
        Ok(released.into_iter().map(SenderId::from).collect())
    }
}
