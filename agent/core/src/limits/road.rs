//! Which of the map's ways are roads for a van, and what their tags say of direction and limit.
//!
//! INVARIANT: railways, paths, farm tracks and roads closed to motor vehicles are no roads here.

use super::{
    LimitSource, LimitState, UnknownReason, Vehicle,
    conditional::{self, Condition, Conditional, HGV_ABOVE_KG, LocalTime},
    country::{self, Code, Kind},
    tags::{self, Value},
};

/// Kinds of road, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// `motorway`.
    Motorway,
    /// `motorway_link`: ramps.
    MotorwayLink,
    /// `trunk`, and its ramps.
    Trunk,
    /// `primary`, and its ramps.
    Primary,
    /// `secondary`, and its ramps.
    Secondary,
    /// `tertiary`, and its ramps.
    Tertiary,
    /// `unclassified`, `road`: minor roads between places.
    Minor,
    /// `residential`.
    Residential,
    /// `living_street`: home zones.
    LivingStreet,
    /// `service`: yards, accesses, car parks.
    Service,
}

impl Class {
    /// Every class, in the order of its number.
    pub const ALL: [Self; 10] = [
        Self::Motorway,
        Self::MotorwayLink,
        Self::Trunk,
        Self::Primary,
        Self::Secondary,
        Self::Tertiary,
        Self::Minor,
        Self::Residential,
        Self::LivingStreet,
        Self::Service,
    ];

    /// The map's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Motorway => "motorway",
            Self::MotorwayLink => "motorway_link",
            Self::Trunk => "trunk",
            Self::Primary => "primary",
            Self::Secondary => "secondary",
            Self::Tertiary => "tertiary",
            Self::Minor => "unclassified",
            Self::Residential => "residential",
            Self::LivingStreet => "living_street",
            Self::Service => "service",
        }
    }

    fn read(highway: &str) -> Option<Self> {
        Some(match highway {
            "motorway" => Self::Motorway,
            "motorway_link" => Self::MotorwayLink,
            "trunk" | "trunk_link" => Self::Trunk,
            "primary" | "primary_link" => Self::Primary,
            "secondary" | "secondary_link" => Self::Secondary,
            "tertiary" | "tertiary_link" => Self::Tertiary,
            "unclassified" | "road" => Self::Minor,
            "residential" => Self::Residential,
            "living_street" => Self::LivingStreet,
            "service" => Self::Service,
            _ => return None,
        })
    }
}

/// In which directions of the way's own order one may drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ways {
    /// Both.
    Both,
    /// Only along it.
    Forward,
    /// Only against it.
    Backward,
}

/// The limit of one direction of a road.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// Where no condition holds.
    pub base: Value,
    /// Whether `base` is the country's rule.
    pub implicit: bool,
    /// Conditions, the last that holds wins.
    pub conditions: Vec<Conditional>,
}

impl Rule {
    /// What holds for this vehicle now.
    pub fn state(&self, vehicle: &Vehicle, local: Option<LocalTime>) -> LimitState {
        let (value, conditional) =
            conditional::resolve(self.base, &self.conditions, vehicle, local);
        let source = if conditional {
            LimitSource::Conditional
        } else if self.implicit {
            LimitSource::Implicit
        } else {
            LimitSource::Explicit
        };
        match value {
            Value::Kmh(c) => LimitState::Known(super::Limit { kmh: c.kmh(), source }),
            Value::Unlimited => LimitState::Unlimited(source),
            Value::Unknown(reason) => LimitState::Unknown(reason),
        }
    }
}

/// What the file keeps of a way's tags. Many ways share one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Profile {
    /// Kind of road.
    pub class: Class,
    /// Permitted directions.
    pub ways: Ways,
    /// In a tunnel: there are no fixes.
    pub tunnel: bool,
    /// On a bridge.
    pub bridge: bool,
    /// Limit along the way.
    pub forward: Rule,
    /// Limit against the way.
    pub backward: Rule,
}

struct Tags<'a>(&'a [(&'a str, &'a str)]);

impl<'a> Tags<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(k, _)| *k == key).map(|(_, v)| *v)
    }

    fn is(&self, key: &str, values: &[&str]) -> bool {
        self.get(key).is_some_and(|v| values.contains(&v))
    }
}

