//! `doctor` and `notion init` as commands: their findings, their effects and their exit codes.

use crate::harness::{Database, NOW, Service, eventbridge, output, rows, signed, text, within};
use axum::Router;
use axum::http::Request;
use axum::routing::post;
use eventbridge::sources::stripe;
use eventbridge::store::SnapshotHolderKind;
use notion_sandbox::{Author, Fault, FaultRule, Route, RunningSandbox, Sandbox, SandboxOptions, Template};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

const SECRET: &str = "whsec_0123456789abcdefghijklmnopqrstuv";

/// A service's prerequisites: a database, a table in Notion, and settings in the environment.
struct SetUp {
    folder: TempDir,
    database: Database,
    sandbox: RunningSandbox,
}

impl SetUp {
    async fn new(template: Template) -> Self {
        let options = SandboxOptions { template, rate_per_minute: None, ..SandboxOptions::default() };
        let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
        Self { folder: TempDir::new().unwrap(), database: Database::new().await, sandbox }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = eventbridge(self.folder.path());
        command.args(args).envs([
            ("NOTION_API_URL", self.sandbox.base_url()),
            ("NOTION_API_KEY", notion_sandbox::TOKEN),
            ("NOTION_DATABASE_ID", &notion_sandbox::DATABASE_ID.to_string()),
            ("NOTION_RATE_PER_MINUTE", "0"),
            ("STRIPE_WEBHOOK_SECRET", SECRET),
            ("AUTH", "off"),
            ("LISTEN_ADDR", "127.0.0.1:8000"),
            ("DATABASE_URL", self.database.url().expose_secret()),
        ]);
        command
    }

    async fn doctor(&self, args: &[&str]) -> Checked {
        Checked::of(self.command(&[&["doctor", "--json"], args].concat())).await
    }

    /// The same with one additional setting.
    async fn doctor_with(&self, name: &str, value: &str) -> Checked {
        let mut command = self.command(&["doctor", "--json"]);
        command.env(name, value);
        Checked::of(command).await
    }
}

/// The result of `doctor`.
struct Checked {
    code: Option<i32>,
    report: Value,
}

impl Checked {
    async fn of(mut command: Command) -> Self {
        let done = output(&mut command).await;
        let report = serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|_| panic!("{}{}", text(&done.stdout), text(&done.stderr)));
        Self { code: done.status.code(), report }
    }

    fn findings(&self) -> Vec<&Value> {
        let sections = self.report["sections"].as_array().unwrap().iter();
        sections.flat_map(|section| section["findings"].as_array().unwrap()).collect()
    }

    /// The remedy of the only finding of this level that contains this text.
    fn remedy(&self, level: &str, what: &str) -> &str {
        let found = self
            .findings()
            .into_iter()
            .find(|finding| finding["level"] == level && finding["what"].as_str().unwrap().contains(what));
        found.unwrap_or_else(|| panic!("no {level} with {what:?} in {:#}", self.report))["remedy"]
            .as_str()
            .unwrap_or_default()
    }
}

#[tokio::test]
async fn doctor_finds_no_problem_in_a_healthy_setup_and_writes_nothing() {
    let set_up = SetUp::new(Template::Full).await;
    let checked = set_up.doctor(&[]).await;
    assert_eq!((checked.code, &checked.report["result"]), (Some(0), &"good".into()), "{:#}", checked.report);
    for what in ["up to date", "connection \"Sandbox connection\"", "Amount (number)", "clock of notion"] {
        checked.remedy("good", what);
    }
    let reads = set_up.sandbox.handle().requests();
    assert!(reads.iter().all(|request| request.method == "GET"), "{reads:?}");
    let printed = output(&mut set_up.command(&["doctor"])).await;
    let printed = text(&printed.stdout);
    assert!(
        printed.contains("✓ PostgreSQL")
            && printed.contains("All checks passed.")
            && !printed.contains('\u{1b}'),
        "{printed}"
    );
    assert!(!printed.contains(SECRET) && !printed.contains(notion_sandbox::TOKEN));
}

