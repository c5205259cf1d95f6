//! UBX, the binary protocol of u-blox receivers: frames, and NAV-PVT, the one message that says all.
//! `ubx/epoch.rs` puts the fix together where a receiver does not send it.
//!
//! Own code: NAV-PVT is one message of fixed places that has not moved since protocol 14 (u-blox
//! 7). The `ublox` crate has a parser for each protocol version, takes the version at build
//! time, and cannot share its bytes with NMEA in the same stream.
//!
//! INVARIANT: a payload that is too short, a receiver that has no fix, and a place that is none on
//! Earth give no fix; one that the receiver calls not good, or one of time only, is decoded but not
//! vouched for ([`ReceiverFix::vouched`]); a date or time that is not marked as valid is none.
//!
//! Source of all places and bits: NAV-PVT in the u-blox 8/M8 Receiver Description Including
//! Protocol Specification (UBX-13003221), and in the interface description of F9 receivers.

pub use self::epoch::Epochs;
use crate::receiver::ReceiverFix;

mod epoch;

/// Every frame begins with these.
pub const MARKS: [u8; 2] = [0xb5, 0x62];
/// Class of all messages about where the receiver is.
pub const NAV: u8 = 0x01;
/// Class and id of NAV-PVT.
pub const NAV_PVT: [u8; 2] = [NAV, 0x07];
/// The longest payload that is waited for, bytes. Longer messages (raw measurements) are none that
/// is read, and waiting for one that only looks so would hold the line up.
const MAX_PAYLOAD: usize = 1024;
/// The longest frame, bytes.
pub const MAX_FRAME: usize = MAX_PAYLOAD + 8;
/// NAV-PVT of protocol 14; later ones go on behind it.
const PVT_LEN: usize = 84;
const DAY_MS: i64 = 86_400_000;
/// Own choice: a course that is known worse than this is none.
const MAX_COURSE_ERROR_DEG: f64 = 45.0;

/// What stands at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A whole frame with a right checksum.
    Frame {
        /// Class and id.
        class_id: [u8; 2],
        /// Its payload.
        payload: &'a [u8],
        /// Bytes of the whole frame.
        length: usize,
    },
    /// What may become one.
    Part,
    /// No frame.
    Nothing,
}

/// Looks for a frame at the beginning of `bytes`.
pub fn find(bytes: &[u8]) -> Found<'_> {
    let (head, rest) = match bytes.split_at_checked(6) {
        Some(split) => split,
        None if MARKS.starts_with(bytes.get(..bytes.len().min(2)).unwrap_or_default()) => {
            return Found::Part;
        }
        None => return Found::Nothing,
    };
    let &[mark, mark2, class, id, low, high] = head else { return Found::Nothing };
    let length = usize::from(u16::from_le_bytes([low, high]));
    if [mark, mark2] != MARKS || length > MAX_PAYLOAD {
        return Found::Nothing;
    }
    let Some((payload, [a, b, ..])) = rest.split_at_checked(length) else { return Found::Part };
    let mut sum = [0_u8; 2];
    for byte in [class, id, low, high].iter().chain(payload) {
        sum[0] = sum[0].wrapping_add(*byte);
        sum[1] = sum[1].wrapping_add(sum[0]);
    }
    if sum != [*a, *b] {
        return Found::Nothing;
    }
    Found::Frame { class_id: [class, id], payload, length: length + 8 }
}

