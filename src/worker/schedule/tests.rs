//! The rules of the schedule.

use super::super::instances::Began;
use super::*;
use crate::config::Concurrency;
use crate::domain::delivery::{Failure, Outcome};
use crate::domain::execution::ExecutionId;

const HOUR: Duration = Duration::from_hours(1);

/// What a batch asks for, as instance, class and number.
fn asks(batch: &Batch) -> Vec<(&str, WorkClass, u32)> {
    batch.asks.iter().map(|ask| (ask.destination.as_str(), ask.class, ask.most)).collect()
}

/// A pool of eight slots for some instances, at the time `now`.
struct Case {
    schedule: Schedule,
    instances: Arc<InstanceStates>,
    now: Instant,
}

impl Case {
    fn new(names: &[&str]) -> Self {
        let now = Instant::now();
        let without_rates = names.iter().map(|name| ((*name).to_owned(), None));
        let instances = Arc::new(InstanceStates::new(without_rates, Concurrency::Fixed(8)));
        Self { schedule: Schedule::new(&instances, now), instances, now }
    }

    fn begin_round(&mut self, slots: usize) {
        self.schedule.begin_round(slots, &self.instances, self.now);
    }

    fn next_claim(&mut self, free: usize) -> Option<Claim> {
        self.schedule.next_claim(free, &self.instances, self.now)
    }

    fn next_batch(&mut self, free: usize) -> Batch {
        match self.next_claim(free) {
            Some(Claim::Batch(batch)) => batch,
            other => panic!("{other:?}"),
        }
    }

    /// The claim took these executions, by class and place.
    fn took(&mut self, batch: &Batch, taken: &[(WorkClass, u64)]) -> Vec<Examined> {
        let destination = &batch.asks[0].destination;
        let taken: Vec<_> = taken
            .iter()
            .map(|(class, place)| Taken {
                destination: destination.clone(),
                class: *class,
                position: Position::START.plus(HOUR + ms(*place)),
                is_in_lane: false,
            })
            .collect();
        self.schedule.record_taken(batch, &taken, ms(1), &self.instances, self.now)
    }

    /// Ends the fresh work of the round, as claims that take nothing do.
    fn no_fresh_work(&mut self, free: usize) {
        let batch = self.next_batch(free);
        assert_eq!(batch.kind, BatchKind::Fresh, "{batch:?}");
        self.took(&batch, &[]);
    }

    fn end_round(&self, filled: usize) -> Option<Rest> {
        self.schedule.end_round(filled, Duration::ZERO, self.now)
    }

    fn is_quarantine_check_due(&mut self) -> bool {
        self.schedule.quarantine_check(&self.instances, self.now).is_some()
    }

    /// Fails often enough for the circuit breaker to open for a second.
    fn fail(&self, instance: &str) {
        let outcome = Outcome::Transient { failure: Failure::local("x", "x"), wait: None };
        for _ in 0..5 {
            let began = Began { leased: self.now, at: self.now, was_saturated: false, is_retry: false };
            self.instances.record(instance, &outcome, began, self.now);
        }
    }
}

