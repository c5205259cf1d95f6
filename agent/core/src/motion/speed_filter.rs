//! The vehicle's speed from everything that tells of it: a Kalman filter of two states.
//!
//! States are the speed v along the road and b, what the accelerometer shows forward that is no
//! change of speed: the road's grade (10 % is 0.98 m/s²), a mounting that is not level, the
//! sensor's bias. Between measurements v' = a - b, and b wanders. A measurement is compared with
//! the speed of its own moment, so that a receiver that speaks 0.3 s late does no harm.
//!
//! A measurement further off than 5 deviations is refused. If one source is refused for
//! 3 s with measurements that agree with each other, either the filter was wrong, and
//! starts anew from them, or another source still agrees with it: then two sources contradict each
//! other and the speed is unknown.
//!
//! INVARIANT: a speed is known only while its standard deviation is at most the limit given. NaN
//! and impossible numbers never get in.

use std::{collections::VecDeque, time::Duration};

use temoin_proto::time::MonoTime;

/// Faster than any van: a wrong reading.
pub const MAX_SPEED_MPS: f64 = 120.0;

/// Refused beyond so many standard deviations of the difference. A van brakes by 1 g at most: that
/// is in the accelerometer. Own choice: validate.
const GATE: f64 = 5.0;
/// A source that is refused for so long, and agrees with itself, is heard. Own choice.
const RESTART_AFTER: Duration = Duration::from_secs(3);
/// Measurements that must agree before GNSS alone starts the filter: one fix may be anything.
const STARTS_AFTER: u32 = 3;
/// A refused source that is silent for so long contradicts nobody any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(5);
/// A source that was believed this recently still agrees with the filter.
const AGREED_WITHIN: Duration = Duration::from_secs(1);
/// How far back a late measurement may reach.
const HISTORY: Duration = Duration::from_secs(2);
/// At most this many steps of it: 2 s at 200 Hz.
const MAX_HISTORY: usize = 400;

/// Noise of the integrated acceleration, (m/s)² a second: 0.2 m/s after 1 s, from vibration and
/// from a mounting that is 2 degrees off.
const ACCEL_NOISE: f64 = 0.04;
/// How b wanders, (m/s²)² a second: 0.25 m/s² after 1 s, a change of grade of 2.5 %.
const BIAS_NOISE: f64 = 0.06;
/// b in the beginning, m/s²: 5 degrees of mounting and grade.
const FIRST_BIAS: f64 = 0.85;
/// Without an accelerometer: (m/s)² a second. A van that drives on at 0.7 m/s² for a second.
const UNAIDED_NOISE: f64 = 0.5;

/// Which sensor a speed is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeedSource {
    /// The vehicle's bus.
    Bus,
    /// GNSS, speed over ground.
    Gnss,
}

/// A measured speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// When it was true.
    pub at: MonoTime,
    /// Metres a second, 0 or more.
    pub mps: f64,
    /// One standard deviation.
    pub sigma_mps: f64,
    /// Which sensor.
    pub source: SpeedSource,
}

/// The state at one moment.
#[derive(Clone, Copy, Debug)]
struct State {
    at: MonoTime,
    mps: f64,
    bias_mps2: f64,
    /// Variances and covariance: v v, v b, b b.
    p: [f64; 3],
}

/// Measurements of one source that were refused, one after the other.
#[derive(Clone, Copy, Debug)]
struct Refused {
    since: MonoTime,
    last: Measured,
    count: u32,
}

/// What is known of one source.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    agreed: Option<MonoTime>,
    refused: Option<Refused>,
}

