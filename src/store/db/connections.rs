//! Connection pools that drop connections to dead or read-only servers.
//!
//! One pool is for intake and deliveries. A small one is for interactive reads; its statements write nothing
//! and have a short timeout.
//!
//! After a failover, a connection may stay open to a server that accepts no writes any more, or to one that
//! is gone without closing it. Three rules keep the pool from holding on to such a server, so that it follows
//! the address to the next one:
//!
//! - If the server refuses a write because it is read-only, every connection made until then is closed
//!   before it is used again.
//! - A connection must prove within [`ALIVE_WITHIN`](super::liveness::ALIVE_WITHIN) that it is alive before
//!   it is used and before it returns to the pool, unless it has [just answered](super::idle_connections).
//! - No caller waits for a statement longer than [`ANSWER_WITHIN`].
//!
//! A pooler in transaction mode gives each transaction any free connection to the server. What belongs to a
//! session then belongs to no client: prepared statements, settings, subscriptions to notifications. With
//! such a pooler, each statement is a transaction that sets its own settings, no statement is prepared, and
//! anything that needs a session connects to the server directly, at a second address.

use super::idle_connections::{Checkout, IdleConnections};
use super::liveness::{check_alive, is_broken, no_answer};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sqlx::error::BoxDynError;
use sqlx::postgres::{
    PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo,
    Postgres,
};
use sqlx::{AssertSqlSafe, Describe, Either, Execute, Executor, SqlStr};
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::warn;

/// A caller waits this long for a connection; then the database counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that a statement may take; no statement of the store comes near it.
const STATEMENT_TIMEOUT: &str = "30s";

/// The longest that an interactive read may take, and the longest that it waits for a connection.
const READING_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest wait for a statement, including its connection: longer than the server may work on it.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(40);

/// The shortest time between two renewals, so that a server that stays read-only is not flooded.
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// The SQLSTATE of a write to a read-only server.
const READ_ONLY: &str = "25006";

/// The SQLSTATEs of a prepared statement that is missing or exists already, as happens behind an undeclared
/// pooler.
const SESSION_CHANGED: &[&str] = &["26000", "42P05"];

/// A pool, shared by its clones.
#[derive(Debug, Clone)]
pub(in crate::store) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pool: PgPool,
    idle: IdleConnections,
    renewal: Renewal,
    purpose: Purpose,
    /// With a pooler in transaction mode: how to connect to the server directly.
    past_the_pooler: Option<PgConnectOptions>,
}

impl Connections {
    /// Prepares at most `connections`, which are made when they are needed: a quarter of them, and at most
    /// eight, for reading, one for listening, and all others for work. Returns the pool for work and the one
    /// for reading. With a pooler in transaction mode, `direct` leads to the server itself.
    pub(in crate::store) fn prepare(
        options: &PgConnectOptions,
        direct: Option<&PgConnectOptions>,
        connections: u32,
    ) -> (Self, Self) {
        let renewal = Renewal::default();
        let reading = (connections / 4).clamp(1, 8);
        let work = connections.saturating_sub(reading + 1).max(1);
        let [work, reading] = [(Purpose::Work, work), (Purpose::Reading, reading)].map(|(purpose, most)| {
            let pool = match direct {
                None => pool_options(&renewal, Some(purpose)),
                Some(_) => pool_options(&renewal, None),
            };
            let options = as_named(options);
            let options = if direct.is_some() { options.statement_cache_capacity(0) } else { options };
            let pool = pool
                .acquire_timeout(purpose.acquire_timeout())
                .max_connections(most)
                .connect_lazy_with(options);
            Self(Arc::new(Shared {
                idle: IdleConnections::new(pool.clone(), purpose.is_pressed_for_time()),
                pool,
                renewal: renewal.clone(),
                purpose,
                past_the_pooler: direct.map(as_named),
            }))
        });
        (work, reading)
    }

