//! `eventbridge demo`: runs the whole pipeline in one process, on free ports and a temporary database.
//!
//! It sends sample events over HTTP, waits until each is delivered, prints the results, and succeeds only if
//! every page exists exactly once with the right values.

use super::dev_environment::{DevEnvironment, Options};
use super::sender::{self, INVOICE_LIFE, SampleDelivery, Sender};
use super::shop::ShopChoice;
use crate::cli::{signals, table};
use crate::config::Vars;
use crate::domain::visible::visible_in_log;
use crate::http_client;
use crate::sources::stripe::NamedSecret;
use crate::telemetry::{self, LogFormat};
use anyhow::{Context, bail, ensure};
use notion_sandbox::{SandboxHandle, SandboxPage};
use private_postgres::DataLifetime;
use secrecy::SecretString;
use serde::Deserialize;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use url::Url;

/// How long the deliveries may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The seed of the samples; their values follow from it.
const SEED: u64 = 7;

/// What is sent: an invoice's life, payments in currencies of two, no and three decimals, the charge and the refund
/// of one of them, and a thin event.
const SENT: &[&str] = &[
    INVOICE_LIFE,
    "payment_intent.succeeded:jpy",
    "payment_intent.succeeded:kwd",
    "payment_intent.succeeded",
    "charge.succeeded",
    "refund.created",
    "v1.invoice.paid",
];

/// The expected pages, in the order in which their events are sent.
const EXPECTED: &[[&str; COLUMNS.len()]] = &[
    ["invoice.created", "Info", "17.45", "", "EUR", "customer-7@example.com"],
    ["invoice.finalized", "Info", "17.45", "", "EUR", "customer-7@example.com"],
    ["invoice.payment_failed", "Failed", "17.45", "", "EUR", "customer-7@example.com"],
    ["invoice.paid", "Paid", "17.45", "", "EUR", "customer-7@example.com"],
    ["payment_intent.succeeded", "Paid", "1700", "", "JPY", "customer-7@example.com"],
    ["payment_intent.succeeded", "Paid", "17.345", "", "KWD", "customer-7@example.com"],
    ["payment_intent.succeeded", "Paid", "17.45", "", "EUR", "customer-7@example.com"],
    ["charge.succeeded", "Paid", "17.45", "17.45", "EUR", "customer-7@example.com"],
    ["refund.created", "Refunded", "17.45", "-17.45", "EUR", ""],
    ["v1.invoice.paid", "Paid", "", "", "", ""],
];

/// The columns that are checked.
const COLUMNS: [&str; 6] = ["EventType", "Outcome", "Amount", "Collected", "Currency", "CustomerEmail"];

pub(super) async fn run() -> anyhow::Result<ExitCode> {
    telemetry::init(LogFormat::Text, Some("warn"), visible_in_log);
    let stop = signals::stop_requested()?;
    println!("Starting a temporary PostgreSQL, the service and a stand-in for Notion …");
    let began = Instant::now();
    let environment = DevEnvironment::start(Options {
        vars: Vars::default(),
        data_lifetime: DataLifetime::Temporary,
        sandbox_journal: None,
        fallback_secrets: vec![NamedSecret {
            name: "demo".to_owned(),
            secret: SecretString::from(format!("whsec_{}", hex::encode(rand::random::<[u8; 24]>()))),
        }],
        free_ports: true,
        shop: Some(ShopChoice::Off),
    })
    .await?;
    println!("Ready after {:.1} s at {}.\n", began.elapsed().as_secs_f64(), environment.base_url);
    let sandbox = environment.sandbox.as_ref().context("the demo runs against the sandbox")?.handle();
    let api = Api::new(&environment.base_url)?;
    let sender = environment.sender.clone();
    let finished = CancellationToken::new();
    let shutdown = finished.clone();
    let serving = tokio::spawn(environment.serve(async move { shutdown.cancelled().await }));
    let shown = tokio::select! {
        shown = show(&sender, &api, &sandbox) => shown,
        () = stop.cancelled() => Err(anyhow::anyhow!("interrupted")),
    };
    finished.cancel();
    serving.await??;
    shown?;
    Ok(ExitCode::SUCCESS)
}

