use super::*;
use crate::shared_data::shared_data;

const ZERO: MonoTime = MonoTime::from_ns(10_000_000_000);
const SMALL: PictureSize = PictureSize { width: 320, height: 180, fps: 15 };

/// A video in H.264 of a test pattern, with a white part of half its width added at the left.
fn make_video(path: &Path, frames: u32, (w, h, fps): (u32, u32, u32), pattern: &str) {
    gst::init().unwrap();
    let text = format!(
        "videotestsrc num-buffers={frames} pattern={pattern} \
         ! video/x-raw,format=I420,width={w},height={h},framerate={fps}/1 \
         ! videobox left=-{} fill=white ! video/x-raw,width={} \
         ! x264enc speed-preset=ultrafast key-int-max=15 \
         ! mp4mux faststart=true ! filesink location={}",
        w / 2,
        w + w / 2,
        path.display()
    );
    let pipeline = gst::parse::launch(&text).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let end = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &end).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    pipeline.set_state(gst::State::Null).unwrap();
}

/// Marks a video as filmed with the camera on its side: to be turned clockwise by a quarter.
fn turn_by_a_quarter(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let header = bytes.windows(4).position(|w| w == b"tkhd").unwrap() + 4;
    // The matrix of a track header (ISO/IEC 14496-12), after its version's times and the rest.
    let at = header + if bytes[header] == 0 { 40 } else { 52 };
    let matrix: [u32; 9] = [0, 0x1_0000, 0, 0xffff_0000, 0, 0, 80 << 16, 0, 0x4000_0000];
    let matrix: Vec<u8> = matrix.iter().flat_map(|v| v.to_be_bytes()).collect();
    bytes[at..at + 36].copy_from_slice(&matrix);
    std::fs::write(path, bytes).unwrap();
}

fn open(input: &VideoInput, size: PictureSize) -> Result<VideoFile, CameraError> {
    VideoFile::open(CameraId::Cabin, input, size, ZERO)
}

fn whole(file: &Path) -> VideoInput {
    VideoInput { file: file.to_owned(), ..VideoInput::default() }
}

/// Times of at most `most` frames, in seconds of the drive, and the error that ended them.
fn times(input: &VideoInput, most: usize) -> (Vec<f64>, Option<CameraError>) {
    let mut video = open(input, SMALL).unwrap();
    let mut out = Vec::new();
    while out.len() < most {
        match video.next_frame() {
            Ok(Some(f)) => out.push(f.at.secs_from(ZERO)),
            Ok(None) => break,
            Err(e) => {
                assert!(matches!(video.next_frame(), Ok(None)), "goes on after an error");
                return (out, Some(e));
            }
        }
    }
    (out, None)
}

fn near(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{got:?}");
    for (a, b) in got.iter().zip(want) {
        assert!((a - b).abs() < 2e-3, "{got:?} is not {want:?}");
    }
}

#[test]
fn plays_trims_moves_and_loops() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a b.mp4");
    make_video(&dir.path().join("a.mp4"), 20, (320, 180, 10), "black");
    // A name that is no URI.
    std::fs::rename(dir.path().join("a.mp4"), &file).unwrap();

    let (all, end) = times(&whole(&file), 99);
    assert!(end.is_none(), "{end:?}");
    near(&all, &(0..20).map(|i| f64::from(i) / 10.0).collect::<Vec<_>>());

    let part = VideoInput { start_s: 1.0, length_s: Some(0.3), offset_s: 5.0, ..whole(&file) };
    near(&times(&part, 99).0, &[5.0, 5.1, 5.2]);
    near(&times(&VideoInput { looped: true, ..part }, 5).0, &[5.0, 5.1, 5.2, 5.3, 5.4]);
    let tail = VideoInput { start_s: 1.8, looped: true, ..whole(&file) };
    near(&times(&tail, 5).0, &[0.0, 0.1, 0.2, 0.3, 0.4]);

    let (none, end) = times(&VideoInput { start_s: 60.0, looped: true, ..whole(&file) }, 5);
    assert!(none.is_empty() && end.is_some(), "{none:?} {end:?}");
}

#[test]
fn leaves_out_frames_over_the_rate_and_keeps_their_times() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.mp4");
    make_video(&file, 60, (320, 180, 30), "black");
    let (all, _) = times(&whole(&file), 999);
    near(&all, &(0..30).map(|i| f64::from(i) / 15.0).collect::<Vec<_>>());
}

/// Luma at a place of a picture, given in hundredths of its sides.
fn luma(frame: &Frame, x: u32, y: u32) -> u8 {
    let at = |percent: u32, side: u32| usize::try_from(percent * side / 100).unwrap();
    frame.data[at(y, frame.height) * at(100, frame.width) + at(x, frame.width)]
}

