//! `make eval`: what perception and the detectors get right on recorded data.
//!
//! What each figure means, and what it does not:
//! - `events.sim_*`: the detectors and the policy against the script of the built-in drive. The
//!   script also says what perception would see, so this says nothing about perception; it breaks
//!   when a rule does.
//! - A name that ends in `.builtin` is the same with the project's own networks alone; `.pack`, or no
//!   such ending, is with the downloaded ones beside them, as `make models` leaves a unit.
//! - `perception.eyes.*`: crops of open against closed eyes, judged as the unit judges each eye. Web-camera
//!   crops, no glasses against the sun, no infrared. AUC and balanced accuracy are over the crops that
//!   were measured; `measured_ratio` says how many those are, and `open_read_closed_ratio` is over all
//!   crops of open eyes. The threshold is the agent's own.
//! - `perception.CLIP.*`: what was seen in each clip of `driver_video/` and `road_video/`, at the unit's
//!   rates (10 and 5 Hz) and picture size. Angles, lids, zones, lane and lead are compared with labels
//!   made by hand (`tests/data/labels/README.md` says how sure they are), where a clip has some.
//! - `perception.CLIP.*.unmeasured`: the same of a road clip whose camera's mount nobody measured; without
//!   that ending its mount is the labelled one, where a clip has one. `distance_covered_ratio`: how often a
//!   labelled distance is within two stated errors; 0.95 is right, more is too careful. A label is no
//!   measurement: it has an error too, and takes a car for 1.8 m wide as the unit does.
//! - `perception.false_events_per_hour`: events of all clips, as if at a steady 90 km/h, but for the
//!   labelled ones. With less than a minute of clips one event makes hundreds an hour: see how many
//!   seconds its data set names. `.looped`: what was seen in clips without labelled events, over and
//!   over for ten minutes, through the rules; no new pictures are in it.
//! - `perception.blur.misses_per_min`: runs of pictures in which a labelled number plate, or the face of
//!   a man who was made not to be the driver, lay less than 90 % under blur, per minute of pictures with
//!   such a label. `whole_picture_ratio` says how often all was blurred, `blurred_share` how much of
//!   the pictures in the mean.
//! - `perception.degraded.*`: pictures with open eyes, each alone, as they are and made worse.
//! - `perception.ms.*`: processor time of one look, and of its stages.
//! - `events.clip.*`: what was flagged in each clip of the cabin.
//! - `events.head_turns_*`: one man's head turns with a real car's log at motorway speed. He looks away
//!   for longer than 3.5 s once; the times are those at which a person sees it in the video.
//! - `motion.jair.*`: hard manoeuvres that a driver made on purpose and wrote down, by a phone without
//!   speed and in the earth's axes; `benches/src/jair.rs` says what is made up for them, and where the
//!   limits come from. `.van` is the same at the van's limits.
//! - `motion.comma.*`, `motion.cloudpose.*`: real cars in ordinary traffic, which nobody labelled, so that
//!   events are at most false ones; 7 minutes and a few kilometres in all, so that one event makes many
//!   per 100 km.
//! - `mark.*`: real clips, marked, filmed from a simulated monitor (`benches/src/attacks.rs`) and traced;
//!   the line of each trial says how. `mark.unit.least_z_600k`: the mark of the least of them in a plain
//!   re-encode, looked for without the original, as a unit's own is. `mark.coding_loss_db.own_mean`: how much
//!   worse the portal's coder does at the same rate, each compared with the pictures that it was given, in
//!   the mean over qualities 22 to 37 (Bjontegaard); `.own_view`: at the rate of the portal's own
//!   quality; `.original_*`: both compared with the unmarked pictures, so that the mark itself is an error;
//!   the worst clip of each. `mark.peer.visible_*`: leaks in which a plain visible mark is whole in the picture (wiping and
//!   stickers do not count). `marks.md` beside the figures has a row for each kind of leak.
//! - `gnss.nmea_*`: logs of real receivers through the parser: whether it gets to the end, and
//!   whether it finds a position where a valid RMC sentence has one.
//! - `motion.nmea.logs_agreeing`: logs of which every position, time and speed is that of `gpsdecode`,
//!   each read as a unit reads it: by our own decoders where it holds a position in NMEA or UBX, else
//!   through a real gpsd. gpsd then decodes on both sides: that shows that our source of it loses and
//!   changes nothing. `logs_agreeing_direct` are those without gpsd. The limit of both is the logs in
//!   which `gpsdecode` finds a position. What a receiver itself calls not good is compared as well,
//!   though a unit refuses it. Logs that do not agree, and figures that were not compared, are named.
#![forbid(unsafe_code)]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Parser;
use temoin_agent::perception::{DriverSeat, Perception as _};
use temoin_agent_core::config::CoreConfig;
use temoin_benches::{
    figures::{self, Figure},
    labels,
    machine::{Machine, checkout, recordings},
    mark_score::{self, Extent, Kind},
    motion_score, nmea_score,
    packs::Pack,
    perception::Scores,
    score, watch,
};
use temoin_hw::{Drive, sim::Script};
use temoin_proto::events::EventKind;
use temoin_tests::drives;

