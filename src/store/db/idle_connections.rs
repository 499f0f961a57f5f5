//! Connections at hand: one that has just answered goes on to the next statement as it is.
//!
//! A pool cannot know what became of a connection that it lent out, so it asks each one whether it is
//! alive when it comes back, and again before it is lent anew. Each such question is a round trip, and
//! a lone webhook would wait for more of them than for its own statement. Here it is known: a
//! connection whose statement was answered is alive and has nothing left to say. It is kept at hand for
//! [`KEPT_FOR`], and asked only when it has rested for longer than [`FRESH_FOR`]. Whatever else became
//! of it, an error or a statement that was given up, it goes back to the pool, which asks; and where one
//! broke, so do all others, since what broke it may have broken them.

use super::connections::show_life;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool, Postgres};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long ago a connection may have answered and be taken to be alive.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// How long a connection is kept from the pool, which closes those that are old or of no use.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// A pool, and those of its connections that are at hand. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Hand {
    pool: PgPool,
    /// Whether any is kept at hand.
    keeps: bool,
    /// As many as the pool has connections: whoever holds one finds a connection at hand or in the pool.
    slots: Arc<Semaphore>,
    free: Arc<Mutex<Vec<AtHand>>>,
}

#[derive(Debug)]
struct AtHand {
    connection: PoolConnection<Postgres>,
    /// When it came from the pool.
    taken: Instant,
    /// When it answered last.
    answered: Instant,
}

/// A connection that somebody uses. Dropped, it goes back to the pool, which asks whether it lives.
pub(super) struct Lent {
    connection: PoolConnection<Postgres>,
    taken: Instant,
    hand: Hand,
    _slot: OwnedSemaphorePermit,
}

impl Hand {
    /// A hand over this pool, as yet empty; it stays so where nothing is to be kept in it.
    pub(super) fn over(pool: PgPool, keeps: bool) -> Self {
        let slots = usize::try_from(pool.options().get_max_connections()).unwrap_or(usize::MAX);
        let slots = Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS)));
        Self { pool, keeps, slots, free: Arc::default() }
    }

    /// A connection that is alive and was not made before `outdated`.
    pub(super) async fn lend(&self, outdated: Option<Instant>) -> Result<Lent, sqlx::Error> {
        let within = self.pool.options().get_acquire_timeout();
        let slot = match tokio::time::timeout(within, self.slots.clone().acquire_owned()).await {
            Ok(Ok(slot)) => slot,
            Ok(Err(_closed)) => return Err(sqlx::Error::PoolClosed),
            Err(_elapsed) => return Err(sqlx::Error::PoolTimedOut),
        };
        let (connection, taken) = match self.at_hand(outdated).await {
            Some(found) => (found.connection, found.taken),
            None => (self.pool.acquire().await?, Instant::now()),
        };
        Ok(Lent { connection, taken, hand: self.clone(), _slot: slot })
    }

    /// Of the connections at hand that which answered last.
    async fn at_hand(&self, outdated: Option<Instant>) -> Option<AtHand> {
        loop {
            let mut found = self.free().pop()?;
            if outdated.is_some_and(|at| at >= found.taken) {
                found.connection.close_on_drop();
            } else if found.answered.elapsed() < FRESH_FOR || show_life(&mut found.connection).await.is_ok() {
                return Some(found);
            } else {
                // Nobody is there to say farewell to.
                drop(found.connection.detach());
            }
        }
    }

    /// Gives all that are at hand back to the pool, which asks each of them.
    pub(super) fn let_go(&self) {
        self.free().clear();
    }

    /// How many connections nobody uses now.
    pub(super) fn idle(&self) -> usize {
        self.pool.num_idle() + self.free().len()
    }

    /// Closes all connections; whoever still waits for one is told.
    pub(super) async fn close(&self) {
        let closed = self.pool.close();
        self.slots.close();
        self.let_go();
        closed.await;
    }

    fn free(&self) -> MutexGuard<'_, Vec<AtHand>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    /// Gives it back after its statement was answered.
    pub(super) fn answered(self) {
        let Self { connection, taken, hand, _slot } = self;
        let mut free = hand.free();
        free.retain(|other| other.taken.elapsed() < KEPT_FOR);
        // One that is put at hand once they were cleared would keep the pool from closing.
        if hand.keeps && taken.elapsed() < KEPT_FOR && !hand.pool.is_closed() {
            free.push(AtHand { connection, taken, answered: Instant::now() });
        }
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
