//! What the next try would send, put together from the same parts and never sent.
//!
//! Only the columns are read, where they are not known. What hangs on a look is told for both cases.

use super::Attempt;
use super::column::Column;
use super::mapping::Mapped;
use super::request::Request;
use super::table::Table;
use crate::domain::delivery::{Outcome, Remote};
use crate::domain::execution::Mode;
use crate::domain::preview::{Effect, Preview, PreviewRequest, When};
use serde_json::{Map, Value};

/// Stands in an address for the id of the page that the look before finds.
const FOUND: &str = "{found}";

impl Attempt<'_> {
    /// What this try would send. An `Err` is what keeps one from telling.
    pub(super) async fn preview(&self) -> Result<Preview, Outcome> {
        let table = self.table().get(self.reader()).await?;
        let Mapped { properties, notes: left_out } = self.mapped(&table);
        let (effect, requests, written) = match self.known_page(&table) {
            Some(page) => self.of_a_known_page(&table, page, properties),
            None if self.mode == Mode::Object || self.delivery.unsettled.is_some() || self.is_elsewhere() => {
                (Effect::LookFirst, self.after_a_look(&table, &properties), properties)
            }
            None => {
                let request = Request::create_page(&table.data_source, &properties);
                (Effect::Create, vec![self.shown(&request, When::Always)], properties)
            }
        };
        let mut notes: Vec<String> = left_out.iter().map(ToString::to_string).collect();
        notes.extend(self.waits());
        if effect == Effect::Nothing {
            notes.push("its page shows this already, as far as is known".to_owned());
        }
        Ok(Preview { effect, requests, columns: columns(&written, &table), notes })
    }

    fn of_a_known_page(
        &self,
        table: &Table,
        page: &Remote,
        properties: Map<String, Value>,
    ) -> (Effect, Vec<PreviewRequest>, Map<String, Value>) {
        let written = match self.mode {
            Mode::Event => properties,
            Mode::Object => self.changes(table, page, properties),
        };
        if written.is_empty() {
            return (Effect::Nothing, Vec::new(), written);
        }
        let request = self.shown(&Request::update_page(&page.id, &written), When::Always);
        (Effect::Update, vec![request], written)
    }

    /// A look, and what follows from it. What an event's write of unknown outcome has made is left as
    /// it is found.
    fn after_a_look(&self, table: &Table, properties: &Map<String, Value>) -> Vec<PreviewRequest> {
        let look = Request::find_pages(&table.data_source, &self.filter(table));
        let create = Request::create_page(&table.data_source, properties);
        let mut requests = vec![self.shown(&look, When::Always)];
        if self.mode == Mode::Object || self.delivery.unsettled.is_none() {
            let mut update = self.shown(&Request::update_page(FOUND, properties), When::Found);
            update.url = update.url.replace("%7Bfound%7D", FOUND);
            requests.push(update);
        }
        requests.push(self.shown(&create, When::NotFound));
        requests
    }

    fn shown(&self, request: &Request, when: When) -> PreviewRequest {
        PreviewRequest {
            method: request.method.to_string(),
            url: self.notion.client.url(request).to_string(),
            body: request.body.clone(),
            when,
        }
    }

    /// What has to be waited for before anything is written over a write in doubt.
    fn waits(&self) -> Option<String> {
        let wait = self.time_to_settle(self.delivery.unsettled?);
        Some(match wait.as_secs() {
            0 => "an earlier write had no answer, and has settled by now".to_owned(),
            seconds => format!("an earlier write had no answer: nothing is written in the next {seconds} s"),
        })
    }
}

/// The names of the columns that are written.
fn columns(written: &Map<String, Value>, table: &Table) -> Vec<String> {
    let bindings = &table.bindings;
    let known: Vec<&Column> =
        [&bindings.title, &bindings.key].into_iter().chain(bindings.columns.values()).collect();
    let name = |id: &String| {
        known.iter().find(|column| column.id == *id).map_or_else(|| id.clone(), |column| column.name.clone())
    };
    let mut names: Vec<String> = written.keys().map(name).collect();
    names.sort();
    names
}
