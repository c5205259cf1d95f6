//! The pictures of the simulated drive: a road with a car ahead, and a driver in a cab.
//!
//! They are drawings for people and encoders. No face network need find a driver in them: what
//! perception would say of a simulated drive comes from the script.

use temoin_proto::perception::PictureBox;

use crate::{
    sim_paint::{Canvas, Color, DESIGN},
    video_file::PictureSize,
};

const HORIZON: f32 = 300.0;
/// Focal length in pixels of the 1280-wide picture: about 65 degrees across.
const FOCAL: f32 = 1000.0;
const CAMERA_HEIGHT_M: f32 = 1.4;
const ROAD_HALF_M: f32 = 5.6;
/// Dashes as on European motorways: 6 m and a gap of 12 m.
const DASH_M: f32 = 6.0;
const DASH_CYCLE_M: f32 = 18.0;

/// What the road camera sees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RoadView {
    /// Way driven so far, metres.
    pub(crate) driven_m: f32,
    /// Curvature of the road, 1/m, positive to the left.
    pub(crate) curvature: f32,
    /// Distance to the car ahead, metres.
    pub(crate) gap_m: f32,
    /// Whether the car ahead brakes.
    pub(crate) brake_lights: bool,
}

/// What the cabin camera sees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CabinView {
    /// As in `HeadPose`: positive to the driver's left, which is the picture's right.
    pub(crate) yaw_deg: f32,
    /// Positive up.
    pub(crate) pitch_deg: f32,
    /// Eyelid gap by eye width.
    pub(crate) opening: f32,
    /// Way driven so far, metres: the world passes by the window.
    pub(crate) driven_m: f32,
}

/// Draws one camera's pictures; what never moves is drawn once.
#[derive(Debug)]
pub(crate) struct Painter {
    backdrop: Canvas,
}

impl Painter {
    pub(crate) fn road(size: PictureSize) -> Self {
        let mut c = Canvas::new(size.width, size.height);
        c.gradient(0.0, HORIZON, Color::rgb(94, 150, 206), Color::rgb(214, 228, 236));
        c.ellipse(1010.0, 92.0, 34.0, 34.0, Color::rgb(255, 246, 214));
        for (x, y, rx, ry) in
            [(300.0, 100.0, 120.0, 20.0), (380.0, 88.0, 80.0, 22.0), (830.0, 150.0, 150.0, 16.0)]
        {
            c.ellipse(x, y, rx, ry, Color::rgb(236, 241, 245));
        }
        for (x, rx, ry, shade) in
            [(180.0, 420.0, 74.0, 0), (760.0, 380.0, 52.0, 14), (1180.0, 340.0, 86.0, 4)]
        {
            let color = Color::rgb(118 + shade, 146 + shade, 142 + shade);
            c.cut_ellipse([x, HORIZON + 4.0, rx, ry], 0.0, HORIZON + 4.0, color);
        }
        Self { backdrop: c }
    }

    pub(crate) fn cabin(size: PictureSize) -> Self {
        let mut c = Canvas::new(size.width, size.height);
        c.gradient(0.0, DESIGN.1, Color::rgb(44, 48, 54), Color::rgb(24, 26, 30));
        // Rear bulkhead of a van, and the seat.
        c.rect(210.0, 70.0, 1070.0, 720.0, Color::rgb(58, 62, 68));
        c.rect(210.0, 70.0, 1070.0, 78.0, Color::rgb(74, 79, 86));
        c.ellipse(640.0, 250.0, 118.0, 96.0, Color::rgb(32, 34, 38));
        c.ellipse(640.0, 700.0, 330.0, 330.0, Color::rgb(36, 38, 43));
        Self { backdrop: c }
    }

