//! Sessions of the dashboard that ended before they expired: their users logged out.
//!
//! A session is a signed cookie, so it needs no row while it is valid. A row ends it at every replica, and is
//! removed some time after the session would have expired.

use super::RevokedSessions;
use crate::store::db::StoreError;
use chrono::{DateTime, Utc};

impl RevokedSessions {
    /// Ends a session. Also removes the rows of sessions that have expired.
    pub async fn revoke(&self, session: &str, expires_at: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            with expired as (
                -- The clocks of the service and the database may differ.
                delete from eventbridge.revoked_sessions
                 where expires_at < now() - interval '1 day' and session <> $1
            )
            insert into eventbridge.revoked_sessions (session, expires_at) values ($1, $2) on conflict do nothing
            "#,
            session,
            expires_at
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Whether a session was ended.
    pub async fn is_revoked(&self, session: &str) -> Result<bool, StoreError> {
        let is_revoked = sqlx::query_scalar!(
            r#"
            select exists (select from eventbridge.revoked_sessions where session = $1) as "is_revoked!"
            "#,
            session
        )
        .fetch_one(&self.reading)
        .await?;
        Ok(is_revoked)
    }
}
