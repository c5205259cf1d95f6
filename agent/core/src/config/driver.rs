//! The numbers of what is watched of the driver: where the look goes, the eyes, the phone; and of
//! the vehicle ahead.

use serde::{Deserialize, Deserializer, Serialize};

/// The default of [`DrowsinessConfig::closed_below`], which says why.
pub const CLOSED_BELOW: f64 = 0.13;

/// On which side the driver sits, so that mirrors have their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriverSide {
    /// Left-hand drive.
    #[default]
    Left,
    /// Right-hand drive.
    Right,
}

/// The edges of the zones, degrees against the neutral look: yaw on either side, pitch up positive.
/// The defaults of the head and of the gaze differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ZoneEdges {
    /// Half width of the forward cone.
    pub forward_yaw_deg: f64,
    /// The forward cone's lower edge.
    pub down_pitch_deg: f64,
    /// From here upward it is the roof (sun visor, overhead console).
    pub roof_pitch_deg: f64,
    /// Mirrors reach from the cone's edge to here, on either side.
    pub mirror_yaw_deg: f64,
    /// Mirrors' lower edge: below it are console, door pocket and lap.
    pub mirror_down_pitch_deg: f64,
    /// On the passenger's side, the mirror nearer than this is the interior one. Only its name
    /// depends on it.
    pub interior_yaw_deg: f64,
}

const HEAD_EDGES: ZoneEdges = ZoneEdges {
    forward_yaw_deg: 20.0,
    down_pitch_deg: -20.0,
    roof_pitch_deg: 20.0,
    mirror_yaw_deg: 40.0,
    mirror_down_pitch_deg: -15.0,
    interior_yaw_deg: 30.0,
};

const GAZE_EDGES: ZoneEdges = ZoneEdges {
    forward_yaw_deg: 30.0,
    down_pitch_deg: -30.0,
    roof_pitch_deg: 30.0,
    mirror_yaw_deg: 60.0,
    mirror_down_pitch_deg: -25.0,
    interior_yaw_deg: 50.0,
};

/// Edges as a file gives them: each may be left out.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EdgesGiven {
    forward_yaw_deg: Option<f64>,
    down_pitch_deg: Option<f64>,
    roof_pitch_deg: Option<f64>,
    mirror_yaw_deg: Option<f64>,
    mirror_down_pitch_deg: Option<f64>,
    interior_yaw_deg: Option<f64>,
}

impl EdgesGiven {
    fn or(self, base: ZoneEdges) -> ZoneEdges {
        ZoneEdges {
            forward_yaw_deg: self.forward_yaw_deg.unwrap_or(base.forward_yaw_deg),
            down_pitch_deg: self.down_pitch_deg.unwrap_or(base.down_pitch_deg),
            roof_pitch_deg: self.roof_pitch_deg.unwrap_or(base.roof_pitch_deg),
            mirror_yaw_deg: self.mirror_yaw_deg.unwrap_or(base.mirror_yaw_deg),
            mirror_down_pitch_deg: self.mirror_down_pitch_deg.unwrap_or(base.mirror_down_pitch_deg),
            interior_yaw_deg: self.interior_yaw_deg.unwrap_or(base.interior_yaw_deg),
        }
    }
}

fn head_edges<'de, D: Deserializer<'de>>(d: D) -> Result<ZoneEdges, D::Error> {
    EdgesGiven::deserialize(d).map(|given| given.or(HEAD_EDGES))
}

fn gaze_edges<'de, D: Deserializer<'de>>(d: D) -> Result<ZoneEdges, D::Error> {
    EdgesGiven::deserialize(d).map(|given| given.or(GAZE_EDGES))
}

