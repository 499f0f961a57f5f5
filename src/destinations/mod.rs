//! Where events go: a destination delivers one event and returns how that ended.
//!
//! A *kind* is code: a folder here and one line in [`KINDS`]. An *instance* is configuration: a name,
//! a kind, its settings and its filter. A destination knows its receiver and nothing of the database; what
//! it needs from the service around it comes with the [`DeliveryContext`].

pub mod check;
mod context;
mod kind;
pub mod notion;

pub use context::{DeliveryContext, Rate};
pub use kind::{Configure, Kind};

use crate::config::{self, InstanceName, Reader};
use crate::domain::delivery::{Failure, Outcome, Remote};
use crate::domain::destination_summary::DestinationSummary;
use crate::domain::preview::Preview;
use crate::domain::subscription::{Subscription, TypeVocabulary};
use crate::domain::summary::EventSummary;
use crate::domain::visible::quoted;
use async_trait::async_trait;
use bytes::Bytes;
use check::{CheckReport, Finding};
use chrono::NaiveDate;
use serde_json::Value;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The kinds that the program has.
pub const KINDS: &[Kind] = &[notion::KIND];

/// Delivers events. One call is one attempt: the worker decides about retries.
///
/// Only [`deliver`](Self::deliver) must be written. The defaults of the other methods suit a kind that
/// has nothing to check, to preview or to remove.
#[async_trait]
pub trait Destination: Send + Sync {
    /// The last day on which its token works, if that is known.
    fn token_expires(&self) -> Option<NaiveDate> {
        None
    }

    /// Makes one attempt to deliver.
    async fn deliver(&self, delivery: Delivery<'_>) -> Outcome;

    /// The rate that its calls keep to, if any.
    fn rate(&self) -> Option<&Rate> {
        None
    }

    /// Returns what [`deliver`](Self::deliver) would send now, and writes nothing. An error is the outcome
    /// that prevents the preview.
    async fn preview(&self, _delivery: Delivery<'_>) -> Result<Preview, Outcome> {
        Ok(Preview::nothing("this kind of destination has no preview"))
    }

    /// Returns whether the problem that paused the instance is solved, as far as reading can tell.
    /// `class` is the class of the failure that paused it.
    async fn probe(&self, _context: &dyn DeliveryContext, _class: &str) -> Probe {
        Probe::NeedsCanary
    }

    /// Checks everything that an operator may have to correct, and changes nothing.
    async fn check(&self, _context: &dyn DeliveryContext) -> CheckReport {
        CheckReport::default()
    }

    /// Adds at the destination what [`check`](Self::check) found to be missing, and returns the names.
    async fn provision(&self, _context: &dyn DeliveryContext) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    /// Writes a test entry as a delivery would, reads it back and removes it.
    async fn dry_run(&self, _context: &dyn DeliveryContext) -> Vec<Finding> {
        vec![Finding::note("this kind of destination has no write test")]
    }

    /// Removes what was delivered, so that a person can still restore it. It is no failure if that was
    /// removed before.
    async fn remove(&self, _remote: &Remote, _context: &dyn DeliveryContext) -> Result<(), Failure> {
        Err(Failure::local("not_removable", "this kind of destination cannot remove what it delivered"))
    }
}

/// What a worker asks a destination to deliver.
#[derive(Clone, Copy)]
pub struct Delivery<'a> {
    /// The sender's id of the event.
    pub event_id: &'a str,
    /// The summary of the event and of the state of its object.
    pub summary: &'a LazySummary<'a>,
    /// The event's body, byte for byte. A destination may forward it and never parses it.
    pub body: &'a Bytes,
    /// Set in object mode: the event then stands for the newest state of its object.
    pub object: Option<Object<'a>>,
    /// What an earlier delivery wrote. It is updated and never written a second time.
    pub remote: Option<&'a Remote>,
    /// How long ago a write of unknown outcome began. Look for it before you write again.
    pub in_doubt: Option<Duration>,
    /// The shortest time after a write of unknown outcome before another write, even if the first one has
    /// settled. It follows the schedule of retries.
    pub rewrite_after: Duration,
    /// Whether the attempts are used up: the destination may look for what was written and writes nothing.
    pub is_last: bool,
    /// When the worker asked for the lease of this delivery, by the steady clock of this machine. A write
    /// of unknown outcome is taken to have begun then.
    pub leased: Instant,
    /// What the destination may ask of the service.
    pub context: &'a dyn DeliveryContext,
}

