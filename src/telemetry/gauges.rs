//! Gauges, which are read at the time of a scrape: backlogs, and the connection pool.

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt::Error;

/// The gauges.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// The connections to the database.
    pub connections: Connections,
    /// Whether the database answers.
    pub is_database_up: bool,
    /// The backlog of each destination; `None` if the database did not answer in time.
    pub destinations: Option<Vec<DestinationGauges>>,
}

/// The connections of this process to its database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// In use.
    pub busy: u32,
    /// Open and unused.
    pub idle: u32,
    /// The largest number of connections.
    pub max: u32,
}

/// The backlog of one destination, for all replicas.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationGauges {
    /// The instance.
    pub name: String,
    /// Pending executions; counted up to a limit.
    pub pending: u64,
    /// The age of the oldest one in seconds; 0 if there is none.
    pub oldest_pending_seconds: f64,
    /// Whether it is paused.
    pub is_paused: bool,
}

impl Gauges {
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let Connections { busy, idle, max } = self.connections;
        family(
            encoder,
            "database_connections",
            "Open connections to the database",
            "state",
            [("busy", f64::from(busy)), ("idle", f64::from(idle))],
        )?;
        single(encoder, "database_connections_max", "The most connections to the database", f64::from(max))?;
        let is_up = f64::from(u8::from(self.is_database_up));
        single(encoder, "database_up", "Whether the database answers", is_up)?;
        let destinations = self.destinations.as_deref().unwrap_or_default();
        family(
            encoder,
            "pending_executions",
            "Pending executions, on all replicas; counted up to a limit",
            "destination",
            destinations.iter().map(|one| (one.name.as_str(), number(one.pending))),
        )?;
        family(
            encoder,
            "oldest_pending_seconds",
            "Age of the oldest pending execution",
            "destination",
            destinations.iter().map(|one| (one.name.as_str(), one.oldest_pending_seconds)),
        )?;
        family(
            encoder,
            "destination_paused",
            "1 if the destination is paused, otherwise 0",
            "destination",
            destinations.iter().map(|one| (one.name.as_str(), f64::from(u8::from(one.is_paused)))),
        )
    }
}

/// A gauge without labels.
pub(super) fn single(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: f64,
) -> Result<(), Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, &sentence(help), None, MetricType::Gauge)?)
}

/// A gauge for each value of a label; its descriptor is written even if there is none.
fn family<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    values: impl IntoIterator<Item = (&'a str, f64)>,
) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(name, &sentence(help), None, MetricType::Gauge)?;
    for (text, value) in values {
        ConstGauge::new(value).encode(metric.encode_family(&[(label, text)])?)?;
    }
    Ok(())
}

fn sentence(help: &str) -> String {
    format!("{help}.")
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
const fn number(count: u64) -> f64 {
    count as f64
}
