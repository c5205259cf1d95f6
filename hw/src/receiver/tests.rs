use proptest::prelude::*;

use super::*;
use crate::ubx::tests::{frame, pvt};

fn line(body: &str) -> Vec<u8> {
    format!("${body}*{:02X}\r\n", body.bytes().fold(0, |a, b| a ^ b)).into_bytes()
}

fn rmc(second: u8) -> Vec<u8> {
    line(&format!(
        "GNRMC,2237{second:02}.00,A,3806.62964,N,12237.61382,W,19.438,271.5,110720,,,D,V"
    ))
}

/// NAV-PVT of a second.
fn nav(second: u8) -> Vec<u8> {
    let mut p = pvt();
    p[10] = second;
    frame(ubx::NAV_PVT, &p)
}

fn fixes(bytes: &[u8]) -> Vec<ReceiverFix> {
    let mut receiver = Receiver::new();
    let mut out = Vec::new();
    for byte in bytes {
        receiver.push(*byte);
        out.extend(receiver.pop());
    }
    receiver.finish();
    while let Some(fix) = receiver.pop() {
        out.push(fix);
    }
    out
}

/// The seconds of the fixes, and which of them came as UBX.
fn told(bytes: &[u8]) -> Vec<(i64, bool)> {
    let second = |f: &ReceiverFix| f.time_of_day_ms.unwrap() / 1000 % 60;
    fixes(bytes).iter().map(|f| (second(f), f.speed_error_mps.is_some())).collect()
}

#[test]
fn both_protocols_give_one_fix_an_epoch() {
    // Sentences before the frame, behind it, and again alone when the frames have stopped.
    let first: Vec<u8> = (0..4).flat_map(|s| [rmc(s), nav(s)].concat()).collect();
    assert_eq!(told(&first), [(0, false), (0, true), (1, true), (2, true), (3, true)]);
    let behind: Vec<u8> = (0..4).flat_map(|s| [nav(s), rmc(s)].concat()).collect();
    assert_eq!(told(&behind), [(0, true), (1, true), (2, true), (3, true)]);
    let stopped = [behind, (4..8).flat_map(rmc).collect()].concat();
    assert_eq!(told(&stopped)[4..], [(5, false), (6, false), (7, false)]);
}

/// The messages that a receiver without NAV-PVT sends of a second: NAV-SOL and NAV-TIMEGPS.
fn parts(second: u8, flags: u8) -> Vec<u8> {
    let itow = (400_463_000 + 1000 * u32::from(second)).to_le_bytes();
    let mut sol = vec![0; 52];
    sol[..4].copy_from_slice(&itow);
    sol[10..12].copy_from_slice(&[3, flags]);
    let place = [-200_169_112_i32, -392_507_405, 459_654_666].map(i32::to_le_bytes).concat();
    sol[12..24].copy_from_slice(&place);
    let mut time = vec![0; 16];
    time[..4].copy_from_slice(&itow);
    time[8..12].copy_from_slice(&[0x03, 0x09, 18, 7]);
    [frame([ubx::NAV, 0x06], &sol), frame([ubx::NAV, 0x20], &time)].concat()
}

#[test]
fn a_receiver_without_nav_pvt() {
    let log: Vec<u8> = (0..4).flat_map(|s| parts(s, 0xdd)).collect();
    assert_eq!(fixes(&log).len(), 4);
    assert!((fixes(&log)[0].lat_deg - 46.404_648_618).abs() < 1e-8);
    // Beside sentences, and beside NAV-PVT of other epochs.
    let both: Vec<u8> = (0..4).flat_map(|s| [parts(s, 0xdd), rmc(s)].concat()).collect();
    assert_eq!(told(&both).len(), 4);
    assert!(told(&both).iter().all(|(_, ubx)| *ubx));
    let pvt: Vec<u8> = (0..4).flat_map(|s| [parts(s, 0xdd), nav(s)].concat()).collect();
    assert_eq!(fixes(&pvt).len(), 8);
}

#[test]
fn what_the_receiver_does_not_vouch_for_is_no_fix() {
    let mut not_ok = pvt();
    not_ok[21] = 0;
    let mut time_only = pvt();
    time_only[20] = 5;
    for (name, bytes) in [
        ("NAV-PVT, not ok", frame(ubx::NAV_PVT, &not_ok)),
        ("NAV-PVT, time only", frame(ubx::NAV_PVT, &time_only)),
        ("NAV-SOL, not ok", parts(1, 0xdc)),
    ] {
        assert_eq!(fixes(&bytes), [], "{name}");
        // Its figures are still decoded, for who compares decoders.
        let mut receiver = Receiver::new();
        bytes.iter().for_each(|b| receiver.push(*b));
        assert!(receiver.pop_decoded().is_some_and(|f| !f.vouched), "{name}");
        // It hides no good one behind it.
        assert_eq!(fixes(&[&bytes[..], &nav(2)].concat()).len(), 1, "{name}");
    }
}

#[test]
fn what_only_looks_like_a_frame_hides_nothing() {
    let head = [0xb5, 0x62, 1, 7, 92, 0];
    for (name, bytes, want) in [
        ("a head, then sentences", [&head[..], &rmc(1), &rmc(2), &rmc(3)].concat(), 3),
        ("a head, then a frame", [&head[..], &nav(1)].concat(), 1),
        ("marks doubled", [&[0xb5][..], &nav(1), &[0xb5, 0xb5, 0x62, 0xb5], &nav(2)].concat(), 2),
        ("a sentence in two", [&rmc(1)[..20], &nav(2), &rmc(1)[20..]].concat(), 1),
        ("a length of 64 kB", [&[0xb5, 0x62, 1, 7, 0xff, 0xff][..], &rmc(1)].concat(), 1),
        ("a frame in the payload of none", [&[0xb5, 0x62, 9, 9, 200, 0][..], &nav(1)].concat(), 1),
        ("cut short at the end", [&nav(1)[..], &nav(2)[..50]].concat(), 1),
    ] {
        assert_eq!(fixes(&bytes).len(), want, "{name}");
    }
    // A false head that is never completed holds back no more than a frame's length.
    let mut receiver = Receiver::new();
    let long = [&[0xb5, 0x62, 1, 7, 0, 4][..], &[b'x'; 4000]].concat();
    for byte in long {
        receiver.push(byte);
        assert!(receiver.pending.len() < ubx::MAX_FRAME);
    }
}

proptest! {
    #[test]
    fn any_bytes_between_frames_lose_none(
        noise in proptest::collection::vec(proptest::collection::vec(
            prop_oneof![Just(0xb5), Just(0x62), Just(b'$'), any::<u8>()], 0..40), 1..6)
    ) {
        let mut bytes = Vec::new();
        for (n, noise) in noise.iter().enumerate() {
            bytes.extend(noise);
            bytes.extend(nav(u8::try_from(n).unwrap()));
        }
        // So that what looks like a frame at the end is known not to be one.
        bytes.extend([0; ubx::MAX_FRAME]);
        prop_assert_eq!(told(&bytes).iter().filter(|(_, ubx)| *ubx).count(), noise.len());
    }
}
