//! Settings as the user gives them: the environment, and under it a `.env` file in this folder.

use super::secret_files;
use crate::config::Vars;
use crate::domain::audit::Caller;
use crate::telemetry::{self, LogFormat};
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// The file of settings, in the folder that the command runs in.
pub(super) const FILE: &str = ".env";

/// Reads the environment and `.env`; the environment wins, also where it sets a name to nothing.
pub(super) fn vars() -> anyhow::Result<Vars> {
    let mut vars = file(Path::new(FILE))?;
    vars.extend(of_process());
    let mut vars = vars.into_iter().collect();
    secret_files::read_into(&mut vars);
    Ok(vars)
}

/// The environment alone, and the names that stand in it.
pub(super) fn of_environment() -> (Vars, Vec<String>) {
    let vars: Vec<_> = of_process().collect();
    let names = vars.iter().map(|(name, _)| name.clone()).collect();
    let mut vars = vars.into_iter().collect();
    secret_files::read_into(&mut vars);
    (vars, names)
}

/// The names that stand in `.env`.
pub(super) fn names_in_file() -> anyhow::Result<Vec<String>> {
    Ok(file(Path::new(FILE))?.into_keys().collect())
}

/// Names and texts that are no Unicode are none of ours.
fn of_process() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
}

/// Who types the command, for the audit.
pub(super) fn caller() -> Caller {
    // With sudo the person's own name, not root's.
    let names = ["SUDO_USER", "USER", "LOGNAME"];
    let user = names.iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    Caller::at_command_line(user.as_deref().unwrap_or("unknown"))
}

/// Starts the log as the settings say.
pub(super) fn start_log(vars: &Vars, format: LogFormat) {
    telemetry::init(format, vars.get("LOG_LEVEL").or_else(|| vars.get("RUST_LOG")));
    telemetry::log_panics();
}

fn file(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(dotenvy::Error::Io(error)) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).context("the file .env cannot be read"),
    };
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
