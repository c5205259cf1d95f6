//! Counts how long something was *seen* to go on, over short gaps.
//!
//! INVARIANT: time counts only between two consecutive samples that both saw it. A gap, of what
//! kind ever, never counts; it ends the run once it rested in one state for longer than that
//! state's tolerance, or lasted longer than `sweep` in all.
//! INVARIANT: an interval between samples longer than `max_interval` was not seen: it ends the run.

use std::time::Duration;

use temoin_proto::{perception::Seen, time::MonoTime};

/// The value and its confidence, 0 to 1, where it was seen with at least `min`. A confidence that
/// is no number is none.
pub(crate) fn sure<T: Copy>(seen: &Seen<T>, min: f64) -> Option<(T, f32)> {
    match *seen {
        Seen::Known { value, confidence } if f64::from(confidence) >= min => {
            Some((value, confidence.clamp(0.0, 1.0)))
        }
        Seen::Known { .. } | Seen::Unknown(_) => None,
    }
}

/// Sensor clocks round: a gap of 0.3 s may come as 0.3003 s.
pub(crate) const ROUNDING: Duration = Duration::from_millis(2);

/// One sample's reading. `Z` names the states in which the thing does not go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reading<Z> {
    /// It goes on; with the reading's confidence.
    Active(f32),
    /// It does not, or is not seen; a rest here of up to `tolerance` is a gap.
    Rest { state: Z, tolerance: Duration },
}

/// How long it has been seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Elapsed {
    /// The first sample that saw it.
    pub(crate) start: MonoTime,
    /// Time counted.
    pub(crate) seen_for: Duration,
    /// Mean confidence of the samples that saw it.
    pub(crate) confidence: f32,
}

#[derive(Clone, Copy, Debug)]
struct Gap<Z> {
    since: MonoTime,
    rest_since: MonoTime,
    state: Z,
    tolerance: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Run<Z> {
    start: MonoTime,
    seen_for: Duration,
    last: MonoTime,
    gap: Option<Gap<Z>>,
    mean_confidence: f32,
    samples: f32,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct SeenTimer<Z> {
    max_interval: Duration,
    sweep: Duration,
    run: Option<Run<Z>>,
}

impl<Z: Copy + PartialEq> SeenTimer<Z> {
    pub(crate) const fn new(max_interval: Duration, sweep: Duration) -> Self {
        Self { max_interval, sweep, run: None }
    }

    /// Ends the run.
    pub(crate) fn clear(&mut self) {
        self.run = None;
    }

    /// Takes a sample; times must increase. Some only where this very sample saw it.
    pub(crate) fn step(&mut self, at: MonoTime, reading: Reading<Z>) -> Option<Elapsed> {
        let run = self.run.take().filter(|run| {
            let over_long = run.gap.is_some_and(|gap| {
                at.since(gap.since) > self.sweep + ROUNDING
                    || at.since(gap.rest_since) > gap.tolerance + ROUNDING
            });
            at.since(run.last) <= self.max_interval + ROUNDING && !over_long
        });
        match (reading, run) {
            (Reading::Active(confidence), None) => {
                self.run = Some(Run {
                    start: at,
                    seen_for: Duration::ZERO,
                    last: at,
                    gap: None,
                    mean_confidence: confidence,
                    samples: 1.0,
                });
            }
            (Reading::Active(confidence), Some(mut run)) => {
                if run.gap.take().is_none() {
                    run.seen_for += at.since(run.last);
                }
                run.last = at;
                run.samples += 1.0;
                run.mean_confidence += (confidence - run.mean_confidence) / run.samples;
                self.run = Some(run);
            }
            (Reading::Rest { .. }, None) => {}
            (Reading::Rest { state, tolerance }, Some(mut run)) => {
                run.last = at;
                run.gap = Some(match run.gap {
                    Some(gap) if gap.state == state => gap,
                    Some(gap) => Gap { since: gap.since, rest_since: at, state, tolerance },
                    None => Gap { since: at, rest_since: at, state, tolerance },
                });
                self.run = Some(run);
            }
        }
        self.run.filter(|run| run.gap.is_none()).map(|run| Elapsed {
            start: run.start,
            seen_for: run.seen_for,
            confidence: run.mean_confidence,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One letter a 0.1 s sample: `x` seen, `a` and `b` two rests with 0.3 s tolerance, ` ` none.
    fn seen_tenths(script: &str) -> u128 {
        let mut timer = SeenTimer::new(Duration::from_millis(300), Duration::from_millis(600));
        let mut last = None;
        for (n, c) in (0_u64..).zip(script.chars()) {
            let rest = |state| Reading::Rest { state, tolerance: Duration::from_millis(300) };
            let reading = match c {
                'x' => Reading::Active(1.0),
                ' ' => continue,
                other => rest(other),
            };
            last = timer.step(MonoTime::from_ns(n * 100_000_000), reading);
        }
        last.map_or(0, |e| e.seen_for.as_millis() / 100)
    }

    #[test]
    fn gaps_never_count_and_long_ones_end_the_run() {
        for (script, tenths) in [
            ("xxxxxx", 5),
            ("xxxaxxx", 4),
            ("xxxaaaxxx", 4),
            ("xxxaaaaxxx", 2),
            ("xxxaaabbbxxx", 4),
            ("xxxabababaxxx", 2),
            ("xxx  xxx", 7),
            ("xxx   xxx", 2),
            ("xxxa", 0),
            ("aaaax", 0),
        ] {
            assert_eq!(seen_tenths(script), tenths, "{script}");
        }
    }

    proptest! {
        #[test]
        fn never_more_than_what_was_seen(script in "[xab ]{0,60}") {
            let seen = script.as_bytes().windows(2).filter(|w| w == b"xx").count();
            let bridged = script.matches(' ').count() + script.matches("x ").count();
            prop_assert!(seen_tenths(&script) <= (seen + bridged) as u128);
        }
    }
}