/// Where the driver looks. Times and speeds: EU 2023/2590 (ADDW) and Euro NCAP 2026. The zones are
/// our own choice: validate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttentionConfig {
    /// Off the road for this long, at `fast_kmh` and above.
    pub fast_after_s: f64,
    /// Off the road for this long, from `slow_kmh` to `fast_kmh`.
    pub slow_after_s: f64,
    /// Where the shorter time begins.
    pub fast_kmh: f64,
    /// Nothing is said below this.
    pub slow_kmh: f64,
    /// A gap (not seen, or a glance at road or mirror) up to this long does not end an episode
    /// and does not count in it.
    pub gap_s: f64,
    /// A sweep across several zones that are not off the road ends the episode only after this
    /// long, where it rested nowhere for `gap_s`. Own choice.
    pub sweep_s: f64,
    /// Repeated distraction: off the road for this long in all (Euro NCAP, VATS)
    pub repeated_off_s: f64,
    /// within this long (Euro NCAP, VATS).
    pub repeated_within_s: f64,
    /// A look at the road of this long begins the count anew (Euro NCAP, VATS).
    pub repeated_reset_s: f64,
    /// Zones of the head, where the eyes are not seen. The regulation speaks of gaze, of which
    /// the head turns about six tenths.
    #[serde(deserialize_with = "head_edges")]
    pub head: ZoneEdges,
    /// Zones of the gaze (head and eyes). The regulation's plane lies 30° down.
    #[serde(deserialize_with = "gaze_edges")]
    pub gaze: ZoneEdges,
    /// The eyes' direction counts this many times: iris measures that fall short are corrected
    /// here.
    pub eye_gain: f64,
    /// An eye further round than this (degrees) is a wrong reading: people turn theirs by 45 to 50.
    pub eye_max_deg: f64,
    /// Eye directions less sure than this (0 to 1) are unknown; the head alone counts then.
    pub eye_min_confidence: f64,
    /// Poses less sure than this (0 to 1) are unknown.
    pub min_confidence: f64,
    /// Neutral head pose against the camera: yaw.
    pub neutral_yaw_deg: f64,
    /// Neutral head pose against the camera: pitch.
    pub neutral_pitch_deg: f64,
    /// Learn the neutral pose: the median over `calibrate_s` of seen poses while driving.
    pub calibrate: bool,
    /// Seconds of seen poses that the median is taken of.
    pub calibrate_s: f64,
    /// Poses count for the median above this speed.
    pub calibrate_min_kmh: f64,
    /// A median further than this from the configured pose is not believed: the camera was
    /// turned, or the driver looks away most of the time. Device health says so.
    pub calibrate_max_deg: f64,
}

impl Default for AttentionConfig {
    fn default() -> Self {
        Self {
            fast_after_s: 3.5,
            slow_after_s: 6.0,
            fast_kmh: 50.0,
            slow_kmh: 20.0,
            gap_s: 0.3,
            sweep_s: 0.6,
            repeated_off_s: 10.0,
            repeated_within_s: 30.0,
            repeated_reset_s: 2.0,
            head: HEAD_EDGES,
            gaze: GAZE_EDGES,
            eye_gain: 1.0,
            eye_max_deg: 60.0,
            eye_min_confidence: 0.5,
            min_confidence: 0.3,
            neutral_yaw_deg: 0.0,
            neutral_pitch_deg: 0.0,
            calibrate: true,
            calibrate_s: 60.0,
            calibrate_min_kmh: 20.0,
            calibrate_max_deg: 20.0,
        }
    }
}

/// Closed eyes (Euro NCAP 2026), blinks, PERCLOS and yawns.
///
/// Openings are eyelid gaps over eye widths, on the scale of both eye networks (`eye_scale.rs` of
/// the agent): shut is 0.045, and 0.25 a common open eye. Medians of real crops are 0.265 open and
/// 0.06 closed; a recorded head has 0.20–0.27 open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrowsinessConfig {
    /// Eyes closed for this long: a microsleep.
    pub microsleep_s: f64,
    /// Eyes closed for this long: sleep.
    pub sleep_s: f64,
    /// Eyes closed for this long: unresponsive.
    pub unresponsive_s: f64,
    /// Below this an eye is closed, until the driver's own open level was learned. PERCLOS calls an
    /// eye closed of whose gap a fifth is left (P80), 0.086 on this scale; 0.13 leaves two fifths,
    /// for what the networks err: of rendered eyes that are shut by 80 % and more, 94 % read below
    /// it, of those shut by less than half 9 %. It is 0.07 above the closed median, and 0.03 below
    /// the level of eyes as narrow as 0.16.
    pub closed_below: f64,
    /// Once it was learned: closed is where less than this part of that driver's gap is left,
    /// between shut and the open level. 0.4 is the same two fifths.
    pub closed_part: f64,
    /// But never below this: a closed eye does not measure 0.
    pub closed_below_least: f64,
    /// And never above this: midway between the medians, so that a squint is not closed.
    pub closed_below_most: f64,
    /// Learn the driver's open level.
    pub learn_open_level: bool,
    /// Seconds of seen eyes in motion in one stretch that the open level is taken of.
    pub open_level_s: f64,
    /// Of so many last stretches the second best counts. Own choice: half an hour of seen eyes.
    pub open_level_stretches: usize,
    /// The open level is this quantile (0 to 1) of the openings: blinks and looks down lie below.
    pub open_level_quantile: f64,
    /// An open level below this is not believed. Own choice.
    pub open_level_least: f64,
    /// An open level above this is not believed. Own choice.
    pub open_level_most: f64,
    /// One eye at this many times the closed limit while the other is closed: a wink or a half
    /// seen face, and no closure. Own choice.
    pub wink_ratio: f64,
    /// A gap (not seen, or open) up to this long does not end a closure and does not count in it.
    pub gap_s: f64,
    /// Shorter than this is a flicker of the measure, not a blink (people blink in 0.1–0.4 s).
    pub blink_shortest_s: f64,
    /// Up to this long it is a blink. It does not count for PERCLOS, which is of slow closures
    /// and not of blinks (Dinges and Grace 1998).
    pub blink_longest_s: f64,
    /// Nothing is said below this speed: drivers nap in parked vans. Own choice.
    pub min_speed_kmh: f64,
    /// With the head further down than this (degrees of pitch) the lids cover the eye though it
    /// is open, so eyelids are unknown. Own choice.
    pub head_down_deg: f64,
    /// From here on down the lids are lowered: closed is below `lowered_part` of the limit, and
    /// what lies between is unknown. Own choice.
    pub head_lowered_deg: f64,
    /// The same where the eyes look further down than this. Own choice.
    pub eyes_lowered_deg: f64,
    /// See `head_lowered_deg`.
    pub lowered_part: f64,
    /// With the head turned further than this (degrees of yaw) eyelids are unknown. Own choice.
    pub head_turned_deg: f64,
    /// Readings less sure than this (0 to 1) are unknown.
    pub min_confidence: f64,
    /// Drowsiness: eyes closed for this share of the time that they were seen. Literature value.
    pub perclos_percent: f64,
    /// Seen time that PERCLOS is taken over.
    pub perclos_seen_s: f64,
    /// It must lie within this long; else PERCLOS is unknown. Own choice.
    pub perclos_within_s: f64,
    /// Drowsiness can be said again once PERCLOS was below this share. Own choice.
    pub perclos_rearm_percent: f64,
    /// Or after this long, where it stays. Own choice.
    pub perclos_repeat_s: f64,
    /// Mouth gap over mouth width from which it may be a yawn; speech stays below 0.4.
    pub yawn_opening: f64,
    /// And open for this long: vowels and laughs are shorter. Own choice; yawns last 4–7 s.
    pub yawn_s: f64,
    /// Yawns of this long are told with drowsiness. Alone they are no event. Own choice.
    pub yawns_within_s: f64,
}

