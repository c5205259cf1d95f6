//! What the road camera sees: vehicles ahead, the own lane, and of others what must be blurred.
//!
//! Pixels become boxes and points here; what they mean is decided in
//! [`temoin_agent_core::road`].
//!
//! INVARIANT: what is not seen is *unknown* with a reason. INVARIANT: nothing here identifies
//! anybody: faces and plates are found to be blurred and are never read.
//!
//! A fault here never stops the unit: it shows as unknown and in device health.

mod faces;
mod marks;
mod plates;
mod stages;
mod visibility;

#[cfg(test)]
mod clip_tests;
#[cfg(test)]
mod drawn_tests;
#[cfg(test)]
mod face_tests;

use std::path::PathBuf;

use temoin_agent_core::road::{
    camera::{CameraMount, RoadCamera},
    distance::Horizon,
    scene::{Findings, Scene},
    tracks::{Detection, PixelBox, VehicleKind},
};
use temoin_media::{
    bgr::Square,
    cascade,
    frame::{I420Frame, I420View},
    road_cascades::RoadCascades,
    upright_edges::upright_edges,
};
use temoin_proto::{
    perception::{
        NotSeen, Observation, PictureBox, PrivateArea, PrivateKind, RoadObservation, Sight,
    },
    samples::Frame,
};

pub use self::stages::{RoadStage, RoadTimes};
use self::{faces::Faces, stages::RoadStage as Stage};
use super::{HealthStatement, Perception, PerceptionError, tensors::light_is_bad, yolox};
use crate::{
    health::State,
    infer::{InferOptions, Network, Runtime},
    model_pack::{ModelPack, ModelPackError, ModelRole},
    perception::{
        face_search::{Yunet, size},
        yolox::{Found, Kind},
    },
};

/// The parts of device health that the road eyes speak for.
pub(crate) const VEHICLES: &str = "perception.vehicles";
pub(crate) const LANE: &str = "perception.lane";
pub(crate) const OTHERS: &str = "perception.others";

/// Scores below are nothing. On a motorway the network gives 0.3 to 0.9 to vehicles that are more
/// than 10 of its pixels wide.
const MIN_SCORE: f32 = 0.3;
/// Width of the part of the picture that is looked at closely, parts of its width.
const MIDDLE: f32 = 0.36;
/// The horizon lies at this part of its height.
const MIDDLE_HORIZON: f32 = 0.42;

/// How far an area reaches beyond a face of the cascade, parts of it on each side.
const CASCADE_MARGIN: f32 = 0.25;

/// The cascade searches so far above and below the horizon, parts of the picture's height: a tall
/// or a short person's face 3 m away. All of the picture would take three times as long.
const CASCADE_BAND: f32 = 0.15;

/// How the road is seen.
#[derive(Clone, Debug, PartialEq)]
pub struct RoadOptions {
    /// The folder of the model pack.
    pub models: PathBuf,
    /// The folder of OpenCV's cascades.
    pub cascades: PathBuf,
    /// How models are run.
    pub infer: InferOptions,
    /// How the camera is mounted.
    pub mount: CameraMount,
    /// The width of pictures that `mount.focal_px` was measured at, pixels.
    pub video_width_px: u32,
}

impl Default for RoadOptions {
    fn default() -> Self {
        Self {
            models: PathBuf::from("/var/lib/temoin/models"),
            cascades: PathBuf::from(cascade::DEFAULT_FOLDER),
            infer: InferOptions::default(),
            mount: CameraMount::default(),
            video_width_px: 1280,
        }
    }
}

/// The networks of the model pack that the road eyes use.
struct Networks {
    detector: Network,
    input: Vec<f32>,
    faces: Faces,
    pack: String,
    looks: u64,
}

/// Perception of the road.
pub struct RoadEyes {
    networks: Result<Networks, String>,
    cascades: Result<RoadCascades, String>,
    mount: CameraMount,
    video_width_px: u32,
    scene: Scene,
    times: RoadTimes,
    faults: Faults,
}

/// What failed in the last picture.
#[derive(Default)]
struct Faults {
    picture: Option<String>,
    vehicles: Option<String>,
    others: Option<String>,
}

/// What one picture gave.
struct Looked {
    observation: RoadObservation,
    others: Result<Vec<PrivateArea>, NotSeen>,
}

