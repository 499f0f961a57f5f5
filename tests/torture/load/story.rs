//! The stories that make up a plan: the events of one object, and in what disorder they are sent.

use super::plan::{Cells, Copy, Event, Plan};
use crate::Options;
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Writes the plan, story by story.
pub(super) struct Writer {
    rng: StdRng,
    next: u64,
    pub(super) plan: Plan,
    length: Duration,
}

impl Writer {
    pub(super) fn new(options: &Options) -> Self {
        let plan =
            Plan { events: Vec::new(), objects: BTreeMap::new(), copies: Vec::new(), seed: options.seed };
        Self {
            rng: StdRng::seed_from_u64(options.seed),
            next: options.seed.wrapping_mul(1_000_000),
            plan,
            length: options.duration(),
        }
    }

    /// Writes another story.
    pub(super) fn story(&mut self) {
        self.next = self.next.wrapping_add(1);
        match self.rng.random_range(0..10) {
            0..4 => self.sample(),
            4 => self.invoice(),
            5..8 => self.charge(),
            _ => self.payment(),
        }
    }

    /// Any of the samples, alone.
    fn sample(&mut self) {
        let names: Vec<_> = stripe_samples::names().collect();
        let name = names.get(self.rng.random_range(0..names.len())).copied().unwrap_or_default();
        let Some(sample) = stripe_samples::make(name, self.next, self.time()) else { return };
        self.add(vec![(sample.event_id, sample.event_type, sample.body, Cells::new())]);
    }

    /// An invoice from draft to paid, a minute between any two events.
    fn invoice(&mut self) {
        let life = stripe_samples::invoice_life(self.next, self.time());
        let paid = Cells::from([("ObjectStatus", "paid".to_owned())]);
        let events =
            life.into_iter().map(|sample| (sample.event_id, sample.event_type, sample.body, paid.clone()));
        self.add(events.collect());
    }

    /// A charge that changes several times within a second or two. Only `previous_attributes` gives the
    /// order.
    fn charge(&mut self) {
        let steps = self.rng.random_range(2..=5);
        let born = self.time().timestamp();
        let mut created = born;
        let mut events = Vec::new();
        for step in 0..steps {
            if step > 0 && self.rng.random_bool(0.2) {
                created += 1;
            }
            let event_type = if step == 0 { "charge.succeeded" } else { "charge.updated" };
            let object = json!({
                "id": format!("ch_torture_{}", self.next), "object": "charge", "status": "succeeded",
                "amount": 12_345, "currency": "eur", "customer": format!("cus_torture_{}", self.next),
                "billing_details": {"email": format!("jane+{}@example.com", self.next)},
                "description": format!("Schritt {step} · ☕ \u{1f980}"), "created": born, "livemode": false,
            });
            let previous =
                (step > 0).then(|| json!({"description": format!("Schritt {} · ☕ \u{1f980}", step - 1)}));
            let cells = Cells::from([
                ("Amount", "123.45".to_owned()),
                ("Currency", "EUR".to_owned()),
                ("Customer", format!("cus_torture_{}", self.next)),
                ("CustomerEmail", format!("jane+{}@example.com", self.next)),
                ("Description", format!("Schritt {step} · ☕ \u{1f980}")),
            ]);
            events.push(self.event(event_type, created, &object, previous, cells));
        }
        self.add(events);
    }

    /// A payment that is created and succeeds within one second, without `previous_attributes`: the final
    /// state is the newest.
    fn payment(&mut self) {
        let created = self.time().timestamp();
        let states = [
            ("payment_intent.created", "requires_payment_method"),
            ("payment_intent.processing", "processing"),
            ("payment_intent.succeeded", "succeeded"),
        ];
        let mut events = Vec::new();
        for (event_type, status) in states {
            let object = json!({
                "id": format!("pi_torture_{}", self.next), "object": "payment_intent", "status": status,
                "amount": 5000, "currency": "jpy", "customer": null, "livemode": false, "created": created,
            });
            let cells = Cells::from([
                ("Amount", "5000".to_owned()),
                ("Currency", "JPY".to_owned()),
                ("ObjectStatus", status.to_owned()),
            ]);
            events.push(self.event(event_type, created, &object, None, cells));
        }
        self.add(events);
    }

