//! What is wrong with a configuration, all of it at once.
//!
//! Ranges say what can work at all, not what is wise; NaN is in none of them.

use super::{ConfigError, CoreConfig, ZoneEdges};

/// Collects what is wrong.
struct Check(Vec<ConfigError>);

impl Check {
    fn need(&mut self, ok: bool, key: &'static str, found: impl ToString, need: impl Into<String>) {
        if !ok {
            self.0.push(ConfigError { key, found: found.to_string(), need: need.into() });
        }
    }

    fn within(&mut self, key: &'static str, value: f64, low: f64, high: f64) {
        // NaN is in no range.
        let ok = (low..=high).contains(&value);
        self.need(ok, key, value, format!("a number from {low} to {high} is needed"));
    }

    fn less(&mut self, key: &'static str, value: f64, other_key: &str, other: f64) {
        self.need(value < other, key, value, format!("must be below `{other_key}` ({other})"));
    }
}

impl Check {
    /// Keys in the order of [`ZoneEdges`]'s fields.
    fn zones(&mut self, keys: [&'static str; 6], z: &ZoneEdges) {
        let [forward, down, roof, mirror, mirror_down, interior] = keys;
        self.within(forward, z.forward_yaw_deg, 5.0, 60.0);
        self.within(down, z.down_pitch_deg, -60.0, -5.0);
        self.within(roof, z.roof_pitch_deg, 5.0, 60.0);
        self.within(mirror, z.mirror_yaw_deg, 5.0, 90.0);
        self.need(
            z.mirror_yaw_deg >= z.forward_yaw_deg,
            mirror,
            z.mirror_yaw_deg,
            format!("must not be below `{forward}`"),
        );
        self.within(mirror_down, z.mirror_down_pitch_deg, -60.0, 0.0);
        self.within(interior, z.interior_yaw_deg, 0.0, 90.0);
    }
}

impl CoreConfig {
    /// Every mistake; none where the configuration can be used.
    pub fn validate(&self) -> Vec<ConfigError> {
        let mut c = Check(Vec::new());
        self.check_vehicle(&mut c);
        self.check_attention(&mut c);
        self.check_eyes(&mut c);
        self.check_driver(&mut c);
        self.check_keeping(&mut c);
        self.check_machine(&mut c);
        c.0
    }

    fn check_machine(&self, c: &mut Check) {
        let (recording, power, heat) = (&self.recording, &self.power, &self.heat);
        if let Some(standstill_s) = recording.standstill_s {
            c.within("recording.standstill_s", standstill_s, 10.0, 3600.0);
        }
        for zone in &recording.zones {
            c.within("recording.zones.latitude_deg", zone.latitude_deg, -85.0, 85.0);
            c.within("recording.zones.longitude_deg", zone.longitude_deg, -180.0, 180.0);
            c.within("recording.zones.radius_m", zone.radius_m, 10.0, 50_000.0);
        }
        c.within("power.off_held_s", power.off_held_s, 0.5, 60.0);
        c.within("power.finish_s", power.finish_s, 0.0, 86_400.0);
        let volts = [
            ("power.supply_fails_below_v", power.supply_fails_below_v),
            ("power.battery_low_below_v", power.battery_low_below_v),
        ];
        for (key, volts) in volts {
            if let Some(volts) = volts {
                c.within(key, volts, 1.0, 60.0);
            }
        }
        c.within("heat.slow_from_c", heat.slow_from_c, 30.0, 120.0);
        c.within("heat.cooler_by_c", heat.cooler_by_c, 0.5, 30.0);
        c.within("heat.most_lag_s", heat.most_lag_s, 0.02, 5.0);
    }

