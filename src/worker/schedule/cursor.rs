//! Where a claim begins in the waiting work of a class. Pure.
//!
//! Work is taken in the order in which it is due, so what a claim took lies at the beginning. Postgres removes
//! it from the index only when no transaction in the whole database is older. Until then a claim that begins
//! at the beginning steps over all that was taken before. So most claims begin at the *front*: shortly before
//! the place of the last execution that was taken.
//!
//! Some work lies behind the front: it was committed late, its lane was busy, or another process claimed and
//! returned it. A *sweep* finds it. It begins at the beginning, and may take one part in [`SWEEP_SHARE`] of the
//! time. While it is short, it is part of an ordinary claim: nearly every claim on short tables sweeps. Once it
//! takes long, it is divided into *slices* by the time at which work was due, which are claims of their own. A
//! slice takes tens of milliseconds, however many removed entries there are.
//!
//! A claim examines a limited number of executions. If these wait in busy lanes, the sweep continues behind
//! them.

use crate::store::Position;
use std::time::{Duration, Instant};

/// How far before the last taken execution the front lies, at least. Executions become visible in the order of
/// their commits, and statements of intake take less than that.
const MARGIN: Duration = Duration::from_millis(500);

/// The most that the front lies before the last taken execution.
const MARGIN_MAX: Duration = Duration::from_secs(10);

/// The time between two questions whether there is more behind what a sweep examined, after the answer was no.
const EXAMINE_EVERY: Duration = Duration::from_secs(1);

/// Sweeps may take one part in so many of the time.
const SWEEP_SHARE: u32 = 20;

/// A sweep that takes longer is divided.
const WHOLE_MAX: Duration = Duration::from_millis(50);

/// A slice that takes longer is halved, and one that takes less than a quarter of this is doubled. A divided
/// sweep whose slices take less than this together is one claim again.
const SLICE_MAX: Duration = Duration::from_millis(20);

/// The first slice covers what was due within this time, and none covers less than the second.
const SLICE_AT_FIRST: Duration = Duration::from_mins(1);
const SLICE_MIN: Duration = Duration::from_millis(100);

/// Where the next claims of a class begin.
#[derive(Debug)]
pub(super) struct Cursor {
    front: Position,
    /// The front when the first execution was taken: all that was due before is one slice.
    oldest: Option<Position>,
    /// Where the sweep continues.
    sweep: Position,
    sweep_at: Instant,
    /// How much a slice covers; none while sweeps are not divided.
    slice: Option<Duration>,
    /// How long the slices of this sweep have taken.
    slices_took: Duration,
    /// When to find out again whether there is more behind what a sweep examined.
    examine_at: Instant,
}

/// What a claim reads of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) from: Position,
    /// Where it ends at the latest: none if it reads to the end.
    pub(super) until: Option<Position>,
    pub(super) is_sweep: bool,
}

/// What a claim took of a class.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// The last execution; none if it took nothing.
    pub(super) last: Option<Position>,
    /// Whether it took as many as it asked for.
    pub(super) is_all: bool,
    /// The time for which an execution may have had to wait for another one of its lane.
    pub(super) lane_wait: Duration,
}

