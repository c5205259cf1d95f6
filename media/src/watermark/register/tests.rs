//! Leaks with a known truth come back to it; what is no leak of this original does not.

use std::{path::Path, process::Command, time::Duration};

use super::{
    Gray, Limits, Reference, RegisterError, align,
    homography::{Homography, corners_of},
    register,
    test_warps::{Filming, Truth, film, moving_scene},
};

const MILD: Filming = Filming {
    seed: 1,
    fill: 0.95,
    slant: 0.02,
    shake_px: 1.0,
    mirrored: false,
    begin_s: 0.7,
    length_s: 2.0,
    speed: 1.0,
    fps: 15.0,
    blur_px: 0.6,
    gamma: 1.0,
    gain: 0.9,
    noise: 1.5,
    moire: 0.0,
    sticker: false,
    size: (480, 270),
};
const MEDIUM: Filming = Filming {
    seed: 2,
    fill: 0.8,
    slant: 0.05,
    shake_px: 3.0,
    mirrored: true,
    begin_s: 1.1,
    speed: 1.03,
    fps: 24.0,
    blur_px: 0.8,
    gamma: 1.3,
    gain: 0.75,
    noise: 3.0,
    moire: 5.0,
    sticker: true,
    ..MILD
};
const HARD: Filming = Filming {
    seed: 3,
    fill: 0.55,
    slant: 0.09,
    shake_px: 6.0,
    mirrored: false,
    begin_s: 0.4,
    speed: 0.95,
    fps: 30.0,
    blur_px: 1.0,
    gamma: 0.8,
    gain: 0.6,
    noise: 4.0,
    moire: 9.0,
    sticker: true,
    ..MILD
};
const SMALL: Filming = Filming { fill: 0.45, ..MEDIUM };
const CROPPED: Filming = Filming { seed: 4, fill: 1.7, ..MEDIUM };
const REENCODED: Filming = Filming { seed: 5, fill: 1.0, slant: 0.0, shake_px: 0.0, ..MILD };

fn synthetic(seed: u64) -> Vec<Gray> {
    (0..125).map(|n| moving_scene(seed, 320, 180, f64::from(n) / 25.0)).collect()
}

/// Median error of the corners, pixels of the original; of the time, seconds; and the quality.
fn errors(
    reference: &Reference,
    original: &[Gray],
    leak: &[Gray],
    truth: &[Truth],
    mirrored: bool,
) -> (f64, f64, f64) {
    let found = register(reference, leak, &Limits::default()).unwrap();
    let Some(best) = found.first() else { return (f64::INFINITY, f64::INFINITY, 0.0) };
    assert_eq!(best.mirrored, mirrored);
    let size = reference.size();
    let (mut corner, mut time) = (vec![f64::INFINITY; leak.len()], vec![f64::INFINITY; leak.len()]);
    for map in &best.frames {
        let truth = &truth[map.leak];
        // Where the truth's corners come to lie in the original under what was found.
        let round = Homography(map.homography).inverse().unwrap().after(&truth.map);
        let leak_size = (leak[0].width, leak[0].height);
        corner[map.leak] = corners_seen(&round, &truth.map, size, leak_size);
        time[map.leak] = (map.at.as_secs_f64() - original[truth.frame].at.as_secs_f64()).abs();
    }
    corner.sort_by(f64::total_cmp);
    time.sort_by(f64::total_cmp);
    (corner[corner.len() / 2], time[time.len() / 2], best.quality)
}

/// The mean error over places of the original that the leak shows, towards its corners.
fn corners_seen(round: &Homography, truth: &Homography, size: (u32, u32), leak: (u32, u32)) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for row in 0..=6 {
        for column in 0..=6 {
            let place = (
                f64::from(size.0 - 1) * f64::from(column) / 6.0,
                f64::from(size.1 - 1) * f64::from(row) / 6.0,
            );
            let Some(seen) = truth.apply(place) else { continue };
            if seen.0 >= 0.0
                && seen.1 >= 0.0
                && seen.0 < f64::from(leak.0)
                && seen.1 < f64::from(leak.1)
            {
                let back = round.apply(place).unwrap_or((1e6, 1e6));
                sum += (back.0 - place.0).hypot(back.1 - place.1);
                count += 1;
            }
        }
    }
    sum / f64::from(count.max(1))
}