    fn check_vehicle(&self, c: &mut Check) {
        if let Some(limit) = self.vehicle.speed_limit_kmh {
            c.within("vehicle.speed_limit_kmh", limit, 5.0, 200.0);
        }
        let t = &self.timebase;
        c.within("timebase.max_speed_error_kmh", t.max_speed_error_kmh, 0.5, 20.0);
        c.within("timebase.imu_gap_s", t.imu_gap_s, 0.02, 5.0);
        c.within("timebase.health_after_s", t.health_after_s, 1.0, 600.0);
        c.within("timebase.future_tolerance_s", t.future_tolerance_s, 0.0, 10.0);
        let m = &self.mount;
        c.within("mount.aligned_sigma_deg", m.aligned_sigma_deg, 0.1, 45.0);
        c.within("mount.aligned_within_deg", m.aligned_within_deg, 0.5, 30.0);
        c.within("mount.turned_deg", m.turned_deg, 5.0, 45.0);
        c.within("mount.turned_s", m.turned_s, 5.0, 600.0);
        let h = &self.harsh;
        for (key, g) in [
            ("harsh.braking_g", h.braking_g),
            ("harsh.acceleration_g", h.acceleration_g),
            ("harsh.cornering_g", h.cornering_g),
        ] {
            if let Some(g) = g {
                c.within(key, g, 0.1, 1.5);
            }
        }
        c.within("harsh.hold_s", h.hold_s, 0.0, 5.0);
        c.within("harsh.min_speed_kmh", h.min_speed_kmh, 0.0, 100.0);
        c.within("harsh.low_pass_s", h.low_pass_s, 0.0, 2.0);
        c.within("harsh.release", h.release, 0.1, 1.0);
        c.within("harsh.rearm_s", h.rearm_s, 0.0, 60.0);
        let k = &self.collision;
        c.within("collision.peak_g", k.peak_g, 1.0, 16.0);
        c.within("collision.speed_change_kmh", k.speed_change_kmh, 1.0, 50.0);
        c.within("collision.window_s", k.window_s, 0.05, 1.0);
        c.within("collision.driving_kmh", k.driving_kmh, 0.0, 50.0);
        let r = &self.rollover;
        c.within("rollover.angle_deg", r.angle_deg, 50.0, 170.0);
        c.within("rollover.hold_s", r.hold_s, 0.1, 30.0);
        c.within("rollover.min_speed_kmh", r.min_speed_kmh, 0.0, 100.0);
        let f = &self.following;
        c.within("following.headway_s", f.headway_s, 0.1, 5.0);
        c.within("following.after_s", f.after_s, 1.0, 120.0);
        c.within("following.min_speed_kmh", f.min_speed_kmh, 0.0, 200.0);
        c.within("following.gap_s", f.gap_s, 0.0, 5.0);
        let stop = &self.rolling_stop;
        c.within("rolling_stop.slowest_kmh", stop.slowest_kmh, 1.0, 30.0);
        c.within("rolling_stop.reach_m", stop.reach_m, 5.0, 100.0);
        let belt = &self.seat_belt;
        c.within("seat_belt.alert_after_s", belt.alert_after_s, 1.0, 600.0);
        c.within("seat_belt.event_after_alert_s", belt.event_after_alert_s, 0.0, 600.0);
        c.within("seat_belt.min_speed_kmh", belt.min_speed_kmh, 0.0, 100.0);
        c.within("idling.after_s", self.idling.after_s, 30.0, 7200.0);
        let s = &self.speeding;
        c.within("speeding.margin_kmh", s.margin_kmh, 0.0, 50.0);
        c.within("speeding.margin_percent", s.margin_percent, 0.0, 100.0);
        c.within("speeding.voice_after_s", s.voice_after_s, 1.0, 600.0);
        c.within("speeding.event_after_s", s.event_after_s, 1.0, 600.0);
        c.less(
            "speeding.voice_after_s",
            s.voice_after_s,
            "speeding.event_after_s",
            s.event_after_s,
        );
        c.within("speeding.rearm_s", s.rearm_s, 0.0, 600.0);
    }

