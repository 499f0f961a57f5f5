//! When this process claims, for which instances, and how many executions. Pure: no I/O and no clock; the
//! time is passed in. The pool executes these decisions.
//!
//! A *round* begins when slots are free. It consists of claims in this order, as long as slots stay free:
//!
//! | claim | for | how many |
//! |---|---|---|
//! | canary | each paused instance whose probe asked for it | one execution |
//! | fresh | the instances whose circuit breaker is closed | all free slots; every fifth slot is for a late retry (*late credit*) |
//! | behind | the same instances | all free slots, also for late retries and for what was queued in bulk |
//! | trial | each instance whose circuit breaker is half-open | one execution |
//!
//! Within a claim, instances take turns and keep to the [slot quota](super::slot_quota).
//!
//! If a look behind the fresh work finds nothing, the next one comes [`LOOK_BEHIND_EVERY`] later at the
//! earliest. Until then it is owed.
//!
//! After a round the pool rests, unless the round filled every slot:
//!
//! - for [`REST_AFTER_NOTHING`], if a notification began the round and it found nothing;
//! - then until it is notified, or a full instance has a free slot again, or the look behind that it owes
//!   is due, or [`POLL`] is over.
//!
//! Once per [`POLL`] it looks for quarantined executions. One of them runs alone in its process. Afterwards
//! all else runs for at least as long as it rested, so quarantined executions take at most half of the time.
//! A quarantined execution waits while its instance is paused or its circuit breaker is not closed.

use super::instances::{ClaimableInstances, InstanceStates};
use super::slot_quota::FreeSlots;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::vec;

/// How long an idle pool waits before it looks for work without a notification.
pub(super) const POLL: Duration = Duration::from_secs(1);

/// The rest after a round that found nothing although a notification began it. Events for a paused
/// instance, or work that another process claimed, are no reason to claim a thousand times a second.
const REST_AFTER_NOTHING: Duration = Duration::from_millis(20);

/// The shortest time between two looks behind the fresh work, once one found nothing.
const LOOK_BEHIND_EVERY: Duration = Duration::from_millis(50);

/// The wait before the next round if the database did not answer.
const DATABASE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// One claimed slot in so many is for a late retry, as long as there are any.
const LATE_SHARE: usize = 5;

/// What the pool is to claim next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// One execution of this paused instance, to see whether it works again.
    Canary(String),
    /// Executions of several instances.
    Batch(Batch),
    /// One execution of this instance, whose circuit breaker is half-open.
    Trial(String),
}

/// A claim for several instances.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) instances: Arc<[String]>,
    /// The free slots, and so the most executions.
    pub(super) limit: usize,
    /// The slots that each instance may fill of its own, and those that they share.
    pub(super) quota: FreeSlots,
    /// How many of the slots late retries may fill.
    pub(super) late: usize,
    /// Whether slots that stay free are for executions that were queued in bulk. Only the look behind the
    /// fresh work takes these.
    pub(super) bulk: bool,
}

/// How the pool rests after a round.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// First for so long, whatever happens.
    pub(super) pause: Duration,
    /// Then until something happens, and at most for so long.
    pub(super) idle_max: Duration,
}

/// Decides when to claim, for whom, and how many.
pub(super) struct Schedule {
    /// How many executions the pool runs at once.
    concurrency: usize,
    /// Slots that have not yet earned a late retry its slot.
    late_credit: usize,
    look_behind_at: Instant,
    /// Whether slots are free and the look behind the fresh work was postponed.
    owes_look_behind: bool,
    quarantine_check_at: Instant,
    /// Since when all else rests for a quarantined execution.
    all_rest_since: Option<Instant>,
    /// Whether a notification ended the last rest.
    was_notified: bool,
    round: Round,
}

/// How far a round has come.
#[derive(Default)]
struct Round {
    /// The slots that were free at its beginning.
    slots: usize,
    step: Step,
    canaries: vec::IntoIter<String>,
    /// The instances whose circuit breaker is closed.
    closed: Arc<[String]>,
    /// The instances whose circuit breaker is half-open.
    half_open: vec::IntoIter<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Step {
    #[default]
    Canaries,
    Fresh,
    Behind,
    Trials,
}

impl Schedule {
    /// The schedule of a pool that runs so many executions at once.
    pub(super) fn new(concurrency: usize, now: Instant) -> Self {
        Self {
            concurrency,
            late_credit: 0,
            look_behind_at: now,
            owes_look_behind: false,
            quarantine_check_at: now,
            all_rest_since: None,
            was_notified: false,
            round: Round::default(),
        }
    }

