//! The API's second version: event destinations and thin events. Bodies are JSON, pages have addresses.

use crate::api_error::ApiError;
use crate::calls::Call;
use crate::endpoints::{Endpoint, Kind, Payload};
use crate::events::{self, Event, WINDOW_SECONDS};
use crate::state::State;
use crate::webhook_endpoints::{check_room, check_url};
use axum::http::Method;
use chrono::DateTime;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Answers a call below `/v2/`.
pub fn execute(state: &mut State, call: &Call<'_>) -> Result<Value, ApiError> {
    let rest = call.path.strip_prefix("/v2/core/").unwrap_or_default();
    let segments: Vec<_> = rest.split('/').collect();
    let reads = call.method == Method::GET;
    let require = |permission: &str| call.caller.key.require(permission, &state.options.account);
    match (call.method, segments.as_slice()) {
        (&Method::GET, ["events"]) => {
            require("rak_event_read")?;
            thin_events(state, call)
        }
        (&Method::GET, ["events", id]) => {
            require("rak_event_read")?;
            thin_event(state, call, id)
        }
        (_, ["event_destinations", below @ ..]) => {
            require(if reads { "rak_webhook_read" } else { "rak_webhook_write" })?;
            destinations(state, call, below)
        }
        _ => Err(call.unrecognized()),
    }
}

fn destinations(state: &mut State, call: &Call<'_>, below: &[&str]) -> Result<Value, ApiError> {
    let included = included(call);
    match (call.method, below) {
        (&Method::GET, []) => {
            let own: Vec<_> =
                state.endpoints.iter().rev().filter(|endpoint| is_own(endpoint, call)).collect();
            let show = |endpoint: &&Endpoint| endpoint.event_destination(&included, false);
            page(call, &own, |endpoint| &endpoint.id, show)
        }
        (&Method::POST, []) => create(state, call, &included),
        (&Method::GET, [id]) => Ok(find(state, call, id)?.event_destination(&included, false)),
        (&Method::POST, [id]) => update(state, call, id, &included),
        (&Method::DELETE, [id]) => {
            find(state, call, id)?;
            state.give_up(id);
            state.endpoints.retain(|endpoint| endpoint.id != **id);
            Ok(json!({ "id": id, "object": "v2.core.event_destination", "deleted": true }))
        }
        (&Method::POST, [id, act @ ("enable" | "disable")]) => {
            find(state, call, id)?;
            state.set_enabled(id, *act == "enable", "user");
            Ok(find(state, call, id)?.event_destination(&included, false))
        }
        (&Method::POST, [id, "ping"]) => ping(state, call, id),
        _ => Err(call.unrecognized()),
    }
}

fn is_own(endpoint: &Endpoint, call: &Call<'_>) -> bool {
    endpoint.kind == Kind::Destination && endpoint.belongs_to(call)
}

fn find<'a>(state: &'a State, call: &Call<'_>, id: &str) -> Result<&'a Endpoint, ApiError> {
    let found = state.endpoints.iter().find(|endpoint| endpoint.id == id && is_own(endpoint, call));
    found.ok_or_else(|| ApiError::missing("event destination", id))
}

/// What the request includes: in the query of a read, in the body of a write.
fn included<'a>(call: &'a Call<'_>) -> Vec<&'a str> {
    let of_body = call.json.get("include").and_then(Value::as_array).into_iter().flatten();
    call.params.list("include").into_iter().chain(of_body.filter_map(Value::as_str)).collect()
}

