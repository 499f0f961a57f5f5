//! Notifies workers of new work: at once in this process, and by `NOTIFY` in the others.
//!
//! A notification only saves time: if it is lost, the next poll finds the work. `NOTIFY` stays out of the
//! intake's transaction, where it would make commits wait for one another, and a process sends at most one in
//! [`DEBOUNCE`].

use super::Queue;
use crate::store::db::{Db, check_alive};
use crate::store::maintenance::TASKS_CHANNEL;
use sqlx::Acquire;
use sqlx::postgres::PgListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

const CHANNEL: &str = "eventbridge_work";

/// The shortest time between two notifications of one process.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// How long to wait before listening again after the connection broke.
const RECONNECT: Duration = Duration::from_secs(2);

/// After this time without a notification, the connection must prove that it is alive.
const QUIET_MAX: Duration = Duration::from_secs(30);

impl Queue {
    /// Notifies the workers of all processes once, for a command, which has no [`Notifier`]. If the
    /// notification is lost, polling finds the work.
    pub async fn notify_workers(&self) {
        if let Err(error) = sqlx::query!("select pg_notify($1, $2)", CHANNEL, "").execute(&self.pool).await {
            debug!(%error, "notification failed; workers find the work by polling");
        }
    }
}

/// Carries notifications from the parts that add work to the workers of all processes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Notifier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    here: Notify,
    elsewhere: Notify,
    tasks: Notify,
    /// Distinguishes our own notifications from those of other processes.
    process: String,
}

impl Default for Notifier {
    fn default() -> Self {
        let process = Uuid::new_v4().to_string();
        Self(Arc::new(Inner { here: Notify::new(), elsewhere: Notify::new(), tasks: Notify::new(), process }))
    }
}

impl Notifier {
    /// Reports new work. Never blocks.
    pub fn notify(&self) {
        self.0.here.notify_one();
        self.0.elsewhere.notify_one();
    }

    /// Waits for the next notification; one that came before the call counts.
    pub async fn notified(&self) {
        self.0.here.notified().await;
    }

    /// Waits for the next notification of a new task. The statement that creates a task sends it to all processes.
    pub async fn task_created(&self) {
        self.0.tasks.notified().await;
    }

    /// Passes notifications on to other processes, until stopped.
    pub async fn publish(self, db: Db, stop: CancellationToken) {
        let _stopped = stop.run_until_cancelled(self.publish_to_others(&db)).await;
    }

    /// Receives the notifications of other processes, until stopped.
    pub async fn listen(self, db: Db, stop: CancellationToken) {
        let _stopped = stop.run_until_cancelled(self.listen_to_others(&db)).await;
    }

    async fn publish_to_others(&self, db: &Db) {
        loop {
            self.0.elsewhere.notified().await;
            let published =
                sqlx::query!("select pg_notify($1, $2)", CHANNEL, self.0.process).execute(&db.pool).await;
            if let Err(error) = published {
                debug!(%error, "notification failed; other processes find the work by polling");
            }
            tokio::time::sleep(DEBOUNCE).await;
        }
    }

    async fn listen_to_others(&self, db: &Db) {
        loop {
            if let Err(error) = self.receive(db).await {
                warn!(%error, "listening for notifications failed; polling continues");
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    /// Listens until the connection is lost, dead, or leads to the wrong server.
    async fn receive(&self, db: &Db) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(&db.pool.one_to_listen()).await?;
        listener.listen_all([CHANNEL, TASKS_CHANNEL]).await?;
        // Work may have arrived before it listened.
        self.0.here.notify_one();
        self.0.tasks.notify_one();
        let mut outdated = pin!(db.pool.outdated());
        loop {
            let received = tokio::select! {
                received = tokio::time::timeout(QUIET_MAX, listener.try_recv()) => received,
                () = &mut outdated => return Ok(()),
            };
            match received {
                Ok(notification) => match notification? {
                    Some(notification) if notification.channel() == TASKS_CHANNEL => {
                        self.0.tasks.notify_one();
                    }
                    Some(notification) if notification.payload() == self.0.process => {}
                    Some(_) => self.0.here.notify_one(),
                    None => return Ok(()),
                },
                Err(_quiet) => check_alive(listener.acquire().await?).await?,
            }
        }
    }
}
