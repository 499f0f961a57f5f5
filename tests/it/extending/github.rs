//! Webhooks of a GitHub repository.
//!
//! GitHub signs the raw body with HMAC-SHA256 in `X-Hub-Signature-256` and gives each delivery an id in
//! `X-GitHub-Delivery`. The body contains what happened (`action`) and the current issue or pull request.
//! Its `updated_at` determines the later of two states.

use axum::http::HeaderMap;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use eventbridge::config::{InstanceName, Reader};
use eventbridge::domain::event::{EventFacts, EventOrigin, NewEvent, StoredEvent, bounded};
use eventbridge::domain::source::Examples;
use eventbridge::domain::summary::{EventSummary, TITLE_SEPARATOR};
use eventbridge::sources::{Kind, Rejection, Source};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::Sha256;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    secrets: &[("WEBHOOK_SECRET", "the secret that you enter at GitHub")],
    signature_header: Some("X-Hub-Signature-256"),
    set_up: "At GitHub, under Settings › Webhooks, add this address with the content type application/json:",
    checks: &["signature_missing", "signature_no_match", "body_not_an_event", "event_id_invalid"],
    examples: Examples {
        event_id: "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        event_type: "issues.opened",
        type_pattern: "issues.*",
        object_id: "I_…",
        account: "octocat/hello-world",
    },
    ..Kind::new("github", "GitHub", configure)
};

/// Reads `GITHUB_WEBHOOK_SECRET`, for an instance with the name `github`.
fn configure(reader: &mut Reader<'_>, instance: &InstanceName) -> Arc<dyn Source> {
    let setting = instance.setting("WEBHOOK_SECRET");
    let secret = reader.secret(&setting);
    if secret.is_none() {
        reader.first_problem(&setting, "is missing: the secret that you entered at GitHub");
    }
    Arc::new(GitHub { name: instance.name.as_str().into(), secret })
}

struct GitHub {
    name: Arc<str>,
    secret: Option<SecretString>,
}

impl Source for GitHub {
    fn name(&self) -> &str {
        &self.name
    }

    fn receive(&self, headers: &HeaderMap, body: Bytes, _now: DateTime<Utc>) -> Result<NewEvent, Rejection> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let signature = header("x-hub-signature-256").ok_or(rejection("signature_missing"))?;
        let secret = self.secret.as_ref().filter(|secret| is_signed(secret, &body, signature));
        secret.ok_or(rejection("signature_no_match"))?;
        let id = header("x-github-delivery").filter(|id| !id.is_empty() && !id.contains(' '));
        let payload: Value = serde_json::from_slice(&body).map_err(|_| rejection("body_not_an_event"))?;
        let (kind, object) = object(&payload).unwrap_or(("", &Value::Null));
        let named = |value: &Value, name: &str| value[name].as_str().map(bounded);
        let event = header("x-github-event").unwrap_or_default();
        Ok(NewEvent {
            source: self.name.clone(),
            event_id: id.map(bounded).ok_or(rejection("event_id_invalid"))?,
            facts: EventFacts {
                event_type: match payload["action"].as_str() {
                    Some(action) => bounded(&format!("{event}.{action}")),
                    None => bounded(event),
                },
                object_id: named(object, "node_id"),
                object_type: Some(kind.to_owned()).filter(|kind| !kind.is_empty()),
                account: named(&payload["repository"], "full_name"),
                created: object["updated_at"].as_str().and_then(|at| at.parse().ok()),
                ..EventFacts::default()
            },
            // `created` is `updated_at`, so the later of two states is known.
            carries_state: !object.is_null(),
            origin: EventOrigin::Webhook,
            signature: signature.to_owned(),
            secret_name: "secret-1".to_owned(),
            payload: body,
        })
    }

    fn summarize(&self, event: &StoredEvent, _related: &[StoredEvent]) -> EventSummary {
        let payload: Value = serde_json::from_slice(&event.payload).unwrap_or_default();
        let mut summary = EventSummary::from_envelope(event);
        let Some((_, object)) = object(&payload) else { return summary };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let name = text(&object["title"]).unwrap_or_default();
        summary.title = [event.facts.event_type.as_str(), &name].join(TITLE_SEPARATOR);
        summary.object.status = text(&object["state"]);
        summary.object.title = name;
        summary.object.person.name = text(&object["user"]["login"]);
        summary.object.description = text(&object["body"]);
        summary.object.links.dashboard = text(&object["html_url"]);
        summary
    }
}

/// The object of the event, under GitHub's name.
fn object(payload: &Value) -> Option<(&'static str, &Value)> {
    ["issue", "pull_request"].into_iter().find_map(|kind| Some((kind, payload.get(kind)?)))
}

fn is_signed(secret: &SecretString, body: &[u8], signature: &str) -> bool {
    let digest = signature.strip_prefix("sha256=").and_then(|digits| hex::decode(digits).ok());
    let key = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes());
    matches!((key, digest), (Ok(key), Some(digest)) if key.clone().chain_update(body).verify_slice(&digest).is_ok())
}

fn rejection(check: &'static str) -> Rejection {
    Rejection {
        check,
        detail: "This is no webhook that GitHub has signed with the configured secret.".into(),
    }
}
