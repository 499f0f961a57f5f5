//! Sources of events. A source verifies a request and reads an event from it. Later it reads the stored
//! event for the deliveries, the index and the dashboard.
//!
//! A *kind* is code: a folder here and one line in [`KINDS`]. An *instance* is configuration: a name and
//! a kind in `SOURCES`, and its settings. A source knows its sender's JSON and nothing of destinations,
//! HTTP routes or the database.

mod access;
pub mod astray;
mod event_list;
mod registry;
pub mod stripe;

pub use access::{AccessCheck, AccessReport};
pub use event_list::{CreatedRange, EventList, EventPage, ListError, PullSettings};
pub use registry::{Registry, SourceCheck};

use crate::config::{InstanceName, Reader};
use crate::domain::endpoint::{EndpointFound, UnknownPart, WantedEndpoint};
use crate::domain::event::{EventFacts, NewEvent, StoredEvent};
use crate::domain::finding::Finding;
use crate::domain::rejection::{Diagnosis, RejectionSample, StoredSample};
use crate::domain::search::IndexEntry;
use crate::domain::source::{Examples, Origin};
use crate::domain::subscription::{Preset, Spelling};
use crate::domain::summary::EventSummary;
use crate::domain::unanswered::ClaimedEvent;
use async_trait::async_trait;
use axum::http::HeaderMap;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use std::borrow::Cow;
use std::sync::Arc;

/// The kinds that the program has.
pub const KINDS: &[Kind] = &[stripe::KIND];

/// A kind of source: how its instances are configured, and what they have in common.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The name in `SOURCES`.
    pub name: &'static str,
    /// The sender's display name.
    pub sender: &'static str,
    /// Reads an instance's own settings. The reader collects the problems.
    pub configure: Configure,
    /// The settings that an instance requires, as suffixes such as `WEBHOOK_SECRET`, each with where the
    /// operator finds its value. Each may be read from a file.
    pub secrets: &'static [(&'static str, &'static str)],
    /// Further settings of an instance that are secrets, as suffixes. Each may be read from a file.
    pub optional_secrets: &'static [&'static str],
    /// The header that carries the signature of a request.
    pub signature_header: Option<&'static str>,
    /// How to configure the sender; the webhook's URL follows this text.
    pub set_up: &'static str,
    /// The checks that can reject a request. Metrics count the rejections of each.
    pub checks: &'static [&'static str],
    /// Named lists of types, for filters.
    pub presets: &'static [Preset],
    /// Whether a text has the form of a person's id at the sender, by which `forget` finds their events.
    pub is_person_id: fn(&str) -> bool,
    /// Examples of such ids, for people: `cus_…`. Empty if the sender has none.
    pub person_ids: &'static str,
    /// Examples of the sender's ids and types, for input fields and the API's description.
    pub examples: Examples,
    /// Another spelling of a type, which filters match too.
    pub spelling: Option<Spelling>,
    /// Types by which the sender only tests that it reaches this service. Such events are stored and not delivered.
    pub pings: &'static [&'static str],
}

/// Reads an instance's own settings and builds the source. Without its secret a source rejects all requests
/// but still reads stored events.
pub type Configure = fn(&mut Reader<'_>, &InstanceName) -> Arc<dyn Source>;

impl Kind {
    /// A kind with only these parts.
    pub const fn new(name: &'static str, sender: &'static str, configure: Configure) -> Self {
        Self {
            name,
            sender,
            configure,
            secrets: &[],
            optional_secrets: &[],
            signature_header: None,
            set_up: "",
            checks: &[],
            presets: &[],
            is_person_id: |_text| false,
            person_ids: "",
            examples: Examples::NONE,
            spelling: None,
            pings: &[],
        }
    }

    /// All settings of an instance that are secrets, as suffixes.
    pub fn all_secrets(&self) -> impl Iterator<Item = &'static str> {
        self.secrets.iter().map(|(suffix, _)| *suffix).chain(self.optional_secrets.iter().copied())
    }
}

