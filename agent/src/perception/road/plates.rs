//! Number plates of others: where they can be on the vehicles that were found.
//!
//! There is no network for plates here, and nothing is narrowed down to a place that looks like a
//! plate: lettering and grilles look alike. Of every vehicle that is so near that anything of a
//! plate is left in the picture, all of the band where plates sit is told, and what looks like a
//! plate outside of it as well. A false blur is cheap, a legible plate is not.

use temoin_media::{frame::I420View, plates::plate_like};
use temoin_proto::perception::{PictureBox, PrivateArea, PrivateKind};

use crate::perception::{
    PerceptionError,
    face_search::size,
    yolox::{Found, Kind},
};

/// Of characters that are lower than this nothing is left in the picture, pixels: a light and a
/// dark row cannot both be in them (the sampling theorem). People read from about 8, and guess from
/// about 5; putting many pictures of a video together gains a factor of 2 to 3 at the very best, so
/// 2 is on the safe side of all of them. A plate of 520 mm is then 14 pixels wide.
const LEAST_CHARACTER_PX: f32 = 2.0;
/// Places outside of the band are searched where a character could be read by eye, pixels.
const SEARCHED_CHARACTER_PX: f32 = 5.0;
/// Height of a character, metres (Regulation 2411/98 and national rules: 65 to 80 mm).
const CHARACTER_M: f32 = 0.075;
/// A European plate, metres; others are narrower.
const PLATE_M: f32 = 0.52;
/// Vehicles that are searched in one look, the nearest first; of the others the band alone is told.
const MOST_SEARCHED: usize = 4;
/// How far an area reaches beyond what was found, parts of it on each side.
const MARGIN: f32 = 0.25;
/// A box this near to the picture's edge is cut by it, parts of the picture.
const AT_EDGE: f32 = 0.006;

/// A vehicle whose plate could be read.
#[derive(Clone, Copy, Debug)]
struct Near {
    vehicle: Found,
    /// Pixels for a metre on its near side.
    metre_px: f32,
    /// Whether the picture's edge cuts it.
    cut: bool,
}

/// Where the plates of these vehicles are, or could be.
pub(super) fn areas(
    picture: &I420View<'_>,
    vehicles: &[Found],
) -> Result<Vec<PrivateArea>, PerceptionError> {
    let mut near: Vec<Near> = vehicles.iter().filter_map(|v| near(v, size(picture))).collect();
    near.sort_by(|a, b| b.metre_px.total_cmp(&a.metre_px));
    let mut areas = Vec::new();
    for (n, one) in near.iter().enumerate() {
        let band = band(one, size(picture));
        areas.push(band);
        if n < MOST_SEARCHED && one.metre_px * CHARACTER_M >= SEARCHED_CHARACTER_PX {
            let whole = one.vehicle.fractions(size(picture));
            let alike = plate_like(picture, &whole, one.metre_px * PLATE_M)?;
            let grown = alike.iter().map(|b| b.grown(MARGIN).clipped());
            areas.extend(grown.filter(|b| !holds(&band, b)));
        }
    }
    Ok(areas.into_iter().map(|area| PrivateArea { kind: PrivateKind::Plate, area }).collect())
}

/// Whether all of the second lies in the first.
fn holds(a: &PictureBox, b: &PictureBox) -> bool {
    b.x >= a.x && b.y >= a.y && b.x + b.w <= a.x + a.w && b.y + b.h <= a.y + a.h
}

/// A vehicle whose plate could be read, by the larger of what its width and height say: a box that
/// is cut, or seen from the side, has lost one of them.
fn near(vehicle: &Found, (width, height): (f32, f32)) -> Option<Near> {
    let (real_w, real_h) = match vehicle.kind {
        Kind::Car => (1.8, 1.5),
        Kind::Truck => (2.2, 2.4),
        Kind::Bus => (2.5, 3.0),
        Kind::Motorcycle => (0.8, 1.3),
        // They have none.
        Kind::Bicycle | Kind::Person | Kind::Phone => return None,
    };
    let metre_px = (vehicle.w / real_w).max(vehicle.h / real_h);
    let cut = vehicle.x <= AT_EDGE * width
        || vehicle.y <= AT_EDGE * height
        || vehicle.x + vehicle.w >= (1.0 - AT_EDGE) * width
        || vehicle.y + vehicle.h >= (1.0 - AT_EDGE) * height;
    (metre_px * CHARACTER_M >= LEAST_CHARACTER_PX).then_some(Near {
        vehicle: *vehicle,
        metre_px,
        cut,
    })
}

