//! The stages of a look at the cabin.

use crate::perception::stage_times::{Stages, Times};

/// A stage of one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The driver's face is found.
    Face,
    /// The whole picture is searched for other faces.
    Others,
    /// The driver's face is judged by the own network.
    FaceState,
    /// Head pose of the pack.
    Head,
    /// Both eyes.
    Eyes,
    /// The phone.
    Phone,
}

/// Processor time of each stage of a look at the cabin.
pub type StageTimes = Times<Stage>;

impl Stages for Stage {
    const ALL: &'static [Self] =
        &[Self::Face, Self::Others, Self::FaceState, Self::Head, Self::Eyes, Self::Phone];

    fn as_str(self) -> &'static str {
        match self {
            Self::Face => "face",
            Self::Others => "others",
            Self::FaceState => "face_state",
            Self::Head => "head",
            Self::Eyes => "eyes",
            Self::Phone => "phone",
        }
    }
}
