//! Writer and reader against each other and against ffprobe.

use std::{process::Command, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use temoin_proto::time::MonoTime;

use super::*;
use crate::{
    h264::{AccessUnit, Encoder, EncoderConfig, StreamConfig},
    test_pictures::moving,
};

const SPS: [u8; 4] = [0x67, 0x42, 0xc0, 0x1f];
const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];

fn stream() -> StreamConfig {
    let mut avcc = vec![1, 0x42, 0xc0, 0x1f, 0xff, 0xe1, 0, 4];
    avcc.extend(SPS);
    avcc.extend([1, 0, 4]);
    avcc.extend(PPS);
    StreamConfig::new(1280, 720, &avcc).unwrap()
}

/// Two GOPs of made-up slices, 15 pictures a second.
fn units(origin: MonoTime) -> Vec<AccessUnit> {
    (0..30_u64)
        .map(|n| {
            let key = n % 15 == 0;
            let mut data =
                vec![0, 0, 0, u8::try_from(n + 2).unwrap(), if key { 0x65 } else { 0x41 }];
            data.resize(4 + usize::try_from(n).unwrap() + 2, 7);
            let at = origin + Duration::from_nanos(n * 66_666_667);
            AccessUnit { at, key, data: Bytes::from(data) }
        })
        .collect()
}

fn file(origin: MonoTime) -> Vec<u8> {
    let mut writer = Writer::new(stream(), origin);
    let units = units(origin);
    let mut out = writer.init(Some(Duration::from_secs(2))).unwrap().to_vec();
    for (n, gop) in units.chunks(15).enumerate() {
        let end = origin + Duration::from_secs(n as u64 + 1);
        out.extend(writer.fragment(gop, end).unwrap());
    }
    out
}

#[test]
fn the_bytes_stay_the_same() {
    // Brittle, which is the point: a clip's bytes are signed, and old clips must stay readable.
    let file = file(MonoTime::from_ns(77));
    let digest: String = Sha256::digest(&file).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(
        (file.len(), digest.as_str()),
        (1853, "e35c09193b6b7a47b5b7fb45fbb6568428842139a124b5757f250292f0871bf4")
    );
}

#[test]
fn what_was_written_is_read_back() {
    let origin = MonoTime::from_ns(1_000_000_000_007);
    let file = file(origin);
    for piece in [1, 7, 1000, file.len()] {
        let mut reader = Reader::default();
        let mut got = Vec::new();
        for bytes in file.chunks(piece) {
            reader.push(bytes);
            while let Some(unit) = reader.next_unit().unwrap() {
                got.push(unit);
            }
        }
        reader.finish().unwrap();
        assert_eq!(reader.stream(), Some(&stream()));
        assert_eq!(reader.duration(), Some(Duration::from_secs(2)));
        assert_eq!(reader.end(), MonoTime::from_secs_f64(2.0));
        for (want, got) in units(origin).iter().zip(&got) {
            assert_eq!((want.key, &want.data), (got.key, &got.data));
            let off = want.at.since(origin).abs_diff(got.at.since(MonoTime::ZERO));
            assert!(off <= Duration::from_nanos(5_556), "{off:?}");
        }
        assert_eq!(got.len(), 30);
    }
}

#[test]
fn times_that_have_no_place_are_refused() {
    let second = Duration::from_secs(1);
    let origin = MonoTime::ZERO + second;
    let unit = |at: MonoTime| AccessUnit { at, ..units(origin).swap_remove(0) };
    let mut writer = Writer::new(stream(), origin);
    assert!(matches!(writer.fragment(&[], origin), Err(Fmp4Error::Empty)));
    for (name, at, end) in [
        ("before the origin", MonoTime::ZERO, origin),
        ("no length", origin, origin),
        ("backwards", origin + second, origin),
        ("after a week", origin + 700_000 * second, origin + 700_001 * second),
    ] {
        let result = writer.fragment(&[unit(at)], end);
        assert!(matches!(result, Err(Fmp4Error::Time { .. })), "{name}: {result:?}");
    }
    writer.fragment(&[unit(origin)], origin + second).unwrap();
    let overlap = writer.fragment(&[unit(origin + second / 2)], origin + 2 * second);
    assert!(matches!(overlap, Err(Fmp4Error::Time { .. })), "{overlap:?}");
    // A gap is fine, and the fragment after it is where it belongs.
    writer.fragment(&[unit(origin + 5 * second)], origin + 6 * second).unwrap();
    assert!(writer.init(Some(Duration::from_secs(700_000))).is_err());
}

#[test]
fn live_fragments_begin_at_once_and_hold_gops_apart() {
    let units = units(MonoTime::ZERO);
    let writer = Writer::new(stream(), MonoTime::ZERO);
    let init = writer.init(None).unwrap();
    let mut live = LiveFragments::new(writer, Duration::from_millis(200));
    let mut out = init.to_vec();
    let mut after = Vec::new();
    for (n, unit) in units.iter().enumerate() {
        if let Some(fragment) = live.push(unit.clone()).unwrap() {
            out.extend(fragment);
            after.push(n);
        }
    }
    out.extend(live.finish(MonoTime::from_secs_f64(2.0)).unwrap().unwrap());
    assert_eq!(after, [1, 4, 7, 10, 13, 15, 18, 21, 24, 27]);
    let read = Units::read(&out).unwrap();
    assert_eq!(read.units.len(), 30);
    assert_eq!(read.end, MonoTime::from_secs_f64(2.0));
    let empty = LiveFragments::new(Writer::new(stream(), MonoTime::ZERO), Duration::ZERO);
    assert_eq!(empty.finish(MonoTime::ZERO).unwrap(), None);
}

