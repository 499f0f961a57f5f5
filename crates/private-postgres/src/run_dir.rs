//! The temporary directory of one run: it holds the socket and, for temporary data, everything else.
//!
//! It is directly below `/tmp`, since a socket's path is limited to about a hundred bytes. Its
//! supervisor holds a lock in it. If the lock is free, the supervisor has ended, and the next one that
//! starts removes the directory.

use super::access::{OWNER_ONLY, give_to_server, let_server_enter, private_dir, restrict_to_owner};
use super::account::{Account, Invoker};
use super::binaries::Binaries;
use super::cluster::data_dir;
use super::error::{PostgresError, file_error};
use super::postmaster::{self, PidFile, PidOwner, StopMode};
use super::{PORT, tools::Tools};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

const PARENT: &str = "/tmp";
const PREFIX: &str = "eventbridge-pg-";
/// It also identifies a run's directory: nothing else is ever removed.
const LOCK: &str = "supervisor.lock";

/// How often to create a directory again because another process removed it before it was locked.
const CREATE_TRIES: u32 = 10;
/// Programs that are being killed may still write briefly.
const REMOVE_TRIES: u32 = 20;
const REMOVE_PAUSE: Duration = Duration::from_millis(25);

/// A run's directory; dropping this value deletes it.
#[derive(Debug)]
pub struct RunDir {
    /// The directory.
    pub path: PathBuf,
    _lock: File,
}

impl RunDir {
    /// Creates and locks a new one.
    pub fn create() -> Result<Self, PostgresError> {
        let parent = Path::new(PARENT);
        for _ in 0..CREATE_TRIES {
            // Created with a new name, and never open to others, whatever the umask.
            let made = tempfile::Builder::new()
                .prefix(PREFIX)
                .permissions(Permissions::from_mode(OWNER_ONLY))
                .tempdir_in(parent);
            let dir = made.map_err(file_error("create a directory in", parent))?;
            restrict_to_owner(dir.path())?;
            if let Some(lock) = lock_of(dir.path(), File::options().create_new(true))
                .map_err(file_error("lock", dir.path()))?
            {
                return Ok(Self { path: dir.keep(), _lock: lock });
            }
        }
        let taken = io::Error::other("other runs kept removing it");
        Err(file_error("create a directory in", parent)(taken))
    }

    /// Creates the socket's directory, for the server's user and the invoker.
    pub fn open_to(&self, invoker: &Invoker, server: Option<Account>) -> Result<PathBuf, PostgresError> {
        let socket_dir = socket_dir(&self.path);
        private_dir(&socket_dir, invoker.account)?;
        give_to_server(&socket_dir, server)?;
        let_server_enter(&self.path, server)?;
        Ok(socket_dir)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes the directories of supervisors that were killed. Failures are ignored: a later start tries
/// again.
pub async fn sweep(invoker: &Invoker, binaries: &Binaries) {
    for entry in fs::read_dir(PARENT).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
            && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == invoker.account.uid);
        // An empty one is not locked yet; if its creator still runs, it notices and tries again.
        if !ours || fs::remove_dir(&path).is_ok() {
            continue;
        }
        if let Ok(Some(_lock)) = lock_of(&path, &File::options())
            && stop_leftover_server(&path, invoker, binaries).await
        {
            remove(&path);
        }
    }
}

/// Stops the server of a leftover directory. A server of persistent data is left running: the next
/// start on the same data stops it.
async fn stop_leftover_server(run_dir: &Path, invoker: &Invoker, binaries: &Binaries) -> bool {
    let data = data_dir(run_dir);
    let Ok(found) = fs::metadata(&data) else {
        return !PidFile::read(&socket_dir(run_dir).join(format!(".s.PGSQL.{PORT}.lock")))
            .is_some_and(|server| postmaster::pid_owner(server.pid, &server.data) != PidOwner::Unrelated);
    };
    let account = invoker.is_root().then(|| Account { uid: found.uid(), gid: found.gid() });
    let tools = Tools { binaries: binaries.clone(), account };
    postmaster::stop_orphan(&data, &tools, StopMode::Immediate).await.is_ok()
}

fn socket_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("socket")
}

/// The lock of a run's directory; `None` if another process holds it or has removed the directory.
fn lock_of(run_dir: &Path, options: &OpenOptions) -> io::Result<Option<File>> {
    let path = run_dir.join(LOCK);
    let lock = match options.clone().write(true).mode(0o600).open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if lock.try_lock().is_err() {
        return Ok(None);
    }
    let same = fs::symlink_metadata(&path).is_ok_and(|found| {
        lock.metadata().is_ok_and(|held| (held.dev(), held.ino()) == (found.dev(), found.ino()))
    });
    Ok(same.then_some(lock))
}

/// Removes the lock last, so that the next sweep can resume an interrupted removal.
fn remove(path: &Path) {
    for _ in 0..REMOVE_TRIES {
        let emptied = fs::read_dir(path).into_iter().flatten().flatten().all(|entry| {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            entry.file_name() == LOCK
                || if is_dir { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }
                    .is_ok()
        });
        if emptied && fs::remove_dir_all(path).is_ok() {
            return;
        }
        thread::sleep(REMOVE_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_run_s_directory_is_short_and_deleted_with_its_value() {
        let run_dir = RunDir::create().expect("created");
        let path = run_dir.path.clone();
        assert!(socket_dir(&path).join(".s.PGSQL.5432").as_os_str().len() < 100);
        assert!(lock_of(&path, &File::options()).expect("readable").is_none(), "the lock is held");
        drop(run_dir);
        assert!(!path.exists());
    }

    #[test]
    fn a_run_s_directory_admits_only_its_owner() {
        let run_dir = RunDir::create().expect("created");
        let mode = fs::metadata(&run_dir.path).expect("there").mode();
        assert_eq!(mode & 0o777, OWNER_ONLY, "{mode:o}");
    }

    /// Runs the test above in processes with other umasks.
    #[test]
    fn a_run_s_directory_admits_only_its_owner_whatever_the_umask() {
        let this = std::env::current_exe().expect("the test's program");
        for umask in ["000", "022", "077", "277"] {
            let ended = Command::new("sh")
                .args(["-c", "umask \"$1\" && exec \"$0\" --exact run_dir::tests::a_run_s_directory_admits_only_its_owner"])
                .arg(&this)
                .arg(umask)
                .output()
                .expect("a shell");
            let printed = String::from_utf8_lossy(&ended.stdout);
            assert!(ended.status.success() && printed.contains("1 passed"), "umask {umask}: {printed}");
        }
    }

    #[test]
    fn a_removed_directory_has_no_lock() {
        let outer = tempfile::tempdir().expect("a directory");
        let gone = outer.path().join("gone");
        assert!(lock_of(&gone, File::options().create_new(true)).expect("no error").is_none());
    }
}
