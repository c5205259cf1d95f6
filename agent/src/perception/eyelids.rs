//! Eyelid opening: MediaPipe's iris model draws the outline of an eye; its mean gap over its width
//! is the opening.
//!
//! INVARIANT: an eye that is turned away, too small, too dark, blurred or drawn implausibly is
//! *not seen*. So is an eye under a bowed head, whose lids look closed to the camera while the
//! driver looks down.

use temoin_media::{bgr::Square, frame::I420View};
use temoin_proto::perception::{EyelidOpening, HeadPose, NotSeen, Seen};

use crate::{
    infer::{Network, Runtime},
    model_pack::{ModelPack, ModelRole},
    perception::{
        PerceptionError,
        tensors::{light_is_bad, rgb_pixels},
        yunet::Face,
    },
};

/// Side of the model's input, pixels.
const INPUT_SIDE: u16 = 64;
/// The model sees a square of this many distances between the eyes (its own pipeline's value).
const CUT_EYE_DISTANCES: f32 = 1.1;
/// Eyes closer to each other than this are too small. Halving a picture step by step, the opening
/// holds down to 21 pixels.
const MIN_EYE_DISTANCE_PX: f32 = 20.0;
/// Above this turn the far eye's outline is drawn too narrow and reads as wide open (0.3 and more
/// at 35 degrees).
const MAX_YAW_FAR_EYE_DEG: f32 = 25.0;
/// Above this turn the near eye is no longer measured: its outline was right up to 57 degrees, but
/// a little further it is seen from its corner.
const MAX_YAW_NEAR_EYE_DEG: f32 = 50.0;
/// Below this nod the upper lid covers an open eye that looks down.
const MIN_PITCH_DEG: f32 = -25.0;
/// A head that is turned as well is bowed further than its pitch says: so many degrees for each
/// degree of turn. Without this, `head_turns.mp4` has 'closed' eyes at 12.7 s, where he looks at
/// the floor beside him.
const PITCH_FOR_YAW: f32 = 0.25;
/// Above this nod the lower lid hides the gap.
const MAX_PITCH_DEG: f32 = 40.0;
/// Strength of edges (root mean square of the Laplacian) over deviation of the luma. 0.1 to 0.5 on
/// clear eyes, open or closed; below 0.07 where a blur of 5 pixels has changed the opening.
const MIN_SHARPNESS: f32 = 0.075;
/// Width of the outline in the cut-out, pixels: 18 to 28 on 1,012 eyes.
const WIDTH_PX: std::ops::RangeInclusive<f32> = 16.0..=42.0;
/// The outline's middle lies this near to the middle of the cut-out, pixels.
const MAX_OFF_CENTRE_PX: f32 = 16.0;
/// The outline's corners lie this level, as sine: the cut-out stands upright with the eyes.
const MAX_TILT: f32 = 0.5;
/// No eye opens further.
const MAX_OPENING: f32 = 0.5;
/// Two eyes that differ by this much in opening leave no confidence in their mean.
const DISAGREE_OPENING: f32 = 0.3;
/// Confidence of one eye alone, against both.
const ONE_EYE: f32 = 0.7;

/// Points of the outline: 0 and 8 are the corners, 1 to 7 the lower lid, 9 to 15 the upper lid
/// above them.
pub type Outline = [[f32; 2]; 16];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Right,
    Left,
}

/// The model.
pub struct EyeNetwork {
    net: Network,
    input: Vec<f32>,
}

impl EyeNetwork {
    /// Loads it; `None` where the pack does not hold it.
    ///
    /// # Errors
    /// [`PerceptionError::Infer`].
    pub fn load(runtime: &Runtime, pack: &ModelPack) -> Result<Option<Self>, PerceptionError> {
        let Some(model) = pack.get(ModelRole::EyeLandmarks) else { return Ok(None) };
        Ok(Some(Self { net: runtime.network(model)?, input: Vec::new() }))
    }

