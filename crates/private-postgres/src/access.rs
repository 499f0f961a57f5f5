//! Access to a server's files and to the server: only the user who started the program has it and, if
//! that is root, the user who runs the server.
//!
//! Root writes only to directories that root owns, so that the server's user cannot place a link
//! there. The server's user owns only the data and the socket's directory.

use super::account::{Account, Invoker};
use super::error::{PostgresError, file_error};
use super::{ROLE, cluster};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

/// The mode of a directory that only its owner can use.
pub const OWNER_ONLY: u32 = 0o700;
/// The server's group may enter the directory, but not list it.
const SERVER_MAY_ENTER: u32 = 0o710;
const SERVER_MAY_READ: u32 = 0o640;
const PERMISSIONS: u32 = 0o777;

/// Creates a directory that only `owner` can use, or checks that an existing one is.
pub fn private_dir(path: &Path, owner: Account) -> Result<(), PostgresError> {
    match DirBuilder::new().mode(OWNER_ONLY).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(file_error("create", path)(error));
        }
        _ => {}
    }
    let found = fs::symlink_metadata(path).map_err(file_error("inspect", path))?;
    if !found.is_dir() || found.uid() != owner.uid {
        return Err(PostgresError::NotPrivate { path: path.to_owned() });
    }
    // A running server may still need to enter it.
    if found.mode() & PERMISSIONS == SERVER_MAY_ENTER { Ok(()) } else { restrict_to_owner(path) }
}

/// Gives only the owner access to a directory, independent of the umask.
pub fn restrict_to_owner(path: &Path) -> Result<(), PostgresError> {
    set_mode(path, OWNER_ONLY)
}

/// Lets the server's user enter a directory of root.
pub fn let_server_enter(path: &Path, server: Option<Account>) -> Result<(), PostgresError> {
    let Some(server) = server else { return Ok(()) };
    chown(path, None, Some(server.gid)).map_err(file_error("change the owner of", path))?;
    set_mode(path, SERVER_MAY_ENTER)
}

/// Makes the server's user the owner.
pub fn give_to_server(path: &Path, server: Option<Account>) -> Result<(), PostgresError> {
    let Some(server) = server else { return Ok(()) };
    chown(path, Some(server.uid), Some(server.gid)).map_err(file_error("change the owner of", path))
}

/// Writes the server's access rules. The kernel reports the user at the other end of the socket, and
/// only the user who started the program has a role.
pub fn write_rules(home: &Path, invoker: &Invoker, server: Option<Account>) -> Result<(), PostgresError> {
    let hba = format!("local all {ROLE} peer map=private\n");
    let ident = format!("private \"{}\" {ROLE}\n", invoker.name);
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
            chown(&path, None, Some(server.gid)).map_err(file_error("change the owner of", &path))?;
        }
        // Independent of the umask.
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
    fn a_private_directory_is_created_or_restricted() {
        let invoker = Invoker::detect().expect("a user");
        let outer = tempfile::tempdir().expect("a directory");
        let path = outer.path().join("private");
        private_dir(&path, invoker.account).expect("created");
        set_mode(&path, 0o777).expect("opened");
        private_dir(&path, invoker.account).expect("restricted again");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, OWNER_ONLY);
    }

    #[test]
    fn a_link_or_another_user_s_directory_is_rejected() {
        let invoker = Invoker::detect().expect("a user");
        let outer = tempfile::tempdir().expect("a directory");
        let link = outer.path().join("link");
        symlink(outer.path(), &link).expect("linked");
        assert!(matches!(private_dir(&link, invoker.account), Err(PostgresError::NotPrivate { .. })));
        let other = Account { uid: invoker.account.uid + 1, gid: 0 };
        assert!(matches!(private_dir(outer.path(), other), Err(PostgresError::NotPrivate { .. })));
    }
}
