//! The guardian: a process of our own that starts a private server and stops it when its owner ends.
//!
//! The owner holds a pipe to the guardian's standard input and never writes to it. Its end is the
//! sign to stop, and the kernel gives it for every kind of death. The guardian says one line of
//! JSON on its standard output, a `Report`; it restarts a server that dies under it; and it
//! leaves neither process nor socket behind, nor data that are not to be kept.

use super::access;
use super::account::Starter;
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
/// A server that stayed up this long has not failed to start.
const STEADY_AFTER: Duration = Duration::from_mins(1);
const RESTARTS_MAX: u32 = 10;
const RESTART_PAUSE_FIRST: Duration = Duration::from_millis(100);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);

/// The arguments of the hidden subcommand.
#[derive(Debug, clap::Args)]
pub struct GuardianArgs {
    /// Keep the data, for the checkout at this path; without it, delete them at the end.
    #[arg(long, value_name = "CHECKOUT")]
    keep_for: Option<PathBuf>,
}

/// What the guardian tells its owner.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// The server takes connections.
    Ready(Ready),
    /// There will be no server; the text says why and what to do.
    Error(String),
}

/// Where the server is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ready {
    pub(super) socket_dir: PathBuf,
    pub(super) data_dir: PathBuf,
}

/// Runs a server until standard input ends or a signal comes. It brings its own runtime: call it
/// outside any other.
pub fn run(args: &GuardianArgs) -> ExitCode {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    match runtime.block_on(guard(args.keep_for.as_deref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

async fn guard(keep_for: Option<&Path>) -> Result<(), PostgresError> {
    let stop = stop_signs().map_err(PostgresError::Signals)?;
    let place = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        place = Place::find(keep_for) => place?,
    };
    let cluster = &place.cluster;
    let mut initialise = pin!(cluster.initialise());
    tokio::select! {
        biased;
        () = stop.cancelled() => {
            // Programs killed midway would leave shared memory behind; it is a matter of seconds.
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

/// Keeps the server up. It returns only when that is hopeless.
async fn serve<'a>(cluster: &'a Cluster, server: &mut Server<'a>) -> Result<(), PostgresError> {
    server.ready().await?;
    report(&Report::Ready(Ready { socket_dir: cluster.socket_dir.clone(), data_dir: cluster.data() }));
    let mut failures = 0;
    let mut up_since = Instant::now();
    loop {
        let how = server.ended().await;
        failures = if up_since.elapsed() >= STEADY_AFTER { 1 } else { failures + 1 };
        if failures > RESTARTS_MAX {
            return Err(PostgresError::KeepsEnding { times: failures, log: cluster.log() });
        }
        cluster.note(&format!("Postgres ended ({how}); starting it again"));
        sleep(restart_pause(failures)).await;
        up_since = Instant::now();
        *server = Server::spawn(cluster)?;
        if let Err(error) = server.ready().await {
            cluster.note(&error.to_string());
        }
    }
}

fn restart_pause(failures: u32) -> Duration {
    RESTART_PAUSE_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(RESTART_PAUSE_MAX)
}

/// A cluster, and what must outlive its server: fields drop in this order.
struct Place {
    cluster: Cluster,
    _run_dir: RunDir,
    _home: Option<Home>,
}

impl Place {
    /// Finds or makes the directories and clears the way for a server.
    async fn find(keep_for: Option<&Path>) -> Result<Self, PostgresError> {
        let starter = Starter::detect()?;
        let home = match keep_for {
            Some(checkout) => Some(Home::of(checkout, &starter).await?),
            None => None,
        };
        let run_dir = RunDir::create()?;
        let path = home.as_ref().map_or(&run_dir.path, |home| &home.path).clone();

        if path.to_str().is_none() {
            return Err(PostgresError::NotText { path });
        }
        let major = cluster::major_of_data(&path)?;
        let binaries = Binaries::find(major, starter.is_root())?;
        let account = cluster::server_account(&path, &starter)?;
        access::let_pass(&path, account)?;
        access::write_rules(&path, &starter, account)?;
        let socket_dir = run_dir.open_to(&starter, account)?;
        let tools = Tools { binaries, account };
        let cluster = Cluster { home: path, socket_dir, kept: home.is_some(), tools };
        let (data, tools) = (cluster.data(), &cluster.tools);
        if let Some(major) = major {
            cluster::check_major(&cluster.home, major, &tools.binaries)?;
            postmaster::stop_orphan(&data, tools, StopMode::Fast).await?;
            postmaster::disown_stale(&data, &cluster.home, tools)?;
        }
        run_dir::sweep(&starter, &tools.binaries).await;
        cluster.empty_log()?;
        Ok(Self { cluster, _run_dir: run_dir, _home: home })
    }
}

/// A token that is cancelled when the owner is gone or a signal asks us to stop.
fn stop_signs() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::quit()] {
        let (mut signals, stop) = (signal(kind)?, stop.clone());
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    // A terminal that is closed ends the owner or does not; the guardian goes by the owner alone.
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move { while hangups.recv().await.is_some() {} });

    let owner_gone = stop.clone();
    // A thread, since a read of standard input cannot be called off when the guardian ends.
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

/// An owner that does not hear it is gone, and the end of its pipe says so.
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
    fn a_report_is_one_line_that_says_ready_or_error() {
        let error = serde_json::to_string(&Report::Error("two\nlines".to_owned())).expect("JSON");
        assert_eq!(error, r#"{"error":"two\nlines"}"#);
        let ready = Ready { socket_dir: "/tmp/a".into(), data_dir: "/b".into() };
        let line = serde_json::to_string(&Report::Ready(ready)).expect("JSON");
        assert_eq!(line, r#"{"ready":{"socket_dir":"/tmp/a","data_dir":"/b"}}"#);
    }

    #[test]
    fn restarts_come_ever_more_slowly_and_within_a_bound() {
        let pauses: Vec<_> = (1..=RESTARTS_MAX).map(restart_pause).collect();
        assert!(pauses.is_sorted());
        assert_eq!(pauses.first(), Some(&RESTART_PAUSE_FIRST));
        assert_eq!(pauses.last(), Some(&RESTART_PAUSE_MAX));
    }
}
