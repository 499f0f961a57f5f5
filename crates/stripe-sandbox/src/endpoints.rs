//! Webhook endpoints of the API's first version, event destinations of its second, and what forwards like
//! `stripe listen`.

use crate::events::{Event, rfc3339};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `/v1/webhook_endpoints`.
    Webhook,
    /// `/v2/core/event_destinations`.
    Destination,
    /// What the options of the stand-in forward to; the API does not show it.
    Forward,
}

/// What an endpoint receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Whole objects.
    Snapshot,
    /// References to objects.
    Thin,
}

/// A signing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The whole secret, with its prefix.
    pub value: String,
    /// From then on it is not used any more.
    pub expires: Option<i64>,
}

/// An endpoint, as it is.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// What it receives.
    pub payload: Payload,
    /// The account that it belongs to.
    pub account: String,
    /// Whether it is of live mode.
    pub livemode: bool,
    /// Its address.
    pub url: String,
    /// The name of a destination.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
    /// The types that it receives; `*` stands for all.
    pub enabled_events: Vec<String>,
    /// The API version of snapshots; `None` for the account's.
    pub api_version: Option<String>,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub created: i64,
    /// Seconds since 1970.
    pub updated: i64,
    /// Whether events are sent to it.
    pub is_enabled: bool,
    /// Why it is disabled.
    pub disabled_reason: &'static str,
    /// Its signing secrets, newest first.
    pub secrets: Vec<Secret>,
}

impl Endpoint {
    /// Whether it receives an event of this type.
    pub fn receives(&self, event: &Event) -> bool {
        if !self.is_enabled || self.livemode != event.livemode {
            return false;
        }
        let thin_type = event.thin_type();
        let wanted = match self.payload {
            Payload::Snapshot => event.event_type.as_str(),
            Payload::Thin => thin_type.as_str(),
        };
        self.enabled_events.iter().any(|enabled| enabled == "*" || enabled == wanted)
    }

    /// The secrets that sign at that time.
    pub fn signing(&self, now: i64) -> Vec<String> {
        let valid = self.secrets.iter().filter(|secret| secret.expires.is_none_or(|expires| expires > now));
        valid.map(|secret| secret.value.clone()).collect()
    }

    /// As the API's first version shows it; the secret only in the answer to its creation.
    pub fn webhook_endpoint(&self, with_secret: bool) -> Value {
        let mut object = json!({
            "id": self.id,
            "object": "webhook_endpoint",
            "api_version": self.api_version,
            "application": null,
            "created": self.created,
            "description": self.description,
            "enabled_events": self.enabled_events,
            "livemode": self.livemode,
            "metadata": self.metadata,
            "status": self.status(),
            "url": self.url,
        });
        if with_secret {
            insert(&mut object, "secret", self.newest_secret());
        }
        object
    }

    /// As the API's second version shows it, with what the request includes.
    pub fn event_destination(&self, included: &[&str], is_new: bool) -> Value {
        let mut object = json!({
            "id": self.id,
            "object": "v2.core.event_destination",
            "created": rfc3339(self.created, 0),
            "description": self.description.as_deref().unwrap_or_default(),
            "enabled_events": self.enabled_events,
            "event_payload": self.payload.name(),
            "events_from": ["self"],
            "livemode": self.livemode,
            "metadata": self.metadata,
            "name": self.name,
            "status": self.status(),
            "type": "webhook_endpoint",
            "updated": rfc3339(self.updated, 0),
        });
        if !self.is_enabled {
            let details = json!({ "disabled": { "reason": self.disabled_reason } });
            insert(&mut object, "status_details", details);
        }
        if self.payload == Payload::Snapshot {
            insert(&mut object, "snapshot_api_version", self.api_version.clone());
        }
        let mut endpoint = Map::new();
        if included.contains(&"webhook_endpoint.url") {
            endpoint.insert("url".to_owned(), self.url.clone().into());
        }
        if is_new && included.contains(&"webhook_endpoint.signing_secret") {
            endpoint.insert("signing_secret".to_owned(), self.newest_secret().into());
        }
        if !endpoint.is_empty() {
            insert(&mut object, "webhook_endpoint", endpoint);
        }
        object
    }

    /// The secret that signs first.
    pub fn newest_secret(&self) -> String {
        self.secrets.first().map(|secret| secret.value.clone()).unwrap_or_default()
    }

    /// `enabled` or `disabled`.
    pub fn status(&self) -> &'static str {
        if self.is_enabled { "enabled" } else { "disabled" }
    }
}

impl Payload {
    /// `snapshot` or `thin`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Thin => "thin",
        }
    }
}

fn insert(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value.into());
    }
}
