//! What the road camera's findings mean: distances on the ground, the own lane, the vehicle ahead.
//!
//! Pixels stay outside: boxes of vehicles and points of markings come in, metres go out.
//! [`camera`] holds the geometry, [`tracks`] follow vehicles between looks, [`distance`] says how
//! far one is and how sure that is, [`lane`] fits the own lane over [`lines`], [`horizon`] learns
//! the camera's pitch from where they meet ([`vanishing`]), [`scene`] composes them.
//!
//! INVARIANT: whatever the numbers that come in, those that go out are finite or there are none.
//! INVARIANT: what is doubtful is unknown with a reason; a free road is said only of a road that
//! was seen.
//!
//! Coordinates: pixels `u` to the right and `v` down; metres forward from the camera and to the
//! left (ISO 8855). The road is taken for a plane; a crest or a dip shows as a disagreement of the
//! two cues of [`distance`], which widens the error that is said.

pub mod camera;
pub mod distance;
pub mod horizon;
pub mod lane;
pub mod lines;
pub mod scene;
pub mod tracks;
pub mod vanishing;

/// To the precision in which observations are told.
#[expect(clippy::cast_possible_truncation, reason = "metres and fractions need no more")]
pub(crate) const fn single(x: f64) -> f32 {
    x as f32
}
