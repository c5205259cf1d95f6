//! The cells of a picture and the slots of its time: what embedder and detector agree on.
//!
//! INVARIANT: nothing here depends on the resolution. A picture that was scaled has the same cells
//! in the same places of it. To change a constant here is to be unable to find the marks of before.

use std::{f32::consts::PI, time::Duration};

use temoin_proto::mark::Signs;

/// Cells along the shorter side. Large enough that a phone which films a monitor resolves them and
/// 600 kbit/s keep them, small enough that ten seconds hold some 20,000 (own choice, measured in
/// `make eval`).
const ALONG_SHORT_SIDE: f64 = 24.0;
/// Most cells along the longer side; pictures that are longer than that have longer cells.
const MOST_ALONG: f64 = 96.0;
/// How long a cell keeps its sign. Own choice: longer is steadier on the eye, shorter gives more
/// signs.
pub const SLOT: Duration = Duration::from_millis(500);
/// How long the change from one slot to the next takes, half of it in each: no step is seen.
pub const FADE: Duration = Duration::from_millis(200);

/// How many cells a picture has, across and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    cols: usize,
    rows: usize,
}

impl Grid {
    /// The grid of pictures of this size, or of this shape.
    pub fn of(width: u32, height: u32) -> Self {
        let cell = f64::from(width.min(height).max(1)) / ALONG_SHORT_SIDE;
        let count = |side: u32| {
            let cells = (f64::from(side) / cell).clamp(1.0, MOST_ALONG);
            crate::rounding::index(crate::rounding::round_u32(cells))
        };
        Self { cols: count(width), rows: count(height) }
    }

    /// Cells across.
    pub const fn cols(self) -> usize {
        self.cols
    }

    /// Cells down.
    pub const fn rows(self) -> usize {
        self.rows
    }

    /// All cells.
    pub const fn cells(self) -> usize {
        self.cols * self.rows
    }

    /// The signs of a slot, row by row: 1 is brighter, -1 darker.
    pub fn signs(self, signs: &Signs, slot: u32) -> Vec<f32> {
        let mut bits = vec![0; self.cells().div_ceil(8)];
        signs.fill(slot, &mut bits);
        let bit = |byte: u8| (0..8).rev().map(move |n| byte >> n & 1 == 1);
        let all = bits.iter().flat_map(|byte| bit(*byte));
        all.take(self.cells()).map(|up| if up { 1.0 } else { -1.0 }).collect()
    }
}

/// What is shown at a moment: slot `from`, and slot `to` in its place by this part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blend {
    /// The slot that was.
    pub from: u32,
    /// The slot that comes; the same outside of a change.
    pub to: u32,
    /// How much of `to`, 0 to 1.
    pub part: f32,
}

/// What is shown at this time of the recording: a change takes the end of one slot and the begin of
/// the next, along a half wave of the cosine.
pub fn blend_at(at: Duration) -> Blend {
    let (slot_s, fade_s) = (SLOT.as_secs_f64(), FADE.as_secs_f64());
    let slot = u32::try_from(at.as_millis() / SLOT.as_millis()).unwrap_or(u32::MAX);
    let within_s = at.as_secs_f64() - f64::from(slot) * slot_s;
    let (from, to, part) = match slot.checked_sub(1) {
        Some(before) if within_s < fade_s / 2.0 => (before, slot, 0.5 + within_s / fade_s),
        Some(_) | None if within_s > slot_s - fade_s / 2.0 => {
            (slot, slot.saturating_add(1), 0.5 - (slot_s - within_s) / fade_s)
        }
        Some(_) | None => (slot, slot, 0.0),
    };
    Blend { from, to, part: 0.5 - 0.5 * (PI * narrow(part)).cos() }
}

/// A part of 1 in single precision.
#[expect(clippy::cast_possible_truncation, reason = "a part of 1 needs no more digits")]
const fn narrow(part: f64) -> f32 {
    part as f32
}

#[cfg(test)]
mod tests {
    use temoin_proto::{mark::MarkKey, sealed::TrackName};

    use super::*;

    #[test]
    fn the_grid_follows_the_shape_and_not_the_resolution() {
        for (width, height, cols, rows) in [
            (1280, 720, 43, 24),
            (1920, 1080, 43, 24),
            (640, 360, 43, 24),
            (640, 480, 32, 24),
            (720, 1280, 24, 43),
            (4096, 2, 96, 24),
            (2, 2, 24, 24),
        ] {
            let grid = Grid::of(width, height);
            assert_eq!((grid.cols(), grid.rows()), (cols, rows), "{width}x{height}");
        }
    }

    #[test]
    fn signs_are_the_bits_in_order() {
        let grid = Grid::of(1280, 720);
        let signs = MarkKey::from_bytes([3; 32]).signs(TrackName::Road);
        let mut bits = vec![0; 129];
        signs.fill(5, &mut bits);
        let expected: Vec<f32> = (0..grid.cells())
            .map(|n| if bits[n / 8] & (128 >> (n % 8)) != 0 { 1.0 } else { -1.0 })
            .collect();
        assert_eq!(grid.signs(&signs, 5), expected);
    }

    #[test]
    fn slots_change_smoothly_and_half_way_at_the_border() {
        let at = |ms: u64| blend_at(Duration::from_millis(ms));
        assert_eq!(at(0), Blend { from: 0, to: 0, part: 0.0 });
        assert_eq!(at(300), Blend { from: 0, to: 0, part: 0.0 });
        assert_eq!(at(700), Blend { from: 1, to: 1, part: 0.0 });
        let value = |ms: u64| {
            let blend = at(ms);
            // Slot 0 is dark and slot 1 bright.
            let of = |slot: u32| if slot == 0 { -1.0 } else { 1.0 };
            of(blend.from) * (1.0 - blend.part) + of(blend.to) * blend.part
        };
        assert!(value(500).abs() < 1e-6);
        let mut last: f32 = -1.0;
        for ms in 0..=990 {
            let now = value(ms);
            // A half wave of 200 ms rises by at most pi / 200 in a millisecond.
            assert!(now >= last - 1e-6 && now - last < 0.016, "{ms}: {last} to {now}");
            last = now;
        }
        assert_eq!(blend_at(Duration::MAX).from, u32::MAX);
    }
}
