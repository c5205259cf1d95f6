//! Text in the picture: the unit's own line (unit, UTC, speed), and the mark of a viewing, which
//! moves and names the viewer.
//!
//! Text is drawn once into a small mask (`text_mask.rs`) and then only blended, as long as it
//! stays the same; where only some characters change, only those are drawn again.
//!
//! INVARIANT: text is readable on any background: light glyphs on a dark box or with a dark edge,
//! and no colour underneath. Characters that the font lacks are drawn as their base letter or `?`.

use std::{ops::Range, time::Duration};

use temoin_proto::{ids::ViewId, perception::PictureBox, time::WallTime};

use crate::{
    frame::{I420Picture, PictureError},
    text_mask::{Mask, Style},
};

/// Longest text of one line, characters; the rest is cut off.
const MAX_CHARS: usize = 80;
/// How long a [`ViewMark`] stays in one place: short enough that no cut of a few seconds is
/// without one in another place, long enough to be read from a filmed screen.
const MARK_STAY: Duration = Duration::from_secs(3);

/// Text in the font's own characters: ASCII, with the common Latin letters reduced to it.
pub(crate) fn printable(text: &str) -> String {
    let base = |c: char| match c {
        ' '..='~' => c,
        'À'..='Å' | 'Ā' | 'Ă' | 'Ą' => 'A',
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'Ç' | 'Ć' | 'Č' => 'C',
        'ç' | 'ć' | 'č' => 'c',
        'È'..='Ë' | 'Ē' | 'Ę' | 'Ě' => 'E',
        'è'..='ë' | 'ē' | 'ę' | 'ě' => 'e',
        'Ì'..='Ï' | 'İ' => 'I',
        'ì'..='ï' | 'ı' => 'i',
        'Ł' => 'L',
        'ł' => 'l',
        'Ñ' | 'Ń' | 'Ň' => 'N',
        'ñ' | 'ń' | 'ň' => 'n',
        'Ò'..='Ö' | 'Ø' | 'Ő' => 'O',
        'ò'..='ö' | 'ø' | 'ő' => 'o',
        'Ř' => 'R',
        'ř' => 'r',
        'Ś' | 'Š' | 'Ş' => 'S',
        'ś' | 'š' | 'ş' | 'ß' => 's',
        'Ù'..='Ü' | 'Ů' | 'Ű' => 'U',
        'ù'..='ü' | 'ů' | 'ű' => 'u',
        'Ý' => 'Y',
        'ý' | 'ÿ' => 'y',
        'Ź' | 'Ż' | 'Ž' => 'Z',
        'ź' | 'ż' | 'ž' => 'z',
        _ => '?',
    };
    text.chars().take(MAX_CHARS).map(base).collect()
}

/// A line of text on a dark box at the bottom left: the unit's own. Keeps what it drew last, so
/// it costs little while the text stays the same. One for each camera.
#[derive(Default)]
pub struct Label {
    drawn: Option<Drawn>,
}

/// What was drawn last.
struct Drawn {
    text: String,
    line: String,
    /// Of the picture.
    height: u32,
    mask: Mask,
}

impl Label {
    /// Draws `text`, of at most 80 characters.
    ///
    /// # Errors
    /// [`PictureError::OpenCv`].
    pub fn draw(&mut self, picture: &mut I420Picture, text: &str) -> Result<(), PictureError> {
        let height = picture.height();
        let cap_height = (f64::from(height) / 48.0).max(8.0);
        match &mut self.drawn {
            Some(drawn) if drawn.height == height => {
                if drawn.text != text {
                    let line = printable(text);
                    if !drawn.mask.change(&drawn.line, &line, cap_height)? {
                        drawn.mask = boxed(&line, cap_height)?;
                    }
                    drawn.line = line;
                    text.clone_into(&mut drawn.text);
                }
            }
            drawn => {
                let line = printable(text);
                let mask = boxed(&line, cap_height)?;
                *drawn = Some(Drawn { text: text.to_owned(), line, height, mask });
            }
        }
        if let Some(Drawn { mask, .. }) = &self.drawn {
            mask.blend(picture, 0, height.saturating_sub(mask.height));
        }
        Ok(())
    }
}

