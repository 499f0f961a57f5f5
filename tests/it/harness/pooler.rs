//! A real `PgBouncer` in transaction mode in front of a database.
//!
//! If it is not installed, a test is skipped and prints why, unless `EVENTBRIDGE_REQUIRE_PGBOUNCER` is 1.

use super::{Database, Link, skip, within};
use secrecy::SecretString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The id of the user `nobody`. The pooler does not start as root, so tests that run as root start it as this
/// user.
const NOBODY: u32 = 65_534;

/// The pooler; dropping it ends it.
pub struct PgBouncer {
    folder: TempDir,
    database: String,
    _process: Child,
    _link: Link,
}

impl PgBouncer {
    /// One with two connections to the database, which all clients share.
    pub async fn in_front_of(database: &Database) -> Option<Self> {
        let Some(program) = find() else {
            skip("EVENTBRIDGE_REQUIRE_PGBOUNCER", "there is no pgbouncer: apt-get install pgbouncer");
            return None;
        };
        // The server only accepts the user who started it, so the pooler connects through our link.
        let link = Link::to(database);
        let folder = tempfile::tempdir().unwrap();
        open(link.folder());
        fs::set_permissions(link.folder().join(".s.PGSQL.5432"), Permissions::from_mode(0o666)).unwrap();
        let settings = folder.path().join("pgbouncer.ini");
        fs::write(&settings, configuration(link.folder(), folder.path())).unwrap();
        open(folder.path());
        let mut command = Command::new(program);
        command.arg(&settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut process = command.kill_on_drop(true).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        within("the pooler is up", async {
            loop {
                let message = log.next_line().await.unwrap().expect("the pooler ended");
                if message.contains("process up") {
                    break;
                }
            }
        })
        .await;
        // It keeps logging, and must not block on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        let database = database.options().get_database().unwrap().to_owned();
        Some(Self { folder, database, _process: process, _link: link })
    }

    pub fn url(&self) -> SecretString {
        let folder = self.folder.path().to_str().unwrap().replace('/', "%2F");
        let database = &self.database;
        SecretString::from(format!(
            "postgres://eventbridge@localhost:6432/{database}?host={folder}&sslmode=disable"
        ))
    }
}

fn configuration(server: &Path, own: &Path) -> String {
    format!(
        "[databases]\n* = host={} port=5432 user=eventbridge\n[pgbouncer]\nlisten_port = 6432\n\
         unix_socket_dir = {}\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n\
         ; cargo sets PGOPTIONS to nothing for the tests, and the driver sends that along\n\
         ignore_startup_parameters = options\n",
        server.display(),
        own.display()
    )
}

/// Opens the folder to other users who know the path.
fn open(folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(0o711)).unwrap();
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("pgbouncer")).find(|program| program.is_file())
}
