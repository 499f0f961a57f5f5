//! The counters of the service, for Prometheus and for the statistics.
//!
//! All series are created at the start. Their labels are destination names and constants, never received
//! data. Counting increments an atomic integer, without locks and allocations.

use super::gauges::{self, Gauges};
use super::histogram::{Histogram, LATENCY_BOUNDS_MS};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The format of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The label for unknown values; new values should be added to their list.
const OTHER: &str = "other";

/// The reasons for rejecting a webhook of any source. Each source has further checks.
const REJECTED: &[&str] =
    &["event_refused", "body_too_large", "body_too_slow", "body_broken_off", "no_such_source", OTHER];

/// The reasons for shedding a webhook; its sender retries.
const SHED: &[&str] = &["queue_full", "database_away", OTHER];

/// The reasons for closing a connection.
const CONNECTION_ENDED: &[&str] = &["idle", "head_too_slow", "reader_too_slow", "sent_on", OTHER];

/// Where a panic was caught.
const PANICKED: &[&str] = &["handler", "delivery", "task", OTHER];

/// An attempt that ended with its worker.
const CRASHED: &str = "crashed";

/// The outcomes of an attempt.
const OUTCOMES: &[&str] = &[
    "delivered",
    "skipped",
    "permanent",
    "gone",
    "transient",
    "throttled",
    "ambiguous",
    "in_doubt",
    "needs_operator",
    "interrupted",
    CRASHED,
    OTHER,
];

const BATCH_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256];
const ACK_BOUNDS_MS: &[u64] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000];
const ATTEMPT_BOUNDS_MS: &[u64] =
    &[50, 100, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000, 150_000];

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

/// What a count of the statistics means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Events that were new.
    Received,
    /// Webhooks whose event was already stored.
    Duplicate,
    /// Webhooks that were rejected, by reason.
    Rejected,
    /// Webhooks that were shed, by reason.
    Shed,
    /// Executions delivered, by destination.
    Delivered,
    /// Executions failed, by destination.
    Failed,
    /// Executions declined, by destination.
    Skipped,
    /// Executions superseded by a newer state, by destination.
    Superseded,
    /// Executions by destination and by the time from receipt to delivery.
    Latency,
}

impl Kind {
    /// The word for it in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
            Self::Shed => "shed",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Superseded => "superseded",
            Self::Latency => "latency",
        }
    }
}

/// One count of the statistics, since the start of the process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// What is counted.
    pub kind: Kind,
    /// The reason or the destination; empty if there is neither.
    pub name: Cow<'static, str>,
    /// The upper bound in milliseconds, for [`Kind::Latency`]; none above the last one.
    pub le_ms: Option<u64>,
    /// The count.
    pub n: u64,
}

/// The counters. Cheap to clone: clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    started: Instant,
    new: Counter,
    duplicate: Counter,
    rejected: LabelCounters,
    shed: LabelCounters,
    acknowledged: Histogram,
    batch: Histogram,
    destinations: BTreeMap<String, Destination>,
    rescued: Counter,
    panics: LabelCounters,
    connections: Gauge,
    connections_ended: LabelCounters,
    /// The worker's last heartbeat, in milliseconds after `started`; 0 before the first one.
    heartbeat_ms: AtomicU64,
}

struct Destination {
    attempts: LabelCounters,
    success: Counter,
    failed: Counter,
    skipped: Counter,
    superseded: Counter,
    attempt_duration: Histogram,
    latency: Histogram,
}