/// A summary that is made when it is first read. To make one costs more than to forward an event.
pub struct LazySummary<'a> {
    made: OnceLock<EventSummary>,
    make: &'a (dyn Fn() -> EventSummary + Send + Sync),
}

impl<'a> LazySummary<'a> {
    /// The summary that `make` returns.
    pub const fn new(make: &'a (dyn Fn() -> EventSummary + Send + Sync)) -> Self {
        Self { made: OnceLock::new(), make }
    }
}

impl Deref for LazySummary<'_> {
    type Target = EventSummary;

    fn deref(&self) -> &EventSummary {
        self.made.get_or_init(self.make)
    }
}

/// An object whose newest state is to be written.
#[derive(Clone, Copy)]
pub struct Object<'a> {
    /// What was written of it last, as the destination returned it then.
    pub written: Option<&'a Value>,
    /// Whether to write everything, whatever was written last, because a person asked for it.
    pub is_asked_for: bool,
    /// Summarizes the other states of the object, some of which may have been written: those that wait, and
    /// the last ones. Each call reads their bodies, so call it only if the result is needed.
    pub others: &'a (dyn Fn() -> Vec<EventSummary> + Send + Sync),
}

/// The result of a probe of a paused instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It works.
    Works,
    /// Reading found no problem, but only a delivery can prove that it works.
    NeedsCanary,
    /// The operator still has to solve this problem.
    StillFails(Failure),
    /// The probe got no clear answer.
    Unclear,
}

/// A configured destination.
#[derive(Clone)]
pub struct Instance {
    /// Its name and the name of its kind.
    pub name: InstanceName,
    /// Its kind.
    pub kind: Kind,
    /// Which events it receives, under its name.
    pub subscription: Subscription,
    /// How it delivers.
    pub destination: Arc<dyn Destination>,
}

impl Instance {
    /// Its summary for the API, the dashboard and the commands.
    pub fn summary(&self) -> DestinationSummary {
        let rate = self.destination.rate();
        DestinationSummary {
            connection: rate.map(|rate| rate.connection.clone()),
            per_minute: rate.and_then(|rate| rate.per_minute),
            token_expires: self.destination.token_expires(),
            ..self.kind.summary(self.subscription.clone())
        }
    }
}

/// Reads the settings of all instances. The reader collects the problems. `types` are those of the sources.
pub fn configure(reader: &mut Reader<'_>, names: &[InstanceName], types: &TypeVocabulary) -> Vec<Instance> {
    configure_kinds(KINDS, reader, names, types)
}

/// Reads the settings of all instances, which are of these kinds.
pub fn configure_kinds(
    kinds: &[Kind],
    reader: &mut Reader<'_>,
    names: &[InstanceName],
    types: &TypeVocabulary,
) -> Vec<Instance> {
    names.iter().filter_map(|name| configure_one(kinds, reader, name, types)).collect()
}

/// The kind of this instance, if the program has it.
pub fn kind_of(name: &InstanceName) -> Option<Kind> {
    KINDS.iter().copied().find(|kind| kind.name == name.kind)
}

fn configure_one(
    kinds: &[Kind],
    reader: &mut Reader<'_>,
    name: &InstanceName,
    types: &TypeVocabulary,
) -> Option<Instance> {
    let subscription = config::subscription(reader, name, types);
    let Some(kind) = kinds.iter().copied().find(|kind| kind.name == name.kind) else {
        let known: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
        reader.problem(
            "DESTINATIONS",
            format!(
                "{} is not a kind of destination; the kinds are: {}",
                quoted(&name.kind),
                known.join(", ")
            ),
        );
        return None;
    };
    let destination = (kind.configure)(reader, name)?;
    Some(Instance { name: name.clone(), kind, subscription, destination })
}
