//! `temoin-agent limits`

use std::{io::Write as _, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use temoin_agent_core::limits::{
    LimitSource, LimitState, Overrides, SpeedLimits, Vehicle, country::Code, grid::Point,
    road::Profile,
};

use crate::limits::{MapFile, build, read_overrides};

/// How far from the place roads are shown, m.
const SHOWN_M: f64 = 60.0;
/// Kilometres of road in France, for an estimate of a country's file.
const FRANCE_KM: f64 = 1.1e6;

/// Build and look at the file of speed limits, which needs no network on the unit.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  temoin-agent limits build romania-latest.osm.pbf --country RO --out limits.temoin
      make the file from an OpenStreetMap extract (some minutes, on a workstation)
  temoin-agent limits show limits.temoin --at 44.4323,26.1063 --heading 90
      say which roads are there and what is known of their limits

The data are OpenStreetMap's, under the Open Database License (ODbL): who passes the file on must
say \"© OpenStreetMap contributors\" and pass it on under the same licence.";

#[derive(Subcommand)]
enum Command {
    /// Make the file from an OpenStreetMap extract (.osm.pbf).
    Build {
        /// The extract.
        #[arg(value_name = "REGION.osm.pbf")]
        extract: PathBuf,
        /// Where the file goes; what is there is replaced once the new one is whole.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Whose rules stand where the map has no number: two letters, such as RO. Without it only
        /// what the map itself says counts.
        #[arg(long, value_name = "CC", value_parser = country)]
        country: Option<Code>,
    },
    /// Say which roads are at a place and what is known of their limits.
    Show {
        /// The file.
        file: PathBuf,
        /// The place: degrees north and east.
        #[arg(long, value_name = "LAT,LON", value_parser = place, allow_hyphen_values = true)]
        at: Point,
        /// Only roads that lead this way, degrees clockwise from north.
        #[arg(long, value_name = "DEG", value_parser = heading)]
        heading: Option<f64>,
        /// The fleet's corrections.
        #[arg(long, value_name = "FILE")]
        overrides: Option<PathBuf>,
        /// Permitted mass of the vehicle, kg.
        #[arg(long, value_name = "KG", default_value_t = 3500)]
        mass_kg: u32,
    },
}

fn country(text: &str) -> Result<Code, String> {
    Code::parse(text).ok_or_else(|| "two capital letters, such as RO".to_owned())
}

fn place(text: &str) -> Result<Point, String> {
    let parts = text.split_once(',').and_then(|(lat, lon)| {
        Some((lat.trim().parse::<f64>().ok()?, lon.trim().parse::<f64>().ok()?))
    });
    let point = parts.and_then(|(lat, lon)| Point::from_deg(lat, lon));
    point.ok_or_else(|| "LAT,LON in degrees, such as 44.4323,26.1063".to_owned())
}

fn heading(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|v| (0.0..=360.0).contains(v));
    value.ok_or_else(|| "0 to 360".to_owned())
}

impl Args {
    pub(super) fn run(self) -> Result<()> {
        let mut out = std::io::stdout();
        match self.command {
            Command::Build { extract, out: to, country } => {
                let built = build::build(&extract, country, &to)?;
                let per_km = built.bytes_per_road_km();
                writeln!(
                    out,
                    "`{}`: {:.0} km of road, {} roads, {} with a limit of their own, {} with the \
                     country's",
                    to.display(),
                    built.road_m / 1000.0,
                    built.ways,
                    built.explicit,
                    built.implicit,
                )?;
                writeln!(
                    out,
                    "{} bytes, {per_km:.1} for each km of road (1.1 million km, as France has, with as many \
                     junctions: {:.0} MB)",
                    built.bytes,
                    per_km * FRANCE_KM / 1e6,
                )?;
                let left_out: Vec<String> = built
                    .stops_left_out
                    .iter()
                    .map(|(why, count)| format!(", {count} left out {}", why.as_str()))
                    .collect();
                writeln!(out, "{} stop lines{}", built.stops, left_out.concat())?;
                if built.at_the_edge > 0 {
                    writeln!(out, "{} roads leave the extract", built.at_the_edge)?;
                }
                writeln!(out, "© OpenStreetMap contributors, ODbL")?;
            }
            Command::Show { file, at, heading, overrides, mass_kg } => {
                let overrides = match overrides {
                    Some(path) => read_overrides(&path)?,
                    None => Overrides::default(),
                };
                let map = MapFile::open(&file)?;
                let vehicle = Vehicle { max_mass_kg: Some(mass_kg) };
                let mut limits = SpeedLimits::new(map, &overrides, vehicle)
                    .with_context(|| format!("`{}`", file.display()))?;
                for n in limits.corrections_nowhere() {
                    writeln!(out, "correction {n} names no road: it is not beside exactly one")?;
                }
                let shown = limits
                    .show(at, SHOWN_M, heading, None)
                    .with_context(|| format!("`{}`", file.display()))?;
                if shown.is_empty() {
                    bail!("no road within {SHOWN_M} m");
                }
                for road in shown {
                    writeln!(
                        out,
                        "{:5.1} m  {:3.0}°  way {} ({}): {}{}",
                        road.near.distance_m,
                        road.bearing_deg,
                        road.near.way,
                        kind(&road.profile),
                        words(&road.limit),
                        road.stop_line_m
                            .map_or_else(String::new, |m| format!("; stop line in {m:.0} m")),
                    )?;
                }
            }
        }
        Ok(())
    }
}

fn kind(profile: &Profile) -> String {
    let mut text = profile.class.as_str().to_owned();
    for (is, word) in [(profile.tunnel, ", tunnel"), (profile.bridge, ", bridge")] {
        if is {
            text.push_str(word);
        }
    }
    let conditions = profile.forward.conditions.len().max(profile.backward.conditions.len());
    if conditions > 0 {
        text.push_str(&format!(", {conditions} conditions"));
    }
    text
}

fn words(limit: &LimitState) -> String {
    let source = |s: LimitSource| s.as_str();
    match limit {
        LimitState::Known(limit) => format!("{:.0} km/h, {}", limit.kmh, source(limit.source)),
        LimitState::Unlimited(s) => format!("no limit, {}", source(*s)),
        LimitState::Unknown(reason) => format!("unknown: {}", reason.as_str()),
    }
}
