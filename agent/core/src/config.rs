//! Every number of the core, with its default and where it comes from.
//!
//! Units are in the keys. Unknown keys are refused by serde; [`CoreConfig::validate`] says
//! everything else that is wrong at once, so that an installer corrects a file in one go.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temoin_proto::events::EventKind;

mod driver;
mod machine;
mod motion;
mod validate;

pub use driver::{
    AttentionConfig, CLOSED_BELOW, DriverSide, DrowsinessConfig, HeadwayConfig, PhoneConfig,
    ZoneEdges,
};
pub use machine::{HeatConfig, PowerConfig, RecordingConfig, Zone, ZoneRule};
pub use motion::{
    CollisionConfig, FollowingConfig, HarshConfig, IdlingConfig, MountConfig, RollingStopConfig,
    RolloverConfig, SeatBeltConfig, SpeedingConfig,
};

/// Kilometres an hour to metres a second.
pub(crate) const KMH_TO_MPS: f64 = 1.0 / 3.6;

/// Seconds of the configuration as a duration. [`CoreConfig::validate`] has refused what is
/// negative, not finite or absurd; zero stands in where it was not asked.
pub(crate) fn secs(s: f64) -> Duration {
    Duration::try_from_secs_f64(s).unwrap_or(Duration::ZERO)
}

/// One wrong value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{key}` is `{found}`: {need}")]
pub struct ConfigError {
    /// The key with its table, such as `clip.pre_roll_s`.
    pub key: &'static str,
    /// What was found.
    pub found: String,
    /// What is needed.
    pub need: String,
}

/// All settings of the core.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoreConfig {
    /// The vehicle.
    pub vehicle: VehicleConfig,
    /// Freshness of the sensors.
    pub timebase: TimebaseConfig,
    /// How the unit is screwed in.
    pub mount: MountConfig,
    /// Harsh braking, acceleration and cornering.
    pub harsh: HarshConfig,
    /// Collision.
    pub collision: CollisionConfig,
    /// Rollover.
    pub rollover: RolloverConfig,
    /// Speeding.
    pub speeding: SpeedingConfig,
    /// Following too close.
    pub following: FollowingConfig,
    /// Rolling through a stop.
    pub rolling_stop: RollingStopConfig,
    /// Seat belt.
    pub seat_belt: SeatBeltConfig,
    /// Idling.
    pub idling: IdlingConfig,
    /// Where the driver looks; long and repeated distraction.
    pub attention: AttentionConfig,
    /// Closed eyes and PERCLOS.
    pub drowsiness: DrowsinessConfig,
    /// Phone in hand.
    pub phone: PhoneConfig,
    /// Time to the vehicle ahead.
    pub headway: HeadwayConfig,
    /// Warn first, then flag.
    pub policy: PolicyConfig,
    /// When nothing is recorded.
    pub recording: RecordingConfig,
    /// Ignition and supply.
    pub power: PowerConfig,
    /// Heat and load.
    pub heat: HeatConfig,
    /// Cutting clips.
    pub clip: ClipConfig,
    /// The RAM ring of encoded video.
    pub ring: RingConfig,
    /// The spool on the disk.
    pub spool: SpoolConfig,
    /// Uploading.
    pub upload: UploadConfig,
}

impl CoreConfig {
    /// The defaults for recordings and simulations: their description says how the axes lie.
    pub fn for_recordings() -> Self {
        let mount = MountConfig { aligned: true, ..MountConfig::default() };
        Self { mount, ..Self::default() }
    }
}

/// Weight class: heavier vehicles get lower limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VehicleClass {
    /// Up to 6000 lb (2722 kg) gross: 0.38 / 0.37 / 0.38 g.
    Light,
    /// A delivery van above that: 0.36 / 0.35 / 0.35 g.
    #[default]
    Van,
}

/// The vehicle.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VehicleConfig {
    /// Weight class.
    pub class: VehicleClass,
    /// On which side the driver sits.
    pub driver_side: DriverSide,
    /// The speed limit that applies. Absent: unknown, and speeding is never said.
    pub speed_limit_kmh: Option<f64>,
}

/// Freshness of the sensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimebaseConfig {
    /// A speed is unknown while its standard deviation is more than this, km/h. 5 is the margin of
    /// speeding. Own choice.
    pub max_speed_error_kmh: f64,
    /// A gap in the IMU longer than this restarts its filter, so 10 Hz are needed. Own choice.
    pub imu_gap_s: f64,
    /// A source silent for this long is reported in device health. Own choice.
    pub health_after_s: f64,
    /// A sample that claims to be this much later than now is refused; one that claims less counts as
    /// one of now. Own choice.
    pub future_tolerance_s: f64,
}

impl Default for TimebaseConfig {
    fn default() -> Self {
        Self {
            max_speed_error_kmh: 5.0,
            imu_gap_s: 0.2,
            health_after_s: 5.0,
            future_tolerance_s: 1.0,
        }
    }
}

/// Warn first, then flag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// An attention event is flagged if it goes on this long after the alert.
    pub flag_after_alert_s: f64,
    /// Or if it comes this many times
    pub repeats: u32,
    /// within this long.
    pub repeats_within_s: f64,
    /// Two presses of the button closer than this are one. Own choice.
    pub button_debounce_s: f64,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            flag_after_alert_s: 2.0,
            repeats: 3,
            repeats_within_s: 600.0,
            button_debounce_s: 1.0,
        }
    }
}

