//! Closed eyes: blinks told from closures; microsleep, sleep and an unresponsive driver: eyes seen
//! closed for 1 s, 3 s and 6 s (Euro NCAP 2026).
//!
//! 'Not seen is not closed': unknown for longer than 0.3 s ends the closure, and no gap counts in
//! it: a head that falls forward so that the eyes are lost makes nobody unresponsive. An opening of
//! more than 0.1 s ends it too, so that fluttering lids do not add up.
//!
//! One closure gives at most one event of each kind: a microsleep that goes on becomes a sleep.
//!
//! Pictures come at 10 Hz or so: a blink of 0.1 to 0.3 s is one to three of them. Its length is
//! known only to lie between what was seen closed and what was not seen open; the middle decides
//! whether it was a blink. Many blinks fall between two pictures: a rate of blinks is a lower
//! bound. A closure whose begin or end was not seen is counted as neither.

use std::time::Duration;

use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    time::MonoTime,
};

use crate::{
    config::{DrowsinessConfig, KMH_TO_MPS, secs},
    lids::Lids,
    seen_timer::{Elapsed, ROUNDING, Reading, SeenTimer},
};

/// One misread picture at 10 Hz and more. Own choice.
const OPEN_TOLERANCE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rest {
    Open,
    Unknown,
}

/// How long the eyes were closed, from open to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shut {
    /// From the first to the last picture that saw them closed.
    pub at_least: Duration,
    /// From the last open one before to the first open one after.
    pub at_most: Duration,
}

impl Shut {
    /// The middle of what it can have been.
    pub fn likely(&self) -> Duration {
        (self.at_least + self.at_most) / 2
    }
}

/// What a [`Shut`] was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutKind {
    /// Shorter than any blink: a flicker of the measure.
    Flicker,
    /// A blink.
    Blink,
    /// Longer than a blink, shorter than a microsleep: a sign of fatigue.
    LongBlink,
    /// A microsleep or longer.
    Closure,
}

/// Blinks and closures since the begin, for figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutCounts {
    /// Blinks.
    pub blinks: u32,
    /// Long blinks.
    pub long_blinks: u32,
    /// Closures.
    pub closures: u32,
}

#[derive(Clone, Copy, Debug)]
struct Closing {
    open_before: MonoTime,
    first: MonoTime,
    last: MonoTime,
}

/// Tells blinks from closures.
#[derive(Clone, Debug)]
pub struct Blinks {
    shortest: Duration,
    longest: Duration,
    microsleep: Duration,
    gap: Duration,
    last: Option<MonoTime>,
    open: Option<MonoTime>,
    closing: Option<Closing>,
    counts: ShutCounts,
}

impl Blinks {
    /// None yet.
    pub fn new(config: &DrowsinessConfig) -> Self {
        Self {
            shortest: secs(config.blink_shortest_s),
            longest: secs(config.blink_longest_s),
            microsleep: secs(config.microsleep_s),
            gap: secs(config.gap_s),
            last: None,
            open: None,
            closing: None,
            counts: ShutCounts::default(),
        }
    }

    /// Takes the lids of one picture. Some on the one that sees the eyes open again.
    pub fn step(&mut self, at: MonoTime, lids: Lids) -> Option<(ShutKind, Shut)> {
        if self.last.replace(at).is_none_or(|last| at.since(last) > self.gap + ROUNDING) {
            self.open = None;
            self.closing = None;
        }
        match lids {
            Lids::Unknown => {
                self.open = None;
                self.closing = None;
                None
            }
            Lids::Closed { .. } => {
                if let Some(closing) = &mut self.closing {
                    closing.last = at;
                } else if let Some(open_before) = self.open.take() {
                    self.closing = Some(Closing { open_before, first: at, last: at });
                }
                None
            }
            Lids::Open => {
                self.open = Some(at);
                let closing = self.closing.take()?;
                let shut = Shut {
                    at_least: closing.last.since(closing.first),
                    at_most: at.since(closing.open_before),
                };
                let kind = self.kind(&shut);
                let count = match kind {
                    ShutKind::Flicker => None,
                    ShutKind::Blink => Some(&mut self.counts.blinks),
                    ShutKind::LongBlink => Some(&mut self.counts.long_blinks),
                    ShutKind::Closure => Some(&mut self.counts.closures),
                };
                if let Some(count) = count {
                    *count = count.saturating_add(1);
                }
                Some((kind, shut))
            }
        }
    }

