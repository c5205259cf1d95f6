//! What each part costs for one 1280x720 picture: `cargo run -p temoin-media --example cost`.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use temoin_media::{
    bgr::Square,
    blur::{blur_all_but, blur_area, blur_face, blur_picture},
    burn_in::{Label, ViewMark},
    frame::I420Picture,
    h264::{AccessUnit, Decoder, Effort, Encoder, EncoderConfig, EncoderKind, StreamConfig},
    limit_opencv_threads,
    picture_stats::{brightness, picture_stats},
    transcode::Transcoder,
};
use temoin_proto::{
    ids::ViewId,
    perception::PictureBox,
    samples::CameraId,
    time::{MonoTime, WallTime},
};

type Error = Box<dyn std::error::Error>;

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;

/// A picture with texture, noise and something that moves.
fn picture(n: u32) -> Result<I420Picture, Error> {
    let mut picture = I420Picture::black(WIDTH, HEIGHT)?;
    let mut noise = 1_u32 + n;
    let planes = picture.planes_mut();
    for (y, row) in (0_u32..).zip(planes.y.chunks_exact_mut(1280)) {
        for (x, pixel) in (0_u32..).zip(row) {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let texture = ((x / 3) ^ (y / 5)) % 40 + (x + y + 2 * n) / 16 % 90 + (noise >> 29);
            let inside = (x + WIDTH - (4 * n) % WIDTH) % WIDTH < WIDTH / 8 && y % 128 < 64;
            *pixel = u8::try_from(40 + texture + if inside { 80 } else { 0 })?;
        }
    }
    Ok(picture)
}

/// CPU time of the whole process so far, from Linux's 1/100 s counters: unlike wall time it says
/// the same on a busy machine.
fn cpu() -> Result<Duration, Error> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').ok_or("no process state")?.1.split_whitespace();
    let ticks: Vec<u64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
}

fn ms(d: Duration, n: u32) -> f64 {
    d.as_secs_f64() * 1000.0 / f64::from(n)
}

fn each(name: &str, n: u32, mut f: impl FnMut(u32) -> Result<(), Error>) -> Result<(), Error> {
    f(0)?;
    let began = Instant::now();
    for k in 0..n {
        f(k)?;
    }
    println!("{name:34} {:8.3} ms", ms(began.elapsed(), n));
    Ok(())
}

fn encode(
    config: &EncoderConfig,
    pictures: &[I420Picture],
) -> Result<(StreamConfig, Vec<AccessUnit>, f64), Error> {
    let mut encoder = Encoder::new(config.clone())?;
    let mut units = Vec::new();
    let began = cpu()?;
    for (n, picture) in (0..).zip(pictures) {
        encoder.push(picture.clone(), MonoTime::from_ns(n * 66_666_667))?;
        units.extend(encoder.next_within(Duration::from_secs(5))?);
    }
    let busy = cpu()?.saturating_sub(began);
    let stream = encoder.stream().ok_or("no stream")?.as_ref().clone();
    units.extend(encoder.finish()?);
    Ok((stream, units, ms(busy, u32::try_from(pictures.len())?)))
}

