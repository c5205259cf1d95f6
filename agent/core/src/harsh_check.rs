//! Whether the vehicle really did what the accelerometer showed.
//!
//! A bump, a pothole, a slammed door or a unit that is knocked shakes the sensor and leaves the
//! vehicle as it was. So a harsh manoeuvre becomes an event only when something else agrees: of
//! braking and acceleration, the measured speed changed by at least half of what the
//! acceleration comes to; of cornering, speed times turn rate is as much of the lateral one, by the
//! gyroscope or, without one, by GNSS course. A manoeuvre that nothing can be held against within
//! 2.5 s is unknown, and makes no event. A speed or a course whose time is doubtful bears nothing
//! out: a change of speed of another moment is not that of the manoeuvre.
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
    timebase::Timing,
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
/// What was felt holds for so long: the longest gap of the accelerometer.
const FELT_HOLDS: Duration = Duration::from_millis(200);
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
        let latest = |counts: &dyn Fn(MonoTime) -> bool| {
            measured.iter().rev().find(|m| m.timing == Timing::Steady && counts(m.at))
        };
        let before = latest(&|at| at <= event.start);
        // Where the accelerometer is late, speeds are there before what was felt then.
        let felt_to = self.felt.back().map_or(event.end, |felt| felt.at);
        let counts = event.end..=(event.end + COUNTS).min(felt_to + FELT_HOLDS);
        let after = latest(&|at| counts.contains(&at));
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
        (reaches_back && last.is_some_and(|l| to.since(l.at) <= FELT_HOLDS)).then_some(largest)
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

#[cfg(test)]
mod tests {
    use temoin_proto::events::Severity;

    use super::*;

