//! Encoder and decoder against each other.

use std::time::Instant;

use super::*;
use crate::{frame::I420Picture, test_pictures::moving};

/// Encodes pictures of these times; every software encoder that is installed must do.
fn encode(config: EncoderConfig, times: &[MonoTime]) -> (StreamConfig, Vec<AccessUnit>) {
    let (width, height) = (config.width, config.height);
    let mut encoder = Encoder::new(config).unwrap();
    let mut units = Vec::new();
    for (n, at) in (0..).zip(times) {
        encoder.push(moving(width, height, n), *at).unwrap();
        while let Some(unit) = encoder.try_next().unwrap() {
            units.push(unit);
        }
    }
    // The stream's parameters come with the first picture.
    if encoder.stream().is_none() {
        units.extend(encoder.next_within(Duration::from_secs(10)).unwrap());
    }
    let stream = encoder.stream().unwrap().as_ref().clone();
    units.extend(encoder.finish().unwrap());
    (stream, units)
}

fn decode(stream: &StreamConfig, units: &[AccessUnit]) -> Result<Vec<DecodedPicture>, H264Error> {
    let mut decoder = Decoder::new(stream, 1)?;
    let mut out = Vec::new();
    for unit in units {
        decoder.push(unit.clone())?;
        while let Some(picture) = decoder.try_next()? {
            out.push(picture);
        }
    }
    decoder.end()?;
    while let Some(picture) = decoder.next_last()? {
        out.push(picture);
    }
    Ok(out)
}

/// Mean difference of two pictures' luma.
fn difference(a: &I420Picture, b: &I420Picture) -> u64 {
    let (a, b) = (a.view().luma(), b.view().luma());
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum / a.len() as u64
}

/// Irregular times, with odd nanoseconds, far from the clock's origin.
fn irregular(n: u64, base_ns: u64) -> Vec<MonoTime> {
    (0..n).map(|k| MonoTime::from_ns(base_ns + k * 66_666_667 + k * k % 7 * 1_234_567)).collect()
}

fn software() -> Vec<EncoderKind> {
    let kinds = [EncoderKind::X264, EncoderKind::OpenH264];
    kinds.into_iter().filter(|k| k.available().is_ok()).collect()
}

#[test]
fn what_goes_in_comes_out() {
    for kind in software() {
        for (width, height) in [(320, 240), (426, 240), (130, 98), (1920, 1080)] {
            let times = irregular(if width > 1000 { 4 } else { 35 }, 3_600_000_000_123);
            let config = EncoderConfig { kind, ..EncoderConfig::new(width, height, 15) };
            let (stream, units) = encode(config, &times);
            let name = format!("{kind:?} {width}x{height}");
            assert_eq!(units.iter().map(|u| u.at).collect::<Vec<_>>(), times, "{name}");
            assert!(stream.codec_string().starts_with("avc1."), "{name}");
            let pictures = decode(&stream, &units).unwrap();
            assert_eq!(pictures.iter().map(|p| p.at).collect::<Vec<_>>(), times, "{name}");
            for (n, picture) in (0..).zip(&pictures) {
                let off = difference(&picture.picture, &moving(width, height, n));
                assert!(off < 12, "{name}, picture {n} differs by {off}");
            }
        }
    }
}

#[test]
fn key_frames_come_each_second_of_time() {
    // 10 pictures a second where 15 were promised, then a gap of 2.5 s, then 30 a second.
    let mut ms: Vec<u64> = (0..25).map(|k| k * 100).collect();
    ms.extend((0..40).map(|k| 4_950 + k * 33));
    let times: Vec<_> = ms.iter().map(|ms| MonoTime::from_ns(ms * 1_000_000)).collect();
    for kind in software() {
        let (_, units) = encode(EncoderConfig { kind, ..EncoderConfig::new(320, 240, 15) }, &times);
        let keys: Vec<_> =
            units.iter().filter(|u| u.key).map(|u| u.at.as_ns() / 1_000_000).collect();
        assert_eq!(keys, [0, 1_000, 2_000, 4_950, 5_016, 6_006], "{kind:?}");
    }
}

#[test]
fn all_cameras_have_their_key_pictures_together() {
    for (began_ms, fps) in [(10_000, 15), (10_400, 10), (10_930, 25)] {
        let times: Vec<_> = (0..3 * fps)
            .map(|n| MonoTime::from_ns((began_ms + n * 1000 / fps) * 1_000_000))
            .collect();
        let (_, units) = encode(EncoderConfig::new(320, 240, 15), &times);
        let keys = units.iter().filter(|u| u.key).map(|u| u.at.as_ns() / 1_000_000);
        let seconds: Vec<_> = keys.skip(1).filter(|ms| ms % 1000 < 1000 / fps).collect();
        let all: Vec<_> = seconds.iter().map(|ms| ms / 1000).collect();
        assert_eq!(all, if began_ms == 10_000 { vec![11, 12] } else { vec![11, 12, 13] }, "{fps}");
    }
}

#[test]
fn each_gop_decodes_alone() {
    let times = irregular(40, 0);
    let (stream, units) = encode(EncoderConfig::new(320, 240, 15), &times);
    let second = units.iter().skip(1).position(|u| u.key).unwrap() + 1;
    let pictures = decode(&stream, &units[second..]).unwrap();
    assert_eq!(pictures.len(), units.len() - second);
    let error = decode(&stream, &units[1..]).unwrap_err();
    assert!(matches!(error, H264Error::Malformed(_)), "{error}");
}

