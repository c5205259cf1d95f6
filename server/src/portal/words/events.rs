//! Events in plain English: what happened, against which threshold.
//!
//! What must hold: fair to the driver. The words say what was measured, never why or whose fault.

use temoin_proto::events::{EventKind, Number, Severity};

use super::{quantity, unbroken};

/// What a kind of event is called.
pub(crate) const fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Collision => "Possible collision",
        EventKind::Rollover => "Possible rollover",
        EventKind::HarshBraking => "Harsh braking",
        EventKind::HarshAcceleration => "Harsh acceleration",
        EventKind::HarshCornering => "Harsh cornering",
        EventKind::Speeding => "Speeding",
        EventKind::FollowingTooClose => "Following too close",
        EventKind::RollingStop => "Rolled through a stop",
        EventKind::SeatBelt => "Seat belt off",
        EventKind::Idling => "Idling",
        EventKind::LongDistraction => "Long distraction",
        EventKind::RepeatedDistraction => "Repeated distraction",
        EventKind::PhoneInHand => "Phone in hand",
        EventKind::Drowsiness => "Drowsiness",
        EventKind::Microsleep => "Microsleep",
        EventKind::Sleep => "Sleep",
        EventKind::Unresponsive => "Unresponsive",
        EventKind::DriverSaved => "Saved by the driver",
    }
}

/// The same, as short as a filter needs it.
pub(crate) const fn kind_short(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Collision => "Collision",
        EventKind::Rollover => "Rollover",
        EventKind::HarshBraking => "Braking",
        EventKind::HarshAcceleration => "Acceleration",
        EventKind::HarshCornering => "Cornering",
        EventKind::Speeding => "Speeding",
        EventKind::FollowingTooClose => "Following",
        EventKind::RollingStop => "Stop",
        EventKind::SeatBelt => "Belt",
        EventKind::Idling => "Idling",
        EventKind::LongDistraction => "Distraction",
        EventKind::RepeatedDistraction => "Repeated",
        EventKind::PhoneInHand => "Phone",
        EventKind::Drowsiness => "Drowsiness",
        EventKind::Microsleep => "Microsleep",
        EventKind::Sleep => "Sleep",
        EventKind::Unresponsive => "Unresponsive",
        EventKind::DriverSaved => "Saved",
    }
}

/// Class name and word of a severity. What a driver asked to keep is no fault, so it has none.
pub(crate) const fn severity(kind: EventKind, severity: Severity) -> (&'static str, &'static str) {
    match (kind, severity) {
        (EventKind::DriverSaved, _) => ("kept", "Kept on request"),
        (_, Severity::Low) => ("low", "Low"),
        (_, Severity::Medium) => ("medium", "Medium"),
        (_, Severity::High) => ("high", "High"),
    }
}

/// The value of the number with this name.
fn value(numbers: &[Number], name: &str) -> Option<f64> {
    numbers.iter().find(|n| n.name == name).map(|n| n.value)
}

/// The one number a list shows, such as `peak 0.48 g`.
pub(crate) fn key_number(kind: EventKind, numbers: &[Number]) -> Option<String> {
    let (name, unit, before, after) = match kind {
        EventKind::Rollover => ("angle", "°", "", " from upright"),
        EventKind::FollowingTooClose => ("shortest", "s", "down to ", ""),
        EventKind::RollingStop => ("slowest", "km/h", "no slower than ", ""),
        EventKind::SeatBelt => ("unbelted", "s", "", " unbelted"),
        EventKind::Idling => ("idle", "min", "", ""),
        EventKind::Collision
        | EventKind::HarshBraking
        | EventKind::HarshAcceleration
        | EventKind::HarshCornering => ("peak", "g", "peak ", ""),
        EventKind::Speeding => ("peak", "km/h", "up to ", ""),
        EventKind::LongDistraction | EventKind::RepeatedDistraction => {
            ("off_road", "s", "", " off road")
        }
        EventKind::PhoneInHand => ("held", "s", "", " in hand"),
        EventKind::Drowsiness => ("perclos", "%", "eyes closed ", " of the time"),
        EventKind::Microsleep | EventKind::Sleep | EventKind::Unresponsive => {
            ("closed", "s", "", " closed")
        }
        EventKind::DriverSaved => return None,
    };
    value(numbers, name).map(|v| format!("{before}{}{after}", quantity(v, unit)))
}

