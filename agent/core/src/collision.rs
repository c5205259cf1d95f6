//! A hard hit: a peak of 2 g and more that changes the level speed by 6 km/h and more within
//! 0.15 s (own choice: validate).
//!
//! A pothole and a bump hit as hard, but upwards, and leave the level speed as it was; a slammed
//! door rings for hundredths of a second. A unit that falls from its mount is weightless before it
//! hits, so that nothing is said then. A hit on a van that was not known to drive could be a hand on
//! the unit: it counts only if the unit still sits as before 2 s later.
//!
//! A crash may well take the power or the bus away, so samples that are missing undo nothing: what
//! was measured stands, and what was not seen is unknown.
//!
//! - Missing after a hit that was seen whole: it counts, unless what is seen within 5 s shows a unit
//!   that was moved. Where nothing is seen any more it counts too, and says so.
//! - Missing in the middle: what was seen on both sides counts together, where it goes one way until
//!   the hit is over. A door that rings goes to and fro, whatever is missing of it.
//! - Missing just before: it could be the end of a fall, or a sensor that starts anew and shows
//!   anything. Missing before the change of speed was seen: it could be a spike. Such a hit counts only
//!   if a measured speed changed as no brake changes it.
//!
//! An event of which not all was seen tells for how long it was not (`unseen`, s).
//!
//! INVARIANT: needs samples at 50 Hz and more: slower ones do not see a hit. INVARIANT: a hit waits at
//! most 5 s of the signals' time, and no longer than the drive.

use std::{collections::VecDeque, time::Duration};

use glam::DVec3;
use temoin_proto::{
    events::{Event, EventKind, Number, Severity},
    samples::{ImuSample, STANDARD_GRAVITY_MPS2},
    time::MonoTime,
};

use crate::{
    config::{CollisionConfig, KMH_TO_MPS, secs},
    motion::{free_fall::FreeFall, speed_filter::Measured},
    vehicle_state::MAX_ACCEL_MPS2,
};

/// The rule's name in events.
pub const RULE: &str = "collision/2";

/// Samples further apart than this do not see a hit.
const MAX_BETWEEN: Duration = Duration::from_millis(25);
/// After a fall, hits are those of the unit for so long.
const AFTER_FALL: Duration = Duration::from_secs(3);
/// So long a sensor that started anew must be seen to be calm before it is believed. What falls is
/// seen to fall in that time. Own choice.
const CALM_AFTER_LOSS: Duration = Duration::from_millis(150);
/// How long a hit on a van that is not known to drive waits.
const SETTLES: Duration = Duration::from_secs(2);
/// So much of the second half of it must be seen; else it waits on.
const LEAST_SEEN: Duration = Duration::from_millis(500);
/// But no longer than this.
const GIVES_UP: Duration = Duration::from_secs(5);
/// A unit that was not touched shows gravity where it was before, to within this.
const SAME_DEG: f64 = 10.0;
/// One hit is one event: the next needs this much peace.
const REARM: Duration = Duration::from_secs(10);
/// Forces that are kept: more than the window at 1 kHz.
const MAX_KEPT: usize = 256;
/// Other signals are later or earlier by so much from one to the next.
const OTHERS_DIFFER: Duration = Duration::from_millis(100);
/// A pulse is over half of the peak that counts in so many samples: fewer are a spike. At 50 Hz that
/// is 0.06 s, and cars crash for 0.08 to 0.15 s.
const LEAST_STRONG: usize = 3;
/// So many of them in a row are the beginning of a pulse.
const BEGINS_WITH: usize = 2;
/// Of a pulse that was not seen whole, what was seen goes one way to this share.
const ONE_WAY: f64 = 0.7;
/// It drove if it did so long before the hit.
const DROVE_WITHIN: Duration = Duration::from_secs(1);
/// What not all was seen of is this much less sure.
const UNSURE: f32 = 0.75;
/// Speeds that are kept: 5 s at 50 Hz.
const MAX_SPEEDS: usize = 250;

/// A level force.
#[derive(Clone, Copy, Debug)]
struct Felt {
    at: MonoTime,
    level: DVec3,
    /// Since when no sample was missing.
    whole_since: MonoTime,
    /// And it was calm for long enough since.
    trusted: bool,
}

