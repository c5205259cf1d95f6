//! Profiles as bytes, and the two small tools of every part of the file: [`Cursor`] and varints.
//!
//! INVARIANT: reading is bounded by the bytes that are there, and every profile that is read is one
//! that could have been written.

use super::{
    UnknownReason,
    conditional::{Condition, Conditional, MAX_CONDITIONS, Span},
    road::{Class, Profile, Rule, Ways},
    tags::{Centi, Value},
};

/// Bytes from front to back; nothing more once they are used up.
#[derive(Clone, Debug)]
pub struct Cursor<'a>(pub &'a [u8]);

impl Cursor<'_> {
    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number of 7 bits a byte, the lowest first.
    pub fn varint(&mut self) -> Option<u64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for shift in (7..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A number that may be below zero.
    pub fn signed(&mut self) -> Option<i64> {
        let v = self.varint()?;
        let half = i64::try_from(v >> 1).ok()?;
        Some(if v & 1 == 0 { half } else { -half - 1 })
    }

    /// A varint of 32 bits.
    pub fn short(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }
}

/// Appends a number of up to 63 bits, 7 bits a byte.
pub fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    value &= u64::MAX >> 1;
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            to.push(low);
            return;
        }
        to.push(low | 0x80);
    }
}

/// Appends a number that may be below zero; of up to 62 bits.
pub fn put_signed(to: &mut Vec<u8>, value: i64) {
    put_varint(to, value.unsigned_abs().wrapping_mul(2).wrapping_sub(u64::from(value < 0)));
}

/// Reasons that the map itself can give, by their number in the file.
const REASONS: [UnknownReason; 5] = [
    UnknownReason::NotTagged,
    UnknownReason::Variable,
    UnknownReason::ByLane,
    UnknownReason::Unreadable,
    UnknownReason::Condition,
];
const UNLIMITED: u64 = 0xffff;
const FIRST_REASON: u64 = 0x1_0000;

fn put_value(to: &mut Vec<u8>, value: Value) {
    put_varint(
        to,
        match value {
            Value::Kmh(c) => u64::from(c.0),
            Value::Unlimited => UNLIMITED,
            Value::Unknown(reason) => {
                let n = REASONS.iter().position(|r| *r == reason).unwrap_or(3);
                FIRST_REASON + u64::try_from(n).unwrap_or(3)
            }
        },
    );
}

fn value(from: &mut Cursor<'_>) -> Option<Value> {
    Some(match from.varint()? {
        UNLIMITED => Value::Unlimited,
        n if n < UNLIMITED => {
            let centi = Centi(u16::try_from(n).ok()?);
            if Centi::from_kmh(centi.kmh()) != Some(centi) {
                return None;
            }
            Value::Kmh(centi)
        }
        n => {
            let n = usize::try_from(n - FIRST_REASON).ok()?;
            Value::Unknown(*REASONS.get(n)?)
        }
    })
}

fn put_rule(to: &mut Vec<u8>, rule: &Rule) {
    put_value(to, rule.base);
    let count = u64::try_from(rule.conditions.len()).unwrap_or(0);
    put_varint(to, count << 1 | u64::from(rule.implicit));
    for c in &rule.conditions {
        put_value(to, c.value);
        let flags = u8::from(c.when.span.is_some())
            | u8::from(c.when.above_kg.is_some()) << 1
            | u8::from(c.when.unjudged) << 2;
        to.push(flags);
        if let Some(span) = c.when.span {
            to.push(span.days);
            put_varint(to, u64::from(span.from_min));
            put_varint(to, u64::from(span.to_min));
        }
        if let Some(kg) = c.when.above_kg {
            put_varint(to, u64::from(kg));
        }
    }
}

