//! Text as a mask that is blended into pictures: rendered once, and where only some characters
//! change, only those again.
//!
//! INVARIANT: a mask that was changed is the same as one that was rendered anew.

use opencv::{
    core::{Mat, Point, Scalar},
    imgproc,
};

use crate::{
    frame::{I420Picture, PictureError, PlanesMut},
    rounding::{cv, even_at_least_2, index, round_u32},
};

/// Luma of glyphs: full white in the video's range.
const LIGHT: u16 = 235;
/// Luma of boxes and edges: black in the video's range.
const DARK: u16 = 16;
/// How much of the picture the box behind boxed text hides, 0 to 255.
const BOX_ALPHA: u16 = 150;
/// How much a glyph of edged text hides: something of the picture stays to be seen.
const MARK_ALPHA: u16 = 200;
/// How much the edge around such a glyph hides.
const EDGE_ALPHA: u16 = 140;
/// Capitals of OpenCV's Hershey font are so many of its units high.
const CAPITAL_UNITS: f64 = 21.0;
const FONT: i32 = imgproc::FONT_HERSHEY_SIMPLEX;

/// What surrounds the glyphs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A dark box.
    Boxed,
    /// A dark edge.
    Edged,
}

/// The font at one size.
#[derive(Clone, Copy)]
struct Font {
    cap_height: f64,
    scale: f64,
    stroke: u32,
    edge: u32,
    pad: u32,
    line_height: u32,
}

impl Font {
    fn new(cap_height: f64) -> Self {
        let stroke = round_u32(cap_height / 9.0).max(1);
        let edge = round_u32(cap_height / 6.0).max(2);
        Self {
            cap_height,
            // Strokes are centred on the font's lines.
            scale: cap_height / CAPITAL_UNITS,
            stroke,
            edge,
            pad: edge + stroke,
            line_height: round_u32(cap_height * 1.5) + stroke,
        }
    }

    /// Width and height of the mask of these lines.
    fn size(&self, lines: &[String]) -> Result<(u32, u32), PictureError> {
        let mut text_width = 0;
        for line in lines {
            let mut baseline = 0;
            let size =
                imgproc::get_text_size(line, FONT, self.scale, cv(self.stroke), &mut baseline)?;
            text_width = text_width.max(u32::try_from(size.width).unwrap_or(0));
        }
        let rows = u32::try_from(lines.len()).unwrap_or(1).max(1);
        let width = even_at_least_2(text_width + 2 * self.pad + 1).min(4096);
        let height = even_at_least_2(self.line_height * rows + 2 * self.pad + 1).min(4096);
        Ok((width, height))
    }

    /// How far a text goes on, in the font's units, which are whole.
    fn units(text: &str) -> Result<u32, PictureError> {
        let size = imgproc::get_text_size(text, FONT, 1.0, 1, &mut 0)?;
        Ok(u32::try_from(size.width).unwrap_or(0).saturating_sub(1))
    }

    /// The lines as coverage, 0 to 255, with the columns from `left` on.
    fn draw(
        &self,
        lines: &[String],
        (width, height): (u32, u32),
        left: u32,
        thickness: u32,
    ) -> Result<Vec<u8>, PictureError> {
        let mut data = vec![0; index(width) * index(height)];
        let mut mat = Mat::new_rows_cols_with_bytes_mut::<u8>(cv(height), cv(width), &mut data)?;
        for (n, line) in (0_u32..).zip(lines) {
            let base = self.pad + self.line_height * n + round_u32(self.cap_height * 1.15);
            imgproc::put_text(
                &mut mat,
                line,
                Point::new(cv(self.pad) - cv(left), cv(base)),
                FONT,
                self.scale,
                Scalar::all(255.0),
                cv(thickness),
                imgproc::LINE_AA,
                false,
            )?;
        }
        Ok(data)
    }
}

/// Rendered text: how much each pixel hides and with what.
pub(crate) struct Mask {
    /// Pixels, even.
    pub(crate) width: u32,
    /// Pixels, even.
    pub(crate) height: u32,
    /// 255 less how much a luma pixel hides.
    keep: Vec<u8>,
    /// Luma times how much it hides, over 255.
    add: Vec<u8>,
    /// 255 less how much a chroma pixel hides; hidden chroma becomes neutral.
    keep_chroma: Vec<u8>,
}

/// `a * b / 255`, rounded.
const fn mul_255(a: u16, b: u16) -> u16 {
    let t = a * b + 128;
    (t + (t >> 8)) >> 8
}

/// Low byte of a value that is at most 255.
fn byte(x: u16) -> u8 {
    u8::try_from(x).unwrap_or(u8::MAX)
}

