//! Which parts of a picture show other people, at any instant: what perception saw in a few
//! pictures a second, carried over to all the pictures between, before and after.
//!
//! Areas of successive looks that lie close together are taken for the same thing. Between two
//! sightings everything that lies between them counts; after the last one the area is held and
//! grows the way that it moved; before the first one likewise, for the pictures that still wait.
//!
//! Parts in which a plate cannot be excluded ([`PrivateKind::PossiblePlate`]) are no things that
//! move: those of the looks before a picture and after it are covered, as they are.
//!
//! INVARIANT: a doubt blurs more, never less. An area that was reported once is covered in its own
//! picture and for `hold` after it, whatever the looks after it say, unless they saw it elsewhere.
//! INVARIANT: where nothing has looked for others for longer than `hold`, for whatever reason, all
//! of the picture is blurred but what [`Keep`] allows. Too little light is no exception: where
//! nothing can be made out, a blur costs nothing, and where something can, it is needed.
//! INVARIANT: at most [`MAX_TRACKS`] areas are followed; what is more becomes the whole picture.
//! Positions only: nothing here knows whose face or plate it is. A crash leaves nothing.

use std::{collections::VecDeque, time::Duration};

use temoin_proto::{
    perception::{NotSeen, PictureBox, PrivateArea, PrivateKind},
    time::MonoTime,
};

/// Areas that are followed at once. Own choice: a crowd at a crossing has fewer that are large
/// enough to be found.
pub const MAX_TRACKS: usize = 64;
/// Sightings of one area, and looks, that are remembered: more than the longest lookahead has.
const MAX_SIGHTINGS: usize = 96;
/// An area this many of its own sides away may still be the same one. Own choice: an oncoming
/// number plate moves that far between two looks of a road camera.
const LINK_SIDES: f32 = 3.0;
/// Up to here there is no doubt that it is the same one, so the old place needs no blur any more.
const SAME_SIDES: f32 = 0.4;
/// Sides of the same thing differ by no more than this factor from one look to the next.
const LINK_SIZE: f32 = 3.0;
/// Parts of so many looks before a picture are covered in it. Own choice.
const POSSIBLE_LOOKS: usize = 2;
/// How fast an area grows on each side while it is held, in its own sides a second, where it is
/// known how it moves. Own choice: a head that begins to turn or to duck.
const GROWTH_KNOWN: f32 = 0.4;
/// The same where it was seen only once, so that nothing is known of its motion.
const GROWTH_UNKNOWN: f32 = 1.0;
/// The motion of an area is measured over at least so long, where it was seen for so long: two
/// looks that follow closely tell more of the detector's trembling than of a motion.
const SPEED_OVER: Duration = Duration::from_millis(150);
/// How much of a moving area's path is added on each side of it.
const GROWTH_PATH: f32 = 0.3;
/// How far from the driver's face its surroundings stay clear when all else is blurred, in parts
/// of its sides. Small: somebody else may sit close behind.
const FACE_MARGIN: f32 = 0.15;
/// A driver's face that was last seen longer ago is not kept clear: the head has moved.
const FACE_FRESH: Duration = Duration::from_millis(400);

/// All of a picture, and what may reach over its edges.
const WHOLE: PictureBox = PictureBox { x: -1.0, y: -1.0, w: 3.0, h: 3.0 };

/// What stays clear in a picture in which nothing looked for others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// The driver's seat, where nobody else is expected.
    Seat(PictureBox),
    /// The driver's face, where it was just seen.
    DriverFace,
}

/// How others are blurred.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlurRules {
    /// Faces of others.
    pub faces: bool,
    /// Number plates.
    pub plates: bool,
    /// How long an area is blurred after it was last seen, and how long looks may be missing.
    pub hold: Duration,
    /// How long before it was first seen: as long as pictures wait.
    pub backwards: Duration,
    /// What is added on each side of an area, in parts of its sides.
    pub margin: f32,
    /// What stays clear where nothing looks for others.
    pub keep: Keep,
}

/// The rest of a picture, outside of its areas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rest {
    /// Others were looked for: the rest stays as it is.
    Clear,
    /// They were not: it is blurred, but for this part.
    Blurred {
        /// What stays clear.
        keep: Option<PictureBox>,
    },
}

/// What of a picture is to be blurred.
#[derive(Clone, Debug, PartialEq)]
pub struct Cover {
    /// Areas, with their margins; they may reach over the picture's edges.
    pub areas: Vec<PrivateArea>,
    /// Everything else.
    pub rest: Rest,
}

/// Whether others are looked for, for device health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// They are.
    Looking,
    /// They are not: everything is blurred. With perception's reason, where it gave one.
    Blind(Option<NotSeen>),
}

