//! How the vehicle is driven, against what is known of recordings: hard manoeuvres that were written
//! down, and real cars in ordinary traffic.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use temoin_agent_core::{
    config::{CoreConfig, HarshConfig},
    timebase::SourceGuard,
    vehicle_state::VehicleState,
};
use temoin_hw::Drive;
use temoin_proto::{
    events::EventKind,
    samples::{Signal, VehicleSpeed},
};

use crate::{
    figures::Figure,
    jair::{COMFORT, Flagged, Manoeuvre, Trip},
    score, watch,
};

/// The kinds that jair's drivers made.
const KINDS: [(EventKind, &str); 3] = [
    (EventKind::HarshBraking, "braking"),
    (EventKind::HarshAcceleration, "acceleration"),
    (EventKind::HarshCornering, "cornering"),
];

/// Every trip in `telemetry/jair`, at one set of limits and at the van's.
///
/// # Errors
/// Where a trip cannot be read.
pub fn jair(data: &Path, to: &mut Vec<Figure>) -> Result<()> {
    let folder = data.join("telemetry/jair");
    let mut trips = Vec::new();
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    names.sort();
    for name in names.iter().filter(|n| n.is_dir()) {
        trips.push(Trip::read(name)?);
    }
    for (end, config) in [("", COMFORT), (".van", HarshConfig::default())] {
        trips_at(end, &config, &trips, to);
    }
    Ok(())
}

fn trips_at(end: &str, config: &HarshConfig, trips: &[Trip], to: &mut Vec<Figure>) {
    let mut found = BTreeMap::<EventKind, (usize, usize)>::new();
    let mut flagged_as = BTreeMap::<EventKind, (usize, usize)>::new();
    let (mut calm, mut calm_flagged, mut unlabelled) = (0, 0, 0);
    for trip in trips {
        let flagged = trip.flagged(config);
        for label in &trip.labels {
            let inside: Vec<&Flagged> = flagged.iter().filter(|f| label.holds(f)).collect();
            match label.what {
                Manoeuvre::Aggressive(kind) => {
                    let (all, right) = found.entry(kind).or_default();
                    *all += 1;
                    *right += usize::from(inside.iter().any(|f| f.kind == kind));
                }
                Manoeuvre::Calm => {
                    calm += 1;
                    calm_flagged += usize::from(!inside.is_empty());
                }
                Manoeuvre::LaneChange => {}
            }
        }
        for one in &flagged {
            let Some(label) = trip.labels.iter().find(|l| l.holds(one)) else {
                unlabelled += 1;
                continue;
            };
            // A hard change of lane is hard cornering too, to anybody who looks at forces.
            let right = match label.what {
                Manoeuvre::Aggressive(kind) => kind == one.kind,
                Manoeuvre::LaneChange => one.kind == EventKind::HarshCornering,
                Manoeuvre::Calm => false,
            };
            let (all, good) = flagged_as.entry(one.kind).or_default();
            *all += 1;
            *good += usize::from(right);
        }
    }
    let [b, a, c] = [config.braking_g, config.acceleration_g, config.cornering_g];
    let limits = match (b, a, c) {
        (Some(b), Some(a), Some(c)) => format!("jair, {b} / {a} / {c} g"),
        _ => "jair, the van's limits".to_owned(),
    };
    let ratio = |part: usize, all: usize| part as f64 / all.max(1) as f64;
    let push = |name: String, value: f64, unit, count, what: &str| {
        Figure::new(name, value, unit, count, format!("{limits}: {what}"))
    };
    let (all, right) = found.values().fold((0, 0), |(a, r), (x, y)| (a + x, r + y));
    let recall = push(
        format!("motion.jair.recall{end}"),
        ratio(right, all),
        "1",
        all,
        "hard manoeuvres flagged as what they are",
    );
    let calm = push(
        format!("motion.jair.nonaggressive_flagged{end}"),
        calm_flagged as f64,
        "events",
        calm,
        "manoeuvres as anybody does them",
    );
    let (recall, calm) = if end.is_empty() {
        (recall.goal("at least 0.9"), calm.goal("1 at most"))
    } else {
        (recall, calm)
    };
    to.extend([recall, calm]);
    for (kind, word) in KINDS {
        let (all, right) = found.get(&kind).copied().unwrap_or_default();
        to.push(push(
            format!("motion.jair.recall.{word}{end}"),
            ratio(right, all),
            "1",
            all,
            "hard manoeuvres flagged as what they are",
        ));
        let (all, good) = flagged_as.get(&kind).copied().unwrap_or_default();
        if all > 0 {
            to.push(push(
                format!("motion.jair.precision.{word}{end}"),
                ratio(good, all),
                "1",
                all,
                "flagged where something was written down",
            ));
        }
    }
    to.push(push(
        format!("motion.jair.outside_labels{end}"),
        unlabelled as f64,
        "events",
        trips.len(),
        "flagged where nothing was written down: nobody knows what it was",
    ));
}

