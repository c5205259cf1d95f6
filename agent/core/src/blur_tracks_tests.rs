//! What [`super::BlurTracks`] must hide, and when.

use proptest::prelude::*;

use super::*;

const RULES: BlurRules = BlurRules {
    faces: true,
    plates: true,
    hold: Duration::from_secs(1),
    backwards: Duration::from_millis(400),
    margin: 0.2,
    keep: Keep::Nothing,
};

fn at(s: f64) -> MonoTime {
    MonoTime::from_secs_f64(s)
}

fn face(x: f32, y: f32, side: f32) -> PrivateArea {
    let area = PictureBox { x, y, w: side, h: side };
    PrivateArea { kind: PrivateKind::Face, area }
}

/// How much of a box the cover hides, by its largest single area.
fn hidden(cover: &Cover, b: &PictureBox) -> f32 {
    if matches!(cover.rest, Rest::Blurred { keep: None }) {
        return 1.0;
    }
    let part = |a: &PictureBox| {
        let w = (a.x + a.w).min(b.x + b.w) - a.x.max(b.x);
        let h = (a.y + a.h).min(b.y + b.h) - a.y.max(b.y);
        w.max(0.0) * h.max(0.0) / (b.w * b.h)
    };
    cover.areas.iter().map(|a| part(&a.area)).fold(0.0, f32::max)
}

#[test]
fn a_missed_detection_does_not_flash_a_face() {
    let mut tracks = BlurTracks::new(RULES);
    let man = face(0.6, 0.3, 0.1);
    tracks.look(at(1.0), Ok(&[man]), None);
    for n in 1..=10 {
        let now = 1.0 + f64::from(n) * 0.1;
        tracks.look(at(now), Ok(&[]), None);
        assert!(hidden(&tracks.cover(at(now)), &man.area) > 0.999, "{now}");
    }
    tracks.look(at(2.1), Ok(&[]), None);
    assert_eq!(tracks.cover(at(2.1)).areas, [], "gone for longer than the hold");
    assert_eq!(tracks.cover(at(2.1)).rest, Rest::Clear);
}

#[test]
fn a_face_is_blurred_from_the_first_waiting_picture_on() {
    let mut tracks = BlurTracks::new(RULES);
    tracks.look(at(1.0), Ok(&[]), None);
    assert_eq!(tracks.cover(at(1.1)).areas, []);
    let man = face(0.6, 0.3, 0.1);
    tracks.look(at(1.3), Ok(&[man]), None);
    for now in [0.95, 1.1, 1.2, 1.3] {
        assert!(hidden(&tracks.cover(at(now)), &man.area) > 0.999, "{now}");
    }
    assert_eq!(tracks.cover(at(0.8)).areas, [], "no picture waits that long");
}

#[test]
fn one_that_appears_beside_another_that_is_missed_leaves_both_blurred() {
    let mut tracks = BlurTracks::new(RULES);
    let (left, right) = (face(0.3, 0.3, 0.1), face(0.42, 0.3, 0.1));
    tracks.look(at(1.0), Ok(&[left]), None);
    tracks.look(at(1.1), Ok(&[right]), None);
    for now in [1.1, 1.3, 1.9] {
        let cover = tracks.cover(at(now));
        assert!(hidden(&cover, &left.area) > 0.999 && hidden(&cover, &right.area) > 0.999);
    }
}

#[test]
fn a_held_area_goes_on_the_way_it_went() {
    let mut tracks = BlurTracks::new(RULES);
    for n in 0_u8..5 {
        let x = 0.2 + 0.03 * f32::from(n);
        tracks.look(at(1.0 + 0.2 * f64::from(n)), Ok(&[face(x, 0.5, 0.04)]), None);
    }
    // 0.15 pictures a second, unseen since 1.8 s.
    for age in [0.1_f32, 0.4, 0.8] {
        let there = face(0.32 + 0.15 * age, 0.5, 0.04).area;
        let cover = tracks.cover(at(1.8 + f64::from(age)));
        assert!(hidden(&cover, &there) > 0.999, "{age}: {cover:?}");
    }
}

