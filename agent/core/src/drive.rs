//! The composition: inputs of one run in, commands to the edges out.
//!
//! ```text
//! Signal, DriverObservation → guards → vehicle state, driver watch → detectors → policy ─┬→ Alert
//! AccessUnit ─────────────────────────────────→ ring ┐                                 └→ Flag
//! Button ────────────────────────────────────────────┴→ clip orders ──────────────────→ Cut
//! ```
//!
//! `Flag` comes at the moment of decision, so that the edge writes a durable event record at
//! once, with the id of the clip that is to come; `Cut` follows with the pictures. Ids are the
//! edge's; here events have run-local numbers. Darkness may follow a crash: [`Drive::so_far`] is what
//! there is of the clips that wait.
//!
//! INVARIANT: every `Flag` with [`ClipPlan::Own`] is followed by exactly one `Cut` of the same
//! number, at the latest when the drive ends, the privacy state changes or the supply fails.
//! INVARIANT: outside of [`PrivacyState::Recording`] no picture and no signal is kept, and every
//! change of the privacy state wipes what was kept and what the detectors remember and learned of
//! the driver, and so does every new driver; events flagged before keep what was recorded until then.
//! A crash leaves nothing: this is RAM only. What was flagged is the edge's record.

use std::sync::Arc;

use temoin_proto::{
    events::Event,
    perception::{DriverObservation, RoadObservation},
    picture_stats::PictureStats,
    samples::{CameraId, GnssFix, ImuSample, Signal, VehicleSpeed},
    time::MonoTime,
};

use crate::{
    calibration::Calibrated,
    camera_health::{CameraFault, CameraWatch},
    clip::{ClipOrder, ClipOrders, ClipPlan, ClipWindow, CutReason},
    config::{CoreConfig, secs},
    driver::{DriverState, DriverWatch},
    gop_ring::{AccessUnit, Gop, GopRing, RingLimits, RingMetrics, Tail, Video},
    headway::{RoadState, headway},
    limits::{LimitSource, LimitState},
    motion::mount::{LearnedMount, MountChange},
    policy::{Alert, Finding, Policy, PrivacyState},
    signal_history::{ClipSignals, FacePoint, SignalHistory},
    speeding::SpeedLimit,
    timebase::{Admission, GNSS_DOUBTFUL_AFTER, Source, SourceGuard, Timing},
    vehicle_state::VehicleState,
    vehicle_watch::VehicleWatch,
};

/// What comes in. Samples of one source come in order; sources need not be in step.
#[derive(Clone, Debug)]
pub enum Input {
    /// A sample of a sensor.
    Signal(Signal),
    /// What perception says of a cabin picture.
    Driver(DriverObservation),
    /// What perception says of a road picture.
    Road(RoadObservation),
    /// A few numbers of a camera's picture, about two times a second.
    Camera(PictureStats),
    /// The way from a fix to the next stop line that the map knows, metres along the road, negative
    /// just behind it; none where there is none near or the road is not sure.
    StopLine(MonoTime, Option<f64>),
    /// An encoded picture.
    AccessUnit(AccessUnit),
    /// The driver's or the fleet's choice changed.
    Privacy(PrivacyState),
    /// Somebody else may drive now: a shift began or ended.
    NewDriver,
    /// The unit may be off in a moment: clips that wait for their end are cut now.
    SupplyFails,
    /// Nothing more will come.
    End,
}

/// One video's part of a clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutTrack {
    /// Which video.
    pub video: Video,
    /// Whole GOPs; no byte was copied. Empty where the ring had none.
    pub gops: Vec<Arc<Gop>>,
}

/// A clip's contents.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// The event whose clip it is.
    pub local: u64,
    /// Events that share it.
    pub shared_by: Vec<u64>,
    /// What was ordered. GOPs reach a little further on both sides.
    pub window: ClipWindow,
    /// Why now.
    pub reason: CutReason,
    /// One for each video of which anything came.
    pub tracks: Vec<CutTrack>,
    /// Signals in the window.
    pub signals: ClipSignals,
}

/// What the lamp shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lamp {
    /// Nothing runs.
    Off,
    /// Alerts only.
    AlertsOnly,
    /// Recording.
    Recording,
}

