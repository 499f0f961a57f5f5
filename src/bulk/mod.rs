//! Bulk tasks: retries of many executions, and replays of many events.
//!
//! A task is done page by page, newest first, in the background of the processes that deliver, or by the command
//! that created it. One statement does a page and moves the task's position, so a process may die at any time:
//! another one continues where it stopped.
//!
//! What a task queues is delivered after all other work.

mod filter;
mod runner;
mod setbacks;

pub use filter::{BulkFilter, InvalidFilter, ReplayFilter, RetryFilter};
pub use runner::{Pace, run};
pub use setbacks::Setbacks;

use crate::domain::audit::Caller;
use crate::domain::destination_summary::{DestinationSummary, wanted_of};
use crate::domain::event::EventKey;
use crate::domain::execution::{ExecutionId, NewExecution};
use crate::domain::source::SourceCatalog;
use crate::domain::task::TaskId;
use crate::store::{
    Counts, Cursor, Events, FailureGroups, Interventions, ListError, NewTask, Reports, Store, StoreError,
    TaskPage, TaskRow, Tasks, UNFINISHED_TASKS_MAX,
};
use filter::InvalidFilter as Invalid;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The rows of a page.
pub const PAGE_ROWS: u32 = 1000;

/// A process that does not renew its hold on a task for this long loses it to another process. Longer than a page
/// takes, whose statements end after 30 s each.
pub const HOLD: Duration = Duration::from_mins(1);

/// A count begins no page after this time.
const COUNT_LONG: Duration = Duration::from_secs(5);

/// The longest note, in characters.
pub const NOTE_CHARACTERS_MAX: usize = 500;

/// Creates, counts and does bulk tasks. Cheap to clone.
#[derive(Clone)]
pub struct Bulk {
    /// The tasks.
    pub tasks: Tasks,
    interventions: Interventions,
    reports: Reports,
    events: Events,
    failure_groups: FailureGroups,
    sources: Arc<dyn SourceCatalog>,
    destinations: Arc<[DestinationSummary]>,
}

/// Why a task cannot be created, or a page was not done.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    /// The filter cannot be applied.
    #[error(transparent)]
    Invalid(#[from] InvalidFilter),
    /// The filter names one thing, and there is none of this name.
    #[error("{what}")]
    NotFound {
        /// The parameter.
        parameter: &'static str,
        /// What there is not.
        what: &'static str,
    },
    /// The list was not read: the filter requires a time range, or the database failed.
    #[error(transparent)]
    List(#[from] ListError),
    /// Too many tasks are not finished.
    #[error("{UNFINISHED_TASKS_MAX} tasks are not finished yet; wait until they are, or cancel some")]
    TooMany,
}

impl From<StoreError> for BulkError {
    fn from(error: StoreError) -> Self {
        Self::List(ListError::Store(error))
    }
}

/// What a task would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// The executions or events that were read.
    pub examined: u64,
    /// Executions that would be created, by destination instance.
    pub created: Counts,
    /// Executions that would be queued again, by destination instance.
    pub again: Counts,
    /// Whether the time limit ended the count, so there may be more.
    pub is_more: bool,
}

impl Counted {
    /// All executions that would be queued, by destination instance.
    pub fn queued(&self) -> Counts {
        let mut all = self.created.clone();
        add(&mut all, &self.again);
        all
    }
}

/// What a page covers.
enum Work {
    Retry { ids: Vec<ExecutionId>, status: &'static str },
    Replay(Vec<(EventKey, NewExecution)>),
}

struct Read {
    work: Work,
    examined: u64,
    next: Option<Cursor>,
}

impl Bulk {
    /// Bulk tasks of a service with these sources and destinations. They read over the connections of `store`:
    /// for work in the background, take [`Store::unhurried`].
    pub fn new(
        store: &Store,
        sources: Arc<dyn SourceCatalog>,
        destinations: Arc<[DestinationSummary]>,
    ) -> Self {
        Self {
            tasks: store.tasks.clone(),
            interventions: store.interventions.clone(),
            reports: store.reports.clone(),
            events: store.events.clone(),
            failure_groups: store.failure_groups.clone(),
            sources,
            destinations,
        }
    }

