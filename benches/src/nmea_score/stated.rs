//! What a log states, word for word, against what gpsd reckons of it.
//!
//! gpsd fills in what a receiver does not tell: where no speed came with a position it takes the way
//! from the last one. And where a log tells a place in the earth's own axes (ECEF) alone, gpsd 3.22
//! reckons latitude, longitude and speed of the first epoch and keeps them for all the others, with
//! the right axes beside them. So
//! - a speed of gpsd's that no sentence of an NMEA log states is not compared; ours must all be
//!   stated;
//! - a report's axes, which are the log's own, count as well as its latitude and longitude.
//!
//! And where a receiver states two figures for one moment, in two sentences, a decoder has to choose.
//! Neither choice is wrong: [`Stated::contradicts_itself`].

use std::collections::BTreeMap;

use serde::Deserialize;
use temoin_hw::receiver::ReceiverFix;
use temoin_proto::geo::LatLon;

use super::DAY_MS;

/// gpsd tells millimetres a second, and a knot of its own has 0.514444 m/s.
const SAME_SPEED_MPS: f64 = 0.002;
/// Places are told to a ten-thousandth of a minute, 0.2 m, or better.
const SAME_PLACE_M: f64 = 0.3;
const MPS_PER_KNOT: f64 = 1852.0 / 3600.0;

/// What stands in a log.
pub(super) struct Stated {
    /// A position in NMEA or UBX, good or not.
    pub(super) position: bool,
    /// All speeds of an NMEA log; None where speeds are told in UBX too.
    speeds_mps: Option<Vec<f64>>,
    /// What sentences say of each moment, by the time of day, milliseconds.
    moments: BTreeMap<i64, Moment>,
}

/// What sentences of NMEA say of one moment.
#[derive(Debug, Default)]
struct Moment {
    /// Latitude and longitude.
    places: Vec<LatLon>,
    speeds_mps: Vec<f64>,
}

impl Stated {
    /// Looks through a log.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let (mut position, mut speeds_mps) = (false, Vec::new());
        let mut moments: BTreeMap<i64, Moment> = BTreeMap::new();
        let (mut now, mut untimed) = (None, Vec::new());
        for sentence in bytes.split(|b| *b == b'$').skip(1) {
            let sentence = sentence.split(|b| matches!(b, b'*' | b'\r' | b'\n')).next();
            let Ok(text) = std::str::from_utf8(sentence.unwrap_or_default()) else { continue };
            let fields: Vec<&str> = text.split(',').collect();
            let field = |n: usize| fields.get(n).copied().unwrap_or_default();
            let told = |n: usize, mps: f64| Some(field(n).parse::<f64>().ok()? * mps);
            // Behind the two letters of the talker: where the time stands, and where the place.
            let (time, place) = match field(0).get(2..) {
                Some("RMC") => (time_of_day_ms(field(1)), place([3, 4, 5, 6].map(field))),
                Some("GGA" | "GNS") => (time_of_day_ms(field(1)), place([2, 3, 4, 5].map(field))),
                Some("GLL") => (time_of_day_ms(field(5)), place([1, 2, 3, 4].map(field))),
                _ => (None, None),
            };
            if let Some(time) = time {
                now = Some(time);
                let moment = moments.entry(time).or_default();
                moment.places.extend(place);
                // VTG has no time: it is of the moment before or after it.
                moment.speeds_mps.append(&mut untimed);
            }
            let before = speeds_mps.len();
            match field(0).get(2..) {
                Some("RMC") => {
                    position |= !field(3).is_empty();
                    speeds_mps.extend(told(7, MPS_PER_KNOT));
                }
                Some("GGA" | "GNS") => position |= !field(2).is_empty(),
                Some("GLL") => position |= !field(1).is_empty(),
                Some("VTG") => {
                    speeds_mps.extend(told(5, MPS_PER_KNOT));
                    speeds_mps.extend(told(7, 1.0 / 3.6));
                }
                _ => {}
            }
            let told = speeds_mps.get(before..).unwrap_or_default();
            if let Some(moment) = now.and_then(|now| moments.get_mut(&now)) {
                moment.speeds_mps.extend_from_slice(told);
            }
            if time.is_none() {
                untimed.extend_from_slice(told);
            }
        }
        let ubx = bytes.windows(6).any(position_in_ubx);
        Self { position: position || ubx, speeds_mps: (!ubx).then_some(speeds_mps), moments }
    }

    fn states(&self, mps: f64) -> bool {
        let near = |stated: &f64| (stated - mps).abs() <= SAME_SPEED_MPS;
        self.speeds_mps.as_ref().is_none_or(|speeds| speeds.iter().any(near))
    }

    /// Whether the log states both of these for this moment, though they differ: in place, or in speed.
    pub(super) fn contradicts_itself(&self, ours: &ReceiverFix, theirs: &ReceiverFix) -> bool {
        let Some(moment) = ours.time_of_day_ms.and_then(|time| self.moments.get(&time)) else {
            return false;
        };
        let states = |fix: &ReceiverFix| {
            let at = LatLon { lat_deg: fix.lat_deg, lon_deg: fix.lon_deg };
            let place =
                moment.places.iter().any(|place| place.way_to(at).length_m() <= SAME_PLACE_M);
            let speed = fix.speed_mps.is_none_or(|mps| {
                moment.speeds_mps.iter().any(|stated| (stated - mps).abs() <= SAME_SPEED_MPS)
            });
            place && speed
        };
        states(ours) && states(theirs)
    }

    /// gpsd's reports without the speeds that it reckoned, and how many these were.
    pub(super) fn speeds_alone(&self, mut theirs: Vec<ReceiverFix>) -> (Vec<ReceiverFix>, usize) {
        let mut reckoned = 0;
        for report in &mut theirs {
            if report.speed_mps.is_some_and(|mps| !self.states(mps)) {
                report.speed_mps = None;
                reckoned += 1;
            }
        }
        (theirs, reckoned)
    }

    /// What is wrong with a speed of ours that the log does not state.
    pub(super) fn foreign_speed(&self, ours: &[ReceiverFix]) -> Option<String> {
        let mut speeds = ours.iter().filter_map(|fix| fix.speed_mps);
        let mps = speeds.find(|mps| !self.states(*mps))?;
        Some(format!("a speed of {mps:.3} m/s that no sentence states"))
    }
}