#[test]
fn leaks_of_a_drawn_scene_come_back() {
    let original = synthetic(1);
    let reference = Reference::new(original.clone()).unwrap();
    for (name, how, most_px) in [
        ("mild", MILD, 0.5),
        ("medium", MEDIUM, 1.0),
        ("hard", HARD, 1.5),
        ("cropped", CROPPED, 1.0),
        ("re-encoded", REENCODED, 0.5),
    ] {
        let (leak, truth) = film(&original, &how);
        let (px, s, quality) = errors(&reference, &original, &leak, &truth, how.mirrored);
        println!("{name}: {px:.2} px, {s:.3} s, quality {quality:.2}");
        assert!(px < most_px && s < 0.04, "{name}: {px} px, {s} s, quality {quality}");
    }
}

#[test]
fn another_scene_is_not_found() {
    let reference = Reference::new(synthetic(1)).unwrap();
    for seed in 2..4 {
        let (leak, _) = film(&synthetic(seed), &MILD);
        let limits = Limits { least_quality: 0.0, ..Limits::default() };
        let found = register(&reference, &leak, &limits).unwrap();
        let best = found.first().map_or(0.0, |found| found.quality);
        println!("another scene: quality {best:.2}");
        assert!(best < Limits::default().least_quality, "{best}");
    }
}

#[test]
fn aligned_pictures_are_the_original() {
    let original = synthetic(1);
    let reference = Reference::new(original.clone()).unwrap();
    let (leak, truth) =
        film(&original, &Filming { noise: 0.5, blur_px: 0.0, length_s: 0.5, ..MILD });
    let best = register(&reference, &leak, &Limits::default()).unwrap().remove(0);
    let map = best.frames[3];
    let aligned = align(&reference, &leak[map.leak], &map).unwrap();
    let want = reference.at(original[truth[map.leak].frame].at);
    assert_eq!(aligned.luma.len(), want.len());
    let pairs: Vec<(f32, f32)> = aligned
        .luma
        .iter()
        .zip(&want)
        .zip(&aligned.valid)
        .filter(|(_, v)| **v)
        .map(|((a, b), _)| (*a, *b))
        .collect();
    assert!(pairs.len() * 10 > want.len() * 9);
    let n = pairs.len() as f32;
    let (ma, mb) =
        (pairs.iter().map(|p| p.0).sum::<f32>() / n, pairs.iter().map(|p| p.1).sum::<f32>() / n);
    let cov: f32 = pairs.iter().map(|p| (p.0 - ma) * (p.1 - mb)).sum();
    let (va, vb): (f32, f32) = (
        pairs.iter().map(|p| (p.0 - ma).powi(2)).sum(),
        pairs.iter().map(|p| (p.1 - mb).powi(2)).sum(),
    );
    let alike = cov / (va * vb).sqrt();
    assert!(alike > 0.99, "{alike}");
}

#[test]
fn what_cannot_be_worked_on_is_refused() {
    let good = moving_scene(1, 64, 48, 0.0);
    let reference = Reference::new(vec![good.clone()]).unwrap();
    let limits = Limits::default();
    let later = Gray { at: Duration::from_secs(1), ..good.clone() };
    let flat = Gray { luma: vec![0; 64 * 48], ..good.clone() };
    let tiny = Gray { width: 1, height: 1, luma: vec![7], at: Duration::ZERO };
    let short = Gray { luma: vec![7; 9], ..good.clone() };
    let other = moving_scene(1, 80, 48, 0.0);
    assert!(matches!(Reference::new(vec![]), Err(RegisterError::NoFrames)));
    assert!(matches!(register(&reference, &[], &limits), Err(RegisterError::NoFrames)));
    assert!(matches!(register(&reference, &[tiny], &limits), Err(RegisterError::Picture { .. })));
    assert!(matches!(register(&reference, &[short], &limits), Err(RegisterError::Picture { .. })));
    assert!(matches!(
        register(&reference, &[good.clone(), other], &limits),
        Err(RegisterError::Sizes { frame: 1 })
    ));
    assert!(matches!(
        register(&reference, &[later, good.clone()], &limits),
        Err(RegisterError::Order { frame: 1 })
    ));
    let many = vec![good.clone(); super::MAX_FRAMES + 1];
    assert!(matches!(register(&reference, &many, &limits), Err(RegisterError::TooLarge { .. })));
    assert!(register(&reference, std::slice::from_ref(&flat), &limits).unwrap().is_empty());
    let dark = Reference::new(vec![flat]).unwrap();
    assert!(register(&dark, std::slice::from_ref(&good), &limits).unwrap().is_empty());
    let map = super::FrameMap { leak: 0, at: Duration::ZERO, homography: [0.0; 9], quality: 0.0 };
    assert!(matches!(align(&reference, &good, &map), Err(RegisterError::Degenerate)));
    assert_eq!(corners_of((64, 48))[2], (63.0, 47.0));
}

