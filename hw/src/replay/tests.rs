use std::{collections::VecDeque, time::Instant};

use super::*;
use crate::{device::CameraError, shared_data::shared_data};

const SMALL: PictureSize = PictureSize { width: 64, height: 36, fps: 15 };

fn fast(size: PictureSize) -> ReplayOptions {
    ReplayOptions { speed: Speed::Max, size, stop: StopToken::new() }
}

fn csv(dir: &std::path::Path, name: &str, rows: &[(f64, f64)]) -> SignalInput {
    let mut text = "t_s,speed_mps\n".to_owned();
    for (t, v) in rows {
        text.push_str(&format!("{t},{v}\n"));
    }
    std::fs::write(dir.join(name), text).unwrap();
    SignalInput { start_s: Some(0.0), ..SignalInput::whole(dir.join(name), SignalFormat::Csv) }
}

fn drive(signals: Vec<SignalInput>) -> Drive {
    Drive { repeat: 1, signals, ..Drive::default() }
}

/// Seconds of the drive and metres a second of every speed.
fn speeds(replay: Replay) -> Vec<(f64, f64)> {
    replay
        .map(|item| {
            let item = item.unwrap();
            let ReplayItem::Signal(Signal::Speed(s)) = item else { panic!("{item:?}") };
            (s.at.secs_from(ZERO), s.mps)
        })
        .collect()
}

#[test]
fn merges_in_the_order_of_time() {
    let dir = tempfile::tempdir().unwrap();
    let a = csv(dir.path(), "a.csv", &[(0.0, 1.0), (2.0, 3.0), (2.0, 4.0), (9.0, 9.0)]);
    let b = csv(dir.path(), "b.csv", &[(1.0, 2.0), (2.0, 5.0)]);
    let both = drive(vec![a, b]);
    let want = vec![(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (2.0, 4.0), (2.0, 5.0), (9.0, 9.0)];
    assert_eq!(speeds(Replay::open(&both, &fast(SMALL)).unwrap()), want);

    let cut = Drive { duration_s: Some(2.0), repeat: 2, ..both };
    let want = vec![(0.0, 1.0), (1.0, 2.0), (2.0, 1.0), (3.0, 2.0)];
    assert_eq!(speeds(Replay::open(&cut, &fast(SMALL)).unwrap()), want);
}

#[test]
fn a_failing_device_says_so_once_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let good = csv(dir.path(), "good.csv", &[(0.0, 1.0), (2.0, 3.0)]);
    let bad = csv(dir.path(), "bad.csv", &[(1.0, 2.0)]);
    std::fs::write(dir.path().join("bad.csv"), "t_s,speed_mps\n1,2\n2,x\n").unwrap();
    let got: Vec<_> = Replay::open(&drive(vec![bad, good]), &fast(SMALL)).unwrap().collect();
    let errors: Vec<_> = got.iter().filter_map(|r| r.as_ref().err()).collect();
    assert_eq!((got.len(), errors.len()), (4, 1));
    assert!(errors[0].to_string().contains("bad.csv"), "{}", errors[0]);

    let missing = SignalInput::whole(dir.path().join("none.csv"), SignalFormat::Csv);
    let Err(e) = Replay::open(&drive(vec![missing]), &fast(SMALL)) else { panic!("opened") };
    assert!(e.to_string().contains("none.csv"), "{e}");
}

/// A camera that gives a frame at each of its times.
struct Scripted(VecDeque<f64>);

impl Camera for Scripted {
    fn id(&self) -> CameraId {
        CameraId::Road
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, CameraError> {
        Ok(self.0.pop_front().map(|t_s| Frame {
            camera: CameraId::Road,
            at: ZERO + Duration::from_secs_f64(t_s),
            width: 2,
            height: 2,
            format: temoin_proto::samples::PixelFormat::Gray8,
            data: bytes::Bytes::from_static(&[0; 4]),
        }))
    }
}

#[test]
fn what_loops_ends_with_what_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let signals = drive(vec![csv(dir.path(), "a.csv", &[(0.0, 1.0), (1.0, 2.0)])]);
    let mut replay = Replay::open(&signals, &fast(SMALL)).unwrap();
    let endless = (0..1000).map(|i| f64::from(i) * 0.3).collect();
    replay.sources.push(Source::camera(Scripted(endless), true));
    let times: Vec<_> = replay.map(|i| i.unwrap().at().secs_from(ZERO)).collect();
    assert_eq!(times.len(), 2 + 4, "{times:?}");
    assert!(times.is_sorted() && times.last() == Some(&1.0));
}