/// `hhmmss.sss` in milliseconds.
fn time_of_day_ms(text: &str) -> Option<i64> {
    let part = |from: usize| text.get(from..from + 2)?.parse::<i64>().ok();
    let seconds: f64 = text.get(4..)?.parse().ok()?;
    // Below a day: no digit is lost.
    let ms = format!("{:.0}", seconds * 1000.0).parse::<i64>().ok()?;
    Some((part(0)? * 60 + part(2)?) * 60_000 + ms)
}

/// `ddmm.mmm`, `N` or `S`, `dddmm.mmm`, `E` or `W`.
fn place([lat, north, lon, east]: [&str; 4]) -> Option<LatLon> {
    let degrees = |text: &str, sign: &str| {
        let minutes_at = text.find('.').unwrap_or(text.len()).checked_sub(2)?;
        let whole: f64 = text.get(..minutes_at)?.parse().ok()?;
        let minutes: f64 = text.get(minutes_at..)?.parse().ok()?;
        let degrees = whole + minutes / 60.0;
        Some(if matches!(sign, "S" | "W") { -degrees } else { degrees })
    };
    Some(LatLon { lat_deg: degrees(lat, north)?, lon_deg: degrees(lon, east)? })
}

/// Whether a frame of NAV-POSECEF, NAV-POSLLH, NAV-SOL or NAV-PVT begins here.
fn position_in_ubx(head: &[u8]) -> bool {
    let &[0xb5, 0x62, 1, id, low, high] = head else { return false };
    let length = u16::from_le_bytes([low, high]);
    matches!((id, length), (1, 20) | (2, 28) | (6, 52) | (7, 84..=128))
}

/// A TPV report of gpsd's, read otherwise than the unit's source of gpsd reads it, so that this one is
/// under test where a log goes through it.
#[derive(Deserialize)]
struct Report {
    class: String,
    mode: u8,
    /// 8 is simulated.
    status: Option<u8>,
    time: Option<String>,
    lat: f64,
    lon: f64,
    speed: Option<f64>,
    /// The earth's own axes, metres and metres a second.
    ecefx: Option<f64>,
    ecefy: Option<f64>,
    ecefz: Option<f64>,
    ecefvx: Option<f64>,
    ecefvy: Option<f64>,
    ecefvz: Option<f64>,
}

