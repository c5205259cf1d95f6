//! What the cameras see, picture by picture: in the cabin the driver and the faces of others
//! (`cabin/`).
//!
//! INVARIANT: what is not seen is *unknown* with a reason, never a value that looks like
//! misconduct. INVARIANT: nothing here identifies a person, and nothing is kept from one picture
//! to the next but where the face was.
//!
//! A fault here never stops the unit: it shows as unknown and in device health.

mod cabin;
mod face_search;
mod model;
pub mod road;
pub mod stage_times;
pub mod swap;
mod tensors;
pub mod yolox;
pub mod yunet;

#[cfg(test)]
mod clip_tests;

use std::path::PathBuf;

use temoin_media::{cascade, frame};
use temoin_proto::{
    perception::{NotSeen, Sight},
    samples::Frame,
};

pub use self::cabin::{
    CabinEyes,
    driver_seat::{DriverSeat, SeatError, seat_on},
    eyelids, head_pose,
    stage_times::{Stage, StageTimes},
};
use crate::{
    health::State,
    infer::{InferError, InferOptions},
    model_pack::ModelPackError,
};

/// Sees what there is to see in one camera's pictures.
pub trait Perception: Send {
    /// What this picture shows. Pictures come in the order of their time. Never fails: a fault is
    /// an observation that nothing was seen.
    fn observe(&mut self, frame: &Frame) -> Sight;

    /// Points of the face in the last picture, fractions of its width and height, for an installer
    /// who looks at it; none where there is nothing to show.
    fn points(&self) -> &[[f32; 2]] {
        &[]
    }

    /// What this can and cannot see, for device health.
    fn health(&self) -> Vec<HealthStatement>;
}

/// One statement of device health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthStatement {
    /// What it is about, such as `perception.face`.
    pub part: &'static str,
    /// How well it works.
    pub state: State,
    /// Plain words for an installer.
    pub text: String,
}

/// The parts of device health that perception speaks for.
pub(crate) const FACE: &str = "perception.face";
pub(crate) const HEAD_POSE: &str = "perception.head_pose";
pub(crate) const EYELIDS: &str = "perception.eyelids";
pub(crate) const PROVIDER: &str = "perception.provider";
pub(crate) const MODELS: &str = "perception.models";
pub(crate) const ROAD_MODELS: &str = "perception.road_models";
pub(crate) const FACE_STATE: &str = "perception.face_state";
pub(crate) const PHONE: &str = "perception.phone";

/// How the driver is seen.
#[derive(Clone, Debug, PartialEq)]
pub struct PerceptionOptions {
    /// The folder of the model pack.
    pub models: PathBuf,
    /// The folder of OpenCV's cascades, used while there is no model pack.
    pub cascades: PathBuf,
    /// Where in the picture the driver sits.
    pub seat: DriverSeat,
    /// How models are run.
    pub infer: InferOptions,
}

impl Default for PerceptionOptions {
    fn default() -> Self {
        Self {
            models: PathBuf::from("/var/lib/temoin/models"),
            cascades: PathBuf::from(cascade::DEFAULT_FOLDER),
            seat: DriverSeat::default(),
            infer: InferOptions::default(),
        }
    }
}

/// Why perception, or one picture of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum PerceptionError {
    /// The model pack.
    #[error(transparent)]
    Pack(#[from] ModelPackError),
    /// The inference library or a model.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The cascades.
    #[error(transparent)]
    Cascade(#[from] cascade::CascadeError),
    /// The picture.
    #[error(transparent)]
    Picture(#[from] frame::PictureError),
    /// The seat's configuration.
    #[error(transparent)]
    Seat(#[from] SeatError),
}

/// The best perception that this unit can have: the pack, else what is built in, else none.
/// A unit records collisions without seeing the driver, so this never fails; device health says
/// what is missing and why.
pub fn open(options: &PerceptionOptions) -> Box<dyn Perception> {
    let why = match CabinEyes::open(options) {
        Ok(eyes) => return Box::new(eyes),
        Err(e) => e.to_string(),
    };
    tracing::warn!(%why, "the driver is not seen by the model pack");
    match CabinEyes::without_pack(options, why.clone()) {
        Ok(eyes) => Box::new(eyes),
        Err(e) => {
            tracing::error!(why = %e, "the driver is not seen at all");
            Box::new(Blind { why: format!("{why}; {e}") })
        }
    }
}

/// Sees nothing: neither models nor cascades can be used.
struct Blind {
    why: String,
}

impl Perception for Blind {
    fn observe(&mut self, frame: &Frame) -> Sight {
        Sight::unseen(frame.camera, frame.at, NotSeen::NoModel)
    }

    fn health(&self) -> Vec<HealthStatement> {
        let failed = |part| HealthStatement {
            part,
            state: State::Failed,
            text: format!("the driver is not seen: {}", self.why),
        };
        [FACE, HEAD_POSE, EYELIDS, FACE_STATE, PHONE].into_iter().map(failed).collect()
    }
}

#[cfg(test)]
mod tests {
    use temoin_media::frame::I420Picture;
    use temoin_proto::{
        perception::{DriverObservation, Seen},
        samples::CameraId,
        time::MonoTime,
    };

    use super::*;
    use crate::infer::Runtime;

    fn black() -> Frame {
        let picture = I420Picture::black(320, 180).unwrap();
        picture.into_frame(CameraId::Cabin, MonoTime::from_secs_f64(3.0))
    }

    #[test]
    fn without_anything_the_unit_is_blind_and_says_so() {
        let nowhere = PathBuf::from("/nonexistent");
        let options = PerceptionOptions {
            models: nowhere.clone(),
            cascades: nowhere,
            ..PerceptionOptions::default()
        };
        let mut blind = open(&options);
        let seen = *blind.observe(&black()).driver().unwrap();
        assert_eq!(seen, DriverObservation::unseen(black().at, NotSeen::NoModel));
        let health = blind.health();
        assert_eq!(health.len(), 5);
        for statement in health {
            assert_eq!(statement.state, State::Failed);
            assert!(statement.text.contains("make models"), "{}", statement.text);
            assert!(statement.text.contains("opencv-data"), "{}", statement.text);
        }
    }

    #[test]
    fn without_a_pack_what_is_built_in_sees_and_says_so() {
        let options = PerceptionOptions {
            models: PathBuf::from("/nonexistent"),
            ..PerceptionOptions::default()
        };
        if !options.cascades.exists() {
            println!("skipped: the package opencv-data is not installed");
            return;
        }
        let mut cascades = open(&options);
        let states: Vec<_> = cascades.health().iter().map(|h| (h.part, h.state)).collect();
        // Without the library that runs networks there is only the cascade.
        let rest = match Runtime::load(&InferOptions::default()) {
            Ok(_) => State::Degraded,
            Err(_) => State::Failed,
        };
        assert_eq!(states[..3], [(FACE, State::Degraded), (HEAD_POSE, rest), (EYELIDS, rest)]);
        let seen = *cascades.observe(&black()).driver().unwrap();
        assert_eq!(seen.face, Seen::Unknown(NotSeen::BadLight));
        let why = if rest == State::Failed { NotSeen::NoModel } else { NotSeen::BadLight };
        assert_eq!(seen.head, Seen::Unknown(why));
        assert_eq!(seen.eyelids, Seen::Unknown(why));
    }
}
