//! The original, prepared once: small normalised pictures of every frame, and the features of some.

use std::time::Duration;

use super::{
    Gray, RegisterError, check,
    features::{Features, Finder},
    plane::{Level, normalised, scaled},
    real,
};

/// The smallest pictures have at least this shorter side, pixels.
const SMALLEST: u32 = 40;
/// The search over time and the following of the screen use pictures of at least this shorter side.
const SEARCH: u32 = 80;
/// Features are found in one frame in so many seconds.
const KEY_EVERY_S: f64 = 0.5;
/// But in at most so many.
const MOST_KEYS: usize = 48;
/// Features of a frame.
const FEATURES: i32 = 500;
/// Within this part of the distance between two frames a time means the nearer one.
const SAME_FRAME: f64 = 0.25;
/// Differences of bytes beyond this count as this: a deviation and a half.
const MOST_DIFFERENCE: u8 = 48;

/// The original at the working size.
pub struct Reference {
    pub(super) frames: Vec<Gray>,
    pub(super) times_s: Vec<f64>,
    pub(super) size: (u32, u32),
    pub(super) levels: Vec<Level>,
    /// Which of the levels the search uses.
    pub(super) search: usize,
    smalls: Vec<Vec<u8>>,
    pub(super) keys: Vec<(usize, Features)>,
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reference({} frames of {:?})", self.frames.len(), self.size)
    }
}

impl Reference {
    /// Prepares the frames of the original, in the order they are shown.
    ///
    /// # Errors
    /// [`RegisterError`] for no frames, too many, or such as cannot be worked on.
    pub fn new(frames: Vec<Gray>) -> Result<Self, RegisterError> {
        let size = check(&frames)?;
        let levels = Level::halves(size, SMALLEST);
        let large = |level: &Level| level.size.0.min(level.size.1) >= SEARCH;
        let search = levels.iter().rposition(large).unwrap_or(0);
        let level = levels.get(search).copied().ok_or(RegisterError::NoFrames)?;
        let mut smalls = Vec::with_capacity(frames.len());
        for frame in &frames {
            smalls.push(normalised(&scaled(frame, level.size)?, None)?.bytes());
        }
        let times_s: Vec<f64> = frames.iter().map(|frame| frame.at.as_secs_f64()).collect();
        let length = times_s.last().zip(times_s.first()).map_or(0.0, |(last, first)| last - first);
        let every = KEY_EVERY_S.max(length / real(MOST_KEYS));
        let mut finder = Finder::new(FEATURES)?;
        let (mut keys, mut next) = (Vec::new(), f64::NEG_INFINITY);
        for ((n, frame), at) in frames.iter().enumerate().zip(&times_s) {
            if *at >= next && keys.len() <= MOST_KEYS {
                keys.push((n, finder.find(frame)?));
                next = at + every;
            }
        }
        Ok(Self { frames, times_s, size, levels, search, smalls, keys })
    }

    /// Width and height of the working size, pixels.
    pub const fn size(&self) -> (u32, u32) {
        self.size
    }

    /// What the original shows at this time, row by row, of the working size; between two frames
    /// both of them, as a camera sees a screen that changes.
    pub fn at(&self, at: Duration) -> Vec<f32> {
        let at_s = at.as_secs_f64();
        let after = self.times_s.partition_point(|time| *time <= at_s);
        let before = after.saturating_sub(1);
        let luma = |n: usize| self.frames.get(n).map_or(&[][..], |frame| &frame.luma);
        let first = luma(before);
        let plain = |of: &[u8]| of.iter().map(|v| f32::from(*v)).collect();
        let (Some(t0), Some(t1)) = (self.times_s.get(before), self.times_s.get(after)) else {
            return plain(first);
        };
        let part = ((at_s - t0) / (t1 - t0).max(1e-9)).clamp(0.0, 1.0);
        if part < SAME_FRAME {
            return plain(first);
        }
        let second = luma(after);
        if part > 1.0 - SAME_FRAME {
            return plain(second);
        }
        let part = super::narrow(part);
        let mix = |(a, b): (&u8, &u8)| f32::from(*a) * (1.0 - part) + f32::from(*b) * part;
        first.iter().zip(second).map(mix).collect()
    }

    /// The frame nearest to a time, seconds.
    pub(super) fn nearest(&self, at_s: f64) -> usize {
        let after = self.times_s.partition_point(|time| *time <= at_s);
        let before = after.saturating_sub(1);
        let apart =
            |n: usize| self.times_s.get(n).map_or(f64::INFINITY, |time| (time - at_s).abs());
        if apart(after) < apart(before) { after } else { before }
    }

    /// When a frame is shown, seconds.
    pub(super) fn time_s(&self, frame: usize) -> f64 {
        self.times_s.get(frame).copied().unwrap_or(0.0)
    }

    /// The last frame's time, seconds.
    pub(super) fn end_s(&self) -> f64 {
        self.times_s.last().copied().unwrap_or(0.0)
    }

    /// How badly small bytes of a leak fit each frame of these.
    pub(super) fn costs(&self, leak: &[u8], range: std::ops::Range<usize>) -> Vec<f32> {
        self.smalls.get(range).unwrap_or_default().iter().map(|small| cost(leak, small)).collect()
    }

    /// As [`Self::costs`] of all; the best frame is returned as well.
    pub(super) fn best(&self, leak: &[u8]) -> (usize, Vec<f32>) {
        let costs = self.costs(leak, 0..self.smalls.len());
        let best = costs.iter().enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b));
        (best.map_or(0, |(n, _)| n), costs)
    }
}

/// The mean difference where the leak is known.
fn cost(leak: &[u8], small: &[u8]) -> f32 {
    // At most 255 for each of some 16 million pixels: it never wraps.
    let (mut sum, mut count) = (0_u32, 0_u32);
    for (a, b) in leak.iter().zip(small) {
        let known = u32::from(*a != 0);
        let difference = u32::from(a.abs_diff(*b).min(MOST_DIFFERENCE));
        sum = sum.wrapping_add(known.wrapping_mul(difference));
        count = count.wrapping_add(known);
    }
    #[expect(clippy::cast_precision_loss, reason = "sums over a small picture")]
    let mean = sum as f32 / count.max(1) as f32;
    mean
}
