//! A phone that films a monitor.
//!
//! Light goes the way that it goes in a room: the player scales the clip to the monitor's pixels, the
//! monitor shows each picture from a refresh on, its stripes of colour meet the sensor's pixels, the
//! sensor reads row by row while the hand moves, glass reflects the room, and the phone's curve, noise
//! and sharpening make a picture of it.
//!
//! INVARIANT: nothing here knows of the mark or of what looks for it. Each range below is what phones,
//! monitors and hands do, or what the prototype of the mark named; where there is no source it says
//! 'own choice'.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use temoin_media::frame::I420Picture;

use super::{
    Severity,
    camera::{Pose, Quick, Sway, inverse, through},
    clip::Clip,
    light::{self, Light, Rgb, even, index, level, narrow},
    random::{Noise, Random},
    screen::{Flicker, Glare, Refreshes, Stripes},
};

/// Around the picture: the player's own dark grey, as far as this many parts of its height, and then
/// the room.
const PLAYER: f32 = 0.08;
/// Where a phone's automatic exposure puts the monitor's white, parts of what the sensor can hold.
const WHITE: f32 = 0.85;
/// Longest side of a monitor's picture that is kept for each of the phone's pixels: more is not seen.
const FINE: f64 = 1.5;
/// So many pixels in a row see the monitor's pixels at the same size.
const ALIKE: usize = 16;

/// How a monitor is filmed.
#[derive(Debug, Clone, PartialEq)]
pub struct Filming {
    /// The phone's picture, pixels.
    pub phone: (u32, u32),
    /// Pictures a second.
    pub fps: f64,
    /// The clip on the monitor, monitor pixels; shape of the clip.
    pub monitor: (u32, u32),
    /// Where the phone stands.
    pub pose: Pose,
    /// How far the hand moves the picture, root mean square, pixels of a phone's picture 1080 high.
    pub shake_px: f32,
    /// How long the sensor takes from its first row to its last, seconds.
    pub readout_s: f64,
    /// How long each row is exposed, seconds.
    pub exposure_s: f64,
    /// Blur of the lens, deviation in pixels of a phone's picture 1080 high.
    pub blur_px: f32,
    /// The monitor's stripes: 1, and 0 for a monitor without any.
    pub stripes: f32,
    /// The backlight.
    pub flicker: Flicker,
    /// The brightest reflection, parts of the monitor's white.
    pub glare: f32,
    /// Light that lies over all of the screen: how far its black is from black, parts of white.
    pub veil: f32,
    /// How far the exposure hunts, parts.
    pub hunting: f32,
    /// Exposure against what would be right.
    pub exposed: f32,
    /// White balance: factors of red and blue against green.
    pub balance: [f32; 2],
    /// Noise at middle grey, grey levels.
    pub noise: f32,
    /// The phone's contrast curve, 0 (none) to 1.
    pub contrast: f32,
    /// The phone's own sharpening: how much of the difference from the neighbours it adds.
    pub sharpening: f32,
}

/// Ranges of one severity.
struct Grade {
    tilt_deg: [f32; 2],
    roll_deg: [f32; 2],
    fill: [f32; 2],
    shake_px: [f32; 2],
    readout_ms: [f32; 2],
    blur_px: [f32; 2],
    distortion: [f32; 2],
    flicker: [f32; 2],
    glare: [f32; 2],
    veil: [f32; 2],
    hunting: [f32; 2],
    overexposed: [f32; 2],
    balance: [f32; 2],
    noise: [f32; 2],
    /// Chance that the phone films in 720p and not in 1080p.
    small: f32,
}

