//! Open, closed or not seen: one picture's eyelids.
//!
//! INVARIANT: 'not seen' is never 'closed'. Hidden eyes, an unsure or impossible reading, a head
//! turned away or bent down, lids lowered over a gaze that goes down: all are unknown.
//! INVARIANT: both eyes must agree, or only one was seen. One closed beside an open one is a wink
//! or a badly seen face, and not a closure.

use temoin_proto::perception::{DriverObservation, EyelidOpening, Seen};

use crate::{calibration::RelativePose, config::DrowsinessConfig, seen_timer::sure};

/// The eyelids of one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lids {
    /// At least one eye is open.
    Open,
    /// Both are closed, or the only one that was seen.
    Closed {
        /// 0 to 1.
        confidence: f32,
    },
    /// Not seen, or not surely.
    Unknown,
}

/// What was measured of the eyes that were seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LidReading {
    /// Mean opening, eyelid gap over eye width.
    pub opening: f64,
    /// The more open eye's.
    pub widest: f64,
    /// That of the less sure eye, 0 to 1.
    pub confidence: f32,
}

/// How the head and the eyes bear on the lids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bearing {
    /// Eyelids tell whether the eyes are open.
    Free,
    /// They hang low over open eyes.
    Lowered,
    /// They cannot be judged.
    Away,
}

fn bearing(
    head: Option<&RelativePose>,
    eyes: Option<&RelativePose>,
    c: &DrowsinessConfig,
) -> Bearing {
    let away = |head: &RelativePose| {
        head.pitch_deg < c.head_down_deg || head.yaw_deg.abs() > c.head_turned_deg
    };
    if head.is_some_and(away) {
        Bearing::Away
    } else if head.is_some_and(|head| head.pitch_deg < c.head_lowered_deg)
        || eyes.is_some_and(|eyes| eyes.pitch_deg < c.eyes_lowered_deg)
    {
        Bearing::Lowered
    } else {
        Bearing::Free
    }
}

/// Reads the eyes that were seen; where the source has no reading of each, their mean. None where
/// no eye was, or the head's pose leaves nothing to be read.
pub fn read(
    seen: &DriverObservation,
    head: Option<&RelativePose>,
    c: &DrowsinessConfig,
) -> Option<LidReading> {
    if bearing(head, None, c) == Bearing::Away {
        return None;
    }
    let one = |eye: &Seen<EyelidOpening>| {
        let (EyelidOpening(opening), confidence) = sure(eye, c.min_confidence)?;
        // No number is in no range; nor is an eye ever more than twice as high as wide.
        (0.0..=2.0).contains(&opening).then_some((f64::from(opening), confidence))
    };
    let eyes = [one(&seen.eyes.right), one(&seen.eyes.left)];
    let reading = |opening, widest, confidence| Some(LidReading { opening, widest, confidence });
    match eyes {
        [Some((right, a)), Some((left, b))] => {
            reading(right.midpoint(left), right.max(left), a.min(b))
        }
        [Some((one, confidence)), None] | [None, Some((one, confidence))] => {
            reading(one, one, confidence)
        }
        [None, None] => {
            // Eyes that were measured one by one and not surely are not made sure by their mean.
            let unmeasured = seen.eyes.right.known().is_none() && seen.eyes.left.known().is_none();
            let (mean, confidence) = one(&seen.eyelids).filter(|_| unmeasured)?;
            reading(mean, mean, confidence)
        }
    }
}

