//! Whether a picture would show a vehicle ahead if there was one.
//!
//! 'Nobody ahead' is a statement about the road, not about the picture: in the dark, in fog, in
//! glare or behind a dirty windscreen nobody is found either.

use temoin_agent_core::road::camera::RoadCamera;
use temoin_media::frame::I420View;
use temoin_proto::perception::NotSeen;

/// The road between these distances must be lit, metres.
const AHEAD_M: (f64, f64) = (8.0, 30.0);
/// And this far to each side of straight ahead, metres.
const ASIDE_M: f64 = 2.0;
/// Mean luma of it: below, only lamps can be seen. Asphalt by day is 60 to 140, at night outside
/// of the headlamps 16 to 30. Own choice: validate.
const DARK: f64 = 34.0;
/// Above, it is glare or snow in the sun.
const BRIGHT: f64 = 232.0;
/// The scene around the horizon has steps of luma between neighbours, in the mean. By day 3 to 10;
/// through fog or a lens out of focus below 1. Own choice: validate.
const LEAST_DETAIL: f64 = 1.0;
/// Half of the height in which they are counted, parts of the picture's height.
const AROUND_HORIZON: f64 = 0.1;

/// Whether the road ahead is lit and clear.
pub(super) fn ahead(
    picture: &I420View<'_>,
    camera: &RoadCamera,
    horizon_px: f64,
) -> Result<(), NotSeen> {
    let luma = Luma { pixels: picture.luma(), width: camera.width_px };
    let scale = camera.depth_scale(horizon_px);
    let (top, bottom) = (horizon_px + scale / AHEAD_M.1, horizon_px + scale / AHEAD_M.0);
    let (mut sum, mut n) = (0.0, 0.0);
    for v in rows(top, bottom.min(camera.bonnet_px - 1.0), 4) {
        let half_px = ASIDE_M * camera.focal_px * (v - horizon_px) / scale;
        let part = luma.row(v, camera.middle_px() - half_px, camera.middle_px() + half_px);
        for p in part.iter().step_by(4) {
            sum += f64::from(*p);
            n += 1.0;
        }
    }
    let mean = sum / n;
    // Without a pixel it is NaN, which is in no range.
    if !(DARK..=BRIGHT).contains(&mean) {
        return Err(NotSeen::BadLight);
    }
    let around_px = AROUND_HORIZON * camera.height_px;
    let (mut steps, mut n) = (0.0, 0.0);
    for v in rows(horizon_px - around_px, horizon_px + around_px, 4) {
        let row = luma.row(v, 0.0, camera.width_px);
        for pair in row.as_chunks::<4>().0 {
            // Two apart: noise and compression change each pixel, an edge goes over both.
            let [a, _, b, _] = *pair;
            steps += f64::from(a.abs_diff(b));
            n += 1.0;
        }
    }
    let detail = steps / n;
    if detail.is_nan() || detail < LEAST_DETAIL { Err(NotSeen::Blurred) } else { Ok(()) }
}

struct Luma<'a> {
    pixels: &'a [u8],
    width: f64,
}

impl<'a> Luma<'a> {
    /// Part of a row; empty outside of the picture.
    fn row(&self, v: f64, from: f64, to: f64) -> &'a [u8] {
        let start = whole(v.floor() * self.width);
        let (from, to) = (whole(from), whole(to.min(self.width)));
        self.pixels.get(start + from..start + to.max(from)).unwrap_or_default()
    }
}

/// Every `step`-th row from `top` to `bottom`.
fn rows(top: f64, bottom: f64, step: u16) -> impl Iterator<Item = f64> {
    let top = top.max(0.0).floor();
    (0..1024_u16)
        .map(move |n| top + f64::from(n) * f64::from(step))
        .take_while(move |v| *v <= bottom)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float casts saturate, and what is too large is in no picture"
)]
const fn whole(x: f64) -> usize {
    x.max(0.0) as usize
}
