//! Camera health on recorded clips, degraded in known ways: what is wrong is told within 10 s and
//! taken back when it is over, and nothing is told of nights, tunnels and walls.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "pixels and seconds of test pictures"
)]

use std::sync::OnceLock;

use bytes::Bytes;
use temoin_agent_core::camera_health::{CameraFault, CameraWatch};
use temoin_hw::{
    Camera,
    drive::VideoInput,
    video_file::{PictureSize, VideoFile},
};
use temoin_proto::{
    samples::{CameraId, Frame, PixelFormat},
    time::MonoTime,
};

use crate::camera_stats::CameraStats;

const WIDTH: usize = 480;
const HEIGHT: usize = 270;
/// Pictures a second of every story but those of flicker.
const RATE: usize = 2;

type Luma = Vec<f32>;

/// A clip's luma at [`RATE`], to be played in a loop: the rows from `top` of pictures of this height.
fn clip(name: &str, height: usize, top: usize) -> Option<Vec<Luma>> {
    let root = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let file = root.join(name);
    if !file.exists() {
        println!("skipped: no shared data `{name}` beside the checkout");
        return None;
    }
    let input = VideoInput { file, start_s: 0.0, length_s: None, offset_s: 0.0, looped: false };
    let size = PictureSize { width: WIDTH as u32, height: height as u32, fps: 10 };
    let mut video = VideoFile::open(CameraId::Road, &input, size, MonoTime::ZERO).unwrap();
    let mut clip = Vec::new();
    let mut n = 0;
    while let Some(frame) = video.next_frame().unwrap() {
        if n % (10 / RATE) == 0 {
            let rows = &frame.data[top * WIDTH..(top + HEIGHT) * WIDTH];
            clip.push(rows.iter().map(|p| f32::from(*p)).collect());
        }
        n += 1;
    }
    Some(clip)
}

fn road() -> Option<Vec<Luma>> {
    clip("road_video/highway_white.mp4", HEIGHT, 0)
}

/// The driver's face: the clip is upright, a camera's picture is not.
fn cabin() -> Option<Vec<Luma>> {
    clip("driver_video/head_turns.mp4", (WIDTH * 16 / 9) & !1, 180)
}

/// Normal noise of deviation 1, as good as never the same twice.
fn noise() -> &'static [f32] {
    static TABLE: OnceLock<Vec<f32>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut random = random(7);
        (0..1 << 20).map(|_| (0..12).map(|_| random()).sum::<f32>() - 6.0).collect()
    })
}

/// SplitMix64, 0 to 1.
fn random(mut seed: u64) -> impl FnMut() -> f32 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 40) as f32 / (1 << 24) as f32
    }
}

/// A camera's luma from the scene's.
fn exposed(scene: &[f32], gain: f32, sigma: f32, n: usize) -> Luma {
    let table = noise();
    let offset = (n * 7919 * 131) % (table.len() - scene.len());
    scene
        .iter()
        .zip(&table[offset..])
        .map(|(p, noise)| 16.0 + (p - 16.0) * gain + noise * sigma)
        .collect()
}

fn blurred(scene: &[f32], radius: usize) -> Luma {
    // Three box blurs are close to a lens out of focus; by sums along rows and columns.
    let mut luma = scene.to_vec();
    for _ in 0..3 {
        for (count, length, step, stride) in [(HEIGHT, WIDTH, 1, WIDTH), (WIDTH, HEIGHT, WIDTH, 1)]
        {
            for line in 0..count {
                let at = |k: usize| line * stride + k * step;
                let row: Vec<f32> = (0..length).map(|k| luma[at(k)]).collect();
                let mut sum: f32 = row[..radius].iter().sum();
                for k in 0..length {
                    if k + radius < length {
                        sum += row[k + radius];
                    }
                    if k > radius {
                        sum -= row[k - radius - 1];
                    }
                    let n = (k + radius).min(length - 1) - k.saturating_sub(radius) + 1;
                    luma[at(k)] = sum / n as f32;
                }
            }
        }
    }
    luma
}

fn shifted(scene: &[f32], dx: usize, dy: usize) -> Luma {
    (0..WIDTH * HEIGHT)
        .map(|n| {
            let (x, y) = (n % WIDTH, n / WIDTH);
            scene[(y + dy) % HEIGHT * WIDTH + (x + dx) % WIDTH]
        })
        .collect()
}

/// A round light with a soft edge.
fn light(luma: &mut [f32], (x, y): (f32, f32), radius: f32, bright: f32) {
    let (w, h) = (WIDTH as f32, HEIGHT as f32);
    let (low, high) = (((y * h) - 4.0 * radius).max(0.0), ((y * h) + 4.0 * radius).min(h));
    for row in low as usize..high as usize {
        for column in 0..WIDTH {
            let (dx, dy) = (column as f32 - x * w, row as f32 - y * h);
            let far = (dx * dx + dy * dy) / (radius * radius);
            luma[row * WIDTH + column] += bright * (-far).exp();
        }
    }
}

