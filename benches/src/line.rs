//! The whole line out of real processes: what a drive costs, and how long after an event somebody
//! can see it.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use temoin_tests::{client::Client, fleet::Fleet, journal::UnitJournal, process::Process};
use tokio::sync::mpsc::unbounded_channel;

use crate::cpu;

/// How long a drive and its upload may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);
/// How often the portal is asked. What is measured is late by half of it, in the mean.
const POLL: Duration = Duration::from_millis(20);

/// What the agent wrote about its own run; the fields are described there.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    /// Seconds of the drive's own time.
    pub drive_s: f64,
    /// Seconds that it took.
    pub wall_s: f64,
    /// Largest resident memory.
    pub peak_rss_mib: f64,
    /// Pictures of both cameras.
    pub frames: u64,
    /// Those that a camera's driver would have dropped.
    pub late_frames: u64,
    /// How late the latest was.
    pub worst_late_ms: f64,
    /// Cabin pictures that perception was too busy for.
    pub skipped_observations: u64,
    /// From a picture's arrival to the decision on it.
    pub frame_to_decision_ms: Vec<f64>,
}

/// A drive that is over.
#[derive(Clone, Debug)]
pub struct Drove {
    /// Processor seconds of the agent from its start to its end: sealing and upload are in it.
    pub cpu_s: f64,
    /// Its report.
    pub report: Report,
    /// What it said.
    pub journal: UnitJournal,
}

/// The unit's program with its configuration.
fn agent(fleet: &Fleet, arguments: &[String]) -> Command {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    fleet.agent(&arguments)
}

/// Drives to the end, upload included.
///
/// # Errors
/// Where the agent fails.
pub fn drive(fleet: &Fleet, arguments: &[String]) -> Result<Drove> {
    watched(fleet, arguments, LIMIT, |_| Ok(()))
}

/// The same; `watch` is called four times a second with the running unit, which has `limit` to end.
///
/// # Errors
/// Where the agent fails.
pub fn watched(
    fleet: &Fleet,
    arguments: &[String],
    limit: Duration,
    mut watch: impl FnMut(&Process) -> Result<()>,
) -> Result<Drove> {
    let report = fleet.root.join("report.json");
    let mut command = agent(fleet, arguments);
    command.arg("--report").arg(&report);
    let before = cpu::of_ended_children()?;
    let mut unit = Process::start("temoin-agent", command, None)?;
    let deadline = Instant::now() + limit;
    while unit.try_wait()?.is_none() && Instant::now() < deadline {
        watch(&unit)?;
        std::thread::sleep(Duration::from_millis(250));
    }
    let status = unit.wait(deadline.saturating_duration_since(Instant::now()))?;
    ensure!(status.success(), "temoin-agent ended with {status}:\n{}", unit.errors());
    let cpu_s = cpu::of_ended_children()? - before;
    let json = std::fs::read(&report).with_context(|| report.display().to_string())?;
    Ok(Drove {
        cpu_s,
        report: serde_json::from_slice(&json)?,
        journal: UnitJournal::read(&unit.lines()),
    })
}

/// How long after the unit said so, seconds.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    /// From the line `event ...` to the dispatcher's list.
    pub event_to_list_s: Vec<f64>,
    /// From the line `event ...` to a granted view: the event's own aftermath, 5 s or 30 s that
    /// are still to be recorded, is in it.
    pub event_to_view_s: Vec<f64>,
    /// From the line `clip ... spooled` to a granted view.
    pub clip_to_view_s: Vec<f64>,
}

/// Drives in the background and asks the portal as a dispatcher would.
///
/// # Errors
/// Where the agent fails, or an event or clip does not arrive.
pub async fn arrivals(fleet: &Fleet, client: &Client, arguments: &[String]) -> Result<Arrivals> {
    let (told, mut lines) = unbounded_channel::<(Instant, String)>();
    let on_line = Box::new(move |line: &str| {
        // The receiver may have given up.
        drop(told.send((Instant::now(), line.to_owned())));
    });
    let mut unit = Process::start("temoin-agent", agent(fleet, arguments), Some(on_line))?;

    let mut arrivals = Arrivals::default();
    let mut said: BTreeMap<String, Instant> = BTreeMap::new();
    let mut unlisted: BTreeMap<String, Instant> = BTreeMap::new();
    let mut unseen: BTreeMap<String, Instant> = BTreeMap::new();
    let deadline = Instant::now() + LIMIT;
    let mut running = true;
    while running || !unlisted.is_empty() || !unseen.is_empty() {
        if Instant::now() > deadline {
            bail!("these events did not arrive: {unlisted:?}, these clips: {unseen:?}");
        }
        let wait = if unlisted.is_empty() && unseen.is_empty() { LIMIT } else { POLL };
        match tokio::time::timeout(wait, lines.recv()).await {
            Ok(Some((at, line))) => note(&line, at, &mut said, &mut unlisted, &mut unseen),
            Ok(None) if running => running = false,
            // No more lines: `recv` returns at once.
            Ok(None) => tokio::time::sleep(POLL).await,
            Err(_) => {}
        }
        if !unlisted.is_empty() {
            let listed = client.events("/events").await?;
            let now = Instant::now();
            unlisted.retain(|event, at| {
                let there = listed.contains(event);
                if there {
                    arrivals.event_to_list_s.push(now.duration_since(*at).as_secs_f64());
                }
                !there
            });
        }
        for (event, spooled) in unseen.clone() {
            if client.open_view(&event, "triage").await?.status().is_success() {
                let now = Instant::now();
                arrivals.clip_to_view_s.push(now.duration_since(spooled).as_secs_f64());
                if let Some(at) = said.get(&event) {
                    arrivals.event_to_view_s.push(now.duration_since(*at).as_secs_f64());
                }
                unseen.remove(&event);
            }
        }
    }
    let status = tokio::task::block_in_place(|| unit.wait(LIMIT))?;
    ensure!(status.success(), "temoin-agent ended with {status}:\n{}", unit.errors());
    Ok(arrivals)
}

/// Takes a line of the unit's journal.
fn note(
    line: &str,
    at: Instant,
    said: &mut BTreeMap<String, Instant>,
    unlisted: &mut BTreeMap<String, Instant>,
    unseen: &mut BTreeMap<String, Instant>,
) {
    match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["event", id, ..] => {
            said.insert((*id).to_owned(), at);
            unlisted.insert((*id).to_owned(), at);
        }
        ["clip", _, "spooled", event, ..] => {
            if let Some(id) = event.strip_prefix("event=") {
                unseen.insert(id.to_owned(), at);
            }
        }
        _ => {}
    }
}
