//! How quick a look-up of the speed limit is, and how large the file is for each kilometre of road.
//!
//! The region is made, not recorded: no extract is in this repository. Its streets are a grid with
//! jitter, each block a way of its own with the nodes of a drawn street, denser than most towns: see
//! `BLOCK_M`. On real extracts the size is printed by `temoin-agent limits build`.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use temoin_agent::limits::MapFile;
use temoin_agent_core::limits::{
    Overrides, SpeedLimits, Vehicle, build::Builder, cut::Node, format::About, grid::Point, road,
    stop::Stops,
};
use temoin_proto::{samples::GnssFix, time::MonoTime};

use crate::figures::{Figure, percentile};

/// Streets are this far apart, m: a town, of which a country has little.
const BLOCK_M: f64 = 120.0;
/// Blocks from side to side: 24 km.
const BLOCKS: i32 = 200;
const M_PER_DEG: f64 = 111_194.93;
const ORIGIN: (f64, f64) = (44.35, 25.95);
/// Look-ups that are measured of each kind.
const LOOKUPS: u32 = 20_000;

/// Numbers that are the same in every run, 0 to 1.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0x9e37_79b9_7f4a_7c15);
        u32::try_from(self.0 >> 33).map_or(0.0, |v| f64::from(v) / f64::from(1_u32 << 31))
    }
}

/// A place in degrees from metres.
fn deg(x_m: f64, y_m: f64) -> (f64, f64) {
    let cos = ORIGIN.0.to_radians().cos();
    (ORIGIN.0 + y_m / M_PER_DEG, ORIGIN.1 + x_m / M_PER_DEG / cos)
}

/// Where a corner of the grid is: always the same, so that streets meet.
fn corner(column: i32, row: i32) -> (f64, f64) {
    let seed = i64::from(column) * 7919 + i64::from(row) * 104_729;
    let mut dice = Dice(seed.unsigned_abs());
    let (a, b) = (dice.roll() - 0.5, dice.roll() - 0.5);
    ((f64::from(column) + a * 0.3) * BLOCK_M, (f64::from(row) + b * 0.3) * BLOCK_M)
}

fn region() -> Result<Builder> {
    let mut builder = Builder::default();
    let mut dice = Dice(1);
    let profiles = ["30", "50", "70", "30 mph"]
        .map(|limit| road::read(&[("highway", "secondary"), ("maxspeed", limit)], None));
    let mut way = 100_000_000_i64;
    for row in 0..=BLOCKS {
        for column in 0..=BLOCKS {
            let from = corner(column, row);
            for (next, inside) in
                [((column + 1, row), column < BLOCKS), ((column, row + 1), row < BLOCKS)]
            {
                if !inside {
                    continue;
                }
                let to = corner(next.0, next.1);
                // A slight bend, as most streets have.
                let (bx, by) = ((dice.roll() - 0.5) * 16.0, (dice.roll() - 0.5) * 16.0);
                let middle = ((from.0 + to.0) / 2.0 + bx, (from.1 + to.1) / 2.0 + by);
                let mut nodes = Vec::new();
                for (place, shared) in [(from, true), (middle, false), (to, true)] {
                    let (lat, lon) = deg(place.0, place.1);
                    let at = Point::from_deg(lat, lon).context("a place of the region")?;
                    nodes.push(Node { at, shared, stops: Stops::NONE });
                }
                let main = if row % 5 == 0 || column % 5 == 0 { 1 } else { 0 };
                let profile = profiles.get(main + usize::from(dice.roll() > 0.9));
                let profile = profile.and_then(Option::as_ref).context("a profile")?;
                // Numbers of neighbours differ by millions, as the map's do.
                way += 1 + i64::from(column) * 20_011;
                builder.way(way, profile, &nodes);
            }
        }
    }
    Ok(builder)
}

/// `limits.lookup_p99_us` and `limits.bytes_per_road_km`, and what they are made of.
///
/// # Errors
/// Where no file can be written, or it cannot be read.
pub fn figures() -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("limits");
    let builder = region()?;
    let road_km = builder.road_m() / 1000.0;
    let mut file = BufWriter::new(File::create(&path)?);
    builder.finish::<anyhow::Error>(About::default(), |part| Ok(file.write_all(part)?))?;
    file.flush()?;
    drop(file);
    let map = MapFile::open(&path)?;
    let bytes = u32::try_from(map.length()).map(f64::from)?;
    let mut limits = SpeedLimits::new(map, &Overrides::default(), Vehicle::default())?;

    // A drive at 5 fixes a second: the matcher's whole step.
    let mut drive_us = Vec::new();
    let mut known = 0_u32;
    for n in 0..LOOKUPS {
        let m = f64::from(n) * 2.8;
        let side = f64::from(BLOCKS) * BLOCK_M;
        let (lat, lon) = deg(m % side, 100.0 * BLOCK_M + 3.0);
        drive_us.push(step(&mut limits, f64::from(n) / 5.0, lat, lon, &mut known));
    }
    ensure!(
        known > LOOKUPS / 20,
        "the drive knew {known} limits of {LOOKUPS}: nothing was matched"
    );
    // Anywhere: new tiles are read, checked and decoded each time.
    let (mut dice, mut anywhere_us) = (Dice(7), Vec::new());
    for n in 0..LOOKUPS {
        let side = f64::from(BLOCKS) * BLOCK_M;
        let (lat, lon) = deg(dice.roll() * side, dice.roll() * side);
        let at_s = 10_000.0 + f64::from(n) * 60.0;
        anywhere_us.push(step(&mut limits, at_s, lat, lon, &mut known));
    }
    ensure!(limits.refused().is_none(), "the map could not be read: {:?}", limits.refused());

    let count = usize::try_from(LOOKUPS)?;
    let set = format!("made region, {road_km:.0} km of streets, {BLOCK_M:.0} m apart");
    let p99 = |us: &[f64]| percentile(us, 99);
    Ok(vec![
        Figure::new(
            "limits.lookup_p99_us",
            p99(&anywhere_us)?,
            "us",
            count,
            format!("{set}, anywhere"),
        )
        .goal("below 50"),
        Figure::new(
            "limits.match_p99_us",
            p99(&drive_us)?,
            "us",
            count,
            format!("{set}, a drive at 5 Hz"),
        )
        .goal("below 50"),
        Figure::new("limits.bytes_per_road_km", bytes / road_km, "B/km", 1, set)
            .goal("below 182: 200 MB for the 1.1 million km of France"),
    ])
}

fn step(limits: &mut SpeedLimits<MapFile>, at_s: f64, lat: f64, lon: f64, known: &mut u32) -> f64 {
    let mut fix = GnssFix::new(MonoTime::from_secs_f64(at_s), lat, lon);
    (fix.speed_mps, fix.course_deg, fix.position_error_m) = (Some(14.0), Some(90.0), Some(4.0));
    let began = Instant::now();
    let state = limits.on_fix(&fix, None);
    let us = began.elapsed().as_secs_f64() * 1e6;
    *known += u32::from(state.kmh().is_some());
    us
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_measured() {
        let figures = figures().unwrap();
        assert_eq!(figures.len(), 3);
        for f in &figures {
            println!("{} {} {}", f.name, f.value, f.unit);
            assert!(f.value > 0.0, "{}", f.name);
        }
    }
}