/// One thing that is to be blurred.
#[derive(Clone, Debug)]
struct Track {
    kind: PrivateKind,
    /// In order of time; never empty.
    seen: VecDeque<(MonoTime, PictureBox)>,
}

/// Speed of each edge, in pictures a second: left, top, right, bottom.
type EdgeSpeeds = [f32; 4];

/// See the module. One for each camera.
#[derive(Clone, Debug)]
pub struct BlurTracks {
    rules: BlurRules,
    tracks: Vec<Track>,
    /// Parts in which a plate could not be excluded, look by look.
    possible: VecDeque<(MonoTime, Vec<PictureBox>)>,
    /// Pictures in which others were looked for.
    looks: VecDeque<MonoTime>,
    faces: VecDeque<(MonoTime, PictureBox)>,
    last: Option<MonoTime>,
    why: Option<NotSeen>,
}

impl BlurTracks {
    /// Nothing was looked at yet.
    pub const fn new(rules: BlurRules) -> Self {
        Self {
            rules,
            tracks: Vec::new(),
            possible: VecDeque::new(),
            looks: VecDeque::new(),
            faces: VecDeque::new(),
            last: None,
            why: None,
        }
    }

    /// What perception said of the picture at `at`. One that is not later than the last is ignored.
    pub fn look(
        &mut self,
        at: MonoTime,
        others: Result<&[PrivateArea], NotSeen>,
        driver: Option<PictureBox>,
    ) {
        if self.last.is_some_and(|last| at <= last) {
            return;
        }
        self.last = Some(at);
        self.forget(at);
        if let Some(face) = driver.filter(is_sound) {
            push(&mut self.faces, (at, face));
        }
        match others {
            // Numbers that cannot be are a fault of perception: nothing was looked for.
            Ok(areas) if areas.iter().any(|a| !is_sound(&a.area)) => {
                self.why = Some(NotSeen::ModelFailed);
            }
            Ok(areas) => {
                self.why = None;
                push(&mut self.looks, at);
                self.associate(at, areas);
            }
            Err(why) => self.why = Some(why),
        }
    }

    /// What is to be blurred in the picture at `at`.
    pub fn cover(&self, at: MonoTime) -> Cover {
        let tracked = self.tracks.iter().filter_map(|track| {
            let area = track.area(at, &self.rules)?;
            Some(PrivateArea { kind: track.kind, area })
        });
        let possible =
            self.possible(at).map(|area| PrivateArea { kind: PrivateKind::PossiblePlate, area });
        let areas = tracked.chain(possible).collect();
        let rest =
            if self.looked(at) { Rest::Clear } else { Rest::Blurred { keep: self.keep(at) } };
        Cover { areas, rest }
    }

    /// Whether others are looked for at `at`.
    pub fn watch(&self, at: MonoTime) -> Watch {
        if self.looked(at) { Watch::Looking } else { Watch::Blind(self.why) }
    }

    /// The newest picture in which others were looked for: those up to it need wait no longer.
    pub fn looked_until(&self) -> Option<MonoTime> {
        self.looks.back().copied()
    }

    /// Forgets everything, as a change of the privacy state asks.
    pub fn clear(&mut self) {
        *self = Self::new(self.rules);
    }

    /// The parts of the look in this picture or after it, and of two before it: what one of them
    /// missed does not flash.
    fn possible(&self, at: MonoTime) -> impl Iterator<Item = PictureBox> {
        let after = self.possible.partition_point(|(seen, _)| *seen < at);
        self.possible
            .iter()
            .take(after + 1)
            .skip(after.saturating_sub(POSSIBLE_LOOKS))
            .filter(move |(seen, _)| {
                if *seen < at {
                    at.since(*seen) <= self.rules.hold
                } else {
                    seen.since(at) <= self.rules.backwards
                }
            })
            .flat_map(|(_, parts)| parts.iter().copied())
    }

    fn looked(&self, at: MonoTime) -> bool {
        self.looks.iter().any(|&look| {
            let (age, ahead) = (at.since(look), look.since(at));
            if look <= at { age <= self.rules.hold } else { ahead <= self.rules.backwards }
        })
    }

    fn keep(&self, at: MonoTime) -> Option<PictureBox> {
        match self.rules.keep {
            Keep::Nothing => None,
            Keep::Seat(seat) => Some(seat),
            Keep::DriverFace => {
                let gap = |seen: MonoTime| seen.since(at).max(at.since(seen));
                let (seen, face) = self.faces.iter().min_by_key(|(seen, _)| gap(*seen))?;
                (gap(*seen) <= FACE_FRESH).then(|| face.grown(FACE_MARGIN))
            }
        }
    }