fn create(state: &mut State, call: &Call<'_>, included: &[&str]) -> Result<Value, ApiError> {
    let text = |name: &str| call.json.get(name).and_then(Value::as_str);
    let required =
        |name: &'static str| text(name).filter(|text| !text.is_empty()).ok_or_else(|| missing(name));
    let (name, kind, payload) = (required("name")?, required("type")?, required("event_payload")?);
    if kind != "webhook_endpoint" {
        return Err(ApiError::invalid(
            "type",
            "This stand-in has only destinations of type webhook_endpoint.",
        ));
    }
    let payload = match payload {
        "snapshot" => Payload::Snapshot,
        "thin" => Payload::Thin,
        _ => return Err(ApiError::invalid("event_payload", "event_payload must be snapshot or thin.")),
    };
    let url = call.json.pointer("/webhook_endpoint/url").and_then(Value::as_str);
    let url = url.ok_or_else(|| missing("webhook_endpoint.url"))?;
    check_url(url, call.caller.key.is_live())?;
    let enabled_events = types(call, payload)?.ok_or_else(|| missing("enabled_events"))?;
    check_room(state, call)?;
    let version =
        text("snapshot_api_version").map_or_else(|| state.options.api_version.clone(), str::to_owned);
    let mode = if call.caller.key.is_live() { "ed_live" } else { "ed_test" };
    let endpoint = Endpoint {
        id: state.id(mode),
        kind: Kind::Destination,
        payload,
        account: call.caller.account.clone(),
        livemode: call.caller.key.is_live(),
        url: url.to_owned(),
        name: name.to_owned(),
        description: text("description").map(str::to_owned),
        enabled_events,
        api_version: (payload == Payload::Snapshot).then_some(version),
        metadata: metadata(call, BTreeMap::new()),
        created: call.now,
        updated: call.now,
        is_enabled: true,
        disabled_reason: "",
        secrets: vec![state.secret()],
    };
    let answer = endpoint.event_destination(included, true);
    state.add_endpoint(endpoint);
    Ok(answer)
}

fn update(state: &mut State, call: &Call<'_>, id: &str, included: &[&str]) -> Result<Value, ApiError> {
    let payload = find(state, call, id)?.payload;
    let url = call.json.pointer("/webhook_endpoint/url").and_then(Value::as_str);
    if let Some(url) = url {
        check_url(url, call.caller.key.is_live())?;
    }
    let enabled_events = types(call, payload)?;
    let text = |name: &str| call.json.get(name).and_then(Value::as_str).map(str::to_owned);
    if let Some(endpoint) = state.endpoint_mut(id) {
        if let Some(url) = url {
            url.clone_into(&mut endpoint.url);
        }
        if let Some(types) = enabled_events {
            endpoint.enabled_events = types;
        }
        if let Some(name) = text("name") {
            endpoint.name = name;
        }
        if let Some(description) = text("description") {
            endpoint.description = Some(description);
        }
        endpoint.metadata = metadata(call, std::mem::take(&mut endpoint.metadata));
        endpoint.updated = call.now;
    }
    Ok(find(state, call, id)?.event_destination(included, false))
}

/// Sends a ping to a destination, and returns its event.
fn ping(state: &mut State, call: &Call<'_>, id: &str) -> Result<Value, ApiError> {
    find(state, call, id)?;
    let event = state.id("evt");
    let body = json!({
        "id": event,
        "type": "v2.core.event_destination.ping",
        "livemode": call.caller.key.is_live(),
        "data": { "object": { "id": id, "object": "v2.core.event_destination" } },
    });
    let event = state.publish(&body, false);
    if let Some(known) = state.events.get_mut(&event) {
        known.path = Some(format!("/v2/core/event_destinations/{id}"));
    }
    state.deliver_to(&event, id);
    state.events.get(&event).map(|event| event.thin(true)).ok_or_else(|| ApiError::of_status(500))
}

/// The types that a body enables, if it has any.
fn types(call: &Call<'_>, payload: Payload) -> Result<Option<Vec<String>>, ApiError> {
    let Some(list) = call.json.get("enabled_events") else { return Ok(None) };
    let names = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<String> = names.map(str::to_owned).collect();
    let is_valid = |name: &String| match payload {
        _ if name == "*" => true,
        Payload::Thin => name.starts_with("v1.") || name.starts_with("v2."),
        Payload::Snapshot => name.contains('.') && !name.starts_with("v2."),
    };
    match names.iter().find(|name| !is_valid(name)) {
        _ if names.is_empty() => Err(missing("enabled_events")),
        None => Ok(Some(names)),
        Some(name) => {
            let message = format!("{name} is not an event type of {} payloads.", payload.name());
            Err(ApiError::invalid("enabled_events", message))
        }
    }
}

