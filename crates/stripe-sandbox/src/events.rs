//! The events of the account, as snapshots and as thin events.

use crate::resources;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// How long the API shows an event, in seconds.
pub const WINDOW_SECONDS: i64 = 30 * 86_400;

/// An event.
#[derive(Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "`type` is a keyword, and `kind` is more than one thing here")]
pub struct Event {
    /// The snapshot's id.
    pub id: String,
    /// The snapshot's type.
    pub event_type: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The milliseconds of the thin event's time.
    pub millis: u32,
    /// The API version of the account, in which the API shows it.
    pub api_version: String,
    /// What caused it, as in the snapshot.
    pub request: Value,
    /// The object as it was then.
    pub object: Arc<Value>,
    /// What it had before, of what changed.
    pub previous: Option<Value>,
    /// Whether it is of live mode.
    pub livemode: bool,
    /// The account or organisation that it comes from.
    pub context: Option<String>,
    /// Further fields of a snapshot that was put in from outside, such as `account`.
    pub others: Map<String, Value>,
    /// Where the object is found, if it can be fetched.
    pub path: Option<String>,
    /// Whether a snapshot endpoint was enabled for it, so that the thin event names its snapshot.
    pub has_twin: bool,
    /// Deliveries that have neither succeeded nor failed for good.
    pub pending: u32,
    /// Deliveries that failed for good.
    pub failed: u32,
}

impl Event {
    /// The id of the thin event.
    pub fn thin_id(&self) -> String {
        let mode = if self.livemode { "live" } else { "test" };
        format!("evt_{mode}_{}", self.id.trim_start_matches("evt_"))
    }

    /// The type of the thin event.
    pub fn thin_type(&self) -> String {
        if self.is_only_thin() { self.event_type.clone() } else { format!("v1.{}", self.event_type) }
    }

    /// Whether it is an event of the API's second version, which has no snapshot.
    pub fn is_only_thin(&self) -> bool {
        self.event_type.starts_with("v2.")
    }

    /// The snapshot, in the shape of the API version.
    pub fn snapshot(&self, api_version: &str) -> Value {
        let mut body = json!({
            "id": self.id,
            "object": "event",
            "api_version": api_version,
            "created": self.created,
            "data": { "object": self.object.as_ref() },
            "livemode": self.livemode,
            "pending_webhooks": self.pending + self.failed,
            "request": self.request,
            "type": self.event_type,
        });
        if let Some(fields) = body.as_object_mut() {
            if let (Some(previous), Some(Value::Object(data))) = (&self.previous, fields.get_mut("data")) {
                data.insert("previous_attributes".to_owned(), previous.clone());
            }
            if let Some(context) = &self.context {
                fields.insert("context".to_owned(), context.clone().into());
            }
            fields.extend(self.others.clone());
        }
        body
    }

    /// The thin event, as it is sent. The API shows the reason too.
    pub fn thin(&self, with_reason: bool) -> Value {
        let mut body = json!({
            "id": self.thin_id(),
            "object": "v2.core.event",
            "type": self.thin_type(),
            "livemode": self.livemode,
            "created": rfc3339(self.created, self.millis),
        });
        let Some(fields) = body.as_object_mut() else { return body };
        if let Some(context) = &self.context {
            fields.insert("context".to_owned(), context.clone().into());
        }
        if let Some(path) = &self.path {
            let text = |name: &str| self.object.get(name).and_then(Value::as_str).unwrap_or_default();
            let related = json!({ "id": text("id"), "type": text("object"), "url": path });
            fields.insert("related_object".to_owned(), related);
        }
        if self.has_twin {
            fields.insert("snapshot_event".to_owned(), self.id.clone().into());
        }
        if with_reason && let Some(id) = self.request.get("id").filter(|id| id.is_string()) {
            let key = self.request.get("idempotency_key").and_then(Value::as_str).unwrap_or_default();
            let reason = json!({ "type": "request", "request": { "id": id, "idempotency_key": key } });
            fields.insert("reason".to_owned(), reason);
        }
        body
    }

    /// Whether all its deliveries have succeeded.
    pub fn is_delivered(&self) -> bool {
        self.pending == 0 && self.failed == 0
    }

    /// Whether it is about this object.
    pub fn is_about(&self, id: &str) -> bool {
        self.object.get("id").and_then(Value::as_str) == Some(id)
    }
}