fn rule(from: &mut Cursor<'_>) -> Option<Rule> {
    let base = value(from)?;
    let head = from.varint()?;
    let count = usize::try_from(head >> 1).ok().filter(|n| *n <= MAX_CONDITIONS)?;
    let mut conditions = Vec::with_capacity(count);
    for _ in 0..count {
        let value = value(from)?;
        let flags = from.byte().filter(|f| f & !7 == 0)?;
        let span = if flags & 1 == 0 {
            None
        } else {
            let days = from.byte().filter(|d| d & 0x80 == 0)?;
            let mut clock = || u16::try_from(from.varint()?).ok().filter(|m| *m <= 24 * 60);
            Some(Span { days, from_min: clock()?, to_min: clock()? })
        };
        let above_kg = if flags & 2 == 0 { None } else { Some(from.short()?) };
        conditions.push(Conditional {
            value,
            when: Condition { span, above_kg, unjudged: flags & 4 != 0 },
        });
    }
    Some(Rule { base, implicit: head & 1 != 0, conditions })
}

/// Appends a profile.
pub fn put(to: &mut Vec<u8>, profile: &Profile) {
    to.push(
        u8::try_from(Class::ALL.iter().position(|c| *c == profile.class).unwrap_or(0)).unwrap_or(0),
    );
    let ways = match profile.ways {
        Ways::Both => 0,
        Ways::Forward => 1,
        Ways::Backward => 2,
    };
    to.push(ways | u8::from(profile.tunnel) << 2 | u8::from(profile.bridge) << 3);
    put_rule(to, &profile.forward);
    put_rule(to, &profile.backward);
}

/// Reads a profile; nothing where these bytes are none.
pub fn get(from: &mut Cursor<'_>) -> Option<Profile> {
    let class = *Class::ALL.get(usize::from(from.byte()?))?;
    let flags = from.byte().filter(|f| f & !15 == 0)?;
    let ways = match flags & 3 {
        0 => Ways::Both,
        1 => Ways::Forward,
        2 => Ways::Backward,
        _ => return None,
    };
    Some(Profile {
        class,
        ways,
        tunnel: flags & 4 != 0,
        bridge: flags & 8 != 0,
        forward: rule(from)?,
        backward: rule(from)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::road;

    #[test]
    fn profiles_survive() {
        for tags in [
            vec![("highway", "motorway"), ("maxspeed", "none"), ("tunnel", "yes")],
            vec![
                ("highway", "primary"),
                ("maxspeed", "30 mph"),
                ("maxspeed:hgv", "20 mph"),
                ("bridge", "yes"),
            ],
            vec![
                ("highway", "residential"),
                ("maxspeed:forward", "signals"),
                (
                    "maxspeed:conditional",
                    "30 @ (Mo-Fr 22:00-06:00,08:00-09:00); 80 @ (weight>7.5 AND wet)",
                ),
            ],
        ] {
            let profile = road::read(&tags, None).unwrap();
            let mut bytes = Vec::new();
            put(&mut bytes, &profile);
            let mut cursor = Cursor(&bytes);
            assert_eq!(get(&mut cursor).as_ref(), Some(&profile));
            assert!(cursor.0.is_empty());
            for cut in 0..bytes.len() {
                assert_eq!(get(&mut Cursor(&bytes[..cut])), None, "{cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn numbers_survive(v in -(1_i64 << 61)..(1_i64 << 61), u in 0..(1_u64 << 62)) {
            let mut bytes = Vec::new();
            put_signed(&mut bytes, v);
            put_varint(&mut bytes, u);
            let mut cursor = Cursor(&bytes);
            prop_assert_eq!(cursor.signed(), Some(v));
            prop_assert_eq!(cursor.varint(), Some(u));
        }

        #[test]
        fn what_is_read_is_what_would_be_written(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut cursor = Cursor(&bytes);
            if let Some(profile) = get(&mut cursor) {
                let mut again = Vec::new();
                put(&mut again, &profile);
                prop_assert_eq!(get(&mut Cursor(&again)), Some(profile));
            }
        }
    }
}
