//! Every way in which the tests and the figures make pictures worse, with its strengths.
//!
//! Strengths that depend on the size of the face are in distances between the eyes, or in pixels
//! at 60 of them.

use temoin_media::frame::I420Picture;

use crate::degrade::{
    Place, across_eyes, bar, compress, darken, gaussian_blur, glare, grey, half, mirror,
    motion_blur, rotate, sunglasses,
};

fn eyes_apart([right, left]: [Place; 2]) -> f32 {
    (left[0] - right[0]).hypot(left[1] - right[1])
}

/// What makes a picture worse: the picture, where its eyes are (right and left, pixels), a seed.
type Worse = Box<dyn Fn(I420Picture, [Place; 2], u64) -> I420Picture + Sync>;

/// One way of making a picture worse, of one strength.
pub struct Way {
    /// What is done, and how much of it: `dark 0.4`.
    pub name: String,
    /// Does it.
    pub apply: Worse,
}

impl Way {
    /// What is done, whatever its strength: `dark`.
    pub fn kind(&self) -> &str {
        self.name.split(' ').next().unwrap_or_default()
    }
}

/// Every way of being worse, with its strengths.
#[must_use]
pub fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    let mut add = |name: String, apply: Worse| ways.push(Way { name, apply });
    for light in [0.4, 0.2, 0.1, 0.05] {
        add(format!("dark {light}"), Box::new(move |p, _, n| darken(p, light, false, n)));
    }
    for light in [0.25, 0.1] {
        add(format!("amplified {light}"), Box::new(move |p, _, n| darken(p, light, true, n)));
    }
    for (radius, strength) in [(0.3, 200.0), (0.6, 300.0), (1.0, 200.0), (1.5, 400.0)] {
        add(
            format!("glare {radius} {strength}"),
            Box::new(move |p, eyes, _| {
                let [a, b] = eyes;
                let middle = [a[0].midpoint(b[0]), a[1].midpoint(b[1])];
                glare(p, middle, radius * eyes_apart(eyes), strength)
            }),
        );
    }
    for (thick, luma) in [(0.2, 20), (0.2, 150), (0.4, 90), (0.4, 150), (0.7, 150), (0.7, 20)] {
        add(
            format!("bar {thick} {luma}"),
            Box::new(move |p, eyes, _| {
                bar(p, across_eyes(eyes, 0.6), thick * eyes_apart(eyes), luma)
            }),
        );
    }
    for dark in [0.6, 0.85, 1.0] {
        add(format!("sunglasses {dark}"), Box::new(move |p, eyes, _| sunglasses(p, eyes, dark)));
    }
    for sigma in [1.5, 3.0, 6.0] {
        let blur = move |p, eyes, _| gaussian_blur(p, sigma * eyes_apart(eyes) / 60.0);
        add(format!("blur {sigma}"), Box::new(blur));
    }
    for (length, degrees) in [(8.0, 0.0), (16.0, 0.0), (16.0, 90.0), (16.0, 45.0)] {
        let blur = move |p, eyes, _| motion_blur(p, length * eyes_apart(eyes) / 60.0, degrees);
        add(format!("motion {length} {degrees}"), Box::new(blur));
    }
    for times in [3.0, 8.0, 20.0] {
        add(format!("compressed {times}"), Box::new(move |p, _, _| compress(p, times)));
    }
    add("half".into(), Box::new(|p, [a, b], _| half(p, a[0].midpoint(b[0]), 60)));
    for degrees in [-20.0, 20.0] {
        add(format!("turned {degrees}"), Box::new(move |p, [a, _], _| rotate(p, a, degrees)));
    }
    add("grey".into(), Box::new(|p, _, _| grey(p)));
    add("mirror".into(), Box::new(|p, _, _| mirror(p)));
    ways
}
