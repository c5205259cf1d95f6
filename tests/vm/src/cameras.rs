//! Cameras, and each fault that the kernel's test camera can make.

use std::{
    io::Write as _,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use temoin_agent::{
    config::{CameraConfig, DeviceConfig},
    health::State,
};
use temoin_proto::{
    samples::{CameraId, Frame, PixelFormat},
    time::MonoTime,
};
use v4l::{Device, Format, FourCC, video::Output};

use crate::{
    bench::{Bench, FPS, HEIGHT, WIDTH},
    host::say,
    vivid,
};

const ROAD: &str = "/dev/video0";
const CABIN: &str = "/dev/video1";
const PART: &str = "camera.road";
/// Within which a picture comes from a camera that works.
const SOON: Duration = Duration::from_secs(10);
/// Within which the picture is back after a fault's end.
const BACK: Duration = Duration::from_secs(2);

fn road() -> Result<Bench> {
    Bench::start(&DeviceConfig {
        road_camera: Some(CameraConfig::Node(ROAD.into())),
        ..DeviceConfig::default()
    })
}

/// How long after a fault's end the next picture was taken: it must be soon.
fn back(bench: &Bench, ended: Instant, last: MonoTime) -> Result<()> {
    let frame = bench.picture(CameraId::Road, SOON)?;
    let took = ended.elapsed();
    let gap = frame.at.since(last);
    say(&format!("the picture was back after {took:?}, the gap is {gap:?}"));
    ensure!(took <= BACK, "the picture was back only after {took:?}");
    whole(&frame)?;
    bench.pictures(CameraId::Road, 5, SOON)?;
    Ok(())
}

fn whole(frame: &Frame) -> Result<()> {
    ensure!((frame.width, frame.height) == (WIDTH, HEIGHT), "not the size that was asked for");
    let bytes = match frame.format {
        PixelFormat::Nv12 | PixelFormat::I420 => WIDTH * HEIGHT * 3 / 2,
        PixelFormat::Yuyv => WIDTH * HEIGHT * 2,
        PixelFormat::Gray8 => WIDTH * HEIGHT,
    };
    ensure!(frame.data.len() == usize::try_from(bytes)?, "half a picture");
    // The test camera shows bars: no picture is of one colour.
    ensure!(frame.data.iter().any(|byte| frame.data.first() != Some(byte)), "an empty picture");
    Ok(())
}

/// Three seconds of whole pictures at the rate that was asked for, by the kernel's own times.
pub(crate) fn gives_pictures() -> Result<()> {
    let bench = road()?;
    let pictures = bench.pictures(CameraId::Road, usize::try_from(3 * FPS)?, SOON)?;
    pictures.iter().try_for_each(whole)?;
    let (Some(first), Some(last)) = (pictures.first(), pictures.last()) else {
        anyhow::bail!("no pictures")
    };
    let took = last.at.since(first.at).as_secs_f64();
    let rate = f64::from(3 * FPS - 1) / took;
    say(&format!("{rate:.2} pictures a second"));
    // An emulated processor may be late for one, and a camera has no reason to be early.
    ensure!(
        rate < f64::from(FPS) * 1.05 && rate > f64::from(FPS) * 0.8,
        "{rate} pictures a second"
    );
    let moved =
        pictures.windows(2).filter(|pair| matches!(pair, [a, b] if a.data != b.data)).count();
    ensure!(moved > 30, "the test picture moves, and these do not");
    bench.end()
}

/// Both cameras, whatever the other does.
pub(crate) fn two_together() -> Result<()> {
    let bench = Bench::start(&DeviceConfig {
        road_camera: Some(CameraConfig::Node(ROAD.into())),
        cabin_camera: Some(CameraConfig::Node(CABIN.into())),
        ..DeviceConfig::default()
    })?;
    for _ in 0..10 {
        whole(&bench.picture(CameraId::Road, SOON)?)?;
        whole(&bench.picture(CameraId::Cabin, SOON)?)?;
    }
    bench.end()
}

/// Pulled out, and plugged in after a while.
pub(crate) fn unplugged() -> Result<()> {
    let bench = road()?;
    let last = bench.pictures(CameraId::Road, 5, SOON)?.last().map_or(MonoTime::ZERO, |f| f.at);
    vivid::unplug()?;
    bench.health(PART, State::Failed, SOON)?;
    vivid::plug_in()?;
    let ended = Instant::now();
    bench.forget();
    back(&bench, ended, last)?;
    bench.end()
}

/// The driver says that the device is gone, as a USB camera's does.
pub(crate) fn disconnected() -> Result<()> {
    let bench = road()?;
    let last = bench.pictures(CameraId::Road, 5, SOON)?.last().map_or(MonoTime::ZERO, |f| f.at);
    vivid::set(ROAD, "Disconnect", 1)?;
    bench.health(PART, State::Failed, SOON)?;
    vivid::unplug()?;
    vivid::plug_in()?;
    let ended = Instant::now();
    bench.forget();
    back(&bench, ended, last)?;
    bench.end()
}

/// An error after which only opening it again helps.
pub(crate) fn fails() -> Result<()> {
    let bench = road()?;
    let last = bench.pictures(CameraId::Road, 5, SOON)?.last().map_or(MonoTime::ZERO, |f| f.at);
    vivid::set(ROAD, "Inject Fatal Streaming Error", 1)?;
    let ended = Instant::now();
    bench.health(PART, State::Failed, SOON)?;
    bench.forget();
    back(&bench, ended, last)?;
    bench.end()
}

/// A damaged picture is left out, each time, and the next ones come.
pub(crate) fn damaged() -> Result<()> {
    let bench = road()?;
    for _ in 0..5 {
        let mut pictures = bench.pictures(CameraId::Road, 5, SOON)?;
        vivid::set(ROAD, "Inject V4L2_BUF_FLAG_ERROR", 1)?;
        pictures.extend(bench.pictures(CameraId::Road, 12, SOON)?);
        ensure!(gaps(&pictures) > 0, "no picture is missing: the damaged one was handed out");
        pictures.iter().try_for_each(whole)?;
    }
    bench.end()
}

/// How often a picture or more is missing between two of these.
fn gaps(pictures: &[Frame]) -> usize {
    let due = Duration::from_secs(1) / FPS;
    let late = |pair: &&[Frame]| matches!(pair, [a, b] if b.at.since(a.at) > due * 3 / 2);
    pictures.windows(2).filter(late).count()
}

/// Every second picture is missing: the others carry their own times.
pub(crate) fn drops_half() -> Result<()> {
    let bench = road()?;
    bench.pictures(CameraId::Road, 5, SOON)?;
    vivid::set(ROAD, "Percentage of Dropped Buffers", 50)?;
    bench.forget();
    let pictures = bench.pictures(CameraId::Road, 30, 3 * SOON)?;
    let gaps = gaps(&pictures);
    ensure!(gaps >= 5, "half of the pictures are missing and {gaps} gaps show");
    bench.end()
}

/// Nothing comes for longer than the unit waits.
pub(crate) fn stalls() -> Result<()> {
    let bench = road()?;
    let last = bench.pictures(CameraId::Road, 5, SOON)?.last().map_or(MonoTime::ZERO, |f| f.at);
    vivid::set(ROAD, "Percentage of Dropped Buffers", 100)?;
    bench.health(PART, State::Failed, SOON)?;
    vivid::set(ROAD, "Percentage of Dropped Buffers", 0)?;
    let ended = Instant::now();
    bench.forget();
    back(&bench, ended, last)?;
    bench.end()
}

/// The driver refuses buffers once, and then to start once.
pub(crate) fn refuses() -> Result<()> {
    for fault in ["Inject VIDIOC_REQBUFS Error", "Inject VIDIOC_STREAMON Error"] {
        vivid::set(ROAD, fault, 1)?;
        let bench = road()?;
        let ended = Instant::now();
        back(&bench, ended, MonoTime::ZERO)?;
        bench.end()?;
    }
    Ok(())
}

/// A picture as a JPEG, brighter to the right, and the later.
fn jpeg(n: u8) -> Result<Vec<u8>> {
    let (width, height) = (u16::try_from(WIDTH)?, u16::try_from(HEIGHT)?);
    let row = (0..width).map(|x| n.saturating_add(u8::try_from(x / 8).unwrap_or(u8::MAX)));
    let row: Vec<u8> = row.collect();
    let mut bytes = Vec::new();
    jpeg_encoder::Encoder::new(&mut bytes, 80).encode(
        &row.repeat(usize::from(height)),
        width,
        height,
        jpeg_encoder::ColorType::Luma,
    )?;
    Ok(bytes)
}

/// A camera that gives each picture as a JPEG; every fifth is cut short on its way and left out.
pub(crate) fn jpegs() -> Result<()> {
    let mut camera = Device::with_path(ROAD)?;
    Output::set_format(&camera, &Format::new(WIDTH, HEIGHT, FourCC::new(b"MJPG")))?;
    let pictures: Vec<Vec<u8>> = (0..50).map(|n| jpeg(n * 3)).collect::<Result<_>>()?;
    let (end, ended) = mpsc::channel::<()>();
    let shows = thread::spawn(move || -> Result<()> {
        for (n, picture) in pictures.iter().enumerate().cycle() {
            let sent = if n % 5 == 4 { picture.len() / 2 } else { picture.len() };
            camera.write_all(picture.get(..sent).unwrap_or_default())?;
            let pause = ended.recv_timeout(Duration::from_secs(1) / FPS);
            if pause != Err(mpsc::RecvTimeoutError::Timeout) {
                break;
            }
        }
        Ok(())
    });
    let bench = road()?;
    // An emulated processor takes a while for each.
    let pictures = bench.pictures(CameraId::Road, 10, SOON * 3)?;
    let mut before = None;
    for frame in &pictures {
        whole(frame)?;
        ensure!(frame.format == PixelFormat::Nv12, "JPEGs are to be decoded");
        // One that was cut short would have to be made up from another or in part.
        let [begin, end] = [0, usize::try_from(WIDTH * (HEIGHT - 1))?].map(|at| frame.data.get(at));
        ensure!(begin == end, "its last row is not of the same picture as its first");
        ensure!(begin != before.as_ref(), "the same picture again");
        before = begin.copied();
    }
    bench.end()?;
    drop(end);
    let Ok(shown) = shows.join() else { anyhow::bail!("the camera's thread panicked") };
    shown
}
