//! Erases a person from texts that belong to no single event, or to an event that does not name the person:
//! messages, reasons, notes, the filters of bulk operations, alerts, and copies of what pages show.

use crate::store::Erasure;
use crate::store::db::StoreError;

/// What replaces an address or a name in a text.
const ERASED: &str = "(erased)";

/// The number of ids that one statement covers.
const IDS_AT_ONCE: i64 = 20_000;

/// The number of copies of shown objects that one statement covers.
const OBJECTS_AT_ONCE: i64 = 5_000;

impl Erasure {
    /// Replaces each match of this pattern of Postgres, and returns the number of texts' rows that have one.
    /// With `dry_run` it only counts.
    pub async fn erase_texts(&self, pattern: &str, dry_run: bool) -> Result<u64, StoreError> {
        let mut rows = self.of_operations(pattern, dry_run).await?;
        let last = self.last_id().await?;
        let mut position = 0;
        while position < last {
            rows += self.of_executions(pattern, position, dry_run).await?;
            position += IDS_AT_ONCE;
        }
        Ok(rows + self.of_shown_objects(pattern, dry_run).await?)
    }

    /// Failure groups, alerts, tasks, stored responses and pauses: their number is small.
    async fn of_operations(&self, pattern: &str, dry_run: bool) -> Result<u64, StoreError> {
        let rows = sqlx::query_scalar!(
            r#"
            with groups as (
                select key from eventbridge.failure_groups
                 where concat_ws(chr(10), pattern, remedy, note) ~ $1
            ), of_groups as (
                update eventbridge.failure_groups
                   set pattern = regexp_replace(pattern, $1, $2, 'g'), remedy = regexp_replace(remedy, $1, $2, 'g'),
                       note = regexp_replace(note, $1, $2, 'g')
                 where not $3 and key = any (array (select key from groups))
            ), raised as (
                select key from eventbridge.alerts where concat_ws(chr(10), summary, remedy) ~ $1
            ), of_alerts as (
                update eventbridge.alerts
                   set summary = regexp_replace(summary, $1, $2, 'g'), remedy = regexp_replace(remedy, $1, $2, 'g')
                 where not $3 and key = any (array (select key from raised))
            ), instances as (
                select name from eventbridge.destinations
                 where concat_ws(chr(10), memory::text, paused_reason, paused_remedy) ~ $1
            ), of_destinations as (
                update eventbridge.destinations
                   set memory = regexp_replace(memory::text, $1, $2, 'g')::jsonb,
                       paused_reason = regexp_replace(paused_reason, $1, $2, 'g'),
                       paused_remedy = regexp_replace(paused_remedy, $1, $2, 'g')
                 where not $3 and name = any (array (select name from instances))
            ), asked as (
                select id from eventbridge.tasks where concat_ws(chr(10), filter::text, note, error) ~ $1
            ), of_tasks as (
                update eventbridge.tasks
                   set filter = regexp_replace(filter::text, $1, $2, 'g')::jsonb,
                       note = regexp_replace(note, $1, $2, 'g'), error = regexp_replace(error, $1, $2, 'g')
                 where not $3 and id = any (array (select id from asked))
            ), responses as (
                -- They are JSON. A repeated request still gets the rest of its first response.
                select caller, key from eventbridge.idempotency_keys
                 where status is not null and convert_from(body, 'UTF8') ~ $1
            ), of_responses as (
                update eventbridge.idempotency_keys
                   set body = convert_to(regexp_replace(convert_from(body, 'UTF8'), $1, $2, 'g'), 'UTF8')
                 where not $3 and (caller, key) in (select caller, key from responses)
            ), pauses as (
                select id from eventbridge.past_pauses where reason ~ $1
            ), of_pauses as (
                update eventbridge.past_pauses
                   set reason = regexp_replace(reason, $1, $2, 'g')
                 where not $3 and id = any (array (select id from pauses))
            )
            select (select count(*) from groups) + (select count(*) from raised)
                 + (select count(*) from instances) + (select count(*) from asked)
                 + (select count(*) from responses) + (select count(*) from pauses) as "rows!"
            "#,
            pattern,
            ERASED,
            dry_run
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(whole(rows))
    }

    /// The last id of an execution or an audit entry.
    async fn last_id(&self) -> Result<i64, StoreError> {
        let last = sqlx::query_scalar!(
            r#"
            select greatest((select max(id) from eventbridge.executions), (select max(id) from eventbridge.audit), 0)
                   as "last!"
            "#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(last)
    }

    /// Executions, their attempts, and audit entries with the next ids after `position`.
    async fn of_executions(&self, pattern: &str, position: i64, dry_run: bool) -> Result<u64, StoreError> {
        let rows = sqlx::query_scalar!(
            r#"
            with named as (
                select id from eventbridge.executions
                 where id > $4 and id <= $4 + $5 and concat_ws(chr(10), reason, remote_url) ~ $1
                 -- In the order in which completions lock them, so that there is no deadlock.
                 order by id
                   for update
            ), of_executions as (
                update eventbridge.executions
                   set reason = regexp_replace(reason, $1, $2, 'g'),
                       remote_url = regexp_replace(remote_url, $1, $2, 'g')
                 where not $3 and id = any (array (select id from named))
            ), tries as (
                select execution_id, fence from eventbridge.attempts
                 where execution_id > $4 and execution_id <= $4 + $5 and message ~ $1
            ), of_tries as (
                update eventbridge.attempts
                   set message = regexp_replace(message, $1, $2, 'g')
                  from tries
                 where not $3 and attempts.execution_id = tries.execution_id and attempts.fence = tries.fence
            ), entries as (
                select id from eventbridge.audit where id > $4 and id <= $4 + $5 and detail::text ~ $1
            ), of_entries as (
                update eventbridge.audit
                   set detail = regexp_replace(detail::text, $1, $2, 'g')::jsonb
                 where not $3 and id = any (array (select id from entries))
            )
            select (select count(*) from named) + (select count(*) from tries) + (select count(*) from entries)
                   as "rows!"
            "#,
            pattern,
            ERASED,
            dry_run,
            position,
            IDS_AT_ONCE
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(whole(rows))
    }

    /// Copies of what pages show. One without a copy is written in full the next time.
    async fn of_shown_objects(&self, pattern: &str, dry_run: bool) -> Result<u64, StoreError> {
        let (mut lane, mut fence, mut rows) = (String::new(), 0, 0);
        loop {
            let step = sqlx::query!(
                r#"
                with following as materialized (
                    select lane, fence, remote_url, written
                      from eventbridge.remote_objects
                     where (lane, fence) > ($4, $5)
                     order by lane, fence
                     limit $6
                ), named as (
                    select lane, fence from following where concat_ws(chr(10), written::text, remote_url) ~ $1
                ), hidden as (
                    update eventbridge.remote_objects
                       set written = null, remote_url = regexp_replace(remote_url, $1, $2, 'g')
                      from named
                     where not $3 and remote_objects.lane = named.lane and remote_objects.fence = named.fence
                )
                select lane as "lane!", fence as "fence!", (select count(*) from named) as "rows!"
                  from following
                 order by lane desc, fence desc
                 limit 1
                "#,
                pattern,
                ERASED,
                dry_run,
                lane,
                fence,
                OBJECTS_AT_ONCE
            )
            .fetch_optional(&self.pool)
            .await?;
            let Some(step) = step else { return Ok(rows) };
            (lane, fence) = (step.lane, step.fence);
            rows += whole(step.rows);
        }
    }
}

fn whole(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}
