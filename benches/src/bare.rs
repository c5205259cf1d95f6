//! The limits: the same pictures through the replay alone, the encoder alone and the models alone,
//! with no line around them.
//!
//! What counts, in processor seconds per second of drive:
//! - *replay*: reading, decoding and scaling the recordings. A live unit has cameras instead, so it
//!   is taken off the agent.
//! - *encoder*: `temoin_media`'s encoder with the agent's default settings, one for each camera,
//!   fed with pictures that are decoded and in memory already. No label is drawn.
//! - *models*: the ONNX sessions alone, their input tensors made before, each as often as perception
//!   ran it on the same pictures. The numbers in a tensor do not change what a convolution costs, so
//!   all are the same. A run that perception could do without is in the limit too: what all looks
//!   cost stands in `perception.core_fraction`.

use std::{
    collections::BTreeMap,
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use temoin_agent::{
    config::Config,
    infer::{self, Network, Runtime},
    model_pack::{ModelPack, VerifiedModel},
    perception::{DriverSeat, Perception},
};
use temoin_agent_core::road::camera::CameraMount;
use temoin_hw::{ReplayItem, pace::Speed, video_file::PictureSize};
use temoin_media::{
    frame::I420Picture,
    h264::{AccessUnit, Decoder, Encoder, EncoderConfig, StreamConfig},
};
use temoin_proto::{
    samples::{CameraId, Frame},
    time::MonoTime,
};

use crate::{
    cpu,
    figures::median,
    input::{Input, Length, Looks},
    packs::Pack,
    watch::{CABIN_HZ, ROAD_HZ},
};

/// How long one picture may take before that is a fault.
const PATIENCE: Duration = Duration::from_secs(10);
/// Runs of a model alone.
pub const OBSERVATIONS: usize = 100;

/// Processor seconds that replaying the whole drive takes, with nothing done to its pictures.
///
/// # Errors
/// Where a recording cannot be used.
pub fn replay_cpu_s(input: &Input, length: Length, size: PictureSize, speed: Speed) -> Result<f64> {
    let began = cpu::of_this_process();
    for item in input.replay(length, size, speed)? {
        if let ReplayItem::Frame(frame) = item? {
            black_box(frame);
        }
    }
    Ok(cpu::of_this_process() - began)
}

/// Processor seconds that encoding these pictures takes, one encoder for each camera.
///
/// # Errors
/// Where the encoder fails.
pub fn encoder_cpu_s(frames: Vec<Frame>, config: &EncoderConfig, speed: Speed) -> Result<f64> {
    let mut pictures = Vec::with_capacity(frames.len());
    for frame in frames {
        let (camera, at) = (frame.camera, frame.at);
        pictures.push((camera, at, I420Picture::from_frame(frame)?));
    }
    let began = cpu::of_this_process();
    let mut cabin = Encoder::new(config.clone())?;
    let mut road = Encoder::new(config.clone())?;
    let mut pace = Pace::new(speed);
    for (camera, at, picture) in pictures {
        pace.wait_until(at);
        let encoder = match camera {
            CameraId::Cabin => &mut cabin,
            CameraId::Road => &mut road,
        };
        encoder.push(picture, at)?;
        while let Some(unit) = encoder.try_next()? {
            black_box(unit);
        }
    }
    black_box((cabin.finish()?, road.finish()?));
    Ok(cpu::of_this_process() - began)
}

/// Waits as a drive does, or not at all.
struct Pace {
    speed: Speed,
    zero: Option<(Instant, MonoTime)>,
}

impl Pace {
    const fn new(speed: Speed) -> Self {
        Self { speed, zero: None }
    }

    fn wait_until(&mut self, at: MonoTime) {
        if self.speed == Speed::Real {
            let (began, zero) = *self.zero.get_or_insert((Instant::now(), at));
            let due = began + at.since(zero);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}

/// What looking costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Looking {
    /// Looks at both cameras.
    pub looks: usize,
    /// Processor seconds of perception as it is, over all looks.
    pub perception_cpu_s: f64,
    /// Processor seconds of the sessions alone, over all looks.
    pub models_cpu_s: f64,
    /// Time of the sessions alone in a look at the cabin, milliseconds: each model's median, as
    /// often as it ran in the mean.
    pub cabin_models_ms: f64,
}

/// Runs of each model, by its file.
type Runs = BTreeMap<String, u64>;

/// One model with an input, and what its runs took.
struct Alone {
    network: Network,
    input: Vec<f32>,
    cpu_s: f64,
    times_ms: Vec<f64>,
}

impl Alone {
    fn load(runtime: &Runtime, model: &VerifiedModel) -> Result<Self> {
        let input = vec![0.5; model.entry().input.len()];
        let mut network = runtime.network(model)?;
        // The first run allocates.
        black_box(network.run(&input)?);
        Ok(Self { network, input, cpu_s: 0.0, times_ms: Vec::new() })
    }

    fn run(&mut self) -> Result<()> {
        let (began, busy) = (Instant::now(), cpu::of_this_process());
        black_box(self.network.run(&self.input)?);
        self.cpu_s += cpu::of_this_process() - busy;
        self.times_ms.push(began.elapsed().as_secs_f64() * 1e3);
        Ok(())
    }
}

/// What looking at the cabin and at the road costs with the downloaded pack, at the unit's rates,
/// with one thread, and what its models alone cost.
///
/// # Errors
/// Where the downloaded pack or the runtime cannot be used, or no picture was looked at.
pub fn looking(frames: &[Frame], speed: Speed) -> Result<Looking> {
    let mut cabin = Pack::Downloaded.cabin(DriverSeat::default())?;
    let mut road = Pack::Downloaded.road(CameraMount::default())?;
    // The first look of each allocates.
    for frame in [CameraId::Cabin, CameraId::Road].map(|c| frames.iter().find(|f| f.camera == c)) {
        let frame = frame.context("the drive lacks a camera")?;
        black_box(match frame.camera {
            CameraId::Cabin => cabin.observe(frame),
            CameraId::Road => road.observe(frame),
        });
    }
    let mut due_cabin = Looks::new(CameraId::Cabin, CABIN_HZ);
    let mut due_road = Looks::new(CameraId::Road, ROAD_HZ);
    let (mut cabin_looks, mut road_looks, mut perception_cpu_s) = (0_usize, 0_usize, 0.0);
    let (mut cabin_runs, mut all_runs) = (Runs::new(), Runs::new());
    let mut pace = Pace::new(speed);
    for frame in frames {
        let (to_cabin, to_road) = (due_cabin.due(frame), due_road.due(frame));
        if !to_cabin && !to_road {
            continue;
        }
        pace.wait_until(frame.at);
        let (before, began) = (infer::runs(), cpu::of_this_process());
        black_box(if to_cabin { cabin.observe(frame) } else { road.observe(frame) });
        perception_cpu_s += cpu::of_this_process() - began;
        for (file, runs) in infer::runs() {
            let runs = runs - before.get(&file).copied().unwrap_or(0);
            *all_runs.entry(file.clone()).or_default() += runs;
            if to_cabin {
                *cabin_runs.entry(file).or_default() += runs;
            }
        }
        if to_cabin { cabin_looks += 1 } else { road_looks += 1 }
    }
    ensure!(cabin_looks > 0 && road_looks > 0, "no picture was looked at");
    all_runs.retain(|_, runs| *runs > 0);
    let mut models_cpu_s = 0.0;
    let mut cabin_models_ms = 0.0;
    for (file, alone) in alone(&all_runs, speed)? {
        let count = |runs: &Runs| runs.get(&file).copied().unwrap_or(0) as f64;
        models_cpu_s += alone.cpu_s / alone.times_ms.len() as f64 * count(&all_runs);
        cabin_models_ms += median(&alone.times_ms)? * count(&cabin_runs) / cabin_looks as f64;
    }
    let looks = cabin_looks + road_looks;
    Ok(Looking { looks, perception_cpu_s, models_cpu_s, cabin_models_ms })
}

/// These models, each run [`OBSERVATIONS`] times, by turns as in a look: each finds the caches as
/// the others left them.
fn alone(models: &Runs, speed: Speed) -> Result<Vec<(String, Alone)>> {
    let runtime = Runtime::load(&Config::for_files().infer())?;
    let packs = [Pack::Downloaded.models()?, Pack::BuiltIn.models()?];
    let mut all = Vec::new();
    for file in models.keys() {
        let mut there = packs.iter().flat_map(ModelPack::models);
        let model = there.find(|m| m.entry().file == *file).context("a model of no pack ran")?;
        all.push((file.clone(), Alone::load(&runtime, model)?));
    }
    let mut pace = Pace::new(speed);
    for n in 0..OBSERVATIONS {
        pace.wait_until(MonoTime::ZERO + Duration::from_secs_f64(n as f64 / CABIN_HZ));
        for (_, alone) in &mut all {
            alone.run()?;
        }
    }
    Ok(all)
}

/// Middle time of one run of each model of a pack, milliseconds, by the model's file.
///
/// # Errors
/// Where the models or the runtime cannot be used.
pub fn each_model(which: Pack) -> Result<Vec<(String, f64)>> {
    let runtime = Runtime::load(&Config::for_files().infer())?;
    let pack = which.models()?;
    let mut times = Vec::new();
    for model in pack.models() {
        let mut alone = Alone::load(&runtime, model)?;
        for _ in 0..OBSERVATIONS {
            alone.run()?;
        }
        let name = model.entry().file.split('.').next().unwrap_or_default();
        times.push((name.to_owned(), median(&alone.times_ms)?));
    }
    Ok(times)
}

/// Decoding and encoding one picture, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OnePicture {
    /// With a decoder and an encoder that run already: the median of the pictures.
    pub warm_ms: f64,
    /// With both to be started first.
    pub cold_ms: f64,
    /// Pictures.
    pub count: usize,
}

/// One road picture after the other through a decoder and an encoder, each waited for.
///
/// # Errors
/// Where coding fails.
pub fn one_picture(frames: &[Frame], config: &EncoderConfig) -> Result<OnePicture> {
    let (stream, units) = coded(frames, config)?;
    let began = Instant::now();
    let mut decoder = Decoder::new(&stream, config.threads)?;
    let mut encoder = Encoder::new(config.clone())?;
    let (mut cold_ms, mut warm_ms) = (None, Vec::new());
    for unit in units {
        let one = Instant::now();
        decoder.push(unit)?;
        let decoded = decoder.next_within(PATIENCE)?.context("no picture was decoded")?;
        encoder.push(decoded.picture, decoded.at)?;
        black_box(encoder.next_within(PATIENCE)?.context("no picture was encoded")?);
        match cold_ms {
            None => cold_ms = Some(began.elapsed().as_secs_f64() * 1e3),
            Some(_) => warm_ms.push(one.elapsed().as_secs_f64() * 1e3),
        }
    }
    Ok(OnePicture {
        warm_ms: median(&warm_ms)?,
        cold_ms: cold_ms.context("no picture")?,
        count: warm_ms.len(),
    })
}

/// Two seconds of the road, coded.
fn coded(frames: &[Frame], config: &EncoderConfig) -> Result<(StreamConfig, Vec<AccessUnit>)> {
    let mut encoder = Encoder::new(config.clone())?;
    let mut units = Vec::new();
    for frame in frames.iter().filter(|f| f.camera == CameraId::Road).take(30) {
        encoder.push(I420Picture::from_frame(frame.clone())?, frame.at)?;
        units.extend(encoder.next_within(PATIENCE)?);
    }
    let stream = encoder.stream().context("nothing was encoded")?.as_ref().clone();
    units.extend(encoder.finish()?);
    Ok((stream, units))
}