impl Heard {
    /// The run of refused measurements with this one; a new run where it does not fit the last.
    fn refuse(&mut self, measured: &Measured) -> Refused {
        let fits = |r: &Refused| {
            let seconds = measured.at.since(r.last.at).as_secs_f64();
            // 5 m/s² is hard braking.
            let may_differ = GATE * measured.sigma_mps.hypot(r.last.sigma_mps) + 5.0 * seconds;
            seconds <= FORGOTTEN_AFTER.as_secs_f64()
                && (measured.mps - r.last.mps).abs() <= may_differ
        };
        let refused = match self.refused.filter(fits) {
            Some(r) => Refused { last: *measured, count: r.count.saturating_add(1), ..r },
            None => Refused { since: measured.at, last: *measured, count: 1 },
        };
        self.refused = Some(refused);
        refused
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct SpeedFilter {
    max_sigma_mps: f64,
    accel_gap: Duration,
    accel: Option<(MonoTime, f64)>,
    state: Option<State>,
    /// Change of speed since the state began, by the accelerometer.
    changed_mps: f64,
    /// And the variance that this has gathered, (m/s)².
    gathered: f64,
    /// Both, at each step.
    history: VecDeque<(MonoTime, f64, f64)>,
    bus: Heard,
    gnss: Heard,
}

/// The speed at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Metres a second, 0 or more.
    pub mps: f64,
    /// One standard deviation.
    pub sigma_mps: f64,
    /// What the accelerometer shows forward at a steady speed, m/s².
    pub bias_mps2: f64,
    /// One standard deviation of it.
    pub bias_sigma_mps2: f64,
}

impl SpeedFilter {
    /// Nothing is known yet. A speed is known while its deviation is at most `max_sigma_mps`; an
    /// acceleration holds for `accel_gap`.
    pub const fn new(max_sigma_mps: f64, accel_gap: Duration) -> Self {
        Self {
            max_sigma_mps,
            accel_gap,
            accel: None,
            state: None,
            changed_mps: 0.0,
            gathered: 0.0,
            history: VecDeque::new(),
            bus: Heard { agreed: None, refused: None },
            gnss: Heard { agreed: None, refused: None },
        }
    }

    /// Takes the forward acceleration as measured, or that it is not known.
    pub fn on_accel(&mut self, at: MonoTime, forward_mps2: Option<f64>) {
        self.advance(at);
        self.accel = forward_mps2.filter(|a| a.is_finite()).map(|a| (at, a));
    }

    /// Takes a measured speed; whether it was believed.
    pub fn on_measured(&mut self, measured: Measured) -> bool {
        let possible = (0.0..=MAX_SPEED_MPS).contains(&measured.mps)
            && measured.sigma_mps > 0.0
            && measured.sigma_mps.is_finite();
        if !possible {
            return false;
        }
        self.advance(measured.at);
        let believed = self.correct(&measured);
        if believed {
            *self.heard(measured.source) = Heard { agreed: Some(measured.at), refused: None };
            return true;
        }
        let refused = self.heard(measured.source).refuse(&measured);
        let lasts = measured.at.since(refused.since);
        let starts = match (&self.state, measured.source) {
            (None, SpeedSource::Bus) => true,
            (None, SpeedSource::Gnss) => refused.count >= STARTS_AFTER,
            (Some(_), _) => lasts >= RESTART_AFTER && !self.other_agrees(&measured),
        };
        if starts {
            self.restart(&measured);
        }
        starts
    }

    /// The speed at `at`, where it is known.
    pub fn estimate(&self, at: MonoTime) -> Option<Estimate> {
        let mut state = self.state?;
        self.predict(&mut state, at);
        let [vv, _, bb] = state.p;
        let sigma_mps = vv.sqrt();
        let known = sigma_mps <= self.max_sigma_mps && !self.is_contradicted(at);
        known.then_some(Estimate {
            mps: state.mps.max(0.0),
            sigma_mps,
            bias_mps2: state.bias_mps2,
            bias_sigma_mps2: bb.sqrt(),
        })
    }

    /// Whether two sources say different things.
    pub fn is_contradicted(&self, at: MonoTime) -> bool {
        [&self.bus, &self.gnss].into_iter().any(|heard| {
            heard.refused.is_some_and(|r| {
                r.last.at.since(r.since) >= RESTART_AFTER && at.since(r.last.at) < FORGOTTEN_AFTER
            })
        })
    }

    fn heard(&mut self, source: SpeedSource) -> &mut Heard {
        match source {
            SpeedSource::Bus => &mut self.bus,
            SpeedSource::Gnss => &mut self.gnss,
        }
    }

