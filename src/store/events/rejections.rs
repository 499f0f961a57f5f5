//! Samples of the last rejected requests.

use super::Rejections;
use crate::domain::rejection::{RejectionSample, StoredSample};
use crate::store::db::StoreError;
use chrono::{DateTime, Utc};

/// The number of samples that are kept.
pub const REJECTIONS_KEPT: i64 = 100;

impl Rejections {
    /// Stores a sample in place of the oldest one.
    pub async fn record_rejection(&self, sample: &RejectionSample) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            with next as (
                select nextval('eventbridge.rejection_numbers') as number
            )
            insert into eventbridge.rejections
                   (slot, number, source, reason, header_names, by_sender, body_bytes, body_sha256,
                    body_form, claimed_at, livemode, unseen)
            select (next.number % $1::bigint)::smallint, next.number, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11
              from next
            on conflict (slot) do update
               set number = excluded.number, at = excluded.at, source = excluded.source,
                   reason = excluded.reason, header_names = excluded.header_names,
                   by_sender = excluded.by_sender, body_bytes = excluded.body_bytes,
                   body_sha256 = excluded.body_sha256, body_form = excluded.body_form,
                   claimed_at = excluded.claimed_at, livemode = excluded.livemode,
                   unseen = excluded.unseen
            "#,
            REJECTIONS_KEPT,
            sample.source,
            sample.reason,
            &sample.header_names,
            sample.by_sender,
            i64::try_from(sample.body_bytes).unwrap_or(i64::MAX),
            sample.body_sha256,
            sample.form.as_str(),
            sample.claimed_at,
            sample.livemode,
            i64::try_from(sample.unseen).unwrap_or(i64::MAX)
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The stored samples, newest first.
    pub async fn rejections(&self) -> Result<Vec<StoredSample>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select at, source, reason, header_names, by_sender, body_bytes, body_sha256, body_form,
                   claimed_at, livemode, unseen
              from eventbridge.rejections
             order by number desc
            "#
        )
        .fetch_all(&self.reading)
        .await?;
        rows.into_iter()
            .map(|row| {
                let form = row.body_form.parse();
                let sample = RejectionSample {
                    source: row.source,
                    reason: row.reason,
                    header_names: row.header_names,
                    by_sender: row.by_sender,
                    body_bytes: u64::try_from(row.body_bytes).unwrap_or_default(),
                    body_sha256: row.body_sha256,
                    form: form.map_err(|_| StoreError::Unexpected(row.body_form))?,
                    claimed_at: row.claimed_at,
                    livemode: row.livemode,
                    unseen: u64::try_from(row.unseen).unwrap_or_default(),
                };
                Ok(StoredSample { at: row.at, sample })
            })
            .collect()
    }

    /// When the newest event was accepted.
    pub async fn last_accepted_at(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let at = sqlx::query_scalar!("select received_at from eventbridge.events order by id desc limit 1")
            .fetch_optional(&self.reading)
            .await?;
        Ok(at)
    }
}
