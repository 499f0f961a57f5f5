//! The migrations, built into the program, and how they are applied while the service works.
//!
//! - A migration is one transaction. One that begins with `-- no-transaction` is not: its statements,
//!   which blank lines separate, run one by one. Only such a migration can build an index concurrently. If
//!   it is interrupted, all its statements run again.
//! - A change of a table waits 5 s for its lock, because every later statement queues behind it. It then
//!   gives way, and the caller tries again. A concurrent index build blocks no other statement and waits without limit.
//! - The next version of the program migrates while replicas of this one still run, so a migration may add
//!   tables, columns and indexes, but never removes or renames what this version uses. A schema that a newer
//!   program has migrated further is left as it is, so that the operator can go back to this program.
//! - Migrations are append-only: sqlx compares the checksum of each one that was applied. Its record is the
//!   table `eventbridge.migrations`. Versions before the first release had a schema of their own and kept
//!   the record in `_sqlx_migrations`. No migration leads from there to here, so such a schema is refused.

use sqlx::migrate::{MigrateError, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, SqlSafeStr};
use std::time::{Duration, Instant};

/// A step that brings the schema from one version to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Its number: the version of the schema that it leads to.
    pub version: i64,
    /// Its name, as in the name of its file.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

/// All migrations, the oldest first.
pub(super) const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "schema", sql: include_str!("../../../migrations/0001_schema.sql") }];

/// How a migration that is not a transaction begins.
const NO_TRANSACTION: &str = "-- no-transaction";

/// The record of the migrations that were applied.
const RECORD: &str = "eventbridge.migrations";

/// The lock under which one process at a time applies migrations.
const LOCK: i64 = 0x6576_656e_7462;

/// How long to wait before asking for that lock again.
const LOCK_RETRY: Duration = Duration::from_millis(200);

/// How long to wait for that lock. The caller says that it waits, and tries again.
const LOCK_WITHIN: Duration = Duration::from_secs(10);

/// How long a statement waits for the lock of a table.
const TABLE_LOCK_TIMEOUT: &str = "5s";

/// How a statement begins that blocks no other one, and so may wait without limit.
const CONCURRENT: &[&str] = &["create index concurrently", "drop index concurrently"];

/// Why migrations were not applied.
#[derive(Debug)]
pub(super) enum ApplyError {
    /// The schema is from before the first release. Nothing was changed.
    BeforeRelease,
    /// The database stores text in this encoding, in which some characters do not exist.
    Encoding(String),
    /// This session, if it is known, applies migrations.
    Locked(Option<String>),
    /// Any error that sqlx reports.
    Sqlx(MigrateError),
}

impl From<MigrateError> for ApplyError {
    fn from(error: MigrateError) -> Self {
        match error {
            // A version 1 that is not ours was edited before the release; later ones are never edited.
            MigrateError::VersionMismatch(1) => Self::BeforeRelease,
            other => Self::Sqlx(other),
        }
    }
}

impl From<sqlx::Error> for ApplyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlx(error.into())
    }
}

impl Migration {
    fn is_transaction(&self) -> bool {
        !self.sql.starts_with(NO_TRANSACTION)
    }
}

/// Applies those of the given migrations that are not applied yet. Processes that do so at the same time wait
/// for one another.
pub(super) async fn apply(connection: &mut PgConnection, migrations: &[Migration]) -> Result<(), ApplyError> {
    let encoding = sqlx::query_scalar!(r#"select current_setting('server_encoding') as "encoding!""#)
        .fetch_one(&mut *connection)
        .await?;
    if encoding != "UTF8" {
        return Err(ApplyError::Encoding(encoding));
    }
    lock(connection).await?;
    if is_before_release(connection).await? {
        return Err(ApplyError::BeforeRelease);
    }
    set_lock_timeout(connection, TABLE_LOCK_TIMEOUT).await?;
    let migrator = migrator(migrations);
    for migration in migrations.iter().filter(|migration| !migration.is_transaction()) {
        migrator.run_to(migration.version - 1, &mut *connection).await?;
        if is_applied(connection, migration.version).await? {
            continue;
        }
        for statement in migration.sql.split("\n\n") {
            let is_concurrent = CONCURRENT.iter().any(|beginning| code(statement).starts_with(beginning));
            let timeout = if is_concurrent { "0" } else { TABLE_LOCK_TIMEOUT };
            set_lock_timeout(connection, timeout).await?;
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut *connection).await?;
        }
        // Records that it was applied, without running it again.
        migrator.skip(&mut *connection, Some(migration.version)).await?;
        set_lock_timeout(connection, TABLE_LOCK_TIMEOUT).await?;
    }
    Ok(migrator.run(&mut *connection).await?)
}

/// Whether the database has a schema from before the first release.
pub(super) async fn is_before_release(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select to_regclass('eventbridge._sqlx_migrations') is not null as "found!""#)
        .fetch_one(connection)
        .await
}

/// The version of the newest migration.
pub(super) fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

async fn set_lock_timeout(connection: &mut PgConnection, timeout: &str) -> Result<(), sqlx::Error> {
    let sql = AssertSqlSafe(format!("set lock_timeout = '{timeout}'"));
    sqlx::raw_sql(sql).execute(connection).await.map(|_| ())
}

