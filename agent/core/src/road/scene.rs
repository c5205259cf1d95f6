//! One picture's findings into what is told of the road: the vehicle ahead and the own lane.
//!
//! INVARIANT: who is ahead is told only where the own path says so: the lane that is seen, or near
//! by a straight path whose direction is sure enough. Where somebody may be in it or beside it,
//! and nobody nearer surely is, the vehicle ahead is unknown.
//! INVARIANT: 'nobody ahead' is told only of a picture that was good enough to see somebody, with a
//! detector that worked, and with nothing in the own path whose distance is unclear.

use temoin_proto::{
    perception::{LanePosition, LeadVehicle, NotSeen, PictureBox, RoadObservation, Seen},
    time::MonoTime,
};

use super::{
    camera::RoadCamera,
    distance::{Cues, Distance, Horizon, distance, horizon_of, stands_on_the_road},
    horizon::{HorizonLearner, Settled},
    lane::{LaneTracker, OwnLane},
    lines::MarkPoint,
    single,
    tracks::{Detection, Track, Tracks, VehicleKind},
    vanishing::Vanishing,
};

/// Half of the path that is watched where no lane is seen, metres: a lane of 3.5 m and a little.
pub const HALF_PATH_M: f64 = 1.8;
/// A bend that nobody sees, 1/m: one standard deviation of a country road's. Own choice: validate.
const UNSEEN_BEND: f64 = 0.001;
/// Surer than this is in the own path, and less sure than what is left is beside it. Own choice:
/// a wrong lead is worse than none.
const SURE_OF_PLACE: f64 = 0.8;
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
    vanishing: Vanishing,
    learner: HorizonLearner,
    horizon: Option<Horizon>,
    placed: Vec<Placed>,
}

/// A vehicle that was seen in the last picture, wherever it drives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placed {
    /// Its box.
    pub area: PictureBox,
    /// From the lens along the road to it.
    pub distance: Distance,
}