type Labels = Vec<(&'static str, Cow<'static, str>)>;

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
        let rejected: Vec<_> = checks.into_iter().chain(REJECTED.iter().copied()).collect();
        let mut registry = Registry::with_prefix("eventbridge");
        let webhooks = Family::<Labels, Counter>::default();
        let webhook = |outcome: &'static str, reason: &'static str| {
            webhooks.get_or_create_owned(&vec![("outcome", outcome.into()), ("reason", reason.into())])
        };
        let ended = Family::<Labels, Counter>::default();
        let connection_ended = |why| ended.get_or_create_owned(&vec![("reason", Cow::Borrowed(why))]);
        let panics = Family::<Labels, Counter>::default();
        let panicked = |which| panics.get_or_create_owned(&vec![("where", Cow::Borrowed(which))]);
        let families = Families::register(&mut registry);
        let inner = Inner {
            started: Instant::now(),
            new: webhook("new", ""),
            duplicate: webhook("duplicate", ""),
            rejected: LabelCounters::new(&rejected, |reason| webhook("rejected", reason)),
            shed: LabelCounters::new(SHED, |reason| webhook("shed", reason)),
            acknowledged: Histogram::of_durations(ACK_BOUNDS_MS),
            batch: Histogram::of_numbers(BATCH_BOUNDS),
            destinations: destinations.into_iter().map(|name| families.destination(name.into())).collect(),
            rescued: Counter::default(),
            panics: LabelCounters::new(PANICKED, panicked),
            connections: Gauge::default(),
            connections_ended: LabelCounters::new(CONNECTION_ENDED, connection_ended),
            heartbeat_ms: AtomicU64::new(0),
            registry,
        };
        Self(Arc::new(inner.registered(webhooks, ended, panics)))
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

    /// Counts executions that reached a terminal state.
    pub fn ended(&self, destination: &str, how: Ended, executions: usize) {
        if let Some(destination) = self.0.destinations.get(destination) {
            let counter = match how {
                Ended::Success => &destination.success,
                Ended::Failed => &destination.failed,
                Ended::Skipped => &destination.skipped,
                Ended::Superseded => &destination.superseded,
            };
            counter.inc_by(u64::try_from(executions).unwrap_or(u64::MAX));
        }
    }

    /// Counts the time from an event's receipt to its delivery.
    pub fn delivered_after(&self, destination: &str, latency: Duration) {
        if let Some(destination) = self.0.destinations.get(destination) {
            destination.latency.time(latency);
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
        let inner = &self.0;
        let mut counts = Vec::new();
        let mut push = |kind, name: &Cow<'static, str>, le_ms, n| {
            counts.push(Count { kind, name: name.clone(), le_ms, n });
        };
        let none = Cow::Borrowed("");
        push(Kind::Received, &none, None, inner.new.get());
        push(Kind::Duplicate, &none, None, inner.duplicate.get());
        for (kind, words) in [(Kind::Rejected, &inner.rejected), (Kind::Shed, &inner.shed)] {
            for (word, counter) in &words.0 {
                push(kind, &Cow::Borrowed(*word), None, counter.get());
            }
        }
        for (name, destination) in &inner.destinations {
            let name = Cow::Owned(name.clone());
            push(Kind::Delivered, &name, None, destination.success.get());
            push(Kind::Failed, &name, None, destination.failed.get());
            push(Kind::Skipped, &name, None, destination.skipped.get());
            push(Kind::Superseded, &name, None, destination.superseded.get());
            for (le_ms, n) in destination.latency.buckets() {
                push(Kind::Latency, &name, le_ms, n);
            }
        }
        counts
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

impl Inner {
    /// Registers the series without a destination.
    fn registered(
        mut self,
        webhooks: Family<Labels, Counter>,
        ended: Family<Labels, Counter>,
        panics: Family<Labels, Counter>,
    ) -> Self {
        let registry = &mut self.registry;
        registry.register("webhooks", "Requests to the webhook by outcome", webhooks);
        registry.register_with_unit(
            "acknowledgement",
            "Time from the request to the response 200, which follows the commit",
            Unit::Seconds,
            self.acknowledged.clone(),
        );
        registry.register("batch_events", "Events per transaction", self.batch.clone());
        registry.register("rescued_executions", "Executions rescued from dead workers", self.rescued.clone());
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register("connections_ended", "Connections closed by the server, by reason", ended);
        registry.register("panics", "Caught panics by where they happened", panics);
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Version of the running program", Info::new(version));
        self
    }
}

/// The series of each destination.
struct Families {
    attempts: Family<Labels, Counter>,
    executions: Family<Labels, Counter>,
    attempt_duration: Family<Labels, Histogram, fn() -> Histogram>,
    latency: Family<Labels, Histogram, fn() -> Histogram>,
}

impl Families {
    fn register(registry: &mut Registry) -> Self {
        let families = Self {
            attempts: Family::default(),
            executions: Family::default(),
            attempt_duration: Family::new_with_constructor(|| Histogram::of_durations(ATTEMPT_BOUNDS_MS)),
            latency: Family::new_with_constructor(|| Histogram::of_durations(LATENCY_BOUNDS_MS)),
        };
        registry.register("attempts", "Delivery attempts by outcome", families.attempts.clone());
        registry.register("executions", "Executions by final state", families.executions.clone());
        registry.register_with_unit(
            "attempt_duration",
            "Duration of an attempt",
            Unit::Seconds,
            families.attempt_duration.clone(),
        );
        registry.register_with_unit(
            "receipt_to_delivery",
            "Time from the receipt of an event to the record of its first delivery",
            Unit::Seconds,
            families.latency.clone(),
        );
        families
    }

    fn destination(&self, name: String) -> (String, Destination) {
        let label = ("destination", Cow::<'static, str>::Owned(name.clone()));
        let with = |key: &'static str, word: &'static str| vec![label.clone(), (key, Cow::Borrowed(word))];
        let ended = |word| self.executions.get_or_create_owned(&with("status", word));
        let attempt = |word| self.attempts.get_or_create_owned(&with("outcome", word));
        let destination = Destination {
            attempts: LabelCounters::new(OUTCOMES, attempt),
            success: ended("success"),
            failed: ended("failed"),
            skipped: ended("skipped"),
            superseded: ended("superseded"),
            attempt_duration: self.attempt_duration.get_or_create_owned(&vec![label.clone()]),
            latency: self.latency.get_or_create_owned(&vec![label.clone()]),
        };
        (name, destination)
    }
}

/// A counter for each label of a list.
struct LabelCounters(Vec<(&'static str, Counter)>);

impl LabelCounters {
    fn new(words: &[&'static str], counter: impl Fn(&'static str) -> Counter) -> Self {
        Self(words.iter().map(|word| (*word, counter(word))).collect())
    }

    /// Counts the label, or the last one if it is not in the list.
    fn count(&self, word: &str) {
        let known = self.0.iter().find(|(known, _)| *known == word);
        if let Some((_, counter)) = known.or(self.0.last()) {
            counter.inc();
        }
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
        metrics.ended("notion", Ended::Superseded, 3);
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
        assert_eq!((n(Kind::Latency, Some(2_500)), n(Kind::Latency, Some(1_000))), (1, 0));
    }
}
