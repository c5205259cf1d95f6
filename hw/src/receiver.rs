//! What a GNSS receiver sends: NMEA sentences, UBX frames, or both in one stream.
//!
//! INVARIANT: a frame begins nowhere but at its two marks and counts only with its checksum. What
//! looked like one and was none is read again from its second byte, so nothing that is whole is
//! lost behind it, and memory stays below [`ubx::MAX_FRAME`].
//! INVARIANT: one fix an epoch. While fixes come by UBX, the sentences of the same receiver say the
//! same with less, and give none.
//! INVARIANT: [`Receiver::pop`] gives no fix that the receiver itself does not vouch for.

use std::collections::VecDeque;

use temoin_proto::{samples::GnssFix, time::MonoTime};

use crate::{
    nmea::NmeaParser,
    ubx::{self, Found},
};

/// So many fixes by NMEA are left out after one by UBX: those of its own epoch and the next, in
/// which it may come later than they do. Own choice.
const LEFT_OUT: u32 = 2;

/// One epoch of a receiver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReceiverFix {
    /// Time of day in UTC, milliseconds.
    pub time_of_day_ms: Option<i64>,
    /// UTC, milliseconds since 1970, where the receiver has told a date.
    pub utc_unix_ms: Option<i64>,
    /// Degrees, north positive.
    pub lat_deg: f64,
    /// Degrees, east positive.
    pub lon_deg: f64,
    /// Height above mean sea level.
    pub alt_m: Option<f64>,
    /// Speed over ground.
    pub speed_mps: Option<f64>,
    /// Course over ground, degrees from true north.
    pub course_deg: Option<f64>,
    /// Horizontal dilution of precision.
    pub hdop: Option<f64>,
    /// One standard deviation of the position on the ground.
    pub position_error_m: Option<f64>,
    /// One standard deviation of the speed.
    pub speed_error_mps: Option<f64>,
    /// Whether the receiver vouches for the place: not where it says that its own limits of accuracy
    /// are exceeded, or that only its time is one.
    pub vouched: bool,
}

impl ReceiverFix {
    /// A fix of which nothing but the place is known.
    pub const fn new(lat_deg: f64, lon_deg: f64) -> Self {
        Self {
            time_of_day_ms: None,
            utc_unix_ms: None,
            lat_deg,
            lon_deg,
            alt_m: None,
            speed_mps: None,
            course_deg: None,
            hdop: None,
            position_error_m: None,
            speed_error_mps: None,
            vouched: true,
        }
    }

    /// The same as a sample.
    pub const fn at(&self, at: MonoTime) -> GnssFix {
        GnssFix {
            at,
            utc_unix_ms: self.utc_unix_ms,
            lat_deg: self.lat_deg,
            lon_deg: self.lon_deg,
            alt_m: self.alt_m,
            speed_mps: self.speed_mps,
            course_deg: self.course_deg,
            hdop: self.hdop,
            position_error_m: self.position_error_m,
            speed_error_mps: self.speed_error_mps,
        }
    }
}

/// Reads a receiver byte by byte; any bytes may come.
#[derive(Debug, Default)]
pub struct Receiver {
    nmea: NmeaParser,
    /// What may become a frame: empty, or it begins with the first mark.
    pending: Vec<u8>,
    epochs: ubx::Epochs,
    by_nmea: VecDeque<ReceiverFix>,
    fixes: VecDeque<ReceiverFix>,
    left_out: u32,
}

impl Receiver {
    /// A receiver that has sent nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one byte. [`Self::pop`] gives what it completed.
    pub fn push(&mut self, byte: u8) {
        if self.pending.is_empty() && byte != ubx::MARKS[0] {
            self.nmea_byte(byte);
            return;
        }
        self.pending.push(byte);
        self.frames(false);
    }

    /// The oldest fix that was completed and not yet taken, and that the receiver vouches for.
    pub fn pop(&mut self) -> Option<ReceiverFix> {
        while let Some(fix) = self.pop_decoded() {
            if fix.vouched {
                return Some(fix);
            }
        }
        None
    }

    /// The same with those that it does not vouch for: for a comparison of decoders, not for use.
    pub fn pop_decoded(&mut self) -> Option<ReceiverFix> {
        self.fixes.pop_front()
    }

    /// How many lines were dropped because they had no right checksum.
    pub fn dropped(&self) -> u64 {
        self.nmea.dropped()
    }

    /// At the end of a log: the last line may lack its end, a frame the rest of it, and a fix by
    /// GGA its next epoch.
    pub fn finish(&mut self) {
        self.frames(true);
        if let Some(last) = self.epochs.finish() {
            self.left_out = LEFT_OUT;
            self.fixes.push_back(last);
        }
        self.nmea_byte(b'\n');
        let last = self.nmea.finish();
        self.by_nmea.extend(last);
        self.take_nmea();
    }

    /// Takes whole frames out of what is pending, and gives what is none to NMEA. At the end
    /// nothing is waited for.
    fn frames(&mut self, end: bool) {
        if !end && ubx::find(&self.pending) == Found::Part {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        while let Some((first, after)) = rest.split_first() {
            match ubx::find(rest) {
                Found::Frame { class_id, payload, length } => {
                    if let [ubx::NAV, id] = class_id {
                        let told = self.fixes.len();
                        self.epochs.message(id, payload, &mut self.fixes);
                        // A NAV-PVT without a fix says so for the sentences as well.
                        if class_id == ubx::NAV_PVT || self.fixes.len() > told {
                            self.left_out = LEFT_OUT;
                        }
                    }
                    rest = rest.get(length..).unwrap_or_default();
                }
                Found::Part if !end => break,
                Found::Part | Found::Nothing => {
                    self.nmea_byte(*first);
                    rest = after;
                }
            }
        }
        self.pending = rest.to_vec();
    }

    fn nmea_byte(&mut self, byte: u8) {
        self.nmea.push(byte, &mut self.by_nmea);
        self.take_nmea();
    }

    fn take_nmea(&mut self) {
        for fix in self.by_nmea.drain(..) {
            if self.left_out > 0 {
                self.left_out -= 1;
            } else {
                self.fixes.push_back(fix);
            }
        }
    }
}

#[cfg(test)]
mod tests;
