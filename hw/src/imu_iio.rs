//! A motion sensor (IMU) that the kernel knows as an Industrial I/O device with a buffer.
//!
//! It measures at its own interrupt, at a queue of its own, or at a timer of the kernel's, and the
//! kernel stamps each sample on `CLOCK_BOOTTIME`, the unit's own time line. How it sits in the vehicle is
//! not known here: the axes are its own, and [`temoin_proto::samples::ImuSample`]'s user learns them.

use std::{
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use temoin_proto::{
    samples::{ImuSample, Signal},
    time::MonoTime,
};

use crate::{
    clock::SystemClock,
    device::{Clock, SignalError, SignalSource},
    iio_device::{IioDevice, Places, Trigger},
    iio_scan::Layout,
    pace::StopToken,
    waiting::is_readable,
};

/// How long it may say nothing before that is a fault. Own choice: two hundred samples.
const PATIENCE: Duration = Duration::from_secs(2);
/// How far behind the newest a sample may be handed out: so much waits in the sensor at most.
const WAITS: Duration = Duration::from_millis(20);
/// Standard gravity, m/s².
const G: f64 = 9.806_65;
/// How fast a turn the gyroscope must be able to tell, rad/s: nearly 500 degrees a second, a usual range. A
/// rollover is below it (own choice).
const TURNS: f64 = 8.7;
/// What the clock of stamps is called.
const CLOCK: &str = "boottime";
const AXES: [&str; 3] = ["x", "y", "z"];

/// Which sensor, and how it is to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct ImuWish {
    /// What its driver calls it (`bmi160`), or its node (`/dev/iio:device0`).
    pub device: String,
    /// The trigger that makes it measure; its own, or else a timer, where it is not given.
    pub trigger: Option<String>,
    /// Samples a second.
    pub rate_hz: f64,
    /// The accelerations that it must be able to tell, g.
    pub range_g: f64,
}

/// The sensor.
pub struct ImuIio {
    device: IioDevice,
    fd: OwnedFd,
    decoder: Decoder,
    bytes: Vec<u8>,
    /// What of a scan has come.
    rest: Vec<u8>,
    pending: VecDeque<Signal>,
    stop: StopToken,
    heard: Instant,
    last: MonoTime,
    gone: bool,
}

/// What a device's scans mean.
#[derive(Clone, Debug)]
struct Decoder {
    layout: Layout,
    /// What is added to each axis' raw value and multiplied with: acceleration, and after it, where there is a
    /// gyroscope, angular velocity.
    axes: Vec<(f64, f64)>,
    /// The kernel's stamps are behind the axes.
    stamped: bool,
    /// Between two samples, where there are no stamps.
    every: Duration,
}

impl Decoder {
    /// The sample of one scan. `without_stamp` is its time where the kernel gives none.
    fn sample(&self, scan: &[u8], without_stamp: MonoTime) -> Option<ImuSample> {
        #[expect(clippy::cast_precision_loss, reason = "at most 32 bits count")]
        let raw = |channel| self.layout.value(scan, channel).map(|raw| raw as f64);
        let axis = |channel: usize| {
            let (offset, scale) = self.axes.get(channel)?;
            Some((raw(channel)? + offset) * scale)
        };
        let at = if self.stamped {
            let ns = self.layout.value(scan, self.axes.len())?;
            MonoTime::from_ns(u64::try_from(ns).ok()?)
        } else {
            without_stamp
        };
        let gyro = || Some([axis(3)?, axis(4)?, axis(5)?]);
        Some(ImuSample { at, accel_mps2: [axis(0)?, axis(1)?, axis(2)?], gyro_rad_s: gyro() })
    }
}

/// The channels of a device that are read, acceleration first.
fn channels(device: &IioDevice) -> Result<Vec<(String, &'static str)>, SignalError> {
    let mut found = Vec::new();
    for shared in ["in_accel", "in_anglvel"] {
        let axes: Vec<_> = AXES.iter().map(|axis| (format!("{shared}_{axis}"), shared)).collect();
        if axes.iter().all(|(axis, _)| device.has(&format!("scan_elements/{axis}_en"))) {
            found.extend(axes);
        } else if found.is_empty() {
            return Err(SignalError::Unusable {
                path: device.node.clone(),
                what: format!(
                    "`{}` has no buffer of accelerations along three axes: it is no motion sensor, or \
                     its driver cannot be used",
                    device.name
                ),
            });
        }
    }
    Ok(found)
}

impl ImuIio {
    /// Finds the sensor, sets it up and starts it.
    ///
    /// # Errors
    /// Where it is not there, is no motion sensor, or refuses what it is asked.
    pub fn open(wish: &ImuWish, stop: StopToken) -> Result<Self, SignalError> {
        Self::open_in(Places::default(), wish, stop)
    }

    /// What of the sensor there is, in words. Changes nothing.
    ///
    /// # Errors
    /// Why it could not be used.
    pub fn describe(wish: &ImuWish) -> Result<String, SignalError> {
        Self::describe_in(Places::default(), wish)
    }

    fn describe_in(places: Places, wish: &ImuWish) -> Result<String, SignalError> {
        let device = IioDevice::find(places, &wish.device)?;
        let gyro = channels(&device)?.len() > AXES.len();
        let measures = if gyro { "accelerations and turns" } else { "accelerations, no turns" };
        let by = match device.trigger(wish.trigger.as_deref())? {
            Trigger::Own => "its own queue".to_owned(),
            Trigger::Named(name, _) => format!("the trigger `{name}`"),
            Trigger::Timer => "a timer".to_owned(),
        };
        Ok(format!("`{}` at `{}`: {measures}, by {by}", device.name, device.node.display()))
    }

