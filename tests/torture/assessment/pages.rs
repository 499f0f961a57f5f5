//! The content of the pages: one for each key, as expected.

use super::Assessment;
use crate::Mode;
use crate::load::Cells;
use crate::rows::Execution;
use notion_sandbox::SandboxPage;
use std::collections::BTreeMap;

impl Assessment<'_> {
    /// Each event (or object) has one page with the expected content.
    pub(super) async fn check_pages(&self, executions: &[Execution]) -> anyhow::Result<()> {
        let column = match self.options().mode {
            Mode::Event => "EventId",
            Mode::Object => "ObjectId",
        };
        let pages = self.world.sandbox.handle().pages();
        let mut by_key: BTreeMap<&str, Vec<&SandboxPage>> = BTreeMap::new();
        for page in pages.iter().filter(|page| !page.in_trash) {
            by_key.entry(page.text(column).unwrap_or_default()).or_default().push(page);
        }
        for (key, expected) in self.expected() {
            let found = by_key.remove(key).unwrap_or_default();
            match found.as_slice() {
                [] => self.breach("a page is missing", key, &[]).await,
                [page] => {
                    if let Some(wrong) = wrong_cell(page, expected) {
                        self.breach("a page does not show what it should", key, &[wrong]).await;
                    }
                    let known = executions.iter().filter(|execution| execution.event_id == key);
                    for execution in known.filter(|execution| execution.status == "success") {
                        if execution.remote_id.as_deref() != Some(page.id.to_string().as_str()) {
                            let ids = format!("{:?}, and the page is {}", execution.remote_id, page.id);
                            self.breach("an execution names another page than its own", key, &[ids]).await;
                        }
                    }
                }
                several => {
                    let ids: Vec<_> = several.iter().map(|page| format!("page {}", page.id)).collect();
                    self.breach("an object or event has a second page", key, &ids).await;
                }
            }
        }
        for key in by_key.into_keys() {
            self.breach("a page stands for nothing that was sent", key, &[]).await;
        }
        Ok(())
    }

    /// The keys that must have a page, and its content.
    fn expected(&self) -> Vec<(&str, &Cells)> {
        let answers = self.ledger.answers();
        match self.options().mode {
            Mode::Event => {
                let accepted = |id: &str| answers.get(id).is_some_and(|answers| answers.accepted > 0);
                let events = self.plan.events.iter().filter(|event| accepted(&event.id));
                events.map(|event| (event.id.as_str(), &event.cells)).collect()
            }
            Mode::Object => self.plan.objects.iter().map(|(id, cells)| (id.as_str(), cells)).collect(),
        }
    }

    /// With `--limited` no call is answered 429.
    pub(super) fn check_rate_limit(&self) {
        if !self.options().limited {
            return;
        }
        for call in self.observer.calls().into_iter().filter(|call| call.status == Some(429)) {
            self.observer
                .breach("Notion's rate limit was exceeded", vec![format!("{} {:?}", call.line, call.key)]);
        }
    }
}

/// The first cell that differs from the expected one. Numbers are compared as numbers.
fn wrong_cell(page: &SandboxPage, expected: &Cells) -> Option<String> {
    expected.iter().find_map(|(column, expected)| {
        let found = page.text(column);
        let number = |text: &str| text.parse::<f64>().ok();
        let same = match (found.and_then(number), number(expected)) {
            (Some(found), Some(expected)) => found.total_cmp(&expected).is_eq(),
            _ => found == Some(expected),
        };
        (!same).then(|| format!("{column} should be {expected:?} and is {found:?}"))
    })
}
