//! OpenCV's own Haar cascades for faces and number plates in the road picture: all that there is
//! without a model pack, and a second opinion on plates with one.

use std::path::Path;

use opencv::{core::Size, objdetect, prelude::*};
use temoin_proto::perception::PictureBox;

use crate::{
    bgr::scaled_luma,
    cascade::{CascadeError, FACE_FILE, MIN_VOTES, detect, fractions, load},
    frame::I420View,
    scaled_part::ScaledPart,
};

/// Made for plates of 520 x 112 mm, as most of Europe has them.
const PLATE_FILE: &str = "haarcascade_russian_plate_number.xml";
/// Faces and plates are looked for in a picture of this width, pixels: the cost grows with its
/// square.
const LOOK_WIDTH: u32 = 960;
/// Smallest face in it, pixels: the cascade's own size.
const SMALLEST_FACE: i32 = 20;
/// Smallest width of a plate, pixels: the cascade's own size is 36 x 9.
const SMALLEST_PLATE: i32 = 36;

/// The cascades, loaded.
pub struct RoadCascades {
    face: objdetect::CascadeClassifier,
    plate: objdetect::CascadeClassifier,
}

impl RoadCascades {
    /// Loads them from a folder, by default [`crate::cascade::DEFAULT_FOLDER`].
    ///
    /// # Errors
    /// [`CascadeError::Missing`] and [`CascadeError::Damaged`].
    pub fn load(folder: &Path) -> Result<Self, CascadeError> {
        Ok(Self { face: load(folder.join(FACE_FILE))?, plate: load(folder.join(PLATE_FILE))? })
    }

    /// Faces from the front, anywhere in the picture.
    ///
    /// # Errors
    /// [`CascadeError::Picture`].
    pub fn faces(&mut self, picture: &I420View<'_>) -> Result<Vec<PictureBox>, CascadeError> {
        look(&mut self.face, picture, SMALLEST_FACE)
    }

    /// Plates, anywhere in the picture.
    ///
    /// # Errors
    /// [`CascadeError::Picture`].
    pub fn plates(&mut self, picture: &I420View<'_>) -> Result<Vec<PictureBox>, CascadeError> {
        look(&mut self.plate, picture, SMALLEST_PLATE)
    }

    /// Plates within a part of the picture, about `plate_px` wide; as parts of the whole.
    ///
    /// # Errors
    /// [`CascadeError::Picture`]; a part outside of the picture has none.
    pub fn plates_within(
        &mut self,
        picture: &I420View<'_>,
        part: &PictureBox,
        plate_px: f32,
    ) -> Result<Vec<PictureBox>, CascadeError> {
        // A plate of 48 pixels is well above the cascade's own size, and costs little.
        let scale = (f64::from(plate_px), 48.0);
        let smallest = Size::new(SMALLEST_PLATE, 12);
        let Some(part) = ScaledPart::cut(picture, part, scale, 1.0, smallest)? else {
            return Ok(Vec::new());
        };
        let (boxes, _) = detect(&mut self.plate, &part.luma, SMALLEST_PLATE, MIN_VOTES)?;
        Ok(boxes.iter().map(|b| part.place(b)).collect())
    }
}

fn look(
    cascade: &mut objdetect::CascadeClassifier,
    picture: &I420View<'_>,
    smallest: i32,
) -> Result<Vec<PictureBox>, CascadeError> {
    let (gray, _) = scaled_luma(picture, LOOK_WIDTH)?;
    let (w, h) = (f64::from(gray.cols()), f64::from(gray.rows()));
    let (boxes, _) = detect(cascade, &gray, smallest, MIN_VOTES)?;
    Ok(boxes.iter().map(|b| fractions(b, w, h, (0.0, 0.0, 1.0, 1.0))).collect())
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
        assert_eq!(cascades.faces(&view).unwrap(), vec![]);
        assert_eq!(cascades.plates(&view).unwrap(), vec![]);
        for (part, plate_px) in [
            (PictureBox { x: 0.2, y: 0.2, w: 0.3, h: 0.5 }, 60.0),
            (PictureBox { x: 2.0, y: 2.0, w: 1.0, h: 1.0 }, 60.0),
            (PictureBox { x: f32::NAN, y: 0.0, w: 1.0, h: 1.0 }, 60.0),
            (PictureBox { x: 0.0, y: 0.0, w: 1.0, h: 1.0 }, f32::NAN),
            (PictureBox { x: 0.0, y: 0.0, w: 1.0, h: 1.0 }, 0.0),
        ] {
            assert!(cascades.plates_within(&view, &part, plate_px).unwrap().is_empty(), "{part:?}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = RoadCascades::load(folder.path()).err().unwrap().to_string();
        assert!(error.contains("opencv-data"), "{error}");
    }
}
