//! The last minutes of signals in RAM, for the clips that may be cut from them.
//!
//! Speed and acceleration are kept at no more than 10 Hz, fixes and face boxes as they come.
//!
//! INVARIANT: each row spans at most `span` and holds at most [`MAX_POINTS`] points.

use std::{collections::VecDeque, time::Duration};

use temoin_proto::{perception::PictureBox, samples::GnssFix, time::MonoTime};

use crate::vehicle_state::{Motion, Speed};

/// Hard bound of each row: 15 minutes at 10 Hz, or 2.5 at 60 pictures a second.
pub const MAX_POINTS: usize = 9000;

/// Speed and acceleration change no faster than this can show (5 Hz).
const INTERVAL: Duration = Duration::from_millis(100);

/// The driver's face in one cabin picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FacePoint {
    /// The picture's time.
    pub at: MonoTime,
    /// Where; None where no face was seen. The blur then has to cover more.
    pub face: Option<PictureBox>,
}

/// The signals of a clip, each row in order of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClipSignals {
    /// Speeds, at most 10 Hz. A gap means unknown.
    pub speed: Vec<Speed>,
    /// Filtered motion, at most 10 Hz.
    pub motion: Vec<Motion>,
    /// Position fixes.
    pub fixes: Vec<GnssFix>,
    /// The driver's face in the cabin pictures.
    pub faces: Vec<FacePoint>,
}

#[derive(Clone, Debug)]
struct Row<T> {
    points: VecDeque<T>,
    at: fn(&T) -> MonoTime,
    interval: Duration,
}

impl<T: Copy> Row<T> {
    const fn new(at: fn(&T) -> MonoTime, interval: Duration) -> Self {
        Self { points: VecDeque::new(), at, interval }
    }

    fn push(&mut self, point: T, span: Duration) {
        let at = (self.at)(&point);
        // Two milliseconds for clocks that round, as 10 Hz must not become 5.
        let due = self.points.back().is_none_or(|last| {
            let last = (self.at)(last);
            at > last && at.since(last) + Duration::from_millis(2) >= self.interval
        });
        if due {
            self.points.push_back(point);
            while self.points.len() > MAX_POINTS
                || self.points.front().is_some_and(|p| at.since((self.at)(p)) > span)
            {
                self.points.pop_front();
            }
        }
    }

    fn range(&self, from: MonoTime, to: MonoTime) -> Vec<T> {
        self.points.iter().filter(|p| (from..=to).contains(&(self.at)(p))).copied().collect()
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct SignalHistory {
    span: Duration,
    speed: Row<Speed>,
    motion: Row<Motion>,
    fixes: Row<GnssFix>,
    faces: Row<FacePoint>,
}

impl SignalHistory {
    /// Empty; keeps `span`.
    pub const fn new(span: Duration) -> Self {
        Self {
            span,
            speed: Row::new(|p| p.at, INTERVAL),
            motion: Row::new(|p| p.at, INTERVAL),
            fixes: Row::new(|p| p.at, Duration::ZERO),
            faces: Row::new(|p| p.at, Duration::ZERO),
        }
    }

    /// Keeps a speed.
    pub fn push_speed(&mut self, speed: Speed) {
        self.speed.push(speed, self.span);
    }

    /// Keeps a motion.
    pub fn push_motion(&mut self, motion: Motion) {
        self.motion.push(motion, self.span);
    }

    /// Keeps a fix.
    pub fn push_fix(&mut self, fix: GnssFix) {
        self.fixes.push(fix, self.span);
    }

    /// Keeps a face.
    pub fn push_face(&mut self, face: FacePoint) {
        self.faces.push(face, self.span);
    }

    /// What lies from `from` to `to`, both included.
    pub fn range(&self, from: MonoTime, to: MonoTime) -> ClipSignals {
        ClipSignals {
            speed: self.speed.range(from, to),
            motion: self.motion.range(from, to),
            fixes: self.fixes.range(from, to),
            faces: self.faces.range(from, to),
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vehicle_state::SpeedSource;

    #[test]
    fn rows_are_bounded_thinned_and_cut() {
        let mut history = SignalHistory::new(Duration::from_secs(60));
        let t = MonoTime::from_secs_f64;
        for n in 0..10_000_u32 {
            let at = t(f64::from(n) / 100.0);
            history.push_speed(Speed { at, mps: 1.0, sigma_mps: 0.1, source: SpeedSource::Bus });
            history.push_face(FacePoint { at, face: None });
        }
        let all = history.range(MonoTime::ZERO, t(1e6));
        assert!((600..=601).contains(&all.speed.len()), "{}", all.speed.len());
        assert!((6000..=6001).contains(&all.faces.len()), "{}", all.faces.len());
        let some = history.range(t(70.0), t(71.0));
        assert_eq!((some.speed.len(), some.faces.len()), (11, 101));
        // Late points are dropped: rows stay in order.
        history.push_face(FacePoint { at: t(1.0), face: None });
        assert_eq!(history.range(t(1.0), t(1.0)).faces, []);
        history.clear();
        assert_eq!(history.range(MonoTime::ZERO, t(1e6)), ClipSignals::default());
    }
}
