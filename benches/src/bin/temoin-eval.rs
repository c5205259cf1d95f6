//! `make eval`: what perception and the detectors get right on recorded data.
//!
//! What each figure means, and what it does not:
//! - `events.sim_*`: the detectors and the policy against the script of the built-in drive. The
//!   script also says what perception would see, so this says nothing about perception; it breaks
//!   when a rule does.
//! - `perception.*_seen_share`: of the pictures of one man's head turns, how many gave a face, a
//!   pose, an opening. One man, one room, good light: an upper bound for a van at night. A head
//!   that is turned far away rightly gives no opening.
//! - `perception.closed_share`: of the openings measured there, how many read as closed. He is
//!   awake; blinks are among them, so it is not to be 0.
//! - `perception.eyelids_auc`: crops of open against closed eyes. Web-camera crops, no glasses
//!   against the sun, no infrared.
//! - `events.head_turns_*`: the same man with a real car's log at motorway speed. He looks away for
//!   longer than 3.5 s once; the times are those at which a person sees it in the video.
//! - `events.harsh_per_hour.*`: harsh manoeuvres that were flagged in two logs of ordinary driving
//!   by real cars. Nobody labelled them, so these are at most false events; 7 minutes in all, so one
//!   event makes 10 to 60 an hour.
//! - `gnss.nmea_*`: logs of real receivers through the parser: whether it gets to the end, and
//!   whether it finds a position where a valid RMC sentence has one.
#![forbid(unsafe_code)]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Parser;
use temoin_agent::{
    config::Config,
    perception::{Networks, Perception},
};
use temoin_agent_core::config::CoreConfig;
use temoin_benches::{
    figures::{self, Figure},
    machine::{Machine, recordings},
    score::{self, Outcome},
};
use temoin_hw::{Drive, sim::Script};
use temoin_proto::{
    events::EventKind,
    perception::{DriverObservation, NotSeen},
};
use temoin_tests::drives;

/// When a person sees the head turn away for long in `head_turns.mp4`, seconds.
const TURNED_AWAY_S: f64 = 6.8;
/// Below this opening an eye reads as closed in the pictures of this set (open eyes: 0.2 to 0.27).
const CLOSED: f32 = 0.08;

