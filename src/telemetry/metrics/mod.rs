//! The counters of the service, for Prometheus and for the statistics.
//!
//! All series are created at the start. Their labels are destination names and constants, never received
//! data. Counting increments an atomic integer, without locks and allocations.
//!
//! Ingest counts an event after its commit; the completer counts an execution after its completion is
//! recorded. So the counters match the database, except for what a kill interrupts between the two.

mod counts;
mod series;

pub use counts::{Count, Kind};

use super::gauges::{self, Gauges};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use series::{CRASHED, Series};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The format of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The outcome of a request to the webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Webhook {
    /// Stored as a new event.
    New,
    /// Stored before.
    Duplicate,
    /// Rejected for this reason; a retry would be rejected, too.
    Rejected(&'static str),
    /// Shed for this reason; the sender may retry.
    Shed(&'static str),
}

/// Where a panic was caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Panicked {
    /// The handler of a request.
    Handler,
    /// A delivery.
    Delivery,
    /// A background task.
    Task,
}

impl Panicked {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Delivery => "delivery",
            Self::Task => "task",
        }
    }
}

/// The terminal state of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// Delivered.
    Success,
    /// Failed permanently.
    Failed,
    /// Declined by the destination.
    Skipped,
    /// A newer state of its object was delivered.
    Superseded,
}

/// The counters. Cheap to clone: clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Series>);

impl Metrics {
    /// Begins to count, for these destinations and without sources.
    pub fn new(destinations: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::with_checks(destinations, [])
    }

    /// Begins to count, for these destinations and for sources that reject webhooks by these checks.
    pub fn with_checks(
        destinations: impl IntoIterator<Item = impl Into<String>>,
        checks: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        Self(Arc::new(Series::new(destinations, checks)))
    }

    /// Counts a request to the webhook.
    pub fn webhook(&self, outcome: Webhook) {
        match outcome {
            Webhook::New => {
                self.0.new.inc();
            }
            Webhook::Duplicate => {
                self.0.duplicate.inc();
            }
            Webhook::Rejected(reason) => self.0.rejected.count(reason),
            Webhook::Shed(reason) => self.0.shed.count(reason),
        }
    }

    /// Counts a new event that was fetched from its sender's API.
    pub fn fetched(&self) {
        self.0.fetched.inc();
    }

    /// Counts the time from a request to its 200.
    pub fn acknowledged(&self, waited: Duration) {
        self.0.acknowledged.time(waited);
    }

    /// Counts the events of one transaction.
    pub fn batch(&self, events: usize) {
        self.0.batch.count(u64::try_from(events).unwrap_or(u64::MAX));
    }

    /// Counts an attempt and its duration.
    pub fn attempt(&self, destination: &str, outcome: &str, took: Duration) {
        if let Some(destination) = self.0.destinations.get(destination) {
            destination.attempts.count(outcome);
            destination.attempt_duration.time(took);
        }
    }

    /// Counts an attempt that ended with its worker; its duration is unknown.
    pub fn crashed(&self, destination: &str) {
        if let Some(destination) = self.0.destinations.get(destination) {
            destination.attempts.count(CRASHED);
        }
    }

    /// Counts executions that reached a terminal state, and whether they had ended in it before.
    pub fn ended(&self, destination: &str, how: Ended, is_repeated: bool, executions: usize) {
        if let Some(destination) = self.0.destinations.get(destination) {
            let ends = match how {
                Ended::Success => &destination.success,
                Ended::Failed => &destination.failed,
                Ended::Skipped => &destination.skipped,
                Ended::Superseded => &destination.superseded,
            };
            let counter = if is_repeated { &ends.repeated } else { &ends.first };
            counter.inc_by(u64::try_from(executions).unwrap_or(u64::MAX));
        }
    }

    /// Counts the time from an event's receipt to its delivery.
    pub fn delivered_after(&self, destination: &str, latency: Duration) {
        if let Some(destination) = self.0.destinations.get(destination) {
            destination.latency.time(latency);
        }
    }

    /// Records how many deliveries to a destination this process runs at once at the most.
    pub fn limit(&self, destination: &str, limit: usize) {
        if let Some(destination) = self.0.destinations.get(destination) {
            destination.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
        }
    }

    /// Counts executions that were rescued from a dead worker.
    pub fn rescued(&self, executions: usize) {
        self.0.rescued.inc_by(u64::try_from(executions).unwrap_or(u64::MAX));
    }

