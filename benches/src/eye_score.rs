//! Eye crops against the names of their folders, with both packs.

use std::path::Path;

use anyhow::Result;
use temoin_agent_core::config::{CoreConfig, DrowsinessConfig};
use temoin_proto::perception::{NotSeen, Seen};

use crate::{
    charts::{Chart, Look, Series, colour},
    eyes::{self, Openings},
    figures::Figure,
    packs::Pack,
    perception::Scores,
    stats::{histogram, roc},
};

impl Scores<'_> {
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
        let rules = CoreConfig::default().drowsiness;
        let closed_below = rules.closed_below;
        let mut curves = Vec::new();
        for pack in Pack::ALL {
            match openings(pack, &folder, &rules) {
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
        self.push(of("balanced_accuracy", accuracy, seen.measured()).goal("at least 0.97"));
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
}

/// The openings of the eye crops. One that the unit would take no notice of, for its doubt, was not
/// measured.
fn openings(pack: Pack, folder: &Path, rules: &DrowsinessConfig) -> Result<Openings> {
    let mut network = pack.eye_crops()?;
    eyes::measure(folder, &mut |crop| {
        Ok(match network.observe(crop)? {
            Seen::Known { value, confidence } if f64::from(confidence) >= rules.min_confidence => {
                Ok(value.0)
            }
            Seen::Known { .. } => Err(NotSeen::EyesUnclear),
            Seen::Unknown(why) => Err(why),
        })
    })
}
