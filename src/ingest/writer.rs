//! Group commit: concurrent requests share a transaction.
//!
//! A handler submits its event and waits for the reply. A writer takes all queued events, writes them with
//! one statement, replies to all handlers and starts again at once. There is no timer, so a single request
//! waits for no other. The queue is limited in rows and in bytes.
//!
//! The statement itself costs as much as writing several events. So the first writer takes what there is,
//! and the others help only if half a batch is waiting or the first one is blocked.

use super::body_budget::{BodyBudget, BodyReservation};
use super::reply::{Stored, WriteError};
use crate::domain::event::{EventOrigin, NewEvent};
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

/// The limits of the queue.
#[derive(Debug, Clone, Copy)]
pub struct WriterSettings {
    /// Concurrent writers, each with its own connection.
    pub writers: usize,
    /// The largest number of events in one transaction.
    pub batch_rows_max: usize,
    /// The largest size of all bodies in one transaction, in bytes, since a statement is built in memory. A
    /// single larger event gets a transaction of its own.
    pub batch_bytes_max: usize,
    /// The largest number of queued events.
    pub queue_rows_max: usize,
    /// The largest size of all bodies that are being read, queued or written, in bytes.
    pub queue_bytes_max: usize,
    /// The timeout of a transaction; then its senders get 503.
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
    /// The number of queued events from which another writer helps the first.
    const fn help_threshold(&self) -> usize {
        self.batch_rows_max / 2
    }
}

/// How long events wait for the first writer before another one takes them, even if they are few.
const BLOCKED_AFTER: Duration = Duration::from_millis(100);

/// Submits events to the writers. Cheap to clone; the writers end when the last clone is dropped.
#[derive(Clone)]
pub struct Writer {
    queue: Queue,
    budget: BodyBudget,
}

/// The queue of events, for their handlers.
#[derive(Clone)]
struct Queue {
    events: mpsc::Sender<Queued>,
    /// Notified when so many events are queued that another writer should help.
    help_wanted: Arc<Notify>,
    help_threshold: usize,
}

/// The memory reservation for one event.
pub struct Reservation {
    queue: Queue,
    body: BodyReservation,
}

struct Queued {
    event: NewEvent,
    executions: Vec<NewExecution>,
    reply: oneshot::Sender<Result<Stored, WriteError>>,
    /// Held until the event is written, so that its bytes stay reserved.
    body: BodyReservation,
}

impl Writer {
    /// Starts the writers on `tasks`. When `stop` is cancelled, they accept no more events, write the queued
    /// ones, and end.
    pub fn start(
        intake: &Intake,
        notifier: &Notifier,
        metrics: &Metrics,
        settings: WriterSettings,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (events, queued) = mpsc::channel(settings.queue_rows_max);
        let queue = Queue { events, help_wanted: Arc::default(), help_threshold: settings.help_threshold() };
        let queued = Arc::new(Mutex::new(queued));
        for position in 0..settings.writers {
            let task = Task {
                help_wanted: (position > 0).then(|| queue.help_wanted.clone()),
                intake: intake.clone(),
                notifier: notifier.clone(),
                metrics: metrics.clone(),
                settings,
                queued: queued.clone(),
            };
            tasks.spawn(task.run(stop.clone()));
        }
        Self { queue, budget: BodyBudget::new(settings.queue_bytes_max) }
    }

    /// Reserves memory for an event without a body.
    pub async fn reserve(&self) -> Result<Reservation, WriteError> {
        Ok(Reservation { queue: self.queue.clone(), body: self.budget.reserve().await? })
    }
}

impl Reservation {
    /// Extends the reservation to this many bytes of the body. A larger body may be shed for it.
    pub async fn extend_to(&mut self, body_bytes: usize) -> Result<(), WriteError> {
        self.body.extend_to(body_bytes).await
    }

    /// Resolves when the body is shed in favour of a smaller one.
    pub async fn shed(&self) {
        self.body.shed().await;
    }

    /// Marks the body as complete: it will not be shed.
    pub fn complete(&mut self) -> Result<(), WriteError> {
        self.body.complete()
    }

    /// Submits the event to the writers and waits for the reply.
    ///
    /// The event is written even if the caller stops waiting.
    pub async fn submit(self, event: NewEvent, executions: Vec<NewExecution>) -> Result<Stored, WriteError> {
        let (reply, replied) = oneshot::channel();
        self.queue.put(Queued { event, executions, reply, body: self.body })?;
        replied.await.unwrap_or(Err(WriteError::Unavailable))
    }
}

impl Queue {
    fn put(&self, queued: Queued) -> Result<(), WriteError> {
        self.events.try_send(queued).map_err(|error| match error {
            TrySendError::Full(_) => WriteError::Full,
            TrySendError::Closed(_) => WriteError::Unavailable,
        })?;
        if self.events.max_capacity() - self.events.capacity() >= self.help_threshold {
            self.help_wanted.notify_one();
        }
        Ok(())
    }
}

