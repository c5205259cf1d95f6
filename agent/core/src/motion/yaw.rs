//! The turn rate about the vehicle's vertical axis, freed of the gyroscope's bias: a Kalman filter of
//! one state, the bias. It is measured where the vehicle stands (there the rate is 0), and by the
//! change of GNSS course while it drives.
//!
//! INVARIANT: without a gyroscope nothing is said.

use std::time::Duration;

use temoin_proto::time::MonoTime;

/// The bias in the beginning, rad/s: 1 degree a second, of a cheap sensor.
const FIRST_BIAS: f64 = 0.017;
/// How it wanders, (rad/s)² a second: 0.3 degrees a second in 10 minutes.
const BIAS_NOISE: f64 = 4.5e-8;
/// Noise of one standing second, rad/s.
const STANDING_NOISE: f64 = 0.003;
/// Courses further apart in time are not compared.
const MAX_BETWEEN: Duration = Duration::from_secs(3);
/// And not while the receiver is slower than this, m/s: its course is noise.
const MIN_COURSE_MPS: f64 = 5.0;
/// Deviation of the velocity across the course, m/s, where the receiver says nothing.
const ACROSS_MPS: f64 = 0.15;
/// No road vehicle turns faster, rad/s.
const MAX_RATE: f64 = 3.0;
/// Gyroscope readings that are further apart leave a gap.
const MAX_GAP: Duration = Duration::from_millis(500);

/// A course and how far the gyroscope had turned by then.
#[derive(Clone, Copy, Debug)]
struct Course {
    at: MonoTime,
    rad: f64,
    sigma_rad: f64,
    turned_rad: f64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct YawRate {
    last: Option<(MonoTime, f64)>,
    /// By the gyroscope, bias included, since the last gap.
    turned_rad: f64,
    bias: f64,
    variance: f64,
    course: Option<Course>,
}

impl Default for YawRate {
    fn default() -> Self {
        Self {
            last: None,
            turned_rad: 0.0,
            bias: 0.0,
            variance: FIRST_BIAS * FIRST_BIAS,
            course: None,
        }
    }
}

impl YawRate {
    /// Takes the gyroscope's rate about the vertical, left positive, rad/s; the rate without its bias.
    pub fn on_gyro(&mut self, at: MonoTime, rate: f64, stands: bool) -> Option<f64> {
        if rate.is_nan() || rate.abs() > MAX_RATE {
            self.gap();
            return None;
        }
        match self.last.map(|(then, _)| at.since(then)) {
            Some(gap) if gap <= MAX_GAP => {
                let seconds = gap.as_secs_f64();
                self.turned_rad += rate * seconds;
                self.variance += BIAS_NOISE * seconds;
                if stands && seconds > 0.0 {
                    self.correct(rate, STANDING_NOISE * STANDING_NOISE / seconds);
                }
            }
            Some(_) | None => self.gap(),
        }
        self.last = Some((at, rate));
        Some(rate - self.bias)
    }

    /// Takes a course over ground, degrees clockwise from north.
    pub fn on_course(&mut self, at: MonoTime, course_deg: f64, mps: f64, across_mps: Option<f64>) {
        // A gyroscope that is silent did not count the turn.
        let counted = self.last.is_some_and(|(then, _)| at.since(then) <= MAX_GAP);
        let usable = course_deg.is_finite() && mps >= MIN_COURSE_MPS && counted;
        if !usable {
            self.course = None;
            return;
        }
        let sigma_rad = across_mps.unwrap_or(ACROSS_MPS).max(0.05) / mps;
        let now =
            Course { at, rad: -course_deg.to_radians(), sigma_rad, turned_rad: self.turned_rad };
        if let Some(then) = self.course.filter(|then| at > then.at) {
            let between = at.since(then.at);
            if between < Duration::from_secs(1) {
                return;
            }
            if between <= MAX_BETWEEN {
                let seconds = between.as_secs_f64();
                let turn = std::f64::consts::TAU;
                let by_course = (now.rad - then.rad + turn / 2.0).rem_euclid(turn) - turn / 2.0;
                let off = (now.turned_rad - then.turned_rad - by_course) / seconds;
                // A receiver's delay moves the course against the gyroscope: a turn proves little.
                let delay = 0.3 * (by_course / seconds).abs();
                let noise = (now.sigma_rad.hypot(then.sigma_rad) / seconds).hypot(delay);
                if off.abs() < 5.0 * (self.variance.sqrt().hypot(noise)) {
                    self.correct(off, noise * noise);
                }
            }
        }
        self.course = Some(now);
    }

    /// One standard deviation of the rate, rad/s.
    pub fn sigma(&self) -> f64 {
        self.variance.sqrt()
    }

    fn gap(&mut self) {
        self.last = None;
        self.course = None;
    }

    fn correct(&mut self, bias: f64, noise: f64) {
        let gain = self.variance / (self.variance + noise);
        self.bias += gain * (bias - self.bias);
        self.variance *= 1.0 - gain;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: f64) -> MonoTime {
        MonoTime::from_secs_f64(s)
    }