#[tokio::test]
async fn doctor_reports_all_problems_of_the_settings_at_once() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(".env"), "NOTION_DATABSE_ID=x\nLOG_LEVEL=loud\nPORT=many\n").unwrap();
    let mut command = eventbridge(folder.path());
    let checked = Checked::of({
        command.args(["doctor", "--json"]);
        command
    })
    .await;
    assert_eq!((checked.code, &checked.report["result"]), (Some(2), &"problems".into()));
    for missing in ["STRIPE_WEBHOOK_SECRET", "DATABASE_URL", "API_KEYS", "NOTION_API_KEY", "PORT"] {
        checked.remedy("problem", missing);
    }
    assert!(checked.remedy("warning", "NOTION_DATABSE_ID").contains("did you mean NOTION_DATABASE_ID?"));
    checked.remedy("warning", "LOG_LEVEL");

    fs::write(folder.path().join(".env"), "PORT=1\nAPI KEYS=secret words\n").unwrap();
    let mut command = eventbridge(folder.path());
    command.args(["doctor", "--json"]);
    let checked = Checked::of(command).await;
    checked.remedy("problem", ".env cannot be read after PORT");
    assert!(!checked.report.to_string().contains("secret words"));
}

#[tokio::test]
async fn doctor_reports_why_the_database_is_unusable() {
    let set_up = SetUp::new(Template::Original).await;
    let nobody = set_up.doctor_with("DATABASE_URL", "postgres://nobody@127.0.0.1:9/none").await;
    assert!(nobody.remedy("problem", "127.0.0.1, port 9").contains("check whether the database runs"));
    set_up.database.let_new_sessions_write(false).await;

    let read_only = set_up.doctor(&[]).await;
    assert!(read_only.remedy("problem", "accepts no writes").contains("primary"));
    assert_eq!(read_only.code, Some(2));
}

#[tokio::test]
async fn doctor_adds_missing_columns_only_with_the_option() {
    let set_up = SetUp::new(Template::Plain).await;
    let checked = set_up.doctor(&[]).await;
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    assert!(checked.remedy("note", "there is no column for").contains("--fix"));

    let unanswered = output(&mut set_up.command(&["doctor", "--fix"])).await;
    assert!(!unanswered.status.success());
    assert!(text(&unanswered.stdout).contains("use --yes"), "the report says so: {unanswered:?}");
    assert!(set_up.sandbox.handle().requests().iter().all(|request| request.method == "GET"));

    let fixed = set_up.doctor(&["--fix", "--yes"]).await;
    fixed.remedy("good", "added: EventType (select)");
    let again = set_up.doctor(&["--write-test"]).await;
    assert_eq!(again.code, Some(0), "{:#}", again.report);
    again.remedy("good", "OccurredAt (date)");
    again.remedy("good", "written and read back");
}

#[tokio::test]
async fn a_missing_key_column_can_be_fixed() {
    let set_up = SetUp::new(Template::Plain).await;
    set_up.sandbox.handle().remove_column(notion_sandbox::DATA_SOURCE_ID, "EventId").unwrap();
    let checked = set_up.doctor(&[]).await;
    assert_eq!(checked.code, Some(2));
    assert!(checked.remedy("problem", "no column EventId").contains("--fix"));
    set_up.doctor(&["--fix", "--yes"]).await.remedy("good", "added: EventId (rich_text)");
    assert_eq!(set_up.doctor(&[]).await.code, Some(0));
}

#[tokio::test]
async fn a_column_of_an_unsuitable_type_is_a_warning() {
    let set_up = SetUp::new(Template::Original).await;
    set_up.sandbox.handle().retype_column(notion_sandbox::DATA_SOURCE_ID, "Amount", "date").unwrap();
    set_up.sandbox.handle().retype_column(notion_sandbox::DATA_SOURCE_ID, "Currency", "formula").unwrap();
    set_up.sandbox.handle().retype_column(notion_sandbox::DATA_SOURCE_ID, "Status", "status").unwrap();
    let checked = set_up.doctor(&[]).await;
    assert_eq!(checked.code, Some(1), "{:#}", checked.report);
    assert!(checked.remedy("warning", "Amount is left out").contains("number"));
    assert!(checked.remedy("warning", "\"Currency\" is of type formula").contains("change its type"));
    checked.remedy("warning", "Status is not always written");
}