impl Cursor {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            front: Position::START,
            oldest: None,
            sweep: Position::START,
            sweep_at: now,
            slice: None,
            slices_took: Duration::ZERO,
            examine_at: now,
        }
    }

    /// What an ordinary claim reads that is sent now.
    pub(super) fn scan(&self, now: Instant) -> Scan {
        let is_sweep = self.sweep_at <= now && self.slice_end().is_none();
        Scan { from: if is_sweep { self.sweep } else { self.front }, until: None, is_sweep }
    }

    /// The slice of a divided sweep, if one is due.
    pub(super) fn slice(&self, now: Instant) -> Option<Scan> {
        let until = self.slice_end().filter(|_| self.sweep_at <= now)?;
        Some(Scan { from: self.sweep, until: Some(until), is_sweep: true })
    }

    /// The end of the next slice; none if the rest is one claim.
    fn slice_end(&self) -> Option<Position> {
        let slice = self.slice?;
        let end = if self.sweep == Position::START { self.oldest? } else { self.sweep.plus(slice) };
        Some(end).filter(|end| *end < self.front)
    }

    /// A claim that read this found something, and took so long. Returns whether it swept and is to find out
    /// what it did not examine, for [`record_examined`](Self::record_examined). Until then the sweep stays where
    /// it is.
    pub(super) fn record(&mut self, scan: Scan, found: Found, took: Duration, now: Instant) -> bool {
        if let Some(last) = found.last {
            let margin = (MARGIN + found.lane_wait).min(MARGIN_MAX);
            self.front = self.front.max(last.minus(margin));
            self.oldest.get_or_insert(self.front);
        }
        if !scan.is_sweep {
            return false;
        }
        self.sweep_at = now + took * SWEEP_SHARE;
        self.adapt(scan, took);
        if found.is_all {
            self.continue_at(found.last);
            return false;
        }
        // A sweep that takes long goes on from slice to slice.
        self.slice.is_some() || self.examine_at <= now
    }

    /// A claim that read this did not end in time. `newest` is a place behind all that is due.
    pub(super) fn record_failed(&mut self, scan: Scan, newest: Position, took: Duration, now: Instant) {
        if scan.is_sweep {
            self.sweep_at = now + took * SWEEP_SHARE;
            self.adapt(scan, took);
        }
        if self.front == Position::START {
            self.front = newest.minus(MARGIN);
            self.oldest = Some(self.front);
        }
    }

    /// A sweep did not find as much as it asked for. `next` is the first execution that it did not examine, if
    /// there is one; to find that out took so long.
    pub(super) fn record_examined(
        &mut self,
        scan: Scan,
        next: Option<Position>,
        took: Duration,
        now: Instant,
    ) {
        self.sweep_at += took * SWEEP_SHARE;
        if let Some(next) = next {
            self.sweep = next;
            self.examine_at = now;
        } else {
            self.continue_at(scan.until);
            self.examine_at = now + EXAMINE_EVERY;
        }
    }

    /// Whether a sweep has begun and has not come to its end.
    #[cfg(test)]
    fn is_sweeping(&self) -> bool {
        self.sweep != Position::START
    }

    fn adapt(&mut self, scan: Scan, took: Duration) {
        match (self.slice, scan.until) {
            (None, _) if took > WHOLE_MAX => self.slice = Some(SLICE_AT_FIRST),
            // The first slice has no length that could be adapted.
            (Some(slice), Some(_)) if scan.from != Position::START => {
                self.slice = Some(match took {
                    took if took > SLICE_MAX => (slice / 2).max(SLICE_MIN),
                    took if took < SLICE_MAX / 4 => slice.saturating_mul(2).min(MARGIN_MAX * 10_000),
                    _ => slice,
                });
            }
            _ => {}
        }
        self.slices_took += took;
    }

    /// Continues the sweep there, or ends it if that is not behind the front.
    fn continue_at(&mut self, place: Option<Position>) {
        if let Some(place) = place.filter(|place| *place < self.front) {
            self.sweep = place;
            return;
        }
        if self.slices_took < SLICE_MAX {
            self.slice = None;
        }
        self.sweep = Position::START;
        self.slices_took = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(milliseconds: u64) -> Position {
        Position::START.plus(MARGIN + MS * u32::try_from(milliseconds).unwrap())
    }

    fn some(last: Position) -> Found {
        Found { last: Some(last), is_all: false, lane_wait: Duration::ZERO }
    }

    const NOTHING: Found = Found { last: None, is_all: false, lane_wait: Duration::ZERO };

    /// A table whose removed entries cost `per_second` for each second of their times.
    struct Case {
        cursor: Cursor,
        now: Instant,
        began: Instant,
        per_second: Duration,
    }

    impl Case {
        fn new(per_second: Duration) -> Self {
            let now = Instant::now();
            Self { cursor: Cursor::new(now), now, began: now, per_second }
        }

        /// The place of what is due now.
        fn newest(&self) -> Position {
            at(1_000_000).plus(self.now - self.began)
        }

        /// How long a claim takes that reads this.
        fn cost(&self, scan: Scan) -> Duration {
            let from = scan.from.max(at(1_000_000));
            let until = scan.until.unwrap_or(self.newest()).min(self.newest());
            MS + self.per_second.mul_f64(until.since(from).as_secs_f64())
        }

        fn claim(&mut self, scan: Scan, found: Found) -> Duration {
            let took = self.cost(scan);
            self.now += took;
            if self.cursor.record(scan, found, took, self.now) {
                self.cursor.record_examined(scan, None, Duration::ZERO, self.now);
            }
            took
        }

        /// One round; returns how long the longest of its claims took, and what the sweeps did.
        fn round(&mut self) -> (Duration, Duration) {
            let (mut longest, mut swept) = (Duration::ZERO, Duration::ZERO);
            if let Some(slice) = self.cursor.slice(self.now) {
                let took = self.claim(slice, NOTHING);
                (longest, swept) = (longest.max(took), swept + took);
            }
            let scan = self.cursor.scan(self.now);
            let took = self.claim(scan, some(self.newest()));
            swept += if scan.is_sweep { took } else { Duration::ZERO };
            (longest.max(took), swept)
        }
    }

    #[test]
    fn sweeps_take_a_twentieth_of_the_time_and_the_other_claims_begin_at_the_front() {
        let mut case = Case::new(Duration::ZERO);
        let mut swept = Duration::ZERO;
        for _ in 0..20_000 {
            swept += case.round().1;
        }
        let all = case.now - case.began;
        assert!(swept * 19 < all && all < swept * 22, "{swept:?} of {all:?}");
        case.cursor.sweep_at = case.now + MS;
        assert!(case.cursor.scan(case.now).from > case.newest().minus(MARGIN + MS * 2));
    }

    #[test]
    fn however_many_entries_were_removed_no_claim_steps_over_many_of_them() {
        // A second of times costs a millisecond: a sweep over the hour would take 3.6 s.
        let mut case = Case::new(MS);
        let mut longest = Duration::ZERO;
        let mut sweeps = 0;
        while case.now - case.began < Duration::from_hours(1) {
            let was_sweeping = case.cursor.is_sweeping();
            longest = longest.max(case.round().0);
            sweeps += u32::from(was_sweeping && !case.cursor.is_sweeping());
        }
        // The one that shows that sweeps are to be divided, and the first slice of a minute.
        assert!(longest < MS * 65, "{longest:?}");
        assert!(sweeps > 40, "each comes to its end: {sweeps}");
    }

    #[test]
    fn a_divided_sweep_is_one_claim_again_once_the_entries_are_gone() {
        let mut case = Case::new(MS);
        while case.now - case.began < Duration::from_mins(10) {
            case.round();
        }
        assert!(case.cursor.slice.is_some());
        case.per_second = Duration::ZERO;
        for _ in 0..2_000 {
            case.round();
        }
        assert_eq!(case.cursor.slice, None);
    }

    #[test]
    fn a_claim_that_did_not_end_in_time_is_not_repeated_at_once() {
        let now = Instant::now();
        let mut cursor = Cursor::new(now);
        let first = cursor.scan(now);
        assert_eq!((first.from, first.is_sweep), (Position::START, true));
        let took = Duration::from_secs(20);
        cursor.record_failed(first, at(50_000), took, now);
        assert_eq!(cursor.scan(now), Scan { from: at(50_000).minus(MARGIN), until: None, is_sweep: false });
        assert_eq!(cursor.slice(now), None);
        let later = now + took * SWEEP_SHARE;
        let before_all = Some(at(50_000).minus(MARGIN));
        assert_eq!(cursor.slice(later), None, "nothing was taken since");
        cursor.record(cursor.scan(now), some(at(90_000)), MS, now);
        assert_eq!(cursor.slice(later).map(|slice| slice.until), Some(before_all));
    }

    #[test]
    fn the_front_never_moves_back_and_waits_for_lanes() {
        let now = Instant::now();
        let mut cursor = Cursor::new(now);
        cursor.record(cursor.scan(now), some(at(7_000)), MS, now);
        let scan = cursor.scan(now);
        assert!(!scan.is_sweep);
        cursor.record(scan, some(at(30)), MS, now);
        assert_eq!(cursor.scan(now).from, scan.from);
        let slow = Found { lane_wait: Duration::from_secs(2), ..some(at(10_000)) };
        cursor.record(scan, slow, MS, now);
        assert_eq!(cursor.scan(now).from, at(8_000).minus(MARGIN));
    }

    #[test]
    fn a_sweep_continues_behind_busy_lanes_until_it_has_come_to_its_end() {
        let now = Instant::now();
        let mut cursor = Cursor::new(now);
        let scan = cursor.scan(now);
        assert_eq!(scan, Scan { from: Position::START, until: None, is_sweep: true });
        assert!(cursor.record(scan, NOTHING, Duration::ZERO, now));
        cursor.record_examined(scan, Some(at(5)), Duration::ZERO, now);
        assert!(cursor.is_sweeping());
        let scan = cursor.scan(now);
        assert_eq!(scan, Scan { from: at(5), until: None, is_sweep: true });
        assert!(cursor.record(scan, NOTHING, Duration::ZERO, now));
        cursor.record_examined(scan, None, Duration::ZERO, now);
        assert!(!cursor.is_sweeping());
        assert_eq!(cursor.scan(now).from, Position::START);
        assert!(!cursor.record(cursor.scan(now), NOTHING, Duration::ZERO, now), "it was just found out");
    }

    #[test]
    fn a_sweep_that_found_all_that_it_asked_for_begins_again() {
        let now = Instant::now();
        let mut cursor = Cursor::new(now);
        cursor.record_examined(cursor.scan(now), Some(at(5)), Duration::ZERO, now);
        let scan = cursor.scan(now);
        cursor.record(scan, Found { is_all: true, ..some(at(9_000)) }, Duration::ZERO, now);
        assert_eq!(cursor.scan(now).from, Position::START, "the lanes before it are looked at again");
    }
}
