//! The detectors of how the vehicle is driven, over one [`VehicleState`].
//!
//! INVARIANT: this is RAM only, for one driver and one privacy state; [`VehicleWatch::new`] forgets.

use std::time::Duration;

use temoin_proto::{
    events::Event,
    samples::{ControlSample, ControlState, GnssFix, ImuSample},
    time::MonoTime,
};

use crate::{
    collision::Collision,
    config::CoreConfig,
    following::Following,
    harsh_check::HarshCheck,
    harsh_motion::HarshMotion,
    headway::RoadState,
    idling::Idling,
    policy::{Alert, AlertKind, Finding},
    rolling_stop::RollingStop,
    rollover::Rollover,
    seat_belt::{SeatBelt, SeatBeltStep},
    speeding::{SpeedLimit, Speeding, SpeedingStep},
    timebase::Timing,
    vehicle_state::{Motion, VehicleState},
};

/// Speeds further apart leave the time between them unknown to the speeding rule.
const SPEED_GAP: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Clone, Debug)]
pub struct VehicleWatch {
    harsh: HarshMotion,
    check: HarshCheck,
    collision: Collision,
    rollover: Rollover,
    speeding: Speeding,
    seat_belt: SeatBelt,
    idling: Idling,
    following: Following,
    rolling_stop: RollingStop,
    felt: Vec<Event>,
}

impl VehicleWatch {
    /// Nothing happened yet, where this limit applies.
    pub fn new(config: &CoreConfig, limit: Option<SpeedLimit>) -> Self {
        Self {
            harsh: HarshMotion::new(&config.harsh, config.vehicle.class),
            check: HarshCheck::default(),
            collision: Collision::new(&config.collision),
            rollover: Rollover::new(&config.rollover),
            speeding: Speeding::new(&config.speeding, limit, SPEED_GAP),
            seat_belt: SeatBelt::new(&config.seat_belt),
            idling: Idling::new(&config.idling),
            following: Following::new(&config.following),
            rolling_stop: RollingStop::new(&config.rolling_stop),
            felt: Vec::new(),
        }
    }

    /// Another speed limit applies from now on; none: unknown.
    pub const fn set_limit(&mut self, limit: Option<SpeedLimit>) {
        self.speeding.set_limit(limit);
    }

    /// How the unit sits changed: what waits for judgement was felt in other axes.
    pub fn on_mount(&mut self) {
        self.harsh.unknown();
        self.check.unknown();
    }

    /// Takes an IMU sample and what the vehicle's state made of it.
    pub fn on_imu(
        &mut self,
        s: &ImuSample,
        motion: Option<&Motion>,
        state: &VehicleState,
        findings: &mut Vec<Finding>,
    ) {
        let speed = state.speed(s.at);
        let (gravity, speed_mps) = (state.mount().gravity(), speed.map(|s| s.mps));
        let hits =
            [self.collision.step(s, gravity, speed_mps), self.rollover.step(s, gravity, speed_mps)];
        findings.extend(hits.into_iter().flatten().map(Finding::Event));
        findings.extend(self.rolling_stop.on_speed(s.at, speed.as_ref()).map(Finding::Event));
        match motion {
            None => {
                self.harsh.unknown();
                self.check.unknown();
            }
            Some(motion) => {
                self.check.on_motion(motion, speed.as_ref());
                self.harsh.step(motion, speed_mps, &mut self.felt);
                self.felt.drain(..).for_each(|event| self.check.wait(event));
                self.judge(s.at, state, findings);
            }
        }
    }

    /// Takes a fix's course.
    pub fn on_fix(&mut self, fix: &GnssFix, timing: Timing) {
        match timing {
            Timing::Steady => self.check.on_fix(fix),
            Timing::Doubtful => {}
        }
    }

    /// Takes a control of the vehicle.
    pub fn on_control(&mut self, s: &ControlSample) {
        match s.state {
            ControlState::BeltFastened(fastened) => self.seat_belt.on_belt(s.at, fastened),
            ControlState::EngineRpm(rpm) => self.idling.on_engine(s.at, rpm),
            ControlState::BrakePressed(_) | ControlState::Gear(_) | ControlState::TurnSignal(_) => {
            }
        }
    }

    /// The signals have come to this moment, whatever is missing of them.
    pub fn look(&mut self, at: MonoTime) -> Option<Finding> {
        self.collision.look(at).map(Finding::Event)
    }

    /// Nothing more will come for this driver: what waits is judged by what is known.
    pub fn end(&mut self) -> Option<Finding> {
        self.collision.end().map(Finding::Event)
    }

    /// When [`Self::look`] has something to do if nothing comes before.
    pub fn deadline(&self) -> Option<MonoTime> {
        self.collision.deadline()
    }

    /// A speed was measured at `at`.
    pub fn on_speed(&mut self, at: MonoTime, state: &VehicleState, findings: &mut Vec<Finding>) {
        if let Some(heard) = state.heard().filter(|heard| heard.at == at) {
            findings.extend(self.collision.on_speed(heard).map(Finding::Event));
        }
        let speed = state.speed(at);
        let speed_mps = speed.map(|s| s.mps);
        let voice = |kind| Finding::Voice(Alert { kind, at });
        findings.extend(self.speeding.step(at, speed.as_ref()).map(|step| match step {
            SpeedingStep::Voice => voice(AlertKind::Speeding),
            SpeedingStep::Event(event) => Finding::Event(event),
        }));
        findings.extend(self.seat_belt.on_speed(at, speed_mps).map(|step| match step {
            SeatBeltStep::Voice => voice(AlertKind::SeatBelt),
            SeatBeltStep::Event(event) => Finding::Event(event),
        }));
        findings.extend(self.idling.on_speed(at, speed_mps).map(Finding::Event));
        findings.extend(self.rolling_stop.on_speed(at, speed.as_ref()).map(Finding::Event));
        self.judge(at, state, findings);
    }

    /// Takes what was made of a road picture.
    pub fn on_road(&mut self, road: &RoadState, speed_mps: Option<f64>) -> Option<Finding> {
        self.following.step(road, speed_mps).map(Finding::Attention)
    }

    /// Takes the way to the next stop line at a fix; see [`RollingStop::on_line`].
    pub fn on_stop_line(&mut self, at: MonoTime, line_m: Option<f64>) {
        self.rolling_stop.on_line(at, line_m);
    }

    /// Harsh manoeuvres that the measured speed or turn bears out.
    fn judge(&mut self, at: MonoTime, state: &VehicleState, findings: &mut Vec<Finding>) {
        findings.extend(self.check.judge(at, state.measured()).into_iter().map(Finding::Event));
    }
}
