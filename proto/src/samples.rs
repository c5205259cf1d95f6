//! Samples of the unit's sensors.
//!
//! Vehicle axes are those of ISO 8855: x forward, y left, z up. `hw` turns every device's own
//! clock and axes into these before anything else sees a sample.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{geo::LatLon, time::MonoTime};

/// Standard gravity, m/s².
pub const STANDARD_GRAVITY_MPS2: f64 = 9.806_65;

/// Which camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CameraId {
    /// Looks at the driver.
    Cabin,
    /// Looks at the road ahead.
    Road,
}

impl CameraId {
    /// Every camera, in the order in which clips list them.
    pub const ALL: [Self; 2] = [Self::Cabin, Self::Road];

    /// `cabin` or `road`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cabin => "cabin",
            Self::Road => "road",
        }
    }
}

/// How the bytes of a [`Frame`] are laid out. Rows are packed: no padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Planar YUV 4:2:0: Y, then U, then V. Width and height are even.
    I420,
    /// Y, then interleaved UV, 4:2:0. Width and height are even.
    Nv12,
    /// Packed YUV 4:2:2. Width is even.
    Yuyv,
    /// One luma byte a pixel (infrared cameras).
    Gray8,
}

impl PixelFormat {
    /// Bytes that a picture of this size takes.
    pub const fn size_bytes(self, width: usize, height: usize) -> usize {
        match self {
            Self::I420 | Self::Nv12 => width * height * 3 / 2,
            Self::Yuyv => width * height * 2,
            Self::Gray8 => width * height,
        }
    }
}

/// One picture of one camera. Cloning copies no pixels.
#[derive(Clone)]
pub struct Frame {
    /// Which camera.
    pub camera: CameraId,
    /// When the exposure began, or as near to it as the driver tells.
    pub at: MonoTime,
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
    /// Layout of `data`.
    pub format: PixelFormat,
    /// The pixels: [`PixelFormat::size_bytes`] of them.
    pub data: Bytes,
}

impl std::fmt::Debug for Frame {
    // Never the pixels: a frame must not reach a log by accident.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("camera", &self.camera)
            .field("at", &self.at)
            .field("size", &(self.width, self.height))
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// A position fix (VSS `Vehicle.CurrentLocation.*`). A receiver without a fix sends none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GnssFix {
    /// When it was true.
    pub at: MonoTime,
    /// The receiver's UTC, milliseconds since 1970, where it knows.
    pub utc_unix_ms: Option<i64>,
    /// Latitude, degrees, north positive, WGS 84.
    pub lat_deg: f64,
    /// Longitude, degrees, east positive, WGS 84.
    pub lon_deg: f64,
    /// Height above mean sea level.
    pub alt_m: Option<f64>,
    /// Speed over ground (SOG).
    pub speed_mps: Option<f64>,
    /// Course over ground (COG), degrees clockwise from true north.
    pub course_deg: Option<f64>,
    /// Horizontal dilution of precision.
    pub hdop: Option<f64>,
    /// One standard deviation of the position on the ground, where the receiver says so.
    pub position_error_m: Option<f64>,
    /// One standard deviation of the speed, where the receiver says so.
    pub speed_error_mps: Option<f64>,
}

impl GnssFix {
    /// Where it is.
    pub const fn place(&self) -> LatLon {
        LatLon { lat_deg: self.lat_deg, lon_deg: self.lon_deg }
    }

    /// A fix of which nothing but time and place is known.
    pub const fn new(at: MonoTime, lat_deg: f64, lon_deg: f64) -> Self {
        Self {
            at,
            utc_unix_ms: None,
            lat_deg,
            lon_deg,
            alt_m: None,
            speed_mps: None,
            course_deg: None,
            hdop: None,
            position_error_m: None,
            speed_error_mps: None,
        }
    }
}

/// One IMU sample in vehicle axes (VSS `Vehicle.Acceleration.*`, `Vehicle.AngularVelocity.*`); a live
/// sensor's in its own, until it is known how it sits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImuSample {
    /// When it was measured.
    pub at: MonoTime,
    /// Specific force, m/s²: a unit at rest and level reads (0, 0, +9.81).
    pub accel_mps2: [f64; 3],
    /// Angular velocity, rad/s, where there is a gyroscope.
    pub gyro_rad_s: Option<[f64; 3]>,
}

/// The vehicle's own speed from its bus (VSS `Vehicle.Speed`), never from GNSS.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VehicleSpeed {
    /// When it was received.
    pub at: MonoTime,
    /// Metres a second, 0 or more.
    pub mps: f64,
}

/// The speeds of the wheels from the vehicle's bus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WheelSpeeds {
    /// When they were received.
    pub at: MonoTime,
    /// Front left, front right, rear left, rear right, metres a second.
    pub mps: [f64; 4],
}

/// Where the gear lever is (VSS `Vehicle.Powertrain.Transmission.SelectedGear`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gear {
    /// Park.
    Park,
    /// Reverse.
    Reverse,
    /// Neutral.
    Neutral,
    /// Any forward gear.
    Forward,
}

/// The turn signals (VSS `Vehicle.Body.Lights.DirectionIndicator.*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TurnSignal {
    /// None.
    Off,
    /// Left.
    Left,
    /// Right.
    Right,
    /// Both: hazard lights.
    Both,
}

/// What one of the vehicle's controls says, from its bus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ControlState {
    /// Whether the brake pedal is pressed (VSS `Vehicle.Chassis.Brake.PedalPosition` above 0).
    BrakePressed(bool),
    /// Where the gear lever is.
    Gear(Gear),
    /// The turn signals.
    TurnSignal(TurnSignal),
    /// Whether the driver's belt is fastened (VSS `Vehicle.Cabin.Seat.Row1.DriverSide.IsBelted`).
    BeltFastened(bool),
    /// Engine speed, turns a minute (VSS `Vehicle.Powertrain.CombustionEngine.Speed`).
    EngineRpm(f64),
}

/// A control of the vehicle at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ControlSample {
    /// When it was received.
    pub at: MonoTime,
    /// What it says.
    pub state: ControlState,
}

/// The driver's button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ButtonPress {
    /// When it went down.
    pub at: MonoTime,
}

/// One sample of any sensor but a camera.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Signal {
    /// GNSS.
    Gnss(GnssFix),
    /// IMU.
    Imu(ImuSample),
    /// The vehicle's speed from its bus.
    Speed(VehicleSpeed),
    /// The speeds of its wheels.
    Wheels(WheelSpeeds),
    /// One of its controls.
    Control(ControlSample),
    /// Button.
    Button(ButtonPress),
}

impl Signal {
    /// When it was measured.
    pub const fn at(&self) -> MonoTime {
        match self {
            Self::Gnss(s) => s.at,
            Self::Imu(s) => s.at,
            Self::Speed(s) => s.at,
            Self::Wheels(s) => s.at,
            Self::Control(s) => s.at,
            Self::Button(s) => s.at,
        }
    }
}
