//! Pictures in I420, the one layout that this crate works on, and the way there from what
//! cameras give.
//!
//! INVARIANT: an [`I420Picture`] and an [`I420View`] have even sides of 2 to [`MAX_SIDE`] pixels
//! and exactly `width * height * 3 / 2` bytes: Y, then U, then V, rows packed. Every function
//! below relies on it, so nothing else can make one.

use bytes::Bytes;
use opencv::{
    core::{Mat, Size},
    imgproc,
};
use temoin_proto::{
    samples::{CameraId, Frame, PixelFormat},
    time::MonoTime,
};

use crate::rounding::{cv, index};

/// The longest side that is accepted, pixels.
pub const MAX_SIDE: u32 = 4096;

/// Why a picture was not made.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Sides that no 4:2:0 picture can have.
    #[error("a picture of {width}x{height} is not possible: sides must be even, 2 to 4096")]
    Size {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
    },
    /// Too few or too many bytes.
    #[error("a {width}x{height} picture takes {want} bytes, but {got} were given")]
    Length {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
        /// Bytes that the size takes.
        want: usize,
        /// Bytes that came.
        got: usize,
    },
    /// A part of the picture that lies outside of it, or has no area.
    #[error("the part to cut out lies outside the picture or has no area")]
    Outside,
    /// OpenCV refused.
    #[error("opencv: {0}")]
    OpenCv(#[from] opencv::Error),
}

/// Bytes of the luma plane and of one chroma plane; the size's own check.
fn plane_sizes(width: u32, height: u32) -> Result<(usize, usize), PictureError> {
    let good = |side: u32| side.is_multiple_of(2) && (2..=MAX_SIDE).contains(&side);
    if good(width) && good(height) {
        let luma = index(width) * index(height);
        Ok((luma, luma / 4))
    } else {
        Err(PictureError::Size { width, height })
    }
}

/// A picture in I420 that owns its pixels.
#[derive(Clone, PartialEq, Eq)]
pub struct I420Picture {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

/// A picture in I420 whose pixels belong to someone else.
#[derive(Clone, Copy)]
pub struct I420View<'a> {
    width: u32,
    height: u32,
    y: &'a [u8],
    u: &'a [u8],
    v: &'a [u8],
}

/// A camera's frame as a picture in I420: its own pixels where they are in I420, else a conversion.
pub enum I420Frame<'a> {
    /// Its own pixels.
    Own(I420View<'a>),
    /// Converted.
    Converted(I420Picture),
}

impl<'a> I420Frame<'a> {
    /// Takes a frame; nothing is copied where it is in I420.
    ///
    /// # Errors
    /// Those of [`I420Picture::from_frame`].
    pub fn of(frame: &'a Frame) -> Result<Self, PictureError> {
        match I420View::of_frame(frame) {
            Some(view) => Ok(Self::Own(view)),
            None => I420Picture::from_frame(frame.clone()).map(Self::Converted),
        }
    }

    /// The picture.
    pub fn view(&self) -> I420View<'_> {
        match self {
            Self::Own(view) => *view,
            Self::Converted(picture) => picture.view(),
        }
    }
}

/// The planes of a picture, to write to. `u` and `v` have half of the width and of the height.
pub struct PlanesMut<'a> {
    /// Luma.
    pub y: &'a mut [u8],
    /// Blue difference.
    pub u: &'a mut [u8],
    /// Red difference.
    pub v: &'a mut [u8],
}

/// How bright a picture is and how much there is to see in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LumaStats {
    /// Mean luma, 0 to 255.
    pub mean: f32,
    /// Standard deviation of the luma: near 0 for a covered or blinded camera.
    pub deviation: f32,
}

impl std::fmt::Debug for I420Picture {
    // Never the pixels.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "I420Picture({}x{})", self.width, self.height)
    }
}

impl std::fmt::Debug for I420View<'_> {
    // Never the pixels.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "I420View({}x{})", self.width, self.height)
    }
}

impl I420Picture {
    /// A black picture.
    ///
    /// # Errors
    /// [`PictureError::Size`].
    pub fn black(width: u32, height: u32) -> Result<Self, PictureError> {
        let (luma, chroma) = plane_sizes(width, height)?;
        let mut data = vec![16; luma];
        data.resize(luma + 2 * chroma, 128);
        Ok(Self { width, height, data })
    }

