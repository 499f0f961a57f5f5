//! What came in: events with their bodies, the index to search them by, and rejected requests.

mod indexing;
mod intake;
mod list;
mod payloads;
mod rejections;
mod search;

pub use indexing::{Indexed, Unindexed};
pub use intake::Intake;
pub use list::{EventFilter, EventRow};
pub use payloads::SignedPayload;
pub(in crate::store) use payloads::stored_event;
pub use rejections::REJECTIONS_KEPT;
pub use search::FoundEvent;