/// A time as the API's second version writes it.
pub fn rfc3339(seconds: i64, millis: u32) -> String {
    let time = DateTime::from_timestamp(seconds, millis * 1_000_000).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

type Place = (i64, u64);

/// The latest events.
#[derive(Debug)]
pub struct Events {
    all: BTreeMap<Place, Event>,
    places: HashMap<String, Place>,
    count: u64,
    most: usize,
}

impl Events {
    /// No events; at most so many are kept.
    pub fn new(most: usize) -> Self {
        Self { all: BTreeMap::new(), places: HashMap::new(), count: 0, most: most.max(1) }
    }

    /// Adds an event. Beyond the limit the oldest goes. An id that exists is not added again.
    pub fn add(&mut self, mut event: Event) {
        if self.places.contains_key(&event.id) {
            return;
        }
        self.count += 1;
        let place = (event.created, self.count);
        let before = self.all.range(..place).next_back().map(|(_, before)| before);
        event.millis = match before {
            Some(before) if before.created == event.created => (before.millis + 1).min(999),
            _ => u32::try_from(self.count * 37 % 500).unwrap_or(0),
        };
        self.places.insert(event.id.clone(), place);
        self.places.insert(event.thin_id(), place);
        self.all.insert(place, event);
        while self.all.len() > self.most {
            let Some((_, oldest)) = self.all.pop_first() else { break };
            self.places.remove(&oldest.id);
            self.places.remove(&oldest.thin_id());
        }
    }

    /// The event with this id, of the snapshot or of the thin event.
    pub fn get(&self, id: &str) -> Option<&Event> {
        self.all.get(self.places.get(id)?)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Event> {
        self.all.get_mut(self.places.get(id)?)
    }

    /// The events, newest first.
    pub fn newest(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.all.values().rev()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }
}

/// An event from a snapshot as a webhook carries it. `id` and `now` are used if it has none.
pub fn from_snapshot(body: &Value, id: String, now: i64, livemode: bool, api_version: &str) -> Event {
    const KNOWN: [&str; 10] = [
        "id",
        "object",
        "api_version",
        "created",
        "data",
        "livemode",
        "pending_webhooks",
        "request",
        "type",
        "context",
    ];
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let object = body.pointer("/data/object").cloned().unwrap_or(Value::Null);
    let others = body.as_object().into_iter().flatten().filter(|(name, _)| !KNOWN.contains(&name.as_str()));
    Event {
        id: text("id").unwrap_or(id),
        event_type: text("type").unwrap_or_default(),
        created: body.get("created").and_then(Value::as_i64).unwrap_or(now),
        millis: 0,
        api_version: text("api_version").unwrap_or_else(|| api_version.to_owned()),
        request: body.get("request").cloned().unwrap_or(Value::Null),
        path: resources::path_of(&object),
        previous: body.pointer("/data/previous_attributes").cloned(),
        object: Arc::new(object),
        livemode,
        context: text("context"),
        others: others.map(|(name, value)| (name.clone(), value.clone())).collect(),
        has_twin: false,
        pending: 0,
        failed: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, created: i64) -> Event {
        let body = json!({"id": id, "type": "charge.succeeded", "created": created,
            "data": {"object": {"object": "charge", "id": "ch_1"}}, "request": {"id": "req_1", "idempotency_key": null}});
        from_snapshot(&body, String::new(), 0, false, "2026-10-28.endive")
    }

    #[test]
    fn an_event_has_both_forms() {
        let mut events = Events::new(10);
        events.add(event("evt_1", 1_700_000_000));
        let found = events.get("evt_test_1").unwrap();
        assert_eq!(found.snapshot("2020-03-02")["data"]["object"]["id"], "ch_1");
        let thin = found.thin(true);
        assert_eq!(thin["related_object"]["url"], "/v1/charges/ch_1");
        assert_eq!(thin["created"], "2023-11-14T22:13:20.037Z");
        assert_eq!(thin["reason"]["request"]["id"], "req_1");
        assert!(thin.get("snapshot_event").is_none());
    }

    #[test]
    fn the_oldest_go_beyond_the_limit_and_thin_times_differ() {
        let mut events = Events::new(3);
        for (id, created) in [("evt_1", 5), ("evt_2", 5), ("evt_3", 4), ("evt_4", 5), ("evt_2", 9)] {
            events.add(event(id, created));
        }
        let ids: Vec<_> = events.newest().map(|event| event.id.clone()).collect();
        assert_eq!(ids, ["evt_4", "evt_2", "evt_1"]);
        let millis: Vec<_> = events.newest().map(|event| event.millis).collect();
        assert!(millis.is_sorted_by(|newer, older| newer > older), "{millis:?}");
        assert!(events.get("evt_3").is_none());
    }
}
