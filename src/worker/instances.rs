//! The destination instances of this process, each with its circuit breaker, its canary and the number of
//! its running executions.

use super::circuit_breaker::{Allowance, CircuitBreaker};
use super::slot_quota::{FreeSlots, SlotQuota};
use crate::destinations::{Destination, Instance};
use crate::domain::delivery::Outcome;
use crate::domain::execution::ExecutionId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The instances by name.
pub(super) struct Instances(BTreeMap<String, Entry>);

struct Entry {
    instance: Instance,
    breaker: Mutex<CircuitBreaker>,
    canary: Mutex<Canary>,
    running: AtomicUsize,
}

/// Whether a paused instance is tried with a single execution, as only a delivery can prove that it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Canary {
    #[default]
    None,
    /// A canary is to be claimed.
    Wanted,
    /// This execution runs as the canary.
    Running(ExecutionId),
}

/// For which instances to claim.
#[derive(Debug, Default)]
pub(super) struct Allowances {
    /// As much as there are slots for.
    pub(super) all: Vec<String>,
    /// A single execution each.
    pub(super) one: Vec<String>,
}

/// The trial of a half-open circuit breaker. Dropping it lets the next trial begin, if there was nothing
/// to claim or the execution ended without a call to the destination.
pub(super) struct TrialGuard {
    instances: Arc<Instances>,
    name: String,
}

impl Drop for TrialGuard {
    fn drop(&mut self) {
        if let Some(entry) = self.instances.0.get(&self.name) {
            entry.breaker().end_trial();
        }
    }
}

/// The canary of a paused instance. Dropping it lets another one be chosen, if it could not be claimed or
/// ended without a call to the destination.
pub(super) struct CanaryGuard {
    instances: Arc<Instances>,
    name: String,
    execution: ExecutionId,
}

impl Drop for CanaryGuard {
    fn drop(&mut self) {
        self.instances.end_canary(&self.name, self.execution);
    }
}

/// An execution of an instance that runs until this is dropped.
pub(super) struct RunningGuard {
    instances: Arc<Instances>,
    name: String,
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        if let Some(entry) = self.instances.0.get(&self.name) {
            entry.running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Instances {
    pub(super) fn new(instances: Vec<Instance>) -> Self {
        let entry = |instance: Instance| {
            let name = instance.subscription.destination.clone();
            let (breaker, canary, running) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
            (name, Entry { instance, breaker, canary, running })
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

    /// An execution of the instance runs until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, name: String) -> RunningGuard {
        if let Some(entry) = self.0.get(&name) {
            entry.running.fetch_add(1, Ordering::Relaxed);
        }
        RunningGuard { instances: self.clone(), name }
    }

    /// The slots that these instances may fill now, in a pool of so many.
    pub(super) fn free_slots(&self, names: &[String], slots: usize) -> FreeSlots {
        let running: Vec<_> = self.0.values().map(|entry| entry.running.load(Ordering::Relaxed)).collect();
        let FreeSlots { reserved, shared } = SlotQuota::of(slots, running.len()).free(&running);
        let of =
            |name: &String| self.0.keys().position(|known| known == name).and_then(|at| reserved.get(at));
        FreeSlots {
            reserved: names.iter().map(|name| of(name).copied().unwrap_or_default()).collect(),
            shared,
        }
    }

    /// For which of them to claim now.
    pub(super) fn allowances(&self, now: Instant) -> Allowances {
        let mut allowances = Allowances::default();
        for (name, entry) in &self.0 {
            match entry.breaker().allowance(now) {
                Allowance::All => allowances.all.push(name.clone()),
                Allowance::One => allowances.one.push(name.clone()),
                Allowance::None => {}
            }
        }
        allowances
    }

    /// The trial of an instance whose breaker is half-open runs until the guard is dropped.
    pub(super) fn begin_trial(self: &Arc<Self>, name: String) -> TrialGuard {
        if let Some(entry) = self.0.get(&name) {
            entry.breaker().begin_trial();
        }
        TrialGuard { instances: self.clone(), name }
    }

    /// Asks for a canary for a paused instance, unless one runs: its end decides, however many probes it
    /// outlasts.
    pub(super) fn want_canary(&self, name: &str) {
        let Some(entry) = self.0.get(name) else { return };
        let mut canary = entry.canary();
        if *canary == Canary::None {
            *canary = Canary::Wanted;
        }
    }

    /// The paused instances for which a canary is to be claimed; each is returned once.
    pub(super) fn take_canaries(&self) -> Vec<String> {
        let is_wanted = |entry: &Entry| {
            let mut canary = entry.canary();
            let is_wanted = *canary == Canary::Wanted;
            if is_wanted {
                *canary = Canary::None;
            }
            is_wanted
        };
        self.0.iter().filter(|(_, entry)| is_wanted(entry)).map(|(name, _)| name.clone()).collect()
    }

    /// This execution is the canary of the instance until the guard is dropped.
    pub(super) fn begin_canary(self: &Arc<Self>, name: &str, execution: ExecutionId) -> CanaryGuard {
        if let Some(entry) = self.0.get(name) {
            *entry.canary() = Canary::Running(execution);
        }
        CanaryGuard { instances: self.clone(), name: name.to_owned(), execution }
    }

    /// This execution ended; returns whether it was the canary of the instance.
    pub(super) fn end_canary(&self, name: &str, execution: ExecutionId) -> bool {
        let Some(entry) = self.0.get(name) else { return false };
        let mut canary = entry.canary();
        let was_it = *canary == Canary::Running(execution);
        if was_it {
            *canary = Canary::None;
        }
        was_it
    }

    /// Has the instance's circuit breaker take an outcome into account.
    pub(super) fn record(&self, name: &str, outcome: &Outcome, now: Instant) {
        if let Some(entry) = self.0.get(name) {
            entry.breaker().record(outcome, now);
        }
    }
}

impl Entry {
    fn breaker(&self) -> MutexGuard<'_, CircuitBreaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn canary(&self) -> MutexGuard<'_, Canary> {
        self.canary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