/// Scores perception and events on recorded data, where `shared/data` lies beside the checkout, and
/// on the built-in scripted drive.
#[derive(Parser)]
#[command(name = "temoin-eval", version)]
struct Args {
    /// Where the figures go, as JSON.
    #[arg(long, value_name = "FILE", default_value = "target/eval.json")]
    out: PathBuf,
    /// Where the charts go, as PNG; beside the figures where it is not given, in `eval/`.
    #[arg(long, value_name = "FOLDER")]
    charts: Option<PathBuf>,
    /// The folder of the recordings: `driver_video/`, `road_video/`, `eyes/Open`, `eyes/Closed`,
    /// `telemetry/`, `nmea/`; what is not there is not scored. Marks are scored in any `*_video/`.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Leave out the pictures made worse and the leaks, which take most of the time.
    #[arg(long)]
    quick: bool,
    /// Leaks of each kind that the forensic mark is scored with; a leak takes minutes.
    #[arg(long, value_name = "N", default_value_t = 1)]
    leaks: u64,
    /// What the forensic mark is scored with; items and small recordings take hours.
    #[arg(long, value_name = "KIND", value_delimiter = ',', conflicts_with = "quick")]
    #[arg(default_values = ["cost", "filmed", "edited", "colluded", "peer"])]
    marks: Vec<Kind>,
    /// Score the forensic mark alone.
    #[arg(long, conflicts_with = "quick")]
    mark_only: bool,
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
    let (mut figures, mut notes) = (Vec::new(), Vec::new());
    scripted(&mut figures)?;
    let data = match &args.data {
        Some(data) => {
            // ffmpeg and GStreamer want it whole.
            Some(data.canonicalize().with_context(|| data.display().to_string())?)
        }
        None => recordings()?,
    };
    match data {
        None => say("no recordings in shared/data beside the checkout: the scripted drive alone"),
        Some(data) => recorded(args, &data, &mut figures, &mut notes)?,
    }
    figures::write_json(&args.out, &figures)?;
    say(&format!("\n{}", figures::table(&figures)));
    for note in &notes {
        say(note);
    }
    say(&format!("written: {}", args.out.display()));
    Ok(())
}

