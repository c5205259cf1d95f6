//! What is drawn into a picture for what was seen in it.

use std::{collections::VecDeque, time::Duration};

use temoin_agent_core::{config::CoreConfig, driver::DriverWatch, gaze_zone::GazeZone, lids::Lids};
use temoin_media::annotate::{Colour, Mark, Shape};
use temoin_proto::{
    perception::{
        DriverObservation, FaceCover, HeadPose, Observation, PhoneUse, PictureBox, RoadObservation,
        Seen, Sight,
    },
    time::MonoTime,
};

use super::{lines, tally::reason};

/// How much of the eyelids' past the curve shows.
const CURVE: Duration = Duration::from_secs(10);
/// The curve's box, and the opening at its top.
const CURVE_BOX: PictureBox = PictureBox { x: 0.0, y: 0.86, w: 1.0, h: 0.14 };
const CURVE_TOP: f32 = 0.4;
/// Capitals' height, part of the picture's.
const TEXT: f32 = 0.02;

/// Draws one picture after the other.
pub(super) struct Painter {
    /// Watches without a speed: it says where the driver looks, and starts no timer.
    watch: DriverWatch,
    lids: VecDeque<(MonoTime, Option<f32>)>,
}

impl Painter {
    pub(super) fn new(rules: &CoreConfig) -> Self {
        Self { watch: DriverWatch::new(rules), lids: VecDeque::new() }
    }

    /// The marks of one picture; pictures come in the order of their time.
    pub(super) fn marks(&mut self, sight: &Sight, points: &[[f32; 2]]) -> Vec<Mark> {
        let mut marks = Vec::new();
        match &sight.observation {
            Observation::Driver(driver) => {
                self.remember(driver);
                self.driver(driver, points, &mut marks);
            }
            Observation::Road(road) => self::road(road, &mut marks),
        }
        for other in sight.others.iter().flatten() {
            marks.push(mark(Shape::Box(other.area), Colour::BLUE));
            let at = [other.area.x, other.area.y - 0.008];
            let words = format!("{} to blur", lines::kind(other.kind));
            marks.push(mark(Shape::Text(at, TEXT * 0.8, words), Colour::BLUE));
        }
        if let Err(why) = sight.others {
            let words = format!("others: {}", reason(why));
            marks.push(mark(Shape::Text([0.7, 0.03], TEXT, words), Colour::GREY));
        }
        marks
    }

    fn remember(&mut self, driver: &DriverObservation) {
        self.lids.push_back((driver.at, driver.eyelids.known().map(|e| e.0)));
        while self.lids.front().is_some_and(|(at, _)| driver.at.since(*at) > CURVE) {
            self.lids.pop_front();
        }
    }

