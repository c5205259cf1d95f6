//! What perception would say of the road in a simulated drive.

use temoin_proto::{
    perception::{LanePosition, LeadVehicle, RoadObservation, Seen},
    time::MonoTime,
};

use crate::{
    sim::Script,
    sim_scene::{LANE_HALF_M, car_box},
};

/// One standard deviation of the distance, part of it: that of a good monocular measurement.
const DISTANCE_ERROR: f32 = 0.06;

impl Script {
    /// What perception would say of the road picture at `at`, where the drive's zero is `zero`:
    /// the car that is drawn ahead, and the van in the middle of its lane.
    pub fn road_observation(&self, at: MonoTime, zero: MonoTime) -> RoadObservation {
        let view = self.road_view(at.secs_from(zero));
        let confidence = 0.9;
        let lead = LeadVehicle {
            area: car_box(&view),
            distance_m: view.gap_m,
            error_m: view.gap_m * DISTANCE_ERROR,
        };
        let lane = LanePosition { offset_m: 0.0, width_m: 2.0 * LANE_HALF_M };
        RoadObservation {
            at,
            lead: Seen::Known { value: Some(lead), confidence },
            lane: Seen::Known { value: lane, confidence },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_knows_the_car_ahead() {
        let script = Script::demo();
        let zero = MonoTime::from_secs_f64(100.0);
        let mut nearest_m = f32::MAX;
        for n in 0..375_u32 {
            let at = MonoTime::from_secs_f64(100.0 + f64::from(n) * 0.2);
            let seen = script.road_observation(at, zero);
            let lead = seen.lead.known().copied().flatten().unwrap();
            let a = lead.area;
            let inside = a.x > 0.0 && a.y > 0.0 && a.x + a.w < 1.0 && a.y + a.h < 1.0;
            assert!(inside && a.w > 0.0 && a.h > 0.0, "{lead:?}");
            assert!(lead.error_m > 0.0 && lead.error_m < lead.distance_m);
            nearest_m = nearest_m.min(lead.distance_m);
        }
        // It brakes before the van does.
        assert!((5.0..20.0).contains(&nearest_m), "{nearest_m}");
    }
}