    fn check_attention(&self, c: &mut Check) {
        let a = &self.attention;
        c.within("attention.fast_after_s", a.fast_after_s, 1.0, 30.0);
        c.within("attention.slow_after_s", a.slow_after_s, 1.0, 30.0);
        c.within("attention.fast_kmh", a.fast_kmh, 5.0, 200.0);
        c.within("attention.slow_kmh", a.slow_kmh, 0.0, 200.0);
        c.less("attention.slow_kmh", a.slow_kmh, "attention.fast_kmh", a.fast_kmh);
        c.within("attention.gap_s", a.gap_s, 0.0, 1.0);
        c.within("attention.sweep_s", a.sweep_s, 0.0, 2.0);
        c.within("attention.repeated_off_s", a.repeated_off_s, 2.0, 60.0);
        c.within("attention.repeated_within_s", a.repeated_within_s, 5.0, 300.0);
        c.less(
            "attention.repeated_off_s",
            a.repeated_off_s,
            "attention.repeated_within_s",
            a.repeated_within_s,
        );
        c.within("attention.repeated_reset_s", a.repeated_reset_s, 0.5, 30.0);
        c.zones(
            [
                "attention.head.forward_yaw_deg",
                "attention.head.down_pitch_deg",
                "attention.head.roof_pitch_deg",
                "attention.head.mirror_yaw_deg",
                "attention.head.mirror_down_pitch_deg",
                "attention.head.interior_yaw_deg",
            ],
            &a.head,
        );
        c.zones(
            [
                "attention.gaze.forward_yaw_deg",
                "attention.gaze.down_pitch_deg",
                "attention.gaze.roof_pitch_deg",
                "attention.gaze.mirror_yaw_deg",
                "attention.gaze.mirror_down_pitch_deg",
                "attention.gaze.interior_yaw_deg",
            ],
            &a.gaze,
        );
        c.within("attention.eye_gain", a.eye_gain, 0.0, 5.0);
        c.within("attention.eye_max_deg", a.eye_max_deg, 10.0, 90.0);
        c.within("attention.eye_min_confidence", a.eye_min_confidence, 0.0, 1.0);
        c.within("attention.min_confidence", a.min_confidence, 0.0, 1.0);
        c.within("attention.neutral_yaw_deg", a.neutral_yaw_deg, -60.0, 60.0);
        c.within("attention.neutral_pitch_deg", a.neutral_pitch_deg, -60.0, 60.0);
        c.within("attention.calibrate_s", a.calibrate_s, 5.0, 600.0);
        c.within("attention.calibrate_min_kmh", a.calibrate_min_kmh, 0.0, 200.0);
        c.within("attention.calibrate_max_deg", a.calibrate_max_deg, 0.0, 60.0);
    }

    fn check_eyes(&self, c: &mut Check) {
        let d = &self.drowsiness;
        c.within("drowsiness.microsleep_s", d.microsleep_s, 0.5, 10.0);
        c.within("drowsiness.sleep_s", d.sleep_s, 0.5, 30.0);
        c.within("drowsiness.unresponsive_s", d.unresponsive_s, 0.5, 60.0);
        c.less("drowsiness.microsleep_s", d.microsleep_s, "drowsiness.sleep_s", d.sleep_s);
        c.less("drowsiness.sleep_s", d.sleep_s, "drowsiness.unresponsive_s", d.unresponsive_s);
        c.within("drowsiness.closed_below", d.closed_below, 0.01, 0.2);
        c.within("drowsiness.closed_part", d.closed_part, 0.1, 0.9);
        c.within("drowsiness.closed_below_least", d.closed_below_least, 0.01, 0.2);
        c.within("drowsiness.closed_below_most", d.closed_below_most, 0.01, 0.25);
        c.need(
            d.closed_below_least <= d.closed_below_most,
            "drowsiness.closed_below_least",
            d.closed_below_least,
            "must not be above `drowsiness.closed_below_most`",
        );
        c.within("drowsiness.open_level_s", d.open_level_s, 10.0, 600.0);
        c.need(
            (1..=240).contains(&d.open_level_stretches),
            "drowsiness.open_level_stretches",
            d.open_level_stretches,
            "a number from 1 to 240 is needed",
        );
        c.within("drowsiness.open_level_quantile", d.open_level_quantile, 0.5, 0.95);
        c.within("drowsiness.open_level_least", d.open_level_least, 0.05, 0.3);
        c.within("drowsiness.open_level_most", d.open_level_most, 0.3, 1.0);
        c.within("drowsiness.wink_ratio", d.wink_ratio, 1.0, 3.0);
        c.within("drowsiness.gap_s", d.gap_s, 0.0, 1.0);
        c.within("drowsiness.blink_shortest_s", d.blink_shortest_s, 0.0, 0.2);
        c.within("drowsiness.blink_longest_s", d.blink_longest_s, 0.2, 1.0);
        c.within("drowsiness.min_speed_kmh", d.min_speed_kmh, 0.0, 200.0);
        c.within("drowsiness.head_down_deg", d.head_down_deg, -90.0, 0.0);
        c.within("drowsiness.head_lowered_deg", d.head_lowered_deg, -90.0, 0.0);
        c.within("drowsiness.eyes_lowered_deg", d.eyes_lowered_deg, -90.0, 0.0);
        c.within("drowsiness.lowered_part", d.lowered_part, 0.1, 1.0);
        c.within("drowsiness.head_turned_deg", d.head_turned_deg, 0.0, 90.0);
        c.within("drowsiness.min_confidence", d.min_confidence, 0.0, 1.0);
        c.within("drowsiness.perclos_percent", d.perclos_percent, 5.0, 80.0);
        c.within("drowsiness.perclos_seen_s", d.perclos_seen_s, 20.0, 600.0);
        c.within("drowsiness.perclos_within_s", d.perclos_within_s, 20.0, 1800.0);
        c.less(
            "drowsiness.perclos_seen_s",
            d.perclos_seen_s,
            "drowsiness.perclos_within_s",
            d.perclos_within_s,
        );
        c.within("drowsiness.perclos_rearm_percent", d.perclos_rearm_percent, 0.0, 80.0);
        c.less(
            "drowsiness.perclos_rearm_percent",
            d.perclos_rearm_percent,
            "drowsiness.perclos_percent",
            d.perclos_percent,
        );
        c.within("drowsiness.perclos_repeat_s", d.perclos_repeat_s, 60.0, 7200.0);
        c.within("drowsiness.yawn_opening", d.yawn_opening, 0.3, 2.0);
        c.within("drowsiness.yawn_s", d.yawn_s, 0.5, 10.0);
        c.within("drowsiness.yawns_within_s", d.yawns_within_s, 10.0, 3600.0);
    }

