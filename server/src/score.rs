//! The score of a driver: what counts, how much, and the sum that anybody can do again by hand.
//!
//! ```text
//! points of an event = weight of its class × (low 1, medium 2, high 3)
//! score              = 100 − points × 100 km ÷ distance driven, and never below 0
//! ```
//!
//! Pure: facts in, figures out. `docs/score.md` says why it is built so.
//!
//! INVARIANT: what is doubtful does not count. An event that is contested or overturned, that a
//! faulty unit saw, that the detector was not sure of, or that happened where the distance is not
//! known, takes no point; neither do tiredness, nor what only a person can judge.

use temoin_proto::events::{EventKind, Severity};

/// Below this distance there is no score, km: one or two days of a delivery van, so that a single
/// event does not make it. Own choice: validate.
pub const MIN_KM: f64 = 200.0;
/// An event of a lower confidence does not count: it is as likely wrong as right. Own choice.
pub const MIN_CONFIDENCE: f32 = 0.5;
/// The score covers so many days, the running one included: four weeks hold each weekday equally
/// often. Own choice.
pub const PERIOD_DAYS: i64 = 28;
/// A day, milliseconds.
pub const DAY_MS: i64 = 86_400_000;

/// What became of a driver's objection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContestState {
    /// Waits for an answer.
    Open,
    /// The event stands.
    Upheld,
    /// The event does not stand.
    Overturned,
}

/// Why an event takes no point. In the order in which lists show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeftOut {
    /// The driver contests it, and nobody has answered.
    Contested,
    /// The driver contested it and was right.
    Overturned,
    /// A part of the unit that it rests on did not work properly.
    DeviceFault,
    /// The detector was not sure.
    Unsure,
    /// The unit told no distance for that day, so there is nothing to set it against.
    NoDistance,
    /// A sign of tiredness.
    Tiredness,
    /// Only a person can say what happened.
    NeedsAPerson,
    /// Nothing that endangers anybody.
    NoSafetyMatter,
    /// The driver asked to keep the recording.
    Saved,
}

impl LeftOut {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Contested,
        Self::Overturned,
        Self::DeviceFault,
        Self::Unsure,
        Self::NoDistance,
        Self::Tiredness,
        Self::NeedsAPerson,
        Self::NoSafetyMatter,
        Self::Saved,
    ];
}

/// The weight of a class, or why it has none. All weights are our own choice (validate): a hard
/// manoeuvre can be the right answer to somebody else's mistake, so it weighs least; what takes
/// the room for such an answer away weighs twice; a phone in the hand takes eyes, hand and mind at
/// once and weighs most.
///
/// # Errors
/// Why events of this class never count.
pub const fn weight(kind: EventKind) -> Result<u32, LeftOut> {
    match kind {
        EventKind::HarshBraking | EventKind::HarshAcceleration | EventKind::HarshCornering => Ok(1),
        EventKind::Speeding
        | EventKind::FollowingTooClose
        | EventKind::RollingStop
        | EventKind::SeatBelt
        | EventKind::LongDistraction
        | EventKind::RepeatedDistraction => Ok(2),
        EventKind::PhoneInHand => Ok(3),
        EventKind::Drowsiness
        | EventKind::Microsleep
        | EventKind::Sleep
        | EventKind::Unresponsive => Err(LeftOut::Tiredness),
        EventKind::Collision | EventKind::Rollover => Err(LeftOut::NeedsAPerson),
        EventKind::Idling => Err(LeftOut::NoSafetyMatter),
        EventKind::DriverSaved => Err(LeftOut::Saved),
    }
}

/// By what the weight is multiplied.
pub const fn factor(severity: Severity) -> u32 {
    match severity {
        Severity::Low => 1,
        Severity::Medium => 2,
        Severity::High => 3,
    }
}

