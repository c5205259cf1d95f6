//! How a Linux IIO buffer lays out one scan, all channels of a device at one moment.
//!
//! Each channel's `scan_elements/*_type` says how its value lies in memory, such as `le:s12/16>>4`: byte
//! order, sign, bits that count, bits that it takes, and how far it is to be shifted down. The channels
//! follow each other by index, each on a multiple of its own size, and a scan is as long as a multiple of
//! its largest (kernel: `Documentation/ABI/testing/sysfs-bus-iio` and `driver-api/iio/buffers`).

use std::str::FromStr;

/// How one channel's value lies in a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    big_endian: bool,
    signed: bool,
    bits: u32,
    bytes: usize,
    shift: u32,
}

impl Kind {
    /// The largest value.
    pub(crate) fn most(&self) -> f64 {
        2_f64.powi(i32::try_from(self.bits).unwrap_or(i32::MAX) - i32::from(self.signed))
    }

    /// The value in these bytes; none where they are not as many as it takes, or it is larger than any
    /// sensor's.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Option<i64> {
        if bytes.len() != self.bytes {
            return None;
        }
        let fold = |word: u64, byte: &u8| word << 8 | u64::from(*byte);
        let word = match self.big_endian {
            true => bytes.iter().fold(0, fold),
            false => bytes.iter().rev().fold(0, fold),
        };
        // Up and down again: what lies above the value goes, and its sign is spread.
        let up = u64::BITS - self.bits;
        let top = (word >> self.shift) << up;
        if self.signed { Some(top.cast_signed() >> up) } else { i64::try_from(top >> up).ok() }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` does not say how a value lies in a buffer");
        let parse = || {
            let (order, rest) = text.trim().split_once(':')?;
            let big_endian = match order {
                "be" => true,
                "le" => false,
                _ => return None,
            };
            let (sign, rest) = rest.split_at_checked(1)?;
            let signed = match sign {
                "s" => true,
                "u" => false,
                _ => return None,
            };
            let (bits, rest) = rest.split_once('/')?;
            let (storage, shift) = rest.split_once(">>").unwrap_or((rest, "0"));
            let (bits, shift): (u32, u32) = (bits.parse().ok()?, shift.parse().ok()?);
            let bytes = match storage {
                "8" => 1,
                "16" => 2,
                "32" => 4,
                "64" => 8,
                // Several values in one channel (`16X3`) are of no device that measures motion.
                _ => return None,
            };
            let fits = bits.checked_add(shift)? <= u32::try_from(bytes).ok()? * 8;
            (bits > 0 && fits).then_some(Self { big_endian, signed, bits, bytes, shift })
        };
        parse().ok_or_else(wrong)
    }
}

/// Where the channels lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    places: Vec<usize>,
    kinds: Vec<Kind>,
    /// Bytes of a scan.
    pub(crate) length: usize,
}

impl Layout {
    /// Of these channels, each with its index; they are asked for in this order.
    pub(crate) fn new(channels: &[(u32, Kind)]) -> Self {
        let mut by_index: Vec<(usize, &(u32, Kind))> = channels.iter().enumerate().collect();
        by_index.sort_by_key(|(_, (index, _))| *index);
        let mut places = vec![0; channels.len()];
        let (mut end, mut largest) = (0_usize, 1);
        for (channel, (_, kind)) in by_index {
            let begin = end.next_multiple_of(kind.bytes);
            if let Some(place) = places.get_mut(channel) {
                *place = begin;
            }
            end = begin + kind.bytes;
            largest = largest.max(kind.bytes);
        }
        let kinds = channels.iter().map(|(_, kind)| *kind).collect();
        Self { places, kinds, length: end.next_multiple_of(largest) }
    }

    /// A channel's value in a scan.
    pub(crate) fn value(&self, scan: &[u8], channel: usize) -> Option<i64> {
        let (begin, kind) = (*self.places.get(channel)?, self.kinds.get(channel)?);
        kind.decode(scan.get(begin..begin.checked_add(kind.bytes)?)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(text: &str) -> Kind {
        text.parse().unwrap()
    }

    #[test]
    fn values_of_real_devices() {
        // bma250: ten bits, left-aligned. mpu6050: big-endian. lis3dh: twelve.
        for (text, bytes, value) in [
            ("le:s10/16>>6", [0xC0, 0xFF].as_slice(), -1),
            ("le:s10/16>>6", &[0x3F, 0x40], 256),
            ("be:s16/16>>0", &[0xF0, 0x00], -4096),
            ("le:s12/16>>4", &[0xF0, 0x7F], 2047),
            ("le:u12/16>>0", &[0xFF, 0xFF], 4095),
            ("be:s24/32>>8", &[0xFF, 0xFF, 0xFE, 0x77], -2),
            ("le:s64/64>>0", &[1, 0, 0, 0, 0, 0, 0, 0x80], i64::MIN + 1),
            ("le:s16/16\n", &[2, 0], 2),
        ] {
            assert_eq!(kind(text).decode(bytes), Some(value), "{text}");
        }
        assert_eq!(kind("le:s16/16>>0").decode(&[1]), None);
        assert_eq!(kind("le:u64/64>>0").decode(&[0xFF; 8]), None, "no sensor counts so far");
        assert_eq!((kind("le:s16/16").most(), kind("le:u12/16").most()), (32768.0, 4096.0));
    }

    #[test]
    fn what_is_no_kind_is_named() {
        for text in [
            "",
            "le",
            "le:",
            "xe:s8/8",
            "le:s0/8",
            "le:x8/8",
            "le:s9/8",
            "le:s8/8>>1",
            "le:s8/24",
            "le:s16/16X3",
            "le:s-1/8",
            "le:s8/8>>99999999999",
        ] {
            let said = text.parse::<Kind>().unwrap_err();
            assert!(said.contains(text), "{said}");
        }
    }

    #[test]
    fn channels_lie_by_index_each_on_its_own_size() {
        // Three axes of 16 bits and a stamp of 64, as most devices have them.
        let axis = kind("le:s16/16>>0");
        let stamp = kind("le:s64/64>>0");
        let layout = Layout::new(&[(3, stamp), (0, axis), (1, axis), (2, axis)]);
        assert_eq!(layout.length, 16);
        let mut scan = [0_u8; 16];
        scan[..6].copy_from_slice(&[1, 0, 2, 0, 3, 0]);
        scan[8] = 9;
        let values: Vec<_> = (0..4).map(|n| layout.value(&scan, n)).collect();
        assert_eq!(values, [Some(9), Some(1), Some(2), Some(3)]);
        assert_eq!(layout.value(&scan[..7], 0), None);
        assert_eq!(layout.value(&scan, 4), None);
        // A small one behind a large one: the scan is as long as a multiple of the large one.
        assert_eq!(Layout::new(&[(0, stamp), (1, axis)]).length, 16);
        assert_eq!(Layout::new(&[(5, axis)]).length, 2);
    }

    proptest! {
        #[test]
        fn a_value_comes_back_as_it_was_laid_down(
            big in any::<bool>(),
            storage in prop_oneof![Just(8_u32), Just(16), Just(32), Just(64)],
            sizes in any::<[u32; 2]>(),
            around in any::<u64>(),
            value in any::<i64>(),
        ) {
            let bits = 1 + sizes[0] % storage;
            let shift = sizes[1] % (storage - bits + 1);
            let order = if big { "be" } else { "le" };
            let kind: Kind = format!("{order}:s{bits}/{storage}>>{shift}").parse().unwrap();
            let value = value >> (64 - bits);
            let mask = (u64::MAX >> (64 - bits)) << shift;
            let word = around & !mask | value.cast_unsigned() << shift & mask;
            let bytes = usize::try_from(storage / 8).unwrap();
            let laid = if big { word.to_be_bytes()[8 - bytes..].to_vec() } else { word.to_le_bytes()[..bytes].to_vec() };
            prop_assert_eq!(kind.decode(&laid), Some(value));
        }

        #[test]
        fn no_text_is_too_strange(text in ".{0,24}") {
            drop(text.parse::<Kind>());
        }
    }
}
