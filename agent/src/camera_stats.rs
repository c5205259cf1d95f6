//! Takes the numbers by which a camera is judged, about two times a second.
//!
//! INVARIANT: never more often than every 0.5 s, whatever the camera's rate: they cost some work.

use std::{collections::BTreeMap, time::Duration};

use temoin_media::picture_stats::{brightness, picture_stats};
use temoin_proto::{
    picture_stats::PictureStats,
    samples::{CameraId, Frame},
    time::MonoTime,
};

/// How often.
const EVERY: Duration = Duration::from_millis(500);
/// Most pictures between two statistics whose brightness is kept: 0.5 s at 60 a second.
const MOST: usize = 32;

#[derive(Debug, Default)]
struct Taken {
    next: MonoTime,
    brightness: Vec<(MonoTime, f32)>,
}

/// One for all cameras.
#[derive(Debug, Default)]
pub struct CameraStats(BTreeMap<CameraId, Taken>);

impl CameraStats {
    /// Looks at a picture; its statistics, where they are due.
    pub fn take(&mut self, frame: &Frame) -> Option<PictureStats> {
        let taken = self.0.entry(frame.camera).or_default();
        if let Some(mean) = brightness(frame)
            && taken.brightness.len() < MOST
        {
            taken.brightness.push((frame.at, mean));
        }
        if frame.at < taken.next {
            return None;
        }
        taken.next = frame.at + EVERY;
        picture_stats(frame, std::mem::take(&mut taken.brightness))
    }
}

#[cfg(test)]
mod tests {
    use temoin_media::frame::I420Picture;

    use super::*;

    #[test]
    fn two_times_a_second_with_every_pictures_brightness() {
        let mut stats = CameraStats::default();
        let mut taken = Vec::new();
        for n in 0..45_u64 {
            let at = MonoTime::from_ns(n * 1_000_000_000 / 15);
            for camera in CameraId::ALL {
                let frame = I420Picture::black(256, 144).unwrap().into_frame(camera, at);
                taken.extend(stats.take(&frame));
            }
        }
        assert_eq!(taken.len(), 12);
        let means = taken.iter().filter(|s| s.camera == CameraId::Road).map(|s| s.brightness.len());
        assert_eq!(means.collect::<Vec<_>>(), [1, 8, 8, 8, 8, 8]);
    }
}
