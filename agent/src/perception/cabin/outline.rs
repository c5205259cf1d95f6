//! The outline of one eye, by MediaPipe's iris model: its mean gap over its width is the opening,
//! and its iris lies between its corners.
//!
//! INVARIANT: an outline that cannot be one of an eye is none.

use temoin_media::frame::I420Picture;

use crate::{
    infer::Runtime,
    model_pack::{ModelPack, ModelRole},
    perception::{
        PerceptionError,
        model::{Model, finite},
        tensors::rgb_pixels,
    },
};

/// Side of the model's input, pixels.
pub(super) const INPUT_SIDE: u16 = 64;
/// Width of the outline in the cut-out, pixels: 18 to 28 on 1,012 eyes.
const WIDTH_PX: std::ops::RangeInclusive<f32> = 16.0..=42.0;
/// The outline's middle lies this near to the middle of the cut-out, pixels.
const MAX_OFF_CENTRE_PX: f32 = 16.0;
/// The outline's corners lie this level, as sine: the cut-out stands upright with the eyes.
const MAX_TILT: f32 = 0.5;
/// No eye opens further.
const MAX_OPENING: f32 = 0.5;

/// Points of the outline: 0 and 8 are the corners, 1 to 7 the lower lid, 9 to 15 the upper lid
/// above them.
type Outline = [[f32; 2]; 16];

/// What the outline of one eye says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OutlineReading {
    /// Mean gap over width, as seen.
    pub(crate) opening: f32,
    /// The iris against the middle between the corners, in eye widths: right in the cut-out, and
    /// down.
    pub(crate) iris: [f32; 2],
    /// The eye's width over the side of the cut-out.
    pub(crate) width: f32,
}

/// The model.
pub(crate) struct EyeNetwork {
    net: Box<dyn Model>,
    input: Vec<f32>,
}

impl EyeNetwork {
    /// Loads it; `None` where the pack does not hold it.
    ///
    /// # Errors
    /// [`PerceptionError::Infer`].
    pub(crate) fn load(
        runtime: &Runtime,
        pack: &ModelPack,
    ) -> Result<Option<Self>, PerceptionError> {
        let Some(model) = pack.get(ModelRole::EyeLandmarks) else { return Ok(None) };
        Ok(Some(Self::new(Box::new(runtime.network(model)?))))
    }

    pub(crate) fn new(net: Box<dyn Model>) -> Self {
        Self { net, input: Vec::new() }
    }

    /// Draws the outline in a cut-out of [`INPUT_SIDE`]; `None` where it is not one of an eye.
    pub(super) fn observe(
        &mut self,
        cut: &I420Picture,
        mirrored: bool,
    ) -> Result<Option<OutlineReading>, PerceptionError> {
        let side = u32::from(INPUT_SIDE);
        let bgr = cut.view().to_bgr(side, side)?;
        // The model knows right eyes only.
        rgb_pixels(&if mirrored { bgr.mirrored() } else { bgr }, &mut self.input);
        let given =
            self.net.run(&self.input, &["output_eyes_contours_and_brows", "output_iris"])?;
        let mut outline = [[f32::NAN; 2]; 16];
        let points = given.first().map(|n| n.as_chunks::<3>().0).unwrap_or_default();
        for (point, [x, y, _]) in outline.iter_mut().zip(points) {
            *point = [*x, *y];
        }
        Ok(opening(&outline).and_then(|opening| {
            let [x, y, _] = finite(given.get(1))?;
            let (iris, width) = between_corners(&outline, [x, y])?;
            Some(OutlineReading { opening, iris, width: width / f32::from(INPUT_SIDE) })
        }))
    }
}

/// Mean gap over width, where the outline can be one of an eye.
fn opening(outline: &Outline) -> Option<f32> {
    let [[x0, y0], ..] = outline;
    let [x8, y8] = outline.get(8)?;
    let (dx, dy) = (x8 - x0, y8 - y0);
    let width = dx.hypot(dy);
    let middle = f32::from(INPUT_SIDE) / 2.0;
    let off_centre = (x0.midpoint(*x8) - middle).hypot(y0.midpoint(*y8) - middle);
    // Written so that NaN is implausible.
    if !(WIDTH_PX.contains(&width)
        && dy.abs() / width <= MAX_TILT
        && off_centre <= MAX_OFF_CENTRE_PX)
    {
        return None;
    }
    // Distance below the line of the corners; `dx` may go either way.
    let below = |[x, y]: &[f32; 2]| ((y - y0) * dx - (x - x0) * dy) / width * dx.signum();
    let lids = outline.get(1..8)?.iter().zip(outline.get(9..16)?);
    let gaps: f32 = lids.map(|(lower, upper)| below(lower) - below(upper)).sum();
    let opening = gaps / 7.0 / width;
    // A closed eye's lids may cross by a hair.
    (-0.1..=MAX_OPENING).contains(&opening).then_some(opening.max(0.0))
}

