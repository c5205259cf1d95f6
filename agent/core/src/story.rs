//! A small language for drives: say what the driver and the van do, then ask what was said,
//! flagged and cut.
//!
//! ```text
//! Story::at_kmh(100.0).go(5.0).looks(0.0, -30.0).go(7.0).looks_ahead().go(5.0).told()
//! ```
//! The van sends its speed at 20 Hz and the IMU at 50 Hz with vibration; two cameras send 1 s GOPs
//! at 10 fps; perception runs at a rate of choice.

use bytes::Bytes;
use temoin_proto::{
    events::EventKind,
    perception::{
        DriverObservation, EyeDirection, EyelidOpening, FaceCover, HeadPose, LeadVehicle,
        MouthOpening, NotSeen, PerEye, PhoneUse, PictureBox, RoadObservation, Seen,
    },
    samples::{
        ButtonPress, CameraId, GnssFix, ImuSample, STANDARD_GRAVITY_MPS2, Signal, VehicleSpeed,
    },
    time::MonoTime,
};

use crate::{
    config::{CoreConfig, KMH_TO_MPS},
    drive::{Command, Cut, Drive, Health, Input},
    gop_ring::AccessUnit,
    policy::{AlertKind, PrivacyState},
};

/// Milliseconds of the finest step.
const STEP_MS: u64 = 1;

/// Pushes on the sensor alone, g by seconds.
type Shakes = std::sync::Arc<dyn Fn(f64) -> [f64; 3]>;

#[derive(Clone)]
pub(crate) struct Story {
    config: CoreConfig,
    privacy: PrivacyState,
    perception_hz: u64,
    ms: u64,
    mps: f64,
    longitudinal_g: f64,
    lateral_g: f64,
    vibration_g: f64,
    head: Option<(f32, f32)>,
    eyes: [Option<f32>; 2],
    confidence: f32,
    gaze: Option<(f32, f32)>,
    mouth: Option<f32>,
    phone: Option<PhoneUse>,
    covered: bool,
    bus: bool,
    gnss_hz: u64,
    way_m: f64,
    shakes: Shakes,
    cameras: Vec<CameraId>,
    inputs: Vec<(MonoTime, Input)>,
}

/// What came of a story, times in seconds.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) alerts: Vec<(AlertKind, f64)>,
    pub(crate) flags: Vec<(EventKind, f64)>,
    pub(crate) cuts: Vec<Cut>,
    pub(crate) health: Vec<Health>,
}

impl Told {
    pub(crate) fn flagged(&self) -> Vec<EventKind> {
        self.flags.iter().map(|f| f.0).collect()
    }

    pub(crate) fn from_commands(commands: impl IntoIterator<Item = (MonoTime, Command)>) -> Self {
        let mut told = Self::default();
        for (at, command) in commands {
            match command {
                Command::Alert(alert) => told.alerts.push((alert.kind, at.as_secs_f64())),
                Command::Flag { event, .. } => told.flags.push((event.kind, at.as_secs_f64())),
                Command::Cut(cut) => told.cuts.push(cut),
                Command::Health(health) => told.health.push(health),
                Command::Lamp(_) => {}
            }
        }
        told
    }
}

impl Story {
    pub(crate) fn at_kmh(kmh: f64) -> Self {
        Self {
            config: CoreConfig::for_recordings(),
            privacy: PrivacyState::Recording,
            perception_hz: 10,
            ms: 0,
            mps: kmh * KMH_TO_MPS,
            longitudinal_g: 0.0,
            lateral_g: 0.0,
            vibration_g: 0.05,
            head: Some((0.0, 0.0)),
            eyes: [Some(0.24); 2],
            confidence: 0.9,
            gaze: None,
            mouth: None,
            phone: None,
            covered: false,
            bus: true,
            gnss_hz: 0,
            way_m: 0.0,
            shakes: std::sync::Arc::new(|_| [0.0; 3]),
            cameras: CameraId::ALL.to_vec(),
            inputs: Vec::new(),
        }
    }

    pub(crate) fn config(mut self, change: impl FnOnce(&mut CoreConfig)) -> Self {
        change(&mut self.config);
        assert_eq!(self.config.validate(), []);
        self
    }

    pub(crate) fn privacy(mut self, privacy: PrivacyState) -> Self {
        self.privacy = privacy;
        self
    }

    pub(crate) fn perception_hz(mut self, hz: u64) -> Self {
        self.perception_hz = hz;
        self
    }

