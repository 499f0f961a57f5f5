//! Stripe's own libraries, which sign and verify as their users call them.

use super::tools::{Tools, run};
use crate::harness::text;
use serde::Serialize;
use serde_json::{Value, json};

/// One of the libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    Node,
    Python,
}

/// A webhook as it is received.
#[derive(Debug, Serialize)]
pub struct Received<'a> {
    pub payload: &'a str,
    pub header: &'a str,
    pub secret: &'a str,
    /// The time of receipt; by default now.
    pub now: Option<i64>,
    /// Whether it is a thin event, for which the libraries have a separate call.
    pub thin: bool,
}

impl Library {
    pub const ALL: [Self; 2] = [Self::Node, Self::Python];

    /// The header for each payload.
    pub async fn sign(self, tools: &Tools, payloads: &[&str], secret: &str, at: i64) -> Vec<String> {
        let task = |payload: &&str| json!({"payload": payload, "secret": secret, "timestamp": at});
        let signed = self.ask(tools, payloads.iter().map(task).collect()).await;
        signed.iter().map(|signed| signed["header"].as_str().unwrap().to_owned()).collect()
    }

    /// The id and the type of each event, or the error.
    pub async fn verify(self, tools: &Tools, received: &[Received<'_>]) -> Vec<Value> {
        self.ask(tools, received.iter().map(|one| serde_json::to_value(one).unwrap()).collect()).await
    }

    async fn ask(self, tools: &Tools, tasks: Vec<Value>) -> Vec<Value> {
        let mut command = match self {
            Self::Node => tools.node("library.cjs"),
            Self::Python => tools.python("library.py"),
        };
        let count = tasks.len();
        let done = run(&mut command, &Value::from(tasks)).await;
        assert!(done.status.success(), "{self:?}: {}", text(&done.stderr));
        let results: Vec<Value> = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(results.len(), count);
        results
    }
}
