//! The column Status, by the rule of the original service (see docs/notion.md): only the type decides.

use crate::domain::summary::EventStatus;
use crate::sources::stripe::event_type::without_thin_prefix;

/// The end of the type's last segment decides, and two more types of invoices are a success.
pub(super) fn of(event_type: &str) -> EventStatus {
    let event_type = without_thin_prefix(event_type);
    let last = event_type.rsplit('.').next().unwrap_or_default();
    match event_type {
        "invoice.paid" | "invoice.finalized" => EventStatus::Success,
        _ if last.ends_with("succeeded") => EventStatus::Success,
        _ if last.ends_with("failed") => EventStatus::Failed,
        _ => EventStatus::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_last_segment_decides() {
        for (event_type, status) in [
            ("payment_intent.succeeded", "success"),
            ("checkout.session.async_payment_succeeded", "success"),
            ("invoice.paid", "success"),
            ("v1.invoice.paid", "success"),
            ("invoice.finalized", "success"),
            ("invoice.payment_succeeded", "success"),
            ("succeeded", "success"),
            ("invoice.payment_failed", "failed"),
            ("v1.payout.failed", "failed"),
            ("invoice.finalization_failed", "failed"),
            ("payout.paid", "pending"),
            ("invoice_payment.paid", "pending"),
            ("failed.created", "pending"),
            ("succeeded.v1", "pending"),
            ("v2.invoice.paid", "pending"),
            ("charge.Succeeded", "pending"),
            ("", "pending"),
        ] {
            assert_eq!(of(event_type).as_str(), status, "{event_type}");
        }
    }
}
