//! Real telemetry beside the checkout (`../shared/data`), where it is there: real cars in ordinary
//! traffic must stay quiet, a speed must be right without the bus, and a unit that is screwed in
//! at any angle must say the same.

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
        time::Duration,
    };

    use glam::{DQuat, DVec3, EulerRot};
    use proptest::prelude::*;
    use temoin_agent_core::{
        config::CoreConfig,
        drive::{Command, Drive, Input},
        policy::PrivacyState,
        timebase::SourceGuard,
        vehicle_state::VehicleState,
    };
    use temoin_proto::{
        events::EventKind,
        samples::{GnssFix, ImuSample, STANDARD_GRAVITY_MPS2, Signal, VehicleSpeed},
        time::MonoTime,
    };

    fn data(path: &str) -> Option<PathBuf> {
        let found = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|dir| dir.join("../shared/data").join(path))
            .find(|dir| dir.is_dir());
        if found.is_none() {
            eprintln!("skipped: ../shared/data/{path} is not beside the checkout");
        }
        found
    }

    /// Rows of a CSV file of numbers after its header.
    fn rows(path: &Path) -> Vec<Vec<f64>> {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.lines()
            .skip(1)
            .map(|line| line.split(',').map(|n| n.parse().unwrap_or(f64::NAN)).collect())
            .collect()
    }

    /// The minute's signals in order of time, which begins at 1 s.
    fn comma_minute(dir: &Path) -> Vec<Signal> {
        let mut signals = Vec::new();
        let accel = rows(&dir.join("accelerometer.csv"));
        let origin_s = accel[0][0] - 1.0;
        let at = |row: &[f64]| MonoTime::from_secs_f64(row[0] - origin_s);
        // The device's axes are forward, right, down.
        let gyro = rows(&dir.join("gyro.csv"));
        signals.extend(accel.iter().zip(&gyro).map(|(r, g)| {
            let accel_mps2 = [r[1], -r[2], -r[3]];
            let gyro_rad_s = Some([g[1], -g[2], -g[3]]);
            Signal::Imu(ImuSample { at: at(r), accel_mps2, gyro_rad_s })
        }));
        let speed = rows(&dir.join("speed.csv"));
        signals.extend(speed.iter().map(|r| Signal::Speed(VehicleSpeed { at: at(r), mps: r[1] })));
        signals.extend(rows(&dir.join("gnss_ublox.csv")).iter().map(|r| {
            Signal::Gnss(GnssFix {
                speed_mps: Some(r[3]),
                course_deg: Some(r[6]),
                ..GnssFix::new(at(r), r[1], r[2])
            })
        }));
        signals.sort_by_key(Signal::at);
        signals
    }

    #[test]
    fn an_ordinary_minute_of_a_real_car_is_quiet() {
        let Some(dir) = data("telemetry/comma2k19") else { return };
        let signals = comma_minute(&dir);
        assert!(signals.len() > 5000, "{}", signals.len());
        let fastest = signals.iter().filter_map(|s| match s {
            Signal::Speed(s) => Some(s.mps),
            Signal::Gnss(_)
            | Signal::Imu(_)
            | Signal::Wheels(_)
            | Signal::Control(_)
            | Signal::Button(_) => None,
        });
        let limit_kmh = fastest.fold(0.0, f64::max) * 3.6 - 4.0;
        let run = |speed_limit_kmh: Option<f64>| {
            let mut config = CoreConfig::for_recordings();
            config.vehicle.speed_limit_kmh = speed_limit_kmh;
            let mut drive = Drive::new(config, PrivacyState::Recording);
            let mut out = Vec::new();
            for signal in &signals {
                drive.step(signal.at(), Input::Signal(*signal), &mut out);
            }
            assert!(drive.refused_samples() < 20, "{}", drive.refused_samples());
            out.retain(|c| matches!(c, Command::Flag { .. } | Command::Alert(_)));
            out
        };
        assert_eq!(run(None), []);
        assert_eq!(run(Some(limit_kmh)), []);
        // And it is not quiet because it is deaf.
        assert_ne!(run(Some(10.0)), []);
    }

    #[test]
    fn without_the_bus_the_speed_is_within_half_a_metre_a_second() {
        let Some(dir) = data("telemetry/comma2k19") else { return };
        let signals = comma_minute(&dir);
        for (name, every) in [("ten fixes a second", 1), ("one a second", 10)] {
            let mut state = VehicleState::new(&CoreConfig::for_recordings(), None);
            let mut guard = SourceGuard::new(Duration::from_secs(1), Duration::from_secs(5));
            let (mut squares, mut known, mut all, mut fixes) = (0.0, 0, 0, 0);
            for signal in &signals {
                match signal {
                    // Withheld: it is the truth.
                    Signal::Speed(truth) => {
                        all += 1;
                        if let Some(told) = state.speed(truth.at) {
                            squares += (told.mps - truth.mps).powi(2);
                            known += 1;
                        }
                    }
                    Signal::Gnss(fix) => {
                        fixes += 1;
                        if fixes % every == 0 {
                            state.on_gnss(fix);
                        }
                    }
                    Signal::Imu(s) => {
                        if let Ok(admission) = guard.admit(s.at, s.at) {
                            state.on_imu(s, admission);
                        }
                    }
                    Signal::Wheels(_) | Signal::Control(_) | Signal::Button(_) => {}
                }
            }
            let rms = (squares / f64::from(known)).sqrt();
            eprintln!("{name}: {rms:.3} m/s RMS, known {known} of {all}");
            assert!(rms <= 0.5, "{name}: {rms}");
            assert!(f64::from(known) > 0.9 * f64::from(all), "{name}: {known} of {all}");
        }
    }

    /// 342 s of a real car's own log, in vehicle axes: speed, forward and lateral acceleration.
    /// From `brakes_s` it brakes at 0.45 g for 2 s, and drives on that much slower.
    fn cloudpose(dir: &Path, brakes_s: f64) -> Vec<(f64, f64, [f64; 3])> {
        let rows = rows(&dir.join("car.csv"));
        let origin_s = rows[0][1];
        let g = STANDARD_GRAVITY_MPS2;
        rows.iter()
            .map(|r| {
                let s = r[1] - origin_s;
                let braking = if (0.0..2.0).contains(&(s - brakes_s)) { -0.45 * g } else { 0.0 };
                let slower = 0.45 * g * (s - brakes_s).clamp(0.0, 2.0);
                let mps = (r[5] * 0.447_04 - slower).max(0.0);
                (s, mps, [r[10] * g + braking, r[9] * g, g])
            })
            .collect()
    }

    /// What is flagged with the unit turned like this, its axes not known: kinds and seconds.
    fn turned(log: &[(f64, f64, [f64; 3])], unit: DQuat) -> Vec<(EventKind, String)> {
        let mut drive = Drive::new(CoreConfig::default(), PrivacyState::Recording);
        let mut out = Vec::new();
        for (s, mps, felt) in log {
            let at = MonoTime::from_secs_f64(*s + 1.0);
            let accel_mps2 = (unit * DVec3::from(*felt)).to_array();
            let imu = ImuSample { at, accel_mps2, gyro_rad_s: None };
            drive.step(at, Input::Signal(Signal::Imu(imu)), &mut out);
            let speed = VehicleSpeed { at, mps: *mps };
            drive.step(at, Input::Signal(Signal::Speed(speed)), &mut out);
        }
        out.iter()
            .filter_map(|c| match c {
                Command::Flag { event, .. } => {
                    Some((event.kind, format!("{:.1}", event.start.as_secs_f64())))
                }
                Command::Alert(_) | Command::Cut(_) | Command::Lamp(_) | Command::Health(_) => None,
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn a_unit_screwed_in_at_any_angle_says_the_same(
            yaw in -3.1_f64..3.1, pitch in -1.5_f64..1.5, roll in -3.1_f64..3.1,
        ) {
            let Some(dir) = data("telemetry/cloudpose") else { return Ok(()) };
            // At 50 km/h, after four minutes.
            let log = cloudpose(&dir, 240.0);
            let straight = turned(&log, DQuat::IDENTITY);
            let kinds: Vec<_> = straight.iter().map(|e| e.0).collect();
            prop_assert_eq!(kinds, [EventKind::HarshBraking]);
            let unit = DQuat::from_euler(EulerRot::ZYX, yaw, pitch, roll);
            prop_assert_eq!(turned(&log, unit), straight);
            prop_assert_eq!(turned(&cloudpose(&dir, 1e9), unit), []);
        }
    }
}
