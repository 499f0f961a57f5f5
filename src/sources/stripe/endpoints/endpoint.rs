//! An endpoint, as v1 or v2 of Stripe's API shows it.

use crate::domain::source::WEBHOOKS;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use url::Url;

/// Metadata: the fingerprint of the endpoint's secret.
pub(super) const SECRET_FINGERPRINT: &str = "eventbridge_secret";

/// Metadata: the idempotency key of the request that created the endpoint.
pub(super) const REQUEST: &str = "eventbridge_request";

/// Metadata: the endpoints that this one is to replace, by their ids, separated by commas.
pub(super) const REPLACES: &str = "eventbridge_replaces";

/// How Stripe sends events to an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// With the object's state.
    #[default]
    Snapshot,
    /// With a reference to the object.
    Thin,
}

impl Format {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Thin => "thin",
        }
    }
}

/// An endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Stripe's id of it.
    pub id: String,
    /// Where it leads.
    pub url: String,
    /// Whether Stripe sends to it.
    pub is_enabled: bool,
    /// How it sends.
    pub format: Format,
    /// The types that it sends, as Stripe's API writes them.
    pub events: Vec<String>,
    /// The version of the objects in its events; `None` for the account's own, and for thin events.
    pub api_version: Option<String>,
    /// When it was created.
    pub created: Option<DateTime<Utc>>,
    /// Whether v1 of the API has it.
    pub is_of_v1: bool,
    pub(super) metadata: BTreeMap<String, String>,
}

/// An endpoint that was just created.
#[derive(Debug, Clone)]
pub struct Created {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Its secret, which Stripe shows this once.
    pub secret: SecretString,
}

impl Endpoint {
    /// Reads one of v1; `None` without an id or an address.
    pub(super) fn of_v1(value: &Value) -> Option<Self> {
        Some(Self {
            id: text(value, "id")?,
            url: text(value, "url")?,
            is_enabled: value.get("status")?.as_str()? == "enabled",
            format: Format::Snapshot,
            events: texts(value.get("enabled_events")),
            api_version: text(value, "api_version"),
            created: value
                .get("created")
                .and_then(Value::as_i64)
                .and_then(|at| DateTime::from_timestamp(at, 0)),
            is_of_v1: true,
            metadata: metadata(value),
        })
    }

    /// Reads one of v2; `None` if it is no webhook, or without an id or an address.
    pub(super) fn of_v2(value: &Value) -> Option<Self> {
        Some(Self {
            id: text(value, "id")?,
            url: text(value.get("webhook_endpoint")?, "url")?,
            is_enabled: value.get("status")?.as_str()? == "enabled",
            format: match value.get("event_payload")?.as_str()? {
                "thin" => Format::Thin,
                _ => Format::Snapshot,
            },
            events: texts(value.get("enabled_events")),
            api_version: text(value, "snapshot_api_version"),
            created: text(value, "created").and_then(|at| at.parse().ok()),
            is_of_v1: false,
            metadata: metadata(value),
        })
    }

    /// Whether `stripe init` recorded that this is its secret.
    pub fn has_secret(&self, secret: &SecretString) -> bool {
        self.metadata.get(SECRET_FINGERPRINT).is_some_and(|known| *known == fingerprint(secret))
    }

    /// Whether `stripe init` recorded a secret for it at all.
    pub fn has_recorded_secret(&self) -> bool {
        self.metadata.contains_key(SECRET_FINGERPRINT)
    }

    /// The idempotency key with which `stripe init` created it.
    pub fn request(&self) -> Option<uuid::Uuid> {
        self.metadata.get(REQUEST)?.parse().ok()
    }

    /// The endpoints that `stripe init` created it to replace, by their ids, separated by commas.
    pub fn replaced(&self) -> Option<&str> {
        self.metadata.get(REPLACES).map(String::as_str)
    }

    /// Whether `stripe init` created it to replace this endpoint.
    pub fn replaces(&self, id: &str) -> bool {
        self.replaced().is_some_and(|ids| ids.split(',').any(|one| one == id))
    }
}

/// A part of the secret's hash: it tells whether two secrets are the same, and nothing else about a secret of 32
/// random characters.
pub(super) fn fingerprint(secret: &SecretString) -> String {
    let hash =
        Sha256::new().chain_update("eventbridge endpoint ").chain_update(secret.expose_secret()).finalize();
    hex::encode(hash).chars().take(16).collect()
}

