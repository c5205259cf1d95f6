//! Asking a vehicle by OBD-II (ISO 15031-5 over ISO 15765-4): speed and engine speed of mode 01,
//! the vehicle identification number of mode 09. Pure; [`crate::can_socketcan`] sends.
//!
//! INVARIANT: there is no [`Asking`] without an [`ObdConfig`], which only a model file with
//! `enabled = true` gives. What it sends are these requests and the flow control of an answer that
//! it asked for, nothing else; one request at a time, at least [`MIN_GAP`]
//! apart.
//! INVARIANT: the identification number is in no log above DEBUG and in no `Debug` text.
//!
//! A vehicle that is asked may stay awake: after [`PATIENCE`] requests without an answer in a row
//! (ignition off) it is asked once in [`SILENT_PERIOD`].

use std::{collections::VecDeque, fmt, time::Duration};

use temoin_proto::{
    samples::{ControlSample, ControlState, Signal, VehicleSpeed},
    time::MonoTime,
};

use crate::{
    can_frame::{CanFrame, EXTENDED},
    isotp::{Brought, FLOW_CONTROL, Reassembly},
};

/// How long an answer may take: twice the 50 ms (`P2`) of ISO 15765-4, for gateways.
pub const ANSWER_TIMEOUT: Duration = Duration::from_millis(100);
/// How long it may take after a control unit asked for patience: `P2*` of ISO 15765-4.
const PENDING_TIMEOUT: Duration = Duration::from_secs(5);
/// The shortest time between two requests. Own choice: some gateways lose what comes quicker.
pub const MIN_GAP: Duration = Duration::from_millis(50);
/// So many requests without an answer in a row make a vehicle silent. Own choice.
pub const PATIENCE: u32 = 5;
/// How often a silent vehicle is asked. Own choice: rare enough for control units to sleep.
pub const SILENT_PERIOD: Duration = Duration::from_secs(60);
/// How often something is asked for that is refused or never comes. Own choice.
const TRIES: u32 = 3;
/// Control units that answer: at most 8 by ISO 15765-4.
const MAX_UNITS: usize = 8;
/// A VIN's characters.
const VIN_LEN: usize = 17;

/// What to ask for, and how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObdConfig {
    /// Ask for the vehicle's speed.
    pub speed: bool,
    /// Ask for the engine's speed.
    pub rpm: bool,
    /// Ask for the identification number, once.
    pub vin: bool,
    /// Identifiers of 29 bits in place of 11.
    pub extended_ids: bool,
    /// How often speed and engine speed are each asked for, seconds.
    pub period_s: f64,
}

impl Default for ObdConfig {
    /// Speed and engine speed, each once in half a second. Own choice: a fallback for vehicles
    /// whose bus tells no speed, not a source for harsh events.
    fn default() -> Self {
        Self { speed: true, rpm: true, vin: false, extended_ids: false, period_s: 0.5 }
    }
}

/// A vehicle identification number (ISO 3779).
#[derive(Clone, PartialEq, Eq)]
pub struct Vin(String);

impl Vin {
    /// Its 17 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        // Some control units fill up with zeros in front.
        let first = bytes.iter().position(|b| *b != 0)?;
        let text = std::str::from_utf8(bytes.get(first..)?).ok()?;
        let plain = |c: char| (c.is_ascii_digit() || c.is_ascii_uppercase()) && !"IOQ".contains(c);
        (text.len() == VIN_LEN && text.chars().all(plain)).then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for Vin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vin(..)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Speed,
    Rpm,
    Vin,
}

impl Ask {
    const fn mode(self) -> u8 {
        match self {
            Self::Speed | Self::Rpm => 0x01,
            Self::Vin => 0x09,
        }
    }

    const fn pid(self) -> u8 {
        match self {
            Self::Speed => 0x0d,
            Self::Rpm => 0x0c,
            Self::Vin => 0x02,
        }
    }
}

/// One thing that is asked for.
#[derive(Clone, Debug)]
struct Item {
    ask: Ask,
    due: MonoTime,
    refused: u32,
}

/// Says what to ask when, and understands the answers.
#[derive(Clone, Debug)]
pub struct Asking {
    config: ObdConfig,
    period: Duration,
    items: Vec<Item>,
    /// What was asked, and until when an answer is waited for.
    open: Option<(Ask, MonoTime)>,
    not_before: MonoTime,
    unanswered: u32,
    units: Vec<(u32, Reassembly)>,
    vin: Option<Vin>,
}

impl Asking {
    /// Begins to ask at `now`.
    pub fn new(config: ObdConfig, now: MonoTime) -> Self {
        let asks = [(config.vin, Ask::Vin), (config.speed, Ask::Speed), (config.rpm, Ask::Rpm)];
        Self {
            config,
            period: Duration::try_from_secs_f64(config.period_s).unwrap_or(SILENT_PERIOD),
            items: asks
                .into_iter()
                .filter(|(wanted, _)| *wanted)
                .map(|(_, ask)| Item { ask, due: now, refused: 0 })
                .collect(),
            open: None,
            not_before: now,
            unanswered: 0,
            units: Vec::new(),
            vin: None,
        }
    }

    /// The identification number, once it was told.
    pub fn vin(&self) -> Option<&Vin> {
        self.vin.as_ref()
    }

    /// Whether the vehicle has stopped to answer.
    pub fn is_silent(&self) -> bool {
        self.unanswered >= PATIENCE
    }

