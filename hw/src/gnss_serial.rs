//! A GNSS receiver on a serial line (or a pipe, or a growing file) that speaks NMEA 0183 or UBX.
//!
//! A fix is stamped with the time at which its sentence was complete: receivers report 50 to
//! 200 ms after the moment of the fix, and this adds no guess.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
    termios::{OptionalActions, QueueSelector, isatty, tcflush, tcgetattr, tcsetattr},
};
use temoin_proto::samples::Signal;

use crate::{
    clock::SystemClock,
    device::{Clock, SignalError, SignalSource},
    pace::StopToken,
    receiver::{Receiver, ReceiverFix},
    waiting::is_readable,
};

/// The receiver.
pub struct GnssSerial {
    path: PathBuf,
    fd: OwnedFd,
    receiver: Receiver,
    bytes: Vec<u8>,
    used: usize,
    got: usize,
    stop: StopToken,
    clock: SystemClock,
    ended: bool,
}

impl GnssSerial {
    /// Opens the device at `baud` (9600 is usual; pipes and files have none).
    ///
    /// # Errors
    /// Where it cannot be opened, or the line cannot run at that speed.
    pub fn open(path: &Path, baud: u32, stop: StopToken) -> Result<Self, SignalError> {
        let failed =
            |e: Errno| SignalError::Open { path: path.to_owned(), source: io::Error::from(e) };
        let pipe = std::fs::metadata(path)
            .map_err(|source| SignalError::Open { path: path.to_owned(), source })
            .map(|m| FileType::from_raw_mode(std::os::unix::fs::MetadataExt::mode(&m)))?
            == FileType::Fifo;
        // A pipe held open for writing too does not end when its writer goes away.
        let access = if pipe { OFlags::RDWR } else { OFlags::RDONLY };
        let flags = access | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
        if isatty(&fd) {
            let mut line = tcgetattr(&fd).map_err(failed)?;
            line.make_raw();
            line.set_speed(baud).map_err(failed)?;
            // Not after what is to be sent: the line echoed what came until now, and to a device that takes
            // nothing that would wait for ever.
            tcsetattr(&fd, OptionalActions::Now, &line).map_err(failed)?;
            tcflush(&fd, QueueSelector::IOFlush).map_err(failed)?;
        }
        Ok(Self {
            path: path.to_owned(),
            fd,
            receiver: Receiver::new(),
            bytes: vec![0; 4096],
            used: 0,
            got: 0,
            stop,
            clock: SystemClock,
            ended: false,
        })
    }

    /// Waits for more bytes; false where there will be none.
    fn fill(&mut self) -> Result<bool, SignalError> {
        let failed = |source: Errno| match source {
            Errno::NODEV | Errno::NXIO | Errno::IO => {
                SignalError::Unplugged { path: self.path.clone() }
            }
            e => SignalError::Read { path: self.path.clone(), source: io::Error::from(e) },
        };
        loop {
            if self.stop.is_stopped() {
                return Ok(false);
            }
            if !is_readable(&self.fd).map_err(failed)? {
                continue;
            }
            match rustix::io::read(&self.fd, self.bytes.as_mut_slice()) {
                Ok(n) => {
                    (self.used, self.got) = (0, n);
                    return Ok(n > 0);
                }
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(e) => return Err(failed(e)),
            }
        }
    }

    fn signal(&self, fix: &ReceiverFix) -> Signal {
        Signal::Gnss(fix.at(self.clock.now()))
    }
}

impl SignalSource for GnssSerial {
    fn next_signal(&mut self) -> Result<Option<Signal>, SignalError> {
        loop {
            let mut found = self.receiver.pop();
            while found.is_none()
                && self.used < self.got
                && let Some(byte) = self.bytes.get(self.used)
            {
                self.receiver.push(*byte);
                self.used += 1;
                found = self.receiver.pop();
            }
            if let Some(fix) = found {
                return Ok(Some(self.signal(&fix)));
            }
            if self.ended {
                return Ok(None);
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => {
                    self.ended = true;
                    self.receiver.finish();
                }
                Err(e) => {
                    self.ended = true;
                    return Err(e);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const RMC: &str = "$GNRMC,223745.00,A,3806.62964,N,12237.61382,W,0.040,,110720,,,D,V*0E\r\n";

    #[test]
    fn reads_a_file_to_its_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for _ in 0..200 {
            file.write_all(RMC.as_bytes()).unwrap();
        }
        let mut gnss = GnssSerial::open(file.path(), 9600, StopToken::new()).unwrap();
        let mut times = Vec::new();
        while let Some(s) = gnss.next_signal().unwrap() {
            times.push(s.at());
        }
        assert_eq!(times.len(), 200);
        assert!(times.is_sorted());
    }

    #[test]
    fn a_fix_that_the_receiver_refuses_is_no_sample() {
        let mut payload = crate::ubx::tests::pvt();
        let good = crate::ubx::tests::frame(crate::ubx::NAV_PVT, &payload);
        payload[21] = 0;
        let refused = crate::ubx::tests::frame(crate::ubx::NAV_PVT, &payload);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[&refused[..], &good, &refused].concat()).unwrap();
        let mut gnss = GnssSerial::open(file.path(), 9600, StopToken::new()).unwrap();
        assert!(matches!(gnss.next_signal(), Ok(Some(Signal::Gnss(_)))));
        assert!(matches!(gnss.next_signal(), Ok(None)));
    }

    #[test]
    fn a_silent_pipe_ends_when_it_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gnss");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        let stop = StopToken::new();
        let mut gnss = GnssSerial::open(&path, 9600, stop.clone()).unwrap();
        std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .write_all(RMC.as_bytes())
            .unwrap();
        assert!(matches!(gnss.next_signal(), Ok(Some(Signal::Gnss(_)))));
        let waiting = std::thread::spawn(move || gnss.next_signal());
        stop.stop();
        assert!(matches!(waiting.join().unwrap(), Ok(None)));
    }

    #[test]
    fn a_missing_device_names_its_path() {
        let Err(e) = GnssSerial::open(Path::new("/dev/no-such-tty"), 9600, StopToken::new()) else {
            panic!("opened")
        };
        assert!(e.to_string().contains("/dev/no-such-tty"), "{e}");
    }
}
