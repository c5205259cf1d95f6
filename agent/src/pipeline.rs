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
    blur_tracks::Cover,
    clip::ClipPlan,
    config::CoreConfig,
    drive::{Command, Cut, Drive, Input, Lamp},
    gop_ring,
    policy::{AlertKind, PrivacyState},
};
use temoin_hw::{
    Clock, Lamp as LampDevice, Speaker,
    device::{Alert as Tone, LampState},
};
use temoin_media::{
    burn_in::Label,
    h264::{Encoder, EncoderConfig, StreamConfig},
};
use temoin_proto::{
    convert::EventRecord,
    events::EventKind,
    ids::{ClipId, CommandId, EventId},
    perception::{Observation, Sight},
    samples::{CameraId, Frame, Signal},
    time::{MonoTime, WallTime},
};

use tokio::sync::{mpsc::UnboundedSender, watch};

use crate::{
    capture::{Captured, Order},
    config::Privacy,
    eyes::{Eyes, Looked},
    health::{HealthBoard, State},
    journal::{self, Entry},
    metrics::Metrics,
    perception::DriverSeat,
    privacy_blur::{BlurConfig, CameraBlur, blurred},
    standing_orders::StandingOrders,
};

/// Work for the thread that seals and spools.
pub enum SealJob {
    /// An event was flagged: its record must be durable at once.
    Event(EventRecord),
    /// Its pictures are there.
    Clip(Box<ClipJob>),
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
    /// Parameters of each camera's stream.
    pub streams: BTreeMap<CameraId, Arc<StreamConfig>>,
    /// Whether other people were blurred in each camera's pictures.
    pub others_blurred: BTreeMap<CameraId, bool>,
    /// Monotonic and wall time of one instant, to name the clip's first frame by.
    pub now: (MonoTime, WallTime),
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
    /// Where the fleet's standing orders are kept; None: nowhere.
    pub orders: Option<PathBuf>,
    /// Device health.
    pub health: Arc<HealthBoard>,
}

/// One camera's way to the ring.
struct CameraPath {
    encoder: Encoder,
    label: Label,
}

/// The running loop.
pub struct Pipeline {
    parts: Parts,
    drive: Drive,
    /// Every camera that gave a picture to record: what waits before the encoder.
    blurs: BTreeMap<CameraId, CameraBlur>,
    cameras: BTreeMap<CameraId, CameraPath>,
    streams: BTreeMap<CameraId, Arc<StreamConfig>>,
    flagged: BTreeMap<u64, (EventId, ClipId, (MonoTime, MonoTime))>,
    speed_mps: Option<(MonoTime, f64)>,
    zero: Option<MonoTime>,
    commands: Vec<Command>,
    /// Cost and quickness.
    pub metrics: Metrics,
}