    fn open_in(places: Places, wish: &ImuWish, stop: StopToken) -> Result<Self, SignalError> {
        let device = IioDevice::find(places, &wish.device)?;
        let channels = channels(&device)?;
        let trigger = device.trigger(wish.trigger.as_deref())?;
        // Another program may have left it running: nothing can be set then.
        device.write("buffer/enable", "0")?;
        let stamped = device.has("scan_elements/in_timestamp_en")
            && device.write("current_timestamp_clock", CLOCK).is_ok();
        let mut names: Vec<String> = channels.iter().map(|(name, _)| name.clone()).collect();
        if stamped {
            names.push("in_timestamp".to_owned());
        }
        device.enable_only(&names)?;
        let kinds = names.iter().map(|name| device.kind(name)).collect::<Result<Vec<_>, _>>()?;
        device.set_rate(wish.rate_hz)?;
        for (shared, most) in [("in_accel", wish.range_g * G), ("in_anglvel", TURNS)] {
            let of_it = channels.iter().position(|(_, of)| *of == shared);
            if let Some((_, kind)) = of_it.and_then(|n| kinds.get(n)) {
                device.set_range(shared, *kind, most)?;
            }
        }
        let axes = channels
            .iter()
            .map(|(name, shared)| device.conversion(name, shared))
            .collect::<Result<_, _>>()?;
        device.connect(trigger, wish.rate_hz)?;
        let per = |d: Duration| (wish.rate_hz * d.as_secs_f64()).max(1.0).floor();
        device.write("buffer/length", &per(PATIENCE).max(16.0).to_string())?;
        if device.has("buffer/watermark") {
            device.write("buffer/watermark", &per(WAITS).to_string())?;
        }
        let layout = Layout::new(&kinds);
        let every = Duration::from_secs_f64(1.0 / wish.rate_hz);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&device.node, flags, Mode::empty()).map_err(|e| {
            SignalError::Open { path: device.node.clone(), source: io::Error::from(e) }
        })?;
        device.write("buffer/enable", "1")?;
        Ok(Self {
            device,
            fd,
            bytes: vec![0; layout.length * 64],
            decoder: Decoder { layout, axes, stamped, every },
            rest: Vec::new(),
            pending: VecDeque::new(),
            stop,
            heard: Instant::now(),
            last: MonoTime::ZERO,
            gone: false,
        })
    }

    /// Waits for more bytes; false where it was stopped.
    fn fill(&mut self) -> Result<bool, SignalError> {
        let path = || self.device.node.clone();
        let failed = |e: Errno| match e {
            Errno::NODEV | Errno::NXIO => SignalError::Unplugged { path: path() },
            e => SignalError::Read { path: path(), source: io::Error::from(e) },
        };
        loop {
            if self.stop.is_stopped() {
                return Ok(false);
            }
            // Of a sensor that is gone the kernel says nothing here: it is read all the same.
            is_readable(&self.fd).map_err(failed)?;
            match rustix::io::read(&self.fd, self.bytes.as_mut_slice()) {
                Ok(0) | Err(Errno::AGAIN | Errno::INTR) => {}
                Ok(n) => {
                    self.heard = Instant::now();
                    self.rest.extend_from_slice(self.bytes.get(..n).unwrap_or_default());
                    return Ok(true);
                }
                Err(e) => return Err(failed(e)),
            }
            if self.heard.elapsed() > PATIENCE {
                return Err(SignalError::Silent { path: path(), waited_s: PATIENCE.as_secs() });
            }
        }
    }

    /// Makes samples of what came.
    fn decode(&mut self) {
        let length = self.decoder.layout.length;
        let whole = self.rest.len() / length * length;
        let now = SystemClock.now();
        let scans = self.rest.get(..whole).unwrap_or_default();
        for (later, scan) in (0..(whole / length)).rev().zip(scans.chunks_exact(length)) {
            let later = self.decoder.every.saturating_mul(u32::try_from(later).unwrap_or(u32::MAX));
            if let Some(sample) = self.decoder.sample(scan, now.saturating_sub(later)) {
                self.last = self.last.max(sample.at);
                self.pending.push_back(Signal::Imu(ImuSample { at: self.last, ..sample }));
            }
        }
        self.rest.drain(..whole);
    }
}

impl SignalSource for ImuIio {
    fn next_signal(&mut self) -> Result<Option<Signal>, SignalError> {
        loop {
            if let Some(signal) = self.pending.pop_front() {
                return Ok(Some(signal));
            }
            if self.gone {
                return Ok(None);
            }
            match self.fill() {
                Ok(true) => self.decode(),
                Ok(false) => self.gone = true,
                Err(e) => {
                    self.gone = true;
                    return Err(e);
                }
            }
        }
    }
}

impl Drop for ImuIio {
    fn drop(&mut self) {
        if let Err(e) = self.device.write("buffer/enable", "0") {
            tracing::debug!(error = %e, "the motion sensor was not stopped");
        }
    }
}

#[cfg(test)]
#[path = "imu_iio/tests.rs"]
mod tests;