/// A statement without the comments before it.
fn code(statement: &str) -> String {
    let lines = statement.lines().filter(|line| !line.trim_start().starts_with("--"));
    lines.collect::<Vec<_>>().join("\n").trim_start().to_lowercase()
}

/// Takes the lock, which lasts as long as the connection. It polls: a session that waited within a
/// statement would block a concurrent index build, which waits for every statement that runs.
async fn lock(connection: &mut PgConnection) -> Result<(), ApplyError> {
    let until = Instant::now() + LOCK_WITHIN;
    while !sqlx::query_scalar!(r#"select pg_try_advisory_lock($1) as "locked!""#, LOCK)
        .fetch_one(&mut *connection)
        .await?
    {
        if Instant::now() >= until {
            return Err(ApplyError::Locked(lock_holder(connection).await?));
        }
        tokio::time::sleep(LOCK_RETRY).await;
    }
    Ok(())
}

/// Who holds the lock.
async fn lock_holder(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    let holder = sqlx::query_scalar!(
        r#"
        select format('process %s, application %s', pid, application_name)
          from pg_locks
          join pg_stat_activity using (pid)
         where locktype = 'advisory' and granted and pg_locks.database = pg_stat_activity.datid
           and (classid::bigint << 32) + objid::bigint = $1
         limit 1
        "#,
        LOCK
    )
    .fetch_optional(connection)
    .await?;
    Ok(holder.flatten())
}

async fn is_applied(connection: &mut PgConnection, version: i64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from eventbridge.migrations where version = $1 and success) as "applied!""#,
        version
    )
    .fetch_one(connection)
    .await
}

/// These migrations as sqlx applies and records them.
fn migrator(migrations: &[Migration]) -> Migrator {
    let migrations = migrations.iter().map(|migration| {
        let sql = AssertSqlSafe(migration.sql).into_sql_str();
        sqlx::migrate::Migration::new(
            migration.version,
            migration.name.into(),
            MigrationType::Simple,
            sql,
            false,
        )
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name(RECORD);
    migrator.create_schema("eventbridge");
    migrator.set_ignore_missing(true);
    migrator.set_locking(false);
    migrator
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables that grow with the number of events. Rewriting one, or building an index on it under a lock,
    /// would stop the service.
    const LARGE: &[&str] = &["events", "executions", "attempts", "event_facts", "search_terms"];

    /// Why a migration's statement would block a running service, if it would.
    fn harm(statement: &str) -> Option<&'static str> {
        let code = code(statement);
        let of_large = |words: &str| {
            LARGE.iter().any(|table| {
                code.split(&format!("{words}eventbridge.{table}"))
                    .skip(1)
                    .any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
            })
        };
        let is_index = code.starts_with("create index") || code.starts_with("create unique index");
        if is_index && of_large("on ") && !code.contains("concurrently") {
            return Some("builds an index of a large table with a lock");
        }
        let is_in_parts = code.starts_with("do ") && code.contains(" loop") && code.contains("commit;");
        if !is_in_parts && (of_large("update ") || of_large("delete from ")) {
            return Some("goes through a large table");
        }
        let alters = of_large("alter table ") || of_large("alter table only ");
        let rewrites = [" type ", "set not null", "add primary key", "add unique", "add foreign key"];
        (alters && rewrites.iter().any(|words| code.contains(words)))
            .then_some("rewrites or reads through a large table with a lock")
    }

    #[test]
    fn no_migration_stops_the_service() {
        // The first one creates the tables.
        for migration in MIGRATIONS.iter().skip(1) {
            let separator = if migration.is_transaction() { ";" } else { "\n\n" };
            for statement in migration.sql.split(separator) {
                assert_eq!(harm(statement), None, "{migration:?}: {statement}");
            }
        }
        for (statement, is_harmful) in [
            ("-- a\ncreate index x on eventbridge.events (id)", true),
            ("create index concurrently x on eventbridge.events (id)", false),
            ("create index x on eventbridge.failure_groups (id)", false),
            ("alter table eventbridge.executions alter column lane type varchar", true),
            ("alter table eventbridge.executions add column x text", false),
            ("update eventbridge.executions set lane = null", true),
            (
                "do $$ begin loop update eventbridge.executions set lane = null; commit; end loop; end $$",
                false,
            ),
            ("do $$ begin loop update eventbridge.executions set lane = null; end loop; end $$", true),
        ] {
            assert_eq!(harm(statement).is_some(), is_harmful, "{statement}");
        }
    }

    #[test]
    fn every_file_of_the_folder_is_a_migration_here() {
        let folder =
            std::fs::read_dir(concat!(env!("EVENTBRIDGE_CHECKOUT"), "/migrations")).expect("the folder");
        let mut files: Vec<_> =
            folder.map(|file| file.expect("a file").file_name().into_string().expect("a name")).collect();
        files.sort();
        let named: Vec<_> = MIGRATIONS
            .iter()
            .map(|Migration { version, name, .. }| format!("{version:04}_{}.sql", name.replace(' ', "_")))
            .collect();
        assert_eq!(files, named);
    }
}
