//! The project's own network that judges one face: whether it is one, where its points are, head
//! pose, mouth, and whether something covers it.
//!
//! It is always used where it is there. Beside the model pack it says mouth, cover and doubt;
//! without the pack it also follows the face from picture to picture, so that a face that a
//! cascade found from the front stays seen when it turns.
//!
//! INVARIANT: every number of a [`FaceReading`] is finite.

use temoin_media::{bgr::Square, frame::I420View};
use temoin_proto::perception::{FaceCover, HeadPose, MouthOpening, NotSeen, Seen};

use crate::perception::{
    PerceptionError,
    model::{Model, finite},
    tensors::{light_is_bad, luma},
    yunet::Face,
};

/// Side of the input, pixels.
const INPUT_SIDE: u32 = 80;
/// The network sees a square of this many of the longer side of a rendered face.
const CUT_SIDES: f32 = 1.3;
/// The longer side of a rendered face over the distance between the middles of its eyes and mouth:
/// 2.48, deviation 0.17, on the labels of the training data with yaw to 70 degrees.
const RENDERED_SIDE_PER_EYE_MOUTH: f32 = 2.48;
/// What the networks were trained on, over what YuNet draws: its boxes are higher than those of the
/// rendered faces. A network that is shown too large a square draws the points too far apart, by
/// half of the error; followed from picture to picture with YuNet's scale the box would grow
/// until it filled the picture.
const RENDERED_SIDE: f32 = RENDERED_SIDE_PER_EYE_MOUTH / SIDE_PER_EYE_MOUTH;
/// The middle of a rendered face lies this many of YuNet's sides below the middle of YuNet's box
/// (0.03 rendered sides above the middle between eyes and mouth, against [`MIDDLE_UP_SIDES`]).
const RENDERED_DOWN_SIDES: f32 = MIDDLE_UP_SIDES - 0.03 * RENDERED_SIDE;
/// A smaller face has too few pixels.
const MIN_FACE_SIDE_PX: f32 = 28.0;
/// Below this probability it is no face. Own choice: validate.
pub(super) const MIN_FACE: f32 = 0.5;
/// Above it something covers the face. Held-out rendered faces: 26 % of the covered ones are above
/// (35 % above 0.5) and none of 654 free ones is (0.9 % above 0.5); free real faces stay below 0.2. A
/// cover that is none costs the sight of the driver. Own choice: validate.
const COVERED: f32 = 0.7;
/// Below it the face is free; between, nothing is said. Own choice: validate.
const FREE: f32 = 0.5;
/// A mouth that is turned further is drawn too narrow, and so reads as open. Both for the head's
/// pose and for what this network takes it for.
const MAX_YAW_MOUTH_DEG: f32 = 20.0;
/// A bowed head hides the lower lip from a camera on the dashboard.
const MIN_PITCH_MOUTH_DEG: f32 = -30.0;
/// No mouth opens further.
const MAX_MOUTH: f32 = 1.5;
/// No neck turns further.
const MAX_ANGLE_DEG: f32 = 120.0;
/// The network says how far it may be off in each angle. Half the confidence is left at this error
/// of yaw or pitch, whichever is larger, of a head that is seen from the front. Own choice: validate.
const HALF_AT_ERROR_DEG: f32 = 12.0;
/// And at so much more for each degree that the head is turned: whether it is 50 or 65 degrees makes
/// no difference, whether it is 5 or 20 does. Own choice: validate.
const HALF_AT_ERROR_PER_DEG: f32 = 0.25;
/// A pose whose error is this many of those is not seen. Own choice: validate.
const NOT_SEEN_AT: f32 = 1.6;

