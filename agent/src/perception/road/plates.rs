//! Number plates of others, found inside the boxes of vehicles.
//!
//! There is no network for plates here. Where a plate could be read, the places in the vehicle's
//! box that look like one are told; where nothing stands out, all of the band where plates sit. A
//! false blur is cheap, a legible plate is not.

use temoin_media::{
    cascade::CascadeError, frame::I420View, plates::plate_like, road_cascades::RoadCascades,
};
use temoin_proto::perception::{PictureBox, PrivateArea, PrivateKind};

use super::faces::{clipped, grown};
use crate::perception::{
    PerceptionError,
    face_search::size,
    yolox::{Found, Kind},
};

/// Characters of 75 mm (Regulation 2411/98 and national rules: 65 to 80 mm) can be guessed at from
/// this height, pixels; read from about 8.
const LEAST_CHARACTER_PX: f32 = 5.0;
const CHARACTER_M: f32 = 0.075;
/// A European plate, metres; others are narrower.
const PLATE_M: f32 = 0.52;
/// Vehicles that are searched in one look, the nearest first; of the others the whole band is told.
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
    cascades: Option<&mut RoadCascades>,
) -> Result<Vec<PrivateArea>, PerceptionError> {
    let mut near: Vec<Near> = vehicles.iter().filter_map(|v| near(v, size(picture))).collect();
    near.sort_by(|a, b| b.metre_px.total_cmp(&a.metre_px));
    let mut cascades = cascades;
    let mut areas = Vec::new();
    for (n, one) in near.iter().enumerate() {
        let band = band(one, size(picture));
        let mut found = Vec::new();
        if n < MOST_SEARCHED {
            found = search(picture, one, &band, cascades.as_deref_mut())?;
        }
        if found.is_empty() {
            found.push(band);
        }
        areas.extend(found);
    }
    Ok(areas.into_iter().map(|area| PrivateArea { kind: PrivateKind::Plate, area }).collect())
}

/// What is told of one vehicle: where both ways of looking agree that place alone, else whatever
/// looks like a plate together with the band; nothing where nothing stands out.
fn search(
    picture: &I420View<'_>,
    one: &Near,
    band: &PictureBox,
    cascades: Option<&mut RoadCascades>,
) -> Result<Vec<PictureBox>, PerceptionError> {
    let whole = one.vehicle.fractions(size(picture));
    let plate_px = one.metre_px * PLATE_M;
    let alike = plate_like(picture, &whole, plate_px)?;
    let second = match cascades {
        Some(cascades) => cascades.plates_within(picture, &whole, plate_px)?,
        None => Vec::new(),
    };
    let agreed: Vec<PictureBox> = second
        .iter()
        .filter(|s| alike.iter().any(|a| overlap(a, s) > 0.3 * (a.w * a.h).min(s.w * s.h)))
        .map(|s| grown(s, MARGIN))
        .collect();
    if !agreed.is_empty() && !one.cut {
        return Ok(agreed);
    }
    if alike.is_empty() && second.is_empty() {
        return Ok(Vec::new());
    }
    let all = alike.iter().chain(&second).map(|b| grown(b, MARGIN));
    Ok(all.chain([*band]).collect())
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
    clipped(&PictureBox {
        x: (v.x + x * v.w) / width,
        y: (v.y + y * v.h) / height,
        w: w * v.w / width,
        h: h * v.h / height,
    })
}

fn overlap(a: &PictureBox, b: &PictureBox) -> f32 {
    let w = (a.x + a.w).min(b.x + b.w) - a.x.max(b.x);
    let h = (a.y + a.h).min(b.y + b.h) - a.y.max(b.y);
    w.max(0.0) * h.max(0.0)
}

/// Without a detector of vehicles: what the cascades find in the whole picture.
pub(super) fn by_cascades(
    picture: &I420View<'_>,
    cascades: &mut RoadCascades,
) -> Result<Vec<PrivateArea>, CascadeError> {
    let faces = cascades.faces(picture)?;
    let plates = cascades.plates(picture)?;
    let area = |kind| move |b: PictureBox| PrivateArea { kind, area: grown(&b, MARGIN) };
    let faces = faces.into_iter().map(area(PrivateKind::Face));
    Ok(faces.chain(plates.into_iter().map(area(PrivateKind::Plate))).collect())
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

    #[test]
    fn every_legible_plate_is_covered() {
        for (vehicle, plate_px) in [
            (car(500.0, 300.0, 130.0, 110.0), 38),
            (car(300.0, 200.0, 420.0, 360.0), 120),
            (car(300.0, 200.0, 420.0, 360.0), 70),
            (car(900.0, 150.0, 380.0, 500.0), 110),
            (car(-0.0, 250.0, 300.0, 300.0), 90),
        ] {
            let (picture, plate) = rear(&vehicle, plate_px);
            let areas = areas(&picture.view(), &[vehicle], None).unwrap();
            let covered = areas.iter().map(|a| overlap(&a.area, &plate)).fold(0.0, f32::max);
            assert!(covered > 0.9 * plate.w * plate.h, "{vehicle:?} {plate_px}: {areas:?}");
        }
    }

    #[test]
    fn without_anything_that_stands_out_the_band_is_told() {
        let plain = I420Picture::black(1280, 720).unwrap();
        let vehicle = car(500.0, 300.0, 200.0, 170.0);
        let areas = areas(&plain.view(), &[vehicle], None).unwrap();
        assert_eq!(areas.len(), 1);
        assert_eq!(areas[0].area, band(&near(&vehicle, SIZE).unwrap(), SIZE));
    }

    #[test]
    fn what_cannot_be_read_is_left() {
        for vehicle in [
            car(500.0, 300.0, 60.0, 50.0),
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
