//! Deliveries of events to endpoints: what is due, what was tried, what became of it.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Where a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It waits for its time.
    Waiting,
    /// It is being sent.
    Sending,
    /// The endpoint answered with 2xx.
    Succeeded,
    /// All attempts failed, or the endpoint was disabled.
    Failed,
    /// A fault dropped it: it was never sent, and counts as failed.
    Dropped,
    /// A fault lost it: it was never sent, and counts as delivered.
    Lost,
}

/// A delivery of an event to an endpoint.
#[derive(Debug, Clone, Serialize)]
pub struct Delivery {
    /// Its number, from 1.
    pub number: u64,
    /// The snapshot's id.
    pub event: String,
    /// The event's type, as the endpoint receives it.
    pub event_type: String,
    /// The endpoint's id.
    pub endpoint: String,
    /// Where it is.
    pub stage: Stage,
    /// How many attempts were made.
    pub attempts: u32,
    /// When the next attempt is due, in seconds since 1970 by the stand-in's clock.
    pub due: i64,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// Why the last attempt failed, if there was no answer.
    pub error: Option<String>,
    /// A second delivery of the same event: it does not count for the event.
    pub is_repetition: bool,
    /// It waits until a later delivery to this endpoint was tried.
    pub is_held: bool,
}

/// The latest deliveries.
#[derive(Debug)]
pub struct Deliveries {
    all: BTreeMap<u64, Delivery>,
    due: BTreeSet<(i64, u64)>,
    /// The held ones by endpoint.
    held: HashMap<String, Vec<u64>>,
    count: u64,
    most: usize,
}

impl Deliveries {
    /// No deliveries; at most so many are kept.
    pub fn new(most: usize) -> Self {
        Self { all: BTreeMap::new(), due: BTreeSet::new(), held: HashMap::new(), count: 0, most: most.max(1) }
    }

    /// Adds a delivery. Returns those that had to go for it although they had not ended.
    pub fn add(&mut self, mut delivery: Delivery) -> Vec<Delivery> {
        self.count += 1;
        delivery.number = self.count;
        if delivery.stage == Stage::Waiting {
            self.due.insert((delivery.due, delivery.number));
            if delivery.is_held {
                self.held.entry(delivery.endpoint.clone()).or_default().push(delivery.number);
            }
        }
        self.all.insert(delivery.number, delivery);
        let mut gone = Vec::new();
        while self.all.len() > self.most {
            let Some((number, oldest)) = self.all.pop_first() else { break };
            self.due.remove(&(oldest.due, number));
            if matches!(oldest.stage, Stage::Waiting | Stage::Sending) {
                gone.push(oldest);
            }
        }
        gone
    }

    /// The next delivery that is due, which is being sent from now on.
    pub fn take_due(&mut self, now: i64) -> Option<Delivery> {
        let (at, number) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        let delivery = self.all.get_mut(&number)?;
        delivery.stage = Stage::Sending;
        delivery.attempts += 1;
        delivery.is_held = false;
        Some(delivery.clone())
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<i64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Records the answer to an attempt. `next` is the time of the next attempt, if there is one.
    /// Returns the delivery if it has ended.
    pub fn tried(&mut self, number: u64, result: Result<u16, String>, next: Option<i64>) -> Option<Delivery> {
        let delivery = self.all.get_mut(&number)?;
        let is_sending = delivery.stage == Stage::Sending;
        match result {
            Ok(status) => (delivery.status, delivery.error) = (Some(status), None),
            Err(error) => (delivery.status, delivery.error) = (None, Some(error)),
        }
        let endpoint = delivery.endpoint.clone();
        let ended = if delivery.status.is_some_and(|status| (200..300).contains(&status)) {
            delivery.stage = Stage::Succeeded;
            is_sending.then(|| delivery.clone())
        } else if let Some(at) = next.filter(|_| is_sending) {
            delivery.stage = Stage::Waiting;
            delivery.due = at;
            self.due.insert((at, number));
            None
        } else {
            delivery.stage = Stage::Failed;
            is_sending.then(|| delivery.clone())
        };
        self.release_held(&endpoint);
        ended
    }

    /// All that wait for this endpoint fail: it was disabled or deleted. Returns them.
    pub fn give_up(&mut self, endpoint: &str) -> Vec<Delivery> {
        let mut ended = Vec::new();
        for delivery in self.all.values_mut().filter(|delivery| delivery.endpoint == endpoint) {
            if matches!(delivery.stage, Stage::Waiting | Stage::Sending) {
                self.due.remove(&(delivery.due, delivery.number));
                delivery.stage = Stage::Failed;
                delivery.error = Some("the endpoint was disabled".to_owned());
                ended.push(delivery.clone());
            }
        }
        self.held.remove(endpoint);
        ended
    }

    /// All that wait are due at that time.
    pub fn make_due(&mut self, now: i64) {
        let waiting: Vec<_> = std::mem::take(&mut self.due).into_iter().map(|(_, number)| number).collect();
        for number in waiting {
            if let Some(delivery) = self.all.get_mut(&number) {
                delivery.due = delivery.due.min(now);
                self.due.insert((delivery.due, number));
            }
        }
    }

    /// The deliveries, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Delivery> {
        self.all.values()
    }

