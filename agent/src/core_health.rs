//! The core's statements in words for device health.

use temoin_agent_core::{
    calibration::Calibrated, camera_health::CameraFault, drive::Health, motion::mount::MountChange,
    timebase::Source,
};
use temoin_proto::samples::CameraId;

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
        Health::Mount(MountChange::Aligned) => {
            board.set("imu.mount", State::Ok, "how the unit sits is known");
        }
        Health::Mount(MountChange::Turned) => board.set(
            "imu.mount",
            State::Degraded,
            "the unit was turned or knocked: it learns anew how it sits, and until then harsh motion is unknown; check its mount",
        ),
        Health::Camera { camera, fault } => camera_fault(board, camera, fault),
        Health::ClipEmpty { .. } => {
            board.set("recorder", State::Failed, "a flagged event got no picture: check the cameras");
        }
    }
}

fn camera_fault(board: &HealthBoard, camera: CameraId, fault: Option<CameraFault>) {
    let part = match camera {
        CameraId::Cabin => "camera.cabin",
        CameraId::Road => "camera.road",
    };
    let Some(fault) = fault else {
        return board.set(part, State::Ok, "its pictures are as usual");
    };
    let text = match fault {
        // The device's own thread has said more.
        CameraFault::Silent if board.state(part) == Some(State::Failed) => return,
        CameraFault::Silent => "no pictures come: check its cable",
        CameraFault::Frozen => "it sends the same picture again and again: switch it off and on",
        CameraFault::Covered => "something is over the lens",
        CameraFault::Exposure => "most of its picture is white or black: check its exposure",
        CameraFault::Turned => "it looks elsewhere than before: check its mount",
        CameraFault::Defocused => "its pictures are not sharp any more: clean and focus the lens",
        CameraFault::Flicker => "its pictures flicker: set its mains frequency",
    };
    let state = match fault {
        CameraFault::Silent | CameraFault::Frozen | CameraFault::Covered => State::Failed,
        CameraFault::Exposure
        | CameraFault::Turned
        | CameraFault::Defocused
        | CameraFault::Flicker => State::Degraded,
    };
    board.set(part, state, text);
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
