//! What the unit does when the vehicle is switched off, and when its supply fails.
//!
//! ```text
//!            ignition off for `off_held_s`          all is uploaded, or `finish_s` is over,
//!  Driving ───────────────────────────────► Parked ──────── or the battery is low ────────► Down
//!     ▲                                        │                                             │
//!     └──────────────── ignition on ───────────┴─────────────────────────────────────────────┘
//! ```
//!
//! Parked: what was flagged is cut and sealed at once, nothing is recorded, and what is in the spool is
//! uploaded. Down: the machine is asked to switch itself off.
//!
//! INVARIANT: where the ignition is not known, the vehicle counts as driving: a unit without that wire, or
//! with a broken one, never switches itself off, but for a battery that is low.
//! INVARIANT: a supply that fails is told once until it is back: what is flagged goes to the disk then, and
//! recording goes on, for it may be the starter that draws it down.

use std::time::Duration;

use temoin_proto::time::MonoTime;

use crate::config::{PowerConfig, secs};

/// How far above a threshold a voltage counts as back, as a part of it. Own choice.
const BACK: f64 = 1.02;
/// How long the battery must be low: longer than a starter draws it down. Own choice.
const LOW_HELD: Duration = Duration::from_secs(30);

/// What the unit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its work.
    Driving,
    /// The vehicle is switched off: it finishes.
    Parked,
    /// It asked to be switched off.
    Down,
}

/// Why the machine is to be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// Nothing waits any more.
    Finished,
    /// The time to finish is over; the rest is uploaded after the next start.
    TimeIsOver,
    /// The vehicle must be able to start.
    BatteryLow,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The vehicle was switched off: cut, seal, record nothing.
    Parked,
    /// The vehicle was switched on.
    Driving,
    /// The machine is to be switched off.
    Down(Down),
    /// The supply fails: what is flagged must be on the disk at once.
    SupplyFails,
    /// The supply is as it should be again.
    SupplyBack,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Power {
    config: PowerConfig,
    phase: Phase,
    /// Since when the ignition is off.
    off_since: Option<MonoTime>,
    parked_at: MonoTime,
    /// Since when the battery is low.
    low_since: Option<MonoTime>,
    fails: bool,
    told: bool,
}

impl Power {
    /// Of a vehicle of whose ignition nothing is known yet.
    pub const fn new(config: PowerConfig) -> Self {
        Self {
            config,
            phase: Phase::Driving,
            off_since: None,
            parked_at: MonoTime::ZERO,
            low_since: None,
            fails: false,
            told: false,
        }
    }

    /// What it does.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The ignition is on or off; none: not known any more.
    pub fn ignition(&mut self, at: MonoTime, on: Option<bool>) {
        self.off_since = match on {
            Some(false) => Some(self.off_since.unwrap_or(at)),
            Some(true) | None => None,
        };
    }

    /// The voltage of the supply.
    pub fn supply(&mut self, at: MonoTime, volts: f64) {
        let below = |threshold: Option<f64>, was: bool| {
            threshold.is_some_and(|least| volts < if was { least * BACK } else { least })
        };
        self.fails = below(self.config.supply_fails_below_v, self.fails);
        let low = below(self.config.battery_low_below_v, self.low_since.is_some());
        self.low_since = low.then(|| self.low_since.unwrap_or(at));
    }

    /// What changed by now. To be called again until nothing did. `waits`: whether anything here waits to
    /// be sealed or uploaded.
    pub fn step(&mut self, now: MonoTime, waits: impl FnOnce() -> bool) -> Option<Change> {
        if self.fails != self.told {
            self.told = self.fails;
            return Some(if self.fails { Change::SupplyFails } else { Change::SupplyBack });
        }
        match (self.phase, self.off_since) {
            (Phase::Parked | Phase::Down, None) => {
                self.phase = Phase::Driving;
                Some(Change::Driving)
            }
            (Phase::Driving, Some(since)) if now.since(since) >= secs(self.config.off_held_s) => {
                (self.phase, self.parked_at) = (Phase::Parked, now);
                Some(Change::Parked)
            }
            (Phase::Parked, Some(_)) => {
                let down = self.done(now, waits)?;
                self.phase = Phase::Down;
                Some(Change::Down(down))
            }
            (Phase::Driving, Some(_) | None) | (Phase::Down, Some(_)) => None,
        }
    }

