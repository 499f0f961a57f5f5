//! What is changed beside the queue: by operators, by retention and by other work in the background.

mod alerts;
mod bulk_operations;
mod chores;
mod erasure;
mod interventions;
mod retention;

pub use alerts::{Condition, ToTell};
pub use bulk_operations::{Counts, Replayed, Retried};
pub use erasure::{Forgotten, Named, Person, WrittenPage};
pub use interventions::{Answered, Cancelled};
pub use retention::{Cutoff, Removal, RemovedPayload, SWEPT_AT_ONCE, Swept};