/// The parts of a unit, as its health names them, that an event of this kind rests on.
pub const fn rests_on(kind: EventKind) -> &'static [&'static str] {
    match kind {
        EventKind::HarshBraking
        | EventKind::HarshAcceleration
        | EventKind::HarshCornering
        | EventKind::Collision
        | EventKind::Rollover => &["imu", "imu.mount", "gnss", "vehicle_bus"],
        EventKind::Speeding | EventKind::RollingStop => &["gnss", "vehicle_bus", "speed_limits"],
        EventKind::SeatBelt | EventKind::Idling => &["gnss", "vehicle_bus"],
        EventKind::FollowingTooClose => &[
            "camera.road",
            "perception",
            "perception.road",
            "perception.vehicles",
            "gnss",
            "vehicle_bus",
        ],
        EventKind::LongDistraction | EventKind::RepeatedDistraction => &[
            "camera.cabin",
            "perception",
            "perception.face",
            "perception.head_pose",
            "perception.neutral_pose",
            "gnss",
            "vehicle_bus",
        ],
        EventKind::PhoneInHand => &[
            "camera.cabin",
            "perception",
            "perception.face",
            "perception.phone",
            "gnss",
            "vehicle_bus",
        ],
        EventKind::Drowsiness
        | EventKind::Microsleep
        | EventKind::Sleep
        | EventKind::Unresponsive => &[
            "camera.cabin",
            "perception",
            "perception.face",
            "perception.eyelids",
            "perception.open_eyes",
            "gnss",
            "vehicle_bus",
        ],
        EventKind::DriverSaved => &[],
    }
}

/// Whether a faulty `part` is one that this kind of event rests on.
pub fn concerns(kind: EventKind, part: &str) -> bool {
    rests_on(kind).contains(&part)
}

/// What is known of an event when it comes to points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// What.
    pub kind: EventKind,
    /// How bad.
    pub severity: Severity,
    /// How sure the detector was, 0 to 1.
    pub confidence: f32,
    /// What became of the driver's objection, where there is one.
    pub contest: Option<ContestState>,
    /// A part that it rests on did not work properly at that time.
    pub device_fault: bool,
    /// The unit told how far it drove on that day.
    pub distance_known: bool,
}

impl Candidate {
    /// The points that it takes.
    ///
    /// # Errors
    /// Why it takes none.
    pub fn points(&self) -> Result<u32, LeftOut> {
        let weight = weight(self.kind)?;
        match self.contest {
            Some(ContestState::Open) => return Err(LeftOut::Contested),
            Some(ContestState::Overturned) => return Err(LeftOut::Overturned),
            Some(ContestState::Upheld) | None => {}
        }
        if self.device_fault {
            return Err(LeftOut::DeviceFault);
        }
        if self.confidence.is_nan() || self.confidence < MIN_CONFIDENCE {
            return Err(LeftOut::Unsure);
        }
        if !self.distance_known {
            return Err(LeftOut::NoDistance);
        }
        Ok(weight * factor(self.severity))
    }
}

/// The events of one class that count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassSum {
    /// The class.
    pub kind: EventKind,
    /// Its weight.
    pub weight: u32,
    /// How many: low, medium, high.
    pub counts: [u32; 3],
    /// Weight × (low + 2 × medium + 3 × high).
    pub points: u32,
    /// Events per 100 km; none below [`MIN_KM`].
    pub per_100_km: Option<f64>,
}

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// Too little was driven to say anything.
    TooLittle,
    /// There is a score.
    Score {
        /// Points for each 100 km.
        points_per_100_km: f64,
        /// 0 to 100; 100 is no point at all.
        score: f64,
    },
}

/// A score with everything that went in.
#[derive(Debug, Clone, PartialEq)]
pub struct Sum {
    /// Distance driven, km.
    pub km: f64,
    /// Classes with events that count, in the order of [`EventKind::ALL`].
    pub classes: Vec<ClassSum>,
    /// All points.
    pub points: u32,
    /// How many events took no point, by why.
    pub left_out: Vec<(LeftOut, u32)>,
    /// The score, or that there is none.
    pub outcome: Outcome,
}

