//! A drive that needs no file: one script moves the vehicle, the driver and the devices' faults,
//! and every simulated device reads it.
//!
//! INVARIANT: everything is a function of the script and the time: the same script gives the same
//! bytes and numbers on every machine of one kind, at any speed.
//!
//! Perception is simulated too. The cabin pictures are drawings, and nothing says that a face
//! network finds a driver in a drawing; [`Script::observation`] says what perception would see,
//! and device health is to call that `simulated`, never a model.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use temoin_proto::{
    events::EventKind,
    perception::{DriverObservation, EyelidOpening, HeadPose, NotSeen, Seen},
    samples::{
        ButtonPress, CameraId, Frame, GnssFix, ImuSample, PixelFormat, STANDARD_GRAVITY_MPS2,
        Signal, VehicleSpeed,
    },
    time::MonoTime,
};

use crate::{
    device::{Camera, CameraError, SignalError, SignalSource},
    sim_scene::{CabinView, Painter, RoadView, face_box},
    video_file::PictureSize,
};

/// How long a change of acceleration or turn rate takes, seconds.
const ONSET_S: f64 = 0.3;
const IMU_HZ: u32 = 100;
/// The track is summed up in steps of the IMU's rate.
const STEP_S: f64 = 0.01;
/// Every so many IMU samples.
const SPEED_EVERY: u32 = 4;
const GNSS_EVERY: u32 = 20;
/// In the North Sea: a simulated van must not seem to stop at anybody's door.
const START_DEG: (f64, f64) = (54.5, 6.5);
const METRES_PER_DEGREE: f64 = 111_194.93;
const BLINK_EVERY_S: f64 = 4.1;
const BLINK_S: f64 = 0.16;
const OPEN: f64 = 0.26;
const CLOSED: f64 = 0.03;
const MPS_PER_KMH: f64 = 1.0 / 3.6;

/// One thing that happens. Times are seconds of the drive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// Speeds up, or with a negative number slows down.
    Accelerate {
        /// Begins.
        from_s: f64,
        /// Ends.
        to_s: f64,
        /// Forward acceleration.
        mps2: f64,
    },
    /// Turns.
    Turn {
        /// Begins.
        from_s: f64,
        /// Ends.
        to_s: f64,
        /// Turn rate, positive to the left.
        rad_s: f64,
    },
    /// The driver's head turns away.
    LookAway {
        /// Begins.
        from_s: f64,
        /// Ends.
        to_s: f64,
        /// Positive to the driver's left.
        yaw_deg: f64,
        /// Positive up.
        pitch_deg: f64,
    },
    /// The driver's eyes are shut.
    EyesClosed {
        /// Begins.
        from_s: f64,
        /// Ends.
        to_s: f64,
    },
    /// The driver presses the button.
    Button {
        /// When.
        at_s: f64,
    },
}

/// A device that fails for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// A camera gives no pictures.
    CameraDropout {
        /// Which.
        camera: CameraId,
        /// Begins.
        from_s: f64,
        /// Ends.
        to_s: f64,
    },
    /// The receiver has no fix.
    GnssLoss {
        /// Begins.
        from_s: f64,
        /// Ends.
        to_s: f64,
    },
    /// Perception does not see the driver.
    DriverUnseen {
        /// Begins.
        from_s: f64,
        /// Ends.
        to_s: f64,
    },
}

/// What is to come out of a scripted drive with the default thresholds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScriptedEvent {
    /// What.
    pub kind: EventKind,
    /// When the condition begins (the head has turned, the eyes have shut, ...), seconds.
    pub from_s: f64,
    /// When the threshold is reached and the driver is warned, seconds.
    pub alert_s: f64,
    /// When the condition ends, seconds.
    pub to_s: f64,
    /// Whether it is bad enough to be uploaded, not only alerted.
    pub flagged: bool,
}

/// The vehicle at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VehicleState {
    /// Speed.
    pub speed_mps: f64,
    /// Forward acceleration.
    pub accel_mps2: f64,
    /// Turn rate, positive to the left.
    pub yaw_rate_rad_s: f64,
    /// Course, degrees clockwise from north.
    pub course_deg: f64,
    /// Way driven since the beginning.
    pub driven_m: f64,
    /// North and east of the beginning, metres.
    pub north_east_m: (f64, f64),
}

