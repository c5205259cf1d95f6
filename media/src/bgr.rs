//! Pictures in BGR, as the models want them, cut and scaled out of I420.
//!
//! Cutting and scaling is done on the planes and only the small result is turned into BGR: a
//! 64x64 face out of 1280x720 touches a few thousand pixels, not a million.

use opencv::{
    core::{self, Mat, Rect, Scalar, Size, Vec3b},
    imgproc,
    prelude::*,
};

use crate::{
    frame::{I420Picture, I420View, PictureError, interpolation, resize_plane},
    rounding::{cv, index, round_i32, round_u32},
};

/// The largest side that a cut-out is scaled to, pixels.
const MAX_CUT: u32 = 1024;

/// A picture of 3 bytes a pixel: blue, green, red; rows packed.
#[derive(Clone, PartialEq, Eq)]
pub struct BgrPicture {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

impl std::fmt::Debug for BgrPicture {
    // Never the pixels.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BgrPicture({}x{})", self.width, self.height)
    }
}

/// A picture scaled into the top left of a black square.
#[derive(Clone, Debug)]
pub struct Letterboxed {
    /// The square.
    pub picture: BgrPicture,
    /// Pixels of the square for one pixel of the source: divide by it to get back.
    pub scale: f32,
}

/// A square part of a picture, in its pixels. It may reach over the edge, where the picture's
/// last row or column is repeated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Square {
    /// Middle, from the left edge.
    pub x: f32,
    /// Middle, from the top edge.
    pub y: f32,
    /// Length of a side.
    pub side: f32,
    /// Clockwise turn of the square in the picture, degrees: the cut-out stands upright.
    pub angle_deg: f32,
}

impl Square {
    /// An upright square.
    pub const fn upright(x: f32, y: f32, side: f32) -> Self {
        Self { x, y, side, angle_deg: 0.0 }
    }

    /// The top left corner of an upright square, pixels of the picture.
    #[must_use]
    pub const fn corner(&self) -> [f32; 2] {
        [self.x - self.side / 2.0, self.y - self.side / 2.0]
    }
}

impl BgrPicture {
    fn filled(width: u32, height: u32, gray: u8) -> Self {
        Self { width, height, data: vec![gray; index(width) * index(height) * 3] }
    }

    /// Width, pixels.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Height, pixels.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Its bytes: blue, green, red of the top left pixel first.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Left becomes right.
    #[must_use]
    pub fn mirrored(mut self) -> Self {
        for row in self.data.chunks_exact_mut(index(self.width) * 3) {
            let (pixels, _) = row.as_chunks_mut::<3>();
            pixels.reverse();
        }
        self
    }

    /// Turns the planes into BGR in the top left of `self`.
    fn fill_top_left(&mut self, from: &I420Picture) -> Result<(), PictureError> {
        let (w, h) = (cv(from.width()), cv(from.height()));
        let yuv = Mat::new_rows_cols_with_bytes::<u8>(h / 2 * 3, w, from.data())?;
        let mut all = Mat::new_rows_cols_with_bytes_mut::<Vec3b>(
            cv(self.height),
            cv(self.width),
            &mut self.data,
        )?;
        let mut part = Mat::roi_mut(&mut all, Rect::new(0, 0, w, h))?;
        imgproc::cvt_color_def(&yuv, &mut part, imgproc::COLOR_YUV2BGR_I420)?;
        Ok(())
    }
}