    /// Creates a task, if its filter can be applied. With `holder`, that process holds it from the beginning;
    /// otherwise the first process that delivers and is free does it.
    pub async fn create(
        &self,
        filter: &BulkFilter,
        note: Option<&str>,
        caller: &Caller,
        holder: Option<Uuid>,
    ) -> Result<TaskRow, BulkError> {
        self.create_new(filter, note, caller, None, holder).await
    }

    /// As [`create`](Self::create), for a request that may be repeated: of all attempts with the same first one,
    /// one creates the task, and the others get it.
    pub async fn create_once(
        &self,
        filter: &BulkFilter,
        note: Option<&str>,
        caller: &Caller,
        first_attempt: Uuid,
    ) -> Result<TaskRow, BulkError> {
        self.create_new(filter, note, caller, Some(first_attempt), None).await
    }

    /// The instances that a process must have to do a task with this filter. A process that lacks one would leave it
    /// out of a replay.
    fn needed(&self, filter: &BulkFilter) -> Vec<String> {
        match filter {
            BulkFilter::Retry(_) => Vec::new(),
            BulkFilter::Replay(replay) => {
                replay.destination.clone().map_or_else(|| self.instances(), |only| vec![only])
            }
        }
    }

    fn instances(&self) -> Vec<String> {
        self.destinations.iter().map(|known| known.name().to_owned()).collect()
    }

    async fn create_new(
        &self,
        filter: &BulkFilter,
        note: Option<&str>,
        caller: &Caller,
        first_attempt: Option<Uuid>,
        holder: Option<Uuid>,
    ) -> Result<TaskRow, BulkError> {
        self.require_named(filter).await?;
        // It is read as its pages will be, so that a filter without its time range is refused here.
        self.read(filter, None, 1).await?;
        let (json, destinations) = (filter.to_json(), self.needed(filter));
        let new =
            NewTask { kind: filter.kind(), filter: &json, destinations: &destinations, note, first_attempt };
        let hold = holder.map(|holder| (holder, HOLD));
        self.tasks.create(new, caller, hold).await?.ok_or(BulkError::TooMany)
    }

    /// Fails if the filter names an event or a failure group that does not exist: a mistyped id would select nothing,
    /// and look like success.
    async fn require_named(&self, filter: &BulkFilter) -> Result<(), BulkError> {
        let (event, group) = match filter {
            BulkFilter::Retry(retry) => (&retry.event_id, retry.failure_group_id.as_deref()),
            BulkFilter::Replay(replay) => (&replay.event_id, None),
        };
        if let Some(group) = group
            && !self.failure_groups.exists(group).await?
        {
            return Err(BulkError::NotFound {
                parameter: "failure_group_id",
                what: "there is no failure group with this id",
            });
        }
        if let Some(event) = event {
            // It exists also if it does not match the other filters.
            let row = match self.event_key(event, None).await? {
                Some(key) => self.events.event(key).await?,
                None => None,
            };
            if row.is_none() {
                return Err(BulkError::NotFound {
                    parameter: "event_id",
                    what: "there is no event with this id",
                });
            }
        }
        Ok(())
    }

    /// Counts what a task with this filter would do now; changes nothing. It begins no page after 5 s.
    pub async fn count(&self, filter: &BulkFilter) -> Result<Counted, BulkError> {
        self.count_while(filter, |_, elapsed| elapsed < COUNT_LONG).await
    }

