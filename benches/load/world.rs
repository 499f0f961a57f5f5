//! The environment of the service: a private Postgres whose data survive a crash, and databases in it.

use crate::Options;
use crate::figures::folder;
use crate::program::Launch;
use anyhow::Context;
use eventbridge::store::Store;
use private_postgres::{DataLifetime, PrivatePostgres};
use secrecy::SecretString;
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgPool, PgPoolOptions};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The webhook secret of all measured processes.
pub const SECRET: &str = "whsec_of_the_bench";

const BINARY: &str = env!("CARGO_BIN_EXE_eventbridge");

/// A migrated database without rows, from which others are copied.
const TEMPLATE: &str = "bench_template";

/// Everything shared by all scenarios.
pub struct World {
    /// The options of the run.
    pub options: Options,
    postgres: PrivatePostgres,
    admin: PgPool,
    has_statement_statistics: bool,
    logs: PathBuf,
}

/// A database of a scenario.
pub struct Database {
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Connections of the benchmark's own.
    pub pool: PgPool,
}

/// What the statements of a database have cost since they were first collected.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct StatementStatistics {
    /// The number of statements.
    pub calls: f64,
    /// Their execution time in milliseconds.
    pub ms: f64,
    /// How many of them claimed executions: those that insert leases.
    pub claims: f64,
    /// The execution time of these, in milliseconds.
    pub claims_ms: f64,
}

impl StatementStatistics {
    /// The mean time of a claim since an earlier moment, in milliseconds; `None` without a claim.
    pub fn claim_ms_since(self, earlier: Self) -> Option<f64> {
        mean(self.claims_ms - earlier.claims_ms, self.claims - earlier.claims)
    }

    /// The mean time of a statement since an earlier moment, in milliseconds; `None` without one.
    pub fn statement_ms_since(self, earlier: Self) -> Option<f64> {
        mean(self.ms - earlier.ms, self.calls - earlier.calls)
    }
}

fn mean(total: f64, calls: f64) -> Option<f64> {
    (calls > 0.0).then(|| total / calls)
}

impl World {
    /// Starts the database server.
    pub async fn start(options: &Options) -> anyhow::Result<Self> {
        let logs = folder().join("logs");
        fs::create_dir_all(&logs)?;
        let mut postgres = start_postgres().await?;
        let reads_statistics =
            options.scenarios().iter().any(|scenario| scenario.reads_statement_statistics());
        let has_statement_statistics = reads_statistics && {
            let is_restart_due = request_statement_statistics(postgres.url()).await?;
            if is_restart_due == Some(true) {
                tokio::task::spawn_blocking(move || postgres.stop()).await??;
                postgres = start_postgres().await?;
            }
            is_restart_due.is_some()
        };
        let admin = pool(postgres.url())?;
        let world = Self { options: options.clone(), postgres, admin, has_statement_statistics, logs };
        if has_statement_statistics {
            // They cost something, so the server collects them only where they are read.
            world.admin_query("create extension if not exists pg_stat_statements").await?;
            world.admin_query("alter system set pg_stat_statements.track = 'none'").await?;
            world.admin_query("select pg_reload_conf()").await?;
        }
        world.make_template().await?;
        Ok(world)
    }

    /// Collects the statistics of a database's statements from now on, for new connections.
    pub async fn collect_statement_statistics(&self, database: &Database) -> anyhow::Result<()> {
        if !self.has_statement_statistics {
            return Ok(());
        }
        self.admin_query(&format!("alter database {} set pg_stat_statements.track = 'top'", database.name))
            .await
    }

    /// Collects them no longer.
    pub async fn ignore_statement_statistics(&self, database: &Database) -> anyhow::Result<()> {
        self.admin_query(&format!("alter database {} reset all", database.name)).await
    }

    /// What the statements of a database have cost so far; `None` if the server cannot collect that.
    pub async fn statement_statistics(
        &self,
        database: &Database,
    ) -> anyhow::Result<Option<StatementStatistics>> {
        if !self.has_statement_statistics {
            return Ok(None);
        }
        let found = sqlx::query_as(
            "select coalesce(sum(calls), 0)::float8 as calls,
                    coalesce(sum(total_exec_time), 0)::float8 as ms,
                    coalesce(sum(calls) filter (where is_claim), 0)::float8 as claims,
                    coalesce(sum(total_exec_time) filter (where is_claim), 0)::float8 as claims_ms
               from pg_stat_statements
              cross join lateral (select query ilike '%insert into eventbridge.leases%' as is_claim) as kind
              where dbid = (select oid from pg_database where datname = $1)",
        )
        .bind(&database.name)
        .fetch_one(&self.admin)
        .await
        .context("the statistics of statements")?;
        Ok(Some(found))
    }

    async fn make_template(&self) -> anyhow::Result<()> {
        self.drop_database(TEMPLATE).await?;
        self.admin_query(&format!("create database {TEMPLATE}")).await?;
        let url = SecretString::from(self.postgres.url_of(TEMPLATE));
        let store = Store::connect_lazily(&url, 4)?;
        store.db.migrate().await?;
        store.db.close().await;
        Ok(())
    }

    /// A database without rows.
    pub async fn database(&self, name: &str) -> anyhow::Result<Database> {
        self.drop_database(name).await?;
        self.admin_query(&format!("create database {name} template {TEMPLATE}")).await?;
        self.open(name)
    }

    /// An existing database.
    pub fn open(&self, name: &str) -> anyhow::Result<Database> {
        let url = self.postgres.url_of(name);
        Ok(Database { name: name.to_owned(), pool: pool(&url)?, url })
    }

    /// Whether a database exists.
    pub async fn has(&self, name: &str) -> anyhow::Result<bool> {
        let found = sqlx::query_scalar("select exists (select from pg_database where datname = $1)");
        Ok(found.bind(name).fetch_one(&self.admin).await?)
    }