    fn kind(&self, shut: &Shut) -> ShutKind {
        if shut.at_most < self.shortest {
            ShutKind::Flicker
        } else if shut.likely() <= self.longest {
            ShutKind::Blink
        } else if shut.likely() < self.microsleep {
            ShutKind::LongBlink
        } else {
            ShutKind::Closure
        }
    }

    /// So far.
    pub const fn counts(&self) -> ShutCounts {
        self.counts
    }
}

/// Microsleep, sleep, unresponsive: see the module.
#[derive(Clone, Debug)]
pub struct EyeClosure {
    config: DrowsinessConfig,
    timer: SeenTimer<Rest>,
    /// The closure that was reported, and how far.
    said: Option<(MonoTime, EventKind)>,
    closed_for: Duration,
}

impl EyeClosure {
    /// Awake.
    pub fn new(config: &DrowsinessConfig) -> Self {
        let gap = secs(config.gap_s);
        Self {
            config: config.clone(),
            timer: SeenTimer::new(gap, gap),
            said: None,
            closed_for: Duration::ZERO,
        }
    }

    /// Takes the lids of one picture and the speed then.
    pub fn step(&mut self, at: MonoTime, lids: Lids, speed_mps: Option<f64>) -> Option<Event> {
        self.closed_for = Duration::ZERO;
        if speed_mps.is_some_and(|v| v < self.config.min_speed_kmh * KMH_TO_MPS) {
            self.timer.clear();
            return None;
        }
        let unknown = Reading::Rest { state: Rest::Unknown, tolerance: secs(self.config.gap_s) };
        let reading = match (lids, speed_mps) {
            (Lids::Unknown, _) | (_, None) => unknown,
            (Lids::Open, Some(_)) => Reading::Rest { state: Rest::Open, tolerance: OPEN_TOLERANCE },
            (Lids::Closed { confidence }, Some(_)) => Reading::Active(confidence),
        };
        let elapsed = self.timer.step(at, reading)?;
        self.closed_for = elapsed.seen_for;
        let (kind, threshold_s, rule) = self.tier(elapsed.seen_for)?;
        if self.said == Some((elapsed.start, kind)) {
            return None;
        }
        self.said = Some((elapsed.start, kind));
        Some(event(at, kind, threshold_s, rule, &elapsed, speed_mps.unwrap_or_default()))
    }

    /// Seen closed for this long by now; zero where this very picture did not see it.
    pub const fn closed_for(&self) -> Duration {
        self.closed_for
    }

    fn tier(&self, closed_for: Duration) -> Option<(EventKind, f64, &'static str)> {
        let c = &self.config;
        [
            (EventKind::Unresponsive, c.unresponsive_s, "unresponsive/1"),
            (EventKind::Sleep, c.sleep_s, "sleep/2"),
            (EventKind::Microsleep, c.microsleep_s, "microsleep/2"),
        ]
        .into_iter()
        .find(|(_, threshold_s, _)| closed_for >= secs(*threshold_s))
    }
}

