//! The folder `.eventbridge` of a checkout, in which `dev` keeps its files.

use anyhow::Context;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

/// Stands beside the settings of `dev` if its database is the private one.
pub(super) const PRIVATE_DATABASE: &str = "(private database)";

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

    /// All settings of the `dev` that runs in this checkout, whether the user or `dev` itself set them; nothing if none
    /// runs.
    pub(super) fn settings_of_dev(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let path = self.settings_path();
        let unreadable = || format!("{} cannot be read", path.display());
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(error).with_context(unreadable),
        };
        // A `dev` locks its file while it runs, so a file that can be locked is left of one that was killed.
        match file.try_lock_shared() {
            Ok(()) => return Ok(BTreeMap::new()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error).with_context(unreadable),
        }
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(unreadable)?;
        // It is empty for a moment when it is written.
        if text.is_empty() {
            Ok(BTreeMap::new())
        } else {
            serde_json::from_str(&text).with_context(unreadable)
        }
    }

    /// Whether a `dev` has run here and keeps its data.
    pub(super) fn keeps_data(&self) -> bool {
        self.folder().is_dir()
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.checkout.join(".eventbridge")
    }

    pub(super) fn settings_path(&self) -> PathBuf {
        self.folder().join("settings.json")
    }
}
