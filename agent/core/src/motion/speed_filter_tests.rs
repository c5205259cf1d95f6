use super::*;
use crate::config::KMH_TO_MPS;

fn t(s: f64) -> MonoTime {
    MonoTime::from_secs_f64(s)
}

fn bus(s: f64, mps: f64) -> Measured {
    let timing = Timing::Steady;
    Measured { at: t(s), mps, sigma_mps: 0.2, source: SpeedSource::Bus, timing }
}

fn gnss(s: f64, mps: f64) -> Measured {
    Measured { source: SpeedSource::Gnss, ..bus(s, mps) }
}

/// Feeds a filter at 100 Hz up to `to_s`: what is felt forward, and what is heard, at a second.
fn fed(
    to_s: f64,
    felt: impl Fn(f64) -> Option<f64>,
    heard: impl Fn(u32) -> Vec<Measured>,
) -> SpeedFilter {
    let mut filter = SpeedFilter::new(5.0 * KMH_TO_MPS, Duration::from_millis(200));
    for n in 0.. {
        let s = f64::from(n) / 100.0;
        if s > to_s {
            break;
        }
        if let Some(mps2) = felt(s) {
            filter.on_accel(t(s), Some(mps2));
        }
        for measured in heard(n) {
            filter.on_measured(measured);
        }
    }
    filter
}

fn each(n: u32, of: u32, measured: impl Fn(f64) -> Measured) -> Vec<Measured> {
    if n.is_multiple_of(of) { vec![measured(f64::from(n) / 100.0)] } else { vec![] }
}

#[test]
fn receivers_must_agree_with_themselves_before_they_are_believed() {
    for (name, speeds, known) in [
        ("one", vec![20.0], false),
        ("two", vec![20.0, 20.5], false),
        ("three", vec![20.0, 20.5, 21.0], true),
        ("three that jump", vec![20.0, 60.0, 5.0], false),
    ] {
        let last_s = speeds.len() as f64 - 1.0;
        let filter = fed(
            last_s,
            |_| Some(0.5),
            |n| {
                let speed = |s: f64| gnss(s, speeds[n as usize / 100]);
                each(n, 100, speed)
            },
        );
        assert_eq!(filter.estimate(t(last_s)).is_some(), known, "{name}");
    }
    // A bus is believed at once.
    let filter = fed(0.0, |_| None, |n| each(n, 100, |s| bus(s, 20.0)));
    assert!(filter.estimate(t(0.0)).is_some());
}

#[test]
fn a_grade_is_told_from_a_change_of_speed() {
    for grade_mps2 in [0.98, -0.98] {
        let filter = fed(60.0, |_| Some(grade_mps2), |n| each(n, 10, |s| bus(s, 20.0)));
        let told = filter.estimate(t(60.0)).unwrap();
        assert!((told.bias_mps2 - grade_mps2).abs() < 0.1, "{told:?}");
        assert!((told.mps - 20.0).abs() < 0.2, "{told:?}");
        // For a moment the accelerometer carries on alone.
        let told = filter.estimate(t(60.15)).unwrap();
        assert!((told.mps - 20.0).abs() < 0.2, "{told:?}");
    }
}

#[test]
fn a_late_speed_is_held_against_its_own_moment() {
    // Gains 2 m/s² from 10 s on; a receiver speaks 0.6 s late.
    let mps = |s: f64| 10.0 + 2.0 * (s - 10.0).clamp(0.0, 8.0);
    let felt = |s: f64| Some(if (10.0..18.0).contains(&s) { 2.0 } else { 0.0 });
    for to_s in [12.05, 14.05, 16.05, 19.05] {
        let filter = fed(to_s, felt, |n| each(n, 20, |s| gnss(s - 0.6, mps(s - 0.6))));
        let told = filter.estimate(t(to_s)).unwrap();
        assert!((told.mps - mps(to_s)).abs() < 0.35, "{to_s}: {told:?}");
    }
}

#[test]
fn a_doubtful_moment_teaches_no_grade_and_belies_nobody() {
    // Town: on and off at 2 m/s²; a bus that tells the speeds of 1.5 s later.
    let mps2 = |s: f64| if s.rem_euclid(6.0) < 3.0 { 2.0 } else { -2.0 };
    let mps = |s: f64| 10.0 + 2.0 * (3.0 - ((s.rem_euclid(6.0)) - 3.0).abs());
    let worst = |timing| {
        let told = |s: f64| Measured { timing, ..bus(s, mps(s + 1.5)) };
        let heard =
            |n| if n < 600 { each(n, 5, |s| bus(s, mps(s))) } else { each(n - 150, 5, told) };
        let off = |n: u32| {
            let s = 6.0 + f64::from(n) / 4.0;
            let filter = fed(s, |s| Some(mps2(s)), heard);
            assert!(!filter.is_contradicted(t(s)), "{timing:?} {s}");
            filter.estimate(t(s)).map_or(0.0, |e| e.bias_mps2.abs())
        };
        (0..48).map(off).fold(0.0, f64::max)
    };
    let (steady, doubtful) = (worst(Timing::Steady), worst(Timing::Doubtful));
    assert!(doubtful < 0.1 && steady > 1.0, "{doubtful} {steady}");
    // It still tells how fast the vehicle is about, where nobody else does.
    let told = |s: f64| Measured { timing: Timing::Doubtful, ..bus(s, 20.0) };
    let filter = fed(60.0, |_| Some(0.0), |n| each(n, 10, told));
    assert!((filter.estimate(t(60.0)).unwrap().mps - 20.0).abs() < 0.5);
    // While the speed changes, a doubtful one is held against all that it may have been.
    let brakes = |s: f64| 30.0 - 4.0 * (s - 20.0).clamp(0.0, 4.0);
    let felt = |s: f64| Some(if (20.0..24.0).contains(&s) { -4.0 } else { 0.0 });
    for (timing, believed) in [(Timing::Steady, false), (Timing::Doubtful, true)] {
        let mut filter = fed(22.0, felt, |n| each(n, 5, |s| bus(s, brakes(s))));
        let late = Measured { timing, ..bus(21.0, brakes(22.0)) };
        assert_eq!(filter.on_measured(late), believed, "{timing:?}");
    }
    // What is older than all that is remembered is nothing, for however long.
    let old = |s: f64| Measured { timing: Timing::Doubtful, ..bus((s - 4.0).max(0.0), 8.0) };
    let heard = |n| {
        let mut heard = each(n, 10, |s| bus(s, 20.0));
        if n > 1000 {
            heard.extend(each(n, 10, old));
        }
        heard
    };
    let filter = fed(30.0, |_| Some(0.0), heard);
    assert!((filter.estimate(t(30.0)).unwrap().mps - 20.0).abs() < 0.5);
}

