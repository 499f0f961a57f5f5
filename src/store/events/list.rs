//! Events for API and dashboard: one by one or in pages, without their bodies.

use super::Events;
use crate::domain::event::{EventFacts, EventKey};
use crate::domain::subscription::TypeFilter;
use crate::domain::visible::visible_id;
use crate::store::db::{Connections, Cursor, ListError, Page, Span, StoreError, Window};
use chrono::{DateTime, Utc};

/// Which events a list contains; a field that is absent does not restrict it.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only this event.
    pub key: Option<EventKey>,
    /// Events of this source.
    pub source: Option<String>,
    /// Events of these types.
    pub types: Option<TypeFilter>,
    /// Events about the object of this id.
    pub object_id: Option<String>,
    /// Events of this connected account.
    pub account: Option<String>,
    /// Events in live mode, or in test mode; events without a mode are neither.
    pub livemode: Option<bool>,
    /// Events with an execution in this state.
    pub status: Option<&'static str>,
    /// Events received in this time range.
    pub received: Window,
}

impl EventFilter {
    /// Whether the filter needs a time range, since no index answers it: it asks for more than one event, the
    /// newest events, those of a type or those of an object.
    pub fn needs_time_range(&self) -> bool {
        self.asks_for_what_has_no_index() && self.object_id.is_none() && self.key.is_none()
    }

    fn asks_for_what_has_no_index(&self) -> bool {
        self.source.is_some() || self.account.is_some() || self.livemode.is_some() || self.status.is_some()
    }
}

/// An event, without its body.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "self-explanatory; the API documents them")]
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
    pub origin: String,
}

impl EventRow {
    /// What is known about the event.
    pub fn facts(&self) -> EventFacts {
        EventFacts {
            event_type: self.event_type.clone(),
            object_id: self.object_id.clone(),
            object_type: self.object_type.clone(),
            account: self.account.clone(),
            livemode: self.livemode,
            api_version: self.api_version.clone(),
            created: self.created,
        }
    }
}

/// Events that match a filter, newest first; the first argument is a further condition.
macro_rules! filtered_events {
    ($among:tt, $filter:expr, $types:expr, $limit:expr, $($value:expr),*) => {{
        let filter: &EventFilter = $filter;
        sqlx::query_as!(
            EventRow,
            r#"
            select id, source, event_id, type as event_type, object_id, object_type, account,
                   livemode, api_version, created, received_at, secret_name, origin
              from eventbridge.events
             where ($1::timestamptz is null or received_at >= $1)
               and ($2::timestamptz is null or received_at < $2)
               and ($3::text is null or source = $3)
               and ($4::text[] is null or type = any ($4))
               and ($5::text is null or object_id = $5)
               and ($6::text is null or account = $6)
               and ($7::boolean is null or livemode = $7)
               and ($8::text is null or exists (
                       select from eventbridge.executions
                        where executions.event_key = events.id and executions.status = $8))
               and "# + $among + r#"
             order by id desc
             limit $9
            "#,
            filter.received.after,
            filter.received.before,
            filter.source,
            $types,
            // As intake stores them.
            filter.object_id.clone().map(visible_id),
            filter.account.clone().map(visible_id),
            filter.livemode,
            filter.status,
            i64::from($limit) + 1,
            $($value),*
        )
    }};
}

impl Events {
    /// One event, without its body.
    pub async fn event(&self, key: EventKey) -> Result<Option<EventRow>, StoreError> {
        let row = sqlx::query_as!(
            EventRow,
            r#"
            select id, source, event_id, type as event_type, object_id, object_type, account,
                   livemode, api_version, created, received_at, secret_name, origin
              from eventbridge.events
             where id = $1
            "#,
            key.0
        )
        .fetch_optional(&self.reading)
        .await?;
        Ok(row)
    }

    /// The key of the event with this sender's id; of several sources, the first by name.
    pub async fn event_key(&self, event_id: &str) -> Result<Option<EventKey>, StoreError> {
        self.event_key_from(event_id, None).await
    }

    /// As [`event_key`](Self::event_key), of this source if one is given.
    pub async fn event_key_from(
        &self,
        event_id: &str,
        source: Option<&str>,
    ) -> Result<Option<EventKey>, StoreError> {
        let key = sqlx::query_scalar!(
            r#"
            select id from eventbridge.events
             where event_id = $1 and ($2::text is null or source = $2)
             order by source
             limit 1
            "#,
            event_id,
            source
        )
        .fetch_optional(&self.reading)
        .await?;
        Ok(key.map(EventKey))
    }

