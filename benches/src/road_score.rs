//! What is seen of the road against its labels: the lead vehicle and the lane.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use temoin_agent_core::road::camera::CameraMount;
use temoin_proto::perception::{PictureBox, RoadObservation};

use crate::{
    blur_score::looked_at,
    charts::{Chart, Look, Series, colour},
    figures::{Figure, median, percentile},
    labels::{self, Labels, LaneLabel, VehicleLabel, letterboxed},
    mounts,
    packs::Pack,
    perception::Scores,
    watch::{self, Clip, Outcome, seconds},
};

/// A box is the labelled vehicle where their common part is this share of both together. Own
/// choice: the labelled lead is 16 pixels wide, so one pixel more at each side makes 0.79.
pub(crate) const SAME: f64 = 0.3;

/// Common part over both together.
pub fn overlap(a: &PictureBox, b: &PictureBox) -> f64 {
    let along = |a0: f32, al: f32, b0: f32, bl: f32| {
        f64::from((a0 + al).min(b0 + bl) - a0.max(b0)).max(0.0)
    };
    let common = along(a.x, a.w, b.x, b.w) * along(a.y, a.h, b.y, b.h);
    let area = |b: &PictureBox| f64::from(b.w) * f64::from(b.h);
    let together = area(a) + area(b) - common;
    if together > 0.0 { common / together } else { 0.0 }
}

impl LaneLabel {
    /// The middle of the picture against the middle of the lane, in widths of the lane, positive
    /// to the left: where the vehicle is, for a camera in its middle that looks straight ahead.
    pub fn offset_widths(&self) -> f64 {
        let middle = self.left_bottom_x.midpoint(self.right_bottom_x);
        (middle - 0.5) / (self.right_bottom_x - self.left_bottom_x)
    }

    fn at(rows: &[Self], at_s: f64) -> Option<&Self> {
        rows.iter().find(|r| (r.at_s - at_s).abs() <= 0.1)
    }
}