/// For device health; never said to the driver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Health {
    /// A source fell silent.
    Silent(Source),
    /// A source is back.
    Back(Source),
    /// Something was learned of the driver, or could not be.
    Calibration(Calibrated),
    /// How the unit sits is known now, or not any more.
    Mount(MountChange),
    /// A camera has this fault; None: it has none any more.
    Camera {
        /// Which camera.
        camera: CameraId,
        /// The gravest fault.
        fault: Option<CameraFault>,
    },
    /// A clip has no picture at all.
    ClipEmpty {
        /// The event whose clip it is.
        local: u64,
    },
}

/// What the edges do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Say it in the cab.
    Alert(Alert),
    /// Write the event's record durably, now.
    Flag {
        /// Its run-local number, from 0 without gaps.
        local: u64,
        /// The event.
        event: Event,
        /// The clip it will get.
        clip: ClipPlan,
    },
    /// Seal this and put it into the spool.
    Cut(Cut),
    /// Show this.
    Lamp(Lamp),
    /// Report this.
    Health(Health),
}

/// See the module.
#[derive(Debug)]
pub struct Drive {
    config: CoreConfig,
    now: MonoTime,
    privacy: PrivacyState,
    announced: bool,
    ended: bool,
    next_local: u64,
    guards: [(Source, SourceGuard); 5],
    /// How far the signals have come: a replay's queue holds more than was taken by now.
    reached: MonoTime,
    cameras: [(CameraId, CameraWatch); 2],
    vehicle: VehicleState,
    detectors: Detectors,
    road: Option<RoadState>,
    map_limit: Option<LimitState>,
    ring: GopRing,
    history: SignalHistory,
    orders: ClipOrders,
}

/// What remembers the driver's conduct.
#[derive(Debug)]
struct Detectors {
    vehicle: VehicleWatch,
    driver: DriverWatch,
    policy: Policy,
}

impl Detectors {
    fn new(config: &CoreConfig, privacy: PrivacyState, map: Option<LimitState>) -> Self {
        Self {
            vehicle: VehicleWatch::new(config, limit_in_force(config, map)),
            driver: DriverWatch::new(config),
            policy: Policy::new(config.policy.clone(), privacy),
        }
    }
}

impl Drive {
    /// A run that begins in a privacy state, of a unit of which nothing was learned. The configuration
    /// must have been validated.
    pub fn new(config: CoreConfig, privacy: PrivacyState) -> Self {
        Self::with_mount(config, privacy, None)
    }

    /// The same of a unit that knows how it sat when it was last switched off.
    pub fn with_mount(
        config: CoreConfig,
        privacy: PrivacyState,
        learned: Option<LearnedMount>,
    ) -> Self {
        let span = secs(config.ring.span_s);
        Self {
            now: MonoTime::ZERO,
            privacy,
            announced: false,
            ended: false,
            next_local: 0,
            guards: guards(&config),
            reached: MonoTime::ZERO,
            cameras: cameras(&config),
            vehicle: VehicleState::new(&config, learned),
            detectors: Detectors::new(&config, privacy, None),
            road: None,
            map_limit: None,
            ring: GopRing::new(RingLimits { span, camera_bytes: config.ring.camera_bytes }),
            history: SignalHistory::new(span),
            orders: ClipOrders::new(config.clip.clone()),
            config,
        }
    }

    /// Takes one input. `now` is the time at which it is taken, not before its own time by more
    /// than the tolerance; a `now` that goes backwards counts as the last one. Inputs after
    /// [`Input::End`] are ignored.
    pub fn step(&mut self, now: MonoTime, input: Input, out: &mut Vec<Command>) {
        if self.ended {
            return;
        }
        self.advance(now, out);
        self.reach(&input, out);
        match input {
            Input::Signal(signal) => self.on_signal(signal, out),
            Input::Driver(observation) => self.on_driver(observation, out),
            Input::Road(observation) => self.on_road(observation, out),
            Input::Camera(stats) => self.on_camera(&stats, out),
            Input::StopLine(at, line_m) => self.on_stop_line(at, line_m),
            Input::AccessUnit(unit) => self.on_access_unit(unit),
            Input::Privacy(privacy) => self.on_privacy(privacy, out),
            Input::NewDriver => self.wipe(CutReason::DriverChanged, out),
            Input::SupplyFails => self.cut_all(CutReason::SupplyFails, out),
            Input::End => {
                self.conclude(out);
                self.cut_all(CutReason::DriveEnded, out);
                self.ring.clear();
                self.history.clear();
                self.ended = true;
            }
        }
        self.cut_due(out);
    }

