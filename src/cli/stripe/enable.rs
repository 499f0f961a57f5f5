//! `eventbridge stripe enable`: makes Stripe send to a disabled endpoint again.

use super::access::{Access, AccessArgs};
use crate::cli::prompt;
use crate::endpoint_watch;
use crate::sources::stripe::endpoints::{Endpoint, is_same_url};
use anyhow::{Context, bail};
use serde_json::json;
use std::process::ExitCode;

/// What a disabled endpoint costs.
const LOST: &str = "Stripe never sends the events that happened while an endpoint was disabled. Its own list (Workbench › Events, or \
     /v1/events) keeps them for 30 days, and each can be resent from there.";

#[derive(Debug, clap::Args)]
pub(super) struct EnableArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// The endpoint, if several with this address are disabled
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
}

pub(super) async fn run(args: EnableArgs) -> anyhow::Result<ExitCode> {
    let access = Access::open(&args.access).await?;
    let endpoints = access.list().await?;
    let here: Vec<_> = endpoints.into_iter().filter(|one| is_same_url(&one.url, &access.url)).collect();
    let (enabled, disabled): (Vec<_>, Vec<_>) = here.into_iter().partition(|one| one.is_enabled);
    let Some(endpoint) = chosen(&access, args.endpoint.as_deref(), &enabled, disabled).await? else {
        let names = enabled.iter().map(|one| one.id.as_str()).collect::<Vec<_>>().join(", ");
        let done = enabled.first().map(|one| one.id.clone());
        report(&args, done.as_deref(), false, &format!("{names} is enabled. Nothing was changed."))?;
        return Ok(ExitCode::SUCCESS);
    };
    let Endpoint { id, url, format, .. } = &endpoint;
    eprintln!("{LOST}");
    let question = format!("Enable {id}, which sends {} events to {url}?", format.as_str());
    if !prompt::agrees(&question, args.access.yes).await? {
        bail!("nothing was changed");
    }
    access.endpoints().set_enabled(&endpoint, true).await.map_err(|error| access.failed(&error))?;
    if let Ok(store) = &access.store {
        // So that health and alerts need not wait for the next check. Without it they only do so later.
        let _soon = endpoint_watch::check_soon(&store.background_jobs).await;
    }
    report(&args, Some(id), true, &format!("{id} is enabled: Stripe sends what happens from now on."))?;
    Ok(ExitCode::SUCCESS)
}

/// The endpoint to enable; `None` if there is nothing to do, because an enabled one has taken its place.
async fn chosen(
    access: &Access,
    named: Option<&str>,
    enabled: &[Endpoint],
    disabled: Vec<Endpoint>,
) -> anyhow::Result<Option<Endpoint>> {
    if let Some(id) = named {
        if enabled.iter().any(|one| one.id == id) {
            return Ok(None);
        }
        let found = disabled.into_iter().find(|one| one.id == id);
        return found.map(Some).with_context(|| {
            format!("--endpoint: no endpoint {} leads to {}", prompt::plain(id), access.url)
        });
    }
    if !enabled.is_empty() {
        return Ok(None);
    }
    match disabled.len() {
        0 => bail!("no endpoint leads to {}; create one: eventbridge stripe init", access.url),
        1 => Ok(disabled.into_iter().next()),
        _ if !prompt::is_interactive() => {
            let ids: Vec<_> = disabled.iter().map(|one| one.id.as_str()).collect();
            bail!("several endpoints are disabled: choose one with --endpoint ({})", ids.join(", "))
        }
        count => {
            eprintln!("Disabled endpoints that lead to {}:", access.url);
            for (number, one) in (1..).zip(&disabled) {
                let created = one.created.map(|at| at.format(", created %Y-%m-%d").to_string());
                eprintln!(
                    "  {number:>2}  {} ({}{})",
                    one.id,
                    one.format.as_str(),
                    created.unwrap_or_default()
                );
            }
            let place = prompt::choice("Which one?", count).await?;
            Ok(disabled.into_iter().nth(place))
        }
    }
}

fn report(args: &EnableArgs, endpoint: Option<&str>, is_changed: bool, text: &str) -> anyhow::Result<()> {
    if args.access.json {
        println!("{}", serde_json::to_string_pretty(&json!({"endpoint": endpoint, "changed": is_changed}))?);
    } else {
        println!("{text}");
    }
    Ok(())
}
