//! What OpenStreetMap's words for a speed limit mean: numbers with units, `none`, `walk`, codes such
//! as `DE:urban`. Source: the OpenStreetMap wiki, Key:maxspeed.
//!
//! INVARIANT: what is not understood is [`Value::Unknown`] with its reason, never a guess.

use super::{UnknownReason, country};

/// Kilometres in an international mile.
const MILE_KM: f64 = 1.609_344;
/// Kilometres in a nautical mile.
const NAUTICAL_MILE_KM: f64 = 1.852;
/// No sign on any road says less or more than this; what does is a typing mistake.
const PLAUSIBLE_KMH: std::ops::RangeInclusive<f64> = 3.0..=250.0;
/// `walk` as a number. Courts in Germany and Austria accept 7 to 15 km/h as walking pace. Own choice
/// in between: validate.
pub const WALK: Value = Value::Kmh(Centi(1000));

/// A speed in hundredths of a km/h: limits in miles an hour keep their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Centi(pub u16);

impl Centi {
    /// The nearest; nothing where no sign says such a speed.
    pub fn from_kmh(kmh: f64) -> Option<Self> {
        if !PLAUSIBLE_KMH.contains(&kmh) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "300 to 25,000 by the line above"
        )]
        let centi = (kmh * 100.0).round() as u16;
        Some(Self(centi))
    }

    /// Kilometres an hour.
    pub fn kmh(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

/// What the map says of a road's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// This speed.
    Kmh(Centi),
    /// No limit.
    Unlimited,
    /// Not known, and why.
    Unknown(UnknownReason),
}

impl Value {
    /// Whether a vehicle that keeps to `self` may be faster than `other` permits, as far as is known.
    pub fn may_exceed(self, other: Self) -> bool {
        match (self, other) {
            (Self::Kmh(a), Self::Kmh(b)) => a > b,
            (Self::Unlimited, Self::Unlimited) | (Self::Kmh(_), Self::Unlimited) => false,
            (Self::Unlimited, Self::Kmh(_)) | (Self::Unknown(_), _) | (_, Self::Unknown(_)) => true,
        }
    }
}

/// A value and whether it is the country's rule and not a number of this road.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// What the map says.
    pub value: Value,
    /// Whether a code such as `DE:urban` says it.
    pub implicit: bool,
}

const fn explicit(value: Value) -> Read {
    Read { value, implicit: false }
}

/// The value of a `maxspeed` tag; nothing where it says no more than its absence would.
pub fn read_value(text: &str) -> Option<Read> {
    let text = text.trim();
    match text.to_ascii_lowercase().as_str() {
        "" | "implicit" | "default" | "unknown" | "unposted" => return None,
        "none" | "no" => return Some(explicit(Value::Unlimited)),
        "walk" | "walking" => return Some(explicit(WALK)),
        "signals" | "variable" => {
            return Some(explicit(Value::Unknown(UnknownReason::Variable)));
        }
        _ => {}
    }
    if let Some(read) = read_code(text) {
        return Some(read);
    }
    let kmh = read_speed(text);
    let centi = kmh.and_then(Centi::from_kmh);
    Some(explicit(centi.map_or(Value::Unknown(UnknownReason::Unreadable), Value::Kmh)))
}

/// `50`, `50 km/h`, `30 mph`, `10 knots` in km/h.
fn read_speed(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let number: f64 = number.parse().ok()?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "km/h" | "kmh" | "kph" | "kmph" => 1.0,
        "mph" => MILE_KM,
        "knots" | "knot" => NAUTICAL_MILE_KM,
        _ => return None,
    };
    Some(number * factor)
}

/// `DE:urban`, `GB:nsl_single`, `FR:zone30`, `DE:30`; nothing where it is no such code.
pub fn read_code(text: &str) -> Option<Read> {
    let (place, kind) = text.split_once(':')?;
    let code = country::Code::parse(place.get(..2)?)?;
    let part = place.get(2..)?;
    if !part.is_empty() && !part.starts_with('-') {
        return None;
    }
    let kind = kind.trim().to_ascii_lowercase();
    if let Some(zone) = kind.strip_prefix("zone") {
        let number: f64 = zone.trim_start_matches([':', '_']).parse().ok()?;
        return Centi::from_kmh(number).map(|c| explicit(Value::Kmh(c)));
    }
    if let Ok(number) = kind.parse::<f64>() {
        return Centi::from_kmh(number).map(|c| explicit(Value::Kmh(c)));
    }
    let region = part.trim_start_matches('-');
    let value =
        country::by_code(code, region, &kind).unwrap_or(Value::Unknown(UnknownReason::Unreadable));
    Some(Read { value, implicit: true })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kmh(value: f64) -> Value {
        Value::Kmh(Centi::from_kmh(value).unwrap())
    }

    const UNREADABLE: Value = Value::Unknown(UnknownReason::Unreadable);

    #[test]
    fn words_of_the_map() {
        for (text, want, implicit) in [
            ("50", kmh(50.0), false),
            (" 50 km/h", kmh(50.0), false),
            ("30 mph", kmh(48.28), false),
            ("30mph", kmh(48.28), false),
            ("5 knots", kmh(9.26), false),
            ("none", Value::Unlimited, false),
            ("walk", WALK, false),
            ("signals", Value::Unknown(UnknownReason::Variable), false),
            ("DE:urban", kmh(50.0), true),
            ("FR:rural", kmh(80.0), true),
            ("RO:urban", kmh(50.0), true),
            ("DE:motorway", Value::Unlimited, true),
            ("BE-VLG:rural", kmh(70.0), true),
            ("GB:nsl_single", kmh(96.56), true),
            ("DE:zone30", kmh(30.0), false),
            ("DE:zone:30", kmh(30.0), false),
            ("AT:30", kmh(30.0), false),
            ("DE:spaceway", UNREADABLE, true),
            ("XX:urban", UNREADABLE, true),
            ("50;30", UNREADABLE, false),
            ("fast", UNREADABLE, false),
            ("-50", UNREADABLE, false),
            ("0", UNREADABLE, false),
            ("5000", UNREADABLE, false),
            ("50 furlongs", UNREADABLE, false),
            ("1e2", UNREADABLE, false),
        ] {
            let read = read_value(text).unwrap();
            assert_eq!((read.value, read.implicit), (want, implicit), "{text}");
        }
        for text in ["", " ", "implicit", "default"] {
            assert_eq!(read_value(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,40}") {
            if let Some(Read { value: Value::Kmh(c), .. }) = read_value(&text) {
                prop_assert!(PLAUSIBLE_KMH.contains(&c.kmh()));
            }
        }

        #[test]
        fn numbers_survive(n in 5_u16..=150) {
            let v = f64::from(n);
            prop_assert_eq!(read_value(&n.to_string()).unwrap().value, kmh(v));
            prop_assert_eq!(read_value(&format!("{n} mph")).unwrap().value, kmh(v * MILE_KM));
        }
    }
}
