//! Reads back the PDF of a report, for its tests: the table of objects, the pages, and what they say.

use miniz_oxide::inflate::decompress_to_vec_zlib;

use super::helvetica::{Font, encode};

/// What is written on a page: where, and what.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) page: usize,
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) width: f32,
    pub(super) text: String,
}

/// A file, its objects by number.
pub(super) struct Read {
    objects: Vec<Vec<u8>>,
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn after<'a>(bytes: &'a [u8], what: &str) -> Option<&'a [u8]> {
    find(bytes, what.as_bytes()).map(|at| &bytes[at + what.len()..])
}

fn number(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(20)]).into_owned();
    let digits: String = text.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("a number is due at {text:?}"))
}

impl Read {
    /// Reads a file by its table of objects; fails where the table, an object or a stream is not whole.
    pub(super) fn new(file: &[u8]) -> Self {
        assert!(file.starts_with(b"%PDF-1."), "no header");
        let tail = String::from_utf8_lossy(&file[file.len() - 64..]).into_owned();
        assert!(tail.trim_end().ends_with("%%EOF"), "no end: {tail}");
        let start = tail.rsplit_once("startxref").expect("startxref").1;
        let table = &file[number(start.trim_start().as_bytes())..];
        assert!(table.starts_with(b"xref\n0 "), "no table where it should be");
        let count = number(&table[7..]);
        let rows = &table[find(&table[5..], b"\n").unwrap() + 6..];
        let objects = (1..count).map(|k| {
            let row = &rows[20 * k..20 * (k + 1)];
            assert_eq!(&row[10..18], b" 00000 n", "row {k}");
            let object = &file[number(&row[..10])..];
            let head = format!("{k} 0 obj");
            assert!(object.starts_with(head.as_bytes()), "object {k} is elsewhere");
            // A stream is skipped by its length, so that its bytes cannot end the object.
            let dict_end = find(object, b"endobj").expect("end of object");
            let end = match find(&object[..dict_end], b"stream\n") {
                Some(at) => {
                    let length = number(after(&object[..at], "/Length ").expect("length"));
                    let end = at + 7 + length;
                    assert_eq!(&object[end..end + 10], b"\nendstream", "stream {k}");
                    end
                }
                None => dict_end,
            };
            object[head.len()..end].to_vec()
        });
        Self { objects: objects.collect() }
    }

    fn objects_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let is = move |object: &&Vec<u8>| {
            after(object, kind)
                .is_some_and(|rest| !rest.first().is_some_and(u8::is_ascii_alphabetic))
        };
        self.objects.iter().filter(is).map(Vec::as_slice)
    }

    /// What the tree of pages says their number is, and how many there are.
    pub(super) fn pages(&self) -> (usize, usize) {
        let tree = self.objects_of("/Type /Pages").next().expect("tree");
        (number(after(tree, "/Count ").expect("count")), self.objects_of("/Type /Page").count())
    }

    /// The pixels of all pictures, page by page in the order in which they are drawn, and how far from the
    /// left each is.
    pub(super) fn pictures(&self) -> Vec<(f32, Vec<u8>)> {
        let mut pictures = Vec::new();
        for page in self.objects_of("/Type /Page") {
            let contents = number(after(page, "/Contents ").expect("contents"));
            let drawing = unpacked(&self.objects[contents - 1]);
            let drawing = String::from_utf8_lossy(&drawing);
            let mut left = 0.0;
            for line in drawing.lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                match words[..] {
                    [_, _, _, _, x, _, "cm"] => left = x.parse().unwrap(),
                    [name, "Do"] => {
                        let object = number(after(page, &format!("{name} ")).expect("a picture"));
                        pictures.push((left, unpacked(&self.objects[object - 1])));
                    }
                    _ => {}
                }
            }
        }
        pictures
    }

    /// The document's title as it is written.
    pub(super) fn title(&self) -> &[u8] {
        let info = self.objects_of("/Producer").next().expect("info");
        after(info, "/Title ").expect("title")
    }

    /// All that is written, page by page, in the order in which it is.
    pub(super) fn written(&self) -> Vec<Written> {
        let pages = self.objects_of("/Type /Page").enumerate();
        let written = pages.flat_map(|(page, object)| {
            let contents = number(after(object, "/Contents ").expect("contents"));
            texts(page, &unpacked(&self.objects[contents - 1]))
        });
        written.collect()
    }
}

fn unpacked(object: &[u8]) -> Vec<u8> {
    let stream = after(object, "stream\n").expect("stream");
    decompress_to_vec_zlib(stream).expect("a stream that unpacks")
}

/// The texts of a page's drawing.
fn texts(page: usize, drawing: &[u8]) -> Vec<Written> {
    let mut texts = Vec::new();
    let mut rest = drawing;
    while let Some(text) = after(rest, "BT\n") {
        let lines = String::from_utf8_lossy(text).into_owned();
        let line = |operator: &str| -> Vec<String> {
            let line = lines.lines().find(|line| line.ends_with(operator)).expect("operator");
            line.split_whitespace().map(str::to_owned).collect()
        };
        let (font, place) = (line(" Tf"), line(" Td"));
        let bytes = shown(after(text, " Td\n").expect("place"));
        let size: f32 = font[1].parse().unwrap();
        let [x, y] = [0, 1].map(|k| place[k].parse().unwrap());
        let font = if font[0] == "/F2" { Font::Bold } else { Font::Plain };
        texts.push(Written { page, x, y, width: font.width(&bytes, size), text: decoded(&bytes) });
        rest = after(text, "ET").expect("end of text");
    }
    texts
}

/// A string of a drawing, in brackets or in hexadecimal digits.
fn shown(operand: &[u8]) -> Vec<u8> {
    if operand.starts_with(b"<") {
        let digits = &operand[1..find(operand, b">").expect("end of digits")];
        return hex::decode(digits).expect("digits");
    }
    assert!(operand.starts_with(b"("), "no text");
    let (mut bytes, mut depth, mut rest) = (Vec::new(), 1, operand[1..].iter());
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => bytes.push(match rest.next().expect("escaped") {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 8,
                b'f' => 12,
                other => *other,
            }),
            b')' if depth == 1 => return bytes,
            b')' => {
                depth -= 1;
                bytes.push(b')');
            }
            b'(' => {
                depth += 1;
                bytes.push(b'(');
            }
            other => bytes.push(*other),
        }
    }
    panic!("a text without end");
}

fn decoded(bytes: &[u8]) -> String {
    let letter = |byte: &u8| {
        let of = |c: &char| encode(&c.to_string()).bytes == [*byte];
        (*byte < 0x80).then(|| char::from(*byte)).or_else(|| ('\u{a1}'..='\u{2122}').find(of))
    };
    bytes.iter().map(|byte| letter(byte).expect("a letter of WinAnsi")).collect()
}
