//! Letters of the PDF: what WinAnsi has, how wide Helvetica sets it, and where a line breaks.
//!
//! Pure. Every reader of PDF has both fonts, so that none lies in the file.

use super::figures::{END_ISOLATE, ISOLATE};

/// A font.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Font {
    Plain,
    Bold,
}

impl Font {
    /// Its name in the resources of a page.
    pub(super) fn name(self) -> &'static [u8] {
        match self {
            Self::Plain => b"F1",
            Self::Bold => b"F2",
        }
    }

    /// The width of a letter in thousandths of the size.
    fn letter(self, byte: u8) -> u16 {
        let widths = match self {
            Self::Plain => &PLAIN,
            Self::Bold => &BOLD,
        };
        widths.get(usize::from(byte).wrapping_sub(FIRST)).copied().unwrap_or(0)
    }

    /// The width of a text in a size.
    pub(super) fn width(self, text: &[u8], size: f32) -> f32 {
        text.iter().map(|byte| f32::from(self.letter(*byte))).sum::<f32>() * size / 1000.0
    }
}

/// A text in WinAnsi.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letters {
    pub(super) bytes: Vec<u8>,
    /// Some letter is not in it, and a `?` stands for it.
    pub(super) lost: bool,
}

/// Writes a text in WinAnsi.
pub(super) fn encode(text: &str) -> Letters {
    let mut lost = false;
    let isolate = |c: &char| *c != ISOLATE && *c != END_ISOLATE;
    let bytes = text.chars().filter(isolate).map(|c| {
        win_ansi(c).unwrap_or_else(|| {
            lost = true;
            b'?'
        })
    });
    let bytes = bytes.collect();
    Letters { bytes, lost }
}

fn win_ansi(c: char) -> Option<u8> {
    match c {
        ' '..='~' | '\u{a1}'..='\u{ff}' => u8::try_from(u32::from(c)).ok(),
        '\u{a0}' => Some(b' '),
        c => UPPER.iter().find(|(_, known)| *known == c).map(|(byte, _)| *byte),
    }
}

/// Breaks a text into lines that are no wider than `width`: at spaces, else behind a hyphen in the second
/// half of the line, else anywhere. A line has one letter at least.
pub(super) fn wrap(font: Font, size: f32, width: f32, text: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut line: Vec<u8> = Vec::new();
    for word in text.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
        let longer = [line.as_slice(), if line.is_empty() { b"" } else { b" " }, word].concat();
        if font.width(&longer, size) <= width {
            line = longer;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        let mut rest = word;
        while font.width(rest, size) > width {
            let (head, tail) = rest.split_at(fitting(font, size, width, rest));
            if tail.is_empty() {
                break;
            }
            lines.push(head.to_vec());
            rest = tail;
        }
        line = rest.to_vec();
    }
    lines.push(line);
    lines
}

/// How many of a word's letters go on a line.
fn fitting(font: Font, size: f32, width: f32, word: &[u8]) -> usize {
    let mut used = 0.0;
    let fits = word.iter().take_while(|byte| {
        used += font.width(&[**byte], size);
        used <= width
    });
    let fits = fits.count().max(1);
    let head = word.get(..fits).unwrap_or(word);
    head.iter()
        .rposition(|byte| *byte == b'-')
        .map(|at| at + 1)
        .filter(|at| at * 2 > fits)
        .unwrap_or(fits)
}

/// What stands between 0x80 and 0x9F of WinAnsi.
const UPPER: [(u8, char); 27] = [
    (0x80, '\u{20ac}'),
    (0x82, '\u{201a}'),
    (0x83, '\u{192}'),
    (0x84, '\u{201e}'),
    (0x85, '\u{2026}'),
    (0x86, '\u{2020}'),
    (0x87, '\u{2021}'),
    (0x88, '\u{2c6}'),
    (0x89, '\u{2030}'),
    (0x8a, '\u{160}'),
    (0x8b, '\u{2039}'),
    (0x8c, '\u{152}'),
    (0x8e, '\u{17d}'),
    (0x91, '\u{2018}'),
    (0x92, '\u{2019}'),
    (0x93, '\u{201c}'),
    (0x94, '\u{201d}'),
    (0x95, '\u{2022}'),
    (0x96, '\u{2013}'),
    (0x97, '\u{2014}'),
    (0x98, '\u{2dc}'),
    (0x99, '\u{2122}'),
    (0x9a, '\u{161}'),
    (0x9b, '\u{203a}'),
    (0x9c, '\u{153}'),
    (0x9e, '\u{17e}'),
    (0x9f, '\u{178}'),
];

/// The first letter of the tables.
const FIRST: usize = 0x20;