/// Tilt, shake and fill span what the prototype of the mark tried: 1 to 7 degrees at the mildest,
/// 22 to 34 at the hardest, 1 to 12 pixels, 45 to 60 % of the picture filled at the hardest. Readout:
/// measured phones lie between 10 and 30 ms. Distortion after the phone's own correction: below 1 %.
/// Veil: a matt office monitor at 250 cd/m² in 300 lux reflects about 1 %. Blur: the lens alone;
/// diffraction at f/1.8 on the 3.6 µm of a binned pixel is a deviation of 0.12 pixels, aberrations
/// make it 0.2, and out of focus it has no end. The rest is own choice.
const fn grade(severity: Severity) -> Grade {
    match severity {
        Severity::SiteOnly | Severity::Mild => Grade {
            tilt_deg: [1.0, 7.0],
            roll_deg: [0.0, 1.5],
            fill: [0.92, 1.04],
            shake_px: [1.0, 2.0],
            readout_ms: [10.0, 16.0],
            blur_px: [0.22, 0.5],
            distortion: [0.0, 0.002],
            flicker: [0.0, 0.03],
            glare: [0.0, 0.03],
            veil: [0.004, 0.01],
            hunting: [0.0, 0.02],
            overexposed: [0.95, 1.02],
            balance: [0.0, 0.05],
            noise: [0.6, 1.2],
            small: 0.0,
        },
        Severity::Medium => Grade {
            tilt_deg: [7.0, 14.0],
            roll_deg: [0.5, 3.0],
            fill: [0.78, 0.94],
            shake_px: [2.0, 4.0],
            readout_ms: [12.0, 20.0],
            blur_px: [0.25, 0.7],
            distortion: [0.001, 0.004],
            flicker: [0.03, 0.1],
            glare: [0.03, 0.1],
            veil: [0.01, 0.03],
            hunting: [0.02, 0.06],
            overexposed: [0.9, 1.1],
            balance: [0.03, 0.12],
            noise: [1.2, 2.2],
            small: 0.0,
        },
        Severity::Hard => Grade {
            tilt_deg: [14.0, 22.0],
            roll_deg: [1.0, 6.0],
            fill: [0.6, 0.78],
            shake_px: [4.0, 8.0],
            readout_ms: [15.0, 25.0],
            blur_px: [0.8, 1.3],
            distortion: [0.003, 0.007],
            flicker: [0.1, 0.25],
            glare: [0.1, 0.3],
            veil: [0.02, 0.05],
            hunting: [0.05, 0.12],
            overexposed: [0.8, 1.25],
            balance: [0.08, 0.2],
            noise: [2.2, 4.0],
            small: 0.5,
        },
        Severity::Extreme => Grade {
            tilt_deg: [22.0, 34.0],
            roll_deg: [2.0, 10.0],
            fill: [0.45, 0.6],
            shake_px: [8.0, 12.0],
            readout_ms: [20.0, 30.0],
            blur_px: [1.2, 1.8],
            distortion: [0.005, 0.01],
            flicker: [0.2, 0.5],
            glare: [0.2, 0.5],
            veil: [0.03, 0.08],
            hunting: [0.1, 0.2],
            overexposed: [0.75, 1.4],
            balance: [0.12, 0.3],
            noise: [4.0, 6.0],
            small: 1.0,
        },
    }
}

impl Filming {
    /// The best that a phone could do with pictures of this size: on a tripod, straight in front, in
    /// focus, in a dark room, with a monitor without stripes or flicker.
    pub fn best((width, height): (u32, u32)) -> Self {
        let (long, short) = (1920, 1080);
        let phone = if width >= height { (long, short) } else { (short, long) };
        // As large as fits a monitor of 1920 x 1080.
        let scale = (1920.0 / f64::from(width)).min(1080.0 / f64::from(height));
        let monitor = (even(f64::from(width) * scale), even(f64::from(height) * scale));
        Self {
            phone,
            fps: 30.0,
            monitor,
            pose: Pose::STRAIGHT,
            shake_px: 0.0,
            readout_s: 0.0,
            exposure_s: 1.0 / 60.0,
            blur_px: 0.35,
            stripes: 0.0,
            flicker: Flicker { hertz: 240.0, depth: 0.0 },
            glare: 0.0,
            veil: 0.002,
            hunting: 0.0,
            exposed: 1.0,
            balance: [1.0, 1.0],
            noise: 0.5,
            contrast: 0.1,
            sharpening: 0.2,
        }
    }

