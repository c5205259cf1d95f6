use super::*;

fn t(s: f64) -> MonoTime {
    MonoTime::from_secs_f64(s)
}

fn state() -> VehicleState {
    VehicleState::new(&CoreConfig::for_recordings(), None)
}

/// Where a van is that drove so far to the north.
fn fix(at: f64, north_m: f64, speed_mps: Option<f64>) -> GnssFix {
    let lat_deg = 48.0 + north_m / 111_195.0;
    GnssFix { speed_mps, course_deg: Some(0.0), ..GnssFix::new(t(at), lat_deg, 2.0) }
}

/// One sensor's sample of a made-up drive at a time.
struct Ride<'a> {
    state: VehicleState,
    mps: &'a dyn Fn(f64) -> f64,
    /// What GNSS says instead.
    gnss: &'a dyn Fn(f64) -> Option<f64>,
    bus: &'a dyn Fn(f64) -> Option<f64>,
    /// Shaking, m/s².
    shake: f64,
    way_m: f64,
}

impl Ride<'_> {
    /// Goes from one second to another: IMU at 100 Hz, bus at 20 Hz, GNSS at 1 Hz; gives the error
    /// of the speed at each second where it was known.
    fn go(&mut self, from_s: u32, to_s: u32) -> Vec<(f64, Option<f64>)> {
        let mut told = vec![];
        for n in from_s * 100..to_s * 100 {
            let s = f64::from(n) / 100.0;
            let mps = (self.mps)(s);
            let gained = (mps - (self.mps)(s - 0.01)) / 0.01;
            self.way_m += mps / 100.0;
            let shake = self.shake * (s * 75.0).sin();
            let sample = ImuSample {
                at: t(s),
                accel_mps2: [gained + shake, 0.0, 9.81 + shake],
                gyro_rad_s: Some([0.0; 3]),
            };
            let admission = if n == 0 { Admission::First } else { Admission::Next(secs(0.01)) };
            self.state.on_imu(&sample, admission);
            if n % 5 == 0
                && let Some(mps) = (self.bus)(s)
            {
                self.state.on_bus(&VehicleSpeed { at: t(s), mps });
            }
            if n % 100 == 0 {
                if let Some(mps) = (self.gnss)(s) {
                    self.state.on_gnss(&fix(s, self.way_m, Some(mps)));
                }
                told.push((s, self.state.speed(t(s)).map(|v| v.mps - mps)));
            }
        }
        told
    }
}

/// Town: up to 14 m/s and down again.
fn town(s: f64) -> f64 {
    7.0 - 7.0 * (s / 9.0).cos()
}

fn known(told: &[(f64, Option<f64>)]) -> usize {
    told.iter().filter(|(_, off)| off.is_some()).count()
}

fn worst(told: &[(f64, Option<f64>)]) -> f64 {
    told.iter().filter_map(|(_, off)| off.map(f64::abs)).fold(0.0, f64::max)
}

#[test]
fn each_source_alone_gives_the_speed() {
    let none = |_: f64| None;
    let some = |s: f64| Some(town(s));
    for (name, bus, gnss) in [
        ("bus", &some as &dyn Fn(f64) -> Option<f64>, &none as &dyn Fn(f64) -> Option<f64>),
        ("gnss", &none, &some),
        ("both", &some, &some),
    ] {
        let mut ride = Ride { state: state(), mps: &town, gnss, bus, shake: 0.6, way_m: 0.0 };
        let told = ride.go(0, 120);
        assert!(known(&told) >= 115, "{name}: {told:?}");
        assert!(worst(&told) < 0.5, "{name}: {told:?}");
    }
    let mut ride =
        Ride { state: state(), mps: &town, gnss: &none, bus: &none, shake: 0.6, way_m: 0.0 };
    assert_eq!(known(&ride.go(0, 60)), 0, "an accelerometer alone knows no speed");
}

