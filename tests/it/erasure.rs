//! Erasure of a person: nothing that names them stays in the database, however it is spelled, and nobody else is
//! erased.

use crate::harness::{NOW, Service, eventbridge, output, rows, text, within};
use axum::http::Method;
use notion_sandbox::{Fault, FaultRule, Route};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::process::Output;
use std::time::Duration;
use tempfile::TempDir;

/// Runs the command on the database of a service.
async fn forget(service: &Service, args: &[&str]) -> Output {
    let folder = TempDir::new().unwrap();
    let mut command = eventbridge(folder.path());
    command.arg("forget").args(args);
    command.env("DATABASE_URL", service.database.url().expose_secret()).env("USER", "jo");
    output(&mut command).await
}

fn done(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

/// An event about an object whose fields are written as they are.
fn event(id: &str, more: &str, fields: &str) -> String {
    format!(
        r#"{{"id":"{id}","object":"event","type":"invoice.paid","created":{NOW},{more}"data":{{"object":{{"id":"in_{id}","object":"invoice","total":100,"currency":"eur","status":"paid",{fields}}}}}}}"#
    )
}

/// A text in lower case with its escapes and its percent-encoding decoded, as often as there are any.
fn decoded(text: &str) -> String {
    let mut text = text.to_lowercase();
    loop {
        let mut next = text.replace("\\\\", "\\");
        for code in 0x20..0x7f_u8 {
            for spelled in [format!("\\u{code:04x}"), format!("%{code:02x}")] {
                if next.contains(&spelled) {
                    next = next.replace(&spelled, &char::from(code).to_string());
                }
            }
        }
        if next == text {
            return text;
        }
        text = next;
    }
}

/// The rows of a dump of the whole database that name the person.
async fn traces(service: &Service) -> Vec<String> {
    let dump = decoded(&service.database.dump().await);
    let names_her = |row: &&str| ["trillian", "tricia", "mcmillan"].iter().any(|word| row.contains(word));
    dump.lines().filter(names_her).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_dump_of_the_whole_database_has_no_trace_of_an_erased_person() {
    let service = Service::start().await;
    let bodies = [
        event(
            "evt_plain",
            "",
            r#""customer":"cus_T987","customer_email":"Trillian@Example.com","customer_name":"Tricia McMillan""#,
        ),
        event("evt_escaped", "", r#""customer_email":"trillian\u0040example.com""#),
        event("evt_all_escaped", "", r#""receipt_email":"\u0054rillian\u0040ex\u0061mple.com""#),
        event("evt_link", "", r#""hosted_invoice_url":"https:\/\/x.example\/?for=trillian%40example.com""#),
        event("evt_nested", "", r#""metadata":{"json":"{\"to\":\"\\u0074rillian@example.com\"}"}"#),
        event("evt_text", "", r#""description":"Asked for by\nTRILLIAN@EXAMPLE.COM.""#),
        event("evt_id", "", r#""customer":"cus_T987","description":"for Tricia McMillan""#),
        event("evt_other", "", r#""customer":"cus_Ford1","customer_email":"ford@example.com""#),
    ];
    for body in &bodies {
        assert_eq!(service.post_event(body).await.status, 200, "{body}");
    }
    let executions = service.until_finished(bodies.len()).await;
    within("the events are indexed", async {
        while service.database.count(rows::event_facts()).await < 8 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // The execution of somebody else's event.
    let other = executions.iter().map(|one| one["id"].as_i64().unwrap()).max().unwrap();
    for words in [
        "trillian@example.com",
        "refund Tricia McMillan (TRILLIAN@EXAMPLE.COM) by hand",
        r"the body has \u0074rillian\u0040example.com",
        "?email=%54rillian%40example.com&name=Tricia+McMillan",
        "tricia\nmcmillan",
    ] {
        service.database.change(rows::texts_about(words, other)).await;
    }
    assert!(traces(&service).await.len() > 30);

    let counted = done(&forget(&service, &["trillian@example.com", "--dry-run", "--json"]).await);
    let before = traces(&service).await.len();
    let erased = done(&forget(&service, &["trillian@example.com", "--yes", "--json"]).await);
    assert_eq!((&counted["events"], &erased["payloads_removed"]), (&json!(7), &json!(7)), "{erased}");
    assert!(before > 30 && erased["texts_changed"].as_u64() > Some(20), "{erased}");
    assert!(erased["not_searched"].as_array().unwrap().len() > 3, "{erased}");

    assert_eq!(traces(&service).await, Vec::<String>::new());
    let dump = service.database.dump().await;
    for row in dump.lines().filter(|row| row.contains("cus_T987")) {
        assert!(row.starts_with("audit: ") && row.contains("customer.erased"), "only ids stay: {row}");
    }
    assert!(
        dump.contains("ford@example.com") && dump.contains("refund (erased) ((erased)) by hand"),
        "{dump}"
    );
}

#[tokio::test]
async fn a_stored_response_forgets_the_person_and_still_answers_a_repetition() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    service.post_event(&event("evt_1", "", r#""customer_email":"trillian@example.com""#)).await;
    let key = [("idempotency-key", "k")];
    let path = "/api/v1/executions/retry?all=true&note=for+trillian%40example.com";
    let first = service.send(Method::POST, path, &key).await;
    assert!(first.status == 202 && first.body.contains("trillian@example.com"), "{first:?}");
    done(&forget(&service, &["trillian@example.com", "--yes", "--json"]).await);
    let again = service.send(Method::POST, path, &key).await;
    assert_eq!((again.status, &again.json()["id"]), (first.status, &first.json()["id"]));
    assert_eq!(again.json()["note"], "for (erased)");
    let task = service.get(first.headers["location"].to_str().unwrap()).await.json();
    assert_eq!(task["note"], "for (erased)");
}

#[tokio::test]
async fn texts_that_are_written_during_the_erasure_are_erased_too() {
    let service = Service::start().await;
    service.post_event(&event("evt_1", "", r#""customer_email":"trillian@example.com""#)).await;
    service.post_event(&event("evt_2", "", r#""customer_email":"ford@example.com""#)).await;
    let executions = service.until_finished(2).await;
    let other = executions.iter().find(|one| one["event_id"] == "evt_2").unwrap()["id"].as_i64().unwrap();
    // The body cannot be erased yet, but all texts can.
    let held = service.database.hold_rows(rows::events()).await;
    let erasing = forget(&service, &["trillian@example.com", "--yes", "--json"]);
    let writing = async {
        within("it waits for the body", async {
            while service.database.sessions_waiting_for_a_lock("payload_removed_at is null for update").await
                == 0
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        service.database.change(rows::texts_about("trillian@example.com", other)).await;
        drop(held);
    };
    let (erased, ()) = tokio::join!(erasing, writing);
    assert_eq!(done(&erased)["payloads_removed"], 1);
    assert_eq!(traces(&service).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_person_with_a_non_ascii_address_is_erased_in_each_of_its_spellings() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for (id, fields) in [
        ("evt_utf8", r#""customer_email":"jané@exämple.com""#),
        ("evt_escaped", r#""customer_email":"JAN\u00c9@ex\u00e4mple.com""#),
        ("evt_accent", "\"customer_email\":\"jane\u{301}@exa\u{308}mple.com\""),
        ("evt_puny", r#""customer_email":"jané@xn--exmple-cua.com""#),
        ("evt_link", r#""description":"https://x.example/?jan%C3%A9%40ex%C3%A4mple.com""#),
        ("evt_other", r#""customer_email":"jane@example.com""#),
    ] {
        assert_eq!(service.post_event(&event(id, "", fields)).await.status, 200, "{id}");
    }
    let erased = done(&forget(&service, &["Jané@exämple.com", "--yes", "--json"]).await);
    assert_eq!(erased["payloads_removed"], 5, "{erased}");
}

#[tokio::test]
async fn an_equal_id_of_another_account_or_mode_is_another_customer() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let customer = r#""customer":"cus_Same1""#;
    for (id, more, fields) in [
        ("evt_own", r#""livemode":false,"#, customer),
        ("evt_live", r#""livemode":true,"#, customer),
        ("evt_account", r#""livemode":false,"account":"acct_1","#, customer),
        // Her address names her in one account only, so only this account's id is hers.
        (
            "evt_address",
            r#""livemode":false,"account":"acct_1","#,
            r#""customer":"cus_Same1","customer_email":"jane@example.com""#,
        ),
    ] {
        assert_eq!(service.post_event(&event(id, more, fields)).await.status, 200, "{id}");
    }
    let refused = forget(&service, &["cus_Same1", "--yes"]).await;
    let why = text(&refused.stderr);
    assert!(!refused.status.success() && why.contains("--everywhere"), "{why}");
    for place in ["own account, test mode", "own account, live mode", "account acct_1, test mode"] {
        assert!(why.contains(place), "{place} in {why}");
    }
    let by_address = forget(&service, &["jane@example.com", "--dry-run"]).await;
    let counted = done(&by_address);
    let same = json!([{"id": "cus_Same1", "source": "stripe", "account": "acct_1", "livemode": false}]);
    assert_eq!((&counted["events"], &counted["customers"]), (&json!(2), &same), "{counted}");
    // Without --yes, the question names account and mode.
    let asked = forget(&service, &["cus_Same1", "--account", "own", "--mode", "live"]).await;
    assert!(text(&asked.stderr).contains("cus_Same1 (stripe, own account, live mode)"), "{asked:?}");
    let removed = async |args: &[&str]| {
        done(&forget(&service, &[&["cus_Same1", "--yes", "--json"], args].concat()).await)["payloads_removed"]
            .clone()
    };
    assert_eq!(removed(&["--account", "acct_1"]).await, 2);
    assert_eq!(removed(&["--mode", "test"]).await, 1);
    assert_eq!(removed(&["--everywhere"]).await, 1);
}

#[tokio::test]
async fn bodies_are_kept_while_pages_cannot_be_removed_so_a_repeated_run_finds_them() {
    let service = Service::start().await;
    for id in ["evt_1", "evt_2"] {
        service.post_event(&event(id, "", r#""customer":"cus_Arthur1""#)).await;
    }
    service.until_finished(2).await;
    let (notion, database) = (service.notion_url(), notion_sandbox::DATABASE_ID.to_string());
    let erase = async |args: &[&str]| {
        let folder = TempDir::new().unwrap();
        let mut command = eventbridge(folder.path());
        command.args(["forget", "cus_Arthur1", "--yes", "--entries"]).args(args).envs([
            ("DATABASE_URL", service.database.url().expose_secret()),
            ("NOTION_API_URL", &notion),
            ("NOTION_API_KEY", notion_sandbox::TOKEN),
            ("NOTION_DATABASE_ID", &database),
        ]);
        output(&mut command).await
    };
    let refused = Fault::Restricted;
    service.sandbox.fault(FaultRule::once(refused).on(Route::Update)).unwrap();
    let first = erase(&["--json"]).await;
    assert_eq!(first.status.code(), Some(1), "{first:?}");
    let first = done(&first);
    assert_eq!((&first["payloads_removed"], &first["keeps_bodies"]), (&json!(0), &json!(true)), "{first}");
    assert_eq!(service.sandbox.page_count(), 1);

    let second = erase(&[]).await;
    assert!(second.status.success(), "{second:?}");
    assert_eq!(done(&second)["payloads_removed"], 2);
    assert_eq!(service.sandbox.page_count(), 0);
    let third = done(&erase(&[]).await);
    assert_eq!((&third["events"], &third["payloads_removed"]), (&json!(0), &json!(0)), "{third}");
}