#[tokio::test]
async fn doctor_adds_the_options_that_a_status_lacks_and_keeps_the_others() {
    let set_up = SetUp::new(Template::Original).await;
    set_up.sandbox.handle().retype_column(notion_sandbox::DATA_SOURCE_ID, "Status", "status").unwrap();
    let before = set_up.doctor(&[]).await;
    assert!(before.remedy("warning", "Status is not always written to \"Status\"").contains("--fix"));
    let fixed = set_up.doctor(&["--fix", "--yes"]).await;
    fixed.remedy("good", "options of \"Status\": success, failed, pending");
    let again = set_up.doctor(&["--write-test"]).await;
    again.remedy("good", "Status (status)");
    again.remedy("good", "written and read back");
    let changed = set_up.sandbox.handle().requests();
    let sent = &changed.iter().find(|request| request.method == "PATCH").unwrap().body;
    let options = sent["properties"]["Status"]["status"]["options"].as_array().unwrap();
    assert_eq!((&options[0]["name"], options.len()), (&"Not started".into(), 6), "{sent}");
}

#[tokio::test]
async fn doctor_warns_before_the_options_of_a_table_are_full() {
    let set_up = SetUp::new(Template::Full).await;
    let fill = |name: &str| {
        let page = json!({"Currency": {"select": {"name": name}}});
        set_up.sandbox.handle().add_page(notion_sandbox::DATA_SOURCE_ID, &page, Author::Person)
    };
    assert!((0..10_000).any(|number| fill(&format!("{number:0>100}")).is_err()));
    let checked = set_up.doctor(&[]).await;
    assert_eq!(checked.code, Some(1), "{:#}", checked.report);
    assert!(checked.remedy("warning", "take 49 KB of the 50").contains("to text"), "{:#}", checked.report);
}

#[tokio::test]
async fn doctor_says_what_each_mode_costs_in_a_free_workspace() {
    let set_up = SetUp::new(Template::Full).await;
    for (mode, cost) in [("event", "each event takes one"), ("object", "each object takes one")] {
        let checked = set_up.doctor_with("NOTION_MODE", mode).await;
        assert!(checked.remedy("note", cost).contains("upgrade"), "{:#}", checked.report);
    }
}

#[tokio::test]
async fn doctor_says_what_must_be_restored_from_the_trash() {
    let set_up = SetUp::new(Template::Full).await;
    let sandbox = set_up.sandbox.handle();
    let check = async |what: &str| {
        let checked = set_up.doctor(&[]).await;
        assert_eq!(checked.code, Some(2), "{:#}", checked.report);
        assert!(checked.remedy("problem", what).contains("restore"), "{:#}", checked.report);
    };
    sandbox.trash_data_source(notion_sandbox::DATA_SOURCE_ID, true).unwrap();
    check("the data source is in Notion's trash").await;
    sandbox.trash_data_source(notion_sandbox::DATA_SOURCE_ID, false).unwrap();
    sandbox.trash_database(notion_sandbox::DATABASE_ID, true).unwrap();
    check("the database is in Notion's trash").await;
    sandbox.trash_database(notion_sandbox::DATABASE_ID, false).unwrap();
    sandbox.trash_parent_page(true);
    check("a page above the database is in Notion's trash").await;
}

#[tokio::test]
async fn doctor_finds_out_by_a_write_whether_a_page_that_it_cannot_read_is_in_the_trash() {
    let set_up = SetUp::new(Template::Full).await;
    let sandbox = set_up.sandbox.handle();
    sandbox.hide_parent_page(true);
    let cannot_read = "cannot read what contains the database";
    let checked = set_up.doctor(&[]).await;
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    assert!(checked.remedy("note", cannot_read).contains("--write-test"), "{:#}", checked.report);
    let checked = set_up.doctor(&["--write-test"]).await;
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    sandbox.trash_parent_page(true);
    let checked = set_up.doctor(&["--write-test"]).await;
    assert_eq!(checked.code, Some(2), "{:#}", checked.report);
    assert!(checked.remedy("problem", "which the connection cannot read").contains("restore"));
    checked.remedy("warning", "a test page was created there");
    sandbox.trash_parent_page(false);
    // A row that is not in the trash shows that nothing above it is.
    let checked = set_up.doctor(&[]).await;
    assert!(!checked.report.to_string().contains(cannot_read), "{:#}", checked.report);
}

