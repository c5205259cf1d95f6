//! NMEA 0183 from GNSS receivers: RMC, GGA, GNS and VTG of any talker.
//!
//! Own code, because the `nmea` crate pins a `serde_with` that cannot be built beside
//! `cedar-policy` 4.14, and because receivers mix binary protocols into the same line.
//!
//! INVARIANT: a sentence without a right checksum is as if it had not come; a fix that the
//! receiver calls void, manual or simulated is no fix; a line holds at most [`MAX_SENTENCE`]
//! bytes. 'Not seen' stays unknown: nothing here guesses a position, a speed or a date.
//!
//! One fix an epoch: RMC carries it, with the HDOP of the GGA or GNS of the same moment. A
//! receiver without RMC gives its fix by GGA or GNS (with VTG's speed), when the next epoch
//! begins. A date before the receiver's GPS week rollover (1024 weeks early) is passed on as it
//! is: `at`, not `utc_unix_ms`, orders samples.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use temoin_proto::{
    samples::{GnssFix, Signal},
    time::MonoTime,
};

use crate::{
    device::{SignalError, SignalSource},
    drive::SignalInput,
    time_map::{Placed, TimeMap, restamp},
};

/// Longest sentence that is read, bytes. The standard says 82; real receivers go beyond.
pub const MAX_SENTENCE: usize = 256;

const MPS_PER_KNOT: f64 = 1852.0 / 3600.0;
const DAY_MS: i64 = 86_400_000;
/// HDOP comes in another sentence: how old it may be.
const HDOP_AGE_MS: i64 = 2_000;

/// One epoch of a receiver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NmeaFix {
    /// Time of day in UTC, milliseconds.
    pub time_of_day_ms: Option<i64>,
    /// UTC, milliseconds since 1970, where the receiver has told a date.
    pub utc_unix_ms: Option<i64>,
    /// Degrees, north positive.
    pub lat_deg: f64,
    /// Degrees, east positive.
    pub lon_deg: f64,
    /// Speed over ground.
    pub speed_mps: Option<f64>,
    /// Course over ground, degrees from true north.
    pub course_deg: Option<f64>,
    /// Horizontal dilution of precision.
    pub hdop: Option<f64>,
}

impl NmeaFix {
    /// The same as a sample.
    pub fn at(&self, at: MonoTime) -> GnssFix {
        GnssFix {
            utc_unix_ms: self.utc_unix_ms,
            speed_mps: self.speed_mps,
            course_deg: self.course_deg,
            hdop: self.hdop,
            ..GnssFix::new(at, self.lat_deg, self.lon_deg)
        }
    }
}

/// Reads a receiver byte by byte; any bytes may come.
#[derive(Debug, Default)]
pub struct NmeaParser {
    sentence: Vec<u8>,
    in_sentence: bool,
    /// Midnight of the last date told, and the last whole UTC.
    midnight_ms: Option<i64>,
    last_utc_ms: Option<i64>,
    /// A fix by GGA or GNS that no RMC has covered yet.
    waiting: Option<NmeaFix>,
    hdop: Option<(i64, f64)>,
    last_rmc_time_ms: Option<i64>,
}

impl NmeaParser {
    /// A parser that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one byte; gives a fix where it completes one.
    pub fn push(&mut self, byte: u8) -> Option<NmeaFix> {
        match byte {
            b'$' => {
                self.sentence.clear();
                self.in_sentence = true;
                None
            }
            b'\r' | b'\n' if self.in_sentence => {
                self.in_sentence = false;
                let sentence = std::mem::take(&mut self.sentence);
                let fix = checked(&sentence).and_then(|text| self.sentence(text));
                self.sentence = sentence;
                fix
            }
            0x20..=0x7e if self.in_sentence && self.sentence.len() < MAX_SENTENCE => {
                self.sentence.push(byte);
                None
            }
            // A binary protocol in between, or a line without an end.
            _ => {
                self.in_sentence = false;
                None
            }
        }
    }

    /// At the end of a log: the fix that still waited for its epoch to end.
    pub fn finish(&mut self) -> Option<NmeaFix> {
        self.waiting.take()
    }

    fn sentence(&mut self, text: &str) -> Option<NmeaFix> {
        let mut fields = text.split(',');
        let address = fields.next()?;
        // Two letters of the talker, three of the sentence; `P` begins a maker's own.
        if address.len() != 5 || address.starts_with('P') {
            return None;
        }
        let fields: Vec<&str> = fields.collect();
        match address.get(2..)? {
            "RMC" => self.rmc(&fields),
            "GGA" => {
                let quality = field(&fields, 5);
                // 1 to 6: GPS, differential, PPS, RTK, float RTK, dead reckoning. 7 is typed in
                // by hand, 8 is simulated.
                let valid = matches!(quality, "1" | "2" | "3" | "4" | "5" | "6");
                self.position(&fields, valid)
            }
            "GNS" => {
                // One letter for each constellation.
                let valid = field(&fields, 5).chars().any(|c| "ADPRFE".contains(c));
                self.position(&fields, valid)
            }
            "VTG" => {
                self.vtg(&fields);
                None
            }
            _ => None,
        }
    }

