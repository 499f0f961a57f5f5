//! `Collected` over the events of a simulated shop equals the shop's own books, to the minor unit.

use crate::mapping::{best_kind, bindings};
use crate::meaning::stored;
use chrono_tz::Tz;
use eventbridge::config::InstanceName;
use eventbridge::destinations::notion::field::Field;
use eventbridge::destinations::notion::mapping::{self, Mapped};
use eventbridge::destinations::notion::object::object_properties;
use eventbridge::domain::event::StoredEvent;
use eventbridge::domain::money::Currency;
use eventbridge::domain::summary::{EventOutcome, EventSummary};
use eventbridge::sources::Source;
use eventbridge::sources::stripe::{Stripe, summarize};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use shop_simulator::{Month, Options, Shop, SimulatedEvent, Simulation, Undocumented, Why};
use std::collections::{BTreeMap, BTreeSet};

/// Sums by month and currency, without zeros.
type Sums = BTreeMap<(String, String), i64>;

fn stripe() -> Stripe {
    Stripe::new(&InstanceName::of_kind("stripe"), Vec::new())
}

fn events(simulation: &Simulation) -> Vec<StoredEvent> {
    simulation.events.iter().map(|event| stored(&event.body)).collect()
}

/// The places of the events of each object, in the order in which they came.
fn places(simulation: &Simulation) -> BTreeMap<&str, Vec<usize>> {
    let mut places: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (place, event) in simulation.events.iter().enumerate() {
        if let Some(id) = event.object()["id"].as_str() {
            places.entry(id).or_default().push(place);
        }
    }
    places
}

/// A number in major units as it is written, in minor units.
fn minor_units(number: &serde_json::Number, currency: Currency) -> i64 {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = usize::try_from(currency.minor_digits()).expect("few");
    assert!(fraction.len() <= digits, "{text} {currency}");
    format!("{whole}{fraction:0<digits$}").parse().expect("minor units")
}

/// The number in the column `Collected`, with the text in `Currency` and in `Month`.
fn collected(page: &Mapped) -> Option<(String, Currency, i64)> {
    let number = page.properties.get("Collected")?["number"].as_number().expect("a number").clone();
    let text =
        |column: &str| page.properties[column]["select"]["name"].as_str().expect("an option").to_owned();
    let currency: Currency = text("Currency").parse().expect("a currency");
    Some((text("Month"), currency, minor_units(&number, currency)))
}

/// What the page of each event says if the events are received in this order: their places, first to last.
fn summaries(simulation: &Simulation, order: &[usize]) -> Vec<EventSummary> {
    let (events, places, stripe) = (events(simulation), places(simulation), stripe());
    let ranks = ranks(order);
    let summary = |(place, event): (usize, &StoredEvent)| {
        // What the service would read beside it: the other events of the object that have arrived.
        let object = stripe.related_object(event);
        let of_object = object.and_then(|id| places.get(id.as_str())).into_iter().flatten();
        let mut arrived: Vec<_> = of_object.filter(|other| ranks[**other] < ranks[place]).collect();
        arrived.sort_by_key(|other| ranks[**other]);
        let related: Vec<_> = arrived.into_iter().map(|other| events[*other].clone()).collect();
        summarize(event, &related)
    };
    events.iter().enumerate().map(summary).collect()
}

/// When each event is received, by its place.
fn ranks(order: &[usize]) -> Vec<usize> {
    let mut ranks = vec![0; order.len()];
    for (rank, place) in order.iter().enumerate() {
        ranks[*place] = rank;
    }
    ranks
}

/// The order in which the events happened.
fn as_it_happened(simulation: &Simulation) -> Vec<usize> {
    (0..simulation.events.len()).collect()
}

/// The sums over the pages of event mode.
fn by_month(simulation: &Simulation, zone: Tz) -> Sums {
    by_month_in(simulation, zone, &as_it_happened(simulation))
}

fn by_month_in(simulation: &Simulation, zone: Tz, order: &[usize]) -> Sums {
    let bindings = bindings(Field::EventId, best_kind);
    let mut sums = Sums::new();
    for summary in summaries(simulation, order) {
        if summary.collected.is_none() {
            continue;
        }
        if let Some((month, currency, minor)) = collected(&mapping::properties(&summary, zone, &bindings)) {
            *sums.entry((month, currency.to_string())).or_default() += minor;
        }
    }
    without_zeros(sums)
}

fn without_zeros(sums: Sums) -> Sums {
    sums.into_iter().filter(|(_, minor)| *minor != 0).collect()
}

fn booked_by_month(simulation: &Simulation, zone: Tz) -> Sums {
    let months = simulation.books.by_month(&zone).into_iter();
    let key = |month: Month, currency: shop_simulator::Currency| {
        (format!("{}-{:02}", month.year, month.month), currency.code().to_uppercase())
    };
    without_zeros(months.map(|((month, currency), minor)| (key(month, currency), minor)).collect())
}

