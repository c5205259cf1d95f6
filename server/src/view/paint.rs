//! What is done to every picture before it is shown: the driver's face blurred where it must be,
//! and always the viewing's two marks: the hidden one, and the visible one last, so that nothing lies
//! over it.

use std::{ops::Range, time::Duration};

use temoin_media::{
    blur::{blur_face, blur_picture},
    burn_in::ViewMark,
    frame::{I420Picture, PictureError},
    watermark::Embedder,
};
use temoin_proto::{perception::PictureBox, wire::FacePoint};

/// The longest time between two boxes, and before the first and after the last, in which the face
/// is taken to be near them (fleet.proto, `ClipSignals.driver_face`).
const LONGEST_GAP_MS: i64 = 500;
/// A box smaller than this part of the picture is no driver's face in a cabin camera.
const SMALLEST_SIDE: f32 = 0.02;

/// Where the road lies ahead, and what drives on it, in a camera that was put up as the installer's guide
/// says. Own choice: the middle of the picture, from above the horizon to where the lane is some metres
/// away.
const ROAD_AHEAD: PictureBox = PictureBox { x: 0.35, y: 0.3, w: 0.3, h: 0.45 };

/// What is in the picture that must be blurred, or must be seen.
pub(super) enum Scene {
    /// The road.
    Road,
    /// The driver, whose face is shown.
    Driver(FaceTrack),
    /// The driver, whose face is blurred, and with it the whole picture where its place is not known.
    BlurredDriver(FaceTrack),
}

impl Scene {
    /// What the visible mark must not lie on while it stays where it is.
    fn clear(&self, stay: &Range<Duration>) -> Vec<PictureBox> {
        match self {
            Self::Road => vec![ROAD_AHEAD],
            Self::Driver(face) | Self::BlurredDriver(face) => face.within(stay),
        }
    }
}

/// Where the driver's face is over the clip's time.
pub(super) struct FaceTrack {
    /// By time.
    points: Vec<(i64, PictureBox)>,
}

/// What to blur in one picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Area {
    /// These boxes.
    Boxes(Vec<PictureBox>),
    /// All of it.
    Whole,
}

impl FaceTrack {
    /// Out of a clip's signals. Boxes that cannot be are left out, which blurs more.
    pub(super) fn new(points: &[FacePoint]) -> Self {
        let mut points: Vec<(i64, PictureBox)> = points
            .iter()
            .filter(|p| possible(p))
            .map(|p| (i64::from(p.offset_ms), PictureBox { x: p.x, y: p.y, w: p.w, h: p.h }))
            .collect();
        points.sort_by_key(|(at, _)| *at);
        Self { points }
    }

    /// Where it is between these times.
    fn within(&self, span: &Range<Duration>) -> Vec<PictureBox> {
        let ms = |at: Duration| i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
        let from = self.points.partition_point(|(at, _)| *at < ms(span.start));
        let to = self.points.partition_point(|(at, _)| *at < ms(span.end));
        self.points.get(from..to).unwrap_or_default().iter().map(|(_, face)| *face).collect()
    }

    /// What must be blurred at this time: the boxes before and after it, where they are at most
    /// [`LONGEST_GAP_MS`] apart, so that a head that moves between them is under one of them.
    pub(super) fn area_at(&self, at_ms: i64) -> Area {
        let next = self.points.partition_point(|(at, _)| *at <= at_ms);
        let before = next.checked_sub(1).and_then(|i| self.points.get(i));
        let after = self.points.get(next);
        match (before, after) {
            (Some((at, face)), _) if *at == at_ms => Area::Boxes(vec![*face]),
            (Some((from, a)), Some((to, b))) if to - from <= LONGEST_GAP_MS => {
                Area::Boxes(vec![*a, *b])
            }
            (Some((from, face)), None) if at_ms - from <= LONGEST_GAP_MS => {
                Area::Boxes(vec![*face])
            }
            (None, Some((to, face))) if to - at_ms <= LONGEST_GAP_MS => Area::Boxes(vec![*face]),
            (Some(_) | None, Some(_) | None) => Area::Whole,
        }
    }
}

