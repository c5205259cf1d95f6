//! Vans on a real map: drives at random on an extract that somebody has, for figures of what is found and
//! what is said wrongly. `TEMOIN_OSM=FILE cargo test -p temoin-agent real_map -- --nocapture`.

use std::path::Path;

use temoin_agent_core::{
    config::CoreConfig,
    drive::{Command, Drive, Input},
    limits::{
        Overrides, SpeedLimits, Vehicle,
        grid::{Plane, Point, TileKey},
        search::{Directed, EdgeId, Tiles},
    },
    policy::PrivacyState,
};
use temoin_proto::{
    events::EventKind,
    samples::{GnssFix, Signal, VehicleSpeed},
    time::MonoTime,
};

use super::{build, file::MapFile};

const LEGS: u64 = 800;
const LEG_M: f64 = 3000.0;

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0x9e37_79b9_7f4a_7c15);
        f64::from(u32::try_from(self.0 >> 33).unwrap()) / f64::from(1_u32 << 31)
    }

    fn pick(&mut self, of: usize) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below `of`")]
        let n = (self.roll() * of as f64) as usize;
        n.min(of - 1)
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.roll()).sum::<f64>() - 6.0
    }
}

/// A way through the map: points, and where its stop lines are, metres.
struct Leg {
    line: Vec<Point>,
    stops_m: Vec<f64>,
    plane: Plane,
}

impl Leg {
    /// From anywhere in one of these tiles, and rather towards stop lines where there is a choice.
    fn random(tiles: &mut Tiles<MapFile>, keys: &[TileKey], dice: &mut Dice) -> Option<Self> {
        let tile = keys[dice.pick(keys.len())];
        let edges = tiles.map().tile(tile).unwrap()?.edges.len();
        let mut at = Directed { id: EdgeId { tile, edge: dice.pick(edges) }, forward: true };
        let plane = Plane::at(tile.corner());
        let (mut line, mut stops_m, mut length_m) = (Vec::new(), Vec::new(), 0.0);
        let (mut lines, mut next) = (Vec::new(), Vec::new());
        while length_m < LEG_M {
            let decoded = tiles.map().tile(at.id.tile).unwrap()?;
            let mut points = decoded.points(&decoded.edges[at.id.edge]).to_vec();
            if !at.forward {
                points.reverse();
            }
            tiles.stop_lines(at, &plane, &mut lines).unwrap();
            stops_m.extend(lines.iter().map(|m| length_m + m));
            length_m += points.windows(2).map(|w| plane.distance_m(w[0], w[1])).sum::<f64>();
            line.extend(points);
            tiles.onward(at, &plane, &mut next).unwrap();
            if next.is_empty() {
                break;
            }
            at = next[dice.pick(next.len())];
            for other in std::mem::take(&mut next) {
                tiles.stop_lines(other, &plane, &mut lines).unwrap();
                if !lines.is_empty() && dice.roll() < 0.6 {
                    at = other;
                }
            }
        }
        line.dedup();
        (length_m > 500.0).then_some(Self { line, stops_m, plane })
    }

    /// Degrees north and east after `m`, and the course.
    fn at(&self, mut m: f64) -> Option<(f64, f64, f64)> {
        for w in self.line.windows(2) {
            let length_m = self.plane.distance_m(w[0], w[1]);
            if m <= length_m {
                let (x, y) = self.plane.step(w[0], w[1]);
                let (a, b) = (w[0].to_deg(), w[1].to_deg());
                let t = m / length_m;
                let course = x.atan2(y).to_degrees().rem_euclid(360.0);
                return Some((a.0 + (b.0 - a.0) * t, a.1 + (b.1 - a.1) * t, course));
            }
            m -= length_m;
        }
        None
    }

