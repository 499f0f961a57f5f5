//! The clients that `scripts/install-clients` has installed, and how to run them.

use crate::harness::{skip, within};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The clients of this machine.
#[derive(Debug, Clone)]
pub struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Returns `None` and prints why if they are not installed.
    pub fn of_this_machine() -> Option<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("clients");
        if folder.join("installed").is_file() {
            return Some(Self { folder });
        }
        let why = format!("the clients are not in {}: scripts/install-clients", folder.display());
        skip("EVENTBRIDGE_REQUIRE_CLIENTS", &why);
        None
    }

    /// Where the packages are installed; scripts in this folder can import them.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a script of this folder with Node.
    pub fn node(&self, script: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(beside_this_file(script)).env("NODE_PATH", self.folder.join("node_modules"));
        command
    }

    /// Runs a script of this folder with Python.
    pub fn python(&self, script: &str) -> Command {
        let mut command = Command::new(self.folder.join("python/bin/python3"));
        command.arg(beside_this_file(script));
        command
    }

    /// The program itself: npm's wrapper script would leave it running when killed.
    pub fn stripe_cli(&self) -> PathBuf {
        let system = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
        let machine = if cfg!(target_arch = "x86_64") { "x64" } else { "arm64" };
        self.folder.join(format!("node_modules/@stripe/cli-{system}-{machine}/bin/stripe"))
    }

    /// The compiler of TypeScript.
    pub fn tsc(&self) -> Command {
        Command::new(self.folder.join("node_modules/.bin/tsc"))
    }
}

fn beside_this_file(script: &str) -> PathBuf {
    Path::new(env!("EVENTBRIDGE_CHECKOUT")).join("tests/it/clients").join(script)
}

/// Runs a command to its end with this input.
pub async fn run(command: &mut Command, input: &Value) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_string();
    let (written, output) = tokio::join!(
        async move { stdin.write_all(input.as_bytes()).await },
        within("the client ends", child.wait_with_output())
    );
    // A command that does not read its whole input reports its own error.
    drop(written);
    output.unwrap()
}
