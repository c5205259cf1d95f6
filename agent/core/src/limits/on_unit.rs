//! Map, corrections, vehicle and matcher together: what the unit asks at each fix.

use temoin_proto::{samples::GnssFix, time::MonoTime};

use super::{
    LimitState, UnknownReason, Vehicle,
    conditional::LocalTime,
    format::{LimitsError, Map, ReadAt},
    grid::{Plane, Point, turn_deg},
    matcher::{Limits, Matcher},
    overrides::{Overrides, Placed},
    road::Profile,
    search::{Directed, Near, Tiles, may_drive},
    stop_line::{self, Place, StopLine},
};

/// See the module.
#[derive(Clone, Debug)]
pub struct SpeedLimits<R> {
    tiles: Tiles<R>,
    corrections: Placed,
    vehicle: Vehicle,
    matcher: Matcher,
    /// What the map last refused, for device health.
    refused: Option<LimitsError>,
}

struct Now<'a> {
    corrections: &'a Placed,
    vehicle: &'a Vehicle,
    local: Option<LocalTime>,
}

impl Limits for Now<'_> {
    fn limit(&self, way: i64, profile: &Profile, forward: bool) -> LimitState {
        let correction = self.corrections.get(way, forward);
        correction.unwrap_or_else(|| {
            let rule = if forward { &profile.forward } else { &profile.backward };
            rule.state(self.vehicle, self.local)
        })
    }
}

/// A road near a place, for an installer.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Where it is.
    pub near: Near,
    /// Along the way's own order.
    pub forward: bool,
    /// Where it leads, degrees clockwise from north.
    pub bearing_deg: f64,
    /// What the map says of it.
    pub profile: Profile,
    /// Its limit, corrections included.
    pub limit: LimitState,
    /// Metres to the next stop line, where one is near.
    pub stop_line_m: Option<f64>,
}

impl<R: ReadAt> SpeedLimits<R> {
    /// With the vehicle anywhere.
    ///
    /// # Errors
    /// Where the map is damaged, or cannot be read, at the place of a correction.
    pub fn new(map: Map<R>, overrides: &Overrides, vehicle: Vehicle) -> Result<Self, LimitsError> {
        let mut tiles = Tiles::new(map);
        let corrections = overrides.place(&mut tiles)?;
        Ok(Self { tiles, corrections, vehicle, matcher: Matcher::default(), refused: None })
    }

    /// The map.
    pub const fn map(&self) -> &Map<R> {
        self.tiles.map()
    }

    /// Corrections, from 1, whose place names no road.
    pub fn corrections_nowhere(&self) -> &[usize] {
        &self.corrections.nowhere
    }

    /// What the map last refused; nothing while it is whole.
    pub const fn refused(&self) -> Option<&LimitsError> {
        self.refused.as_ref()
    }

    /// Begins anew, as after a restart.
    pub fn restart(&mut self) {
        self.matcher.restart();
    }

    /// Takes a fix: the limit there for this vehicle at this local time.
    pub fn on_fix(&mut self, fix: &GnssFix, local: Option<LocalTime>) -> LimitState {
        self.step(local, |tiles, matcher, now| matcher.fix(tiles, fix, now))
    }

    /// What the last fix said of the next stop line; nothing where it said nothing new, as while the
    /// vehicle stands.
    pub const fn stop_line(&self) -> Option<StopLine> {
        self.matcher.stop_line()
    }

    /// Time passes without a fix, as in a tunnel: to be called about once a second then, with the
    /// vehicle's speed where it is known from elsewhere.
    pub fn without_fix(
        &mut self,
        now: MonoTime,
        speed_mps: Option<f64>,
        local: Option<LocalTime>,
    ) -> LimitState {
        self.step(local, |tiles, matcher, limits| {
            matcher.without_fix(tiles, now, speed_mps, limits, UnknownReason::NoFix)
        })
    }

    /// Every road within `radius_m` of a place and each direction that may be driven there, the
    /// nearest first; with a heading only those that lead there within 45 degrees.
    ///
    /// # Errors
    /// Where the map is damaged there or cannot be read.
    pub fn show(
        &mut self,
        p: Point,
        radius_m: f64,
        heading_deg: Option<f64>,
        local: Option<LocalTime>,
    ) -> Result<Vec<Shown>, LimitsError> {
        let mut found = Vec::new();
        self.tiles.near(p, radius_m, &mut found)?;
        let now = Now { corrections: &self.corrections, vehicle: &self.vehicle, local };
        let mut shown = Vec::new();
        for near in found {
            let Some(profile) = self.tiles.map().profile(near.profile).cloned() else { continue };
            for forward in [true, false] {
                let bearing_deg =
                    (near.bearing_deg + if forward { 0.0 } else { 180.0 }).rem_euclid(360.0);
                let there = heading_deg.is_none_or(|h| turn_deg(h, bearing_deg) <= 45.0);
                if there && may_drive(profile.ways, forward) {
                    let limit = now.limit(near.way, &profile, forward);
                    let along_m = if forward { near.along_m } else { near.length_m - near.along_m };
                    let here = Place { at: Directed { id: near.id, forward }, along_m };
                    let line = stop_line::ahead(&mut self.tiles, here, &Plane::at(p))?;
                    let (profile, stop_line_m) = (profile.clone(), line.map(|(_, m)| m));
                    shown.push(Shown { near, forward, bearing_deg, profile, limit, stop_line_m });
                }
            }
        }
        shown.sort_by(|a, b| a.near.distance_m.total_cmp(&b.near.distance_m));
        Ok(shown)
    }

    fn step(
        &mut self,
        local: Option<LocalTime>,
        step: impl FnOnce(&mut Tiles<R>, &mut Matcher, &Now<'_>) -> Result<LimitState, LimitsError>,
    ) -> LimitState {
        let now = Now { corrections: &self.corrections, vehicle: &self.vehicle, local };
        match step(&mut self.tiles, &mut self.matcher, &now) {
            Ok(state) => {
                self.refused = None;
                state
            }
            Err(e) => {
                self.refused = Some(e);
                self.matcher.restart();
                LimitState::Unknown(UnknownReason::MapDamaged)
            }
        }
    }
}
