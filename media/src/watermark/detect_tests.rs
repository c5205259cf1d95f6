//! A view is named by its mark through noise, another contrast and a sticker, an innocent one never;
//! and the scores of innocents are what the derivation says.

use temoin_proto::{mark::MarkKey, sealed::TrackName};

use super::*;
use crate::{
    frame::I420Picture,
    watermark::{
        Embedder,
        residual::{Luma, residual},
    },
};

const SIZE: (u32, u32) = (640, 360);

/// Pseudo-random numbers, uniform in -1 to 1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// A scene with slopes, edges and a box that moves.
fn scene(n: usize) -> I420Picture {
    let mut picture = I420Picture::black(SIZE.0, SIZE.1).unwrap();
    let width = SIZE.0 as usize;
    for (i, y) in picture.planes_mut().y.iter_mut().enumerate() {
        let (x, row) = (i % width, i / width);
        let moving = ((x + 4 * n) / 40).is_multiple_of(2) && row > 200;
        *y = u8::try_from(40 + x / 8 + row / 6 + if moving { 50 } else { 0 }).unwrap();
    }
    picture
}

fn luma(picture: &I420Picture) -> Vec<f32> {
    picture.view().luma().iter().map(|y| f32::from(*y)).collect()
}

/// What is done to a leak.
#[derive(Clone, Copy, Default)]
struct Harm {
    /// Grey levels of noise at most.
    noise: f32,
    /// Contrast is less, and falls off to the right.
    faded: bool,
    /// A part of the picture is covered.
    sticker: bool,
    /// The registration is wrong by so many pixels.
    shifted: usize,
}

/// Five seconds at 8 pictures a second.
fn evidence(keys: &[MarkKey], harm: Harm) -> Finished {
    let grid = Grid::of(SIZE.0, SIZE.1);
    let mut embedders: Vec<_> =
        keys.iter().map(|key| Embedder::new(key, TrackName::Road, SIZE.0, SIZE.1)).collect();
    let mut noise = Noise(5);
    let mut evidence = Evidence::new(grid);
    let width = SIZE.0 as usize;
    for n in 0..40 {
        let at = Duration::from_millis(n as u64 * 125);
        let original = scene(n);
        let copies: Vec<_> = embedders
            .iter_mut()
            .map(|embedder| {
                let mut copy = original.clone();
                embedder.mark(&mut copy, at);
                luma(&copy)
            })
            .collect();
        // The mean of all copies; of none, the original.
        let mut leak = luma(&original);
        if let Some(first) = copies.first() {
            leak = vec![0.0; first.len()];
            for copy in &copies {
                for (sum, y) in leak.iter_mut().zip(copy) {
                    *sum += y / copies.len() as f32;
                }
            }
        }
        for (i, y) in leak.iter_mut().enumerate() {
            let x = (i % width) as f32 / width as f32;
            *y = if harm.faded { 30.0 + *y * (0.9 - 0.4 * x) } else { *y };
            *y += harm.noise * noise.next();
            if harm.sticker && i % width > 400 && i / width < 150 {
                *y = 250.0;
            }
        }
        leak.rotate_right(harm.shifted);
        let (width, height) = (width, SIZE.1 as usize);
        let original = luma(&original);
        let of = |luma| Luma { width, height, luma };
        let seen = vec![true; original.len()];
        evidence.add(at, &residual(grid, of(&original), of(&leak), &seen).unwrap());
    }
    evidence.finish()
}

fn key(n: u8) -> MarkKey {
    MarkKey::from_bytes([n; 32])
}

fn z(evidence: &Finished, n: u8) -> f64 {
    evidence.z(&key(n).signs(TrackName::Road))
}

#[test]
fn the_view_is_named_through_harm_and_no_other() {
    let bad = Harm { noise: 20.0, faded: true, sticker: true, ..Harm::default() };
    for (name, harm) in [
        ("as it is", Harm::default()),
        ("noisy", Harm { noise: 20.0, ..Harm::default() }),
        ("faded", Harm { faded: true, ..Harm::default() }),
        ("with a sticker", Harm { sticker: true, ..Harm::default() }),
        ("all of it", bad),
    ] {
        let evidence = evidence(&[key(1)], harm);
        assert!(evidence.len() > 9_000, "{name}: {} cells and slots", evidence.len());
        assert!(z(&evidence, 1) > 25.0, "{name}: {}", z(&evidence, 1));
        for other in 2..200 {
            assert!(z(&evidence, other).abs() < 5.0, "{name}: view {other}");
        }
        let of_the_other_camera = evidence.z(&key(1).signs(TrackName::Cabin));
        assert!(of_the_other_camera.abs() < 5.0, "{name}: {of_the_other_camera}");
    }
}

#[test]
fn without_a_mark_or_in_the_wrong_place_nobody_is_named() {
    let noise = Harm { noise: 6.0, ..Harm::default() };
    let unmarked = evidence(&[], noise);
    let misplaced = evidence(&[key(1)], Harm { shifted: 24 + 24 * 640, ..noise });
    for n in 1..200 {
        assert!(z(&unmarked, n).abs() < 5.0, "{}", z(&unmarked, n));
        assert!(z(&misplaced, n).abs() < 5.0, "{}", z(&misplaced, n));
    }
}

