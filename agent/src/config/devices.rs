//! The `devices` table: what is connected to a live unit.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use temoin_hw::{
    Camera, CameraError, camera_gst::GstCamera, camera_v4l2::V4l2Camera, gpio::LineConfig,
    imu_iio::ImuWish, pace::StopToken, speaker_alsa::SpeakerWish, supply::SupplyConfig,
    video_file::PictureSize,
};
use temoin_proto::samples::CameraId;

/// Device nodes of a live unit.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceConfig {
    /// The cabin camera.
    pub cabin_camera: Option<CameraConfig>,
    /// The road camera.
    pub road_camera: Option<CameraConfig>,
    /// Serial device of the GNSS receiver (NMEA 0183, UBX or both).
    pub gnss: Option<PathBuf>,
    /// Address of a gpsd (`localhost:2947`) in place of a receiver of the unit's own.
    pub gpsd: Option<String>,
    /// The vehicle's bus.
    pub can: Option<CanConfig>,
    /// The motion sensor.
    pub imu: Option<ImuConfig>,
    /// The driver's button.
    pub button: Option<LineConfig>,
    /// The tell-tale lamp.
    pub lamp: Option<LineConfig>,
    /// The speaker in the cab.
    pub speaker: Option<SpeakerConfig>,
    /// The machine's watchdog (`/dev/watchdog0`).
    pub watchdog: Option<PathBuf>,
    /// On while the vehicle is switched on.
    pub ignition: Option<LineConfig>,
    /// The voltage of the vehicle's supply.
    pub supply: Option<SupplyConfig>,
    /// The button by which the driver stops recording.
    pub privacy_button: Option<LineConfig>,
    /// The file by which the machine is asked to switch itself off.
    pub power_off: Option<PathBuf>,
}

/// How a camera is reached.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "a camera is its V4L2 node, \"/dev/video0\", or { gstreamer = \"a pipeline\" }"
)]
pub enum CameraConfig {
    /// Its V4L2 node.
    Node(PathBuf),
    /// By GStreamer.
    Pipeline(PipelineConfig),
}

/// A camera that GStreamer reaches.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineConfig {
    /// The pipeline, up to where pictures lie in the machine's own memory.
    pub gstreamer: String,
}

impl CameraConfig {
    /// Opens it.
    ///
    /// # Errors
    /// Why it gives no pictures of this size.
    pub fn open(
        &self,
        id: CameraId,
        size: PictureSize,
        stop: StopToken,
    ) -> Result<Box<dyn Camera>, CameraError> {
        Ok(match self {
            Self::Node(path) => Box::new(V4l2Camera::open(id, path, size, stop)?),
            Self::Pipeline(p) => Box::new(GstCamera::open(id, &p.gstreamer, size, stop)?),
        })
    }

    /// Its node or its pipeline.
    pub fn path(&self) -> &Path {
        match self {
            Self::Node(path) => path,
            Self::Pipeline(pipeline) => Path::new(&pipeline.gstreamer),
        }
    }
}

/// The motion sensor. How it sits in the vehicle is learned while driving.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImuConfig {
    /// What its driver in Linux calls it (`bmi160`), or its node (`/dev/iio:device0`).
    pub device: String,
    /// The trigger of Linux's that makes it measure; its own, or else a timer, where it is not given.
    pub trigger: Option<String>,
    /// Samples a second.
    #[serde(default = "imu_rate_hz")]
    pub rate_hz: f64,
    /// The accelerations that it must be able to tell, g. A crash is well above what driving is.
    #[serde(default = "imu_range_g")]
    pub range_g: f64,
}

const fn imu_rate_hz() -> f64 {
    100.0
}

const fn imu_range_g() -> f64 {
    16.0
}

impl ImuConfig {
    /// How the sensor is asked for.
    pub fn wish(&self) -> ImuWish {
        let Self { device, trigger, rate_hz, range_g } = self.clone();
        ImuWish { device, trigger, rate_hz, range_g }
    }
}

/// The speaker in the cab.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpeakerConfig {
    /// Its name in ALSA (`aplay -L` lists them).
    pub device: String,
    /// The folder of spoken words, `distraction.wav` and so on; what is not there is a tone.
    pub sounds: Option<PathBuf>,
    /// How loud tones are, 0 to 1.
    pub volume: f64,
}

impl Default for SpeakerConfig {
    fn default() -> Self {
        Self { device: "default".to_owned(), sounds: None, volume: 0.8 }
    }
}

impl SpeakerConfig {
    /// How the speaker is asked for.
    pub fn wish(&self) -> SpeakerWish {
        let Self { device, sounds, volume } = self.clone();
        SpeakerWish { device, sounds, volume }
    }
}

impl DeviceConfig {
    /// What is wrong with it, each with its key.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.gnss.is_some() && self.gpsd.is_some() {
            mistakes.push("gpsd: a receiver is configured too; give one of them".to_owned());
        }
        let imu = self.imu.as_ref();
        for (key, value, low, high) in [
            ("imu.rate_hz", imu.map(|imu| imu.rate_hz), 25.0, 1000.0),
            ("imu.range_g", imu.map(|imu| imu.range_g), 2.0, 64.0),
            ("speaker.volume", self.speaker.as_ref().map(|s| s.volume), 0.0, 1.0),
            ("supply.times", self.supply.as_ref().map(|s| s.times), 0.01, 100.0),
        ] {
            if let Some(value) = value.filter(|value| !(low..=high).contains(value)) {
                mistakes.push(format!("{key}: `{value}`: a number from {low} to {high} is needed"));
            }
        }
        mistakes
    }
}

/// The vehicle's bus. It is only heard, unless the model file enables OBD-II.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanConfig {
    /// Network interface (`can0`), set up by the installer.
    pub interface: String,
    /// Model file of the vehicle.
    pub vehicle: PathBuf,
    /// DBC file in place of the model's own, or the folder that has those.
    pub dbc: Option<PathBuf>,
}
