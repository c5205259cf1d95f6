//! Whether the forensic mark names the view that a leak came from: real clips are marked, attacked
//! ([`crate::attacks`]) and traced.
//!
//! A view counts as named where its p-value, for 10,000 views and all registrations that were tried, is
//! at most 1e-9. Whether an innocent view is named is tried with a thousand of them; the bound itself
//! rests on no trial (`docs/forensic-mark.md`).

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use temoin_media::{
    frame::I420Picture,
    watermark::{
        Embedder, Grid,
        detect::{Evidence, p_value},
        register::{Gray, Limits, Reference},
        residual::{Luma, residual},
        trace::{Traced, trace},
    },
};
use temoin_proto::{ids::ViewId, mark::MarkKey, sealed::TrackName};

use crate::{
    attacks::{
        Attack, Clip, Severity, clip,
        clip::{Coding, Rate},
    },
    figures::{Figure, median},
};

/// Views that a clip is taken to have.
const VIEWS: u64 = 10_000;
/// The chance of naming anybody innocent in a trace.
const BOUND: f64 = 1e-9;
/// Innocent views that are scored against each leak.
const DECOYS: u128 = 1000;
/// The shorter side of the original as it is compared, pixels.
const WORKING: u32 = 360;
/// How much of a recording is used.
const LONGEST: Duration = Duration::from_secs(10);
/// A plain re-encode, kbit/s, in which the mark of the unit must be found.
const PLAIN_KBIT: u32 = 600;
/// What a viewer's copy is coded with: the server's quality.
const VIEW: Coding =
    Coding { rate: Rate::Quality(23), preset: "veryfast", b_pictures: 0, shorter_side: None };

/// What the figures are made of.
struct Trial {
    severity: Severity,
    length: Length,
    named: bool,
    wrong: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Three,
    Six,
    Full,
}

/// A recording, marked with the view's key, as its viewer has it.
struct Scene {
    name: String,
    original: Clip,
    copy: Clip,
    psnr_db: Vec<f64>,
}

fn key(view: u128) -> MarkKey {
    MarkKey::from_bytes([7; 32]).of_view(ViewId::from_bytes(view.to_be_bytes()))
}