impl Scene {
    /// Takes one picture's findings. Pictures come in the order of time.
    pub fn look(&mut self, camera: &RoadCamera, found: &Findings<'_>) -> RoadObservation {
        let believed = self.learner.horizon(camera);
        let direction = self.learner.direction(camera);
        // One picture's lines fit many horizons, and each of those another lane.
        let horizon_known = camera.horizon_is_measured() || self.learner.settled().is_some();
        let lane = match found.light {
            Ok(()) if horizon_known => {
                self.lane.look(found.at, camera, (believed, direction.0), found.marks)
            }
            Ok(()) | Err(_) => None,
        };
        if found.light.is_ok()
            && let Some(lines) = self.vanishing.look(found.at, camera, found.marks)
        {
            self.learner.learn(camera, &lines);
        }
        let horizon = lane
            .as_ref()
            .map_or(believed, |lane| self.learner.of_lines(camera, lane.lines.horizon));
        self.horizon = Some(horizon);
        self.placed.clear();
        let lead = match (found.light, found.vehicles) {
            (Err(why), _) | (Ok(()), Err(why)) => Seen::Unknown(why),
            (Ok(()), Ok(vehicles)) => {
                let standing: Vec<Detection> =
                    vehicles.iter().filter(|v| stands(camera, horizon, v)).copied().collect();
                self.tracks.look(found.at, &standing);
                let path = Path { camera, horizon, direction, lane: lane.as_ref() };
                let seen_now = || self.tracks.all().iter().filter(|t| t.seen == found.at);
                self.placed = seen_now().filter_map(|t| path.placed(t)).collect();
                let cues: Vec<Cues> =
                    seen_now().filter(|t| t.looks >= 3).map(|t| path.cues(t)).collect();
                if let Some(told) = horizon_of(camera, &cues) {
                    self.learner.check(camera, told);
                }
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

    /// The horizon on which the lines of many pictures agree.
    pub const fn settled(&self) -> Option<Settled> {
        self.learner.settled()
    }

    /// The vehicles that the last picture showed and whose distance can be told.
    pub fn placed(&self) -> &[Placed] {
        &self.placed
    }

    fn lead(&self, path: &Path<'_>, ahead: Result<(), NotSeen>) -> Seen<Option<LeadVehicle>> {
        let mut nearest: Option<(Distance, f64, &Track)> = None;
        // Who may be in the own path: why nobody knows, and how far away.
        let mut unclear: Option<(NotSeen, f64)> = None;
        let mut doubt = |why, forward_m: f64| {
            if unclear.is_none_or(|(_, m)| forward_m < m) {
                unclear = Some((why, forward_m));
            }
        };
        for track in self.tracks.all() {
            let sure = track.looks >= 2 || track.score >= SURE_AT_ONCE;
            if !sure {
                continue;
            }
            match path.place(track) {
                Place::Aside => {}
                Place::TooNear => doubt(NotSeen::Covered, 0.0),
                Place::TooFar => doubt(NotSeen::TooFar, f64::MAX),
                Place::Ahead(d, _) | Place::Perhaps(d) if d.error_m > MOST_ERROR * d.forward_m => {
                    doubt(NotSeen::TooFar, d.forward_m);
                }
                Place::Perhaps(d) => doubt(path.why_unclear(), d.forward_m),
                Place::Ahead(d, part) => {
                    if nearest.is_none_or(|(n, ..)| d.forward_m < n.forward_m) {
                        nearest = Some((d, part, track));
                    }
                }
            }
        }
        let sure_of_path = if path.lane.is_some() { 1.0 } else { 0.7 };
        match (nearest, unclear) {
            // Whoever is nearer may be the one ahead.
            (Some((d, ..)), Some((why, forward_m))) if forward_m < d.forward_m => {
                Seen::Unknown(why)
            }
            (None, Some((why, _))) => Seen::Unknown(why),
            (Some((d, part, track)), _) => {
                let value = LeadVehicle {
                    area: path.fractions(track),
                    distance_m: single((d.forward_m - path.camera.front_offset_m).max(0.1)),
                    error_m: single(d.error_m),
                };
                let confidence = single((track.score * part * sure_of_path).clamp(0.0, 1.0));
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
    /// In the own path; the second number is how sure that is, 0 to 1.
    Ahead(Distance, f64),
    /// In it or beside it.
    Perhaps(Distance),
    /// It fills the picture: no cue is left.
    TooNear,
    /// No distance comes out, and it may be in the own path.
    TooFar,
}

/// The own path in one picture.
struct Path<'a> {
    camera: &'a RoadCamera,
    horizon: Horizon,
    /// The column of straight ahead, pixels, and one standard deviation of it, degrees.
    direction: (f64, f64),
    lane: Option<&'a OwnLane>,
}

impl Path<'_> {
    /// What of a box can be measured.
    fn cues(&self, track: &Track) -> Cues {
        let area = track.area;
        let edge_px = AT_EDGE * self.camera.width_px + track.step_px;
        let cut_below = area.bottom >= self.camera.bonnet_px.min(self.camera.height_px) - edge_px;
        let cut_aside = area.left <= edge_px || area.right >= self.camera.width_px - edge_px;
        let shape = area.width() / area.height();
        let rear = (REAR_SHAPES.0..=REAR_SHAPES.1).contains(&shape);
        Cues {
            kind: track.kind(),
            bottom_px: (!cut_below).then_some(area.bottom),
            // A box that is cut below has lost its shape.
            width_px: (!cut_aside && (rear || cut_below)).then_some(area.width()),
            edge_sigma_px: (EDGE.0 * track.step_px).hypot(EDGE.1 * area.width()),
        }
    }

    fn placed(&self, track: &Track) -> Option<Placed> {
        let distance = distance(self.camera, self.horizon, &self.cues(track))?;
        Some(Placed { area: self.fractions(track), distance })
    }

    fn place(&self, track: &Track) -> Place {
        let (area, cues) = (track.area, self.cues(track));
        let Some(d) = distance(self.camera, self.horizon, &cues) else {
            let wide = area.width() > 0.5 * self.camera.width_px;
            let middle = (area.left..area.right).contains(&self.direction.0);
            // Too near for either cue, right ahead: somebody is there, but nobody knows how near.
            // Or so far away that it stands above the horizon.
            return match (middle, wide) {
                (true, true) => Place::TooNear,
                (true, false) => Place::TooFar,
                (false, _) => Place::Aside,
            };
        };
        let (aside_m, path_sigma_m, half_m) = self.aside(area.middle(), &d);
        let half_m = match track.kind() {
            VehicleKind::Car | VehicleKind::Truck | VehicleKind::Bus => half_m,
            // Narrow ones ride between the lanes, too.
            VehicleKind::Motorcycle | VehicleKind::Bicycle => half_m - 0.3,
        };
        let box_sigma_m = cues.edge_sigma_px * d.forward_m / self.camera.focal_px;
        let (aside_m, sigma_m) = (aside_m.abs(), path_sigma_m.hypot(box_sigma_m));
        let within = below(half_m, aside_m, sigma_m);
        let part = within - below(-half_m, aside_m, sigma_m);
        if part >= SURE_OF_PLACE {
            Place::Ahead(d, part)
        } else if within <= 1.0 - SURE_OF_PLACE {
            // Of something whose place is hardly known the part within is small, too, but that
            // does not put it beside the path.
            Place::Aside
        } else {
            Place::Perhaps(d)
        }
    }

    /// How far to the left of the path's middle something is, one standard deviation of that, and
    /// half of the path's width.
    fn aside(&self, u: f64, d: &Distance) -> (f64, f64, f64) {
        let depth_m = d.forward_m;
        match self.lane {
            Some(lane) => {
                let left_m = lane.lines.left_m(self.camera, u, depth_m);
                // Another focal length changes both alike.
                let focal_m = depth_m * self.camera.focal_error;
                let depth_sigma_m = (d.error_m * d.error_m - focal_m * focal_m).max(0.0).sqrt();
                let sigma_m = lane.lines.left_sigma_m(self.camera, u, (depth_m, depth_sigma_m));
                (left_m - lane.middle_left_m, sigma_m, lane.width_m / 2.0)
            }
            None => {
                let (direction_px, sigma_deg) = self.direction;
                let left_m = (direction_px - u) * depth_m / self.camera.focal_px;
                let turned_m = depth_m * sigma_deg.to_radians();
                let bent_m = UNSEEN_BEND * depth_m * depth_m / 2.0;
                let aside_m = left_m + self.camera.side_offset_m;
                (aside_m, turned_m.hypot(bent_m), HALF_PATH_M)
            }
        }
    }

    /// Why it is unclear who is ahead.
    const fn why_unclear(&self) -> NotSeen {
        match self.lane {
            Some(_) => NotSeen::TooFar,
            None => NotSeen::NoMarkings,
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

/// How likely something that is seen at a place lies below a limit, 0 to 1. By the logistic curve
/// that is nearest to the normal one (Camilli, *Origin of the scaling constant D = 1.7*, 1994:
/// within 0.01).
fn below(limit: f64, place: f64, sigma: f64) -> f64 {
    1.0 / (1.0 + (-1.702 * (limit - place) / sigma.max(1e-6)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::road::{
        camera::tests::{camera, unmeasured},
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
            let seen = settled(&vehicles, &marks(&[1.75, -1.75], 0.0));
            let lead = seen.lead.known().unwrap_or_else(|| panic!("{name}: {seen:?}"));
            match (lead, want_m) {
                (Some(lead), Some(want)) => {
                    assert!((lead.distance_m - want).abs() < 0.1 * want, "{name}: {lead:?}");
                    assert!(lead.error_m > 0.0 && lead.error_m < 0.3 * want, "{name}: {lead:?}");
                }
                (None, None) => {}
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn without_a_lane_only_who_is_near_is_surely_ahead() {
        use VehicleKind::Car;
        for (name, vehicles, want) in [
            ("near", vec![vehicle(Car, 15.0, 0.0)], Ok(true)),
            ("beside", vec![vehicle(Car, 15.0, 3.6)], Ok(false)),
            ("far", vec![vehicle(Car, 70.0, 0.0)], Err(NotSeen::NoMarkings)),
            ("on the line", vec![vehicle(Car, 20.0, 1.8)], Err(NotSeen::NoMarkings)),
            (
                "two of which one is",
                vec![vehicle(Car, 50.0, 1.6), vehicle(Car, 50.0, -1.6)],
                Err(NotSeen::NoMarkings),
            ),
            ("near, and far", vec![vehicle(Car, 15.0, 0.0), vehicle(Car, 60.0, 1.5)], Ok(true)),
        ] {
            let seen = settled(&vehicles, &[]);
            assert_eq!(seen.lane, Seen::Unknown(NotSeen::NoMarkings), "{name}");
            match (seen.lead, want) {
                (Seen::Known { value, .. }, Ok(want)) => {
                    assert_eq!(value.is_some(), want, "{name}");
                }
                (Seen::Unknown(why), Err(want)) => assert_eq!(why, want, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn below_is_nearly_the_normal_distribution() {
        for (sigmas, want) in [(-3.0, 0.001), (-1.0, 0.159), (0.0, 0.5), (0.5, 0.691), (2.0, 0.977)]
        {
            assert!((below(sigmas * 0.4 + 7.0, 7.0, 0.4) - want).abs() < 0.012, "{sigmas}");
        }
    }

    /// A whole drive as a camera sees it that nobody measured, and that looks this many degrees
    /// further up than was thought: its horizon is lower in the picture.
    #[test]
    fn a_mount_that_nobody_measured_settles_and_says_how_sure_it_is() {
        let guessed = unmeasured();
        for tilt_deg in [2.6, 0.0, -3.0] {
            let horizon_px = guessed.horizon_px + guessed.px_of_deg(tilt_deg);
            let truth = RoadCamera { horizon_px, mount_height_m: 1.28, ..guessed };
            let lines = [1.75, -1.75, 5.25].map(|left_m| Painted { left_m, dashes: None });
            let points = points(&truth, &lines, (0.0, 0.0, 0.0), &mut || 0.0);
            let car = |forward_m: f64, left_m: f64| Detection {
                area: {
                    let (left, bottom) = truth.pixel(forward_m, left_m + 0.9, 0.0, horizon_px);
                    let (right, top) = truth.pixel(forward_m, left_m - 0.9, 1.5, horizon_px);
                    PixelBox { left, top, right, bottom }
                },
                ..vehicle(VehicleKind::Car, 30.0, 0.0)
            };
            let vehicles = [car(45.0, 0.1), car(25.0, 3.5), car(60.0, 3.6)];
            let mut scene = Scene::default();
            for n in 0..60 {
                let found = Findings {
                    at: at(0.2 * f64::from(n)),
                    light: Ok(()),
                    ahead: Ok(()),
                    vehicles: Ok(&vehicles),
                    marks: &points,
                };
                let seen = scene.look(&guessed, &found);
                // From the first look on: who is ahead is right or unknown, and so is how far.
                if let Seen::Known { value, .. } = seen.lead {
                    let lead = value.unwrap_or_else(|| panic!("{tilt_deg}: look {n}: free"));
                    let off_m = f64::from(lead.distance_m) + guessed.front_offset_m - 45.0;
                    let error_m = f64::from(lead.error_m);
                    assert!(off_m.abs() <= 2.0 * error_m, "{tilt_deg}: look {n}: {lead:?}");
                    assert!(error_m > 0.15 * 45.0, "{tilt_deg}: look {n}: {lead:?}");
                }
                for (placed, truth_m) in scene.placed().iter().zip([45.0, 25.0, 60.0]) {
                    let off_m = placed.distance.forward_m - truth_m;
                    let told = placed.distance;
                    assert!(off_m.abs() <= 2.0 * told.error_m, "{tilt_deg}: look {n}: {told:?}");
                }
            }
            assert_eq!(scene.placed().len(), 3);
            let settled = scene.settled().unwrap_or_else(|| panic!("{tilt_deg}"));
            assert!((settled.offset_deg - tilt_deg).abs() < 0.3, "{tilt_deg}: {settled:?}");
            assert!(settled.sigma_deg < 0.5, "{tilt_deg}: {settled:?}");
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
        // Without it nobody knows where the road goes.
        assert_eq!(settled(&[ahead], &[]).lead, Seen::Unknown(NotSeen::NoMarkings));
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