/// The real car's minute: harsh events, events per 100 km, and the speed without its bus.
///
/// # Errors
/// Where the recording cannot be read.
pub fn comma(drive: &Drive, to: &mut Vec<Figure>) -> Result<()> {
    let outcome = score::blind(drive)?;
    let set = "comma2k19, a real car's 60 s in ordinary traffic";
    let harsh = outcome.count(&KINDS.map(|(kind, _)| kind));
    to.push(Figure::new("motion.comma.harsh_events", harsh as f64, "events", 1, set).goal("0"));
    let signals = signals(drive)?;
    per_100_km("comma", &signals, &outcome.events, to)?;
    let (mut squares, mut known, mut all) = (0.0, 0_usize, 0_usize);
    let mut state = VehicleState::new(&CoreConfig::for_recordings(), None);
    let config = CoreConfig::default().timebase;
    let mut guard = SourceGuard::new(
        std::time::Duration::from_secs_f64(config.future_tolerance_s),
        std::time::Duration::from_secs_f64(config.health_after_s),
    );
    for signal in signals {
        match signal {
            Signal::Speed(VehicleSpeed { at, mps }) => {
                all += 1;
                if let Some(told) = state.speed(at) {
                    known += 1;
                    squares += (told.mps - mps).powi(2);
                }
            }
            Signal::Gnss(fix) => {
                state.on_gnss(&fix);
            }
            Signal::Imu(s) => {
                if let Ok(admission) = guard.admit(s.at, s.at) {
                    state.on_imu(&s, admission);
                }
            }
            Signal::Wheels(_) | Signal::Control(_) | Signal::Button(_) => {}
        }
    }
    anyhow::ensure!(known > 0, "no speed was known without the bus");
    let rms = (squares / known as f64).sqrt();
    let set = format!("comma2k19, bus withheld; known for {known} of {all} of its speeds");
    to.push(
        Figure::new("motion.comma.speed_rms_mps_without_can", rms, "m/s", known, set)
            .goal("at most 0.5"),
    );
    Ok(())
}

/// Another real car's log: events per 100 km.
///
/// # Errors
/// Where the recording cannot be read.
pub fn cloudpose(data: &Path, to: &mut Vec<Figure>) -> Result<()> {
    let drive = score::cloudpose(data);
    let outcome = score::blind(&drive)?;
    per_100_km("cloudpose", &signals(&drive)?, &outcome.events, to)
}

/// Events of a drive per 100 km of its own speed.
fn per_100_km(
    name: &str,
    signals: &[Signal],
    events: &[(EventKind, f64)],
    to: &mut Vec<Figure>,
) -> Result<()> {
    let mut state = VehicleState::new(&CoreConfig::for_recordings(), None);
    for signal in signals {
        if let Signal::Speed(s) = signal {
            state.on_bus(s);
        }
    }
    let km = state.driven_m() / 1000.0;
    anyhow::ensure!(km > 0.0, "{name}: it never moves");
    let events = events.iter().filter(|(kind, _)| *kind != EventKind::DriverSaved).count();
    let set = format!("{name}, {km:.2} km of ordinary traffic, the van's limits");
    let rate = events as f64 * 100.0 / km;
    to.push(Figure::new(format!("motion.{name}.events_per_100_km"), rate, "1/100 km", events, set));
    Ok(())
}

fn signals(drive: &Drive) -> Result<Vec<Signal>> {
    let mut signals = Vec::new();
    for item in watch::open(drive)? {
        match item? {
            temoin_hw::ReplayItem::Signal(signal) => signals.push(signal),
            temoin_hw::ReplayItem::Frame(_) => {}
        }
    }
    Ok(signals)
}