/// What a story showed: time, fault.
struct Told(Vec<(f64, Option<CameraFault>)>);

impl Told {
    /// When this fault was first told.
    fn first(&self, fault: CameraFault) -> Option<f64> {
        self.0.iter().find(|(_, f)| *f == Some(fault)).map(|(s, _)| *s)
    }

    fn faults(&self) -> Vec<(f64, CameraFault)> {
        self.0.iter().filter_map(|(s, f)| Some((*s, (*f)?))).collect()
    }

    fn at(&self, seconds: f64) -> Option<CameraFault> {
        self.0.iter().take_while(|(s, _)| *s <= seconds).last().and_then(|(_, f)| *f)
    }
}

/// Plays pictures of a rate; None is one that does not come. Gives what changed.
fn play(
    seconds: usize,
    rate: usize,
    speed_mps: impl Fn(f64) -> Option<f64>,
    mut picture: impl FnMut(usize, f64) -> Option<Luma>,
) -> Told {
    let mut watch = CameraWatch::new(std::time::Duration::from_secs(5));
    let mut stats = CameraStats::default();
    let mut told = vec![(0.0, None)];
    for n in 0..seconds * rate {
        let s = n as f64 / rate as f64;
        let at = MonoTime::from_secs_f64(s + 100.0);
        if let Some(luma) = picture(n, s) {
            let data: Vec<u8> = luma.iter().map(|p| p.round().clamp(0.0, 255.0) as u8).collect();
            let frame = Frame {
                camera: CameraId::Road,
                at,
                width: WIDTH as u32,
                height: HEIGHT as u32,
                format: PixelFormat::Gray8,
                data: Bytes::from(data),
            };
            if let Some(stats) = stats.take(&frame) {
                watch.step(&stats, speed_mps(s));
            }
        }
        watch.tick(at);
        if let Some(fault) = watch.changed() {
            told.push((s, fault));
        }
    }
    Told(told)
}

fn unknown(_: f64) -> Option<f64> {
    None
}

const BEGINS: f64 = 14.0;
const ENDS: f64 = 30.0;

/// A fault from [`BEGINS`] to [`ENDS`] is told within 10 s, as what it is, and taken back.
fn check(
    name: &str,
    clip: &[Luma],
    fault: CameraFault,
    show: impl Fn(usize, &[f32]) -> Option<Luma>,
) {
    let lights = [("day", 1.0, 0.7), ("dusk", 0.5, 2.0), ("night", 0.2, 3.0)];
    for (light, gain, sigma) in lights {
        // A little blur is lost in the noise of a night.
        if (name, light) == ("out of focus", "night") {
            continue;
        }
        let told = play(42, RATE, unknown, |n, s| {
            let scene = &clip[n % clip.len()];
            if (BEGINS..ENDS).contains(&s) {
                // What covers the lens or the scene is as dark as the rest.
                show(n, scene).map(|scene| exposed(&scene, gain, sigma, n))
            } else {
                Some(exposed(scene, gain, sigma, n))
            }
        });
        let said = told.faults();
        let first = told.first(fault);
        println!("{name} by {light}: {said:?}, clear at {:?}", told.0.last());
        assert!(
            first.is_some_and(|s| (BEGINS..BEGINS + 10.0).contains(&s)),
            "{name} by {light}: {said:?}"
        );
        assert!(said.iter().all(|(_, f)| *f == fault), "{name} by {light}: {said:?}");
        assert_eq!(told.at(ENDS + 10.0), None, "{name} by {light}: {:?}", told.0);
        assert!(told.at(ENDS - 0.5).is_some());
    }
}

fn check_all(clip: &[Luma]) {
    use CameraFault::{Covered, Defocused, Silent, Turned};
    check("no pictures", clip, Silent, |_, _| None);
    check("covered", clip, Covered, |_, _| Some(vec![20.0; WIDTH * HEIGHT]));
    check("covered, bright", clip, Covered, |_, _| Some(vec![90.0; WIDTH * HEIGHT]));
    check("covered by a hand", clip, Covered, |n, _| {
        // Light shines through at one side, and the hand moves a little.
        let mut luma = vec![30.0; WIDTH * HEIGHT];
        light(&mut luma, (0.1 + 0.01 * (n % 5) as f32, 0.2), 200.0, 60.0);
        Some(luma)
    });
    check("turned aside", clip, Turned, |_, scene| Some(shifted(scene, WIDTH * 2 / 5, 0)));
    check("turned aside and up", clip, Turned, |_, scene| {
        Some(shifted(scene, WIDTH / 4, HEIGHT / 4))
    });
    check("out of focus", clip, Defocused, |_, scene| Some(blurred(scene, 2)));
    check("far out of focus", clip, Defocused, |_, scene| Some(blurred(scene, 5)));
}

