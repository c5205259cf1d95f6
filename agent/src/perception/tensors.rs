//! Pictures as the numbers that models take.

use temoin_media::{
    bgr::BgrPicture,
    frame::{I420Picture, LumaStats},
};

/// Planes of blue, green and red, each pixel less `offset`, divided by `scale`.
pub(crate) fn bgr_planes(picture: &BgrPicture, offset: f32, scale: f32, out: &mut Vec<f32>) {
    let pixels = picture.data().as_chunks::<3>().0;
    let number = |p: u8| (f32::from(p) - offset) / scale;
    out.clear();
    out.extend(pixels.iter().map(|[b, _, _]| number(*b)));
    out.extend(pixels.iter().map(|[_, g, _]| number(*g)));
    out.extend(pixels.iter().map(|[_, _, r]| number(*r)));
}

/// Pixels of red, green and blue, 0 to 1.
pub(crate) fn rgb_pixels(picture: &BgrPicture, out: &mut Vec<f32>) {
    let pixels = picture.data().as_chunks::<3>().0;
    out.clear();
    out.extend(pixels.iter().flat_map(|[b, g, r]| [*r, *g, *b]).map(|p| f32::from(p) / 255.0));
}

/// The luma, 0 to 1; `mirrored` turns left and right.
pub(crate) fn luma(picture: &I420Picture, mirrored: bool, out: &mut Vec<f32>) {
    let luma = picture.view().luma();
    out.clear();
    if mirrored {
        let width = usize::try_from(picture.width()).unwrap_or(1).max(1);
        out.extend(luma.chunks_exact(width).flat_map(|row| row.iter().rev()).map(unit));
    } else {
        out.extend(luma.iter().map(unit));
    }
}

fn unit(p: &u8) -> f32 {
    f32::from(*p) / 255.0
}

/// Whether a cut-out is too dark, too bright or too flat to judge. On a face darkened step by
/// step, head pose and eyelids hold until the luma's deviation falls below 5 and then jump.
pub(crate) fn light_is_bad(light: LumaStats) -> bool {
    light.deviation < 5.0 || !(30.0..=230.0).contains(&light.mean)
}
