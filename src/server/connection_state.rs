//! The state of a connection and its deadline. Pure: the caller passes the time.

use super::Limits;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// The state that a connection's stream, requests and responses update. They run in one task, so the
/// lock is never contended.
#[derive(Debug)]
pub(super) struct ConnectionState(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    phase: Phase,
    since: Instant,
    /// Since when the client reads more slowly than the server writes, and how much it has read since.
    write_blocked: Option<(Instant, usize)>,
    /// The memory of the response that is being sent.
    response: Option<OwnedSemaphorePermit>,
    /// The memory of responses that are complete, but that the client has not accepted.
    unflushed: Vec<OwnedSemaphorePermit>,
}

/// The phase of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between two requests.
    Idle,
    /// Reading a request head. A new connection starts here.
    Head,
    /// Processing a request.
    Request,
    /// The last response is written; what the client still sends is discarded.
    Lingering,
}

/// Why the server closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timeout {
    /// The client sent no request.
    Idle,
    /// The head of a request was not complete in time.
    Head,
    /// The client did not read the response fast enough.
    Reader,
    /// The client did not close its side.
    Lingering,
}

impl Timeout {
    /// The label in the metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Head => "head_too_slow",
            Self::Reader => "reader_too_slow",
            Self::Lingering => "not_closed",
        }
    }
}

