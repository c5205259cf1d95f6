//! What is wrong with a configuration, all of it at once.
//!
//! Ranges say what can work at all, not what is wise; NaN is in none of them.

use super::{ConfigError, CoreConfig};

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

impl CoreConfig {
    /// Every mistake; none where the configuration can be used.
    pub fn validate(&self) -> Vec<ConfigError> {
        let mut c = Check(Vec::new());
        self.check_vehicle(&mut c);
        self.check_driver(&mut c);
        self.check_keeping(&mut c);
        c.0
    }

    fn check_vehicle(&self, c: &mut Check) {
        if let Some(limit) = self.vehicle.speed_limit_kmh {
            c.within("vehicle.speed_limit_kmh", limit, 5.0, 200.0);
        }
        let t = &self.timebase;
        c.within("timebase.bus_fresh_s", t.bus_fresh_s, 0.02, 5.0);
        c.within("timebase.gnss_fresh_s", t.gnss_fresh_s, 0.1, 10.0);
        c.within("timebase.imu_gap_s", t.imu_gap_s, 0.02, 5.0);
        c.within("timebase.health_after_s", t.health_after_s, 1.0, 600.0);
        c.within("timebase.future_tolerance_s", t.future_tolerance_s, 0.0, 10.0);
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

    fn check_driver(&self, c: &mut Check) {
        let a = &self.attention;
        c.within("attention.fast_after_s", a.fast_after_s, 1.0, 30.0);
        c.within("attention.slow_after_s", a.slow_after_s, 1.0, 30.0);
        c.within("attention.fast_kmh", a.fast_kmh, 5.0, 200.0);
        c.within("attention.slow_kmh", a.slow_kmh, 0.0, 200.0);
        c.less("attention.slow_kmh", a.slow_kmh, "attention.fast_kmh", a.fast_kmh);
        c.within("attention.gap_s", a.gap_s, 0.0, 1.0);
        c.within("attention.sweep_s", a.sweep_s, 0.0, 2.0);
        c.within("attention.forward_yaw_deg", a.forward_yaw_deg, 5.0, 60.0);
        c.within("attention.down_pitch_deg", a.down_pitch_deg, -60.0, -5.0);
        c.within("attention.roof_pitch_deg", a.roof_pitch_deg, 5.0, 60.0);
        c.within("attention.mirror_yaw_deg", a.mirror_yaw_deg, 5.0, 90.0);
        c.need(
            a.mirror_yaw_deg >= a.forward_yaw_deg,
            "attention.mirror_yaw_deg",
            a.mirror_yaw_deg,
            "must not be below `attention.forward_yaw_deg`",
        );
        c.within("attention.mirror_down_pitch_deg", a.mirror_down_pitch_deg, -60.0, 0.0);
        c.within("attention.min_confidence", a.min_confidence, 0.0, 1.0);
        c.within("attention.neutral_yaw_deg", a.neutral_yaw_deg, -60.0, 60.0);
        c.within("attention.neutral_pitch_deg", a.neutral_pitch_deg, -60.0, 60.0);
        c.within("attention.calibrate_s", a.calibrate_s, 5.0, 600.0);
        c.within("attention.calibrate_min_kmh", a.calibrate_min_kmh, 0.0, 200.0);
        c.within("attention.calibrate_max_deg", a.calibrate_max_deg, 0.0, 60.0);
        let d = &self.drowsiness;
        c.within("drowsiness.microsleep_s", d.microsleep_s, 0.5, 10.0);
        c.within("drowsiness.sleep_s", d.sleep_s, 0.5, 30.0);
        c.less("drowsiness.microsleep_s", d.microsleep_s, "drowsiness.sleep_s", d.sleep_s);
        c.within("drowsiness.closed_below", d.closed_below, 0.01, 0.2);
        c.within("drowsiness.gap_s", d.gap_s, 0.0, 1.0);
        c.within("drowsiness.min_speed_kmh", d.min_speed_kmh, 0.0, 200.0);
        c.within("drowsiness.head_down_deg", d.head_down_deg, -90.0, 0.0);
        c.within("drowsiness.head_turned_deg", d.head_turned_deg, 0.0, 90.0);
        c.within("drowsiness.min_confidence", d.min_confidence, 0.0, 1.0);
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
