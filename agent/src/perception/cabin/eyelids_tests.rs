//! Tests of what is said of one eye and of both, with made-up readings.

use super::*;

#[test]
fn a_lone_shut_eye_is_not_believed() {
    let eye = |opening| Some(Ok(OneEye { opening, confidence: 0.9, iris: None }));
    let hidden = Some(Err(NotSeen::Blurred));
    let unclear = Some(Err(NotSeen::EyesUnclear));
    for (name, mut eyes, want) in [
        ("both shut", [eye(0.05), eye(0.06)], [eye(0.05), eye(0.06)]),
        ("one shut, one open", [eye(0.05), eye(0.25)], [eye(0.05), eye(0.25)]),
        ("shut, the other turned away", [None, eye(0.05)], [None, unclear]),
        ("shut, the other hidden", [eye(0.05), hidden], [unclear, hidden]),
        ("open, the other hidden", [eye(0.25), hidden], [eye(0.25), hidden]),
        ("none", [hidden, None], [hidden, None]),
    ] {
        without_a_lone_shut_eye(&mut eyes);
        assert_eq!(eyes, want, "{name}");
    }
}

#[test]
fn a_turned_or_bowed_head_hides_eyes() {
    use View::{Away, Clear, Slanted};
    for (yaw_deg, pitch_deg, want) in [
        (0.0, 0.0, (Clear, Clear)),
        (24.0, 0.0, (Clear, Clear)),
        // To the driver's left: the left eye is the far one.
        (26.0, 0.0, (Clear, Away)),
        (-26.0, 0.0, (Away, Clear)),
        (51.0, 0.0, (Slanted, Away)),
        (61.0, 0.0, (Away, Away)),
        (0.0, -24.0, (Clear, Clear)),
        (0.0, -26.0, (Slanted, Slanted)),
        (0.0, -43.0, (Away, Away)),
        (-24.0, -18.0, (Clear, Clear)),
        (-24.0, -20.0, (Slanted, Slanted)),
        (-51.0, -20.0, (Away, Slanted)),
        (0.0, 41.0, (Away, Away)),
        (f32::NAN, 0.0, (Away, Away)),
        (0.0, f32::NAN, (Away, Away)),
    ] {
        let head = HeadPose { yaw_deg, pitch_deg, roll_deg: 0.0 };
        let views = (view_of(Side::Right, &head), view_of(Side::Left, &head));
        assert_eq!(views, want, "{head:?}");
    }
}

#[test]
fn slanted_lids_are_open_or_unknown() {
    let iris = Some(Iris { right: 0.1, down: 0.0, error: 0.01, opening: 0.0, confidence: 0.0 });
    let eye = |opening| OneEye { opening, confidence: 0.9, iris };
    let unclear = Err(NotSeen::FaceUnclear);
    for (view, opening, want) in [
        (View::Clear, 0.05, Ok(eye(0.05))),
        (View::Clear, 0.25, Ok(eye(0.25))),
        (View::Slanted, 0.05, unclear),
        (View::Slanted, 0.15, unclear),
        (View::Slanted, 0.17, Ok(OneEye { iris: None, ..eye(0.17) })),
        (View::Slanted, f32::NAN, unclear),
        (View::Away, 0.25, unclear),
    ] {
        assert_eq!(in_view(eye(opening), view), want, "{view:?} {opening}");
    }
}

fn eye(opening: f32) -> OneEye {
    OneEye { opening, confidence: 0.9, iris: None }
}

#[test]
fn eyes_are_joined() {
    let unclear = Err(NotSeen::EyesUnclear);
    for (eyes, want) in [
        ([Some(Ok(eye(0.2))), Some(Ok(eye(0.26)))], Ok((0.23, 0.72))),
        ([Some(Ok(eye(0.2))), None], Ok((0.2, 0.63))),
        ([None, Some(Ok(eye(0.2)))], Ok((0.2, 0.63))),
        ([Some(unclear), Some(Ok(eye(0.2)))], Ok((0.2, 0.45))),
        ([Some(Ok(eye(0.0))), Some(Ok(eye(0.4)))], Err(NotSeen::EyesUnclear)),
        ([Some(Err(NotSeen::BadLight)), Some(unclear)], Err(NotSeen::BadLight)),
        ([None, Some(unclear)], Err(NotSeen::EyesUnclear)),
        ([None, None], Err(NotSeen::FaceUnclear)),
    ] {
        match (both_eyes(eyes), want) {
            (Seen::Known { value, confidence }, Ok((opening, sure))) => {
                assert!((value.0 - opening).abs() < 1e-5, "{eyes:?}: {value:?}");
                assert!((confidence - sure).abs() < 1e-5, "{eyes:?}: {confidence}");
            }
            (Seen::Unknown(why), Err(want)) => assert_eq!(why, want, "{eyes:?}"),
            (got, want) => panic!("{eyes:?}: {got:?}, want {want:?}"),
        }
    }
}

#[test]
fn two_networks_agree_or_know_nothing() {
    let head = HeadPose { yaw_deg: 0.0, pitch_deg: 0.0, roll_deg: 0.0 };
    let drawn = |opening| Some(Some(OutlineReading { opening, iris: [0.1, 0.0], width: 0.4 }));
    let judged = |opening, seen| Some(Some(EyeReading { opening, seen, iris: [0.12, 0.01] }));
    for (name, pack, own, want) in [
        ("neither", None, None, Err(NotSeen::NoModel)),
        // 0.20 and 0.24 are on the scale as drawn, nearly; 0.04 is 0.052, 0.16 is 0.122.
        ("the pack alone", drawn(0.20), None, Ok((0.20, 1.0))),
        ("the own one alone", None, judged(0.2, 0.8), Ok((0.2, 0.8))),
        ("both", drawn(0.24), judged(0.226, 0.9), Ok((0.241, 0.81))),
        ("both closed", drawn(0.04), judged(0.082, 1.0), Ok((0.067, 0.9))),
        ("drawn half open, and closed", drawn(0.16), judged(0.05, 1.0), Ok((0.086, 0.76))),
        ("one a little below", drawn(0.16), judged(0.212, 1.0), Ok((0.167, 0.7))),
        ("one closed, one open", drawn(0.04), judged(0.16, 1.0), Err(NotSeen::EyesUnclear)),
        ("the other way", drawn(0.2), judged(0.05, 1.0), Err(NotSeen::EyesUnclear)),
        ("far apart", drawn(0.16), judged(0.43, 1.0), Err(NotSeen::EyesUnclear)),
        ("hidden", drawn(0.04), judged(0.04, 0.3), Err(NotSeen::EyesUnclear)),
        ("hidden, alone", None, judged(0.04, 0.3), Err(NotSeen::EyesUnclear)),
        ("no eye drawn", Some(None), judged(0.2, 0.9), Err(NotSeen::EyesUnclear)),
        ("no number, alone", None, Some(None), Err(NotSeen::ModelFailed)),
        ("no number beside the pack", drawn(0.2), Some(None), Ok((0.2, 1.0))),
    ] {
        match (one_eye(pack, own, 66.0, Side::Right, &head), want) {
            (Ok(eye), Ok((opening, sure))) => {
                let near = |a: f32, b: f32| (a - b).abs() < 1e-5;
                assert!(
                    near(eye.opening, opening) && near(eye.confidence, sure),
                    "{name}: {eye:?}"
                );
            }
            (got, want) => assert_eq!(got.err(), want.err(), "{name}"),
        }
    }
}
