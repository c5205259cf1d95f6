//! Perception with the downloaded networks, and with the project's own.

use std::path::PathBuf;

use anyhow::Result;
use temoin_agent::{
    config::Config,
    model_pack::ModelPack,
    perception::{
        CabinEyes, DriverSeat, HealthStatement, Perception, PerceptionOptions,
        eyelids::EyeCrops,
        road::{RoadEyes, RoadOptions},
    },
};
use temoin_agent_core::road::camera::CameraMount;
use temoin_proto::{
    perception::Sight,
    samples::{CameraId, Frame},
};

use crate::{
    charts::colour,
    watch::{self, Clip, Outcome, RoadLook},
};

/// The road eyes, and what they believe after each look.
struct RoadWatch {
    eyes: RoadEyes,
    looks: Vec<RoadLook>,
}

impl Perception for RoadWatch {
    fn observe(&mut self, frame: &Frame) -> Sight {
        let sight = self.eyes.observe(frame);
        let scene = self.eyes.scene();
        self.looks.push(RoadLook {
            at: frame.at,
            vehicles: scene.placed().to_vec(),
            horizon: scene.horizon(),
            settled: scene.settled().is_some(),
        });
        sight
    }

    fn health(&self) -> Vec<HealthStatement> {
        self.eyes.health()
    }
}

/// Which networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pack {
    /// Those that `make models` fetches; those of the project beside them, as the unit has them.
    Downloaded,
    /// Those of the project alone, as a unit without a download has them.
    BuiltIn,
}

impl Pack {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Downloaded, Self::BuiltIn];

    /// What it is called.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Downloaded => "pack",
            Self::BuiltIn => "builtin",
        }
    }

    /// At the end of the name of a figure that stands for the unit as it is delivered: nothing for the
    /// downloaded pack.
    pub const fn end(self) -> &'static str {
        match self {
            Self::Downloaded => "",
            Self::BuiltIn => ".builtin",
        }
    }

    pub(crate) const fn colour(self) -> plotters::style::RGBColor {
        match self {
            Self::Downloaded => colour::BLUE,
            Self::BuiltIn => colour::ORANGE,
        }
    }

    /// Opens perception of the cabin for a driver on this seat.
    ///
    /// # Errors
    /// Where the networks or their runtime cannot be used.
    pub fn cabin(self, seat: DriverSeat) -> Result<CabinEyes> {
        let options = PerceptionOptions { seat, ..Config::for_files().perception() };
        Ok(match self {
            Self::Downloaded => CabinEyes::open(&options)?,
            Self::BuiltIn => CabinEyes::without_pack(&options, "not asked for".to_owned())?,
        })
    }

    /// Opens perception of the road behind a camera that is mounted like this.
    ///
    /// # Errors
    /// Where the networks are not there.
    pub fn road(self, mount: CameraMount) -> Result<RoadEyes> {
        let options = RoadOptions { mount, ..Config::for_files().road() };
        Ok(match self {
            Self::Downloaded => {
                ModelPack::open(&options.models)?;
                RoadEyes::open(&options)
            }
            Self::BuiltIn => RoadEyes::open(&RoadOptions { models: PathBuf::new(), ..options }),
        })
    }

    /// What judges single eyes.
    ///
    /// # Errors
    /// Where the networks or their runtime cannot be used.
    pub fn eye_crops(self) -> Result<EyeCrops> {
        let options = Config::for_files().perception();
        Ok(match self {
            Self::Downloaded => EyeCrops::open(&options)?,
            Self::BuiltIn => EyeCrops::without_pack(&options)?,
        })
    }

    /// The networks.
    ///
    /// # Errors
    /// Where they are not there.
    pub fn models(self) -> Result<ModelPack> {
        Ok(match self {
            Self::Downloaded => ModelPack::open(&Config::for_files().perception().models)?,
            Self::BuiltIn => ModelPack::builtin()?,
        })
    }

    /// Shows a clip, with the time of each stage. `mount` is how a road clip's camera is mounted.
    /// The second part says how the clip was read, where that was not the usual way.
    ///
    /// # Errors
    /// Where the networks cannot be used or the clip cannot be read.
    pub fn watch(self, clip: &Clip, mount: CameraMount) -> Result<(Outcome, Option<String>)> {
        let ((outcome, how), stage_ms) = match clip.camera {
            CameraId::Cabin => {
                let mut eyes = self.cabin(DriverSeat::default())?;
                let seen = watch::watch(clip, &mut eyes)?;
                (seen, eyes.times().all_ms())
            }
            CameraId::Road => {
                let mut road = RoadWatch { eyes: self.road(mount)?, looks: Vec::new() };
                let (outcome, how) = watch::watch(clip, &mut road)?;
                let RoadWatch { eyes, looks } = road;
                let outcome = Outcome { road_looks: looks, ..outcome };
                ((outcome, how), eyes.times().all_ms())
            }
        };
        Ok((Outcome { stage_ms, ..outcome }, how))
    }
}
