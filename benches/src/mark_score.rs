//! Whether the forensic mark names the view that a leak came from: real clips are marked, attacked
//! ([`crate::attacks`]) and traced.
//!
//! A view counts as named where its p-value, for 10,000 views and all registrations that were tried, is
//! at most 1e-9. Whether an innocent view is named is tried with a thousand of them; the bound itself
//! rests on no trial (`docs/forensic-mark.md`).

mod find;
mod likeness;
mod scene;
mod table;

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

use find::Archive;
use likeness::Loss;
use scene::{Scene, grays, trimmed};

use crate::{
    attacks::{Attack, Clip, Collusion, Severity, clip::Coding, collude},
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
/// At which rates it is told what the mark costs a coder.
const RATES: [&str; 2] = ["mean", "view"];
/// The shorter side of small recordings in the table, pixels.
const SMALL: u32 = 360;
/// What a viewer's copy is coded with, as by the server.
const VIEW: Coding = Coding::portal(23);

/// Viewers who put their copies together.
const COLLUDERS: u128 = 5;
/// Threads that score views, as on the server.
const THREADS: u64 = 2;

/// How much is tried.
#[derive(Debug, Clone)]
pub struct Extent {
    /// Leaks of each kind of filming.
    pub leaks: u64,
    /// What is tried at all.
    pub kinds: Vec<Kind>,
}

impl Extent {
    fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }
}

/// What is tried with each recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// How well the mark hides, and what it costs a coder.
    Cost,
    /// Filmed from a monitor, at each severity, and trimmed.
    Filmed,
    /// Screen recorder, denoiser, picture in picture and the like.
    Edited,
    /// Five viewers' copies put together.
    Colluded,
    /// A blind mark of another kind in the same leaks.
    Peer,
    /// Each single thing that filming and sites do to a clip.
    Items,
    /// Filmed recordings of 360 lines.
    Small,
}

/// One leak that was traced.
#[derive(Debug, Clone)]
struct Trial {
    scene: String,
    /// Pixels along the shorter side of what the viewer saw.
    side: u32,
    what: What,
    z: f64,
    /// The logarithm of its p-value, base 10.
    log_p: f64,
    /// The search opens the recording; none where there is nothing to search among.
    found: Option<bool>,
    named: bool,
    wrong: bool,
    visible: Option<Visible>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Filmed(Severity, Length),
    /// Anything but filming of all severities.
    Edited(Attack),
    /// Of five copies.
    Colluded(Collusion),
}

impl What {
    fn name(self) -> String {
        match self {
            Self::Filmed(severity, length) => format!("{}, {}", severity.name(), length.name()),
            Self::Edited(attack) => attack.name().to_owned(),
            Self::Colluded(how) => format!("{} of {COLLUDERS}", how.name()),
        }
    }
}

/// Whether plain visible marks are whole in the same leak's picture.
#[derive(Debug, Clone, Copy)]
struct Visible {
    in_a_corner: bool,
    moving: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Three,
    Six,
    Full,
}

fn key(view: u128) -> MarkKey {
    MarkKey::from_bytes([7; 32]).of_view(ViewId::from_bytes(view.to_be_bytes()))
}

/// What was measured, over all recordings.
#[derive(Default)]
struct Scored {
    /// None where there is no other recording to make other clips of.
    archive: Option<Archive>,
    names: Vec<String>,
    trials: Vec<Trial>,
    psnr_db: Vec<f64>,
    ssim: Vec<f64>,
    losses: Vec<[Loss; 2]>,
    unit_z: Vec<f64>,
    trace_s: Vec<f64>,
    views_s: Vec<f64>,
    blind_peer: Vec<bool>,
}

