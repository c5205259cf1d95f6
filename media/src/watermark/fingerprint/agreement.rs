//! How well the words that a clip and a leak share agree in place and in time.
//!
//! Any two pictures share some words by chance; these lie anywhere. Words of the same scene lie to
//! each other as they did, but for one shift, scale and small turn, and come after each other as they
//! did. So each pair of shared words says where the leak would lie in the clip, and the others are
//! counted that say the same.
//!
//! INVARIANT: the work for a clip is bounded, whatever it says: [`MOST_HITS`] and [`MOST_PAIRS`].

use super::search::WINDOW_MS;

/// How far off its place a word may lie, in short sides of the unit's picture: a tilt of 25° moves the
/// corners by about this against the best shift, scale and turn. Own choice: validate.
pub(super) const REACH: f32 = 0.07;
/// The leak's scale to the original's, short side to short side: from a screen in a corner to a
/// third of the width, upright.
const SCALES: (f32, f32) = (0.2, 5.0);
/// How far a leak may be turned from the way it is searched in, as a slope: 15°.
const SLOPE: f32 = 0.27;
/// Two words closer than this say too little about scale and turn, in short sides.
const LEAST_APART: f32 = 0.15;
/// Shared words of a clip that are looked at, and pairs of them.
const MOST_HITS: usize = 600;
const MOST_PAIRS: usize = 3000;

/// A word of the clip that is one of the leak's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    /// Which of the clip's words, from 0.
    pub(super) word: u16,
    /// Its place in the clip, in short sides.
    pub(super) x: f32,
    pub(super) y: f32,
    /// In the leak.
    pub(super) leak_x: f32,
    pub(super) leak_y: f32,
    /// Its time in the clip less those in the leak, from the last to the first: what stands still is
    /// there all the while.
    pub(super) offsets_ms: (i32, i32),
    /// How rare it is to be here by chance: -log10 of how many of the clip's words would be.
    pub(super) rarity: f32,
}

/// The best agreement of a clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Agreement {
    /// -log10 of how many agreements as good chance would have given in this clip.
    pub(super) evidence: f32,
    /// Words that agree.
    pub(super) words: u16,
    /// When in the clip the leak begins.
    pub(super) offset_ms: i32,
    /// Short sides of the leak to one of the original.
    pub(super) scale: f32,
}

/// Where the leak lies in the clip: `leak = turn_and_scale * (clip - from) + to`, as complex numbers.
struct Lie {
    from: (f32, f32),
    to: (f32, f32),
    re: f32,
    im: f32,
    offset_ms: i32,
}

impl Lie {
    /// As two hits say; none where they contradict each other or say too little.
    fn of(a: &Hit, b: &Hit, (cos, sin): (f32, f32)) -> Option<Self> {
        let (dx, dy) = (b.x - a.x, b.y - a.y);
        let (qx, qy) = (b.leak_x - a.leak_x, b.leak_y - a.leak_y);
        let length = dx * dx + dy * dy;
        if a.word == b.word || length < LEAST_APART * LEAST_APART {
            return None;
        }
        let (re, im) = ((qx * dx + qy * dy) / length, (qy * dx - qx * dy) / length);
        // Turned back by the way it is searched in, it is nearly upright.
        let (along, aside) = (re * cos + im * sin, im * cos - re * sin);
        let fits = along > SCALES.0 && along < SCALES.1 && aside.abs() < SLOPE * along;
        let middle = |a: f32, b: f32| f32::midpoint(a, b);
        let earliest = a.offsets_ms.0.max(b.offsets_ms.0);
        let latest = a.offsets_ms.1.min(b.offsets_ms.1);
        fits.then(|| Self {
            from: (middle(a.x, b.x), middle(a.y, b.y)),
            to: (middle(a.leak_x, b.leak_x), middle(a.leak_y, b.leak_y)),
            re,
            im,
            offset_ms: i32::midpoint(earliest, latest),
        })
    }

