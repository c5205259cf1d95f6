//! What is normal for the driver who sits there now: the neutral head pose, the neutral direction
//! of the eyes, and how far the eyes are when open.
//!
//! INVARIANT: it is never stored and never tied to an identity: it lives in RAM, begins anew with
//! every run, driver and change of the privacy state, and only *that* it was learned leaves here.
//!
//! **Neutral pose.** The configured one until enough poses were seen while driving; then their
//! median, once. A driver looks at the road most of the time, so the median is the road even with
//! one glance in three elsewhere. A median far from the configured pose is refused and reported:
//! better to say nothing than to call the road 'off the road'.
//!
//! **Open level.** An upper quantile of the openings over a minute of seen eyes in motion; blinks
//! and looks down lie below it. Closed is then where a part of the gap up to that level is left, so
//! that narrow eyes are not closed ones and wide eyes are not open when they are shut. Of the last
//! half hour's minutes the second best counts: a driver who squints into the sun, or tires, is
//! measured by better minutes, and one odd minute (somebody leaning in) raises nothing. Until it
//! was learned, or where it cannot be believed, the configured limit applies.

use std::{collections::VecDeque, time::Duration};

use temoin_proto::{
    perception::{EyeDirection, HeadPose, Seen},
    time::MonoTime,
};

use crate::{
    config::{AttentionConfig, DrowsinessConfig, KMH_TO_MPS, secs},
    seen_timer::sure,
};

/// Samples are taken no more often than this, whatever the camera's rate.
const INTERVAL: Duration = Duration::from_millis(200);
/// What a shut eye measures: the scale's own zero (`agent/src/perception/cabin/eye_scale.rs`).
const SHUT: f64 = 0.045;
/// Eye directions that a neutral one is taken of: one poses' sample in four, at the least.
const LEAST_EYES: usize = 4;

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

