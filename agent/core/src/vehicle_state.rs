//! How the vehicle moves, by all sensors together (ISO 8855: x forward, y left, z up).
//!
//! Speed (VSS `Vehicle.Speed`) is fused by [`crate::motion::speed_filter`] from the bus, GNSS and the
//! accelerometer. Acceleration (`Vehicle.Acceleration.*`) is the IMU's, turned into the vehicle's
//! axes by what [`crate::motion::mount`] learned, through a first-order low-pass with the exact
//! step for the time passed, so that the sample rate does not change what comes out; without what is
//! no change of motion: the road's grade and camber, a mounting that is not level, the sensor's
//! bias. Forward these are what the speed filter finds; sideways, the slow mean of what speed times
//! turn rate does not explain. After a gap the filter starts anew and says nothing for three time
//! constants.
//!
//! INVARIANT: what is not finite or not possible for a road vehicle never gets in. INVARIANT: while
//! the unit's axes are not known, no acceleration is.

use std::{collections::VecDeque, time::Duration};

use temoin_proto::{
    samples::{ControlSample, ControlState, Gear, GnssFix, ImuSample, VehicleSpeed},
    time::MonoTime,
};

pub use crate::motion::speed_filter::SpeedSource;
use crate::{
    config::{CoreConfig, KMH_TO_MPS, secs},
    motion::{
        mount::{LearnedMount, MountChange, MountLearner},
        speed_filter::{Estimate, MAX_SPEED_MPS, Measured, SpeedFilter},
        standstill::Standstill,
        yaw::YawRate,
    },
    timebase::{Admission, Timing},
};

/// Beyond what the sensors in use can measure (16 g).
pub const MAX_ACCEL_MPS2: f64 = 160.0;
/// A bus speed's error: a step of 0.5 km/h, and 1 % of tyre and calibration.
const BUS_SIGMA: [f64; 2] = [0.1, 0.01];
/// A GNSS speed's error where the receiver says nothing, m/s, for each HDOP. Doppler speeds under an
/// open sky err by 0.05 to 0.1 m/s. Own choice: validate.
const GNSS_SIGMA_MPS: f64 = 0.15;
/// And its delay against the accelerometer, seconds: while the speed changes, that is an error.
const GNSS_DELAY_S: f64 = 0.2;
/// Fixes are compared with those about so long before.
const FIXES_S: f64 = 1.0;
/// A position's error where the receiver says nothing, metres.
const FIX_SIGMA_M: f64 = 5.0;
/// What speed times turn rate does not explain sideways is followed this slowly: camber and roll.
const CAMBER_S: f64 = 20.0;
/// Over longer gaps between measured speeds the way is not known.
const MAX_BETWEEN: Duration = Duration::from_secs(5);
/// Measured speeds that are kept for judging manoeuvres.
const KEPT: Duration = Duration::from_secs(8);
/// 8 s at 100 Hz.
const MAX_KEPT: usize = 800;

/// A speed that can be believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// The moment it is for.
    pub at: MonoTime,
    /// Metres a second, 0 or more.
    pub mps: f64,
    /// One standard deviation.
    pub sigma_mps: f64,
    /// Which sensor it rests on most.
    pub source: SpeedSource,
}

/// Filtered motion at one IMU sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Motion {
    /// The sample's time.
    pub at: MonoTime,
    /// Longitudinal, forward positive, m/s².
    pub longitudinal_mps2: f64,
    /// Lateral, left positive, m/s².
    pub lateral_mps2: f64,
    /// Yaw rate, left positive, rad/s, where there is a gyroscope. Without its bias; not filtered.
    pub yaw_rate_rad_s: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
struct LowPass {
    since: MonoTime,
    xy_mps2: [f64; 2],
}

/// See the module.
#[derive(Clone, Debug)]
pub struct VehicleState {
    imu_gap: Duration,
    low_pass: Duration,
    mount: MountLearner,
    speed: SpeedFilter,
    standstill: Standstill,
    yaw: YawRate,
    filter: Option<LowPass>,
    /// Sideways, what is no turn, m/s².
    camber_mps2: f64,
    bus: Option<(MonoTime, f64)>,
    reversing: bool,
    fixes: VecDeque<GnssFix>,
    heard: Option<Measured>,
    measured: VecDeque<Measured>,
    driven_m: f64,
}

impl VehicleState {
    /// Nothing is known yet but, perhaps, how the unit sat when it was last switched off.
    pub fn new(config: &CoreConfig, learned: Option<LearnedMount>) -> Self {
        let imu_gap = secs(config.timebase.imu_gap_s);
        let max_sigma_mps = config.timebase.max_speed_error_kmh * KMH_TO_MPS;
        Self {
            imu_gap,
            low_pass: secs(config.harsh.low_pass_s),
            mount: MountLearner::new(&config.mount, learned),
            speed: SpeedFilter::new(max_sigma_mps, imu_gap),
            standstill: Standstill::default(),
            yaw: YawRate::default(),
            filter: None,
            camber_mps2: 0.0,
            bus: None,
            reversing: false,
            fixes: VecDeque::new(),
            heard: None,
            measured: VecDeque::new(),
            driven_m: 0.0,
        }
    }

