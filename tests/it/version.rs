//! The newest state of an object, among complete events as Stripe sends them.

use chrono::{DateTime, Utc};
use eventbridge::domain::event::EventFacts;
use eventbridge::sources::stripe::ordering::{EventState, is_newer, newest};
use proptest::prelude::*;
use serde_json::Value;
use stripe_samples::Sample;

fn second() -> DateTime<Utc> {
    DateTime::from_timestamp(1_764_000_000, 0).expect("a time")
}

/// The state in a sample, as if it had happened in that one second.
fn state(sample: &Sample) -> EventState {
    let facts = EventFacts {
        event_type: sample.event_type.clone(),
        created: Some(second()),
        ..EventFacts::default()
    };
    let body: Value = serde_json::from_str(&sample.body).expect("JSON");
    EventState::from_payload(&sample.event_id, &facts, body)
}

fn states(names: &[&str], seed: u64) -> Vec<EventState> {
    names.iter().map(|name| state(&stripe_samples::make(name, seed, second()).expect(name))).collect()
}

fn invoice_life(seed: u64) -> Vec<EventState> {
    stripe_samples::invoice_life(seed, second()).iter().map(state).collect()
}

/// Each of these lists is the life of one object.
fn lives(seed: u64) -> Vec<Vec<EventState>> {
    vec![
        invoice_life(seed),
        states(
            &["payment_intent.created", "payment_intent.payment_failed", "payment_intent.succeeded"],
            seed,
        ),
        states(&["charge.succeeded", "charge.refunded"], seed),
        states(
            &[
                "customer.subscription.created",
                "customer.subscription.updated",
                "customer.subscription.deleted",
            ],
            seed,
        ),
    ]
}

#[test]
fn of_any_two_states_of_an_object_the_later_one_is_newer() {
    for life in (0..20).flat_map(lives) {
        for (place, earlier) in life.iter().enumerate() {
            for later in &life[place + 1..] {
                assert!(
                    is_newer(later, earlier) && !is_newer(earlier, later),
                    "{} after {}",
                    later.event_id(),
                    earlier.event_id()
                );
            }
        }
    }
}

#[test]
fn stored_states_equal_parsed_ones() {
    use eventbridge::domain::event::{EventKey, StoredEvent};
    let sample = stripe_samples::make("invoice.paid", 1, second()).expect("a sample");
    let stored = StoredEvent {
        key: EventKey(1),
        source: "stripe".to_owned(),
        event_id: sample.event_id.clone(),
        facts: EventFacts {
            event_type: sample.event_type.clone(),
            created: Some(second()),
            ..EventFacts::default()
        },
        carries_state: true,
        received_at: second(),
        payload: sample.body.clone().into(),
    };
    assert_eq!(EventState::read(&stored), state(&sample));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_last_event_of_an_invoice_wins_in_any_order(
        seed in 0_u64..1000,
        order in Just(vec![0_usize, 1, 2, 3]).prop_shuffle(),
        count in 1_usize..=4,
    ) {
        let life = invoice_life(seed);
        let arrived: Vec<_> = order[..count].iter().map(|place| life[*place].clone()).collect();
        let last = order[..count].iter().max().expect("at least one");
        let found = newest(&arrived).expect("a newest state");
        prop_assert_eq!(arrived[found].event_id(), life[*last].event_id());
    }
}
