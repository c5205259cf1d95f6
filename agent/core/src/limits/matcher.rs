//! On which road the vehicle is: a hidden-Markov matcher (Viterbi), one step for each fix.
//!
//! A state is a directed edge of the map, or *off the map*. A fix says how well each fits by distance
//! and course; a step says how well the way along the roads fits the distance driven. Roads that are
//! not joined can only be reached through *off the map*, which costs [`LEAVE`] and [`ENTER`]: that is
//! what keeps a van on its motorway while the receiver wanders over the road beside it. A cross street
//! joins two roads only for a van that is slow enough to turn ([`way`]). Errors of a
//! receiver last for many seconds, so a fix counts for the share of [`INDEPENDENT_S`] that passed,
//! which also makes the answer the same at any rate of fixes.
//!
//! The limit is said where every state within [`SURE`] of the best has the same; of one road before and
//! behind the vehicle, within [`MARGIN`]. How fast it drives says nothing of which road it is on: else who
//! drives too fast would be moved to the faster road. Scores are natural logarithms of likelihoods. Idea: Newson and Krumm, Hidden Markov Map Matching Through Noise and
//! Sparseness, 2009; the numbers are own choices: validate.

use temoin_proto::{samples::GnssFix, time::MonoTime};

use super::{
    LimitState, UnknownReason,
    format::{LimitsError, Map, ReadAt},
    grid::{Plane, Point, turn_deg},
    road::Profile,
    search::{Directed, Near, Reached, Tiles, may_drive},
    stop_line::{self, Place, StopLine, StopLines},
    way::{self, Driven},
};

/// How long a receiver's error lasts, s: minutes beside a wall, seconds in the open.
pub const CORRELATION_S: f64 = 25.0;
/// Fixes so far apart in time count as independent, s: of an error that dies away as exp(-t/T), the mean
/// over a long time is as good as one fix in each 2 T.
pub const INDEPENDENT_S: f64 = 2.0 * CORRELATION_S;
/// The first fixes count as one independent fix together, over this time, s: one alone may be an outlier.
const FIRST_S: f64 = 10.0;
/// How long a difference between course and drawn road lasts, s.
const COURSE_CORRELATION_S: f64 = 3.0;
/// What the first fix counts, as a share of an independent one.
const FIRST_WEIGHT: f64 = 0.3;
/// What its course counts.
const FIRST_COURSE_WEIGHT: f64 = 0.4;
/// Another road this much less likely than the best (1 to 400) is no doubt. Were the receiver's error as
/// it says and as long as [`CORRELATION_S`], a van would be taken to be on another road at most once in
/// so many times that it is first seen beside one, however long it drives there: the ratio of two
/// likelihoods is a martingale. What is added for the road's width makes it rarer.
pub const SURE: f64 = 6.0;
/// Before or behind an end of the same road, this much less (1 to 20) is none.
pub const MARGIN: f64 = 3.0;
/// *Off the map* this much less likely is no doubt: it has no limit that could be said wrongly.
const OFF_MARGIN: f64 = 1.5;
/// Cost of leaving the map.
pub const LEAVE: f64 = -7.0;
/// Cost of coming onto a road of the map.
pub const ENTER: f64 = -3.0;
/// Cost of turning round on a road.
const TURN_ROUND: f64 = -4.0;
/// States this much less likely than the best are forgotten. More than [`LEAVE`] and [`ENTER`].
const FORGET: f64 = -15.0;
/// Most states that are followed.
const MOST_STATES: usize = 24;
/// *Off the map* fits like a road this many standard deviations away, and one in course.
const OFF_SIGMAS: f64 = 3.0;
/// Half the width of a road and the error of its drawing, m.
const ROAD_M: f64 = 3.5;
/// No receiver is better than this, whatever it says, m.
const LEAST_ERROR_M: f64 = 4.0;
/// Where a receiver says nothing of its error: HDOP times this, m.
const HDOP_M: f64 = 5.0;
/// Where it does not say even that, m.
const USUAL_ERROR_M: f64 = 8.0;
/// A worse fix is as good as none, m.
const WORST_ERROR_M: f64 = 40.0;
/// A road further off than this many standard deviations is none. Own choice: a fix of 100,000 is so wrong,
/// and a van that was lost on its own road may be found on another.
const REACH_SIGMAS: f64 = 4.5;
/// A road further off than this many is followed, and its limit not said.
const SAID_SIGMAS: f64 = 3.5;
/// Below this speed a course is noise, m/s.
const COURSE_SPEED_MPS: f64 = 3.0;
/// Below this speed nothing new is learned, m/s.
const STANDING_MPS: f64 = 1.0;
/// A road that leads this much elsewhere is not driven on, degrees.
const WORST_TURN_DEG: f64 = 60.0;
/// Fixes closer in time are skipped, s.
const LEAST_STEP_S: f64 = 0.19;
/// After a longer gap all begins anew, s.
const LONGEST_STEP_S: f64 = 10.0;
/// Nothing is said before so much was driven, m.
const START_M: f64 = 30.0;
/// So near to its end a road's end counts as the nearest, m.
const AT_END_M: f64 = 0.5;
/// A limit outlives the last fix for this long, s.
const FRESH_S: f64 = 3.0;
/// Without fixes a road is followed for so far, m.
pub const HOLD_M: f64 = 3000.0;
/// And for so long, s.
const HOLD_S: f64 = 300.0;
/// What a road's limit is; the matcher itself knows no vehicle, no time and no corrections.
pub trait Limits {
    /// For this vehicle now.
    fn limit(&self, way: i64, profile: &Profile, forward: bool) -> LimitState;
}