impl ConnectionState {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Inner {
            phase: Phase::Head,
            since: now,
            write_blocked: None,
            response: None,
            unflushed: Vec::new(),
        }))
    }

    /// Bytes were received.
    pub(super) fn bytes_read(&self, now: Instant) {
        let mut state = self.inner();
        if state.phase == Phase::Idle {
            state.enter(Phase::Head, now);
        }
    }

    /// The head of a request is complete.
    pub(super) fn request_started(&self, now: Instant) {
        self.inner().enter(Phase::Request, now);
    }

    /// A response is about to be sent. Its memory is freed when the client has accepted all of it.
    pub(super) fn response_started(&self, memory: Option<OwnedSemaphorePermit>) {
        self.inner().response = memory;
    }

    /// A response is complete, or its client has disconnected. Its last bytes may still wait to be written.
    pub(super) fn response_finished(&self, now: Instant) {
        let mut state = self.inner();
        let memory = state.response.take();
        state.unflushed.extend(memory);
        if state.phase == Phase::Request {
            state.enter(Phase::Idle, now);
        }
    }

    /// The client accepted this many bytes. Every `progress_bytes` restart its timeout.
    pub(super) fn bytes_written(&self, now: Instant, bytes: usize, progress_bytes: usize) {
        let mut state = self.inner();
        if let Some((since, accepted)) = &mut state.write_blocked {
            *accepted += bytes;
            if *accepted >= progress_bytes {
                (*since, *accepted) = (now, 0);
            }
        }
    }

    /// The client accepts no bytes at the moment.
    pub(super) fn write_blocked(&self, now: Instant) {
        self.inner().write_blocked.get_or_insert((now, 0));
    }

    /// The client accepted everything that was written.
    pub(super) fn write_flushed(&self) {
        let mut state = self.inner();
        state.write_blocked = None;
        state.unflushed.clear();
    }

    /// The server writes nothing more.
    pub(super) fn shutdown_started(&self, now: Instant) {
        let mut state = self.inner();
        if state.phase != Phase::Lingering {
            state.enter(Phase::Lingering, now);
        }
    }

    /// The connection's deadline, and the timeout that it belongs to. Slow readers have less time if the memory
    /// of responses is scarce.
    pub(super) fn deadline(
        &self,
        limits: &Limits,
        is_under_pressure: bool,
        is_memory_scarce: bool,
    ) -> Option<(Instant, Timeout)> {
        let state = self.inner();
        let choose = |usual, under_pressure| if is_under_pressure { under_pressure } else { usual };
        let by_phase = match state.phase {
            Phase::Idle => Some((
                state.since + choose(limits.idle_timeout, limits.idle_timeout_under_pressure),
                Timeout::Idle,
            )),
            Phase::Head => Some((
                state.since + choose(limits.head_timeout, limits.head_timeout_under_pressure),
                Timeout::Head,
            )),
            Phase::Lingering => Some((state.since + limits.linger_timeout, Timeout::Lingering)),
            Phase::Request => None,
        };
        let of_reader = if is_under_pressure || is_memory_scarce {
            limits.read_timeout_under_pressure
        } else {
            limits.read_timeout
        };
        let by_reader = state.write_blocked.map(|(since, _)| (since + of_reader, Timeout::Reader));
        by_phase.into_iter().chain(by_reader).min_by_key(|(at, _)| *at)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A connection and the present time.
    struct Case {
        connection: ConnectionState,
        now: Instant,
        limits: Limits,
    }

    impl Case {
        fn new() -> Self {
            let now = Instant::now();
            Self { connection: ConnectionState::new(now), now, limits: Limits::default() }
        }

        fn passes(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        /// The remaining seconds, and the timeout.
        fn deadline(&self, is_under_pressure: bool) -> Option<(u64, Timeout)> {
            let deadline = self.connection.deadline(&self.limits, is_under_pressure, false);
            deadline.map(|(at, why)| ((at - self.now).as_secs(), why))
        }
    }

    #[test]
    fn a_slow_head_has_ten_seconds_in_all() {
        let mut case = Case::new();
        assert_eq!(case.deadline(false), Some((10, Timeout::Head)));
        case.passes(4);
        case.connection.bytes_read(case.now);
        assert_eq!(case.deadline(false), Some((6, Timeout::Head)));
        case.connection.request_started(case.now);
        assert_eq!(case.deadline(false), None, "a request has the timeout of its handler");
        case.connection.response_finished(case.now);
        assert_eq!(case.deadline(false), Some((75, Timeout::Idle)));
        case.passes(70);
        case.connection.bytes_read(case.now);
        assert_eq!(case.deadline(false), Some((10, Timeout::Head)));
        case.passes(1);
        case.connection.bytes_read(case.now);
        assert_eq!(case.deadline(false), Some((9, Timeout::Head)));
    }

    #[test]
    fn pressure_shortens_timeouts_but_spares_requests() {
        let case = Case::new();
        assert_eq!(case.deadline(true), Some((2, Timeout::Head)));
        case.connection.request_started(case.now);
        assert_eq!(case.deadline(true), None);
        case.connection.response_finished(case.now);
        assert_eq!(case.deadline(true), Some((1, Timeout::Idle)));
    }

    #[test]
    fn a_slow_reader_must_make_progress_or_finish_in_time() {
        let mut case = Case::new();
        let piece = case.limits.read_progress_bytes;
        case.connection.request_started(case.now);
        case.connection.bytes_written(case.now, piece, piece);
        assert_eq!(case.deadline(false), None, "it accepted all that was written");
        case.connection.write_blocked(case.now);
        case.passes(15);
        case.connection.bytes_written(case.now, piece - 1, piece);
        case.connection.write_blocked(case.now);
        assert_eq!(case.deadline(false), Some((5, Timeout::Reader)));
        case.connection.bytes_written(case.now, 1, piece);
        assert_eq!(case.deadline(false), Some((20, Timeout::Reader)));
        assert_eq!(case.deadline(true), Some((5, Timeout::Reader)));
        case.connection.write_flushed();
        assert_eq!(case.deadline(false), None);
    }

    #[test]
    fn a_client_has_one_second_to_close_its_side() {
        let mut case = Case::new();
        case.connection.shutdown_started(case.now);
        assert_eq!(case.deadline(false), Some((1, Timeout::Lingering)));
        case.passes(1);
        case.connection.bytes_read(case.now);
        case.connection.shutdown_started(case.now);
        assert_eq!(case.deadline(false), Some((0, Timeout::Lingering)));
    }
}
