//! Which types of events Stripe has, and which of them the destinations need.

use super::endpoint::{Endpoint, Format};
use crate::domain::subscription::Subscription;
use crate::sources::stripe::event_type::without_thin_prefix;
use std::collections::BTreeSet;

/// The pattern of all types, as Stripe and our filters write it.
const EVERY: &str = "*";

/// A type of Stripe's, without the `v1.` of thin events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EventType {
    name: &'static str,
    is_snapshot: bool,
    is_thin: bool,
}

impl EventType {
    const fn has(self, format: Format) -> bool {
        match format {
            Format::Snapshot => self.is_snapshot,
            Format::Thin => self.is_thin,
        }
    }
}

/// All types, in alphabetical order.
fn all() -> impl Iterator<Item = EventType> {
    let lines = include_str!("event_types.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (formats, name) = line.split_once(' ')?;
        Some(EventType { name, is_snapshot: formats.contains('s'), is_thin: formats.contains('t') })
    })
}

/// The types that destinations need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Whether one of them takes whatever is sent.
    pub everything: bool,
    /// The types that filters name, without the `v1.` of thin events.
    pub types: BTreeSet<&'static str>,
}

impl Needs {
    /// What these destinations need of events of this mode in this format.
    pub fn of(subscriptions: &[Subscription], livemode: bool, format: Format) -> Self {
        let subscriptions: Vec<_> =
            subscriptions.iter().filter(|one| one.livemode.matches(Some(livemode))).collect();
        let (all_taking, choosing): (Vec<_>, Vec<_>) =
            subscriptions.into_iter().partition(|one| one.types.takes_everything());
        let types = all().filter(|known| known.has(format));
        // A filter may write a thin event's type with or without its prefix.
        let written = |known: &EventType| match format {
            Format::Snapshot => known.name.to_owned(),
            Format::Thin => spelt(known.name),
        };
        let is_needed = |known: &EventType| choosing.iter().any(|one| one.types.matches(&written(known)));
        Self {
            everything: !all_taking.is_empty(),
            types: types.filter(is_needed).map(|known| known.name).collect(),
        }
    }

    /// The types that filters name and that none of these endpoints sends.
    pub fn missing_in(&self, endpoints: &[&Endpoint]) -> Vec<&'static str> {
        let sent: BTreeSet<_> = endpoints
            .iter()
            .flat_map(|endpoint| &endpoint.events)
            .map(|name| without_thin_prefix(name))
            .collect();
        if sent.contains(EVERY) {
            return Vec::new();
        }
        self.types.iter().copied().filter(|name| !sent.contains(name)).collect()
    }
}

/// The types to enable at an endpoint of this format, as Stripe's API writes them. A snapshot endpoint takes `*`
/// for all. A thin one needs a list: all that v1 objects have, and those of v2 that a filter names.
pub fn enabled_events(needs: &Needs, format: Format) -> Vec<String> {
    match format {
        Format::Snapshot if needs.everything => vec![EVERY.to_owned()],
        Format::Snapshot => needs.types.iter().map(|name| (*name).to_owned()).collect(),
        Format::Thin => {
            let is_wanted = |known: &EventType| {
                needs.types.contains(known.name) || needs.everything && !known.name.starts_with("v2.")
            };
            all().filter(|known| known.is_thin).filter(is_wanted).map(|known| spelt(known.name)).collect()
        }
    }
}

