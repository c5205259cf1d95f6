//! Where the eyes point against the head, from where the iris lies between the eye's corners.
//! Pure.
//!
//! The eye as a ball: the iris' middle goes round the centre of rotation at about 10.5 mm, and
//! the corners are about 29 mm apart and about 3 mm in front of that centre (adult means of the
//! anatomical literature). So for a head turned by ψ and an eye turned by θ against it, the iris
//! appears, in units of the eye's true width (its width as seen is that times cos ψ),
//!
//! ```text
//! m = r sin(ψ + θ) - d sin ψ,   r = 10.5/29 = 0.36,   d = 3/29 = 0.10
//! θ = asin((m + d sin ψ) / r) - ψ
//! ```
//!
//! One degree is 0.006 eye widths: of an eye that is 30 pixels wide in the camera's picture a
//! fifth of a pixel. So a small eye, and two eyes that disagree, leave little confidence.

use temoin_proto::perception::{EyeDirection, HeadPose, NotSeen, Seen};

/// Radius of the iris' way, eye widths.
const RADIUS: f32 = 0.36;
/// How far the corners lie in front of the centre of rotation, eye widths.
const CORNERS_AHEAD: f32 = 0.10;
/// An error of this much halves the confidence.
const HALF_AT_DEG: f32 = 6.0;
/// Two eyes that differ by this much know nothing.
const DISAGREE_DEG: f32 = 25.0;
/// One eye alone against both.
const ONE_EYE: f32 = 0.6;
/// Lids this near to each other hide the iris: what PERCLOS calls closed, a fifth of the gap.
/// Between this and the limit of closed, the iris tells lids that are lowered over a look down from
/// lids that fall: 3 of 35 photographed closed eyes that read 0.09 to 0.12 seem to look far down.
const MIN_OPENING: f32 = 0.09;
/// Above this turn of the head the far corner is hidden.
const MAX_HEAD_YAW_DEG: f32 = 35.0;
/// No eye turns further.
const MAX_EYE_DEG: f32 = 50.0;

/// One eye's iris.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Iris {
    /// Its middle against the middle between the corners, in true eye widths: to the picture's
    /// right.
    pub(crate) right: f32,
    /// The same: down.
    pub(crate) down: f32,
    /// How far off it may be, true eye widths.
    pub(crate) error: f32,
    /// The eye's opening.
    pub(crate) opening: f32,
    /// How sure the eye was seen.
    pub(crate) confidence: f32,
}

/// The direction of the eyes, from those that were seen.
pub(crate) fn direction(eyes: [Option<Iris>; 2], head: &HeadPose) -> Seen<EyeDirection> {
    let in_view = (-MAX_HEAD_YAW_DEG..=MAX_HEAD_YAW_DEG).contains(&head.yaw_deg);
    if !in_view || !head.pitch_deg.is_finite() {
        return Seen::Unknown(NotSeen::FaceUnclear);
    }
    let [right, left] = eyes.map(|eye| eye.and_then(|iris| of_one(&iris, head)));
    match (right, left) {
        (Some((a, sure_a)), Some((b, sure_b))) => {
            let gap = (a.yaw_deg - b.yaw_deg).abs().max((a.pitch_deg - b.pitch_deg).abs());
            let confidence = sure_a.midpoint(sure_b) * (1.0 - gap / DISAGREE_DEG);
            let value = EyeDirection {
                yaw_deg: a.yaw_deg.midpoint(b.yaw_deg),
                pitch_deg: a.pitch_deg.midpoint(b.pitch_deg),
            };
            if confidence > 0.0 {
                Seen::Known { value, confidence }
            } else {
                Seen::Unknown(NotSeen::EyesUnclear)
            }
        }
        (Some((value, sure)), None) | (None, Some((value, sure))) => {
            Seen::Known { value, confidence: sure * ONE_EYE }
        }
        (None, None) => Seen::Unknown(NotSeen::EyesUnclear),
    }
}

fn of_one(iris: &Iris, head: &HeadPose) -> Option<(EyeDirection, f32)> {
    if iris.opening < MIN_OPENING {
        return None;
    }
    // The picture's right is the driver's left, which is positive; up is positive, down is not.
    let yaw_deg = turned(iris.right, head.yaw_deg)?;
    let pitch_deg = turned(-iris.down, head.pitch_deg)?;
    let error_deg = (iris.error.max(0.0) / RADIUS).to_degrees();
    let confidence = iris.confidence / (1.0 + error_deg / HALF_AT_DEG);
    let sane = yaw_deg.abs() <= MAX_EYE_DEG && pitch_deg.abs() <= MAX_EYE_DEG;
    sane.then_some((EyeDirection { yaw_deg, pitch_deg }, confidence.clamp(0.0, 1.0)))
}