    /// A picture of these bytes, which are not copied.
    ///
    /// # Errors
    /// [`PictureError::Size`] and [`PictureError::Length`].
    pub fn from_vec(width: u32, height: u32, data: Vec<u8>) -> Result<Self, PictureError> {
        let (luma, chroma) = plane_sizes(width, height)?;
        let (want, got) = (luma + 2 * chroma, data.len());
        if want == got {
            Ok(Self { width, height, data })
        } else {
            Err(PictureError::Length { width, height, want, got })
        }
    }

    /// The frame in I420. Copies nothing where the frame is I420 already and nobody else holds
    /// its pixels.
    ///
    /// # Errors
    /// [`PictureError::Size`] and [`PictureError::Length`] where the frame breaks its own rules.
    pub fn from_frame(frame: Frame) -> Result<Self, PictureError> {
        let Frame { width, height, format, data, .. } = frame;
        let (luma, chroma) = plane_sizes(width, height)?;
        let (want, got) = (format.size_bytes(index(width), index(height)), data.len());
        if want != got {
            return Err(PictureError::Length { width, height, want, got });
        }
        let total = luma + 2 * chroma;
        let data = match format {
            PixelFormat::I420 => Vec::from(data),
            PixelFormat::Nv12 => {
                let mut out = Vec::with_capacity(total);
                let (y, uv) = data.split_at_checked(luma).unwrap_or_default();
                out.extend_from_slice(y);
                let pairs = uv.as_chunks::<2>().0;
                out.extend(pairs.iter().map(|[u, _]| *u));
                out.extend(pairs.iter().map(|[_, v]| *v));
                out
            }
            PixelFormat::Yuyv => yuyv_to_i420(&data, index(width), luma, chroma),
            PixelFormat::Gray8 => {
                let mut out = Vec::with_capacity(total);
                out.extend_from_slice(&data);
                out.resize(total, 128);
                out
            }
        };
        Self::from_vec(width, height, data)
    }

    /// A frame of this picture. Copies nothing.
    pub fn into_frame(self, camera: CameraId, at: MonoTime) -> Frame {
        let Self { width, height, data } = self;
        Frame { camera, at, width, height, format: PixelFormat::I420, data: Bytes::from(data) }
    }

    /// Width, pixels.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Height, pixels.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// All bytes: Y, then U, then V.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// All bytes, taken out.
    pub fn into_vec(self) -> Vec<u8> {
        self.data
    }

    /// This picture, to look at.
    pub fn view(&self) -> I420View<'_> {
        let luma = index(self.width) * index(self.height);
        let (y, chroma) = self.data.split_at_checked(luma).unwrap_or_default();
        let (u, v) = chroma.split_at_checked(luma / 4).unwrap_or_default();
        I420View { width: self.width, height: self.height, y, u, v }
    }

    /// Its planes, to write to.
    pub fn planes_mut(&mut self) -> PlanesMut<'_> {
        let luma = index(self.width) * index(self.height);
        let (y, chroma) = self.data.split_at_mut_checked(luma).unwrap_or_default();
        let (u, v) = chroma.split_at_mut_checked(luma / 4).unwrap_or_default();
        PlanesMut { y, u, v }
    }
}

/// 4:2:2 to 4:2:0: luma as it is, chroma the mean of two rows.
fn yuyv_to_i420(data: &[u8], width: usize, luma: usize, chroma: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(luma + 2 * chroma);
    out.extend(data.as_chunks::<2>().0.iter().map(|[y, _]| *y));
    let row_pairs = || data.chunks_exact(width * 4).map(|rows| rows.split_at(width * 2));
    let mean = |a: u8, b: u8| a.midpoint(b);
    for (top, bottom) in row_pairs() {
        let quads = top.as_chunks::<4>().0.iter().zip(bottom.as_chunks::<4>().0);
        out.extend(quads.map(|([_, a, _, _], [_, b, _, _])| mean(*a, *b)));
    }
    for (top, bottom) in row_pairs() {
        let quads = top.as_chunks::<4>().0.iter().zip(bottom.as_chunks::<4>().0);
        out.extend(quads.map(|([_, _, _, a], [_, _, _, b])| mean(*a, *b)));
    }
    out
}

