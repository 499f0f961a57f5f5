//! Lanes: the events of one object form a lane, of which one is delivered at a time.
//!
//! Also why an event has no lane.

use crate::domain::event::{EventFacts, TEXT_BYTES_MAX};
use sha2::{Digest, Sha256};
use std::fmt;

/// The lane of an event: its object by type and id, within its account and mode. `None` if it names no
/// object.
///
/// An example is `invoice acct_1/live/in_1`. Different objects have different lanes: parts that are
/// longer than [`TEXT_BYTES_MAX`] bytes or ambiguous are hashed.
pub fn lane(facts: &EventFacts) -> Option<String> {
    let object_id = facts.object_id.as_deref().filter(|id| !id.is_empty())?;
    let account = facts.account.as_deref().unwrap_or_default();
    let mode = match facts.livemode {
        Some(true) => "live",
        Some(false) => "test",
        None => "",
    };
    let plain = format!("{account}/{mode}/{object_id}");
    let is_plain = plain.len() <= TEXT_BYTES_MAX && !account.contains(['/', ' ']);
    let of_any_type = if is_plain { plain } else { hashed(&[account, mode, object_id]) };
    Some(match facts.object_type.as_deref().filter(|kind| !kind.is_empty()) {
        None => of_any_type,
        Some(kind) if is_word(kind) => format!("{kind} {of_any_type}"),
        Some(kind) => hashed(&[kind, account, mode, object_id]),
    })
}

/// Whether a type has no blank, so that the next blank ends it.
fn is_word(kind: &str) -> bool {
    kind.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
}

/// Why an event cannot update an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutState {
    /// Its object has no id, so the object cannot be found again.
    NoObjectId,
    /// It only refers to its object and has no state of it.
    NotCarried,
    /// Its source is not configured, so nothing can compare two states.
    NoSource,
}

impl fmt::Display for WithoutState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoObjectId => "this event's object has no id, so it cannot be distinguished from others",
            Self::NotCarried => "this event does not carry its object's state",
            Self::NoSource => {
                "the source of this event is not configured, so the states of its object cannot be compared"
            }
        })
    }
}

/// A text without a slash or a blank, so that it differs from every plain lane.
fn hashed(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    format!("sha256:{}", hex::encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts(account: Option<&str>, livemode: Option<bool>, object_id: Option<&str>) -> EventFacts {
        EventFacts {
            account: account.map(str::to_owned),
            livemode,
            object_id: object_id.map(str::to_owned),
            ..EventFacts::default()
        }
    }

    fn of_type(kind: &str, facts: EventFacts) -> EventFacts {
        EventFacts { object_type: Some(kind.to_owned()), ..facts }
    }

    #[test]
    fn a_lane_is_an_object_of_a_type_within_its_account_and_mode() {
        let of = |account, livemode| facts(account, livemode, Some("in_1"));
        let invoice = |account, livemode| lane(&of_type("invoice", of(account, livemode)));
        assert_eq!(invoice(Some("acct_1"), Some(true)).as_deref(), Some("invoice acct_1/live/in_1"));
        assert_eq!(invoice(None, Some(false)).as_deref(), Some("invoice /test/in_1"));
        assert_eq!(lane(&of(None, None)).as_deref(), Some("//in_1"));
        assert_eq!(lane(&of_type("", of(None, None))).as_deref(), Some("//in_1"));
    }

    #[test]
    fn an_event_without_an_object_id_has_no_lane() {
        for object_id in [None, Some("")] {
            assert_eq!(lane(&facts(Some("acct_1"), Some(true), object_id)), None);
        }
    }

    #[test]
    fn long_and_odd_ids_are_hashed_into_lanes_of_their_own() {
        let long = "x".repeat(TEXT_BYTES_MAX);
        let lanes = [
            lane(&facts(Some(&long), Some(true), Some("in_1"))),
            lane(&facts(None, Some(true), Some(&long))),
            lane(&facts(Some("a/live"), None, Some("in_1"))),
            lane(&facts(Some("a"), Some(true), Some("/in_1"))),
            lane(&facts(Some("b a"), Some(true), Some("in_1"))),
            lane(&of_type("b", facts(Some("a"), Some(true), Some("in_1")))),
            lane(&of_type("b /", facts(Some("a"), Some(true), Some("in_1")))),
        ]
        .map(|lane| lane.expect("a lane"));
        let distinct: std::collections::BTreeSet<_> = lanes.iter().collect();
        assert_eq!(distinct.len(), lanes.len());
        assert!(lanes.iter().all(|lane| lane.len() <= TEXT_BYTES_MAX));
    }

    fn any_facts() -> impl Strategy<Value = EventFacts> {
        let text = || prop::option::of("[a/ ]{0,3}");
        (text(), any::<Option<bool>>(), text(), text()).prop_map(|(account, mode, id, kind)| EventFacts {
            object_type: kind,
            ..facts(account.as_deref(), mode, id.as_deref())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn different_objects_have_different_lanes(one in any_facts(), other in any_facts()) {
            let object = |of: &EventFacts| {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                (text(&of.account), of.livemode, of.object_id.clone(), text(&of.object_type))
            };
            if let (Some(a), Some(b)) = (lane(&one), lane(&other)) {
                prop_assert_eq!(a == b, object(&one) == object(&other));
            }
        }
    }
}
