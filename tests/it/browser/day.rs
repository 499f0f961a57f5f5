//! A day of a small shop: the data for screenshots and accessibility checks.

use super::Site;
use super::site::invoice_at;
use crate::harness::rows;
use chrono::{DateTime, TimeDelta, Utc};
use eventbridge::store::Addition;
use std::time::{Duration, SystemTime};

/// Events received in each five minutes, hour by hour: quiet at night, busy at noon.
const RHYTHM: [i64; 24] = [1, 1, 0, 0, 0, 1, 2, 4, 6, 8, 9, 11, 12, 10, 9, 9, 8, 10, 12, 9, 6, 4, 3, 2];

/// The types of the received events, repeated.
const TYPES: [&str; 12] = [
    "payment_intent.created",
    "payment_intent.succeeded",
    "charge.succeeded",
    "invoice.created",
    "invoice.finalized",
    "invoice.paid",
    "customer.created",
    "checkout.session.completed",
    "payment_intent.succeeded:jpy",
    "customer.subscription.updated",
    "charge.refunded",
    "payout.paid",
];

/// How many events exist to be listed.
const EVENTS: usize = 36;

/// A day without problems: its numbers, and the events of the last hours with their pages.
pub async fn quiet(site: &Site) {
    deliver(site).await;
    backdate(site).await;
    count_a_day(site).await;
}

/// A day with failures of two causes, the newest of them of an invoice of EUR 120.00 to jane@example.com.
/// Returns the number of that execution.
pub async fn fill(site: &Site) -> i64 {
    deliver(site).await;
    for number in 0..3 {
        let created = now() - TimeDelta::minutes(4) * (4 - number);
        let event = invoice_at(&format!("evt_1QxFailed{number}"), "invoice.payment_failed", created);
        site.fail(&event, "A block is expected to be complete. You cannot create it via the API.").await;
    }
    let newest = invoice_at("evt_1QxJane", "invoice.paid", now() - TimeDelta::minutes(4));
    let failed = site.fail(&newest, "A number is expected here.").await;
    backdate(site).await;
    count_a_day(site).await;
    failed
}

pub fn now() -> DateTime<Utc> {
    DateTime::from(SystemTime::now())
}

async fn deliver(site: &Site) {
    for (number, name) in TYPES.iter().cycle().take(EVENTS).enumerate() {
        let ago = TimeDelta::minutes(4) * i32::try_from(EVENTS - number + 4).unwrap();
        let seed = u64::try_from(number / TYPES.len()).unwrap() + 40;
        let sample = stripe_samples::make(name, seed, now() - ago).unwrap();
        assert_eq!(site.post_event(&sample.body).await.status, 200);
    }
    let delivered = rows::executions().in_status("success");
    site.until_count(delivered, i64::try_from(EVENTS).unwrap()).await;
}

/// Makes the pending events arrive one after the other over the last given minutes, after all others were
/// processed.
pub async fn make_pending_since(site: &Site, minutes: u32) {
    site.database.change(rows::waited_for(minutes)).await;
}

/// Spaces the existing events four minutes apart, in the order of arrival.
async fn backdate(site: &Site) {
    site.database.change(rows::four_minutes_apart()).await;
}

async fn count_a_day(site: &Site) {
    let five_minutes = Duration::from_mins(5);
    let mut additions = Vec::new();
    for (place, step) in (1..=288_u32).enumerate() {
        let age = five_minutes * step;
        let hour = usize::try_from((now() - age).timestamp() / 3600 % 24).unwrap();
        let unevenness = i64::try_from(place * 5 % 7).unwrap() - 3;
        let received = RHYTHM[hour] + unevenness.max(-RHYTHM[hour]);
        let mut add = |kind, name: &str, le_ms, n| {
            if n > 0 {
                additions.push(Addition { age, kind, name: name.to_owned(), le_ms, n });
            }
        };
        let failed = i64::from(place % 97 == 20);
        add("received", "", 0, received);
        add("delivered", "notion", 0, received - failed);
        add("failed", "notion", 0, failed.min(received));
        // Events that arrive in bulk wait for their turn.
        let late = RHYTHM[hour].saturating_sub(4).max(0);
        for (le_ms, n) in [(250, 4), (500, 30), (1_000, 6 + late), (2_500, late)] {
            add("latency", "notion", le_ms, received * n);
        }
    }
    site.database.store().statistics.add_statistics(&additions).await.unwrap();
}
