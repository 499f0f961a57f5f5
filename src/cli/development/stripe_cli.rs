//! The Stripe CLI's own webhook secret, if the CLI is installed and logged in.

use crate::sources::stripe::NamedSecret;
use secrecy::SecretString;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How long the CLI may take. It asks Stripe.
const TIMEOUT: Duration = Duration::from_secs(8);

/// The secret that `stripe listen` signs with; `None` without the CLI or a login.
pub(super) async fn secret() -> Option<NamedSecret> {
    let output = Command::new("stripe")
        .args(["listen", "--print-secret"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(TIMEOUT, output).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let printed = text.split_whitespace().find(|word| word.starts_with("whsec_"))?;
    let secret = output.status.success().then(|| SecretString::from(printed))?;
    Some(NamedSecret { name: "stripe-cli".to_owned(), secret })
}
