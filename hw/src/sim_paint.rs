//! Draws filled shapes straight into I420, cheaply: a shape is one span a row.
//!
//! Coordinates are those of a 1280x720 picture and are scaled to the canvas.

use bytes::Bytes;

/// Width and height that coordinates refer to.
pub(crate) const DESIGN: (f32, f32) = (1280.0, 720.0);

/// A colour in YUV, BT.601 with limited range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Color([u8; 3]);

impl Color {
    pub(crate) fn rgb(r: u8, g: u8, b: u8) -> Self {
        let [r, g, b] = [r, g, b].map(f32::from);
        Self([
            byte(16.0 + 0.257 * r + 0.504 * g + 0.098 * b),
            byte(128.0 - 0.148 * r - 0.291 * g + 0.439 * b),
            byte(128.0 + 0.439 * r - 0.368 * g - 0.071 * b),
        ])
    }

    /// `self` for 0, `other` for 1.
    pub(crate) fn mix(self, other: Self, part: f32) -> Self {
        let mut mixed = self;
        for (a, b) in mixed.0.iter_mut().zip(other.0) {
            *a = blend(*a, b, part);
        }
        mixed
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
fn byte(v: f32) -> u8 {
    v.clamp(0.0, 255.0).round() as u8
}

fn blend(a: u8, b: u8, part: f32) -> u8 {
    byte(f32::from(a) + (f32::from(b) - f32::from(a)) * part.clamp(0.0, 1.0))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "negative and NaN become 0, and callers bound it by a row's length"
)]
fn index(v: f32) -> usize {
    v.max(0.0) as usize
}

/// Pictures are at most 4096 wide: exact in f32.
#[expect(clippy::cast_precision_loss, reason = "far below 2^24")]
fn float(n: usize) -> f32 {
    n as f32
}

/// An I420 picture.
#[derive(Clone, Debug)]
pub(crate) struct Canvas {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Canvas {
    /// Width and height are even.
    pub(crate) fn new(width: u32, height: u32) -> Self {
        let width = usize::try_from(width).unwrap_or(0);
        let height = usize::try_from(height).unwrap_or(0);
        Self { width, height, data: vec![0; width * height * 3 / 2] }
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from(self.data)
    }

    /// Fills the rows from `top` to `bottom` with what `row` says of each: from, to, colour.
    pub(crate) fn rows(
        &mut self,
        top: f32,
        bottom: f32,
        row: impl Fn(f32) -> Option<(f32, f32, Color)>,
    ) {
        let (w, h) = (self.width, self.height);
        let (luma, chroma) = self.data.split_at_mut(w * h);
        let (u, v) = chroma.split_at_mut(w * h / 4);
        let planes = [(luma, w, h), (u, w / 2, h / 2), (v, w / 2, h / 2)];
        for (channel, (plane, w, h)) in planes.into_iter().enumerate() {
            let (kx, ky) = (float(w) / DESIGN.0, float(h) / DESIGN.1);
            let first = index((top * ky).round());
            let count = index((bottom * ky).round()).min(h).saturating_sub(first);
            for (n, line) in plane.chunks_exact_mut(w).enumerate().skip(first).take(count) {
                if let Some((x0, x1, color)) = row((float(n) + 0.5) / ky) {
                    let value = color.0.get(channel).copied().unwrap_or(0);
                    span(line, x0 * kx, x1 * kx, value);
                }
            }
        }
    }

    pub(crate) fn rect(&mut self, x0: f32, y0: f32, x1: f32, y1: f32, color: Color) {
        self.rows(y0, y1, |_| Some((x0, x1, color)));
    }

    /// From one colour at the top to another at the bottom, over the whole width.
    pub(crate) fn gradient(&mut self, y0: f32, y1: f32, top: Color, bottom: Color) {
        self.rows(y0, y1, |y| Some((0.0, DESIGN.0, top.mix(bottom, (y - y0) / (y1 - y0)))));
    }

    pub(crate) fn ellipse(&mut self, cx: f32, cy: f32, rx: f32, ry: f32, color: Color) {
        self.cut_ellipse([cx, cy, rx, ry], cy - ry, cy + ry, color);
    }

    /// The part of an ellipse (centre and half axes) between two heights.
    pub(crate) fn cut_ellipse(
        &mut self,
        [cx, cy, rx, ry]: [f32; 4],
        top: f32,
        bottom: f32,
        color: Color,
    ) {
        self.rows(top.max(cy - ry), bottom.min(cy + ry), |y| {
            let dy = (y - cy) / ry;
            let half = rx * (1.0 - dy * dy).max(0.0).sqrt();
            Some((cx - half, cx + half, color))
        });
    }

    /// Four corners: top left, top right, bottom left, bottom right, the pairs level.
    pub(crate) fn trapezoid(
        &mut self,
        (top, l0, r0): (f32, f32, f32),
        (bottom, l1, r1): (f32, f32, f32),
        color: Color,
    ) {
        self.rows(top, bottom, |y| {
            let k = (y - top) / (bottom - top);
            Some((l0 + (l1 - l0) * k, r0 + (r1 - r0) * k, color))
        });
    }
}

/// Fills `line` from `x0` to `x1`, the pixels at both ends by how much of them is covered.
fn span(line: &mut [u8], x0: f32, x1: f32, value: u8) {
    if x0.is_nan() || x1.is_nan() {
        return;
    }
    let x0 = x0.max(0.0);
    let x1 = x1.min(float(line.len()));
    if x1 <= x0 {
        return;
    }
    let (a, b) = (index(x0), index(x1));
    let mut edge = |at: usize, part: f32| {
        if let Some(p) = line.get_mut(at) {
            *p = blend(*p, value, part);
        }
    };
    if a == b {
        edge(a, x1 - x0);
        return;
    }
    edge(a, float(a + 1) - x0);
    edge(b, x1 - float(b));
    if let Some(middle) = line.get_mut(a + 1..b) {
        middle.fill(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_cover_what_they_should() {
        let mut line = [0; 6];
        span(&mut line, 1.5, 4.25, 100);
        assert_eq!(line, [0, 50, 100, 100, 25, 0]);
        let mut line = [0; 3];
        span(&mut line, -5.0, 9.0, 7);
        assert_eq!(line, [7, 7, 7]);
        for (a, b) in [(2.0, 1.0), (f32::NAN, 2.0), (1.0, f32::NAN), (9.0, 10.0)] {
            let mut line = [0; 3];
            span(&mut line, a, b, 7);
            assert_eq!(line, [0, 0, 0], "{a} {b}");
        }
    }

    #[test]
    fn colours_are_of_bt601() {
        for ((r, g, b), yuv) in [
            ((0, 0, 0), [16, 128, 128]),
            ((255, 255, 255), [235, 128, 128]),
            ((255, 0, 0), [82, 90, 240]),
        ] {
            assert_eq!(Color::rgb(r, g, b).0, yuv);
        }
    }
}
