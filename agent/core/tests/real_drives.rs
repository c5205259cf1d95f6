//! Real telemetry beside the checkout (`../shared/data`), where it is there: a minute of a real
//! car in ordinary traffic must stay quiet.

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use temoin_agent_core::{
        config::CoreConfig,
        drive::{Command, Drive, Input},
        policy::PrivacyState,
    };
    use temoin_proto::{
        samples::{GnssFix, ImuSample, Signal, VehicleSpeed},
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
        signals.extend(accel.iter().map(|r| {
            let accel_mps2 = [r[1], -r[2], -r[3]];
            Signal::Imu(ImuSample { at: at(r), accel_mps2, gyro_rad_s: None })
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
}