/// What happened and against which threshold, in one or two sentences.
pub(crate) fn sentence(kind: EventKind, numbers: &[Number]) -> String {
    let get = |name: &str| value(numbers, name);
    let at = |word: &str| {
        get("speed").map_or_else(String::new, |v| format!(" {word} {}", quantity(v, "km/h")))
    };
    let harsh = |verb: &str, word: &str| {
        let peak = get("peak").map_or_else(
            || format!("The van {verb} hard{}.", at(word)),
            |v| format!("The van {verb} at {}{}.", quantity(v, "g"), at(word)),
        );
        get("threshold").map_or_else(
            || peak.clone(),
            |t| format!("{peak} The threshold is {}.", quantity(t, "g")),
        )
    };
    let rule = |unit: &str, within: &str| {
        get("threshold").map_or_else(String::new, |t| {
            format!(" The rule counts from {}{within}.", quantity(t, unit))
        })
    };
    let eyes = || {
        let closed = get("closed")
            .map_or_else(|| "for too long".to_owned(), |v| format!("for {}", quantity(v, "s")));
        format!("The driver's eyes were closed {closed}{}.{}", at("at"), rule("s", ""))
    };
    let flagged = || match (get("ignored_for"), get("repeats")) {
        (Some(s), _) => format!(" It went on for {} after the alert in the cab.", quantity(s, "s")),
        (None, Some(n)) => format!(" It came {n:.0} times in 10 minutes."),
        (None, None) => String::new(),
    };
    let text = match kind {
        EventKind::HarshBraking => harsh("braked", "from"),
        EventKind::HarshAcceleration => harsh("accelerated", "from"),
        EventKind::HarshCornering => harsh("cornered", "at"),
        EventKind::Speeding => {
            let peak = get("peak").map_or_else(
                || "The van went faster than the limit".to_owned(),
                |v| format!("The van went up to {}", quantity(v, "km/h")),
            );
            let limit = get("limit").map_or_else(String::new, |v| {
                format!(" where the limit is {}", quantity(v, "km/h"))
            });
            let stayed = match (get("threshold"), get("duration")) {
                (Some(t), Some(d)) => {
                    format!(", and stayed above {} for {}", quantity(t, "km/h"), quantity(d, "s"))
                }
                (None, Some(d)) => format!(", for {}", quantity(d, "s")),
                (_, None) => String::new(),
            };
            format!("{peak}{limit}{stayed}.")
        }
        EventKind::LongDistraction => {
            let away = get("off_road").map_or_else(|| "too long".to_owned(), |v| quantity(v, "s"));
            let allowed = get("threshold").map_or_else(String::new, |t| {
                format!(" At this speed the rule allows {}.", quantity(t, "s"))
            });
            let flagged = flagged();
            format!("Head or gaze was off the road for {away}{}.{allowed}{flagged}", at("at"))
        }
        EventKind::RepeatedDistraction => {
            let away = get("off_road").map_or_else(|| "too long".to_owned(), |v| quantity(v, "s"));
            let window =
                get("window").map_or_else(String::new, |w| format!(" within {}", quantity(w, "s")));
            let counts = rule("s", &window);
            let flagged = flagged();
            format!("Several looks off the road added up to {away}{}.{counts}{flagged}", at("at"))
        }
        EventKind::PhoneInHand => {
            let held = get("held")
                .map_or_else(|| "for too long".to_owned(), |v| format!("for {}", quantity(v, "s")));
            let (counts, flagged) = (rule("s", ""), flagged());
            format!(
                "A phone was seen in the hand or at the ear {held}{}.{counts}{flagged}",
                at("at")
            )
        }
        EventKind::Drowsiness => {
            let share = get("perclos").map_or_else(
                || "much of the time".to_owned(),
                |v| format!("{} of the time", quantity(v, "%")),
            );
            let seen =
                get("seen").map_or_else(String::new, |v| format!(", {} in all", quantity(v, "s")));
            let yawns = match get("yawns") {
                Some(n) if n >= 2.0 => format!(" {n:.0} yawns were seen."),
                Some(n) if n >= 1.0 => " One yawn was seen.".to_owned(),
                Some(_) | None => String::new(),
            };
            let counts = rule("%", "");
            format!(
                "The driver's eyes were closed for {share} in which they were seen{seen}; blinks do not count.{counts}{yawns} It is a sign of tiredness, not a fault: a break helps."
            )
        }
        EventKind::Microsleep | EventKind::Sleep | EventKind::Unresponsive => eyes(),
        EventKind::Collision => {
            let peak = get("peak").map_or_else(
                || "a hard hit".to_owned(),
                |v| format!("a hit of {}", quantity(v, "g")),
            );
            let change = get("speed_change").map_or_else(String::new, |v| {
                format!(" that changed its speed by {}", quantity(v, "km/h"))
            });
            let unseen = get("unseen").map_or_else(String::new, |v| {
                format!(" For {} of it or right after it nothing was measured.", quantity(v, "s"))
            });
            format!("The van took {peak}{change}{}.{}{unseen}", at("at"), rule("g", ""))
        }
        EventKind::Rollover => {
            let angle = get("angle").map_or_else(
                || "far from upright".to_owned(),
                |v| format!("{} from upright", quantity(v, "°")),
            );
            format!("The van lay {angle}.{}", rule("°", ""))
        }
        EventKind::FollowingTooClose => {
            let shortest = get("shortest")
                .map_or_else(String::new, |v| format!(" down to {}", quantity(v, "s")));
            let kept =
                get("kept").map_or_else(String::new, |v| format!(" for {}", quantity(v, "s")));
            let counts = get("threshold").map_or_else(String::new, |t| {
                format!(" The rule counts below {}.", quantity(t, "s"))
            });
            let flagged = flagged();
            format!(
                "The time to the vehicle ahead was too short{kept}{}:{shortest}.{counts}{flagged}",
                at("at")
            )
            .replace(":.", ".")
        }
        EventKind::RollingStop => {
            let slowest = get("slowest").map_or_else(
                || "without a stop".to_owned(),
                |v| format!("no slower than {}", quantity(v, "km/h")),
            );
            format!("The van passed a stop line {slowest}.{}", rule("km/h", ""))
        }
        EventKind::SeatBelt => {
            let unbelted = get("unbelted")
                .map_or_else(|| "for too long".to_owned(), |v| format!("for {}", quantity(v, "s")));
            format!("The driver's belt was off while the van drove {unbelted}.{}", rule("s", ""))
        }
        EventKind::Idling => {
            let idle = get("idle").map_or_else(
                || "for too long".to_owned(),
                |v| format!("for {}", quantity(v, "min")),
            );
            format!("The van stood {idle} with its engine running.{}", rule("min", ""))
        }
        EventKind::DriverSaved => {
            "The driver pressed the button to keep this recording.".to_owned()
        }
    };
    unbroken(&text)
}