fn main() -> Result<(), Error> {
    limit_opencv_threads(1)?;
    let pictures = (0..60).map(picture).collect::<Result<Vec<_>, _>>()?;
    let first = pictures.first().ok_or("no picture")?;
    let face = PictureBox { x: 0.4, y: 0.2, w: 0.2, h: 0.4 };
    let view = first.view();

    each("letter box 640x640 BGR", 200, |_| {
        black_box(view.letterbox_bgr(640)?);
        Ok(())
    })?;
    each("letter box 320x320 BGR", 200, |_| {
        black_box(view.letterbox_bgr(320)?);
        Ok(())
    })?;
    let square = Square::upright(640.0, 360.0, 300.0);
    each("cut 300 -> 64 BGR", 1000, |_| {
        black_box(view.cut_bgr(square, 64)?);
        Ok(())
    })?;
    let turned = Square { angle_deg: 12.0, ..Square::upright(600.0, 300.0, 70.0) };
    each("cut 70 -> 64 BGR, turned", 1000, |_| {
        black_box(view.cut_bgr(turned, 64)?);
        Ok(())
    })?;
    each("mean and contrast", 1000, |_| {
        black_box(view.luma_stats());
        Ok(())
    })?;
    let mut out = first.clone();
    let mut label = Label::default();
    let text = "van-12 2026-11-21 14:03:22Z 87 km/h";
    each("label", 1000, |_| Ok(label.draw(&mut out, text)?))?;
    each("label, new text", 200, |n| Ok(label.draw(&mut out, &format!("{text} {n}"))?))?;
    let began = WallTime { unix_ms: 1_795_269_802_000, uncertainty_ms: 5 };
    let mark = ViewMark::new(&ViewId::new(), "A. Berg", began, WIDTH, HEIGHT)?;
    each("view mark", 1000, |n| {
        mark.draw(&mut out, Duration::from_secs(n.into()), &[]);
        Ok(())
    })?;
    each("blur a face", 1000, |_| Ok(blur_face(&mut out, &face)?))?;
    let plate = PictureBox { x: 0.6, y: 0.7, w: 0.05, h: 0.02 };
    each("blur a plate", 1000, |_| Ok(blur_area(&mut out, &plate)?))?;
    each("blur the picture", 200, |_| Ok(blur_picture(&mut out)?))?;
    each("blur all but a face", 200, |_| Ok(blur_all_but(&mut out, Some(&face))?))?;
    let frame = first.clone().into_frame(CameraId::Road, MonoTime::ZERO);
    each("mean luma", 1000, |_| {
        black_box(brightness(&frame));
        Ok(())
    })?;
    each("picture statistics", 200, |_| {
        black_box(picture_stats(&frame, Vec::new()));
        Ok(())
    })?;
    each("a fresh picture, copied", 200, |_| {
        black_box(first.clone());
        Ok(())
    })?;

    let base = EncoderConfig::new(WIDTH, HEIGHT, 15);
    let mut source = None;
    for (kind, effort) in [
        (EncoderKind::X264, Effort::Ultrafast),
        (EncoderKind::X264, Effort::Superfast),
        (EncoderKind::X264, Effort::Veryfast),
        (EncoderKind::OpenH264, Effort::Superfast),
    ] {
        if let Err(e) = kind.available() {
            println!("{} is skipped: {e}", kind.as_str());
            continue;
        }
        let (stream, units, cost) =
            encode(&EncoderConfig { kind, effort, ..base.clone() }, &pictures)?;
        let bytes: usize = units.iter().map(|u| u.data.len()).sum();
        let name = format!("encode {} {}", kind.as_str(), effort.as_str());
        println!("{name:34} {cost:8.3} ms of CPU, {} kbit/s", bytes * 8 / 4 / 1000);
        if kind == EncoderKind::X264 && effort == Effort::Superfast {
            source = Some((stream, units));
        }
    }
    let (stream, units) = source.ok_or("x264 is not installed")?;
    let count = u32::try_from(units.len())?;
    let began = Instant::now();
    let mut decoder = Decoder::new(&stream, 1)?;
    println!("{:34} {:8.3} ms", "start a decoder", ms(began.elapsed(), 1));
    let began = cpu()?;
    for unit in &units {
        decoder.push(unit.clone())?;
        while decoder.try_next()?.is_some() {}
    }
    decoder.end()?;
    while decoder.next_last()?.is_some() {}
    let busy = cpu()?.saturating_sub(began);
    println!("{:34} {:8.3} ms of CPU", "decode", ms(busy, count));

    for effort in [Effort::Ultrafast, Effort::Superfast] {
        let (began, busy) = (Instant::now(), cpu()?);
        let config = EncoderConfig { effort, ..base.clone() };
        let mut transcoder = Transcoder::new(&stream, config, |picture, at| {
            mark.draw(picture, at.since(MonoTime::ZERO), &[]);
            Ok(())
        })?;
        let mut first = None;
        for unit in &units {
            let ready = transcoder.push(unit.clone())?;
            if first.is_none() && !ready.is_empty() {
                first = Some(began.elapsed());
            }
        }
        transcoder.finish(|_| true)?;
        let all = ms(cpu()?.saturating_sub(busy), count);
        let first = first.map_or(f64::NAN, |d| ms(d, 1));
        let name = format!("transcode {}", effort.as_str());
        println!("{name:34} {all:8.3} ms of CPU, first out after {first:.1} ms");
    }
    Ok(())
}
