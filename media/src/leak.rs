//! Pictures of a foreign file, on their way from the process that decodes it to the one that
//! compares them.
//!
//! The decoder (`temoin-decoder`) reads what strangers made, with libraries that have had holes. So it
//! is believed in nothing but that it gives pictures: this reads a stream of records, each within
//! limits that are set here.
//!
//! | record | bytes |
//! |---|---|
//! | picture | `p`, time (u64, nanoseconds), width, height (u16), Y, U, V |
//! | end | `e` |
//! | error | `x`, length (u16), so many bytes of UTF-8 |
//!
//! Numbers are big endian. INVARIANT: no number from outside makes the reader take more memory than
//! [`Limits`] say.

mod bars;

pub use bars::{BarSearch, Bars};

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use crate::frame::{I420Picture, PictureError};

const PICTURE: u8 = b'p';
const END: u8 = b'e';
const ERROR: u8 = b'x';
/// Longest error, bytes.
const MAX_ERROR_LEN: u16 = 1024;

/// What is read of a file at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longer side of a picture, pixels.
    pub side: u16,
    /// Pictures.
    pub pictures: usize,
}

/// Why there is no further picture.
#[derive(Debug, thiserror::Error)]
pub enum LeakError {
    /// The file is none, or cannot be played: in the decoder's words.
    #[error("{0}")]
    File(String),
    /// The decoder ended in the middle.
    #[error("the decoder ended before the file did: {0}")]
    Cut(#[from] io::Error),
    /// The decoder says something that it never says.
    #[error("the decoder gave no picture but {0}")]
    Malformed(&'static str),
    /// The size is none that a picture has.
    #[error(transparent)]
    Picture(#[from] PictureError),
}

/// A picture of the file, and when it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeakPicture {
    /// From the file's begin.
    pub at: Duration,
    /// The picture.
    pub picture: I420Picture,
}

/// Writes a picture.
///
/// # Errors
/// Where it cannot be written, or its sides do not fit.
pub fn write_picture(to: &mut impl Write, at: Duration, picture: &I420Picture) -> io::Result<()> {
    let side = |pixels: u32| u16::try_from(pixels).map_err(io::Error::other);
    to.write_all(&[PICTURE])?;
    to.write_all(&u64::try_from(at.as_nanos()).unwrap_or(u64::MAX).to_be_bytes())?;
    to.write_all(&side(picture.width())?.to_be_bytes())?;
    to.write_all(&side(picture.height())?.to_be_bytes())?;
    to.write_all(picture.data())
}

/// Writes the end of the file, or why there is no more.
///
/// # Errors
/// Where it cannot be written.
pub fn write_end(to: &mut impl Write, why: Result<(), &str>) -> io::Result<()> {
    match why {
        Ok(()) => to.write_all(&[END])?,
        Err(text) => {
            let mut end = text.len().min(usize::from(MAX_ERROR_LEN));
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            let text = text.get(..end).unwrap_or_default();
            to.write_all(&[ERROR])?;
            to.write_all(&u16::try_from(text.len()).unwrap_or(0).to_be_bytes())?;
            to.write_all(text.as_bytes())?;
        }
    }
    to.flush()
}

/// Reads the pictures of a file.
#[derive(Debug)]
pub struct LeakReader<R> {
    from: R,
    limits: Limits,
    read: usize,
    last: Option<Duration>,
    ended: bool,
}

impl<R: Read> LeakReader<R> {
    /// Reads from a decoder, at most so much.
    pub const fn new(from: R, limits: Limits) -> Self {
        Self { from, limits, read: 0, last: None, ended: false }
    }

    /// The next picture; none at the end, or where there were as many as are wanted.
    ///
    /// # Errors
    /// [`LeakError`]; there is no other after it.
    pub fn next_picture(&mut self) -> Result<Option<LeakPicture>, LeakError> {
        if self.ended || self.read >= self.limits.pictures {
            return Ok(None);
        }
        let next = self.record();
        match &next {
            Ok(Some(picture)) => {
                self.read += 1;
                self.last = Some(picture.at);
            }
            Ok(None) | Err(_) => self.ended = true,
        }
        next
    }

    fn record(&mut self) -> Result<Option<LeakPicture>, LeakError> {
        match u8::from_be_bytes(self.bytes()?) {
            PICTURE => self.picture().map(Some),
            END => Ok(None),
            ERROR => {
                let len = u16::from_be_bytes(self.bytes()?);
                if len > MAX_ERROR_LEN {
                    return Err(LeakError::Malformed("a text that is too long"));
                }
                let mut text = vec![0; usize::from(len)];
                self.from.read_exact(&mut text)?;
                let text = String::from_utf8_lossy(&text);
                // It comes from strangers: nothing of it moves the cursor of a terminal.
                let text: String = text.chars().filter(|c| !c.is_control()).collect();
                if text.trim().is_empty() {
                    return Err(LeakError::Malformed("an error without words"));
                }
                Err(LeakError::File(text))
            }
            _ => Err(LeakError::Malformed("an unknown record")),
        }
    }

    fn picture(&mut self) -> Result<LeakPicture, LeakError> {
        let at = Duration::from_nanos(u64::from_be_bytes(self.bytes()?));
        let width = u16::from_be_bytes(self.bytes()?);
        let height = u16::from_be_bytes(self.bytes()?);
        if width > self.limits.side || height > self.limits.side {
            return Err(LeakError::Malformed("a picture that is too large"));
        }
        if self.last.is_some_and(|last| at <= last) {
            return Err(LeakError::Malformed("a picture that is not later than the one before"));
        }
        let pixels = usize::from(width) * usize::from(height);
        let mut data = vec![0; pixels + pixels / 2];
        self.from.read_exact(&mut data)?;
        let picture = I420Picture::from_vec(width.into(), height.into(), data)?;
        Ok(LeakPicture { at, picture })
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], LeakError> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { side: 64, pictures: 3 };

    fn picture(width: u32, height: u32, luma: u8) -> I420Picture {
        let mut picture = I420Picture::black(width, height).unwrap();
        picture.planes_mut().y.fill(luma);
        picture
    }

    fn read(bytes: &[u8]) -> (Vec<LeakPicture>, Option<LeakError>) {
        let mut reader = LeakReader::new(bytes, LIMITS);
        let mut pictures = Vec::new();
        loop {
            match reader.next_picture() {
                Ok(Some(picture)) => pictures.push(picture),
                Ok(None) => return (pictures, None),
                Err(error) => {
                    assert!(matches!(reader.next_picture(), Ok(None)), "goes on after an error");
                    return (pictures, Some(error));
                }
            }
        }
    }

    fn written(pictures: &[(u64, I420Picture)], end: Result<(), &str>) -> Vec<u8> {
        let mut out = Vec::new();
        for (ms, picture) in pictures {
            write_picture(&mut out, Duration::from_millis(*ms), picture).unwrap();
        }
        write_end(&mut out, end).unwrap();
        out
    }

    #[test]
    fn there_and_back() {
        let pictures = [(0, picture(64, 36, 10)), (40, picture(36, 64, 20))];
        let (read_back, error) = read(&written(&pictures, Ok(())));
        assert!(error.is_none());
        let expected =
            pictures.map(|(ms, picture)| LeakPicture { at: Duration::from_millis(ms), picture });
        assert_eq!(read_back, expected);
        let many: Vec<_> = (0..9).map(|n| (n, picture(2, 2, 0))).collect();
        assert_eq!(read(&written(&many, Ok(()))).0.len(), LIMITS.pictures);
    }

    #[test]
    fn what_the_decoder_says_is_told_without_its_control_characters() {
        let long = "ä".repeat(2000);
        for (said, told) in [
            ("it is a zip", "it is a zip"),
            ("\u{1b}[2Jit\n is\u{7}", "[2Jit is"),
            (long.as_str(), &long[..1024]),
        ] {
            let (pictures, error) = read(&written(&[(0, picture(2, 2, 0))], Err(said)));
            assert_eq!(pictures.len(), 1, "what came before it counts");
            let Some(LeakError::File(text)) = error else { panic!("{error:?}") };
            assert_eq!(text, told);
        }
    }

    #[test]
    fn a_decoder_in_wrong_hands_gives_an_error_and_takes_no_memory() {
        let head = |width: u16, height: u16| {
            let mut head = vec![PICTURE];
            head.extend(5_u64.to_be_bytes());
            head.extend(width.to_be_bytes());
            head.extend(height.to_be_bytes());
            head
        };
        let backwards = written(&[(5, picture(2, 2, 0)), (5, picture(2, 2, 0))], Ok(()));
        let cut = written(&[(0, picture(64, 64, 0))], Ok(()));
        for (name, bytes, pictures) in [
            ("nothing", vec![], 0),
            ("another record", vec![b'?'], 0),
            ("a huge picture", head(65_535, 65_535), 0),
            ("an odd picture", [head(3, 3), vec![0; 13]].concat(), 0),
            ("no area", head(0, 0), 0),
            ("a huge text", vec![ERROR, 0xff, 0xff], 0),
            ("no text", vec![ERROR, 0, 0], 0),
            ("time runs backwards", backwards, 1),
            ("cut off", cut[..cut.len() - 10].to_vec(), 0),
        ] {
            let (read, error) = read(&bytes);
            let said = error.as_ref().is_some_and(|error| !error.to_string().is_empty());
            assert!(said && read.len() == pictures, "{name}: {error:?}");
        }
    }
}