impl<'a> I420View<'a> {
    /// A view of these bytes.
    ///
    /// # Errors
    /// [`PictureError::Size`] and [`PictureError::Length`].
    pub fn new(width: u32, height: u32, data: &'a [u8]) -> Result<Self, PictureError> {
        let (luma, chroma) = plane_sizes(width, height)?;
        let (want, got) = (luma + 2 * chroma, data.len());
        if want != got {
            return Err(PictureError::Length { width, height, want, got });
        }
        let (y, rest) = data.split_at_checked(luma).unwrap_or_default();
        let (u, v) = rest.split_at_checked(chroma).unwrap_or_default();
        Ok(Self { width, height, y, u, v })
    }

    /// A view of a frame that is in I420; `None` for any other format (convert it once with
    /// [`I420Picture::from_frame`]) and where the frame breaks its own rules.
    pub fn of_frame(frame: &'a Frame) -> Option<Self> {
        match frame.format {
            PixelFormat::I420 => Self::new(frame.width, frame.height, &frame.data).ok(),
            PixelFormat::Nv12 | PixelFormat::Yuyv | PixelFormat::Gray8 => None,
        }
    }

    /// Width, pixels.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Height, pixels.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// The luma plane, one byte a pixel.
    pub const fn luma(&self) -> &'a [u8] {
        self.y
    }

    /// The planes with their sides: luma, then both chromas at half of them.
    pub(crate) fn planes(&self) -> [(u32, u32, &'a [u8]); 3] {
        let (w, h) = (self.width / 2, self.height / 2);
        [(self.width, self.height, self.y), (w, h, self.u), (w, h, self.v)]
    }

    /// A copy that owns its pixels.
    pub fn to_picture(&self) -> I420Picture {
        let data = [self.y, self.u, self.v].concat();
        I420Picture { width: self.width, height: self.height, data }
    }

    /// The picture scaled to `width` x `height`, both even.
    ///
    /// # Errors
    /// [`PictureError::Size`].
    pub fn resize(&self, width: u32, height: u32) -> Result<I420Picture, PictureError> {
        if (width, height) == (self.width, self.height) {
            return Ok(self.to_picture());
        }
        let mut out = I420Picture::black(width, height)?;
        let how = interpolation(self.width.max(self.height), width.max(height));
        for ((w, h, from), (to_w, to_h, to)) in self.planes().into_iter().zip(out.plane_list()) {
            resize_plane((w, h, from), (to_w, to_h, to), how)?;
        }
        Ok(out)
    }

    /// Brightness and contrast, of every fourth row: what 'bad light' is decided on.
    pub fn luma_stats(&self) -> LumaStats {
        let (mut n, mut sum, mut squares) = (0_u64, 0_u64, 0_u64);
        for row in self.y.chunks_exact(index(self.width)).step_by(4) {
            // Per row in 32 bits, which the compiler turns into vector code: 4096 * 255² fits.
            let (s, q) = row.iter().fold((0_u32, 0_u32), |(s, q), &p| {
                (s + u32::from(p), q + u32::from(p) * u32::from(p))
            });
            n += u64::from(self.width);
            sum += u64::from(s);
            squares += u64::from(q);
        }
        #[expect(clippy::cast_precision_loss, reason = "sums of at most 4096² pixels")]
        let (n, sum, squares) = (n.max(1) as f64, sum as f64, squares as f64);
        let mean = sum / n;
        let deviation = (squares / n - mean * mean).max(0.0).sqrt();
        #[expect(clippy::cast_possible_truncation, reason = "0 to 255")]
        let stats = LumaStats { mean: mean as f32, deviation: deviation as f32 };
        stats
    }
}

impl I420Picture {
    /// The planes with their sides, to write to.
    pub(crate) fn plane_list(&mut self) -> [(u32, u32, &mut [u8]); 3] {
        let (width, height) = (self.width, self.height);
        let PlanesMut { y, u, v } = self.planes_mut();
        [(width, height, y), (width / 2, height / 2, u), (width / 2, height / 2, v)]
    }
}

