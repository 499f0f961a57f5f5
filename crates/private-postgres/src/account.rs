//! The user who started the program, and the user who may run a server: Postgres does not run as root.

use super::error::PostgresError;
use std::path::PathBuf;
use std::process::Command;

/// The users who may run a server for root, in order of preference.
const SERVER_USERS: &[&str] = &["postgres", "nobody"];

/// A user's numeric ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
}

/// The user who started the program, and the only one who may connect.
#[derive(Debug)]
pub struct Invoker {
    /// The name, by which the server recognises the user at the other end of its socket.
    pub name: String,
    /// The ids.
    pub account: Account,
}

impl Invoker {
    /// Reads name and ids from the system.
    pub fn detect() -> Result<Self, PostgresError> {
        let name = id(&["-un"])?.map_err(|detail| PostgresError::NamelessUser { detail })?;
        let account =
            account_of(None)?.ok_or_else(|| PostgresError::NamelessUser { detail: name.clone() })?;
        Ok(Self { name, account })
    }

    /// Whether another user must run the server.
    pub fn is_root(&self) -> bool {
        self.account.uid == 0
    }

    /// The user who runs a new server for root.
    pub fn server_account() -> Result<Account, PostgresError> {
        for user in SERVER_USERS {
            match account_of(Some(user))? {
                Some(account) if account.uid != 0 => return Ok(account),
                _ => {}
            }
        }
        Err(PostgresError::NoServerUser)
    }
}

fn account_of(user: Option<&str>) -> Result<Option<Account>, PostgresError> {
    let number = |flag: &'static str| -> Result<Option<u32>, PostgresError> {
        let arguments: Vec<&str> = std::iter::once(flag).chain(user).collect();
        Ok(id(&arguments)?.ok().and_then(|text| text.parse().ok()))
    };
    Ok(number("-u")?.zip(number("-g")?).map(|(uid, gid)| Account { uid, gid }))
}

/// The output of `id`, or its error message.
fn id(arguments: &[&str]) -> Result<Result<String, String>, PostgresError> {
    let output = Command::new("id")
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .map_err(|source| PostgresError::Run { program: PathBuf::from("id"), source })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invoker_s_name_leads_to_the_same_account() {
        let invoker = Invoker::detect().expect("a named user");
        assert_eq!(account_of(Some(&invoker.name)).expect("id runs"), Some(invoker.account));
    }

    #[test]
    fn a_user_who_does_not_exist_has_no_account() {
        assert_eq!(account_of(Some("no-such-user-here")).expect("id runs"), None);
    }
}