    /// The eyelids of one face. Without a head pose nothing can be said of them.
    ///
    /// # Errors
    /// [`PerceptionError::Infer`], [`PerceptionError::Picture`].
    pub fn observe(
        &mut self,
        picture: &I420View<'_>,
        face: &Face,
        head: &Seen<HeadPose>,
    ) -> Result<Seen<EyelidOpening>, PerceptionError> {
        let head = match head {
            Seen::Known { value, .. } => value,
            Seen::Unknown(why) => return Ok(Seen::Unknown(*why)),
        };
        let [right, left, ..] = face.points;
        let (dx, dy) = (left[0] - right[0], left[1] - right[1]);
        let distance = dx.hypot(dy);
        let (right_eye, left_eye) = eyes_in_view(head);
        if distance < MIN_EYE_DISTANCE_PX || !(right_eye || left_eye) {
            return Ok(Seen::Unknown(NotSeen::FaceUnclear));
        }
        let square = |[x, y]: [f32; 2]| Square {
            x,
            y,
            side: CUT_EYE_DISTANCES * distance,
            angle_deg: dy.atan2(dx).to_degrees(),
        };
        let mut eyes = [None, None];
        let wanted = [(right_eye, right, Side::Right), (left_eye, left, Side::Left)];
        for (eye, (wanted, at, side)) in eyes.iter_mut().zip(wanted) {
            if wanted {
                *eye = Some(self.eye(picture, square(at), side)?.map(|opening| {
                    // A turned eye is narrower in the picture, not lower.
                    opening * head.yaw_deg.to_radians().cos()
                }));
            }
        }
        Ok(both_eyes(eyes, face.score))
    }

    fn eye(
        &mut self,
        picture: &I420View<'_>,
        square: Square,
        side: Side,
    ) -> Result<Result<f32, NotSeen>, PerceptionError> {
        let cut = picture.cut(square, u32::from(INPUT_SIDE))?;
        let light = cut.view().luma_stats();
        if light_is_bad(light) {
            return Ok(Err(NotSeen::BadLight));
        }
        if sharpness(cut.view().luma(), usize::from(INPUT_SIDE), light.deviation) < MIN_SHARPNESS {
            return Ok(Err(NotSeen::EyesUnclear));
        }
        let bgr = cut.view().to_bgr(u32::from(INPUT_SIDE), u32::from(INPUT_SIDE))?;
        // The model knows right eyes only.
        let bgr = if side == Side::Left { bgr.mirrored() } else { bgr };
        rgb_pixels(&bgr, &mut self.input);
        let outline = self.outline()?;
        Ok(opening(&outline).ok_or(NotSeen::EyesUnclear))
    }

    fn outline(&mut self) -> Result<Outline, PerceptionError> {
        let outputs = self.net.run(&self.input)?;
        let numbers = outputs.get("output_eyes_contours_and_brows")?;
        let mut outline = [[f32::NAN; 2]; 16];
        for (point, [x, y, _]) in outline.iter_mut().zip(numbers.as_chunks::<3>().0) {
            *point = [*x, *y];
        }
        Ok(outline)
    }

    /// The opening of one eye in a picture that shows nothing else, for evaluation.
    ///
    /// # Errors
    /// As [`Self::observe`].
    pub fn eye_alone(
        &mut self,
        picture: &I420View<'_>,
    ) -> Result<Result<f32, NotSeen>, PerceptionError> {
        #[expect(clippy::cast_precision_loss, reason = "sides of a picture are at most 4096")]
        let (w, h) = (picture.width() as f32, picture.height() as f32);
        self.eye(picture, Square::upright(w / 2.0, h / 2.0, w.min(h)), Side::Right)
    }
}

/// Which eyes, right and left, a head in this pose shows well enough.
fn eyes_in_view(head: &HeadPose) -> (bool, bool) {
    let min_pitch_deg = MIN_PITCH_DEG + PITCH_FOR_YAW * head.yaw_deg.abs();
    if !(min_pitch_deg..=MAX_PITCH_DEG).contains(&head.pitch_deg) {
        return (false, false);
    }
    // Turned to the driver's left, the right eye is the near one.
    let in_view = |towards: f32| {
        (-MAX_YAW_FAR_EYE_DEG..=MAX_YAW_NEAR_EYE_DEG).contains(&(head.yaw_deg * towards))
    };
    (in_view(1.0), in_view(-1.0))
}

