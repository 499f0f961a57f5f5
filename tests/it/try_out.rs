//! `try`: a month of a Stripe account in the terminal and in Notion, with two keys and nothing else.

use crate::harness::{STRIPE_KEY, StripeApi, eventbridge, stripe_event, text};
use chrono::DateTime;
use notion_sandbox::{RunningSandbox, Sandbox, SandboxOptions, Template};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::process::Command;

struct Trial {
    folder: TempDir,
    stripe: StripeApi,
    notion: RunningSandbox,
}

impl Trial {
    /// One with these events of this month.
    async fn with_events(ids: &[&str]) -> Self {
        let options =
            SandboxOptions { template: Template::Init, rate_per_minute: None, ..SandboxOptions::default() };
        let notion = Sandbox::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
        let stripe = StripeApi::start().await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap();
        stripe.set_now(now);
        stripe.add(ids.iter().map(|id| stripe_event(id, now)));
        Self { folder: TempDir::new().unwrap(), stripe, notion }
    }

    fn command(&self) -> Command {
        let mut command = eventbridge(self.folder.path());
        command.args(["try", "--once", "--yes"]).envs([
            ("STRIPE_API_KEY", STRIPE_KEY),
            ("STRIPE_API_URL", &self.stripe.url),
            ("NOTION_API_KEY", notion_sandbox::TOKEN),
            ("NOTION_API_URL", self.notion.base_url()),
            ("NOTION_RATE_PER_MINUTE", "0"),
            // It may be the one in production.
            ("DATABASE_URL", "postgres://nobody@192.0.2.1/none"),
        ]);
        command
    }

    /// Runs it to its end, which may take some time on a busy machine.
    async fn run(&self, mut command: Command) -> Output {
        let ended = tokio::time::timeout(Duration::from_secs(90), command.output()).await;
        ended.expect("try ends").unwrap()
    }

    /// Whether any file of the folder contains this text.
    fn is_written(&self, words: &str) -> bool {
        files(self.folder.path())
            .iter()
            .any(|file| fs::read(file).unwrap().windows(words.len()).any(|window| window == words.as_bytes()))
    }

