//! A database cluster: its files, how it is created, and the settings of its server.

use super::account::{Account, Invoker};
use super::binaries::Binaries;
use super::error::{PostgresError, file_error};
use super::tools::{Tools, last_lines};
use super::{PORT, ROLE, access};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const INIT_WAIT_MAX: Duration = Duration::from_mins(2);
const CREATE_WAIT_MAX: Duration = Duration::from_mins(1);
const UNFINISHED: &str = "unfinished-";
const QUOTED_BYTES_MAX: u64 = 16 * 1024;

const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "max_connections=200",
    "jit=off",
    "ssl=off",
    "logging_collector=off",
    "log_destination=stderr",
    "log_checkpoints=off",
    // It is stored with the data and deleted with them, even if all processes are killed.
    "dynamic_shared_memory_type=mmap",
];

/// For temporary data, which a crash of the machine may destroy.
const TEMPORARY_SETTINGS: &[&str] = &[
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=32MB",
    "wal_level=minimal",
    "max_wal_senders=0",
];

/// A cluster, and what is needed to run its server.
#[derive(Debug)]
pub struct Cluster {
    /// The directory that holds the data, the log and the access rules.
    pub home: PathBuf,
    /// The directory for the socket.
    pub socket_dir: PathBuf,
    /// Whether the data outlive the server.
    pub is_persistent: bool,
    /// Postgres' own programs, and the user who runs them.
    pub tools: Tools,
}

impl Cluster {
    /// The data directory.
    pub fn data(&self) -> PathBuf {
        data_dir(&self.home)
    }

    /// Creates the cluster if there is none. It is created under another name and then renamed, so
    /// that an interrupted creation leaves no incomplete cluster.
    pub async fn initialise(&self) -> Result<(), PostgresError> {
        self.remove_unfinished();
        if self.data().exists() {
            return Ok(());
        }
        let made = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(&self.home);
        let unfinished = made.map_err(file_error("create a directory in", &self.home))?;
        access::restrict_to_owner(unfinished.path())?;
        access::give_to_server(unfinished.path(), self.tools.account)?;
        let data = unfinished.path().as_os_str();

        let mut initdb = os_strings(&["--no-locale", "--auth=peer"]);
        initdb.extend(os_strings(&["-E", "UTF8", "-U", ROLE, "-D"]));
        initdb.push(data.to_owned());
        if !self.is_persistent {
            initdb.push("--no-sync".into());
        }
        self.tools.run("initdb", initdb, "", INIT_WAIT_MAX).await?;

        let mut single = os_strings(&["--single", "-c", "exit_on_error=on", "-c", "log_checkpoints=off"]);
        if !self.is_persistent {
            single.push("-F".into());
        }
        single.extend(["-D".into(), data.to_owned(), "template1".into()]);
        let create = format!("CREATE DATABASE {ROLE};\n");
        self.tools.run("postgres", single, &create, CREATE_WAIT_MAX).await?;

        let whole = self.data();
        fs::rename(unfinished.path(), &whole).map_err(file_error("create", &whole))
    }