fn boxed(line: &str, cap_height: f64) -> Result<Mask, PictureError> {
    Mask::render(&[line.to_owned()], cap_height, Style::Boxed)
}

/// Places that are tried for a mark to keep clear of what must be seen.
const PLACES: u64 = 12;

/// The visible mark of one viewing: who, when, and the view's id. Its place is a pure function of
/// the view, of the media time and of what must be seen.
pub struct ViewMark {
    seed: u64,
    size: (u32, u32),
    mask: Mask,
}

impl ViewMark {
    /// The mark of view `view` by `viewer` (a short name) that began at `began`, for pictures of
    /// this size.
    ///
    /// # Errors
    /// [`PictureError::OpenCv`].
    pub fn new(
        view: &ViewId,
        viewer: &str,
        began: WallTime,
        width: u32,
        height: u32,
    ) -> Result<Self, PictureError> {
        let id = view.to_string();
        let time = began.to_rfc3339();
        // To the second; the id in two lines would be too large, and its first part is the time.
        let time = time.get(..19).map_or(time.clone(), |t| format!("{t}Z"));
        let tail = id.get(id.len().saturating_sub(17)..).unwrap_or(&id);
        let viewer: String = viewer.chars().take(20).collect();
        let lines = [printable(&viewer), printable(&time), printable(&format!("view {tail}"))];
        let mut cap_height = (f64::from(height) / 32.0).max(9.0);
        let mut mask = Mask::render(&lines, cap_height, Style::Edged)?;
        let widest = f64::from(width) * 0.45;
        if f64::from(mask.width) > widest {
            cap_height = (cap_height * widest / f64::from(mask.width)).max(6.0);
            mask = Mask::render(&lines, cap_height, Style::Edged)?;
        }
        let seed = view.as_bytes().iter().fold(0, |seed, b| mix(seed ^ u64::from(*b)));
        Ok(Self { seed, size: (width, height), mask })
    }

    /// Width and height of the mark, pixels.
    pub const fn size(&self) -> (u32, u32) {
        (self.mask.width, self.mask.height)
    }

    /// Draws the mark where it is at `media_time`. `clear` is what must be seen during
    /// [`ViewMark::stay`].
    pub fn draw(&self, picture: &mut I420Picture, media_time: Duration, clear: &[PictureBox]) {
        let (x, y) = self.place(media_time, clear);
        self.mask.blend(picture, x, y);
    }

    /// From when to when the mark is where it is at `media_time`.
    pub fn stay(media_time: Duration) -> Range<Duration> {
        let step =
            u32::try_from(media_time.as_millis() / MARK_STAY.as_millis()).unwrap_or(u32::MAX);
        let from = MARK_STAY.saturating_mul(step);
        from..from.saturating_add(MARK_STAY)
    }

    /// Top left corner of the mark at `media_time`, pixels.
    ///
    /// It is in the upper and in the lower part of the picture by turns, so that it always moves,
    /// anywhere between left and right; never in the middle, where what matters happens, and not
    /// on the unit's own line. Some places are tried, and the first is taken that is clear of what must
    /// be seen, on the other side where there is none on this one; where none is, the clearest.
    pub fn place(&self, media_time: Duration, clear: &[PictureBox]) -> (u32, u32) {
        let step = u64::try_from(media_time.as_millis() / MARK_STAY.as_millis()).unwrap_or(0);
        let mut best = (f32::INFINITY, (0, 0));
        for attempt in 0..PLACES {
            let place = self.candidate(step, attempt);
            let hidden = clear.iter().map(|must| self.covers(place, must)).sum::<f32>();
            if hidden < best.0 {
                best = (hidden, place);
            }
            if hidden <= 0.0 {
                break;
            }
        }
        best.1
    }

    /// How much of this it covers at this place, part of the picture.
    #[expect(clippy::cast_precision_loss, reason = "places in a picture")]
    fn covers(&self, (x, y): (u32, u32), must: &PictureBox) -> f32 {
        let (width, height) = (self.size.0.max(1) as f32, self.size.1.max(1) as f32);
        let both = |from: u32, len: u32, all: f32, a: f32, b: f32| {
            let (from, to) = (from as f32 / all, (from + len) as f32 / all);
            (to.min(b) - from.max(a)).max(0.0)
        };
        both(x, self.mask.width, width, must.x, must.x + must.w)
            * both(y, self.mask.height, height, must.y, must.y + must.h)
    }