/// The fix in a payload of NAV-PVT, where there is one; vouched for or not.
pub fn nav_pvt(payload: &[u8]) -> Option<ReceiverFix> {
    let p = payload.get(..PVT_LEN)?;
    let (valid, fix_type, flags) = (byte(p, 11)?, byte(p, 20)?, byte(p, 21)?);
    // 1 dead reckoning, 2 flat, 3 whole, 4 with dead reckoning; 0 is none and 5 only time. Bit 0
    // of the flags is gnssFixOK: within the receiver's own limits of accuracy. Bit 0 of flags3 is
    // invalidLlh in newer protocols, and reserved and 0 in older ones.
    if !(1..=5).contains(&fix_type) || byte(p, 78)? & 1 == 1 {
        return None;
    }
    let vouched = fix_type != 5 && flags & 1 == 1;
    let lon_deg = f64::from(i32_at(p, 24)?) * 1e-7;
    let lat_deg = f64::from(i32_at(p, 28)?) * 1e-7;
    if lat_deg.abs() > 90.0 || lon_deg.abs() > 180.0 {
        return None;
    }
    let time = clock_ms([byte(p, 8)?, byte(p, 9)?, byte(p, 10)?], i32_at(p, 16)?);
    let time = time.filter(|_| valid & 2 != 0);
    let midnight = midnight_ms([byte(p, 4)?, byte(p, 5)?], byte(p, 6)?, byte(p, 7)?);
    let midnight = midnight.filter(|_| valid & 1 != 0);
    let utc = midnight.zip(time).map(|(midnight, time)| midnight + time);
    let millimetres = |at| Some(f64::from(u32_at(p, at)?) / 1000.0);
    let course_error_deg = f64::from(u32_at(p, 72)?) * 1e-5;
    Some(ReceiverFix {
        time_of_day_ms: time.map(|t| t.rem_euclid(DAY_MS)),
        utc_unix_ms: utc,
        alt_m: (fix_type != 2).then_some(f64::from(i32_at(p, 36)?) / 1000.0),
        speed_mps: Some(f64::from(i32_at(p, 60)?) / 1000.0).filter(|v| *v >= 0.0),
        course_deg: Some(f64::from(i32_at(p, 64)?) * 1e-5)
            .filter(|c| (0.0..=360.0).contains(c) && course_error_deg <= MAX_COURSE_ERROR_DEG)
            .map(|c| c.rem_euclid(360.0)),
        hdop: None,
        position_error_m: millimetres(40),
        speed_error_mps: millimetres(68),
        vouched,
        ..ReceiverFix::new(lat_deg, lon_deg)
    })
}

/// Milliseconds since midnight of hour, minute, second and the nanoseconds beside them; below 0 or
/// above a day where these lead over the end of one.
fn clock_ms([h, m, s]: [u8; 3], nanoseconds: i32) -> Option<i64> {
    // A leap second is its 60th.
    if h > 23 || m > 59 || s > 60 {
        return None;
    }
    let nanoseconds = i64::from(nanoseconds);
    if nanoseconds.abs() > 1_000_000_000 {
        return None;
    }
    let seconds = (i64::from(h) * 60 + i64::from(m)) * 60 + i64::from(s);
    // To the nearest: a receiver is up to half a millisecond before the round number.
    Some(seconds * 1000 + (nanoseconds + 500_000).div_euclid(1_000_000))
}