    fn driver(&mut self, driver: &DriverObservation, points: &[[f32; 2]], marks: &mut Vec<Mark>) {
        if let Seen::Known { value: face, .. } = &driver.face {
            marks.push(mark(Shape::Box(*face), Colour::GREEN));
            if let Seen::Known { value: head, .. } = &driver.head {
                marks.extend(axes(head, face));
            }
        }
        marks.extend(points.iter().map(|p| mark(Shape::Dot(*p), Colour::YELLOW)));
        self.watch.step(driver, None);
        let state = self.watch.state();
        let zone = state.map_or(GazeZone::Unclear, |s| s.look.zone);
        let colour = match zone {
            GazeZone::Road | GazeZone::Mirror(_) => Colour::GREEN,
            GazeZone::Roof => Colour::YELLOW,
            GazeZone::Down | GazeZone::Aside => Colour::RED,
            GazeZone::Unclear => Colour::GREY,
        };
        let (lids, lids_colour) = match state.map(|s| s.lids) {
            Some(Lids::Open) => ("open", Colour::GREEN),
            Some(Lids::Closed { .. }) => ("closed", Colour::RED),
            Some(Lids::Unknown) | None => ("unclear", Colour::GREY),
        };
        let phone = |p: &PhoneUse| lines::phone(*p).replace('_', " ");
        let free = match driver.cover.known() {
            Some(FaceCover::Covered) => Colour::RED,
            Some(FaceCover::Free) | None => Colour::WHITE,
        };
        let held = match driver.phone.known() {
            Some(PhoneUse::AtEar | PhoneUse::InHand) => Colour::RED,
            Some(PhoneUse::None) | None => Colour::WHITE,
        };
        let head = |h: &HeadPose| {
            format!("yaw {:+.0} pitch {:+.0} roll {:+.0}", h.yaw_deg, h.pitch_deg, h.roll_deg)
        };
        let rows = [
            row("face", &driver.face, Colour::WHITE, |_| "seen".to_owned()),
            row("head", &driver.head, Colour::WHITE, head),
            (format!("looks at: {}", zone.as_str().replace('_', " ")), colour),
            (format!("lids: {lids}"), lids_colour),
            row("right eye", &driver.eyes.right, Colour::WHITE, |e| format!("{:.2}", e.0)),
            row("left eye", &driver.eyes.left, Colour::WHITE, |e| format!("{:.2}", e.0)),
            row("eyelids", &driver.eyelids, Colour::WHITE, |e| format!("{:.2}", e.0)),
            row("eyes", &driver.gaze, Colour::WHITE, |g| {
                format!("yaw {:+.0} pitch {:+.0}", g.yaw_deg, g.pitch_deg)
            }),
            row("mouth", &driver.mouth, Colour::WHITE, |m| format!("{:.2}", m.0)),
            row("phone", &driver.phone, held, phone),
            row("cover", &driver.cover, free, |c| lines::cover(*c).to_owned()),
        ];
        marks.extend(written(&rows));
        self.curve(driver.at, marks);
    }

    /// The eyelids of the last seconds, along the bottom; a gap where they were not seen.
    fn curve(&self, now: MonoTime, marks: &mut Vec<Mark>) {
        let PictureBox { x, y, w, h } = CURVE_BOX;
        marks.push(mark(Shape::Shade(CURVE_BOX), Colour::GREY));
        let span = CURVE.as_secs_f32();
        #[expect(clippy::cast_possible_truncation, reason = "seconds of a curve fit")]
        let across = |at: MonoTime| x + w * (1.0 - (now.since(at).as_secs_f64() as f32) / span);
        let up = |opening: f32| y + h * (1.0 - (opening / CURVE_TOP).clamp(0.0, 1.0));
        let mut piece = Vec::new();
        for (at, opening) in &self.lids {
            if let Some(opening) = opening {
                piece.push([across(*at), up(*opening)]);
            } else {
                marks.push(mark(Shape::Lines(std::mem::take(&mut piece)), Colour::GREEN));
                let at = across(*at);
                marks.push(mark(Shape::Lines(vec![[at, y + h * 0.94], [at, y + h]]), Colour::GREY));
            }
        }
        marks.push(mark(Shape::Lines(piece), Colour::GREEN));
        let words = format!("eyelids, {} s; grey below: not seen", CURVE.as_secs());
        marks.push(mark(Shape::Text([0.005, y - 0.008], TEXT * 0.8, words), Colour::WHITE));
    }
}

fn road(road: &RoadObservation, marks: &mut Vec<Mark>) {
    if let Seen::Known { value: Some(lead), .. } = &road.lead {
        marks.push(mark(Shape::Box(lead.area), Colour::GREEN));
        let at = [lead.area.x, lead.area.y - 0.01];
        let words = format!("{:.0} m +-{:.0}", lead.distance_m, lead.error_m);
        marks.push(mark(Shape::Text(at, TEXT, words), Colour::GREEN));
    }
    let rows = [
        row("vehicle ahead", &road.lead, Colour::WHITE, |lead| match lead {
            Some(lead) => format!("{:.1} m +-{:.1}", lead.distance_m, lead.error_m),
            None => "none".to_owned(),
        }),
        row("lane", &road.lane, Colour::WHITE, |lane| {
            format!("{:+.2} m of {:.1}", lane.offset_m, lane.width_m)
        }),
    ];
    marks.extend(written(&rows));
}

const fn mark(shape: Shape, colour: Colour) -> Mark {
    Mark { shape, colour }
}

