//! When this process claims, for which instances, and how many executions. No I/O and no clock: the time and
//! the states of the instances are passed in. The pool executes these decisions.
//!
//! A *round* begins when slots are free. It consists of claims in this order, as long as slots stay free:
//!
//! | claim | for | how many |
//! |---|---|---|
//! | canary | each paused instance whose probe asked for it | one execution |
//! | sweep | each instance whose circuit breaker is closed, if a slice of a sweep is due | all free slots, for any class |
//! | fresh | the instances whose circuit breaker is closed | all free slots; every fifth slot is for a retry, if any is due (*retry credit*) |
//! | others | each of the same instances | all free slots, for retries and for what was queued in bulk |
//! | trial | each instance whose circuit breaker is half-open | one execution |
//!
//! Fresh work is claimed again until an instance has no more. The instances keep to the
//! [slot quota](super::slot_quota), and each to its [limit](super::concurrency). The [cursor] knows where a
//! claim begins.
//!
//! If a claim of the others finds nothing, the next one comes [`OTHERS_EVERY`] later at the earliest. Until
//! then it is owed.
//!
//! After a round the pool rests, unless the round filled every slot:
//!
//! - for [`REST_AFTER_NOTHING`], if a notification began the round and it found nothing;
//! - then until it is notified, or a full instance has a free slot again, or the claim that it owes is due, or
//!   [`POLL`] is over.
//!
//! Once per [`POLL`] it looks for quarantined executions. One of them runs alone in its process. Afterwards
//! all else runs for at least as long as it rested, so quarantined executions take at most half of the time.
//! A quarantined execution waits while its instance is paused or its circuit breaker is not closed.

mod cursor;

use super::instances::{ClaimableInstances, InstanceStates, Trial};
use crate::store::{Ask, Position, WorkClass};
use cursor::{Cursor, Found, Scan};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::vec;

/// How long an idle pool waits before it looks for work without a notification.
pub(super) const POLL: Duration = Duration::from_secs(1);

/// The rest after a round that found nothing although a notification began it. Events for a paused
/// instance, or work that another process claimed, are no reason to claim a thousand times a second.
const REST_AFTER_NOTHING: Duration = Duration::from_millis(20);

/// The shortest time between two claims of an instance's retries and bulk work, once one found nothing.
const OTHERS_EVERY: Duration = Duration::from_millis(50);

/// The wait before the next round if the database did not answer.
const DATABASE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// One claimed slot in so many is for a retry, as long as any is due.
const RETRY_SHARE: usize = 5;

/// What the pool is to claim next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// One execution of this paused instance, to see whether it works again.
    Canary(String),
    /// Executions of one or several instances.
    Batch(Batch),
    /// One execution of this instance, whose circuit breaker is not closed.
    Trial(Trial),
}

/// A claim for one or several instances.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) asks: Vec<Ask>,
    /// The most executions of all asks together.
    pub(super) limit: usize,
    /// For each ask, what it reads.
    scans: Vec<Scan>,
    kind: BatchKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BatchKind {
    Sweep,
    Fresh,
    Others,
}

/// An execution that a claim took.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) destination: String,
    pub(super) class: WorkClass,
    pub(super) position: Position,
    pub(super) is_in_lane: bool,
}

/// A claim that swept and found less than it asked for. The pool finds out whether there is more behind what
/// it examined.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Examined {
    pub(super) ask: Ask,
    scan: Scan,
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
    /// Slots that have not yet earned a retry its slot.
    retry_credit: usize,
    instances: BTreeMap<String, InstanceSchedule>,
    /// When the earliest claim is due that was postponed although slots are free.
    owed_at: Option<Instant>,
    quarantine_check_at: Instant,
    /// Since when all else rests for a quarantined execution.
    all_rest_since: Option<Instant>,
    /// Whether a notification ended the last rest.
    was_notified: bool,
    round: Round,
}

/// What is known of an instance's waiting work.
struct InstanceSchedule {
    fresh: Cursor,
    retry: Cursor,
    bulk: Cursor,
    /// Whether the last claim of retries found any.
    has_retries: bool,
    retries_at: Instant,
    others_at: Instant,
}

