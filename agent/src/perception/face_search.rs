//! YuNet run over a picture or a part of it: for the driver and for everybody who is to be blurred.

use temoin_media::{
    bgr::Square,
    frame::{I420View, PictureError},
};

use crate::perception::{
    PerceptionError,
    model::Model,
    tensors::bgr_planes,
    yunet::{self, Face, Grid},
};

/// Names of YuNet's outputs, by stride: score of a face, of anything, box, points.
const YUNET_OUTPUTS: [&str; 12] = [
    "cls_8", "obj_8", "bbox_8", "kps_8", "cls_16", "obj_16", "bbox_16", "kps_16", "cls_32",
    "obj_32", "bbox_32", "kps_32",
];

/// YuNet, ready to run.
pub(crate) struct Yunet {
    net: Box<dyn Model>,
    input: Vec<f32>,
}

impl Yunet {
    pub(crate) fn new(net: Box<dyn Model>) -> Self {
        Self { net, input: Vec::new() }
    }

    /// The faces in a square, or in all of the picture, in pixels of the picture.
    ///
    /// # Errors
    /// [`PerceptionError::Infer`], [`PerceptionError::Picture`].
    pub(crate) fn faces(
        &mut self,
        picture: &I420View<'_>,
        square: Option<Square>,
        min_score: f32,
    ) -> Result<Vec<Face>, PerceptionError> {
        let side = yunet::INPUT_SIDE;
        let (bgr, scale, origin) = match square {
            Some(square) => {
                let bgr = match picture.cut_bgr(square, u32::from(side)) {
                    // A face that left the picture.
                    Err(PictureError::Outside) => return Ok(Vec::new()),
                    bgr => bgr?,
                };
                (bgr, square.side / f32::from(side), square.corner())
            }
            None => {
                let whole = picture.letterbox_bgr(u32::from(side))?;
                (whole.picture, 1.0 / whole.scale, [0.0, 0.0])
            }
        };
        bgr_planes(&bgr, 0.0, 1.0, &mut self.input);
        let given = self.net.run(&self.input, &YUNET_OUTPUTS)?;
        let grids: Vec<Grid<'_>> = yunet::STRIDES
            .into_iter()
            .zip(given.as_chunks::<4>().0)
            .map(|(stride, [cls, obj, bbox, kps])| Grid { stride, cls, obj, bbox, kps })
            .collect();
        let size = size(picture);
        Ok(yunet::faces_above(&grids, min_score)
            .iter()
            .map(|face| face.placed(scale, origin))
            // A square that reaches over the edge repeats the last row: no face is out there.
            .filter(|face| face.visible(size) > 0.3)
            .collect())
    }
}

/// Width and height of a picture, pixels.
#[expect(clippy::cast_precision_loss, reason = "sides of a picture are at most 4096")]
pub(crate) const fn size(picture: &I420View<'_>) -> (f32, f32) {
    (picture.width() as f32, picture.height() as f32)
}
