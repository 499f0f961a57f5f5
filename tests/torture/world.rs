//! The test environment: two replicas, a Postgres and a Notion sandbox, started and stopped from here.
//! Dropping it stops all of them.

use crate::{Mode, Options, Sabotage};
use anyhow::{Context, bail};
use eventbridge::store::Store;
use notion_sandbox::{RunningSandbox, Sandbox, SandboxOptions, Template};
use private_postgres::{DataLifetime, PrivatePostgres};
use secrecy::SecretString;
use sqlx::postgres::{PgPool, PgPoolOptions};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// The webhook secret of both replicas.
pub const SECRET: &str = "whsec_of_the_torture";

/// The time that the service waits before it writes again. It is longer than the latest write of the
/// sandbox plus the longest lag of its queries.
const SETTLE: Duration = Duration::from_secs(7);

/// The same for a busy machine, where a late write may be even later.
const SETTLE_PATIENT: Duration = Duration::from_secs(12);

/// The longest delay of a write in the sandbox.
pub const LATE_MS_MAX: u64 = 3000;

/// Requests per minute: the service's own limit, and Notion's.
const RATE_KEPT: u32 = 170;
const RATE_LIMIT: u32 = 180;

/// How long a replica may take to exit after SIGTERM: its grace, its final tasks, and a loaded machine.
pub const END_MAX: Duration = Duration::from_secs(20);

const BINARY: &str = env!("CARGO_BIN_EXE_eventbridge");

/// Everything that runs.
pub struct World {
    /// The options of the run.
    pub options: Options,
    /// The two replicas.
    pub replicas: [Arc<Replica>; 2],
    /// The sandbox in place of Notion.
    pub sandbox: RunningSandbox,
    /// The test's own connections.
    pub database: PgPool,
    postgres: PrivatePostgres,
    logs: PathBuf,
    /// Deletes the logs at the end, unless they are kept.
    _folder: TempDir,
}

impl World {
    /// Starts everything.
    pub async fn start(options: &Options) -> anyhow::Result<Arc<Self>> {
        let supervisor = Path::new(BINARY);
        let postgres =
            tokio::task::spawn_blocking(|| PrivatePostgres::start(supervisor, DataLifetime::Temporary))
                .await??;
        let database = prepare(postgres.url(), options).await?;
        let template = match options.mode {
            Mode::Event => Template::Original,
            Mode::Object => Template::Full,
        };
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let sandbox_options = SandboxOptions {
            template,
            rate_per_minute: options.limited.then_some(RATE_LIMIT),
            seed: options.seed,
            pages_max: 1_000_000,
            ..SandboxOptions::default()
        };
        let sandbox = Sandbox::start(address, sandbox_options).await?;
        let mut folder = tempfile::Builder::new().prefix("eventbridge-torture-").tempdir()?;
        folder.disable_cleanup(options.keep_logs);
        let logs = folder.path().to_owned();
        let mut settings = vec![
            ("STRIPE_WEBHOOK_SECRET", SECRET.to_owned()),
            ("AUTH", "off".to_owned()),
            ("LOG_LEVEL", "info".to_owned()),
            ("SHUTDOWN_GRACE_SECONDS", "5".to_owned()),
            ("RETRY_BASE_SECONDS", "1".to_owned()),
            ("RETRY_CAP_SECONDS", "5".to_owned()),
            ("RETRY_ATTEMPTS_MAX", "1000".to_owned()),
            // Long pauses are not tested: an instance must not stay paused for long.
            ("PROBE_SECONDS", "2".to_owned()),
            ("NOTION_API_URL", sandbox.base_url().to_owned()),
            ("NOTION_API_KEY", notion_sandbox::TOKEN.to_owned()),
            ("NOTION_DATABASE_ID", notion_sandbox::DATABASE_ID.to_string()),
            ("NOTION_SETTLE_SECONDS", settle(options).as_secs().to_string()),
            ("NOTION_RATE_PER_MINUTE", if options.limited { RATE_KEPT } else { 0 }.to_string()),
        ];
        if options.mode == Mode::Object {
            settings.push(("NOTION_MODE", "object".to_owned()));
        }
        let replica = |name| {
            let (address, claim) = free_address()?;
            let log = logs.join(format!("replica-{name}.log"));
            let database = postgres.url().to_owned();
            anyhow::Ok(Arc::new(Replica {
                name,
                address,
                log,
                database,
                settings: settings.clone(),
                folder: logs.clone(),
                _claim: claim,
                process: Arc::default(),
                works_since: StdMutex::default(),
            }))
        };
        let replicas = [replica("a")?, replica("b")?];
        for replica in &replicas {
            replica.start(&mut *replica.process.lock().await)?;
        }
        let options = options.clone();
        Ok(Arc::new(Self { options, replicas, sandbox, database, postgres, logs, _folder: folder }))
    }