fn trial_of(instance: &str) -> Claim {
    Claim::Trial(Trial { instance: instance.to_owned(), is_fresh_only: false })
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn a_round_claims_canaries_then_fresh_work_then_the_others_then_trials() {
    let mut case = Case::new(&["half-open", "paused", "works"]);
    case.fail("half-open");
    case.now += Duration::from_secs(1);
    case.instances.want_canary("paused");
    case.begin_round(4);
    assert_eq!(case.next_claim(4), Some(Claim::Canary("paused".to_owned())));
    let fresh = case.next_batch(3);
    assert_eq!(asks(&fresh), [("paused", WorkClass::Fresh, 2), ("works", WorkClass::Fresh, 1)]);
    assert_eq!(fresh.limit, 3);
    case.took(&fresh, &[]);
    for instance in ["paused", "works"] {
        let others = case.next_batch(3);
        assert_eq!(asks(&others), [(instance, WorkClass::Retry, 3), (instance, WorkClass::Bulk, 3)]);
        assert_eq!(others.limit, 3, "together");
    }
    assert_eq!(case.next_claim(1), Some(trial_of("half-open")));
    assert_eq!(case.next_claim(1), None);
}

#[test]
fn fresh_work_is_claimed_until_an_instance_has_no_more() {
    let mut case = Case::new(&["a", "b"]);
    case.begin_round(4);
    let batch = case.next_batch(4);
    assert_eq!(asks(&batch), [("a", WorkClass::Fresh, 2), ("b", WorkClass::Fresh, 2)]);
    case.took(&batch, &[(WorkClass::Fresh, 1), (WorkClass::Fresh, 2)]);
    let batch = case.next_batch(2);
    assert_eq!(asks(&batch), [("a", WorkClass::Fresh, 2)], "b had none");
    case.took(&batch, &[(WorkClass::Fresh, 3)]);
    assert_eq!(case.next_batch(1).kind, BatchKind::Others, "a has no more either");
}

#[test]
fn a_claim_that_took_work_in_lanes_is_repeated_since_it_takes_one_of_each_lane() {
    let mut case = Case::new(&["works"]);
    case.begin_round(4);
    let batch = case.next_batch(4);
    let position = Position::START.plus(HOUR);
    let (destination, class) = ("works".to_owned(), WorkClass::Fresh);
    let taken = Taken { destination, class, position, is_in_lane: true };
    case.schedule.record_taken(&batch, &[taken], ms(1), &case.instances, case.now);
    assert_eq!(case.next_batch(3).kind, BatchKind::Fresh);
}

#[test]
fn a_round_ends_when_its_slots_are_filled() {
    let mut case = Case::new(&["half-open", "works"]);
    case.fail("half-open");
    case.now += Duration::from_secs(1);
    case.begin_round(8);
    case.next_batch(8);
    assert_eq!(case.next_claim(0), None);
    assert_eq!(case.end_round(8), None, "the next round begins at once");
}

#[test]
fn one_slot_in_five_is_for_a_retry_counted_over_rounds_while_any_is_due() {
    let mut case = Case::new(&["works"]);
    let mut retries = Vec::new();
    for slots in [3, 3, 3, 8, 1] {
        case.now += OTHERS_EVERY;
        case.begin_round(slots);
        let batch = case.next_batch(slots);
        let of_class = batch.asks.iter().filter(|ask| ask.class == WorkClass::Retry);
        retries.push(of_class.map(|ask| ask.most).sum::<u32>());
    }
    assert_eq!(retries, [0, 1, 0, 2, 0]);

    case.begin_round(8);
    let batch = case.next_batch(8);
    assert_eq!(asks(&batch), [("works", WorkClass::Fresh, 8)], "it has just asked");
    case.now += OTHERS_EVERY;
    case.begin_round(8);
    let batch = case.next_batch(8);
    assert_eq!(asks(&batch), [("works", WorkClass::Retry, 1), ("works", WorkClass::Fresh, 7)]);
    case.took(&batch, &[(WorkClass::Retry, 1)]);
    case.begin_round(8);
    assert_eq!(asks(&case.next_batch(8))[0], ("works", WorkClass::Retry, 2), "there are some");
}

#[test]
fn a_claim_of_the_others_that_found_nothing_is_not_repeated_at_once_but_owed() {
    let mut case = Case::new(&["works"]);
    case.begin_round(8);
    case.no_fresh_work(8);
    let others = case.next_batch(8);
    case.took(&others, &[]);
    assert_eq!(case.next_claim(8), None);
    assert_eq!(case.end_round(0), Some(Rest { pause: ms(0), idle_max: POLL }));

    case.now += ms(10);
    case.begin_round(8);
    case.no_fresh_work(8);
    assert_eq!(case.next_claim(4), None, "too early");
    assert_eq!(case.end_round(4), Some(Rest { pause: ms(0), idle_max: ms(40) }), "until it may ask");

    case.now += ms(40);
    case.begin_round(8);
    case.no_fresh_work(8);
    let others = case.next_batch(8);
    case.took(&others, &[(WorkClass::Bulk, 1)]);
    case.begin_round(8);
    case.no_fresh_work(8);
    assert_eq!(case.next_batch(8).kind, BatchKind::Others, "one that found something is repeated at once");
}

#[test]
fn a_claim_of_the_others_is_only_owed_while_slots_are_free() {
    let mut case = Case::new(&["works"]);
    case.begin_round(8);
    case.no_fresh_work(8);
    let others = case.next_batch(8);
    case.took(&others, &[]);
    case.begin_round(8);
    case.no_fresh_work(8);
    assert_eq!(case.next_claim(0), None);
    assert_eq!(case.end_round(7).map(|rest| rest.idle_max), Some(POLL));
}

#[test]
fn after_a_sweep_claims_begin_at_the_front() {
    let mut case = Case::new(&["works"]);
    case.begin_round(8);
    let batch = case.next_batch(8);
    assert_eq!(batch.asks[0].from, Position::START);
    case.took(&batch, &[(WorkClass::Fresh, 1)]);
    case.begin_round(8);
    let batch = case.next_batch(8);
    assert!(batch.asks[0].from > Position::START);
    case.now += Duration::from_secs(1);
    case.begin_round(8);
    assert_eq!(case.next_batch(8).asks[0].from, Position::START, "now and then it sweeps");
}

#[test]
fn a_sweep_that_only_finds_busy_lanes_continues_behind_them_soon() {
    let mut case = Case::new(&["works"]);
    case.begin_round(8);
    let batch = case.next_batch(8);
    let examined = case.took(&batch, &[]);
    let next = Position::START.plus(HOUR);
    case.schedule.record_examined(&examined[0], Some(next), Duration::ZERO, case.now);
    assert_eq!(case.end_round(0).map(|rest| rest.idle_max), Some(OTHERS_EVERY));
    case.now += OTHERS_EVERY;
    case.begin_round(8);
    let batch = case.next_batch(8);
    assert_eq!(batch.asks[0].from, next);
    let examined = case.took(&batch, &[]);
    case.schedule.record_examined(&examined[0], None, Duration::ZERO, case.now);
    case.now += POLL;
    case.begin_round(8);
    assert_eq!(case.next_batch(8).asks[0].from, Position::START);
}

#[test]
fn a_sweep_of_one_class_that_found_nothing_does_not_hold_up_that_of_another() {
    let mut case = Case::new(&["works"]);
    let busy = |place| Position::START.plus(HOUR + ms(place));
    for place in 1..=4 {
        case.begin_round(8);
        let fresh = case.next_batch(8);
        let examined = case.took(&fresh, &[]);
        let is_of_fresh = |examined: &&Examined| examined.ask.class == WorkClass::Fresh;
        let of_fresh = examined.iter().find(is_of_fresh).expect("whatever the others found");
        case.schedule.record_examined(of_fresh, Some(busy(place)), Duration::ZERO, case.now);
        let others = case.next_batch(8);
        for empty in case.took(&others, &[]) {
            case.schedule.record_examined(&empty, None, Duration::ZERO, case.now);
        }
        case.now += OTHERS_EVERY;
    }
    case.begin_round(8);
    let fresh = case.next_batch(8);
    let of_class = fresh.asks.iter().find(|ask| ask.class == WorkClass::Fresh).unwrap();
    assert_eq!(of_class.from, busy(4), "each time it goes on behind the busy lanes");
}

#[test]
fn a_slice_of_a_divided_sweep_is_a_claim_of_its_own_before_fresh_work() {
    let mut case = Case::new(&["works"]);
    let slow = Duration::from_secs(1);
    for (place, wait) in [(1, Duration::ZERO), (60_000, slow * 20)] {
        case.begin_round(8);
        let batch = case.next_batch(8);
        let position = Position::START.plus(HOUR + ms(place));
        let (destination, class) = ("works".to_owned(), WorkClass::Fresh);
        let taken = Taken { destination, class, position, is_in_lane: false };
        case.schedule.record_taken(&batch, &[taken], slow, &case.instances, case.now);
        case.now += wait;
    }
    case.begin_round(8);
    let slice = case.next_batch(8);
    assert_eq!((slice.kind, asks(&slice)), (BatchKind::Sweep, vec![("works", WorkClass::Fresh, 8)]));
    let until = slice.asks[0].until;
    assert!(until.is_some_and(|until| until < Position::START.plus(HOUR + ms(60_000))), "{until:?}");
    let examined = case.took(&slice, &[]);
    case.schedule.record_examined(&examined[0], None, Duration::ZERO, case.now);
    let fresh = case.next_batch(8);
    let of_class = fresh.asks.iter().find(|ask| ask.class == WorkClass::Fresh).unwrap();
    assert_eq!((fresh.kind, of_class.until), (BatchKind::Fresh, None));
    assert!(Some(of_class.from) >= until, "it begins at the front");
}

#[test]
fn a_notification_that_led_to_nothing_is_followed_by_a_short_pause() {
    let mut case = Case::new(&["works"]);
    let pause_after = |case: &mut Case, filled| {
        case.begin_round(8);
        case.end_round(filled).map(|rest| rest.pause)
    };
    assert_eq!(pause_after(&mut case, 0), Some(ms(0)), "it was not notified");
    case.schedule.end_rest(true);
    assert_eq!(pause_after(&mut case, 1), Some(ms(0)), "it found something");
    assert_eq!(pause_after(&mut case, 0), Some(REST_AFTER_NOTHING));
    case.schedule.end_rest(false);
    assert_eq!(pause_after(&mut case, 0), Some(ms(0)));
}

#[test]
fn jitter_lengthens_the_wait_for_the_next_poll() {
    let mut case = Case::new(&["works"]);
    case.begin_round(8);
    let rest = case.schedule.end_round(0, ms(150), case.now);
    assert_eq!(rest.map(|rest| rest.idle_max), Some(POLL + ms(150)));
    assert_eq!(Schedule::end_failed_round(ms(150)).idle_max, DATABASE_RETRY_DELAY + ms(150));
}

#[test]
fn nothing_is_claimed_for_an_instance_whose_circuit_breaker_is_open() {
    let mut case = Case::new(&["fails", "works"]);
    case.fail("fails");
    case.begin_round(8);
    let of_works = [("works", WorkClass::Retry, 1), ("works", WorkClass::Fresh, 5)];
    assert_eq!(asks(&case.next_batch(8)), of_works, "two slots stay free for the other one");
    case.fail("works");
    case.begin_round(8);
    assert_eq!(case.next_claim(8), None);
}

#[test]
fn while_a_trial_runs_no_other_one_is_claimed() {
    let mut case = Case::new(&["fails"]);
    case.fail("fails");
    case.now += Duration::from_secs(1);
    let trial = case.instances.begin_trial("fails".to_owned());
    case.begin_round(8);
    assert_eq!(case.next_claim(8), None);
    drop(trial);
    case.begin_round(8);
    assert_eq!(case.next_claim(8), Some(trial_of("fails")));
}

#[test]
fn a_canary_is_claimed_once_for_each_request_and_not_while_one_runs() {
    let mut case = Case::new(&["paused"]);
    case.instances.want_canary("paused");
    case.begin_round(8);
    assert_eq!(case.next_claim(8), Some(Claim::Canary("paused".to_owned())));
    let canary = case.instances.begin_canary("paused", ExecutionId(1));
    case.instances.want_canary("paused");
    case.begin_round(8);
    assert!(matches!(case.next_claim(8), Some(Claim::Batch(_))), "the canary still runs");
    drop(canary);
    case.instances.want_canary("paused");
    case.begin_round(8);
    assert_eq!(case.next_claim(8), Some(Claim::Canary("paused".to_owned())));
}

#[test]
fn each_claim_keeps_to_the_slots_that_its_instances_may_fill_at_that_time() {
    let mut case = Case::new(&["busy", "idle"]);
    let _running: Vec<_> = (0..6).map(|_| case.instances.begin("busy".to_owned())).collect();
    case.begin_round(2);
    // Of eight slots two are reserved for each, and four are shared.
    assert_eq!(asks(&case.next_batch(2)), [("idle", WorkClass::Fresh, 2)]);
    let _one_more = case.instances.begin("idle".to_owned());
    assert_eq!(asks(&case.next_batch(1)), [("idle", WorkClass::Fresh, 1)]);
    assert!(case.instances.is_any_full());
}

#[test]
fn while_the_concurrency_adapts_no_instance_waits_for_the_slots_of_another() {
    let names = ["slow", "fast"].map(|name| (name.to_owned(), None));
    let instances = Arc::new(InstanceStates::new(names, Concurrency::Adaptive { most: 8 }));
    let _running: Vec<_> = (0..8).map(|_| instances.begin("slow".to_owned())).collect();
    let mut schedule = Schedule::new(&instances, Instant::now());
    schedule.begin_round(8, &instances, Instant::now());
    let Some(Claim::Batch(batch)) = schedule.next_claim(8, &instances, Instant::now()) else {
        panic!("there is work to claim");
    };
    let of_fast: u32 =
        batch.asks.iter().map(|ask| if ask.destination == "fast" { ask.most } else { 0 }).sum();
    assert_eq!((instances.slots(), of_fast), (16, 8), "{batch:?}");
}

#[test]
fn quarantined_executions_are_looked_for_once_per_poll() {
    let mut case = Case::new(&["works"]);
    assert!(case.is_quarantine_check_due());
    assert!(!case.is_quarantine_check_due());
    case.now += POLL;
    assert!(case.is_quarantine_check_due());
}

#[test]
fn after_a_quarantined_execution_all_else_runs_for_as_long_as_it_rested() {
    let mut case = Case::new(&["works"]);
    assert!(case.is_quarantine_check_due());
    case.schedule.record_quarantine_run(case.now);
    case.now += Duration::from_secs(10);
    case.begin_round(8);
    case.now += Duration::from_secs(9);
    case.begin_round(8);
    assert!(!case.is_quarantine_check_due());
    case.now += Duration::from_secs(1);
    assert!(case.is_quarantine_check_due());
}