#[test]
fn a_parked_van_does_not_drive_at_130() {
    let parked = |_: f64| 0.0;
    let wild = |s: f64| Some(if s >= 20.0 { 36.0 } else { 0.1 });
    for (name, shake, gnss) in [
        ("engine off", 0.03, &wild as &dyn Fn(f64) -> Option<f64>),
        // The position stays where it was, and belies the speed.
        ("engine idles", 0.4, &wild),
        ("from the first fix", 0.03, &|_| Some(36.0)),
    ] {
        let mut ride =
            Ride { state: state(), mps: &parked, gnss, bus: &|_| None, shake, way_m: 0.0 };
        let told = ride.go(0, 90);
        assert!(worst(&told) < 1.0, "{name}: {told:?}");
    }
}

#[test]
fn one_wild_fix_is_not_believed() {
    let wild = |s: f64| Some(if (29.5..30.5).contains(&s) { 60.0 } else { town(s) });
    let mut ride =
        Ride { state: state(), mps: &town, gnss: &wild, bus: &|_| None, shake: 0.6, way_m: 0.0 };
    assert!(worst(&ride.go(0, 60)) < 0.6);
}

#[test]
fn a_tunnel_is_bridged_for_a_moment_and_then_unknown() {
    let tunnel = |s: f64| (!(60.0..100.0).contains(&s)).then(|| town(s));
    let mut ride =
        Ride { state: state(), mps: &town, gnss: &tunnel, bus: &|_| None, shake: 0.6, way_m: 0.0 };
    let told = ride.go(0, 130);
    assert!(worst(&told) < 2.0, "{told:?}");
    let inside: Vec<_> = told.iter().filter(|(s, _)| (60.0..100.0).contains(s)).collect();
    assert!(inside.iter().take(3).all(|(_, off)| off.is_some()), "{inside:?}");
    assert!(inside.iter().skip(20).all(|(_, off)| off.is_none()), "{inside:?}");
    assert!(told.iter().skip(106).all(|(_, off)| off.is_some()), "{told:?}");
}

#[test]
fn sources_that_contradict_each_other_leave_the_speed_unknown() {
    // A bus that is stuck, in a van that drives.
    let driving = |_: f64| 20.0;
    let stuck = |s: f64| Some(if s < 30.0 { 20.0 } else { 8.0 });
    let mut ride = Ride {
        state: state(),
        mps: &driving,
        gnss: &|_| Some(20.0),
        bus: &stuck,
        shake: 0.6,
        way_m: 0.0,
    };
    let told = ride.go(0, 90);
    assert!(told.iter().take(28).skip(3).all(|(_, off)| off.is_some()), "{told:?}");
    let after: Vec<_> = told.iter().skip(36).filter(|(_, off)| off.is_some()).collect();
    assert!(after.is_empty(), "{after:?}");
}

#[test]
fn what_no_van_does_never_gets_in() {
    let mut v = state();
    v.on_bus(&VehicleSpeed { at: t(1.0), mps: 10.0 });
    for (n, mps) in [f64::NAN, -1.0, 1e9, f64::INFINITY].into_iter().enumerate() {
        let at = 1.1 + n as f64 / 10.0;
        v.on_bus(&VehicleSpeed { at: t(at), mps });
        let told = v.speed(t(at)).unwrap();
        assert!((told.mps - 10.0).abs() < 0.1, "{mps}: {told:?}");
        v.on_gnss(&GnssFix {
            speed_mps: Some(mps),
            speed_error_mps: Some(f64::NAN),
            hdop: Some(f64::INFINITY),
            ..GnssFix::new(t(at), f64::NAN, 900.0)
        });
    }
    assert_eq!(v.speed(t(9.0)), None);
}

#[test]
fn the_way_is_the_sum_of_the_speeds() {
    let mut ride = Ride {
        state: state(),
        mps: &|_| 10.0,
        gnss: &|_| Some(10.0),
        bus: &|s| (!(40.0..60.0).contains(&s)).then_some(10.0),
        shake: 0.6,
        way_m: 0.0,
    };
    ride.go(0, 100);
    let driven_m = ride.state.driven_m();
    assert!((driven_m - 990.0).abs() < 15.0, "{driven_m}");
    ride.state.forget(&CoreConfig::for_recordings());
    assert!((ride.state.driven_m() - driven_m).abs() < 1e-9);
}

