//! Faults of what Stripe sends: events that are dropped, late, repeated, out of order or never generated.

use crate::events::Event;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

/// What goes wrong. In JSON its name is in `kind`, in lower case with underscores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DeliveryFault {
    /// The event is not sent. It counts as failed: `delivery_success=false` lists it.
    Drop,
    /// The event is not sent, and counts as delivered.
    Lose,
    /// The event is sent late, by the stand-in's clock.
    Late {
        /// The delay.
        seconds: u32,
    },
    /// The event is sent twice.
    Twice,
    /// The event is sent after the next one for the same endpoint, or after a minute.
    OutOfOrder,
    /// The event is not generated: no list has it, but the object has changed.
    NeverGenerate,
}

/// When a fault happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryRule {
    /// What happens.
    #[serde(flatten)]
    pub fault: DeliveryFault,
    /// How many times, by default once; in JSON `null` means always.
    #[serde(default = "once")]
    pub times: Option<u32>,
    /// Only to events of this snapshot type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// Only to events about the object with this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Only to deliveries to the endpoint with this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// With which probability, from 0 to 1.
    #[serde(default = "certain")]
    pub probability: f64,
}

impl DeliveryRule {
    /// The fault happens once, to the next event.
    pub fn once(fault: DeliveryFault) -> Self {
        Self { fault, times: Some(1), event_type: None, object: None, endpoint: None, probability: 1.0 }
    }

    /// The fault happens until the rules are cleared.
    pub fn always(fault: DeliveryFault) -> Self {
        Self { times: None, ..Self::once(fault) }
    }

    /// This many times.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Only to events of this snapshot type.
    #[must_use]
    pub fn of_type(self, event_type: &str) -> Self {
        Self { event_type: Some(event_type.to_owned()), ..self }
    }

    /// Only to events about this object.
    #[must_use]
    pub fn about(self, object: &str) -> Self {
        Self { object: Some(object.to_owned()), ..self }
    }

    /// Only to this endpoint.
    #[must_use]
    pub fn to_endpoint(self, endpoint: &str) -> Self {
        Self { endpoint: Some(endpoint.to_owned()), ..self }
    }

    /// With this probability.
    #[must_use]
    pub fn with_probability(self, probability: f64) -> Self {
        Self { probability, ..self }
    }

    fn selects(&self, event: &Event, endpoint: Option<&str>) -> bool {
        let is_generation = self.fault == DeliveryFault::NeverGenerate;
        is_generation == endpoint.is_none()
            && self.event_type.as_ref().is_none_or(|wanted| *wanted == event.event_type)
            && self.object.as_ref().is_none_or(|wanted| event.is_about(wanted))
            && (is_generation
                || self.endpoint.as_ref().is_none_or(|wanted| Some(wanted.as_str()) == endpoint))
    }
}

/// The rules in force, tried in the order in which they were given.
#[derive(Debug)]
pub struct DeliveryFaults {
    rules: Vec<DeliveryRule>,
    rng: StdRng,
}

const RULES_MAX: usize = 1000;

impl DeliveryFaults {
    /// No rules; chance follows from the seed.
    pub fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), rng: StdRng::seed_from_u64(seed) }
    }

    /// Adds a rule. Returns whether it is valid and there was room for it.
    pub fn add(&mut self, rule: DeliveryRule) -> bool {
        let is_valid = (0.0..=1.0).contains(&rule.probability) && self.rules.len() < RULES_MAX;
        if is_valid && rule.times != Some(0) {
            self.rules.push(rule);
        }
        is_valid
    }

    /// Removes all rules.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// The remaining rules.
    pub fn rules(&self) -> &[DeliveryRule] {
        &self.rules
    }

    /// The fault of an event's delivery to an endpoint, or of its generation if no endpoint is given.
    pub fn draw(&mut self, event: &Event, endpoint: Option<&str>) -> Option<DeliveryFault> {
        let rng = &mut self.rng;
        let rule = self
            .rules
            .iter_mut()
            .find(|rule| rule.selects(event, endpoint) && rng.random_bool(rule.probability))?;
        rule.times = rule.times.map(|times| times.saturating_sub(1));
        let fault = rule.fault.clone();
        self.rules.retain(|rule| rule.times != Some(0));
        Some(fault)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of the field that it fills")]
fn once() -> Option<u32> {
    Some(1)
}

fn certain() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::from_snapshot;
    use serde_json::json;

    fn event(event_type: &str) -> Event {
        let body = json!({"id": "evt_1", "type": event_type, "data": {"object": {"object": "charge", "id": "ch_1"}}});
        from_snapshot(&body, String::new(), 0, false, "")
    }

    #[test]
    fn rules_select_by_type_object_and_endpoint_and_end() {
        let mut faults = DeliveryFaults::new(1);
        let rule =
            DeliveryRule::once(DeliveryFault::Drop).times(2).of_type("charge.failed").to_endpoint("we_1");
        assert!(faults.add(rule));
        assert_eq!(faults.draw(&event("charge.succeeded"), Some("we_1")), None);
        assert_eq!(faults.draw(&event("charge.failed"), Some("we_2")), None);
        let drawn: Vec<_> = (0..3).map(|_| faults.draw(&event("charge.failed"), Some("we_1"))).collect();
        assert_eq!(drawn, [Some(DeliveryFault::Drop), Some(DeliveryFault::Drop), None]);
    }

    #[test]
    fn an_event_that_is_not_generated_is_no_fault_of_a_delivery() {
        let mut faults = DeliveryFaults::new(1);
        assert!(faults.add(DeliveryRule::once(DeliveryFault::NeverGenerate).about("ch_1")));
        assert_eq!(faults.draw(&event("charge.failed"), Some("we_1")), None);
        assert_eq!(faults.draw(&event("charge.failed"), None), Some(DeliveryFault::NeverGenerate));
        assert!(!faults.add(DeliveryRule::once(DeliveryFault::Drop).with_probability(2.0)));
    }

    #[test]
    fn a_rule_reads_from_json() {
        let rule: DeliveryRule =
            serde_json::from_value(json!({"kind": "late", "seconds": 5, "times": null})).unwrap();
        assert_eq!(rule, DeliveryRule::always(DeliveryFault::Late { seconds: 5 }));
    }
}
