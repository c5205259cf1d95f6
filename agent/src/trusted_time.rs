//! What the unit believes the time of day to be, and how wrong that may be.
//!
//! Its own clock can be wrong by years. So, of what is known in this run, what is surest now: what the
//! server told, what GNSS says, or the system's clock where the network set it. Where nothing is known, the
//! system's clock where it is plausible; else the last time that the server told in an earlier run (at first:
//! at enrolment).
//!
//! INVARIANT: what was told once is carried on by the monotonic clock: a step of the system's clock changes
//! nothing, and it grows less sure as time passes.
//! INVARIANT: GNSS is believed only where some fixes in a row agree, and where it is not years away from what
//! the server told: a receiver whose weeks rolled over is wrong by 19.6 years, and anybody can send a false
//! signal.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use temoin_hw::{
    Clock,
    clock::{SystemClock, system_unix_ms},
};
use temoin_proto::{
    samples::GnssFix,
    time::{MonoTime, WallTime},
};

use crate::durable::{self, FileError};

/// A clock that is this far from the last trusted time is not believed: longer than any unit stays away
/// from its server with a certificate that still holds.
const PLAUSIBLE_AWAY_MS: i64 = 400 * 24 * 3600 * 1000;
/// And this far before it.
const PLAUSIBLE_BEFORE_MS: i64 = 24 * 3600 * 1000;
/// How wrong a fix's time may be, milliseconds: receivers tell an epoch up to a second after it.
const GNSS_UNCERTAINTY_MS: u64 = 1000;
/// So many fixes in a row must agree.
const GNSS_AGREE: u32 = 5;
/// How much the monotonic clock drifts, parts in a million: a plain quartz in a hot cab.
const DRIFT_PPM: u64 = 50;

/// What was told, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    /// By the monotonic clock, milliseconds.
    at_ms: i64,
    unix_ms: i64,
    uncertainty_ms: u64,
}

impl Told {
    /// What it makes of a later moment.
    fn at(self, at_ms: i64) -> WallTime {
        let passed = at_ms.saturating_sub(self.at_ms);
        let drift = passed.unsigned_abs().saturating_mul(DRIFT_PPM) / 1_000_000;
        WallTime {
            unix_ms: self.unix_ms.saturating_add(passed),
            uncertainty_ms: self.uncertainty_ms.saturating_add(drift),
        }
    }
}

/// What GNSS said, and how often in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    told: Option<Told>,
    agreed: u32,
}

/// See the module.
#[derive(Debug)]
pub struct TrustedTime {
    path: PathBuf,
    /// Last time that the server told, milliseconds since 1970; 0: never.
    told_ms: AtomicI64,
    /// What the server told in this run.
    server: Mutex<Option<Told>>,
    gnss: Mutex<Heard>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    told_unix_ms: i64,
}

