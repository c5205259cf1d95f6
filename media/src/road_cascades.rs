//! OpenCV's own Haar cascade for faces in the road picture: all that there is for them without a
//! model pack. Its cascade for number plates is not used: it found none of 207 on a motorway clip.

use std::path::Path;

use opencv::{core::Size, objdetect};
use temoin_proto::perception::PictureBox;

use crate::{
    cascade::{CascadeError, FACE_FILE, MIN_VOTES, detect, load},
    frame::I420View,
    scaled_part::ScaledPart,
};

/// Faces are looked for in a picture of this width, pixels: the cost grows with its
/// square.
const LOOK_WIDTH: f64 = 960.0;
/// Smallest face in it, pixels: the cascade's own size.
const SMALLEST_FACE: i32 = 20;
/// The cascade, loaded.
pub struct RoadCascades {
    face: objdetect::CascadeClassifier,
}

impl RoadCascades {
    /// Loads it from a folder, by default [`crate::cascade::DEFAULT_FOLDER`].
    ///
    /// # Errors
    /// [`CascadeError::Missing`] and [`CascadeError::Damaged`].
    pub fn load(folder: &Path) -> Result<Self, CascadeError> {
        Ok(Self { face: load(folder.join(FACE_FILE))? })
    }

    /// Faces from the front within a part of the picture, as parts of the whole.
    ///
    /// # Errors
    /// [`CascadeError::Picture`]; a part outside of the picture has none.
    pub fn faces(
        &mut self,
        picture: &I420View<'_>,
        part: &PictureBox,
    ) -> Result<Vec<PictureBox>, CascadeError> {
        let scale = (f64::from(picture.width()), LOOK_WIDTH);
        let smallest = Size::new(SMALLEST_FACE, SMALLEST_FACE);
        let Some(part) = ScaledPart::cut(picture, part, scale, 1.0, smallest)? else {
            return Ok(Vec::new());
        };
        let (boxes, _) = detect(&mut self.face, &part.luma, SMALLEST_FACE, MIN_VOTES)?;
        Ok(boxes.iter().map(|b| part.place(b)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cascade::DEFAULT_FOLDER, test_pictures::moving};

    #[test]
    fn nothing_in_a_pattern_and_nothing_outside() {
        let Ok(mut cascades) = RoadCascades::load(Path::new(DEFAULT_FOLDER)) else {
            println!("skipped: the package opencv-data is not installed");
            return;
        };
        let picture = moving(640, 360, 1);
        let view = picture.view();
        for part in [
            PictureBox { x: 0.0, y: 0.0, w: 1.0, h: 1.0 },
            PictureBox { x: 2.0, y: 2.0, w: 1.0, h: 1.0 },
            PictureBox { x: f32::NAN, y: 0.0, w: 1.0, h: 1.0 },
            PictureBox { x: 0.0, y: 0.4, w: 1.0, h: 0.0 },
        ] {
            assert_eq!(cascades.faces(&view, &part).unwrap(), vec![], "{part:?}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = RoadCascades::load(folder.path()).err().unwrap().to_string();
        assert!(error.contains("opencv-data"), "{error}");
    }
}
