//! Why a request to Stripe failed, and what to do. No text here has a key in it, not even the end of one.

use super::client::Account;
use super::retry::FailedTry;
use serde::Deserialize;
use std::time::Duration;

/// The longest part of Stripe's own message that is kept, in characters.
const MESSAGE_CHARACTERS_MAX: usize = 300;

/// The kind of a failure, by which the caller decides what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorClass {
    /// The key lacks a permission (403).
    Refused {
        /// Stripe's name of the permission, such as `rak_charge_read`, if the answer names it.
        permission: Option<String>,
    },
    /// There is no such object in the account, or not any more (404).
    Gone,
    /// Stripe does not accept the key (401): it was revoked, or it expired.
    KeyInvalid,
    /// Too many requests with this key (429).
    Throttled {
        /// How long Stripe asks us to wait.
        retry_after: Option<Duration>,
    },
    /// Stripe cannot be reached, does not answer in time, or answers with a fault of its own: it may work later.
    Unavailable,
    /// The answer is larger than the client accepts. A page of a list with fewer objects may fit.
    TooLarge,
    /// Any other answer. The same request would fail again.
    Unexpected,
}

impl ErrorClass {
    /// The class as logs and metrics name it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Gone => "gone",
            Self::KeyInvalid => "key_invalid",
            Self::Throttled { .. } => "throttled",
            Self::Unavailable => "unavailable",
            Self::TooLarge => "too_large",
            Self::Unexpected => "unexpected",
        }
    }

    /// Whether the same request may work later without anyone's help.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Unavailable)
    }
}

/// Why a request to Stripe failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of failure it is.
    pub class: ErrorClass,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What happened, as a sentence without its full stop. It can name objects by their ids.
    pub message: String,
    /// What to do, as a sentence without its full stop.
    pub remedy: String,
    /// Stripe's id of the request.
    pub request_id: Option<String>,
}

impl ApiError {
    pub(super) fn unavailable(message: String) -> Self {
        Self {
            class: ErrorClass::Unavailable,
            status: None,
            message,
            remedy: "wait: it is tried again. https://status.stripe.com shows whether Stripe works"
                .to_owned(),
            request_id: None,
        }
    }

    pub(super) fn too_large(path: &str) -> Self {
        Self {
            class: ErrorClass::TooLarge,
            ..Self::unexpected(format!("Stripe's answer to {path} is larger than this program accepts"))
        }
    }

    pub(super) fn unexpected(message: String) -> Self {
        Self {
            class: ErrorClass::Unexpected,
            status: None,
            message,
            remedy:
                "check the address of Stripe's API, and that nothing between it and this service answers; \
                     if both are right, report this as a bug"
                    .to_owned(),
            request_id: None,
        }
    }

    /// An answer without the form that Stripe documents.
    pub(super) fn unreadable(path: &str) -> Self {
        Self::unexpected(format!("Stripe's answer to {path} does not have the form that Stripe documents"))
    }
}

/// Stripe's error, in the body of its answer.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl Refusal {
    /// Reads a body. Of one that is not Stripe's nothing is known.
    pub(super) fn of(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            error: Refusal,
        }
        serde_json::from_slice::<Body>(body).map(|body| body.error).unwrap_or_default()
    }

    pub(super) fn is_lock_timeout(&self) -> bool {
        self.code.as_deref() == Some("lock_timeout")
    }

    /// The error of the answer to a request for this path.
    pub(super) fn into_error(
        self,
        status: u16,
        request_id: Option<String>,
        failed: FailedTry,
        path: &str,
        account: &Account<'_>,
        setting: &str,
    ) -> ApiError {
        let name = &account.key.name;
        let own_words = self.own_words();
        let (class, message, remedy) = match status {
            401 => (
                ErrorClass::KeyInvalid,
                match self.code.as_deref() {
                    Some("api_key_expired") => format!("the API key {name:?} of {setting} has expired"),
                    _ => format!("Stripe does not accept the API key {name:?} of {setting}"),
                },
                format!(
                    "it was revoked, rolled or mistyped: create a restricted key at \
                     https://dashboard.stripe.com/apikeys, set {setting} to it, and restart"
                ),
            ),
            403 => {
                let permission = self.permission();
                let (what, remedy) = match &permission {
                    Some(permission) => (
                        format!("it lacks the permission {permission}"),
                        format!(
                            "add the permission {permission} to the key at https://dashboard.stripe.com/apikeys"
                        ),
                    ),
                    None => (
                        format!("Stripe refuses it{own_words}"),
                        "check the permissions of the key at https://dashboard.stripe.com/apikeys".to_owned(),
                    ),
                };
                let message = format!("the API key {name:?} of {setting} may not use {}: {what}", resource(path));
                (ErrorClass::Refused { permission }, message, remedy)
            }
            404 => (
                ErrorClass::Gone,
                format!("Stripe has no {path} for the API key {name:?}, or not any more"),
                "nothing, if it was deleted at Stripe; otherwise check that the key belongs to its account and mode"
                    .to_owned(),
            ),
            429 => (
                ErrorClass::Throttled { retry_after: failed.retry_after },
                "Stripe receives too many requests from this account".to_owned(),
                "wait: it is tried again. Other programs of the account use the same limit".to_owned(),
            ),
            409 if failed.is_lock_timeout => {
                let error = ApiError::unavailable(format!("another request locks {path} at Stripe"));
                (error.class, error.message, error.remedy)
            }
            500.. => {
                let error = ApiError::unavailable(format!("Stripe answered {path} with the status {status}"));
                (error.class, error.message, error.remedy)
            }
            _ => {
                let error = ApiError::unexpected(format!(
                    "Stripe answered {path} with the status {status}{own_words}"
                ));
                (error.class, error.message, error.remedy)
            }
        };
        ApiError { class, status: Some(status), message, remedy, request_id }
    }

    /// The permission that the message names: `Having the 'rak_charge_read' permission would allow …`.
    fn permission(&self) -> Option<String> {
        const BYTES_MAX: usize = 100;
        let message = self.message.as_deref()?;
        let (_, rest) = message.split_once("rak_")?;
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let name = rest.get(..end).filter(|name| !name.is_empty() && name.len() <= BYTES_MAX)?;
        Some(format!("rak_{name}"))
    }

    /// Stripe's own message after a colon, shortened, without words that may be a part of a key.
    fn own_words(&self) -> String {
        let Some(message) = &self.message else { return String::new() };
        let words: Vec<_> =
            message.split_whitespace().map(|word| if has_key(word) { "…" } else { word }).collect();
        let shown: String = words.join(" ").chars().take(MESSAGE_CHARACTERS_MAX).collect();
        format!(": {}", shown.trim_end_matches('.'))
    }
}

