//! An event as a source returns it, and as the store reads it back.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::Arc;

/// The size limit of an event's body, in bytes. Events are usually a few kilobytes.
pub const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The key of an event in this service's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey(pub i64);

/// What a source reads from a verified request before anything is stored.
///
/// Each text contains no NUL and is bounded (see [`bounded`]), so the database accepts it unchanged.
/// `payload` keeps the exact bytes of the request.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The name of the source instance, such as `stripe`.
    pub source: Arc<str>,
    /// The sender's id of the event; unique within the source. It has no blanks.
    pub event_id: String,
    /// The event's facts that the body contains.
    pub facts: EventFacts,
    /// Whether the body has the state of the event's object, so that it can update the object.
    pub carries_state: bool,
    /// How it came here.
    pub origin: EventOrigin,
    /// The signature header, unchanged: with the payload it can be verified again. Empty if it was fetched.
    pub signature: String,
    /// The name under which the secret that matched is configured, or the API key that fetched it; never the
    /// secret itself.
    pub secret_name: String,
    /// The request's body, byte for byte, or the event's JSON in the answer to a fetch.
    pub payload: Bytes,
}

/// How an event came here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EventOrigin {
    /// Its sender posted it, signed.
    #[default]
    Webhook,
    /// It was fetched from its sender's API. No signature proves it.
    Api,
}

impl EventOrigin {
    /// The word for it in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Api => "api",
        }
    }

    /// The origin of this word. The database has no others.
    pub fn of_word(word: &str) -> Self {
        if word == Self::Api.as_str() { Self::Api } else { Self::Webhook }
    }
}

/// The facts of an event besides its id. All of them are optional, because bodies differ by API version
/// and kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFacts {
    /// The type, such as `invoice.paid`; empty if the sender gave none.
    pub event_type: String,
    /// The id of the object that the event is about.
    pub object_id: Option<String>,
    /// The kind of that object, such as `invoice`.
    pub object_type: Option<String>,
    /// The connected account on whose behalf the event was sent.
    pub account: Option<String>,
    /// Whether real money is concerned.
    pub livemode: Option<bool>,
    /// The API version that shaped the body.
    pub api_version: Option<String>,
    /// When it happened, according to the sender.
    pub created: Option<DateTime<Utc>>,
}

/// A stored event with its body, as a destination receives it.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// The key in this service's database.
    pub key: EventKey,
    /// The source's name.
    pub source: String,
    /// The sender's id.
    pub event_id: String,
    /// The facts of the event.
    pub facts: EventFacts,
    /// Whether the body has the state of the event's object.
    pub carries_state: bool,
    /// When this service received it, by the database's clock.
    pub received_at: DateTime<Utc>,
    /// The request's body, byte for byte.
    pub payload: Bytes,
}

/// How far ahead of its arrival an event may claim to have happened. A later time is an error, and would outrank
/// every true one. `lane_states` of the queue has the same limits.
const AHEAD_MAX: TimeDelta = TimeDelta::days(1);

/// The same for events that are not of live mode: clocks that senders simulate for tests run some years ahead.
const SIMULATED_AHEAD_MAX: TimeDelta = TimeDelta::days(3650);

/// Whether an event that arrived then claims an impossible time.
pub fn is_far_ahead(facts: &EventFacts, arrived: DateTime<Utc>) -> bool {
    let ahead_max = if facts.livemode == Some(true) { AHEAD_MAX } else { SIMULATED_AHEAD_MAX };
    facts.created.is_some_and(|created| created.signed_duration_since(arrived) > ahead_max)
}

impl StoredEvent {
    /// When it happened: by its sender's clock, or when it arrived if that time is impossible.
    pub fn happened_at(&self) -> Option<DateTime<Utc>> {
        let created = self.facts.created?;
        Some(if is_far_ahead(&self.facts, self.received_at) { self.received_at } else { created })
    }

    /// Why there is nothing to deliver, if the body was removed. No event arrives without a body.
    /// An execution that was claimed nevertheless ends as `skipped`, with this reason.
    pub fn why_empty(&self) -> Option<&'static str> {
        self.payload
            .is_empty()
            .then_some("its payload was removed, by retention or because its customer's data was erased")
    }
}

/// The length limit, in bytes, of a text that is stored in a column of its own.
pub const TEXT_BYTES_MAX: usize = 255;

/// Removes NUL, which Postgres does not accept in text, and cuts `text` to [`TEXT_BYTES_MAX`] at a
/// character boundary.
pub fn bounded(text: &str) -> String {
    let mut kept = String::with_capacity(text.len().min(TEXT_BYTES_MAX));
    for character in text.chars().filter(|character| *character != '\0') {
        if kept.len() + character.len_utf8() > TEXT_BYTES_MAX {
            break;
        }
        kept.push(character);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_centuries_ahead_counts_as_that_of_the_arrival() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0);
        let arrived = at(1_800_000_000).expect("a time");
        let happened_in = |livemode, created| {
            let facts = EventFacts { livemode, created, ..EventFacts::default() };
            let event = StoredEvent {
                key: EventKey(1),
                source: String::new(),
                event_id: String::new(),
                facts,
                carries_state: true,
                received_at: arrived,
                payload: Bytes::new(),
            };
            event.happened_at()
        };
        let happened = |created| happened_in(None, created);
        assert_eq!(happened(at(9_999_999_999)), Some(arrived));
        // A simulated clock, and one that is a little ahead.
        for seconds in [1_900_000_000, 1_800_000_005, 5] {
            assert_eq!(happened(at(seconds)), at(seconds));
        }
        assert_eq!(happened(None), None);
        // Live mode has no simulated clocks.
        assert_eq!(happened_in(Some(false), at(1_900_000_000)), at(1_900_000_000));
        assert_eq!(happened_in(Some(true), at(1_900_000_000)), Some(arrived));
        assert_eq!(happened_in(Some(true), at(1_800_086_400)), at(1_800_086_400));
    }

    #[test]
    fn a_bounded_text_has_no_nul_and_ends_on_a_character() {
        assert_eq!(bounded("a\0b"), "ab");
        let long = "é".repeat(200);
        let cut = bounded(&long);
        assert_eq!(cut.len(), 254);
        assert!(long.starts_with(&cut));
    }
}
