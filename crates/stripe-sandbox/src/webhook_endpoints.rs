//! `/v1/webhook_endpoints`: created with a secret that only the answer to the creation shows.

use crate::api_error::ApiError;
use crate::calls::Call;
use crate::endpoints::{Endpoint, Kind, Payload, Secret};
use crate::lists::{OF_EVERY_LIST, Page, list};
use crate::params::Params;
use crate::state::State;
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use url::Url;

/// How many endpoints an account may have.
const ENDPOINTS_MAX: usize = 16;

/// Answers a call below `/v1/webhook_endpoints`.
pub fn execute(state: &mut State, call: &Call<'_>, rest: &str) -> Result<Value, ApiError> {
    let id = rest.strip_prefix("webhook_endpoints/");
    match (call.method, id) {
        (&Method::GET, None) => all(state, call),
        (&Method::POST, None) => create(state, call),
        (&Method::GET, Some(id)) => Ok(find(state, call, id)?.webhook_endpoint(false)),
        (&Method::POST, Some(id)) => update(state, call, id),
        (&Method::DELETE, Some(id)) => delete(state, call, id),
        _ => Err(call.unrecognized()),
    }
}

impl Endpoint {
    /// Whether the caller may see it.
    pub fn belongs_to(&self, call: &Call<'_>) -> bool {
        self.account == call.caller.account && self.livemode == call.caller.key.is_live()
    }
}

fn find<'a>(state: &'a State, call: &Call<'_>, id: &str) -> Result<&'a Endpoint, ApiError> {
    let own = |endpoint: &&Endpoint| endpoint.kind == Kind::Webhook && endpoint.belongs_to(call);
    let found = state.endpoints.iter().filter(own).find(|endpoint| endpoint.id == id);
    found.ok_or_else(|| ApiError::missing("webhook endpoint", id))
}

fn all(state: &State, call: &Call<'_>) -> Result<Value, ApiError> {
    call.params.check_names(|name| OF_EVERY_LIST.contains(&name))?;
    let page = Page::parse(&call.params)?;
    page.check_cursor("webhook endpoint", |id| find(state, call, id).is_ok())?;
    let (found, has_more) = page.cut(
        state.endpoints.iter().rev(),
        |endpoint| endpoint.id.as_str(),
        |endpoint| endpoint.kind == Kind::Webhook && endpoint.belongs_to(call),
    );
    let data: Vec<_> = found.into_iter().map(|endpoint| endpoint.webhook_endpoint(false)).collect();
    Ok(list("/v1/webhook_endpoints", &data, has_more))
}

fn create(state: &mut State, call: &Call<'_>) -> Result<Value, ApiError> {
    const KNOWN: [&str; 7] =
        ["url", "enabled_events", "api_version", "connect", "description", "metadata", "expand"];
    let params = &call.params;
    params.check_names(|name| KNOWN.contains(&name))?;
    let url = params.get("url").ok_or_else(|| missing("url"))?;
    check_url(url, call.caller.key.is_live())?;
    let enabled_events = params.list("enabled_events");
    if enabled_events.is_empty() {
        return Err(missing("enabled_events"));
    }
    check_types(&enabled_events)?;
    check_room(state, call)?;
    let endpoint = Endpoint {
        id: state.id("we"),
        kind: Kind::Webhook,
        payload: Payload::Snapshot,
        account: call.caller.account.clone(),
        livemode: call.caller.key.is_live(),
        url: url.to_owned(),
        name: String::new(),
        description: params.get("description").filter(|text| !text.is_empty()).map(str::to_owned),
        enabled_events: enabled_events.into_iter().map(str::to_owned).collect(),
        api_version: params.get("api_version").map(str::to_owned),
        metadata: metadata(params, BTreeMap::new()),
        created: call.now,
        updated: call.now,
        is_enabled: true,
        disabled_reason: "",
        secrets: vec![state.secret()],
    };
    let answer = endpoint.webhook_endpoint(true);
    state.add_endpoint(endpoint);
    Ok(answer)
}

