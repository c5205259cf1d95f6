//! Fragmented MP4 (ISO/IEC 14496-12 and -15) with one H.264 track: what clips are stored in and
//! what a browser is sent.
//!
//! ```text
//! ftyp moov(mvhd trak mvex)  moof(mfhd traf(tfhd tfdt trun)) mdat  moof mdat ...
//! ```
//!
//! INVARIANT: time is in 1/90,000 s since the clip's origin; each sample's time is rounded by
//! itself, so rounding never adds up. Samples are in AVCC form, byte for byte as the encoder gave
//! them. The reader takes what the writer writes and nothing else.

mod live;
mod read;
mod shape;
#[cfg(test)]
mod tests;
mod write;

pub use live::LiveFragments;
pub use read::{Reader, Units};
use temoin_proto::time::MonoTime;
pub use write::Writer;

use crate::h264::H264Error;

/// Units of media time in a second.
pub const TIMESCALE: u32 = 90_000;
/// Longest time line, in units of [`TIMESCALE`]: a week.
const MAX_TIME_90K: u64 = 7 * 86_400 * 90_000;
/// Most samples in a fragment.
const MAX_SAMPLES: usize = 4096;
/// Most bytes of samples in a fragment.
const MAX_MDAT_BYTES: usize = 32 << 20;

/// What went wrong with an MP4.
#[derive(Debug, thiserror::Error)]
pub enum Fmp4Error {
    /// A fragment needs samples.
    #[error("a fragment needs at least one coded picture")]
    Empty,
    /// A fragment with too much in it.
    #[error("a fragment takes at most 4096 coded pictures and 32 MiB")]
    TooLarge,
    /// Times that do not rise, or lie before the origin or more than a week after it.
    #[error("the time {at} has no place in the file: times must rise from its origin")]
    Time {
        /// Which.
        at: MonoTime,
    },
    /// Boxes could not be written.
    #[error("mp4 boxes cannot be written: {0}")]
    Write(mp4_atom::Error),
    /// Not an MP4 as the writer writes it.
    #[error("byte {offset} of the mp4: {what}")]
    Malformed {
        /// Where the box that is wrong begins.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// It ends within a box.
    #[error("the mp4 ends at byte {offset}, in the middle of a box")]
    Truncated {
        /// Where.
        offset: u64,
    },
    /// The stream or a sample is not usable.
    #[error(transparent)]
    H264(#[from] H264Error),
}

/// Time since `origin` in units of [`TIMESCALE`], rounded to the nearest.
fn to_90k(at: MonoTime, origin: MonoTime) -> Result<u64, Fmp4Error> {
    if at < origin {
        return Err(Fmp4Error::Time { at });
    }
    let units = (at.since(origin).as_nanos() * 9 + 50_000) / 100_000;
    u64::try_from(units).ok().filter(|u| *u <= MAX_TIME_90K).ok_or(Fmp4Error::Time { at })
}

/// Units of [`TIMESCALE`] as time, rounded to the nearest nanosecond. At most a week.
const fn from_90k(units: u64) -> MonoTime {
    MonoTime::from_ns((units.saturating_mul(100_000).saturating_add(4)) / 9)
}
