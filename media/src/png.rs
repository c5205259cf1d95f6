//! Pictures as PNG files: for an installer's screen, and for reports.

use crate::frame::{I420View, PictureError};

/// Why a picture cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    /// The picture.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// It has not as many bytes as its size says.
    #[error("the picture cannot be written as PNG: {0}")]
    Encode(#[from] png::EncodingError),
}

/// The picture as the bytes of a PNG file, 8 bits of red, green and blue.
///
/// # Errors
/// [`PngError`].
pub fn encode(picture: &I420View<'_>) -> Result<Vec<u8>, PngError> {
    let (width, height) = (picture.width(), picture.height());
    let bgr = picture.to_bgr(width, height)?;
    let pixels = bgr.data().as_chunks::<3>().0.iter();
    let rgb: Vec<u8> = pixels.flat_map(|[b, g, r]| [*r, *g, *b]).collect();
    write(width, height, png::ColorType::Rgb, &rgb)
}

/// Shades of grey, row by row, as the bytes of a PNG file.
///
/// # Errors
/// [`PngError::Encode`] where there are more or fewer than the size says.
pub fn encode_grey(width: u32, height: u32, luma: &[u8]) -> Result<Vec<u8>, PngError> {
    write(width, height, png::ColorType::Grayscale, luma)
}

fn write(width: u32, height: u32, color: png::ColorType, data: &[u8]) -> Result<Vec<u8>, PngError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(data)?;
    writer.finish()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_pictures::moving;

    fn read(file: &[u8]) -> (png::OutputInfo, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut data = vec![0; reader.output_buffer_size().unwrap()];
        (reader.next_frame(&mut data).unwrap(), data)
    }

    #[test]
    fn a_file_holds_the_picture() {
        let picture = moving(64, 36, 1);
        let (info, data) = read(&encode(&picture.view()).unwrap());
        assert_eq!((info.width, info.height, info.color_type), (64, 36, png::ColorType::Rgb));
        let bgr = picture.view().to_bgr(64, 36).unwrap();
        let first: Vec<u8> = bgr.data()[..3].iter().rev().copied().collect();
        assert_eq!((data.len(), &data[..3]), (64 * 36 * 3, first.as_slice()));
    }

    #[test]
    fn shades_come_back_and_a_wrong_count_is_refused() {
        let shades: Vec<u8> = (0..12).collect();
        let (info, data) = read(&encode_grey(4, 3, &shades).unwrap());
        assert_eq!((info.width, info.height, data), (4, 3, shades.clone()));
        for (width, height) in [(4, 4), (4, 2), (0, 0), (u32::MAX, u32::MAX)] {
            assert!(encode_grey(width, height, &shades).is_err(), "{width}x{height}");
        }
    }
}
