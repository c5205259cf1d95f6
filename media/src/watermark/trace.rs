//! From a leak and the original to evidence: laid on the original, compared, added up. One piece of
//! evidence for each way in which the leak may lie; each of them is one more look to pay for
//! ([`super::detect::p_value`]).
//!
//! INVARIANT: nothing here knows a key.

use std::{ops::Range, time::Duration};

use super::{
    detect::{Evidence, Finished},
    grid::Grid,
    register::{FrameMap, Gray, Limits, Reference, RegisterError, Registration, align, register},
    residual::{CellResidual, Luma, residual, residual_of_itself},
};
use crate::rounding::index;

/// A way in which the leak may lie on the original, and what it says of the signs.
#[derive(Debug, Clone)]
pub struct Traced {
    /// The way.
    pub registration: Registration,
    /// What it says.
    pub evidence: Finished,
}

/// A leak that looks like the original less than this as a whole is laid on it part by part too: hard
/// filming comes to 0.55 and more, and what failed in the evaluation to 0.33 (own choice: validate).
const CLEAR: f64 = 0.5;
/// The length of such a part: two thirds of the leaks that are hardest to lay are named with so much.
const PART: Duration = Duration::from_secs(6);
/// A leak that is no longer than this has no parts.
const WORTH_PARTING: Duration = Duration::from_secs(8);
/// Most parts; those of a longer leak lie apart.
const MOST_PARTS: usize = 3;

/// The most ways that [`trace`] gives: each is a look that the bound pays for, whether it was taken or not.
pub const fn most_ways(limits: &Limits) -> usize {
    limits.most + MOST_PARTS
}

/// Everything that a leak says of the signs in the original's pictures. Empty where it does not look
/// like the original in any way that was tried.
///
/// A leak may be the original for a part of it only, or its whole may be too hard to follow: where it does
/// not lie on the original well, parts of it are tried as well.
///
/// # Errors
/// [`RegisterError`] for pictures that cannot be worked on.
pub fn trace(
    reference: &Reference,
    leak: &[Gray],
    limits: &Limits,
) -> Result<Vec<Traced>, RegisterError> {
    let mut registrations = register(reference, leak, limits)?;
    if registrations.iter().all(|way| way.quality < CLEAR) {
        let one = Limits { most: 1, ..*limits };
        for part in parts(leak) {
            let begin = part.start;
            let found = register(reference, leak.get(part).unwrap_or_default(), &one)?;
            registrations.extend(found.into_iter().map(|mut way| {
                for frame in &mut way.frames {
                    frame.leak += begin;
                }
                way
            }));
        }
    }
    let traced = |registration: Registration| {
        let evidence = evidence(reference, leak, &registration)?;
        Ok(Traced { registration, evidence })
    };
    registrations.into_iter().map(traced).collect()
}

/// Parts of a leak, evenly over it: which of its pictures are in each.
fn parts(leak: &[Gray]) -> Vec<Range<usize>> {
    let (Some(first), Some(last)) = (leak.first(), leak.last()) else { return Vec::new() };
    let length = last.at.saturating_sub(first.at);
    if length <= WORTH_PARTING {
        return Vec::new();
    }
    let whole_parts = length.as_nanos().div_ceil(PART.as_nanos());
    let count = u32::try_from(whole_parts).map_or(MOST_PARTS, index).clamp(2, MOST_PARTS);
    let steps = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX);
    (0..=steps)
        .map(|n| {
            let from = first.at + length.saturating_sub(PART) * n / steps;
            let at = |time: Duration| leak.partition_point(|gray| gray.at < time);
            at(from)..at(from + PART)
        })
        .collect()
}

/// What a leak says of the signs that are in the original's pictures too: the unit's own mark, whose
/// time is `begin` where the original's is 0. Nobody has the pictures without it; so what is looked at is
/// what the leak differs in from itself, smoothed.
///
/// # Errors
/// [`RegisterError::Degenerate`].
pub fn of_unit(
    reference: &Reference,
    leak: &[Gray],
    registration: &Registration,
    begin: Duration,
) -> Result<Finished, RegisterError> {
    collected(reference, leak, registration, |grid, map, aligned, seen| {
        (map.at + begin, residual_of_itself(grid, aligned, seen))
    })
}

fn evidence(
    reference: &Reference,
    leak: &[Gray],
    registration: &Registration,
) -> Result<Finished, RegisterError> {
    collected(reference, leak, registration, |grid, map, aligned, seen| {
        let original = reference.at(map.at);
        (map.at, residual(grid, Luma { luma: &original, ..aligned }, aligned, seen))
    })
}

/// Adds up what each picture that lies on the original leaves, and when in the signs' time.
fn collected(
    reference: &Reference,
    leak: &[Gray],
    registration: &Registration,
    left: impl Fn(Grid, &FrameMap, Luma<'_>, &[bool]) -> (Duration, Option<CellResidual>),
) -> Result<Finished, RegisterError> {
    let (width, height) = reference.size();
    let grid = Grid::of(width, height);
    let (width, height) = (index(width), index(height));
    let mut evidence = Evidence::new(grid);
    for map in &registration.frames {
        let Some(picture) = leak.get(map.leak) else { continue };
        let aligned = align(reference, picture, map)?;
        let luma = Luma { width, height, luma: &aligned.luma };
        if let (at, Some(left)) = left(grid, map, luma, &aligned.valid) {
            evidence.add(at, &left);
        }
    }
    Ok(evidence.finish())
}
