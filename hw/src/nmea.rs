//! NMEA 0183 from GNSS receivers: RMC, GGA, GNS, GLL, VTG and GST of any talker.
//!
//! The fields of a sentence are read by the `nmea` crate (`nmea/sentence.rs` says what it lacks);
//! its own table of sentences is not used: it keeps a state of the whole sky, and knows neither
//! epochs nor which sentence of an epoch to believe.
//!
//! INVARIANT: a sentence without a right checksum is as if it had not come; a fix that the
//! receiver calls void, manual or simulated is no fix; a line holds at most [`MAX_SENTENCE`]
//! bytes. 'Not seen' stays unknown: nothing here guesses a position, a speed or a date.
//!
//! One fix an epoch: RMC carries it, with the HDOP, height and error of the GGA, GNS and GST of at
//! most two seconds before. An epoch without RMC gives its fix by GGA, GNS or GLL (with VTG's
//! speed), when the next epoch begins; one of which RMC says that it is void gives none. A date before the receiver's GPS week rollover (1024 weeks early) is
//! passed on as it is: `at`, not `utc_unix_ms`, orders samples.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use temoin_proto::{samples::Signal, time::MonoTime};

use self::sentence::Sentence;
use crate::{
    device::{SignalError, SignalSource},
    drive::SignalInput,
    receiver::{Receiver, ReceiverFix},
    time_map::{Placed, TimeMap, restamp},
};

mod sentence;

/// Longest sentence that is read, bytes. The standard says 82; real receivers go beyond.
pub const MAX_SENTENCE: usize = 256;

const DAY_MS: i64 = 86_400_000;
/// How far a time of day may be from the last whole UTC to be of the same day. Own choice: a
/// receiver that tells dates at all tells one far more often.
const SAME_DAY_MS: i64 = 600_000;
/// HDOP, height and error come in other sentences: how old they may be.
const BESIDE_AGE_MS: i64 = 2_000;

/// What other sentences said of an epoch, each with its time of day.
#[derive(Clone, Copy, Debug, Default)]
struct Beside {
    hdop: Option<(i64, f64)>,
    alt_m: Option<(i64, f64)>,
    error_m: Option<(i64, f64)>,
}

impl Beside {
    /// What of a number is told at `time`.
    fn at(told: Option<(i64, f64)>, time: Option<i64>) -> Option<f64> {
        let (then, value) = told?;
        (day_distance_ms(then, time?) <= BESIDE_AGE_MS).then_some(value)
    }

