//! One sentence: its fields are read by the `nmea` crate.
//!
//! What the crate lacks is done here. Its readers take `nan` for a number, 66 minutes for an
//! angle, and refuse a whole sentence for a leap second, for a letter that they do not know in a
//! field that nobody needs (magnetic variation, navigation status), and for a GNS of more than two
//! constellations; a speed that VTG gives in km/h only is lost. So only fields that are needed, and of these only what the standard writes, are
//! handed to it. Its bound of 102 bytes a sentence does not hold here: receivers go beyond.

use nmea::{
    NmeaSentence, SentenceType,
    sentences::{FaaMode, FixType, gga, gll, gns, gst, rmc, rmc::RmcStatusOfFix, vtg},
};

const MPS_PER_KNOT: f64 = 1852.0 / 3600.0;
const DAY_MS: i64 = 86_400_000;

/// What one sentence says. Times are milliseconds of a day in UTC.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sentence {
    Rmc {
        time_ms: Option<i64>,
        /// Midnight of its date, milliseconds since 1970.
        midnight_ms: Option<i64>,
        valid: bool,
        place: Option<(f64, f64)>,
        speed_mps: Option<f64>,
        course_deg: Option<f64>,
    },
    /// GGA, GNS and GLL.
    Position {
        time_ms: Option<i64>,
        valid: bool,
        place: Option<(f64, f64)>,
        hdop: Option<f64>,
        alt_m: Option<f64>,
    },
    Vtg {
        speed_mps: Option<f64>,
        course_deg: Option<f64>,
    },
    Gst {
        time_ms: Option<i64>,
        error_m: f64,
    },
}

/// Reads the text between `$` and `*`, whose checksum was right.
pub(super) fn read(text: &str) -> Option<Sentence> {
    let mut fields = text.split(',');
    let address = fields.next()?;
    // Two letters of the talker, three of the sentence; `P` begins a maker's own.
    if address.len() != 5 || address.starts_with('P') {
        return None;
    }
    let f: Vec<&str> = fields.collect();
    match address.get(2..)? {
        "RMC" => read_rmc(&f),
        "GGA" => read_gga(&f),
        "GNS" => read_gns(&f),
        "GLL" => read_gll(&f),
        "VTG" => read_vtg(&f),
        "GST" => read_gst(&f),
        _ => None,
    }
}

/// Has one of the crate's functions read these fields.
macro_rules! by_crate {
    ($function:path, $kind:ident, $fields:expr) => {{
        let data = $fields.join(",");
        let sentence = NmeaSentence {
            talker_id: "GN",
            message_id: SentenceType::$kind,
            data: &data,
            checksum: 0,
        };
        $function(sentence).ok()?
    }};
}

fn read_rmc(f: &[&str]) -> Option<Sentence> {
    let [lat, north, lon, east] = place_fields(f, 2);
    let time = time_field(f, 0);
    let fields = [
        &*time,
        if field(f, 1) == "A" { "A" } else { "V" },
        lat,
        north,
        lon,
        east,
        plain(f, 6),
        plain(f, 7),
        date_field(f, 8),
        // Magnetic variation and its direction.
        "",
        "",
        one_letter(f, 11),
    ];
    let said = by_crate!(rmc::parse_rmc, RMC, fields);
    let no_fix =
        matches!(said.faa_mode, Some(FaaMode::DataNotValid | FaaMode::Manual | FaaMode::Simulator));
    Some(Sentence::Rmc {
        time_ms: said
            .fix_time
            .map(|t| t.signed_duration_since(Default::default()).num_milliseconds()),
        midnight_ms: said
            .fix_date
            .map(|d| d.signed_duration_since(Default::default()).num_days() * DAY_MS),
        valid: said.status_of_fix == RmcStatusOfFix::Autonomous && !no_fix,
        place: place(said.lat, said.lon),
        speed_mps: speed(said.speed_over_ground),
        course_deg: course(said.true_course),
    })
}

