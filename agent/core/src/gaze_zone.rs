//! Where the driver looks: road, a mirror, the roof, down, aside; or unclear.
//!
//! Where the eyes are seen, it is the gaze that counts: head and eyes together. A head held
//! straight with the eyes on the lap looks down; a head turned aside with the eyes on the road
//! looks at the road. Where the eyes are not seen, the head alone counts, with edges of its own:
//! the head turns about six tenths of a gaze.
//!
//! The zones are boxes of yaw and pitch against the neutral look, the same on both sides, so that
//! they hold for left- and right-hand drive; the driver's side only names the mirrors. In order:
//! **roof** is all that is far up; **road** the cone of windscreen and instruments (VSS
//! `Vehicle.Driver.IsEyesOnRoad`); **mirror** a band on either side of it, with the near part of
//! the side windows; **down** is below them: lap, console, door pocket; **aside** is the rest.

use crate::{
    calibration::RelativePose,
    config::{AttentionConfig, DriverSide, ZoneEdges},
};

/// A mirror, as the driver calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mirror {
    /// At the left door.
    Left,
    /// At the right door.
    Right,
    /// Behind the windscreen; in a closed van, what hangs in its place.
    Interior,
}

/// Where the driver looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GazeZone {
    /// Through the windscreen.
    Road,
    /// At a mirror.
    Mirror(Mirror),
    /// At the roof.
    Roof,
    /// At lap, console, door pocket: off the road.
    Down,
    /// Far to the side: off the road.
    Aside,
    /// Not seen, or not surely.
    Unclear,
}

impl GazeZone {
    /// The name in figures and on pictures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Road => "road",
            Self::Mirror(Mirror::Left) => "mirror_left",
            Self::Mirror(Mirror::Right) => "mirror_right",
            Self::Mirror(Mirror::Interior) => "mirror_interior",
            Self::Roof => "roof",
            Self::Down => "down",
            Self::Aside => "aside",
            Self::Unclear => "unclear",
        }
    }

    /// Whether it counts as off the road.
    pub const fn is_off_road(self) -> bool {
        match self {
            Self::Down | Self::Aside => true,
            Self::Road | Self::Mirror(_) | Self::Roof | Self::Unclear => false,
        }
    }
}

/// A look, and what it was judged by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Where to.
    pub zone: GazeZone,
    /// Head and eyes together (degrees against the neutral look) where the eyes were seen, else
    /// the head alone; none where it is unclear.
    pub direction: Option<RelativePose>,
    /// Whether the eyes were seen.
    pub with_eyes: bool,
}

impl Look {
    /// Not seen.
    pub const UNCLEAR: Self = Self { zone: GazeZone::Unclear, direction: None, with_eyes: false };

