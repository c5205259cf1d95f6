//! `maxspeed:conditional`: `30 @ (22:00-06:00); 80 @ (weight>7.5)`. Times of day, days of the week and
//! the vehicle's mass are understood; all else is a condition that cannot be judged.
//!
//! INVARIANT: a condition that cannot be judged never makes the limit lower, and where it could make
//! it higher the limit is unknown.

use super::{
    UnknownReason, Vehicle,
    tags::{self, Value},
};

/// Most conditions of one road; what has more is not understood.
pub const MAX_CONDITIONS: usize = 16;
/// A heavy goods vehicle (`hgv`) has more than this permitted mass.
pub const HGV_ABOVE_KG: u32 = 3500;
const DAY_MIN: u16 = 24 * 60;
const ALL_DAYS: u8 = 0b111_1111;

/// The time at the place where the vehicle is, of which conditions speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Days since Monday, 0 to 6.
    pub weekday: u8,
    /// Minutes since midnight, 0 to 1439.
    pub minute: u16,
}

/// A time of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Bit 0 is Monday: the day on which it begins.
    pub days: u8,
    /// Minutes since midnight, the first in it.
    pub from_min: u16,
    /// Minutes since midnight, the first after it; not above `from_min` where it ends on the next day.
    pub to_min: u16,
}

impl Span {
    fn contains(self, t: LocalTime) -> bool {
        let day = |n: u8| self.days & (1 << (n % 7)) != 0;
        if self.from_min < self.to_min {
            day(t.weekday) && (self.from_min..self.to_min).contains(&t.minute)
        } else {
            (day(t.weekday) && t.minute >= self.from_min)
                || (day(t.weekday.saturating_add(6)) && t.minute < self.to_min)
        }
    }
}

/// When a conditional limit holds: where all of these do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Condition {
    /// In this time of the week.
    pub span: Option<Span>,
    /// For vehicles of more than this permitted mass.
    pub above_kg: Option<u32>,
    /// And where something holds that cannot be judged.
    pub unjudged: bool,
}

impl Condition {
    /// Whether it holds; nothing where that is not known.
    pub fn holds(&self, vehicle: &Vehicle, local: Option<LocalTime>) -> Option<bool> {
        let span = self.span.map_or(Some(true), |s| local.map(|t| s.contains(t)));
        let mass = self.above_kg.map_or(Some(true), |kg| vehicle.max_mass_kg.map(|m| m > kg));
        let rest = if self.unjudged { None } else { Some(true) };
        let parts = [span, mass, rest];
        if parts.contains(&Some(false)) {
            Some(false)
        } else if parts.contains(&None) {
            None
        } else {
            Some(true)
        }
    }
}

/// A value and when it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conditional {
    /// The limit.
    pub value: Value,
    /// When it is the limit.
    pub when: Condition,
}

/// What holds now: the last condition that holds, else `base`; the flag says that it was a condition.
pub fn resolve(
    base: Value,
    conditions: &[Conditional],
    vehicle: &Vehicle,
    local: Option<LocalTime>,
) -> (Value, bool) {
    let (mut value, mut conditional, mut doubt) = (base, false, false);
    for c in conditions {
        match c.when.holds(vehicle, local) {
            Some(true) => (value, conditional, doubt) = (c.value, true, false),
            Some(false) => {}
            None => doubt |= c.value.may_exceed(value),
        }
    }
    if doubt { (Value::Unknown(UnknownReason::Condition), false) } else { (value, conditional) }
}

/// Reads the whole tag. What is not understood becomes a condition that cannot be judged.
pub fn read(text: &str) -> Vec<Conditional> {
    let unjudged = Condition { unjudged: true, ..Condition::default() };
    let mut found = Vec::new();
    for part in split_outside_brackets(text) {
        let Some((value, condition)) = part.split_once('@') else {
            found.push(Conditional {
                value: Value::Unknown(UnknownReason::Unreadable),
                when: unjudged,
            });
            continue;
        };
        let value =
            tags::read_value(value).map_or(Value::Unknown(UnknownReason::Unreadable), |r| r.value);
        let condition = condition.trim();
        let condition =
            condition.strip_prefix('(').and_then(|c| c.strip_suffix(')')).unwrap_or(condition);
        for when in read_condition(condition) {
            found.push(Conditional { value, when });
        }
    }
    if found.len() > MAX_CONDITIONS {
        return vec![Conditional {
            value: Value::Unknown(UnknownReason::Unreadable),
            when: unjudged,
        }];
    }
    found
}

