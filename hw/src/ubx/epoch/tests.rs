use std::slice;

use proptest::prelude::*;

use super::*;
use crate::ubx::tests::pvt;

/// 2024-03-28 15:14:05 UTC.
const ITOW_MS: u32 = 400_463_000;
const UTC_MS: i64 = 1_711_638_845_000;

fn payload(length: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut p = vec![0; length];
    p[..4].copy_from_slice(&ITOW_MS.to_le_bytes());
    for (at, bytes) in fields {
        p[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    p
}

fn vector(x: i32, y: i32, z: i32) -> Vec<u8> {
    [x, y, z].map(i32::to_le_bytes).concat()
}

/// Of a real receiver; place and speed on the ground as gpsd 3.22 reckons them.
const LAT_DEG: f64 = 46.404_648_618;
const LON_DEG: f64 = -117.020_462_010;
const ECEF_SPEED_MPS: f64 = 0.440;
const ECEF_COURSE_DEG: f64 = 94.0052;

fn sol(fix_type: u8, flags: u8) -> (u8, Vec<u8>) {
    let place = vector(-200_169_112, -392_507_405, 459_654_666);
    let velocity = vector(38, -22, -2);
    let fields = [
        (10, &[fix_type, flags][..]),
        (12, &place),
        (24, &[0x9f, 0x09]),
        (28, &velocity),
        (40, &[20]),
    ];
    (SOL, payload(52, &fields))
}

fn posllh() -> (u8, Vec<u8>) {
    let place = [-1_226_269_000_i32, 381_105_000, 54_100, 83_100].map(i32::to_le_bytes).concat();
    (POSLLH, payload(28, &[(4, &place), (20, &1_500_u32.to_le_bytes())]))
}

fn velned() -> (u8, Vec<u8>) {
    let fields = [
        (20, &1_000_u32.to_le_bytes()[..]),
        (24, &27_150_000_i32.to_le_bytes()),
        (28, &25_u32.to_le_bytes()),
        (32, &100_000_u32.to_le_bytes()),
    ];
    (VELNED, payload(36, &fields))
}

fn timeutc(valid: u8) -> (u8, Vec<u8>) {
    let date = [0xe8, 0x07, 3, 28, 15, 14, 5, valid];
    (TIMEUTC, payload(20, &[(8, &(-200_000_i32).to_le_bytes()), (12, &date)]))
}

fn timegps(valid: u8) -> (u8, Vec<u8>) {
    let week = [0x03, 0x09, 18, valid];
    (TIMEGPS, payload(16, &[(4, &78_688_i32.to_le_bytes()), (8, &week)]))
}

fn status(fix_type: u8, flags: u8) -> (u8, Vec<u8>) {
    (STATUS, payload(16, &[(4, &[fix_type, flags])]))
}

fn posecef() -> (u8, Vec<u8>) {
    let place = vector(-200_169_112, -392_507_405, 459_654_666);
    (POSECEF, payload(20, &[(4, &place), (16, &[100])]))
}

fn velecef() -> (u8, Vec<u8>) {
    (VELECEF, payload(20, &[(4, &vector(38, -22, -2)), (16, &[20])]))
}

fn eoe() -> (u8, Vec<u8>) {
    (EOE, payload(4, &[]))
}

/// The same message of another epoch.
fn later((id, mut p): (u8, Vec<u8>), seconds: u32) -> (u8, Vec<u8>) {
    p[..4].copy_from_slice(&(ITOW_MS + 1000 * seconds).to_le_bytes());
    (id, p)
}

/// What the messages tell, and behind the last of them.
fn told(messages: &[(u8, Vec<u8>)]) -> (Vec<ReceiverFix>, Option<ReceiverFix>) {
    let (mut epochs, mut out) = (Epochs::default(), VecDeque::new());
    messages.iter().for_each(|(id, p)| epochs.message(*id, p, &mut out));
    (out.into(), epochs.finish())
}

#[test]
fn llh_and_ned() {
    let (fixes, last) = told(&[posllh(), status(3, 1), velned(), timeutc(7)]);
    assert_eq!((fixes.len(), last), (1, None));
    let fix = fixes[0];
    assert_eq!((fix.utc_unix_ms, fix.time_of_day_ms), (Some(UTC_MS), Some(54_845_000)));
    assert!((fix.lat_deg - 38.1105).abs() < 1e-9 && (fix.lon_deg + 122.6269).abs() < 1e-9);
    assert_eq!((fix.alt_m, fix.speed_mps), (Some(83.1), Some(10.0)));
    assert!((fix.course_deg.unwrap() - 271.5).abs() < 1e-9);
    assert_eq!((fix.position_error_m, fix.speed_error_mps), (Some(1.5), Some(0.25)));
    assert!(fix.vouched);
}

#[test]
fn the_earths_own_axes() {
    for (name, messages) in [
        ("NAV-SOL", vec![sol(3, 0xdd), timegps(7)]),
        ("apart", vec![posecef(), status(3, 0xdd), velecef(), timegps(7)]),
        ("the other way round", vec![timegps(7), velecef(), status(3, 0xdd), posecef()]),
    ] {
        let (fixes, _) = told(&messages);
        assert_eq!(fixes.len(), 1, "{name}");
        let fix = fixes[0];
        assert_eq!(fix.utc_unix_ms, Some(UTC_MS), "{name}");
        assert!((fix.lat_deg - LAT_DEG).abs() < 2e-9, "{name}: {}", fix.lat_deg);
        assert!((fix.lon_deg - LON_DEG).abs() < 2e-9, "{name}: {}", fix.lon_deg);
        let (speed, course) = (fix.speed_mps.unwrap(), fix.course_deg.unwrap());
        assert!((speed - ECEF_SPEED_MPS).abs() < 1e-3, "{name}: {speed}");
        // gpsd rounds the velocity to millimetres before it takes the course.
        assert!((course - ECEF_COURSE_DEG).abs() < 0.1, "{name}: {course}");
        assert_eq!(fix.alt_m, None, "{name}: no height above the sea was told");
    }
    // Where both are told, latitude and longitude count, in whatever order.
    for messages in [[posllh(), sol(3, 0xdd), timegps(7)], [timegps(7), posllh(), sol(3, 0xdd)]] {
        let (fixes, _) = told(&messages);
        assert!((fixes[0].lat_deg - 38.1105).abs() < 1e-9, "{fixes:?}");
    }
    // The poles, the middle of the earth, and a satellite.
    let at = |z| on_the_ellipsoid([0.0, 0.0, z]).map(|p| p.lat_deg);
    assert_eq!((at(B_M), at(-B_M)), (Some(90.0), Some(-90.0)));
    assert_eq!((at(0.0), at(2.0 * B_M)), (None, None));
    assert!(on_the_ellipsoid([-A_M, 0.0, 0.0]).is_some_and(|p| p.lon_deg.abs() == 180.0));
    assert_eq!(on_the_ellipsoid([2.1e7, 2.1e7, 2.1e7]), None);
}

#[test]
fn an_epoch_gives_one_fix_when_it_is_whole() {
    let whole = [sol(3, 0xdd), timegps(7)];
    for (name, messages, want) in [
        ("whole, and more of it", [&whole[..], &[velned(), timeutc(7), eoe()]].concat(), 1),
        ("two epochs", [&whole[..], &whole.clone().map(|m| later(m, 1))].concat(), 2),
        ("no velocity, then its end", vec![posllh(), status(2, 1), timeutc(4), eoe()], 1),
        ("no velocity, then another", vec![posllh(), status(2, 1), timeutc(4), later(eoe(), 1)], 1),
        ("messages of two epochs", vec![sol(3, 0xdd), later(timegps(7), 1)], 0),
        ("no time", vec![sol(3, 0xdd), eoe()], 0),
        ("no place", vec![status(3, 1), velned(), timeutc(7), eoe()], 0),
        ("nobody says that it is one", vec![posllh(), velned(), timeutc(7), eoe()], 0),
        ("no fix", vec![sol(0, 0xdc), timegps(7), eoe()], 0),
        ("a fix that is lost within it", vec![sol(3, 1), status(0, 0), timegps(7), eoe()], 0),
        ("another kind of fix", vec![sol(6, 0xdd), timegps(7), eoe()], 0),
        ("NAV-PVT first", [&[(PVT, payload(92, &[]))], &whole[..]].concat(), 0),
    ] {
        let (fixes, last) = told(&messages);
        assert_eq!(fixes.len(), want, "{name}: {fixes:?}");
        assert_eq!(last, None, "{name}");
    }
    // At the end of a log nothing more comes.
    let (fixes, last) = told(&[posllh(), status(2, 1), timeutc(4)]);
    assert!(fixes.is_empty() && last.is_some_and(|f| f.speed_mps.is_none()), "{last:?}");
}

#[test]
fn nav_pvt_of_the_epoch_counts_alone() {
    let mut pvt = pvt();
    pvt[..4].copy_from_slice(&ITOW_MS.to_le_bytes());
    let whole = [sol(3, 0xdd), timegps(7)];
    let places = |messages: &[(u8, Vec<u8>)]| -> Vec<bool> {
        told(messages).0.iter().map(|f| (f.lat_deg - 38.1105).abs() < 1e-9).collect()
    };
    let by_pvt = (PVT, pvt);
    assert_eq!(places(&[slice::from_ref(&by_pvt), &whole].concat()), [true]);
    assert_eq!(places(&[sol(3, 0xdd), by_pvt.clone(), timegps(7)]), [true]);
    assert_eq!(places(&[&whole, slice::from_ref(&by_pvt)].concat()), [false], "too late");
    assert_eq!(places(&[&whole[..], &[later(by_pvt, 1)]].concat()), [false, true]);
}

#[test]
fn what_the_receiver_does_not_vouch_for() {
    for (name, judged) in [
        ("not good", sol(3, 0xdc)),
        ("time only", sol(5, 0xdd)),
        ("not good by NAV-STATUS", status(3, 0xdc)),
        ("time only by NAV-STATUS", status(5, 0xdd)),
    ] {
        let (fixes, _) = told(&[posecef(), velecef(), judged, timegps(7)]);
        assert!(fixes.len() == 1 && !fixes[0].vouched, "{name}: {fixes:?}");
    }
    for valid in 0..7 {
        let (fixes, _) = told(&[sol(3, 0xdd), timegps(valid), eoe()]);
        assert!(fixes.is_empty(), "NAV-TIMEGPS with {valid:#b}");
        let (fixes, _) = told(&[sol(3, 0xdd), timeutc(valid), eoe()]);
        assert_eq!(fixes.len(), usize::from(valid >= 4), "NAV-TIMEUTC with {valid:#b}");
    }
}

#[test]
fn lengths_and_numbers_that_cannot_be() {
    for whole in [
        vec![posllh(), status(3, 1), velned(), timeutc(7)],
        vec![posecef(), status(3, 1), velecef(), timegps(7)],
        vec![sol(3, 1), timegps(7)],
    ] {
        for (n, length) in (0..whole.len()).flat_map(|n| (0..60).chain([1000]).map(move |l| (n, l)))
        {
            let mut messages = whole.clone();
            let (id, payload) = &mut messages[n];
            let (id, right) = (*id, payload.len());
            payload.resize(length, 0);
            let (fixes, last) = told(&messages);
            // Without its velocity an epoch is still one.
            let want = length == right || [VELNED, VELECEF].contains(&id);
            assert_eq!(fixes.into_iter().chain(last).count() == 1, want, "{id:#x} of {length}");
        }
    }
    let with = |n: usize, at: usize, bytes: &[u8]| {
        let mut messages = [posllh(), sol(3, 0xdd), velned(), timeutc(7)];
        messages[n].1[at..at + bytes.len()].copy_from_slice(bytes);
        told(&messages).0.first().copied()
    };
    let far = i32::MIN.to_le_bytes();
    assert!((with(0, 4, &far).unwrap().lat_deg - LAT_DEG).abs() < 1e-6, "longitude -214");
    assert_eq!(with(3, 14, &[13]), None, "month 13");
    assert_eq!(with(3, 16, &[24]), None, "hour 24");
    assert_eq!(with(3, 8, &far), None, "-2 s of nanoseconds");
    assert_eq!(with(2, 24, &far).unwrap().course_deg, None);
    assert_eq!(with(2, 32, &[0xff; 4]).unwrap().course_deg, None);
    let sol_at = |at: usize| {
        let mut messages = [sol(3, 0xdd), timegps(7)];
        messages[0].1[at..at + 4].copy_from_slice(&far);
        told(&messages).0.first().copied()
    };
    assert_eq!(sol_at(12), None, "21,000 km from the middle of the earth");
    let mut week = timegps(7);
    week.1[9] = 0xff;
    assert!(told(&[sol(3, 0xdd), week, eoe()]).0.is_empty(), "a week before 1980");
}

proptest! {
    #[test]
    fn any_payloads_never_panic(
        messages in proptest::collection::vec((
            prop_oneof![Just(POSLLH), Just(SOL), Just(STATUS), Just(VELNED), Just(VELECEF),
                Just(POSECEF), Just(TIMEGPS), Just(TIMEUTC), Just(EOE), Just(PVT), any::<u8>()],
            proptest::collection::vec(any::<u8>(), 56),
            0_u8..2,
        ), 0..12)
    ) {
        let (mut epochs, mut out) = (Epochs::default(), VecDeque::new());
        for (id, mut p, second) in messages {
            p[..4].copy_from_slice(&[second, 0, 0, 0]);
            // As long as it must be, and not.
            for length in [4, 16, 20, 28, 36, 52, 56] {
                epochs.message(id, &p[..length], &mut out);
            }
        }
        for fix in out.into_iter().chain(epochs.finish()) {
            prop_assert!(fix.lat_deg.abs() <= 90.0 && fix.lon_deg.abs() <= 180.0);
            prop_assert!(fix.speed_mps.is_none_or(|v| v >= 0.0 && v.is_finite()));
            prop_assert!(fix.course_deg.is_none_or(|c| (0.0..360.0).contains(&c)));
            prop_assert!(fix.time_of_day_ms.is_some_and(|t| (0..DAY_MS).contains(&t)));
        }
    }
}
