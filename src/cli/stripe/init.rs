//! `eventbridge stripe init`: finds out what is to be done. `steps` shows it, asks, and does it.

use super::access::{Access, AccessArgs};
use super::evidence::{self, Means};
use super::secret_setting::{Place, SecretSetting};
use super::steps::Run;
use super::time_zone;
use crate::app::DEFAULT_KINDS;
use crate::cli::command_context;
use crate::config::{self, Reader};
use crate::domain::source::SourceCatalog;
use crate::domain::subscription::Subscription;
use crate::sources::stripe::endpoints::{
    Candidate, Endpoint, Format, Needs, Plan, Situation, Step, enabled_events, is_same_url, plan,
};
use anyhow::bail;
use chrono_tz::Tz;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command")]
pub(super) struct InitArgs {
    #[command(flatten)]
    pub(super) access: AccessArgs,
    /// Events with a reference to their object, which the service fetches with `STRIPE_API_KEY`
    #[arg(long, conflicts_with = "snapshot")]
    thin: bool,
    /// Events with their object's state (the default)
    #[arg(long)]
    snapshot: bool,
    /// Shows what would be done, and changes nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Prints the line that sets the secret at this place, instead of writing it to .env
    #[arg(long = "for", value_enum, value_name = "PLACE")]
    pub(super) place: Option<Place>,
    /// Creates a new endpoint in place of the one that exists, whatever is known of its secret
    #[arg(long)]
    replace: bool,
    /// How long to wait until the service accepts what a second endpoint sends; by default without limit on a
    /// terminal, otherwise not at all
    #[arg(long, value_name = "SECONDS")]
    pub(super) wait: Option<u64>,
    /// The time zone in which months begin (`REPORT_TIMEZONE`), instead of a question
    #[arg(long, value_name = "ZONE", value_parser = time_zone::parse)]
    pub(super) timezone: Option<Tz>,
}

pub(super) async fn run(args: InitArgs) -> anyhow::Result<ExitCode> {
    let access = Access::open(&args.access).await?;
    let secrets = SecretSetting::read(&access.vars, &access.instance)?;
    let subscriptions = subscriptions(&access)?;
    let listed = access.list().await?;
    let here: Vec<_> = listed.into_iter().filter(|one| is_same_url(&one.url, &access.url)).collect();
    let format = format(&args, &here);
    let needs = Needs::of(&subscriptions, access.is_live(), format);
    // Without destinations, everything is stored.
    let needs = Needs { everything: needs.everything || subscriptions.is_empty(), ..needs };
    let candidates = candidates(&access, &secrets, &here, format, args.dry_run).await?;
    let situation = Situation {
        candidates: &candidates,
        has_secrets: !secrets.secrets.is_empty(),
        needs: &needs,
        replace: args.replace,
    };
    let steps = match plan(situation) {
        Plan::Steps(steps) => steps,
        Plan::Undecided { endpoint, why } => return undecided(&args, &access, &endpoint, &why),
    };
    let events = enabled_events(&needs, format);
    if events.is_empty() && steps.iter().any(|step| matches!(step, Step::Create { .. })) {
        bail!(
            "no type of Stripe's matches the filters of the destinations in {}; check their …_EVENT_TYPES and …_LIVEMODE",
            if access.is_live() { "live mode" } else { "test mode" }
        );
    }
    Run::new(&args, access, secrets, format, events).perform(&steps).await
}

/// What the destinations subscribe to. Nothing else of their settings matters here.
fn subscriptions(access: &Access) -> anyhow::Result<Vec<Subscription>> {
    let mut reader = Reader::new(&access.vars);
    let instances = config::instances(&mut reader, DEFAULT_KINDS);
    let sources = command_context::sources(&access.vars);
    let types = sources.types();
    let read = instances.iter().map(|instance| config::subscription(&mut reader, instance, types)).collect();
    Ok(reader.finish(read)?)
}

/// The format that was asked for; otherwise that of the endpoint that exists, or snapshots.
fn format(args: &InitArgs, here: &[Endpoint]) -> Format {
    let is_thin = |one: &Endpoint| one.format == Format::Thin;
    let has_only_thin = !here.is_empty() && here.iter().all(is_thin);
    if args.thin || has_only_thin && !args.snapshot { Format::Thin } else { Format::Snapshot }
}

async fn candidates(
    access: &Access,
    secrets: &SecretSetting,
    here: &[Endpoint],
    format: Format,
    is_dry: bool,
) -> anyhow::Result<Vec<Candidate>> {
    let enabled = here.iter().filter(|one| one.is_enabled).count();
    let means = Means { may_ping: !is_dry, is_only_one: enabled == 1 };
    let mut candidates = Vec::new();
    for endpoint in here.iter().filter(|one| one.format == format) {
        let evidence = evidence::find(access, endpoint, &secrets.secrets, means).await?;
        candidates.push(Candidate { endpoint: endpoint.clone(), evidence });
    }
    Ok(candidates)
}

fn undecided(args: &InitArgs, access: &Access, endpoint: &Endpoint, why: &str) -> anyhow::Result<ExitCode> {
    let id = &endpoint.id;
    let next = if endpoint.is_enabled {
        format!(
            "Once the service runs at {} and its database can be reached from here, this command finds out: run it again then, or where the service runs. \
             --replace creates a new endpoint in place of {id} now",
            access.url.origin().ascii_serialization()
        )
    } else {
        format!(
            "If a secret of the service is its secret, run: eventbridge stripe enable. \
             Otherwise --replace creates a new endpoint in place of {id}"
        )
    };
    let text = format!(
        "{id} leads to {} already, and it is not known whether a secret of the service verifies what it sends: {why}",
        access.url
    );
    if args.access.json {
        let result = json!({
            "dry_run": args.dry_run, "livemode": access.is_live(), "url": access.url.as_str(),
            "endpoint": id, "changed": false, "steps": [], "remaining": format!("{text}. {next}."),
        });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        println!("{text}. Nothing was changed.\n{next}.");
    }
    Ok(ExitCode::FAILURE)
}