impl RoadEyes {
    /// The best road eyes that this unit can have. A unit records collisions without seeing the
    /// road, so this never fails; device health says what is missing and why.
    pub fn open(options: &RoadOptions) -> Self {
        let networks = Networks::open(options).map_err(|e| e.to_string());
        if let Err(why) = &networks {
            tracing::warn!(%why, "vehicles on the road are not seen");
        }
        let cascades = RoadCascades::load(&options.cascades).map_err(|e| e.to_string());
        Self {
            networks,
            cascades,
            mount: options.mount,
            video_width_px: options.video_width_px,
            scene: Scene::default(),
            times: RoadTimes::default(),
            faults: Faults::default(),
        }
    }

    /// Time spent in each stage.
    pub const fn times(&self) -> &RoadTimes {
        &self.times
    }

    /// What is followed from picture to picture.
    pub const fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Where the horizon is and how sure that is, for device health.
    fn horizon_said(&self) -> String {
        let measured = self.mount.horizon_y.is_some();
        match (self.scene.settled(), measured) {
            (Some(s), _) => format!(
                "horizon {:+.1}° below `road_camera.horizon_y`, learned to within {:.1}°",
                s.offset_deg, s.sigma_deg
            ),
            (None, true) => "horizon as it was measured, not learned yet".to_owned(),
            (None, false) => "`road_camera.horizon_y` is not measured and no horizon was learned \
                              yet: distances are rough"
                .to_owned(),
        }
    }

    fn look(&mut self, frame: &Frame) -> Result<Looked, PerceptionError> {
        let picture = I420Frame::of(frame)?;
        let picture = picture.view();
        self.times.look();
        let size = (picture.width(), picture.height());
        let camera = RoadCamera::new(&self.mount, self.video_width_px, size);
        let horizon = match (&camera, self.scene.horizon()) {
            (Some(_), Some(learned)) => learned,
            (Some(camera), None) => Horizon {
                row_px: camera.horizon_px,
                sigma_px: camera.px_of_deg(camera.horizon_sigma_deg),
            },
            // All of the picture.
            (None, _) => Horizon { row_px: f64::from(size.1) / 2.0, sigma_px: f64::from(size.1) },
        };
        let found = match &mut self.networks {
            Err(_) => Err(NotSeen::NoModel),
            Ok(networks) => {
                let found = self
                    .times
                    .measure(Stage::Vehicles, || networks.found(&picture, horizon.row_px));
                fault(&mut self.faults.vehicles, found)
            }
        };
        let others = self.others(&picture, &horizon, found.as_deref());
        let Some(camera) = camera else {
            // Smaller than anything that a camera gives.
            let observation = RoadObservation::unseen(frame.at, NotSeen::Blurred);
            return Ok(Looked { observation, others });
        };
        let vehicles: Result<Vec<Detection>, NotSeen> = match &found {
            Ok(found) => Ok(found.iter().filter_map(detection).collect()),
            Err(why) => Err(*why),
        };
        let boxes: Vec<PixelBox> = match &vehicles {
            Ok(vehicles) => vehicles.iter().map(|v| v.area).collect(),
            Err(_) => Vec::new(),
        };
        let light =
            if light_is_bad(picture.luma_stats()) { Err(NotSeen::BadLight) } else { Ok(()) };
        let points = self.times.measure(Stage::Marks, || {
            marks::mark_points(&picture, &camera, horizon.row_px, &boxes)
        });
        let findings = Findings {
            at: frame.at,
            light,
            ahead: visibility::ahead(&picture, &camera, horizon.row_px),
            vehicles: vehicles.as_deref().map_err(|why| *why),
            marks: &points,
        };
        let observation = self.times.measure(Stage::Scene, || self.scene.look(&camera, &findings));
        Ok(Looked { observation, others })
    }

    /// What must be blurred: by the networks where they work, else by the cascade for faces, and
    /// for plates by whatever they cannot be told from.
    fn others(
        &mut self,
        picture: &I420View<'_>,
        horizon: &Horizon,
        found: Result<&[Stepped], &NotSeen>,
    ) -> Result<Vec<PrivateArea>, NotSeen> {
        let times = &mut self.times;
        let areas = match (&mut self.networks, found, &mut self.cascades) {
            (Ok(networks), Ok(found), _) => {
                let all: Vec<Found> = found.iter().map(|f| f.found).collect();
                let persons: Vec<Found> =
                    all.iter().filter(|f| f.kind == Kind::Person).copied().collect();
                let faces = times.measure(Stage::Faces, || {
                    networks.faces.areas(picture, single(horizon.row_px), &persons)
                });
                let plates = times.measure(Stage::Plates, || plates::areas(picture, &all));
                faces.and_then(|mut faces| {
                    faces.extend(plates?);
                    Ok(faces)
                })
            }
            (_, Err(_), Ok(cascades)) | (Err(_), _, Ok(cascades)) => {
                // Where the horizon may be at the highest.
                let top_px = horizon.row_px - 2.0 * horizon.sigma_px;
                let band = face_band(size(picture).1, horizon);
                let faces = times.measure(Stage::Faces, || cascades.faces(picture, &band));
                let plates = times.measure(Stage::Plates, || upright_edges(picture, top_px));
                let area = |kind| move |area| PrivateArea { kind, area };
                faces.map_err(PerceptionError::from).map(|faces| {
                    let faces = faces.iter().map(|f| f.grown(CASCADE_MARGIN).clipped());
                    let plates = plates.into_iter().map(area(PrivateKind::PossiblePlate));
                    faces.map(area(PrivateKind::Face)).chain(plates).collect()
                })
            }
            (_, Err(why), Err(_)) => return Err(*why),
            (Err(_), Ok(_), Err(_)) => return Err(NotSeen::NoModel),
        };
        fault(&mut self.faults.others, areas)
    }
}

