//! gpsd as a source of fixes: its JSON over TCP.
//!
//! Protocol: `gpsd_json(5)` of gpsd 3.22. Of all classes only TPV is read; whatever else comes,
//! whatever is new in it, is left out. gpsd knows the receiver's protocol and does what it does
//! about weeks that rolled over; its times are passed on as they are. The certainty of its errors
//! is 'unknown' by its own words (95 % before 3.20): they are taken as one standard deviation, which
//! is too large sooner than too small.
//!
//! INVARIANT: a report without a fix, with an estimated error but no place, or with numbers that
//! cannot be gives no sample; a line holds at most [`MAX_LINE`] bytes.
//! A connection that ends or is silent for [`SILENCE`] is an error, after which the next call
//! connects anew, at most once in [`RECONNECT`].

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::Deserialize;
use temoin_proto::samples::Signal;

use crate::{
    clock::SystemClock,
    device::{Clock, SignalError, SignalSource},
    pace::StopToken,
    receiver::ReceiverFix,
};

/// The port that gpsd listens on.
pub const PORT: u16 = 2947;
/// Longest line that is read, bytes: gpsd's own bound on a report (`GPS_JSON_RESPONSE_MAX` is
/// below it).
pub const MAX_LINE: usize = 16 * 1024;
/// Own choice: gpsd reports at least once a second, also without a fix, while a receiver is there.
pub const SILENCE: Duration = Duration::from_secs(15);
/// Own choice: the shortest time between two attempts to connect.
pub const RECONNECT: Duration = Duration::from_secs(2);
/// How often a waiting source looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// What asks gpsd for reports.
const WATCH: &[u8] = b"?WATCH={\"enable\":true,\"json\":true};\n";

/// What is read of a TPV report.
#[derive(Deserialize)]
struct Report<'a> {
    class: &'a str,
    mode: Option<u8>,
    time: Option<&'a str>,
    lat: Option<f64>,
    lon: Option<f64>,
    #[serde(rename = "altMSL")]
    alt_msl: Option<f64>,
    /// Before 3.20, the height above mean sea level.
    alt: Option<f64>,
    speed: Option<f64>,
    track: Option<f64>,
    eph: Option<f64>,
    epx: Option<f64>,
    epy: Option<f64>,
    eps: Option<f64>,
    status: Option<u8>,
}

/// The fix in one line, where it is a TPV report with one.
pub fn parse_report(line: &str) -> Option<ReceiverFix> {
    let r: Report<'_> = serde_json::from_str(line).ok()?;
    // Mode 2 is flat, 3 whole. Status 8 is simulated.
    if r.class != "TPV" || !matches!(r.mode, Some(2 | 3)) || r.status == Some(8) {
        return None;
    }
    let lat_deg = r.lat.filter(|v| v.abs() <= 90.0)?;
    let lon_deg = r.lon.filter(|v| v.abs() <= 180.0)?;
    let utc = r.time.and_then(|t| t.parse::<jiff::Timestamp>().ok()).map(|t| t.as_millisecond());
    let error = |v: Option<f64>| v.filter(|v| v.is_finite() && *v >= 0.0);
    Some(ReceiverFix {
        time_of_day_ms: utc.map(|t| t.rem_euclid(86_400_000)),
        utc_unix_ms: utc,
        alt_m: r.alt_msl.or(r.alt).filter(|v| v.is_finite() && r.mode == Some(3)),
        speed_mps: r.speed.filter(|v| v.is_finite() && *v >= 0.0),
        course_deg: r.track.filter(|v| (0.0..=360.0).contains(v)).map(|v| v.rem_euclid(360.0)),
        hdop: None,
        position_error_m: error(r.eph).or(error(r.epx).zip(error(r.epy)).map(|(x, y)| x.hypot(y))),
        speed_error_mps: error(r.eps),
        ..ReceiverFix::new(lat_deg, lon_deg)
    })
}

/// Cuts a stream into lines. What is too long is left out up to its end.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    too_long: bool,
}

