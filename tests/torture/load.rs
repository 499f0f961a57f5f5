//! What is sent: a seeded stream of signed events, with duplicates and in disorder, each sent again
//! until it is answered 200, as Stripe does. And what was answered.

use crate::Options;
use crate::watch::Watch;
use crate::world::{SECRET, World};
use chrono::{DateTime, Utc};
use eventbridge::destinations::http;
use eventbridge::devserver::samples;
use eventbridge::sources::stripe;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// How long a sender waits for an answer. A stopped replica gives none.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How often one copy of an event is sent before its sender gives up.
const TRIES_MAX: u32 = 500;

/// How many copies are under way at once.
const UNDER_WAY_MAX: usize = 256;

/// Columns of a page and what must stand in them.
pub type Cells = BTreeMap<&'static str, String>;

/// An event, and what its page must show.
#[derive(Debug)]
pub struct Event {
    /// The id.
    pub id: String,
    /// The body, which must be kept byte for byte.
    pub body: String,
    /// What its page shows in event mode.
    pub cells: Cells,
    /// Whether it says what its object looks like; a thin one does not.
    pub is_snapshot: bool,
}

/// One copy of an event, to be sent at its time to one of the replicas.
#[derive(Debug, Clone)]
pub struct Copy {
    at: Duration,
    replica: usize,
    event: Arc<Event>,
}

/// All that will be sent, and what must come of it.
pub struct Plan {
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// For each object what its page shows in object mode: its newest state.
    pub objects: BTreeMap<String, Cells>,
    /// The copies, in the order in which they are sent.
    pub copies: Vec<Copy>,
    seed: u64,
}

impl Plan {
    /// Plans a run; all of it follows from the seed.
    pub fn new(options: &Options) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "an hour has few seconds")]
        let count = (options.events_per_second() * options.seconds as f64).max(1.0);
        let mut writer = Writer {
            rng: StdRng::seed_from_u64(options.seed),
            next: options.seed.wrapping_mul(1_000_000),
            plan: Self {
                events: Vec::new(),
                objects: BTreeMap::new(),
                copies: Vec::new(),
                seed: options.seed,
            },
            length: options.duration(),
        };
        #[expect(clippy::cast_precision_loss, reason = "the events fit into memory")]
        while (writer.plan.events.len() as f64) < count {
            writer.story();
        }
        let mut plan = writer.plan;
        plan.copies.sort_by_key(|copy| copy.at);
        plan
    }
}

/// Writes the plan, story by story: the events of one object.
struct Writer {
    rng: StdRng,
    next: u64,
    plan: Plan,
    length: Duration,
}

impl Writer {
    fn story(&mut self) {
        self.next = self.next.wrapping_add(1);
        match self.rng.random_range(0..10) {
            0..4 => self.sample(),
            4 => self.invoice(),
            5..8 => self.charge(),
            _ => self.payment(),
        }
    }

    /// Any of the samples, alone.
    fn sample(&mut self) {
        let names: Vec<_> = samples::names().collect();
        let name = names.get(self.rng.random_range(0..names.len())).copied().unwrap_or_default();
        let Some(sample) = samples::make(name, self.next, self.time()) else { return };
        self.tell(vec![(sample.event_id, sample.event_type, sample.body, Cells::new())]);
    }

    /// An invoice from draft to paid, a minute between any two events.
    fn invoice(&mut self) {
        let life = samples::invoice_life(self.next, self.time());
        let paid = Cells::from([("ObjectStatus", "paid".to_owned())]);
        let events =
            life.into_iter().map(|sample| (sample.event_id, sample.event_type, sample.body, paid.clone()));
        self.tell(events.collect());
    }

    /// A charge that is changed several times within a second or two. Only `previous_attributes`
    /// tells the order.
    fn charge(&mut self) {
        let steps = self.rng.random_range(2..=5);
        let born = self.time().timestamp();
        let mut created = born;
        let mut events = Vec::new();
        for step in 0..steps {
            if step > 0 && self.rng.random_bool(0.2) {
                created += 1;
            }
            let event_type = if step == 0 { "charge.succeeded" } else { "charge.updated" };
            let object = json!({
                "id": format!("ch_torture_{}", self.next), "object": "charge", "status": "succeeded",
                "amount": 12_345, "currency": "eur", "customer": format!("cus_torture_{}", self.next),
                "billing_details": {"email": format!("jane+{}@example.com", self.next)},
                "description": format!("Schritt {step} · ☕ \u{1f980}"), "created": born, "livemode": false,
            });
            let previous =
                (step > 0).then(|| json!({"description": format!("Schritt {} · ☕ \u{1f980}", step - 1)}));
            let cells = Cells::from([
                ("Amount", "123.45".to_owned()),
                ("Currency", "EUR".to_owned()),
                ("Customer", format!("cus_torture_{}", self.next)),
                ("CustomerEmail", format!("jane+{}@example.com", self.next)),
                ("Description", format!("Schritt {step} · ☕ \u{1f980}")),
            ]);
            events.push(self.event(event_type, created, &object, previous, cells));
        }
        self.tell(events);
    }

