//! Alerts: which conditions are active, and which alerts are still to be sent. A condition has one row,
//! however many processes detect it, and one of them sends the alert.
//! During quiet hours those that are not urgent are held, and afterwards they are sent together.
//! If a process dies between sending an alert and recording that, another process sends it again.

use super::Alerts;
use crate::store::db::{StoreError, milliseconds};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The most attempts to send an alert, which last for more than two days.
const TRIES_MAX: i32 = 60;

/// The most alerts that are claimed at once.
const ALERT_BATCH_MAX: i64 = 10;

/// The most held alerts that are claimed at once; the others come with the next digest.
const HELD_MAX: i64 = 200;

/// The wait after the first failed attempt, which is longer than any attempt. It doubles up to an hour.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// An active condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What it is about; the same condition has the same key every time.
    pub key: String,
    /// What kind of condition it is, such as `failures`.
    pub kind: String,
    /// The failure group, if it is about one.
    pub failure_group: Option<String>,
    /// Whether it is sent during quiet hours too.
    pub is_urgent: bool,
    /// A one-line summary, without data from events.
    pub summary: String,
    /// What to do.
    pub remedy: String,
    /// When it began.
    pub since: DateTime<Utc>,
}

/// An alert that this process has claimed and sends now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueAlert {
    /// The condition.
    pub condition: Condition,
    /// When the condition ended, if the alert reports its end.
    pub resolved_at: Option<DateTime<Utc>>,
    /// Whether its beginning was sent.
    pub was_notified: bool,
}

/// What a digest reports of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The condition lasts.
    Lasts,
    /// A condition that was sent has ended.
    Over,
    /// The condition began and ended during the quiet hours.
    Passed,
}

impl DueAlert {
    /// What a digest reports of it.
    pub const fn held(&self) -> Held {
        match (self.resolved_at, self.was_notified) {
            (None, _) => Held::Lasts,
            (Some(_), true) => Held::Over,
            (Some(_), false) => Held::Passed,
        }
    }
}

impl Alerts {
    /// Records which conditions are active now, among the kinds that were evaluated. A new condition is sent
    /// with its newest summary. The end of a condition is sent too, unless its start was never sent; if that is
    /// held, the digest reports both. A condition that returns before its end was sent counts as never ended.
    pub async fn record_conditions(
        &self,
        kinds: &[&str],
        conditions: &[Condition],
    ) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            with lasting as (
                select * from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $7::text[], $8::text[],
                                     $9::boolean[])
                    as lasting (key, summary, remedy, since, kind, failure_group, urgent)
            ), raised as (
                insert into eventbridge.alerts as known (key, kind, failure_group, urgent, summary, remedy, since)
                select key, kind, failure_group, urgent, summary, remedy, since from lasting order by key
                on conflict (key) do update
                   set summary = excluded.summary, remedy = excluded.remedy, resolved_at = null,
                       held = known.held and known.notified_at is null,
                       attempts = case when known.resolved_at is null then known.attempts else 0 end,
                       next_try_at = case when known.resolved_at is null then known.next_try_at else now() end
                 where known.resolved_at is not null
                    or (known.summary, known.remedy) is distinct from (excluded.summary, excluded.remedy)
            ), ended as (
                update eventbridge.alerts
                   set resolved_at = now(), attempts = 0, next_try_at = now()
                 where (notified_at is not null or held) and resolved_at is null
                   and kind = any ($6) and key not in (select key from lasting)
            )
            delete from eventbridge.alerts
             where (notified_at is null and not held or resolved_at is not null and attempts >= $5)
               and kind = any ($6) and key not in (select key from lasting)
            "#,
            &conditions.iter().map(|one| one.key.as_str()).collect::<Vec<_>>() as _,
            &conditions.iter().map(|one| one.summary.as_str()).collect::<Vec<_>>() as _,
            &conditions.iter().map(|one| one.remedy.as_str()).collect::<Vec<_>>() as _,
            &conditions.iter().map(|one| one.since).collect::<Vec<_>>(),
            TRIES_MAX,
            kinds as _,
            &conditions.iter().map(|one| one.kind.as_str()).collect::<Vec<_>>() as _,
            &conditions.iter().map(|one| one.failure_group.as_deref()).collect::<Vec<_>>() as _,
            &conditions.iter().map(|one| one.is_urgent).collect::<Vec<_>>()
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Holds the alerts that are due and not urgent, for a digest after the quiet hours.
    pub async fn hold_alerts(&self) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            update eventbridge.alerts
               set held = true, attempts = 0, next_try_at = now()
             where not urgent and not held and (notified_at is null or resolved_at is not null)
            "#
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Claims the alerts that are due and not held. No other process gets them until their next attempt is due,
    /// long after this attempt has ended.
    pub async fn take_alerts(&self) -> Result<Vec<DueAlert>, StoreError> {
        self.take(false, ALERT_BATCH_MAX).await
    }

    /// Claims all alerts that are held, once one of them is due, as [`take_alerts`](Self::take_alerts) does.
    pub async fn take_held(&self) -> Result<Vec<DueAlert>, StoreError> {
        self.take(true, HELD_MAX).await
    }

    async fn take(&self, held: bool, max: i64) -> Result<Vec<DueAlert>, StoreError> {
        let rows = sqlx::query!(
            r#"
            update eventbridge.alerts
               set attempts = attempts + 1,
                   next_try_at = now() + least($1::bigint * power(2, least(attempts, 10)), 3600000)
                                         * interval '1 millisecond'
             where key = any (array (
                   select key from eventbridge.alerts
                    where (notified_at is null or resolved_at is not null)
                      and held = $4 and attempts < $2
                      -- A digest is sent whole.
                      and (next_try_at <= now()
                           or $4 and exists (select from eventbridge.alerts as others
                                              where others.held and others.attempts < $2
                                                and others.next_try_at <= now()))
                    order by raised_at, key
                    limit $3
                      for update skip locked))
            returning key, kind, failure_group, urgent, summary, remedy, since, resolved_at,
                      notified_at is not null as "was_notified!"
            "#,
            milliseconds(TRY_AGAIN),
            TRIES_MAX,
            max,
            held
        )
        .fetch_all(&self.pool)
        .await?;
        let alerts = rows.into_iter().map(|row| DueAlert {
            condition: Condition {
                key: row.key,
                kind: row.kind,
                failure_group: row.failure_group,
                is_urgent: row.urgent,
                summary: row.summary,
                remedy: row.remedy,
                since: row.since,
            },
            resolved_at: row.resolved_at,
            was_notified: row.was_notified,
        });
        Ok(alerts.collect())
    }

    /// Records that these alerts were sent. If one reported the end of a condition that has returned since, the
    /// condition is to be sent again. If one reported a condition that has ended since, its end is to be sent.
    pub async fn mark_notified(&self, alerts: &[DueAlert]) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            with sent as (
                select * from unnest($1::text[], $2::boolean[]) as sent (key, is_end)
            ), gone as (
                delete from eventbridge.alerts
                 where key in (select key from sent where is_end) and resolved_at is not null
            )
            update eventbridge.alerts
               set notified_at = case when is_end then null else now() end,
                   held = false, attempts = 0, next_try_at = now()
              from sent
             where alerts.key = sent.key
               and (is_end and resolved_at is null or not is_end and notified_at is null)
            "#,
            &alerts.iter().map(|alert| alert.condition.key.as_str()).collect::<Vec<_>>() as _,
            &alerts.iter().map(|alert| alert.resolved_at.is_some()).collect::<Vec<_>>()
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