    /// Anywhere at first; then, little being free, in the corners.
    fn candidate(&self, step: u64, attempt: u64) -> (u32, u32) {
        let (width, height) = self.size;
        let random = mix(self.seed ^ mix(step) ^ attempt.wrapping_mul(0xa076_1d64_78bd_642f));
        // First all on the side whose turn it is.
        let corner = attempt.checked_sub(PLACES - 4);
        let own_side = corner.map_or(attempt < PLACES / 2, |corner| corner < 2);
        let upper = ((step ^ self.seed) & 1 == 0) == own_side;
        let room_x = u64::from(width.saturating_sub(self.mask.width));
        let (edge, band) = (height / 24, height / 16);
        let room_y = u64::from(band);
        let pick = |random: u64, room: u64| u32::try_from(random % (room + 1)).unwrap_or(0);
        let x = match corner {
            None => pick(random & 0xffff_ffff, room_x),
            Some(corner) => pick(if (corner ^ random) & 1 == 0 { 0 } else { room_x }, room_x),
        };
        let dy = pick(random >> 32, room_y);
        let y = if upper {
            edge + dy
        } else {
            height.saturating_sub(edge * 3 / 2 + self.mask.height + dy)
        };
        (x & !1, y & !1)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): spreads every bit over all.
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_pictures::moving;

    fn flat(luma: u8) -> I420Picture {
        let mut picture = I420Picture::black(1280, 720).unwrap();
        let planes = picture.planes_mut();
        planes.y.fill(luma);
        planes.u.fill(90);
        picture
    }

    /// Darkest and brightest luma in a part of the picture.
    fn range(picture: &I420Picture, x: usize, y: usize, w: usize, h: usize) -> (u8, u8) {
        let width = picture.width() as usize;
        let rows = picture.view().luma().chunks_exact(width).skip(y).take(h);
        let part: Vec<u8> = rows.flat_map(|r| r[x..x + w].to_vec()).collect();
        (*part.iter().min().unwrap(), *part.iter().max().unwrap())
    }

    fn mark() -> ViewMark {
        let view = ViewId::from_bytes([7; 16]);
        let began = WallTime { unix_ms: 1_533_226_488_299, uncertainty_ms: 5 };
        ViewMark::new(&view, "Álvaro M.", began, 1280, 720).unwrap()
    }

    #[test]
    fn text_is_readable_on_anything() {
        for luma in [0, 60, 128, 200, 255] {
            let mut picture = flat(luma);
            Label::default().draw(&mut picture, "van-12 2026-11-21T14:03:22Z 87 km/h").unwrap();
            let (dark, light) = range(&picture, 0, 690, 300, 28);
            assert!(light - dark > 100, "label on {luma}: {dark} to {light}");

            let mark = mark();
            let mut picture = flat(luma);
            mark.draw(&mut picture, Duration::ZERO, &[]);
            let (x, y) = mark.place(Duration::ZERO, &[]);
            let (dark, light) = range(&picture, x as usize, y as usize, 300, 60);
            assert!(light - dark > 80, "mark on {luma}: {dark} to {light}");
        }
    }

    #[test]
    fn only_the_text_changes_the_picture() {
        let sharp = moving(1280, 720, 1);
        let mut picture = sharp.clone();
        let mut label = Label::default();
        label.draw(&mut picture, "van-12").unwrap();
        let untouched = 1280 * 660;
        assert_eq!(picture.data()[..untouched], sharp.data()[..untouched]);
        let once = picture.clone();
        let mut again = sharp.clone();
        label.draw(&mut again, "van-12").unwrap();
        assert_eq!(again, once, "the kept mask draws the same");
        let mut other = sharp.clone();
        label.draw(&mut other, "van-13").unwrap();
        assert_ne!(other, once);
    }

