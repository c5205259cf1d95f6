//! How fast a replay runs, and how it is stopped.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use temoin_proto::time::MonoTime;

/// How fast a replay runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Speed {
    /// As it was recorded, by the wall clock.
    #[default]
    Real,
    /// As fast as the consumer takes it.
    Max,
}

/// Ends whatever waits on it, at once. Clones are the same token.
#[derive(Clone, Debug, Default)]
pub struct StopToken {
    inner: Arc<(Mutex<bool>, Condvar)>,
}

impl StopToken {
    /// A token that nobody has used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops all that hold this token; for good.
    pub fn stop(&self) {
        let (stopped, wake) = &*self.inner;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        wake.notify_all();
    }

    /// Whether [`Self::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        *self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `d` or for [`Self::stop`]; true where it was stopped.
    pub fn wait(&self, d: Duration) -> bool {
        let (stopped, wake) = &*self.inner;
        let guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
        *wake
            .wait_timeout_while(guard, d, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}

/// Says when an item may be handed out.
pub trait Pace: Send {
    /// Waits until `at` is due; false where the replay is to end instead.
    fn wait_until(&mut self, at: MonoTime) -> bool;
}

/// No waiting.
#[derive(Debug)]
pub struct MaxPace {
    stop: StopToken,
}

impl MaxPace {
    /// Ends when `stop` says so.
    pub fn new(stop: StopToken) -> Self {
        Self { stop }
    }
}

impl Pace for MaxPace {
    fn wait_until(&mut self, _at: MonoTime) -> bool {
        !self.stop.is_stopped()
    }
}

/// By the wall clock: `zero` is due when the first item is asked for. A consumer that falls
/// behind gets the late items without waiting; none is left out.
#[derive(Debug)]
pub struct RealPace {
    stop: StopToken,
    zero: MonoTime,
    started: Option<Instant>,
}

impl RealPace {
    /// Ends when `stop` says so.
    pub fn new(zero: MonoTime, stop: StopToken) -> Self {
        Self { stop, zero, started: None }
    }
}

impl Pace for RealPace {
    fn wait_until(&mut self, at: MonoTime) -> bool {
        let due = *self.started.get_or_insert_with(Instant::now) + at.since(self.zero);
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() { !self.stop.is_stopped() } else { !self.stop.wait(left) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_pace_waits_for_the_time_and_not_for_the_past() {
        let zero = MonoTime::from_secs_f64(10.0);
        let mut pace = RealPace::new(zero, StopToken::new());
        let start = Instant::now();
        assert!(pace.wait_until(zero));
        assert!(pace.wait_until(MonoTime::from_secs_f64(10.05)));
        assert!(start.elapsed() >= Duration::from_millis(50));
        assert!(pace.wait_until(MonoTime::from_secs_f64(10.01)));
    }

    #[test]
    fn a_stop_ends_a_long_wait() {
        let stop = StopToken::new();
        let mut pace = RealPace::new(MonoTime::ZERO, stop.clone());
        assert!(pace.wait_until(MonoTime::ZERO));
        let waiting = std::thread::spawn(move || pace.wait_until(MonoTime::from_secs_f64(3600.0)));
        stop.stop();
        assert!(!waiting.join().unwrap());
        assert!(!MaxPace::new(stop).wait_until(MonoTime::ZERO));
    }
}
