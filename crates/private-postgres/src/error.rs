//! The supervisor's errors, with messages for the person who ran the command.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the supervisor cannot run a server.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// An operation on a file or directory failed.
    #[error("could not {action} {path}: {source}", path = path.display())]
    File {
        /// The operation, as a verb before the path.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("could not run {program}: {source}", program = program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A program of Postgres failed.
    #[error("{program} failed ({status}):\n{output}")]
    Tool {
        /// The program.
        program: String,
        /// Its exit status.
        status: String,
        /// The last lines of its output.
        output: String,
    },
    /// A program of Postgres did not exit in time.
    #[error("{program} did not exit within {} seconds; check whether the machine is overloaded", waited.as_secs())]
    ToolTimedOut {
        /// The program.
        program: String,
        /// How long we waited.
        waited: Duration,
    },
    /// No suitable PostgreSQL is installed.
    #[error(
        "no PostgreSQL {oldest} or later was found; install it with\n    {install}\n\
         or set PG_BIN_DIR to the directory that holds initdb, pg_ctl and postgres"
    )]
    NoBinaries {
        /// The oldest supported major version.
        oldest: u32,
        /// The install command for this platform.
        install: String,
    },
    /// `PG_BIN_DIR` does not contain a suitable PostgreSQL.
    #[error(
        "PG_BIN_DIR is {path}, but initdb, pg_ctl and postgres of PostgreSQL {oldest} or later are not \
         there; correct it or unset it", path = path.display()
    )]
    BadBinDir {
        /// The variable's value.
        path: PathBuf,
        /// The oldest supported major version.
        oldest: u32,
    },
    /// The system has no name for the current user.
    #[error(
        "the system has no name for the user that runs this ({detail}); Postgres needs one: \
         run as a user that /etc/passwd lists"
    )]
    NamelessUser {
        /// The output of `id`.
        detail: String,
    },
    /// Root needs another user to run the server, and there is none.
    #[error(
        "Postgres does not run as root, and there is neither a user `postgres` nor a user `nobody` to \
         run it; add one with `useradd --system postgres`, or run this command as an ordinary user"
    )]
    NoServerUser,
    /// The directory for the data is not private.
    #[error(
        "{path} must be a directory that belongs to you and that no other user can write to; \
         move it away and try again", path = path.display()
    )]
    NotPrivate {
        /// The directory.
        path: PathBuf,
    },
    /// The path is not valid UTF-8.
    #[error("{path} is not valid UTF-8; move the checkout to a path that is", path = path.display())]
    NotText {
        /// The data's home.
        path: PathBuf,
    },
    /// Another process runs a server on these data.
    #[error(
        "another eventbridge is using the database in {path}; stop it, then try again",
        path = path.display()
    )]
    InUse {
        /// The data's home.
        path: PathBuf,
    },
    /// The data directory is no cluster.
    #[error("{path} is not a PostgreSQL database; move it away and try again", path = path.display())]
    NotACluster {
        /// The data directory.
        path: PathBuf,
    },
    /// The data were written by another major version.
    #[error(
        "the database in {path} was created by PostgreSQL {data}, but {bin} is PostgreSQL {binaries}; \
         install PostgreSQL {data} (PG_BIN_DIR can point to it), or delete {path} to start with an empty one",
        path = path.display(), bin = bin.display()
    )]
    OtherMajor {
        /// The data directory.
        path: PathBuf,
        /// The major version that wrote it.
        data: u32,
        /// The directory of the programs.
        bin: PathBuf,
        /// Their major version.
        binaries: u32,
    },
    /// A process that may be a server of these data.
    #[error(
        "process {pid} is a Postgres server that may be using {path}; stop it, or, if it serves other \
         data, delete {path}/postmaster.pid", path = path.display()
    )]
    UnclearServer {
        /// The process.
        pid: u32,
        /// The data directory.
        path: PathBuf,
    },
    /// The server exited before it accepted connections.
    #[error("Postgres did not start ({how}); the end of {log} is:\n{lines}", log = log.display())]
    NoStart {
        /// Its exit status, or that it took too long.
        how: String,
        /// The server's log.
        log: PathBuf,
        /// Its last lines.
        lines: String,
    },
    /// The server keeps exiting.
    #[error("Postgres exited {times} times in a row; see {log}", log = log.display())]
    KeepsEnding {
        /// How many times.
        times: u32,
        /// The server's log.
        log: PathBuf,
    },
    /// The supervisor cannot listen for signals.
    #[error("could not listen for signals: {0}")]
    Signals(io::Error),
}

/// Converts an error of the operating system to [`PostgresError::File`]; for `map_err`.
pub fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PostgresError + use<> {
    let path = path.to_owned();
    move |source| PostgresError::File { action, path, source }
}
