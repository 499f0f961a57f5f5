//! Three incidents of docs/operations.md, replayed with the commands: from the symptom to the confirmed
//! fix. `rejections.rs` has the wrong secret and `queue.rs` the crash.

use crate::harness::{Service, eventbridge, output, text, within};
use notion_sandbox::{DATA_SOURCE_ID, Fault, FaultRule, Route};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::process::Output;
use tempfile::TempDir;

/// A folder with the settings of the service, as an operator has one.
struct OperatorFolder<'a> {
    service: &'a Service,
    folder: TempDir,
}

impl<'a> OperatorFolder<'a> {
    fn of(service: &'a Service) -> Self {
        Self { service, folder: TempDir::new().unwrap() }
    }

    async fn run(&self, token: &str, arguments: &[&str]) -> Output {
        let mut command = eventbridge(self.folder.path());
        command.args(arguments).envs([
            ("DATABASE_URL", self.service.database.url().expose_secret().to_owned()),
            ("NOTION_API_URL", self.service.notion_url()),
            ("NOTION_API_KEY", token.to_owned()),
            ("NOTION_DATABASE_ID", notion_sandbox::DATABASE_ID.to_string()),
            ("STRIPE_WEBHOOK_SECRET", "whsec_of_the_tests".to_owned()),
            ("AUTH", "off".to_owned()),
        ]);
        output(&mut command).await
    }

    /// The output of `status`, with its exit code.
    async fn status(&self) -> (Option<i32>, String) {
        let done = self.run(notion_sandbox::TOKEN, &["status"]).await;
        let printed: Value = serde_json::from_str(&text(&done.stdout)).unwrap();
        let sentences = printed["sentences"].as_array().unwrap().iter().filter_map(Value::as_str);
        (done.status.code(), sentences.collect::<Vec<_>>().join(" "))
    }

    async fn until_status(&self, code: i32, says: &str) {
        within(says, async {
            loop {
                let (exit, printed) = self.status().await;
                if exit == Some(code) && printed.contains(says) {
                    return;
                }
            }
        })
        .await;
    }
}

async fn pay(service: &Service, id: &str) {
    let body = json!({"id": id, "object": "event", "type": "invoice.paid", "created": 1_700_000_000,
        "data": {"object": {"id": "in_1", "object": "invoice", "currency": "eur", "total": 1_000}}});
    assert_eq!(service.post_event(&body.to_string()).await.status, 200);
}

async fn until_pages(service: &Service, count: usize) {
    within("the pages exist", service.sandbox.until(|sandbox| sandbox.page_count() == count)).await;
}

#[tokio::test]
async fn a_revoked_token_is_reported_and_replaced() {
    let service = Service::start().await;
    service.sandbox.set_token("ntn_new".to_owned());
    pay(&service, "evt_1").await;
    let folder = OperatorFolder::of(&service);
    folder.until_status(2, "set a new NOTION_API_KEY and restart").await;
    let before = folder.run(notion_sandbox::TOKEN, &["doctor"]).await;
    assert_eq!(before.status.code(), Some(2), "{before:?}");
    let after = text(&folder.run("ntn_new", &["doctor"]).await.stdout);
    assert!(after.contains("the token works") && after.contains("find no problem any more"), "{after}");
    let restarted = service.replica().set("NOTION_API_KEY", "ntn_new").start().await;
    until_pages(&service, 1).await;
    folder.until_status(0, "Nothing is pending").await;
    restarted.stop().await;
}

#[tokio::test]
async fn a_deleted_key_column_is_reported_and_created_again() {
    let service = Service::builder().template(notion_sandbox::Template::Full).start().await;
    service.sandbox.remove_column(DATA_SOURCE_ID, "EventId").unwrap();
    pay(&service, "evt_1").await;
    let folder = OperatorFolder::of(&service);
    folder.until_status(2, "add a text column EventId").await;
    let fixed = text(&folder.run(notion_sandbox::TOKEN, &["doctor", "--fix", "--yes"]).await.stdout);
    assert!(fixed.contains("added: EventId"), "{fixed}");
    until_pages(&service, 1).await;
    folder.until_status(0, "Nothing is pending").await;
}

#[tokio::test]
async fn an_event_that_notion_refuses_is_reported_with_the_next_command() {
    let service = Service::start().await;
    let refusal = Fault::Invalid { message: "A number is expected here.".to_owned() };
    service.sandbox.fault(FaultRule::always(refusal).on(Route::Create).containing("evt_2")).unwrap();
    for id in ["evt_1", "evt_2", "evt_3"] {
        pay(&service, id).await;
    }
    service.until_finished(3).await;
    assert_eq!(service.sandbox.page_count(), 2);
    let folder = OperatorFolder::of(&service);
    let (code, printed) = folder.status().await;
    assert_eq!(code, Some(1), "{printed}");
    let words: Vec<&str> = printed.split_whitespace().collect();
    let after = |word: &str| {
        let place = words.iter().position(|one| *one == word).unwrap_or_else(|| panic!("{printed}"));
        words[place + 1]
    };
    let why = text(&folder.run(notion_sandbox::TOKEN, &["why", after("why")]).await.stdout);
    assert!(why.contains("evt_2") && why.contains("A number is expected here"), "{why}");
    service.sandbox.clear_faults();
    let retried = folder.run(notion_sandbox::TOKEN, &["retry", "--failure", after("--failure")]).await;
    assert!(retried.status.success(), "{retried:?}");
    until_pages(&service, 3).await;
    folder.until_status(0, "Nothing is pending").await;
}
