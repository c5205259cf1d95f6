//! The vehicle's speed out of a CAN log and the DBC file that explains it.
//!
//! Both forms of `candump` are read: the log (`(12.5) can0 0B4#0011...`) and the screen with
//! absolute times (`(12.5) can0 0B4 [8] 00 11 ...`). Lines that are neither, remote frames and
//! error frames are left out.
//!
//! INVARIANT: listen-only by nature: nothing here can send a frame. Memory does not grow with
//! the log; a line holds at most [`MAX_LINE`] bytes.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use can_dbc::{ByteOrder, Dbc, MultiplexIndicator, ValueType};
use temoin_proto::{
    samples::{Signal, VehicleSpeed},
    time::MonoTime,
};

use crate::{
    device::{SignalError, SignalSource},
    drive::SignalInput,
    nmea::open_file,
    time_map::{Placed, TimeMap},
};

/// Longest line, bytes: a CAN FD frame of 64 bytes as the screen form writes it, and some.
pub const MAX_LINE: u64 = 512;
const MAX_DBC_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of a CAN FD frame.
const MAX_DATA: usize = 64;

/// One data frame.
#[derive(Clone, Debug, PartialEq)]
pub struct CanFrame {
    /// The log's own time, seconds.
    pub t_s: f64,
    /// The identifier; bit 31 is set on an extended one, as a DBC file has it.
    pub id: u32,
    /// The payload, at most 64 bytes.
    pub data: Vec<u8>,
}

/// Reads one line of a log; nothing where it is no data frame.
pub fn parse_line(line: &str) -> Option<CanFrame> {
    let (time, rest) = line.trim().strip_prefix('(')?.split_once(')')?;
    let t_s = time.trim().parse::<f64>().ok().filter(|t| t.is_finite() && *t >= 0.0)?;
    let mut words = rest.split_ascii_whitespace();
    let _interface = words.next()?;
    let frame = words.next()?;
    let (id, hex) = match frame.split_once('#') {
        // `##` and one digit of flags begin a CAN FD frame.
        Some((id, data)) => match data.strip_prefix('#') {
            Some(fd) => (id, fd.get(1..)?.to_owned()),
            None => (id, data.to_owned()),
        },
        None => {
            let length = words.next()?.strip_prefix('[')?.strip_suffix(']')?;
            let length: usize = length.parse().ok().filter(|n| *n <= MAX_DATA)?;
            let hex: String = words.take(length).collect();
            (frame, (hex.len() == length * 2).then_some(hex)?)
        }
    };
    let extended = match id.len() {
        3 => 0,
        8 => 1 << 31,
        _ => return None,
    };
    let number = u32::from_str_radix(id, 16).ok()?;
    // Above 29 bits lie the flags of remote and error frames.
    if number > 0x1fff_ffff || hex.len() > MAX_DATA * 2 {
        return None;
    }
    Some(CanFrame { t_s, id: number | extended, data: bytes_of_hex(&hex)? })
}

fn bytes_of_hex(hex: &str) -> Option<Vec<u8>> {
    let mut digits = hex.bytes().map(|b| char::from(b).to_digit(16));
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    while let Some(high) = digits.next() {
        bytes.push(u8::try_from(high? * 16 + digits.next()??).ok()?);
    }
    Some(bytes)
}

/// How a speed is packed into a message.
#[derive(Clone, Debug, PartialEq)]
pub struct SpeedSignal {
    id: u32,
    start_bit: u64,
    size: u64,
    big_endian: bool,
    signed: bool,
    factor: f64,
    offset: f64,
    to_mps: f64,
}

impl SpeedSignal {
    /// Finds `message.signal` in a DBC file. `unit` stands in for the file's own where given.
    ///
    /// # Errors
    /// Where the file cannot be read, has no such signal, or packs it in a way not known here.
    pub fn load(
        path: &Path,
        (message, signal): (&str, &str),
        unit: Option<&str>,
    ) -> Result<Self, SignalError> {
        let mut bytes = Vec::new();
        open_file(path)?
            .take(MAX_DBC_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|source| SignalError::Read { path: path.to_owned(), source })?;
        let unusable = |what: String| SignalError::Unusable { path: path.to_owned(), what };
        // DBC files are Windows-1252 by custom; names and numbers are ASCII in either case.
        let text = String::from_utf8_lossy(&bytes);
        let dbc = Dbc::try_from(&*text).map_err(|e| unusable(format!("it is no DBC file: {e}")))?;
        let m = dbc.messages.iter().find(|m| m.name == message).ok_or_else(|| {
            let near: Vec<_> = dbc
                .messages
                .iter()
                .filter(|m| m.name.to_ascii_uppercase().contains("SPEED"))
                .map(|m| m.name.as_str())
                .collect();
            unusable(format!("it has no message `{message}`; about speed are: {}", near.join(", ")))
        })?;
        let s = m.signals.iter().find(|s| s.name == signal).ok_or_else(|| {
            let names: Vec<_> = m.signals.iter().map(|s| s.name.as_str()).collect();
            unusable(format!(
                "its message `{message}` has no signal `{signal}`; there are: {}",
                names.join(", ")
            ))
        })?;
        if !matches!(s.multiplexer_indicator, MultiplexIndicator::Plain) {
            return Err(unusable(format!("`{message}.{signal}` is multiplexed: not supported")));
        }
        let float = dbc
            .signal_extended_value_type_list
            .iter()
            .any(|e| e.message_id == m.id && e.signal_name == signal);
        if float || s.size == 0 || s.size > 64 {
            return Err(unusable(format!("`{message}.{signal}` is no integer of 1 to 64 bits")));
        }
        let unit = unit.unwrap_or(&s.unit);
        let to_mps = match unit.to_ascii_lowercase().as_str() {
            "km/h" | "kph" | "kmh" | "kmph" => 1.0 / 3.6,
            "mph" | "mi/h" => 0.447_04,
            "m/s" | "mps" => 1.0,
            "kn" | "knots" => 1852.0 / 3600.0,
            _ => {
                return Err(unusable(format!(
                    "`{message}.{signal}` is in `{unit}`: give speed_unit as km/h, mph or m/s"
                )));
            }
        };
        Ok(Self {
            id: m.id.raw(),
            start_bit: s.start_bit,
            size: s.size,
            big_endian: matches!(s.byte_order, ByteOrder::BigEndian),
            signed: matches!(s.value_type, ValueType::Signed),
            factor: s.factor,
            offset: s.offset,
            to_mps,
        })
    }

