//! One function for each parser that takes bytes from outside: what must hold for any bytes.
//!
//! `fuzz/fuzz_targets/` wraps each for libFuzzer, `fuzz/corpus/NAME/` holds its seeds and every
//! input that once broke it, and `tests/tests/fuzz_corpus.rs` replays those in `make test`. A new
//! parser comes with a function here, a line in [`TARGETS`], a wrapper and a corpus; that test
//! fails where one of them is missing.
//!
//! INVARIANT: a target is a function of its bytes alone: no clock, no network, no file that stays.
//! What a parser reads by path lies in RAM (`RamFile`). Keys are fixed ones of no fleet.
#![expect(clippy::expect_used, reason = "a target says what it found by panicking")]

use std::{
    collections::VecDeque, fs::File, io::Write as _, os::fd::AsRawFd as _, path::PathBuf,
    sync::LazyLock, time::Duration,
};

use prost::Message;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use temoin_access_log::{
    AddCheckpoint, Checkpoint, EntryProof, Leaf, LogKey, LogPublicKey,
    record::{HEADER, RecordReader},
};
use temoin_agent::{
    config::Config,
    identity::{Fleet, Ticket},
    limits::build::import,
    model_pack::PackManifest,
};
use temoin_agent_core::limits::{
    Map, Overrides, SpeedLimits, Vehicle,
    country::Code,
    grid::{Point, TILE, TileKey},
    profile_code,
    tile::Tile,
};
use temoin_hw::{
    Drive, SignalError, SignalSource,
    can_frame::CanFrame,
    candump::{self, CandumpFile},
    csv_signals::CsvSignals,
    drive::{SignalFormat, SignalInput},
    gpsd,
    gpx::GpxFile,
    isotp::{self, Brought, Reassembly},
    nmea::NmeaFile,
    obd::{self, Asking, ObdConfig},
    receiver::{Receiver, ReceiverFix},
    ubx,
    vehicle::VehicleModel,
};
use temoin_keys::Request;
use temoin_media::{
    fmp4::{Fmp4Error, Reader, Units, Writer},
    h264::AccessUnit,
    leak::{LeakReader, Limits as LeakLimits, write_picture},
    watermark::fingerprint::{Fingerprint, MAX_LOOKS, MAX_WORDS, Query, Search},
};
use temoin_proto::{
    convert::{EventRecord, MAX_CLIP_MS, MAX_NUMBERS, MAX_TRACK_LEN},
    ids::ClipId,
    manifest::{Manifest, ManifestError, WrappedKey},
    samples::{ControlSample, ControlState, GnssFix, Signal},
    sealed::{CHUNK_PLAIN_LEN, ClipKey, TrackCipher, TrackName, open_all, sealed_len},
    time::MonoTime,
    wire,
};

/// What a target is: it panics where something does not hold.
pub type Target = fn(&[u8]);

/// Every target with its name, which is that of its wrapper and of its corpus.
pub const TARGETS: [(&str, Target); 31] = [
    ("access_log_entries", access_log_entries),
    ("access_log_leaf", access_log_leaf),
    ("access_log_proof", access_log_proof),
    ("agent_toml", agent_toml),
    ("candump_dbc", candump_dbc),
    ("candump_line", candump_line),
    ("checkpoint", checkpoint),
    ("csv_signals", csv_signals),
    ("drive_toml", drive_toml),
    ("event", event),
    ("fingerprint", fingerprint),
    ("fleet_json", fleet_json),
    ("fmp4", fmp4),
    ("gpsd_json", gpsd_json),
    ("gpx", gpx),
    ("isotp", isotp),
    ("key_request", key_request),
    ("leak_stream", leak_stream),
    ("limits_file", limits_file),
    ("limits_pbf", limits_pbf),
    ("log_key", log_key),
    ("manifest", manifest),
    ("model_pack", model_pack),
    ("nmea", nmea),
    ("sealed_track", sealed_track),
    ("signed_manifest", signed_manifest),
    ("ticket", ticket),
    ("ubx", ubx),
    ("vehicle_model", vehicle_model),
    ("wire_messages", wire_messages),
    ("witness_request", witness_request),
];

/// Separates the DBC file from the log in an input of [`candump_dbc`].
pub const DBC_END: &[u8] = b"\n--\n";

