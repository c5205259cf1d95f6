//! How the unit is screwed in: which of its axes point forward, left and up in the vehicle.
//!
//! The unit may sit at any angle. Up is where the specific force points on the mean of minutes:
//! gravity, for accelerations and grades cancel out. Forward is the level direction in which the
//! force grows when the vehicle gains speed; and when it turns at speed, the force points to the
//! inside of the turn. Both are linear regressions of the force's level part h on what speed and
//! turn rate say: h = a · forward + v · ω · left. The mean of the last seconds is taken off both
//! sides, so that grade and bias do not count.
//!
//! INVARIANT: turning the unit's axes by any rotation turns what is learned by the same one: no
//! axis is special. INVARIANT: nothing is learned from what is not measured.
//!
//! What was learned ([`LearnedMount`]) outlives a restart at the edge. A unit that was turned
//! since then is noticed by gravity, or by turns and brakings that point elsewhere.

use glam::{DMat3, DVec3};
use serde::{Deserialize, Serialize};
use temoin_proto::{
    samples::{ImuSample, STANDARD_GRAVITY_MPS2},
    time::MonoTime,
};

use crate::config::MountConfig;

/// Stretches between two measured speeds that are compared: at least this long, so that the
/// speed's steps are small against its change. Own choice.
const STRETCH_S: f64 = 0.5;
/// And at most: what happened in between is not known.
const LONGEST_STRETCH_S: f64 = 3.0;
/// Up follows the mean of this long. Own choice: longer than most hills.
const UP_S: f64 = 300.0;
/// Grades and biases change over this long; manoeuvres are shorter. Own choice.
const MEAN_S: f64 = 15.0;
/// The force counts for up only while speed and course are so steady, m/s².
const STEADY_MPS2: f64 = 0.5;
/// Old evidence fades over this long, so that a mounting that creeps is followed.
const FADES_S: f64 = 1800.0;
/// And over this long in what notices that the unit was turned.
const RECENT_S: f64 = 120.0;
/// A force whose size is further from gravity is no steady one.
const MAX_OFF_GRAVITY_MPS2: f64 = 2.0;
/// Seconds of steady force before it is called gravity.
const GRAVITY_AFTER_S: f64 = 5.0;
/// Seconds of evidence before anything is believed.
const LEAST_EVIDENCE_S: f64 = 20.0;
/// Forces are believed to be explained by speed and turns only in this ratio of sizes: half as
/// much or twice as much is something else.
const GAINS: std::ops::RangeInclusive<f64> = 0.5..=2.0;

/// The level part of a direction forward: below this it points up or down.
const LEAST_LEVEL: f64 = 0.3;

/// What was learned, for the next start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnedMount {
    /// The vehicle's up in the unit's axes, of length 1.
    pub up: [f64; 3],
    /// The vehicle's forward in the unit's axes, of length 1 and level.
    pub forward: [f64; 3],
    /// One standard deviation of forward around up, degrees.
    pub sigma_deg: f64,
}

/// The unit's axes in the vehicle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axes {
    to_vehicle: DMat3,
    /// One standard deviation around up, degrees.
    pub sigma_deg: f64,
}

impl Axes {
    /// Axes from up and forward; `None` where they span nothing.
    fn new(up: DVec3, forward: DVec3, sigma_deg: f64) -> Option<Self> {
        let up = up.try_normalize()?;
        let level = forward.try_normalize()?.reject_from_normalized(up);
        // Nearly upright, what is left of it is noise.
        let forward = level.try_normalize().filter(|_| level.length() > LEAST_LEVEL)?;
        let left = up.cross(forward);
        // NaN is not finite either.
        left.is_finite().then(|| Self {
            to_vehicle: DMat3::from_cols(forward, left, up).transpose(),
            sigma_deg,
        })
    }

    /// A vector of the unit in the vehicle's axes: forward, left, up (ISO 8855).
    #[must_use]
    pub fn vehicle(&self, unit: [f64; 3]) -> [f64; 3] {
        (self.to_vehicle * DVec3::from(unit)).to_array()
    }
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountChange {
    /// The axes are known well enough now.
    Aligned,
    /// The unit was turned: everything is learned anew.
    Turned,
}

/// Sums over a stretch between two measured speeds.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    force: DVec3,
    turn: DVec3,
    seconds: f64,
    turned: bool,
}

