//! The worker: claims executions that are due, delivers them, and records how that ended. It also fills the
//! index by which events are found.
//!
//! ```text
//! store ── claim ──> pool ── execution ──> delivery ── completion ──> completer ── complete ──> store
//! ```
//!
//! | what | files |
//! |---|---|
//! | when to claim, for whom, how many | `schedule` with `instances`, `circuit_breaker`, `slot_quota`: pure |
//! | how many executions of an instance may run at once | `concurrency`: pure |
//! | claims and slots | `pool` |
//! | one attempt | `delivery`, `delivery_context`, `lane_plan` (which state of an object to write) |
//! | what happens to an execution after it | `completion` and `backoff`: pure; `completer` records it |
//! | leases | `heartbeat` (of this process, and the rescue from dead ones), `lease_registry` |
//! | what keeps destinations from being called | `destination_pause` (all replicas), `rate_limit_backoff` (a connection) |
//! | previews and the index | `preview`, `indexer` |
//!
//! No connection to the database is held while a destination is called.

mod backoff;
mod circuit_breaker;
mod completer;
mod completion;
mod concurrency;
mod delivery;
mod delivery_context;
mod destination_map;
mod destination_pause;
mod heartbeat;
mod indexer;
mod instances;
mod lane_history;
mod lane_plan;
mod lease_registry;
mod pool;
mod preview;
mod rate_limit_backoff;
mod schedule;
mod slot_quota;
mod store_parts;

pub use backoff::wait_before;
pub use completion::conclude;
pub use indexer::index;
pub use lane_history::{LaneHistoryStore, remove_old_lane_runs};
pub use pool::{WorkerSettings, run};
pub use preview::Previewer;
pub use store_parts::WorkerStore;
