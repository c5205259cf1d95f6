//! What the rest of the unit knows of its devices: a trait for each kind, their errors, and the
//! lamp and speaker of a machine that has neither.
//!
//! INVARIANT: a call blocks until there is something to hand out, the source has ended
//! (`Ok(None)`), it was stopped (`Ok(None)`), or it failed. After an error a source may be asked
//! again: one that cannot recover answers `Ok(None)` from then on.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use temoin_proto::{
    samples::{CameraId, Frame, Signal},
    time::{MonoTime, WallTime},
};

use crate::drive::DriveError;

/// A camera, real, replayed or simulated.
pub trait Camera: Send {
    /// Which camera this is.
    fn id(&self) -> CameraId;

    /// Waits for the next picture. Times rise strictly. `Ok(None)`: no more will come.
    ///
    /// # Errors
    /// [`CameraError`]; the frames before the fault have been handed out.
    fn next_frame(&mut self) -> Result<Option<Frame>, CameraError>;
}

/// GNSS, IMU, vehicle bus or button.
pub trait SignalSource: Send {
    /// Waits for the next sample. Times never fall. `Ok(None)`: no more will come.
    ///
    /// # Errors
    /// [`SignalError`]; the samples before the fault have been handed out.
    fn next_signal(&mut self) -> Result<Option<Signal>, SignalError>;
}

/// Monotonic and wall time.
pub trait Clock: Send + Sync {
    /// Now, on the time line of every sample.
    fn now(&self) -> MonoTime;
    /// The wall clock with how wrong it may be. Names an instant, never orders anything.
    fn wall(&self) -> WallTime;
}

/// What the tell-tale lamp says to the people in the cab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LampState {
    /// The system is off.
    Off,
    /// Alerts in the cab, nothing is recorded ('AI without recording').
    AlertsOnly,
    /// Flagged events are recorded.
    Recording,
    /// Everything is recorded to the encrypted rolling store.
    RollingStore,
    /// The unit cannot do its work. Never a sound: driving fails quiet.
    Fault,
}

/// What the speaker says to the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alert {
    /// Eyes back on the road.
    Distraction,
    /// Eyes closed.
    EyesClosed,
    /// Over the limit.
    Speeding,
    /// Too near to the vehicle ahead.
    Distance,
    /// The belt is off.
    SeatBelt,
    /// The button was heard: the last moments are kept.
    Saved,
}

/// The tell-tale lamp.
pub trait Lamp: Send {
    /// Shows `state` until told otherwise.
    ///
    /// # Errors
    /// The lamp's own I/O error.
    fn show(&mut self, state: LampState) -> io::Result<()>;

    /// Says for some seconds which unit this is, then shows its state again.
    ///
    /// # Errors
    /// The lamp's own I/O error.
    fn identify(&mut self) -> io::Result<()>;
}

/// The speaker in the cab.
pub trait Speaker: Send {
    /// Starts `alert` and returns without waiting for its end.
    ///
    /// # Errors
    /// The speaker's own I/O error.
    fn play(&mut self, alert: Alert) -> io::Result<()>;
}

/// How many entries a [`Logged`] device remembers.
const REMEMBERED: usize = 4096;

/// The lamp or speaker of a machine without one: writes to the log and remembers what it was
/// told, for replays and tests. Clones share the memory.
#[derive(Clone, Debug)]
pub struct Logged<T> {
    told: Arc<Mutex<VecDeque<T>>>,
}

impl<T> Default for Logged<T> {
    fn default() -> Self {
        Self { told: Arc::default() }
    }
}

impl<T: Copy> Logged<T> {
    fn remember(&self, what: T) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() == REMEMBERED {
            told.pop_front();
        }
        told.push_back(what);
    }

    /// Everything it was told, oldest first (the last 4096).
    pub fn told(&self) -> Vec<T> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

impl Lamp for Logged<LampState> {
    fn show(&mut self, state: LampState) -> io::Result<()> {
        tracing::info!(?state, "lamp");
        self.remember(state);
        Ok(())
    }

    fn identify(&mut self) -> io::Result<()> {
        tracing::info!("lamp: which unit this is");
        Ok(())
    }
}

impl Speaker for Logged<Alert> {
    fn play(&mut self, alert: Alert) -> io::Result<()> {
        tracing::info!(?alert, "speaker");
        self.remember(alert);
        Ok(())
    }
}

