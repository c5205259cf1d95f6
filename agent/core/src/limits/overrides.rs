//! The fleet's corrections of wrong limits: a small versioned file that wins over the map.
//!
//! ```toml
//! version = 1
//! [[limit]]
//! way = 123456789            # number of the way in OpenStreetMap
//! direction = "forward"      # or "backward"; both unless named
//! kmh = 50
//! note = "sign since May"
//! [[limit]]
//! lat_deg = 44.43            # or a place and where one drives there
//! lon_deg = 26.10
//! heading_deg = 90
//! unknown = true             # the map is wrong and nobody knows better
//! ```
//! A place names the road that is nearest to it in that direction; where two could be meant it names
//! none, and says so.
//!
//! INVARIANT: a file with any mistake is refused as a whole, with every mistake named.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    Limit, LimitSource, LimitState, UnknownReason,
    format::{LimitsError, ReadAt},
    grid::{Point, turn_deg},
    search::{Near, Tiles, may_drive},
    tags::Centi,
};

/// Of this file's form.
pub const VERSION: u32 = 1;
/// Most corrections in a file.
pub const MAX_ENTRIES: usize = 10_000;
/// A place is at most so far from its road, m.
const PLACE_M: f64 = 25.0;
/// And every other road of that direction at least so much further.
const APART_M: f64 = 10.0;
/// A heading differs at most so much from its road, degrees.
const HEADING_DEG: f64 = 30.0;

/// The file as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverridesFile {
    version: u32,
    #[serde(default)]
    limit: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Direction {
    #[default]
    Both,
    Forward,
    Backward,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    way: Option<i64>,
    direction: Option<Direction>,
    lat_deg: Option<f64>,
    lon_deg: Option<f64>,
    heading_deg: Option<f64>,
    kmh: Option<f64>,
    #[serde(default)]
    unlimited: bool,
    #[serde(default)]
    unknown: bool,
    /// For people.
    #[serde(default)]
    #[expect(dead_code, reason = "for who reads the file")]
    note: String,
}

/// What is wrong with a file of corrections.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct OverridesError(pub Vec<String>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Where {
    Way(i64, Direction),
    Place { p: Point, heading_deg: f64 },
}

/// Corrections that are valid; see [`Self::check`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides(Vec<(Where, LimitState)>);

impl Overrides {
    /// Checks the whole file.
    ///
    /// # Errors
    /// Every mistake, each with the number of its entry.
    pub fn check(file: &OverridesFile) -> Result<Self, OverridesError> {
        let mut mistakes = Vec::new();
        if file.version != VERSION {
            mistakes.push(format!("`version` is {}, not {VERSION}", file.version));
        }
        if file.limit.len() > MAX_ENTRIES {
            mistakes.push(format!("{} entries: at most {MAX_ENTRIES}", file.limit.len()));
        }
        let mut entries = Vec::new();
        for (n, entry) in file.limit.iter().enumerate() {
            match (place(entry), limit(entry)) {
                (Ok(place), Ok(limit)) => entries.push((place, limit)),
                (place, limit) => {
                    let wrong = [place.err(), limit.err()];
                    let said = wrong.into_iter().flatten();
                    mistakes.extend(said.map(|m| format!("limit {}: {m}", n + 1)));
                }
            }
        }
        if mistakes.is_empty() { Ok(Self(entries)) } else { Err(OverridesError(mistakes)) }
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds the roads that are meant. The numbers (from 1) of those that name none come with it: a
    /// place that is not beside exactly one road of its direction.
    ///
    /// # Errors
    /// Where the map is damaged there or cannot be read.
    pub fn place<R: ReadAt>(&self, tiles: &mut Tiles<R>) -> Result<Placed, LimitsError> {
        let mut placed = Placed::default();
        for (n, (place, limit)) in self.0.iter().enumerate() {
            let ways: Vec<(i64, bool)> = match *place {
                Where::Way(way, direction) => {
                    [(true, Direction::Backward), (false, Direction::Forward)]
                        .into_iter()
                        .filter(|(_, not)| *not != direction)
                        .map(|(forward, _)| (way, forward))
                        .collect()
                }
                Where::Place { p, heading_deg } => {
                    road_at(tiles, p, heading_deg)?.into_iter().collect()
                }
            };
            if ways.is_empty() {
                placed.nowhere.push(n + 1);
            }
            placed.limits.extend(ways.into_iter().map(|w| (w, *limit)));
        }
        Ok(placed)
    }
}

/// Corrections by way and direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placed {
    limits: BTreeMap<(i64, bool), LimitState>,
    /// Entries, from 1, whose place names no road.
    pub nowhere: Vec<usize>,
}

impl Placed {
    /// The correction for a way driven in this direction.
    pub fn get(&self, way: i64, forward: bool) -> Option<LimitState> {
        self.limits.get(&(way, forward)).copied()
    }
}

