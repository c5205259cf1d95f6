//! How long each stage of a look at the road takes.

use std::time::{Duration, Instant};

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

impl RoadStage {
    /// Every stage.
    pub const ALL: [Self; 5] =
        [Self::Vehicles, Self::Marks, Self::Scene, Self::Faces, Self::Plates];

    /// Its name in figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vehicles => "vehicles",
            Self::Marks => "marks",
            Self::Scene => "scene",
            Self::Faces => "faces",
            Self::Plates => "plates",
        }
    }
}

/// Time spent since the start, by stage.
#[derive(Clone, Debug, Default)]
pub struct RoadTimes {
    looks: u32,
    spent: [Duration; 5],
}

impl RoadTimes {
    /// Looks counted.
    pub const fn looks(&self) -> u32 {
        self.looks
    }

    /// Milliseconds of a stage in a look, the mean of all looks; 0 before the first.
    pub fn mean_ms(&self, stage: RoadStage) -> f64 {
        let spent: Duration = RoadStage::ALL
            .iter()
            .zip(self.spent)
            .filter(|(s, _)| **s == stage)
            .map(|(_, d)| d)
            .sum();
        spent.as_secs_f64() * 1e3 / f64::from(self.looks.max(1))
    }

    pub(super) const fn look(&mut self) {
        self.looks = self.looks.saturating_add(1);
    }

    pub(super) fn measure<T>(&mut self, stage: RoadStage, work: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let done = work();
        for (_, spent) in RoadStage::ALL.iter().zip(&mut self.spent).filter(|(s, _)| **s == stage) {
            *spent += begin.elapsed();
        }
        done
    }
}
