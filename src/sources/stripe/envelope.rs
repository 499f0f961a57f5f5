//! Reads the envelope of a Stripe event: strict in what makes it an event, lenient in everything else.
//!
//! A JSON object with an `id` of 1 to 255 printable characters is an event. Every other field may be
//! absent or of any shape: snapshot events of 2011 and of today, thin events, unknown types, objects
//! without id. The parser reads only the fields that are needed and skips the rest of the body.
//! Nesting cannot exhaust the stack: skipped parts are not built, and what reads the whole body later
//! (`json`) replaces deeper values by null.

use super::json::exact_integer;
use crate::domain::event::{EventFacts, bounded};
use crate::domain::visible::{is_hidden, visible_id};
use crate::sources::Rejection;
use chrono::{DateTime, Utc};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The longest id, in characters.
const ID_CHARACTERS_MAX: usize = 255;

/// The last second with a four-digit year; later times are ignored as invalid.
const SECONDS_MAX: i64 = 253_402_300_799;

/// The envelope of an event.
#[derive(Debug)]
pub(super) struct Envelope {
    /// Stripe's id of the event.
    pub(super) event_id: String,
    /// The event's other facts.
    pub(super) facts: EventFacts,
    /// Whether the body has the object's state. A thin event only refers to its object.
    pub(super) carries_state: bool,
}

/// Reads the envelope of an event.
pub(super) fn read(body: &[u8]) -> Result<Envelope, Rejection> {
    // JSON must be UTF-8 throughout, and the parser does not check what it skips.
    let body = std::str::from_utf8(body).map_err(|error| Rejection {
        check: "body_not_an_event",
        detail: format!("The body is not JSON: it is not UTF-8 after byte {}.", error.valid_up_to()).into(),
    })?;
    let envelope: Fields<'_, ENVELOPE> = serde_json::from_str(body).map_err(|error| Rejection {
        check: "body_not_an_event",
        detail: format!("The body is not a JSON object: {}.", position(&error)).into(),
    })?;
    let [id, kind, created, livemode, api_version, account, context, data, related] = envelope.0;
    let event_id = id.and_then(text).filter(|id| is_id(id)).ok_or(Rejection {
        check: "event_id_invalid",
        detail: "The body has no id of 1 to 255 printable characters, so it is not an event.".into(),
    })?;
    let snapshot = data.and_then(|data| {
        let Fields([object]): Fields<'_, DATA> = parse(data)?;
        object
    });
    let object = related.and_then(object_of).or_else(|| object_of(snapshot?));
    let (object_id, object_type) = object.unwrap_or_default();
    Ok(Envelope {
        event_id: event_id.into_owned(),
        facts: EventFacts {
            event_type: kind.and_then(text).map(|kind| bounded(&kind)).unwrap_or_default(),
            object_id,
            object_type,
            account: account.and_then(short_text).or_else(|| account_of(&context.and_then(short_text)?)),
            livemode: livemode.and_then(parse),
            api_version: api_version.and_then(short_text),
            created: created.and_then(|created| time(&parse(created)?)),
        },
        carries_state: snapshot.is_some_and(|object| object.get().starts_with('{')),
    })
}

const ENVELOPE: usize = 9;
const DATA: usize = 1;
const OBJECT: usize = 3;

/// The raw values of `N` fields of a JSON object; of a repeated field the last value counts.
struct Fields<'a, const N: usize>([Option<&'a RawValue>; N]);

/// The names of the fields that are read from each of the three objects.
const fn names(count: usize) -> &'static [&'static str] {
    match count {
        ENVELOPE => &[
            "id",
            "type",
            "created",
            "livemode",
            "api_version",
            "account",
            "context",
            "data",
            "related_object",
        ],
        DATA => &["object"],
        OBJECT => &["id", "object", "type"],
        _ => &[],
    }
}

impl<'de: 'a, 'a, const N: usize> Deserialize<'de> for Fields<'a, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<const N: usize>;

        impl<'de, const N: usize> Visitor<'de> for Object<N> {
            type Value = [Option<&'de RawValue>; N];

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = [None; N];
                while let Some(Key(key)) = map.next_key()? {
                    let place = names(N).iter().position(|name| *name == key);
                    match place.and_then(|place| fields.get_mut(place)) {
                        Some(field) => *field = Some(map.next_value()?),
                        None => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object).map(Self)
    }
}

/// A field's name, borrowed if it contains no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The id and the kind of an object; a thin event's reference says `type` for the kind.
fn object_of(raw: &RawValue) -> Option<(Option<String>, Option<String>)> {
    let Fields([id, object, kind]): Fields<'_, OBJECT> = parse(raw)?;
    Some((id.and_then(short_text), object.or(kind).and_then(short_text)))
}

/// The account of a context. That of an organization ends with it: `acct_1Platform/acct_1Connected`.
pub(super) fn account_of(context: &str) -> Option<String> {
    let last = context.rsplit('/').next().unwrap_or(context);
    last.starts_with("acct_").then(|| last.to_owned())
}

fn parse<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    parse::<Key<'_>>(raw).map(|key| key.0)
}

/// A text for a column of its own. Hidden characters are escapes in it, so that no page and no terminal shows one
/// id as another; the event is accepted all the same.
fn short_text(raw: &RawValue) -> Option<String> {
    let text = text(raw).map(|text| bounded(&text)).filter(|text| !text.is_empty())?;
    Some(bounded(&visible_id(text)))
}

