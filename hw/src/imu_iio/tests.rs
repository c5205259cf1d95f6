use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use super::*;

/// The attributes of a device as `bmi160` shows it, and a pipe for its node.
struct Made {
    folder: tempfile::TempDir,
}

const DEVICE: &str = "devices/iio:device3";

impl Made {
    fn new() -> Self {
        let made = Self { folder: tempfile::tempdir().unwrap() };
        for (attribute, value) in [
            ("name", "bmi160\n"),
            ("current_timestamp_clock", "realtime\n"),
            ("buffer/enable", "0\n"),
            ("buffer/length", "2\n"),
            ("buffer/watermark", "1\n"),
            ("trigger/current_trigger", "\n"),
            ("in_accel_scale", "0.000598\n"),
            ("in_accel_scale_available", "0.000598 0.001197 0.002394 0.004785\n"),
            ("in_anglvel_scale", "0.001065\n"),
            ("in_accel_sampling_frequency", "25\n"),
            ("in_accel_sampling_frequency_available", "25 50 100 200 400 1600\n"),
            ("scan_elements/in_other_en", "1\n"),
        ] {
            made.set(attribute, value);
        }
        let channels = [
            ("in_anglvel_x", 0, "le:s16/16>>0"),
            ("in_anglvel_y", 1, "le:s16/16>>0"),
            ("in_anglvel_z", 2, "le:s16/16>>0"),
            ("in_accel_x", 3, "le:s16/16>>0"),
            ("in_accel_y", 4, "le:s16/16>>0"),
            ("in_accel_z", 5, "le:s16/16>>0"),
            ("in_timestamp", 6, "le:s64/64>>0"),
        ];
        for (channel, index, kind) in channels {
            made.set(&format!("scan_elements/{channel}_en"), "0\n");
            made.set(&format!("scan_elements/{channel}_index"), &format!("{index}\n"));
            made.set(&format!("scan_elements/{channel}_type"), &format!("{kind}\n"));
        }
        let trigger = made.path("devices/trigger0");
        fs::create_dir_all(&trigger).unwrap();
        fs::write(trigger.join("name"), "temoin\n").unwrap();
        fs::write(trigger.join("sampling_frequency"), "1\n").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, made.path("iio:device3"), Mode::RUSR | Mode::WUSR)
            .unwrap();
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn set(&self, attribute: &str, value: &str) {
        let path = self.path(DEVICE).join(attribute);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, value).unwrap();
    }

    fn is(&self, attribute: &str) -> String {
        value(&self.path(DEVICE).join(attribute))
    }

    fn places(&self) -> Places {
        Places {
            devices: self.path("devices"),
            nodes: self.folder.path().to_owned(),
            timers: self.path("timers"),
        }
    }

    fn open(&self, wish: &ImuWish, stop: StopToken) -> Result<ImuIio, SignalError> {
        ImuIio::open_in(self.places(), wish, stop)
    }

    fn wrong(&self, wish: &ImuWish) -> String {
        let described = ImuIio::describe_in(self.places(), wish).unwrap_err().to_string();
        let Err(opened) = self.open(wish, StopToken::new()) else { panic!("opened") };
        assert_eq!(opened.to_string(), described);
        described
    }
}

/// A file is longer than what was written over its begin.
fn value(path: &Path) -> String {
    fs::read_to_string(path).unwrap().lines().next().unwrap_or_default().to_owned()
}

fn wish() -> ImuWish {
    ImuWish { device: "bmi160".to_owned(), trigger: None, rate_hz: 100.0, range_g: 16.0 }
}

fn scan(axes: [i16; 6], ns: i64) -> Vec<u8> {
    let mut bytes: Vec<u8> = axes.iter().flat_map(|axis| axis.to_le_bytes()).collect();
    bytes.extend([0; 4]);
    bytes.extend(ns.to_le_bytes());
    bytes
}

