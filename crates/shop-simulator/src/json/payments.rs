//! Customers, payment intents, charges and refunds.

use super::{BalanceTransaction, View, balance_transaction, exchange_rate, list, reference, with};
use crate::ledger::charge_fee;
use crate::payments::{Buyer, Method, Payment, Stage};
use crate::refunds::Refund;
use serde_json::{Value, json};

/// Why a payment failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    /// For cards.
    pub(crate) decline: Option<&'static str>,
    pub(crate) message: &'static str,
}

/// How cards are declined.
pub(crate) const DECLINES: [Failure; 3] = [
    Failure {
        code: "card_declined",
        decline: Some("insufficient_funds"),
        message: "Your card has insufficient funds.",
    },
    Failure { code: "card_declined", decline: Some("generic_decline"), message: "Your card was declined." },
    Failure { code: "expired_card", decline: Some("expired_card"), message: "Your card has expired." },
];

pub(crate) fn customer(of: &Buyer, view: View) -> Value {
    json!({
        "id": of.customer,
        "object": "customer",
        "address": null,
        "balance": 0,
        "created": of.created,
        "currency": null,
        "default_source": null,
        "delinquent": false,
        "description": null,
        "email": of.email,
        "invoice_prefix": "SHOP",
        "livemode": view.livemode,
        "metadata": {},
        "name": of.name,
        "phone": null,
        "preferred_locales": [],
        "shipping": null,
        "tax_exempt": "none",
    })
}

pub(crate) fn intent(of: &Payment, view: View) -> Value {
    let attempted = of.attempts > 0;
    let capturable = if of.stage == Stage::Authorized { of.terms.amount - of.captured } else { 0 };
    let received = if matches!(of.stage, Stage::Succeeded | Stage::Authorized) { of.captured } else { 0 };
    let canceled_at = matches!(of.stage, Stage::Canceled { .. }).then_some(of.now);
    let object = json!({
        "id": of.intent,
        "object": "payment_intent",
        "amount": of.terms.amount,
        "amount_capturable": capturable,
        "amount_details": { "tip": {} },
        "amount_received": received,
        "application": null,
        "application_fee_amount": null,
        "automatic_payment_methods": null,
        "canceled_at": canceled_at,
        "cancellation_reason": cancellation_reason(of, view),
        "capture_method": if of.terms.manual { "manual" } else { "automatic" },
        "client_secret": format!("{}_secret_simulated", of.intent),
        "confirmation_method": "automatic",
        "created": of.created,
        "currency": of.terms.currency.code(),
        "customer": customer_of(of, view),
        "description": of.terms.description,
        "last_payment_error": last_error(of),
        "livemode": view.livemode,
        "metadata": {},
        "next_action": next_action(of),
        "on_behalf_of": null,
        "payment_method": attempted.then(|| method_id(of)),
        "payment_method_options": {},
        "payment_method_types": [method_name(of)],
        "processing": null,
        "receipt_email": of.terms.buyer.email,
        "review": null,
        "setup_future_usage": null,
        "shipping": null,
        "statement_descriptor": null,
        "statement_descriptor_suffix": null,
        "status": intent_status(of),
        "transfer_data": null,
        "transfer_group": null,
    });
    let object = if view.version.lists_children() {
        let charges = if attempted { vec![charge(&plain(of), view)] } else { Vec::new() };
        with(object, json!({ "charges": list(&charges, "/v1/charges", view) }))
    } else {
        let newest =
            reference(attempted.then_some(of.charge.as_str()), of.expanded, |_| charge(&plain(of), view));
        with(object, json!({ "latest_charge": newest }))
    };
    with_invoice(object, of, view)
}

pub(crate) fn charge(of: &Payment, view: View) -> Value {
    let object = with(charge_money(of, view), charge_person(of, view));
    let object = with(object, charge_circumstances(of));
    let object = if view.version.lists_children() {
        let refunds: Vec<_> = of.refunds.iter().rev().map(|it| refund(it, &plain(of), view)).collect();
        let refunds = list(&refunds, &format!("/v1/charges/{}/refunds", of.charge), view);
        let dispute = of.dispute.as_deref();
        with(object, json!({ "refunds": refunds, "dispute": dispute, "destination": null, "order": null }))
    } else {
        object
    };
    with_invoice(object, of, view)
}

