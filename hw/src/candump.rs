//! A vehicle's bus out of a CAN log, with the model file or DBC that explains it.
//!
//! Both forms of `candump` are read: the log (`(12.5) can0 0B4#0011...`) and the screen with
//! absolute times (`(12.5) can0 0B4 [8] 00 11 ...`). Lines that are neither, remote frames and
//! error frames are left out.
//!
//! INVARIANT: listen-only by nature: nothing here can send a frame. Memory does not grow with
//! the log; a line holds at most [`MAX_LINE`] bytes.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
};

use temoin_proto::{samples::Signal, time::MonoTime};

use crate::{
    can_frame::{CanFrame, EXTENDED, MAX_DATA},
    device::{SignalError, SignalSource},
    drive::SignalInput,
    nmea::open_file,
    time_map::{Placed, TimeMap},
    vehicle::{VehicleDecoder, VehicleModel},
};

/// Longest line, bytes: a CAN FD frame of 64 bytes as the screen form writes it, and some.
pub const MAX_LINE: u64 = 512;
/// Reads one line of a log: the log's own time in seconds, and the frame. Nothing where it is no
/// data frame.
pub fn parse_line(line: &str) -> Option<(f64, CanFrame)> {
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
        8 => EXTENDED,
        _ => return None,
    };
    let number = u32::from_str_radix(id, 16).ok()?;
    // Above 29 bits lie the flags of remote and error frames.
    if number > 0x1fff_ffff || hex.len() > MAX_DATA * 2 {
        return None;
    }
    Some((t_s, CanFrame { id: number | extended, data: bytes_of_hex(&hex)? }))
}

fn bytes_of_hex(hex: &str) -> Option<Vec<u8>> {
    let mut digits = hex.bytes().map(|b| char::from(b).to_digit(16));
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    while let Some(high) = digits.next() {
        bytes.push(u8::try_from(high? * 16 + digits.next()??).ok()?);
    }
    Some(bytes)
}

/// What one log says of a vehicle.
pub struct CandumpFile {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
    decoder: VehicleDecoder,
    waiting: VecDeque<Signal>,
    map: TimeMap,
    frames: u64,
    unread: u64,
    carried: u64,
    ended: bool,
}

impl CandumpFile {
    /// Opens the log and the files that explain it; the drive's zero lies at `zero`.
    ///
    /// # Errors
    /// Where a file cannot be opened or used.
    pub fn open(input: &SignalInput, zero: MonoTime) -> Result<Self, SignalError> {
        let unusable =
            |what: &str| SignalError::Unusable { path: input.file.clone(), what: what.to_owned() };
        let dbc = input.dbc.as_deref();
        let model = match (&input.vehicle, &input.speed) {
            (Some(vehicle), _) => VehicleModel::load(vehicle, dbc)?,
            (None, Some((message, signal))) => {
                let dbc = dbc.ok_or_else(|| unusable("no DBC file is named for it"))?;
                VehicleModel::speed_only(dbc, (message, signal), input.speed_unit.as_deref())?
            }
            (None, None) => {
                return Err(unusable("neither a vehicle model nor the speed's signal is named"));
            }
        };
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
            decoder: VehicleDecoder::new(model),
            waiting: VecDeque::new(),
            map: TimeMap::new(input.window(), zero),
            frames: 0,
            unread: 0,
            carried: 0,
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

    /// What the end of the log says of the whole of it.
    fn at_the_end(&self) -> Result<Option<Signal>, SignalError> {
        let unusable = |what| Err(SignalError::Unusable { path: self.path.clone(), what });
        let dropped = self.decoder.dropped();
        if dropped > 0 {
            tracing::warn!(path = %self.path.display(), dropped, "numbers that no vehicle reaches");
        }
        if self.unread > 0 {
            let (lines, path) = (self.unread, self.path.display());
            tracing::debug!(%path, lines, "lines that are no data frame");
        }
        if self.frames == 0 {
            return unusable("it holds no line of candump".to_owned());
        }
        if self.carried == 0 {
            let names = self.decoder.model().signal_names().join(", ");
            return unusable(format!("no frame in it carries any of {names}"));
        }
        Ok(None)
    }
}

impl SignalSource for CandumpFile {
    fn next_signal(&mut self) -> Result<Option<Signal>, SignalError> {
        loop {
            if let Some(signal) = self.waiting.pop_front() {
                return Ok(Some(signal));
            }
            if self.ended {
                return Ok(None);
            }
            let more = self.next_line().map_err(|source| {
                self.ended = true;
                SignalError::Read { path: self.path.clone(), source }
            })?;
            if !more {
                self.ended = true;
                return self.at_the_end();
            }
            let Some((t_s, frame)) = std::str::from_utf8(&self.line).ok().and_then(parse_line)
            else {
                self.unread += 1;
                continue;
            };
            self.frames += 1;
            match self.map.place(t_s) {
                // It counts, but nothing of it is told.
                Placed::Before => {
                    self.carried += u64::from(self.decoder.model().carries(&frame));
                }
                Placed::At(at) => {
                    let carried = self.decoder.decode(&frame, at, &mut self.waiting);
                    self.carried += u64::from(carried);
                }
                Placed::After => self.ended = true,
            }
        }
    }
}

#[cfg(test)]
mod tests;
