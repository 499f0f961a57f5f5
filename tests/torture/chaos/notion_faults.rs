//! The faults of Notion.

use crate::Sabotage;
use crate::world::LATE_MS_MAX;
use notion_sandbox::{Fault, FaultRule, Route};
use rand::RngExt;
use rand::rngs::StdRng;

/// Faults in about one call in five: every kind that the service must handle by itself. `invalid` is not
/// among them, because it correctly ends an execution as failed.
pub(super) fn mix(sabotage: Option<Sabotage>, limited: bool, rng: &mut StdRng) -> Vec<FaultRule> {
    let often = |fault, probability| FaultRule::always(fault).times(u32::MAX).with_probability(probability);
    if sabotage == Some(Sabotage::Fence) {
        // The response to a process that was declared dead arrives late. Its successor still searches for
        // the page when it resumes, and nothing else separates the two.
        return vec![
            often(Fault::Slow { delay_ms: 4000 }, 0.1).on(Route::Create),
            often(Fault::Slow { delay_ms: 8000 }, 1.0).on(Route::Query),
        ];
    }
    let mut rules = vec![
        often(Fault::Overloaded { retry_after: Some(1) }, 0.008),
        often(Fault::Overloaded { retry_after: None }, 0.001),
        often(Fault::Conflict, 0.012),
        often(Fault::Error { status: 500 }, 0.008),
        often(Fault::Error { status: 502 }, 0.008),
        often(Fault::Error { status: 503 }, 0.010),
        often(Fault::Error { status: 504 }, 0.008),
        often(Fault::ErrorAfterWrite { status: 500 }, 0.012),
        often(Fault::ErrorAfterWrite { status: 503 }, 0.012),
        often(Fault::Committed, 0.012),
        often(Fault::Html, 0.012),
        often(Fault::Drop, 0.016),
        often(Fault::DropAfterWrite, 0.016),
    ];
    for _ in 0..4 {
        rules.push(often(Fault::DropThenWrite { delay_ms: rng.random_range(0..=LATE_MS_MAX) }, 0.010));
    }
    rules.extend([
        often(Fault::Slow { delay_ms: 200 }, 0.01),
        often(Fault::Slow { delay_ms: 1500 }, 0.01),
        often(Fault::Slow { delay_ms: 4000 }, 0.01),
        // A slow read delays the following write far beyond the start of its attempt.
        often(Fault::Slow { delay_ms: 5000 }, 0.15).on(Route::Query),
        often(Fault::Slow { delay_ms: 5000 }, 0.10).on(Route::Schema),
        // Two at once leave a second of the settle time after the latest write.
        often(Fault::QueryLag { delay_ms: 700 }, 0.03).on(Route::Create),
        often(Fault::QueryLag { delay_ms: 1300 }, 0.03).on(Route::Create),
    ]);
    if !limited {
        rules.push(often(Fault::RateLimited { retry_after: Some(1), blocked: false }, 0.010));
        rules.push(often(Fault::RateLimited { retry_after: None, blocked: false }, 0.001));
    }
    if sabotage == Some(Sabotage::Look) {
        rules.push(often(Fault::QueryLag { delay_ms: 600_000 }, 1.0).on(Route::Create));
    }
    rules
}

/// The name of a fault.
pub(super) fn name(fault: &Fault) -> String {
    let json = serde_json::to_value(fault).unwrap_or_default();
    json.get("kind").and_then(serde_json::Value::as_str).unwrap_or("unknown").to_owned()
}