/// A scripted drive.
#[derive(Clone, Debug)]
pub struct Script {
    duration_s: f64,
    start_mps: f64,
    limit_mps: f64,
    acts: Vec<Act>,
    faults: Vec<Fault>,
    track: Vec<VehicleState>,
}

impl Script {
    /// The drive of the demonstration, 75 s: cruising with a mirror check, a look at the
    /// passenger seat (6 s), a short and a long closing of the eyes, speeding, the button, and
    /// a harsh brake.
    pub fn demo() -> Self {
        Self::new(
            75.0,
            80.0 * MPS_PER_KMH,
            vec![
                Act::LookAway { from_s: 2.0, to_s: 2.9, yaw_deg: 32.0, pitch_deg: 2.0 },
                Act::LookAway { from_s: 6.0, to_s: 12.5, yaw_deg: -42.0, pitch_deg: -14.0 },
                Act::Turn { from_s: 13.5, to_s: 16.5, rad_s: 0.03 },
                Act::EyesClosed { from_s: 16.0, to_s: 17.6 },
                Act::EyesClosed { from_s: 21.5, to_s: 25.5 },
                Act::Accelerate { from_s: 26.5, to_s: 32.5, mps2: 1.2 },
                Act::Turn { from_s: 36.0, to_s: 40.0, rad_s: -0.025 },
                Act::Button { at_s: 45.0 },
                Act::Accelerate { from_s: 64.0, to_s: 66.0, mps2: -5.0 },
            ],
        )
    }

    /// A drive of your own. The limit is 90 km/h.
    pub fn new(duration_s: f64, start_mps: f64, acts: Vec<Act>) -> Self {
        let limit_mps = 90.0 * MPS_PER_KMH;
        let mut script =
            Self { duration_s, start_mps, limit_mps, acts, faults: Vec::new(), track: Vec::new() };
        let mut at = VehicleState::default();
        let mut t_s = 0.0;
        while t_s <= duration_s + STEP_S {
            let (speed_mps, accel_mps2) = script.motion(t_s);
            let (turned_rad, yaw_rate_rad_s) = script.turning(t_s);
            let (north, east) = at.north_east_m;
            script.track.push(VehicleState {
                speed_mps,
                accel_mps2,
                yaw_rate_rad_s,
                course_deg: (-turned_rad).to_degrees().rem_euclid(360.0),
                ..at
            });
            let step_m = speed_mps * STEP_S;
            at.driven_m += step_m;
            at.north_east_m = (north + step_m * turned_rad.cos(), east - step_m * turned_rad.sin());
            t_s += STEP_S;
        }
        script
    }

