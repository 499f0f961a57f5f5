//! The short-lived directory of one run: it holds the socket and, for a throw-away cluster, all else.
//!
//! It lies directly below `/tmp`, since a socket's path may have no more than some hundred bytes.
//! Its guardian holds a lock in it; one whose lock is free has lost its guardian and is swept by
//! the next one that starts.

use super::access::{hand_over, let_pass, private_dir};
use super::account::{Account, Starter};
use super::binaries::Binaries;
use super::cluster::data_dir;
use super::error::{PostgresError, file_error};
use super::postmaster::{self, Holder, PidFile, StopMode};
use super::{PORT, tools::Tools};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

const PARENT: &str = "/tmp";
const PREFIX: &str = "eventbridge-pg-";
/// It also tells a run's directory from any other of that name: nothing else is ever swept.
const LOCK: &str = "guardian.lock";

/// How often a directory is made anew because a sweep took it in the instant before it was locked.
const CREATE_TRIES: u32 = 10;
/// Programs that are being killed may still write for a moment.
const REMOVE_TRIES: u32 = 20;
const REMOVE_PAUSE: Duration = Duration::from_millis(25);

/// A run's directory; it goes when this value does.
#[derive(Debug)]
pub struct RunDir {
    /// The directory.
    pub path: PathBuf,
    _lock: File,
}

impl RunDir {
    /// Makes a fresh one and locks it.
    pub fn create() -> Result<Self, PostgresError> {
        let parent = Path::new(PARENT);
        for _ in 0..CREATE_TRIES {
            // Made with mode 0700 and a name that did not exist.
            let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent);
            let dir = made.map_err(file_error("create a directory in", parent))?;
            if let Some(lock) = lock_of(dir.path(), File::options().create_new(true))
                .map_err(file_error("lock", dir.path()))?
            {
                return Ok(Self { path: dir.keep(), _lock: lock });
            }
        }
        let taken = io::Error::other("other runs kept removing it");
        Err(file_error("create a directory in", parent)(taken))
    }

    /// Makes the socket's directory, for the server's user and whoever started us.
    pub fn open_to(&self, starter: &Starter, server: Option<Account>) -> Result<PathBuf, PostgresError> {
        let socket_dir = socket_dir(&self.path);
        private_dir(&socket_dir, starter.account)?;
        hand_over(&socket_dir, server)?;
        let_pass(&self.path, server)?;
        Ok(socket_dir)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Clears away what guardians left that were themselves killed. What cannot be cleared is left for
/// another time: it is no reason not to start.
pub async fn sweep(starter: &Starter, binaries: &Binaries) {
    for entry in fs::read_dir(PARENT).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
            && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == starter.account.uid);
        // An empty one has not been locked yet, or never will be; its maker notices and tries again.
        if !ours || fs::remove_dir(&path).is_ok() {
            continue;
        }
        if let Ok(Some(_lock)) = lock_of(&path, &File::options())
            && server_gone(&path, starter, binaries).await
        {
            remove(&path);
        }
    }
}

/// Stops the server that a leftover still has. That of a kept cluster is let be: the next start on
/// the same data stops it.
async fn server_gone(run_dir: &Path, starter: &Starter, binaries: &Binaries) -> bool {
    let data = data_dir(run_dir);
    let Ok(found) = fs::metadata(&data) else {
        return !PidFile::read(&socket_dir(run_dir).join(format!(".s.PGSQL.{PORT}.lock")))
            .is_some_and(|server| postmaster::holder(server.pid, &server.data) != Holder::Stranger);
    };
    let account = starter.is_root().then(|| Account { uid: found.uid(), gid: found.gid() });
    let tools = Tools { binaries: binaries.clone(), account };
    postmaster::stop_orphan(&data, &tools, StopMode::Immediate).await.is_ok()
}

fn socket_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("socket")
}

/// The lock of a run's directory; none if another holds it or the directory was swept meanwhile.
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

/// Removes the lock last: a removal that is cut short is taken up by the next sweep.
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

    #[test]
    fn a_run_s_directory_is_short_and_goes_with_its_value() {
        let run_dir = RunDir::create().expect("created");
        let path = run_dir.path.clone();
        assert!(socket_dir(&path).join(".s.PGSQL.5432").as_os_str().len() < 100);
        assert!(lock_of(&path, &File::options()).expect("readable").is_none(), "the lock is held");
        drop(run_dir);
        assert!(!path.exists());
    }

    #[test]
    fn a_lock_in_a_directory_that_is_gone_is_no_lock() {
        let outer = tempfile::tempdir().expect("a directory");
        let gone = outer.path().join("gone");
        assert!(lock_of(&gone, File::options().create_new(true)).expect("no error").is_none());
    }
}