/// The private key of the log that seeds of [`checkpoint`] and [`access_log_proof`] are of.
pub const LOG_KEY: &str =
    "PRIVATE+KEY+fuzz.example/access-log+9d449c4c+AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";

/// What a manifest is signed with: the wire's definition says so.
const SIGNATURE_CONTEXT: &[u8] = b"temoin manifest v1\0";

static PUBLIC_LOG_KEY: LazyLock<LogPublicKey> = LazyLock::new(|| {
    LogKey::decode(LOG_KEY).expect("the key of the fuzz targets is one").public().clone()
});

/// The key of the unit that seeds of [`signed_manifest`] are signed by.
pub static UNIT_KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes are a seed"));

/// A file without a name and without a disk, gone when it is dropped.
struct RamFile {
    _file: File,
    path: PathBuf,
}

impl RamFile {
    fn new(data: &[u8]) -> Self {
        let fd = rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC);
        let mut file = File::from(fd.expect("the system gives a file in RAM"));
        file.write_all(data).expect("a file in RAM takes bytes");
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Self { _file: file, path }
    }

    fn input(&self, format: SignalFormat) -> SignalInput {
        SignalInput::whole(&self.path, format)
    }
}

/// The message of a refusal: there must be one.
fn refused(error: &impl std::error::Error) {
    assert!(!error.to_string().is_empty(), "a refusal that says nothing");
}

// Wire.

/// `fleet.v1.Event`: what is accepted is within its bounds and survives the wire.
pub fn event(data: &[u8]) {
    let Ok(message) = wire::Event::decode(data) else { return };
    match EventRecord::try_from(message) {
        Ok(record) => {
            assert!((0.0..=1.0).contains(&record.confidence));
            assert!(record.end_unix_ms >= record.start.unix_ms);
            assert!(record.numbers.len() <= MAX_NUMBERS);
            assert!(record.numbers.iter().all(|n| n.value.is_finite()));
            assert_eq!(EventRecord::try_from(wire::Event::from(&record)), Ok(record));
        }
        Err(e) => refused(&e),
    }
}

fn check_manifest(m: &Manifest) {
    let (start_ms, end_ms) = m.event_ms;
    assert!(start_ms <= end_ms && end_ms <= m.duration_ms && m.duration_ms <= MAX_CLIP_MS);
    assert!((1..=TrackName::ALL.len()).contains(&m.tracks.len()));
    for t in &m.tracks {
        assert_eq!(m.track(t.name), Some(t), "a track twice");
        assert!(t.sealed_len <= MAX_TRACK_LEN && t.sealed_len == sealed_len(t.plain_len));
    }
    assert_eq!(Manifest::try_from(wire::Manifest::from(m)).as_ref(), Ok(m));
}

/// `fleet.v1.Manifest`, rightly signed by a unit in wrong hands.
pub fn manifest(data: &[u8]) {
    let signature = UNIT_KEY.sign(&[SIGNATURE_CONTEXT, data].concat());
    let signed = wire::SignedManifest {
        manifest: data.to_vec().into(),
        signature: signature.as_ref().to_vec().into(),
    };
    let public_key = UNIT_KEY.public_key().as_ref();
    match Manifest::verify(&signed, public_key) {
        Ok(m) => {
            check_manifest(&m);
            assert_eq!(Manifest::verify(&m.sign(&UNIT_KEY), public_key).as_ref(), Ok(&m));
        }
        Err(e) => {
            assert_ne!(e, ManifestError::Signature, "the signature is right");
            refused(&e);
        }
    }
}

/// `fleet.v1.SignedManifest`: without the unit's key, only what the unit signed is accepted.
pub fn signed_manifest(data: &[u8]) {
    let Ok(signed) = wire::SignedManifest::decode(data) else { return };
    match Manifest::verify(&signed, UNIT_KEY.public_key().as_ref()) {
        Ok(m) => {
            check_manifest(&m);
            assert_eq!(m.sign(&UNIT_KEY), signed, "not the bytes that the unit signed");
        }
        Err(e) => refused(&e),
    }
}

/// A message that was accepted is written in a form that is read as the same again.
fn stable<M: Message + Default>(data: &[u8]) {
    let Ok(message) = M::decode(data) else { return };
    let written = message.encode_to_vec();
    let again = M::decode(written.as_slice()).expect("what was written is read");
    // Not the messages themselves: NaN is unlike itself.
    assert_eq!(again.encode_to_vec(), written);
}

