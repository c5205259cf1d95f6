//! What is seen of the driver in a clip against its labels: angles, lids, phones.

use anyhow::{Context, Result};
use temoin_agent_core::config::CoreConfig;
use temoin_proto::perception::{DriverObservation, PhoneUse};

use crate::{
    charts::{Chart, Look, Series, colour},
    curves::{Pair, agreement},
    figures::Figure,
    labels::{self, EyeState, FaceLabel, Labels},
    packs::Pack,
    perception::Scores,
    watch::{self, Clip, Outcome, seconds},
};

/// Pictures with a labelled phone and without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Phones {
    held: usize,
    held_found: usize,
    free: usize,
    free_judged: usize,
    free_wrong: usize,
}

impl Phones {
    fn add(&mut self, labels: &Labels<FaceLabel>, drivers: &[DriverObservation]) {
        for seen in drivers {
            let Some(label) = FaceLabel::at(&labels.rows, seconds(seen.at)) else { continue };
            let found = seen.phone.known().map(|phone| match phone {
                PhoneUse::AtEar | PhoneUse::InHand => true,
                PhoneUse::None => false,
            });
            if label.phone {
                // A phone that was not judged was not found.
                self.held += 1;
                self.held_found += usize::from(found == Some(true));
            } else {
                self.free += 1;
                self.free_judged += usize::from(found.is_some());
                self.free_wrong += usize::from(found == Some(true));
            }
        }
    }
}