    #[test]
    fn the_mark_moves_and_keeps_out_of_the_middle() {
        let mark = mark();
        let (w, h) = (mark.mask.width, mark.mask.height);
        let mut places = Vec::new();
        for s in 0..600 {
            let (x, y) = mark.place(Duration::from_secs(s), &[]);
            assert!(x + w <= 1280 && y + h <= 720 - 26, "({x}, {y}) + {w}x{h}");
            let middle = y < 720 * 65 / 100 && y + h > 720 * 35 / 100;
            assert!(!middle, "({x}, {y}) + {w}x{h}");
            places.push((x, y));
        }
        assert_eq!(places[0], places[2], "it stays long enough to be read");
        for pair in places.chunks(3).collect::<Vec<_>>().windows(2) {
            let ((_, y0), (_, y1)) = (pair[0][0], pair[1][0]);
            assert!(y0.abs_diff(y1) > 200, "it moves far each time");
        }
        places.sort_unstable();
        places.dedup();
        assert!(places.len() > 150, "few places: {}", places.len());
        assert_eq!(
            mark.place(Duration::from_secs(9), &[]),
            super::tests::mark().place(Duration::from_secs(9), &[])
        );
    }

    #[test]
    fn the_mark_keeps_clear_of_what_must_be_seen() {
        let mark = mark();
        let face = PictureBox { x: 0.35, y: 0.02, w: 0.3, h: 0.5 };
        let road = PictureBox { x: 0.35, y: 0.3, w: 0.3, h: 0.45 };
        let wall = PictureBox { x: 0.0, y: 0.0, w: 1.0, h: 0.3 };
        let slim = |must: PictureBox| PictureBox { x: 0.46, w: 0.08, ..must };
        for clear in [vec![face], vec![road], vec![slim(face), slim(road)], vec![wall]] {
            let mut covered = 0;
            for s in 0..600 {
                let at = Duration::from_secs(s);
                let place = mark.place(at, &clear);
                assert!(ViewMark::stay(at).contains(&at));
                assert_eq!(place, mark.place(ViewMark::stay(at).start, &clear), "it stays");
                covered += u32::from(clear.iter().any(|must| mark.covers(place, must) > 0.0));
            }
            assert_eq!(covered, 0, "{clear:?}");
        }
        let narrow: Vec<_> =
            (0..600).map(|s| mark.place(Duration::from_secs(s), &[slim(face)])).collect();
        assert!(narrow.iter().any(|(_, y)| *y < 200), "beside the face, too");
        // Where all must be seen, it is there all the same.
        let all = [PictureBox { x: 0.0, y: 0.0, w: 1.0, h: 1.0 }];
        let (x, y) = mark.place(Duration::ZERO, &all);
        assert!(x + mark.mask.width <= 1280 && y + mark.mask.height <= 720);
    }

    #[test]
    fn marks_of_two_views_differ() {
        let began = WallTime { unix_ms: 0, uncertainty_ms: 0 };
        let at = |n| {
            let mark = ViewMark::new(&ViewId::from_bytes([n; 16]), "a", began, 640, 360).unwrap();
            (0..10).map(|s| mark.place(Duration::from_secs(3 * s), &[])).collect::<Vec<_>>()
        };
        assert_ne!(at(1), at(2));
    }

    #[test]
    fn any_text_and_size_is_harmless() {
        assert_eq!(printable("Zoë Łukasz 东 \n"), "Zoe Lukasz ? ?");
        for (width, height) in [(2, 2), (16, 16), (320, 240), (2, 720), (1920, 1088)] {
            let mut picture = I420Picture::black(width, height).unwrap();
            for text in ["", "x", "\u{202e}evil\0", &"W".repeat(500)] {
                Label::default().draw(&mut picture, text).unwrap();
                let began = WallTime { unix_ms: i64::MAX, uncertainty_ms: 0 };
                let view = ViewId::new();
                let mark = ViewMark::new(&view, text, began, width, height).unwrap();
                let (nowhere, all) = (f32::NAN, PictureBox { x: 0.0, y: 0.0, w: 1.0, h: 1.0 });
                mark.draw(&mut picture, Duration::MAX, &[PictureBox { x: nowhere, ..all }, all]);
            }
        }
    }
}