impl Pipeline {
    /// A pipeline that has seen nothing.
    pub fn new(parts: Parts) -> Self {
        Self {
            drive: Drive::new(parts.rules.clone(), parts.privacy),
            parts,
            blurs: BTreeMap::new(),
            cameras: BTreeMap::new(),
            streams: BTreeMap::new(),
            flagged: BTreeMap::new(),
            speed_mps: None,
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
            let item = match self.wait_limit() {
                None => from.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(limit) => from.recv_timeout(limit),
            };
            match item {
                Ok(Captured::End) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(item) => self.take(item),
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.parts.clock.now();
                    self.record_due(now);
                    self.drive.tick(now, &mut self.commands);
                }
            }
            self.collect();
            self.carry_out();
        }
        self.end();
    }

    fn wait_limit(&self) -> Option<Duration> {
        let waiting = self.blurs.values().filter_map(CameraBlur::deadline);
        let deadline = self.drive.next_deadline().into_iter().chain(waiting).min()?;
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
                self.step(Input::Signal(signal));
            }
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
                let shown = self.parts.lamp.show(LampState::Fault);
                let said = self.parts.speaker.play(Tone::Saved);
                let back = self.parts.lamp.show(lamp_state(self.drive.privacy()));
                shown.and(said).and(back).map_err(|e| e.to_string())
            }
            Order::Record(on) => {
                if self.drive.privacy() == PrivacyState::Off {
                    return Err("the unit is switched off by its own configuration".to_owned());
                }
                let state =
                    if on { PrivacyState::Recording } else { PrivacyState::AiWithoutRecording };
                self.keep_order(|orders| orders.record = Some(on))?;
                self.flush_encoders();
                self.blurs.values_mut().for_each(CameraBlur::wipe);
                self.step(Input::Privacy(state));
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
        if self.drive.privacy() == PrivacyState::Off {
            return;
        }
        self.metrics.frame(frame.at);
        self.look(&frame, taken);
        if self.drive.privacy() == PrivacyState::Recording {
            let (camera, at) = (frame.camera, frame.at);
            let blur = self.blur_of(camera);
            blur.push(frame);
            self.record_due(MonoTime::ZERO);
            let health = Arc::clone(&self.parts.health);
            self.blur_of(camera).report(at, &health);
        }
    }

    fn blur_of(&mut self, camera: CameraId) -> &mut CameraBlur {
        let Parts { blur, seat, .. } = &self.parts;
        self.blurs.entry(camera).or_insert_with(|| CameraBlur::new(blur, camera, *seat))
    }

    /// Encodes the pictures that need not wait any longer.
    fn record_due(&mut self, now: MonoTime) {
        for camera in CameraId::ALL {
            while let Some(next) = self.blurs.get_mut(&camera).and_then(|blur| blur.next(now)) {
                self.record(next);
            }
        }
    }

    fn record(&mut self, (frame, cover): (Frame, Option<Cover>)) {
        let (camera, at) = (frame.camera, frame.at);
        if let Err(e) = self.encode(frame, cover.as_ref()) {
            self.cameras.remove(&camera);
            self.encoder_failed(camera, format!("picture at {at}: {e}"));
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
            self.blur_of(sight.camera()).look(&sight);
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
            self.record_due(MonoTime::ZERO);
        }
    }

    fn encode(
        &mut self,
        frame: Frame,
        cover: Option<&Cover>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let (camera, at) = (frame.camera, frame.at);
        let text = self.label_text(at);
        let path = match self.cameras.entry(camera) {
            std::collections::btree_map::Entry::Occupied(e) => e.into_mut(),
            std::collections::btree_map::Entry::Vacant(e) => {
                let encoder = Encoder::new(EncoderConfig {
                    width: frame.width,
                    height: frame.height,
                    ..self.parts.encoder.clone()
                })?;
                e.insert(CameraPath { encoder, label: Label::default() })
            }
        };
        let mut picture = blurred(frame, cover)?;
        path.label.draw(&mut picture, &text)?;
        path.encoder.push(picture, at)?;
        Ok(())
    }

    /// Unit, UTC and speed; an unknown speed is said to be unknown.
    fn label_text(&self, at: MonoTime) -> String {
        let wall = wall_at(at, (self.parts.clock.now(), self.parts.clock.wall()));
        let time = wall.to_rfc3339();
        let time = time.get(..21).unwrap_or(&time);
        let speed = match self.speed_mps {
            Some((then, mps)) if at.since(then) < Duration::from_secs(2) => {
                format!("{:.0} km/h", mps * 3.6)
            }
            _ => "speed unknown".to_owned(),
        };
        format!("{}  {time}Z  {speed}", self.parts.label)
    }

    /// Moves what the encoders finished into the ring.
    fn collect(&mut self) {
        let cameras: Vec<CameraId> = self.cameras.keys().copied().collect();
        for camera in cameras {
            while let Some(path) = self.cameras.get_mut(&camera) {
                let unit = match path.encoder.try_next() {
                    Ok(Some(unit)) => unit,
                    Ok(None) => break,
                    Err(e) => {
                        self.encoder_failed(camera, e.to_string());
                        self.cameras.remove(&camera);
                        break;
                    }
                };
                if let Some(stream) = path.encoder.stream() {
                    self.streams.entry(camera).or_insert_with(|| Arc::clone(stream));
                }
                self.ring(camera, unit);
            }
        }
    }

    fn encoder_failed(&self, camera: CameraId, text: String) {
        let part = format!("encoder.{}", camera.as_str());
        self.parts.health.set(&part, State::Failed, text);
    }

    fn ring(&mut self, camera: CameraId, unit: temoin_media::h264::AccessUnit) {
        self.step(Input::AccessUnit(gop_ring::AccessUnit {
            camera,
            at: unit.at,
            key: unit.key,
            data: unit.data,
        }));
    }

    /// What waits before the encoders and in them goes into the ring.
    fn flush_encoders(&mut self) {
        for camera in CameraId::ALL {
            while let Some(next) = self.blurs.get_mut(&camera).and_then(CameraBlur::take) {
                self.record(next);
            }
        }
        for (camera, path) in std::mem::take(&mut self.cameras) {
            if let Some(stream) = path.encoder.stream() {
                self.streams.entry(camera).or_insert_with(|| Arc::clone(stream));
            }
            match path.encoder.finish() {
                Ok(rest) => {
                    for unit in rest {
                        self.ring(camera, unit);
                    }
                }
                Err(e) => self.encoder_failed(camera, e.to_string()),
            }
        }
    }

    fn end(&mut self) {
        self.flush_encoders();
        self.step(Input::End);
        self.carry_out();
        let at = self.parts.clock.now();
        journal::write(&Entry::Ended { at: self.since_zero(at) });
    }

    fn since_zero(&self, at: MonoTime) -> MonoTime {
        MonoTime::ZERO + at.since(self.zero.unwrap_or_default())
    }

    fn carry_out(&mut self) {
        for command in std::mem::take(&mut self.commands) {
            match command {
                Command::Alert(alert) => {
                    self.metrics.alert();
                    let (tone, kind) = tone(alert.kind);
                    if let Err(e) = self.parts.speaker.play(tone) {
                        self.parts.health.set("speaker", State::Failed, e.to_string());
                    }
                    journal::write(&Entry::Alert { kind, at: self.since_zero(alert.at) });
                }
                Command::Flag { local, event, clip } => self.flag(local, &event, clip),
                Command::Cut(cut) => self.cut(cut),
                Command::Lamp(lamp) => {
                    let (state, privacy) = match lamp {
                        Lamp::Off => (LampState::Off, Privacy::Off),
                        Lamp::AlertsOnly => (LampState::AlertsOnly, Privacy::AiWithoutRecording),
                        Lamp::Recording => (LampState::Recording, Privacy::Recording),
                    };
                    self.parts.privacy_told.send_replace(privacy.as_str());
                    if let Err(e) = self.parts.lamp.show(state) {
                        self.parts.health.set("lamp", State::Failed, e.to_string());
                    }
                }
                Command::Health(health) => crate::core_health::report(&self.parts.health, health),
            }
        }
    }

    fn flag(&mut self, local: u64, event: &temoin_proto::events::Event, plan: ClipPlan) {
        let id = EventId::new();
        let clip = match plan {
            ClipPlan::Own(_) => None,
            ClipPlan::Shared { with, .. } => self.flagged.get(&with).map(|(_, clip, _)| *clip),
        }
        .unwrap_or_default();
        self.flagged.insert(local, (id, clip, (event.start, event.end)));
        if event.kind == EventKind::DriverSaved
            && let Err(e) = self.parts.speaker.play(Tone::Saved)
        {
            self.parts.health.set("speaker", State::Failed, e.to_string());
        }
        let now = (self.parts.clock.now(), self.parts.clock.wall());
        let start = wall_at(event.start, now);
        let record = EventRecord {
            id,
            kind: event.kind,
            start,
            end_unix_ms: wall_at(event.end, now).unix_ms.max(start.unix_ms),
            severity: event.severity,
            confidence: event.confidence.clamp(0.0, 1.0),
            rule: event.rule.to_owned(),
            numbers: event.numbers.clone(),
            clip: Ok(clip),
        };
        let (start, end) = (self.since_zero(event.start), self.since_zero(event.end));
        journal::write(&Entry::Event { record: &record, start, end });
        self.send(SealJob::Event(record));
    }

    fn cut(&mut self, cut: Cut) {
        for shared in &cut.shared_by {
            self.flagged.remove(shared);
        }
        let Some((event, clip, event_span)) = self.flagged.remove(&cut.local) else { return };
        self.send(SealJob::Clip(Box::new(ClipJob {
            clip,
            event,
            event_span,
            cut,
            streams: self.streams.clone(),
            others_blurred: CameraId::ALL.map(|c| (c, self.parts.blur.is_on(c))).into(),
            now: (self.parts.clock.now(), self.parts.clock.wall()),
        })));
    }

    fn send(&self, job: SealJob) {
        if self.parts.seal.send(job).is_err() {
            self.parts.health.set(
                "spool",
                State::Failed,
                "the sealing thread ended: restart the unit",
            );
        }
    }
}

