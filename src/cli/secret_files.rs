//! Secrets in files: `NAME_FILE` names a file with the text of `NAME`.
//!
//! Docker, Kubernetes and systemd provide secrets this way, so that they are not in an environment that
//! others can read. An error names the setting and the file, and never quotes the content.

use crate::app::DEFAULT_KINDS;
use crate::config::{self, Reader, Vars};
use crate::{destinations, sources};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The settings that are secrets. The kinds of sources and destinations name those of their instances.
const SECRETS: &[&str] =
    &["ALERT_URL", "API_KEYS", "DATABASE_DIRECT_URL", "DATABASE_URL", "HEARTBEAT_URL", "POSTGRES_PASSWORD"];

/// The largest file. Every secret is far smaller.
const BYTES_MAX: u64 = 64 * 1024;

/// Sets the secrets whose files are named. A file that cannot be read becomes a problem of its setting.
pub(super) fn read_into(vars: &mut Vars) {
    // The code that needs the instances reports invalid names.
    let instances = config::instances(&mut Reader::new(vars), DEFAULT_KINDS);
    let of_destinations = instances.iter().flat_map(|instance| {
        let kinds = destinations::KINDS.iter().filter(|kind| kind.name == instance.kind);
        kinds.flat_map(|kind| kind.secrets.iter().map(|suffix| instance.setting(suffix)))
    });
    let instances = config::sources(&mut Reader::new(vars), DEFAULT_KINDS);
    let of_sources = instances.iter().flat_map(|instance| {
        let kinds = sources::KINDS.iter().filter(|kind| kind.name == instance.kind);
        kinds.flat_map(|kind| kind.all_secrets().map(|suffix| instance.setting(suffix)))
    });
    let secrets: Vec<_> =
        SECRETS.iter().map(|name| (*name).to_owned()).chain(of_sources).chain(of_destinations).collect();
    for name in secrets {
        let of_file = format!("{name}_FILE");
        let Some(path) = vars.get(&of_file).map(str::to_owned) else { continue };
        if vars.get(&name).is_some() {
            vars.set_unreadable(&name, format!("is set, and so is {of_file}: remove one of them"));
            continue;
        }
        match secret(Path::new(&path)) {
            Ok(text) => vars.set(name, text),
            Err(why) => vars.set_unreadable(
                name,
                format!("cannot be used: its file {}({of_file}) {why}", shown_path(&path)),
            ),
        }
    }
}

/// The path, before a blank. Nothing if it may be the secret itself, given in place of the file.
fn shown_path(path: &str) -> String {
    let is_path = ["/", "./", "../"].iter().any(|start| path.starts_with(start));
    if is_path { format!("{path} ") } else { String::new() }
}

/// The text of a file, without the newline at its end.
pub(super) fn secret(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    // Before it is opened: opening a pipe without a writer would wait.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("has more than {BYTES_MAX} bytes, so it is not a secret"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The text of `name` if its file has these bytes, or the problem.
    fn read(name: &str, bytes: &[u8], more: &[(&str, &str)]) -> Result<Option<String>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        fs::write(&path, bytes).expect("written");
        read_path(name, path.to_str().expect("a path"), more)
    }

    fn read_path(name: &str, path: &str, more: &[(&str, &str)]) -> Result<Option<String>, String> {
        let mut vars: Vars = more.iter().copied().collect();
        vars.set(format!("{name}_FILE"), path);
        read_into(&mut vars);
        let mut reader = Reader::new(&vars);
        let text = reader.text(name).map(str::to_owned);
        reader.finish(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_is_read_from_its_file_and_the_newline_at_the_end_is_cut() {
        for bytes in ["whsec_a", "whsec_a\n", "whsec_a\r\n"] {
            let read = read("STRIPE_WEBHOOK_SECRET", bytes.as_bytes(), &[]);
            assert_eq!(read.expect("readable").as_deref(), Some("whsec_a"), "{bytes:?}");
        }
    }

    #[test]
    fn each_instance_has_a_file_of_its_own() {
        let sources = [("SOURCES", "stripe-eu:stripe")];
        let of_source = read("STRIPE_EU_WEBHOOK_SECRET", b"whsec_a", &sources);
        assert_eq!(of_source.expect("readable").as_deref(), Some("whsec_a"));
        let instances = [("DESTINATIONS", "notion,team-b:notion")];
        for name in ["NOTION_API_KEY", "TEAM_B_API_KEY"] {
            assert_eq!(read(name, b"ntn_x\n", &instances).expect("readable").as_deref(), Some("ntn_x"));
        }
        assert_eq!(read("OTHERS_API_KEY", b"sk_x", &instances).expect("not ours"), None);
    }

    #[test]
    fn setting_both_is_an_error() {
        let message = read("API_KEYS", b"content of the file", &[("API_KEYS", "content of the text")])
            .expect_err("both");
        assert!(message.contains("API_KEYS is set, and so is API_KEYS_FILE"), "{message}");
        assert!(!message.contains("content"), "{message}");
        // Set to nothing is not set.
        assert!(read("API_KEYS", b"x", &[("API_KEYS", " ")]).is_ok());
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_and_its_content_is_not() {
        let too_large = [b"secret".as_slice(), &vec![b'x'; 64 * 1024]].concat();
        for (bytes, why) in [
            (too_large.as_slice(), "more than 65536 bytes"),
            (b"secret \xff".as_slice(), "not UTF-8 text"),
            (b" \n".as_slice(), "is empty"),
        ] {
            let message = read("DATABASE_URL", bytes, &[]).expect_err(why);
            assert!(message.contains(why) && message.contains("/secret (DATABASE_URL_FILE)"), "{message}");
            assert!(!message.contains("secret x") && !message.contains("secretx"), "{message}");
        }
        let message = read_path("DATABASE_URL", "/nowhere/secret", &[]).expect_err("not there");
        assert!(message.contains("/nowhere/secret") && message.contains("cannot be read"), "{message}");
        let message = read_path("DATABASE_URL", "/", &[]).expect_err("a folder");
        assert!(message.contains("is not a regular file"), "{message}");
    }

    #[test]
    fn every_file_setting_is_in_the_model() {
        let model = include_str!("../../.env-model");
        let of_destinations = destinations::KINDS.iter().flat_map(|kind| {
            let instance = config::InstanceName::of_kind(kind.name);
            kind.secrets.iter().map(move |suffix| instance.setting(suffix))
        });
        let of_sources = sources::KINDS.iter().flat_map(|kind| {
            let instance = config::InstanceName::of_kind(kind.name);
            kind.all_secrets().map(move |suffix| instance.setting(suffix))
        });
        for name in SECRETS.iter().map(|name| (*name).to_owned()).chain(of_destinations).chain(of_sources) {
            assert!(model.contains(&format!("#{name}_FILE=")), "{name}_FILE is not in .env-model");
        }
    }
}
