//! Writes one setting to a `.env` file and keeps everything else in it.

use anyhow::Context;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Checks that the file can be replaced, before something happens that must be written to it.
pub(super) fn check(path: &Path) -> anyhow::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let unwritable = || format!("{} cannot be written", path.display());
    NamedTempFile::new_in(folder_of(&path)).with_context(unwritable)?;
    match fs::read_to_string(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(unwritable),
        _ => Ok(()),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Sets a name in the file. A missing file is created with mode 0600. The file is replaced atomically, so
/// that a reader sees the old one or the new one.
pub(super) fn set(path: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        found => found.with_context(|| format!("{} cannot be found", path.display()))?,
    };
    let unwritable = || format!("{} cannot be written", path.display());
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("{} cannot be read", path.display()))?,
    };
    let mut file = NamedTempFile::new_in(folder_of(&path)).with_context(unwritable)?;
    file.write_all(with(&before, name, text).as_bytes()).with_context(unwritable)?;
    if let Ok(known) = fs::metadata(&path) {
        fs::set_permissions(file.path(), known.permissions()).with_context(unwritable)?;
    }
    file.persist(&path).with_context(unwritable)?;
    Ok(())
}

/// The file's text with the setting, in place of the last line that sets it, or at the end.
fn with(before: &str, name: &str, text: &str) -> String {
    let line = format!("{name}={text}");
    let sets_it = |line: &str| {
        let line = line.trim_start_matches('\u{feff}').trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let mut lines: Vec<&str> = before.lines().collect();
    match lines.iter_mut().rev().find(|line| sets_it(line)) {
        Some(found) => *found = &line,
        None => lines.push(&line),
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_setting_changes_and_nothing_else() {
        let before = "# mine\nA=1\n#KEY=no\nKEYS=2\n export KEY = old\n";
        assert_eq!(with(before, "KEY", "new"), "# mine\nA=1\n#KEY=no\nKEYS=2\nKEY=new\n");
        assert_eq!(with("\u{feff}KEY=old\nA=1", "KEY", "new"), "KEY=new\nA=1\n");
        assert_eq!(with("A=1", "KEY", "new"), "A=1\nKEY=new\n");
        assert_eq!(with("", "KEY", "new"), "KEY=new\n");
    }

    #[test]
    fn a_new_file_is_closed_to_others_and_an_old_one_keeps_its_rights() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        set(&path, "KEY", "1").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        set(&path, "KEY", "2").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_to_string(&path).unwrap(), "KEY=2\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