/// The figures on the pages of object mode: each shows the newest state of its object, whatever the order in
/// which the events came.
fn by_object(simulation: &Simulation) -> BTreeMap<String, i64> {
    let bindings = bindings(Field::ObjectId, best_kind);
    let (events, stripe) = (events(simulation), stripe());
    let shown = places(simulation).into_iter().filter_map(|(id, places)| {
        let states: Vec<_> = places.into_iter().map(|place| &events[place]).collect();
        let newest = states[stripe.newest(&states).expect("a state")];
        let page = object_properties(&summarize(newest, &[]), Tz::UTC, &bindings).expect("an object");
        let (_, _, minor) = collected(&page)?;
        Some((id.to_owned(), minor))
    });
    shown.filter(|(_, minor)| *minor != 0).collect()
}

fn booked_by_object(simulation: &Simulation) -> BTreeMap<String, i64> {
    let figures = simulation.books.figures().iter();
    figures.map(|(id, figure)| (id.clone(), figure.minor)).filter(|(_, minor)| *minor != 0).collect()
}

/// A year of a shop that is small enough for a test and large enough for every kind of movement.
fn year(seed: u64, options: Options) -> Simulation {
    Shop::of(seed).with(Options { sales: 120, subscriptions: 5, ..options }).run()
}

#[test]
fn the_pages_of_a_year_add_up_to_the_books_of_each_month() {
    for (seed, old_api_percent, zone) in
        [(1, 50, Tz::UTC), (2, 0, chrono_tz::Europe::Berlin), (3, 100, chrono_tz::US::Samoa)]
    {
        let year = year(seed, Options { old_api_percent, ..Options::default() });
        let booked = booked_by_month(&year, zone);
        assert!(booked.len() > 24, "several currencies in each month");
        assert_eq!(by_month(&year, zone), booked, "seed {seed}");
    }
}

#[test]
fn the_pages_of_all_objects_add_up_to_the_same_in_the_end() {
    for (seed, old_api_percent) in [(1, 50), (2, 0), (3, 100)] {
        let year = year(seed, Options { old_api_percent, ..Options::default() });
        assert_eq!(by_object(&year), booked_by_object(&year), "seed {seed}");
        let months = by_month(&year, Tz::UTC);
        let mut lifetime = BTreeMap::<&str, i64>::new();
        for ((_, currency), minor) in &months {
            *lifetime.entry(currency).or_default() += minor;
        }
        let booked = year.books.lifetime();
        for (currency, minor) in booked {
            assert_eq!(lifetime.get(currency.code().to_uppercase().as_str()), Some(&minor), "seed {seed}");
        }
    }
}

#[test]
fn the_refunds_on_the_pages_of_a_charge_add_up_to_those_of_the_shop() {
    for (seed, old_api_percent) in [(1, 0), (2, 100), (3, 50), (4, 50)] {
        let year = year(seed, Options { old_api_percent, ..Options::default() });
        let mut booked = BTreeMap::<&str, i64>::new();
        for movement in year.books.movements().iter().filter(|movement| movement.why == Why::Refunded) {
            *booked.entry(&movement.charge).or_default() -= movement.minor;
        }
        let mut shown = BTreeMap::<&str, i64>::new();
        for (event, summary) in year.events.iter().zip(summaries(&year, &as_it_happened(&year))) {
            let is_refund = matches!(summary.outcome, EventOutcome::Refunded | EventOutcome::PartlyRefunded);
            if event.event_type == "charge.refunded" && is_refund {
                let minor = summary.amount.and_then(|amount| amount.minor()).expect("an amount");
                *shown.entry(charge_of(event)).or_default() += minor;
            }
        }
        assert_eq!(shown, booked, "seed {seed}");
    }
}

#[test]
fn what_stripe_does_not_document_changes_no_sum_over_the_pages() {
    let none = Undocumented::default();
    for undocumented in [
        Undocumented { last_capture_is_captured: true, ..none },
        Undocumented { releases_count_as_refunded: true, ..none },
        Undocumented { releases_have_balance_transaction: true, ..none },
        Undocumented { pending_debits_have_balance_transaction: true, ..none },
    ] {
        let year = year(9, Options { undocumented, ..Options::default() });
        assert_eq!(by_month(&year, Tz::UTC), booked_by_month(&year, Tz::UTC), "{undocumented:?}");
    }
}

/// The charge that an event is about, or else its object.
fn charge_of(event: &SimulatedEvent) -> &str {
    let object = event.object();
    let charge = &object["charge"];
    [charge, &charge["id"], &object["id"]].into_iter().find_map(|id| id.as_str()).unwrap_or_default()
}

/// Whether an event captures a part of its charge: `charge.captured`, or one of several captures.
fn captures(event: &SimulatedEvent) -> bool {
    let changed = &event.body["data"]["previous_attributes"]["amount_captured"];
    event.event_type == "charge.captured" || (event.event_type == "charge.updated" && !changed.is_null())
}