/// What the last moments show.
#[derive(Clone, Copy, Debug)]
struct Shown {
    change: DVec3,
    /// The same to and fro, m/s.
    ways: f64,
    peak_g: f64,
    began: MonoTime,
    /// It is a hit, and none of it is missing.
    hits: bool,
    /// Samples are missing, and what is there may be of a hit.
    may_hit: bool,
    /// It began in samples that can be trusted.
    trusted: bool,
    /// Time that was not seen.
    missing: Duration,
}

/// A hit that goes on.
#[derive(Clone, Copy, Debug)]
struct Hit {
    /// The most that was seen without a gap is enough.
    full: bool,
    /// It is more than a spike.
    pulse: bool,
    /// The change of speed that was seen until now, and the same to and fro, m/s.
    change: DVec3,
    ways: f64,
    trusted: bool,
    began: MonoTime,
    seen: MonoTime,
    peak_g: f64,
    change_kmh: f64,
    /// Time that had not been seen before it.
    missing: Duration,
    up: DVec3,
    /// The speed before it.
    speed_mps: Option<f64>,
}

/// What a hit needs before it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// The unit sits as before, as far as is seen.
    SamePlace,
    /// A measured speed that no brake explains.
    Speed,
}

/// What becomes of a hit that waits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Hit,
    /// So long was not seen.
    Unsure(Duration),
    /// The unit was moved.
    Moved,
    /// Nothing bears it out.
    Nothing,
}

/// The mean force of a time.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: DVec3,
    seen: Duration,
}

/// A hit that waits.
#[derive(Clone, Debug)]
struct Waiting {
    event: Event,
    needs: Needs,
    missing: Duration,
    up: DVec3,
    /// Between a quarter and a half of the time to settle, and from then on: what rings has rung out.
    early: Mean,
    late: Mean,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Collision {
    config: CollisionConfig,
    /// Level forces of the last moments.
    level: VecDeque<Felt>,
    last: Option<MonoTime>,
    whole_since: MonoTime,
    /// How far the signals have come, and how much later than that the samples come.
    reached: MonoTime,
    late: Duration,
    calm_since: Option<MonoTime>,
    trusted: bool,
    /// Samples missing so far, as far as that was noticed.
    missing: Duration,
    fall: FreeFall,
    up: Option<DVec3>,
    /// The speed when it was last calm, and when it last drove.
    calm_mps: Option<f64>,
    drove: Option<MonoTime>,
    speeds: VecDeque<Measured>,
    said: Option<MonoTime>,
    hit: Option<Hit>,
    waiting: Option<Waiting>,
}

impl Collision {
    /// Peace.
    pub fn new(config: &CollisionConfig) -> Self {
        Self {
            config: config.clone(),
            level: VecDeque::new(),
            last: None,
            whole_since: MonoTime::ZERO,
            reached: MonoTime::ZERO,
            late: Duration::ZERO,
            calm_since: None,
            trusted: false,
            missing: Duration::ZERO,
            fall: FreeFall::default(),
            up: None,
            calm_mps: None,
            drove: None,
            speeds: VecDeque::new(),
            said: None,
            hit: None,
            waiting: None,
        }
    }

