//! One guard for each source of samples: time only goes forward, and silence is noticed.
//!
//! Sensor clocks were converted in `hw`. What still goes wrong is a sample twice (a retry on the
//! bus), a late one, one from the future (a device that restarted), or none at all.
//!
//! A late sample and one whose clock lies look the same: others that came before it are for later
//! moments, and it may have been true at any moment from its own to theirs. Such a sample is admitted
//! and called doubtful ([`Timing`]): it may say how fast the vehicle is about, and neither teaches nor
//! proves anything that goes by the moment. It is held against the other sources and not against the
//! clock on the wall, for what waits in a queue waits with all others. Nothing can be measured later
//! than now: a sample that says so by less than the tolerance counts as one of now.
//!
//! INVARIANT: the times that a guard admits increase strictly and are not later than now. INVARIANT:
//! a source whose clock has just jumped is doubtful until it has been steady for a second.

use std::time::Duration;

use temoin_proto::time::MonoTime;

/// A sample that is this late is doubtful: speeds that are held against accelerations of another
/// moment show some that are not there, of a size that grows with the time between. A bus and an
/// accelerometer are a few milliseconds late. Own choice: validate.
pub const DOUBTFUL_AFTER: Duration = Duration::from_millis(250);
/// The same of a receiver: most are 0.1 to 0.3 s late. Own choice: validate.
pub const GNSS_DOUBTFUL_AFTER: Duration = Duration::from_millis(500);
/// From one sample to the next the way to here takes longer or shorter by less than this; else the
/// clock jumped. Own choice: three periods of the slowest bus that is of use.
const JUMPS_BY_S: f64 = 0.25;
/// A clock that jumped is steady again after this long. Own choice.
const STEADY_AFTER: Duration = Duration::from_secs(1);

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

/// A sample that was admitted: what it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The first one of this source.
    First,
    /// It follows the last one after this long.
    Next(Duration),
}

/// Whether a sample's time can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// It came when it was due, as those before it.
    Steady,
    /// It is late or its clock lies, now or a moment ago.
    Doubtful,
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
    /// How late the last one was, seconds; negative: it came too early.
    late_s: Option<f64>,
    /// When the source's clock last jumped, by the others'.
    jumped: Option<MonoTime>,
    doubtful_after: Duration,
    future_tolerance: Duration,
    silent_after: Duration,
    silent: bool,
    refused: u64,
}

impl SourceGuard {
    /// A guard that admits times up to `future_tolerance` after now, and calls the source silent
    /// `silent_after` its last sample.
    pub const fn new(future_tolerance: Duration, silent_after: Duration) -> Self {
        Self {
            last: None,
            late_s: None,
            jumped: None,
            doubtful_after: DOUBTFUL_AFTER,
            future_tolerance,
            silent_after,
            silent: false,
            refused: 0,
        }
    }

    /// The same that calls times doubtful from another distance on than [`DOUBTFUL_AFTER`].
    #[must_use]
    pub const fn doubtful_after(self, doubtful_after: Duration) -> Self {
        Self { doubtful_after, ..self }
    }

    /// Judges a sample by its time. One that is admitted is for [`Self::last`] from then on.
    ///
    /// # Errors
    /// [`SampleError`] where it must be dropped.
    pub fn admit(&mut self, at: MonoTime, now: MonoTime) -> Result<Admission, SampleError> {
        let verdict = match self.last {
            _ if at > now + self.future_tolerance => Err(SampleError::Future { at, now }),
            Some(last) if at.min(now) <= last => Err(SampleError::NotAfter { at, last }),
            Some(last) => Ok(Admission::Next(at.min(now).since(last))),
            None => Ok(Admission::First),
        };
        if verdict.is_ok() {
            self.last = Some(at.min(now));
        } else {
            self.refused = self.refused.saturating_add(1);
        }
        verdict
    }

    /// The moment of the last sample that was admitted: its own time, or now where that was earlier.
    pub const fn last(&self) -> Option<MonoTime> {
        self.last
    }

