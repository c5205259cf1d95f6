//! Small towns for tests, drawn in metres, and vans that drive through them.

use std::collections::BTreeMap;

use temoin_proto::{samples::GnssFix, time::MonoTime};

use super::{
    LimitState, Overrides, SpeedLimits, UnknownReason, Vehicle,
    build::Builder,
    country::Code,
    cut::Node,
    format::{About, Map},
    grid::Point,
    road,
    stop::{self, LeftOut, Meeting, Stops, WayNode},
};

/// South-west corner of every town: in the middle of a tile, so that roads cross borders.
const ORIGIN: (f64, f64) = (44.426, 26.104);
const M_PER_DEG: f64 = 111_194.93;

/// A place in degrees from metres east and north.
pub(super) fn deg(x_m: f64, y_m: f64) -> (f64, f64) {
    let lat = ORIGIN.0 + y_m / M_PER_DEG;
    (lat, ORIGIN.1 + x_m / M_PER_DEG / ORIGIN.0.to_radians().cos())
}

/// Metres east and north, and the storey.
type Corner = (f64, f64, u8);

/// Ways with their nodes in metres. Equal nodes of two ways are shared only if both name them: a node
/// is its place and its storey.
#[derive(Default)]
pub(super) struct Town {
    ways: Vec<(String, Vec<Corner>)>,
    signs: Vec<(Corner, String)>,
}

impl Town {
    /// Adds a way on the ground. Tags: `highway=primary maxspeed=50`.
    pub(super) fn road(self, tags: &str, line: &[(f64, f64)]) -> Self {
        self.storey(tags, line, 0)
    }

    /// Adds a way whose nodes no way of another storey shares.
    pub(super) fn storey(mut self, tags: &str, line: &[(f64, f64)], storey: u8) -> Self {
        self.ways.push((tags.to_owned(), line.iter().map(|(x, y)| (*x, *y, storey)).collect()));
        self
    }

    /// Something stands at a node on the ground: `highway=stop direction=forward`.
    pub(super) fn sign(mut self, tags: &str, at: (f64, f64)) -> Self {
        self.signs.push(((at.0, at.1, 0), tags.to_owned()));
        self
    }

    /// As the import does it.
    pub(super) fn bytes(&self, country: &str) -> Vec<u8> {
        let mut uses: BTreeMap<(u64, u64, u8), [usize; 3]> = BTreeMap::new();
        let key = |n: &Corner| (n.0.to_bits(), n.1.to_bits(), n.2);
        for (_, line) in &self.ways {
            for (n, node) in line.iter().enumerate() {
                let [all, first, last] = uses.entry(key(node)).or_default();
                *all += 1;
                *first += usize::from(n == 0);
                *last += usize::from(n + 1 == line.len());
            }
        }
        let mut builder = Builder::default();
        for (n, (tags, line)) in self.ways.iter().enumerate() {
            let Some(profile) = road::read(&words(tags), Code::parse(country)) else { continue };
            let nodes: Vec<WayNode> = line
                .iter()
                .map(|node| {
                    let (lat, lon) = deg(node.0, node.1);
                    let [all, first, last] = uses[&key(node)];
                    let sign = self.signs.iter().find(|(at, _)| at == node);
                    WayNode {
                        at: Point::from_deg(lat, lon).unwrap(),
                        meeting: Meeting::of(all, first, last),
                        sign: sign.and_then(|(_, tags)| stop::read(&words(tags))),
                    }
                })
                .collect();
            let stops: Vec<Result<Stops, LeftOut>> =
                (0..nodes.len()).map(|at| stop::resolve(profile.ways, &nodes, at)).collect();
            let nodes: Vec<Node> = nodes
                .iter()
                .zip(stops)
                .map(|(node, stops)| Node {
                    at: node.at,
                    shared: node.meeting != Meeting::Alone,
                    stops: stops.unwrap_or_default(),
                })
                .collect();
            builder.way(i64::try_from(n).unwrap() + 1, &profile, &nodes);
        }
        builder.to_bytes(About::default()).unwrap()
    }

    pub(super) fn limits(&self, country: &str) -> SpeedLimits<Vec<u8>> {
        self.with(country, &Overrides::default())
    }

    pub(super) fn with(&self, country: &str, overrides: &Overrides) -> SpeedLimits<Vec<u8>> {
        let map = Map::open(self.bytes(country)).unwrap();
        SpeedLimits::new(map, overrides, Vehicle { max_mass_kg: Some(3500) }).unwrap()
    }
}

fn words(tags: &str) -> Vec<(&str, &str)> {
    tags.split_whitespace().map(|t| t.split_once('=').unwrap()).collect()
}

