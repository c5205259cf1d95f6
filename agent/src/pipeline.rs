//! The unit's loop: captured items in, decisions and encoded pictures through the core, jobs for
//! the sealing thread out.
//!
//! One thread owns the core. Encoding runs in the encoder's own threads; perception runs in one of
//! its own on a live unit, and in the loop itself in a replay at full speed, so that such a replay
//! gives the same events every time.
//!
//! INVARIANT: pictures are in this loop, the encoders and the core's ring, all in RAM. The only
//! way out is a [`SealJob`], for an event that the policy flagged.
//! INVARIANT: outside of recording no picture reaches an encoder, and none reaches one without the
//! blur of others that is configured ([`crate::privacy_blur`]).

mod commands;
mod review;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use temoin_agent_core::{
    config::CoreConfig,
    drive::{Command, Cut, Drive, Input},
    gop_ring::{self, Video},
    heat::Heat,
    motion::mount::LearnedMount,
    policy::PrivacyState,
    power::Power,
    recording::{Allowed, Recording, Why},
};
use temoin_hw::{
    Clock, Lamp as LampDevice, Speaker,
    device::{Alert as Tone, LampState},
    thermal::Hottest,
};
use temoin_media::h264::{EncoderConfig, StreamConfig};
use temoin_proto::{
    convert::EventRecord,
    ids::{ClipId, CommandId, EventId},
    mark::MarkKey,
    perception::{Observation, Sight},
    samples::{CameraId, Frame, Signal},
    time::{MonoTime, WallTime},
};

use tokio::sync::{mpsc::UnboundedSender, watch};

use crate::{
    camera_stats::CameraStats,
    capture::{Captured, Order},
    eyes::{Eyes, Looked},
    health::{HealthBoard, State},
    journal::{self, Entry},
    limit_watch::LimitWatch,
    machine::{Backlog, PowerSwitch},
    metrics::Metrics,
    mount_file,
    odometer::Driven,
    outlines::Outlines,
    perception::DriverSeat,
    privacy_blur::BlurConfig,
    recorder::{Caption, Recorder, RecorderConfig},
    standing_orders::StandingOrders,
    trusted_time::TrustedTime,
    under_way::UnderWay,
    watchdog::Rounds,
};

/// How far the unit drives until it says so, m: far less than a heartbeat's way.
const TOLD_EVERY_M: f64 = 10.0;
/// How long a round of the loop takes at most. A watchdog waits for seconds.
const IDLE: Duration = Duration::from_secs(1);

/// Work for the thread that seals and spools.
pub enum SealJob {
    /// An event was flagged: its record must be durable at once.
    Event(EventRecord),
    /// Its pictures are there.
    Clip(Box<ClipJob>),
    /// Some of them are, and the unit may be off before the rest. Another one of the same clip replaces it.
    SoFar(Box<ClipJob>),
}

/// A clip to seal.
pub struct ClipJob {
    /// The clip's id, as its event's record has it.
    pub clip: ClipId,
    /// The event that it was ordered for.
    pub event: EventId,
    /// That event's begin and end.
    pub event_span: (MonoTime, MonoTime),
    /// Pictures and signals.
    pub cut: Cut,
    /// Parameters of each video's stream.
    pub streams: BTreeMap<Video, Arc<StreamConfig>>,
    /// Whether other people were blurred in each video's pictures.
    pub others_blurred: BTreeMap<Video, bool>,
    /// The key of the unit's mark in them.
    pub mark: MarkKey,
    /// What the pictures of each camera look like in outline.
    pub outlines: Outlines,
    /// Monotonic and wall time of one instant, to name the clip's first frame by.
    pub now: (MonoTime, WallTime),
    /// When it was cut.
    pub cut_at: Instant,
}

/// A result for the fleet: an order was carried out, or why not.
pub type OrderResult = (CommandId, Result<(), String>);