impl Scores<'_> {
    /// One clip of the road.
    ///
    /// # Errors
    /// Where its labels are wrong.
    pub fn of_road_clip(&mut self, pack: Pack, clip: &Clip, seen: &Outcome) -> Result<()> {
        let roads = seen.roads();
        let name = &clip.name;
        let mount = mounts::labelled(self.checkout, clip)?;
        let others = seen.sights.iter().filter(|s| s.others.is_ok()).count();
        self.note(format!(
            "{name}, {}: {} pictures; not seen: lead {}; lane {}; others were looked for in {others}",
            pack.suffix(),
            roads.len(),
            watch::reasons(roads.iter().map(|r| &r.lead)),
            watch::reasons(roads.iter().map(|r| &r.lane)),
        ));
        let read = |end: &str| labels::read(self.checkout, &format!("{name}{end}"));
        let vehicles = read("")?.map(|t| labels::vehicles(&t)).transpose().context(name.clone())?;
        let lanes = read("_lanes")?.map(|t| labels::lanes(&t)).transpose().context(name.clone())?;
        let labels = (vehicles.as_ref(), lanes.as_ref());
        self.road_figures(pack.end(), name, mount.as_ref(), labels, seen)?;
        // A clip without a labelled mount was seen on one that nobody measured already.
        if pack == Pack::Downloaded && mount.is_some() {
            let (seen, _) = pack.watch(clip, CameraMount::default())?;
            self.road_figures(".unmeasured", name, mount.as_ref(), labels, &seen)?;
        }
        Ok(())
    }

    /// The figures of one way of seeing the clip of this name, whose names end in `end`; `mount` is
    /// the labelled one.
    fn road_figures(
        &mut self,
        end: &str,
        name: &str,
        mount: Option<&CameraMount>,
        (vehicles, lanes): (Option<&Labels<VehicleLabel>>, Option<&Labels<LaneLabel>>),
        seen: &Outcome,
    ) -> Result<()> {
        let roads = seen.roads();
        match vehicles {
            Some(labels) => self.lead(end, name, labels, &roads),
            None => self.note(format!("{name}: no labels: its vehicles are not scored")),
        }
        self.lane(end, name, lanes, &roads)?;
        if let (Some(mount), Some(vehicles), Some(lanes)) = (mount, vehicles, lanes) {
            self.distances(end, name, mount, (vehicles, lanes), seen)?;
        }
        if end != Pack::BuiltIn.end() {
            // Without a network for vehicles there is but the lane, which is the same.
            self.road_chart(end, name, lanes, &roads);
        }
        Ok(())
    }

    fn lead(
        &mut self,
        end: &str,
        clip: &str,
        labels: &Labels<VehicleLabel>,
        roads: &[RoadObservation],
    ) {
        let (mut judged, mut found, mut labelled, mut reported) =
            (0_usize, 0_usize, 0_usize, 0_usize);
        let mut others = BTreeMap::<String, usize>::new();
        for seen in roads {
            let vehicles = VehicleLabel::at(&labels.rows, seconds(seen.at));
            let Some(lead) = vehicles.iter().find(|v| v.own_lane) else { continue };
            labelled += 1;
            let Some(lead_seen) = seen.lead.known() else { continue };
            judged += 1;
            let Some(lead_seen) = lead_seen else { continue };
            reported += 1;
            let is = |v: &VehicleLabel| {
                overlap(&lead_seen.area, &letterboxed(&v.area, labels.size, looked_at())) >= SAME
            };
            if is(lead) {
                found += 1;
            } else {
                let other = vehicles.iter().find(|v| is(v)).map_or("no label", |v| &v.vehicle);
                *others.entry(other.to_owned()).or_default() += 1;
            }
        }
        if judged == 0 {
            self.note(format!(
                "perception.{clip}.lead_found_ratio{end}: the lane ahead was never judged"
            ));
            return;
        }
        let name = format!("perception.{clip}.lead_found_ratio{end}");
        let set = format!("{clip}, a car of 16 to 20 pixels, likely in the own lane");
        self.figures.push(Figure::new(name, found as f64 / labelled as f64, "1", labelled, set));
        if reported > 0 {
            let name = format!("perception.{clip}.lead_wrong_ratio{end}");
            let value = (reported - found) as f64 / reported as f64;
            let set = format!("{clip}, vehicles said to be ahead that are not the labelled one");
            self.figures.push(Figure::new(name, value, "1", reported, set).goal("0"));
            let others: Vec<String> = others.iter().map(|(v, n)| format!("{v} {n}")).collect();
            self.note(format!("{clip}: said to be ahead and not the lead: {}", others.join(", ")));
        }
    }

    fn lane(
        &mut self,
        end: &str,
        clip: &str,
        lanes: Option<&Labels<LaneLabel>>,
        roads: &[RoadObservation],
    ) -> Result<()> {
        let seen = roads.iter().filter(|r| r.lane.known().is_some()).count();
        if seen == 0 {
            self.note(format!("perception.{clip}.lane_*{end}: no lane was seen"));
            return Ok(());
        }
        let of = |what: &str, value, unit, count| {
            Figure::new(
                format!("perception.{clip}.{what}{end}"),
                value,
                unit,
                count,
                clip.to_owned(),
            )
        };
        let share = seen as f64 / roads.len() as f64;
        self.figures.push(of("lane_seen_ratio", share, "1", roads.len()));
        let Some(lanes) = lanes else { return Ok(()) };
        let errors: Vec<f64> = roads
            .iter()
            .filter_map(|r| {
                let label = LaneLabel::at(&lanes.rows, seconds(r.at))?;
                let lane = r.lane.known()?;
                let measured = f64::from(lane.offset_m) / f64::from(lane.width_m);
                Some((measured - label.offset_widths()).abs())
            })
            .collect();
        if errors.is_empty() {
            self.note(format!(
                "perception.{clip}.lane_offset_*{end}: no lane at a labelled moment"
            ));
            return Ok(());
        }
        let (middle, p90) = (median(&errors)?, percentile(&errors, 90)?);
        self.figures.push(of("lane_offset_error_median_widths", middle, "widths", errors.len()));
        self.figures.push(of("lane_offset_error_p90_widths", p90, "widths", errors.len()));
        Ok(())
    }

    fn road_chart(
        &mut self,
        end: &str,
        clip: &str,
        lanes: Option<&Labels<LaneLabel>>,
        roads: &[RoadObservation],
    ) {
        let x = 0.0..roads.last().map_or(0.1, |r| seconds(r.at).max(0.1));
        let over_time = |value: &dyn Fn(&RoadObservation) -> Option<f32>| -> Vec<(f64, f64)> {
            let y = |r| value(r).map_or(f64::NAN, f64::from);
            roads.iter().map(|r| (seconds(r.at), y(r))).collect()
        };
        let lead = |r: &RoadObservation| r.lead.known().copied().flatten();
        let distance = over_time(&|r| lead(r).map(|l| l.distance_m));
        let far = distance.iter().map(|(_, y)| *y).filter(|y| y.is_finite()).fold(20.0, f64::max);
        let chart = Chart {
            title: format!("{clip}: distance to the vehicle ahead"),
            x_name: "s",
            y_name: "m",
            x: x.clone(),
            y: 0.0..far * 1.3,
            series: vec![
                Series::deviation(roads.iter().filter_map(|r| {
                    let lead = lead(r)?;
                    Some((seconds(r.at), f64::from(lead.distance_m), f64::from(lead.error_m)))
                })),
                Series::new("distance", colour::BLUE, Look::Line, distance),
            ],
        };
        self.chart(&format!("{clip}_distance{end}"), &chart);
        let labels = lanes.map_or(&[][..], |l| &l.rows);
        let mut series = vec![Series::new(
            "label",
            colour::BLACK,
            Look::Dots,
            labels.iter().map(|l| (l.at_s, l.offset_widths())).collect(),
        )];
        series.retain(|s| !s.points.is_empty());
        let offset = over_time(&|r| r.lane.known().map(|l| l.offset_m / l.width_m));
        series.push(Series::new("measured", colour::BLUE, Look::Line, offset));
        let chart = Chart {
            title: format!("{clip}: place in the lane, left is positive"),
            x_name: "s",
            y_name: "widths of the lane",
            x,
            y: -0.5..0.5,
            series,
        };
        self.chart(&format!("{clip}_lane{end}"), &chart);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_one_for_the_same_and_none_apart() {
        let at = |x, y| PictureBox { x, y, w: 0.2, h: 0.1 };
        for (b, want) in [(at(0.1, 0.1), 1.0), (at(0.2, 0.1), 1.0 / 3.0), (at(0.5, 0.1), 0.0)] {
            assert!((overlap(&at(0.1, 0.1), &b) - want).abs() < 1e-5, "{b:?}");
        }
        let none = PictureBox { x: 0.0, y: 0.0, w: 0.0, h: 0.0 };
        assert!(overlap(&none, &none) < 1e-9);
    }

    #[test]
    fn a_vehicle_left_of_its_lane_has_the_lane_to_its_right() {
        let text = "# r.mp4: 960x540\n\
            t_s,left_bottom_x,left_60_x,right_bottom_x,right_60_x,horizon_y\n\
            0.0,0.2,0.45,1.0,0.55,0.5\n";
        let lanes = labels::lanes(text).unwrap();
        assert!((lanes.rows[0].offset_widths() - 0.125).abs() < 1e-9);
        assert!(LaneLabel::at(&lanes.rows, 0.09).is_some());
        assert!(LaneLabel::at(&lanes.rows, 0.2).is_none());
    }
}