impl Mask {
    /// Renders lines of text with capitals of `cap_height` pixels.
    pub(crate) fn render(
        lines: &[String],
        cap_height: f64,
        style: Style,
    ) -> Result<Self, PictureError> {
        let font = Font::new(cap_height);
        let size = font.size(lines)?;
        let glyphs = font.draw(lines, size, 0, font.stroke)?;
        let around = match style {
            Style::Boxed => vec![255; glyphs.len()],
            Style::Edged => font.draw(lines, size, 0, font.stroke + 2 * font.edge)?,
        };
        Ok(Self::of(&glyphs, &around, size, style))
    }

    fn of(glyphs: &[u8], around: &[u8], (width, height): (u32, u32), style: Style) -> Self {
        let (ground, top) = match style {
            Style::Boxed => (BOX_ALPHA, 255),
            Style::Edged => (EDGE_ALPHA, MARK_ALPHA),
        };
        let (keep, add): (Vec<u8>, Vec<u8>) = glyphs
            .iter()
            .zip(around)
            .map(|(glyph, around)| {
                let (glyph, around) = (u16::from(*glyph), u16::from(*around));
                let ground = mul_255(ground, around);
                let hides = ground + mul_255(top.max(ground) - ground, glyph);
                let luma = DARK + mul_255(LIGHT - DARK, glyph);
                (byte(255 - hides), byte(mul_255(luma, hides)))
            })
            .unzip();
        let keep_chroma = keep
            .chunks_exact(index(width) * 2)
            .flat_map(|rows| {
                let (top, bottom) = rows.split_at(index(width));
                let pairs = top.as_chunks::<2>().0.iter().zip(bottom.as_chunks::<2>().0);
                pairs.map(|([a, b], [c, d])| *a.min(b).min(c).min(d))
            })
            .collect();
        Self { width, height, keep, add, keep_chroma }
    }

    /// Makes the mask of one line, in a box, from that of another, as far as they differ. Returns
    /// false, with nothing changed, where the new one does not fit: then it must be rendered.
    pub(crate) fn change(
        &mut self,
        from: &str,
        to: &str,
        cap_height: f64,
    ) -> Result<bool, PictureError> {
        let font = Font::new(cap_height);
        let Some((begin, end)) = changed(from, to)? else { return Ok(false) };
        let px = |units: u32| round_u32(f64::from(units) * font.scale) + font.pad;
        // Ink reaches half a stroke beyond a character, and a pixel for its soft edge.
        let reach = font.stroke + 2;
        let left = px(begin).saturating_sub(reach) & !1;
        let right = even_at_least_2(px(end) + reach + 1).min(self.width);
        // Characters that reach into the part are drawn whole: what is cut has other edges.
        let beside = even_at_least_2(round_u32(font.cap_height * 2.0));
        let outer_left = left.saturating_sub(beside);
        let outer_width = (right + beside).min(self.width).saturating_sub(outer_left);
        if left >= right {
            return Ok(false);
        }
        let line = [to.to_owned()];
        let drawn = font.draw(&line, (outer_width, self.height), outer_left, font.stroke)?;
        let inner = index(left - outer_left)..index(right - outer_left);
        let glyphs: Vec<u8> = drawn
            .chunks_exact(index(outer_width))
            .flat_map(|row| row.get(inner.clone()).unwrap_or_default())
            .copied()
            .collect();
        let size = (right - left, self.height);
        let part = Self::of(&glyphs, &vec![255; glyphs.len()], size, Style::Boxed);
        paste(&mut self.keep, self.width, &part.keep, left, part.width);
        paste(&mut self.add, self.width, &part.add, left, part.width);
        paste(&mut self.keep_chroma, self.width / 2, &part.keep_chroma, left / 2, part.width / 2);
        Ok(true)
    }

    /// Blends the text in with its top left corner at (`x`, `y`), both even. What lies outside of
    /// the picture is left away.
    pub(crate) fn blend(&self, picture: &mut I420Picture, x: u32, y: u32) {
        let (width, height) = (picture.width(), picture.height());
        let (x, y) = (x & !1, y & !1);
        let w = self.width.min(width.saturating_sub(x));
        let h = self.height.min(height.saturating_sub(y));
        if w == 0 || h == 0 {
            return;
        }
        let PlanesMut { y: luma, u, v } = picture.planes_mut();
        let rows = luma.chunks_exact_mut(index(width)).skip(index(y)).take(index(h));
        let masks = self.keep.chunks_exact(index(self.width));
        for ((row, keep), add) in rows.zip(masks).zip(self.add.chunks_exact(index(self.width))) {
            let row = row.get_mut(index(x)..index(x + w)).unwrap_or_default();
            for ((pixel, keep), add) in row.iter_mut().zip(keep).zip(add) {
                *pixel = byte(mul_255(u16::from(*pixel), u16::from(*keep)) + u16::from(*add));
            }
        }
        for plane in [u, v] {
            let rows =
                plane.chunks_exact_mut(index(width / 2)).skip(index(y / 2)).take(index(h / 2));
            for (row, keep) in rows.zip(self.keep_chroma.chunks_exact(index(self.width / 2))) {
                let row = row.get_mut(index(x / 2)..index((x + w) / 2)).unwrap_or_default();
                for (pixel, keep) in row.iter_mut().zip(keep) {
                    let keep = u16::from(*keep);
                    let neutral = mul_255(128, 255 - keep);
                    *pixel = byte(mul_255(u16::from(*pixel), keep) + neutral);
                }
            }
        }
    }
}

