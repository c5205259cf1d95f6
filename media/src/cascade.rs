//! OpenCV's own Haar cascades: what a unit sees with while no model pack is installed.
//!
//! They find where faces are, and nothing else.

use std::path::{Path, PathBuf};

use opencv::{
    core::{self, Mat, Rect, Size, Vector},
    imgproc, objdetect,
    prelude::*,
};
use temoin_proto::perception::PictureBox;

use crate::{
    bgr::scaled_luma,
    frame::{I420View, PictureError},
    rounding::round_i32,
};

/// Where the package `opencv-data` puts the cascades.
pub const DEFAULT_FOLDER: &str = "/usr/share/opencv4/haarcascades";
pub(crate) const FACE_FILE: &str = "haarcascade_frontalface_alt2.xml";
const PROFILE_FILE: &str = "haarcascade_profileface.xml";
/// Faces are looked for in a picture of this width, pixels: the cost grows with its square.
const LOOK_WIDTH: u32 = 320;
/// Smallest face, in parts of the picture's height: a driver's face is larger than a passenger's
/// on the back seat.
const SMALLEST_FACE: f64 = 0.15;
/// The same for faces of others.
const SMALLEST_OTHER_FACE: f64 = 0.08;
/// Windows that must agree on a face: fewer for others', where a face that is none costs little.
pub(crate) const MIN_VOTES: i32 = 3;
const MIN_VOTES_OTHER: i32 = 2;

/// Why the cascades cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CascadeError {
    /// A file is not there.
    #[error("{path} is missing: install the package opencv-data, or name the folder that has it", path = path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A file is no cascade.
    #[error("{path} is no cascade that OpenCV can read: reinstall the package opencv-data", path = path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// The picture could not be worked on.
    #[error(transparent)]
    Picture(#[from] PictureError),
}

impl From<opencv::Error> for CascadeError {
    fn from(e: opencv::Error) -> Self {
        Self::Picture(e.into())
    }
}

/// A face that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoundFace {
    /// Where.
    pub face: PictureBox,
    /// How many windows agreed: 3 is a guess, 20 is sure.
    pub votes: u32,
}

/// The cascades, loaded.
pub struct Cascades {
    face: objdetect::CascadeClassifier,
    profile: Option<objdetect::CascadeClassifier>,
}

impl Cascades {
    /// Loads them from a folder, by default [`DEFAULT_FOLDER`].
    ///
    /// # Errors
    /// [`CascadeError::Missing`] and [`CascadeError::Damaged`].
    pub fn load(folder: &Path) -> Result<Self, CascadeError> {
        let profile = match load(folder.join(PROFILE_FILE)) {
            Ok(cascade) => Some(cascade),
            // Some packages leave it out.
            Err(CascadeError::Missing { .. }) => None,
            Err(e @ (CascadeError::Damaged { .. } | CascadeError::Picture(_))) => return Err(e),
        };
        Ok(Self { face: load(folder.join(FACE_FILE))?, profile })
    }

    /// Faces from the front, the surest first.
    ///
    /// # Errors
    /// [`CascadeError::Picture`].
    pub fn faces(&mut self, picture: &I420View<'_>) -> Result<Vec<FoundFace>, CascadeError> {
        let (gray, _) = scaled_luma(picture, LOOK_WIDTH)?;
        let smallest = smallest(&gray, SMALLEST_FACE);
        let mut found = boxes(&mut self.face, &gray, smallest, MIN_VOTES)?;
        found.sort_by_key(|f| std::cmp::Reverse(f.votes));
        Ok(found)
    }

    /// Whatever may be a face, from the front or from either side, smaller and less sure than
    /// [`Self::faces`]; doubles are left in. To blur, not to judge.
    ///
    /// # Errors
    /// [`CascadeError::Picture`].
    pub fn doubtful_faces(
        &mut self,
        picture: &I420View<'_>,
    ) -> Result<Vec<FoundFace>, CascadeError> {
        let (gray, _) = scaled_luma(picture, 2 * LOOK_WIDTH)?;
        let smallest = smallest(&gray, SMALLEST_OTHER_FACE);
        let mut found = boxes(&mut self.face, &gray, smallest, MIN_VOTES_OTHER)?;
        if let Some(profile) = &mut self.profile {
            found.extend(boxes(profile, &gray, smallest, MIN_VOTES_OTHER)?);
            // The cascade knows one side only.
            let mut mirrored = Mat::default();
            core::flip(&gray, &mut mirrored, 1)?;
            let other_side = boxes(profile, &mirrored, smallest, MIN_VOTES_OTHER)?;
            found.extend(other_side.into_iter().map(|found| {
                let face = PictureBox { x: 1.0 - found.face.x - found.face.w, ..found.face };
                FoundFace { face, ..found }
            }));
        }
        Ok(found)
    }
}

