//! The folder `.eventbridge` of a checkout, in which `dev` keeps its files.

use anyhow::Context;
use secrecy::SecretString;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

/// The checkout that a command runs in, and the files that `dev` keeps there. Only their owner can read them.
#[derive(Debug, Clone)]
pub(super) struct LocalState {
    pub(super) checkout: PathBuf,
}

impl LocalState {
    /// The state of the checkout that the command runs in: the one that cargo names, otherwise this folder.
    pub(super) fn here() -> anyhow::Result<Self> {
        let checkout = match std::env::var_os("CARGO_MANIFEST_DIR") {
            Some(checkout) => PathBuf::from(checkout),
            None => std::env::current_dir().context("this folder cannot be read")?,
        };
        Ok(Self { checkout })
    }

    /// The address of the database of the `dev` that runs in this checkout, if one does.
    pub(super) fn known_database(&self) -> anyhow::Result<Option<SecretString>> {
        let path = self.database_path();
        match fs::read_to_string(&path) {
            Ok(url) => Ok(Some(SecretString::from(url))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.checkout.join(".eventbridge")
    }

    pub(super) fn database_path(&self) -> PathBuf {
        self.folder().join("database-url")
    }
}