/// What a way's tags say; nothing where it is no road for a van.
pub fn read(tags: &[(&str, &str)], country: Option<Code>) -> Option<Profile> {
    let tags = Tags(tags);
    let class = Class::read(tags.get("highway")?)?;
    if tags.is("area", &["yes"]) || !open_to_vans(&tags) {
        return None;
    }
    if class == Class::Service
        && tags.is("service", &["driveway", "parking_aisle", "drive-through"])
    {
        return None;
    }
    let ways = match tags.get("oneway") {
        Some("yes" | "true" | "1") => Ways::Forward,
        Some("-1" | "reverse") => Ways::Backward,
        Some("no" | "false" | "0") => Ways::Both,
        // Lanes that change their direction: either is possible.
        Some("reversible" | "alternating") => Ways::Both,
        _ if class == Class::Motorway || tags.is("junction", &["roundabout", "circular"]) => {
            Ways::Forward
        }
        _ => Ways::Both,
    };
    Some(Profile {
        class,
        ways,
        tunnel: tags.get("tunnel").is_some_and(|v| v != "no"),
        bridge: tags.get("bridge").is_some_and(|v| v != "no"),
        forward: rule(&tags, "forward", class, country),
        backward: rule(&tags, "backward", class, country),
    })
}

/// The most special access tag decides.
fn open_to_vans(tags: &Tags<'_>) -> bool {
    const CLOSED: [&str; 5] = ["no", "agricultural", "forestry", "military", "emergency"];
    for key in ["motorcar", "motor_vehicle", "vehicle", "access"] {
        if let Some(value) = tags.get(key) {
            return !CLOSED.contains(&value);
        }
    }
    true
}

fn rule(tags: &Tags<'_>, direction: &str, class: Class, country: Option<Code>) -> Rule {
    let of_direction = tags.get(&format!("maxspeed:{direction}")).and_then(tags::read_value);
    let read = of_direction
        .or_else(|| tags.get("maxspeed").and_then(tags::read_value))
        .or_else(|| tags.get("zone:maxspeed").and_then(zone))
        .or_else(|| {
            let types = ["maxspeed:type", "source:maxspeed", "zone:traffic"];
            types.iter().find_map(|key| tags.get(key).and_then(tags::read_code))
        });
    let (base, implicit) = match read {
        Some(read) => (read.value, read.implicit),
        None if tags.get("maxspeed:lanes").is_some()
            || tags.get(&format!("maxspeed:lanes:{direction}")).is_some() =>
        {
            (Value::Unknown(UnknownReason::ByLane), false)
        }
        None => match by_class(tags, class, country) {
            Some(value) => (value, true),
            None => (Value::Unknown(UnknownReason::NotTagged), false),
        },
    };
    let mut conditions = Vec::new();
    let lorries = tags
        .get(&format!("maxspeed:hgv:{direction}"))
        .or_else(|| tags.get("maxspeed:hgv"))
        .and_then(tags::read_value);
    if let Some(read) = lorries {
        let when = Condition { above_kg: Some(HGV_ABOVE_KG), ..Condition::default() };
        conditions.push(Conditional { value: read.value, when });
    }
    let conditional = tags
        .get(&format!("maxspeed:{direction}:conditional"))
        .or_else(|| tags.get("maxspeed:conditional"));
    if let Some(text) = conditional {
        conditions.extend(conditional::read(text));
    }
    conditions.truncate(conditional::MAX_CONDITIONS);
    Rule { base, implicit, conditions }
}

/// `DE:30`, or `30` alone.
fn zone(text: &str) -> Option<tags::Read> {
    tags::read_code(text).or_else(|| tags::read_value(text))
}