/// The time that a value stands for: Unix seconds in snapshot events, RFC 3339 in thin ones.
pub(super) fn time(value: &Value) -> Option<DateTime<Utc>> {
    let time = match exact_integer(value) {
        Some(seconds) => DateTime::from_timestamp(seconds, 0)?,
        None => DateTime::parse_from_rfc3339(value.as_str()?).ok()?.to_utc(),
    };
    (0..=SECONDS_MAX).contains(&time.timestamp()).then_some(time)
}

/// With blanks or invisible characters, two ids could look the same or be found as one.
fn is_id(id: &str) -> bool {
    let is_seen = |c: char| !c.is_whitespace() && !is_hidden(c);
    (1..=ID_CHARACTERS_MAX).contains(&id.chars().count()) && id.chars().all(is_seen)
}

/// The position at which the body stops being JSON, without a quote from it.
fn position(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Eof => "it ends too early".to_owned(),
        _ => format!("line {}, column {}", error.line(), error.column()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts(body: &str) -> EventFacts {
        read(body.as_bytes()).expect("an event").facts
    }

    fn refusal(body: &[u8]) -> &'static str {
        read(body).expect_err("no event").check
    }

    #[test]
    fn a_snapshot_event_tells_its_facts() {
        let facts = facts(
            r#"{"id":"evt_1","object":"event","api_version":"2026-01-28","created":1700000000,"livemode":true,
                "type":"invoice.paid","account":"acct_1","data":{"previous_attributes":{},"object":{"id":"in_1","object":"invoice"}}}"#,
        );
        assert_eq!(facts.event_type, "invoice.paid");
        assert_eq!(
            (facts.object_id.as_deref(), facts.object_type.as_deref()),
            (Some("in_1"), Some("invoice"))
        );
        assert_eq!((facts.account.as_deref(), facts.livemode), (Some("acct_1"), Some(true)));
        assert_eq!(facts.created.map(|created| created.timestamp()), Some(1_700_000_000));
    }

    #[test]
    fn a_thin_event_tells_its_related_object() {
        let facts = facts(
            r#"{"id":"evt_2","object":"v2.core.event","type":"v1.invoice.paid","created":"2026-11-23T10:00:00.000Z",
                "context":"acct_2","related_object":{"id":"in_2","type":"invoice","url":"/v1/invoices/in_2"}}"#,
        );
        assert_eq!(
            (facts.object_id.as_deref(), facts.object_type.as_deref()),
            (Some("in_2"), Some("invoice"))
        );
        assert_eq!(facts.account.as_deref(), Some("acct_2"));
        assert_eq!(facts.livemode, None);
        assert!(facts.created.is_some());
    }

    #[test]
    fn every_field_but_the_id_may_be_absent_or_of_any_shape() {
        assert_eq!(facts(r#"{"id":"x"}"#), EventFacts::default());
        let odd = r#"{"id":"x","type":7,"created":"soon","livemode":"yes","api_version":null,"account":[],"data":[1],"related_object":3}"#;
        assert_eq!(facts(odd), EventFacts::default());
        assert_eq!(facts(r#"{"id":"x","created":99999999999999999}"#).created, None);
        assert_eq!(facts(r#"{"id":"x","type":"a","type":"b"}"#).event_type, "b");
        assert_eq!(facts(r#"{"id":"x","t\u0079pe":"a\u0000b"}"#).event_type, "ab");
    }

    #[test]
    fn only_an_event_with_its_object_carries_a_state() {
        let carries = |body: &str| read(body.as_bytes()).expect("an event").carries_state;
        assert!(carries(r#"{"id":"x","data":{"object": {"id":"in_1"}}}"#));
        assert!(carries(r#"{"id":"x","related_object":{"id":"in_1"},"data":{"object":{}}}"#));
        for none in [
            r#"{"id":"x","related_object":{"id":"in_1"}}"#,
            r#"{"id":"x","data":{"object":"in_1"}}"#,
            r#"{"id":"x","data":[]}"#,
            r#"{"id":"x"}"#,
        ] {
            assert!(!carries(none), "{none}");
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for body in
            ["", "[]", "null", "\"evt\"", "{\"id\":\"x\"", "{\"id\":\"x\"} x", "\u{feff}{\"id\":\"x\"}"]
        {
            assert_eq!(refusal(body.as_bytes()), "body_not_an_event", "{body}");
        }
        assert_eq!(refusal(b"{\"id\":\"\xff\"}"), "body_not_an_event");
        assert_eq!(refusal(b"{\"id\":\"x\",\"skipped\":\"\xff\"}"), "body_not_an_event");
        for body in
            ["{}", r#"{"id":""}"#, r#"{"id":7}"#, r#"{"id":null}"#, r#"{"id":"a\u0000"}"#, r#"{"id":"a\n"}"#]
        {
            assert_eq!(refusal(body.as_bytes()), "event_id_invalid", "{body}");
        }
        let longest = "é".repeat(255);
        assert!(read(format!(r#"{{"id":"{longest}"}}"#).as_bytes()).is_ok());
        assert_eq!(refusal(format!(r#"{{"id":"{longest}x"}}"#).as_bytes()), "event_id_invalid");
    }

    #[test]
    fn a_body_nested_a_million_deep_is_read_without_a_stack() {
        let deep = format!(r#"{{"id":"x","data":{}{}}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
        let _either_way = read(deep.as_bytes());
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
            let _outcome = read(&body);
        }

        #[test]
        fn no_json_like_body_makes_it_panic(body in r#"\{("(id|type|data|created|object)":("[a-z\\u0]{0,9}"|[0-9.eE+-]{1,25}|\{"object":\{"id":[0-9]\}\}|null|\[\])[,}]){0,6}"#) {
            let _outcome = read(body.as_bytes());
        }
    }
}
