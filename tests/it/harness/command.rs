//! The command as a process.

use super::within;
use std::path::Path;
use std::process::{Output, Stdio};
use tokio::process::Command;

/// A command with only the necessary part of this process's environment.
pub fn eventbridge(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventbridge"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CARGO_MANIFEST_DIR", folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(binaries) = std::env::var_os("PG_BIN_DIR") {
        command.env("PG_BIN_DIR", binaries);
    }
    command
}

/// Runs it to its end.
pub async fn output(command: &mut Command) -> Output {
    within("the command ends", command.output()).await.unwrap()
}

/// Its output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
