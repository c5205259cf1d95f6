//! PERCLOS: the share of the time in which the eyes were seen that they were closed.
//!
//! Over the last 60 s of *seen* eyes, which must lie within 180 s; else it is unknown. Blinks do
//! not count as closed: PERCLOS is of slow closures (Dinges and Grace 1998), so that dry eyes or
//! hay fever make nobody drowsy.
//!
//! INVARIANT: time counts only between two consecutive pictures that both saw the eyes, and once.

use std::{collections::VecDeque, time::Duration};

use temoin_proto::time::MonoTime;

use crate::{
    config::{DrowsinessConfig, secs},
    lids::Lids,
    seen_timer::ROUNDING,
};

/// One second of the clock: memory is bounded whatever the camera's rate.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: u64,
    seen: Duration,
    closed: Duration,
    blinks: u32,
}

/// PERCLOS as it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerclosReading {
    /// Share of the seen time, 0 to 100.
    pub percent: f64,
    /// Seen time that it is taken over.
    pub seen_for: Duration,
    /// When that begins.
    pub since: MonoTime,
    /// Blinks a minute in it: a lower bound.
    pub blinks_per_min: f64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Perclos {
    window: Duration,
    within: Duration,
    gap: Duration,
    blink: Duration,
    seconds: VecDeque<Second>,
    last: Option<(MonoTime, bool)>,
    /// Closed time of a closure that may still be a blink; none once it is none.
    maybe_blink: Option<Duration>,
}

impl Perclos {
    /// Nothing seen yet.
    pub fn new(config: &DrowsinessConfig) -> Self {
        Self {
            window: secs(config.perclos_seen_s),
            within: secs(config.perclos_within_s),
            gap: secs(config.gap_s),
            blink: secs(config.blink_longest_s),
            seconds: VecDeque::new(),
            last: None,
            maybe_blink: Some(Duration::ZERO),
        }
    }

    /// Takes the lids of one picture, and whether it was the end of a blink.
    pub fn step(&mut self, at: MonoTime, lids: Lids, blinked: bool) {
        let closed = match lids {
            Lids::Open => Some(false),
            Lids::Closed { .. } => Some(true),
            Lids::Unknown => None,
        };
        self.forget(at);
        let before = self.last.take().filter(|(last, _)| at.since(*last) <= self.gap + ROUNDING);
        self.last = closed.map(|closed| (at, closed));
        let Some(closed) = closed else {
            self.maybe_blink = Some(Duration::ZERO);
            return;
        };
        let number = at.as_ns() / 1_000_000_000;
        if self.seconds.back().is_none_or(|second| second.number != number) {
            self.seconds.push_back(Second { number, ..Second::default() });
        }
        let Some(second) = self.seconds.back_mut() else { return };
        second.blinks = second.blinks.saturating_add(u32::from(blinked));
        if let Some((last, was_closed)) = before {
            let step = at.since(last);
            second.seen += step;
            // Closed at both ends: all of it; at one: half of it.
            let part = match (was_closed, closed) {
                (true, true) => step,
                (true, false) | (false, true) => step / 2,
                (false, false) => Duration::ZERO,
            };
            match &mut self.maybe_blink {
                None => second.closed += part,
                Some(short) => {
                    *short += part;
                    if *short > self.blink {
                        second.closed += *short;
                        self.maybe_blink = None;
                    }
                }
            }
        }
        if !closed || before.is_none() {
            self.maybe_blink = Some(Duration::ZERO);
        }
    }

    /// PERCLOS now; none where too little was seen.
    pub fn reading(&self) -> Option<PerclosReading> {
        let (mut seen, mut closed, mut blinks) = (Duration::ZERO, Duration::ZERO, 0_u32);
        let mut since = None;
        for second in self.seconds.iter().rev() {
            seen += second.seen;
            closed += second.closed;
            blinks = blinks.saturating_add(second.blinks);
            since = Some(second.number);
            if seen >= self.window {
                break;
            }
        }
        let since = since.filter(|_| seen >= self.window)?;
        Some(PerclosReading {
            percent: (closed.as_secs_f64() / seen.as_secs_f64() * 100.0).clamp(0.0, 100.0),
            seen_for: seen,
            since: MonoTime::from_ns(since.saturating_mul(1_000_000_000)),
            blinks_per_min: f64::from(blinks) * 60.0 / seen.as_secs_f64(),
        })
    }

