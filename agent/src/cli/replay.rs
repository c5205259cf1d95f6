//! `temoin-agent replay`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use temoin_hw::{
    drive::{Drive, LooseFiles},
    pace::{Speed, StopToken},
    replay::{Replay, ReplayOptions},
    sim::Script,
    video_file::PictureSize,
};

use crate::{
    config::Config,
    unit::{self, After, Run, Source},
};

/// Run a recorded drive through the same pipeline as a live unit.
///
/// With --config, flagged clips are sealed, spooled and uploaded. Without, events are only shown:
/// nothing is kept and nothing is sent.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a drive, with its drive.toml.
    drive: Option<PathBuf>,
    /// Video of the driver.
    #[arg(long, value_name = "FILE", conflicts_with = "drive")]
    cabin: Option<PathBuf>,
    /// Video of the road.
    #[arg(long, value_name = "FILE", conflicts_with = "drive")]
    road: Option<PathBuf>,
    /// NMEA 0183 log; can be given several times.
    #[arg(long, value_name = "FILE", conflicts_with = "drive")]
    nmea: Vec<PathBuf>,
    /// CSV with units in its header (t_s, speed_mps, accel_x_mps2, ...); several times.
    #[arg(long, value_name = "FILE", conflicts_with = "drive")]
    csv: Vec<PathBuf>,
    /// GPX track; several times.
    #[arg(long, value_name = "FILE", conflicts_with = "drive")]
    gpx: Vec<PathBuf>,
    /// The built-in scripted drive: pictures drawn, signals simulated.
    #[arg(long, conflicts_with_all = ["drive", "cabin", "road", "nmea", "csv", "gpx"])]
    sim: bool,
    /// How fast: as recorded, or as fast as this machine can.
    #[arg(long, value_enum, default_value_t = Pace::Real)]
    speed: Pace,
    /// Configuration of an enrolled unit.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// End when the drive ends, even if the server has not everything yet; the spool keeps it.
    #[arg(long)]
    no_wait: bool,
    /// Write what the run cost to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pace {
    Real,
    Max,
}

impl Args {
    pub(super) fn run(self) -> Result<()> {
        let config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::for_files(),
        };
        let speed = match self.speed {
            Pace::Real => Speed::Real,
            Pace::Max => Speed::Max,
        };
        let v = &config.video;
        let stop = StopToken::new();
        let options = ReplayOptions {
            speed,
            size: PictureSize { width: v.width, height: v.height, fps: v.fps },
            stop: stop.clone(),
        };
        let replay = if self.sim {
            Replay::simulated(Script::demo(), &options)?
        } else if let Some(folder) = &self.drive {
            Replay::open(&Drive::load(folder)?, &options)?
        } else {
            if self.cabin.is_none()
                && self.road.is_none()
                && self.nmea.is_empty()
                && self.csv.is_empty()
                && self.gpx.is_empty()
            {
                bail!(
                    "name a drive's folder, files (--cabin, --road, --nmea, --csv, --gpx), or --sim"
                );
            }
            let files = LooseFiles {
                cabin: self.cabin,
                road: self.road,
                nmea: self.nmea,
                csv: self.csv,
                gpx: self.gpx,
                ..LooseFiles::default()
            };
            Replay::open(&Drive::from_files(files)?, &options)?
        };
        unit::run(Run {
            config,
            source: Source::Replay(Box::new(replay), speed),
            stop,
            keep: self.config.is_some(),
            after: if self.no_wait { After::Nothing } else { After::Uploaded },
            report: self.report,
        })
    }
}
