//! One picture's findings into what is told of the road: the vehicle ahead and the own lane.
//!
//! INVARIANT: 'nobody ahead' is told only of a picture that was good enough to see somebody, with a
//! detector that worked, and with nothing in the own path whose distance is unclear.

use temoin_proto::{
    perception::{LanePosition, LeadVehicle, NotSeen, PictureBox, RoadObservation, Seen},
    time::MonoTime,
};

use super::{
    camera::RoadCamera,
    distance::{Cues, Distance, Horizon, distance, stands_on_the_road},
    horizon::HorizonLearner,
    lane::{LaneTracker, OwnLane},
    lines::MarkPoint,
    single,
    tracks::{Detection, Track, Tracks, VehicleKind},
};

/// Half of the path that is watched where no lane is seen, metres: a lane of 3.5 m and a little.
pub const HALF_PATH_M: f64 = 1.8;
/// A distance that is less sure than this part of itself is not told.
pub const MOST_ERROR: f64 = 0.3;
/// A vehicle that was seen once only counts from this score.
const SURE_AT_ONCE: f64 = 0.5;
/// One standard deviation of an edge of a box: pixels of the network, and parts of the box.
/// Measured as the scatter of smoothed boxes on a motorway, and doubled. Own choice: validate.
const EDGE: (f64, f64) = (0.8, 0.02);
/// Width by height of a rear: flat sports cars 1.7, lorries 0.6, motorcycles 0.4.
const REAR_SHAPES: (f64, f64) = (0.35, 1.9);
/// A box this near to an edge of the picture is cut by it, parts of the picture's width.
const AT_EDGE: f64 = 0.004;

/// What was found in one picture.
#[derive(Clone, Copy, Debug)]
pub struct Findings<'a> {
    /// The picture's time.
    pub at: MonoTime,
    /// Whether the picture is good enough to see anything in it.
    pub light: Result<(), NotSeen>,
    /// Whether a vehicle ahead would be seen if there was one.
    pub ahead: Result<(), NotSeen>,
    /// The vehicles.
    pub vehicles: Result<&'a [Detection], NotSeen>,
    /// Points of markings, row by row.
    pub marks: &'a [MarkPoint],
}

/// What is followed from picture to picture.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    tracks: Tracks,
    lane: LaneTracker,
    learner: HorizonLearner,
    horizon: Option<Horizon>,
}

impl Scene {
    /// Takes one picture's findings. Pictures come in the order of time.
    pub fn look(&mut self, camera: &RoadCamera, found: &Findings<'_>) -> RoadObservation {
        let believed = (self.learner.horizon(camera), self.learner.direction_px(camera));
        let lane = match found.light {
            Ok(()) => self.lane.look(found.at, camera, believed, found.marks),
            Err(_) => None,
        };
        if let Some(lane) = lane.as_ref().filter(|l| l.both && l.confidence >= 0.5) {
            self.learner.learn(found.at, camera, lane.lines.horizon, lane.lines.column_px);
        }
        let horizon = lane.as_ref().map_or(believed.0, |lane| lane.lines.horizon);
        self.horizon = Some(horizon);
        let lead = match (found.light, found.vehicles) {
            (Err(why), _) | (Ok(()), Err(why)) => Seen::Unknown(why),
            (Ok(()), Ok(vehicles)) => {
                let standing: Vec<Detection> =
                    vehicles.iter().filter(|v| stands(camera, horizon, v)).copied().collect();
                self.tracks.look(found.at, &standing);
                let path = Path { camera, horizon, direction_px: believed.1, lane: lane.as_ref() };
                self.lead(&path, found.ahead)
            }
        };
        let lane = match (found.light, lane) {
            (Err(why), _) => Seen::Unknown(why),
            (Ok(()), None) => Seen::Unknown(NotSeen::NoMarkings),
            (Ok(()), Some(lane)) => Seen::Known {
                value: LanePosition {
                    offset_m: single(lane.offset_m),
                    width_m: single(lane.width_m),
                },
                confidence: single(lane.confidence.clamp(0.0, 1.0)),
            },
        };
        RoadObservation { at: found.at, lead, lane }
    }

    /// The vehicles that are followed.
    pub fn tracks(&self) -> &[Track] {
        self.tracks.all()
    }

    /// The horizon of the last picture.
    pub const fn horizon(&self) -> Option<Horizon> {
        self.horizon
    }