/// Where a point lies against the middle between the corners, along them to the right and down,
/// in widths of the eye; and that width.
fn between_corners(outline: &Outline, [x, y]: [f32; 2]) -> Option<([f32; 2], f32)> {
    let [[x0, y0], ..] = *outline;
    let [x8, y8] = *outline.get(8)?;
    // The corners may come in either order.
    let sign = (x8 - x0).signum();
    let (dx, dy) = ((x8 - x0) * sign, (y8 - y0) * sign);
    let width = dx.hypot(dy);
    let (ux, uy) = (dx / width, dy / width);
    let (px, py) = (x - x0.midpoint(x8), y - y0.midpoint(y8));
    let place = [(px * ux + py * uy) / width, (py * ux - px * uy) / width];
    place.iter().all(|n| n.abs() <= 1.0).then_some((place, width))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An outline of this width and gap (at its middle, as a half ellipse each), turned.
    fn outline(width: f32, gap: f32, angle_deg: f32, mirrored: bool) -> Outline {
        let mut out = [[0.0; 2]; 16];
        let (sin, cos) = angle_deg.to_radians().sin_cos();
        for (n, point) in out.iter_mut().enumerate() {
            let (place, up) = if n < 9 { (n, 1.0) } else { (n - 8, -1.0) };
            let along = place as f32 / 8.0 * 2.0 - 1.0;
            let x = along * width / 2.0 * if mirrored { -1.0 } else { 1.0 };
            let y = up * (1.0 - along * along).max(0.0).sqrt() * gap / 2.0;
            *point = [32.0 + x * cos - y * sin, 32.0 + x * sin + y * cos];
        }
        out
    }

    #[test]
    fn an_outline_has_an_opening() {
        for (name, points, want) in [
            ("open", outline(25.0, 8.0, 0.0, false), Some(0.27)),
            ("turned", outline(25.0, 8.0, 20.0, false), Some(0.27)),
            ("other way round", outline(25.0, 8.0, -20.0, true), Some(0.27)),
            ("closed", outline(25.0, 0.5, 0.0, false), Some(0.017)),
            ("lids cross", outline(25.0, -0.5, 0.0, false), Some(0.0)),
            ("upside down", outline(25.0, -8.0, 0.0, false), None),
            ("too narrow", outline(12.0, 4.0, 0.0, false), None),
            ("too wide", outline(50.0, 8.0, 0.0, false), None),
            ("too tilted", outline(25.0, 8.0, 40.0, false), None),
            ("too open", outline(25.0, 20.0, 0.0, false), None),
            ("off centre", outline(25.0, 8.0, 0.0, false).map(|[x, y]| [x + 17.0, y]), None),
            ("not a number", [[f32::NAN; 2]; 16], None),
        ] {
            match (opening(&points), want) {
                (Some(got), Some(want)) => assert!((got - want).abs() < 0.01, "{name}: {got}"),
                (got, want) => assert_eq!(got, want, "{name}"),
            }
        }
    }

    #[test]
    fn the_iris_lies_between_the_corners() {
        for (angle_deg, mirrored) in [(0.0, false), (20.0, false), (-20.0, true)] {
            let drawn = outline(25.0, 8.0, angle_deg, mirrored);
            let (sin, cos) = f32::to_radians(angle_deg).sin_cos();
            // 5 pixels to the right and 2 down in the eye's own frame.
            let iris = [32.0 + 5.0 * cos - 2.0 * sin, 32.0 + 5.0 * sin + 2.0 * cos];
            let ([right, down], width) = between_corners(&drawn, iris).unwrap();
            assert!((right - 0.2).abs() < 1e-3 && (down - 0.08).abs() < 1e-3, "{right} {down}");
            assert!((width - 25.0).abs() < 1e-3, "{width}");
        }
        let drawn = outline(25.0, 8.0, 0.0, false);
        assert_eq!(between_corners(&drawn, [60.0, 32.0]), None);
        assert_eq!(between_corners(&drawn, [f32::NAN, 32.0]), None);
    }

    proptest! {
        #[test]
        fn any_outline_is_measured_or_refused(
            points in proptest::array::uniform16(proptest::array::uniform2(any::<f32>()))
        ) {
            if let Some(o) = opening(&points) {
                prop_assert!((0.0..=MAX_OPENING).contains(&o));
            }
        }
    }
}