fn charge_money(of: &Payment, view: View) -> Value {
    let refunded = of.refunded() + if view.releases_are_refunds { of.released } else { 0 };
    let whole = if view.releases_are_refunds { of.terms.amount } else { of.captured };
    let canceled = matches!(of.stage, Stage::Canceled { .. });
    // Before Basil it is null if the authorisation ended without a capture.
    let captured = (!canceled || !view.version.is_before_basil()).then_some(of.captured);
    json!({
        "id": of.charge,
        "object": "charge",
        "amount": of.terms.amount,
        "amount_captured": captured,
        "amount_refunded": refunded,
        "balance_transaction": charge_transaction(of),
        "captured": of.is_captured,
        "created": of.charged_at,
        "currency": of.terms.currency.code(),
        "disputed": of.dispute.is_some(),
        "failure_balance_transaction": of.failure_balance_transaction,
        "failure_code": of.failure.map(|failure| failure.code),
        "failure_message": of.failure.map(|failure| failure.message),
        "livemode": view.livemode,
        "paid": !matches!(of.stage, Stage::Failed | Stage::Processing),
        "refunded": refunded > 0 && refunded >= whole,
        "status": charge_status(of),
    })
}

fn charge_person(of: &Payment, view: View) -> Value {
    json!({
        "billing_details": {
            "address": null,
            "email": of.terms.buyer.email,
            "name": of.terms.buyer.name,
            "phone": null,
        },
        "customer": customer_of(of, view),
        "description": of.terms.description,
        "payment_intent": of.intent,
        "payment_method": method_id(of),
        "payment_method_details": method_details(of),
        "receipt_email": null,
        "receipt_number": null,
        "receipt_url": format!("https://pay.stripe.com/receipts/payment/{}", of.charge),
        "shipping": null,
    })
}

fn charge_circumstances(of: &Payment) -> Value {
    json!({
        "application": null,
        "application_fee": null,
        "application_fee_amount": null,
        "calculated_statement_descriptor": "SIMULATED SHOP",
        "fraud_details": {},
        "metadata": {},
        "on_behalf_of": null,
        "outcome": outcome(of),
        "review": null,
        "source": null,
        "source_transfer": null,
        "statement_descriptor": null,
        "statement_descriptor_suffix": null,
        "transfer_data": null,
        "transfer_group": null,
    })
}

pub(crate) fn refund(of: &Refund, payment: &Payment, view: View) -> Value {
    let currency = payment.terms.currency;
    let transaction = reference(of.balance_transaction.as_deref(), payment.expanded, |id| {
        balance_transaction(&BalanceTransaction {
            id,
            source: &of.id,
            created: of.created,
            currency: currency.settles_in(),
            amount: -currency.convert(of.amount, currency.settles_in()),
            fee: 0,
            exchange_rate: exchange_rate(currency, currency.settles_in()),
            kind: ("refund", "refund"),
        })
    });
    let charged = reference(Some(&payment.charge), payment.expanded, |_| charge(&plain(payment), view));
    let mut object = json!({
        "id": of.id,
        "object": "refund",
        "amount": of.amount,
        "balance_transaction": transaction,
        "charge": charged,
        "created": of.created,
        "currency": currency.code(),
        "destination_details": destination(of, payment),
        "metadata": of.note.map_or(json!({}), |note| json!({ "note": note })),
        "payment_intent": payment.intent,
        "reason": of.reason,
        "receipt_number": null,
        "source_transfer_reversal": null,
        "status": of.status,
        "transfer_reversal": null,
    });
    if let (Some(reason), Some(transaction)) = (of.failure_reason, &of.failure_balance_transaction) {
        let failure = json!({ "failure_reason": reason, "failure_balance_transaction": transaction });
        object = with(object, failure);
    }
    object
}

/// The same payment, for use inside an object that refers to it: without expanded references, and with no
/// refunds in its charge where the refund itself is shown.
fn plain(of: &Payment) -> Payment {
    Payment { expanded: false, ..of.clone() }
}

fn customer_of(of: &Payment, view: View) -> Value {
    let buyer = &of.terms.buyer;
    reference(buyer.customer.as_deref(), of.expanded, |_| customer(buyer, view))
}

