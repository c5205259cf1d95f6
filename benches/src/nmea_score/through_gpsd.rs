//! A log as a unit reads it through gpsd: the real daemon, with the log for a receiver, and the
//! unit's own source, which listens to it.
//!
//! The log goes to gpsd over TCP, which takes it as fast as gpsd reads and loses nothing. Between
//! gpsd and the source stands a relay that changes nothing: by it we know when the source is
//! subscribed, so that the log may begin, and when gpsd has told all. gpsd does not say that a
//! receiver's connection ended, so a sentence of another kind, which it passes on, follows the log.
//!
//! INVARIANT: every wait has an end, `PATIENCE`; the daemon is ended with what started it.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use temoin_hw::{device::SignalSource as _, gpsd::Gpsd, pace::StopToken, receiver::ReceiverFix};
use temoin_proto::samples::{GnssFix, Signal};

use super::DAY_MS;

/// Longest time for one step: starting, or the pause between two reports.
const PATIENCE: Duration = Duration::from_secs(20);
/// A ship's report of its place, which is none of a receiver's own, and the ship that it is of.
const MARK: &str = "\r\n!AIVDM,1,1,,A,15RTgt0PAso;90TKcjM8h6g208CQ,0*4A\r\n";
const MARK_REPORT: [&str; 2] = [r#""class":"AIS""#, r#""mmsi":371798000"#];
/// gpsd takes what follows a half message for its rest, up to the longest message that it knows:
/// 9216 bytes in 3.22. So the mark comes again and again, for longer than that.
const MARKS: usize = 16 * 1024 / MARK.len();

/// A gpsd to read through. Debian has it where only root looks for programs.
fn program() -> Option<&'static str> {
    let runs =
        |gpsd: &&str| Command::new(gpsd).arg("-V").output().is_ok_and(|said| said.status.success());
    ["gpsd", "/usr/sbin/gpsd"].into_iter().find(runs)
}

/// Whether there is one.
pub(super) fn installed() -> bool {
    program().is_some()
}

/// Everything that a log says, by the unit's source of gpsd.
///
/// # Errors
/// Where gpsd does not start, or falls silent before the end of the log.
pub(super) fn fixes(log: &[u8]) -> Result<Vec<ReceiverFix>> {
    let (receiver, relay) = (listen()?, listen()?);
    // Free a moment ago; gpsd cannot be handed a socket.
    let port = listen()?.local_addr()?.port();
    let _gpsd = Daemon::start(port, &receiver)?;
    let to_gpsd = accept(&receiver).context("gpsd does not connect to the receiver")?;
    let of_gpsd = connect(port).context("gpsd does not listen")?;
    let mut source = Gpsd::open(&relay.local_addr()?.to_string(), StopToken::new())?;
    let of_source = accept(&relay)?;
    let (subscribed, start) = mpsc::channel();
    thread::scope(|scope| {
        let feeding = scope.spawn(move || feed(to_gpsd, log, &start));
        let relaying = scope.spawn(|| pass_on(&of_gpsd, &of_source, subscribed));
        let mut fixes = Vec::new();
        // The relay's end is an error to the source, which would connect again; whether all went
        // well before says the relay.
        while let Ok(Some(signal)) = source.next_signal() {
            if let Signal::Gnss(fix) = signal {
                fixes.push(as_told(&fix));
            }
        }
        relaying.join().map_err(|_| anyhow!("the relay panicked"))??;
        feeding.join().map_err(|_| anyhow!("the receiver panicked"))??;
        Ok(fixes)
    })
}

/// Plays the receiver once the source is subscribed, and stays until all was told.
fn feed(mut to: TcpStream, log: &[u8], start: &Receiver<()>) -> Result<()> {
    if start.recv().is_err() {
        return Ok(());
    }
    to.set_write_timeout(Some(PATIENCE))?;
    to.write_all(log)?;
    to.write_all(MARK.repeat(MARKS).as_bytes())?;
    // Ends when the relay drops its side.
    while start.recv().is_ok() {}
    Ok(())
}

