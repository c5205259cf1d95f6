//! How far it is to the next stop line along the road, and from the one just passed.
//!
//! INVARIANT: it is said only where every place the vehicle may well be at has the same line, and they
//! differ by no more than 15 m; where they differ, the vehicle is where it has passed least.

use temoin_proto::time::MonoTime;

use super::{
    format::{LimitsError, ReadAt},
    grid::Plane,
    search::{Directed, Tiles},
};

/// So far ahead lines are looked for, m: two fixes at 30 m/s, where the road does not fork.
pub const AHEAD_M: f64 = 60.0;
/// So long a line that was passed is told, m: two fixes at 30 m/s.
pub const BEHIND_M: f64 = 60.0;
/// Fixes that are worse, or say nothing of their error, say nothing of stop lines, m. Own choice.
pub const WORST_ERROR_M: f64 = 8.0;
/// So many standard deviations beside a road it is not sure that the vehicle is on it. Own choice.
pub const OFF_SIGMAS: f64 = 2.0;
/// Places that the vehicle may be at may differ by so much along the road, m. Own choice.
const SPREAD_M: f64 = 15.0;
/// Edges that are followed at the most.
const MOST_EDGES: usize = 16;

/// What a fix says of stop lines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StopLine {
    /// The fix's time.
    pub at: MonoTime,
    /// Metres along the road to the next line, negative just behind it; none where there is none, or
    /// it is not sure.
    pub line_m: Option<f64>,
}

/// A place on a road, in the direction driven.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// The edge.
    pub at: Directed,
    /// Metres from where the direction driven begins.
    pub along_m: f64,
}

impl Place {
    /// Metres are measured from another place at each fix: they differ a little.
    fn is(&self, other: &Self) -> bool {
        self.at == other.at && (self.along_m - other.along_m).abs() < 1.0
    }
}

/// The first stop line from `here` on, and the way there, while there is one way to go.
///
/// # Errors
/// Where the map is damaged there or cannot be read.
pub fn ahead<R: ReadAt>(
    tiles: &mut Tiles<R>,
    here: Place,
    plane: &Plane,
) -> Result<Option<(Place, f64)>, LimitsError> {
    let (mut at, mut start_m) = (here.at, -here.along_m);
    let (mut lines, mut next) = (Vec::new(), Vec::new());
    for _ in 0..MOST_EDGES {
        tiles.stop_lines(at, plane, &mut lines)?;
        if let Some(along_m) = lines.iter().find(|m| start_m + **m >= 0.0) {
            let way_m = start_m + along_m;
            return Ok((way_m <= AHEAD_M).then_some((Place { at, along_m: *along_m }, way_m)));
        }
        let Some(edge) = tiles.ends(at.id, plane)? else { return Ok(None) };
        start_m += edge.length_m;
        if start_m > AHEAD_M {
            return Ok(None);
        }
        tiles.onward(at, plane, &mut next)?;
        match next.as_slice() {
            [only] => at = *only,
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// The line that is followed.
#[derive(Clone, Debug, Default)]
pub struct StopLines {
    line: Option<Place>,
}

impl StopLines {
    /// The way to the next line, or from the last, that all `places` have in common; the first is the
    /// likeliest.
    ///
    /// # Errors
    /// As [`ahead`].
    pub fn next<R: ReadAt>(
        &mut self,
        tiles: &mut Tiles<R>,
        places: &[Place],
        plane: &Plane,
    ) -> Result<Option<f64>, LimitsError> {
        let Some(first) = places.first() else {
            self.line = None;
            return Ok(None);
        };
        let next = ahead(tiles, *first, plane)?;
        let last_m = match self.line {
            Some(line) => behind(tiles, line, *first, plane)?,
            None => None,
        };
        self.line = match (next, last_m) {
            (Some((_, next_m)), Some(last_m)) if last_m <= next_m => self.line,
            (Some((line, _)), _) => Some(line),
            (None, Some(_)) => self.line,
            (None, None) => None,
        };
        let Some(line) = self.line else { return Ok(None) };
        let (mut least_m, mut most_m) = (f64::INFINITY, f64::NEG_INFINITY);
        for place in places {
            let Some(way_m) = to_line(tiles, line, *place, plane)? else { return Ok(None) };
            (least_m, most_m) = (least_m.min(way_m), most_m.max(way_m));
        }
        Ok((most_m - least_m <= SPREAD_M).then_some(most_m))
    }
}

/// Metres from `place` to this line, negative behind it.
fn to_line<R: ReadAt>(
    tiles: &mut Tiles<R>,
    line: Place,
    place: Place,
    plane: &Plane,
) -> Result<Option<f64>, LimitsError> {
    match ahead(tiles, place, plane)? {
        Some((next, way_m)) if next.is(&line) => Ok(Some(way_m)),
        Some(_) | None => Ok(behind(tiles, line, place, plane)?.map(|m| -m)),
    }
}

/// Metres from the line to `place`, where one comes there from it.
fn behind<R: ReadAt>(
    tiles: &mut Tiles<R>,
    line: Place,
    place: Place,
    plane: &Plane,
) -> Result<Option<f64>, LimitsError> {
    if line.at == place.at && place.along_m >= line.along_m {
        return Ok(Some(place.along_m - line.along_m).filter(|m| *m <= BEHIND_M));
    }
    let mut reached = Vec::new();
    tiles.reach(line.at, line.along_m, BEHIND_M, plane, &mut reached)?;
    let there = reached.iter().find(|r| r.at == place.at).map(|r| r.start_m + place.along_m);
    Ok(there.filter(|m| *m <= BEHIND_M))
}