    /// A payment that is made and succeeds within one second, which no `previous_attributes` tell:
    /// the final state is the newest.
    fn payment(&mut self) {
        let created = self.time().timestamp();
        let states = [
            ("payment_intent.created", "requires_payment_method"),
            ("payment_intent.processing", "processing"),
            ("payment_intent.succeeded", "succeeded"),
        ];
        let mut events = Vec::new();
        for (event_type, status) in states {
            let object = json!({
                "id": format!("pi_torture_{}", self.next), "object": "payment_intent", "status": status,
                "amount": 5000, "currency": "jpy", "customer": null, "livemode": false, "created": created,
            });
            let cells = Cells::from([
                ("Amount", "5000".to_owned()),
                ("Currency", "JPY".to_owned()),
                ("ObjectStatus", status.to_owned()),
            ]);
            events.push(self.event(event_type, created, &object, None, cells));
        }
        self.tell(events);
    }

    fn event(
        &mut self,
        event_type: &str,
        created: i64,
        object: &Value,
        previous: Option<Value>,
        cells: Cells,
    ) -> (String, String, String, Cells) {
        let id = format!("evt_torture_{}_{}", self.next, self.rng.random::<u32>());
        let mut data = json!({"object": object});
        if let (Some(previous), Some(data)) = (previous, data.as_object_mut()) {
            data.insert("previous_attributes".to_owned(), previous);
        }
        let body = json!({
            "id": id, "object": "event", "api_version": samples::API_VERSION, "created": created,
            "livemode": false, "pending_webhooks": 1, "request": null, "type": event_type, "data": data,
        });
        // Whitespace is part of the body as well.
        let body = if self.rng.random_bool(0.5) { format!("{body:#}\r\n") } else { body.to_string() };
        (id, event_type.to_owned(), body, cells)
    }

    /// Takes the events of one object into the plan, the newest last, sent in any order.
    fn tell(&mut self, events: Vec<(String, String, String, Cells)>) {
        let last = events.len().saturating_sub(1);
        let begins = self.moment(self.length);
        for (place, (id, event_type, body, own)) in events.into_iter().enumerate() {
            let parsed: Value = serde_json::from_str(&body).unwrap_or_default();
            let object = parsed.pointer("/data/object/id").and_then(Value::as_str);
            let columns_of_event_mode = ["Amount", "Currency", "Customer", "CustomerEmail"];
            let mut cells = Cells::from([
                ("EventId", id.clone()),
                ("EventType", event_type.clone()),
                ("Source", "stripe".to_owned()),
                ("Status", status(&event_type).to_owned()),
            ]);
            let shown = own.iter().filter(|(column, _)| columns_of_event_mode.contains(column));
            cells.extend(shown.map(|(column, text)| (*column, text.clone())));
            if let Some(object) = object.filter(|_| place == last) {
                self.plan.objects.insert(object.to_owned(), own);
            }
            let event = Arc::new(Event { id, body, cells, is_snapshot: object.is_some() });
            self.send(&event, begins);
            self.plan.events.push(event);
        }
    }

    fn send(&mut self, event: &Arc<Event>, begins: Duration) {
        const DISORDER: Duration = Duration::from_secs(3);
        const LATE_COPY: Duration = Duration::from_secs(10);
        let at = begins + self.moment(DISORDER);
        let replica = self.rng.random_range(0..2);
        let mut copy = |at: Duration, replica| {
            let at = at.min(self.length);
            self.plan.copies.push(Copy { at, replica, event: event.clone() });
        };
        copy(at, replica);
        if self.rng.random_bool(0.25) {
            copy(at, 1 - replica);
        }
        if self.rng.random_bool(0.1) {
            let later = Duration::from_secs_f64(self.rng.random_range(0.0..LATE_COPY.as_secs_f64()));
            copy(at + later, self.rng.random_range(0..2));
        }
    }

    fn moment(&mut self, within: Duration) -> Duration {
        within.mul_f64(self.rng.random())
    }

    fn time(&mut self) -> DateTime<Utc> {
        let at = 1_790_000_000 + self.rng.random_range(0..1_000_000);
        DateTime::from_timestamp(at, 0).unwrap_or_default()
    }
}

/// The word that an event's type stands for, by the rule of the original service.
fn status(event_type: &str) -> &'static str {
    let event_type = event_type.strip_prefix("v1.").unwrap_or(event_type);
    let last = event_type.rsplit('.').next().unwrap_or_default();
    match event_type {
        "invoice.paid" | "invoice.payment_succeeded" | "invoice.finalized" => "success",
        _ if last.ends_with("succeeded") => "success",
        _ if last.ends_with("failed") => "failed",
        _ => "pending",
    }
}

