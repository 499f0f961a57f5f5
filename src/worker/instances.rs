//! The destination instances of this process, each with its valve and what it has under way.

use super::slot_quota::{FreeSlots, SlotQuota};
use super::valve::{Allowance, Valve};
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
    valve: Mutex<Valve>,
    trial: Mutex<Trial>,
    running: AtomicUsize,
}

/// Where an instance stands that is held and can be proved to work by a delivery alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Trial {
    #[default]
    None,
    /// A single execution is to be claimed for it.
    Wanted,
    /// This execution runs.
    UnderWay(ExecutionId),
}

/// For which instances to claim.
#[derive(Debug, Default)]
pub(super) struct Allowances {
    /// As much as there is room for.
    pub(super) all: Vec<String>,
    /// A single execution each.
    pub(super) one: Vec<String>,
}

/// The probe of a valve that is not open. Dropped, the next one may begin: whether there was nothing
/// to claim, or the execution came to its end without anything being asked of the destination.
pub(super) struct ProbeGuard {
    instances: Arc<Instances>,
    name: String,
}

impl Drop for ProbeGuard {
    fn drop(&mut self) {
        if let Some(entry) = self.instances.0.get(&self.name) {
            entry.valve().end_probe();
        }
    }
}

/// The execution with which a held instance is tried. Dropped, another may be chosen: whether it could
/// not be claimed, or came to its end without anything being asked of the destination.
pub(super) struct TrialGuard {
    instances: Arc<Instances>,
    name: String,
    execution: ExecutionId,
}

impl Drop for TrialGuard {
    fn drop(&mut self) {
        self.instances.end_trial(&self.name, self.execution);
    }
}

/// An execution that is under way for an instance, until this is dropped.
pub(super) struct UnderWay {
    instances: Arc<Instances>,
    name: String,
}

impl Drop for UnderWay {
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
            let (valve, trial, running) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
            (name, Entry { instance, valve, trial, running })
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

    /// Says that an execution begins, which ends when what it returns is dropped.
    pub(super) fn begin(self: &Arc<Self>, name: String) -> UnderWay {
        if let Some(entry) = self.0.get(&name) {
            entry.running.fetch_add(1, Ordering::Relaxed);
        }
        UnderWay { instances: self.clone(), name }
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
            match entry.valve().allowance(now) {
                Allowance::All => allowances.all.push(name.clone()),
                Allowance::One => allowances.one.push(name.clone()),
                Allowance::None => {}
            }
        }
        allowances
    }

    /// Says that a single execution is being claimed for an instance that gets no more, until what
    /// it returns is dropped.
    pub(super) fn begin_probe(self: &Arc<Self>, name: String) -> ProbeGuard {
        if let Some(entry) = self.0.get(&name) {
            entry.valve().begin_probe();
        }
        ProbeGuard { instances: self.clone(), name }
    }

    /// Says that a held instance is to be tried with a single execution, unless one is under way: its
    /// end is what tells, however many probes it outlasts.
    pub(super) fn want_trial(&self, name: &str) {
        let Some(entry) = self.0.get(name) else { return };
        let mut trial = entry.trial();
        if *trial == Trial::None {
            *trial = Trial::Wanted;
        }
    }

    /// The held instances that are to be tried; each is told once.
    pub(super) fn take_trials(&self) -> Vec<String> {
        let is_wanted = |entry: &Entry| {
            let mut trial = entry.trial();
            let is_wanted = *trial == Trial::Wanted;
            if is_wanted {
                *trial = Trial::None;
            }
            is_wanted
        };
        self.0.iter().filter(|(_, entry)| is_wanted(entry)).map(|(name, _)| name.clone()).collect()
    }

    /// Says with which execution a held instance is tried, until what it returns is dropped.
    pub(super) fn begin_trial(self: &Arc<Self>, name: &str, execution: ExecutionId) -> TrialGuard {
        if let Some(entry) = self.0.get(name) {
            *entry.trial() = Trial::UnderWay(execution);
        }
        TrialGuard { instances: self.clone(), name: name.to_owned(), execution }
    }

    /// Says that this execution came to an end; whether the instance was tried with it.
    pub(super) fn end_trial(&self, name: &str, execution: ExecutionId) -> bool {
        let Some(entry) = self.0.get(name) else { return false };
        let mut trial = entry.trial();
        let was_it = *trial == Trial::UnderWay(execution);
        if was_it {
            *trial = Trial::None;
        }
        was_it
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

    fn trial(&self) -> MutexGuard<'_, Trial> {
        self.trial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
