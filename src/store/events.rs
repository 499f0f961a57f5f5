//! Events: written in batches with their executions, read one by one or in pages.

use super::{Cursor, Page, Store, StoreError};
use crate::domain::event::{EventKey, NewEvent};
use crate::domain::execution::NewExecution;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use std::collections::HashSet;

/// An event to be written, with an execution for each destination instance that wants it.
#[derive(Debug, Clone, Copy)]
pub struct Intake<'a> {
    /// The event.
    pub event: &'a NewEvent,
    /// The executions.
    pub executions: &'a [NewExecution],
}

/// Which events a listing shows; what is not given does not restrict.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Events of this source.
    pub source: Option<String>,
    /// Events of exactly this type.
    pub event_type: Option<String>,
    /// Events with an execution in this state.
    pub status: Option<&'static str>,
}

/// An event as people see it, without its body.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the columns speak for themselves; the API documents them")]
pub struct EventRow {
    pub id: i64,
    pub source: String,
    pub event_id: String,
    pub event_type: String,
    pub object_id: Option<String>,
    pub object_type: Option<String>,
    pub account: Option<String>,
    pub livemode: Option<bool>,
    pub api_version: Option<String>,
    pub created: Option<DateTime<Utc>>,
    pub received_at: DateTime<Utc>,
    pub secret_name: String,
}

/// The stored event that a row holds which has all columns of one.
macro_rules! stored_event {
    ($row:expr) => {
        $crate::domain::event::StoredEvent {
            key: $crate::domain::event::EventKey($row.event_key),
            source: $row.source,
            event_id: $row.event_id,
            facts: $crate::domain::event::EventFacts {
                event_type: $row.event_type,
                object_id: $row.object_id,
                object_type: $row.object_type,
                account: $row.account,
                livemode: $row.livemode,
                api_version: $row.api_version,
                created: $row.created,
            },
            received_at: $row.received_at,
            payload: bytes::Bytes::from($row.payload),
        }
    };
}
pub(super) use stored_event;

impl Store {
    /// Writes events and their executions in one statement, so all of them or none.
    ///
    /// The batch must not name an event twice. Returns the `(source, event id)` of those that were
    /// not there before; the others are left as they are.
    pub async fn insert_events(&self, batch: &[Intake<'_>]) -> Result<HashSet<(String, String)>, StoreError> {
        // Two writers that insert the same keys in one order cannot wait for each other in a circle.
        let mut sorted: Vec<&Intake<'_>> = batch.iter().collect();
        sorted.sort_unstable_by_key(|intake| (intake.event.source, &intake.event.event_id));
        let events: Vec<&NewEvent> = sorted.iter().map(|intake| intake.event).collect();
        let wanted: Vec<(&NewEvent, &NewExecution)> = sorted
            .iter()
            .flat_map(|intake| intake.executions.iter().map(|execution| (intake.event, execution)))
            .collect();
        let inserted = sqlx::query!(
            r#"
            with incoming as (
                select * from unnest(
                    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                    $7::bool[], $8::text[], $9::timestamptz[], $10::text[], $11::text[], $12::bytea[]
                ) as incoming (source, event_id, type, object_id, object_type, account,
                               livemode, api_version, created, signature, secret_name, payload)
            ), inserted as (
                insert into eventbridge.events
                       (source, event_id, type, object_id, object_type, account,
                        livemode, api_version, created, signature, secret_name, payload)
                select source, event_id, type, object_id, object_type, account,
                       livemode, api_version, created, signature, secret_name, payload
                  from incoming
                on conflict (source, event_id) do nothing
                returning id, source, event_id
            ), queued as (
                insert into eventbridge.executions (event_key, destination, mode, lane)
                select inserted.id, wanted.destination, wanted.mode, wanted.lane
                  from unnest($13::text[], $14::text[], $15::text[], $16::text[], $17::text[])
                       as wanted (source, event_id, destination, mode, lane)
                  join inserted using (source, event_id)
            )
            select source as "source!", event_id as "event_id!" from inserted
            "#,
            &column(&events, |event| event.source) as _,
            &column(&events, |event| event.event_id.as_str()) as _,
            &column(&events, |event| event.facts.event_type.as_str()) as _,
            &column(&events, |event| event.facts.object_id.as_deref()) as _,
            &column(&events, |event| event.facts.object_type.as_deref()) as _,
            &column(&events, |event| event.facts.account.as_deref()) as _,
            &column(&events, |event| event.facts.livemode) as _,
            &column(&events, |event| event.facts.api_version.as_deref()) as _,
            &column(&events, |event| event.facts.created) as _,
            &column(&events, |event| event.signature.as_str()) as _,
            &column(&events, |event| event.secret_name.as_str()) as _,
            &column(&events, |event| event.payload.as_ref()) as _,
            &column(&wanted, |(event, _)| event.source) as _,
            &column(&wanted, |(event, _)| event.event_id.as_str()) as _,
            &column(&wanted, |(_, execution)| execution.destination.as_str()) as _,
            &column(&wanted, |(_, execution)| execution.mode.as_str()) as _,
            &column(&wanted, |(_, execution)| execution.lane.as_deref()) as _,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(inserted.into_iter().map(|row| (row.source, row.event_id)).collect())
    }

    /// One event, without its body.
    pub async fn event(&self, key: EventKey) -> Result<Option<EventRow>, StoreError> {
        let row = sqlx::query_as!(
            EventRow,
            r#"
            select id, source, event_id, type as event_type, object_id, object_type, account,
                   livemode, api_version, created, received_at, secret_name
              from eventbridge.events
             where id = $1
            "#,
            key.0
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row)
    }

    /// The key of the event that its sender calls by this id; of several sources the first by name.
    pub async fn event_key(&self, event_id: &str) -> Result<Option<EventKey>, StoreError> {
        let key = sqlx::query_scalar!(
            r#"
            select id from eventbridge.events
             where event_id = $1
             order by source
             limit 1
            "#,
            event_id
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(key.map(EventKey))
    }

    /// The body of an event, byte for byte, and the signature header that came with it.
    pub async fn payload(&self, key: EventKey) -> Result<Option<(Bytes, String)>, StoreError> {
        let row = sqlx::query!("select payload, signature from eventbridge.events where id = $1", key.0)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| (Bytes::from(row.payload), row.signature)))
    }

    /// A page of events, newest first.
    pub async fn events(
        &self,
        filter: &EventFilter,
        cursor: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<EventRow>, StoreError> {
        let rows = sqlx::query_as!(
            EventRow,
            r#"
            select id, source, event_id, type as event_type, object_id, object_type, account,
                   livemode, api_version, created, received_at, secret_name
              from eventbridge.events
             where id < $1
               and ($2::text is null or source = $2)
               and ($3::text is null or type = $3)
               and ($4::text is null or exists (
                       select from eventbridge.executions
                        where executions.event_key = events.id and executions.status = $4))
             order by id desc
             limit $5
            "#,
            Cursor::before(cursor),
            filter.source,
            filter.event_type,
            filter.status,
            i64::from(limit) + 1
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(Page::cut(rows, limit, |row| row.id))
    }
}

fn column<'a, T, V>(rows: &'a [T], value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}