/// Where plates sit: low in the middle of a rear or a front. Of a vehicle that is seen from the
/// side, or cut by the picture's edge, it may be anywhere along the lower part.
fn band(one: &Near, (width, height): (f32, f32)) -> PictureBox {
    let v = &one.vehicle;
    let side_view = v.w > 1.45 * v.h;
    let (x, y, w, h) = match v.kind {
        _ if one.cut || side_view => (0.0, 0.4, 1.0, 0.6),
        Kind::Motorcycle => (0.15, 0.3, 0.7, 0.65),
        Kind::Truck | Kind::Bus => (0.1, 0.45, 0.8, 0.55),
        Kind::Car | Kind::Bicycle | Kind::Person | Kind::Phone => (0.2, 0.42, 0.6, 0.55),
    };
    PictureBox {
        x: (v.x + x * v.w) / width,
        y: (v.y + y * v.h) / height,
        w: w * v.w / width,
        h: h * v.h / height,
    }
    .clipped()
}

#[cfg(test)]
mod tests {
    use temoin_media::frame::I420Picture;

    use super::*;

    const SIZE: (f32, f32) = (1280.0, 720.0);

    fn car(x: f32, y: f32, w: f32, h: f32) -> Found {
        Found { kind: Kind::Car, score: 0.9, x, y, w, h }
    }

    /// A rear with a plate of this many pixels across drawn in the middle of it.
    fn rear(v: &Found, plate_px: u16) -> (I420Picture, PictureBox) {
        let mut picture = I420Picture::black(1280, 720).unwrap();
        let (px, ph) = (f32::from(plate_px), f32::from(plate_px) / 4.6);
        let (left, top) = (v.x + v.w / 2.0 - px / 2.0, v.y + 0.62 * v.h);
        let at = |x: f32, y: f32| -> u8 {
            let in_car = x >= v.x && x < v.x + v.w && y >= v.y && y < v.y + v.h;
            let in_plate = x >= left && x < left + px && y >= top && y < top + ph;
            let in_row = y >= top + 0.2 * ph && y < top + 0.8 * ph;
            match (in_car, in_plate, in_row) {
                (_, true, true) if ((x - left) / px * 24.0).fract() < 0.4 => 50,
                (_, true, _) => 200,
                (true, ..) => 90,
                (false, ..) => 130,
            }
        };
        for (y, row) in (0_u16..).zip(picture.planes_mut().y.chunks_exact_mut(1280)) {
            for (x, p) in (0_u16..).zip(row.iter_mut()) {
                *p = at(f32::from(x), f32::from(y));
            }
        }
        let plate = PictureBox { x: left / 1280.0, y: top / 720.0, w: px / 1280.0, h: ph / 720.0 };
        (picture, plate)
    }

    fn overlap(a: &PictureBox, b: &PictureBox) -> f32 {
        let w = (a.x + a.w).min(b.x + b.w) - a.x.max(b.x);
        let h = (a.y + a.h).min(b.y + b.h) - a.y.max(b.y);
        w.max(0.0) * h.max(0.0)
    }

    #[test]
    fn every_legible_plate_is_covered() {
        for (vehicle, plate_px) in [
            (car(500.0, 300.0, 60.0, 50.0), 14),
            (car(500.0, 300.0, 130.0, 110.0), 38),
            (car(300.0, 200.0, 420.0, 360.0), 120),
            (car(300.0, 200.0, 420.0, 360.0), 70),
            (car(900.0, 150.0, 380.0, 500.0), 110),
            (car(-0.0, 250.0, 300.0, 300.0), 90),
        ] {
            let (picture, plate) = rear(&vehicle, plate_px);
            let areas = areas(&picture.view(), &[vehicle]).unwrap();
            let covered = areas.iter().map(|a| overlap(&a.area, &plate)).fold(0.0, f32::max);
            assert!(covered > 0.9 * plate.w * plate.h, "{vehicle:?} {plate_px}: {areas:?}");
        }
    }

    #[test]
    fn without_anything_that_stands_out_the_band_is_told() {
        let plain = I420Picture::black(1280, 720).unwrap();
        let vehicle = car(500.0, 300.0, 200.0, 170.0);
        let areas = areas(&plain.view(), &[vehicle]).unwrap();
        assert_eq!(areas.len(), 1);
        assert_eq!(areas[0].area, band(&near(&vehicle, SIZE).unwrap(), SIZE));
    }

    #[test]
    fn what_cannot_be_read_is_left() {
        for vehicle in [
            car(500.0, 300.0, 40.0, 36.0),
            Found { kind: Kind::Person, ..car(500.0, 300.0, 200.0, 400.0) },
            Found { kind: Kind::Bicycle, ..car(500.0, 300.0, 200.0, 400.0) },
        ] {
            assert!(near(&vehicle, SIZE).is_none(), "{vehicle:?}");
        }
        // Cut by the edge and seen from the side, the whole lower part counts.
        for vehicle in [car(1200.0, 300.0, 80.0, 260.0), car(400.0, 300.0, 500.0, 200.0)] {
            let band = band(&near(&vehicle, SIZE).unwrap(), SIZE);
            assert!((band.w - vehicle.w / 1280.0).abs() < 1e-4, "{band:?}");
        }
    }
}
