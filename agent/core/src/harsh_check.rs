//! Whether the vehicle really did what the accelerometer showed.
//!
//! A bump, a pothole, a slammed door or a unit that is knocked shakes the sensor and leaves the
//! vehicle as it was. So a harsh manoeuvre becomes an event only when something else agrees: of
//! braking and acceleration, the measured speed changed by at least half of what the
//! acceleration comes to; of cornering, speed times turn rate is as much of the lateral one, by the
//! gyroscope or, without one, by GNSS course. A manoeuvre that nothing can be held against within
//! 2.5 s is unknown, and makes no event.
//!
//! INVARIANT: a manoeuvre waits at most 2.5 s; the event keeps its own times.

use std::{
    collections::VecDeque,
    f64::consts::{PI, TAU},
    time::Duration,
};

use temoin_proto::{
    events::{Event, EventKind, Number},
    samples::{GnssFix, STANDARD_GRAVITY_MPS2},
    time::MonoTime,
};

use crate::{
    config::KMH_TO_MPS,
    motion::speed_filter::{MAX_SPEED_MPS, Measured, SpeedSource},
    vehicle_state::{Motion, Speed},
};

/// The share of the felt that must be measured. Own choice: a low-pass, a receiver's delay and a
/// pitching van take up to a third off; what shakes only the sensor leaves none.
const AGREES: f64 = 0.5;
/// How long a manoeuvre waits for a speed or a course: two of a receiver that sends one a second,
/// half a second late.
const WAITS: Duration = Duration::from_millis(2500);
/// Speeds later than this after a manoeuvre tell of what came after it: a second between two fixes.
const COUNTS: Duration = Duration::from_millis(1200);
/// A bus speed's step, m/s: 0.5 km/h.
const BUS_STEP_MPS: f64 = 0.14;
/// A change of speed below so many standard deviations says nothing yet.
const LEAST_SIGMAS: f64 = 3.0;
/// Motions that are kept: 8 s at 100 Hz.
const MAX_KEPT: usize = 800;
/// Courses that are kept: 6 s at 10 Hz.
const MAX_COURSES: usize = 60;
/// A receiver's course is noise below this.
const MIN_COURSE_MPS: f64 = 2.0;

/// What the vehicle felt and did at one moment.
#[derive(Clone, Copy, Debug)]
struct Felt {
    at: MonoTime,
    longitudinal_mps2: f64,
    lateral_mps2: f64,
    /// Speed times turn rate, where both are known.
    inward_mps2: Option<f64>,
}

/// A course over ground.
#[derive(Clone, Copy, Debug)]
struct Course {
    at: MonoTime,
    /// Counter-clockwise, as turn rates are.
    rad: f64,
    mps: f64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct HarshCheck {
    felt: VecDeque<Felt>,
    courses: VecDeque<Course>,
    waiting: Vec<Event>,
}

/// What the comparison says.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    /// It happened; this was measured of it.
    Agrees(Number),
    /// It did not.
    Belied,
    /// Not known yet.
    NotYet,
}

impl HarshCheck {
    /// Takes the motion at one sample.
    pub fn on_motion(&mut self, motion: &Motion, speed: Option<&Speed>) {
        let inward_mps2 = motion.yaw_rate_rad_s.zip(speed).map(|(rate, s)| rate * s.mps);
        self.felt.push_back(Felt {
            at: motion.at,
            longitudinal_mps2: motion.longitudinal_mps2,
            lateral_mps2: motion.lateral_mps2,
            inward_mps2,
        });
        if self.felt.len() > MAX_KEPT {
            self.felt.pop_front();
        }
    }

    /// Takes a course over ground.
    pub fn on_fix(&mut self, fix: &GnssFix) {
        if let (Some(course_deg), Some(mps)) = (fix.course_deg, fix.speed_mps)
            && course_deg.is_finite()
            && (MIN_COURSE_MPS..MAX_SPEED_MPS).contains(&mps)
        {
            self.courses.push_back(Course { at: fix.at, rad: -course_deg.to_radians(), mps });
            if self.courses.len() > MAX_COURSES {
                self.courses.pop_front();
            }
        }
    }

    /// Takes a manoeuvre that was felt.
    pub fn wait(&mut self, felt: Event) {
        self.waiting.push(felt);
    }

    /// The motion is unknown: what waits cannot be judged.
    pub fn unknown(&mut self) {
        *self = Self::default();
    }

