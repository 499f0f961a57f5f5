//! `/live`: notifies open pages of changes, so that they reload themselves.
//!
//! One task polls the database once a second, and only while a page is open. A stream sends only
//! "changed"; the server renders the page again. It sends so also if nothing has changed for a while, because
//! an assessment depends on the time: a worker that was killed changes nothing. If the database does not
//! answer, it sends "unreachable", and the page says that it shows an older state.
//!
//! The number of streams is limited, in all, for each session and for each key, so that one visitor cannot take all. A page of
//! another origin cannot open one. Each ends after a while, and when the service stops. Data that all pages share
//! are read once per change, not per page.

use super::Ui;
use super::auth::Visitor;
use super::error_page::ErrorPage;
use crate::auth::{self, ClientAddress, Page};
use crate::store::{ChangeToken, Reports, StoreError};
use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// The largest number of open streams of one process.
const STREAMS_MAX: usize = 64;

/// The largest number of one session. A browser opens six connections to one host at most.
const STREAMS_OF_SESSION_MAX: usize = 8;

/// The largest number of all sessions of one key, which can log in as often as it wants.
const STREAMS_OF_HOLDER_MAX: usize = 32;

/// The largest number of one address, if no session is required. Behind a proxy all users have its address.
const STREAMS_OF_ADDRESS_MAX: usize = 32;

/// The interval of polling the database while a page is open.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long the database may take to answer. With the interval and a second question, an open page learns
/// within 5 s that it does not.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_500);

/// The interval of repeating "unreachable": a reload that was under way may have ended after the last one.
const REPEAT_AFTER: Duration = Duration::from_secs(3);

/// The longest time between two notifications: what was true may be so no longer, although nothing changed.
const REASSESS_EVERY: Duration = Duration::from_secs(15);

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
    /// Whether the database did not answer the last poll.
    is_unreachable: bool,
}

/// Notifies open pages. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Live {
    changes: Arc<watch::Sender<Changes>>,
    permits: Arc<Semaphore>,
    /// How many streams each of their owners has.
    owners: Arc<Mutex<HashMap<Owner, usize>>>,
    stop: CancellationToken,
}

/// Whose stream it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Owner {
    Session(String),
    /// The holder of the key of all their sessions.
    Holder(String),
    /// None if the request came over no connection.
    Address(Option<ClientAddress>),
}

impl Owner {
    const fn streams_max(&self) -> usize {
        match self {
            Self::Session(_) => STREAMS_OF_SESSION_MAX,
            Self::Holder(_) => STREAMS_OF_HOLDER_MAX,
            Self::Address(_) => STREAMS_OF_ADDRESS_MAX,
        }
    }
}

/// The right to one stream; dropping it gives it back.
#[derive(Debug)]
struct StreamPermit {
    of: Vec<Owner>,
    owners: Arc<Mutex<HashMap<Owner, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        for owner in &self.of {
            if let Some(count) = owners.get_mut(owner) {
                *count -= 1;
                if *count == 0 {
                    owners.remove(owner);
                }
            }
        }
    }
}

impl Live {
    /// Polling starts with [`Live::run`].
    pub fn new(stop: CancellationToken) -> Self {
        let permits = Arc::new(Semaphore::new(STREAMS_MAX));
        Self { changes: Arc::new(watch::Sender::default()), permits, owners: Arc::default(), stop }
    }

    /// The right to a stream of these owners; `None` if one of them or all together have too many.
    fn permit(&self, of: Vec<Owner>) -> Option<StreamPermit> {
        let permit = self.permits.clone().try_acquire_owned().ok()?;
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let has_too_many =
            |owner: &Owner| owners.get(owner).is_some_and(|count| *count >= owner.streams_max());
        if of.iter().any(has_too_many) {
            return None;
        }
        for owner in &of {
            *owners.entry(owner.clone()).or_default() += 1;
        }
        drop(owners);
        Some(StreamPermit { of, owners: self.owners.clone(), _permit: permit })
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
            let mut notified_at = Instant::now();
            let mut unreachable_at = Instant::now();
            loop {
                tokio::time::sleep(POLL_INTERVAL).await;
                if self.changes.receiver_count() == 0 {
                    continue;
                }
                // Before the token: what is recorded in between is seen twice, and not missed.
                let recorded = *progress.borrow();
                match answer_in_time(reports.change_token()).await.map(|token| (token, recorded)) {
                    Ok(token) if token != last => {
                        self.changes.send_modify(|changes| {
                            changes.all += 1;
                            changes.seen_at = Some(Instant::now());
                            changes.numbers += u64::from(token.0.numbers != last.0.numbers);
                            changes.is_unreachable = false;
                        });
                        (last, notified_at) = (token, Instant::now());
                    }
                    Ok(_) => {
                        let is_due = notified_at.elapsed() >= REASSESS_EVERY;
                        let is_notified = self.changes.send_if_modified(|changes| {
                            let is_over = std::mem::take(&mut changes.is_unreachable);
                            changes.all += u64::from(is_over || is_due);
                            is_over || is_due
                        });
                        if is_notified {
                            notified_at = Instant::now();
                        }
                    }
                    Err(error) => {
                        debug!(%error, "polling for changes failed");
                        // Slow filters may use all connections for reading: only the others show it.
                        let is_unreachable = answer_in_time(reports.reach()).await.is_err();
                        self.changes.send_if_modified(|changes| {
                            let is_new = is_unreachable && !changes.is_unreachable;
                            changes.is_unreachable |= is_unreachable;
                            let is_sent =
                                is_new || is_unreachable && unreachable_at.elapsed() >= REPEAT_AFTER;
                            if is_sent {
                                unreachable_at = Instant::now();
                            }
                            is_sent
                        });
                    }
                }
            }
        };
        let _stopped = self.stop.run_until_cancelled(polling).await;
    }
}