/// Adds it up. A distance that is no number, or negative, is none.
pub fn sum(driven_m: f64, events: &[Candidate]) -> Sum {
    // Not `max`: the sum of nothing is -0.0, which shows.
    let km = if driven_m.is_finite() && driven_m > 0.0 { driven_m / 1000.0 } else { 0.0 };
    let enough = km >= MIN_KM;
    let mut classes = Vec::new();
    for kind in EventKind::ALL {
        let Ok(weight) = weight(kind) else { continue };
        let mut counts = [0_u32; 3];
        let mut points = 0_u32;
        for event in events.iter().filter(|e| e.kind == kind) {
            let Ok(own) = event.points() else { continue };
            let [low, medium, high] = &mut counts;
            let count = match event.severity {
                Severity::Low => low,
                Severity::Medium => medium,
                Severity::High => high,
            };
            *count = count.saturating_add(1);
            points = points.saturating_add(own);
        }
        let all: u32 = counts.iter().sum();
        if all > 0 {
            let per_100_km = enough.then(|| f64::from(all) * 100.0 / km);
            classes.push(ClassSum { kind, weight, counts, points, per_100_km });
        }
    }
    let points = classes.iter().fold(0_u32, |all, class| all.saturating_add(class.points));
    let left_out = LeftOut::ALL
        .into_iter()
        .filter_map(|why| {
            let n = events.iter().filter(|e| e.points() == Err(why)).count();
            (n > 0).then(|| (why, u32::try_from(n).unwrap_or(u32::MAX)))
        })
        .collect();
    let outcome = if enough {
        let points_per_100_km = f64::from(points) * 100.0 / km;
        Outcome::Score { points_per_100_km, score: (100.0 - points_per_100_km).max(0.0) }
    } else {
        Outcome::TooLittle
    };
    Sum { km, classes, points, left_out, outcome }
}

/// The first instant of the period that ends with the day of `now_ms`, milliseconds since 1970.
/// Days are those of UTC.
pub const fn period_start(now_ms: i64) -> i64 {
    day_of(now_ms).saturating_sub(PERIOD_DAYS - 1).saturating_mul(DAY_MS)
}

