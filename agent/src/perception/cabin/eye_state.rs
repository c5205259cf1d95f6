//! The project's own network that judges one eye: how far it is open, whether it can be seen at
//! all, and where the iris is.
//!
//! INVARIANT: every number of an [`EyeReading`] is finite.

use crate::perception::{
    PerceptionError,
    model::{Model, finite},
};

/// Below this probability the eye is hidden. 95 % of 1,012 photographed eyes, open and closed, and
/// 99 % of held-out rendered eyes are above. Own choice: validate.
pub(super) const MIN_SEEN: f32 = 0.7;
/// No eye opens further.
const MAX_OPENING: f32 = 0.5;

/// What the network says of one eye.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct EyeReading {
    /// Gap over the eye's true width.
    pub(crate) opening: f32,
    /// Probability that the eye can be seen.
    pub(crate) seen: f32,
    /// The iris against the middle between the corners, in eye widths: right in the cut-out, and
    /// down.
    pub(crate) iris: [f32; 2],
}

/// The network.
pub(crate) struct EyeState {
    net: Box<dyn Model>,
}

impl EyeState {
    pub(crate) fn new(net: Box<dyn Model>) -> Self {
        Self { net }
    }

    /// Judges 64 x 64 luma; `None` where the network gives no numbers.
    ///
    /// # Errors
    /// [`PerceptionError::Infer`].
    pub(crate) fn observe(&mut self, luma: &[f32]) -> Result<Option<EyeReading>, PerceptionError> {
        let given = self.net.run(luma, &["opening", "seen", "iris"])?;
        let read = || {
            let [opening] = finite(given.first())?;
            let [seen] = finite(given.get(1))?;
            let iris = finite(given.get(2))?;
            let opening = opening.clamp(0.0, MAX_OPENING);
            Some(EyeReading { opening, seen: seen.clamp(0.0, 1.0), iris })
        };
        Ok(read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perception::model::fake::Always;

    #[test]
    fn numbers_are_read_or_refused() {
        let observe = |opening: f32, seen: f32, iris: Vec<f32>| {
            let given = vec![("opening", vec![opening]), ("seen", vec![seen]), ("iris", iris)];
            EyeState::new(Box::new(Always(given))).observe(&[]).unwrap()
        };
        let got = observe(-0.02, 1.2, vec![0.1, -0.05]).unwrap();
        assert_eq!(got, EyeReading { opening: 0.0, seen: 1.0, iris: [0.1, -0.05] });
        for (opening, seen, iris) in [
            (f32::NAN, 0.9, vec![0.0; 2]),
            (0.2, f32::INFINITY, vec![0.0; 2]),
            (0.2, 0.9, vec![0.0, f32::NAN]),
            (0.2, 0.9, vec![0.0]),
        ] {
            assert_eq!(observe(opening, seen, iris), None);
        }
        let mut broken = EyeState::new(Box::new(Always(vec![])));
        assert!(broken.observe(&[]).is_err());
    }
}