    /// Kills the postmaster; its supervisor starts another one.
    pub async fn kill_postgres(&self) -> anyhow::Result<()> {
        let path = self.postgres.data_dir().join("postmaster.pid");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
        signal("KILL", pid.context("postmaster.pid names no process")?).await
    }

    /// Whether any replica has been working for this long.
    pub fn some_replica_works_since(&self, at_least: Duration) -> bool {
        self.replicas.iter().any(|replica| replica.works_for().is_some_and(|time| time >= at_least))
    }

    /// Whether all replicas have been working for this long.
    pub fn all_replicas_work_since(&self, at_least: Duration) -> bool {
        self.replicas.iter().all(|replica| replica.works_for().is_some_and(|time| time >= at_least))
    }

    /// The lines of the replicas' logs that contain all of these words.
    pub fn logged(&self, word: &str, lines_max: usize) -> Vec<String> {
        let lines = self.replicas.iter().flat_map(|replica| replica.logged(word));
        lines.take(lines_max).collect()
    }

    /// The folder of the logs, if they are kept.
    pub fn kept_logs(&self) -> Option<&Path> {
        self.options.keep_logs.then_some(self.logs.as_path())
    }
}

/// How long the service waits in this run before it writes again.
pub fn settle(options: &Options) -> Duration {
    if options.patient { SETTLE_PATIENT } else { SETTLE }
}

/// Migrates the database, creates the test's record of leases and removes the guard under test.
async fn prepare(url: &str, options: &Options) -> anyhow::Result<PgPool> {
    let database = PgPoolOptions::new()
        .max_connections(6)
        .acquire_timeout(Duration::from_secs(1))
        .connect_lazy(url)
        .context("the private server's address")?;
    let store = Store::connect_lazily(&SecretString::from(url), 1)?;
    store.db.migrate().await?;
    store.db.close().await;
    // A throw-away server does not wait for its log; the service's promises rely on one that does. A
    // setting of the role overrides the server's arguments.
    if options.sabotage == Some(Sabotage::Commit) {
        // Commits wait for long, so that any crash of the server loses some.
        sqlx::raw_sql("alter system set wal_writer_delay = '10s'").execute(&database).await?;
        sqlx::raw_sql("select pg_reload_conf()").execute(&database).await?;
    } else {
        sqlx::raw_sql("alter role eventbridge set synchronous_commit = on").execute(&database).await?;
    }
    sqlx::raw_sql(include_str!("audit.sql")).execute(&database).await?;
    let hole = match options.sabotage {
        Some(Sabotage::Fence) => {
            "create function torture.same_fence() returns trigger language plpgsql as
                 $$ begin new.fence := 1; return new; end $$;
             create trigger torture_same_fence before insert on eventbridge.leases
                 for each row execute function torture.same_fence();
             alter table eventbridge.attempts drop constraint attempts_pkey;"
        }
        Some(Sabotage::Lane) => {
            "create function torture.forget_run() returns trigger language plpgsql as
                 $$ begin
                     if random() < 0.2 then new.fence := 0; end if;
                     return new;
                 end $$;
             create trigger torture_forget_run before insert on eventbridge.lane_runs
                 for each row execute function torture.forget_run();"
        }
        Some(Sabotage::Look | Sabotage::Commit) | None => "",
    };
    sqlx::raw_sql(hole).execute(&database).await?;
    Ok(database)
}

