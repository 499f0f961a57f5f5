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
use eventbridge::sources::Source;
use eventbridge::sources::stripe::{Stripe, summarize};
use shop_simulator::{Month, Options, Shop, SimulatedEvent, Simulation, Undocumented};
use std::collections::BTreeMap;

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

/// The sums over the pages of event mode.
fn by_month(simulation: &Simulation, zone: Tz) -> Sums {
    let bindings = bindings(Field::EventId, best_kind);
    let (events, places, stripe) = (events(simulation), places(simulation), stripe());
    let mut sums = Sums::new();
    for (place, event) in events.iter().enumerate() {
        // What the service would read beside it: the other events of the object that have arrived.
        let object = stripe.related_object(event);
        let of_object = object.and_then(|id| places.get(id.as_str())).into_iter().flatten();
        let related: Vec<_> =
            of_object.filter(|other| **other < place).map(|other| events[*other].clone()).collect();
        let summary = summarize(event, &related);
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
