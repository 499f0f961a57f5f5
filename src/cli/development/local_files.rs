//! What `dev` keeps between runs in the folder `.eventbridge`: the webhook secret, the sandbox's
//! journal, and what it has set while it runs.

use crate::cli::local_state::LocalState;
use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
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
        let mut file = private_file(&path)?;
        writeln!(file, "{}", secret.expose_secret()).with_context(|| unwritable(&path))?;
        Ok(secret)
    }

    /// Stores what `dev` has set while it runs, for other commands; `None` removes it.
    pub(super) fn record_settings(&self, settings: Option<&BTreeMap<String, String>>) -> anyhow::Result<()> {
        self.create_folder()?;
        let path = self.settings_path();
        match settings {
            Some(settings) => {
                let mut file = private_file(&path)?;
                file.write_all(&serde_json::to_vec(settings)?).with_context(|| unwritable(&path))
            }
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(error).with_context(|| unwritable(&path))
                }
                _ => Ok(()),
            },
        }
    }

    fn create_folder(&self) -> anyhow::Result<PathBuf> {
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

/// An empty file that only its owner can read.
fn private_file(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(path).with_context(|| unwritable(path))
}

fn unreadable(path: &Path) -> String {
    format!("{} cannot be read", path.display())
}

fn unwritable(path: &Path) -> String {
    format!("{} cannot be written", path.display())
}