/// Reads the requests and stored events of one sender. It does no I/O: what asks the sender is a part that it hands
/// out.
pub trait Source: Send + Sync {
    /// The instance's name, which its events have and which ends the webhook's path.
    fn name(&self) -> &str;

    /// Verifies a request, then reads the event from it.
    fn receive(&self, headers: &HeaderMap, body: Bytes, now: DateTime<Utc>) -> Result<NewEvent, Rejection>;

    /// The id of an object whose other events [`summarize`](Self::summarize) needs for this event. By default
    /// an event says by itself what it means.
    fn related_object(&self, _event: &StoredEvent) -> Option<String> {
        None
    }

    /// Summarizes a stored event. `related` are other events of its [related object](Self::related_object). By
    /// default from its stored columns only.
    fn summarize(&self, event: &StoredEvent, _related: &[StoredEvent]) -> EventSummary {
        EventSummary::from_envelope(event)
    }

    /// The position of the event with the newest state of one object; `None` if none of them can be read.
    /// All events carry a state. The result must not depend on their order.
    ///
    /// By default the event that happened last by the sender's clock; of several, the last received.
    fn newest(&self, events: &[&StoredEvent]) -> Option<usize> {
        let age = |event: &StoredEvent| (event.happened_at(), event.received_at, event.key);
        events.iter().enumerate().max_by_key(|(_, event)| age(event)).map(|(place, _)| place)
    }

    /// The search terms of an event and its money facts.
    fn index_entry(&self, facts: &EventFacts, _body: &[u8]) -> IndexEntry {
        IndexEntry::from_facts(facts)
    }

    /// Samples a rejected request. The sample contains nothing that a customer wrote.
    fn sample(&self, headers: &HeaderMap, body: &[u8], rejection: &Rejection) -> RejectionSample {
        RejectionSample::new(self.name(), rejection.check, names_of(headers), body)
    }

    /// Whether the sender waits until this event is accepted before it does something important.
    fn awaits_answer(&self, _facts: &EventFacts) -> bool {
        false
    }

    /// The event of a rejected request, if the sender may have sent it and [waits](Self::awaits_answer) for it.
    fn claimed(&self, _headers: &HeaderMap, _body: &[u8], _rejection: &Rejection) -> Option<ClaimedEvent> {
        None
    }

    /// The causes of these rejected requests to this instance, in any order. `accepted_at` is when the
    /// newest event was accepted.
    fn diagnose(&self, _rejections: &[StoredSample], _accepted_at: Option<DateTime<Utc>>) -> Vec<Diagnosis> {
        Vec::new()
    }

    /// The lists of its sender's events that are read for what no webhook brought; by default none.
    fn event_lists(&self) -> Vec<Arc<dyn EventList>> {
        Vec::new()
    }

    /// Checks what it may do at its sender's API, for the command `doctor`; nothing if it has no access.
    fn access_check(&self) -> Option<Arc<dyn AccessCheck>> {
        None
    }

    /// Checks its settings, for the command `doctor`.
    fn check(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// What checks at the sender whether it sends to this service: one for each key; none without a key.
    fn endpoint_checkers(&self) -> Vec<Arc<dyn CheckEndpoint>> {
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

/// Asks a sender whether it sends to this service. It only reads.
#[async_trait]
pub trait CheckEndpoint: Send + Sync {
    /// The name of the key that it asks with.
    fn key(&self) -> &str;

    /// Whether the key reads what concerns real money.
    fn livemode(&self) -> bool;

    /// Asks, with all retries. The error is why nothing is known.
    async fn check(&self, wanted: &WantedEndpoint) -> Result<EndpointFound, UnknownPart>;
}

/// Why a request is rejected. The sender may see it: it contains no secret and no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Rejection {
    /// The check that failed: one of its kind's [`checks`](Kind::checks), or that of the path.
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
