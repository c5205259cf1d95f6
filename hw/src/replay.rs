//! A whole drive, recorded or simulated, merged into one stream in the order of time.
//!
//! The drive's zero lies at [`ZERO`] on the replay's time line, not at its origin, so that 'a
//! while before the event' is a time even at the drive's first moment.
//!
//! INVARIANT: times never fall. Each source holds one item ahead (a video a few more inside its
//! decoder), so memory does not grow with the drive. A source that fails gives its error once, in
//! its place in the order, and the others go on: as in a van.

use std::{sync::Arc, time::Duration};

use temoin_proto::{
    samples::{CameraId, Frame, Signal},
    time::{MonoTime, WallTime},
};

use crate::{
    candump::CandumpFile,
    clock::{ReplayClock, SystemClock},
    csv_signals::CsvSignals,
    device::{Camera, Clock, HwError, SignalError, SignalSource},
    drive::{Drive, SignalFormat, SignalInput},
    gpx::GpxFile,
    nmea::NmeaFile,
    pace::{MaxPace, Pace, RealPace, Speed, StopToken},
    sim::{Script, SimCamera, SimSignals},
    video_file::{PictureSize, VideoFile},
};

/// Where a drive's zero lies on the replay's time line.
pub const ZERO: MonoTime = MonoTime::from_ns(10_000_000_000);

/// How a drive is replayed.
#[derive(Clone, Debug, Default)]
pub struct ReplayOptions {
    /// As recorded, or as fast as possible.
    pub speed: Speed,
    /// What the cameras hand out.
    pub size: PictureSize,
    /// Ends the replay early.
    pub stop: StopToken,
}

/// One item of a drive.
#[derive(Clone, Debug)]
pub enum ReplayItem {
    /// A picture.
    Frame(Frame),
    /// A sample of another sensor.
    Signal(Signal),
}

impl ReplayItem {
    /// When it was measured.
    pub const fn at(&self) -> MonoTime {
        match self {
            Self::Frame(f) => f.at,
            Self::Signal(s) => s.at(),
        }
    }
}

enum Device {
    Camera(Box<dyn Camera>),
    Signals(Box<dyn SignalSource>),
}

/// One device with its next item.
struct Source {
    device: Device,
    looped: bool,
    head: Option<ReplayItem>,
    ended: bool,
}

impl Source {
    fn camera(camera: impl Camera + 'static, looped: bool) -> Self {
        Self { device: Device::Camera(Box::new(camera)), looped, head: None, ended: false }
    }

    fn signals(signals: Box<dyn SignalSource>) -> Self {
        Self { device: Device::Signals(signals), looped: false, head: None, ended: false }
    }

    /// Fetches the next item unless one is there.
    fn look_ahead(&mut self, end: Option<MonoTime>) -> Result<(), HwError> {
        if self.head.is_some() || self.ended {
            return Ok(());
        }
        let next = match &mut self.device {
            Device::Camera(c) => {
                c.next_frame().map(|f| f.map(ReplayItem::Frame)).map_err(HwError::from)
            }
            Device::Signals(s) => {
                s.next_signal().map(|s| s.map(ReplayItem::Signal)).map_err(HwError::from)
            }
        };
        self.head = match next {
            Ok(item) => item.filter(|i| end.is_none_or(|end| i.at() < end)),
            Err(e) => {
                self.ended = true;
                return Err(e);
            }
        };
        self.ended = self.head.is_none();
        Ok(())
    }
}

/// What is being replayed.
enum Origin {
    Recorded(Drive),
    Simulated(Arc<Script>),
}

/// An iterator over everything that happens in a drive.
///
/// The end of iteration is the end of the drive or a stop. After an error it goes on with the
/// remaining devices.
pub struct Replay {
    origin: Origin,
    size: PictureSize,
    sources: Vec<Source>,
    zero: MonoTime,
    rounds_left: u32,
    clock: Arc<ReplayClock>,
    pace: Box<dyn Pace>,
    stopped: bool,
}

