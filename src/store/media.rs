//! Media files that were uploaded.

use std::time::Duration;

use time::OffsetDateTime;

use super::error::Doing;
use super::{Store, StoreError};
use crate::domain::id::SenderId;

/// A file, by what is in it and what it is taken for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    /// SHA-256.
    pub digest: [u8; 32],
    /// Its media type.
    pub media_type: &'static str,
    /// Its length.
    pub bytes: u64,
}

/// A file that the provider keeps.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Medium {
    /// For this sender.
    pub sender: String,
    /// What messages name it by.
    pub media_id: String,
    /// Its media type.
    pub media_type: String,
    /// Its length.
    pub bytes: i64,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub uploaded_at: OffsetDateTime,
    /// It is uploaded anew from then on.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

impl Store {
    /// The id of a file that the provider at this address keeps for a day more at least.
    pub async fn medium(
        &self,
        sender: &SenderId,
        content: &Content,
        keeper: &str,
    ) -> Result<Option<Medium>, StoreError> {
        sqlx::query_as!(
            Medium,
            "select sender, media_id, media_type, bytes, uploaded_at, expires_at from wa.media
             where sender = $1 and content = $2 and media_type = $3 and media_id <> '' and expires_at > now() + interval '1 day'
               and (kept_by is null or kept_by = $4)",
            sender.as_str(),
            content.digest.as_slice(),
            content.media_type,
            keeper
        )
        .fetch_optional(&self.pool)
        .await
        .doing("look for an uploaded file")
    }

    /// Remembers a file that was uploaded to this address, in place of what was known of it. It is kept for so long.
    pub async fn keep_medium(
        &self,
        sender: &SenderId,
        content: &Content,
        (keeper, media_id): (&str, &str),
        kept_for: Duration,
    ) -> Result<Medium, StoreError> {
        sqlx::query_as!(
            Medium,
            "insert into wa.media as m (sender, content, media_type, bytes, media_id, expires_at, kept_by)
             values ($1, $2, $3, $4, $5, now() + make_interval(secs => $6), $7)
             on conflict (sender, content, media_type) do update
               set media_id = excluded.media_id, uploaded_at = excluded.uploaded_at, expires_at = excluded.expires_at, kept_by = excluded.kept_by
             returning m.sender, m.media_id, m.media_type, m.bytes, m.uploaded_at, m.expires_at",
            sender.as_str(),
            content.digest.as_slice(),
            content.media_type,
            i64::try_from(content.bytes).unwrap_or(i64::MAX),
            media_id,
            kept_for.as_secs_f64(),
            keeper
        )
        .fetch_one(&self.pool)
        .await
        .doing("remember an uploaded file")
    }

    /// Every file that is kept still, of one sender or of all, the newest first.
    pub async fn media(&self, sender: Option<&SenderId>) -> Result<Vec<Medium>, StoreError> {
        sqlx::query_as!(
            Medium,
            "select sender, media_id, media_type, bytes, uploaded_at, expires_at from wa.media
             where expires_at > now() and ($1::text is null or sender = $1) order by uploaded_at desc, media_id",
            sender.map(SenderId::as_str)
        )
        .fetch_all(&self.pool)
        .await
        .doing("list the uploaded files")
    }
}