/// Feeds a step of 4 m/s² of braking at `hz` and gives the filtered value 0.2 s into it.
fn braked_after_one_time_constant(hz: u32) -> f64 {
    let mut v = state();
    let mut last = 0.0;
    for n in 0..=(hz * 12 / 10) {
        let at = f64::from(n) / f64::from(hz);
        let x = if at > 1.0 { -4.0 } else { 0.0 };
        let s = ImuSample { at: t(at), accel_mps2: [x, 0.0, 9.81], gyro_rad_s: None };
        let admission =
            if n == 0 { Admission::First } else { Admission::Next(secs(1.0 / f64::from(hz))) };
        let motion = v.on_imu(&s, admission);
        assert_eq!(motion.is_some(), at >= 0.6, "{at}");
        last = motion.map_or(0.0, |m| m.longitudinal_mps2);
    }
    last
}

#[test]
fn the_filter_does_not_depend_on_the_rate() {
    let expected = -4.0 * (1.0 - (-1.0_f64).exp());
    for hz in [10, 25, 50, 100, 200] {
        let got = braked_after_one_time_constant(hz);
        assert!((got - expected).abs() < 0.01, "{hz} Hz: {got}");
    }
}

#[test]
fn a_gap_or_nonsense_starts_the_filter_anew() {
    for (bad, dt) in [([0.0; 3], 0.6), ([f64::NAN, 0.0, 0.0], 0.01), ([1e9, 0.0, 0.0], 0.01)] {
        let mut v = state();
        let mut feed = |at, accel_mps2, dt| {
            v.on_imu(
                &ImuSample { at: t(at), accel_mps2, gyro_rad_s: None },
                Admission::Next(secs(dt)),
            )
        };
        assert_eq!(feed(0.0, [0.0; 3], 0.1), None);
        assert!(feed(0.7, [0.0; 3], 0.1).is_some());
        assert_eq!(feed(0.8, bad, dt), None);
        assert_eq!(feed(0.9, [0.0; 3], 0.1), None);
    }
}

#[test]
fn a_slope_is_no_acceleration() {
    // 10 % up from 20 s on, at a steady speed.
    let mut v = state();
    let mut last = 0.0;
    for n in 0..6000_u32 {
        let s = f64::from(n) / 100.0;
        let grade = 0.98 * ((s - 20.0) / 3.0).clamp(0.0, 1.0);
        let sample =
            ImuSample { at: t(s), accel_mps2: [grade, 0.0, 9.76], gyro_rad_s: Some([0.0; 3]) };
        let motion = v.on_imu(&sample, Admission::Next(secs(0.01)));
        if n % 5 == 0 {
            v.on_bus(&VehicleSpeed { at: t(s), mps: 20.0 });
        }
        if let Some(motion) = motion.filter(|_| s > 5.0) {
            assert!(motion.longitudinal_mps2.abs() < 0.6, "{s}: {motion:?}");
            last = motion.longitudinal_mps2;
        }
    }
    assert!(last.abs() < 0.1, "{last}");
}

#[test]
fn a_doubtful_moment_neither_turns_the_unit_nor_stops_the_vehicle() {
    let learned = |timing| {
        let mut v = VehicleState::new(&CoreConfig::default(), None);
        for n in 0..30_000_u32 {
            let s = f64::from(n) / 100.0;
            let gained = (town(s + 0.01) - town(s)) / 0.01;
            let sample =
                ImuSample { at: t(s), accel_mps2: [gained, 0.0, 9.81], gyro_rad_s: Some([0.0; 3]) };
            v.on_imu(&sample, Admission::Next(secs(0.01)));
            if n % 5 == 0 {
                v.on_bus_timed(&VehicleSpeed { at: t(s), mps: town(s) }, timing);
            }
        }
        v.mount().axes().is_some()
    };
    assert!(learned(Timing::Steady) && !learned(Timing::Doubtful));
    for (timing, stands) in [(Timing::Steady, true), (Timing::Doubtful, false)] {
        let mut v = state();
        v.on_bus_timed(&VehicleSpeed { at: t(1.0), mps: 0.0 }, timing);
        assert_eq!(v.stands(t(1.0)), stands, "{timing:?}");
    }
}
