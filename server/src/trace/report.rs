//! What a trace found, as somebody reads it who was not there: an investigator, a works council, a court.
//!
//! Pure: everything is given, names included; `html` and `pdf` only write it down. Both stand alone:
//! no address, no script, no picture from elsewhere.
//!
//! INVARIANT: no picture of a recording is in it. What is shown is the file that was handed in, as it
//! lies on the recording; who may see the recording opens it in the portal.

mod chart;
mod figures;
mod helvetica;
mod html;
mod paper;
mod pdf;
#[cfg(test)]
mod pdf_reader;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
mod told;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use html::html;
pub use pdf::pdf;

/// A report cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A picture is empty, or its shades are not as many as its pixels.
    #[error(
        "the picture at {leak_ms} ms of the file is given as {width} x {height} pixels with {shades} \
         shades; give one for each pixel, or leave the picture out"
    )]
    Picture {
        /// When in the file, milliseconds.
        leak_ms: u64,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// Shades that there are.
        shades: usize,
    },
    /// A picture could not be written as PNG.
    #[error(transparent)]
    Png(#[from] temoin_media::png::PngError),
    /// The page could not be written.
    #[error("the page cannot be written")]
    Page(#[from] askama::Error),
    /// A PDF cannot hold so much.
    #[error("the report is too long for a PDF; write the HTML report")]
    TooLong,
}

/// A trace, told in full. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceReport {
    /// The trace's id.
    pub trace: String,
    /// When it was begun.
    pub at_ms: i64,
    /// Who asked for it.
    pub asked_by: String,
    /// Who let them, as the second person.
    pub decided_by: String,
    /// Why it was asked for, in their words.
    pub words: String,
    /// The file that was handed in.
    pub file: LeakedFile,
    /// What was found.
    pub verdict: Verdict,
    /// The chance of naming anybody innocent in the whole trace that was accepted, such as 1e-9.
    pub bound: f64,
    /// In how many ways a view was compared with the file: keys times registrations, over all recordings.
    pub looks: u64,
    /// The score that a view has to reach for that bound.
    pub threshold_z: f64,
    /// Recordings that were searched by their fingerprints.
    pub searched: u64,
    /// Recordings that the file was laid on, the likeliest first.
    pub compared: Vec<Compared>,
    /// The scores of all views that are not named.
    pub others: Scores,
    /// Pictures of the file; empty where they are not held any more.
    pub pictures: Arc<Vec<LaidPicture>>,
    /// The version of the program.
    pub version: String,
}

impl TraceReport {
    /// What was found, in a sentence or two.
    pub fn sentence(&self) -> String {
        let told::Headline { first, more, .. } = told::verdict(self);
        [vec![first], more].concat().join(" ")
    }
}

/// A file that was handed in.
#[derive(Debug, Clone, PartialEq)]
pub struct LeakedFile {
    /// Its SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// How much of it was looked at, seconds.
    pub seconds: f64,
    /// Pictures that were looked at.
    pub pictures: usize,
}

/// What a trace found.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The marks of these views are in the file: of one, or of several who put their copies together.
    Views(Vec<NamedView>),
    /// The unit's own mark is in the file and the mark of none of the views: a copy that was taken from
    /// the unit, the way or the storage, and never went through the portal.
    NoneOfItsViews {
        /// The unit.
        unit: String,
        /// The event of the recording.
        event: String,
        /// The score of the unit's mark.
        z: f64,
        /// The chance of such a score without it, corrected for all looks.
        p: f64,
    },
    /// Nothing reaches the bound. What it looks like is in [`TraceReport::compared`].
    None,
}

/// A view whose mark is in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedView {
    /// The view's id.
    pub view: String,
    /// Who had opened it: name and role, or that the account was erased.
    pub viewer: String,
    /// When.
    pub opened_ms: i64,
    /// What for.
    pub purpose: String,
    /// Whether it was an export to a file rather than a look at the page.
    pub export: bool,
    /// Its entry in the access log.
    pub log_index: u64,
    /// The event of the recording.
    pub event: String,
    /// Its score.
    pub z: f64,
    /// The chance that any view that had no part reaches this score, corrected for all looks.
    pub p: f64,
}

/// A recording that the file was laid on.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// The event of the recording.
    pub event: String,
    /// `road` or `cabin`.
    pub camera: &'static str,
    /// How its fingerprint agrees with the file's: a rank, no evidence. None where the event was named
    /// by who asked.
    pub likeness: Option<f64>,
    /// Views and exports of it, each of which was compared.
    pub views: u64,
    /// The ways in which the file may lie on it; empty where it does not look like it.
    pub ways: Vec<Way>,
}

/// A way in which the file may lie on a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Way {
    /// How alike they are under it, 0 to 1.
    pub quality: f64,
    /// Pictures of the file that lie on the recording.
    pub pictures: usize,
    /// Left and right exchanged.
    pub mirrored: bool,
    /// The recording's time at the file's begin, seconds.
    pub offset_s: f64,
    /// Seconds of the recording in one second of the file.
    pub speed: f64,
    /// Signs that could be compared.
    pub signs: usize,
    /// The best score of a view under it.
    pub best_z: f64,
}

/// How many views have which score.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Scores {
    /// The low end of a bin, and how many views are in it, in order; each bin is 0.5 wide.
    pub bins: Vec<(f64, u64)>,
    /// The best.
    pub best: Option<f64>,
}

/// A picture of the file, as it came and as it lies on the recording.
#[derive(Debug, Clone, PartialEq)]
pub struct LaidPicture {
    /// When in the file, milliseconds.
    pub leak_ms: u64,
    /// When in the recording, milliseconds.
    pub clip_ms: u64,
    /// As it came, with the recording's outline drawn in.
    pub came: Shades,
    /// The same, drawn into the recording's frame.
    pub laid: Shades,
    /// How alike it and the recording are, 0 to 1.
    pub quality: f64,
}

/// A picture in shades of grey.
#[derive(Clone, PartialEq, Eq)]
pub struct Shades {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Row by row; `width` times `height` of them.
    pub luma: Vec<u8>,
}

impl Shades {
    /// Whether there is a shade for each pixel, for a picture at this time of the file.
    fn check(&self, leak_ms: u64) -> Result<(), ReportError> {
        let pixels = u64::from(self.width) * u64::from(self.height);
        if pixels > 0 && u64::try_from(self.luma.len()).is_ok_and(|shades| shades == pixels) {
            Ok(())
        } else {
            Err(ReportError::Picture {
                leak_ms,
                width: self.width,
                height: self.height,
                shades: self.luma.len(),
            })
        }
    }
}

impl std::fmt::Debug for Shades {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shades({}x{})", self.width, self.height)
    }
}