    /// Forgets how the vehicle moved. How the unit sits says nothing of anybody, and neither does the
    /// sum of all ways.
    pub fn forget(&mut self, config: &CoreConfig) {
        let driven_m = self.driven_m;
        *self = Self { driven_m, ..Self::new(config, self.mount.learned()) };
    }

    /// Takes the bus's speed, true at its own time.
    pub fn on_bus(&mut self, s: &VehicleSpeed) -> Option<MountChange> {
        self.on_bus_timed(s, Timing::Steady)
    }

    /// The same where its time may be doubtful.
    pub fn on_bus_timed(&mut self, s: &VehicleSpeed, timing: Timing) -> Option<MountChange> {
        match timing {
            Timing::Steady => self.bus = Some((s.at, s.mps)),
            // It does not say whether the vehicle stands now.
            Timing::Doubtful => self.bus = None,
        }
        let sigma_mps = BUS_SIGMA[0] + BUS_SIGMA[1] * s.mps.abs();
        let (at, mps, source) = (s.at, s.mps, SpeedSource::Bus);
        self.on_measured(Measured { at, mps, sigma_mps, source, timing })
    }

    /// Takes a control of the vehicle.
    pub const fn on_control(&mut self, s: &ControlSample) {
        if let ControlState::Gear(gear) = s.state {
            self.reversing = matches!(gear, Gear::Reverse);
        }
    }

    /// Takes a fix. One without a speed says nothing; neither does one whose speed its position
    /// belies. It was true at its own time.
    pub fn on_gnss(&mut self, fix: &GnssFix) -> Option<MountChange> {
        self.on_gnss_timed(fix, Timing::Steady)
    }

    /// The same where its time may be doubtful.
    pub fn on_gnss_timed(&mut self, fix: &GnssFix, timing: Timing) -> Option<MountChange> {
        let mps = fix.speed_mps.filter(|mps| mps.is_finite())?;
        let credible = self.agrees_with_position(fix, mps);
        self.keep_fix(fix);
        if !credible {
            return None;
        }
        let mps = if self.stands(fix.at) { 0.0 } else { mps };
        let own = GNSS_SIGMA_MPS * fix.hdop.filter(|h| h.is_finite()).unwrap_or(1.0).max(1.0);
        let said = fix.speed_error_mps.filter(|e| e.is_finite() && *e > 0.0);
        let bias_mps2 = self.speed.estimate(fix.at).map_or(0.0, |e| e.bias_mps2);
        let changing_mps2 = self.filter.map_or(0.0, |f| f.xy_mps2[0] - bias_mps2);
        let sigma_mps = said.unwrap_or(own).hypot(GNSS_DELAY_S * changing_mps2);
        if let Some(course_deg) = fix.course_deg
            && timing == Timing::Steady
        {
            self.yaw.on_course(fix.at, course_deg, mps, fix.speed_error_mps);
        }
        let (at, source) = (fix.at, SpeedSource::Gnss);
        self.on_measured(Measured { at, mps, sigma_mps, source, timing })
    }

    /// Takes an IMU sample in the unit's axes that was admitted as `admission`. None while the
    /// filter settles or the unit's axes are not known, and where the sample is not possible.
    pub fn on_imu(&mut self, s: &ImuSample, admission: Admission) -> Option<Motion> {
        if !s.accel_mps2.iter().all(|a| a.abs() <= MAX_ACCEL_MPS2) {
            self.filter = None;
            self.speed.on_accel(s.at, None);
            return None;
        }
        self.mount.on_imu(s);
        self.standstill.on_imu(s);
        let Some(axes) = self.mount.axes() else {
            self.filter = None;
            self.speed.on_accel(s.at, None);
            return None;
        };
        let [x, y, _] = axes.vehicle(s.accel_mps2);
        let turn = s.gyro_rad_s.map(|g| axes.vehicle(g)[2]);
        let stands = self.stands(s.at);
        let yaw_rate_rad_s = turn.and_then(|rate| self.yaw.on_gyro(s.at, rate, stands));
        // In reverse, what pushes forward slows down.
        self.speed.on_accel(s.at, Some(if self.reversing { -x } else { x }));

        let previous = match (self.filter, admission) {
            (Some(f), Admission::Next(dt)) if dt <= self.imu_gap => Some((f, dt)),
            (None | Some(_), Admission::First | Admission::Next(_)) => None,
        };
        let filter = previous.map_or(LowPass { since: s.at, xy_mps2: [x, y] }, |(f, dt)| {
            // Zero time constant: dt / 0 is infinite and the weight 1.
            let weight = 1.0 - (-dt.as_secs_f64() / self.low_pass.as_secs_f64()).exp();
            let [fx, fy] = f.xy_mps2;
            LowPass { since: f.since, xy_mps2: [fx + weight * (x - fx), fy + weight * (y - fy)] }
        });
        self.filter = Some(filter);
        let [filtered_x, filtered_y] = filter.xy_mps2;
        let estimate = self.speed.estimate(s.at);
        if let (Some((_, dt)), Some(rate), Some(speed)) = (previous, yaw_rate_rad_s, estimate) {
            let unexplained = filtered_y - rate * speed.mps;
            let weight = 1.0 - (-dt.as_secs_f64() / CAMBER_S).exp();
            self.camber_mps2 += weight * (unexplained - self.camber_mps2);
        }
        let bias_mps2 = estimate.filter(|_| !self.reversing).map_or(0.0, |e| e.bias_mps2);
        (s.at.since(filter.since) >= self.low_pass * 3).then_some(Motion {
            at: s.at,
            longitudinal_mps2: filtered_x - bias_mps2,
            lateral_mps2: filtered_y - self.camber_mps2,
            yaw_rate_rad_s,
        })
    }

