//! Rolling through a stop: past a known stop line without having been slower than 8 km/h within
//! 20 m of it (own choice: validate; the distance covers a position's error and a queue).
//!
//! The map tells how far a line is only at a fix, about once a second. So a line is kept as a place
//! on the way driven, which is the speed summed up, and every speed near that place is looked at:
//! also those before the line was known.
//!
//! INVARIANT: without a known line, a known way to it and a known speed all the way nothing is said. A
//! line counts as passed only where a fix was beyond it: that it should be by now is not enough.
//! In the driver's favour the slowest speed counts with two standard deviations, and what it may
//! have been between two samples, taken off; and all places count where a fix said the line to be.

use std::{collections::VecDeque, time::Duration};

use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    time::MonoTime,
};

use crate::{
    config::{KMH_TO_MPS, RollingStopConfig},
    vehicle_state::Speed,
};

/// The rule's name in events.
pub const RULE: &str = "rolling_stop/1";

/// Speeds further apart leave the time between them unknown.
const MAX_BETWEEN: Duration = Duration::from_secs(2);
/// Between two speeds a van may have braked and gone on by 3 m/s² each: that much slower for each
/// second between them, m/s. Own choice.
const DIP_MPS2: f64 = 1.5;
/// Without news of it a line is carried along for so far: 2 s at 20 m/s. Own choice.
const CARRIED_M: f64 = 40.0;
/// What two fixes say of one line may differ by so much: the error of both. Own choice.
const SAME_LINE_M: f64 = 15.0;
/// A fix must be so far beyond a line for it to be passed: who turns round just before a junction
/// looks for some metres like one who turns into the other road. Own choice.
const PASSED_M: f64 = 20.0;
/// Speeds are kept for each piece of the way of this length.
const STEP_M: f64 = 0.5;
/// Lines that are followed at once.
const MOST_LINES: usize = 4;

/// A piece of the way driven.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Where it begins and ends on the way driven.
    from_m: f64,
    to_m: f64,
    slowest_mps: f64,
    /// Slowest, with all that it may have been less.
    surely_mps: f64,
}

/// A line on the way driven.
#[derive(Clone, Copy, Debug)]
struct Line {
    since: MonoTime,
    /// The nearest and the furthest place where a fix said it to be.
    at_m: (f64, f64),
    /// Where the vehicle was when it was last heard of.
    heard_m: f64,
    passed: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct RollingStop {
    config: RollingStopConfig,
    last: Option<(MonoTime, f64)>,
    driven_m: f64,
    /// From here on every speed is known.
    known_from_m: f64,
    way: VecDeque<Step>,
    lines: Vec<Line>,
}

impl RollingStop {
    /// No line is near.
    pub fn new(config: &RollingStopConfig) -> Self {
        Self {
            config: config.clone(),
            last: None,
            driven_m: 0.0,
            known_from_m: 0.0,
            way: VecDeque::new(),
            lines: Vec::new(),
        }
    }

    /// Takes what a fix and the map say: the way to the next stop line, metres along the road,
    /// negative once it is passed; none where no line is known ahead or just behind.
    pub fn on_line(&mut self, at: MonoTime, line_m: Option<f64>) {
        let Some((last, mps)) = self.last else { return };
        let between_s = at.secs_from(last);
        if between_s.abs() > MAX_BETWEEN.as_secs_f64() {
            return;
        }
        let Some(line_m) = line_m.filter(|m| m.is_finite()) else {
            // Another road. What was passed stays passed.
            self.lines.retain(|line| line.passed);
            return;
        };
        let here_m = self.driven_m + mps * between_s;
        let at_m = here_m + line_m;
        let room = self.lines.len() < MOST_LINES;
        let same = |line: &&mut Line| {
            (line.at_m.0 - SAME_LINE_M..=line.at_m.1 + SAME_LINE_M).contains(&at_m)
        };
        match self.lines.iter_mut().find(same) {
            Some(line) => {
                line.at_m = (line.at_m.0.min(at_m), line.at_m.1.max(at_m));
                line.heard_m = here_m;
                line.passed |= line_m <= -PASSED_M;
            }
            // Heard of first behind it: how the van came there is not known.
            None if line_m <= 0.0 => {}
            None if room => self.lines.push(Line {
                since: at,
                at_m: (at_m, at_m),
                heard_m: here_m,
                passed: false,
            }),
            None => {}
        }
    }

