//! What perception says about one picture: of the driver, of the road, and of others.
//!
//! INVARIANT: whatever was not seen says so, with a reason. 'Not seen' is never 'did wrong'.

use serde::{Deserialize, Serialize};

use crate::{samples::CameraId, time::MonoTime};

/// Why something was not seen. 'Not seen' is never 'did wrong'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotSeen {
    /// No face was found where the driver sits.
    NoFace,
    /// The face is turned, cut off or too small for this.
    FaceUnclear,
    /// The eyes are hidden: glasses, glare, hair.
    EyesUnclear,
    /// A hand, a mask or a thing hides a good part of the face.
    Covered,
    /// Too blurred, by motion or by the lens.
    Blurred,
    /// Too dark or too bright.
    BadLight,
    /// No lines of the own lane are to be seen.
    NoMarkings,
    /// Too far away to say anything that is worth it.
    TooFar,
    /// No model that can see this is installed.
    NoModel,
    /// The model failed on this picture.
    ModelFailed,
}

/// A value with its confidence, or the reason why there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen<T> {
    /// Seen.
    Known {
        /// What was seen.
        value: T,
        /// 0 (a guess) to 1 (sure).
        confidence: f32,
    },
    /// Not seen.
    Unknown(NotSeen),
}

impl<T> Seen<T> {
    /// The value, where it was seen.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known { value, .. } => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

/// A box in a picture, as fractions of the picture's width and height (0 to 1). A driver's face is
/// kept as one so that it can be blurred for those who may not see it; nothing identifies a person.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PictureBox {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl PictureBox {
    /// With `part` of its sides more on each side; it may reach out of the picture.
    #[must_use]
    pub const fn grown(&self, part: f32) -> Self {
        let (dx, dy) = (self.w * part, self.h * part);
        Self { x: self.x - dx, y: self.y - dy, w: self.w + 2.0 * dx, h: self.h + 2.0 * dy }
    }

    /// The part of it that is in the picture.
    #[must_use]
    pub const fn clipped(&self) -> Self {
        let (x, y) = (self.x.clamp(0.0, 1.0), self.y.clamp(0.0, 1.0));
        let (right, bottom) =
            ((self.x + self.w).clamp(0.0, 1.0), (self.y + self.h).clamp(0.0, 1.0));
        Self { x, y, w: right - x, h: bottom - y }
    }
}

/// Head pose in degrees against the camera: yaw positive to the driver's left, pitch positive
/// up, roll positive towards the driver's right shoulder
/// (VSS `Vehicle.Driver.*`; Tait-Bryan angles).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadPose {
    /// Turn.
    pub yaw_deg: f32,
    /// Nod.
    pub pitch_deg: f32,
    /// Tilt.
    pub roll_deg: f32,
}

/// Eyelid gap divided by eye width. About 0.22 to 0.27 for open eyes and below 0.1 for closed ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EyelidOpening(pub f32);

/// The direction of the eyes against the head, degrees: the iris between the corners of the eye.
/// Signs are those of [`HeadPose`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EyeDirection {
    /// To the driver's left, positive.
    pub yaw_deg: f32,
    /// Up, positive.
    pub pitch_deg: f32,
}

/// Gap between the lips divided by the width of the mouth. 0 is closed; speech stays below about
/// 0.4; a yawn goes above 0.5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MouthOpening(pub f32);

/// Whether the driver holds a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PhoneUse {
    /// No phone in view.
    None,
    /// At the ear.
    AtEar,
    /// In the hand, in view.
    InHand,
}

/// Whether the driver's face is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaceCover {
    /// It is free.
    Free,
    /// A hand, a mask or a thing hides a good part of it.
    Covered,
}

/// One reading for each of the driver's eyes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerEye<T> {
    /// The driver's own right eye: on the left of the picture.
    pub right: Seen<T>,
    /// The driver's own left eye.
    pub left: Seen<T>,
}

/// What perception says of one cabin picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DriverObservation {
    /// The picture's time.
    pub at: MonoTime,
    /// The driver's face.
    pub face: Seen<PictureBox>,
    /// The driver's head pose.
    pub head: Seen<HeadPose>,
    /// The driver's eyelids: the mean of the eyes that were seen.
    pub eyelids: Seen<EyelidOpening>,
    /// The eyelids of each eye.
    pub eyes: PerEye<EyelidOpening>,
    /// Where the eyes point, against the head.
    pub gaze: Seen<EyeDirection>,
    /// The driver's mouth.
    pub mouth: Seen<MouthOpening>,
    /// The driver's phone.
    pub phone: Seen<PhoneUse>,
    /// Whether something is over the driver's face.
    pub cover: Seen<FaceCover>,
}

