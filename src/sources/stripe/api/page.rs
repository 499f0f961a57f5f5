//! Lists of Stripe's API, newest first, page by page.
//!
//! A list is read with `starting_after`, so objects that are created meanwhile move nothing: they come before the
//! first page. Every object keeps its exact text.

use super::client::{Account, Answer, Client};
use super::error::{ApiError, ErrorClass};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::{Stream, try_unfold};
use serde::Deserialize;
use serde_json::value::RawValue;

/// How many objects a page has at most.
const LIMIT_MAX: usize = 100;

/// An object of a list.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its id.
    pub id: String,
    /// Its JSON, byte for byte as Stripe sent it.
    pub json: Bytes,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct ListPage {
    /// The objects, newest first.
    pub items: Vec<Item>,
    /// Whether older ones follow.
    pub has_more: bool,
    /// A time at Stripe that is not later than the state of the page.
    pub asked_at: DateTime<Utc>,
}

/// Where the reading of a list has come.
struct Reading<'a> {
    client: &'a Client,
    account: Account<'a>,
    /// The path and the filter, without limit and cursor.
    list: String,
    after: Option<String>,
    limit: usize,
    pages_left: usize,
}

impl Client {
    /// Reads a list such as `/v1/events?created[gte]=1`: at most `pages_max` pages of up to 100 objects. A page
    /// that is too large to be read is asked for again with fewer objects. The stream ends after the last page or
    /// an error; if the last page [has more](ListPage::has_more), `pages_max` ended it. Only one page is in memory.
    pub fn pages<'a>(
        &'a self,
        account: Account<'a>,
        list: impl Into<String>,
        pages_max: usize,
    ) -> impl Stream<Item = Result<ListPage, ApiError>> + Send + 'a {
        let reading = Reading {
            client: self,
            account,
            list: list.into(),
            after: None,
            limit: LIMIT_MAX,
            pages_left: pages_max,
        };
        try_unfold(reading, Reading::next)
    }
}

impl Reading<'_> {
    async fn next(mut self) -> Result<Option<(ListPage, Self)>, ApiError> {
        if self.pages_left == 0 {
            return Ok(None);
        }
        let page = loop {
            match self.client.get(&self.account, &self.address()).await {
                Ok(answer) => break page(&answer)?,
                Err(error) if error.class == ErrorClass::TooLarge && self.limit > 1 => self.limit /= 2,
                Err(error) => return Err(error),
            }
        };
        let last = page.items.last().map(|item| item.id.clone());
        // Otherwise the list would never end.
        if page.has_more && (last.is_none() || last == self.after) {
            return Err(ApiError::unreadable(&self.list));
        }
        self.after = last;
        self.pages_left = if page.has_more { self.pages_left - 1 } else { 0 };
        Ok(Some((page, self)))
    }

    fn address(&self) -> String {
        let Self { list, limit, .. } = self;
        let separator = if list.contains('?') { '&' } else { '?' };
        let after = self.after.as_ref().map(|id| format!("&starting_after={id}")).unwrap_or_default();
        format!("{list}{separator}limit={limit}{after}")
    }
}