#[test]
fn every_cut_is_noticed() {
    let file = file(MonoTime::ZERO);
    let ends: Vec<usize> = {
        // After init and after each fragment a file may end.
        let mut ends = Vec::new();
        let mut at = 0;
        while at < file.len() {
            let (kind, len) = shape::header(&file[at..]).unwrap();
            at += len as usize;
            if &kind == b"mdat" || &kind == b"moov" {
                ends.push(at);
            }
        }
        ends
    };
    assert_eq!(ends.len(), 3);
    for len in 0..file.len() {
        let result = Units::read(&file[..len]);
        assert_eq!(result.is_ok(), ends.contains(&len), "{len} of {}", file.len());
    }
}

#[test]
fn hostile_boxes_are_refused() {
    let boxed = |kind: &[u8; 4], body: &[u8]| {
        [&u32::try_from(body.len() + 8).unwrap().to_be_bytes()[..], kind, body].concat()
    };
    let ftyp = boxed(b"ftyp", b"iso6\0\0\0\0");
    // As deep as the box's limit allows.
    let deep = (0..1000).fold(Vec::new(), |body, _| boxed(b"moov", &body));
    let many = boxed(
        b"moof",
        &boxed(b"traf", &boxed(b"trun", &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])),
    );
    let good = file(MonoTime::ZERO);
    let init_len = good.windows(4).position(|w| w == b"moof").unwrap() - 4;
    let init = &good[..init_len];
    for (name, bytes) in [
        ("deep", [&ftyp[..], &deep].concat()),
        ("too many samples", [init, &many].concat()),
        ("64-bit length", [&ftyp[..], &[0, 0, 0, 1], b"moov", &[0; 16]].concat()),
        ("open end", [&ftyp[..], &[0, 0, 0, 0], b"moov"].concat()),
        ("huge", [init, &u32::MAX.to_be_bytes()[..], b"moof"].concat()),
        ("mdat alone", [init, &boxed(b"mdat", &[0; 64])].concat()),
        ("second init", [init, &ftyp].concat()),
        ("unknown box", [init, &boxed(b"uuid", &[0; 64])].concat()),
    ] {
        let error = Units::read(&bytes).unwrap_err();
        assert!(matches!(error, Fmp4Error::Malformed { .. }), "{name}: {error}");
    }
}

/// Runs ffprobe where it is installed: what it says on this file, warnings and errors.
fn ffprobe(file: &[u8], arguments: &[&str]) -> Option<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    std::fs::write(&path, file).unwrap();
    let output =
        Command::new("ffprobe").args(["-v", "warning"]).args(arguments).arg(&path).output();
    match output {
        Ok(o) => Some((
            String::from_utf8_lossy(&o.stdout).into_owned(),
            String::from_utf8_lossy(&o.stderr).into_owned(),
        )),
        Err(_) => {
            println!("skipped: ffprobe is not installed");
            None
        }
    }
}

#[test]
fn ffprobe_has_nothing_to_say() {
    let mut encoder = Encoder::new(EncoderConfig::new(640, 360, 15)).unwrap();
    let mut units = Vec::new();
    for n in 0..40_u32 {
        let at = MonoTime::from_ns(9_000_000_000 + u64::from(n) * 66_666_667);
        encoder.push(moving(640, 360, n), at).unwrap();
        units.extend(encoder.next_within(Duration::from_secs(10)).unwrap());
    }
    let stream = encoder.stream().unwrap().as_ref().clone();
    units.extend(encoder.finish().unwrap());
    let origin = units[0].at;
    let length = Duration::from_nanos(40 * 66_666_667);
    let mut writer = Writer::new(stream, origin);
    let mut file = writer.init(Some(length)).unwrap().to_vec();
    let gops: Vec<&[AccessUnit]> = units.chunk_by(|_, next| !next.key).collect();
    for (n, gop) in gops.iter().enumerate() {
        let end = gops.get(n + 1).map_or(origin + length, |next| next[0].at);
        file.extend(writer.fragment(gop, end).unwrap());
    }
    let arguments = [
        "-count_frames",
        "-show_entries",
        "stream=codec_name,width,height,nb_read_frames:format=duration",
        "-of",
        "default=nw=1",
    ];
    let Some((out, err)) = ffprobe(&file, &arguments) else { return };
    assert_eq!(err, "");
    assert_eq!(
        out.lines().collect::<Vec<_>>(),
        ["codec_name=h264", "width=640", "height=360", "nb_read_frames=40", "duration=2.666667"]
    );
    let (times, _) =
        ffprobe(&file, &["-show_entries", "packet=pts_time,flags", "-of", "csv=p=0"]).unwrap();
    let keys: Vec<&str> =
        times.lines().filter_map(|l| l.split_once(",K").map(|(time, _)| time)).collect();
    assert_eq!(keys, ["0.000000", "1.000000", "2.000000"]);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _units = Units::read(&bytes);
    }

    #[test]
    fn damaged_files_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        piece in 1_usize..600,
    ) {
        let mut bytes = file(MonoTime::ZERO);
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        let mut reader = Reader::default();
        'file: for bytes in bytes.chunks(piece) {
            reader.push(bytes);
            loop {
                match reader.next_unit() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'file,
                }
            }
        }
    }
}
