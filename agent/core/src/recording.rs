//! What may run now, and why: the strictest of all that has a say.
//!
//! | who has a say | then |
//! |---|---|
//! | the unit's configuration, and the fleet's order | as they say |
//! | the vehicle is switched off | off |
//! | the place (a customer's home, a depot, a country) | as its zone says: off, alerts only, or the cabin hidden |
//! | the driver, by the privacy button | alerts only, until it is pressed again or the vehicle is switched off |
//! | the vehicle stands for 3 minutes | alerts only, until it drives |
//!
//! INVARIANT: each can only take away: nothing here records what configuration or fleet do not allow.
//! INVARIANT: what is not known changes nothing. A vehicle whose speed is not known goes on standing, or
//! driving; one whose place is not known stays in its zone, or out of it. A zone is entered with the first
//! fix in it, and left after some beyond it.

use std::time::Duration;

use temoin_proto::{samples::GnssFix, time::MonoTime};

use crate::{
    config::{RecordingConfig, Zone, ZoneRule, secs},
    policy::PrivacyState,
};

/// From here on a standing vehicle drives, m/s: above what a receiver measures at a standstill. Own choice.
const DRIVES_MPS: f64 = 1.0;
/// Below it stands.
const STANDS_MPS: f64 = 0.5;
/// So far beyond a zone's edge it is left, metres: a position is wrong by less. Own choice.
const LEFT_BY_M: f64 = 30.0;
/// For so long, so that a single wrong fix shows no home. Own choice.
const LEFT_FOR: Duration = Duration::from_secs(3);

/// Who had the last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Configuration or fleet.
    AsConfigured,
    /// The vehicle is switched off.
    Parked,
    /// The place.
    Zone,
    /// The driver.
    Paused,
    /// The vehicle stands.
    Standstill,
}

/// What may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Cameras, alerts, recording.
    pub state: PrivacyState,
    /// Whether nothing of the cabin may be seen in what is recorded.
    pub cabin_hidden: bool,
    /// Who had the last word on the state, or on the cabin where the state is the whole one.
    pub why: Why,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Recording {
    config: RecordingConfig,
    base: PrivacyState,
    parked: bool,
    paused: bool,
    /// Since when it stands.
    stands_since: Option<MonoTime>,
    /// Whether it is in each zone, as they are listed.
    within: Vec<Within>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Within {
    is: bool,
    /// Since when every fix lies beyond its edge.
    beyond_since: Option<MonoTime>,
}

impl Recording {
    /// As configuration and fleet say.
    pub fn new(config: RecordingConfig, base: PrivacyState) -> Self {
        let within = vec![Within::default(); config.zones.len()];
        Self { config, base, parked: false, paused: false, stands_since: None, within }
    }

    /// What configuration and fleet say.
    pub const fn base(&self) -> PrivacyState {
        self.base
    }

    /// The fleet says otherwise.
    pub const fn ordered(&mut self, base: PrivacyState) {
        self.base = base;
    }

    /// The vehicle was switched off or on. What the driver asked for ends with the trip.
    pub const fn parked(&mut self, parked: bool) {
        self.parked = parked;
        if parked {
            self.paused = false;
        }
    }

    /// The driver pressed the privacy button.
    pub const fn pressed(&mut self) {
        self.paused = self.config.driver_may_pause && !self.paused;
    }

    /// The speed at a moment, metres a second; none where it is not known.
    pub fn speed(&mut self, at: MonoTime, mps: Option<f64>) {
        match mps {
            Some(mps) if mps >= DRIVES_MPS => self.stands_since = None,
            Some(mps) if mps < STANDS_MPS => {
                self.stands_since.get_or_insert(at);
            }
            Some(_) | None => {}
        }
    }

    /// Where the vehicle is.
    pub fn fix(&mut self, fix: &GnssFix) {
        for (zone, within) in self.config.zones.iter().zip(&mut self.within) {
            let away_m = zone.centre().way_to(fix.place()).length_m();
            if away_m <= zone.radius_m {
                *within = Within { is: true, beyond_since: None };
            } else if away_m <= zone.radius_m + LEFT_BY_M {
                within.beyond_since = None;
            } else {
                let since = *within.beyond_since.get_or_insert(fix.at);
                within.is &= fix.at.since(since) < LEFT_FOR;
            }
        }
    }

    /// What may run now.
    pub fn allowed(&self, now: MonoTime) -> Allowed {
        let stands = self.config.standstill_s.is_some_and(|s| self.stood(now) >= secs(s));
        let alerts_only = PrivacyState::AiWithoutRecording;
        let zones = || self.zones();
        let by_zone = |zone: &Zone| match zone.rule {
            ZoneRule::Off => PrivacyState::Off,
            ZoneRule::AlertsOnly => PrivacyState::AiWithoutRecording,
            ZoneRule::CabinHidden => PrivacyState::Recording,
        };
        let mut allowed = Allowed { state: self.base, cabin_hidden: false, why: Why::AsConfigured };
        for (says, state, why) in [
            (self.parked, PrivacyState::Off, Why::Parked),
            (true, zones().map(by_zone).min().unwrap_or(PrivacyState::Recording), Why::Zone),
            (self.paused, alerts_only, Why::Paused),
            (stands, alerts_only, Why::Standstill),
        ] {
            if says && state < allowed.state {
                (allowed.state, allowed.why) = (state, why);
            }
        }
        if allowed.state == PrivacyState::Recording
            && zones().any(|zone| zone.rule == ZoneRule::CabinHidden)
        {
            (allowed.cabin_hidden, allowed.why) = (true, Why::Zone);
        }
        allowed
    }

    /// When [`Self::allowed`] says something else if nothing comes before.
    pub fn deadline(&self) -> Option<MonoTime> {
        let since = self.stands_since.filter(|_| self.base == PrivacyState::Recording)?;
        Some(since + secs(self.config.standstill_s?))
    }

    fn stood(&self, now: MonoTime) -> Duration {
        self.stands_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    fn zones(&self) -> impl Iterator<Item = &Zone> {
        self.config
            .zones
            .iter()
            .zip(&self.within)
            .filter_map(|(zone, within)| within.is.then_some(zone))
    }
}

#[cfg(test)]
#[path = "recording_tests.rs"]
mod tests;
