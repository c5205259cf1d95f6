//! An epoch of a receiver that sends no NAV-PVT: put together from the smaller NAV messages.
//!
//! Receivers up to u-blox 6 have no NAV-PVT, and later ones may be set up without it. Every NAV
//! message begins with the time of its epoch in the GPS week (`iTOW`), by which they belong together.
//!
//! | told | by |
//! |---|---|
//! | whether there is a fix, and a good one | NAV-SOL or NAV-STATUS |
//! | place | NAV-POSLLH, else NAV-SOL or NAV-POSECEF |
//! | velocity | NAV-VELNED, else NAV-SOL or NAV-VELECEF |
//! | date and time | NAV-TIMEUTC, or NAV-TIMEGPS with a valid leap second |
//!
//! INVARIANT: a fix of an epoch needs the first, second and last line; without them the epoch gives
//! none. An epoch gives one fix: as soon as all four are there, else when NAV-EOE or the next epoch
//! says that no more will come. An epoch of which NAV-PVT came before that gives
//! the fix of NAV-PVT alone.
//!
//! Source of all places, units and bits: the u-blox 6 Receiver Description Including Protocol
//! Specification (GPS.G6-SW-10018), and the same of u-blox 8/M8 (UBX-13003221).

use std::collections::VecDeque;

use temoin_proto::geo::LatLon;

use super::{
    DAY_MS, MAX_COURSE_ERROR_DEG, PVT_LEN, byte, clock_ms, i32_at, midnight_ms, nav_pvt, u32_at,
};
use crate::receiver::ReceiverFix;

/// Ids in the class NAV.
const POSECEF: u8 = 0x01;
const POSLLH: u8 = 0x02;
const STATUS: u8 = 0x03;
const SOL: u8 = 0x06;
const PVT: u8 = super::NAV_PVT[1];
const VELECEF: u8 = 0x11;
const VELNED: u8 = 0x12;
const TIMEGPS: u8 = 0x20;
const TIMEUTC: u8 = 0x21;
const EOE: u8 = 0x61;

const WEEK_MS: u32 = 7 * 86_400_000;
/// 1980-01-06, where GPS time begins, in milliseconds since 1970.
const GPS_ZERO_MS: i64 = 315_964_800_000;

/// The ellipsoid of WGS 84: its half axes, metres.
const A_M: f64 = 6_378_137.0;
const B_M: f64 = A_M * (1.0 - 1.0 / 298.257_223_563);
/// Own choice: further from the ellipsoid than this is no place of a vehicle, and close to the middle
/// of the Earth (a receiver without a place tells 0, 0, 0) latitude means nothing.
const MAX_HEIGHT_M: f64 = 50_000.0;

#[derive(Clone, Copy, Debug)]
struct Place {
    at: LatLon,
    alt_m: Option<f64>,
    error_m: f64,
    by_llh: bool,
}

#[derive(Clone, Copy, Debug)]
struct Velocity {
    speed_mps: f64,
    course_deg: Option<f64>,
    error_mps: f64,
}

/// Along the earth's own three axes (ECEF).
type Vector = [f64; 3];

/// By what an epoch's fix was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    NotYet,
    ByParts,
    ByPvt,
}

/// What one epoch has told.
#[derive(Clone, Copy, Debug, Default)]
struct Epoch {
    itow_ms: Option<u32>,
    /// Whether its fix is a good one; None where there is none, or nobody said so.
    good: Option<bool>,
    place: Option<Place>,
    velocity: Option<Velocity>,
    /// Velocity along the earth's axes and its error, which waits for a place.
    ecef_mps: Option<(Vector, f64)>,
    utc_ms: Option<i64>,
    told: Told,
}

impl Epoch {
    fn velocity(&self) -> Option<Velocity> {
        let turned = || {
            let ((ecef, error_mps), place) = (self.ecef_mps?, self.place?);
            Some(on_the_ground(ecef, place.at, error_mps))
        };
        self.velocity.or_else(turned)
    }

    fn fix(&self) -> Option<ReceiverFix> {
        let (good, place, utc_ms) = (self.good?, self.place?, self.utc_ms?);
        let velocity = self.velocity();
        Some(ReceiverFix {
            time_of_day_ms: Some(utc_ms.rem_euclid(DAY_MS)),
            utc_unix_ms: Some(utc_ms),
            alt_m: place.alt_m,
            speed_mps: velocity.map(|v| v.speed_mps),
            course_deg: velocity.and_then(|v| v.course_deg),
            position_error_m: Some(place.error_m),
            speed_error_mps: velocity.map(|v| v.error_mps),
            vouched: good,
            ..ReceiverFix::new(place.at.lat_deg, place.at.lon_deg)
        })
    }

