//! Samples of the last rejected requests.

use super::Rejections;
use crate::domain::rejection::{Accepted, RejectionSample, SAMPLES_KEPT, StoredSample};
use crate::store::db::StoreError;
use chrono::{DateTime, Utc};

/// The number of samples that are kept.
pub const REJECTIONS_KEPT: i64 = SAMPLES_KEPT;

impl Rejections {
    /// Stores a sample in place of the oldest one. Returns its number.
    pub async fn record_rejection(&self, sample: &RejectionSample) -> Result<i64, StoreError> {
        let number = sqlx::query_scalar!(
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
            returning number
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
        .fetch_one(&self.pool)
        .await?;
        Ok(number)
    }

    /// Adds rejections that had no sample to the sample of this number, if it is still kept.
    pub async fn add_unseen(&self, number: i64, count: u64) -> Result<(), StoreError> {
        sqlx::query!(
            "update eventbridge.rejections set unseen = unseen + $2 where number = $1",
            number,
            i64::try_from(count).unwrap_or(i64::MAX)
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

    /// When the newest events were accepted: of any source, and of each that has samples, where fetched ones do not
    /// count. Of a source without a webhook among the newest 5,000 events, none is known.
    pub async fn accepted(&self) -> Result<Accepted, StoreError> {
        const READ_MAX: i64 = 5_000;
        let rows = sqlx::query!(
            r#"
            select wanted.source as "source!", newest.received_at as "at!"
              from (select distinct source from eventbridge.rejections) as wanted
             cross join lateral (
                   select received_at
                     from (select source, origin, received_at
                             from eventbridge.events order by id desc limit $1) as of_late
                    where of_late.source = wanted.source and of_late.origin = 'webhook'
                    limit 1) as newest
            "#,
            READ_MAX
        )
        .fetch_all(&self.reading)
        .await?;
        let by_source = rows.into_iter().map(|row| (row.source, row.at)).collect();
        Ok(Accepted { last_at: self.last_accepted_at().await?, by_source })
    }

    /// When the newest event was accepted.
    async fn last_accepted_at(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let at = sqlx::query_scalar!("select received_at from eventbridge.events order by id desc limit 1")
            .fetch_optional(&self.reading)
            .await?;
        Ok(at)
    }
}
