//! What all parts of a simulation share: the events so far, the books, the decisions, ids and time.

use crate::books::Books;
use crate::json::{View, difference};
use crate::ledger::Ledger;
use crate::options::Options;
use crate::random::Random;
use crate::shop::{SimulatedEvent, Simulation};
use crate::version::{ApiVersion, Upgrades};
use serde_json::{Map, Value, json};

/// Seconds of an hour and of a day.
pub(crate) const HOUR: i64 = 3600;
pub(crate) const DAY: i64 = 24 * HOUR;

pub(crate) struct World {
    /// For what the shop and its customers do.
    pub(crate) random: Random,
    /// For names only, so that the books do not depend on how many events a decision causes.
    names: Random,
    pub(crate) books: Books,
    pub(crate) ledger: Ledger,
    pub(crate) options: Options,
    pub(crate) start: i64,
    /// The first second that is no longer simulated. What happens from then on leaves no trace.
    pub(crate) end: i64,
    upgrades: Upgrades,
    /// Whether some objects hold others instead of their ids.
    expands: bool,
    /// Whether the shop is in operation: the catalog has events too, and the balance only two currencies.
    pub(crate) runs_on: bool,
    events: Vec<SimulatedEvent>,
    ids: u64,
    /// The request that causes all events until it ends.
    request: Option<String>,
}

impl World {
    pub(crate) fn new(seed: u64, options: Options, start: i64, end: i64) -> Self {
        Self {
            random: Random::of(seed),
            names: Random::of(!seed),
            books: Books::until(end),
            ledger: Ledger::default(),
            options,
            start,
            end,
            upgrades: Upgrades::new(start, end, options.old_api_percent),
            expands: true,
            runs_on: false,
            events: Vec::new(),
            ids: 0,
            request: None,
        }
    }

    /// The world of a shop that goes on without an end, in the newest shapes.
    pub(crate) fn without_end(seed: u64, options: Options, start: i64) -> Self {
        Self {
            upgrades: Upgrades::none(ApiVersion::Endive),
            expands: false,
            runs_on: true,
            end: i64::MAX,
            books: Books::until(i64::MAX),
            ..Self::new(seed, options, start, start)
        }
    }

    /// Whether the next payment's objects hold other objects instead of their ids.
    pub(crate) fn draw_expansion(&mut self) -> bool {
        self.random.percent(20) && self.expands
    }

    /// The events since the last call, in the order in which they were decided.
    pub(crate) fn take_events(&mut self) -> Vec<SimulatedEvent> {
        std::mem::take(&mut self.events)
    }

    /// The shop sends a request that causes several events.
    pub(crate) fn begin_request(&mut self) {
        self.request = Some(self.id("req"));
    }

    /// The request is over; later events have other causes.
    pub(crate) fn end_request(&mut self) {
        self.request = None;
    }

    /// A new id, such as `ch_…`. No two are the same.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        self.ids += 1;
        format!("{prefix}_1{:07}{}", self.ids, self.names.letters(16))
    }

    pub(crate) fn version(&self, at: i64) -> ApiVersion {
        self.upgrades.at(at)
    }

    /// How objects of events at that time look.
    pub(crate) fn view(&self, at: i64) -> View {
        let version = self.version(at);
        let kept = self.options.undocumented.releases_count_as_refunded;
        View {
            version,
            livemode: self.options.livemode,
            releases_are_refunds: version.is_before_basil() || kept,
        }
    }

    /// Adds an event about an object.
    pub(crate) fn emit(&mut self, at: i64, event_type: &str, object: Value) {
        self.push(at, event_type, Map::from_iter([("object".to_owned(), object)]));
    }

    /// Adds an event about an object that changed. Types that carry them get `previous_attributes`.
    pub(crate) fn emit_change(
        &mut self,
        at: i64,
        event_type: &str,
        before: impl FnOnce() -> Value,
        after: Value,
    ) {
        if carries_previous(event_type) {
            self.emit_with_previous(at, event_type, &before(), after);
        } else {
            self.emit(at, event_type, after);
        }
    }

    /// Adds an event about an object that changed, with `previous_attributes`.
    pub(crate) fn emit_with_previous(&mut self, at: i64, event_type: &str, before: &Value, after: Value) {
        let previous = difference(before, &after);
        let data = [("object".to_owned(), after), ("previous_attributes".to_owned(), previous)];
        self.push(at, event_type, Map::from_iter(data));
    }

    /// All events in the order of time, and the books.
    pub(crate) fn finish(mut self) -> Simulation {
        self.events.sort_by_key(|event| event.created);
        self.books.close();
        Simulation { events: self.events, books: self.books }
    }

    fn push(&mut self, at: i64, event_type: &str, data: Map<String, Value>) {
        let (id, request) = (self.id("evt"), self.cause());
        if !(self.start..self.end).contains(&at) {
            return;
        }
        let api_version = self.version(at);
        let mut body = json!({
            "id": id,
            "object": "event",
            "api_version": api_version.name(),
            "created": at,
            "livemode": self.options.livemode,
            "pending_webhooks": 1,
            "request": request,
            "type": event_type,
        });
        if let Some(fields) = body.as_object_mut() {
            fields.insert("data".to_owned(), data.into());
        }
        let event_type = event_type.to_owned();
        self.events.push(SimulatedEvent { id, event_type, api_version, created: at, body });
    }

    /// What caused an event: a request of the shop's, or Stripe itself.
    fn cause(&mut self) -> Value {
        if let Some(id) = &self.request {
            return json!({ "id": id, "idempotency_key": null });
        }
        if self.names.percent(60) {
            let (id, key) = (self.id("req"), self.names.letters(20));
            json!({ "id": id, "idempotency_key": key })
        } else {
            json!({ "id": null, "idempotency_key": null })
        }
    }
}

/// Whether events of that type have `previous_attributes`.
fn carries_previous(event_type: &str) -> bool {
    event_type.ends_with(".updated") || matches!(event_type, "charge.captured" | "charge.refunded")
}