    fn says(&self, hit: &Hit) -> bool {
        let (earliest, latest) = hit.offsets_ms;
        if self.offset_ms < earliest - WINDOW_MS || self.offset_ms > latest + WINDOW_MS {
            return false;
        }
        let (x, y) = (hit.x - self.from.0, hit.y - self.from.1);
        let dx = self.re * x - self.im * y + self.to.0 - hit.leak_x;
        let dy = self.im * x + self.re * y + self.to.1 - hit.leak_y;
        dx * dx + dy * dy < REACH * REACH * self.squared_scale()
    }

    fn squared_scale(&self) -> f32 {
        self.re * self.re + self.im * self.im
    }
}

/// Which words were counted already, for each lie anew without clearing anything.
#[derive(Default)]
pub(super) struct Marks {
    words: Vec<u32>,
    now: u32,
}

impl Marks {
    fn next_lie(&mut self) {
        if self.now == u32::MAX {
            *self = Self::default();
        }
        self.now += 1;
        self.words.resize(usize::from(u16::MAX) + 1, 0);
    }

    /// Whether this is the first time.
    fn is_new(&mut self, word: u16) -> bool {
        self.words
            .get_mut(usize::from(word))
            .is_some_and(|mark| std::mem::replace(mark, self.now) != self.now)
    }
}

/// Finds the best agreement among hits of one way; `marks` is room to work in.
pub(super) fn best(hits: &mut Vec<Hit>, turn_rad: f32, marks: &mut Marks) -> Option<Agreement> {
    if hits.len() < 3 {
        return None;
    }
    thin(hits, MOST_HITS);
    hits.sort_unstable_by_key(|hit| hit.offsets_ms.0);
    // The hits behind one that can be at its time: all begin before it ends.
    let near = |from: usize| {
        let after = hits.get(from..).unwrap_or_default();
        let until = after.first().map_or(0, |hit| hit.offsets_ms.1 + WINDOW_MS);
        after.iter().skip(1).take_while(move |hit| hit.offsets_ms.0 <= until)
    };
    let all: usize = (0..hits.len()).map(|n| near(n).count()).sum();
    let step = all.div_ceil(MOST_PAIRS).max(1);
    let turn = (turn_rad.cos(), turn_rad.sin());
    let mut best: Option<Agreement> = None;
    let (mut pair, mut tried) = (0_usize, 0_u32);
    for (n, first) in hits.iter().enumerate() {
        for second in near(n) {
            pair += 1;
            if !pair.is_multiple_of(step) {
                continue;
            }
            let Some(lie) = Lie::of(first, second, turn) else { continue };
            tried += 1;
            let found = agreement(hits, &lie, marks);
            // The two that it was made of are no evidence.
            let evidence = found.evidence - first.rarity - second.rarity;
            if found.words >= 3 && best.is_none_or(|best| evidence > best.evidence) {
                best = Some(Agreement { evidence, ..found });
            }
        }
    }
    // Each pair was a chance to agree; those left out were not taken, and are not counted.
    #[expect(clippy::cast_precision_loss, reason = "at most some thousands")]
    let pairs = (tried as f32).log10();
    best.map(|best| Agreement { evidence: best.evidence - pairs, ..best })
}

/// What agrees with a lie, of hits in the order of their earliest offset.
fn agreement(hits: &[Hit], lie: &Lie, marks: &mut Marks) -> Agreement {
    let until = lie.offset_ms + WINDOW_MS;
    let begun = hits.iter().take_while(|hit| hit.offsets_ms.0 <= until);
    let mut out = Agreement { evidence: 0.0, words: 0, offset_ms: lie.offset_ms, scale: 0.0 };
    marks.next_lie();
    let squared = lie.squared_scale();
    let wider = squared.log10();
    for hit in begun.filter(|hit| lie.says(hit)) {
        if !marks.is_new(hit.word) {
            continue;
        }
        out.words = out.words.saturating_add(1);
        out.evidence += hit.rarity;
        if out.words > 2 {
            // Poisson: so many of them in any order, each over a larger area of the leak.
            out.evidence += f32::from(out.words - 2).log10() - wider;
        }
    }
    out.scale = squared.sqrt();
    out
}

/// Leaves at most so many, evenly.
fn thin(hits: &mut Vec<Hit>, most: usize) {
    let step = hits.len().div_ceil(most).max(1);
    let mut n = 0_usize;
    hits.retain(|_| {
        n += 1;
        (n - 1).is_multiple_of(step)
    });
}
