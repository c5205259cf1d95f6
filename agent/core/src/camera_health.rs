//! Whether a camera works: from a few numbers of its pictures, about two times a second.
//!
//! What is told, and what not: it is not a fault that it is night (dark, with noise, with lights
//! that move), that the van stands in front of a wall, or that it drives into a tunnel. So a
//! picture is compared with what this camera usually sees only in comparable light; what counts as
//! covered or turned must have come suddenly; and where it cannot be told, nothing is told.
//!
//! | fault | sign |
//! |---|---|
//! | silent | no picture |
//! | frozen | the same noise again and again |
//! | covered | no scene at all, or only soft shades where there was a scene |
//! | exposure | most of the picture at an end of the scale |
//! | turned | sharp, but another layout of light and of detail, suddenly |
//! | defocused | the same layout, but its detail is gone |
//! | flicker | the brightness of the whole picture goes up and down four times a second or more |
//!
//! A camera that was covered softly or turned before the drive began has no usual view to differ
//! from: that is not found. Thresholds are own choices from recorded clips, degraded step by step
//! (`agent/src/camera_health_tests.rs`): validate.
//!
//! INVARIANT: device health only; nothing here is ever said to the driver or of the driver.

use std::{collections::VecDeque, ops::RangeInclusive, time::Duration};

use temoin_proto::{picture_stats::PictureStats, time::MonoTime};

use crate::camera_view::{UsualView, View, likeness};

/// What is wrong with a camera, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CameraFault {
    /// No pictures come.
    Silent,
    /// The same picture comes again and again.
    Frozen,
    /// Something is over the lens.
    Covered,
    /// Most of the picture is white or black.
    Exposure,
    /// It looks elsewhere than before.
    Turned,
    /// Its pictures are not sharp any more.
    Defocused,
    /// Its pictures flicker.
    Flicker,
}

/// The faults that pictures show.
const SEEN: [CameraFault; 6] = [
    CameraFault::Frozen,
    CameraFault::Covered,
    CameraFault::Exposure,
    CameraFault::Turned,
    CameraFault::Defocused,
    CameraFault::Flicker,
];

/// A sign must last this long. With the window it makes less than 10 s (DESIGN: 10 s).
const SAY_AFTER: Duration = Duration::from_secs(5);
/// It must be gone for as long.
const CLEAR_AFTER: Duration = Duration::from_secs(4);
/// Over which noise is averaged.
const WINDOW: Duration = Duration::from_millis(2500);
/// What comes within this time came suddenly: a hand turns a camera faster, a road does not change
/// its looks as fast, and an evening never.
const SUDDEN: Duration = Duration::from_millis(1600);
/// A scene that was seen for this long stays.
const STEADY: Duration = Duration::from_secs(10);
/// A gap between pictures after which nothing is compared with what was before it.
const GAP: Duration = Duration::from_secs(3);
/// A view that is unlike the usual one for this long without a fault is the new usual one.
const NEW_VIEW_AFTER: Duration = Duration::from_secs(15);