/// Noise that is the same in every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// About normal, standard deviation 1.
    pub(super) fn normal(&mut self) -> f64 {
        let mut sum = 0.0;
        for _ in 0..12 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            sum += f64::from(u32::try_from(self.0 >> 33).unwrap()) / f64::from(1_u32 << 31);
        }
        sum - 6.0
    }

    /// Anywhere between two numbers, each as likely.
    pub(super) fn within(&mut self, low: f64, high: f64) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0x9e37_79b9_7f4a_7c15);
        low + (high - low) * f64::from(u32::try_from(self.0 >> 33).unwrap())
            / f64::from(1_u32 << 31)
    }
}

/// A drive along a line at one speed.
pub(super) struct Trip {
    pub(super) line: Vec<(f64, f64)>,
    pub(super) mps: f64,
    pub(super) hz: f64,
    /// What the receiver says of its error, and what its error is.
    pub(super) error_m: f64,
    pub(super) noise_m: f64,
    pub(super) seed: u64,
    /// How long its error lasts, s.
    pub(super) wander_s: f64,
    /// Whether it says a course.
    pub(super) course: bool,
    /// An error that stays: metres east and north, as a function of the second.
    pub(super) bias: fn(f64) -> (f64, f64),
    /// Seconds without fixes.
    pub(super) blind: std::ops::Range<f64>,
}

impl Trip {
    pub(super) fn along(line: &[(f64, f64)], mps: f64) -> Self {
        Self {
            line: line.to_vec(),
            mps,
            hz: 1.0,
            error_m: 4.0,
            noise_m: 0.0,
            seed: 1,
            wander_s: 20.0,
            course: true,
            bias: |_| (0.0, 0.0),
            blind: 0.0..0.0,
        }
    }

    /// What is said at each second, with the metres driven.
    pub(super) fn drive(&self, limits: &mut SpeedLimits<Vec<u8>>) -> Vec<(f64, LimitState)> {
        let mut dice = Dice(self.seed);
        let whole: f64 =
            self.line.windows(2).map(|w| (w[1].0 - w[0].0).hypot(w[1].1 - w[0].1)).sum();
        let (mut said, mut t) = (Vec::new(), 0.0);
        let (mut ex, mut ey) = (dice.normal() * self.noise_m, dice.normal() * self.noise_m);
        // First order: how a receiver's error wanders.
        let keep = (-1.0 / self.hz / self.wander_s).exp();
        let renew = (1.0 - keep * keep).sqrt() * self.noise_m;
        while t * self.mps <= whole {
            let at = MonoTime::from_secs_f64(100.0 + t);
            let (x, y, course) = self.at(t * self.mps);
            ex = ex * keep + dice.normal() * renew;
            ey = ey * keep + dice.normal() * renew;
            let state = if self.blind.contains(&t) {
                limits.without_fix(at, Some(self.mps), None)
            } else {
                let (bx, by) = (self.bias)(t);
                let (lat, lon) = deg(x + ex + bx, y + ey + by);
                let mut fix = GnssFix::new(at, lat, lon);
                fix.speed_mps = Some(self.mps);
                let course = (course + dice.normal() * 1.5).rem_euclid(360.0);
                fix.course_deg = self.course.then_some(course);
                fix.position_error_m = Some(self.error_m);
                limits.on_fix(&fix, None)
            };
            said.push((t * self.mps, state));
            t += 1.0 / self.hz;
        }
        said
    }

    /// Metres east and north after `m`, and the course.
    pub(super) fn at(&self, mut m: f64) -> (f64, f64, f64) {
        for w in self.line.windows(2) {
            let (dx, dy) = (w[1].0 - w[0].0, w[1].1 - w[0].1);
            let len = dx.hypot(dy);
            if m <= len {
                return (w[0].0 + dx * m / len, w[0].1 + dy * m / len, dx.atan2(dy).to_degrees());
            }
            m -= len;
        }
        let (x, y) = *self.line.last().unwrap();
        (x, y, 0.0)
    }
}

/// Share of what was said between two distances that was this limit.
pub(super) fn share(said: &[(f64, LimitState)], metres: std::ops::Range<f64>, kmh: f64) -> f64 {
    let there: Vec<_> = said.iter().filter(|(m, _)| metres.contains(m)).collect();
    let right = there.iter().filter(|(_, s)| s.kmh() == Some(kmh)).count();
    right as f64 / there.len().max(1) as f64
}

/// Every limit that was said at all.
pub(super) fn kmh(said: &[(f64, LimitState)]) -> Vec<f64> {
    let mut all: Vec<f64> = said.iter().filter_map(|(_, s)| s.kmh()).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

/// Every reason that was said.
pub(super) fn reasons(said: &[(f64, LimitState)]) -> Vec<UnknownReason> {
    let mut all: Vec<_> = said.iter().filter_map(|(_, s)| s.reason_if_unknown()).collect();
    all.sort_unstable();
    all.dedup();
    all
}
