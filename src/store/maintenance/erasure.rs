//! Erasure of a person: removes the bodies that name them, and texts that quote these.
//!
//! The caller searches the bodies themselves, so the search index is not needed. The rows stay, with ids and
//! states only, so the delivery history remains. `texts` erases the person from all other texts.

mod texts;

use super::Erasure;
use crate::domain::event::StoredEvent;
use crate::domain::execution::Status;
use crate::store::db::StoreError;
use crate::store::events::stored_event;

/// The most events that one search reads.
const SEARCHED_EVENTS_MAX: i64 = 500;

/// The most bytes of bodies that one search reads, unless the first body alone is larger.
const SEARCHED_BYTES_MAX: i64 = 8 * 1024 * 1024;

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// Bodies of events.
    pub payloads: u64,
    /// Messages that may quote them: of attempts, and reasons of executions.
    pub messages: u64,
    /// Copies of what objects' pages show.
    pub shown_objects: u64,
    /// Search terms of the events.
    pub terms: u64,
    /// Pending executions, which are cancelled; of those that were delivered before, only the repetition is.
    pub cancelled: u64,
    /// Events that are being delivered, which stay unchanged.
    pub busy: Vec<i64>,
}

/// What was written about a customer, such as a page.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WrittenEntry {
    /// The destination instance that wrote it.
    pub destination: String,
    /// The destination's id of it.
    pub id: String,
    /// The link to it.
    pub url: Option<String>,
}

impl Erasure {
    /// The next events after `position` with their bodies, oldest first; none if no event follows. An event
    /// whose body was removed has an empty one.
    pub async fn bodies(&self, position: i64) -> Result<Vec<StoredEvent>, StoreError> {
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
            select id as "event_key!", source, event_id, type as event_type, object_id, object_type, account, livemode,
                   api_version, created, carries_state, received_at, payload
              from eventbridge.events
             where id = any (array (select id from chosen where place = 1 or bytes <= $3))
             order by id
            "#,
            position,
            SEARCHED_EVENTS_MAX,
            SEARCHED_BYTES_MAX
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| stored_event!(row)).collect())
    }

    /// The entries that were written at destinations for these events and for their objects.
    pub async fn entries_of(&self, events: &[i64]) -> Result<Vec<WrittenEntry>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select destination, remote_id as "id!", min(remote_url) as url
              from eventbridge.executions
             where event_key = any ($1) and remote_id is not null
             group by destination, remote_id
             order by destination, remote_id
            "#,
            events
        )
        .fetch_all(&self.pool)
        .await?;
        let entries = rows.into_iter().map(|row| WrittenEntry {
            destination: row.destination,
            id: row.id,
            url: row.url,
        });
        Ok(entries.collect())
    }

    /// Removes the bodies of these events and the texts that quote them. Pending executions are cancelled; an
    /// event that is being delivered stays unchanged as a whole. With `dry_run` it only counts.
    ///
    /// It also deletes the rows of `remote_objects`, which hold copies of what pages show. So the next event
    /// of such an object finds its page by the key and writes it in full.
    pub async fn erase(&self, events: &[i64], dry_run: bool) -> Result<Erased, StoreError> {
        let row = sqlx::query!(
            r#"
            with named as (
                select id from eventbridge.events where id = any ($1) and payload_removed_at is null for update
            ), own as (
                select id, event_key, status, lane, reason, (retries -> -1 ->> 'since')::timestamptz as since,
                       -- What a pending one repeats: it returns to that, as if an operator had cancelled it.
                       case when status = 'pending' and retries -> -1 ->> 'was' = any ($3)
                            then retries -> -1 ->> 'was' end as before
                  from eventbridge.executions
                 where event_key = any (array (select id from named))
                 -- In the order in which completions lock them, so that there is no deadlock.
                 order by id
                   for update
            ), waiting as (
                select execution_id from eventbridge.queue
                 where execution_id = any (array (select id from own where status = 'pending'))
                 order by execution_id
                   for update
            ), busy as (
                -- A pending one without a row in the queue runs.
                select distinct event_key
                  from own
                 where status = 'pending' and id not in (select execution_id from waiting)
            ), doomed as (
                select id from named where id not in (select event_key from busy)
            ), doomed_executions as (
                select id, status, lane, reason, before, since from own where event_key in (select id from doomed)
            ), emptied as (
                update eventbridge.events
                   set payload = '', payload_removed_at = now(), payload_removed_by = 'erasure'
                 where not $2 and id = any (array (select id from doomed))
            ), silenced as (
                update eventbridge.executions
                   set status = case executions.status when 'pending' then coalesce(before, 'cancelled')
                                                       else executions.status end,
                       error_class = case before when 'success' then null when 'skipped' then 'skipped'
                                                 else error_class end,
                       reason = case when doomed_executions.status = 'pending' or doomed_executions.reason is not null
                                     then 'the data of its customer was removed' end,
                       finished_at = coalesce(executions.finished_at,
                                              case when before is not null then since end, now())
                  from doomed_executions
                 where not $2 and executions.id = doomed_executions.id
                   and (doomed_executions.status = 'pending' or doomed_executions.reason is not null)
            ), dequeued as (
                delete from eventbridge.queue
                 where not $2 and execution_id = any (array (select id from doomed_executions))
            ), found_by as (
                select event_key, unnest(terms) as term
                  from eventbridge.event_facts
                 where event_key = any (array (select id from doomed))
            ), without_terms as (
                delete from eventbridge.search_terms
                 using found_by
                 where not $2 and search_terms.term = found_by.term and search_terms.event_key = found_by.event_key
            ), without_facts as (
                -- A row stays, also if there was none: an indexer that has read the body but not indexed it
                -- then adds nothing.
                insert into eventbridge.event_facts as known (event_key, terms)
                select id, '{}' from doomed where not $2
                on conflict (event_key) do update
                   set customer = null, customer_email = null, invoice_number = null, terms = excluded.terms
            ), quoting as (
                select execution_id, fence
                  from eventbridge.attempts
                 where execution_id = any (array (select id from doomed_executions)) and message is not null
            ), unquoted as (
                update eventbridge.attempts
                   set message = null
                 where not $2 and message is not null
                   and execution_id = any (array (select id from doomed_executions))
            ), shown as (
                select lane
                  from eventbridge.remote_objects
                 where lane = any (array (select lane from doomed_executions where lane is not null))
            ), hidden as (
                delete from eventbridge.remote_objects
                 where not $2 and lane = any (array (select lane from shown))
            )
            select (select count(*) from doomed) as "payloads!",
                   (select count(*) from quoting)
                       + (select count(*) from doomed_executions where reason is not null) as "messages!",
                   (select count(*) from shown) as "shown_objects!",
                   (select count(*) from found_by) as "terms!",
                   (select count(*) from doomed_executions where status = 'pending') as "cancelled!",
                   array (select event_key from busy order by event_key) as "busy!"
            "#,
            events,
            dry_run,
            &Status::RESTORED_BY_CANCEL.map(|status| status.as_str().to_owned())
        )
        .fetch_one(&self.pool)
        .await?;
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(Erased {
            payloads: count(row.payloads),
            messages: count(row.messages),
            shown_objects: count(row.shown_objects),
            terms: count(row.terms),
            cancelled: count(row.cancelled),
            busy: row.busy,
        })
    }
}
