//! Headway: the time to the vehicle ahead at one's own speed, with its error.
//!
//! Pure arithmetic on one road picture and the speed then; it judges nothing.
//!
//! INVARIANT: what was not seen, is not sure, or is not a number is unknown, and so is a headway at
//! an unknown or a low speed.

use temoin_proto::{
    perception::{LeadVehicle, NotSeen, Seen},
    time::MonoTime,
};

use crate::{
    config::{HeadwayConfig, KMH_TO_MPS},
    seen_timer::sure,
};

/// Why there is no headway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHeadway {
    /// Whether somebody is ahead was not seen.
    NotSeen(NotSeen),
    /// It was seen, but not surely, or with numbers that cannot be.
    Unsure,
    /// The own speed is unknown.
    NoSpeed,
    /// The own speed is too low to say anything.
    Slow,
}

/// The way ahead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Headway {
    /// Nobody is ahead in the own lane.
    Free,
    /// Somebody is.
    Behind {
        /// Distance, metres.
        distance_m: f64,
        /// Time to there at the own speed, seconds.
        time_s: f64,
        /// One standard deviation of `time_s`, seconds.
        error_s: f64,
        /// Of the sighting, 0 to 1.
        confidence: f32,
    },
    /// Unknown.
    Unknown(NoHeadway),
}

/// The last road picture that was admitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoadState {
    /// Its time.
    pub at: MonoTime,
    /// The way ahead.
    pub headway: Headway,
}

/// Headway to what was seen ahead, at this speed. Errors of distance and speed are independent.
pub fn headway(
    lead: &Seen<Option<LeadVehicle>>,
    speed_mps: Option<f64>,
    c: &HeadwayConfig,
) -> Headway {
    let unknown = Headway::Unknown;
    if let Seen::Unknown(why) = *lead {
        return unknown(NoHeadway::NotSeen(why));
    }
    let Some((lead, confidence)) = sure(lead, c.min_confidence) else {
        return unknown(NoHeadway::Unsure);
    };
    let Some(lead) = lead else { return Headway::Free };
    let (distance_m, error_m) = (f64::from(lead.distance_m), f64::from(lead.error_m));
    let possible = distance_m > 0.0 && distance_m.is_finite() && error_m >= 0.0;
    if !possible || !error_m.is_finite() {
        return unknown(NoHeadway::Unsure);
    }
    let Some(speed_mps) = speed_mps.filter(|v| v.is_finite()) else {
        return unknown(NoHeadway::NoSpeed);
    };
    if speed_mps < c.min_speed_kmh * KMH_TO_MPS || speed_mps <= 0.0 {
        return unknown(NoHeadway::Slow);
    }
    let time_s = distance_m / speed_mps;
    let speed_share = c.speed_error_kmh * KMH_TO_MPS / speed_mps;
    let error_s = time_s * (error_m / distance_m).hypot(speed_share);
    Headway::Behind { distance_m, time_s, error_s, confidence }
}

#[cfg(test)]
mod tests {
    use temoin_proto::perception::PictureBox;

    use super::*;

    fn lead(distance_m: f32, error_m: f32, confidence: f32) -> Seen<Option<LeadVehicle>> {
        let area = PictureBox { x: 0.4, y: 0.5, w: 0.1, h: 0.1 };
        Seen::Known { value: Some(LeadVehicle { area, distance_m, error_m }), confidence }
    }

    fn of(lead: Seen<Option<LeadVehicle>>, kmh: Option<f64>) -> Headway {
        headway(&lead, kmh.map(|v| v * KMH_TO_MPS), &HeadwayConfig::default())
    }

    #[test]
    fn distance_over_speed_with_its_error() {
        let Headway::Behind { distance_m, time_s, error_s, .. } =
            of(lead(30.0, 3.0, 0.9), Some(108.0))
        else {
            panic!("no headway");
        };
        assert!((distance_m - 30.0).abs() < 1e-9 && (time_s - 1.0).abs() < 1e-9);
        // 10 % of the distance; 1 km/h in 108 adds little.
        assert!((error_s - 0.1004).abs() < 1e-3, "{error_s}");
    }

    #[test]
    fn unknown_says_why() {
        use Headway::{Free, Unknown};
        let clear = Seen::Known { value: None, confidence: 0.9 };
        let dark = NotSeen::BadLight;
        for (seen, kmh, expected) in [
            (clear, Some(90.0), Free),
            (clear, None, Free),
            (Seen::Unknown(dark), Some(90.0), Unknown(NoHeadway::NotSeen(dark))),
            (lead(30.0, 3.0, 0.1), Some(90.0), Unknown(NoHeadway::Unsure)),
            (lead(30.0, 3.0, f32::NAN), Some(90.0), Unknown(NoHeadway::Unsure)),
            (lead(f32::NAN, 3.0, 0.9), Some(90.0), Unknown(NoHeadway::Unsure)),
            (lead(0.0, 3.0, 0.9), Some(90.0), Unknown(NoHeadway::Unsure)),
            (lead(-5.0, 3.0, 0.9), Some(90.0), Unknown(NoHeadway::Unsure)),
            (lead(f32::INFINITY, 3.0, 0.9), Some(90.0), Unknown(NoHeadway::Unsure)),
            (lead(30.0, f32::NAN, 0.9), Some(90.0), Unknown(NoHeadway::Unsure)),
            (lead(30.0, f32::INFINITY, 0.9), Some(90.0), Unknown(NoHeadway::Unsure)),
            (lead(30.0, 3.0, 0.9), None, Unknown(NoHeadway::NoSpeed)),
            (lead(30.0, 3.0, 0.9), Some(f64::NAN), Unknown(NoHeadway::NoSpeed)),
            (lead(3.0, 0.3, 0.9), Some(12.0), Unknown(NoHeadway::Slow)),
            (lead(3.0, 0.3, 0.9), Some(0.0), Unknown(NoHeadway::Slow)),
        ] {
            assert_eq!(of(seen, kmh), expected, "{seen:?} {kmh:?}");
        }
    }
}