    /// Begins a round with so many free slots.
    pub(super) fn begin_round(&mut self, slots: usize, instances: &InstanceStates, now: Instant) {
        if let Some(since) = self.all_rest_since.take() {
            self.quarantine_check_at = now + now.saturating_duration_since(since).max(POLL);
        }
        let canaries = instances.take_canaries().into_iter();
        self.round = Round { slots, canaries, ..Round::default() };
    }

    /// The next claim of the round while so many slots are free; none at its end.
    pub(super) fn next_claim(
        &mut self,
        free: usize,
        instances: &InstanceStates,
        now: Instant,
    ) -> Option<Claim> {
        if self.round.step == Step::Canaries {
            if let Some(instance) = self.round.canaries.next().filter(|_| free > 0) {
                return Some(Claim::Canary(instance));
            }
            let ClaimableInstances { closed, half_open } = instances.claimable(now);
            self.owes_look_behind = false;
            self.round.step = if closed.is_empty() { Step::Trials } else { Step::Fresh };
            (self.round.closed, self.round.half_open) = (closed, half_open.into_iter());
        }
        if self.round.step == Step::Fresh {
            self.round.step = Step::Behind;
            self.late_credit += self.round.slots;
            let late = self.late_credit / LATE_SHARE;
            self.late_credit %= LATE_SHARE;
            if free > 0 {
                return Some(self.batch(free, late, false, instances));
            }
        }
        if self.round.step == Step::Behind {
            self.round.step = Step::Trials;
            if free > 0 {
                self.owes_look_behind = self.look_behind_at > now;
                if !self.owes_look_behind {
                    return Some(self.batch(free, free, true, instances));
                }
            }
        }
        self.round.half_open.next().filter(|_| free > 0).map(Claim::Trial)
    }

    fn batch(&self, limit: usize, late: usize, bulk: bool, instances: &InstanceStates) -> Claim {
        let closed = self.round.closed.clone();
        let quota = instances.free_slots(&closed, self.concurrency);
        Claim::Batch(Batch { instances: closed, limit, quota, late, bulk })
    }

    /// Takes into account how many executions a claim found.
    pub(super) fn record_found(&mut self, batch: &Batch, found: usize, now: Instant) {
        if batch.bulk && found == 0 {
            self.look_behind_at = now + LOOK_BEHIND_EVERY;
        }
    }

    /// How to rest after a round that filled so many slots; not at all if it filled every one. `jitter`
    /// keeps processes that started together from claiming together.
    pub(super) fn end_round(&self, filled: usize, jitter: Duration, now: Instant) -> Option<Rest> {
        if filled == self.round.slots {
            return None;
        }
        let found_nothing = filled == 0 && self.was_notified;
        let pause = if found_nothing { REST_AFTER_NOTHING } else { Duration::ZERO };
        let idle_max = if self.owes_look_behind {
            self.look_behind_at.saturating_duration_since(now + pause)
        } else {
            POLL + jitter
        };
        Some(Rest { pause, idle_max })
    }

    /// How to rest after a round if the database did not answer.
    pub(super) fn end_failed_round(jitter: Duration) -> Rest {
        Rest { pause: Duration::ZERO, idle_max: DATABASE_RETRY_DELAY + jitter }
    }

    /// A rest is over; `was_notified` is whether a notification ended it.
    pub(super) fn end_rest(&mut self, was_notified: bool) {
        self.was_notified = was_notified;
    }

    /// The instances for which to look for a quarantined execution now; none if it is too early.
    pub(super) fn quarantine_check(
        &mut self,
        instances: &InstanceStates,
        now: Instant,
    ) -> Option<Arc<[String]>> {
        (self.quarantine_check_at <= now).then(|| {
            self.quarantine_check_at = now + POLL;
            instances.claimable(now).closed
        })
    }

    /// All else rests since `since` for a quarantined execution, until the next round begins.
    pub(super) fn record_quarantine_run(&mut self, since: Instant) {
        self.all_rest_since = Some(since);
    }
}

#[cfg(test)]
mod tests;
