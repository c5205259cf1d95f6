//! What waits, what is released when, and what the pixels are like then.

use temoin_proto::perception::{DriverObservation, Observation, PrivateArea, PrivateKind, Seen};

use super::*;

fn at(ms: u64) -> MonoTime {
    MonoTime::from_ns(ms * 1_000_000)
}

fn frame(ms: u64, (width, height): (u32, u32)) -> Frame {
    let mut picture = I420Picture::black(width, height).unwrap();
    for (n, pixel) in picture.planes_mut().y.iter_mut().enumerate() {
        *pixel = if n % 7 < 3 { 40 } else { 200 };
    }
    picture.into_frame(CameraId::Cabin, at(ms))
}

fn sight(ms: u64, others: Result<Vec<PrivateArea>, NotSeen>) -> Sight {
    let seen = DriverObservation::unseen(at(ms), NotSeen::NoFace);
    Sight { observation: Observation::Driver(seen), others }
}

fn passenger() -> PrivateArea {
    let area = PictureBox { x: 0.7, y: 0.3, w: 0.1, h: 0.2 };
    PrivateArea { kind: PrivateKind::Face, area }
}

fn cabin() -> CameraBlur {
    CameraBlur::new(&BlurConfig::default(), CameraId::Cabin, DriverSeat::default())
}

fn released(blur: &mut CameraBlur, now: u64) -> Vec<(u64, Cover)> {
    std::iter::from_fn(|| blur.next(at(now)))
        .map(|(frame, cover)| (frame.at.as_ns() / 1_000_000, cover.unwrap()))
        .collect()
}

#[test]
fn a_face_that_appears_is_blurred_from_its_first_picture_on() {
    let mut blur = cabin();
    blur.look(&sight(0, Ok(Vec::new())));
    let mut out = Vec::new();
    // 15 pictures a second; perception answers 120 ms late, at 5 Hz.
    let mut pictures = (1..).map(|n| n * 1000 / 15).peekable();
    for ms in 1..1200 {
        if pictures.next_if_eq(&ms).is_some() {
            blur.push(frame(ms, (64, 36)));
        }
        if ms % 200 == 120 {
            let seen = ms - 120;
            // He is there from 430 ms on.
            let others = if seen > 430 { vec![passenger()] } else { Vec::new() };
            blur.look(&sight(seen, Ok(others)));
        }
        out.extend(released(&mut blur, ms));
    }
    while let Some((frame, cover)) = blur.take() {
        out.push((frame.at.as_ns() / 1_000_000, cover.unwrap()));
    }
    let times: Vec<_> = out.iter().map(|(ms, _)| *ms).collect();
    assert!(times.is_sorted() && times.len() == 17, "none is lost: {times:?}");
    for (ms, cover) in &out {
        assert_eq!(cover.rest, Rest::Clear, "{ms}");
        assert!(*ms <= 430 || !cover.areas.is_empty(), "a face at {ms} ms in the clear");
    }
    assert!(out.iter().any(|(_, cover)| cover.areas.is_empty()));
}

#[test]
fn no_picture_waits_longer_than_the_lookahead_and_memory_is_bounded() {
    let mut blur = cabin();
    for n in 0..10 {
        blur.push(frame(n * 66, (64, 36)));
    }
    let out = released(&mut blur, 594);
    assert_eq!(out.len(), 3, "older than 0.4 s");
    assert!(out.iter().all(|(_, cover)| cover.rest != Rest::Clear), "nothing looked");
    assert_eq!(blur.deadline(), Some(at(198 + 401)));
    assert_eq!(released(&mut blur, 599).len(), 1, "time alone lets them go");

    let mut blur = cabin();
    for n in 0..20 {
        blur.push(frame(n, (1920, 1080)));
        assert!(released(&mut blur, n).len() <= 1);
        assert!(blur.bytes <= MOST_BYTES);
    }
    let mut blur = cabin();
    for n in 0..200 {
        blur.push(frame(n, (64, 36)));
        assert!(released(&mut blur, n).len() <= 1);
        assert!(blur.waiting.len() <= MOST_WAITING);
    }
    blur.wipe();
    assert!(blur.take().is_none() && blur.bytes == 0 && blur.deadline().is_none());
}

#[test]
fn a_camera_without_blur_does_not_wait() {
    let config = BlurConfig { cabin_others: false, ..BlurConfig::default() };
    let mut blur = CameraBlur::new(&config, CameraId::Cabin, DriverSeat::default());
    blur.push(frame(5, (64, 36)));
    let (frame, cover) = blur.next(at(5)).unwrap();
    assert_eq!(cover, None);
    let sharp = frame.data.clone();
    assert_eq!(blurred(frame, None).unwrap().data(), &sharp[..]);
    let health = HealthBoard::default();
    blur.report(at(5), &health);
    assert!(health.items()[0].text.contains("switched off"));
}