/// Frames of a file beside the checkout at the working size; `None` with a line where it is absent.
fn recorded(path: &str, size: (u32, u32), fps: u32, seconds: u32) -> Option<Vec<Gray>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(path);
    if !root.exists() {
        println!("skipped: {path} is not beside the checkout");
        return None;
    }
    let filter = format!("fps={fps},scale={}:{},format=gray", size.0, size.1);
    let length = seconds.to_string();
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&root)
        .args(["-t", &length, "-vf", &filter, "-f", "rawvideo", "-"])
        .output();
    let Ok(out) = out else {
        println!("skipped: the ffmpeg program is absent");
        return None;
    };
    let area = crate::rounding::index(size.0 * size.1);
    let frames = out.stdout.chunks_exact(area).enumerate();
    Some(
        frames
            .map(|(n, luma)| Gray {
                width: size.0,
                height: size.1,
                luma: luma.to_vec(),
                at: Duration::from_secs_f64(n as f64 / f64::from(fps)),
            })
            .collect(),
    )
}

struct Recording {
    path: &'static str,
    size: (u32, u32),
    screen: (u32, u32),
}

const CABIN: Recording =
    Recording { path: "driver_video/head_turns.mp4", size: (202, 360), screen: (480, 640) };
const ROAD: Recording =
    Recording { path: "road_video/highway_white.mp4", size: (640, 360), screen: (640, 480) };

/// Films a recording and looks how far off the registration is: pixels and quality; `None` where
/// the recording is absent.
fn filmed(recording: &Recording, name: &str, how: &Filming) -> Option<(f64, f64, f64)> {
    let original = recorded(recording.path, recording.size, 20, 6)?;
    let reference = Reference::new(original.clone()).unwrap();
    let (leak, truth) = film(&original, &Filming { size: recording.screen, ..*how });
    let start = std::time::Instant::now();
    let (px, s, quality) = errors(&reference, &original, &leak, &truth, how.mirrored);
    let (frames, took) = (leak.len(), start.elapsed());
    println!("{name}: {px:.2} px, {s:.3} s, quality {quality:.2}, {frames} frames in {took:?}");
    Some((px, s, quality))
}

fn comes_back(recording: &Recording, name: &str, how: &Filming, most_px: f64) {
    let Some((px, s, quality)) = filmed(recording, name, how) else { return };
    assert!(px < most_px && s < 0.04, "{name}: {px} px, {s} s, quality {quality}");
}

#[test]
fn a_cabin_mildly_filmed_comes_back() {
    comes_back(&CABIN, "cabin, mild", &MILD, 1.0);
}

#[test]
fn a_cabin_filmed_with_care_for_nothing_comes_back() {
    comes_back(&CABIN, "cabin, medium", &MEDIUM, 1.0);
}

#[test]
fn a_cabin_hard_to_see_comes_back() {
    comes_back(&CABIN, "cabin, hard", &HARD, 2.0);
}

#[test]
fn a_cabin_on_a_small_screen_comes_back() {
    comes_back(&CABIN, "cabin, small", &SMALL, 1.0);
}

#[test]
fn a_road_mildly_filmed_comes_back() {
    comes_back(&ROAD, "road, mild", &MILD, 1.0);
}

#[test]
fn a_road_filmed_with_care_for_nothing_comes_back() {
    comes_back(&ROAD, "road, medium", &MEDIUM, 2.0);
}

#[test]
fn a_road_hard_to_see_comes_back() {
    comes_back(&ROAD, "road, hard", &HARD, 2.0);
}