/// Scores perception and events on recorded data, where `shared/data` lies beside the checkout, and
/// on the built-in scripted drive.
#[derive(Parser)]
#[command(name = "temoin-eval", version)]
struct Args {
    /// Where the figures go, as JSON.
    #[arg(long, value_name = "FILE", default_value = "target/eval.json")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match eval(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            say(&format!("eval: {e:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A line for the person at the terminal; a closed terminal is no reason to fail.
fn say(line: &str) {
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

fn eval(args: &Args) -> Result<()> {
    say(&Machine::here()?.to_string());
    temoin_media::limit_opencv_threads(1)?;
    let mut figures = Vec::new();
    scripted(&mut figures)?;
    match recordings()? {
        None => say("no recordings in shared/data beside the checkout: the scripted drive alone"),
        Some(data) => {
            let folder = tempfile::Builder::new().prefix("temoin-eval-").tempdir()?;
            harsh(&data, folder.path(), &mut figures)?;
            nmea(&data, &mut figures)?;
            driver(&data, folder.path(), &mut figures)?;
        }
    }
    figures::write_json(&args.out, &figures)?;
    say(&format!("\n{}", figures::table(&figures)));
    say(&format!("written: {}", args.out.display()));
    Ok(())
}

fn scripted(to: &mut Vec<Figure>) -> Result<()> {
    say("the scripted drive");
    let script = Script::demo();
    let truth = script.truth();
    let outcome = score::scripted(script)?;
    let tally = score::tally(&truth, &outcome.events);
    let wanted = tally.found + tally.missed;
    let of = |name, n: usize, count| Figure::new(name, n as f64, "events", count, "scripted drive");
    to.push(of("events.sim_found", tally.found, wanted).limit(wanted as f64));
    to.push(of("events.sim_missed", tally.missed, wanted).goal("0"));
    to.push(of("events.sim_false", tally.false_events, outcome.events.len()).goal("0"));
    Ok(())
}

/// A drive without anybody to see.
fn blind(drive: &Drive) -> Result<Outcome> {
    score::run(score::open(drive)?, CoreConfig::default(), 10.0, &mut |frame| {
        DriverObservation::unseen(frame.at, NotSeen::NoModel)
    })
}

fn harsh(data: &Path, folder: &Path, to: &mut Vec<Figure>) -> Result<()> {
    say("real cars' logs");
    let city = folder.join("city");
    drives::city(data, &city)?;
    let comma = Drive { cabin: None, road: None, ..Drive::load(&city)? };
    for (name, drive, data_set) in [
        ("events.harsh_per_hour.comma2k19", comma, "comma2k19, 60 s, not labelled"),
        (
            "events.harsh_per_hour.cloudpose",
            score::cloudpose(data),
            "cloudpose, 342 s, not labelled",
        ),
    ] {
        let outcome = blind(&drive).with_context(|| data_set.to_owned())?;
        let rate = score::harsh_per_hour(&outcome);
        to.push(Figure::new(name, rate, "1/h", 1, data_set).goal("0"));
    }
    Ok(())
}

fn nmea(data: &Path, to: &mut Vec<Figure>) -> Result<()> {
    say("receivers' logs");
    let score = score::nmea_logs(data)?;
    let of = |name, n: usize, limit: usize| {
        Figure::new(name, n as f64, "logs", score.logs, "gpsd's logs of real receivers")
            .limit(limit as f64)
    };
    to.push(of("gnss.nmea_parsed", score.logs, score.logs));
    to.push(of("gnss.nmea_with_fix", score.with_fix, score.with_position));
    Ok(())
}

fn driver(data: &Path, folder: &Path, to: &mut Vec<Figure>) -> Result<()> {
    let options = Config::for_files().perception();
    let mut networks = match Networks::open(&options) {
        Ok(networks) => networks,
        Err(e) => {
            say(&format!("perception is not scored: {e}"));
            return Ok(());
        }
    };
    say("head turns at motorway speed");
    let motorway = folder.join("motorway");
    drives::motorway(data, &motorway)?;
    let drive = Drive { road: None, ..Drive::load(&motorway)? };
    let mut rules = CoreConfig::default();
    rules.vehicle.speed_limit_kmh = Some(100.0);
    let outcome = score::run(score::open(&drive)?, rules, 10.0, &mut |frame| {
        let unseen = DriverObservation::unseen(frame.at, NotSeen::NoFace);
        networks.observe(frame).driver().copied().unwrap_or(unseen)
    })?;
    let seen = &outcome.observations;
    let set = "head_turns.mp4";
    let of = |name, value| Figure::new(name, value, "1", seen.len(), set);
    to.push(of("perception.face_seen_share", score::share(seen, |o| o.face.known().is_some())));
    to.push(of("perception.pose_seen_share", score::share(seen, |o| o.head.known().is_some())));
    to.push(of("perception.lids_seen_share", score::share(seen, |o| o.eyelids.known().is_some())));
    let lids: Vec<_> = seen.iter().filter(|o| o.eyelids.known().is_some()).cloned().collect();
    let closed = score::share(&lids, |o| o.eyelids.known().is_some_and(|l| l.0 < CLOSED));
    to.push(Figure::new("perception.closed_share", closed, "1", lids.len(), set));

    let set = "head_turns.mp4 with cloudpose at motorway speed";
    let right = outcome.events.iter().filter(|(kind, at)| {
        *kind == EventKind::LongDistraction && (at - TURNED_AWAY_S).abs() <= 0.5
    });
    let right = right.count();
    let of = |name, n: usize| Figure::new(name, n as f64, "events", outcome.events.len(), set);
    to.push(of("events.head_turns_found", right).limit(1.0).goal("1"));
    to.push(of("events.head_turns_false", outcome.events.len() - right).goal("0"));
    if let Some(at) = outcome.alerts_s.first() {
        // The rule asks for 3.5 s off the road.
        let alert = Figure::new("events.head_turns_alert_s", at - TURNED_AWAY_S, "s", 1, set);
        to.push(alert.limit(3.5));
    }

    say("eye crops");
    match score::eye_crops(data, &options) {
        Ok(eyes) => {
            let of = |name, value| Figure::new(name, value, "1", eyes.crops, "eye crops");
            to.push(of("perception.eyelids_auc", eyes.auc));
            to.push(of("perception.eyelids_measured_share", eyes.measured));
        }
        Err(e) => say(&format!("eye crops are not scored: {e:#}")),
    }
    Ok(())
}
