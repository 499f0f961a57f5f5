//! API versions: an endpoint's version decides the shapes of its events, and some of the events themselves.

/// The API version of the shop's webhook endpoint and of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiVersion {
    /// `2020-03-02`: charges list their refunds, payment intents their charges.
    Y2020,
    /// `2024-06-20`: the last shapes before Basil, more or less.
    Y2024,
    /// `2025-03-31.basil`: no Refund objects for uncaptured money; no link from a charge to its invoice.
    Basil,
    /// `2025-09-30.clover`.
    Clover,
    /// `2026-10-28.endive`: the version of an [`Operation`](crate::Operation).
    Endive,
}

impl ApiVersion {
    /// Those of a simulation's upgrades, oldest first.
    pub const ALL: [Self; 4] = [Self::Y2020, Self::Y2024, Self::Basil, Self::Clover];

    /// Its name, as in an event's `api_version`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Y2020 => "2020-03-02",
            Self::Y2024 => "2024-06-20",
            Self::Basil => "2025-03-31.basil",
            Self::Clover => "2025-09-30.clover",
            Self::Endive => "2026-10-28.endive",
        }
    }

    /// Whether it is older than `2025-03-31.basil`.
    pub fn is_before_basil(self) -> bool {
        self < Self::Basil
    }

    /// Whether objects list their children, as they did before `2022-11-15`.
    pub(crate) fn lists_children(self) -> bool {
        self == Self::Y2020
    }
}

/// The upgrades of the endpoint in the simulated time: from the oldest version to the newest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upgrades {
    /// The only version, if there are no upgrades.
    pinned: Option<ApiVersion>,
    start: i64,
    basil: i64,
    end: i64,
}

impl Upgrades {
    /// Basil is adopted after that part of the time.
    pub(crate) fn new(start: i64, end: i64, old_percent: u32) -> Self {
        let basil = start + (end - start) * i64::from(old_percent.min(100)) / 100;
        Self { pinned: None, start, basil, end }
    }

    /// The endpoint always has this version.
    pub(crate) fn none(version: ApiVersion) -> Self {
        Self { pinned: Some(version), start: 0, basil: 0, end: 0 }
    }

    pub(crate) fn at(&self, time: i64) -> ApiVersion {
        if let Some(version) = self.pinned {
            version
        } else if time < self.basil {
            if time < i64::midpoint(self.start, self.basil) { ApiVersion::Y2020 } else { ApiVersion::Y2024 }
        } else if time < i64::midpoint(self.basil, self.end) {
            ApiVersion::Basil
        } else {
            ApiVersion::Clover
        }
    }
}