    /// The speed at `at`, where it is known.
    pub fn speed(&self, at: MonoTime) -> Option<Speed> {
        let Estimate { mps, sigma_mps, .. } = self.speed.estimate(at)?;
        let source = if self.bus_mps(at).is_some() { SpeedSource::Bus } else { SpeedSource::Gnss };
        Some(Speed { at, mps, sigma_mps, source })
    }

    /// Whether the vehicle is known to stand.
    pub fn stands(&self, at: MonoTime) -> bool {
        match self.bus_mps(at) {
            Some(mps) => mps <= 0.1,
            None => self.standstill.stands(at),
        }
    }

    /// Measured speeds of the last seconds that were believed, in order of arrival.
    pub const fn measured(&self) -> &VecDeque<Measured> {
        &self.measured
    }

    /// The way driven, metres, as far as speeds were measured.
    pub const fn driven_m(&self) -> f64 {
        self.driven_m
    }

    /// How the unit sits.
    pub const fn mount(&self) -> &MountLearner {
        &self.mount
    }

    /// The speed that was measured last at a moment that is sure, believed or not: in a crash the
    /// filter may not follow at once.
    pub const fn heard(&self) -> Option<&Measured> {
        self.heard.as_ref()
    }

    fn on_measured(&mut self, measured: Measured) -> Option<MountChange> {
        if measured.timing == Timing::Steady && (0.0..=MAX_SPEED_MPS).contains(&measured.mps) {
            self.heard = Some(measured);
        }
        if !self.speed.on_measured(measured) {
            return None;
        }
        if let Some(last) = self.measured.back()
            && measured.at > last.at
            && measured.at.since(last.at) <= MAX_BETWEEN
        {
            let seconds = measured.at.since(last.at).as_secs_f64();
            self.driven_m += last.mps.midpoint(measured.mps) * seconds;
        }
        self.measured.push_back(measured);
        while self.measured.len() > MAX_KEPT
            || self.measured.front().is_some_and(|m| measured.at.since(m.at) > KEPT)
        {
            self.measured.pop_front();
        }
        // Backwards the regression would point the other way; at another moment, anywhere.
        let change = match measured.timing {
            Timing::Steady if !self.reversing => self.mount.on_speed(measured.at, measured.mps),
            Timing::Steady | Timing::Doubtful => None,
        };
        if change == Some(MountChange::Turned) {
            self.filter = None;
            self.camber_mps2 = 0.0;
        }
        change
    }

    /// The bus's speed, where it was heard within the last second.
    fn bus_mps(&self, at: MonoTime) -> Option<f64> {
        let fresh = |(seen, _): &(MonoTime, f64)| at.since(*seen) <= Duration::from_secs(1);
        self.bus.filter(fresh).map(|(_, mps)| mps)
    }

    /// Whether the way between two fixes is as long as the speed says.
    fn agrees_with_position(&self, fix: &GnssFix, mps: f64) -> bool {
        let before = self.fixes.iter().rev().find(|f| fix.at.since(f.at).as_secs_f64() >= FIXES_S);
        let Some(before) = before else { return true };
        let seconds = fix.at.since(before.at).as_secs_f64();
        let said_m = mps.midpoint(before.speed_mps.unwrap_or(mps)) * seconds;
        let sigma = |f: &GnssFix| f.position_error_m.unwrap_or(FIX_SIGMA_M);
        let may_differ_m = 3.0 * sigma(fix).hypot(sigma(before)) + 0.3 * said_m;
        // Two positions may jump and the speed be right; one that stays belies a speed.
        said_m - before.place().way_to(fix.place()).length_m() <= may_differ_m
    }

    fn keep_fix(&mut self, fix: &GnssFix) {
        if self.fixes.back().is_some_and(|last| last.at >= fix.at) {
            return;
        }
        self.fixes.push_back(*fix);
        while self.fixes.len() > 64
            || self.fixes.get(1).is_some_and(|f| fix.at.since(f.at).as_secs_f64() > FIXES_S)
        {
            self.fixes.pop_front();
        }
    }
}

#[cfg(test)]
#[path = "vehicle_state_tests.rs"]
mod tests;
