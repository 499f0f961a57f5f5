//! The rows of the store, as tests prepare and count them. Only the harness and the tests of migrations
//! contain SQL, so a renamed column changes one place.

mod changes;
mod claim_plan;
mod executions;

pub use changes::*;
pub use claim_plan::{ClaimFrom, Planner, claim_statement};
pub use executions::{Set, executions};

use super::Database;
use std::borrow::Borrow;
use std::fmt::Display;
use std::time::Duration;

/// Some rows of a table.
#[derive(Debug, Clone)]
pub struct Rows {
    table: &'static str,
    conditions: Vec<String>,
}

/// Statements that change rows as only a test would.
#[derive(Debug, Clone)]
pub struct Change(String);

impl From<&Change> for Change {
    fn from(change: &Change) -> Self {
        change.clone()
    }
}

/// All rows of a table.
fn all(table: &'static str) -> Rows {
    Rows { table, conditions: Vec::new() }
}

pub fn alerts() -> Rows {
    all("alerts")
}

/// Alerts that wait for the digest.
pub fn held_alerts() -> Rows {
    all("alerts").that("held and (notified_at is null or resolved_at is not null)")
}

pub fn attempts() -> Rows {
    all("attempts")
}

pub fn audit() -> Rows {
    all("audit")
}

pub fn event_facts() -> Rows {
    all("event_facts")
}

pub fn destinations() -> Rows {
    all("destinations")
}

pub fn events() -> Rows {
    all("events")
}

/// What waits for a worker.
pub fn queue() -> Rows {
    all("queue")
}

pub fn leases() -> Rows {
    all("leases")
}

pub fn lane_runs() -> Rows {
    all("lane_runs")
}

pub fn rejections() -> Rows {
    all("rejections")
}

pub fn remote_objects() -> Rows {
    all("remote_objects")
}

/// Events that were not accepted and whose sender waits for that.
pub fn unanswered_events() -> Rows {
    all("unanswered_events")
}

/// Bulk tasks.
pub fn tasks() -> Rows {
    all("tasks")
}

pub fn idempotency_keys() -> Rows {
    all("idempotency_keys")
}

/// Those that were locked for longer than this.
pub fn idempotency_keys_locked_for(time: Duration) -> Rows {
    idempotency_keys().that(format!("locked_until > created_at + {}", interval(time)))
}

pub fn workers() -> Rows {
    all("workers")
}

/// The destination instances that are paused.
pub fn paused() -> Rows {
    all("destinations").that("paused_since is not null")
}

/// The lease of this name, if a process holds it.
pub fn named_lease(name: &str) -> Rows {
    all("named_leases").that(format!("name = {}", text(name)))
}

/// The connections whose next call has to wait for longer than this.
pub fn connections_without_a_slot_for(time: Duration) -> Rows {
    all("rate_limits").that(format!("next_at > now() + {}", interval(time)))
}

/// The connections without a limit on calls.
pub fn blocked_connections() -> Rows {
    all("rate_limits").that("blocked_until > now()")
}

/// Search terms whose event is gone.
pub fn orphaned_search_terms() -> Rows {
    all("search_terms").that("event_key not in (select id from eventbridge.events)")
}

/// The failure groups with these keys.
pub fn failure_groups(keys: &[&str]) -> Rows {
    let keys: Vec<_> = keys.iter().map(text).collect();
    all("failure_groups").that(format!("key in ({})", keys.join(", ")))
}

impl Rows {
    /// Only those that meet a condition. Private to this module: no test writes SQL.
    fn that(mut self, condition: impl Into<String>) -> Self {
        self.conditions.push(condition.into());
        self
    }

    /// Events with this id of the sender.
    pub fn called(self, event_id: &str) -> Self {
        self.that(format!("event_id = {}", text(event_id)))
    }

    /// Events of this type.
    pub fn of_type(self, event_type: &str) -> Self {
        self.that(format!("type = {}", text(event_type)))
    }

    /// Events that were verified with the secret of this name.
    pub fn verified_with(self, secret: &str) -> Self {
        self.that(format!("secret_name = {}", text(secret)))
    }

    /// Events with exactly this body.
    pub fn with_body(self, body: impl AsRef<[u8]>) -> Self {
        self.that(format!(r"payload = '\x{}'", hex::encode(body)))
    }

    /// The actions of this caller.
    pub fn by(self, who: &str) -> Self {
        self.that(format!("who = {}", text(who)))
    }

    /// Entries of the audit with this action.
    pub fn action(self, action: &str) -> Self {
        self.that(format!("action = {}", text(action)))
    }

    /// Entries of the audit about one thing.
    pub fn about(self, kind: &str, id: &str) -> Self {
        self.that(format!("subject_kind = {} and subject_id = {}", text(kind), text(id)))
    }

    /// Rows that contain this text in any column.
    pub fn quoting(self, words: &str) -> Self {
        let table = self.table;
        self.that(format!("{table}::text ilike {}", text(format!("%{words}%"))))
    }

    /// Attempts with a message.
    pub fn with_a_message(self) -> Self {
        self.that("message is not null")
    }

    /// Indexed events that name a person.
    pub fn naming_a_person(self) -> Self {
        self.that("num_nonnulls(customer, customer_email, invoice_number) > 0")
    }

