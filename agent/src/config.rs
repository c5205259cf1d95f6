//! The unit's configuration file.
//!
//! Every key has a default but `data_dir`; unknown keys are refused; units are in the names.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use temoin_agent_core::{
    config::{ConfigError as RuleError, CoreConfig},
    policy::PrivacyState,
};
use temoin_media::h264::{Effort, EncoderConfig, EncoderKind};

use crate::{
    infer::InferOptions,
    perception::{DriverSeat, DriverSide, PerceptionOptions},
};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration `{}`: {source}. Name another with --config", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what a configuration must look like.
    #[error("the configuration `{}` cannot be used:\n{reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, key and what was expected.
        reason: String,
    },
    /// Values that cannot be.
    #[error("the configuration `{}` has values that cannot be:\n{}", path.display(), .mistakes.join("\n"))]
    Values {
        /// The file.
        path: PathBuf,
        /// Each mistake: key, value, what is needed.
        mistakes: Vec<String>,
    },
}

/// Whether anything is recorded. `off` is for a unit in the workshop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privacy {
    /// Cameras and detectors are off.
    Off,
    /// Alerts in the cab, nothing recorded.
    AiWithoutRecording,
    /// Flagged events are recorded.
    Recording,
}

impl Privacy {
    /// The name in the configuration and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::AiWithoutRecording => "ai_without_recording",
            Self::Recording => "recording",
        }
    }
}

impl From<Privacy> for PrivacyState {
    fn from(p: Privacy) -> Self {
        match p {
            Privacy::Off => Self::Off,
            Privacy::AiWithoutRecording => Self::AiWithoutRecording,
            Privacy::Recording => Self::Recording,
        }
    }
}

/// Pictures and their encoding.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VideoConfig {
    /// Width of both cameras' pictures, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
    /// Pictures a second.
    pub fps: u32,
    /// `x264`, `openh264`, `nvv4l2` (Jetson) or `v4l2`.
    pub encoder: String,
    /// `ultrafast`, `superfast` or `veryfast` (x264 only).
    pub effort: String,
    /// Most kilobits a second of each camera.
    pub max_bitrate_kbps: u32,
}

impl Default for VideoConfig {
    fn default() -> Self {
        Self {
            width: 1280,
            height: 720,
            fps: 15,
            encoder: EncoderKind::X264.as_str().to_owned(),
            effort: Effort::Superfast.as_str().to_owned(),
            max_bitrate_kbps: 2000,
        }
    }
}

/// What the unit sees of the driver.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerceptionConfig {
    /// Folder of the model pack; `TEMOIN_MODELS` names another. Without a pack, OpenCV's cascades
    /// are used, and device health says what they cannot see.
    pub models_dir: PathBuf,
    /// Folder of OpenCV's cascades.
    pub cascades_dir: PathBuf,
    /// ONNX Runtime's shared library; `ORT_DYLIB_PATH` names another.
    pub onnxruntime: Option<PathBuf>,
    /// The side of the vehicle on which the driver sits: `left`, `right` or `any`.
    pub driver_side: DriverSide,
    /// Where in the cabin picture the driver sits, fractions of its width and height; instead of
    /// what `driver_side` stands for.
    pub seat: Option<DriverSeat>,
    /// Cabin pictures looked at in a second.
    pub rate_hz: f64,
}

impl Default for PerceptionConfig {
    fn default() -> Self {
        Self {
            models_dir: "/usr/share/temoin/models".into(),
            cascades_dir: temoin_media::cascade::DEFAULT_FOLDER.into(),
            onnxruntime: None,
            driver_side: DriverSide::default(),
            seat: None,
            rate_hz: 10.0,
        }
    }
}

impl PerceptionConfig {
    /// Where the driver sits.
    pub fn seat(&self) -> DriverSeat {
        self.seat.unwrap_or_else(|| self.driver_side.seat())
    }
}

/// Device nodes of a live unit.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceConfig {
    /// V4L2 node of the cabin camera.
    pub cabin_camera: Option<PathBuf>,
    /// V4L2 node of the road camera.
    pub road_camera: Option<PathBuf>,
    /// Serial device of the GNSS receiver (NMEA 0183).
    pub gnss: Option<PathBuf>,
}

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Identity and spool live here.
    pub data_dir: PathBuf,
    /// Whether anything is recorded.
    #[serde(default = "recording")]
    pub privacy: Privacy,
    /// How often device health goes to the server and orders come back, seconds.
    #[serde(default = "heartbeat_s")]
    pub heartbeat_s: f64,
    /// Pictures and their encoding.
    #[serde(default)]
    pub video: VideoConfig,
    /// What the unit sees of the driver.
    #[serde(default)]
    pub perception: PerceptionConfig,
    /// Device nodes of a live unit.
    #[serde(default)]
    pub devices: DeviceConfig,
    /// Thresholds of detectors, policy, clips, ring, spool and upload.
    #[serde(default)]
    pub rules: CoreConfig,
}

const fn heartbeat_s() -> f64 {
    15.0
}

const fn recording() -> Privacy {
    Privacy::Recording
}

