//! All planned events and the expected result. The plan follows from the seed.

use super::story::Writer;
use crate::Options;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Columns of a page and their expected values.
pub type Cells = BTreeMap<&'static str, String>;

/// An event, and its expected page.
#[derive(Debug)]
pub struct Event {
    /// The id.
    pub id: String,
    /// The body, which must be stored byte for byte.
    pub body: String,
    /// Its page in event mode.
    pub cells: Cells,
    /// Whether it contains the state of its object; a thin one does not.
    pub is_snapshot: bool,
}

/// One copy of an event, to be sent at its time to one of the replicas.
#[derive(Debug, Clone)]
pub struct Copy {
    pub(super) at: Duration,
    pub(super) replica: usize,
    pub(super) event: Arc<Event>,
}

/// All planned events and the expected result.
pub struct Plan {
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// For each object its page in object mode: its newest state.
    pub objects: BTreeMap<String, Cells>,
    /// The copies, in the order of sending.
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