impl I420View<'_> {
    /// The whole picture in BGR, scaled to `width` x `height`, both even.
    ///
    /// # Errors
    /// [`PictureError::Size`].
    pub fn to_bgr(&self, width: u32, height: u32) -> Result<BgrPicture, PictureError> {
        let scaled = self.resize(width, height)?;
        let mut out = BgrPicture::filled(width, height, 0);
        out.fill_top_left(&scaled)?;
        Ok(out)
    }

    /// The whole picture, its shape kept, in the top left of a black square with this side
    /// (even, at most 1024): what YuNet takes.
    ///
    /// # Errors
    /// [`PictureError::Size`] for an odd or too long side.
    pub fn letterbox_bgr(&self, side: u32) -> Result<Letterboxed, PictureError> {
        self.letterbox_bgr_on(side, 0)
    }

    /// As [`Self::letterbox_bgr`] on a square of this gray: YOLOX takes 114.
    ///
    /// # Errors
    /// Those of [`Self::letterbox_bgr`].
    pub fn letterbox_bgr_on(&self, side: u32, gray: u8) -> Result<Letterboxed, PictureError> {
        check_cut(side)?;
        let scale = f64::from(side) / f64::from(self.width().max(self.height()));
        let fit =
            |x: u32| crate::rounding::even_at_least_2(round_u32(f64::from(x) * scale).min(side));
        let scaled = self.resize(fit(self.width()), fit(self.height()))?;
        let mut picture = BgrPicture::filled(side, side, gray);
        picture.fill_top_left(&scaled)?;
        #[expect(clippy::cast_possible_truncation, reason = "a ratio of two small numbers")]
        let scale = scale as f32;
        Ok(Letterboxed { picture, scale })
    }

    /// A square part of the picture in BGR, scaled to `side` x `side` (even, at most 1024).
    ///
    /// # Errors
    /// [`PictureError::Outside`] where the square does not touch the picture, is smaller than
    /// 2 pixels or more than four times the picture; [`PictureError::Size`] for an odd or too
    /// long side.
    pub fn cut_bgr(&self, square: Square, side: u32) -> Result<BgrPicture, PictureError> {
        let cut = self.cut(square, side)?;
        let mut out = BgrPicture::filled(side, side, 0);
        out.fill_top_left(&cut)?;
        Ok(out)
    }

    /// As [`Self::cut_bgr`], left in I420.
    ///
    /// # Errors
    /// Those of [`Self::cut_bgr`].
    pub fn cut(&self, square: Square, side: u32) -> Result<I420Picture, PictureError> {
        check_cut(side)?;
        let Square { x, y, side: from_side, angle_deg } = square;
        let (w, h) = (f64::from(self.width()), f64::from(self.height()));
        let (x, y, from_side) = (f64::from(x), f64::from(y), f64::from(from_side));
        // The corner of a turned square is 0.71 of the side away from its middle.
        let reach = from_side * if angle_deg == 0.0 { 0.5 } else { 0.71 };
        let touches = x + reach > 0.0 && y + reach > 0.0 && x - reach < w && y - reach < h;
        // Written so that NaN is outside as well.
        if !(touches && from_side >= 2.0 && from_side <= 4.0 * w.max(h) && angle_deg.is_finite()) {
            return Err(PictureError::Outside);
        }
        // Bilinear warping reads four pixels: where it would skip some, average areas instead.
        if angle_deg == 0.0 && from_side > 1.5 * f64::from(side) {
            self.cut_upright(x, y, from_side, side)
        } else {
            self.cut_turned(x, y, from_side, f64::from(angle_deg), side)
        }
    }

    /// Cuts whole pixels out and scales them: by halves, which is cheap and exact, and the rest,
    /// less than a half, bilinearly. One averaging of areas of 1.6 pixels would cost four times
    /// as much.
    fn cut_upright(
        &self,
        x: f64,
        y: f64,
        from: f64,
        side: u32,
    ) -> Result<I420Picture, PictureError> {
        let mut out = I420Picture::black(side, side)?;
        let halvings = halvings(from / f64::from(side));
        // In chroma pixels first, so that luma and chroma show the same part; a whole number of
        // them for each halving.
        let step = 1_u32 << halvings;
        let half = round_u32(from / 2.0 / f64::from(step)).max(1) * step;
        let corner = f64::from(half);
        let (left, top) = (round_i32((x - corner) / 2.0), round_i32((y - corner) / 2.0));
        for (n, ((w, h, plane), to)) in self.planes().into_iter().zip(out.plane_list()).enumerate()
        {
            let double = if n == 0 { 2 } else { 1 };
            let (left, top) = (left * double, top * double);
            let cut_side = cv(half) * double;
            let whole = Rect::new(0, 0, cv(w), cv(h));
            let wanted = Rect::new(left, top, cut_side, cut_side);
            let inside = wanted & whole;
            if inside.empty() {
                return Err(PictureError::Outside);
            }
            let from = Mat::new_rows_cols_with_bytes::<u8>(cv(h), cv(w), plane)?;
            let mut part = Mat::roi(&from, inside)?.clone_pointee();
            if inside != wanted {
                let mut padded = Mat::default();
                core::copy_make_border(
                    &part,
                    &mut padded,
                    inside.y - top,
                    top + cut_side - inside.y - inside.height,
                    inside.x - left,
                    left + cut_side - inside.x - inside.width,
                    core::BORDER_REPLICATE,
                    Scalar::default(),
                )?;
                part = padded;
            }
            for _ in 0..halvings {
                let mut smaller = Mat::default();
                let size = Size::new(part.cols() / 2, part.rows() / 2);
                imgproc::resize(&part, &mut smaller, size, 0.0, 0.0, imgproc::INTER_AREA)?;
                part = smaller;
            }
            let (to_w, to_h, to) = to;
            let mut to = Mat::new_rows_cols_with_bytes_mut::<u8>(cv(to_h), cv(to_w), to)?;
            let size = Size::new(cv(to_w), cv(to_h));
            imgproc::resize(&part, &mut to, size, 0.0, 0.0, imgproc::INTER_LINEAR)?;
        }
        Ok(out)
    }

    /// Samples the picture along a turned grid.
    fn cut_turned(
        &self,
        x: f64,
        y: f64,
        from: f64,
        angle_deg: f64,
        side: u32,
    ) -> Result<I420Picture, PictureError> {
        let mut out = I420Picture::black(side, side)?;
        let (sin, cos) = angle_deg.to_radians().sin_cos();
        for (n, ((w, h, plane), to)) in self.planes().into_iter().zip(out.plane_list()).enumerate()
        {
            let (to_w, to_h, to) = to;
            let half = if n == 0 { 1.0 } else { 0.5 };
            // Pixel centres lie at .5: the middle of the square goes to the middle of the cut.
            let scale = from * half / f64::from(to_w);
            let (a, b) = (cos * scale, sin * scale);
            let middle = f64::from(to_w) / 2.0 - 0.5;
            let dx = x * half - 0.5 - (a * middle - b * middle);
            let dy = y * half - 0.5 - (b * middle + a * middle);
            let rows = [[a, -b, dx], [b, a, dy]];
            let matrix = Mat::from_slice_2d(&rows)?;
            let from = Mat::new_rows_cols_with_bytes::<u8>(cv(h), cv(w), plane)?;
            let mut to = Mat::new_rows_cols_with_bytes_mut::<u8>(cv(to_h), cv(to_w), to)?;
            imgproc::warp_affine(
                &from,
                &mut to,
                &matrix,
                Size::new(cv(to_w), cv(to_h)),
                imgproc::INTER_LINEAR | imgproc::WARP_INVERSE_MAP,
                core::BORDER_REPLICATE,
                Scalar::default(),
            )?;
        }
        Ok(out)
    }
}

