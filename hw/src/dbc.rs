//! Where a signal lies in a frame and what its number means, as a DBC file says it.
//!
//! Integers of 1 to 64 bits in both byte orders, signed or not, multiplexed by one switch, with
//! value tables. Floats and switches behind switches are refused by name: no car that this was
//! tried on has them where a driver's controls are.
//!
//! INVARIANT: a frame that is too short for a signal does not carry it; no file makes this panic.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use can_dbc::{ByteOrder, Dbc, Message, MultiplexIndicator, Signal, ValueDescription, ValueType};

use crate::{can_frame::CanFrame, device::SignalError, nmea::open_file};

const MAX_DBC_BYTES: u64 = 16 * 1024 * 1024;

/// Splits `MESSAGE.SIGNAL`.
pub fn split_name(name: &str) -> Option<(&str, &str)> {
    name.split_once('.').filter(|(m, s)| !m.is_empty() && !s.is_empty())
}

/// A DBC file that was read.
#[derive(Debug)]
pub struct DbcFile {
    path: PathBuf,
    dbc: Dbc,
}

impl DbcFile {
    /// Reads a file of at most 16 MiB.
    ///
    /// # Errors
    /// Where it cannot be read, or is no DBC: with the line, where the parser tells it.
    pub fn load(path: &Path) -> Result<Self, SignalError> {
        let mut bytes = Vec::new();
        open_file(path)?
            .take(MAX_DBC_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|source| SignalError::Read { path: path.to_owned(), source })?;
        // DBC files are Windows-1252 by custom; names and numbers are ASCII in either case.
        let text = String::from_utf8_lossy(&bytes);
        let dbc = Dbc::try_from(&*text).map_err(|e| {
            let said = e.to_string();
            match line_in(&said) {
                Some(line) => SignalError::Malformed {
                    path: path.to_owned(),
                    line,
                    what: format!("it is no DBC file: {}", said.replace('\n', " ")),
                },
                None => SignalError::Unusable {
                    path: path.to_owned(),
                    what: format!("it is no DBC file: {said}"),
                },
            }
        })?;
        Ok(Self { path: path.to_owned(), dbc })
    }

    fn unusable(&self, what: String) -> SignalError {
        SignalError::Unusable { path: self.path.clone(), what }
    }

    /// Whether there is such a message.
    pub fn has(&self, message: &str) -> bool {
        self.dbc.messages.iter().any(|m| m.name == message)
    }

    fn message(&self, message: &str) -> Result<&Message, SignalError> {
        self.dbc.messages.iter().find(|m| m.name == message).ok_or_else(|| {
            let wanted = message.to_ascii_uppercase();
            let word = wanted.split('_').max_by_key(|w| w.len()).unwrap_or_default();
            let near: Vec<_> = self
                .dbc
                .messages
                .iter()
                .map(|m| m.name.as_str())
                .filter(|n| {
                    let name = n.to_ascii_uppercase();
                    name.contains(word) || wanted.contains(&name) || name.contains("SPEED")
                })
                .take(20)
                .collect();
            self.unusable(format!(
                "it has no message `{message}`; like it are: {}",
                near.join(", ")
            ))
        })
    }

    /// Where `message.signal` lies.
    ///
    /// # Errors
    /// Where the file has no such signal, or packs it in a way not known here.
    pub fn layout(&self, message: &str, signal: &str) -> Result<SignalLayout, SignalError> {
        let m = self.message(message)?;
        let s = m.signals.iter().find(|s| s.name == signal).ok_or_else(|| {
            let names: Vec<_> = m.signals.iter().map(|s| s.name.as_str()).collect();
            self.unusable(format!(
                "its message `{message}` has no signal `{signal}`; there are: {}",
                names.join(", ")
            ))
        })?;
        let switch = match s.multiplexer_indicator {
            MultiplexIndicator::Plain | MultiplexIndicator::Multiplexor => None,
            MultiplexIndicator::MultiplexedSignal(value) => {
                let switch = m
                    .signals
                    .iter()
                    .find(|s| s.multiplexer_indicator == MultiplexIndicator::Multiplexor)
                    .ok_or_else(|| {
                        self.unusable(format!(
                            "`{message}.{signal}` is multiplexed, and `{message}` has no switch"
                        ))
                    })?;
                Some((self.bits(m, switch)?, i128::from(value)))
            }
            MultiplexIndicator::MultiplexorAndMultiplexedSignal(_) => {
                return Err(self.unusable(format!(
                    "`{message}.{signal}` is a switch behind a switch: not supported"
                )));
            }
        };
        let values = self.dbc.value_descriptions.iter().find_map(|v| match v {
            ValueDescription::Signal { message_id, name, value_descriptions }
                if *message_id == m.id && name == signal =>
            {
                Some(value_descriptions.iter().map(|d| (d.id, d.description.clone())).collect())
            }
            ValueDescription::Signal { .. } | ValueDescription::EnvironmentVariable { .. } => None,
        });
        Ok(SignalLayout {
            name: format!("{message}.{signal}"),
            id: m.id.raw(),
            bits: self.bits(m, s)?,
            switch,
            factor: s.factor,
            offset: s.offset,
            unit: s.unit.clone(),
            values: values.unwrap_or_default(),
        })
    }

