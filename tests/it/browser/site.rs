//! A service that a browser can reach, and the events sent to it.

use super::{Chromium, Page};
use crate::harness::{Database, Listening, SECRET, Service, ServiceBuilder, rows};
use chrono::{DateTime, Utc};
use eventbridge::app::Role;
use eventbridge::store::Store;
use notion_sandbox::{Fault, FaultRule, Route, Template};
use serde_json::{Value, json};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

pub const WRITE_KEY: &str = "write-0123456789abcdef0123456789abcdef";
pub const READ_KEY: &str = "read-0123456789abcdef0123456789abcdef";

/// Long enough to be seen while an execution waits between two attempts.
const RETRY_BASE: Duration = Duration::from_millis(300);

/// A service with its own database, sandbox and port, and a browser to open it.
pub struct Site {
    chromium: Arc<Chromium>,
    listening: Listening,
    service: Service,
}

impl Site {
    /// Without keys, as `dev` runs it. Returns `None` if there is no browser.
    pub async fn open() -> Option<Self> {
        Self::start(Service::builder()).await
    }

    /// With a read key and a write key, as `serve` runs it, with these settings, and a Notion table that
    /// has all columns.
    pub async fn with_keys(settings: &[(&str, &str)]) -> Option<Self> {
        Self::start(as_served(Service::builder().template(Template::Full), settings)).await
    }

    async fn start(builder: ServiceBuilder) -> Option<Self> {
        let chromium = Chromium::of_this_run().await?;
        let service = builder.retry_base(RETRY_BASE).start().await;
        Some(Self { chromium, listening: service.listen(0).await, service })
    }

    /// In this role, without keys.
    pub async fn in_role(role: Role) -> Option<Self> {
        Self::start(Service::builder().role(role)).await
    }

    /// On this database, reached by this store, without keys.
    pub async fn reaching(database: Arc<Database>, store: Store) -> Option<Self> {
        Self::start(Service::builder().on(database).await.reaching_its_database_by(store)).await
    }

    /// Stops the service and starts it again at the same address with these settings.
    pub async fn restart(self, settings: &[(&str, &str)]) -> Self {
        let Self { chromium, listening, service } = self;
        let (next, port) = (as_served(service.replica(), settings), listening.port);
        tokio::join!(listening.end(), service.stop());
        let service = next.retry_base(RETRY_BASE).start().await;
        Self { chromium, listening: service.listen(port).await, service }
    }

    /// An empty page in a window of its own.
    pub async fn page(&self) -> Page {
        Page::new(&self.chromium, &format!("http://localhost:{}", self.listening.port)).await
    }

    /// The sandbox table that stands in for Notion's.
    pub async fn table(&self) -> Page {
        Page::new(&self.chromium, &self.notion_url().replace("127.0.0.1", "localhost")).await
    }

    /// A page with a session.
    pub async fn logged_in(&self, key: &str) -> Page {
        let page = self.page().await;
        page.open("/login").await;
        page.fill("API key", key).await;
        page.click("Log in").await;
        page.until_at("/").await;
        page
    }

    /// Sends an event that Notion refuses permanently. Returns the number of the execution.
    pub async fn fail(&self, event: &Value, message: &str) -> i64 {
        let fault = Fault::Invalid { message: message.to_owned() };
        self.sandbox.fault(FaultRule::once(fault).on(Route::Create)).unwrap();
        assert_eq!(self.post_event(&event.to_string()).await.status, 200);
        let failed = rows::executions().in_status("failed").of_event(event["id"].as_str().unwrap());
        self.until_count(&failed, 1).await;
        self.database.first_id(failed).await
    }
}

fn as_served(builder: ServiceBuilder, settings: &[(&str, &str)]) -> ServiceBuilder {
    let keys = format!("ops:write:{WRITE_KEY}, board:read:{READ_KEY}");
    let secret = format!("live={SECRET}");
    let builder = builder.production().set("API_KEYS", &keys).set("STRIPE_WEBHOOK_SECRET", &secret);
    settings.iter().fold(builder, |builder, (name, text)| builder.set(name, text))
}

impl Deref for Site {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

/// An invoice of EUR 120.00 to jane@example.com, years ago.
pub fn invoice(event_id: &str, event_type: &str) -> Value {
    invoice_at(event_id, event_type, DateTime::from_timestamp(1_700_000_000, 0).unwrap())
}

/// The same with this creation time.
pub fn invoice_at(event_id: &str, event_type: &str, created: DateTime<Utc>) -> Value {
    json!({"id": event_id, "object": "event", "type": event_type, "livemode": true, "created": created.timestamp(),
        "data": {"object": {"id": "in_1QxA0042", "object": "invoice", "number": "A-0042", "status": "open", "total": 12_000,
        "amount_paid": 12_000, "currency": "eur", "customer": "cus_QxJane", "customer_name": "Jane Doe", "customer_email": "jane@example.com"}}})
}
