//! What is done to a filmed clip before and by the site: cropped, mirrored, quicker or slower, with a
//! caption and stickers, the visible mark wiped, and coded again at 480p.

use std::f32::consts::TAU;

use anyhow::{Context, Result};
use temoin_media::frame::I420Picture;

use super::{
    Severity,
    clip::{Clip, Coder, Coding, Frames},
    light::{even, floor, index, level, narrow, whole},
    random::Random,
};

/// A part of a picture, in parts of its sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl Part {
    /// All of it.
    pub const WHOLE: Self = Self { x: 0.0, y: 0.0, w: 1.0, h: 1.0 };
}

/// A round face, or a heart of a colour: something opaque that covers a part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sticker {
    /// Its middle, parts of the picture's sides.
    pub middle: [f32; 2],
    /// Its diameter, parts of the picture's height.
    pub size: f32,
    /// How far it swings about its middle, parts of the picture's height.
    pub swing: f32,
}

/// What is done to a clip before it is uploaded, and how the site codes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// What is left of the picture.
    pub kept: Part,
    /// Left and right changed.
    pub mirror: bool,
    /// 1.05 plays in less time.
    pub speed: f64,
    /// Words over the picture: the line's upper edge and the seed of its letters.
    pub caption: Option<(f32, u64)>,
    /// Stuck on.
    pub stickers: Vec<Sticker>,
    /// Wiped so that nothing can be read.
    pub wiped: Vec<Part>,
    /// The site's coder.
    pub coding: Coding,
}

impl Edit {
    /// The site alone.
    pub const fn none(kbit: u32) -> Self {
        Self {
            kept: Part::WHOLE,
            mirror: false,
            speed: 1.0,
            caption: None,
            stickers: Vec::new(),
            wiped: Vec::new(),
            coding: Coding::site(kbit),
        }
    }

    /// One way of editing of this severity. Half of the seeds are mirrored: the odd ones. Speed ±5 %,
    /// caption, sticker, wiped mark and 600 to 900 kbit/s are those of the prototype; how much of each at which
    /// severity is own choice.
    pub fn draw(severity: Severity, seed: u64) -> Self {
        let mut random = Random::of(seed, "site");
        let random = &mut random;
        let (cut, faster, stickers, wiped, kbit) = match severity {
            Severity::SiteOnly => {
                return Self::none(whole(f64::from(random.within([600.0, 900.0]))));
            }
            Severity::Mild => ([0.0, 0.02], 0.02, random.below(2), 1, [800.0, 900.0]),
            Severity::Medium => ([0.01, 0.05], 0.04, 1, 1, [700.0, 900.0]),
            Severity::Hard => ([0.02, 0.08], 0.05, 1 + random.below(2), 1, [600.0, 750.0]),
            Severity::Extreme => ([0.04, 0.12], 0.05, 2, 2, [600.0, 650.0]),
        };
        let [left, right, top, bottom] = [0; 4].map(|_| random.within(cut));
        let caption = random.chance(0.75).then(|| {
            let upper = random.chance(0.5);
            (if upper { 0.06 } else { 0.82 } + 0.05 * random.part(), random.bits())
        });
        Self {
            kept: Part { x: left, y: top, w: 1.0 - left - right, h: 1.0 - top - bottom },
            mirror: !seed.is_multiple_of(2),
            speed: 1.0 + f64::from(random.signed([0.0, faster])),
            caption,
            stickers: (0..stickers).map(|_| Sticker::draw(random)).collect(),
            wiped: (0..wiped).map(|_| wiped_part(random)).collect(),
            coding: Coding::site(whole(f64::from(random.within(kbit)))),
        }
    }

    /// Everything but the coding, on one picture at this time of the edited clip.
    ///
    /// # Errors
    /// Where the size is that of no picture.
    pub fn picture(&self, from: &I420Picture, at_s: f64) -> Result<I420Picture> {
        let mut picture = cropped(from, self.kept)?;
        if self.mirror {
            mirror(&mut picture);
        }
        for part in &self.wiped {
            wipe(&mut picture, *part);
        }
        for sticker in &self.stickers {
            sticker.stick(&mut picture, at_s);
        }
        if let Some((top, seed)) = self.caption {
            caption(&mut picture, top, seed);
        }
        Ok(picture)
    }

