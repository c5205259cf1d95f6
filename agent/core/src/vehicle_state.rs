//! How the vehicle moves: a thin fusion of bus, GNSS and IMU (ISO 8855: x forward, y left, z up).
//!
//! Speed (VSS `Vehicle.Speed`) is the bus's while fresh, else GNSS's while fresh, else unknown.
//! Acceleration (`Vehicle.Acceleration.*`) is the IMU's through a first-order low-pass with the
//! exact step for the time passed, so that the sample rate does not change what comes out. After a
//! gap the filter starts anew and says nothing for three time constants.
//!
//! Not done: the road's grade is in the longitudinal value (a 10 % slope is 0.1 g), and so is a
//! mounting that `hw` did not level.
//!
//! INVARIANT: what is not finite or not possible for a road vehicle never gets in.

use std::time::Duration;

use temoin_proto::{
    samples::{GnssFix, ImuSample, VehicleSpeed},
    time::MonoTime,
};

use crate::{
    config::{HarshConfig, TimebaseConfig, secs},
    timebase::Admission,
};

/// Faster than any van: a wrong reading.
const MAX_SPEED_MPS: f64 = 120.0;
/// Beyond what the sensors in use can measure (16 g).
const MAX_ACCEL_MPS2: f64 = 160.0;

/// Which sensor a speed is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeedSource {
    /// The vehicle's bus.
    Bus,
    /// GNSS, speed over ground.
    Gnss,
}

/// A speed that can be believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// When it was measured.
    pub at: MonoTime,
    /// Metres a second, 0 or more.
    pub mps: f64,
    /// Which sensor.
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
    /// Yaw rate, left positive, rad/s, where there is a gyroscope. Not filtered.
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
    bus_fresh: Duration,
    gnss_fresh: Duration,
    imu_gap: Duration,
    low_pass: Duration,
    bus: Option<Speed>,
    gnss: Option<Speed>,
    filter: Option<LowPass>,
}

impl VehicleState {
    /// Nothing is known yet.
    pub fn new(timebase: &TimebaseConfig, harsh: &HarshConfig) -> Self {
        Self {
            bus_fresh: secs(timebase.bus_fresh_s),
            gnss_fresh: secs(timebase.gnss_fresh_s),
            imu_gap: secs(timebase.imu_gap_s),
            low_pass: secs(harsh.low_pass_s),
            bus: None,
            gnss: None,
            filter: None,
        }
    }

    /// Takes the bus's speed.
    pub fn on_bus(&mut self, s: &VehicleSpeed) {
        self.bus = possible(s.at, s.mps, SpeedSource::Bus);
    }

    /// Takes a fix. One without a speed says that the speed is not known.
    pub fn on_gnss(&mut self, fix: &GnssFix) {
        self.gnss = fix.speed_mps.and_then(|mps| possible(fix.at, mps, SpeedSource::Gnss));
    }

    /// Takes an IMU sample that was admitted as `admission`. None while the filter settles, and
    /// where the sample is not possible.
    pub fn on_imu(&mut self, s: &ImuSample, admission: Admission) -> Option<Motion> {
        let [x, y, _] = s.accel_mps2;
        if ![x, y].iter().all(|a| a.abs() <= MAX_ACCEL_MPS2) {
            self.filter = None;
            return None;
        }
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
        let [longitudinal_mps2, lateral_mps2] = filter.xy_mps2;
        (s.at.since(filter.since) >= self.low_pass * 3).then_some(Motion {
            at: s.at,
            longitudinal_mps2,
            lateral_mps2,
            yaw_rate_rad_s: s.gyro_rad_s.map(|[_, _, z]| z).filter(|z| z.is_finite()),
        })
    }

    /// The speed at `at`, where it is known.
    pub fn speed(&self, at: MonoTime) -> Option<Speed> {
        let fresh = |s: &Speed, within| at.since(s.at) <= within;
        self.bus
            .filter(|s| fresh(s, self.bus_fresh))
            .or_else(|| self.gnss.filter(|s| fresh(s, self.gnss_fresh)))
    }
}

