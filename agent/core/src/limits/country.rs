//! Limits that a country's law sets by kind of road, for cars and vans up to 3.5 t.
//!
//! Source: the OpenStreetMap wiki, Default speed limits, and the national laws it names. Laws change:
//! a limit of this table is always marked as implicit. Where a rule depends on what the map does not
//! tell (lanes, barriers, season, hour), the higher value stands, in the driver's favour, or none.

use super::{
    UnknownReason,
    tags::{Centi, Value, WALK},
};

/// A country's two letters (ISO 3166-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code([u8; 2]);

impl Code {
    /// From two capital letters; `UK` is read as `GB`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.as_bytes() {
            b"UK" => Some(Self(*b"GB")),
            &[a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Some(Self([a, b])),
            _ => None,
        }
    }

    /// The letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }

    /// The letters as bytes.
    pub const fn bytes(self) -> [u8; 2] {
        self.0
    }
}

/// A country's rules, km/h; 0 where the law has none that the map's words decide, and
/// [`FREE`] where there is no limit.
struct Rules {
    code: &'static [u8; 2],
    /// Within built-up areas.
    urban: u16,
    /// Outside of them.
    rural: u16,
    /// Roads for motor vehicles only that are no motorways.
    expressway: u16,
    /// Motorways.
    motorway: u16,
    /// Home zones; [`PACE`] is walking pace.
    living: u16,
}

const FREE: u16 = u16::MAX;
const PACE: u16 = u16::MAX - 1;

const fn of(
    code: &'static [u8; 2],
    urban: u16,
    rural: u16,
    expressway: u16,
    motorway: u16,
    living: u16,
) -> Rules {
    Rules { code, urban, rural, expressway, motorway, living }
}

const RULES: [Rules; 32] = [
    of(b"AT", 50, 100, 100, 130, PACE),
    of(b"BE", 50, 90, 120, 120, 20),
    of(b"BG", 50, 90, 120, 140, 20),
    of(b"CH", 50, 80, 100, 120, 20),
    of(b"CY", 50, 80, 0, 100, 0),
    of(b"CZ", 50, 90, 110, 130, 20),
    of(b"DE", 50, 100, 0, FREE, PACE),
    of(b"DK", 50, 80, 0, 130, 15),
    of(b"EE", 50, 90, 0, 0, 20),
    of(b"ES", 50, 90, 0, 120, 20),
    of(b"FI", 50, 80, 0, 120, 20),
    // Rural: 80, and 90 where a department chose it; those roads carry a number.
    of(b"FR", 50, 80, 110, 130, 20),
    of(b"GR", 50, 90, 110, 130, 20),
    of(b"HR", 50, 90, 110, 130, PACE),
    of(b"HU", 50, 90, 110, 130, 20),
    // Rural was 80 until 2025 and is 60 on local roads since.
    of(b"IE", 50, 80, 0, 120, 0),
    of(b"IT", 50, 90, 110, 130, 0),
    of(b"LT", 50, 90, 130, 130, 20),
    of(b"LU", 50, 90, 0, 130, 20),
    of(b"LV", 50, 90, 0, 0, 20),
    of(b"MT", 50, 80, 0, 0, 0),
    // Motorways: 100 from 6 to 19 h, which signs show.
    of(b"NL", 50, 80, 100, 130, 15),
    of(b"NO", 50, 80, 0, 0, PACE),
    of(b"PL", 50, 90, 120, 140, 20),
    of(b"PT", 50, 90, 100, 120, 20),
    of(b"RO", 50, 90, 120, 130, 20),
    of(b"RS", 50, 80, 100, 130, PACE),
    of(b"SE", 50, 70, 0, 110, PACE),
    of(b"SI", 50, 90, 110, 130, 10),
    of(b"SK", 50, 90, 90, 130, 20),
    of(b"TR", 50, 90, 110, 130, 20),
    of(b"UA", 50, 90, 110, 130, 20),
];

fn value(kmh: u16) -> Option<Value> {
    match kmh {
        0 => None,
        FREE => Some(Value::Unlimited),
        PACE => Some(WALK),
        kmh => Centi::from_kmh(f64::from(kmh)).map(Value::Kmh),
    }
}

/// Kinds of road that a law names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Within built-up areas.
    Urban,
    /// Outside of them.
    Rural,
    /// For motor vehicles only, no motorway.
    Expressway,
    /// A motorway.
    Motorway,
    /// A home zone.
    LivingStreet,
}

/// A country's limit for a kind of road; nothing where this table has none.
pub fn by_kind(code: Code, kind: Kind) -> Option<Value> {
    if code.0 == *b"GB" {
        // Motorways: 70 mph. Everything else depends on lamps and lanes.
        return (kind == Kind::Motorway).then_some(mph(70.0));
    }
    let rules = RULES.iter().find(|r| *r.code == code.0)?;
    value(match kind {
        Kind::Urban => rules.urban,
        Kind::Rural => rules.rural,
        Kind::Expressway => rules.expressway,
        Kind::Motorway => rules.motorway,
        Kind::LivingStreet => rules.living,
    })
}

fn mph(mph: f64) -> Value {
    Centi::from_kmh(mph * 1.609_344).map_or(Value::Unknown(UnknownReason::Unreadable), Value::Kmh)
}

/// A code's limit: `urban`, `rural`, `motorway`, …; nothing where it is not known.
pub fn by_code(code: Code, region: &str, kind: &str) -> Option<Value> {
    match (code.as_str(), region, kind) {
        ("GB", _, "nsl_single") => return Some(mph(60.0)),
        ("GB", _, "nsl_dual" | "motorway") => return Some(mph(70.0)),
        ("GB", _, "nsl_restricted") => return Some(mph(30.0)),
        ("BE", "VLG", "rural") => return value(70),
        ("BE", "BRU", "rural") => return value(70),
        ("BE", "BRU", "urban") => return value(30),
        ("RO", _, "trunk") => return value(100),
        ("DE", _, "bicycle_road") => return value(30),
        _ => {}
    }
    let kind = match kind {
        "urban" => Kind::Urban,
        "rural" => Kind::Rural,
        "motorway" => Kind::Motorway,
        "trunk" | "expressway" | "motorroad" => Kind::Expressway,
        "living_street" => Kind::LivingStreet,
        "walk" => return Some(WALK),
        _ => return None,
    };
    by_kind(code, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_sorted_and_plausible() {
        for pair in RULES.windows(2) {
            assert!(pair[0].code < pair[1].code);
        }
        for r in &RULES {
            let code = Code::parse(std::str::from_utf8(r.code).unwrap()).unwrap();
            assert!(r.urban >= 30 && r.urban < r.rural, "{code:?}");
            for v in [r.urban, r.rural, r.expressway, r.motorway, r.living] {
                assert!(v == 0 || value(v).is_some(), "{code:?}: {v}");
            }
        }
    }

    #[test]
    fn codes() {
        for (text, want) in
            [("DE", true), ("de", false), ("D", false), ("DEU", false), ("Dé", false)]
        {
            assert_eq!(Code::parse(text).is_some(), want, "{text}");
        }
        let uk = Code::parse("UK").unwrap();
        assert_eq!(uk.as_str(), "GB");
        assert_eq!(by_kind(uk, Kind::Urban), None);
        assert_eq!(by_code(uk, "", "nsl_single"), Some(mph(60.0)));
    }
}