    /// Takes a sample, the mean force of the last minutes (gravity; none while it is not known),
    /// both in the unit's axes, and the speed then.
    pub fn step(
        &mut self,
        s: &ImuSample,
        gravity: Option<[f64; 3]>,
        speed_mps: Option<f64>,
    ) -> Option<Event> {
        let (at, force) = (s.at, DVec3::from(s.accel_mps2));
        let up = gravity.and_then(|g| DVec3::from(g).try_normalize());
        // NaN is not at most anything, and nothing at all is felt by no sensor that works: what is no
        // force is a sample that is missing.
        let possible =
            s.accel_mps2.iter().all(|a| a.abs() <= MAX_ACCEL_MPS2) && force.length() > 0.0;
        let Some(up) = up.filter(|_| possible) else { return self.judge(at) };
        // What was cut off is looked at before what comes after it.
        let told = self.judge(at);
        self.late = self.reached.since(at);
        self.fall.on_imu(s);
        let between = self.last.map_or(Duration::ZERO, |last| at.since(last));
        let whole = self.last.is_some() && between <= MAX_BETWEEN;
        if !whole {
            self.whole_since = at;
            self.missing += between;
            (self.calm_since, self.trusted) = (None, false);
        }
        (self.last, self.up) = (Some(at), Some(up));
        let level = force.reject_from_normalized(up);
        let calm = level.length() < self.strong_mps2();
        self.calm_since = if calm { self.calm_since.or(Some(at)) } else { None };
        self.trusted |= self.calm_since.is_some_and(|t| at.since(t) >= CALM_AFTER_LOSS);
        let (whole_since, trusted) = (self.whole_since, self.trusted);
        self.level.push_back(Felt { at, level, whole_since, trusted });
        let window = secs(self.config.window_s);
        while self.level.len() > MAX_KEPT
            || self.level.get(1).is_some_and(|f| at.since(f.at) >= window)
        {
            self.level.pop_front();
        }
        if speed_mps.is_some_and(|v| v >= self.config.driving_kmh * KMH_TO_MPS) {
            self.drove = Some(at);
        }
        if calm {
            self.calm_mps = speed_mps;
        }
        if let Some(waiting) = &mut self.waiting
            && whole
        {
            let waited = at.since(waiting.event.end);
            let mean = if waited * 2 >= SETTLES { &mut waiting.late } else { &mut waiting.early };
            if waited * 4 >= SETTLES {
                mean.sum += force * between.as_secs_f64();
                mean.seen += between;
            }
        }
        let seen_s = if whole { between.as_secs_f64() } else { 0.0 };
        self.follow(at, up, level * seen_s);
        told.or_else(|| self.judge(at))
    }

    /// Takes a measured speed.
    pub fn on_speed(&mut self, measured: &Measured) -> Option<Event> {
        self.speeds.push_back(*measured);
        if self.speeds.len() > MAX_SPEEDS {
            self.speeds.pop_front();
        }
        self.look(measured.at)
    }

    /// The signals have come to this moment: gives the hit whose time has come.
    pub fn look(&mut self, at: MonoTime) -> Option<Event> {
        self.reached = self.reached.max(at);
        // What is late is not lost.
        self.judge(at.saturating_sub(self.late + OTHERS_DIFFER))
    }

    fn judge(&mut self, at: MonoTime) -> Option<Event> {
        self.notice_loss(at);
        self.conclude(at, false)
    }

    /// Nothing more will come: what waits is judged by what was seen.
    pub fn end(&mut self) -> Option<Event> {
        let at = self.last?;
        self.notice_loss(at + MAX_BETWEEN * 2);
        self.conclude(at, true)
    }

    /// When [`Self::look`] has something to do if nothing comes before.
    pub fn deadline(&self) -> Option<MonoTime> {
        let hit = self.hit.map(|hit| self.over_at(&hit));
        let waiting = self.waiting.as_ref().map(|waiting| waiting.event.end + GIVES_UP);
        // A pulse that breaks off.
        let breaks_off = self.level.back().filter(|f| f.level.length() >= self.strong_mps2());
        let cut = breaks_off.filter(|_| self.hit.is_none());
        let cut = cut.map(|f| f.at + secs(self.config.window_s));
        [hit, waiting, cut].into_iter().flatten().min().map(|at| at + self.late + OTHERS_DIFFER)
    }

    const fn strong_mps2(&self) -> f64 {
        self.config.peak_g * STANDARD_GRAVITY_MPS2 / 2.0
    }

    /// A pulse that breaks off because no samples come any more.
    fn notice_loss(&mut self, at: MonoTime) {
        let Some(last) = self.level.back().copied() else { return };
        let silent = at.since(last.at);
        if silent <= MAX_BETWEEN || self.hit.is_some() {
            return;
        }
        let tail = self.level.iter().rev().take(BEGINS_WITH);
        let strong = tail.filter(|f| {
            f.whole_since == last.whole_since && f.level.length() >= self.strong_mps2()
        });
        if strong.count() == BEGINS_WITH
            && self.may_hit(at)
            && let (Some(shown), Some(up)) = (self.shows(), self.up)
            && shown.peak_g >= self.config.peak_g
        {
            self.begin(last.at, &shown, up);
        } else if silent >= secs(self.config.window_s) {
            self.level.clear();
        }
    }

    fn begin(&mut self, at: MonoTime, shown: &Shown, up: DVec3) {
        self.hit = Some(Hit {
            full: shown.hits,
            pulse: shown.hits || shown.may_hit,
            change: shown.change,
            ways: shown.ways,
            trusted: shown.trusted,
            began: shown.began,
            seen: at,
            peak_g: shown.peak_g,
            change_kmh: shown.change.length() / KMH_TO_MPS,
            missing: self.missing.saturating_sub(shown.missing),
            up,
            speed_mps: self.calm_mps,
        });
    }

