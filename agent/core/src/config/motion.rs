//! The numbers of how the vehicle moves and is driven.

use serde::{Deserialize, Serialize};
use temoin_proto::samples::STANDARD_GRAVITY_MPS2;

use super::VehicleClass;

/// How the unit is screwed in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MountConfig {
    /// The IMU's axes are the vehicle's (x forward, y left, z up), as an installer measured or a
    /// recording was made. Else they are learned in the first minutes of driving, and until then
    /// there are no accelerations.
    pub aligned: bool,
    /// How far that may be wrong, one standard deviation, degrees. Own choice.
    pub aligned_sigma_deg: f64,
    /// Learned axes are used once they are known to within this, degrees. At 6 degrees a braking of
    /// 0.36 g shows 0.04 g of cornering. Own choice.
    pub aligned_within_deg: f64,
    /// The unit was turned where its axes are off by more than this, degrees. Own choice: above the
    /// steepest ramps.
    pub turned_deg: f64,
    /// For so many seconds of steady driving or standing. Own choice.
    pub turned_s: f64,
}

impl Default for MountConfig {
    fn default() -> Self {
        Self {
            aligned: false,
            aligned_sigma_deg: 10.0,
            aligned_within_deg: 6.0,
            turned_deg: 15.0,
            turned_s: 30.0,
        }
    }
}

/// Harsh braking, acceleration and cornering. Limits: GPS Insight's fleet thresholds guide;
/// Digital Matter's 4.4 m/s² (0.45 g) and 5.5 m/s² for turns lie above them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HarshConfig {
    /// Instead of the class's braking limit, g.
    pub braking_g: Option<f64>,
    /// Instead of the class's acceleration limit, g.
    pub acceleration_g: Option<f64>,
    /// Instead of the class's cornering limit, g.
    pub cornering_g: Option<f64>,
    /// How long the filtered value must stay over the limit.
    pub hold_s: f64,
    /// Nothing begins below this speed: kerbs, ramps and doors are not driving.
    pub min_speed_kmh: f64,
    /// Time constant of the first-order low-pass on the IMU. 0.2 s (0.8 Hz) keeps manoeuvres,
    /// which last a second and more, and takes a 50 ms pothole of 1 g down to 0.22 g. Own choice.
    pub low_pass_s: f64,
    /// A manoeuvre is over when the value was below `release` times the limit for `rearm_s`:
    /// one braking that pumps is one event. Own choice.
    pub release: f64,
    /// See `release`. Own choice.
    pub rearm_s: f64,
}

impl Default for HarshConfig {
    fn default() -> Self {
        Self {
            braking_g: None,
            acceleration_g: None,
            cornering_g: None,
            hold_s: 0.3,
            min_speed_kmh: 10.0,
            low_pass_s: 0.2,
            release: 0.7,
            rearm_s: 1.0,
        }
    }
}

impl HarshConfig {
    /// The limits that apply, m/s²: braking, acceleration, cornering.
    pub fn limits_mps2(&self, class: VehicleClass) -> [f64; 3] {
        let [b, a, c] = match class {
            VehicleClass::Light => [0.38, 0.37, 0.38],
            VehicleClass::Van => [0.36, 0.35, 0.35],
        };
        [
            self.braking_g.unwrap_or(b),
            self.acceleration_g.unwrap_or(a),
            self.cornering_g.unwrap_or(c),
        ]
        .map(|g| g * STANDARD_GRAVITY_MPS2)
    }
}

/// Speeding: over the limit by more than max(`margin_kmh`, `margin_percent`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpeedingConfig {
    /// Margin, km/h. Speedometers and GNSS differ by this much. Own choice.
    pub margin_kmh: f64,
    /// Margin, percent of the limit (Lightfoot uses 12 %).
    pub margin_percent: f64,
    /// Voice in the cab after this long (Netradyne: 20 s).
    pub voice_after_s: f64,
    /// Event after this long (Netradyne: 30 s).
    pub event_after_s: f64,
    /// Below the margin for this long before it can be a new event. Own choice.
    pub rearm_s: f64,
}

impl Default for SpeedingConfig {
    fn default() -> Self {
        Self {
            margin_kmh: 5.0,
            margin_percent: 10.0,
            voice_after_s: 20.0,
            event_after_s: 30.0,
            rearm_s: 10.0,
        }
    }
}

/// Collision. Own choice: validate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollisionConfig {
    /// Level force of a hit at its peak, g. The hardest braking is 1 g.
    pub peak_g: f64,
    /// Change of level speed within `window_s`, km/h. A brake makes 5 in that time.
    pub speed_change_kmh: f64,
    /// See `speed_change_kmh`.
    pub window_s: f64,
    /// From this speed a hit needs no second look.
    pub driving_kmh: f64,
}

impl Default for CollisionConfig {
    fn default() -> Self {
        Self { peak_g: 2.0, speed_change_kmh: 6.0, window_s: 0.15, driving_kmh: 5.0 }
    }
}

/// Rollover. Own choice: validate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloverConfig {
    /// Gravity is this far from where it was, degrees.
    pub angle_deg: f64,
    /// For so long.
    pub hold_s: f64,
    /// In a vehicle that drove this fast a moment ago.
    pub min_speed_kmh: f64,
}

impl Default for RolloverConfig {
    fn default() -> Self {
        Self { angle_deg: 60.0, hold_s: 1.0, min_speed_kmh: 10.0 }
    }
}

/// Following too close (Motive: below 0.7 s for 15 s above 35 mph).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FollowingConfig {
    /// Time to the vehicle ahead, seconds.
    pub headway_s: f64,
    /// Shorter for so long.
    pub after_s: f64,
    /// Above this speed.
    pub min_speed_kmh: f64,
    /// A gap in what is seen up to this long ends nothing and counts for nothing. Own choice: five
    /// looks of the road camera.
    pub gap_s: f64,
}

impl Default for FollowingConfig {
    fn default() -> Self {
        Self { headway_s: 0.7, after_s: 15.0, min_speed_kmh: 56.0, gap_s: 1.0 }
    }
}

/// Rolling through a stop. Own choice: validate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RollingStopConfig {
    /// Slower than this is as good as a stop.
    pub slowest_kmh: f64,
    /// Within so many metres of the line, before and behind.
    pub reach_m: f64,
}

impl Default for RollingStopConfig {
    fn default() -> Self {
        Self { slowest_kmh: 8.0, reach_m: 20.0 }
    }
}

/// Seat belt (Surfsight: 50 s of driving, then 10 s).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeatBeltConfig {
    /// Alert after so long unbelted.
    pub alert_after_s: f64,
    /// Event so long after the alert.
    pub event_after_alert_s: f64,
    /// Slower is moving a van about in a yard. Own choice.
    pub min_speed_kmh: f64,
}

impl Default for SeatBeltConfig {
    fn default() -> Self {
        Self { alert_after_s: 50.0, event_after_alert_s: 10.0, min_speed_kmh: 10.0 }
    }
}

/// Idling (13 CCR 2485: 5 minutes).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdlingConfig {
    /// The engine ran and the vehicle stood for so long.
    pub after_s: f64,
}

impl Default for IdlingConfig {
    fn default() -> Self {
        Self { after_s: 300.0 }
    }
}