#[test]
fn faults_of_the_road_camera_are_told() {
    if let Some(clip) = road() {
        check_all(&clip);
    }
}

#[test]
fn faults_of_the_cabin_camera_are_told() {
    if let Some(clip) = cabin() {
        check_all(&clip);
    }
}

#[test]
fn frozen_and_wrongly_exposed_pictures_are_told() {
    for clip in [road(), cabin()].into_iter().flatten() {
        for (gain, sigma) in [(1.0, 0.7), (0.3, 2.0)] {
            for tremble in [0.0, 0.2] {
                let told = play(42, RATE, unknown, |n, s| {
                    let frozen = (BEGINS..ENDS).contains(&s);
                    let at = if frozen { BEGINS as usize * RATE } else { n };
                    let luma = exposed(&clip[at % clip.len()], gain, sigma, at);
                    // As coding it again would.
                    Some(
                        luma.iter()
                            .zip(&noise()[n..])
                            .map(|(p, x)| p.round() + x * tremble)
                            .collect(),
                    )
                });
                let first = told.first(CameraFault::Frozen).unwrap_or(99.0);
                assert!((BEGINS..BEGINS + 10.0).contains(&first), "{:?}", told.0);
                assert_eq!(told.at(ENDS + 10.0), None, "{:?}", told.0);
                assert_eq!(told.faults().len(), 1, "{:?}", told.0);
            }
        }
        for gain in [4.0, 0.01] {
            let told = play(42, RATE, unknown, |n, s| {
                let wrong = (BEGINS..ENDS).contains(&s);
                let scene = &clip[n % clip.len()];
                let bright = gain > 1.0;
                Some(match (wrong, bright) {
                    (false, _) => exposed(scene, 1.0, 0.7, n),
                    (true, true) => exposed(scene, gain, 0.7, n).iter().map(|p| p + 60.0).collect(),
                    (true, false) => scene.iter().map(|p| p * 0.05).collect(),
                })
            });
            let first = told.first(CameraFault::Exposure).unwrap_or(99.0);
            assert!((BEGINS..BEGINS + 10.0).contains(&first), "{gain}: {:?}", told.0);
            assert_eq!(told.at(ENDS + 10.0), None, "{gain}: {:?}", told.0);
        }
    }
}

#[test]
fn flicker_is_told_and_slow_changes_are_not() {
    let Some(clip) = road() else { return };
    for (hz, told_as) in [
        (5.0, Some(CameraFault::Flicker)),
        (6.7, Some(CameraFault::Flicker)),
        (0.7, None),
        (1.7, None),
    ] {
        let told = play(45, 15, unknown, |n, s| {
            let wave = if s >= 15.0 { (s * hz * std::f64::consts::TAU).sin() as f32 } else { 0.0 };
            let scene = &clip[n * RATE / 15 % clip.len()];
            Some(exposed(scene, 0.8 + 0.08 * wave, 1.0, n))
        });
        let faults: Vec<_> = told.faults();
        assert_eq!(faults.first().map(|f| f.1), told_as, "{hz} Hz: {faults:?}");
        if let Some((first, _)) = faults.first() {
            assert!((15.0..25.0).contains(first), "{hz} Hz: {faults:?}");
        }
    }
}

#[test]
fn a_night_is_no_fault() {
    for (name, clip) in [("road", road()), ("cabin", cabin())] {
        let Some(clip) = clip else { continue };
        for (gain, sigma) in [
            (1.0, 0.0),
            (1.0, 3.0),
            (0.5, 2.0),
            (0.2, 3.0),
            (0.1, 4.0),
            (0.05, 5.0),
            (0.02, 5.0),
            (0.1, 0.0),
            (0.04, 0.5),
        ] {
            let told = play(60, RATE, unknown, |n, _| {
                Some(exposed(&clip[n % clip.len()], gain, sigma, n))
            });
            assert_eq!(told.faults(), [], "{name} {gain} {sigma}");
        }
        // The evening comes, and the morning.
        let told = play(120, RATE, unknown, |n, s| {
            let dark = (1.0 - (s / 60.0 - 1.0).abs()) as f32;
            let gain = 0.02_f32.powf(dark);
            Some(exposed(&clip[n % clip.len()], gain, 0.7 + 5.0 * dark, n))
        });
        assert_eq!(told.faults(), [], "{name}, evening");
        // A lamp goes out, and on again.
        let told = play(60, RATE, unknown, |n, s| {
            let (gain, sigma) = if s % 25.0 < 12.0 { (0.6, 1.0) } else { (0.02, 5.0) };
            Some(exposed(&clip[n % clip.len()], gain, sigma, n))
        });
        assert_eq!(told.faults(), [], "{name}, lamp");
    }
}

