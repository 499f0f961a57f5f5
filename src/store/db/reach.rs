//! Whether the database can be used at all, asked over connections of their own: a pool reports only that it has
//! waited.

use super::{CONNECT_WITHIN, Db, MigrateError};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Executor, Row};

impl Db {
    /// Fails with the cause if the server cannot be reached, refuses us, or has a pooler in front of it that is not
    /// declared, or that the direct address leads to as well.
    pub async fn reach(&self) -> Result<(), MigrateError> {
        let options = self.pool.direct_options();
        match tokio::time::timeout(CONNECT_WITHIN, self.ask(&options)).await {
            Ok(asked) => asked,
            Err(_elapsed) => Err(MigrateError::silent(&options)),
        }
    }

    async fn ask(&self, options: &PgConnectOptions) -> Result<(), MigrateError> {
        let mut first =
            PgConnection::connect_with(options).await.map_err(|error| MigrateError::of(&error, options))?;
        let is_pooled = shares_a_session(&mut first, options).await;
        // The answer is known, whether or not the connection closes cleanly.
        let _closed = first.close().await;
        if is_pooled { Err(MigrateError::pooler(options, self.pool.is_pooled())) } else { Ok(()) }
    }
}

/// Whether two open connections use one session of the server, as those to a pooler in transaction mode do. An
/// error shows nothing.
async fn shares_a_session(first: &mut PgConnection, options: &PgConnectOptions) -> bool {
    let asked = async {
        let before = session(first).await?;
        let mut second = PgConnection::connect_with(options).await?;
        // The pooler gives a session to a transaction until its end.
        sqlx::raw_sql("begin").execute(&mut second).await?;
        let of_second = session(&mut second).await?;
        let after = session(first).await?;
        sqlx::raw_sql("rollback").execute(&mut second).await?;
        let _closed = second.close().await;
        Ok::<_, sqlx::Error>(before == of_second || before != after)
    };
    asked.await.unwrap_or_default()
}

/// The server's process of this connection. It is not asked with a prepared statement, which a pooler may not
/// know.
async fn session(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let row = connection.fetch_one(sqlx::raw_sql("select pg_backend_pid()")).await?;
    row.try_get(0)
}
