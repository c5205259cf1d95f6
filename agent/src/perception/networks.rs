//! Perception by the model pack: YuNet finds the face, FSA-Net its pose, the iris model its lids.
//!
//! The detector looks at the square around the last face. Only once a second, and where the face
//! is not there any more, it looks at the whole seat. It costs the same either way; the square
//! shows the face three times larger, so that its points are three times as exact.

use temoin_media::{
    bgr::Square,
    frame::{I420Picture, I420View},
};
use temoin_proto::{
    perception::{DriverObservation, NotSeen, Observation, Seen, Sight},
    samples::Frame,
    time::MonoTime,
};

use crate::{
    health::State,
    infer::{Network, Runtime},
    model_pack::{ModelPack, ModelPackError, ModelRole},
    perception::{
        EYELIDS, FACE, HEAD_POSE, HealthStatement, Perception, PerceptionError, PerceptionOptions,
        driver_seat::{DriverSeat, Track},
        eyelids::EyeNetwork,
        head_pose::HeadPoseNetworks,
        tensors::{bgr_planes, light_is_bad},
        yunet::{self, Face, Grid},
    },
};

/// Names of YuNet's outputs for each stride.
const YUNET_OUTPUTS: [(u16, [&str; 4]); 3] = [
    (8, ["cls_8", "obj_8", "bbox_8", "kps_8"]),
    (16, ["cls_16", "obj_16", "bbox_16", "kps_16"]),
    (32, ["cls_32", "obj_32", "bbox_32", "kps_32"]),
];

/// Perception by the model pack.
pub struct Networks {
    detector: Network,
    input: Vec<f32>,
    head: Option<HeadPoseNetworks>,
    eyes: Option<EyeNetwork>,
    seat: DriverSeat,
    track: Track,
    pack: String,
    fault: Option<String>,
    points: Vec<[f32; 2]>,
}

impl Networks {
    /// Checks and loads the models and the library that runs them.
    ///
    /// # Errors
    /// [`PerceptionError::Pack`], [`PerceptionError::Infer`], [`PerceptionError::Seat`].
    pub fn open(options: &PerceptionOptions) -> Result<Self, PerceptionError> {
        let seat = options.seat.checked()?;
        let pack = ModelPack::open(&options.models)?;
        let detector = pack.get(ModelRole::FaceDetector);
        let detector = detector.ok_or_else(|| ModelPackError::Missing(options.models.clone()))?;
        let runtime = Runtime::load(&options.infer)?;
        Ok(Self {
            detector: runtime.network(detector)?,
            input: Vec::new(),
            head: HeadPoseNetworks::load(&runtime, &pack)?,
            eyes: EyeNetwork::load(&runtime, &pack)?,
            seat,
            track: Track::default(),
            pack: pack.name().to_owned(),
            fault: None,
            points: Vec::new(),
        })
    }

    fn look(&mut self, frame: &Frame) -> Result<DriverObservation, PerceptionError> {
        let converted;
        let picture = if let Some(view) = I420View::of_frame(frame) {
            view
        } else {
            converted = I420Picture::from_frame(frame.clone())?;
            converted.view()
        };
        let Some(face) = self.driver(frame.at, &picture)? else {
            let dark = light_is_bad(picture.luma_stats());
            let why = if dark { NotSeen::BadLight } else { NotSeen::NoFace };
            return Ok(DriverObservation::unseen(frame.at, why));
        };
        let head = match &mut self.head {
            Some(networks) => networks.observe(&picture, &face)?,
            None => Seen::Unknown(NotSeen::NoModel),
        };
        let eyelids = match &mut self.eyes {
            Some(network) => network.observe(&picture, &face, &head)?,
            None => Seen::Unknown(NotSeen::NoModel),
        };
        let (w, h) = size(&picture);
        self.points.extend(face.points.map(|[x, y]| [x / w, y / h]));
        let value = face.fractions((w, h));
        let face = Seen::Known { value, confidence: face.score };
        Ok(DriverObservation {
            face,
            head,
            eyelids,
            ..DriverObservation::unseen(frame.at, NotSeen::NoModel)
        })
    }