/// The figures, a line for each trial, and the table of all of them as Markdown.
///
/// # Errors
/// Where there is no ffmpeg, or a recording cannot be used.
pub fn figures(data: &Path, extent: &Extent, say: &dyn Fn(&str)) -> Result<(Vec<Figure>, String)> {
    let paths = recordings(data)?;
    let mut looks = Vec::new();
    for path in &paths {
        let clip = Clip::read(path).with_context(|| path.display().to_string())?;
        looks.push(find::looks(&clip)?);
    }
    let mut scored = Scored::default();
    for (n, path) in paths.into_iter().enumerate() {
        let Some(scene) = Scene::of(&path, None)? else { continue };
        // The other clips show other scenes.
        let others = looks.iter().enumerate().filter(|(other, _)| *other != n);
        let pool: Vec<_> = others.flat_map(|(_, looks)| looks.iter().cloned()).collect();
        scored.archive = if pool.is_empty() { None } else { Some(Archive::of(&pool)?) };
        if extent.has(Kind::Cost) {
            scored.look(&scene, say)?;
        }
        if extent.has(Kind::Filmed) {
            scored.film(&scene, extent.leaks, say)?;
        }
        scored.edit(&scene, extent, say)?;
        if extent.has(Kind::Colluded) {
            scored.collude(&scene, say)?;
        }
        if extent.has(Kind::Peer) {
            scored.peer(&scene, say)?;
        }
        if extent.has(Kind::Small)
            && let Some(small) = Scene::of(&path, Some(SMALL))?
        {
            scored.film(&small, extent.leaks, say)?;
        }
        scored.names.push(scene.name);
    }
    let table = table::markdown(&scored.trials);
    Ok((scored.figures(), table))
}

impl Scored {
    /// What the mark changes, and what that costs.
    fn look(&mut self, scene: &Scene, say: &dyn Fn(&str)) -> Result<()> {
        let seen = scene.seen();
        let losses = scene.coding_loss()?;
        for (rate, loss) in RATES.iter().zip(&losses) {
            say(&format!(
                "  {}, rate {rate}: the mark costs {:.2} dB, {:.2} dB against the original",
                scene.name, loss.own_db, loss.original_db
            ));
        }
        self.losses.push(losses);
        self.psnr_db.extend(seen.psnr_db);
        self.ssim.extend(seen.ssim);
        self.unit_z.push(scene.plain_unit_z()?);
        Ok(())
    }

    /// Filmed from a monitor, and trimmed.
    fn film(&mut self, scene: &Scene, leaks: u64, say: &dyn Fn(&str)) -> Result<()> {
        let reference = Reference::new(grays(&scene.original, Some(WORKING))?)?;
        for severity in Severity::ALL {
            for seed in 0..leaks {
                let attack = Attack::Camcord(severity);
                let whole = scene.leak(attack, seed)?;
                for length in [Length::Full, Length::Six, Length::Three] {
                    let leak = trimmed(&whole, length, seed);
                    let began = Instant::now();
                    let traced = traced(&reference, &leak)?;
                    self.trace_s.push(began.elapsed().as_secs_f64());
                    self.views_s.push(seconds_of_views(&traced));
                    let what = What::Filmed(severity, length);
                    let mut trial = self.judged(&traced, scene, &leak, (what, seed), 1, say)?;
                    if length == Length::Full {
                        trial.visible = Some(visible(scene, attack, seed)?);
                    }
                    self.trials.push(trial);
                }
            }
        }
        Ok(())
    }

    /// Everything else that is done to one copy.
    fn edit(&mut self, scene: &Scene, extent: &Extent, say: &dyn Fn(&str)) -> Result<()> {
        let reference = Reference::new(grays(&scene.original, Some(WORKING))?)?;
        for attack in Attack::all() {
            let wanted = match attack {
                Attack::Camcord(_) => false,
                Attack::Item(_) => extent.has(Kind::Items),
                Attack::ScreenRecorder
                | Attack::Vhs
                | Attack::Denoise
                | Attack::Sharpen
                | Attack::Interpolate
                | Attack::PictureInPicture
                | Attack::PortraitCrop => extent.has(Kind::Edited),
            };
            if wanted {
                let leak = scene.leak(attack, 0)?;
                let traced = traced(&reference, &leak)?;
                let what = (What::Edited(attack), 0);
                let trial = self.judged(&traced, scene, &leak, what, 1, say)?;
                self.trials.push(Trial { visible: Some(visible(scene, attack, 0)?), ..trial });
            }
        }
        Ok(())
    }