/// Whether a word has a key in it, whole or with its middle hidden, as Stripe writes it.
fn has_key(word: &str) -> bool {
    ["rk_", "sk_", "pk_", "whsec_"].iter().any(|prefix| word.contains(prefix)) || word.contains("**")
}

/// What a path is about: `/v1/invoices` for `/v1/invoices/in_1?expand[]=x`.
fn resource(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let mut kept = String::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        // Ids have a digit or a capital letter, names of resources have none; the version is the first one.
        let is_id = segment.bytes().any(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if is_id && !kept.is_empty() {
            break;
        }
        kept.push('/');
        kept.push_str(segment);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::stripe::api::NamedKey;

    fn error(status: u16, path: &str, body: &str) -> ApiError {
        let key = NamedKey { name: "live".to_owned(), ..NamedKey::parse("rk_live_hidden").expect("a key") };
        let account = Account { key: &key, context: None };
        let refusal = Refusal::of(body.as_bytes());
        let failed = FailedTry { is_lock_timeout: refusal.is_lock_timeout(), ..FailedTry::default() };
        refusal.into_error(status, None, failed, path, &account, "STRIPE_API_KEY")
    }

    #[test]
    fn a_missing_permission_is_named() {
        let body = r#"{"error": {"type": "invalid_request_error", "message": "The provided key 'rk_live_*********abcd' does not have the required permissions for this endpoint on account 'acct_1'. Having the 'rak_charge_read' permission would allow this request to continue."}}"#;
        let found = error(403, "/v1/charges/ch_1?expand[]=x", body);
        assert_eq!(found.class, ErrorClass::Refused { permission: Some("rak_charge_read".to_owned()) });
        assert!(found.message.contains("/v1/charges:") && !found.message.contains("ch_1"), "{found}");
        assert!(!format!("{found:?}").contains("abcd"), "{found:?}");
        let other = error(403, "/v1/charges", r#"{"error": {"message": "Not with rk_live_abcd."}}"#);
        assert_eq!(other.class, ErrorClass::Refused { permission: None });
        assert!(other.message.ends_with("Stripe refuses it: Not with …"), "{other}");
    }

    #[test]
    fn every_answer_has_its_class_and_a_remedy() {
        for (status, body, class) in [
            (401, r#"{"error": {"message": "Invalid API Key provided: rk_live_****abcd"}}"#, "key_invalid"),
            (401, r#"{"error": {"code": "api_key_expired"}}"#, "key_invalid"),
            (404, r#"{"error": {"code": "resource_missing"}}"#, "gone"),
            (409, r#"{"error": {"code": "lock_timeout"}}"#, "unavailable"),
            (409, r#"{"error": {"code": "idempotency_key_in_use"}}"#, "unexpected"),
            (429, "{}", "throttled"),
            (500, "<html>", "unavailable"),
            (302, "", "unexpected"),
            (400, r#"{"error": {"message": "Unknown parameter."}}"#, "unexpected"),
        ] {
            let found = error(status, "/v1/events", body);
            assert_eq!((found.class.as_str(), found.status), (class, Some(status)), "{found:?}");
            assert!(!found.remedy.is_empty() && !found.message.ends_with('.'), "{found:?}");
            let shown = format!("{found:?}");
            assert!(!shown.contains("hidden") && !shown.contains("abcd"), "{shown}");
        }
    }

    #[test]
    fn a_resource_is_a_path_without_ids() {
        assert_eq!(resource("/v1/invoices/in_1Q0?expand[]=a"), "/v1/invoices");
        assert_eq!(resource("/v2/core/event_destinations?limit=1"), "/v2/core/event_destinations");
        assert_eq!(resource("/v1/checkout/sessions/cs_test_a1"), "/v1/checkout/sessions");
    }
}
