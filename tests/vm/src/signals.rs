//! The vehicle's bus and the receiver.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use socketcan::{CanFrame, CanSocket, EmbeddedFrame as _, Socket as _, StandardId};
use temoin_agent::{
    config::{CanConfig, DeviceConfig},
    health::State,
};
use temoin_proto::samples::{GnssFix, Signal};

use crate::{bench::Bench, host::say};

/// Within which a signal comes that was sent.
const SOON: Duration = Duration::from_secs(10);
/// Within which a device's signals are back after a fault's end.
const BACK: Duration = Duration::from_secs(2);
const DBC: &str = "VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: XXX\n\nBO_ 180 SPEED: 8 XXX\n \
    SG_ SPEED : 0|16@1+ (0.01,0) [0|0] \"km/h\" XXX\n";
const MODEL: &str = "dbc = \"van.dbc\"\n[speed]\nsignal = \"SPEED.SPEED\"\n";
/// The identifier of its message.
const SPEED: u16 = 180;

/// What an installer types.
pub(crate) fn ip(arguments: &str) -> Result<()> {
    let done = Command::new("ip").args(arguments.split_whitespace()).status().context("ip")?;
    ensure!(done.success(), "`ip {arguments}` failed");
    Ok(())
}

/// A unit that hears this bus.
fn listener(interface: &str) -> Result<Bench> {
    Bench::start(&DeviceConfig { can: Some(bus(interface)?), ..DeviceConfig::default() })
}

/// A bus of which the unit knows one message.
pub(crate) fn bus(interface: &str) -> Result<CanConfig> {
    let folder = PathBuf::from("/tmp/vehicle");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("van.dbc"), DBC)?;
    let vehicle = folder.join("van.toml");
    fs::write(&vehicle, MODEL)?;
    Ok(CanConfig { interface: interface.to_owned(), vehicle, dbc: None })
}

pub(crate) fn speed(kmh: u8) -> Result<CanFrame> {
    let [low, high] = (u16::from(kmh) * 100).to_le_bytes();
    let id = StandardId::new(SPEED).context("an identifier")?;
    CanFrame::new(id, &[low, high, 0, 0, 0, 0, 0, 0]).context("a frame")
}

/// Waits until the unit has this speed from the bus.
fn hears(bench: &Bench, kmh: u8) -> Result<()> {
    let mps = bench.signal(SOON, |signal| {
        let Signal::Speed(speed) = signal else { return None };
        Some(speed.mps)
    })?;
    ensure!((mps - f64::from(kmh) / 3.6).abs() < 0.01, "{kmh} km/h were sent, {mps} m/s heard");
    Ok(())
}

/// Heard, lost when the interface goes down, and heard again when it is back.
pub(crate) fn bus_is_heard() -> Result<()> {
    ip("link add dev vcan0 type vcan")?;
    ip("link set vcan0 up")?;
    let bench = listener("vcan0")?;
    bench.health("vehicle_bus", State::Ok, SOON)?;
    let vehicle = CanSocket::open("vcan0")?;
    for kmh in [0, 30, 100] {
        vehicle.write_frame(&speed(kmh)?)?;
        hears(&bench, kmh)?;
    }
    ip("link set vcan0 down")?;
    bench.health("vehicle_bus", State::Failed, SOON)?;
    ip("link set vcan0 up")?;
    bench.health("vehicle_bus", State::Ok, SOON)?;
    // The old socket would say once more that its network was down.
    let vehicle = CanSocket::open("vcan0")?;
    vehicle.write_frame(&speed(50)?)?;
    hears(&bench, 50)?;
    bench.end()
}