    fn done(&self, now: MonoTime, waits: impl FnOnce() -> bool) -> Option<Down> {
        if self.low_since.is_some_and(|since| now.since(since) >= LOW_HELD) {
            Some(Down::BatteryLow)
        } else if now.since(self.parked_at) >= secs(self.config.finish_s) {
            Some(Down::TimeIsOver)
        } else {
            (!waits()).then_some(Down::Finished)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: f64) -> MonoTime {
        MonoTime::from_secs_f64(s)
    }

    fn power() -> Power {
        Power::new(PowerConfig {
            supply_fails_below_v: Some(9.0),
            battery_low_below_v: Some(11.8),
            ..PowerConfig::default()
        })
    }

    /// Everything that changes until then, each second.
    fn until(power: &mut Power, from: u32, to: u32, waits: bool) -> Vec<(u32, Change)> {
        let seconds = (from..to).flat_map(|s| std::iter::repeat_n(s, 3));
        seconds
            .filter_map(|s| power.step(t(f64::from(s)), || waits).map(|change| (s, change)))
            .collect()
    }

    #[test]
    fn a_unit_that_does_not_know_the_ignition_drives_on() {
        let mut power = power();
        assert_eq!(until(&mut power, 0, 100_000, false), []);
        power.ignition(t(0.0), Some(false));
        power.ignition(t(1.0), None);
        assert_eq!(until(&mut power, 1, 100_000, false), []);
    }

    #[test]
    fn switched_off_it_finishes_and_goes_down_once() {
        let mut power = power();
        power.ignition(t(0.0), Some(true));
        assert_eq!(until(&mut power, 0, 10, true), []);
        power.ignition(t(10.0), Some(false));
        // Told again, as by a wire that was opened anew.
        power.ignition(t(12.0), Some(false));
        assert_eq!(until(&mut power, 10, 20, true), [(13, Change::Parked)]);
        let finished = Change::Down(Down::Finished);
        assert_eq!(until(&mut power, 20, 60, false), [(20, finished)]);
        power.ignition(t(60.0), Some(true));
        assert_eq!(until(&mut power, 60, 70, false), [(60, Change::Driving)]);
    }

    #[test]
    fn what_cannot_be_uploaded_does_not_keep_it_on_for_ever() {
        let mut power = power();
        power.ignition(t(0.0), Some(false));
        let changes = until(&mut power, 0, 2000, true);
        assert_eq!(changes, [(3, Change::Parked), (903, Change::Down(Down::TimeIsOver))]);
    }

    #[test]
    fn a_short_dip_of_the_ignition_is_none() {
        let mut power = power();
        for s in 0..50 {
            power.ignition(t(f64::from(s)), Some(s % 3 == 0));
            assert_eq!(until(&mut power, s, s + 1, false), [], "{s}");
        }
    }

    #[test]
    fn a_low_battery_ends_it_and_a_starter_does_not() {
        let mut power = power();
        power.ignition(t(0.0), Some(false));
        power.supply(t(0.0), 11.0);
        power.supply(t(5.0), 12.4);
        power.supply(t(6.0), 11.7);
        // Just above it is not back.
        power.supply(t(20.0), 11.9);
        let changes = until(&mut power, 0, 100, true);
        assert_eq!(changes, [(3, Change::Parked), (36, Change::Down(Down::BatteryLow))]);
        // Driving, it goes on.
        let mut power = super::tests::power();
        power.supply(t(0.0), 11.0);
        assert_eq!(until(&mut power, 0, 1000, false), []);
    }

    #[test]
    fn a_failing_supply_is_told_once_and_again_after_it_was_back() {
        let mut power = power();
        for (s, volts) in [(0, 12.0), (1, 8.9), (2, 7.0), (3, 9.1), (4, 9.3), (5, 8.0)] {
            power.supply(t(f64::from(s)), volts);
            let wanted: &[_] = match s {
                1 | 5 => &[(s, Change::SupplyFails)],
                4 => &[(s, Change::SupplyBack)],
                _ => &[],
            };
            assert_eq!(until(&mut power, s, s + 1, false), wanted, "{s}");
        }
        assert_eq!(power.phase(), Phase::Driving);
    }
}