    /// The same drive with devices that fail.
    pub fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults;
        self
    }

    /// How long it takes, seconds.
    pub fn duration_s(&self) -> f64 {
        self.duration_s
    }

    /// The speed limit that holds on the whole way: the unit is to be configured with it.
    pub fn limit_mps(&self) -> f64 {
        self.limit_mps
    }

    /// The vehicle at a time of the drive.
    pub fn vehicle(&self, t_s: f64) -> VehicleState {
        let step = whole((t_s / STEP_S).round());
        self.track.get(step).or(self.track.last()).copied().unwrap_or_default()
    }

    /// Speed and acceleration.
    fn motion(&self, t_s: f64) -> (f64, f64) {
        let (mut speed, mut accel) = (self.start_mps, 0.0);
        for act in &self.acts {
            if let Act::Accelerate { from_s, to_s, mps2 } = *act {
                accel += mps2 * (onset(t_s - from_s) - onset(t_s - to_s));
                speed += mps2 * (onset_sum(t_s - from_s) - onset_sum(t_s - to_s));
            }
        }
        if speed > 0.0 { (speed, accel) } else { (0.0, 0.0) }
    }

    /// Angle turned so far (positive to the left) and turn rate.
    fn turning(&self, t_s: f64) -> (f64, f64) {
        let (mut angle, mut rate) = (0.0, 0.0);
        for act in &self.acts {
            if let Act::Turn { from_s, to_s, rad_s } = *act {
                rate += rad_s * (onset(t_s - from_s) - onset(t_s - to_s));
                angle += rad_s * (onset_sum(t_s - from_s) - onset_sum(t_s - to_s));
            }
        }
        (angle, rate)
    }

    fn cabin_view(&self, t_s: f64) -> CabinView {
        let (mut yaw, mut pitch, mut open) = (0.0, 0.0, OPEN);
        // Nobody holds quite still.
        yaw += 1.5 * (t_s * 0.7).sin();
        pitch += (t_s * 0.9 + 1.0).sin();
        let in_blink_s = (t_s + 1.0).rem_euclid(BLINK_EVERY_S);
        if in_blink_s < BLINK_S {
            open -= (OPEN - 0.06) * (std::f64::consts::PI * in_blink_s / BLINK_S).sin();
        }
        for act in &self.acts {
            match *act {
                Act::LookAway { from_s, to_s, yaw_deg, pitch_deg } => {
                    let k = onset(t_s - from_s) - onset(t_s - to_s);
                    yaw += k * yaw_deg;
                    pitch += k * pitch_deg;
                }
                Act::EyesClosed { from_s, to_s } if (from_s..to_s).contains(&t_s) => open = CLOSED,
                Act::EyesClosed { .. }
                | Act::Accelerate { .. }
                | Act::Turn { .. }
                | Act::Button { .. } => {}
            }
        }
        CabinView {
            yaw_deg: single(yaw),
            pitch_deg: single(pitch),
            opening: single(open),
            driven_m: single(self.vehicle(t_s).driven_m),
        }
    }

    pub(crate) fn road_view(&self, t_s: f64) -> RoadView {
        let v = self.vehicle(t_s);
        let mut gap_m = 34.0 + 2.0 * (t_s * 0.3).sin();
        let mut brake_lights = false;
        for act in &self.acts {
            if let Act::Accelerate { from_s, to_s, mps2 } = *act
                && mps2 < -2.0
            {
                // The car ahead brakes first; the van comes close and falls back again.
                let near = smooth((t_s - from_s + 1.0) / 2.0) - smooth((t_s - to_s) / 5.0);
                gap_m -= 22.0 * near.max(0.0);
                brake_lights |= (from_s - 0.8..to_s + 0.5).contains(&t_s);
            }
        }
        let curvature = if v.speed_mps > 1.0 { v.yaw_rate_rad_s / v.speed_mps } else { 0.0 };
        RoadView {
            driven_m: single(v.driven_m),
            curvature: single(curvature),
            gap_m: single(gap_m),
            brake_lights,
        }
    }

    fn fault(&self, hit: impl Fn(&Fault) -> Option<(f64, f64)>, t_s: f64) -> bool {
        self.faults.iter().filter_map(hit).any(|(from, to)| (from..to).contains(&t_s))
    }

    /// What perception would say of the cabin picture at `at`, where the drive's zero is `zero`.
    pub fn observation(&self, at: MonoTime, zero: MonoTime) -> DriverObservation {
        let t_s = at.secs_from(zero);
        let unseen = |f: &Fault| match *f {
            Fault::DriverUnseen { from_s, to_s } => Some((from_s, to_s)),
            Fault::CameraDropout { .. } | Fault::GnssLoss { .. } => None,
        };
        if self.fault(unseen, t_s) {
            return DriverObservation::unseen(at, NotSeen::NoFace);
        }
        let view = self.cabin_view(t_s);
        let confidence = 0.95;
        let head = HeadPose { yaw_deg: view.yaw_deg, pitch_deg: view.pitch_deg, roll_deg: 0.0 };
        DriverObservation {
            face: Seen::Known { value: face_box(&view), confidence },
            head: Seen::Known { value: head, confidence },
            eyelids: Seen::Known { value: EyelidOpening(view.opening), confidence },
            ..DriverObservation::unseen(at, NotSeen::NoModel)
        }
    }

    /// What is to come out, in the order of the conditions' beginnings, by the default thresholds
    /// for vans: the whole truth about the script, apart from its faults.
    pub fn truth(&self) -> Vec<ScriptedEvent> {
        let mut events: Vec<_> = self.acts.iter().filter_map(|act| self.expected(*act)).collect();
        events.extend(self.speeding());
        events.sort_by(|a, b| a.from_s.total_cmp(&b.from_s));
        events
    }

    fn expected(&self, act: Act) -> Option<ScriptedEvent> {
        let warned = |kind, from_s: f64, to_s: f64, after_s: f64| {
            let alert_s = from_s + after_s;
            // Warn first: flagged where it goes on for 2 s after the alert.
            let flagged = to_s >= alert_s + 2.0;
            (to_s > alert_s).then_some(ScriptedEvent { kind, from_s, alert_s, to_s, flagged })
        };
        match act {
            Act::LookAway { from_s, to_s, yaw_deg, .. } if yaw_deg.abs() >= 30.0 => {
                let kmh = self.vehicle(from_s).speed_mps / MPS_PER_KMH;
                let after_s = match kmh {
                    v if v >= 50.0 => 3.5,
                    v if v >= 20.0 => 6.0,
                    _ => return None,
                };
                warned(EventKind::LongDistraction, from_s, to_s, after_s)
            }
            Act::EyesClosed { from_s, to_s } => {
                let sleep = to_s - from_s >= 3.0;
                let kind = if sleep { EventKind::Sleep } else { EventKind::Microsleep };
                warned(kind, from_s, to_s, 1.0)
            }
            Act::Accelerate { from_s, to_s, mps2 } => {
                let g = mps2 / STANDARD_GRAVITY_MPS2;
                let kind = match g {
                    g if g <= -0.36 => EventKind::HarshBraking,
                    g if g >= 0.35 => EventKind::HarshAcceleration,
                    _ => return None,
                };
                // Held for 0.3 s once the onset is over.
                let alert_s = from_s + ONSET_S + 0.3;
                Some(ScriptedEvent { kind, from_s, alert_s, to_s, flagged: true })
            }
            Act::Button { at_s } => Some(ScriptedEvent {
                kind: EventKind::DriverSaved,
                from_s: at_s,
                alert_s: at_s,
                to_s: at_s,
                flagged: true,
            }),
            Act::LookAway { .. } | Act::Turn { .. } => None,
        }
    }

    /// Over the limit by more than 5 km/h or a tenth: a warning after 20 s, an event after 30 s.
    fn speeding(&self) -> Option<ScriptedEvent> {
        let over_mps = self.limit_mps + (5.0 * MPS_PER_KMH).max(self.limit_mps * 0.1);
        let mut from_s = None;
        let mut t_s = 0.0;
        let mut found = None;
        for v in &self.track {
            if v.speed_mps > over_mps {
                let from_s = *from_s.get_or_insert(t_s);
                if t_s - from_s >= 30.0 {
                    found = Some(ScriptedEvent {
                        kind: EventKind::Speeding,
                        from_s,
                        alert_s: from_s + 20.0,
                        to_s: t_s,
                        flagged: true,
                    });
                }
            } else if found.is_some() {
                break;
            } else {
                from_s = None;
            }
            t_s += STEP_S;
        }
        found
    }
}

