//! The write test: creates a page as a delivery would, reads it back, and moves it to the trash.

use super::Found;
use crate::destinations::DeliveryContext;
use crate::destinations::check::Finding;
use crate::destinations::notion::answer::is_of;
use crate::destinations::notion::classify::Effect;
use crate::destinations::notion::example::example;
use crate::destinations::notion::mapping::{self, Mapped};
use crate::destinations::notion::schema::Bindings;
use crate::destinations::notion::trash::Container;
use crate::destinations::notion::{Notion, object};
use crate::domain::execution::Mode;
use chrono::DateTime;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long after its start the write test may write.
const TEST_WITHIN: Duration = Duration::from_mins(2);

impl Notion {
    /// Creates a page as a delivery would, reads it back, and moves it to the trash.
    pub(in crate::destinations::notion) async fn test_writing(
        &self,
        context: &dyn DeliveryContext,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        let Some(Found { data_source, bindings: Some(bindings), .. }) =
            self.look(context, &mut Vec::new()).await
        else {
            return vec![Finding::problem("no page can be written yet", "fix the problems above first")];
        };
        let calls = self.client.with(context, Instant::now() + TEST_WITHIN);
        let sent = self.test_page(&bindings);
        let body = bindings.by_name(&sent.properties);
        let made = match calls.create_page(&data_source, &body).await {
            Ok(answer) => answer.value,
            Err(error) => {
                findings.push(self.problem(&calls, Effect::Create, error));
                return findings;
            }
        };
        if made.is_put_away() {
            let container = Container::Unseen;
            findings.push(Finding::problem(container.problem(), container.remedy()));
            findings.push(Finding::warning(
                "a test page was created there, and comes back with it",
                format!("remove it then: {}", made.url.unwrap_or(made.id)),
            ));
            return findings;
        }
        match calls.page(&made.id).await {
            Ok(page) => findings.push(read_back(&sent, &page.value, &bindings)),
            Err(error) => findings.push(self.problem(&calls, Effect::Look, error)),
        }
        match calls.trash_page(&made.id).await {
            Ok(_) => findings.push(Finding::good("the test page was removed again")),
            Err(error) => {
                let failure = calls.failure(error);
                let place = made.url.unwrap_or(made.id);
                findings.push(Finding::warning(
                    format!("the test page could not be removed: {}", failure.message),
                    format!(
                        "remove it manually: {place}; give the connection the capability to update content"
                    ),
                ));
            }
        }
        findings
    }

    /// A page with every property, as an event would fill it.
    fn test_page(&self, bindings: &Bindings) -> Mapped {
        // Any time will do for an example, if Notion sent none.
        let event = example(self.client.clock().map_or(DateTime::UNIX_EPOCH, |(at, _)| at));
        let zone = self.settings.timezone;
        match self.settings.mode {
            Mode::Event => mapping::properties(&event, zone, bindings),
            Mode::Object => object::object_properties(&event, zone, bindings)
                .unwrap_or_else(|| mapping::properties(&event, zone, bindings)),
        }
    }
}

/// Whether the page holds everything that was written.
fn read_back(sent: &Mapped, page: &Value, bindings: &Bindings) -> Finding {
    let properties = page.get("properties").and_then(Value::as_object);
    let is_there = |id: &str| {
        let found = properties.into_iter().flat_map(serde_json::Map::values);
        let mut found = found.filter(|property| is_of(property, id));
        found.any(|property| {
            let kind = property.get("type").and_then(Value::as_str).unwrap_or_default();
            match property.get(kind) {
                None | Some(Value::Null) => false,
                Some(Value::Array(parts)) => !parts.is_empty(),
                Some(_) => true,
            }
        })
    };
    let lost: Vec<_> = sent
        .properties
        .keys()
        .filter(|id| !is_there(id))
        .map(|id| bindings.by_id(id).map_or(id.as_str(), |column| &column.name))
        .collect();
    if lost.is_empty() {
        let count = sent.properties.len();
        Finding::good(format!("a test page was written and read back, with all {count} values in place"))
    } else {
        Finding::warning(
            format!("a test page was written; these columns came back empty: {}", lost.join(", ")),
            "check whether an automation or a rule of the database changes them",
        )
    }
}