    /// What the site's player shows of pictures that come at a steady rate.
    ///
    /// # Errors
    /// Where there is no ffmpeg, and those of `frames`.
    pub fn upload(
        &self,
        fps: f64,
        mut frames: impl FnMut() -> Result<Option<I420Picture>>,
    ) -> Result<Clip> {
        let mut now = frames()?.context("there is nothing to upload")?;
        let first = self.picture(&now, 0.0)?;
        let mut coder = Coder::start((first.width(), first.height()), fps, &self.coding)?;
        // Editors keep the rate of pictures: the picture nearest in time is shown.
        let (mut have, mut n) = (0.0_f64, 0_u32);
        'pictures: loop {
            let wanted = (f64::from(n) * self.speed).round();
            while have < wanted {
                match frames()? {
                    Some(next) => now = next,
                    None => break 'pictures,
                }
                have += 1.0;
            }
            coder.push(&self.picture(&now, f64::from(n) / fps)?)?;
            n += 1;
        }
        Clip::read(coder.finish()?.path())
    }

    /// Of a whole clip; its pictures are taken to come at a steady rate, the mean of its own.
    ///
    /// # Errors
    /// Those of [`Self::upload`].
    pub fn upload_clip(&self, clip: &Clip) -> Result<Clip> {
        let fps = clip.mean_fps();
        let (mut n, end_s) = (0_u32, clip.end_s());
        self.upload(fps, || {
            let at_s = (f64::from(n) + 0.5) / fps;
            n += 1;
            Ok(if at_s < end_s { clip.shown_at(at_s).cloned() } else { None })
        })
    }

    /// Of a coded file.
    ///
    /// # Errors
    /// Those of [`Self::upload`].
    pub(super) fn upload_file(&self, path: &std::path::Path, fps: f64) -> Result<Clip> {
        let (mut frames, _) = Frames::open(path)?;
        self.upload(fps, || frames.next_picture())
    }
}

/// The planes of a picture with their widths, rows packed.
pub(super) fn planes(picture: &I420Picture) -> [(usize, &[u8]); 3] {
    let width = index(picture.width());
    let (luma, chroma) = picture.data().split_at(width * index(picture.height()));
    let (blue, red) = chroma.split_at(chroma.len() / 2);
    [(width, luma), (width / 2, blue), (width / 2, red)]
}

/// A part of a picture, with even sides.
///
/// # Errors
/// Where nothing is left.
pub(super) fn cropped(picture: &I420Picture, part: Part) -> Result<I420Picture> {
    let (width, height) = (picture.width(), picture.height());
    let side = |part: f32, of: u32| even(f64::from(part) * f64::from(of)).min(of);
    let start = |part: f32, of: u32, side: u32| {
        (whole(f64::from(part) * f64::from(of) / 2.0) * 2).min(of - side)
    };
    let (w, h) = (side(part.w, width), side(part.h, height));
    let (x, y) = (start(part.x, width, w), start(part.y, height, h));
    let mut data = Vec::with_capacity(index(w) * index(h) * 3 / 2);
    for (n, (stride, plane)) in planes(picture).into_iter().enumerate() {
        let of = |side: u32| index(side) >> n.min(1);
        for row in plane.chunks_exact(stride).skip(of(y)).take(of(h)) {
            data.extend_from_slice(row.get(of(x)..of(x) + of(w)).context("a part lies outside")?);
        }
    }
    Ok(I420Picture::from_vec(w, h, data)?)
}

/// Left and right changed.
pub(super) fn mirror(picture: &mut I420Picture) {
    let width = index(picture.width());
    let planes = picture.planes_mut();
    planes.y.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    planes.u.chunks_exact_mut(width / 2).for_each(<[u8]>::reverse);
    planes.v.chunks_exact_mut(width / 2).for_each(<[u8]>::reverse);
}

