//! What can go wrong on the guardian's side, in words for the person who ran the command.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the guardian cannot run a server.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The system refused something to do with a file or a directory.
    #[error("could not {action} {path}: {source}", path = path.display())]
    File {
        /// What was tried, to be read before the path.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program could not be started at all.
    #[error("could not run {program}: {source}", program = program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program of Postgres' failed.
    #[error("{program} failed ({status}):\n{output}")]
    Tool {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// The last lines of what it printed.
        output: String,
    },
    /// A program of Postgres' did not end in time.
    #[error("{program} did not end within {} seconds; see whether the machine is overloaded", waited.as_secs())]
    ToolTimedOut {
        /// The program.
        program: String,
        /// How long we waited.
        waited: Duration,
    },
    /// Nothing that we could use is installed.
    #[error(
        "no PostgreSQL {oldest} or later was found; install it with\n    {install}\n\
         or set PG_BIN_DIR to the directory that holds initdb, pg_ctl and postgres"
    )]
    NoBinaries {
        /// The oldest major version that will do.
        oldest: u32,
        /// The command for this platform.
        install: String,
    },
    /// `PG_BIN_DIR` points somewhere else.
    #[error(
        "PG_BIN_DIR is {path}, but initdb, pg_ctl and postgres of PostgreSQL {oldest} or later are not \
         there; correct it or unset it", path = path.display()
    )]
    BadBinDir {
        /// What the variable holds.
        path: PathBuf,
        /// The oldest major version that will do.
        oldest: u32,
    },
    /// The system does not know who we are.
    #[error(
        "the system has no name for the user that runs this ({detail}); Postgres needs one: \
         run as a user that /etc/passwd lists"
    )]
    NamelessUser {
        /// What `id` said.
        detail: String,
    },
    /// Root has no one to run the server.
    #[error(
        "Postgres does not run as root, and there is neither a user `postgres` nor a user `nobody` to \
         run it; add one with `useradd --system postgres`, or run this command as an ordinary user"
    )]
    NoServerUser,
    /// The place of the data is not ours.
    #[error(
        "{path} must be a directory that belongs to you and that nobody else can write to; \
         move it away and try again", path = path.display()
    )]
    NotPrivate {
        /// The directory.
        path: PathBuf,
    },
    /// The path has bytes that are no text.
    #[error("{path} is not valid UTF-8; move the checkout to a path that is", path = path.display())]
    NotText {
        /// The data's home.
        path: PathBuf,
    },
    /// Someone else runs a server on these data.
    #[error(
        "another eventbridge is using the database in {path}; stop it, then try again",
        path = path.display()
    )]
    InUse {
        /// The data's home.
        path: PathBuf,
    },
    /// There is a data directory that holds no cluster.
    #[error("{path} is no PostgreSQL database; move it away and try again", path = path.display())]
    NotACluster {
        /// The data directory.
        path: PathBuf,
    },
    /// The data were written by another major version.
    #[error(
        "the database in {path} was made by PostgreSQL {data}, but {bin} is PostgreSQL {binaries}; \
         install PostgreSQL {data} (PG_BIN_DIR can point to it), or delete {path} to begin anew",
        path = path.display(), bin = bin.display()
    )]
    OtherMajor {
        /// The data directory.
        path: PathBuf,
        /// The major version that wrote it.
        data: u32,
        /// Where the binaries are.
        bin: PathBuf,
        /// Their major version.
        binaries: u32,
    },
    /// A process that may be a server of these data, and may be not.
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
    /// The server ended before it took connections.
    #[error("Postgres did not start ({how}); the end of {log} says:\n{lines}", log = log.display())]
    NoStart {
        /// How it ended, or that it took too long.
        how: String,
        /// The server's log.
        log: PathBuf,
        /// Its last lines.
        lines: String,
    },
    /// The server died again and again.
    #[error("Postgres ended {times} times in a row; see {log}", log = log.display())]
    KeepsEnding {
        /// How often.
        times: u32,
        /// The server's log.
        log: PathBuf,
    },
    /// The guardian cannot listen for signals.
    #[error("could not listen for signals: {0}")]
    Signals(io::Error),
}

/// Makes a [`PostgresError::File`] of what the system said; for `map_err`.
pub fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PostgresError + use<> {
    let path = path.to_owned();
    move |source| PostgresError::File { action, path, source }
}