/// What one line of gpsd's tells: its fix, and the same by the axes where it tells these.
pub(super) fn reported(line: &str) -> Vec<ReceiverFix> {
    let Ok(report) = serde_json::from_str::<Report>(line) else { return Vec::new() };
    if report.class != "TPV" || report.mode < 2 || report.status == Some(8) {
        return Vec::new();
    }
    let time = report.time.and_then(|t| t.parse::<jiff::Timestamp>().ok());
    let utc_unix_ms = time.map(jiff::Timestamp::as_millisecond);
    let fix = ReceiverFix {
        time_of_day_ms: utc_unix_ms.map(|t| t.rem_euclid(DAY_MS)),
        utc_unix_ms,
        speed_mps: report.speed,
        ..ReceiverFix::new(report.lat, report.lon)
    };
    let vector = |x: Option<f64>, y: Option<f64>, z: Option<f64>| Some([x?, y?, z?]);
    let by_axes = vector(report.ecefx, report.ecefy, report.ecefz).map(|place| {
        let (lat_deg, lon_deg) = on_the_ground(place);
        let velocity = vector(report.ecefvx, report.ecefvy, report.ecefvz);
        let speed_mps = velocity.map(|velocity| over_ground(velocity, lat_deg, lon_deg));
        ReceiverFix { lat_deg, lon_deg, speed_mps, ..fix }
    });
    [Some(fix), by_axes].into_iter().flatten().collect()
}

/// Latitude and longitude on WGS 84 by iteration, so otherwise than the unit does it.
fn on_the_ground([x, y, z]: [f64; 3]) -> (f64, f64) {
    const A_M: f64 = 6_378_137.0;
    const E2: f64 = 0.006_694_379_990_14;
    let from_axis = x.hypot(y);
    let mut lat = z.atan2(from_axis * (1.0 - E2));
    for _ in 0..20 {
        let across = A_M / (1.0 - E2 * lat.sin().powi(2)).sqrt();
        lat = (z + E2 * across * lat.sin()).atan2(from_axis);
    }
    (lat.to_degrees(), y.atan2(x).to_degrees())
}

