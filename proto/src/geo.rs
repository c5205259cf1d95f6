//! Short ways over the earth's surface.

/// The earth's mean radius (IUGG), metres.
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// A place: latitude and longitude, degrees, WGS 84.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatLon {
    /// North of the equator.
    pub lat_deg: f64,
    /// East of Greenwich.
    pub lon_deg: f64,
}

/// From one place to another near it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Way {
    /// Metres towards the north.
    pub north_m: f64,
    /// Metres towards the east.
    pub east_m: f64,
}

impl LatLon {
    /// The way to a place near by: the earth is flat there, right within 0.1 % over some
    /// kilometres, away from the poles. The date line is no wall.
    pub fn way_to(self, to: Self) -> Way {
        let north_deg = to.lat_deg - self.lat_deg;
        let east_deg = (to.lon_deg - self.lon_deg + 180.0).rem_euclid(360.0) - 180.0;
        let middle = self.lat_deg.midpoint(to.lat_deg).to_radians();
        Way {
            north_m: EARTH_RADIUS_M * north_deg.to_radians(),
            east_m: EARTH_RADIUS_M * east_deg.to_radians() * middle.cos(),
        }
    }
}

impl Way {
    /// Its length, metres.
    pub fn length_m(self) -> f64 {
        self.north_m.hypot(self.east_m)
    }

    /// Where it leads, degrees clockwise from north, 0 to 360. Of no length: north.
    pub fn bearing_deg(self) -> f64 {
        self.east_m.atan2(self.north_m).to_degrees().rem_euclid(360.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(lat_deg: f64, lon_deg: f64) -> LatLon {
        LatLon { lat_deg, lon_deg }
    }

    #[test]
    fn known_ways() {
        // A minute of latitude is a nautical mile, 1852 m, within the earth's flattening.
        let mile = place(44.0, 26.0).way_to(place(44.0 + 1.0 / 60.0, 26.0));
        assert!((mile.length_m() - 1852.0).abs() < 4.0, "{mile:?}");
        assert_eq!(mile.bearing_deg(), 0.0);
        // At 60 degrees a degree of longitude is half as long.
        let east = place(60.0, 5.0).way_to(place(60.0, 5.01));
        assert!((east.length_m() - 556.0).abs() < 1.0, "{east:?}");
        assert!((east.bearing_deg() - 90.0).abs() < 1e-9);
        let west = place(60.0, 5.01).way_to(place(60.0, 5.0));
        assert!((west.bearing_deg() - 270.0).abs() < 1e-9);
        assert!((west.length_m() - east.length_m()).abs() < 1e-6);
        // Over the date line.
        let over = place(-17.0, 179.999).way_to(place(-17.0, -179.999));
        assert!((over.length_m() - 212.7).abs() < 1.0 && over.east_m > 0.0, "{over:?}");
        assert_eq!(place(1.0, 2.0).way_to(place(1.0, 2.0)).length_m(), 0.0);
    }
}