#[test]
fn without_a_look_everything_is_blurred() {
    let all = Rest::Blurred { keep: None };
    let mut tracks = BlurTracks::new(RULES);
    assert_eq!(tracks.cover(at(5.0)).rest, all);
    assert_eq!(tracks.watch(at(5.0)), Watch::Blind(None));
    tracks.look(at(5.0), Ok(&[]), None);
    for why in [NotSeen::NoModel, NotSeen::ModelFailed, NotSeen::BadLight, NotSeen::Blurred] {
        let mut tracks = tracks.clone();
        for n in 1..=30 {
            let now = at(5.0 + 0.1 * f64::from(n));
            tracks.look(now, Err(why), None);
            let clear = n <= 10;
            assert_eq!(tracks.cover(now).rest == Rest::Clear, clear, "{why:?} {n}");
            assert_eq!(tracks.watch(now) == Watch::Looking, clear);
        }
        assert_eq!(tracks.watch(at(8.0)), Watch::Blind(Some(why)));
        tracks.look(at(8.1), Ok(&[]), None);
        assert_eq!(tracks.cover(at(8.1)).rest, Rest::Clear);
    }
    // Perception that says nothing at all any more.
    assert_eq!(tracks.cover(at(6.0)).rest, Rest::Clear);
    assert_eq!(tracks.cover(at(6.01)).rest, all);
    // Pictures before the first look: only those that may have waited for it.
    assert_eq!(tracks.cover(at(4.7)).rest, Rest::Clear);
    assert_eq!(tracks.cover(at(4.5)).rest, all);
}

#[test]
fn what_stays_clear_is_the_seat_or_a_face_just_seen() {
    let seat = PictureBox { x: 0.5, y: 0.0, w: 0.5, h: 1.0 };
    let tracks = BlurTracks::new(BlurRules { keep: Keep::Seat(seat), ..RULES });
    assert_eq!(tracks.cover(at(1.0)).rest, Rest::Blurred { keep: Some(seat) });
    let mut tracks = BlurTracks::new(BlurRules { keep: Keep::DriverFace, ..RULES });
    let driver = face(0.4, 0.3, 0.2).area;
    tracks.look(at(1.0), Err(NotSeen::NoModel), Some(driver));
    let Rest::Blurred { keep: Some(keep) } = tracks.cover(at(1.1)).rest else { panic!() };
    assert!(keep.x < driver.x && keep.w < driver.w * 1.5);
    assert_eq!(tracks.cover(at(1.5)).rest, Rest::Blurred { keep: None }, "too long ago");
}

#[test]
fn numbers_that_cannot_be_count_as_no_look() {
    for bad in [
        face(f32::NAN, 0.0, 0.1),
        face(0.0, f32::INFINITY, 0.1),
        face(0.0, 0.0, 0.0),
        face(0.0, 0.0, -1.0),
        face(1e30, 0.0, 0.1),
    ] {
        let mut tracks = BlurTracks::new(RULES);
        tracks.look(at(1.0), Ok(&[face(0.1, 0.1, 0.1), bad]), None);
        assert_eq!(tracks.cover(at(1.0)).rest, Rest::Blurred { keep: None }, "{bad:?}");
    }
}

#[test]
fn only_what_is_asked_for_is_blurred() {
    let plate = PrivateArea { kind: PrivateKind::Plate, ..face(0.1, 0.8, 0.05) };
    let both = [face(0.6, 0.3, 0.1), plate];
    for (faces, plates) in [(true, false), (false, true), (true, true)] {
        let mut tracks = BlurTracks::new(BlurRules { faces, plates, ..RULES });
        tracks.look(at(1.0), Ok(&both), None);
        let cover = tracks.cover(at(1.0));
        let kinds: Vec<_> = cover.areas.iter().map(|a| a.kind).collect();
        assert_eq!(kinds.contains(&PrivateKind::Face), faces);
        assert_eq!(kinds.contains(&PrivateKind::Plate), plates);
    }
}

#[test]
fn a_crowd_is_the_whole_picture() {
    let mut tracks = BlurTracks::new(RULES);
    let crowd: Vec<_> = (0_u8..=64).map(|n| face(f32::from(n) / 70.0, 0.5, 0.005)).collect();
    assert!(crowd.len() > MAX_TRACKS);
    tracks.look(at(1.0), Ok(&crowd), None);
    for now in [0.7, 1.0, 1.5] {
        assert!(hidden(&tracks.cover(at(now)), &WHOLE) > 0.999, "{now}");
    }
}

fn any_face() -> impl Strategy<Value = PrivateArea> {
    (-0.1_f32..1.0, -0.1_f32..1.0, 0.01_f32..0.4, any::<bool>()).prop_map(|(x, y, side, plate)| {
        let kind = if plate { PrivateKind::Plate } else { PrivateKind::Face };
        PrivateArea { kind, ..face(x, y, side) }
    })
}

type Look = (u64, Result<Vec<PrivateArea>, NotSeen>);

fn any_look() -> impl Strategy<Value = Look> {
    let areas = prop_oneof![
        8 => prop::collection::vec(any_face(), 0..8).prop_map(Ok),
        1 => prop::collection::vec(any_face(), 60..70).prop_map(Ok),
        1 => Just(Err(NotSeen::ModelFailed)),
    ];
    (0_u64..700, areas)
}