    /// Where events are said, metres: a van at 40 km/h, that stops at the lines or does not.
    fn events(&self, file: &Path, stops: bool, noise_m: f64, dice: &mut Dice) -> Vec<f64> {
        let map = MapFile::open(file).unwrap();
        let mut limits = SpeedLimits::new(map, &Overrides::default(), Vehicle::default()).unwrap();
        let mut drive = Drive::new(CoreConfig::for_recordings(), PrivacyState::Recording);
        let (mut out, mut events) = (Vec::new(), Vec::new());
        let keep = (-1.0 / 20.0_f64).exp();
        let mut error_m = [dice.normal() * noise_m, dice.normal() * noise_m];
        let (mut m, mut n) = (0.0, 0_u32);
        while let Some((lat, lon, course)) = self.at(m) {
            let at = MonoTime::from_secs_f64(1.0 + f64::from(n) / 10.0);
            let near = self.stops_m.iter().map(|s| (m - s + 1.0).abs()).fold(1e9, f64::min);
            let mps = if stops { (0.5 + 4.0 * near).sqrt().min(11.0) } else { 11.0 };
            if n.is_multiple_of(10) {
                for e in &mut error_m {
                    *e = *e * keep + dice.normal() * (1.0 - keep * keep).sqrt() * noise_m;
                }
                let per_m = 1.0 / 111_195.0;
                let east = error_m[0] * per_m / lat.to_radians().cos();
                let fix = GnssFix {
                    speed_mps: Some(mps),
                    course_deg: Some((course + dice.normal() * 2.0).rem_euclid(360.0)),
                    position_error_m: Some(4.0),
                    ..GnssFix::new(at, lat + error_m[1] * per_m, lon + east)
                };
                limits.on_fix(&fix, None);
                if let Some(line) = limits.stop_line() {
                    drive.step(at, Input::StopLine(line.at, line.line_m), &mut out);
                }
                drive.step(at, Input::Signal(Signal::Gnss(fix)), &mut out);
            }
            drive.step(at, Input::Signal(Signal::Speed(VehicleSpeed { at, mps })), &mut out);
            let rolled = out.drain(..).filter(|c| match c {
                Command::Flag { event, .. } => event.kind == EventKind::RollingStop,
                Command::Alert(_) | Command::Cut(_) | Command::Lamp(_) | Command::Health(_) => {
                    false
                }
            });
            events.extend(rolled.map(|_| m));
            m += mps * 0.1;
            n += 1;
        }
        events
    }
}

#[test]
fn stops_of_a_real_map() {
    let Some(path) = std::env::var_os("TEMOIN_OSM") else {
        println!("skipped: TEMOIN_OSM names no extract");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("limits");
    let built = build::build(Path::new(&path), None, &file).unwrap();
    println!("{} stop lines, left out: {:?}", built.stops, built.stops_left_out);
    let mut tiles = Tiles::new(MapFile::open(&file).unwrap());
    let has_stops = |key: &TileKey| {
        let tile = tiles.map().tile(*key).unwrap().unwrap();
        tile.edges.iter().any(|e| !tile.lines(e).is_empty())
    };
    let mut keys = tiles.map().keys().unwrap();
    keys.retain(has_stops);
    for noise_m in [0.0, 3.0, 5.0, 8.0] {
        let (mut km, mut passed, mut found, mut wrong, mut wrongly) = (0.0, 0, 0, 0, 0);
        for seed in 0..LEGS {
            let mut dice = Dice(seed * 7919 + 1);
            let Some(leg) = Leg::random(&mut tiles, &keys, &mut dice) else { continue };
            km += leg.line.windows(2).map(|w| leg.plane.distance_m(w[0], w[1])).sum::<f64>() / 1e3;
            passed += leg.stops_m.len();
            for event_m in leg.events(&file, false, noise_m, &mut dice) {
                let of = |s: &&f64| (0.0..=90.0).contains(&(event_m - **s));
                if leg.stops_m.iter().any(|s| of(&s)) { found += 1 } else { wrong += 1 }
            }
            wrongly += leg.events(&file, true, noise_m, &mut dice).len();
        }
        println!(
            "error {noise_m} m: {km:.0} km, {passed} stop lines passed without stopping, {found} \
             found, {wrong} events without a line; {wrongly} events of who stops at each"
        );
        assert!(wrong * 50 <= found && wrongly * 50 <= found, "{wrong} {wrongly} of {found}");
    }
}
