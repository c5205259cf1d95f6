//! What perception sees on recordings: figures and charts.
//!
//! INVARIANT: what cannot be measured is left out, with a line that says why.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use temoin_proto::samples::CameraId;

use crate::{
    bare,
    charts::Chart,
    driver_score::Phones,
    figures::{Figure, percentile},
    labels, mounts,
    packs::Pack,
    watch::{self, Clip, Outcome},
};

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
    pub(crate) fn push(&mut self, figure: Figure) {
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

    /// Every clip of the cabin and of the road, with both packs.
    ///
    /// # Errors
    /// Where labels are wrong or a folder cannot be read.
    pub fn clips(&mut self) -> Result<()> {
        let truth =
            labels::read(self.checkout, "events")?.context("tests/data/labels/events.csv")?;
        let truth = labels::events(&truth)?;
        let mut clips = watch::clips(&self.data.join("driver_video"), CameraId::Cabin)?;
        clips.extend(watch::clips(&self.data.join("road_video"), CameraId::Road)?);
        let mut all = Vec::new();
        for pack in Pack::ALL {
            let mut watched = Vec::new();
            for clip in &clips {
                let mount = mounts::labelled(self.checkout, clip)?.unwrap_or_default();
                match pack.watch(clip, mount) {
                    Ok((outcome, how)) => {
                        let how = how.filter(|_| pack == Pack::Downloaded);
                        self.notes.extend(how.map(|how| format!("{}: {how}", clip.name)));
                        watched.push((clip, outcome));
                    }
                    Err(e) => {
                        let end = pack.suffix();
                        self.note(format!("{}, {end}: not scored: {e:#}", clip.name));
                    }
                }
            }
            self.events(pack, &truth, &watched);
            self.costs(pack, &watched)?;
            self.models(pack);
            self.blur(pack, &watched)?;
            let mut phones = Phones::default();
            for (clip, outcome) in &watched {
                match clip.camera {
                    CameraId::Cabin => self.of_cabin_clip(pack, clip, outcome, &mut phones)?,
                    CameraId::Road => self.of_road_clip(pack, clip, outcome)?,
                }
            }
            self.phones(pack, &phones);
            all.push((pack, watched));
        }
        for clip in clips.iter().filter(|c| c.camera == CameraId::Cabin) {
            let curve = |(pack, watched): &(Pack, Vec<(&Clip, Outcome)>)| {
                let (_, outcome) = watched.iter().find(|(c, _)| *c == clip)?;
                Some((*pack, outcome.drivers()))
            };
            let curves: Vec<_> = all.iter().filter_map(curve).collect();
            self.driver_charts(clip, &curves)?;
        }
        Ok(())
    }

    /// Processor time of a look, and of its stages.
    fn costs(&mut self, pack: Pack, watched: &[(&Clip, Outcome)]) -> Result<()> {
        let end = pack.end();
        for (camera, word) in [(CameraId::Cabin, "cabin"), (CameraId::Road, "road")] {
            let of_camera: Vec<&Outcome> =
                watched.iter().filter(|(clip, _)| clip.camera == camera).map(|(_, o)| o).collect();
            let ms: Vec<f64> = of_camera.iter().flat_map(|o| o.look_ms.iter().copied()).collect();
            if ms.is_empty() {
                self.note(format!(
                    "perception.ms.{word}_picture_*{end}: no {word} clip was watched"
                ));
                continue;
            }
            let set = format!("{word} clips, processor time of the looking thread");
            for (name, percent) in [("p50", 50), ("p95", 95)] {
                let name = format!("perception.ms.{word}_picture_{name}{end}");
                let value = percentile(&ms, percent)?;
                self.push(Figure::new(name, value, "ms", ms.len(), set.clone()));
            }
            let of_stages = "mean of all looks, processor time of the looking thread";
            let mut stages = BTreeMap::<&str, f64>::new();
            for outcome in of_camera {
                for (stage, mean_ms) in &outcome.stage_ms {
                    *stages.entry(stage).or_default() += mean_ms * outcome.sights.len() as f64;
                }
            }
            for (stage, ms_in_all) in stages {
                let name = format!("perception.ms.{word}_stage.{stage}{end}");
                let value = ms_in_all / ms.len() as f64;
                self.push(Figure::new(name, value, "ms", ms.len(), of_stages));
            }
        }
        Ok(())
    }

    /// Each model alone.
    fn models(&mut self, pack: Pack) {
        match bare::each_model(pack) {
            Ok(times) => {
                for (file, ms) in times {
                    let name = format!("perception.ms.model.{file}{}", pack.end());
                    self.push(Figure::new(name, ms, "ms", bare::OBSERVATIONS, "the model alone"));
                }
            }
            Err(e) => self.note(format!("perception.ms.model.*{}: {e:#}", pack.end())),
        }
    }
}
