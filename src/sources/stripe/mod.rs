//! Stripe: verifies the signature first and reads the event after that; knows Stripe's objects, their
//! states and links.

mod envelope;
mod event_type;
mod forensics;
mod links;
mod object;
pub mod ordering;
mod search_terms;
mod signature;
mod summary;

pub use signature::{HEADER, TOLERANCE_SECONDS, sign};
pub use summary::summarize;

use crate::config::NamedSecret;
use crate::domain::event::{EventFacts, NewEvent, StoredEvent};
use crate::domain::rejection::Sighting;
use crate::domain::search::IndexEntry;
use crate::domain::summary::EventSummary;
use crate::sources::{Rejection, Source};
use axum::http::HeaderMap;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use signature::Verifier;

/// The name of this source.
pub const NAME: &str = "stripe";

/// Webhooks signed with any of the configured secrets.
pub struct Stripe {
    verifier: Verifier,
}

impl Stripe {
    /// Accepts what one of these secrets has signed.
    pub fn new(secrets: &[NamedSecret]) -> Self {
        Self { verifier: Verifier::new(secrets) }
    }
}

impl Source for Stripe {
    fn name(&self) -> &'static str {
        NAME
    }

    fn receive(&self, headers: &HeaderMap, body: Bytes, now: DateTime<Utc>) -> Result<NewEvent, Rejection> {
        let verified = self.verifier.verify(headers, &body, now.timestamp())?;
        let (event_id, facts) = envelope::read(&body)?;
        Ok(NewEvent {
            source: NAME,
            event_id,
            facts,
            signature: verified.header.to_owned(),
            secret_name: verified.secret_name.to_owned(),
            payload: body,
        })
    }

    fn sight(&self, headers: &HeaderMap, body: &[u8], rejection: &Rejection) -> Sighting {
        forensics::sight(headers, body, rejection.check)
    }

    fn summarize(&self, event: &StoredEvent) -> EventSummary {
        summarize(event)
    }

    fn carries_state(&self, event: &StoredEvent) -> bool {
        ordering::carries_state(event)
    }

    fn newest(&self, events: &[&StoredEvent]) -> Option<usize> {
        ordering::newest_event(events)
    }

    fn index_entry(&self, facts: &EventFacts, body: &[u8]) -> IndexEntry {
        search_terms::index_entry(facts, body)
    }
}