#[tokio::test]
async fn of_two_columns_with_one_name_doctor_reports_the_usable_one() {
    let set_up = SetUp::new(Template::Full).await;
    let sandbox = set_up.sandbox.handle();
    sandbox.retype_column(notion_sandbox::DATA_SOURCE_ID, "Amount", "formula").unwrap();
    sandbox.add_column(notion_sandbox::DATA_SOURCE_ID, "amount", "number").unwrap();
    let checked = set_up.doctor(&["--write-test"]).await;
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    checked.remedy("good", "Amount (number)");
}

#[tokio::test]
async fn a_persons_token_is_told_to_expire_before_and_after_it_does() {
    let set_up = SetUp::new(Template::Full).await;
    let sandbox = set_up.sandbox.handle();
    sandbox.set_personal_token(true);
    let before = set_up.doctor(&[]).await;
    assert_eq!(before.code, Some(0), "{:#}", before.report);
    assert!(before.remedy("note", "belongs to a person").contains("expires within a year"));
    sandbox.set_token("another".to_owned());
    let after = set_up.doctor(&[]).await;
    assert_eq!(after.code, Some(2), "{:#}", after.report);
    assert!(after.remedy("problem", "API token is invalid").contains("because it expired"));
}

#[tokio::test]
async fn names_and_ids_in_a_select_are_a_warning() {
    let set_up = SetUp::new(Template::Full).await;
    set_up.sandbox.handle().retype_column(notion_sandbox::DATA_SOURCE_ID, "Customer", "select").unwrap();
    let checked = set_up.doctor(&[]).await;
    assert_eq!(checked.code, Some(1), "{:#}", checked.report);
    assert!(checked.remedy("warning", "Customer fills the select \"Customer\"").contains("text"));
}

#[tokio::test]
async fn the_write_test_cleans_up_and_reports_missing_permissions() {
    let set_up = SetUp::new(Template::Full).await;
    let sandbox = set_up.sandbox.handle();
    let checked = set_up.doctor(&["--write-test"]).await;
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    checked.remedy("good", "written and read back");
    assert!(sandbox.page_count() == 0 && sandbox.pages().len() == 1);

    sandbox.fault(FaultRule::once(Fault::Restricted).on(Route::Create)).unwrap();
    let forbidden = set_up.doctor(&["--write-test"]).await;
    assert_eq!(forbidden.code, Some(2));
    assert!(forbidden.remedy("problem", "Insufficient permissions").contains("capabilities"));

    sandbox.fault(FaultRule::once(Fault::Restricted).on(Route::Update)).unwrap();
    let left = set_up.doctor(&["--write-test"]).await;
    assert_eq!(left.code, Some(1));
    assert!(left.remedy("warning", "could not be removed").contains("http"));
}

#[tokio::test]
async fn doctor_names_what_the_database_setting_points_to() {
    let set_up = SetUp::new(Template::Original).await;
    let sandbox = set_up.sandbox.handle();
    let page = format!("https://www.notion.so/Finance-{}", notion_sandbox::PARENT_PAGE_ID.simple());
    let checked = set_up.doctor_with("NOTION_DATABASE_ID", &page).await;
    assert!(checked.remedy("problem", "leads to a page (\"Finance\")").contains("notion init"));
    let source = notion_sandbox::DATA_SOURCE_ID.to_string();
    let checked = set_up.doctor_with("NOTION_DATABASE_ID", &source).await;
    assert!(
        checked.remedy("problem", "id of a data source").contains(&notion_sandbox::DATABASE_ID.to_string())
    );
    let checked = set_up.doctor_with("NOTION_DATABASE_ID", &"0".repeat(32)).await;
    assert!(checked.remedy("problem", "not visible to the connection").contains("Connections"));
    let checked = set_up.doctor_with("NOTION_API_KEY", "ntn_revoked").await;
    assert!(checked.remedy("problem", "API token is invalid").contains("NOTION_API_KEY"));

    let other = sandbox.add_data_source(notion_sandbox::DATABASE_ID, Template::Full).unwrap().to_string();
    let checked = set_up.doctor(&[]).await;
    assert!(checked.remedy("problem", "2 data sources").contains(&other));
    let checked = set_up.doctor_with("NOTION_DATA_SOURCE_ID", &other).await;
    checked.remedy("good", "\"Payments\" is the one configured");
    let checked = set_up.doctor_with("NOTION_DATA_SOURCE_ID", &"1".repeat(32)).await;
    assert!(checked.remedy("problem", "names no data source").contains(&other));
}

