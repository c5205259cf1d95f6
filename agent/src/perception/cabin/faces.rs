//! Finds the faces of the cabin picture: the driver's, followed from picture to picture, and
//! everybody else's, to be blurred.
//!
//! With the model pack, YuNet looks at the square around the driver's last face, which shows it
//! three times larger than the whole picture does, so that its points are three times as exact.
//! For the others it looks at the whole picture, where faces of a tenth of its height are found,
//! and at one of two halves in turn, where faces of a twentieth are. Without the pack, OpenCV's
//! cascades find faces, and the project's own network follows the driver's.
//!
//! INVARIANT: a doubtful face is somebody to blur, and never the driver; where it lies on the
//! driver's face it is the driver.

use std::time::Duration;

use temoin_media::{
    bgr::Square,
    cascade::{self, FoundFace},
    frame::I420View,
};
use temoin_proto::{perception::PictureBox, time::MonoTime};

use crate::perception::{
    PerceptionError,
    cabin::{
        driver_seat::{DriverSeat, Track, around},
        face_state::{FaceReading, FaceState, MIN_FACE},
        stage_times::{Stage, StageTimes},
    },
    face_search::{Yunet, size},
    yunet::{self, Face},
};

/// A score from which somebody is blurred. Faces of 32 pixels in a half of the picture, and of 64
/// to 80 in all of it, score 0.3 and more (23 of 23); 35 road pictures without a face stay below
/// 0.15.
const OTHERS_SCORE: f32 = 0.3;
/// A picture that is so many times as long as wide is looked at by halves as well.
const HALVES_FROM: f32 = 1.25;
/// What was seen in a half holds until that half had its next turn, at 10 looks a second.
const HALF_HOLDS: Duration = Duration::from_millis(350);
/// Of a driver's face at least this is within the picture.
const DRIVER_VISIBLE: f32 = 0.5;
/// Votes of the cascade that count as sure; 3 are a guess.
const SURE_VOTES: f32 = 20.0;
/// Height of YuNet's box over the cascade's: 2.89 distances from the eyes to the mouth
/// (`face_state.rs`), of which the cascade's box has 1 / 0.39.
const CASCADE_HEIGHT: f32 = 1.13;
/// The cascades search for others this often, for they are dear: 55 ms of an x86 core.
const CASCADE_OTHERS_EVERY: Duration = Duration::from_millis(750);
/// And for a driver who was not there a moment ago.
const CASCADE_DRIVER_EVERY: Duration = Duration::from_millis(190);
/// A face that the own network follows moves less than this (intersection over union) in one
/// look.
const FOLLOWED_IOU: f32 = 0.3;
/// And grows or shrinks by less than this share in one look: a head that comes nearer by a third
/// takes most of a second. What is followed by its own points would else shrink to an eye, or grow,
/// within a few looks at a face that is half out of the picture. Own choice: validate.
const FOLLOWED_GROWTH: f32 = 0.04;
/// A network that doubts the pose by this much does not know the size either: it stays. This and
/// the growth were tried on one recording of a face half out of the picture (8 to 12 degrees and
/// 3 to 4 % do about the same): validate on others.
const NO_GROWTH_AT_ERROR_DEG: f32 = 12.0;

/// What a look found.
pub(crate) struct Found {
    /// The driver's face.
    pub(crate) driver: Option<Face>,
    /// What the own network said of it, where it was asked already.
    pub(crate) reading: Option<FaceReading>,
    /// Where others' faces are.
    pub(crate) others: Vec<PictureBox>,
}

/// What finds faces.
pub(crate) enum Finder {
    /// The model pack.
    Yunet(Yunet),
    /// OpenCV.
    Cascades(Box<cascade::Cascades>),
}

/// Finds faces and remembers where they were.
pub(crate) struct Faces {
    finder: Finder,
    seat: DriverSeat,
    track: Track,
    /// What was seen of others in each half of the picture, or by the cascades, and when.
    seen: [(MonoTime, Vec<Face>); 2],
    turn: usize,
}