    /// Judges what waits; gives the manoeuvres that happened.
    pub fn judge(&mut self, now: MonoTime, measured: &VecDeque<Measured>) -> Vec<Event> {
        let mut happened = Vec::new();
        let waiting = std::mem::take(&mut self.waiting);
        for mut event in waiting {
            let verdict = if event.kind == EventKind::HarshCornering {
                self.turned(&event)
            } else {
                self.changed_speed(&event, measured)
            };
            match verdict {
                Verdict::Agrees(number) => {
                    event.numbers.push(number);
                    happened.push(event);
                }
                Verdict::NotYet if now.since(event.end) < WAITS => self.waiting.push(event),
                Verdict::NotYet | Verdict::Belied => {}
            }
        }
        happened
    }

    /// Compares the measured change of speed with the felt one, over the manoeuvre and on as far as
    /// measurements go.
    fn changed_speed(&self, event: &Event, measured: &VecDeque<Measured>) -> Verdict {
        let before = measured.iter().rev().find(|m| m.at <= event.start);
        let counts = event.end..=event.end + COUNTS;
        let after = measured.iter().rev().find(|m| counts.contains(&m.at));
        let (Some(before), Some(after)) = (before, after) else { return Verdict::NotYet };
        // What is felt may be undone before the speed is measured, as over a bump: its most counts.
        let all = [event.end, after.at];
        let felt = self.integral(before.at, all, |f| Some(f.longitudinal_mps2));
        let Some(felt_mps) = felt else { return Verdict::NotYet };
        let changed_mps = after.mps - before.mps;
        let sigma_mps = noise_mps(before).hypot(noise_mps(after));
        if felt_mps.abs() * AGREES < LEAST_SIGMAS * sigma_mps && !agrees(changed_mps, felt_mps) {
            return Verdict::NotYet;
        }
        if agrees(changed_mps, felt_mps) {
            Verdict::Agrees(Number::new("speed_change", changed_mps / KMH_TO_MPS, "km/h"))
        } else {
            Verdict::Belied
        }
    }

    /// Compares speed times turn rate with the lateral acceleration during the manoeuvre.
    fn turned(&self, event: &Event) -> Verdict {
        let by_gyroscope = self.integral(event.start, [event.end; 2], |f| f.inward_mps2);
        let (from, to, turned) = match by_gyroscope {
            Some(turned) => (event.start, event.end, turned),
            None => {
                let before = self.courses.iter().rev().find(|c| c.at <= event.start);
                let after = self.courses.iter().find(|c| c.at >= event.end);
                let (Some(before), Some(after)) = (before, after) else { return Verdict::NotYet };
                let turn = (after.rad - before.rad + PI).rem_euclid(TAU) - PI;
                (before.at, after.at, turn * before.mps.midpoint(after.mps))
            }
        };
        let felt = self.integral(from, [to; 2], |f| Some(f.lateral_mps2));
        let Some(felt) = felt else { return Verdict::NotYet };
        if agrees(turned, felt) {
            let g = turned / to.since(from).as_secs_f64() / STANDARD_GRAVITY_MPS2;
            Verdict::Agrees(Number::new("by_turn", g, "g"))
        } else {
            Verdict::Belied
        }
    }

    /// The integral of something felt from one moment on, to where it is largest between the last
    /// two; `None` where it is not known all the while.
    fn integral(
        &self,
        from: MonoTime,
        [least, to]: [MonoTime; 2],
        what: impl Fn(&Felt) -> Option<f64>,
    ) -> Option<f64> {
        let mut last: Option<Felt> = None;
        let (mut sum, mut largest, mut reaches_back) = (0.0, 0.0_f64, false);
        for felt in self.felt.iter().filter(|f| f.at <= to) {
            if let Some(then) = last.filter(|then| felt.at > from && felt.at > then.at) {
                let begin = then.at.max(from);
                sum += what(felt)? * felt.at.since(begin).as_secs_f64();
            }
            reaches_back |= felt.at <= from;
            if felt.at < least || sum.abs() > largest.abs() {
                largest = sum;
            }
            last = Some(*felt);
        }
        (reaches_back && last.is_some_and(|l| to.since(l.at) <= Duration::from_millis(200)))
            .then_some(largest)
    }
}

/// What a measured speed errs by from one moment to the next: a bus errs in steps, and by a part that
/// is the same before and after.
const fn noise_mps(measured: &Measured) -> f64 {
    match measured.source {
        SpeedSource::Bus => BUS_STEP_MPS,
        SpeedSource::Gnss => measured.sigma_mps,
    }
}

/// Same direction, and at least [`AGREES`] of it.
fn agrees(measured: f64, felt: f64) -> bool {
    measured * felt > 0.0 && measured.abs() >= AGREES * felt.abs()
}