/// The eye's turn against a head that is turned by `head_deg`, from the iris' place in true widths
/// of the eye.
fn turned(place: f32, head_deg: f32) -> Option<f32> {
    let sine = (place + CORNERS_AHEAD * head_deg.to_radians().sin()) / RADIUS;
    // An iris that lies further out than the ball is wide was drawn wrongly.
    (sine.abs() <= 1.0).then(|| sine.asin().to_degrees() - head_deg)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn iris(right: f32, down: f32) -> Iris {
        Iris { right, down, error: 0.0125, opening: 0.25, confidence: 0.9 }
    }

    fn head(yaw_deg: f32, pitch_deg: f32) -> HeadPose {
        HeadPose { yaw_deg, pitch_deg, roll_deg: 0.0 }
    }

    fn known(eyes: [Option<Iris>; 2], head: &HeadPose) -> (EyeDirection, f32) {
        match direction(eyes, head) {
            Seen::Known { value, confidence } => (value, confidence),
            Seen::Unknown(why) => panic!("{why:?}"),
        }
    }

    #[test]
    fn the_iris_says_where_the_eyes_point() {
        for (name, eye, head, want) in [
            ("ahead", iris(0.0, 0.0), head(0.0, 0.0), [0.0, 0.0]),
            ("to the driver's left", iris(0.18, 0.0), head(0.0, 0.0), [30.0, 0.0]),
            ("down", iris(0.0, 0.125), head(0.0, 0.0), [0.0, -20.3]),
            ("back to the camera", iris(-0.05, 0.0), head(30.0, 0.0), [-30.0, 0.0]),
            ("with the head", iris(0.208, 0.0), head(30.0, 0.0), [15.8, 0.0]),
        ] {
            let ([yaw, pitch], _) = {
                let (value, sure) = known([Some(eye), Some(eye)], &head);
                ([value.yaw_deg, value.pitch_deg], sure)
            };
            assert!(
                (yaw - want[0]).abs() < 0.5 && (pitch - want[1]).abs() < 0.5,
                "{name}: {yaw} {pitch}"
            );
        }
    }

    #[test]
    fn lids_lowered_over_a_look_down_leave_a_direction() {
        let lowered = |opening| [Some(Iris { opening, ..iris(0.0, 0.18) }); 2];
        let (down, _) = known(lowered(0.10), &head(0.0, 0.0));
        assert!((down.pitch_deg + 30.0).abs() < 0.5, "{down:?}");
        let fallen = direction(lowered(0.08), &head(0.0, 0.0));
        assert_eq!(fallen, Seen::Unknown(NotSeen::EyesUnclear));
    }

    #[test]
    fn doubt_lowers_the_confidence() {
        let ahead = head(0.0, 0.0);
        let sure = known([Some(iris(0.1, 0.0)); 2], &ahead).1;
        let small = Iris { error: 0.05, ..iris(0.1, 0.0) };
        for (name, eyes) in [
            ("one eye", [Some(iris(0.1, 0.0)), None]),
            ("small eyes", [Some(small); 2]),
            ("eyes that disagree", [Some(iris(0.1, 0.0)), Some(iris(0.0, 0.0))]),
        ] {
            let less = known(eyes, &ahead).1;
            assert!(less < 0.75 * sure, "{name}: {less} against {sure}");
        }
    }

    #[test]
    fn what_shows_no_iris_is_unknown() {
        let closed = Iris { opening: 0.05, ..iris(0.0, 0.0) };
        for (name, eyes, head, want) in [
            ("no eye", [None, None], head(0.0, 0.0), NotSeen::EyesUnclear),
            ("closed", [Some(closed); 2], head(0.0, 0.0), NotSeen::EyesUnclear),
            ("turned away", [Some(iris(0.0, 0.0)); 2], head(50.0, 0.0), NotSeen::FaceUnclear),
            ("drawn outside", [Some(iris(0.5, 0.0)); 2], head(0.0, 0.0), NotSeen::EyesUnclear),
            (
                "eyes that contradict",
                [Some(iris(0.25, 0.0)), Some(iris(-0.25, 0.0))],
                head(0.0, 0.0),
                NotSeen::EyesUnclear,
            ),
            ("no pose", [Some(iris(0.0, 0.0)); 2], head(f32::NAN, 0.0), NotSeen::FaceUnclear),
        ] {
            assert_eq!(direction(eyes, &head), Seen::Unknown(want), "{name}");
        }
    }

    #[test]
    fn a_mirrored_picture_mirrors_the_gaze() {
        let (a, _) = known([Some(iris(0.12, 0.03)); 2], &head(10.0, -5.0));
        let (b, _) = known([Some(iris(-0.12, 0.03)); 2], &head(-10.0, -5.0));
        assert!((a.yaw_deg + b.yaw_deg).abs() < 1e-3 && (a.pitch_deg - b.pitch_deg).abs() < 1e-3);
    }

    proptest! {
        #[test]
        fn any_numbers_are_an_angle_or_a_reason(n in proptest::array::uniform8(any::<f32>())) {
            let [right, down, error, opening, confidence, yaw_deg, pitch_deg, roll_deg] = n;
            let eye = Iris { right, down, error, opening, confidence };
            let head = HeadPose { yaw_deg, pitch_deg, roll_deg };
            if let Seen::Known { value, confidence } = direction([Some(eye), Some(eye)], &head) {
                prop_assert!(value.yaw_deg.abs() <= MAX_EYE_DEG && value.pitch_deg.abs() <= MAX_EYE_DEG);
                prop_assert!(confidence.is_nan() || (0.0..=1.0).contains(&confidence));
            }
        }
    }
}
