//! What a unit sees without a model pack: a face from the front, by OpenCV's own cascade, and
//! nothing else. It says so in device health.

use temoin_media::{
    cascade::{self, FoundFace},
    frame::{I420Picture, I420View},
};
use temoin_proto::perception::{DriverObservation, NotSeen, Observation, Seen, Sight};
use temoin_proto::samples::Frame;

use crate::health::State;
use crate::perception::{
    EYELIDS, FACE, HEAD_POSE, HealthStatement, Perception, PerceptionError, PerceptionOptions,
    driver_seat::DriverSeat, tensors::light_is_bad,
};

/// Votes of the cascade that count as sure; 3 are a guess.
const SURE_VOTES: f32 = 20.0;

/// Perception by OpenCV's cascades.
pub struct Cascades {
    cascades: cascade::Cascades,
    seat: DriverSeat,
    why: String,
    fault: Option<String>,
}

impl Cascades {
    /// Loads the cascades. `why` says, for device health, why there is nothing better.
    ///
    /// # Errors
    /// [`PerceptionError::Cascade`], [`PerceptionError::Seat`].
    pub fn open(options: &PerceptionOptions, why: String) -> Result<Self, PerceptionError> {
        let seat = options.seat.checked()?;
        Ok(Self { cascades: cascade::Cascades::load(&options.cascades)?, seat, why, fault: None })
    }

    fn face(&mut self, frame: &Frame) -> Result<Result<FoundFace, NotSeen>, PerceptionError> {
        let converted;
        let picture = if let Some(view) = I420View::of_frame(frame) {
            view
        } else {
            converted = I420Picture::from_frame(frame.clone())?;
            converted.view()
        };
        let faces = self.cascades.faces(&picture)?;
        let largest = faces
            .into_iter()
            .filter(|f| self.seat.holds(&f.face))
            .max_by(|a, b| (a.face.w * a.face.h).total_cmp(&(b.face.w * b.face.h)));
        Ok(largest.ok_or_else(|| {
            if light_is_bad(picture.luma_stats()) { NotSeen::BadLight } else { NotSeen::NoFace }
        }))
    }
}

impl Perception for Cascades {
    fn observe(&mut self, frame: &Frame) -> Sight {
        let face = self.face(frame);
        self.fault = face.as_ref().err().map(ToString::to_string);
        let mut seen = DriverObservation::unseen(frame.at, NotSeen::NoModel);
        seen.face = match face {
            Ok(Ok(FoundFace { face, votes })) => {
                let votes = u16::try_from(votes).unwrap_or(u16::MAX);
                Seen::Known { value: face, confidence: (f32::from(votes) / SURE_VOTES).min(1.0) }
            }
            Ok(Err(why)) => Seen::Unknown(why),
            Err(_) => Seen::Unknown(NotSeen::ModelFailed),
        };
        Sight { observation: Observation::Driver(seen), others: Err(NotSeen::NoModel) }
    }

    fn health(&self) -> Vec<HealthStatement> {
        let why = &self.why;
        let unseen = |part, what: &str| HealthStatement {
            part,
            state: State::Failed,
            text: format!("{what} not seen: {why}"),
        };
        let face = match &self.fault {
            None => HealthStatement {
                part: FACE,
                state: State::Degraded,
                text: format!("only a face from the front is seen, by OpenCV's cascade: {why}"),
            },
            Some(fault) => HealthStatement {
                part: FACE,
                state: State::Failed,
                text: format!("the last picture could not be looked at: {fault}"),
            },
        };
        vec![face, unseen(HEAD_POSE, "head pose is"), unseen(EYELIDS, "eyelids are")]
    }
}