#[test]
fn a_speed_is_unknown_when_nothing_tells_of_it_any_more() {
    let heard = |n| if n > 2000 { vec![] } else { each(n, 10, |s| bus(s, 20.0)) };
    for (name, aided, known_s, unknown_s) in
        [("alone", false, 22.0, 25.0), ("aided", true, 22.0, 40.0)]
    {
        let felt = |s: f64| (aided || s <= 20.0).then_some(0.0);
        assert!(fed(known_s, felt, heard).estimate(t(known_s)).is_some(), "{name}");
        assert_eq!(fed(unknown_s, felt, heard).estimate(t(unknown_s)), None, "{name}");
    }
    // What was felt last does not go on for ever.
    let filter = fed(20.0, |s| (s < 19.9).then_some(if s > 19.0 { 3.0 } else { 0.0 }), heard);
    let (now, then) = (filter.estimate(t(20.0)).unwrap(), filter.estimate(t(22.0)).unwrap());
    assert!((then.mps - now.mps).abs() < 0.8, "{now:?} {then:?}");
}

#[test]
fn a_filter_that_was_wrong_starts_anew_and_two_sources_that_differ_are_not_known() {
    // The bus fell silent at 20 m/s; the receiver says 8.
    let wrong = |n| {
        if n < 1000 { each(n, 10, |s| bus(s, 20.0)) } else { each(n, 50, |s| gnss(s, 8.0)) }
    };
    assert!(fed(12.0, |_| Some(0.0), wrong).estimate(t(12.0)).unwrap().mps > 15.0, "not yet");
    let told = fed(14.6, |_| Some(0.0), wrong).estimate(t(14.6)).unwrap();
    assert!((told.mps - 8.0).abs() < 1.0, "{told:?}");
    // Both go on, until the receiver falls silent.
    let both = |n: u32| {
        let mut heard = each(n, 10, |s| bus(s, 20.0));
        if (1000..2000).contains(&n) {
            heard.extend(each(n, 50, |s| gnss(s, 8.0)));
        }
        heard
    };
    for (to_s, known) in [(12.0, true), (14.6, false), (19.6, false), (26.0, true)] {
        let filter = fed(to_s, |_| Some(0.0), both);
        assert_eq!(filter.estimate(t(to_s)).is_some(), known, "{to_s}");
        assert_eq!(filter.is_contradicted(t(to_s)), !known, "{to_s}");
    }
}

#[test]
fn what_is_no_speed_is_not_believed() {
    let mut filter = fed(10.0, |_| Some(0.0), |n| each(n, 10, |s| bus(s, 20.0)));
    for bad in [
        Measured { sigma_mps: 0.0, ..bus(10.1, 20.0) },
        Measured { sigma_mps: f64::NAN, ..bus(10.1, 20.0) },
        Measured { sigma_mps: f64::INFINITY, ..bus(10.1, 20.0) },
        bus(10.1, -1.0),
        bus(10.1, f64::NAN),
        bus(10.1, 121.0),
        // A jump.
        bus(10.1, 30.0),
    ] {
        assert!(!filter.on_measured(bad), "{bad:?}");
    }
    assert!(filter.on_measured(bus(10.1, 20.1)));
}

#[test]
fn without_an_accelerometer_nothing_is_learned_of_its_bias() {
    // A grade is learned; then the accelerometer falls silent and the van brakes.
    let mps = |s: f64| 20.0 - 2.5 * (s - 20.3).clamp(0.0, 4.0);
    let felt = |s: f64| (s <= 20.0).then_some(0.5);
    let bias = |to_s: f64| {
        let filter = fed(to_s, felt, |n| each(n, 100, |s| bus(s, mps(s))));
        filter.estimate(t(to_s)).unwrap().bias_mps2
    };
    let before = bias(20.0);
    for to_s in [21.0, 23.0, 30.0] {
        let off = bias(to_s) - before;
        assert!(off.abs() < 0.02, "{to_s}: {off}");
    }
}

#[test]
fn a_late_speed_without_an_accelerometer_is_believed_less() {
    let moved = |late_s: f64| {
        let mut filter = fed(20.0, |_| None, |n| each(n, 10, |s| bus(s, 20.0)));
        filter.on_accel(t(20.1), None);
        filter.on_accel(t(21.0), None);
        filter.on_measured(gnss(21.0 - late_s, 21.0));
        filter.estimate(t(21.0)).unwrap().mps - 20.0
    };
    assert!(moved(0.0) > 0.8 && moved(0.9) < 0.7 * moved(0.0), "{} {}", moved(0.0), moved(0.9));
}
