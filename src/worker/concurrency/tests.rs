//! The limits at which simulated destinations settle.

use super::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A destination that is simulated.
#[derive(Clone, Copy)]
struct Destination {
    /// How long a call takes.
    latency: Duration,
    /// How many calls it works on at once; the others wait.
    capacity: usize,
    /// More calls within a second are throttled.
    per_second_max: Option<usize>,
    /// Whether the latency varies: exponentially distributed, with the same mean.
    is_noisy: bool,
    /// How long this process waits between two calls, whatever the concurrency is.
    gap: Duration,
}

impl Destination {
    /// One with a constant latency, however many calls there are.
    fn with_latency(latency: Duration) -> Self {
        Self { latency, capacity: 1000, per_second_max: None, is_noisy: false, gap: Duration::ZERO }
    }

    fn with_capacity(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }

    fn noisy(self) -> Self {
        Self { is_noisy: true, ..self }
    }
}

/// A pool with one instance.
struct Simulation {
    limit: ConcurrencyLimit,
    now: Instant,
    destination: Destination,
    /// How long the database takes for a claim.
    claim: Duration,
    /// The time between two incoming executions; none if a backlog waits.
    arrives_every: Option<Duration>,
    waiting: usize,
    next_arrival: Instant,
    /// The attempts that run, by their end: also when they began, whether they were saturated, and whether
    /// they are throttled.
    running: BinaryHeap<Reverse<(Instant, Instant, bool, bool)>>,
    /// When each of the destination's places becomes free.
    places: BinaryHeap<Reverse<Instant>>,
    /// When the last calls were made.
    calls: Vec<Instant>,
    /// When the rate limiter of the process has the next slot.
    next_call: Instant,
    /// Until when the circuit breaker is open.
    open_until: Instant,
    random: u64,
    ended: usize,
    throttled: usize,
}

impl Simulation {
    fn new(limit: ConcurrencyLimit, destination: Destination) -> Self {
        let now = Instant::now();
        Self {
            limit,
            now,
            destination,
            claim: ms(2),
            arrives_every: None,
            waiting: 0,
            next_arrival: now,
            running: BinaryHeap::new(),
            places: BinaryHeap::new(),
            calls: Vec::new(),
            next_call: now,
            open_until: now,
            random: 0x9E37_79B9_7F4A_7C15,
            ended: 0,
            throttled: 0,
        }
    }

    fn seeded(self, seed: u64) -> Self {
        Self { random: self.random ^ (seed + 1).wrapping_mul(0xD134_2543_DE82_EF95), ..self }
    }

    /// Between 0 and 1.
    fn random(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        f64::from(u32::try_from(self.random >> 32).unwrap()) / f64::from(u32::MAX)
    }

    /// Runs for so long; returns the limits, one for each claim.
    fn run(&mut self, time: Duration) -> Vec<usize> {
        let until = self.now + time;
        let mut limits = Vec::new();
        while self.now < until {
            limits.push(self.limit.limit());
            self.claim();
            if let Some(Reverse((ends_at, ..))) = self.running.peek() {
                self.now = self.now.max(*ends_at);
            }
        }
        limits
    }

    /// Claims once, and begins what it found.
    fn claim(&mut self) {
        self.now += self.claim;
        self.end_attempts();
        let room = self.limit.limit().saturating_sub(self.running.len());
        if room == 0 || self.now < self.open_until {
            self.now = if self.running.is_empty() { self.now.max(self.open_until) } else { self.now };
            return;
        }
        let found = self.found(room);
        for _ in 0..found {
            self.begin(found == room);
        }
    }

    fn found(&mut self, room: usize) -> usize {
        let Some(every) = self.arrives_every else { return room };
        if self.running.is_empty() && self.waiting == 0 {
            self.now = self.now.max(self.next_arrival);
        }
        while self.next_arrival <= self.now {
            self.waiting += 1;
            self.next_arrival += every;
        }
        let found = room.min(self.waiting);
        self.waiting -= found;
        found
    }

    fn begin(&mut self, was_saturated: bool) {
        let began_at = self.now;
        let called_at = began_at.max(self.next_call);
        self.next_call = called_at + self.destination.gap;
        if let Some(max) = self.destination.per_second_max {
            self.calls.retain(|call| *call + Duration::from_secs(1) > called_at);
            if self.calls.len() >= max {
                self.running.push(Reverse((called_at + ms(5), began_at, was_saturated, true)));
                return;
            }
            self.calls.push(called_at);
        }
        // Once the capacity has shrunk, its places are those that become free last.
        let mut starts_at = called_at;
        while self.places.len() >= self.destination.capacity
            && let Some(Reverse(free_at)) = self.places.pop()
        {
            starts_at = called_at.max(free_at);
        }
        let factor = if self.destination.is_noisy { -(1.0 - self.random()).max(1e-9).ln() } else { 1.0 };
        let ends_at = starts_at + self.destination.latency.mul_f64(factor);
        self.places.push(Reverse(ends_at));
        self.running.push(Reverse((ends_at, began_at, was_saturated, false)));
    }