    fn forget(&mut self, at: MonoTime) {
        let oldest = at.saturating_sub(self.within).as_ns() / 1_000_000_000;
        while self.seconds.front().is_some_and(|second| second.number < oldest) {
            self.seconds.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLOSED: Lids = Lids::Closed { confidence: 0.9 };

    /// PERCLOS after `seconds` at `hz` of lids by the second.
    fn after(hz: u32, seconds: u32, lids: impl Fn(f64) -> Lids) -> Option<PerclosReading> {
        let mut perclos = Perclos::new(&DrowsinessConfig::default());
        for n in 0..=hz * seconds {
            let s = f64::from(n) / f64::from(hz);
            perclos.step(MonoTime::from_secs_f64(s), lids(s), false);
        }
        perclos.reading()
    }

    #[test]
    fn the_share_of_seen_time_whatever_the_rate() {
        // 0.2 above a multiple of the sampling, so that no edge falls on a sample.
        let droops = |s: f64| if (s + 0.03) % 6.0 < 1.2 { CLOSED } else { Lids::Open };
        for hz in [5, 10, 15, 30] {
            let reading = after(hz, 90, droops).unwrap();
            assert!((reading.percent - 20.0).abs() < 1.5, "{hz} Hz: {}", reading.percent);
        }
    }

    #[test]
    fn blinks_are_not_closures() {
        // 45 blinks of 0.3 s a minute.
        let blinks = |s: f64| if s % 1.33 < 0.3 { CLOSED } else { Lids::Open };
        assert!(after(10, 90, blinks).unwrap().percent < 0.1);
        assert!(
            after(10, 90, |s| if s % 2.0 < 0.8 { CLOSED } else { Lids::Open }).unwrap().percent
                > 35.0
        );
    }

    #[test]
    fn too_little_seen_is_unknown_and_unseen_time_is_no_denominator() {
        assert_eq!(after(10, 59, |_| CLOSED), None);
        assert_eq!(after(10, 600, |_| Lids::Unknown), None);
        // Seen for one second in four: 45 s in 180.
        let rarely = |s: f64| if s % 4.0 < 1.05 { CLOSED } else { Lids::Unknown };
        assert_eq!(after(10, 600, rarely), None);
        // Seen for half of the time, and closed in a quarter of that.
        let half = |s: f64| match s % 16.0 {
            s if s < 2.05 => CLOSED,
            s if s < 8.05 => Lids::Open,
            _ => Lids::Unknown,
        };
        let reading = after(10, 600, half).unwrap();
        assert!((reading.percent - 25.0).abs() < 2.0, "{reading:?}");
    }

    proptest! {
        /// Never more than was seen, and nothing without a closed sample.
        #[test]
        fn time_never_counts_twice(
            script in prop::collection::vec((0_u8..4, 1_u64..900), 0..400),
        ) {
            let mut perclos = Perclos::new(&DrowsinessConfig::default());
            let (mut at_ms, mut seen_ms, mut last) = (0, 0, false);
            for &(lids, ms) in &script {
                at_ms += ms;
                let lids = match lids {
                    0 => Lids::Open,
                    1 => CLOSED,
                    _ => Lids::Unknown,
                };
                let seen = lids != Lids::Unknown;
                seen_ms += if seen && last && ms <= 302 { ms } else { 0 };
                last = seen;
                perclos.step(MonoTime::from_ns(at_ms * 1_000_000), lids, false);
            }
            let total: Duration = perclos.seconds.iter().map(|s| s.seen).sum();
            let closed: Duration = perclos.seconds.iter().map(|s| s.closed).sum();
            prop_assert!(total <= Duration::from_millis(seen_ms) && closed <= total);
            if !script.iter().any(|s| s.0 == 1) {
                prop_assert_eq!(closed, Duration::ZERO);
            }
        }
    }
}
