//! The three statuses that a type alone tells.

use crate::domain::subscription::without_thin_prefix;

/// How an event's type says that it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventStatus {
    /// It succeeded.
    Success,
    /// It failed.
    Failed,
    /// Neither, or not yet.
    Pending,
}

impl EventStatus {
    /// A last segment that ends in `succeeded` or `failed` decides, and three types of invoices.
    pub fn of(event_type: &str) -> Self {
        let event_type = without_thin_prefix(event_type);
        let last = event_type.rsplit('.').next().unwrap_or_default();
        match event_type {
            "invoice.paid" | "invoice.payment_succeeded" | "invoice.finalized" => Self::Success,
            _ if last.ends_with("succeeded") => Self::Success,
            _ if last.ends_with("failed") => Self::Failed,
            _ => Self::Pending,
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Pending => "pending",
        }
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
            assert_eq!(EventStatus::of(event_type).as_str(), status, "{event_type}");
        }
    }
}