    fn complete(&self, fix: ReceiverFix) -> ReceiverFix {
        let time = fix.time_of_day_ms;
        ReceiverFix {
            hdop: fix.hdop.or_else(|| Self::at(self.hdop, time)),
            alt_m: fix.alt_m.or_else(|| Self::at(self.alt_m, time)),
            position_error_m: Self::at(self.error_m, time),
            ..fix
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
    /// A fix by GGA, GNS or GLL that no RMC has covered yet.
    waiting: Option<ReceiverFix>,
    beside: Beside,
    last_rmc_time_ms: Option<i64>,
    dropped: u64,
}

impl NmeaParser {
    /// A parser that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one byte, and adds to `out` what it completes: the fix of an epoch that has ended, that
    /// of the newest, or both.
    pub fn push(&mut self, byte: u8, out: &mut VecDeque<ReceiverFix>) {
        match byte {
            b'$' => {
                self.sentence.clear();
                self.in_sentence = true;
            }
            b'\r' | b'\n' if self.in_sentence => {
                self.in_sentence = false;
                let sentence = std::mem::take(&mut self.sentence);
                match checked(&sentence) {
                    Some(text) => {
                        if let Some(said) = sentence::read(text) {
                            self.sentence(said, out);
                        }
                    }
                    None => self.dropped += 1,
                }
                self.sentence = sentence;
            }
            0x20..=0x7e if self.in_sentence && self.sentence.len() < MAX_SENTENCE => {
                self.sentence.push(byte);
            }
            // A binary protocol in between, or a line without an end.
            _ => self.in_sentence = false,
        }
    }

    /// How many lines had no right checksum.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// At the end of a log: the fix that still waited for its epoch to end.
    pub fn finish(&mut self) -> Option<ReceiverFix> {
        self.waiting.take().map(|fix| self.beside.complete(fix))
    }

    fn sentence(&mut self, sentence: Sentence, out: &mut VecDeque<ReceiverFix>) {
        match sentence {
            Sentence::Rmc { time_ms, midnight_ms, valid, place, speed_mps, course_deg } => {
                self.end_epoch(time_ms, out);
                // What RMC says of this moment is what counts.
                self.waiting = None;
                self.last_rmc_time_ms = time_ms;
                if !valid {
                    return;
                }
                self.midnight_ms = midnight_ms.or(self.midnight_ms);
                let utc = self.midnight_ms.zip(time_ms).map(|(midnight, t)| midnight + t);
                self.last_utc_ms = utc.or(self.last_utc_ms);
                let Some((lat_deg, lon_deg)) = place else { return };
                out.push_back(self.beside.complete(ReceiverFix {
                    time_of_day_ms: time_ms,
                    utc_unix_ms: utc,
                    speed_mps,
                    course_deg,
                    ..ReceiverFix::new(lat_deg, lon_deg)
                }));
            }
            Sentence::Position { time_ms, valid, place, hdop, alt_m } => {
                self.end_epoch(time_ms, out);
                if valid && (hdop.is_some() || alt_m.is_some()) {
                    self.beside.hdop = time_ms.zip(hdop);
                    self.beside.alt_m = time_ms.zip(alt_m);
                }
                let covered = time_ms.is_some() && self.last_rmc_time_ms == time_ms;
                if !valid || covered || self.waiting.is_some() {
                    return;
                }
                let utc = time_ms.and_then(|t| self.utc_near(t));
                self.waiting = place.map(|(lat_deg, lon_deg)| ReceiverFix {
                    time_of_day_ms: time_ms,
                    utc_unix_ms: utc,
                    alt_m,
                    hdop,
                    ..ReceiverFix::new(lat_deg, lon_deg)
                });
            }
            Sentence::Vtg { speed_mps, course_deg } => {
                if let Some(w) = &mut self.waiting {
                    w.course_deg = course_deg.or(w.course_deg);
                    w.speed_mps = speed_mps.or(w.speed_mps);
                }
            }
            Sentence::Gst { time_ms, error_m } => {
                self.beside.error_m = time_ms.map(|t| (t, error_m));
            }
        }
    }

    /// Tells the fix that waits, where a sentence of another moment has come. Without times every
    /// sentence is one of another moment.
    fn end_epoch(&mut self, time_ms: Option<i64>, out: &mut VecDeque<ReceiverFix>) {
        if self.waiting.is_some_and(|w| w.time_of_day_ms != time_ms || time_ms.is_none()) {
            out.extend(self.waiting.take().map(|fix| self.beside.complete(fix)));
        }
    }

    /// A time of day without a date lies nearest to the last whole UTC, across midnight too. Where
    /// that is long ago the day is not known.
    fn utc_near(&mut self, time: i64) -> Option<i64> {
        let last = self.last_utc_ms?;
        let midnight = last - last.rem_euclid(DAY_MS);
        let utc = [-DAY_MS, 0, DAY_MS]
            .map(|day| midnight + day + time)
            .into_iter()
            .min_by_key(|utc| (utc - last).abs())
            .filter(|utc| (utc - last).abs() <= SAME_DAY_MS)?;
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

fn day_distance_ms(a: i64, b: i64) -> i64 {
    let d = (a - b).rem_euclid(DAY_MS);
    d.min(DAY_MS - d)
}

/// Fixes of a receiver's log: NMEA, UBX or both. Time is the receiver's own, counted from its first fix; fixes without a
/// time are taken to be 1 s apart.
pub struct NmeaFile {
    path: PathBuf,
    bytes: std::io::Bytes<BufReader<File>>,
    receiver: Receiver,
    map: TimeMap,
    last: Option<(Option<i64>, f64)>,
    fixes: u64,
    finished: bool,
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
            receiver: Receiver::new(),
            map: TimeMap::new(input.window(), zero),
            last: None,
            fixes: 0,
            finished: false,
            ended: false,
        })
    }

    /// Seconds since the first fix.
    fn file_s(&mut self, fix: &ReceiverFix) -> f64 {
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
            let mut fix = self.receiver.pop();
            if fix.is_none() {
                match self.bytes.next() {
                    Some(Ok(byte)) => self.receiver.push(byte),
                    Some(Err(source)) => {
                        self.ended = true;
                        return Err(SignalError::Read { path: self.path.clone(), source });
                    }
                    None if !self.finished => {
                        self.finished = true;
                        self.receiver.finish();
                    }
                    None => self.ended = true,
                }
                fix = self.receiver.pop();
            }
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
            if self.ended && self.receiver.dropped() > 0 {
                let (dropped, path) = (self.receiver.dropped(), self.path.display());
                tracing::debug!(%path, dropped, "lines without a right checksum");
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