fn update(state: &mut State, call: &Call<'_>, id: &str) -> Result<Value, ApiError> {
    const KNOWN: [&str; 6] = ["url", "enabled_events", "disabled", "description", "metadata", "expand"];
    find(state, call, id)?;
    let params = &call.params;
    params.check_names(|name| KNOWN.contains(&name))?;
    if let Some(url) = params.get("url") {
        check_url(url, call.caller.key.is_live())?;
    }
    let enabled_events = params.list("enabled_events");
    check_types(&enabled_events)?;
    let disabled = params.flag("disabled")?;
    if let Some(endpoint) = state.endpoint_mut(id) {
        if let Some(url) = params.get("url") {
            url.clone_into(&mut endpoint.url);
        }
        if !enabled_events.is_empty() {
            endpoint.enabled_events = enabled_events.into_iter().map(str::to_owned).collect();
        }
        if let Some(text) = params.get("description") {
            endpoint.description = (!text.is_empty()).then(|| text.to_owned());
        }
        endpoint.metadata = metadata(params, std::mem::take(&mut endpoint.metadata));
        endpoint.updated = call.now;
    }
    if let Some(disabled) = disabled {
        state.set_enabled(id, !disabled, "user");
    }
    Ok(find(state, call, id)?.webhook_endpoint(false))
}

fn delete(state: &mut State, call: &Call<'_>, id: &str) -> Result<Value, ApiError> {
    find(state, call, id)?;
    state.give_up(id);
    state.endpoints.retain(|endpoint| endpoint.id != id);
    Ok(json!({ "id": id, "object": "webhook_endpoint", "deleted": true }))
}

impl State {
    /// A new signing secret.
    pub fn secret(&mut self) -> Secret {
        let id = self.id("secret");
        let value = format!("whsec_{}", hex::encode(crate::signature::digest(&id, self.options.seed)));
        Secret { value: value.chars().take(38).collect(), expires: None }
    }
}

/// Answers 400 if the account has as many endpoints as it may.
pub fn check_room(state: &State, call: &Call<'_>) -> Result<(), ApiError> {
    let own =
        state.endpoints.iter().filter(|endpoint| endpoint.kind != Kind::Forward && endpoint.belongs_to(call));
    if own.count() < ENDPOINTS_MAX {
        return Ok(());
    }
    let mode = if call.caller.key.is_live() { "live" } else { "test" };
    Err(ApiError::new(
        400,
        format!("You have reached the maximum of {ENDPOINTS_MAX} {mode} webhook endpoints."),
    ))
}

/// Answers 400 if events cannot be sent there: in live mode only by HTTPS, except on this machine.
pub fn check_url(url: &str, is_live: bool) -> Result<(), ApiError> {
    let invalid = |message: &str| Err(ApiError::invalid("url", message).code("url_invalid"));
    let Ok(parsed) = Url::parse(url) else {
        return invalid("Invalid URL: An explicit scheme (such as https) must be provided.");
    };
    let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    match parsed.scheme() {
        "https" => Ok(()),
        "http" if is_local || !is_live => Ok(()),
        "http" => invalid("Invalid URL: URL must use HTTPS in live mode."),
        _ => invalid("Invalid URL: URL must use HTTP or HTTPS."),
    }
}

fn check_types(types: &[&str]) -> Result<(), ApiError> {
    let is_name = |name: &str| {
        name == "*" || (name.contains('.') && !name.contains('*') && !name.chars().any(char::is_whitespace))
    };
    match types.iter().position(|name| !is_name(name)) {
        None => Ok(()),
        Some(place) => {
            let name = types.get(place).copied().unwrap_or_default();
            let message = format!("Invalid enabled_events[{place}]: {name} is not a type of event.");
            Err(ApiError::invalid(&format!("enabled_events[{place}]"), message))
        }
    }
}

fn metadata(params: &Params, mut metadata: BTreeMap<String, String>) -> BTreeMap<String, String> {
    if params.get("metadata") == Some("") {
        metadata.clear();
    }
    for (name, value) in params.map("metadata").into_iter().take(50) {
        if value.is_empty() {
            metadata.remove(name);
        } else {
            metadata.insert(name.to_owned(), value.to_owned());
        }
    }
    metadata
}

fn missing(name: &str) -> ApiError {
    ApiError::invalid(name, format!("Missing required param: {name}.")).code("parameter_missing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_endpoints_need_https_except_on_this_machine() {
        for url in ["https://example.com/hook", "http://127.0.0.1:8000/hook", "http://[::1]/hook"] {
            assert!(check_url(url, true).is_ok(), "{url}");
        }
        for url in ["http://example.com/hook", "example.com", "ftp://example.com"] {
            assert_eq!(check_url(url, true).unwrap_err().code, Some("url_invalid"), "{url}");
        }
        assert!(check_url("http://example.com/hook", false).is_ok());
    }

    #[test]
    fn types_are_names_or_all() {
        assert!(check_types(&["*"]).is_ok() && check_types(&["invoice.paid"]).is_ok());
        assert!(check_types(&["invoice.paid", "invoice.*"]).is_err() && check_types(&["paid"]).is_err());
    }
}
