//! The account's balance: one entry for each movement of money, as Stripe's balance transactions.
//!
//! An entry is written when the simulator decides it, which may be before the time of its `created`.

use crate::money::Currency;
use crate::world::DAY;

/// A balance transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) source: Option<String>,
    pub(crate) created: i64,
    /// From then on its money can be paid out.
    pub(crate) available_on: i64,
    /// The currency that the customer paid in, and that of the balance.
    pub(crate) currencies: (Currency, Currency),
    /// Minor units of the balance's currency.
    pub(crate) amount: i64,
    /// Minor units of the balance's currency.
    pub(crate) fee: i64,
    /// Its `type` and its `reporting_category`.
    pub(crate) kind: (&'static str, &'static str),
    pub(crate) description: Option<String>,
}

impl Entry {
    /// An entry without a fee whose money is available at a midnight, two to three days later.
    pub(crate) fn new(
        id: &str,
        created: i64,
        currencies: (Currency, Currency),
        amount: i64,
        kind: (&'static str, &'static str),
    ) -> Self {
        Self {
            id: id.to_owned(),
            source: None,
            created,
            available_on: (created + 3 * DAY) / DAY * DAY,
            currencies,
            amount,
            fee: 0,
            kind,
            description: None,
        }
    }

    /// What it adds to the balance, in minor units.
    pub(crate) fn net(&self) -> i64 {
        self.amount - self.fee
    }
}

/// The entries that were not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Vec<Entry>);

impl Ledger {
    pub(crate) fn add(&mut self, entry: Entry) {
        self.0.push(entry);
    }

    /// The entries since the last call.
    pub(crate) fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.0)
    }
}

/// Stripe's fee for a payment of that amount, in minor units of the balance's currency.
pub(crate) fn charge_fee(amount: i64) -> i64 {
    amount * 29 / 1000 + 25
}
