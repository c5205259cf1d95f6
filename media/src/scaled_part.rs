//! A part of a picture's luma, scaled to the size that a search wants.

use opencv::{
    core::{Mat, Rect, Size},
    imgproc,
    prelude::*,
};
use temoin_proto::perception::PictureBox;

use crate::{
    cascade::fractions,
    frame::{I420View, PictureError},
    rounding::{cv, round_i32},
};

/// A part that is scaled beyond this is a mistake of the caller's, pixels.
const LONGEST: i32 = 1024;

/// See the module.
pub(crate) struct ScaledPart {
    /// Its luma, scaled.
    pub(crate) luma: Mat,
    /// Its place, parts of the whole picture: x, y, width, height.
    pub(crate) within: (f64, f64, f64, f64),
}

impl ScaledPart {
    /// Cuts out `part` and scales it so that `reference_px` become `wanted_px`, at most `most`
    /// times larger. `None` where the part is outside of the picture, or smaller than `smallest`
    /// after scaling.
    pub(crate) fn cut(
        picture: &I420View<'_>,
        part: &PictureBox,
        (reference_px, wanted_px): (f64, f64),
        most: f64,
        smallest: Size,
    ) -> Result<Option<Self>, PictureError> {
        let (width, height) = (cv(picture.width()), cv(picture.height()));
        let (w, h) = (f64::from(width), f64::from(height));
        let area = Rect::new(
            round_i32(f64::from(part.x) * w),
            round_i32(f64::from(part.y) * h),
            round_i32(f64::from(part.w) * w),
            round_i32(f64::from(part.h) * h),
        ) & Rect::new(0, 0, width, height);
        let scale = (wanted_px / reference_px).min(most);
        let size = Size::new(
            round_i32(f64::from(area.width) * scale).min(LONGEST),
            round_i32(f64::from(area.height) * scale).min(LONGEST),
        );
        if scale.is_nan() || size.width < smallest.width || size.height < smallest.height {
            return Ok(None);
        }
        let luma = Mat::new_rows_cols_with_bytes::<u8>(height, width, picture.luma())?;
        let from = Mat::roi(&luma, area)?;
        let mut scaled = Mat::default();
        let how = if scale < 1.0 { imgproc::INTER_AREA } else { imgproc::INTER_LINEAR };
        imgproc::resize(&from, &mut scaled, size, 0.0, 0.0, how)?;
        Ok(Some(Self {
            luma: scaled,
            within: (
                f64::from(area.x) / w,
                f64::from(area.y) / h,
                f64::from(area.width) / w,
                f64::from(area.height) / h,
            ),
        }))
    }

    /// A box in the scaled luma, as parts of the whole picture.
    pub(crate) fn place(&self, found: Rect) -> PictureBox {
        let size = (f64::from(self.luma.cols()), f64::from(self.luma.rows()));
        fractions(found, size.0, size.1, self.within)
    }
}