impl Faces {
    pub(crate) fn new(finder: Finder, seat: DriverSeat) -> Self {
        let seen = [(MonoTime::ZERO, Vec::new()), (MonoTime::ZERO, Vec::new())];
        Self { finder, seat, track: Track::default(), seen, turn: 0 }
    }

    /// Looks at one picture. `state` follows the driver's face where there is no YuNet.
    ///
    /// # Errors
    /// [`PerceptionError::Infer`], [`PerceptionError::Picture`], [`PerceptionError::Cascade`].
    pub(crate) fn look(
        &mut self,
        now: MonoTime,
        picture: &I420View<'_>,
        state: Option<&mut FaceState>,
        times: &mut StageTimes,
    ) -> Result<Found, PerceptionError> {
        let Self { finder, seat, track, seen, turn } = self;
        let size = size(picture);
        let (driver, reading, mut others) = match finder {
            Finder::Yunet(yunet) => {
                let now_seen = times.measure(Stage::Others, || {
                    *turn = (*turn + 1) % 2;
                    let mut all = yunet.faces(picture, None, OTHERS_SCORE)?;
                    if let (Some(half), Some(slot)) = (half(size, *turn), seen.get_mut(*turn)) {
                        *slot = (now, yunet.faces(picture, Some(half), OTHERS_SCORE)?);
                        all.extend_from_slice(&slot.1);
                    }
                    Ok::<_, PerceptionError>(all)
                })?;
                let mut by_yunet = ByYunet { yunet, seat, track, now, picture };
                // What a half showed a moment ago is nobody who could be the driver now.
                let driver = times.measure(Stage::Face, || by_yunet.driver(&now_seen))?;
                let held = seen.iter().filter(|(at, _)| *at < now && now.since(*at) < HALF_HOLDS);
                let held = held.flat_map(|(_, faces)| faces.iter().copied());
                (driver, None, now_seen.iter().copied().chain(held).collect::<Vec<_>>())
            }
            Finder::Cascades(cascades) => {
                let mut by_cascades = ByCascades { cascades, seat, track, now, picture };
                let (driver, reading) = times.measure(Stage::Face, || by_cascades.driver(state))?;
                let [(at, held), _] = seen;
                // The first look comes at any time.
                if held.is_empty() && *at == MonoTime::ZERO
                    || *at > now
                    || now.since(*at) >= CASCADE_OTHERS_EVERY
                {
                    let found =
                        times.measure(Stage::Others, || cascades.doubtful_faces(picture))?;
                    *at = now;
                    *held = found.iter().map(|f| guessed(f, size)).collect();
                    // Now, and not half a second later, when the driver's head has moved on.
                    held.retain(|face| !track.is_driver(now, face) && !track.is_around(now, face));
                }
                (driver, reading, held.clone())
            }
        };
        others.sort_by(|a, b| b.score.total_cmp(&a.score));
        others.retain(|face| !self.track.is_driver(now, face));
        let others = yunet::without_doubles(others).iter().map(|f| f.fractions(size)).collect();
        Ok(Found { driver, reading, others })
    }
}

/// Whether a face can be the driver's, for where it is.
fn in_seat(seat: &DriverSeat, face: &Face, size: (f32, f32)) -> bool {
    face.visible(size) > DRIVER_VISIBLE && seat.holds(&face.fractions(size))
}

/// One of the two squares at the ends of a long picture.
fn half((w, h): (f32, f32), which: usize) -> Option<Square> {
    let (long, short) = (w.max(h), w.min(h));
    let middle = if which == 0 { short / 2.0 } else { long - short / 2.0 };
    let square = if w > h {
        Square::upright(middle, h / 2.0, short)
    } else {
        Square::upright(w / 2.0, middle, short)
    };
    (long >= HALVES_FROM * short).then_some(square)
}