/// Cutting clips.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClipConfig {
    /// Pictures before an event.
    pub pre_roll_s: f64,
    /// Pictures after an event.
    pub post_roll_s: f64,
    /// Pictures before a press of the button (Netradyne: 30 s).
    pub saved_pre_roll_s: f64,
    /// Pictures after a press of the button (Netradyne: 30 s).
    pub saved_post_roll_s: f64,
    /// Longest clip.
    pub max_clip_s: f64,
    /// How long after a clip's end to wait for late pictures before cutting what there is.
    /// Own choice: three 1 s GOPs.
    pub grace_s: f64,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            pre_roll_s: 10.0,
            post_roll_s: 5.0,
            saved_pre_roll_s: 30.0,
            saved_post_roll_s: 30.0,
            max_clip_s: 60.0,
            grace_s: 3.0,
        }
    }
}

impl ClipConfig {
    /// Time before and after an event of this kind; none where no pictures are kept of it.
    pub fn rolls(&self, kind: EventKind) -> Option<(Duration, Duration)> {
        match kind {
            EventKind::Idling => None,
            EventKind::DriverSaved => {
                Some((secs(self.saved_pre_roll_s), secs(self.saved_post_roll_s)))
            }
            EventKind::Collision
            | EventKind::Rollover
            | EventKind::HarshBraking
            | EventKind::HarshAcceleration
            | EventKind::HarshCornering
            | EventKind::Speeding
            | EventKind::FollowingTooClose
            | EventKind::RollingStop
            | EventKind::SeatBelt
            | EventKind::LongDistraction
            | EventKind::RepeatedDistraction
            | EventKind::PhoneInHand
            | EventKind::Drowsiness
            | EventKind::Microsleep
            | EventKind::Sleep
            | EventKind::Unresponsive => Some((secs(self.pre_roll_s), secs(self.post_roll_s))),
        }
    }
}

/// The RAM ring. 70 s of two cameras at 2 Mbit/s take 35 MB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RingConfig {
    /// Longest span kept of each camera. At least `clip.max_clip_s` and `clip.grace_s`, and a GOP.
    pub span_s: f64,
    /// Hard bound of each camera's bytes.
    pub camera_bytes: usize,
}

impl Default for RingConfig {
    fn default() -> Self {
        Self { span_s: 70.0, camera_bytes: 64 << 20 }
    }
}

/// The spool on the disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolConfig {
    /// Most bytes that clips may take. Own choice.
    pub quota_bytes: u64,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self { quota_bytes: 8 << 30 }
    }
}

/// Uploading. All own choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UploadConfig {
    /// Bytes in one chunk.
    pub chunk_bytes: u64,
    /// First wait after a failure; doubles with each further one.
    pub backoff_base_s: f64,
    /// Longest wait.
    pub backoff_cap_s: f64,
    /// How often to ask whether a sent clip is durable.
    pub durable_poll_s: f64,
}

impl Default for UploadConfig {
    fn default() -> Self {
        Self {
            chunk_bytes: 256 << 10,
            backoff_base_s: 1.0,
            backoff_cap_s: 300.0,
            durable_poll_s: 0.5,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{Error, MapDeserializer};
    use temoin_proto::samples::STANDARD_GRAVITY_MPS2;

    use super::*;

    #[test]
    fn defaults_are_valid_and_those_of_the_design() {
        let c = CoreConfig::default();
        assert_eq!(c.validate(), []);
        let g =
            |class| c.harsh.limits_mps2(class).map(|a| (a / STANDARD_GRAVITY_MPS2 * 100.0).round());
        assert_eq!(g(VehicleClass::Van), [36.0, 35.0, 35.0]);
        assert_eq!(g(VehicleClass::Light), [38.0, 37.0, 38.0]);
        assert_eq!(c.vehicle.speed_limit_kmh, None);
        assert_eq!(c.clip.rolls(EventKind::DriverSaved), Some((secs(30.0), secs(30.0))));
        assert_eq!(c.clip.rolls(EventKind::Sleep), Some((secs(10.0), secs(5.0))));
        assert_eq!(c.clip.rolls(EventKind::Idling), None);
    }

    #[test]
    fn every_mistake_is_said_at_once() {
        let mut c = CoreConfig::default();
        c.harsh.hold_s = f64::NAN;
        c.harsh.braking_g = Some(9.0);
        c.attention.slow_kmh = 60.0;
        c.ring.span_s = 30.0;
        c.attention.gaze.mirror_yaw_deg = 20.0;
        c.drowsiness.unresponsive_s = 2.0;
        c.drowsiness.closed_below_least = f64::NAN;
        c.phone.gap_s = -1.0;
        c.headway.min_speed_kmh = 0.0;
        c.policy.repeats = 0;
        c.clip.saved_post_roll_s = 40.0;
        let keys: Vec<_> = c.validate().into_iter().map(|e| e.key).collect();
        assert_eq!(
            keys,
            [
                "harsh.braking_g",
                "harsh.hold_s",
                "attention.slow_kmh",
                "attention.gaze.mirror_yaw_deg",
                "drowsiness.sleep_s",
                "drowsiness.closed_below_least",
                "drowsiness.closed_below_least",
                "phone.gap_s",
                "headway.min_speed_kmh",
                "policy.repeats",
                "clip.saved_pre_roll_s",
                "ring.span_s"
            ]
        );
    }

    #[test]
    fn a_mistake_reads_well() {
        let mut c = CoreConfig::default();
        c.clip.grace_s = -1.0;
        let text = c.validate().first().unwrap().to_string();
        assert_eq!(text, "`clip.grace_s` is `-1`: a number from 0 to 30 is needed");
    }

    #[test]
    fn unknown_keys_are_refused_and_missing_ones_are_defaults() {
        let parse = |key: &'static str| {
            PolicyConfig::deserialize(MapDeserializer::<_, Error>::new([(key, 3_u32)].into_iter()))
        };
        assert_eq!(parse("repeats"), Ok(PolicyConfig::default()));
        assert!(parse("repeat").unwrap_err().to_string().contains("unknown field `repeat`"));
    }
}
