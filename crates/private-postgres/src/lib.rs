//! A private Postgres server for development and tests.
//!
//! [`PrivatePostgres::start`] runs a server from the PostgreSQL programs that are installed. Only the
//! user who started it can connect, by a Unix socket, and it stops when its owner ends, however that
//! happens. It knows nothing about the service that uses it, except the name of its role and database.
//!
//! A [`supervisor`] process runs the server. It outlives a killed owner for as long as it takes to stop
//! the server. It is a hidden subcommand of the owner's program: that program calls [`supervisor::run`]
//! for [`SUPERVISOR_SUBCOMMAND`]. This file is the owner's side. It starts the supervisor, reads the
//! server's address from it, and holds a pipe to it. When the pipe closes, the supervisor stops the
//! server and exits. The calls block; asynchronous callers wrap them in `spawn_blocking`.

mod access;
mod account;
mod binaries;
mod cluster;
mod error;
mod home;
mod install;
mod postmaster;
mod run_dir;
mod server;
pub mod supervisor;
mod tools;

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use supervisor::{Ready, Report};

/// The hidden subcommand by which the owner's program becomes a supervisor.
pub const SUPERVISOR_SUBCOMMAND: &str = "postgres-supervisor";

/// The server's only role, a superuser, and the name of its first database.
pub const ROLE: &str = "eventbridge";

/// The port that names the socket's file; no TCP port is opened.
pub const PORT: u16 = 5432;

/// The supervisor limits the time of each of its steps; together they take less than this.
const START_WAIT_MAX: Duration = Duration::from_mins(7);
const STOP_WAIT_MAX: Duration = Duration::from_mins(1);
const EXIT_POLL: Duration = Duration::from_millis(5);
const REPORT_BYTES_MAX: u64 = 64 * 1024;

/// Whether the data outlive the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataLifetime {
    /// The data stay. The next start for the same checkout finds them.
    Persistent {
        /// The directory that the data belong to.
        checkout: PathBuf,
    },
    /// The data are deleted when the server stops. The server trades durability for speed.
    Temporary,
}

/// A running private server. It stops when this value is dropped or the owner's process ends in any way.
#[derive(Debug)]
pub struct PrivatePostgres {
    supervisor: Child,
    stdin: Option<ChildStdin>,
    socket_dir: PathBuf,
    data_dir: PathBuf,
    url: String,
}

/// Why the private server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The checkout's directory does not exist.
    #[error("could not find the directory {path}: {source}", path = path.display())]
    Checkout {
        /// The path that the caller gave.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The supervisor could not be started.
    #[error("could not start {path} as the supervisor of Postgres: {source}", path = path.display())]
    Spawn {
        /// The binary.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The supervisor reports what is wrong and what to do.
    #[error("{0}")]
    Failed(String),
    /// The supervisor exited without a report.
    #[error(
        "the supervisor of Postgres exited without a report ({status}); \
         is {path} the eventbridge command?", path = path.display()
    )]
    NoReport {
        /// The binary.
        path: PathBuf,
        /// Its exit status.
        status: String,
    },
    /// The supervisor did not report in time.
    #[error(
        "Postgres was not ready after {} seconds; check whether the machine is overloaded, then try again",
        .0.as_secs()
    )]
    TimedOut(Duration),
}

/// Why it is unknown whether the server has stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The supervisor could not be waited for.
    #[error("could not wait for the supervisor of Postgres: {0}")]
    Wait(#[from] io::Error),
    /// The supervisor is still stopping the server, and continues without us.
    #[error(
        "Postgres is still stopping after {} seconds (supervisor: process {pid}); it will stop without further action",
        waited.as_secs()
    )]
    TimedOut {
        /// The supervisor's process id.
        pid: u32,
        /// How long we waited.
        waited: Duration,
    },
    /// The supervisor exited with an error.
    #[error("the supervisor of Postgres failed ({0}); the next start cleans up after it")]
    Failed(ExitStatus),
}

