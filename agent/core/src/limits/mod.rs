//! The speed limit where the vehicle is, from a file made of OpenStreetMap, without a network.
//!
//! In flow order: [`tags`], [`conditional`], [`country`], [`road`] and [`stop`] say what the map's words mean;
//! [`grid`], [`profile_code`], [`build`], [`cut`], [`tile`] and [`format`](mod@format) are the file; [`search`] finds roads near a place;
//! [`matcher`] says on which of them the vehicle is, by [`way`] between two fixes; [`stop_line`] how far the next stop line is; [`overrides`] are the fleet's corrections;
//! [`on_unit`] composes them.
//!
//! INVARIANT: a limit is said only where every road the vehicle may well be on has the same one.
//! Whatever is doubtful, damaged or not mapped is [`LimitState::Unknown`] with its reason.
//! INVARIANT: no I/O here: bytes come through [`format::ReadAt`].

pub mod build;
pub mod conditional;
pub mod country;
pub mod cut;
pub mod format;
pub mod grid;
pub mod matcher;
pub mod on_unit;
pub mod overrides;
pub mod profile_code;
pub mod road;
pub mod search;
pub mod stop;
pub mod stop_line;
pub mod tags;
pub mod tile;
pub mod way;

#[cfg(test)]
mod parallel_stories;
#[cfg(test)]
mod stop_stories;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod towns;

pub use self::{
    conditional::LocalTime,
    format::{LimitsError, Map, ReadAt},
    on_unit::SpeedLimits,
    overrides::Overrides,
    stop_line::StopLine,
};

/// Where a limit comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitSource {
    /// A number on this road in the map.
    Explicit,
    /// The country's rule for this kind of road: the map has no number.
    Implicit,
    /// A condition that holds now: the time, or the vehicle's mass.
    Conditional,
    /// The fleet's correction.
    Override,
}

impl LimitSource {
    /// One word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Explicit => "explicit",
            Self::Implicit => "implicit",
            Self::Conditional => "conditional",
            Self::Override => "override",
        }
    }
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Kilometres an hour; limits in miles an hour are converted.
    pub kmh: f64,
    /// Where it comes from.
    pub source: LimitSource,
}

/// Why no limit is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnknownReason {
    /// No fix was seen yet, or none for too long.
    NoFix,
    /// The fix is too inexact to tell roads apart.
    PoorFix,
    /// The vehicle was not followed for long enough to be sure of its road.
    Starting,
    /// No road of the map is where the vehicle is.
    OffRoad,
    /// It may be on roads of different limits.
    Doubt,
    /// The map has no limit for this road.
    NotTagged,
    /// The limit is shown by signs that change.
    Variable,
    /// The lanes have different limits.
    ByLane,
    /// The map says something that is not understood.
    Unreadable,
    /// Whether a condition holds is not known.
    Condition,
    /// The fleet says that the map is wrong here and does not know the limit.
    Contested,
    /// The file is damaged here, or could not be read.
    MapDamaged,
}

impl UnknownReason {
    /// A few words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoFix => "no position",
            Self::PoorFix => "the position is too inexact",
            Self::Starting => "the road is not sure yet",
            Self::OffRoad => "not on a road of the map",
            Self::Doubt => "roads of different limits are too near",
            Self::NotTagged => "the map has no limit for this road",
            Self::Variable => "signs that change show the limit",
            Self::ByLane => "lanes have different limits",
            Self::Unreadable => "the map's limit is not understood",
            Self::Condition => "a condition of the limit is not known",
            Self::Contested => "the fleet marked the map's limit as wrong",
            Self::MapDamaged => "the limits file is damaged here",
        }
    }
}

/// What is known of the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LimitState {
    /// This much.
    Known(Limit),
    /// There is none on this road (some motorways).
    Unlimited(LimitSource),
    /// Not known.
    Unknown(UnknownReason),
}

impl LimitState {
    /// Kilometres an hour, for a detector that compares; nothing where there is no limit or none is
    /// known.
    pub const fn kmh(&self) -> Option<f64> {
        match self {
            Self::Known(limit) => Some(limit.kmh),
            Self::Unlimited(_) | Self::Unknown(_) => None,
        }
    }

    /// Why it is not known.
    pub const fn reason_if_unknown(&self) -> Option<UnknownReason> {
        match self {
            Self::Unknown(reason) => Some(*reason),
            Self::Known(_) | Self::Unlimited(_) => None,
        }
    }
}

/// What of the vehicle decides which limits are for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vehicle {
    /// Permitted mass, kilogrammes, where it is known.
    pub max_mass_kg: Option<u32>,
}
