//! What feeds the pipeline: a thread for each device of a live unit, one for a whole replay.
//!
//! INVARIANT: the channel is bounded. In a replay at full speed the replay waits for the pipeline;
//! on a live unit a device's thread waits and the driver drops, never the pipeline.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc::SyncSender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use temoin_hw::{
    Replay, ReplayItem, SignalError, SignalSource, can_socketcan::VehicleBus,
    gnss_serial::GnssSerial, gpio::Button, gpsd::Gpsd, imu_iio::ImuIio, pace::StopToken,
    vehicle::VehicleModel, video_file::PictureSize,
};
use temoin_proto::{
    ids::CommandId,
    perception::Sight,
    samples::{CameraId, Frame, Signal},
};

use crate::{
    config::{DeviceConfig, VideoConfig},
    health::{HealthBoard, State},
    machine::News,
};

/// Capacity of the pipeline's channel, items: about 0.3 s of all sensors.
pub const QUEUE: usize = 64;
/// How long to wait before a device that failed is opened again. Its pictures or signals are to be back
/// within 2 s of the fault's end (`make test-vm`), and opening a camera takes some of it.
const REOPEN: Duration = Duration::from_millis(500);
/// Speed of the GNSS receiver's line: the default of u-blox receivers since generation 9, and
/// without meaning on USB.
const GNSS_BAUD: u32 = 38_400;

/// An order of the fleet, for the pipeline to carry out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// Blink the lamp and say where the unit is.
    Identify,
    /// Change whether anything is recorded.
    Record(bool),
    /// Change the configured speed limit, km/h; None: unknown.
    SpeedLimit(Option<f64>),
}

/// What reaches the pipeline.
#[derive(Debug)]
pub enum Captured {
    /// A picture, with the instant at which it was handed out.
    Frame(Frame, Instant),
    /// A sample of another sensor.
    Signal(Signal),
    /// What perception says of a picture, with the instant of that picture.
    Observed(Sight, Instant),
    /// Something that the machine says.
    Machine(News),
    /// An order of the fleet.
    Order(CommandId, Order),
    /// The replay is over, or the unit stops.
    End,
}

/// Replays a drive into the pipeline, then says that it is over. A device of the drive that fails
/// is told to device health, and the rest goes on. The replay's own token ends it early.
///
/// # Errors
/// Where the thread cannot be started.
pub fn replay(
    replay: Replay,
    to: SyncSender<Captured>,
    health: Arc<HealthBoard>,
) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("replay".into()).spawn(move || {
        for item in replay {
            let captured = match item {
                Ok(ReplayItem::Frame(frame)) => Captured::Frame(frame, Instant::now()),
                Ok(ReplayItem::Signal(signal)) => Captured::Signal(signal),
                Err(e) => {
                    health.set("replay", State::Failed, crate::net::chain(&e));
                    continue;
                }
            };
            if to.send(captured).is_err() {
                return;
            }
        }
        // The pipeline may have ended already.
        drop(to.send(Captured::End));
    })
}

