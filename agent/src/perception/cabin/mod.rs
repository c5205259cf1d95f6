//! What the cabin camera sees of the driver, and where the faces of others are.
//!
//! Each part has two sources, the downloaded pack and the project's own networks:
//!
//! | part | with the pack | without |
//! |---|---|---|
//! | where faces are (`faces.rs`, `driver_seat.rs`) | YuNet | OpenCV's cascades, followed by `face_state.rs` |
//! | head pose | `head_pose.rs` | `face_state.rs` |
//! | eyelids and gaze (`eyelids.rs`, `gaze.rs`) | `outline.rs` and `eye_state.rs`, on the scale of `eye_scale.rs` | `eye_state.rs` |
//! | mouth, cover | `face_state.rs` | `face_state.rs` |
//! | phone | `phone.rs`: the own network and YOLOX | `phone.rs`: the own network |
//!
//! INVARIANT: what is not seen is *unknown* with a reason. Nothing is kept from one picture to the
//! next but where faces were and what was last said of the phone.

mod compression;
pub(super) mod driver_seat;
mod eye_clarity;
mod eye_scale;
mod eye_state;
pub mod eyelids;
mod face_state;
mod faces;
mod gaze;
pub mod head_pose;
mod outline;
mod phone;
pub(super) mod stage_times;

#[cfg(test)]
mod composition_tests;

use temoin_media::{
    cascade,
    frame::{I420Frame, I420View},
};
use temoin_proto::{
    perception::{
        DriverObservation, NotSeen, Observation, PerEye, PrivateArea, PrivateKind, Seen, Sight,
    },
    samples::Frame,
    time::MonoTime,
};

use self::{
    eye_state::EyeState,
    eyelids::Eyelids,
    face_state::{FaceState, MIN_FACE},
    faces::{Faces, Finder, Found},
    head_pose::HeadPoseNetworks,
    outline::EyeNetwork,
    phone::Phone,
    stage_times::{Stage, StageTimes},
};
use crate::{
    health::State,
    infer::Runtime,
    model_pack::{ModelPack, ModelPackError, ModelRole},
    perception::{
        EYELIDS, FACE, FACE_STATE, HEAD_POSE, HealthStatement, PHONE, Perception, PerceptionError,
        PerceptionOptions,
        face_search::{Yunet, size},
        model::Model,
        tensors::light_is_bad,
        yunet,
    },
};

/// The project's own networks, as many as there are.
#[derive(Default)]
pub(crate) struct OwnNetworks {
    pub(crate) eye: Option<EyeState>,
    pub(crate) face: Option<FaceState>,
    pub(crate) phone: Option<Box<dyn Model>>,
}

impl OwnNetworks {
    /// Loads those that are built into this program. One that cannot run is left out: the log
    /// says why, and device health that it is not there.
    fn load(runtime: &Runtime) -> Self {
        let pack = match ModelPack::builtin() {
            Ok(pack) => pack,
            Err(e) => {
                tracing::error!(error = %e, "the networks that are built in cannot be used");
                return Self::default();
            }
        };
        let net = |role| -> Option<Box<dyn Model>> {
            match runtime.network(pack.get(role)?) {
                Ok(net) => Some(Box::new(net)),
                Err(e) => {
                    tracing::error!(?role, error = %e, "a network that is built in cannot run");
                    None
                }
            }
        };
        Self {
            eye: net(ModelRole::EyeState).map(EyeState::new),
            face: net(ModelRole::FaceState).map(FaceState::new),
            phone: net(ModelRole::Phone),
        }
    }
}

/// Where what is seen comes from, for device health.
enum Source {
    /// The downloaded pack of this name.
    Pack(String),
    /// What is built in, and why there is no pack.
    BuiltIn(String),
}

/// Perception of the cabin camera.
pub struct CabinEyes {
    faces: Faces,
    face_state: Option<FaceState>,
    head: Option<HeadPoseNetworks>,
    eyes: Eyelids,
    phone: Option<Phone>,
    source: Source,
    fault: Option<String>,
    times: StageTimes,
    points: Vec<[f32; 2]>,
}

