//! Lays a leaked video on the original that it came from: which time of the original each frame of
//! the leak shows, and where in the frame the original lies.
//!
//! The leak may be filmed from a screen: slanting, small, mirrored, cropped, at another speed and
//! frame rate, with other contrast and things stuck over it. Steps, each of which looks at the whole
//! leak before the next begins:
//!
//! 1. guesses where the screen is, in some frames: matched features, a border, the whole picture;
//! 2. the guess under which the leak looks most like a frame of the original is followed through
//!    the leak, forwards and backwards;
//! 3. one line from the leak's time to the original's, by all frames together; still scenes allow
//!    several, so the best few are kept;
//! 4. each frame is aligned directly, from small pictures to the working size.
//!
//! INVARIANT: a [`Registration`] says what was tried and how alike it looks, never that it is right.
//! A wrong one makes no innocent view look guilty (`docs/forensic-mark.md`); each one that is tried
//! costs a factor in the bound, so there are few.
//!
//! Nothing is stored; a crash leaves nothing.

mod align;
mod border;
mod features;
mod homography;
mod plane;
mod reference;
mod refine;
mod search;
mod time_map;
mod track;

#[cfg(test)]
mod test_warps;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use align::{Aligned, align};
pub use reference::Reference;
pub use search::register;

/// The longest side that is accepted, pixels.
pub const MAX_SIDE: u32 = 4096;
/// The shortest side that is accepted, pixels: less shows nothing to align by.
pub const MIN_SIDE: u32 = 48;
/// Most pixels of all frames of a video together: 20 s at 30 frames/s of 1280x720 are 553 million.
pub const MAX_PIXELS: u64 = 700_000_000;
/// Most frames of a video.
pub const MAX_FRAMES: usize = 3600;

/// A luma picture of the working size and when it is shown. The original is best given with a shorter
/// side of 360 pixels, a leak with 480 to 720, because the screen may fill only half of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Gray {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Row by row.
    pub luma: Vec<u8>,
    /// From the begin of the recording, or of the leak.
    pub at: Duration,
}

impl std::fmt::Debug for Gray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gray({}x{} at {:?})", self.width, self.height, self.at)
    }
}

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The leak's speed is within this part of the original's.
    pub speed_within: f64,
    /// Most registrations that are returned; each takes its share of the time.
    pub most: usize,
    /// Those that are less alike, of 1, are not returned. Unrelated footage that was bent to fit comes
    /// to 0.13 in the tests, hard filming to 0.35 and more (own choice: validate).
    pub least_quality: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { speed_within: 0.08, most: 3, least_quality: 0.2 }
    }
}

/// One way in which the leak may lie on the original.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// Whether the leak shows left and right exchanged.
    pub mirrored: bool,
    /// The original's time of the leak's begin, seconds; may be negative.
    pub offset_s: f64,
    /// Seconds of the original in one second of the leak.
    pub speed: f64,
    /// In the leak's order; frames that show nothing of the original, or are outside of its time,
    /// are missing.
    pub frames: Vec<FrameMap>,
    /// How alike leak and original are under it, 0 to 1: the mean correlation of their locally
    /// normalised luma, frames that are missing counted as 0.
    pub quality: f64,
}

/// Where and when in the original a frame of the leak is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameMap {
    /// Which of the leak's frames.
    pub leak: usize,
    /// The original's time that it shows.
    pub at: Duration,
    /// Takes pixels of the original to those of the leak, row by row: `[x y 1]` times this. The
    /// middle of the first pixel is (0, 0); a mirror is in it.
    pub homography: [f64; 9],
    /// The correlation of the locally normalised luma, 0 to 1.
    pub quality: f64,
}

/// Why a leak was not laid on an original.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// A video of no frames.
    #[error("the video has no frames: give at least one")]
    NoFrames,
    /// More than is worked on.
    #[error("{frames} frames of {width}x{height} are too many: take fewer or smaller ones")]
    TooLarge {
        /// How many.
        frames: usize,
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
    },
    /// A picture that cannot be worked on.
    #[error(
        "frame {frame} is {width}x{height} with {bytes} bytes: sides must be {MIN_SIDE} to {MAX_SIDE}, with one byte for each pixel"
    )]
    Picture {
        /// Which.
        frame: usize,
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
        /// Bytes that came.
        bytes: usize,
    },
    /// Frames of one video differ in size.
    #[error("frame {frame} has another size than the first: scale all frames alike")]
    Sizes {
        /// Which.
        frame: usize,
    },
    /// Frames are not in order.
    #[error("frame {frame} is shown before the one it follows: sort the frames by time")]
    Order {
        /// Which.
        frame: usize,
    },
    /// A map that is none.
    #[error("the map of the frame cannot be inverted: it is none that registration gave")]
    Degenerate,
    /// OpenCV refused.
    #[error("opencv: {0}")]
    OpenCv(#[from] opencv::Error),
}

/// Refuses what cannot be worked on.
fn check(frames: &[Gray]) -> Result<(u32, u32), RegisterError> {
    let first = frames.first().ok_or(RegisterError::NoFrames)?;
    let size = (first.width, first.height);
    let mut before = Duration::ZERO;
    for (frame, gray) in frames.iter().enumerate() {
        check_picture(frame, gray)?;
        if (gray.width, gray.height) != size {
            return Err(RegisterError::Sizes { frame });
        }
        if gray.at < before {
            return Err(RegisterError::Order { frame });
        }
        before = gray.at;
    }
    let pixels = u64::from(size.0) * u64::from(size.1);
    let all = u64::try_from(frames.len()).unwrap_or(u64::MAX).saturating_mul(pixels);
    if frames.len() > MAX_FRAMES || all > MAX_PIXELS {
        return Err(RegisterError::TooLarge {
            frames: frames.len(),
            width: size.0,
            height: size.1,
        });
    }
    Ok(size)
}

fn check_picture(frame: usize, gray: &Gray) -> Result<(), RegisterError> {
    let good = |side: u32| (MIN_SIDE..=MAX_SIDE).contains(&side);
    let pixels = u64::from(gray.width) * u64::from(gray.height);
    let bytes = gray.luma.len();
    if good(gray.width) && good(gray.height) && u64::try_from(bytes).ok() == Some(pixels) {
        Ok(())
    } else {
        Err(RegisterError::Picture { frame, width: gray.width, height: gray.height, bytes })
    }
}

/// To single precision.
#[expect(clippy::cast_possible_truncation, reason = "pixels and places in pictures")]
const fn narrow(x: f64) -> f32 {
    x as f32
}

/// A count as a real number; counts of pixels and frames are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "counts of pixels and frames")]
const fn real(count: usize) -> f64 {
    count as f64
}
