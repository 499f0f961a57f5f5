//! `eventbridge dev`: runs everything on this machine without any setup, and keeps the data between runs.

use super::dev_environment::{DevEnvironment, Options};
use super::shop::ShopChoice;
use super::stripe_cli;
use crate::cli::local_state::LocalState;
use crate::cli::{environment, signals};
use crate::sources::stripe::NamedSecret;
use crate::telemetry::LogFormat;
use clap::Args;
use private_postgres::DataLifetime;
use secrecy::ExposeSecret;
use std::process::ExitCode;

const WEBHOOK_PATH: &str = "/api/v1/webhooks/stripe";

#[derive(Debug, Args)]
pub(in crate::cli) struct DevArgs {
    /// How much the shop sells whose events a stand-in for Stripe sends; by default quiet, and off if the settings name a Stripe account, a Notion token or a database of your own
    #[arg(long, value_enum)]
    shop: Option<ShopChoice>,
}

pub(super) async fn run(args: DevArgs) -> anyhow::Result<ExitCode> {
    let vars = environment::vars()?;
    environment::start_log(&vars, LogFormat::Text);
    let stop = signals::stop_requested()?;
    let local = LocalState::here()?;
    let secret = NamedSecret { name: "dev".to_owned(), secret: local.webhook_secret()? };
    let of_cli = if vars.is_meant("STRIPE_WEBHOOK_SECRET") { None } else { stripe_cli::secret().await };
    let has_cli = of_cli.is_some();
    let starting = DevEnvironment::start(Options {
        vars,
        data_lifetime: DataLifetime::Persistent { checkout: local.checkout.clone() },
        sandbox_journal: Some(local.sandbox_journal()?),
        fallback_secrets: std::iter::once(secret).chain(of_cli).collect(),
        free_ports: false,
        shop: args.shop,
    });
    let environment = tokio::select! {
        started = starting => started?,
        // Dropping what has started so far stops it.
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let published = local.publish(&environment.settings)?;
    print!("{}", welcome(&environment, has_cli));
    let served = environment.serve(async move { stop.cancelled().await }).await;
    drop(published);
    served?;
    println!("Stopped. The data is kept for the next run.");
    Ok(ExitCode::SUCCESS)
}

/// The addresses, and the commands to try next.
fn welcome(environment: &DevEnvironment, has_cli: bool) -> String {
    let base = &environment.base_url;
    let secret = environment.secret.expose_secret();
    let notion = environment.sandbox.as_ref().map_or_else(
        || "the database of NOTION_DATABASE_ID".to_owned(),
        |sandbox| {
            format!("{}  (a stand-in; set NOTION_API_KEY for the real one)", local_name(sandbox.base_url()))
        },
    );
    let stripe = environment.shop.as_ref().map_or_else(
        || "no shop  (--shop quiet starts one, unless STRIPE_API_KEY is set)".to_owned(),
        |shop| {
            format!(
                "{}  (a stand-in with a shop in operation; --shop off for none)",
                local_name(shop.base_url())
            )
        },
    );
    let database = environment.postgres.as_ref().map_or("DATABASE_URL", |postgres| postgres.url());
    let webhook = format!("{base}{WEBHOOK_PATH}");
    let cli = if has_cli {
        "  (its secret is accepted already)"
    } else {
        "\n                 (start it first, then this again with STRIPE_WEBHOOK_SECRET=<the secret that it prints>)"
    };
    format!(
        "
  EventBridge is ready. Ctrl-C stops it.

  Dashboard      {base}
  API docs       {base}/docs   (POST /api/v1/dev/trigger sends a sample from the browser)
  Webhook        {webhook}
  Notion         {notion}
  Stripe         {stripe}
  Postgres       {database}
  Secret         {secret}

  Send a sample  eventbridge trigger invoice.paid
                 (or: cargo run -- trigger invoice.paid)
  Stripe CLI     stripe listen --all-snapshot --forward-to {webhook}{cli}

"
    )
}

fn local_name(url: &str) -> String {
    url.replace("127.0.0.1", "localhost").replace("0.0.0.0", "localhost")
}