/// The webhook's address of a source, below the service's public address. An address that has the path already
/// stays.
pub fn webhook_url(base: &Url, source: &str) -> Url {
    let path = format!("{WEBHOOKS}{source}");
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    let before = base.path().trim_end_matches('/');
    if before.ends_with(&path) {
        url.set_path(before);
    } else {
        url.set_path(&format!("{before}{path}"));
    }
    url
}

/// Whether an endpoint's address is this one, apart from how it is written.
pub fn is_same_url(text: &str, url: &Url) -> bool {
    let Ok(other) = Url::parse(text) else { return false };
    let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
    (other.scheme(), other.host_str(), other.port_or_known_default(), path(&other))
        == (url.scheme(), url.host_str(), url.port_or_known_default(), path(url))
}

/// Whether an endpoint's address ends with the webhook's path of this source.
pub(super) fn has_webhook_path(text: &str, source: &str) -> bool {
    let path = format!("{WEBHOOKS}{source}");
    Url::parse(text).is_ok_and(|url| url.path().trim_end_matches('/').ends_with(&path))
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let texts = value.and_then(Value::as_array).into_iter().flatten();
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn metadata(value: &Value) -> BTreeMap<String, String> {
    let entries = value.get("metadata").and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_apis_show_the_same_endpoint() {
        let old = json!({"id": "we_1", "object": "webhook_endpoint", "url": "https://a.example/x", "status": "enabled",
            "enabled_events": ["invoice.paid"], "api_version": "2026-10-28.endive", "created": 0, "metadata": {"a": "b"}});
        let new = json!({"id": "ed_1", "status": "disabled", "event_payload": "thin", "created": "1970-01-01T00:00:00Z",
            "enabled_events": ["v1.invoice.paid"], "type": "webhook_endpoint", "snapshot_api_version": null,
            "webhook_endpoint": {"url": "https://a.example/x"}});
        let (old, new) = (Endpoint::of_v1(&old).expect("one"), Endpoint::of_v2(&new).expect("one"));
        assert_eq!((&old.url, old.created), (&new.url, new.created));
        assert_eq!((old.is_enabled, old.format), (true, Format::Snapshot));
        assert_eq!((new.is_enabled, new.format), (false, Format::Thin));
        assert_eq!((old.api_version.as_deref(), new.api_version), (Some("2026-10-28.endive"), None));
        for other in [json!({}), json!({"id": "ed_2", "type": "amazon_eventbridge", "status": "enabled"})] {
            assert_eq!((Endpoint::of_v1(&other), Endpoint::of_v2(&other)), (None, None));
        }
    }

    #[test]
    fn the_address_gets_the_path_of_the_webhook_once() {
        let of = |base: &str| webhook_url(&base.parse().expect("a URL"), "stripe").to_string();
        for base in
            ["https://a.example", "https://a.example/", "https://a.example/api/v1/webhooks/stripe/?x#y"]
        {
            assert_eq!(of(base), "https://a.example/api/v1/webhooks/stripe", "{base}");
        }
        assert_eq!(of("https://a.example/app/"), "https://a.example/app/api/v1/webhooks/stripe");
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        let url: Url = "https://a.example/x".parse().expect("a URL");
        for same in ["https://a.example/x", "HTTPS://A.example:443/x/"] {
            assert!(is_same_url(same, &url), "{same}");
        }
        for other in ["http://a.example/x", "https://b.example/x", "https://a.example/y", "x"] {
            assert!(!is_same_url(other, &url), "{other}");
        }
    }

    #[test]
    fn a_recorded_secret_is_recognized_and_not_shown() {
        let (one, other) = (SecretString::from("whsec_one"), SecretString::from("whsec_other"));
        let metadata = BTreeMap::from([(SECRET_FINGERPRINT.to_owned(), fingerprint(&one))]);
        let endpoint = Endpoint { metadata, ..Endpoint::default() };
        assert!(endpoint.has_secret(&one) && !endpoint.has_secret(&other) && endpoint.has_recorded_secret());
        assert!(!format!("{endpoint:?}").contains("whsec"), "{endpoint:?}");
        assert!(!Endpoint::default().has_secret(&one));
    }
}