impl CabinEyes {
    /// By the downloaded pack, and the own networks beside it.
    ///
    /// # Errors
    /// [`PerceptionError::Pack`], [`PerceptionError::Infer`], [`PerceptionError::Seat`].
    pub fn open(options: &PerceptionOptions) -> Result<Self, PerceptionError> {
        let seat = options.seat.checked()?;
        let pack = ModelPack::open(&options.models)?;
        let detector = pack.get(ModelRole::FaceDetector);
        let detector = detector.ok_or_else(|| ModelPackError::Missing(options.models.clone()))?;
        let runtime = Runtime::load(&options.infer)?;
        let yunet = Yunet::new(Box::new(runtime.network(detector)?));
        let own = OwnNetworks::load(&runtime);
        let things: Option<Box<dyn Model>> = match pack.get(ModelRole::ObjectDetector) {
            Some(model) => Some(Box::new(runtime.network(model)?)),
            None => None,
        };
        Ok(Self {
            faces: Faces::new(Finder::Yunet(yunet), seat),
            face_state: own.face,
            head: HeadPoseNetworks::load(&runtime, &pack)?,
            eyes: Eyelids::new(EyeNetwork::load(&runtime, &pack)?, own.eye),
            phone: Phone::of(own.phone, things),
            source: Source::Pack(pack.name().to_owned()),
            fault: None,
            times: StageTimes::default(),
            points: Vec::new(),
        })
    }

    /// By OpenCV's cascades and the own networks, without a download. `why` says, for device
    /// health, why there is nothing better. Where no runtime can be loaded, only faces from the
    /// front are seen.
    ///
    /// # Errors
    /// [`PerceptionError::Cascade`], [`PerceptionError::Seat`].
    pub fn without_pack(
        options: &PerceptionOptions,
        mut why: String,
    ) -> Result<Self, PerceptionError> {
        let seat = options.seat.checked()?;
        let cascades = cascade::Cascades::load(&options.cascades)?;
        let own = match Runtime::load(&options.infer) {
            Ok(runtime) => OwnNetworks::load(&runtime),
            Err(e) => {
                let e = e.to_string();
                if !why.contains(&e) {
                    why = format!("{why}; {e}");
                }
                OwnNetworks::default()
            }
        };
        Ok(Self {
            faces: Faces::new(Finder::Cascades(Box::new(cascades)), seat),
            face_state: own.face,
            head: None,
            eyes: Eyelids::new(None, own.eye),
            phone: Phone::of(own.phone, None),
            source: Source::BuiltIn(why),
            fault: None,
            times: StageTimes::default(),
            points: Vec::new(),
        })
    }

    /// How long each stage took.
    pub const fn times(&self) -> &StageTimes {
        &self.times
    }

    fn look(&mut self, frame: &Frame) -> Result<Sight, PerceptionError> {
        let picture = I420Frame::of(frame)?;
        let picture = picture.view();
        self.times.look();
        let Found { driver, reading, others } =
            self.faces.look(frame.at, &picture, self.face_state.as_mut(), &mut self.times)?;
        let seen = match driver {
            Some(face) => self.driver(frame, &picture, face, reading)?,
            None => {
                let dark = light_is_bad(picture.luma_stats());
                let why = if dark { NotSeen::BadLight } else { NotSeen::NoFace };
                self.nobody(frame.at, why)
            }
        };
        let area = |area| PrivateArea { kind: PrivateKind::Face, area };
        Ok(Sight {
            observation: Observation::Driver(seen),
            others: Ok(others.into_iter().map(area).collect()),
        })
    }

    /// What can be said where no face was found: of what no model can see, just that.
    fn nobody(&self, at: MonoTime, why: NotSeen) -> DriverObservation {
        fn or_no_model<T>(there: bool, why: NotSeen) -> Seen<T> {
            Seen::Unknown(if there { why } else { NotSeen::NoModel })
        }
        let own = self.face_state.is_some();
        let lids = self.eyes.can_see() && (own || self.head.is_some());
        let lid = or_no_model(lids, why);
        let phone = self.phone.as_ref().map(|p| p.without_face(at));
        DriverObservation {
            head: or_no_model(own || self.head.is_some(), why),
            eyelids: lid,
            eyes: PerEye { right: lid, left: lid },
            gaze: or_no_model(lids, why),
            mouth: or_no_model(own, why),
            phone: phone.unwrap_or(Seen::Unknown(NotSeen::NoModel)),
            cover: or_no_model(own, why),
            ..DriverObservation::unseen(at, why)
        }
    }

