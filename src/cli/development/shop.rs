//! The shop of `dev`: a stand-in for Stripe whose events reach the service as `stripe listen` would forward them.

use crate::config::{Settings, Vars};
use clap::ValueEnum;
use secrecy::{ExposeSecret, SecretString};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use stripe_sandbox::{
    Forward, RESTRICTED_KEY, RunningSandbox, Sandbox, SandboxError, SandboxOptions, ShopSize,
};
use url::Url;

/// How much the shop sells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ShopChoice {
    /// There is no shop
    Off,
    /// A sale every 20 seconds
    Quiet,
    /// A sale every 6 seconds: as much as a Notion connection takes
    Busy,
}

/// A quiet shop, but none whose events would get among the user's own.
pub(super) fn by_settings(vars: &Vars, settings: &Settings) -> ShopChoice {
    const OF_THE_USER: [&str; 3] = ["STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET", "NOTION_API_KEY"];
    let is_own = OF_THE_USER.iter().any(|name| vars.is_meant(name)) || settings.has_database();
    if is_own { ShopChoice::Off } else { ShopChoice::Quiet }
}

/// Starts the stand-in beside the service, and points the settings at it. There is none if the settings have a
/// key of Stripe's own API.
pub(super) async fn start(
    choice: ShopChoice,
    vars: &mut Vars,
    service: SocketAddr,
    webhook: Url,
    secret: &SecretString,
) -> anyhow::Result<Option<RunningSandbox>> {
    let size = match choice {
        ShopChoice::Off => return Ok(None),
        ShopChoice::Quiet => ShopSize::Lively,
        ShopChoice::Busy => ShopSize::Busy,
    };
    if vars.is_meant("STRIPE_API_KEY") {
        return Ok(None);
    }
    let forward = Forward { url: webhook.into(), secret: secret.expose_secret().to_owned(), thin: false };
    let options = SandboxOptions {
        // Ids must not come again in the next run, whose database has the events of this one.
        seed: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        size,
        forward: Some(forward),
        retry_after_seconds: Some(vec![2, 10, 60, 600]),
        ..SandboxOptions::default()
    };
    // Two ports after the service's: Notion's stand-in is between them.
    let beside = SocketAddr::new(service.ip(), service.port().checked_add(2).unwrap_or_default());
    let running = match Sandbox::start(beside, options.clone()).await {
        Err(SandboxError::Bind { .. }) => Sandbox::start(SocketAddr::new(service.ip(), 0), options).await?,
        other => other?,
    };
    let port = Url::parse(running.base_url())?.port().unwrap_or_default();
    vars.set("STRIPE_API_URL", format!("http://127.0.0.1:{port}"));
    vars.set("STRIPE_API_KEY", RESTRICTED_KEY);
    Ok(Some(running))
}