/// All other messages that either side takes from the other, and a clip's signals.
pub fn wire_messages(data: &[u8]) {
    stable::<wire::EnrolRequest>(data);
    stable::<wire::EnrolResponse>(data);
    stable::<wire::ReportLostClipRequest>(data);
    stable::<wire::BeginClipRequest>(data);
    stable::<wire::BeginClipResponse>(data);
    stable::<wire::UploadTrackRequest>(data);
    stable::<wire::FinishClipRequest>(data);
    stable::<wire::HeartbeatRequest>(data);
    stable::<wire::HeartbeatResponse>(data);
    stable::<wire::ClipSignals>(data);
}

// Clips.

/// A sealed track. The bytes are taken as such a track, as a wrapped key, and as a plan: length,
/// place and bits of a change to a good track.
pub fn sealed_track(data: &[u8]) {
    // Fresh: neither what is found nor how it is found depends on it.
    static KEY: LazyLock<ClipKey> =
        LazyLock::new(|| ClipKey::generate().expect("the system gives random bytes"));
    let clip = ClipId::from_bytes([1; 16]);
    let cipher = TrackCipher::new(&KEY, clip, TrackName::Road).expect("32 bytes are a key");
    assert!(open_all(&cipher, data).is_err(), "sealed by nobody");
    if let Some((encapsulated, ciphertext)) = data.split_at_checked(32) {
        let (encapsulated, ciphertext) = (encapsulated.to_vec(), ciphertext.to_vec());
        let wrapped = WrappedKey { key_id: "k1".to_owned(), encapsulated, ciphertext };
        assert!(ClipKey::unwrap(&wrapped, clip, &[9; 32]).is_err(), "wrapped by nobody");
    }
    let Some((&[l0, l1, l2, a0, a1, a2, bits], content)) = data.split_first_chunk() else { return };
    let most = 3 * CHUNK_PLAIN_LEN + 1;
    let number = |a, b, c| usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    let len = number(l0, l1, l2) % (most + 1);
    let plain: Vec<u8> = content.iter().copied().cycle().take(len).collect();
    let mut sealed = cipher.seal(&plain).expect("a short track is sealed");
    assert_eq!(sealed.len() as u64, sealed_len(plain.len() as u64));
    assert!(open_all(&cipher, &sealed).is_ok_and(|opened| opened == plain), "not what was sealed");
    let at = number(a0, a1, a2) % sealed.len();
    if bits == 0 {
        sealed.truncate(at);
    } else if let Some(byte) = sealed.get_mut(at) {
        *byte ^= bits;
    }
    assert!(open_all(&cipher, &sealed).is_err(), "changed, and still opened");
}

/// A clip's fingerprint, as a manifest brings it: there is one spelling of each, and a search takes
/// what can be read and nothing else.
pub fn fingerprint(data: &[u8]) {
    static QUERY: LazyLock<Query> = LazyLock::new(|| Query::new(&[]));
    let mut search = Search::new(&QUERY, 1);
    let taken = search.push((), data);
    match Fingerprint::from_bytes(data) {
        Ok(read) => {
            assert!(read.looks.len() <= MAX_LOOKS, "{} looks", read.looks.len());
            assert!(read.looks.iter().all(|look| look.words.len() <= MAX_WORDS));
            assert!(read.looks.is_sorted_by(|a, b| a.at_ms < b.at_ms), "times do not rise");
            assert_eq!(read.to_bytes().as_deref(), Ok(data));
            assert_eq!(taken, Ok(()));
        }
        Err(e) => {
            refused(&e);
            assert_eq!(taken, Err(e));
        }
    }
    assert!(search.finish(1).is_empty(), "found by a leak that shows nothing");
}

fn in_pieces(data: &[u8], piece: usize) -> Result<Vec<AccessUnit>, Fmp4Error> {
    let mut reader = Reader::default();
    let mut units = Vec::new();
    for bytes in data.chunks(piece) {
        reader.push(bytes);
        while let Some(unit) = reader.next_unit()? {
            units.push(unit);
        }
    }
    reader.finish()?;
    Ok(units)
}

