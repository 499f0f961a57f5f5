//! Secrets in files of their own: `NAME_FILE` names the file that holds what `NAME` would say.
//!
//! So they come from Docker, Kubernetes and systemd, and never stand in an environment that others can
//! read. What is wrong with a file is told by the name of the setting and of the file; what is in it
//! never is.

use crate::config::{self, Reader, Vars};
use std::fs::File;
use std::io::Read;

/// The settings that are secrets.
const SECRETS: &[&str] = &[
    "ALERT_URL",
    "API_KEYS",
    "DATABASE_DIRECT_URL",
    "DATABASE_URL",
    "HEARTBEAT_URL",
    "POSTGRES_PASSWORD",
    "STRIPE_WEBHOOK_SECRET",
];

/// Those that each destination instance has under its own name.
const SECRETS_OF_INSTANCES: &[&str] = &["API_KEY"];

/// No secret of ours comes near it.
const BYTES_MAX: u64 = 64 * 1024;

/// Sets what stands in the files that are named; what cannot be read is noted at the setting.
pub(super) fn read_into(vars: &mut Vars) {
    // What is wrong with the instances themselves is told by whoever needs them.
    let instances = config::instances(&mut Reader::new(vars));
    let of_instances = instances
        .iter()
        .flat_map(|instance| SECRETS_OF_INSTANCES.iter().map(|suffix| instance.setting(suffix)));
    let secrets: Vec<_> = SECRETS.iter().map(|name| (*name).to_owned()).chain(of_instances).collect();
    for name in secrets {
        let of_file = format!("{name}_FILE");
        let Some(path) = vars.get(&of_file).map(str::to_owned) else { continue };
        if vars.get(&name).is_some() {
            vars.set_unreadable(&name, format!("is set, and so is {of_file}: take one of them away"));
            continue;
        }
        match secret(&path) {
            Ok(text) => vars.set(name, text),
            Err(why) => vars.set_unreadable(name, format!("its file {path} ({of_file}) {why}")),
        }
    }
}

/// What a file holds, without the newline at its end.
fn secret(path: &str) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    // Before it is opened: a pipe that nobody writes to would be waited for.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("is no file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("holds more than {BYTES_MAX} bytes, so it is no secret of ours"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "holds something that is no text".to_owned())?;
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

    /// What `name` is with its file holding these bytes, or the problem that is told.
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
        let instances = [("DESTINATIONS", "notion,team-b:notion")];
        for name in ["NOTION_API_KEY", "TEAM_B_API_KEY"] {
            assert_eq!(read(name, b"ntn_x\n", &instances).expect("readable").as_deref(), Some("ntn_x"));
        }
        assert_eq!(read("OTHERS_API_KEY", b"sk_x", &instances).expect("not ours"), None);
    }

    #[test]
    fn both_at_once_are_an_error_that_says_so() {
        let told = read("API_KEYS", b"content of the file", &[("API_KEYS", "content of the text")])
            .expect_err("both");
        assert!(told.contains("API_KEYS: is set, and so is API_KEYS_FILE"), "{told}");
        assert!(!told.contains("content"), "{told}");
        // Set to nothing is not set.
        assert!(read("API_KEYS", b"x", &[("API_KEYS", " ")]).is_ok());
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_and_its_content_is_not() {
        let too_large = [b"secret".as_slice(), &vec![b'x'; 64 * 1024]].concat();
        for (bytes, why) in [
            (too_large.as_slice(), "more than 65536 bytes"),
            (b"secret \xff".as_slice(), "no text"),
            (b" \n".as_slice(), "is empty"),
        ] {
            let told = read("DATABASE_URL", bytes, &[]).expect_err(why);
            assert!(told.contains(why) && told.contains("/secret (DATABASE_URL_FILE)"), "{told}");
            assert!(!told.contains("secret x") && !told.contains("secretx"), "{told}");
        }
        let told = read_path("DATABASE_URL", "/nowhere/secret", &[]).expect_err("not there");
        assert!(told.contains("/nowhere/secret") && told.contains("cannot be read"), "{told}");
        let told = read_path("DATABASE_URL", "/", &[]).expect_err("a folder");
        assert!(told.contains("is no file"), "{told}");
    }

    #[test]
    fn every_file_stands_in_the_model_of_the_settings() {
        let model = include_str!("../../.env-model");
        let of_instances = SECRETS_OF_INSTANCES.iter().map(|suffix| format!("NOTION_{suffix}"));
        for name in SECRETS.iter().map(|name| (*name).to_owned()).chain(of_instances) {
            assert!(model.contains(&format!("#{name}_FILE=")), "{name}_FILE is not in .env-model");
        }
    }
}
