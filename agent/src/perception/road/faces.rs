//! Faces of others in the road picture, down to those that somebody could just recognise.
//!
//! A face 16 pixels wide is about the smallest that people recognise somebody they know in. The
//! face network finds faces of 10 pixels and more in its own input. The lens is about as high as
//! the faces of people on foot and in vehicles, so that these are near the horizon's row at any
//! distance: a band around it is searched in squares that are scaled down a little, and the heads
//! of persons near by are searched once more, enlarged.

use temoin_media::{bgr::Square, frame::I420View};
use temoin_proto::perception::{PictureBox, PrivateArea, PrivateKind};

use crate::perception::{
    PerceptionError,
    face_search::{Yunet, size},
    yolox::Found,
    yunet::Face,
};

/// Persons whose heads are searched enlarged in one look, the largest first.
const MOST_PERSONS: usize = 3;
/// A person whose box is lower than this has a face of less than 10 pixels: a head is an eighth
/// of an adult's height, and a face two thirds as wide as a head is high.
const LEAST_PERSON_PX: f32 = 110.0;
/// Side of the squares, parts of the picture's longer side: 3 of them hold a 16:9 picture's width.
const SQUARE: f32 = 0.375;
/// Surer than this is a face. The driver's must be surer; here a pattern that is blurred costs
/// nothing.
const MIN_SCORE: f32 = 0.4;
/// How far an area reaches beyond the face that was found, parts of its side on each side.
const MARGIN: f32 = 0.15;

/// Finds faces.
pub(super) struct Faces {
    yunet: Yunet,
}

impl Faces {
    pub(super) const fn new(yunet: Yunet) -> Self {
        Self { yunet }
    }

    /// Where faces are, and where those of the persons near by must be that were not found: a head
    /// that is turned away may turn back before the next look.
    pub(super) fn areas(
        &mut self,
        picture: &I420View<'_>,
        horizon_px: f32,
        persons: &[Found],
    ) -> Result<Vec<PrivateArea>, PerceptionError> {
        let size = size(picture);
        let mut faces = Vec::new();
        for square in squares(size, horizon_px) {
            faces.extend(self.yunet.faces(picture, Some(square), MIN_SCORE)?);
        }
        let mut near: Vec<&Found> = persons.iter().filter(|p| p.h >= LEAST_PERSON_PX).collect();
        near.sort_by(|a, b| b.h.total_cmp(&a.h));
        let mut areas = Vec::new();
        for (n, person) in near.into_iter().enumerate() {
            let holds = |f: &Face| holds(person, f);
            if !faces.iter().any(holds) && n < MOST_PERSONS {
                faces.extend(self.yunet.faces(picture, Some(head_square(person)), MIN_SCORE)?);
            }
            if !faces.iter().any(holds) {
                areas.push(head_area(person, size));
            }
        }
        areas.extend(faces.iter().map(|f| f.fractions(size).grown(MARGIN).clipped()));
        Ok(areas.into_iter().map(|area| PrivateArea { kind: PrivateKind::Face, area }).collect())
    }
}

/// Squares side by side that hold the band around the horizon.
fn squares((width, height): (f32, f32), horizon_px: f32) -> Vec<Square> {
    let side = SQUARE * width.max(height);
    let half = side / 2.0;
    let y = if height <= side { height / 2.0 } else { horizon_px.clamp(half, height - half) };
    // They overlap, so that a face on a border is whole in one of them.
    let xs = if width <= side {
        vec![width / 2.0]
    } else if width <= 1.8 * side {
        vec![half, width - half]
    } else {
        vec![half, width / 2.0, width - half]
    };
    xs.into_iter().map(|x| Square::upright(x, y, side)).collect()
}

/// Whether a face is in the upper part of a person's box.
fn holds(person: &Found, face: &Face) -> bool {
    let [x, y] = face.middle();
    (person.x..person.x + person.w).contains(&x)
        && (person.y - 0.05 * person.h..person.y + 0.5 * person.h).contains(&y)
}

/// Around the head and shoulders of a person; of one who is cut off or sits, the upper part.
fn head_square(person: &Found) -> Square {
    let side = (0.4 * person.h).max(0.8 * person.w).max(24.0);
    Square::upright(person.x + person.w / 2.0, person.y + 0.35 * side, side)
}

/// Where the head of a person is: the top fifth of a standing one; of one who is cut off, as much
/// as the shoulders are wide.
fn head_area(person: &Found, (width, height): (f32, f32)) -> PictureBox {
    let head = (0.22 * person.h).max(0.45 * person.w).min(person.h);
    let (x, w) = (person.x + 0.15 * person.w, 0.7 * person.w);
    PictureBox {
        x: x / width,
        y: (person.y - 0.02 * person.h) / height,
        w: w / width,
        h: head / height,
    }
    .clipped()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perception::yolox::Kind;

    #[test]
    fn the_squares_hold_the_band_around_the_horizon() {
        for (w, h, most) in
            [(1280.0, 720.0, 3), (1280.0, 960.0, 3), (720.0, 1280.0, 2), (640.0, 640.0, 3)]
        {
            for horizon in [0.0, 0.4 * h, 0.55 * h, h] {
                let squares = squares((w, h), horizon);
                assert!(squares.len() <= most, "{w}x{h}: {squares:?}");
                for n in 0..400_u16 {
                    let x = f32::from(n % 40) / 39.0 * w;
                    let y = (horizon + (f32::from(n / 40) / 9.0 - 0.5) * 0.3 * h).clamp(0.0, h);
                    let inside = |s: &Square| {
                        (x - s.x).abs() <= s.side / 2.0 + 1.0
                            && (y - s.y).abs() <= s.side / 2.0 + 1.0
                    };
                    assert!(squares.iter().any(inside), "{w}x{h}: {x} {y} {squares:?}");
                }
            }
        }
    }

    #[test]
    fn heads_are_at_the_top_and_areas_stay_inside() {
        let person = Found { kind: Kind::Person, score: 0.9, x: 600.0, y: -5.0, w: 80.0, h: 240.0 };
        let area = head_area(&person, (1280.0, 720.0));
        assert!(area.y >= 0.0 && area.y + area.h < 0.1, "{area:?}");
        assert!(area.x * 1280.0 > 600.0 && (area.x + area.w) * 1280.0 < 680.0, "{area:?}");
    }
}
