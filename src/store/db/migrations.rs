//! The migrations, built into the program, and how they are applied to a service that works.
//!
//! Most are a transaction each. Indexes of large tables are built beside the work that goes on, which
//! no transaction can do: such a migration is broken off anywhere without harm, and run again whole.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, SqlSafeStr};
use std::time::{Duration, Instant};
use tracing::warn;

/// Each by its number and name, as its file is called in `migrations/`.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "events and executions", include_str!("../../../migrations/0001_events_and_executions.sql")),
    (2, "indexes of the queue", include_str!("../../../migrations/0002_indexes_of_the_queue.sql")),
    (3, "places retries and trials", include_str!("../../../migrations/0003_places_retries_and_trials.sql")),
    (4, "reading and search", include_str!("../../../migrations/0004_reading_and_search.sql")),
    (5, "statistics and rejections", include_str!("../../../migrations/0005_statistics_and_rejections.sql")),
    (6, "audit", include_str!("../../../migrations/0006_audit.sql")),
    (7, "alerts", include_str!("../../../migrations/0007_alerts.sql")),
    (8, "retention", include_str!("../../../migrations/0008_retention.sql")),
    (9, "work of many", include_str!("../../../migrations/0009_work_of_many.sql")),
    (12, "acts of many", include_str!("../../../migrations/0012_acts_of_many.sql")),
    (14, "what people read", include_str!("../../../migrations/0014_what_people_read.sql")),
    (18, "heads of lanes", include_str!("../../../migrations/0018_heads_of_lanes.sql")),
    (19, "failed without a group", include_str!("../../../migrations/0019_failed_without_a_group.sql")),
];

/// Those that are no transaction: their statements, which blank lines part, are run one by one.
const BESIDE_THE_WORK: &[i64] = &[2, 4, 9, 12, 18, 19];

/// Names the lock under which one process at a time applies migrations.
const LOCK: i64 = 0x6576_656e_7462;

/// How long to wait before asking for the lock again.
const LOCKED: Duration = Duration::from_millis(200);

/// How often it is told that the lock is waited for.
const SAY_SO_EVERY: Duration = Duration::from_secs(10);

/// How long a change of a table waits for those who use it. All who come later wait behind it, so it
/// lets them go first and is tried again.
const LOCK_TIMEOUT: &str = "5s";

/// What is built beside the work keeps nobody waiting, and may wait itself for as long as others take.
const BESIDE: &[&str] = &["create index concurrently", "drop index concurrently"];

/// Applies what has not been applied, up to the migration of this number; processes that do so at once
/// go one after the other.
pub(super) async fn apply(
    connection: &mut PgConnection,
    last: i64,
) -> Result<(), sqlx::migrate::MigrateError> {
    lock(connection).await?;
    wait_for_locks(connection, LOCK_TIMEOUT).await?;
    let migrator = migrator();
    for version in BESIDE_THE_WORK.iter().filter(|version| **version <= last) {
        migrator.run_to(version - 1, &mut *connection).await?;
        if is_applied(connection, *version).await? {
            continue;
        }
        let sql = MIGRATIONS.iter().filter(|(number, ..)| number == version).map(|(.., sql)| *sql);
        for statement in sql.flat_map(|sql| sql.split("\n\n")) {
            let is_beside = BESIDE.iter().any(|beginning| code(statement).starts_with(beginning));
            wait_for_locks(connection, if is_beside { "0" } else { LOCK_TIMEOUT }).await?;
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut *connection).await?;
        }
        // What was done is written down, and not done once more.
        migrator.skip(&mut *connection, Some(*version)).await?;
    }
    wait_for_locks(connection, LOCK_TIMEOUT).await?;
    migrator.run_to(last, &mut *connection).await
}

async fn wait_for_locks(connection: &mut PgConnection, at_most: &str) -> Result<(), sqlx::Error> {
    let sql = AssertSqlSafe(format!("set lock_timeout = '{at_most}'"));
    sqlx::raw_sql(sql).execute(connection).await.map(|_| ())
}

/// A statement without the comments before it.
fn code(statement: &str) -> String {
    let lines = statement.lines().filter(|line| !line.trim_start().starts_with("--"));
    lines.collect::<Vec<_>>().join("\n").trim_start().to_lowercase()
}

/// Takes the lock, which lasts as long as the connection. It is asked for again and again: whoever
/// waited for it within a statement would keep an index from being built, which waits for all statements.
async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut said_at: Option<Instant> = None;
    while !sqlx::query_scalar!(r#"select pg_try_advisory_lock($1) as "locked!""#, LOCK)
        .fetch_one(&mut *connection)
        .await?
    {
        if said_at.is_none_or(|at| at.elapsed() >= SAY_SO_EVERY) {
            said_at = Some(Instant::now());
            warn!("another session applies migrations, or keeps their lock; waiting for it");
        }
        tokio::time::sleep(LOCKED).await;
    }
    Ok(())
}

async fn is_applied(connection: &mut PgConnection, version: i64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from eventbridge._sqlx_migrations where version = $1 and success) as "applied!""#,
        version
    )
    .fetch_one(connection)
    .await
}

/// Every migration, as sqlx keeps its record of them in our own schema.
pub(super) fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().map(|(version, description, sql)| {
        Migration::new(*version, (*description).into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name("eventbridge._sqlx_migrations");
    migrator.create_schema("eventbridge");
    migrator.set_ignore_missing(true);
    migrator.set_locking(false);
    migrator
}

/// The numbers of all migrations, the oldest first.
pub(super) fn versions() -> impl Iterator<Item = i64> {
    MIGRATIONS.iter().map(|(version, ..)| *version)
}

/// The number of the newest migration.
pub(super) fn newest() -> i64 {
    versions().max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables that grow with what comes in: rewriting one, or building an index on it with a lock, would
    /// stop the service.
    const LARGE: &[&str] = &["events", "executions", "attempts", "event_facts", "search_terms"];

    /// What would stop the service that works, in a statement of a migration.
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
        // The first one makes the tables.
        for (version, name, sql) in MIGRATIONS.iter().skip(1) {
            let parting = if BESIDE_THE_WORK.contains(version) { "\n\n" } else { ";" };
            for statement in sql.split(parting) {
                assert_eq!(harm(statement), None, "migration {version}, {name}: {statement}");
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
            .map(|(version, description, _)| format!("{version:04}_{}.sql", description.replace(' ', "_")))
            .collect();
        assert_eq!(files, named);
    }
}
