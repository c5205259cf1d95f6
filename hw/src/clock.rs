//! The machine's clocks, and the clock of a replayed drive.
//!
//! INVARIANT: monotonic time is `CLOCK_BOOTTIME`: it goes on while the unit is suspended and
//! does not follow corrections of the wall clock.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};
use temoin_proto::time::{MonoTime, WallTime};

use crate::device::Clock;

/// systemd-timesyncd creates this file once it has set the clock from the network.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// Uncertainty of a clock that the network has set, milliseconds: NTP over a mobile network.
/// Own choice, on the safe side of the tens of milliseconds that are usual.
pub const SYNCHRONISED_UNCERTAINTY_MS: u64 = 500;

/// How long a frame may wait in its socket before its stamp is doubted. Own choice: a hundred times
/// what reading it takes.
const OLDEST_STAMP: Duration = Duration::from_secs(1);

/// The machine's own clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

fn read_ns(id: ClockId) -> u64 {
    let t = clock_gettime(id);
    let s = u64::try_from(t.tv_sec).unwrap_or(0);
    s.saturating_mul(1_000_000_000).saturating_add(u64::try_from(t.tv_nsec).unwrap_or(0))
}

/// The system's wall clock, milliseconds since 1970; negative before. Read through the standard
/// library as everything else in the process does, so that all of it agrees.
pub fn system_unix_ms() -> i64 {
    let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => ms(since),
        Err(before) => -ms(before.duration()),
    }
}

impl SystemClock {
    /// Where a kernel stamp on `CLOCK_MONOTONIC` (V4L2 buffers) lies on the unit's time line.
    /// The two clocks differ by the time spent suspended, read anew for each stamp.
    pub fn from_kernel_monotonic(stamp: Duration) -> MonoTime {
        let age_ns = read_ns(ClockId::Monotonic)
            .saturating_sub(u64::try_from(stamp.as_nanos()).unwrap_or(u64::MAX));
        MonoTime::from_ns(read_ns(ClockId::Boottime).saturating_sub(age_ns))
    }
}

impl SystemClock {
    /// Where a kernel stamp on the wall clock (frames of a socket) lies on the unit's time line.
    /// One that is from the future or more than a second old was taken before the wall clock was
    /// set: it counts as now.
    pub fn from_kernel_realtime(stamp: SystemTime) -> MonoTime {
        let age = SystemTime::now().duration_since(stamp).unwrap_or_default();
        let age = if age > OLDEST_STAMP { Duration::ZERO } else { age };
        MonoTime::from_ns(read_ns(ClockId::Boottime)).saturating_sub(age)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> MonoTime {
        MonoTime::from_ns(read_ns(ClockId::Boottime))
    }

    /// Known to half a second where systemd-timesyncd says that it has set the clock; with an
    /// unknown error (`u64::MAX`) otherwise, for a unit's clock may then be wrong by years.
    fn wall(&self) -> WallTime {
        let uncertainty_ms =
            if Path::new(SYNCHRONISED).exists() { SYNCHRONISED_UNCERTAINTY_MS } else { u64::MAX };
        WallTime { unix_ms: system_unix_ms(), uncertainty_ms }
    }
}

/// The clock of a replay: now is the time of the newest item that was handed out.
#[derive(Debug)]
pub struct ReplayClock {
    zero: MonoTime,
    wall_at_zero: WallTime,
    now_ns: AtomicU64,
}

impl ReplayClock {
    /// A clock that stands at the drive's zero.
    pub fn new(zero: MonoTime, wall_at_zero: WallTime) -> Self {
        Self { zero, wall_at_zero, now_ns: AtomicU64::new(zero.as_ns()) }
    }

    /// Moves on to `at`; never back.
    pub fn advance(&self, at: MonoTime) {
        self.now_ns.fetch_max(at.as_ns(), Ordering::Relaxed);
    }
}

impl Clock for ReplayClock {
    fn now(&self) -> MonoTime {
        MonoTime::from_ns(self.now_ns.load(Ordering::Relaxed))
    }

    fn wall(&self) -> WallTime {
        let passed_ms = i64::try_from(self.now().since(self.zero).as_millis()).unwrap_or(i64::MAX);
        WallTime {
            unix_ms: self.wall_at_zero.unix_ms.saturating_add(passed_ms),
            uncertainty_ms: self.wall_at_zero.uncertainty_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_the_wall_clock() {
        let ago = |d: Duration| {
            let now = SystemClock.now();
            now.since(SystemClock::from_kernel_realtime(SystemTime::now() - d)).as_millis()
        };
        assert!((250..900).contains(&ago(Duration::from_millis(300))));
        // Before the clock was set, and after it was set back.
        assert!(ago(Duration::from_secs(86_400)) < 500);
        let ahead = SystemTime::now() + Duration::from_secs(86_400);
        let at = SystemClock::from_kernel_realtime(ahead);
        assert!(at <= SystemClock.now());
    }

    #[test]
    fn system_clock_rises_and_is_about_now() {
        let clock = SystemClock;
        let a = clock.now();
        let b = clock.now();
        assert!(b >= a && a > MonoTime::ZERO);
        let std_ms =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let off = i128::from(clock.wall().unix_ms) - i128::try_from(std_ms).unwrap();
        assert!(off.abs() < 5_000, "{off} ms");
    }

    #[test]
    fn a_kernel_stamp_keeps_its_age() {
        let stamp_ns = read_ns(ClockId::Monotonic) - 250_000_000;
        let before = SystemClock.now();
        let at = SystemClock::from_kernel_monotonic(Duration::from_nanos(stamp_ns));
        let age = before.secs_from(at);
        assert!((0.2..=0.3).contains(&age), "{age} s");
    }

    #[test]
    fn replay_clock_follows_the_items_and_never_goes_back() {
        let zero = MonoTime::from_secs_f64(10.0);
        let clock = ReplayClock::new(zero, WallTime { unix_ms: 1_000, uncertainty_ms: 7 });
        assert_eq!(clock.now(), zero);
        clock.advance(MonoTime::from_secs_f64(12.5));
        clock.advance(MonoTime::from_secs_f64(11.0));
        assert_eq!(clock.now(), MonoTime::from_secs_f64(12.5));
        assert_eq!(clock.wall(), WallTime { unix_ms: 3_500, uncertainty_ms: 7 });
    }
}
