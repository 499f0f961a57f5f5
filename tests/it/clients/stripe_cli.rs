//! The real Stripe CLI, logged in to the stand-in.

use super::stripe_api::{API_KEY, StripeApi};
use super::tools::Tools;
use crate::harness::within;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A running `stripe listen`.
pub struct StripeListen {
    printed: Lines<BufReader<ChildStdout>>,
    _process: Child,
    _home: TempDir,
}

impl StripeListen {
    /// Forwards all events to this address.
    pub fn start(tools: &Tools, api: &StripeApi, forward_to: &str) -> Self {
        let home = TempDir::new().unwrap();
        let mut command = Command::new(logged_in(tools, api, home.path()));
        command
            .args(["listen", "--all-snapshot", "--no-wss", "--forward-to", forward_to])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let printed = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { printed, _process: process, _home: home }
    }

    /// The next line that it prints about a response, without the time.
    pub async fn printed_answer(&mut self) -> String {
        within("the CLI prints an answer", async {
            loop {
                let line = self.printed.next_line().await.unwrap().expect("the CLI keeps running");
                if let Some(place) = line.find("<--") {
                    return line[place..].to_owned();
                }
            }
        })
        .await
    }
}

/// A command `stripe` in this folder, which is the CLI with a login (here at the stand-in) and a
/// configuration folder of its own.
pub fn logged_in(tools: &Tools, api: &StripeApi, folder: &Path) -> PathBuf {
    let command = folder.join("stripe");
    let script = format!(
        "#!/bin/sh\nexec env -i HOME='{}' STRIPE_CLI_TELEMETRY_OPTOUT=1 \
         '{}' \"$@\" --skip-update --api-key {API_KEY} --api-base {}\n",
        folder.display(),
        tools.stripe_cli().display(),
        api.base
    );
    fs::write(&command, script).unwrap();
    fs::set_permissions(&command, fs::Permissions::from_mode(0o755)).unwrap();
    command
}