    fn end_attempts(&mut self) {
        while let Some(Reverse((ended_at, began_at, was_saturated, was_throttled))) =
            self.running.peek().copied()
            && ended_at <= self.now
        {
            self.running.pop();
            if was_throttled {
                self.throttled += 1;
                self.open_until = ended_at + Duration::from_secs(1);
            }
            self.ended += 1;
            let ending = if was_throttled { Ending::Throttled } else { Ending::Answered };
            self.limit.record(&Sample { began_at, ended_at, ending, was_saturated });
        }
    }

    /// The lowest and the highest limit within so long.
    fn range(&mut self, time: Duration) -> (usize, usize) {
        let limits = self.run(time);
        (*limits.iter().min().unwrap(), *limits.iter().max().unwrap())
    }

    /// Runs for so long; then checks that the limit stays within a range for a third of it.
    #[track_caller]
    fn assert_settles(&mut self, time: Duration, min: usize, max: usize) {
        self.run(time);
        let (lowest, highest) = self.range(time / 3);
        assert!(min <= lowest && highest <= max, "{lowest} to {highest}, not {min} to {max}");
    }
}

const MINUTE: Duration = Duration::from_mins(1);

fn adaptive(most: usize) -> ConcurrencyLimit {
    ConcurrencyLimit::new(Concurrency::Adaptive { most }, None)
}

/// A pool of up to 256 executions with a backlog, once for each seed.
fn each_seed(destination: Destination, check: impl Fn(Simulation)) {
    for seed in 0..4 {
        check(Simulation::new(adaptive(256), destination).seeded(seed));
    }
}

#[test]
fn a_fixed_concurrency_never_changes() {
    let limit = ConcurrencyLimit::new(Concurrency::Fixed(5), None);
    let throttles = Destination { per_second_max: Some(1), ..Destination::with_latency(ms(100)) };
    assert_eq!(Simulation::new(limit, throttles).range(MINUTE), (5, 5));
    let limit = ConcurrencyLimit::new(Concurrency::Fixed(500), NonZeroU32::new(1));
    assert_eq!(Simulation::new(limit, Destination::with_latency(ms(100))).range(MINUTE), (500, 500));
}

#[test]
fn a_constant_latency_leads_to_the_most() {
    for (most, latency, time) in [
        (256, ms(300), 5),
        (1000, ms(300), 8),
        (20, ms(300), 3),
        (3, ms(300), 3),
        (1, ms(300), 1),
        (256, ms(20), 2),
        (256, Duration::from_secs(5), 60),
    ] {
        let destination = Destination::with_latency(latency);
        let min = if most > 10 { most * 3 / 4 } else { most };
        Simulation::new(adaptive(most), destination).assert_settles(Duration::from_secs(time), min, most);
    }
}

#[test]
fn a_latency_that_varies_around_a_mean_leads_to_the_most() {
    each_seed(Destination::with_latency(ms(300)).noisy(), |mut simulation| {
        simulation.run(4 * MINUTE);
        let (lowest, _) = simulation.range(MINUTE);
        // Trials of fewer are possible and short.
        assert!(lowest >= 144, "{lowest}");
    });
}

#[test]
fn a_destination_that_works_on_some_at_once_gets_about_as_many() {
    for (capacity, min, max) in [(1, 8, 12), (8, 8, 18), (20, 18, 40), (60, 45, 135)] {
        let destination = Destination::with_latency(ms(300)).with_capacity(capacity);
        Simulation::new(adaptive(256), destination).assert_settles(2 * MINUTE, min, max);
    }
}

#[test]
fn noise_does_not_raise_the_limit_without_a_gain() {
    each_seed(Destination::with_latency(ms(100)).with_capacity(20).noisy(), |mut simulation| {
        simulation.assert_settles(10 * MINUTE, 12, 54);
    });
}

#[test]
fn a_destination_that_answers_at_once_is_limited_by_this_process() {
    // A claim takes 4 ms and an execution 32 us of the processor, so 256 give at most 12 times what 8 give.
    let instant = Destination::with_latency(Duration::from_micros(32)).with_capacity(1);
    for destination in [instant, instant.noisy()] {
        let mut simulation = Simulation::new(adaptive(1000), destination);
        simulation.claim = ms(4);
        simulation.assert_settles(Duration::from_secs(15), 32, 256);
    }
}

#[test]
fn a_destination_that_throttles_gets_few_and_is_rarely_asked_for_more() {
    let destination = Destination { per_second_max: Some(30), ..Destination::with_latency(ms(100)) };
    let mut simulation = Simulation::new(adaptive(256), destination);
    simulation.assert_settles(MINUTE, 2, 4);
    let (ended, throttled) = (simulation.ended, simulation.throttled);
    simulation.assert_settles(10 * MINUTE, 2, 4);
    let (ended, throttled) = (simulation.ended - ended, simulation.throttled - throttled);
    assert!(ended > 10_000 && throttled * 200 < ended, "{throttled} of {ended}");
}