/// A clip's video: the pieces it comes in change nothing, and the writer writes the same again.
pub fn fmp4(data: &[u8]) {
    let whole = Units::read(data);
    let pieces = in_pieces(data, data.len() % 61 + 1);
    assert_eq!(whole.is_ok(), pieces.is_ok(), "whole: {whole:?}; in pieces: {pieces:?}");
    let (file, units) = match (whole, pieces) {
        (Ok(file), Ok(units)) => (file, units),
        (Err(e), _) | (_, Err(e)) => return refused(&e),
    };
    assert_eq!(file.units, units);
    assert!(file.units.is_sorted_by(|a, b| a.at < b.at), "times that do not rise");
    assert!(file.units.last().is_none_or(|u| u.at < file.end));
    let mut writer = Writer::new(file.stream.clone(), MonoTime::ZERO);
    let mut out = writer.init(None).expect("a stream that was read is written").to_vec();
    for unit in &file.units {
        // Each shown for one unit of media time: how long they were shown is not kept.
        let end = unit.at + Duration::from_nanos(11_112);
        let unit = std::slice::from_ref(unit);
        out.extend(writer.fragment(unit, end).expect("a picture that was read is written"));
    }
    let again = Units::read(&out).expect("what was written is read");
    assert_eq!((again.stream, again.units), (file.stream, file.units));
}

/// What a decoder in wrong hands may send: nothing is larger, earlier or more than was said.
pub fn leak_stream(data: &[u8]) {
    let limits = LeakLimits { side: 64, pictures: 20 };
    let mut reader = LeakReader::new(data, limits);
    let (mut pictures, mut last) = (Vec::new(), None);
    loop {
        match reader.next_picture() {
            Ok(Some(leak)) => {
                assert!(last.is_none_or(|last| leak.at > last), "times that do not rise");
                assert!(leak.picture.width().max(leak.picture.height()) <= 64);
                last = Some(leak.at);
                pictures.push(leak);
            }
            Ok(None) => break,
            Err(e) => {
                refused(&e);
                assert!(matches!(reader.next_picture(), Ok(None)), "goes on after an error");
                break;
            }
        }
    }
    assert!(pictures.len() <= limits.pictures);
    let mut written = Vec::new();
    for leak in &pictures {
        write_picture(&mut written, leak.at, &leak.picture).expect("what was read is written");
    }
    assert!(data.starts_with(&written), "there is one spelling of a picture");
}

// Sensors.

fn check_gnss(f: &GnssFix) {
    assert!(f.lat_deg.abs() <= 90.0 && f.lon_deg.abs() <= 180.0, "outside of the globe");
    assert!(f.speed_mps.is_none_or(|v| v.is_finite() && v >= 0.0), "speed {:?}", f.speed_mps);
    // 360 where a course a hair below 0 is rounded.
    assert!(f.course_deg.is_none_or(|c| (0.0..=360.0).contains(&c)), "course {:?}", f.course_deg);
    assert!(f.hdop.is_none_or(f64::is_finite), "HDOP {:?}", f.hdop);
    assert!(f.alt_m.is_none_or(f64::is_finite), "height {:?}", f.alt_m);
    for error in [f.position_error_m, f.speed_error_mps].into_iter().flatten() {
        assert!(error.is_finite() && error >= 0.0, "error {error}");
    }
}

/// Reads a file of signals to its end: times never fall, and every number is one.
fn check_signals(source: Result<impl SignalSource, SignalError>) {
    let mut source = match source {
        Ok(source) => source,
        Err(e) => return refused(&e),
    };
    let mut last = MonoTime::ZERO;
    loop {
        let signal = match source.next_signal() {
            Ok(Some(signal)) => signal,
            Ok(None) => break,
            Err(e) => return refused(&e),
        };
        assert!(signal.at() >= last, "time falls");
        last = signal.at();
        match signal {
            Signal::Gnss(fix) => check_gnss(&fix),
            Signal::Imu(s) => {
                assert!(s.accel_mps2.iter().all(|v| v.is_finite()), "{:?}", s.accel_mps2);
                let gyro = s.gyro_rad_s.unwrap_or_default();
                assert!(gyro.iter().all(|v| v.is_finite()), "{gyro:?}");
            }
            Signal::Speed(s) => assert!(s.mps.is_finite() && s.mps >= 0.0, "{}", s.mps),
            Signal::Wheels(s) => assert!(s.mps.iter().all(|v| v.is_finite() && *v >= 0.0), "{s:?}"),
            Signal::Control(s) => {
                if let ControlState::EngineRpm(rpm) = s.state {
                    assert!(rpm.is_finite() && rpm >= 0.0, "{rpm}");
                }
            }
            Signal::Button(_) => {}
        }
    }
    assert!(matches!(source.next_signal(), Ok(None)), "goes on after its end");
}

