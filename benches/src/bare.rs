//! The limits: the same pictures through the replay alone, the encoder alone and the models alone,
//! with no line around them.
//!
//! What counts, in processor seconds per second of drive:
//! - *replay*: reading, decoding and scaling the recordings. A live unit has cameras instead, so it
//!   is taken off the agent.
//! - *encoder*: `temoin_media`'s encoder with the agent's default settings, one for each camera,
//!   fed with pictures that are decoded and in memory already. No label is drawn.
//! - *models*: the ONNX sessions alone, their input tensors made before, as often as the drive's
//!   observations need at the least: the detector once; both head pose nets where a pose came out;
//!   the eyelid model once for each eye that the pose shows. A second search for a lost face, and
//!   nets whose answer was refused, are the agent's own cost. The numbers in a tensor do not change
//!   what a convolution costs, so all are the same.

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use temoin_agent::{
    config::Config,
    infer::{Network, Runtime},
    model_pack::{ModelPack, ModelRole},
    perception::{CabinEyes, DriverSeat, Perception, PerceptionOptions},
};
use temoin_agent_core::road::camera::CameraMount;
use temoin_hw::{ReplayItem, pace::Speed, video_file::PictureSize};
use temoin_media::{
    frame::I420Picture,
    h264::{AccessUnit, Decoder, Encoder, EncoderConfig, StreamConfig},
};
use temoin_proto::{
    perception::DriverObservation,
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
/// Both eyes of a head that is turned no further are measured (`perception::eyelids`).
const BOTH_EYES_WITHIN_DEG: f32 = 25.0;
/// Observations whose models are run alone.
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

/// What the models cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Models {
    /// Pictures that perception looked at.
    pub looks: usize,
    /// Processor seconds of the sessions alone, over all looks.
    pub cpu_s: f64,
    /// Processor seconds of perception as it is, over all looks.
    pub perception_cpu_s: f64,
    /// Time of one observation with both eyes, milliseconds: the sum of each model's median.
    pub observation_ms: f64,
}

/// Runs of each model that an observation cannot do without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LeastRuns {
    detector: u32,
    head: u32,
    eyes: u32,
}

fn least_runs(seen: &DriverObservation) -> LeastRuns {
    let yaw_deg = seen.head.known().map(|h| h.yaw_deg);
    let eyes = match (seen.eyelids.known(), yaw_deg) {
        (Some(_), Some(yaw)) if yaw.abs() <= BOTH_EYES_WITHIN_DEG => 2,
        (Some(_), _) => 1,
        (None, _) => 0,
    };
    LeastRuns { detector: 1, head: u32::from(yaw_deg.is_some()), eyes }
}

/// One model with an input, and what its runs took.
struct Alone {
    network: Network,
    input: Vec<f32>,
    cpu_s: f64,
    times_ms: Vec<f64>,
}

impl Alone {
    fn load(runtime: &Runtime, pack: &ModelPack, role: ModelRole) -> Result<Self> {
        let model = pack.get(role).with_context(|| format!("the model pack has no {role:?}"))?;
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

    /// Processor seconds of `runs` runs.
    fn cost_s(&self, runs: u32) -> f64 {
        self.cpu_s * f64::from(runs) / self.times_ms.len().max(1) as f64
    }
}

/// What the models cost on these pictures, `hz` of them looked at in a second.
///
/// # Errors
/// Where the model pack or the runtime cannot be used.
pub fn models(
    frames: &[Frame],
    options: &PerceptionOptions,
    hz: f64,
    speed: Speed,
) -> Result<Models> {
    let mut networks = CabinEyes::open(options)?;
    let mut due = Looks::new(CameraId::Cabin, hz);
    let looked_at: Vec<&Frame> = frames.iter().filter(|f| due.due(f)).collect();
    let mut needed = LeastRuns::default();
    let mut pace = Pace::new(speed);
    let mut perception_cpu_s = 0.0;
    for frame in &looked_at {
        pace.wait_until(frame.at);
        let began = cpu::of_this_process();
        let runs = least_runs(networks.observe(frame).driver().context("no sight of the driver")?);
        perception_cpu_s += cpu::of_this_process() - began;
        needed.detector += runs.detector;
        needed.head += runs.head;
        needed.eyes += runs.eyes;
    }
    ensure!(needed.head > 0, "no head pose was seen: is this the right video?");

    let runtime = Runtime::load(&options.infer)?;
    let pack = ModelPack::open(&options.models)?;
    let load = |role| Alone::load(&runtime, &pack, role);
    let (mut detector, mut eye) = (load(ModelRole::FaceDetector)?, load(ModelRole::EyeLandmarks)?);
    let (mut one, mut var) = (load(ModelRole::HeadPose1x1)?, load(ModelRole::HeadPoseVar)?);
    let mut pace = Pace::new(speed);
    // In the order of an observation: each finds the caches as the others left them.
    for frame in looked_at.iter().take(OBSERVATIONS) {
        pace.wait_until(frame.at);
        for model in [&mut detector, &mut one, &mut var] {
            model.run()?;
        }
        eye.run()?;
        eye.run()?;
    }
    Ok(Models {
        looks: looked_at.len(),
        cpu_s: detector.cost_s(needed.detector)
            + one.cost_s(needed.head)
            + var.cost_s(needed.head)
            + eye.cost_s(needed.eyes),
        perception_cpu_s,
        observation_ms: median(&detector.times_ms)?
            + median(&one.times_ms)?
            + median(&var.times_ms)?
            + 2.0 * median(&eye.times_ms)?,
    })
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
        let mut alone = Alone::load(&runtime, &pack, model.entry().role)?;
        for _ in 0..OBSERVATIONS {
            alone.run()?;
        }
        let name = model.entry().file.split('.').next().unwrap_or_default();
        times.push((name.to_owned(), median(&alone.times_ms)?));
    }
    Ok(times)
}

/// Processor seconds that looking at the cabin and at the road takes for a second of video, at the
/// unit's rates and with its threads: one for each model.
///
/// # Errors
/// Where the downloaded pack or the runtime cannot be used.
pub fn looks_cpu_s(frames: &[Frame], seconds: f64) -> Result<f64> {
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
    let began = cpu::of_this_process();
    for frame in frames {
        if due_cabin.due(frame) {
            black_box(cabin.observe(frame));
        }
        if due_road.due(frame) {
            black_box(road.observe(frame));
        }
    }
    Ok((cpu::of_this_process() - began) / seconds)
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

#[cfg(test)]
mod tests {
    use temoin_proto::perception::{EyelidOpening, HeadPose, NotSeen, Seen};

    use super::*;

    #[test]
    fn only_runs_that_were_needed_count() {
        let unseen = DriverObservation::unseen(MonoTime::ZERO, NotSeen::NoFace);
        let turned = |yaw_deg| DriverObservation {
            head: Seen::Known {
                value: HeadPose { yaw_deg, pitch_deg: 0.0, roll_deg: 0.0 },
                confidence: 0.9,
            },
            eyelids: Seen::Known { value: EyelidOpening(0.2), confidence: 0.9 },
            ..unseen
        };
        let bowed =
            DriverObservation { eyelids: Seen::Unknown(NotSeen::FaceUnclear), ..turned(3.0) };
        for (seen, detector, head, eyes) in [
            (&unseen, 1, 0, 0),
            (&turned(-3.0), 1, 1, 2),
            (&turned(-40.0), 1, 1, 1),
            (&bowed, 1, 1, 0),
        ] {
            assert_eq!(least_runs(seen), LeastRuns { detector, head, eyes }, "{seen:?}");
        }
    }
}
