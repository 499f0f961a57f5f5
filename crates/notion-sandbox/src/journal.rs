//! The file that keeps a sandbox's data between processes: one JSON line per change.
//!
//! A record holds the complete changed object, so that replay is a plain upsert. At the start the file
//! is read and rewritten without replaced records. An incomplete last line, left by a crash, is
//! dropped. Damage elsewhere aborts the start, since more than one change would be lost. One process
//! at a time uses the file, and only its owner can read it.

use super::state::{DataSource, Database, Page, State};
use super::views::View;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// A journal open for writing.
#[derive(Debug)]
pub struct Journal {
    file: File,
    /// Set after a write failed half-way: later lines could not be separated from it.
    broken: bool,
    /// Holds the lock for as long as the journal is open.
    _lock: File,
}

/// One line of the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record<'a> {
    /// A database was created or changed.
    Database(Cow<'a, Database>),
    /// A data source was created or changed.
    DataSource(Cow<'a, DataSource>),
    /// A view was created.
    View(Cow<'a, View>),
    /// A page was created or changed.
    Page(Cow<'a, Page>),
    /// All pages were removed.
    Wiped,
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file or its folder is not usable.
    #[error("the sandbox's journal {} cannot be opened; check the folder and its permissions", path.display())]
    Open {
        /// The journal.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// Another process uses it.
    #[error("the sandbox's journal {} is in use by another process; stop that one or name another file", path.display())]
    InUse {
        /// The journal.
        path: PathBuf,
    },
    /// A line cannot be read.
    #[error("line {line} of the sandbox's journal {} cannot be read; repair or remove the file", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The parse error.
        #[source]
        source: serde_json::Error,
    },
}

impl Journal {
    /// Replays the file into `state`, rewrites it and leaves it open for more records.
    pub fn open(path: &Path, state: &mut State) -> Result<Self, JournalError> {
        let failed = |source| JournalError::Open { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let lock = private(&beside(path, "lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => JournalError::InUse { path: path.to_owned() },
            TryLockError::Error(source) => failed(source),
        })?;
        replay(path, state)?;
        let file = compact(path, state).map_err(failed)?;
        Ok(Self { file, broken: false, _lock: lock })
    }

    /// Writes one change. It is not synced to disk: the data need to outlive the process, not the machine.
    pub fn append(&mut self, record: &Record<'_>) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed; restart the sandbox"));
        }
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.file.write_all(&line).inspect_err(|_| self.broken = true)
    }
}

fn replay(path: &Path, state: &mut State) -> Result<(), JournalError> {
    let failed = |source| JournalError::Open { path: path.to_owned(), source };
    let mut reader = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    let mut line = 0;
    while reader.read_until(b'\n', &mut bytes).map_err(failed)? > 0 {
        line += 1;
        match serde_json::from_slice::<Record<'_>>(&bytes) {
            Ok(record) => state.replay(record),
            Err(_) if !bytes.ends_with(b"\n") => {
                tracing::warn!(line, "dropped the incomplete last line of the sandbox's journal");
            }
            Err(source) => return Err(JournalError::Damaged { path: path.to_owned(), line, source }),
        }
        bytes.clear();
    }
    Ok(())
}

/// Writes the state to another file and replaces the journal with it atomically.
fn compact(path: &Path, state: &State) -> io::Result<File> {
    let fresh = beside(path, "new");
    let mut writer = BufWriter::new(private(&fresh)?);
    writer.get_ref().set_len(0)?;
    for record in state.records() {
        serde_json::to_writer(&mut writer, &record)?;
        writer.write_all(b"\n")?;
    }
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    Ok(file)
}

fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}