/// What the pipeline is made of.
pub struct Parts {
    /// Thresholds and rules.
    pub rules: CoreConfig,
    /// Whether anything is recorded, at first.
    pub privacy: PrivacyState,
    /// How each camera's pictures are encoded.
    pub encoder: EncoderConfig,
    /// What is burnt in beside time and speed: the unit's name.
    pub label: String,
    /// The key of the unit's own forensic mark, of this run.
    pub mark: MarkKey,
    /// Perception of each camera that is looked at.
    pub eyes: BTreeMap<CameraId, Eyes>,
    /// What of other people is blurred before encoding.
    pub blur: BlurConfig,
    /// Where in the cabin picture the driver sits.
    pub seat: DriverSeat,
    /// Monotonic and wall time.
    pub clock: Arc<dyn Clock>,
    /// The tell-tale lamp.
    pub lamp: Box<dyn LampDevice>,
    /// The speaker in the cab.
    pub speaker: Box<dyn Speaker>,
    /// The sealing thread.
    pub seal: Sender<SealJob>,
    /// Results of the fleet's orders.
    pub results: UnboundedSender<OrderResult>,
    /// The privacy state, for heartbeats.
    pub privacy_told: watch::Sender<&'static str>,
    /// How far this run drove, for heartbeats.
    pub driven_told: watch::Sender<Driven>,
    /// Since when the vehicle moves, ms since 1970; none while it stands.
    pub under_way_told: watch::Sender<Option<i64>>,
    /// Where the fleet's standing orders are kept; None: nowhere.
    pub orders: Option<PathBuf>,
    /// How the unit sat when it was last switched off.
    pub mount: Option<LearnedMount>,
    /// Where that is kept; None: nowhere.
    pub mount_file: Option<PathBuf>,
    /// Speed limits by the map.
    pub limits: Option<LimitWatch>,
    /// Device health.
    pub health: Arc<HealthBoard>,
    /// Each round of the loop is counted here.
    pub rounds: Rounds,
    /// What the sealing thread has not done yet.
    pub backlog: Backlog,
    /// Whether anything here waits to be sealed or uploaded.
    pub waits: Box<dyn Fn() -> bool + Send>,
    /// How the machine is switched off; None: not by the unit.
    pub power_off: Option<PowerSwitch>,
    /// What the unit's own receiver says of the time goes here; None: its fixes are recorded ones.
    pub time: Option<Arc<TrustedTime>>,
}

/// A flagged event, the clip that it gets, its begin and end.
type Flagged = (EventId, ClipId, (MonoTime, MonoTime));

/// The running loop.
pub struct Pipeline {
    parts: Parts,
    drive: Drive,
    recorder: Recorder,
    stats: CameraStats,
    flagged: BTreeMap<u64, Flagged>,
    speed_mps: Option<(MonoTime, f64)>,
    under_way: UnderWay,
    recording: Recording,
    /// What may run, as it was carried out.
    allowed: Allowed,
    power: Power,
    heat: Heat,
    hottest: Option<Hottest>,
    /// After a crash: when what there is of its clip is kept again.
    keep_once_more: Option<MonoTime>,
    /// What the lamp shows where nothing is wrong.
    lamp: LampState,
    /// When the last picture came, of any camera.
    pictured_at: MonoTime,
    /// None came for long.
    blind: bool,
    zero: Option<MonoTime>,
    commands: Vec<Command>,
    /// Cost and quickness.
    pub metrics: Metrics,
}

impl Pipeline {
    /// A pipeline that has seen nothing.
    pub fn new(parts: Parts) -> Self {
        let config = RecorderConfig {
            encoder: parts.encoder.clone(),
            blur: parts.blur.clone(),
            seat: parts.seat,
            label: parts.label.clone(),
            mark: parts.mark.clone(),
        };
        let recorder = Recorder::new(config, Arc::clone(&parts.health));
        let rules = &parts.rules;
        let (state, why) = (parts.privacy, Why::AsConfigured);
        let allowed = Allowed { state, cabin_hidden: false, why };
        parts.health.set("recording", State::Ok, review::said(allowed));
        Self {
            recording: Recording::new(rules.recording.clone(), parts.privacy),
            allowed,
            power: Power::new(rules.power.clone()),
            heat: Heat::new(rules.heat.clone()),
            hottest: None,
            keep_once_more: None,
            lamp: LampState::Off,
            pictured_at: parts.clock.now(),
            blind: false,
            drive: Drive::with_mount(parts.rules.clone(), parts.privacy, parts.mount),
            parts,
            recorder,
            stats: CameraStats::default(),
            flagged: BTreeMap::new(),
            speed_mps: None,
            under_way: UnderWay::default(),
            zero: None,
            commands: Vec::new(),
            metrics: Metrics::default(),
        }
    }

