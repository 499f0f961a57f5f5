//! Failure groups: failures of one destination and one class, with the same message except for ids and
//! numbers.
//!
//! An execution gets its group in the statement that fails it. The key of a group is a hash, so a known
//! group needs no row to be read or written.

use super::FailureGroups;
use crate::domain::audit::{Action, Caller};
use crate::domain::failure::{REMEDY_UNKNOWN, own_remedy, pattern};
use crate::domain::money::Money;
use crate::store::db::{Cursor, Page, Seen, StoreError, without_nul};
use chrono::{DateTime, Utc};

/// The most failures of a group that are counted.
pub const FAILURES_COUNTED_MAX: u32 = 10_000;

/// The most failures whose amounts are added up for a page of groups: the newest of each group, in equal
/// shares. Each needs three rows from anywhere in large tables.
pub const FAILURES_SUMMED_MAX: u32 = 1_000;

/// The most failures that one statement groups.
const GROUPED_AT_ONCE: i64 = 200;

/// Which groups a list contains; a field that is absent does not restrict it.
#[derive(Debug, Clone, Default)]
pub struct FailureFilter {
    /// Only the group of this key.
    pub key: Option<String>,
    /// Groups of this destination instance.
    pub destination: Option<String>,
    /// Groups that are acknowledged, or those that are not.
    pub acknowledged: Option<bool>,
}

/// A failure group.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "self-explanatory; the API documents them")]
pub struct FailureGroup {
    pub key: String,
    pub destination: String,
    pub error_class: String,
    pub pattern: String,
    /// What to do.
    pub remedy: String,
    /// Counted up to [`FAILURES_COUNTED_MAX`].
    pub count: i64,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
    /// The newest failed execution.
    pub sample: i64,
    pub sample_message: Option<String>,
    /// Whether the newest failure is acknowledged.
    pub is_acknowledged: bool,
    pub acknowledged_at: Option<DateTime<Utc>>,
    pub acknowledged_by: Option<String>,
    pub note: Option<String>,
    /// The total of the objects concerned, by currency, each object once: see [`FAILURES_SUMMED_MAX`].
    pub money: Vec<Money>,
    /// Whether there are more failures than were added up.
    pub is_money_cut: bool,
}

/// A group as read.
struct Row {
    id: i64,
    key: String,
    destination: String,
    error_class: String,
    pattern: String,
    remedy: Option<String>,
    count: i64,
    first_seen: DateTime<Utc>,
    last_seen: DateTime<Utc>,
    sample: i64,
    sample_message: Option<String>,
    is_acknowledged: bool,
    acknowledged_at: Option<DateTime<Utc>>,
    acknowledged_by: Option<String>,
    note: Option<String>,
    as_of: DateTime<Utc>,
    place: DateTime<Utc>,
}

