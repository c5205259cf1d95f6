//! The driver's eyelids and the direction of the eyes, eye by eye.
//!
//! Two networks look at the same cut-out: the pack's outline (`outline.rs`) and the project's own
//! (`eye_state.rs`), on one scale (`eye_scale.rs`). The opening is the mean of both, and unknown
//! where they contradict each other; the own network also says whether the eye can be seen. Before
//! both, the cut-out must be clear (`eye_clarity.rs`) and must not have been compressed to blocks
//! (`compression.rs`).
//!
//! INVARIANT: an eye that is turned away, hidden, too small, too dark, blurred or drawn
//! implausibly is *not seen*. So are lids that look closed under a bowed head, where the driver
//! may look down, or on a head turned far; lids that are clearly open are open there too.

use temoin_agent_core::config::CLOSED_BELOW;
use temoin_media::{bgr::Square, frame::I420View};
use temoin_proto::perception::{EyeDirection, EyelidOpening, HeadPose, NotSeen, PerEye, Seen};

use crate::{
    infer::Runtime,
    model_pack::ModelPack,
    perception::{
        PerceptionError, PerceptionOptions,
        cabin::{
            OwnNetworks, compression,
            eye_clarity::{self, EyeClarity},
            eye_scale,
            eye_state::{EyeReading, EyeState, MIN_SEEN},
            gaze::{self, Iris},
            outline::{EyeNetwork, OutlineReading},
        },
        tensors::luma,
        yunet::Face,
    },
};

/// The networks see a square of this many distances between the eyes (the iris model's own
/// pipeline's value).
const CUT_EYE_DISTANCES: f32 = 1.1;
/// Error of the iris' middle in the pack's outline, pixels of the camera's picture. Own choice:
/// validate.
const IRIS_ERROR_PX: f32 = 0.5;
/// The own network draws the iris too near to the middle: what it says times this is right in the
/// mean of held-out rendered eyes (1.74 sideways, 1.78 down).
const OWN_IRIS_GAIN: f32 = 1.75;
/// What is left of its error then, true eye widths (the same eyes: 0.095 and 0.09). That is 14
/// degrees: a gaze of little confidence, which no rule takes for sure.
const OWN_IRIS_ERROR: f32 = 0.09;
/// Eyes closer to each other than this are too small. Halving a picture step by step, the opening
/// holds down to 21 pixels.
const MIN_EYE_DISTANCE_PX: f32 = 20.0;
/// Above this turn the far eye's outline is drawn too narrow and reads as wide open (0.3 and more
/// at 35 degrees).
const MAX_YAW_FAR_EYE_DEG: f32 = 25.0;
/// Above this turn the near eye's lids are believed only where they are clearly open: rendered eyes
/// were turned no further.
const MAX_YAW_NEAR_EYE_DEG: f32 = 50.0;
/// Above this turn it is seen from its corner. The outline on a recorded head was right up to 57.
const FURTHEST_YAW_DEG: f32 = 60.0;
/// Below this nod the upper lid covers an open eye that looks down: only clearly open lids are
/// believed.
const MIN_PITCH_DEG: f32 = -25.0;
/// Below this nod nothing is: rendered heads were bowed no further.
const LOWEST_PITCH_DEG: f32 = -42.0;
/// A head that is turned as well is bowed further than its pitch says: so many degrees for each
/// degree of turn. Without this, `head_turns.mp4` has 'closed' eyes at 12.7 s, where he looks at
/// the floor beside him.
const PITCH_FOR_YAW: f32 = 0.25;
/// Above this nod the lower lid hides the gap.
const MAX_PITCH_DEG: f32 = 40.0;
/// Two eyes that differ by this much in opening leave no confidence in their mean.
const DISAGREE_OPENING: f32 = 0.3;
/// Confidence of one eye where the other is turned away, against both.
const ONE_EYE: f32 = 0.7;
/// The same where the other was looked at and could not be judged: what hides one eye may be over
/// the other as well.
const OTHER_EYE_HIDDEN: f32 = 0.5;
/// Two measures of one eye, on both sides of it and this far from each other: neither can be
/// believed. Two deviations of their difference on held-out rendered eyes (0.052).
const CONTRADICT: f32 = 0.1;
/// Lids are clearly open from here: of 98 rendered shut eyes of bowed and far turned heads one is,
/// by a hair, and half of the open eyes of bowed ones.
const CLEARLY_OPEN: f32 = 0.16;

/// Eyes in pictures that show nothing else, for evaluation: judged by the same networks, in the same
/// way, as the unit judges each eye.
pub struct EyeCrops(Eyelids);

