//! `temoin-agent look`: what the unit sees in a picture, a video, a recorded drive or a camera.
//!
//! It writes an annotated picture or video because somebody asks for it at the terminal, and says in
//! words what was seen, what not, and why.
//!
//! INVARIANT: of a camera of an enrolled unit nothing is written but words: unflagged video of a
//! unit in service never leaves RAM. What may be an identity counts as one.
//!
//! A crash leaves a `.part` file beside the output, and no half of one.

mod lines;
mod paint;
mod recording;
mod tally;

use std::{
    fs,
    io::Write as _,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use temoin_hw::{
    Camera,
    camera_v4l2::V4l2Camera,
    drive::{Drive, VideoInput},
    pace::StopToken,
    video_file::{PictureSize, VideoFile},
};
use temoin_media::{annotate, frame::I420Picture};
use temoin_proto::{
    samples::{CameraId, Frame},
    time::MonoTime,
};

use self::{paint::Painter, recording::Recording, tally::Tally};
use super::CONFIG;
use crate::{
    config::Config,
    health::State,
    identity::Identity,
    model_pack,
    perception::{self, Perception, road::RoadEyes, swap},
};

/// Show what the unit sees in a picture, a video, a recorded drive or a camera.
///
/// Writes an annotated copy and says in words what was seen, what not, and why. Of a camera of an
/// enrolled unit it says words only: no picture of a unit in service is written.
#[derive(clap::Args)]
pub struct Args {
    /// A picture (PNG, JPEG), a video, a drive's folder, or a camera such as /dev/video0.
    input: PathBuf,
    /// Which of the unit's cameras it stands for.
    #[arg(long, value_enum, default_value_t = Which::Cabin)]
    camera: Which,
    /// Where the annotated copy goes, .mp4 or .png; NAME.look.mp4 or NAME.look.png in the present
    /// folder unless named. A .png of a video shows its last picture.
    #[arg(long, value_name = "FILE", conflicts_with = "no_picture")]
    out: Option<PathBuf>,
    /// Write no annotated copy.
    #[arg(long)]
    no_picture: bool,
    /// One line of JSON for each picture on standard output; the words go to standard error.
    #[arg(long)]
    json: bool,
    /// Look at so many seconds at most; a camera for 10 unless said.
    #[arg(long, value_name = "N")]
    seconds: Option<f64>,
    /// Configuration; /etc/temoin/agent.toml where it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Cabin,
    Road,
}

impl From<Which> for CameraId {
    fn from(which: Which) -> Self {
        match which {
            Which::Cabin => Self::Cabin,
            Which::Road => Self::Road,
        }
    }
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq)]
enum Input {
    Picture(VideoInput),
    Video(VideoInput),
    Device(PathBuf),
}

/// Seconds that a camera is looked at.
const CAMERA_S: f64 = 10.0;
/// Pictures a second of the road camera that are looked at.
const ROAD_FPS: u32 = 5;

impl Input {
    fn of(path: &Path, camera: CameraId) -> Result<Self> {
        let there =
            fs::metadata(path).with_context(|| format!("cannot open `{}`", path.display()))?;
        let whole = || VideoInput { file: path.to_owned(), ..VideoInput::default() };
        if there.file_type().is_char_device() {
            return Ok(Self::Device(path.to_owned()));
        }
        if !there.is_dir() {
            let picture = is_named(path, &["png", "jpg", "jpeg"]);
            return Ok(if picture { Self::Picture(whole()) } else { Self::Video(whole()) });
        }
        let drive = Drive::load(path)?;
        let video = match camera {
            CameraId::Cabin => drive.cabin,
            CameraId::Road => drive.road,
        };
        let mut video = video.with_context(|| {
            format!("the drive `{}` has no {} camera", path.display(), camera.as_str())
        })?;
        // Once through is enough to look at.
        video.looped = false;
        Ok(Self::Video(video))
    }
}

fn is_named(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    endings.iter().any(|e| ending.eq_ignore_ascii_case(e))
}

/// Whether pictures may be written.
#[derive(Debug, PartialEq, Eq)]
enum Rule {
    Allowed,
    /// A camera, and the unit is enrolled or that cannot be ruled out.
    WordsOnly,
}

impl Rule {
    fn of(input: &Input, data: Option<&Path>) -> Self {
        let enrolled = data.is_some_and(Identity::may_be_there);
        match input {
            Input::Device(_) if enrolled => Self::WordsOnly,
            Input::Device(_) | Input::Picture(_) | Input::Video(_) => Self::Allowed,
        }
    }
}

