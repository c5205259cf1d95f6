//! A running unit: devices or a recorded drive, pipeline, sealing thread, uploader.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, channel, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result};
use temoin_hw::{
    Clock, Lamp, Speaker,
    clock::SystemClock,
    device::Logged,
    pace::{Speed, StopToken},
    replay::{self, Replay},
    sim::Script,
};
use temoin_proto::{
    mark::MarkKey,
    perception::{Observation, Sight},
    samples::{CameraId, Frame},
    time::MonoTime,
};
use tokio::sync::{mpsc::unbounded_channel, watch};

use crate::{
    cab,
    capture::{self, Captured, QUEUE},
    config::Config,
    encoders,
    eyes::Eyes,
    health::{HealthBoard, State},
    identity::Identity,
    last_fault::FaultFile,
    limit_watch::LimitWatch,
    machine::{self, Backlog, PowerSwitch},
    mount_file,
    net::Connector,
    odometer::{Driven, Odometer},
    perception::{
        self, HealthStatement, MODELS, Perception, ROAD_MODELS,
        road::RoadEyes,
        swap::{self, Models, Reload, Swap},
    },
    pipeline::{Parts, Pipeline, SealJob},
    sealer,
    spool::{Queued, Spool},
    standing_orders::StandingOrders,
    trusted_time::{CorrectedClock, TrustedTime},
    under_way::{self, MarkFile},
    upload::Upload,
    watchdog::{self, Rounds},
};

/// Where pictures and signals come from.
pub enum Source {
    /// The unit's own devices.
    Devices,
    /// A recorded or simulated drive.
    Replay(Box<Replay>, Speed),
}

/// What happens after a replay's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Wait until the server has everything.
    Uploaded,
    /// End at once; the spool keeps the rest for the next start.
    Nothing,
}

/// What a run needs.
pub struct Run {
    /// The configuration.
    pub config: Config,
    /// Pictures and signals.
    pub source: Source,
    /// Ends the run early; a replay is to have the same.
    pub stop: StopToken,
    /// Whether flagged clips are kept and uploaded. Without, events are only shown.
    pub keep: bool,
    /// After a replay's end.
    pub after: After,
    /// Where to write what the run cost.
    pub report: Option<PathBuf>,
}

