//! Decisions from a seed.

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

pub(crate) struct Random(StdRng);

impl Random {
    pub(crate) fn of(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A number in that range, both ends included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0.random_range(low..=high.max(low))
    }

    /// True in that many cases of a hundred.
    pub(crate) fn percent(&mut self, chance: i64) -> bool {
        self.between(0, 99) < chance
    }

    /// One of the choices, all of them equally likely.
    #[expect(clippy::indexing_slicing, reason = "the index is below the length")]
    pub(crate) fn pick<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[self.0.random_range(0..N)]
    }

    /// That many letters and digits.
    pub(crate) fn letters(&mut self, count: usize) -> String {
        const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        // One draw is enough for ten letters.
        const LETTERS_PER_DRAW: usize = 10;
        let mut draw = 0;
        let letters = (0..count).filter_map(|position| {
            if position % LETTERS_PER_DRAW == 0 {
                draw = self.0.next_u64();
            }
            let letter = usize::try_from(draw % 62).ok().and_then(|index| ALPHABET.get(index));
            draw /= 62;
            letter.copied().map(char::from)
        });
        letters.collect()
    }

    fn shuffle<T>(&mut self, cards: &mut [T]) {
        for last in (1..cards.len()).rev() {
            cards.swap(last, self.0.random_range(0..=last));
        }
    }
}

/// Cards dealt in a random order until all are dealt, then again: every case comes up equally often in any
/// longer stretch of time.
pub(crate) struct Deck<T> {
    common: T,
    cards: Vec<T>,
    left: Vec<T>,
}

impl<T: Copy> Deck<T> {
    /// So many of the common card, and of each other card as many as given.
    pub(crate) fn new(common: (T, usize), others: &[(T, usize)]) -> Self {
        let all = std::iter::once(&common).chain(others);
        let cards = all.flat_map(|(card, count)| std::iter::repeat_n(*card, *count)).collect();
        Self { common: common.0, cards, left: Vec::new() }
    }

    pub(crate) fn draw(&mut self, random: &mut Random) -> T {
        if self.left.is_empty() {
            self.left.clone_from(&self.cards);
            random.shuffle(&mut self.left);
        }
        self.left.pop().unwrap_or(self.common)
    }
}