    /// When [`Self::tick`] must be called if nothing comes before.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let silence = self.guards.iter().filter_map(|(_, guard)| guard.deadline()).min();
        let cameras = self.cameras.iter().filter_map(|(_, watch)| watch.deadline()).min();
        let waits = self.detectors.vehicle.deadline();
        let deadline =
            [self.orders.deadline(), silence, cameras, waits].into_iter().flatten().min();
        deadline.filter(|_| !self.ended)
    }

    /// Time passed and nothing came.
    pub fn tick(&mut self, now: MonoTime, out: &mut Vec<Command>) {
        if !self.ended {
            self.advance(now, out);
            self.look(self.now, out);
            self.cut_due(out);
        }
    }

    /// The fleet set another speed limit; None: that of the map, where there is one.
    pub fn set_speed_limit(&mut self, limit_kmh: Option<f64>) {
        self.config.vehicle.speed_limit_kmh = limit_kmh;
        self.detectors.vehicle.set_limit(limit_in_force(&self.config, self.map_limit));
    }

    /// The map's limit where the vehicle is; to be called where it changes. One that the fleet set or
    /// configured goes before it.
    pub fn set_map_limit(&mut self, limit: LimitState) {
        self.map_limit = Some(limit);
        if self.config.vehicle.speed_limit_kmh.is_none() {
            self.detectors.vehicle.set_limit(limit_in_force(&self.config, self.map_limit));
        }
    }

    /// The speed at `at`, metres a second, where it is known.
    pub fn speed_mps(&self, at: MonoTime) -> Option<f64> {
        self.vehicle.speed(at).map(|s| s.mps)
    }

    /// What there is of the clips that wait, oldest first. Each is cut whole later.
    pub fn so_far(&self) -> impl Iterator<Item = Cut> {
        self.orders.open().iter().map(|order| self.cut_of(order.clone(), CutReason::SoFar))
    }

    /// How the unit sits, as far as it is known: to be kept for the next start.
    pub fn learned_mount(&self) -> Option<LearnedMount> {
        self.vehicle.mount().learned()
    }

    /// The way driven since the run began, metres, as far as speeds were measured; the way of a
    /// driver who is not to be watched is not in it.
    pub const fn driven_m(&self) -> f64 {
        self.vehicle.driven_m()
    }

    /// The privacy state.
    pub const fn privacy(&self) -> PrivacyState {
        self.privacy
    }

    /// What was made of the driver's last picture; none before the first, and after a wipe.
    pub const fn driver_state(&self) -> Option<DriverState> {
        self.detectors.driver.state()
    }

    /// What was made of the last road picture; none before the first, and after a wipe.
    pub const fn road_state(&self) -> Option<RoadState> {
        self.road
    }

    /// What a camera's ring holds.
    pub fn ring_metrics(&self, camera: CameraId) -> RingMetrics {
        self.ring.metrics(camera)
    }

    /// Samples refused by the guards: late, doubled, or from the future.
    pub fn refused_samples(&self) -> u64 {
        self.guards.iter().map(|(_, guard)| guard.refused()).sum()
    }

    fn advance(&mut self, now: MonoTime, out: &mut Vec<Command>) {
        self.now = self.now.max(now);
        if !self.announced {
            self.announced = true;
            out.push(Command::Lamp(lamp(self.privacy)));
        }
        for (source, guard) in &mut self.guards {
            match guard.silence_changed(self.now) {
                Some(true) => out.push(Command::Health(Health::Silent(*source))),
                Some(false) => out.push(Command::Health(Health::Back(*source))),
                None => {}
            }
        }
        for (camera, watch) in &mut self.cameras {
            watch.tick(self.now);
            tell(*camera, watch, out);
        }
    }

    /// What waits for signals that may not come any more waits no longer than those of others come.
    fn reach(&mut self, input: &Input, out: &mut Vec<Command>) {
        let at = match input {
            // What comes of the vehicle's own signals is in them.
            Input::Signal(signal) => signal.at(),
            Input::Driver(observation) => observation.at,
            Input::Road(observation) => observation.at,
            Input::Camera(stats) => stats.at,
            Input::AccessUnit(unit) => unit.at,
            Input::StopLine(at, _) => *at,
            Input::Privacy(_) | Input::NewDriver | Input::SupplyFails | Input::End => return,
        };
        self.reached = self.reached.max(at.min(self.now));
        self.look(self.reached, out);
    }

    fn look(&mut self, at: MonoTime, out: &mut Vec<Command>) {
        let finding = self.detectors.vehicle.look(at);
        self.decide_all(finding, out);
    }

    /// Says what still waited to be borne out.
    fn conclude(&mut self, out: &mut Vec<Command>) {
        let finding = self.detectors.vehicle.end();
        self.decide_all(finding, out);
    }

    /// Admits a sample and sets its time to what it is taken for.
    fn admit(&mut self, source: Source, at: &mut MonoTime) -> Option<(Admission, Timing)> {
        let now = self.now;
        let newest = self.guards.iter().filter_map(|(_, guard)| guard.last()).max();
        let (_, guard) = self.guards.iter_mut().find(|(s, _)| *s == source)?;
        let admission = guard.admit(*at, now).ok()?;
        let timing = guard.time(*at, now, newest.unwrap_or(*at));
        *at = guard.last()?;
        Some((admission, timing))
    }

    /// Whether a time cannot be believed; of samples that no guard watches.
    fn is_from_the_future(&self, at: MonoTime) -> bool {
        at > self.now + secs(self.config.timebase.future_tolerance_s)
    }

    fn recording(&self) -> bool {
        self.privacy == PrivacyState::Recording
    }

    fn on_signal(&mut self, signal: Signal, out: &mut Vec<Command>) {
        if self.privacy == PrivacyState::Off {
            return;
        }
        match signal {
            Signal::Speed(s) => self.on_bus(s, out),
            Signal::Gnss(s) => self.on_gnss(s, out),
            Signal::Imu(s) => self.on_imu(s, out),
            Signal::Control(s) => {
                if !self.is_from_the_future(s.at) {
                    self.vehicle.on_control(&s);
                    self.detectors.vehicle.on_control(&s);
                }
            }
            // The speed says the same.
            Signal::Wheels(_) => {}
            // A press is never late: it is a person's wish.
            Signal::Button(press) => self.decide(Finding::Button(press.at.min(self.now)), out),
        }
    }

    fn on_bus(&mut self, mut s: VehicleSpeed, out: &mut Vec<Command>) {
        if let Some((_, timing)) = self.admit(Source::Bus, &mut s.at) {
            let change = self.vehicle.on_bus_timed(&s, timing);
            self.on_mount(change, out);
            self.on_speed(s.at, out);
        }
    }

    fn on_gnss(&mut self, mut fix: GnssFix, out: &mut Vec<Command>) {
        if let Some((_, timing)) = self.admit(Source::Gnss, &mut fix.at) {
            let change = self.vehicle.on_gnss_timed(&fix, timing);
            self.on_mount(change, out);
            self.detectors.vehicle.on_fix(&fix, timing);
            if self.recording() && fix.lat_deg.is_finite() && fix.lon_deg.is_finite() {
                self.history.push_fix(fix);
            }
            self.on_speed(fix.at, out);
        }
    }

    fn on_speed(&mut self, at: MonoTime, out: &mut Vec<Command>) {
        let speed = self.vehicle.speed(at);
        if let Some(speed) = speed.filter(|_| self.recording()) {
            self.history.push_speed(speed);
        }
        let mut findings = Vec::new();
        self.detectors.vehicle.on_speed(at, &self.vehicle, &mut findings);
        self.decide_all(findings, out);
    }

    fn on_mount(&mut self, change: Option<MountChange>, out: &mut Vec<Command>) {
        if let Some(change) = change {
            out.push(Command::Health(Health::Mount(change)));
            self.detectors.vehicle.on_mount();
        }
    }

    fn on_imu(&mut self, mut s: ImuSample, out: &mut Vec<Command>) {
        let Some((admission, _)) = self.admit(Source::Imu, &mut s.at) else { return };
        let motion = self.vehicle.on_imu(&s, admission);
        if let Some(motion) = motion.filter(|_| self.recording()) {
            self.history.push_motion(motion);
        }
        let mut findings = Vec::new();
        self.detectors.vehicle.on_imu(&s, motion.as_ref(), &self.vehicle, &mut findings);
        self.decide_all(findings, out);
    }

    fn on_driver(&mut self, mut o: DriverObservation, out: &mut Vec<Command>) {
        if self.privacy == PrivacyState::Off || self.admit(Source::Driver, &mut o.at).is_none() {
            return;
        }
        if self.recording() {
            self.history.push_face(FacePoint { at: o.at, face: o.face.known().copied() });
        }
        let speed_mps = self.vehicle.speed(o.at).map(|s| s.mps);
        let watched = self.detectors.driver.step(&o, speed_mps);
        out.extend(watched.calibrated.into_iter().map(|c| Command::Health(Health::Calibration(c))));
        self.decide_all(watched.findings, out);
    }

    fn on_road(&mut self, mut o: RoadObservation, out: &mut Vec<Command>) {
        if self.privacy == PrivacyState::Off || self.admit(Source::Road, &mut o.at).is_none() {
            return;
        }
        let speed_mps = self.vehicle.speed(o.at).map(|s| s.mps);
        let road =
            RoadState { at: o.at, headway: headway(&o.lead, speed_mps, &self.config.headway) };
        self.road = Some(road);
        let finding = self.detectors.vehicle.on_road(&road, speed_mps);
        self.decide_all(finding, out);
    }

    fn on_stop_line(&mut self, at: MonoTime, line_m: Option<f64>) {
        if self.privacy != PrivacyState::Off && !self.is_from_the_future(at) {
            self.detectors.vehicle.on_stop_line(at, line_m);
        }
    }

    fn on_camera(&mut self, stats: &PictureStats, out: &mut Vec<Command>) {
        if self.privacy == PrivacyState::Off || self.is_from_the_future(stats.at) {
            return;
        }
        let speed_mps = self.vehicle.speed(stats.at).map(|s| s.mps);
        if let Some((camera, watch)) = self.cameras.iter_mut().find(|(c, _)| *c == stats.camera) {
            watch.step(stats, speed_mps);
            tell(*camera, watch, out);
        }
    }

    fn on_access_unit(&mut self, unit: AccessUnit) {
        if self.recording() {
            // A dropped picture is counted by the ring and shows in its metrics.
            self.ring.push(unit).unwrap_or_default();
        }
    }

    fn on_privacy(&mut self, privacy: PrivacyState, out: &mut Vec<Command>) {
        if privacy == self.privacy {
            return;
        }
        self.privacy = privacy;
        self.wipe(CutReason::PrivacyChanged, out);
        if privacy == PrivacyState::Off {
            self.vehicle.forget(&self.config);
            // What is not listened to is not silent.
            self.guards = guards(&self.config);
            self.cameras = cameras(&self.config);
        }
        out.push(Command::Lamp(lamp(privacy)));
    }

    /// Cuts what is owed and forgets everything that was seen of the driver.
    fn wipe(&mut self, reason: CutReason, out: &mut Vec<Command>) {
        self.conclude(out);
        self.cut_all(reason, out);
        self.ring.clear();
        self.history.clear();
        // Where the vehicle is says nothing of who drives it: the limit stays.
        self.detectors = Detectors::new(&self.config, self.privacy, self.map_limit);
        self.road = None;
    }

    fn decide_all(&mut self, findings: impl IntoIterator<Item = Finding>, out: &mut Vec<Command>) {
        for finding in findings {
            self.decide(finding, out);
        }
    }

    fn decide(&mut self, finding: Finding, out: &mut Vec<Command>) {
        let decision = self.detectors.policy.decide(finding);
        out.extend(decision.alert.map(Command::Alert));
        if let Some(event) = decision.flag {
            let local = self.next_local;
            self.next_local = local.saturating_add(1);
            let clip = self.orders.order(local, &event);
            out.push(Command::Flag { local, event, clip });
        }
    }

    fn cut_due(&mut self, out: &mut Vec<Command>) {
        let ring = &self.ring;
        let due = self.orders.take_due(self.now, |to| {
            // Without any camera there is nothing to wait for but the deadline.
            ring.videos().next().is_some()
                && ring.videos().all(|c| ring.closed_until(c).is_some_and(|until| until > to))
        });
        for (order, reason) in due {
            self.cut(order, reason, out);
        }
    }

    fn cut_all(&mut self, reason: CutReason, out: &mut Vec<Command>) {
        for order in self.orders.take_all() {
            self.cut(order, reason, out);
        }
    }

    fn cut(&self, order: ClipOrder, reason: CutReason, out: &mut Vec<Command>) {
        let local = order.local;
        let cut = self.cut_of(order, reason);
        if cut.tracks.iter().all(|t| t.gops.is_empty()) {
            out.push(Command::Health(Health::ClipEmpty { local }));
        }
        out.push(Command::Cut(cut));
    }

    /// What the ring has of it.
    fn cut_of(&self, order: ClipOrder, reason: CutReason) -> Cut {
        let ClipOrder { local, shared_by, window, .. } = order;
        let tail = match reason {
            CutReason::Covered => Tail::Closed,
            CutReason::Deadline
            | CutReason::DriveEnded
            | CutReason::PrivacyChanged
            | CutReason::DriverChanged
            | CutReason::SupplyFails
            | CutReason::SoFar => Tail::WithOpen,
        };
        let track =
            |video| CutTrack { video, gops: self.ring.range(video, window.from, window.to, tail) };
        let tracks = self.ring.videos().map(track).collect();
        let signals = self.history.range(window.from, window.to);
        Cut { local, shared_by, window, reason, tracks, signals }
    }
}