    pub(crate) fn paint_road(&self, view: &RoadView) -> Canvas {
        let mut c = self.backdrop.clone();
        let away_m = |y: f32| FOCAL * CAMERA_HEIGHT_M / (y - HORIZON);
        let x_of = |side_m: f32, z: f32| {
            DESIGN.0 / 2.0 + FOCAL * side_m / z - FOCAL * view.curvature * z / 2.0
        };
        let y_of = |up_m: f32, z: f32| HORIZON + FOCAL * (CAMERA_HEIGHT_M - up_m) / z;
        let cycle = |z: f32, length: f32| (z + view.driven_m).rem_euclid(length);
        let haze = |color: Color, z: f32| {
            color.mix(Color::rgb(200, 214, 220), (z / 420.0).clamp(0.0, 0.8))
        };
        let below = HORIZON + 3.0;
        c.rows(HORIZON, DESIGN.1, |y| {
            let z = away_m(y);
            let dark = cycle(z, 24.0) < 12.0;
            let grass = if dark { Color::rgb(104, 136, 82) } else { Color::rgb(112, 144, 88) };
            Some((0.0, DESIGN.0, haze(grass, z)))
        });
        c.rows(below, DESIGN.1, |y| {
            let z = away_m(y);
            let asphalt = haze(Color::rgb(84, 88, 94), z);
            Some((x_of(-ROAD_HALF_M, z), x_of(ROAD_HALF_M, z), asphalt))
        });
        let paint = Color::rgb(232, 234, 232);
        for (side_m, half_m, dashed) in [
            (-LANE_HALF_M, 0.08, true),
            (LANE_HALF_M, 0.08, true),
            (-5.2, 0.1, false),
            (5.2, 0.1, false),
        ] {
            c.rows(below, DESIGN.1, |y| {
                let z = away_m(y);
                let on = !dashed || cycle(z, DASH_CYCLE_M) < DASH_M;
                on.then(|| (x_of(side_m - half_m, z), x_of(side_m + half_m, z), haze(paint, z)))
            });
        }
        // Far things first.
        for n in (0_u8..7).rev() {
            let z = f32::from(n + 1) * 32.0 - view.driven_m.rem_euclid(32.0);
            if z < 6.0 {
                continue;
            }
            for side in [-1.0, 1.0] {
                let (x, size) = (x_of(side * 13.0, z), FOCAL / z);
                let trunk = haze(Color::rgb(92, 74, 58), z);
                c.rect(x - 0.2 * size, y_of(2.5, z), x + 0.2 * size, y_of(0.0, z), trunk);
                let leaves = haze(Color::rgb(62, 104, 64), z);
                c.ellipse(x, y_of(4.2, z), 1.9 * size, 2.4 * size, leaves);
                let post = x_of(side * 6.4, z);
                c.rect(post - 0.06 * size, y_of(1.0, z), post + 0.06 * size, y_of(0.0, z), paint);
                c.rect(
                    post - 0.06 * size,
                    y_of(0.85, z),
                    post + 0.06 * size,
                    y_of(0.65, z),
                    Color::rgb(40, 40, 44),
                );
            }
        }
        car_ahead(&mut c, view, x_of(0.0, view.gap_m), &y_of);
        // The van's own bonnet.
        c.ellipse(640.0, 780.0, 900.0, 112.0, Color::rgb(38, 42, 48));
        c.ellipse(640.0, 792.0, 880.0, 112.0, Color::rgb(52, 57, 64));
        c
    }

    pub(crate) fn paint_cabin(&self, view: &CabinView) -> Canvas {
        let mut c = self.backdrop.clone();
        window(&mut c, view.driven_m);
        let (cx, cy) = head_centre(view);
        let skin = Color::rgb(214, 170, 140);
        let shade = Color::rgb(188, 142, 114);
        // Body, belt, neck.
        c.ellipse(640.0, 760.0, 280.0, 250.0, Color::rgb(52, 84, 120));
        c.trapezoid((540.0, 742.0, 778.0), (720.0, 560.0, 602.0), Color::rgb(28, 30, 34));
        c.rect(590.0, 440.0, 690.0, 548.0, shade);
        c.ellipse(640.0, 548.0, 64.0, 26.0, shade);
        // Ears, hair, face.
        let turn = view.yaw_deg.to_radians().sin();
        let side = view.yaw_deg.to_radians().cos().max(0.3);
        for ear in [-1.0, 1.0] {
            c.ellipse(cx + ear * (122.0 - 30.0 * turn * ear), cy + 14.0, 20.0, 36.0, shade);
        }
        c.ellipse(cx - 14.0 * turn, cy - 34.0, 134.0, 150.0, Color::rgb(58, 44, 36));
        c.ellipse(cx, cy + 10.0, 118.0, 158.0, skin);
        let hairline = cy - 78.0 - view.pitch_deg;
        let fringe = Color::rgb(58, 44, 36);
        c.cut_ellipse([cx, cy + 6.0, 121.0, 166.0], cy - 170.0, hairline, fringe);
        // Features slide over the face as the head turns and nods.
        let fx = cx + 76.0 * turn;
        let fy = cy - 110.0 * view.pitch_deg.to_radians().sin();
        for eye in [-1.0, 1.0] {
            self::eye(&mut c, fx + eye * 48.0 * side, fy - 6.0, side, turn, view.opening);
        }
        c.ellipse(fx + 10.0 * turn, fy + 36.0, 15.0 * side + 4.0, 26.0, shade);
        c.ellipse(fx, fy + 92.0, 36.0 * side, 9.0, Color::rgb(168, 96, 90));
        c.rect(fx - 34.0 * side, fy + 91.0, fx + 34.0 * side, fy + 93.0, Color::rgb(120, 62, 60));
        c
    }
}