    /// Whether a hit would count: not soon after another, nor after a fall. One that waits for a
    /// speed may have been nothing, and gives way.
    fn may_hit(&self, at: MonoTime) -> bool {
        self.said.is_none_or(|said| at.since(said) >= REARM)
            && !self.fall.fell_within(at, AFTER_FALL)
            && self.waiting.as_ref().is_none_or(|waiting| waiting.needs == Needs::Speed)
    }

    /// Follows a hit for as long as it may grow; what falls once it was hit was hit.
    fn follow(&mut self, at: MonoTime, up: DVec3, change: DVec3) {
        let Some(shown) = self.shows() else { return };
        if let Some(hit) = &mut self.hit {
            hit.full |= shown.hits;
            hit.pulse |= shown.hits || shown.may_hit;
            hit.peak_g = hit.peak_g.max(shown.peak_g);
            hit.change_kmh = hit.change_kmh.max(shown.change.length() / KMH_TO_MPS);
            hit.change += change;
            hit.ways += change.length();
        } else if (shown.hits || shown.may_hit) && self.may_hit(at) {
            self.begin(at, &shown, up);
        }
    }

    /// What the last moments show, as far as they were seen.
    fn shows(&self) -> Option<Shown> {
        let strong_mps2 = self.strong_mps2();
        let strong = |f: &Felt| f.level.length() >= strong_mps2;
        let (mut change, mut ways, mut peak) = (DVec3::ZERO, 0.0, 0.0_f64);
        let (mut missing, mut in_a_row, mut began) = (Duration::ZERO, 0_usize, None);
        for (then, now) in self.level.iter().zip(self.level.iter().skip(1)) {
            if now.whole_since > then.at {
                missing += now.at.since(then.at);
                in_a_row = 0;
            } else {
                let seconds = now.at.since(then.at).as_secs_f64();
                change += now.level * seconds;
                ways += now.level.length() * seconds;
            }
            peak = peak.max(now.level.length());
            in_a_row = if strong(now) { in_a_row.saturating_add(1) } else { 0 };
            if in_a_row == BEGINS_WITH && began.is_none() {
                began = Some(then);
            }
        }
        let front = self.level.front()?;
        let peak_g = peak / STANDARD_GRAVITY_MPS2;
        let pulse = self.level.iter().filter(|f| strong(f)).count() >= LEAST_STRONG;
        let pulse = pulse && peak_g >= self.config.peak_g;
        let may_hit = pulse && !missing.is_zero();
        let hits = pulse && missing.is_zero() && self.changes(change);
        let trusted = began.is_some_and(|f: &Felt| f.trusted);
        Some(Shown { change, ways, peak_g, began: front.at, hits, may_hit, trusted, missing })
    }

    /// When a hit is over: of one with a gap in it, as long after the gap as of others after the hit.
    fn over_at(&self, hit: &Hit) -> MonoTime {
        let window = secs(self.config.window_s);
        let resumed = self.whole_since.min(hit.seen + window);
        let from = if hit.full { hit.seen } else { hit.seen.max(resumed) };
        from + window
    }

    /// Ends what is over, and says what has what it needs.
    fn conclude(&mut self, at: MonoTime, ends: bool) -> Option<Event> {
        if let Some(hit) = self.hit
            && (ends || at >= self.over_at(&hit))
        {
            self.hit = None;
            let drove = self.drove.is_some_and(|d| hit.began.since(d) <= DROVE_WITHIN);
            let one_way = hit.change.length() >= ONE_WAY * hit.ways;
            let full = hit.full || (hit.pulse && one_way && self.changes(hit.change));
            let needs = match (full && hit.trusted, drove) {
                (false, _) => Needs::Speed,
                (true, true) => Needs::Nothing,
                (true, false) => Needs::SamePlace,
            };
            // Not later than the window's end, however late that was noticed.
            let end = at.min(self.over_at(&hit));
            let event = event(end, &hit, self.config.peak_g);
            let (early, late) = (Mean::default(), Mean::default());
            self.waiting =
                Some(Waiting { event, needs, missing: hit.missing, up: hit.up, early, late });
        }
        let verdict = self.verdict(at, ends)?;
        let Waiting { mut event, .. } = self.waiting.take()?;
        if verdict != Verdict::Nothing {
            self.said = Some(event.end);
        }
        match verdict {
            Verdict::Nothing | Verdict::Moved => return None,
            Verdict::Hit => {}
            Verdict::Unsure(unseen) => {
                event.confidence *= UNSURE;
                event.numbers.push(Number::new("unseen", unseen.as_secs_f64(), "s"));
            }
        }
        Some(event)
    }