/// Area averaging where the picture shrinks by more than half (bilinear would skip pixels and
/// flicker), bilinear else.
pub(crate) const fn interpolation(from: u32, to: u32) -> i32 {
    if from > 2 * to { imgproc::INTER_AREA } else { imgproc::INTER_LINEAR }
}

/// Scales one plane into another.
pub(crate) fn resize_plane(
    (w, h, from): (u32, u32, &[u8]),
    (to_w, to_h, to): (u32, u32, &mut [u8]),
    how: i32,
) -> Result<(), PictureError> {
    let from = Mat::new_rows_cols_with_bytes::<u8>(cv(h), cv(w), from)?;
    let mut to = Mat::new_rows_cols_with_bytes_mut::<u8>(cv(to_h), cv(to_w), to)?;
    imgproc::resize(&from, &mut to, Size::new(cv(to_w), cv(to_h)), 0.0, 0.0, how)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_pictures::gradient;

    fn frame(format: PixelFormat, width: u32, height: u32, data: Vec<u8>) -> Frame {
        Frame {
            camera: CameraId::Road,
            at: MonoTime::ZERO,
            width,
            height,
            format,
            data: Bytes::from(data),
        }
    }

    #[test]
    fn every_format_becomes_i420() {
        let y = [10, 20, 30, 40, 50, 60, 70, 80];
        for (name, format, data, want_chroma) in [
            ("i420", PixelFormat::I420, [&y[..], &[1, 2, 3, 4]].concat(), [1, 2, 3, 4]),
            ("nv12", PixelFormat::Nv12, [&y[..], &[1, 3, 2, 4]].concat(), [1, 2, 3, 4]),
            (
                "yuyv",
                PixelFormat::Yuyv,
                vec![10, 1, 20, 3, 30, 2, 40, 4, 50, 3, 60, 5, 70, 4, 80, 6],
                [2, 3, 4, 5],
            ),
            ("gray", PixelFormat::Gray8, y.to_vec(), [128; 4]),
        ] {
            let picture = I420Picture::from_frame(frame(format, 4, 2, data)).unwrap();
            assert_eq!(picture.data(), [&y[..], &want_chroma].concat(), "{name}");
        }
    }

    #[test]
    fn i420_is_not_copied() {
        let data = gradient(64, 32).into_vec();
        let before = data.as_ptr();
        let picture = I420Picture::from_frame(frame(PixelFormat::I420, 64, 32, data)).unwrap();
        assert_eq!(picture.data().as_ptr(), before);
        let frame = picture.into_frame(CameraId::Cabin, MonoTime::ZERO);
        assert_eq!(frame.data.as_ptr(), before);
    }

    #[test]
    fn impossible_pictures_are_refused() {
        for (width, height) in [(0, 2), (3, 2), (2, 3), (4098, 2), (u32::MAX - 1, 2)] {
            let error = I420Picture::black(width, height).unwrap_err();
            assert!(matches!(error, PictureError::Size { .. }), "{error}");
        }
        for (format, len) in [
            (PixelFormat::I420, 11),
            (PixelFormat::Nv12, 13),
            (PixelFormat::Yuyv, 12),
            (PixelFormat::Gray8, 0),
        ] {
            let error = I420Picture::from_frame(frame(format, 4, 2, vec![0; len])).unwrap_err();
            assert!(matches!(error, PictureError::Length { .. }), "{error}");
        }
    }

    #[test]
    fn scaling_keeps_what_is_where() {
        let small = gradient(640, 360).view().resize(160, 90).unwrap();
        let row = &small.data()[160 * 45..160 * 46];
        assert!(row.is_sorted(), "luma rises from left to right");
        assert!(row[159] > row[0] + 150);
        assert_eq!(small.view().planes()[1].2.len(), 80 * 45);
    }

    #[test]
    fn light_is_measured() {
        let black = I420Picture::black(64, 64).unwrap().view().luma_stats();
        assert_eq!(black, LumaStats { mean: 16.0, deviation: 0.0 });
        let rich = gradient(64, 64).view().luma_stats();
        assert!((100.0..160.0).contains(&rich.mean), "{rich:?}");
        assert!(rich.deviation > 50.0, "{rich:?}");
    }

    #[test]
    fn a_picture_prints_no_pixels() {
        assert_eq!(format!("{:?}", gradient(4, 2)), "I420Picture(4x2)");
    }
}