    /// A manoeuvre that is felt from 10.0 s and told at 10.3 s, and all that is measured meanwhile.
    struct Case<'a> {
        kind: EventKind,
        /// What is felt at a second: forward, left and the turn rate, where a gyroscope tells it.
        felt: &'a dyn Fn(f64) -> (f64, f64, Option<f64>),
        /// Speeds: when measured, when heard, m/s, standard deviation.
        speeds: Vec<(f64, f64, f64, f64)>,
        source: SpeedSource,
        /// Courses: when, degrees, m/s.
        courses: Vec<(f64, f64, f64)>,
        /// How the vehicle moves is not known for a moment then.
        unknown_s: Option<f64>,
    }

    fn t(s: f64) -> MonoTime {
        MonoTime::from_secs_f64(s)
    }

    impl Case<'_> {
        /// The second at which it was said, of 20.
        fn said(&self) -> Option<f64> {
            let mut check = HarshCheck::default();
            let mut measured = VecDeque::new();
            let mut said = None;
            for n in 0..1000_u32 {
                let (s, before) = (f64::from(n) / 50.0, f64::from(n) / 50.0 - 0.02);
                let now = |at: f64| before < at && at <= s;
                for (at, _, mps, sigma_mps) in self.speeds.iter().filter(|m| now(m.1)) {
                    let (at, mps, sigma_mps) = (t(*at), *mps, *sigma_mps);
                    let (source, timing) = (self.source, Timing::Steady);
                    measured.push_back(Measured { at, mps, sigma_mps, source, timing });
                }
                for (at, course_deg, mps) in self.courses.iter().filter(|c| now(c.0)) {
                    let fix = GnssFix::new(t(*at), 48.0, 2.0);
                    let (course_deg, speed_mps) = (Some(*course_deg), Some(*mps));
                    check.on_fix(&GnssFix { course_deg, speed_mps, ..fix });
                }
                if self.unknown_s.is_some_and(now) {
                    check.unknown();
                }
                let (longitudinal_mps2, lateral_mps2, yaw_rate_rad_s) = (self.felt)(s);
                let motion = Motion { at: t(s), longitudinal_mps2, lateral_mps2, yaw_rate_rad_s };
                let mps = 20.0;
                let speed = Speed { at: t(s), mps, sigma_mps: 0.1, source: self.source };
                check.on_motion(&motion, Some(&speed));
                if now(10.3) {
                    check.wait(Event {
                        kind: self.kind,
                        start: t(10.0),
                        end: t(10.3),
                        severity: Severity::Low,
                        confidence: 0.7,
                        rule: "test/1",
                        numbers: vec![],
                    });
                }
                let happened = check.judge(t(s), &measured);
                if let Some(event) = happened.first() {
                    assert!(said.is_none() && happened.len() == 1, "twice");
                    assert_eq!((event.start, event.end), (t(10.0), t(10.3)), "its own times");
                    said = Some(s);
                }
            }
            assert!(check.waiting.is_empty(), "it waits for ever");
            said
        }
    }

    fn during(from_s: f64, to_s: f64, s: f64, v: f64) -> f64 {
        if (from_s..to_s).contains(&s) { v } else { 0.0 }
    }

    /// Speeds at `hz` of a van at 20 m/s that changes by `mps2` from 10 s to 12 s.
    fn speeds(hz: u32, mps2: f64, sigma_mps: f64, late_s: f64) -> Vec<(f64, f64, f64, f64)> {
        let at = (0..20 * hz).map(|n| f64::from(n) / f64::from(hz));
        at.map(|s| (s, s + late_s, 20.0 + mps2 * (s - 10.0).clamp(0.0, 2.0), sigma_mps)).collect()
    }

    #[test]
    fn braking_is_held_against_the_measured_speed() {
        use SpeedSource::{Bus, Gnss};
        let brakes = |s: f64| (during(10.0, 12.0, s, -4.0), 0.0, None);
        let keeps = |keep: &dyn Fn(f64) -> bool, mut all: Vec<(f64, f64, f64, f64)>| {
            all.retain(|m| keep(m.0));
            all
        };
        let once = |at: f64| move |s: f64| s < 10.1 || (s - at).abs() < 1e-9;
        for (name, source, speeds, said_s) in [
            ("bus", Bus, speeds(20, -4.0, 0.3, 0.0), Some(10.3)),
            ("bus, most of it", Bus, speeds(20, -2.9, 0.3, 0.0), Some(10.3)),
            ("bus, little of it", Bus, speeds(20, -1.4, 0.3, 0.0), None),
            ("bus, the van rolls on", Bus, speeds(20, 0.0, 0.3, 0.0), None),
            ("bus, the van gains", Bus, speeds(20, 4.0, 0.3, 0.0), None),
            ("a fix a second", Gnss, speeds(1, -4.0, 0.15, 0.0), Some(11.0)),
            ("and late", Gnss, speeds(1, -4.0, 0.15, 1.6), Some(12.6)),
            ("too late", Gnss, speeds(1, -4.0, 0.15, 2.0), None),
            ("no speed", Gnss, vec![], None),
            ("none before", Gnss, keeps(&|s| s > 10.1, speeds(10, -4.0, 0.15, 0.0)), None),
            ("one soon after", Gnss, keeps(&once(11.4), speeds(10, -4.0, 0.15, 0.0)), Some(11.4)),
            ("one long after", Gnss, keeps(&once(11.8), speeds(10, -4.0, 0.15, 0.0)), None),
            // A receiver that cannot tell such a change says nothing.
            ("a poor receiver", Gnss, speeds(5, 0.0, 9.0, 0.0), None),
        ] {
            let (kind, courses, unknown_s) = (EventKind::HarshBraking, vec![], None);
            let case = Case { kind, felt: &brakes, speeds, source, courses, unknown_s };
            assert_eq!(case.said(), said_s, "{name}");
        }
    }

    #[test]
    fn speeds_of_a_doubtful_moment_bear_nothing_out() {
        // Speeds each 50 ms from 9 s to 11 s; doubtful ones from so many seconds to so many.
        let judged = |doubtful: std::ops::Range<f64>, felt_to_s: f64| {
            let mut check = HarshCheck::default();
            let mut measured = VecDeque::new();
            for n in 0..40_u32 {
                let s = 9.0 + f64::from(n) / 20.0;
                let mps = 20.0 - 4.0 * (s - 10.0).max(0.0);
                let timing = if doubtful.contains(&s) { Timing::Doubtful } else { Timing::Steady };
                let (at, source) = (t(s), SpeedSource::Bus);
                measured.push_back(Measured { at, mps, sigma_mps: 0.3, source, timing });
                if s <= felt_to_s {
                    let longitudinal_mps2 = if s < 10.0 { 0.0 } else { -4.0 };
                    let (lateral_mps2, yaw_rate_rad_s) = (0.0, None);
                    let motion = Motion { at, longitudinal_mps2, lateral_mps2, yaw_rate_rad_s };
                    check.on_motion(&motion, None);
                }
            }
            let (kind, rule, numbers) = (EventKind::HarshBraking, "test/1", vec![]);
            let (start, end, severity, confidence) = (t(10.0), t(10.3), Severity::Low, 0.7);
            check.wait(Event { kind, start, end, severity, confidence, rule, numbers });
            check.judge(t(12.7), &measured).len()
        };
        for (name, doubtful, felt_to_s, happened) in [
            ("steady", 0.0..0.0, 11.0, 1),
            ("doubtful before and after", 0.0..20.0, 11.0, 0),
            ("doubtful before", 0.0..10.1, 11.0, 0),
            ("doubtful after", 10.1..20.0, 11.0, 0),
            ("doubtful in between", 9.8..10.6, 11.0, 1),
            // The speeds are there already.
            ("a late accelerometer", 0.0..0.0, 10.4, 1),
        ] {
            assert_eq!(judged(doubtful, felt_to_s), happened, "{name}");
        }
    }

    #[test]
    fn a_change_within_the_noise_is_no_answer_yet() {
        // The receiver's own filter is half a second late.
        let late = |s: f64| (s, s, 20.0 - 4.0 * (s - 10.45).clamp(0.0, 2.0), 0.4);
        let case = Case {
            kind: EventKind::HarshBraking,
            felt: &|s| (during(10.0, 12.0, s, -4.0), 0.0, None),
            speeds: (0..100).map(|n| late(f64::from(n) / 5.0)).collect(),
            source: SpeedSource::Gnss,
            courses: vec![],
            unknown_s: None,
        };
        assert_eq!(case.said(), Some(11.0));
    }

    #[test]
    fn what_is_undone_counts_with_its_most() {
        // A bump: back and forth within the second between two fixes, in a van that rolls out.
        let case = Case {
            kind: EventKind::HarshBraking,
            felt: &|s| (during(10.0, 10.4, s, -4.0) + during(10.4, 10.7, s, 4.0), 0.0, None),
            speeds: speeds(1, -0.2, 0.05, 0.0),
            source: SpeedSource::Gnss,
            courses: vec![],
            unknown_s: None,
        };
        assert_eq!(case.said(), None);
    }

    #[test]
    fn cornering_is_held_against_the_turn() {
        let pushed = 4.0;
        let felt = |rate: Option<f64>| {
            move |s: f64| {
                let turns = rate.map(|r| during(10.0, 12.0, s, r));
                (0.0, during(10.0, 12.0, s, pushed), turns)
            }
        };
        // Left is counter-clockwise: the course falls, here over north.
        let courses = |deg_s: f64, mps: f64| -> Vec<(f64, f64, f64)> {
            let at = (0..20_u32).map(f64::from);
            at.map(|s| (s, (5.0 - deg_s * (s - 10.0).clamp(0.0, 2.0)).rem_euclid(360.0), mps))
                .collect()
        };
        let deg_s = (pushed / 20.0_f64).to_degrees();
        for (name, rate, courses, said_s) in [
            ("gyroscope", Some(0.2), vec![], Some(10.3)),
            ("gyroscope, most of it", Some(0.14), vec![], Some(10.3)),
            ("gyroscope, little of it", Some(0.07), vec![], None),
            ("gyroscope, straight on", Some(0.0), courses(deg_s, 20.0), None),
            ("gyroscope, to the other side", Some(-0.2), vec![], None),
            ("courses", None, courses(deg_s, 20.0), Some(11.0)),
            ("courses, straight on", None, courses(0.0, 20.0), None),
            ("courses, to the other side", None, courses(-deg_s, 20.0), None),
            ("courses of a van that crawls", None, courses(deg_s, 1.9), None),
            ("courses that are no numbers", None, courses(f64::NAN, 20.0), None),
            ("neither", None, vec![], None),
        ] {
            let (source, speeds) = (SpeedSource::Bus, speeds(20, 0.0, 0.3, 0.0));
            let felt = felt(rate);
            let kind = EventKind::HarshCornering;
            let case = Case { kind, felt: &felt, speeds, source, courses, unknown_s: None };
            assert_eq!(case.said(), said_s, "{name}");
        }
    }

    #[test]
    fn across_an_unknown_moment_nothing_is_judged() {
        let (source, kind) = (SpeedSource::Gnss, EventKind::HarshBraking);
        let felt = |s: f64| (during(10.0, 12.0, s, -4.0), 0.0, None);
        // Before it is told, while it waits, and long before.
        for (unknown_s, said_s) in [(10.1, None), (10.6, None), (8.0, Some(11.0))] {
            let (speeds, courses) = (speeds(1, -4.0, 0.15, 0.0), vec![]);
            let unknown_s = Some(unknown_s);
            let case = Case { kind, felt: &felt, speeds, source, courses, unknown_s };
            assert_eq!(case.said(), said_s, "{unknown_s:?}");
        }
    }
}
