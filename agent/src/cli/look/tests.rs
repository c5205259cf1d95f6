use clap::Parser as _;
use temoin_proto::perception::{NotSeen, Sight};

use super::*;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(words: &[&str]) -> Args {
    Line::parse_from(["look"].iter().chain(words)).args
}

fn device() -> Input {
    Input::Device("/dev/video0".into())
}

fn video() -> Input {
    Input::Video(VideoInput { file: "me.mp4".into(), ..VideoInput::default() })
}

fn picture() -> Input {
    Input::Picture(VideoInput { file: "me.png".into(), ..VideoInput::default() })
}

#[test]
fn no_picture_of_a_unit_in_service_is_written() {
    let enrolled = tempfile::tempdir().unwrap();
    fs::create_dir(enrolled.path().join("identity")).unwrap();
    let workshop = tempfile::tempdir().unwrap();
    // A folder that nobody may look into could hold an identity.
    let strange = tempfile::tempdir().unwrap();
    fs::write(strange.path().join("file"), "").unwrap();
    let strange = strange.path().join("file");
    for (name, data, want) in [
        ("enrolled", Some(enrolled.path()), Rule::WordsOnly),
        ("in the workshop", Some(workshop.path()), Rule::Allowed),
        ("cannot be looked at", Some(strange.as_path()), Rule::WordsOnly),
        ("no configuration", None, Rule::Allowed),
    ] {
        assert_eq!(Rule::of(&device(), data), want, "{name}");
        // Recordings that somebody has already are theirs to look at.
        assert_eq!(Rule::of(&video(), data), Rule::Allowed, "{name}");
        assert_eq!(Rule::of(&picture(), data), Rule::Allowed, "{name}");
    }
    let words = args(&["/dev/video0"]);
    assert_eq!(words.out_file(&device(), Rule::WordsOnly).unwrap(), None);
    let asked = args(&["/dev/video0", "--out", "x.mp4"]);
    let error = asked.out_file(&device(), Rule::WordsOnly).unwrap_err().to_string();
    assert!(error.contains("is enrolled") && error.contains("Without --out"), "{error}");
}

#[test]
fn outputs_have_names_that_fit() {
    let name = |words: &[&str], input: &Input| {
        args(words).out_file(input, Rule::Allowed).map(|p| p.map(|p| p.display().to_string()))
    };
    for (words, input, want) in [
        (vec!["a/me.mp4"], video(), Some("me.look.mp4")),
        (vec!["a/me.JPG"], picture(), Some("me.look.png")),
        (vec!["/dev/video0"], device(), Some("video0.look.mp4")),
        (vec!["me.mp4", "--out", "b/x.MP4"], video(), Some("b/x.MP4")),
        (vec!["me.mp4", "--out", "x.png"], video(), Some("x.png")),
        (vec!["me.mp4", "--no-picture"], video(), None),
    ] {
        assert_eq!(name(&words, &input).unwrap().as_deref(), want, "{words:?}");
    }
    for (words, input) in [
        (vec!["me.png", "--out", "x.mp4"], picture()),
        (vec!["me.mp4", "--out", "x.avi"], video()),
        (vec!["me.mp4", "--out", "x"], video()),
    ] {
        assert!(name(&words, &input).is_err(), "{words:?}");
    }
}

#[test]
fn inputs_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    for (file, still) in [("a.PNG", true), ("a.jpeg", true), ("a.mp4", false), ("a", false)] {
        let path = dir.path().join(file);
        fs::write(&path, "").unwrap();
        let input = Input::of(&path, CameraId::Cabin).unwrap();
        assert_eq!(matches!(input, Input::Picture(_)), still, "{file}");
    }
    assert!(matches!(Input::of(Path::new("/dev/null"), CameraId::Cabin), Ok(Input::Device(_))));
    let error = Input::of(&dir.path().join("none.mp4"), CameraId::Cabin).unwrap_err();
    assert!(format!("{error:#}").contains("none.mp4"), "{error:#}");
    assert!(Input::of(dir.path(), CameraId::Cabin).is_err(), "a folder without a drive");
}

#[test]
fn what_was_not_seen_is_said_with_its_reasons() {
    let mut tally = Tally::new(CameraId::Cabin);
    for (n, why) in [NotSeen::NoFace, NotSeen::BadLight, NotSeen::NoFace].into_iter().enumerate() {
        let at = MonoTime::from_secs_f64(f64::from(u8::try_from(n).unwrap()));
        tally.add(&Sight::unseen(CameraId::Cabin, at, why));
    }
    let words = tally.words();
    assert_eq!(words[0], "3 pictures of the cabin camera, 2.0 s");
    assert!(
        words.contains(&"face: seen in 0 (0 %); not seen: no face 2, bad light 1".to_owned()),
        "{words:?}"
    );
}

/// The whole way: a picture, written by this program itself, in; an annotated one and words out.
#[test]
fn a_picture_goes_through() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("grey.png");
    let grey = I420Picture::from_vec(320, 180, vec![128; 320 * 180 * 3 / 2]).unwrap();
    fs::write(&from, temoin_media::png::encode(&grey.view()).unwrap()).unwrap();
    let config = dir.path().join("agent.toml");
    fs::write(&config, "data_dir = \"/nonexistent\"\n[video]\nwidth = 320\nheight = 180\n")
        .unwrap();
    let path = |p: &Path| p.display().to_string();
    let out = dir.path().join("x.png");
    args(&[&path(&from), "--config", &path(&config), "--out", &path(&out)]).run().unwrap();
    assert!(fs::read(&out).unwrap().starts_with(b"\x89PNG"));
    assert!(!fs::exists(dir.path().join("x.png.part")).unwrap());
}

/// A video in, a video out that can be looked at again.
#[test]
fn a_video_goes_through() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("first.mp4");
    let mut encoder = temoin_media::h264::EncoderConfig::new(320, 180, 10);
    encoder.kind = temoin_media::h264::EncoderKind::X264;
    if let Err(e) = encoder.kind.available() {
        return println!("skipped: {e}");
    }
    let mut recording = Recording::new(first.clone(), encoder);
    for n in 0..12_u8 {
        let grey = I420Picture::from_vec(320, 180, vec![100 + n; 320 * 180 * 3 / 2]).unwrap();
        recording.push(grey, MonoTime::from_secs_f64(f64::from(n) / 10.0)).unwrap();
    }
    assert_eq!(recording.finish().unwrap(), Some(first.clone()));
    let config = dir.path().join("agent.toml");
    fs::write(&config, "data_dir = \"/nonexistent\"\n[video]\nwidth = 320\nheight = 180\n")
        .unwrap();
    let path = |p: &Path| p.display().to_string();
    let second = dir.path().join("second.mp4");
    args(&[&path(&first), "--config", &path(&config), "--out", &path(&second)]).run().unwrap();
    let size = PictureSize { width: 320, height: 180, fps: 10 };
    let input = VideoInput { file: second, ..VideoInput::default() };
    let mut camera = VideoFile::open(CameraId::Cabin, &input, size, MonoTime::ZERO).unwrap();
    let mut frames = 0;
    while camera.next_frame().unwrap().is_some() {
        frames += 1;
    }
    assert_eq!(frames, 12);
}

#[test]
fn nothing_that_came_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.mp4", "a.png"] {
        let encoder = temoin_media::h264::EncoderConfig::new(320, 180, 10);
        assert_eq!(Recording::new(dir.path().join(name), encoder).finish().unwrap(), None);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