/// A thing with its value and confidence, or why it was not seen.
fn row<T>(
    thing: &str,
    seen: &Seen<T>,
    colour: Colour,
    value: impl Fn(&T) -> String,
) -> (String, Colour) {
    match seen {
        Seen::Known { value: v, confidence } => {
            (format!("{thing}: {} ({confidence:.2})", value(v)), colour)
        }
        Seen::Unknown(why) => (format!("{thing}: {}", reason(*why)), Colour::GREY),
    }
}

fn written(rows: &[(String, Colour)]) -> impl Iterator<Item = Mark> {
    let mut y = 0.01;
    rows.iter().map(move |(words, colour)| {
        y += TEXT * 1.7;
        mark(Shape::Text([0.005, y], TEXT, words.clone()), *colour)
    })
}

/// Where the face points (blue), its top (green) and its left (red), from the middle of its box.
fn axes(head: &HeadPose, face: &PictureBox) -> Vec<Mark> {
    let (from, reach) = ([face.x + face.w / 2.0, face.y + face.h / 2.0], 0.6);
    let colours = [Colour::RED, Colour::GREEN, Colour::BLUE];
    axis_tips(head)
        .into_iter()
        .zip(colours)
        .map(|([x, y], colour)| {
            let to = [from[0] + reach * face.w * x, from[1] + reach * face.h * y];
            mark(Shape::Lines(vec![from, to]), colour)
        })
        .collect()
}

/// Tips of the head's axes (its left, its top, where it points) in the picture: to the right and
/// down, 1 where an axis lies in it. The driver's left is the picture's right.
fn axis_tips(head: &HeadPose) -> [[f32; 2]; 3] {
    let (sin_y, cos_y) = head.yaw_deg.to_radians().sin_cos();
    let (sin_p, cos_p) = head.pitch_deg.to_radians().sin_cos();
    let (sin_r, cos_r) = head.roll_deg.to_radians().sin_cos();
    // x right, y up, z to the camera; tilted, then nodded, then turned.
    [[cos_r, sin_r, 0.0], [-sin_r, cos_r, 0.0], [0.0, 0.0, 1.0]].map(|[x, y, z]| {
        let (y, z) = (y * cos_p + z * sin_p, z * cos_p - y * sin_p);
        [x * cos_y + z * sin_y, -y]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_point_where_the_head_does() {
        let tips = |yaw_deg, pitch_deg, roll_deg| {
            axis_tips(&HeadPose { yaw_deg, pitch_deg, roll_deg }).map(|[x, y]| {
                let round = |v: f32| (v * 100.0).round() / 100.0;
                [round(x) + 0.0, round(y) + 0.0]
            })
        };
        let [left, top, nose] = tips(0.0, 0.0, 0.0);
        assert_eq!((left, top, nose), ([1.0, 0.0], [0.0, -1.0], [0.0, 0.0]));
        assert_eq!(tips(90.0, 0.0, 0.0)[2], [1.0, 0.0], "turned to the driver's left");
        assert_eq!(tips(0.0, 90.0, 0.0)[2], [0.0, -1.0], "looks up");
        assert!(tips(0.0, 0.0, 30.0)[1][0] < 0.0, "tilted to the driver's right shoulder");
    }

    #[test]
    fn a_gap_in_the_curve_stays_one() {
        let mut painter = Painter::new(&CoreConfig::default());
        let mut lines = Vec::new();
        for (n, opening) in [Some(0.25), Some(0.2), None, Some(0.3), Some(0.3)].iter().enumerate() {
            let at = MonoTime::from_secs_f64(0.1 * f64::from(u8::try_from(n).unwrap()));
            let mut seen =
                DriverObservation::unseen(at, temoin_proto::perception::NotSeen::EyesUnclear);
            if let Some(opening) = opening {
                let value = temoin_proto::perception::EyelidOpening(*opening);
                seen.eyelids = Seen::Known { value, confidence: 1.0 };
            }
            let sight = Sight { observation: Observation::Driver(seen), others: Ok(Vec::new()) };
            lines = painter
                .marks(&sight, &[])
                .into_iter()
                .filter_map(|m| match (m.shape, m.colour) {
                    (Shape::Lines(points), Colour::GREEN) => Some(points.len()),
                    _ => None,
                })
                .collect();
        }
        assert_eq!(lines, [2, 2], "two pieces, not one line across the gap");
    }
}
