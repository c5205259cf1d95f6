//! How much memory a trace takes: a minute of a recording, the longest part that is compared as a whole,
//! twenty seconds of a leak at the size and rate at which the server compares it, and 10,000 views.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use temoin_hw::video_file::PictureSize;
use temoin_media::{
    frame::I420Picture,
    watermark::{
        register::{Gray, Limits, Reference},
        trace::trace,
    },
};
use temoin_proto::{ids::ViewId, mark::MarkKey, samples::CameraId, sealed::TrackName};

use crate::{figures::Figure, input::Input};

/// The argument that makes the bench's own program measure this and nothing else: what it did before
/// would count otherwise.
pub const ARGUMENT: &str = "--trace-memory";

/// As the server has the recording.
const SIZE: PictureSize = PictureSize { width: 640, height: 360, fps: 15 };
const RECORDING: Duration = Duration::from_secs(60);
/// As the server has the leak.
const LEAK_SIZE: (u32, u32) = (854, 480);
const LEAK_FPS: u32 = 30;
const LEAK_S: u32 = 20;
const VIEWS: u128 = 10_000;

/// The figure, measured in a process of its own.
///
/// # Errors
/// Where that process fails.
pub fn figure(input: &Input) -> Result<Figure> {
    let out = Command::new(std::env::current_exe()?).arg(ARGUMENT).output()?;
    let said = String::from_utf8_lossy(&out.stdout);
    ensure!(out.status.success(), "measuring a trace's memory: {said}");
    let mb: f64 = said.trim().parse().with_context(|| said.trim().to_owned())?;
    Ok(Figure::new("trace.peak_rss_mb", mb, "MB", 1, input.data_set())
        .goal("below 1000: a minute of recording, 20 s of leak, 10,000 views"))
}

/// Traces, and gives the most memory that this process had meanwhile, MB.
///
/// # Errors
/// Where a recording cannot be used.
pub fn measure(input: &Input) -> Result<f64> {
    let (recording, leak) = pictures(input)?;
    // What reading the drive took does not count: from here on the most is noted anew (proc(5)).
    fs::write("/proc/self/clear_refs", "5").context("the peak cannot be set back")?;
    let reference = Reference::new(recording)?;
    let ways = trace(&reference, &leak, &Limits::default())?;
    let mark = MarkKey::from_bytes([7; 32]);
    let score = |view: u128| {
        let signs = mark.of_view(ViewId::from_bytes(view.to_be_bytes())).signs(TrackName::Road);
        ways.iter().map(|way| way.evidence.z(&signs)).collect::<Vec<f64>>()
    };
    let scores: Vec<Vec<f64>> = (0..VIEWS).map(score).collect();
    ensure!(!ways.is_empty(), "the leak is not found to lie on its own recording");
    std::hint::black_box(&scores);
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = peak.split_whitespace().next().context("no figure")?.parse()?;
    Ok(kib * 1024.0 / 1e6)
}

/// The recording, and the leak of its first seconds.
fn pictures(input: &Input) -> Result<(Vec<Gray>, Vec<Gray>)> {
    let frames: Vec<_> = input.frames(SIZE)?;
    let road: Vec<_> = frames.into_iter().filter(|frame| frame.camera == CameraId::Road).collect();
    let first = road.first().context("the drive has no pictures of the road")?.at;
    let last = road.last().map_or(first, |frame| frame.at);
    let length = last.since(first) + Duration::from_secs(1) / SIZE.fps;
    let (mut recording, mut leak) = (Vec::new(), Vec::new());
    let mut round = Duration::ZERO;
    while round < RECORDING {
        for frame in &road {
            let at = round + frame.at.since(first);
            if at < RECORDING {
                recording.push(gray(&I420Picture::from_frame(frame.clone())?, at));
            }
        }
        round += length;
    }
    let step = Duration::from_secs(1) / LEAK_FPS;
    for n in 0..LEAK_S * LEAK_FPS {
        let at = step * n;
        let shown = road.iter().take_while(|frame| frame.at.since(first) <= at).last();
        let shown = shown.context("the drive is too short")?;
        let picture = I420Picture::from_frame(shown.clone())?;
        leak.push(gray(&picture.view().resize(LEAK_SIZE.0, LEAK_SIZE.1)?, at));
    }
    Ok((recording, leak))
}

fn gray(picture: &I420Picture, at: Duration) -> Gray {
    let (width, height) = (picture.width(), picture.height());
    Gray { width, height, luma: picture.view().luma().to_vec(), at }
}
