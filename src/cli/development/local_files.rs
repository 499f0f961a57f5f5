//! What `dev` keeps between runs in the folder `.eventbridge`: the webhook secret, the sandbox's
//! journal, and what it has set while it runs.

use crate::cli::local_state::LocalState;
use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

impl LocalState {
    /// The file in which the Notion sandbox keeps its pages.
    pub(super) fn sandbox_journal(&self) -> anyhow::Result<PathBuf> {
        Ok(self.create_folder()?.join("notion-sandbox.jsonl"))
    }

    /// The webhook secret of an earlier run, if there is one.
    pub(super) fn known_webhook_secret(&self) -> anyhow::Result<Option<SecretString>> {
        let path = self.secret_path();
        let mut text = String::new();
        match File::open(&path) {
            Ok(mut file) => file.read_to_string(&mut text).with_context(|| unreadable(&path))?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| unreadable(&path)),
        };
        let secret = text.trim();
        Ok((!secret.is_empty()).then(|| SecretString::from(secret)))
    }

    /// The webhook secret of this checkout; created and stored if there is none yet.
    pub(super) fn webhook_secret(&self) -> anyhow::Result<SecretString> {
        if let Some(secret) = self.known_webhook_secret()? {
            return Ok(secret);
        }
        let secret = SecretString::from(format!("whsec_{}", hex::encode(rand::random::<[u8; 24]>())));
        self.create_folder()?;
        let path = self.secret_path();
        let mut file = private_file(&path, true)?;
        writeln!(file, "{}", secret.expose_secret()).with_context(|| unwritable(&path))?;
        Ok(secret)
    }

    /// Stores what `dev` has set, for other commands, until the result is dropped. `None` if another `dev` of this
    /// checkout has done so.
    pub(super) fn publish(&self, settings: &BTreeMap<String, String>) -> anyhow::Result<Option<Published>> {
        self.create_folder()?;
        let path = self.settings_path();
        let mut file = private_file(&path, false)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| unwritable(&path)),
        }
        let text = serde_json::to_vec(settings)?;
        file.set_len(0).and_then(|()| file.write_all(&text)).with_context(|| unwritable(&path))?;
        Ok(Some(Published { path, _locked: file }))
    }

    pub(super) fn create_folder(&self) -> anyhow::Result<PathBuf> {
        let folder = self.folder();
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| unwritable(&folder));
            }
            // It may be an older one that others can enter.
            _ => {}
        }
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).with_context(|| unwritable(&folder))?;
        Ok(folder)
    }

    fn secret_path(&self) -> PathBuf {
        self.folder().join("stripe-webhook-secret")
    }
}

/// The settings of a running `dev` in a file that it has locked. The lock ends with the process, however it ends.
pub(super) struct Published {
    path: PathBuf,
    _locked: File,
}

impl Drop for Published {
    fn drop(&mut self) {
        // If it cannot be removed, it is not locked any more and has no effect.
        let _ = fs::remove_file(&self.path);
    }
}

/// A file that only its owner can read, emptied if that is wanted.
fn private_file(path: &Path, emptied: bool) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(emptied)
        .mode(0o600)
        .open(path)
        .with_context(|| unwritable(path))
}

fn unreadable(path: &Path) -> String {
    format!("{} cannot be read", path.display())
}

fn unwritable(path: &Path) -> String {
    format!("{} cannot be written", path.display())
}
