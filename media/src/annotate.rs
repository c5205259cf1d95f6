//! Lines, boxes and words drawn into a picture, for an installer who wants to see what the unit
//! sees. Knows nothing of what they mean.
//!
//! Places are fractions of the picture's width and height, as in [`PictureBox`], so that what was
//! measured can be drawn as it is. What lies outside of the picture is left away.
//!
//! INVARIANT: no place makes this fail or panic: what is not finite is not drawn.

use opencv::{
    boxed_ref::BoxedRefMut,
    core::{Mat, Point, Scalar},
    imgproc,
};
use temoin_proto::perception::PictureBox;

use crate::{
    burn_in::printable,
    frame::{I420Picture, PictureError},
    rounding::{cv, round_i32, round_u32},
};

/// A colour, as the picture holds it: luma and two chromas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub [u8; 3]);

impl Colour {
    /// Seen and as it should be.
    pub const GREEN: Self = Self([170, 80, 60]);
    /// Seen and worth a look.
    pub const YELLOW: Self = Self([205, 30, 145]);
    /// Seen and wrong.
    pub const RED: Self = Self([100, 95, 230]);
    /// A thing, not a person.
    pub const BLUE: Self = Self([120, 200, 80]);
    /// Words.
    pub const WHITE: Self = Self([235, 128, 128]);
    /// Not seen.
    pub const GREY: Self = Self([140, 128, 128]);
}

/// Something to draw.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Straight lines from point to point.
    Lines(Vec<[f32; 2]>),
    /// The border of a box.
    Box(PictureBox),
    /// A dot.
    Dot([f32; 2]),
    /// A line of at most 80 characters from its left end at the baseline, with capitals of this
    /// part of the picture's height. Characters that the font lacks become `?`.
    Text([f32; 2], f32, String),
    /// A box darkened to a third, to write on.
    Shade(PictureBox),
}

/// A shape in its colour.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// What.
    pub shape: Shape,
    /// How; a shade has none.
    pub colour: Colour,
}

/// Luma under the edges of text, so that it can be read on anything.
const EDGE_LUMA: f64 = 16.0;
/// Points further out than this many pictures are left away: OpenCV counts in 32 bits.
const FAR: f32 = 8.0;

/// Draws marks, in their order.
///
/// # Errors
/// [`PictureError::OpenCv`].
pub fn draw(picture: &mut I420Picture, marks: &[Mark]) -> Result<(), PictureError> {
    let stroke = (picture.width().max(picture.height()) / 500).max(1);
    for mark in marks {
        match &mark.shape {
            Shape::Lines(points) => lines(picture, points, mark.colour, stroke)?,
            Shape::Box(b) => {
                let (right, bottom) = (b.x + b.w, b.y + b.h);
                let corners =
                    [[b.x, b.y], [right, b.y], [right, bottom], [b.x, bottom], [b.x, b.y]];
                lines(picture, &corners, mark.colour, stroke)?;
            }
            Shape::Dot(at) => dot(picture, *at, mark.colour, stroke)?,
            Shape::Text(at, height, words) => text(picture, *at, *height, words, mark.colour)?,
            Shape::Shade(area) => shade(picture, area),
        }
    }
    Ok(())
}

