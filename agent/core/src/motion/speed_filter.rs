//! The vehicle's speed from everything that tells of it: a Kalman filter of two states.
//!
//! States are the speed v along the road and b, what the accelerometer shows forward that is no
//! change of speed: the road's grade (10 % is 0.98 m/s²), a mounting that is not level, the
//! sensor's bias. Between measurements v' = a - b, and b wanders. A measurement is compared with
//! the speed of its own moment, so that a receiver that speaks 0.3 s late does no harm. One whose
//! moment is doubtful may be off by as much as the speed changed since, and says nothing of b: the
//! changes of speed of another moment would be taken for a grade.
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

use crate::timebase::Timing;

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
    /// Whether it was true just then.
    pub timing: Timing,
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

/// What became of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Corrected {
    Believed,
    Refused,
    /// It is for a moment that is forgotten.
    TooOld,
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
        match self.correct(&measured) {
            Corrected::Believed => {
                *self.heard(measured.source) = Heard { agreed: Some(measured.at), refused: None };
                return true;
            }
            // Nothing is known of that moment any more: it agrees with nobody and belies nobody.
            Corrected::TooOld if measured.timing == Timing::Doubtful => return false,
            Corrected::TooOld | Corrected::Refused => {}
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
    fn correct(&mut self, measured: &Measured) -> Corrected {
        let Some(state) = &mut self.state else { return Corrected::Refused };
        let [vv, vb, bb] = state.p;
        // The change of speed between the measurement's moment and now, and how sure it is.
        let (since, since_variance) = if measured.at >= state.at {
            (0.0, 0.0)
        } else {
            let then = self.history.iter().rev().find(|(at, ..)| *at <= measured.at);
            let Some((then, changed, gathered)) = then else { return Corrected::TooOld };
            let late_s = state.at.since(*then).as_secs_f64();
            (self.changed_mps - changed, self.gathered - gathered + bb * late_s * late_s)
        };
        let moment_mps = match measured.timing {
            Timing::Steady => 0.0,
            Timing::Doubtful => {
                let meanwhile = self.history.iter().rev().take_while(|(at, ..)| *at > measured.at);
                let changed = meanwhile.map(|(_, changed, _)| self.changed_mps - changed);
                changed.fold(since.abs(), |most, after| most.max((since - after).abs()))
            }
        };
        let off = measured.mps + since - state.mps;
        let variance = vv + since_variance + measured.sigma_mps.powi(2) + moment_mps.powi(2);
        if off * off > GATE * GATE * variance {
            return Corrected::Refused;
        }
        let kv = vv / variance;
        let kb = match measured.timing {
            Timing::Steady => vb / variance,
            Timing::Doubtful => 0.0,
        };
        state.mps += kv * off;
        state.bias_mps2 += kb * off;
        state.p = [(1.0 - kv) * vv, (1.0 - kv) * vb, (bb - kb * vb).max(1e-6)];
        Corrected::Believed
    }
}

#[cfg(test)]
#[path = "speed_filter_tests.rs"]
mod tests;
