//! Events: what a detector says happened, with the rule and the numbers behind it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::time::MonoTime;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A hard hit that changed the vehicle's speed.
    Collision,
    /// The vehicle lies on its side or roof.
    Rollover,
    /// Deceleration over the class's limit.
    HarshBraking,
    /// Acceleration over the class's limit.
    HarshAcceleration,
    /// Lateral acceleration over the class's limit.
    HarshCornering,
    /// Over the limit for too long.
    Speeding,
    /// Too short a time to the vehicle ahead, for too long.
    FollowingTooClose,
    /// Past a stop line without a stop.
    RollingStop,
    /// Driving with the belt off.
    SeatBelt,
    /// The engine runs and the vehicle stands, for too long.
    Idling,
    /// Head or gaze off the road for too long.
    LongDistraction,
    /// Many short looks off the road that add up.
    RepeatedDistraction,
    /// A phone in the hand or at the ear for too long.
    PhoneInHand,
    /// Eyes closed for too large a share of the time that they were seen (PERCLOS).
    Drowsiness,
    /// Eyes closed for 1 s or more.
    Microsleep,
    /// Eyes closed for 3 s or more.
    Sleep,
    /// Eyes closed for 6 s or more.
    Unresponsive,
    /// The driver pressed the button.
    DriverSaved,
}

impl EventKind {
    /// Every kind, in the order in which lists show them.
    pub const ALL: [Self; 18] = [
        Self::Collision,
        Self::Rollover,
        Self::HarshBraking,
        Self::HarshAcceleration,
        Self::HarshCornering,
        Self::Speeding,
        Self::FollowingTooClose,
        Self::RollingStop,
        Self::SeatBelt,
        Self::Idling,
        Self::LongDistraction,
        Self::RepeatedDistraction,
        Self::PhoneInHand,
        Self::Drowsiness,
        Self::Microsleep,
        Self::Sleep,
        Self::Unresponsive,
        Self::DriverSaved,
    ];

    /// The name on the wire, in the database and in figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Collision => "collision",
            Self::Rollover => "rollover",
            Self::HarshBraking => "harsh_braking",
            Self::HarshAcceleration => "harsh_acceleration",
            Self::HarshCornering => "harsh_cornering",
            Self::Speeding => "speeding",
            Self::FollowingTooClose => "following_too_close",
            Self::RollingStop => "rolling_stop",
            Self::SeatBelt => "seat_belt",
            Self::Idling => "idling",
            Self::LongDistraction => "long_distraction",
            Self::RepeatedDistraction => "repeated_distraction",
            Self::PhoneInHand => "phone_in_hand",
            Self::Drowsiness => "drowsiness",
            Self::Microsleep => "microsleep",
            Self::Sleep => "sleep",
            Self::Unresponsive => "unresponsive",
            Self::DriverSaved => "driver_saved",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that names no kind of event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of event")]
pub struct EventKindError(pub String);

impl FromStr for EventKind {
    type Err = EventKindError;
    fn from_str(s: &str) -> Result<Self, EventKindError> {
        Self::ALL.into_iter().find(|k| k.as_str() == s).ok_or_else(|| EventKindError(s.to_owned()))
    }
}

/// How bad it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Just over the threshold.
    Low,
    /// Well over it.
    Medium,
    /// Far over it, or dangerous in itself.
    High,
}

impl Severity {
    /// `low`, `medium` or `high`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// One number behind an event, such as the peak or the threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Number {
    /// What it is, such as `peak` or `threshold`.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Its unit, such as `g`, `km/h` or `s`.
    pub unit: String,
}

impl Number {
    /// A number with its name and unit.
    pub fn new(name: &str, value: f64, unit: &str) -> Self {
        Self { name: name.to_owned(), value, unit: unit.to_owned() }
    }
}

/// Something a detector says happened. It has no id yet: the edge that stores it gives one.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// When it began, by the rule's own definition.
    pub start: MonoTime,
    /// When it ended, or the time of the decision where it still went on.
    pub end: MonoTime,
    /// How bad.
    pub severity: Severity,
    /// 0 (a guess) to 1 (sure).
    pub confidence: f32,
    /// The rule with its version, such as `harsh_braking/1`.
    pub rule: &'static str,
    /// The rule's numbers: measured values and thresholds.
    pub numbers: Vec<Number>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_one_name() {
        for kind in EventKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert!("braking".parse::<EventKind>().is_err());
    }
}