    /// The identifiers and masks of all answers, for a socket's filters.
    pub fn answers(config: ObdConfig) -> (u32, u32) {
        if config.extended_ids {
            (EXTENDED | 0x18da_f100, EXTENDED | 0x1fff_ff00)
        } else {
            (0x7e8, EXTENDED | 0x7f8)
        }
    }

    /// The request that is to be sent now.
    pub fn poll(&mut self, now: MonoTime) -> Option<CanFrame> {
        if let Some((ask, until)) = self.open {
            if now < until {
                return None;
            }
            self.open = None;
            self.units.clear();
            self.unanswered = self.unanswered.saturating_add(1);
            if self.is_silent() {
                self.not_before = now + SILENT_PERIOD;
            } else if ask == Ask::Vin {
                self.refuse(ask);
            }
        }
        if now < self.not_before {
            return None;
        }
        let item = self.items.iter_mut().filter(|i| i.due <= now).min_by_key(|i| i.due)?;
        item.due = now + self.period;
        let ask = item.ask;
        self.open = Some((ask, now + ANSWER_TIMEOUT));
        self.not_before = now + MIN_GAP;
        let id = if self.config.extended_ids { EXTENDED | 0x18db_33f1 } else { 0x7df };
        Some(CanFrame::new(id, &[2, ask.mode(), ask.pid(), 0, 0, 0, 0, 0]))
    }

    /// When [`Self::poll`] may have something to send, at the earliest.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        if let Some((_, until)) = self.open {
            return Some(until);
        }
        self.items.iter().map(|i| i.due.max(self.not_before)).min()
    }

    /// Takes a frame that was received `at`; adds what it says to `out`, and gives the flow
    /// control that is to be sent.
    pub fn on_frame(
        &mut self,
        at: MonoTime,
        frame: &CanFrame,
        out: &mut VecDeque<Signal>,
    ) -> Option<CanFrame> {
        let (id, mask) = Self::answers(self.config);
        let (ask, _) = self.open.filter(|_| frame.id & mask == id)?;
        let known = self.units.iter().position(|(unit, _)| *unit == frame.id);
        let index = match known {
            Some(index) => index,
            None if self.units.len() < MAX_UNITS => {
                self.units.push((frame.id, Reassembly::new()));
                self.units.len() - 1
            }
            None => return None,
        };
        let (_, unit) = self.units.get_mut(index)?;
        match unit.push(at, &frame.data) {
            Ok(Brought::Message(message)) => {
                self.on_message(ask, at, &message, out);
                None
            }
            // Nobody but who asked may tell a control unit to go on.
            Ok(Brought::First) if ask == Ask::Vin => {
                self.open = Some((ask, at + ANSWER_TIMEOUT * 2));
                Some(CanFrame::new(self.unit_address(frame.id)?, &FLOW_CONTROL))
            }
            Ok(Brought::Nothing) if unit.is_under_way(at) => {
                self.open = Some((ask, at + ANSWER_TIMEOUT * 2));
                None
            }
            Ok(Brought::First | Brought::Nothing) => None,
            Err(e) => {
                tracing::debug!(error = %e, "an answer by OBD-II is of no use");
                None
            }
        }
    }

    /// Where the control unit with this answer listens.
    fn unit_address(&self, answer: u32) -> Option<u32> {
        if self.config.extended_ids {
            Some(EXTENDED | 0x18da_00f1 | (answer & 0xff) << 8)
        } else {
            answer.checked_sub(8)
        }
    }

    fn on_message(&mut self, ask: Ask, at: MonoTime, m: &[u8], out: &mut VecDeque<Signal>) {
        match (ask, m) {
            (Ask::Speed, [0x41, 0x0d, kmh, ..]) => {
                out.push_back(Signal::Speed(VehicleSpeed { at, mps: f64::from(*kmh) / 3.6 }));
            }
            (Ask::Rpm, [0x41, 0x0c, high, low, ..]) => {
                let rpm = f64::from(u16::from_be_bytes([*high, *low])) / 4.0;
                let state = ControlState::EngineRpm(rpm);
                out.push_back(Signal::Control(ControlSample { at, state }));
            }
            (Ask::Vin, [0x49, 0x02, _items, vin @ ..]) => {
                self.vin = Vin::of(vin);
                match &self.vin {
                    Some(vin) => {
                        tracing::debug!(vin = vin.as_str(), "the vehicle says who it is");
                        self.items.retain(|i| i.ask != Ask::Vin);
                    }
                    None => self.refuse(ask),
                }
            }
            // 'Response pending': the same answer comes later.
            (_, [0x7f, mode, 0x78, ..]) if *mode == ask.mode() => {
                self.open = Some((ask, at + PENDING_TIMEOUT));
                return;
            }
            (_, [0x7f, mode, ..]) if *mode == ask.mode() => self.refuse(ask),
            // An answer to somebody else.
            _ => return,
        }
        self.open = None;
        self.unanswered = 0;
        self.units.clear();
    }

    /// Counts a refusal; what is refused again and again is not asked for any more.
    fn refuse(&mut self, ask: Ask) {
        for item in self.items.iter_mut().filter(|i| i.ask == ask) {
            item.refused += 1;
        }
        self.items.retain(|i| i.refused < TRIES);
    }
}

#[cfg(test)]
mod tests;