    /// Viewers who put their copies together.
    fn collude(&mut self, scene: &Scene, say: &dyn Fn(&str)) -> Result<()> {
        let reference = Reference::new(grays(&scene.original, Some(WORKING))?)?;
        let copies = scene.copies(COLLUDERS)?;
        for how in Collusion::ALL {
            let leak = Attack::Camcord(Severity::SiteOnly).apply(&collude(&copies, how, 0)?, 0)?;
            let traced = traced(&reference, &leak)?;
            let what = (What::Colluded(how), 0);
            let trial = self.judged(&traced, scene, &leak, what, COLLUDERS, say)?;
            self.trials.push(trial);
        }
        Ok(())
    }

    /// The blind mark of another kind in some of the same leaks.
    fn peer(&mut self, scene: &Scene, say: &dyn Fn(&str)) -> Result<()> {
        for severity in [Severity::SiteOnly, Severity::Mild, Severity::Medium, Severity::Hard] {
            let (found, wrong) = scene.blind_peer(Attack::Camcord(severity))?;
            let not = if found { "" } else { " NOT" };
            say(&format!(
                "  {:9} {}: the blind mark (DwtDct) is{not} found, {:.0} % of its bits wrong",
                severity.name(),
                scene.name,
                wrong * 100.0
            ));
            self.blind_peer.push(found);
        }
        Ok(())
    }

    /// Whether one of the guilty views is named, the first ones, and whether another is.
    fn judged(
        &self,
        traced: &[Traced],
        scene: &Scene,
        leak: &Clip,
        (what, seed): (What, u64),
        guilty: u128,
        say: &dyn Fn(&str),
    ) -> Result<Trial> {
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
        let side = scene.shorter_side()?;
        let archive = self.archive.as_ref();
        let found = archive.map(|all| all.finds(&scene.fingerprint, leak)).transpose()?;
        say(&format!(
            "  {:16} {} {side}p seed {seed}: z {z:.1}, best innocent {innocent:.1}, likeness [{}]{}{}",
            what.name(),
            scene.name,
            ways.join(", "),
            if found == Some(false) { "  NOT FOUND" } else { "" },
            if is_named(z) { "" } else { "  NOT NAMED" }
        ));
        Ok(Trial {
            scene: scene.name.clone(),
            side,
            what,
            z,
            // As `p_value` has it, which is 0 where it is too small for a number.
            log_p: ((looks as f64).log10() - z * z / 2.0 * std::f64::consts::LOG10_E).min(0.0),
            found,
            named: is_named(z),
            wrong: is_named(innocent),
            visible: None,
        })
    }

