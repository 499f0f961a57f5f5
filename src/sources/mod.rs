//! Where events come from. A source verifies a request and reads an event from it, and later reads the
//! stored event for those who deliver, index and show it.
//!
//! A source knows its sender's JSON and nothing of destinations, HTTP routes or the database.

pub mod stripe;

use crate::domain::event::{EventFacts, NewEvent, StoredEvent};
use crate::domain::rejection::Sighting;
use crate::domain::search::IndexEntry;
use crate::domain::summary::EventSummary;
use axum::http::HeaderMap;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use std::borrow::Cow;
use std::sync::Arc;

/// Reads what one sender sends. No I/O: requests and stored events go in, values come out.
pub trait Source: Send + Sync {
    /// The name that its events bear and that ends the webhook's path.
    fn name(&self) -> &'static str;

    /// Verifies a request, then reads the event from it.
    fn receive(&self, headers: &HeaderMap, body: Bytes, now: DateTime<Utc>) -> Result<NewEvent, Rejection>;

    /// Notes why a request was rejected. The result holds nothing that a customer wrote.
    fn sight(&self, headers: &HeaderMap, body: &[u8], rejection: &Rejection) -> Sighting;

    /// What a stored event says. By default what its stored columns say.
    fn summarize(&self, event: &StoredEvent) -> EventSummary {
        EventSummary::from_envelope(event)
    }

    /// Whether an event carries the state of its object, so that it can bring the object up to date.
    fn carries_state(&self, _event: &StoredEvent) -> bool {
        false
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
}

/// Why a request is no event. It may be shown to the sender: it holds no secret and no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Rejection {
    /// The check that failed, as a stable word.
    pub check: &'static str,
    /// What was wrong and what to do.
    pub detail: Cow<'static, str>,
}

/// The sources that this process serves. An event whose source is not among them is read by its stored
/// columns alone.
#[derive(Clone, Default)]
pub struct Registry(Arc<[Arc<dyn Source>]>);

impl Registry {
    /// A registry of these sources.
    pub fn new(sources: Vec<Arc<dyn Source>>) -> Self {
        Self(sources.into())
    }

    /// The source of this name.
    pub fn get(&self, name: &str) -> Option<&dyn Source> {
        self.0.iter().find(|source| source.name() == name).map(AsRef::as_ref)
    }

    /// What a stored event says.
    pub fn summarize(&self, event: &StoredEvent) -> EventSummary {
        match self.get(&event.source) {
            Some(source) => source.summarize(event),
            None => EventSummary::from_envelope(event),
        }
    }

    /// The search index's entry of an event of this source.
    pub fn index_entry(&self, source: &str, facts: &EventFacts, body: &[u8]) -> IndexEntry {
        match self.get(source) {
            Some(source) => source.index_entry(facts, body),
            None => IndexEntry::from_facts(facts),
        }
    }
}
