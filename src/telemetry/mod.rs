//! What the service tells of itself while it runs: its log, and what it counts and measures.

mod faults;
mod gauges;
mod histogram;
mod log;
mod log_throttle;
mod metrics;

pub use faults::{Overseer, contained, log_panics};
pub use gauges::{Connections, DestinationGauges, Gauges};
pub use histogram::{Histogram, LATENCY_BOUNDS_MS, quantile_ms};
pub use log::{DEFAULT_FILTER, LogFormat, init};
pub use metrics::{CONTENT_TYPE, Count, Ended, Kind, Metrics, OpenConnection, Panicked, Webhook};
pub use log_throttle::LogThrottle;