proptest! {
    #[test]
    fn what_is_reported_is_covered_and_memory_is_bounded(
        looks in prop::collection::vec(any_look(), 1..60),
        lag_ms in 0_u64..400,
    ) {
        let mut tracks = BlurTracks::new(RULES);
        let mut ms = 1000;
        for (step, others) in looks {
            // Pictures up to the last look wait no longer.
            let waiting = tracks.looked_until().unwrap_or_default() + Duration::from_nanos(1);
            ms += step + 1;
            let now = MonoTime::from_ns(ms * 1_000_000);
            tracks.look(now, others.as_deref().map_err(|e| *e), None);
            prop_assert!(tracks.tracks.len() <= MAX_TRACKS);
            prop_assert!(tracks.tracks.iter().all(|t| t.seen.len() <= MAX_SIGHTINGS));
            prop_assert!(tracks.looks.len() <= MAX_SIGHTINGS);
            for area in others.iter().flatten() {
                for asked in [now, now.saturating_sub(Duration::from_millis(lag_ms)).max(waiting)] {
                    prop_assert!(hidden(&tracks.cover(asked), &area.area) > 0.999);
                }
                let later = now + Duration::from_millis(900);
                prop_assert!(hidden(&tracks.cover(later), &area.area) > 0.999);
            }
        }
    }

    #[test]
    fn what_moves_is_covered_between_its_sightings(
        x in 0.0_f32..0.9, y in 0.0_f32..0.9, w in 0.02_f32..0.3, h in 0.02_f32..0.3,
        // Its own sides from one look to the next.
        dx in -2.5_f32..2.5, dy in -2.5_f32..2.5, growth in 0.8_f32..1.25,
        missed in prop::collection::vec(0_u64..5, 1..8),
        look_ms in 50_u64..200,
    ) {
        let true_box = |ms: u64| {
            // A line in each edge.
            let looks = ms as f32 / look_ms as f32;
            let far = missed.iter().map(|m| m + 1).sum::<u64>() as f32;
            let size = 1.0 + (growth - 1.0) * looks / far;
            PictureBox { x: x + w * dx * looks, y: y + h * dy * looks, w: w * size, h: h * size }
        };
        let mut tracks = BlurTracks::new(RULES);
        let mut ms = 0;
        let mut last = None;
        for gap in &missed {
            let area = true_box(ms);
            // Far outside of the picture nothing is found.
            prop_assume!(is_sound(&area));
            tracks.look(
                MonoTime::from_ns(ms * 1_000_000),
                Ok(&[PrivateArea { kind: PrivateKind::Plate, area }]),
                None,
            );
            if let Some(last) = last && linked(&true_box(last), &area) {
                for t in last..=ms {
                    let cover = tracks.cover(MonoTime::from_ns(t * 1_000_000));
                    prop_assert!(hidden(&cover, &true_box(t)) >= 0.95, "at {t} ms");
                }
            }
            last = Some(ms);
            for _ in 0..*gap {
                ms += look_ms;
                if ms % 3 == 0 {
                    tracks.look(MonoTime::from_ns(ms * 1_000_000), Ok(&[]), None);
                }
            }
            ms += look_ms;
        }
    }
}

/// Close enough to be known for the same thing.
fn linked(a: &PictureBox, b: &PictureBox) -> bool {
    distance_sides(a, b) <= LINK_SIDES
}

#[test]
fn parts_where_a_plate_may_be_are_covered_as_they_are_and_do_not_move() {
    let part = |x: f32| PrivateArea {
        kind: PrivateKind::PossiblePlate,
        area: PictureBox { x, y: 0.6, w: 0.05, h: 0.08 },
    };
    let mut tracks = BlurTracks::new(RULES);
    // Another place in each look: a thing that moved like this would cover half of the picture.
    for n in 0..20_u8 {
        let x = f32::from(n * 7 % 20) * 0.05;
        tracks.look(at(1.0 + 0.2 * f64::from(n)), Ok(&[part(x)]), None);
    }
    let cover = tracks.cover(at(4.75));
    assert_eq!(cover.areas.len(), 3, "{cover:?}");
    assert!(cover.areas.iter().all(|a| a.area.w * a.area.h < 0.005), "{cover:?}");
    // The look before, and the one after.
    for n in [18_u8, 19] {
        let x = f32::from(n * 7 % 20) * 0.05;
        assert!(hidden(&cover, &part(x).area) > 0.999, "{n}: {cover:?}");
    }
    // A look that missed it does not flash it, and it is let go of.
    tracks.look(at(5.0), Ok(&[]), None);
    assert!(hidden(&tracks.cover(at(5.0)), &part(0.65).area) > 0.999);
    tracks.look(at(5.2), Ok(&[]), None);
    tracks.look(at(5.4), Ok(&[]), None);
    assert_eq!(tracks.cover(at(5.4)).areas, []);
    // Where plates are not asked for, none of it counts.
    let mut without = BlurTracks::new(BlurRules { plates: false, ..RULES });
    without.look(at(1.0), Ok(&[part(0.5)]), None);
    assert_eq!(without.cover(at(1.0)).areas, []);
}