/// What was answered to each event.
pub struct Ledger {
    answers: Mutex<BTreeMap<String, Answers>>,
    figures: Mutex<Figures>,
}

/// What was answered to the copies of one event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answers {
    /// 200.
    pub taken: u32,
    /// 200, and it was new.
    pub new: u32,
}

/// Counts over all requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Requests.
    pub requests: u64,
    /// 200.
    pub taken: u64,
    /// 200, and it was a duplicate.
    pub duplicates: u64,
    /// 503 or 504.
    pub turned_away: u64,
    /// No answer at all.
    pub unanswered: u64,
}

enum Answer {
    Taken { new: bool },
    TurnedAway,
    Nothing,
    Other(String),
}

impl Ledger {
    /// An empty one.
    pub fn new(plan: &Plan) -> Self {
        let answers = plan.events.iter().map(|event| (event.id.clone(), Answers::default())).collect();
        Self { answers: Mutex::new(answers), figures: Mutex::default() }
    }

    /// What was answered, by event.
    pub fn answers(&self) -> BTreeMap<String, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The counts.
    pub fn figures(&self) -> Figures {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The events that nobody took.
    pub fn unanswered(&self) -> Vec<String> {
        let answers = self.answers();
        answers.into_iter().filter(|(_, answers)| answers.taken == 0).map(|(id, _)| id).collect()
    }

    fn note(&self, event: &str, answer: &Answer) {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.requests += 1;
        match answer {
            Answer::Taken { new } => {
                figures.taken += 1;
                figures.duplicates += u64::from(!new);
                let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
                let answers = answers.entry(event.to_owned()).or_default();
                answers.taken += 1;
                answers.new += u32::from(*new);
            }
            Answer::TurnedAway => figures.turned_away += 1,
            Answer::Nothing => figures.unanswered += 1,
            Answer::Other(_) => {}
        }
    }
}

/// The senders at work.
pub struct Sending(JoinHandle<()>);

impl Sending {
    /// Waits until every copy was answered or given up.
    pub async fn join(&mut self) {
        // A panic of a sender has been printed; its event is found unanswered.
        let _ = (&mut self.0).await;
    }

    /// Gives up.
    pub fn abort(&self) {
        self.0.abort();
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.abort();
    }
}

/// Begins to send.
pub fn start(
    plan: &Plan,
    world: &Arc<World>,
    watch: &Watch,
    ledger: &Arc<Ledger>,
) -> anyhow::Result<Sending> {
    let (copies, seed) = (plan.copies.clone(), plan.seed);
    let client = http::client(&"http://127.0.0.1".parse()?, ANSWER_MAX)?;
    let sender =
        Arc::new(Sender { client, world: world.clone(), watch: watch.clone(), ledger: ledger.clone() });
    Ok(Sending(tokio::spawn(async move {
        let began = Instant::now();
        let room = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        let mut senders = JoinSet::new();
        for (copy, place) in copies.into_iter().zip(0_u64..) {
            tokio::time::sleep_until(began + copy.at).await;
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            let sender = sender.clone();
            senders.spawn(async move {
                sender.send_until_taken(&copy, StdRng::seed_from_u64(seed ^ (place << 20))).await;
                drop(permit);
            });
            while senders.try_join_next().is_some() {}
        }
        while senders.join_next().await.is_some() {}
    })))
}

struct Sender {
    client: reqwest::Client,
    world: Arc<World>,
    watch: Watch,
    ledger: Arc<Ledger>,
}

impl Sender {
    async fn send_until_taken(&self, copy: &Copy, mut rng: StdRng) {
        let mut place = copy.replica;
        for _ in 0..TRIES_MAX {
            let Some(replica) = self.world.replicas.get(place) else { return };
            let answer = self.send(&replica.webhook(), &copy.event.body).await.unwrap_or(Answer::Nothing);
            self.ledger.note(&copy.event.id, &answer);
            match answer {
                Answer::Taken { .. } => return,
                Answer::TurnedAway | Answer::Nothing => {}
                Answer::Other(answer) => {
                    let evidence = vec![copy.event.id.clone(), answer];
                    self.watch.breach("an event was answered neither 200 nor 503", evidence);
                }
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(50..1000))).await;
            place = rng.random_range(0..2);
        }
    }

    async fn send(&self, url: &str, body: &str) -> Result<Answer, reqwest::Error> {
        let now: DateTime<Utc> = SystemTime::now().into();
        let request = self
            .client
            .post(url)
            .header("Content-Type", "application/json; charset=utf-8")
            .header(stripe::HEADER, stripe::sign(SECRET, body.as_bytes(), now.timestamp()))
            .body(body.to_owned());
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        Ok(match (status, answer.get("accepted").and_then(Value::as_bool)) {
            (200, Some(new)) => Answer::Taken { new },
            (503 | 504, _) => Answer::TurnedAway,
            _ => Answer::Other(format!("{status} {text}")),
        })
    }
}