    fn tables_created(&self) -> usize {
        let requests = self.notion.handle().requests();
        requests.iter().filter(|request| request.path == "/v1/databases").count()
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The folder in which it keeps the events.
fn data(printed: &str) -> PathBuf {
    let rest = printed.split("The events stay in ").nth(1).unwrap();
    PathBuf::from(rest.split(": remove").next().unwrap())
}

#[tokio::test]
async fn a_month_appears_in_the_terminal_and_in_a_new_table_and_another_run_adds_only_what_is_new() {
    let trial = Trial::with_events(&["evt_1", "evt_2", "evt_3"]).await;
    let done = trial.run(trial.command()).await;
    let (printed, errors) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "{printed}{errors}");
    for what in [
        "reads the test mode of acct_1Tests (Tea & Co)",
        "The Notion token is that of",
        "Invoice N-evt_1 paid",
        "3 events.",
        "Everything is in Notion",
        "lists events for 30 days",
        "STRIPE_PULL=on",
    ] {
        assert!(printed.contains(what), "{what:?} in {printed}");
    }
    assert_eq!((trial.notion.handle().pages().len(), trial.tables_created()), (3, 1));
    assert!(!trial.is_written(STRIPE_KEY) && !trial.is_written(notion_sandbox::TOKEN), "no key is stored");

    let table = printed.split("NOTION_DATABASE_ID=").nth(1).unwrap().split_whitespace().next().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap();
    trial.stripe.set_now(now);
    trial.stripe.add([stripe_event("evt_4", now)]);
    let mut again = trial.command();
    again.env("NOTION_DATABASE_ID", table);
    let done = trial.run(again).await;
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    assert_eq!((trial.notion.handle().pages().len(), trial.tables_created()), (4, 1));
    fs::remove_dir_all(data(&printed)).unwrap();
}

#[tokio::test]
async fn a_month_of_the_stand_in_for_stripe_becomes_pages() {
    let trial = Trial::with_events(&[]).await;
    let options =
        stripe_sandbox::SandboxOptions { history_days: 2, ..stripe_sandbox::SandboxOptions::default() };
    let shop = stripe_sandbox::Sandbox::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
    let mut command = trial.command();
    command.envs([("STRIPE_API_URL", shop.base_url()), ("STRIPE_API_KEY", stripe_sandbox::RESTRICTED_KEY)]);
    let done = trial.run(command).await;
    let printed = text(&done.stdout);
    assert!(done.status.success(), "{printed}{}", text(&done.stderr));
    let month_began = DateTime::from_timestamp(shop.handle().now(), 0).unwrap().format("%Y-%m-01T00:00:00Z");
    let month_began = DateTime::parse_from_rfc3339(&month_began.to_string()).unwrap().timestamp();
    let events = shop.handle().events();
    let of_month = events.iter().filter(|event| event["created"].as_i64().unwrap() >= month_began).count();
    let pages = trial.notion.handle().pages().len();
    // The shop goes on selling after the last read.
    assert!(pages <= of_month && of_month - pages < 20, "{pages} pages of {of_month} events: {printed}");
    fs::remove_dir_all(data(&printed)).unwrap();
    shop.shutdown().await;
}

#[tokio::test]
async fn an_account_without_events_is_said_so() {
    let trial = Trial::with_events(&[]).await;
    let done = trial.run(trial.command()).await;
    let printed = text(&done.stdout);
    assert!(done.status.success() && printed.contains("no events in this month yet"), "{printed}");
    fs::remove_dir_all(data(&printed)).unwrap();
}

#[tokio::test]
async fn what_cannot_work_is_stated_before_anything_is_created() {
    let trial = Trial::with_events(&["evt_1"]).await;
    let failing = async |name: &str, value: &str| {
        let mut command = trial.command();
        command.env(name, value);
        let done = trial.run(command).await;
        assert_eq!(done.status.code(), Some(1), "{name}={value}: {}", text(&done.stdout));
        text(&done.stderr)
    };
    let revoked = failing("STRIPE_API_KEY", "rk_live_revoked").await;
    assert!(revoked.contains("does not accept the API key") && revoked.contains("What to do"), "{revoked}");
    let both = failing("STRIPE_API_KEY", "rk_live_a,rk_test_b").await;
    assert!(both.contains("give one of them"), "{both}");
    let wrong = failing("STRIPE_API_KEY", "whsec_a").await;
    assert!(wrong.contains("is the signing secret of a webhook"), "{wrong}");
    let notion = failing("NOTION_API_KEY", "ntn_revoked").await;
    assert!(notion.contains("token"), "{notion}");
    let missing = failing("NOTION_API_KEY", "").await;
    assert!(
        missing.contains("NOTION_API_KEY is missing") && missing.contains("NOTION_API_KEY_FILE"),
        "{missing}"
    );
    let unreachable = failing("STRIPE_API_URL", "http://127.0.0.1:1").await;
    assert!(unreachable.contains("Stripe cannot be reached"), "{unreachable}");
    trial.stripe.set_permissions(STRIPE_KEY, Some(&["rak_charge_read"]));
    let forbidden = failing("NOTION_RATE_PER_MINUTE", "0").await;
    assert!(forbidden.contains("rak_event_read"), "{forbidden}");
    for printed in [revoked, both, wrong, notion, unreachable, forbidden] {
        assert!(!printed.contains(STRIPE_KEY) && !printed.contains("revoked\""), "{printed}");
    }
    assert_eq!((trial.tables_created(), trial.notion.handle().pages().len()), (0, 0));
    assert_eq!(files(trial.folder.path()), Vec::<PathBuf>::new());
}