    fn other_agrees(&self, measured: &Measured) -> bool {
        let other = match measured.source {
            SpeedSource::Bus => &self.gnss,
            SpeedSource::Gnss => &self.bus,
        };
        other.agreed.is_some_and(|agreed| measured.at.since(agreed) <= AGREED_WITHIN)
    }

    fn restart(&mut self, measured: &Measured) {
        let p = [measured.sigma_mps.powi(2), 0.0, FIRST_BIAS.powi(2)];
        let bias_mps2 = self.state.map_or(0.0, |s| s.bias_mps2);
        self.state = Some(State { at: measured.at, mps: measured.mps, bias_mps2, p });
        self.changed_mps = 0.0;
        self.history.clear();
        self.bus.refused = None;
        self.gnss.refused = None;
        self.heard(measured.source).agreed = Some(measured.at);
    }

    /// Goes on to `at` and remembers the way.
    fn advance(&mut self, at: MonoTime) {
        let Some(mut state) = self.state else { return };
        if at <= state.at {
            return;
        }
        let (before, seconds) = (state.mps, at.since(state.at).as_secs_f64());
        let noise = if self.predict(&mut state, at) { ACCEL_NOISE } else { UNAIDED_NOISE };
        self.changed_mps += state.mps - before;
        self.gathered += noise * seconds;
        self.state = Some(state);
        self.history.push_back((at, self.changed_mps, self.gathered));
        while self.history.len() > MAX_HISTORY
            || self.history.front().is_some_and(|(t, ..)| at.since(*t) > HISTORY)
        {
            self.history.pop_front();
        }
    }

    /// Whether the accelerometer helped.
    fn predict(&self, state: &mut State, to: MonoTime) -> bool {
        if to <= state.at {
            return true;
        }
        let seconds = to.since(state.at).as_secs_f64();
        let accel = self.accel.filter(|(at, _)| to.since(*at) <= self.accel_gap);
        let [vv, vb, bb] = state.p;
        if let Some((_, forward_mps2)) = accel {
            state.mps += (forward_mps2 - state.bias_mps2) * seconds;
            state.p = [
                vv - 2.0 * seconds * vb + seconds * seconds * bb + ACCEL_NOISE * seconds,
                vb - seconds * bb,
                bb + BIAS_NOISE * seconds,
            ];
        } else {
            // What the speed does then says nothing of b.
            state.p = [vv + UNAIDED_NOISE * seconds, 0.0, bb + BIAS_NOISE * seconds];
        }
        // A grade of 40 % and a mounting of 20 degrees are not more than this.
        state.p[2] = state.p[2].min(4.0);
        state.at = to;
        accel.is_some()
    }

