//! Notices at a start that the power went while the vehicle moved, as when somebody pulls the plug.
//!
//! The mark `DATA/under_way.json` is there while the vehicle moves, and goes when it stands or the
//! unit is switched off in order. A start that finds it says so in device health, `unit.power`.
//!
//! INVARIANT: that is a statement on the device, never on the driver. Whatever cannot be read or
//! written costs only this statement. A crash of the unit's program leaves the mark as a power cut
//! does: the next start cannot tell them apart, and says so.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use temoin_proto::time::MonoTime;
use tokio::sync::watch;

use crate::{
    durable::{self, FileError},
    health::{HealthBoard, State},
};

/// The part of device health that it speaks for.
const PART: &str = "unit.power";
/// From here on the vehicle moves: 10 km/h, as for harsh manoeuvres.
const MOVES_MPS: f64 = 10.0 / 3.6;
/// Below it stands.
const STANDS_MPS: f64 = 0.5;
/// For so long, so that a queue does not wear out the disk. Own choice.
const HELD: Duration = Duration::from_secs(3);

/// Whether the vehicle moves; while its speed is unknown, as before.
#[derive(Debug, Clone, Copy, Default)]
pub struct UnderWay {
    moves: bool,
    /// Since when it looks otherwise.
    otherwise: Option<MonoTime>,
}

impl UnderWay {
    /// Takes the speed at a moment, metres a second; says whether the vehicle moves.
    pub fn step(&mut self, at: MonoTime, speed_mps: Option<f64>) -> bool {
        let otherwise =
            speed_mps.is_some_and(|v| if self.moves { v < STANDS_MPS } else { v >= MOVES_MPS });
        self.otherwise = otherwise.then(|| self.otherwise.unwrap_or(at));
        if self.otherwise.is_some_and(|since| at.since(since) >= HELD) {
            *self = Self { moves: !self.moves, otherwise: None };
        }
        self.moves
    }
}

/// What the mark says: since when the vehicle moved, by the unit's clock, ms since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    since_ms: i64,
}

/// The mark's file.
#[derive(Debug, Clone)]
pub struct MarkFile(PathBuf);

impl MarkFile {
    /// In a data folder.
    pub fn new(data: &Path) -> Self {
        Self(data.join("under_way.json"))
    }

    /// At a start: tells device health how the last run ended, and removes its mark.
    pub fn tell_last_run(&self, health: &HealthBoard) {
        let moved = match durable::read_json::<Mark>(&self.0) {
            Ok(None) => return health.set(PART, State::Ok, "the last run ended in order"),
            Ok(Some(mark)) => jiff::Timestamp::from_millisecond(mark.since_ms).ok(),
            // Cut off while it was written, or damaged later.
            Err(_) => None,
        };
        let since = moved.map_or_else(String::new, |at| {
            format!(", under way since {}", at.strftime("%Y-%m-%d %H:%M UTC"))
        });
        health.set(
            PART,
            State::Degraded,
            format!(
                "the unit went off while the vehicle moved{since}: its supply was cut, or its program crashed: check plug, fuse and log"
            ),
        );
        self.remove();
    }

    /// The unit ends in order.
    pub fn remove(&self) {
        let removed = match fs::remove_file(&self.0) {
            Ok(()) => self.0.parent().map_or(Ok(()), durable::sync_folder),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(FileError::new("remove", &self.0)(e)),
        };
        if let Err(e) = removed {
            tracing::warn!(error = %e, "the next start will say that the power was cut");
        }
    }

    fn write(&self, moves_since_ms: Option<i64>) {
        match moves_since_ms {
            None => self.remove(),
            Some(since_ms) => {
                if let Err(e) = durable::replace_json(&self.0, &Mark { since_ms }) {
                    tracing::warn!(error = %e, "a power cut under way will not be noticed");
                }
            }
        }
    }
}

/// Keeps the mark true, away from the unit's loop, which must not wait for a disk. `moves` holds
/// since when the vehicle moves, ms since 1970; none while it stands. Ends with its sender.
pub async fn keep(file: MarkFile, mut moves: watch::Receiver<Option<i64>>) {
    let file = Arc::new(file);
    while moves.changed().await.is_ok() {
        let since_ms = *moves.borrow_and_update();
        let to = Arc::clone(&file);
        if tokio::task::spawn_blocking(move || to.write(since_ms)).await.is_err() {
            return;
        }
    }
    file.remove();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vehicle_moves_from_10_kmh_until_it_stands() {
        // Each (speed in m/s for 2 s and 2 s more, whether it moves at their end).
        let story = [
            (Some(2.0), [false, false]),
            (Some(9.0), [false, true]),
            // In a queue, and where nothing is known.
            (Some(1.0), [true, true]),
            (None, [true, true]),
            (Some(0.0), [true, false]),
            (None, [false, false]),
            (Some(2.0), [false, false]),
        ];
        let mut under_way = UnderWay::default();
        let mut second = 0.0;
        for (n, (speed, expected)) in story.into_iter().enumerate() {
            for moves in expected {
                let mut said = false;
                for _ in 0..20 {
                    second += 0.1;
                    said = under_way.step(MonoTime::from_secs_f64(second), speed);
                }
                assert_eq!(said, moves, "{n}: {speed:?} at {second}");
            }
        }
    }

    #[test]
    fn short_halts_and_jumps_change_nothing() {
        let mut under_way = UnderWay::default();
        for tenth in 0..600_u32 {
            let speed = if tenth % 25 == 0 { 0.0 } else { 20.0 };
            under_way.step(MonoTime::from_secs_f64(f64::from(tenth) / 10.0), Some(speed));
            assert!(!under_way.moves, "the speed jumps each 2.5 s");
        }
    }

    fn said(file: &MarkFile) -> (State, String) {
        let board = HealthBoard::default();
        file.tell_last_run(&board);
        let text = board.items().into_iter().find(|item| item.part == PART).unwrap();
        (board.state(PART).unwrap(), text.text)
    }

    #[tokio::test]
    async fn only_a_run_that_ends_under_way_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = MarkFile::new(dir.path());
        assert_eq!(said(&file).0, State::Ok);
        // Moves, and the power goes: the task never sees its end.
        let (tell, moves) = watch::channel(None);
        let kept = tokio::spawn(keep(file.clone(), moves));
        tell.send_replace(Some(1_700_000_000_000));
        while !file.0.exists() {
            tokio::task::yield_now().await;
        }
        kept.abort();
        let (state, text) = said(&file);
        assert_eq!(state, State::Degraded);
        assert!(text.contains("under way since 2023-11-14 22:13 UTC"), "{text}");
        assert_eq!(said(&file).0, State::Ok, "told once");
        // Moves, then stands.
        let (tell, moves) = watch::channel(None);
        let kept = tokio::spawn(keep(file.clone(), moves));
        tell.send_replace(Some(1));
        while !file.0.exists() {
            tokio::task::yield_now().await;
        }
        tell.send_replace(None);
        while file.0.exists() {
            tokio::task::yield_now().await;
        }
        // Moves, and is switched off in order.
        tell.send_replace(Some(2));
        drop(tell);
        kept.await.unwrap();
        assert!(!file.0.exists());
        // Cut off while the mark was written.
        fs::write(&file.0, "{\"sin").unwrap();
        assert_eq!(said(&file).0, State::Degraded);
    }
}