/// What can go wrong with a camera.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// The device or file could not be opened.
    #[error("cannot open `{}`: {source}", path.display())]
    Open {
        /// Device node or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The device was there and is gone.
    #[error("camera `{}` was unplugged", path.display())]
    Unplugged {
        /// Device node.
        path: PathBuf,
    },
    /// No picture came.
    #[error("no picture from `{}` for {waited_s} s", path.display())]
    Stalled {
        /// Device node or file.
        path: PathBuf,
        /// How long it was waited for.
        waited_s: u64,
    },
    /// The device refused a call.
    #[error("camera `{}` failed at {call}: {source}", path.display())]
    Device {
        /// Device node.
        path: PathBuf,
        /// The call that failed.
        call: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The device gives no format or size that this project takes.
    #[error("camera `{}` gives {offered} where {wanted} was asked for", path.display())]
    Format {
        /// Device node.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// What it gives.
        offered: String,
    },
    /// A pipeline of GStreamer's cannot be used, or failed.
    #[error("the camera's pipeline `{}` failed: {reason}", pipeline.display())]
    Pipeline {
        /// As it is configured.
        pipeline: PathBuf,
        /// GStreamer's words.
        reason: String,
    },
    /// The file is no video, or its pictures are damaged.
    #[error("cannot play `{}`: {reason}", path.display())]
    Media {
        /// The file.
        path: PathBuf,
        /// GStreamer's words.
        reason: String,
    },
    /// The file says it is longer than the pictures that are in it.
    #[error(
        "`{}` is cut short: it says {promised_s:.1} s and its pictures end at {found_s:.1} s",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Where the pictures end, seconds.
        found_s: f64,
        /// How long it says it is, seconds.
        promised_s: f64,
    },
    /// A GStreamer plugin is not installed.
    #[error(
        "cannot play `{}`: GStreamer has no {what}; install the Debian package `{package}`",
        path.display()
    )]
    MissingPlugin {
        /// The file.
        path: PathBuf,
        /// The element or decoder.
        what: String,
        /// Where Debian has it.
        package: &'static str,
    },
    /// The size asked for cannot be.
    #[error(
        "{width}x{height} at {fps} frames/s is no picture format: sizes are even and 16 to 4096, frame rates 1 to 240"
    )]
    BadSize {
        /// Width asked for, pixels.
        width: u32,
        /// Height asked for, pixels.
        height: u32,
        /// Frames a second asked for.
        fps: u32,
    },
}

/// What can go wrong with a source of signals.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// The device or file could not be opened.
    #[error("cannot open `{}`: {source}", path.display())]
    Open {
        /// Device node or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Reading failed.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// Device node or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The device was there and is gone.
    #[error("`{}` was unplugged", path.display())]
    Unplugged {
        /// Device node.
        path: PathBuf,
    },
    /// The device refused a setting.
    #[error("cannot set `{}` to `{value}`: {source}", path.display())]
    Setting {
        /// Its attribute.
        path: PathBuf,
        /// What was asked for.
        value: String,
        /// Why.
        source: io::Error,
    },
    /// Nothing came.
    #[error("`{}` said nothing for {waited_s} s", path.display())]
    Silent {
        /// Device node.
        path: PathBuf,
        /// How long it was waited for.
        waited_s: u64,
    },
    /// One line of a file is wrong.
    #[error("`{}` line {line}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// The file as a whole cannot be used.
    #[error("cannot use `{}`: {what}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
}

/// Any error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum HwError {
    /// The description of a drive is wrong.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// A camera failed.
    #[error(transparent)]
    Camera(#[from] CameraError),
    /// A source of signals failed.
    #[error(transparent)]
    Signal(#[from] SignalError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logged_devices_remember_in_order_and_boundedly() {
        let mut speaker = Logged::<Alert>::default();
        let seen_elsewhere = speaker.clone();
        for _ in 0..REMEMBERED {
            speaker.play(Alert::Speeding).unwrap();
        }
        speaker.play(Alert::Saved).unwrap();
        assert_eq!(seen_elsewhere.told().len(), REMEMBERED);
        assert_eq!(seen_elsewhere.told().last(), Some(&Alert::Saved));
        let mut lamp = Logged::default();
        lamp.show(LampState::AlertsOnly).unwrap();
        lamp.show(LampState::Off).unwrap();
        assert_eq!(lamp.told(), [LampState::AlertsOnly, LampState::Off]);
    }
}