    /// Corrects the state by a measurement; nothing where it must be refused.
    fn correct(&mut self, measured: &Measured) -> bool {
        let Some(state) = &mut self.state else { return false };
        let [vv, vb, bb] = state.p;
        // The change of speed between the measurement's moment and now, and how sure it is.
        let (since, since_variance) = if measured.at >= state.at {
            (0.0, 0.0)
        } else {
            let then = self.history.iter().rev().find(|(at, ..)| *at <= measured.at);
            let Some((then, changed, gathered)) = then else { return false };
            let late_s = state.at.since(*then).as_secs_f64();
            (self.changed_mps - changed, self.gathered - gathered + bb * late_s * late_s)
        };
        let off = measured.mps + since - state.mps;
        let variance = vv + since_variance + measured.sigma_mps.powi(2);
        if off * off > GATE * GATE * variance {
            return false;
        }
        let (kv, kb) = (vv / variance, vb / variance);
        state.mps += kv * off;
        state.bias_mps2 += kb * off;
        state.p = [(1.0 - kv) * vv, (1.0 - kv) * vb, (bb - kb * vb).max(1e-6)];
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KMH_TO_MPS;

    fn t(s: f64) -> MonoTime {
        MonoTime::from_secs_f64(s)
    }

    fn bus(s: f64, mps: f64) -> Measured {
        Measured { at: t(s), mps, sigma_mps: 0.2, source: SpeedSource::Bus }
    }

    fn gnss(s: f64, mps: f64) -> Measured {
        Measured { source: SpeedSource::Gnss, ..bus(s, mps) }
    }

    /// Feeds a filter at 100 Hz up to `to_s`: what is felt forward, and what is heard, at a second.
    fn fed(
        to_s: f64,
        felt: impl Fn(f64) -> Option<f64>,
        heard: impl Fn(u32) -> Vec<Measured>,
    ) -> SpeedFilter {
        let mut filter = SpeedFilter::new(5.0 * KMH_TO_MPS, Duration::from_millis(200));
        for n in 0.. {
            let s = f64::from(n) / 100.0;
            if s > to_s {
                break;
            }
            if let Some(mps2) = felt(s) {
                filter.on_accel(t(s), Some(mps2));
            }
            for measured in heard(n) {
                filter.on_measured(measured);
            }
        }
        filter
    }

    fn each(n: u32, of: u32, measured: impl Fn(f64) -> Measured) -> Vec<Measured> {
        if n.is_multiple_of(of) { vec![measured(f64::from(n) / 100.0)] } else { vec![] }
    }

    #[test]
    fn receivers_must_agree_with_themselves_before_they_are_believed() {
        for (name, speeds, known) in [
            ("one", vec![20.0], false),
            ("two", vec![20.0, 20.5], false),
            ("three", vec![20.0, 20.5, 21.0], true),
            ("three that jump", vec![20.0, 60.0, 5.0], false),
        ] {
            let last_s = speeds.len() as f64 - 1.0;
            let filter = fed(
                last_s,
                |_| Some(0.5),
                |n| {
                    let speed = |s: f64| gnss(s, speeds[n as usize / 100]);
                    each(n, 100, speed)
                },
            );
            assert_eq!(filter.estimate(t(last_s)).is_some(), known, "{name}");
        }
        // A bus is believed at once.
        let filter = fed(0.0, |_| None, |n| each(n, 100, |s| bus(s, 20.0)));
        assert!(filter.estimate(t(0.0)).is_some());
    }

    #[test]
    fn a_grade_is_told_from_a_change_of_speed() {
        for grade_mps2 in [0.98, -0.98] {
            let filter = fed(60.0, |_| Some(grade_mps2), |n| each(n, 10, |s| bus(s, 20.0)));
            let told = filter.estimate(t(60.0)).unwrap();
            assert!((told.bias_mps2 - grade_mps2).abs() < 0.1, "{told:?}");
            assert!((told.mps - 20.0).abs() < 0.2, "{told:?}");
            // For a moment the accelerometer carries on alone.
            let told = filter.estimate(t(60.15)).unwrap();
            assert!((told.mps - 20.0).abs() < 0.2, "{told:?}");
        }
    }

    #[test]
    fn a_late_speed_is_held_against_its_own_moment() {
        // Gains 2 m/s² from 10 s on; a receiver speaks 0.6 s late.
        let mps = |s: f64| 10.0 + 2.0 * (s - 10.0).clamp(0.0, 8.0);
        let felt = |s: f64| Some(if (10.0..18.0).contains(&s) { 2.0 } else { 0.0 });
        for to_s in [12.05, 14.05, 16.05, 19.05] {
            let filter = fed(to_s, felt, |n| each(n, 20, |s| gnss(s - 0.6, mps(s - 0.6))));
            let told = filter.estimate(t(to_s)).unwrap();
            assert!((told.mps - mps(to_s)).abs() < 0.35, "{to_s}: {told:?}");
        }
    }

    #[test]
    fn a_speed_is_unknown_when_nothing_tells_of_it_any_more() {
        let heard = |n| if n > 2000 { vec![] } else { each(n, 10, |s| bus(s, 20.0)) };
        for (name, aided, known_s, unknown_s) in
            [("alone", false, 22.0, 25.0), ("aided", true, 22.0, 40.0)]
        {
            let felt = |s: f64| (aided || s <= 20.0).then_some(0.0);
            assert!(fed(known_s, felt, heard).estimate(t(known_s)).is_some(), "{name}");
            assert_eq!(fed(unknown_s, felt, heard).estimate(t(unknown_s)), None, "{name}");
        }
        // What was felt last does not go on for ever.
        let filter = fed(20.0, |s| (s < 19.9).then_some(if s > 19.0 { 3.0 } else { 0.0 }), heard);
        let (now, then) = (filter.estimate(t(20.0)).unwrap(), filter.estimate(t(22.0)).unwrap());
        assert!((then.mps - now.mps).abs() < 0.8, "{now:?} {then:?}");
    }

    #[test]
    fn a_filter_that_was_wrong_starts_anew_and_two_sources_that_differ_are_not_known() {
        // The bus fell silent at 20 m/s; the receiver says 8.
        let wrong = |n| {
            if n < 1000 { each(n, 10, |s| bus(s, 20.0)) } else { each(n, 50, |s| gnss(s, 8.0)) }
        };
        assert!(fed(12.0, |_| Some(0.0), wrong).estimate(t(12.0)).unwrap().mps > 15.0, "not yet");
        let told = fed(14.6, |_| Some(0.0), wrong).estimate(t(14.6)).unwrap();
        assert!((told.mps - 8.0).abs() < 1.0, "{told:?}");
        // Both go on, until the receiver falls silent.
        let both = |n: u32| {
            let mut heard = each(n, 10, |s| bus(s, 20.0));
            if (1000..2000).contains(&n) {
                heard.extend(each(n, 50, |s| gnss(s, 8.0)));
            }
            heard
        };
        for (to_s, known) in [(12.0, true), (14.6, false), (19.6, false), (26.0, true)] {
            let filter = fed(to_s, |_| Some(0.0), both);
            assert_eq!(filter.estimate(t(to_s)).is_some(), known, "{to_s}");
            assert_eq!(filter.is_contradicted(t(to_s)), !known, "{to_s}");
        }
    }

    #[test]
    fn what_is_no_speed_is_not_believed() {
        let mut filter = fed(10.0, |_| Some(0.0), |n| each(n, 10, |s| bus(s, 20.0)));
        for bad in [
            Measured { sigma_mps: 0.0, ..bus(10.1, 20.0) },
            Measured { sigma_mps: f64::NAN, ..bus(10.1, 20.0) },
            Measured { sigma_mps: f64::INFINITY, ..bus(10.1, 20.0) },
            bus(10.1, -1.0),
            bus(10.1, f64::NAN),
            bus(10.1, 121.0),
            // A jump.
            bus(10.1, 30.0),
        ] {
            assert!(!filter.on_measured(bad), "{bad:?}");
        }
        assert!(filter.on_measured(bus(10.1, 20.1)));
    }

    #[test]
    fn without_an_accelerometer_nothing_is_learned_of_its_bias() {
        // A grade is learned; then the accelerometer falls silent and the van brakes.
        let mps = |s: f64| 20.0 - 2.5 * (s - 20.3).clamp(0.0, 4.0);
        let felt = |s: f64| (s <= 20.0).then_some(0.5);
        let bias = |to_s: f64| {
            let filter = fed(to_s, felt, |n| each(n, 100, |s| bus(s, mps(s))));
            filter.estimate(t(to_s)).unwrap().bias_mps2
        };
        let before = bias(20.0);
        for to_s in [21.0, 23.0, 30.0] {
            let off = bias(to_s) - before;
            assert!(off.abs() < 0.02, "{to_s}: {off}");
        }
    }

    #[test]
    fn a_late_speed_without_an_accelerometer_is_believed_less() {
        let moved = |late_s: f64| {
            let mut filter = fed(20.0, |_| None, |n| each(n, 10, |s| bus(s, 20.0)));
            filter.on_accel(t(20.1), None);
            filter.on_accel(t(21.0), None);
            filter.on_measured(gnss(21.0 - late_s, 21.0));
            filter.estimate(t(21.0)).unwrap().mps - 20.0
        };
        assert!(moved(0.0) > 0.8 && moved(0.9) < 0.7 * moved(0.0), "{} {}", moved(0.0), moved(0.9));
    }
}
