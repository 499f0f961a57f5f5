//! `eventbridge try`: this month's events of a Stripe account, in the terminal and in Notion, with two keys and
//! nothing else.
//!
//! It needs no endpoint and no public address, because it reads Stripe's list of events. The keys are checked before
//! anything is created or started; they stay in memory and are written nowhere. Events are kept in a private
//! database, one for each Notion table, so another run continues and creates no page twice.

mod month;
mod running;

use crate::cli::notion::{self, InitArgs};
use crate::cli::{environment, prompt, signals};
use crate::config::{InstanceName, Reader, Vars, report_timezone};
use crate::domain::visible::visible_in_log;
use crate::sources::Registry;
use crate::sources::stripe::api::{Api, KeyMode, NamedKey};
use crate::telemetry::{self, LogFormat};
use anyhow::{Context, anyhow, bail};
use chrono::{DateTime, Datelike, Utc};
use chrono_tz::Tz;
use month::Month;
use running::Running;
use secrecy::ExposeSecret;
use std::fmt;
use std::process::ExitCode;
use std::time::SystemTime;

/// How often Stripe is asked for new events, in seconds.
const PULL_SECONDS: u32 = 5;

/// The user's settings that are used. That of a database is not: it may be the one in production.
const USED: &[&str] = &[
    "STRIPE_API_URL",
    "STRIPE_ACCOUNT",
    "NOTION_API_URL",
    "NOTION_DATA_SOURCE_ID",
    "NOTION_EVENT_TYPES",
    "NOTION_LIVEMODE",
    "NOTION_MODE",
    "NOTION_RATE_PER_MINUTE",
    "REPORT_TIMEZONE",
];

const INTRODUCTION: &str = "\
This shows a Stripe account's events of this month here, and makes a page of each in a Notion table. It needs a \
restricted Stripe key that may read Events (https://dashboard.stripe.com/apikeys/create) and the token of a Notion \
connection (https://www.notion.so/profile/integrations). It changes nothing at Stripe, and stores neither of them.
";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TryArgs {
    /// The page in Notion under which to create the table: a link that was copied from Notion, or its id
    #[arg(long, value_name = "LINK")]
    page: Option<String>,
    /// The title of the table
    #[arg(long, default_value = "Stripe payments")]
    title: String,
    /// Ends once this month's events are in Notion, instead of waiting for new ones
    #[arg(long)]
    once: bool,
    /// Answers every question with yes
    #[arg(long)]
    yes: bool,
}

pub(in crate::cli) async fn run(args: TryArgs) -> anyhow::Result<ExitCode> {
    telemetry::init(LogFormat::Text, Some("error"), visible_in_log);
    let stop = signals::stop_requested()?;
    println!("{INTRODUCTION}");
    let prepared = tokio::select! {
        prepared = prepare(&args) => prepared?,
        () = stop.cancelled() => bail!("stopped; nothing was started"),
    };
    let Prepared { vars, mode, month } = prepared;
    let running = tokio::select! {
        running = Running::start(&vars, month) => running?,
        // Dropping what has started so far stops it.
        () = stop.cancelled() => bail!("stopped; nothing was delivered"),
    };
    println!("The dashboard is {}. Ctrl-C stops.", running.base_url);
    println!("The events stay in {}: remove this folder to forget them.\n", running.data.display());
    let shown = tokio::select! {
        shown = running.show(args.once) => shown,
        () = stop.cancelled() => Ok(()),
    };
    running.stop().await?;
    shown?;
    println!("{}", next_step(mode));
    Ok(ExitCode::SUCCESS)
}

/// The settings to run with, and this month's events.
struct Prepared {
    vars: Vars,
    mode: KeyMode,
    month: Month,
}

