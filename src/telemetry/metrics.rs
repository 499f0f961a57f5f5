//! What the service counts, for Prometheus and for the statistics alike.
//!
//! Every series is made at the start: its labels are destination names and words of our own, never
//! anything that came in. Counting is an addition to an atomic number; nothing is locked and nothing
//! is allocated.

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

/// The format in which [`Metrics::render`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whatever is not among the words known; a new one belongs into its list.
const OTHER: &str = "other";

/// Why a webhook is rejected, whatever its source. Each source has checks of its own.
const REJECTED: &[&str] =
    &["event_refused", "body_too_large", "body_too_slow", "body_broken_off", "no_such_source", OTHER];

/// Why a webhook is shed; its sender retries.
const SHED: &[&str] = &["queue_full", "database_away", OTHER];

/// Why the listener ends a connection.
const CONNECTION_ENDED: &[&str] = &["idle", "head_too_slow", "reader_too_slow", "sent_on", OTHER];

/// What a fault of ours broke.
const PANICKED: &[&str] = &["handler", "delivery", "task", OTHER];

/// A try whose worker died with it.
const CRASHED: &str = "crashed";

/// How a try to deliver can end.
const OUTCOMES: &[&str] = &[
    "delivered",
    "skipped",
    "permanent",
    "gone",
    "transient",
    "throttled",
    "ambiguous",
    "unsettled",
    "needs_operator",
    "interrupted",
    CRASHED,
    OTHER,
];

const BATCH_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256];
const ACK_BOUNDS_MS: &[u64] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000];
const TRY_BOUNDS_MS: &[u64] = &[50, 100, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000, 150_000];

/// What became of a request to the webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Webhook {
    /// Stored, and not there before.
    New,
    /// Stored earlier.
    Duplicate,
    /// It will never be taken, for this reason.
    Rejected(&'static str),
    /// It may come again, for this reason.
    Shed(&'static str),
}

/// What a fault of ours broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Panicked {
    /// The answer to a request.
    Handler,
    /// A try to deliver.
    Delivery,
    /// A task in the background.
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

/// How an execution came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// Delivered.
    Success,
    /// Given up.
    Failed,
    /// Declined by the destination.
    Skipped,
    /// A newer state of its object was delivered.
    Superseded,
}

/// What a number of the statistics counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Events that were new.
    Received,
    /// Webhooks whose event was there before.
    Duplicate,
    /// Webhooks that were rejected, by reason.
    Rejected,
    /// Webhooks that may come again, by reason.
    Shed,
    /// Executions delivered, by destination.
    Delivered,
    /// Executions given up, by destination.
    Failed,
    /// Executions declined, by destination.
    Skipped,
    /// Executions that a newer state stood for, by destination.
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
            Self::Shed => "turned_away",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Superseded => "superseded",
            Self::Latency => "latency",
        }
    }
}

/// One number of the statistics: so many since the process began.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// What is counted.
    pub kind: Kind,
    /// The reason or the destination; empty where there is neither.
    pub name: Cow<'static, str>,
    /// The upper bound in milliseconds, for [`Kind::Latency`]; none above the last one.
    pub le_ms: Option<u64>,
    /// So many.
    pub n: u64,
}

/// Where everything is counted. Cheap to clone: clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    began: Instant,
    new: Counter,
    duplicate: Counter,
    rejected: Words,
    shed: Words,
    acknowledged: Histogram,
    batch: Histogram,
    destinations: BTreeMap<String, Destination>,
    rescued: Counter,
    panics: Words,
    connections: Gauge,
    connections_ended: Words,
    /// Milliseconds after `began`, of the worker's last beat; 0 while there was none.
    beat_ms: AtomicU64,
}

struct Destination {
    attempts: Words,
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
            began: Instant::now(),
            new: webhook("new", ""),
            duplicate: webhook("duplicate", ""),
            rejected: Words::new(&rejected, |reason| webhook("rejected", reason)),
            shed: Words::new(SHED, |reason| webhook("turned_away", reason)),
            acknowledged: Histogram::of_durations(ACK_BOUNDS_MS),
            batch: Histogram::of_numbers(BATCH_BOUNDS),
            destinations: destinations.into_iter().map(|name| families.destination(name.into())).collect(),
            rescued: Counter::default(),
            panics: Words::new(PANICKED, panicked),
            connections: Gauge::default(),
            connections_ended: Words::new(CONNECTION_ENDED, connection_ended),
            beat_ms: AtomicU64::new(0),
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

    /// Counts how long a sender waited for its 200.
    pub fn acknowledged(&self, waited: Duration) {
        self.0.acknowledged.time(waited);
    }

    /// Counts the events of one transaction.
    pub fn batch(&self, events: usize) {
        self.0.batch.count(u64::try_from(events).unwrap_or(u64::MAX));
    }

    /// Counts a try to deliver and how long it took.
    pub fn attempt(&self, destination: &str, outcome: &str, took: Duration) {
        if let Some(destination) = self.0.destinations.get(destination) {
            destination.attempts.count(outcome);
            destination.attempt_duration.time(took);
        }
    }

    /// Counts a try that ended with its worker: how long it took, nobody knows.
    pub fn crashed(&self, destination: &str) {
        if let Some(destination) = self.0.destinations.get(destination) {
            destination.attempts.count(CRASHED);
        }
    }

    /// Counts executions that came to an end.
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

