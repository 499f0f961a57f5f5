//! A destination instance as those see it who tell of it: what it wants, and how fast it can be served.

use super::event::EventFacts;
use super::execution::NewExecution;
use super::subscription::Subscription;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// A configured instance.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it wants, under its name.
    pub subscription: Subscription,
    /// The connection whose rate it keeps to, named without its token; none where it keeps to none.
    pub connection: Option<String>,
    /// The calls in a minute that the connection allows; none where there is no limit.
    pub per_minute: Option<NonZeroU32>,
}

impl Target {
    /// The instance's name.
    pub fn name(&self) -> &str {
        &self.subscription.destination
    }
}

/// The executions that these instances want of an event now, those named alone where one is.
pub fn wanted_of<'a>(
    targets: &'a [Target],
    only: Option<&'a str>,
    facts: &'a EventFacts,
) -> impl Iterator<Item = NewExecution> + 'a {
    let named = targets.iter().filter(move |target| only.is_none_or(|only| only == target.name()));
    named.filter_map(|target| target.subscription.execution_for(facts))
}

/// How many seconds it takes, at one call each, to deliver so many executions to each of these
/// instances. Instances of one connection wait for one another, connections do not. `None` where an
/// instance has no rate, or is not configured: then nobody can tell.
pub fn seconds_for(targets: &[Target], counts: &BTreeMap<String, u64>) -> Option<u64> {
    let mut by_connection: BTreeMap<&str, (u64, NonZeroU32)> = BTreeMap::new();
    for (name, count) in counts.iter().filter(|(_, count)| **count > 0) {
        let target = targets.iter().find(|target| target.name() == name)?;
        let (connection, per_minute) = (target.connection.as_deref()?, target.per_minute?);
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

    fn target(name: &str, connection: Option<&str>, per_minute: u32) -> Target {
        let subscription = Subscription {
            destination: name.to_owned(),
            types: TypeFilter::all(),
            livemode: LivemodeFilter::All,
            mode: Mode::Event,
        };
        let connection = connection.map(str::to_owned);
        Target { subscription, connection, per_minute: NonZeroU32::new(per_minute) }
    }

    #[test]
    fn instances_of_one_connection_wait_for_one_another_and_others_do_not() {
        let targets = [
            target("a", Some("x"), 60),
            target("b", Some("x"), 60),
            target("c", Some("y"), 6),
            target("d", None, 0),
        ];
        let seconds = |counts: &[(&str, u64)]| {
            let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
            seconds_for(&targets, &counts)
        };
        assert_eq!(seconds(&[]), Some(0));
        assert_eq!(seconds(&[("a", 30), ("b", 31)]), Some(61));
        assert_eq!(seconds(&[("a", 30), ("c", 7)]), Some(70));
        assert_eq!(seconds(&[("a", 30), ("d", 1)]), None);
        assert_eq!(seconds(&[("a", 30), ("d", 0)]), Some(30));
        assert_eq!(seconds(&[("gone", 1)]), None);
    }
}