/// Copies the rows of a part to where it begins in the rows of the whole.
fn paste(whole: &mut [u8], width: u32, part: &[u8], left: u32, part_width: u32) {
    let rows = whole.chunks_exact_mut(index(width)).zip(part.chunks_exact(index(part_width)));
    for (row, part) in rows {
        if let Some(place) = row.get_mut(index(left)..index(left + part_width)) {
            place.copy_from_slice(part);
        }
    }
}

/// From where to where two lines of ASCII differ, in the font's units, where all that is behind
/// stays in its place; `None` where it does not.
fn changed(from: &str, to: &str) -> Result<Option<(u32, u32)>, PictureError> {
    let same = |(a, b): &(u8, u8)| a == b;
    let head = from.bytes().zip(to.bytes()).take_while(same).count();
    let tail = from.bytes().rev().zip(to.bytes().rev()).take_while(same).count();
    let tail = tail.min(from.len().min(to.len()) - head);
    let middle = |text: &str| text.get(head..text.len() - tail).map(Font::units).transpose();
    let (Some(before), Some(old), Some(new)) =
        (to.get(..head).map(Font::units).transpose()?, middle(from)?, middle(to)?)
    else {
        return Ok(None);
    };
    Ok((old == new).then_some((before, before + new)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &Mask, b: &Mask) -> bool {
        (a.width, a.height) == (b.width, b.height)
            && (&a.keep, &a.add, &a.keep_chroma) == (&b.keep, &b.add, &b.keep_chroma)
    }

    #[test]
    fn what_is_changed_is_as_if_it_were_rendered() {
        for cap_height in [7.5, 8.0, 11.25, 15.0, 22.5, 45.0] {
            let render =
                |text: &str| Mask::render(&[text.to_owned()], cap_height, Style::Boxed).unwrap();
            let mut text = "van-12  2026-11-21T14:03:22.0Z  87 km/h".to_owned();
            let mut mask = render(&text);
            let mut changed = 0;
            for (next, fits) in [
                ("van-12  2026-11-21T14:03:22.1Z  87 km/h", true),
                ("van-12  2026-11-21T14:03:22.9Z  87 km/h", true),
                ("van-12  2026-11-21T14:03:23.0Z  87 km/h", true),
                ("van-12  2026-11-21T14:04:00.0Z  88 km/h", true),
                ("van-12  2026-12-31T23:59:59.9Z  11 km/h", true),
                ("van-12  2027-01-01T00:00:00.0Z  11 km/h", true),
                ("van-12  2027-01-01T00:00:00.1Z  9 km/h", false),
                ("van-12  2027-01-01T00:00:00.2Z  speed unknown", false),
                ("van-12  2027-01-01T00:00:00.3Z  speed unknown", true),
                ("Xan-12  2027-01-01T00:00:00.3Z  speed unknowm", false),
            ] {
                let done = mask.change(&text, next, cap_height).unwrap();
                let whole = render(next);
                if done {
                    changed += 1;
                    assert!(same(&mask, &whole), "{cap_height}: {next}");
                } else {
                    mask = whole;
                }
                assert!(done || !fits, "{cap_height}: {next}");
                next.clone_into(&mut text);
            }
            assert!(changed >= 7);
        }
    }

    #[test]
    fn any_change_is_harmless() {
        let lines = ["", "1", "11", "1111", "WW", "iiiiii", "2 1", "1 2"];
        for from in lines {
            for to in lines {
                let line = |text: &str| [text.to_owned()];
                let mut mask = Mask::render(&line(from), 9.0, Style::Boxed).unwrap();
                if mask.change(from, to, 9.0).unwrap() {
                    let whole = Mask::render(&line(to), 9.0, Style::Boxed).unwrap();
                    assert!(same(&mask, &whole), "`{from}` to `{to}`");
                }
            }
        }
    }
}
