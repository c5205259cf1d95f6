//! What a camera usually sees: a slowly learned layout of its view, and how much a picture is like
//! it, whatever the light.
//!
//! INVARIANT: [`COLUMNS`](temoin_proto::picture_stats::COLUMNS) x
//! [`ROWS`](temoin_proto::picture_stats::ROWS) numbers in RAM, too coarse to show anybody; they are
//! forgotten with the drive.

use temoin_proto::picture_stats::PictureStats;

/// Luma up to here counts as black: a border that a camera or a replay adds.
const BORDER: f32 = 17.5;
/// How far the past reaches in what was learned, seconds.
const MEMORY_S: f32 = 60.0;
/// From here on something was learned, seconds of pictures.
const LEARNED_S: f32 = 8.0;
/// What the ratio of the picture's steps becomes with the strongest blur: (2² - 1²) / (8² - 1²).
const BLURRED: f32 = 0.048;

/// One picture's view, free of noise as far as it goes.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Luma of the cells.
    pub(crate) light: Vec<f32>,
    /// Logarithm of each cell's detail above the noise.
    pub(crate) detail: Vec<f32>,
    pub(crate) mean: f32,
    /// Standard deviation of the cells' luma.
    pub(crate) structure: f32,
    pub(crate) noise: f32,
    /// Scene in steps of two and of eight pixels, less the noise.
    pub(crate) near: f32,
    pub(crate) far: f32,
    /// Step of one pixel, noise and all.
    pub(crate) raw: f32,
    pub(crate) black: f32,
    pub(crate) white: f32,
}

impl View {
    pub(crate) fn of(stats: &PictureStats) -> Self {
        let floor = 4.0 * stats.noise * stats.noise;
        let [one, two, eight] = stats.steps;
        let (mean, structure) = mean_and_deviation(&stats.cells);
        Self {
            light: stats.cells.clone(),
            detail: stats.detail.iter().map(|d| (d - floor).max(0.0).ln_1p()).collect(),
            mean,
            structure,
            noise: stats.noise,
            near: two - one,
            far: eight - one,
            raw: one,
            black: stats.black,
            white: stats.white,
        }
    }

    /// The mean of some views; noise averages out of it, a scene does not. Empty: None.
    pub(crate) fn mean_of<'a>(views: impl Iterator<Item = &'a Self> + Clone) -> Option<Self> {
        let mut mean = views.clone().next()?.clone();
        for (n, view) in (1_u8..).zip(views.skip(1)) {
            mean.blend(view, 1.0 / f32::from(n.saturating_add(1)));
        }
        mean.structure = mean_and_deviation(&mean.light).1;
        Some(mean)
    }

    fn blend(&mut self, other: &Self, part: f32) {
        let mix = |a: &mut f32, b: f32| *a += (b - *a) * part;
        for (a, b) in self.light.iter_mut().zip(&other.light) {
            mix(a, *b);
        }
        for (a, b) in self.detail.iter_mut().zip(&other.detail) {
            mix(a, *b);
        }
        for (a, b) in [
            (&mut self.mean, other.mean),
            (&mut self.structure, other.structure),
            (&mut self.noise, other.noise),
            (&mut self.near, other.near),
            (&mut self.far, other.far),
            (&mut self.raw, other.raw),
            (&mut self.black, other.black),
            (&mut self.white, other.white),
        ] {
            mix(a, b);
        }
    }

    /// Whether next to nothing is above the bottom of the scale.
    pub(crate) fn is_black(&self) -> bool {
        let black = self.light.iter().filter(|l| **l <= BORDER).count();
        black * 10 >= self.light.len() * 9
    }

    /// Whether the scene stands clear of the noise, so that its sharpness can be judged.
    pub(crate) fn is_clear(&self) -> bool {
        self.structure >= 2.0 && self.far > 0.15 * self.raw && self.far > 1.0
    }

    pub(crate) fn focus(&self) -> Option<Focus> {
        self.is_clear().then(|| {
            let contrast = (self.structure * self.structure).max(0.01);
            let ratio = self.near / self.far;
            Focus {
                sharpness: (ratio - BLURRED) / (1.0 / 7.0 - BLURRED),
                fine: (self.near / contrast).max(0.0),
            }
        })
    }

    /// Shapes for the contrast that there is: next to none in soft shades.
    pub(crate) fn shapes(&self) -> f32 {
        self.far / (self.structure * self.structure).max(0.01)
    }

    /// Whether there is so little noise that what is usual can be learned.
    pub(crate) fn is_plain(&self) -> bool {
        self.is_clear() && self.far > 0.4 * self.raw
    }
}

/// How sharp a view is, free of noise and of light.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Focus {
    /// 1 for a row of hard edges, 0 for strong blur.
    sharpness: f32,
    /// Fine detail for the contrast that there is.
    fine: f32,
}

impl Focus {
    /// This as a part of the usual one: the geometric mean of both.
    pub(crate) fn part_of(self, usual: Self) -> f32 {
        let sharpness = self.sharpness.max(0.0) / usual.sharpness.max(0.05);
        (sharpness * self.fine / usual.fine.max(1e-6)).sqrt()
    }
}

