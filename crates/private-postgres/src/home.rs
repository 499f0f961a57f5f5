//! The directory of persistent data, and the lock that admits one supervisor at a time.

use super::access::private_dir;
use super::account::Invoker;
use super::error::{PostgresError, file_error};
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// An earlier run may still be shutting down.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(50);

/// The directory of root's clusters: the server's user cannot enter a checkout below `/root`.
const ROOT_HOMES: &str = "/var/lib/eventbridge";
const WRITABLE_BY_OTHERS: u32 = 0o022;
const NAME_CHARS_MAX: usize = 40;
const HASH_HEX_CHARS: usize = 12;

/// The directory of persistent data, locked as long as this value exists.
#[derive(Debug)]
pub struct Home {
    /// The directory.
    pub path: PathBuf,
    _lock: File,
}

impl Home {
    /// Finds or creates the directory for a checkout, and waits for its lock with a time limit.
    pub async fn of(checkout: &Path, invoker: &Invoker) -> Result<Self, PostgresError> {
        let path = if invoker.is_root() {
            let homes = Path::new(ROOT_HOMES);
            root_homes(homes)?;
            homes.join(key_of(checkout))
        } else {
            let ours = checkout.join(".eventbridge");
            private_dir(&ours, invoker.account)?;
            ours.join("postgres")
        };
        private_dir(&path, invoker.account)?;
        let lock = locked(&path.join("lock"), LOCK_WAIT_MAX).await?;
        let lock = lock.ok_or_else(|| PostgresError::InUse { path: path.clone() })?;
        Ok(Self { path, _lock: lock })
    }
}

fn root_homes(path: &Path) -> Result<(), PostgresError> {
    // The server's user must be able to enter it; each directory below restricts its own access.
    DirBuilder::new().recursive(true).mode(0o711).create(path).map_err(file_error("create", path))?;
    let found = fs::symlink_metadata(path).map_err(file_error("inspect", path))?;
    if !found.is_dir() || found.uid() != 0 || found.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(PostgresError::NotPrivate { path: path.to_owned() });
    }
    Ok(())
}

/// A recognisable name, made unique by a hash of the whole path.
fn key_of(checkout: &Path) -> String {
    let hash = hex::encode(Sha256::digest(checkout.as_os_str().as_bytes()));
    let name = checkout.file_name().unwrap_or_default().to_string_lossy();
    let plain = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let plain: String = plain.take(NAME_CHARS_MAX).collect();
    format!("{plain}-{}", hash.get(..HASH_HEX_CHARS).unwrap_or(&hash))
}

async fn locked(path: &Path, wait_max: Duration) -> Result<Option<File>, PostgresError> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(file_error("open", path))?;
    let deadline = Instant::now() + wait_max;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(LOCK_POLL).await,
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(file_error("lock", path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_admits_one_holder_at_a_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        let lock = locked(&path, Duration::ZERO).await.expect("opened").expect("free");
        assert!(locked(&path, Duration::ZERO).await.expect("opened").is_none());
        drop(lock);
        assert!(locked(&path, Duration::ZERO).await.expect("opened").is_some());
    }

    #[test]
    fn checkouts_with_the_same_name_have_different_directories() {
        let (one, other) = (key_of(Path::new("/a/bridge")), key_of(Path::new("/b/bridge")));
        assert!(one.starts_with("bridge-") && other.starts_with("bridge-"));
        assert_ne!(one, other);
    }

    #[test]
    fn a_key_is_short_and_plain_for_any_path() {
        let key = key_of(&Path::new("/x").join("é /..\n".repeat(50)));
        assert!(key.len() <= NAME_CHARS_MAX + 1 + HASH_HEX_CHARS, "{key}");
        assert!(key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{key}");
        assert!(!key_of(Path::new("/")).is_empty());
    }
}
