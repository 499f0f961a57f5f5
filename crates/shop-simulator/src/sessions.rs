//! Checkout sessions: the page on which a customer pays.

use crate::json;
use crate::money::Currency;
use crate::payments::{Buyer, Payment};
use crate::world::{DAY, World};

/// A checkout session, as it is.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) currency: Currency,
    /// Minor units.
    pub(crate) amount: i64,
    pub(crate) buyer: Buyer,
    pub(crate) intent: Option<String>,
    pub(crate) invoice: Option<String>,
    pub(crate) subscription: Option<String>,
    pub(crate) status: &'static str,
    pub(crate) payment_status: &'static str,
}

impl Session {
    /// The session of a payment that is paid or still at the bank.
    pub(crate) fn of_payment(world: &mut World, payment: &Payment, payment_status: &'static str) -> Self {
        let terms = &payment.terms;
        let intent = Some(payment.intent.clone());
        let status = "complete";
        let (created, currency, amount) = (payment.created, terms.currency, terms.amount);
        Self {
            intent,
            status,
            payment_status,
            ..Self::open(world, created, currency, amount, terms.buyer.clone())
        }
    }

    /// A session that is not paid yet.
    pub(crate) fn open(
        world: &mut World,
        created: i64,
        currency: Currency,
        amount: i64,
        buyer: Buyer,
    ) -> Self {
        let prefix = if world.options.livemode { "cs_live" } else { "cs_test" };
        Self {
            id: world.id(prefix),
            created,
            currency,
            amount,
            buyer,
            intent: None,
            invoice: None,
            subscription: None,
            status: "open",
            payment_status: "unpaid",
        }
    }

    /// The customer leaves without paying, and the session expires a day later.
    pub(crate) fn abandon(mut self, world: &mut World) {
        self.status = "expired";
        self.emit(world, self.created + DAY, "checkout.session.expired");
    }

    pub(crate) fn emit(&self, world: &mut World, at: i64, event_type: &str) {
        let view = world.view(at);
        world.emit(at, event_type, json::session(self, view));
    }
}
