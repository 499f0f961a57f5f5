//! Where settings come from: the environment, then a `.env` file in this folder.

use super::secret_files;
use crate::config::{Reader, Vars};
use crate::domain::audit::Caller;
use crate::domain::visible::visible_in_log;
use crate::telemetry::{self, LogFormat};
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tracing::warn;

/// The image of Postgres reads these from the same file, and takes quotes for a part of their texts.
const SHARED_WITH_POSTGRES: &[&str] = &["POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"];

/// The settings file, in the folder that the command runs in.
pub(super) const FILE: &str = ".env";

/// Reads the environment and `.env`. The environment wins, even if it sets a name to nothing.
pub(super) fn vars() -> anyhow::Result<Vars> {
    let mut vars: Vars = file(Path::new(FILE))?.into_iter().collect();
    of_process().for_each(|(name, text)| set(&mut vars, &name, &text));
    secret_files::read_into(&mut vars);
    Ok(vars)
}

/// Only the environment, and its names.
pub(super) fn of_environment() -> (Vars, Vec<String>) {
    let (mut vars, mut names) = (Vars::default(), Vec::new());
    for (name, text) in of_process() {
        set(&mut vars, &name, &text);
        names.push(name);
    }
    secret_files::read_into(&mut vars);
    (vars, names)
}

/// Logs what may not be what the operator meant.
pub(super) fn log_warnings(reader: &mut Reader<'_>) {
    for warning in reader.take_warnings() {
        warn!(%warning, "a setting may be wrong");
    }
}

/// The names in `.env`.
pub(super) fn names_in_file() -> anyhow::Result<Vec<String>> {
    Ok(file(Path::new(FILE))?.into_keys().collect())
}

/// Sets a name to its text in the process's environment. `docker run --env-file` passes quotes on, unlike a
/// shell and a `.env` file.
fn set(vars: &mut Vars, name: &str, text: &str) {
    match unquoted(text).filter(|_| !SHARED_WITH_POSTGRES.contains(&name)) {
        Some(text) => vars.set_unquoted(name, text),
        None => vars.set(name, text),
    }
}

/// The text between the quotes around it, if there are any.
fn unquoted(text: &str) -> Option<&str> {
    let text = text.trim();
    ['"', '\''].into_iter().find_map(|quote| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.contains(quote)).then_some(inner)
    })
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
    // A container often has no name for its user.
    let user = user.or_else(|| Some(format!("uid-{}", std::fs::metadata("/proc/self").ok()?.uid())));
    Caller::at_command_line(user.as_deref().unwrap_or("unknown"))
}

/// Starts the log with the level from the settings.
pub(super) fn start_log(vars: &Vars, format: LogFormat) {
    telemetry::init(format, vars.get("LOG_LEVEL").or_else(|| vars.get("RUST_LOG")), visible_in_log);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_that_docker_keeps_are_taken_off() {
        for (text, expected) in [
            ("\"whsec_a\"", Some("whsec_a")),
            ("'postgres://u:p@db/events' ", Some("postgres://u:p@db/events")),
            ("\"\"", Some("")),
            ("\"whsec_a\",\"whsec_b\"", None),
            ("\"", None),
            ("\"whsec_a'", None),
            ("whsec_a", None),
        ] {
            assert_eq!(unquoted(text), expected, "{text}");
        }
        let mut vars = Vars::default();
        for name in ["DATABASE_URL", "POSTGRES_PASSWORD"] {
            set(&mut vars, name, "\"x\"");
        }
        assert_eq!((vars.get("DATABASE_URL"), vars.get("POSTGRES_PASSWORD")), (Some("x"), Some("\"x\"")));
    }
}
