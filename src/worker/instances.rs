//! The destination instances of this process, each with its valve.

use super::valve::{Allowance, Valve};
use crate::destinations::{Destination, Instance};
use crate::domain::delivery::Outcome;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The instances by name.
pub(super) struct Instances(BTreeMap<String, Entry>);

struct Entry {
    instance: Instance,
    valve: Mutex<Valve>,
}

/// For which instances to claim.
#[derive(Debug, Default)]
pub(super) struct Allowances {
    /// As much as there is room for.
    pub(super) all: Vec<String>,
    /// A single execution each.
    pub(super) one: Vec<String>,
}

impl Instances {
    pub(super) fn new(instances: Vec<Instance>) -> Self {
        let entry = |instance: Instance| {
            let name = instance.subscription.destination.clone();
            (name, Entry { instance, valve: Mutex::default() })
        };
        Self(instances.into_iter().map(entry).collect())
    }

    /// Their names.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// The destination of this name.
    pub(super) fn get(&self, name: &str) -> Option<&dyn Destination> {
        self.0.get(name).map(|entry| entry.instance.destination.as_ref())
    }

    /// For which of them to claim now.
    pub(super) fn allowances(&self, now: Instant) -> Allowances {
        let mut allowances = Allowances::default();
        for (name, entry) in &self.0 {
            match entry.valve().allowance(now) {
                Allowance::All => allowances.all.push(name.clone()),
                Allowance::One => allowances.one.push(name.clone()),
                Allowance::None => {}
            }
        }
        allowances
    }

    /// Says that a single execution is being claimed for an instance that gets no more.
    pub(super) fn begin_probe(&self, name: &str) {
        if let Some(entry) = self.0.get(name) {
            entry.valve().begin_probe();
        }
    }

    /// Says that there was nothing to claim for it, or no answer.
    pub(super) fn call_probe_off(&self, name: &str) {
        if let Some(entry) = self.0.get(name) {
            entry.valve().call_probe_off();
        }
    }

    /// Has the instance's valve learn from an outcome.
    pub(super) fn learn(&self, name: &str, outcome: &Outcome, now: Instant) {
        if let Some(entry) = self.0.get(name) {
            entry.valve().learn(outcome, now);
        }
    }
}

impl Entry {
    fn valve(&self) -> MutexGuard<'_, Valve> {
        self.valve.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
