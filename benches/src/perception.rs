//! What perception sees on recordings: figures and charts.
//!
//! INVARIANT: what cannot be measured is left out, with a line that says why.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use temoin_agent::{
    config::Config,
    infer::Runtime,
    model_pack::ModelPack,
    perception::{CabinEyes, Perception, PerceptionOptions, eyelids::EyeNetwork},
};
use temoin_agent_core::config::CoreConfig;
use temoin_proto::{events::EventKind, samples::CameraId};

use crate::{
    bare,
    charts::{Chart, Look, Series, colour},
    driver_score::Phones,
    eyes::{self, Openings},
    figures::{Figure, percentile},
    labels::{self, EventLabel},
    stats::{histogram, roc},
    watch::{self, Clip, Outcome},
};

/// The distractions of a driver.
const DISTRACTION: [EventKind; 1] = [EventKind::LongDistraction];
/// Closed eyes.
const CLOSURE: [EventKind; 2] = [EventKind::Microsleep, EventKind::Sleep];

/// Which networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pack {
    /// Those that `make models` fetches.
    Downloaded,
    /// Those of the project.
    BuiltIn,
}

impl Pack {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Downloaded, Self::BuiltIn];

    /// At the end of a figure's name.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Downloaded => "pack",
            Self::BuiltIn => "builtin",
        }
    }

    pub(crate) const fn colour(self) -> plotters::style::RGBColor {
        match self {
            Self::Downloaded => colour::BLUE,
            Self::BuiltIn => colour::ORANGE,
        }
    }

    /// How perception is opened with these networks and no others.
    ///
    /// # Errors
    /// Where there are none.
    pub fn options(self) -> Result<PerceptionOptions> {
        match self {
            Self::Downloaded => Ok(Config::for_files().perception()),
            Self::BuiltIn => anyhow::bail!("this agent has no networks built in"),
        }
    }

    /// Opens perception with these networks.
    ///
    /// # Errors
    /// Where they or their runtime cannot be used.
    pub fn open(self) -> Result<Box<dyn Perception>> {
        Ok(Box::new(CabinEyes::open(&self.options()?)?))
    }
}

/// What is scored, and where the results go.
pub struct Scores<'a> {
    /// The folder of the recordings.
    pub data: &'a Path,
    /// The checkout with the labels.
    pub checkout: &'a Path,
    /// The folder of the charts.
    pub charts: PathBuf,
    /// The figures.
    pub figures: Vec<Figure>,
    /// What was left out and why, and what a person may want to know.
    pub notes: Vec<String>,
}