fn recorded(
    args: &Args,
    data: &Path,
    figures: &mut Vec<Figure>,
    notes: &mut Vec<String>,
) -> Result<()> {
    if args.quick {
        notes.push("mark.*: left out, as --quick asks".to_owned());
    } else {
        say("leaks of marked clips");
        // Before hours of work: so that it does not fail after them.
        figures::make_folder_of(&args.out)?;
        let extent = Extent { leaks: args.leaks.max(1), kinds: args.marks.clone() };
        let (of_marks, table) = mark_score::figures(data, &extent, &say)?;
        figures.extend(of_marks);
        let path = args.out.with_file_name("marks.md");
        std::fs::write(&path, table).with_context(|| path.display().to_string())?;
        say(&format!("each leak: {}", path.display()));
    }
    if args.mark_only {
        return Ok(());
    }
    let folder = tempfile::Builder::new().prefix("temoin-eval-").tempdir()?;
    let parts: [(&str, Part); 3] = [
        ("telemetry", motion),
        ("nmea", |data, _, to| nmea(data, to)),
        ("driver_video/head_turns.mp4", head_turns),
    ];
    for (needs, part) in parts {
        if data.join(needs).exists() {
            part(data, folder.path(), figures)?;
        } else {
            notes.push(format!("not scored: there is no `{}`", data.join(needs).display()));
        }
    }
    let beside = args.out.parent().unwrap_or(Path::new(""));
    let charts = args.charts.clone().unwrap_or_else(|| beside.join("eval"));
    let checkout = checkout()?;
    let mut scores = Scores { data, checkout: &checkout, charts, figures: vec![], notes: vec![] };
    say("eye crops");
    scores.eyes()?;
    say("clips");
    scores.clips()?;
    if args.quick {
        scores.notes.push("perception.degraded.*: left out, as --quick asks".to_owned());
    } else {
        say("pictures made worse");
        scores.degraded()?;
    }
    say(&format!("charts: {}", scores.charts.display()));
    figures.append(&mut scores.figures);
    notes.append(&mut scores.notes);
    Ok(())
}

/// Scores a part of the recordings; the second folder is for what is made on the way.
type Part = fn(&Path, &Path, &mut Vec<Figure>) -> Result<()>;

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

fn motion(data: &Path, folder: &Path, to: &mut Vec<Figure>) -> Result<()> {
    let telemetry = data.join("telemetry");
    if telemetry.join("jair").is_dir() {
        say("hard manoeuvres that were written down");
        motion_score::jair(data, to)?;
    }
    if telemetry.join("comma2k19").is_dir() {
        say("real cars' logs");
        let city = folder.join("city");
        drives::city(data, &city)?;
        let comma = Drive { cabin: None, road: None, ..Drive::load(&city)? };
        motion_score::comma(&comma, to).context("comma2k19")?;
    }
    if telemetry.join("cloudpose").is_dir() {
        motion_score::cloudpose(data, to).context("cloudpose")?;
    }
    Ok(())
}

fn nmea(data: &Path, to: &mut Vec<Figure>) -> Result<()> {
    say("receivers' logs");
    let (figures, notes) = nmea_score::nmea(data)?;
    to.extend(figures);
    for note in notes {
        say(&note);
    }
    Ok(())
}

/// The head turns in a real car's log, which says how quick an alert is.
fn head_turns(data: &Path, folder: &Path, to: &mut Vec<Figure>) -> Result<()> {
    let mut perception = match Pack::Downloaded.cabin(DriverSeat::default()) {
        Ok(perception) => perception,
        Err(e) => {
            say(&format!("perception is not scored: {e:#}"));
            return Ok(());
        }
    };
    say("head turns at motorway speed");
    let truth = labels::read(&checkout()?, "events")?.context("tests/data/labels/events.csv")?;
    let truth = labels::events(&truth)?;
    let turned_away = truth
        .iter()
        .find(|e| e.recording == "head_turns" && e.kind == EventKind::LongDistraction)
        .context("the labels name no distraction in head_turns.mp4")?;
    let motorway = folder.join("motorway");
    drives::motorway(data, &motorway)?;
    let drive = Drive { road: None, ..Drive::load(&motorway)? };
    let mut rules = CoreConfig::for_recordings();
    rules.vehicle.speed_limit_kmh = Some(100.0);
    let outcome = watch::run(watch::open(&drive)?, rules, &mut |frame| perception.observe(frame))?;

    let set = "head_turns.mp4 with cloudpose at motorway speed";
    let right = outcome.events.iter().filter(|(kind, at)| turned_away.is("head_turns", *kind, *at));
    let right = right.count();
    let of = |name, n: usize| Figure::new(name, n as f64, "events", outcome.events.len(), set);
    to.push(of("events.head_turns_found", right).limit(1.0).goal("1"));
    to.push(of("events.head_turns_false", outcome.events.len() - right).goal("0"));
    if let Some(at) = outcome.alerts_s.first() {
        // The rule asks for 3.5 s off the road.
        let alert = Figure::new("events.head_turns_alert_s", at - turned_away.at_s, "s", 1, set);
        to.push(alert.limit(3.5));
    }
    Ok(())
}
