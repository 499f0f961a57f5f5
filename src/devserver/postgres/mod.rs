//! A private Postgres server: there when asked for, reachable by nobody else, gone with its owner.
//!
//! The server is run by a guardian, a process of our own that outlives a killed parent for just as
//! long as it takes to stop the server (see [`guardian`]). This file is the parent's side of it: it
//! starts the guardian, hears from it where the server listens, and holds the pipe whose end tells
//! the guardian to finish. The calls block; asynchronous callers wrap them in `spawn_blocking`.

mod access;
mod account;
mod binaries;
mod cluster;
mod error;
pub mod guardian;
mod home;
mod install;
mod postmaster;
mod run_dir;
mod server;
mod tools;

use guardian::{Ready, Report};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The hidden subcommand that makes our binary a guardian.
pub const GUARDIAN_SUBCOMMAND: &str = "postgres-guardian";

/// The server's only role, a superuser, and the name of its first database.
pub const ROLE: &str = "eventbridge";

/// The port that names the socket's file; no TCP port is opened.
pub const PORT: u16 = 5432;

/// The guardian bounds each of its steps; together they stay below this.
const START_WAIT_MAX: Duration = Duration::from_mins(7);
const STOP_WAIT_MAX: Duration = Duration::from_mins(1);
const EXIT_POLL: Duration = Duration::from_millis(5);
const REPORT_BYTES_MAX: u64 = 64 * 1024;

/// What becomes of the data when the server stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// They stay, and the next start for the same checkout finds them.
    Kept {
        /// The directory that the data belong to.
        checkout: PathBuf,
    },
    /// They are deleted; the server trades durability for speed.
    ThrowAway,
}

/// A running private server. It stops when this value is dropped or its process ends, however it ends.
#[derive(Debug)]
pub struct PrivatePostgres {
    guardian: Child,
    stdin: Option<ChildStdin>,
    socket_dir: PathBuf,
    data_dir: PathBuf,
    url: String,
}

/// Why the private server is not there.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The checkout's path leads nowhere.
    #[error("could not find the directory {path}: {source}", path = path.display())]
    Checkout {
        /// The path as it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The guardian could not be started.
    #[error("could not start {path} as the guardian of Postgres: {source}", path = path.display())]
    Spawn {
        /// The binary.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The guardian says what is wrong and what to do.
    #[error("{0}")]
    Refused(String),
    /// The guardian ended without a word.
    #[error(
        "the guardian of Postgres ended without a report ({status}); \
         is {path} the eventbridge command?", path = path.display()
    )]
    Silent {
        /// The binary.
        path: PathBuf,
        /// How it ended.
        status: String,
    },
    /// The guardian did not report in time.
    #[error(
        "Postgres was not ready after {} seconds; see whether the machine is overloaded, then try again",
        .0.as_secs()
    )]
    TimedOut(Duration),
}

/// Why it is not known that the server has stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The guardian could not be waited for.
    #[error("could not wait for the guardian of Postgres: {0}")]
    Wait(#[from] io::Error),
    /// The guardian is still at it; it goes on by itself.
    #[error(
        "Postgres is still stopping after {} seconds (guardian: process {pid}); it goes on by itself",
        waited.as_secs()
    )]
    TimedOut {
        /// The guardian.
        pid: u32,
        /// How long we waited.
        waited: Duration,
    },
    /// The guardian ended with a complaint.
    #[error("the guardian of Postgres ended badly ({0}); the next start cleans up after it")]
    Failed(ExitStatus),
}

impl PrivatePostgres {
    /// Starts a server and waits until it takes connections.
    ///
    /// `guardian` is the path of the `eventbridge` binary. It must stay in place only until this
    /// call returns.
    pub fn start(guardian: &Path, keep: Keep) -> Result<Self, StartError> {
        let spawn_error = |source| StartError::Spawn { path: guardian.to_owned(), source };
        let mut command = Command::new(std::path::absolute(guardian).map_err(spawn_error)?);
        command.arg(GUARDIAN_SUBCOMMAND);
        if let Keep::Kept { checkout } = keep {
            let full = std::fs::canonicalize(&checkout)
                .map_err(|source| StartError::Checkout { path: checkout, source })?;
            command.arg("--keep-for").arg(full);
        }
        let mut child = command
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A group of its own: Ctrl-C in the terminal must not stop the database before the
            // service has drained into it.
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
                Ok(Self { guardian: child, stdin, socket_dir, data_dir, url })
            }
            Ok(Report::Error(message)) => {
                drop(stdin);
                // It has said its last word and is about to exit; the wait only collects it.
                let _ = child.wait();
                Err(StartError::Refused(message))
            }
            Err(_) => {
                drop(stdin);
                let status = exited(&mut child, STOP_WAIT_MAX).ok().flatten();
                let status = status.map_or_else(|| "still running".to_owned(), |status| status.to_string());
                Err(StartError::Silent { path: guardian.to_owned(), status })
            }
        }
    }

    /// The address of the first database, in the form that sqlx and psql both take.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of another database of the same server.
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

    /// Stops the server and waits until it is gone, and its data too where they are thrown away.
    pub fn stop(mut self) -> Result<(), StopError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), StopError> {
        drop(self.stdin.take());
        match exited(&mut self.guardian, STOP_WAIT_MAX)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(StopError::Failed(status)),
            None => Err(StopError::TimedOut { pid: self.guardian.id(), waited: STOP_WAIT_MAX }),
        }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if self.stdin.is_some() {
            // Nobody is left to tell; what remains is swept at the next start.
            let _ = self.finish();
        }
    }
}

/// The first line of the guardian's output, read on a thread so that the wait for it has a bound.
fn first_line(stdout: ChildStdout) -> Option<mpsc::Receiver<String>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name("postgres-report".to_owned())
        .spawn(move || {
            let mut line = String::new();
            // What cannot be read is no report, and is told as such.
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

/// Port and `sslmode` are spelled out so that no `PG*` variable of the user's decides them.
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
    fn the_url_bears_port_socket_and_database_in_full() {
        assert_eq!(
            url_of(Path::new("/tmp/eventbridge-a1/socket"), "a b"),
            "postgres://eventbridge@localhost:5432/a%20b?host=%2Ftmp%2Feventbridge-a1%2Fsocket&sslmode=disable"
        );
    }

    #[test]
    fn a_binary_that_is_no_guardian_is_an_error_that_names_it() {
        let error = PrivatePostgres::start(Path::new("/bin/true"), Keep::ThrowAway).expect_err("no guardian");
        assert!(matches!(error, StartError::Silent { .. }), "{error}");
        assert!(error.to_string().contains("/bin/true"), "{error}");
    }

    #[test]
    fn a_checkout_that_is_not_there_is_an_error_that_names_it() {
        let keep = Keep::Kept { checkout: PathBuf::from("/nowhere/at/all") };
        let error = PrivatePostgres::start(Path::new("/bin/true"), keep).expect_err("no checkout");
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