fn check_fix(fix: &ReceiverFix) {
    const DAY_MS: i64 = 86_400_000;
    check_gnss(&fix.at(MonoTime::ZERO));
    assert!(fix.time_of_day_ms.is_none_or(|t| (0..DAY_MS).contains(&t)));
    if let Some(utc) = fix.utc_unix_ms {
        assert_eq!(Some(utc.rem_euclid(DAY_MS)), fix.time_of_day_ms);
    }
}

fn check_receiver(bytes: &[u8]) {
    let mut receiver = Receiver::new();
    for byte in bytes {
        receiver.push(*byte);
        receiver.pop().iter().for_each(check_fix);
    }
    receiver.finish();
    while let Some(fix) = receiver.pop() {
        check_fix(&fix);
    }
}

/// A receiver's bytes, as they come from the serial line and as a log.
pub fn nmea(data: &[u8]) {
    check_receiver(data);
    let file = RamFile::new(data);
    check_signals(NmeaFile::open(&file.input(SignalFormat::Nmea), MonoTime::ZERO));
    // Once more with checksums made right: no fuzzer guesses them.
    let mut right = Vec::new();
    for line in data.split(|b| *b == b'\n') {
        let body = line.strip_prefix(b"$").unwrap_or(line);
        let body = body.split(|b| *b == b'*').next().unwrap_or_default();
        let sum = body.iter().fold(0, |a, b| a ^ b);
        right.extend([b"$", body, format!("*{sum:02X}\n").as_bytes()].concat());
    }
    check_receiver(&right);
}

/// UBX with whatever is in between; and the bytes as payloads, which no checksum protects: as one of
/// NAV-PVT, and as many, each after its id and its length.
pub fn ubx(data: &[u8]) {
    check_receiver(data);
    ubx::nav_pvt(data).iter().for_each(check_fix);
    let (mut epochs, mut fixes, mut rest) = (ubx::Epochs::default(), VecDeque::new(), data);
    while let Some(([id, length], after)) = rest.split_first_chunk() {
        let (payload, after) = after.split_at(after.len().min(usize::from(*length)));
        epochs.message(*id, payload, &mut fixes);
        rest = after;
    }
    fixes.iter().chain(&epochs.finish()).for_each(check_fix);
    if let ubx::Found::Frame { payload, length, .. } = ubx::find(data) {
        assert!(length == payload.len() + 8 && length <= ubx::MAX_FRAME && length <= data.len());
    }
}

/// gpsd's reports, as they come over TCP.
pub fn gpsd_json(data: &[u8]) {
    let mut lines = gpsd::Lines::default();
    for byte in data.iter().chain(b"\n") {
        let Some(line) = lines.push(*byte) else { continue };
        assert!(line.len() <= gpsd::MAX_LINE);
        if let Some(fix) = std::str::from_utf8(&line).ok().and_then(gpsd::parse_report) {
            check_fix(&fix);
        }
    }
}

/// Frames of one sender to a tester that asks for everything: one byte of pause in milliseconds,
/// one of identifier, then eight of a frame, again and again.
pub fn isotp(data: &[u8]) {
    let config = ObdConfig { vin: true, ..ObdConfig::default() };
    let mut asking = Asking::new(config, MonoTime::ZERO);
    let mut reassembly = Reassembly::new();
    let (mut now, mut signals) = (MonoTime::ZERO, VecDeque::new());
    let mut sent_at: Option<MonoTime> = None;
    for frame in data.chunks(10) {
        let Some(([pause_ms, id], payload)) = frame.split_first_chunk() else { continue };
        now = now + Duration::from_millis(u64::from(*pause_ms));
        match reassembly.push(now, payload) {
            Ok(Brought::Message(m)) => assert!(!m.is_empty() && m.len() <= isotp::MAX_MESSAGE),
            Ok(Brought::First | Brought::Nothing) => {}
            Err(e) => refused(&e),
        }
        if asking.poll(now).is_some() {
            assert!(sent_at.is_none_or(|then| now.since(then) >= obd::MIN_GAP), "asked too often");
            sent_at = Some(now);
        }
        let frame = CanFrame::new(0x7e8 + u32::from(id % 9), payload);
        if let Some(answer) = asking.on_frame(now, &frame, &mut signals) {
            assert!(answer.data == isotp::FLOW_CONTROL && (0x7e0..0x7e8).contains(&answer.id));
        }
    }
    for signal in signals {
        let can_be = if let Signal::Speed(s) = signal {
            (0.0..=71.0).contains(&s.mps)
        } else if let Signal::Control(ControlSample {
            state: ControlState::EngineRpm(rpm), ..
        }) = signal
        {
            (0.0..=16384.0).contains(&rpm)
        } else {
            false
        };
        assert!(can_be, "OBD-II says {signal:?}");
    }
}