fn read_gga(f: &[&str]) -> Option<Sentence> {
    let [lat, north, lon, east] = place_fields(f, 1);
    let time = time_field(f, 0);
    let quality = match field(f, 5) {
        q @ ("1" | "2" | "3" | "4" | "5" | "6" | "7" | "8") => q,
        _ => "0",
    };
    let fields =
        [&*time, lat, north, lon, east, quality, "", plain(f, 7), plain(f, 8), "M", "", "M"];
    let said = by_crate!(gga::parse_gga, GGA, fields);
    // Estimated is dead reckoning: a position of the receiver's. What is typed in by hand or
    // simulated is none.
    let valid = matches!(
        said.fix_type?,
        FixType::Gps
            | FixType::DGps
            | FixType::Pps
            | FixType::Rtk
            | FixType::FloatRtk
            | FixType::Estimated
    );
    Some(Sentence::Position {
        time_ms: said
            .fix_time
            .map(|t| t.signed_duration_since(Default::default()).num_milliseconds()),
        valid,
        place: place(said.latitude, said.longitude),
        hdop: hdop(said.hdop),
        alt_m: altitude(said.altitude),
    })
}

fn read_gns(f: &[&str]) -> Option<Sentence> {
    let [lat, north, lon, east] = place_fields(f, 1);
    let time = time_field(f, 0);
    // One letter for each constellation; one of them is enough for a fix.
    let valid = field(f, 5).chars().any(|c| "ADPRFE".contains(c));
    let fields = [
        &*time,
        lat,
        north,
        lon,
        east,
        if valid { "A" } else { "N" },
        "0",
        plain(f, 7),
        plain(f, 8),
        "",
        "",
        "",
    ];
    let said = by_crate!(gns::parse_gns, GNS, fields);
    Some(Sentence::Position {
        time_ms: said
            .fix_time
            .map(|t| t.signed_duration_since(Default::default()).num_milliseconds()),
        valid,
        place: place(said.lat, said.lon),
        hdop: hdop(said.hdop),
        alt_m: altitude(said.alt),
    })
}

fn read_gll(f: &[&str]) -> Option<Sentence> {
    let [lat, north, lon, east] = place_fields(f, 0);
    let time = time_field(f, 4);
    let valid = field(f, 5) == "A" && !matches!(field(f, 6), "N" | "M" | "S");
    let status = if valid { "A" } else { "V" };
    let said = by_crate!(gll::parse_gll, GLL, [lat, north, lon, east, &*time, status, ""]);
    Some(Sentence::Position {
        time_ms: said
            .fix_time
            .map(|t| t.signed_duration_since(Default::default()).num_milliseconds()),
        valid,
        place: place(said.latitude, said.longitude),
        hdop: None,
        alt_m: None,
    })
}

fn read_vtg(f: &[&str]) -> Option<Sentence> {
    if matches!(field(f, 8), "N" | "M" | "S") {
        return None;
    }
    let fields = [plain(f, 0), "T", "", "M", plain(f, 4), "N", plain(f, 6), "K"];
    let said = by_crate!(vtg::parse_vtg, VTG, fields);
    let kmh = plain(f, 6).parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0);
    Some(Sentence::Vtg {
        speed_mps: speed(said.speed_over_ground).or(kmh.map(|v| v / 3.6)),
        course_deg: course(said.true_course),
    })
}

fn read_gst(f: &[&str]) -> Option<Sentence> {
    let time = time_field(f, 0);
    let fields = [&*time, "", "", "", "", plain(f, 5), plain(f, 6), ""];
    let said = by_crate!(gst::parse_gst, GST, fields);
    let error_m = f64::from(said.lat_sd?).hypot(f64::from(said.long_sd?));
    (error_m.is_finite() && said.lat_sd? >= 0.0 && said.long_sd? >= 0.0).then_some(Sentence::Gst {
        time_ms: said.time.map(|t| t.signed_duration_since(Default::default()).num_milliseconds()),
        error_m,
    })
}