    fn check_driver(&self, c: &mut Check) {
        let f = &self.phone;
        c.within("phone.after_s", f.after_s, 0.5, 30.0);
        c.within("phone.min_speed_kmh", f.min_speed_kmh, 0.0, 200.0);
        c.within("phone.gap_s", f.gap_s, 0.0, 2.0);
        c.within("phone.min_confidence", f.min_confidence, 0.0, 1.0);
        let h = &self.headway;
        c.within("headway.min_speed_kmh", h.min_speed_kmh, 1.0, 100.0);
        c.within("headway.speed_error_kmh", h.speed_error_kmh, 0.0, 20.0);
        c.within("headway.min_confidence", h.min_confidence, 0.0, 1.0);
        let p = &self.policy;
        c.within("policy.flag_after_alert_s", p.flag_after_alert_s, 0.0, 60.0);
        c.need(
            (1..=100).contains(&p.repeats),
            "policy.repeats",
            p.repeats,
            "a number from 1 to 100 is needed",
        );
        c.within("policy.repeats_within_s", p.repeats_within_s, 1.0, 86_400.0);
        c.within("policy.button_debounce_s", p.button_debounce_s, 0.0, 10.0);
    }

    fn check_keeping(&self, c: &mut Check) {
        let k = &self.clip;
        c.within("clip.pre_roll_s", k.pre_roll_s, 0.0, 120.0);
        c.within("clip.post_roll_s", k.post_roll_s, 0.0, 120.0);
        c.within("clip.saved_pre_roll_s", k.saved_pre_roll_s, 0.0, 120.0);
        c.within("clip.saved_post_roll_s", k.saved_post_roll_s, 0.0, 120.0);
        c.within("clip.max_clip_s", k.max_clip_s, 1.0, 300.0);
        c.within("clip.grace_s", k.grace_s, 0.0, 30.0);
        for (key, roll) in [
            ("clip.pre_roll_s", k.pre_roll_s + k.post_roll_s),
            ("clip.saved_pre_roll_s", k.saved_pre_roll_s + k.saved_post_roll_s),
        ] {
            c.need(
                roll <= k.max_clip_s,
                key,
                roll,
                "before and after together must not exceed `clip.max_clip_s`",
            );
        }
        let r = &self.ring;
        c.within("ring.span_s", r.span_s, 2.0, 900.0);
        c.need(
            r.span_s >= k.max_clip_s + k.grace_s + 1.0,
            "ring.span_s",
            r.span_s,
            "must hold `clip.max_clip_s`, `clip.grace_s` and 1 s more",
        );
        c.need(
            (1 << 20..=4 << 30).contains(&r.camera_bytes),
            "ring.camera_bytes",
            r.camera_bytes,
            "a number from 1 MiB to 4 GiB is needed",
        );
        c.need(
            self.spool.quota_bytes >= 16 << 20,
            "spool.quota_bytes",
            self.spool.quota_bytes,
            "at least 16 MiB is needed",
        );
        let u = &self.upload;
        c.need(
            (1 << 10..=3 << 20).contains(&u.chunk_bytes),
            "upload.chunk_bytes",
            u.chunk_bytes,
            "a number from 1 KiB to 3 MiB is needed",
        );
        c.within("upload.backoff_base_s", u.backoff_base_s, 0.05, 60.0);
        c.within("upload.backoff_cap_s", u.backoff_cap_s, 0.05, 3600.0);
        c.within("upload.durable_poll_s", u.durable_poll_s, 0.05, 60.0);
    }
}