    /// The driver's face, where it was or anywhere in the seat.
    fn driver(
        &mut self,
        now: MonoTime,
        picture: &I420View<'_>,
    ) -> Result<Option<Face>, PerceptionError> {
        if let Some(square) = self.track.search(now) {
            let faces = self.faces(picture, Some(square))?;
            if let Some(face) = self.track.pick(now, &faces, true) {
                return Ok(Some(face));
            }
        }
        let faces = self.faces(picture, self.seat.search(size(picture)))?;
        self.track.searched_all(now);
        Ok(self.track.pick(now, &faces, false))
    }

    /// The faces in a square, or in all of the picture, that lie in the seat.
    fn faces(
        &mut self,
        picture: &I420View<'_>,
        square: Option<Square>,
    ) -> Result<Vec<Face>, PerceptionError> {
        let side = yunet::INPUT_SIDE;
        let (bgr, scale, origin) = match square {
            Some(square) => {
                let corner = [square.x - square.side / 2.0, square.y - square.side / 2.0];
                let bgr = picture.cut_bgr(square, u32::from(side))?;
                (bgr, square.side / f32::from(side), corner)
            }
            None => {
                let whole = picture.letterbox_bgr(u32::from(side))?;
                (whole.picture, 1.0 / whole.scale, [0.0, 0.0])
            }
        };
        bgr_planes(&bgr, 0.0, 1.0, &mut self.input);
        let outputs = self.detector.run(&self.input)?;
        let mut grids = Vec::with_capacity(YUNET_OUTPUTS.len());
        for (stride, [cls, obj, bbox, kps]) in YUNET_OUTPUTS {
            grids.push(Grid {
                stride,
                cls: outputs.get(cls)?,
                obj: outputs.get(obj)?,
                bbox: outputs.get(bbox)?,
                kps: outputs.get(kps)?,
            });
        }
        let size = size(picture);
        Ok(yunet::faces(&grids)
            .iter()
            .map(|face| face.placed(scale, origin))
            // A square that reaches over the edge repeats the last row: no face is out there.
            .filter(|face| face.visible(size) > 0.5 && self.seat.holds(&face.fractions(size)))
            .collect())
    }
}

#[expect(clippy::cast_precision_loss, reason = "sides of a picture are at most 4096")]
fn size(picture: &I420View<'_>) -> (f32, f32) {
    (picture.width() as f32, picture.height() as f32)
}

impl Perception for Networks {
    fn observe(&mut self, frame: &Frame) -> Sight {
        self.points.clear();
        let seen = self.look(frame);
        let fault = seen.as_ref().err().map(ToString::to_string);
        if let (Some(fault), None) = (&fault, &self.fault) {
            // Once for each run of failures: at 15 pictures a second the log would drown.
            tracing::warn!(%fault, "a picture of the driver could not be looked at");
        }
        self.fault = fault;
        let seen =
            seen.unwrap_or_else(|_| DriverObservation::unseen(frame.at, NotSeen::ModelFailed));
        Sight { observation: Observation::Driver(seen), others: Err(NotSeen::NoModel) }
    }

    fn points(&self) -> &[[f32; 2]] {
        &self.points
    }

    fn health(&self) -> Vec<HealthStatement> {
        let pack = &self.pack;
        let state = |part, there: bool| match (&self.fault, there) {
            (Some(fault), _) => HealthStatement {
                part,
                state: State::Failed,
                text: format!("the last picture could not be looked at: {fault}"),
            },
            (None, true) => {
                HealthStatement { part, state: State::Ok, text: format!("model pack {pack}") }
            }
            (None, false) => HealthStatement {
                part,
                state: State::Failed,
                text: format!("not seen: model pack {pack} has no model for it: run `make models`"),
            },
        };
        vec![
            state(FACE, true),
            state(HEAD_POSE, self.head.is_some()),
            // Lids are judged by the head's pose.
            state(EYELIDS, self.eyes.is_some() && self.head.is_some()),
        ]
    }
}