fn field<'a>(fields: &[&'a str], i: usize) -> &'a str {
    fields.get(i).copied().unwrap_or("")
}

fn digits(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())
}

/// A number without a sign as the standard writes it; nothing where it is none.
fn unsigned(s: &str) -> bool {
    match s.split_once('.') {
        Some((whole, part)) => {
            (digits(whole) || whole.is_empty() && digits(part)) && (part.is_empty() || digits(part))
        }
        None => digits(s),
    }
}

/// A field that is a number; empty where it is none.
fn plain<'a>(fields: &[&'a str], i: usize) -> &'a str {
    let text = field(fields, i);
    if unsigned(text.strip_prefix('-').unwrap_or(text)) { text } else { "" }
}

fn one_letter<'a>(fields: &[&'a str], i: usize) -> &'a str {
    let text = field(fields, i);
    if text.len() == 1 { text } else { "" }
}

/// `hhmmss.sss`; a leap second is told as the end of its minute. Empty where it is none.
fn time_field(fields: &[&str], i: usize) -> String {
    let text = field(fields, i);
    let Some((whole, part)) = text.split_at_checked(6) else { return String::new() };
    let part = part.strip_prefix('.').unwrap_or(part);
    if !digits(whole) || !(part.is_empty() || digits(part)) {
        return String::new();
    }
    match whole.split_at_checked(4) {
        Some((_, "60")) => format!("{}59.999", whole.get(..4).unwrap_or_default()),
        Some((hours_minutes, seconds))
            if hours_minutes < "2400"
                && hours_minutes.get(2..).is_some_and(|m| m < "60")
                && seconds < "60" =>
        {
            // More than milliseconds is more than is told here; the crate would round them up.
            format!("{whole}.{}", part.get(..3).unwrap_or(part))
        }
        _ => String::new(),
    }
}

/// `ddmmyy`; empty where it is none that the crate reads.
fn date_field<'a>(fields: &[&'a str], i: usize) -> &'a str {
    let text = field(fields, i);
    let two = |from: usize| text.get(from..from + 2).and_then(|t| t.parse::<i8>().ok());
    let (Some(d), Some(m), Some(y)) = (two(0), two(2), two(4)) else { return "" };
    let year = if y >= 83 { 1900 } else { 2000 } + i16::from(y);
    let is_one = jiff::civil::Date::new(year, m, d).is_ok();
    if text.len() == 6 && digits(text) && is_one { text } else { "" }
}

/// Latitude, its hemisphere, longitude and its hemisphere, from field `i` on; all of them empty
/// where one is no such thing.
fn place_fields<'a>(fields: &[&'a str], i: usize) -> [&'a str; 4] {
    let [lat, north, lon, east] = [0, 1, 2, 3].map(|n| field(fields, i + n));
    let angle = |text: &str, degree_digits: usize| {
        let (degrees, minutes) = text.split_at_checked(degree_digits).unwrap_or(("", ""));
        digits(degrees)
            && unsigned(minutes)
            && minutes.get(..2).is_some_and(|m| digits(m) && m < "60")
            && minutes.get(2..3).is_none_or(|c| c == ".")
    };
    let good =
        angle(lat, 2) && angle(lon, 3) && matches!(north, "N" | "S") && matches!(east, "E" | "W");
    if good { [lat, north, lon, east] } else { [""; 4] }
}

fn place(lat: Option<f64>, lon: Option<f64>) -> Option<(f64, f64)> {
    lat.zip(lon).filter(|(lat, lon)| lat.abs() <= 90.0 && lon.abs() <= 180.0)
}

fn speed(knots: Option<f32>) -> Option<f64> {
    knots.map(|kn| f64::from(kn) * MPS_PER_KNOT).filter(|v| v.is_finite() && *v >= 0.0)
}

