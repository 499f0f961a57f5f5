//! The connections to the database: pools that let go of what leads nowhere.
//!
//! One pool is for taking events in and delivering them, a small one for what people read. A
//! statement of the latter writes nothing and ends soon.
//!
//! A connection outlives what it led to. After a failover it can stay open to a server that takes
//! no writes any more, or to one that is gone and never says so. Three rules keep the pool from
//! sticking to such a server, so that it follows the address to the next one:
//!
//! - When the server refuses a write because it is read-only, every connection made until then is
//!   closed before it is used again.
//! - A connection shows within [`ALIVE_WITHIN`] that it is alive before it is used and before it is
//!   put back, unless it has [just answered](super::idle_connections).
//! - No statement is waited for longer than [`ANSWER_WITHIN`].
//!
//! A pooler in transaction mode gives each transaction whichever connection to the server is free. What
//! belongs to a session then belongs to nobody: prepared statements, settings, what one listens to.
//! Where one lies between, each statement is a transaction that brings its settings along, no statement
//! is kept, and what needs a session goes by an address of its own, straight to the server.

use super::idle_connections::{Hand, Lent};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sqlx::error::BoxDynError;
use sqlx::postgres::{
    PgArguments, PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgQueryResult, PgRow, PgStatement,
    PgTypeInfo, Postgres,
};
use sqlx::{AssertSqlSafe, Connection, Describe, Either, Execute, Executor, SqlStr};
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::warn;

/// How long a caller waits for a connection before the database counts as away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest any statement may take; none of ours comes near it.
const STATEMENT_TIMEOUT: &str = "30s";

/// The longest that what people read may take, and how long it waits for a connection.
const READING_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a statement is waited for, its connection included: longer than the server works on it.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);

/// How long a connection may take to show that it is alive.
const ALIVE_WITHIN: Duration = Duration::from_secs(2);

/// The shortest time between two renewals: a server that stays read-only is not to be stormed.
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// The SQLSTATE of a write where none is taken.
const READ_ONLY: &str = "25006";

/// Those of a prepared statement that is not there, or is there already, as happens behind a pooler that
/// nobody told us of.
const SESSION_CHANGED: &[&str] = &["26000", "42P05"];

/// A pool, shared by its clones.
#[derive(Debug, Clone)]
pub(in crate::store) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pool: PgPool,
    hand: Hand,
    renewal: Renewal,
    purpose: Purpose,
    /// Where a pooler in transaction mode lies between: the way to the server itself.
    past_the_pooler: Option<PgConnectOptions>,
}

impl Connections {
    /// Prepares at most `connections`, which are made when they are needed: a quarter of them, and
    /// eight at most, for reading, one for listening, and all others for work. Returns the pool for
    /// work and the one for reading. `direct` is the way past a pooler in transaction mode.
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
                hand: Hand::over(pool.clone(), purpose.is_pressed_for_time()),
                pool,
                renewal: renewal.clone(),
                purpose,
                past_the_pooler: direct.map(as_named),
            }))
        });
        (work, reading)
    }

    /// How to reach the server itself, for what needs a session.
    pub(in crate::store) fn direct_options(&self) -> PgConnectOptions {
        match &self.0.past_the_pooler {
            Some(direct) => direct.clone(),
            None => (*self.0.pool.connect_options()).clone(),
        }
    }

    /// A pool of one, for a listener that goes on for as long as it hears something. It is not taken
    /// from the others, since a listener that is let go of may hold its dead connection for long.
    pub(in crate::store) fn one_to_listen(&self) -> PgPool {
        pool_options(&self.0.renewal, Some(Purpose::Work))
            .acquire_timeout(Purpose::Work.acquire_timeout())
            .max_connections(1)
            .connect_lazy_with(self.direct_options())
    }

    /// A connection that is alive, for one statement.
    async fn lend(&self) -> Result<Lent, sqlx::Error> {
        let outdated = *self.0.renewal.at.borrow();
        self.0.hand.lend(outdated).await
    }

    /// Takes a connection back from the statement that it was lent for.
    fn take_back<T>(&self, lent: Lent, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        match &answer {
            Ok(_) => lent.answered(),
            Err(error) if is_broken(error) => self.0.hand.let_go(),
            Err(_) => {}
        }
        answer
    }

    async fn rows<'q, E>(self, query: E) -> Result<Vec<Either<PgQueryResult, PgRow>>, sqlx::Error>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        if self.0.past_the_pooler.is_none() {
            let mut lent = self.lend().await?;
            let rows = lent.fetch_many(query).try_collect().await;
            return self.take_back(lent, rows);
        }
        let mut transaction = self.0.pool.begin_with(AssertSqlSafe(self.0.purpose.beginning())).await?;
        let rows = transaction.fetch_many(Unnamed(query)).try_collect().await?;
        transaction.commit().await?;
        Ok(rows)
    }

    async fn row<'q, E>(self, query: E) -> Result<Option<PgRow>, sqlx::Error>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        if self.0.past_the_pooler.is_none() {
            let mut lent = self.lend().await?;
            let row = lent.fetch_optional(query).await;
            return self.take_back(lent, row);
        }
        let mut transaction = self.0.pool.begin_with(AssertSqlSafe(self.0.purpose.beginning())).await?;
        let row = transaction.fetch_optional(Unnamed(query)).await?;
        transaction.commit().await?;
        Ok(row)
    }

    /// Waits until the connections made so far are to be let go of.
    pub(in crate::store) async fn outdated(&self) {
        let mut renewed = self.0.renewal.at.subscribe();
        // The sender lives as long as this value.
        let _renewed = renewed.changed().await;
    }

    /// How many connections nobody uses now.
    pub(in crate::store) fn num_idle(&self) -> usize {
        self.0.hand.idle()
    }

    /// Closes all of them; calls that still wait for one fail.
    pub(in crate::store) async fn close(&self) {
        self.0.hand.close().await;
    }
}