    /// As [`count`](Self::count), until `goes_on` returns `false` for the rows that were read and the time that
    /// has passed.
    pub async fn count_while(
        &self,
        filter: &BulkFilter,
        goes_on: impl Fn(u64, Duration) -> bool + Send,
    ) -> Result<Counted, BulkError> {
        self.require_named(filter).await?;
        let began = Instant::now();
        let (mut counted, mut cursor) = (Counted::default(), None);
        loop {
            let read = self.read(filter, cursor, PAGE_ROWS).await?;
            counted.examined += read.examined;
            match &read.work {
                Work::Retry { ids, status } => {
                    add(&mut counted.again, &self.interventions.would_retry_page(ids, status).await?);
                }
                Work::Replay(wanted) => {
                    let replayed = self.interventions.would_replay_page(wanted).await?;
                    add(&mut counted.created, &replayed.created);
                    add(&mut counted.again, &replayed.again);
                }
            }
            cursor = read.next;
            if cursor.is_none() {
                return Ok(counted);
            }
            if !goes_on(counted.examined, began.elapsed()) {
                counted.is_more = true;
                return Ok(counted);
            }
        }
    }

    /// Does the next page of a task that `holder` holds. Returns the task after it; `None` if the task was
    /// cancelled, or another process holds it.
    pub async fn do_page(
        &self,
        task: &TaskRow,
        holder: Uuid,
        rows: u32,
    ) -> Result<Option<TaskRow>, BulkError> {
        let read = self.read(&BulkFilter::of_task(task)?, task.position, rows).await?;
        let Read { work, examined, next } = read;
        let page = TaskPage { task: task.id, holder, from: task.position, next, examined, hold: HOLD };
        Ok(match work {
            Work::Retry { ids, status } => self.interventions.retry_page(page, &ids, status).await?,
            Work::Replay(wanted) => self.interventions.replay_page(page, &wanted).await?,
        })
    }

    /// Takes the next task, or the given one, for [`HOLD`]; `None` if there is none.
    pub async fn hold(&self, only: Option<TaskId>, holder: Uuid) -> Result<Option<TaskRow>, StoreError> {
        self.tasks.hold(only, &self.instances(), holder, HOLD).await
    }

    async fn read(&self, filter: &BulkFilter, cursor: Option<Cursor>, rows: u32) -> Result<Read, BulkError> {
        match filter {
            BulkFilter::Retry(retry) => {
                let status = retry.state()?.as_str();
                let mut wanted = retry.read(self.sources.types())?;
                if let Some(event) = &retry.event_id {
                    wanted.event = self.event_key(event, retry.source.as_deref()).await?;
                    if wanted.event.is_none() {
                        // A missing event has no executions.
                        let work = Work::Retry { ids: Vec::new(), status };
                        return Ok(Read { work, examined: 0, next: None });
                    }
                }
                let page = self.reports.executions(&wanted, cursor, rows).await?;
                let ids: Vec<_> = page.rows.iter().map(|row| ExecutionId(row.id)).collect();
                let examined = count_of(ids.len());
                Ok(Read { work: Work::Retry { ids, status }, examined, next: page.next })
            }
            BulkFilter::Replay(replay) => {
                let only = replay.destination.as_deref();
                if only.is_some_and(|only| self.destinations.iter().all(|known| known.name() != only)) {
                    return Err(Invalid::of("destination", "no instance of this name is configured").into());
                }
                let mut wanted = replay.read(self.sources.types())?;
                if let Some(event) = &replay.event_id {
                    wanted.key = self.event_key(event, replay.source.as_deref()).await?;
                    if wanted.key.is_none() {
                        return Ok(Read { work: Work::Replay(Vec::new()), examined: 0, next: None });
                    }
                }
                let page = self.events.events(&wanted, cursor, rows).await?;
                let mut executions = Vec::new();
                for row in &page.rows {
                    let facts = row.facts();
                    executions.extend(
                        wanted_of(&self.destinations, only, &row.source, &facts)
                            .map(|execution| (EventKey(row.id), execution)),
                    );
                }
                let examined = count_of(page.rows.len());
                Ok(Read { work: Work::Replay(executions), examined, next: page.next })
            }
        }
    }

    async fn event_key(&self, id: &str, source: Option<&str>) -> Result<Option<EventKey>, StoreError> {
        match id.parse() {
            Ok(number) => Ok(Some(EventKey(number))),
            Err(_) => self.events.event_key_from(id, source).await,
        }
    }
}

fn add(all: &mut Counts, more: &Counts) {
    for (destination, count) in more {
        *all.entry(destination.clone()).or_default() += count;
    }
}

fn count_of(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