/// Runs a unit until its drive ends or a signal stops it.
///
/// # Errors
/// Where a part cannot be started; once it runs, faults show in device health instead.
pub fn run(run: Run) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the network's thread")?;
    temoin_media::limit_opencv_threads(1).context("OpenCV cannot be used")?;
    let Run { config, source, stop, keep, after, report } = run;
    let health = Arc::new(HealthBoard::default());
    let (to_pipeline, from_devices) = sync_channel::<Captured>(QUEUE);
    let (seal, jobs) = channel::<SealJob>();
    let (results, results_in) = unbounded_channel();
    let stored = if keep { Some(open_stored(&config, &health)?) } else { None };
    let label = stored
        .as_ref()
        .map_or_else(|| "temoin".to_owned(), |s| s.identity.fleet().unit.to_string());

    let mut rules = config.rules.clone();
    let orders = stored.is_some().then(|| StandingOrders::path(&config.data_dir));
    let standing = match &orders {
        Some(path) => StandingOrders::load(path)
            .context("remove the file to go on as configured, after asking the fleet")?,
        None => StandingOrders::default(),
    };
    let configured = standing.apply(config.privacy, &mut rules);
    let (privacy_told, privacy) = watch::channel(configured.as_str());
    let (driven_told, driven) = watch::channel(Driven::default());
    let (under_way_told, under_way) = watch::channel(None);
    let reload = Reload::default();
    let (mut clock, eyes, zero) =
        open_eyes(&config, &source, &to_pipeline, &health, &mut rules, &reload)?;
    if let Some(stored) = &stored {
        clock = Arc::new(CorrectedClock { clock, time: Arc::clone(&stored.time) });
    }
    let mount_file = match &source {
        Source::Devices => stored.is_some().then(|| mount_file::path(&config.data_dir)),
        // A recording says how its axes lie.
        Source::Replay(..) => {
            rules.mount.aligned = true;
            None
        }
    };
    let mount = mount_file.as_deref().and_then(|path| {
        mount_file::load(path).unwrap_or_else(|e| {
            tracing::warn!(error = %e, "how the unit sits is learned anew");
            None
        })
    });
    let (lamp, speaker): (Box<dyn Lamp>, Box<dyn Speaker>) = match &source {
        Source::Devices => {
            (cab::lamp(&config.devices, &health)?, cab::speaker(&config.devices, &health)?)
        }
        // Nobody is there to see or hear it.
        Source::Replay(..) => (Box::new(Logged::default()), Box::new(Logged::default())),
    };
    if matches!(source, Source::Replay(_, Speed::Max)) {
        // Its pictures wait for the loop, as they are to: nobody is late.
        rules.heat.most_lag_s = 3600.0;
    }
    let wanted = config.encoder_kinds().map_err(anyhow::Error::msg)?;
    let choice = encoders::choose(&config.encoder().map_err(anyhow::Error::msg)?, &wanted);
    health.set("encoder", choice.state, choice.text);
    let rounds = Rounds::default();
    let backlog = Backlog::default();
    let waits: Box<dyn Fn() -> bool + Send> = match &stored {
        None => Box::new(|| false),
        Some(Stored { spool, .. }) => {
            let (backlog, spool) = (backlog.clone(), Arc::clone(spool));
            Box::new(move || !backlog.is_empty() || !spool.is_empty())
        }
    };
    let time = match (&source, &stored) {
        (Source::Devices, Some(stored)) => Some(Arc::clone(&stored.time)),
        // A recording's fixes have the time of the recording.
        (Source::Replay(..), _) | (Source::Devices, None) => None,
    };
    let power_off = config.devices.power_off.clone().map(PowerSwitch::new);
    let parts = Parts {
        rules,
        privacy: configured.into(),
        encoder: choice.encoder,
        label,
        mark: MarkKey::generate().context("the system gave no random bytes")?,
        eyes,
        blur: config.blur.clone(),
        seat: config.seat(),
        clock,
        lamp,
        speaker,
        seal,
        results,
        privacy_told,
        driven_told,
        under_way_told,
        orders,
        mount,
        mount_file,
        limits: LimitWatch::open(&config.limits, &health),
        health: Arc::clone(&health),
        rounds: rounds.clone(),
        backlog: backlog.clone(),
        waits,
        power_off,
        time,
    };
    if stored.is_some() {
        let faults = FaultFile::new(&config.data_dir);
        faults.tell(&health);
        faults.watch();
    }
    let under_way = stored.is_some().then(|| {
        let mark = MarkFile::new(&config.data_dir);
        mark.tell_last_run(&health);
        runtime.spawn(under_way::keep(mark, under_way))
    });
    let (settled_told, settled) = watch::channel(false);
    let sealing = match stored {
        None => discard(jobs)?,
        Some(Stored { identity, time, spool, at_start }) => {
            let (queue, queue_in) = unbounded_channel();
            let connector = Connector::for_unit(&identity, Arc::clone(&time))?;
            let upload = Upload {
                identity: Arc::clone(&identity),
                connector,
                time,
                spool: Arc::clone(&spool),
                health: Arc::clone(&health),
                heartbeat: Duration::from_secs_f64(config.heartbeat_s),
                orders: to_pipeline.clone(),
                privacy,
                driven,
                odometer: open_odometer(&config.data_dir),
                settled: settled_told,
            };
            runtime.spawn(upload.run(config.rules.upload.clone(), at_start, queue_in, results_in));
            sealer::start(jobs, identity, spool, queue, Arc::clone(&health), backlog)?
        }
    };
    stop_on_signal(&runtime, stop.clone(), to_pipeline.clone())?;
    reload_on_signal(&runtime, reload)?;
    let is_replay = matches!(source, Source::Replay(..));
    let threads = match source {
        Source::Devices => {
            let devices = &config.devices;
            let mut threads = capture::live(devices, &config.video, &to_pipeline, &stop, &health)?;
            threads.extend(machine::start(devices, &to_pipeline, &stop, &health)?);
            if let Some(path) = devices.watchdog.clone() {
                threads.push(watchdog::start(path, rounds, stop.clone(), Arc::clone(&health))?);
            }
            threads
        }
        Source::Replay(replay, _) => {
            vec![capture::replay(*replay, to_pipeline.clone(), Arc::clone(&health))?]
        }
    };
    drop(to_pipeline);

    let mut pipeline = Pipeline::new(parts);
    pipeline.run(&from_devices, zero);
    // Whoever still wants to send finds the channel closed and ends.
    drop(from_devices);
    let figures = pipeline.metrics.report();
    drop(pipeline);
    if let Some(kept) = under_way
        && let Err(e) = runtime.block_on(kept)
    {
        tracing::warn!(error = %e, "the next start may say that the power was cut");
    }
    join("sealer", sealing);
    if keep && is_replay && after == After::Uploaded && !stop.is_stopped() {
        wait_settled(&runtime, settled, &stop);
    }
    stop.stop();
    for thread in threads {
        join("device", thread);
    }
    runtime.shutdown_background();
    if let Some(path) = report {
        let json = serde_json::to_vec_pretty(&figures).context("the report")?;
        std::fs::write(&path, json)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

struct Stored {
    identity: Arc<Identity>,
    time: Arc<TrustedTime>,
    spool: Arc<Spool>,
    at_start: Vec<Queued>,
}

fn open_stored(config: &Config, health: &HealthBoard) -> Result<Stored> {
    let identity = Arc::new(Identity::load(&config.data_dir)?);
    let (spool, at_start) =
        Spool::open(&config.data_dir, config.rules.spool.quota_bytes, |path| {
            health.set(
                "spool.strange",
                State::Degraded,
                format!("`{path}` is not the spool's: left alone"),
            );
        })?;
    let time = Arc::new(TrustedTime::load(&identity.trusted_time_path()));
    Ok(Stored { identity, time, spool: Arc::new(spool), at_start })
}

/// What earlier runs drove and could not tell; where that cannot be read it is given up, as a unit
/// that does not start would be worse.
fn open_odometer(data: &Path) -> Odometer {
    let path = Odometer::path(data);
    Odometer::open(&path).unwrap_or_else(|e| {
        tracing::warn!(error = %e, "what earlier runs drove without a network is not told");
        Odometer::without(&path)
    })
}

/// The eyes of each camera that is looked at.
type AllEyes = BTreeMap<CameraId, Eyes>;

fn open_eyes(
    config: &Config,
    source: &Source,
    to_pipeline: &SyncSender<Captured>,
    health: &Arc<HealthBoard>,
    rules: &mut temoin_agent_core::config::CoreConfig,
    reload: &Reload,
) -> Result<(Arc<dyn Clock>, AllEyes, MonoTime)> {
    let script = match source {
        Source::Replay(replay, _) => replay.script(),
        Source::Devices => None,
    };
    let all: [(CameraId, Box<dyn Perception>, f64); 2] = {
        let (cabin, road): (Box<dyn Perception>, Box<dyn Perception>) = match script {
            Some(script) => {
                rules.vehicle.speed_limit_kmh.get_or_insert(script.limit_mps() * 3.6);
                (Box::new(Scripted(Arc::clone(&script))), Box::new(Scripted(script)))
            }
            None => open_perception(config, source, health, reload)?,
        };
        let rates = &config.perception;
        [(CameraId::Cabin, cabin, rates.rate_hz), (CameraId::Road, road, rates.road_rate_hz)]
    };
    let mut eyes = AllEyes::new();
    for (camera, perception, rate_hz) in all {
        for statement in perception.health() {
            health.set(statement.part, statement.state, statement.text);
        }
        let own = match source {
            Source::Replay(_, Speed::Max) => Eyes::in_loop(perception, rate_hz),
            Source::Replay(_, Speed::Real) | Source::Devices => {
                Eyes::in_thread(perception, rate_hz, to_pipeline.clone())?
            }
        };
        eyes.insert(camera, own);
    }
    Ok(match source {
        Source::Replay(replay, _) => (replay.clock(), eyes, replay::ZERO),
        Source::Devices => {
            let clock = SystemClock;
            let zero = clock.now();
            (Arc::new(clock), eyes, zero)
        }
    })
}

/// Opens what sees the driver. A live unit records at once and sees as soon as its models have run
/// once; a replay sees from its first picture, and at full speed with the same models all along.
fn open_perception(
    config: &Config,
    source: &Source,
    health: &Arc<HealthBoard>,
    reload: &Reload,
) -> Result<(Box<dyn Perception>, Box<dyn Perception>)> {
    let (options, road) = (config.perception(), config.road());
    if let Source::Replay(_, Speed::Max) = source {
        let cabin = perception::open(&options);
        let provider = swap::provider_health(&options);
        health.set(provider.part, provider.state, provider.text);
        return Ok((cabin, Box::new(RoadEyes::open(&road))));
    }
    let swapped = |models| -> Result<Box<dyn Perception>> {
        let (reload, health) = (reload.clone(), Arc::clone(health));
        Ok(match source {
            Source::Replay(..) => Box::new(Swap::open(models, reload, health)?),
            Source::Devices => Box::new(Swap::start(models, reload, health)),
        })
    };
    Ok((
        swapped(Models::of_driver(MODELS, options)?)?,
        swapped(Models::of_road(ROAD_MODELS, road)?)?,
    ))
}

/// Without a spool, flagged pictures are let go.
fn discard(jobs: Receiver<SealJob>) -> Result<JoinHandle<()>> {
    Ok(std::thread::Builder::new()
        .name("discard".into())
        .spawn(move || jobs.iter().for_each(drop))?)
}

fn join(what: &str, thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("the {what} thread ended by a panic");
    }
}