pub(crate) fn load(path: PathBuf) -> Result<objdetect::CascadeClassifier, CascadeError> {
    if !path.is_file() {
        return Err(CascadeError::Missing { path });
    }
    let loaded = path.to_str().map(objdetect::CascadeClassifier::new);
    match loaded {
        Some(Ok(cascade)) if !cascade.empty().unwrap_or(true) => Ok(cascade),
        Some(_) | None => Err(CascadeError::Damaged { path }),
    }
}

/// A part of the picture's height, pixels.
fn smallest(gray: &Mat, part: f64) -> i32 {
    round_i32(f64::from(gray.rows()) * part).max(20)
}

/// What a cascade finds, as parts of the picture.
fn boxes(
    cascade: &mut objdetect::CascadeClassifier,
    gray: &Mat,
    smallest: i32,
    min_votes: i32,
) -> Result<Vec<FoundFace>, opencv::Error> {
    let (w, h) = (f64::from(gray.cols()), f64::from(gray.rows()));
    let (boxes, votes) = detect(cascade, gray, smallest, min_votes)?;
    let found = boxes.iter().zip(votes.iter()).map(|(b, votes)| FoundFace {
        face: fractions(b, w, h, (0.0, 0.0, 1.0, 1.0)),
        votes: u32::try_from(votes).unwrap_or(0),
    });
    Ok(found.collect())
}

pub(crate) fn detect(
    cascade: &mut objdetect::CascadeClassifier,
    gray: &Mat,
    smallest: i32,
    min_votes: i32,
) -> Result<(Vector<Rect>, Vector<i32>), opencv::Error> {
    let mut even = Mat::default();
    imgproc::equalize_hist(gray, &mut even)?;
    let (mut boxes, mut votes) = (Vector::new(), Vector::new());
    cascade.detect_multi_scale2(
        &even,
        &mut boxes,
        &mut votes,
        1.15,
        min_votes,
        0,
        Size::new(smallest, smallest),
        Size::default(),
    )?;
    Ok((boxes, votes))
}

/// Pixels of a part of the picture as parts of the whole; `within` is the part itself.
pub(crate) fn fractions(b: Rect, w: f64, h: f64, within: (f64, f64, f64, f64)) -> PictureBox {
    let (x0, y0, w0, h0) = within;
    #[expect(clippy::cast_possible_truncation, reason = "fractions of a picture")]
    let part =
        |origin: f64, size: f64, px: i32, all: f64| (origin + size * f64::from(px) / all) as f32;
    PictureBox {
        x: part(x0, w0, b.x, w),
        y: part(y0, h0, b.y, h),
        w: part(0.0, w0, b.width, w),
        h: part(0.0, h0, b.height, h),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_pictures::moving;

    #[test]
    fn missing_and_damaged_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Cascades::load(folder.path()).err().unwrap().to_string();
        assert!(error.contains(FACE_FILE) && error.contains("opencv-data"), "{error}");
        std::fs::write(folder.path().join(FACE_FILE), "<opencv_storage/>").unwrap();
        let error = Cascades::load(folder.path()).err().unwrap();
        assert!(matches!(error, CascadeError::Damaged { .. }), "{error}");
    }

    #[test]
    fn no_face_in_a_pattern() {
        let Ok(mut cascades) = Cascades::load(Path::new(DEFAULT_FOLDER)) else {
            println!("skipped: the package opencv-data is not installed");
            return;
        };
        let picture = moving(640, 360, 1);
        assert_eq!(cascades.faces(&picture.view()).unwrap(), vec![]);
        for doubtful in cascades.doubtful_faces(&picture.view()).unwrap() {
            let PictureBox { x, y, w, h } = doubtful.face;
            assert!(x >= 0.0 && y >= 0.0 && x + w <= 1.001 && y + h <= 1.001, "{doubtful:?}");
        }
    }
}
