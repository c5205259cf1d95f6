//! Time as the system uses it: monotonic time orders everything, wall time only names it.
//!
//! INVARIANT: nothing is ever ordered by wall time. A unit's wall clock can be wrong by years;
//! it is attached, with its uncertainty, when a clip is sealed.

use std::{fmt, ops, time::Duration};

use serde::{Deserialize, Serialize};

/// Nanoseconds on a machine's monotonic clock (`CLOCK_BOOTTIME` on a live unit, the drive's own
/// time line in a replay). Comparable only within one run on one machine.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct MonoTime(u64);

impl MonoTime {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);

    /// A time from nanoseconds since the clock's origin.
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// A time from seconds since the clock's origin; negative and NaN become the origin.
    pub fn from_secs_f64(s: f64) -> Self {
        Self(
            Duration::try_from_secs_f64(s)
                .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// Nanoseconds since the clock's origin.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// Seconds since the clock's origin.
    pub fn as_secs_f64(self) -> f64 {
        Duration::from_nanos(self.0).as_secs_f64()
    }

    /// Time passed since `earlier`; zero where `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Signed seconds from `other` to `self`.
    pub fn secs_from(self, other: Self) -> f64 {
        if self >= other {
            self.since(other).as_secs_f64()
        } else {
            -other.since(self).as_secs_f64()
        }
    }

    /// `self - d`, or the origin.
    pub fn saturating_sub(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl ops::Add<Duration> for MonoTime {
    type Output = Self;
    /// Saturates at the end of the clock (584 years).
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for MonoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.as_secs_f64())
    }
}

/// A reading of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WallTime {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub unix_ms: i64,
    /// How wrong it may be, in milliseconds. `u64::MAX` says that nothing is known.
    pub uncertainty_ms: u64,
}

impl WallTime {
    /// The instant as RFC 3339 with milliseconds, in UTC; `?` where it is outside the calendar.
    pub fn to_rfc3339(self) -> String {
        jiff::Timestamp::from_millisecond(self.unix_ms)
            .map_or_else(|_| "?".to_owned(), |t| format!("{t:.3}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_arithmetic_saturates() {
        let t = MonoTime::from_secs_f64(1.5);
        assert_eq!(t.since(MonoTime::from_secs_f64(2.0)), Duration::ZERO);
        assert!((t.secs_from(MonoTime::from_secs_f64(2.0)) + 0.5).abs() < 1e-9);
        assert_eq!(t.saturating_sub(Duration::from_secs(9)), MonoTime::ZERO);
        assert_eq!(MonoTime::from_secs_f64(f64::NAN), MonoTime::ZERO);
        assert_eq!(
            MonoTime::from_ns(u64::MAX) + Duration::from_secs(1),
            MonoTime::from_ns(u64::MAX)
        );
    }

    #[test]
    fn wall_time_prints() {
        let w = WallTime { unix_ms: 1_533_226_488_299, uncertainty_ms: 5 };
        assert_eq!(w.to_rfc3339(), "2018-08-02T16:14:48.299Z");
    }
}
