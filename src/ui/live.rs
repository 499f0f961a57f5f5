//! `/live`: notifies open pages of changes, so that they reload themselves.
//!
//! One task polls the database once a second, and only while a page is open. A stream sends only
//! "changed"; the server renders the page again. The number of streams is limited. Each ends after a
//! while, and when the service stops. Data that all pages share are read once per change, not per page.

use super::Ui;
use super::error_page::ErrorPage;
use crate::store::{ChangeToken, Reports};
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

/// The largest number of open streams of one process.
const STREAMS_MAX: usize = 64;

/// The interval of polling the database while a page is open.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The duration of a stream. The browser then opens another, whose session is checked again.
const STREAM_DURATION: Duration = Duration::from_mins(10);

/// A change up to this long before a stream was opened may have happened after its page was rendered, so
/// that page is notified.
const PAGE_LOAD_MAX: Duration = Duration::from_secs(15);

/// The interval of keep-alive messages, so that no proxy closes a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The number of changes seen since the start: data read at other counts are out of date.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// All changes.
    pub all: u64,
    /// Changes of the statistics.
    pub numbers: u64,
    /// When the last change was seen.
    seen_at: Option<Instant>,
}

/// Notifies open pages. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Live {
    changes: Arc<watch::Sender<Changes>>,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Live {
    /// Polling starts with [`Live::run`].
    pub fn new(stop: CancellationToken) -> Self {
        let permits = Arc::new(Semaphore::new(STREAMS_MAX));
        Self { changes: Arc::new(watch::Sender::default()), permits, stop }
    }

    /// The changes that were seen so far.
    pub fn changes(&self) -> Changes {
        *self.changes.borrow()
    }

    /// Whether the database is polled: it is while a page is open.
    pub fn is_polling(&self) -> bool {
        self.changes.receiver_count() > 0
    }

    /// Polls the database while a page is open, until the service stops.
    /// `progress` counts the completions of this process; those of others appear with their heartbeats.
    pub async fn run(self, reports: Reports, progress: watch::Receiver<u64>) {
        let polling = async {
            let mut last = (ChangeToken::default(), 0);
            loop {
                tokio::time::sleep(POLL_INTERVAL).await;
                if self.changes.receiver_count() == 0 {
                    continue;
                }
                // Before the token: what is recorded in between is seen twice, and not missed.
                let recorded = *progress.borrow();
                match reports.change_token().await.map(|token| (token, recorded)) {
                    Ok(token) if token != last => {
                        self.changes.send_modify(|changes| {
                            changes.all += 1;
                            changes.seen_at = Some(Instant::now());
                            changes.numbers += u64::from(token.0.numbers != last.0.numbers);
                        });
                        last = token;
                    }
                    Ok(_) => {}
                    Err(error) => debug!(%error, "polling for changes failed"),
                }
            }
        };
        let _stopped = self.stop.run_until_cancelled(polling).await;
    }
}

/// Opens a stream.
pub(super) async fn live(State(ui): State<Ui>) -> Result<Response, ErrorPage> {
    let Live { changes, permits, stop } = ui.live;
    let permit = permits
        .try_acquire_owned()
        .map_err(|_| ErrorPage::busy("Too many pages are open; this one does not update by itself."))?;
    let mut changes = changes.subscribe();
    if changes.borrow().seen_at.is_some_and(|last| last.elapsed() < PAGE_LOAD_MAX) {
        changes.mark_changed();
    }
    let subscriber = Subscriber { changes, until: Instant::now() + STREAM_DURATION, stop, _permit: permit };
    let events = stream::unfold(subscriber, |mut subscriber| async move {
        // Browsers ignore an event without data.
        let word = Event::default().event("changed").data("now");
        subscriber.next().await.then(|| (Ok::<_, Infallible>(word), subscriber))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

struct Subscriber {
    changes: watch::Receiver<Changes>,
    until: Instant,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Subscriber {
    /// Waits for the next change; `false` if the stream must end.
    async fn next(&mut self) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep_until(self.until) => false,
            changed = self.changes.changed() => changed.is_ok(),
        }
    }
}