#[test]
fn who_averages_copies_is_named_with_all_others() {
    let keys: Vec<_> = (1..=5).map(key).collect();
    let evidence = evidence(&keys, Harm { noise: 6.0, ..Harm::default() });
    for n in 1..=5 {
        assert!(z(&evidence, n) > threshold(1e-9, 1_000_000), "{n}: {}", z(&evidence, n));
    }
    for n in 6..200 {
        assert!(z(&evidence, n).abs() < 5.0, "{n}");
    }
}

/// The distribution of a normal variable (Abramowitz and Stegun 7.1.26, to 1.5e-7).
fn normal(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let poly = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592]
        .iter()
        .fold(0.0, |sum, factor| (sum + factor) * t);
    let erf = 1.0 - poly * (-x * x).exp();
    0.5 * (1.0 + if z < 0.0 { -erf } else { erf })
}

#[test]
fn scores_of_100_000_innocents_are_uniform_p_values_and_stay_below_the_bound() {
    // A real residual with a mark in it, and a made-up one that is as bad as can be: a few cells
    // count far more than all others.
    let mut lopsided = Finished { grid: Grid::of(640, 480), slots: Vec::new(), length: 0.0 };
    let mut noise = Noise(77);
    let values: Vec<f32> = (0..lopsided.grid.cells())
        .map(|n| noise.next() * if n % 50 == 0 { 4.0 } else { 1.0 } + 0.3)
        .collect();
    lopsided.length = values.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>().sqrt();
    lopsided.slots = vec![(3, values)];
    let mut real = evidence(&[key(1)], Harm { noise: 20.0, sticker: true, ..Harm::default() });
    // The whole of it would take minutes: the first slots have its distribution.
    real.slots.truncate(1);
    let squares: f64 = real.slots[0].1.iter().map(|a| f64::from(*a).powi(2)).sum();
    real.length = squares.sqrt();
    for (name, evidence) in [("lopsided", lopsided), ("real", real)] {
        let secret = key(200);
        let mut p_values: Vec<f64> = (0..100_000_u128)
            .map(|n| {
                let view = temoin_proto::ids::ViewId::from_bytes(n.to_be_bytes());
                1.0 - normal(evidence.z(&secret.of_view(view).signs(TrackName::Road)))
            })
            .collect();
        p_values.sort_by(f64::total_cmp);
        let n = p_values.len() as f64;
        let gaps = p_values
            .iter()
            .enumerate()
            .map(|(i, p)| (p - i as f64 / n).abs().max((p - (i + 1) as f64 / n).abs()));
        let worst = gaps.fold(0.0, f64::max);
        // Kolmogorov-Smirnov: beyond 1.95 / sqrt(n) once in a thousand.
        assert!(worst < 1.95 / n.sqrt(), "{name}: {worst}");
        // Hoeffding bounds each of them, whatever the distribution.
        for z in [2.0, 3.0, 4.0] {
            let beyond = p_values.iter().filter(|p| **p < 1.0 - normal(z)).count() as f64 / n;
            assert!(beyond <= p_value(z, 1), "{name}: {beyond} beyond {z}");
        }
    }
}

#[test]
fn the_bound_is_hoeffdings() {
    // The figure of the derivation: 10,000 views, 100 registrations, one false name in 1e9 traces.
    assert!((threshold(1e-9, 1_000_000) - 8.31).abs() < 0.01);
    for (bound, looks) in [(1e-9, 1), (1e-9, 1_000_000), (1e-3, 50)] {
        let z = threshold(bound, looks);
        assert!((p_value(z, looks) / bound - 1.0).abs() < 1e-9);
        assert!(p_value(z + 0.1, looks) < bound && p_value(z - 0.1, looks) > bound);
    }
    assert_eq!((p_value(0.0, 1), p_value(-5.0, 1), p_value(f64::NAN, 1)), (1.0, 1.0, 1.0));
}

#[test]
fn what_is_empty_or_does_not_fit_names_nobody() {
    let grid = Grid::of(SIZE.0, SIZE.1);
    let empty = Evidence::new(grid).finish();
    assert!(empty.is_empty());
    assert_eq!((empty.len(), z(&empty, 1)), (0, 0.0));
    let mut evidence = Evidence::new(grid);
    evidence.add(Duration::ZERO, &CellResidual { values: vec![1.0], weights: vec![1.0] });
    assert!(evidence.finish().is_empty(), "of another grid");

    let plane = vec![100.0; 640 * 360];
    let of = |width, height, luma| Luma { width, height, luma };
    let good = of(640, 360, plane.as_slice());
    let seen = vec![true; plane.len()];
    for (original, leak, seen) in [
        (good, of(360, 640, &plane), seen.as_slice()),
        (good, good, &seen[..5]),
        (of(640, 361, &plane), of(640, 361, &plane), &seen),
        (of(usize::MAX, 2, &plane), of(usize::MAX, 2, &plane), &seen),
        (of(0, 0, &[]), of(0, 0, &[]), &[]),
        (good, good, vec![false; plane.len()].as_slice()),
    ] {
        assert_eq!(residual(grid, original, leak, seen), None);
    }
    let wild: Vec<f32> = (0..plane.len()).map(|n| if n % 3 == 0 { 1e30 } else { -1e30 }).collect();
    let left = residual(grid, good, of(640, 360, &wild), &seen).unwrap();
    assert!(left.values.iter().all(|v| v.is_finite()), "and no number that is none");
}