    fn rmc(&mut self, f: &[&str]) -> Option<NmeaFix> {
        let time = time_of_day_ms(field(f, 0));
        let valid = field(f, 1) == "A" && !matches!(field(f, 11), "N" | "M" | "S");
        let waiting = self.waiting.take();
        // A fix of another moment that no RMC covered is let go: the receiver does send RMC.
        self.last_rmc_time_ms = time;
        if !valid {
            return None;
        }
        if let Some(midnight) = date_ms(field(f, 8)) {
            self.midnight_ms = Some(midnight);
        }
        let utc = self.midnight_ms.zip(time).map(|(midnight, t)| midnight + t);
        self.last_utc_ms = utc.or(self.last_utc_ms);
        let hdop =
            waiting.filter(|w| w.time_of_day_ms == time).and_then(|w| w.hdop).or_else(|| {
                let (then, hdop) = self.hdop?;
                (day_distance_ms(then, time?) <= HDOP_AGE_MS).then_some(hdop)
            });
        Some(NmeaFix {
            time_of_day_ms: time,
            utc_unix_ms: utc,
            lat_deg: angle(field(f, 2), field(f, 3), 90.0)?,
            lon_deg: angle(field(f, 4), field(f, 5), 180.0)?,
            speed_mps: number(field(f, 6)).filter(|v| *v >= 0.0).map(|kn| kn * MPS_PER_KNOT),
            course_deg: course(field(f, 7)),
            hdop,
        })
    }

    /// GGA and GNS have the same first fields.
    fn position(&mut self, f: &[&str], valid: bool) -> Option<NmeaFix> {
        let time = time_of_day_ms(field(f, 0));
        let out = self.waiting.take().filter(|w| w.time_of_day_ms != time || time.is_none());
        let hdop = number(field(f, 7)).filter(|h| *h > 0.0 && *h < 99.0);
        if valid {
            self.hdop = time.zip(hdop);
        }
        let covered = time.is_some() && self.last_rmc_time_ms == time;
        if valid && !covered {
            let utc = time.and_then(|t| self.utc_near(t));
            self.waiting = angle(field(f, 1), field(f, 2), 90.0)
                .zip(angle(field(f, 3), field(f, 4), 180.0))
                .map(|(lat_deg, lon_deg)| NmeaFix {
                    time_of_day_ms: time,
                    utc_unix_ms: utc,
                    lat_deg,
                    lon_deg,
                    speed_mps: None,
                    course_deg: None,
                    hdop,
                });
        }
        out
    }

    fn vtg(&mut self, f: &[&str]) {
        if matches!(field(f, 8), "N" | "M" | "S") {
            return;
        }
        if let Some(w) = &mut self.waiting {
            w.course_deg = course(field(f, 0)).or(w.course_deg);
            let kmh = number(field(f, 6)).filter(|v| *v >= 0.0);
            w.speed_mps = kmh.map(|v| v / 3.6).or(w.speed_mps);
        }
    }

    /// A time of day without a date lies nearest to the last whole UTC, across midnight too.
    fn utc_near(&mut self, time: i64) -> Option<i64> {
        let last = self.last_utc_ms?;
        let midnight = last - last.rem_euclid(DAY_MS);
        let utc = [-DAY_MS, 0, DAY_MS]
            .map(|day| midnight + day + time)
            .into_iter()
            .min_by_key(|utc| (utc - last).abs())?;
        self.last_utc_ms = Some(utc);
        Some(utc)
    }
}

/// The text between `$` and `*`, where the checksum after it is right.
fn checked(sentence: &[u8]) -> Option<&str> {
    let star = sentence.iter().rposition(|b| *b == b'*')?;
    let (body, sum) = sentence.split_at_checked(star)?;
    let sum = std::str::from_utf8(sum.get(1..3)?).ok()?;
    let told = u8::from_str_radix(sum, 16).ok()?;
    let right = body.iter().fold(0, |a, b| a ^ b);
    (told == right).then(|| std::str::from_utf8(body).ok()).flatten()
}

fn field<'a>(fields: &[&'a str], i: usize) -> &'a str {
    fields.get(i).copied().unwrap_or("")
}

fn number(s: &str) -> Option<f64> {
    // Only what the standard writes: Rust's own reader also takes `inf` and `1e9`.
    let plain = !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    plain.then(|| s.parse().ok()).flatten()
}

fn course(s: &str) -> Option<f64> {
    number(s).filter(|c| (0.0..=360.0).contains(c)).map(|c| c.rem_euclid(360.0))
}