/// Mean gap over width, where the outline can be one of an eye.
pub fn opening(outline: &Outline) -> Option<f32> {
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

/// Mean of the eyes that were seen; `None` for an eye that was not looked at.
fn both_eyes(eyes: [Option<Result<f32, NotSeen>>; 2], face_score: f32) -> Seen<EyelidOpening> {
    let known = |value: f32, confidence: f32| Seen::Known {
        value: EyelidOpening(value),
        confidence: confidence.clamp(0.0, 1.0),
    };
    match eyes {
        [Some(Ok(a)), Some(Ok(b))] => {
            let agree = 1.0 - (a - b).abs() / DISAGREE_OPENING;
            if agree > 0.0 {
                known(a.midpoint(b), face_score * agree)
            } else {
                Seen::Unknown(NotSeen::EyesUnclear)
            }
        }
        [Some(Ok(one)), _] | [_, Some(Ok(one))] => known(one, face_score * ONE_EYE),
        [Some(Err(why)), _] | [_, Some(Err(why))] => Seen::Unknown(why),
        [None, None] => Seen::Unknown(NotSeen::FaceUnclear),
    }
}

/// Strength of the edges in a luma picture over its deviation.
fn sharpness(luma: &[u8], width: usize, deviation: f32) -> f32 {
    let (mut sum, mut n) = (0.0_f32, 0.0_f32);
    let rows = luma.chunks_exact(width.max(3));
    let (above, below) = (rows.clone(), rows.clone().skip(2));
    for ((a, m), b) in above.zip(rows.skip(1)).zip(below) {
        for ((m, a), b) in m.array_windows::<3>().zip(a.iter().skip(1)).zip(b.iter().skip(1)) {
            let [left, here, right] = m.map(f32::from);
            let edge = 4.0 * here - left - right - f32::from(*a) - f32::from(*b);
            sum += edge * edge;
            n += 1.0;
        }
    }
    (sum / n.max(1.0)).sqrt() / deviation.max(0.1)
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
    fn a_turned_or_bowed_head_hides_eyes() {
        for (yaw_deg, pitch_deg, want) in [
            (0.0, 0.0, (true, true)),
            (24.0, 0.0, (true, true)),
            // To the driver's left: the left eye is the far one.
            (26.0, 0.0, (true, false)),
            (-26.0, 0.0, (false, true)),
            (51.0, 0.0, (false, false)),
            (0.0, -24.0, (true, true)),
            (0.0, -26.0, (false, false)),
            (-24.0, -18.0, (true, true)),
            (-24.0, -20.0, (false, false)),
            (0.0, 41.0, (false, false)),
            (f32::NAN, 0.0, (false, false)),
        ] {
            let head = HeadPose { yaw_deg, pitch_deg, roll_deg: 0.0 };
            assert_eq!(eyes_in_view(&head), want, "{head:?}");
        }
    }

    #[test]
    fn eyes_are_joined() {
        let unclear = Err(NotSeen::EyesUnclear);
        for (eyes, want) in [
            ([Some(Ok(0.2)), Some(Ok(0.26))], Ok((0.23, 0.72))),
            ([Some(Ok(0.2)), None], Ok((0.2, 0.63))),
            ([Some(unclear), Some(Ok(0.2))], Ok((0.2, 0.63))),
            ([Some(Ok(0.0)), Some(Ok(0.4))], Err(NotSeen::EyesUnclear)),
            ([Some(Err(NotSeen::BadLight)), Some(unclear)], Err(NotSeen::BadLight)),
            ([None, Some(unclear)], Err(NotSeen::EyesUnclear)),
            ([None, None], Err(NotSeen::FaceUnclear)),
        ] {
            match (both_eyes(eyes, 0.9), want) {
                (Seen::Known { value, confidence }, Ok((opening, sure))) => {
                    assert!((value.0 - opening).abs() < 1e-5, "{eyes:?}: {value:?}");
                    assert!((confidence - sure).abs() < 1e-5, "{eyes:?}: {confidence}");
                }
                (Seen::Unknown(why), Err(want)) => assert_eq!(why, want, "{eyes:?}"),
                (got, want) => panic!("{eyes:?}: {got:?}, want {want:?}"),
            }
        }
    }

    #[test]
    fn blur_lowers_sharpness() {
        let stripes = |period: usize| -> Vec<u8> {
            (0..64 * 64).map(|n| if (n / period).is_multiple_of(2) { 40 } else { 200 }).collect()
        };
        let slope: Vec<u8> = (0..64 * 64).map(|n| u8::try_from(n % 64 * 3).unwrap()).collect();
        let fine = sharpness(&stripes(4), 64, 80.0);
        let soft = sharpness(&slope, 64, 55.0);
        assert!(fine > 1.0 && soft < MIN_SHARPNESS, "{fine} {soft}");
        assert_eq!(sharpness(&[], 64, 0.0), 0.0);
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
