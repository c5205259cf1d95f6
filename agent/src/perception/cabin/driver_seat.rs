//! Which face is the driver's: the largest one where the driver sits, and then the one that is
//! where it was.
//!
//! INVARIANT: only positions are compared, never looks.

use std::time::Duration;

use serde::Deserialize;
use temoin_agent_core::config::DriverSide;
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

/// Of the picture's width: a camera before the driver has the face in the middle, one at the
/// mirror has driver and passenger beside it. Own choice: validate.
const SIDE_WIDTH: f32 = 0.6;

/// The driver's seat in a picture that shows both front seats. The camera looks backwards: a driver
/// on the vehicle's left is on the right of the picture.
pub const fn seat_on(side: DriverSide) -> DriverSeat {
    match side {
        DriverSide::Left => DriverSeat { x: 1.0 - SIDE_WIDTH, y: 0.0, w: SIDE_WIDTH, h: 1.0 },
        DriverSide::Right => DriverSeat { x: 0.0, y: 0.0, w: SIDE_WIDTH, h: 1.0 },
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
/// Another face in the seat takes the track over where it is so many times as large: a passenger
/// beside the driver is about as large and must not.
const LARGER: f32 = 1.3;
/// A face where the driver's was this long ago may still be the driver's, however doubtful.
const MAY_BE_DRIVER_FOR: Duration = Duration::from_secs(2);
/// So much of a face within the driver's is the driver's.
const WITHIN_DRIVER: f32 = 0.6;
/// A face that overlaps the driver's by more is the driver's.
const DRIVER_IOU: f32 = 0.3;

/// The square around a face in which it is looked for.
pub(crate) fn around(face: &Face) -> Square {
    let [x, y] = face.middle();
    Square::upright(x, y, SEARCH_SIDES * face.side())
}

/// Where the driver's face was, and when the whole seat was last searched.
#[derive(Debug, Default)]
pub(crate) struct Track {
    last: Option<(MonoTime, Face)>,
    searched_all: Option<MonoTime>,
}

impl Track {
    /// The square in which the face is to be looked for first; `None` to search all of the seat.
    pub(crate) fn search(&self, now: MonoTime) -> Option<Square> {
        let face = self.last(now)?;
        self.has_looked_around(now).then(|| around(face))
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
            (last, false) => {
                let largest = faces.iter().max_by(|a, b| a.area().total_cmp(&b.area()));
                let fresh = |seen: &MonoTime| *seen <= now && now.since(*seen) < FORGET_AFTER;
                let last = last.as_ref().filter(|(seen, _)| fresh(seen));
                let same = last.and_then(|(_, last)| {
                    let same = faces.iter().filter(|f| f.iou(last) >= SAME_FACE_IOU);
                    same.max_by(|a, b| a.iou(last).total_cmp(&b.iou(last)))
                });
                match (same, largest) {
                    (Some(same), Some(largest)) if largest.side() < LARGER * same.side() => {
                        Some(same)
                    }
                    (_, largest) => largest,
                }
            }
        };
        if let Some(face) = picked {
            self.last = Some((now, *face));
        }
        picked.copied()
    }

    /// Where the face is now, measured more exactly.
    pub(crate) const fn refine(&mut self, now: MonoTime, face: Face) {
        self.last = Some((now, face));
    }

    /// The face's last place, where it was seen a moment ago.
    pub(crate) fn last(&self, now: MonoTime) -> Option<&Face> {
        let (seen, face) = self.last.as_ref()?;
        (*seen <= now && now.since(*seen) < FORGET_AFTER).then_some(face)
    }

    /// Whether all of the seat was searched within the last second.
    pub(crate) fn has_looked_around(&self, now: MonoTime) -> bool {
        self.searched_within(now, LOOK_AROUND_EVERY)
    }

    /// Whether all of the seat was searched less than this long ago.
    pub(crate) fn searched_within(&self, now: MonoTime, time: Duration) -> bool {
        self.searched_all.is_some_and(|at| at <= now && now.since(at) < time)
    }

    /// Forgets the face: it was none.
    pub(crate) const fn forget(&mut self) {
        self.last = None;
    }

    /// Whether a face, however doubtful, can be the driver's, whose place is known or was a moment
    /// ago.
    pub(crate) fn is_driver(&self, now: MonoTime, face: &Face) -> bool {
        let Some((seen, driver)) = &self.last else { return false };
        let recent = *seen <= now && now.since(*seen) < MAY_BE_DRIVER_FOR;
        recent && (face.iou(driver) > DRIVER_IOU || face.share_within(driver) > WITHIN_DRIVER)
    }

    /// Whether a cascade's box lies around the driver's face, whose place is known or was a moment
    /// ago: it often takes the whole head with its hair and neck. The face of somebody else is not
    /// seen through the driver's.
    pub(crate) fn is_around(&self, now: MonoTime, face: &Face) -> bool {
        let Some((seen, driver)) = &self.last else { return false };
        let recent = *seen <= now && now.since(*seen) < MAY_BE_DRIVER_FOR;
        recent && driver.share_within(face) > WITHIN_DRIVER
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
        assert_eq!(track.search(at(601)), None, "still nowhere");
        track.searched_all(at(602));
        assert_eq!(track.pick(at(602), &[passenger], false), Some(passenger));
        track.forget();
        assert_eq!(track.search(at(603)), None, "forgotten");
    }

    #[test]
    fn a_face_as_large_as_the_drivers_does_not_take_the_track_over() {
        let mut track = Track::default();
        let at = |ms: u64| MonoTime::from_ns(ms * 1_000_000);
        let (driver, beside) = (face(100.0, 100.0, 200.0), face(600.0, 100.0, 250.0));
        track.searched_all(at(0));
        assert_eq!(track.pick(at(0), &[driver], false), Some(driver));
        assert_eq!(track.pick(at(100), &[driver, beside], false), Some(driver));
        // Half a second after the driver was last seen the larger one is taken.
        assert_eq!(track.pick(at(700), &[driver, beside], false), Some(beside));
        let much_larger = face(600.0, 100.0, 400.0);
        let mut track = Track::default();
        assert_eq!(track.pick(at(0), &[driver], false), Some(driver));
        assert_eq!(track.pick(at(100), &[driver, much_larger], false), Some(much_larger));
    }

    #[test]
    fn doubtful_faces_at_the_drivers_place_are_the_drivers() {
        let mut track = Track::default();
        let at = |ms: u64| MonoTime::from_ns(ms * 1_000_000);
        let driver = face(100.0, 100.0, 200.0);
        assert!(!track.is_driver(at(0), &driver), "nobody is known yet");
        let _picked = track.pick(at(0), &[driver], false);
        for (name, other, when, want) in [
            ("moved", face(130.0, 120.0, 200.0), 500, true),
            ("its nose", face(180.0, 180.0, 40.0), 500, true),
            ("beside", face(320.0, 100.0, 200.0), 500, false),
            ("behind the shoulder", face(270.0, 120.0, 80.0), 500, false),
            ("long ago", face(130.0, 120.0, 200.0), 2000, false),
        ] {
            assert_eq!(track.is_driver(at(when), &other), want, "{name}");
        }
    }

    #[test]
    fn sides_are_halves_of_the_picture() {
        let at = |x: f32| PictureBox { x: x - 0.1, y: 0.4, w: 0.2, h: 0.2 };
        for (seat, left, middle, right) in [
            (seat_on(DriverSide::Left), false, true, true),
            (seat_on(DriverSide::Right), true, true, false),
            (DriverSeat::default(), true, true, true),
        ] {
            assert!(seat.checked().is_ok());
            assert_eq!(
                [at(0.25), at(0.5), at(0.75)].map(|b| seat.holds(&b)),
                [left, middle, right]
            );
        }
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

    #[test]
    fn a_coarse_box_around_the_driver_is_no_other() {
        let at = |ms: u64| MonoTime::from_ns(ms * 1_000_000);
        let mut track = Track::default();
        let driver = face(300.0, 200.0, 100.0);
        assert!(!track.is_around(at(0), &driver), "nobody is known");
        track.pick(at(0), &[driver], false);
        for (other, is) in [
            (face(200.0, 100.0, 300.0), true),
            (face(340.0, 200.0, 300.0), false),
            (face(450.0, 200.0, 100.0), false),
            (face(320.0, 220.0, 40.0), false),
        ] {
            assert_eq!(track.is_around(at(1500), &other), is, "{other:?}");
        }
        assert!(!track.is_around(at(2500), &face(200.0, 100.0, 300.0)), "too long ago");
    }
}