/// The monotonic clock, milliseconds.
fn mono_ms(at: MonoTime) -> i64 {
    i64::try_from(at.since(MonoTime::ZERO).as_millis()).unwrap_or(i64::MAX)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TrustedTime {
    /// Reads what the server last told; nothing told or an unreadable file counts as never.
    pub fn load(path: &Path) -> Self {
        let told_ms = fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Stored>(&bytes).ok())
            .map_or(0, |s| s.told_unix_ms);
        Self::with(path, told_ms)
    }

    /// For enrolment, when no server told anything yet: the ticket's own end is near enough to
    /// judge a clock that is wrong by years.
    pub fn of_ticket(path: &Path, ends_unix_ms: i64) -> Self {
        Self::with(path, ends_unix_ms)
    }

    fn with(path: &Path, told_ms: i64) -> Self {
        Self {
            path: path.to_owned(),
            told_ms: told_ms.into(),
            server: Mutex::default(),
            gnss: Mutex::default(),
        }
    }

    /// Notes the server's time, told in an answer that took `round_trip`, and keeps it, at most
    /// once an hour. Gives what the server's clock is ahead of the system's, milliseconds.
    ///
    /// # Errors
    /// Where the file cannot be written; the time is used all the same.
    pub fn told(&self, server_unix_ms: i64, round_trip: Duration) -> Result<i64, FileError> {
        let uncertainty = u64::try_from(round_trip.as_millis()).unwrap_or(u64::MAX);
        // The answer was written at some moment of the round trip; now is its end.
        *locked(&self.server) = Some(Told {
            at_ms: mono_ms(SystemClock.now()),
            unix_ms: server_unix_ms,
            uncertainty_ms: uncertainty.saturating_add(1),
        });
        let before = self.told_ms.swap(server_unix_ms, Ordering::Relaxed);
        if server_unix_ms.abs_diff(before) >= 3_600_000 {
            self.keep()?;
        }
        Ok(server_unix_ms.saturating_sub(system_unix_ms()))
    }

    /// Makes what was told last durable.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn keep(&self) -> Result<(), FileError> {
        let told = self.told_ms.load(Ordering::Relaxed);
        durable::replace(&self.path, format!("{{\"told_unix_ms\":{told}}}\n").as_bytes())
    }

    /// Notes a fix of the unit's own receiver, where it says the time.
    pub fn heard(&self, fix: &GnssFix) {
        let Some(unix_ms) = fix.utc_unix_ms.filter(|ms| self.is_plausible(*ms)) else { return };
        let at_ms = mono_ms(fix.at);
        let told = Told { at_ms, unix_ms, uncertainty_ms: GNSS_UNCERTAINTY_MS };
        let mut heard = locked(&self.gnss);
        let agrees = heard.told.is_some_and(|before| {
            before.at(at_ms).unix_ms.abs_diff(unix_ms) <= GNSS_UNCERTAINTY_MS
        });
        heard.agreed = if agrees { heard.agreed.saturating_add(1) } else { 1 };
        heard.told = Some(told);
    }

    /// A reading of the system's clock, or of a replay's that began by it, put right by what is surer. Where
    /// nothing was told in this run, a clock that is not plausible keeps its reading but loses all trust.
    pub fn correct(&self, wall: WallTime) -> WallTime {
        let system = WallTime { unix_ms: system_unix_ms(), ..wall };
        let known = self.correct_at(mono_ms(SystemClock.now()), system);
        let ahead_ms = known.unix_ms.saturating_sub(system.unix_ms);
        WallTime { unix_ms: wall.unix_ms.saturating_add(ahead_ms), ..known }
    }

    fn correct_at(&self, now_ms: i64, wall: WallTime) -> WallTime {
        let system = if self.is_plausible(wall.unix_ms) {
            wall
        } else {
            WallTime { uncertainty_ms: u64::MAX, ..wall }
        };
        let heard = *locked(&self.gnss);
        let gnss = heard.told.filter(|_| heard.agreed >= GNSS_AGREE);
        let told = [*locked(&self.server), gnss].into_iter().flatten().map(|told| told.at(now_ms));
        told.chain([system]).min_by_key(|time| time.uncertainty_ms).unwrap_or(system)
    }

    /// Whether this may be the time.
    pub fn is_plausible(&self, unix_ms: i64) -> bool {
        let told = self.told_ms.load(Ordering::Relaxed);
        let away = unix_ms.saturating_sub(told);
        told == 0 || (-PLAUSIBLE_BEFORE_MS..=PLAUSIBLE_AWAY_MS).contains(&away)
    }

    /// The time that certificates are checked at, milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        let system = system_unix_ms();
        let known = self.correct(WallTime { unix_ms: system, uncertainty_ms: u64::MAX });
        if known.uncertainty_ms < u64::MAX || self.is_plausible(system) {
            known.unix_ms
        } else {
            self.told_ms.load(Ordering::Relaxed)
        }
    }
}

/// A clock whose wall time is put right.
pub struct CorrectedClock {
    /// Of the unit or of a replay.
    pub clock: Arc<dyn Clock>,
    /// What is surer.
    pub time: Arc<TrustedTime>,
}

impl Clock for CorrectedClock {
    fn now(&self) -> MonoTime {
        self.clock.now()
    }