/// What was learned.
#[derive(Clone, Debug, Default)]
pub(crate) struct UsualView {
    /// Its cells are of unit deviation, so that a bright minute does not outweigh a dark one.
    view: Option<View>,
    likeness: Option<f32>,
    seconds: f32,
    focus: Option<Focus>,
    focus_seconds: f32,
    shapes: f32,
}

impl UsualView {
    /// Learns a picture that shows `seconds` more.
    pub(crate) fn learn(&mut self, view: &View, seconds: f32) {
        let Some(usual) = &mut self.view else {
            self.view = Some(normalised(view));
            return;
        };
        self.seconds += seconds;
        let part = (seconds / self.seconds.clamp(0.1, MEMORY_S)).min(1.0);
        usual.blend(&normalised(view), part);
        let now = likeness(usual, view);
        let old = self.likeness.get_or_insert(now);
        *old += (now - *old) * part;
    }

    /// Learns how sharp the pictures are and how much shape they have.
    pub(crate) fn learn_focus(&mut self, view: &View, seconds: f32) {
        let Some(now) = view.focus() else { return };
        self.focus_seconds += seconds;
        let part = (seconds / self.focus_seconds.clamp(0.1, MEMORY_S)).min(1.0);
        let usual = self.focus.get_or_insert(now);
        usual.sharpness += (now.sharpness - usual.sharpness) * part;
        usual.fine += (now.fine - usual.fine) * part;
        self.shapes += (view.shapes() - self.shapes) * part;
    }

    /// Fine detail of this view as a part of the usual one, where that would stand clear of the
    /// noise: also of one that is so blurred that nothing does.
    pub(crate) fn fine_part(&self, view: &View) -> Option<f32> {
        let expected = self.focus()?.fine * view.structure * view.structure;
        let judged = view.structure >= 2.0 && expected > 0.03 * view.raw;
        judged.then(|| (view.near / expected).max(0.0))
    }

    /// How sharp pictures usually are; None until enough was learned.
    pub(crate) fn focus(&self) -> Option<Focus> {
        self.focus.filter(|_| self.focus_seconds >= LEARNED_S)
    }

    /// [`View::shapes`] that are usual; None until enough was learned.
    pub(crate) fn shapes(&self) -> Option<f32> {
        self.focus().map(|_| self.shapes)
    }

    /// What is usual, and how like it pictures usually are; None until enough was learned.
    pub(crate) fn known(&self) -> Option<(&View, f32)> {
        let enough = self.seconds >= LEARNED_S;
        self.view.as_ref().zip(self.likeness).filter(|_| enough)
    }
}

fn normalised(view: &View) -> View {
    let mut view = view.clone();
    let (mean, deviation) = (view.mean, view.structure.max(0.1));
    // Black stays told apart from what is dark.
    let scaled = |l: &f32| if *l <= BORDER { BLACK } else { (l - mean) / deviation };
    view.light = view.light.iter().map(scaled).collect();
    view
}

/// Stands for a black cell in a learned view; no other cell is as low.
const BLACK: f32 = -100.0;

/// How like a view is to the usual one where not both are black, -1 to 1: the mean of the likeness
/// of light and of detail. Light alone where it is very much alike, or noise hides all detail.
pub(crate) fn likeness(usual: &View, view: &View) -> f32 {
    let seen = || usual.light.iter().zip(&view.light).map(|(u, v)| *u > BLACK / 2.0 || *v > BORDER);
    // A black cell of the usual view against one that is not: as dark as a cell can well be.
    let light = usual.light.iter().map(|u| u.max(-3.0)).zip(view.light.iter().copied());
    let detail = usual.detail.iter().copied().zip(view.detail.iter().copied());
    let light = correlation(light.zip(seen())).unwrap_or(0.0);
    let detail = correlation(detail.zip(seen())).unwrap_or(light);
    let part = ((0.9 - light) / 0.2).clamp(0.0, 1.0) / 2.0;
    light + (detail - light) * part
}

/// Correlation of the pairs that count; None where one side does not vary.
fn correlation(pairs: impl Iterator<Item = ((f32, f32), bool)>) -> Option<f32> {
    let (mut n, mut a, mut b, mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for ((x, y), counts) in pairs {
        if counts {
            let (x, y) = (f64::from(x), f64::from(y));
            n += 1.0;
            a += x;
            b += y;
            aa += x * x;
            bb += y * y;
            ab += x * y;
        }
    }
    let (va, vb) = (n * aa - a * a, n * bb - b * b);
    if n < 16.0 || va <= 1e-3 * n * n || vb <= 1e-3 * n * n {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "-1 to 1")]
    let r = ((n * ab - a * b) / (va * vb).sqrt()) as f32;
    Some(r)
}

fn mean_and_deviation(values: &[f32]) -> (f32, f32) {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred cells")]
    let n = values.len().max(1) as f32;
    let mean = values.iter().sum::<f32>() / n;
    let squares = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>();
    (mean, (squares / n).sqrt())
}
