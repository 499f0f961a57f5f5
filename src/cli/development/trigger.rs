//! `eventbridge trigger`: sends signed samples to a running service and prints the answers.

use super::sender;
use crate::cli::local_state::LocalState;
use crate::cli::output::counted;
use crate::cli::secret_files;
use crate::cli::{command_context, environment};
use crate::config::{self, InstanceName, Reader};
use crate::sources::stripe;
use anyhow::{Context, anyhow, bail};
use secrecy::SecretString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use url::Url;

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
}

pub(super) async fn run(args: TriggerArgs) -> anyhow::Result<ExitCode> {
    if args.secret.is_some() {
        bail!(
            "--secret is no longer accepted, because other users of this machine can read it there: set STRIPE_WEBHOOK_SECRET, or give --secret-file"
        );
    }
    let Some(name) = args.name else {
        println!("Samples:");
        for name in sender::names() {
            println!("  {name}");
        }
        return Ok(ExitCode::SUCCESS);
    };
    let first_seed = args.seed.unwrap_or_else(rand::random);
    let samples = (0..u64::from(args.count))
        .map(|offset| sender::samples_of(&name, first_seed.wrapping_add(offset)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let url = args.url.map_or_else(url_by_settings, Ok)?;
    let sender = sender::Sender::new(url, secret(args.secret_file.as_deref())?)?;
    let mut refused = 0_u64;
    for sample in samples.into_iter().flatten() {
        let sent = sender.send(sample).await?;
        println!("{} {} {} {}", sent.status, sent.event_id, sent.event_type, sent.answer);
        refused += u64::from(!sent.is_accepted());
    }
    if refused > 0 {
        bail!("not accepted: {}", counted(refused, "event"));
    }
    Ok(ExitCode::SUCCESS)
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
    let vars = environment::vars()?;
    let mut reader = Reader::new(&vars);
    let secrets = stripe::webhook_secrets(&mut reader, &InstanceName::of_kind(stripe::KIND.name));
    if let Some(first) = reader.finish(secrets)?.into_iter().next() {
        return Ok(first.secret);
    }
    LocalState::here()?
        .known_webhook_secret()?
        .context("no secret to sign with: start eventbridge dev first, set STRIPE_WEBHOOK_SECRET, or give --secret-file")
}
