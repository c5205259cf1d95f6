//! One JPEG of a camera, as NV12.
//!
//! JPEG has brightness from 0 to 255 (JFIF), the unit's pictures from 16 to 235 as all other cameras
//! give them (ITU-R BT.601): it is brought into that. What cameras leave out (tables that are always the same)
//! and add (bytes behind the end) is allowed; a picture without an end was cut short on its way.

use bytes::Bytes;
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use crate::video_file::PictureSize;

/// How a JPEG ends. Cameras fill what is behind with zeros.
const END: [u8; 2] = [0xFF, 0xD9];

/// A picture of exactly this size.
///
/// # Errors
/// Where it is damaged, cut short or of another size, in words.
pub(crate) fn decode(jpeg: &[u8], size: PictureSize) -> Result<Bytes, String> {
    let [width, height] =
        [size.width, size.height].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let end = jpeg.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if !jpeg.get(..end).is_some_and(|jpeg| jpeg.ends_with(&END)) {
        return Err("it has no end".to_owned());
    }
    let mut options = DecoderOptions::default()
        .set_max_width(width)
        .set_max_height(height)
        .set_strict_mode(false);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(jpeg), options);
    decoder.decode_headers().map_err(|e| e.to_string())?;
    if decoder.dimensions() != Some((width, height)) {
        return Err(format!("it is {:?}, not {width}x{height}", decoder.dimensions()));
    }
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let space = if grey { ColorSpace::Luma } else { ColorSpace::YCbCr };
    options = options.jpeg_set_out_colorspace(space);
    decoder.set_options(options);
    let pixels = decoder.decode().map_err(|e| e.to_string())?;
    let channels = if grey { 1 } else { 3 };
    if pixels.len() != width * height * channels {
        return Err("it is cut short".to_owned());
    }
    Ok(nv12(&pixels, width, channels).into())
}

/// Pixels of one or three bytes each, brightness first, as NV12.
fn nv12(pixels: &[u8], width: usize, channels: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len() / channels * 3 / 2);
    let brightness = pixels.chunks_exact(channels).filter_map(|pixel| pixel.first());
    out.extend(brightness.map(|y| narrow(*y, 16, 219)));
    for rows in pixels.chunks_exact(width * channels * 2) {
        let (upper, lower) = rows.split_at(rows.len() / 2);
        let pairs = |row| <[u8]>::chunks_exact(row, channels * 2);
        for (above, below) in pairs(upper).zip(pairs(lower)) {
            for colour in [1, 2] {
                // A grey picture has no colours.
                let of = |pair: &[u8], n: usize| {
                    pair.get(n).filter(|_| channels == 3).map_or(128, |value| u16::from(*value))
                };
                let both = |pair| of(pair, colour) + of(pair, channels + colour);
                let sum = both(above) + both(below);
                out.push(narrow(u8::try_from((sum + 2) / 4).unwrap_or(u8::MAX), 16, 224));
            }
        }
    }
    out
}

/// From 256 steps to so many, above the least.
fn narrow(value: u8, least: u16, steps: u16) -> u8 {
    u8::try_from(least + (u16::from(value) * steps + 127) / 255).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
    use proptest::prelude::*;

    use super::*;

    const SIZE: PictureSize = PictureSize { width: 64, height: 32, fps: 15 };

    /// A picture of these bytes, as a camera would give it.
    fn jpeg(pixels: &[u8], colours: ColorType, sampling: SamplingFactor) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&mut out, 95);
        encoder.set_sampling_factor(sampling);
        encoder.encode(pixels, 64, 32, colours).unwrap();
        out
    }

    fn plain(rgb: [u8; 3], sampling: SamplingFactor) -> Vec<u8> {
        jpeg(&rgb.repeat(64 * 32), ColorType::Rgb, sampling)
    }

    #[test]
    fn colours_are_those_of_video() {
        // BT.601, from 16 to 235 and 240.
        for (rgb, ycc) in [
            ([0, 0, 0], [16, 128, 128]),
            ([255, 255, 255], [235, 128, 128]),
            ([255, 0, 0], [81, 90, 240]),
            ([0, 0, 255], [41, 240, 110]),
        ] {
            for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_2_2] {
                let picture = decode(&plain(rgb, sampling), SIZE).unwrap();
                assert_eq!(picture.len(), 64 * 32 * 3 / 2);
                let (y, uv) = picture.split_at(64 * 32);
                let near = |is: u8, due: u8| assert!(is.abs_diff(due) <= 2, "{rgb:?}: {is} {due}");
                y.iter().for_each(|y| near(*y, ycc[0]));
                for pair in uv.chunks_exact(2) {
                    near(pair[0], ycc[1]);
                    near(pair[1], ycc[2]);
                }
            }
        }
    }

    #[test]
    fn each_pixel_is_where_it_was() {
        // The left half white, the lower half of the right one red.
        let mut rgb = Vec::new();
        for y in 0..32 {
            for x in 0..64 {
                rgb.extend(if x < 32 {
                    [255; 3]
                } else if y < 16 {
                    [0; 3]
                } else {
                    [255, 0, 0]
                });
            }
        }
        let picture = decode(&jpeg(&rgb, ColorType::Rgb, SamplingFactor::F_2_1), SIZE).unwrap();
        let y = |x: usize, row: usize| picture[row * 64 + x];
        assert!(y(10, 5) > 230 && y(10, 28) > 230 && y(50, 5) < 20 && y(50, 28).abs_diff(81) < 3);
        let v = |x: usize, row: usize| picture[64 * 32 + row / 2 * 64 + x / 2 * 2 + 1];
        assert!(v(10, 28).abs_diff(128) < 3 && v(50, 5).abs_diff(128) < 3 && v(50, 28) > 236);
    }

    #[test]
    fn a_grey_picture_has_no_colours() {
        let grey = jpeg(&[200; 64 * 32], ColorType::Luma, SamplingFactor::F_1_1);
        let picture = decode(&grey, SIZE).unwrap();
        let (y, uv) = picture.split_at(64 * 32);
        assert!(y.iter().all(|y| y.abs_diff(188) <= 1) && uv.iter().all(|c| *c == 128));
    }

    #[test]
    fn what_is_no_whole_picture_of_this_size_is_refused() {
        let whole = plain([9, 99, 199], SamplingFactor::F_2_1);
        let padded = [whole.clone(), vec![0; 100]].concat();
        assert!(decode(&padded, SIZE).is_ok(), "a buffer is longer than its picture");
        for cut in [0, 1, 20, whole.len() / 2, whole.len() - 2] {
            assert!(decode(&whole[..cut], SIZE).is_err(), "{cut} bytes");
        }
        for other in [PictureSize { width: 32, ..SIZE }, PictureSize { height: 64, ..SIZE }] {
            assert!(decode(&whole, other).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(
            at in any::<prop::sample::Index>(),
            bytes in prop::collection::vec(any::<u8>(), 1..40),
        ) {
            let mut damaged = plain([1, 2, 3], SamplingFactor::F_2_2);
            let at = at.index(damaged.len());
            let end = (at + bytes.len()).min(damaged.len());
            damaged.splice(at..end, bytes);
            if let Ok(picture) = decode(&damaged, SIZE) {
                prop_assert_eq!(picture.len(), 64 * 32 * 3 / 2);
            }
        }
    }
}