    #[test]
    fn the_bias_is_found_standing_and_driving() {
        let mut standing = YawRate::default();
        for n in 0..500_u32 {
            standing.on_gyro(t(f64::from(n) / 100.0), 0.012, true);
        }
        assert!((standing.bias - 0.012).abs() < 0.001, "{standing:?}");
        assert!(standing.sigma() < 0.003);

        // A wide left bend of 2 degrees a second over north: the course falls.
        let mut driving = YawRate::default();
        let rate = 2.0_f64.to_radians();
        for n in 0..6000_u32 {
            let s = f64::from(n) / 100.0;
            driving.on_gyro(t(s), rate + 0.012, false);
            if n % 100 == 0 {
                driving.on_course(t(s), (10.0 - 2.0 * s).rem_euclid(360.0), 20.0, None);
            }
        }
        assert!((driving.bias - 0.012).abs() < 0.003, "{driving:?}");
        let told = driving.on_gyro(t(60.0), rate + 0.012, false).unwrap();
        assert!((told - rate).abs() < 0.003);
    }

    #[test]
    fn nonsense_teaches_nothing() {
        let mut yaw = YawRate::default();
        assert_eq!(yaw.on_gyro(t(0.0), f64::NAN, true), None);
        assert_eq!(yaw.on_gyro(t(0.1), 50.0, true), None);
        for n in 0..100_u32 {
            let s = f64::from(n);
            yaw.on_gyro(t(s), 0.0, false);
            yaw.on_course(t(s), if n % 2 == 0 { f64::NAN } else { 90.0 }, 20.0, None);
            // Slow, and a course that jumps about.
            yaw.on_course(t(s + 0.5), f64::from(n * 77 % 360), 1.0, None);
        }
        assert!(yaw.bias.abs() < 1e-9, "{yaw:?}");
    }

    /// The bias after a minute at 100 Hz with a course a second: gyroscope, course and speed by
    /// seconds.
    fn learned(
        rate: impl Fn(f64) -> f64,
        course_deg: impl Fn(f64) -> f64,
        mps: f64,
        stands: bool,
    ) -> f64 {
        let mut yaw = YawRate::default();
        for n in 0..6000_u32 {
            let s = f64::from(n) / 100.0;
            yaw.on_gyro(t(s), rate(s), stands);
            if n % 100 == 0 {
                yaw.on_course(t(s), course_deg(s).rem_euclid(360.0), mps, None);
            }
        }
        yaw.bias
    }

    #[test]
    fn only_what_tells_of_the_bias_teaches_it() {
        let turn = 2.0_f64.to_radians();
        for (name, bias) in [
            ("no courses and no standing", learned(|_| 0.012, |_| f64::NAN, 20.0, false)),
            ("a van that crawls", learned(|_| 0.0, |s| s, 2.0, false)),
            (
                "a course that jumps",
                learned(|_| 0.0, |s| if s < 30.0 { 0.0 } else { 90.0 }, 20.0, false),
            ),
            // The receiver is half a second late: a bend comes and goes.
            (
                "a late receiver",
                learned(
                    |s| if (20.0..40.0).contains(&s) { turn } else { 0.0 },
                    |s| -2.0 * (s - 20.5).clamp(0.0, 20.0),
                    20.0,
                    false,
                ),
            ),
        ] {
            assert!(bias.abs() < 0.002, "{name}: {bias}");
        }
        assert!((learned(|_| 0.012, |_| 359.9, 20.0, false) - 0.012).abs() < 0.002);
        assert!(
            (learned(|_| 0.012, |s| if s % 2.0 < 1.0 { 359.95 } else { 0.05 }, 20.0, false)
                - 0.012)
                .abs()
                < 0.003,
            "over north"
        );
        assert!((learned(|_| 0.012, |_| f64::NAN, 0.0, true) - 0.012).abs() < 0.001, "stands");
    }

    #[test]
    fn across_a_gap_no_courses_are_compared() {
        // The van turned a little while the gyroscope was silent, or said nonsense, from one tenth
        // of a second to another.
        for (nonsense, gap) in
            [(false, 100..111), (true, 100..111), (false, 96..103), (true, 96..103)]
        {
            let mut yaw = YawRate::default();
            for n in 0..200_u32 {
                let s = f64::from(n) / 10.0;
                if !gap.contains(&n) {
                    yaw.on_gyro(t(s), 0.0, false);
                } else if nonsense {
                    assert_eq!(yaw.on_gyro(t(s), 9.0, false), None);
                }
                if n % 10 == 5 {
                    yaw.on_course(t(s), if n < 100 { 40.0 } else { 42.0 }, 20.0, None);
                }
            }
            assert!(yaw.bias.abs() < 1e-4, "{nonsense} {gap:?}: {yaw:?}");
        }
    }
}
