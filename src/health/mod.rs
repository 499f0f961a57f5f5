//! One health assessment for the dashboard, the API, the `status` command and alerts.
//!
//! [`Snapshot`] reads plain facts from the store, [`Thresholds`] hold the configured limits, and the pure
//! function [`assess`] compares the two. `app` hands the same thresholds to everyone. Nothing here does HTTP.

mod assess;
mod endpoint;
mod estimate;
mod finding;
mod old_snapshot;
mod pattern;
mod resends;
mod silence;
mod snapshot;
mod thresholds;
mod token_expiry;
mod unanswered;

pub use assess::{Assessment, assess, database_remedy, database_unavailable};
pub use endpoint::{EndpointWords, endpoint_words};
pub use estimate::{OF_LATE, clears_in, throughput};
pub use finding::{Finding, FindingKind, Level, Notice, Part, Sentence, UnknownMatter, Urgency};
pub use old_snapshot::OldSnapshot;
pub use snapshot::{
    Arrivals, Destination, DestinationBacklog, Failures, HealthStore, OpenFailure, OpenFailures,
    PartialSnapshot, Pause, Scope, Snapshot, has_worker,
};
pub use thresholds::{AlertRules, Thresholds, thresholds};
