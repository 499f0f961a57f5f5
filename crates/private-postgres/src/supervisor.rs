//! The supervisor: a process that starts a private server and stops it when its owner ends.
//!
//! The owner holds a pipe to the supervisor's standard input and never writes to it. The kernel closes
//! the pipe however the owner ends, and that is the signal to stop. The supervisor prints one line of
//! JSON, a `Report`, to its standard output. It restarts a server that exits unexpectedly. When it
//! exits, it has removed the server's process, its socket, and temporary data.

use super::access;
use super::account::Invoker;
use super::binaries::Binaries;
use super::cluster::{self, Cluster};
use super::error::PostgresError;
use super::home::Home;
use super::postmaster::{self, StopMode};
use super::run_dir::{self, RunDir};
use super::server::Server;
use super::tools::Tools;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

const INITIALISE_GRACE: Duration = Duration::from_secs(20);
/// After this time a server counts as started, and earlier failures are forgotten.
const STEADY_AFTER: Duration = Duration::from_mins(1);
const RESTARTS_MAX: u32 = 10;
const RESTART_PAUSE_FIRST: Duration = Duration::from_millis(100);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);

/// The arguments of the hidden subcommand.
#[derive(Debug, clap::Args)]
pub struct SupervisorArgs {
    /// Keep the data, for the checkout at this path; otherwise delete them at the end.
    #[arg(long, value_name = "CHECKOUT")]
    keep_for: Option<PathBuf>,
}

/// What the supervisor reports to its owner.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// The server accepts connections.
    Ready(Ready),
    /// The server could not be started; the text names the cause and a remedy.
    Error(String),
}

/// The directories of the server.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ready {
    pub(super) socket_dir: PathBuf,
    pub(super) data_dir: PathBuf,
}

/// Runs a server until standard input closes or a signal arrives. It creates its own runtime, so it
/// must not be called within another one.
pub fn run(args: &SupervisorArgs) -> ExitCode {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    match runtime.block_on(supervise(args.keep_for.as_deref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

async fn supervise(keep_for: Option<&Path>) -> Result<(), PostgresError> {
    let stop = stop_requested().map_err(PostgresError::Signals)?;
    let site = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        site = Site::prepare(keep_for) => site?,
    };
    let cluster = &site.cluster;
    let mut initialise = pin!(cluster.initialise());
    tokio::select! {
        biased;
        () = stop.cancelled() => {
            // Programs that are killed here would leave shared memory behind; they need seconds to finish.
            let _ = timeout(INITIALISE_GRACE, initialise).await;
            return Ok(());
        }
        done = &mut initialise => done?,
    }
    let mut server = Server::spawn(cluster)?;
    let outcome = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        outcome = serve(cluster, &mut server) => outcome,
    };
    server.stop().await;
    outcome
}

/// Keeps the server running. It returns only if the server keeps exiting.
async fn serve<'a>(cluster: &'a Cluster, server: &mut Server<'a>) -> Result<(), PostgresError> {
    server.ready().await?;
    report(&Report::Ready(Ready { socket_dir: cluster.socket_dir.clone(), data_dir: cluster.data() }));
    let mut failures = 0;
    let mut started_at = Instant::now();
    loop {
        let how = server.exited().await;
        failures = if started_at.elapsed() >= STEADY_AFTER { 1 } else { failures + 1 };
        if failures > RESTARTS_MAX {
            return Err(PostgresError::KeepsEnding { times: failures, log: cluster.log() });
        }
        cluster.note(&format!("Postgres exited ({how}); starting it again"));
        sleep(restart_pause(failures)).await;
        started_at = Instant::now();
        *server = Server::spawn(cluster)?;
        if let Err(error) = server.ready().await {
            cluster.note(&error.to_string());
        }
    }
}

fn restart_pause(failures: u32) -> Duration {
    RESTART_PAUSE_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(RESTART_PAUSE_MAX)
}

/// A cluster, and what must outlive its server. Fields drop in this order.
struct Site {
    cluster: Cluster,
    _run_dir: RunDir,
    _home: Option<Home>,
}

impl Site {
    /// Finds or creates the directories, and stops a server that an earlier run left.
    async fn prepare(keep_for: Option<&Path>) -> Result<Self, PostgresError> {
        let invoker = Invoker::detect()?;
        let home = match keep_for {
            Some(checkout) => Some(Home::of(checkout, &invoker).await?),
            None => None,
        };
        let run_dir = RunDir::create()?;
        let path = home.as_ref().map_or(&run_dir.path, |home| &home.path).clone();

        if path.to_str().is_none() {
            return Err(PostgresError::NotText { path });
        }
        let major = cluster::major_of_data(&path)?;
        let binaries = Binaries::find(major, invoker.is_root())?;
        let account = cluster::server_account(&path, &invoker)?;
        access::let_server_enter(&path, account)?;
        access::write_rules(&path, &invoker, account)?;
        let socket_dir = run_dir.open_to(&invoker, account)?;
        let tools = Tools { binaries, account };
        let cluster = Cluster { home: path, socket_dir, is_persistent: home.is_some(), tools };
        let (data, tools) = (cluster.data(), &cluster.tools);
        if let Some(major) = major {
            cluster::check_major(&cluster.home, major, &tools.binaries)?;
            postmaster::stop_orphan(&data, tools, StopMode::Fast).await?;
            postmaster::reclaim_stale_pid_file(&data, &cluster.home, tools)?;
        }
        run_dir::sweep(&invoker, &tools.binaries).await;
        cluster.empty_log()?;
        Ok(Self { cluster, _run_dir: run_dir, _home: home })
    }
}

/// A token that is cancelled when the owner ends or a signal arrives.
fn stop_requested() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::quit()] {
        let (mut signals, stop) = (signal(kind)?, stop.clone());
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    // Closing the terminal may end the owner or not; only the owner's end stops the supervisor.
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move { while hangups.recv().await.is_some() {} });

    let owner_gone = stop.clone();
    // A thread, since a read of standard input cannot be cancelled.
    thread::Builder::new().name("owner".to_owned()).spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        owner_gone.cancel();
    })?;
    Ok(stop)
}

fn failed(message: &str) -> ExitCode {
    report(&Report::Error(message.to_owned()));
    ExitCode::FAILURE
}

/// Ignores errors: an owner that cannot read the report has ended, and so has its pipe.
fn report(report: &Report) {
    if let Ok(line) = serde_json::to_string(report) {
        let mut stdout = io::stdout().lock();
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_line() {
        let error = serde_json::to_string(&Report::Error("two\nlines".to_owned())).expect("JSON");
        assert_eq!(error, r#"{"error":"two\nlines"}"#);
        let ready = Ready { socket_dir: "/tmp/a".into(), data_dir: "/b".into() };
        let line = serde_json::to_string(&Report::Ready(ready)).expect("JSON");
        assert_eq!(line, r#"{"ready":{"socket_dir":"/tmp/a","data_dir":"/b"}}"#);
    }

    #[test]
    fn the_restart_pause_grows_up_to_a_limit() {
        let pauses: Vec<_> = (1..=RESTARTS_MAX).map(restart_pause).collect();
        assert!(pauses.is_sorted());
        assert_eq!(pauses.first(), Some(&RESTART_PAUSE_FIRST));
        assert_eq!(pauses.last(), Some(&RESTART_PAUSE_MAX));
    }
}