#[test]
fn sums_do_not_depend_on_the_order_in_which_the_events_of_several_charges_arrive() {
    for seed in 1..=2 {
        let year = year(seed, Options::default());
        let mut charges: Vec<_> = year.events.iter().map(charge_of).collect();
        charges.sort_unstable();
        charges.dedup();
        charges.shuffle(&mut StdRng::seed_from_u64(seed));
        let turn: BTreeMap<_, _> = charges.into_iter().zip(0..).collect();
        let mut order = as_it_happened(&year);
        order.sort_by_key(|place| turn[charge_of(&year.events[*place])]);
        assert_eq!(by_month_in(&year, Tz::UTC, &order), booked_by_month(&year, Tz::UTC), "seed {seed}");
    }
}

/// Receives a year in any order, and compares what each event moves with what it moves in the order of the events.
/// Returns the types of those that were misjudged.
fn misjudged(year: &Simulation, seed: u64) -> Vec<&str> {
    let mut order = as_it_happened(year);
    order.shuffle(&mut StdRng::seed_from_u64(seed));
    let ranks = ranks(&order);
    let right = summaries(year, &as_it_happened(year));
    let mut types = Vec::new();
    for (place, summary) in summaries(year, &order).into_iter().enumerate() {
        let event = &year.events[place];
        let (right, found) =
            (right[place].collected.and_then(|it| it.minor()), summary.collected.and_then(|it| it.minor()));
        if right == found {
            continue;
        }
        types.push(event.event_type.as_str());
        let others = year.events.iter().zip(&ranks);
        let others = others.filter(|(other, _)| other.id != event.id && charge_of(other) == charge_of(event));
        let (before, after): (Vec<_>, Vec<_>) = others.partition(|(_, rank)| **rank < ranks[place]);
        let is_type = |(other, _): &(&SimulatedEvent, _), name| other.event_type == name;
        let is_same_request = |other: &SimulatedEvent| other.body["request"] == event.body["request"];
        let taken = event.object()["amount"].as_i64().map(|amount| -amount);
        match event.event_type.as_str() {
            // Taken away although it had not been counted, because nothing of it had arrived; or not taken away,
            // because something had, but not its success.
            "charge.failed" => {
                assert_eq!(found, taken.filter(|_| before.is_empty()), "{}", event.body);
                assert!(!before.iter().any(|other| is_type(other, "charge.succeeded")), "{}", event.body);
            }
            // Taken for a real refund, because the capture that released it had not arrived.
            "refund.created" => {
                assert_eq!((right, found), (None, taken), "{}", event.body);
                assert!(
                    after.iter().any(|(other, _)| captures(other) && is_same_request(other)),
                    "{}",
                    event.body
                );
            }
            // Counted with earlier captures that had not arrived.
            "charge.captured" => {
                assert!(found > right, "{}", event.body);
                assert!(after.iter().any(|(other, _)| captures(other)), "{}", event.body);
            }
            other => panic!("{other} depends on the order: {}", event.body),
        }
    }
    types
}

#[test]
fn the_order_of_arrival_changes_only_what_the_documents_name() {
    let none = Undocumented::default();
    let (failed, rest, capture) = ("charge.failed", "refund.created", "charge.captured");
    for (undocumented, expected) in [
        (none, vec![failed]),
        (Undocumented { pending_debits_have_balance_transaction: true, ..none }, vec![failed]),
        // Only then does the body of a released rest look like that of a refund.
        (Undocumented { releases_have_balance_transaction: true, ..none }, vec![failed, rest]),
        (Undocumented { last_capture_is_captured: true, ..none }, vec![capture, failed]),
    ] {
        let mut types = BTreeSet::new();
        for seed in 1..=2 {
            let options = Options { sales: 60, subscriptions: 0, undocumented, ..Options::default() };
            let mut year = Shop::of(seed).with(options).run();
            for event in year.events.iter_mut().filter(|event| event.event_type == capture) {
                // Stripe documents earlier values for `*.updated` only.
                event.body["data"]["previous_attributes"].take();
            }
            assert_eq!(by_month(&year, Tz::UTC), booked_by_month(&year, Tz::UTC), "{undocumented:?}");
            types.extend(misjudged(&year, seed).into_iter().map(str::to_owned));
        }
        assert_eq!(types.into_iter().collect::<Vec<_>>(), expected, "{undocumented:?}");
    }
}

#[test]
fn a_part_that_came_back_in_another_currency_is_left_out_and_the_page_says_so() {
    let years: Vec<_> = (1..=4).map(|seed| year(seed, Options::default())).collect();
    let parts: Vec<_> =
        years.iter().flat_map(|year| year.books.unknown().iter().map(move |part| (year, part))).collect();
    assert!(!parts.is_empty());
    for (year, part) in parts {
        let is_it = |event: &&SimulatedEvent| {
            event.event_type == "charge.dispute.funds_reinstated"
                && event.created == part.when
                && event.object()["id"] == part.dispute.as_str()
        };
        let event = year.events.iter().find(is_it).expect("the event");
        let summary = summarize(&stored(&event.body), &[]);
        assert_eq!(summary.collected, None);
        assert!(summary.reason.is_some_and(|reason| reason.contains("another currency")));
    }
}