/// Signals as CSV, alone and joined to itself.
pub fn csv_signals(data: &[u8]) {
    let file = RamFile::new(data);
    let mut input = file.input(SignalFormat::Csv);
    check_signals(CsvSignals::open(&input, MonoTime::ZERO));
    input.join.push(file.path.clone());
    check_signals(CsvSignals::open(&input, MonoTime::ZERO));
}

/// One line of a CAN log: a frame that was read is read again from the form of `candump -l`.
pub fn candump_line(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else { return };
    let Some((t_s, frame)) = candump::parse_line(line) else { return };
    assert!(t_s.is_finite() && t_s >= 0.0 && frame.data.len() <= 64);
    let (extended, number) = (frame.id >> 31 == 1, frame.id & !(1 << 31));
    assert!(number <= 0x1fff_ffff);
    let id = if extended { format!("{number:08X}") } else { format!("{number:03X}") };
    let again = format!("({t_s}) can0 {id}#{}", hex::encode(&frame.data));
    assert_eq!(candump::parse_line(&again), Some((t_s, frame)), "{again}");
}

/// A DBC file and, after [`DBC_END`], the log that it explains: the speed is `SPEED.SPEED`.
pub fn candump_dbc(data: &[u8]) {
    let end = data.windows(DBC_END.len()).position(|w| w == DBC_END);
    let (dbc, log) = end.and_then(|at| data.split_at_checked(at)).unwrap_or((data, b""));
    let log = RamFile::new(log.get(DBC_END.len()..).unwrap_or_default());
    let dbc = RamFile::new(dbc);
    let input = SignalInput {
        dbc: Some(dbc.path.clone()),
        speed: Some(("SPEED".to_owned(), "SPEED".to_owned())),
        ..log.input(SignalFormat::Candump)
    };
    check_signals(CandumpFile::open(&input, MonoTime::ZERO));
}

/// A vehicle's model file, after [`DBC_END`] the DBC that stands in for its own, and after another
/// the log that they explain.
pub fn vehicle_model(data: &[u8]) {
    let part = |data: &[u8]| {
        let end = data.windows(DBC_END.len()).position(|w| w == DBC_END).unwrap_or(data.len());
        let (head, rest) = data.split_at_checked(end).unwrap_or((data, b""));
        (RamFile::new(head), rest.get(DBC_END.len()..).unwrap_or_default().to_vec())
    };
    let (model, rest) = part(data);
    let (dbc, log) = part(&rest);
    if let Err(e) = VehicleModel::load(&model.path, Some(&dbc.path)) {
        return refused(&e);
    }
    let log = RamFile::new(&log);
    let input = SignalInput {
        dbc: Some(dbc.path.clone()),
        vehicle: Some(model.path.clone()),
        ..log.input(SignalFormat::Candump)
    };
    check_signals(CandumpFile::open(&input, MonoTime::ZERO));
}

/// A GPX track.
pub fn gpx(data: &[u8]) {
    let file = RamFile::new(data);
    check_signals(GpxFile::open(&file.input(SignalFormat::Gpx), MonoTime::ZERO));
}

// Files of the unit.

/// A drive's description: one that is accepted has no mistakes.
pub fn drive_toml(data: &[u8]) {
    match Drive::load(&RamFile::new(data).path) {
        Ok(drive) => {
            assert_eq!(drive.mistakes(), []);
            assert!(drive.repeat > 0 && !drive.name.is_empty());
            assert!(drive.duration_s.is_none_or(|d| d.is_finite() && d > 0.0));
        }
        Err(e) => refused(&e),
    }
}