    /// What there is to see of the driver with this face.
    fn driver(
        &mut self,
        frame: &Frame,
        picture: &I420View<'_>,
        face: yunet::Face,
        reading: Option<face_state::FaceReading>,
    ) -> Result<DriverObservation, PerceptionError> {
        let Self { face_state, head, eyes, phone, times, .. } = self;
        let reading = match (reading, face_state) {
            (Some(reading), _) => Ok(reading),
            (None, Some(net)) => times.measure(Stage::FaceState, || net.observe(picture, &face))?,
            (None, None) => Err(NotSeen::NoModel),
        };
        let covered = reading.is_ok_and(|r| r.is_covered());
        let head = match (head, reading) {
            // The own network sees no face here: the pack's nets would guess.
            (Some(_), Ok(reading)) if reading.face < MIN_FACE => {
                Seen::Unknown(NotSeen::FaceUnclear)
            }
            (Some(nets), _) => {
                let pose = times.measure(Stage::Head, || nets.observe(picture, &face))?;
                if covered { halved(pose) } else { pose }
            }
            (None, Ok(reading)) => reading.head(),
            (None, Err(why)) => Seen::Unknown(why),
        };
        let eyes = times.measure(Stage::Eyes, || eyes.observe(picture, &face, &head, covered))?;
        let both_seen = [eyes.eyes.right, eyes.eyes.left].iter().all(|eye| eye.known().is_some());
        let phone = match phone {
            Some(net) => times.measure(Stage::Phone, || net.observe(frame.at, picture, &face))?,
            None => Seen::Unknown(NotSeen::NoModel),
        };
        let (w, h) = size(picture);
        self.points.extend(face.points.map(|[x, y]| [x / w, y / h]));
        let value = face.fractions((w, h));
        Ok(DriverObservation {
            at: frame.at,
            face: Seen::Known { value, confidence: face.score },
            head,
            eyelids: eyes.both,
            eyes: eyes.eyes,
            gaze: eyes.gaze,
            mouth: reading.map_or_else(Seen::Unknown, |r| r.mouth(&head)),
            phone,
            cover: reading.map_or_else(Seen::Unknown, |r| r.cover(both_seen)),
        })
    }
}

/// The same at half the confidence: nets that see half a face guess the other half.
fn halved<T>(seen: Seen<T>) -> Seen<T> {
    match seen {
        Seen::Known { value, confidence } => Seen::Known { value, confidence: confidence / 2.0 },
        Seen::Unknown(why) => Seen::Unknown(why),
    }
}

impl Perception for CabinEyes {
    fn observe(&mut self, frame: &Frame) -> Sight {
        self.points.clear();
        let seen = self.look(frame);
        let fault = seen.as_ref().err().map(ToString::to_string);
        if let (Some(fault), None) = (&fault, &self.fault) {
            // Once for each run of failures: at 15 pictures a second the log would drown.
            tracing::warn!(%fault, "a picture of the driver could not be looked at");
        }
        self.fault = fault;
        seen.unwrap_or_else(|_| Sight::unseen(frame.camera, frame.at, NotSeen::ModelFailed))
    }

    fn points(&self) -> &[[f32; 2]] {
        &self.points
    }

    fn health(&self) -> Vec<HealthStatement> {
        let own = self.face_state.is_some();
        let head = self.head.is_some();
        // Lids are judged by the head's pose.
        let lids = self.eyes.can_see() && (head || own);
        // Which part, whether there is anything that sees it, and whether it is of the pack where
        // the pack should have it.
        let parts = [
            (FACE, true, true),
            (HEAD_POSE, head || own, head),
            (EYELIDS, lids, head && self.eyes.by_pack()),
            (FACE_STATE, own, true),
            (PHONE, self.phone.is_some(), self.phone.as_ref().is_some_and(Phone::is_whole)),
        ];
        let state = |(part, there, by_pack): (&'static str, bool, bool)| match (
            &self.fault,
            &self.source,
            there,
        ) {
            (Some(fault), _, _) => HealthStatement {
                part,
                state: State::Failed,
                text: format!("the last picture could not be looked at: {fault}"),
            },
            (None, Source::Pack(pack), true) if by_pack => {
                HealthStatement { part, state: State::Ok, text: format!("model pack {pack}") }
            }
            (None, Source::Pack(pack), true) => HealthStatement {
                part,
                state: State::Degraded,
                text: format!(
                    "seen by what is built in: model pack {pack} lacks a model for it: run `make models`"
                ),
            },
            (None, Source::BuiltIn(why), true) => HealthStatement {
                part,
                state: State::Degraded,
                text: if part == FACE && !own {
                    format!("only a face from the front is seen, by OpenCV's cascade: {why}")
                } else {
                    format!("seen by what is built in: {why}")
                },
            },
            (None, Source::Pack(pack), false) if part == HEAD_POSE || part == EYELIDS => {
                HealthStatement {
                    part,
                    state: State::Failed,
                    text: format!(
                        "not seen: model pack {pack} has no model for it: run `make models`"
                    ),
                }
            }
            (None, Source::BuiltIn(why), false) if part == HEAD_POSE || part == EYELIDS => {
                HealthStatement { part, state: State::Failed, text: format!("not seen: {why}") }
            }
            // The rules work without these.
            (None, _, false) => HealthStatement {
                part,
                state: State::Degraded,
                text: "not seen: no model for it is built in".to_owned(),
            },
        };
        parts.into_iter().map(state).collect()
    }
}