impl EyeCrops {
    /// With the downloaded pack, and the own network that doubts it.
    ///
    /// # Errors
    /// [`PerceptionError::Pack`], [`PerceptionError::Infer`].
    pub fn open(options: &PerceptionOptions) -> Result<Self, PerceptionError> {
        let runtime = Runtime::load(&options.infer)?;
        let pack = ModelPack::open(&options.models)?;
        let outline = EyeNetwork::load(&runtime, &pack)?;
        Ok(Self(Eyelids::new(outline, OwnNetworks::load(&runtime).eye)))
    }

    /// With the own network alone.
    ///
    /// # Errors
    /// [`PerceptionError::Infer`].
    pub fn without_pack(options: &PerceptionOptions) -> Result<Self, PerceptionError> {
        let runtime = Runtime::load(&options.infer)?;
        Ok(Self(Eyelids::new(None, OwnNetworks::load(&runtime).eye)))
    }

    /// The opening of the eye in the middle of this picture, whose shorter side is the side of the
    /// unit's cut-out.
    ///
    /// # Errors
    /// [`PerceptionError::Infer`], [`PerceptionError::Picture`].
    pub fn observe(
        &mut self,
        picture: &I420View<'_>,
    ) -> Result<Seen<EyelidOpening>, PerceptionError> {
        if self.0.can_see() { self.0.of_crop(picture) } else { Ok(Seen::Unknown(NotSeen::NoModel)) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Right,
    Left,
}

impl Side {
    /// How far this turn of the head brings this side's eye nearer, degrees: turned to the driver's
    /// left, the right eye is the near one.
    const fn nearer_deg(self, yaw_deg: f32) -> f32 {
        match self {
            Self::Right => yaw_deg,
            Self::Left => -yaw_deg,
        }
    }
}

/// How well the pose of the head shows an eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// Lids can be told open from closed.
    Clear,
    /// Open lids may look closed.
    Slanted,
    /// Not at all.
    Away,
}

/// What was seen of both eyes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct EyesSeen {
    /// Each eye's lids.
    pub(crate) eyes: PerEye<EyelidOpening>,
    /// Both eyes' lids.
    pub(crate) both: Seen<EyelidOpening>,
    /// Where they point.
    pub(crate) gaze: Seen<EyeDirection>,
}

impl EyesSeen {
    pub(crate) const fn unseen(why: NotSeen) -> Self {
        let eyes = PerEye { right: Seen::Unknown(why), left: Seen::Unknown(why) };
        Self { eyes, both: Seen::Unknown(why), gaze: Seen::Unknown(why) }
    }
}

/// One eye.
#[derive(Clone, Copy, Debug, PartialEq)]
struct OneEye {
    opening: f32,
    confidence: f32,
    iris: Option<Iris>,
}

/// Both networks; either may be missing.
pub(crate) struct Eyelids {
    pack: Option<EyeNetwork>,
    own: Option<EyeState>,
    input: Vec<f32>,
}

impl Eyelids {
    pub(crate) const fn new(pack: Option<EyeNetwork>, own: Option<EyeState>) -> Self {
        Self { pack, own, input: Vec::new() }
    }

    /// Whether there is anything to look with.
    pub(crate) const fn can_see(&self) -> bool {
        self.pack.is_some() || self.own.is_some()
    }

    /// Whether the pack's network looks at them.
    pub(crate) const fn by_pack(&self) -> bool {
        self.pack.is_some()
    }

    /// The eyes of one face. Without a head pose nothing can be said of them. `covered`: a good
    /// part of the face is.
    ///
    /// # Errors
    /// [`PerceptionError::Infer`], [`PerceptionError::Picture`].
    pub(crate) fn observe(
        &mut self,
        picture: &I420View<'_>,
        face: &Face,
        head: &Seen<HeadPose>,
        covered: bool,
    ) -> Result<EyesSeen, PerceptionError> {
        if !self.can_see() {
            return Ok(EyesSeen::unseen(NotSeen::NoModel));
        }
        let head = match head {
            Seen::Known { value, .. } => value,
            Seen::Unknown(why) => return Ok(EyesSeen::unseen(*why)),
        };
        // Only the own network can tell whether it is the eyes that are covered.
        if covered && self.own.is_none() {
            return Ok(EyesSeen::unseen(NotSeen::Covered));
        }
        let [right, left, ..] = face.points;
        let (dx, dy) = (left[0] - right[0], left[1] - right[1]);
        let distance = dx.hypot(dy);
        if !(distance.is_finite() && distance >= MIN_EYE_DISTANCE_PX) {
            return Ok(EyesSeen::unseen(NotSeen::FaceUnclear));
        }
        let square = |[x, y]: [f32; 2]| Square {
            x,
            y,
            side: CUT_EYE_DISTANCES * distance,
            angle_deg: dy.atan2(dx).to_degrees(),
        };
        let mut eyes = [None, None];
        for (eye, (at, side)) in eyes.iter_mut().zip([(right, Side::Right), (left, Side::Left)]) {
            if view_of(side, head) != View::Away {
                let seen = self.eye(picture, square(at), side, head)?;
                let hidden = |why| if covered { NotSeen::Covered } else { why };
                *eye = Some(seen.map_err(hidden).map(|eye| OneEye {
                    confidence: (eye.confidence * face.score).clamp(0.0, 1.0),
                    ..eye
                }));
            }
        }
        if self.pack.is_none() {
            without_a_lone_shut_eye(&mut eyes);
        }
        let iris = eyes.map(|eye| {
            let OneEye { opening, confidence, iris } = eye?.ok()?;
            Some(Iris { opening, confidence, ..iris? })
        });
        let [right, left] = eyes;
        Ok(EyesSeen {
            eyes: PerEye { right: alone(right), left: alone(left) },
            both: both_eyes(eyes),
            gaze: gaze::direction(iris, head),
        })
    }

