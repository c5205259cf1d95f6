//! Sheets of A4 that are written from the top down; what does not fit any more goes on the next one.
//!
//! Units are points, 1/72 inch; heights are counted from the foot of the sheet, as PDF does.

use pdf_writer::{Content, Name, Str};

use super::helvetica::{Font, encode, wrap};

/// A4.
pub(super) const WIDTH: f32 = 595.0;
pub(super) const HEIGHT: f32 = 842.0;
/// The left edge of what is written, and its width.
pub(super) const LEFT: f32 = 54.0;
pub(super) const MEASURE: f32 = WIDTH - 2.0 * LEFT;
const TOP: f32 = HEIGHT - 56.0;
pub(super) const FOOT: f32 = 62.0;
/// Where the number of the page stands.
const FOLIO: f32 = 36.0;
/// What a sheet holds.
pub(super) const FIELD: f32 = TOP - FOOT;

/// A colour: red, green and blue.
pub(super) type Ink = [f32; 3];
pub(super) const INK: Ink = [0.063, 0.125, 0.165];
pub(super) const GREY: Ink = [0.29, 0.353, 0.392];
pub(super) const RULE: Ink = [0.859, 0.886, 0.902];
pub(super) const DARK_RULE: Ink = [0.541, 0.6, 0.639];

/// How a text is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) font: Font,
    pub(super) size: f32,
    pub(super) leading: f32,
    pub(super) ink: Ink,
}

/// A text in lines, ready to be set.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    pub(super) style: Style,
    pub(super) lines: Vec<Vec<u8>>,
}

impl Lines {
    pub(super) fn height(&self) -> f32 {
        self.lines.iter().map(|_| self.style.leading).sum()
    }
}

/// A sheet that is written: its drawing, and the pictures on it.
pub(super) struct Sheet {
    pub(super) content: Content,
    pub(super) pictures: Vec<usize>,
}

impl Sheet {
    fn new() -> Self {
        Self { content: Content::new(), pictures: Vec::new() }
    }
}

/// The sheets.
pub(super) struct Paper {
    full: Vec<Sheet>,
    sheet: Sheet,
    /// The lower edge of what is written.
    y: f32,
    /// Some letter was not in the fonts.
    pub(super) lost: bool,
}

impl Paper {
    pub(super) fn new() -> Self {
        Self { full: Vec::new(), sheet: Sheet::new(), y: TOP, lost: false }
    }

    pub(super) fn y(&self) -> f32 {
        self.y
    }

    pub(super) fn on_sheet(&mut self) -> &mut Sheet {
        &mut self.sheet
    }

    /// Goes to the next sheet where less than `height` is left; true where it did.
    pub(super) fn room(&mut self, height: f32) -> bool {
        let next = self.y - height < FOOT && self.y < TOP;
        if next {
            self.full.push(std::mem::replace(&mut self.sheet, Sheet::new()));
            self.y = TOP;
        }
        next
    }

    /// Leaves a space; none at the head of a sheet.
    pub(super) fn space(&mut self, height: f32) {
        if self.y < TOP {
            self.y -= height;
        }
    }

    /// Goes down by what was drawn.
    pub(super) fn down(&mut self, height: f32) {
        self.y -= height;
    }

    /// Breaks a text into lines.
    pub(super) fn lines(&mut self, style: Style, width: f32, text: &str) -> Lines {
        let letters = encode(text);
        self.lost |= letters.lost;
        Lines { style, lines: wrap(style.font, style.size, width, &letters.bytes) }
    }

    /// Sets lines at `x`, over as many sheets as they take.
    pub(super) fn set(&mut self, x: f32, text: &Lines) {
        for line in &text.lines {
            self.room(text.style.leading);
            self.y -= text.style.leading;
            self.put(text.style, x, self.y + text.style.leading * 0.28, line);
        }
    }

    /// Writes a line on the sheet; `y` is where its letters stand.
    pub(super) fn put(&mut self, style: Style, x: f32, y: f32, line: &[u8]) {
        put(&mut self.sheet.content, style, x, y, line);
    }

    /// Writes a short label; `end` puts its end at `x`.
    pub(super) fn label(&mut self, style: Style, x: f32, y: f32, text: &str, place: Place) {
        let letters = encode(text);
        self.lost |= letters.lost;
        let width = style.font.width(&letters.bytes, style.size);
        let x = match place {
            Place::From => x,
            Place::Around => x - width / 2.0,
            Place::To => x - width,
        };
        self.put(style, x, y, &letters.bytes);
    }

    /// Fills a rectangle, given by its lower left corner.
    pub(super) fn fill(&mut self, ink: Ink, [x, y, width, height]: [f32; 4]) {
        let [r, g, b] = ink;
        self.sheet.content.set_fill_rgb(r, g, b).rect(x, y, width, height).fill_nonzero();
    }

    /// All sheets, numbered, with a word at the foot of each.
    pub(super) fn finish(mut self, style: Style, word: &str) -> Vec<Sheet> {
        self.full.push(self.sheet);
        let sheets = self.full.len();
        let word = encode(word).bytes;
        let mut word_lines = wrap(style.font, style.size, MEASURE * 0.8, &word).into_iter();
        let word = word_lines.next().unwrap_or_default();
        for (number, sheet) in (1..).zip(&mut self.full) {
            let folio = format!("Page {number} of {sheets}");
            let x = LEFT + MEASURE - style.font.width(folio.as_bytes(), style.size);
            put(&mut sheet.content, style, LEFT, FOLIO, &word);
            put(&mut sheet.content, style, x, FOLIO, folio.as_bytes());
        }
        self.full
    }
}

/// Which part of a label stands at its place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    From,
    Around,
    To,
}

fn put(content: &mut Content, style: Style, x: f32, y: f32, line: &[u8]) {
    if line.is_empty() {
        return;
    }
    let [r, g, b] = style.ink;
    content
        .begin_text()
        .set_fill_rgb(r, g, b)
        .set_font(Name(style.font.name()), style.size)
        .next_line(x, y)
        .show(Str(line))
        .end_text();
}
