//! Audit texts and error messages of the commands that change all matches of a filter.

use crate::store::{ListError, WINDOW_DAYS_MAX};
use anyhow::anyhow;
use serde_json::{Value, json};

/// A filter for the audit log: only the fields that were given.
pub(super) fn for_audit(filter: Value) -> Value {
    let given = match filter {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        other => other,
    };
    json!({ "filter": given })
}

/// Why a listing was refused, with the command's flags in place of the API's parameters.
pub(super) fn with_flags(error: ListError) -> anyhow::Error {
    match error {
        ListError::TimeRangeRequired { after, before } => {
            let flag = |parameter: &str| format!("--{}", parameter.replace('_', "-"));
            anyhow!(
                "this filter requires a time range of at most {WINDOW_DAYS_MAX} days: add {} and, if that is longer ago, {}",
                flag(after),
                flag(before)
            )
        }
        ListError::Store(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_required_time_range_is_named_by_its_flags() {
        let required = ListError::TimeRangeRequired { after: "created_after", before: "created_before" };
        let message = with_flags(required).to_string();
        assert!(message.contains("--created-after") && message.contains("--created-before"), "{message}");
    }
}
