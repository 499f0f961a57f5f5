//! Finds Postgres' own programs, which often are not in the PATH.

use super::error::PostgresError;
use super::install::install_command;
use std::cmp::Reverse;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest supported major version: the schema compresses payloads with lz4.
const OLDEST_MAJOR: u32 = 14;

const PROGRAMS: &[&str] = &["initdb", "pg_ctl", "postgres"];

/// Where packages install servers: a parent directory, the prefix of its entries, and a directory
/// below those.
const INSTALLATIONS: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/lib", "postgresql", "bin"),
    ("/usr/lib64", "postgresql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// A directory with a server's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The directory.
    pub dir: PathBuf,
    /// The major version, such as 17.
    pub major: u32,
}

impl Binaries {
    /// The first suitable directory: `PG_BIN_DIR`, the PATH, then where packages install servers,
    /// newest first. If data exist, the version that wrote them is preferred to others that are found.
    pub fn find(major_of_data: Option<u32>, as_root: bool) -> Result<Self, PostgresError> {
        if let Some(dir) = std::env::var_os("PG_BIN_DIR").filter(|dir| !dir.is_empty()) {
            return Self::in_dir(Path::new(&dir))
                .ok_or_else(|| PostgresError::BadBinDir { path: dir.into(), oldest: OLDEST_MAJOR });
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = on_path(&path).into_iter().chain(installed()).filter_map(|dir| Self::in_dir(&dir));
        choose(found, major_of_data).ok_or_else(|| PostgresError::NoBinaries {
            oldest: OLDEST_MAJOR,
            install: install_command(as_root),
        })
    }

    fn in_dir(dir: &Path) -> Option<Self> {
        if !dir.is_absolute() || !PROGRAMS.iter().all(|program| dir.join(program).is_file()) {
            return None;
        }
        let output = Command::new(dir.join("postgres")).arg("--version").env("LC_ALL", "C").output().ok()?;
        let major = major_in(&String::from_utf8_lossy(&output.stdout))?;
        (major >= OLDEST_MAJOR).then(|| Self { dir: dir.to_owned(), major })
    }
}

fn choose(found: impl Iterator<Item = Binaries>, major_of_data: Option<u32>) -> Option<Binaries> {
    let mut first = None;
    for binaries in found {
        if major_of_data.is_none_or(|major| major == binaries.major) {
            return Some(binaries);
        }
        first.get_or_insert(binaries);
    }
    first
}

fn on_path(path: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(path).collect()
}

fn installed() -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    for (parent, prefix, below) in INSTALLATIONS {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let mut versions: Vec<_> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let version = name.strip_prefix(prefix)?;
                Some((version_in(version), entry.path().join(below)))
            })
            .collect();
        versions.sort_by_key(|(version, _)| Reverse(*version));
        dirs.extend(versions.into_iter().map(|(_, dir)| dir));
    }
    dirs
}

/// The number in a directory's name; one without a number, such as `latest`, comes first.
fn version_in(name: &str) -> u32 {
    leading_number(name.trim_start_matches(|c: char| !c.is_ascii_digit())).unwrap_or(u32::MAX)
}

/// The major version in `postgres (PostgreSQL) 17.2 (Debian 17.2-1)`.
fn major_in(version_line: &str) -> Option<u32> {
    leading_number(version_line.split("(PostgreSQL)").nth(1)?.trim_start())
}

fn leading_number(text: &str) -> Option<u32> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_of_every_kind_of_build_is_read() {
        for (line, major) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", 15),
            ("postgres (PostgreSQL) 18beta1", 18),
            ("postgres (PostgreSQL) 9.6.24", 9),
        ] {
            assert_eq!(major_in(line), Some(major), "{line}");
        }
        assert_eq!(major_in("something else"), None);
    }

    #[test]
    fn newer_installations_come_first() {
        let mut names = ["9.6", "postgresql@15", "17", "latest", "16"];
        names.sort_by_key(|name| Reverse(version_in(name)));
        assert_eq!(names, ["latest", "17", "16", "postgresql@15", "9.6"]);
    }

    #[test]
    fn the_version_that_wrote_the_data_is_preferred_otherwise_the_first() {
        let found = |major| Binaries { dir: PathBuf::from(format!("/{major}")), major };
        let all = || [found(17), found(16), found(15)].into_iter();
        assert_eq!(choose(all(), Some(15)), Some(found(15)));
        assert_eq!(choose(all(), Some(14)), Some(found(17)));
        assert_eq!(choose(all(), None), Some(found(17)));
    }

    #[test]
    fn a_directory_that_lacks_a_program_is_skipped() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("pg_ctl"), "").expect("written");
        assert_eq!(Binaries::in_dir(dir.path()), None);
    }
}
