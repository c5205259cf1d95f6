//! What the whole core costs: every sensor, every detector, without pictures and models.

use std::hint::black_box;

use anyhow::Result;
use temoin_agent_core::{
    config::CoreConfig,
    drive::{Drive, Input},
    policy::PrivacyState,
};
use temoin_proto::{
    perception::{
        DriverObservation, EyelidOpening, HeadPose, LeadVehicle, NotSeen, PerEye, PictureBox,
        RoadObservation, Seen,
    },
    samples::{
        ControlSample, ControlState, GnssFix, ImuSample, STANDARD_GRAVITY_MPS2, Signal,
        VehicleSpeed,
    },
    time::MonoTime,
};

use crate::{cpu, figures::Figure};

/// The longest day that a driver may drive in the European Union (Regulation 561/2006), hours.
const DAY_H: u32 = 10;
/// Samples a second.
const IMU_HZ: u32 = 100;
/// A van in town: IMU at 100 Hz, the bus at 50 Hz with its controls at 1 Hz, GNSS at 10 Hz, the driver
/// at 10 Hz and the road at 5 Hz. Made on the way, so that a day fits in memory.
struct Day {
    n: u32,
    samples: u32,
    /// What comes at this step, last first.
    now: Vec<Input>,
    way_m: f64,
}

impl Day {
    const fn of(seconds: u32) -> Self {
        Self { n: 0, samples: seconds * IMU_HZ, now: Vec::new(), way_m: 0.0 }
    }
}

impl Iterator for Day {
    type Item = (MonoTime, Input);

    fn next(&mut self) -> Option<Self::Item> {
        let at = MonoTime::from_ns(u64::from(self.n) * 10_000_000);
        if let Some(input) = self.now.pop() {
            return Some((at, input));
        }
        self.n += 1;
        if self.n > self.samples {
            return None;
        }
        let at = MonoTime::from_ns(u64::from(self.n) * 10_000_000);
        let s = f64::from(self.n) / f64::from(IMU_HZ);
        let (slow, quick) = ((s / 7.0).sin_cos(), (s * 75.0).sin());
        let mps = 9.0 + 5.0 * slow.0;
        let (gained, rate) = (5.0 / 7.0 * slow.1, 0.1 * slow.0 * slow.1);
        self.way_m += mps / f64::from(IMU_HZ);
        let every = |hz: u32| self.n.is_multiple_of(IMU_HZ / hz);
        if every(1) {
            for state in [ControlState::BeltFastened(true), ControlState::EngineRpm(1500.0)] {
                self.now.push(Input::Signal(Signal::Control(ControlSample { at, state })));
            }
        }
        if every(5) {
            let area = PictureBox { x: 0.4, y: 0.5, w: 0.1, h: 0.1 };
            let lead = LeadVehicle { area, distance_m: 25.0, error_m: 3.0 };
            self.now.push(Input::Road(RoadObservation {
                lead: Seen::Known { value: Some(lead), confidence: 0.9 },
                ..RoadObservation::unseen(at, NotSeen::NoModel)
            }));
        }
        if every(10) {
            self.now.push(Input::Driver(driver(at)));
            self.now.push(Input::Signal(Signal::Gnss(GnssFix {
                speed_mps: Some(mps),
                course_deg: Some(0.0),
                ..GnssFix::new(at, 48.0 + self.way_m / 111_000.0, 2.0)
            })));
        }
        if every(50) {
            self.now.push(Input::Signal(Signal::Speed(VehicleSpeed { at, mps })));
        }
        let imu = ImuSample {
            at,
            accel_mps2: [
                gained + 0.6 * quick,
                mps * rate + 0.4 * quick,
                STANDARD_GRAVITY_MPS2 + 0.6 * quick,
            ],
            gyro_rad_s: Some([0.01 * quick, 0.0, rate]),
        };
        Some((at, Input::Signal(Signal::Imu(imu))))
    }
}

fn driver(at: MonoTime) -> DriverObservation {
    fn known<T>(value: T) -> Seen<T> {
        Seen::Known { value, confidence: 0.9 }
    }
    let eye = known(EyelidOpening(0.24));
    DriverObservation {
        face: known(PictureBox { x: 0.4, y: 0.3, w: 0.2, h: 0.3 }),
        head: known(HeadPose { yaw_deg: 1.0, pitch_deg: -2.0, roll_deg: 0.0 }),
        eyelids: eye,
        eyes: PerEye { right: eye, left: eye },
        ..DriverObservation::unseen(at, NotSeen::NoFace)
    }
}

/// Processor seconds of a day through the core, and of making the same inputs and nothing else.
fn of_a_day() -> (f64, f64) {
    let began = cpu::of_this_thread();
    for input in Day::of(DAY_H * 3600) {
        black_box(input);
    }
    let bare_s = cpu::of_this_thread() - began;
    let began = cpu::of_this_thread();
    let mut drive = Drive::new(CoreConfig::for_recordings(), PrivacyState::Recording);
    let mut out = Vec::new();
    for (at, input) in Day::of(DAY_H * 3600) {
        drive.step(at, input, &mut out);
        black_box(out.drain(..).count());
    }
    (cpu::of_this_thread() - began, bare_s)
}

/// The share of a processor core that the whole core takes at 100 Hz, and the time of a day's drive of
/// signals. The limit is the cost of making the samples.
///
/// # Errors
/// Never yet: as the other measurements.
pub fn figures(to: &mut Vec<Figure>) -> Result<()> {
    let (core_s, bare_s) = of_a_day();
    let day_s = f64::from(DAY_H) * 3600.0;
    let set = format!("{DAY_H} h of made-up signals, IMU {IMU_HZ} Hz, all sensors and detectors");
    let samples = usize::try_from(DAY_H * 3600 * IMU_HZ)?;
    to.push(
        Figure::new("motion.core_fraction", core_s / day_s, "1", samples, set.clone())
            .limit(bare_s / day_s)
            .goal("below 0.02"),
    );
    to.push(
        Figure::new("motion.day_replay_s", core_s, "s", samples, set).limit(bare_s).goal("below 5"),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_made_up_day_is_quiet_and_in_order() {
        let mut drive = Drive::new(CoreConfig::for_recordings(), PrivacyState::Recording);
        let (mut out, mut last, mut inputs) = (vec![], MonoTime::ZERO, 0);
        for (at, input) in Day::of(120) {
            assert!(at >= last);
            last = at;
            inputs += 1;
            drive.step(at, input, &mut out);
        }
        assert_eq!(inputs, 120 * (100 + 50 + 20 + 5 + 2));
        assert_eq!(drive.refused_samples(), 0);
        assert!((drive.driven_m() - 120.0 * 9.0).abs() < 100.0, "{}", drive.driven_m());
        let flagged = |c: &temoin_agent_core::drive::Command| {
            matches!(c, temoin_agent_core::drive::Command::Flag { .. })
        };
        assert!(!out.iter().any(flagged), "{out:?}");
    }
}