/// Two controllers on one bus: the unit's listens only, and its counter of sent frames stays at 0.
pub(crate) fn controllers() -> Result<()> {
    ip("link set can0 up type can bitrate 500000")?;
    ip("link set can1 up type can bitrate 500000 listen-only on")?;
    let bench = listener("can1")?;
    bench.health("vehicle_bus", State::Ok, SOON)?;
    let vehicle = CanSocket::open("can0")?;
    for kmh in [20, 80] {
        vehicle.write_frame(&speed(kmh)?)?;
        hears(&bench, kmh)?;
    }
    let sent = fs::read_to_string("/sys/class/net/can1/statistics/tx_packets")?;
    ensure!(sent.trim() == "0", "the unit sent {} frames on the vehicle's bus", sent.trim());
    bench.end()
}

/// What a receiver says at 1 Hz for most of an hour: north along a meridian at 36 km/h.
pub(crate) fn sentences() -> String {
    let mut text = String::new();
    for n in 0..3_000_u32 {
        let (minute, second) = (n / 60, n % 60);
        let arc_minutes = 10.0 + f64::from(n) * 10.0 / 1852.0;
        let rmc = format!(
            "GPRMC,12{minute:02}{second:02}.00,A,51{arc_minutes:08.5},N,00700.00000,E,19.44,0.0,231126,,,A"
        );
        let sum = rmc.bytes().fold(0, |sum, byte| sum ^ byte);
        text.push_str(&format!("${rmc}*{sum:02X}\r\n"));
    }
    text
}

/// Positions and speed come as they were sent, and none is lost in between.
pub(crate) fn receiver() -> Result<()> {
    let bench = of_receiver("/dev/ttyS1")?;
    let mut last: Option<GnssFix> = None;
    for _ in 0..50 {
        let fix = position(&bench)?;
        let speed = fix.speed_mps.context("a fix without a speed")?;
        ensure!((speed - 10.0).abs() < 0.01, "19.44 knots were sent, {speed} m/s came");
        let utc = fix.utc_unix_ms.context("a fix without a time")?;
        if let Some(last) = last {
            let passed = last.utc_unix_ms.map(|last| utc - last);
            ensure!(passed == Some(1000), "a sentence was lost: {passed:?} ms passed");
            let north_m = (fix.lat_deg - last.lat_deg) * 60.0 * 1852.0;
            ensure!((north_m - 10.0).abs() < 0.1, "{north_m} m to the north in a second");
        }
        last = Some(fix);
    }
    bench.end()
}

/// The adapter is pulled out and plugged in again.
pub(crate) fn receiver_replugged() -> Result<()> {
    let plug = adapter()?.join("authorized");
    let bench = of_receiver("/dev/ttyUSB0")?;
    position(&bench)?;
    say("pulling it out");
    fs::write(&plug, "0").context("pulling the adapter out")?;
    bench.health("gnss", State::Failed, SOON)?;
    say("plugging it in");
    fs::write(&plug, "1").context("plugging the adapter in")?;
    let ended = Instant::now();
    bench.forget();
    position(&bench)?;
    let took = ended.elapsed();
    ensure!(took <= BACK, "positions were back only after {took:?}");
    bench.end()
}

/// The adapter on the machine's USB, once the kernel has found it.
fn adapter() -> Result<PathBuf> {
    let until = Instant::now() + SOON;
    loop {
        for device in fs::read_dir("/sys/bus/usb/devices")? {
            let device = device?.path();
            // QEMU's adapter is an FT232.
            if fs::read_to_string(device.join("idVendor")).is_ok_and(|id| id.trim() == "0403")
                && fs::exists("/dev/ttyUSB0")?
            {
                return Ok(device);
            }
        }
        ensure!(Instant::now() < until, "the kernel found no USB adapter");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn of_receiver(line: &str) -> Result<Bench> {
    Bench::start(&DeviceConfig { gnss: Some(line.into()), ..DeviceConfig::default() })
}

fn position(bench: &Bench) -> Result<GnssFix> {
    bench.signal(SOON, |signal| {
        let Signal::Gnss(fix) = signal else { return None };
        Some(*fix)
    })
}
