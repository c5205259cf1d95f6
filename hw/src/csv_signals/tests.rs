use std::io::Write;

use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;
use crate::{drive::SignalFormat, shared_data::shared_data};

const ZERO: MonoTime = MonoTime::from_ns(10_000_000_000);

fn file(text: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text).unwrap();
    file
}

fn input(path: &Path, columns: &[(&str, &str)]) -> SignalInput {
    let columns = columns.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    SignalInput { columns, ..SignalInput::whole(path, SignalFormat::Csv) }
}

fn read(input: &SignalInput) -> Result<Vec<Signal>, SignalError> {
    let mut source = CsvSignals::open(input, ZERO)?;
    let mut out = Vec::new();
    while let Some(s) = source.next_signal()? {
        out.push(s);
    }
    assert!(out.is_sorted_by_key(Signal::at));
    Ok(out)
}

fn speed(t_s: f64, mps: f64) -> Signal {
    Signal::Speed(VehicleSpeed { at: ZERO + std::time::Duration::from_secs_f64(t_s), mps })
}

#[test]
fn units_empty_cells_and_a_byte_order_mark() {
    for (text, want) in [
        ("t_s,speed_mps\n5,3\n6,4\n", vec![speed(0.0, 3.0), speed(1.0, 4.0)]),
        ("t_s , speed_kmh\r\n0, 36\r\n", vec![speed(0.0, 10.0)]),
        ("\u{feff}t_s,speed_mph,other\n0,10,x\n", vec![speed(0.0, 4.4704)]),
        ("t_s,speed_mps\n0,-2\n1,\n2,nan\n3,1\n", vec![speed(0.0, 2.0), speed(3.0, 1.0)]),
        // A row that goes back is left out, the rest stays.
        (
            "t_s,speed_mps\n0,1\n2,2\n1,9\n3,3\n",
            vec![speed(0.0, 1.0), speed(2.0, 2.0), speed(3.0, 3.0)],
        ),
        ("t_s,speed_mps", vec![]),
    ] {
        assert_eq!(read(&input(file(text.as_bytes()).path(), &[])).unwrap(), want, "{text}");
    }
}

#[test]
fn one_row_gives_all_its_signals() {
    let text = "t_s,accel_x_g,accel_y_g,lat_deg,lon_deg,speed_kmh,vehicle_speed_kmh,bearing_deg,utc_ms,button\n\
                1,0.5,0.1,54.5,-6.5,36,72,-90,1533226488299.0,0\n\
                2,,,,,,,,,1\n3,,,,,,,,,1\n4,,,,,,,,,0\n5,,,,,,,,,1\n";
    let got = read(&input(file(text.as_bytes()).path(), &[])).unwrap();
    let at = |s: f64| ZERO + std::time::Duration::from_secs_f64(s);
    let g = STANDARD_GRAVITY_MPS2;
    assert_eq!(
        got,
        [
            speed(0.0, 20.0),
            Signal::Imu(ImuSample {
                at: ZERO,
                accel_mps2: [0.5 * g, 0.1 * g, g],
                gyro_rad_s: None
            }),
            Signal::Gnss(GnssFix {
                utc_unix_ms: Some(1_533_226_488_299),
                speed_mps: Some(10.0),
                course_deg: Some(270.0),
                ..GnssFix::new(ZERO, 54.5, -6.5)
            }),
            Signal::Button(ButtonPress { at: at(1.0) }),
            Signal::Button(ButtonPress { at: at(4.0) }),
        ]
    );
}

#[test]
fn columns_are_mapped_and_averaged() {
    let text = "time,rl,rr\n0,9,11\n";
    let map = [("time", "t_s"), ("rl", "speed_mps"), ("rr", "speed_mps")];
    assert_eq!(read(&input(file(text.as_bytes()).path(), &map)).unwrap(), [speed(0.0, 10.0)]);
}

#[test]
fn joined_by_time_within_tolerance() {
    let accel =
        file(b"t_s,accel_x_mps2,accel_y_mps2,accel_z_mps2\n0,1,0,-9\n0.5,2,0,-9\n1,3,0,-9\n");
    let gyro = file(b"t_s,gyro_x_deg_s,gyro_y_rad_s,gyro_z_rad_s\n0.01,180,0,5\n0.98,0,0,7\n");
    let joined = SignalInput {
        join: vec![gyro.path().to_owned()],
        axes: Axes::parse(&["x", "-y", "-z"]).unwrap(),
        ..input(accel.path(), &[])
    };
    let gyros: Vec<_> = read(&joined)
        .unwrap()
        .into_iter()
        .map(|s| {
            let Signal::Imu(s) = s else { panic!("{s:?}") };
            (s.accel_mps2[0], s.accel_mps2[2], s.gyro_rad_s.map(|g| (g[0], g[2])))
        })
        .collect();
    let pi = std::f64::consts::PI;
    assert_eq!(
        gyros,
        [(1.0, 9.0, Some((pi, -5.0))), (2.0, 9.0, None), (3.0, 9.0, Some((0.0, -7.0)))]
    );
}

