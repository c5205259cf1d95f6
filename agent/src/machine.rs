//! What the machine and the vehicle around it say: ignition, supply, heat, and the driver's wish not to be
//! recorded. A thread for each line, one for what is asked again and again.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::SyncSender,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use temoin_hw::{
    SignalSource as _,
    gpio::{Button, Level, LineConfig},
    pace::StopToken,
    supply::{Supply, SupplyConfig},
    thermal::{self, Hottest},
};

use crate::{
    capture::{Captured, keep_open},
    config::DeviceConfig,
    durable::{self, FileError},
    health::{HealthBoard, State},
    net::chain,
};

/// How often the supply is asked: what is flagged is to be on the disk half a second after it fails.
const ASK_SUPPLY: Duration = Duration::from_millis(100);
/// How often the thermal zones are.
const ASK_HEAT: Duration = Duration::from_secs(2);
/// How long a monitor that failed is left alone.
const REOPEN: Duration = Duration::from_secs(5);

/// Something that the machine says.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// The ignition is on or off; none: nobody knows any more.
    Ignition(Option<bool>),
    /// The supply's voltage.
    Supply(f64),
    /// The hottest thermal zone; none where none answers.
    Heat(Option<Hottest>),
    /// The driver pressed the privacy button.
    Privacy,
}

/// Starts what is configured.
///
/// # Errors
/// Where a thread cannot be started.
pub fn start(
    devices: &DeviceConfig,
    to: &SyncSender<Captured>,
    stop: &StopToken,
    health: &Arc<HealthBoard>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    if let Some(line) = devices.ignition.clone() {
        let (to, stop, health) = (to.clone(), stop.clone(), Arc::clone(health));
        threads.push(thread::Builder::new().name("ignition".into()).spawn(move || {
            ignition(&line, &to, &stop, &health);
        })?);
    }
    if let Some(line) = devices.privacy_button.clone() {
        let (to, stop, health) = (to.clone(), stop.clone(), Arc::clone(health));
        threads.push(thread::Builder::new().name("privacy_button".into()).spawn(move || {
            keep_open("privacy_button", Path::new(&line.line), &stop, &health, || {
                let mut button = Button::open(&line, stop.clone())?;
                health.set("privacy_button", State::Ok, "the button is connected");
                while button.next_signal()?.is_some() {
                    if to.send(Captured::Machine(News::Privacy)).is_err() {
                        return Ok(());
                    }
                }
                Ok(())
            });
        })?);
    }
    if let Some(config) = devices.supply.clone() {
        let (to, stop, health) = (to.clone(), stop.clone(), Arc::clone(health));
        threads.push(thread::Builder::new().name("supply".into()).spawn(move || {
            supply(&config, &to, &stop, &health);
        })?);
    }
    let (to, stop) = (to.clone(), stop.clone());
    threads.push(thread::Builder::new().name("heat".into()).spawn(move || {
        let mut told = false;
        loop {
            let hottest = thermal::hottest();
            let news = hottest.is_some() || told;
            told = hottest.is_some();
            if news && to.send(Captured::Machine(News::Heat(hottest))).is_err() {
                return;
            }
            if stop.wait(ASK_HEAT) {
                return;
            }
        }
    })?);
    Ok(threads)
}

fn ignition(line: &LineConfig, to: &SyncSender<Captured>, stop: &StopToken, health: &HealthBoard) {
    let told = |on| to.send(Captured::Machine(News::Ignition(on))).is_ok();
    keep_open("ignition", Path::new(&line.line), stop, health, || {
        let session = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            let mut level = Level::open(line, stop.clone())?;
            while let Some(on) = level.next_level()? {
                let text = if on { "the ignition is on" } else { "the ignition is off" };
                health.set("ignition", State::Ok, text);
                if !told(Some(on)) {
                    return Ok(());
                }
            }
            Ok(())
        };
        let ended = session();
        // A wire that nobody reads any more must not leave the unit parked.
        if stop.is_stopped() || told(None) { ended } else { Ok(()) }
    });
}

fn supply(
    config: &SupplyConfig,
    to: &SyncSender<Captured>,
    stop: &StopToken,
    health: &HealthBoard,
) {
    while !stop.is_stopped() {
        let asked = || -> Result<(), Box<dyn std::error::Error>> {
            let supply = Supply::open(config)?;
            health.set("supply", State::Ok, "the supply is measured");
            while !stop.is_stopped() {
                to.send(Captured::Machine(News::Supply(supply.volts()?)))?;
                stop.wait(ASK_SUPPLY);
            }
            Ok(())
        };
        if let Err(e) = asked() {
            health.set("supply", State::Failed, chain(e.as_ref()));
            stop.wait(REOPEN);
        }
    }
}

/// Jobs on their way to the spool.
#[derive(Clone, Debug, Default)]
pub struct Backlog(Arc<AtomicUsize>);

impl Backlog {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// One less: it is in the spool, or was told as lost.
    pub fn done(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

/// How the machine is asked to switch itself off: a file, which the system's service manager waits for
/// (`temoin-power-off.path` of the package). The unit itself may not.
#[derive(Clone, Debug)]
pub struct PowerSwitch(PathBuf);

impl PowerSwitch {
    /// By this file, which is not to be there yet.
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Asks.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn ask(&self) -> Result<(), FileError> {
        durable::replace(&self.0, b"")
    }

    /// Takes it back, where it is not too late.
    ///
    /// # Errors
    /// Where the file is there and cannot be removed.
    pub fn take_back(&self) -> Result<(), FileError> {
        match std::fs::remove_file(&self.0) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(FileError::new("remove", &self.0)(e))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
