//! A TypeScript client that `openapi-typescript` generates from `docs/openapi.json`, against a running service.

use super::tools::{Tools, run};
use crate::harness::{Service, rows, text};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tokio::process::Command;

const KEY: &str = "write-0123456789abcdef0123456789abcdef";

/// Runs a command in this folder and expects that it succeeds. Returns what it prints.
async fn done(command: &mut Command, folder: &Path) -> String {
    let output = run(command.current_dir(folder), &Value::Null).await;
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{command:?}: {printed}{}", text(&output.stderr));
    printed
}

/// Generates the types, and compiles the program with the strictest checks.
async fn compiled(tools: &Tools) -> TempDir {
    let generator = tools.folder().join("generator");
    let programs = generator.join("node_modules/.bin");
    // Beside the packages that it imports.
    let folder = TempDir::new_in(&generator).unwrap();
    let checkout = Path::new(env!("EVENTBRIDGE_CHECKOUT"));
    fs::write(folder.path().join("package.json"), r#"{"type": "module"}"#).unwrap();
    fs::copy(checkout.join("tests/it/clients/generated.ts"), folder.path().join("generated.ts")).unwrap();
    let description = checkout.join("docs/openapi.json");
    let mut generate = Command::new(programs.join("openapi-typescript"));
    done(generate.arg(description).args(["--output", "api.ts"]), folder.path()).await;
    let mut compile = Command::new(programs.join("tsc"));
    let options =
        ["--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--skipLibCheck"];
    let language = ["--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom"];
    done(compile.args(options).args(language).arg("generated.ts"), folder.path()).await;
    folder
}

#[tokio::test]
async fn a_client_generated_from_the_description_lists_shows_retries_and_reads_a_problem() {
    let Some(tools) = Tools::of_this_machine() else { return };
    let program = compiled(&tools).await;
    let service =
        Service::builder().production().set("API_KEYS", &format!("client:write:{KEY}")).start().await;
    for (id, kind) in [("evt_1", "invoice.paid"), ("evt_2", "charge.refunded"), ("evt_3", "invoice.created")]
    {
        service.post_event(&json!({"id": id, "type": kind}).to_string()).await;
    }
    service.until_count(rows::executions().in_status("success"), 3).await;
    let listening = service.listen(0).await;
    let address = format!("http://127.0.0.1:{}", listening.port);
    let mut node = Command::new("node");
    let printed = done(node.arg("generated.js").args([&address, KEY]), program.path()).await;
    let report: Value = serde_json::from_str(&printed).unwrap();
    for (part, expected) in [
        ("events", json!(["evt_3", "evt_1"])),
        ("next", Value::Null),
        ("window", json!(true)),
        ("finished", json!(true)),
        ("outcomes", json!(["delivered"])),
        ("retried", json!([202, "pending", false])),
        ("problem", json!([400, "bad_request", "status"])),
        ("missing", json!([404, "not_found", null])),
    ] {
        assert_eq!(report[part], expected, "{part} of {report}");
    }
    assert!(report["line"].as_str().unwrap().starts_with("evt_3 success "), "{report}");
    listening.end().await;
}
