//! Conversions between our values and those of statements.

use serde_json::Value;
use std::time::Duration;

/// A duration as a parameter, in milliseconds.
pub(in crate::store) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A duration from a result in milliseconds.
pub(in crate::store) fn of_milliseconds(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or_default())
}

/// A duration as a column stores it, in milliseconds.
pub(in crate::store) fn whole_milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// The text without NUL, the one character that Postgres refuses; a destination's answer may contain it.
pub(in crate::store) fn without_nul(text: &str) -> String {
    text.replace('\0', "")
}

/// The value without NUL in its texts and names, since `jsonb` refuses it.
pub(in crate::store) fn value_without_nul(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_nul(text)),
        Value::Array(items) => items.iter().map(value_without_nul).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (without_nul(name), value_without_nul(value))).collect()
        }
        other => other.clone(),
    }
}
