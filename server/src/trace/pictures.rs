//! Pictures of a leak as the report shows them. Pure.

use temoin_media::watermark::register::{FrameMap, Gray, Reference, RegisterError, align};

use super::report::{LaidPicture, Shades};

/// How a picture of the leak came, with the recording's outline, and how it lies on the recording.
///
/// # Errors
/// [`RegisterError`].
pub(super) fn laid(
    reference: &Reference,
    leak: &Gray,
    map: &FrameMap,
) -> Result<LaidPicture, RegisterError> {
    let (width, height) = reference.size();
    let aligned = align(reference, leak, map)?;
    let laid = aligned
        .luma
        .iter()
        .zip(&aligned.valid)
        .map(|(y, valid)| if *valid { shade(*y) } else { 0 })
        .collect();
    let mut came = Shades { width: leak.width, height: leak.height, luma: leak.luma.clone() };
    let corners = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
        .map(|(x, y)| project(&map.homography, x * f64::from(width), y * f64::from(height)));
    for (from, to) in corners.iter().zip(corners.iter().cycle().skip(1)) {
        if let (Some(from), Some(to)) = (from, to) {
            line(&mut came, *from, *to);
        }
    }
    let ms = |at: std::time::Duration| u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
    Ok(LaidPicture {
        leak_ms: ms(leak.at),
        clip_ms: ms(map.at),
        came,
        laid: Shades { width, height, luma: laid },
        quality: map.quality,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 255; float casts saturate, and NaN is 0"
)]
fn shade(luma: f32) -> u8 {
    luma.round().clamp(0.0, 255.0) as u8
}

fn project(h: &[f64; 9], x: f64, y: f64) -> Option<(f64, f64)> {
    let [a, b, c, d, e, f, g, i, j] = *h;
    let w = g * x + i * y + j;
    (w.abs() > 1e-9).then(|| ((a * x + b * y + c) / w, (d * x + e * y + f) / w))
}

/// A line of two pixels, white over black, so that it is seen on everything.
fn line(picture: &mut Shades, from: (f64, f64), to: (f64, f64)) {
    let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).ceil().clamp(1.0, 20_000.0);
    let mut n = 0.0;
    while n <= steps {
        let part = n / steps;
        let (x, y) = (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part);
        for (dx, dy, luma) in [(0.0, 0.0, 255), (1.0, 1.0, 0)] {
            dot(picture, x + dx, y + dy, luma);
        }
        n += 1.0;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to lie in the picture"
)]
fn dot(picture: &mut Shades, x: f64, y: f64, luma: u8) {
    let inside = (0.0..f64::from(picture.width)).contains(&x)
        && (0.0..f64::from(picture.height)).contains(&y);
    if inside {
        let at = (y as usize) * usize::try_from(picture.width).unwrap_or(0) + x as usize;
        if let Some(pixel) = picture.luma.get_mut(at) {
            *pixel = luma;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_outline_is_drawn_where_the_recording_lies() {
        let scene = |n: u32, at| {
            let luma = (0..200 * 120).map(|i: u32| ((i * 7 + i / 200 * n) % 251) as u8).collect();
            Gray { width: 200, height: 120, luma, at }
        };
        let reference = Reference::new(vec![scene(3, Duration::ZERO)]).unwrap();
        let map = FrameMap {
            leak: 0,
            at: Duration::ZERO,
            homography: [0.5, 0.0, 20.0, 0.0, 0.5, 30.0, 0.0, 0.0, 1.0],
            quality: 0.5,
        };
        let laid = laid(&reference, &scene(3, Duration::from_millis(40)), &map).unwrap();
        assert_eq!((laid.leak_ms, laid.clip_ms), (40, 0));
        let at = |x: usize, y: usize| laid.came.luma[y * 200 + x];
        assert_eq!((at(20, 30), at(70, 30), at(20, 60)), (255, 255, 255));
        assert_eq!((laid.laid.width, laid.laid.luma.len()), (200, 200 * 120));
        // Corners far outside, or nowhere, draw nothing and break nothing.
        let wild =
            FrameMap { homography: [1e9, 0.0, -1e9, 0.0, 1e9, 0.0, 1.0, 0.0, -100.0], ..map };
        drop(super::laid(&reference, &scene(3, Duration::ZERO), &wild));
    }
}
