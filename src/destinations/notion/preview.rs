//! What the next try would send, built from the same parts and never sent.
//!
//! It reads only the columns, if they are unknown. If the requests depend on a look, it shows both cases.

use super::Attempt;
use super::request::{Request, Rows};
use super::table::Table;
use crate::domain::delivery::{Outcome, Remote};
use crate::domain::execution::Mode;
use crate::domain::preview::{Effect, Preview, PreviewColumn, PreviewRequest, When};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The placeholder in an address for the id of the page that the preceding look finds.
const FOUND: &str = "{found}";

impl Attempt<'_> {
    /// What this try would send. An `Err` is the outcome that prevents the preview.
    pub(super) async fn preview(&self) -> Result<Preview, Outcome> {
        let table = self.table().get(self.reader()).await?;
        let properties = self.properties(&table);
        let whole = properties.clone();
        let (effect, requests, written) = match self.known_page(&table) {
            Some(page) => self.of_a_known_page(&table, page),
            None if self.mode == Mode::Object || self.delivery.in_doubt.is_some() || self.is_elsewhere() => {
                (Effect::LookFirst, self.after_a_look(&table, &properties), properties)
            }
            None => {
                let request = Request::create_page(&table.data_source, &table.bindings.by_name(&properties));
                (Effect::Create, vec![self.shown(&request, When::Always)], properties)
            }
        };
        let mut notes = self.left_out(&table);
        notes.extend(self.waits());
        if effect == Effect::Nothing {
            notes.push("its page already shows this, as far as the service knows".to_owned());
        }
        let columns = columns(&whole, &written, self.written_last(&table), &table);
        Ok(Preview { effect, requests, columns, notes })
    }

    fn of_a_known_page(
        &self,
        table: &Table,
        page: &Remote,
    ) -> (Effect, Vec<PreviewRequest>, Map<String, Value>) {
        let written = self.values(table, Some(&page.id));
        if written.is_empty() {
            return (Effect::Nothing, Vec::new(), written);
        }
        let body = table.bindings.by_name(&written);
        let request = self.shown(&Request::update_page(&page.id, &body), When::Always);
        (Effect::Update, vec![request], written)
    }

    /// A look, and what follows from it. The one for archived rows, of which few tables have any, is not shown. A page from an event's write of unknown outcome is left
    /// unchanged.
    fn after_a_look(&self, table: &Table, properties: &Map<String, Value>) -> Vec<PreviewRequest> {
        let look = self.look(table, Rows::Present, None);
        let create = Request::create_page(&table.data_source, &table.bindings.by_name(properties));
        let mut requests = vec![self.shown(&look, When::Always)];
        if self.mode == Mode::Object || self.delivery.in_doubt.is_none() {
            let body = table.bindings.by_name(&self.values(table, Some(FOUND)));
            let mut update = self.shown(&Request::update_page(FOUND, &body), When::Found);
            update.url = update.url.replace("%7Bfound%7D", FOUND);
            requests.push(update);
        }
        requests.push(self.shown(&create, When::NotFound));
        requests
    }

    /// What was written last to the page that would be written now. It is kept only for objects.
    fn written_last(&self, table: &Table) -> Option<&Map<String, Value>> {
        self.known_page(table)?;
        self.delivery.object?.written?.as_object()
    }

    fn shown(&self, request: &Request, when: When) -> PreviewRequest {
        PreviewRequest {
            method: request.method.to_string(),
            url: self.notion.client.url(request).to_string(),
            body: request.body.clone(),
            when,
        }
    }

    /// How long a write over a write in doubt must wait.
    fn waits(&self) -> Option<String> {
        let wait = self.time_to_settle(self.delivery.in_doubt?);
        Some(match wait.as_secs() {
            0 => "an earlier write had no answer but has settled by now".to_owned(),
            seconds => format!("an earlier write had no answer: nothing is written in the next {seconds} s"),
        })
    }
}

/// The columns by name: what they would show, and what was written to them last.
fn columns(
    whole: &Map<String, Value>,
    written: &Map<String, Value>,
    last: Option<&Map<String, Value>>,
    table: &Table,
) -> Vec<PreviewColumn> {
    let name =
        |id: &String| table.bindings.by_id(id).map_or_else(|| id.clone(), |column| column.name.clone());
    let text = |property: Option<&Value>| property.and_then(readable);
    let ids: BTreeSet<&String> =
        whole.keys().chain(written.keys()).chain(last.into_iter().flat_map(Map::keys)).collect();
    let column = |id: &String| PreviewColumn {
        name: name(id),
        now: text(written.get(id).or_else(|| whole.get(id))),
        last: text(last.and_then(|last| last.get(id))),
        is_written: written.contains_key(id),
    };
    let mut columns: Vec<_> = ids.into_iter().map(column).collect();
    columns.sort_by(|one, other| one.name.cmp(&other.name));
    columns
}

/// A property's value as people read it; nothing if it is empty.
fn readable(property: &Value) -> Option<String> {
    let (_, value) = property.as_object()?.iter().next()?;
    let named = |part: &Value| part.get("name").and_then(Value::as_str).map(str::to_owned);
    let text = match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(is_set) => Some(if *is_set { "yes" } else { "no" }.to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(parts) => {
            let content = |part: &Value| part.pointer("/text/content")?.as_str().map(str::to_owned);
            Some(parts.iter().filter_map(|part| content(part).or_else(|| named(part))).collect())
        }
        Value::Object(_) => {
            named(value).or_else(|| value.get("start").and_then(Value::as_str).map(str::to_owned))
        }
    };
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::readable;
    use serde_json::json;

    #[test]
    fn every_type_that_is_written_is_readable() {
        for (property, text) in [
            (
                json!({"title": [{"text": {"content": "Invoice "}}, {"text": {"content": "42"}}]}),
                Some("Invoice 42"),
            ),
            (json!({"rich_text": []}), None),
            (json!({"number": 12.5}), Some("12.5")),
            (json!({"number": null}), None),
            (json!({"select": {"name": "paid"}}), Some("paid")),
            (json!({"multi_select": [{"name": "paid"}]}), Some("paid")),
            (json!({"status": {"name": "Done"}}), Some("Done")),
            (json!({"date": {"start": "2026-11-23T10:00:00Z"}}), Some("2026-11-23T10:00:00Z")),
            (json!({"checkbox": false}), Some("no")),
            (json!({"url": "https://example.com"}), Some("https://example.com")),
            (json!({"email": "jane@example.com"}), Some("jane@example.com")),
            (json!({}), None),
        ] {
            assert_eq!(readable(&property).as_deref(), text, "{property}");
        }
    }
}