/// The type as a thin event writes it.
pub(super) fn spelt(name: &str) -> String {
    if name.starts_with("v2.") { name.to_owned() } else { format!("v1.{name}") }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::execution::Mode;
    use crate::domain::subscription::{LivemodeFilter, TypeFilter, TypeVocabulary};
    use crate::sources::stripe::KIND;

    pub(in super::super) fn subscription(types: &str, livemode: LivemodeFilter) -> Subscription {
        let vocabulary = TypeVocabulary::new(KIND.presets.iter().copied(), KIND.spelling)
            .with_pings(KIND.pings.iter().copied());
        Subscription {
            destination: "notion".to_owned(),
            types: TypeFilter::parse(types, &vocabulary).expect("valid").without_pings(&vocabulary),
            livemode,
            mode: Mode::Event,
        }
    }

    fn needs(types: &[&str], format: Format) -> Needs {
        let all: Vec<_> = types.iter().map(|types| subscription(types, LivemodeFilter::All)).collect();
        Needs::of(&all, true, format)
    }

    #[test]
    fn the_list_has_every_type_of_the_expectations() {
        let names = |table: &'static str| -> BTreeSet<&str> {
            table.lines().skip(1).filter_map(|line| line.split('\t').next()).collect()
        };
        let snapshots = names(include_str!("../../../../tests/expectations/stripe-snapshots.tsv"));
        let thin = names(include_str!("../../../../tests/expectations/stripe-thin.tsv"));
        let of = |format| all().filter(move |known| known.has(format)).map(|known| known.name);
        assert_eq!(of(Format::Snapshot).collect::<BTreeSet<_>>(), snapshots);
        let spelt_thin: BTreeSet<String> = of(Format::Thin).map(spelt).collect();
        assert_eq!(spelt_thin, thin.iter().map(|name| (*name).to_owned()).collect());
    }

    #[test]
    fn patterns_and_presets_become_types() {
        let found = needs(&["invoice.pa*, @collected", "payout.paid"], Format::Snapshot);
        assert!(!found.everything);
        for wanted in ["invoice.paid", "invoice.payment_failed", "charge.captured", "payout.paid"] {
            assert!(found.types.contains(wanted), "{wanted}");
        }
        assert!(!found.types.contains("invoice.created") && !found.types.contains("payout.failed"));
        assert_eq!(enabled_events(&found, Format::Snapshot).len(), found.types.len());
        let thin = enabled_events(&needs(&["v1.invoice.paid,v2.core.account.*"], Format::Thin), Format::Thin);
        assert!(thin.contains(&"v1.invoice.paid".to_owned()), "{thin:?}");
        assert!(thin.contains(&"v2.core.account.updated".to_owned()), "{thin:?}");
        assert_eq!(thin.len(), 4, "{thin:?}");
    }

    #[test]
    fn everything_is_a_star_for_snapshots_and_a_list_for_thin_events() {
        let all_of = needs(&["*", "invoice.paid"], Format::Snapshot);
        assert_eq!(enabled_events(&all_of, Format::Snapshot), ["*"]);
        let thin = enabled_events(&needs(&["*"], Format::Thin), Format::Thin);
        assert!(thin.len() > 250 && thin.iter().all(|name| name.starts_with("v1.")), "{}", thin.len());
        let ping = needs(&["v2.*"], Format::Thin);
        assert!(!ping.types.contains("v2.core.event_destination.ping"));
    }

    #[test]
    fn a_destination_of_test_mode_needs_nothing_of_live_mode() {
        let test = [subscription("invoice.paid", LivemodeFilter::Test)];
        assert!(Needs::of(&test, true, Format::Snapshot).types.is_empty());
        assert_eq!(Needs::of(&test, false, Format::Snapshot).types.len(), 1);
    }

    #[test]
    fn what_is_missing_is_what_filters_name_and_no_endpoint_sends() {
        let endpoint = |events: &[&str]| Endpoint {
            events: events.iter().map(|name| (*name).to_owned()).collect(),
            ..Endpoint::default()
        };
        let wanted = needs(&["invoice.paid, payout.paid", "*"], Format::Snapshot);
        let (invoices, payouts) = (endpoint(&["v1.invoice.paid"]), endpoint(&["payout.paid", "x"]));
        assert_eq!(wanted.missing_in(&[&invoices]), ["payout.paid"]);
        assert!(wanted.missing_in(&[&invoices, &payouts]).is_empty());
        assert!(wanted.missing_in(&[&endpoint(&["*"])]).is_empty());
        assert_eq!(wanted.missing_in(&[]).len(), 2);
    }
}
