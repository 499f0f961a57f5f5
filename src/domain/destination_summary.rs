//! A destination instance as the API, the dashboard and the commands see it.
//!
//! These do not depend on kinds of destinations. The summary has everything that they show: the
//! subscription, the rate limit, and the noun of the written entries.

use super::event::EventFacts;
use super::execution::NewExecution;
use super::subscription::Subscription;
use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// A configured instance.
#[derive(Debug, Clone)]
pub struct DestinationSummary {
    /// Which events it receives, under its name.
    pub subscription: Subscription,
    /// The connection whose rate limit applies, named without its token; `None` if it has no rate limit or if
    /// its settings are not available.
    pub connection: Option<String>,
    /// The calls per minute that the connection allows; `None` if there is no limit.
    pub per_minute: Option<NonZeroU32>,
    /// The last day on which its token works, if it has one and the operator has set it.
    pub token_expires: Option<NaiveDate>,
    /// The noun for what one delivery writes.
    pub noun: Noun,
    /// Finds the remote ids that a text names.
    pub remote_ids: fn(&str) -> Vec<String>,
}

/// A destination's noun for what one delivery writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noun {
    /// The singular in lower case, such as `page`.
    pub one: &'static str,
    /// The plural, such as `pages`.
    pub many: &'static str,
}

impl DestinationSummary {
    /// The instance's name.
    pub fn name(&self) -> &str {
        &self.subscription.destination
    }
}

impl Noun {
    /// For instances of different kinds, and for instances that are no longer configured.
    pub const ENTRY: Self = Self { one: "entry", many: "entries" };

    /// The singular for 1, otherwise the plural.
    pub const fn of(self, count: usize) -> &'static str {
        if count == 1 { self.one } else { self.many }
    }
}

/// The noun of this instance.
pub fn noun(destinations: &[DestinationSummary], name: &str) -> Noun {
    find(destinations, name).map_or(Noun::ENTRY, |known| known.noun)
}

/// The noun that all instances share; `None` if they differ.
pub fn common_noun(destinations: &[DestinationSummary]) -> Option<Noun> {
    let (first, others) = destinations.split_first()?;
    others.iter().all(|other| other.noun == first.noun).then_some(first.noun)
}

/// The remote ids that a text names at any of these instances, without duplicates.
pub fn remote_ids(destinations: &[DestinationSummary], text: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for id in destinations.iter().flat_map(|known| (known.remote_ids)(text)) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

/// The instance of this name.
pub fn find<'a>(destinations: &'a [DestinationSummary], name: &str) -> Option<&'a DestinationSummary> {
    destinations.iter().find(|known| known.name() == name)
}

/// The executions that these instances create for an event now; with `only`, that of this instance.
pub fn wanted_of<'a>(
    destinations: &'a [DestinationSummary],
    only: Option<&'a str>,
    source: &'a str,
    facts: &'a EventFacts,
) -> impl Iterator<Item = NewExecution> + 'a {
    let named = destinations.iter().filter(move |known| only.is_none_or(|only| only == known.name()));
    named.filter_map(|known| known.subscription.execution_for(source, facts))
}

/// How many seconds it takes, at one call per execution, to deliver these numbers of executions.
/// Instances of one connection share its rate; connections are independent. Returns `None` if an instance
/// has no rate or is not configured.
pub fn seconds_for(destinations: &[DestinationSummary], counts: &BTreeMap<String, u64>) -> Option<u64> {
    let mut by_connection: BTreeMap<&str, (u64, NonZeroU32)> = BTreeMap::new();
    for (name, count) in counts.iter().filter(|(_, count)| **count > 0) {
        let known = find(destinations, name)?;
        let (connection, per_minute) = (known.connection.as_deref()?, known.per_minute?);
        by_connection.entry(connection).or_insert((0, per_minute)).0 += count;
    }
    let seconds = |(count, rate): &(u64, NonZeroU32)| count.saturating_mul(60).div_ceil(rate.get().into());
    Some(by_connection.values().map(seconds).max().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::execution::Mode;
    use crate::domain::subscription::{LivemodeFilter, TypeFilter};

    fn summary(name: &str, connection: Option<&str>, per_minute: u32) -> DestinationSummary {
        let subscription = Subscription {
            destination: name.to_owned(),
            types: TypeFilter::all(),
            livemode: LivemodeFilter::All,
            mode: Mode::Event,
        };
        let connection = connection.map(str::to_owned);
        DestinationSummary {
            subscription,
            connection,
            per_minute: NonZeroU32::new(per_minute),
            token_expires: None,
            noun: Noun { one: "row", many: "rows" },
            remote_ids: |text| text.strip_prefix("row:").map(str::to_owned).into_iter().collect(),
        }
    }

    #[test]
    fn instances_of_one_connection_wait_for_one_another_and_others_do_not() {
        let known = [
            summary("a", Some("x"), 60),
            summary("b", Some("x"), 60),
            summary("c", Some("y"), 6),
            summary("d", None, 0),
        ];
        let seconds = |counts: &[(&str, u64)]| {
            let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
            seconds_for(&known, &counts)
        };
        assert_eq!(seconds(&[]), Some(0));
        assert_eq!(seconds(&[("a", 30), ("b", 31)]), Some(61));
        assert_eq!(seconds(&[("a", 30), ("c", 7)]), Some(70));
        assert_eq!(seconds(&[("a", 30), ("d", 1)]), None);
        assert_eq!(seconds(&[("a", 30), ("d", 0)]), Some(30));
        assert_eq!(seconds(&[("gone", 1)]), None);
    }

    #[test]
    fn an_instance_that_is_not_configured_has_a_general_noun() {
        let known = [summary("a", None, 0), summary("b", None, 0)];
        assert_eq!((noun(&known, "a").one, noun(&known, "gone")), ("row", Noun::ENTRY));
        assert_eq!(common_noun(&known).map(|noun| noun.of(2)), Some("rows"));
        assert_eq!(common_noun(&[]), None);
        assert_eq!(remote_ids(&known, "row:7"), ["7"]);
    }
}