/// A unit's configuration: one that is accepted is valid in all its parts.
pub fn agent_toml(data: &[u8]) {
    match Config::load(&RamFile::new(data).path) {
        Ok(config) => {
            assert!(config.rules.validate().is_empty());
            assert!(config.encoder().is_ok());
            assert!((0.5..=30.0).contains(&config.perception.rate_hz));
        }
        Err(e) => refused(&e),
    }
}

/// A ticket for enrolment.
pub fn ticket(data: &[u8]) {
    match Ticket::read(&RamFile::new(data).path) {
        Ok(ticket) => assert_eq!(ticket.unit.as_str().parse(), Ok(ticket.unit)),
        Err(e) => refused(&e),
    }
}

/// What a unit keeps about its fleet (`fleet.json`).
pub fn fleet_json(data: &[u8]) {
    let Ok(fleet) = serde_json::from_slice::<Fleet>(data) else { return };
    let written = serde_json::to_vec(&fleet).expect("what was read is written");
    assert_eq!(serde_json::from_slice::<Fleet>(&written).ok(), Some(fleet));
}

/// The manifest of a model pack.
pub fn model_pack(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(e) = toml::from_str::<PackManifest>(text) {
        refused(&e);
    }
}

// Speed limits.

/// The unit's file of speed limits: whatever its bytes, roads are near or there is a refusal, and a
/// drive over it ends.
pub fn limits_file(data: &[u8]) {
    // Behind the checksums, which a fuzzer does not get past.
    let key = TileKey::at(18_700, 13_800);
    if let Some(tile) = Tile::read(key, data, 9) {
        assert!(tile.edges.iter().all(|e| tile.points(e).len() > 1));
        for edge in &tile.edges {
            let points = tile.points(edge).len();
            assert!(tile.lines(edge).iter().all(|l| l.point < points && l.stops.any()));
        }
    }
    if let Some(profile) = profile_code::get(&mut profile_code::Cursor(data)) {
        let mut again = Vec::new();
        profile_code::put(&mut again, &profile);
        assert_eq!(profile_code::get(&mut profile_code::Cursor(&again)), Some(profile));
    }
    let map = match Map::open(data) {
        Ok(map) => map,
        Err(e) => return refused(&e),
    };
    let keys = map.keys().expect("the index was read at the opening");
    assert_eq!(keys.len(), map.tiles());
    let vehicle = Vehicle { max_mass_kg: Some(3500) };
    let mut limits = SpeedLimits::new(map, &Overrides::default(), vehicle)
        .expect("there is no correction to place");
    for key in keys.into_iter().take(4) {
        let corner = key.corner();
        for n in 0..40_i32 {
            let p = Point { x: corner.x + n * TILE / 40, y: corner.y + TILE / 2 };
            let (lat_deg, lon_deg) = p.to_deg();
            let mut fix = GnssFix::new(MonoTime::from_secs_f64(f64::from(n)), lat_deg, lon_deg);
            (fix.speed_mps, fix.course_deg) = (Some(20.0), Some(90.0));
            fix.position_error_m = Some(4.0);
            if let Some(kmh) = limits.on_fix(&fix, None).kmh() {
                assert!((3.0..=250.0).contains(&kmh), "{kmh}");
            }
            if let Some(line_m) = limits.stop_line().and_then(|l| l.line_m) {
                assert!((-60.0..=60.0).contains(&line_m), "{line_m}");
            }
        }
        match limits.show(corner, 60.0, None, None) {
            Ok(shown) => {
                let mut lines = shown.iter().filter_map(|s| s.stop_line_m);
                assert!(lines.all(|m| (0.0..=60.0).contains(&m)));
            }
            Err(e) => refused(&e),
        }
    }
}

/// An OpenStreetMap extract: what is accepted makes a file that can be opened and is whole.
pub fn limits_pbf(data: &[u8]) {
    let mut file = Vec::new();
    let built = import(std::io::Cursor::new(data), "fuzz".as_ref(), Code::parse("RO"), |part| {
        file.extend_from_slice(part);
        Ok(())
    });
    match built {
        Ok(built) => {
            let map = Map::open(file.as_slice()).expect("what was built is opened");
            assert!(built.road_m > 0.0 && built.ways > 0);
            for key in map.keys().expect("the index was read at the opening") {
                assert!(map.tile(key).expect("what was built is whole").is_some());
            }
        }
        Err(e) => refused(&e),
    }
}

