//! The unit's own capture, on the devices of the machine.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use temoin_agent::{
    capture::{self, Captured, QUEUE},
    config::{DeviceConfig, VideoConfig},
    health::{HealthBoard, State},
    machine::{self, News},
};
use temoin_hw::pace::StopToken;
use temoin_proto::samples::{CameraId, Frame, Signal};

/// What the cameras are asked for. An emulated processor gives that with time to spare.
pub(crate) const WIDTH: u32 = 640;
/// Height, pixels.
pub(crate) const HEIGHT: u32 = 360;
/// Pictures a second.
pub(crate) const FPS: u32 = 15;

/// A unit that captures.
pub(crate) struct Bench {
    captured: mpsc::Receiver<Captured>,
    stop: StopToken,
    health: Arc<HealthBoard>,
    threads: Vec<JoinHandle<()>>,
}

impl Bench {
    /// Starts it.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub(crate) fn start(devices: &DeviceConfig) -> Result<Self> {
        let video =
            VideoConfig { width: WIDTH, height: HEIGHT, fps: FPS, ..VideoConfig::default() };
        let (to, captured) = mpsc::sync_channel(QUEUE);
        let (stop, health) = (StopToken::new(), Arc::new(HealthBoard::default()));
        let mut threads = capture::live(devices, &video, &to, &stop, &health)?;
        threads.extend(machine::start(devices, &to, &stop, &health)?);
        Ok(Self { captured, stop, health, threads })
    }

    /// The next thing that was captured.
    fn next(&self, until: Instant, what: &str) -> Result<Captured> {
        self.until(until).ok_or_else(|| {
            anyhow::anyhow!("{what} did not come in time; device health: {}", self.all_health())
        })
    }

    /// Where its devices say how they are.
    pub(crate) fn board(&self) -> &Arc<HealthBoard> {
        &self.health
    }

    fn all_health(&self) -> String {
        let items = self.health.items().into_iter();
        items.map(|i| format!("{}: {}", i.part, i.text)).collect::<Vec<_>>().join("; ")
    }

    /// The next thing that was captured; none at this time.
    pub(crate) fn until(&self, until: Instant) -> Option<Captured> {
        self.captured.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
    }

    /// The next picture of a camera.
    ///
    /// # Errors
    /// Where none comes in time.
    pub(crate) fn picture(&self, of: CameraId, within: Duration) -> Result<Frame> {
        let until = Instant::now() + within;
        loop {
            if let Captured::Frame(frame, _) = self.next(until, "a picture")?
                && frame.camera == of
            {
                return Ok(frame);
            }
        }
    }

    /// So many pictures of a camera, one after the other, as a recording would have them.
    ///
    /// # Errors
    /// Where they do not come in time, or their times do not rise.
    pub(crate) fn pictures(
        &self,
        of: CameraId,
        count: usize,
        within: Duration,
    ) -> Result<Vec<Frame>> {
        let until = Instant::now() + within;
        let mut pictures: Vec<Frame> = Vec::with_capacity(count);
        while pictures.len() < count {
            let frame = self.picture(of, until.saturating_duration_since(Instant::now()))?;
            ensure!(pictures.last().is_none_or(|last| last.at < frame.at), "times do not rise");
            pictures.push(frame);
        }
        Ok(pictures)
    }

    /// The next thing that the machine says, where it is wanted.
    ///
    /// # Errors
    /// Where it does not come in time.
    pub(crate) fn news(&self, within: Duration, wanted: impl Fn(&News) -> bool) -> Result<()> {
        let until = Instant::now() + within;
        loop {
            if let Captured::Machine(news) = self.next(until, "what the machine says")?
                && wanted(&news)
            {
                return Ok(());
            }
        }
    }

    /// The next signal that is wanted.
    ///
    /// # Errors
    /// Where none comes in time.
    pub(crate) fn signal<T>(
        &self,
        within: Duration,
        wanted: impl Fn(&Signal) -> Option<T>,
    ) -> Result<T> {
        let until = Instant::now() + within;
        loop {
            if let Captured::Signal(signal) = self.next(until, "a signal")?
                && let Some(found) = wanted(&signal)
            {
                return Ok(found);
            }
        }
    }

    /// Waits until device health says this of a part. What is captured meanwhile is thrown away: the
    /// devices' threads wait for room otherwise.
    ///
    /// # Errors
    /// Where it does not in time.
    pub(crate) fn health(&self, part: &str, state: State, within: Duration) -> Result<()> {
        let until = Instant::now() + within;
        while self.health.state(part) != Some(state) {
            let look = Duration::from_millis(20);
            match self.captured.recv_timeout(look) {
                Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the capture ended"),
            }
            ensure!(
                Instant::now() < until,
                "device health never said {state:?} of {part}; it says: {}",
                self.all_health()
            );
        }
        Ok(())
    }

    /// Throws away what was captured so far.
    pub(crate) fn forget(&self) {
        while self.captured.try_recv().is_ok() {}
    }

    /// Ends it.
    ///
    /// # Errors
    /// Where a thread of it panicked.
    pub(crate) fn end(self) -> Result<()> {
        self.stop.stop();
        drop(self.captured);
        for thread in self.threads {
            ensure!(thread.join().is_ok(), "a device's thread panicked");
        }
        Ok(())
    }
}
