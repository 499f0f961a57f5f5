//! Domain types and their rules: events, executions, deliveries, money.
//!
//! Nothing here does I/O, reads a clock or knows HTTP, SQL, a source or a destination.

pub mod audit;
pub mod backing_off;
pub mod delivery;
pub mod destination_summary;
pub mod endpoint;
pub mod event;
pub mod execution;
pub mod failure;
pub mod finding;
pub mod humanize;
pub mod lane;
pub mod local;
pub mod mention;
pub mod money;
pub mod parse_time;
pub mod preview;
pub mod quantity;
pub mod rejection;
pub mod search;
pub mod source;
pub mod story;
pub mod subscription;
pub mod summary;
pub mod task;
pub mod unanswered;
pub mod visible;
pub mod waiting;
pub mod wall_clock;