// Access log.

/// What the key service is asked for over its socket: what is accepted is within its bounds and
/// survives the wire, and a proof that holds is in the log.
pub fn key_request(data: &[u8]) {
    let request = match Request::decode(data) {
        Ok(request) => request,
        Err(e) => return refused(&e),
    };
    // Escapes make JSON longer than what it says.
    if let Ok(written) = request.encode() {
        let again = Request::decode(&written).expect("what was written is read");
        assert_eq!(again, request);
    }
    let proof = match request {
        Request::Unwrap { proof, .. }
        | Request::Marks { proof, .. }
        | Request::Destroy { proof, .. } => proof,
        Request::Witnessed(head) => {
            match head.hashes() {
                Ok(hashes) => assert!(hashes.len() <= 128, "{} hashes", hashes.len()),
                Err(e) => refused(&e),
            }
            return;
        }
        Request::Public | Request::Head | Request::Rewrap { .. } => return,
    };
    match proof.parse() {
        Ok((entry, hashes)) => {
            assert!(hashes.len() <= 128, "{} hashes", hashes.len());
            if let Ok((_, head)) = entry.check(&PUBLIC_LOG_KEY) {
                assert!(entry.index < head.size());
            }
        }
        Err(e) => refused(&e),
    }
}

/// A leaf: there is one spelling of each.
pub fn access_log_leaf(data: &[u8]) {
    match Leaf::from_bytes(data) {
        Ok(leaf) => assert_eq!(leaf.to_bytes().as_deref(), Ok(data)),
        Err(e) => refused(&e),
    }
}

/// The entries file: what is read is byte for byte what would be written.
pub fn access_log_entries(data: &[u8]) {
    let mut reader = match RecordReader::new(data) {
        Ok(reader) => reader,
        Err(e) => return refused(&e),
    };
    let mut written = HEADER.to_vec();
    loop {
        match reader.next_record() {
            Ok(Some(record)) => record.write_to(&mut written).expect("what was read is written"),
            Ok(None) => {
                assert_eq!(written, data);
                break;
            }
            Err(e) => {
                refused(&e);
                break;
            }
        }
    }
    assert!(data.starts_with(&written));
}

/// A proof of one entry: there is one spelling of each, and what holds is in the log.
pub fn access_log_proof(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let proof = match EntryProof::parse(text) {
        Ok(proof) => proof,
        Err(e) => return refused(&e),
    };
    assert_eq!(proof.to_text(), text);
    match proof.check(&PUBLIC_LOG_KEY) {
        Ok((leaf, head)) => {
            assert_eq!(leaf.to_bytes().as_ref(), Ok(&proof.leaf));
            assert!(proof.index < head.size());
        }
        Err(e) => refused(&e),
    }
}

/// A checkpoint: one that is accepted is kept as it came and is read again.
pub fn checkpoint(data: &[u8]) {
    match Checkpoint::parse(data, &PUBLIC_LOG_KEY) {
        Ok(head) => {
            assert_eq!(head.note().as_bytes(), data);
            assert_eq!(Checkpoint::parse(head.note().as_bytes(), &PUBLIC_LOG_KEY), Ok(head));
        }
        Err(e) => refused(&e),
    }
}

/// What a witness is asked: there is one spelling of each request, and a checkpoint that holds is of
/// the log that its first line names.
pub fn witness_request(data: &[u8]) {
    let request = match AddCheckpoint::parse(data) {
        Ok(request) => request,
        Err(e) => return refused(&e),
    };
    assert_eq!(request.to_text().as_bytes(), data);
    match Checkpoint::parse(request.checkpoint.as_bytes(), &PUBLIC_LOG_KEY) {
        Ok(head) => {
            assert_eq!(request.origin(), PUBLIC_LOG_KEY.name());
            if let Err(e) = request.check(head.root(), &head) {
                refused(&e);
            }
        }
        Err(e) => refused(&e),
    }
}

/// A log's public or private key: there is one spelling of each public one.
pub fn log_key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<LogPublicKey>() {
        Ok(key) => assert_eq!(key.to_string(), text),
        Err(e) => refused(&e),
    }
    if let Ok(key) = LogKey::decode(text) {
        assert_eq!(key.public().to_string().parse().as_ref(), Ok(key.public()));
    }
}