/// Parts between `;`, but not of those in brackets: opening hours have their own.
fn split_outside_brackets(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_u32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            ';' if depth == 0 => {
                parts.extend(text.get(from..at));
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(from..));
    parts.retain(|p| !p.trim().is_empty());
    parts
}

/// One condition for each time span; all of them have the other parts.
fn read_condition(text: &str) -> Vec<Condition> {
    let mut common = Condition::default();
    let mut spans: Option<Vec<Span>> = None;
    for part in text.split(" AND ").flat_map(|p| p.split(" and ")).map(str::trim) {
        if let Some(kg) = read_mass(part) {
            common.above_kg = Some(common.above_kg.map_or(kg, |other| other.max(kg)));
        } else if let (Some(read), None) = (read_spans(part), &spans) {
            spans = Some(read);
        } else {
            common.unjudged = true;
        }
    }
    match spans {
        None => vec![common],
        Some(spans) => spans.into_iter().map(|s| Condition { span: Some(s), ..common }).collect(),
    }
}

/// `weight>7.5`, `maxweightrating>=3.5`, `hgv`: the mass above which it holds.
fn read_mass(text: &str) -> Option<u32> {
    if text == "hgv" {
        return Some(HGV_ABOVE_KG);
    }
    let (key, tonnes) = text.split_once('>')?;
    if !matches!(key.trim(), "weight" | "maxweight" | "maxweightrating" | "weightrating") {
        return None;
    }
    let (tonnes, less) = match tonnes.strip_prefix('=') {
        Some(tonnes) => (tonnes, 1),
        None => (tonnes, 0),
    };
    let tonnes: f64 = tonnes.trim().trim_end_matches('t').trim().parse().ok()?;
    if !(0.1..=100.0).contains(&tonnes) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "100 to 100,000 by the lines above"
    )]
    let kg = (tonnes * 1000.0).round() as u32;
    Some(kg - less)
}

/// `22:00-06:00`, `Mo-Fr 07:00-17:00`, `Mo-Fr 07:00-09:00,16:00-18:00; Sa 08:00-12:00`, `Sa,Su`.
fn read_spans(text: &str) -> Option<Vec<Span>> {
    let mut spans = Vec::new();
    for rule in text.split(';').map(str::trim) {
        let hours_at = rule.find(|c: char| c.is_ascii_digit()).unwrap_or(rule.len());
        let (days, hours) = rule.split_at_checked(hours_at)?;
        let days = match days.trim().trim_end_matches(':') {
            "" => ALL_DAYS,
            days => read_days(days)?,
        };
        if hours.is_empty() {
            spans.push(Span { days, from_min: 0, to_min: DAY_MIN });
        }
        for span in hours.split(',').map(str::trim).filter(|s| !s.is_empty()) {
            let (from, to) = span.split_once('-')?;
            spans.push(Span {
                days,
                from_min: read_clock(from)? % DAY_MIN,
                to_min: read_clock(to)?,
            });
        }
    }
    (!spans.is_empty()).then_some(spans)
}

fn read_clock(text: &str) -> Option<u16> {
    let (h, m) = text.trim().split_once(':')?;
    if h.len() > 2 || m.len() != 2 {
        return None;
    }
    let (h, m): (u16, u16) = (h.parse().ok()?, m.parse().ok()?);
    (m < 60 && (h < 24 || (h == 24 && m == 0))).then_some(h * 60 + m)
}