    /// One eye in a picture that shows nothing else, judged as that of a head that looks ahead.
    fn of_crop(&mut self, picture: &I420View<'_>) -> Result<Seen<EyelidOpening>, PerceptionError> {
        #[expect(clippy::cast_precision_loss, reason = "sides of a picture are at most 4096")]
        let (w, h) = (picture.width() as f32, picture.height() as f32);
        let square = Square::upright(w / 2.0, h / 2.0, w.min(h));
        let ahead = HeadPose { yaw_deg: 0.0, pitch_deg: 0.0, roll_deg: 0.0 };
        Ok(alone(Some(self.eye(picture, square, Side::Right, &ahead)?)))
    }

    fn eye(
        &mut self,
        picture: &I420View<'_>,
        square: Square,
        side: Side,
        head: &HeadPose,
    ) -> Result<Result<OneEye, NotSeen>, PerceptionError> {
        let cut = picture.cut(square, EYE_CLARITY_SIDE)?;
        let clear = EyeClarity::of(cut.view().luma(), cut.view().luma_stats()).trust();
        let whole = compression::trust(picture, square);
        let trust = match clear.and_then(|clear| Ok(clear.min(whole?))) {
            Ok(trust) => trust,
            Err(why) => return Ok(Err(why)),
        };
        let mirrored = side == Side::Left;
        let own = match &mut self.own {
            Some(network) => {
                luma(&cut, mirrored, &mut self.input);
                Some(network.observe(&self.input)?)
            }
            None => None,
        };
        let pack = match &mut self.pack {
            Some(network) => Some(network.observe(&cut, mirrored)?),
            None => None,
        };
        Ok(one_eye(pack, own, square.side, side, head).and_then(|eye| {
            let eye = in_view(eye, view_of(side, head))?;
            let to_the_right = if mirrored { -1.0 } else { 1.0 };
            let iris = eye.iris.map(|iris| Iris { right: iris.right * to_the_right, ..iris });
            Ok(OneEye { iris, confidence: eye.confidence * trust, ..eye })
        }))
    }
}

const EYE_CLARITY_SIDE: u32 = 64;
const _: () = assert!(eye_clarity::SIDE == 64 && super::outline::INPUT_SIDE == 64);

/// What both networks say together of a cut-out that is `side_px` wide in the camera's picture; the
/// iris as it lies in the cut-out. The outer `None` is a network that is not there, the inner one
/// a reading that cannot be.
fn one_eye(
    pack: Option<Option<OutlineReading>>,
    own: Option<Option<EyeReading>>,
    side_px: f32,
    side: Side,
    head: &HeadPose,
) -> Result<OneEye, NotSeen> {
    let iris = |[right, down]: [f32; 2], error| {
        Some(Iris { right, down, error, opening: 0.0, confidence: 0.0 })
    };
    let of_pack = |reading: &OutlineReading| {
        // A turned eye is narrower in the picture: what is measured by its width as seen is less by
        // its true width. The own network is trained to its true width.
        let narrower = head.yaw_deg.to_radians().cos();
        let error = IRIS_ERROR_PX / (reading.width * side_px).max(1.0);
        OneEye {
            opening: eye_scale::of_drawn(reading.opening, side.nearer_deg(head.yaw_deg)),
            confidence: 1.0,
            iris: iris(reading.iris.map(|part| part * narrower), error),
        }
    };
    match (pack, own) {
        (None, None) => Err(NotSeen::NoModel),
        (_, Some(Some(own))) if own.seen < MIN_SEEN => Err(NotSeen::EyesUnclear),
        (Some(None), _) => Err(NotSeen::EyesUnclear),
        (None, Some(None)) => Err(NotSeen::ModelFailed),
        (Some(Some(pack)), None | Some(None)) => Ok(of_pack(&pack)),
        (None, Some(Some(own))) => Ok(OneEye {
            opening: own.opening,
            confidence: own.seen,
            iris: iris(own.iris.map(|part| part * OWN_IRIS_GAIN), OWN_IRIS_ERROR),
        }),
        (Some(Some(pack)), Some(Some(own))) => {
            let eye = of_pack(&pack);
            let (low, high) = (eye.opening.min(own.opening), eye.opening.max(own.opening));
            let agree = 1.0 - (high - low) / DISAGREE_OPENING;
            let across = f64::from(low) < CLOSED_BELOW && f64::from(high) >= CLOSED_BELOW;
            if (across && high - low > CONTRADICT) || agree <= 0.0 {
                return Err(NotSeen::EyesUnclear);
            }
            let opening = low.midpoint(high);
            Ok(OneEye { opening, confidence: own.seen * agree, ..eye })
        }
    }
}

