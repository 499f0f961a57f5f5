//! The account: its shop, objects, events, keys, endpoints and deliveries.

use crate::clock::Clock;
use crate::deliveries::{Deliveries, Delivery, Stage};
use crate::delivery_faults::{DeliveryFault, DeliveryFaults};
use crate::endpoints::{Endpoint, Kind, Payload};
use crate::events::{self, Event, Events};
use crate::idempotency::Replies;
use crate::keys::Keys;
use crate::objects::Objects;
use crate::options::SandboxOptions;
use serde_json::{Value, json};
use shop_simulator::{Happening, Operation};
use std::collections::HashMap;
use std::sync::Arc;

const DELIVERIES_MAX: usize = 10_000;
const ENDPOINTS_MAX: usize = 100;
const DAY: i64 = 86_400;

/// Everything of an account.
pub struct State {
    /// The clock.
    pub clock: Clock,
    /// How the stand-in was set up.
    pub options: SandboxOptions,
    /// The keys.
    pub keys: Keys,
    /// The objects.
    pub objects: Objects,
    /// The events.
    pub events: Events,
    /// The endpoints, oldest first.
    pub endpoints: Vec<Endpoint>,
    /// The deliveries.
    pub deliveries: Deliveries,
    /// What goes wrong with events.
    pub delivery_faults: DeliveryFaults,
    /// The answers to requests with an idempotency key.
    pub replies: Replies,
    /// Which payout a balance transaction is in.
    pub payouts: HashMap<String, String>,
    shop: Option<Operation>,
    ids: u64,
}

impl State {
    /// The account at the start of the clock, with its past.
    pub fn new(options: SandboxOptions) -> Self {
        let clock = Clock::new(options.now, options.speed);
        let now = clock.now();
        let opened = now - i64::from(options.history_days) * DAY;
        let shop = options
            .size
            .past_pace()
            .map(|pace| Operation::begin(options.seed, options.livemode, opened, pace));
        let mut keys = Keys::default();
        options.keys.iter().for_each(|key| keys.put(key.clone()));
        let mut state = Self {
            clock,
            keys,
            objects: Objects::default(),
            events: Events::new(options.events_max),
            endpoints: Vec::new(),
            deliveries: Deliveries::new(DELIVERIES_MAX),
            delivery_faults: DeliveryFaults::new(options.seed),
            replies: Replies::default(),
            payouts: HashMap::new(),
            shop,
            ids: 0,
            options,
        };
        state.run_until(now);
        if let (Some(shop), Some(pace)) = (&mut state.shop, state.options.size.pace()) {
            shop.set_pace(now, pace);
        }
        state.add_forward(now);
        state
    }

    /// The stand-in's time, with what has happened until then.
    pub fn advance(&mut self) -> i64 {
        let now = self.clock.now();
        self.run_until(now);
        now
    }

    /// The next second at which something happens by itself.
    pub fn next_at(&self) -> Option<i64> {
        let shop = self.shop.as_ref().filter(|_| !self.is_full()).and_then(Operation::next_at);
        [shop, self.deliveries.next_due()].into_iter().flatten().min()
    }

    /// Begins a sale now. Returns whether there is a shop.
    pub fn sell(&mut self) -> bool {
        let now = self.advance();
        let Some(shop) = &mut self.shop else { return false };
        shop.sell(now + 1);
        true
    }

    /// The shop.
    pub fn shop(&self) -> Option<&Operation> {
        self.shop.as_ref()
    }

    /// A new id, such as `we_…`.
    pub fn id(&mut self, prefix: &str) -> String {
        self.ids += 1;
        format!("{prefix}_1S{:012}{:04x}", self.ids, self.options.seed & 0xffff)
    }

    /// Adds an event, as a webhook carries a snapshot. Its object is then in the state that the event shows.
    pub fn publish(&mut self, body: &Value, store_object: bool) -> String {
        let (now, id) = (self.advance(), self.id("evt"));
        let livemode = body.get("livemode").and_then(Value::as_bool).unwrap_or(self.options.livemode);
        let event = events::from_snapshot(body, id, now, livemode, &self.options.api_version);
        let id = event.id.clone();
        self.take(event, store_object);
        id
    }

