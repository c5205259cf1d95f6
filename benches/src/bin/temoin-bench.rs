//! `make bench`: what the whole line costs and how quick it is, each figure beside its limit.
//!
//! Processor time is measured in a drive at full speed; `--pace real` measures it as a van would
//! spend it, the limits as well, and takes six times as long. One run in real time says how quick
//! the alerts are.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use temoin_agent::{config::Config, perception::CabinEyes};
use temoin_benches::{
    access_log_bench,
    bare::{self, Looking, OnePicture},
    core_cost, decisions,
    figures::{self, Figure, median, percentile},
    input::{Input, Length},
    keys_bench, limits_bench,
    line::{self, Arrivals, Drove},
    machine::{self, Machine},
    mark_cost, stats, trace_bench, trace_memory,
    viewing::{self, Views},
};
use temoin_hw::{pace::Speed, video_file::PictureSize};
use temoin_tests::{fleet::Fleet, process::Programs};

const MB_PER_MIB: f64 = 1.048_576;
/// Answers *not found* that are measured, of each kind.
const NOT_FOUND: usize = 1000;

/// Measures the whole line on this machine: what the unit costs, how quick alerts, events and
/// views are. Needs the release programs beside it; `scripts/bench.sh` builds them.
#[derive(Parser)]
#[command(name = "temoin-bench", version)]
struct Args {
    /// Where the figures go, as JSON.
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    out: PathBuf,
    /// Where the table goes.
    #[arg(long, value_name = "FILE", default_value = "benches/RESULTS.md")]
    results: PathBuf,
    /// How often each processor time is measured; the middle one counts.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=20))]
    repeat: u8,
    /// Pace of the drives whose processor time is measured.
    #[arg(long, value_enum, default_value_t = Pace::Max)]
    pace: Pace,
    /// Views that are opened.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(2..=500))]
    views: u16,
    /// Measures nothing but the access log at ten thousand, a million and ten million entries, and
    /// prints it: takes minutes, and 5 GB beside the figures.
    #[arg(long)]
    access_log_growth: bool,
    /// Traces a leak and prints the memory that this took, MB; the bench calls itself with it.
    #[arg(long, hide = true)]
    trace_memory: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pace {
    Real,
    Max,
}

impl Pace {
    const fn speed(self) -> Speed {
        match self {
            Self::Real => Speed::Real,
            Self::Max => Speed::Max,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Max => "max",
        }
    }
}

fn main() -> ExitCode {
    match bench(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            say(&format!("bench: {e:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A line for the person at the terminal; a closed terminal is no reason to fail.
fn say(line: &str) {
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

fn bench(args: &Args) -> Result<()> {
    if args.trace_memory {
        let folder = tempfile::Builder::new().prefix("temoin-bench-").tempdir()?;
        temoin_media::limit_opencv_threads(1)?;
        let mb = trace_memory::measure(&Input::choose(folder.path())?)?;
        say(&format!("{mb:.0}"));
        return Ok(());
    }
    let machine = Machine::here()?;
    say(&machine.to_string());
    ensure!(
        !cfg!(debug_assertions),
        "a debug build says nothing about cost: run `make bench`, which builds in release"
    );
    // The access log on a disk that keeps what it syncs, which the folder for temporary files may
    // not be.
    let disk = args.out.parent().unwrap_or(Path::new(".")).join("bench");
    if args.access_log_growth {
        let figures = access_log_bench::growth(&disk, say)?;
        say(&format!("\n{}", figures::table(&figures)));
        return Ok(());
    }
    let folder = tempfile::Builder::new().prefix("temoin-bench-").tempdir()?;
    let input = Input::choose(folder.path())?;
    say(&format!("driving: {}", input.data_set()));

    temoin_media::limit_opencv_threads(1)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut fleet = Fleet::create(Programs::find()?, folder.path(), "127.0.0.1:0", "127.0.0.1:0")?;
    let server = fleet.start_server(None)?;
    fleet.enrol("[rules.vehicle]\nspeed_limit_kmh = 50\n")?;

    let mut figures = Vec::new();
    say("a day of signals through the core");
    core_cost::figures(&mut figures)?;
    let cost = Cost::measure(&fleet, &input, args.repeat, args.pace)?;
    say("driving in real time");
    let real = line::drive(&fleet, &input.arguments(Length::Long)?)?;
    cost.figures(&input, &real, &mut figures)?;
    alerts(&input, &real, cost.looking.last(), &mut figures)?;
    if let Some(drive) = input.crash(folder.path())? {
        say("driving into something");
        let crash = line::drive(&fleet, &["replay".to_owned(), drive])?;
        of_crash(&crash, input.data_set(), &mut figures)?;
    }

    runtime.block_on(async {
        let dispatcher = fleet.signed_in("kai").await?;
        say(&format!("opening {} views", args.views));
        let event = real.journal.events.last().context("the drive flagged no event")?;
        let event = &event.id;
        let views = viewing::measure(&dispatcher, event, usize::from(args.views)).await?;
        let aes_ms = viewing::bare_aes_gcm_ms(&fleet.server_folder(), 20)?;
        of_views(&views, cost.one_picture, aes_ms, input.data_set(), &mut figures)?;
        say("asking for what is secret and for what is not there");
        let mia = fleet.signed_in("mia").await?;
        of_not_found(&viewing::not_found(&mia, event, NOT_FOUND).await?, &mut figures)?;

        say("driving the scripted drive in real time: events on their way to the portal");
        let mut list_ms = Vec::new();
        for _ in 0..20 {
            let began = Instant::now();
            dispatcher.page("/events").await?;
            list_ms.push(began.elapsed().as_secs_f64() * 1e3);
        }
        let sim = Input::Simulated.arguments(Length::Long)?;
        let arrivals = line::arrivals(&fleet, &dispatcher, &sim).await?;
        of_arrivals(&arrivals, median(&list_ms)? / 1e3, &mut figures)
    })?;
    say("deciding in a large fleet");
    figures.extend(runtime.block_on(decisions::figures())?);
    say("unwrapping clips' keys");
    figures.extend(runtime.block_on(keys_bench::figures(&fleet.programs))?);
    say("marking views");
    figures.extend(mark_cost::figures(&input)?);
    say("finding the clip that a leak shows among a hundred thousand");
    figures.extend(trace_bench::figures(&input)?);
    figures.push(trace_memory::figure(&input)?);
    say("looking up speed limits");
    figures.extend(limits_bench::figures()?);
    say("appending to the access log and verifying a million entries");
    figures.extend(access_log_bench::figures(&disk)?);
    let status = server.stop(Duration::from_secs(15))?;
    ensure!(status.success(), "the server ended with {status}");
    figures.extend(of_devices(&args.out.with_file_name("vm").join("vm.json"))?);

    figures::put_json(&args.out, &figures)?;
    let text = results(&machine, &input, args, &figures);
    std::fs::write(&args.results, &text)
        .with_context(|| format!("cannot write `{}`", args.results.display()))?;
    say(&format!("\n{}", figures::table(&figures)));
    say(&format!("written: {} and {}", shown(&args.out), shown(&args.results)));
    Ok(())
}

/// What the tests of devices and power cuts in an emulated machine wrote just before; nothing where there is
/// none.
fn of_devices(path: &Path) -> Result<Vec<Figure>> {
    let Ok(json) = std::fs::read(path) else {
        say("no tests of devices were run: there is no machine for them");
        return Ok(Vec::new());
    };
    let measured: BTreeMap<String, f64> =
        serde_json::from_slice(&json).with_context(|| path.display().to_string())?;
    let figure = |(name, value): (String, f64)| {
        let (unit, total, goal) = match name.as_str() {
            "unit.vm_scenarios_passed" => ("scenarios", "unit.vm_scenarios_total", "all"),
            "unit.power_cuts_survived" => ("cuts", "unit.power_cuts_total", "all"),
            "unit.mutant_cuts_failed" => {
                ("cuts", "", "more than half of 40: a spool without fsync loses something")
            }
            "unit.startup_after_cut_s" => {
                ("s", "", "below 2, the slowest; on an emulated processor")
            }
            "unit.systemd_exposure" => ("1", "", "below 2, of 10: `systemd-analyze security`"),
            "unit.write_amplification" => {
                ("1", "", "at most 1.1 bytes on the disk for a byte of clip")
            }
            _ => ("1", "", ""),
        };
        let figure = Figure::new(name, value, unit, 1, "emulated machine").goal(goal);
        match measured.get(total) {
            Some(total) => figure.limit(*total),
            None => figure,
        }
    };
    Ok(measured.iter().map(|(name, value)| (name.clone(), *value)).map(figure).collect())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Processor seconds per second of drive, and what else was measured on the way.
struct Cost {
    agent: f64,
    agent_whole_s: f64,
    replay: f64,
    encoder: f64,
    looking: Vec<Looking>,
    window_s: f64,
    one_picture: OnePicture,
    repeat: usize,
    pace: Pace,
}

impl Cost {
    fn measure(fleet: &Fleet, input: &Input, repeat: u8, pace: Pace) -> Result<Self> {
        let config = Config::for_files();
        let v = &config.video;
        let size = PictureSize { width: v.width, height: v.height, fps: v.fps };
        let encoder_config = config.encoder().map_err(anyhow::Error::msg)?;
        let (from_s, to_s) = input.window_s();
        let (window_s, speed) = (to_s - from_s, pace.speed());

        // By turns, so that other work on the machine meets all of them alike.
        let (mut agent, mut whole, mut replay, mut encoder) = (vec![], vec![], vec![], vec![]);
        let (mut one_picture, mut looking) = (None, vec![]);
        let models_run = models_run(input);
        for n in 1..=repeat {
            say(&format!("measuring processor time, {n} of {repeat}"));
            let long = drive(fleet, input, Length::Long, pace)?;
            whole.push(long.cpu_s);
            let replay_long = bare::replay_cpu_s(input, Length::Long, size, speed)?;
            let (less, replay_less, seconds) = match input {
                Input::Recorded { .. } => (
                    drive(fleet, input, Length::Short, pace)?.cpu_s,
                    bare::replay_cpu_s(input, Length::Short, size, speed)?,
                    window_s,
                ),
                Input::Simulated => (0.0, 0.0, long.report.drive_s),
            };
            agent.push((long.cpu_s - less) / seconds);
            replay.push((replay_long - replay_less) / seconds);
            let frames = input.frames(size)?;
            if one_picture.is_none() {
                one_picture = Some(bare::one_picture(&frames, &encoder_config)?);
            }
            if models_run {
                looking.push(bare::looking(&frames, speed)?);
            }
            encoder.push(bare::encoder_cpu_s(frames, &encoder_config, speed)? / window_s);
        }
        Ok(Self {
            agent: median(&agent)?,
            agent_whole_s: median(&whole)?,
            replay: median(&replay)?,
            encoder: median(&encoder)?,
            looking,
            window_s,
            one_picture: one_picture.context("nothing was measured")?,
            repeat: usize::from(repeat),
            pace,
        })
    }

    fn figures(&self, input: &Input, real: &Drove, to: &mut Vec<Figure>) -> Result<()> {
        let of = |name, value, unit| Figure::new(name, value, unit, self.repeat, input.data_set());
        let live = self.agent - self.replay;
        let of_looks = |what: fn(&Looking) -> f64| {
            let all: Vec<f64> = self.looking.iter().map(|l| what(l) / self.window_s).collect();
            if all.is_empty() { Ok(0.0) } else { median(&all) }
        };
        let models = of_looks(|l| l.models_cpu_s)?;
        let limit = self.encoder + models;
        to.push(of("agent.cpu_ratio_to_limit", live / limit, "1").limit(1.0).goal("at most 1.25"));
        to.push(of("agent.cpu_s_per_drive_s", live, "s/s").limit(limit));
        to.push(of("agent.cpu_s_per_drive_s_with_replay", self.agent, "s/s"));
        to.push(of("bare.replay_cpu_s_per_drive_s", self.replay, "s/s"));
        to.push(of("bare.encoder_cpu_s_per_drive_s", self.encoder, "s/s"));
        if !self.looking.is_empty() {
            to.push(of("bare.models_cpu_s_per_drive_s", models, "s/s"));
            let set = "cabin looks at 10 Hz and road looks at 5 Hz, one thread";
            let cores = of_looks(|l| l.perception_cpu_s)?;
            let figure = Figure::new("perception.core_fraction", cores, "1", self.repeat, set);
            to.push(figure.limit(models).goal("at most 0.6"));
        }
        if self.pace == Pace::Max {
            let ratio = real.cpu_s / self.agent_whole_s;
            let name = "agent.cpu_real_time_to_full_speed";
            to.push(Figure::new(name, ratio, "1", 1, input.data_set()));
        }
        ensure!(limit > 0.0 && real.report.frames > 0, "nothing was encoded");
        Ok(())
    }
}

fn drive(fleet: &Fleet, input: &Input, length: Length, pace: Pace) -> Result<Drove> {
    let mut arguments = input.arguments(length)?;
    arguments.extend(["--speed".to_owned(), pace.as_str().to_owned()]);
    line::drive(fleet, &arguments)
}

/// Whether there is something to see, and models to see it: the scripted drive has no face that a
/// network could find.
fn models_run(input: &Input) -> bool {
    if matches!(input, Input::Simulated) {
        return false;
    }
    let opened = CabinEyes::open(&Config::for_files().perception());
    if let Err(e) = &opened {
        say(&format!("no models: {e}: run `make models`; the figures are without them"));
    }
    opened.is_ok()
}

fn alerts(
    input: &Input,
    real: &Drove,
    looking: Option<&Looking>,
    to: &mut Vec<Figure>,
) -> Result<()> {
    let r = &real.report;
    let of = |name, value, unit| {
        Figure::new(name, value, unit, r.frame_to_decision_ms.len(), input.data_set())
    };
    let with_limit = |figure: Figure| match looking {
        Some(l) => figure.limit(l.cabin_models_ms),
        None => figure,
    };
    let p99 = of("agent.frame_to_alert_p99_ms", percentile(&r.frame_to_decision_ms, 99)?, "ms");
    to.push(with_limit(p99).goal("below 150"));
    let p50 = of("agent.frame_to_alert_p50_ms", median(&r.frame_to_decision_ms)?, "ms");
    to.push(with_limit(p50));
    let skipped = u32::try_from(r.skipped_observations)?;
    to.push(of("agent.skipped_observations", f64::from(skipped), "pictures"));
    to.push(Figure::new("agent.peak_rss_mib", r.peak_rss_mib, "MiB", 1, input.data_set()));
    let rss_mb = r.peak_rss_mib * MB_PER_MIB;
    to.push(Figure::new("perception.rss_mb", rss_mb, "MB", 1, input.data_set()).goal("below 400"));
    Ok(())
}

/// From noticing a crash until what there is of its clip, ten seconds and more of both cameras, is on
/// this machine's disk.
fn of_crash(crash: &Drove, data_set: &str, to: &mut Vec<Figure>) -> Result<()> {
    let after_s: Vec<f64> = crash.journal.so_far.iter().map(|(_, s)| *s).collect();
    let slowest = percentile(&after_s, 100).context("no crash was noticed")?;
    let figure = Figure::new("unit.crash_on_disk_s", slowest, "s", after_s.len(), data_set);
    to.push(figure.goal("below 0.5, the slowest"));
    Ok(())
}

fn of_views(
    views: &Views,
    bare: OnePicture,
    aes_ms: f64,
    data_set: &str,
    to: &mut Vec<Figure>,
) -> Result<()> {
    let count = views.first_byte_ms.len();
    let of = |name, values: &[f64], percent| -> Result<Figure> {
        Ok(Figure::new(name, percentile(values, percent)?, "ms", count, data_set))
    };
    let page = median(&views.page_ms)?;
    to.push(of("view.first_byte_p95_ms", &views.first_byte_ms, 95)?.limit(page));
    to.push(of("view.first_byte_p50_ms", &views.first_byte_ms, 50)?.limit(page));
    for (name, percent) in [
        ("access.authorize_to_first_byte_p50_ms", 50),
        ("access.authorize_to_first_byte_p99_ms", 99),
    ] {
        to.push(of(name, &views.authorize_to_first_byte_ms, percent)?.limit(aes_ms));
    }
    to.push(of("view.first_frame_p95_ms", &views.first_frame_ms, 95)?.limit(bare.warm_ms));
    to.push(of("view.first_frame_p50_ms", &views.first_frame_ms, 50)?.limit(bare.warm_ms));
    to.push(of("view.permit_p95_ms", &views.permit_ms, 95)?.limit(page));
    let cold = Figure::new("bare.first_picture_cold_ms", bare.cold_ms, "ms", 1, data_set);
    to.push(cold.limit(bare.warm_ms));
    Ok(())
}

fn of_not_found([secret, unknown]: &[Vec<f64>; 2], to: &mut Vec<Figure>) -> Result<()> {
    let data_set = "a driver asks for another driver's event, and for none, by turns";
    let count = secret.len();
    let of = |name, value, unit| Figure::new(name, value, unit, count, data_set);
    let (secret_ms, unknown_ms) = (median(secret)?, median(unknown)?);
    to.push(of("access.secret_p50_ms", secret_ms, "ms").limit(unknown_ms));
    // How often the secret one of two answers is the later one: 0.5 tells nothing.
    let auc = stats::auc(secret, unknown);
    to.push(of("access.secret_by_time_auc", auc, "1").goal("0.5"));
    Ok(())
}

fn of_arrivals(arrivals: &Arrivals, list_s: f64, to: &mut Vec<Figure>) -> Result<()> {
    let data_set = "scripted drive in real time, asked every 20 ms";
    let of = |name, values: &[f64], percent| -> Result<Figure> {
        Ok(Figure::new(name, percentile(values, percent)?, "s", values.len(), data_set))
    };
    to.push(of("agent.event_to_portal_s", &arrivals.event_to_list_s, 50)?.limit(list_s));
    to.push(of("agent.event_to_portal_max_s", &arrivals.event_to_list_s, 100)?.limit(list_s));
    to.push(of("agent.clip_to_view_s", &arrivals.clip_to_view_s, 50)?);
    to.push(of("agent.event_to_view_s", &arrivals.event_to_view_s, 50)?);
    Ok(())
}

const WHAT: &str = "\
How to read it:

- `agent.cpu_ratio_to_limit`: processor time of the agent, at two cameras of 1280x720 and 15
  pictures a second with perception at 10 Hz, over that of the encoder and the models alone on the
  same pictures. Reading and decoding the recordings is measured alone and taken off: a van has
  cameras. Sealing and upload of the drive's clip are in it; starting up is not (the difference of
  two lengths of the drive is taken), but for the scripted drive. It is measured at full speed;
  `agent.cpu_real_time_to_full_speed` is the same drive, start and replay included, in real time
  over that: sleeping between pictures leaves the caches to others, also for the limit
  (`--pace real` measures both so).
- `bare.models_...`: the ONNX sessions alone, with tensors made before, each as often as perception
  ran it on these pictures (see `benches/src/bare.rs`).
- `perception.core_fraction`: processor seconds of all looks at both cameras, with the downloaded pack,
  for a second of video: the share of one core that perception needs. Its limit: the models alone.
- `perception.rss_mb`: the largest resident memory of the agent in the whole line in real time, in
  units of 1,000,000 bytes: recorder, encoder and networks together.
- `agent.frame_to_alert_...`: from a picture's arrival in the pipeline to the decision on it, in
  real time. Exposure and transfer in the camera, and the speaker, are not in it. Its limit: the
  models alone, as often as they run in a look at the cabin.
- `agent.event_to_portal_s`: from the unit's line to the dispatcher's list over HTTPS, the middle
  one; its limit: getting the list. `agent.event_to_view_s` holds the 5 s or 30 s after an event
  that are still to be recorded; `agent.clip_to_view_s` begins where the clip is durable on the
  unit. All on one machine: no mobile network is in it.
- `unit.crash_on_disk_s`: from noticing a crash (at most 0.35 s after the hit) until what there is of its
  clip is fsynced, in real time; a second later it is written once more, with the hit itself.
- `access.append_...`: until an entry is durable, with the time that it waits for others; its limit is
  the same bytes written and synced by turns with it, without a log. `access.verify_million_s` reads
  only published tiles; `temoin-bench --access-log-growth` measures larger logs.
- `access.unwrap_...`: from an entry of the log to the clip's key: its proof, the socket, the key
  service's checks, and where the log has grown (not in `unwrap_again`) its writing down of the head.
  The limit is the bare opening of the key. `bare.head_sync_...` is a sync of the disk, which the
  service makes after its answer.
- `access.authorize_to_first_byte_...`: from asking for a view to the first byte of a camera: decision,
  durable entry, key, decoder, encoder. The limit is the bare AES-256-GCM opening of the whole clip.
- `access.secret_...`: a page that says *not found*, for an event that exists and for one that does
  not; `by_time_auc` is how often the existing one of a pair takes longer: 0.5 is chance. No such
  page is answered sooner than 10 ms (`portal/gate.rs`): before that it was 0.60.
- `view.first_byte_...` and `view.first_frame_...`: from asking for a camera; the limits are a page
  of the portal, and decoding and encoding one picture with coders that run already
  (`bare.first_picture_cold_ms`: with both to be started). The first fragment holds several
  pictures.
";

fn results(machine: &Machine, input: &Input, args: &Args, figures: &[Figure]) -> String {
    format!(
        "# Last results\n\nWritten by `make bench` (`scripts/bench.sh`); do not edit.\n\n{machine}, \
         at the end: {}\n- drive: {}\n- options: --pace {} --repeat {} --views {}\n\n{}\n{WHAT}",
        machine::load(),
        input.data_set(),
        args.pace.as_str(),
        args.repeat,
        args.views,
        figures::table(figures)
    )
}