/// A face's longer side over the distance between the middles of eyes and mouth: 2.89, deviation
/// 0.11, on 74 filmed and photographed faces with yaw to 60 degrees and pitch to -53.
const SIDE_PER_EYE_MOUTH: f32 = 2.89;
/// A raised head brings eyes and mouth nearer to each other in the picture, a bowed one hardly: for
/// each degree the side is this much more of their distance (rendered heads, up to
/// [`MOST_RAISED_DEG`]; `models/train/dataset.py` cuts its samples by the same rule).
const RAISED_PER_DEG: f32 = 0.0125;
/// See [`RAISED_PER_DEG`].
const MOST_RAISED_DEG: f32 = 50.0;
/// The face's middle lies this many sides above the middle between eyes and mouth (same faces).
const MIDDLE_UP_SIDES: f32 = 0.07;
/// For each degree of yaw, it lies this many sides to the driver's right of the points: they
/// turn away with the nose (same faces).
const MIDDLE_ASIDE_PER_DEG: f32 = 0.0025;

/// What the network says of one face; points in pixels of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FaceReading {
    /// Head pose in our signs.
    pub(crate) pose: HeadPose,
    /// How far yaw or pitch may be off, whichever is more, degrees: what the network expects.
    pub(crate) pose_error_deg: f32,
    /// Right eye, left eye, nose, right and left corner of the mouth.
    pub(crate) points: [[f32; 2]; 5],
    /// Gap between the lips over the mouth's width.
    pub(crate) mouth: f32,
    /// Probability that it is a face.
    pub(crate) face: f32,
    /// Probability that a good part of it is covered.
    pub(crate) covered: f32,
}

/// The network.
pub(crate) struct FaceState {
    net: Box<dyn Model>,
    input: Vec<f32>,
}

impl FaceState {
    pub(crate) fn new(net: Box<dyn Model>) -> Self {
        Self { net, input: Vec::new() }
    }

    /// Judges the face in this box.
    ///
    /// # Errors
    /// [`PerceptionError::Infer`], [`PerceptionError::Picture`]. A face that cannot be judged is
    /// no error: there is a reason.
    pub(crate) fn observe(
        &mut self,
        picture: &I420View<'_>,
        face: &Face,
    ) -> Result<Result<FaceReading, NotSeen>, PerceptionError> {
        if face.side() < MIN_FACE_SIDE_PX {
            return Ok(Err(NotSeen::FaceUnclear));
        }
        let square = rendered_square(face, CUT_SIDES, 0.0);
        let cut = picture.cut(square, INPUT_SIDE)?;
        if light_is_bad(cut.view().luma_stats()) {
            return Ok(Err(NotSeen::BadLight));
        }
        luma(&cut, false, &mut self.input);
        let outputs = ["pose", "points", "mouth", "face", "covered", "pose_error"];
        let given = self.net.run(&self.input, &outputs)?;
        Ok(read(&given, square).ok_or(NotSeen::ModelFailed))
    }
}

/// A square of so many sides of a rendered face, so many of them below the middle of the face: the
/// networks were trained on rendered people.
pub(super) fn rendered_square(face: &Face, sides: f32, down_sides: f32) -> Square {
    let ([x, y], side) = (face.middle(), face.side());
    let down = RENDERED_DOWN_SIDES + down_sides * RENDERED_SIDE;
    Square::upright(x, y + down * side, sides * RENDERED_SIDE * side)
}

/// The network's numbers; `None` where one is not a number.
fn read(given: &[Vec<f32>], square: Square) -> Option<FaceReading> {
    let [yaw_deg, pitch_deg, roll_deg] = finite(given.first())?;
    let flat: [f32; 10] = finite(given.get(1))?;
    let [mouth] = finite(given.get(2))?;
    let [face] = finite(given.get(3))?;
    let [covered] = finite(given.get(4))?;
    let [yaw_error_deg, pitch_error_deg, _] = finite::<3>(given.get(5))?;
    let [left, top] = square.corner();
    let mut points = [[0.0; 2]; 5];
    for (point, [x, y]) in points.iter_mut().zip(flat.as_chunks::<2>().0) {
        *point = [left + x * square.side, top + y * square.side];
    }
    let sane = [yaw_deg, pitch_deg, roll_deg].iter().all(|a| a.abs() <= MAX_ANGLE_DEG);
    sane.then_some(FaceReading {
        pose: HeadPose { yaw_deg, pitch_deg, roll_deg },
        pose_error_deg: yaw_error_deg.max(pitch_error_deg).max(0.0),
        points,
        mouth: mouth.clamp(0.0, MAX_MOUTH),
        face: face.clamp(0.0, 1.0),
        covered: covered.clamp(0.0, 1.0),
    })
}

