//! What an event reveals of the state before it: Stripe's `previous_attributes`.
//!
//! They hold the old values of what changed: for nested objects only the changed keys, for arrays the
//! whole array, and null for a value that was null or absent.

use serde_json::Value;

/// Whether `state` has every old value of `previous` in the same place.
///
/// The nesting is bounded by that of the JSON parser.
pub(super) fn holds(previous: &Value, state: Option<&Value>) -> bool {
    match previous {
        Value::Null => state.is_none_or(Value::is_null),
        Value::Object(fields) if !fields.is_empty() => fields
            .iter()
            .all(|(key, value)| holds(value, state.and_then(Value::as_object).and_then(|s| s.get(key)))),
        whole => state == Some(whole),
    }
}

/// Whether `previous` shows a change: at least one old value that the object no longer has.
pub(super) fn tells_a_change(previous: &Value, object: &Value) -> bool {
    previous.as_object().is_some_and(|fields| !fields.is_empty()) && !holds(previous, Some(object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds_in(previous: &Value, state: &Value) -> bool {
        holds(previous, Some(state))
    }

    #[test]
    fn a_key_in_a_nested_object_is_compared_alone_and_an_array_whole() {
        let state = json!({"card": {"brand": "visa", "exp": 3}, "items": {"data": [1, 2], "url": "/x"}});
        assert!(holds_in(&json!({"card": {"exp": 3}}), &state));
        assert!(!holds_in(&json!({"card": {"exp": 4}}), &state));
        assert!(holds_in(&json!({"items": {"data": [1, 2]}}), &state));
        assert!(!holds_in(&json!({"items": {"data": [1]}}), &state));
        assert!(!holds_in(&json!({"card": {"exp": 3}, "items": {"data": []}}), &state), "all must hold");
    }

    #[test]
    fn null_stands_for_null_and_for_absent() {
        for state in [json!({"number": null}), json!({}), json!(null), json!([])] {
            assert!(holds_in(&json!({"number": null}), &state), "{state}");
            assert!(holds_in(&json!({"metadata": {"order": null}}), &state), "{state}");
        }
        assert!(!holds_in(&json!({"number": null}), &json!({"number": "0042"})));
        assert!(!holds_in(&json!({"number": "0042"}), &json!({})));
    }

    #[test]
    fn an_empty_object_stands_for_an_empty_object() {
        assert!(holds_in(&json!({"metadata": {}}), &json!({"metadata": {}})));
        assert!(!holds_in(&json!({"metadata": {}}), &json!({"metadata": {"order": "1"}})));
        assert!(!holds_in(&json!({"metadata": {}}), &json!({})));
    }

    #[test]
    fn what_is_empty_or_still_so_tells_no_change() {
        let object = json!({"status": "open"});
        for previous in [json!(null), json!({}), json!([1]), json!("x"), json!({"status": "open"})] {
            assert!(!tells_a_change(&previous, &object), "{previous}");
        }
        assert!(tells_a_change(&json!({"status": "draft"}), &object));
    }
}
