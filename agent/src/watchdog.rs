//! Feeds the machine's watchdog while the unit's loop goes round, and only then.
//!
//! A loop that hangs, a process that crashed and a machine that froze all end the same way: nobody feeds
//! it, and it resets the machine. What was flagged by then is in the spool.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use temoin_hw::{SignalError, pace::StopToken, watchdog::Watchdog};

use crate::{
    health::{HealthBoard, State},
    net::chain,
};

/// It is fed this many times within the time after which it would bite.
const MEALS: u32 = 4;
/// How long to wait before one that failed is opened again.
const REOPEN: Duration = Duration::from_secs(5);

/// The unit's loop: each round is counted.
#[derive(Clone, Debug, Default)]
pub struct Rounds(Arc<AtomicU64>);

impl Rounds {
    /// Another round.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counted(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Starts the thread that feeds it. It ends with `stop`, and the watchdog is off then.
///
/// # Errors
/// Where the thread cannot be started.
pub fn start(
    path: PathBuf,
    rounds: Rounds,
    stop: StopToken,
    health: Arc<HealthBoard>,
) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("watchdog".into()).spawn(move || {
        while !stop.is_stopped() {
            if let Err(e) = feed(&path, &rounds, &stop, &health) {
                health.set("watchdog", State::Failed, chain(&e));
                stop.wait(REOPEN);
            }
        }
    })
}

fn feed(
    path: &Path,
    rounds: &Rounds,
    stop: &StopToken,
    health: &HealthBoard,
) -> Result<(), SignalError> {
    let mut watchdog = Watchdog::open(path)?;
    health.set("watchdog", State::Ok, "the watchdog is fed");
    let every = watchdog.timeout() / MEALS;
    let (mut seen, mut moved) = (rounds.counted(), Instant::now());
    while !stop.wait(every) {
        let counted = rounds.counted();
        if counted == seen {
            let text = format!("the unit's loop stands since {} s", moved.elapsed().as_secs());
            health.set("watchdog", State::Failed, text);
            continue;
        }
        (seen, moved) = (counted, Instant::now());
        watchdog.feed()?;
        health.set("watchdog", State::Ok, "the watchdog is fed");
    }
    watchdog.off()
}