/// A port that stays free while its replica is dead: no outgoing connection gets it by chance, and
/// another torture run on this machine finds the same UDP port in use.
fn free_address() -> anyhow::Result<(SocketAddr, UdpSocket)> {
    for _ in 0..100 {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), rand::random_range(20_000..30_000));
        if let (Ok(claim), Ok(_)) = (UdpSocket::bind(address), TcpListener::bind(address)) {
            return Ok((address, claim));
        }
    }
    bail!("no free port between 20000 and 30000")
}

/// A slot in which `eventbridge serve` runs repeatedly.
pub struct Replica {
    /// `a` or `b`.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// The process that runs there. The holder of the lock controls it.
    pub process: Arc<Mutex<Process>>,
    log: PathBuf,
    database: String,
    settings: Vec<(&'static str, String)>,
    folder: PathBuf,
    /// Reserves its port.
    _claim: UdpSocket,
    works_since: StdMutex<Option<Instant>>,
}

/// A process of a replica.
#[derive(Default)]
pub struct Process {
    /// The process.
    pub child: Option<Child>,
    /// Its name in the test's record of leases.
    pub label: String,
    /// Whether it has been seen to listen.
    pub listens: bool,
    starts: u32,
}

impl Replica {
    /// The webhook URL.
    pub fn webhook(&self) -> String {
        format!("http://{}/api/v1/webhooks/stripe", self.address)
    }

    /// Starts another process in this slot.
    pub fn start(&self, process: &mut Process) -> anyhow::Result<()> {
        process.starts += 1;
        process.label = format!("{}{}", self.name, process.starts);
        process.listens = false;
        let log = File::options().append(true).create(true).open(&self.log)?;
        let child = Command::new(BINARY)
            .arg("serve")
            .env_clear()
            .envs(self.settings.iter().map(|(name, text)| (name, text)))
            .env("LISTEN_ADDR", self.address.to_string())
            .env(
                "DATABASE_URL",
                format!("{}&options=-c%20torture.process%3D{}", self.database, process.label),
            )
            // A folder without a .env file.
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        process.child = Some(child);
        Ok(())
    }

    /// The lines of its log that contain this word.
    pub fn logged(&self, word: &str) -> Vec<String> {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let found = text.lines().filter(|line| line.contains(word));
        found.map(|line| format!("log {}: {line}", self.name)).collect()
    }

    /// How long it has been working without a gap.
    fn works_for(&self) -> Option<Duration> {
        self.works_since.lock().unwrap_or_else(PoisonError::into_inner).map(|since| since.elapsed())
    }

    /// Sets whether it can work.
    pub fn set_works(&self, works: bool) {
        *self.works_since.lock().unwrap_or_else(PoisonError::into_inner) = works.then(Instant::now);
    }
}

impl Process {
    /// Its id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// kill -9, and waits for it.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        match self.child.take() {
            Some(mut child) => Ok(child.kill().await?),
            None => Ok(()),
        }
    }

    /// Sends a signal.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        signal(name, self.id().context("the replica is not running")?).await
    }

    /// SIGTERM, and waits; `None` if it does not exit in time, and is killed.
    pub async fn terminate(&mut self, within: Duration) -> anyhow::Result<Option<ExitStatus>> {
        self.signal("TERM").await?;
        let Some(mut child) = self.child.take() else { return Ok(None) };
        if let Ok(status) = tokio::time::timeout(within, child.wait()).await {
            return Ok(Some(status?));
        }
        child.kill().await?;
        Ok(None)
    }
}

async fn signal(name: &str, pid: u32) -> anyhow::Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().await?;
    if !status.success() {
        bail!("kill -{name} {pid} was refused");
    }
    Ok(())
}