    fn lead(&self, path: &Path<'_>, ahead: Result<(), NotSeen>) -> Seen<Option<LeadVehicle>> {
        let mut nearest: Option<(Distance, &Track)> = None;
        let mut unclear = None;
        for track in self.tracks.all() {
            let sure = track.looks >= 2 || track.score >= SURE_AT_ONCE;
            if !sure {
                continue;
            }
            match path.place(track) {
                Place::Aside => {}
                Place::Unclear(why) => unclear = Some(why),
                Place::Ahead(d) if d.error_m > MOST_ERROR * d.forward_m => {
                    unclear = Some(NotSeen::TooFar);
                }
                Place::Ahead(d) => {
                    if nearest.is_none_or(|(n, _)| d.forward_m < n.forward_m) {
                        nearest = Some((d, track));
                    }
                }
            }
        }
        let sure_of_path = if path.lane.is_some() { 1.0 } else { 0.7 };
        match (nearest, unclear) {
            // Something that touches the own bumper hides whatever is behind it.
            (_, Some(why)) if why != NotSeen::TooFar => Seen::Unknown(why),
            (None, Some(why)) => Seen::Unknown(why),
            (Some((d, track)), _) => {
                let value = LeadVehicle {
                    area: path.fractions(track),
                    distance_m: single((d.forward_m - path.camera.front_offset_m).max(0.1)),
                    error_m: single(d.error_m),
                };
                let confidence = single((track.score * sure_of_path).clamp(0.0, 1.0));
                Seen::Known { value: Some(value), confidence }
            }
            (None, None) => match ahead {
                Err(why) => Seen::Unknown(why),
                Ok(()) => Seen::Known { value: None, confidence: single(0.8 * sure_of_path) },
            },
        }
    }
}

/// Whether a box can be a vehicle; one that the picture or the bonnet cuts always can.
fn stands(camera: &RoadCamera, horizon: Horizon, v: &Detection) -> bool {
    let edge_px = AT_EDGE * camera.width_px + v.step_px;
    let cut = v.area.bottom >= camera.bonnet_px.min(camera.height_px) - edge_px
        || v.area.left <= edge_px
        || v.area.right >= camera.width_px - edge_px;
    let size = (v.area.width(), v.area.height(), v.area.bottom);
    cut || stands_on_the_road(camera, horizon, v.kind, size)
}

/// Where a vehicle is against the own path.
#[derive(Clone, Copy, Debug)]
enum Place {
    Aside,
    Ahead(Distance),
    Unclear(NotSeen),
}

/// The own path in one picture.
struct Path<'a> {
    camera: &'a RoadCamera,
    horizon: Horizon,
    direction_px: f64,
    lane: Option<&'a OwnLane>,
}