/// Around the horizon as far as it may be, and so far more as faces near by are from it: the lens
/// is about as high as they are.
fn face_band(height_px: f32, horizon: &Horizon) -> PictureBox {
    let middle = single(horizon.row_px) / height_px;
    let half = single(2.0 * horizon.sigma_px) / height_px + CASCADE_BAND;
    PictureBox { x: 0.0, y: middle - half, w: 1.0, h: 2.0 * half }.clipped()
}

/// Keeps what failed, logged once for each run of failures.
fn fault<T>(kept: &mut Option<String>, result: Result<T, PerceptionError>) -> Result<T, NotSeen> {
    let said = result.as_ref().err().map(ToString::to_string);
    if let (Some(said), None) = (&said, &kept) {
        tracing::warn!(fault = %said, "a picture of the road could not be looked at");
    }
    *kept = said;
    result.map_err(|_| NotSeen::ModelFailed)
}

#[expect(clippy::cast_possible_truncation, reason = "a row of the picture")]
const fn single(row_px: f64) -> f32 {
    row_px as f32
}

/// Something found, and the picture's pixels for one of the network's.
struct Stepped {
    found: Found,
    step_px: f32,
}

impl Networks {
    fn open(options: &RoadOptions) -> Result<Self, PerceptionError> {
        let pack = ModelPack::open(&options.models)?;
        let missing = |role| {
            let named = pack.missing().iter().find(|m| m.role == role).map(|m| m.file.as_str());
            ModelPackError::Missing(options.models.join(named.unwrap_or_default()))
        };
        let model = |role| pack.get(role).ok_or_else(|| missing(role));
        let (detector, faces) =
            (model(ModelRole::ObjectDetector)?, model(ModelRole::FaceDetector)?);
        let runtime = Runtime::load(&options.infer)?;
        Ok(Self {
            detector: runtime.network(detector)?,
            input: Vec::new(),
            faces: Faces::new(Yunet::new(Box::new(runtime.network(faces)?))),
            pack: pack.name().to_owned(),
            looks: 0,
        })
    }

    /// Persons and vehicles: in the whole picture, and in every other look closely around the
    /// vanishing point, where a car 60 m away is 30 pixels wide and not 10.
    fn found(
        &mut self,
        picture: &I420View<'_>,
        horizon_px: f64,
    ) -> Result<Vec<Stepped>, PerceptionError> {
        let mut all = self.whole(picture)?;
        self.looks = self.looks.wrapping_add(1);
        if self.looks % 2 == 1 {
            all.extend(self.middle(picture, horizon_px)?);
        }
        all.sort_by(|a, b| b.found.score.total_cmp(&a.found.score));
        let kept = yolox::without_doubles(all.iter().map(|s| s.found).collect());
        all.retain(|s| kept.contains(&s.found));
        Ok(all)
    }

    fn whole(&mut self, picture: &I420View<'_>) -> Result<Vec<Stepped>, PerceptionError> {
        let boxed = picture.letterbox_bgr_on(u32::from(yolox::INPUT_SIDE), yolox::PAD)?;
        let step_px = 1.0 / boxed.scale;
        let found = self.run(&boxed.picture)?;
        let placed =
            found.iter().filter_map(|f| f.placed(step_px, [0.0, 0.0]).clipped(size(picture)));
        Ok(placed.map(|found| Stepped { found, step_px }).collect())
    }

