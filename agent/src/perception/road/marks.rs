//! Points of lane markings: which rows of the picture are looked at, and what counts as one.

use temoin_agent_core::road::{camera::RoadCamera, lines::MarkPoint, tracks::PixelBox};
use temoin_media::{
    frame::I420View,
    ridges::{Ridge, RidgeRow, ridges},
};

/// Rows that are looked at.
const ROWS: u16 = 72;
/// The farthest of them is this far away, metres: a marking of 15 cm is still 3 pixels wide.
const FARTHEST_M: f64 = 45.0;
/// A marking with this contrast is quite clear, luma.
const CLEAR: f32 = 45.0;

/// The points of markings in a picture whose horizon is believed to be at this row, row by row
/// from far to near. What lies on a vehicle is none.
pub(super) fn mark_points(
    picture: &I420View<'_>,
    camera: &RoadCamera,
    horizon_px: f64,
    vehicles: &[PixelBox],
) -> Vec<MarkPoint> {
    let rows = rows(camera, horizon_px);
    let on_vehicle = |r: &Ridge| {
        let (x, y) = (f64::from(r.x_px), f64::from(r.y_px));
        vehicles.iter().any(|b| x >= b.left && x <= b.right && y >= b.top && y <= b.bottom)
    };
    ridges(picture, &rows)
        .iter()
        .filter(|r| !on_vehicle(r))
        .map(|r| MarkPoint {
            u: f64::from(r.x_px),
            v: f64::from(r.y_px),
            weight: f64::from((r.contrast / CLEAR).clamp(0.2, 1.0)),
        })
        .collect()
}

fn rows(camera: &RoadCamera, horizon_px: f64) -> Vec<RidgeRow> {
    let scale = camera.depth_scale(horizon_px);
    let top = horizon_px + scale / FARTHEST_M;
    // The last row is averaged with the one below.
    let bottom = camera.bonnet_px.min(camera.height_px) - 2.0;
    (0..ROWS)
        .filter_map(|n| {
            let part = f64::from(n) / f64::from(ROWS - 1);
            let y = (top + (bottom - top) * part).round();
            let metre_px = camera.focal_px * (y - horizon_px) / scale;
            let inside = y >= 0.0 && y < camera.height_px && metre_px > 0.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a row of the picture, as was just checked"
            )]
            inside.then_some(RidgeRow { y: y as u32, metre_px: metre_px as f32 })
        })
        .collect()
}
