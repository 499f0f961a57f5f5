//! Connections to the database, and what every statement needs: errors, conversions, pages of lists.
//!
//! If Postgres is unreachable, read-only (`25006`) or out of connections (`53300`), ingest answers 503, and
//! claims and completions are retried every second. The header of `connections` covers servers that moved or
//! went silent.

mod address;
mod connections;
mod error;
mod idle_connections;
mod liveness;
mod migrations;
mod page;
mod reach;
mod server_info;
mod values;
mod window;

pub use address::AddressError;
pub use connections::ANSWER_WITHIN;
pub use error::{MigrateError, StoreError, database_is_private, unavailable_remedy};
pub use migrations::Migration;
pub use page::{Cursor, LIMIT_DEFAULT, LIMIT_MAX, Page, UnknownCursor};
pub(in crate::store) use server_info::snapshot_holders;
pub use server_info::{Schema, ServerInfo, SnapshotHolder, SnapshotHolderKind};
pub use window::{ListError, WINDOW_DAYS_DEFAULT, WINDOW_DAYS_MAX, Window};

pub(super) use connections::Connections;
pub(super) use liveness::check_alive;
pub(super) use page::Seen;
pub(super) use values::{milliseconds, of_milliseconds, value_without_nul, whole_milliseconds, without_nul};
pub(super) use window::Span;

use secrecy::SecretString;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// The connections to one database, for `app` and the commands, which open, migrate, check and close it. All
/// other types of the store share its connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    /// For intake and deliveries.
    pub(super) pool: Connections,
    /// For interactive reads.
    pub(super) reading: Connections,
}

/// How long a server may take to answer a new connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// The use of the connections of this process, except the one that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Connections in use.
    pub busy: u32,
    /// Open connections that are free.
    pub idle: u32,
    /// The most connections.
    pub max: u32,
}

impl Db {
    /// Prepares at most `connections`, which are made when they are needed. If `direct_url` is given, `url`
    /// leads to a pooler in transaction mode, and `direct_url` past it.
    pub(super) fn connect_lazily(
        url: &SecretString,
        direct_url: Option<&SecretString>,
        connections: u32,
    ) -> Result<Self, AddressError> {
        let options = address::options(url)?;
        let direct = direct_url.map(address::options).transpose()?;
        let (pool, reading) = Connections::prepare(&options, direct.as_ref(), connections);
        Ok(Self { pool, reading })
    }

    /// The same database for monitoring tasks. They read over the work connections, where no person's slow
    /// filter delays them and a statement has more time.
    #[must_use]
    pub(super) fn unhurried(&self) -> Self {
        Self { pool: self.pool.clone(), reading: self.pool.clone() }
    }

    /// Migrates the schema. Processes that do so at once wait for each other.
    ///
    /// It uses a separate connection without a time limit, which reports at once why it cannot be made. If a
    /// newer program has migrated the schema further, it is left as it is, so that the operator can go back
    /// to this program.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        self.apply(migrations::MIGRATIONS).await
    }

    /// The migrations of this program, the oldest first.
    pub const fn migrations() -> &'static [Migration] {
        migrations::MIGRATIONS
    }

    /// As [`migrate`](Self::migrate), with these migrations: those of an earlier program, or of a later one.
    pub async fn apply(&self, migrations: &[Migration]) -> Result<(), MigrateError> {
        self.reach().await?;
        let options = self.pool.direct_options();
        let connecting = tokio::time::timeout(CONNECT_WITHIN, PgConnection::connect_with(&options));
        let mut connection = match connecting.await {
            Ok(connected) => connected.map_err(|error| MigrateError::of(&error, &options))?,
            Err(_elapsed) => return Err(MigrateError::silent(&options)),
        };
        let migrated = migrations::apply(&mut connection, migrations)
            .await
            .map_err(|error| MigrateError::of_migration(error, &options));
        // The result is known, whether or not the connection closes cleanly.
        let _closed = connection.close().await;
        migrated
    }

    /// As [`migrate`](Self::migrate), but waits for a server that is not reachable yet, until `stop`. Before
    /// each wait it calls `waits`. A migration that a stop interrupts is undone, or runs again the next time.
    pub async fn migrate_when_there(
        &self,
        stop: &CancellationToken,
        waits: impl Fn(&MigrateError),
    ) -> Result<(), MigrateError> {
        const RETRY_AFTER: Duration = Duration::from_secs(1);
        const LOG_EVERY: Duration = Duration::from_secs(10);
        let mut logged_at: Option<Instant> = None;
        loop {
            match stop.run_until_cancelled(self.migrate()).await {
                None => return Ok(()),
                Some(Err(error @ (MigrateError::Away(_) | MigrateError::Busy(_)))) => {
                    waits(&error);
                    if logged_at.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
                        logged_at = Some(Instant::now());
                        warn!(%error, "waiting for the database");
                    }
                }
                Some(done) => return done,
            }
            if stop.run_until_cancelled(tokio::time::sleep(RETRY_AFTER)).await.is_none() {
                return Ok(());
            }
        }
    }

    /// Whether the schema is as new as this program; a database without any has not been migrated either.
    ///
    /// It reads over the work connections: so the answer also shows that these work, and busy reading
    /// connections do not make a process unready.
    pub async fn is_migrated(&self) -> Result<bool, StoreError> {
        const UNDEFINED_TABLE: &str = "42P01";
        let applied = sqlx::query_scalar!(
            r#"select max(version) as "version" from eventbridge.migrations where success"#
        )
        .fetch_one(&self.pool)
        .await;
        match applied {
            Ok(applied) => Ok(applied.is_some_and(|version| version >= migrations::newest())),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(UNDEFINED_TABLE) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The present use of the connections.
    pub fn pool_use(&self) -> PoolUse {
        let pools = [&self.pool, &self.reading];
        let idle = pools.iter().map(|pool| u32::try_from(pool.num_idle()).unwrap_or(u32::MAX)).sum();
        let open: u32 = pools.iter().map(|pool| pool.size()).sum();
        let max = pools.iter().map(|pool| pool.options().get_max_connections()).sum();
        PoolUse { busy: open.saturating_sub(idle), idle, max }
    }

    /// Closes the connections. Calls that still wait for one fail.
    pub async fn close(&self) {
        self.reading.close().await;
        self.pool.close().await;
    }
}