    /// Whether it leads to a pooler in transaction mode, as far as it was declared.
    pub(in crate::store) fn is_pooled(&self) -> bool {
        self.0.past_the_pooler.is_some()
    }

    /// How to reach the server itself, for anything that needs a session.
    pub(in crate::store) fn direct_options(&self) -> PgConnectOptions {
        match &self.0.past_the_pooler {
            Some(direct) => direct.clone(),
            None => (*self.0.pool.connect_options()).clone(),
        }
    }

    /// A pool of one connection, for a listener. It does not share the other pools, since a dropped listener
    /// may hold its dead connection for long.
    pub(in crate::store) fn one_to_listen(&self) -> PgPool {
        pool_options(&self.0.renewal, Some(Purpose::Work))
            .acquire_timeout(Purpose::Work.acquire_timeout())
            .max_connections(1)
            .connect_lazy_with(self.direct_options())
    }

    /// A connection that is alive, for one statement.
    async fn check_out(&self) -> Result<Checkout, sqlx::Error> {
        let outdated = *self.0.renewal.at.borrow();
        self.0.idle.check_out(outdated).await
    }

    /// Returns a connection after its statement.
    fn check_in<T>(&self, checkout: Checkout, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        match &answer {
            Ok(_) => checkout.answered(),
            Err(error) if is_broken(error) => self.0.idle.release_all(),
            Err(_) => {}
        }
        answer
    }

    async fn rows<'q, E>(self, query: E) -> Result<Vec<Either<PgQueryResult, PgRow>>, sqlx::Error>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        if self.0.past_the_pooler.is_none() {
            let mut checkout = self.check_out().await?;
            let rows = checkout.fetch_many(query).try_collect().await;
            return self.check_in(checkout, rows);
        }
        let mut transaction = self.0.pool.begin_with(AssertSqlSafe(self.0.purpose.beginning())).await?;
        let rows = transaction.fetch_many(Unprepared(query)).try_collect().await?;
        transaction.commit().await?;
        Ok(rows)
    }

    async fn row<'q, E>(self, query: E) -> Result<Option<PgRow>, sqlx::Error>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        if self.0.past_the_pooler.is_none() {
            let mut checkout = self.check_out().await?;
            let row = checkout.fetch_optional(query).await;
            return self.check_in(checkout, row);
        }
        let mut transaction = self.0.pool.begin_with(AssertSqlSafe(self.0.purpose.beginning())).await?;
        let row = transaction.fetch_optional(Unprepared(query)).await?;
        transaction.commit().await?;
        Ok(row)
    }

    /// Waits until the connections made so far are outdated.
    pub(in crate::store) async fn outdated(&self) {
        let mut renewed = self.0.renewal.at.subscribe();
        // The sender lives as long as this value.
        let _renewed = renewed.changed().await;
    }

    /// The number of connections that are not in use.
    pub(in crate::store) fn num_idle(&self) -> usize {
        self.0.idle.count()
    }

    /// Closes all of them; calls that still wait for one fail.
    pub(in crate::store) async fn close(&self) {
        self.0.idle.close().await;
    }
}

impl Deref for Connections {
    type Target = PgPool;

    fn deref(&self) -> &PgPool {
        &self.0.pool
    }
}

/// Every statement of the store passes here.
impl<'p> Executor<'p> for &'_ Connections {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        stream::once(self.0.renewal.clone().watch(self.clone().rows(query)))
            .map_ok(|rows| stream::iter(rows.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(self.0.renewal.clone().watch(self.clone().row(query)))
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        Box::pin(self.0.renewal.clone().watch(self.0.pool.prepare_with(sql, parameters)))
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        Box::pin(self.0.renewal.clone().watch(self.0.pool.describe(sql)))
    }
}

/// A statement that leaves nothing in its session.
struct Unprepared<E>(E);

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Unprepared<E> {
    fn sql(self) -> SqlStr {
        self.0.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.0.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        false
    }
}