    /// The endpoint with this id.
    pub fn endpoint_mut(&mut self, id: &str) -> Option<&mut Endpoint> {
        self.endpoints.iter_mut().find(|endpoint| endpoint.id == id)
    }

    /// Adds an endpoint. Returns whether there was room for it.
    pub fn add_endpoint(&mut self, endpoint: Endpoint) -> bool {
        let has_room = self.endpoints.len() < ENDPOINTS_MAX;
        if has_room {
            self.endpoints.push(endpoint);
        }
        has_room
    }

    /// Enables or disables an endpoint. What waits for a disabled one is never sent.
    pub fn set_enabled(&mut self, id: &str, is_enabled: bool, reason: &'static str) -> bool {
        let now = self.advance();
        let Some(endpoint) = self.endpoint_mut(id) else { return false };
        endpoint.is_enabled = is_enabled;
        endpoint.disabled_reason = reason;
        endpoint.updated = now;
        if !is_enabled {
            self.give_up(id);
        }
        true
    }

    /// Nothing that waits for the endpoint is sent any more.
    pub fn give_up(&mut self, endpoint: &str) {
        for delivery in self.deliveries.give_up(endpoint) {
            self.ended(&delivery, false);
        }
    }

    /// An attempt of a delivery has ended with that status, or without an answer.
    pub fn tried(&mut self, delivery: &Delivery, result: Result<u16, String>) {
        let now = self.advance();
        let after = self.retry_after(delivery.attempts);
        let next = after.map(|seconds| now + i64::from(seconds));
        if let Some(ended) = self.deliveries.tried(delivery.number, result, next) {
            self.ended(&ended, ended.stage == Stage::Succeeded);
        }
    }

    /// Whether it holds as many objects as it may.
    pub fn is_full(&self) -> bool {
        self.objects.len() >= self.options.objects_max + self.options.objects_max / 4
    }

    /// Sends an event to one endpoint, whatever it is enabled for.
    pub fn deliver_to(&mut self, event: &str, endpoint: &str) {
        let now = self.clock.now();
        let Some(event) = self.events.get(event).cloned() else { return };
        let Some(endpoint) = self.endpoints.iter().find(|known| known.id == endpoint).cloned() else {
            return;
        };
        self.deliver(&event, &endpoint, now, None);
    }

    fn run_until(&mut self, now: i64) {
        // In small steps, so that what happens in a long time is not in memory twice.
        const STEP: i64 = 3_600;
        while !self.is_full() {
            let Some(shop) = &mut self.shop else { return };
            let Some(next) = shop.next_at().filter(|next| *next <= now) else { return };
            if self.objects.len() >= self.options.objects_max {
                shop.close();
            }
            for happening in shop.advance(now.min(next.saturating_add(STEP))) {
                self.apply(happening);
            }
        }
    }

    fn apply(&mut self, happening: Happening) {
        match happening {
            Happening::Event(event) => {
                let livemode = self.options.livemode;
                let mut event = events::from_snapshot(
                    &event.body,
                    event.id,
                    event.created,
                    livemode,
                    event.api_version.name(),
                );
                event.api_version.clone_from(&self.options.api_version);
                event.context.clone_from(&self.options.context);
                self.take(event, true);
            }
            Happening::Transaction { object } => {
                self.objects.put(Arc::new(object));
            }
            Happening::PaidOut { payout, transactions } => {
                self.payouts.extend(transactions.into_iter().map(|id| (id, payout.clone())));
            }
        }
    }

    /// An event happens.
    fn take(&mut self, mut event: Event, store_object: bool) {
        if store_object {
            self.store_object(&event);
        }
        if self.delivery_faults.draw(&event, None).is_some() || event.event_type.is_empty() {
            return;
        }
        let receivers: Vec<_> =
            self.endpoints.iter().filter(|endpoint| endpoint.receives(&event)).cloned().collect();
        event.has_twin = receivers.iter().any(|endpoint| endpoint.payload == Payload::Snapshot);
        let (id, at) = (event.id.clone(), self.clock.now());
        if self.events.get(&id).is_some() {
            return;
        }
        self.events.add(event);
        for endpoint in receivers {
            let Some(event) = self.events.get(&id).cloned() else { return };
            let fault = self.delivery_faults.draw(&event, Some(&endpoint.id));
            self.deliver(&event, &endpoint, at, fault.as_ref());
        }
    }

