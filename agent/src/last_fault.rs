//! What a part of the unit's program said last before it ended by a fault of its own, for the next start to
//! tell.
//!
//! One file, `DATA/last-fault.json`, written as the fault happens and removed once the next start has told
//! it. INVARIANT: it names a place in the program and no more: a fault's own words may hold what was seen.
//! A crash by anything but a panic (memory that ran out, a signal, a reset) leaves none; the system's own log
//! has those.

use std::{
    panic,
    path::{Path, PathBuf},
    thread,
};

use serde::{Deserialize, Serialize};
use temoin_hw::clock::system_unix_ms;

use crate::{
    durable,
    health::{HealthBoard, State},
};

const PART: &str = "unit.last_fault";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    unix_ms: i64,
    version: String,
    thread: String,
    /// File and line.
    place: String,
}

/// The file of a data folder.
#[derive(Debug, Clone)]
pub struct FaultFile(PathBuf);

impl FaultFile {
    /// In this folder.
    pub fn new(data: &Path) -> Self {
        Self(data.join("last-fault.json"))
    }

    /// From now on each panic of this process is written there, and then said as before.
    pub fn watch(self) {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |fault| {
            let place = fault
                .location()
                .map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
            let fault_told = Fault {
                unix_ms: system_unix_ms(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                thread: thread::current().name().unwrap_or("without a name").to_owned(),
                place,
            };
            // There is nobody left to tell where the disk refuses too.
            drop(durable::replace_json(&self.0, &fault_told));
            before(fault);
        }));
    }

    /// At a start: tells device health of the last one, and forgets it.
    pub fn tell(&self, health: &HealthBoard) {
        let text = match durable::read_json::<Fault>(&self.0) {
            Ok(None) => return health.set(PART, State::Ok, "none"),
            Ok(Some(fault)) => {
                let at = jiff::Timestamp::from_millisecond(fault.unix_ms);
                let at = at.map_or_else(
                    |_| String::new(),
                    |at| at.strftime(" on %Y-%m-%d %H:%M UTC").to_string(),
                );
                format!(
                    "version {} ended by a fault of its own{at}: thread {}, {}; tell who maintains it",
                    fault.version, fault.thread, fault.place
                )
            }
            Err(e) => format!("it ended by a fault of its own, and what it was is lost: {e}"),
        };
        health.set(PART, State::Degraded, text);
        if let Err(e) = std::fs::remove_file(&self.0) {
            tracing::warn!(error = %e, "the last fault will be told again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_once_and_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let file = FaultFile::new(dir.path());
        let said = |file: &FaultFile| {
            let health = HealthBoard::default();
            file.tell(&health);
            (health.state(PART), health.items().remove(0).text)
        };
        assert_eq!(said(&file), (Some(State::Ok), "none".to_owned()));
        file.clone().watch();
        let ended = thread::Builder::new()
            .name("perception".into())
            .spawn(|| panic!("something that was seen"))
            .unwrap()
            .join();
        drop(panic::take_hook());
        assert!(ended.is_err());
        let (state, text) = said(&file);
        assert_eq!(state, Some(State::Degraded));
        assert!(text.contains("thread perception") && text.contains("last_fault.rs:"), "{text}");
        assert!(!text.contains("seen"), "{text}");
        assert_eq!(said(&file).0, Some(State::Ok), "told once");
        std::fs::write(&file.0, "{").unwrap();
        assert_eq!(said(&file).0, Some(State::Degraded));
    }
}