#[derive(Clone, Copy, Debug)]
struct State {
    at: Directed,
    way: i64,
    profile: u32,
    /// Metres from where the direction driven begins.
    along_m: f64,
    /// Metres from the fix.
    off_m: f64,
    /// Whether an end of the edge is nearest.
    at_end: bool,
    score: f64,
    /// Whether the vehicle may well be there.
    likely: bool,
}

impl State {
    const fn place(&self) -> Place {
        Place { at: self.at, along_m: self.along_m }
    }
}

#[derive(Clone, Copy, Debug)]
struct Last {
    at: MonoTime,
    p: Point,
    speed_mps: Option<f64>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Matcher {
    states: Vec<State>,
    off: f64,
    last: Option<Last>,
    /// Metres since this track began.
    driven_m: f64,
    /// Seconds since then.
    tracked_s: f64,
    /// Metres and time since the last fix that counted.
    held: Option<(MonoTime, f64)>,
    /// Whether the likeliest road is further off than one says its limit.
    beside: bool,
    near: Vec<Near>,
    reached: Vec<Reached>,
    stop_lines: StopLines,
    /// What the last call made of stop lines.
    stop_line: Option<StopLine>,
}

impl Default for Matcher {
    fn default() -> Self {
        Self {
            states: Vec::new(),
            off: 0.0,
            last: None,
            driven_m: 0.0,
            tracked_s: 0.0,
            held: None,
            beside: false,
            near: Vec::new(),
            reached: Vec::new(),
            stop_lines: StopLines::default(),
            stop_line: None,
        }
    }
}

/// One standard deviation of a fix, m; nothing where it is too large.
fn error_m(fix: &GnssFix) -> Option<f64> {
    let said = said_error_m(fix).unwrap_or(USUAL_ERROR_M);
    (0.0..=WORST_ERROR_M).contains(&said).then_some(said.max(LEAST_ERROR_M))
}

/// What the receiver says of it.
fn said_error_m(fix: &GnssFix) -> Option<f64> {
    fix.position_error_m.or(fix.hdop.map(|h| h * HDOP_M))
}

fn known(speed_mps: Option<f64>) -> Option<f64> {
    speed_mps.filter(|v| (0.0..=150.0).contains(v))
}

impl Matcher {
    /// Forgets where it was.
    pub fn restart(&mut self) {
        self.states.clear();
        self.last = None;
        self.driven_m = 0.0;
        self.tracked_s = 0.0;
        self.held = None;
        self.stop_lines = StopLines::default();
    }

    /// What the last fix said of the next stop line; nothing where it said nothing new.
    pub const fn stop_line(&self) -> Option<StopLine> {
        self.stop_line
    }