#[test]
fn headlights_in_the_dark_are_no_fault() {
    for (name, clip) in [("road", road()), ("cabin", cabin())] {
        let Some(clip) = clip else { continue };
        for gain in [0.0, 0.03] {
            let told = play(
                90,
                RATE,
                |_| Some(20.0),
                |n, s| {
                    let mut luma = exposed(&clip[n % clip.len()], gain, 4.0, n);
                    // Now and then somebody comes towards us; else there is nothing to be seen.
                    let passing = s % 14.0;
                    if s > 5.0 && passing < 5.0 {
                        let x = 0.55 + 0.08 * passing as f32;
                        light(&mut luma, (x, 0.5), 4.0 + 4.0 * passing as f32, 220.0);
                    }
                    Some(luma)
                },
            );
            assert_eq!(told.faults(), [], "{name} {gain}");
        }
    }
}

#[test]
fn a_tunnel_is_no_fault() {
    let Some(clip) = road() else { return };
    for adapted in [0.25_f32, 0.6, 1.0] {
        let told = play(
            100,
            RATE,
            |_| Some(22.0),
            |n, s| {
                let scene = &clip[n % clip.len()];
                let inside = (30.0..75.0).contains(&s);
                if !inside {
                    // The mouth grows in the middle of the picture.
                    let near = ((s - 27.0) / 3.0).clamp(0.0, 1.0) as f32;
                    let mut luma = exposed(scene, 1.0, 0.7, n);
                    if s < 30.0 && near > 0.0 {
                        for (k, pixel) in luma.iter_mut().enumerate() {
                            let (x, y) = (k % WIDTH, k / WIDTH);
                            let dx = (x as f32 / WIDTH as f32 - 0.5).abs() * 2.0;
                            let dy = (y as f32 / HEIGHT as f32 - 0.45).abs() * 2.0;
                            if dx.max(dy) < near * near {
                                *pixel = 16.0 + (*pixel - 16.0) * 0.1;
                            }
                        }
                    }
                    return Some(luma);
                }
                // Dark at first, then the camera adapts; lamps on the ceiling, walls instead of sky.
                let gain = adapted.min(0.1 + (s - 30.0) as f32 * 0.3);
                let mut tunnel: Luma = scene
                    .iter()
                    .enumerate()
                    .map(|(k, p)| {
                        let y = k / WIDTH;
                        if y < HEIGHT / 2 { 50.0 + 0.1 * p } else { 30.0 + 0.6 * p }
                    })
                    .collect();
                for lamp in 0..5 {
                    let far = ((lamp as f32 + (s * 2.0).fract() as f32) / 5.0).powi(2);
                    for side in [-1.0, 1.0] {
                        let at = (0.5 + side * 0.3 * far, 0.45 - 0.4 * far);
                        light(&mut tunnel, at, 2.0 + 12.0 * far, 180.0);
                    }
                }
                Some(exposed(&tunnel, gain, 2.5, n))
            },
        );
        assert_eq!(told.faults(), [], "{adapted}");
    }
}

#[test]
fn a_wall_in_front_of_a_parked_van_is_no_fault() {
    let Some(clip) = road() else { return };
    for speed_known in [true, false] {
        let speed = |s: f64| {
            speed_known.then_some(if s < 20.0 {
                8.0
            } else if s < 30.0 {
                1.5
            } else {
                0.0
            })
        };
        let told = play(120, RATE, speed, |n, s| {
            // The wall comes nearer for ten seconds, stays for a minute, and goes again.
            let near = ((s - 20.0) / 10.0).min((100.0 - s) / 10.0).clamp(0.0, 1.0) as f32;
            let scene = &clip[if s < 30.0 { n } else { 0 } % clip.len()];
            let mixed: Luma = scene
                .iter()
                .enumerate()
                .map(|(k, p)| {
                    let (x, y) = ((k % WIDTH) as f32, (k / WIDTH) as f32);
                    let (dx, dy) = (x / WIDTH as f32 - 0.5, y / HEIGHT as f32 - 0.5);
                    // Smooth plaster, a little darker towards the edges.
                    let wall = 150.0 - 30.0 * (dx * dx + dy * dy);
                    if dx.abs().max(dy.abs()) * 2.0 < near { wall } else { *p }
                })
                .collect();
            Some(exposed(&mixed, 1.0, 1.5, n))
        });
        assert_eq!(told.faults(), [], "speed known: {speed_known}");
    }
}

#[test]
fn what_the_clips_show_is_no_fault_at_their_own_rate() {
    for clip in [road(), cabin()].into_iter().flatten() {
        let told = play(40, 15, unknown, |n, _| {
            Some(exposed(&clip[n * RATE / 15 % clip.len()], 1.0, 0.7, n))
        });
        assert_eq!(told.faults(), []);
    }
}
