//! The shop in a browser: its newest events, endpoints and deliveries, and buttons for what can go wrong.
//!
//! Plain HTML without scripts and external resources. A button is a form; forms of foreign pages are refused
//! before they get here.

use crate::acts;
use crate::deliveries::{Delivery, Stage};
use crate::endpoints::Endpoint;
use crate::events::{Event, rfc3339};
use crate::shared::Shared;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandbox_http::Escaped;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

const ROWS_MAX: usize = 30;

/// The page and its buttons.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new().route("/", get(show)).route("/do/{act}", post(acts::perform)).with_state(shared)
}

async fn show(State(shared): State<Arc<Shared>>) -> Response {
    let mut body = String::new();
    {
        let mut state = shared.state();
        let now = state.advance();
        heading(&mut body, &state, now);
        let _ = write!(
            body,
            "<div class=acts>{}</div>",
            acts::SHOP.iter().map(acts::Act::button).collect::<String>()
        );
        endpoints(&mut body, &state.endpoints, state.deliveries.iter());
        let _ = write!(
            body,
            "<h2>Faults</h2><div class=acts>{}</div>",
            acts::FAULTS.iter().map(acts::Act::button).collect::<String>()
        );
        let rules: Vec<_> =
            state.delivery_faults.rules().iter().map(|rule| serde_json::json!(rule)).collect();
        rules_in_force(&mut body, &rules);
        events(&mut body, state.events.newest().take(ROWS_MAX));
        deliveries(&mut body, state.deliveries.iter().rev().take(ROWS_MAX));
    }
    let rules: Vec<_> = shared.faults().rules().iter().map(|rule| serde_json::json!(rule)).collect();
    rules_in_force(&mut body, &rules);
    requests(&mut body, &shared);
    document(&body)
}

fn heading(body: &mut String, state: &crate::state::State, now: i64) {
    let options = &state.options;
    let mode = if options.livemode { "live mode" } else { "test mode" };
    let shop = match (state.shop().is_some(), state.is_full()) {
        (false, _) => "There is no shop.",
        (true, true) => "The shop has stopped: the stand-in holds as many objects as it may.",
        (true, false) => "The shop is open.",
    };
    let _ = write!(
        body,
        "<h1>A stand-in for Stripe</h1><p>Account <code>{account}</code>, {mode}. {time} by its clock, which runs at \
         {speed} times the real speed. {events} events, {objects} objects. {shop}</p>",
        account = Escaped(&options.account),
        time = rfc3339(now, 0).replace(".000Z", "Z"),
        speed = state.clock.speed(),
        events = state.events.len(),
        objects = state.objects.len(),
    );
}

fn endpoints<'a>(body: &mut String, endpoints: &[Endpoint], deliveries: impl Iterator<Item = &'a Delivery>) {
    let mut counts = std::collections::HashMap::<&str, [usize; 3]>::new();
    for delivery in deliveries {
        let [sent, waiting, failed] = counts.entry(&delivery.endpoint).or_default();
        *match delivery.stage {
            Stage::Succeeded | Stage::Lost => sent,
            Stage::Waiting | Stage::Sending => waiting,
            Stage::Failed | Stage::Dropped => failed,
        } += 1;
    }
    let headings = ["Endpoint", "Payload", "URL", "Events", "Status", "Sent", "Waiting", "Failed", ""];
    table(body, "Endpoints", &headings, endpoints.iter().map(|endpoint| {
        let [sent, waiting, failed] = counts.get(endpoint.id.as_str()).copied().unwrap_or_default();
        let class = if endpoint.is_enabled { "good" } else { "bad" };
        let id = Escaped(&endpoint.id);
        let (act, word) = if endpoint.is_enabled { ("disable", "Disable") } else { ("enable", "Enable") };
        format!(
            "<td><code>{id}</code><td>{payload}<td>{url}<td>{types}<td><span class=\"pill {class}\">{status}</span>\
             <td>{sent}<td>{waiting}<td>{failed}<td>{switch} {roll}",
            payload = endpoint.payload.name(),
            url = Escaped(&endpoint.url),
            types = Escaped(&endpoint.enabled_events.join(", ")),
            status = endpoint.status(),
            switch = acts::button_for(act, &endpoint.id, word),
            roll = acts::button_for("roll", &endpoint.id, "Roll secret"),
        )
    }));
}

