//! What `dev` keeps between runs, in the folder `.eventbridge` of the checkout.

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file that says where the database of a running `dev` is.
const DATABASE: &str = "database-url";

/// The folder of a checkout in which `dev` keeps things; closed to others.
#[derive(Debug, Clone)]
pub(super) struct LocalState {
    checkout: PathBuf,
}

impl LocalState {
    /// The state of the checkout that the command runs in: cargo says where it is, else this folder.
    pub(super) fn here() -> anyhow::Result<Self> {
        let checkout = match std::env::var_os("CARGO_MANIFEST_DIR") {
            Some(checkout) => PathBuf::from(checkout),
            None => std::env::current_dir().context("this folder cannot be read")?,
        };
        Ok(Self { checkout })
    }

    /// The checkout itself.
    pub(super) fn checkout(&self) -> &Path {
        &self.checkout
    }

    /// Where the pages of the Notion sandbox are kept.
    pub(super) fn sandbox_journal(&self) -> anyhow::Result<PathBuf> {
        Ok(self.folder()?.join("notion-sandbox.jsonl"))
    }

    /// The webhook secret that an earlier run has made.
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

    /// The webhook secret of this checkout; made and kept where there is none yet.
    pub(super) fn webhook_secret(&self) -> anyhow::Result<SecretString> {
        if let Some(secret) = self.known_webhook_secret()? {
            return Ok(secret);
        }
        let secret = SecretString::from(format!("whsec_{}", hex::encode(rand::random::<[u8; 24]>())));
        self.folder()?;
        let path = self.secret_path();
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| unwritable(&path))?;
        writeln!(file, "{}", secret.expose_secret()).with_context(|| unwritable(&path))?;
        Ok(secret)
    }

    /// Notes where the database of the `dev` that runs here is; nothing when it stops.
    pub(super) fn note_database(&self, url: Option<&str>) -> anyhow::Result<()> {
        let path = self.folder()?.join(DATABASE);
        match url {
            Some(url) => fs::write(&path, url).with_context(|| unwritable(&path)),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(error).with_context(|| unwritable(&path))
                }
                _ => Ok(()),
            },
        }
    }

    /// Where the database of the `dev` that runs here is.
    pub(super) fn known_database(&self) -> anyhow::Result<Option<SecretString>> {
        let path = self.checkout.join(".eventbridge").join(DATABASE);
        match fs::read_to_string(&path) {
            Ok(url) => Ok(Some(SecretString::from(url))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| unreadable(&path)),
        }
    }

    fn folder(&self) -> anyhow::Result<PathBuf> {
        let folder = self.checkout.join(".eventbridge");
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(error).with_context(|| unwritable(&folder))
            }
            _ => Ok(folder),
        }
    }

    fn secret_path(&self) -> PathBuf {
        self.checkout.join(".eventbridge").join("stripe-webhook-secret")
    }
}

fn unreadable(path: &Path) -> String {
    format!("{} cannot be read", path.display())
}

fn unwritable(path: &Path) -> String {
    format!("{} cannot be written", path.display())
}