#[test]
fn errors_name_the_file_the_line_and_the_way_out() {
    for (text, map, parts) in [
        ("a,b\n1,2\n", vec![], vec!["no column `t_s`", "`a`, `b`"]),
        ("t_s,b\n1,2\n", vec![], vec!["no column of it is known", "speed_kmh"]),
        ("t_s,speed_mps\n0,1\n1,fast\n", vec![], vec!["line 3", "`fast`", "`speed_mps`"]),
        ("t_s,speed_mps\n0,1\n1,2,3\n", vec![], vec!["line 3"]),
        ("t_s,speed_mps\n0,1\n", vec![("v", "speed_mps")], vec!["no column `v`"]),
        ("t_s,accel_x_g\n0,1\n", vec![], vec!["x and y"]),
        ("t_s,lat_deg,lon_deg\n0,91,0\n", vec![], vec!["line 2", "globe"]),
        ("t_s,gyro_x_rad_s,gyro_y_rad_s,gyro_z_rad_s\n0,1,1,1\n", vec![], vec!["join"]),
    ] {
        let file = file(text.as_bytes());
        let err = read(&input(file.path(), &map)).unwrap_err().to_string();
        assert!(err.contains(&file.path().display().to_string()), "{err}");
        for part in parts {
            assert!(err.contains(part), "{part} not in: {err}");
        }
    }
}

#[test]
fn errors_hold_no_coordinates() {
    let file = file(b"t_s,lat_deg,lon_deg\n0,54.123456x,7\n");
    let err = read(&input(file.path(), &[])).unwrap_err().to_string();
    assert!(err.contains("lat_deg") && !err.contains("54.12"), "{err}");
}

#[test]
fn a_line_without_an_end_is_refused() {
    let mut text = b"t_s,speed_mps\n".to_vec();
    text.resize(4 * MAX_LINE, b'1');
    let err = read(&input(file(&text).path(), &[])).unwrap_err().to_string();
    assert!(err.contains("longer than"), "{err}");
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut text = b"t_s,speed_mps,lat_deg,lon_deg,accel_x_g,accel_y_g,button\n".to_vec();
        text.extend(&bytes);
        drop(read(&input(file(&text).path(), &[])));
        drop(read(&input(file(&bytes).path(), &[])));
    }
}

/// Pearson's r and the slope of `y` over `x`.
fn fit(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    let (mx, my) = points.iter().fold((0.0, 0.0), |a, p| (a.0 + p.0 / n, a.1 + p.1 / n));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in points {
        xx += (x - mx) * (x - mx);
        yy += (y - my) * (y - my);
        xy += (x - mx) * (y - my);
    }
    (xy / (xx * yy).sqrt(), xy / xx)
}

fn mean_around(rows: &[(f64, f64)], t: f64, half: f64) -> Option<f64> {
    let near: Vec<f64> =
        rows.iter().filter(|(s, _)| (s - t).abs() <= half).map(|(_, v)| *v).collect();
    (!near.is_empty()).then(|| near.iter().sum::<f64>() / near.len() as f64)
}

fn imu(signals: &[Signal], axis: usize) -> Vec<(f64, f64)> {
    let imu = |s: &Signal| {
        let Signal::Imu(s) = s else { return None };
        Some((s.at.secs_from(ZERO), s.accel_mps2[axis]))
    };
    signals.iter().filter_map(imu).collect()
}

fn speeds(signals: &[Signal]) -> Vec<(f64, f64)> {
    let speed = |s: &Signal| {
        let Signal::Speed(s) = s else { return None };
        Some((s.at.secs_from(ZERO), s.mps))
    };
    signals.iter().filter_map(speed).collect()
}

/// Acceleration along the way against the change of speed, every half second.
fn against_speed(accel: &[(f64, f64)], speed: &[(f64, f64)], seconds: u32) -> Vec<(f64, f64)> {
    (4..seconds * 2 - 4)
        .filter_map(|k| {
            let t = f64::from(k) / 2.0;
            let dv = mean_around(speed, t + 0.5, 0.1)? - mean_around(speed, t - 0.5, 0.1)?;
            Some((dv, mean_around(accel, t, 0.5)?))
        })
        .collect()
}

