//! All sensors of a unit at once.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use socketcan::{CanSocket, Socket as _};
use temoin_agent::{
    capture::Captured,
    config::{CameraConfig, DeviceConfig},
    health::State,
};
use temoin_proto::samples::{CameraId, Signal};

use crate::{
    bench::{Bench, FPS},
    host::say,
    signals,
};

/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(5);
/// Frames a second on the bus, as a car's speed comes.
const BUS_HZ: u32 = 50;
const SOON: Duration = Duration::from_secs(10);

/// Both cameras, the bus at the rate of a car's and the receiver: none keeps another from coming.
pub(crate) fn all() -> Result<()> {
    signals::ip("link add dev vcan0 type vcan")?;
    signals::ip("link set vcan0 up")?;
    let bench = Bench::start(&DeviceConfig {
        road_camera: Some(CameraConfig::Node("/dev/video0".into())),
        cabin_camera: Some(CameraConfig::Node("/dev/video1".into())),
        gnss: Some("/dev/ttyS1".into()),
        can: Some(signals::bus("vcan0")?),
        ..DeviceConfig::default()
    })?;
    for part in ["camera.road", "camera.cabin", "gnss", "vehicle_bus"] {
        bench.health(part, State::Ok, SOON)?;
    }
    let vehicle = CanSocket::open("vcan0")?;
    let frame = signals::speed(50)?;
    let sent = thread::spawn(move || -> Result<u32> {
        let (since, mut sent) = (Instant::now(), 0);
        while since.elapsed() < WATCHED {
            vehicle.write_frame(&frame)?;
            sent += 1;
            thread::sleep(Duration::from_secs(1) / BUS_HZ);
        }
        Ok(sent)
    });
    let (mut road, mut cabin, mut speeds, mut fixes) = (0_u32, 0_u32, 0_u32, 0_u32);
    let until = Instant::now() + WATCHED;
    while let Some(captured) = bench.until(until) {
        match captured {
            Captured::Frame(frame, _) => match frame.camera {
                CameraId::Road => road += 1,
                CameraId::Cabin => cabin += 1,
            },
            Captured::Signal(Signal::Speed(_)) => speeds += 1,
            Captured::Signal(Signal::Gnss(_)) => fixes += 1,
            Captured::Signal(_)
            | Captured::Machine(_)
            | Captured::Observed(..)
            | Captured::Order(..)
            | Captured::End => {}
        }
    }
    let Ok(sent) = sent.join() else { anyhow::bail!("the vehicle's thread panicked") };
    let sent = sent?;
    say(&format!("{road} and {cabin} pictures, {speeds} of {sent} speeds, {fixes} positions"));
    // An emulated processor may be late for some.
    let due = FPS * u32::try_from(WATCHED.as_secs())? * 8 / 10;
    ensure!(road >= due && cabin >= due, "{road} and {cabin} pictures of at least {due}");
    ensure!(speeds + 2 >= sent && speeds <= sent, "{speeds} speeds of {sent}");
    // The line gives a sentence every 50 ms, and what the kernel reads at once comes at once.
    ensure!(fixes >= 50, "{fixes} positions");
    bench.end()
}
