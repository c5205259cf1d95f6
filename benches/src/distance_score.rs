//! Whether the error that is stated with a distance covers the distance that labels tell.
//!
//! A labelled distance comes from the labelled box, the labelled horizon and the clip's own lens
//! and height, so it has an error too; both errors together are what may lie between the two. It
//! shares one belief with the unit: how wide a car is.

use anyhow::Result;
use temoin_agent_core::road::{
    camera::{CameraMount, RoadCamera},
    distance::{Cues, Distance, Horizon, distance},
    scene::MOST_ERROR,
    tracks::VehicleKind,
};

use crate::{
    blur_score::looked_at,
    charts::{Chart, Look, Series, colour},
    figures::{Figure, median},
    labels::{Labels, LaneLabel, VehicleLabel, letterboxed},
    mounts,
    perception::Scores,
    road_score::{SAME, overlap},
    watch::{Outcome, seconds},
};

/// One standard deviation of a labelled edge, parts of the picture's width; the README of the
/// labels says ± 0.004.
const EDGE: f64 = 0.002;
/// One standard deviation of the labelled horizon, parts of the picture's height: ± 0.015.
const HORIZON: f64 = 0.0075;
/// A labelled box this near to the picture's edge is cut by it.
const AT_EDGE: f32 = 0.003;
/// So many standard deviations should cover 95 % of all.
const SIGMAS: f64 = 2.0;

/// A vehicle whose distance is labelled and told.
struct Pair {
    at_s: f64,
    label: Distance,
    told: Distance,
}

impl Pair {
    fn off_m(&self) -> f64 {
        (self.told.forward_m - self.label.forward_m).abs()
    }

    fn is_covered(&self) -> bool {
        self.off_m() <= SIGMAS * self.told.error_m.hypot(self.label.error_m)
    }
}

/// How far away a labelled vehicle is, as far as its label tells.
fn labelled(camera: &RoadCamera, size: (u32, u32), v: &VehicleLabel) -> Option<Distance> {
    let cut = v.area.x <= AT_EDGE || v.area.x + v.area.w >= 1.0 - AT_EDGE;
    let area = letterboxed(&v.area, size, looked_at());
    let cues = Cues {
        kind: VehicleKind::Car,
        bottom_px: Some(f64::from(area.y + area.h) * camera.height_px),
        width_px: (!cut).then_some(f64::from(area.w) * camera.width_px),
        edge_sigma_px: EDGE * camera.width_px,
    };
    let horizon = Horizon { row_px: camera.horizon_px, sigma_px: HORIZON * camera.height_px };
    distance(camera, horizon, &cues)
}

