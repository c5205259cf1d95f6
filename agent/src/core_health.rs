//! The core's statements in words for device health.

use temoin_agent_core::{calibration::Calibrated, drive::Health, timebase::Source};

use crate::health::{HealthBoard, State};

/// Puts a statement of the core on the board.
pub(crate) fn report(board: &HealthBoard, health: Health) {
    match health {
        Health::Silent(source) => {
            board.set(part(source), State::Degraded, "silent: what depends on it is unknown");
        }
        Health::Back(source) => board.set(part(source), State::Ok, "samples come"),
        Health::Calibration(Calibrated::NeutralPose { .. }) => {
            board.set("perception.neutral_pose", State::Ok, "learned on this drive");
        }
        Health::Calibration(Calibrated::NeutralPoseImplausible { .. }) => board.set(
            "perception.neutral_pose",
            State::Degraded,
            "not learned: the head was too far from the configured neutral pose; check the camera's mount",
        ),
        Health::Calibration(Calibrated::OpenLevel) => {
            board.set("perception.open_eyes", State::Ok, "learned on this drive");
        }
        Health::Calibration(Calibrated::OpenLevelImplausible) => board.set(
            "perception.open_eyes",
            State::Degraded,
            "not learned: the openings are beyond what eyes measure; check the camera's view of the face",
        ),
        Health::ClipEmpty { .. } => {
            board.set("recorder", State::Failed, "a flagged event got no picture: check the cameras");
        }
    }
}

const fn part(source: Source) -> &'static str {
    match source {
        Source::Bus => "vehicle_bus",
        Source::Gnss => "gnss",
        Source::Imu => "imu",
        Source::Driver => "perception",
        Source::Road => "perception.road",
    }
}