    fn store_object(&mut self, event: &Event) {
        let id = event.object.get("id").and_then(Value::as_str).unwrap_or_default();
        match event.event_type.as_str() {
            "customer.deleted" => {
                let stub = json!({ "id": id, "object": "customer", "deleted": true });
                self.objects.put(Arc::new(stub));
            }
            deleted if deleted.ends_with(".deleted") && deleted != "customer.subscription.deleted" => {
                self.objects.remove(id);
            }
            _ => {
                self.objects.put(Arc::clone(&event.object));
                for item in
                    event.object.pointer("/items/data").and_then(Value::as_array).into_iter().flatten()
                {
                    self.objects.put(Arc::new(item.clone()));
                }
            }
        }
    }

    fn deliver(&mut self, event: &Event, endpoint: &Endpoint, at: i64, fault: Option<&DeliveryFault>) {
        let delivery = Delivery {
            number: 0,
            event: event.id.clone(),
            event_type: match endpoint.payload {
                Payload::Snapshot => event.event_type.clone(),
                Payload::Thin => event.thin_type(),
            },
            endpoint: endpoint.id.clone(),
            stage: Stage::Waiting,
            attempts: 0,
            due: at,
            status: None,
            error: None,
            is_repetition: false,
            is_held: false,
        };
        let delivery = match fault {
            Some(DeliveryFault::Drop) => Delivery { stage: Stage::Dropped, ..delivery },
            Some(DeliveryFault::Lose) => Delivery { stage: Stage::Lost, ..delivery },
            Some(DeliveryFault::Late { seconds }) => Delivery { due: at + i64::from(*seconds), ..delivery },
            Some(DeliveryFault::OutOfOrder) => Delivery { due: at + 60, is_held: true, ..delivery },
            _ => delivery,
        };
        if let Some(event) = self.events.get_mut(&event.id) {
            match delivery.stage {
                Stage::Waiting => event.pending += 1,
                Stage::Dropped => event.failed += 1,
                _ => {}
            }
        }
        let repeated = (fault == Some(&DeliveryFault::Twice))
            .then(|| Delivery { is_repetition: true, ..delivery.clone() });
        for delivery in std::iter::once(delivery).chain(repeated) {
            for gone in self.deliveries.add(delivery) {
                self.ended(&gone, false);
            }
        }
    }

    /// A delivery has ended: the event has one less that waits.
    fn ended(&mut self, delivery: &Delivery, has_succeeded: bool) {
        if delivery.is_repetition {
            return;
        }
        if let Some(event) = self.events.get_mut(&delivery.event) {
            event.pending = event.pending.saturating_sub(1);
            event.failed += u32::from(!has_succeeded);
        }
    }

    /// The seconds until the attempt that follows on so many.
    fn retry_after(&self, attempts: u32) -> Option<u32> {
        const LIVE: &[u32] = &[300, 1_800, 7_200, 18_000, 36_000, 36_000, 43_200, 43_200, 43_200];
        const TEST: &[u32] = &[600, 3_600];
        let place = usize::try_from(attempts).ok()?.checked_sub(1)?;
        let own = self.options.retry_after_seconds.as_deref();
        own.unwrap_or(if self.options.livemode { LIVE } else { TEST }).get(place).copied()
    }

    fn add_forward(&mut self, now: i64) {
        let Some(forward) = self.options.forward.clone() else { return };
        let endpoint = Endpoint {
            id: "we_forward".to_owned(),
            kind: Kind::Forward,
            payload: if forward.thin { Payload::Thin } else { Payload::Snapshot },
            account: self.options.account.clone(),
            livemode: self.options.livemode,
            url: forward.url,
            name: "forward".to_owned(),
            description: None,
            enabled_events: vec!["*".to_owned()],
            api_version: None,
            metadata: std::collections::BTreeMap::new(),
            created: now,
            updated: now,
            is_enabled: true,
            disabled_reason: "",
            secrets: vec![crate::endpoints::Secret { value: forward.secret, expires: None }],
        };
        self.endpoints.push(endpoint);
    }
}
