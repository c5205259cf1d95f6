//! Vehicles between looks: the same one keeps its number, its box is smoothed.
//!
//! INVARIANT: smoothing is by time constants in seconds: looking twice as often changes little.
//! INVARIANT: numbers are counted up from 1 within a drive, say nothing of the vehicle, and are
//! forgotten with it.

use temoin_proto::time::MonoTime;

/// What kind of vehicle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VehicleKind {
    /// A car, and most vans.
    Car,
    /// A truck, and pick-ups.
    Truck,
    /// A bus.
    Bus,
    /// A motorcycle.
    Motorcycle,
    /// A bicycle.
    Bicycle,
}

impl VehicleKind {
    const ALL: [Self; 5] = [Self::Car, Self::Truck, Self::Bus, Self::Motorcycle, Self::Bicycle];

    /// Two wheels or more: a detector takes a van for a truck, but not for a bicycle.
    const fn is_wide(self) -> bool {
        match self {
            Self::Car | Self::Truck | Self::Bus => true,
            Self::Motorcycle | Self::Bicycle => false,
        }
    }
}

/// A box, pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelBox {
    /// Left edge.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Right edge.
    pub right: f64,
    /// Bottom edge.
    pub bottom: f64,
}

impl PixelBox {
    /// Its width.
    pub const fn width(&self) -> f64 {
        self.right - self.left
    }

    /// Its height.
    pub const fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// The column of its middle.
    pub const fn middle(&self) -> f64 {
        f64::midpoint(self.left, self.right)
    }

    /// Intersection over union, 0 to 1.
    pub fn iou(&self, other: &Self) -> f64 {
        let w = self.right.min(other.right) - self.left.max(other.left);
        let h = self.bottom.min(other.bottom) - self.top.max(other.top);
        let both = w.max(0.0) * h.max(0.0);
        both / (self.width() * self.height() + other.width() * other.height() - both)
    }

    fn edges(&self) -> [f64; 4] {
        [self.left, self.top, self.right, self.bottom]
    }

    const fn of([left, top, right, bottom]: [f64; 4]) -> Self {
        Self { left, top, right, bottom }
    }

    fn is_sound(&self) -> bool {
        self.edges().iter().all(|e| e.is_finite() && e.abs() < 1e5)
            && self.width() >= 1.0
            && self.height() >= 1.0
    }
}

/// A vehicle as the detector told it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// What.
    pub kind: VehicleKind,
    /// 0 to 1.
    pub score: f64,
    /// Where.
    pub area: PixelBox,
    /// The picture's pixels for one of the detector's own: its boxes are no finer.
    pub step_px: f64,
}

/// A vehicle that is followed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Track {
    /// Its number within this drive.
    pub id: u32,
    /// Where it is, smoothed.
    pub area: PixelBox,
    /// The mean score of late.
    pub score: f64,
    /// When it was seen last.
    pub seen: MonoTime,
    /// The picture's pixels for one of the detector's own.
    pub step_px: f64,
    /// In how many looks it was seen.
    pub looks: u32,
    /// How fast its middle and its size change: pixels, and parts of the size, a second.
    velocity: Velocity,
    votes: [f64; 5],
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Velocity {
    right: f64,
    down: f64,
    growth: f64,
}

/// Time constant of a box's edges. Own choice: validate.
const EDGES_S: f64 = 0.25;
/// Time constant of a box's movement. Own choice: validate.
const MOTION_S: f64 = 0.6;
/// A vehicle that was not seen for longer is forgotten: 3 looks of 5 a second.
const FORGET_S: f64 = 0.7;
/// Boxes that overlap less than this are not the same vehicle.
const MIN_IOU: f64 = 0.2;
/// Vehicles that are followed at once.
const MOST: usize = 48;
/// Votes for a kind fade by this time constant.
const VOTES_S: f64 = 2.0;

impl Track {
    /// What it is: the kind with the most votes.
    pub fn kind(&self) -> VehicleKind {
        let votes = VehicleKind::ALL.into_iter().zip(self.votes);
        votes.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(VehicleKind::Car, |(kind, _)| kind)
    }

    fn begin(id: u32, now: MonoTime, d: &Detection) -> Self {
        let mut track = Self {
            id,
            area: d.area,
            score: d.score,
            seen: now,
            step_px: d.step_px,
            looks: 1,
            velocity: Velocity::default(),
            votes: [0.0; 5],
        };
        track.vote(d, 1.0);
        track
    }

