//! Where events come from. A source verifies a request and reads an event from it, and later reads the
//! stored event for those who deliver, index and show it.
//!
//! A *kind* is code: a folder here and one line in [`KINDS`]. An *instance* is configuration: a name and
//! a kind in `SOURCES`, and its settings. A source knows its sender's JSON and nothing of destinations,
//! HTTP routes or the database.

mod registry;
pub mod stripe;

pub use registry::Registry;

use crate::config::{InstanceName, Reader};
use crate::domain::event::{EventFacts, NewEvent, StoredEvent};
use crate::domain::finding::Finding;
use crate::domain::rejection::{Diagnosis, Kept, RejectionSample};
use crate::domain::search::IndexEntry;
use crate::domain::source::Origin;
use crate::domain::subscription::{Preset, Spelling};
use crate::domain::summary::EventSummary;
use axum::http::HeaderMap;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use std::borrow::Cow;
use std::sync::Arc;

/// The kinds that there are.
pub const KINDS: &[Kind] = &[stripe::KIND];

/// A kind of source: how its instances are configured, and what holds for all of them.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The name in `SOURCES`.
    pub name: &'static str,
    /// What people call the sender.
    pub sender: &'static str,
    /// Reads an instance's own settings. Anything wrong is noted in the reader.
    pub configure: Configure,
    /// The settings that an instance cannot do without, by the part of their names after the
    /// instance's, each with where it comes from. Each may come from a file.
    pub secrets: &'static [(&'static str, &'static str)],
    /// What to do at the sender so that it sends here; the address follows.
    pub set_up: &'static str,
    /// The checks by which it rejects requests. Metrics count each under its own word.
    pub checks: &'static [&'static str],
    /// Lists of types that have a name in filters.
    pub presets: &'static [Preset],
    /// Whether a text has the form of a person's id at the sender, by which `forget` finds their events.
    pub is_person_id: fn(&str) -> bool,
    /// Examples of such ids, for people: `cus_…`. Empty if the sender has none.
    pub person_ids: &'static str,
    /// Another spelling under which filters match a type as well.
    pub spelling: Option<Spelling>,
}

/// Reads an instance's own settings and makes the source. A source without its secret verifies nothing
/// and still reads what is stored.
pub type Configure = fn(&mut Reader<'_>, &InstanceName) -> Arc<dyn Source>;

impl Kind {
    /// A kind that has nothing but this.
    pub const fn new(name: &'static str, sender: &'static str, configure: Configure) -> Self {
        Self {
            name,
            sender,
            configure,
            secrets: &[],
            set_up: "",
            checks: &[],
            presets: &[],
            is_person_id: |_text| false,
            person_ids: "",
            spelling: None,
        }
    }
}

/// Reads what one sender sends. No I/O: requests and stored events go in, values come out.
pub trait Source: Send + Sync {
    /// The instance's name: its events bear it and the webhook's path ends with it.
    fn name(&self) -> &str;

    /// Verifies a request, then reads the event from it.
    fn receive(&self, headers: &HeaderMap, body: Bytes, now: DateTime<Utc>) -> Result<NewEvent, Rejection>;

    /// What a stored event says. By default what its stored columns say.
    fn summarize(&self, event: &StoredEvent) -> EventSummary {
        EventSummary::from_envelope(event)
    }

    /// The place of the newest of several states of one object; `None` if none of them can be read. All
    /// events carry a state. The result must not depend on their order.
    ///
    /// By default the event that happened last by the sender's clock, and among several the last received.
    fn newest(&self, events: &[&StoredEvent]) -> Option<usize> {
        let age = |event: &StoredEvent| (event.facts.created, event.received_at, event.key);
        events.iter().enumerate().max_by_key(|(_, event)| age(event)).map(|(place, _)| place)
    }

    /// The words under which an event is found, and what it says about money.
    fn index_entry(&self, facts: &EventFacts, _body: &[u8]) -> IndexEntry {
        IndexEntry::from_facts(facts)
    }

    /// Notes why a request was rejected. The result holds nothing that a customer wrote.
    fn sample(&self, headers: &HeaderMap, body: &[u8], rejection: &Rejection) -> RejectionSample {
        RejectionSample::new(self.name(), rejection.check, names_of(headers), body)
    }

    /// The causes of these rejected requests to this instance, in any order. `accepted_at` is when the
    /// newest event was accepted.
    fn diagnose(&self, _rejections: &[Kept], _accepted_at: Option<DateTime<Utc>>) -> Vec<Diagnosis> {
        Vec::new()
    }

    /// What strikes about its settings, for the command `doctor`.
    fn check(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// The page of an event at its sender.
    fn event_link(&self, _event_id: &str, _origin: Origin<'_>) -> Option<String> {
        None
    }

    /// The page of an object at its sender.
    fn object_link(&self, _object_id: &str, _origin: Origin<'_>) -> Option<String> {
        None
    }
}

/// Why a request is no event. It may be shown to the sender: it holds no secret and no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Rejection {
    /// The check that failed: one of its kind's [`checks`](Kind::checks).
    pub check: &'static str,
    /// What was wrong and what to do.
    pub detail: Cow<'static, str>,
}

/// The names of a request's headers, sorted and bounded.
fn names_of(headers: &HeaderMap) -> Vec<String> {
    const HEADERS_MAX: usize = 60;
    const NAME_BYTES_MAX: usize = 64;
    let names = headers.keys().map(axum::http::HeaderName::as_str);
    let mut names: Vec<_> = names.filter(|name| name.len() <= NAME_BYTES_MAX).map(str::to_owned).collect();
    names.sort_unstable();
    names.truncate(HEADERS_MAX);
    names
}