fn car_ahead(c: &mut Canvas, view: &RoadView, x: f32, y_of: &impl Fn(f32, f32) -> f32) {
    let z = view.gap_m.max(4.0);
    let size = FOCAL / z;
    let y = |up_m| y_of(up_m, z);
    let body = Color::rgb(150, 52, 48);
    let dark = Color::rgb(34, 36, 40);
    c.ellipse(x, y(0.0), 1.05 * size, 0.12 * size, Color::rgb(58, 61, 66));
    for wheel in [-0.68, 0.68] {
        c.rect(x + (wheel - 0.13) * size, y(0.5), x + (wheel + 0.13) * size, y(0.0), dark);
    }
    let at = |half_m: f32| (x - half_m * size, x + half_m * size);
    let ((l0, r0), (l1, r1)) = (at(0.66), at(0.86));
    c.trapezoid((y(1.5), l0, r0), (y(0.95), l1, r1), body);
    c.rect(x - 0.9 * size, y(0.97), x + 0.9 * size, y(0.25), body);
    let ((l0, r0), (l1, r1)) = (at(0.58), at(0.74));
    c.trapezoid((y(1.42), l0, r0), (y(1.0), l1, r1), Color::rgb(58, 72, 84));
    c.rect(x - 0.28 * size, y(0.62), x + 0.28 * size, y(0.48), Color::rgb(226, 228, 224));
    c.rect(x - 0.9 * size, y(0.32), x + 0.9 * size, y(0.22), dark);
    let lamp = if view.brake_lights { Color::rgb(255, 66, 48) } else { Color::rgb(112, 30, 30) };
    for side in [-0.74, 0.74] {
        c.rect(x + (side - 0.13) * size, y(0.88), x + (side + 0.13) * size, y(0.7), lamp);
    }
    if view.brake_lights {
        c.rect(x - 0.2 * size, y(1.5), x + 0.2 * size, y(1.45), lamp);
    }
}

/// The side window on the driver's right, with the world passing by.
fn window(c: &mut Canvas, driven_m: f32) {
    c.rect(0.0, 90.0, 190.0, 430.0, Color::rgb(176, 200, 216));
    c.rect(0.0, 300.0, 190.0, 430.0, Color::rgb(120, 148, 100));
    for n in [0.0, 1.0] {
        let x = (n * 130.0 + driven_m * 34.0).rem_euclid(260.0) - 40.0;
        if x < 150.0 {
            c.ellipse(x, 250.0, 38.0, 74.0, Color::rgb(74, 112, 74));
        }
    }
    c.rect(186.0, 60.0, 214.0, 720.0, Color::rgb(28, 30, 34));
    c.rect(0.0, 430.0, 214.0, 720.0, Color::rgb(34, 37, 42));
    c.rect(0.0, 60.0, 214.0, 90.0, Color::rgb(28, 30, 34));
}

fn eye(c: &mut Canvas, x: f32, y: f32, side: f32, turn: f32, opening: f32) {
    let half_w = 27.0 * side;
    // The gap is a part of the eye's width, as eyelid opening is measured.
    let half_h = (opening * 27.0 * 1.6).clamp(0.0, 16.0);
    c.rect(x - 30.0 * side, y - 36.0, x + 30.0 * side, y - 29.0, Color::rgb(58, 44, 36));
    c.ellipse(x, y, 30.0 * side, 17.0, Color::rgb(200, 154, 126));
    if half_h < 3.0 {
        c.rect(x - half_w, y + 2.0, x + half_w, y + 5.0, Color::rgb(96, 66, 54));
        return;
    }
    let (top, bottom) = (y - half_h, y + half_h);
    c.ellipse(x, y, half_w, half_h, Color::rgb(238, 236, 232));
    let iris = x + 8.0 * turn;
    c.cut_ellipse([iris, y, 11.0 * side, 11.0], top, bottom, Color::rgb(70, 92, 104));
    c.cut_ellipse([iris, y, 5.0 * side, 5.0], top, bottom, Color::rgb(22, 22, 26));
    c.rect(x - half_w * 0.8, top - 2.0, x + half_w * 0.8, top + 1.0, Color::rgb(84, 58, 48));
}

fn head_centre(view: &CabinView) -> (f32, f32) {
    (640.0 + 26.0 * view.yaw_deg.to_radians().sin(), 318.0 - 0.5 * view.pitch_deg)
}

/// Half of the own lane, metres: the middles of its dashed lines.
pub(crate) const LANE_HALF_M: f32 = 1.9;

/// Where the drawn car ahead is.
pub(crate) fn car_box(view: &RoadView) -> PictureBox {
    let z = view.gap_m.max(4.0);
    let size = FOCAL / z;
    let x = DESIGN.0 / 2.0 - FOCAL * view.curvature * z / 2.0;
    let y = |up_m: f32| HORIZON + (CAMERA_HEIGHT_M - up_m) * size;
    PictureBox {
        x: (x - 0.9 * size) / DESIGN.0,
        y: y(1.5) / DESIGN.1,
        w: 1.8 * size / DESIGN.0,
        h: (y(0.0) - y(1.5)) / DESIGN.1,
    }
}

/// Where the drawn face is.
pub(crate) fn face_box(view: &CabinView) -> PictureBox {
    let (cx, cy) = head_centre(view);
    PictureBox {
        x: (cx - 118.0) / DESIGN.0,
        y: (cy - 100.0) / DESIGN.1,
        w: 236.0 / DESIGN.0,
        h: 270.0 / DESIGN.1,
    }
}