    /// The fix that it has to tell, once.
    fn end(&mut self) -> Option<ReceiverFix> {
        let fix = self.fix().filter(|_| self.told == Told::NotYet)?;
        self.told = Told::ByParts;
        Some(fix)
    }

    /// Takes a payload whose length is that of its message.
    fn take(&mut self, id: u8, p: &[u8]) -> Option<()> {
        match id {
            // 1 dead reckoning, 2 flat, 3 whole, 4 with dead reckoning, 5 only time. Bit 0 of the
            // flags is GPSfixOK: within the receiver's own limits of accuracy.
            STATUS => self.judge(byte(p, 4)?, byte(p, 5)?),
            SOL => {
                self.judge(byte(p, 10)?, byte(p, 11)?);
                self.ecef_place(p, 12, 24);
                self.ecef_velocity(p, 28, 40);
            }
            POSECEF => self.ecef_place(p, 4, 16),
            VELECEF => self.ecef_velocity(p, 4, 16),
            POSLLH => {
                let at = LatLon {
                    lon_deg: f64::from(i32_at(p, 4)?) * 1e-7,
                    lat_deg: f64::from(i32_at(p, 8)?) * 1e-7,
                };
                if at.lat_deg.abs() <= 90.0 && at.lon_deg.abs() <= 180.0 {
                    self.place = Some(Place {
                        at,
                        alt_m: Some(f64::from(i32_at(p, 16)?) / 1000.0),
                        error_m: f64::from(u32_at(p, 20)?) / 1000.0,
                        by_llh: true,
                    });
                }
            }
            VELNED => {
                let course_deg = f64::from(i32_at(p, 24)?) * 1e-5;
                let course_error_deg = f64::from(u32_at(p, 32)?) * 1e-5;
                self.velocity = Some(Velocity {
                    speed_mps: f64::from(u32_at(p, 20)?) / 100.0,
                    course_deg: ((0.0..=360.0).contains(&course_deg)
                        && course_error_deg <= MAX_COURSE_ERROR_DEG)
                        .then(|| course_deg.rem_euclid(360.0)),
                    error_mps: f64::from(u32_at(p, 28)?) / 100.0,
                });
            }
            TIMEGPS => self.utc_ms = gps_time_ms(p).or(self.utc_ms),
            TIMEUTC => self.utc_ms = utc_ms(p).or(self.utc_ms),
            _ => {}
        }
        Some(())
    }

    fn judge(&mut self, fix_type: u8, flags: u8) {
        self.good = match fix_type {
            1..=4 => Some(flags & 1 == 1),
            5 => Some(false),
            _ => None,
        };
    }

    fn ecef_place(&mut self, p: &[u8], at: usize, error_at: usize) {
        let place = || {
            Some(Place {
                at: on_the_ellipsoid(centimetres(p, at)?)?,
                // The height above the ellipsoid is none above the sea.
                alt_m: None,
                // Of all three axes: too large for the ground sooner than too small.
                error_m: f64::from(u32_at(p, error_at)?) / 100.0,
                by_llh: false,
            })
        };
        if self.place.is_none_or(|told| !told.by_llh) {
            self.place = place().or(self.place);
        }
    }

    fn ecef_velocity(&mut self, p: &[u8], at: usize, error_at: usize) {
        let told = || Some((centimetres(p, at)?, f64::from(u32_at(p, error_at)?) / 100.0));
        self.ecef_mps = told().or(self.ecef_mps);
    }
}

/// Puts epochs together, message by message.
#[derive(Debug, Default)]
pub struct Epochs {
    epoch: Epoch,
}

impl Epochs {
    /// Takes the payload of a message of the class NAV, and adds to `out` what it completes: the fix
    /// of an epoch that has ended, that of the newest, or both.
    pub fn message(&mut self, id: u8, payload: &[u8], out: &mut VecDeque<ReceiverFix>) {
        // Exact lengths: a longer one would be another message than the one that is known.
        let length_fits = match id {
            PVT => payload.len() >= PVT_LEN,
            POSECEF | TIMEUTC | VELECEF => payload.len() == 20,
            POSLLH => payload.len() == 28,
            STATUS | TIMEGPS => payload.len() == 16,
            SOL => payload.len() == 52,
            VELNED => payload.len() == 36,
            EOE => payload.len() == 4,
            _ => false,
        };
        let Some(itow_ms) = u32_at(payload, 0).filter(|_| length_fits) else { return };
        if self.epoch.itow_ms != Some(itow_ms) {
            out.extend(self.finish());
            self.epoch.itow_ms = Some(itow_ms);
        }
        if id == PVT {
            if self.epoch.told != Told::ByParts {
                self.epoch.told = Told::ByPvt;
                out.extend(nav_pvt(payload));
            }
            return;
        }
        // Every place of a message lies within the length that was checked above.
        self.epoch.take(id, payload);
        if self.epoch.velocity().is_some() || id == EOE {
            out.extend(self.epoch.end());
        }
    }

