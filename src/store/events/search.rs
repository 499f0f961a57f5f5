//! Finds events by what a person knows about them.

use super::{EventRow, Events};
use crate::domain::event::EventKey;
use crate::domain::money::Money;
use crate::domain::search::SearchText;
use crate::store::db::{Cursor, Page, StoreError};
use chrono::{DateTime, Utc};
use std::collections::HashMap;

/// A found event, with facts from its body.
#[derive(Debug, Clone)]
pub struct FoundEvent {
    /// The event.
    pub event: EventRow,
    /// Its amount, if there is one in whole minor units.
    pub amount: Option<Money>,
    /// The customer's id.
    pub customer: Option<String>,
    /// The customer's e-mail address.
    pub customer_email: Option<String>,
    /// The invoice's number.
    pub invoice_number: Option<String>,
}

/// A row as read.
struct Row {
    id: i64,
    source: String,
    event_id: String,
    event_type: String,
    object_id: Option<String>,
    object_type: Option<String>,
    account: Option<String>,
    livemode: Option<bool>,
    api_version: Option<String>,
    created: Option<DateTime<Utc>>,
    received_at: DateTime<Utc>,
    secret_name: String,
    origin: String,
    amount_minor: Option<i64>,
    currency: Option<String>,
    customer: Option<String>,
    customer_email: Option<String>,
    invoice_number: Option<String>,
}

impl Events {
    /// A page of matching events, newest first: by the sender's id, by a search term, or by a page that was
    /// written for them.
    pub async fn search(
        &self,
        sought: &SearchText,
        cursor: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<FoundEvent>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"
            with by_id as (
                select id from eventbridge.events where event_id = $2 and id < $1
            ), by_term as (
                select event_key as id
                  from eventbridge.search_terms
                 where term = $3 and event_key < $1
                 order by event_key desc
                 limit $5
            ), by_page as (
                select event_key as id
                  from eventbridge.executions
                 where remote_id = any ($4) and event_key < $1
                 order by event_key desc
                 limit $5
            ), found as (
                select id from by_id union select id from by_term union select id from by_page
                 order by id desc
                 limit $5
            )
            select events.id, source, event_id, type as event_type, object_id, object_type, account,
                   livemode, api_version, created, received_at, secret_name, origin,
                   amount_minor as "amount_minor?", currency as "currency?", customer as "customer?",
                   customer_email as "customer_email?", invoice_number as "invoice_number?"
              from eventbridge.events
              left join eventbridge.event_facts on event_facts.event_key = events.id
             where events.id = any (array (select id from found))
             order by events.id desc
            "#,
            Cursor::before(cursor),
            sought.event_id,
            sought.term,
            &sought.remote_ids,
            i64::from(limit) + 1
        )
        .fetch_all(&self.reading)
        .await?;
        let found = rows.into_iter().map(FoundEvent::from).collect();
        Ok(Page::cut(found, limit, |found: &FoundEvent| found.event.id))
    }
}

impl Events {
    /// The amounts of those of these events that are indexed and have one in whole minor units.
    pub async fn amounts(&self, keys: &[i64]) -> Result<HashMap<EventKey, Money>, StoreError> {
        let rows = sqlx::query!(
            r#"
            select event_key, amount_minor as "minor!", currency as "currency!"
              from eventbridge.event_facts
             where event_key = any ($1) and amount_minor is not null and currency is not null
            "#,
            keys
        )
        .fetch_all(&self.reading)
        .await?;
        let amount = |minor, currency: &str| Some(Money::from_minor(minor, currency.parse().ok()?));
        let known = rows
            .into_iter()
            .filter_map(|row| Some((EventKey(row.event_key), amount(row.minor, &row.currency)?)));
        Ok(known.collect())
    }
}

impl From<Row> for FoundEvent {
    fn from(row: Row) -> Self {
        let currency = row.currency.and_then(|code| code.parse().ok());
        Self {
            amount: row
                .amount_minor
                .zip(currency)
                .map(|(minor, currency)| Money::from_minor(minor, currency)),
            customer: row.customer,
            customer_email: row.customer_email,
            invoice_number: row.invoice_number,
            event: EventRow {
                id: row.id,
                source: row.source,
                event_id: row.event_id,
                event_type: row.event_type,
                object_id: row.object_id,
                object_type: row.object_type,
                account: row.account,
                livemode: row.livemode,
                api_version: row.api_version,
                created: row.created,
                received_at: row.received_at,
                secret_name: row.secret_name,
                origin: row.origin,
            },
        }
    }
}