fn place(entry: &Entry) -> Result<Where, String> {
    match (entry.way, entry.lat_deg, entry.lon_deg, entry.heading_deg) {
        (Some(way), None, None, None) if way > 0 => {
            Ok(Where::Way(way, entry.direction.unwrap_or_default()))
        }
        (Some(way), None, None, None) => Err(format!("`way` is {way}: no way has this number")),
        (None, Some(lat), Some(lon), Some(heading_deg)) if entry.direction.is_none() => {
            let p = Point::from_deg(lat, lon)
                .ok_or("`lat_deg` is not in -90 to 90 or `lon_deg` not in -180 to 180")?;
            if !(0.0..=360.0).contains(&heading_deg) {
                return Err("`heading_deg` is not in 0 to 360".to_owned());
            }
            Ok(Where::Place { p, heading_deg })
        }
        _ => {
            Err("either `way` (and `direction`), or `lat_deg`, `lon_deg` and `heading_deg`"
                .to_owned())
        }
    }
}

fn limit(entry: &Entry) -> Result<LimitState, String> {
    match (entry.kmh, entry.unlimited, entry.unknown) {
        (Some(kmh), false, false) => match Centi::from_kmh(kmh) {
            Some(c) => Ok(LimitState::Known(Limit { kmh: c.kmh(), source: LimitSource::Override })),
            None => Err(format!("`kmh` is {kmh}: no sign says so")),
        },
        (None, true, false) => Ok(LimitState::Unlimited(LimitSource::Override)),
        (None, false, true) => Ok(LimitState::Unknown(UnknownReason::Contested)),
        _ => Err("exactly one of `kmh`, `unlimited = true`, `unknown = true`".to_owned()),
    }
}

fn road_at<R: ReadAt>(
    tiles: &mut Tiles<R>,
    p: Point,
    heading_deg: f64,
) -> Result<Option<(i64, bool)>, LimitsError> {
    let mut near: Vec<Near> = Vec::new();
    tiles.near(p, PLACE_M + APART_M, &mut near)?;
    let mut fitting: Vec<(f64, i64, bool)> = Vec::new();
    for road in &near {
        for forward in [true, false] {
            let bearing = if forward { road.bearing_deg } else { road.bearing_deg + 180.0 };
            let may = tiles.map().profile(road.profile).is_some_and(|p| may_drive(p.ways, forward));
            if may && turn_deg(heading_deg, bearing) <= HEADING_DEG {
                fitting.push((road.distance_m, road.way, forward));
            }
        }
    }
    fitting.sort_by(|a, b| a.0.total_cmp(&b.0));
    let Some((distance_m, way, forward)) = fitting.first().copied() else { return Ok(None) };
    let other =
        fitting.iter().any(|(d, w, f)| (*w, *f) != (way, forward) && d - distance_m < APART_M);
    Ok((distance_m <= PLACE_M && !other).then_some((way, forward)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        match toml::from_str::<OverridesFile>(text) {
            Err(e) => vec![e.message().to_owned()],
            Ok(file) => Overrides::check(&file).err().map_or_else(Vec::new, |e| e.0),
        }
    }

    #[test]
    fn every_mistake_is_named() {
        assert!(mistakes("version = 1").is_empty());
        for (entry, want) in [
            ("way = 5\nkmh = 50\nnote = \"a sign\"", ""),
            ("lat_deg = 44.4\nlon_deg = 26.1\nheading_deg = 90\nunlimited = true", ""),
            ("kmh = 50", "limit 1: either `way`"),
            ("way = 5\nlat_deg = 1\nkmh = 50", "limit 1: either `way`"),
            ("lat_deg = 1\nlon_deg = 1\nkmh = 50", "limit 1: either `way`"),
            (
                "lat_deg = 1\nlon_deg = 1\nheading_deg = 1\ndirection = \"both\"\nkmh = 50",
                "limit 1: either",
            ),
            ("way = 0\nkmh = 50", "limit 1: `way` is 0"),
            ("way = 5", "limit 1: exactly one of"),
            ("way = 5\nkmh = 50\nunknown = true", "limit 1: exactly one of"),
            ("way = 5\nkmh = 900", "limit 1: `kmh` is 900"),
            ("way = 5\nkmh = nan", "limit 1: `kmh` is NaN"),
            ("lat_deg = 95\nlon_deg = 1\nheading_deg = 1\nkmh = 50", "limit 1: `lat_deg` is not"),
            ("lat_deg = 5\nlon_deg = 1\nheading_deg = 400\nkmh = 50", "limit 1: `heading_deg`"),
            ("way = 5\nkph = 50", "unknown field `kph`"),
            ("way = 5\ndirection = \"up\"\nkmh = 50", "unknown variant `up`"),
        ] {
            let said = mistakes(&format!("version = 1\n[[limit]]\n{entry}\n"));
            assert_eq!(said.len(), usize::from(!want.is_empty()), "{entry}: {said:?}");
            assert!(said.iter().all(|m| m.starts_with(want)), "{entry}: {said:?}");
        }
        let said = mistakes("version = 2\n[[limit]]\nway = 5\n[[limit]]\nkmh = 5\n");
        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(mistakes("limit = []"), ["missing field `version`"]);
    }
}