impl Scores<'_> {
    /// Distances and horizon of one clip; `end` is the end of the figures' names.
    pub(crate) fn distances(
        &mut self,
        end: &str,
        clip: &str,
        mount: &CameraMount,
        (vehicles, lanes): (&Labels<VehicleLabel>, &Labels<LaneLabel>),
        seen: &Outcome,
    ) -> Result<()> {
        let camera = mounts::camera_of(mount)?;
        let (mut pairs, mut vague) = (Vec::new(), 0_usize);
        for look in &seen.road_looks {
            let at_s = seconds(look.at);
            let labels = VehicleLabel::at(&vehicles.rows, at_s);
            for told in &look.vehicles {
                let same = |v: &&VehicleLabel| {
                    overlap(&told.area, &letterboxed(&v.area, vehicles.size, looked_at())) >= SAME
                };
                let Some(label) = labels.iter().find(same) else { continue };
                let Some(label) = labelled(&camera, vehicles.size, label) else { continue };
                if told.distance.error_m > MOST_ERROR * told.distance.forward_m {
                    vague += 1;
                } else {
                    pairs.push(Pair { at_s, label, told: told.distance });
                }
            }
        }
        self.horizons(end, clip, &camera, lanes, seen)?;
        if pairs.is_empty() {
            self.note(format!("perception.{clip}.distance_*{end}: no labelled vehicle has one"));
            return Ok(());
        }
        let all = pairs.len();
        let mut push = |what: &str, value, count, set: &str| {
            let name = format!("perception.{clip}.distance_{what}{end}");
            self.push(Figure::new(name, value, "1", count, format!("{clip}, {set}")));
        };
        let covered = pairs.iter().filter(|p| p.is_covered()).count();
        let set = "labelled distances within two stated errors (and two of the label)";
        push("covered_ratio", covered as f64 / all as f64, all, set);
        let parts = |of: &dyn Fn(&Pair) -> f64| pairs.iter().map(of).collect::<Vec<f64>>();
        let off = median(&parts(&|p| p.off_m() / p.label.forward_m))?;
        push("error_median_ratio", off, all, "against the labelled distance, parts of it");
        let stated = median(&parts(&|p| p.told.error_m / p.told.forward_m))?;
        push(
            "stated_error_median_ratio",
            stated,
            all,
            "one standard deviation, parts of the distance",
        );
        push(
            "told_ratio",
            all as f64 / (all + vague) as f64,
            all + vague,
            "labelled vehicles that are followed: those with an error of 30 % at most",
        );
        self.distance_chart(&format!("{clip}_distances{end}"), clip, &pairs);
        Ok(())
    }

    /// Where the horizon is believed to be, against its label.
    fn horizons(
        &mut self,
        end: &str,
        clip: &str,
        camera: &RoadCamera,
        lanes: &Labels<LaneLabel>,
        seen: &Outcome,
    ) -> Result<()> {
        let label_px = camera.horizon_px;
        let label_deg = camera.deg_of_px(HORIZON * camera.height_px);
        let (mut errors, mut covered) = (Vec::new(), 0_usize);
        for horizon in seen.road_looks.iter().filter_map(|l| l.horizon) {
            let off_deg = camera.deg_of_px(horizon.row_px - label_px).abs();
            let stated_deg = camera.deg_of_px(horizon.sigma_px);
            covered += usize::from(off_deg <= SIGMAS * stated_deg.hypot(label_deg));
            errors.push(off_deg);
        }
        if errors.is_empty() {
            return Ok(());
        }
        let (all, middle) = (errors.len(), median(&errors)?);
        let set = format!("{clip}, against the labelled horizon, ± {:.1}°", 2.0 * label_deg);
        let name = format!("perception.{clip}.horizon_error_median_deg{end}");
        self.push(Figure::new(name, middle, "deg", all, set.clone()));
        let name = format!("perception.{clip}.horizon_covered_ratio{end}");
        self.push(Figure::new(name, covered as f64 / all as f64, "1", all, set));
        let first = seen.road_looks.iter().find(|l| l.settled).map(|l| seconds(l.at));
        self.note(format!(
            "{clip}{end}: {} pictures with a labelled lane; the horizon {}",
            lanes.rows.len(),
            first.map_or("never settled".to_owned(), |s| format!("settled after {s:.1} s")),
        ));
        Ok(())
    }

    fn distance_chart(&mut self, name: &str, clip: &str, pairs: &[Pair]) {
        let points = |of: &dyn Fn(&Pair) -> f64| -> Vec<(f64, f64)> {
            pairs.iter().map(|p| (p.label.forward_m, of(p))).collect()
        };
        let far = pairs.iter().map(|p| p.label.forward_m).fold(20.0, f64::max) * 1.1;
        let last_s = pairs.last().map_or(0.0, |p| p.at_s);
        let chart = Chart {
            title: format!("{clip}: distances told in {last_s:.0} s against labelled ones"),
            x_name: "labelled, m",
            y_name: "told, m",
            x: 0.0..far,
            y: 0.0..far * 1.3,
            series: vec![
                Series::deviation(
                    pairs.iter().map(|p| (p.label.forward_m, p.told.forward_m, p.told.error_m)),
                ),
                Series::new("told", colour::BLUE, Look::Dots, points(&|p| p.told.forward_m)),
                Series::new("the same", colour::BLACK, Look::Line, vec![(0.0, 0.0), (far, far)]),
            ],
        };
        self.chart(name, &chart);
    }
}

#[cfg(test)]
mod tests {
    use temoin_proto::perception::PictureBox;

    use super::*;

    #[test]
    fn a_labelled_box_has_a_distance_and_an_error() {
        let mount = CameraMount {
            mount_height_m: Some(1.25),
            horizon_y: Some(0.5),
            focal_px: Some(1157.0),
            ..CameraMount::default()
        };
        let camera = mounts::camera_of(&mount).unwrap();
        let at = |forward_m: f64| {
            let (left, bottom) = camera.pixel(forward_m, 0.9, 0.0, camera.horizon_px);
            let (right, top) = camera.pixel(forward_m, -0.9, 1.5, camera.horizon_px);
            #[expect(clippy::cast_possible_truncation, reason = "a part of a picture")]
            let part = |px: f64, all: f64| (px / all) as f32;
            let area = PictureBox {
                x: part(left, 1280.0),
                y: part(top, 720.0),
                w: part(right - left, 1280.0),
                h: part(bottom - top, 720.0),
            };
            VehicleLabel { at_s: 0.0, vehicle: "a".to_owned(), area, own_lane: true, plate: None }
        };
        for forward_m in [15.0, 40.0, 80.0] {
            let label = labelled(&camera, (960, 540), &at(forward_m)).unwrap();
            assert!((label.forward_m - forward_m).abs() < 0.02 * forward_m, "{label:?}");
            assert!(label.error_m > 0.04 * forward_m, "{label:?}");
            let told = |forward_m, error_m| Pair {
                at_s: 0.0,
                label,
                told: Distance { forward_m, error_m },
            };
            assert!(told(1.3 * forward_m, 0.2 * forward_m).is_covered());
            assert!(!told(2.0 * forward_m, 0.1 * forward_m).is_covered());
        }
    }
}