    fn vote(&mut self, d: &Detection, keep: f64) {
        for (kind, vote) in VehicleKind::ALL.into_iter().zip(&mut self.votes) {
            *vote = *vote * keep + if kind == d.kind { d.score } else { 0.0 };
        }
    }

    /// Where it will be, if it goes on as it does.
    fn ahead(&self, dt_s: f64) -> PixelBox {
        let grown = (self.velocity.growth * dt_s).clamp(-0.5, 0.5).exp();
        let (w, h) = (self.area.width() * grown / 2.0, self.area.height() * grown / 2.0);
        let x = self.area.middle() + self.velocity.right * dt_s;
        let y = f64::midpoint(self.area.top, self.area.bottom) + self.velocity.down * dt_s;
        PixelBox { left: x - w, top: y - h, right: x + w, bottom: y + h }
    }

    fn take(&mut self, now: MonoTime, d: &Detection) {
        let dt_s = now.secs_from(self.seen).max(1e-3);
        let follow = |tau_s: f64| 1.0 - (-dt_s / tau_s).exp();
        let expected = self.ahead(dt_s);
        // A new track has no movement yet: its first steps are taken whole.
        let (edges, motion) =
            if self.looks == 1 { (0.7, 0.5) } else { (follow(EDGES_S), follow(MOTION_S)) };
        let mut area = expected.edges();
        for (edge, to) in area.iter_mut().zip(d.area.edges()) {
            *edge += (to - *edge) * edges;
        }
        let moved = |to: f64, from: f64| (to - from) / dt_s * motion;
        let middle = |b: &PixelBox| f64::midpoint(b.top, b.bottom);
        self.velocity.right += moved(d.area.middle(), expected.middle());
        self.velocity.down += moved(middle(&d.area), middle(&expected));
        let grown = (d.area.width() / expected.width()).clamp(0.5, 2.0).ln();
        self.velocity.growth += grown / dt_s * motion;
        let area = PixelBox::of(area);
        self.area = if area.is_sound() { area } else { d.area };
        self.score += (d.score - self.score) * edges;
        self.vote(d, (-dt_s / VOTES_S).exp());
        self.seen = now;
        self.step_px = d.step_px;
        self.looks = self.looks.saturating_add(1);
    }
}

/// The vehicles that are followed.
#[derive(Clone, Debug, Default)]
pub struct Tracks {
    tracks: Vec<Track>,
    last_id: u32,
}