#[test]
fn the_bitrate_is_capped() {
    let times: Vec<_> = (0..45).map(|k| MonoTime::from_ns(k * 66_666_667)).collect();
    for kind in software() {
        let config =
            EncoderConfig { kind, max_bitrate_kbps: 500, ..EncoderConfig::new(640, 360, 15) };
        let (_, units) = encode(config, &times);
        let kbps = units.iter().map(|u| u.data.len()).sum::<usize>() * 8 / 3 / 1000;
        assert!(kbps < 750, "{kind:?}: {kbps} kbit/s");
    }
}

#[test]
fn damage_is_an_error_and_no_wait() {
    let (stream, good) = encode(EncoderConfig::new(320, 240, 15), &irregular(30, 0));
    let damaged = |n: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let mut units = good.clone();
        let mut data = units[n].data.to_vec();
        change(&mut data);
        units[n].data = Bytes::from(data);
        units
    };
    let began = Instant::now();
    let cases: [(&str, Vec<AccessUnit>); 3] = [
        ("zeroed", damaged(0, &|d| d[5..].fill(0))),
        ("short", damaged(3, &|d| d.truncate(9))),
        ("sps in the middle", damaged(3, &|d| d[4] = 0x67)),
    ];
    for (name, units) in cases {
        let result = decode(&stream, &units).map(|pictures| pictures.len());
        assert!(result.is_err(), "{name}: {result:?}");
    }
    // Damage that still reads as a slice may be concealed: then every picture comes out.
    for n in [0, 7] {
        let units = damaged(n, &|d| d[12..].iter_mut().for_each(|b| *b ^= 0x5a));
        let result = decode(&stream, &units).map(|pictures| pictures.len());
        assert!(matches!(result, Ok(30) | Err(_)), "noise in picture {n}: {result:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn a_stream_larger_than_it_says_is_refused() {
    let (large, units) = encode(EncoderConfig::new(640, 360, 15), &irregular(3, 0));
    let lying = StreamConfig::new(320, 240, &large.to_avcc().unwrap()).unwrap();
    let error = decode(&lying, &units).unwrap_err();
    assert!(matches!(error, H264Error::SizeChanged { got_width: 640, .. }), "{error}");
}

#[test]
fn an_sps_beyond_the_limit_never_reaches_the_decoder() {
    // Baseline, 4096x4096: profile 66, level 5.1, then ue(0) ue(0) ue(0) ue(1) 0 ue(255) ue(255).
    let mut bits = String::from("1" /* sps id */);
    bits += "1"; // log2_max_frame_num_minus4
    bits += "011"; // pic_order_cnt_type 2
    bits += "010"; // one reference frame
    bits += "0"; // no gaps
    let ue_255 = "00000000100000000";
    bits += ue_255;
    bits += ue_255;
    bits += "11"; // frames only, direct 8x8
    bits += "00"; // no cropping, no VUI
    bits += "1"; // stop
    while bits.len() % 8 != 0 {
        bits += "0";
    }
    let mut sps = vec![0x67, 66, 0xc0, 51];
    sps.extend(
        bits.as_bytes()
            .chunks(8)
            .map(|b| u8::from_str_radix(std::str::from_utf8(b).unwrap(), 2).unwrap()),
    );
    let mut avcc = vec![1, 66, 0xc0, 51, 0xff, 0xe1, 0, u8::try_from(sps.len()).unwrap()];
    avcc.extend(&sps);
    avcc.extend([1, 0, 4, 0x68, 0xce, 0x3c, 0x80]);
    let stream = StreamConfig::new(1280, 720, &avcc).unwrap();
    let unit = AccessUnit {
        at: MonoTime::ZERO,
        key: true,
        data: Bytes::from_static(&[0, 0, 0, 6, 0x65, 0x88, 0x84, 0, 1, 2]),
    };
    let error = decode(&stream, &[unit]).unwrap_err();
    assert!(
        matches!(&error, H264Error::Pipeline { message, .. } if !message.is_empty()),
        "{error}"
    );
}

#[test]
fn wrong_use_is_refused() {
    for (name, config) in [
        ("odd", EncoderConfig::new(321, 240, 15)),
        ("large", EncoderConfig::new(2048, 1024, 15)),
        ("no fps", EncoderConfig { fps: 0, ..EncoderConfig::new(320, 240, 15) }),
        ("threads", EncoderConfig { threads: 99, ..EncoderConfig::new(320, 240, 15) }),
        ("bitrate", EncoderConfig { max_bitrate_kbps: 1, ..EncoderConfig::new(320, 240, 15) }),
    ] {
        assert!(Encoder::new(config).is_err(), "{name}");
    }
    let mut encoder = Encoder::new(EncoderConfig::new(320, 240, 15)).unwrap();
    let at = MonoTime::from_ns(5);
    let error = encoder.push(moving(640, 360, 0), at).unwrap_err();
    assert!(matches!(error, H264Error::SizeChanged { .. }), "{error}");
    encoder.push(moving(320, 240, 0), at).unwrap();
    for late in [at, MonoTime::ZERO] {
        let error = encoder.push(moving(320, 240, 1), late).unwrap_err();
        assert!(matches!(error, H264Error::TimeOrder { .. }), "{error}");
    }
    assert_eq!(encoder.finish().unwrap().len(), 1);
    let empty = Encoder::new(EncoderConfig::new(320, 240, 15)).unwrap();
    assert_eq!(empty.finish().unwrap(), vec![]);
}

#[test]
fn a_missing_element_names_its_package() {
    for kind in EncoderKind::ALL {
        if let Err(error) = kind.available() {
            let text = error.to_string();
            assert!(text.contains("install the package"), "{text}");
            let error = Encoder::new(EncoderConfig { kind, ..EncoderConfig::new(320, 240, 15) });
            assert!(matches!(error.err(), Some(H264Error::MissingElement { .. })), "{kind:?}");
        }
    }
}
