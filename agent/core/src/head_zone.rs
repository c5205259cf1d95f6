//! Where the driver looks, from the head pose: road, mirror, roof or off the road; and the neutral
//! pose that the angles are measured against.
//!
//! The zones are boxes of yaw and pitch against the neutral pose, the same on both sides so that
//! they hold for left- and right-hand drive. In order: **roof** is all that is far up; **forward**
//! the cone of windscreen and instruments; **mirror** a band on either side of it, with the near
//! part of the side windows; **off the road** is the rest: far to the side, lap, console, seat.
//!
//! The neutral pose is the configured one until enough poses were seen while driving; then it is
//! their median, once per run. A driver looks at the road most of the time, so the median is the
//! road even with one glance in three elsewhere. A median that is far from the configured pose is
//! refused and reported: better to say nothing than to call the road 'off the road'.

use std::time::Duration;

use temoin_proto::{
    perception::{HeadPose, Seen},
    time::MonoTime,
};

use crate::config::{AttentionConfig, KMH_TO_MPS, secs};

/// Poses are taken for the median no more often than this, whatever the camera's rate.
const CALIBRATION_INTERVAL: Duration = Duration::from_millis(200);

/// Where the driver looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Look {
    /// Through the windscreen.
    Road,
    /// At a mirror.
    Mirror,
    /// At the roof.
    Roof,
    /// Elsewhere.
    OffRoad {
        /// Confidence of the pose, 0 to 1.
        confidence: f32,
    },
    /// Not seen, or not surely.
    Unknown,
}

/// A head pose against the neutral one, degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RelativePose {
    /// Turn, left positive.
    pub yaw_deg: f64,
    /// Nod, up positive.
    pub pitch_deg: f64,
    /// 0 to 1.
    pub confidence: f32,
}

/// What came of learning the neutral pose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Calibration {
    /// It is now this, against the camera.
    Learned {
        /// Turn.
        yaw_deg: f64,
        /// Nod.
        pitch_deg: f64,
    },
    /// The median is too far from the configured pose, which stays. The camera may be turned.
    Implausible {
        /// Turn.
        yaw_deg: f64,
        /// Nod.
        pitch_deg: f64,
    },
}

/// See the module.
#[derive(Clone, Debug)]
pub struct HeadZones {
    config: AttentionConfig,
    neutral_deg: [f64; 2],
    learning: bool,
    yaw_deg: Vec<f64>,
    pitch_deg: Vec<f64>,
    seen_for: Duration,
    last_taken: Option<MonoTime>,
}

impl HeadZones {
    /// With the configured neutral pose.
    pub fn new(config: &AttentionConfig) -> Self {
        Self {
            config: config.clone(),
            neutral_deg: [config.neutral_yaw_deg, config.neutral_pitch_deg],
            learning: config.calibrate,
            yaw_deg: Vec::new(),
            pitch_deg: Vec::new(),
            seen_for: Duration::ZERO,
            last_taken: None,
        }
    }

    /// The pose against the neutral one, where it was seen surely enough.
    pub fn relative(&self, head: &Seen<HeadPose>) -> Option<RelativePose> {
        let Seen::Known { value, confidence } = *head else { return None };
        let [yaw, pitch] = self.neutral_deg;
        let pose = RelativePose {
            yaw_deg: f64::from(value.yaw_deg) - yaw,
            pitch_deg: f64::from(value.pitch_deg) - pitch,
            confidence,
        };
        let sure = f64::from(confidence) >= self.config.min_confidence;
        (sure && pose.yaw_deg.is_finite() && pose.pitch_deg.is_finite()).then_some(pose)
    }

    /// Where a driver with this pose looks.
    pub fn look(&self, pose: Option<&RelativePose>) -> Look {
        let Some(&RelativePose { yaw_deg, pitch_deg, confidence }) = pose else {
            return Look::Unknown;
        };
        let c = &self.config;
        let side = yaw_deg.abs();
        if pitch_deg >= c.roof_pitch_deg {
            Look::Roof
        } else if side <= c.forward_yaw_deg && pitch_deg >= c.down_pitch_deg {
            Look::Road
        } else if side > c.forward_yaw_deg
            && side <= c.mirror_yaw_deg
            && pitch_deg >= c.mirror_down_pitch_deg
        {
            Look::Mirror
        } else {
            Look::OffRoad { confidence }
        }
    }

