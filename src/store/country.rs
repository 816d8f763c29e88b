//! The numbering plans of countries in the database.

use sqlx::PgConnection;
use sqlx::types::Json;

use super::StoreError;
use super::error::Doing;
use crate::domain::numbering::plans;

/// Puts the plans that this version knows into `wa.countries`. A country that has gone stays: a sender may name it.
pub(super) async fn bring_up_to_date(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into wa.countries as known
         select p.* from jsonb_populate_recordset(null::wa.countries, $1) p
         on conflict (region) do update set
           calling_code = excluded.calling_code, is_main = excluded.is_main,
           international_prefix = excluded.international_prefix, national_prefix = excluded.national_prefix,
           national_prefix_becomes = excluded.national_prefix_becomes, lengths = excluded.lengths,
           general_pattern = excluded.general_pattern, number_pattern = excluded.number_pattern
         where known.* is distinct from excluded.*",
        Json(plans()) as _
    )
    .execute(connection)
    .await
    .doing("bring the numbering plans up to date")
    .map(drop)
}
