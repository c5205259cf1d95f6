//! What machine, vehicle and driver have a say in: whether pictures are kept, how often they are analysed,
//! and when the unit ends. Decided by the core; carried out here.

use std::time::Duration;

use temoin_agent_core::{
    drive::Input,
    heat::{Pace, Why as Slowed},
    policy::PrivacyState,
    power::{Change, Down},
    recording::{Allowed, Why},
};
use temoin_proto::samples::CameraId;

use super::Pipeline;
use crate::{
    health::State,
    journal::{self, Entry},
    machine::News,
};

/// Without a picture of any camera for so long, the lamp says that the unit cannot do its work. Own choice:
/// longer than a camera takes to come back.
const BLIND_AFTER: Duration = Duration::from_secs(10);

impl Pipeline {
    pub(super) fn on_machine(&mut self, news: News) {
        let now = self.parts.clock.now();
        match news {
            News::Ignition(on) => self.power.ignition(now, on),
            News::Supply(volts) => self.power.supply(now, volts),
            News::Heat(hottest) => {
                self.heat.hottest(hottest.as_ref().map(|hottest| hottest.celsius));
                self.hottest = hottest;
            }
            News::Privacy => self.recording.pressed(),
        }
    }

    /// What changed since the last round of the loop.
    pub(super) fn review(&mut self) {
        let now = self.parts.clock.now();
        while let Some(change) = self.power.step(now, || (self.parts.waits)()) {
            self.on_power(change);
        }
        if let Some((pace, why)) = self.heat.step(now) {
            self.on_pace(pace, why);
        }
        let allowed = self.recording.allowed(now);
        if allowed != self.allowed {
            self.allow(allowed);
        }
        let blind = now.since(self.pictured_at) >= BLIND_AFTER;
        if blind != self.blind {
            self.blind = blind;
            self.show();
        }
    }

    /// From here on this is what may run. Lamp and clips follow at once.
    fn allow(&mut self, allowed: Allowed) {
        if allowed.state != self.drive.privacy() {
            if self.drive.privacy() == PrivacyState::Off {
                // Pictures were not waited for until now.
                self.pictured_at = self.parts.clock.now();
            }
            self.flush();
            self.recorder.wipe();
            self.step(Input::Privacy(allowed.state));
        }
        self.recorder.hide_cabin(allowed.cabin_hidden, self.parts.clock.now());
        self.allowed = allowed;
        let text = said(allowed);
        // Not a fault of the unit: what is not recorded is not to be.
        self.parts.health.set("recording", State::Ok, text);
        journal::write(&Entry::Recording {
            state: state(allowed),
            why: why(allowed.why),
            at: self.since_zero(self.parts.clock.now()),
        });
    }

    fn on_power(&mut self, change: Change) {
        let health = &self.parts.health;
        match change {
            Change::Parked => {
                self.recording.parked(true);
                health.set(
                    "power",
                    State::Ok,
                    "the vehicle is switched off: what waits is uploaded",
                );
            }
            Change::Driving => {
                self.recording.parked(false);
                health.set("power", State::Ok, "the vehicle is switched on");
                if let Some(switch) = &self.parts.power_off
                    && let Err(e) = switch.take_back()
                {
                    health.set("power", State::Failed, crate::net::chain(&e));
                }
            }
            Change::Down(why) => {
                let because = match why {
                    Down::Finished => "nothing waits to be uploaded",
                    Down::TimeIsOver => {
                        "the time to upload is over; the rest follows after the next start"
                    }
                    Down::BatteryLow => "the vehicle's battery is low",
                };
                let asked = self.parts.power_off.as_ref().map(|switch| switch.ask());
                match asked {
                    None => health.set("power", State::Ok, format!("parked: {because}")),
                    Some(Ok(())) => {
                        let text = format!("the machine is asked to switch itself off: {because}");
                        health.set("power", State::Ok, text);
                    }
                    Some(Err(e)) => health.set(
                        "power",
                        State::Failed,
                        format!(
                            "the machine cannot be asked to switch itself off: {}",
                            crate::net::chain(&e)
                        ),
                    ),
                }
            }
            Change::SupplyFails => {
                health.set(
                    "supply",
                    State::Degraded,
                    "the voltage is too low: check the battery, the fuse and the wiring",
                );
                // Their pictures from here on are lost; else they might all be.
                self.flush();
                self.step(Input::SupplyFails);
            }
            Change::SupplyBack => health.set("supply", State::Ok, "the supply is measured"),
        }
    }

    fn on_pace(&mut self, pace: Pace, why: Option<Slowed>) {
        let (road, cabin) = pace.one_of();
        for (camera, eyes) in &mut self.parts.eyes {
            eyes.slow(match camera {
                CameraId::Road => road,
                CameraId::Cabin => cabin,
            });
        }
        let because = match why {
            Some(Slowed::Hot(celsius)) => {
                let zone = self.hottest.as_ref().map_or("a sensor", |hottest| &hottest.zone);
                format!("`{zone}` is at {celsius:.0} °C")
            }
            Some(Slowed::Behind) => "the machine cannot keep up".to_owned(),
            None => "it is better, and not yet well".to_owned(),
        };
        let then = match pace {
            Pace::Full => {
                return self.parts.health.set(
                    "load",
                    State::Ok,
                    "every picture that is due is analysed",
                );
            }
            Pace::RoadFirst => "half as many road pictures are analysed",
            Pace::Half => "fewer pictures are analysed, and alerts come a little later",
            Pace::Least => {
                "few pictures are analysed: distraction and drowsiness are mostly not noticed. Check the \
                 unit's place and its fan"
            }
        };
        self.parts.health.set("load", State::Degraded, format!("{because}: {then}"));
    }
}

/// In words without spaces, for the journal.
const fn state(allowed: Allowed) -> &'static str {
    match allowed.state {
        PrivacyState::Off => "off",
        PrivacyState::AiWithoutRecording => "ai_without_recording",
        PrivacyState::Recording if allowed.cabin_hidden => "recording_cabin_hidden",
        PrivacyState::Recording => "recording",
    }
}

const fn why(why: Why) -> &'static str {
    match why {
        Why::AsConfigured => "as_configured",
        Why::Parked => "parked",
        Why::Zone => "zone",
        Why::Paused => "paused",
        Why::Standstill => "standstill",
    }
}

/// For device health. It names no place.
pub(super) const fn said(allowed: Allowed) -> &'static str {
    match (allowed.state, allowed.why) {
        (PrivacyState::Recording, _) if allowed.cabin_hidden => {
            "flagged events are recorded; the cabin is hidden, as the zone wants"
        }
        (PrivacyState::Recording, _) => "flagged events are recorded",
        (PrivacyState::AiWithoutRecording, Why::AsConfigured) => {
            "nothing is recorded, as the fleet wants"
        }
        (PrivacyState::AiWithoutRecording, Why::Zone) => "nothing is recorded, as the zone wants",
        (PrivacyState::AiWithoutRecording, Why::Paused) => {
            "nothing is recorded, as the driver wants"
        }
        (PrivacyState::AiWithoutRecording, Why::Standstill | Why::Parked) => {
            "nothing is recorded: the vehicle stands"
        }
        (PrivacyState::Off, Why::Zone) => "cameras and alerts are off, as the zone wants",
        (PrivacyState::Off, Why::Parked) => {
            "cameras and alerts are off: the vehicle is switched off"
        }
        (PrivacyState::Off, Why::AsConfigured | Why::Paused | Why::Standstill) => {
            "cameras and alerts are off, as configured"
        }
    }
}