/// How far a round has come.
#[derive(Default)]
struct Round {
    /// The slots that were free at its beginning.
    slots: usize,
    step: Step,
    canaries: vec::IntoIter<String>,
    /// The instances of which a slice may be due.
    sweeps: vec::IntoIter<String>,
    /// The instances whose circuit breaker is closed and that may have more fresh work.
    fresh: Vec<String>,
    /// Slots for retries among the fresh work.
    retry_slots: usize,
    /// The instances whose retries and bulk work are to be claimed.
    others: vec::IntoIter<String>,
    /// The instances whose circuit breaker is half-open.
    half_open: vec::IntoIter<Trial>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Step {
    #[default]
    Canaries,
    Sweeps,
    Fresh,
    Others,
    Trials,
}

impl Schedule {
    /// The schedule of a pool for these instances.
    pub(super) fn new(instances: &InstanceStates, now: Instant) -> Self {
        let known = instances.names().iter().map(|name| (name.clone(), InstanceSchedule::new(now)));
        Self {
            retry_credit: 0,
            instances: known.collect(),
            owed_at: None,
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
        self.owed_at = None;
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
            self.round.step = Step::Sweeps;
            self.round.fresh = closed.to_vec();
            self.round.sweeps = self.round.fresh.clone().into_iter();
            self.round.others = self.round.fresh.clone().into_iter();
            self.round.half_open = half_open.into_iter();
            self.retry_credit += instances.shares(&self.round.fresh, free).into_iter().sum::<usize>();
            self.round.retry_slots = self.retry_credit / RETRY_SHARE;
            self.retry_credit %= RETRY_SHARE;
        }
        if self.round.step == Step::Sweeps {
            while free > 0
                && let Some(instance) = self.round.sweeps.next()
            {
                if let Some(batch) = self.slices(&instance, free, instances, now) {
                    return Some(Claim::Batch(batch));
                }
            }
            self.round.step = Step::Fresh;
        }
        if self.round.step == Step::Fresh {
            match self.fresh(free, instances, now) {
                Some(batch) => return Some(Claim::Batch(batch)),
                None => self.round.step = Step::Others,
            }
        }
        if self.round.step == Step::Others {
            while free > 0
                && let Some(instance) = self.round.others.next()
            {
                if let Some(batch) = self.others(&instance, free, instances, now) {
                    return Some(Claim::Batch(batch));
                }
            }
            self.round.step = Step::Trials;
        }
        self.round.half_open.next().filter(|_| free > 0).map(Claim::Trial)
    }

    /// The slices of an instance that are due.
    fn slices(
        &mut self,
        instance: &String,
        free: usize,
        instances: &InstanceStates,
        now: Instant,
    ) -> Option<Batch> {
        let known = self.instances.get_mut(instance)?;
        let due: Vec<_> = [WorkClass::Fresh, WorkClass::Retry, WorkClass::Bulk]
            .into_iter()
            .filter_map(|class| Some((class, known.cursor(class).slice(now)?)))
            .collect();
        // Asked last, since it costs more.
        let limit = if due.is_empty() { 0 } else { share_of(instance, free, instances) };
        let mut batch = Batch::new(BatchKind::Sweep);
        for (class, scan) in due {
            batch.add(instance, class, limit, scan);
        }
        batch.limit = limit;
        Some(batch).filter(|batch| batch.limit > 0)
    }

    /// Fresh work, and as many retries as are entitled to a slot.
    fn fresh(&mut self, free: usize, instances: &InstanceStates, now: Instant) -> Option<Batch> {
        let shares = instances.shares(&self.round.fresh, free);
        let mut batch = Batch::new(BatchKind::Fresh);
        for (instance, share) in self.round.fresh.iter().zip(shares).filter(|(_, share)| *share > 0) {
            let Some(known) = self.instances.get_mut(instance) else { continue };
            let mut retries = 0;
            if known.has_retries || known.retries_at <= now {
                known.retries_at = now + OTHERS_EVERY;
                retries = share.min(self.round.retry_slots);
                self.round.retry_slots -= retries;
            }
            batch.add(instance, WorkClass::Retry, retries, known.retry.scan(now));
            batch.add(instance, WorkClass::Fresh, share - retries, known.fresh.scan(now));
            batch.limit += share;
        }
        Some(batch).filter(|batch| batch.limit > 0)
    }

    /// Retries and bulk work of an instance, unless the last claim found nothing a moment ago.
    fn others(
        &mut self,
        instance: &String,
        free: usize,
        instances: &InstanceStates,
        now: Instant,
    ) -> Option<Batch> {
        let limit = share_of(instance, free, instances);
        let known = self.instances.get(instance).filter(|_| limit > 0)?;
        if known.others_at > now {
            self.owe(known.others_at);
            return None;
        }
        let mut batch = Batch { limit, ..Batch::new(BatchKind::Others) };
        batch.add(instance, WorkClass::Retry, limit, known.retry.scan(now));
        batch.add(instance, WorkClass::Bulk, limit, known.bulk.scan(now));
        Some(batch)
    }

    fn owe(&mut self, due: Instant) {
        self.owed_at = Some(self.owed_at.map_or(due, |owed| owed.min(due)));
    }