fn event(
    at: MonoTime,
    kind: EventKind,
    threshold_s: f64,
    rule: &'static str,
    elapsed: &Elapsed,
    speed_mps: f64,
) -> Event {
    Event {
        kind,
        start: elapsed.start,
        end: at,
        severity: if kind == EventKind::Microsleep { Severity::Medium } else { Severity::High },
        confidence: elapsed.confidence.clamp(0.0, 1.0),
        rule,
        numbers: vec![
            Number::new("closed", elapsed.seen_for.as_secs_f64(), "s"),
            Number::new("threshold", threshold_s, "s"),
            Number::new("speed", speed_mps / KMH_TO_MPS, "km/h"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: Lids = Lids::Closed { confidence: 0.9 };

    /// Events of 12 s at 10 Hz as (kind, second).
    fn run(lids: impl Fn(f64) -> Lids, kmh: Option<f64>) -> Vec<(EventKind, f64)> {
        let mut closure = EyeClosure::new(&DrowsinessConfig::default());
        (0..120_u32)
            .map(|n| f64::from(n) / 10.0)
            .filter_map(|s| {
                let at = MonoTime::from_secs_f64(s);
                let speed = kmh.map(|v| v * KMH_TO_MPS);
                closure.step(at, lids(s), speed).map(|e| (e.kind, s))
            })
            .collect()
    }

    #[test]
    fn one_closure_is_one_event_of_each_kind() {
        use EventKind::{Microsleep, Sleep, Unresponsive};
        let expected = [(Microsleep, 1.0), (Sleep, 3.0), (Unresponsive, 6.0)];
        assert_eq!(run(|_| CLOSED, Some(60.0)), expected);
        let nap = |s: f64| if s < 4.0 { CLOSED } else { Lids::Open };
        assert_eq!(run(nap, Some(60.0)), expected[..2]);
        let blink = |s: f64| if s < 0.9 { CLOSED } else { Lids::Open };
        assert_eq!(run(blink, Some(60.0)), []);
    }

    #[test]
    fn not_seen_is_not_closed() {
        for then in [Lids::Unknown, Lids::Open] {
            assert_eq!(run(|_| then, Some(60.0)), []);
            for (until, events) in [(0.8, 0), (2.8, 1), (5.8, 2)] {
                // The head falls and the eyes are lost: nothing more is said.
                let lids = |s: f64| if s < until { CLOSED } else { then };
                assert_eq!(run(lids, Some(60.0)).len(), events, "{then:?} after {until}");
            }
        }
        for kmh in [None, Some(0.0), Some(9.9)] {
            assert_eq!(run(|_| CLOSED, kmh), [], "{kmh:?}");
        }
    }

    #[test]
    fn fluttering_lids_do_not_add_up() {
        // 0.2 s closed, 0.2 s open.
        let flutter = |s: f64| if (s * 10.0).rem_euclid(4.0) < 1.5 { CLOSED } else { Lids::Open };
        assert_eq!(run(flutter, Some(60.0)), []);
    }

    /// One letter for a sample: `o` open, `x` closed, `?` unknown, ` ` none.
    fn shuts(hz: u64, script: &str) -> Vec<(ShutKind, u128, u128)> {
        let mut blinks = Blinks::new(&DrowsinessConfig::default());
        (0_u64..)
            .zip(script.chars())
            .filter_map(|(n, c)| {
                let lids = match c {
                    'o' => Lids::Open,
                    'x' => CLOSED,
                    '?' => Lids::Unknown,
                    _ => return None,
                };
                blinks.step(MonoTime::from_ns(n * 1_000_000_000 / hz), lids)
            })
            .map(|(kind, shut)| (kind, shut.at_least.as_millis(), shut.at_most.as_millis()))
            .collect()
    }

    #[test]
    fn lengths_are_told_as_what_they_can_have_been() {
        use ShutKind::{Blink, Closure, Flicker, LongBlink};
        for (hz, script, expected) in [
            (10, "ooxoo", vec![(Blink, 0, 200)]),
            (10, "oxxxo", vec![(Blink, 200, 400)]),
            (10, "oxxxxxo", vec![(Blink, 400, 600)]),
            (10, "oxxxxxxo", vec![(LongBlink, 500, 700)]),
            (10, "oxxxxxxxxxxxo", vec![(Closure, 1000, 1200)]),
            (10, "oxoxo", vec![(Blink, 0, 200), (Blink, 0, 200)]),
            (60, "ooxoo", vec![(Flicker, 0, 33)]),
            (30, "oxxxo", vec![(Blink, 66, 133)]),
            // Begin or end was not seen.
            (10, "?xxo", vec![]),
            (10, "oxx?xo", vec![]),
            (10, "xxxo", vec![]),
            (10, "oxx    xo", vec![]),
            (10, "????", vec![]),
        ] {
            assert_eq!(shuts(hz, script), expected, "{hz} Hz {script}");
        }
    }
}