impl PrivatePostgres {
    /// Starts a server and waits until it accepts connections.
    ///
    /// `supervisor` is the path of the `eventbridge` program. The file must exist only until this
    /// call returns.
    pub fn start(supervisor: &Path, lifetime: DataLifetime) -> Result<Self, StartError> {
        let spawn_error = |source| StartError::Spawn { path: supervisor.to_owned(), source };
        let mut command = Command::new(std::path::absolute(supervisor).map_err(spawn_error)?);
        command.arg(SUPERVISOR_SUBCOMMAND);
        if let DataLifetime::Persistent { checkout } = lifetime {
            let full = std::fs::canonicalize(&checkout)
                .map_err(|source| StartError::Checkout { path: checkout, source })?;
            command.arg("--keep-for").arg(full);
        }
        let mut child = command
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A process group of its own: Ctrl-C in the terminal must not stop the database before
            // the service has drained.
            .process_group(0)
            .spawn()
            .map_err(spawn_error)?;
        let stdin = child.stdin.take();
        let report = child.stdout.take().and_then(first_line);
        let line = match report.map(|lines| lines.recv_timeout(START_WAIT_MAX)) {
            Some(Ok(line)) => line,
            Some(Err(_)) => return Err(StartError::TimedOut(START_WAIT_MAX)),
            None => String::new(),
        };
        match serde_json::from_str(&line) {
            Ok(Report::Ready(Ready { socket_dir, data_dir })) => {
                let url = url_of(&socket_dir, ROLE);
                Ok(Self { supervisor: child, stdin, socket_dir, data_dir, url })
            }
            Ok(Report::Error(message)) => {
                drop(stdin);
                // It is about to exit; the wait only collects the process.
                let _ = child.wait();
                Err(StartError::Failed(message))
            }
            Err(_) => {
                drop(stdin);
                let status = exited(&mut child, STOP_WAIT_MAX).ok().flatten();
                let status = status.map_or_else(|| "still running".to_owned(), |status| status.to_string());
                Err(StartError::NoReport { path: supervisor.to_owned(), status })
            }
        }
    }

    /// The URL of the first database, in a form that both sqlx and psql accept.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of another database of the same server.
    pub fn url_of(&self, database: &str) -> String {
        url_of(&self.socket_dir, database)
    }

    /// The directory that holds the server's socket.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The directory that holds the server's data.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Stops the server and waits until it has exited. Temporary data are deleted then.
    pub fn stop(mut self) -> Result<(), StopError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), StopError> {
        drop(self.stdin.take());
        match exited(&mut self.supervisor, STOP_WAIT_MAX)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(StopError::Failed(status)),
            None => Err(StopError::TimedOut { pid: self.supervisor.id(), waited: STOP_WAIT_MAX }),
        }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if self.stdin.is_some() {
            // There is no caller to report to; the next start removes leftovers.
            let _ = self.finish();
        }
    }
}

/// The first line of the supervisor's output. A thread reads it, so that the caller can wait with a timeout.
fn first_line(stdout: ChildStdout) -> Option<mpsc::Receiver<String>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name("postgres-report".to_owned())
        .spawn(move || {
            let mut line = String::new();
            // An unreadable line is no report, and is handled as one.
            let _ = BufReader::new(stdout.take(REPORT_BYTES_MAX)).read_line(&mut line);
            let _ = sender.send(line);
        })
        .ok()
        .map(|_| receiver)
}

fn exited(child: &mut Child, wait_max: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + wait_max;
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() >= deadline {
            return Ok(status);
        }
        thread::sleep(EXIT_POLL);
    }
}

/// Names port and `sslmode`, so that no `PG*` variable of the user decides them.
fn url_of(socket_dir: &Path, database: &str) -> String {
    let database = percent_encoded(database.as_bytes());
    let host = percent_encoded(socket_dir.as_os_str().as_encoded_bytes());
    format!("postgres://{ROLE}@localhost:{PORT}/{database}?host={host}&sslmode=disable")
}

fn percent_encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push('%');
            text.push_str(&hex::encode_upper([*byte]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_names_port_socket_and_database() {
        assert_eq!(
            url_of(Path::new("/tmp/eventbridge-a1/socket"), "a b"),
            "postgres://eventbridge@localhost:5432/a%20b?host=%2Ftmp%2Feventbridge-a1%2Fsocket&sslmode=disable"
        );
    }

    #[test]
    fn a_binary_that_is_no_supervisor_is_an_error_that_names_it() {
        let error = PrivatePostgres::start(Path::new("/bin/true"), DataLifetime::Temporary)
            .expect_err("no supervisor");
        assert!(matches!(error, StartError::NoReport { .. }), "{error}");
        assert!(error.to_string().contains("/bin/true"), "{error}");
    }

    #[test]
    fn a_checkout_that_is_not_there_is_an_error_that_names_it() {
        let lifetime = DataLifetime::Persistent { checkout: PathBuf::from("/nowhere/at/all") };
        let error = PrivatePostgres::start(Path::new("/bin/true"), lifetime).expect_err("no checkout");
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
