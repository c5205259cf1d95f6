//! How far this unit drove, kept until the server has it.
//!
//! A run of the unit counts from 0 and never falls; a mark says where the counter stood at a time.
//! Marks that no answered heartbeat has carried wait here, and in `DATA/distance.json`, replaced
//! durably, once a heartbeat failed.
//!
//! INVARIANT: a metre is told until the server has answered, and counts once there: each run has an
//! id of its own, and the server adds only what a counter rose by. Leaving marks out loses no
//! distance as long as the last of each run stays.
//!
//! A crash or power cut loses what was driven since the last heartbeat that was tried. That is to
//! the driver's disadvantage by less than a kilometre, and the price of not writing all the time.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use temoin_proto::{
    convert::{MAX_MARKS, Mark},
    ids::RunId,
};

use crate::durable::{self, FileError};

/// Marks of one run that wait are thinned to this distance in time, milliseconds: who drove changes
/// with shifts, not by the minute.
const APART_MS: i64 = 5 * 60_000;
/// More marks than these do not wait: two weeks of driving without a network.
const MOST_WAITING: usize = 2048;

/// What the pipeline last told of its distance.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Driven {
    /// By the unit's clock as it was then, milliseconds since 1970.
    pub at_ms: i64,
    /// Metres since the run began.
    pub driven_m: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    run: RunId,
    at_ms: i64,
    driven_m: f64,
}

/// The marks that wait for the server.
#[derive(Debug)]
pub struct Odometer {
    path: PathBuf,
    run: RunId,
    /// The oldest first.
    waiting: Vec<Mark>,
    /// What this run last told the server, or noted to tell.
    noted_m: f64,
    /// Whether the file differs from `waiting`.
    dirty: bool,
}

impl Odometer {
    /// Where the marks lie in a data folder.
    pub fn path(data: &Path) -> PathBuf {
        data.join("distance.json")
    }

