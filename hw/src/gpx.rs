//! Position fixes from a GPX track.
//!
//! GPX 1.1 has no speed. Where a point has none, speed and course come from the way between two
//! points that are 2 to 10 s apart: over less the error of the positions would be most of it,
//! over more the vehicle may have stopped in between. Else they stay unknown.

use std::{collections::VecDeque, io::Read};

use temoin_proto::{
    geo::LatLon,
    samples::{GnssFix, Signal},
    time::MonoTime,
};

use crate::{
    device::{SignalError, SignalSource},
    drive::SignalInput,
    nmea::open_file,
    time_map::{Placed, TimeMap},
};

/// The crate reads a whole file at once; a day at 1 Hz is about 10 MB.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Over how long a way speed is taken, milliseconds.
const WAY_MS: std::ops::RangeInclusive<i64> = 2_000..=10_000;

/// Fixes of one GPX file: all segments of all tracks in turn, else all routes.
#[derive(Debug)]
pub struct GpxFile {
    fixes: VecDeque<Signal>,
}

impl GpxFile {
    /// Reads the file; the drive's zero lies at `zero`.
    ///
    /// # Errors
    /// Where it cannot be read, is no GPX, is over 64 MiB, or no point has a time.
    pub fn open(input: &SignalInput, zero: MonoTime) -> Result<Self, SignalError> {
        let path = &input.file;
        let unusable = |what: String| SignalError::Unusable { path: path.clone(), what };
        let mut bytes = Vec::new();
        open_file(path)?
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| SignalError::Read { path: path.clone(), source })?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(unusable("it is larger than 64 MiB: split it".to_owned()));
        }
        let points = read(&bytes).map_err(|e| unusable(format!("it is no GPX file: {e}")))?;
        let Some(first) = points.first() else {
            return Err(unusable("no point in it has a time".to_owned()));
        };
        let first_ms = first.utc_ms;
        let mut map = TimeMap::new(input.window(), zero);
        let mut fixes = VecDeque::new();
        for (i, p) in points.iter().enumerate() {
            let at = match map.place(p.seconds_since(first_ms)) {
                Placed::Before => continue,
                Placed::At(at) => at,
                Placed::After => break,
            };
            let earlier = points.get(..i).unwrap_or_default();
            let way = earlier
                .iter()
                .rev()
                .take_while(|e| p.utc_ms - e.utc_ms <= *WAY_MS.end())
                .find(|e| WAY_MS.contains(&(p.utc_ms - e.utc_ms)))
                .map(|e| e.way_to(p));
            fixes.push_back(Signal::Gnss(GnssFix {
                utc_unix_ms: Some(p.utc_ms),
                speed_mps: p.speed_mps.or(way.map(|(mps, _)| mps)),
                course_deg: way.and_then(|(_, course)| course),
                hdop: p.hdop,
                ..GnssFix::new(at, p.lat_deg, p.lon_deg)
            }));
        }
        Ok(Self { fixes })
    }
}

impl SignalSource for GpxFile {
    fn next_signal(&mut self) -> Result<Option<Signal>, SignalError> {
        Ok(self.fixes.pop_front())
    }
}

#[derive(Debug)]
struct Point {
    utc_ms: i64,
    lat_deg: f64,
    lon_deg: f64,
    speed_mps: Option<f64>,
    hdop: Option<f64>,
}

impl Point {
    fn seconds_since(&self, utc_ms: i64) -> f64 {
        jiff::SignedDuration::from_millis(self.utc_ms - utc_ms).as_secs_f64()
    }

    /// Mean speed and course to `to`; no course where it hardly moved.
    fn way_to(&self, to: &Self) -> (f64, Option<f64>) {
        let way = self.place().way_to(to.place());
        let mps = way.length_m() / to.seconds_since(self.utc_ms);
        (mps, (mps > 1.0).then(|| way.bearing_deg()))
    }

