//! The calls of the API's first version: objects, lists, events, the account and its balance.

use crate::account::{self, shown};
use crate::api_error::ApiError;
use crate::events::{Event, WINDOW_SECONDS};
use crate::expand::expand;
use crate::keys::ApiKey;
use crate::lists::{OF_EVERY_LIST, Page, Range, Selection, list};
use crate::params::Params;
use crate::resources::{self, Resource};
use crate::state::State;
use crate::{v2, webhook_endpoints};
use axum::http::Method;
use serde_json::Value;

/// Who calls, and what they see.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key.
    pub key: ApiKey,
    /// The account that is asked about.
    pub account: String,
    /// Whether there is nothing for this key: another account than the shop's, or the other mode.
    pub sees_nothing: bool,
    /// Whether the key is of the shop's account and of the other mode.
    pub is_other_mode: bool,
}

/// A call.
#[derive(Debug)]
pub struct Call<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, without the query.
    pub path: &'a str,
    /// The query of a read, the form of a write.
    pub params: Params,
    /// The body of a write in the API's second version.
    pub json: Value,
    /// Who calls.
    pub caller: Caller,
    /// The stand-in's time.
    pub now: i64,
}

impl Call<'_> {
    /// Answers it.
    pub fn execute(&self, state: &mut State) -> Result<Value, ApiError> {
        if self.path.starts_with("/v2/") {
            return v2::execute(state, self);
        }
        let Some(rest) = self.path.strip_prefix("/v1/") else { return Err(self.unrecognized()) };
        let reads = self.method == Method::GET;
        let permission = resources::permission(rest, !reads);
        self.caller.key.require(&permission, &state.options.account)?;
        if rest == "webhook_endpoints" || rest.starts_with("webhook_endpoints/") {
            return webhook_endpoints::execute(state, self, rest);
        }
        if !reads {
            return Err(self.unrecognized());
        }
        let mut answer = self.read(state, rest)?;
        let properties = self.params.list("expand");
        expand(state, &mut answer, &properties, &self.caller.key, self.now)?;
        Ok(answer)
    }

    /// The error for an address that the API does not have.
    pub fn unrecognized(&self) -> ApiError {
        ApiError::unrecognized(self.method.as_str(), self.path)
    }

    /// The error for an object that does not exist, or not in this mode.
    pub fn missing(&self, state: &State, what: &str, id: &str) -> ApiError {
        let exists = state.objects.get(id).is_some() || state.events.get(id).is_some();
        if !(self.caller.is_other_mode && exists) {
            return ApiError::missing(what, id);
        }
        let (own, other) = if self.caller.key.is_live() { ("live", "test") } else { ("test", "live") };
        let message = format!(
            "No such {what}: '{id}'; a similar object exists in {other} mode, but a {own} mode key was used to \
             make this request."
        );
        ApiError { message, ..ApiError::missing(what, id) }
    }

    fn read(&self, state: &State, rest: &str) -> Result<Value, ApiError> {
        let segments: Vec<_> = rest.split('/').collect();
        match segments.as_slice() {
            ["account"] => Ok(account::account(state, &self.caller)),
            ["accounts", id] if *id == self.caller.account => Ok(account::account(state, &self.caller)),
            ["balance"] => Ok(account::balance(state, &self.caller, self.now)),
            ["events"] => self.events(state),
            ["events", id] => self.event(state, id),
            ["charges", id, "refunds"] => self.children(state, "refunds", ("charge", id)),
            ["customers", id, "subscriptions"] => self.children(state, "subscriptions", ("customer", id)),
            ["invoices", id, "lines"] => self.lines(state, id),
            _ => match resources::at(rest) {
                Some(resource) => self.list(state, resource, &self.params),
                None => self.object(state, rest),
            },
        }
    }

    fn object(&self, state: &State, rest: &str) -> Result<Value, ApiError> {
        let object = state.objects.at(self.path).filter(|_| !self.caller.sees_nothing);
        if let Some(object) = object {
            self.params.check_names(|name| name == "expand")?;
            return Ok(shown(object, self.now));
        }
        let Some((collection, id)) = rest.rsplit_once('/') else {
            return self.list_of_others(state);
        };
        let known = resources::at(collection).map(|resource| resource.object.to_owned());
        if known.is_none() && state.objects.list(self.path).next().is_some() {
            return self.list_of_others(state);
        }
        let what = known.unwrap_or_else(|| {
            resources::permission(collection, false)
                .trim_start_matches("rak_")
                .trim_end_matches("_read")
                .to_owned()
        });
        Err(self.missing(state, &what, id))
    }

    /// The list of objects that were put in from outside.
    fn list_of_others(&self, state: &State) -> Result<Value, ApiError> {
        if state.objects.list(self.path).next().is_none() {
            return Err(self.unrecognized());
        }
        let page = Page::parse(&self.params)?;
        let created = Range::parse(&self.params, "created")?;
        let (found, has_more) = page.cut(
            state.objects.list(self.path),
            |object| id_of(object),
            |object| {
                let time = object.get("created").and_then(Value::as_i64).unwrap_or(0);
                !self.caller.sees_nothing && created.holds(time)
            },
        );
        let data: Vec<_> = found.into_iter().map(|object| shown(object, self.now)).collect();
        Ok(list(self.path, &data, has_more))
    }

    fn list(&self, state: &State, resource: &Resource, params: &Params) -> Result<Value, ApiError> {
        let (page, further) = (Page::parse(params)?, further_parameters(resource));
        let selection = Selection::parse(resource, params, further)?;
        if resource.object == "subscription_item" && params.get("subscription").is_none() {
            let message = "Missing required param: subscription.";
            return Err(ApiError::invalid("subscription", message).code("parameter_missing"));
        }
        let payout = params.get("payout").filter(|_| resource.object == "balance_transaction");
        let intent = params.get_in("payment", "payment_intent");
        if !self.caller.sees_nothing {
            page.check_cursor(resource.object, |id| state.objects.get(id).is_some())?;
        }
        let collection = format!("/v1/{}", resource.path);
        let (found, has_more) = page.cut(
            state.objects.list(&collection),
            |object| id_of(object),
            |object| {
                !self.caller.sees_nothing
                    && payout.is_none_or(|payout| state.is_of_payout(object, payout))
                    && intent.is_none_or(|wanted| {
                        object.pointer("/payment/payment_intent").and_then(Value::as_str) == Some(wanted)
                    })
                    && object.get("deleted").is_none()
                    && selection.selects(object)
            },
        );
        let data: Vec<_> = found.into_iter().map(|object| shown(object, self.now)).collect();
        Ok(list(&collection, &data, has_more))
    }

    /// The objects of a list that belong to another object.
    fn children(&self, state: &State, path: &str, (field, id): (&str, &str)) -> Result<Value, ApiError> {
        if state.objects.get(id).is_none() || self.caller.sees_nothing {
            return Err(self.missing(state, field, id));
        }
        let Some(resource) = resources::at(path) else { return Err(self.unrecognized()) };
        let page = Page::parse(&self.params)?;
        let (found, has_more) = page.cut(
            state.objects.list(&format!("/v1/{path}")),
            |object| id_of(object),
            |object| object.get(field).and_then(Value::as_str) == Some(id),
        );
        self.params.check_names(|name| OF_EVERY_LIST.contains(&name) || resource.times.contains(&name))?;
        let data: Vec<_> = found.into_iter().map(|object| shown(object, self.now)).collect();
        Ok(list(self.path, &data, has_more))
    }

    fn lines(&self, state: &State, id: &str) -> Result<Value, ApiError> {
        let invoice = state.objects.get(id).filter(|_| !self.caller.sees_nothing);
        let Some(lines) = invoice.and_then(|invoice| invoice.pointer("/lines/data")?.as_array()) else {
            return Err(self.missing(state, "invoice", id));
        };
        let (found, has_more) = Page::parse(&self.params)?.cut(lines.iter(), |line| id_of(line), |_| true);
        let data: Vec<_> = found.into_iter().cloned().collect();
        Ok(list(self.path, &data, has_more))
    }

    fn events(&self, state: &State) -> Result<Value, ApiError> {
        const FILTERS: [&str; 5] = ["created", "type", "types", "delivery_success", "related_object"];
        self.params.check_names(|name| OF_EVERY_LIST.contains(&name) || FILTERS.contains(&name))?;
        let page = Page::parse(&self.params)?;
        let created = Range::parse(&self.params, "created")?;
        let delivered = self.params.flag("delivery_success")?;
        let (one, several) = (self.params.get("type"), self.params.list("types"));
        if several.len() > 20 {
            let message = "You may only specify up to 20 event types in the types parameter.";
            return Err(ApiError::invalid("types", message));
        }
        if one.is_some() && !several.is_empty() {
            let message = "You may only specify one of these parameters: type, types.";
            return Err(ApiError::invalid("type", message));
        }
        if !self.caller.sees_nothing {
            page.check_cursor("event", |id| state.events.get(id).is_some())?;
        }
        let (found, has_more) = page.cut(
            state.events.newest(),
            |event| event.id.as_str(),
            |event| {
                self.shows(event)
                    && created.holds(event.created)
                    && one.is_none_or(|wanted| is_of_type(event, wanted))
                    && (several.is_empty() || several.iter().any(|wanted| is_of_type(event, wanted)))
                    && delivered.is_none_or(|wanted| wanted == event.is_delivered())
            },
        );
        let data: Vec<_> = found.into_iter().map(|event| event.snapshot(&event.api_version)).collect();
        Ok(list("/v1/events", &data, has_more))
    }

    fn event(&self, state: &State, id: &str) -> Result<Value, ApiError> {
        let event = state.events.get(id).filter(|event| event.id == id && self.shows(event));
        match event {
            Some(event) => Ok(event.snapshot(&event.api_version)),
            None => Err(self.missing(state, "event", id)),
        }
    }

    /// Whether the API still shows an event to this caller.
    fn shows(&self, event: &Event) -> bool {
        !self.caller.sees_nothing && !event.is_only_thin() && event.created > self.now - WINDOW_SECONDS
    }
}

/// Parameters of a list that are no plain comparisons.
fn further_parameters(resource: &Resource) -> &'static [&'static str] {
    match resource.object {
        "balance_transaction" => &["payout"],
        "invoice_payment" => &["payment"],
        "subscription" => &["current_period_start", "current_period_end", "automatic_tax", "test_clock"],
        "customer" => &["test_clock"],
        "price" => &["lookup_keys", "recurring"],
        "product" => &["ids", "shippable"],
        _ => &[],
    }
}

fn is_of_type(event: &Event, wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(group) => event.event_type.starts_with(group),
        None => event.event_type == wanted,
    }
}

fn id_of(object: &Value) -> &str {
    object.get("id").and_then(Value::as_str).unwrap_or_default()
}
