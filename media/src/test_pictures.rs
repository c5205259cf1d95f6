//! Pictures for tests.

use crate::frame::I420Picture;

/// Luma rises from left (0) to right (255); chroma is neutral.
pub(crate) fn gradient(width: u32, height: u32) -> I420Picture {
    let mut picture = I420Picture::black(width, height).unwrap();
    for row in picture.planes_mut().y.chunks_exact_mut(width as usize) {
        for (x, pixel) in row.iter_mut().enumerate() {
            *pixel = u8::try_from(x * 255 / (width as usize - 1)).unwrap();
        }
    }
    picture
}

/// A scene with some texture and a bright box that moves with `n`, like a camera's picture.
pub(crate) fn moving(width: u32, height: u32, n: u32) -> I420Picture {
    let mut picture = I420Picture::black(width, height).unwrap();
    let mut noise = 1_u32 + n;
    let planes = picture.planes_mut();
    for (y, row) in (0_u32..).zip(planes.y.chunks_exact_mut(width as usize)) {
        for (x, pixel) in (0_u32..).zip(row) {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let texture = ((x / 3) ^ (y / 5)) % 40 + (x + y + 2 * n) / 16 % 90 + (noise >> 29);
            let inside = (x + width - (4 * n) % width) % width < width / 8 && y % 128 < 64;
            *pixel = u8::try_from(40 + texture + if inside { 80 } else { 0 }).unwrap();
        }
    }
    planes.u.fill(120);
    planes.v.fill(140);
    picture
}