    fn middle(
        &mut self,
        picture: &I420View<'_>,
        horizon_px: f64,
    ) -> Result<Vec<Stepped>, PerceptionError> {
        let size = size(picture);
        let side = (MIDDLE * size.0).max(64.0);
        let horizon = single(horizon_px).clamp(0.0, size.1);
        let (x, y) = (size.0 / 2.0, horizon + (0.5 - MIDDLE_HORIZON) * side);
        let input = yolox::INPUT_SIDE;
        let square = Square::upright(x, y, side);
        let cut = picture.cut_bgr(square, u32::from(input))?;
        let step_px = side / f32::from(input);
        let corner = square.corner();
        let limit = f32::from(input) - 3.0;
        // What the square's edge cuts is seen better in the whole picture.
        let inside = |f: &&Found| f.x > 3.0 && f.y > 3.0 && f.x + f.w < limit && f.y + f.h < limit;
        let found = self.run(&cut)?;
        let placed =
            found.iter().filter(inside).filter_map(|f| f.placed(step_px, corner).clipped(size));
        Ok(placed.map(|found| Stepped { found, step_px }).collect())
    }

    fn run(
        &mut self,
        picture: &temoin_media::bgr::BgrPicture,
    ) -> Result<Vec<Found>, PerceptionError> {
        const KINDS: [Kind; 6] =
            [Kind::Person, Kind::Bicycle, Kind::Car, Kind::Motorcycle, Kind::Bus, Kind::Truck];
        Ok(yolox::look(&mut self.detector, picture, &mut self.input, &KINDS, MIN_SCORE)?)
    }
}

/// A vehicle for the scene; `None` for anything else.
fn detection(stepped: &Stepped) -> Option<Detection> {
    let Stepped { found, step_px } = stepped;
    let kind = match found.kind {
        Kind::Car => VehicleKind::Car,
        Kind::Truck => VehicleKind::Truck,
        Kind::Bus => VehicleKind::Bus,
        Kind::Motorcycle => VehicleKind::Motorcycle,
        Kind::Bicycle => VehicleKind::Bicycle,
        Kind::Person | Kind::Phone => return None,
    };
    let area = PixelBox {
        left: f64::from(found.x),
        top: f64::from(found.y),
        right: f64::from(found.x + found.w),
        bottom: f64::from(found.y + found.h),
    };
    Some(Detection { kind, score: f64::from(found.score), area, step_px: f64::from(*step_px) })
}

impl Perception for RoadEyes {
    fn observe(&mut self, frame: &Frame) -> Sight {
        let looked = self.look(frame);
        let mut kept = self.faults.picture.take();
        let looked = fault(&mut kept, looked);
        self.faults.picture = kept;
        match looked {
            Ok(Looked { observation, others }) => {
                Sight { observation: Observation::Road(observation), others }
            }
            Err(why) => Sight {
                observation: Observation::Road(RoadObservation::unseen(frame.at, why)),
                others: Err(why),
            },
        }
    }

    fn health(&self) -> Vec<HealthStatement> {
        let said = |part, state, text: String| HealthStatement { part, state, text };
        let faulty = |own: &Option<String>| self.faults.picture.clone().or_else(|| own.clone());
        let failed = |part, why: &str| {
            said(part, State::Failed, format!("the last picture could not be looked at: {why}"))
        };
        let ms = |stages: &[Stage]| stages.iter().map(|s| self.times.mean_ms(*s)).sum::<f64>();
        let vehicles = match (faulty(&self.faults.vehicles), &self.networks) {
            (Some(why), _) => failed(VEHICLES, &why),
            (None, Ok(networks)) => said(
                VEHICLES,
                State::Ok,
                format!("model pack {}; {:.1} ms", networks.pack, ms(&[Stage::Vehicles])),
            ),
            (None, Err(why)) => said(VEHICLES, State::Failed, format!("not seen: {why}")),
        };
        let lane = match faulty(&None) {
            Some(why) => failed(LANE, &why),
            None => said(
                LANE,
                State::Ok,
                format!(
                    "by its markings; {:.1} ms; {}",
                    ms(&[Stage::Marks, Stage::Scene]),
                    self.horizon_said()
                ),
            ),
        };
        let others = match (faulty(&self.faults.others), &self.networks, &self.cascades) {
            (Some(why), ..) => failed(OTHERS, &why),
            (None, Ok(networks), _) => said(
                OTHERS,
                State::Ok,
                format!(
                    "model pack {}; {:.1} ms",
                    networks.pack,
                    ms(&[Stage::Faces, Stage::Plates])
                ),
            ),
            (None, Err(why), Ok(_)) => said(
                OTHERS,
                State::Degraded,
                format!(
                    "without the model pack no vehicle is found: faces are found from the front \
                     only, and in place of plates whatever has upright edges on the road is \
                     blurred: {why}"
                ),
            ),
            (None, Err(why), Err(also)) => {
                said(OTHERS, State::Failed, format!("not seen: {why}; {also}"))
            }
        };
        vec![vehicles, lane, others]
    }
}
