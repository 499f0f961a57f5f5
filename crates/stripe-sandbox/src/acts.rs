//! What the page's buttons do.

use crate::delivery_faults::{DeliveryFault, DeliveryRule};
use crate::faults::{Fault, FaultRule};
use crate::handle::SandboxHandle;
use crate::shared::Shared;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use sandbox_http::Escaped;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// A button.
pub struct Act {
    name: &'static str,
    label: &'static str,
}

/// What concerns the shop and its clock.
pub const SHOP: &[Act] = &[
    Act { name: "sell", label: "Begin a sale" },
    Act { name: "hour", label: "Set the clock forward an hour" },
    Act { name: "day", label: "Set the clock forward a day" },
    Act { name: "real", label: "Real speed" },
    Act { name: "fast", label: "60 times the real speed" },
    Act { name: "stop", label: "Stop the clock" },
];

/// What goes wrong.
pub const FAULTS: &[Act] = &[
    Act { name: "drop", label: "Drop the next 50 deliveries" },
    Act { name: "lose", label: "Lose the next 50 deliveries" },
    Act { name: "twice", label: "Deliver the next 50 twice" },
    Act { name: "late", label: "Deliver the next 50 a minute late" },
    Act { name: "out-of-order", label: "Deliver the next 50 out of order" },
    Act { name: "never", label: "Never generate the next 5 events" },
    Act { name: "unavailable", label: "Answer 503 to the next 20 requests" },
    Act { name: "throttle", label: "Answer 429 to the next 20 requests" },
    Act { name: "cut", label: "Cut the next 20 connections" },
    Act { name: "retry", label: "Send what waits now" },
    Act { name: "clear", label: "Clear the faults" },
];

/// The fields of a button's form.
#[derive(Debug, Deserialize)]
pub struct Fields {
    endpoint: Option<String>,
}

impl Act {
    /// The button.
    pub fn button(&self) -> String {
        format!("<form method=post action=\"/do/{}\"><button>{}</button></form>", self.name, self.label)
    }
}

/// A button about an endpoint.
pub fn button_for(act: &str, endpoint: &str, label: &str) -> String {
    format!(
        "<form method=post action=\"/do/{act}\"><input type=hidden name=endpoint value=\"{}\">\
         <button>{label}</button></form>",
        Escaped(endpoint)
    )
}

/// Does what a button stands for, and shows the page again.
pub async fn perform(
    State(shared): State<Arc<Shared>>,
    Path(act): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    let sandbox = SandboxHandle::new(shared);
    if act_on(&sandbox, &act, fields.endpoint.as_deref().unwrap_or_default()) {
        Redirect::to("/").into_response()
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

fn act_on(sandbox: &SandboxHandle, act: &str, endpoint: &str) -> bool {
    const HOUR: u64 = 3_600;
    let deliveries = |fault| sandbox.delivery_fault(DeliveryRule::once(fault).times(50));
    let requests = |fault| sandbox.fault(FaultRule::once(fault).times(20)).is_ok();
    match act {
        "hour" => sandbox.advance(Duration::from_secs(HOUR)),
        "day" => sandbox.advance(Duration::from_secs(24 * HOUR)),
        "real" => sandbox.set_speed(1.0),
        "fast" => sandbox.set_speed(60.0),
        "stop" => sandbox.set_speed(0.0),
        "retry" => sandbox.retry_now(),
        "clear" => {
            sandbox.clear_delivery_faults();
            sandbox.clear_faults();
        }
        "sell" => return sandbox.sell(),
        "drop" => return deliveries(DeliveryFault::Drop),
        "lose" => return deliveries(DeliveryFault::Lose),
        "twice" => return deliveries(DeliveryFault::Twice),
        "late" => return deliveries(DeliveryFault::Late { seconds: 60 }),
        "out-of-order" => return deliveries(DeliveryFault::OutOfOrder),
        "never" => {
            return sandbox.delivery_fault(DeliveryRule::once(DeliveryFault::NeverGenerate).times(5));
        }
        "unavailable" => return requests(Fault::Error { status: 503, should_retry: Some(true) }),
        "throttle" => {
            return requests(Fault::RateLimited { retry_after: Some(1), should_retry: Some(true) });
        }
        "cut" => return requests(Fault::Drop),
        "disable" => return sandbox.disable_endpoint(endpoint),
        "enable" => return sandbox.enable_endpoint(endpoint),
        "roll" => return sandbox.rotate_secret(endpoint, Duration::from_secs(24 * HOUR)).is_some(),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::SandboxOptions;
    use crate::state;

    #[tokio::test]
    async fn every_button_does_something() {
        let options =
            SandboxOptions { history_days: 1, speed: 0.0, now: Some(1_794_744_000), ..Default::default() };
        let sandbox = SandboxHandle::new(Arc::new(Shared::new(state::State::new(options))));
        for act in SHOP.iter().chain(FAULTS) {
            assert!(act_on(&sandbox, act.name, ""), "{}", act.name);
        }
        assert!(!act_on(&sandbox, "nonsense", "") && !act_on(&sandbox, "disable", "we_none"));
    }
}
