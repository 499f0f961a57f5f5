//! An old snapshot, as a backup or a forgotten session holds it: a transaction in REPEATABLE READ that has
//! read something and stays open. While it is open, vacuum removes no row version that it could still see.

use crate::world::World;
use anyhow::Context;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often the holder checks that its transaction is still open.
const POLL: Duration = Duration::from_millis(200);

/// A database that does not respond within this time counts as lost.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A snapshot that is held until [`release`](Self::release). If Postgres is killed, another one is opened.
pub struct HeldSnapshot {
    stop: CancellationToken,
    opened: Arc<AtomicU32>,
    holder: JoinHandle<()>,
}

impl HeldSnapshot {
    /// Opens a snapshot and keeps it open.
    pub async fn open(world: &World) -> anyhow::Result<Self> {
        let options = world.database.connect_options().as_ref().clone().application_name("torture snapshot");
        let first = open(&options).await.context("the snapshot cannot be opened")?;
        let (stop, opened) = (CancellationToken::new(), Arc::new(AtomicU32::new(1)));
        let holder = tokio::spawn(hold(options, first, stop.clone(), opened.clone()));
        Ok(Self { stop, opened, holder })
    }

    /// Ends the transaction, and returns how often a snapshot was opened.
    pub async fn release(self) -> anyhow::Result<u32> {
        self.stop.cancel();
        self.holder.await.context("the holder of the snapshot broke")?;
        Ok(self.opened.load(Ordering::Relaxed))
    }
}

/// Holds a transaction open until the test stops it, and opens another one if the connection is lost.
async fn hold(
    options: PgConnectOptions,
    first: PgConnection,
    stop: CancellationToken,
    opened: Arc<AtomicU32>,
) {
    let mut held = Some(first);
    while stop.run_until_cancelled(tokio::time::sleep(POLL)).await.is_some() {
        held = match held {
            Some(mut connection) => is_open(&mut connection).await.then_some(connection),
            // Postgres may still be starting.
            None => open(&options).await.ok().inspect(|_connection| {
                opened.fetch_add(1, Ordering::Relaxed);
            }),
        };
    }
    if let Some(connection) = held {
        // The server ends the transaction with the connection, also if the connection is already lost.
        let _closed = tokio::time::timeout(ANSWER_MAX, connection.close()).await;
    }
}

/// Begins the transaction. Only its first read takes the snapshot.
async fn open(options: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    let opened = async {
        let mut connection = options.connect().await?;
        sqlx::raw_sql("begin isolation level repeatable read read only").execute(&mut connection).await?;
        sqlx::raw_sql("select count(*) from eventbridge.executions").execute(&mut connection).await?;
        anyhow::Ok(connection)
    };
    tokio::time::timeout(ANSWER_MAX, opened).await.context("Postgres does not respond")?
}

/// Whether the transaction is still open.
async fn is_open(connection: &mut PgConnection) -> bool {
    let asked = sqlx::raw_sql("select 1").execute(connection);
    tokio::time::timeout(ANSWER_MAX, asked).await.is_ok_and(|answer| answer.is_ok())
}
