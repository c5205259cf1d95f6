//! Where the driver looks, by the unit's own judgement, against labels.
//!
//! The unit learns the driver's neutral look while it drives; a clip of seconds gives it no time for
//! that, so this is a driver in the first minute.

use std::collections::BTreeMap;

use temoin_agent_core::{config::CoreConfig, driver::DriverWatch, gaze_zone::GazeZone};
use temoin_proto::perception::DriverObservation;

use crate::{
    figures::Figure,
    labels::{FaceLabel, Labels, Zone},
    packs::Pack,
    perception::Scores,
    watch::{CLIP_SPEED_MPS, seconds},
};

const fn zone_of(judged: GazeZone) -> Zone {
    match judged {
        GazeZone::Road => Zone::Road,
        GazeZone::Mirror(_) => Zone::Mirror,
        GazeZone::Roof => Zone::Roof,
        GazeZone::Down => Zone::Down,
        GazeZone::Aside => Zone::Aside,
        GazeZone::Unclear => Zone::Unclear,
    }
}

const fn off_road(zone: Zone) -> bool {
    match zone {
        Zone::Down | Zone::Aside => true,
        Zone::Road | Zone::Mirror | Zone::Roof | Zone::Unclear => false,
    }
}

/// Counts of looks. What is labelled unclear is in none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Zones {
    labelled: usize,
    judged: usize,
    right: usize,
    on_road: usize,
    on_road_read_off: usize,
    off_road: usize,
    off_road_read_on: usize,
    wrong: BTreeMap<String, usize>,
}

impl Zones {
    fn add(&mut self, labelled: Zone, judged: Zone) {
        if labelled == Zone::Unclear {
            return;
        }
        self.labelled += 1;
        if judged == Zone::Unclear {
            return;
        }
        self.judged += 1;
        if off_road(labelled) {
            self.off_road += 1;
            self.off_road_read_on += usize::from(!off_road(judged));
        } else {
            self.on_road += 1;
            self.on_road_read_off += usize::from(off_road(judged));
        }
        if labelled == judged {
            self.right += 1;
        } else {
            *self.wrong.entry(format!("{labelled:?} as {judged:?}")).or_default() += 1;
        }
    }

    fn wrong(&self) -> String {
        let words: Vec<String> = self.wrong.iter().map(|(what, n)| format!("{what} {n}")).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    }
}

impl Scores<'_> {
    /// Zones of one clip: where the eyes were seen, against where they look, else against where the
    /// head points.
    pub(crate) fn zones(
        &mut self,
        pack: Pack,
        clip: &str,
        labels: &Labels<FaceLabel>,
        drivers: &[DriverObservation],
    ) {
        let mut watch = DriverWatch::new(&CoreConfig::default());
        let mut zones = Zones::default();
        for seen in drivers {
            watch.step(seen, Some(CLIP_SPEED_MPS));
            let label = FaceLabel::at(&labels.rows, seconds(seen.at));
            let (Some(label), Some(state)) = (label, watch.state()) else { continue };
            let labelled = if state.look.with_eyes { label.gaze_zone } else { label.head_zone };
            zones.add(labelled, zone_of(state.look.zone));
        }
        let end = pack.end();
        self.note(format!("{clip}, {}: zones wrong: {}", pack.suffix(), zones.wrong()));
        for (what, n, of, goal) in [
            ("zone_judged_ratio", zones.judged, zones.labelled, None),
            ("zone_right_ratio", zones.right, zones.judged, None),
            ("road_read_off_road_ratio", zones.on_road_read_off, zones.on_road, Some("0")),
            ("off_road_read_on_road_ratio", zones.off_road_read_on, zones.off_road, None),
        ] {
            let name = format!("perception.{clip}.{what}{end}");
            if of == 0 {
                self.note(format!("{name}: no such look is labelled and judged"));
                continue;
            }
            let set = format!("{clip} against labels made by hand");
            let figure = Figure::new(name, n as f64 / of as f64, "1", of, set);
            self.push(Figure { goal, ..figure });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unclear_looks_are_neither_right_nor_wrong() {
        let mut zones = Zones::default();
        for (labelled, judged) in [
            (Zone::Road, Zone::Road),
            (Zone::Road, Zone::Unclear),
            (Zone::Unclear, Zone::Down),
            (Zone::Mirror, Zone::Road),
            (Zone::Road, Zone::Down),
            (Zone::Aside, Zone::Mirror),
        ] {
            zones.add(labelled, judged);
        }
        assert_eq!((zones.labelled, zones.judged, zones.right), (5, 4, 1));
        assert_eq!((zones.on_road, zones.on_road_read_off), (3, 1));
        assert_eq!((zones.off_road, zones.off_road_read_on), (1, 1));
        assert_eq!(zones.wrong(), "Aside as Mirror 1, Mirror as Road 1, Road as Down 1");
    }
}
