//! The unit's configuration file.
//!
//! Every key has a default but `data_dir`; unknown keys are refused; units are in the names.

mod devices;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use temoin_agent_core::{
    config::{ConfigError as RuleError, CoreConfig},
    policy::PrivacyState,
    road::camera::CameraMount,
};
use temoin_media::h264::{Effort, EncoderConfig, EncoderKind};

pub use self::devices::{
    CameraConfig, CanConfig, DeviceConfig, ImuConfig, PipelineConfig, SpeakerConfig,
};
use crate::{
    infer::{InferOptions, Provider},
    perception::{DriverSeat, PerceptionOptions, road::RoadOptions, seat_on},
    privacy_blur::BlurConfig,
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
    /// `x264`, `openh264`, `nvv4l2` (Jetson), `v4l2` or `vaapi`; or `auto`: the first that works, hardware
    /// ones first.
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
    /// What runs the models. One that cannot be used gives way to the processor, and device health
    /// says so.
    pub provider: Provider,
    /// Where TensorRT keeps its engines; `engines` in the data folder unless named.
    pub engine_cache_dir: Option<PathBuf>,
    /// Whether TensorRT may compute with 16-bit floats.
    pub fp16: bool,
    /// Whether the cabin camera shows both front seats: the driver is then looked for on the side
    /// that `rules.vehicle.driver_side` says.
    pub both_seats_in_view: bool,
    /// Where in the cabin picture the driver sits, fractions of its width and height; instead of
    /// `both_seats_in_view`.
    pub seat: Option<DriverSeat>,
    /// Cabin pictures looked at in a second.
    pub rate_hz: f64,
    /// Road pictures looked at in a second.
    pub road_rate_hz: f64,
}

impl Default for PerceptionConfig {
    fn default() -> Self {
        Self {
            models_dir: "/usr/share/temoin/models".into(),
            cascades_dir: temoin_media::cascade::DEFAULT_FOLDER.into(),
            onnxruntime: None,
            provider: Provider::Auto,
            engine_cache_dir: None,
            fp16: false,
            both_seats_in_view: false,
            seat: None,
            rate_hz: 10.0,
            road_rate_hz: 5.0,
        }
    }
}

/// Speed limits by the map.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// The limits file that `temoin-agent limits build` made; none: no limit is known but the one that is
    /// configured or ordered.
    pub file: Option<PathBuf>,
    /// The fleet's corrections.
    pub overrides: Option<PathBuf>,
    /// Where the unit drives, such as `Europe/Bucharest`, for limits that hold at certain times.
    pub time_zone: Option<String>,
    /// The vehicle's permitted mass, kg, for limits of heavy ones.
    pub max_mass_kg: Option<u32>,
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
    /// Blurring of other people, before encoding.
    #[serde(default)]
    pub blur: BlurConfig,
    /// How the road camera is mounted.
    #[serde(default)]
    pub road_camera: CameraMount,
    /// Device nodes of a live unit.
    #[serde(default)]
    pub devices: DeviceConfig,
    /// Speed limits by the map.
    #[serde(default)]
    pub limits: LimitsConfig,
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
            blur: BlurConfig::default(),
            road_camera: CameraMount::default(),
            devices: DeviceConfig::default(),
            limits: LimitsConfig::default(),
            rules: CoreConfig::for_recordings(),
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
        if let Err(e) = config.seat().checked() {
            mistakes.push(format!("perception.seat: {e}"));
        }
        mistakes.extend(config.blur.mistakes());
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
        if !(0.5..=30.0).contains(&config.perception.road_rate_hz) {
            mistakes.push(format!(
                "perception.road_rate_hz: `{}`: a number from 0.5 to 30 is needed",
                config.perception.road_rate_hz
            ));
        }
        mistakes.extend(config.devices.mistakes().iter().map(|m| format!("devices.{m}")));
        mistakes.extend(config.road_camera.mistakes().iter().map(|m| format!("road_camera.{m}")));
        if mistakes.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::Values { path: path.to_owned(), mistakes })
        }
    }

    /// Where in the cabin picture the driver sits.
    pub fn seat(&self) -> DriverSeat {
        let p = &self.perception;
        let by_side = || match p.both_seats_in_view {
            true => seat_on(self.rules.vehicle.driver_side),
            false => DriverSeat::default(),
        };
        p.seat.unwrap_or_else(by_side)
    }

    /// How the driver is seen.
    pub fn perception(&self) -> PerceptionOptions {
        let p = &self.perception;
        PerceptionOptions {
            models: p.models_dir.clone(),
            cascades: p.cascades_dir.clone(),
            seat: self.seat(),
            infer: self.infer(),
        }
    }

    /// How models are run.
    pub fn infer(&self) -> InferOptions {
        let p = &self.perception;
        // Without a data folder nothing is kept.
        let own = || {
            Some(self.data_dir.join("engines")).filter(|_| !self.data_dir.as_os_str().is_empty())
        };
        InferOptions {
            library: p.onnxruntime.clone(),
            provider: p.provider,
            engine_cache: p.engine_cache_dir.clone().or_else(own),
            fp16: p.fp16,
            ..InferOptions::default()
        }
    }

    /// How the road is seen.
    pub fn road(&self) -> RoadOptions {
        let PerceptionOptions { models, cascades, infer, .. } = self.perception();
        let mount = self.road_camera;
        RoadOptions { models, cascades, infer, mount, video_width_px: self.video.width }
    }

    /// The encoder's settings.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn encoder(&self) -> Result<EncoderConfig, String> {
        let v = &self.video;
        let mut encoder = EncoderConfig::new(v.width, v.height, v.fps);
        encoder.kind = self.encoder_kinds()?.first().copied().unwrap_or(EncoderKind::X264);
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

    /// The encoders to try, in this order. One that does not work gives way to those in software.
    ///
    /// # Errors
    /// Where the configured one has another name.
    pub fn encoder_kinds(&self) -> Result<Vec<EncoderKind>, String> {
        let software = [EncoderKind::X264, EncoderKind::OpenH264];
        let mut kinds = match self.video.encoder.as_str() {
            "auto" => vec![EncoderKind::NvV4l2, EncoderKind::V4l2, EncoderKind::VaApi],
            named => vec![named.parse().map_err(|e| format!("video.encoder: {e}, or auto"))?],
        };
        kinds.extend(software.into_iter().filter(|kind| self.video.encoder != kind.as_str()));
        Ok(kinds)
    }
}