#[tokio::test]
async fn a_wiki_can_be_filled() {
    let set_up = SetUp::new(Template::Full).await;
    let sandbox = set_up.sandbox.handle();
    sandbox.add_column(notion_sandbox::DATA_SOURCE_ID, "Verification", "verification").unwrap();
    let checked = set_up.doctor(&["--write-test"]).await;
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    checked.remedy("good", "written and read back");
}

#[tokio::test]
async fn notion_init_names_a_database_that_was_created_in_spite_of_an_error() {
    let set_up = SetUp::new(Template::Original).await;
    let created = FaultRule::once(Fault::Committed).on(Route::Schema).containing("initial_data_source");
    set_up.sandbox.handle().fault(created).unwrap();
    let mut init = set_up.command(&["notion", "init", "--yes", "--json", "--title", "Takings"]);
    let done = output(init.env_remove("NOTION_DATABASE_ID")).await;
    assert!(done.status.success(), "{done:?}");
    let printed: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(printed["title"], "Takings", "{printed}");
    let requests = set_up.sandbox.handle().requests();
    assert_eq!(requests.iter().filter(|request| request.path == "/v1/databases").count(), 1);
}

#[tokio::test]
async fn the_table_of_dev_has_the_columns_that_notion_init_creates() {
    /// What a person sees of a column: its type, and the names and colours of its options.
    fn seen(column: &Value) -> (&str, Vec<[&str; 2]>) {
        let mut kinds = column.as_object().unwrap().iter().filter(|(_, settings)| settings.is_object());
        let (kind, settings) = kinds.next().unwrap();
        let options = settings["options"].as_array().into_iter().flatten();
        let options = options.map(|option| ["name", "color"].map(|key| option[key].as_str().unwrap()));
        (kind, options.collect())
    }
    fn columns(definitions: &Value) -> BTreeMap<&String, (&str, Vec<[&str; 2]>)> {
        definitions.as_object().unwrap().iter().map(|(name, column)| (name, seen(column))).collect()
    }
    let set_up = SetUp::new(Template::Original).await;
    assert!(output(&mut set_up.command(&["notion", "init", "--yes"])).await.status.success());
    let requests = set_up.sandbox.handle().requests();
    let created = requests.iter().find(|request| request.path == "/v1/databases").unwrap();
    let of_dev = Template::Init.schema().to_json();
    assert_eq!(columns(&of_dev), columns(&created.body["initial_data_source"]["properties"]));
}

#[tokio::test]
async fn notion_init_creates_a_view_of_live_money_by_currency_and_says_how_to_add_up() {
    let set_up = SetUp::new(Template::Original).await;
    let done = output(&mut set_up.command(&["notion", "init", "--yes"])).await;
    let said = text(&done.stderr);
    assert!(done.status.success() && said.contains("Calculate › Sum") && !said.contains("no view"), "{said}");
    let views = set_up.sandbox.handle().views();
    let [view] = views.as_slice() else { panic!("{views:?}") };
    assert_eq!((&view["name"], &view["type"]), (&json!("Collected"), &json!("table")));
    assert_eq!(view["filter"]["and"][0], json!({"property": "Livemode", "checkbox": {"equals": true}}));
    let group = &view["configuration"]["group_by"];
    assert_eq!((&group["type"], group["property_id"].is_string()), (&json!("select"), true));
}

#[tokio::test]
async fn notion_init_says_how_to_make_the_view_if_notion_refuses_it() {
    let set_up = SetUp::new(Template::Original).await;
    let fault = Fault::Invalid { message: "Views cannot be created here.".to_owned() };
    set_up.sandbox.handle().fault(FaultRule::once(fault).on(Route::Views)).unwrap();
    let done = output(&mut set_up.command(&["notion", "init", "--yes"])).await;
    assert!(done.status.success(), "{done:?}");
    let said = text(&done.stderr);
    assert!(said.contains("no view of Collected") && said.contains("groups by Currency"), "{said}");
}