/// Hands gpsd what the source asks, and the source what gpsd tells, up to the mark.
fn pass_on(gpsd: &TcpStream, source: &TcpStream, subscribed: Sender<()>) -> Result<()> {
    let told = (|| {
        for stream in [gpsd, source] {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
        }
        let (mut to_gpsd, mut to_source) = (gpsd, source);
        let mut asked = Vec::new();
        BufReader::new(source).read_until(b'\n', &mut asked)?;
        to_gpsd.write_all(&asked)?;
        let mut lines = BufReader::new(gpsd);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = lines.read_until(b'\n', &mut line).context("gpsd fell silent")?;
            ensure!(read > 0, "gpsd ended before the log");
            let text = String::from_utf8_lossy(&line);
            if MARK_REPORT.iter().all(|part| text.contains(part)) {
                return Ok(());
            }
            to_source.write_all(&line)?;
            if text.contains(r#""class":"WATCH""#) {
                subscribed.send(())?;
            }
        }
    })();
    source.shutdown(Shutdown::Both)?;
    told
}

/// gpsd, in the foreground and on a port of its own; ended where it is dropped.
struct Daemon(Child);

impl Daemon {
    fn start(port: u16, receiver: &TcpListener) -> Result<Self> {
        let device = format!("tcp://{}", receiver.local_addr()?);
        let child = Command::new(program().context("gpsd is not installed")?)
            // `-b`: it only listens to the receiver, and sets nothing up in it.
            .args(["-N", "-n", "-b", "-S", &port.to_string(), &device])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("gpsd does not start")?;
        Ok(Self(child))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed, and is waited for all the same.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn listen() -> Result<TcpListener> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    let asked = poll(&mut fds, Some(&Timespec::try_from(PATIENCE)?))?;
    ensure!(asked > 0, "nobody connects within {PATIENCE:?}");
    Ok(listener.accept()?.0)
}

/// Connects as soon as somebody listens there.
fn connect(port: u16) -> Result<TcpStream> {
    let began = Instant::now();
    loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => return Ok(stream),
            Err(_) if began.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(10)),
            Err(e) => bail!(e),
        }
    }
}

/// A sample in the form of what is compared.
fn as_told(fix: &GnssFix) -> ReceiverFix {
    ReceiverFix {
        time_of_day_ms: fix.utc_unix_ms.map(|t| t.rem_euclid(DAY_MS)),
        utc_unix_ms: fix.utc_unix_ms,
        alt_m: fix.alt_m,
        speed_mps: fix.speed_mps,
        course_deg: fix.course_deg,
        hdop: fix.hdop,
        position_error_m: fix.position_error_m,
        speed_error_mps: fix.speed_error_mps,
        ..ReceiverFix::new(fix.lat_deg, fix.lon_deg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rmc(second: u8, north: u16) -> Vec<u8> {
        let body = format!(
            "GNRMC,2237{second:02}.00,A,3806.{north:05},N,12237.61382,W,19.438,271.5,110720,,,D"
        );
        format!("${body}*{:02X}\r\n", body.bytes().fold(0, |a, b| a ^ b)).into_bytes()
    }

    #[test]
    fn a_log_comes_out_of_gpsd_as_it_went_in() {
        if !installed() {
            println!("skipped: gpsd is not installed");
            return;
        }
        let log: Vec<u8> = (0..50).flat_map(|s| rmc(s, 100 * u16::from(s))).collect();
        // The second ends with the head of a long SiRF message, whose rest does not come.
        for log in [log.clone(), [&log[..], &[0xa0, 0xa2, 0x03, 0xe8, 0x29]].concat()] {
            let fixes = fixes(&log).unwrap();
            let mut seconds: Vec<_> =
                fixes.iter().filter_map(|f| Some(f.time_of_day_ms? / 1000 % 60)).collect();
            seconds.dedup();
            // gpsd tells an epoch when the next one begins, or at once; the first may only begin one.
            assert!(seconds.len() >= 47 && seconds.is_sorted(), "{seconds:?}");
            for fix in fixes {
                let second = fix.time_of_day_ms.unwrap() / 1000 % 60;
                let want = 38.0 + (6.0 + second as f64 / 1000.0) / 60.0;
                assert!((fix.lat_deg - want).abs() < 1e-8, "{second}: {fix:?}");
                assert!(fix.speed_mps.is_none_or(|v| (v - 10.0).abs() < 1e-2), "{fix:?}");
            }
        }
    }
}
