//! Seeded numbers, the same on every machine: SplitMix64 (Steele, Lea, Flood 2014).
//!
//! INVARIANT: each part of an attack draws from a stream of its own, named by that part, so that a
//! change of one part leaves the draws of the others as they were.

use std::f32::consts::TAU;

/// Entries of [`Noise`]: a power of two.
const NOISE: usize = 1 << 14;

/// A stream of numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of one part of an attack.
    pub fn of(seed: u64, part: &str) -> Self {
        let mixed = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let mut random = Self(part.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, mixed));
        random.0 = random.bits();
        random
    }

    /// 64 fair bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Even over 0 to 1, without 1.
    pub fn part(&mut self) -> f32 {
        let [a, b, c, ..] = self.bits().to_le_bytes();
        u32::from_le_bytes([a, b, c, 0]) as f32 / 16_777_216.0
    }

    /// Even over a range.
    pub fn within(&mut self, [from, to]: [f32; 2]) -> f32 {
        from + (to - from) * self.part()
    }

    /// Even over a range, of either sign.
    pub fn signed(&mut self, range: [f32; 2]) -> f32 {
        let size = self.within(range);
        if self.chance(0.5) { size } else { -size }
    }

    /// Whether something happens that does so with this probability.
    pub fn chance(&mut self, probability: f32) -> bool {
        self.part() < probability
    }

    /// A number below `of`; 0 where `of` is 0.
    pub fn below(&mut self, of: usize) -> usize {
        let of = u64::try_from(of).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.bits() % of).unwrap_or(0)
    }

    /// Normal with deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.part()).ln()).sqrt();
        radius * (TAU * self.part()).cos()
    }
}

/// Normal numbers of deviation 1 by the million: a table, entered at a place of chance for each row.
pub(super) struct Noise {
    table: Vec<f32>,
    random: Random,
}

impl Noise {
    pub(super) fn new(mut random: Random) -> Self {
        Self { table: (0..NOISE).map(|_| random.normal()).collect(), random }
    }

    /// A place of chance in the table.
    pub(super) fn entry(&mut self) -> usize {
        self.random.below(NOISE)
    }

    /// The number at a place; the table repeats.
    pub(super) fn at(&self, n: usize) -> f32 {
        self.table.get(n & (NOISE - 1)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_told_apart_by_seed_and_part() {
        let first = |seed, part| Random::of(seed, part).bits();
        assert_eq!(first(1, "a"), first(1, "a"));
        assert_ne!(first(1, "a"), first(2, "a"));
        assert_ne!(first(1, "a"), first(1, "b"));
    }

    #[test]
    fn numbers_lie_where_they_should() {
        let mut random = Random::of(7, "test");
        let parts: Vec<f32> = (0..4000).map(|_| random.part()).collect();
        assert!(parts.iter().all(|p| (0.0..1.0).contains(p)));
        let mean = |of: &[f32]| of.iter().sum::<f32>() / of.len() as f32;
        // 0.29 / sqrt(4000) is 0.0046; five of them.
        assert!((mean(&parts) - 0.5).abs() < 0.023);
        let normal: Vec<f32> = {
            let noise = Noise::new(random);
            (0..NOISE).map(|n| noise.at(n)).collect()
        };
        let squares: Vec<f32> = normal.iter().map(|n| n * n).collect();
        assert!(mean(&normal).abs() < 0.04 && (mean(&squares) - 1.0).abs() < 0.06);
    }
}