/// Luma deviation of the averaged cells below which there is no scene. A covered lens has 0.05 with
/// strong noise; a scene at a fiftieth of daylight under noise still 0.8.
const NO_SCENE: f32 = 0.3;
/// Above it there may be one, under noise.
const SCENE: f32 = 1.2;
/// Above it there is one without doubt.
const CLEAR_SCENE: f32 = 2.0;
/// Mean luma below which it is dark.
const DARK: f32 = 40.0;
/// Noise above which a sensor works at its limit: it is dark around, not covered.
const NOISY: f32 = 0.7;
/// A van that is known to be slower stands.
const STANDS_MPS: f64 = 1.0;
/// Likeness below which a view is another one, at most; an unsteady view has a lower limit. A view
/// moved aside by 40 % of its width has 0.1 to 0.4, the same view in any light 0.5 or more.
const OTHER: f32 = 0.46;
/// It is the usual one again that far above the limit.
const AGAIN: f32 = 0.1;
/// That far below its usual likeness it must be.
const OTHER_BELOW_USUAL: f32 = 0.3;
/// That near to its usual likeness it was before, to have changed suddenly.
const WAS_USUAL: f32 = 0.15;
/// Light is comparable up to this factor of the mean.
const SAME_LIGHT: f32 = 1.8;
/// Contrast of a turned camera as a part of the usual one.
const SAME_CONTRAST: RangeInclusive<f32> = 0.4..=2.5;
/// Part of the usual shapes below which nothing but soft shades is left.
const SOFT: f32 = 0.12;
/// Parts of the usual sharpness and fine detail below which it is out of focus. A blur of two
/// pixels at 1280x720 leaves 0.3 of both; a scene varies within 0.7 to 1.4.
const UNSHARP: f32 = 0.5;
/// Above it it is sharp again.
const SHARP: f32 = 0.62;
/// Part of the picture at the scale's top that is too much, and that is fine again.
const TOO_WHITE: (f32, f32) = (0.5, 0.35);
/// Part of the picture at the scale's bottom that is too much, for a camera that usually shows
/// more.
const TOO_BLACK: f32 = 0.97;
/// Mean change of single pixels below which a picture is the one before: the noise of a camera is
/// above 0.6 even in clipped dark pictures.
const SAME_PIXELS: f32 = 0.15;
/// Brightness that goes up and down by less than this part of the mean does not flicker.
const FLICKER_PART: f32 = 0.03;
/// Nor slower than this, Hz: lamps of a tunnel pass at 2 to 3 Hz.
const FLICKER_HZ: f32 = 4.0;
/// How alike its periods are, at least.
const FLICKER_PERIODIC: f32 = 0.6;
/// Most brightness values that are kept: 4 s at 60 pictures a second.
const MOST_BRIGHTNESS: usize = 240;

/// Whether a sign was there long enough.
#[derive(Clone, Debug, Default)]
struct Latch {
    on: bool,
    since: Option<MonoTime>,
}

impl Latch {
    /// `sign` is None where it cannot be told: that neither starts nor ends anything.
    fn step(&mut self, at: MonoTime, sign: Option<bool>) {
        if sign.is_none_or(|sign| sign == self.on) {
            self.since = None;
            return;
        }
        let since = *self.since.get_or_insert(at);
        if at.since(since) >= if self.on { CLEAR_AFTER } else { SAY_AFTER } {
            *self = Self { on: !self.on, since: None };
        }
    }
}

/// How what is seen now differs from what was usual, since it does.
#[derive(Clone, Copy, Debug)]
struct Change {
    since: MonoTime,
    sudden: bool,
}

/// Watches one camera.
#[derive(Clone, Debug)]
pub struct CameraWatch {
    silent_after: Duration,
    silent: bool,
    last: Option<MonoTime>,
    samples: Vec<u8>,
    recent: VecDeque<(MonoTime, View)>,
    brightness: VecDeque<(MonoTime, f32)>,
    usual: UsualView,
    /// What was usual before: the road beyond a tunnel or a wall.
    before: UsualView,
    /// Since when a scene is seen, when one was last seen that stayed, and a usual view.
    scene_since: Option<MonoTime>,
    scene_at: Option<MonoTime>,
    usual_at: Option<MonoTime>,
    no_scene: Option<Change>,
    unlike: Option<Change>,
    latches: [Latch; SEEN.len()],
    told: Option<CameraFault>,
}

impl CameraWatch {
    /// A camera that showed nothing yet; it is silent after that time without a picture.
    pub fn new(silent_after: Duration) -> Self {
        Self {
            silent_after,
            silent: false,
            last: None,
            samples: Vec::new(),
            recent: VecDeque::new(),
            brightness: VecDeque::new(),
            usual: UsualView::default(),
            before: UsualView::default(),
            scene_since: None,
            scene_at: None,
            usual_at: None,
            no_scene: None,
            unlike: None,
            latches: Default::default(),
            told: None,
        }
    }