    /// Drops what no picture can need any more.
    fn forget(&mut self, now: MonoTime) {
        let needed = now.saturating_sub(self.rules.hold + self.rules.backwards);
        self.tracks.retain_mut(|track| {
            while track.seen.len() > 2 && track.seen.get(1).is_some_and(|(at, _)| *at < needed) {
                track.seen.pop_front();
            }
            track.last().0 >= needed
        });
        while self.possible.len() > POSSIBLE_LOOKS
            && self.possible.get(POSSIBLE_LOOKS).is_some_and(|(at, _)| *at < needed)
        {
            self.possible.pop_front();
        }
        while self.looks.get(1).is_some_and(|at| *at < needed) {
            self.looks.pop_front();
        }
        while self.faces.front().is_some_and(|(at, _)| *at < needed) {
            self.faces.pop_front();
        }
    }

    fn associate(&mut self, at: MonoTime, areas: &[PrivateArea]) {
        let wanted = |kind| match kind {
            PrivateKind::Face => self.rules.faces,
            PrivateKind::Plate | PrivateKind::PossiblePlate => self.rules.plates,
        };
        let areas: Vec<PrivateArea> = areas.iter().copied().filter(|a| wanted(a.kind)).collect();
        if areas.len() > MAX_TRACKS {
            return self.overflow(at);
        }
        let (possible, areas): (Vec<PrivateArea>, Vec<PrivateArea>) =
            areas.into_iter().partition(|a| a.kind == PrivateKind::PossiblePlate);
        push(&mut self.possible, (at, possible.into_iter().map(|a| a.area).collect()));
        let mut pairs = Vec::new();
        for (n, track) in self.tracks.iter().enumerate() {
            if at.since(track.last().0) > self.rules.hold {
                continue;
            }
            let expected = track.expected(at);
            for (m, area) in areas.iter().enumerate() {
                let sides = distance_sides(&expected, &area.area);
                if track.kind == area.kind && sides <= LINK_SIDES {
                    pairs.push((sides, n, m));
                }
            }
        }
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut tracks_taken, mut areas_taken) = ([false; MAX_TRACKS], [false; MAX_TRACKS]);
        let mut new = Vec::new();
        for (sides, n, m) in pairs {
            let (Some(track_taken), Some(area_taken)) =
                (tracks_taken.get_mut(n), areas_taken.get_mut(m))
            else {
                continue;
            };
            if *track_taken || *area_taken {
                continue;
            }
            (*track_taken, *area_taken) = (true, true);
            let (Some(track), Some(area)) = (self.tracks.get_mut(n), areas.get(m)) else {
                continue;
            };
            if sides > SAME_SIDES {
                // Perhaps another one, and the old one was only missed: its place is held as well.
                new.push(Track { kind: track.kind, seen: VecDeque::from([track.last()]) });
            }
            push(&mut track.seen, (at, area.area));
        }
        for (area, taken) in areas.iter().zip(areas_taken) {
            if !taken {
                new.push(Track { kind: area.kind, seen: VecDeque::from([(at, area.area)]) });
            }
        }
        if self.tracks.len() + new.len() > MAX_TRACKS {
            self.overflow(at);
        } else {
            self.tracks.append(&mut new);
        }
    }

    /// There is more than can be followed: all of the picture is held.
    fn overflow(&mut self, at: MonoTime) {
        let first = self.tracks.iter().filter_map(|t| t.seen.front()).map(|(at, _)| *at).min();
        let seen = VecDeque::from([(first.unwrap_or(at).min(at), WHOLE), (at, WHOLE)]);
        self.tracks = vec![Track { kind: PrivateKind::Face, seen }];
    }
}

impl Track {
    fn last(&self) -> (MonoTime, PictureBox) {
        self.seen.back().copied().unwrap_or((MonoTime::ZERO, WHOLE))
    }

    /// Where it is likely to be at `at`, after its last sighting.
    fn expected(&self, at: MonoTime) -> PictureBox {
        let (seen, area) = self.last();
        match self.last_speeds() {
            Some(speeds) => moved(&area, speeds, at.since(seen).as_secs_f32()),
            None => area,
        }
    }

    /// How its edges moved at last.
    fn last_speeds(&self) -> Option<EdgeSpeeds> {
        let last = self.seen.back()?;
        let mut before = self.seen.iter().rev().skip(1);
        let long_ago = |(at, _): &&(MonoTime, PictureBox)| last.0.since(*at) >= SPEED_OVER;
        speeds(before.find(long_ago).or_else(|| self.seen.front())?, last)
    }

    /// How its edges moved at first.
    fn first_speeds(&self) -> Option<EdgeSpeeds> {
        let first = self.seen.front()?;
        let mut after = self.seen.iter().skip(1);
        let later = |(at, _): &&(MonoTime, PictureBox)| at.since(first.0) >= SPEED_OVER;
        speeds(first, after.find(later).or_else(|| self.seen.back())?)
    }

