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

/// What hides both eyes, so that they must not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hides {
    /// Open eyes can still be seen, or may be.
    Nothing,
    /// Nothing can be read of the eyes.
    Eyes,
}

/// One way of making a picture worse, of one strength.
pub struct Way {
    /// What is done, and how much of it: `dark 0.4`.
    pub name: String,
    /// What it hides.
    pub hides: Hides,
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
    let mut add = |name: String, hides: Hides, apply: Worse| ways.push(Way { name, hides, apply });
    for (light, hides) in [(0.3, Hides::Nothing), (0.1, Hides::Eyes)] {
        add(format!("dark {light}"), hides, Box::new(move |p, _, n| darken(p, light, false, n)));
    }
    let amplified: Worse = Box::new(|p, _, n| darken(p, 0.15, true, n));
    add("amplified 0.15".into(), Hides::Nothing, amplified);
    for (radius, strength, hides) in [(0.3, 200.0, Hides::Nothing), (1.0, 300.0, Hides::Eyes)] {
        let worse = move |p, eyes: [Place; 2], _| {
            let [a, b] = eyes;
            let middle = [a[0].midpoint(b[0]), a[1].midpoint(b[1])];
            glare(p, middle, radius * eyes_apart(eyes), strength)
        };
        add(format!("glare {radius} {strength}"), hides, Box::new(worse));
    }
    // A hand, a sun visor, the rim of the wheel.
    for (thick, luma) in [(0.2, 20), (0.4, 90), (0.7, 150)] {
        let worse =
            move |p, eyes, _| bar(p, across_eyes(eyes, 0.6), thick * eyes_apart(eyes), luma);
        add(format!("bar {thick} {luma}"), Hides::Eyes, Box::new(worse));
    }
    // The eyes can be seen through glass that is not quite dark.
    for (dark, hides) in [(0.6, Hides::Nothing), (0.85, Hides::Eyes), (1.0, Hides::Eyes)] {
        let worse = move |p, eyes, _| sunglasses(p, eyes, dark);
        add(format!("sunglasses {dark}"), hides, Box::new(worse));
    }
    for sigma in [1.5, 4.0] {
        let blur = move |p, eyes, _| gaussian_blur(p, sigma * eyes_apart(eyes) / 60.0);
        add(format!("blur {sigma}"), Hides::Nothing, Box::new(blur));
    }
    for (length, degrees) in [(10.0, 0.0), (16.0, 90.0)] {
        let blur = move |p, eyes, _| motion_blur(p, length * eyes_apart(eyes) / 60.0, degrees);
        add(format!("motion {length} {degrees}"), Hides::Nothing, Box::new(blur));
    }
    for times in [8.0, 20.0] {
        let worse = move |p, _, _| compress(p, times);
        add(format!("compressed {times}"), Hides::Nothing, Box::new(worse));
    }
    // One eye is free.
    let halved: Worse = Box::new(|p, [a, b], _| half(p, a[0].midpoint(b[0]), 60));
    add("half".into(), Hides::Nothing, halved);
    for degrees in [-20.0, 20.0] {
        let turned = move |p, [a, _]: [Place; 2], _| rotate(p, a, degrees);
        add(format!("turned {degrees}"), Hides::Nothing, Box::new(turned));
    }
    add("grey".into(), Hides::Nothing, Box::new(|p, _, _| grey(p)));
    add("mirror".into(), Hides::Nothing, Box::new(|p, _, _| mirror(p)));
    ways
}