    /// A new run, with what earlier ones left.
    ///
    /// # Errors
    /// Where the file is there and cannot be read or understood; [`Self::without`] goes on then.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let left: Vec<Stored> = durable::read_json(path)?.unwrap_or_default();
        let mut odometer = Self::without(path);
        odometer.waiting = left
            .into_iter()
            .map(|s| Mark { run: s.run, at_ms: s.at_ms, driven_m: s.driven_m })
            .collect();
        Ok(odometer)
    }

    /// A new run with nothing before it.
    pub fn without(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            run: RunId::new(),
            waiting: Vec::new(),
            noted_m: 0.0,
            dirty: false,
        }
    }

    /// Takes what the pipeline told, and gives the marks for the next heartbeat.
    pub fn to_send(&mut self, now: Driven) -> &[Mark] {
        if now.driven_m > self.noted_m {
            self.noted_m = now.driven_m;
            self.add(Mark { run: self.run, at_ms: now.at_ms, driven_m: now.driven_m });
        }
        self.waiting.get(..self.waiting.len().min(MAX_MARKS)).unwrap_or_default()
    }

    fn add(&mut self, mark: Mark) {
        // The last mark of a run may move on while the one before it is near.
        if let [.., before, last] = self.waiting.as_mut_slice()
            && (before.run, last.run) == (mark.run, mark.run)
            && (0..APART_MS).contains(&mark.at_ms.saturating_sub(before.at_ms))
        {
            *last = mark;
        } else {
            self.waiting.push(mark);
        }
        self.dirty = true;
        if self.waiting.len() > MOST_WAITING {
            self.thin();
        }
    }

    /// Every second mark goes, but for the last of each run.
    fn thin(&mut self) {
        let runs: Vec<RunId> = self.waiting.iter().map(|m| m.run).collect();
        let mut n = 0;
        self.waiting.retain(|mark| {
            n += 1;
            let is_last = runs.get(n) != Some(&mark.run);
            is_last || n % 2 == 0
        });
        // Thousands of runs without a network: then the oldest go.
        let over = self.waiting.len().saturating_sub(MOST_WAITING);
        self.waiting.drain(..over);
    }

    /// The server answered a heartbeat with this many marks.
    ///
    /// # Errors
    /// Where the file cannot be written: then marks come again, which adds nothing.
    pub fn answered(&mut self, sent: usize) -> Result<(), FileError> {
        self.waiting.drain(..sent.min(self.waiting.len()));
        // Without a file there is nothing to put right.
        if sent > 0 && self.path.exists() {
            return self.store();
        }
        self.dirty = false;
        Ok(())
    }

    /// A heartbeat failed: what waits is made durable.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn failed(&mut self) -> Result<(), FileError> {
        if self.dirty { self.store() } else { Ok(()) }
    }

    fn store(&mut self) -> Result<(), FileError> {
        let stored: Vec<Stored> = self
            .waiting
            .iter()
            .map(|m| Stored { run: m.run, at_ms: m.at_ms, driven_m: m.driven_m })
            .collect();
        durable::replace_json(&self.path, &stored)?;
        self.dirty = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn at(minute: i64, driven_m: f64) -> Driven {
        Driven { at_ms: minute * 60_000, driven_m }
    }

    /// What a server adds up: per run, only what the counter rose by.
    #[derive(Default)]
    struct Server(std::collections::BTreeMap<RunId, f64>);

    impl Server {
        fn take(&mut self, marks: &[Mark]) {
            for mark in marks {
                let stands = self.0.entry(mark.run).or_default();
                *stands = stands.max(mark.driven_m);
            }
        }

        fn total(&self) -> f64 {
            self.0.values().sum()
        }
    }

    #[test]
    fn lost_heartbeats_and_restarts_neither_lose_nor_double_a_metre() {
        let dir = tempfile::tempdir().unwrap();
        let path = Odometer::path(dir.path());
        let mut server = Server::default();
        let mut odometer = Odometer::open(&path).unwrap();
        assert!(odometer.to_send(at(0, 0.0)).is_empty(), "a van that stands tells nothing");
        // Answered.
        server.take(odometer.to_send(at(1, 500.0)));
        odometer.answered(1).unwrap();
        assert!(odometer.to_send(at(2, 500.0)).is_empty());
        assert!(!path.exists(), "nothing waits, nothing is written");
        // The server took it, the answer was lost; then the unit is switched off.
        server.take(odometer.to_send(at(3, 900.0)));
        odometer.failed().unwrap();
        drop(odometer);
        let mut odometer = Odometer::open(&path).unwrap();
        // Hours without a network, and a restart.
        for minute in 4..200 {
            odometer.to_send(at(minute, f64::from(u32::try_from(minute).unwrap()) * 100.0));
            odometer.failed().unwrap();
        }
        drop(odometer);
        let mut odometer = Odometer::open(&path).unwrap();
        let marks = odometer.to_send(at(201, 50.0)).to_vec();
        assert!((40..60).contains(&marks.len()), "thinned to 5 min: {}", marks.len());
        server.take(&marks);
        odometer.answered(marks.len()).unwrap();
        assert!((server.total() - (900.0 + 19_900.0 + 50.0)).abs() < 1e-6, "{}", server.total());
        drop(odometer);
        assert!(Odometer::open(&path).unwrap().to_send(at(300, 0.0)).is_empty());
    }

    #[test]
    fn what_waits_is_bounded_and_the_last_of_each_run_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = Odometer::path(dir.path());
        let mut odometer = Odometer::without(&path);
        let before = RunId::new();
        odometer.waiting.push(Mark { run: before, at_ms: 0, driven_m: 7.0 });
        for n in 1..10_000_u32 {
            odometer.to_send(at(i64::from(n) * 6, f64::from(n)));
        }
        assert!(odometer.waiting.len() <= MOST_WAITING);
        assert!(odometer.to_send(at(60_000, 9_999.0)).len() <= MAX_MARKS);
        let mut server = Server::default();
        server.take(&odometer.waiting);
        assert!((server.total() - (7.0 + 9_999.0)).abs() < 1e-6);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = Odometer::path(dir.path());
        fs::write(&path, "{").unwrap();
        let said = Odometer::open(&path).unwrap_err().to_string();
        assert!(said.contains("distance.json"), "{said}");
    }
}
