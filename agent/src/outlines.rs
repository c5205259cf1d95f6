//! What the last pictures of each camera look like in outline, so that a clip can be found by a file
//! that leaked ([`temoin_media::watermark::fingerprint`]).
//!
//! INVARIANT: only pictures that are recorded are looked at, after the blur of others; what is kept is
//! some twenty rough corners of a picture, in RAM, for as long as a clip can be. Only those of a flagged
//! clip leave it, in the clip's manifest. A crash loses them with the pictures.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use temoin_media::{
    frame::{I420View, PictureError},
    watermark::fingerprint::{Fingerprint, LOOK_EVERY_MS, Look, MAX_LOOKS, Shape, Word, look},
};
use temoin_proto::{samples::CameraId, time::MonoTime};

/// Looks at pictures as they are recorded.
#[derive(Debug, Clone, Default)]
pub struct Outlines {
    cameras: BTreeMap<CameraId, Camera>,
}

#[derive(Debug, Clone)]
struct Camera {
    shape: Shape,
    looks: VecDeque<(MonoTime, Vec<Word>)>,
}

impl Outlines {
    /// Looks at a picture that is about to be recorded, where it is time again.
    ///
    /// # Errors
    /// [`PictureError`]; this picture has no outline then.
    pub(crate) fn look(
        &mut self,
        camera: CameraId,
        at: MonoTime,
        picture: &I420View<'_>,
    ) -> Result<(), PictureError> {
        let Ok(shape) = Shape::of(picture.width(), picture.height()) else { return Ok(()) };
        let kept =
            self.cameras.entry(camera).or_insert_with(|| Camera { shape, looks: VecDeque::new() });
        let every = Duration::from_millis(LOOK_EVERY_MS.into());
        if kept.looks.back().is_some_and(|(last, _)| at.since(*last) < every) {
            return Ok(());
        }
        let words = look(picture, 0)?.words;
        if kept.shape != shape {
            *kept = Camera { shape, looks: VecDeque::new() };
        }
        if kept.looks.len() == MAX_LOOKS {
            kept.looks.pop_front();
        }
        kept.looks.push_back((at, words));
        Ok(())
    }

    /// The fingerprint of each camera, of a clip that begins at `origin` and is so long. Those that say
    /// nothing are left out.
    pub(crate) fn fingerprints(&self, origin: MonoTime, duration_ms: u64) -> Vec<Bytes> {
        let end = origin + Duration::from_millis(duration_ms);
        let of = |(camera, kept): (&CameraId, &Camera)| {
            let looks: Vec<Look> = kept
                .looks
                .iter()
                .filter(|(at, words)| (origin..end).contains(at) && !words.is_empty())
                .filter_map(|(at, words)| {
                    let at_ms = u32::try_from(at.since(origin).as_millis()).ok()?;
                    Some(Look { at_ms, words: words.clone() })
                })
                .collect();
            if looks.is_empty() {
                return None;
            }
            let fingerprint = Fingerprint { track: (*camera).into(), shape: kept.shape, looks };
            fingerprint.to_bytes().map(Bytes::from).ok()
        };
        self.cameras.iter().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use temoin_media::frame::I420Picture;
    use temoin_proto::sealed::TrackName;

    use super::*;

    /// Squares here and there, the same for the same seed.
    fn picture(seed: u32) -> I420Picture {
        let (width, height) = (640_usize, 360_usize);
        let mut picture = I420Picture::black(640, 360).unwrap();
        let luma = &mut picture.planes_mut().y;
        let mut state = seed;
        for _ in 0..40 {
            let mut next = |n: usize| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                usize::try_from(state >> 8).unwrap() % n
            };
            let (x, y, side, shade) =
                (next(width - 60), next(height - 60), 8 + next(50), next(220));
            for row in y..y + side {
                luma[row * width + x..row * width + x + side]
                    .fill(30 + u8::try_from(shade).unwrap());
            }
        }
        picture
    }

    const fn at(ms: u64) -> MonoTime {
        MonoTime::from_ns(ms * 1_000_000)
    }

    fn read(bytes: &[Bytes]) -> Vec<Fingerprint> {
        bytes.iter().map(|bytes| Fingerprint::from_bytes(bytes).unwrap()).collect()
    }

    #[test]
    fn a_clip_has_the_outlines_of_its_own_time() {
        let mut outlines = Outlines::default();
        for n in 0..300 {
            for (camera, seed) in [(CameraId::Road, 1), (CameraId::Cabin, 2)] {
                outlines.look(camera, at(5000 + n * 66), &picture(seed).view()).unwrap();
            }
        }
        let found = read(&outlines.fingerprints(at(10_000), 6000));
        let tracks: Vec<_> = found.iter().map(|f| f.track).collect();
        assert_eq!(tracks, [TrackName::Cabin, TrackName::Road]);
        for fingerprint in &found {
            let times: Vec<u32> = fingerprint.looks.iter().map(|look| look.at_ms).collect();
            assert!((3..=4).contains(&times.len()), "one in 1.5 s of 6 s: {times:?}");
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= LOOK_EVERY_MS), "{times:?}");
            assert!(times.iter().all(|time| *time < 6000), "{times:?}");
            assert!(fingerprint.looks.iter().all(|look| look.words.len() > 5));
        }
        assert!(outlines.fingerprints(at(60_000), 6000).is_empty(), "long after");
        assert!(outlines.fingerprints(at(0), 4000).is_empty(), "long before");
    }

    #[test]
    fn what_says_nothing_is_left_out_and_little_is_kept() {
        let mut outlines = Outlines::default();
        let black = I420Picture::black(64, 48).unwrap();
        outlines.look(CameraId::Road, at(0), &black.view()).unwrap();
        assert!(outlines.fingerprints(at(0), 1000).is_empty(), "a black picture");
        for n in 0..u64::try_from(MAX_LOOKS).unwrap() + 50 {
            outlines.look(CameraId::Road, at(n * 1500), &black.view()).unwrap();
        }
        assert_eq!(outlines.cameras[&CameraId::Road].looks.len(), MAX_LOOKS);
        // Another shape: what was seen before is of another shape.
        let other = at(10_000_000);
        outlines.look(CameraId::Road, other, &picture(3).view()).unwrap();
        assert_eq!(read(&outlines.fingerprints(other, 1000)).len(), 1);
        assert_eq!(outlines.cameras[&CameraId::Road].looks.len(), 1);
    }
}