/// The driver's face, by YuNet.
struct ByYunet<'a> {
    yunet: &'a mut Yunet,
    seat: &'a DriverSeat,
    track: &'a mut Track,
    now: MonoTime,
    picture: &'a I420View<'a>,
}

impl ByYunet<'_> {
    /// Where it was, or anywhere in the seat; `all` are the faces of the whole picture.
    fn driver(&mut self, all: &[Face]) -> Result<Option<Face>, PerceptionError> {
        if let Some(square) = self.track.search(self.now) {
            let faces = self.faces(square)?;
            if let Some(face) = self.track.pick(self.now, &faces, true) {
                return Ok(Some(face));
            }
        }
        let size = size(self.picture);
        let sure = |f: &&Face| f.score >= yunet::MIN_SCORE && in_seat(self.seat, f, size);
        let mut faces: Vec<Face> = all.iter().filter(sure).copied().collect();
        if faces.is_empty()
            && let Some(square) = self.seat.search(size)
        {
            faces = self.faces(square)?;
        }
        self.track.searched_all(self.now);
        let Some(face) = self.track.pick(self.now, &faces, false) else { return Ok(None) };
        // Once more from near, for its points.
        let near = self.faces(around(&face))?;
        Ok(Some(self.track.pick(self.now, &near, true).unwrap_or(face)))
    }

    fn faces(&mut self, square: Square) -> Result<Vec<Face>, PerceptionError> {
        let mut faces = self.yunet.faces(self.picture, Some(square), yunet::MIN_SCORE)?;
        let size = size(self.picture);
        faces.retain(|f| in_seat(self.seat, f, size));
        Ok(faces)
    }
}

/// The driver's face, by OpenCV's cascades and the own network.
struct ByCascades<'a> {
    cascades: &'a mut cascade::Cascades,
    seat: &'a DriverSeat,
    track: &'a mut Track,
    now: MonoTime,
    picture: &'a I420View<'a>,
}

impl ByCascades<'_> {
    fn driver(
        &mut self,
        mut state: Option<&mut FaceState>,
    ) -> Result<(Option<Face>, Option<FaceReading>), PerceptionError> {
        let now = self.now;
        let last = self.track.last(now).copied();
        let mut followed = None;
        if let (Some(state), Some(last)) = (state.as_deref_mut(), last) {
            followed = self
                .follow(state, &last)?
                .map(|(face, reading)| (steadied(face, &last, reading.pose_error_deg), reading))
                .filter(|(face, _)| face.iou(&last) > FOLLOWED_IOU);
        }
        if let Some((face, reading)) = followed
            && self.track.has_looked_around(now)
        {
            self.track.refine(now, face);
            return Ok((Some(face), Some(reading)));
        }
        if followed.is_none() && self.track.searched_within(now, CASCADE_DRIVER_EVERY) {
            return Ok((None, None));
        }
        let size = size(self.picture);
        let found = self.cascades.faces(self.picture)?;
        let mut faces: Vec<Face> = found.iter().map(|f| guessed(f, size)).collect();
        faces.retain(|f| in_seat(self.seat, f, size));
        // A head that is turned is followed, though no cascade finds it. Where one does, its box
        // is the better one: what is only followed could grow or wander.
        faces.extend(
            followed
                .map(|(face, _)| face)
                .filter(|followed| !faces.iter().any(|f| f.iou(followed) > FOLLOWED_IOU)),
        );
        self.track.searched_all(now);
        let Some(face) = self.track.pick(now, &faces, false) else { return Ok((None, None)) };
        if let Some((_, reading)) = followed.filter(|(followed, _)| *followed == face) {
            self.track.refine(now, face);
            return Ok((Some(face), Some(reading)));
        }
        let Some(state) = state else { return Ok((Some(face), None)) };
        // Twice: the cascade's box lies only roughly on the face.
        let mut refined = self.follow(state, &face)?;
        if let Some((face, _)) = refined {
            refined = self.follow(state, &face)?;
        }
        if let Some((face, reading)) = refined {
            self.track.refine(now, face);
            Ok((Some(face), Some(reading)))
        } else {
            self.track.forget();
            Ok((None, None))
        }
    }

    /// The face near this place, by the own network; `None` where there is none in the seat.
    fn follow(
        &self,
        state: &mut FaceState,
        near: &Face,
    ) -> Result<Option<(Face, FaceReading)>, PerceptionError> {
        let reading = state.observe(self.picture, near)?.ok();
        let followed = reading
            .filter(|reading| reading.face >= MIN_FACE)
            .and_then(|reading| Some((reading.as_face()?, reading)));
        Ok(followed.filter(|(face, _)| in_seat(self.seat, face, size(self.picture))))
    }
}

