//! The monitor: when it shows which picture, its stripes of colour, and its backlight.
//!
//! Moiré is not painted on: the stripes are a known periodic function, a sensor's pixel takes its mean
//! over the spot of its lens and its own area (so each harmonic is weakened by the transfer function at
//! its frequency), and what is left is sampled at the pixels' places. Aliasing does the rest.

use std::f32::consts::{PI, TAU};

use super::{
    clip::Clip,
    light::{Rgb, Table, floor},
    random::Random,
};

/// Refreshes a second.
const REFRESH_HZ: f64 = 60.0;
/// Part of a refresh in which the lines are written, top to bottom.
const WRITTEN: f64 = 0.95;
/// What a cell of liquid crystal takes to turn (grey to grey of office monitors, 4 to 8 ms).
const RESPONSE_S: f64 = 0.006;
/// Width of a stripe of one colour, and height of a cell's clear part, parts of a monitor pixel. The
/// rest is black: wires and the black matrix.
const STRIPE: f32 = 0.29;
const CLEAR: f32 = 0.88;
/// Side of the light-sensitive spot of one colour, parts of a pixel of the video: of Bayer's four
/// photosites two are green and one each red and blue.
const SPOT: f32 = 0.6;
/// Frequencies above this are lost in any lens, cycles a pixel.
const MOST_CYCLES: f32 = 4.0;

/// When each picture of a clip stands on the monitor.
pub(super) struct Refreshes {
    /// From when, seconds.
    shown_s: Vec<f64>,
}

impl Refreshes {
    /// A player shows a picture at the first refresh after its time.
    pub(super) fn of(clip: &Clip, random: &mut Random) -> Self {
        let phase = f64::from(random.part()) / REFRESH_HZ;
        let at = |at_s: f64| ((at_s - phase) * REFRESH_HZ).ceil() / REFRESH_HZ + phase;
        Self { shown_s: clip.pictures.iter().map(|(t, _)| at(t.as_secs_f64())).collect() }
    }

    /// Which pictures a line at `v` (0 top, 1 bottom) gives in an exposure, and what part of the light
    /// each gives.
    pub(super) fn seen(&self, from_s: f64, length_s: f64, v: f64, out: &mut Vec<(usize, f32)>) {
        out.clear();
        // A cell that turns slowly is as if it were looked at for longer, a little earlier.
        let from_s = from_s - RESPONSE_S - v.clamp(0.0, 1.0) * WRITTEN / REFRESH_HZ;
        let to_s = from_s + length_s.max(1e-6) + RESPONSE_S;
        let first = self.shown_s.partition_point(|at| *at <= from_s).saturating_sub(1);
        for n in first..self.shown_s.len() {
            let begin =
                if n == first { from_s } else { self.shown_s.get(n).copied().unwrap_or(to_s) };
            let end = self.shown_s.get(n + 1).copied().unwrap_or(f64::MAX);
            if begin >= to_s {
                break;
            }
            let part = (end.min(to_s) - begin.max(from_s)) / (to_s - from_s);
            if part > 1e-4 {
                out.push((n, super::light::narrow(part)));
            }
        }
    }
}

/// Mean of a cosine over a width, both in cycles.
fn sinc(cycles: f32) -> f32 {
    if cycles.abs() < 1e-4 { 1.0 } else { (PI * cycles).sin() / (PI * cycles) }
}

/// The stripes as a phone's pixel takes them.
pub(super) struct Stripes {
    cosine: Table,
    /// What lens and pixel leave of a frequency of 0 to [`MOST_CYCLES`].
    left: Table,
    strength: f32,
}

impl Stripes {
    /// With a lens of this blur (deviation in the phone's pixels). `strength` is 1 on a monitor.
    pub(super) fn new(blur_px: f32, strength: f32) -> Self {
        let left = move |part: f32| {
            let f = part * MOST_CYCLES;
            (-2.0 * (PI * blur_px * f).powi(2)).exp() * sinc(SPOT * f).abs()
        };
        Self { cosine: Table::of(|turn| (TAU * turn).cos()), left: Table::of(left), strength }
    }

    fn left(&self, cycles_per_px: f32) -> f32 {
        if cycles_per_px > MOST_CYCLES { 0.0 } else { self.left.at(cycles_per_px / MOST_CYCLES) }
    }

    fn wave(&self, turns: f32) -> f32 {
        // Places begin a little before 0: whole turns are free.
        let turns = turns + 2.0;
        self.cosine.at(turns - floor(turns) as f32)
    }

    /// How much of each harmonic is seen where `pitch` are the monitor pixels that one pixel of the phone
    /// covers, across and down.
    pub(super) fn seen(&self, pitch: (f32, f32)) -> Seen {
        let strength = 2.0 * self.strength;
        Seen {
            first: strength * sinc(STRIPE) * self.left(pitch.0),
            second: strength * sinc(2.0 * STRIPE) * self.left(2.0 * pitch.0),
            down: strength * sinc(CLEAR) * self.left(pitch.1),
        }
    }

    /// Factors of red, green and blue at a place in monitor pixels.
    pub(super) fn at(&self, x: f32, y: f32, seen: Seen) -> Rgb {
        if seen.first + seen.down < 4e-3 {
            return [1.0; 3];
        }
        let rows = 1.0 + seen.down * self.wave(y - 0.5);
        [1.0_f32 / 6.0, 0.5, 5.0 / 6.0].map(|middle| {
            let one = seen.first * self.wave(x - middle);
            let two =
                if seen.second < 2e-3 { 0.0 } else { seen.second * self.wave(2.0 * (x - middle)) };
            (rows * (1.0 + one + two)).max(0.0)
        })
    }
}