/// 0 before 0, 1 after [`ONSET_S`], straight in between.
fn onset(t_s: f64) -> f64 {
    (t_s / ONSET_S).clamp(0.0, 1.0)
}

/// The integral of [`onset`].
fn onset_sum(t_s: f64) -> f64 {
    if t_s <= 0.0 {
        0.0
    } else if t_s < ONSET_S {
        t_s * t_s / (2.0 * ONSET_S)
    } else {
        t_s - ONSET_S / 2.0
    }
}

fn smooth(k: f64) -> f64 {
    let k = k.clamp(0.0, 1.0);
    k * k * (3.0 - 2.0 * k)
}

#[expect(clippy::cast_possible_truncation, reason = "a picture needs no more")]
fn single(v: f64) -> f32 {
    v as f32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is bounded by a `get`"
)]
fn whole(v: f64) -> usize {
    v.max(0.0) as usize
}

/// The `n`th of `hz` a second, after `zero`.
fn tick(zero: MonoTime, n: u32, hz: u32) -> MonoTime {
    zero + Duration::from_nanos(u64::from(n) * 1_000_000_000 / u64::from(hz))
}

/// A camera of the simulated drive.
pub struct SimCamera {
    id: CameraId,
    script: Arc<Script>,
    painter: Painter,
    size: PictureSize,
    zero: MonoTime,
    next: u32,
}

impl SimCamera {
    /// Pictures of this size from `zero` on. The size has been checked.
    pub fn new(id: CameraId, script: Arc<Script>, size: PictureSize, zero: MonoTime) -> Self {
        let painter = match id {
            CameraId::Cabin => Painter::cabin(size),
            CameraId::Road => Painter::road(size),
        };
        Self { id, script, painter, size, zero, next: 0 }
    }
}