impl Tracks {
    /// Takes the vehicles of one look. Looks come in the order of time; one that does not is left
    /// out.
    pub fn look(&mut self, now: MonoTime, detections: &[Detection]) {
        if self.tracks.iter().any(|t| t.seen >= now) {
            return;
        }
        self.tracks.retain(|t| now.secs_from(t.seen) <= FORGET_S);
        let sound: Vec<&Detection> = detections
            .iter()
            .filter(|d| {
                d.area.is_sound() && d.step_px.is_finite() && (0.0..=1.0).contains(&d.score)
            })
            .collect();
        // All pairs, the best overlap first.
        let mut pairs: Vec<(f64, u32, usize)> = Vec::new();
        for track in &self.tracks {
            let expected = track.ahead(now.secs_from(track.seen));
            for (n, d) in sound.iter().enumerate() {
                let iou = expected.iou(&d.area).max(track.area.iou(&d.area));
                if iou >= MIN_IOU && track.kind().is_wide() == d.kind.is_wide() {
                    pairs.push((iou, track.id, n));
                }
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut taken = vec![false; sound.len()];
        for (_, id, n) in pairs {
            let free = taken.get(n) == Some(&false);
            let track = self.tracks.iter_mut().find(|t| t.id == id && t.seen < now);
            if let (true, Some(track), Some(d)) = (free, track, sound.get(n)) {
                track.take(now, d);
                if let Some(taken) = taken.get_mut(n) {
                    *taken = true;
                }
            }
        }
        for (d, _) in sound.iter().zip(&taken).filter(|(_, taken)| !**taken) {
            if self.tracks.len() < MOST {
                self.last_id = self.last_id.wrapping_add(1);
                self.tracks.push(Track::begin(self.last_id, now, d));
            }
        }
    }

    /// The vehicles that are followed, each with its box as it was when it was seen last.
    pub fn all(&self) -> &[Track] {
        &self.tracks
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(s: f64) -> MonoTime {
        MonoTime::from_secs_f64(10.0 + s)
    }

    fn car(x: f64, y: f64, w: f64) -> Detection {
        let area = PixelBox { left: x - w / 2.0, top: y - w * 0.8, right: x + w / 2.0, bottom: y };
        Detection { kind: VehicleKind::Car, score: 0.8, area, step_px: 3.0 }
    }

    #[test]
    fn vehicles_keep_their_numbers_and_are_forgotten() {
        let mut tracks = Tracks::default();
        for n in 0..20 {
            let t = f64::from(n) * 0.2;
            // One comes nearer, one passes by on the left.
            let seen = [
                car(640.0 + 2.0 * t, 400.0 + 5.0 * t, 60.0 + 4.0 * t),
                car(500.0 - 90.0 * t, 420.0, 80.0),
            ];
            // The detector misses one of them once in a while.
            let seen = if n % 5 == 3 { &seen[..1] } else { &seen[..] };
            tracks.look(at(t), seen);
        }
        let ids: Vec<u32> = tracks.all().iter().map(|t| t.id).collect();
        assert_eq!(ids, [1, 2]);
        tracks.look(at(5.0), &[]);
        assert!(tracks.all().is_empty());
        tracks.look(at(5.2), &[car(640.0, 400.0, 60.0)]);
        assert_eq!(tracks.all()[0].id, 3);
    }

    #[test]
    fn the_rate_of_looks_changes_little() {
        let mut ends = Vec::new();
        for rate in [5.0, 15.0] {
            let mut tracks = Tracks::default();
            let (mut t, mut wobble) = (0.0, 3.0);
            while t < 4.0 {
                wobble = -wobble;
                tracks.look(at(t), &[car(640.0 + 20.0 * t, 400.0, 100.0 + wobble)]);
                t += 1.0 / rate;
            }
            let [track] = tracks.all() else { panic!("{tracks:?}") };
            let now = track.ahead(at(4.0).secs_from(track.seen));
            assert!((now.middle() - 720.0).abs() < 5.0, "{rate}: {now:?}");
            assert!((now.width() - 100.0).abs() < 3.0, "{rate}: {now:?}");
            ends.push(now.middle());
        }
        assert!((ends[0] - ends[1]).abs() < 4.0, "{ends:?}");
    }

    #[test]
    fn a_kind_that_flickers_is_the_one_seen_most() {
        let mut tracks = Tracks::default();
        for n in 0..10 {
            let kind = if n % 4 == 0 { VehicleKind::Truck } else { VehicleKind::Car };
            tracks.look(at(f64::from(n) * 0.2), &[Detection { kind, ..car(640.0, 400.0, 90.0) }]);
        }
        let [track] = tracks.all() else { panic!("{tracks:?}") };
        assert_eq!((track.kind(), track.looks), (VehicleKind::Car, 10));
        // A bicycle in front of it is another.
        tracks
            .look(at(2.0), &[Detection { kind: VehicleKind::Bicycle, ..car(640.0, 400.0, 90.0) }]);
        assert_eq!(tracks.all().len(), 2);
    }

    proptest! {
        #[test]
        fn any_boxes_are_followed_or_left(
            looks in prop::collection::vec(
                (0_u64..2_000_000_000, prop::collection::vec(
                    (prop::array::uniform4(prop_oneof![prop::num::f64::ANY, -100.0..2000.0]), 0.0..1.0_f64), 0..60)),
                1..12),
        ) {
            let mut tracks = Tracks::default();
            for (at, boxes) in looks {
                let seen: Vec<Detection> = boxes.iter().map(|(edges, score)| Detection {
                    kind: VehicleKind::Car, score: *score, area: PixelBox::of(*edges), step_px: 1.0,
                }).collect();
                tracks.look(MonoTime::from_secs_f64(at as f64 * 1e-9), &seen);
                prop_assert!(tracks.all().len() <= MOST);
                for t in tracks.all() {
                    prop_assert!(t.area.is_sound(), "{t:?}");
                }
            }
        }
    }
}