impl Scores<'_> {
    /// One clip of the cabin.
    pub(crate) fn of_cabin_clip(
        &mut self,
        pack: Pack,
        clip: &Clip,
        seen: &Outcome,
        phones: &mut Phones,
    ) -> Result<()> {
        let drivers = seen.drivers();
        let (name, end) = (&clip.name, pack.end());
        self.note(format!(
            "{name}, {}: {} pictures; not seen: face {}; head {}; eyelids {}; phone {}",
            pack.suffix(),
            drivers.len(),
            watch::reasons(drivers.iter().map(|d| &d.face)),
            watch::reasons(drivers.iter().map(|d| &d.head)),
            watch::reasons(drivers.iter().map(|d| &d.eyelids)),
            watch::reasons(drivers.iter().map(|d| &d.phone)),
        ));
        type Found = (&'static str, fn(&DriverObservation) -> bool);
        let parts: [Found; 3] = [
            ("face_found_ratio", |d| d.face.known().is_some()),
            ("pose_found_ratio", |d| d.head.known().is_some()),
            ("lids_found_ratio", |d| d.eyelids.known().is_some()),
        ];
        for (what, found) in parts {
            let ratio = drivers.iter().filter(|d| found(d)).count() as f64;
            let ratio = ratio / drivers.len().max(1) as f64;
            let what = format!("perception.{name}.{what}{end}");
            self.figures.push(Figure::new(what, ratio, "1", drivers.len(), name.clone()));
        }
        let Some(labels) = self.face_labels(clip)? else {
            self.note(format!("{name}: no labels: its angles and lids are not scored"));
            return Ok(());
        };
        phones.add(&labels, &drivers);
        self.angles(pack, name, &labels, &drivers)?;
        self.lids(pack, name, &labels, &drivers);
        self.zones(pack, name, &labels, &drivers);
        Ok(())
    }

    /// The labels of a clip of the cabin, where there are some.
    pub(crate) fn face_labels(&self, clip: &Clip) -> Result<Option<Labels<FaceLabel>>> {
        let text = labels::read(self.checkout, &clip.name)?;
        text.map(|t| labels::faces(&t)).transpose().with_context(|| clip.name.clone())
    }

    fn angles(
        &mut self,
        pack: Pack,
        clip: &str,
        labels: &Labels<FaceLabel>,
        drivers: &[DriverObservation],
    ) -> Result<()> {
        let (mut yaw, mut pitch) = (Vec::new(), Vec::new());
        for seen in drivers {
            let label = FaceLabel::at(&labels.rows, seconds(seen.at));
            let (Some(label), Some(head)) = (label, seen.head.known()) else { continue };
            yaw.push(Pair { labelled: label.yaw_deg, measured: f64::from(head.yaw_deg) });
            pitch.push(Pair { labelled: label.pitch_deg, measured: f64::from(head.pitch_deg) });
        }
        for (angle, pairs) in [("yaw", yaw), ("pitch", pitch)] {
            if pairs.is_empty() {
                self.note(format!(
                    "perception.{clip}.{angle}_*{}: no pose at a labelled moment",
                    pack.end()
                ));
                continue;
            }
            let seen = agreement(&pairs)?;
            let set = format!("{clip} against labels made by hand");
            let of = |what: &str, value, unit| {
                let name = format!("perception.{clip}.{angle}_{what}{}", pack.end());
                Figure::new(name, value, unit, seen.moments, set.clone())
            };
            self.figures.push(of("error_median_deg", seen.median_deg, "deg"));
            self.figures.push(of("error_p90_deg", seen.p90_deg, "deg"));
            for (what, value) in [("correlation", seen.correlation), ("same_sign", seen.same_sign)]
            {
                match value {
                    Some(value) => self.figures.push(of(what, value, "1")),
                    None => self.note(format!(
                        "perception.{clip}.{angle}_{what}{}: the labels do not turn far enough",
                        pack.end()
                    )),
                }
            }
        }
        Ok(())
    }

    /// Lids against the labels: only moments that are surely open or surely closed.
    fn lids(
        &mut self,
        pack: Pack,
        clip: &str,
        labels: &Labels<FaceLabel>,
        drivers: &[DriverObservation],
    ) {
        let closed_below = CoreConfig::default().drowsiness.closed_below;
        let (mut open, mut open_wrong, mut closed, mut closed_right) =
            (0_usize, 0_usize, 0, 0_usize);
        for seen in drivers {
            let label = FaceLabel::at(&labels.rows, seconds(seen.at));
            let (Some(label), Some(lids)) = (label, seen.eyelids.known()) else { continue };
            let reads_closed = f64::from(lids.0) < closed_below;
            match label.eyes {
                EyeState::Open => {
                    open += 1;
                    open_wrong += usize::from(reads_closed);
                }
                EyeState::Closed => {
                    closed += 1;
                    closed_right += usize::from(reads_closed);
                }
                EyeState::Unclear => {}
            }
        }
        for (what, right, of, goal) in [
            ("open_read_closed_ratio", open_wrong, open, Some("0")),
            ("closed_found_ratio", closed_right, closed, None),
        ] {
            let name = format!("perception.{clip}.{what}{}", pack.end());
            if of == 0_usize {
                self.note(format!("{name}: no such eyes are labelled and measured"));
                continue;
            }
            let value = right as f64 / of as f64;
            let figure = Figure::new(name, value, "1", of, format!("{clip}, labelled by hand"));
            self.figures.push(Figure { goal, ..figure });
        }
    }

    /// What was said of phones in all labelled clips.
    pub(crate) fn phones(&mut self, pack: Pack, phones: &Phones) {
        let end = pack.end();
        if phones.held == 0 {
            self.note(format!(
                "perception.phone.recall{end}: not measured: nobody holds a phone in the labelled \
                 recordings"
            ));
        }
        if phones.free_judged == 0 {
            self.note(format!(
                "perception.phone.false_positive_ratio{end}: no labelled picture was judged"
            ));
        }
        let set = format!(
            "labelled cabin clips; {} of {} pictures without a phone judged",
            phones.free_judged, phones.free
        );
        for (name, wrong, of, goal) in [
            ("recall", phones.held_found, phones.held, None),
            ("false_positive_ratio", phones.free_wrong, phones.free_judged, Some("0")),
        ] {
            if of > 0 {
                let value = wrong as f64 / of as f64;
                let name = format!("perception.phone.{name}{end}");
                let figure = Figure::new(name, value, "1", of, set.clone());
                self.push(Figure { goal, ..figure });
            }
        }
    }

    /// Angles and lids over time, with both packs.
    pub(crate) fn driver_charts(
        &mut self,
        clip: &Clip,
        curves: &[(Pack, Vec<DriverObservation>)],
    ) -> Result<()> {
        let labels = self.face_labels(clip)?;
        let rows = labels.as_ref().map_or(&[][..], |l| &l.rows);
        let clip = &clip.name;
        let end = curves.iter().flat_map(|(_, d)| d.last()).map(|d| seconds(d.at));
        let x = 0.0..end.fold(0.1, f64::max);
        let over_time = |what: &dyn Fn(&DriverObservation) -> Option<f32>| -> Vec<Series> {
            let of = |(pack, drivers): &(Pack, Vec<DriverObservation>)| {
                let value = |d: &DriverObservation| what(d).map_or(f64::NAN, f64::from);
                let points = drivers.iter().map(|d| (seconds(d.at), value(d))).collect();
                Series::new(pack.suffix(), pack.colour(), Look::Line, points)
            };
            curves.iter().map(of).collect()
        };
        type Angle = (&'static str, fn(&FaceLabel) -> f64, fn(&DriverObservation) -> Option<f32>);
        let angles: [Angle; 2] = [
            ("yaw", |l| l.yaw_deg, |d| d.head.known().map(|h| h.yaw_deg)),
            ("pitch", |l| l.pitch_deg, |d| d.head.known().map(|h| h.pitch_deg)),
        ];
        for (angle, label, measured) in angles {
            let band = rows.iter().flat_map(|l| {
                [l.plus_minus_deg, -l.plus_minus_deg].map(|d| (l.at_s, label(l) + d))
            });
            let mut series = vec![
                Series::new("how sure the label is", colour::GREY, Look::Dots, band.collect()),
                Series::new(
                    "label",
                    colour::BLACK,
                    Look::Dots,
                    rows.iter().map(|l| (l.at_s, label(l))).collect(),
                ),
            ];
            series.retain(|s| !s.points.is_empty());
            series.extend(over_time(&measured));
            let chart = Chart {
                title: format!("{clip}: {angle} of the head"),
                x_name: "s",
                y_name: "degrees",
                x: x.clone(),
                y: -80.0..80.0,
                series,
            };
            self.chart(&format!("{clip}_{angle}"), &chart);
        }
        let spans = |state: EyeState| -> Vec<(f64, f64)> {
            let next = rows.iter().skip(1);
            let pairs = rows.iter().zip(next).filter(|(a, _)| a.eyes == state);
            pairs.map(|(a, b)| (a.at_s, b.at_s - a.at_s)).collect()
        };
        let closed_below = CoreConfig::default().drowsiness.closed_below;
        let mut series = vec![
            Series::new("labelled unclear", colour::GREY, Look::Spans, spans(EyeState::Unclear)),
            Series::new("labelled closed", colour::PURPLE, Look::Spans, spans(EyeState::Closed)),
        ];
        series.retain(|s| !s.points.is_empty());
        series.push(Series::level("read as closed below", colour::GREEN, &x, closed_below));
        series.extend(over_time(&|d| d.eyelids.known().map(|l| l.0)));
        let chart = Chart {
            title: format!("{clip}: eyelid opening"),
            x_name: "s",
            y_name: "eyelid gap over eye width",
            x,
            y: 0.0..0.5,
            series,
        };
        self.chart(&format!("{clip}_eyelids"), &chart);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use temoin_hw::replay;
    use temoin_proto::perception::{NotSeen, Seen};

    use super::*;

    #[test]
    fn a_phone_that_was_not_judged_is_missed_and_no_false_one() {
        let rows = |phone: &str| {
            let text = format!(
                "# c.mp4: 540x960\n\
                 t_s,face_x0,face_y0,face_x1,face_y1,yaw_class,yaw_deg,pitch_deg,plus_minus_deg,\
                 eyes,head_zone,gaze_zone,phone,hands_over_face,note\n\
                 0.0,0.2,0.2,0.6,0.6,ahead,0,4,8,open,road,road,{phone},no,\n"
            );
            labels::faces(&text).unwrap()
        };
        let judged = |phone| DriverObservation {
            phone,
            ..DriverObservation::unseen(replay::ZERO, NotSeen::NoFace)
        };
        let known = |value| judged(Seen::Known { value, confidence: 0.9 });
        let all = [
            judged(Seen::Unknown(NotSeen::NoModel)),
            known(PhoneUse::None),
            known(PhoneUse::AtEar),
            known(PhoneUse::InHand),
        ];
        let mut held = Phones::default();
        held.add(&rows("yes"), &all);
        assert_eq!(held, Phones { held: 4, held_found: 2, free: 0, free_judged: 0, free_wrong: 0 });
        let mut free = Phones::default();
        free.add(&rows("no"), &all);
        assert_eq!(free, Phones { held: 0, held_found: 0, free: 4, free_judged: 3, free_wrong: 2 });
    }
}