/// A face that was followed from `last`, about its middle, at a size that a head can have by now.
fn steadied(face: Face, last: &Face, pose_error_deg: f32) -> Face {
    let (side, was) = (face.side(), last.side());
    let growth = 1.0 + FOLLOWED_GROWTH * (1.0 - pose_error_deg / NO_GROWTH_AT_ERROR_DEG).max(0.0);
    // Not `clamp`, which panics where `was` is not a number.
    let k = side.min(was * growth).max(was / growth) / side;
    let [x, y] = face.middle();
    let (w, h) = (face.w * k, face.h * k);
    Face { x: x - w / 2.0, y: y - h / 2.0, w, h, ..face }
}

/// A cascade's box as a face: its points where a face from the front has them, and as high as
/// YuNet's boxes are over such points.
fn guessed(found: &FoundFace, (width, height): (f32, f32)) -> Face {
    let PictureBox { x, y, w, h } = found.face;
    let (x, y, w, h) = (x * width, y * height, w * width, h * height);
    let at = |px: f32, py: f32| [x + px * w, y + py * h];
    let points = [at(0.3, 0.38), at(0.7, 0.38), at(0.5, 0.58), at(0.35, 0.77), at(0.65, 0.77)];
    let (y, h) = (y + h * (1.0 - CASCADE_HEIGHT) / 2.0, h * CASCADE_HEIGHT);
    let votes = u16::try_from(found.votes).unwrap_or(u16::MAX);
    Face { score: (f32::from(votes) / SURE_VOTES).min(1.0), x, y, w, h, points }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_followed_face_changes_its_size_slowly() {
        let of = |x: f32, side: f32| Face {
            score: 0.9,
            x: x - 0.35 * side,
            y: 100.0 - side / 2.0,
            w: 0.7 * side,
            h: side,
            points: [[x, 100.0]; 5],
        };
        for (side, error_deg, want) in [
            (100.0, 0.0, 100.0),
            (102.0, 0.0, 102.0),
            (150.0, 0.0, 104.0),
            (50.0, 0.0, 100.0 / 1.04),
            (150.0, 6.0, 102.0),
            (150.0, 12.0, 100.0),
            (50.0, 40.0, 100.0),
        ] {
            let face = steadied(of(80.0, side), &of(70.0, 100.0), error_deg);
            assert!((face.side() - want).abs() < 0.01, "{side}: {face:?}");
            assert!((face.middle()[0] - 80.0).abs() < 0.01, "moved at once: {face:?}");
            assert!((face.middle()[1] - 100.0).abs() < 0.01 && face.points[0] == [80.0, 100.0]);
        }
    }

    #[test]
    fn a_long_picture_has_two_halves() {
        let at = |size, which| half(size, which).map(|s| (s.x, s.y, s.side));
        assert_eq!(at((1280.0, 720.0), 0), Some((360.0, 360.0, 720.0)));
        assert_eq!(at((1280.0, 720.0), 1), Some((920.0, 360.0, 720.0)));
        assert_eq!(at((540.0, 960.0), 1), Some((270.0, 690.0, 540.0)));
        assert_eq!(at((640.0, 600.0), 0), None);
    }
}