#[test]
fn keeps_the_shape_and_turns_upright() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.mp4");
    // 240x80, white on its left third.
    make_video(&file, 5, (160, 80, 10), "black");
    let frame = open(&whole(&file), SMALL).unwrap().next_frame().unwrap().unwrap();
    assert_eq!((frame.width, frame.height, frame.format), (320, 180, PixelFormat::I420));
    assert_eq!(frame.data.len(), PixelFormat::I420.size_bytes(320, 180));
    assert!(luma(&frame, 10, 50) > 200, "white on the left");
    assert!(luma(&frame, 80, 50) < 40, "black on the right");
    assert!(luma(&frame, 10, 5) < 40, "a bar above: 320x107 in 320x180");

    let turned = dir.path().join("turned.mp4");
    make_video(&turned, 5, (160, 80, 10), "black");
    turn_by_a_quarter(&turned);
    let frame = open(&whole(&turned), SMALL).unwrap().next_frame().unwrap().unwrap();
    assert!(luma(&frame, 50, 10) > 200, "what was left is on top");
    assert!(luma(&frame, 50, 90) < 40);
    assert!(luma(&frame, 10, 10) < 40, "a bar at the side: 60x180 in 320x180");

    // Rows that GStreamer pads.
    let odd = PictureSize { width: 90, height: 50, fps: 15 };
    let frame = open(&whole(&file), odd).unwrap().next_frame().unwrap().unwrap();
    assert_eq!(frame.data.len(), PixelFormat::I420.size_bytes(90, 50));
}

#[test]
fn damaged_files_are_named_after_their_good_frames() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.mp4");
    make_video(&file, 60, (320, 180, 10), "snow");
    let bytes = std::fs::read(&file).unwrap();

    let cut = dir.path().join("cut.mp4");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let (frames, end) = times(&whole(&cut), 99);
    let end = end.unwrap().to_string();
    assert!(!frames.is_empty() && frames.len() < 60, "{frames:?}");
    assert!(end.contains("cut.mp4"), "{end}");

    for (name, content) in [
        ("noise.mp4", vec![0x5a; 9000]),
        ("empty.mp4", Vec::new()),
        ("head.mp4", bytes[..200].to_vec()),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        let failed = match open(&whole(&path), SMALL) {
            Err(e) => Some(e),
            Ok(mut video) => video.next_frame().err(),
        };
        let said = failed.unwrap_or_else(|| panic!("{name} plays")).to_string();
        assert!(said.contains(name), "{said}");
    }
    if let Some(real) = shared_data("road_video/highway_white.mp4") {
        std::fs::write(&cut, &std::fs::read(real).unwrap()[..1_300_000]).unwrap();
        let (frames, end) = times(&whole(&cut), 999);
        println!("cut by half: {} frames, then: {end:?}", frames.len());
        assert!(frames.len() > 30 && end.is_some(), "{} frames, {end:?}", frames.len());
    }
    for path in ["/nowhere/x.mp4", "/dev"] {
        let Err(e) = open(&whole(Path::new(path)), SMALL) else { panic!("{path} plays") };
        assert!(e.to_string().contains(path), "{e}");
    }
}

#[test]
fn a_missing_plugin_names_its_package() {
    for (what, package) in [
        ("decoder: H.264 (High Profile)", "gstreamer1.0-libav"),
        ("decoder: On2 VP9", "gstreamer1.0-plugins-good"),
        ("decoder: Quicktime demuxer", "gstreamer1.0-plugins-good"),
        ("demuxer: MPEG-TS", "gstreamer1.0-plugins-bad"),
    ] {
        assert_eq!(decoder_package(what), package, "{what}");
    }
    gst::init().unwrap();
    let err = element(Path::new("/d/a.mp4"), "no-such-element", GOOD).unwrap_err().to_string();
    assert!(err.contains("/d/a.mp4") && err.contains(GOOD), "{err}");
}

#[test]
fn impossible_sizes_are_refused() {
    for (width, height, fps) in [(1279, 720, 15), (1280, 0, 15), (8000, 720, 15), (1280, 720, 0)] {
        assert!(PictureSize { width, height, fps }.check().is_err(), "{width}x{height} {fps}");
    }
    assert!(PictureSize::default().check().is_ok());
}

#[test]
fn real_videos() {
    for (name, seconds, fps) in
        [("driver_video/head_turns.mp4", 16.2, 15.0), ("road_video/highway_white.mp4", 8.8, 15.0)]
    {
        let Some(file) = shared_data(name) else { return };
        let (all, end) = times(&whole(&file), usize::MAX);
        assert!(end.is_none(), "{name}: {end:?}");
        let last = all.last().unwrap();
        assert!((last - seconds).abs() < 0.3, "{name}: {last}");
        let rate = all.len() as f64 / seconds;
        println!("{name}: {} frames, {rate:.1} a second", all.len());
        assert!((rate - fps).abs() < 0.5, "{name}: {rate}");
    }
}
