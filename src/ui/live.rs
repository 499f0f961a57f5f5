//! `/live`: tells open pages that something has changed, so that they load themselves anew.
//!
//! One task looks at the database once a second, and only while a page is open. A stream says
//! nothing but "changed": what it is stands in the page, which the server renders. There is room
//! for so many streams; each ends by itself after a while, and when the service stops. What pages
//! have in common is read once for each change, not once for each page.

use super::Ui;
use super::refusal::Refusal;
use crate::store::{ChangeToken, Store};
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// How many streams one process keeps open.
const STREAMS_MAX: usize = 64;

/// How often the database is looked at while a page is open.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a stream lasts. The browser opens another, whose session is looked at again.
const STREAM_LENGTH: Duration = Duration::from_mins(10);

/// What changed so long before a stream was opened may have changed after its page was rendered, so
/// that page is told of it.
const PAGE_LOAD_MAX: Duration = Duration::from_secs(15);

/// How often a quiet stream says that it is there, so that nothing between takes it for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How many changes were seen since the start: whatever was read at other counts is out of date.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Of anything.
    pub all: u64,
    /// Of the statistics.
    pub numbers: u64,
    /// When the last one was seen.
    seen_at: Option<Instant>,
}

/// What open pages hear from. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Live {
    changes: Arc<watch::Sender<Changes>>,
    room: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Live {
    /// Nothing is looked at until [`Live::run`] runs.
    pub fn new(stop: CancellationToken) -> Self {
        let room = Arc::new(Semaphore::new(STREAMS_MAX));
        Self { changes: Arc::new(watch::Sender::default()), room, stop }
    }

    /// The changes that were seen so far.
    pub fn changes(&self) -> Changes {
        *self.changes.borrow()
    }

    /// Whether changes are looked for: they are while a page is open.
    pub fn is_looking(&self) -> bool {
        self.changes.receiver_count() > 0
    }

    /// Looks at the database while somebody listens, until told to stop.
    pub async fn run(self, store: Store) {
        let looking = async {
            let mut last = ChangeToken::default();
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                if self.changes.receiver_count() == 0 {
                    continue;
                }
                match store.reports.change_token().await {
                    Ok(token) if token != last => {
                        self.changes.send_modify(|changes| {
                            changes.all += 1;
                            changes.seen_at = Some(Instant::now());
                            changes.numbers += u64::from(token.numbers != last.numbers);
                        });
                        last = token;
                    }
                    Ok(_) => {}
                    Err(error) => debug!(%error, "open pages are not told of changes"),
                }
            }
        };
        let _stopped = self.stop.run_until_cancelled(looking).await;
    }
}

/// Opens a stream.
pub(super) async fn live(State(ui): State<Ui>) -> Result<Response, Refusal> {
    let Live { changes, room, stop } = ui.live;
    let permit = room
        .try_acquire_owned()
        .map_err(|_| Refusal::busy("Too many pages are open; this one does not update by itself."))?;
    let mut changes = changes.subscribe();
    if changes.borrow().seen_at.is_some_and(|last| last.elapsed() < PAGE_LOAD_MAX) {
        changes.mark_changed();
    }
    let listener = Listener { changes, until: Instant::now() + STREAM_LENGTH, stop, _permit: permit };
    let events = stream::unfold(listener, |mut listener| async move {
        // Browsers say nothing of an event without data.
        let word = Event::default().event("changed").data("now");
        listener.next().await.then(|| (Ok::<_, Infallible>(word), listener))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

struct Listener {
    changes: watch::Receiver<Changes>,
    until: Instant,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    /// Waits for the next change; `false` when the stream is to end.
    async fn next(&mut self) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep_until(self.until) => false,
            changed = self.changes.changed() => changed.is_ok(),
        }
    }
}