    /// Takes a picture's statistics, in order of time; others are ignored. `speed_mps` is the
    /// van's, where it is known.
    pub fn step(&mut self, stats: &PictureStats, speed_mps: Option<f64>) {
        let at = stats.at;
        if self.last.is_some_and(|last| at <= last) {
            return;
        }
        let gap = self.last.map_or(Duration::ZERO, |last| at.since(last));
        self.last = Some(at);
        self.silent = false;
        if gap > GAP {
            self.recent.clear();
            self.brightness.clear();
            self.samples.clear();
            (self.scene_since, self.scene_at, self.usual_at) = (None, None, None);
        }
        let view = View::of(stats);
        self.recent.push_back((at, view.clone()));
        while self.recent.front().is_some_and(|(then, _)| at.since(*then) > WINDOW) {
            self.recent.pop_front();
        }
        let Some(mean) = View::mean_of(self.recent.iter().map(|(_, view)| view)) else { return };
        self.note_changes(at, &view);

        let stands = speed_mps.is_some_and(|mps| mps < STANDS_MPS);
        let frozen = self.frozen(stats);
        let signs = [
            frozen,
            self.covered(at, &mean, stands),
            self.exposure(&mean),
            self.turned(at, &mean, stands),
            self.defocused(&mean),
            self.flicker(stats),
        ];
        for (latch, sign) in self.latches.iter_mut().zip(signs) {
            latch.step(at, sign);
        }
        self.learn(at, &view, gap.as_secs_f32().min(1.0), &mean, stands);
    }

    /// Time passed.
    pub fn tick(&mut self, now: MonoTime) {
        self.silent = self.last.is_some_and(|last| now.since(last) >= self.silent_after);
    }

    /// When [`Self::tick`] must be called if no picture comes before.
    pub fn deadline(&self) -> Option<MonoTime> {
        self.last.filter(|_| !self.silent).map(|last| last + self.silent_after)
    }

    /// The gravest fault that there is.
    pub fn fault(&self) -> Option<CameraFault> {
        if self.silent {
            return Some(CameraFault::Silent);
        }
        self.latches.iter().zip(SEEN).find_map(|(latch, fault)| latch.on.then_some(fault))
    }

    /// The fault, where it is another one than was told last.
    pub fn changed(&mut self) -> Option<Option<CameraFault>> {
        let fault = self.fault();
        (fault != self.told).then(|| {
            self.told = fault;
            fault
        })
    }

    /// Since when there is no scene, and since when the view is not the usual one.
    fn note_changes(&mut self, at: MonoTime, view: &View) {
        let change = |last: Option<MonoTime>| Change {
            since: at,
            sudden: last.is_some_and(|last| at.since(last) <= SUDDEN),
        };
        if view.structure >= CLEAR_SCENE {
            let since = *self.scene_since.get_or_insert(at);
            // Lights that pass in the dark are no scene that could be covered.
            if at.since(since) >= STEADY {
                self.scene_at = Some(at);
            }
        } else {
            self.scene_since = None;
        }
        if view.structure >= SCENE {
            self.no_scene = None;
        } else {
            let _since = self.no_scene.get_or_insert(change(self.scene_at));
        }
        let Some((usual, limit)) = view_and_limit(&self.usual) else { return };
        let now = likeness(usual, view);
        if self.usual.known().is_some_and(|(_, was)| now >= was - WAS_USUAL) {
            self.usual_at = Some(at);
        }
        let back = |(before, limit): (&View, f32)| likeness(before, view) >= limit + AGAIN;
        if now >= limit + AGAIN {
            self.unlike = None;
        } else if now < limit {
            if view_and_limit(&self.before).is_some_and(back) {
                std::mem::swap(&mut self.usual, &mut self.before);
                self.unlike = None;
            } else {
                let _since = self.unlike.get_or_insert(change(self.usual_at));
            }
        }
    }