    /// All that it may cover at `at`; None where it is too far away in time.
    fn area(&self, at: MonoTime, rules: &BlurRules) -> Option<PictureBox> {
        let after = self.seen.partition_point(|(seen, _)| *seen < at);
        let before = after.checked_sub(1).and_then(|n| self.seen.get(n));
        let area = match (before, self.seen.get(after)) {
            (_, Some((seen, area))) if *seen == at => *area,
            (Some((_, a)), Some((_, b))) => hull(a, b),
            (Some((seen, area)), None) => {
                let age = at.since(*seen);
                let speeds = self.last_speeds();
                (age <= rules.hold).then(|| reach(area, speeds, age.as_secs_f32()))?
            }
            (None, Some((seen, area))) => {
                let age = seen.since(at);
                let speeds = self.first_speeds().map(|s| s.map(|edge| -edge));
                (age <= rules.backwards).then(|| reach(area, speeds, age.as_secs_f32()))?
            }
            (None, None) => return None,
        };
        Some(area.grown(rules.margin))
    }
}

/// How edges moved from one sighting to another.
fn speeds(
    (then, a): &(MonoTime, PictureBox),
    (now, b): &(MonoTime, PictureBox),
) -> Option<EdgeSpeeds> {
    let seconds = now.since(*then).as_secs_f32();
    // Two looks within a camera's shortest interval tell nothing of a motion.
    (seconds > 0.01).then(|| {
        [b.x - a.x, b.y - a.y, b.x + b.w - a.x - a.w, b.y + b.h - a.y - a.h].map(|d| d / seconds)
    })
}

/// Keeps the newest.
fn push<T>(row: &mut VecDeque<T>, item: T) {
    if row.len() >= MAX_SIGHTINGS {
        row.pop_front();
    }
    row.push_back(item);
}

/// Everything that an area may have covered on its way for `seconds`.
fn reach(area: &PictureBox, speeds: Option<EdgeSpeeds>, seconds: f32) -> PictureBox {
    match speeds {
        None => area.grown(GROWTH_UNKNOWN * seconds),
        Some(speeds) => {
            let there = moved(area, speeds, seconds);
            let [left, top, right, bottom] = speeds.map(|s| s.abs() * seconds * GROWTH_PATH);
            let (dx, dy) = (left.max(right), top.max(bottom));
            let path = hull(area, &there);
            let path = PictureBox {
                x: path.x - dx,
                y: path.y - dy,
                w: path.w + 2.0 * dx,
                h: path.h + 2.0 * dy,
            };
            hull(&path, &area.grown(GROWTH_KNOWN * seconds))
        }
    }
}

/// The area after its edges moved; one that would turn inside out keeps its middle.
fn moved(area: &PictureBox, [left, top, right, bottom]: EdgeSpeeds, seconds: f32) -> PictureBox {
    let side = |from: f32, size: f32, low: f32, high: f32| {
        let (a, b) = (from + low * seconds, from + size + high * seconds);
        if a <= b { (a, b - a) } else { (a.midpoint(b), 0.0) }
    };
    let (x, w) = side(area.x, area.w, left, right);
    let (y, h) = side(area.y, area.h, top, bottom);
    PictureBox { x, y, w, h }
}

/// The smallest box that holds both.
fn hull(a: &PictureBox, b: &PictureBox) -> PictureBox {
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    let (right, bottom) = ((a.x + a.w).max(b.x + b.w), (a.y + a.h).max(b.y + b.h));
    PictureBox { x, y, w: right - x, h: bottom - y }
}

/// How far apart two boxes are, in sides of the larger one; infinite where their sizes differ too
/// much for one thing.
fn distance_sides(a: &PictureBox, b: &PictureBox) -> f32 {
    let (w, h) = (a.w.max(b.w), a.h.max(b.h));
    if w > a.w.min(b.w) * LINK_SIZE || h > a.h.min(b.h) * LINK_SIZE {
        return f32::INFINITY;
    }
    let dx = (a.x + a.w / 2.0 - b.x - b.w / 2.0).abs() / w;
    let dy = (a.y + a.h / 2.0 - b.y - b.h / 2.0).abs() / h;
    dx.max(dy)
}

/// Whether these are numbers of a box that has an area; far outside of the picture is none.
fn is_sound(area: &PictureBox) -> bool {
    let near = |n: f32| (-4.0..=4.0).contains(&n);
    near(area.x) && near(area.y) && near(area.w) && near(area.h) && area.w > 0.0 && area.h > 0.0
}

#[cfg(test)]
#[path = "blur_tracks_tests.rs"]
mod tests;
