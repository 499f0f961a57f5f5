//! `eventbridge trigger`: sends signed samples to a running service and says what came back.

use super::local::LocalState;
use super::{environment, sender};
use crate::config::{self, Reader};
use anyhow::{Context, bail};
use secrecy::SecretString;
use std::process::ExitCode;
use url::Url;

/// Where `dev` listens by itself.
pub(super) const DEFAULT_URL: &str = "http://localhost:8000/api/v1/webhooks/stripe";

#[derive(Debug, clap::Args)]
pub(super) struct TriggerArgs {
    /// The type of event, such as invoice.paid; without it the types are listed
    #[arg(value_name = "EVENT TYPE")]
    name: Option<String>,
    /// How many to send, each about other objects
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// The webhook's address
    #[arg(long, default_value = DEFAULT_URL)]
    url: Url,
    /// The secret to sign with; else the first of the setting `STRIPE_WEBHOOK_SECRET`, else the one that dev has made
    #[arg(long)]
    secret: Option<String>,
    /// Makes the same objects again: events of one seed are about the same customer, invoice and payment
    #[arg(long)]
    seed: Option<u64>,
}

pub(super) async fn run(args: TriggerArgs) -> anyhow::Result<ExitCode> {
    let Some(name) = args.name else {
        println!("Samples that can be sent:");
        for name in sender::names() {
            println!("  {name}");
        }
        return Ok(ExitCode::SUCCESS);
    };
    let first_seed = args.seed.unwrap_or_else(rand::random);
    let samples = (0..u64::from(args.count))
        .map(|offset| sender::samples_of(&name, first_seed.wrapping_add(offset)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let sender = sender::Sender::new(args.url, secret(args.secret)?)?;
    let mut refused = 0;
    for sample in samples.into_iter().flatten() {
        let sent = sender.send(sample).await?;
        println!("{} {} {} {}", sent.status, sent.event_id, sent.event_type, sent.answer);
        refused += u32::from(!sent.is_accepted());
    }
    if refused > 0 {
        bail!("events not taken: {refused}");
    }
    Ok(ExitCode::SUCCESS)
}

fn secret(given: Option<String>) -> anyhow::Result<SecretString> {
    if let Some(secret) = given {
        return Ok(SecretString::from(secret));
    }
    let vars = environment::vars()?;
    let mut reader = Reader::new(&vars);
    let secrets = config::webhook_secrets(&mut reader);
    if let Some(first) = reader.finish(secrets)?.into_iter().next() {
        return Ok(first.secret);
    }
    LocalState::here()?
        .known_webhook_secret()?
        .context("no secret to sign with: start eventbridge dev first, or give --secret")
}
