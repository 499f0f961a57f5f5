//! The search index of events: how far it has come, which events are missing, and adding them.
//!
//! It is filled in the background, never during intake. Ids become visible out of order: a statement that
//! took earlier ids may commit later. So every event is examined twice. New events are indexed as they are
//! seen. Behind that, up to an id that was the newest one so long ago that no statement of that time still
//! runs, missed events are indexed too.

use super::SearchIndex;
use crate::domain::event::{EventFacts, EventKey};
use crate::domain::search::IndexEntry;
use crate::store::db::{StoreError, milliseconds};
use bytes::Bytes;
use std::time::Duration;

/// The age of a mark after which everything up to it has been committed or never will be: longer than the
/// longest statement.
const SETTLED_AFTER: Duration = Duration::from_mins(2);

/// The number of ids that one search for missed events covers.
const SCAN_IDS: i64 = 10_000;

/// How far the index has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Indexed {
    seen: i64,
    settled: i64,
    mark: i64,
    /// Whether everything written before the mark has been committed by now.
    is_mark_settled: bool,
}

/// An event that is not indexed yet.
#[derive(Debug, Clone)]
pub struct Unindexed {
    /// Our key.
    pub key: EventKey,
    /// The name of its source.
    pub source: String,
    /// What is known about it.
    pub facts: EventFacts,
    /// Its body.
    pub payload: Bytes,
}

impl Indexed {
    /// Notes that every event up to this one was seen.
    pub fn see(&mut self, up_to: EventKey) {
        self.seen = self.seen.max(up_to.0);
    }

    /// Whether everything up to the mark is indexed, so that the next one can be set.
    pub const fn is_settled(self) -> bool {
        self.settled >= self.mark
    }
}

