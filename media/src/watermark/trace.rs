//! From a leak and the original to evidence: laid on the original, compared, added up. One piece of
//! evidence for each way in which the leak may lie; each of them is one more look to pay for
//! ([`super::detect::p_value`]).
//!
//! INVARIANT: nothing here knows a key.

use super::{
    detect::{Evidence, Finished},
    grid::Grid,
    register::{Gray, Limits, Reference, RegisterError, Registration, align, register},
    residual::{Luma, residual},
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

fn evidence(
    reference: &Reference,
    leak: &[Gray],
    registration: &Registration,
) -> Result<Finished, RegisterError> {
    let (width, height) = reference.size();
    let grid = Grid::of(width, height);
    let (width, height) = (index(width), index(height));
    let mut evidence = Evidence::new(grid);
    for map in &registration.frames {
        let Some(picture) = leak.get(map.leak) else { continue };
        let aligned = align(reference, picture, map)?;
        let original = reference.at(map.at);
        let of = |luma| Luma { width, height, luma };
        let left = residual(grid, of(&original), of(&aligned.luma), &aligned.valid);
        if let Some(left) = left {
            evidence.add(map.at, &left);
        }
    }
    Ok(evidence.finish())
}
