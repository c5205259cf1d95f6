//! A leak and a recording: laid on each other, and asked for each view whether its mark is there.
//!
//! Blocks, for seconds to minutes. INVARIANT: the evidence is complete before a key is looked at.

use std::time::Duration;

use temoin_media::watermark::{
    detect::Finished,
    register::{Gray, Limits, Reference, RegisterError},
    trace::{Traced, of_unit, trace},
};
use temoin_proto::{mark::MarkKey, sealed::TrackName};

use super::{
    pictures,
    report::{LaidPicture, Way},
};

/// Pictures of a leak that the report shows.
const SHOWN: usize = 3;
/// Threads that score views.
const THREADS: usize = 2;

/// A leak laid on a recording, in every way that was found; no key was looked at yet.
pub(super) struct Laid {
    reference: Reference,
    leak: Vec<Gray>,
    ways: Vec<Traced>,
}

impl Laid {
    /// Lays it.
    pub(super) fn new(original: Vec<Gray>, leak: Vec<Gray>) -> Result<Self, RegisterError> {
        let reference = Reference::new(original)?;
        let ways = trace(&reference, &leak, &limits())?;
        Ok(Self { reference, leak, ways })
    }

    /// How alike they are in the best way.
    pub(super) fn quality(&self) -> f64 {
        self.ways.iter().map(|way| way.registration.quality).fold(0.0, f64::max)
    }

    /// The score of each of these keys in each way, keys in their order; its marks can be in any of
    /// these tracks' pictures.
    pub(super) fn scores(&self, marks: &[MarkKey], tracks: &[TrackName]) -> Vec<Vec<f64>> {
        let score = |mark: &MarkKey| -> Vec<f64> {
            self.ways.iter().map(|way| best(&way.evidence, mark, tracks)).collect()
        };
        let each = marks.len().div_ceil(THREADS).max(1);
        std::thread::scope(|scope| {
            let parts: Vec<_> = marks
                .chunks(each)
                .map(|part| scope.spawn(move || part.iter().map(score).collect::<Vec<_>>()))
                .collect();
            parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
        })
    }

    /// The best score of the unit's own mark, which began so long before the recording.
    pub(super) fn unit(
        &self,
        mark: &MarkKey,
        begin: Duration,
        tracks: &[TrackName],
    ) -> Result<f64, RegisterError> {
        let mut found = 0.0_f64;
        for way in &self.ways {
            let evidence = of_unit(&self.reference, &self.leak, &way.registration, begin)?;
            found = found.max(best(&evidence, mark, tracks));
        }
        Ok(found)
    }

    /// The ways, for the report, with the `scores` of the views.
    pub(super) fn ways(&self, scores: &[Vec<f64>]) -> Vec<Way> {
        self.ways
            .iter()
            .enumerate()
            .map(|(n, way)| Way {
                quality: way.registration.quality,
                pictures: way.registration.frames.len(),
                mirrored: way.registration.mirrored,
                offset_s: way.registration.offset_s,
                speed: way.registration.speed,
                signs: way.evidence.len(),
                best_z: scores.iter().filter_map(|of| of.get(n)).copied().fold(0.0, f64::max),
            })
            .collect()
    }

    /// Some pictures of the best way, from begin, middle and end.
    pub(super) fn pictures(&self) -> Result<Vec<LaidPicture>, RegisterError> {
        let best = self
            .ways
            .iter()
            .max_by(|a, b| a.registration.quality.total_cmp(&b.registration.quality));
        let Some(best) = best else { return Ok(Vec::new()) };
        let frames = &best.registration.frames;
        let part = frames.len().div_ceil(SHOWN).max(1);
        let mut shown = Vec::with_capacity(SHOWN);
        for part in frames.chunks(part) {
            let Some(map) = part.iter().max_by(|a, b| a.quality.total_cmp(&b.quality)) else {
                continue;
            };
            if let Some(picture) = self.leak.get(map.leak) {
                shown.push(pictures::laid(&self.reference, picture, map)?);
            }
        }
        Ok(shown)
    }
}

/// The most ways in which a leak is laid on a recording: each is a look that the bound pays for.
pub(super) fn most_ways() -> u64 {
    u64::try_from(limits().most).unwrap_or(u64::MAX)
}

fn limits() -> Limits {
    Limits::default()
}

fn best(evidence: &Finished, mark: &MarkKey, tracks: &[TrackName]) -> f64 {
    tracks.iter().map(|track| evidence.z(&mark.signs(*track))).fold(0.0, f64::max)
}
