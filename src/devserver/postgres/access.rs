//! Who may touch a server's files, and who may connect to it: the user who started us and, where
//! that is root, the user who runs the server. Nobody else.
//!
//! For root, what root writes lies in directories of root's own, so that the server's user cannot
//! plant a link in its way; the server's user owns only the data and the socket's directory.

use super::account::{Account, Starter};
use super::error::{PostgresError, file_error};
use super::{ROLE, cluster};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

const OWNER_ONLY: u32 = 0o700;
/// Lets the server's group through to what it knows by name, and nobody list what is there.
const SERVER_MAY_PASS: u32 = 0o710;
const SERVER_MAY_READ: u32 = 0o640;
const PERMISSIONS: u32 = 0o777;

/// Makes sure of a directory that is ours and closed to others.
pub fn private_dir(path: &Path, owner: Account) -> Result<(), PostgresError> {
    match DirBuilder::new().mode(OWNER_ONLY).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(file_error("create", path)(error));
        }
        _ => {}
    }
    let found = fs::symlink_metadata(path).map_err(file_error("look at", path))?;
    if !found.is_dir() || found.uid() != owner.uid {
        return Err(PostgresError::NotPrivate { path: path.to_owned() });
    }
    // One that a running server passes through stays open to it.
    if found.mode() & PERMISSIONS == SERVER_MAY_PASS { Ok(()) } else { close(path) }
}

/// Closes a directory to all but its owner, whatever the umask was when it was made.
pub fn close(path: &Path) -> Result<(), PostgresError> {
    set_mode(path, OWNER_ONLY)
}

/// Lets the server's user pass through a directory of root's.
pub fn let_pass(path: &Path, server: Option<Account>) -> Result<(), PostgresError> {
    let Some(server) = server else { return Ok(()) };
    chown(path, None, Some(server.gid)).map_err(file_error("hand over", path))?;
    set_mode(path, SERVER_MAY_PASS)
}

/// Makes the server's user the owner.
pub fn hand_over(path: &Path, server: Option<Account>) -> Result<(), PostgresError> {
    let Some(server) = server else { return Ok(()) };
    chown(path, Some(server.uid), Some(server.gid)).map_err(file_error("hand over", path))
}

/// Writes the rules by which the server tells its callers apart: the kernel says who is at the
/// other end of the socket, and only the user who started us has a role.
pub fn write_rules(home: &Path, starter: &Starter, server: Option<Account>) -> Result<(), PostgresError> {
    let hba = format!("local all {ROLE} peer map=private\n");
    let ident = format!("private \"{}\" {ROLE}\n", starter.name);
    for (path, text) in [(cluster::hba_file(home), hba), (cluster::ident_file(home), ident)] {
        let write = |mut file: fs::File| file.write_all(text.as_bytes());
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(SERVER_MAY_READ)
            .open(&path)
            .and_then(write)
            .map_err(file_error("write", &path))?;
        if let Some(server) = server {
            chown(&path, None, Some(server.gid)).map_err(file_error("hand over", &path))?;
        }
        // Whatever the umask was.
        set_mode(&path, SERVER_MAY_READ)?;
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<(), PostgresError> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(file_error("set the permissions of", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_private_directory_is_made_or_closed_to_others() {
        let starter = Starter::detect().expect("a user");
        let outer = tempfile::tempdir().expect("a directory");
        let path = outer.path().join("private");
        private_dir(&path, starter.account).expect("made");
        set_mode(&path, 0o777).expect("opened");
        private_dir(&path, starter.account).expect("closed again");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, OWNER_ONLY);
    }

    #[test]
    fn a_link_or_a_stranger_s_directory_is_refused() {
        let starter = Starter::detect().expect("a user");
        let outer = tempfile::tempdir().expect("a directory");
        let link = outer.path().join("link");
        symlink(outer.path(), &link).expect("linked");
        assert!(matches!(private_dir(&link, starter.account), Err(PostgresError::NotPrivate { .. })));
        let stranger = Account { uid: starter.account.uid + 1, gid: 0 };
        assert!(matches!(private_dir(outer.path(), stranger), Err(PostgresError::NotPrivate { .. })));
    }
}
