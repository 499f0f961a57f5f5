//! axe-core, which finds accessibility problems.

use super::Page;
use super::chromium::skip;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The rules of WCAG 2.2 up to AA, and axe's own best practices.
const ALL: &str = "'wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'";

/// The rules about colours.
const COLOUR_RULES: &str = "'color-contrast', 'link-in-text-block'";

/// The source text of axe-core, evaluated in pages.
pub struct Axe {
    script: String,
}

impl Axe {
    /// From `EVENTBRIDGE_AXE`, or where `npm install --prefix target/npm axe-core` puts it. If it is
    /// missing, returns `None` and prints why.
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

    /// The violations in a page as it is now.
    pub async fn violations(&self, page: &Page) -> Vec<String> {
        self.run(page, ALL).await
    }

    /// The colour violations of a page.
    pub async fn colour_violations(&self, page: &Page) -> Vec<String> {
        self.run(page, COLOUR_RULES).await
    }

    async fn run(&self, page: &Page, rules: &str) -> Vec<String> {
        if page.evaluate_apart("typeof axe").await == "undefined" {
            page.evaluate_apart(&self.script).await;
        }
        let run = format!(
            "axe.run(document, {{ resultTypes: ['violations'], runOnly: [{rules}] }}).then((result) => result.violations
                .flatMap((violation) => violation.nodes.map((node) => `${{violation.id}}: ${{node.html.slice(0, 200)}} (${{node.failureSummary}})`)))"
        );
        let found = page.evaluate_apart(&run).await;
        found.as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }
}