/// Widths of Helvetica, from Adobe's metrics of the 14 standard fonts; 0 where WinAnsi has no letter.
#[rustfmt::skip]
const PLAIN: [u16; 224] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
    1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
    333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584, 0,
    556, 0, 222, 556, 333, 1000, 556, 556, 333, 1000, 667, 333, 1000, 0, 611, 0,
    0, 222, 222, 333, 333, 350, 556, 1000, 333, 1000, 500, 333, 944, 0, 500, 667,
    278, 333, 556, 556, 556, 556, 260, 556, 333, 737, 370, 556, 584, 333, 737, 333,
    400, 584, 333, 333, 333, 556, 537, 278, 333, 333, 365, 556, 834, 834, 834, 611,
    667, 667, 667, 667, 667, 667, 1000, 722, 667, 667, 667, 667, 278, 278, 278, 278,
    722, 722, 778, 778, 778, 778, 778, 584, 778, 722, 722, 722, 722, 667, 667, 611,
    556, 556, 556, 556, 556, 556, 889, 500, 556, 556, 556, 556, 278, 278, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 584, 611, 556, 556, 556, 556, 500, 556, 500,
];

/// The same of Helvetica-Bold.
#[rustfmt::skip]
const BOLD: [u16; 224] = [
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 333, 333, 584, 584, 584, 611,
    975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556,
    333, 556, 611, 556, 611, 556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611,
    611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389, 280, 389, 584, 0,
    556, 0, 278, 556, 500, 1000, 556, 556, 333, 1000, 667, 333, 1000, 0, 611, 0,
    0, 278, 278, 500, 500, 350, 556, 1000, 333, 1000, 556, 333, 944, 0, 500, 667,
    278, 333, 556, 556, 556, 556, 280, 556, 333, 737, 370, 556, 584, 333, 737, 333,
    400, 584, 333, 333, 333, 611, 556, 278, 333, 333, 365, 556, 834, 834, 834, 611,
    722, 722, 722, 722, 722, 722, 1000, 722, 667, 667, 667, 667, 278, 278, 278, 278,
    722, 722, 778, 778, 778, 778, 778, 584, 778, 722, 722, 722, 722, 667, 667, 611,
    556, 556, 556, 556, 556, 556, 889, 556, 556, 556, 556, 556, 278, 278, 278, 278,
    611, 611, 611, 611, 611, 611, 611, 584, 611, 611, 611, 611, 611, 556, 611, 556,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_those_of_win_ansi() {
        for (text, bytes, lost) in [
            ("Az ~", &b"Az ~"[..], false),
            ("\u{e9}\u{df}\u{20ac}\u{2019}", b"\xe9\xdf\x80\x92", false),
            ("\u{a0}", b" ", false),
            ("\u{416}a\u{1f600}", b"?a?", true),
            ("\u{2068}\u{5e9}\u{2069}", b"?", true),
            ("\u{2068}\u{2026}\u{2069}", b"\x85", false),
            ("\u{7f}\u{85}\u{7}", b"???", true),
        ] {
            let letters = encode(text);
            assert_eq!((letters.bytes.as_slice(), letters.lost), (bytes, lost), "{text:?}");
        }
        for byte in u8::MIN..=u8::MAX {
            for font in [Font::Plain, Font::Bold] {
                let known =
                    (0..=0xffff).filter_map(char::from_u32).any(|c| win_ansi(c) == Some(byte));
                // 0xA0 is a second space, and never written.
                assert_eq!(known, font.letter(byte) > 0 && byte != 0xa0, "{byte:#x}");
            }
        }
    }

    #[test]
    fn widths_are_the_fonts() {
        // The sentence's width in Helvetica, summed by hand from Adobe's AFM file.
        assert_eq!(Font::Plain.width(b"Wil", 1000.0), 944.0 + 222.0 + 222.0);
        assert_eq!(Font::Bold.width(b"Wil", 10.0), 15.0);
        assert_eq!(Font::Plain.width(b"\xfc", 1000.0), 556.0);
    }

    #[test]
    fn lines_break_and_nothing_is_lost() {
        let lines = |width: f32, text: &str| -> Vec<String> {
            wrap(Font::Plain, 10.0, width, text.as_bytes())
                .into_iter()
                .map(|line| String::from_utf8(line).unwrap())
                .collect()
        };
        assert_eq!(lines(100.0, "one two  three"), ["one two three"]);
        assert_eq!(lines(40.0, "one two three"), ["one two", "three"]);
        assert_eq!(lines(30.0, "0123456789"), ["01234", "56789"]);
        assert_eq!(lines(40.0, "a 01234-56789"), ["a", "01234-", "56789"]);
        assert_eq!(lines(0.0, "ab c"), ["a", "b", "c"]);
        assert_eq!(lines(f32::NAN, "ab").concat(), "ab");
        assert_eq!(lines(40.0, ""), [""]);
        for width in [1.0, 7.0, 33.3, 200.0] {
            let text = "a bb-b ccc dddddddddddddddd e-".repeat(20);
            let lines = lines(width, &text);
            for line in &lines {
                let wide = Font::Plain.width(line.as_bytes(), 10.0);
                assert!(wide <= width || line.len() == 1, "{line} is {wide} wide");
            }
            assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
        }
    }
}