/// Sets pixels: `colour` gives Y, U and V and how much of them, at a place in parts of the sides.
pub(super) fn paint(
    picture: &mut I420Picture,
    area: Part,
    colour: impl Fn(f32, f32) -> Option<[u8; 3]>,
) {
    let (width, height) = (index(picture.width()), index(picture.height()));
    let planes = picture.planes_mut();
    let each: [(&mut [u8], usize, usize); 3] =
        [(planes.y, 0, 1), (planes.u, 1, 2), (planes.v, 2, 2)];
    for (plane, k, step) in each {
        let (width, height) = (width / step, height / step);
        let range = |from: f32, length: f32, of: usize| {
            let (from, to) = ((from * of as f32).max(0.0), ((from + length) * of as f32).max(0.0));
            floor(from).min(of)..(floor(to) + 1).min(of)
        };
        let columns = range(area.x, area.w, width);
        for y in range(area.y, area.h, height) {
            let row = plane.get_mut(y * width..(y + 1) * width).unwrap_or_default();
            let v = (y as f32 + 0.5) / height as f32;
            for (x, to) in row.iter_mut().enumerate().take(columns.end).skip(columns.start) {
                let u = (x as f32 + 0.5) / width as f32;
                if let Some(new) = colour(u, v).and_then(|yuv| yuv.get(k).copied()) {
                    *to = new;
                }
            }
        }
    }
}

impl Sticker {
    fn draw(random: &mut Random) -> Self {
        Self {
            middle: [random.within([0.12, 0.88]), random.within([0.15, 0.85])],
            size: random.within([0.12, 0.25]),
            swing: random.within([0.0, 0.02]),
        }
    }

    /// Yellow, with eyes and a mouth.
    fn stick(self, picture: &mut I420Picture, at_s: f64) {
        let shape = picture.width() as f32 / picture.height() as f32;
        let [x, y] = self.middle;
        let turn = TAU * narrow(at_s.fract());
        let y = y + self.swing * turn.sin();
        let (w, h) = (self.size / shape, self.size);
        let area = Part { x: x - w / 2.0, y: y - h / 2.0, w, h };
        paint(picture, area, |u, v| {
            let (dx, dy) = ((u - x) / w * 2.0, (v - y) / h * 2.0);
            let eye = (dx.abs() - 0.35).hypot((dy + 0.25) * 0.7) < 0.14;
            let mouth = dy > 0.15 && (0.45..0.6).contains(&dx.hypot(dy));
            let inside = dx.hypot(dy) < 1.0;
            inside.then_some(if eye || mouth { [40, 120, 138] } else { [205, 40, 150] })
        });
    }
}

/// Where someone wipes the visible mark away: a line of text, anywhere.
fn wiped_part(random: &mut Random) -> Part {
    let (w, h) = (random.within([0.25, 0.4]), random.within([0.05, 0.09]));
    Part { x: random.within([0.0, 1.0 - w]), y: random.within([0.0, 1.0 - h]), w, h }
}

/// Each block of a twentieth of the height becomes its mean: the common 'censor' filter.
fn wipe(picture: &mut I420Picture, part: Part) {
    let block = (index(picture.height()) / 20).max(4);
    let (full_width, full_height) = (index(picture.width()), index(picture.height()));
    let planes = picture.planes_mut();
    for (plane, step) in [(planes.y, 1), (planes.u, 2), (planes.v, 2)] {
        let (width, height, block) = (full_width / step, full_height / step, block / step);
        let range = |from: f32, length: f32, of: usize| {
            floor(from * of as f32).min(of)..floor((from + length) * of as f32).min(of)
        };
        for top in range(part.y, part.h, height).step_by(block) {
            for left in range(part.x, part.w, width).step_by(block) {
                let columns = left..(left + block).min(width);
                let rows = || top..(top + block).min(height);
                let row = |y: usize| y * width + columns.start..y * width + columns.end;
                let (mut sum, mut n) = (0.0_f32, 0.0_f32);
                for y in rows() {
                    for pixel in plane.get(row(y)).unwrap_or_default() {
                        sum += f32::from(*pixel);
                        n += 1.0;
                    }
                }
                for y in rows() {
                    plane.get_mut(row(y)).unwrap_or_default().fill(level(sum / n.max(1.0)));
                }
            }
        }
    }
}

