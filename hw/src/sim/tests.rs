use std::time::Instant;

use super::*;

const ZERO: MonoTime = MonoTime::from_ns(10_000_000_000);

fn signals(script: Script) -> Vec<Signal> {
    let mut source = SimSignals::new(Arc::new(script), ZERO);
    std::iter::from_fn(|| source.next_signal().unwrap()).collect()
}

#[test]
fn the_demo_has_every_kind_of_story() {
    let script = Script::demo();
    let got: Vec<_> =
        script.truth().iter().map(|e| (e.kind, e.from_s.round(), e.flagged)).collect();
    assert_eq!(
        got,
        [
            (EventKind::LongDistraction, 6.0, true),
            (EventKind::Microsleep, 16.0, false),
            (EventKind::Sleep, 22.0, true),
            (EventKind::Speeding, 31.0, true),
            (EventKind::DriverSaved, 45.0, true),
            (EventKind::HarshBraking, 64.0, true),
        ]
    );
    let speeding = script.truth().into_iter().find(|e| e.kind == EventKind::Speeding).unwrap();
    assert!(speeding.to_s > speeding.from_s + 30.0 && speeding.to_s < 66.0, "{speeding:?}");
}

#[test]
fn sensors_agree_with_each_other() {
    let all = signals(Script::demo());
    assert!(all.is_sorted_by_key(Signal::at));
    let count = |is: fn(&Signal) -> bool| all.iter().filter(|s| is(s)).count();
    assert_eq!(count(|s| matches!(s, Signal::Imu(_))), 7500);
    assert_eq!(count(|s| matches!(s, Signal::Speed(_))), 1875);
    assert_eq!(count(|s| matches!(s, Signal::Gnss(_))), 375);
    assert_eq!(count(|s| matches!(s, Signal::Button(_))), 1);

    // The IMU's forward acceleration sums up to the bus's speed, the positions to its way.
    let (mut summed, mut first, mut last) = (0.0, None, 0.0);
    let (mut way_m, mut before) = (0.0, None::<GnssFix>);
    for s in &all {
        match s {
            Signal::Imu(s) => summed += s.accel_mps2[0] * STEP_S,
            Signal::Speed(s) => {
                first.get_or_insert(s.mps);
                last = s.mps;
            }
            Signal::Gnss(fix) => {
                if let Some(b) = before {
                    let north = (fix.lat_deg - b.lat_deg) * METRES_PER_DEGREE;
                    let east = (fix.lon_deg - b.lon_deg)
                        * METRES_PER_DEGREE
                        * b.lat_deg.to_radians().cos();
                    way_m += north.hypot(east);
                    let moved_mps = north.hypot(east) / 0.2;
                    assert!((moved_mps - b.speed_mps.unwrap()).abs() < 1.5, "{moved_mps} {b:?}");
                }
                before = Some(*fix);
            }
            Signal::Wheels(_) | Signal::Control(_) => panic!("{s:?}"),
            Signal::Button(b) => assert_eq!(b.at.secs_from(ZERO).round(), 45.0),
        }
    }
    assert!((first.unwrap() + summed - last).abs() < 0.2, "{first:?} + {summed} is not {last}");
    let driven = Script::demo().vehicle(74.8).driven_m;
    assert!((way_m - driven).abs() < 15.0, "{way_m} {driven}");
    // 80 km/h, then 7.2 m/s more, then 10 m/s less.
    let kmh = |t| Script::demo().vehicle(t).speed_mps * 3.6;
    for (t, want) in [(0.0, 80.0), (40.0, 105.9), (70.0, 69.9)] {
        assert!((kmh(t) - want).abs() < 0.1, "{t} s: {} km/h", kmh(t));
    }
}

#[test]
fn perception_follows_the_script() {
    let script = Script::demo().with_faults(vec![Fault::DriverUnseen { from_s: 30.0, to_s: 31.0 }]);
    let at = |t_s: f64| script.observation(ZERO + Duration::from_secs_f64(t_s), ZERO);
    let yaw = |t_s| at(t_s).head.known().unwrap().yaw_deg;
    let open = |t_s| at(t_s).eyelids.known().unwrap().0;
    assert!(yaw(1.0).abs() < 5.0 && yaw(8.0) < -35.0 && yaw(2.5) > 25.0);
    assert!(open(5.0) > 0.2 && open(16.8) < 0.08 && open(23.0) < 0.08);
    assert!(at(30.5).head.known().is_none() && at(31.5).head.known().is_some());
    let b = at(8.0).face.known().copied().unwrap();
    assert!(b.x > 0.0 && b.y > 0.0 && b.x + b.w < 1.0 && b.y + b.h < 1.0);
}

#[test]
fn faults_silence_only_their_device() {
    let faults = vec![
        Fault::GnssLoss { from_s: 10.0, to_s: 12.0 },
        Fault::CameraDropout { camera: CameraId::Road, from_s: 1.0, to_s: 2.0 },
    ];
    let script = Script::new(15.0, 20.0, Vec::new()).with_faults(faults);
    let in_gap = |s: &Signal| (10.0..12.0).contains(&s.at().secs_from(ZERO));
    let all = signals(script.clone());
    assert!(!all.iter().any(|s| matches!(s, Signal::Gnss(_)) && in_gap(s)));
    assert!(all.iter().any(|s| matches!(s, Signal::Speed(_)) && in_gap(s)));
    let size = PictureSize { width: 64, height: 36, fps: 10 };
    for (id, frames) in [(CameraId::Road, 140), (CameraId::Cabin, 150)] {
        let mut camera = SimCamera::new(id, Arc::new(script.clone()), size, ZERO);
        assert_eq!(std::iter::from_fn(|| camera.next_frame().unwrap()).count(), frames);
    }
}

#[test]
fn pictures_are_repeatable_and_move() {
    let size = PictureSize::default();
    let script = Arc::new(Script::demo());
    for id in CameraId::ALL {
        let mut a = SimCamera::new(id, Arc::clone(&script), size, ZERO);
        let mut b = SimCamera::new(id, Arc::clone(&script), size, ZERO);
        let first = a.next_frame().unwrap().unwrap();
        assert_eq!(first.at, ZERO);
        assert_eq!(first.data.len(), PixelFormat::I420.size_bytes(1280, 720));
        assert_eq!(first.data, b.next_frame().unwrap().unwrap().data);
        let began = Instant::now();
        let second = (0..30).map(|_| a.next_frame().unwrap().unwrap()).next_back().unwrap();
        println!("{}: {:.2} ms a picture", id.as_str(), began.elapsed().as_secs_f64() / 30.0 * 1e3);
        assert_ne!(first.data, second.data);
    }
}
