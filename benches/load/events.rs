//! The sent events: about 2 KB in Stripe's layout, each with a unique id, and signed beforehand so that
//! sending is cheap.

use crate::world::SECRET;
use eventbridge::sources::stripe;
use rand::RngExt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where webhooks are posted.
const PATH: &str = "/api/v1/webhooks/stripe";

/// The event, with placeholders for the parts that differ. Indented by two spaces per level, as in
/// Stripe's layout.
const TEMPLATE: &str = include_str!("event.json");

/// Prepared requests, and how many are used.
pub struct Requests {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
    next: AtomicUsize,
    /// How many of them are the first of their event.
    pub unique: u64,
}

/// How events are generated.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// The number of requests.
    pub count: usize,
    /// The fraction that repeats an earlier event.
    pub duplicates: f64,
    /// The number of objects; by default one for each event.
    pub objects: Option<usize>,
    /// Spaces in the event's description, to make it large.
    pub padding: usize,
}

impl Recipe {
    /// This many events, each of its own object and sent once.
    pub const fn of(count: usize) -> Self {
        Self { count, duplicates: 0.0, objects: None, padding: 0 }
    }
}

impl Requests {
    /// Generates and signs them now: a signature is valid for five minutes.
    pub fn make(recipe: Recipe) -> Self {
        let run = format!("{:08x}", rand::random::<u32>());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let mut requests = Self {
            bytes: Vec::with_capacity(recipe.count * (TEMPLATE.len() + recipe.padding + 512)),
            ranges: Vec::with_capacity(recipe.count),
            next: AtomicUsize::new(0),
            unique: 0,
        };
        let mut rng = rand::rng();
        for number in 0..recipe.count {
            if number > 0 && recipe.duplicates > 0.0 && rng.random_bool(recipe.duplicates) {
                let earlier = requests.ranges.get(rng.random_range(0..number)).cloned();
                requests.ranges.extend(earlier);
                continue;
            }
            let object = recipe.objects.map_or(number, |objects| number % objects);
            let created =
                now - 3600 + i64::try_from(number / recipe.objects.unwrap_or(usize::MAX)).unwrap_or(0);
            let body = body(&run, number, object, created, recipe.padding);
            requests.push(&body, now);
        }
        requests
    }

    fn push(&mut self, body: &str, now: i64) {
        let signature = stripe::sign(SECRET, body.as_bytes(), now);
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\n\
             Accept: */*; q=0.5, application/xml\r\nContent-Type: application/json; charset=utf-8\r\n\
             Stripe-Signature: {signature}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let start = self.bytes.len();
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(body.as_bytes());
        self.ranges.push(start..self.bytes.len());
        self.unique += 1;
    }

    /// The next request; `None` when all are used.
    pub fn take(&self) -> Option<&[u8]> {
        let range = self.ranges.get(self.next.fetch_add(1, Ordering::Relaxed))?;
        self.bytes.get(range.clone())
    }
}

fn body(run: &str, number: usize, object: usize, created: i64, padding: usize) -> String {
    // Ids as long and as random as real ones, so that they compress no better.
    let mixed = |salt: u64| {
        let number = u64::try_from(number).unwrap_or_default();
        (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    TEMPLATE
        .replace("@EVENT@", &format!("evt_{run}{number:08}"))
        .replace("@OBJECT@", &format!("in_{run}{object:08}"))
        .replace("@CUSTOMER@", &format!("cus_{:014x}", mixed(1) >> 8))
        .replace("@CHARGE@", &format!("ch_{:016x}", mixed(2)))
        .replace("@LINE@", &format!("il_{:016x}", mixed(3)))
        .replace("@REQUEST@", &format!("req_{:014x}", mixed(4) >> 8))
        .replace("@CREATED@", &created.to_string())
        .replace("@AMOUNT@", &(mixed(5) % 1_000_000).to_string())
        .replace("@PADDING@", &" ".repeat(padding))
}