#[cfg(test)]
mod tests {
    use temoin_agent_core::config::DriverSide;

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
    fn engines_are_kept_with_the_unit_s_data_unless_named() {
        for (text, cache) in [
            ("data_dir = \"/d\"", Some("/d/engines")),
            ("data_dir = \"/d\"\n[perception]\nengine_cache_dir = \"/e\"", Some("/e")),
            ("data_dir = \"\"", None),
        ] {
            let infer = parse(text).unwrap().infer();
            assert_eq!(infer.engine_cache.as_deref(), cache.map(Path::new), "{text}");
            assert_eq!((infer.provider, infer.fp16), (Provider::Auto, false));
        }
        let infer = parse("data_dir = \"d\"\n[perception]\nprovider = \"tensorrt\"\nfp16 = true");
        assert_eq!(infer.unwrap().infer().provider, Provider::Tensorrt);
    }

    #[test]
    fn the_seat_is_a_side_or_a_box() {
        let seat = |text: &str| {
            parse(&format!("data_dir = \"d\"\n[perception]\n{text}")).unwrap().perception().seat
        };
        assert_eq!(seat(""), DriverSeat::default());
        let wide = "both_seats_in_view = true";
        assert_eq!(seat(wide), seat_on(DriverSide::Left));
        let right = format!("{wide}\n[rules.vehicle]\ndriver_side = \"right\"");
        assert_eq!(seat(&right), seat_on(DriverSide::Right));
        let half = DriverSeat { w: 0.5, ..DriverSeat::default() };
        assert_eq!(seat(&format!("{wide}\nseat = {{ w = 0.5 }}")), half);
        let wrong = parse("data_dir = \"d\"\n[perception]\nseat = { x = 0.5, w = 0.6 }");
        assert!(wrong.unwrap_err().to_string().contains("perception.seat"));
    }

    #[test]
    fn a_camera_is_a_node_or_a_pipeline() {
        let camera = |text: &str| {
            parse(&format!("data_dir = \"d\"\n[devices]\nroad_camera = {text}"))
                .map(|config| config.devices.road_camera)
        };
        let node = CameraConfig::Node("/dev/video0".into());
        assert_eq!(camera("\"/dev/video0\"").unwrap(), Some(node));
        let gstreamer = "nvarguscamerasrc ! nvvidconv".to_owned();
        let pipeline = CameraConfig::Pipeline(PipelineConfig { gstreamer });
        let text = "{ gstreamer = \"nvarguscamerasrc ! nvvidconv\" }";
        assert_eq!(camera(text).unwrap(), Some(pipeline));
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
            ("data_dir = \"d\"\n[perception]\nprovider = \"gpu\"", vec!["gpu", "tensorrt"]),
            ("data_dir = \"d\"\n[blur]\nhold_s = 0", vec!["blur.hold_s"]),
            (
                "data_dir = \"d\"\n[devices]\nimu = { device = \"bmi160\", rate_hz = 5, range_g = nan }\nspeaker = { volume = 11 }\ngnss = \"/dev/ttyS1\"\ngpsd = \"localhost:2947\"",
                vec![
                    "devices.imu.rate_hz",
                    "imu.range_g",
                    "devices.speaker.volume",
                    "devices.gpsd",
                ],
            ),
            ("data_dir = \"d\"\n[devices]\nlamp = { chip = 3 }", vec!["chip", "line"]),
            ("data_dir = \"d\"\n[devices]\ncabin_camera = 0", vec!["/dev/video0", "gstreamer"]),
            ("data_dir = \"d\"\n[blur]\nfaces = true", vec!["faces", "cabin_others"]),
            (
                "data_dir = \"d\"\n[road_camera]\nmount_height_m = 9\nhorizon_y = nan\n[perception]\nroad_rate_hz = 90",
                vec!["road_camera.mount_height_m", "horizon_y", "perception.road_rate_hz"],
            ),
            ("data_dir = \"d\"\n[road_camera]\nheight = 1", vec!["height", "mount_height_m"]),
        ] {
            let said = parse(text).unwrap_err().to_string();
            for name in names {
                assert!(said.contains(name), "{name} is missing in: {said}");
            }
        }
    }

    #[test]
    fn an_edge_of_a_zone_can_be_given_by_itself() {
        let rules = |line: &str| {
            parse(&format!("data_dir = \"d\"\n[rules.attention.gaze]\n{line}")).map(|c| c.rules)
        };
        let mut expected = CoreConfig::default();
        expected.attention.gaze.forward_yaw_deg = 12.0;
        assert_eq!(rules("forward_yaw_deg = 12").unwrap(), expected);
        assert!(rules("forward_deg = 12").unwrap_err().to_string().contains("forward_deg"));
        let said = rules("down_pitch_deg = 5").unwrap_err().to_string();
        assert!(said.contains("attention.gaze.down_pitch_deg"), "{said}");
    }
}