    fn bits(&self, m: &Message, s: &Signal) -> Result<Bits, SignalError> {
        let float = self
            .dbc
            .signal_extended_value_type_list
            .iter()
            .any(|e| e.message_id == m.id && e.signal_name == s.name);
        if float || s.size == 0 || s.size > 64 {
            return Err(
                self.unusable(format!("`{}.{}` is no integer of 1 to 64 bits", m.name, s.name))
            );
        }
        Ok(Bits {
            start_bit: s.start_bit,
            size: s.size,
            big_endian: matches!(s.byte_order, ByteOrder::BigEndian),
            signed: matches!(s.value_type, ValueType::Signed),
        })
    }
}

/// The line in the words of the parser, which has no other way to tell it: ` --> 3:7`.
fn line_in(said: &str) -> Option<u64> {
    let (_, rest) = said.split_once("--> ")?;
    rest.split(':').next()?.parse().ok()
}

/// An integer's bits in a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bits {
    start_bit: u64,
    size: u64,
    big_endian: bool,
    signed: bool,
}

impl Bits {
    fn read(&self, data: &[u8]) -> Option<i128> {
        let mut value = 0_u64;
        let mut at = self.start_bit;
        for n in 0..self.size {
            let byte = data.get(usize::try_from(at / 8).ok()?)?;
            let bit = u64::from(byte >> (at % 8) & 1);
            if self.big_endian {
                // Motorola: from the highest bit down, then on at the top of the next byte.
                value = value << 1 | bit;
                at = if at.is_multiple_of(8) { at.checked_add(15)? } else { at - 1 };
            } else {
                value |= bit << n;
                at = at.checked_add(1)?;
            }
        }
        let number = i128::from(value);
        let negative = self.signed && value >> (self.size - 1) & 1 == 1;
        Some(if negative { number - (1 << self.size) } else { number })
    }
}

/// Where one signal lies and what its number means.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalLayout {
    name: String,
    id: u32,
    bits: Bits,
    /// The switch, and the value of it at which this signal is in the frame.
    switch: Option<(Bits, i128)>,
    factor: f64,
    offset: f64,
    unit: String,
    values: Vec<(i64, String)>,
}

impl SignalLayout {
    /// `MESSAGE.SIGNAL`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The identifier of its message, as in [`CanFrame::id`].
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The unit that the file gives.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// The file's names of values.
    pub fn values(&self) -> &[(i64, String)] {
        &self.values
    }

    /// The number as it is in the frame, where the frame carries this signal.
    pub fn raw(&self, frame: &CanFrame) -> Option<i128> {
        if frame.id != self.id {
            return None;
        }
        if let Some((switch, value)) = &self.switch
            && switch.read(&frame.data)? != *value
        {
            return None;
        }
        self.bits.read(&frame.data)
    }

    /// The number in the file's unit, where the frame carries this signal and it is one that the
    /// file does not call unavailable.
    pub fn physical(&self, frame: &CanFrame) -> Option<f64> {
        let raw = self.raw(frame)?;
        if self.values.iter().any(|(v, name)| i128::from(*v) == raw && says_nothing(name)) {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "what is measured in a vehicle has far fewer than 53 bits"
        )]
        let value = raw as f64 * self.factor + self.offset;
        value.is_finite().then_some(value)
    }
}

/// Whether a value's name says that there is no value. The words are those of J1939 and of the
/// makers' files: `SNA` is 'signal not available'.
fn says_nothing(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace([' ', '_', '-'], "");
    ["NOTAVAILABLE", "UNAVAILABLE", "INVALID", "ERROR", "UNDEFINED"]
        .iter()
        .any(|w| name.contains(w))
        || matches!(name.as_str(), "SNA" | "NA" | "FAULT" | "INIT" | "RESERVED" | "UNKNOWN")
}

#[cfg(test)]
mod tests;
