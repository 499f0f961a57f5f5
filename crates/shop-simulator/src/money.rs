//! Currencies, and how the simulated account settles them.

/// A currency the shop sells in: two with its own bank account, one more with two decimals, one without
/// decimals and one with three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Currency {
    /// Euro; settled in euro.
    Eur,
    /// Pound sterling; settled in euro.
    Gbp,
    /// Yen: no decimals; settled in euro.
    Jpy,
    /// Kuwaiti dinar: three decimals, of which the last is always 0; settled in euro.
    Kwd,
    /// US dollar; settled in US dollars.
    Usd,
}

impl Currency {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Eur, Self::Gbp, Self::Jpy, Self::Kwd, Self::Usd];

    /// The code as Stripe writes it, such as `eur`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Eur => "eur",
            Self::Gbp => "gbp",
            Self::Jpy => "jpy",
            Self::Kwd => "kwd",
            Self::Usd => "usd",
        }
    }

    /// How many minor units make one major unit.
    pub fn divisor(self) -> i64 {
        match self {
            Self::Jpy => 1,
            Self::Kwd => 1000,
            Self::Eur | Self::Gbp | Self::Usd => 100,
        }
    }

    /// A price of about that many euros, in minor units of this currency.
    pub(crate) fn price(self, euros: i64, cents: i64) -> i64 {
        match self {
            Self::Eur | Self::Gbp | Self::Usd => euros * 100 + cents,
            Self::Jpy => euros * 150 + cents,
            Self::Kwd => (euros * 33 + cents) * 10,
        }
    }

    /// That part of an amount, rounded down to what can be charged in this currency.
    pub(crate) fn part(self, minor: i64, percent: i64) -> i64 {
        // Stripe takes amounts in three decimals only if the last is 0.
        let step = if self == Self::Kwd { 10 } else { 1 };
        minor * percent / 100 / step * step
    }

    /// The currency in which the account receives payments in this one.
    pub(crate) fn settles_in(self) -> Self {
        if self == Self::Usd { Self::Usd } else { Self::Eur }
    }

    /// A currency of the account's balance other than this one.
    pub(crate) fn foreign(self) -> Self {
        if self == Self::Eur { Self::Usd } else { Self::Eur }
    }

    /// An amount of this currency in minor units of the other, at a fixed rate.
    pub(crate) fn convert(self, minor: i64, into: Self) -> i64 {
        if self == into { minor } else { minor * self.cents_per_thousand() / into.cents_per_thousand() }
    }

    /// Euro cents for 1000 minor units.
    fn cents_per_thousand(self) -> i64 {
        match self {
            Self::Eur => 1000,
            Self::Gbp => 1170,
            Self::Jpy => 625,
            Self::Kwd => 300,
            Self::Usd => 920,
        }
    }
}