/// A measured value beside its threshold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    pub(crate) measured: f64,
    pub(crate) threshold: f64,
    pub(crate) unit: &'static str,
}

/// What the rule compared with what.
pub(crate) fn measured(kind: EventKind, numbers: &[Number]) -> Option<Measured> {
    let (name, unit) = match kind {
        EventKind::Rollover => ("angle", "°"),
        EventKind::SeatBelt => ("unbelted", "s"),
        EventKind::Idling => ("idle", "min"),
        EventKind::RollingStop => ("slowest", "km/h"),
        // Shorter is worse: a bar that grows would say the opposite.
        EventKind::FollowingTooClose => return None,
        EventKind::Collision
        | EventKind::HarshBraking
        | EventKind::HarshAcceleration
        | EventKind::HarshCornering => ("peak", "g"),
        EventKind::Speeding => ("peak", "km/h"),
        EventKind::LongDistraction | EventKind::RepeatedDistraction => ("off_road", "s"),
        EventKind::PhoneInHand => ("held", "s"),
        EventKind::Drowsiness => ("perclos", "%"),
        EventKind::Microsleep | EventKind::Sleep | EventKind::Unresponsive => ("closed", "s"),
        EventKind::DriverSaved => return None,
    };
    let measured = value(numbers, name)?;
    let threshold = value(numbers, "threshold")?;
    (measured > 0.0 && threshold > 0.0).then_some(Measured { measured, threshold, unit })
}

/// The limit that speeding was measured against, km/h.
pub(crate) fn limit_kmh(numbers: &[Number]) -> Option<f64> {
    value(numbers, "limit")
}

