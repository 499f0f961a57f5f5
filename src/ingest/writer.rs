//! Group commit: requests that wait at the same time share a transaction.
//!
//! Handlers hand their event over and wait for the verdict. A writer takes whatever has queued up,
//! writes it with one statement, answers everyone and begins again at once: there is no timer, so a
//! lone request waits for nobody. The queue is bounded in rows and in bytes.
//!
//! The statement costs as much as writing several events, so writers do not share few events among
//! themselves: the first takes what there is, and the others help where half a batch waits, or where
//! the first is held up.

use super::room::{Room, Share};
use crate::domain::event::NewEvent;
use crate::domain::execution::NewExecution;
use crate::store::{IncomingEvent, Intake, Notifier, StoreError};
use crate::telemetry::{Metrics, Panicked, Webhook, catch_panic};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

/// How the queue is bounded.
#[derive(Debug, Clone, Copy)]
pub struct WriterSettings {
    /// Writers at work at once, each with its own connection.
    pub writers: usize,
    /// The most events in one transaction.
    pub batch_rows_max: usize,
    /// The most bytes of bodies in one transaction, save for a single event that is larger by itself:
    /// a statement is put together in memory as a whole.
    pub batch_bytes_max: usize,
    /// The most events that wait.
    pub queue_rows_max: usize,
    /// The most bytes that wait or are being written, bodies still being read included.
    pub queue_bytes_max: usize,
    /// How long a transaction may take before its senders are told to come again.
    pub write_timeout: Duration,
}

impl Default for WriterSettings {
    fn default() -> Self {
        Self {
            writers: 2,
            batch_rows_max: 256,
            batch_bytes_max: 4 * 1024 * 1024,
            queue_rows_max: 4096,
            queue_bytes_max: 48 * 1024 * 1024,
            write_timeout: Duration::from_secs(10),
        }
    }
}

impl WriterSettings {
    /// From how many waiting events on another writer helps the first.
    const fn helped_from(&self) -> usize {
        self.batch_rows_max / 2
    }
}

/// How long events wait for the first writer before another one takes them, however few they are.
const HELD_UP_AFTER: Duration = Duration::from_millis(100);

/// What became of an event that is safely stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It was not there before.
    New,
    /// It was stored earlier.
    Duplicate,
}

/// Why an event is not known to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The queue holds as much as it may.
    #[error("the ingest queue is full")]
    Full,
    /// The database is away or too slow.
    #[error("the database is not available")]
    Unavailable,
    /// The database refuses this very event.
    #[error("the database refuses the event")]
    Refused,
}

/// The way to the writers. Cheap to clone; when the last clone is gone the writers end, too.
#[derive(Clone)]
pub struct Writer {
    queue: Queue,
    room: Room,
}

/// Where events wait, as their handlers see it.
#[derive(Clone)]
struct Queue {
    events: mpsc::Sender<Waiting>,
    /// Told when so many wait that another writer should help.
    many: Arc<Notify>,
    helped_from: usize,
}

/// Memory set aside for one event.
pub struct Reservation {
    queue: Queue,
    share: Share,
}

struct Waiting {
    event: NewEvent,
    executions: Vec<NewExecution>,
    verdict: oneshot::Sender<Result<Stored, WriteError>>,
    /// Held until the event is written, so that its bytes stay counted.
    share: Share,
}

impl Writer {
    /// Starts the writers on `tasks`. When `stop` is cancelled they take nothing more on, write what
    /// waits, and end.
    pub fn start(
        intake: &Intake,
        notifier: &Notifier,
        metrics: &Metrics,
        settings: WriterSettings,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (events, waiting) = mpsc::channel(settings.queue_rows_max);
        let queue = Queue { events, many: Arc::default(), helped_from: settings.helped_from() };
        let waiting = Arc::new(Mutex::new(waiting));
        for position in 0..settings.writers {
            let task = Task {
                many: (position > 0).then(|| queue.many.clone()),
                intake: intake.clone(),
                notifier: notifier.clone(),
                metrics: metrics.clone(),
                settings,
                waiting: waiting.clone(),
            };
            tasks.spawn(task.run(stop.clone()));
        }
        Self { queue, room: Room::new(settings.queue_bytes_max) }
    }