    /// Left and up are positive.
    pub(crate) fn looks(mut self, yaw_deg: f32, pitch_deg: f32) -> Self {
        self.head = Some((yaw_deg, pitch_deg));
        self
    }

    pub(crate) fn looks_ahead(self) -> Self {
        self.looks(0.0, 0.0)
    }

    pub(crate) fn face_lost(mut self) -> Self {
        self.head = None;
        self
    }

    pub(crate) fn eyelids(self, opening: Option<f32>) -> Self {
        self.each_eye(opening, opening)
    }

    pub(crate) fn each_eye(mut self, right: Option<f32>, left: Option<f32>) -> Self {
        self.eyes = [right, left];
        self
    }

    /// Against the head; left and up are positive.
    pub(crate) fn gazes(mut self, eyes: Option<(f32, f32)>) -> Self {
        self.gaze = eyes;
        self
    }

    pub(crate) fn mouth(mut self, opening: f32) -> Self {
        self.mouth = Some(opening);
        self
    }

    pub(crate) fn phone(mut self, phone: Option<PhoneUse>) -> Self {
        self.phone = phone;
        self
    }

    pub(crate) fn covered(mut self, covered: bool) -> Self {
        self.covered = covered;
        self
    }

    /// Of all that perception says.
    pub(crate) fn confidence(mut self, confidence: f32) -> Self {
        self.confidence = confidence;
        self
    }

    /// A road picture with somebody ahead.
    pub(crate) fn sees_ahead(self, distance_m: f32) -> Self {
        let at = self.at();
        let area = PictureBox { x: 0.4, y: 0.5, w: 0.1, h: 0.1 };
        let lead = Some(LeadVehicle { area, distance_m, error_m: distance_m / 10.0 });
        let seen = RoadObservation {
            lead: Seen::Known { value: lead, confidence: 0.9 },
            ..RoadObservation::unseen(at, NotSeen::NoModel)
        };
        self.puts(Input::Road(seen))
    }

    /// Forward is positive; the speed follows.
    pub(crate) fn accelerates(mut self, g: f64) -> Self {
        self.longitudinal_g = g;
        self
    }

    pub(crate) fn brakes(self, g: f64) -> Self {
        self.accelerates(-g)
    }

    /// Left is positive.
    pub(crate) fn corners(mut self, g: f64) -> Self {
        self.lateral_g = g;
        self
    }

    pub(crate) fn bus(mut self, sends: bool) -> Self {
        self.bus = sends;
        self
    }

    /// Fixes a second; 0: none.
    pub(crate) fn gnss_hz(mut self, hz: u64) -> Self {
        self.gnss_hz = hz;
        self
    }

    /// What pushes the sensor and not the van, g by seconds: forward, left, up.
    pub(crate) fn shakes(mut self, g: impl Fn(f64) -> [f64; 3] + 'static) -> Self {
        self.shakes = std::sync::Arc::new(g);
        self
    }

    pub(crate) fn cameras(mut self, cameras: &[CameraId]) -> Self {
        self.cameras = cameras.to_vec();
        self
    }

    pub(crate) fn presses(self) -> Self {
        let at = self.at();
        self.puts(Input::Signal(Signal::Button(ButtonPress { at })))
    }

    pub(crate) fn chooses(self, privacy: PrivacyState) -> Self {
        self.puts(Input::Privacy(privacy))
    }

    pub(crate) fn new_driver(self) -> Self {
        self.puts(Input::NewDriver)
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.at().as_secs_f64()
    }

    fn at(&self) -> MonoTime {
        MonoTime::from_ns(self.ms * 1_000_000)
    }

    fn puts(mut self, input: Input) -> Self {
        self.inputs.push((self.at(), input));
        self
    }