struct Task {
    /// Notifies a writer that is not the first when to help.
    help_wanted: Option<Arc<Notify>>,
    intake: Intake,
    notifier: Notifier,
    metrics: Metrics,
    settings: WriterSettings,
    queued: Arc<Mutex<mpsc::Receiver<Queued>>>,
}

impl Task {
    async fn run(self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(self.settings.batch_rows_max);
        while self.take(&mut batch, &stop).await > 0 {
            let writing = async { self.write(group(batch.drain(..))).await };
            // The handlers reply that the event may not be stored; the writer continues.
            if catch_panic(&self.metrics, Panicked::Task, writing).await.is_none() {
                error!("group commit panicked; its senders will retry");
                batch.clear();
            }
        }
    }

    /// Waits for events and takes the queued ones. Returns 0 if the queue is closed and empty.
    async fn take(&self, batch: &mut Vec<Queued>, stop: &CancellationToken) -> usize {
        if let Some(help_wanted) = &self.help_wanted {
            return tokio::select! {
                taken = self.help(batch, help_wanted) => taken,
                // The first writer writes the rest.
                () = stop.cancelled() => 0,
            };
        }
        let mut queued = self.queued.lock().await;
        tokio::select! {
            taken = queued.recv_many(batch, self.settings.batch_rows_max) => return taken,
            () = stop.cancelled() => queued.close(),
        }
        queued.recv_many(batch, self.settings.batch_rows_max).await
    }

    /// Takes the queued events when they are many or have waited long.
    async fn help(&self, batch: &mut Vec<Queued>, help_wanted: &Notify) -> usize {
        let mut enough = self.settings.help_threshold();
        loop {
            // The first writer holds this lock while it waits for the next event: then the queue is empty.
            let mut queued = self.queued.lock().await;
            if queued.len() >= enough.max(1) {
                return queued.recv_many(batch, self.settings.batch_rows_max).await;
            }
            drop(queued);
            let was_notified = tokio::time::timeout(BLOCKED_AFTER, help_wanted.notified()).await.is_ok();
            enough = if was_notified { self.settings.help_threshold() } else { 1 };
        }
    }

    /// Writes a batch. If the database rejects it, halves it until the invalid event is alone.
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
                    error!(%error, "event rejected by the database");
                    fail(part, WriteError::Refused);
                }
                Err(error) => {
                    error!(%error, "events not stored");
                    fail(part, WriteError::Unavailable);
                }
            }
        }
    }

    /// Writes a part and returns which of its events were stored before. If the connection breaks, it tries
    /// once more: that writes nothing twice, and a restart of the server causes no retries of senders.
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

/// One event and the handlers that wait for it: copies that arrive at the same time are written once.
struct Group {
    event: NewEvent,
    executions: Vec<NewExecution>,
    replies: Vec<oneshot::Sender<Result<Stored, WriteError>>>,
    /// Held until the event is written, so that their bytes stay reserved.
    bodies: Vec<BodyReservation>,
}

impl Group {
    /// Counts the event and replies to all handlers. If the event is new, the first gets [`Stored::New`].
    fn stored(self, is_new: bool, metrics: &Metrics) {
        for (position, reply) in self.replies.into_iter().enumerate() {
            let stored = if is_new && position == 0 { Stored::New } else { Stored::Duplicate };
            match (self.event.origin, stored) {
                (EventOrigin::Webhook, Stored::New) => metrics.webhook(Webhook::New),
                (EventOrigin::Webhook, Stored::Duplicate) => metrics.webhook(Webhook::Duplicate),
                (EventOrigin::Api, Stored::New) => metrics.fetched(),
                // A webhook brought it at the same time, and is counted.
                (EventOrigin::Api, Stored::Duplicate) => {}
            }
            // If the client has disconnected, there is no receiver; the event is stored anyway.
            let _disconnected = reply.send(Ok(stored));
        }
    }

    fn failed(self, error: WriteError) {
        for reply in self.replies {
            let _disconnected = reply.send(Err(error));
        }
    }
}

fn fail(groups: Vec<Group>, error: WriteError) {
    for group in groups {
        group.failed(error);
    }
}

/// Splits a batch into parts of at most this many bytes.
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

/// Groups copies of the same event; the first body is written.
fn group(batch: impl Iterator<Item = Queued>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<(Arc<str>, String), usize> = HashMap::new();
    for Queued { event, executions, reply, body } in batch {
        let place = *places.entry((event.source.clone(), event.event_id.clone())).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => {
                // What is signed can be verified again.
                if group.event.origin == EventOrigin::Api && event.origin == EventOrigin::Webhook {
                    (group.event, group.executions) = (event, executions);
                }
                group.replies.push(reply);
                group.bodies.push(body);
            }
            None => {
                groups.push(Group { event, executions, replies: vec![reply], bodies: vec![body] });
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
            origin: EventOrigin::Webhook,
            signature: String::new(),
            secret_name: String::new(),
            payload: vec![b' '; length].into(),
        };
        Group { event, executions: Vec::new(), replies: Vec::new(), bodies: Vec::new() }
    }

    #[test]
    fn a_large_batch_is_split_and_a_large_event_is_alone() {
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
