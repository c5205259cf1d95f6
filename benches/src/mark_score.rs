//! Whether the forensic mark names the view that a leak came from: real clips are marked, attacked
//! ([`crate::attacks`]) and traced.
//!
//! A view counts as named where its p-value, for 10,000 views and all registrations that were tried, is
//! at most 1e-9. Whether an innocent view is named is tried with a thousand of them; the bound itself
//! rests on no trial (`docs/forensic-mark.md`).

mod scene;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use temoin_media::watermark::{
    detect::p_value,
    register::{Limits, Reference},
    trace::{Traced, trace},
};
use temoin_proto::{ids::ViewId, mark::MarkKey, sealed::TrackName};

use scene::{Scene, grays};

use crate::{
    attacks::{
        Attack, Clip, Collusion, Severity,
        clip::{Coding, Rate},
        collude,
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

/// Viewers who put their copies together.
const COLLUDERS: u128 = 5;
/// Threads that score views, as on the server.
const THREADS: u64 = 2;

/// What the figures are made of.
struct Trial {
    what: What,
    named: bool,
    wrong: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Filmed(Severity, Length),
    /// Anything but filming.
    Edited,
    /// Of five copies.
    Colluded,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Three,
    Six,
    Full,
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
    let (mut names, mut views_s, mut peers) = (Vec::new(), Vec::new(), Vec::new());
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
                let traced = traced(&reference, &leak)?;
                seconds.push(began.elapsed().as_secs_f64());
                views_s.push(seconds_of_views(&traced));
                let name = format!("{:9} {:3}", severity.name(), length.name());
                let line = format!("{name} {} seed {seed}", scene.name);
                trials.push(judged(&traced, What::Filmed(severity, length), 1, &line, say));
            }
        }
        for attack in Attack::all() {
            if matches!(attack, Attack::Item(_) | Attack::Camcord(_)) {
                continue;
            }
            let traced = traced(&reference, &attack.apply(&scene.copy, 0)?)?;
            let line = format!("{} {}", attack.name(), scene.name);
            trials.push(judged(&traced, What::Edited, 1, &line, say));
        }
        for (severity, length) in [
            (Severity::SiteOnly, Length::Full),
            (Severity::Mild, Length::Six),
            (Severity::Medium, Length::Six),
            (Severity::Hard, Length::Full),
        ] {
            let (found, wrong) = scene.peer(severity, length)?;
            let not = if found { "" } else { " NOT" };
            let name = format!("{:9} {:3}", severity.name(), length.name());
            say(&format!(
                "  {name} {} seed 0: the blind mark (DwtDct) is{not} found, {:.0} % of its bits wrong",
                scene.name,
                wrong * 100.0
            ));
            peers.push(found);
        }
        let copies = scene.copies(COLLUDERS)?;
        for how in Collusion::ALL {
            let leak = Attack::Camcord(Severity::SiteOnly).apply(&collude(&copies, how, 0)?, 0)?;
            let line = format!("{} of {COLLUDERS} {}", how.name(), scene.name);
            let traced = traced(&reference, &leak)?;
            trials.push(judged(&traced, What::Colluded, COLLUDERS, &line, say));
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
    let everyday = |trial: &Trial, length| {
        [Severity::Mild, Severity::Medium].map(|s| What::Filmed(s, length)).contains(&trial.what)
    };
    let full = |trial: &Trial, severity| trial.what == What::Filmed(severity, Length::Full);
    let wrong = trials.iter().filter(|trial| trial.wrong).count();
    let of = |name, value, unit, count| Figure::new(name, value, unit, count, set.clone());
    Ok(vec![
        of("mark.psnr_db", mean(&psnr), "dB", psnr.len()).goal("at least 43"),
        rate("mark.named.everyday_6s", &|trial| everyday(trial, Length::Six), "at least 0.98"),
        rate("mark.named.everyday_3s", &|trial| everyday(trial, Length::Three), "at least 0.9"),
        rate("mark.named.hard_full", &|trial| full(trial, Severity::Hard), "none set"),
        rate("mark.named.hardest_full", &|trial| full(trial, Severity::Extreme), "at least 0.9"),
        rate("mark.named.site_only", &|trial| full(trial, Severity::SiteOnly), "1"),
        rate("mark.named.edited", &|trial| trial.what == What::Edited, "none set"),
        rate("mark.collusion5_named", &|trial| trial.what == What::Colluded, "1"),
        of(
            "mark.peer.dwtdct_named",
            peers.iter().filter(|found| **found).count() as f64 / peers.len().max(1) as f64,
            "1",
            peers.len(),
        ),
        of("mark.wrong", wrong as f64, "leaks", trials.len()).goal("0"),
        of("mark.unit.least_z_600k", least(&unit_z), "1", unit_z.len()).goal("at least 7"),
        of("trace.seconds_a_leak", median(&seconds)?, "s", seconds.len()),
        of("trace.seconds_10000_views", median(&views_s)?, "s", views_s.len())
            .goal("below 60: keys, signs and scores of 10,000 views, two threads"),
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

impl Length {
    const fn name(self) -> &'static str {
        match self {
            Self::Three => "3 s",
            Self::Six => "6 s",
            Self::Full => "all",
        }
    }
}

fn traced(reference: &Reference, leak: &Clip) -> Result<Vec<Traced>> {
    Ok(trace(reference, &grays(leak, None)?, &Limits::default())?)
}

/// The best score of a view in any way in which the leak was laid on the recording.
fn best(traced: &[Traced], view: u128) -> f64 {
    let signs = key(view).signs(TrackName::Road);
    traced.iter().map(|way| way.evidence.z(&signs)).fold(0.0, f64::max)
}

/// How long it takes to make the keys of [`VIEWS`] views and to score them.
fn seconds_of_views(traced: &[Traced]) -> f64 {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let views = (thread..VIEWS).step_by(usize::try_from(THREADS).unwrap_or(1));
                let best = views.map(|view| best(traced, u128::from(view))).fold(0.0, f64::max);
                std::hint::black_box(best);
            });
        }
    });
    began.elapsed().as_secs_f64()
}

/// Whether one of the guilty views is named, the first ones, and whether another is.
fn judged(traced: &[Traced], what: What, guilty: u128, line: &str, say: &dyn Fn(&str)) -> Trial {
    let looks = VIEWS * traced.len().max(1) as u64;
    let z = (0..guilty).map(|view| best(traced, view)).fold(0.0, f64::max);
    let innocent = (guilty..guilty + DECOYS).map(|view| best(traced, view)).fold(0.0, f64::max);
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
    say(&format!(
        "  {line}: z {z:.1}, best innocent {innocent:.1}, likeness [{}]{}",
        ways.join(", "),
        if is_named(z) { "" } else { "  NOT NAMED" }
    ));
    Trial { what, named: is_named(z), wrong: is_named(innocent) }
}