    /// Removes a database that is no longer needed.
    pub async fn finish(&self, database: Database) -> anyhow::Result<()> {
        database.pool.close().await;
        self.drop_database(&database.name).await
    }

    /// Flushes the server's pending writes to disk, so that each load starts in the same state. Before
    /// that it fills the log once: a server that has run for a while reuses old log files, and a new one
    /// has to create them, 16 MiB at a time, while all commits wait.
    pub async fn settle(&self) -> anyhow::Result<()> {
        self.admin_query(
            "select pg_logical_emit_message(false, 'bench', repeat('x', 1000000)) from generate_series(1, 700)",
        )
        .await?;
        self.admin_query("checkpoint").await
    }

    async fn drop_database(&self, name: &str) -> anyhow::Result<()> {
        self.admin_query(&format!("drop database if exists {name} with (force)")).await
    }

    async fn admin_query(&self, statement: &str) -> anyhow::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&self.admin).await?;
        Ok(())
    }

    /// The version of the server.
    pub async fn postgres_version(&self) -> anyhow::Result<String> {
        Ok(sqlx::query_scalar("show server_version").fetch_one(&self.admin).await?)
    }

    /// The program as it is usually run: `eventbridge serve`.
    pub fn service(&self, database: &Database) -> Launch {
        let settings = [
            ("DATABASE_URL", database.url.as_str()),
            ("STRIPE_WEBHOOK_SECRET", SECRET),
            ("AUTH", "off"),
            ("LOG_LEVEL", "info"),
            ("NOTION_API_KEY", notion_sandbox::TOKEN),
            ("NOTION_DATABASE_ID", &notion_sandbox::DATABASE_ID.to_string()),
            // No process listens there; scenarios that create pages set their own address.
            ("NOTION_API_URL", "http://127.0.0.1:1"),
            ("NOTION_RATE_PER_MINUTE", "0"),
        ]
        .map(|(name, text)| (name.to_owned(), text.to_owned()));
        Launch {
            executable: PathBuf::from(BINARY),
            arguments: vec!["serve".to_owned()],
            settings: settings.to_vec(),
            log: self.logs.join(format!("{}.log", database.name)),
        }
    }

    /// A part that this program runs in a process of its own.
    pub fn part(&self, part: &str, database: Option<&Database>) -> anyhow::Result<Launch> {
        let mut launch = Launch {
            executable: std::env::current_exe().context("the path of this program")?,
            arguments: vec!["play".to_owned(), part.to_owned()],
            settings: Vec::new(),
            log: self.logs.join(format!("{part}.log")),
        };
        if let Some(database) = database {
            launch.settings = self.service(database).settings;
        }
        Ok(launch)
    }

    /// Stops the server, and removes its data unless they are kept.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.admin.close().await;
        let home = self.postgres.data_dir().parent().map(Path::to_owned);
        let postgres = self.postgres;
        tokio::task::spawn_blocking(move || postgres.stop()).await??;
        if let Some(home) = home.filter(|_| !self.options.keep) {
            fs::remove_dir_all(&home).with_context(|| format!("removing {}", home.display()))?;
        }
        Ok(())
    }
}

impl Database {
    /// How many rows a table has.
    pub async fn count(&self, table: &str) -> anyhow::Result<u64> {
        let query = format!("select count(*) from eventbridge.{table}");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&self.pool).await?;
        Ok(u64::try_from(count)?)
    }

    /// Pauses the destination, so that incoming events wait.
    pub async fn pause(&self, destination: &str) -> anyhow::Result<()> {
        sqlx::query(
            "insert into eventbridge.destinations (name, paused_since, paused_class, paused_reason, paused_remedy)
             values ($1, now(), 'manual', 'nothing is to be delivered', 'end the benchmark')",
        )
        .bind(destination)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Waits until no delivery is left.
    pub async fn drained(&self, within: Duration) -> anyhow::Result<()> {
        let drained = async {
            loop {
                let is_busy: bool = sqlx::query_scalar(
                    "select exists (select from eventbridge.queue)
                         or exists (select from eventbridge.leases)",
                )
                .fetch_one(&self.pool)
                .await?;
                if !is_busy {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(within, drained).await.context("the queue does not drain")?
    }
}

/// Starts the server, with the data of the last run if they were kept.
async fn start_postgres() -> anyhow::Result<PrivatePostgres> {
    let lifetime = DataLifetime::Persistent { checkout: folder() };
    let start = || PrivatePostgres::start(Path::new(BINARY), lifetime);
    Ok(tokio::task::spawn_blocking(start).await??)
}

/// Makes the server load `pg_stat_statements`. Returns whether it must be restarted for that; `None` if the
/// extension is not installed.
async fn request_statement_statistics(url: &str) -> anyhow::Result<Option<bool>> {
    const INSTALLED: &str =
        "select exists (select from pg_available_extensions where name = 'pg_stat_statements')";
    let admin = pool(url)?;
    if !sqlx::query_scalar(INSTALLED).fetch_one(&admin).await? {
        eprintln!("pg_stat_statements is not installed, so the time of a claim is not measured");
        return Ok(None);
    }
    let loaded: String = sqlx::query_scalar("show shared_preload_libraries").fetch_one(&admin).await?;
    let is_restart_due = !loaded.contains("pg_stat_statements");
    if is_restart_due {
        sqlx::raw_sql("alter system set shared_preload_libraries = 'pg_stat_statements'")
            .execute(&admin)
            .await?;
    }
    admin.close().await;
    Ok(Some(is_restart_due))
}

fn pool(url: &str) -> anyhow::Result<PgPool> {
    Ok(PgPoolOptions::new().max_connections(2).connect_lazy(url)?)
}
