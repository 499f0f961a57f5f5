//! What this process knows of each destination instance while it schedules work: its circuit breaker, its
//! canary, how many of its executions run and how many may. Shared by the pool and its deliveries; no I/O and no
//! clock.

use super::circuit_breaker::{Allowance, CircuitBreaker, Rest};
use super::concurrency::{ConcurrencyLimit, Ending, Sample};
use super::slot_quota::{FreeSlots, SlotQuota};
use crate::config::Concurrency;
use crate::domain::delivery::Outcome;
use crate::domain::execution::ExecutionId;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The instances by name.
pub(super) struct InstanceStates {
    /// The slots of the pool, which all instances share.
    slots: usize,
    names: Arc<[String]>,
    states: BTreeMap<String, Mutex<State>>,
}

struct State {
    breaker: CircuitBreaker,
    canary: Canary,
    /// How many of its executions may run.
    limit: ConcurrencyLimit,
    /// How many of its executions run.
    running: usize,
    /// The longest attempt of late, and when it ended.
    slowest: Option<(Duration, Instant)>,
}

/// How long the longest attempt counts as one of late.
const LATE: Duration = Duration::from_secs(10);

/// When an attempt began, and what its claim showed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Began {
    /// When its claim was sent.
    pub(super) leased: Instant,
    /// When it took its slot.
    pub(super) at: Instant,
    /// Whether its claim found as many executions of the instance as the limit left room for.
    pub(super) was_saturated: bool,
    /// Whether it repeats an attempt.
    pub(super) is_retry: bool,
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

/// The instances for which executions may be claimed, by the state of their circuit breakers.
#[derive(Debug, Default)]
pub(super) struct ClaimableInstances {
    /// As many as there are slots for.
    pub(super) closed: Arc<[String]>,
    /// A single one each.
    pub(super) half_open: Vec<Trial>,
}

/// The execution to claim for an instance whose circuit breaker is not closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trial {
    pub(super) instance: String,
    /// Whether only new work may be tried.
    pub(super) is_fresh_only: bool,
}

impl InstanceStates {
    /// These instances, of which nothing is known yet, with the rate per minute of each that has one.
    pub(super) fn new(
        instances: impl IntoIterator<Item = (String, Option<NonZeroU32>)>,
        concurrency: Concurrency,
    ) -> Self {
        let state = |per_minute| State {
            breaker: CircuitBreaker::default(),
            canary: Canary::default(),
            limit: ConcurrencyLimit::new(concurrency, per_minute),
            running: 0,
            slowest: None,
        };
        let states: BTreeMap<_, _> =
            instances.into_iter().map(|(name, per_minute)| (name, Mutex::new(state(per_minute)))).collect();
        Self { slots: concurrency.slots(states.len()), names: states.keys().cloned().collect(), states }
    }

    /// How many executions may run at once in the process.
    pub(super) const fn slots(&self) -> usize {
        self.slots
    }

    /// Their names, in their order.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The instances for which to claim now.
    pub(super) fn claimable(&self, now: Instant) -> ClaimableInstances {
        let allowance = |name: &String| self.with(name, |state| state.breaker.allowance(now));
        let allowances: Vec<_> = self.names.iter().map(allowance).collect();
        if allowances.iter().all(|allowance| *allowance == Some(Allowance::All)) {
            return ClaimableInstances { closed: self.names.clone(), half_open: Vec::new() };
        }
        let mut claimable = ClaimableInstances::default();
        let mut closed = Vec::new();
        for (name, allowance) in self.names.iter().zip(allowances) {
            let trial = |is_fresh_only| Trial { instance: name.clone(), is_fresh_only };
            match allowance {
                Some(Allowance::All) => closed.push(name.clone()),
                Some(Allowance::One) => claimable.half_open.push(trial(false)),
                Some(Allowance::OneFresh) => claimable.half_open.push(trial(true)),
                Some(Allowance::None) | None => {}
            }
        }
        ClaimableInstances { closed: closed.into(), ..claimable }
    }

    /// The instances whose circuit breaker is not closed.
    pub(super) fn resting(&self, now: Instant) -> Vec<(String, Rest)> {
        let rest = |name: &String| self.with(name, |state| state.breaker.rest(now)).flatten();
        self.names.iter().filter_map(|name| Some((name.clone(), rest(name)?))).collect()
    }

    /// How many of `free` slots each of these instances may fill now, in their order.
    pub(super) fn shares(&self, names: &[String], free: usize) -> Vec<usize> {
        let rooms: Vec<_> = self
            .states
            .iter()
            .map(|(name, state)| if names.contains(name) { lock(state).room() } else { 0 })
            .collect();
        let shares = self.free_slots().share_out(free, &rooms);
        let of = |name: &String| self.names.iter().position(|known| known == name);
        names.iter().map(|name| of(name).and_then(|place| shares.get(place).copied()).unwrap_or(0)).collect()
    }

    /// Whether an instance runs as many executions as it may, though the pool may have free slots.
    pub(super) fn is_any_full(&self) -> bool {
        let free = self.free_slots();
        free.shared == 0 && free.reserved.contains(&0)
            || self.states.values().any(|state| lock(state).room() == 0)
    }