/// Speed over the ground: what is left of a velocity without its part straight up.
fn over_ground(velocity: [f64; 3], lat_deg: f64, lon_deg: f64) -> f64 {
    let (lat, lon) = (lat_deg.to_radians(), lon_deg.to_radians());
    let up = [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()];
    let climb: f64 = velocity.iter().zip(up).map(|(v, u)| v * u).sum();
    let all: f64 = velocity.iter().map(|v| v * v).sum();
    (all - climb * climb).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(speed_mps: f64) -> ReceiverFix {
        ReceiverFix { speed_mps: Some(speed_mps), ..ReceiverFix::new(44.4, -71.6) }
    }

    #[test]
    fn which_logs_hold_a_position() {
        for (name, log, want) in [
            ("RMC", &b"$GPRMC,194101,A,4426.1130,N,07140.5596,W,5.2,77.3,160906,,*60"[..], true),
            ("RMC of no place", b"$GPRMC,194101,V,,,,,,,160906,,*60", false),
            ("GGA behind others", b"\xa0\xa2$GPZDA,1*00\r\n$GNGGA,194104,4426.1138,N", true),
            ("GLL", b"$INGLL,4426.1130,N,07140.5579,W,194102,A*2C", true),
            ("NAV-SOL", b"xx\xb5\x62\x01\x06\x34\x00", true),
            ("NAV-PVT of 92 bytes", b"\xb5\x62\x01\x07\x5c\x00", true),
            ("NAV-SOL of another length", b"\xb5\x62\x01\x06\x35\x00", false),
            ("NAV-DOP", b"\xb5\x62\x01\x04\x12\x00", false),
            ("SiRF", b"\xa0\xa2\x00\x5b\x29\x00\x00", false),
            ("nothing", b"", false),
        ] {
            assert_eq!(Stated::of(log).position, want, "{name}");
        }
    }

    #[test]
    fn only_speeds_that_stand_there() {
        let log = b"$INRMC,194101,A,4426.1130,N,07140.5596,W,5.2,77.3,160906,15.8,W*60\r\n\
            $INVTG,76.3,T,92.1,M,5.3,N,9.7,K*5E\r\n";
        let stated = Stated::of(log);
        let (theirs, reckoned) = stated.speeds_alone(vec![fix(2.675), fix(2.249), fix(2.727)]);
        assert_eq!(reckoned, 1);
        let kept: Vec<_> = theirs.iter().map(|f| f.speed_mps.is_some()).collect();
        assert_eq!(kept, [true, false, true]);
        assert_eq!(stated.foreign_speed(&[fix(2.675), fix(9.7 / 3.6)]), None);
        assert!(stated.foreign_speed(&[fix(2.675), fix(2.7)]).is_some());
        // UBX tells speeds in other units: then all are compared.
        let mixed = Stated::of(&[&log[..], b"\xb5\x62\x01\x07\x5c\x00"].concat());
        assert_eq!(mixed.speeds_alone(vec![fix(2.249)]).1, 0);
        assert_eq!(mixed.foreign_speed(&[fix(2.7)]), None);
    }

    #[test]
    fn the_axes_of_a_report_count_as_well() {
        let line = r#"{"class":"TPV","mode":3,"lat":46.404648618,"lon":-117.020462010,"speed":0.44,
            "ecefx":-2001691.12,"ecefy":-3925074.05,"ecefz":4596546.66,
            "ecefvx":0.38,"ecefvy":-0.22,"ecefvz":-0.02}"#;
        let fixes = reported(line);
        assert_eq!(fixes.len(), 2);
        assert!((fixes[1].lat_deg - fixes[0].lat_deg).abs() < 2e-9, "{fixes:?}");
        assert!((fixes[1].lon_deg - fixes[0].lon_deg).abs() < 2e-9, "{fixes:?}");
        assert!((fixes[1].speed_mps.unwrap() - 0.44).abs() < 1e-3, "{fixes:?}");
        assert_eq!(reported(&line.replace("\"mode\":3", "\"mode\":1")), []);
        let timed = reported(&line.replace("TPV\"", "TPV\",\"time\":\"2020-07-11T22:37:45.5Z\""));
        assert_eq!(timed[0].utc_unix_ms, Some(1_594_507_065_500));
        assert_eq!(timed[1].time_of_day_ms, Some(81_465_500));
        assert_eq!(reported(&line.replace("ecefx", "other")).len(), 1);
        assert_eq!(reported(&line.replace("TPV", "SKY")).len(), 0);
    }

    #[test]
    fn two_figures_for_one_moment_are_both_stated() {
        let log = b"$GPRMC,120000.000,A,5000.0000,N,01000.0000,W,10.0,90.0,010120,,,A*00\r\n\
            $GPVTG,90.0,T,,M,12.0,N,22.2,K*00\r\n\
            $GPGGA,120000.000,5000.0050,N,01000.0000,W,1,08,1.0,100.0,M,,M,,*00\r\n\
            $GPRMC,120001.000,A,5000.0000,N,01000.0000,W,10.0,90.0,010120,,,A*00\r\n";
        let stated = Stated::of(log);
        let fix = |second: i64, lat_min: f64, knots: f64| ReceiverFix {
            time_of_day_ms: Some(43_200_000 + second * 1000),
            speed_mps: Some(knots * MPS_PER_KNOT),
            ..ReceiverFix::new(50.0 + lat_min / 60.0, -10.0)
        };
        let both = |a: ReceiverFix, b: ReceiverFix| stated.contradicts_itself(&a, &b);
        assert!(both(fix(0, 0.0, 10.0), fix(0, 0.0, 12.0)), "RMC and VTG");
        assert!(both(fix(0, 0.0, 10.0), fix(0, 0.005, 10.0)), "RMC and GGA");
        assert!(!both(fix(0, 0.0, 10.0), fix(0, 0.0, 11.0)), "a speed that nothing states");
        assert!(!both(fix(0, 0.001, 10.0), fix(0, 0.0, 10.0)), "a place that nothing states");
        assert!(!both(fix(1, 0.0, 12.0), fix(1, 0.0, 10.0)), "not at this moment");
        assert!(!both(fix(2, 0.0, 10.0), fix(2, 0.0, 12.0)), "no such moment");
    }
}
