//! Where settings come from: the environment, then a `.env` file in this folder.

use super::secret_files;
use crate::config::Vars;
use crate::domain::audit::Caller;
use crate::telemetry::{self, LogFormat};
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// The settings file, in the folder that the command runs in.
pub(super) const FILE: &str = ".env";

/// Reads the environment and `.env`. The environment wins, even if it sets a name to nothing.
pub(super) fn vars() -> anyhow::Result<Vars> {
    let mut vars = file(Path::new(FILE))?;
    vars.extend(of_process());
    let mut vars = vars.into_iter().collect();
    secret_files::read_into(&mut vars);
    Ok(vars)
}

/// Only the environment, and its names.
pub(super) fn of_environment() -> (Vars, Vec<String>) {
    let vars: Vec<_> = of_process().collect();
    let names = vars.iter().map(|(name, _)| name.clone()).collect();
    let mut vars = vars.into_iter().collect();
    secret_files::read_into(&mut vars);
    (vars, names)
}

/// The names in `.env`.
pub(super) fn names_in_file() -> anyhow::Result<Vec<String>> {
    Ok(file(Path::new(FILE))?.into_keys().collect())
}

/// The process's environment, without names and texts that are not Unicode.
fn of_process() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
}

/// Who runs the command, for the audit log.
pub(super) fn caller() -> Caller {
    // With sudo the person's own name, not root's.
    let names = ["SUDO_USER", "USER", "LOGNAME"];
    let user = names.iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    Caller::at_command_line(user.as_deref().unwrap_or("unknown"))
}

/// Starts the log with the level from the settings.
pub(super) fn start_log(vars: &Vars, format: LogFormat) {
    telemetry::init(format, vars.get("LOG_LEVEL").or_else(|| vars.get("RUST_LOG")));
    telemetry::log_panics();
}

fn file(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).context("the file .env cannot be read"),
    };
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        bail!("the file .env is written in UTF-16: save it as UTF-8");
    }
    // Some editors begin a file with the mark of its encoding.
    let lines = dotenvy::from_read_iter(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes));
    let mut vars = BTreeMap::new();
    let mut last = "its first line".to_owned();
    for line in lines {
        // The error quotes the line, which may hold a secret, so it is not passed on.
        let Ok((name, text)) = line else {
            bail!(
                "the file .env cannot be read after {last}: write NAME=text, and quote a text with spaces or #"
            );
        };
        last.clone_from(&name);
        vars.insert(name, text);
    }
    Ok(vars)
}
