//! Reads `postmaster.pid` and decides whether the process that it names is the server of these data.
//!
//! A server outlives a killed supervisor. A pid file outlives a killed server, and its number may later
//! belong to any process. The two cases must not be confused.

use super::error::{PostgresError, file_error};
use super::tools::Tools;
use super::{access, cluster};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PID_FILE_BYTES_MAX: u64 = 64 * 1024;
const STOP_WAIT_SECONDS: u64 = 20;

/// The content of a pid file; the socket's lock file has the same first lines.
#[derive(Debug, PartialEq, Eq)]
pub struct PidFile {
    /// The process.
    pub pid: u32,
    /// The data directory.
    pub data: PathBuf,
    /// Whether the server accepts connections.
    pub ready: bool,
}

impl PidFile {
    /// Reads one; `None` if it is missing or incomplete.
    pub fn read(path: &Path) -> Option<Self> {
        let mut text = String::new();
        File::open(path).ok()?.take(PID_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let pid = lines.next()?.trim().trim_start_matches('-').parse().ok()?;
        let data = PathBuf::from(lines.next()?);
        let ready = text.lines().nth(7).is_some_and(|status| status.trim() == "ready");
        Some(Self { pid, data, ready })
    }
}

/// What the process with the id in a pid file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PidOwner {
    /// The server of these data.
    Server,
    /// No process, or one that is unrelated to these data.
    Unrelated,
    /// A Postgres server of unknown data.
    Unclear,
}

/// How a server is asked to stop.
#[derive(Debug, Clone, Copy)]
pub enum StopMode {
    /// Ends sessions and writes out data.
    Fast,
    /// At once; the data are not needed or are recovered later.
    Immediate,
}

impl StopMode {
    fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        }
    }
}

/// What the process with this id is. A server's current directory is its data directory, also after a
/// move. Without `/proc` the arguments decide.
pub fn pid_owner(pid: u32, data: &Path) -> PidOwner {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    if Path::new("/proc/self/cmdline").exists() {
        let arguments = fs::read(proc.join("cmdline")).unwrap_or_default();
        let program = arguments.split(|byte| *byte == 0).next().unwrap_or_default();
        if !is_server(&String::from_utf8_lossy(program)) {
            return PidOwner::Unrelated;
        }
        return match (fs::metadata(proc.join("cwd")), fs::metadata(data)) {
            (Ok(one), Ok(other)) if (one.dev(), one.ino()) == (other.dev(), other.ino()) => PidOwner::Server,
            (Ok(_), Ok(_)) => PidOwner::Unrelated,
            _ => PidOwner::Unclear,
        };
    }
    let output = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output();
    let command = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match command {
        Ok(command) if !is_server(command.split(' ').next().unwrap_or_default()) => PidOwner::Unrelated,
        Ok(command) if command.contains(&format!(" -D {} ", data.display())) => PidOwner::Server,
        _ => PidOwner::Unclear,
    }
}

/// Stops the server that a killed supervisor left on these data, if any.
pub async fn stop_orphan(data: &Path, tools: &Tools, mode: StopMode) -> Result<(), PostgresError> {
    let Some(file) = PidFile::read(&cluster::pid_file(data)) else { return Ok(()) };
    match pid_owner(file.pid, data) {
        PidOwner::Unrelated => return Ok(()),
        PidOwner::Unclear => {
            return Err(PostgresError::UnclearServer { pid: file.pid, path: data.to_owned() });
        }
        PidOwner::Server => {}
    }
    let stopped = stop(data, tools, mode).await;
    if stopped.is_err() && pid_owner(file.pid, data) == PidOwner::Server {
        return stop(data, tools, StopMode::Immediate).await;
    }
    Ok(())
}

async fn stop(data: &Path, tools: &Tools, mode: StopMode) -> Result<(), PostgresError> {
    let seconds = STOP_WAIT_SECONDS.to_string();
    let [how, wait] = [["-m", mode.name()], ["-t", seconds.as_str()]];
    let arguments =
        ["stop", "-w"].into_iter().chain(how).chain(wait).map(Into::into).chain(["-D".into(), data.into()]);
    let wait_max = Duration::from_secs(STOP_WAIT_SECONDS + 5);
    tools.run("pg_ctl", arguments.collect::<Vec<std::ffi::OsString>>(), "", wait_max).await
}

/// Replaces the process id in a stale pid file by our own, so that the server can start. Postgres
/// regards its parent's id as stale and then checks whether the shared memory that the file names is
/// still in use. Deleting the file would hide that sessions of a killed server still use the data.
pub fn reclaim_stale_pid_file(data: &Path, home: &Path, tools: &Tools) -> Result<(), PostgresError> {
    let path = cluster::pid_file(data);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file_error("read", &path)(error)),
    };
    let Some((_, rest)) = text.split_once('\n').filter(|_| PidFile::parse(&text).is_some()) else {
        // Incomplete: no server started with it, and Postgres would reject it.
        return fs::remove_file(&path).map_err(file_error("delete", &path));
    };
    let fresh = home.join("postmaster.pid.new");
    let _ = fs::remove_file(&fresh);
    let ours = format!("{}\n{rest}", std::process::id());
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    options
        .open(&fresh)
        .and_then(|mut file| io::Write::write_all(&mut file, ours.as_bytes()))
        .map_err(file_error("write", &fresh))?;
    access::give_to_server(&fresh, tools.account)?;
    fs::rename(&fresh, &path).map_err(file_error("replace", &path))
}

fn is_server(program: &str) -> bool {
    matches!(Path::new(program).file_name().and_then(|name| name.to_str()), Some("postgres" | "postmaster"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_pid_file_is_ignored() {
        let whole = "4711\n/data\n1700000000\n5432\n/tmp/x\n\n  5432001   32768\nready   \n";
        let read = PidFile::parse(whole).expect("whole");
        assert_eq!(read, PidFile { pid: 4711, data: PathBuf::from("/data"), ready: true });
        assert!(!PidFile::parse("4711\n/data\n").expect("enough").ready);
        assert_eq!(PidFile::parse(""), None);
        assert_eq!(PidFile::parse("x\n/data\n"), None);
    }

    #[test]
    fn a_process_that_is_not_postgres_is_unrelated() {
        assert_eq!(pid_owner(std::process::id(), Path::new("/")), PidOwner::Unrelated);
        assert_eq!(pid_owner(u32::MAX, Path::new("/")), PidOwner::Unrelated);
    }
}