    /// How many accounts the newest thousand events belong to, beside the sender's own.
    pub async fn accounts(&self) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar!(
            r#"
            select count(distinct account) as "count!"
              from (select account from eventbridge.events order by id desc limit 1000) as newest
            "#
        )
        .fetch_one(&self.reading)
        .await?;
        Ok(count)
    }

    /// A page of events, newest first.
    ///
    /// The newest events, those of an object and those of some types are read from an index. All other
    /// filters need a time range, see [`ListError::TimeRangeRequired`].
    pub async fn events(
        &self,
        filter: &EventFilter,
        cursor: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<EventRow>, ListError> {
        let span = Span::of_events(&self.reading, filter.received).await?;
        if filter.needs_time_range() && !span.is_short {
            return Err(ListError::TimeRangeRequired { after: "received_after", before: "received_before" });
        }
        let span = span.before(cursor);
        let span = filter.key.map_or(span, |key| span.only(key.0));
        let types = wanted_types(&self.reading, filter.types.as_ref()).await?;
        let rows = match types {
            Some(types) if filter.object_id.is_none() && !filter.asks_for_what_has_no_index() => {
                self.events_of_types(filter.received, &types, span, limit).await?
            }
            types => self.events_between(filter, types.as_deref(), span, limit).await?,
        };
        Ok(Page::cut(rows, limit, |row| row.id))
    }

    /// The events with an execution in this state, if they are few. `None` if there are too many to read one
    /// by one; the general query then fills a page quickly.
    async fn events_in_state(&self, status: &str, span: Span) -> Result<Option<Vec<i64>>, StoreError> {
        const FEW: i64 = 10_000;
        let mut keys = sqlx::query_scalar!(
            r#"
            select event_key as "event_key!"
              from eventbridge.executions
             where status = $1 and event_key > $2 and event_key < $3
             order by event_key desc
             limit $4
            "#,
            status,
            span.above,
            span.below,
            FEW + 1
        )
        .fetch_all(&self.reading)
        .await?;
        let are_few = keys.len() <= usize::try_from(FEW).unwrap_or(usize::MAX);
        keys.dedup();
        Ok(are_few.then_some(keys))
    }

    /// Reads events with any filter; the database chooses the index. Events in a rare state are found by
    /// their executions.
    async fn events_between(
        &self,
        filter: &EventFilter,
        types: Option<&[String]>,
        span: Span,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        if let Some(status) = filter.status.filter(|_| filter.object_id.is_none())
            && let Some(keys) = self.events_in_state(status, span).await?
        {
            let anyhow = EventFilter { status: None, ..filter.clone() };
            let rows = filtered_events!("id = any ($10)", &anyhow, types, limit, &keys)
                .fetch_all(&self.reading)
                .await?;
            return Ok(rows);
        }
        let rows = filtered_events!("id > $10 and id < $11", filter, types, limit, span.above, span.below)
            .fetch_all(&self.reading)
            .await?;
        Ok(rows)
    }

    /// Reads the newest events of each type, and keeps the newest of all.
    async fn events_of_types(
        &self,
        received: Window,
        types: &[String],
        span: Span,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        let rows = sqlx::query_as!(
            EventRow,
            r#"
            with newest as (
                select of_type.id
                  from unnest($5::text[]) as wanted (type)
                 cross join lateral (
                       select id
                         from eventbridge.events
                        where type = wanted.type and id > $1 and id < $2
                          and ($3::timestamptz is null or received_at >= $3)
                          and ($4::timestamptz is null or received_at < $4)
                        order by id desc
                        limit $6) as of_type
                 order by of_type.id desc
                 limit $6
            )
            select id, source, event_id, type as event_type, object_id, object_type, account,
                   livemode, api_version, created, received_at, secret_name, origin
              from eventbridge.events
             where id = any (array (select id from newest))
             order by id desc
            "#,
            span.above,
            span.below,
            received.after,
            received.before,
            types,
            i64::from(limit) + 1
        )
        .fetch_all(&self.reading)
        .await?;
        Ok(rows)
    }
}

/// The stored types that match the filter; `None` if there is no filter.
pub(in crate::store) async fn wanted_types(
    reading: &Connections,
    filter: Option<&TypeFilter>,
) -> Result<Option<Vec<String>>, StoreError> {
    /// More types than any sender has.
    const TYPES_MAX: i64 = 2000;
    let Some(filter) = filter else { return Ok(None) };
    let known = sqlx::query_scalar!(
        r#"
            with recursive known (type) as (
                -- From each type to the next one in the index, over all the events between them.
                (select type from eventbridge.events order by type limit 1)
                union all
                select (select type from eventbridge.events
                         where events.type > known.type order by type limit 1)
                  from known
                 where known.type is not null
            )
            select type as "type!" from known where type is not null limit $1
            "#,
        TYPES_MAX
    )
    .fetch_all(reading)
    .await?;
    Ok(Some(known.into_iter().filter(|kind| filter.matches(kind)).collect()))
}