    /// Counts a panic.
    pub fn panicked(&self, which: Panicked) {
        self.0.panics.count(which.as_str());
    }

    /// Counts a connection as open until the returned value is dropped.
    pub fn connection(&self) -> OpenConnection {
        self.0.connections.inc();
        OpenConnection(self.0.connections.clone())
    }

    /// Counts a connection that the server closed.
    pub fn connection_ended(&self, why: &str) {
        self.0.connections_ended.count(why);
    }

    /// Records a heartbeat of this process's worker.
    pub fn heartbeat(&self) {
        let now = u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.heartbeat_ms.store(now.max(1), Ordering::Relaxed);
    }

    /// The time since the last heartbeat of this process's worker; `None` before the first one.
    pub fn since_heartbeat(&self) -> Option<Duration> {
        match self.0.heartbeat_ms.load(Ordering::Relaxed) {
            0 => None,
            heartbeat_ms => {
                Some(self.0.started.elapsed().saturating_sub(Duration::from_millis(heartbeat_ms)))
            }
        }
    }

    /// The counters and these gauges in the OpenMetrics text format.
    pub fn render(&self, gauges: &Gauges) -> Result<String, fmt::Error> {
        let mut now = Registry::with_prefix("eventbridge");
        now.register_collector(Box::new(Scraped {
            gauges: gauges.clone(),
            since_heartbeat: self.since_heartbeat(),
        }));
        let mut text = String::new();
        text::encode_registry(&mut text, &self.0.registry)?;
        text::encode_registry(&mut text, &now)?;
        text::encode_eof(&mut text)?;
        Ok(text)
    }

    /// The counts for the statistics since the start of the process, in a fixed order.
    pub fn counts(&self) -> Vec<Count> {
        self.0.counts()
    }
}

/// Counts a connection as open.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The values at the time of a scrape.
#[derive(Debug)]
struct Scraped {
    gauges: Gauges,
    since_heartbeat: Option<Duration>,
}

impl Collector for Scraped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(age) = self.since_heartbeat {
            let help = "Time since the last heartbeat of this process's worker";
            gauges::single(&mut encoder, "worker_beat_age_seconds", help, age.as_secs_f64())?;
        }
        self.gauges.encode(&mut encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_label_is_counted_as_other_and_an_unknown_destination_is_ignored() {
        let metrics = Metrics::new(["notion"]);
        metrics.webhook(Webhook::Rejected("arbitrary input"));
        metrics.attempt("notion", "a new outcome", Duration::ZERO);
        metrics.attempt("elsewhere", "delivered", Duration::ZERO);
        let text = metrics.render(&Gauges::default()).expect("text");
        assert!(
            text.contains(r#"eventbridge_webhooks_total{outcome="rejected",reason="other"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"eventbridge_attempts_total{destination="notion",outcome="other"} 1"#),
            "{text}"
        );
        assert!(!text.contains("elsewhere") && !text.contains("arbitrary"), "{text}");
    }

    #[test]
    fn the_heartbeat_is_known_after_the_first_one() {
        let metrics = Metrics::new(["notion"]);
        assert!(metrics.since_heartbeat().is_none());
        metrics.heartbeat();
        assert!(metrics.since_heartbeat().expect("a heartbeat") < Duration::from_secs(5));
    }

    #[test]
    fn statistics_and_scrape_have_the_same_counts() {
        let metrics = Metrics::new(["notion"]);
        metrics.webhook(Webhook::New);
        metrics.ended("notion", Ended::Superseded, false, 3);
        metrics.ended("notion", Ended::Success, true, 2);
        metrics.ended("notion", Ended::Failed, true, 1);
        metrics.delivered_after("notion", Duration::from_secs(2));
        let counts = metrics.counts();
        let n = |kind, le_ms| {
            counts
                .iter()
                .filter(|count| count.kind == kind && count.le_ms == le_ms)
                .map(|count| count.n)
                .sum::<u64>()
        };
        assert_eq!((n(Kind::Received, None), n(Kind::Superseded, None)), (1, 3));
        assert_eq!((n(Kind::Delivered, None), n(Kind::Failed, None), n(Kind::Repeated, None)), (0, 0, 3));
        let text = metrics.render(&Gauges::default()).expect("text");
        let repeated =
            r#"eventbridge_executions_total{destination="notion",status="success",repeated="true"} 2"#;
        assert!(text.contains(repeated), "{text}");
        assert_eq!((n(Kind::Latency, Some(2_500)), n(Kind::Latency, Some(1_000))), (1, 0));
    }
}