    /// One way of filming of this severity.
    pub fn draw(severity: Severity, size: (u32, u32), seed: u64) -> Self {
        let grade = grade(severity);
        let mut random = Random::of(seed, "film");
        let random = &mut random;
        let best = Self::best(size);
        let (tilt_deg, turn) = (random.within(grade.tilt_deg), random.part() * 0.25);
        // People stand beside a monitor more often than above it: at most 45° of the turn is pitch.
        let (pitch, yaw) = (std::f32::consts::TAU * turn / 2.0).sin_cos();
        let side = |random: &mut Random| if random.chance(0.5) { 1.0 } else { -1.0 };
        let fill = random.within(grade.fill);
        // Not always in the middle: up to half of what is free.
        let free = (1.0 - fill).max(0.02) / 2.0;
        let pose = Pose {
            yaw_deg: side(random) * tilt_deg * yaw,
            pitch_deg: side(random) * tilt_deg * pitch,
            roll_deg: random.signed(grade.roll_deg),
            fill,
            off: [random.signed([0.0, free / 2.0]), random.signed([0.0, free / 2.0])],
            distortion: random.signed(grade.distortion),
        };
        let (width, height) = best.phone;
        let small = random.chance(grade.small);
        let phone = if small { (width / 3 * 2, height / 3 * 2) } else { (width, height) };
        // The clip in a window or full screen, on a monitor of 1080 or 1440 rows.
        let rows = if random.chance(0.25) { 1440.0 / 1080.0 } else { 1.0 };
        let part = rows * f64::from(random.within([0.7, 1.0]));
        let monitor =
            (even(f64::from(best.monitor.0) * part), even(f64::from(best.monitor.1) * part));
        let pick = |random: &mut Random, of: &[f64]| of.get(random.below(of.len())).copied();
        Self {
            phone,
            fps: pick(random, &[24.0, 25.0, 30.0, 30.0]).unwrap_or(30.0),
            monitor,
            pose,
            shake_px: random.within(grade.shake_px),
            readout_s: f64::from(random.within(grade.readout_ms)) / 1000.0,
            // What phones choose in front of a monitor: whole periods of the mains where they can.
            exposure_s: 1.0 / pick(random, &[120.0, 100.0, 60.0, 50.0, 33.0]).unwrap_or(60.0),
            blur_px: random.within(grade.blur_px),
            stripes: 1.0,
            flicker: Flicker {
                hertz: random.within([180.0, 480.0]),
                depth: random.within(grade.flicker),
            },
            glare: random.within(grade.glare),
            veil: random.within(grade.veil),
            hunting: random.within(grade.hunting),
            exposed: random.within(grade.overexposed),
            balance: [1.0 + random.signed(grade.balance), 1.0 + random.signed(grade.balance)],
            noise: random.within(grade.noise),
            contrast: random.within([0.0, 0.4]),
            sharpening: random.within([0.2, 0.7]),
        }
    }

    /// Where a place of the clip's picture (parts of its sides) lies on the phone's picture (parts of its sides),
    /// with a still hand and a perfect lens.
    pub fn place(&self, u: f32, v: f32) -> (f32, f32) {
        let map = self.pose.homography(self.shape(), self.phone);
        let (x, y) = through(&map, f64::from(u), f64::from(v));
        (narrow(x / f64::from(self.phone.0)), narrow(y / f64::from(self.phone.1)))
    }

    fn shape(&self) -> f64 {
        f64::from(self.monitor.0) / f64::from(self.monitor.1)
    }

    /// Size at which the shown pictures are kept: the monitor's, but no finer than the phone sees.
    fn kept(&self) -> (u32, u32) {
        let seen = f64::from(self.phone.0) / self.shape().max(1e-6);
        let seen = seen.min(f64::from(self.phone.1)) * f64::from(self.pose.fill) * FINE;
        let scale = (seen / f64::from(self.monitor.1)).min(1.0);
        (even(f64::from(self.monitor.0) * scale), even(f64::from(self.monitor.1) * scale))
    }
}

/// What goes on while a clip is filmed.
struct Scene<'a> {
    how: &'a Filming,
    clip: &'a Clip,
    refreshes: Refreshes,
    stripes: Stripes,
    glare: Glare,
    sway: [Sway; 4],
    hunting: Sway,
    noise: Noise,
    to_light: light::Table,
    to_signal: light::Table,
    flicker_phase: f32,
    wall: Rgb,
    /// Shown pictures that are in use.
    lights: BTreeMap<usize, Light>,
    /// Blur in pixels of this phone.
    blur_px: f32,
}