    fn learn(&mut self, at: MonoTime, view: &View, seconds: f32, mean: &View, stands: bool) {
        // While the van stands, what is in front of it may be anything.
        let long = |change: Change| !stands && at.since(change.since) >= NEW_VIEW_AFTER;
        if self.unlike.is_some_and(long) && self.fault().is_none() {
            self.before = std::mem::take(&mut self.usual);
            self.unlike = None;
        }
        let other = self.unlike.is_some();
        let unsharp = self.sharp_part(mean).is_some_and(|part| part < UNSHARP);
        if self.fault().is_some()
            || other
            || unsharp
            || view.structure < NO_SCENE
            || view.is_black()
        {
            return;
        }
        self.usual.learn(view, seconds);
        if mean.is_plain() {
            self.usual.learn_focus(mean, seconds);
        }
    }

    /// A camera's noise is never the same twice.
    fn frozen(&mut self, stats: &PictureStats) -> Option<bool> {
        let before = std::mem::replace(&mut self.samples, stats.samples.clone());
        // At the ends of the scale there is no noise.
        let pairs = before.iter().zip(&stats.samples);
        let usable = pairs.filter(|(a, b)| (17..=234).contains(*a) && (17..=234).contains(*b));
        let (n, sum) = usable
            .fold((0_u32, 0_u32), |(n, sum), (a, b)| (n + 1, sum + u32::from(a.abs_diff(*b))));
        #[expect(clippy::cast_precision_loss, reason = "sums of a thousand pixels")]
        let change = sum as f32 / n as f32;
        (n >= 50).then_some(change <= SAME_PIXELS)
    }

    fn covered(&self, at: MonoTime, mean: &View, stands: bool) -> Option<bool> {
        if mean.white > TOO_WHITE.0 {
            return None;
        }
        if let Some(change) = self.no_scene {
            if mean.structure >= NO_SCENE {
                // Too faint to tell, or the window still holds what was before.
                return None;
            }
            let dark = mean.mean < DARK;
            if dark && stands {
                // A garage, a lamp that went out: it will be told when the van moves.
                return None;
            }
            let always = self.scene_at.is_none();
            return match (change.sudden, dark) {
                (true, _) | (_, false) => Some(true),
                // Dark since the start: only without the noise of a dark night.
                (false, true) if always => (mean.noise < NOISY).then_some(true),
                // It grew dark slowly.
                (false, true) => Some(false),
            };
        }
        // Something is seen. Soft shades only, where there was a scene?
        let Some((usual, limit)) = view_and_limit(&self.usual) else { return Some(false) };
        let unlike = self.unlike.filter(|change| at.since(change.since) >= WINDOW);
        let soft = self.usual.shapes().is_some_and(|usual| mean.shapes() < SOFT * usual);
        match unlike {
            Some(change) if soft && change.sudden && !stands => Some(true),
            Some(_) if soft => None,
            Some(_) => (likeness(usual, mean) >= limit).then_some(false),
            None => Some(false),
        }
    }

    fn exposure(&self, mean: &View) -> Option<bool> {
        let usual = self.usual.known().map(|(usual, _)| usual);
        let white = mean.white > TOO_WHITE.0;
        // By night a camera raises its gain, and its noise shows; a covered one shows no scene.
        let black = mean.black > TOO_BLACK
            && mean.structure >= NO_SCENE
            && mean.noise < NOISY
            && usual.is_some_and(|usual| usual.black < 0.8 && usual.mean > DARK);
        if white || black {
            Some(true)
        } else {
            (mean.white < TOO_WHITE.1 && mean.black < TOO_BLACK).then_some(false)
        }
    }

    fn turned(&self, at: MonoTime, mean: &View, stands: bool) -> Option<bool> {
        let Some((usual, limit)) = view_and_limit(&self.usual) else { return Some(false) };
        let Some(change) = self.unlike else {
            return (mean.structure >= SCENE).then_some(false);
        };
        // Told when the van moves: what stands in front of a parked one may be anything.
        if stands || at.since(change.since) < WINDOW || !comparable(usual, mean) {
            return None;
        }
        let other = likeness(usual, mean) < limit + AGAIN;
        let soft = self.usual.shapes().is_some_and(|usual| mean.shapes() < SOFT * usual);
        // A light that passes in the dark changes the contrast as well.
        let contrast = mean.structure / usual.structure.max(0.1);
        let steady = SAME_CONTRAST.contains(&contrast) && mean.is_clear();
        (steady && other && change.sudden && !soft).then_some(true)
    }