/// What a sensor sees of the stripes: twice the amplitude of the harmonics.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    first: f32,
    second: f32,
    down: f32,
}

/// A light that goes on and off: the backlight's dimming, or a lamp on the mains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flicker {
    /// Times a second: 100 or 120 for lamps, 180 to 480 for dimmed backlights.
    pub hertz: f32,
    /// Depth of its first harmonic, 0 to 1.
    pub depth: f32,
}

impl Flicker {
    /// What an exposure takes of it.
    pub(super) fn over(self, from_s: f64, length_s: f64, phase: f32) -> f32 {
        let middle = (from_s + length_s / 2.0) * f64::from(self.hertz);
        let turns = super::light::narrow(middle - middle.floor()) + phase;
        let kept = sinc(super::light::narrow(length_s) * self.hertz);
        1.0 + self.depth * kept * (TAU * turns).cos()
    }
}

/// Spots of light on the monitor's glass, and what else makes its black less black, at the phone's
/// pixels.
pub(super) struct Glare {
    across: usize,
    values: Vec<f32>,
    cell_px: usize,
}

impl Glare {
    /// `strength` is the brightest spot as a part of the monitor's white.
    pub(super) fn new((width, height): (usize, usize), strength: f32, random: &mut Random) -> Self {
        let cell_px = (height / 90).max(1);
        let (across, down) = (width / cell_px + 2, height / cell_px + 2);
        let mut values = vec![0.0; across * down];
        for _ in 0..3 {
            let (x, y) = (random.part() * across as f32, random.part() * down as f32);
            // A lamp's reflection is a few per cent of the picture, a window's a third.
            let size = down as f32 * random.within([0.04, 0.3]);
            let peak = strength * random.within([0.4, 1.0]);
            let wide = random.within([0.6, 2.5]);
            for (row, values) in values.chunks_exact_mut(across).enumerate() {
                for (column, value) in values.iter_mut().enumerate() {
                    let (dx, dy) = ((column as f32 - x) / wide, row as f32 - y);
                    let far = (dx * dx + dy * dy) / (size * size);
                    // Flat in the middle and soft at the edge, as a lamp's shade is.
                    *value += peak / (1.0 + far * far);
                }
            }
        }
        Self { across, values, cell_px }
    }

    pub(super) fn at(&self, x: usize, y: usize) -> f32 {
        let (fx, fy) = (x as f32 / self.cell_px as f32, y as f32 / self.cell_px as f32);
        let (column, row) = (floor(fx), floor(fy));
        let n = row * self.across + column;
        let pair = |n: usize| {
            let two = self.values.get(n..n + 2).and_then(|two| two.first_chunk::<2>());
            two.copied().unwrap_or_default()
        };
        let ([a, b], [c, d]) = (pair(n), pair(n + self.across));
        let (right, low) = (fx - column as f32, fy - row as f32);
        let upper = a + (b - a) * right;
        upper + (c + (d - c) * right - upper) * low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::test_clips::street;

    #[test]
    fn an_exposure_sees_the_pictures_that_were_shown_in_it() {
        let clip = street(16, 16, 10, 10.0);
        let refreshes = Refreshes::of(&clip, &mut Random::of(1, "refresh"));
        let mut seen = Vec::new();
        for (from_s, length_s, count) in
            [(0.45, 0.01, 1), (0.45, 0.1, 2), (0.0, 0.9, 10), (5.0, 0.1, 1)]
        {
            refreshes.seen(from_s, length_s, 0.0, &mut seen);
            let sum: f32 = seen.iter().map(|(_, part)| part).sum();
            assert!(seen.len().abs_diff(count) <= 1 && (sum - 1.0).abs() < 0.01, "{seen:?}");
        }
        // The lower edge is written later.
        let (mut top, mut bottom) = (0.0, 0.0);
        for n in 0..100_u32 {
            for (v, sum) in [(0.0, &mut top), (1.0, &mut bottom)] {
                refreshes.seen(0.2 + f64::from(n) * 0.005, 0.004, v, &mut seen);
                *sum += seen.iter().map(|(n, part)| *n as f32 * part).sum::<f32>();
            }
        }
        assert!(top > bottom, "{top} {bottom}");
    }

    #[test]
    fn stripes_are_seen_from_near_and_not_from_afar() {
        let stripes = Stripes::new(0.3, 1.0);
        let contrast = |pitch: f32| {
            let values = (0..200_u32)
                .map(|n| stripes.at(n as f32 * pitch, 0.5, stripes.seen((pitch, pitch)))[0]);
            let (low, high) = values.fold((9.0_f32, 0.0_f32), |(l, h), v| (l.min(v), h.max(v)));
            high - low
        };
        assert!(contrast(0.3) > 1.0, "{}", contrast(0.3));
        assert!(contrast(1.1) > 0.02 && contrast(1.1) < 0.6, "{}", contrast(1.1));
        assert!(contrast(3.0) < 0.01, "{}", contrast(3.0));
    }

    #[test]
    fn an_exposure_of_whole_periods_sees_no_flicker() {
        let lamp = Flicker { hertz: 100.0, depth: 0.5 };
        for n in 0..20_u32 {
            let from_s = f64::from(n) * 0.0013;
            assert!((lamp.over(from_s, 0.02, 0.1) - 1.0).abs() < 1e-3);
        }
        let bands: Vec<f32> =
            (0..20_u32).map(|n| lamp.over(f64::from(n) * 0.0013, 0.004, 0.1)).collect();
        assert!(bands.iter().any(|b| *b > 1.2) && bands.iter().any(|b| *b < 0.8));
    }
}