    /// Counts how long an event took from its receipt to its page.
    pub fn page_after(&self, destination: &str, latency: Duration) {
        if let Some(destination) = self.0.destinations.get(destination) {
            destination.latency.time(latency);
        }
    }

    /// Counts executions that were freed from a worker that is gone.
    pub fn rescued(&self, executions: usize) {
        self.0.rescued.inc_by(u64::try_from(executions).unwrap_or(u64::MAX));
    }

    /// Counts a fault of ours that was caught.
    pub fn panicked(&self, which: Panicked) {
        self.0.panics.count(which.as_str());
    }

    /// Counts a connection as open until what this returns is dropped.
    pub fn connection(&self) -> OpenConnection {
        self.0.connections.inc();
        OpenConnection(self.0.connections.clone())
    }

    /// Counts a connection that the listener ended.
    pub fn connection_ended(&self, why: &str) {
        self.0.connections_ended.count(why);
    }

    /// Says that the worker of this process has told the database that it lives.
    pub fn beat(&self) {
        let now = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.beat_ms.store(now.max(1), Ordering::Relaxed);
    }

    /// How long ago the worker of this process has beaten; nothing where it never has.
    pub fn since_beat(&self) -> Option<Duration> {
        match self.0.beat_ms.load(Ordering::Relaxed) {
            0 => None,
            beat_ms => Some(self.0.began.elapsed().saturating_sub(Duration::from_millis(beat_ms))),
        }
    }

    /// All of it in the OpenMetrics text format, together with what was seen just now.
    pub fn render(&self, gauges: &Gauges) -> Result<String, fmt::Error> {
        let mut now = Registry::with_prefix("eventbridge");
        now.register_collector(Box::new(Now { gauges: gauges.clone(), since_beat: self.since_beat() }));
        let mut text = String::new();
        text::encode_registry(&mut text, &self.0.registry)?;
        text::encode_registry(&mut text, &now)?;
        text::encode_eof(&mut text)?;
        Ok(text)
    }

    /// What the statistics keep, as counted since the process began; in a fixed order.
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
    /// Registers what has no destination.
    fn registered(
        mut self,
        webhooks: Family<Labels, Counter>,
        ended: Family<Labels, Counter>,
        panics: Family<Labels, Counter>,
    ) -> Self {
        let registry = &mut self.registry;
        registry.register("webhooks", "Requests to the webhook by what became of them", webhooks);
        registry.register_with_unit(
            "acknowledgement",
            "From the request to the answer 200, which comes after the commit",
            Unit::Seconds,
            self.acknowledged.clone(),
        );
        registry.register("batch_events", "Events that one transaction wrote", self.batch.clone());
        registry.register("rescued_executions", "Executions freed from lost workers", self.rescued.clone());
        registry.register("connections", "Connections that are open", self.connections.clone());
        registry.register("connections_ended", "Connections that the listener ended, by why", ended);
        registry.register("panics", "Faults of ours that were caught, by what they broke", panics);
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The program that runs", Info::new(version));
        self
    }
}

/// What there is once for each destination.
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
            attempt_duration: Family::new_with_constructor(|| Histogram::of_durations(TRY_BOUNDS_MS)),
            latency: Family::new_with_constructor(|| Histogram::of_durations(LATENCY_BOUNDS_MS)),
        };
        registry.register("attempts", "Tries to deliver by how they ended", families.attempts.clone());
        registry.register("executions", "Executions by how they ended", families.executions.clone());
        registry.register_with_unit(
            "attempt_duration",
            "How long a try to deliver took",
            Unit::Seconds,
            families.attempt_duration.clone(),
        );
        registry.register_with_unit(
            "receipt_to_page",
            "From the receipt of an event to the record of its first delivery",
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
            attempts: Words::new(OUTCOMES, attempt),
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

/// A counter for each word of a list.
struct Words(Vec<(&'static str, Counter)>);

impl Words {
    fn new(words: &[&'static str], counter: impl Fn(&'static str) -> Counter) -> Self {
        Self(words.iter().map(|word| (*word, counter(word))).collect())
    }

    /// Counts the word, or as another one where it is not on the list.
    fn count(&self, word: &str) {
        let known = self.0.iter().find(|(known, _)| *known == word);
        if let Some((_, counter)) = known.or(self.0.last()) {
            counter.inc();
        }
    }
}

/// What is seen at the moment of a scrape.
#[derive(Debug)]
struct Now {
    gauges: Gauges,
    since_beat: Option<Duration>,
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(age) = self.since_beat {
            let help = "How long ago the worker of this process told the database that it lives";
            gauges::single(&mut encoder, "worker_beat_age_seconds", help, age.as_secs_f64())?;
        }
        self.gauges.encode(&mut encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_word_is_counted_as_another_and_an_unknown_destination_not_at_all() {
        let metrics = Metrics::new(["notion"]);
        metrics.webhook(Webhook::Rejected("what somebody sent"));
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
        assert!(!text.contains("elsewhere") && !text.contains("somebody"), "{text}");
    }

    #[test]
    fn the_beat_is_told_once_there_was_one() {
        let metrics = Metrics::new(["notion"]);
        assert!(metrics.since_beat().is_none());
        metrics.beat();
        assert!(metrics.since_beat().expect("a beat") < Duration::from_secs(5));
    }

    #[test]
    fn the_statistics_see_what_the_scrape_sees() {
        let metrics = Metrics::new(["notion"]);
        metrics.webhook(Webhook::New);
        metrics.ended("notion", Ended::Superseded, 3);
        metrics.page_after("notion", Duration::from_secs(2));
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
