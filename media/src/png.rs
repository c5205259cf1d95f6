//! A picture as a PNG file, for an installer's screen. Not compressed: it is written once, by hand,
//! and so needs no library (PNG, third edition, W3C; stored blocks of RFC 1951).

use crate::frame::{I420View, PictureError};

/// Most bytes of a stored block.
const BLOCK: usize = 65_535;

/// The picture as the bytes of a PNG file, 8 bits of red, green and blue.
///
/// # Errors
/// [`PictureError::OpenCv`].
pub fn encode(picture: &I420View<'_>) -> Result<Vec<u8>, PictureError> {
    let (width, height) = (picture.width(), picture.height());
    let bgr = picture.to_bgr(width, height)?;
    let row = usize::try_from(width).unwrap_or(usize::MAX).saturating_mul(3).max(1);
    let mut raw = Vec::with_capacity(bgr.data().len() + row);
    for line in bgr.data().chunks_exact(row) {
        // Each row begins with its filter: none.
        raw.push(0);
        raw.extend(line.as_chunks::<3>().0.iter().flat_map(|[b, g, r]| [*r, *g, *b]));
    }
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]);
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut out, *b"IHDR", &header);
    chunk(&mut out, *b"IDAT", &stored(&raw));
    chunk(&mut out, *b"IEND", &[]);
    Ok(out)
}

fn chunk(out: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    out.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
    let begin = out.len();
    out.extend(name);
    out.extend(content);
    let crc = crc32(out.get(begin..).unwrap_or_default());
    out.extend(crc.to_be_bytes());
}

/// A zlib stream of stored blocks.
fn stored(raw: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let blocks = raw.len().div_ceil(BLOCK);
    for (n, block) in raw.chunks(BLOCK).enumerate() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(n + 1 == blocks));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in raw {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    out.extend((b << 16 | a).to_be_bytes());
    out
}

/// CRC-32 of ISO 3309, bit by bit: a picture takes some hundredths of a second.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes
        .iter()
        .fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_pictures::moving;

    #[test]
    fn checks_are_those_of_the_standards() {
        // The usual check values of CRC-32, and of Adler-32 (RFC 1950) at a stream's end.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert!(stored(b"Wikipedia").ends_with(&0x11e6_0398_u32.to_be_bytes()));
    }

    #[test]
    fn a_file_is_what_its_header_says() {
        let png = encode(&moving(640, 360, 1).view()).unwrap();
        assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
        assert_eq!(png[16..24], [0, 0, 2, 128, 0, 0, 1, 104]);
        let raw: usize = 360 * (640 * 3 + 1);
        let data = raw + raw.div_ceil(BLOCK) * 5 + 6;
        assert_eq!(png.len(), 8 + 25 + 12 + data + 12);
        assert_eq!(png[png.len() - 4..], [0xae, 0x42, 0x60, 0x82]);
    }
}