#[test]
fn pixels_go_where_others_are_and_without_a_look_everywhere_but_the_driver() {
    let detail = |picture: &I420Picture, x: std::ops::Range<usize>| {
        let row = &picture.data()[640 * 150..640 * 151];
        row[x].windows(2).map(|p| p[0].abs_diff(p[1])).max().unwrap()
    };
    let mut blur = cabin();
    blur.look(&sight(100, Ok(vec![passenger()])));
    blur.push(frame(100, (640, 360)));
    let (one, cover) = blur.next(at(100)).unwrap();
    let picture = blurred(one, cover.as_ref()).unwrap();
    assert!(detail(&picture, 440..520) < 8 && detail(&picture, 0..400) > 100);

    let driver = PictureBox { x: 0.1, y: 0.2, w: 0.2, h: 0.5 };
    let mut seen = DriverObservation::unseen(at(5000), NotSeen::NoModel);
    seen.face = Seen::Known { value: driver, confidence: 0.9 };
    let observation = Observation::Driver(seen);
    blur.look(&Sight { observation, others: Err(NotSeen::NoModel) });
    blur.push(frame(5000, (640, 360)));
    let (one, cover) = blur.take().unwrap();
    let picture = blurred(one, cover.as_ref()).unwrap();
    assert!(detail(&picture, 70..190) > 100, "the driver stays");
    assert!(detail(&picture, 260..640) < 8, "all else goes");

    let seat = DriverSeat { x: 0.0, y: 0.0, w: 0.5, h: 1.0 };
    let mut blur = CameraBlur::new(&BlurConfig::default(), CameraId::Cabin, seat);
    blur.push(frame(0, (640, 360)));
    let (one, cover) = blur.take().unwrap();
    let picture = blurred(one, cover.as_ref()).unwrap();
    assert!(detail(&picture, 0..320) > 100 && detail(&picture, 330..640) < 8);
}

#[test]
fn health_says_when_others_are_not_looked_for_but_not_because_of_the_night() {
    let said = |others: Result<Vec<PrivateArea>, NotSeen>| {
        let (mut blur, health) = (cabin(), HealthBoard::default());
        for n in 0..60 {
            blur.look(&sight(n * 100, others.clone()));
            blur.report(at(n * 100), &health);
        }
        let item = health.items().remove(0);
        (item.state, item.text)
    };
    for (others, state, words) in [
        (Ok(Vec::new()), "ok", "before encoding"),
        (Err(NotSeen::NoModel), "degraded", "make models"),
        (Err(NotSeen::ModelFailed), "degraded", "failed"),
        (Err(NotSeen::BadLight), "ok", "the whole picture is blurred"),
    ] {
        let (got, text) = said(others);
        assert!(got == state && text.contains(words), "{got} {text}");
    }
    // Health does not flap.
    let (mut blur, health) = (cabin(), HealthBoard::default());
    for n in 0..200 {
        let others = if n % 60 < 45 { Err(NotSeen::ModelFailed) } else { Ok(Vec::new()) };
        blur.look(&sight(n * 100, others));
        blur.report(at(n * 100), &health);
        let items = health.items();
        assert!(n < 40 || items[0].state == "degraded", "{n}: {items:?}");
    }
}

#[test]
fn road_blur_without_the_model_pack_is_not_called_well() {
    for (found_by, state, words) in [
        (None, "ok", "before encoding"),
        (Some(State::Ok), "ok", "before encoding"),
        (Some(State::Degraded), "degraded", "without the model pack many are not"),
        (Some(State::Failed), "degraded", "make models"),
    ] {
        let (config, seat) = (BlurConfig::default(), DriverSeat::default());
        let mut blur = CameraBlur::new(&config, CameraId::Road, seat);
        let health = HealthBoard::default();
        if let Some(state) = found_by {
            health.set("perception.others", state, "as it is");
        }
        for n in 0..60 {
            let observation = Sight::unseen(CameraId::Road, at(n * 100), NotSeen::NoModel);
            blur.look(&Sight { others: Ok(Vec::new()), ..observation });
            blur.report(at(n * 100), &health);
        }
        let items = health.items();
        let item = items.iter().find(|i| i.part == "privacy.blur.road").unwrap();
        assert!(item.state == state && item.text.contains(words), "{found_by:?}: {item:?}");
    }
}

#[test]
fn a_picture_is_blurred_in_its_own_memory() {
    let mut blur = cabin();
    blur.look(&sight(0, Ok(vec![passenger()])));
    let one = frame(0, (64, 36));
    let pixels = one.data.as_ptr();
    let held = one.clone();
    blur.push(one);
    // As perception does with its own hold, before the picture is due.
    drop(held);
    let (one, cover) = blur.next(at(0)).unwrap();
    assert_eq!(one.data.as_ptr(), pixels, "waiting copies nothing");
    let picture = blurred(one, cover.as_ref()).unwrap();
    assert_eq!(picture.data().as_ptr(), pixels, "nor does the blur");

    // Somebody still looks at it: he must not see the blur in his picture.
    let (one, looked_at) = (frame(0, (64, 36)), frame(0, (64, 36)));
    let held = one.clone();
    let picture = blurred(one, cover.as_ref()).unwrap();
    assert!(held.data == looked_at.data && picture.data() != &held.data[..]);
}

#[test]
fn mistakes_are_named() {
    assert_eq!(BlurConfig::default().mistakes(), Vec::<String>::new());
    let wrong = BlurConfig { hold_s: f64::NAN, lookahead_s: 2.0, ..BlurConfig::default() };
    let said = wrong.mistakes().join("\n");
    assert!(said.contains("blur.hold_s: `NaN`") && said.contains("blur.lookahead_s"), "{said}");
}
