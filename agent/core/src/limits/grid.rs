//! The file's units of place: 5 millionths of a degree (0.56 m), in tiles of a hundredth of a degree.
//!
//! A tile is 1.1 km high and, at 49° north, 0.73 km wide. Own choice: a dense one is decoded in some
//! 10 µs, and half a metre is far below what a receiver can tell.

/// Units in a degree.
const UNITS_PER_DEG: f64 = 200_000.0;
/// Units in a tile's side.
pub const TILE: i32 = 2000;
/// Tiles around the world.
const COLUMNS: i32 = 36_000;
/// Tiles from pole to pole.
const ROWS: i32 = 18_000;
/// Metres in a unit of latitude, on a sphere of 6371 km.
pub const UNIT_M: f64 = 111_194.93 / UNITS_PER_DEG;

/// A place in units: from 180° west, from 90° south.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// Eastward.
    pub x: i32,
    /// Northward.
    pub y: i32,
}

impl Point {
    /// The nearest; nothing where these are no degrees.
    pub fn from_deg(lat_deg: f64, lon_deg: f64) -> Option<Self> {
        if !(-90.0..=90.0).contains(&lat_deg) || !(-180.0..=180.0).contains(&lon_deg) {
            return None;
        }
        Some(Self {
            x: rounded((lon_deg + 180.0) * UNITS_PER_DEG),
            y: rounded((lat_deg + 90.0) * UNITS_PER_DEG),
        })
    }

    /// Latitude and longitude, degrees.
    pub fn to_deg(self) -> (f64, f64) {
        (f64::from(self.y) / UNITS_PER_DEG - 90.0, f64::from(self.x) / UNITS_PER_DEG - 180.0)
    }

    /// The tile in which it is; on a border the one to the north and east.
    pub fn tile(self) -> TileKey {
        TileKey::at(self.x.div_euclid(TILE), self.y.div_euclid(TILE))
    }
}

/// To the nearest whole number.
pub fn rounded(v: f64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and NaN is 0: both are places")]
    let n = v.round() as i32;
    n
}

/// A tile's row and column. Ordered by row, then column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileKey(u32);

impl TileKey {
    /// The nearest tile of the world.
    pub fn at(column: i32, row: i32) -> Self {
        let row = row.clamp(0, ROWS).unsigned_abs();
        let column = column.clamp(0, COLUMNS).unsigned_abs();
        Self(row << 16 | column)
    }

    /// From its number in the file.
    pub fn from_number(number: u32) -> Option<Self> {
        let key = Self(number);
        (key.row() <= ROWS && key.column() <= COLUMNS).then_some(key)
    }

    /// Its number in the file.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Column, from 180° west.
    pub fn column(self) -> i32 {
        i32::try_from(self.0 & 0xffff).unwrap_or(0)
    }

    /// Row, from 90° south.
    pub fn row(self) -> i32 {
        i32::try_from(self.0 >> 16).unwrap_or(0)
    }

    /// South-west corner.
    pub fn corner(self) -> Point {
        Point { x: self.column() * TILE, y: self.row() * TILE }
    }
}

/// Metres in a unit at one latitude: units as a plane, right within 0.1 % over some kilometres.
#[derive(Clone, Copy, Debug)]
pub struct Plane {
    /// Metres in a unit of longitude.
    pub x_m: f64,
    /// Metres in a unit of latitude.
    pub y_m: f64,
}

impl Plane {
    /// Around this place.
    pub fn at(p: Point) -> Self {
        let lat = p.to_deg().0.to_radians();
        Self { x_m: UNIT_M * lat.cos().max(1e-3), y_m: UNIT_M }
    }

    /// From `a` to `b`: metres east and north.
    pub fn step(&self, a: Point, b: Point) -> (f64, f64) {
        (f64::from(b.x - a.x) * self.x_m, f64::from(b.y - a.y) * self.y_m)
    }

    /// Metres between them.
    pub fn distance_m(&self, a: Point, b: Point) -> f64 {
        let (x, y) = self.step(a, b);
        x.hypot(y)
    }
}

/// Degrees between two directions, 0 to 180.
pub fn turn_deg(a_deg: f64, b_deg: f64) -> f64 {
    let d = (a_deg - b_deg).rem_euclid(360.0);
    d.min(360.0 - d)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn places_survive(lat in -90.0_f64..=90.0, lon in -180.0_f64..=180.0) {
            let p = Point::from_deg(lat, lon).unwrap();
            let (lat2, lon2) = p.to_deg();
            prop_assert!((lat - lat2).abs() <= 2.6e-6 && (lon - lon2).abs() <= 2.6e-6);
            let key = p.tile();
            prop_assert_eq!(TileKey::from_number(key.number()), Some(key));
            let c = key.corner();
            prop_assert!((0..=TILE).contains(&(p.x - c.x)) && (0..=TILE).contains(&(p.y - c.y)));
        }
    }

    #[test]
    fn what_is_no_place() {
        for (lat, lon) in [(f64::NAN, 0.0), (0.0, f64::INFINITY), (90.1, 0.0), (0.0, -181.0)] {
            assert_eq!(Point::from_deg(lat, lon), None);
        }
        assert_eq!(TileKey::from_number(u32::MAX), None);
        let plane = Plane::at(Point::from_deg(60.0, 25.0).unwrap());
        assert!((plane.x_m / plane.y_m - 0.5).abs() < 1e-3);
        assert!((turn_deg(350.0, 10.0) - 20.0).abs() < 1e-9);
    }
}