    fn wall(&self) -> WallTime {
        self.time.correct(self.clock.wall())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: i64 = 1_790_000_000_000;
    const YEAR: i64 = 365 * 86_400_000;
    const UNSET: WallTime = WallTime { unix_ms: 0, uncertainty_ms: u64::MAX };

    fn nobody() -> TrustedTime {
        TrustedTime::load(Path::new("/nonexistent"))
    }

    fn fix(at_ms: u64, utc_unix_ms: i64) -> GnssFix {
        let at = MonoTime::ZERO + Duration::from_millis(at_ms);
        GnssFix { utc_unix_ms: Some(utc_unix_ms), ..GnssFix::new(at, 48.0, 11.0) }
    }

    #[test]
    fn a_clock_wrong_by_years_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("time.json");
        let time = TrustedTime::load(&path);
        assert!(time.is_plausible(0), "nothing told yet: the system is all there is");
        time.told(TOLD, Duration::from_millis(30)).unwrap();
        // Told in this run: whatever the system says is put right.
        let system = WallTime { unix_ms: system_unix_ms(), uncertainty_ms: u64::MAX };
        let right = time.correct(system);
        assert!((right.unix_ms - TOLD).abs() < 5_000, "{right:?}");
        assert_eq!(right.uncertainty_ms, 31);
        for (system, believed) in [
            (TOLD + 1000, true),
            (TOLD + YEAR, true),
            (TOLD + 5 * YEAR, false),
            (TOLD - 2 * YEAR, false),
            (0, false),
        ] {
            assert_eq!(time.is_plausible(system), believed, "{system}");
        }
        let restarted = TrustedTime::load(&path);
        assert!(!restarted.is_plausible(0), "kept over a restart");
        let wall = WallTime { unix_ms: 0, uncertainty_ms: 500 };
        assert_eq!(restarted.correct_at(0, wall).uncertainty_ms, u64::MAX);
        assert_eq!(restarted.now_ms() / YEAR, TOLD.max(system_unix_ms()) / YEAR);
    }

    #[test]
    fn what_was_told_grows_less_sure_and_no_step_of_the_clock_changes_it() {
        let time = nobody();
        *locked(&time.server) = Some(Told { at_ms: 1000, unix_ms: TOLD, uncertainty_ms: 30 });
        let day = 86_400_000;
        for system in [TOLD - YEAR, TOLD, TOLD + YEAR] {
            let system = WallTime { unix_ms: system, uncertainty_ms: u64::MAX };
            let later = time.correct_at(1000 + day, system);
            // 50 millionths of a day are 4.3 s.
            let expected = WallTime { unix_ms: TOLD + day, uncertainty_ms: 30 + 4320 };
            assert_eq!(later, expected);
        }
        // By then, the clock that the network set is surer.
        let set = WallTime { unix_ms: TOLD + day + 700, uncertainty_ms: 500 };
        assert_eq!(time.correct_at(1000 + day, set), set);
    }

    #[test]
    fn gnss_is_believed_once_it_agrees_and_is_plausible() {
        let time = nobody();
        for n in 0..4 {
            time.heard(&fix(n * 1000, TOLD + i64::try_from(n).unwrap() * 1000));
            assert_eq!(time.correct_at(4000, UNSET), UNSET, "{n}");
        }
        time.heard(&fix(4000, TOLD + 4000));
        let known = time.correct_at(5000, UNSET);
        assert_eq!((known.unix_ms, known.uncertainty_ms), (TOLD + 5000, GNSS_UNCERTAINTY_MS));
        // One that jumps begins anew.
        time.heard(&fix(5000, TOLD + 90_000));
        assert_eq!(time.correct_at(5000, UNSET), UNSET);

        // Told by the server once, a receiver that is off by its weeks is not heard.
        let time = nobody();
        time.told_ms.store(TOLD, Ordering::Relaxed);
        for n in 0..20 {
            time.heard(&fix(
                n * 1000,
                TOLD - 1024 * 7 * 86_400_000 + i64::try_from(n).unwrap() * 1000,
            ));
        }
        assert_eq!(time.correct_at(20_000, UNSET).uncertainty_ms, u64::MAX);
    }
}