/// Regression of the level force on what speed and turns say.
#[derive(Clone, Copy, Debug, Default)]
struct Evidence {
    /// Where forward points, times `energy`.
    forward: DVec3,
    /// Squares of what was to be seen, (m/s²)² s.
    energy: f64,
    /// Squares of what was seen, (m/s²)² s.
    power: f64,
    seconds: f64,
    /// Weighted by time: how long a stretch is.
    stretches: f64,
}

impl Evidence {
    fn fade(&mut self, by: f64) {
        self.forward *= by;
        self.energy *= by;
        self.power *= by;
        self.seconds *= by;
        self.stretches *= by;
    }

    /// `forward_mps2` and `left_mps2` are what speed and turns say, `level` what was felt.
    fn add(&mut self, up: DVec3, forward_mps2: f64, left_mps2: f64, level: DVec3, seconds: f64) {
        self.forward += (level * forward_mps2 + level.cross(up) * left_mps2) * seconds;
        self.energy += (forward_mps2 * forward_mps2 + left_mps2 * left_mps2) * seconds;
        self.power += level.length_squared() * seconds;
        self.seconds += seconds;
        self.stretches += 1.0;
    }

    /// One standard deviation of forward, degrees; `None` where it cannot be believed.
    fn sigma_deg(&self) -> Option<f64> {
        let along = self.forward.length();
        let gain = along / self.energy;
        if self.seconds < LEAST_EVIDENCE_S || !GAINS.contains(&gain) {
            return None;
        }
        // What is left unexplained lies on two axes; one of them turns forward. Neighbouring
        // stretches err alike, so that every second one counts.
        let unexplained = (self.power - along * along / self.energy).max(0.0) / 2.0;
        let variance = unexplained / (gain * gain * self.energy * self.stretches / 2.0);
        Some(variance.sqrt().to_degrees())
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct MountLearner {
    config: MountConfig,
    /// Mean specific force; its direction is up.
    up: DVec3,
    up_seconds: f64,
    /// The same of the last seconds, for noticing that the unit was turned.
    recent_up: DVec3,
    off_seconds: f64,
    stretch: Stretch,
    last_imu: Option<MonoTime>,
    last_speed: Option<(MonoTime, f64)>,
    /// Of the last seconds: level force, and what was to be seen forward and left.
    mean: Option<(DVec3, f64, f64)>,
    evidence: Evidence,
    recent: Evidence,
    /// What was known at the start.
    prior: Option<(DVec3, f64)>,
    axes: Option<Axes>,
}

impl MountLearner {
    /// Knows what the installer says, or what was learned before, or nothing.
    pub fn new(config: &MountConfig, learned: Option<LearnedMount>) -> Self {
        let said = config.aligned.then_some(LearnedMount {
            up: DVec3::Z.to_array(),
            forward: DVec3::X.to_array(),
            sigma_deg: config.aligned_sigma_deg,
        });
        let known = learned.or(said).and_then(|l| {
            Some((l, Axes::new(DVec3::from(l.up), DVec3::from(l.forward), l.sigma_deg)?))
        });
        let up = known.map(|(l, _)| DVec3::from(l.up).normalize() * STANDARD_GRAVITY_MPS2);
        Self {
            config: config.clone(),
            up: up.unwrap_or_default(),
            // What was learned is followed as slowly as if it had been seen for a while.
            up_seconds: if up.is_some() { UP_S / 5.0 } else { 0.0 },
            recent_up: up.unwrap_or_default(),
            off_seconds: 0.0,
            stretch: Stretch::default(),
            last_imu: None,
            last_speed: None,
            mean: None,
            evidence: Evidence::default(),
            recent: Evidence::default(),
            prior: known.map(|(l, _)| (DVec3::from(l.forward), l.sigma_deg)),
            axes: known.map(|(_, axes)| axes),
        }
    }

    /// The axes, where they are known well enough.
    pub const fn axes(&self) -> Option<&Axes> {
        self.axes.as_ref()
    }

    /// The mean specific force of the last minutes in the unit's axes: gravity. None until it was
    /// steady for some seconds.
    pub fn gravity(&self) -> Option<[f64; 3]> {
        (self.up_seconds >= GRAVITY_AFTER_S).then(|| self.up.to_array())
    }

    /// What is to outlive a restart: only what is known.
    pub fn learned(&self) -> Option<LearnedMount> {
        let axes = self.axes?;
        let rows = axes.to_vehicle.transpose();
        Some(LearnedMount {
            up: rows.z_axis.to_array(),
            forward: rows.x_axis.to_array(),
            sigma_deg: axes.sigma_deg,
        })
    }

    /// Takes a sample in the unit's axes.
    pub fn on_imu(&mut self, s: &ImuSample) {
        let seconds = self.last_imu.map_or(0.0, |last| s.at.since(last).as_secs_f64());
        self.last_imu = Some(s.at);
        let force = DVec3::from(s.accel_mps2);
        if !force.is_finite() || seconds <= 0.0 || seconds > LONGEST_STRETCH_S {
            self.stretch = Stretch::default();
            return;
        }
        let turn = s.gyro_rad_s.map(DVec3::from).filter(|t| t.is_finite());
        self.stretch.force += force * seconds;
        self.stretch.turn += turn.unwrap_or_default() * seconds;
        self.stretch.turned |= turn.is_some();
        self.stretch.seconds += seconds;
    }

    /// Takes a measured speed.
    pub fn on_speed(&mut self, at: MonoTime, mps: f64) -> Option<MountChange> {
        let Some((then, then_mps)) = self.last_speed.filter(|(then, _)| *then < at) else {
            self.last_speed = Some((at, mps));
            self.stretch = Stretch::default();
            return None;
        };
        let seconds = at.since(then).as_secs_f64();
        if seconds < STRETCH_S {
            return None;
        }
        self.last_speed = Some((at, mps));
        let stretch = std::mem::take(&mut self.stretch);
        // Samples must have come all the while.
        if seconds > LONGEST_STRETCH_S || (stretch.seconds / seconds - 1.0).abs() > 0.3 {
            return None;
        }
        let force = stretch.force / stretch.seconds;
        let turn = stretch.turned.then_some(stretch.turn / stretch.seconds);
        let gained_mps2 = (mps - then_mps) / seconds;
        let turned = self.learn_up(force, turn, gained_mps2, mps, seconds);
        if turned {
            return Some(self.start_anew());
        }
        let up = self.up.try_normalize()?;
        let turn_rad_s = turn.map_or(0.0, |t| t.dot(up));
        let inward_mps2 = turn_rad_s * then_mps.midpoint(mps);
        self.learn_forward(
            up,
            force.reject_from_normalized(up),
            (gained_mps2, inward_mps2),
            seconds,
        )
    }

    /// Follows gravity; whether the unit was turned.
    fn learn_up(
        &mut self,
        force: DVec3,
        turn: Option<DVec3>,
        gained_mps2: f64,
        mps: f64,
        seconds: f64,
    ) -> bool {
        let turning_mps2 = turn.map_or(0.0, |t| t.length() * mps);
        let steady = gained_mps2.abs() <= STEADY_MPS2
            && turning_mps2 <= STEADY_MPS2
            && (force.length() - STANDARD_GRAVITY_MPS2).abs() <= MAX_OFF_GRAVITY_MPS2;
        if !steady {
            return false;
        }
        if self.up_seconds == 0.0 {
            self.recent_up = force;
        }
        self.recent_up += (force - self.recent_up) * (seconds / self.config.turned_s).min(1.0);
        let off_deg = self.recent_up.angle_between(self.up).to_degrees();
        // What looks like a ramp, or like a unit that was turned, moves up but little.
        let believed =
            if off_deg > self.config.turned_deg / 2.0 { seconds / 10.0 } else { seconds };
        self.up_seconds = (self.up_seconds + believed).min(UP_S);
        self.up += (force - self.up) * (believed / self.up_seconds).min(1.0);
        // A turned unit stays turned; a ramp is left again.
        self.off_seconds =
            if off_deg > self.config.turned_deg { self.off_seconds + seconds } else { 0.0 };
        self.off_seconds >= self.config.turned_s
    }

    fn learn_forward(
        &mut self,
        up: DVec3,
        level: DVec3,
        (forward_mps2, left_mps2): (f64, f64),
        seconds: f64,
    ) -> Option<MountChange> {
        let (mean_level, mean_forward, mean_left) =
            self.mean.unwrap_or((level, forward_mps2, left_mps2));
        let weight = 1.0 - (-seconds / MEAN_S).exp();
        self.mean = Some((
            mean_level + (level - mean_level) * weight,
            mean_forward + (forward_mps2 - mean_forward) * weight,
            mean_left + (left_mps2 - mean_left) * weight,
        ));
        let (level, forward_mps2, left_mps2) =
            (level - mean_level, forward_mps2 - mean_forward, left_mps2 - mean_left);
        for (evidence, fades_s) in [(&mut self.evidence, FADES_S), (&mut self.recent, RECENT_S)] {
            evidence.fade((-seconds / fades_s).exp());
            evidence.add(up, forward_mps2, left_mps2, level, seconds);
        }
        self.conclude(up)
    }

    fn conclude(&mut self, up: DVec3) -> Option<MountChange> {
        let (forward, sigma_deg) = self.believed(up)?;
        if self.belies_prior(up) {
            return Some(self.start_anew());
        }
        if let Some(recent_deg) = self.recent.sigma_deg()
            && recent_deg <= self.config.aligned_within_deg
        {
            let off_deg = self.recent.forward.angle_between(forward).to_degrees();
            if off_deg > self.config.turned_deg + 2.0 * recent_deg.hypot(sigma_deg) {
                return Some(self.start_anew());
            }
        }
        if sigma_deg > self.config.aligned_within_deg && self.axes.is_none() {
            return None;
        }
        let was_known = self.axes.is_some();
        self.axes = Axes::new(up, forward, sigma_deg).or(self.axes);
        (!was_known && self.axes.is_some()).then_some(MountChange::Aligned)
    }

    /// Whether what is seen is sure, and far from what was known at the start.
    fn belies_prior(&self, up: DVec3) -> bool {
        let (Some((prior, prior_deg)), Some(seen_deg)) = (self.prior, self.evidence.sigma_deg())
        else {
            return false;
        };
        let off_deg =
            self.evidence.forward.angle_between(prior.reject_from_normalized(up)).to_degrees();
        seen_deg <= self.config.aligned_within_deg
            && off_deg > self.config.turned_deg + 2.0 * seen_deg.hypot(prior_deg)
    }

    /// Forward by what was known before and by the evidence, each by its weight.
    fn believed(&self, up: DVec3) -> Option<(DVec3, f64)> {
        let prior = self.prior.and_then(|(forward, sigma_deg)| {
            Some((forward.reject_from_normalized(up).try_normalize()?, sigma_deg))
        });
        let seen = self.evidence.sigma_deg().and_then(|sigma_deg| {
            Some((self.evidence.forward.reject_from_normalized(up).try_normalize()?, sigma_deg))
        });
        match (prior, seen) {
            (Some((a, a_deg)), Some((b, b_deg))) => {
                // Never surer than a tenth of a degree: weights stay finite.
                let weight = |deg: f64| deg.max(0.1).powi(-2);
                let both = a * weight(a_deg) + b * weight(b_deg);
                Some((both, (weight(a_deg) + weight(b_deg)).sqrt().recip()))
            }
            (prior, seen) => prior.or(seen),
        }
    }

    /// Forgets everything: the unit sits otherwise than it did.
    fn start_anew(&mut self) -> MountChange {
        let config = MountConfig { aligned: false, ..self.config.clone() };
        let (up, last_imu) = (self.recent_up, self.last_imu);
        *self = Self { config: self.config.clone(), ..Self::new(&config, None) };
        self.up = up;
        self.recent_up = up;
        self.up_seconds = self.config.turned_s;
        self.last_imu = last_imu;
        MountChange::Turned
    }
}

#[cfg(test)]
#[path = "mount_tests.rs"]
mod tests;