/// How well a head in this pose shows this side's eye. No number is away.
fn view_of(side: Side, head: &HeadPose) -> View {
    let further_bowed = PITCH_FOR_YAW * head.yaw_deg.abs();
    let nearer_deg = side.nearer_deg(head.yaw_deg);
    let within = |lowest_deg: f32, furthest_deg: f32| {
        (lowest_deg + further_bowed..=MAX_PITCH_DEG).contains(&head.pitch_deg)
            && (-MAX_YAW_FAR_EYE_DEG..=furthest_deg).contains(&nearer_deg)
    };
    if within(MIN_PITCH_DEG, MAX_YAW_NEAR_EYE_DEG) {
        View::Clear
    } else if within(LOWEST_PITCH_DEG, FURTHEST_YAW_DEG) {
        View::Slanted
    } else {
        View::Away
    }
}

/// What of an eye can be believed in such a view. A slanted one hides part of the iris as well.
fn in_view(eye: OneEye, view: View) -> Result<OneEye, NotSeen> {
    match view {
        View::Clear => Ok(eye),
        View::Slanted if eye.opening >= CLEARLY_OPEN => Ok(OneEye { iris: None, ..eye }),
        View::Slanted | View::Away => Err(NotSeen::FaceUnclear),
    }
}

/// By the own network alone, one eye that looks shut is not believed: it reads the lowered lids of a
/// turned head as shut, and there is neither the other eye nor another network to ask.
fn without_a_lone_shut_eye(eyes: &mut [Option<Result<OneEye, NotSeen>>; 2]) {
    let seen = eyes.iter().flatten().filter(|eye| eye.is_ok()).count();
    for eye in eyes.iter_mut().flatten() {
        if seen == 1 && eye.is_ok_and(|eye| eye.opening < CLEARLY_OPEN) {
            *eye = Err(NotSeen::EyesUnclear);
        }
    }
}

/// One eye's statement; `None` for an eye that is turned away.
fn alone(eye: Option<Result<OneEye, NotSeen>>) -> Seen<EyelidOpening> {
    match eye {
        Some(Ok(OneEye { opening, confidence, .. })) => {
            Seen::Known { value: EyelidOpening(opening), confidence }
        }
        Some(Err(why)) => Seen::Unknown(why),
        None => Seen::Unknown(NotSeen::FaceUnclear),
    }
}

/// Mean of the eyes that were seen; `None` for an eye that is turned away.
fn both_eyes(eyes: [Option<Result<OneEye, NotSeen>>; 2]) -> Seen<EyelidOpening> {
    let known = |opening: f32, confidence: f32| Seen::Known {
        value: EyelidOpening(opening),
        confidence: confidence.clamp(0.0, 1.0),
    };
    match eyes {
        [Some(Ok(a)), Some(Ok(b))] => {
            let agree = 1.0 - (a.opening - b.opening).abs() / DISAGREE_OPENING;
            if agree > 0.0 {
                let confidence = a.confidence.midpoint(b.confidence);
                known(a.opening.midpoint(b.opening), confidence * agree)
            } else {
                Seen::Unknown(NotSeen::EyesUnclear)
            }
        }
        [Some(Ok(one)), other] | [other, Some(Ok(one))] => {
            let less = if other.is_some() { OTHER_EYE_HIDDEN } else { ONE_EYE };
            known(one.opening, one.confidence * less)
        }
        [Some(Err(why)), _] | [_, Some(Err(why))] => Seen::Unknown(why),
        [None, None] => Seen::Unknown(NotSeen::FaceUnclear),
    }
}

#[cfg(test)]
#[path = "eyelids_tests.rs"]
mod tests;