    /// Learns from a pose at a known speed. Some once, when the learning ends.
    pub fn learn(
        &mut self,
        at: MonoTime,
        pose: Option<&RelativePose>,
        speed_mps: Option<f64>,
    ) -> Option<Calibration> {
        let fast = speed_mps.is_some_and(|v| v > self.config.calibrate_min_kmh * KMH_TO_MPS);
        let due = self.last_taken.is_none_or(|last| at.since(last) >= CALIBRATION_INTERVAL);
        let pose = pose.filter(|_| self.learning && fast && due)?;
        let [yaw, pitch] = self.neutral_deg;
        self.yaw_deg.push(pose.yaw_deg + yaw);
        self.pitch_deg.push(pose.pitch_deg + pitch);
        self.last_taken = Some(at);
        self.seen_for += CALIBRATION_INTERVAL;
        if self.seen_for < secs(self.config.calibrate_s) {
            return None;
        }
        self.learning = false;
        let yaw_deg = median(std::mem::take(&mut self.yaw_deg))?;
        let pitch_deg = median(std::mem::take(&mut self.pitch_deg))?;
        let far = (yaw_deg - yaw).abs().max((pitch_deg - pitch).abs());
        Some(if far > self.config.calibrate_max_deg {
            Calibration::Implausible { yaw_deg, pitch_deg }
        } else {
            self.neutral_deg = [yaw_deg, pitch_deg];
            Calibration::Learned { yaw_deg, pitch_deg }
        })
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(yaw_deg: f32, pitch_deg: f32, confidence: f32) -> Seen<HeadPose> {
        Seen::Known { value: HeadPose { yaw_deg, pitch_deg, roll_deg: 0.0 }, confidence }
    }

    #[test]
    fn zones() {
        let zones = HeadZones::new(&AttentionConfig::default());
        let off = Look::OffRoad { confidence: 0.9 };
        for (yaw, pitch, look) in [
            (0.0, 0.0, Look::Road),
            (-19.0, -19.0, Look::Road),
            (30.0, 0.0, Look::Mirror),
            (-38.0, -10.0, Look::Mirror),
            (0.0, 30.0, Look::Roof),
            (50.0, 25.0, Look::Roof),
            (0.0, -25.0, off),
            (30.0, -18.0, off),
            (-55.0, 0.0, off),
        ] {
            let pose = zones.relative(&seen(yaw, pitch, 0.9));
            assert_eq!(zones.look(pose.as_ref()), look, "{yaw} {pitch}");
        }
        for head in [seen(50.0, 0.0, 0.1), seen(f32::NAN, 0.0, 0.9), seen(0.0, 0.0, f32::NAN)] {
            assert_eq!(zones.look(zones.relative(&head).as_ref()), Look::Unknown, "{head:?}");
        }
    }

    /// Drives for two minutes with poses from `pose(second)` and gives what was learned, and when.
    fn learn(hz: u32, kmh: f64, pose: impl Fn(f64) -> (f32, f32)) -> Option<(Calibration, f64)> {
        let mut zones = HeadZones::new(&AttentionConfig::default());
        (0..hz * 120).find_map(|n| {
            let at = f64::from(n) / f64::from(hz);
            let (yaw, pitch) = pose(at);
            let pose = zones.relative(&seen(yaw, pitch, 0.9));
            let t = MonoTime::from_secs_f64(at);
            zones.learn(t, pose.as_ref(), Some(kmh * KMH_TO_MPS)).map(|c| (c, at))
        })
    }

    #[test]
    fn the_neutral_pose_is_the_median_whatever_the_rate() {
        // A glance of 3 s to the far side in every 10 s.
        let pose = |s: f64| if s % 10.0 < 3.0 { (-60.0, -30.0) } else { (12.0, -8.0) };
        for hz in [5, 10, 15, 30] {
            let (learned, at) = learn(hz, 60.0, pose).unwrap();
            assert_eq!(learned, Calibration::Learned { yaw_deg: 12.0, pitch_deg: -8.0 });
            assert!((59.0..66.0).contains(&at), "{hz} Hz: {at}");
        }
    }

    #[test]
    fn a_turned_camera_is_reported_and_a_parked_driver_not_learned() {
        let far = Calibration::Implausible { yaw_deg: 45.0, pitch_deg: 0.0 };
        assert_eq!(learn(10, 60.0, |_| (45.0, 0.0)).unwrap().0, far);
        assert_eq!(learn(10, 15.0, |_| (5.0, 0.0)), None);
    }
}