/// Judges a reading: `closed_below` is the driver's limit.
pub fn judge(
    reading: Option<&LidReading>,
    head: Option<&RelativePose>,
    eyes: Option<&RelativePose>,
    closed_below: f64,
    c: &DrowsinessConfig,
) -> Lids {
    let Some(reading) = reading else { return Lids::Unknown };
    if reading.opening >= closed_below || reading.widest >= closed_below * c.wink_ratio {
        return Lids::Open;
    }
    let closed = Lids::Closed { confidence: reading.confidence };
    match bearing(head, eyes, c) {
        Bearing::Free => closed,
        Bearing::Lowered if reading.opening < closed_below * c.lowered_part => closed,
        Bearing::Lowered | Bearing::Away => Lids::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use temoin_proto::{
        perception::{NotSeen, PerEye},
        time::MonoTime,
    };

    use super::*;

    fn pose(yaw_deg: f64, pitch_deg: f64) -> Option<RelativePose> {
        Some(RelativePose { yaw_deg, pitch_deg, confidence: 0.9 })
    }

    /// Each eye as (opening, confidence).
    fn lids(
        right: Option<(f32, f32)>,
        left: Option<(f32, f32)>,
        mean: Option<(f32, f32)>,
        head: Option<RelativePose>,
        eyes: Option<RelativePose>,
    ) -> &'static str {
        let seen = |eye: Option<(f32, f32)>| {
            eye.map_or(Seen::Unknown(NotSeen::EyesUnclear), |(opening, confidence)| Seen::Known {
                value: EyelidOpening(opening),
                confidence,
            })
        };
        let c = DrowsinessConfig::default();
        let observation = DriverObservation {
            eyelids: seen(mean),
            eyes: PerEye { right: seen(right), left: seen(left) },
            ..DriverObservation::unseen(MonoTime::ZERO, NotSeen::NoModel)
        };
        let reading = read(&observation, head.as_ref(), &c);
        match judge(reading.as_ref(), head.as_ref(), eyes.as_ref(), c.closed_below, &c) {
            Lids::Open => "open",
            Lids::Closed { .. } => "closed",
            Lids::Unknown => "unknown",
        }
    }

    #[test]
    fn both_eyes_agree_or_only_the_seen_one_counts() {
        let eye = |opening| Some((opening, 0.9));
        for (right, left, expected) in [
            (eye(0.05), eye(0.06), "closed"),
            (eye(0.25), eye(0.24), "open"),
            (eye(0.05), None, "closed"),
            (None, eye(0.24), "open"),
            (None, None, "unknown"),
            // A wink, and a face from the side.
            (eye(0.02), eye(0.22), "open"),
            (eye(0.05), eye(0.17), "open"),
            // Noise about the limit is no wink.
            (eye(0.10), eye(0.135), "closed"),
            // An unsure eye is not seen.
            (eye(0.24), Some((0.03, 0.1)), "open"),
            (eye(0.03), Some((0.25, 0.1)), "closed"),
            (Some((0.03, 0.1)), Some((0.03, 0.2)), "unknown"),
        ] {
            assert_eq!(lids(right, left, None, None, None), expected, "{right:?} {left:?}");
        }
    }

    #[test]
    fn the_mean_counts_only_where_the_eyes_were_not_read_one_by_one() {
        assert_eq!(lids(None, None, Some((0.05, 0.9)), None, None), "closed");
        let unsure = Some((0.05, 0.1));
        assert_eq!(lids(unsure, unsure, Some((0.05, 0.9)), None, None), "unknown");
    }

    #[test]
    fn what_cannot_be_is_unknown() {
        for opening in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.1, 3.0] {
            let eye = Some((opening, 0.9));
            assert_eq!(lids(eye, eye, eye, None, None), "unknown", "{opening}");
            assert_eq!(lids(eye, Some((0.05, 0.9)), None, None, None), "closed", "{opening}");
        }
        assert_eq!(lids(Some((0.05, f32::NAN)), None, None, None, None), "unknown");
    }

    #[test]
    fn lids_over_a_lowered_gaze_are_not_closed_eyes() {
        let half = Some((0.11, 0.9));
        let shut = Some((0.05, 0.9));
        for (head, eyes, of_half, of_shut) in [
            (None, None, "closed", "closed"),
            (pose(0.0, 0.0), None, "closed", "closed"),
            (pose(30.0, -8.0), None, "closed", "closed"),
            (pose(0.0, -16.0), None, "unknown", "closed"),
            (pose(0.0, 0.0), pose(0.0, -30.0), "unknown", "closed"),
            (pose(0.0, -30.0), None, "unknown", "unknown"),
            (pose(60.0, 0.0), None, "unknown", "unknown"),
        ] {
            assert_eq!(lids(half, half, None, head, eyes), of_half, "{head:?} {eyes:?}");
            assert_eq!(lids(shut, shut, None, head, eyes), of_shut, "{head:?} {eyes:?}");
        }
    }
}