fn guards(config: &CoreConfig) -> [(Source, SourceGuard); 5] {
    let guard = SourceGuard::new(
        secs(config.timebase.future_tolerance_s),
        secs(config.timebase.health_after_s),
    );
    [
        (Source::Bus, guard.clone()),
        (Source::Gnss, guard.clone().doubtful_after(GNSS_DOUBTFUL_AFTER)),
        (Source::Imu, guard.clone()),
        (Source::Driver, guard.clone()),
        (Source::Road, guard),
    ]
}

fn cameras(config: &CoreConfig) -> [(CameraId, CameraWatch); 2] {
    CameraId::ALL.map(|c| (c, CameraWatch::new(secs(config.timebase.health_after_s))))
}

fn tell(camera: CameraId, watch: &mut CameraWatch, out: &mut Vec<Command>) {
    if let Some(fault) = watch.changed() {
        out.push(Command::Health(Health::Camera { camera, fault }));
    }
}

/// The limit that speeding is judged by. What the map only has from the country's rule for that kind of
/// road is told in the cab and flags nothing.
fn limit_in_force(config: &CoreConfig, map: Option<LimitState>) -> Option<SpeedLimit> {
    let fixed = config.vehicle.speed_limit_kmh.map(|kmh| SpeedLimit { kmh, flags: true });
    fixed.or_else(|| match map? {
        LimitState::Known(limit) => {
            let flags = match limit.source {
                LimitSource::Explicit | LimitSource::Conditional | LimitSource::Override => true,
                LimitSource::Implicit => false,
            };
            Some(SpeedLimit { kmh: limit.kmh, flags })
        }
        LimitState::Unlimited(_) | LimitState::Unknown(_) => None,
    })
}

const fn lamp(privacy: PrivacyState) -> Lamp {
    match privacy {
        PrivacyState::Off => Lamp::Off,
        PrivacyState::AiWithoutRecording => Lamp::AlertsOnly,
        PrivacyState::Recording => Lamp::Recording,
    }
}
