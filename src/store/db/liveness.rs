//! Whether a connection is alive.

use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::io;
use std::time::Duration;

/// The longest that a connection may take to show that it is alive.
pub(super) const ALIVE_WITHIN: Duration = Duration::from_secs(2);

/// Pings a connection.
pub(in crate::store) async fn check_alive(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    tokio::time::timeout(ALIVE_WITHIN, connection.ping()).await.unwrap_or_else(|_| Err(no_answer()))
}

/// Whether the connection broke, or the server ended it, before a statement was answered.
pub(super) fn is_broken(error: &sqlx::Error) -> bool {
    /// An administrator or another session's crash ended the session.
    const ENDED: [&str; 2] = ["57P01", "57P02"];
    match error {
        sqlx::Error::Io(error) => error.kind() != io::ErrorKind::TimedOut,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| ENDED.contains(&code.as_ref())),
        _ => false,
    }
}

/// The error if the server does not answer in time.
pub(super) fn no_answer() -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the server does not answer").into()
}