impl Default for DrowsinessConfig {
    fn default() -> Self {
        Self {
            microsleep_s: 1.0,
            sleep_s: 3.0,
            unresponsive_s: 6.0,
            closed_below: CLOSED_BELOW,
            closed_part: 0.4,
            closed_below_least: 0.07,
            closed_below_most: 0.17,
            learn_open_level: true,
            open_level_s: 60.0,
            open_level_stretches: 30,
            open_level_quantile: 0.75,
            open_level_least: 0.12,
            open_level_most: 0.45,
            wink_ratio: 1.25,
            gap_s: 0.3,
            blink_shortest_s: 0.05,
            blink_longest_s: 0.5,
            min_speed_kmh: 10.0,
            head_down_deg: -20.0,
            head_lowered_deg: -12.0,
            eyes_lowered_deg: -20.0,
            lowered_part: 0.7,
            head_turned_deg: 40.0,
            min_confidence: 0.3,
            perclos_percent: 15.0,
            perclos_seen_s: 60.0,
            perclos_within_s: 180.0,
            perclos_rearm_percent: 10.0,
            perclos_repeat_s: 600.0,
            yawn_opening: 0.5,
            yawn_s: 2.0,
            yawns_within_s: 300.0,
        }
    }
}

/// Phone in hand or at the ear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhoneConfig {
    /// Seen for this long (Verizon Reveal).
    pub after_s: f64,
    /// Nothing is said below this speed.
    pub min_speed_kmh: f64,
    /// A gap (none, or not seen) up to this long does not end it and does not count. Own choice.
    pub gap_s: f64,
    /// Readings less sure than this (0 to 1) are unknown. Higher than elsewhere: a hand, a cup
    /// or a scanner looks much like a phone. Own choice.
    pub min_confidence: f64,
}

impl Default for PhoneConfig {
    fn default() -> Self {
        Self { after_s: 2.0, min_speed_kmh: 10.0, gap_s: 0.5, min_confidence: 0.5 }
    }
}

/// Time to the vehicle ahead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeadwayConfig {
    /// Below this speed headway says nothing: in a queue it grows without bound. Own choice.
    pub min_speed_kmh: f64,
    /// One standard deviation of the speed. Own choice; the bus and GNSS are better.
    pub speed_error_kmh: f64,
    /// Lead vehicles less sure than this (0 to 1) are unknown.
    pub min_confidence: f64,
}

impl Default for HeadwayConfig {
    fn default() -> Self {
        Self { min_speed_kmh: 20.0, speed_error_kmh: 1.0, min_confidence: 0.3 }
    }
}