#[test]
fn a_sensor_is_set_up_and_read() {
    let made = Made::new();
    let node = made.path("iio:device3");
    let mut pipe = fs::OpenOptions::new().read(true).write(true).open(&node).unwrap();
    let mut imu = made.open(&wish(), StopToken::new()).unwrap();
    assert_eq!(made.is("scan_elements/in_accel_z_en"), "1");
    assert_eq!(made.is("scan_elements/in_other_en"), "0");
    assert_eq!(made.is("current_timestamp_clock"), "boottime");
    assert_eq!(made.is("in_accel_scale"), "0.004785", "16 g");
    assert_eq!(made.is("in_accel_sampling_frequency"), "100");
    assert_eq!(made.is("trigger/current_trigger"), "temoin");
    assert_eq!(value(&made.path("devices/trigger0/sampling_frequency")), "100");
    assert_eq!(made.is("buffer/length"), "200");
    assert_eq!(made.is("buffer/enable"), "1");

    // The scale that was read again after it was set; half of a scan comes with the next.
    let first = scan([10, 0, -20, 0, 0, 2049], 5_000_000_000);
    let second = scan([0; 6], 4_999_000_000);
    let bytes = [first, second].concat();
    pipe.write_all(&bytes[..30]).unwrap();
    let Some(Signal::Imu(sample)) = imu.next_signal().unwrap() else { panic!("no sample") };
    pipe.write_all(&bytes[30..]).unwrap();
    assert_eq!(sample.at, MonoTime::from_ns(5_000_000_000));
    let near = |is: f64, due: f64| assert!((is - due).abs() < 1e-9, "{is} {due}");
    near(sample.accel_mps2[2], 2049.0 * 0.004_785);
    let turn = sample.gyro_rad_s.unwrap();
    near(turn[0], 0.010_65);
    near(turn[2], -0.0213);
    let Some(Signal::Imu(sample)) = imu.next_signal().unwrap() else { panic!("no sample") };
    assert_eq!(sample.at, MonoTime::from_ns(5_000_000_000), "times never fall");
    drop(imu);
    assert_eq!(made.is("buffer/enable"), "0", "it is stopped");
}

#[test]
fn without_stamps_samples_lie_behind_each_other() {
    let made = Made::new();
    fs::remove_file(made.path(DEVICE).join("current_timestamp_clock")).unwrap();
    let node = made.path("iio:device3");
    let mut pipe = fs::OpenOptions::new().read(true).write(true).open(&node).unwrap();
    let mut imu = made.open(&wish(), StopToken::new()).unwrap();
    assert_eq!(made.is("scan_elements/in_timestamp_en"), "0");
    pipe.write_all(&[0; 36]).unwrap();
    let mut times = Vec::new();
    for _ in 0..3 {
        times.push(imu.next_signal().unwrap().unwrap().at());
    }
    assert!(times[2] <= SystemClock.now());
    for pair in times.windows(2) {
        assert_eq!(pair[1].since(pair[0]), Duration::from_millis(10));
    }
}

#[test]
fn a_waiting_sensor_ends_when_it_is_stopped_and_a_silent_one_is_a_fault() {
    let made = Made::new();
    let node = made.path("iio:device3");
    let _pipe = fs::OpenOptions::new().read(true).write(true).open(&node).unwrap();
    let stop = StopToken::new();
    let mut imu = made.open(&wish(), stop.clone()).unwrap();
    let said = imu.next_signal().unwrap_err().to_string();
    assert!(said.contains("iio:device3") && said.contains("2 s"), "{said}");
    assert!(matches!(imu.next_signal(), Ok(None)));
    drop(imu);
    let mut imu = made.open(&wish(), stop.clone()).unwrap();
    stop.stop();
    assert!(matches!(imu.next_signal(), Ok(None)));
}

#[test]
fn what_is_wrong_is_said_before_anything_is_changed() {
    let made = Made::new();
    let said = made.wrong(&ImuWish { device: "mpu6050".to_owned(), ..wish() });
    assert!(said.contains("mpu6050") && said.contains("bmi160"), "{said}");
    let said = made.wrong(&ImuWish { trigger: Some("pin".to_owned()), ..wish() });
    assert!(said.contains("no trigger `pin`") && said.contains("`temoin`"), "{said}");
    fs::remove_dir_all(made.path("devices/trigger0")).unwrap();
    let said = made.wrong(&wish());
    assert!(said.contains("iio-trig-hrtimer"), "{said}");
    fs::remove_file(made.path(DEVICE).join("scan_elements/in_accel_y_en")).unwrap();
    let said = made.wrong(&wish());
    assert!(said.contains("three axes"), "{said}");
    assert_eq!(made.is("current_timestamp_clock"), "realtime", "nothing was set");
    assert_eq!(made.is("in_accel_scale"), "0.000598");
}

#[test]
fn a_sensor_is_described_without_a_touch() {
    let made = Made::new();
    let describe = || ImuIio::describe_in(made.places(), &wish()).unwrap();
    assert!(describe().ends_with("accelerations and turns, by the trigger `temoin`"));
    fs::remove_file(made.path(DEVICE).join("scan_elements/in_anglvel_y_en")).unwrap();
    fs::remove_file(made.path(DEVICE).join("trigger/current_trigger")).unwrap();
    assert!(describe().ends_with("accelerations, no turns, by its own queue"), "{}", describe());
    assert_eq!(made.is("in_accel_scale"), "0.000598");
}