#[tokio::test]
async fn notion_init_lists_no_database_in_the_trash() {
    let set_up = SetUp::new(Template::Original).await;
    set_up.sandbox.handle().trash_data_source(notion_sandbox::DATA_SOURCE_ID, true).unwrap();
    let done = output(&mut set_up.command(&["notion", "init", "--yes"])).await;
    assert!(done.status.success() && !text(&done.stderr).contains("Databases that it can see"), "{done:?}");
}

#[tokio::test]
async fn two_instances_that_fill_one_table_are_a_warning() {
    let set_up = SetUp::new(Template::Original).await;
    let mut command = set_up.command(&["doctor", "--json"]);
    command.envs([
        ("DESTINATIONS", "notion,team-b:notion"),
        ("TEAM_B_API_URL", set_up.sandbox.base_url()),
        ("TEAM_B_API_KEY", notion_sandbox::TOKEN),
        ("TEAM_B_DATABASE_ID", &notion_sandbox::DATABASE_ID.to_string()),
    ]);
    Checked::of(command).await.remedy("warning", "notion and team-b write to the same place");
}

#[tokio::test]
async fn notion_init_creates_a_database_without_problems() {
    let set_up = SetUp::new(Template::Original).await;
    let mut init = set_up.command(&["notion", "init", "--yes", "--json", "--title", "Takings"]);
    let done = output(init.env_remove("NOTION_DATABASE_ID")).await;
    let printed = text(&done.stderr);
    assert!(done.status.success() && printed.contains("Stripe events  NOTION_DATABASE_ID="), "{printed}");
    let made: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&made["title"], &made["written_to"]), (&"Takings".into(), &".env".into()));
    let setting = made["setting"].as_str().unwrap();
    assert_eq!(fs::read_to_string(set_up.folder.path().join(".env")).unwrap(), format!("{setting}\n"));

    let mut doctor = set_up.command(&["doctor", "--json", "--write-test"]);
    doctor.env_remove("NOTION_DATABASE_ID");
    let checked = Checked::of(doctor).await;
    assert_eq!(checked.code, Some(0), "{:#}", checked.report);
    checked.remedy("good", "the database \"Takings\" is shared");
    checked.remedy("good", "Outcome (select)");
}

#[tokio::test]
async fn notion_init_waits_until_a_page_is_shared() {
    let set_up = SetUp::new(Template::Original).await;
    let sandbox = set_up.sandbox.handle();
    sandbox.fault(FaultRule::always(Fault::Unshared).on(Route::Search)).unwrap();
    let at_once = output(&mut set_up.command(&["notion", "init", "--yes"])).await;
    assert!(!at_once.status.success() && text(&at_once.stderr).contains("Connections"));

    let mut waiting = set_up.command(&["notion", "init", "--yes", "--wait", "60"]);
    let mut waiting = waiting.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = BufReader::new(waiting.stderr.take().unwrap()).lines();
    within("the command waits", async {
        while !printed.next_line().await.unwrap().unwrap().contains("Checking again") {}
    })
    .await;
    sandbox.clear_faults();
    let done = within("the command continues", waiting.wait_with_output()).await.unwrap();
    assert!(done.status.success() && text(&done.stdout).starts_with("NOTION_DATABASE_ID="));
}

#[tokio::test]
async fn notion_init_explains_a_link_that_is_not_a_page() {
    let set_up = SetUp::new(Template::Original).await;
    let database = notion_sandbox::DATABASE_ID.simple();
    let view = "f".repeat(32);
    for (link, message) in [
        (format!("https://www.notion.so/acme/{database}?v={view}"), "leads to a database"),
        ("https://www.notion.so/acme".to_owned(), "neither a link to a page"),
        ("0".repeat(32), "no such page is shared"),
    ] {
        let done = output(&mut set_up.command(&["notion", "init", "--yes", "--page", &link])).await;
        let printed = text(&done.stderr);
        assert!(!done.status.success() && printed.contains(message), "{link}: {printed}");
    }
    let page = format!("https://acme.notion.site/Finance-{}?pvs=4", notion_sandbox::PARENT_PAGE_ID.simple());
    let done = output(&mut set_up.command(&["notion", "init", "--page", &page])).await;
    assert!(done.status.success() && text(&done.stdout).starts_with("NOTION_DATABASE_ID="));
    assert!(!set_up.folder.path().join(".env").exists());
}

