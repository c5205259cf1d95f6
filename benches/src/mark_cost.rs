//! What the forensic mark costs: the same clip through the same decoder and encoder with and without
//! it, by turns, and the embedder alone.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use temoin_hw::video_file::PictureSize;
use temoin_media::{
    frame::I420Picture,
    h264::{AccessUnit, Encoder, EncoderConfig, StreamConfig},
    transcode::Transcoder,
    watermark::Embedder,
};
use temoin_proto::{
    mark::MarkKey,
    samples::{CameraId, Frame},
    sealed::TrackName,
    time::MonoTime,
};

use crate::{
    cpu,
    figures::{Figure, median},
    input::Input,
};

/// The unit's default size and rate.
const SIZE: PictureSize = PictureSize { width: 1280, height: 720, fps: 15 };
/// How often each camera's clip goes through each way.
const TURNS: usize = 5;
/// A key; what the signs are does not change what they cost.
const KEY: MarkKey = MarkKey::from_bytes([1; 32]);

/// A clip as the server keeps it.
struct Clip {
    track: TrackName,
    stream: Arc<StreamConfig>,
    units: Vec<AccessUnit>,
}

/// The figures of the mark's cost.
///
/// # Errors
/// Where a recording cannot be used.
pub fn figures(input: &Input) -> Result<Vec<Figure>> {
    let frames = input.frames(SIZE)?;
    let mut overhead = Vec::new();
    let mut alone_ms = Vec::new();
    for (camera, track) in [(CameraId::Road, TrackName::Road), (CameraId::Cabin, TrackName::Cabin)]
    {
        let of_camera = || frames.iter().filter(move |frame| frame.camera == camera);
        alone(of_camera(), track, &mut alone_ms)?;
        let clip = coded(of_camera(), track)?;
        let count = clip.units.len();
        ensure!(count > 0, "the drive has no pictures of the {}", track.as_str());
        for _ in 0..TURNS {
            let (without, with) = (through(&clip, false)?, through(&clip, true)?);
            overhead.push((with - without) / without);
        }
    }
    let data_set = input.data_set();
    Ok(vec![
        Figure::new("mark.embed_overhead_ratio", median(&overhead)?, "1", overhead.len(), data_set)
            .goal("at most 0.2 of decoding and encoding the same clip"),
        Figure::new("mark.ms_per_frame", median(&alone_ms)?, "ms", alone_ms.len(), data_set)
            .goal("at most 3 at 720p on one core"),
    ])
}

/// The embedder alone, processor milliseconds for each picture.
fn alone<'a>(
    frames: impl Iterator<Item = &'a Frame>,
    track: TrackName,
    ms: &mut Vec<f64>,
) -> Result<()> {
    let mut embedder = Embedder::new(&KEY, track, SIZE.width, SIZE.height);
    for frame in frames {
        let mut picture = I420Picture::from_frame(frame.clone())?;
        let began = cpu::of_this_thread();
        embedder.mark(&mut picture, frame.at.since(MonoTime::ZERO));
        ms.push((cpu::of_this_thread() - began) * 1e3);
    }
    Ok(())
}

fn config() -> EncoderConfig {
    EncoderConfig::new(SIZE.width, SIZE.height, SIZE.fps)
}

fn coded<'a>(frames: impl Iterator<Item = &'a Frame>, track: TrackName) -> Result<Clip> {
    let mut encoder = Encoder::new(config())?;
    let mut units = Vec::new();
    for frame in frames {
        encoder.push(I420Picture::from_frame(frame.clone())?, frame.at)?;
        while let Some(unit) = encoder.next_within(Duration::from_millis(2))? {
            units.push(unit);
        }
    }
    let stream = encoder.stream().map(Arc::clone).context("nothing was encoded")?;
    units.extend(encoder.finish()?);
    Ok(Clip { track, stream, units })
}

/// Processor seconds of the whole process for a clip from coded to coded.
fn through(clip: &Clip, marked: bool) -> Result<f64> {
    let mut embedder = marked.then(|| Embedder::new(&KEY, clip.track, SIZE.width, SIZE.height));
    let began = cpu::of_this_process();
    let edit = |picture: &mut I420Picture, at: MonoTime| {
        if let Some(embedder) = &mut embedder {
            embedder.mark(picture, at.since(MonoTime::ZERO));
        }
        Ok(())
    };
    let mut transcoder = Transcoder::new(&clip.stream, config(), edit)?;
    let mut out = 0;
    for unit in &clip.units {
        out += transcoder.push(unit.clone())?.len();
    }
    transcoder.finish(|_| {
        out += 1;
        true
    })?;
    ensure!(out == clip.units.len(), "{} pictures went in and {out} came out", clip.units.len());
    Ok(cpu::of_this_process() - began)
}