impl Replay {
    /// Opens every file of a drive.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn open(drive: &Drive, options: &ReplayOptions) -> Result<Self, HwError> {
        Self::start(Origin::Recorded(drive.clone()), drive.duration_s, drive.repeat, options)
    }

    /// Plays the scripted drive. Its pictures are drawings, in which no face network finds a
    /// driver: what perception would say comes from [`Self::script`], and device health is to
    /// call it simulated.
    ///
    /// # Errors
    /// Where the pictures' size cannot be.
    pub fn simulated(script: Script, options: &ReplayOptions) -> Result<Self, HwError> {
        let duration_s = script.duration_s();
        Self::start(Origin::Simulated(Arc::new(script)), Some(duration_s), 1, options)
    }

    fn start(
        origin: Origin,
        duration_s: Option<f64>,
        rounds: u32,
        options: &ReplayOptions,
    ) -> Result<Self, HwError> {
        let stop = options.stop.clone();
        let mut replay = Self {
            origin,
            size: options.size.check()?,
            sources: Vec::new(),
            zero: ZERO,
            rounds_left: rounds.max(1) - 1,
            clock: Arc::new(ReplayClock::new(ZERO, wall_at_zero(options.speed, duration_s))),
            pace: match options.speed {
                Speed::Real => Box::new(RealPace::new(ZERO, stop)),
                Speed::Max => Box::new(MaxPace::new(stop)),
            },
            stopped: false,
        };
        replay.open_sources()?;
        Ok(replay)
    }

    /// The replay's clock: stands at the newest item that was handed out. At full speed its wall
    /// time begins a drive's length in the past, so that no event lies in the future.
    pub fn clock(&self) -> Arc<ReplayClock> {
        Arc::clone(&self.clock)
    }

    /// The script of a simulated drive, which says what perception would see.
    pub fn script(&self) -> Option<Arc<Script>> {
        match &self.origin {
            Origin::Recorded(_) => None,
            Origin::Simulated(script) => Some(Arc::clone(script)),
        }
    }

    fn open_sources(&mut self) -> Result<(), HwError> {
        let zero = self.zero;
        self.sources = match &self.origin {
            Origin::Recorded(drive) => {
                let mut sources = Vec::new();
                // Signals first: at the same time they come before the picture.
                for input in &drive.signals {
                    sources.push(Source::signals(open_signals(input, zero)?));
                }
                for (id, input) in [(CameraId::Cabin, &drive.cabin), (CameraId::Road, &drive.road)]
                {
                    if let Some(input) = input {
                        let file = VideoFile::open(id, input, self.size, zero)?;
                        sources.push(Source::camera(file, input.looped));
                    }
                }
                sources
            }
            Origin::Simulated(script) => {
                let camera = |id| SimCamera::new(id, Arc::clone(script), self.size, zero);
                vec![
                    Source::signals(Box::new(SimSignals::new(Arc::clone(script), zero))),
                    Source::camera(camera(CameraId::Cabin), false),
                    Source::camera(camera(CameraId::Road), false),
                ]
            }
        };
        Ok(())
    }

    fn duration_s(&self) -> Option<f64> {
        match &self.origin {
            Origin::Recorded(drive) => drive.duration_s,
            Origin::Simulated(script) => Some(script.duration_s()),
        }
    }

    /// Where this round ends, when that is fixed.
    fn round_end(&self) -> Option<MonoTime> {
        let d = Duration::try_from_secs_f64(self.duration_s()?).ok()?;
        Some(self.zero + d)
    }

    /// The earliest item of all devices.
    fn next_item(&mut self) -> Option<Result<ReplayItem, HwError>> {
        let end = self.round_end();
        for source in &mut self.sources {
            if let Err(e) = source.look_ahead(end) {
                return Some(Err(e));
            }
        }
        // What loops only accompanies what does not.
        let fixed_end = end.is_some();
        if !fixed_end && !self.sources.iter().any(|s| !s.looped && s.head.is_some()) {
            return None;
        }
        let first = self
            .sources
            .iter_mut()
            .filter(|s| s.head.is_some())
            .min_by_key(|s| s.head.as_ref().map(ReplayItem::at))?;
        first.head.take().map(Ok)
    }
}

impl Iterator for Replay {
    type Item = Result<ReplayItem, HwError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.stopped {
            match self.next_item() {
                Some(Ok(item)) => {
                    if !self.pace.wait_until(item.at()) {
                        break;
                    }
                    self.clock.advance(item.at());
                    return Some(Ok(item));
                }
                Some(Err(e)) => return Some(Err(e)),
                None => match self.round_end() {
                    Some(end) if self.rounds_left > 0 => {
                        self.rounds_left -= 1;
                        self.zero = end;
                        if let Err(e) = self.open_sources() {
                            self.sources.clear();
                            self.stopped = true;
                            return Some(Err(e));
                        }
                    }
                    _ => break,
                },
            }
        }
        // Decoders go now, not when the iterator does.
        self.stopped = true;
        self.sources.clear();
        None
    }
}

fn wall_at_zero(speed: Speed, duration_s: Option<f64>) -> WallTime {
    let now = SystemClock.wall();
    let back = match speed {
        Speed::Real => Duration::ZERO,
        Speed::Max => Duration::try_from_secs_f64(duration_s.unwrap_or(0.0)).unwrap_or_default(),
    };
    let back_ms = i64::try_from(back.as_millis()).unwrap_or(0);
    WallTime { unix_ms: now.unix_ms.saturating_sub(back_ms), ..now }
}

fn open_signals(input: &SignalInput, zero: MonoTime) -> Result<Box<dyn SignalSource>, SignalError> {
    Ok(match input.format {
        SignalFormat::Csv => Box::new(CsvSignals::open(input, zero)?),
        SignalFormat::Nmea => Box::new(NmeaFile::open(input, zero)?),
        SignalFormat::Candump => Box::new(CandumpFile::open(input, zero)?),
        SignalFormat::Gpx => Box::new(GpxFile::open(input, zero)?),
    })
}

#[cfg(test)]
mod tests;