    /// Sets memory aside for an event, as yet without a body.
    pub async fn reserve(&self) -> Result<Reservation, WriteError> {
        Ok(Reservation { queue: self.queue.clone(), share: self.room.share().await? })
    }
}

impl Reservation {
    /// Sets memory aside for so much of the body, for which a larger one may have to make room.
    pub async fn cover(&mut self, body_bytes: usize) -> Result<(), WriteError> {
        self.share.cover(body_bytes).await
    }

    /// Resolves when it is to be given up, to make room for a smaller one.
    pub async fn asked(&self) {
        self.share.asked().await;
    }

    /// Says that all of the body is there: from now on it makes room for nobody.
    pub fn complete(&mut self) -> Result<(), WriteError> {
        self.share.complete()
    }

    /// Hands the event to the writers and waits for their verdict.
    ///
    /// The event is written even when the caller stops waiting.
    pub async fn submit(self, event: NewEvent, executions: Vec<NewExecution>) -> Result<Stored, WriteError> {
        let (verdict, answer) = oneshot::channel();
        let waiting = Waiting { event, executions, verdict, share: self.share };
        self.queue.put(waiting)?;
        answer.await.unwrap_or(Err(WriteError::Unavailable))
    }
}

impl Queue {
    fn put(&self, waiting: Waiting) -> Result<(), WriteError> {
        self.events.try_send(waiting).map_err(|error| match error {
            TrySendError::Full(_) => WriteError::Full,
            TrySendError::Closed(_) => WriteError::Unavailable,
        })?;
        if self.events.max_capacity() - self.events.capacity() >= self.helped_from {
            self.many.notify_one();
        }
        Ok(())
    }
}

struct Task {
    /// Tells a writer that is not the first when to help.
    many: Option<Arc<Notify>>,
    intake: Intake,
    notifier: Notifier,
    metrics: Metrics,
    settings: WriterSettings,
    waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>,
}

impl Task {
    async fn run(self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(self.settings.batch_rows_max);
        while self.take(&mut batch, &stop).await > 0 {
            let writing = async { self.write(group(batch.drain(..))).await };
            // Those who wait hear that it is not known to be stored; the writer goes on.
            if catch_panic(&self.metrics, Panicked::Task, writing).await.is_none() {
                error!("a batch of events broke on a fault of ours");
                batch.clear();
            }
        }
    }

    /// Waits for events and takes what has queued up; none is left when it returns 0.
    async fn take(&self, batch: &mut Vec<Waiting>, stop: &CancellationToken) -> usize {
        if let Some(many) = &self.many {
            return tokio::select! {
                taken = self.help(batch, many) => taken,
                // The first writer writes what is left.
                () = stop.cancelled() => 0,
            };
        }
        let mut waiting = self.waiting.lock().await;
        tokio::select! {
            taken = waiting.recv_many(batch, self.settings.batch_rows_max) => return taken,
            () = stop.cancelled() => waiting.close(),
        }
        waiting.recv_many(batch, self.settings.batch_rows_max).await
    }

    /// Takes what has queued up once it is much, or has waited for long.
    async fn help(&self, batch: &mut Vec<Waiting>, many: &Notify) -> usize {
        let mut enough = self.settings.helped_from();
        loop {
            // While the first waits for the next event it keeps this, and there is nothing to help with.
            let mut waiting = self.waiting.lock().await;
            if waiting.len() >= enough.max(1) {
                return waiting.recv_many(batch, self.settings.batch_rows_max).await;
            }
            drop(waiting);
            let was_told = tokio::time::timeout(HELD_UP_AFTER, many.notified()).await.is_ok();
            enough = if was_told { self.settings.helped_from() } else { 1 };
        }
    }

    /// Writes a batch; where the database refuses it, halves it until the culprit stands alone.
    async fn write(&self, batch: Vec<Group>) {
        let mut parts = split(batch, self.settings.batch_bytes_max);
        while let Some(mut part) = parts.pop() {
            match self.insert(&part).await {
                Ok(known) => {
                    self.metrics.batch(part.len());
                    if part.iter().any(|group| !group.executions.is_empty()) {
                        self.notifier.notify();
                    }
                    for group in part {
                        let is_known = !known.is_empty()
                            && known
                                .contains(&(group.event.source.to_string(), group.event.event_id.clone()));
                        group.stored(!is_known, &self.metrics);
                    }
                }
                Err(StoreError::Refused(_)) if part.len() > 1 => {
                    let rest = part.split_off(part.len() / 2);
                    parts.push(rest);
                    parts.push(part);
                }
                Err(StoreError::Refused(error)) => {
                    error!(%error, "the database refuses an event");
                    fail(part, WriteError::Refused);
                }
                Err(error) => {
                    error!(%error, "events could not be stored");
                    fail(part, WriteError::Unavailable);
                }
            }
        }
    }

