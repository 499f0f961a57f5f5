//! axe-core, which finds what would keep somebody out of a page.

use super::Page;
use super::chromium::skip;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What it looks for: the rules of WCAG 2.2 up to AA, and what its makers hold for good practice.
const RUN: &str = "axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
    .then((result) => result.violations.flatMap((violation) => violation.nodes.map((node) => `${violation.id}: ${node.html.slice(0, 200)} (${node.failureSummary})`)))";

/// The text of axe-core, to be run in pages.
pub struct Axe {
    script: String,
}

impl Axe {
    /// From where `EVENTBRIDGE_AXE` says, or where `npm install --prefix target/npm axe-core` puts
    /// it; nothing, with a word about it, where it is not.
    pub fn of_this_run() -> Option<Self> {
        let usual = || {
            let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
            target.join("npm/node_modules/axe-core/axe.min.js")
        };
        let path = std::env::var_os("EVENTBRIDGE_AXE").map_or_else(usual, PathBuf::from);
        let script = std::fs::read_to_string(&path);
        if script.is_err() {
            skip(&format!("axe-core is not at {}: scripts/install-axe puts it there", path.display()));
        }
        Some(Self { script: script.ok()? })
    }

    /// What it objects to in a page as it stands.
    pub async fn violations(&self, page: &Page) -> Vec<String> {
        let found = page.evaluate_apart(&format!("{};\n{RUN}", self.script)).await;
        found.as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }
}
