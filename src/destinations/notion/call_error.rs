//! Why a call to Notion failed, and Notion's error answers.

use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// How long to make no calls if Notion throttles without `Retry-After`.
pub const THROTTLE_WAIT: Duration = Duration::from_secs(10);

/// The longest part of an error message that is kept.
const MESSAGE_CHARACTERS_MAX: usize = 500;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// The rate allows no call for this long: nothing was sent.
    NoSlot(Duration),
    /// The try is too old for a write, or its lease may be lost: nothing was sent.
    TooLate,
    /// No connection was established: nothing was sent.
    NotSent(String),
    /// The connection broke, or the timeout expired, before the answer was complete.
    NoAnswer {
        /// What happened.
        message: String,
        /// How long ago the request was sent.
        sent: Duration,
    },
    /// Notion answered with an error.
    Refused(Box<Refusal>),
}

impl CallError {
    /// Class and code: the only parts that are logged.
    pub fn loggable(&self) -> (&str, Option<u16>) {
        match self {
            Self::NoSlot(_) => ("rate_limit", None),
            Self::TooLate => ("too_late", None),
            Self::NotSent(_) => ("unreachable", None),
            Self::NoAnswer { .. } => ("no_answer", None),
            Self::Refused(refusal) => (&refusal.code, Some(refusal.status)),
        }
    }
}

/// Notion's error answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Notion's code, such as `validation_error`; `http_<status>` if the answer has none.
    pub code: String,
    /// Whether Notion itself answered. A proxy, or the edge of its network, sends no such codes.
    pub is_notions_own: bool,
    /// Notion's message, shortened; it can quote what we sent.
    pub message: String,
    /// Notion's id of the request.
    pub request_id: Option<String>,
    /// How long Notion asks us to wait.
    pub retry_after: Option<Duration>,
    /// The page or the database that was written despite the error.
    pub committed_page: Option<String>,
    /// The reason of a rate limit.
    pub rate_limit_reason: Option<String>,
    /// Whether the workspace can hold no more blocks.
    pub is_block_limit: bool,
    /// How long ago the request was sent.
    pub sent: Duration,
}

impl Refusal {
    /// Whether Notion rejects a property. It has one code for all problems of properties, and for others.
    pub fn is_about_a_property(&self) -> bool {
        self.status == 400 && self.code == "validation_error" && !self.is_about_trash()
    }

    /// Whether Notion knows no column of a name. That has one message, and no code of its own.
    pub fn is_about_a_missing_property(&self) -> bool {
        self.is_about_a_property() && self.message.contains("is not a property that exists")
    }

    /// Whether Notion rejects a write because of the trash. It has no error code for this. Its messages begin
    /// with what cannot be done and mention archived blocks or the trash; one that quotes the request begins
    /// differently.
    pub fn is_about_trash(&self) -> bool {
        let message = self.message.to_lowercase().replace('\u{2019}', "'");
        let says_what_cannot_be_done = ["can't ", "cannot "].iter().any(|words| message.starts_with(words));
        says_what_cannot_be_done
            && ["archived", "in trash", "in the trash"].iter().any(|words| message.contains(words))
    }

    /// Whether Notion rejects a write because something that contains the page is in the trash.
    pub fn is_about_an_ancestor(&self) -> bool {
        self.is_about_trash() && self.message.to_lowercase().contains("ancestor")
    }

    /// Whether Notion rejects the ids of the columns that an answer should show.
    pub fn is_about_shown_columns(&self) -> bool {
        self.is_about_a_missing_property()
            || self.is_about_a_property() && self.message.contains("filter_properties")
    }

    /// Whether Notion asks for fewer calls.
    pub fn is_throttling(&self) -> bool {
        matches!(self.status, 429 | 529)
    }
}

/// The wait that an answer asks for, within reason. That of a limit of the workspace may exceed a minute.
pub(super) fn wait_of(seconds: u64) -> Duration {
    const SECONDS_MAX: u64 = 3600;
    Duration::from_secs(seconds.min(SECONDS_MAX))
}

/// Reads an error answer. The edge of Notion's network can send HTML.
pub(super) fn refusal(
    status: u16,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    body: &[u8],
) -> Refusal {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Body {
        code: Option<String>,
        message: Option<String>,
        request_id: Option<String>,
        additional_data: Option<Value>,
    }
    let Body { code, message, request_id: id_in_body, additional_data } =
        serde_json::from_slice(body).unwrap_or_default();
    let is_notions_own = code.is_some();
    let additional = |name: &str| Some(additional_data.as_ref()?.get(name)?.as_str()?.to_owned());
    let asked = || additional_data.as_ref()?.get("retry_after")?.as_u64().map(wait_of);
    Refusal {
        status,
        is_notions_own,
        code: code.unwrap_or_else(|| format!("http_{status}")),
        message: message.map_or_else(
            || format!("status {status} without a message; a proxy may have sent it"),
            |message| message.chars().take(MESSAGE_CHARACTERS_MAX).collect(),
        ),
        request_id: id_in_body.or(request_id),
        retry_after: retry_after.or_else(asked),
        committed_page: additional("committed_resource_id"),
        rate_limit_reason: additional("rate_limit_reason"),
        is_block_limit: additional("block_limit").is_some(),
        sent: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_body_of_an_error_says_what_its_headers_do_not() {
        let body = json!({"code": "rate_limited", "message": "slow down", "request_id": "in the body",
            "additional_data": {"retry_after": 90, "rate_limit_reason": "public_api_space_request_rate_limit"}});
        let read = |retry_after| refusal(429, None, retry_after, body.to_string().as_bytes());
        assert_eq!(
            read(None).retry_after,
            Some(Duration::from_secs(90)),
            "a workspace's limit may last longer"
        );
        assert_eq!(read(Some(Duration::from_secs(7))).retry_after, Some(Duration::from_secs(7)));
        assert_eq!(read(None).request_id.as_deref(), Some("in the body"));
        assert!(!read(None).is_block_limit);
    }
}