fn possible(p: &FacePoint) -> bool {
    let edges = [p.x, p.y, p.x + p.w, p.y + p.h];
    edges.iter().all(|e| (-1.0..=2.0).contains(e))
        && p.w >= SMALLEST_SIDE
        && p.h >= SMALLEST_SIDE
        // At least some of it within the picture.
        && p.x < 1.0
        && p.y < 1.0
        && p.x + p.w > 0.0
        && p.y + p.h > 0.0
}

/// Blurs what must be blurred, then puts both marks in.
///
/// # Errors
/// [`PictureError`]: then the picture must not be shown.
pub(super) fn paint(
    picture: &mut I420Picture,
    at: Duration,
    scene: &Scene,
    hidden: &mut Embedder,
    visible: &ViewMark,
) -> Result<(), PictureError> {
    match scene {
        Scene::Road | Scene::Driver(_) => {}
        Scene::BlurredDriver(track) => {
            let at_ms = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
            match track.area_at(at_ms) {
                Area::Whole => blur_picture(picture)?,
                Area::Boxes(boxes) => {
                    for face in &boxes {
                        blur_face(picture, face)?;
                    }
                }
            }
        }
    }
    hidden.mark(picture, at);
    visible.draw(picture, at, &scene.clear(&ViewMark::stay(at)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(offset_ms: i32, x: f32) -> FacePoint {
        FacePoint { offset_ms, x, y: 0.2, w: 0.2, h: 0.3 }
    }

    fn xs(area: Area) -> Option<Vec<f32>> {
        match area {
            Area::Boxes(boxes) => Some(boxes.iter().map(|b| b.x).collect()),
            Area::Whole => None,
        }
    }

    #[test]
    fn unknown_places_blur_everything() {
        let track = FaceTrack::new(&[
            point(2000, 0.4),
            point(1000, 0.1),
            point(1500, 0.2),
            point(2501, 0.5),
        ]);
        for (at, expected) in [
            (0, None),
            (499, None),
            (500, Some(vec![0.1])),
            (1000, Some(vec![0.1])),
            (1250, Some(vec![0.1, 0.2])),
            (1999, Some(vec![0.2, 0.4])),
            (2000, Some(vec![0.4])),
            (2001, None),
            (2500, None),
            (2501, Some(vec![0.5])),
            (3001, Some(vec![0.5])),
            (3002, None),
        ] {
            assert_eq!(xs(track.area_at(at)), expected, "{at}");
        }
        assert_eq!(FaceTrack::new(&[]).area_at(0), Area::Whole);
    }

    #[test]
    fn the_visible_mark_keeps_clear_of_faces_and_of_the_road_ahead() {
        let s = Duration::from_secs;
        assert_eq!(Scene::Road.clear(&(s(0)..s(3))), [ROAD_AHEAD]);
        let track = || FaceTrack::new(&[point(2999, 0.1), point(3000, 0.2), point(5999, 0.3)]);
        for scene in [Scene::Driver(track()), Scene::BlurredDriver(track())] {
            let xs =
                |from, to| scene.clear(&(s(from)..s(to))).iter().map(|b| b.x).collect::<Vec<_>>();
            assert_eq!(xs(3, 6), [0.2, 0.3]);
            assert_eq!(xs(0, 3), [0.1]);
            assert!(xs(6, 9).is_empty());
        }
    }

    #[test]
    fn impossible_boxes_count_as_no_box() {
        for bad in [
            FacePoint { x: f32::NAN, ..point(0, 0.1) },
            FacePoint { w: f32::INFINITY, ..point(0, 0.1) },
            FacePoint { w: 0.0, ..point(0, 0.1) },
            FacePoint { h: -0.5, ..point(0, 0.1) },
            point(0, 1.5),
            point(0, -0.9),
        ] {
            assert_eq!(FaceTrack::new(&[bad]).area_at(0), Area::Whole, "{bad:?}");
        }
    }
}
