//! `/api/v1/search`: finds events by an id, e-mail address, invoice number or link.

use super::events::Event;
use super::extract::Query;
use super::paging::{FilterPrint, PageRequest};
use super::{Api, NotRead, from_store};
use crate::domain::search::SearchText;
use crate::problem::Problem;
use crate::store::FoundEvent;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A found event.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventSearchResult {
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// The exact amount in major units; null if the event has none.
    #[schema(example = "120.00")]
    pub amount: Option<String>,
    /// The amount's currency, as in ISO 4217; null if the event has no amount.
    #[schema(example = "EUR")]
    pub currency: Option<String>,
    /// The customer's id; null if it names none.
    pub customer: Option<String>,
    /// The customer's e-mail address; null if it names none.
    pub customer_email: Option<String>,
    /// The invoice's number, or its id if it has no number; null if it names none.
    pub invoice_number: Option<String>,
}

/// A page of found events.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventSearchResultList {
    /// The events, newest first.
    pub data: Vec<EventSearchResult>,
    /// The cursor of the next (older) page; null on the last page.
    pub next_cursor: Option<String>,
}

/// What to search for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SearchQuery {
    /// An event's id, the id of an object that it names, a customer's id or e-mail address, an invoice's
    /// number, or a link to what a destination wrote, or its id. Case counts only in an event's id.
    #[param(example = "jane@example.com", min_length = 1, max_length = 1000)]
    q: String,
    /// The page size, at most 200; the default is 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// Finds events, newest first, of all time.
///
/// An event is found by its own id immediately, and by other terms one or two seconds after its receipt.
#[utoipa::path(
    get,
    path = "/api/v1/search",
    operation_id = "search_events",
    tag = "events",
    params(SearchQuery),
    responses(
        (status = 200, description = "A page of found events, possibly empty", body = EventSearchResultList),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn search(
    State(api): State<Api>,
    print: FilterPrint,
    Query(query): Query<SearchQuery>,
) -> Result<Json<EventSearchResultList>, Problem> {
    const CHARACTERS_MAX: usize = 1000;
    let request = PageRequest::read(query.cursor.as_deref(), query.limit, print)?;
    let sought = Some(query.q.as_str())
        .filter(|text| text.chars().count() <= CHARACTERS_MAX)
        .and_then(|text| SearchText::read(text, &api.destinations))
        .ok_or_else(|| Problem::invalid("q", "must have 1 to 1000 characters that are not all blank"))?;
    let page = api.store.events.search(&sought, request.cursor, request.limit).await.map_err(from_store)?;
    Ok(Json(EventSearchResultList {
        data: page.rows.into_iter().map(EventSearchResult::from).collect(),
        next_cursor: request.next(page.next),
    }))
}

impl From<FoundEvent> for EventSearchResult {
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
