//! Where a claim begins in the waiting work of a class. Pure.
//!
//! Work is taken in the order in which it is due, so what a claim took lies at the beginning. Postgres removes
//! it from the index only when no transaction in the whole database is older. Until then a claim that begins
//! at the beginning steps over all that was taken before. So most claims begin at the *front*: shortly before
//! the place of the last execution that was taken.
//!
//! Some work lies behind the front: it was committed late, its lane was busy, or another process claimed and
//! returned it. A *full look* finds it. It begins at the beginning, and may take one part in
//! [`FULL_LOOK_SHARE`] of the time. So with short tables nearly every claim is a full look, and with a million
//! removed entries one in many.
//!
//! A claim examines a limited number of executions. If all of these wait in busy lanes, the next full look
//! continues behind them, until it has come round.

use crate::store::Position;
use std::time::{Duration, Instant};

/// How far before the last taken execution the front lies. Executions become visible in the order of their
/// commits, and statements of intake take less than that.
const MARGIN: Duration = Duration::from_millis(500);

/// Full looks may take one part in so many of the time.
const FULL_LOOK_SHARE: u32 = 20;

/// Where the next claim of a class begins.
#[derive(Debug)]
pub(super) struct Cursor {
    front: Position,
    /// Where the next full look begins: at the beginning, unless executions in busy lanes fill the first part.
    full_from: Position,
    full_at: Instant,
}

/// Where a claim begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) from: Position,
    pub(super) is_full: bool,
}

impl Cursor {
    pub(super) fn new(now: Instant) -> Self {
        Self { front: Position::START, full_from: Position::START, full_at: now }
    }

    /// Where a claim begins that is sent now.
    pub(super) fn look(&self, now: Instant) -> Look {
        let is_full = self.full_at <= now;
        Look { from: if is_full { self.full_from } else { self.front }, is_full }
    }

    /// A claim that began there took so long; `last` is the last execution that it took of this class.
    pub(super) fn record(&mut self, look: Look, last: Option<Position>, took: Duration, now: Instant) {
        if let Some(last) = last {
            self.front = self.front.max(last.minus(MARGIN));
        }
        if look.is_full {
            self.full_at = now + took * FULL_LOOK_SHARE;
        }
    }

    /// A full look took nothing. `next` is the first execution that it did not examine, if there is one.
    pub(super) fn record_examined(&mut self, next: Option<Position>) {
        self.full_from = next.unwrap_or(Position::START);
    }

    /// Whether a full look has not come round yet.
    pub(super) fn is_under_way(&self) -> bool {
        self.full_from != Position::START
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(milliseconds: u64) -> Position {
        Position::START.plus(MARGIN + MS * u32::try_from(milliseconds).unwrap())
    }

    #[test]
    fn full_looks_take_a_twentieth_of_the_time_and_the_others_begin_at_the_front() {
        let mut now = Instant::now();
        let mut cursor = Cursor::new(now);
        let (mut full, mut all) = (Duration::ZERO, Duration::ZERO);
        for round in 0..20_000 {
            let look = cursor.look(now);
            let took = if look.is_full { 30 * MS } else { MS };
            full += if look.is_full { took } else { Duration::ZERO };
            all += took;
            now += took;
            cursor.record(look, Some(at(round)), took, now);
        }
        assert!(full * 19 < all && all < full * 22, "{full:?} of {all:?}");
        assert_eq!(cursor.look(now).from, at(19_999).minus(MARGIN));
    }

    #[test]
    fn the_front_never_moves_back() {
        let now = Instant::now();
        let mut cursor = Cursor::new(now);
        cursor.record(cursor.look(now), Some(at(700)), MS, now);
        let look = cursor.look(now);
        assert!(!look.is_full);
        cursor.record(look, Some(at(30)), MS, now);
        assert_eq!(cursor.look(now).from, look.from);
    }

    #[test]
    fn a_full_look_continues_behind_busy_lanes_until_it_has_come_round() {
        let now = Instant::now();
        let mut cursor = Cursor::new(now);
        assert_eq!(cursor.look(now), Look { from: Position::START, is_full: true });
        cursor.record_examined(Some(at(5)));
        assert!(cursor.is_under_way());
        assert_eq!(cursor.look(now), Look { from: at(5), is_full: true });
        cursor.record_examined(None);
        assert!(!cursor.is_under_way());
        assert_eq!(cursor.look(now), Look { from: Position::START, is_full: true });
    }
}