fn metadata(call: &Call<'_>, mut metadata: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let pairs = call.json.get("metadata").and_then(Value::as_object).into_iter().flatten();
    for (name, value) in pairs.take(50) {
        match value.as_str() {
            Some(text) if !text.is_empty() => metadata.insert(name.clone(), text.to_owned()),
            _ => metadata.remove(name),
        };
    }
    metadata
}

fn missing(name: &'static str) -> ApiError {
    ApiError::invalid(name, format!("Missing required field: {name}.")).code("missing_required_field")
}

fn thin_events(state: &State, call: &Call<'_>) -> Result<Value, ApiError> {
    let (types, object) = (call.params.list("types"), call.params.get("object_id"));
    if types.len() > 20 {
        return Err(ApiError::invalid("types", "At most 20 types can be given."));
    }
    let created = Times::parse(call)?;
    let found: Vec<_> = state
        .events
        .newest()
        .filter(|event| {
            shows(event, call)
                && object.is_none_or(|id| event.is_about(id))
                && (types.is_empty() || types.contains(&event.thin_type().as_str()))
                && created.hold(event)
        })
        .collect();
    page(call, &found, |event| &event.id, |event| event.thin(true))
}

fn thin_event(state: &State, call: &Call<'_>, id: &str) -> Result<Value, ApiError> {
    let event = state.events.get(id).filter(|event| event.thin_id() == id && shows(event, call));
    event.map(|event| event.thin(true)).ok_or_else(|| ApiError::missing("event", id))
}

fn shows(event: &Event, call: &Call<'_>) -> bool {
    !call.caller.sees_nothing && event.created > call.now - WINDOW_SECONDS
}

/// The bounds of `created`: times with milliseconds, which compare as texts.
struct Times(Vec<(String, String)>);

impl Times {
    fn parse(call: &Call<'_>) -> Result<Self, ApiError> {
        let bound = |(bound, value): (&str, &str)| {
            let time = DateTime::parse_from_rfc3339(value)
                .map_err(|_| ApiError::invalid("created", format!("{value} is not a time.")))?;
            let millis = u32::try_from(time.timestamp_millis().rem_euclid(1000)).unwrap_or(0);
            Ok((bound.to_owned(), events::rfc3339(time.timestamp(), millis)))
        };
        call.params.map("created").into_iter().map(bound).collect::<Result<_, _>>().map(Self)
    }

    fn hold(&self, event: &Event) -> bool {
        let time = events::rfc3339(event.created, event.millis);
        self.0.iter().all(|(bound, value)| match bound.as_str() {
            "gt" => time > *value,
            "gte" => time >= *value,
            "lt" => time < *value,
            _ => time <= *value,
        })
    }
}

/// A page of a list that is newest first. The token of the next page holds the last object's id.
fn page<T>(
    call: &Call<'_>,
    all: &[T],
    id: impl Fn(&T) -> &String,
    show: impl Fn(&T) -> Value,
) -> Result<Value, ApiError> {
    let limit = call.params.number("limit")?.unwrap_or(20);
    let limit = usize::try_from(limit).ok().filter(|limit| (1..=100).contains(limit));
    let limit = limit.ok_or_else(|| ApiError::invalid("limit", "limit must be from 1 to 100."))?;
    let start = match call.params.get("page") {
        None => 0,
        Some(token) => {
            let last = token.strip_prefix("page_").unwrap_or_default();
            let found = all.iter().position(|item| id(item) == last);
            found.ok_or_else(|| ApiError::invalid("page", "The page token is not valid."))? + 1
        }
    };
    let data: Vec<Value> = all.iter().skip(start).take(limit).map(show).collect();
    let last = all.get((start + limit).saturating_sub(1)).filter(|_| all.len() > start + limit);
    let next = last.map(|last| {
        let mut url = format!("{}?limit={limit}&page=page_{}", call.path, id(last));
        for param in call.params.iter().filter(|param| !matches!(param.name.as_str(), "limit" | "page")) {
            let value: String = url::form_urlencoded::byte_serialize(param.value.as_bytes()).collect();
            let _ = write!(url, "&{}={value}", param.full);
        }
        url
    });
    Ok(json!({ "data": data, "next_page_url": next, "previous_page_url": null }))
}
