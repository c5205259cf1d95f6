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

    /// How sharp it is: 1 for a row of hard edges, 0 for strong blur. Free of noise and of light.
    pub(crate) fn sharpness(&self) -> f32 {
        (self.near / self.far.max(f32::MIN_POSITIVE) - BLURRED) / (1.0 / 7.0 - BLURRED)
    }

    /// Fine and middle detail for the contrast that there is.
    pub(crate) fn fine(&self) -> f32 {
        self.near / self.contrast()
    }

    pub(crate) fn shapes(&self) -> f32 {
        self.far / self.contrast()
    }

    fn contrast(&self) -> f32 {
        (self.structure * self.structure).max(0.01)
    }

    /// Whether the scene stands clear of the noise, so that its sharpness can be judged.
    pub(crate) fn is_clear(&self) -> bool {
        self.structure >= 2.0 && self.far > 0.05 * self.raw && self.far > 1.0
    }
}

/// How much a view is like the usual one, -1 to 1 each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Likeness {
    pub(crate) light: f32,
    pub(crate) detail: f32,
}

impl Likeness {
    /// How far it lies above what the limits ask, at its better part.
    pub(crate) fn above(self, limits: Self) -> f32 {
        (self.light - limits.light).max(self.detail - limits.detail)
    }
}

/// What was learned.
#[derive(Clone, Debug, Default)]
pub(crate) struct UsualView {
    /// Its cells are of unit deviation, so that a bright minute does not outweigh a dark one.
    view: Option<View>,
    likeness: Option<Likeness>,
    seconds: f32,
}

impl UsualView {
    /// Learns a picture that shows `seconds` more.
    pub(crate) fn learn(&mut self, view: &View, seconds: f32) {
        let Some(usual) = &mut self.view else {
            self.view = Some(normalised(view));
            return;
        };
        self.seconds += seconds;
        let part = seconds / self.seconds.clamp(seconds, MEMORY_S);
        usual.blend(&normalised(view), part);
        let now = likeness(usual, view);
        let old = self.likeness.get_or_insert(now);
        old.light += (now.light - old.light) * part;
        old.detail += (now.detail - old.detail) * part;
    }

    /// What is usual; None until enough was learned.
    pub(crate) fn known(&self) -> Option<(&View, Likeness)> {
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

/// How like a view is to the usual one, where not both are black.
pub(crate) fn likeness(usual: &View, view: &View) -> Likeness {
    let seen = || usual.light.iter().zip(&view.light).map(|(u, v)| *u > BLACK / 2.0 || *v > BORDER);
    // A black cell of the usual view against one that is not: as dark as a cell can well be.
    let light = usual.light.iter().map(|u| u.max(-3.0)).zip(view.light.iter().copied());
    Likeness {
        light: correlation(light.zip(seen())),
        detail: correlation(
            usual.detail.iter().copied().zip(view.detail.iter().copied()).zip(seen()),
        ),
    }
}

/// Correlation of the pairs that count; 0 where one side does not vary.
fn correlation(pairs: impl Iterator<Item = ((f32, f32), bool)>) -> f32 {
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
    if n < 16.0 || va <= 1e-6 * n * n || vb <= 1e-6 * n * n {
        return 0.0;
    }
    #[expect(clippy::cast_possible_truncation, reason = "-1 to 1")]
    let r = ((n * ab - a * b) / (va * vb).sqrt()) as f32;
    r
}

fn mean_and_deviation(values: &[f32]) -> (f32, f32) {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred cells")]
    let n = values.len().max(1) as f32;
    let mean = values.iter().sum::<f32>() / n;
    let squares = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>();
    (mean, (squares / n).sqrt())
}