/// The threshold of the harsh manoeuvres, g.
pub(crate) fn threshold_g(kind: EventKind, numbers: &[Number]) -> Option<f64> {
    measured(kind, numbers).filter(|m| m.unit == "g").map(|m| m.threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(list: &[(&str, f64, &str)]) -> Vec<Number> {
        list.iter().map(|(n, v, u)| Number::new(n, *v, u)).collect()
    }

    #[test]
    fn every_kind_has_a_sentence_with_and_without_numbers() {
        let cases = [
            (
                EventKind::HarshBraking,
                numbers(&[("peak", 0.478, "g"), ("threshold", 0.36, "g"), ("speed", 61.7, "km/h")]),
                "The van braked at 0.48 g from 62 km/h. The threshold is 0.36 g.",
                Some("peak 0.48 g"),
            ),
            (
                EventKind::Collision,
                numbers(&[
                    ("peak", 4.2, "g"),
                    ("speed_change", 22.0, "km/h"),
                    ("unseen", 0.4, "s"),
                ]),
                "The van took a hit of 4.20 g that changed its speed by 22 km/h. For 0.4 s of it or right after it nothing was measured.",
                Some("peak 4.20 g"),
            ),
            (
                EventKind::HarshCornering,
                numbers(&[("peak", 0.4, "g")]),
                "The van cornered at 0.40 g.",
                Some("peak 0.40 g"),
            ),
            (
                EventKind::Speeding,
                numbers(&[
                    ("peak", 142.0, "km/h"),
                    ("limit", 120.0, "km/h"),
                    ("threshold", 132.0, "km/h"),
                    ("duration", 30.0, "s"),
                ]),
                "The van went up to 142 km/h where the limit is 120 km/h, and stayed above 132 km/h for 30 s.",
                Some("up to 142 km/h"),
            ),
            (
                EventKind::LongDistraction,
                numbers(&[
                    ("off_road", 5.62, "s"),
                    ("threshold", 3.5, "s"),
                    ("speed", 92.0, "km/h"),
                    ("ignored_for", 2.1, "s"),
                ]),
                "Head or gaze was off the road for 5.6 s at 92 km/h. At this speed the rule allows 3.5 s. It went on for 2.1 s after the alert in the cab.",
                Some("5.6 s off road"),
            ),
            (
                EventKind::RepeatedDistraction,
                numbers(&[
                    ("off_road", 12.1, "s"),
                    ("threshold", 10.0, "s"),
                    ("window", 30.0, "s"),
                    ("glances", 5.0, ""),
                    ("speed", 92.0, "km/h"),
                    ("repeats", 3.0, ""),
                ]),
                "Several looks off the road added up to 12.1 s at 92 km/h. The rule counts from 10 s within 30 s. It came 3 times in 10 minutes.",
                Some("12.1 s off road"),
            ),
            (
                EventKind::PhoneInHand,
                numbers(&[
                    ("held", 4.2, "s"),
                    ("threshold", 2.0, "s"),
                    ("speed", 50.0, "km/h"),
                    ("ignored_for", 2.2, "s"),
                ]),
                "A phone was seen in the hand or at the ear for 4.2 s at 50 km/h. The rule counts from 2 s. It went on for 2.2 s after the alert in the cab.",
                Some("4.2 s in hand"),
            ),
            (
                EventKind::Drowsiness,
                numbers(&[
                    ("perclos", 18.0, "%"),
                    ("threshold", 15.0, "%"),
                    ("seen", 60.2, "s"),
                    ("yawns", 3.0, ""),
                ]),
                "The driver's eyes were closed for 18 % of the time in which they were seen, 1 min in all; blinks do not count. The rule counts from 15 %. 3 yawns were seen. It is a sign of tiredness, not a fault: a break helps.",
                Some("eyes closed 18 % of the time"),
            ),
            (
                EventKind::Unresponsive,
                numbers(&[("closed", 6.0, "s"), ("threshold", 6.0, "s")]),
                "The driver's eyes were closed for 6 s. The rule counts from 6 s.",
                Some("6 s closed"),
            ),
            (
                EventKind::Microsleep,
                numbers(&[("closed", 1.4, "s"), ("threshold", 1.0, "s")]),
                "The driver's eyes were closed for 1.4 s. The rule counts from 1 s.",
                Some("1.4 s closed"),
            ),
            (
                EventKind::DriverSaved,
                vec![],
                "The driver pressed the button to keep this recording.",
                None,
            ),
        ];
        for (event, list, text, key) in cases {
            assert_eq!(sentence(event, &list).replace('\u{a0}', " "), text);
            assert_eq!(key_number(event, &list).as_deref(), key);
        }
        for event in EventKind::ALL {
            assert!(sentence(event, &[]).ends_with('.'), "{event}");
            assert_eq!(key_number(event, &[]), None);
            assert_eq!(measured(event, &[]), None);
        }
    }
}
