//! The motion sensor: real drivers, on a bus whose chips are registers that do not change.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use temoin_agent::{
    config::{DeviceConfig, ImuConfig},
    health::State,
};
use temoin_proto::samples::{ImuSample, Signal};

use crate::{bench::Bench, chip::Chip, guest, host::say};

const SOON: Duration = Duration::from_secs(10);
/// Within which samples are back after a fault's end.
const BACK: Duration = Duration::from_secs(2);
const RATE_HZ: f64 = 100.0;
/// By their data sheets: one counts 2048 for standard gravity at 16 g, and 65.6 for a degree a second at
/// 500 degrees a second; the other reaches to 8 g, and counts 256.
const BMI160_SCALE: f64 = 9.806_65 / 2048.0;
const KXCJK_SCALE: f64 = 9.806_65 / 256.0;
const BMI160_TURN: f64 = std::f64::consts::PI / 180.0 / 65.6;

fn bench(name: &str) -> Result<Bench> {
    guest::mount_configfs()?;
    let imu = Some(config(name));
    let bench = Bench::start(&DeviceConfig { imu, ..DeviceConfig::default() })?;
    bench.health("imu", State::Ok, SOON)?;
    Ok(bench)
}

/// A sensor of this name.
pub(crate) fn config(name: &str) -> ImuConfig {
    ImuConfig { device: name.to_owned(), trigger: None, rate_hz: RATE_HZ, range_g: 16.0 }
}

/// Plugs in the sensor that [`with_gyroscope`] is about.
pub(crate) fn plug() -> Result<()> {
    bmi160().map(drop)
}

fn bmi160() -> Result<Chip> {
    // Turns about three axes, then accelerations: -3, 0, 1000; 100, -200, 2048.
    let values = [0xFD, 0xFF, 0, 0, 0xE8, 0x03, 100, 0, 0x38, 0xFF, 0, 0x08];
    Chip::plug("bmi160", "bmi160_i2c", 0x68, &[(0, &[0xD1]), (0x0C, &values)])
}

fn sample(bench: &Bench, within: Duration) -> Result<ImuSample> {
    bench.signal(within, |signal| {
        let Signal::Imu(sample) = signal else { return None };
        Some(*sample)
    })
}

fn near(is: f64, due: f64) -> Result<()> {
    // Drivers round.
    ensure!((is - due).abs() <= due.abs() * 0.003, "{is} where {due} is due");
    Ok(())
}

/// Values, units, rate and stamps; taken out and put in again.
pub(crate) fn with_gyroscope() -> Result<()> {
    let chip = bmi160()?;
    let bench = bench(chip.name)?;
    let first = sample(&bench, SOON)?;
    for (axis, raw) in first.accel_mps2.into_iter().zip([100.0, -200.0, 2048.0]) {
        near(axis, raw * BMI160_SCALE)?;
    }
    let gyro = first.gyro_rad_s.context("no turns")?;
    for (axis, raw) in gyro.into_iter().zip([-3.0, 0.0, 1000.0]) {
        near(axis, raw * BMI160_TURN)?;
    }
    let mut last = first;
    for _ in 0..300 {
        let next = sample(&bench, SOON)?;
        ensure!(next.at > last.at, "times do not rise");
        last = next;
    }
    let seconds = last.at.secs_from(first.at);
    say(&format!("300 samples in {seconds:.3} s"));
    // An emulated processor may miss some ticks of its timer.
    ensure!((2.9..3.6).contains(&seconds), "300 samples at {RATE_HZ} Hz took {seconds} s");

    chip.bind("unbind")?;
    bench.health("imu", State::Failed, SOON)?;
    chip.bind("bind")?;
    let ended = Instant::now();
    bench.forget();
    sample(&bench, SOON)?;
    ensure!(ended.elapsed() <= BACK, "samples were back only after {:?}", ended.elapsed());
    bench.end()
}

/// A chip that tells no turns, and whose values do not fill their places.
pub(crate) fn accelerometer() -> Result<()> {
    // -1, 2, 256 in the upper twelve bits.
    let values = [0xF0, 0xFF, 0x20, 0, 0, 0x10];
    let chip = Chip::plug("kxcjk1013", "kxcjk1013", 0x0F, &[(0x06, &values)])?;
    let bench = bench(chip.name)?;
    let first = sample(&bench, SOON)?;
    ensure!(first.gyro_rad_s.is_none(), "turns of a chip that tells none");
    for (axis, raw) in first.accel_mps2.into_iter().zip([-1.0, 2.0, 256.0]) {
        near(axis, raw * KXCJK_SCALE)?;
    }
    bench.end()
}