    /// 0 where it is unclear.
    pub fn confidence(&self) -> f32 {
        self.direction.map_or(0.0, |direction| direction.confidence)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct GazeZones {
    head: ZoneEdges,
    gaze: ZoneEdges,
    driver_side: DriverSide,
}

impl GazeZones {
    /// With the configured edges.
    pub const fn new(config: &AttentionConfig, driver_side: DriverSide) -> Self {
        Self { head: config.head, gaze: config.gaze, driver_side }
    }

    /// Where a driver with this head pose, and eyes in this direction against the head, looks.
    pub fn look(&self, head: Option<&RelativePose>, eyes: Option<&RelativePose>) -> Look {
        let Some(head) = head else { return Look::UNCLEAR };
        let (direction, edges) = eyes.map_or((*head, &self.head), |eyes| {
            let gaze = RelativePose {
                yaw_deg: head.yaw_deg + eyes.yaw_deg,
                pitch_deg: head.pitch_deg + eyes.pitch_deg,
                confidence: head.confidence.min(eyes.confidence),
            };
            (gaze, &self.gaze)
        });
        let zone = self.zone(&direction, edges);
        Look { zone, direction: Some(direction), with_eyes: eyes.is_some() }
    }

    fn zone(&self, direction: &RelativePose, edges: &ZoneEdges) -> GazeZone {
        let RelativePose { yaw_deg, pitch_deg, .. } = *direction;
        let side = yaw_deg.abs();
        if pitch_deg >= edges.roof_pitch_deg {
            GazeZone::Roof
        } else if side <= edges.forward_yaw_deg {
            if pitch_deg >= edges.down_pitch_deg { GazeZone::Road } else { GazeZone::Down }
        } else if side > edges.mirror_yaw_deg {
            GazeZone::Aside
        } else if pitch_deg < edges.mirror_down_pitch_deg {
            GazeZone::Down
        } else {
            GazeZone::Mirror(self.mirror(yaw_deg, edges))
        }
    }

    fn mirror(&self, yaw_deg: f64, edges: &ZoneEdges) -> Mirror {
        let near = yaw_deg.abs() < edges.interior_yaw_deg;
        match (self.driver_side, yaw_deg > 0.0) {
            (DriverSide::Left, true) => Mirror::Left,
            (DriverSide::Right, false) => Mirror::Right,
            (DriverSide::Left | DriverSide::Right, _) if near => Mirror::Interior,
            (DriverSide::Left, false) => Mirror::Right,
            (DriverSide::Right, true) => Mirror::Left,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pose((yaw_deg, pitch_deg): (f64, f64)) -> RelativePose {
        RelativePose { yaw_deg, pitch_deg, confidence: 0.9 }
    }

    fn zone(side: DriverSide, head: (f64, f64), eyes: Option<(f64, f64)>) -> GazeZone {
        let zones = GazeZones::new(&AttentionConfig::default(), side);
        zones.look(Some(&pose(head)), eyes.map(pose).as_ref()).zone
    }

    #[test]
    fn zones_of_the_head_alone() {
        use GazeZone::{Aside, Down, Road, Roof};
        for (head, expected) in [
            ((0.0, 0.0), Road),
            ((-19.0, -19.0), Road),
            ((38.0, -10.0), GazeZone::Mirror(Mirror::Left)),
            ((-25.0, 5.0), GazeZone::Mirror(Mirror::Interior)),
            ((-38.0, -10.0), GazeZone::Mirror(Mirror::Right)),
            ((0.0, 30.0), Roof),
            ((50.0, 25.0), Roof),
            ((0.0, -25.0), Down),
            ((30.0, -18.0), Down),
            ((-55.0, 0.0), Aside),
            ((-55.0, -40.0), Aside),
        ] {
            assert_eq!(zone(DriverSide::Left, head, None), expected, "{head:?}");
        }
    }

    #[test]
    fn where_the_eyes_are_seen_the_gaze_counts() {
        use GazeZone::{Aside, Down, Road};
        for (head, eyes, expected) in [
            // At the lap with the head straight.
            ((0.0, 0.0), (0.0, -36.0), Down),
            ((0.0, -12.0), (4.0, -25.0), Down),
            // The instruments.
            ((0.0, -5.0), (0.0, -18.0), Road),
            // Turned aside, looking back at the road.
            ((45.0, 0.0), (-40.0, 0.0), Road),
            ((25.0, -25.0), (-20.0, 20.0), Road),
            // Both turned: a far side window.
            ((45.0, 0.0), (25.0, 0.0), Aside),
            ((65.0, 0.0), (0.0, 0.0), Aside),
            ((25.0, 0.0), (18.0, -5.0), GazeZone::Mirror(Mirror::Left)),
        ] {
            assert_eq!(zone(DriverSide::Left, head, Some(eyes)), expected, "{head:?} {eyes:?}");
        }
    }

    #[test]
    fn right_hand_drive_names_the_mirrors_the_other_way() {
        for (yaw, mirror) in
            [(25.0, Mirror::Interior), (38.0, Mirror::Left), (-25.0, Mirror::Right)]
        {
            let found = zone(DriverSide::Right, (yaw, 0.0), None);
            assert_eq!(found, GazeZone::Mirror(mirror), "{yaw}");
        }
        assert_eq!(zone(DriverSide::Right, (-60.0, 0.0), None), GazeZone::Aside);
    }
}