fn events<'a>(body: &mut String, events: impl Iterator<Item = &'a Event>) {
    table(body, "Newest events", &["Time", "Type", "Object", "Event", "Delivery"], events.map(|event| {
        let (class, word) = match (event.pending, event.failed) {
            (0, 0) => ("good", "done"),
            (0, _) => ("bad", "failed"),
            _ => ("wait", "pending"),
        };
        let object = event.object.get("id").and_then(Value::as_str).unwrap_or("none");
        format!(
            "<td>{time}<td>{kind}<td><code>{object}</code><td><code>{id}</code><td><span class=\"pill {class}\">{word}</span>",
            time = rfc3339(event.created, 0).replace(".000Z", "Z"),
            kind = Escaped(&event.event_type),
            object = Escaped(object),
            id = Escaped(&event.id),
        )
    }));
}

fn deliveries<'a>(body: &mut String, deliveries: impl Iterator<Item = &'a Delivery>) {
    let headings = ["Number", "Type", "Endpoint", "State", "Attempts", "Answer"];
    table(body, "Newest deliveries", &headings, deliveries.map(|delivery| {
        let (class, word) = match delivery.stage {
            Stage::Succeeded => ("good", "succeeded"),
            Stage::Waiting => ("wait", "waiting"),
            Stage::Sending => ("wait", "sending"),
            Stage::Failed => ("bad", "failed"),
            Stage::Dropped => ("bad", "dropped"),
            Stage::Lost => ("bad", "lost"),
        };
        let status = delivery.status.map(|status| status.to_string());
        let answer = status.or_else(|| delivery.error.clone()).unwrap_or_default();
        format!(
            "<td>{number}<td>{kind}<td><code>{endpoint}</code><td><span class=\"pill {class}\">{word}</span>\
             <td>{attempts}<td>{answer}",
            number = delivery.number,
            kind = Escaped(&delivery.event_type),
            endpoint = Escaped(&delivery.endpoint),
            attempts = delivery.attempts,
            answer = Escaped(&answer),
        )
    }));
}

fn requests(body: &mut String, shared: &Shared) {
    let traffic = shared.traffic();
    let headings = ["Number", "Request", "Key", "Answer"];
    table(body, "Newest requests", &headings, traffic.latest().rev().take(ROWS_MAX).map(|request| {
        let status = request.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let separator = if request.query.is_empty() { "" } else { "?" };
        format!(
            "<td>{number}<td><code>{method} {path}{separator}{query}</code><td><code>{key}</code><td>{status}",
            number = request.number,
            method = Escaped(&request.method),
            path = Escaped(&request.path),
            query = Escaped(&request.query),
            key = Escaped(request.key.as_deref().unwrap_or("none")),
        )
    }));
}

fn rules_in_force(body: &mut String, rules: &[Value]) {
    for rule in rules {
        let _ = write!(body, "<p>In force: <code>{}</code></p>", Escaped(&rule.to_string()));
    }
}

fn table(body: &mut String, title: &str, headings: &[&str], rows: impl Iterator<Item = String>) {
    let rows: Vec<_> = rows.collect();
    let _ = write!(body, "<h2>{title}</h2><div class=scroll tabindex=0 role=region aria-label=\"{title}\">");
    if rows.is_empty() {
        body.push_str("<div class=empty>None yet.</div></div>");
        return;
    }
    body.push_str("<table><thead><tr>");
    for heading in headings {
        let _ = write!(body, "<th scope=col>{heading}</th>");
    }
    body.push_str("</tr></thead><tbody>");
    for row in rows {
        let _ = write!(body, "<tr>{row}</tr>");
    }
    body.push_str("</tbody></table></div>");
}

fn document(body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\"><meta http-equiv=refresh content=5>\
         <title>Stripe stand-in</title><style>{STYLE}</style></head><body>{body}</body></html>"
    );
    let mut response = Html(html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const STYLE: &str = include_str!("style.css");

/// Allows only the one style sheet, by its hash, and the page's own forms.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});
