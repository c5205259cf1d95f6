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
#[path = "scene_tests.rs"]
mod tests;
