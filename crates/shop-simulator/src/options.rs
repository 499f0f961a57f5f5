//! What can be chosen about a simulation.

/// The size and the kind of a simulation. All sizes may be 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many one-off sales are begun. Some are declined, expire or are abandoned.
    pub sales: u32,
    /// How many customers subscribe. Each is billed once a month until the end or a cancellation.
    pub subscriptions: u32,
    /// How many months are simulated, from `start_year` on.
    pub months: u32,
    /// The year in whose January, at midnight UTC, the simulation starts.
    pub start_year: i32,
    /// For how much of the time, in percent from the start, the endpoint has an API version before
    /// `2025-03-31.basil`. The shop does the same with any: the sums in the books stay.
    pub old_api_percent: u32,
    /// Whether events are of live mode.
    pub livemode: bool,
    /// Which way Stripe behaves where its documents do not say.
    pub undocumented: Undocumented,
}

impl Default for Options {
    /// A year of 300 sales and 14 subscriptions, half of it before Basil, in live mode.
    fn default() -> Self {
        Self {
            sales: 300,
            subscriptions: 14,
            months: 12,
            start_year: 2025,
            old_api_percent: 50,
            livemode: true,
            undocumented: Undocumented::default(),
        }
    }
}

/// Behaviour of Stripe that its documents leave open, or on which sources disagree. The sums in the books do
/// not depend on any of it. All are off by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct Undocumented {
    /// The Refund that versions before Basil create for the uncaptured rest of a partial capture has a
    /// balance transaction. The changelog of Basil speaks of "two balance transactions" of such a capture.
    pub releases_have_balance_transaction: bool,
    /// From Basil on a charge's `amount_refunded` still includes uncaptured money, and a canceled
    /// authorisation is still `refunded`. The changelog of Basil says that they are no longer updated.
    pub releases_count_as_refunded: bool,
    /// The last of several captures arrives as `charge.captured` with the whole `amount_captured`, instead of
    /// as another `charge.updated`. Its `previous_attributes` hold the amount captured before.
    pub last_capture_is_captured: bool,
    /// A bank payment has a balance transaction while it is pending, and a `failure_balance_transaction` if
    /// it then fails, although it never succeeded. Stripe announced this for all debits in 2024 ("failed
    /// charges may have 2 balance transactions").
    pub pending_debits_have_balance_transaction: bool,
}