    /// How many more executions of the instance its limit allows, whatever the pool has free.
    pub(super) fn room(&self, name: &str) -> usize {
        self.with(name, |state| state.room()).unwrap_or_default()
    }

    fn free_slots(&self) -> FreeSlots {
        let running: Vec<_> = self.states.values().map(|state| lock(state).running).collect();
        SlotQuota::of(self.slots, running.len()).free(&running)
    }

    /// An execution of the instance runs until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, name: String) -> RunningGuard {
        self.with(&name, |state| state.running += 1);
        RunningGuard { instances: self.clone(), name }
    }

    /// Takes the outcome of a call into account for the instance's circuit breaker and its limit. Returns the
    /// limit after it.
    pub(super) fn record(&self, name: &str, outcome: &Outcome, began: Began, now: Instant) -> Option<usize> {
        self.with(name, |state| {
            state.breaker.record(outcome, began.is_retry, began.leased, now);
            let took = now.saturating_duration_since(began.leased);
            if state.slowest(now) <= took {
                state.slowest = Some((took, now));
            }
            // To wait for an earlier write shows nothing about the destination.
            if !matches!(outcome, Outcome::InDoubt { .. }) {
                state.limit.record(&Sample {
                    began_at: began.at,
                    ended_at: now,
                    ending: Ending::from(outcome),
                    was_saturated: began.was_saturated,
                });
            }
            state.limit.limit()
        })
    }

    /// The longest attempt of the instance within the last seconds, from its claim to the destination's answer.
    pub(super) fn slowest(&self, name: &str, now: Instant) -> Duration {
        self.with(name, |state| state.slowest(now)).unwrap_or_default()
    }

    /// The trial of an instance whose circuit breaker is half-open runs until the guard is dropped.
    pub(super) fn begin_trial(self: &Arc<Self>, name: String) -> TrialGuard {
        self.with(&name, |state| state.breaker.begin_trial());
        TrialGuard { instances: self.clone(), name }
    }

    /// Asks for a canary for a paused instance. If one runs, its end decides, even if further probes follow
    /// meanwhile.
    pub(super) fn want_canary(&self, name: &str) {
        self.with(name, |state| {
            if state.canary == Canary::None {
                state.canary = Canary::Wanted;
            }
        });
    }

    /// The paused instances for which a canary is to be claimed; each request is returned once.
    pub(super) fn take_canaries(&self) -> Vec<String> {
        let is_wanted = |state: &Mutex<State>| {
            let mut state = lock(state);
            let is_wanted = state.canary == Canary::Wanted;
            if is_wanted {
                state.canary = Canary::None;
            }
            is_wanted
        };
        self.states.iter().filter(|(_, state)| is_wanted(state)).map(|(name, _)| name.clone()).collect()
    }

    /// This execution is the canary of the instance until the guard is dropped or it [ended](Self::end_canary).
    pub(super) fn begin_canary(self: &Arc<Self>, name: &str, execution: ExecutionId) -> CanaryGuard {
        self.with(name, |state| state.canary = Canary::Running(execution));
        CanaryGuard { instances: self.clone(), name: name.to_owned(), execution }
    }

    /// This execution ended; returns whether it was the canary of the instance.
    pub(super) fn end_canary(&self, name: &str, execution: ExecutionId) -> bool {
        let ended = self.with(name, |state| {
            let was_canary = state.canary == Canary::Running(execution);
            if was_canary {
                state.canary = Canary::None;
            }
            was_canary
        });
        ended.unwrap_or_default()
    }

    /// Acts on the state of an instance; nothing if there is no such instance.
    fn with<T>(&self, name: &str, act: impl FnOnce(&mut State) -> T) -> Option<T> {
        self.states.get(name).map(|state| act(&mut lock(state)))
    }
}

impl State {
    fn room(&self) -> usize {
        self.limit.limit().saturating_sub(self.running)
    }

    /// The longest attempt of late.
    fn slowest(&self, now: Instant) -> Duration {
        let of_late = self.slowest.filter(|(_, ended_at)| now.saturating_duration_since(*ended_at) <= LATE);
        of_late.map_or(Duration::ZERO, |(took, _)| took)
    }
}

/// An execution of an instance that runs until this is dropped.
pub(super) struct RunningGuard {
    instances: Arc<InstanceStates>,
    name: String,
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        self.instances.with(&self.name, |state| state.running -= 1);
    }
}

/// The trial of a half-open circuit breaker. Dropping it lets the next trial begin, if there was nothing to
/// claim or the execution ended without a call to the destination.
pub(super) struct TrialGuard {
    instances: Arc<InstanceStates>,
    name: String,
}

impl Drop for TrialGuard {
    fn drop(&mut self) {
        self.instances.with(&self.name, |state| state.breaker.end_trial());
    }
}

/// The canary of a paused instance. Dropping it lets another one be chosen, if it could not be claimed or
/// ended without a call to the destination.
pub(super) struct CanaryGuard {
    instances: Arc<InstanceStates>,
    name: String,
    execution: ExecutionId,
}

impl Drop for CanaryGuard {
    fn drop(&mut self) {
        self.instances.end_canary(&self.name, self.execution);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