impl FaceReading {
    /// The face's box, from its points: where it is to be looked at in the next picture. `None`
    /// where the points are no face's.
    pub(crate) fn as_face(&self) -> Option<Face> {
        let [right, left, _, mouth_right, mouth_left] = self.points;
        let middle = |[ax, ay]: [f32; 2], [bx, by]: [f32; 2]| [ax.midpoint(bx), ay.midpoint(by)];
        let (eyes, mouth) = (middle(right, left), middle(mouth_right, mouth_left));
        let apart = (mouth[0] - eyes[0]).hypot(mouth[1] - eyes[1]);
        let raised = 1.0 + RAISED_PER_DEG * self.pose.pitch_deg.clamp(0.0, MOST_RAISED_DEG);
        let side = SIDE_PER_EYE_MOUTH * apart * raised;
        let [x, y] = middle(eyes, mouth);
        let x = x - MIDDLE_ASIDE_PER_DEG * self.pose.yaw_deg * side;
        let y = y - MIDDLE_UP_SIDES * side;
        // YuNet's boxes are about 0.7 as wide as they are high.
        let w = 0.7 * side;
        let face = Face {
            score: self.face,
            x: x - w / 2.0,
            y: y - side / 2.0,
            w,
            h: side,
            points: self.points,
        };
        (side.is_finite() && side >= MIN_FACE_SIDE_PX).then_some(face)
    }

    /// Whether a good part of the face is covered.
    pub(crate) const fn is_covered(&self) -> bool {
        self.covered >= COVERED
    }

    /// Head pose, where nothing better says it.
    pub(crate) fn head(&self) -> Seen<HeadPose> {
        let turned_deg = self.pose.yaw_deg.abs().max(self.pose.pitch_deg.abs());
        let doubt = self.pose_error_deg / (HALF_AT_ERROR_DEG + HALF_AT_ERROR_PER_DEG * turned_deg);
        if self.face < MIN_FACE || doubt > NOT_SEEN_AT {
            Seen::Unknown(NotSeen::FaceUnclear)
        } else {
            // The network was trained on covered faces as well: a cover is doubt, not blindness.
            let exact = 1.0 / (1.0 + doubt * doubt);
            let confidence = self.face * (1.0 - self.covered / 2.0) * exact;
            Seen::Known { value: self.pose, confidence }
        }
    }

    /// The mouth, under this head pose.
    pub(crate) fn mouth(&self, head: &Seen<HeadPose>) -> Seen<MouthOpening> {
        let Seen::Known { value: head, .. } = head else {
            return Seen::Unknown(NotSeen::FaceUnclear);
        };
        if self.is_covered() {
            return Seen::Unknown(NotSeen::Covered);
        }
        // Written so that NaN is unclear.
        let in_view = [head, &self.pose].into_iter().all(|pose| {
            pose.yaw_deg.abs() <= MAX_YAW_MOUTH_DEG && pose.pitch_deg >= MIN_PITCH_MOUTH_DEG
        });
        if in_view && self.face >= MIN_FACE {
            let confidence = self.face * (1.0 - self.covered);
            Seen::Known { value: MouthOpening(self.mouth), confidence }
        } else {
            Seen::Unknown(NotSeen::FaceUnclear)
        }
    }

