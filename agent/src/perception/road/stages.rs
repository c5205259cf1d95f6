//! The stages of a look at the road.

use crate::perception::stage_times::{Stages, Times};

/// A stage of one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoadStage {
    /// The whole picture, or its middle, through the detector of vehicles and persons.
    Vehicles,
    /// Markings on the road.
    Marks,
    /// What the findings mean: lane, tracks, distance.
    Scene,
    /// Faces of others.
    Faces,
    /// Number plates of others.
    Plates,
}

/// Processor time of each stage of a look at the road.
pub type RoadTimes = Times<RoadStage>;

impl Stages for RoadStage {
    const ALL: &'static [Self] =
        &[Self::Vehicles, Self::Marks, Self::Scene, Self::Faces, Self::Plates];

    fn as_str(self) -> &'static str {
        match self {
            Self::Vehicles => "vehicles",
            Self::Marks => "marks",
            Self::Scene => "scene",
            Self::Faces => "faces",
            Self::Plates => "plates",
        }
    }
}
