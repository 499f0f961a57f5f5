//! Disputes.

use super::{BalanceTransaction, View, balance_transaction, charge, exchange_rate, reference, with};
use crate::disputes::Dispute;
use crate::payments::{Method, Payment};
use crate::version::ApiVersion;
use crate::world::DAY;
use serde_json::{Value, json};

const DAYS_TO_ANSWER: i64 = 14;

pub(crate) fn dispute(of: &Dispute, payment: &Payment, view: View) -> Value {
    let plain = Payment { expanded: false, ..payment.clone() };
    let object = json!({
        "id": of.id,
        "object": "dispute",
        "amount": of.amount,
        "balance_transactions": transactions(of, payment),
        "charge": reference(Some(&payment.charge), payment.expanded, |_| charge(&plain, view)),
        "created": of.created,
        "currency": payment.terms.currency.code(),
        "evidence": evidence(of, payment),
        "evidence_details": {
            "due_by": of.created + DAYS_TO_ANSWER * DAY,
            "has_evidence": of.submissions > 0,
            "past_due": false,
            "submission_count": of.submissions,
        },
        "is_charge_refundable": of.is_inquiry,
        "livemode": view.livemode,
        "metadata": {},
        "payment_intent": payment.intent,
        "reason": of.reason,
        "status": of.status,
    });
    if view.version == ApiVersion::Y2020 {
        return object;
    }
    with(object, json!({ "enhanced_eligibility_types": [], "payment_method_details": method(of, payment) }))
}

fn method(of: &Dispute, payment: &Payment) -> Value {
    let case = if of.is_inquiry { "inquiry" } else { "chargeback" };
    match payment.terms.method {
        Method::Card => json!({
            "type": "card",
            "card": { "brand": "visa", "case_type": case, "network_reason_code": "10.4" },
        }),
        Method::Debit => json!({ "type": "us_bank_account" }),
    }
}

fn transactions(of: &Dispute, payment: &Payment) -> Vec<Value> {
    let lines = of.transactions.iter().map(|line| {
        let category = if line.amount < 0 { "dispute" } else { "dispute_reversal" };
        balance_transaction(&BalanceTransaction {
            id: &line.id,
            source: &of.id,
            created: line.created,
            currency: line.currency,
            amount: line.amount,
            fee: line.fee,
            exchange_rate: exchange_rate(payment.terms.currency, line.currency),
            kind: ("adjustment", category),
        })
    });
    lines.collect()
}

fn evidence(of: &Dispute, payment: &Payment) -> Value {
    let buyer = &payment.terms.buyer;
    json!({
        "access_activity_log": null,
        "billing_address": null,
        "customer_communication": null,
        "customer_email_address": buyer.email,
        "customer_name": buyer.name,
        "customer_purchase_ip": null,
        "product_description": (of.submissions > 0).then_some(&payment.terms.description),
        "receipt": null,
        "uncategorized_file": null,
        "uncategorized_text": null,
    })
}
