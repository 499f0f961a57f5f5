//! Wakes workers when there is work: at once in this process, by NOTIFY in the others.
//!
//! A notification is a kindness, polling is the guarantee: whatever is lost here is found by the
//! next poll. NOTIFY stays out of the ingest transaction, where it would make commits wait for one
//! another, and is debounced.

use super::Queue;
use crate::store::db::{Db, show_life};
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

/// How long to wait before listening anew after the connection broke.
const RECONNECT: Duration = Duration::from_secs(2);

/// After so long without a notification, the connection must show that it is alive.
const QUIET_MAX: Duration = Duration::from_secs(30);

impl Queue {
    /// Says once to all processes that there is work, for a command, in which no bell hangs. Where it
    /// is not heard, the work is found by polling.
    pub async fn tell_of_work(&self) {
        if let Err(error) = sqlx::query!("select pg_notify($1, $2)", CHANNEL, "").execute(&self.pool).await {
            debug!(%error, "could not notify the workers; they will find the work by polling");
        }
    }
}

/// The bell between those who bring work and those who do it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Wake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    here: Notify,
    elsewhere: Notify,
    /// Tells our own notifications from those of other processes.
    process: String,
}

impl Default for Wake {
    fn default() -> Self {
        let process = Uuid::new_v4().to_string();
        Self(Arc::new(Inner { here: Notify::new(), elsewhere: Notify::new(), process }))
    }
}

impl Wake {
    /// Says that there is work.
    pub fn ring(&self) {
        self.0.here.notify_one();
        self.0.elsewhere.notify_one();
    }

    /// Waits until somebody rings; a ring while nobody waited counts.
    pub async fn rung(&self) {
        self.0.here.notified().await;
    }

    /// Passes rings on to other processes, until told to stop.
    pub async fn tell(self, db: Db, stop: CancellationToken) {
        let _stopped = stop.run_until_cancelled(self.tell_others(&db)).await;
    }

    /// Takes up the rings of other processes, until told to stop.
    pub async fn hear(self, db: Db, stop: CancellationToken) {
        let _stopped = stop.run_until_cancelled(self.hear_others(&db)).await;
    }

    async fn tell_others(&self, db: &Db) {
        loop {
            self.0.elsewhere.notified().await;
            let told =
                sqlx::query!("select pg_notify($1, $2)", CHANNEL, self.0.process).execute(&db.pool).await;
            if let Err(error) = told {
                debug!(%error, "could not notify other processes; they will find the work by polling");
            }
            tokio::time::sleep(DEBOUNCE).await;
        }
    }

    async fn hear_others(&self, db: &Db) {
        loop {
            if let Err(error) = self.listen(db).await {
                warn!(%error, "lost the connection that listens for work; polling goes on");
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    /// Listens until the connection is lost, dead, or leads to the wrong server.
    async fn listen(&self, db: &Db) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(&db.pool.one_to_listen()).await?;
        listener.listen(CHANNEL).await?;
        // Work may have come while nobody listened.
        self.0.here.notify_one();
        let mut outdated = pin!(db.pool.outdated());
        loop {
            let heard = tokio::select! {
                heard = tokio::time::timeout(QUIET_MAX, listener.try_recv()) => heard,
                () = &mut outdated => return Ok(()),
            };
            match heard {
                Ok(notification) => match notification? {
                    Some(notification) if notification.payload() == self.0.process => {}
                    Some(_) => self.0.here.notify_one(),
                    None => return Ok(()),
                },
                Err(_quiet) => show_life(listener.acquire().await?).await?,
            }
        }
    }
}