fn page(answer: &Answer) -> Result<ListPage, ApiError> {
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(borrow)]
        data: Vec<&'a RawValue>,
        has_more: bool,
    }
    #[derive(Deserialize)]
    struct Identified {
        id: String,
    }
    let unreadable =
        || ApiError { request_id: answer.request_id.clone(), ..ApiError::unreadable(answer.path()) };
    let list: List<'_> = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
    let item = |raw: &&RawValue| {
        let Identified { id } = serde_json::from_str(raw.get()).map_err(|_| unreadable())?;
        let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        // It becomes a part of the next page's address.
        if !is_plain || id.is_empty() {
            return Err(unreadable());
        }
        Ok(Item { id, json: answer.body.slice_ref(raw.get().as_bytes()) })
    };
    let items = list.data.iter().map(item).collect::<Result<_, _>>()?;
    Ok(ListPage { items, has_more: list.has_more, asked_at: answer.asked_at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::stripe::api::client::tests::Server;
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use futures_util::{StreamExt, TryStreamExt};

    fn of(body: &str) -> axum::response::Response {
        body.to_owned().into_response()
    }

    async fn read(server: &Server, pages_max: usize) -> Vec<Result<ListPage, ApiError>> {
        server.client.pages(Account::of(&server.key), "/v1/events?created[gte]=1", pages_max).collect().await
    }

    #[tokio::test]
    async fn a_list_is_read_page_by_page_byte_for_byte() {
        let server = Server::start([
            of(r#"{"object":"list","data":[{"id": "evt_3",  "a":1.10}, {"id":"evt_2"}],"has_more":true}"#),
            of(r#"{"data":[{"id":"evt_1"}],"has_more":false}"#),
        ])
        .await;
        let list = server.client.pages(Account::of(&server.key), "/v1/events", 9);
        let pages: Vec<_> = list.try_collect().await.expect("two pages");
        let texts: Vec<_> =
            pages.iter().flat_map(|page| &page.items).map(|item| item.json.as_ref()).collect();
        assert_eq!(
            texts,
            [&br#"{"id": "evt_3",  "a":1.10}"#[..], br#"{"id":"evt_2"}"#, br#"{"id":"evt_1"}"#]
        );
        assert_eq!(
            server.lines(),
            ["GET /stripe/v1/events?limit=100", "GET /stripe/v1/events?limit=100&starting_after=evt_2"]
        );
    }

    #[tokio::test]
    async fn an_empty_list_has_one_empty_page() {
        let server = Server::start([of(r#"{"data":[],"has_more":false}"#)]).await;
        let pages = read(&server, 9).await;
        assert!(pages.len() == 1 && pages[0].as_ref().expect("a page").items.is_empty());
    }

    #[tokio::test]
    async fn the_number_of_pages_is_bounded() {
        let full = |id: u32| of(&format!(r#"{{"data":[{{"id":"evt_{id}"}}],"has_more":true}}"#));
        let server = Server::start([full(3), full(2), full(1)]).await;
        let pages = read(&server, 2).await;
        assert!(pages.len() == 2 && pages[1].as_ref().expect("a page").has_more);
    }

    #[tokio::test]
    async fn a_list_that_does_not_move_on_ends_with_an_error() {
        let same = || of(r#"{"data":[{"id":"evt_1"}],"has_more":true}"#);
        for replies in [vec![same(), same()], vec![of(r#"{"data":[],"has_more":true}"#)]] {
            let server = Server::start(replies).await;
            let last = read(&server, 9).await.pop().expect("a result");
            assert_eq!(last.expect_err("no end").class, ErrorClass::Unexpected);
        }
    }

    #[tokio::test]
    async fn an_error_in_the_middle_ends_the_list_and_the_pages_before_it_remain() {
        let first = || of(r#"{"data":[{"id":"evt_2"}],"has_more":true}"#);
        let refused = || StatusCode::UNAUTHORIZED.into_response();
        for (second, class) in [
            (refused(), ErrorClass::KeyInvalid),
            (of("<html>"), ErrorClass::Unexpected),
            (of(r#"{"data":[{"id":"evt_1&x=y"}],"has_more":false}"#), ErrorClass::Unexpected),
            (of(r#"{"data":[{"object":"event"}],"has_more":false}"#), ErrorClass::Unexpected),
        ] {
            let server = Server::start([first(), second]).await;
            let pages = read(&server, 9).await;
            assert_eq!(pages.len(), 2);
            assert!(pages[0].is_ok());
            assert_eq!(pages[1].as_ref().expect_err("an error").class, class);
        }
    }

    #[tokio::test]
    async fn a_page_that_is_too_large_is_asked_for_with_fewer_objects() {
        let huge = "x".repeat(super::super::client::ANSWER_BYTES_MAX + 1);
        let server = Server::start([of(&huge), of(r#"{"data":[{"id":"evt_1"}],"has_more":false}"#)]).await;
        assert!(read(&server, 9).await.iter().all(Result::is_ok));
        assert_eq!(
            server.lines(),
            [
                "GET /stripe/v1/events?created[gte]=1&limit=100",
                "GET /stripe/v1/events?created[gte]=1&limit=50"
            ]
        );
    }
}
