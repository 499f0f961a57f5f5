//! All that will be sent, and what must come of it. It follows from the seed.

use super::story::Writer;
use crate::Options;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Columns of a page and what must stand in them.
pub type Cells = BTreeMap<&'static str, String>;

/// An event, and what its page must show.
#[derive(Debug)]
pub struct Event {
    /// The id.
    pub id: String,
    /// The body, which must be kept byte for byte.
    pub body: String,
    /// What its page shows in event mode.
    pub cells: Cells,
    /// Whether it says what its object looks like; a thin one does not.
    pub is_snapshot: bool,
}

/// One copy of an event, to be sent at its time to one of the replicas.
#[derive(Debug, Clone)]
pub struct Copy {
    pub(super) at: Duration,
    pub(super) replica: usize,
    pub(super) event: Arc<Event>,
}

/// All that will be sent, and what must come of it.
pub struct Plan {
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// For each object what its page shows in object mode: its newest state.
    pub objects: BTreeMap<String, Cells>,
    /// The copies, in the order in which they are sent.
    pub copies: Vec<Copy>,
    pub(super) seed: u64,
}

impl Plan {
    /// Plans a run.
    pub fn new(options: &Options) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "an hour has few seconds")]
        let count = (options.events_per_second() * options.seconds() as f64).max(1.0);
        let mut writer = Writer::new(options);
        #[expect(clippy::cast_precision_loss, reason = "the events fit into memory")]
        while (writer.plan.events.len() as f64) < count {
            writer.story();
        }
        let mut plan = writer.plan;
        plan.copies.sort_by_key(|copy| copy.at);
        plan
    }
}
