//! The series that are counted, with the lists of their labels, created and registered at the start.

use crate::telemetry::histogram::{Histogram, LATENCY_BOUNDS_MS};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

/// The label for unknown values; new values should be added to their list.
const OTHER: &str = "other";

/// The reasons for rejecting a webhook of any source. Each source has further checks.
const REJECTED: &[&str] = &[
    "event_refused",
    "body_too_large",
    "body_too_slow",
    "body_broken_off",
    "no_such_source",
    "wrong_path",
    OTHER,
];

/// The reasons for shedding a webhook; its sender retries.
const SHED: &[&str] = &["queue_full", "database_unavailable", OTHER];

/// The reasons for closing a connection.
const CONNECTION_ENDED: &[&str] = &["idle", "head_too_slow", "reader_too_slow", "not_closed", OTHER];

/// Where a panic was caught.
const PANICKED: &[&str] = &["handler", "delivery", "task", OTHER];

/// An attempt that ended with its worker.
pub(super) const CRASHED: &str = "crashed";

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
    "blocked",
    "interrupted",
    CRASHED,
    OTHER,
];

const BATCH_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256];
const ACK_BOUNDS_MS: &[u64] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000];
const ATTEMPT_BOUNDS_MS: &[u64] =
    &[50, 100, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000, 150_000];

/// All series of the service.
pub(super) struct Series {
    pub(super) registry: Registry,
    pub(super) started: Instant,
    pub(super) new: Counter,
    pub(super) duplicate: Counter,
    pub(super) fetched: Counter,
    pub(super) rejected: LabelCounters,
    pub(super) shed: LabelCounters,
    pub(super) acknowledged: Histogram,
    pub(super) batch: Histogram,
    pub(super) destinations: BTreeMap<String, Destination>,
    pub(super) rescued: Counter,
    pub(super) panics: LabelCounters,
    pub(super) connections: Gauge,
    pub(super) connections_ended: LabelCounters,
    /// The worker's last heartbeat, in milliseconds after `started`; 0 before the first one.
    pub(super) heartbeat_ms: AtomicU64,
}

/// The series of one destination.
pub(super) struct Destination {
    pub(super) attempts: LabelCounters,
    pub(super) success: Ends,
    pub(super) failed: Ends,
    pub(super) skipped: Ends,
    pub(super) superseded: Ends,
    pub(super) attempt_duration: Histogram,
    pub(super) latency: Histogram,
    pub(super) limit: Gauge,
}

impl Destination {
    /// The ends that repeated an earlier one.
    pub(super) fn repeated(&self) -> u64 {
        let all = [&self.success, &self.failed, &self.skipped, &self.superseded];
        all.into_iter().map(|ends| ends.repeated.get()).sum()
    }
}

/// The executions that ended in one state: each once as its first, and whenever a retry or replay ended like that
/// again.
pub(super) struct Ends {
    pub(super) first: Counter,
    pub(super) repeated: Counter,
}

type Labels = Vec<(&'static str, Cow<'static, str>)>;

impl Series {
    /// The series of these destinations, and of sources that reject webhooks by these checks.
    pub(super) fn new(
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
        let series = Self {
            started: Instant::now(),
            new: webhook("new", ""),
            duplicate: webhook("duplicate", ""),
            fetched: Counter::default(),
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
        series.registered(webhooks, ended, panics)
    }

    /// Registers the series without a destination.
    fn registered(
        mut self,
        webhooks: Family<Labels, Counter>,
        ended: Family<Labels, Counter>,
        panics: Family<Labels, Counter>,
    ) -> Self {
        let registry = &mut self.registry;
        registry.register("webhooks", "Requests to the webhook by outcome", webhooks);
        let help = "New events that were fetched from their sender's API";
        registry.register("events_fetched", help, self.fetched.clone());
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
    limit: Family<Labels, Gauge>,
}

impl Families {
    fn register(registry: &mut Registry) -> Self {
        let families = Self {
            attempts: Family::default(),
            executions: Family::default(),
            attempt_duration: Family::new_with_constructor(|| Histogram::of_durations(ATTEMPT_BOUNDS_MS)),
            latency: Family::new_with_constructor(|| Histogram::of_durations(LATENCY_BOUNDS_MS)),
            limit: Family::default(),
        };
        registry.register("attempts", "Delivery attempts by outcome", families.attempts.clone());
        registry.register(
            "executions",
            "Executions by final state, and whether they ended in it again after a retry or replay",
            families.executions.clone(),
        );
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
        registry.register(
            "concurrency_limit",
            "The most deliveries that this process runs at once; 0 before the first one",
            families.limit.clone(),
        );
        families
    }

    fn destination(&self, name: String) -> (String, Destination) {
        let label = ("destination", Cow::<'static, str>::Owned(name.clone()));
        let with = |key: &'static str, word: &'static str| vec![label.clone(), (key, Cow::Borrowed(word))];
        let ended = |word| {
            let counter = |repeated| {
                let mut labels = with("status", word);
                labels.push(("repeated", Cow::Borrowed(repeated)));
                self.executions.get_or_create_owned(&labels)
            };
            Ends { first: counter("false"), repeated: counter("true") }
        };
        let attempt = |word| self.attempts.get_or_create_owned(&with("outcome", word));
        let destination = Destination {
            attempts: LabelCounters::new(OUTCOMES, attempt),
            success: ended("success"),
            failed: ended("failed"),
            skipped: ended("skipped"),
            superseded: ended("superseded"),
            attempt_duration: self.attempt_duration.get_or_create_owned(&vec![label.clone()]),
            latency: self.latency.get_or_create_owned(&vec![label.clone()]),
            limit: self.limit.get_or_create_owned(&vec![label.clone()]),
        };
        (name, destination)
    }
}

/// A counter for each label of a list.
pub(super) struct LabelCounters(pub(super) Vec<(&'static str, Counter)>);

impl LabelCounters {
    fn new(words: &[&'static str], counter: impl Fn(&'static str) -> Counter) -> Self {
        Self(words.iter().map(|word| (*word, counter(word))).collect())
    }

    /// Counts the label, or the last one if it is not in the list.
    pub(super) fn count(&self, word: &str) {
        let known = self.0.iter().find(|(known, _)| *known == word);
        if let Some((_, counter)) = known.or(self.0.last()) {
            counter.inc();
        }
    }
}
