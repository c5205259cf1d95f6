//! One guard for each source of samples: time only goes forward, and silence is noticed.
//!
//! Sensor clocks were converted in `hw`. What still goes wrong is a sample twice (a retry on the
//! bus), a late one, one from the future (a device that restarted), or none at all.
//!
//! INVARIANT: the times that a guard admits increase strictly.

use std::time::Duration;

use temoin_proto::time::MonoTime;

/// Where samples come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The vehicle's bus.
    Bus,
    /// GNSS.
    Gnss,
    /// IMU.
    Imu,
    /// What perception says of cabin pictures.
    Driver,
    /// What perception says of road pictures.
    Road,
}

/// A sample that was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The first one of this source.
    First,
    /// It follows the last one after this long.
    Next(Duration),
}

/// A sample that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// Not later than the last one: late or doubled.
    #[error("the sample at {at} does not follow the last one at {last}")]
    NotAfter {
        /// Its time.
        at: MonoTime,
        /// The last admitted time.
        last: MonoTime,
    },
    /// Later than now: its clock cannot be believed.
    #[error("the sample at {at} is later than now, {now}")]
    Future {
        /// Its time.
        at: MonoTime,
        /// Now.
        now: MonoTime,
    },
}

/// Guard of one source.
#[derive(Clone, Debug)]
pub struct SourceGuard {
    last: Option<MonoTime>,
    future_tolerance: Duration,
    silent_after: Duration,
    silent: bool,
    refused: u64,
}

impl SourceGuard {
    /// A guard that admits times up to `future_tolerance` after now, and calls the source silent
    /// `silent_after` its last sample.
    pub const fn new(future_tolerance: Duration, silent_after: Duration) -> Self {
        Self { last: None, future_tolerance, silent_after, silent: false, refused: 0 }
    }

    /// Judges a sample by its time.
    ///
    /// # Errors
    /// [`SampleError`] where it must be dropped.
    pub fn admit(&mut self, at: MonoTime, now: MonoTime) -> Result<Admission, SampleError> {
        let verdict = match self.last {
            _ if at > now + self.future_tolerance => Err(SampleError::Future { at, now }),
            Some(last) if at <= last => Err(SampleError::NotAfter { at, last }),
            Some(last) => Ok(Admission::Next(at.since(last))),
            None => Ok(Admission::First),
        };
        if verdict.is_ok() {
            self.last = Some(at);
        } else {
            self.refused = self.refused.saturating_add(1);
        }
        verdict
    }

    /// `Some(true)` when the source has just fallen silent, `Some(false)` when it is back. A
    /// source that never spoke is not silent: the vehicle may not have it.
    pub fn silence_changed(&mut self, now: MonoTime) -> Option<bool> {
        let silent = self.last.is_some_and(|last| now.since(last) >= self.silent_after);
        (silent != self.silent).then(|| {
            self.silent = silent;
            silent
        })
    }

    /// When the source will be called silent if nothing comes.
    pub fn deadline(&self) -> Option<MonoTime> {
        self.last.filter(|_| !self.silent).map(|last| last + self.silent_after)
    }

    /// Samples refused so far.
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: f64) -> MonoTime {
        MonoTime::from_secs_f64(s)
    }

    #[test]
    fn time_only_goes_forward() {
        let mut guard = SourceGuard::new(Duration::from_secs(1), Duration::from_secs(5));
        for (at, now, good) in [
            (1.0, 1.0, true),
            (1.0, 1.1, false),
            (0.9, 1.1, false),
            (9.0, 1.1, false),
            (1.1, 1.1, true),
            (2.0, 1.2, true),
        ] {
            assert_eq!(guard.admit(t(at), t(now)).is_ok(), good, "{at} at {now}");
        }
        assert_eq!(guard.refused(), 3);
    }

    #[test]
    fn silence_is_said_once_and_so_is_its_end() {
        let mut guard = SourceGuard::new(Duration::from_secs(1), Duration::from_secs(5));
        assert_eq!(guard.silence_changed(t(100.0)), None);
        assert_eq!(guard.deadline(), None);
        guard.admit(t(1.0), t(1.0)).unwrap();
        assert_eq!(guard.deadline(), Some(t(6.0)));
        assert_eq!(guard.silence_changed(t(5.9)), None);
        assert_eq!(guard.silence_changed(t(6.0)), Some(true));
        assert_eq!(guard.silence_changed(t(7.0)), None);
        assert_eq!(guard.deadline(), None);
        guard.admit(t(7.0), t(7.0)).unwrap();
        assert_eq!(guard.silence_changed(t(7.0)), Some(false));
    }
}
