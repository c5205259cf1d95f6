//! What the surroundings of a point look like, in 20 bits.
//!
//! The descriptor is upright RootSIFT: 4 x 4 cells of 8 directions. A word is not made of random
//! planes through it but of its 20 lowest frequencies (cosines across the cells, Fourier around the
//! directions), one sign each. A screen that is filmed a little turned, moved or blurred moves what
//! lies in a cell to the next one, and low frequencies hardly change by that. On recordings, more
//! words came through hard filming so than with random planes, and nothing has to be trained or
//! seeded.

use std::sync::LazyLock;

use super::KEY_BITS;

/// Numbers of a descriptor.
pub(super) const LENGTH: usize = 128;
/// Words that one descriptor is searched under: itself, and with the least certain bits changed.
pub(super) const PROBES: usize = 12;
/// The least certain bits, of which up to two are changed.
const WEAK: usize = 7;

/// Down, across, and around: the frequency of a bit, and whether its phase is that of a sine.
const FREQUENCIES: [(u8, u8, u8, bool); 20] = [
    (0, 0, 1, false),
    (0, 0, 1, true),
    (0, 1, 0, false),
    (1, 0, 0, false),
    (0, 1, 1, false),
    (0, 1, 1, true),
    (1, 0, 1, false),
    (1, 0, 1, true),
    (1, 1, 0, false),
    (1, 1, 1, false),
    (1, 1, 1, true),
    (0, 0, 2, false),
    (0, 0, 2, true),
    (0, 2, 0, false),
    (2, 0, 0, false),
    (0, 1, 2, false),
    (0, 1, 2, true),
    (1, 0, 2, false),
    (1, 0, 2, true),
    (0, 2, 1, false),
];
/// Where the signs of the frequencies (0, 2, 0) and (2, 0, 0) change: SIFT weighs the middle of the
/// surroundings more than their rim, so these two are below 0 nearly always. The mean over cabin,
/// road and room pictures, all of which lie between -0.08 and -0.13.
const RIM: f32 = -0.09;

struct Plane {
    normal: [f32; LENGTH],
    offset: f32,
}

static PLANES: LazyLock<Vec<Plane>> = LazyLock::new(|| FREQUENCIES.map(plane).into());

fn plane((down, across, around, sine): (u8, u8, u8, bool)) -> Plane {
    let cosine = |frequency: u8, cell: u8| {
        (std::f32::consts::PI * f32::from(frequency) * (f32::from(cell) + 0.5) / 4.0).cos()
    };
    let mut normal = [0.0; LENGTH];
    let bins = (0..4).flat_map(|y| (0..4).flat_map(move |x| (0..8_u8).map(move |o| (y, x, o))));
    for (value, (y, x, o)) in normal.iter_mut().zip(bins) {
        let angle = std::f32::consts::TAU * f32::from(around) * f32::from(o) / 8.0;
        let direction = if sine { angle.sin() } else { angle.cos() };
        *value = cosine(down, y) * cosine(across, x) * direction;
    }
    let length = normal.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    let normal = normal.map(|v| v / length);
    let rim = around == 0 && (down, across) != (0, 1) && (down, across) != (1, 0) && down != across;
    Plane { normal, offset: if rim { RIM } else { 0.0 } }
}

/// RootSIFT: descriptors are compared by the angle between their roots.
pub(super) fn root(descriptor: &[f32]) -> Option<[f32; LENGTH]> {
    let mut out = [0.0; LENGTH];
    let sum: f32 = descriptor.iter().sum();
    if descriptor.len() != LENGTH || sum.is_nan() || sum <= 0.0 {
        return None;
    }
    for (out, value) in out.iter_mut().zip(descriptor) {
        *out = (value / sum).max(0.0).sqrt();
    }
    Some(out)
}

/// The descriptor of the same point in the mirrored picture.
pub(super) fn mirrored(descriptor: &[f32; LENGTH]) -> [f32; LENGTH] {
    let mut out = [0.0; LENGTH];
    let bins = (0..4_usize).flat_map(|y| (0..4).flat_map(move |x| (0..8).map(move |o| (y, x, o))));
    for (out, (y, x, o)) in out.iter_mut().zip(bins) {
        // What lay left lies right, and a gradient to the left goes to the right.
        let from = (y * 4 + 3 - x) * 8 + (12 - o) % 8;
        *out = descriptor.get(from).copied().unwrap_or(0.0);
    }
    out
}

fn margins(descriptor: &[f32; LENGTH]) -> [f32; KEY_BITS as usize] {
    let mut out = [0.0; KEY_BITS as usize];
    for (out, plane) in out.iter_mut().zip(PLANES.iter()) {
        *out = plane.normal.iter().zip(descriptor).map(|(a, b)| a * b).sum::<f32>() - plane.offset;
    }
    out
}

/// The 20 bits.
pub(super) fn key(descriptor: &[f32; LENGTH]) -> u32 {
    key_of(&margins(descriptor))
}

fn key_of(margins: &[f32]) -> u32 {
    margins.iter().fold(0, |key, margin| key << 1 | u32::from(*margin > 0.0))
}

/// The likeliest words of what this was before it was filmed, the likeliest first.
pub(super) fn probes(descriptor: &[f32; LENGTH]) -> [u32; PROBES] {
    let margins = margins(descriptor);
    let key = key_of(&margins);
    let mut weak: Vec<(f32, u32)> =
        margins.iter().zip((0..KEY_BITS).rev()).map(|(m, bit)| (m.abs(), 1 << bit)).collect();
    weak.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    weak.truncate(WEAK);
    let mut changes = vec![(0.0, 0)];
    for (n, (cost, bit)) in weak.iter().enumerate() {
        changes.push((*cost, *bit));
        changes.extend(weak.iter().take(n).map(|(other, also)| (cost + other, bit | also)));
    }
    changes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut out = [key; PROBES];
    for (out, (_, change)) in out.iter_mut().zip(changes) {
        *out = key ^ change;
    }
    out
}
