//! Clips for tests.

use temoin_media::frame::I420Picture;

use super::clip::{Clip, time};

/// A scene with edges, texture and a box that moves.
pub(crate) fn street(width: u32, height: u32, pictures: u32, fps: f64) -> Clip {
    let picture = |n: u32| {
        let mut picture = I420Picture::black(width, height).unwrap();
        let planes = picture.planes_mut();
        for (y, row) in (0_u32..).zip(planes.y.chunks_exact_mut(width as usize)) {
            for (x, pixel) in (0_u32..).zip(row) {
                let texture = ((x / 3) ^ (y / 5)) % 40 + (x + y + 2 * n) / 16 % 90;
                let inside = (x + width - (2 * n) % width) % width < width / 5 && y % 64 < 24;
                *pixel = u8::try_from(40 + texture + if inside { 70 } else { 0 }).unwrap();
            }
        }
        planes.u.fill(122);
        planes.v.fill(136);
        picture
    };
    let at = |n: u32| time(f64::from(n) / fps);
    Clip { pictures: (0..pictures).map(|n| (at(n), picture(n))).collect() }
}