/// The purpose of a pool.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Work,
    Reading,
}

impl Purpose {
    /// Whether a round trip matters. For interactive reads, a check before use matters more.
    const fn is_pressed_for_time(self) -> bool {
        matches!(self, Self::Work)
    }

    const fn acquire_timeout(self) -> Duration {
        match self {
            Self::Work => ACQUIRE_TIMEOUT,
            Self::Reading => READING_TIMEOUT,
        }
    }

    /// The settings of a session.
    fn settings(self) -> String {
        match self {
            // Plans are cached. A plan that was made while a table was small must not read all of it when
            // it has grown, so an index is used wherever there is one.
            Self::Work => format!("set enable_seqscan = off; set statement_timeout = '{STATEMENT_TIMEOUT}'"),
            // A filter is one statement in which absent conditions are null, so each request needs its own
            // plan.
            Self::Reading => format!(
                "set plan_cache_mode = force_custom_plan; set default_transaction_read_only = on; \
                 set statement_timeout = {}",
                READING_TIMEOUT.as_millis()
            ),
        }
    }

    /// The same for one transaction, which it begins. No plan is cached there.
    fn beginning(self) -> String {
        match self {
            Self::Work => format!(
                "begin; set local jit = off; set local enable_seqscan = off; \
                 set local statement_timeout = '{STATEMENT_TIMEOUT}'"
            ),
            Self::Reading => format!(
                "begin read only; set local jit = off; set local statement_timeout = {}",
                READING_TIMEOUT.as_millis()
            ),
        }
    }
}

/// The name under which the server lists us. The driver would also set `extra_float_digits`, which no current
/// server needs and poolers refuse.
fn as_named(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().application_name("eventbridge").extra_float_digits(None)
}

/// Sets the session up, if the connections have sessions of their own.
fn pool_options(renewal: &Renewal, session: Option<Purpose>) -> PgPoolOptions {
    let renewal = renewal.clone();
    PgPoolOptions::new()
        // The driver's own test has no time limit; ours follows.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if let Some(purpose) = session {
                    let settings = format!("set jit = off; {}", purpose.settings());
                    sqlx::raw_sql(AssertSqlSafe(settings)).execute(connection).await?;
                }
                Ok(())
            })
        })
        .before_acquire(move |connection, facts| {
            let outdated = renewal.concerns(facts.age);
            Box::pin(async move {
                if outdated {
                    return Ok(false);
                }
                check_alive(connection).await?;
                Ok(true)
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                // A connection whose statement was abandoned still has unread parts of the answer.
                check_alive(connection).await?;
                Ok(true)
            })
        })
}

/// Remembers when connections were last found to lead to the wrong server.
#[derive(Debug, Clone, Default)]
struct Renewal {
    at: watch::Sender<Option<Instant>>,
}

impl Renewal {
    /// Whether a connection of this age is outdated.
    fn concerns(&self, age: Duration) -> bool {
        self.at.borrow().is_some_and(|at| at.elapsed() <= age)
    }

    /// Waits for a statement, and learns from its error.
    async fn watch<T>(self, asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        let answered = tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| Err(no_answer()));
        answered.inspect_err(|error| self.learn(error))
    }

    fn learn(&self, error: &sqlx::Error) {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        let code = code.as_deref().unwrap_or_default();
        if SESSION_CHANGED.contains(&code) {
            warn!(%error, "there seems to be a pooler in transaction mode; set DATABASE_DIRECT_URL");
        }
        if code != READ_ONLY {
            return;
        }
        let is_due = |at: &Option<Instant>| at.is_none_or(|at| at.elapsed() >= RENEW_EVERY);
        let renewed = self.at.send_if_modified(|at| {
            let is_due = is_due(at);
            if is_due {
                *at = Some(Instant::now());
            }
            is_due
        });
        if renewed {
            warn!("the database refuses writes; reconnecting, in case it moved");
        }
    }
}