    /// How many were ever added.
    pub fn total(&self) -> u64 {
        self.count
    }

    /// Those that waited for another delivery to this endpoint are due at once.
    fn release_held(&mut self, endpoint: &str) {
        for number in self.held.remove(endpoint).unwrap_or_default() {
            if let Some(delivery) = self.all.get_mut(&number)
                && self.due.remove(&(delivery.due, number))
            {
                delivery.due = i64::MIN;
                self.due.insert((delivery.due, number));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(event: &str, due: i64) -> Delivery {
        Delivery {
            number: 0,
            event: event.to_owned(),
            event_type: "charge.succeeded".to_owned(),
            endpoint: "we_1".to_owned(),
            stage: Stage::Waiting,
            attempts: 0,
            due,
            status: None,
            error: None,
            is_repetition: false,
            is_held: false,
        }
    }

    #[test]
    fn a_delivery_is_tried_again_until_no_attempt_is_left() {
        let mut deliveries = Deliveries::new(10);
        deliveries.add(delivery("evt_1", 100));
        assert!(deliveries.take_due(99).is_none());
        assert_eq!(deliveries.take_due(100).unwrap().attempts, 1);
        assert!(deliveries.tried(1, Ok(500), Some(160)).is_none());
        assert_eq!(deliveries.next_due(), Some(160));
        deliveries.make_due(110);
        assert_eq!(deliveries.take_due(110).unwrap().attempts, 2);
        let ended = deliveries.tried(1, Err("timeout".to_owned()), None).unwrap();
        assert_eq!((ended.stage, ended.status), (Stage::Failed, None));
    }

    #[test]
    fn a_held_delivery_follows_a_later_one() {
        let mut deliveries = Deliveries::new(10);
        deliveries.add(Delivery { is_held: true, ..delivery("evt_1", 500) });
        deliveries.add(delivery("evt_2", 100));
        assert_eq!(deliveries.take_due(100).unwrap().event, "evt_2");
        assert!(deliveries.take_due(100).is_none());
        assert_eq!(deliveries.tried(2, Ok(200), None).unwrap().stage, Stage::Succeeded);
        assert_eq!(deliveries.take_due(100).unwrap().event, "evt_1");
    }

    #[test]
    fn the_number_is_limited_and_a_disabled_endpoint_gets_nothing() {
        let mut deliveries = Deliveries::new(2);
        deliveries.add(delivery("evt_1", 1));
        deliveries.add(delivery("evt_2", 2));
        assert_eq!(deliveries.add(delivery("evt_3", 3)).len(), 1);
        assert_eq!(deliveries.give_up("we_1").len(), 2);
        assert!(deliveries.take_due(10).is_none());
        assert_eq!(deliveries.total(), 3);
    }
}
