//! Reads how things stand, for the verdict.

use super::{Backlog, FAILURES_COUNTED_MAX, FailureFilter, FailureGroup};
use crate::domain::destination_summary::{DestinationSummary, seconds_for};
use crate::domain::rejection::rejected_in_a_row;
use crate::domain::silence;
use crate::domain::source::SourceCatalog;
use crate::domain::verdict::{Arrivals, Destination, Failing, Standing};
use crate::store::Store;
use crate::store::db::StoreError;
use crate::store::queue::PausedInstance;
use chrono::TimeDelta;
use std::collections::BTreeMap;
use std::time::Duration;

/// Groups of failures are counted no further than this.
const FAILURES_MAX: u32 = 100;

/// So many of them are told one by one.
const FAILURES_TOLD: u32 = 3;

/// A worker that has been silent for longer does not work.
const WORKER_SILENT: Duration = Duration::from_secs(15);

/// What a verdict is about.
#[derive(Clone, Copy)]
pub struct Watched<'a> {
    /// The destination instances.
    pub instances: &'a [String],
    /// What is known of them; where nothing is, nobody can tell when what waits is delivered.
    pub destinations: &'a [DestinationSummary],
    /// The sources, which find the causes of rejected requests.
    pub sources: &'a dyn SourceCatalog,
    /// Silence is strange from so many times the usual gap; never for 0.
    pub silence_factor: u32,
}

impl Store {
    /// How things stand, and what waits.
    pub async fn standing(&self, watched: Watched<'_>) -> Result<(Standing, Vec<Backlog>), StoreError> {
        let unknown = FailureFilter { acknowledged: Some(false), ..FailureFilter::default() };
        let (backlog, now, last_at, held, is_worked, unknown_failures, failing, rejections) = tokio::try_join!(
            self.reports.backlog(watched.instances),
            self.reports.now(),
            self.rejections.last_accepted_at(),
            self.destinations.paused(watched.instances),
            self.reports.a_worker_beats(WORKER_SILENT),
            self.failure_groups.open_failures(FAILURES_MAX),
            self.failure_groups.failures(&unknown, None, FAILURES_TOLD),
            self.rejections.rejections(),
        )?;
        let hours = match last_at {
            Some(last) => self.statistics.busy_hours(last - silence::HOURS_LOOKED_AT, now).await?,
            None => Vec::new(),
        };
        let standing = Standing {
            now,
            arrivals: Arrivals {
                last_at,
                usual_gap: silence::usual_gap(&hours),
                silence_limit: silence::limit(&hours, watched.silence_factor),
            },
            destinations: backlog.iter().map(|of| destination(watched, of, &held)).collect(),
            is_worked,
            unknown_failures: usize::try_from(unknown_failures).unwrap_or_default(),
            failing: failing.rows.into_iter().map(self::failing).collect(),
            rejected: rejected_in_a_row(&rejections, last_at, watched.sources, now),
        };
        Ok((standing, backlog))
    }
}

fn destination(watched: Watched<'_>, of: &Backlog, held: &[PausedInstance]) -> Destination {
    let counts = BTreeMap::from([(of.destination.clone(), of.pending)]);
    let seconds = seconds_for(watched.destinations, &counts).filter(|_| of.pending > 0 && !of.is_more);
    let span = |seconds: u64| i64::try_from(seconds).ok().and_then(TimeDelta::try_seconds);
    Destination {
        name: of.destination.clone(),
        held: held
            .iter()
            .find(|held| held.name == of.destination)
            .map(|held| (held.since, held.pause.remedy.clone())),
        pending: of.pending,
        is_more: of.is_more,
        oldest: of.oldest.and_then(|oldest| TimeDelta::from_std(oldest).ok()),
        oldest_execution: of.oldest_execution,
        clears_in: seconds.and_then(span),
    }
}

fn failing(group: FailureGroup) -> Failing {
    Failing {
        is_more: group.count >= i64::from(FAILURES_COUNTED_MAX),
        count: u64::try_from(group.count).unwrap_or_default(),
        key: group.key,
        destination: group.destination,
        error_class: group.error_class,
        money: group.money,
        is_money_cut: group.is_money_cut,
        sample: group.sample,
    }
}