fn wait_settled(
    runtime: &tokio::runtime::Runtime,
    mut settled: watch::Receiver<bool>,
    stop: &StopToken,
) {
    runtime.block_on(async {
        loop {
            // The uploader says so only once the sealing thread has ended.
            tokio::select! {
                changed = settled.changed() => {
                    if changed.is_err() || (*settled.borrow_and_update()) {
                        return;
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(200)) => {
                    if stop.is_stopped() {
                        return;
                    }
                }
            }
        }
    });
}

fn stop_on_signal(
    runtime: &tokio::runtime::Runtime,
    stop: StopToken,
    to_pipeline: SyncSender<Captured>,
) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let _context = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    runtime.spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping: what is flagged is sealed first");
        stop.stop();
        // Not on this thread: the channel may be full.
        tokio::task::spawn_blocking(move || drop(to_pipeline.send(Captured::End)));
    });
    Ok(())
}

/// SIGHUP: models are loaded anew. Without anybody who listens it would end the unit.
fn reload_on_signal(runtime: &tokio::runtime::Runtime, reload: Reload) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let _context = runtime.enter();
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for signals")?;
    runtime.spawn(async move {
        while hangup.recv().await.is_some() {
            reload.ask();
        }
    });
    Ok(())
}

/// What perception would say in a simulated drive, which has no face that a network could find.
struct Scripted(Arc<Script>);

impl Perception for Scripted {
    fn observe(&mut self, frame: &Frame) -> Sight {
        let (script, zero) = (&self.0, replay::ZERO);
        let observation = match frame.camera {
            CameraId::Cabin => Observation::Driver(script.observation(frame.at, zero)),
            CameraId::Road => Observation::Road(script.road_observation(frame.at, zero)),
        };
        Sight { observation, others: Ok(Vec::new()) }
    }

    fn health(&self) -> Vec<HealthStatement> {
        vec![HealthStatement {
            part: "perception",
            state: State::Degraded,
            text: "simulated: this drive's driver and road are drawings, and its script says what is seen"
                .to_owned(),
        }]
    }
}