    /// Takes the speed, or that it is not known.
    pub fn on_speed(&mut self, at: MonoTime, speed: Option<&Speed>) -> Option<Event> {
        let Some(speed) = speed else {
            self.forget();
            self.last = None;
            return None;
        };
        let before = self.last.replace((at, speed.mps));
        let (then, then_mps) = before?;
        if at <= then {
            self.last = before;
            return None;
        }
        let between = at.since(then);
        if between > MAX_BETWEEN {
            self.forget();
            return None;
        }
        let slowest_mps = then_mps.min(speed.mps);
        let less_mps = 2.0 * speed.sigma_mps + DIP_MPS2 * between.as_secs_f64();
        let from_m = self.driven_m;
        self.driven_m += then_mps.midpoint(speed.mps) * between.as_secs_f64();
        self.keep(Step {
            from_m,
            to_m: self.driven_m,
            slowest_mps,
            surely_mps: (slowest_mps - less_mps).max(0.0),
        });
        self.judge(at)
    }

    fn forget(&mut self) {
        self.way.clear();
        self.lines.clear();
        self.known_from_m = self.driven_m;
    }

    fn keep(&mut self, step: Step) {
        match self.way.back_mut() {
            Some(last) if last.to_m - last.from_m < STEP_M => {
                last.to_m = step.to_m;
                last.slowest_mps = last.slowest_mps.min(step.slowest_mps);
                last.surely_mps = last.surely_mps.min(step.surely_mps);
            }
            Some(_) | None => self.way.push_back(step),
        }
        // Before the line, behind it, and what a line may lie further off than was said.
        let kept_m = 2.0 * (self.config.reach_m + CARRIED_M);
        while self.way.front().is_some_and(|s| s.to_m < self.driven_m - kept_m) {
            self.way.pop_front();
        }
        self.known_from_m = self.known_from_m.max(self.driven_m - kept_m);
    }

    /// A line that lies far enough behind is judged; one of which nothing is heard is forgotten.
    fn judge(&mut self, at: MonoTime) -> Option<Event> {
        let (driven_m, reach_m) = (self.driven_m, self.config.reach_m);
        let left = self.lines.iter().position(|l| l.passed && driven_m >= l.at_m.1 + reach_m);
        let line = left.map(|n| self.lines.swap_remove(n));
        self.lines.retain(|l| driven_m - l.heard_m <= CARRIED_M.max(reach_m));
        line.and_then(|line| self.rolled(at, &line))
    }