    /// What becomes of the hit that waits; none: it waits on.
    fn verdict(&self, at: MonoTime, ends: bool) -> Option<Verdict> {
        let waiting = self.waiting.as_ref()?;
        let waited = at.since(waiting.event.end);
        let silent = self.last.map_or(Duration::ZERO, |last| at.since(last));
        let going_on = if silent > MAX_BETWEEN { silent } else { Duration::ZERO };
        let unseen = self.missing.saturating_sub(waiting.missing) + going_on;
        let seen = if unseen.is_zero() { Verdict::Hit } else { Verdict::Unsure(unseen) };
        match waiting.needs {
            Needs::Nothing => Some(seen),
            Needs::Speed if self.speed_changed(&waiting.event) => Some(seen),
            Needs::Speed => (ends || waited >= SETTLES).then_some(Verdict::Nothing),
            Needs::SamePlace => {
                let known = waited >= SETTLES && waiting.late.seen >= LEAST_SEEN;
                if !known && !ends && waited < GIVES_UP {
                    return None;
                }
                let mean = if known { waiting.late } else { waiting.all() };
                let moved = !mean.seen.is_zero()
                    && mean.sum.angle_between(waiting.up).to_degrees() > SAME_DEG;
                let moved = moved || self.fall.fell_within(at, waited + AFTER_FALL);
                Some(match seen {
                    _ if moved => Verdict::Moved,
                    Verdict::Hit if !known => Verdict::Unsure(SETTLES.saturating_sub(waited)),
                    Verdict::Hit | Verdict::Unsure(_) | Verdict::Moved | Verdict::Nothing => seen,
                })
            }
        }
    }

    /// Whether the speed changes by so much in a hit, m/s.
    fn changes(&self, change: DVec3) -> bool {
        change.length() >= self.config.speed_change_kmh * KMH_TO_MPS
    }

    /// Whether a source measured that the speed changed by as much as a hit changes it, and by more
    /// than a brake of 1 g does besides.
    fn speed_changed(&self, event: &Event) -> bool {
        let (change_mps, window_s) =
            (self.config.speed_change_kmh * KMH_TO_MPS, self.config.window_s);
        let after = |m: &&Measured| m.at > event.start && m.at.since(event.end) <= SETTLES;
        self.speeds.iter().filter(after).any(|after| {
            let before = |m: &&Measured| m.source == after.source && m.at <= event.start;
            self.speeds.iter().rev().find(before).is_some_and(|before| {
                let braked_s = (after.at.since(before.at).as_secs_f64() - window_s).max(0.0);
                let braked_mps = STANDARD_GRAVITY_MPS2 * braked_s;
                (after.mps - before.mps).abs() >= change_mps + braked_mps
            })
        })
    }
}

impl Waiting {
    /// What was felt since, from early on.
    fn all(&self) -> Mean {
        Mean { sum: self.early.sum + self.late.sum, seen: self.early.seen + self.late.seen }
    }
}

fn event(at: MonoTime, hit: &Hit, threshold_g: f64) -> Event {
    let mut numbers = vec![
        Number::new("peak", hit.peak_g, "g"),
        Number::new("threshold", threshold_g, "g"),
        Number::new("speed_change", hit.change_kmh, "km/h"),
    ];
    numbers.extend(hit.speed_mps.map(|v| Number::new("speed", v / KMH_TO_MPS, "km/h")));
    Event {
        kind: EventKind::Collision,
        start: hit.began,
        end: at,
        // Change of speed is what injures; airbags fire from about 20 km/h. Own choice.
        severity: match hit.change_kmh {
            v if v >= 20.0 => Severity::High,
            v if v >= 10.0 => Severity::Medium,
            _ => Severity::Low,
        },
        confidence: if hit.speed_mps.is_some() { 0.8 } else { 0.6 },
        rule: RULE,
        numbers,
    }
}

#[cfg(test)]
#[path = "collision_tests.rs"]
mod tests;
