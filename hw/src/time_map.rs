//! From the seconds of a file to the time line of a drive.

use std::time::Duration;

use temoin_proto::{samples::Signal, time::MonoTime};

/// Which part of a file is played, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Window {
    /// Time in the file that is the drive's zero; the file's first where there is none.
    pub(crate) start_s: Option<f64>,
    /// Seconds of the file to play from there; all of them where there is none.
    pub(crate) length_s: Option<f64>,
    /// Moves everything later (or, negative, earlier) in the drive.
    pub(crate) offset_s: f64,
}

/// Where a moment of a file lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Placed {
    /// Before the window or before the drive's zero.
    Before,
    /// In the drive.
    At(MonoTime),
    /// After the window: so is all that follows.
    After,
}

/// Places the rows of one file. Rows whose time falls are left out and counted.
#[derive(Debug)]
pub(crate) struct TimeMap {
    window: Window,
    zero: MonoTime,
    start_s: Option<f64>,
    newest_s: f64,
    fell: u64,
}

impl TimeMap {
    pub(crate) fn new(window: Window, zero: MonoTime) -> Self {
        Self { window, zero, start_s: window.start_s, newest_s: f64::NEG_INFINITY, fell: 0 }
    }

    pub(crate) fn place(&mut self, file_s: f64) -> Placed {
        if !file_s.is_finite() || file_s < self.newest_s {
            self.fell += 1;
            return Placed::Before;
        }
        self.newest_s = file_s;
        let into_s = file_s - *self.start_s.get_or_insert(file_s);
        // A nanosecond of slack: decimal seconds are no exact floats.
        if into_s < -1e-9 {
            return Placed::Before;
        }
        if self.window.length_s.is_some_and(|l| into_s >= l) {
            return Placed::After;
        }
        let drive_s = into_s.max(0.0) + self.window.offset_s;
        if drive_s < 0.0 {
            return Placed::Before;
        }
        Duration::try_from_secs_f64(drive_s).map_or(Placed::After, |d| Placed::At(self.zero + d))
    }

    /// How many rows were left out because their time fell.
    pub(crate) fn fell(&self) -> u64 {
        self.fell
    }
}

/// The same sample at another time.
pub(crate) fn restamp(mut signal: Signal, at: MonoTime) -> Signal {
    match &mut signal {
        Signal::Gnss(s) => s.at = at,
        Signal::Imu(s) => s.at = at,
        Signal::Speed(s) => s.at = at,
        Signal::Wheels(s) => s.at = at,
        Signal::Control(s) => s.at = at,
        Signal::Button(s) => s.at = at,
    }
    signal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows() {
        const ZERO: MonoTime = MonoTime::from_ns(10_000_000_000);
        const fn at(drive_ms: u64) -> Placed {
            Placed::At(MonoTime::from_ns(drive_ms * 1_000_000))
        }
        // (file time, where)
        type Rows = &'static [(f64, Placed)];
        // (start, length, offset)
        let cases: [(Option<f64>, Option<f64>, f64, Rows); 4] = [
            (
                None,
                None,
                0.0,
                &[
                    (46408.5, const { at(10_000) }),
                    (46409.5, const { at(11_000) }),
                    (46409.0, Placed::Before),
                ],
            ),
            (
                Some(100.0),
                Some(2.0),
                0.0,
                &[
                    (99.0, Placed::Before),
                    (100.0, const { at(10_000) }),
                    (101.5, const { at(11_500) }),
                    (102.0, Placed::After),
                ],
            ),
            (
                Some(5.0),
                None,
                3.0,
                &[
                    (5.0, const { at(13_000) }),
                    (f64::NAN, Placed::Before),
                    (6.0, const { at(14_000) }),
                ],
            ),
            (None, None, -1.0, &[(0.0, Placed::Before), (1.5, const { at(10_500) })]),
        ];
        for (start_s, length_s, offset_s, rows) in cases {
            let mut map = TimeMap::new(Window { start_s, length_s, offset_s }, ZERO);
            for &(t, want) in rows {
                assert_eq!(map.place(t), want, "{start_s:?} {length_s:?} {offset_s} at {t}");
            }
        }
    }
}
