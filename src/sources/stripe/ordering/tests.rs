//! Known orders of events, and arbitrary ones.

use super::*;
use crate::domain::event::EventKey;
use chrono::DateTime;
use proptest::prelude::*;
use serde_json::json;

fn at(second: i64, event_id: &str, event_type: &str, data: Value) -> EventState {
    let facts = EventFacts {
        event_type: event_type.to_owned(),
        created: DateTime::from_timestamp(second, 0),
        ..EventFacts::default()
    };
    EventState::from_payload(event_id, &facts, Value::from_iter([("data", data)]))
}

fn state(event_id: &str, event_type: &str, object: Value, previous: Value) -> EventState {
    at(100, event_id, event_type, Value::from_iter([("object", object), ("previous_attributes", previous)]))
}

fn unknown_time(event_id: &str, object: Value, previous: Value) -> EventState {
    EventState { second: None, ..state(event_id, "charge.updated", object, previous) }
}

fn newest_id(states: &[EventState]) -> Option<&str> {
    newest(states).map(|place| states[place].event_id())
}

/// The same newest event in both orders, and `is_newer` agrees.
fn assert_newer(newer: &EventState, older: &EventState) {
    assert!(is_newer(newer, older) && !is_newer(older, newer));
    for pair in [[newer.clone(), older.clone()], [older.clone(), newer.clone()]] {
        assert_eq!(newest_id(&pair), Some(newer.event_id()));
    }
}

#[test]
fn an_event_that_only_refers_to_its_object_is_never_the_newest() {
    let stored = |id: &str, payload: Value| StoredEvent {
        key: EventKey(1),
        source: "stripe".to_owned(),
        event_id: id.to_owned(),
        facts: EventFacts::default(),
        carries_state: true,
        received_at: DateTime::UNIX_EPOCH,
        payload: payload.to_string().into(),
    };
    let snapshot = stored("evt_1", json!({"data": {"object": {"id": "in_1"}}}));
    let thin = stored("evt_2", json!({"related_object": {"id": "in_1", "type": "invoice"}}));
    for odd in [json!(null), json!({"data": {"object": "in_1"}}), json!({"data": []})] {
        assert_eq!(newest_event(&[&stored("evt_3", odd)]), None);
    }
    assert_eq!(newest_event(&[&thin, &snapshot]), Some(1));
    assert_eq!(newest_event(&[&thin]), None);
}

#[test]
fn of_no_states_none_is_the_newest() {
    assert_eq!(newest(&[]), None);
    assert_eq!(newest(&[state("evt_1", "", Value::Null, Value::Null)]), Some(0));
}

#[test]
fn the_later_second_wins_over_everything_else() {
    let paid = at(99, "evt_9", "invoice.deleted", json!({"object": {"status": "paid"}}));
    let open = at(
        100,
        "evt_1",
        "invoice.created",
        json!({"object": {"status": "open"}, "previous_attributes": {"status": "x"}}),
    );
    assert_newer(&open, &paid);
}

#[test]
fn within_a_second_fractions_do_not_count() {
    let with_millis = |millis, id: &str| {
        let created = DateTime::from_timestamp_millis(millis);
        EventState::from_payload(id, &EventFacts { created, ..EventFacts::default() }, Value::Null)
    };
    assert_newer(&with_millis(100_100, "evt_2"), &with_millis(100_900, "evt_1"));
}

#[test]
fn two_updates_of_a_charge_are_ordered_by_what_they_changed() {
    let first = state(
        "evt_9",
        "charge.updated",
        json!({"receipt_url": "r", "balance_transaction": null, "metadata": {}}),
        json!({"receipt_url": null}),
    );
    let second = state(
        "evt_1",
        "charge.updated",
        json!({"receipt_url": "r", "balance_transaction": "txn_1", "metadata": {"order": "7"}}),
        json!({"balance_transaction": null, "metadata": {"order": null}}),
    );
    assert_newer(&second, &first);
}