impl Path<'_> {
    fn place(&self, track: &Track) -> Place {
        let area = track.area;
        let edge_px = AT_EDGE * self.camera.width_px + track.step_px;
        let cut_below = area.bottom >= self.camera.bonnet_px.min(self.camera.height_px) - edge_px;
        let cut_aside = area.left <= edge_px || area.right >= self.camera.width_px - edge_px;
        let shape = area.width() / area.height();
        let rear = (REAR_SHAPES.0..=REAR_SHAPES.1).contains(&shape);
        let cues = Cues {
            kind: track.kind(),
            bottom_px: (!cut_below).then_some(area.bottom),
            // A box that is cut below has lost its shape.
            width_px: (!cut_aside && (rear || cut_below)).then_some(area.width()),
            edge_sigma_px: (EDGE.0 * track.step_px).hypot(EDGE.1 * area.width()),
        };
        let Some(d) = distance(self.camera, self.horizon, &cues) else {
            let wide = area.width() > 0.5 * self.camera.width_px;
            let middle = (area.left..area.right).contains(&self.direction_px);
            // Too near for either cue, right ahead: somebody is there, but nobody knows how near.
            // Or so far away that it stands above the horizon.
            return match (middle, wide) {
                (true, true) => Place::Unclear(NotSeen::Covered),
                (true, false) => Place::Unclear(NotSeen::TooFar),
                (false, _) => Place::Aside,
            };
        };
        let (aside_m, half_m) = self.aside(area.middle(), d.forward_m);
        let half_m = match track.kind() {
            VehicleKind::Car | VehicleKind::Truck | VehicleKind::Bus => half_m,
            // Narrow ones ride between the lanes, too.
            VehicleKind::Motorcycle | VehicleKind::Bicycle => half_m - 0.3,
        };
        if aside_m.abs() <= half_m { Place::Ahead(d) } else { Place::Aside }
    }

    /// How far to the left of the path's middle something is, and half of the path's width.
    fn aside(&self, u: f64, depth_m: f64) -> (f64, f64) {
        match self.lane {
            Some(lane) => {
                let left_m = lane.lines.left_m(self.camera, u, depth_m);
                (left_m - lane.middle_left_m, lane.width_m / 2.0)
            }
            None => {
                let left_m = (self.direction_px - u) * depth_m / self.camera.focal_px;
                (left_m + self.camera.side_offset_m, HALF_PATH_M)
            }
        }
    }

    fn fractions(&self, track: &Track) -> PictureBox {
        let (w, h) = (self.camera.width_px, self.camera.height_px);
        let part = |from: f64, to: f64, all: f64| {
            let (from, to) = ((from / all).clamp(0.0, 1.0), (to / all).clamp(0.0, 1.0));
            (single(from), single(to - from))
        };
        let (x, width) = part(track.area.left, track.area.right, w);
        let (y, height) = part(track.area.top, track.area.bottom, h);
        PictureBox { x, y, w: width, h: height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::road::{
        camera::tests::camera,
        lines::tests::{Painted, points},
        tracks::PixelBox,
    };

    fn at(s: f64) -> MonoTime {
        MonoTime::from_secs_f64(5.0 + s)
    }

    fn vehicle(kind: VehicleKind, forward_m: f64, left_m: f64) -> Detection {
        let camera = camera();
        let half_m = if kind == VehicleKind::Car { 0.9 } else { 1.2 };
        let (left, bottom) = camera.pixel(forward_m, left_m + half_m, 0.0, camera.horizon_px);
        let (right, top) = camera.pixel(forward_m, left_m - half_m, 1.5, camera.horizon_px);
        Detection { kind, score: 0.8, area: PixelBox { left, top, right, bottom }, step_px: 3.0 }
    }

    fn look(
        scene: &mut Scene,
        t_s: f64,
        light: Result<(), NotSeen>,
        vehicles: Result<&[Detection], NotSeen>,
        marks: &[MarkPoint],
    ) -> RoadObservation {
        let found = Findings { at: at(t_s), light, ahead: Ok(()), vehicles, marks };
        scene.look(&camera(), &found)
    }

    /// The last of five looks at the same.
    fn settled(vehicles: &[Detection], marks: &[MarkPoint]) -> RoadObservation {
        let mut scene = Scene::default();
        let looks =
            (0..5).map(|n| look(&mut scene, 0.2 * f64::from(n), Ok(()), Ok(vehicles), marks));
        looks.last().unwrap()
    }

    fn marks(lines: &[f64], bend: f64) -> Vec<MarkPoint> {
        let lines: Vec<Painted> =
            lines.iter().map(|left_m| Painted { left_m: *left_m, dashes: None }).collect();
        points(&camera(), &lines, (0.0, 0.0, bend), &mut || 0.0)
    }

    #[test]
    fn the_vehicle_ahead_is_the_nearest_in_the_own_path() {
        use VehicleKind::{Car, Truck};
        for (name, vehicles, want_m) in [
            ("free", vec![], None),
            ("one", vec![vehicle(Car, 30.0, 0.0)], Some(28.5)),
            (
                "the nearer of two",
                vec![vehicle(Car, 45.0, 0.2), vehicle(Truck, 18.0, -0.2)],
                Some(16.5),
            ),
            ("beside", vec![vehicle(Car, 20.0, 3.5), vehicle(Car, 12.0, -3.5)], None),
            (
                "beside and ahead",
                vec![vehicle(Car, 20.0, 3.5), vehicle(Car, 40.0, 0.5)],
                Some(38.5),
            ),
        ] {
            let seen = settled(&vehicles, &[]);
            let lead = seen.lead.known().unwrap_or_else(|| panic!("{name}: {seen:?}"));
            match (lead, want_m) {
                (Some(lead), Some(want)) => {
                    assert!((lead.distance_m - want).abs() < 0.1 * want, "{name}: {lead:?}");
                    assert!(lead.error_m > 0.0 && lead.error_m < 0.3 * want, "{name}: {lead:?}");
                }
                (None, None) => {}
                other => panic!("{name}: {other:?}"),
            }
            assert_eq!(seen.lane, Seen::Unknown(NotSeen::NoMarkings), "{name}");
        }
    }

    #[test]
    fn in_a_bend_the_lane_says_who_is_ahead() {
        // At 40 m the lane has gone 2.4 m to the left.
        let bend = 0.003;
        let ahead = vehicle(VehicleKind::Car, 40.0, bend * 40.0 * 40.0 / 2.0);
        let beside = vehicle(VehicleKind::Car, 40.0, bend * 40.0 * 40.0 / 2.0 - 3.5);
        let lane = marks(&[1.75, -1.75], bend);
        assert!(settled(&[ahead], &lane).lead.known().unwrap().is_some());
        assert_eq!(*settled(&[beside], &lane).lead.known().unwrap(), None);
        // Without it the path is straight.
        assert_eq!(*settled(&[ahead], &[]).lead.known().unwrap(), None);
    }

    #[test]
    fn a_free_road_is_told_only_of_a_road_that_was_seen() {
        let lane = marks(&[1.75, -1.75], 0.0);
        for (name, light, vehicles, lead, lane_seen) in [
            ("dark", Err(NotSeen::BadLight), Ok(&[][..]), NotSeen::BadLight, false),
            ("no model", Ok(()), Err(NotSeen::NoModel), NotSeen::NoModel, true),
            ("model failed", Ok(()), Err(NotSeen::ModelFailed), NotSeen::ModelFailed, true),
        ] {
            let mut scene = Scene::default();
            for n in 0..3 {
                let seen = look(&mut scene, 0.2 * f64::from(n), light, vehicles, &lane);
                assert_eq!(seen.lead, Seen::Unknown(lead), "{name}");
                assert_eq!(seen.lane.known().is_some(), lane_seen && n > 0, "{name}");
            }
        }
        // Fog: who is seen is seen, but nobody seen says nothing.
        let fog = |vehicles| Findings {
            at: at(0.0),
            light: Ok(()),
            ahead: Err(NotSeen::Blurred),
            vehicles: Ok(vehicles),
            marks: &[],
        };
        let nobody = Scene::default().look(&camera(), &fog(&[]));
        assert_eq!(nobody.lead, Seen::Unknown(NotSeen::Blurred));
        let car = [vehicle(VehicleKind::Car, 25.0, 0.0)];
        let somebody = Scene::default().look(&camera(), &fog(&car));
        assert!(somebody.lead.known().unwrap().is_some());
        // Too far for a distance that is worth something, and too near for any.
        let far = settled(&[vehicle(VehicleKind::Car, 230.0, 0.0)], &[]);
        assert_eq!(far.lead, Seen::Unknown(NotSeen::TooFar));
        let huge = PixelBox { left: 0.0, top: 10.0, right: 1280.0, bottom: 720.0 };
        let near = Detection { kind: VehicleKind::Truck, score: 0.9, area: huge, step_px: 3.0 };
        assert_eq!(settled(&[near], &[]).lead, Seen::Unknown(NotSeen::Covered));
    }

    #[test]
    fn a_missed_look_does_not_free_the_road() {
        let mut scene = Scene::default();
        let car = [vehicle(VehicleKind::Car, 25.0, 0.0)];
        for n in 0..12 {
            let seen = if n % 3 == 2 { &car[..0] } else { &car[..] };
            let road = look(&mut scene, 0.2 * f64::from(n), Ok(()), Ok(seen), &[]);
            assert!(road.lead.known().unwrap().is_some(), "look {n}");
        }
        let mut later = None;
        for n in 12..20 {
            later = Some(look(&mut scene, 0.2 * f64::from(n), Ok(()), Ok(&[]), &[]));
        }
        assert_eq!(later.unwrap().lead.known(), Some(&None));
    }

    #[test]
    fn a_guess_that_was_seen_once_is_nobody_yet() {
        let mut scene = Scene::default();
        let guess = [Detection { score: 0.35, ..vehicle(VehicleKind::Car, 25.0, 0.0) }];
        let first = look(&mut scene, 0.0, Ok(()), Ok(&guess), &[]);
        assert_eq!(first.lead.known(), Some(&None));
        let second = look(&mut scene, 0.2, Ok(()), Ok(&guess), &[]);
        assert!(second.lead.known().unwrap().is_some());
    }
}