impl Args {
    pub(super) fn run(self) -> Result<()> {
        let camera_id = CameraId::from(self.camera);
        let input = Input::of(&self.input, camera_id)?;
        let (config, data) = self.configuration()?;
        if self.seconds.is_some_and(|s| !(s > 0.0 && s.is_finite())) {
            bail!("--seconds: a number above 0 is needed");
        }
        let out = self.out_file(&input, Rule::of(&input, data.as_deref()))?;
        temoin_media::limit_opencv_threads(1).context("OpenCV cannot be used")?;
        let mut perception = open(camera_id, &config);
        let mut said: Vec<String> = Vec::new();
        said.extend(models(&config, perception.as_ref()));

        let fps = match camera_id {
            CameraId::Cabin => whole_rate(config.perception.rate_hz),
            CameraId::Road => ROAD_FPS,
        };
        let size = PictureSize { width: config.video.width, height: config.video.height, fps };
        let mut camera: Box<dyn Camera> = match &input {
            Input::Picture(file) | Input::Video(file) => {
                Box::new(VideoFile::open(camera_id, file, size, MonoTime::ZERO)?)
            }
            Input::Device(path) => {
                Box::new(V4l2Camera::open(camera_id, path, size, StopToken::new())?)
            }
        };
        let limit_s =
            self.seconds.or_else(|| matches!(input, Input::Device(_)).then_some(CAMERA_S));
        let encoder = {
            let mut encoder = config.encoder().map_err(anyhow::Error::msg)?;
            encoder.fps = fps.max(5);
            encoder
        };
        let mut recording = out.map(|path| Recording::new(path, encoder));
        let mut tally = Tally::new(camera_id);
        let mut painter = Painter::new(&config.rules);
        let mut first = None;
        let ended = loop {
            let frame: Frame = match camera.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                // What came before the fault is shown first.
                Err(e) => break Err(e),
            };
            let from = *first.get_or_insert(frame.at);
            if limit_s.is_some_and(|limit| frame.at.secs_from(from) >= limit) {
                break Ok(());
            }
            let sight = perception.observe(&frame);
            tally.add(&sight);
            if self.json {
                let line = lines::of(&sight, perception.points(), from);
                writeln!(std::io::stdout(), "{line}")?;
            }
            if let Some(recording) = &mut recording {
                let at = frame.at;
                let mut picture = I420Picture::from_frame(frame)?;
                annotate::draw(&mut picture, &painter.marks(&sight, perception.points()))?;
                recording.push(picture, at)?;
            }
        };
        said.extend(tally.words());
        match recording {
            None => {}
            Some(recording) => said.push(match recording.finish()? {
                Some(path) => format!("shown in `{}`", path.display()),
                None => "no picture came: nothing is written".to_owned(),
            }),
        }
        self.say(&said)?;
        ended.with_context(|| format!("`{}` ended early", self.input.display()))
    }

    fn say(&self, words: &[String]) -> Result<()> {
        let text = words.join("\n");
        if self.json {
            writeln!(std::io::stderr(), "{text}")?;
        } else {
            writeln!(std::io::stdout(), "{text}")?;
        }
        Ok(())
    }

    /// The configuration and, where it is one of a unit, its data folder.
    fn configuration(&self) -> Result<(Config, Option<PathBuf>)> {
        let usual = Path::new(CONFIG);
        // One that cannot be looked for may be there: it is then an error to read it.
        let there = || usual.try_exists().unwrap_or(true).then_some(usual);
        match self.config.as_deref().or_else(there) {
            None => Ok((Config::for_files(), None)),
            Some(path) => {
                let config = Config::load(path)?;
                let data = config.data_dir.clone();
                Ok((config, Some(data)))
            }
        }
    }

    fn out_file(&self, input: &Input, rule: Rule) -> Result<Option<PathBuf>> {
        let still = matches!(input, Input::Picture(_));
        match (rule, &self.out) {
            (Rule::WordsOnly, Some(_)) => bail!(
                "this unit is enrolled: no picture of its camera is written. Without --out, it is said in words what the unit sees"
            ),
            (Rule::WordsOnly, None) => Ok(None),
            (Rule::Allowed, _) if self.no_picture => Ok(None),
            (Rule::Allowed, Some(out)) if is_named(out, &["png"]) => Ok(Some(out.clone())),
            (Rule::Allowed, Some(out)) if is_named(out, &["mp4"]) && !still => {
                Ok(Some(out.clone()))
            }
            (Rule::Allowed, Some(out)) => bail!(
                "--out `{}`: {} is needed",
                out.display(),
                if still { "a name that ends in .png" } else { "a name that ends in .mp4 or .png" }
            ),
            (Rule::Allowed, None) => {
                let name = self.input.file_stem().unwrap_or_default().to_string_lossy();
                let name = if name.is_empty() { "drive".into() } else { name };
                let ending = if still { "png" } else { "mp4" };
                Ok(Some(PathBuf::from(format!("{name}.look.{ending}"))))
            }
        }
    }
}

/// What sees through this camera.
fn open(camera: CameraId, config: &Config) -> Box<dyn Perception> {
    match camera {
        CameraId::Cabin => perception::open(&config.perception()),
        CameraId::Road => Box::new(RoadEyes::open(&config.road())),
    }
}

/// Which models there are, what runs them, and what of them does not work.
fn models(config: &Config, perception: &dyn Perception) -> Vec<String> {
    let options = config.perception();
    let (_, models) = model_pack::describe(&options.models);
    let mut said = vec![format!("models: {models}"), swap::provider_health(&options).text];
    let faults = perception.health().into_iter().filter(|h| h.state != State::Ok);
    said.extend(faults.map(|h| format!("{}: {}", h.part, h.text)));
    said
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float casts saturate, and the configuration's range is 0.5 to 30"
)]
fn whole_rate(rate_hz: f64) -> u32 {
    (rate_hz.ceil() as u32).max(1)
}

#[cfg(test)]
mod tests;
