//! Which face is the driver's: the largest one where the driver sits, and then the one that is
//! where it was.
//!
//! INVARIANT: only positions are compared, never looks.

use std::time::Duration;

use serde::Deserialize;
use temoin_media::bgr::Square;
use temoin_proto::{perception::PictureBox, time::MonoTime};

use crate::perception::yunet::Face;

/// Where in the picture the driver's face can be, as fractions of its width and height. The whole
/// picture by default; narrow it where a passenger can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriverSeat {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl Default for DriverSeat {
    fn default() -> Self {
        Self { x: 0.0, y: 0.0, w: 1.0, h: 1.0 }
    }
}

/// A seat that is not in the picture.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the driver's seat {0:?} is not within the picture: give fractions of 0 to 1")]
pub struct SeatError(DriverSeat);

impl DriverSeat {
    /// Checks that this lies in the picture.
    ///
    /// # Errors
    /// [`SeatError`].
    pub fn checked(self) -> Result<Self, SeatError> {
        let Self { x, y, w, h } = self;
        // Written so that NaN is refused; a hair more than 1 is rounding.
        let inside = x >= 0.0 && y >= 0.0 && w > 0.0 && h > 0.0 && x + w <= 1.001 && y + h <= 1.001;
        if inside { Ok(self) } else { Err(SeatError(self)) }
    }

    /// Whether the middle of a face is here.
    pub fn holds(&self, face: &PictureBox) -> bool {
        let (x, y) = (face.x + face.w / 2.0, face.y + face.h / 2.0);
        (self.x..=self.x + self.w).contains(&x) && (self.y..=self.y + self.h).contains(&y)
    }

    /// The square to search, in a picture of this size in pixels; `None` for all of the picture.
    pub(crate) fn search(&self, (width, height): (f32, f32)) -> Option<Square> {
        let (w, h) = (self.w * width, self.h * height);
        let side = w.max(h);
        // A square as large as the picture would add nothing but its own borders.
        (side < 0.9 * width.max(height))
            .then(|| Square::upright(self.x * width + w / 2.0, self.y * height + h / 2.0, side))
    }
}

/// A face that leaves the square around it does so within this many of its sides.
const SEARCH_SIDES: f32 = 2.6;
/// A face that was last seen longer ago is searched anew.
const FORGET_AFTER: Duration = Duration::from_millis(500);
/// All of the seat is looked at this often, so that another face cannot hold the track for long.
const LOOK_AROUND_EVERY: Duration = Duration::from_secs(1);
/// A face that overlaps the last one by less (intersection over union) is another one.
const SAME_FACE_IOU: f32 = 0.15;

/// Where the driver's face was, and when the whole seat was last searched.
#[derive(Debug, Default)]
pub(crate) struct Track {
    last: Option<(MonoTime, Face)>,
    searched_all: Option<MonoTime>,
}

impl Track {
    /// The square in which the face is to be looked for first; `None` to search all of the seat.
    pub(crate) fn search(&self, now: MonoTime) -> Option<Square> {
        let (seen, face) = self.last.as_ref()?;
        let fresh = |at: MonoTime, limit| at <= now && now.since(at) < limit;
        let all = self.searched_all?;
        (fresh(*seen, FORGET_AFTER) && fresh(all, LOOK_AROUND_EVERY)).then(|| {
            let [x, y] = face.middle();
            Square::upright(x, y, SEARCH_SIDES * face.side())
        })
    }

    /// Says that all of the seat was searched.
    pub(crate) const fn searched_all(&mut self, now: MonoTime) {
        self.searched_all = Some(now);
    }

    /// Picks the driver's face and remembers where it is. `faces` are those in the seat. In a
    /// search around the last place (`around`) only the same face will do.
    pub(crate) fn pick(&mut self, now: MonoTime, faces: &[Face], around: bool) -> Option<Face> {
        let picked = match (&self.last, around) {
            (Some((_, last)), true) => faces
                .iter()
                .map(|f| (f, f.iou(last)))
                .filter(|(_, iou)| *iou >= SAME_FACE_IOU)
                .max_by(|a, b| a.1.total_cmp(&b.1))
                .map(|(f, _)| f),
            (_, true) => None,
            (_, false) => faces.iter().max_by(|a, b| a.area().total_cmp(&b.area())),
        };
        if let Some(face) = picked {
            self.last = Some((now, *face));
        } else if !around {
            self.last = None;
        }
        picked.copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(x: f32, y: f32, side: f32) -> Face {
        Face { score: 0.9, x, y, w: side, h: side, points: [[0.0; 2]; 5] }
    }

    #[test]
    fn seats_outside_the_picture_are_refused() {
        for (seat, good) in [
            (DriverSeat::default(), true),
            (DriverSeat { x: 0.5, w: 0.5, ..DriverSeat::default() }, true),
            (DriverSeat { x: 0.5, ..DriverSeat::default() }, false),
            (DriverSeat { w: 0.0, ..DriverSeat::default() }, false),
            (DriverSeat { y: -0.1, ..DriverSeat::default() }, false),
            (DriverSeat { h: f32::NAN, ..DriverSeat::default() }, false),
        ] {
            assert_eq!(seat.checked().is_ok(), good, "{seat:?}");
        }
    }

    #[test]
    fn the_search_covers_the_seat() {
        let all = DriverSeat::default();
        assert_eq!(all.search((1280.0, 720.0)), None);
        let right = DriverSeat { x: 0.5, w: 0.5, ..all };
        assert_eq!(right.search((1280.0, 720.0)), Some(Square::upright(960.0, 360.0, 720.0)));
    }

    #[test]
    fn the_largest_face_first_and_then_the_same_one() {
        let mut track = Track::default();
        let at = |ms: u64| MonoTime::from_ns(ms * 1_000_000);
        assert_eq!(track.search(at(0)), None, "nothing is known yet");
        track.searched_all(at(0));
        let (driver, passenger) = (face(100.0, 100.0, 200.0), face(600.0, 100.0, 150.0));
        assert_eq!(track.pick(at(0), &[passenger, driver], false), Some(driver));
        assert_eq!(track.search(at(66)), Some(Square::upright(200.0, 200.0, 520.0)));

        // Someone leans in with a larger head: still the driver, who moved a little.
        let (moved, larger) = (face(130.0, 110.0, 190.0), face(280.0, 0.0, 300.0));
        assert_eq!(track.pick(at(66), &[larger, moved], true), Some(moved));
        // Nobody where the driver was: all of the seat is to be searched.
        assert_eq!(track.pick(at(132), &[passenger], true), None);
        assert_eq!(track.search(at(600)), None, "seen too long ago");
        assert_eq!(track.pick(at(600), &[], false), None);
        assert_eq!(track.search(at(601)), None, "forgotten");
    }

    #[test]
    fn the_seat_is_searched_again_once_a_second_and_after_a_jump_of_time() {
        let mut track = Track::default();
        let at = |ms: u64| MonoTime::from_ns(ms * 1_000_000);
        track.searched_all(at(5000));
        for ms in [5000, 5300, 5600, 5900] {
            let _same = track.pick(at(ms), &[face(0.0, 0.0, 100.0)], ms > 5000);
        }
        assert!(track.search(at(5999)).is_some());
        assert_eq!(track.search(at(6000)), None);
        assert_eq!(track.search(at(10)), None, "time went back");
    }
}