    /// Runs until the input ends, then cuts what is open. `zero` is the time that the journal
    /// counts from.
    pub fn run(&mut self, from: &Receiver<Captured>, zero: MonoTime) {
        self.zero = Some(zero);
        loop {
            self.parts.rounds.count();
            let limit = self.wait_limit();
            match from.recv_timeout(limit.map_or(IDLE, |limit| limit.min(IDLE))) {
                Ok(Captured::End) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(item) => self.take(item),
                // Nothing is due yet: only the round counts.
                Err(RecvTimeoutError::Timeout) if limit.is_none_or(|limit| limit > IDLE) => {}
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.parts.clock.now();
                    self.encode_due(now);
                    self.drive.tick(now, &mut self.commands);
                }
            }
            self.settle();
        }
        self.end();
    }

    /// What came of the last item: coded pictures into the ring, commands to the edges.
    fn settle(&mut self) {
        let units = self.recorder.collect(Duration::ZERO);
        self.ring(units);
        self.review();
        self.carry_out();
        self.tell_driven(TOLD_EVERY_M);
    }

    /// Tells how far the unit drove, where that is so much further than was told before.
    fn tell_driven(&self, further_m: f64) {
        let driven_m = self.drive.driven_m();
        if driven_m - self.parts.driven_told.borrow().driven_m >= further_m {
            let at_ms = self.parts.clock.wall().unix_ms;
            self.parts.driven_told.send_replace(Driven { at_ms, driven_m });
        }
    }

    /// Tells whether the vehicle moves, where that changed.
    fn tell_under_way(&mut self, at: MonoTime) {
        let moves = self.under_way.step(at, self.drive.speed_mps(at));
        if moves != self.parts.under_way_told.borrow().is_some() {
            let now_ms = self.parts.clock.wall().unix_ms;
            self.parts.under_way_told.send_replace(moves.then_some(now_ms));
        }
    }

    fn wait_limit(&self) -> Option<Duration> {
        // A standstill that was carried out is due no more.
        let standstill =
            self.recording.deadline().filter(|_| self.allowed.state == PrivacyState::Recording);
        let deadlines = [self.drive.next_deadline(), self.recorder.deadline(), standstill];
        let deadline = deadlines.into_iter().flatten().min()?;
        // A replay's clock stands still between two items, so this must not spin.
        Some(deadline.since(self.parts.clock.now()).max(Duration::from_millis(20)))
    }

    fn take(&mut self, item: Captured) {
        match item {
            Captured::Frame(frame, taken) => self.on_frame(frame, taken),
            Captured::Signal(signal) => {
                if let Signal::Speed(s) = &signal {
                    self.speed_mps = Some((s.at, s.mps));
                } else if let Signal::Gnss(fix) = &signal
                    && let Some(mps) = fix.speed_mps
                    && self.speed_mps.is_none_or(|(at, _)| fix.at.since(at).as_secs() >= 1)
                {
                    self.speed_mps = Some((fix.at, mps));
                }
                self.on_limit(&signal);
                self.tell_under_way(signal.at());
                if let Signal::Gnss(fix) = &signal {
                    self.recording.fix(fix);
                    if let Some(time) = &self.parts.time {
                        time.heard(fix);
                    }
                }
                let at = signal.at();
                self.step(Input::Signal(signal));
                self.recording.speed(at, self.drive.speed_mps(at));
            }
            Captured::Machine(news) => self.on_machine(news),
            Captured::Observed(sight, taken) => self.on_sight(sight, taken),
            Captured::Order(id, order) => {
                let result = self.obey(order);
                // The uploader may have ended: then nobody waits for the result.
                drop(self.parts.results.send((id, result)));
            }
            Captured::End => {}
        }
    }

    fn step(&mut self, input: Input) {
        self.drive.step(self.parts.clock.now(), input, &mut self.commands);
    }

    fn obey(&mut self, order: Order) -> Result<(), String> {
        match order {
            Order::Identify => {
                journal::write(&Entry::Identify { unit: &self.parts.label });
                let shown = self.parts.lamp.identify();
                let said = self.parts.speaker.play(Tone::Saved);
                shown.and(said).map_err(|e| e.to_string())
            }
            Order::Record(on) => {
                if self.recording.base() == PrivacyState::Off {
                    return Err("the unit is switched off by its own configuration".to_owned());
                }
                let state =
                    if on { PrivacyState::Recording } else { PrivacyState::AiWithoutRecording };
                self.keep_order(|orders| orders.record = Some(on))?;
                self.recording.ordered(state);
                self.review();
                Ok(())
            }
            Order::SpeedLimit(limit) => {
                let mut rules = self.parts.rules.clone();
                rules.vehicle.speed_limit_kmh = limit;
                if let Some(mistake) = rules.validate().first() {
                    return Err(mistake.to_string());
                }
                self.keep_order(|orders| {
                    orders.limit_ordered = true;
                    orders.limit_kmh = limit;
                })?;
                self.drive.set_speed_limit(limit);
                self.parts.rules = rules;
                Ok(())
            }
        }
    }

    /// Makes an order durable before it counts as carried out.
    fn keep_order(&self, change: impl FnOnce(&mut StandingOrders)) -> Result<(), String> {
        let Some(path) = &self.parts.orders else { return Ok(()) };
        let kept = StandingOrders::load(path).and_then(|mut orders| {
            change(&mut orders);
            orders.store(path)
        });
        kept.map_err(|e| e.to_string())
    }

    fn on_frame(&mut self, frame: Frame, taken: Instant) {
        self.pictured_at = self.pictured_at.max(self.parts.clock.now());
        if self.drive.privacy() == PrivacyState::Off {
            return;
        }
        self.metrics.frame(frame.at);
        self.heat.waited(self.parts.clock.now(), taken.elapsed());
        self.look(&frame, taken);
        if let Some(stats) = self.stats.take(&frame) {
            self.step(Input::Camera(stats));
        }
        if self.drive.privacy() == PrivacyState::Recording {
            self.recorder.push(frame);
            self.encode_due(MonoTime::ZERO);
        }
    }

    fn look(&mut self, frame: &Frame, taken: Instant) {
        let Some(eyes) = self.parts.eyes.get_mut(&frame.camera) else { return };
        match eyes.look(frame, taken) {
            Looked::NotDue | Looked::Later => {}
            Looked::Seen(sight) => self.on_sight(sight, taken),
            Looked::Skipped => self.metrics.skipped(),
            Looked::Gone => self.parts.health.set(
                "perception",
                State::Failed,
                "perception ended: restart the unit",
            ),
        }
    }

    fn on_sight(&mut self, sight: Sight, taken: Instant) {
        let recording = self.drive.privacy() == PrivacyState::Recording;
        if recording {
            self.recorder.look(&sight);
        }
        match sight.observation {
            Observation::Driver(seen) => {
                self.step(Input::Driver(seen));
                self.metrics.decided(taken.elapsed());
            }
            Observation::Road(seen) => self.step(Input::Road(seen)),
        }
        // After the decision: an alert does not wait for the encoder.
        if recording {
            self.encode_due(MonoTime::ZERO);
        }
    }

    fn caption(&self) -> Caption {
        let now = (self.parts.clock.now(), self.parts.clock.wall());
        let recording =
            if self.allowed.cabin_hidden { "recording, cabin hidden" } else { "recording" };
        Caption { now, speed_mps: self.speed_mps, recording }
    }

    /// Encodes what need not wait any longer.
    fn encode_due(&mut self, now: MonoTime) {
        let caption = self.caption();
        self.recorder.encode_due(now, &caption);
    }

    fn ring(&mut self, units: Vec<gop_ring::AccessUnit>) {
        for unit in units {
            self.step(Input::AccessUnit(unit));
        }
    }

    /// What waits before the encoders and in them goes into the ring.
    fn flush(&mut self) {
        let units = self.recorder.flush(&self.caption());
        self.ring(units);
    }

    fn end(&mut self) {
        self.flush();
        self.step(Input::End);
        self.carry_out();
        self.tell_driven(0.0);
        self.keep_mount();
        let at = self.parts.clock.now();
        journal::write(&Entry::Ended { at: self.since_zero(at) });
    }

    /// Asks the map for the limit where the vehicle is, and for the next stop line.
    fn on_limit(&mut self, signal: &Signal) {
        if self.drive.privacy() == PrivacyState::Off {
            return;
        }
        let speed_mps = self.drive.speed_mps(signal.at());
        let Some(limits) = self.parts.limits.as_mut() else { return };
        let news = limits.on_signal(signal, speed_mps);
        if let Some(limit) = news.limit {
            self.drive.set_map_limit(limit);
        }
        if let Some(line) = news.stop_line {
            self.step(Input::StopLine(line.at, line.line_m));
        }
    }

    /// Keeps how the unit sits for the next start. Where that fails it is learned again.
    fn keep_mount(&self) {
        let (Some(path), Some(mount)) = (&self.parts.mount_file, self.drive.learned_mount()) else {
            return;
        };
        if let Err(e) = mount_file::store(path, &mount) {
            tracing::warn!(error = %e, "how the unit sits is not kept for the next start");
        }
    }

    fn since_zero(&self, at: MonoTime) -> MonoTime {
        MonoTime::ZERO + at.since(self.zero.unwrap_or_default())
    }
}

/// The wall time of `at`, given both clocks at one instant. Times after that instant count as it.
pub fn wall_at(at: MonoTime, (mono, wall): (MonoTime, WallTime)) -> WallTime {
    let before_ms = i64::try_from(mono.since(at).as_millis()).unwrap_or(i64::MAX);
    WallTime { unix_ms: wall.unix_ms.saturating_sub(before_ms), ..wall }
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