/// Films a clip to its end; `sink` gets picture after picture, at the phone's rate.
///
/// # Errors
/// Where the clip is empty, and those of `sink`.
pub fn film(
    clip: &Clip,
    how: &Filming,
    seed: u64,
    sink: &mut dyn FnMut(&I420Picture) -> Result<()>,
) -> Result<()> {
    clip.size()?;
    let mut random = Random::of(seed, "scene");
    let random = &mut random;
    let (width, height) = (index(how.phone.0), index(how.phone.1));
    let scale = narrow(f64::from(how.phone.0.min(how.phone.1)) / 1080.0);
    // A hand turns and nears a phone much less than it moves it.
    let turned = how.shake_px * 0.012;
    let sways = [how.shake_px * scale, how.shake_px * scale, turned, how.shake_px * 0.000_3];
    let mut scene = Scene {
        how,
        clip,
        refreshes: Refreshes::of(clip, random),
        stripes: Stripes::new(how.blur_px * scale, how.stripes),
        glare: Glare::new((width, height), how.glare, random),
        sway: sways.map(|rms| Sway::new(random, rms)),
        hunting: Sway::new(random, how.hunting),
        noise: Noise::new(Random::of(seed, "noise")),
        to_light: light::to_light(),
        to_signal: light::to_signal(how.contrast),
        flicker_phase: random.part(),
        wall: [random.within([0.02, 0.2]); 3].map(|c| c * random.within([0.8, 1.0])),
        lights: BTreeMap::new(),
        blur_px: how.blur_px * scale,
    };
    let first_s = f64::from(random.part()) / how.fps;
    let pictures = light::whole(((clip.end_s() - first_s) * how.fps).floor().max(1.0));
    for n in 0..pictures {
        let at_s = first_s + f64::from(n) / how.fps;
        let picture = scene.picture(at_s).with_context(|| format!("picture {n}"))?;
        sink(&picture)?;
    }
    Ok(())
}

