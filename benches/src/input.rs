//! What is driven: the recordings beside the checkout, or the built-in scripted drive.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use temoin_hw::{
    Drive, Replay, ReplayItem, ReplayOptions,
    pace::{Speed, StopToken},
    replay,
    sim::Script,
    video_file::PictureSize,
};
use temoin_proto::{
    samples::{CameraId, Frame},
    time::MonoTime,
};
use temoin_tests::drives;

use crate::machine::recordings;

/// The two lengths of the recorded drive. What a second costs is the difference of both over the
/// difference of their lengths: starting the programs and loading the models falls out.
const LONG_S: u32 = 40;
const SHORT_S: u32 = 10;
/// How much of the scripted drive's pictures are kept in memory for the bare encoder.
const SIM_WINDOW_S: u32 = 30;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Up to the end of what is counted.
    Long,
    /// Up to its beginning.
    Short,
}

/// What is driven.
#[derive(Clone, Debug)]
pub enum Input {
    /// Recordings, as two drives of different length.
    Recorded {
        /// The folder of the longer drive.
        long: PathBuf,
        /// The folder of the shorter one.
        short: PathBuf,
    },
    /// The built-in scripted drive.
    Simulated,
}

impl Input {
    /// The recordings, where they lie beside the checkout; their drives are described in `folder`.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn choose(folder: &Path) -> Result<Self> {
        let Some(data) = recordings()? else { return Ok(Self::Simulated) };
        let drive = |name: &str, length_s: u32| -> Result<PathBuf> {
            let folder = folder.join(name);
            drives::city_for(&data, &folder, length_s, 1)?;
            Ok(folder)
        };
        Ok(Self::Recorded { long: drive("long", LONG_S)?, short: drive("short", SHORT_S)? })
    }

    /// The part of the drive that is counted, seconds from and to.
    pub fn window_s(&self) -> (f64, f64) {
        match self {
            Self::Recorded { .. } => (f64::from(SHORT_S), f64::from(LONG_S)),
            Self::Simulated => (0.0, f64::from(SIM_WINDOW_S)),
        }
    }

    /// What it is, for the figures.
    pub fn data_set(&self) -> &'static str {
        match self {
            Self::Recorded { .. } => "recorded: head_turns, highway_white, comma2k19",
            Self::Simulated => "simulated drive (no shared/data): drawn pictures, no models run",
        }
    }

    /// A folder in which a drive ends in a crash, with these pictures; None for the scripted drive.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn crash(&self, folder: &Path) -> Result<Option<String>> {
        let (Self::Recorded { .. }, Some(data)) = (self, recordings()?) else { return Ok(None) };
        let folder = folder.join("crash");
        let cabin = data.join("driver_video/head_turns.mp4");
        drives::crash(&cabin, &data.join("road_video/highway_white.mp4"), 12, &folder)?;
        Ok(Some(folder.to_str().context("path")?.to_owned()))
    }

    /// The drive as the agent's arguments.
    ///
    /// # Errors
    /// Where the folder's path is not UTF-8.
    pub fn arguments(&self, length: Length) -> Result<Vec<String>> {
        let drive = match (self, length) {
            (Self::Simulated, _) => "--sim",
            (Self::Recorded { long, .. }, Length::Long) => long.to_str().context("path")?,
            (Self::Recorded { short, .. }, Length::Short) => short.to_str().context("path")?,
        };
        Ok(vec!["replay".to_owned(), drive.to_owned()])
    }

    /// The drive, opened.
    ///
    /// # Errors
    /// Where a recording cannot be used.
    pub fn replay(&self, length: Length, size: PictureSize, speed: Speed) -> Result<Replay> {
        let options = ReplayOptions { speed, size, stop: StopToken::new() };
        Ok(match (self, length) {
            (Self::Simulated, _) => Replay::simulated(Script::demo(), &options)?,
            (Self::Recorded { long, .. }, Length::Long) => {
                Replay::open(&Drive::load(long)?, &options)?
            }
            (Self::Recorded { short, .. }, Length::Short) => {
                Replay::open(&Drive::load(short)?, &options)?
            }
        })
    }

    /// The pictures of the part that is counted, in memory: about 41 MB a second.
    ///
    /// # Errors
    /// Where a recording cannot be used.
    pub fn frames(&self, size: PictureSize) -> Result<Vec<Frame>> {
        let (from_s, to_s) = self.window_s();
        let at = |s: f64| replay::ZERO + Duration::from_secs_f64(s);
        let mut frames = Vec::new();
        for item in self.replay(Length::Long, size, Speed::Max)? {
            match item? {
                ReplayItem::Frame(frame) if frame.at >= at(to_s) => break,
                ReplayItem::Frame(frame) if frame.at >= at(from_s) => frames.push(frame),
                ReplayItem::Frame(_) | ReplayItem::Signal(_) => {}
            }
        }
        ensure!(!frames.is_empty(), "the drive has no pictures");
        Ok(frames)
    }
}

/// Chooses the pictures of a camera that are looked at, as the agent's pipeline does: `hz` in a
/// second, planned ahead, so that 10 out of 15 are 10.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    camera: CameraId,
    period: Duration,
    next: MonoTime,
}

impl Looks {
    /// None so far.
    pub fn new(camera: CameraId, hz: f64) -> Self {
        Self { camera, period: Duration::from_secs_f64(1.0 / hz), next: MonoTime::ZERO }
    }

    /// Whether this picture is looked at.
    pub fn due(&mut self, frame: &Frame) -> bool {
        if frame.camera != self.camera || frame.at < self.next {
            return false;
        }
        let behind = frame.at.since(self.next) > self.period;
        self.next = if behind { frame.at } else { self.next } + self.period;
        true
    }
}

#[cfg(test)]
mod tests {
    use temoin_media::frame::I420Picture;

    use super::*;

    #[test]
    fn ten_of_fifteen_pictures_are_looked_at() {
        let mut looks = Looks::new(CameraId::Cabin, 10.0);
        let frame = |n: u64, camera| {
            let at = replay::ZERO + Duration::from_nanos(n * 66_666_667);
            I420Picture::black(16, 16).unwrap().into_frame(camera, at)
        };
        let due = (0..150).filter(|n| looks.due(&frame(*n, CameraId::Cabin))).count();
        assert!((99..=101).contains(&due), "{due}");
        assert!(!looks.due(&frame(1000, CameraId::Road)));
    }
}
