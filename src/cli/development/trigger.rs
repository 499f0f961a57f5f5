//! `eventbridge trigger`: sends signed samples to a running service, and reports where they are shown.

use super::sender::{self, SampleDelivery};
use crate::cli::local_state::LocalState;
use crate::cli::output::{counted, prints_json};
use crate::cli::prompt::plain;
use crate::cli::{command_context, environment, secret_files, wrong_arguments};
use crate::config::{self, InstanceName, Reader};
use crate::sources::stripe;
use anyhow::{Context, anyhow, bail};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use url::Url;

/// The setting with the webhook's secrets.
const SECRET: &str = "STRIPE_WEBHOOK_SECRET";

/// The path of the webhook.
const WEBHOOK_PATH: &str = "/api/v1/webhooks/";

/// The webhook of `dev` with its default address.
const DEFAULT_URL: &str = "http://localhost:8000/api/v1/webhooks/stripe";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TriggerArgs {
    /// The event type, such as invoice.paid; without it the types are listed
    #[arg(value_name = "EVENT TYPE")]
    name: Option<String>,
    /// How many to send, each with objects of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// The webhook's address; by default that of the dev that runs in this folder, otherwise from the settings `LISTEN_ADDR` and `PORT`
    #[arg(long)]
    url: Option<Url>,
    // Every user of a machine can read the arguments of its processes, so a secret is none.
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    secret: Option<String>,
    /// A file with the secret to sign with; by default the first of the setting `STRIPE_WEBHOOK_SECRET` (or `STRIPE_WEBHOOK_SECRET_FILE`), or the one that dev created
    #[arg(long, value_name = "PATH")]
    secret_file: Option<PathBuf>,
    /// Creates the same objects again: events of one seed have the same customer, invoice and payment
    #[arg(long)]
    seed: Option<u64>,
    /// Prints JSON, which is the default if the output is not a terminal; the list of types is text unless asked for
    #[arg(long)]
    json: bool,
}

/// The most events that are listed one by one on a terminal.
const LISTED_MAX: usize = 20;

