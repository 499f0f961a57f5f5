//! Executions, as tests select and change them.

use super::changes::QUEUE_PENDING;
use super::{Change, Rows, all, interval, text};
use std::time::Duration;

/// All executions.
pub fn executions() -> Rows {
    all("executions")
}

/// A column that a test sets on executions.
#[derive(Debug, Clone, Copy)]
pub enum Set<'a> {
    Status(&'a str),
    Reason(&'a str),
    Attempts(i32),
    Crashes(i32),
    /// Queued by a bulk operation.
    InBulk,
    /// Due now.
    Due,
    /// Due since this time.
    DueSince(Duration),
    /// Due only after this time.
    DueIn(Duration),
    CreatedAgo(Duration),
    FinishedAgo(Duration),
    Unfinished,
    /// A write was sent whose outcome is unknown.
    InDoubt,
    /// The link to its page.
    Link(&'a str),
    /// Its page is unknown.
    NoPage,
    NoLane,
    /// The lane in which it is delivered in order.
    Lane(&'a str),
    Group(&'a str),
}

/// The table that has a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Executions,
    Queue,
}

impl Set<'_> {
    fn table(self) -> Of {
        match self {
            Self::InBulk | Self::Due | Self::DueSince(_) | Self::DueIn(_) => Of::Queue,
            _ => Of::Executions,
        }
    }

    fn sql(self) -> String {
        match self {
            // The schema wants a class for each failure.
            Self::Status("failed") => {
                "status = 'failed', error_class = coalesce(error_class, 'timeout')".to_owned()
            }
            Self::Status(status) => format!("status = {}", text(status)),
            Self::Reason(reason) => format!("reason = {}", text(reason)),
            Self::Attempts(count) => format!("attempts = {count}"),
            Self::Crashes(count) => format!("crashes = {count}"),
            Self::InBulk => "class = 'bulk'".to_owned(),
            Self::Due => "run_at = now()".to_owned(),
            Self::DueSince(time) => format!("run_at = now() - {}", interval(time)),
            Self::DueIn(time) => format!("run_at = now() + {}", interval(time)),
            Self::CreatedAgo(time) => format!("created_at = now() - {}", interval(time)),
            Self::FinishedAgo(time) => format!("finished_at = now() - {}", interval(time)),
            Self::Unfinished => "finished_at = null".to_owned(),
            Self::InDoubt => "in_doubt_since = now()".to_owned(),
            Self::Link(url) => format!("remote_url = {}", text(url)),
            Self::NoPage => "remote_id = null, remote_url = null".to_owned(),
            Self::NoLane => "lane = null".to_owned(),
            Self::Lane(lane) => format!("lane = {}", text(lane)),
            Self::Group(key) => format!("failure_group = {}", text(key)),
        }
    }
}

impl Rows {
    /// Executions with this status, as the API shows it.
    pub fn in_status(self, status: &str) -> Self {
        let is_leased = "id in (select execution_id from eventbridge.leases)";
        self.that(format!("case when {is_leased} then 'running' else status end = {}", text(status)))
    }

    /// Executions that wait or run.
    pub fn unfinished(self) -> Self {
        self.that("status = 'pending'")
    }

    /// The row with this id.
    pub fn id(self, id: i64) -> Self {
        self.that(format!("id = {id}"))
    }

    /// The rows with these ids.
    pub fn ids(self, ids: &[i64]) -> Self {
        let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
        self.that(format!("id in ({})", ids.join(", ")))
    }

    /// The rows up to this id.
    pub fn up_to(self, id: i64) -> Self {
        self.that(format!("id <= {id}"))
    }

    /// The execution that was created last.
    pub fn newest(self) -> Self {
        self.that("id = (select max(id) from eventbridge.executions)")
    }

    /// Executions for this destination.
    pub fn to(self, destination: &str) -> Self {
        self.that(format!("destination = {}", text(destination)))
    }

    /// Executions of the event with this id of the sender.
    pub fn of_event(self, event_id: &str) -> Self {
        let event = format!("select id from eventbridge.events where event_id = {}", text(event_id));
        self.that(format!("event_key in ({event})"))
    }

    /// Executions that stand alone.
    pub fn without_a_lane(self) -> Self {
        self.that("lane is null")
    }

    /// Executions with which this many workers died.
    pub fn with_crashes(self, count: i32) -> Self {
        self.that(format!("crashes = {count}"))
    }

    /// Executions with which a worker died.
    pub fn crashed(self) -> Self {
        self.that("crashes > 0")
    }

    /// Executions with another page than this.
    pub fn not_showing(self, remote_id: &str) -> Self {
        self.that(format!("remote_id <> {}", text(remote_id)))
    }

    /// Executions of this failure group.
    pub fn in_group(self, key: &str) -> Self {
        self.that(format!("failure_group = {}", text(key)))
    }

    /// Executions with a write whose outcome is unknown.
    pub fn in_doubt(self) -> Self {
        self.that("in_doubt_since is not null")
    }

    /// Sets this on these executions.
    pub fn set(&self, values: &[Set<'_>]) -> Change {
        let of = |table: Of| -> String {
            let sets: Vec<_> =
                values.iter().filter(|value| value.table() == table).map(|value| value.sql()).collect();
            sets.join(", ")
        };
        let (executions, queue) = (of(Of::Executions), of(Of::Queue));
        let update = |table: &str, id: &str, sets: &str| match sets {
            "" => String::new(),
            _ => format!("update eventbridge.{table} set {sets} where {id} in (select id from changed);"),
        };
        Change(format!(
            "create temporary table changed as select id from eventbridge.executions where {};
             {}
             {QUEUE_PENDING};
             update eventbridge.queue
                set class = case when crashes > 0 then 'quarantined' when attempts > 0 then 'retry'
                                 when class = 'bulk' then 'bulk' else 'fresh' end,
                    lane = executions.lane, since = greatest(created_at, retried_at)
               from eventbridge.executions
              where executions.id = execution_id and execution_id in (select id from changed);
             {}
             drop table changed",
            self.condition(),
            update("executions", "id", &executions),
            update("queue", "execution_id", &queue),
        ))
    }
}
