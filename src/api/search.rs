//! `/api/v1/search`: finds an event by whatever one knows of it.

use super::events::EventView;
use super::extract::{self, Query};
use super::{Api, NotRead, from_store};
use crate::domain::search::Sought;
use crate::problem::Problem;
use crate::store::{Cursor, FoundEvent};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// An event that was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundView {
    /// The event.
    #[serde(flatten)]
    pub event: EventView,
    /// The amount in major units, exact; null where the event is about none.
    #[schema(example = "120.00")]
    pub amount: Option<String>,
    /// The amount's currency.
    #[schema(example = "EUR")]
    pub currency: Option<String>,
    /// The customer's id.
    pub customer: Option<String>,
    /// The customer's e-mail address.
    pub customer_email: Option<String>,
    /// The invoice's number, or its id where it has none.
    pub invoice_number: Option<String>,
}

/// A page of the events that were found.
#[derive(Debug, Serialize, ToSchema)]
pub struct Found {
    /// The events, newest first.
    pub data: Vec<FoundView>,
    /// Ask with this cursor for what is older; null at the end.
    pub next_cursor: Option<String>,
}

/// What to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SearchQuery {
    /// An event's id, the id of an object that it names, a customer's id or e-mail address, an invoice's
    /// number, or a link to what a destination wrote, or its id. Case counts only in an event's id.
    #[param(example = "jane@example.com", min_length = 1, max_length = 1000)]
    q: String,
    /// How many, at most 200; 50 where nothing is said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Finds events, newest first.
///
/// An event is found by its own id at once, and by all else within a second or two of its arrival.
#[utoipa::path(
    get,
    path = "/api/v1/search",
    operation_id = "search_events",
    tag = "events",
    params(SearchQuery),
    responses(
        (status = 200, description = "A page of what was found, which may be empty", body = Found),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn search(
    State(api): State<Api>,
    Query(query): Query<SearchQuery>,
) -> Result<Json<Found>, Problem> {
    const CHARACTERS_MAX: usize = 1000;
    let (cursor, limit) = extract::paging(query.cursor.as_deref(), query.limit)?;
    let sought = Some(query.q.as_str())
        .filter(|text| text.chars().count() <= CHARACTERS_MAX)
        .and_then(|text| Sought::read(text, &api.destinations))
        .ok_or_else(|| Problem::bad_request("q: must hold 1 to 1000 characters, not only blanks."))?;
    let page = api.store.events.search(&sought, cursor, limit).await.map_err(from_store)?;
    Ok(Json(Found {
        data: page.rows.into_iter().map(FoundView::from).collect(),
        next_cursor: page.next.map(Cursor::encode),
    }))
}

impl From<FoundEvent> for FoundView {
    fn from(found: FoundEvent) -> Self {
        Self {
            event: found.event.into(),
            amount: found.amount.map(|amount| amount.decimal()),
            currency: found.amount.map(|amount| amount.currency().to_string()),
            customer: found.customer,
            customer_email: found.customer_email,
            invoice_number: found.invoice_number,
        }
    }
}