fn charge_transaction(of: &Payment) -> Value {
    let (currency, settles_in) = (of.terms.currency, of.terms.currency.settles_in());
    reference(of.balance_transaction.as_deref(), of.expanded, |id| {
        let amount = currency.convert(of.captured, settles_in);
        balance_transaction(&BalanceTransaction {
            id,
            source: &of.charge,
            created: of.charged_at,
            currency: settles_in,
            amount,
            fee: charge_fee(amount),
            exchange_rate: exchange_rate(currency, settles_in),
            kind: ("charge", "charge"),
        })
    })
}

/// Before Basil an intent and a charge name the invoice that they pay.
fn with_invoice(object: Value, of: &Payment, view: View) -> Value {
    if view.version.is_before_basil() { with(object, json!({ "invoice": of.terms.invoice })) } else { object }
}

fn intent_status(of: &Payment) -> &'static str {
    match of.stage {
        Stage::Open | Stage::Failed => "requires_payment_method",
        Stage::ActionRequired => "requires_action",
        Stage::Processing => "processing",
        Stage::Authorized => "requires_capture",
        Stage::Succeeded => "succeeded",
        Stage::Canceled { .. } => "canceled",
    }
}

fn charge_status(of: &Payment) -> &'static str {
    match of.stage {
        Stage::Failed => "failed",
        Stage::Processing => "pending",
        _ => "succeeded",
    }
}

/// Basil renamed the reason of an authorisation that expired.
fn cancellation_reason(of: &Payment, view: View) -> Option<&'static str> {
    match of.stage {
        Stage::Canceled { expired: false } => Some("requested_by_customer"),
        Stage::Canceled { expired: true } if view.version.is_before_basil() => Some("automatic"),
        Stage::Canceled { expired: true } => Some("expired"),
        _ => None,
    }
}

fn last_error(of: &Payment) -> Value {
    let Some(failure) = of.failure else { return Value::Null };
    json!({
        "type": if failure.decline.is_some() { "card_error" } else { "invalid_request_error" },
        "charge": of.charge,
        "code": failure.code,
        "decline_code": failure.decline,
        "message": failure.message,
    })
}

fn next_action(of: &Payment) -> Value {
    match of.stage {
        Stage::ActionRequired => json!({ "type": "use_stripe_sdk", "use_stripe_sdk": {} }),
        _ => Value::Null,
    }
}

fn outcome(of: &Payment) -> Value {
    match of.failure {
        Some(failure) => json!({
            "network_status": "declined_by_network",
            "reason": failure.decline,
            "risk_level": "normal",
            "seller_message": "The bank did not return any further details with this decline.",
            "type": "issuer_declined",
        }),
        None => json!({
            "network_status": "approved_by_network",
            "reason": null,
            "risk_level": "normal",
            "seller_message": "Payment complete.",
            "type": "authorized",
        }),
    }
}

fn method_id(of: &Payment) -> String {
    format!("pm_{}", of.intent.trim_start_matches("pi_"))
}

fn method_name(of: &Payment) -> &'static str {
    match of.terms.method {
        Method::Card => "card",
        Method::Debit => "us_bank_account",
    }
}

fn method_details(of: &Payment) -> Value {
    match of.terms.method {
        Method::Card => json!({
            "type": "card",
            "card": {
                "amount_authorized": of.terms.amount,
                "brand": "visa",
                "checks": { "address_postal_code_check": null, "cvc_check": "pass" },
                "country": "DE",
                "exp_month": 8,
                "exp_year": 2030,
                "funding": "credit",
                "last4": "4242",
                "network": "visa",
                "three_d_secure": null,
                "wallet": null,
            },
        }),
        Method::Debit => json!({
            "type": "us_bank_account",
            "us_bank_account": {
                "account_holder_type": "individual",
                "account_type": "checking",
                "bank_name": "STRIPE TEST BANK",
                "last4": "6789",
                "routing_number": "110000000",
            },
        }),
    }
}

fn destination(of: &Refund, payment: &Payment) -> Value {
    let (kind, name) = match (payment.terms.method, of.is_of_released()) {
        (Method::Card, true) => ("card", "reversal"),
        (Method::Card, false) => ("card", "refund"),
        (Method::Debit, _) => return json!({ "type": "us_bank_transfer", "us_bank_transfer": {} }),
    };
    let status = if of.has_reference { "available" } else { "pending" };
    let known = of.has_reference.then_some("123456789012");
    json!({
        "type": kind,
        "card": {
            "reference": known,
            "reference_status": status,
            "reference_type": "acquirer_reference_number",
            "type": name,
        },
    })
}