    /// The server's arguments.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments = os_strings(&["-D"]);
        arguments.extend([self.data().into(), "-p".into(), PORT.to_string().into()]);
        let extra: &[&str] = if self.is_persistent { &[] } else { TEMPORARY_SETTINGS };
        for setting in SETTINGS.iter().chain(extra) {
            arguments.extend(os_strings(&["-c", setting]));
        }
        for (name, path) in [
            ("unix_socket_directories", &self.socket_dir),
            ("hba_file", &hba_file(&self.home)),
            ("ident_file", &ident_file(&self.home)),
        ] {
            let mut setting = OsString::from(format!("{name}="));
            setting.push(path);
            arguments.extend(["-c".into(), setting]);
        }
        arguments
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.home.join("server.log")
    }

    /// Empties the log: it holds at most one run.
    pub fn empty_log(&self) -> Result<(), PostgresError> {
        let path = self.log();
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&path).map(drop).map_err(file_error("write", &path))
    }

    /// The log, for the server to write to.
    pub fn open_log(&self) -> Result<File, PostgresError> {
        let path = self.log();
        File::options().append(true).open(&path).map_err(file_error("write", &path))
    }

    /// Writes a line to the server's log. Failures are ignored, since only readers of the log need it.
    pub fn note(&self, line: &str) {
        if let Ok(mut log) = self.open_log() {
            let _ = writeln!(log, "eventbridge: {line}");
        }
    }

    /// The log's last lines.
    pub fn end_of_log(&self) -> String {
        let read = || -> io::Result<String> {
            let mut log = File::open(self.log())?;
            let length = log.metadata()?.len();
            log.seek(SeekFrom::Start(length.saturating_sub(QUOTED_BYTES_MAX)))?;
            let mut bytes = Vec::new();
            log.take(QUOTED_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(last_lines(&String::from_utf8_lossy(&bytes)))
        };
        read().unwrap_or_else(|error| format!("(the log cannot be read: {error})"))
    }

    fn remove_unfinished(&self) {
        for entry in fs::read_dir(&self.home).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                // A directory that cannot be removed does no harm.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// The user who runs the server: for root, the owner of existing data, otherwise a suitable user.
pub fn server_account(home: &Path, invoker: &Invoker) -> Result<Option<Account>, PostgresError> {
    if !invoker.is_root() {
        return Ok(None);
    }
    match fs::symlink_metadata(data_dir(home)) {
        Ok(found) if found.uid() != 0 => Ok(Some(Account { uid: found.uid(), gid: found.gid() })),
        _ => Invoker::server_account().map(Some),
    }
}

/// The major version that wrote the data; `None` if there are no data yet.
pub fn major_of_data(home: &Path) -> Result<Option<u32>, PostgresError> {
    let data = data_dir(home);
    if fs::symlink_metadata(&data).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let version = data.join("PG_VERSION");
    let text = match fs::read_to_string(&version) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(file_error("read", &version)(error)),
    };
    let major = text.trim().split('.').next().and_then(|major| major.parse().ok());
    major.map(Some).ok_or(PostgresError::NotACluster { path: data })
}

/// Fails if another major version than that of the programs wrote the data.
pub fn check_major(home: &Path, data: u32, binaries: &Binaries) -> Result<(), PostgresError> {
    if data == binaries.major {
        return Ok(());
    }
    let bin = binaries.dir.clone();
    Err(PostgresError::OtherMajor { path: data_dir(home), data, bin, binaries: binaries.major })
}

/// The data directory below a cluster's home.
pub fn data_dir(home: &Path) -> PathBuf {
    home.join("data")
}

/// The server's pid file.
pub fn pid_file(data: &Path) -> PathBuf {
    data.join("postmaster.pid")
}

/// The access rules.
pub fn hba_file(home: &Path) -> PathBuf {
    home.join("pg_hba.conf")
}

/// The roles of the system's users.
pub fn ident_file(home: &Path) -> PathBuf {
    home.join("pg_ident.conf")
}

fn os_strings(texts: &[&str]) -> Vec<OsString> {
    texts.iter().map(OsStr::new).map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_another_major_version_are_rejected_with_a_remedy() {
        let home = tempfile::tempdir().expect("a directory");
        assert_eq!(major_of_data(home.path()).expect("no data is no error"), None);
        fs::create_dir(data_dir(home.path())).expect("created");
        assert!(matches!(major_of_data(home.path()), Err(PostgresError::NotACluster { .. })));
        fs::write(data_dir(home.path()).join("PG_VERSION"), "14\n").expect("written");
        assert_eq!(major_of_data(home.path()).expect("a version"), Some(14));

        let binaries = Binaries { dir: PathBuf::from("/pg/bin"), major: 17 };
        assert!(check_major(home.path(), 17, &binaries).is_ok());
        let error = check_major(home.path(), 14, &binaries).expect_err("differs").to_string();
        for part in ["PostgreSQL 14", "/pg/bin", "PostgreSQL 17", "delete"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