impl Deref for Connections {
    type Target = PgPool;

    fn deref(&self) -> &PgPool {
        &self.0.pool
    }
}

/// Every statement of the store goes through here.
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

/// A statement that leaves nothing behind in its session.
struct Unnamed<E>(E);

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Unnamed<E> {
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

/// What connections are for.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Work,
    Reading,
}

impl Purpose {
    /// Whether a round trip matters. What people read would rather be asked for twice than fail.
    const fn is_pressed_for_time(self) -> bool {
        matches!(self, Self::Work)
    }

    const fn acquire_timeout(self) -> Duration {
        match self {
            Self::Work => ACQUIRE_TIMEOUT,
            Self::Reading => READING_TIMEOUT,
        }
    }

    /// What is set for a session.
    fn settings(self) -> String {
        match self {
            // Plans are kept. One that was made while a table was small must not read the whole of it
            // when it has grown, so where there is an index, it is used.
            Self::Work => format!("set enable_seqscan = off; set statement_timeout = '{STATEMENT_TIMEOUT}'"),
            // A filter is one statement in which what is not asked for is null, so each question wants
            // a plan of its own.
            Self::Reading => format!(
                "set plan_cache_mode = force_custom_plan; set default_transaction_read_only = on; \
                 set statement_timeout = {}",
                READING_TIMEOUT.as_millis()
            ),
        }
    }

    /// The same for a transaction alone, which it begins. No plan is kept there.
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

/// As the server lists us. The driver would also ask for a number of digits that no server still needs
/// to be told and that poolers refuse.
fn as_named(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().application_name("eventbridge").extra_float_digits(None)
}

/// Connections that belong to a session of the server's have settings for it; others none.
fn pool_options(renewal: &Renewal, session: Option<Purpose>) -> PgPoolOptions {
    let renewal = renewal.clone();
    PgPoolOptions::new()
        // Its own test has no bound in time; ours follows.
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
                show_life(connection).await?;
                Ok(true)
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                // One whose statement was given up still has the rest of its answer to read.
                show_life(connection).await?;
                Ok(true)
            })
        })
}

/// Has a connection show that it is alive.
pub(in crate::store) async fn show_life(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    tokio::time::timeout(ALIVE_WITHIN, connection.ping()).await.unwrap_or_else(|_| Err(silence()))
}

/// Whether the connection broke, or the server ended it, before a statement was answered.
pub(in crate::store) fn is_broken(error: &sqlx::Error) -> bool {
    /// An administrator ended the session, or another one's crash did.
    const ENDED: [&str; 2] = ["57P01", "57P02"];
    match error {
        sqlx::Error::Io(error) => error.kind() != io::ErrorKind::TimedOut,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| ENDED.contains(&code.as_ref())),
        _ => false,
    }
}

fn silence() -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the server says nothing").into()
}

/// Remembers when the connections made so far were last found to lead to the wrong server.
#[derive(Debug, Clone, Default)]
struct Renewal {
    at: watch::Sender<Option<Instant>>,
}

impl Renewal {
    /// Whether a connection of this age is to be let go of.
    fn concerns(&self, age: Duration) -> bool {
        self.at.borrow().is_some_and(|at| at.elapsed() <= age)
    }

    /// Waits for a statement, and learns from its error.
    async fn watch<T>(self, asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        let answered = tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| Err(silence()));
        answered.inspect_err(|error| self.learn(error))
    }

    fn learn(&self, error: &sqlx::Error) {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        let code = code.as_deref().unwrap_or_default();
        if SESSION_CHANGED.contains(&code) {
            warn!(%error, "a pooler in transaction mode seems to lie between; set DATABASE_DIRECT_URL");
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
            warn!("the database takes no writes; its connections are made anew, to follow it if it moved");
        }
    }
}