    /// Takes into account what a claim took, and how long that lasted. Returns what of it swept and found less
    /// than it asked for, for [`record_examined`](Self::record_examined).
    pub(super) fn record_taken(
        &mut self,
        batch: &Batch,
        taken: &[Taken],
        took: Duration,
        instances: &InstanceStates,
        now: Instant,
    ) -> Vec<Examined> {
        let mut examined = Vec::new();
        for (ask, scan) in batch.asks.iter().zip(&batch.scans) {
            let of_ask = || {
                taken.iter().filter(|taken| taken.destination == ask.destination && taken.class == ask.class)
            };
            let Some(known) = self.instances.get_mut(&ask.destination) else { continue };
            let is_in_lane = of_ask().any(|taken| taken.is_in_lane);
            let found = Found {
                last: of_ask().map(|taken| taken.position).max(),
                is_all: of_ask().count() >= usize::try_from(ask.most).unwrap_or(usize::MAX),
                lane_wait: if is_in_lane { instances.slowest(&ask.destination, now) } else { Duration::ZERO },
            };
            if known.cursor(ask.class).record(*scan, found, took, now) {
                examined.push(Examined { ask: ask.clone(), scan: *scan });
            }
            if ask.class == WorkClass::Retry && batch.kind != BatchKind::Sweep {
                known.has_retries = found.last.is_some();
            }
        }
        match batch.kind {
            BatchKind::Sweep => {}
            BatchKind::Fresh => self.round.fresh.retain(|instance| batch.may_have_more(instance, taken)),
            BatchKind::Others => {
                if taken.is_empty()
                    && let Some(ask) = batch.asks.first()
                    && let Some(known) = self.instances.get_mut(&ask.destination)
                {
                    known.others_at = now + OTHERS_EVERY;
                }
            }
        }
        examined
    }

    /// A claim did not end in time. `newest` is a place behind all that is due.
    pub(super) fn record_failed(&mut self, batch: &Batch, newest: Position, took: Duration, now: Instant) {
        for (ask, scan) in batch.asks.iter().zip(&batch.scans) {
            if let Some(known) = self.instances.get_mut(&ask.destination) {
                known.cursor(ask.class).record_failed(*scan, newest, took, now);
            }
        }
    }

    /// `next` is the first execution that a claim did not examine which swept, if there is one; to find that
    /// out took so long.
    pub(super) fn record_examined(
        &mut self,
        examined: &Examined,
        next: Option<Position>,
        took: Duration,
        now: Instant,
    ) {
        let Some(known) = self.instances.get_mut(&examined.ask.destination) else { return };
        known.cursor(examined.ask.class).record_examined(examined.scan, next, took, now);
        if next.is_some() {
            self.owe(now + OTHERS_EVERY);
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
        let poll = POLL + jitter;
        let idle_max =
            self.owed_at.map_or(poll, |owed| owed.saturating_duration_since(now + pause).min(poll));
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

impl InstanceSchedule {
    fn new(now: Instant) -> Self {
        Self {
            fresh: Cursor::new(now),
            retry: Cursor::new(now),
            bulk: Cursor::new(now),
            has_retries: false,
            retries_at: now,
            others_at: now,
        }
    }

    fn cursor(&mut self, class: WorkClass) -> &mut Cursor {
        match class {
            WorkClass::Fresh => &mut self.fresh,
            WorkClass::Bulk => &mut self.bulk,
            WorkClass::Retry | WorkClass::Quarantined => &mut self.retry,
        }
    }
}

/// How many of `free` slots an instance may fill now.
fn share_of(instance: &String, free: usize, instances: &InstanceStates) -> usize {
    instances.shares(std::slice::from_ref(instance), free).first().copied().unwrap_or_default()
}

impl Batch {
    const fn new(kind: BatchKind) -> Self {
        Self { asks: Vec::new(), limit: 0, scans: Vec::new(), kind }
    }

    fn add(&mut self, instance: &str, class: WorkClass, most: usize, scan: Scan) {
        if most > 0 {
            let most = u32::try_from(most).unwrap_or(u32::MAX);
            let Scan { from, until, .. } = scan;
            self.asks.push(Ask { destination: instance.to_owned(), class, from, until, most });
            self.scans.push(scan);
        }
    }

    /// Whether an instance may have more fresh work: the claim took all that it asked for, or took something
    /// of lanes, of which it takes one execution each.
    fn may_have_more(&self, instance: &str, taken: &[Taken]) -> bool {
        let is_fresh = |class: WorkClass| class == WorkClass::Fresh;
        let asked: u32 = self
            .asks
            .iter()
            .filter(|ask| ask.destination == instance && is_fresh(ask.class))
            .map(|ask| ask.most)
            .sum();
        let fresh = || taken.iter().filter(|taken| taken.destination == instance && is_fresh(taken.class));
        let all = u32::try_from(fresh().count()).unwrap_or(u32::MAX) >= asked;
        all || fresh().any(|taken| taken.is_in_lane)
    }
}

#[cfg(test)]
mod tests;