impl Config {
    /// Reads and checks a configuration. Environment variables named in the docs override it.
    ///
    /// # Errors
    /// [`ConfigError`], with everything that is wrong at once.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Ok(Self::parse(&text, path)?.with_environment())
    }

    /// What a replay without a configuration file uses. Its data folder is never touched.
    pub fn for_files() -> Self {
        Self {
            data_dir: PathBuf::new(),
            privacy: Privacy::Recording,
            heartbeat_s: heartbeat_s(),
            video: VideoConfig::default(),
            perception: PerceptionConfig::default(),
            devices: DeviceConfig::default(),
            rules: CoreConfig::default(),
        }
        .with_environment()
    }

    fn with_environment(mut self) -> Self {
        if let Some(dir) = std::env::var_os("TEMOIN_MODELS") {
            self.perception.models_dir = dir.into();
        }
        if let Some(library) = std::env::var_os("ORT_DYLIB_PATH") {
            self.perception.onnxruntime = Some(library.into());
        }
        self
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|e| ConfigError::Syntax { path: path.to_owned(), reason: e.to_string() })?;
        let mut mistakes: Vec<String> =
            config.rules.validate().iter().map(|e: &RuleError| format!("rules.{e}")).collect();
        if let Err(e) = config.encoder() {
            mistakes.push(e);
        }
        if let Err(e) = config.perception.seat().checked() {
            mistakes.push(format!("perception.seat: {e}"));
        }
        if !(1.0..=300.0).contains(&config.heartbeat_s) {
            mistakes.push(format!(
                "heartbeat_s: `{}`: a number from 1 to 300 is needed",
                config.heartbeat_s
            ));
        }
        if !(0.5..=30.0).contains(&config.perception.rate_hz) {
            mistakes.push(format!(
                "perception.rate_hz: `{}`: a number from 0.5 to 30 is needed",
                config.perception.rate_hz
            ));
        }
        if mistakes.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::Values { path: path.to_owned(), mistakes })
        }
    }

    /// How the driver is seen.
    pub fn perception(&self) -> PerceptionOptions {
        let p = &self.perception;
        PerceptionOptions {
            models: p.models_dir.clone(),
            cascades: p.cascades_dir.clone(),
            seat: p.seat(),
            infer: InferOptions { library: p.onnxruntime.clone(), ..InferOptions::default() },
        }
    }

    /// The encoder's settings.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn encoder(&self) -> Result<EncoderConfig, String> {
        let v = &self.video;
        let mut encoder = EncoderConfig::new(v.width, v.height, v.fps);
        encoder.kind = v.encoder.parse().map_err(|e| format!("video.encoder: {e}"))?;
        encoder.effort = v.effort.parse().map_err(|e| format!("video.effort: {e}"))?;
        encoder.max_bitrate_kbps = v.max_bitrate_kbps;
        for (key, value, low, high) in [
            ("width", v.width, 160, temoin_media::h264::MAX_WIDTH),
            ("height", v.height, 120, temoin_media::h264::MAX_HEIGHT),
            ("fps", v.fps, 5, 60),
            ("max_bitrate_kbps", v.max_bitrate_kbps, 100, 20_000),
        ] {
            if !(low..=high).contains(&value) {
                return Err(format!(
                    "video.{key}: `{value}`: a number from {low} to {high} is needed"
                ));
            }
        }
        Ok(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("agent.toml"))
    }

    #[test]
    fn only_the_data_folder_is_needed() {
        let config = parse("data_dir = \"/var/lib/temoin\"").unwrap();
        assert_eq!(config.privacy, Privacy::Recording);
        assert_eq!((config.video.width, config.video.fps), (1280, 15));
    }

    #[test]
    fn the_seat_is_a_side_or_a_box() {
        let seat = |text: &str| {
            parse(&format!("data_dir = \"d\"\n[perception]\n{text}")).unwrap().perception().seat
        };
        assert_eq!(seat(""), DriverSeat::default());
        assert_eq!(seat("driver_side = \"left\""), DriverSide::Left.seat());
        let half = DriverSeat { w: 0.5, ..DriverSeat::default() };
        assert_eq!(seat("driver_side = \"left\"\nseat = { w = 0.5 }"), half);
        let wrong = parse("data_dir = \"d\"\n[perception]\nseat = { x = 0.5, w = 0.6 }");
        assert!(wrong.unwrap_err().to_string().contains("perception.seat"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, names) in [
            ("", vec!["data_dir"]),
            ("data_dir = \"d\"\nspeling = 1", vec!["speling"]),
            ("data_dir = \"d\"\nprivacy = \"maybe\"", vec!["maybe", "recording"]),
            (
                "data_dir = \"d\"\n[video]\nencoder = \"vhs\"\n[perception]\nrate_hz = 0\n[rules.vehicle]\nspeed_limit_kmh = -1",
                vec!["video.encoder", "vhs", "perception.rate_hz", "speed_limit_kmh"],
            ),
            ("data_dir = \"d\"\n[video]\nwidth = 9000", vec!["video.width", "9000"]),
        ] {
            let said = parse(text).unwrap_err().to_string();
            for name in names {
                assert!(said.contains(name), "{name} is missing in: {said}");
            }
        }
    }
}