impl Lines {
    /// Takes one byte; gives the line that it ends.
    pub fn push(&mut self, byte: u8) -> Option<Vec<u8>> {
        if byte == b'\n' {
            let line = std::mem::take(&mut self.line);
            return (!std::mem::take(&mut self.too_long)).then_some(line);
        }
        self.too_long |= self.line.len() >= MAX_LINE;
        if self.too_long {
            self.line.clear();
        } else {
            self.line.push(byte);
        }
        None
    }
}

struct Connection {
    stream: TcpStream,
    lines: Lines,
    bytes: Vec<u8>,
    used: usize,
    got: usize,
    heard: Instant,
}

/// gpsd at one address.
pub struct Gpsd {
    address: String,
    connection: Option<Connection>,
    tried: Option<Instant>,
    stop: StopToken,
    clock: SystemClock,
}

impl Gpsd {
    /// A source at `address` (`localhost:2947`), connected.
    ///
    /// # Errors
    /// Where nobody answers there.
    pub fn open(address: &str, stop: StopToken) -> Result<Self, SignalError> {
        let mut gpsd = Self::new(address, stop);
        gpsd.connection = gpsd.connect()?;
        Ok(gpsd)
    }

    /// The same, which connects when it is first asked.
    pub fn new(address: &str, stop: StopToken) -> Self {
        Self {
            address: address.to_owned(),
            connection: None,
            tried: None,
            stop,
            clock: SystemClock,
        }
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("gpsd at {}", self.address))
    }

    /// Connects; None where it is to stop before.
    fn connect(&mut self) -> Result<Option<Connection>, SignalError> {
        let wait = self.tried.map_or(Duration::ZERO, |t| RECONNECT.saturating_sub(t.elapsed()));
        if self.stop.wait(wait) {
            return Ok(None);
        }
        self.tried = Some(Instant::now());
        let failed = |source| SignalError::Open { path: self.path(), source };
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in self.address.to_socket_addrs().map_err(failed)? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(mut stream) => {
                    stream.set_read_timeout(Some(LOOK)).map_err(failed)?;
                    stream.write_all(WATCH).map_err(failed)?;
                    return Ok(Some(Connection {
                        stream,
                        lines: Lines::default(),
                        bytes: vec![0; 4096],
                        used: 0,
                        got: 0,
                        heard: Instant::now(),
                    }));
                }
                Err(e) => last = e,
            }
        }
        Err(failed(last))
    }

    /// The next fix of a connection; None where it is to stop.
    fn next_fix(&self, c: &mut Connection) -> io::Result<Option<ReceiverFix>> {
        loop {
            while let Some(byte) = c.bytes.get(c.used..c.got).and_then(|b| b.first()) {
                c.used += 1;
                let line = c.lines.push(*byte);
                let fix = line.and_then(|l| std::str::from_utf8(&l).ok().and_then(parse_report));
                if fix.is_some() {
                    return Ok(fix);
                }
            }
            if self.stop.is_stopped() {
                return Ok(None);
            }
            match c.stream.read(&mut c.bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    (c.used, c.got) = (0, n);
                    c.heard = Instant::now();
                }
                Err(e) if is_a_pause(&e) && c.heard.elapsed() < SILENCE => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// Whether a read only found nothing yet.
fn is_a_pause(e: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(e.kind(), WouldBlock | TimedOut | Interrupted)
}

impl SignalSource for Gpsd {
    /// After an error the next call connects anew.
    fn next_signal(&mut self) -> Result<Option<Signal>, SignalError> {
        let connection = match self.connection.take() {
            Some(connection) => Some(connection),
            None => self.connect()?,
        };
        let Some(mut connection) = connection else { return Ok(None) };
        match self.next_fix(&mut connection) {
            Ok(fix) => {
                self.connection = Some(connection);
                Ok(fix.map(|fix| Signal::Gnss(fix.at(self.clock.now()))))
            }
            Err(source) => Err(SignalError::Read { path: self.path(), source }),
        }
    }
}

#[cfg(test)]
mod tests;
