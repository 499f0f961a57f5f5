//! The server's process: starts it, waits for it, stops it.

use super::cluster::{Cluster, pid_file};
use super::error::PostgresError;
use super::postmaster::{PidFile, StopMode};
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

/// After a crash a server first recovers its data.
const READY_WAIT_MAX: Duration = Duration::from_mins(2);
const READY_POLL: Duration = Duration::from_millis(20);
const SIGNAL_WAIT_MAX: Duration = Duration::from_secs(5);
const FAST_WAIT_MAX: Duration = Duration::from_secs(30);
const IMMEDIATE_WAIT_MAX: Duration = Duration::from_secs(10);

/// A running server. [`Server::stop`] shuts it down; dropping the value kills it.
#[derive(Debug)]
pub struct Server<'a> {
    cluster: &'a Cluster,
    process: Child,
}

impl<'a> Server<'a> {
    /// Starts the server's process.
    pub fn spawn(cluster: &'a Cluster) -> Result<Self, PostgresError> {
        let log = cluster.open_log()?;
        let stdout = log.try_clone().map_or_else(|_| Stdio::null(), Stdio::from);
        let process = cluster
            .tools
            .command("postgres")
            .args(cluster.arguments())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(log)
            .spawn()
            .map_err(|source| PostgresError::Run {
                program: cluster.tools.binaries.dir.join("postgres"),
                source,
            })?;
        Ok(Self { cluster, process })
    }

    /// Waits until the server accepts connections.
    pub async fn ready(&mut self) -> Result<(), PostgresError> {
        let pid = self.process.id();
        let path = pid_file(&self.cluster.data());
        let up = async {
            while !PidFile::read(&path).is_some_and(|file| file.ready && Some(file.pid) == pid) {
                sleep(READY_POLL).await;
            }
        };
        let how = tokio::select! {
            status = self.process.wait() => ending(status),
            up = timeout(READY_WAIT_MAX, up) => match up {
                Ok(()) => return Ok(()),
                Err(_) => format!("it was not ready after {} seconds", READY_WAIT_MAX.as_secs()),
            },
        };
        let (log, lines) = (self.cluster.log(), self.cluster.end_of_log());
        Err(PostgresError::NoStart { how, log, lines })
    }

    /// Waits until the server exits by itself, and returns how.
    pub async fn exited(&mut self) -> String {
        ending(self.process.wait().await)
    }

    /// Stops the server: first gracefully, if the data are persistent, then at once.
    pub async fn stop(mut self) {
        let first = if self.cluster.is_persistent { StopMode::Fast } else { StopMode::Immediate };
        for mode in [first, StopMode::Immediate] {
            let (signal, wait_max) = match mode {
                StopMode::Fast => ("INT", FAST_WAIT_MAX),
                StopMode::Immediate => ("QUIT", IMMEDIATE_WAIT_MAX),
            };
            // The id is only known until the process has been waited for, so it is not another process's.
            let Some(pid) = self.process.id() else { return };
            let arguments = ["kill", signal, &pid.to_string()].map(PathBuf::from);
            if let Err(error) = self.cluster.tools.run("pg_ctl", arguments, "", SIGNAL_WAIT_MAX).await {
                self.cluster.note(&error.to_string());
            } else if timeout(wait_max, self.process.wait()).await.is_ok() {
                return;
            }
        }
        self.cluster.note("Postgres did not stop in time; killing it");
        if let Err(error) = self.process.kill().await {
            self.cluster.note(&format!("could not kill it: {error}"));
        }
    }
}

fn ending(status: io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| format!("it cannot be waited for: {error}"), |status| status.to_string())
}