    /// Time passes.
    pub(crate) fn go(mut self, seconds: f64) -> Self {
        let end = MonoTime::from_secs_f64(self.seconds() + seconds + 1e-6);
        while self.at() + std::time::Duration::from_millis(STEP_MS) <= end {
            let at = self.at();
            let every = |period_ms: u64| self.ms.is_multiple_of(period_ms);
            let mut inputs = Vec::new();
            if every(20) {
                let moving = if self.mps > 0.0 { STANDARD_GRAVITY_MPS2 } else { 0.0 };
                // 12 Hz, as an engine and a road shake a van.
                let shake = self.vibration_g * (at.as_secs_f64() * 75.0).sin();
                // A van that is pushed to the left turns to the left.
                let turn = if self.mps > 1.0 { self.lateral_g * moving / self.mps } else { 0.0 };
                let [x, y, z] = (self.shakes)(at.as_secs_f64());
                let accel_mps2 = [
                    (self.longitudinal_g + shake) * moving + x * STANDARD_GRAVITY_MPS2,
                    (self.lateral_g + shake) * moving + y * STANDARD_GRAVITY_MPS2,
                    (1.0 + z) * STANDARD_GRAVITY_MPS2,
                ];
                inputs.push(Input::Signal(Signal::Imu(ImuSample {
                    at,
                    accel_mps2,
                    gyro_rad_s: Some([0.0, 0.0, turn]),
                })));
                self.mps = (self.mps + self.longitudinal_g * moving * 0.02).max(0.0);
                self.way_m += self.mps * 0.02;
            }
            if self.gnss_hz > 0 && every(1000 / self.gnss_hz) {
                let fix = GnssFix {
                    speed_mps: Some(self.mps),
                    ..GnssFix::new(at, 48.0 + (self.way_m / 6_371_000.0).to_degrees(), 2.0)
                };
                inputs.push(Input::Signal(Signal::Gnss(fix)));
            }
            if every(50) && self.bus {
                inputs.push(Input::Signal(Signal::Speed(VehicleSpeed { at, mps: self.mps })));
            }
            if every(1000 / self.perception_hz) {
                inputs.push(Input::Driver(self.observation(at)));
            }
            if every(100) {
                inputs.extend(self.cameras.iter().map(|&camera| {
                    let data = Bytes::from_static(&[0; 64]);
                    let video = camera.into();
                    Input::AccessUnit(AccessUnit { video, at, key: every(1000), data })
                }));
            }
            self.inputs.extend(inputs.into_iter().map(|input| (at, input)));
            self.ms += STEP_MS;
        }
        self
    }

    fn observation(&self, at: MonoTime) -> DriverObservation {
        let confidence = self.confidence;
        let unseen = DriverObservation::unseen(at, NotSeen::NoFace);
        fn known<T>(value: Option<T>, confidence: f32) -> Seen<T> {
            value.map_or(Seen::Unknown(NotSeen::EyesUnclear), |value| Seen::Known {
                value,
                confidence,
            })
        }
        let phone = known(self.phone, confidence);
        let Some((yaw_deg, pitch_deg)) = self.head else {
            return DriverObservation { phone, ..unseen };
        };
        let [right, left] = self.eyes.map(|eye| eye.map(EyelidOpening));
        let seen: Vec<f32> = self.eyes.into_iter().flatten().collect();
        let mean =
            (!seen.is_empty()).then(|| EyelidOpening(seen.iter().sum::<f32>() / seen.len() as f32));
        let gaze = self.gaze.map(|(yaw_deg, pitch_deg)| EyeDirection { yaw_deg, pitch_deg });
        let cover = if self.covered { FaceCover::Covered } else { FaceCover::Free };
        DriverObservation {
            at,
            face: known(Some(PictureBox { x: 0.4, y: 0.3, w: 0.2, h: 0.3 }), confidence),
            head: known(Some(HeadPose { yaw_deg, pitch_deg, roll_deg: 0.0 }), confidence),
            eyelids: known(mean, confidence),
            eyes: PerEye { right: known(right, confidence), left: known(left, confidence) },
            gaze: known(gaze, confidence),
            mouth: known(self.mouth.map(MouthOpening), confidence),
            phone,
            cover: known(Some(cover), confidence),
        }
    }

    pub(crate) fn inputs(&self) -> &[(MonoTime, Input)] {
        &self.inputs
    }

    /// Drives it without an end.
    pub(crate) fn drive(&self) -> (Drive, Vec<(MonoTime, Command)>) {
        let mut drive = Drive::new(self.config.clone(), self.privacy);
        let mut commands = Vec::new();
        let mut out = Vec::new();
        for (at, input) in &self.inputs {
            drive.step(*at, input.clone(), &mut out);
            commands.extend(out.drain(..).map(|c| (*at, c)));
        }
        (drive, commands)
    }

    /// Drives it to its end.
    pub(crate) fn told(&self) -> Told {
        let (mut drive, mut commands) = self.drive();
        let mut out = Vec::new();
        drive.step(self.at(), Input::End, &mut out);
        commands.extend(out.drain(..).map(|c| (self.at(), c)));
        Told::from_commands(commands)
    }
}