impl Camera for SimCamera {
    fn id(&self) -> CameraId {
        self.id
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        loop {
            let at = tick(self.zero, self.next, self.size.fps.max(1));
            let t_s = at.secs_from(self.zero);
            if t_s >= self.script.duration_s {
                return Ok(None);
            }
            self.next += 1;
            let out = |f: &Fault| match *f {
                Fault::CameraDropout { camera, from_s, to_s } => {
                    (camera == self.id).then_some((from_s, to_s))
                }
                Fault::GnssLoss { .. } | Fault::DriverUnseen { .. } => None,
            };
            if self.script.fault(out, t_s) {
                continue;
            }
            let canvas = match self.id {
                CameraId::Cabin => self.painter.paint_cabin(&self.script.cabin_view(t_s)),
                CameraId::Road => self.painter.paint_road(&self.script.road_view(t_s)),
            };
            let PictureSize { width, height, .. } = self.size;
            let (format, data) = (PixelFormat::I420, canvas.into_bytes());
            return Ok(Some(Frame { camera: self.id, at, width, height, format, data }));
        }
    }
}

/// GNSS (5 Hz), IMU (100 Hz), vehicle speed (25 Hz) and button of the simulated drive.
pub struct SimSignals {
    script: Arc<Script>,
    zero: MonoTime,
    next: u32,
    ready: VecDeque<Signal>,
}

impl SimSignals {
    /// Signals from `zero` on.
    pub fn new(script: Arc<Script>, zero: MonoTime) -> Self {
        Self { script, zero, next: 0, ready: VecDeque::new() }
    }

    fn sample(&mut self, n: u32, at: MonoTime, t_s: f64) {
        let v = self.script.vehicle(t_s);
        // The road under the wheels.
        let shake = 0.18 * (t_s * 71.0).sin() + 0.1 * (t_s * 149.0 + 1.0).sin();
        let shake = shake * (v.speed_mps / 25.0).min(1.0);
        self.ready.push_back(Signal::Imu(ImuSample {
            at,
            accel_mps2: [
                v.accel_mps2 + 0.3 * shake,
                v.speed_mps * v.yaw_rate_rad_s + 0.2 * shake,
                STANDARD_GRAVITY_MPS2 + shake,
            ],
            gyro_rad_s: Some([0.0, 0.0, v.yaw_rate_rad_s]),
        }));
        if n.is_multiple_of(SPEED_EVERY) {
            self.ready.push_back(Signal::Speed(VehicleSpeed { at, mps: v.speed_mps }));
        }
        let lost = |f: &Fault| match *f {
            Fault::GnssLoss { from_s, to_s } => Some((from_s, to_s)),
            Fault::CameraDropout { .. } | Fault::DriverUnseen { .. } => None,
        };
        if n.is_multiple_of(GNSS_EVERY) && !self.script.fault(lost, t_s) {
            let (north, east) = v.north_east_m;
            self.ready.push_back(Signal::Gnss(GnssFix {
                // The simulation knows no calendar.
                utc_unix_ms: None,
                speed_mps: Some(v.speed_mps),
                course_deg: Some(v.course_deg),
                hdop: Some(0.9),
                ..GnssFix::new(
                    at,
                    START_DEG.0 + north / METRES_PER_DEGREE,
                    START_DEG.1 + east / (METRES_PER_DEGREE * START_DEG.0.to_radians().cos()),
                )
            }));
        }
        for act in &self.script.acts {
            if let Act::Button { at_s } = *act
                && (t_s..t_s + STEP_S).contains(&at_s)
            {
                self.ready.push_back(Signal::Button(ButtonPress { at }));
            }
        }
    }
}

impl SignalSource for SimSignals {
    fn next_signal(&mut self) -> Result<Option<Signal>, SignalError> {
        if self.ready.is_empty() {
            let n = self.next;
            let at = tick(self.zero, n, IMU_HZ);
            let t_s = at.secs_from(self.zero);
            if t_s < self.script.duration_s {
                self.next += 1;
                self.sample(n, at, t_s);
            }
        }
        Ok(self.ready.pop_front())
    }
}

#[cfg(test)]
mod tests;