impl Scores<'_> {
    fn push(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(crate) fn chart(&mut self, name: &str, chart: &Chart) {
        if let Err(e) = chart.write(&self.charts, name) {
            self.note(format!("chart {name}: not drawn: {e:#}"));
        }
    }

    /// Eye crops with both packs.
    ///
    /// # Errors
    /// Where the crops cannot be read.
    pub fn eyes(&mut self) -> Result<()> {
        let folder = self.data.join("eyes");
        if !folder.is_dir() {
            self.note(format!("perception.eyes.*: no eye crops in `{}`", folder.display()));
            return Ok(());
        }
        let closed_below = CoreConfig::default().drowsiness.closed_below;
        let mut curves = Vec::new();
        for pack in Pack::ALL {
            match openings(pack, &folder) {
                Ok(seen) => {
                    if seen.unreadable > 0 {
                        self.note(format!("eye crops: {} files are no pictures", seen.unreadable));
                    }
                    self.of_openings(pack, &seen, closed_below);
                    curves.push(Series::new(
                        format!("{}, AUC {:.4}", pack.suffix(), seen.auc()),
                        pack.colour(),
                        Look::Line,
                        roc(&seen.open, &seen.closed),
                    ));
                }
                Err(e) => self.note(format!("perception.eyes.*.{}: {e:#}", pack.suffix())),
            }
        }
        if !curves.is_empty() {
            let chart = Chart {
                title: "Closed eyes found, against open eyes read as closed".to_owned(),
                x_name: "share of open eyes read as closed",
                y_name: "share of closed eyes found",
                x: 0.0..0.2,
                y: 0.8..1.0,
                series: curves,
            };
            self.chart("eyes_roc", &chart);
        }
        Ok(())
    }

    fn of_openings(&mut self, pack: Pack, seen: &Openings, closed_below: f64) {
        let end = pack.suffix();
        let of = |name: &str, value, count| {
            Figure::new(format!("perception.eyes.{name}.{end}"), value, "1", count, "eye crops")
        };
        let goal = if pack == Pack::Downloaded { "at least 0.99" } else { "at least 0.97" };
        self.push(of("auc", seen.auc(), seen.measured()).goal(goal));
        let accuracy = seen.balanced_accuracy(closed_below);
        self.push(of("balanced_accuracy", accuracy, seen.measured()));
        let crops = seen.crops();
        self.push(of("measured_ratio", seen.measured() as f64 / crops as f64, crops));
        let wrong = seen.open_read_closed(closed_below);
        self.push(of("open_read_closed_ratio", wrong, seen.open_crops).goal("0"));
        self.push(of("closed_found_ratio", seen.closed_found(closed_below), seen.closed_crops));

        let (to, bins) = (0.5, 50);
        let width = f64::from(to) / bins as f64;
        let bars = |values: &[f32]| -> Vec<(f64, f64)> {
            let counts = histogram(values, 0.0, to, bins);
            counts.iter().enumerate().map(|(n, c)| (n as f64 * width, f64::from(*c))).collect()
        };
        let (open, closed) = (bars(&seen.open), bars(&seen.closed));
        let top = open.iter().chain(&closed).map(|(_, n)| *n).fold(1.0, f64::max) * 1.05;
        let limit = vec![(closed_below, 0.0), (closed_below, top)];
        let chart = Chart {
            title: format!("Eyelid openings of open and of closed eyes, {end}"),
            x_name: "eyelid gap over eye width",
            y_name: "crops",
            x: 0.0..f64::from(to),
            y: 0.0..top,
            series: vec![
                Series::new("open", colour::BLUE, Look::Bars(width), open),
                Series::new("closed", colour::ORANGE, Look::Bars(width), closed),
                Series::new("read as closed below", colour::BLACK, Look::Line, limit),
            ],
        };
        self.chart(&format!("eyes_openings_{end}"), &chart);
    }

    /// Every clip of the cabin and of the road: with the downloaded pack, and where it has labels
    /// with the built-in one as well.
    ///
    /// # Errors
    /// Where labels are wrong or a folder cannot be read.
    pub fn clips(&mut self) -> Result<()> {
        let truth =
            labels::read(self.checkout, "events")?.context("tests/data/labels/events.csv")?;
        let truth = labels::events(&truth)?;
        let mut all = watch::clips(&self.data.join("driver_video"), CameraId::Cabin)?;
        all.extend(watch::clips(&self.data.join("road_video"), CameraId::Road)?);
        let mut watched = Vec::new();
        for clip in &all {
            match seen_by(Pack::Downloaded, clip) {
                Ok((outcome, how)) => {
                    self.notes.extend(how.map(|how| format!("{}: {how}", clip.name)));
                    watched.push((clip, outcome));
                }
                Err(e) => self.note(format!("{}: not scored: {e:#}", clip.name)),
            }
        }
        self.events(&truth, &watched);
        self.costs(&watched)?;
        self.models();
        let mut phones = Phones::default();
        for (clip, outcome) in &watched {
            match clip.camera {
                CameraId::Cabin => self.of_cabin_clip(clip, outcome, &mut phones)?,
                CameraId::Road => self.of_road_clip(clip, outcome)?,
            }
        }
        self.phones(&phones);
        Ok(())
    }

    /// Events per clip, and the false ones over all of them.
    fn events(&mut self, truth: &[EventLabel], watched: &[(&Clip, Outcome)]) {
        let (mut wrong, mut length_s) = (0, 0.0);
        for (clip, outcome) in watched {
            length_s += outcome.length_s;
            let right =
                |(kind, at): &&(EventKind, f64)| truth.iter().any(|t| t.is(&clip.name, *kind, *at));
            wrong += outcome.events.len() - outcome.events.iter().filter(right).count();
            if clip.camera == CameraId::Cabin {
                for (what, kinds) in
                    [("long_distraction", &DISTRACTION[..]), ("eye_closure", &CLOSURE[..])]
                {
                    self.push(Figure::new(
                        format!("events.clip.{}.{what}", clip.name),
                        outcome.count(kinds) as f64,
                        "events",
                        outcome.sights.len(),
                        format!("{} at a steady 90 km/h", clip.name),
                    ));
                }
            }
        }
        if watched.is_empty() {
            self.note("perception.false_events_per_hour: no clip was watched");
            return;
        }
        let set =
            format!("{} clips, {length_s:.0} s in all, but for labelled events", watched.len());
        let rate = wrong as f64 * 3600.0 / length_s.max(1.0);
        let figure =
            Figure::new("perception.false_events_per_hour", rate, "1/h", watched.len(), set);
        self.push(figure.goal("0"));
    }

    /// Processor time of a look.
    fn costs(&mut self, watched: &[(&Clip, Outcome)]) -> Result<()> {
        for (camera, word) in [(CameraId::Cabin, "cabin"), (CameraId::Road, "road")] {
            let of_camera = watched.iter().filter(|(clip, _)| clip.camera == camera);
            let ms: Vec<f64> = of_camera.flat_map(|(_, o)| o.look_ms.iter().copied()).collect();
            if ms.is_empty() {
                self.note(format!("perception.ms.{word}_picture_*: no {word} clip was watched"));
                continue;
            }
            for (name, percent) in [("p50", 50), ("p95", 95)] {
                let name = format!("perception.ms.{word}_picture_{name}");
                let value = percentile(&ms, percent)?;
                let set = format!("{word} clips, processor time of the looking thread");
                self.push(Figure::new(name, value, "ms", ms.len(), set));
            }
        }
        Ok(())
    }

    /// Each model alone.
    fn models(&mut self) {
        match Pack::Downloaded.options().and_then(|options| bare::each_model(&options)) {
            Ok(times) => {
                for (file, ms) in times {
                    let name = format!("perception.ms.model.{file}");
                    self.push(Figure::new(name, ms, "ms", bare::OBSERVATIONS, "the model alone"));
                }
            }
            Err(e) => self.note(format!("perception.ms.model.*: {e:#}")),
        }
    }
}

pub(crate) fn seen_by(pack: Pack, clip: &Clip) -> Result<(Outcome, Option<String>)> {
    watch::watch(clip, pack.open()?.as_mut())
}

/// The openings of the eye crops.
fn openings(pack: Pack, folder: &Path) -> Result<Openings> {
    let options = pack.options()?;
    let runtime = Runtime::load(&options.infer)?;
    let pack = ModelPack::open(&options.models)?;
    let mut network = EyeNetwork::load(&runtime, &pack)?.context("no eyelid model in the pack")?;
    eyes::measure(folder, &mut |crop| Ok(network.eye_alone(crop)?))
}
