//! Where events go: a destination delivers one event and says how that ended.
//!
//! A *kind* is code: a folder here and one line in [`KINDS`]. An *instance* is configuration: a name,
//! a kind, its settings and its filter.

pub mod check;
pub mod notion;

use crate::config::{self, InstanceName, Reader};
use crate::domain::delivery::{Failure, Outcome, Remote, Trouble};
use crate::domain::event::StoredEvent;
use crate::domain::preview::Preview;
use crate::domain::subscription::Subscription;
use async_trait::async_trait;
use check::{CheckReport, Finding};
use serde_json::Value;
use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a worker asks of a destination.
#[derive(Clone, Copy)]
pub struct Delivery<'a> {
    /// The event.
    pub event: &'a StoredEvent,
    /// In object mode: the event stands for the newest state of its object.
    pub object: Option<Object<'a>>,
    /// What an earlier delivery of it wrote: it is to be updated, never written a second time.
    pub remote: Option<&'a Remote>,
    /// How long ago a write of unknown outcome began: look for it before writing again.
    pub in_doubt: Option<Duration>,
    /// How long after a write of unknown outcome another one may be tried at the earliest, though
    /// the first be settled: the schedule of retries.
    pub rewrite_after: Duration,
    /// Whether the attempts are used up: what was written may be looked for, and nothing more.
    pub is_last: bool,
    /// When the lease under which this runs was asked for, by this machine's steady clock. A write
    /// whose outcome stays unknown is taken to have begun about then.
    pub leased: Instant,
    /// What the destination may ask of the service around it.
    pub context: &'a dyn DeliveryContext,
}

/// An object whose newest state is to be shown.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    /// What was written of it last, as the destination handed it over then.
    pub written: Option<&'a Value>,
    /// Whether all of it is to be written, whatever was written last: a person asks for it.
    pub is_asked_for: bool,
    /// Other states of the object, of which some may have been written: what waits, and the last ones.
    pub others: &'a [StoredEvent],
}

/// Whether an object's pages may be looked for. Several objects can bear one id; as long as the verdict
/// on one of them is out, nobody can tell whose a page is that nothing is known of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// They may.
    Begun {
        /// How long ago the last write of unknown outcome of another object of this id began, where
        /// there is one.
        in_doubt: Option<Duration>,
    },
    /// Not now: another object of this id is at it.
    NotYet,
}

/// What the service does for a destination: it remembers, and it keeps the rate of a connection.
#[async_trait]
pub trait DeliveryContext: Send + Sync {
    /// What the instance remembered last, in this run or an earlier one, here or at a replica: a
    /// hint, never a truth. Nothing where it cannot be read.
    async fn recall(&self) -> Option<Value>;

    /// Remembers this instead; where that fails, it is as if it had not been asked for.
    async fn remember(&self, memory: &Value);

    /// Whether the lease under which this runs holds for certain. A process that stood still may
    /// have lost it, and must not write any more: another one may be at it.
    fn lease_holds(&self) -> bool;

    /// Says that the pages of an object's id are looked for now, and one made where there is none: one
    /// object of that id does so at a time, until its verdict is recorded. An error where nobody knows.
    async fn begin_look(&self, object_id: &str) -> Result<Look, Failure>;

    /// Those of these places that the instance filled for another object than the one that is delivered.
    /// An error where nobody knows: then none of them is to be touched.
    async fn of_other_objects(&self, remote_ids: &[String]) -> Result<HashSet<String>, Failure>;

    /// Waits for the connection's next slot, or where it has no rate for the end of a pause that the
    /// other side asked for. Where that is not to come soon, no slot is taken and the time until one
    /// may be had is the error.
    async fn slot(&self, rate: &Rate) -> Result<(), Duration>;

    /// Leaves the connection alone for a while, on all replicas.
    async fn block(&self, rate: &Rate, wait: Duration);
}

/// How often a connection may be used. Instances that share the connection share the rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// Names the connection without telling its token.
    pub connection: String,
    /// Calls in a minute, evenly spaced; none where there is no limit.
    pub per_minute: Option<NonZeroU32>,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It works.
    Works,
    /// As far as reading tells it works; what it is held for shows in a delivery alone.
    TryOne,
    /// It is still for the operator to mend.
    Held(Trouble),
    /// Nobody can say now.
    Unclear,
}

/// Delivers events. It does no retries of its own beyond what belongs to one try.
#[async_trait]
pub trait Destination: Send + Sync {
    /// The rate that its calls keep to, where they keep to one.
    fn rate(&self) -> Option<&Rate> {
        None
    }

    /// Tries once.
    async fn deliver(&self, delivery: Delivery<'_>) -> Outcome;

    /// What [`deliver`](Self::deliver) would send now. Nothing is written; an `Err` is what keeps one
    /// from telling.
    async fn preview(&self, delivery: Delivery<'_>) -> Result<Preview, Outcome>;

    /// Whether what only the operator could mend is mended; `held_class` is the class of the failure
    /// that it is held for.
    async fn probe(&self, context: &dyn DeliveryContext, held_class: &str) -> Probe;

    /// Looks at everything that a person may have to mend, and says how; changes nothing.
    async fn check(&self, context: &dyn DeliveryContext) -> CheckReport;

    /// Adds at the destination what [`check`](Self::check) found to be missing, and names it.
    async fn provision(&self, context: &dyn DeliveryContext) -> Result<Vec<String>, Failure>;

    /// Writes something as a delivery would, reads it back and takes it away again.
    async fn dry_run(&self, context: &dyn DeliveryContext) -> Vec<Finding>;

    /// Takes away what was delivered, so that a person can still take it back. What is gone already
    /// is no failure.
    async fn remove(&self, remote: &Remote, context: &dyn DeliveryContext) -> Result<(), Failure>;
}

/// A configured destination.
#[derive(Clone)]
pub struct Instance {
    /// What it wants, under its name.
    pub subscription: Subscription,
    /// How it delivers.
    pub destination: Arc<dyn Destination>,
}

/// Reads an instance's own section of the settings; nothing where it cannot be used, which is noted.
pub type Configure = fn(&mut Reader<'_>, &InstanceName) -> Option<Arc<dyn Destination>>;

/// A kind: its name in `DESTINATIONS`, and who reads the settings of an instance.
pub type Kind = (&'static str, Configure);

/// The kinds that there are.
pub const KINDS: &[Kind] = &[("notion", notion::configure)];

/// Reads the settings of all instances; whatever is wrong is noted in the reader.
pub fn configure(reader: &mut Reader<'_>, names: &[InstanceName]) -> Vec<Instance> {
    configure_kinds(KINDS, reader, names)
}

/// The same with other kinds than the program's own.
pub fn configure_kinds(kinds: &[Kind], reader: &mut Reader<'_>, names: &[InstanceName]) -> Vec<Instance> {
    names.iter().filter_map(|name| configure_one(kinds, reader, name)).collect()
}

fn configure_one(kinds: &[Kind], reader: &mut Reader<'_>, name: &InstanceName) -> Option<Instance> {
    let subscription = config::subscription(reader, name);
    let Some((_, configure)) = kinds.iter().find(|(kind, _)| *kind == name.kind) else {
        let known: Vec<_> = kinds.iter().map(|(kind, _)| *kind).collect();
        reader.problem(
            "DESTINATIONS",
            format!("{:?} is no kind of destination; the kinds are: {}", name.kind, known.join(", ")),
        );
        return None;
    };
    let destination = configure(reader, name)?;
    Some(Instance { subscription, destination })
}