    /// How sharp it is as a part of what is usual.
    fn sharp_part(&self, mean: &View) -> Option<f32> {
        let (usual, limit) = view_and_limit(&self.usual)?;
        if likeness(usual, mean) < limit || !comparable(usual, mean) {
            return None;
        }
        match mean.focus() {
            Some(now) => Some(now.part_of(self.usual.focus()?)),
            None => self.usual.fine_part(mean),
        }
    }

    fn defocused(&self, mean: &View) -> Option<bool> {
        if self.usual.focus().is_none() {
            return Some(false);
        }
        let part = self.sharp_part(mean)?;
        if part < UNSHARP { Some(true) } else { (part > SHARP).then_some(false) }
    }

    fn flicker(&mut self, stats: &PictureStats) -> Option<bool> {
        for (at, mean) in &stats.brightness {
            if self.brightness.back().is_none_or(|(last, _)| at > last) {
                self.brightness.push_back((*at, *mean));
            }
        }
        while self.brightness.len() > MOST_BRIGHTNESS
            || self
                .brightness
                .front()
                .is_some_and(|(at, _)| stats.at.since(*at) > Duration::from_secs(4))
        {
            self.brightness.pop_front();
        }
        let row: Vec<f32> = self.brightness.iter().map(|(_, mean)| *mean).collect();
        let (first, last) = self.brightness.front().zip(self.brightness.back())?;
        let seconds = last.0.since(first.0).as_secs_f32();
        // Too few pictures a second show no flicker.
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let enough = seconds >= 2.0 && row.len() as f32 >= 8.0 * seconds;
        enough.then(|| flickers(&row, seconds))
    }
}

/// A view that was learned, and the likeness below which a view is another one.
fn view_and_limit(usual: &UsualView) -> Option<(&View, f32)> {
    let (usual, likeness) = usual.known()?;
    Some((usual, OTHER.min(likeness - OTHER_BELOW_USUAL)))
}

/// Whether two views were taken in light that can be compared: of like brightness, and with like
/// noise, as a camera's gain follows the light.
fn comparable(usual: &View, view: &View) -> bool {
    let (low, high) = (usual.mean.min(view.mean), usual.mean.max(view.mean));
    let noise = (usual.noise - view.noise).abs();
    high <= SAME_LIGHT * low && noise <= 0.7 + 0.35 * usual.noise.min(view.noise)
}

/// Whether a row of brightness over `seconds` goes up and down fast and regularly.
#[expect(clippy::cast_precision_loss, reason = "a few hundred values")]
fn flickers(row: &[f32], seconds: f32) -> bool {
    let n = row.len() as f32;
    let mean = row.iter().sum::<f32>() / n;
    // Less what changes slowly: the mean of a quarter of a second on each side.
    let half = (row.len() / 16).max(1);
    let fast: Vec<f32> = (0..row.len())
        .filter_map(|n| {
            let around = row.get(n.saturating_sub(half)..(n + half + 1).min(row.len()))?;
            Some(row.get(n)? - around.iter().sum::<f32>() / around.len() as f32)
        })
        .collect();
    let power = fast.iter().map(|x| x * x).sum::<f32>();
    let crossings = fast.windows(2).filter(|w| matches!(w, [a, b] if (*a < 0.0) != (*b < 0.0)));
    let hz = crossings.count() as f32 / 2.0 / seconds;
    let periodic = (2..=row.len() / 10).map(|lag| {
        let pairs = fast.iter().zip(fast.iter().skip(lag));
        pairs.map(|(a, b)| a * b).sum::<f32>() / power.max(f32::MIN_POSITIVE) * n / (n - lag as f32)
    });
    (power / n).sqrt() >= (FLICKER_PART * mean).max(1.0)
        && hz >= FLICKER_HZ
        && periodic.fold(0.0, f32::max) >= FLICKER_PERIODIC
}