    /// Judges the time `at` of the sample that was just admitted, where samples for moments up to
    /// `newest` had come before from any source.
    pub fn time(&mut self, at: MonoTime, now: MonoTime, newest: MonoTime) -> Timing {
        let late_s = if at > now { -at.secs_from(now) } else { newest.max(at).secs_from(at) };
        let newest = newest.max(at.min(now));
        if self.late_s.is_some_and(|before_s| (late_s - before_s).abs() > JUMPS_BY_S) {
            self.jumped = Some(newest);
        }
        self.late_s = Some(late_s);
        let unsteady = self.jumped.is_some_and(|jumped| newest.since(jumped) < STEADY_AFTER);
        if unsteady || late_s.abs() > self.doubtful_after.as_secs_f64() {
            Timing::Doubtful
        } else {
            Timing::Steady
        }
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
    fn what_is_ahead_counts_as_now() {
        let mut guard = SourceGuard::new(Duration::from_secs(1), Duration::from_secs(5));
        for (at, now, last) in [(5.0, 5.0, 5.0), (6.0, 5.1, 5.1), (6.1, 5.2, 5.2), (5.3, 5.3, 5.3)]
        {
            let admitted = guard.admit(t(at), t(now));
            assert!(admitted.is_ok(), "{at} at {now}");
            assert_eq!(guard.last(), Some(t(last)), "{at} at {now}");
        }
        assert!(guard.admit(t(5.9), t(5.3)).is_err(), "now was there already");
    }

    /// Whether the last of a source's samples is steady: its time and now; others came each 10 ms.
    fn steady(samples: impl IntoIterator<Item = (f64, f64)>) -> bool {
        let mut guard = SourceGuard::new(Duration::from_secs(1), Duration::from_secs(5));
        let mut timing = None;
        for (at, now) in samples {
            if guard.admit(t(at), t(now)).is_ok() {
                timing = Some(guard.time(t(at), t(now), t(now - 0.01)));
            }
        }
        timing == Some(Timing::Steady)
    }

    #[test]
    fn a_source_that_is_late_or_jumped_a_moment_ago_is_doubtful() {
        // 20 Hz for 10 s; how late at a second, and until when.
        let run = |to_s: f64, late_s: &dyn Fn(f64) -> f64| {
            let times = (0..200_u32).map(|n| 5.0 + f64::from(n) / 20.0);
            steady(times.take_while(|s| *s <= to_s).map(|s| (s - late_s(s), s)).collect::<Vec<_>>())
        };
        for (name, to_s, late_s, steady) in [
            ("in time", 15.0, &(|_| 0.0) as &dyn Fn(f64) -> f64, true),
            ("a little late", 15.0, &|_| 0.2, true),
            ("late", 15.0, &|_| 0.3, false),
            ("later than any other", 15.0, &|_| 3.0, false),
            ("a little ahead", 15.0, &|_| -0.2, true),
            ("ahead", 15.0, &|_| -0.3, false),
            ("jitters", 15.0, &|s| if (s * 20.0) % 2.0 < 1.0 { 0.0 } else { 0.03 }, true),
            ("was late before", 11.5, &|s| if s < 10.0 { 0.6 } else { 0.0 }, true),
            ("was late just before", 10.5, &|s| if s < 10.0 { 0.6 } else { 0.0 }, false),
            ("was ahead just before", 10.5, &|s| if s < 10.0 { -0.15 } else { 0.15 }, false),
        ] {
            assert_eq!(run(to_s, late_s), steady, "{name}");
        }
    }

    #[test]
    fn a_queue_in_which_all_wait_makes_nobody_late() {
        let mut guard = SourceGuard::new(Duration::from_secs(1), Duration::from_secs(5));
        for (at, now) in [(5.0, 5.0), (5.1, 8.0), (5.2, 5.4), (5.3, 9.0)] {
            guard.admit(t(at), t(now)).unwrap();
            assert_eq!(guard.time(t(at), t(now), t(at - 0.01)), Timing::Steady);
        }
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
