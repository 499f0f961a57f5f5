//! The sent events: about 2 KB in Stripe's layout, each with a unique id, and signed beforehand so that
//! sending is cheap. For a long load they are signed while it runs, on a thread of its own and a little
//! ahead: a signature is valid for five minutes, and a quarter of an hour of events would fill the memory.

use crate::world::SECRET;
use eventbridge::sources::stripe;
use rand::RngExt;
use rand::rngs::ThreadRng;
use std::ops::{Deref, Range};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where webhooks are posted.
const PATH: &str = "/api/v1/webhooks/stripe";

/// The event, with placeholders for the parts that differ. Indented by two spaces per level, as in
/// Stripe's layout.
const TEMPLATE: &str = include_str!("event.json");

/// The requests of a slice that is signed while the load runs. Short, so that signing takes no core for
/// longer than a millisecond or two.
const SLICE: usize = 64;

/// How many slices are signed ahead: a third of a second at 3,000 events per second.
const SLICES_AHEAD: usize = 16;

/// How long before the load the first state of an object was created. The events of an object follow each
/// other by a second, so in a long load the last one would otherwise be of the future.
const CREATED_BEFORE_SECONDS: i64 = 86_400;

/// The requests of a load.
pub struct Requests(Mutex<Supply>);

/// Prepared requests, how many of them are used, and where further ones come from.
struct Supply {
    slice: Arc<Slice>,
    used: usize,
    following: Option<Receiver<Slice>>,
}

/// Signed requests.
#[derive(Default)]
struct Slice {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

/// A request.
pub struct Request {
    slice: Arc<Slice>,
    range: Range<usize>,
}

impl Deref for Request {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.slice.bytes.get(self.range.clone()).unwrap_or_default()
    }
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
        let slice = Maker::of(recipe).slice(recipe.count);
        Self(Mutex::new(Supply { slice: Arc::new(slice), used: 0, following: None }))
    }

    /// Generates and signs them while they are sent.
    pub fn stream(recipe: Recipe) -> Self {
        let (ready, following) = mpsc::sync_channel(SLICES_AHEAD);
        thread::spawn(move || {
            let mut maker = Maker::of(recipe);
            while maker.made < recipe.count {
                let slice = maker.slice(SLICE.min(recipe.count - maker.made));
                // The load has ended if there is no receiver.
                if ready.send(slice).is_err() {
                    return;
                }
            }
        });
        Self(Mutex::new(Supply { slice: Arc::default(), used: 0, following: Some(following) }))
    }

    /// The next request; `None` when all are used.
    pub fn take(&self) -> Option<Request> {
        let mut supply = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(range) = supply.slice.ranges.get(supply.used).cloned() {
                supply.used += 1;
                return Some(Request { slice: supply.slice.clone(), range });
            }
            let following = supply.following.as_ref()?.recv().ok()?;
            supply.slice = Arc::new(following);
            supply.used = 0;
        }
    }
}

/// Generates requests one after the other.
struct Maker {
    recipe: Recipe,
    run: String,
    /// When the first state of each object was created.
    created: i64,
    made: usize,
    rng: ThreadRng,
}

impl Maker {
    fn of(recipe: Recipe) -> Self {
        let run = format!("{:08x}", rand::random::<u32>());
        Self { recipe, run, created: now() - CREATED_BEFORE_SECONDS, made: 0, rng: rand::rng() }
    }

    /// Generates and signs this many. A duplicate repeats an event of the same slice.
    fn slice(&mut self, count: usize) -> Slice {
        let Recipe { duplicates, objects, padding, .. } = self.recipe;
        let mut slice = Slice {
            bytes: Vec::with_capacity(count * (TEMPLATE.len() + padding + 512)),
            ranges: Vec::with_capacity(count),
        };
        let now = now();
        for place in 0..count {
            let number = self.made;
            self.made += 1;
            if place > 0 && duplicates > 0.0 && self.rng.random_bool(duplicates) {
                let earlier = slice.ranges.get(self.rng.random_range(0..place)).cloned();
                slice.ranges.extend(earlier);
                continue;
            }
            let object = objects.map_or(number, |objects| number % objects);
            let later = i64::try_from(number / objects.unwrap_or(usize::MAX)).unwrap_or(0);
            let body = body(&self.run, number, object, self.created + later, padding);
            slice.push(&body, now);
        }
        slice
    }
}

impl Slice {
    /// Signs a body.
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
    }
}

/// The seconds of this machine's clock.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(now).unwrap_or(i64::MAX)
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
