//! Phone in hand or at the ear: seen for 2 s above 10 km/h (Verizon Reveal).
//!
//! INVARIANT: an episode is said only on a picture that saw the phone, at a known speed. A picture
//! without it, or of nothing, is a gap: it never counts, and ends the use when it lasts.

use std::time::Duration;

use temoin_proto::{
    events::{Event, EventKind, Number},
    perception::{PhoneUse, Seen},
    time::MonoTime,
};

use crate::{
    attention::severity_by_speed,
    config::{KMH_TO_MPS, PhoneConfig, secs},
    policy::Episode,
    seen_timer::{Reading, SeenTimer, sure},
};

/// The rule's name in events.
pub const RULE: &str = "phone_in_hand/1";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rest {
    None,
    Unknown,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Phone {
    config: PhoneConfig,
    timer: SeenTimer<Rest>,
    seen_for: Duration,
    /// Of this use, so much was at the ear.
    at_ear: Duration,
    use_began: Option<MonoTime>,
}

impl Phone {
    /// No phone.
    pub fn new(config: &PhoneConfig) -> Self {
        let gap = secs(config.gap_s);
        Self {
            config: config.clone(),
            timer: SeenTimer::new(gap, gap),
            seen_for: Duration::ZERO,
            at_ear: Duration::ZERO,
            use_began: None,
        }
    }

    /// Takes what one picture says and the speed then. Some while it was seen for too long.
    pub fn step(
        &mut self,
        at: MonoTime,
        phone: &Seen<PhoneUse>,
        speed_mps: Option<f64>,
    ) -> Option<Episode> {
        let before = std::mem::take(&mut self.seen_for);
        if speed_mps.is_some_and(|v| v < self.config.min_speed_kmh * KMH_TO_MPS) {
            self.timer.clear();
            return None;
        }
        let rest = |state| Reading::Rest { state, tolerance: secs(self.config.gap_s) };
        let seen = sure(phone, self.config.min_confidence).filter(|_| speed_mps.is_some());
        let reading = match seen {
            None => rest(Rest::Unknown),
            Some((PhoneUse::None, _)) => rest(Rest::None),
            Some((PhoneUse::AtEar | PhoneUse::InHand, confidence)) => Reading::Active(confidence),
        };
        let elapsed = self.timer.step(at, reading)?;
        self.seen_for = elapsed.seen_for;
        if self.use_began.replace(elapsed.start) != Some(elapsed.start) {
            self.at_ear = Duration::ZERO;
        }
        if matches!(seen, Some((PhoneUse::AtEar, _))) {
            self.at_ear += elapsed.seen_for.saturating_sub(before);
        }
        let kmh = speed_mps? / KMH_TO_MPS;
        if elapsed.seen_for < secs(self.config.after_s) {
            return None;
        }
        let event = Event {
            kind: EventKind::PhoneInHand,
            start: elapsed.start,
            end: at,
            severity: severity_by_speed(kmh),
            confidence: elapsed.confidence.clamp(0.0, 1.0),
            rule: RULE,
            numbers: vec![
                Number::new("held", elapsed.seen_for.as_secs_f64(), "s"),
                Number::new("threshold", self.config.after_s, "s"),
                Number::new("at_ear", self.at_ear.min(elapsed.seen_for).as_secs_f64(), "s"),
                Number::new("speed", kmh, "km/h"),
            ],
        };
        Some(Episode { event, lasted: elapsed.seen_for })
    }

    /// Seen for this long by now; zero where this very picture did not see it.
    pub const fn seen_for(&self) -> Duration {
        self.seen_for
    }
}

#[cfg(test)]
mod tests {
    use temoin_proto::perception::NotSeen;

    use super::*;

    const fn seen(value: PhoneUse, confidence: f32) -> Seen<PhoneUse> {
        Seen::Known { value, confidence }
    }

    /// The first episode's second and numbers at 10 Hz.
    fn said(kmh: Option<f64>, phone: impl Fn(f64) -> Seen<PhoneUse>) -> Option<(f64, Vec<Number>)> {
        let mut detector = Phone::new(&PhoneConfig::default());
        (0..200_u32).map(|n| f64::from(n) / 10.0).find_map(|s| {
            let at = MonoTime::from_secs_f64(s);
            let said = detector.step(at, &phone(s), kmh.map(|v| v * KMH_TO_MPS))?;
            Some((s, said.event.numbers))
        })
    }

    #[test]
    fn two_seconds_above_ten_kmh() {
        for (kmh, expected) in
            [(Some(60.0), Some(2.0)), (Some(10.1), Some(2.0)), (Some(9.9), None), (None, None)]
        {
            for phone in [PhoneUse::AtEar, PhoneUse::InHand] {
                let at = said(kmh, |_| seen(phone, 0.9)).map(|(at, _)| at);
                assert_eq!(at, expected, "{kmh:?} {phone:?}");
            }
        }
    }

    #[test]
    fn gaps_are_bridged_and_never_count() {
        let held = seen(PhoneUse::InHand, 0.9);
        for gap in [
            seen(PhoneUse::None, 0.9),
            Seen::Unknown(NotSeen::BadLight),
            seen(PhoneUse::InHand, 0.2),
        ] {
            let short = |s: f64| if s % 1.5 < 1.0 { held } else { gap };
            let (at, _) = said(Some(60.0), short).unwrap();
            // 0.9 s seen in each 1.5 s.
            assert!((3.0..=3.5).contains(&at), "{at}");
            let long = |s: f64| if s % 3.0 < 1.8 { held } else { gap };
            assert_eq!(said(Some(60.0), long), None);
        }
    }

    #[test]
    fn unsure_or_unseen_is_no_phone() {
        for phone in [
            Seen::Unknown(NotSeen::NoModel),
            seen(PhoneUse::None, 1.0),
            seen(PhoneUse::InHand, 0.49),
            seen(PhoneUse::AtEar, f32::NAN),
        ] {
            assert_eq!(said(Some(60.0), |_| phone), None, "{phone:?}");
        }
    }

    #[test]
    fn tells_how_much_was_at_the_ear() {
        let phone = |s: f64| seen(if s < 0.95 { PhoneUse::InHand } else { PhoneUse::AtEar }, 0.9);
        let (_, numbers) = said(Some(60.0), phone).unwrap();
        let ear = numbers.iter().find(|n| n.name == "at_ear").unwrap().value;
        assert!((ear - 1.1).abs() < 0.01, "{ear}");
    }
}