/// The wall time of `at`, given both clocks at one instant. Times after that instant count as it.
pub fn wall_at(at: MonoTime, (mono, wall): (MonoTime, WallTime)) -> WallTime {
    let before_ms = i64::try_from(mono.since(at).as_millis()).unwrap_or(i64::MAX);
    WallTime { unix_ms: wall.unix_ms.saturating_sub(before_ms), ..wall }
}

const fn lamp_state(privacy: PrivacyState) -> LampState {
    match privacy {
        PrivacyState::Off => LampState::Off,
        PrivacyState::AiWithoutRecording => LampState::AlertsOnly,
        PrivacyState::Recording => LampState::Recording,
    }
}

const fn tone(kind: AlertKind) -> (Tone, &'static str) {
    match kind {
        AlertKind::Distraction => (Tone::Distraction, "distraction"),
        AlertKind::RepeatedDistraction => (Tone::Distraction, "repeated_distraction"),
        AlertKind::Phone => (Tone::Distraction, "phone_in_hand"),
        AlertKind::Speeding => (Tone::Speeding, "speeding"),
        AlertKind::Drowsiness => (Tone::EyesClosed, "drowsiness"),
        AlertKind::Microsleep => (Tone::EyesClosed, "microsleep"),
        AlertKind::Sleep => (Tone::EyesClosed, "sleep"),
        AlertKind::Unresponsive => (Tone::EyesClosed, "unresponsive"),
    }
}