    /// Writes a part, and tells which of its events were there before. Where the connection breaks, once
    /// more: nothing is written twice by that, and its senders need not come again because a server was
    /// started anew.
    async fn insert(&self, part: &[Group]) -> Result<HashSet<(String, String)>, StoreError> {
        let rows: Vec<_> = part
            .iter()
            .map(|group| IncomingEvent { event: &group.event, executions: &group.executions })
            .collect();
        let writing = async {
            match self.intake.insert_events(&rows).await {
                Err(error) if error.is_broken_connection() => self.intake.insert_events(&rows).await,
                written => written,
            }
        };
        tokio::time::timeout(self.settings.write_timeout, writing).await.unwrap_or(Err(StoreError::TimedOut))
    }
}

/// One event and all who wait for it: copies that arrive at the same time are written once.
struct Group {
    event: NewEvent,
    executions: Vec<NewExecution>,
    verdicts: Vec<oneshot::Sender<Result<Stored, WriteError>>>,
    /// Held until the event is written, so that its bytes stay counted.
    shares: Vec<Share>,
}

impl Group {
    /// Counts and tells everyone: where the event is new, the first to bring it hears so.
    fn stored(self, is_new: bool, metrics: &Metrics) {
        for (position, verdict) in self.verdicts.into_iter().enumerate() {
            let stored = if is_new && position == 0 { Stored::New } else { Stored::Duplicate };
            metrics.webhook(match stored {
                Stored::New => Webhook::New,
                Stored::Duplicate => Webhook::Duplicate,
            });
            // Nobody hears it where the client has gone; the event is stored all the same.
            let _gone = verdict.send(Ok(stored));
        }
    }

    fn failed(self, error: WriteError) {
        for verdict in self.verdicts {
            let _gone = verdict.send(Err(error));
        }
    }
}

fn fail(groups: Vec<Group>, error: WriteError) {
    for group in groups {
        group.failed(error);
    }
}

/// Cuts a batch into parts of so many bytes at most.
fn split(batch: Vec<Group>, bytes_max: usize) -> Vec<Vec<Group>> {
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for group in batch {
        let length = group.event.payload.len();
        if bytes + length > bytes_max && bytes > 0 {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        if let Some(part) = parts.last_mut() {
            part.push(group);
        }
    }
    parts
}

/// Puts copies of one event together, the first body standing for all.
fn group(batch: impl Iterator<Item = Waiting>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<(Arc<str>, String), usize> = HashMap::new();
    for Waiting { event, executions, verdict, share } in batch {
        let place = *places.entry((event.source.clone(), event.event_id.clone())).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => {
                group.verdicts.push(verdict);
                group.shares.push(share);
            }
            None => {
                groups.push(Group { event, executions, verdicts: vec![verdict], shares: vec![share] });
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::EventFacts;

    fn of_bytes(length: usize) -> Group {
        let event = NewEvent {
            source: "stripe".into(),
            event_id: String::new(),
            facts: EventFacts::default(),
            carries_state: true,
            signature: String::new(),
            secret_name: String::new(),
            payload: vec![b' '; length].into(),
        };
        Group { event, executions: Vec::new(), verdicts: Vec::new(), shares: Vec::new() }
    }

    #[test]
    fn a_batch_is_cut_where_it_grows_too_large_and_a_large_event_stands_alone() {
        let sizes = |lengths: &[usize]| -> Vec<usize> {
            let batch = lengths.iter().map(|length| of_bytes(*length)).collect();
            split(batch, 6).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&[3, 3, 3]), [2, 1]);
        assert_eq!(sizes(&[1, 9, 1]), [1, 1, 1]);
        assert_eq!(sizes(&[9, 6]), [1, 1]);
        assert_eq!(sizes(&[0, 0, 6]), [3]);
    }
}