/// Starts a thread for every configured device of a live unit.
///
/// # Errors
/// Where a thread cannot be started.
pub fn live(
    devices: &DeviceConfig,
    video: &VideoConfig,
    to: &SyncSender<Captured>,
    stop: &StopToken,
    health: &Arc<HealthBoard>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    let size = PictureSize { width: video.width, height: video.height, fps: video.fps };
    let cameras =
        [(CameraId::Cabin, &devices.cabin_camera), (CameraId::Road, &devices.road_camera)];
    for (id, config) in cameras {
        let part = format!("camera.{}", id.as_str());
        let Some(config) = config.clone() else {
            health.set(&part, State::Degraded, "no device is configured");
            continue;
        };
        let (to, stop, health) = (to.clone(), stop.clone(), Arc::clone(health));
        threads.push(thread::Builder::new().name(part.clone()).spawn(move || {
            keep_open(&part, config.path(), &stop, &health, || {
                let mut camera = config.open(id, size, stop.clone())?;
                health.set(&part, State::Ok, "pictures come");
                while let Some(frame) = camera.next_frame()? {
                    if stop.is_stopped() || to.send(Captured::Frame(frame, Instant::now())).is_err()
                    {
                        return Ok(());
                    }
                }
                Ok(())
            });
        })?);
    }
    match (devices.gnss.clone(), devices.gpsd.clone()) {
        (None, None) => health.set(
            "gnss",
            State::Degraded,
            "no device is configured: position and speed are unknown",
        ),
        (Some(path), _) => {
            let part =
                SignalPart { name: "gnss", path: path.clone(), says: "the receiver is connected" };
            threads.push(part.start(to, stop, health, move |stop| {
                Ok(Box::new(GnssSerial::open(&path, GNSS_BAUD, stop)?))
            })?);
        }
        (None, Some(address)) => {
            let path = PathBuf::from(&address);
            let part = SignalPart { name: "gnss", path, says: "gpsd is connected" };
            threads.push(
                part.start(to, stop, health, move |stop| {
                    Ok(Box::new(Gpsd::open(&address, stop)?))
                })?,
            );
        }
    }
    match devices.imu.clone() {
        None => health.set(
            "imu",
            State::Degraded,
            "no device is configured: collisions and harsh driving are not noticed",
        ),
        Some(imu) => {
            let path = PathBuf::from(&imu.device);
            let part = SignalPart { name: "imu", path, says: "the motion sensor measures" };
            threads.push(part.start(to, stop, health, move |stop| {
                Ok(Box::new(ImuIio::open(&imu.wish(), stop)?))
            })?);
        }
    }
    match devices.button.clone() {
        None => health.set(
            "button",
            State::Degraded,
            "no device is configured: the driver can save nothing",
        ),
        Some(button) => {
            let path = PathBuf::from(&button.line);
            let part = SignalPart { name: "button", path, says: "the button is connected" };
            threads.push(
                part.start(to, stop, health, move |stop| {
                    Ok(Box::new(Button::open(&button, stop)?))
                })?,
            );
        }
    }
    if let Some(can) = devices.can.clone() {
        let path = PathBuf::from(&can.interface);
        let part = SignalPart { name: "vehicle_bus", path, says: "the vehicle's bus is heard" };
        threads.push(part.start(to, stop, health, move |stop| {
            let model = VehicleModel::load(&can.vehicle, can.dbc.as_deref())?;
            Ok(Box::new(VehicleBus::open(&can.interface, model, stop)?))
        })?);
    }
    Ok(threads)
}

/// A source of signals of a live unit.
struct SignalPart {
    /// Its name in device health.
    name: &'static str,
    path: PathBuf,
    /// What device health says of it once it is open.
    says: &'static str,
}

impl SignalPart {
    /// Starts its thread, which opens it again after a fault.
    fn start(
        self,
        to: &SyncSender<Captured>,
        stop: &StopToken,
        health: &Arc<HealthBoard>,
        open: impl Fn(StopToken) -> Result<Box<dyn SignalSource>, SignalError> + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let (to, stop, health) = (to.clone(), stop.clone(), Arc::clone(health));
        thread::Builder::new().name(self.name.into()).spawn(move || {
            keep_open(self.name, &self.path, &stop, &health, || {
                let mut source = open(stop.clone())?;
                health.set(self.name, State::Ok, self.says);
                while let Some(signal) = source.next_signal()? {
                    if stop.is_stopped() || to.send(Captured::Signal(signal)).is_err() {
                        return Ok(());
                    }
                }
                Ok(())
            });
        })
    }
}

type DeviceResult<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Runs `session` again and again until the unit stops: a device that was unplugged comes back.
pub(crate) fn keep_open(
    part: &str,
    path: &Path,
    stop: &StopToken,
    health: &HealthBoard,
    session: impl Fn() -> DeviceResult<()>,
) {
    while !stop.is_stopped() {
        match session() {
            Ok(()) if stop.is_stopped() => return,
            Ok(()) => health.set(part, State::Failed, format!("`{}` ended", path.display())),
            Err(e) => health.set(part, State::Failed, crate::net::chain(e.as_ref())),
        }
        if stop.wait(REOPEN) {
            return;
        }
    }
}