pub(super) async fn run(args: TriggerArgs) -> anyhow::Result<ExitCode> {
    if args.secret.is_some() {
        return Err(wrong_arguments(
            "--secret is no longer accepted, because other users of this machine can read it there: set STRIPE_WEBHOOK_SECRET, or give --secret-file",
        ));
    }
    let Some(name) = args.name else {
        if args.json {
            println!("{}", json!({"samples": sender::names().collect::<Vec<_>>()}));
            return Ok(ExitCode::SUCCESS);
        }
        println!("Samples:");
        for name in sender::names() {
            println!("  {name}");
        }
        return Ok(ExitCode::SUCCESS);
    };
    let first_seed = args.seed.unwrap_or_else(rand::random);
    let samples = (0..u64::from(args.count))
        .map(|offset| sender::samples_of(&name, first_seed.wrapping_add(offset)))
        .collect::<anyhow::Result<Vec<_>>>()
        .map_err(|error| wrong_arguments(error.to_string()))?;
    let url = args.url.map_or_else(url_by_settings, Ok)?;
    let sender = sender::Sender::new(url.clone(), secret(args.secret_file.as_deref())?)?;
    let prints_json = prints_json(args.json);
    let mut sent = Vec::new();
    for sample in samples.into_iter().flatten() {
        let one = match sender.send(sample).await {
            Ok(one) => one,
            // Those before it were sent.
            Err(error) => {
                print_end(&url, &sent, prints_json);
                return Err(error);
            }
        };
        if !prints_json && (sent.len() < LISTED_MAX || !one.is_accepted()) {
            println!("{}", sentence(&url, &one));
        }
        sent.push(one);
    }
    print_end(&url, &sent, prints_json);
    let refused = count_of(&sent, |one| !one.is_accepted());
    if refused > 0 {
        bail!("not accepted: {}", counted(refused, "event"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What became of one event.
fn sentence(webhook: &Url, sent: &SampleDelivery) -> String {
    let SampleDelivery { event_id, event_type, status, answer } = sent;
    if !sent.is_accepted() {
        let why =
            answer.get("detail").and_then(Value::as_str).map_or_else(|| answer.to_string(), str::to_owned);
        return format!("{event_type} was not accepted ({status}): {}", plain(&why));
    }
    format!("{event_type} is stored as {event_id}: {}", page_of(webhook, event_id))
}

/// The page of an event in the dashboard of the service that has this webhook.
fn page_of(webhook: &Url, event_id: &str) -> String {
    // A base path precedes the webhook's own path.
    let base = webhook.as_str().split(WEBHOOK_PATH).next().unwrap_or_default();
    format!("{}/events/{event_id}", base.trim_end_matches('/'))
}

/// After all events: what to do next, or all of it as JSON.
fn print_end(webhook: &Url, sent: &[SampleDelivery], prints_json: bool) {
    let accepted = count_of(sent, SampleDelivery::is_accepted);
    if prints_json {
        let events: Vec<_> = sent
            .iter()
            .map(|one| {
                json!({
                    "event_id": one.event_id,
                    "type": one.event_type,
                    "status": one.status,
                    "answer": one.answer,
                    "url": one.is_accepted().then(|| page_of(webhook, &one.event_id)),
                })
            })
            .collect();
        println!("{}", json!({"accepted": accepted, "sent": events}));
        return;
    }
    let hidden = sent.len().saturating_sub(LISTED_MAX);
    if hidden > 0 {
        println!("… {} in all.", counted(accepted, "event"));
    }
    if let Some(last) = sent.iter().rev().find(|one| one.is_accepted()) {
        println!("To see what becomes of it: eventbridge why {}", last.event_id);
    }
}

fn count_of(sent: &[SampleDelivery], is_meant: impl Fn(&SampleDelivery) -> bool) -> u64 {
    u64::try_from(sent.iter().filter(|one| is_meant(one)).count()).unwrap_or(u64::MAX)
}

/// The webhook of `dev`, from its settings or those of this command.
fn url_by_settings() -> anyhow::Result<Url> {
    let mut vars = environment::vars()?;
    command_context::add_address_of_dev(&mut vars)?;
    let mut reader = Reader::new(&vars);
    let listen = config::listen(&mut reader, IpAddr::V4(Ipv4Addr::LOCALHOST));
    let listen = reader.finish(listen)?;
    if listen.port() == 0 {
        bail!("with port 0 dev uses any free port: give the address that it prints as --url");
    }
    let mut url = Url::parse(DEFAULT_URL)?;
    let is_here = listen.ip().is_loopback() || listen.ip().is_unspecified();
    let is_set =
        (is_here || url.set_ip_host(listen.ip()).is_ok()) && url.set_port(Some(listen.port())).is_ok();
    is_set.then_some(url).context("LISTEN_ADDR is not an address to send to: give --url")
}

fn secret(file: Option<&Path>) -> anyhow::Result<SecretString> {
    if let Some(path) = file {
        let text = secret_files::secret(path).map_err(|why| anyhow!("--secret-file {why}"))?;
        return Ok(SecretString::from(text));
    }
    let mut vars = environment::vars()?;
    if !vars.is_meant(SECRET)
        && let Some(of_dev) = LocalState::here()?.settings_of_dev()?.remove(SECRET)
    {
        vars.set(SECRET, of_dev);
    }
    let mut reader = Reader::new(&vars);
    let secrets = stripe::webhook_secrets(&mut reader, &InstanceName::of_kind(stripe::KIND.name));
    if let Some(first) = reader.finish(secrets)?.into_iter().next() {
        return Ok(first.secret);
    }
    LocalState::here()?
        .known_webhook_secret()?
        .context("no secret to sign with: start eventbridge dev first, set STRIPE_WEBHOOK_SECRET, or give --secret-file")
}