async fn answer_in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or(Err(StoreError::TimedOut))
}

/// Opens a stream.
pub(super) async fn live(
    State(ui): State<Ui>,
    visitor: Visitor,
    client: Option<Extension<ClientAddress>>,
    headers: HeaderMap,
) -> Result<Response, ErrorPage> {
    if auth::page(&headers) == Page::CrossOrigin {
        return Err(ErrorPage::foreign());
    }
    let owners = match visitor.session {
        Some(session) => {
            vec![Owner::Session(session.id().to_owned()), Owner::Holder(session.holder.as_str().to_owned())]
        }
        None => vec![Owner::Address(client.map(|Extension(client)| client))],
    };
    let permit = ui
        .live
        .permit(owners)
        .ok_or_else(|| ErrorPage::busy("Too many pages are open; this one does not update by itself."))?;
    let Live { changes, stop, .. } = ui.live;
    let mut changes = changes.subscribe();
    let seen = *changes.borrow();
    if seen.is_unreachable || seen.seen_at.is_some_and(|last| last.elapsed() < PAGE_LOAD_MAX) {
        changes.mark_changed();
    }
    let subscriber = Subscriber { changes, until: Instant::now() + STREAM_DURATION, stop, _permit: permit };
    let events = stream::unfold(subscriber, |mut subscriber| async move {
        let Changes { is_unreachable, .. } = subscriber.next().await?;
        let word = if is_unreachable { "unreachable" } else { "changed" };
        // Browsers ignore an event without data.
        Some((Ok::<_, Infallible>(Event::default().event(word).data("now")), subscriber))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

struct Subscriber {
    changes: watch::Receiver<Changes>,
    until: Instant,
    stop: CancellationToken,
    _permit: StreamPermit,
}

impl Subscriber {
    /// Waits for the next change; `None` if the stream must end.
    async fn next(&mut self) -> Option<Changes> {
        tokio::select! {
            () = self.stop.cancelled() => None,
            () = tokio::time::sleep_until(self.until) => None,
            changed = self.changes.changed() => changed.ok().map(|()| *self.changes.borrow_and_update()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_session_cannot_take_the_streams_of_others() {
        let live = Live::new(CancellationToken::new());
        let session = |name: &str| vec![Owner::Session(name.to_owned())];
        let mut greedy: Vec<_> = (0..STREAMS_OF_SESSION_MAX).map(|_| live.permit(session("a"))).collect();
        assert!(greedy.iter().all(Option::is_some) && live.permit(session("a")).is_none());
        assert!(live.permit(session("b")).is_some());
        let of_address: Vec<_> =
            (0..STREAMS_MAX).map_while(|_| live.permit(vec![Owner::Address(None)])).collect();
        assert_eq!(of_address.len(), STREAMS_OF_ADDRESS_MAX);
        greedy.pop();
        assert!(live.permit(session("a")).is_some(), "a closed stream is given back");
        drop((greedy, of_address));
        let session = |number: usize| {
            live.permit(vec![Owner::Session(number.to_string()), Owner::Holder("ann".to_owned())])
        };
        let of_holder: Vec<_> = (0..STREAMS_MAX).map_while(session).collect();
        assert_eq!(of_holder.len(), STREAMS_OF_HOLDER_MAX);
        drop(of_holder);
        assert!(live.owners.lock().expect("not poisoned").is_empty());
    }
}
