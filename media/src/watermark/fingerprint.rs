//! Which clip a leak shows, out of a hundred thousand and without looking at any picture of them.
//!
//! While a unit records, it describes a picture now and then by some twenty *words*: each says what
//! the surroundings of a telling point look like, in 20 bits, and where it lies, in 12. The words go
//! into the clip's manifest, and from there into the server's database. A leak's pictures are
//! described in the same way, and the search goes over all bytes in the database for clips whose
//! words agree with the leak's in what they say, in their places to each other and in their times.
//!
//! | module | what |
//! |---|---|
//! | [`look`](mod@look) | a picture's words: those that are kept, and those that are searched for |
//! | [`search`] | goes over the clips and keeps the likeliest |
//!
//! What a fingerprint gives away: twenty points a picture, of each the rough directions of the
//! edges around it in 20 bits. No picture, face or plate can be made of it or be told by it;
//! that two clips were taken in the same vehicle can.
//!
//! # Bytes
//! All numbers little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | track: 1 cabin, 2 road |
//! | 1, 1 | width and height of the pictures, the longer one 255 |
//! | 2 | number of looks, then for each |
//! | 2 | when, in 20 ms since the clip's beginning, later than the last |
//! | 1 | number of words, at most [`MAX_WORDS`], then for each |
//! | 4 | the word: 20 bits description, 6 bits x, 6 bits y |
//!
//! INVARIANT: what [`Fingerprint::from_bytes`] accepts, [`Fingerprint::to_bytes`] writes again,
//! byte for byte; and there is nothing behind the last look.

pub mod look;
pub mod search;

mod agreement;
mod describe;
#[cfg(test)]
mod test_leaks;
#[cfg(test)]
mod tests;

use temoin_proto::sealed::TrackName;

pub use look::{QueryLook, look, query_look};
pub use search::{Found, Query, Score, Search};

/// How often a unit looks, ms: a leak of 3 s shows two looks. Own choice: validate.
pub const LOOK_EVERY_MS: u32 = 1500;
/// The words a look of a unit has, at most: with [`LOOK_EVERY_MS`], 20 s of two cameras take some
/// 2.5 kB. Own choice: validate.
pub const WORDS_A_LOOK: usize = 22;
/// The words that a look can have in a file.
pub const MAX_WORDS: usize = 64;
/// The looks that a fingerprint can have: ten minutes, the longest clip, at more than two a second.
pub const MAX_LOOKS: usize = 1400;

/// Bits of a word's description.
pub(crate) const KEY_BITS: u32 = 20;

const VERSION: u8 = 1;
const HEADER: usize = 6;
const TICK_MS: u32 = 20;

/// Why bytes are no fingerprint, or one cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// Written by a later program.
    #[error("version {0} of a fingerprint is not known: update this program")]
    Version(u8),
    /// No track that has a fingerprint.
    #[error("a fingerprint is of the cabin or the road track, not of track {0}")]
    Track(u8),
    /// Ends too early, or goes on behind its end.
    #[error("the fingerprint has another length than its counts say")]
    Length,
    /// Pictures without width or height, or whose longer side is not 255.
    #[error("the fingerprint's pictures have no possible shape")]
    Shape,
    /// Times that do not rise, or are too late to be written.
    #[error("the times of the fingerprint's looks do not rise, or are beyond 21 minutes")]
    Times,
    /// More looks or words than there can be.
    #[error("the fingerprint has more looks or words than there can be")]
    TooMany,
}

/// A telling point of a picture: what its surroundings look like, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Word(u32);

impl Word {
    /// `x` and `y` as parts of the picture's width and height.
    pub(crate) fn new(key: u32, x: f32, y: f32) -> Self {
        Self((key << 12) | (sixth(x) << 6) | sixth(y))
    }

    /// The word of these 32 bits: all are one.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Its bits: description, x, y.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The description.
    pub(crate) const fn key(self) -> u32 {
        self.0 >> 12
    }

    /// Its place, as parts of the picture's width and height.
    pub(crate) fn place(self) -> (f32, f32) {
        (middle(self.0 >> 6), middle(self.0))
    }
}

/// A part of 1 in 6 bits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 63; float casts saturate, and NaN is 0"
)]
fn sixth(part: f32) -> u32 {
    (part * 64.0).clamp(0.0, 63.0) as u32
}

/// The middle of what six bits stand for.
fn middle(bits: u32) -> f32 {
    let bits = u8::try_from(bits & 63).unwrap_or(63);
    (f32::from(bits) + 0.5) / 64.0
}

/// The words of one picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Since the clip's beginning; written in steps of 20 ms.
    pub at_ms: u32,
    /// At most [`MAX_WORDS`].
    pub words: Vec<Word>,
}

/// The shape of pictures: their sides, the longer one 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    width: u8,
    height: u8,
}

impl Shape {
    /// Of pictures of this size.
    ///
    /// # Errors
    /// [`FingerprintError::Shape`] without width or height.
    pub fn of(width: u32, height: u32) -> Result<Self, FingerprintError> {
        let longer = width.max(height);
        let side = |side: u32| {
            let scaled = u64::from(side) * 255 / u64::from(longer.max(1));
            u8::try_from(scaled).ok().filter(|side| *side > 0).ok_or(FingerprintError::Shape)
        };
        Ok(Self { width: side(width)?, height: side(height)? })
    }