/// The day of an instant, days since 1970 in UTC.
pub const fn day_of(at_ms: i64) -> i64 {
    at_ms.div_euclid(DAY_MS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(kind: EventKind, severity: Severity) -> Candidate {
        Candidate {
            kind,
            severity,
            confidence: 0.9,
            contest: None,
            device_fault: false,
            distance_known: true,
        }
    }

    #[test]
    fn a_driver_can_do_the_sum_again_by_hand() {
        use EventKind::{HarshBraking, PhoneInHand, Speeding};
        let events = [
            event(HarshBraking, Severity::Low),
            event(HarshBraking, Severity::Low),
            event(HarshBraking, Severity::High),
            event(Speeding, Severity::Medium),
            event(PhoneInHand, Severity::Low),
        ];
        let sum = sum(400_000.0, &events);
        let figures: Vec<_> =
            sum.classes.iter().map(|c| (c.kind, c.counts, c.points, c.per_100_km)).collect();
        assert_eq!(
            figures,
            [
                (HarshBraking, [2, 0, 1], 5, Some(0.75)),
                (Speeding, [0, 1, 0], 4, Some(0.25)),
                (PhoneInHand, [1, 0, 0], 3, Some(0.25)),
            ]
        );
        assert_eq!(sum.points, 12);
        assert_eq!(sum.outcome, Outcome::Score { points_per_100_km: 3.0, score: 97.0 });
        assert_eq!(sum.left_out, []);
    }

    #[test]
    fn what_never_counts_and_what_does_not_count_now() {
        let counts = event(EventKind::Speeding, Severity::High);
        for (what, event, why) in [
            ("fair", counts, None),
            ("upheld", Candidate { contest: Some(ContestState::Upheld), ..counts }, None),
            ("just sure enough", Candidate { confidence: 0.5, ..counts }, None),
            (
                "contested",
                Candidate { contest: Some(ContestState::Open), ..counts },
                Some(LeftOut::Contested),
            ),
            (
                "overturned",
                Candidate { contest: Some(ContestState::Overturned), ..counts },
                Some(LeftOut::Overturned),
            ),
            ("faulty unit", Candidate { device_fault: true, ..counts }, Some(LeftOut::DeviceFault)),
            ("unsure", Candidate { confidence: 0.49, ..counts }, Some(LeftOut::Unsure)),
            ("no number", Candidate { confidence: f32::NAN, ..counts }, Some(LeftOut::Unsure)),
            (
                "no distance",
                Candidate { distance_known: false, ..counts },
                Some(LeftOut::NoDistance),
            ),
        ] {
            assert_eq!(event.points().err(), why, "{what}");
            let sum = sum(500_000.0, &[event]);
            assert_eq!(sum.points, if why.is_none() { 6 } else { 0 }, "{what}");
            assert_eq!(sum.left_out.first().map(|(why, _)| *why), why, "{what}");
        }
        for (kind, why) in [
            (EventKind::Drowsiness, LeftOut::Tiredness),
            (EventKind::Microsleep, LeftOut::Tiredness),
            (EventKind::Sleep, LeftOut::Tiredness),
            (EventKind::Unresponsive, LeftOut::Tiredness),
            (EventKind::Collision, LeftOut::NeedsAPerson),
            (EventKind::Rollover, LeftOut::NeedsAPerson),
            (EventKind::Idling, LeftOut::NoSafetyMatter),
            (EventKind::DriverSaved, LeftOut::Saved),
        ] {
            assert_eq!(event(kind, Severity::High).points(), Err(why));
        }
    }

    #[test]
    fn too_little_distance_gives_no_score_and_no_rate() {
        let events = [event(EventKind::PhoneInHand, Severity::High)];
        for (driven_m, enough) in [
            (0.0, false),
            (199_999.0, false),
            (200_000.0, true),
            (-5.0, false),
            (-0.0, false),
            (f64::NAN, false),
            (f64::INFINITY, false),
        ] {
            let sum = sum(driven_m, &events);
            assert_eq!(sum.outcome != Outcome::TooLittle, enough, "{driven_m}");
            assert_eq!(sum.classes[0].per_100_km.is_some(), enough, "{driven_m}");
            assert_eq!(sum.points, 9, "shown all the same");
            assert!(sum.km.is_finite() && sum.km.is_sign_positive());
        }
    }

    #[test]
    fn faults_concern_what_rests_on_the_part() {
        for (kind, part, concerned) in [
            (EventKind::HarshBraking, "imu", true),
            (EventKind::HarshBraking, "imu.mount", true),
            (EventKind::HarshBraking, "camera.cabin", false),
            (EventKind::LongDistraction, "camera.cabin", true),
            (EventKind::LongDistraction, "perception.head_pose", true),
            (EventKind::LongDistraction, "perception.phone", false),
            (EventKind::PhoneInHand, "perception.phone", true),
            (EventKind::PhoneInHand, "perception.provider", false),
            (EventKind::LongDistraction, "camera.road", false),
            (EventKind::FollowingTooClose, "camera.road", true),
            (EventKind::Speeding, "gnss", true),
            (EventKind::Speeding, "upload", false),
            (EventKind::Speeding, "spool", false),
        ] {
            assert_eq!(concerns(kind, part), concerned, "{kind} {part}");
        }
        for kind in EventKind::ALL.into_iter().filter(|k| weight(*k).is_ok()) {
            assert!(!rests_on(kind).is_empty(), "{kind} counts and rests on nothing");
        }
    }

    /// The same from the other side: each part with all that counts and rests on it.
    #[test]
    fn a_fault_takes_out_all_that_rests_on_the_part() {
        use EventKind::{
            FollowingTooClose, HarshAcceleration, HarshBraking, HarshCornering, LongDistraction,
            PhoneInHand, RepeatedDistraction, RollingStop, SeatBelt, Speeding,
        };
        let harsh = [HarshBraking, HarshAcceleration, HarshCornering];
        let limits = [Speeding, RollingStop];
        let gaze = [LongDistraction, RepeatedDistraction];
        let road = [FollowingTooClose];
        let cabin = [&gaze[..], &[PhoneInHand]].concat();
        let camera = [&cabin[..], &road].concat();
        let all = [&harsh[..], &limits, &[SeatBelt], &camera].concat();
        for (part, rests) in [
            ("imu", &harsh[..]),
            ("imu.mount", &harsh),
            ("gnss", &all),
            ("vehicle_bus", &all),
            ("speed_limits", &limits),
            ("camera.road", &road),
            ("camera.cabin", &cabin),
            ("perception", &camera),
            ("perception.road", &road),
            ("perception.vehicles", &road),
            ("perception.face", &cabin),
            ("perception.head_pose", &gaze),
            ("perception.neutral_pose", &gaze),
            ("perception.phone", &[PhoneInHand]),
            ("upload", &[]),
        ] {
            for kind in EventKind::ALL.into_iter().filter(|k| weight(*k).is_ok()) {
                assert_eq!(concerns(kind, part), rests.contains(&kind), "{kind} {part}");
            }
        }
    }

    #[test]
    fn no_score_is_below_zero() {
        let events = [event(EventKind::PhoneInHand, Severity::High); 40];
        let outcome = sum(200_000.0, &events).outcome;
        assert_eq!(outcome, Outcome::Score { points_per_100_km: 180.0, score: 0.0 });
    }

    #[test]
    fn the_period_is_whole_days() {
        let noon = 20_000 * DAY_MS + DAY_MS / 2;
        assert_eq!(day_of(period_start(noon)), 20_000 - 27);
        assert_eq!(period_start(noon) % DAY_MS, 0);
        assert_eq!(day_of(-1), -1);
    }

    fn any_event() -> impl Strategy<Value = Candidate> {
        let contest = prop_oneof![
            Just(None),
            Just(Some(ContestState::Open)),
            Just(Some(ContestState::Upheld)),
            Just(Some(ContestState::Overturned)),
        ];
        let severity =
            prop_oneof![Just(Severity::Low), Just(Severity::Medium), Just(Severity::High)];
        (0..EventKind::ALL.len(), severity, 0.0_f32..1.0, contest, any::<bool>(), any::<bool>())
            .prop_map(|(kind, severity, confidence, contest, device_fault, distance_known)| {
                Candidate {
                    kind: EventKind::ALL[kind],
                    severity,
                    confidence,
                    contest,
                    device_fault,
                    distance_known,
                }
            })
    }

    proptest! {
        #[test]
        fn every_event_is_counted_once_and_contesting_never_costs(
            events in prop::collection::vec(any_event(), 0..40),
            km in 200.0_f64..5000.0,
        ) {
            let sum = sum(km * 1000.0, &events);
            let counted: u32 = sum.classes.iter().flat_map(|c| c.counts).sum();
            let left: u32 = sum.left_out.iter().map(|(_, n)| n).sum();
            prop_assert_eq!(usize::try_from(counted + left).unwrap(), events.len());
            let Outcome::Score { score, .. } = sum.outcome else { panic!("enough was driven") };
            prop_assert!((0.0..=100.0).contains(&score));
            let contested: Vec<_> = events
                .iter()
                .map(|e| Candidate { contest: Some(ContestState::Open), ..*e })
                .collect();
            prop_assert_eq!(super::sum(km * 1000.0, &contested).points, 0);
        }
    }
}