#[tokio::test]
async fn doctor_explains_why_webhooks_are_rejected() {
    let service = Service::start().await;
    // In Stripe's layout: indented by two spaces per level.
    let body = "{\n  \"id\": \"evt_1\",\n  \"object\": \"event\",\n  \"livemode\": false\n}";
    let (mut parts, body) = signed(body).into_parts();
    let foreign = stripe::sign("whsec_of_another_endpoint", br#"{"id":"evt_1"}"#, NOW);
    parts.headers.insert("stripe-signature", foreign.parse().unwrap());
    service.call(Request::from_parts(parts, body)).await.problem(400);
    within("the rejection is recorded", async {
        while service.database.count(rows::rejections()).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let set_up = SetUp::new(Template::Original).await;
    let url = service.database.url();
    let checked = set_up.doctor_with("DATABASE_URL", url.expose_secret()).await;
    // As severe as for status: a few are a warning.
    assert_eq!(checked.code, Some(1));
    let remedy = checked.remedy("warning", "signed with none of the configured secrets");
    assert!(remedy.contains("STRIPE_WEBHOOK_SECRET"), "{remedy}");
}

#[tokio::test]
async fn a_platform_is_told_that_its_income_is_not_in_the_sums() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let event = json!({"id": "evt_1", "object": "event", "type": "charge.succeeded", "account": "acct_1"});
    assert_eq!(service.post_event(&event.to_string()).await.status, 200);
    let set_up = SetUp::new(Template::Original).await;
    let checked = set_up.doctor_with("DATABASE_URL", service.database.url().expose_secret()).await;
    let remedy = checked.remedy("note", "1 connected account sends events here");
    for words in ["Collected", "for each Account", "not the platform's income", "application fees"] {
        assert!(remedy.contains(words), "{words}: {remedy}");
    }
}

#[tokio::test]
async fn unsigned_requests_of_third_parties_are_not_a_problem() {
    let service = Service::start().await;
    let garbage =
        Request::post("/api/v1/webhooks/stripe").header("host", "localhost").body("nonsense".into());
    service.call(garbage.unwrap()).await.problem(400);
    within("the rejection is recorded", async {
        while service.database.count(rows::rejections()).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let set_up = SetUp::new(Template::Original).await;
    let checked = set_up.doctor_with("DATABASE_URL", service.database.url().expose_secret()).await;
    assert!(checked.remedy("note", "a stranger has found this URL").contains("No action"));
}

#[tokio::test]
async fn doctor_sends_a_test_alert_and_names_the_receiver() {
    let set_up = SetUp::new(Template::Original).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let app = Router::new().route("/hook", post(async move |body: String| sender.send(body).unwrap()));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let test = async |url: &str| {
        let mut command = set_up.command(&["doctor", "--json", "--alert-test"]);
        command.envs([("ALERT_URL", url), ("ALERT_KIND", "json")]);
        Checked::of(command).await
    };
    test(&url).await.remedy("good", "accepted a test alert");
    assert!(receiver.recv().await.unwrap().contains("A test."));
    let refused = test(&url.replace("/hook", "/secret-elsewhere")).await;
    assert!(refused.remedy("problem", "no test alert was sent").contains("ALERT_URL"));
    assert!(!refused.report.to_string().contains("secret-elsewhere"), "{:#}", refused.report);
    server.abort();
}

#[tokio::test]
async fn the_session_that_holds_the_oldest_snapshot_is_found() {
    let database = Database::new().await;
    let (_session, pid) = database.hold_snapshot().await;
    let found = database.store().db.server_info().await.unwrap().snapshot_holders.remove(0);
    assert_eq!((found.kind, found.name), (SnapshotHolderKind::Session, pid.to_string()));
    assert!(found.detail.contains("idle in transaction"), "{}", found.detail);
    assert!(found.held_for.is_some());
}

#[tokio::test]
async fn a_session_that_wrote_something_and_waits_holds_back_vacuum_too() {
    let database = Database::new().await;
    let (_session, pid) = database.hold_number().await;
    let found = database.store().db.server_info().await.unwrap().snapshot_holders.remove(0);
    assert_eq!((found.kind, found.name), (SnapshotHolderKind::Session, pid.to_string()));
}