    fn rolled(&self, at: MonoTime, line: &Line) -> Option<Event> {
        let reach_m = self.config.reach_m;
        let (from_m, to_m) = (line.at_m.0 - reach_m, line.at_m.1 + reach_m);
        if self.known_from_m > from_m {
            return None;
        }
        let near = self.way.iter().filter(|s| s.to_m >= from_m && s.from_m <= to_m);
        let (slowest_mps, surely_mps) = near
            .fold((f64::INFINITY, f64::INFINITY), |(slowest, surely), s| {
                (slowest.min(s.slowest_mps), surely.min(s.surely_mps))
            });
        let limit_mps = self.config.slowest_kmh * KMH_TO_MPS;
        if surely_mps <= limit_mps || !slowest_mps.is_finite() {
            return None;
        }
        Some(Event {
            kind: EventKind::RollingStop,
            start: line.since,
            end: at,
            // Own choice.
            severity: match slowest_mps / KMH_TO_MPS {
                v if v >= 30.0 => Severity::High,
                v if v >= 15.0 => Severity::Medium,
                _ => Severity::Low,
            },
            // A position's error may put the van on the wrong road.
            confidence: 0.7,
            rule: RULE,
            numbers: vec![
                Number::new("slowest", slowest_mps / KMH_TO_MPS, "km/h"),
                Number::new("threshold", self.config.slowest_kmh, "km/h"),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vehicle_state::SpeedSource;

    /// A drive of 150 m with a line at 60 m: speed by metres at 10 Hz, news of the line by metres.
    struct Run {
        kmh: fn(f64) -> Option<f64>,
        line: fn(f64) -> Option<f64>,
        /// Metres between two fixes, and where the first is.
        fix_every_m: f64,
        fix_from_m: f64,
    }

    fn run(kmh: fn(f64) -> Option<f64>, line: fn(f64) -> Option<f64>) -> Vec<Severity> {
        Run { kmh, line, fix_every_m: 0.0, fix_from_m: 0.0 }.found()
    }

    impl Run {
        fn found(&self) -> Vec<Severity> {
            let mut rule = RollingStop::new(&RollingStopConfig::default());
            let (mut m, mut found, mut next_fix_m) = (0.0, vec![], self.fix_from_m);
            for n in 0..4000_u32 {
                let at = MonoTime::from_secs_f64(f64::from(n) / 10.0);
                let mps = (self.kmh)(m).map(|v| v * KMH_TO_MPS);
                if m >= next_fix_m {
                    rule.on_line(at, (self.line)(m));
                    next_fix_m += self.fix_every_m;
                }
                let speed =
                    mps.map(|mps| Speed { at, mps, sigma_mps: 0.2, source: SpeedSource::Bus });
                found.extend(rule.on_speed(at, speed.as_ref()).map(|e| e.severity));
                m += mps.unwrap_or(8.0).max(0.5) / 10.0;
                if m > 150.0 {
                    break;
                }
            }
            found
        }
    }

    fn line(m: f64) -> Option<f64> {
        Some(60.0 - m)
    }

    #[test]
    fn who_does_not_slow_down_rolls_through() {
        assert_eq!(run(|_| Some(40.0), line), [Severity::High]);
        assert_eq!(
            run(|m| Some(if (50.0..60.0).contains(&m) { 12.0 } else { 40.0 }), line),
            [Severity::Low]
        );
        assert_eq!(run(|m| Some(if (55.0..58.0).contains(&m) { 0.0 } else { 30.0 }), line), []);
        // In the queue before it, or just past it to see.
        assert_eq!(run(|m| Some(if (42.0..44.0).contains(&m) { 2.0 } else { 30.0 }), line), []);
        assert_eq!(run(|m| Some(if (63.0..66.0).contains(&m) { 3.0 } else { 30.0 }), line), []);
        // Nearly: within the speed's error.
        assert_eq!(run(|m| Some(if (55.0..60.0).contains(&m) { 8.5 } else { 30.0 }), line), []);
        // A stop elsewhere is none here.
        assert_eq!(
            run(|m| Some(if (20.0..25.0).contains(&m) { 0.0 } else { 30.0 }), line),
            [Severity::High]
        );
    }

    #[test]
    fn between_fixes_the_line_is_carried_along() {
        for fix_from_m in [0.0, 3.0, 7.0, 11.0, 15.0, 19.0] {
            let rolls = Run { kmh: |_| Some(36.0), line, fix_every_m: 10.0, fix_from_m };
            assert_eq!(rolls.found(), [Severity::High], "{fix_from_m}");
            let kmh = |m| Some(if (54.0..57.0).contains(&m) { 2.0 } else { 36.0 });
            assert_eq!(Run { kmh, ..rolls }.found(), [], "{fix_from_m}");
        }
        // Known late: what was before it counts.
        let late = |m: f64| (m >= 56.0).then_some(60.0 - m);
        let kmh = |m| Some(if (42.0..44.0).contains(&m) { 2.0 } else { 30.0 });
        assert_eq!(run(kmh, late), []);
        assert_eq!(run(|_| Some(30.0), late), [Severity::High]);
        // Fixes that err by 10 m to and fro: the line is wherever it was said to be.
        let wanders = |m: f64| Some(60.0 - m + if (m / 8.0) % 2.0 < 1.0 { 5.0 } else { -5.0 });
        assert_eq!(run(|_| Some(40.0), wanders), [Severity::High]);
        assert_eq!(run(|m| Some(if (32.0..36.0).contains(&m) { 0.0 } else { 30.0 }), wanders), []);
    }

    #[test]
    fn unknown_is_nothing() {
        assert_eq!(run(|_| Some(40.0), |_| None), []);
        assert_eq!(run(|_| None, line), []);
        assert_eq!(run(|m| (!(50.0..70.0).contains(&m)).then_some(40.0), line), []);
        // Not known before the line: a queue may have stood there.
        assert_eq!(run(|m| (m > 45.0).then_some(40.0), line), []);
        // The line is known only once it is behind.
        assert_eq!(run(|_| Some(40.0), |m| line(m).filter(|l| *l < 0.0)), []);
        // It is left by another road before it is reached, or nothing more is heard of it.
        assert_eq!(run(|_| Some(40.0), |m| line(m).filter(|l| *l > 10.0)), []);
        let silent = Run { kmh: |_| Some(40.0), line, fix_every_m: 500.0, fix_from_m: 40.0 };
        assert_eq!(silent.found(), []);
        // Never surely beyond it.
        assert_eq!(run(|_| Some(40.0), |m| line(m).filter(|l| *l > -PASSED_M)), []);
        // What is said of it does not fit the way driven.
        assert_eq!(run(|_| Some(40.0), |m| Some(if m < 50.0 { 45.0 } else { -10.0 })), []);
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut rule = RollingStop::new(&RollingStopConfig::default());
            rule.on_line(MonoTime::ZERO, Some(wrong));
            assert!(rule.lines.is_empty());
        }
    }

    #[test]
    fn two_lines_are_two() {
        let two = |m: f64| Some(if m < 85.0 { 60.0 - m } else { 110.0 - m });
        assert_eq!(run(|_| Some(40.0), two), [Severity::High; 2]);
        let second = |m| Some(if (105.0..108.0).contains(&m) { 0.0 } else { 40.0 });
        assert_eq!(run(second, two), [Severity::High]);
    }

    #[test]
    fn what_was_far_off_or_not_followed_is_not_known() {
        // A stop 36 m before the line is none at it.
        let early = |m: f64| Some(if (20.0..24.0).contains(&m) { 1.0 } else { 30.0 });
        assert_eq!(run(early, line), [Severity::High]);
        // The position jumps back to before the line: it may not have been passed.
        let back = |m: f64| if m < 61.0 { line(m) } else { Some(150.0 - m) };
        assert_eq!(run(|_| Some(30.0), back), []);
        // At 20 km/h, followed but for these metres: 2 s take 11 m.
        for (name, missing, found) in [
            ("all the way", 0.0..0.0, 1),
            ("nearly", 55.0..65.0, 1),
            ("not over the line", 50.0..70.0, 0),
            ("not after it", 65.0..100.0, 0),
        ] {
            let mut rule = RollingStop::new(&RollingStopConfig::default());
            let mps = 20.0 * KMH_TO_MPS;
            let events: Vec<_> = (0..240_u32)
                .filter_map(|n| {
                    let (s, m) = (f64::from(n) / 10.0, f64::from(n) / 10.0 * mps);
                    let at = MonoTime::from_secs_f64(s);
                    let speed = Speed { at, mps, sigma_mps: 0.2, source: SpeedSource::Bus };
                    let followed = !missing.contains(&m);
                    if !followed {
                        return None;
                    }
                    rule.on_line(at, line(m));
                    rule.on_speed(at, Some(&speed))
                })
                .collect();
            assert_eq!(events.len(), found, "{name}: {events:?}");
        }
    }
}
