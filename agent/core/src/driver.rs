//! What is watched of the driver, picture by picture: calibration, look, lids, phone, and the
//! detectors over them.
//!
//! INVARIANT: a covered face has neither look nor lids nor mouth: timers stop.
//! INVARIANT: this is RAM only, for one driver and one privacy state; [`DriverWatch::new`] forgets.

use std::time::Duration;

use temoin_proto::{
    perception::{DriverObservation, FaceCover, MouthOpening, NotSeen},
    time::MonoTime,
};

use crate::{
    attention::Attention,
    calibration::{Calibrated, Calibration, CalibrationState},
    config::{CoreConfig, DrowsinessConfig},
    drowsiness::Drowsiness,
    eye_closure::{Blinks, EyeClosure, ShutCounts, ShutKind},
    gaze_zone::{GazeZones, Look},
    lids::{self, Lids},
    perclos::PerclosReading,
    phone::Phone,
    policy::Finding,
    repeated_distraction::RepeatedDistraction,
    seen_timer::sure,
};

/// What the core made of the last picture of the driver, for installers and figures. Never stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DriverState {
    /// The picture's time.
    pub at: MonoTime,
    /// Where the driver looks.
    pub look: Look,
    /// Seen off the road for this long by now.
    pub off_road_for: Duration,
    /// The eyelids.
    pub lids: Lids,
    /// Their mean opening, eyelid gap over eye width, where they could be read.
    pub opening: Option<f64>,
    /// Seen closed for this long by now.
    pub closed_for: Duration,
    /// Blinks and closures since the driver is watched.
    pub shuts: ShutCounts,
    /// PERCLOS and the rate of blinks; none where too little was seen.
    pub perclos: Option<PerclosReading>,
    /// Yawns of the last minutes.
    pub yawns: u32,
    /// A phone was seen for this long by now.
    pub phone_for: Duration,
    /// What was learned of the driver.
    pub calibration: CalibrationState,
}

/// What one picture came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watched {
    /// For the policy.
    pub findings: Vec<Finding>,
    /// For device health.
    pub calibrated: Vec<Calibrated>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct DriverWatch {
    eyes: DrowsinessConfig,
    calibration: Calibration,
    zones: GazeZones,
    attention: Attention,
    repeated: RepeatedDistraction,
    closure: EyeClosure,
    blinks: Blinks,
    drowsiness: Drowsiness,
    phone: Phone,
    state: Option<DriverState>,
}

impl DriverWatch {
    /// Nothing is known of the driver.
    pub fn new(config: &CoreConfig) -> Self {
        Self {
            eyes: config.drowsiness.clone(),
            calibration: Calibration::new(&config.attention, &config.drowsiness),
            zones: GazeZones::new(&config.attention, config.vehicle.driver_side),
            attention: Attention::new(&config.attention),
            repeated: RepeatedDistraction::new(&config.attention),
            closure: EyeClosure::new(&config.drowsiness),
            blinks: Blinks::new(&config.drowsiness),
            drowsiness: Drowsiness::new(&config.drowsiness),
            phone: Phone::new(&config.phone),
            state: None,
        }
    }

    /// Takes what one picture says, and the speed then. Times must increase.
    pub fn step(&mut self, seen: &DriverObservation, speed_mps: Option<f64>) -> Watched {
        let at = seen.at;
        let cover = sure(&seen.cover, self.eyes.min_confidence);
        let covered = matches!(cover, Some((FaceCover::Covered, _)));
        let hidden = DriverObservation {
            phone: seen.phone,
            ..DriverObservation::unseen(at, NotSeen::Covered)
        };
        let face = if covered { &hidden } else { seen };

        let head = self.calibration.relative(&face.head);
        let eyes = self.calibration.eye_direction(&face.gaze);
        let reading = lids::read(face, head.as_ref(), &self.eyes);
        let closed_below = self.calibration.closed_below();
        let lids =
            lids::judge(reading.as_ref(), head.as_ref(), eyes.as_ref(), closed_below, &self.eyes);
        // A shut eye has no direction, whatever was measured on its lid.
        let open_eyes = eyes.filter(|_| !matches!(lids, Lids::Closed { .. }));
        let look = self.zones.look(head.as_ref(), open_eyes.as_ref());
        let opening = reading.map(|reading| reading.opening);
        let calibrated =
            self.calibration.learn(at, head.as_ref(), open_eyes.as_ref(), opening, speed_mps);

        let mut findings = Vec::new();
        let long = self.attention.step(at, &look, speed_mps);
        let repeated = self.repeated.step(at, &look, long.is_some(), speed_mps);
        let phone = self.phone.step(at, &seen.phone, speed_mps);
        findings.extend([long, repeated, phone].into_iter().flatten().map(Finding::Attention));

        let shut = self.blinks.step(at, lids);
        let blinked = matches!(shut, Some((ShutKind::Blink, _)));
        let mouth = sure(&face.mouth, self.eyes.min_confidence)
            .map(|(MouthOpening(opening), confidence)| (f64::from(opening), confidence))
            .filter(|(opening, _)| opening.is_finite());
        let closure = self.closure.step(at, lids, speed_mps);
        let drowsy = self.drowsiness.step(at, lids, blinked, mouth, speed_mps);
        findings.extend([closure, drowsy].into_iter().flatten().map(Finding::Event));

        self.state = Some(DriverState {
            at,
            look,
            off_road_for: self.attention.off_for(),
            lids,
            opening,
            closed_for: self.closure.closed_for(),
            shuts: self.blinks.counts(),
            perclos: self.drowsiness.perclos(),
            yawns: self.drowsiness.yawns(),
            phone_for: self.phone.seen_for(),
            calibration: self.calibration.state(),
        });
        Watched { findings, calibrated }
    }

    /// After the last picture; none before the first.
    pub const fn state(&self) -> Option<DriverState> {
        self.state
    }
}
