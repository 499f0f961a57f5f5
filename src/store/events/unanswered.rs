//! Events that were not accepted and whose sender waits for an answer.

use super::Rejections;
use crate::domain::unanswered::{
    ClaimedEvent, REPEATED_AFTER, REPEATED_WITHIN, SENDER_WAITS, UnansweredEvent,
};
use crate::store::db::{StoreError, milliseconds};
use std::time::Duration;

/// The most events that are kept: those that can have been sent by anyone give way first.
const KEPT_MAX: i64 = 200;

impl Rejections {
    /// Records that these events were not accepted, each this long ago. What is too old, or was
    /// accepted since, is removed.
    pub async fn record_unanswered(&self, events: &[(ClaimedEvent, Duration)]) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            insert into eventbridge.unanswered_events as known (source, event_id, type, livemode, signed, first_at, last_at)
            select source, event_id, min(type), bool_or(livemode), bool_or(signed),
                   now() - max(age_ms) * interval '1 millisecond', now() - min(age_ms) * interval '1 millisecond'
              from unnest($1::text[], $2::text[], $3::text[], $4::boolean[], $5::boolean[], $6::bigint[])
                   as noted (source, event_id, type, livemode, signed, age_ms)
             group by source, event_id
             order by event_id, source
            on conflict (event_id, source) do update
               set signed = known.signed or excluded.signed,
                   last_at = greatest(known.last_at, excluded.last_at)
            "#,
            &events.iter().map(|(event, _)| event.source.as_str()).collect::<Vec<_>>() as _,
            &events.iter().map(|(event, _)| event.event_id.as_str()).collect::<Vec<_>>() as _,
            &events.iter().map(|(event, _)| event.event_type.as_str()).collect::<Vec<_>>() as _,
            &events.iter().map(|(event, _)| event.livemode).collect::<Vec<_>>() as _,
            &events.iter().map(|(event, _)| event.is_signed).collect::<Vec<_>>(),
            &events.iter().map(|(_, age)| milliseconds(*age)).collect::<Vec<_>>()
        )
        .execute(&self.pool)
        .await?;
        sqlx::query!(
            r#"
            delete from eventbridge.unanswered_events as unanswered
             where first_at < now() - $1::bigint * interval '1 millisecond'
                or (not signed and first_at < now() - $2::bigint * interval '1 millisecond'
                    and last_at - first_at < $3::bigint * interval '1 millisecond')
                or exists (select from eventbridge.events
                            where events.event_id = unanswered.event_id
                              and events.source = unanswered.source)
            "#,
            SENDER_WAITS.num_milliseconds(),
            REPEATED_WITHIN.num_milliseconds(),
            REPEATED_AFTER.num_milliseconds()
        )
        .execute(&self.pool)
        .await?;
        // Afterwards, so that what is removed above takes no place.
        sqlx::query!(
            r#"
            delete from eventbridge.unanswered_events
             where (event_id, source) in (
                   select event_id, source from eventbridge.unanswered_events
                    -- A stranger who sends many new ids displaces none that was there before: of those without a
                    -- signature the first ones stay, of the others the newest.
                    order by signed desc, last_at - first_at >= $1::bigint * interval '1 millisecond' desc,
                             case when signed then first_at end desc, first_at
                   offset $2)
            "#,
            REPEATED_AFTER.num_milliseconds(),
            KEPT_MAX
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The events that were not accepted until now, the oldest first.
    pub async fn unanswered(&self) -> Result<Vec<UnansweredEvent>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select source, event_id, type, livemode, signed, first_at, last_at
              from eventbridge.unanswered_events as unanswered
             where not exists (select from eventbridge.events
                                where events.event_id = unanswered.event_id
                                  and events.source = unanswered.source)
             order by first_at, event_id
             limit $1
            "#,
            KEPT_MAX
        )
        .fetch_all(&self.reading)
        .await?;
        let events = rows.into_iter().map(|row| UnansweredEvent {
            event: ClaimedEvent {
                source: row.source,
                event_id: row.event_id,
                event_type: row.r#type,
                livemode: row.livemode,
                is_signed: row.signed,
            },
            first_at: row.first_at,
            last_at: row.last_at,
        });
        Ok(events.collect())
    }
}