/// What the law says of this class of road, where neither built-up area nor lanes decide. Streets
/// called residential lie in built-up areas by that tag's definition.
fn by_class(tags: &Tags<'_>, class: Class, country: Option<Code>) -> Option<Value> {
    let kind = match class {
        Class::Motorway => Kind::Motorway,
        Class::LivingStreet => Kind::LivingStreet,
        Class::Residential => Kind::Urban,
        Class::Trunk if tags.is("motorroad", &["yes"]) => Kind::Expressway,
        Class::MotorwayLink
        | Class::Trunk
        | Class::Primary
        | Class::Secondary
        | Class::Tertiary
        | Class::Minor
        | Class::Service => return None,
    };
    country::by_kind(country?, kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::tags::Centi;

    fn kmh(v: f64) -> Value {
        Value::Kmh(Centi::from_kmh(v).unwrap())
    }

    fn of(text: &str, country: &str) -> Option<Profile> {
        let tags: Vec<(&str, &str)> =
            text.split_whitespace().map(|t| t.split_once('=').unwrap()).collect();
        read(&tags, Code::parse(country))
    }

    #[test]
    fn roads_for_vans() {
        for (tags, want) in [
            ("highway=residential", true),
            ("highway=service", true),
            ("highway=service service=alley", true),
            ("highway=service service=driveway", false),
            ("highway=track", false),
            ("highway=footway", false),
            ("highway=construction", false),
            ("highway=unclassified area=yes", false),
            ("railway=rail", false),
            ("railway=tram highway=residential", true),
            ("highway=residential motor_vehicle=no", false),
            ("highway=residential access=no", false),
            ("highway=residential access=no motor_vehicle=yes", true),
            ("highway=service access=private", true),
            ("highway=unclassified motor_vehicle=agricultural", false),
        ] {
            assert_eq!(of(tags, "DE").is_some(), want, "{tags}");
        }
    }

    #[test]
    fn directions() {
        for (tags, want) in [
            ("highway=motorway", Ways::Forward),
            ("highway=motorway oneway=no", Ways::Both),
            ("highway=primary oneway=-1", Ways::Backward),
            ("highway=primary junction=roundabout", Ways::Forward),
            ("highway=primary", Ways::Both),
        ] {
            assert_eq!(of(tags, "DE").unwrap().ways, want, "{tags}");
        }
    }

    #[test]
    fn limits() {
        let not_tagged = Value::Unknown(UnknownReason::NotTagged);
        for (tags, country, base, implicit) in [
            ("highway=primary maxspeed=70", "DE", kmh(70.0), false),
            ("highway=primary", "DE", not_tagged, false),
            ("highway=primary maxspeed:type=DE:rural", "", kmh(100.0), true),
            ("highway=primary source:maxspeed=FR:rural", "", kmh(80.0), true),
            ("highway=primary source:maxspeed=sign", "FR", not_tagged, false),
            ("highway=primary maxspeed=RO:urban", "", kmh(50.0), true),
            ("highway=residential zone:maxspeed=DE:30", "DE", kmh(30.0), false),
            ("highway=residential", "RO", kmh(50.0), true),
            ("highway=residential", "", not_tagged, false),
            ("highway=residential", "GB", not_tagged, false),
            ("highway=motorway", "FR", kmh(130.0), true),
            ("highway=motorway", "DE", Value::Unlimited, true),
            ("highway=motorway_link", "FR", not_tagged, false),
            ("highway=living_street", "DE", tags::WALK, true),
            ("highway=trunk motorroad=yes", "CH", kmh(100.0), true),
            (
                "highway=primary maxspeed:lanes=100|80",
                "DE",
                Value::Unknown(UnknownReason::ByLane),
                false,
            ),
            ("highway=primary maxspeed=100 maxspeed:lanes=100|80", "DE", kmh(100.0), false),
            (
                "highway=primary maxspeed=signals",
                "DE",
                Value::Unknown(UnknownReason::Variable),
                false,
            ),
        ] {
            let p = of(tags, country).unwrap();
            assert_eq!((p.forward.base, p.forward.implicit), (base, implicit), "{tags} {country}");
            assert_eq!(p.forward, p.backward, "{tags}");
        }
        let p = of("highway=primary maxspeed=100 maxspeed:forward=60", "").unwrap();
        assert_eq!((p.forward.base, p.backward.base), (kmh(60.0), kmh(100.0)));
    }

    #[test]
    fn lorries_have_their_own() {
        let p = of("highway=trunk maxspeed=100 maxspeed:hgv=60", "").unwrap();
        for (mass, want) in [(Some(3500), 100.0), (Some(3501), 60.0), (None, 100.0)] {
            let state = p.forward.state(&Vehicle { max_mass_kg: mass }, None);
            assert_eq!(state.kmh(), Some(want), "{mass:?}");
        }
    }
}
