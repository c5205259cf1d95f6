//! From a leak and the original to evidence: laid on the original, compared, added up. One piece of
//! evidence for each way in which the leak may lie; each of them is one more look to pay for
//! ([`super::detect::p_value`]).
//!
//! INVARIANT: nothing here knows a key.

use std::time::Duration;

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

/// Everything that a leak says of the signs in the original's pictures. Empty where it does not look
/// like the original in any way that was tried.
///
/// # Errors
/// [`RegisterError`] for pictures that cannot be worked on.
pub fn trace(
    reference: &Reference,
    leak: &[Gray],
    limits: &Limits,
) -> Result<Vec<Traced>, RegisterError> {
    let mut traced = Vec::new();
    for registration in register(reference, leak, limits)? {
        let evidence = evidence(reference, leak, &registration)?;
        traced.push(Traced { registration, evidence });
    }
    Ok(traced)
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