/// The figures, and a line for each trial; so many leaks of each kind.
///
/// # Errors
/// Where there is no ffmpeg, or a recording cannot be used.
pub fn figures(data: &Path, seeds: u64, say: &dyn Fn(&str)) -> Result<Vec<Figure>> {
    let (mut trials, mut psnr, mut unit_z, mut seconds) = (vec![], vec![], vec![], vec![]);
    let mut names = Vec::new();
    for path in recordings(data)? {
        let scene = Scene::of(&path)?;
        psnr.extend(scene.psnr_db.iter().copied());
        unit_z.push(scene.plain_unit_z()?);
        let reference = Reference::new(grays(&scene.original, Some(WORKING))?)?;
        for (severity, length) in [
            (Severity::SiteOnly, Length::Full),
            (Severity::Mild, Length::Six),
            (Severity::Medium, Length::Six),
            (Severity::Mild, Length::Three),
            (Severity::Medium, Length::Three),
            (Severity::Hard, Length::Full),
            (Severity::Extreme, Length::Full),
        ] {
            for seed in 0..seeds {
                let leak = scene.leak(severity, length, seed)?;
                let began = Instant::now();
                let traced = trace(&reference, &grays(&leak, None)?, &Limits::default())?;
                let trial = judged(&traced, severity, length);
                seconds.push(began.elapsed().as_secs_f64());
                say(&trial.1.replace("leak", &format!("{} seed {seed}", scene.name)));
                trials.push(trial.0);
            }
        }
        names.push(scene.name);
    }
    let set = names.join(", ");
    let rate = |name: &'static str, wanted: &dyn Fn(&Trial) -> bool, goal: &'static str| {
        let chosen: Vec<&Trial> = trials.iter().filter(|trial| wanted(trial)).collect();
        let named = chosen.iter().filter(|trial| trial.named).count();
        let value = named as f64 / chosen.len().max(1) as f64;
        Figure::new(name, value, "1", chosen.len(), set.clone()).goal(goal)
    };
    let everyday = |trial: &Trial| matches!(trial.severity, Severity::Mild | Severity::Medium);
    let hardest = |trial: &Trial| trial.severity == Severity::Extreme;
    let wrong = trials.iter().filter(|trial| trial.wrong).count();
    let of = |name, value, unit, count| Figure::new(name, value, unit, count, set.clone());
    Ok(vec![
        of("mark.psnr_db", mean(&psnr), "dB", psnr.len()).goal("at least 43"),
        rate(
            "mark.named.everyday_6s",
            &|trial| everyday(trial) && trial.length == Length::Six,
            "at least 0.98",
        ),
        rate(
            "mark.named.everyday_3s",
            &|trial| everyday(trial) && trial.length == Length::Three,
            "at least 0.9",
        ),
        rate("mark.named.hard_full", &|trial| trial.severity == Severity::Hard, "none set"),
        rate("mark.named.hardest_full", &hardest, "at least 0.9"),
        rate("mark.named.site_only", &|trial| trial.severity == Severity::SiteOnly, "1"),
        of("mark.wrong", wrong as f64, "leaks", trials.len()).goal("0"),
        of("mark.unit.least_z_600k", least(&unit_z), "1", unit_z.len()).goal("at least 7"),
        of("trace.seconds_a_leak", median(&seconds)?, "s", seconds.len()),
    ])
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The videos of cabin and road.
fn recordings(data: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in ["driver_video", "road_video"] {
        let folder = data.join(folder);
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "mp4") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

impl Scene {
    fn of(path: &Path) -> Result<Self> {
        let whole = Clip::read(path)?;
        let original = clip::cut(&whole, Duration::ZERO, LONGEST);
        let (width, height) = original.size()?;
        let mut embedder = Embedder::new(&key(0), TrackName::Road, width, height);
        let mut psnr_db = Vec::new();
        let mut marked = original.clone();
        for (at, picture) in &mut marked.pictures {
            let before = picture.clone();
            embedder.mark(picture, *at);
            psnr_db.push(psnr(&before, picture));
        }
        let copy = marked.coded(&VIEW)?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("clip").to_owned();
        Ok(Self { name, original, copy, psnr_db })
    }

    /// The seed says where the part that leaks begins.
    fn leak(&self, severity: Severity, length: Length, seed: u64) -> Result<Clip> {
        let whole_s = self.copy.end_s();
        let part = match length {
            Length::Full => return Attack::Camcord(severity).apply(&self.copy, seed),
            Length::Three => 3.0,
            Length::Six => 6.0,
        };
        let from_s = (whole_s - part).max(0.0) * (seed % 4) as f64 / 3.0_f64.max(seed as f64);
        let (from, part) = (Duration::from_secs_f64(from_s), Duration::from_secs_f64(part));
        Attack::Camcord(severity).apply(&clip::cut(&self.copy, from, part), seed)
    }

    /// How well the mark is found in a plain re-encode without the original, as the unit's is.
    fn plain_unit_z(&self) -> Result<f64> {
        let coding = Coding { rate: Rate::Kbit(PLAIN_KBIT), shorter_side: None, ..Coding::site(0) };
        let plain = grays(&self.copy.coded(&coding)?, Some(WORKING))?;
        let first = plain.first().context("no pictures")?;
        let grid = Grid::of(first.width, first.height);
        let (width, height) = (usize::try_from(first.width)?, usize::try_from(first.height)?);
        let (flat, seen) = (vec![0.0; width * height], vec![true; width * height]);
        let mut evidence = Evidence::new(grid);
        for gray in &plain {
            let luma: Vec<f32> = gray.luma.iter().map(|y| f32::from(*y)).collect();
            let of = |luma| Luma { width, height, luma };
            if let Some(left) = residual(grid, of(&flat), of(&luma), &seen) {
                evidence.add(gray.at, &left);
            }
        }
        Ok(evidence.finish().z(&key(0).signs(TrackName::Road)))
    }
}

/// Luma alone, scaled so that the shorter side is this.
fn grays(clip: &Clip, shorter: Option<u32>) -> Result<Vec<Gray>> {
    let (width, height) = clip.size()?;
    let even = |side: u32, wanted: u32| (side * wanted / width.min(height)).max(2) / 2 * 2;
    let size =
        shorter.map_or((width, height), |wanted| (even(width, wanted), even(height, wanted)));
    clip.pictures
        .iter()
        .map(|(at, picture)| {
            let scaled = picture.view().resize(size.0, size.1)?;
            let luma = scaled.view().luma().to_vec();
            Ok(Gray { width: size.0, height: size.1, luma, at: *at })
        })
        .collect()
}

fn psnr(a: &I420Picture, b: &I420Picture) -> f64 {
    let pairs = a.view().luma().iter().zip(b.view().luma());
    let (mut sum, mut n) = (0.0, 0.0);
    for (a, b) in pairs {
        sum += f64::from(a.abs_diff(*b)).powi(2);
        n += 1.0;
    }
    10.0 * (255.0_f64.powi(2) / (sum / n)).log10()
}

/// Who is named, and a line that says how.
fn judged(traced: &[Traced], severity: Severity, length: Length) -> (Trial, String) {
    let looks = VIEWS * traced.len().max(1) as u64;
    let best = |view: u128| {
        let signs = key(view).signs(TrackName::Road);
        traced.iter().map(|way| way.evidence.z(&signs)).fold(0.0, f64::max)
    };
    let z = best(0);
    let innocent = (1..=DECOYS).map(best).fold(0.0, f64::max);
    let is_named = |z: f64| p_value(z, looks) <= BOUND;
    let ways: Vec<String> = traced
        .iter()
        .map(|way| {
            let registration = &way.registration;
            format!(
                "{:.2} of {} frames{}",
                registration.quality,
                registration.frames.len(),
                if registration.mirrored { " mirrored" } else { "" }
            )
        })
        .collect();
    let seconds = match length {
        Length::Three => "3 s",
        Length::Six => "6 s",
        Length::Full => "all",
    };
    let text = format!(
        "  {:9} {seconds:3} leak: z {z:.1}, best innocent {innocent:.1}, likeness [{}]{}",
        severity.name(),
        ways.join(", "),
        if is_named(z) { "" } else { "  NOT NAMED" }
    );
    let trial = Trial { severity, length, named: is_named(z), wrong: is_named(innocent) };
    (trial, text)
}