/// White letters with a dark edge, a line across most of the width. What it says does not matter:
/// each letter is a pattern of 3 x 5 strokes of chance.
fn caption(picture: &mut I420Picture, top: f32, seed: u64) {
    let shape = picture.width() as f32 / picture.height() as f32;
    let letter_h = 0.07;
    let letter_w = letter_h * 0.7 / shape;
    let left = 0.1;
    let mut random = Random::of(seed, "letters");
    let line: Vec<u64> = (0..64).map(|_| random.bits()).collect();
    let letters = |u: f32, v: f32| {
        let across = (u - left) / letter_w;
        let (n, x, y) = (across.floor(), across.fract() / 0.8, (v - top) / letter_h);
        let inside = (0.0..1.0).contains(&x) && (0.0..1.0).contains(&y) && across >= 0.0;
        let bits = line.get(floor(n.max(0.0))).copied().unwrap_or(0);
        let gap = bits >> 60 < 3;
        let cell = floor(x * 3.0) + 3 * floor(y * 5.0);
        inside && !gap && u < 0.9 && (bits >> cell) & 1 == 1
    };
    let edge = 0.006;
    let area = Part { x: left - 0.01, y: top - 0.01, w: 0.82, h: letter_h + 0.02 };
    paint(picture, area, |u, v| {
        if letters(u, v) {
            return Some([235, 128, 128]);
        }
        let near = [(-edge, 0.0), (edge, 0.0), (0.0, -edge), (0.0, edge)];
        near.iter().any(|(du, dv)| letters(u + du / shape, v + dv)).then_some([20, 128, 128])
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::test_clips::street;

    #[test]
    fn mirrored_really_mirrors() {
        let clip = street(64, 32, 1, 25.0);
        let before = &clip.pictures[0].1;
        let mut after = before.clone();
        mirror(&mut after);
        for (y, x) in [(0, 0), (7, 13), (31, 40)] {
            assert_eq!(after.view().luma()[y * 64 + x], before.view().luma()[y * 64 + 63 - x]);
        }
        assert_ne!(&after, before);
        mirror(&mut after);
        assert_eq!(&after, before);
    }

    #[test]
    fn half_of_the_seeds_are_mirrored() {
        let mirrored = (0..40).filter(|seed| Edit::draw(Severity::Medium, *seed).mirror).count();
        assert_eq!(mirrored, 20);
        assert_eq!(Edit::draw(Severity::SiteOnly, 1).kept, Part::WHOLE);
    }

    #[test]
    fn a_crop_keeps_the_part_and_even_sides() {
        let clip = street(64, 32, 1, 25.0);
        let before = &clip.pictures[0].1;
        let part = Part { x: 0.25, y: 0.5, w: 0.27, h: 0.4 };
        let after = cropped(before, part).unwrap();
        assert_eq!((after.width(), after.height()), (18, 12));
        assert_eq!(after.view().luma()[..18], before.view().luma()[16 * 64 + 16..16 * 64 + 34]);
        let outside = Part { x: 2.0, y: 2.0, w: 0.1, h: 0.0 };
        assert_eq!(cropped(before, outside).unwrap().width(), 6);
    }

    #[test]
    fn what_is_stuck_on_covers_its_part_and_nothing_else() {
        let clip = street(160, 90, 1, 25.0);
        let before = &clip.pictures[0].1;
        let changed = |edit: Edit| {
            let after = edit.picture(before, 0.3).unwrap();
            let pairs = before.view().luma().iter().zip(after.view().luma());
            pairs.filter(|(a, b)| a != b).count() as f32 / (160.0 * 90.0)
        };
        let none = || Edit::none(700);
        let sticker = Sticker { middle: [0.5, 0.5], size: 0.5, swing: 0.0 };
        // A circle with half of the height: pi / 16 of a square picture.
        let covered = changed(Edit { stickers: vec![sticker], ..none() });
        assert!((covered - 0.196 * 9.0 / 16.0).abs() < 0.02, "{covered}");
        let part = Part { x: 0.1, y: 0.1, w: 0.3, h: 0.2 };
        let wiped = changed(Edit { wiped: vec![part], ..none() });
        assert!((0.03..0.09).contains(&wiped), "{wiped}");
        let written = changed(Edit { caption: Some((0.8, 5)), ..none() });
        assert!((0.01..0.09).contains(&written), "{written}");
        assert!(changed(none()) < 1e-9);
    }

    #[test]
    fn speed_changes_the_length_and_not_the_rate() {
        let clip = street(64, 48, 40, 20.0);
        for (speed, want) in [(1.05, 39), (0.95, 43), (1.0, 40)] {
            let edit = Edit { speed, ..Edit::none(700) };
            let leak = edit.upload_clip(&clip).unwrap();
            leak.check().unwrap();
            assert!(leak.pictures.len().abs_diff(want) <= 1, "{speed}: {}", leak.pictures.len());
            assert!((leak.mean_fps() - 20.0).abs() < 0.05);
        }
    }
}