/// Asks for the keys, checks them, lists the month, and creates the table. Nothing is created before both keys work.
async fn prepare(args: &TryArgs) -> anyhow::Result<Prepared> {
    let given = environment::vars()?;
    let mut vars: Vars = USED.iter().filter_map(|name| Some((*name, given.get(name)?))).collect();
    let stripe = secret(&given, "STRIPE_API_KEY", "Stripe key (rk_live_… or rk_test_…)").await?;
    vars.set("STRIPE_API_KEY", stripe);
    let notion = secret(&given, "NOTION_API_KEY", "Notion token (ntn_…)").await?;
    vars.set("NOTION_API_KEY", notion);
    let (zone, began_at) = this_month(&vars)?;
    vars.set("STRIPE_PULL", "on");
    vars.set("STRIPE_PULL_SECONDS", PULL_SECONDS.to_string());
    vars.set("STRIPE_PULL_SINCE", began_at.with_timezone(&zone).date_naive().to_string());

    let mut reader = Reader::new(&vars);
    let stripe = InstanceName::of_kind("stripe");
    let sources = Registry::configure(&mut reader, std::slice::from_ref(&stripe));
    let api = Api::configure(&mut reader, &stripe);
    let api = reader.finish(api)?.context("the Stripe key cannot be used")?;
    let keys: Vec<NamedKey> = api.keys.iter().cloned().collect();
    let [key] = keys.as_slice() else {
        bail!(
            "STRIPE_API_KEY has several keys, such as one of live mode and one of test mode: give one of them"
        )
    };
    let account = api.account(key).await.map_err(|error| failed(&error, &error.remedy))?;
    let account = account.map_or_else(|| "its account".to_owned(), |account| account.title());
    println!("The Stripe key reads the {} of {}.", key.mode, prompt::plain(&account));
    if !key.is_restricted {
        println!(
            "It is a secret key, which may do everything; a restricted key that reads Events is enough."
        );
    }
    println!("The Notion token is that of {}.\n", notion::bearer(&vars).await?);

    let lists = sources.event_lists();
    let (_, list) = lists.first().context("the Stripe key lists no events")?;
    let month = Month::print(list.as_ref(), &sources, began_at, zone).await;
    let month = month.map_err(|error| failed(&error, &error.remedy))?;
    let table = if let Some(id) = given.get("NOTION_DATABASE_ID") {
        id.to_owned()
    } else {
        let wish = InitArgs::of_table(args.page.clone(), args.title.clone(), args.yes);
        let id = notion::create_table(&vars, &wish).await?;
        println!("To use this table in the next run too: NOTION_DATABASE_ID={id}\n");
        id
    };
    vars.set("NOTION_DATABASE_ID", table);
    Ok(Prepared { vars, mode: key.mode, month })
}

/// A secret from the settings or a file, otherwise from the terminal, which does not show it.
async fn secret(given: &Vars, name: &str, what: &str) -> anyhow::Result<String> {
    let mut reader = Reader::new(given);
    let text = reader.text(name).map(str::to_owned);
    if let Some(text) = reader.finish(text)? {
        return Ok(text);
    }
    if !prompt::is_interactive() {
        bail!("{name} is missing: set {name} or {name}_FILE, or use a terminal, where try asks for it");
    }
    Ok(prompt::secret(&format!("{what}:")).await?.expose_secret().to_owned())
}

/// The zone of the reports, and when this month began in it.
fn this_month(vars: &Vars) -> anyhow::Result<(Tz, DateTime<Utc>)> {
    let mut reader = Reader::new(vars);
    let zone = report_timezone(&mut reader);
    let zone = reader.finish(zone)?;
    let today = DateTime::<Utc>::from(SystemTime::now()).with_timezone(&zone).date_naive();
    let first = today.with_day(1).and_then(|day| day.and_hms_opt(0, 0, 0));
    let began_at = first.and_then(|first| first.and_local_timezone(zone).earliest());
    Ok((zone, began_at.context("this month has no beginning in REPORT_TIMEZONE")?.to_utc()))
}

fn failed(error: &impl fmt::Display, remedy: &str) -> anyhow::Error {
    anyhow!("{error}. What to do: {remedy}")
}

/// What the trial could not do, and how to go on.
fn next_step(mode: KeyMode) -> String {
    format!(
        "
What this was: events of {mode}, read from Stripe's list every {PULL_SECONDS} s while it ran.
What it cannot do: Stripe lists events for 30 days, lists none of connected accounts, and Notion takes about three \
pages a second.
The next step: run eventbridge serve on a machine that is always on, with STRIPE_PULL=on and the same keys; or add a \
webhook endpoint, which is faster and keeps Stripe's signature with each event. README.md describes both."
    )
}