#[test]
fn all_attempts_that_are_throttled_together_lower_the_limit_once() {
    let mut limit = adaptive(256);
    let (began_at, sample) = (Instant::now(), |began_at| Sample {
        began_at,
        ended_at: began_at + ms(10),
        ending: Ending::Throttled,
        was_saturated: true,
    });
    for _ in 0..8 {
        limit.record(&sample(began_at));
    }
    assert_eq!(limit.limit(), 6);
    for expected in [5, 4, 3, 2, 1, 1] {
        let began_at = limit.changed_at.unwrap();
        limit.record(&sample(began_at));
        assert_eq!(limit.limit(), expected);
    }
}

#[test]
fn a_rate_bounds_the_limit_by_what_it_can_use() {
    for (per_minute, latency, expected) in [(600, 1000, 20), (60, 300, 8), (60_000, 100, 200)] {
        let concurrency = Concurrency::Adaptive { most: 256 };
        let limit = ConcurrencyLimit::new(concurrency, NonZeroU32::new(per_minute));
        // The rate is that of calls, and nothing here limits the calls.
        let mut simulation = Simulation::new(limit, Destination::with_latency(ms(latency)));
        // Trials of fewer are possible and short.
        simulation.assert_settles(2 * MINUTE, (expected * 3 / 4).max(8), expected);
    }
}

#[test]
fn executions_that_only_wait_for_the_rate_limiter_do_not_raise_the_limit() {
    let destination = Destination { gap: ms(353), ..Destination::with_latency(ms(300)) };
    let limit = ConcurrencyLimit::new(Concurrency::Adaptive { most: 256 }, NonZeroU32::new(170));
    Simulation::new(limit, destination).assert_settles(10 * MINUTE, 8, 12);
}

#[test]
fn an_instance_with_little_to_do_keeps_its_limit() {
    let mut simulation = Simulation::new(adaptive(256), Destination::with_latency(ms(300)));
    simulation.arrives_every = Some(ms(50));
    assert_eq!(simulation.range(5 * MINUTE), (8, 8));
    simulation.arrives_every = None;
    simulation.run(MINUTE);
    for every in [10, 100, 1500, 30_000] {
        simulation.next_arrival = simulation.now;
        simulation.arrives_every = Some(ms(every));
        assert_eq!(simulation.range(5 * MINUTE), (256, 256), "{every}");
    }
}

#[test]
fn a_faster_destination_gets_more() {
    let slow = Destination::with_latency(ms(300)).with_capacity(20);
    each_seed(slow.noisy(), |mut simulation| {
        simulation.run(2 * MINUTE);
        simulation.destination.capacity = 1000;
        simulation.run(3 * MINUTE);
        let (lowest, _) = simulation.range(MINUTE);
        assert!(lowest >= 144, "{lowest}");
    });
}

#[test]
fn a_destination_that_works_on_fewer_at_once_gets_fewer() {
    let fast = Destination::with_latency(ms(100)).with_capacity(200);
    each_seed(fast.noisy(), |mut simulation| {
        simulation.run(MINUTE);
        assert!(simulation.limit.limit() >= 100, "{}", simulation.limit.limit());
        simulation.destination.capacity = 20;
        simulation.assert_settles(9 * MINUTE, 12, 110);
    });
}

#[test]
fn a_longer_latency_that_fewer_calls_do_not_shorten_keeps_the_limit() {
    let mut simulation = Simulation::new(adaptive(256), Destination::with_latency(ms(100)));
    simulation.run(MINUTE);
    simulation.destination.latency = Duration::from_secs(1);
    let (lowest, _) = simulation.range(MINUTE);
    assert!(lowest >= 128, "{lowest}");
    simulation.assert_settles(MINUTE, 192, 256);
}

#[test]
fn a_longer_latency_at_the_initial_limit_does_not_prevent_growth() {
    let mut simulation = Simulation::new(adaptive(256), Destination::with_latency(ms(10)));
    simulation.arrives_every = Some(ms(20));
    assert_eq!(simulation.range(MINUTE), (8, 8));
    simulation.arrives_every = None;
    simulation.destination.latency = ms(500);
    simulation.assert_settles(2 * MINUTE, 192, 256);
}

#[test]
fn a_destination_that_no_longer_throttles_gets_more() {
    let destination = Destination { per_second_max: Some(30), ..Destination::with_latency(ms(100)) };
    let mut simulation = Simulation::new(adaptive(256), destination);
    simulation.run(2 * MINUTE);
    simulation.destination.per_second_max = None;
    simulation.assert_settles(3 * MINUTE, 192, 256);
}

#[test]
fn failed_attempts_are_no_throughput() {
    let (mut limit, mut now) = (adaptive(256), Instant::now());
    for _ in 0..10_000 {
        let began_at = now;
        now += ms(5);
        limit.record(&Sample { began_at, ended_at: now, ending: Ending::Failed, was_saturated: true });
        assert!(limit.limit() <= 12);
    }
    assert_eq!(limit.trial.map_or(limit.limit, |trial| trial.from), 8);
}
