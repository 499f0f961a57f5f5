//! Controls a running stand-in from within its process: the owner's acts, observations for tests, and faults.

use crate::account::shown;
use crate::deliveries::Delivery;
use crate::delivery_faults::DeliveryRule;
use crate::endpoints::{Endpoint, Secret};
use crate::faults::{FaultError, FaultRule};
use crate::keys::ApiKey;
use crate::shared::Shared;
use crate::traffic::LoggedRequest;
use serde_json::Value;
use shop_simulator::Books;
use std::sync::Arc;
use std::time::Duration;

/// Controls and observes a stand-in; cheap to clone.
#[derive(Debug, Clone)]
pub struct SandboxHandle {
    shared: Arc<Shared>,
}

impl SandboxHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Adds a key, or replaces the one with this text.
    pub fn add_key(&self, key: ApiKey) {
        self.shared.state().keys.put(key);
    }

    /// The owner revokes a key: it gets 401 from now on. Returns whether it existed.
    pub fn revoke_key(&self, key: &str) -> bool {
        self.shared.state().keys.revoke(key)
    }

    /// Gives a key other permissions, such as `rak_charge_read`. Returns whether it existed.
    pub fn set_permissions<T: AsRef<str>>(&self, key: &str, permissions: &[T]) -> bool {
        self.shared.state().keys.set_permissions(key, permissions)
    }

    /// The stand-in's time, in seconds since 1970.
    pub fn now(&self) -> i64 {
        self.shared.state().clock.now()
    }

    /// Sets how many times as fast as this machine's clock the stand-in's runs; 0 stops it.
    pub fn set_speed(&self, speed: f64) {
        self.shared.state().clock.set_speed(speed);
        self.shared.changed();
    }

    /// Sets the clock forward. All events of that time exist afterwards.
    pub fn advance(&self, by: Duration) {
        let mut state = self.shared.state();
        state.clock.advance(by);
        state.advance();
        drop(state);
        self.shared.changed();
    }

    /// Sets by how many seconds the times are off that clients see: of `Date` and of signatures.
    pub fn set_skew(&self, seconds: i64) {
        self.shared.state().clock.skew = seconds;
    }

    /// The object with this id, as the API shows it.
    pub fn object(&self, id: &str) -> Option<Value> {
        let mut state = self.shared.state();
        let now = state.advance();
        state.present(id, now)
    }

    /// The objects of a list such as `charges`, newest first.
    pub fn objects(&self, list: &str) -> Vec<Value> {
        let mut state = self.shared.state();
        let now = state.advance();
        state.objects.list(&format!("/v1/{list}")).map(|object| shown(object, now)).collect()
    }

    /// Puts an object in at its own path: that of `object` and `id`. Returns whether it has one.
    pub fn put_object(&self, object: Value) -> bool {
        self.change(|state| state.objects.put(Arc::new(object)))
    }

    /// Puts an object in at a path such as `/v1/anything/x`.
    pub fn put_object_at(&self, path: &str, object: Value) {
        self.change(|state| state.objects.put_at(path.to_owned(), Arc::new(object)));
    }

    /// Deletes an object without an event: 404 from now on. A customer becomes its stub.
    pub fn delete_object(&self, id: &str) -> bool {
        self.change(|state| {
            let is_customer =
                state.objects.path(id).is_some_and(|path| path.starts_with("/v1/customers/cus"));
            if is_customer {
                let stub = serde_json::json!({ "id": id, "object": "customer", "deleted": true });
                return state.objects.put(Arc::new(stub));
            }
            state.objects.remove(id)
        })
    }

    /// Makes an event happen, as a webhook carries a snapshot: its object is then in that state. Returns its id.
    pub fn publish(&self, event: &Value) -> String {
        self.change(|state| state.publish(event, true))
    }

    /// Makes an event happen whose object is already newer, or gone.
    pub fn publish_without_object(&self, event: &Value) -> String {
        self.change(|state| state.publish(event, false))
    }

    /// The shop begins a sale. Returns whether there is a shop.
    pub fn sell(&self) -> bool {
        self.change(crate::state::State::sell)
    }

    /// The events as snapshots, newest first.
    pub fn events(&self) -> Vec<Value> {
        let mut state = self.shared.state();
        state.advance();
        let snapshots = state.events.newest().filter(|event| !event.is_only_thin());
        snapshots.map(|event| event.snapshot(&event.api_version)).collect()
    }

    /// How many events there are.
    pub fn event_count(&self) -> usize {
        self.shared.state().events.len()
    }

    /// The thin event of a snapshot, as it is sent.
    pub fn thin_event(&self, snapshot: &str) -> Option<Value> {
        self.shared.state().events.get(snapshot).map(|event| event.thin(false))
    }

    /// What the shop itself wrote down, with what is decided and has not happened yet.
    pub fn books(&self) -> Option<Books> {
        self.shared.state().shop().map(|shop| shop.books().clone())
    }

    /// Adds a rule for requests.
    pub fn fault(&self, rule: FaultRule) -> Result<(), FaultError> {
        self.shared.faults().add(rule)
    }

    /// The remaining rules for requests.
    pub fn faults(&self) -> Vec<FaultRule> {
        self.shared.faults().rules().to_vec()
    }

    /// Removes all rules for requests.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// Adds a rule for events and deliveries. Returns whether it is valid and there was room for it.
    pub fn delivery_fault(&self, rule: DeliveryRule) -> bool {
        self.change(|state| state.delivery_faults.add(rule))
    }

    /// The remaining rules for events and deliveries.
    pub fn delivery_faults(&self) -> Vec<DeliveryRule> {
        self.shared.state().delivery_faults.rules().to_vec()
    }

    /// Removes all rules for events and deliveries.
    pub fn clear_delivery_faults(&self) {
        self.shared.state().delivery_faults.clear();
    }

    /// The endpoints and destinations, oldest first.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.shared.state().endpoints.clone()
    }

    /// Stripe disables an endpoint. Returns whether it existed.
    pub fn disable_endpoint(&self, id: &str) -> bool {
        self.change(|state| state.set_enabled(id, false, "consecutive_failures"))
    }

    /// The owner enables an endpoint in the dashboard. Returns whether it existed.
    pub fn enable_endpoint(&self, id: &str) -> bool {
        self.change(|state| state.set_enabled(id, true, ""))
    }

    /// The owner rolls an endpoint's secret in the dashboard: for so long, by the stand-in's clock, the old one
    /// signs too. Returns the new secret.
    pub fn rotate_secret(&self, id: &str, both_for: Duration) -> Option<String> {
        self.change(|state| {
            let (now, secret) = (state.advance(), state.secret());
            let endpoint = state.endpoint_mut(id)?;
            let until = now.saturating_add(i64::try_from(both_for.as_secs()).unwrap_or(i64::MAX));
            for old in &mut endpoint.secrets {
                old.expires = Some(old.expires.map_or(until, |expires| expires.min(until)));
            }
            endpoint.secrets.retain(|old| old.expires.is_none_or(|expires| expires > now));
            endpoint.secrets.insert(0, Secret { value: secret.value.clone(), expires: None });
            endpoint.secrets.truncate(5);
            Some(secret.value)
        })
    }

    /// The newest secret of an endpoint.
    pub fn secret_of(&self, id: &str) -> Option<String> {
        let state = self.shared.state();
        state.endpoints.iter().find(|endpoint| endpoint.id == id).map(Endpoint::newest_secret)
    }

    /// The owner gives an endpoint another API version. Returns whether it existed.
    pub fn set_api_version(&self, id: &str, version: &str) -> bool {
        self.change(|state| {
            let found = state.endpoint_mut(id);
            found.map(|endpoint| endpoint.api_version = Some(version.to_owned())).is_some()
        })
    }

    /// The owner upgrades the API version of the account.
    pub fn set_account_version(&self, version: &str) {
        self.change(|state| version.clone_into(&mut state.options.api_version));
    }

    /// From now on events are sent to this origin, whatever the endpoints' URLs are.
    pub fn set_deliver_to(&self, origin: Option<&str>) {
        self.change(|state| state.options.deliver_to = origin.map(str::to_owned));
    }

    /// The latest deliveries, oldest first.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.state().deliveries.iter().cloned().collect()
    }

    /// Everything that waits to be sent is sent at once.
    pub fn retry_now(&self) {
        self.change(|state| {
            let now = state.advance();
            state.deliveries.make_due(now);
        });
    }

    /// The latest requests to the API, oldest first.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.traffic().latest().cloned().collect()
    }

    /// The total number of requests to the API.
    pub fn request_count(&self) -> u64 {
        self.shared.traffic().total()
    }

    /// The largest number of concurrent requests so far.
    pub fn peak_concurrency(&self) -> usize {
        self.shared.traffic().peak()
    }

    /// Clears the request log and the peak; the total is kept.
    pub fn clear_requests(&self) {
        self.shared.traffic().clear();
    }

    /// Waits until the condition holds. It is evaluated after every request, delivery and change, so that no
    /// state is missed. The caller sets a deadline.
    pub async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut changes = self.shared.changes();
        while !condition(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn change<T>(&self, act: impl FnOnce(&mut crate::state::State) -> T) -> T {
        let result = act(&mut self.shared.state());
        self.shared.changed();
        result
    }
}