impl DriverObservation {
    /// Nothing was seen, for one reason.
    pub const fn unseen(at: MonoTime, why: NotSeen) -> Self {
        Self {
            at,
            face: Seen::Unknown(why),
            head: Seen::Unknown(why),
            eyelids: Seen::Unknown(why),
            eyes: PerEye { right: Seen::Unknown(why), left: Seen::Unknown(why) },
            gaze: Seen::Unknown(why),
            mouth: Seen::Unknown(why),
            phone: Seen::Unknown(why),
            cover: Seen::Unknown(why),
        }
    }
}

/// The vehicle ahead in the own lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeadVehicle {
    /// Where it is in the picture.
    pub area: PictureBox,
    /// From the own front to its rear, metres.
    pub distance_m: f32,
    /// One standard deviation of `distance_m`, metres.
    pub error_m: f32,
}

/// Where the vehicle is in its lane (VSS has no path for it).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LanePosition {
    /// Middle of the vehicle against the middle of the lane, metres, positive to the left.
    pub offset_m: f32,
    /// Width of the lane, metres.
    pub width_m: f32,
}

/// What perception says of one road picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoadObservation {
    /// The picture's time.
    pub at: MonoTime,
    /// The vehicle ahead; `Known` with `None` where the lane ahead was seen and is free.
    pub lead: Seen<Option<LeadVehicle>>,
    /// The own lane.
    pub lane: Seen<LanePosition>,
}

impl RoadObservation {
    /// Nothing was seen, for one reason.
    pub const fn unseen(at: MonoTime, why: NotSeen) -> Self {
        Self { at, lead: Seen::Unknown(why), lane: Seen::Unknown(why) }
    }
}

/// What of other people must not be recorded in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrivateKind {
    /// The face of somebody who is not the driver.
    Face,
    /// A number plate.
    Plate,
    /// A part of the picture in which a number plate cannot be excluded; nothing that moves, but
    /// looked for anew in each picture.
    PossiblePlate,
}

/// A part of a picture to blur before it is encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrivateArea {
    /// What it shows.
    pub kind: PrivateKind,
    /// Where.
    pub area: PictureBox,
}

/// What one picture said of the driver or of the road.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observation {
    /// Of a cabin picture.
    Driver(DriverObservation),
    /// Of a road picture.
    Road(RoadObservation),
}

/// All that perception says of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    /// What is decided upon.
    pub observation: Observation,
    /// What of others is to be blurred in it; why nothing can be said of others otherwise.
    pub others: Result<Vec<PrivateArea>, NotSeen>,
}

impl Sight {
    /// Nothing was seen in a picture of this camera, for one reason.
    pub const fn unseen(camera: CameraId, at: MonoTime, why: NotSeen) -> Self {
        let observation = match camera {
            CameraId::Cabin => Observation::Driver(DriverObservation::unseen(at, why)),
            CameraId::Road => Observation::Road(RoadObservation::unseen(at, why)),
        };
        Self { observation, others: Err(why) }
    }

    /// The picture's time.
    pub const fn at(&self) -> MonoTime {
        match &self.observation {
            Observation::Driver(seen) => seen.at,
            Observation::Road(seen) => seen.at,
        }
    }

    /// What it said of the driver; `None` of a road picture.
    pub const fn driver(&self) -> Option<&DriverObservation> {
        match &self.observation {
            Observation::Driver(seen) => Some(seen),
            Observation::Road(_) => None,
        }
    }

    /// Which camera's picture it was.
    pub const fn camera(&self) -> CameraId {
        match &self.observation {
            Observation::Driver(_) => CameraId::Cabin,
            Observation::Road(_) => CameraId::Road,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_grows_and_stays_in_the_picture() {
        let low = PictureBox { x: 0.0, y: 0.75, w: 1.0, h: 0.25 };
        let grown = low.grown(0.5);
        assert_eq!(grown, PictureBox { x: -0.5, y: 0.625, w: 2.0, h: 0.5 });
        assert_eq!(grown.clipped(), PictureBox { x: 0.0, y: 0.625, w: 1.0, h: 0.375 });
        let outside = PictureBox { x: 1.5, y: -2.0, w: 0.5, h: 1.0 };
        assert_eq!(outside.clipped(), PictureBox { x: 1.0, y: 0.0, w: 0.0, h: 0.0 });
    }
}
