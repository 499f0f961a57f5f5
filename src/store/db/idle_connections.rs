//! Idle connections: a connection that has just answered serves the next statement as it is.
//!
//! A pool does not know the state of a connection that it handed out. So it pings each one when it comes
//! back, and again before it goes out. Each ping is a round trip, and a single webhook would wait longer for
//! them than for its own statement. This module avoids most pings: a connection whose statement was answered
//! is alive, and has nothing left to read. It stays idle here for up to [`KEPT_FOR`], and is pinged only if
//! it has not answered for [`FRESH_FOR`]. After an error or an abandoned statement, a connection goes back to
//! the pool, which pings it. If one connection broke, all idle ones go back to the pool as well, since the
//! same cause may have broken them.

use super::liveness::check_alive;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool, Postgres};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection that answered within this time counts as alive.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// The longest time that a connection stays out of the pool, which closes old and unneeded ones.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// A pool, and those of its connections that are idle here. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct IdleConnections {
    pool: PgPool,
    /// Whether connections stay idle here.
    keeps: bool,
    /// As many permits as the pool has connections: a permit guarantees a connection here or in the pool.
    slots: Arc<Semaphore>,
    free: Arc<Mutex<Vec<IdleConnection>>>,
}

#[derive(Debug)]
struct IdleConnection {
    connection: PoolConnection<Postgres>,
    /// When it came from the pool.
    taken: Instant,
    /// When it answered last.
    answered: Instant,
}

/// A connection in use. If it is dropped, it goes back to the pool, which pings it.
pub(super) struct Checkout {
    connection: PoolConnection<Postgres>,
    taken: Instant,
    owner: IdleConnections,
    _slot: OwnedSemaphorePermit,
}

impl IdleConnections {
    /// Creates it without connections. If `keeps` is false, none stays here, and the pool pings every
    /// connection.
    pub(super) fn new(pool: PgPool, keeps: bool) -> Self {
        let slots = usize::try_from(pool.options().get_max_connections()).unwrap_or(usize::MAX);
        let slots = Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS)));
        Self { pool, keeps, slots, free: Arc::default() }
    }

    /// A connection that is alive and was not made before `outdated`.
    pub(super) async fn check_out(&self, outdated: Option<Instant>) -> Result<Checkout, sqlx::Error> {
        let within = self.pool.options().get_acquire_timeout();
        let slot = match tokio::time::timeout(within, self.slots.clone().acquire_owned()).await {
            Ok(Ok(slot)) => slot,
            Ok(Err(_closed)) => return Err(sqlx::Error::PoolClosed),
            Err(_elapsed) => return Err(sqlx::Error::PoolTimedOut),
        };
        let (connection, taken) = match self.newest(outdated).await {
            Some(found) => (found.connection, found.taken),
            None => (self.pool.acquire().await?, Instant::now()),
        };
        Ok(Checkout { connection, taken, owner: self.clone(), _slot: slot })
    }

    /// The idle connection that answered last.
    async fn newest(&self, outdated: Option<Instant>) -> Option<IdleConnection> {
        loop {
            let mut found = self.free().pop()?;
            if outdated.is_some_and(|at| at >= found.taken) {
                found.connection.close_on_drop();
            } else if found.answered.elapsed() < FRESH_FOR || check_alive(&mut found.connection).await.is_ok()
            {
                return Some(found);
            } else {
                // The server is gone, so no termination message is sent.
                drop(found.connection.detach());
            }
        }
    }

    /// Returns all idle connections to the pool, which pings each of them.
    pub(super) fn release_all(&self) {
        self.free().clear();
    }

    /// The number of connections that are not in use, here and in the pool.
    pub(super) fn count(&self) -> usize {
        self.pool.num_idle() + self.free().len()
    }

    /// Closes all connections; calls that still wait for one fail.
    pub(super) async fn close(&self) {
        let closed = self.pool.close();
        self.slots.close();
        self.release_all();
        closed.await;
    }

    fn free(&self) -> MutexGuard<'_, Vec<IdleConnection>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Checkout {
    /// Returns it after its statement was answered.
    pub(super) fn answered(self) {
        let Self { connection, taken, owner, _slot } = self;
        let mut free = owner.free();
        free.retain(|other| other.taken.elapsed() < KEPT_FOR);
        // A connection kept after `close` would prevent the pool from closing.
        if owner.keeps && taken.elapsed() < KEPT_FOR && !owner.pool.is_closed() {
            free.push(IdleConnection { connection, taken, answered: Instant::now() });
        }
    }
}

impl Deref for Checkout {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Checkout {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