    const fn is_possible(self) -> bool {
        self.width > 0 && self.height > 0 && (self.width == 255 || self.height == 255)
    }

    /// Width and height, the shorter one 1.
    pub(crate) fn sides(self) -> (f32, f32) {
        let (width, height) = (f32::from(self.width), f32::from(self.height));
        let short = width.min(height).max(1.0);
        (width / short, height / short)
    }
}

/// What is kept of one camera's part of a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The cabin's or the road's camera, whether blurred or not: both look alike here.
    pub track: TrackName,
    /// Of its pictures.
    pub shape: Shape,
    /// In the order of time.
    pub looks: Vec<Look>,
}

impl Fingerprint {
    /// The bytes of the module's table.
    ///
    /// # Errors
    /// Where there is no such fingerprint: see [`FingerprintError`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, FingerprintError> {
        let track = match self.track {
            TrackName::Cabin | TrackName::CabinUnblurred => 1,
            TrackName::Road | TrackName::RoadUnblurred => 2,
            TrackName::Signals => return Err(FingerprintError::Track(0)),
        };
        if self.looks.len() > MAX_LOOKS {
            return Err(FingerprintError::TooMany);
        }
        let looks = u16::try_from(self.looks.len()).map_err(|_| FingerprintError::TooMany)?;
        let words: usize = self.looks.iter().map(|look| look.words.len()).sum();
        let mut out = Vec::with_capacity(HEADER + 3 * self.looks.len() + 4 * words);
        out.extend([VERSION, track, self.shape.width, self.shape.height]);
        out.extend(looks.to_le_bytes());
        let mut last = None;
        for look in &self.looks {
            let tick = u16::try_from(look.at_ms / TICK_MS).map_err(|_| FingerprintError::Times)?;
            let words = u8::try_from(look.words.len()).map_err(|_| FingerprintError::TooMany)?;
            if last.is_some_and(|last| tick <= last) {
                return Err(FingerprintError::Times);
            }
            if usize::from(words) > MAX_WORDS {
                return Err(FingerprintError::TooMany);
            }
            last = Some(tick);
            out.extend(tick.to_le_bytes());
            out.push(words);
            out.extend(look.words.iter().flat_map(|word| word.0.to_le_bytes()));
        }
        Ok(out)
    }

    /// Reads them.
    ///
    /// # Errors
    /// See [`FingerprintError`]. Never takes more memory than some times the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FingerprintError> {
        let mut raw = Raw::open(bytes)?;
        let mut looks = Vec::new();
        while let Some((at_ms, words)) = raw.next_look()? {
            looks.push(Look { at_ms, words: words.collect() });
        }
        Ok(Self { track: raw.track, shape: raw.shape, looks })
    }
}

/// A fingerprint as its bytes lie, read from the front.
pub(crate) struct Raw<'a> {
    pub(crate) track: TrackName,
    pub(crate) shape: Shape,
    left: u16,
    last: Option<u16>,
    rest: &'a [u8],
}

impl<'a> Raw<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, FingerprintError> {
        let Some((&[version, track, width, height, n0, n1], rest)) = bytes.split_first_chunk()
        else {
            return Err(FingerprintError::Length);
        };
        if version != VERSION {
            return Err(FingerprintError::Version(version));
        }
        let track = match track {
            1 => TrackName::Cabin,
            2 => TrackName::Road,
            other => return Err(FingerprintError::Track(other)),
        };
        let shape = Shape { width, height };
        if !shape.is_possible() {
            return Err(FingerprintError::Shape);
        }
        let left = u16::from_le_bytes([n0, n1]);
        if usize::from(left) > MAX_LOOKS {
            return Err(FingerprintError::TooMany);
        }
        Ok(Self { track, shape, left, last: None, rest })
    }

    /// The next look: when, ms, and its words.
    pub(crate) fn next_look(
        &mut self,
    ) -> Result<Option<(u32, impl ExactSizeIterator<Item = Word> + use<'a>)>, FingerprintError>
    {
        let Some(left) = self.left.checked_sub(1) else {
            return if self.rest.is_empty() { Ok(None) } else { Err(FingerprintError::Length) };
        };
        let Some((&[t0, t1, words], rest)) = self.rest.split_first_chunk() else {
            return Err(FingerprintError::Length);
        };
        let tick = u16::from_le_bytes([t0, t1]);
        if self.last.is_some_and(|last| tick <= last) {
            return Err(FingerprintError::Times);
        }
        if usize::from(words) > MAX_WORDS {
            return Err(FingerprintError::TooMany);
        }
        let Some((words, rest)) = rest.split_at_checked(usize::from(words) * 4) else {
            return Err(FingerprintError::Length);
        };
        (self.left, self.last, self.rest) = (left, Some(tick), rest);
        let words = words.as_chunks::<4>().0.iter();
        Ok(Some((u32::from(tick) * TICK_MS, words.map(|word| Word(u32::from_le_bytes(*word))))))
    }
}