/// The IMU of this car is mounted x forward, y right, z down: with axes x, -y, -z its forward
/// acceleration follows the speed (r 0.85, slope 0.8), a right turn (course rising) pulls to the
/// right, and gravity pushes up. A constant of about -0.5 m/s2 along x is its tilt and the road's.
#[test]
fn comma2k19_axes_agree_with_the_speed() {
    let Some(dir) = shared_data("telemetry/comma2k19") else { return };
    let start = Some(46_408.58);
    let map = [
        ("x_mps2", "accel_x_mps2"),
        ("y_mps2", "accel_y_mps2"),
        ("z_mps2", "accel_z_mps2"),
        ("x_rad_s", "gyro_x_rad_s"),
        ("y_rad_s", "gyro_y_rad_s"),
        ("z_rad_s", "gyro_z_rad_s"),
    ];
    let motion = read(&SignalInput {
        start_s: start,
        join: vec![dir.join("gyro.csv")],
        axes: Axes::parse(&["x", "-y", "-z"]).unwrap(),
        ..input(&dir.join("accelerometer.csv"), &map)
    })
    .unwrap();
    assert_eq!(motion.len(), 6256);
    assert!(motion.iter().all(|s| matches!(s, Signal::Imu(s) if s.gyro_rad_s.is_some())));
    let speed =
        read(&SignalInput { start_s: start, ..input(&dir.join("speed.csv"), &[]) }).unwrap();
    assert_eq!(speed.len(), 4974);
    let (r, slope) = fit(&against_speed(&imu(&motion, 0), &speeds(&speed), 59));
    println!("forward: r {r:.2}, slope {slope:.2}");
    assert!(r > 0.8 && (0.7..1.1).contains(&slope), "r {r}, slope {slope}");
    let up: f64 = imu(&motion, 2).iter().map(|(_, a)| a).sum::<f64>() / 6256.0;
    assert!((9.3..10.0).contains(&up), "{up}");

    let fixes =
        read(&SignalInput { start_s: start, ..input(&dir.join("gnss_ublox.csv"), &[]) }).unwrap();
    assert_eq!(fixes.len(), 579);
    let Some(Signal::Gnss(first)) = fixes.first() else { panic!("{:?}", fixes.first()) };
    assert_eq!(first.utc_unix_ms, Some(1_533_226_488_299));
    assert!(first.speed_mps.is_some() && first.course_deg.is_some());

    // The data set's speed is the mean of the four wheels.
    let wheels = ["fl_mps", "fr_mps", "rl_mps", "rr_mps"].map(|w| (w, "speed_mps"));
    let wheels =
        read(&SignalInput { start_s: start, ..input(&dir.join("wheel_speed.csv"), &wheels) });
    let wheels = speeds(&wheels.unwrap());
    let worst = wheels.iter().zip(speeds(&speed)).map(|(a, b)| (a.1 - b.1).abs());
    assert!(worst.fold(0.0, f64::max) < 1e-6);
}

/// In this log `Acceleration Gs` is positive when the car speeds up, `Lateral Gs` positive in
/// right turns (to the right: the opposite of the vehicle axis y), and there is no z. So the
/// axes are those of a device mounted x forward, y right, z down: x, -y, -z.
#[test]
fn cloudpose_axes_agree_with_speed_and_course() {
    let Some(file) = shared_data("telemetry/cloudpose/car.csv") else { return };
    let map = [
        ("Seconds", "t_s"),
        ("Speed (MPH)", "vehicle_speed_mph"),
        ("Acceleration Gs", "accel_x_g"),
        ("Lateral Gs", "accel_y_g"),
        ("Latitude / Y Position (Degrees)", "lat_deg"),
        ("Longitude / X Position (Degrees)", "lon_deg"),
    ];
    let axes = Axes::parse(&["x", "-y", "-z"]).unwrap();
    let signals = read(&SignalInput { axes, ..input(&file, &map) }).unwrap();
    assert_eq!(signals.len(), 3 * 4708);
    let speed = speeds(&signals);
    let (r, slope) = fit(&against_speed(&imu(&signals, 0), &speed, 341));
    println!("forward: r {r:.2}, slope {slope:.2}");
    assert!(r > 0.85 && (0.8..1.1).contains(&slope), "r {r}, slope {slope}");
    assert!(imu(&signals, 2).iter().all(|(_, up)| *up == STANDARD_GRAVITY_MPS2));

    let left = imu(&signals, 1);
    let places = |pick: fn(&GnssFix) -> f64| -> Vec<(f64, f64)> {
        let place = |s: &Signal| {
            let Signal::Gnss(f) = s else { return None };
            Some((f.at.secs_from(ZERO), pick(f)))
        };
        signals.iter().filter_map(place).collect()
    };
    let (lat, lon) = (places(|f| f.lat_deg), places(|f| f.lon_deg));
    let course = |from: f64, to: f64| {
        let d =
            |rows: &[(f64, f64)]| Some(mean_around(rows, to, 0.1)? - mean_around(rows, from, 0.1)?);
        Some((d(&lon)? * 30.3_f64.to_radians().cos()).atan2(d(&lat)?))
    };
    let turns: Vec<_> = (2..339)
        .filter_map(|t| {
            let t = f64::from(t);
            let v = mean_around(&speed, t, 0.1).filter(|v| *v > 6.0)?;
            let turn = course(t, t + 1.0)? - course(t - 1.0, t)?;
            let clockwise = (turn + std::f64::consts::PI).rem_euclid(std::f64::consts::TAU)
                - std::f64::consts::PI;
            Some((-clockwise * v, mean_around(&left, t, 1.0)?))
        })
        .collect();
    let (r, slope) = fit(&turns);
    println!("left: r {r:.2}, slope {slope:.2} of {}", turns.len());
    assert!(r > 0.6 && slope > 0.4, "r {r}, slope {slope}");
}