fn read_days(text: &str) -> Option<u8> {
    let day = |name: &str| {
        ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"].iter().position(|d| *d == name.trim())
    };
    let mut days = 0;
    for part in text.split(',') {
        let (from, to) = match part.split_once('-') {
            Some((from, to)) => (day(from)?, day(to)?),
            None => (day(part)?, day(part)?),
        };
        let count = (to + 7 - from) % 7;
        for n in 0..=count {
            days |= 1 << ((from + n) % 7);
        }
    }
    Some(days)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::tags::Centi;

    fn kmh(v: f64) -> Value {
        Value::Kmh(Centi::from_kmh(v).unwrap())
    }

    fn at(weekday: u8, hour: u16, minute: u16) -> Option<LocalTime> {
        Some(LocalTime { weekday, minute: hour * 60 + minute })
    }

    /// What holds at 100 km/h without a condition.
    fn now(tag: &str, mass: Option<u32>, local: Option<LocalTime>) -> (Value, bool) {
        resolve(kmh(100.0), &read(tag), &Vehicle { max_mass_kg: mass }, local)
    }

    #[test]
    fn times_and_masses() {
        let (base, doubt) = (kmh(100.0), Value::Unknown(UnknownReason::Condition));
        let van = Some(3500);
        for (tag, mass, local, want) in [
            ("30 @ (22:00-06:00)", van, at(0, 23, 0), (kmh(30.0), true)),
            ("30 @ (22:00-06:00)", van, at(0, 5, 59), (kmh(30.0), true)),
            ("30 @ (22:00-06:00)", van, at(0, 6, 0), (base, false)),
            ("30 @ 22:00-06:00", van, at(0, 22, 0), (kmh(30.0), true)),
            // Could only be lower: the base stands, in the driver's favour.
            ("30 @ (22:00-06:00)", van, None, (base, false)),
            ("120 @ (22:00-06:00)", van, None, (doubt, false)),
            ("30 @ (Mo-Fr 07:00-17:00)", van, at(5, 8, 0), (base, false)),
            ("30 @ (Mo-Fr 07:00-17:00)", van, at(4, 8, 0), (kmh(30.0), true)),
            ("30 @ (Sa,Su)", van, at(6, 12, 0), (kmh(30.0), true)),
            ("30 @ (Fr 22:00-06:00)", van, at(5, 3, 0), (kmh(30.0), true)),
            ("30 @ (Fr 22:00-06:00)", van, at(4, 3, 0), (base, false)),
            (
                "30 @ (Mo-Fr 07:00-09:00,16:00-18:00; Sa 08:00-12:00)",
                van,
                at(5, 8, 30),
                (kmh(30.0), true),
            ),
            ("80 @ (weight>7.5)", van, None, (base, false)),
            ("80 @ (weight>7.5)", Some(12_000), None, (kmh(80.0), true)),
            ("80 @ (weight>=3.5)", van, None, (kmh(80.0), true)),
            ("120 @ (weight>7.5)", None, None, (doubt, false)),
            ("80 @ hgv", Some(7500), None, (kmh(80.0), true)),
            ("80 @ (weight>7.5 AND 22:00-06:00)", van, at(0, 23, 0), (base, false)),
            ("80 @ (wet)", van, None, (base, false)),
            ("120 @ (dry)", van, None, (doubt, false)),
            ("none @ (22:00-06:00)", van, at(0, 23, 0), (Value::Unlimited, true)),
            ("100", van, None, (doubt, false)),
            ("80 @ (wet); 60 @ (22:00-06:00)", van, at(0, 23, 0), (kmh(60.0), true)),
            ("120 @ (dry); 60 @ (22:00-06:00)", van, at(0, 23, 0), (kmh(60.0), true)),
            ("130 @ (25:00-26:00)", van, at(0, 1, 0), (doubt, false)),
        ] {
            assert_eq!(now(tag, mass, local), want, "{tag} {mass:?} {local:?}");
        }
        let many = "30 @ (22:00-06:00);".repeat(40);
        assert_eq!(now(&many, van, at(0, 23, 0)), (doubt, false));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[-0-9@();:<>=, A-Za-z]{0,60}|.{0,30}") {
            let read = read(&text);
            prop_assert!(read.len() <= MAX_CONDITIONS);
            resolve(Value::Unlimited, &read, &Vehicle::default(), at(3, 12, 0));
        }

        /// What is not known never lowers a limit.
        #[test]
        fn unknown_never_lowers(kmh_at_night in 5.0_f64..=200.0) {
            let (value, _) = now(&format!("{kmh_at_night:.0} @ (22:00-06:00)"), None, None);
            prop_assert!(!kmh(100.0).may_exceed(value) || matches!(value, Value::Unknown(_)));
        }
    }
}
