//! Numbers of the machine and of what it may record: standstill, zones, ignition, supply and heat.

use serde::{Deserialize, Serialize};
use temoin_proto::geo::LatLon;

/// When nothing is recorded, besides what the driver and the fleet say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordingConfig {
    /// A vehicle that stands for so long is not recorded, until it drives; absent: it is.
    pub standstill_s: Option<f64>,
    /// Whether the privacy button stops recording.
    pub driver_may_pause: bool,
    /// Places with rules of their own.
    pub zones: Vec<Zone>,
}

impl Default for RecordingConfig {
    fn default() -> Self {
        Self { standstill_s: Some(180.0), driver_may_pause: true, zones: Vec::new() }
    }
}

/// A place with a rule of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Its centre, degrees north.
    pub latitude_deg: f64,
    /// Its centre, degrees east.
    pub longitude_deg: f64,
    /// How far it reaches, metres.
    pub radius_m: f64,
    /// What holds in it.
    pub rule: ZoneRule,
}

impl Zone {
    /// Its centre.
    pub const fn centre(&self) -> LatLon {
        LatLon { lat_deg: self.latitude_deg, lon_deg: self.longitude_deg }
    }
}

/// What holds in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZoneRule {
    /// Cameras and detectors are off.
    Off,
    /// Alerts in the cab, nothing recorded.
    AlertsOnly,
    /// The road is recorded; of the cabin, nothing can be seen.
    CabinHidden,
}

/// Ignition and supply. Thresholds are for a vehicle of 12 V; all own choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PowerConfig {
    /// The ignition must be off for so long until the vehicle counts as switched off.
    pub off_held_s: f64,
    /// Then the unit has so long to upload what waits, until it asks to be switched off.
    pub finish_s: f64,
    /// Below it the supply fails: what is flagged is written at once. Absent: never.
    pub supply_fails_below_v: Option<f64>,
    /// Below it a parked unit asks to be switched off, so that the vehicle can start. Absent: never.
    pub battery_low_below_v: Option<f64>,
}

impl Default for PowerConfig {
    fn default() -> Self {
        Self {
            off_held_s: 3.0,
            finish_s: 900.0,
            supply_fails_below_v: Some(9.0),
            battery_low_below_v: Some(11.8),
        }
    }
}

/// Heat and load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeatConfig {
    /// From here on pictures are analysed less often, degrees Celsius of the hottest sensor. A Jetson Orin
    /// slows itself down from 99 on. Own choice.
    pub slow_from_c: f64,
    /// So much cooler it must be to go back a step. Own choice.
    pub cooler_by_c: f64,
    /// A picture that waits longer than this for the unit's loop says that the machine cannot keep up.
    /// Own choice: three pictures at 15 a second.
    pub most_lag_s: f64,
}

impl Default for HeatConfig {
    fn default() -> Self {
        Self { slow_from_c: 85.0, cooler_by_c: 5.0, most_lag_s: 0.2 }
    }
}