    /// Takes a fix. A fix that is too inexact, or of a time that is past, changes nothing.
    ///
    /// # Errors
    /// Where the map is damaged here or cannot be read.
    pub fn fix<R: ReadAt>(
        &mut self,
        tiles: &mut Tiles<R>,
        fix: &GnssFix,
        limits: &impl Limits,
    ) -> Result<LimitState, LimitsError> {
        self.stop_line = None;
        let p = Point::from_deg(fix.lat_deg, fix.lon_deg);
        let (Some(error_m), Some(p)) = (error_m(fix), p) else {
            return self.without_fix(
                tiles,
                fix.at,
                known(fix.speed_mps),
                limits,
                UnknownReason::PoorFix,
            );
        };
        let plane = Plane::at(p);
        let speed_mps = known(fix.speed_mps);
        let step = self.last.map(|l| (l, fix.at.secs_from(l.at)));
        let sigma_m = error_m.hypot(ROAD_M);
        let course_deg = fix
            .course_deg
            .filter(|c| c.is_finite() && speed_mps.is_some_and(|v| v >= COURSE_SPEED_MPS));
        match step {
            Some((_, dt)) if dt < 0.0 => return Ok(self.said(tiles.map(), limits)),
            Some((_, dt)) if dt < LEAST_STEP_S && !self.states.is_empty() => {
                return Ok(self.said(tiles.map(), limits));
            }
            Some((last, dt)) if dt <= LONGEST_STEP_S => {
                if speed_mps.is_some_and(|v| v < STANDING_MPS) && !self.states.is_empty() {
                    // Standing: the same wandering error again and again tells nothing.
                    self.last = Some(Last { at: fix.at, speed_mps, ..last });
                    self.held = None;
                    return Ok(self.said(tiles.map(), limits));
                }
                let moved_m = match (speed_mps, last.speed_mps) {
                    (Some(a), Some(b)) => (a + b) / 2.0 * dt,
                    (Some(v), None) | (None, Some(v)) => v * dt,
                    (None, None) => plane.distance_m(last.p, p),
                };
                let least_mps = [speed_mps, last.speed_mps].into_iter().flatten().reduce(f64::min);
                let driven = Driven::new(moved_m, dt, least_mps.unwrap_or(0.0));
                let weights = (self.weight(dt), (dt / COURSE_CORRELATION_S).min(1.0));
                self.tracked_s += dt;
                let found = self.candidates(tiles, p, sigma_m, speed_mps, course_deg, weights)?;
                self.advance(tiles, &plane, found, driven, weights)?;
                self.driven_m += moved_m;
            }
            Some(_) | None => {
                self.restart();
                let weights = (FIRST_WEIGHT, FIRST_COURSE_WEIGHT);
                self.states = self.candidates(tiles, p, sigma_m, speed_mps, course_deg, weights)?;
                self.off = off_fits(weights);
            }
        }
        self.settle();
        self.weigh(tiles, &plane, sigma_m)?;
        self.last = Some(Last { at: fix.at, p, speed_mps });
        self.held = None;
        if said_error_m(fix).is_some_and(|m| m < stop_line::WORST_ERROR_M) {
            let line_m = self.next_stop_line(tiles, &plane, sigma_m)?;
            self.stop_line = Some(StopLine { at: fix.at, line_m });
        }
        Ok(self.said(tiles.map(), limits))
    }

    /// What a fix `dt` seconds after the one before counts, as a share of an independent one.
    fn weight(&self, dt: f64) -> f64 {
        let first_s = (FIRST_S - self.tracked_s).clamp(0.0, dt);
        first_s / FIRST_S * (1.0 - FIRST_WEIGHT) + (dt - first_s) / INDEPENDENT_S
    }

    /// The way to the next stop line, where every likely state has the same.
    fn next_stop_line<R: ReadAt>(
        &mut self,
        tiles: &mut Tiles<R>,
        plane: &Plane,
        sigma_m: f64,
    ) -> Result<Option<f64>, LimitsError> {
        let Some(best) = self.sure().copied() else {
            self.stop_lines = StopLines::default();
            return Ok(None);
        };
        if best.off_m > stop_line::OFF_SIGMAS * sigma_m {
            return Ok(None);
        }
        let likely = || self.states.iter().filter(|s| s.likely);
        let least_off_m = likely().map(|s| s.off_m).fold(f64::INFINITY, f64::min);
        // An edge whose end is nearest, while another is nearer, is before or behind the vehicle.
        let here = |s: &&State| !s.at_end || s.off_m <= least_off_m + AT_END_M;
        let places: Vec<Place> = likely().filter(here).map(State::place).collect();
        self.stop_lines.next(tiles, &places, plane)
    }

    /// The best state, where it is no doubt that the vehicle is on a road of the map.
    fn sure(&self) -> Option<&State> {
        let best = self.states.first().filter(|s| s.score > self.off)?;
        (self.driven_m >= START_M && self.off <= best.score - OFF_MARGIN).then_some(best)
    }

