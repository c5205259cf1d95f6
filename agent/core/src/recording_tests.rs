use super::*;

use PrivacyState::{AiWithoutRecording, Off, Recording as Full};

fn t(s: f64) -> MonoTime {
    MonoTime::from_secs_f64(s)
}

fn zone(radius_m: f64, rule: ZoneRule) -> Zone {
    Zone { latitude_deg: 48.0, longitude_deg: 11.0, radius_m, rule }
}

fn in_zones(zones: Vec<Zone>) -> Recording {
    Recording::new(RecordingConfig { zones, ..RecordingConfig::default() }, Full)
}

/// So many metres north of the zones' centre, at this second.
fn fix_at(s: f64, north_m: f64) -> GnssFix {
    GnssFix::new(t(s), 48.0 + north_m / 111_195.0, 11.0)
}

fn says(recording: &Recording, at_s: f64) -> (PrivacyState, Why) {
    let allowed = recording.allowed(t(at_s));
    (allowed.state, allowed.why)
}

#[test]
fn nobody_can_allow_what_configuration_and_fleet_do_not() {
    for base in [Off, AiWithoutRecording, Full] {
        let mut recording = Recording::new(RecordingConfig::default(), base);
        recording.speed(t(0.0), Some(20.0));
        for _ in 0..4 {
            recording.pressed();
            recording.parked(false);
            assert!(recording.allowed(t(1.0)).state <= base);
        }
    }
}

#[test]
fn who_is_strictest_has_the_last_word() {
    let mut recording = in_zones(vec![zone(100.0, ZoneRule::AlertsOnly)]);
    assert_eq!(says(&recording, 0.0), (Full, Why::AsConfigured));
    recording.fix(&fix_at(0.0, 0.0));
    assert_eq!(says(&recording, 0.0), (AiWithoutRecording, Why::Zone));
    recording.pressed();
    assert_eq!(says(&recording, 0.0), (AiWithoutRecording, Why::Zone));
    recording.parked(true);
    assert_eq!(says(&recording, 0.0), (Off, Why::Parked));
    recording.parked(false);
    recording.fix(&fix_at(1.0, 1000.0));
    recording.fix(&fix_at(4.0, 1000.0));
    assert_eq!(says(&recording, 0.0), (Full, Why::AsConfigured), "a pause ends with the trip");
    recording.ordered(AiWithoutRecording);
    assert_eq!(says(&recording, 0.0), (AiWithoutRecording, Why::AsConfigured));
}

#[test]
fn the_button_pauses_and_goes_on_where_the_driver_may() {
    let mut recording = in_zones(vec![]);
    recording.pressed();
    assert_eq!(says(&recording, 0.0), (AiWithoutRecording, Why::Paused));
    recording.pressed();
    assert_eq!(says(&recording, 0.0), (Full, Why::AsConfigured));
    let config = RecordingConfig { driver_may_pause: false, ..RecordingConfig::default() };
    let mut recording = Recording::new(config, Full);
    recording.pressed();
    assert_eq!(says(&recording, 0.0), (Full, Why::AsConfigured));
}

#[test]
fn standing_counts_from_when_it_stood_and_an_unknown_speed_is_as_before() {
    let mut recording = in_zones(vec![]);
    assert_eq!(says(&recording, 1000.0), (Full, Why::AsConfigured), "nothing is known");
    recording.speed(t(10.0), Some(0.2));
    assert_eq!(recording.deadline(), Some(t(190.0)));
    // Creeping is neither; without a receiver it goes on to stand.
    recording.speed(t(60.0), Some(0.8));
    recording.speed(t(100.0), None);
    recording.speed(t(150.0), Some(0.0));
    assert_eq!(says(&recording, 189.9).0, Full);
    assert_eq!(says(&recording, 190.0), (AiWithoutRecording, Why::Standstill));
    recording.speed(t(500.0), Some(1.0));
    assert_eq!(says(&recording, 500.0), (Full, Why::AsConfigured));
    assert_eq!(recording.deadline(), None);
}

#[test]
fn a_zone_is_left_by_a_margin_and_the_strictest_of_them_counts() {
    let hidden = zone(500.0, ZoneRule::CabinHidden);
    let mut recording = in_zones(vec![hidden, zone(100.0, ZoneRule::Off)]);
    let mut second = 0.0;
    // Five fixes, one a second.
    let mut at = |north_m| {
        for _ in 0..5 {
            second += 1.0;
            recording.fix(&fix_at(second, north_m));
        }
        recording.allowed(t(second))
    };
    let road_only = Allowed { state: Full, cabin_hidden: true, why: Why::Zone };
    let off = Allowed { state: Off, cabin_hidden: false, why: Why::Zone };
    let all = Allowed { state: Full, cabin_hidden: false, why: Why::AsConfigured };
    assert_eq!(at(501.0), all);
    assert_eq!(at(499.0), road_only);
    assert_eq!(at(99.0), off);
    assert_eq!(at(129.0), off);
    assert_eq!(at(131.0), road_only);
    assert_eq!(at(529.0), road_only);
    assert_eq!(at(531.0), all);
}

#[test]
fn a_single_wrong_fix_leaves_no_zone_and_one_in_it_enters() {
    let mut recording = in_zones(vec![zone(100.0, ZoneRule::Off)]);
    recording.fix(&fix_at(0.0, 50.0));
    assert_eq!(says(&recording, 0.0).0, Off);
    for (s, north_m) in [(1.0, 5000.0), (2.0, 5000.0), (3.0, 120.0), (4.0, 5000.0), (6.9, 5000.0)] {
        recording.fix(&fix_at(s, north_m));
        assert_eq!(says(&recording, s).0, Off, "{s}");
    }
    recording.fix(&fix_at(7.0, 5000.0));
    assert_eq!(says(&recording, 7.0).0, Full);
}
