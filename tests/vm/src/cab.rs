//! The button, the lamp, the speaker and the watchdog.

use std::{
    f64::consts::TAU,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use alsa::{
    Direction, ValueOr,
    pcm::{Access, Format, HwParams, PCM},
};
use anyhow::{Context, Result, bail, ensure};
use temoin_agent::{
    cab,
    config::{DeviceConfig, SpeakerConfig},
    health::{HealthBoard, State},
    watchdog::{self, Rounds},
};
use temoin_hw::{
    device::{Alert, LampState},
    gpio::LineConfig,
    pace::StopToken,
};
use temoin_proto::samples::Signal;

use crate::{bench::Bench, guest, host::say};

const SOON: Duration = Duration::from_secs(10);
/// Within which a device is back after a fault's end.
const BACK: Duration = Duration::from_secs(2);
/// Within which the lamp shows what the unit does.
const SHOWS: Duration = Duration::from_millis(200);
const CHIP: &str = "/sys/kernel/config/gpio-sim/cab";

/// A line of this name.
pub(crate) fn line(name: &str) -> LineConfig {
    LineConfig { line: name.to_owned(), active_low: false, pull: None }
}

/// Makes a chip with lines of these names, from the third on.
pub(crate) fn chip(lines: &[&str]) -> Result<()> {
    let bank = Path::new(CHIP).join("bank0");
    fs::create_dir_all(&bank)?;
    fs::write(bank.join("num_lines"), "4")?;
    for (n, name) in (2..).zip(lines) {
        let line = bank.join(format!("line{n}"));
        fs::create_dir(&line)?;
        fs::write(line.join("name"), name)?;
    }
    plug(true)
}

/// Plugs the chip in or out.
pub(crate) fn plug(live: bool) -> Result<()> {
    fs::write(Path::new(CHIP).join("live"), if live { "1" } else { "0" }).context("the chip")
}

/// What the outside of the first line is called.
fn outside(what: &str) -> Result<PathBuf> {
    outside_of(0, what)
}

/// What the outside of a line is called.
pub(crate) fn outside_of(line: usize, what: &str) -> Result<PathBuf> {
    let read = |name: &str| fs::read_to_string(Path::new(CHIP).join(name));
    let (device, chip) = (read("dev_name")?, read("bank0/chip_name")?);
    Ok(Path::new("/sys/devices/platform")
        .join(device.trim())
        .join(chip.trim())
        .join(format!("sim_gpio{}", line + 2))
        .join(what))
}

fn pressed(bench: &Bench, within: Duration) -> Result<()> {
    bench.signal(within, |signal| matches!(signal, Signal::Button(_)).then_some(()))
}

/// Each press is one, bounces are none, and a chip that comes back is used again.
pub(crate) fn button() -> Result<()> {
    guest::mount_configfs()?;
    chip(&["BUTTON"])?;
    let button = Some(line("BUTTON"));
    let bench = Bench::start(&DeviceConfig { button, ..DeviceConfig::default() })?;
    bench.health("button", State::Ok, SOON)?;
    let press = |down: bool| -> Result<()> {
        let pull = if down { "pull-up" } else { "pull-down" };
        Ok(fs::write(outside("pull")?, pull)?)
    };
    // Longer than any contact bounces.
    let held = Duration::from_millis(100);
    for _ in 0..3 {
        for bounce in [true, false, true, false, true] {
            press(bounce)?;
        }
        pressed(&bench, SOON)?;
        thread::sleep(held);
        press(false)?;
        thread::sleep(held);
        ensure!(pressed(&bench, Duration::ZERO).is_err(), "one press was two");
    }
    plug(false)?;
    bench.health("button", State::Failed, SOON)?;
    plug(true)?;
    let ended = Instant::now();
    bench.health("button", State::Ok, SOON)?;
    ensure!(ended.elapsed() <= BACK, "it was back only after {:?}", ended.elapsed());
    press(true)?;
    pressed(&bench, SOON)?;
    bench.end()
}

/// Waits until the lamp is so. How long that took.
fn lit(on: bool) -> Result<Duration> {
    let since = Instant::now();
    loop {
        if let Ok(path) = outside("value")
            && fs::read_to_string(path).is_ok_and(|value| (value.trim() == "1") == on)
        {
            return Ok(since.elapsed());
        }
        if since.elapsed() > SOON {
            bail!("the lamp is not {}", if on { "lit" } else { "dark" });
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// It shows each state in time, and again after it was gone.
pub(crate) fn lamp() -> Result<()> {
    guest::mount_configfs()?;
    chip(&["LAMP"])?;
    let health = Arc::new(HealthBoard::default());
    let devices = DeviceConfig { lamp: Some(line("LAMP")), ..DeviceConfig::default() };
    let mut lamp = cab::lamp(&devices, &health)?;
    for (state, on) in [
        (LampState::Recording, true),
        (LampState::Off, false),
        (LampState::AlertsOnly, true),
        (LampState::Off, false),
        (LampState::Recording, true),
    ] {
        lamp.show(state)?;
        let took = lit(on)?;
        say(&format!("{state:?} after {took:?}"));
        ensure!(took <= SHOWS, "{state:?} was shown only after {took:?}");
    }
    lamp.show(LampState::Fault)?;
    for on in [true, false, true, false] {
        lit(on)?;
    }
    lamp.show(LampState::Recording)?;
    lit(true)?;
    ensure!(health.state("lamp") == Some(State::Ok), "the lamp is not well");

    plug(false)?;
    lamp.show(LampState::Fault)?;
    let until = Instant::now() + SOON;
    while health.state("lamp") != Some(State::Failed) {
        ensure!(Instant::now() < until, "nobody noticed that the lamp is gone");
        thread::sleep(Duration::from_millis(10));
    }
    lamp.show(LampState::Recording)?;
    plug(true)?;
    let took = lit(true)?;
    ensure!(took <= BACK, "the lamp was back only after {took:?}");
    drop(lamp);
    lit(false)?;
    Ok(())
}

/// Samples a second that are listened to.
const RATE_HZ: u32 = 48_000;

/// What comes out of the speaker: an endless tape.
fn listen() -> Result<PCM> {
    let pcm = PCM::new("hw:0,1", Direction::Capture, false)?;
    {
        let params = HwParams::any(&pcm)?;
        params.set_channels(1)?;
        params.set_rate(RATE_HZ, ValueOr::Nearest)?;
        params.set_format(Format::s16())?;
        params.set_access(Access::RWInterleaved)?;
        pcm.hw_params(&params)?;
    }
    pcm.start()?;
    Ok(pcm)
}

/// How much of a sound is at this pitch, 0 to 1 (Goertzel).
fn share(sound: &[i16], pitch_hz: f64) -> f64 {
    let turn = TAU * pitch_hz / f64::from(RATE_HZ);
    let (mut sin, mut cos, mut all, mut angle) = (0.0, 0.0, 0.0, 0.0_f64);
    for sample in sound {
        let sample = f64::from(*sample);
        sin += sample * angle.sin();
        cos += sample * angle.cos();
        all += sample * sample;
        angle += turn;
    }
    let count = f64::from(u32::try_from(sound.len()).unwrap_or(u32::MAX));
    if all == 0.0 { 0.0 } else { (sin * sin + cos * cos) * 2.0 / (all * count) }
}

/// Waits until this pitch is heard.
fn hears(tape: &PCM, pitch_hz: f64) -> Result<()> {
    let io = tape.io_i16()?;
    let until = Instant::now() + SOON;
    let mut part = [0_i16; 2400];
    while Instant::now() < until {
        let heard = match io.readi(&mut part) {
            Ok(heard) => heard,
            Err(e) => {
                tape.try_recover(e, true)?;
                continue;
            }
        };
        if share(part.get(..heard).unwrap_or_default(), pitch_hz) > 0.8 {
            return Ok(());
        }
    }
    bail!("{pitch_hz} Hz were never heard")
}

/// A tone, a spoken word, and what is more urgent.
pub(crate) fn speaker() -> Result<()> {
    let sounds = PathBuf::from("/tmp/sounds");
    fs::create_dir_all(&sounds)?;
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(sounds.join("speeding.wav"), spec)?;
    for n in 0..5 * 16_000 {
        #[expect(clippy::cast_possible_truncation, reason = "below its range")]
        let sample = ((TAU * 440.0 * f64::from(n) / 16_000.0).sin() * 8000.0) as i16;
        wav.write_sample(sample)?;
    }
    wav.finalize()?;
    let health = Arc::new(HealthBoard::default());
    let config =
        SpeakerConfig { device: "plughw:0,0".to_owned(), sounds: Some(sounds), volume: 0.5 };
    let devices = DeviceConfig { speaker: Some(config), ..DeviceConfig::default() };
    let mut speaker = cab::speaker(&devices, &health)?;
    ensure!(health.state("speaker") == Some(State::Ok), "the speaker is not well");
    let tape = listen()?;
    speaker.play(Alert::SeatBelt)?;
    hears(&tape, 660.0).context("the seat belt's tone")?;
    speaker.play(Alert::Speeding)?;
    hears(&tape, 440.0).context("the word")?;
    // Five seconds of words do not make the driver wait.
    speaker.play(Alert::EyesClosed)?;
    let since = Instant::now();
    hears(&tape, 1760.0).context("the urgent tone")?;
    say(&format!("the urgent one after {:?}", since.elapsed()));
    ensure!(since.elapsed() < Duration::from_secs(2), "an urgent tone had to wait");
    Ok(())
}

/// It lets a machine live whose loop goes round, and one that stopped it, and resets one whose loop stands.
pub(crate) fn watchdog() -> Result<()> {
    let node = PathBuf::from("/dev/watchdog0");
    let health = Arc::new(HealthBoard::default());
    let rounds = Rounds::default();
    let begin = |stop: &StopToken| {
        watchdog::start(node.clone(), rounds.clone(), stop.clone(), Arc::clone(&health))
    };
    // Twice as long as it waits for food.
    let long = Duration::from_secs(8);
    let stop = StopToken::new();
    let thread = begin(&stop)?;
    let until = Instant::now() + long;
    while Instant::now() < until {
        rounds.count();
        thread::sleep(Duration::from_millis(100));
    }
    ensure!(health.state("watchdog") == Some(State::Ok), "the watchdog is not fed");
    say("fed");
    stop.stop();
    ensure!(thread.join().is_ok(), "its thread panicked");
    thread::sleep(long);
    say("stopped");
    begin(&StopToken::new())?;
    say(guest::RESET);
    thread::sleep(SOON * 2);
    bail!("the machine lives, and nobody fed the watchdog")
}