/// One plane to draw on, with its number and what a pixel of the whole picture is in it.
fn on_planes(
    picture: &mut I420Picture,
    mut draw: impl FnMut(&mut BoxedRefMut<'_, Mat>, usize, [f64; 2]) -> Result<(), PictureError>,
) -> Result<(), PictureError> {
    for (n, (w, h, plane)) in picture.plane_list().into_iter().enumerate() {
        let mut mat = Mat::new_rows_cols_with_bytes_mut::<u8>(cv(h), cv(w), plane)?;
        draw(&mut mat, n, [f64::from(w), f64::from(h)])?;
    }
    Ok(())
}

fn place([x, y]: [f32; 2], [w, h]: [f64; 2]) -> Option<Point> {
    let near = |v: f32| v.is_finite() && v.abs() <= FAR;
    (near(x) && near(y))
        .then(|| Point::new(round_i32(f64::from(x) * w), round_i32(f64::from(y) * h)))
}

fn value(colour: Colour, plane: usize) -> Scalar {
    Scalar::all(f64::from(colour.0.get(plane).copied().unwrap_or(128)))
}

fn lines(
    picture: &mut I420Picture,
    points: &[[f32; 2]],
    colour: Colour,
    stroke: u32,
) -> Result<(), PictureError> {
    on_planes(picture, |plane, n, size| {
        let thick = cv(if n == 0 { stroke } else { stroke.div_ceil(2) });
        for (from, to) in points.iter().zip(points.iter().skip(1)) {
            if let (Some(from), Some(to)) = (place(*from, size), place(*to, size)) {
                let colour = value(colour, n);
                imgproc::line(plane, from, to, colour, thick, imgproc::LINE_AA, 0)?;
            }
        }
        Ok(())
    })
}

fn dot(
    picture: &mut I420Picture,
    at: [f32; 2],
    colour: Colour,
    stroke: u32,
) -> Result<(), PictureError> {
    on_planes(picture, |plane, n, size| {
        let Some(at) = place(at, size) else { return Ok(()) };
        let radius = cv(if n == 0 { 2 * stroke } else { stroke });
        imgproc::circle(plane, at, radius, value(colour, n), -1, imgproc::LINE_AA, 0)?;
        Ok(())
    })
}

fn text(
    picture: &mut I420Picture,
    at: [f32; 2],
    height: f32,
    words: &str,
    colour: Colour,
) -> Result<(), PictureError> {
    if !(0.0..=1.0).contains(&height) {
        return Ok(());
    }
    let words = printable(words);
    // The capitals of OpenCV's Hershey font are 21 units high.
    let cap_height = f64::from(height) * f64::from(picture.height());
    let stroke = round_u32(cap_height / 9.0).max(1);
    on_planes(picture, |plane, n, size| {
        let Some(at) = place(at, size) else { return Ok(()) };
        let font = imgproc::FONT_HERSHEY_SIMPLEX;
        let mut put = |scale: f64, colour: Scalar, thick: u32| {
            imgproc::put_text(
                plane,
                &words,
                at,
                font,
                scale,
                colour,
                cv(thick),
                imgproc::LINE_AA,
                false,
            )
        };
        let scale = cap_height / 21.0;
        if n == 0 {
            put(scale, Scalar::all(EDGE_LUMA), 3 * stroke)?;
            put(scale, value(colour, n), stroke)?;
        } else {
            put(scale / 2.0, value(colour, n), stroke.div_ceil(2) + 1)?;
        }
        Ok(())
    })
}

fn shade(picture: &mut I420Picture, area: &PictureBox) {
    let width = picture.width();
    let edge = |v: f32, side: u32| {
        let side = f64::from(side);
        usize::try_from(round_u32((f64::from(v) * side).clamp(0.0, side))).unwrap_or(0)
    };
    let (left, right) = (edge(area.x, width), edge(area.x + area.w, width));
    let (top, bottom) = (edge(area.y, picture.height()), edge(area.y + area.h, picture.height()));
    let row = usize::try_from(width).unwrap_or(1).max(1);
    let rows = picture.planes_mut().y.chunks_exact_mut(row);
    for row in rows.skip(top).take(bottom.saturating_sub(top)) {
        for pixel in row.get_mut(left..right).unwrap_or_default() {
            *pixel /= 3;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey() -> I420Picture {
        I420Picture::from_vec(320, 240, vec![128; 320 * 240 * 3 / 2]).unwrap()
    }

    fn drawn(shape: Shape, colour: Colour) -> I420Picture {
        let mut picture = grey();
        draw(&mut picture, &[Mark { shape, colour }]).unwrap();
        picture
    }

    fn luma(picture: &I420Picture, x: usize, y: usize) -> u8 {
        picture.view().luma()[y * 320 + x]
    }

    #[test]
    fn each_shape_is_where_it_belongs_and_nowhere_else() {
        let quarter = PictureBox { x: 0.25, y: 0.25, w: 0.5, h: 0.5 };
        for (name, shape, on, off) in [
            ("line", Shape::Lines(vec![[0.0, 0.5], [1.0, 0.5]]), [160, 120], [160, 100]),
            ("box, its edge", Shape::Box(quarter), [80, 120], [160, 120]),
            ("dot", Shape::Dot([0.5, 0.5]), [160, 120], [170, 120]),
        ] {
            let picture = drawn(shape, Colour::WHITE);
            assert!(luma(&picture, on[0], on[1]) > 220, "{name}");
            assert_eq!(luma(&picture, off[0], off[1]), 128, "{name}");
        }
        let picture = drawn(Shape::Shade(quarter), Colour::WHITE);
        assert_eq!((luma(&picture, 160, 120), luma(&picture, 70, 120)), (42, 128));
    }

    #[test]
    fn colours_are_in_the_chroma_too() {
        let mut picture = drawn(Shape::Lines(vec![[0.0, 0.5], [1.0, 0.5]]), Colour::RED);
        let planes = picture.planes_mut();
        let at = 60 * 160 + 80;
        // A thin line is mixed with its ground.
        assert!(planes.u[at] < 110 && planes.v[at] > 200, "{} {}", planes.u[at], planes.v[at]);
    }

    #[test]
    fn text_can_be_read_on_any_ground() {
        let picture = drawn(Shape::Text([0.1, 0.5], 0.08, "eyes 0.25 Ä".to_owned()), Colour::WHITE);
        let luma = picture.view().luma();
        assert!(luma.iter().any(|p| *p > 220) && luma.iter().any(|p| *p < 30));
    }

    #[test]
    fn no_place_is_too_strange() {
        for v in [f32::NAN, f32::INFINITY, -1e30, 1e9, -3.0, 7.0] {
            let area = PictureBox { x: v, y: v, w: v, h: v };
            for shape in [
                Shape::Lines(vec![[v, 0.0], [0.0, v], [v, v]]),
                Shape::Lines(vec![]),
                Shape::Box(area),
                Shape::Dot([v, v]),
                Shape::Text([v, 0.5], v, "x".to_owned()),
                Shape::Text([0.5, 0.5], 0.1, String::new()),
                Shape::Shade(area),
            ] {
                let _picture = drawn(shape, Colour::GREEN);
            }
        }
        let mut tiny = I420Picture::black(2, 2).unwrap();
        let words =
            Mark { shape: Shape::Text([0.0, 1.0], 0.5, "x".to_owned()), colour: Colour::RED };
        draw(&mut tiny, &[words]).unwrap();
    }
}