/// What came of learning, for device health. Said once each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Calibrated {
    /// The neutral pose is now this, against the camera.
    NeutralPose {
        /// Turn.
        yaw_deg: f64,
        /// Nod.
        pitch_deg: f64,
    },
    /// The median is too far from the configured pose, which stays. The camera may be turned.
    NeutralPoseImplausible {
        /// Turn.
        yaw_deg: f64,
        /// Nod.
        pitch_deg: f64,
    },
    /// The open level was learned.
    OpenLevel,
    /// The openings are beyond what eyes measure; the configured limit stays.
    OpenLevelImplausible,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibrationState {
    /// The neutral pose was learned; else the configured one applies.
    pub neutral_pose_learned: bool,
    /// The driver's open level, eyelid gap over eye width, where it was learned.
    pub open_level: Option<f64>,
    /// Eyes are closed below this, eyelid gap over eye width.
    pub closed_below: f64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Calibration {
    attention: AttentionConfig,
    eyes: DrowsinessConfig,
    /// Head yaw and pitch, then eye yaw and pitch, against the camera and against the head.
    neutral_deg: [f64; 4],
    learning_pose: bool,
    pose_learned: bool,
    poses: [Vec<f64>; 4],
    last_pose: Option<MonoTime>,
    openings: Vec<f64>,
    last_opening: Option<MonoTime>,
    /// One for each stretch, oldest first.
    levels: VecDeque<f64>,
    implausible_told: bool,
}

impl Calibration {
    /// Nothing is known of the driver.
    pub fn new(attention: &AttentionConfig, eyes: &DrowsinessConfig) -> Self {
        Self {
            attention: attention.clone(),
            eyes: eyes.clone(),
            neutral_deg: [attention.neutral_yaw_deg, attention.neutral_pitch_deg, 0.0, 0.0],
            learning_pose: attention.calibrate,
            pose_learned: false,
            poses: Default::default(),
            last_pose: None,
            openings: Vec::new(),
            last_opening: None,
            levels: VecDeque::new(),
            implausible_told: false,
        }
    }

    /// The pose against the neutral one, where it was seen surely enough.
    pub fn relative(&self, head: &Seen<HeadPose>) -> Option<RelativePose> {
        let (value, confidence) = sure(head, self.attention.min_confidence)?;
        let [yaw, pitch, ..] = self.neutral_deg;
        let pose = RelativePose {
            yaw_deg: f64::from(value.yaw_deg) - yaw,
            pitch_deg: f64::from(value.pitch_deg) - pitch,
            confidence,
        };
        (pose.yaw_deg.is_finite() && pose.pitch_deg.is_finite()).then_some(pose)
    }

    /// Where the eyes point against the head, neutral taken off and gain put on, where it was seen
    /// surely enough and can be.
    pub fn eye_direction(&self, gaze: &Seen<EyeDirection>) -> Option<RelativePose> {
        let c = &self.attention;
        let (value, confidence) = sure(gaze, c.eye_min_confidence)?;
        let [.., yaw, pitch] = self.neutral_deg;
        let yaw_deg = (f64::from(value.yaw_deg) - yaw) * c.eye_gain;
        let pitch_deg = (f64::from(value.pitch_deg) - pitch) * c.eye_gain;
        // NaN is in no range.
        let possible = |deg: f64| (-c.eye_max_deg..=c.eye_max_deg).contains(&deg);
        (possible(yaw_deg) && possible(pitch_deg)).then_some(RelativePose {
            yaw_deg,
            pitch_deg,
            confidence,
        })
    }

    /// The second best stretch's; the only one's.
    fn open_level(&self) -> Option<f64> {
        let mut levels: Vec<f64> = self.levels.iter().copied().collect();
        levels.sort_by(|a, b| b.total_cmp(a));
        levels.get(1).or(levels.first()).copied()
    }

    /// Eyes are closed below this.
    pub fn closed_below(&self) -> f64 {
        let c = &self.eyes;
        self.open_level().map_or(c.closed_below, |level| {
            let limit = SHUT + (level - SHUT) * c.closed_part;
            limit.max(c.closed_below_least).min(c.closed_below_most)
        })
    }

    /// How far it is.
    pub fn state(&self) -> CalibrationState {
        CalibrationState {
            neutral_pose_learned: self.pose_learned,
            open_level: self.open_level(),
            closed_below: self.closed_below(),
        }
    }

    /// Learns from a picture at a known speed: the pose, the eyes' direction, and the opening of
    /// eyes that a lowered or turned head does not cover. All as seen with the neutral pose so far.
    pub fn learn(
        &mut self,
        at: MonoTime,
        pose: Option<&RelativePose>,
        eyes: Option<&RelativePose>,
        opening: Option<f64>,
        speed_mps: Option<f64>,
    ) -> Vec<Calibrated> {
        if !speed_mps.is_some_and(|v| v > self.attention.calibrate_min_kmh * KMH_TO_MPS) {
            return Vec::new();
        }
        let due = |last: Option<MonoTime>| last.is_none_or(|last| at.since(last) >= INTERVAL);
        let mut told = Vec::new();
        if let Some(pose) = pose.filter(|_| self.learning_pose && due(self.last_pose)) {
            self.last_pose = Some(at);
            told.extend(self.learn_pose(pose, eyes));
        }
        if let Some(opening) =
            opening.filter(|_| self.eyes.learn_open_level && due(self.last_opening))
        {
            self.last_opening = Some(at);
            told.extend(self.learn_opening(opening));
        }
        told
    }

    fn learn_pose(
        &mut self,
        pose: &RelativePose,
        eyes: Option<&RelativePose>,
    ) -> Option<Calibrated> {
        let [yaw, pitch, ..] = self.neutral_deg;
        let [yaws, pitches, eye_yaws, eye_pitches] = &mut self.poses;
        yaws.push(pose.yaw_deg + yaw);
        pitches.push(pose.pitch_deg + pitch);
        if let Some(eyes) = eyes.filter(|_| self.attention.eye_gain > 0.0) {
            // The neutral one is still 0.
            eye_yaws.push(eyes.yaw_deg / self.attention.eye_gain);
            eye_pitches.push(eyes.pitch_deg / self.attention.eye_gain);
        }
        if !full(yaws, self.attention.calibrate_s) {
            return None;
        }
        self.learning_pose = false;
        let seen = yaws.len();
        let [yaws, pitches, eye_yaws, eye_pitches] = std::mem::take(&mut self.poses);
        let (yaw_deg, pitch_deg) = (quantile(yaws, 0.5)?, quantile(pitches, 0.5)?);
        let far = (yaw_deg - yaw).abs().max((pitch_deg - pitch).abs());
        if far > self.attention.calibrate_max_deg {
            return Some(Calibrated::NeutralPoseImplausible { yaw_deg, pitch_deg });
        }
        let eyes = if eye_yaws.len() * LEAST_EYES >= seen {
            quantile(eye_yaws, 0.5).zip(quantile(eye_pitches, 0.5))
        } else {
            None
        };
        let max = self.attention.calibrate_max_deg;
        let (eye_yaw, eye_pitch) =
            eyes.filter(|(y, p)| y.abs().max(p.abs()) <= max).unwrap_or_default();
        self.neutral_deg = [yaw_deg, pitch_deg, eye_yaw, eye_pitch];
        self.pose_learned = true;
        Some(Calibrated::NeutralPose { yaw_deg, pitch_deg })
    }

    fn learn_opening(&mut self, opening: f64) -> Option<Calibrated> {
        self.openings.push(opening);
        if !full(&self.openings, self.eyes.open_level_s) {
            return None;
        }
        let c = &self.eyes;
        let level = quantile(std::mem::take(&mut self.openings), c.open_level_quantile)?;
        if (c.open_level_least..=c.open_level_most).contains(&level) {
            if self.levels.len() >= c.open_level_stretches {
                self.levels.pop_front();
            }
            self.levels.push_back(level);
            (self.levels.len() == 1).then_some(Calibrated::OpenLevel)
        } else if self.levels.is_empty() && !std::mem::replace(&mut self.implausible_told, true) {
            Some(Calibrated::OpenLevelImplausible)
        } else {
            None
        }
    }
}

/// Whether samples at [`INTERVAL`] fill this long.
fn full(samples: &[f64], span_s: f64) -> bool {
    let count = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    INTERVAL.saturating_mul(count) >= secs(span_s)
}

/// The value below which this share (0 to 1) of the values lies.
fn quantile(mut values: Vec<f64>, share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1).and_then(|last| u32::try_from(last).ok())?;
    let rank = f64::from(last) * share;
    values.into_iter().zip(0_u32..).find(|(_, n)| f64::from(*n) >= rank).map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(yaw_deg: f32, pitch_deg: f32) -> Seen<HeadPose> {
        Seen::Known { value: HeadPose { yaw_deg, pitch_deg, roll_deg: 0.0 }, confidence: 0.9 }
    }

    /// Drives for `seconds` with poses and openings by the second; what was said, and when.
    fn learn(
        hz: u32,
        kmh: f64,
        seconds: u32,
        pose: impl Fn(f64) -> (f32, f32),
        opening: impl Fn(f64) -> f64,
    ) -> (Calibration, Vec<(Calibrated, f64)>) {
        let mut c = Calibration::new(&AttentionConfig::default(), &DrowsinessConfig::default());
        let mut told = Vec::new();
        for n in 0..hz * seconds {
            let at = f64::from(n) / f64::from(hz);
            let (yaw, pitch) = pose(at);
            let pose = c.relative(&seen(yaw, pitch));
            let t = MonoTime::from_secs_f64(at);
            let news = c.learn(t, pose.as_ref(), None, Some(opening(at)), Some(kmh * KMH_TO_MPS));
            told.extend(news.into_iter().map(|news| (news, at)));
        }
        (c, told)
    }

    #[test]
    fn the_neutral_pose_is_the_median_whatever_the_rate() {
        // A glance of 3 s to the far side in every 10 s.
        let pose = |s: f64| if s % 10.0 < 3.0 { (-60.0, -30.0) } else { (12.0, -8.0) };
        for hz in [5, 10, 15, 30] {
            let (_, told) = learn(hz, 60.0, 120, pose, |_| 0.25);
            let (learned, at) = told[0];
            assert_eq!(learned, Calibrated::NeutralPose { yaw_deg: 12.0, pitch_deg: -8.0 });
            assert!((59.0..66.0).contains(&at), "{hz} Hz: {at}");
        }
    }

    #[test]
    fn a_turned_camera_is_reported_and_a_parked_driver_not_learned() {
        let far = Calibrated::NeutralPoseImplausible { yaw_deg: 45.0, pitch_deg: 0.0 };
        assert_eq!(learn(10, 60.0, 80, |_| (45.0, 0.0), |_| 0.25).1[0].0, far);
        let (parked, told) = learn(10, 15.0, 120, |_| (5.0, 0.0), |_| 0.25);
        assert_eq!((told, parked.state().open_level), (vec![], None));
    }

    #[test]
    fn closed_is_a_part_of_each_drivers_own_gap() {
        for (open, closed_below) in [
            (0.265, 0.133),
            (0.16, 0.091),
            (0.12, 0.075),
            (0.30, 0.147),
            (0.40, 0.17),
            // Not believed: the configured limit stays.
            (0.05, 0.13),
            (0.90, 0.13),
        ] {
            // Three blinks of 0.3 s in 10 s.
            let lids = |s: f64| if s % 10.0 < 0.9 { 0.05 } else { open };
            let (c, told) = learn(10, 60.0, 70, |_| (0.0, 0.0), lids);
            assert!((c.closed_below() - closed_below).abs() < 1e-9, "{open}: {}", c.closed_below());
            let believed = (0.12..=0.45).contains(&open);
            let news =
                if believed { Calibrated::OpenLevel } else { Calibrated::OpenLevelImplausible };
            assert_eq!(told.iter().map(|t| t.0).collect::<Vec<_>>()[1], news);
        }
    }

    #[test]
    fn a_minute_of_squinting_is_corrected_and_one_of_tiring_changes_nothing() {
        let lids = |s: f64| match s {
            s if s < 65.0 => 0.16,
            s if s < 190.0 => 0.26,
            _ => 0.14,
        };
        let (c, told) = learn(10, 60.0, 600, |_| (0.0, 0.0), lids);
        assert_eq!(c.state().open_level, Some(0.26));
        assert_eq!(told.len(), 2, "said once each: {told:?}");
    }

    #[test]
    fn an_odd_minute_raises_nothing_and_a_bad_first_one_is_made_good() {
        let lids = |s: f64| if (120.0..180.0).contains(&s) { 0.40 } else { 0.16 };
        let (c, _) = learn(10, 60.0, 400, |_| (0.0, 0.0), lids);
        assert_eq!(c.state().open_level, Some(0.16));
        let lids = |s: f64| if s < 60.0 { 0.9 } else { 0.25 };
        let (c, told) = learn(10, 60.0, 200, |_| (0.0, 0.0), lids);
        assert_eq!(c.state().open_level, Some(0.25));
        let told: Vec<_> = told.into_iter().map(|t| t.0).skip(1).collect();
        assert_eq!(told, [Calibrated::OpenLevelImplausible, Calibrated::OpenLevel]);
    }

    #[test]
    fn eyes_that_cannot_be_are_none() {
        let c = Calibration::new(&AttentionConfig::default(), &DrowsinessConfig::default());
        let eyes = |yaw_deg, pitch_deg, confidence| {
            let value = EyeDirection { yaw_deg, pitch_deg };
            c.eye_direction(&Seen::Known { value, confidence })
        };
        assert!(eyes(20.0, -30.0, 0.9).is_some());
        for (yaw, pitch, confidence) in [
            (0.0, -30.0, 0.4),
            (0.0, -30.0, f32::NAN),
            (f32::NAN, 0.0, 0.9),
            (0.0, f32::NEG_INFINITY, 0.9),
            (80.0, 0.0, 0.9),
        ] {
            assert_eq!(eyes(yaw, pitch, confidence), None);
        }
    }
}