#[test]
fn a_change_of_a_list_is_seen_in_the_whole_list() {
    let item = |quantity: u32| json!({"data": [{"id": "si_1", "quantity": quantity}], "url": "/v1/items"});
    let created = state("evt_9", "customer.subscription.created", json!({"items": item(1)}), Value::Null);
    let data = json!([{"id": "si_1", "quantity": 1}]);
    let updated = state(
        "evt_1",
        "customer.subscription.updated",
        json!({"items": item(3)}),
        json!({"items": {"data": data}}),
    );
    assert_newer(&updated, &created);
}

#[test]
fn what_both_claim_of_each_other_is_left_to_rank_and_id() {
    let on = state("evt_1", "charge.updated", json!({"x": 1}), json!({"x": 0}));
    let off = state("evt_2", "charge.updated", json!({"x": 0}), json!({"x": 1}));
    assert_newer(&off, &on);
}

#[test]
fn without_a_chain_the_state_that_has_come_further_wins() {
    let created = state("evt_9", "payment_intent.created", json!({"status": "succeeded"}), Value::Null);
    let done = state("evt_1", "payment_intent.succeeded", json!({"status": "succeeded"}), Value::Null);
    assert_newer(&done, &created);
}

#[test]
fn where_nothing_else_tells_them_apart_the_id_does() {
    let one = state("evt_1", "charge.updated", json!({}), json!({}));
    assert_newer(&EventState { event_id: "evt_2".to_owned(), ..one.clone() }, &one);
    assert!(!is_newer(&one, &one.clone()));
}

#[test]
fn a_chain_leads_past_the_states_that_rank_above_its_end() {
    let start = state("evt_1", "charge.updated", json!({"x": 0, "refunded": true}), Value::Null);
    let middle = state("evt_2", "charge.updated", json!({"x": 1, "y": 0}), json!({"x": 0}));
    let end = state("evt_0", "charge.created", json!({"x": 2, "y": 1}), json!({"x": 1, "y": 0}));
    for order in [[&start, &middle, &end], [&end, &start, &middle], [&middle, &end, &start]] {
        assert_eq!(newest_id(&order.map(Clone::clone)), Some("evt_0"));
    }
}

#[test]
fn nothing_follows_a_deletion_even_if_its_values_look_like_it() {
    let updated =
        state("evt_9", "customer.subscription.updated", json!({"quantity": 3}), json!({"quantity": 1}));
    let deleted = state("evt_1", "customer.subscription.deleted", json!({"quantity": 1}), Value::Null);
    assert_newer(&deleted, &updated);
}

#[test]
fn of_states_in_a_circle_rank_and_id_decide() {
    let step =
        |id, own: u32, before: u32| state(id, "charge.updated", json!({"x": own}), json!({"x": before}));
    let circle = [step("evt_1", 0, 2), step("evt_3", 1, 0), step("evt_2", 2, 1)];
    assert_eq!(newest_id(&circle), Some("evt_3"));
}

#[test]
fn a_state_of_unknown_time_is_compared_with_the_last_second() {
    let old = at(99, "evt_9", "charge.updated", json!({"object": {"x": 0}}));
    let known = state("evt_5", "charge.updated", json!({"x": 1}), Value::Null);
    let before = unknown_time("evt_8", json!({"x": 0}), Value::Null);
    let after = unknown_time("evt_1", json!({"x": 2}), json!({"x": 1}));
    assert_newer(&after, &known);
    assert_newer(&before, &known);
    assert_eq!(newest_id(&[old, known, after]), Some("evt_1"));
}

#[test]
fn more_states_than_are_compared_in_a_chain_still_have_a_newest() {
    let states: Vec<_> = (0..CHAIN_STATES_MAX + 50)
        .map(|n| state(&format!("evt_{n:04}"), "charge.updated", json!({"x": n}), json!({"x": n + 1})))
        .collect();
    let place = newest(&states).expect("a newest state");
    assert_eq!(place, 50, "the chain runs from the highest id down to the last that is compared");
}