impl FailureGroups {
    /// Whether there is a group with this key, also if none of its executions is failed now.
    pub async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        let exists = sqlx::query_scalar!(
            r#"select exists (select from eventbridge.failure_groups where key = $1) as "exists!""#,
            key
        )
        .fetch_one(&self.reading)
        .await?;
        Ok(exists)
    }

    /// A page of the groups with failed executions, the most recent failure first.
    ///
    /// Later pages keep the order of the first one: a failure that arrives meanwhile moves no group, so none
    /// is missed or listed twice.
    pub async fn failures(
        &self,
        filter: &FailureFilter,
        cursor: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<FailureGroup>, StoreError> {
        let seen = cursor.and_then(Cursor::seen);
        let rows = sqlx::query_as!(
            Row,
            r#"
            with page as materialized (
                select failure_groups.*, as_of, placed.finished_at as place,
                       acknowledged_through >= last.finished_at is true as is_acknowledged,
                       last.finished_at as last_seen, last.id as sample, last.reason as sample_message
                  from (select coalesce($7::timestamptz, now()) as as_of) as listing
                 cross join eventbridge.failure_groups
                 cross join lateral (
                       select finished_at
                         from eventbridge.executions
                        where failure_group = key and status = 'failed' and finished_at <= as_of
                        order by finished_at desc
                        limit 1) as placed
                 cross join lateral (
                       select id, finished_at, reason
                         from eventbridge.executions
                        where failure_group = key and status = 'failed'
                        order by finished_at desc, id desc
                        limit 1) as last
                 where ($8::timestamptz is null or (placed.finished_at, failure_groups.id) < ($8, $1))
                   and ($2::text is null or key = $2)
                   and ($3::text is null or failure_groups.destination = $3)
                   and ($4::boolean is null or $4 = (acknowledged_through >= last.finished_at is true))
                 order by placed.finished_at desc, failure_groups.id desc
                 limit $5
            )
            select page.id as "id!", key as "key!", page.destination as "destination!",
                   page.error_class as "error_class!", pattern as "pattern!", remedy, counted.count as "count!",
                   -- A retry that fails again ends anew, and is no first failure.
                   least(first.finished_at, page.created_at) as "first_seen!", last_seen as "last_seen!", sample as "sample!",
                   sample_message, is_acknowledged as "is_acknowledged!", acknowledged_at, acknowledged_by,
                   note, as_of as "as_of!", place as "place!"
              from page
             cross join lateral (
                   select finished_at
                     from eventbridge.executions
                    where failure_group = key and status = 'failed'
                    order by finished_at, id
                    limit 1) as first
             cross join lateral (
                   select count(*)
                     from (select from eventbridge.executions
                            where failure_group = key and status = 'failed'
                            limit $6) as failed) as counted
             order by place desc, page.id desc
            "#,
            Cursor::before(cursor),
            filter.key,
            filter.destination,
            filter.acknowledged,
            i64::from(limit) + 1,
            i64::from(FAILURES_COUNTED_MAX),
            seen.map(|seen| seen.as_of),
            seen.map(|seen| seen.last)
        )
        .fetch_all(&self.reading)
        .await?;
        let page = Page::cut_at(rows, limit, |row| {
            Cursor::of_seen(row.id, Seen { as_of: row.as_of, last: row.place })
        });
        let keys: Vec<String> = page.rows.iter().map(|row| row.key.clone()).collect();
        let each = i64::from(FAILURES_SUMMED_MAX) / i64::try_from(keys.len().max(1)).unwrap_or(i64::MAX);
        let sums = self.money_of(&keys, each).await?;
        let rows = page.rows.into_iter().map(|row| {
            let money = sums.iter().filter(|(key, _)| *key == row.key).map(|(_, sum)| *sum).collect();
            let is_money_cut = row.count > each;
            FailureGroup::new(row, money, is_money_cut)
        });
        Ok(Page { rows: rows.collect(), next: page.next })
    }

    /// The number of groups with unacknowledged failures, counted up to `most`.
    pub async fn open_failures(&self, most: u32) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar!(
            r#"
            select count(*) as "count!"
              from (select from eventbridge.failure_groups
                     cross join lateral (
                           -- The last of each alone, however many there are.
                           select finished_at
                             from eventbridge.executions
                            where failure_group = key and status = 'failed'
                            order by finished_at desc
                            limit 1) as last
                     where last.finished_at > coalesce(acknowledged_through, '-infinity')
                     limit $1) as open
            "#,
            i64::from(most)
        )
        .fetch_one(&self.reading)
        .await?;
        Ok(count)
    }

    /// The total of the newest failures of these groups, `each` of every group, by currency. An object
    /// counts once, with the amount of its newest event.
    async fn money_of(&self, keys: &[String], each: i64) -> Result<Vec<(String, Money)>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select wanted.key as "key!", currency as "currency!", sum(amount_minor)::text as "sum!"
              from unnest($1::text[]) as wanted (key)
             cross join lateral (
                   select distinct on (subjects.subject) currency, amount_minor
                     from (select event_key
                             from eventbridge.executions
                            where failure_group = wanted.key and status = 'failed'
                            order by finished_at desc, id desc
                            limit $2) as newest
                     join eventbridge.event_facts using (event_key)
                    cross join lateral (
                          -- The event is read only if its facts name no subject.
                          select coalesce(subject, (select coalesce(object_id, event_id)
                                                      from eventbridge.events
                                                     where events.id = newest.event_key)) as subject) as subjects
                    where amount_minor is not null and currency is not null
                    order by subjects.subject, event_key desc) as object
             group by wanted.key, currency
             order by wanted.key, currency
            "#,
            keys,
            each
        )
        .fetch_all(&self.reading)
        .await?;
        let sums = rows.into_iter().filter_map(|row| {
            Some((row.key, Money::from_minor_decimal(&row.sum, row.currency.parse().ok()?)?))
        });
        Ok(sums.collect())
    }

    /// Acknowledges the present failures of a group, with an audit entry. Returns `false` if the group has
    /// none. Later failures are unacknowledged again.
    pub async fn acknowledge(&self, caller: &Caller, key: &str, note: &str) -> Result<bool, StoreError> {
        let done = sqlx::query_scalar!(
            r#"
            with acknowledged as (
                update eventbridge.failure_groups
                   set acknowledged_through = last.finished_at, acknowledged_at = now(),
                       acknowledged_by = $2, note = $3
                  from (select max(finished_at) as finished_at
                          from eventbridge.executions
                         where failure_group = $1 and status = 'failed') as last
                 where key = $1 and last.finished_at is not null
                returning key
            ), written as (
                insert into eventbridge.audit (who, action, subject_kind, subject_id, detail)
                select $2, $4, 'failure', key, jsonb_build_object('note', $3::text) from acknowledged
            )
            select exists (select from acknowledged) as "done!"
            "#,
            key,
            caller.name(),
            without_nul(note),
            Action::FailureAcknowledged.as_str()
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(done)
    }

    /// Withdraws an acknowledgement, with an audit entry that contains its note. Returns `false` if the
    /// group was not acknowledged.
    pub async fn unacknowledge(&self, caller: &Caller, key: &str) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            r#"
            with known as (
                select key, acknowledged_by, note
                  from eventbridge.failure_groups
                 where key = $1 and acknowledged_through is not null
                   for update
            ), taken_back as (
                update eventbridge.failure_groups
                   set acknowledged_through = null, acknowledged_at = null, acknowledged_by = null, note = null
                  from known
                 where failure_groups.key = known.key
            )
            insert into eventbridge.audit (who, action, subject_kind, subject_id, detail)
            select $2, $3, 'failure', key, jsonb_build_object('was_by', acknowledged_by, 'was_noted', note)
              from known
            "#,
            key,
            caller.name(),
            Action::FailureUnacknowledged.as_str()
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Groups failures that have no group, a batch at a time. Returns how many there were. A destination's
    /// remedy is no longer known then.
    pub async fn group_failures(&self) -> Result<usize, StoreError> {
        let rows = sqlx::query!(
            r#"
            select id, error_class as "class!", reason
              from eventbridge.executions
             where status = 'failed' and failure_group is null
             limit $1
            "#,
            GROUPED_AT_ONCE
        )
        .fetch_all(&self.pool)
        .await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let patterns: Vec<String> =
            rows.iter().map(|row| pattern(row.reason.as_deref().unwrap_or_default())).collect();
        let remedies: Vec<Option<&str>> = rows.iter().map(|row| own_remedy(&row.class)).collect();
        sqlx::query!(
            r#"
            with grouped as (
                update eventbridge.executions
                   set failure_group = eventbridge.failure_group_key(destination, error_class, alike.pattern)
                  from unnest($1::bigint[], $2::text[], $3::text[]) as alike (id, pattern, remedy)
                 where executions.id = alike.id and status = 'failed' and failure_group is null
                   and executions.id = any ($1)
                returning failure_group, destination, error_class, alike.pattern, alike.remedy
            )
            insert into eventbridge.failure_groups (key, destination, error_class, pattern, remedy)
            select distinct on (failure_group) failure_group, destination, error_class, pattern, remedy
              from grouped
             order by failure_group
            on conflict do nothing
            "#,
            &ids,
            &patterns,
            &remedies as _
        )
        .execute(&self.pool)
        .await?;
        Ok(ids.len())
    }
}

impl FailureGroup {
    fn new(row: Row, money: Vec<Money>, is_money_cut: bool) -> Self {
        Self {
            key: row.key,
            destination: row.destination,
            error_class: row.error_class,
            pattern: row.pattern,
            remedy: row.remedy.unwrap_or_else(|| REMEDY_UNKNOWN.to_owned()),
            count: row.count,
            first_seen: row.first_seen,
            last_seen: row.last_seen,
            sample: row.sample,
            sample_message: row.sample_message,
            is_acknowledged: row.is_acknowledged,
            acknowledged_at: row.acknowledged_at,
            acknowledged_by: row.acknowledged_by,
            note: row.note,
            money,
            is_money_cut,
        }
    }
}