fn course(degrees: Option<f32>) -> Option<f64> {
    degrees.map(f64::from).filter(|c| (0.0..=360.0).contains(c)).map(|c| c.rem_euclid(360.0))
}

fn hdop(hdop: Option<f32>) -> Option<f64> {
    hdop.map(f64::from).filter(|h| *h > 0.0 && *h < 99.0)
}

/// Own choice of bounds: below every road and above every aeroplane.
fn altitude(metres: Option<f32>) -> Option<f64> {
    metres.map(f64::from).filter(|m| (-1000.0..=50_000.0).contains(m))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_dates() {
        for (text, ms) in [
            ("000000", Some(0)),
            ("235959.999", Some(86_399_999)),
            ("235959.9999999999", Some(86_399_999)),
            ("120000.5", Some(43_200_500)),
            ("120000.96", Some(43_200_960)),
            ("120000.", Some(43_200_000)),
            ("235960.00", Some(86_399_999)),
            ("240000", None),
            ("126000", None),
            ("1200", None),
            ("12000x", None),
            ("120000x5", None),
            ("12000\u{e9}", None),
            ("", None),
        ] {
            let said = read(&format!("GPRMC,{text},V,,,,,,,,,,N"));
            let Some(Sentence::Rmc { time_ms, .. }) = said else { panic!("{text}: {said:?}") };
            assert_eq!(time_ms, ms, "{text}");
        }
        for (text, ms) in [
            ("010170", Some(3_155_760_000_000)),
            ("310199", Some(917_740_800_000)),
            ("290200", Some(951_782_400_000)),
            ("290201", None),
            ("320120", None),
            ("-10120", None),
            ("", None),
        ] {
            let said = read(&format!("GPRMC,120000,V,,,,,,,{text},,,N"));
            let Some(Sentence::Rmc { midnight_ms, .. }) = said else { panic!("{text}: {said:?}") };
            assert_eq!(midnight_ms, ms, "{text}");
        }
    }

    #[test]
    fn what_the_crate_would_misread_or_refuse() {
        let rmc = |place: &str, rest: &str| {
            let said = read(&format!("GPRMC,120000,A,{place},1.0,2.0,010120,{rest}"));
            matches!(said, Some(Sentence::Rmc { valid: true, place: Some(_), .. }))
        };
        for (name, place, rest, want) in [
            ("as it is", "3806.6,N,12237.6,W", ",,A", true),
            ("a variation without its direction", "3806.6,N,12237.6,W", "0.4,,A", true),
            ("an unknown mode", "3806.6,N,12237.6,W", "0.4,W,Z,V,extra", true),
            ("no mode", "3806.6,N,12237.6,W", "", true),
            ("not a number", "38nan,N,12237.6,W", ",,A", false),
            ("infinite", "38inf,N,12237.6,W", ",,A", false),
            ("a sign in it", "38-06.6,N,12237.6,W", ",,A", false),
            ("66 minutes", "3866.6,N,12237.6,W", ",,A", false),
            ("three digits of minutes", "38066.6,N,12237.6,W", ",,A", false),
            ("half a place", "3806.6,N,,", ",,A", false),
        ] {
            assert_eq!(rmc(place, rest), want, "{name}");
        }
        let gns = read("GNGNS,120000.5,3806.6,N,12237.6,W,NNADX,12,0.7,80.5,1,,,V");
        let Some(Sentence::Position { valid: true, alt_m: Some(alt_m), .. }) = gns else {
            panic!("{gns:?}")
        };
        assert!((alt_m - 80.5).abs() < 1e-3);
        let gst = read("GNGST,182141.000,15.5,15.3,7.2,21.8,3.0,4.0,0.8");
        let Some(Sentence::Gst { time_ms: Some(66_101_000), error_m }) = gst else {
            panic!("{gst:?}")
        };
        assert!((error_m - 5.0).abs() < 1e-6);
        assert_eq!(read("GNGST,182141.000,,,,,,,"), None);
    }
}