impl Scene<'_> {
    fn load(&mut self, at_s: f64) -> Result<()> {
        let mut seen = Vec::new();
        let length_s = self.how.exposure_s + self.how.readout_s + 0.05;
        self.refreshes.seen(at_s - 0.05, length_s, 0.0, &mut seen);
        self.lights.retain(|n, _| seen.iter().any(|(wanted, _)| wanted == n));
        let (width, height) = self.how.kept();
        for (n, _) in seen {
            if !self.lights.contains_key(&n) {
                let (_, picture) = self.clip.pictures.get(n).context("no such picture")?;
                let shown = picture.view().resize(width, height)?;
                self.lights.insert(n, Light::shown(&shown, &self.to_light));
            }
        }
        Ok(())
    }

    fn picture(&mut self, at_s: f64) -> Result<I420Picture> {
        self.load(at_s)?;
        let how = self.how;
        let (width, height) = (index(how.phone.0), index(how.phone.1));
        let map = inverse(how.pose.homography(how.shape(), how.phone));
        let (middle_x, middle_y) = (width as f32 / 2.0, height as f32 / 2.0);
        let map = Quick::new(&map, (f64::from(middle_x), f64::from(middle_y)));
        let bent = how.pose.distortion / (middle_x * middle_x + middle_y * middle_y);
        let mut scene = Light::black(width, height);
        let mut places = Vec::with_capacity(width * height);
        let mut seen = Vec::new();
        for (y, row) in scene.rgb.chunks_exact_mut(width).enumerate() {
            let part = y as f64 / height as f64;
            let row_s = at_s + how.readout_s * part;
            let [dx, dy, roll_deg, nearer] = self.sway.each_ref().map(|sway| sway.at(row_s));
            let (sine, cosine) = roll_deg.to_radians().sin_cos();
            let place = |x: f32| {
                let (px, py) = (x - middle_x - dx, y as f32 + 0.5 - middle_y - dy);
                let scale = (1.0 - nearer) * (1.0 - bent * (px * px + py * py));
                map.at((px * cosine - py * sine) * scale, (px * sine + py * cosine) * scale)
            };
            let (_, v) = place(middle_x);
            self.refreshes.seen(row_s, how.exposure_s, f64::from(v), &mut seen);
            let flicker = how.flicker.over(row_s, how.exposure_s, self.flicker_phase);
            let shown: Vec<(&Light, f32)> = seen
                .iter()
                .filter_map(|(n, part)| Some((self.lights.get(n)?, part * flicker)))
                .collect();
            for (x, rgb) in row.iter_mut().enumerate() {
                let (u, v) = place(x as f32 + 0.5);
                places.push((u, v));
                *rgb = if (0.0..1.0).contains(&u) && (0.0..1.0).contains(&v) {
                    let mut sum = [0.0; 3];
                    for (light, part) in &shown {
                        for (sum, c) in sum.iter_mut().zip(light.at(u, v)) {
                            *sum += c * part;
                        }
                    }
                    sum
                } else if u.max(1.0 - u).max(v.max(1.0 - v)) < 1.0 + PLAYER {
                    [0.02 * flicker; 3]
                } else {
                    self.wall
                };
            }
        }
        let scene = scene.blurred(self.blur_px);
        self.expose(&scene, &places, at_s)
    }

    /// From the light at the sensor to the phone's picture.
    fn expose(&mut self, scene: &Light, places: &[(f32, f32)], at_s: f64) -> Result<I420Picture> {
        let how = self.how;
        let (width, height) = (scene.width, scene.height);
        let gain = WHITE * how.exposed * (1.0 + self.hunting.at(at_s));
        // White balance hunts along, a fifth as far.
        let drift = 0.2 * self.hunting.at(at_s + 7.0);
        let [red, blue] = how.balance;
        let gains = [gain * red * (1.0 + drift), gain, gain * blue * (1.0 - drift)];
        // Half a grey level of noise at middle grey is so much light: the curve's slope there is 1.04.
        let noise = how.noise / 255.0 / 1.04;
        let (across, down) = (how.monitor.0 as f32, how.monitor.1 as f32);
        let (stripes, glare, source) = (&self.stripes, &self.glare, &mut self.noise);
        let entries: Vec<usize> = (0..height).map(|_| source.entry()).collect();
        let (mut seen, mut over) = (stripes.seen((0.0, 0.0)), how.veil);
        let mut picture = light::picture(scene, &self.to_signal, |x, y, mut rgb| {
            let n = y * width + x;
            if x % ALIKE == 0 {
                let here = places.get(n).copied().unwrap_or_default();
                let right = places.get(n + 1).map_or(0.0, |to| (to.0 - here.0).abs());
                let lower = places.get(n + width).map_or(0.0, |to| (to.1 - here.1).abs());
                seen = stripes.seen((right * across, lower * down));
            }
            let (u, v) = places.get(n).copied().unwrap_or_default();
            if (0.0..1.0).contains(&u) && (0.0..1.0).contains(&v) {
                let factors = stripes.at(u * across, v * down, seen);
                rgb.iter_mut().zip(factors).for_each(|(c, factor)| *c *= factor);
            }
            if x % 4 == 0 {
                over = how.veil + glare.at(x, y);
            }
            // Lenses give less light to the corners: a phone corrects most of it.
            let (fx, fy) = (x as f32 / width as f32 - 0.5, y as f32 / height as f32 - 0.5);
            let corner = 1.0 - 0.2 * (fx * fx + fy * fy);
            let entry = entries.get(y).copied().unwrap_or(0) + 3 * x;
            for (k, (c, gain)) in rgb.iter_mut().zip(gains).enumerate() {
                let light = (*c + over) * gain * corner;
                // Photons arrive by chance: noise grows with the root of the light.
                let grain = noise * ((light + 0.02) / 0.24).sqrt();
                *c = light + grain * source.at(entry + k);
            }
            rgb
        })?;
        sharpen(&mut picture, how.sharpening);
        Ok(picture)
    }
}

/// A phone's own sharpening: adds the difference from the mean of the four neighbours.
pub(super) fn sharpen(picture: &mut I420Picture, amount: f32) {
    let width = index(picture.width());
    let before = picture.view().luma().to_vec();
    let rows: Vec<&[u8]> = before.chunks_exact(width).collect();
    let around = rows.windows(3);
    let to = picture.planes_mut().y.chunks_exact_mut(width).skip(1);
    for (to, three) in to.zip(around) {
        let [above, row, below] = three else { continue };
        let sides = row.windows(3).zip(above.iter().zip(*below).skip(1));
        for (to, (three, (above, below))) in to.iter_mut().skip(1).zip(sides) {
            let [left, own, right] = three else { continue };
            let sum = [left, right, above, below].map(|p| f32::from(*p)).iter().sum::<f32>();
            let own = f32::from(*own);
            *to = level((own + amount * (own - sum / 4.0)).max(0.0));
        }
    }
}