    const fn place(&self) -> LatLon {
        LatLon { lat_deg: self.lat_deg, lon_deg: self.lon_deg }
    }
}

/// The points that have a time, in the order of the file.
fn read(bytes: &[u8]) -> Result<Vec<Point>, ::gpx::errors::GpxError> {
    let gpx = ::gpx::read(bytes)?;
    let tracks = gpx.tracks.into_iter().flat_map(|t| t.segments).flat_map(|s| s.points);
    let routes = gpx.routes.into_iter().flat_map(|r| r.points);
    let mut points = Vec::new();
    for w in tracks.chain(routes) {
        let Some(time) = w.time else { continue };
        let Ok(at) = time.format()?.parse::<jiff::Timestamp>() else { continue };
        let (lon_deg, lat_deg) = w.point().x_y();
        points.push(Point {
            utc_ms: at.as_millisecond(),
            lat_deg,
            lon_deg,
            speed_mps: w.speed.filter(|v| v.is_finite() && *v >= 0.0),
            hdop: w.hdop.filter(|h| h.is_finite()),
        });
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::SignalFormat;
    use proptest::prelude::*;

    fn fixes(text: &str) -> Result<Vec<GnssFix>, SignalError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let input = SignalInput::whole(file.path(), SignalFormat::Gpx);
        let mut gpx = GpxFile::open(&input, MonoTime::from_secs_f64(10.0))?;
        let mut out = Vec::new();
        while let Some(s) = gpx.next_signal()? {
            let Signal::Gnss(fix) = s else { panic!("{s:?}") };
            out.push(fix);
        }
        Ok(out)
    }

    /// A vehicle going north by a thousandth of a degree (111.2 m) every 4 s.
    fn track(version: &str, inside: &str) -> String {
        let mut text =
            format!(r#"<?xml version="1.0"?><gpx version="{version}" creator="t"><trk><trkseg>"#);
        for i in 0..5 {
            text.push_str(&format!(
                r#"<trkpt lat="54.{:03}" lon="7"><time>2026-03-01T00:00:{:02}Z</time>{inside}</trkpt>"#,
                i,
                i * 4
            ));
        }
        text + "</trkseg></trk></gpx>"
    }

    #[test]
    fn speed_of_the_way_where_the_file_has_none() {
        let got = fixes(&track("1.1", "<hdop>1.2</hdop>")).unwrap();
        assert_eq!(got.len(), 5);
        assert_eq!((got[0].speed_mps, got[0].course_deg), (None, None));
        assert_eq!(got[0].at, MonoTime::from_secs_f64(10.0));
        assert_eq!(got[4].at, MonoTime::from_secs_f64(26.0));
        assert_eq!(got[0].utc_unix_ms, Some(1_772_323_200_000));
        let mps = got[4].speed_mps.unwrap();
        assert!((mps - 111.195 / 4.0).abs() < 0.01, "{mps}");
        assert!(got[4].course_deg.unwrap() < 0.001);
        assert_eq!(got[4].hdop, Some(1.2));
    }

    #[test]
    fn its_own_speed_comes_first() {
        let got = fixes(&track("1.0", "<speed>9.5</speed>")).unwrap();
        assert!(got.iter().all(|f| f.speed_mps == Some(9.5)));
    }

    #[test]
    fn unusable_files_say_why() {
        for (text, why) in [
            ("<gpx version=\"1.1\" creator=\"t\"></gpx>", "no point"),
            ("hello", "no GPX"),
            ("", "no GPX"),
        ] {
            let err = fixes(text).unwrap_err().to_string();
            assert!(err.contains(why), "{err}");
        }
    }

    proptest! {
        #[test]
        fn cut_and_spoilt_files_never_panic(cut in 0_usize..900, at in 0_usize..900, byte: u8) {
            let mut bytes = track("1.1", "").into_bytes();
            if let Some(b) = bytes.get_mut(at) {
                *b = byte;
            }
            bytes.truncate(cut);
            drop(read(&bytes));
        }
    }
}