async fn show(sender: &Sender, api: &Api, sandbox: &SandboxHandle) -> anyhow::Result<()> {
    let began = Instant::now();
    let sent = send(sender).await?;
    println!("Sent over HTTP, signed as Stripe signs:\n");
    let rows: Vec<_> = sent
        .iter()
        .map(|sent| {
            vec![
                sent.status.to_string(),
                sent.event_id.clone(),
                sent.event_type.clone(),
                if was_new(sent) { "new" } else { "a duplicate: nothing stored" }.to_owned(),
            ]
        })
        .collect();
    println!("{}", table::render(&["answer", "event", "type", "the event was"], &rows));

    let executions = api.finished_executions(EXPECTED.len()).await?;
    let took = began.elapsed();
    println!("Executions (GET /api/v1/executions):\n");
    let rows: Vec<_> = executions
        .iter()
        .rev()
        .map(|execution| {
            let code = execution.response_code.map(|code| code.to_string()).unwrap_or_default();
            let duration = execution.duration_ms.map(|duration| format!("{duration} ms")).unwrap_or_default();
            vec![
                execution.id.to_string(),
                execution.event_id.clone(),
                execution.status.clone(),
                code,
                duration,
            ]
        })
        .collect();
    println!("{}", table::render(&["id", "event", "status", "Notion", "took"], &rows));

    let pages = sandbox.pages();
    println!("Pages in the Notion sandbox:\n");
    let rows: Vec<_> =
        pages.iter().map(|page| cells(page, &["Name"]).chain(cells(page, &COLUMNS)).collect()).collect();
    let head: Vec<_> = ["Name"].into_iter().chain(COLUMNS).collect();
    println!("{}", table::render(&head, &rows));

    check(&sent, &executions, &pages)?;
    println!(
        "All {} events are committed, and each has exactly one page with the right values; {:.0} ms from the first webhook to the last page.",
        EXPECTED.len(),
        took.as_secs_f64() * 1000.0
    );
    Ok(())
}

/// Sends every sample, and the first one a second time, as Stripe may.
async fn send(sender: &Sender) -> anyhow::Result<Vec<SampleDelivery>> {
    let mut samples = Vec::new();
    for name in SENT {
        samples.extend(sender::samples_of(name, SEED)?);
    }
    let again = samples.first().cloned().context("there are samples")?;
    let mut sent = Vec::new();
    for sample in samples.into_iter().chain([again]) {
        sent.push(sender.send(sample).await?);
    }
    Ok(sent)
}

fn check(sent: &[SampleDelivery], executions: &[Execution], pages: &[SandboxPage]) -> anyhow::Result<()> {
    let (duplicate, first) = sent.split_last().context("events were sent")?;
    ensure!(first.iter().all(was_new), "an event was not accepted");
    ensure!(
        duplicate.status == 200 && duplicate.answer.get("accepted") == Some(&false.into()),
        "the duplicate was not seen as one"
    );
    ensure!(executions.iter().all(|execution| execution.status == "success"), "an execution did not succeed");
    ensure!(
        first.len() == EXPECTED.len() && pages.len() == EXPECTED.len(),
        "there are {} pages",
        pages.len()
    );
    for (sent, expected) in first.iter().zip(EXPECTED) {
        let of_event: Vec<_> =
            pages.iter().filter(|page| page.text("EventId") == Some(&sent.event_id)).collect();
        let [page] = of_event.as_slice() else {
            bail!("{} has {} pages instead of one", sent.event_id, of_event.len());
        };
        let read: Vec<_> = cells(page, &COLUMNS).collect();
        ensure!(read == *expected, "the page of {} reads {read:?} instead of {expected:?}", sent.event_id);
    }
    Ok(())
}

/// Whether the answer states that the event was stored for the first time.
fn was_new(sent: &SampleDelivery) -> bool {
    sent.answer.get("accepted") == Some(&true.into())
}

fn cells<'a>(page: &'a SandboxPage, columns: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    columns.iter().map(|column| page.text(column).unwrap_or_default().to_owned())
}

/// A client of the service's own API.
struct Api {
    http: reqwest::Client,
    executions: Url,
}

#[derive(Debug, Deserialize)]
struct Execution {
    id: i64,
    event_id: String,
    status: String,
    response_code: Option<i32>,
    duration_ms: Option<i32>,
}

impl Api {
    fn new(base_url: &str) -> anyhow::Result<Self> {
        let executions = Url::parse(base_url)?.join("/api/v1/executions?limit=200")?;
        Ok(Self { http: http_client::client(&executions, Duration::from_secs(10))?, executions })
    }

    /// Waits until there are this many executions and all have finished; newest first.
    async fn finished_executions(&self, count: usize) -> anyhow::Result<Vec<Execution>> {
        #[derive(Deserialize)]
        struct Listing {
            data: Vec<Execution>,
        }
        const POLL_INTERVAL: Duration = Duration::from_millis(20);
        let until = Instant::now() + PATIENCE;
        loop {
            let listing: Listing =
                self.http.get(self.executions.clone()).send().await?.error_for_status()?.json().await?;
            let under_way =
                |execution: &Execution| matches!(execution.status.as_str(), "pending" | "running");
            if listing.data.len() >= count && !listing.data.iter().any(under_way) {
                return Ok(listing.data);
            }
            ensure!(Instant::now() < until, "not everything was delivered within {} s", PATIENCE.as_secs());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