/// Midnight of a date, milliseconds since 1970.
fn midnight_ms(year: [u8; 2], month: u8, day: u8) -> Option<i64> {
    let year = i16::from_le_bytes(year);
    let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    // GPS time began in 1980.
    let date =
        jiff::civil::Date::new(year, month, day).ok().filter(|_| (1980..=2100).contains(&year))?;
    Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

fn byte(p: &[u8], at: usize) -> Option<u8> {
    p.get(at).copied()
}

fn u32_at(p: &[u8], at: usize) -> Option<u32> {
    p.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn i32_at(p: &[u8], at: usize) -> Option<i32> {
    p.get(at..at + 4)?.try_into().ok().map(i32::from_le_bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame of a payload.
    pub(crate) fn frame(class_id: [u8; 2], payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_le_bytes();
        let mut bytes = [&MARKS[..], &class_id, &length, payload].concat();
        let (mut a, mut b) = (0_u8, 0_u8);
        for byte in &bytes[2..] {
            a = a.wrapping_add(*byte);
            b = b.wrapping_add(a);
        }
        bytes.extend([a, b]);
        bytes
    }

    /// 2020-07-11 22:37:45 UTC at 38.1105 N, 122.6269 W, 83.1 m, 10 m/s to the west.
    pub(crate) fn pvt() -> Vec<u8> {
        let mut p = vec![0; 92];
        let mut put = |at: usize, bytes: &[u8]| p[at..at + bytes.len()].copy_from_slice(bytes);
        put(4, &2020_u16.to_le_bytes());
        put(6, &[7, 11, 22, 37, 45, 7]);
        put(16, &(-200_000_i32).to_le_bytes());
        put(20, &[3, 1]);
        put(24, &(-1_226_269_000_i32).to_le_bytes());
        put(28, &381_105_000_i32.to_le_bytes());
        put(36, &83_100_i32.to_le_bytes());
        put(40, &1_500_u32.to_le_bytes());
        put(60, &10_000_i32.to_le_bytes());
        put(64, &27_150_000_i32.to_le_bytes());
        put(68, &250_u32.to_le_bytes());
        p
    }

    fn with(changes: &[(usize, u8)]) -> Option<ReceiverFix> {
        let mut p = pvt();
        for (at, value) in changes {
            p[*at] = *value;
        }
        nav_pvt(&p)
    }

    #[test]
    fn a_whole_fix() {
        let fix = nav_pvt(&pvt()).unwrap();
        assert_eq!(fix.utc_unix_ms, Some(1_594_507_065_000));
        assert_eq!(fix.time_of_day_ms, Some(81_465_000));
        assert!((fix.lat_deg - 38.1105).abs() < 1e-9 && (fix.lon_deg + 122.6269).abs() < 1e-9);
        assert_eq!((fix.alt_m, fix.speed_mps), (Some(83.1), Some(10.0)));
        assert!((fix.course_deg.unwrap() - 271.5).abs() < 1e-9);
        assert_eq!((fix.position_error_m, fix.speed_error_mps), (Some(1.5), Some(0.25)));
        // Protocol 14 ends 8 bytes earlier.
        assert_eq!(nav_pvt(&pvt()[..84]), Some(fix));
        assert_eq!(nav_pvt(&pvt()[..83]), None);
    }

    #[test]
    fn what_the_receiver_does_not_vouch_for() {
        for (name, changes) in [
            ("no fix", &[(20, 0)][..]),
            ("no such fix", &[(20, 6)]),
            ("invalid place", &[(78, 1)]),
            ("latitude 171", &[(31, 0x66)]),
        ] {
            assert_eq!(with(changes), None, "{name}");
        }
        // These are decoded, so that they can be compared, but are no fixes.
        for (name, changes) in [("time only", &[(20, 5)]), ("not ok", &[(21, 0)])] {
            let fix = with(changes).unwrap();
            assert!(!fix.vouched && (fix.lat_deg - 38.1105).abs() < 1e-9, "{name}");
        }
        assert!(with(&[]).unwrap().vouched);
        let utc = |changes: &[(usize, u8)]| with(changes).unwrap().utc_unix_ms;
        assert_eq!(utc(&[(11, 6)]), None, "date not valid");
        assert_eq!(utc(&[(11, 5)]), None, "time not valid");
        assert_eq!(utc(&[(6, 13)]), None, "month 13");
        assert_eq!(utc(&[(4, 0), (5, 0)]), None, "year 0");
        assert_eq!(utc(&[(8, 24)]), None, "hour 24");
        assert!(with(&[(11, 6)]).unwrap().time_of_day_ms.is_some());
        assert_eq!(with(&[(20, 2)]).unwrap().alt_m, None, "a flat fix has no height");
        assert_eq!(with(&[(75, 1)]).unwrap().course_deg, None, "168 degrees wrong");
        assert_eq!(with(&[(63, 0xff)]).unwrap().speed_mps, None, "a negative speed");
    }

    #[test]
    fn the_end_of_a_day() {
        // 200 µs before midnight: the receiver means midnight. And a leap second.
        let fix = with(&[(8, 0), (9, 0), (10, 0)]).unwrap();
        assert_eq!(fix.time_of_day_ms, Some(0));
        let fix = with(&[(8, 0), (9, 0), (10, 0), (18, 0xf0)]).unwrap();
        assert_eq!(fix.time_of_day_ms.map(|t| t > 86_398_000), Some(true), "{fix:?}");
        assert_eq!(fix.utc_unix_ms.map(|t| t.rem_euclid(DAY_MS)), fix.time_of_day_ms);
        let leap = with(&[(8, 23), (9, 59), (10, 60)]).unwrap();
        assert_eq!(leap.utc_unix_ms, Some(1_594_512_000_000));
        assert_eq!(leap.time_of_day_ms, Some(0));
    }

    #[test]
    fn frames() {
        let whole = frame(NAV_PVT, &pvt());
        assert!(matches!(find(&whole), Found::Frame { class_id: NAV_PVT, length: 100, .. }));
        for n in 0..whole.len() {
            assert_eq!(find(&whole[..n]), Found::Part, "{n}");
            let mut wrong = whole.clone();
            wrong[n] ^= 0x10;
            assert!(!matches!(find(&wrong), Found::Frame { .. }), "{n}");
        }
        assert_eq!(find(&[0xb5, 0x62, 1, 7, 0, 0x80]), Found::Nothing, "32 kB");
        assert!(matches!(find(&frame([5, 1], &[])), Found::Frame { payload: [], length: 8, .. }));
    }

    proptest! {
        #[test]
        fn any_payload_never_panics(p in proptest::collection::vec(any::<u8>(), 0..110)) {
            if let Some(fix) = nav_pvt(&p) {
                prop_assert!(fix.lat_deg.abs() <= 90.0 && fix.lon_deg.abs() <= 180.0);
                prop_assert!(fix.speed_mps.is_none_or(|v| v >= 0.0));
                prop_assert!(fix.time_of_day_ms.is_none_or(|t| (0..DAY_MS).contains(&t)));
            }
        }
    }
}