    /// At the end of a log: the fix of the epoch that still waited for its velocity.
    pub fn finish(&mut self) -> Option<ReceiverFix> {
        std::mem::take(&mut self.epoch).end()
    }
}

/// A vector in centimetres, or centimetres a second.
fn centimetres(p: &[u8], at: usize) -> Option<Vector> {
    let one = |n: usize| Some(f64::from(i32_at(p, at + 4 * n)?) / 100.0);
    Some([one(0)?, one(1)?, one(2)?])
}

/// NAV-TIMEGPS: a week, a time in it and the leap seconds, where all three are valid.
fn gps_time_ms(p: &[u8]) -> Option<i64> {
    let (itow_ms, nanoseconds) = (u32_at(p, 0)?, i64::from(i32_at(p, 4)?));
    let week = i16::from_le_bytes([byte(p, 8)?, byte(p, 9)?]);
    let leap_s = i8::from_le_bytes([byte(p, 10)?]);
    // Bits 0, 1 and 2: time in the week, week, leap seconds. A fraction of a millisecond is what is
    // left over after `iTOW`.
    if byte(p, 11)? & 7 != 7
        || itow_ms >= WEEK_MS
        || nanoseconds.abs() > 1_000_000
        || week < 0
        || !(0..=100).contains(&leap_s)
    {
        return None;
    }
    Some(
        GPS_ZERO_MS + i64::from(week) * i64::from(WEEK_MS) + i64::from(itow_ms)
            - i64::from(leap_s) * 1000
            + (nanoseconds + 500_000).div_euclid(1_000_000),
    )
}

/// NAV-TIMEUTC, where it is valid (bit 2).
fn utc_ms(p: &[u8]) -> Option<i64> {
    if byte(p, 19)? & 4 == 0 {
        return None;
    }
    let midnight = midnight_ms([byte(p, 12)?, byte(p, 13)?], byte(p, 14)?, byte(p, 15)?)?;
    Some(midnight + clock_ms([byte(p, 16)?, byte(p, 17)?, byte(p, 18)?], i32_at(p, 8)?)?)
}

/// Latitude and longitude of a place in the earth's own axes, metres; none where it is far from the
/// ground. Bowring's formula (Survey Review 181, 1976), right within a micrometre near the ground.
fn on_the_ellipsoid([x, y, z]: Vector) -> Option<LatLon> {
    let from_axis = x.hypot(y);
    let (sin, cos) = (z * A_M).atan2(from_axis * B_M).sin_cos();
    let (e2, e2_second) = (1.0 - (B_M / A_M).powi(2), (A_M / B_M).powi(2) - 1.0);
    let lat = (z + e2_second * B_M * sin.powi(3)).atan2(from_axis - e2 * A_M * cos.powi(3));
    let across = A_M / (1.0 - e2 * lat.sin().powi(2)).sqrt();
    let height_m = from_axis * lat.cos() + z * lat.sin() - A_M.powi(2) / across;
    (height_m.abs() <= MAX_HEIGHT_M)
        .then(|| LatLon { lat_deg: lat.to_degrees(), lon_deg: y.atan2(x).to_degrees() })
}

/// A velocity in the earth's own axes as one over the ground at a place.
fn on_the_ground([x, y, z]: Vector, at: LatLon, error_mps: f64) -> Velocity {
    let (sin_lat, cos_lat) = at.lat_deg.to_radians().sin_cos();
    let (sin_lon, cos_lon) = at.lon_deg.to_radians().sin_cos();
    let outward = x * cos_lon + y * sin_lon;
    let (north, east) = (z * cos_lat - outward * sin_lat, y * cos_lon - x * sin_lon);
    let speed_mps = north.hypot(east);
    let known = error_mps.atan2(speed_mps).to_degrees() <= MAX_COURSE_ERROR_DEG;
    Velocity {
        speed_mps,
        course_deg: (known && speed_mps > 0.0)
            .then(|| east.atan2(north).to_degrees().rem_euclid(360.0)),
        error_mps,
    }
}

#[cfg(test)]
mod tests;