    /// Directed edges near enough, scored by this fix alone.
    fn candidates<R: ReadAt>(
        &mut self,
        tiles: &mut Tiles<R>,
        p: Point,
        sigma_m: f64,
        speed_mps: Option<f64>,
        course_deg: Option<f64>,
        weights: (f64, f64),
    ) -> Result<Vec<State>, LimitsError> {
        tiles.near(p, REACH_SIGMAS * sigma_m, &mut self.near)?;
        let course_sigma_deg = 10.0 + 60.0 / speed_mps.unwrap_or(0.0).max(COURSE_SPEED_MPS);
        let mut found = Vec::with_capacity(self.near.len() * 2);
        for near in &self.near {
            let Some(profile) = tiles.map().profile(near.profile) else { continue };
            for forward in [true, false] {
                if !may_drive(profile.ways, forward) {
                    continue;
                }
                let bearing = if forward { near.bearing_deg } else { near.bearing_deg + 180.0 };
                let turn = course_deg.map_or(0.0, |c| turn_deg(c, bearing));
                if turn > WORST_TURN_DEG {
                    continue;
                }
                let score = -0.5 * (near.distance_m / sigma_m).powi(2) * weights.0
                    - 0.5 * (turn / course_sigma_deg).powi(2) * weights.1;
                let along_m = if forward { near.along_m } else { near.length_m - near.along_m };
                let at = Directed { id: near.id, forward };
                found.push(State {
                    at,
                    way: near.way,
                    profile: near.profile,
                    along_m,
                    off_m: near.distance_m,
                    at_end: !(AT_END_M..=near.length_m - AT_END_M).contains(&near.along_m),
                    score,
                    likely: false,
                });
            }
        }
        Ok(found)
    }

    /// From the states before to those that fit now.
    fn advance<R: ReadAt>(
        &mut self,
        tiles: &mut Tiles<R>,
        plane: &Plane,
        mut found: Vec<State>,
        driven: Driven,
        weights: (f64, f64),
    ) -> Result<(), LimitsError> {
        // A longer way costs more than leaving the map and entering it again.
        let within_m = driven.within_m(LEAVE + ENTER);
        let best = self.states.iter().map(|s| s.score).fold(f64::NEG_INFINITY, f64::max);
        let mut reachable = vec![self.off + ENTER; found.len()];
        for state in &self.states {
            tiles.reach(state.at, state.along_m, within_m, plane, &mut self.reached)?;
            for (new, so_far) in found.iter().zip(&mut reachable) {
                let mut take = |score: f64| *so_far = so_far.max(state.score + score);
                if new.at == state.at {
                    take(driven.fits(new.along_m - state.along_m, 0.0));
                } else if new.at == state.at.reversed() {
                    take(TURN_ROUND);
                }
                if let Some(r) = self.reached.iter().find(|r| r.at == new.at) {
                    take(driven.fits(r.start_m + new.along_m, r.turned_deg));
                }
            }
        }
        for (new, so_far) in found.iter_mut().zip(reachable) {
            new.score += so_far;
        }
        self.off = self.off.max(best + LEAVE) + off_fits(weights);
        self.states = found;
        Ok(())
    }

