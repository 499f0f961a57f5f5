//! Observability: the log, metrics, and the supervision of tasks.

mod gauges;
mod histogram;
mod log;
mod log_throttle;
mod metrics;
mod supervisor;

pub use gauges::{Connections, DestinationGauges, Gauges};
pub use histogram::{Histogram, LATENCY_BOUNDS_MS, quantile_ms};
pub use log::{DEFAULT_FILTER, LogFormat, MakeVisible, init};
pub use log_throttle::LogThrottle;
pub use metrics::{CONTENT_TYPE, Count, Ended, Kind, Metrics, OpenConnection, Panicked, Webhook};
pub use supervisor::{Supervisor, catch_panic, log_panics};