#[test]
fn a_body_that_tells_no_state_has_its_place_by_time_and_type() {
    let facts = EventFacts {
        event_type: "invoice.deleted".to_owned(),
        created: DateTime::from_timestamp(100, 0),
        ..EventFacts::default()
    };
    for payload in [json!(null), json!({"data": 3}), json!({"data": {"previous_attributes": [1]}})] {
        let bare = EventState::from_payload("evt_0", &facts, payload);
        assert_newer(&bare, &state("evt_1", "invoice.paid", json!({"status": "paid"}), Value::Null));
    }
}

/// Few fields and few values, so that chains meet, part and contradict one another.
fn any_state() -> impl Strategy<Value = (Option<i64>, &'static str, Value, Value)> {
    let field = || prop::option::of(0_u8..3);
    let types =
        vec!["invoice.created", "invoice.updated", "invoice.paid", "invoice.deleted", "charge.updated"];
    let status = prop::sample::select(vec!["draft", "open", "paid"]);
    let created = prop::sample::select(vec![None, Some(99), Some(100), Some(100), Some(100)]);
    let object =
        (field(), field(), status).prop_map(|(x, y, status)| json!({"x": x, "y": y, "status": status}));
    let previous = prop::collection::btree_map(prop::sample::select(vec!["x", "y"]), field(), 0..=2)
        .prop_map(|fields| json!(fields));
    (created, prop::sample::select(types), object, previous)
}

fn any_states(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<EventState>> {
    prop::collection::vec(any_state(), count).prop_map(|states| {
        let numbered = states.into_iter().enumerate();
        numbered
            .map(|(n, (second, event_type, object, previous))| EventState {
                second,
                ..state(&format!("evt_{n}"), event_type, object, previous)
            })
            .collect()
    })
}

fn with_shuffled(
    states: impl Strategy<Value = Vec<EventState>>,
) -> impl Strategy<Value = (Vec<EventState>, Vec<EventState>)> {
    states.prop_flat_map(|states| (Just(states.clone()), Just(states).prop_shuffle()))
}

/// The history of one object: each change gives its fields values that they never had before.
fn any_history() -> impl Strategy<Value = Vec<EventState>> {
    let changed = prop::collection::btree_set(0_usize..4, 1..=4);
    prop::collection::vec((changed, any::<u16>()), 1..12).prop_map(|steps| {
        let mut values = [0_u32; 4];
        let object = |values: &[u32; 4]| json!({"a": values[0], "b": {"c": values[1]}, "d": [values[2]], "e": values[3]});
        let mut history = vec![state("evt_birth", "customer.created", object(&values), Value::Null)];
        for ((changed, id), n) in steps.into_iter().zip(1_u32..) {
            let before = object(&values);
            for field in &changed {
                values[*field] = n;
            }
            let names = changed.iter().map(|field| ["a", "b", "d", "e"][*field]);
            let previous: serde_json::Map<_, _> =
                names.map(|name| (name.to_owned(), before[name].clone())).collect();
            let id = format!("evt_{id}_{n}");
            history.push(state(&id, "customer.updated", object(&values), previous.into()));
        }
        history
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_arrival_does_not_matter((states, shuffled) in with_shuffled(any_states(1..9))) {
        prop_assert!(newest_id(&states).is_some());
        prop_assert_eq!(newest_id(&states), newest_id(&shuffled));
    }

    #[test]
    fn of_two_states_exactly_one_is_newer_and_it_is_the_newest(pair in any_states(2..3)) {
        let (one, other) = (&pair[0], &pair[1]);
        prop_assert_ne!(is_newer(one, other), is_newer(other, one));
        prop_assert!(!is_newer(one, one));
        prop_assert_eq!(newest(&pair), Some(usize::from(is_newer(other, one))));
    }

    #[test]
    fn no_state_of_a_later_second_is_passed_over(states in any_states(1..9)) {
        let found = &states[newest(&states).expect("a newest state")];
        prop_assert!(found.second.is_none() || states.iter().all(|state| state.second <= found.second));
    }

    #[test]
    fn a_history_in_one_second_ends_where_it_ended((history, shuffled) in with_shuffled(any_history())) {
        prop_assert_eq!(newest_id(&shuffled), history.last().map(EventState::event_id));
    }
}