    /// Scores relative to the best, which is 0; the unlikely are forgotten.
    fn settle(&mut self) {
        self.states.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.at.cmp(&b.at)));
        let best = self.states.first().map_or(self.off, |s| s.score.max(self.off));
        self.off -= best;
        for state in &mut self.states {
            state.score -= best;
        }
        self.states.retain(|s| s.score > FORGET);
        self.states.truncate(MOST_STATES);
    }

    /// In which states the vehicle may well be.
    fn weigh<R: ReadAt>(
        &mut self,
        tiles: &mut Tiles<R>,
        plane: &Plane,
        sigma_m: f64,
    ) -> Result<(), LimitsError> {
        let Some(best) = self.states.first().copied() else { return Ok(()) };
        self.beside = best.off_m > SAID_SIGMAS * sigma_m;
        let mut states = std::mem::take(&mut self.states);
        for state in &mut states {
            let less = best.score - state.score;
            state.likely =
                less < MARGIN || (less < SURE && !self.one_road(tiles, plane, &best, state)?);
        }
        self.states = states;
        Ok(())
    }

    /// Whether two states are one road before and behind the vehicle, or its two directions: about where
    /// on its way it is there is less to be wrong with than about which way it is.
    fn one_road<R: ReadAt>(
        &mut self,
        tiles: &mut Tiles<R>,
        plane: &Plane,
        a: &State,
        b: &State,
    ) -> Result<bool, LimitsError> {
        if a.at.id == b.at.id {
            return Ok(true);
        }
        let (a_place, b_place) = ((a.place(), a.off_m), (b.place(), b.off_m));
        Ok((a.at_end || b.at_end)
            && way::one_road(tiles, plane, a_place, b_place, &mut self.reached)?)
    }

    /// The limit of all likely states, or why there is none.
    fn said<R: ReadAt>(&self, map: &Map<R>, limits: &impl Limits) -> LimitState {
        let of = |s: &State| limit_of(map, limits, s.way, s.profile, s.at.forward);
        let Some(best) = self.states.first().filter(|s| s.score > self.off) else {
            return LimitState::Unknown(UnknownReason::OffRoad);
        };
        if self.driven_m < START_M {
            return LimitState::Unknown(UnknownReason::Starting);
        }
        if self.off > best.score - OFF_MARGIN {
            return LimitState::Unknown(UnknownReason::OffRoad);
        }
        let limit = of(best);
        if self.beside {
            return LimitState::Unknown(UnknownReason::OffRoad);
        }
        let same =
            self.states.iter().filter(|s| s.likely).map(of).all(|other| same_limit(&limit, &other));
        if same { limit } else { LimitState::Unknown(UnknownReason::Doubt) }
    }

    /// Time passes without a usable fix. The road is followed as far as there is one way to go.
    ///
    /// # Errors
    /// As [`Self::fix`].
    pub fn without_fix<R: ReadAt>(
        &mut self,
        tiles: &mut Tiles<R>,
        now: MonoTime,
        speed_mps: Option<f64>,
        limits: &impl Limits,
        reason: UnknownReason,
    ) -> Result<LimitState, LimitsError> {
        self.stop_line = None;
        let unknown = Ok(LimitState::Unknown(reason));
        let Some(last) = self.last else { return unknown };
        let (before, held_m) = self.held.unwrap_or((last.at, 0.0));
        let since_s = now.secs_from(last.at);
        let step_s = now.secs_from(before);
        let (true, Some(speed_mps)) =
            (step_s <= FRESH_S, known(speed_mps).or(last.speed_mps.filter(|_| since_s <= FRESH_S)))
        else {
            self.restart();
            return unknown;
        };
        let held_m = held_m + speed_mps * step_s.max(0.0);
        self.held = Some((now.max(before), held_m));
        if held_m > HOLD_M || since_s > HOLD_S {
            self.restart();
            return unknown;
        }
        match self.said(tiles.map(), limits) {
            LimitState::Unknown(said) if since_s > FRESH_S => Ok(LimitState::Unknown(said)),
            said if since_s <= FRESH_S => Ok(said),
            LimitState::Known(_) | LimitState::Unlimited(_) | LimitState::Unknown(_) => {
                self.follow(tiles, last.p, held_m, limits, reason)
            }
        }
    }

    /// Where every likely state leads after `held_m`, if each has one way to go.
    fn follow<R: ReadAt>(
        &self,
        tiles: &mut Tiles<R>,
        from: Point,
        held_m: f64,
        limits: &impl Limits,
        reason: UnknownReason,
    ) -> Result<LimitState, LimitsError> {
        let plane = Plane::at(from);
        let mut limit: Option<LimitState> = None;
        for state in self.states.iter().filter(|s| s.likely) {
            let Some((at, way, profile)) = way::onward(tiles, state.place(), held_m, &plane)?
            else {
                return Ok(LimitState::Unknown(reason));
            };
            let here = limit_of(tiles.map(), limits, way, profile, at.forward);
            if limit.is_some_and(|l| !same_limit(&l, &here)) {
                return Ok(LimitState::Unknown(UnknownReason::Doubt));
            }
            limit = Some(here);
        }
        Ok(limit.unwrap_or(LimitState::Unknown(reason)))
    }
}

fn limit_of<R: ReadAt>(
    map: &Map<R>,
    limits: &impl Limits,
    way: i64,
    profile: u32,
    forward: bool,
) -> LimitState {
    match map.profile(profile) {
        Some(profile) => limits.limit(way, profile, forward),
        None => LimitState::Unknown(UnknownReason::MapDamaged),
    }
}

/// Whether two roads' limits are one for the driver.
fn same_limit(a: &LimitState, b: &LimitState) -> bool {
    match (a, b) {
        (LimitState::Known(a), LimitState::Known(b)) => (a.kmh - b.kmh).abs() < 0.01,
        (LimitState::Unlimited(_), LimitState::Unlimited(_)) => true,
        (LimitState::Unknown(_), LimitState::Unknown(_)) => true,
        (LimitState::Known(_) | LimitState::Unlimited(_) | LimitState::Unknown(_), _) => false,
    }
}

/// How well *off the map* fits any fix.
fn off_fits(weights: (f64, f64)) -> f64 {
    -0.5 * OFF_SIGMAS * OFF_SIGMAS * weights.0 - 0.5 * weights.1
}
