//! Whose mark is in a leak, and how sure that is.
//!
//! The residual of every picture is added up for each cell and slot: the evidence `a`. For each view
//! that might be the source, its signs `c` are compared with it:
//!
//! `z = Σ c·a / √Σ a²`
//!
//! For a view that had no part in the leak the signs are fair coins that have nothing to do with the
//! evidence, *whatever* the evidence is: made of a wrong registration, of another film, of noise. Then
//! by Hoeffding's inequality `P(z > x) ≤ exp(−x²/2)`, with no model of the noise at all. A trace looks
//! at many views through some registrations, and each look is one more chance to be wrong: by Bonferroni
//! the p-value of the trace is at most that times their number. `docs/forensic-mark.md` derives it.
//!
//! INVARIANT: the evidence is complete before the first key is looked at.

use std::{collections::BTreeMap, time::Duration};

use temoin_proto::mark::Signs;

use super::{
    grid::{Grid, blend_at},
    residual::CellResidual,
};

/// A cell and slot counts at most this many times the median one: what one of them says alone must
/// not decide.
const MOST: f32 = 4.0;
/// Whole slots that are added up at most: more than an hour of video.
const MOST_SLOTS: usize = 10_000;

/// What the pictures of a leak say of each cell and slot, before any key is looked at.
#[derive(Debug, Clone)]
pub struct Evidence {
    grid: Grid,
    slots: BTreeMap<u32, Slot>,
}

#[derive(Debug, Clone)]
struct Slot {
    sums: Vec<f32>,
    weights: Vec<f32>,
}

impl Evidence {
    /// None yet.
    pub const fn new(grid: Grid) -> Self {
        Self { grid, slots: BTreeMap::new() }
    }

    /// Adds a picture that shows the original at this time. A residual of another grid is left out.
    pub fn add(&mut self, at: Duration, residual: &CellResidual) {
        let cells = self.grid.cells();
        if residual.values.len() != cells || residual.weights.len() != cells {
            return;
        }
        let blend = blend_at(at);
        for (slot, part) in [(blend.from, 1.0 - blend.part), (blend.to, blend.part)] {
            if part <= 0.0 || (self.slots.len() >= MOST_SLOTS && !self.slots.contains_key(&slot)) {
                continue;
            }
            let slot = self
                .slots
                .entry(slot)
                .or_insert_with(|| Slot { sums: vec![0.0; cells], weights: vec![0.0; cells] });
            let cells = slot.sums.iter_mut().zip(&mut slot.weights);
            for ((sum, weight), (value, counts)) in
                cells.zip(residual.values.iter().zip(&residual.weights))
            {
                *sum += part * counts * value;
                *weight += part * counts;
            }
        }
    }

    /// What is compared with the signs: what does not change over the whole leak is no mark and taken
    /// off, and no cell counts much more than the others.
    pub fn finish(mut self) -> Finished {
        self.take_off_what_stays();
        let mut sizes: Vec<f32> = self
            .slots
            .values()
            .flat_map(|slot| slot.sums.iter().map(|sum| sum.abs()))
            .filter(|size| *size > 0.0)
            .collect();
        if !sizes.is_empty() {
            let middle = sizes.len() / 2;
            let (_, median, _) = sizes.select_nth_unstable_by(middle, f32::total_cmp);
            let most = MOST * *median;
            for slot in self.slots.values_mut() {
                for sum in &mut slot.sums {
                    *sum = sum.clamp(-most, most);
                }
            }
        }
        let squares: f64 =
            self.slots.values().flat_map(|slot| &slot.sums).map(|a| f64::from(*a).powi(2)).sum();
        let slots = self.slots.into_iter().map(|(slot, values)| (slot, values.sums)).collect();
        Finished { grid: self.grid, slots, length: squares.sqrt() }
    }

    /// Takes the mean over time off each cell: a caption, a reflection or a scratch stays where it is,
    /// and signs do not. With few slots the mean would be mostly mark, and less of it is taken.
    fn take_off_what_stays(&mut self) {
        let mut means = vec![(0.0_f32, 0.0_f32); self.grid.cells()];
        for slot in self.slots.values() {
            for (mean, (sum, weight)) in means.iter_mut().zip(slot.sums.iter().zip(&slot.weights)) {
                mean.0 += sum;
                mean.1 += weight;
            }
        }
        for slot in self.slots.values_mut() {
            for ((sum, weight), (all, weights)) in
                slot.sums.iter_mut().zip(&slot.weights).zip(&means)
            {
                if *weights > 0.0 {
                    *sum -= weight * all / weights;
                }
            }
        }
    }
}

/// Evidence that no key can change any more.
#[derive(Debug, Clone)]
pub struct Finished {
    grid: Grid,
    slots: Vec<(u32, Vec<f32>)>,
    length: f64,
}

impl Finished {
    /// How many signs it can be compared with.
    pub fn len(&self) -> usize {
        self.slots.iter().flat_map(|(_, sums)| sums).filter(|a| **a != 0.0).count()
    }

    /// Whether there is nothing to compare.
    pub fn is_empty(&self) -> bool {
        self.length <= 0.0
    }

    /// How well it agrees with these signs, in standard deviations of what signs that have nothing to
    /// do with it would reach; 0 where it is empty.
    pub fn z(&self, signs: &Signs) -> f64 {
        if self.is_empty() {
            return 0.0;
        }
        let mut bits = vec![0; self.grid.cells().div_ceil(8)];
        let mut sum = 0.0;
        for (slot, values) in &self.slots {
            signs.fill(*slot, &mut bits);
            sum += f64::from(agreement(&bits, values));
        }
        sum / self.length
    }
}

/// `Σ c·a` of one slot, the signs as bits.
fn agreement(bits: &[u8], values: &[f32]) -> f32 {
    let mut sum = 0.0;
    for (byte, values) in bits.iter().zip(values.chunks(8)) {
        for (n, value) in (0_u32..).zip(values) {
            // The sign as the highest bit of a number, which is where a number has its own.
            let darker = u32::from(!byte).wrapping_shl(24 + n) & 0x8000_0000;
            sum += f32::from_bits(value.to_bits() ^ darker);
        }
    }
    sum
}

/// An upper bound of the probability that the best of `looks` innocent views reaches this `z`: by
/// Hoeffding and Bonferroni, for any evidence whatever. At most 1.
pub fn p_value(z: f64, looks: u64) -> f64 {
    if z <= 0.0 {
        return 1.0;
    }
    (ln_count(looks) - z * z / 2.0).exp().min(1.0)
}

/// The `z` that a view has to reach for [`p_value`] to be at most `bound`.
pub fn threshold(bound: f64, looks: u64) -> f64 {
    (2.0 * (ln_count(looks) - bound.ln())).max(0.0).sqrt()
}

#[expect(clippy::cast_precision_loss, reason = "the logarithm of a count")]
fn ln_count(n: u64) -> f64 {
    (n.max(1) as f64).ln()
}

#[cfg(test)]
#[path = "detect_tests.rs"]
mod tests;
