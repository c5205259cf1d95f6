//! Ways along the roads between two fixes: how well one fits what was driven, and where one leads.
//!
//! INVARIANT: what the map joins, a van can only have driven if its speed lets it turn there. Else each
//! cross street would join two roads beside each other for a van that drives straight on.

use super::{
    format::{LimitsError, ReadAt},
    grid::Plane,
    search::{Directed, Reached, Tiles},
    stop_line::Place,
};

/// Differences between way and distance driven that are no doubt: m, and share of the distance.
const WAY_SLACK: (f64, f64) = (6.0, 0.25);
/// Beyond that, m for each factor of e.
const WAY_SCALE_M: f64 = 5.0;
/// No van changes its direction by more than this, m/s²: half as much again as harsh cornering.
const SIDEWAYS_MPS2: f64 = 6.0;
/// A turn may have begun so long before the fix, s.
const TURN_SLACK_S: f64 = 1.0;
/// At nodes of the map one may turn so much more than on the road, degrees.
const TURN_SLACK_DEG: f64 = 45.0;
/// Beyond that, degrees for each factor of e.
const TURN_SCALE_DEG: f64 = 10.0;
/// A road is followed for so many edges.
const MOST_EDGES: usize = 200;

/// What was driven between two fixes.
#[derive(Clone, Copy, Debug)]
pub struct Driven {
    /// Metres.
    pub moved_m: f64,
    /// The most that can have been turned at nodes, degrees.
    pub turn_deg: f64,
}

impl Driven {
    /// So far in so many seconds, never slower than `least_mps`.
    pub fn new(moved_m: f64, step_s: f64, least_mps: f64) -> Self {
        let turn_mps = SIDEWAYS_MPS2 * (step_s + TURN_SLACK_S);
        let turn_deg = TURN_SLACK_DEG + (turn_mps / least_mps.max(0.1)).to_degrees();
        Self { moved_m, turn_deg }
    }

    fn slack_m(&self) -> f64 {
        WAY_SLACK.0 + WAY_SLACK.1 * self.moved_m
    }

    /// Logarithm of how likely it is that such a way was driven.
    pub fn fits(&self, way_m: f64, turned_deg: f64) -> f64 {
        let off_m = ((way_m - self.moved_m).abs() - self.slack_m()).max(0.0);
        let off_deg = (turned_deg - self.turn_deg).max(0.0);
        -(off_m / WAY_SCALE_M) - off_deg / TURN_SCALE_DEG
    }

    /// Longer ways fit worse than this.
    pub fn within_m(&self, worst: f64) -> f64 {
        self.moved_m + self.slack_m() - worst * WAY_SCALE_M
    }
}

/// Whether two places, so far from the vehicle, are one road before and behind it.
///
/// # Errors
/// Where the map is damaged there or cannot be read.
pub fn one_road<R: ReadAt>(
    tiles: &mut Tiles<R>,
    plane: &Plane,
    (a, a_off_m): (Place, f64),
    (b, b_off_m): (Place, f64),
    reached: &mut Vec<Reached>,
) -> Result<bool, LimitsError> {
    let within_m = a_off_m + b_off_m + WAY_SLACK.0;
    let Some(edge) = tiles.ends(b.at.id, plane)? else { return Ok(false) };
    let back = Place { at: b.at.reversed(), along_m: edge.length_m - b.along_m };
    for (from, to) in [(a, b), (b, a), (a, back), (back, a)] {
        tiles.reach(from.at, from.along_m, within_m, plane, reached)?;
        if reached.iter().any(|r| r.at == to.at && r.start_m + to.along_m <= within_m) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The edge `held_m` further down the only way there is; nothing where it ends or forks.
///
/// # Errors
/// Where the map is damaged there or cannot be read.
pub fn onward<R: ReadAt>(
    tiles: &mut Tiles<R>,
    from: Place,
    held_m: f64,
    plane: &Plane,
) -> Result<Option<(Directed, i64, u32)>, LimitsError> {
    let (mut at, mut left_m) = (from.at, held_m + from.along_m);
    let mut next = Vec::new();
    for _ in 0..MOST_EDGES {
        let Some(edge) = tiles.ends(at.id, plane)? else { return Ok(None) };
        if left_m <= edge.length_m {
            return Ok(Some((at, edge.way, edge.profile)));
        }
        left_m -= edge.length_m;
        tiles.onward(at, plane, &mut next)?;
        match next.as_slice() {
            [only] => at = *only,
            _ => return Ok(None),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_that_a_speed_allows() {
        // Metres, seconds, m/s; the way's metres and turns; whether it costs nothing.
        for (moved_m, step_s, mps, way_m, turned_deg, free) in [
            (14.0, 1.0, 14.0, 14.0, 90.0, true),
            (14.0, 1.0, 14.0, 20.0, 180.0, false),
            (30.0, 1.0, 30.0, 30.0, 60.0, true),
            (30.0, 1.0, 30.0, 30.0, 90.0, false),
            (7.0, 1.0, 7.0, 7.0, 130.0, true),
            (0.7, 0.1, 7.0, 0.7, 90.0, true),
            (70.0, 5.0, 14.0, 70.0, 180.0, true),
            (14.0, 1.0, 0.0, 14.0, 360.0, true),
            (14.0, 1.0, 0.0, 30.0, 0.0, false),
        ] {
            let fits = Driven::new(moved_m, step_s, mps).fits(way_m, turned_deg);
            assert_eq!(fits == 0.0, free, "{moved_m} {step_s} {mps} {way_m} {turned_deg}: {fits}");
        }
        let twice = Driven::new(14.0, 1.0, 14.0).fits(14.0, 180.0);
        assert!(twice < -6.0, "a cross street between two fixes: {twice}");
    }
}