/// How often a picture that shrinks by this ratio is halved, so that less than a half is left.
fn halvings(ratio: f64) -> u32 {
    let mut left = ratio;
    let mut n = 0;
    // The ratio is at most four times the longest side: 4096 * 4 / 2.
    while left >= 2.0 && n < 14 {
        left /= 2.0;
        n += 1;
    }
    n
}

fn check_cut(side: u32) -> Result<(), PictureError> {
    if side.is_multiple_of(2) && (2..=MAX_CUT).contains(&side) {
        Ok(())
    } else {
        Err(PictureError::Size { width: side, height: side })
    }
}

/// The luma of a picture, scaled, as OpenCV's detectors take it.
pub(crate) fn scaled_luma(view: &I420View<'_>, width: u32) -> Result<(Mat, f64), PictureError> {
    let scale = (f64::from(width) / f64::from(view.width())).min(1.0);
    let (w, h) = (
        round_u32(f64::from(view.width()) * scale).max(1),
        round_u32(f64::from(view.height()) * scale).max(1),
    );
    let mut data = vec![0; index(w) * index(h)];
    let from = (view.width(), view.height(), view.luma());
    resize_plane(from, (w, h, &mut data), interpolation(view.width(), w))?;
    let gray = Mat::new_rows_cols_with_bytes::<u8>(cv(h), cv(w), &data)?.try_clone()?;
    Ok((gray, scale))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_pictures::{gradient, moving};

    fn gray(picture: &BgrPicture, x: usize, y: usize) -> i32 {
        i32::from(picture.data[(y * picture.width as usize + x) * 3])
    }

    /// What BT.601 makes of a gray of this luma.
    fn shown(luma: f64) -> i32 {
        round_i32(((luma - 16.0) * 255.0 / 219.0).clamp(0.0, 255.0))
    }

    #[test]
    fn letter_box_is_top_left_and_says_its_scale() {
        let boxed = gradient(1280, 720).view().letterbox_bgr(640).unwrap();
        assert!((boxed.scale - 0.5).abs() < 1e-6);
        let picture = &boxed.picture;
        assert_eq!((picture.width(), picture.height()), (640, 640));
        assert_eq!(gray(picture, 639, 359), 255);
        assert_eq!(gray(picture, 639, 360), 0);
        let on_gray = gradient(1280, 720).view().letterbox_bgr_on(416, 114).unwrap().picture;
        assert_eq!((gray(&on_gray, 415, 234), gray(&on_gray, 0, 415)), (114, 114));
        assert!(gray(&on_gray, 415, 232) > 240);
        assert!((gray(picture, 320, 100) - shown(127.5)).abs() <= 2);
        let upright = gradient(360, 640).view().letterbox_bgr(320).unwrap();
        assert_eq!(gray(&upright.picture, 181, 319), 0);
        assert!(gray(&upright.picture, 179, 319) > 240);
    }

    #[test]
    fn cuts_show_the_right_place() {
        // Luma is x / 1279 * 255: each pixel of a cut tells where it was.
        let picture = gradient(1280, 720);
        let luma_at = |x: f64| shown(x.clamp(0.0, 1279.0) * 255.0 / 1279.0);
        for (name, square) in [
            ("averaged", Square::upright(640.0, 360.0, 400.0)),
            ("bilinear", Square::upright(300.0, 200.0, 80.0)),
            ("enlarged", Square::upright(901.5, 99.5, 31.0)),
            ("over the right edge", Square::upright(1270.0, 360.0, 200.0)),
            ("over the top left corner", Square::upright(10.0, 10.0, 300.0)),
        ] {
            let cut = picture.view().cut_bgr(square, 64).unwrap();
            for column in [0, 20, 32, 63] {
                let x = f64::from(square.x)
                    + (f64::from(column) + 0.5 - 32.0) * f64::from(square.side) / 64.0
                    - 0.5;
                let got = gray(&cut, column as usize, 32);
                assert!((got - luma_at(x)).abs() <= 3, "{name}, column {column}: {got}");
            }
        }
    }

    #[test]
    fn a_turned_cut_is_turned() {
        let picture = gradient(1280, 720);
        // Turned by 90° clockwise, the cut's right is the picture's down: luma rises upwards.
        let square = Square { angle_deg: 90.0, ..Square::upright(640.0, 360.0, 64.0) };
        let cut = picture.view().cut_bgr(square, 64).unwrap();
        assert!((gray(&cut, 5, 32) - gray(&cut, 60, 32)).abs() <= 2);
        assert!(gray(&cut, 32, 2) > gray(&cut, 32, 61) + 8);
        // Turned by 0° through the same path as any other angle, it is the plain cut.
        let plain = picture.view().cut_bgr(Square::upright(640.0, 360.0, 64.0), 64).unwrap();
        let tiny = Square { angle_deg: 1e-6, ..Square::upright(640.0, 360.0, 64.0) };
        assert_eq!(picture.view().cut_bgr(tiny, 64).unwrap(), plain);
    }

    #[test]
    fn colour_is_right() {
        let mut picture = I420Picture::black(64, 64).unwrap();
        let planes = picture.planes_mut();
        // Pure red in BT.601.
        planes.y.fill(81);
        planes.u.fill(90);
        planes.v.fill(240);
        let bgr = picture.view().to_bgr(32, 32).unwrap();
        let [b, g, r] = bgr.data().as_chunks::<3>().0[100];
        assert!(b < 5 && g < 5 && r > 250, "{b} {g} {r}");
    }

    #[test]
    fn mirrored_twice_is_the_same() {
        let bgr = moving(64, 48, 5).view().to_bgr(64, 48).unwrap();
        let mirrored = bgr.clone().mirrored();
        assert_eq!(gray(&mirrored, 0, 7), gray(&bgr, 63, 7));
        assert_eq!(mirrored.mirrored(), bgr);
    }

    #[test]
    fn impossible_cuts_are_refused() {
        let picture = gradient(64, 48);
        let view = picture.view();
        for square in [
            Square::upright(-100.0, 20.0, 50.0),
            Square::upright(20.0, 200.0, 50.0),
            Square::upright(20.0, 20.0, 0.5),
            Square::upright(20.0, 20.0, 1e6),
            Square::upright(f32::NAN, 20.0, 20.0),
            Square::upright(20.0, 20.0, f32::NAN),
            Square { angle_deg: f32::INFINITY, ..Square::upright(20.0, 20.0, 20.0) },
        ] {
            let error = view.cut_bgr(square, 64).unwrap_err();
            assert!(matches!(error, PictureError::Outside), "{square:?}: {error}");
        }
        for side in [0, 63, 4096] {
            assert!(view.cut_bgr(Square::upright(20.0, 20.0, 20.0), side).is_err(), "{side}");
            assert!(view.letterbox_bgr(side).is_err(), "{side}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_square_panics(x in -80.0_f32..160.0, y in -80.0_f32..160.0, side in 0.0_f32..400.0,
                            angle in -400.0_f32..400.0, upright: bool) {
            let picture = gradient(64, 48);
            let angle_deg = if upright { 0.0 } else { angle };
            let cut = picture.view().cut_bgr(Square { x, y, side, angle_deg }, 64);
            assert!(matches!(cut, Ok(_) | Err(PictureError::Outside)), "{cut:?}");
        }
    }
}