    /// Whether the face is free. A cover that leaves both eyes in sight hides nothing that the
    /// rules of the eyes need, or is none: a raised chin looks like one to this network.
    pub(crate) const fn cover(&self, both_eyes_seen: bool) -> Seen<FaceCover> {
        if self.is_covered() && both_eyes_seen {
            Seen::Unknown(NotSeen::FaceUnclear)
        } else if self.is_covered() {
            Seen::Known { value: FaceCover::Covered, confidence: self.covered }
        } else if self.covered <= FREE && self.face >= MIN_FACE {
            Seen::Known { value: FaceCover::Free, confidence: 1.0 - self.covered }
        } else {
            Seen::Unknown(NotSeen::FaceUnclear)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use temoin_media::frame::I420Picture;

    use super::*;
    use crate::perception::model::fake::Always;

    /// Numbers of a face from the front in the middle of its square.
    pub(in super::super) fn numbers(face: f32, covered: f32) -> Vec<(&'static str, Vec<f32>)> {
        let points = vec![0.38, 0.42, 0.62, 0.42, 0.5, 0.55, 0.41, 0.69, 0.59, 0.69];
        vec![
            ("pose", vec![5.0, -3.0, 1.0]),
            ("points", points),
            ("mouth", vec![0.3]),
            ("face", vec![face]),
            ("covered", vec![covered]),
            ("pose_error", vec![3.0, 2.0, 4.0]),
        ]
    }

    fn textured() -> I420Picture {
        let luma = (0..320 * 240).map(|n: u32| u8::try_from(60 + n * 7 % 120).unwrap());
        let data = luma.chain(std::iter::repeat_n(128, 320 * 240 / 2)).collect();
        I420Picture::from_vec(320, 240, data).unwrap()
    }

    fn a_face() -> Face {
        Face { score: 0.9, x: 120.0, y: 60.0, w: 80.0, h: 100.0, points: [[0.0; 2]; 5] }
    }

    fn observe(numbers: Vec<(&'static str, Vec<f32>)>) -> Result<FaceReading, NotSeen> {
        let mut net = FaceState::new(Box::new(Always(numbers)));
        net.observe(&textured().view(), &a_face()).unwrap()
    }

    #[test]
    fn a_face_is_judged_and_followed() {
        let reading = observe(numbers(0.95, 0.1)).unwrap();
        // The square is 1.3 rendered sides of 0.86 of the box wide, in the middle of the box.
        let want = 160.0 + (0.38 - 0.5) * 130.0 * RENDERED_SIDE;
        assert!((reading.points[0][0] - want).abs() < 1e-3, "{reading:?}");
        let next = reading.as_face().unwrap();
        assert!(next.iou(&a_face()) > 0.6, "{next:?}");
        let head = reading.head();
        assert_eq!(head.known().unwrap().yaw_deg, 5.0);
        assert_eq!(reading.mouth(&head).known(), Some(&MouthOpening(0.3)));
        assert_eq!(reading.cover(true).known(), Some(&FaceCover::Free));
    }

    #[test]
    fn what_is_covered_or_no_face_says_nothing_else() {
        let covered = observe(numbers(0.9, 0.9)).unwrap();
        assert_eq!(covered.cover(false).known(), Some(&FaceCover::Covered));
        assert_eq!(covered.cover(true), Seen::Unknown(NotSeen::FaceUnclear));
        let Seen::Known { confidence, .. } = covered.head() else { panic!("{covered:?}") };
        assert!(confidence < 0.55, "{confidence}");
        let ahead = observe(numbers(0.9, 0.0)).unwrap().head();
        assert_eq!(covered.mouth(&ahead), Seen::Unknown(NotSeen::Covered));

        let none = observe(numbers(0.2, 0.5)).unwrap();
        for unknown in [none.head().known().is_none(), none.cover(false).known().is_none()] {
            assert!(unknown, "{none:?}");
        }
        assert_eq!(none.mouth(&ahead), Seen::Unknown(NotSeen::FaceUnclear));
        let turned =
            Seen::Known { value: HeadPose { yaw_deg: 50.0, ..covered.pose }, confidence: 1.0 };
        let free = observe(numbers(0.9, 0.0)).unwrap();
        assert_eq!(free.mouth(&turned), Seen::Unknown(NotSeen::FaceUnclear));
    }

    #[test]
    fn a_doubtful_pose_is_less_sure_and_then_not_seen() {
        let head = |yaw_deg: f32, error_deg: [f32; 3]| {
            let mut given = numbers(1.0, 0.0);
            given[0].1 = vec![yaw_deg, 0.0, 0.0];
            given[5].1 = error_deg.to_vec();
            observe(given).unwrap().head()
        };
        for (name, yaw_deg, error_deg, want) in [
            ("sure", 0.0, [2.0, 2.0, 2.0], Some(0.97)),
            ("yaw in doubt", 0.0, [12.0, 2.0, 2.0], Some(0.5)),
            ("pitch in doubt", 0.0, [2.0, 12.0, 2.0], Some(0.5)),
            ("roll points nowhere", 0.0, [2.0, 2.0, 60.0], Some(0.97)),
            ("yaw unknown", 0.0, [20.0, 2.0, 2.0], None),
            ("pitch unknown", 0.0, [2.0, 20.0, 2.0], None),
            ("the same doubt far to the side", -60.0, [20.0, 2.0, 2.0], Some(0.65)),
            ("unknown where", -60.0, [45.0, 2.0, 2.0], None),
        ] {
            match (head(yaw_deg, error_deg), want) {
                (Seen::Known { confidence, .. }, Some(want)) => {
                    assert!((confidence - want).abs() < 0.01, "{name}: {confidence}");
                }
                (Seen::Unknown(NotSeen::FaceUnclear), None) => {}
                (head, _) => panic!("{name}: {head:?}"),
            }
        }
    }

    #[test]
    fn a_raised_face_is_followed_at_its_size() {
        let side = |pitch_deg: f32, apart: f32| {
            let mut given = numbers(0.95, 0.1);
            given[0].1 = vec![0.0, pitch_deg, 0.0];
            for (n, y) in given[1].1.iter_mut().enumerate().filter(|(n, _)| n % 2 == 1) {
                let mouth = if n >= 6 { 0.5 } else { -0.5 };
                *y = 0.5 + mouth * apart;
            }
            observe(given).unwrap().as_face().unwrap().side()
        };
        let level = side(0.0, 0.27);
        assert!((side(40.0, 0.27 / 1.5) / level - 1.0).abs() < 0.01, "raised: the same face");
        assert!((side(-40.0, 0.27) / level - 1.0).abs() < 0.01, "bowed: hardly nearer");
    }

    #[test]
    fn nonsense_is_a_failed_model() {
        for (name, output, value) in [
            ("not a number", 0, vec![f32::NAN, 0.0, 0.0]),
            ("endless", 1, vec![f32::INFINITY; 10]),
            ("too few", 1, vec![0.5; 9]),
            ("no neck does that", 0, vec![170.0, 0.0, 0.0]),
            ("no mouth", 2, vec![f32::NAN]),
            ("no face", 3, vec![f32::NAN]),
            ("no cover", 4, vec![]),
            ("no error", 5, vec![f32::NAN, 1.0, 1.0]),
        ] {
            let mut given = numbers(0.9, 0.1);
            given[output].1 = value;
            assert_eq!(observe(given), Err(NotSeen::ModelFailed), "{name}");
        }
        let mut gone = numbers(0.9, 0.1);
        gone.remove(3);
        let mut net = FaceState::new(Box::new(Always(gone)));
        assert!(net.observe(&textured().view(), &a_face()).is_err(), "an output is missing");
    }

    #[test]
    fn dark_and_small_faces_are_not_judged() {
        let mut net = FaceState::new(Box::new(Always(numbers(0.9, 0.1))));
        let black = I420Picture::black(320, 240).unwrap();
        assert_eq!(net.observe(&black.view(), &a_face()).unwrap(), Err(NotSeen::BadLight));
        let small = Face { w: 20.0, h: 25.0, ..a_face() };
        assert_eq!(net.observe(&textured().view(), &small).unwrap(), Err(NotSeen::FaceUnclear));
    }
}