fn possible(at: MonoTime, mps: f64, source: SpeedSource) -> Option<Speed> {
    (0.0..=MAX_SPEED_MPS).contains(&mps).then_some(Speed { at, mps, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: f64) -> MonoTime {
        MonoTime::from_secs_f64(s)
    }

    fn state() -> VehicleState {
        VehicleState::new(&TimebaseConfig::default(), &HarshConfig::default())
    }

    fn fix(at: f64, speed_mps: Option<f64>) -> GnssFix {
        GnssFix { speed_mps, ..GnssFix::new(t(at), 0.0, 0.0) }
    }

    #[test]
    fn speed_is_the_best_fresh_one_or_unknown() {
        let mut v = state();
        let known = |v: &VehicleState, at| v.speed(t(at)).map(|s| (s.mps, s.source));
        assert_eq!(known(&v, 0.0), None);
        v.on_gnss(&fix(1.0, Some(9.0)));
        v.on_bus(&VehicleSpeed { at: t(1.0), mps: 10.0 });
        assert_eq!(known(&v, 1.5), Some((10.0, SpeedSource::Bus)));
        assert_eq!(known(&v, 1.6), Some((9.0, SpeedSource::Gnss)));
        assert_eq!(known(&v, 3.0), Some((9.0, SpeedSource::Gnss)));
        assert_eq!(known(&v, 3.1), None);
        v.on_gnss(&fix(3.2, None));
        assert_eq!(known(&v, 3.2), None);
        for mps in [f64::NAN, -1.0, 1e9, f64::INFINITY] {
            v.on_bus(&VehicleSpeed { at: t(4.0), mps });
            assert_eq!(known(&v, 4.0), None, "{mps}");
        }
    }

    /// Feeds a step of 4 m/s² of braking at `hz` and gives the filtered value 0.2 s into it.
    fn braked_after_one_time_constant(hz: u32) -> f64 {
        let mut v = state();
        let mut last = 0.0;
        for n in 0..=(hz * 12 / 10) {
            let at = f64::from(n) / f64::from(hz);
            let x = if at > 1.0 { -4.0 } else { 0.0 };
            let s = ImuSample { at: t(at), accel_mps2: [x, 0.0, 9.81], gyro_rad_s: None };
            let admission =
                if n == 0 { Admission::First } else { Admission::Next(secs(1.0 / f64::from(hz))) };
            let motion = v.on_imu(&s, admission);
            assert_eq!(motion.is_some(), at >= 0.6, "{at}");
            last = motion.map_or(0.0, |m| m.longitudinal_mps2);
        }
        last
    }

    #[test]
    fn the_filter_does_not_depend_on_the_rate() {
        let expected = -4.0 * (1.0 - (-1.0_f64).exp());
        for hz in [10, 25, 50, 100, 200] {
            let got = braked_after_one_time_constant(hz);
            assert!((got - expected).abs() < 0.01, "{hz} Hz: {got}");
        }
    }

    #[test]
    fn a_gap_or_nonsense_starts_the_filter_anew() {
        for (bad, dt) in [([0.0; 3], 0.6), ([f64::NAN, 0.0, 0.0], 0.01), ([1e9, 0.0, 0.0], 0.01)] {
            let mut v = state();
            let mut feed = |at, accel_mps2, dt| {
                v.on_imu(
                    &ImuSample { at: t(at), accel_mps2, gyro_rad_s: None },
                    Admission::Next(secs(dt)),
                )
            };
            assert_eq!(feed(0.0, [0.0; 3], 0.1), None);
            assert!(feed(0.7, [0.0; 3], 0.1).is_some());
            assert_eq!(feed(0.8, bad, dt), None);
            assert_eq!(feed(0.9, [0.0; 3], 0.1), None);
        }
    }
}