    /// Metres a second, where `frame` carries this signal.
    pub fn decode(&self, frame: &CanFrame) -> Option<f64> {
        if frame.id != self.id {
            return None;
        }
        let raw = self.raw(&frame.data)?;
        let mps = (raw * self.factor + self.offset) * self.to_mps;
        mps.is_finite().then_some(mps)
    }

    fn raw(&self, data: &[u8]) -> Option<f64> {
        let mut value = 0_u64;
        let mut at = self.start_bit;
        for n in 0..self.size {
            let byte = data.get(usize::try_from(at / 8).ok()?)?;
            let bit = u64::from(byte >> (at % 8) & 1);
            if self.big_endian {
                // Motorola: from the highest bit down, then on at the top of the next byte.
                value = value << 1 | bit;
                at = if at.is_multiple_of(8) { at + 15 } else { at - 1 };
            } else {
                value |= bit << n;
                at += 1;
            }
        }
        let unused = 64 - self.size;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_wrap,
            reason = "two's complement is meant; a speed has far fewer than 53 bits"
        )]
        let number =
            if self.signed { ((value << unused) as i64 >> unused) as f64 } else { value as f64 };
        Some(number)
    }
}

/// The vehicle's speed out of one log.
pub struct CandumpFile {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
    speed: SpeedSignal,
    map: TimeMap,
    frames: u64,
    speeds: u64,
    ended: bool,
}

impl CandumpFile {
    /// Opens the log and its DBC file; the drive's zero lies at `zero`.
    ///
    /// # Errors
    /// Where a file cannot be opened or used.
    pub fn open(input: &SignalInput, zero: MonoTime) -> Result<Self, SignalError> {
        let unusable =
            |what: &str| SignalError::Unusable { path: input.file.clone(), what: what.to_owned() };
        let dbc = input.dbc.as_ref().ok_or_else(|| unusable("no DBC file is named for it"))?;
        let (message, signal) =
            input.speed.as_ref().ok_or_else(|| unusable("no signal is named as the speed"))?;
        let speed = SpeedSignal::load(dbc, (message, signal), input.speed_unit.as_deref())?;
        let mut reader = BufReader::new(open_file(&input.file)?);
        let head = reader
            .fill_buf()
            .map_err(|source| SignalError::Read { path: input.file.clone(), source })?;
        if head.starts_with(&[0x1f, 0x8b]) {
            return Err(unusable(
                "it is compressed: unpack it with `gunzip -k` and name the result",
            ));
        }
        Ok(Self {
            path: input.file.clone(),
            reader,
            line: Vec::new(),
            speed,
            map: TimeMap::new(input.window(), zero),
            frames: 0,
            speeds: 0,
            ended: false,
        })
    }

    /// The next line without its end; nothing at the end of the log. What is too long is cut.
    fn next_line(&mut self) -> std::io::Result<bool> {
        self.line.clear();
        let n = self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.line)?;
        if n > 0 && self.line.last() != Some(&b'\n') && self.line.len() as u64 == MAX_LINE {
            self.line.clear();
            self.reader.skip_until(b'\n')?;
        }
        Ok(n > 0)
    }

    fn unusable(&self, what: &str) -> SignalError {
        SignalError::Unusable { path: self.path.clone(), what: what.to_owned() }
    }
}

impl SignalSource for CandumpFile {
    fn next_signal(&mut self) -> Result<Option<Signal>, SignalError> {
        while !self.ended {
            let more = self.next_line().map_err(|source| {
                self.ended = true;
                SignalError::Read { path: self.path.clone(), source }
            })?;
            if !more {
                self.ended = true;
                return match (self.frames, self.speeds) {
                    (0, _) => Err(self.unusable("it holds no line of candump")),
                    (_, 0) => Err(self.unusable("no frame in it carries the speed's message")),
                    _ => Ok(None),
                };
            }
            let Some(frame) = std::str::from_utf8(&self.line).ok().and_then(parse_line) else {
                continue;
            };
            self.frames += 1;
            let placed = self.map.place(frame.t_s);
            let Some(mps) = self.speed.decode(&frame) else { continue };
            self.speeds += 1;
            match placed {
                Placed::Before => {}
                // Backwards is a speed too.
                Placed::At(at) => {
                    return Ok(Some(Signal::Speed(VehicleSpeed { at, mps: mps.abs() })));
                }
                Placed::After => self.ended = true,
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