    /// The name of their table.
    pub(in crate::harness) fn table(&self) -> String {
        format!("eventbridge.{}", self.table)
    }

    fn condition(&self) -> String {
        if self.conditions.is_empty() { "true".to_owned() } else { self.conditions.join(" and ") }
    }

    /// One value over these rows.
    fn select(&self, value: &str) -> String {
        format!("select {value} from eventbridge.{} where {}", self.table, self.condition())
    }
}

impl Database {
    /// The number of rows.
    pub async fn count(&self, rows: impl Borrow<Rows>) -> i64 {
        self.number(&rows.borrow().select("count(*)")).await
    }

    /// The lowest id among the rows.
    pub async fn first_id(&self, rows: impl Borrow<Rows>) -> i64 {
        self.number(&rows.borrow().select("min(id)")).await
    }

    /// The highest id among the rows.
    pub async fn last_id(&self, rows: impl Borrow<Rows>) -> i64 {
        self.number(&rows.borrow().select("max(id)")).await
    }

    /// Changes rows as only a test would.
    pub async fn change(&self, change: impl Into<Change>) {
        self.execute(&change.into().0).await;
    }

    /// How often workers died with executions, in total.
    pub async fn crashes(&self) -> i64 {
        self.number("select sum(crashes) from eventbridge.executions").await
    }

    /// How many lanes have more than one running execution.
    pub async fn lanes_that_run_twice(&self) -> i64 {
        self.number(
            "select count(*) from (select lane from eventbridge.leases
                where lane is not null group by lane having count(*) > 1) as lanes",
        )
        .await
    }

    /// The lane of an execution.
    pub async fn lane_of(&self, execution: i64) -> String {
        self.text(&format!("select lane from eventbridge.executions where id = {execution}")).await
    }

    /// How many pairs of executions ran at the same time in their last attempts.
    pub async fn attempts_at_once(&self) -> i64 {
        self.number(
            "with last as (
                 select distinct on (execution_id) * from eventbridge.attempts order by execution_id, fence desc)
             select count(*)
               from last as one
               join last as other on other.fence > one.fence
                and other.started_at < one.started_at + one.duration_ms * interval '1 millisecond'
                and one.started_at < other.started_at + other.duration_ms * interval '1 millisecond'",
        )
        .await
    }

    /// When the last pause began, in microseconds since 1970; 0 if nothing is paused.
    pub async fn paused_since_us(&self) -> i64 {
        self.number(
            "select coalesce(extract(epoch from max(paused_since))::bigint, 0) * 1000000
                  + coalesce(extract(microseconds from max(paused_since))::bigint, 0)
               from eventbridge.destinations",
        )
        .await
    }

    /// The ended pauses of a destination: class and reason of each, in order.
    pub async fn past_pauses(&self, destination: &str) -> String {
        self.text(&format!(
            "select string_agg(concat_ws(' ', class, reason), ', ' order by id) from eventbridge.past_pauses
              where destination = {} and since <= until",
            text(destination)
        ))
        .await
    }

    /// The destination's id of the successful request.
    pub async fn delivering_request(&self) -> String {
        self.text("select request_id from eventbridge.attempts where outcome = 'delivered'").await
    }

    /// The kinds of the existing alerts, in alphabetical order.
    pub async fn kinds_of_alerts(&self) -> String {
        self.text("select coalesce(string_agg(kind, ' ' order by kind), '') from eventbridge.alerts").await
    }

    /// The amount that was read from an event.
    pub async fn amount_of(&self, event: i64) -> i64 {
        self.number(&format!("select amount_minor from eventbridge.event_facts where event_key = {event}"))
            .await
    }

    /// Whether the search indexer has settled everything up to one event, and set its mark at another.
    pub async fn is_indexed(&self, settled: i64, mark: i64) -> bool {
        let progress =
            all("search_index_progress").that(format!("settled_id = {settled} and mark_id = {mark}"));
        self.count(progress).await == 1
    }

    /// How many rows still contain data of the customer `cus_Jane1`, or of her address.
    pub async fn traces_of_jane(&self) -> i64 {
        self.number(
            "select (select count(*) from eventbridge.executions where reason like '%jane@%')
                  + (select count(*) from eventbridge.attempts where message like '%jane@%')
                  + (select count(*) from eventbridge.search_terms where term = 'cus_jane1')
                  + (select count(*) from eventbridge.event_facts where customer = 'cus_Jane1')
                  + (select count(*) from eventbridge.executions where remote_url ~ '-[0-9a-f]{32}$')",
        )
        .await
    }

    /// How many failures of an event are in a group of this pattern.
    pub async fn grouped(&self, event: i64, pattern: &str) -> i64 {
        self.number(&format!(
            "select count(*) from eventbridge.failure_groups
               join eventbridge.executions on failure_group = key and event_key = {event}
              where pattern = {}",
            text(pattern)
        ))
        .await
    }
}

/// A text in a statement.
fn text(words: impl Display) -> String {
    format!("'{}'", words.to_string().replace('\'', "''"))
}

/// A duration in a statement.
fn interval(time: Duration) -> String {
    format!("interval '{} seconds'", time.as_secs_f64())
}
