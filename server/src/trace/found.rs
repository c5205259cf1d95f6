//! What a trace found, as it is kept: figures and ids, no picture and nobody's name.

use serde::{Deserialize, Serialize};
use temoin_media::watermark::detect::{p_value, threshold};
use temoin_proto::ids::{ClipId, EventId, UnitId, ViewId};

use super::report::{Scores, Way};

/// Width of a bin of scores.
const BIN: f64 = 0.5;

/// How a trace ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// With a verdict, or with none.
    Found(Box<Found>),
    /// Nothing could be said of the file: why, for people.
    Failed(String),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// How much of the file was looked at, seconds.
    pub seconds: f64,
    /// Pictures that were looked at.
    pub pictures: usize,
    /// Recordings that were searched by their fingerprints.
    pub searched: u64,
    /// The accepted chance of naming anybody innocent.
    pub bound: f64,
    /// In how many ways views could be compared with the file: fixed before the first was.
    pub looks: u64,
    /// Views whose mark is in the file.
    pub named: Vec<NamedScore>,
    /// A unit whose own mark is in the file.
    pub unit: Option<UnitScore>,
    /// Recordings that it was laid on.
    pub compared: Vec<ComparedClip>,
    /// Scores of the views that are not named.
    pub others: Scores,
}

impl Found {
    /// The score that a view has to reach.
    pub fn threshold_z(&self) -> f64 {
        threshold(self.bound, self.looks)
    }
}

/// A view whose mark is in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedScore {
    /// The view.
    pub view: ViewId,
    /// Its score.
    pub z: f64,
    /// Its p-value, corrected for all looks.
    pub p: f64,
}

/// A unit whose own mark is in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitScore {
    /// The event of its recording.
    pub event: EventId,
    /// The unit.
    pub unit: UnitId,
    /// Its score.
    pub z: f64,
    /// Its p-value, corrected for all looks.
    pub p: f64,
}

/// A recording that the file was laid on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparedClip {
    /// The recording.
    pub clip: ClipId,
    /// Its event.
    pub event: EventId,
    /// Whether it is of the road camera.
    pub road: bool,
    /// How its fingerprint agrees; none where the event was named.
    pub likeness: Option<f64>,
    /// Views that were compared.
    pub views: u64,
    /// The ways in which the file may lie on it.
    pub ways: Vec<Way>,
}

/// The marks of views and of a unit are told apart from chance, or not.
#[derive(Debug)]
pub(super) struct Judge {
    bound: f64,
    looks: u64,
    named: Vec<NamedScore>,
    unit: Option<UnitScore>,
    others: Vec<f64>,
}

impl Judge {
    /// Before anything is compared: how many looks there will be at most, and the accepted chance.
    pub(super) const fn new(bound: f64, looks: u64) -> Self {
        Self { bound, looks, named: Vec::new(), unit: None, others: Vec::new() }
    }

    /// The best score of a view.
    pub(super) fn view(&mut self, view: ViewId, z: f64) {
        let p = p_value(z, self.looks);
        if p <= self.bound {
            self.named.push(NamedScore { view, z, p });
        } else {
            self.others.push(z);
        }
    }

    /// The best score of a unit's own mark.
    pub(super) fn unit(&mut self, unit: &UnitId, event: EventId, z: f64) {
        let p = p_value(z, self.looks);
        if p <= self.bound && self.unit.as_ref().is_none_or(|best| best.z < z) {
            self.unit = Some(UnitScore { event, unit: unit.clone(), z, p });
        }
    }

    /// Whether a view is named.
    pub(super) const fn has_named(&self) -> bool {
        !self.named.is_empty()
    }

    /// Whether a unit is named.
    pub(super) const fn has_unit(&self) -> bool {
        self.unit.is_some()
    }

    /// Views that are named, the surest first; the unit; the others.
    pub(super) fn finish(mut self) -> (Vec<NamedScore>, Option<UnitScore>, Scores) {
        self.named.sort_by(|a, b| b.z.total_cmp(&a.z));
        (self.named, self.unit, scores(&self.others))
    }
}

fn scores(all: &[f64]) -> Scores {
    let best = all.iter().copied().filter(|z| z.is_finite()).reduce(f64::max);
    let mut bins: Vec<(f64, u64)> = Vec::new();
    let mut sorted: Vec<f64> = all.iter().copied().filter(|z| z.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    for z in sorted {
        let low = (z / BIN).floor() * BIN;
        match bins.last_mut() {
            Some((last, count)) if *last >= low => *count += 1,
            Some(_) | None => bins.push((low, 1)),
        }
    }
    Scores { bins, best }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn view(n: u8) -> ViewId {
        ViewId::from_bytes([n; 16])
    }

    #[test]
    fn who_reaches_the_bound_is_named_and_nobody_else() {
        let at = threshold(1e-9, 30_000);
        assert!((7.0..9.0).contains(&at), "{at}");
        let mut judge = Judge::new(1e-9, 30_000);
        assert!(!judge.has_named() && !judge.has_unit());
        for (n, z) in [(1, at - 1e-6), (2, at + 1e-6), (3, 40.0), (4, -40.0), (5, f64::NAN)] {
            judge.view(view(n), z);
        }
        assert!(judge.has_named());
        let (named, unit, others) = judge.finish();
        let views: Vec<_> = named.iter().map(|named| named.view).collect();
        assert_eq!(views, [view(3), view(2)]);
        assert!(named.iter().all(|named| named.p <= 1e-9));
        assert_eq!((unit, others.best), (None, Some(at - 1e-6)));
        assert_eq!(others.bins.iter().map(|(_, count)| count).sum::<u64>(), 2);
    }

    #[test]
    fn the_surest_unit_counts() {
        let mut judge = Judge::new(1e-9, 3);
        let event = EventId::from_bytes([1; 16]);
        for (name, z) in [("van-1", 4.0), ("van-2", 9.0), ("van-3", 20.0), ("van-4", 10.0)] {
            judge.unit(&name.parse().unwrap(), event, z);
        }
        let (_, unit, _) = judge.finish();
        assert_eq!(unit.unwrap().unit.as_str(), "van-3");
    }

    #[test]
    fn scores_are_counted_in_bins() {
        let scores = scores(&[-0.2, 0.0, 0.4, 0.5, 3.9, f64::INFINITY]);
        assert_eq!(scores.bins, [(-0.5, 1), (0.0, 2), (0.5, 1), (3.5, 1)]);
        assert_eq!(scores.best, Some(3.9));
        assert_eq!(super::scores(&[]), Scores::default());
    }
}