    /// Of what was tried: no figure rests on nothing.
    fn figures(&self) -> Vec<Figure> {
        let set = self.names.join(", ");
        let of = |name, value, unit, count| Figure::new(name, value, unit, count, set.clone());
        let share = |name: &'static str, of_all: &mut dyn Iterator<Item = bool>| {
            let all: Vec<bool> = of_all.collect();
            let yes = all.iter().filter(|yes| **yes).count();
            of(name, yes as f64 / all.len().max(1) as f64, "1", all.len())
        };
        let rate = |name: &'static str, wanted: &dyn Fn(What) -> bool| {
            share(name, &mut self.trials.iter().filter(|t| wanted(t.what)).map(|t| t.named))
        };
        let everyday = |what, length| {
            [Severity::Mild, Severity::Medium].map(|s| What::Filmed(s, length)).contains(&what)
        };
        let full = |what, severity| what == What::Filmed(severity, Length::Full);
        let found = |name: &'static str, wanted: &dyn Fn(What) -> bool| {
            share(name, &mut self.trials.iter().filter(|t| wanted(t.what)).filter_map(|t| t.found))
                .goal("found among 100,000 recordings by the search")
        };
        let visible = |which: fn(&Visible) -> bool| {
            self.trials.iter().filter_map(move |trial| trial.visible.as_ref().map(which))
        };
        let wrong = self.trials.iter().filter(|trial| trial.wrong).count();
        let mut figures = vec![
            of("mark.psnr_db", mean(&self.psnr_db), "dB", self.psnr_db.len()).goal("at least 43"),
            of("mark.ssim", mean(&self.ssim), "1", self.ssim.len()).goal("1 is the same"),
            rate("mark.named.everyday_6s", &|what| everyday(what, Length::Six))
                .goal("at least 0.98"),
            rate("mark.named.everyday_3s", &|what| everyday(what, Length::Three))
                .goal("at least 0.9"),
            rate("mark.named.hard_full", &|what| full(what, Severity::Hard)).goal("none set"),
            rate("mark.named.hardest_full", &|what| full(what, Severity::Extreme))
                .goal("at least 0.9"),
            rate("mark.named.site_only", &|what| full(what, Severity::SiteOnly)).goal("1"),
            rate("mark.named.edited", &|what| matches!(what, What::Edited(_))).goal("none set"),
            rate("mark.collusion5_named", &|what| matches!(what, What::Colluded(_))).goal("1"),
            found("trace.found.everyday_6s", &|what| everyday(what, Length::Six)),
            found("trace.found.everyday_3s", &|what| everyday(what, Length::Three)),
            found("trace.found.hard_full", &|what| full(what, Severity::Hard)),
            found("trace.found.hardest_full", &|what| full(what, Severity::Extreme)),
            found("trace.found.edited", &|what| matches!(what, What::Edited(_))),
            share("mark.peer.dwtdct_named", &mut self.blind_peer.iter().copied()),
            share("mark.peer.visible_in_a_corner", &mut visible(|seen| seen.in_a_corner)),
            share("mark.peer.visible_moving", &mut visible(|seen| seen.moving)),
            of("mark.wrong", wrong as f64, "leaks", self.trials.len()).goal("0"),
            of("mark.unit.least_z_600k", least(&self.unit_z), "1", self.unit_z.len())
                .goal("at least 7"),
            of(
                "trace.seconds_a_leak",
                median(&self.trace_s).unwrap_or_default(),
                "s",
                self.trace_s.len(),
            ),
            of(
                "trace.seconds_10000_views",
                median(&self.views_s).unwrap_or_default(),
                "s",
                self.views_s.len(),
            )
            .goal("below 60: keys, signs and scores of 10,000 views, two threads"),
        ];
        for (n, rate) in RATES.iter().enumerate() {
            let at: Vec<&Loss> = self.losses.iter().filter_map(|of| of.get(n)).collect();
            let worst = |which: fn(&Loss) -> f64| {
                at.iter().copied().map(which).fold(f64::NEG_INFINITY, f64::max)
            };
            let name = |what: &str| format!("mark.coding_loss_db.{what}_{rate}");
            figures.push(
                Figure::new(name("own"), worst(|l| l.own_db), "dB", at.len(), set.clone()).goal(
                    "at most 0.3: each compared with what its coder was given; the worst clip",
                ),
            );
            figures.push(
                Figure::new(
                    name("original"),
                    worst(|l| l.original_db),
                    "dB",
                    at.len(),
                    set.clone(),
                )
                .goal("both compared with the original: the mark counts as an error"),
            );
        }
        figures.retain(|figure| figure.count > 0);
        figures
    }
}

fn visible(scene: &Scene, attack: Attack, seed: u64) -> Result<Visible> {
    let (in_a_corner, moving) = scene.visible_peers(attack, seed)?;
    Ok(Visible { in_a_corner, moving })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The videos in all folders whose names end in `_video`.
fn recordings(data: &Path) -> Result<Vec<PathBuf>> {
    let entries = |folder: &Path| -> Result<Vec<PathBuf>> {
        let read = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        read.map(|entry| Ok(entry?.path())).collect()
    };
    let mut found = Vec::new();
    for folder in entries(data)? {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if folder.is_dir() && name.ends_with("_video") {
            found.extend(entries(&folder)?.into_iter().filter(|path| {
                path.extension().is_some_and(|end| ["mp4", "avi", "mkv"].iter().any(|e| end == *e))
            }));
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
