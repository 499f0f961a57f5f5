//! What a connection is at, since when, and until when it may be: pure, with the time handed in.

use super::Limits;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// What its stream, its requests and its answers note of a connection. They all run in one task, so
/// the lock is never waited for.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<State>);

#[derive(Debug)]
struct State {
    at: At,
    since: Instant,
    /// Since when the client takes less than is written, and how much it has taken meanwhile.
    behind: Option<(Instant, usize)>,
    /// A request was answered before all of it was read.
    has_unread: bool,
}

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between two requests.
    Idle,
    /// The first head is waited for.
    New,
    /// A head has begun.
    Head,
    /// A request is being answered.
    Request,
    /// The last answer is written; what the client still sends is thrown away.
    LastWords,
}

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The client had no request.
    Idle,
    /// The head of a request did not come to its end.
    Head,
    /// The client did not take what was written.
    Reader,
    /// The client went on sending.
    LastWords,
}

impl Overdue {
    /// The word for it where connections are counted.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Head => "head_too_slow",
            Self::Reader => "reader_too_slow",
            Self::LastWords => "sent_on",
        }
    }
}

impl Pulse {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(State { at: At::New, since: now, behind: None, has_unread: false }))
    }

    /// Bytes have come.
    pub(super) fn read(&self, now: Instant) {
        let mut state = self.state();
        match state.at {
            At::Idle => state.is_at(At::Head, now),
            // Its time has begun already.
            At::New => state.at = At::Head,
            At::Head | At::Request | At::LastWords => {}
        }
    }

    /// The head of a request is there.
    pub(super) fn asked(&self, now: Instant) {
        self.state().is_at(At::Request, now);
    }

    /// A request was let go of in the middle of its body.
    pub(super) fn left_unread(&self) {
        self.state().has_unread = true;
    }

    /// An answer was given, or its client is gone.
    pub(super) fn answered(&self, now: Instant) {
        let mut state = self.state();
        if state.at == At::Request {
            state.is_at(At::Idle, now);
        }
    }

    /// So many bytes were taken, of all that were to be written.
    pub(super) fn written(&self, now: Instant, bytes: usize, piece_bytes: usize) {
        let mut state = self.state();
        if let Some((since, taken)) = &mut state.behind {
            *taken += bytes;
            if *taken >= piece_bytes {
                (*since, *taken) = (now, 0);
            }
        }
    }

    /// The client takes nothing just now.
    pub(super) fn is_behind(&self, now: Instant) {
        self.state().behind.get_or_insert((now, 0));
    }

    /// All that was written has been taken.
    pub(super) fn is_level(&self) {
        self.state().behind = None;
    }

    /// Nothing more will be answered. Says whether the client may still be sending.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let mut state = self.state();
        match state.at {
            At::LastWords => true,
            At::Head => {
                state.is_at(At::LastWords, now);
                true
            }
            At::New | At::Idle | At::Request if state.has_unread => {
                state.is_at(At::LastWords, now);
                true
            }
            At::New | At::Idle | At::Request => false,
        }
    }

    /// When the patience is over, and with what.
    pub(super) fn due(&self, limits: &Limits, is_crowded: bool) -> Option<(Instant, Overdue)> {
        let state = self.state();
        let of = |usual, when_crowded| if is_crowded { when_crowded } else { usual };
        let by_what_it_is_at = match state.at {
            At::Idle => {
                Some((state.since + of(limits.idle_max, limits.idle_max_when_crowded), Overdue::Idle))
            }
            At::New | At::Head => {
                Some((state.since + of(limits.head_within, limits.head_within_when_crowded), Overdue::Head))
            }
            At::LastWords => Some((state.since + limits.last_words_within, Overdue::LastWords)),
            At::Request => None,
        };
        let by_reading = state.behind.map(|(since, _)| {
            (since + of(limits.piece_within, limits.piece_within_when_crowded), Overdue::Reader)
        });
        by_what_it_is_at.into_iter().chain(by_reading).min_by_key(|(at, _)| *at)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_at(&mut self, at: At, now: Instant) {
        self.at = at;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A connection and the time that has passed since it was made.
    struct Case {
        pulse: Pulse,
        now: Instant,
        limits: Limits,
    }

    impl Case {
        fn new() -> Self {
            let now = Instant::now();
            Self { pulse: Pulse::new(now), now, limits: Limits::default() }
        }

        fn passes(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        /// The seconds that are left, and for what.
        fn due(&self, is_crowded: bool) -> Option<(u64, Overdue)> {
            let due = self.pulse.due(&self.limits, is_crowded);
            due.map(|(at, why)| ((at - self.now).as_secs(), why))
        }
    }

    #[test]
    fn a_head_has_ten_seconds_however_it_trickles_in() {
        let mut case = Case::new();
        assert_eq!(case.due(false), Some((10, Overdue::Head)));
        case.passes(4);
        case.pulse.read(case.now);
        assert_eq!(case.due(false), Some((6, Overdue::Head)));
        case.pulse.asked(case.now);
        assert_eq!(case.due(false), None, "a request has the time of its handler");
        case.pulse.answered(case.now);
        assert_eq!(case.due(false), Some((75, Overdue::Idle)));
        case.passes(70);
        case.pulse.read(case.now);
        assert_eq!(case.due(false), Some((10, Overdue::Head)));
        case.passes(1);
        case.pulse.read(case.now);
        assert_eq!(case.due(false), Some((9, Overdue::Head)));
    }

    #[test]
    fn when_it_is_crowded_patience_is_short_and_requests_are_left_alone() {
        let case = Case::new();
        assert_eq!(case.due(true), Some((2, Overdue::Head)));
        case.pulse.asked(case.now);
        assert_eq!(case.due(true), None);
        case.pulse.answered(case.now);
        assert_eq!(case.due(true), Some((1, Overdue::Idle)));
    }

    #[test]
    fn a_reader_must_take_a_piece_in_its_time_or_all_there_is() {
        let mut case = Case::new();
        let piece = case.limits.piece_bytes;
        case.pulse.asked(case.now);
        case.pulse.written(case.now, piece, piece);
        assert_eq!(case.due(false), None, "it took all that was written");
        case.pulse.is_behind(case.now);
        case.passes(15);
        case.pulse.written(case.now, piece - 1, piece);
        case.pulse.is_behind(case.now);
        assert_eq!(case.due(false), Some((5, Overdue::Reader)));
        case.pulse.written(case.now, 1, piece);
        assert_eq!(case.due(false), Some((20, Overdue::Reader)));
        assert_eq!(case.due(true), Some((5, Overdue::Reader)));
        case.pulse.is_level();
        assert_eq!(case.due(false), None);
    }

    #[test]
    fn only_a_client_that_may_still_be_sending_is_listened_to_at_the_end() {
        let case = Case::new();
        assert!(!case.pulse.is_over(case.now), "it said nothing");
        case.pulse.read(case.now);
        case.pulse.asked(case.now);
        case.pulse.answered(case.now);
        assert!(!case.pulse.is_over(case.now));
        case.pulse.left_unread();
        assert!(case.pulse.is_over(case.now));
        assert_eq!(case.due(false), Some((1, Overdue::LastWords)));
        let refused = Case::new();
        refused.pulse.read(refused.now);
        assert!(refused.pulse.is_over(refused.now), "its head was refused");
    }
}