impl SearchIndex {
    /// How far the index has come. Only the process that holds the indexer's lease continues from there.
    pub async fn progress(&self) -> Result<Indexed, StoreError> {
        let indexed = sqlx::query_as!(
            Indexed,
            r#"
            select seen_id as seen, settled_id as settled, mark_id as mark,
                   mark_at < now() - $1::bigint * interval '1 millisecond' as "is_mark_settled!"
              from eventbridge.search_index_progress
            "#,
            milliseconds(SETTLED_AFTER)
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(indexed)
    }

    /// The next events that have not been seen yet, oldest first: at most `count_max` events with bodies of
    /// at most `bytes_max`, but always at least one.
    pub async fn unseen_events(
        &self,
        indexed: Indexed,
        count_max: u32,
        bytes_max: u32,
    ) -> Result<Vec<Unindexed>, StoreError> {
        let rows = sqlx::query!(
            r#"
            with following as (
                select id, octet_length(payload) as bytes
                  from eventbridge.events
                 where id > $1
                 order by id
                 limit $2
            ), chosen as (
                select id, row_number() over (order by id) as place, sum(bytes) over (order by id) as bytes
                  from following
            )
            select id, source, type as event_type, object_id, object_type, payload
              from eventbridge.events
             where id = any (array (select id from chosen where place = 1 or bytes <= $3))
             order by id
            "#,
            indexed.seen,
            i64::from(count_max),
            i64::from(bytes_max)
        )
        .fetch_all(&self.pool)
        .await?;
        let events = rows.into_iter().map(|row| {
            unindexed(row.id, row.source, row.event_type, row.object_id, row.object_type, row.payload)
        });
        Ok(events.collect())
    }

    /// Events that were committed after later ones had been seen, oldest first, within the next range of
    /// ids, and the end of that range. `None` if everything is settled.
    pub async fn missed_events(
        &self,
        indexed: Indexed,
        count_max: u32,
    ) -> Result<Option<(Vec<Unindexed>, EventKey)>, StoreError> {
        let end = indexed.mark.min(indexed.seen).min(indexed.settled.saturating_add(SCAN_IDS));
        if !indexed.is_mark_settled || end <= indexed.settled {
            return Ok(None);
        }
        let rows = sqlx::query!(
            r#"
            select id, source, type as event_type, object_id, object_type, payload
              from eventbridge.events
             where id > $1 and id <= $2
               and not exists (select from eventbridge.event_facts where event_facts.event_key = events.id)
             order by id
             limit $3
            "#,
            indexed.settled,
            end,
            i64::from(count_max)
        )
        .fetch_all(&self.pool)
        .await?;
        let missed: Vec<Unindexed> = rows
            .into_iter()
            .map(|row| {
                unindexed(row.id, row.source, row.event_type, row.object_id, row.object_type, row.payload)
            })
            .collect();
        let is_whole = missed.len() < usize::try_from(count_max).unwrap_or(usize::MAX);
        let end = match missed.last() {
            Some(last) if !is_whole => last.key,
            _ => EventKey(end),
        };
        Ok(Some((missed, end)))
    }

    /// Adds events to the index. An event that is indexed already, or was removed, is skipped.
    pub async fn index(&self, found: &[(EventKey, IndexEntry)]) -> Result<(), StoreError> {
        let keys: Vec<i64> = found.iter().map(|(key, _)| key.0).collect();
        let (of, terms): (Vec<i64>, Vec<&str>) = found
            .iter()
            .flat_map(|(key, entry)| entry.terms.iter().map(|term| (key.0, term.as_str())))
            .unzip();
        // Where the terms of each event end among all terms: a slice of an array costs less than a search
        // in it.
        let ends: Vec<i32> = found
            .iter()
            .scan(0_i32, |end, (_, entry)| {
                *end = end.saturating_add(i32::try_from(entry.terms.len()).unwrap_or(i32::MAX));
                Some(*end)
            })
            .collect();
        let text = |value: fn(&IndexEntry) -> Option<String>| -> Vec<Option<String>> {
            found.iter().map(|(_, entry)| value(entry)).collect()
        };
        let amounts: Vec<Option<i64>> =
            found.iter().map(|(_, entry)| entry.amount.and_then(|amount| amount.minor())).collect();
        sqlx::query!(
            r#"
            with read as (
                select *, coalesce(lag(terms_end) over (order by place), 0) + 1 as terms_begin
                  from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $9::int[])
                       with ordinality
                       as read (event_key, amount_minor, currency, customer, customer_email, invoice_number,
                                terms_end, place)
            ), indexed as (
                insert into eventbridge.event_facts
                       (event_key, subject, amount_minor, currency, customer, customer_email, invoice_number, terms)
                select event_key, coalesce(object_id, event_id), amount_minor, currency, customer, customer_email,
                       invoice_number, ($8::text[])[terms_begin:terms_end]
                  from read
                  join eventbridge.events on events.id = event_key and events.id = any ($1)
                on conflict do nothing
                returning event_key
            )
            insert into eventbridge.search_terms (term, event_key)
            select term, event_key
              from unnest($7::bigint[], $8::text[]) as words (event_key, term)
              join indexed using (event_key)
            on conflict do nothing
            "#,
            &keys,
            &amounts as _,
            &text(|entry| entry.currency.map(|currency| currency.to_string())) as _,
            &text(|entry| entry.customer.clone()) as _,
            &text(|entry| entry.customer_email.clone()) as _,
            &text(|entry| entry.invoice_number.clone()) as _,
            &of,
            &terms as _,
            &ends
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Records that the events were seen, and returns the progress as it is recorded then.
    pub async fn record_seen(&self, indexed: Indexed) -> Result<Indexed, StoreError> {
        let indexed = sqlx::query_as!(
            Indexed,
            r#"
            with recorded as (
                update eventbridge.search_index_progress set seen_id = $1 where seen_id < $1
            )
            select greatest(seen_id, $1) as "seen!", settled_id as settled, mark_id as mark,
                   mark_at < now() - $2::bigint * interval '1 millisecond' as "is_mark_settled!"
              from eventbridge.search_index_progress
            "#,
            indexed.seen,
            milliseconds(SETTLED_AFTER)
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(indexed)
    }

    /// Records that every event up to this one is indexed.
    pub async fn set_settled(&self, indexed: Indexed, up_to: EventKey) -> Result<Indexed, StoreError> {
        sqlx::query!(
            "update eventbridge.search_index_progress set settled_id = greatest(settled_id, $1)",
            up_to.0
        )
        .execute(&self.pool)
        .await?;
        Ok(Indexed { settled: indexed.settled.max(up_to.0), ..indexed })
    }

    /// Sets the next mark at the newest event, once everything up to the last one is settled.
    pub async fn set_mark(&self, indexed: Indexed) -> Result<Indexed, StoreError> {
        let mark = sqlx::query_scalar!(
            r#"
            update eventbridge.search_index_progress
               set mark_id = newest.id, mark_at = now()
              from (select max(id) as id from eventbridge.events) as newest
             where settled_id >= mark_id and newest.id > mark_id
            returning mark_id
            "#
        )
        .fetch_optional(&self.pool)
        .await?;
        let is_new = mark.is_some();
        Ok(Indexed {
            mark: mark.unwrap_or(indexed.mark),
            is_mark_settled: indexed.is_mark_settled && !is_new,
            ..indexed
        })
    }
}

fn unindexed(
    id: i64,
    source: String,
    event_type: String,
    object_id: Option<String>,
    object_type: Option<String>,
    payload: Vec<u8>,
) -> Unindexed {
    let facts = EventFacts { event_type, object_id, object_type, ..EventFacts::default() };
    Unindexed { key: EventKey(id), source, facts, payload: Bytes::from(payload) }
}