#[test]
fn the_clock_stands_at_the_newest_item() {
    let dir = tempfile::tempdir().unwrap();
    let signals = drive(vec![csv(dir.path(), "a.csv", &[(0.0, 1.0), (60.0, 2.0)])]);
    let mut replay = Replay::open(&signals, &fast(SMALL)).unwrap();
    let clock = replay.clock();
    let before = clock.wall().unix_ms;
    replay.next();
    assert_eq!(clock.now(), ZERO);
    replay.next();
    assert_eq!(clock.now(), ZERO + Duration::from_secs(60));
    assert_eq!(clock.wall().unix_ms - before, 60_000);
}

#[test]
fn real_speed_waits_and_stops_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let signals = drive(vec![csv(dir.path(), "a.csv", &[(0.0, 1.0), (0.1, 2.0), (3600.0, 3.0)])]);
    let stop = StopToken::new();
    let options = ReplayOptions { speed: Speed::Real, size: SMALL, stop: stop.clone() };
    let mut replay = Replay::open(&signals, &options).unwrap();
    let began = Instant::now();
    assert!(replay.next().is_some() && replay.next().is_some());
    assert!(began.elapsed() >= Duration::from_millis(100));
    let waiting = std::thread::spawn(move || (replay.next().is_none(), replay.next().is_none()));
    stop.stop();
    assert_eq!(waiting.join().unwrap(), (true, true));
}

#[test]
fn a_simulated_drive_is_whole() {
    let replay = Replay::simulated(Script::demo(), &fast(SMALL)).unwrap();
    let script = replay.script().unwrap();
    let (mut frames, mut signals, mut last) = (0, 0, MonoTime::ZERO);
    for item in replay {
        let item = item.unwrap();
        assert!(item.at() >= last);
        last = item.at();
        match item {
            ReplayItem::Frame(f) => {
                assert!(script.observation(f.at, ZERO).face.known().is_some());
                frames += 1;
            }
            ReplayItem::Signal(_) => signals += 1,
        }
    }
    assert_eq!((frames, signals), (2 * 75 * 15, 7500 + 1875 + 375 + 1));
}

/// The real videos and the real car's log as one drive.
#[test]
fn a_recorded_drive_of_real_files() {
    let Some(data) = shared_data("driver_video").and(shared_data("telemetry")) else { return };
    let data = data.parent().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        r#"
        [drive]
        duration_s = 20
        [cabin]
        video = "{0}/driver_video/head_turns.mp4"
        [road]
        video = "{0}/road_video/highway_white.mp4"
        loop = true
        [[signals]]
        file = "{0}/telemetry/comma2k19/accelerometer.csv"
        start_s = 46408.58
        join = ["{0}/telemetry/comma2k19/gyro.csv"]
        axes = ["x", "-y", "-z"]
        [signals.columns]
        x_mps2 = "accel_x_mps2"
        y_mps2 = "accel_y_mps2"
        z_mps2 = "accel_z_mps2"
        x_rad_s = "gyro_x_rad_s"
        y_rad_s = "gyro_y_rad_s"
        z_rad_s = "gyro_z_rad_s"
        [[signals]]
        file = "{0}/telemetry/comma2k19/speed.csv"
        start_s = 46408.58
        [[signals]]
        file = "{0}/telemetry/comma2k19/gnss_ublox.csv"
        start_s = 46408.58
        "#,
        data.display()
    );
    std::fs::write(dir.path().join("drive.toml"), text).unwrap();
    let drive = Drive::load(dir.path()).unwrap();
    let began = Instant::now();
    let (mut cabin, mut road, mut signals, mut last) = (0, 0, 0, ZERO);
    for item in Replay::open(&drive, &fast(PictureSize::default())).unwrap() {
        let item = item.unwrap();
        assert!(item.at() >= last && item.at() < ZERO + Duration::from_secs(20));
        last = item.at();
        match item {
            ReplayItem::Frame(f) if f.camera == CameraId::Cabin => cabin += 1,
            ReplayItem::Frame(_) => road += 1,
            ReplayItem::Signal(_) => signals += 1,
        }
    }
    println!("20 s of drive in {:.1} s", began.elapsed().as_secs_f64());
    assert!((235..=245).contains(&cabin), "{cabin}");
    assert!((290..=301).contains(&road), "{road}");
    assert!(signals > 3800, "{signals}");
}