    fn event(
        &mut self,
        event_type: &str,
        created: i64,
        object: &Value,
        previous: Option<Value>,
        cells: Cells,
    ) -> (String, String, String, Cells) {
        let id = format!("evt_torture_{}_{}", self.next, self.rng.random::<u32>());
        let mut data = json!({"object": object});
        if let (Some(previous), Some(data)) = (previous, data.as_object_mut()) {
            data.insert("previous_attributes".to_owned(), previous);
        }
        let body = json!({
            "id": id, "object": "event", "api_version": stripe_samples::API_VERSION, "created": created,
            "livemode": false, "pending_webhooks": 1, "request": null, "type": event_type, "data": data,
        });
        // Whitespace is also part of the body.
        let body = if self.rng.random_bool(0.5) { format!("{body:#}\r\n") } else { body.to_string() };
        (id, event_type.to_owned(), body, cells)
    }

    /// Adds the events of one object to the plan, the newest last, to be sent in any order.
    fn add(&mut self, events: Vec<(String, String, String, Cells)>) {
        let last = events.len().saturating_sub(1);
        let begins = self.moment(self.length);
        for (place, (id, event_type, body, own)) in events.into_iter().enumerate() {
            let parsed: Value = serde_json::from_str(&body).unwrap_or_default();
            let object = parsed.pointer("/data/object/id").and_then(Value::as_str);
            let columns_of_event_mode = ["Amount", "Currency", "Customer", "CustomerEmail"];
            let mut cells = Cells::from([
                ("EventId", id.clone()),
                ("EventType", event_type.clone()),
                ("Source", "stripe".to_owned()),
                ("Status", status(&event_type).to_owned()),
            ]);
            let shown = own.iter().filter(|(column, _)| columns_of_event_mode.contains(column));
            cells.extend(shown.map(|(column, text)| (*column, text.clone())));
            if let Some(object) = object.filter(|_| place == last) {
                self.plan.objects.insert(object.to_owned(), own);
            }
            let event = Arc::new(Event { id, body, cells, is_snapshot: object.is_some() });
            self.send(&event, begins);
            self.plan.events.push(event);
        }
    }

    fn send(&mut self, event: &Arc<Event>, begins: Duration) {
        const ID_TIME_SKEW_MAX: Duration = Duration::from_secs(3);
        const LATE_COPY: Duration = Duration::from_secs(10);
        let at = begins + self.moment(ID_TIME_SKEW_MAX);
        let replica = self.rng.random_range(0..2);
        let mut copy = |at: Duration, replica| {
            let at = at.min(self.length);
            self.plan.copies.push(Copy { at, replica, event: event.clone() });
        };
        copy(at, replica);
        if self.rng.random_bool(0.25) {
            copy(at, 1 - replica);
        }
        if self.rng.random_bool(0.1) {
            let later = Duration::from_secs_f64(self.rng.random_range(0.0..LATE_COPY.as_secs_f64()));
            copy(at + later, self.rng.random_range(0..2));
        }
    }

    fn moment(&mut self, within: Duration) -> Duration {
        within.mul_f64(self.rng.random())
    }

    fn time(&mut self) -> DateTime<Utc> {
        let at = 1_790_000_000 + self.rng.random_range(0..1_000_000);
        DateTime::from_timestamp(at, 0).unwrap_or_default()
    }
}

/// The status for an event's type, by the rule of the original service.
fn status(event_type: &str) -> &'static str {
    let event_type = event_type.strip_prefix("v1.").unwrap_or(event_type);
    let last = event_type.rsplit('.').next().unwrap_or_default();
    match event_type {
        "invoice.paid" | "invoice.payment_succeeded" | "invoice.finalized" => "success",
        _ if last.ends_with("succeeded") => "success",
        _ if last.ends_with("failed") => "failed",
        _ => "pending",
    }
}