/// `ddmm.mmmm` or `dddmm.mmmm` with its hemisphere, in degrees.
fn angle(s: &str, hemisphere: &str, most: f64) -> Option<f64> {
    let v = number(s).filter(|v| *v >= 0.0)?;
    let degrees = (v / 100.0).floor();
    let minutes = v - degrees * 100.0;
    let deg = degrees + minutes / 60.0;
    let signed = match hemisphere {
        "N" | "E" => deg,
        "S" | "W" => -deg,
        _ => return None,
    };
    (minutes < 60.0 && deg <= most).then_some(signed)
}

/// `hhmmss.sss`. A leap second counts as the end of its minute.
fn time_of_day_ms(s: &str) -> Option<i64> {
    let whole = s.get(..6).filter(|w| w.bytes().all(|b| b.is_ascii_digit()))?;
    let two = |from| whole.get(from..from + 2)?.parse::<i64>().ok();
    let (h, m, sec) = (two(0)?, two(2)?, two(4)?);
    let fraction = s.get(6..)?;
    let ms = if fraction.is_empty() {
        0
    } else {
        let digits = fraction.strip_prefix('.')?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        format!("{digits:0<3}").get(..3)?.parse::<i64>().ok()?
    };
    let in_range = h < 24 && m < 60 && sec <= 60;
    in_range
        .then(|| ((h * 60 + m) * 60 * 1000 + sec * 1000 + ms).min((h * 60 + m + 1) * 60_000 - 1))
}

/// Midnight of `ddmmyy`: 80 to 99 are of the last century.
fn date_ms(s: &str) -> Option<i64> {
    if s.len() != 6 || !s.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let two = |from: usize| s.get(from..from + 2)?.parse::<i16>().ok();
    let (d, m, y) = (two(0)?, two(2)?, two(4)?);
    let year = if y >= 80 { 1900 + y } else { 2000 + y };
    let date = jiff::civil::Date::new(year, i8::try_from(m).ok()?, i8::try_from(d).ok()?).ok()?;
    Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

fn day_distance_ms(a: i64, b: i64) -> i64 {
    let d = (a - b).rem_euclid(DAY_MS);
    d.min(DAY_MS - d)
}

/// Fixes of an NMEA log. Time is the receiver's own, counted from its first fix; fixes without a
/// time are taken to be 1 s apart.
pub struct NmeaFile {
    path: PathBuf,
    bytes: std::io::Bytes<BufReader<File>>,
    parser: NmeaParser,
    map: TimeMap,
    last: Option<(Option<i64>, f64)>,
    fixes: u64,
    last_line_done: bool,
    ended: bool,
}

impl NmeaFile {
    /// Opens the log; the drive's zero lies at `zero`.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub fn open(input: &SignalInput, zero: MonoTime) -> Result<Self, SignalError> {
        let file = open_file(&input.file)?;
        Ok(Self {
            path: input.file.clone(),
            bytes: BufReader::new(file).bytes(),
            parser: NmeaParser::new(),
            map: TimeMap::new(input.window(), zero),
            last: None,
            fixes: 0,
            last_line_done: false,
            ended: false,
        })
    }

    /// Seconds since the first fix.
    fn file_s(&mut self, fix: &NmeaFix) -> f64 {
        let s = match (self.last, fix.time_of_day_ms) {
            (None, _) => 0.0,
            (Some((Some(then), s)), Some(now)) => {
                // Across midnight, and across a receiver that goes back a little.
                let step = (now - then + DAY_MS / 2).rem_euclid(DAY_MS) - DAY_MS / 2;
                s + std::time::Duration::from_millis(step.unsigned_abs()).as_secs_f64()
                    * if step < 0 { -1.0 } else { 1.0 }
            }
            (Some((_, s)), _) => s + 1.0,
        };
        self.last = Some((fix.time_of_day_ms, s));
        s
    }
}

pub(crate) fn open_file(path: &Path) -> Result<File, SignalError> {
    File::open(path).map_err(|source| SignalError::Open { path: path.to_owned(), source })
}

impl SignalSource for NmeaFile {
    fn next_signal(&mut self) -> Result<Option<Signal>, SignalError> {
        while !self.ended {
            let fix = match self.bytes.next() {
                Some(Ok(byte)) => self.parser.push(byte),
                Some(Err(source)) => {
                    self.ended = true;
                    return Err(SignalError::Read { path: self.path.clone(), source });
                }
                // The last line may lack its end.
                None if !self.last_line_done => {
                    self.last_line_done = true;
                    self.parser.push(b'\n')
                }
                None => {
                    self.ended = true;
                    self.parser.finish()
                }
            };
            if let Some(fix) = fix {
                self.fixes += 1;
                let file_s = self.file_s(&fix);
                match self.map.place(file_s) {
                    Placed::Before => {}
                    Placed::At(at) => {
                        return Ok(Some(restamp(Signal::Gnss(fix.at(MonoTime::ZERO)), at)));
                    }
                    Placed::After => self.ended = true,
                }
            }
            if self.ended && self.fixes == 0 {
                tracing::warn!(path = %self.path.display(), "the log has no position fix");
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
