//! Replays the corpus of every fuzz target, as it is and with small changes, so that `make test`
//! finds again what a fuzzer found once.
//!
//! Seeds that are text are written by hand; the others are made here, and written anew after a
//! change of a format by `TEMOIN_GOLDEN=write cargo test -p temoin-tests --test fuzz_corpus`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test; the lints spare only the functions that are marked as one"
)]

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use temoin_access_log::{
    Action, AddCheckpoint, EntryProof, Leaf, LogKey,
    record::{HEADER, Record},
    tree::{Chunk, Tree, leaf_hash},
};
use temoin_keys::{LogProof, Request, Wrapped};
use temoin_media::{
    fmp4::Writer,
    frame::I420Picture,
    h264::{AccessUnit, StreamConfig},
    leak,
};
use temoin_proto::{
    convert::EventRecord,
    events::{EventKind, Number, Severity},
    ids::{ClipId, CommandId, EventId, ViewId},
    manifest::{Manifest, Track, WrappedKey},
    sealed::{TrackName, sealed_len},
    time::{MonoTime, WallTime},
    wire,
};
use temoin_tests::fuzz_targets::{LOG_KEY, TARGETS, Target, UNIT_KEY};

/// Changed copies of each corpus file. Enough to reach every branch near a seed, little enough
/// for all of them to take seconds: looking for more is what `cargo fuzz` is for.
const CHANGED_COPIES: u64 = 300;
/// Longest corpus in all, bytes: it is in every clone.
const MAX_CORPUS_BYTES: u64 = 200 * 1024;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn names(folder: &str, ending: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz().join(folder)).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter_map(|n| n.strip_suffix(ending).map(str::to_owned)).collect()
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(fuzz().join("corpus").join(target)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|p| (p.clone(), fs::read(p).unwrap())).collect()
}

#[test]
fn every_target_has_a_corpus_and_a_wrapper() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets.len(), TARGETS.len(), "a target twice");
    assert_eq!(names("corpus", ""), targets, "folders in fuzz/corpus");
    assert_eq!(names("fuzz_targets", ".rs"), targets, "files in fuzz/fuzz_targets");
    let manifest: toml::Table =
        fs::read_to_string(fuzz().join("Cargo.toml")).unwrap().parse().unwrap();
    let bins = manifest["bin"].as_array().unwrap().iter();
    let bins: BTreeSet<String> = bins.map(|b| b["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(bins, targets, "[[bin]] in fuzz/Cargo.toml");
    for name in &targets {
        let wrapper =
            fs::read_to_string(fuzz().join("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(wrapper.contains(&format!("fuzz_targets::{name}(data)")), "{name}: {wrapper}");
    }
    let mut all = 0;
    for (name, _) in TARGETS {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "fuzz/corpus/{name} is empty");
        all += corpus.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
    }
    assert!(all <= MAX_CORPUS_BYTES, "{all} bytes of corpus");
}

/// Numbers that look random and are the same in every run (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let roll = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(roll).unwrap() % n
    }

    /// Flips, cuts, doubles, moves and replaces, as a fuzzer does.
    fn change(&mut self, bytes: &mut Vec<u8>) {
        const TELLING: [&[u8]; 10] = [
            b"\0",
            b"\xff",
            b"\x7f\xff\xff\xff",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"-1",
            b"nan",
            b"1e308",
            b"99999999999999999999",
            b"\n",
            "\u{e9}".as_bytes(),
        ];
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len() + 1);
            let to = at + self.below(bytes.len() - at + 1).min(64);
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => bytes.truncate(at),
                2 => drop(bytes.drain(at..to)),
                3 => {
                    let copy = bytes[at..to].to_vec();
                    let into = self.below(bytes.len() + 1);
                    bytes.splice(into..into, copy);
                }
                4 => drop(bytes.splice(at..to, TELLING[self.below(TELLING.len())].to_vec())),
                _ => bytes.insert(at, u8::try_from(self.below(256)).unwrap()),
            }
        }
    }
}

/// What the target says about these bytes; nothing where all holds.
fn broken(target: Target, bytes: &[u8]) -> Option<String> {
    let said = catch_unwind(AssertUnwindSafe(|| target(bytes))).err()?;
    let text = said.downcast_ref::<String>().cloned();
    Some(text.or_else(|| said.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default())
}

#[test]
fn every_corpus_replays() {
    for (name, target) in TARGETS {
        for (path, bytes) in corpus(name) {
            assert_eq!(broken(target, &bytes), None, "{}", path.display());
        }
    }
}

#[test]
fn nothing_near_the_corpus_breaks_a_target() {
    let mut dice = Dice(0x7e30_1a5e_ed00_0001);
    for (name, target) in TARGETS {
        for (path, bytes) in corpus(name) {
            for _ in 0..CHANGED_COPIES {
                let mut changed = bytes.clone();
                dice.change(&mut changed);
                if let Some(said) = broken(target, &changed) {
                    panic!(
                        "{name}, from {}: {said}\nthe bytes: {}",
                        path.display(),
                        changed.escape_ascii()
                    );
                }
            }
        }
    }
}

/// A check that a corpus cannot fail is none: each of these seeds must be accepted, not refused.
#[test]
fn good_seeds_are_accepted() {
    use ring::signature::KeyPair as _;

    let read =
        |target: &str, file: &str| fs::read(fuzz().join("corpus").join(target).join(file)).unwrap();
    let key = LogKey::decode(LOG_KEY).unwrap();
    let signed = wire::SignedManifest::decode(&*read("signed_manifest", "two_tracks")).unwrap();
    Manifest::verify(&signed, UNIT_KEY.public_key().as_ref()).unwrap();
    let proof = String::from_utf8(read("access_log_proof", "entry_5_of_11")).unwrap();
    EntryProof::parse(&proof).unwrap().check(key.public()).unwrap();
    for name in ["unwrap", "destroy"] {
        let request = Request::decode(&read("key_request", name)).unwrap();
        let (Request::Unwrap { proof, .. } | Request::Destroy { proof, .. }) = request else {
            panic!("{name}");
        };
        proof.parse().unwrap().0.check(key.public()).unwrap();
    }
    let head = read("checkpoint", "size_11");
    assert_eq!(temoin_access_log::Checkpoint::parse(&head, key.public()).unwrap().size(), 11);
    temoin_media::fmp4::Units::read(&read("fmp4", "two_gops")).unwrap();
    let looks = temoin_media::watermark::fingerprint::Fingerprint::from_bytes;
    assert_eq!(looks(&read("fingerprint", "upright_cabin")).unwrap().looks.len(), 5);
    let event = wire::Event::decode(&*read("event", "harsh_braking")).unwrap();
    EventRecord::try_from(event).unwrap();
    Leaf::from_bytes(&read("access_log_leaf", "all_fields")).unwrap();
    let path = |target: &str, file: &str| fuzz().join("corpus").join(target).join(file);
    temoin_agent::config::Config::load(&path("agent_toml", "all")).unwrap();
    temoin_agent::identity::Ticket::read(&path("ticket", "good")).map(drop).unwrap();
    temoin_hw::Drive::load(&path("drive_toml", "signals")).unwrap();
    temoin_hw::Drive::load(&path("drive_toml", "video_only")).unwrap();
    temoin_hw::Drive::load(&path("drive_toml", "vehicle")).unwrap();
    let mut receiver = temoin_hw::receiver::Receiver::new();
    read("ubx", "two_fixes").into_iter().for_each(|b| receiver.push(b));
    assert_eq!(std::iter::from_fn(|| receiver.pop()).count(), 2);
    assert!(temoin_hw::ubx::nav_pvt(&read("ubx", "payload")).is_some());
    let mut receiver = temoin_hw::receiver::Receiver::new();
    read("ubx", "without_nav_pvt").into_iter().for_each(|b| receiver.push(b));
    assert_eq!(std::iter::from_fn(|| receiver.pop()).count(), 3);
    let (mut epochs, mut fixes) = (temoin_hw::ubx::Epochs::default(), VecDeque::new());
    let parts = read("ubx", "parts");
    let mut rest = parts.as_slice();
    while let Some(([id, length], after)) = rest.split_first_chunk() {
        let (payload, after) = after.split_at(usize::from(*length));
        epochs.message(*id, payload, &mut fixes);
        rest = after;
    }
    assert_eq!(fixes.len(), 3);
    let session = String::from_utf8(read("gpsd_json", "session")).unwrap();
    assert_eq!(session.lines().filter_map(temoin_hw::gpsd::parse_report).count(), 2);
    let whole = String::from_utf8(read("vehicle_model", "whole")).unwrap();
    let (model, rest) = whole.split_once("\n--\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (van, dbc) = (folder.path().join("van.toml"), folder.path().join("van.dbc"));
    fs::write(&van, model).unwrap();
    fs::write(&dbc, rest.split_once("\n--\n").unwrap().0).unwrap();
    let model = temoin_hw::vehicle::VehicleModel::load(&van, Some(&dbc)).unwrap();
    assert_eq!((model.ids(), model.obd().is_some()), (vec![170, 180, 200], true));
}

fn manifest_seed() -> Manifest {
    let track = |name, plain_len| Track {
        name,
        media_type: "video/mp4; codecs=\"avc1.42C01F\"".to_owned(),
        plain_len,
        sealed_len: sealed_len(plain_len),
        sealed_sha256: [3; 32],
        others_blurred: None,
    };
    Manifest {
        clip: ClipId::from_bytes([1; 16]),
        event: EventId::from_bytes([2; 16]),
        unit: "van-12".parse().unwrap(),
        start: WallTime { unix_ms: 1_700_000_000_000, uncertainty_ms: 20 },
        duration_ms: 15_000,
        event_ms: (10_000, 11_200),
        tracks: vec![track(TrackName::Cabin, 70_000), track(TrackName::Signals, 10)],
        wrapped_key: WrappedKey {
            key_id: "k1".to_owned(),
            encapsulated: vec![4; 32],
            ciphertext: vec![5; 48],
        },
        agent_version: "0.1.0".to_owned(),
        fingerprints: vec![vec![1, 2, 255, 143, 0, 0].into()],
    }
}

fn event_seed(clip: Result<ClipId, String>) -> wire::Event {
    wire::Event::from(&EventRecord {
        id: EventId::from_bytes([2; 16]),
        kind: EventKind::HarshBraking,
        start: WallTime { unix_ms: 1_700_000_010_000, uncertainty_ms: 20 },
        end_unix_ms: 1_700_000_011_200,
        severity: Severity::Medium,
        confidence: 0.9,
        rule: "harsh_braking/1".to_owned(),
        numbers: vec![Number::new("peak", 0.51, "g"), Number::new("threshold", 0.36, "g")],
        clip,
    })
}

fn fmp4_seed(pictures: u64, in_a_gop: usize) -> Vec<u8> {
    let avcc = [
        1, 0x42, 0xc0, 0x1f, 0xff, 0xe1, 0, 4, 0x67, 0x42, 0xc0, 0x1f, 1, 0, 4, 0x68, 0xce, 0x3c,
        0x80,
    ];
    let at = |n: u64| MonoTime::from_ns(n * 66_666_667);
    let units: Vec<AccessUnit> = (0..pictures)
        .map(|n| {
            let key = n % in_a_gop as u64 == 0;
            let slice = [0, 0, 0, 3, if key { 0x65 } else { 0x41 }, 7, u8::try_from(n).unwrap()];
            AccessUnit { at: at(n), key, data: Bytes::copy_from_slice(&slice) }
        })
        .collect();
    let mut writer = Writer::new(StreamConfig::new(640, 360, &avcc).unwrap(), MonoTime::ZERO);
    let mut out = writer.init(Some(Duration::from_secs(2))).unwrap().to_vec();
    for gop in units.chunks(in_a_gop) {
        let end = gop.last().unwrap().at + Duration::from_nanos(66_666_666);
        out.extend(writer.fragment(gop, end).unwrap());
    }
    out
}

fn wire_seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let id = Bytes::copy_from_slice(CommandId::from_bytes([6; 16]).as_bytes());
    let heartbeat = wire::HeartbeatRequest {
        agent_version: "0.1.0".to_owned(),
        unit_unix_ms: 1_700_000_000_000,
        privacy_state: "recording".to_owned(),
        spool_clips: 2,
        spool_bytes: 12_345_678,
        health: vec![wire::HealthItem {
            part: "perception.eyelids".to_owned(),
            state: "degraded".to_owned(),
            text: "no model pack".to_owned(),
        }],
        results: vec![wire::CommandResult {
            command_id: id.clone(),
            done: true,
            text: String::new(),
        }],
        driven: vec![wire::DistanceMark {
            run_id: id.clone(),
            unix_ms: 1_700_000_000_000,
            driven_m: 1234.5,
        }],
    };
    let order = wire::command::Order::SetSpeedLimit(wire::SetSpeedLimit { limit_kmh: Some(80.0) });
    let answer = wire::HeartbeatResponse {
        server_unix_ms: 1_700_000_000_005,
        commands: vec![wire::Command { command_id: id.clone(), order: Some(order) }],
        fleet_key: Some(wire::FleetKey {
            key_id: "k1".to_owned(),
            x25519_public_key: vec![4; 32].into(),
        }),
    };
    let signals = wire::ClipSignals {
        speed: vec![wire::SpeedPoint { offset_ms: -5, mps: 22.5 }],
        acceleration: vec![wire::AccelerationPoint {
            offset_ms: 10,
            longitudinal_g: -0.5,
            lateral_g: 0.1,
        }],
        position: vec![wire::PositionPoint { offset_ms: 0, lat_deg: 54.0, lon_deg: 7.0 }],
        driver_face: vec![wire::FacePoint { offset_ms: 66, x: 0.4, y: 0.2, w: 0.1, h: 0.2 }],
        unit_mark: Some(wire::UnitMark { key: vec![7; 32].into(), begin_ns: 5_000_000_000 }),
    };
    let upload = wire::UploadTrackRequest {
        clip_id: id,
        track: "road".to_owned(),
        offset: 262_144,
        data: vec![0xa5; 40].into(),
    };
    vec![
        ("wire_messages", "heartbeat", heartbeat.encode_to_vec()),
        ("wire_messages", "heartbeat_answer", answer.encode_to_vec()),
        ("wire_messages", "clip_signals", signals.encode_to_vec()),
        ("wire_messages", "upload", upload.encode_to_vec()),
    ]
}

fn leak_seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut whole = Vec::new();
    for ms in [0, 40, 80] {
        let picture = I420Picture::black(16, 8).unwrap();
        leak::write_picture(&mut whole, Duration::from_millis(ms), &picture).unwrap();
    }
    let cut = whole[..whole.len() - 9].to_vec();
    let mut failed = whole.clone();
    leak::write_end(&mut whole, Ok(())).unwrap();
    leak::write_end(&mut failed, Err("the file is cut off after 0.1 s")).unwrap();
    vec![
        ("leak_stream", "three_pictures", whole),
        ("leak_stream", "cut", cut),
        ("leak_stream", "with_an_error", failed),
    ]
}

fn access_log_seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let key = LogKey::decode(LOG_KEY).unwrap();
    let leaf = |at: i64| {
        let mut leaf = Leaf::new(1_790_000_000_000 + at, Action::VIEW);
        leaf.view = Some(ViewId::from_bytes([8; 16]));
        leaf.clip = Some(ClipId::from_bytes([1; 16]));
        leaf.to_bytes().unwrap()
    };
    let mut tree = Tree::default();
    let mut entries = HEADER.to_vec();
    for at in 0..11 {
        tree.push(leaf_hash(&leaf(at))).unwrap();
        Record::new(leaf(at)).write_to(&mut entries).unwrap();
    }
    let head = key.sign(11, tree.root().unwrap()).unwrap();
    let proof = EntryProof {
        index: 5,
        leaf: leaf(5),
        path: tree.with(&[]).inclusion_proof(5, 11).unwrap(),
        checkpoint: head.note().to_owned(),
    };
    let request = |old, proven: bool| {
        let whole = Chunk::new(0, (0..11).map(|at| leaf_hash(&leaf(at))).collect());
        let proof = tree.with(&[whole]).consistency_proof(old, 11).unwrap();
        let proof = if proven { proof } else { Vec::new() };
        let checkpoint = head.note().to_owned();
        AddCheckpoint { old, proof, checkpoint }.to_text().into_bytes()
    };
    let empty = key.sign(0, Tree::default().root().unwrap()).unwrap();
    vec![
        ("access_log_leaf", "view", leaf(0)),
        ("access_log_entries", "eleven", entries.clone()),
        ("access_log_entries", "cut", entries[..entries.len() - 9].to_vec()),
        ("access_log_entries", "none", HEADER.to_vec()),
        ("access_log_proof", "entry_5_of_11", proof.to_text().into_bytes()),
        ("key_request", "unwrap", key_request("unwrap", &proof)),
        ("key_request", "destroy", key_request("destroy", &proof)),
        ("key_request", "marks", key_request("marks", &proof)),
        ("key_request", "rewrap", key_request("rewrap", &proof)),
        ("key_request", "public", key_request("public", &proof)),
        ("checkpoint", "size_11", head.note().as_bytes().to_vec()),
        ("checkpoint", "size_0", empty.note().as_bytes().to_vec()),
        ("witness_request", "from_5_to_11", request(5, true)),
        ("witness_request", "first", request(0, false)),
        ("witness_request", "without_proof", request(5, false)),
        ("log_key", "public", key.public().to_string().into_bytes()),
        ("log_key", "private", LOG_KEY.as_bytes().to_vec()),
    ]
}

fn key_request(name: &str, entry: &EntryProof) -> Vec<u8> {
    let clip = ClipId::from_bytes([1; 16]);
    let wrapped = Wrapped {
        key_id: "0123456789abcdef".to_owned(),
        encapsulated: vec![2; 32],
        ciphertext: vec![3; 48],
    };
    let proof = LogProof::new(entry, 5, &entry.path);
    let request = match name {
        "unwrap" => Request::Unwrap { clip, wrapped, proof },
        "destroy" => Request::Destroy { clip, proof },
        "marks" => Request::Marks { clip, views: vec![ViewId::from_bytes([8; 16]); 2], proof },
        "rewrap" => Request::Rewrap { clip, wrapped },
        _ => Request::Public,
    };
    request.encode().unwrap()
}

/// The binary seeds are those of today's formats; `TEMOIN_GOLDEN=write` writes them anew.
#[test]
fn binary_seeds_are_of_todays_formats() {
    let signed = manifest_seed().sign(&UNIT_KEY);
    let clip = Ok(ClipId::from_bytes([1; 16]));
    let mut foreign = signed.clone();
    foreign.signature = vec![0; 64].into();
    let mut seeds = vec![
        ("event", "harsh_braking", event_seed(clip).encode_to_vec()),
        ("event", "without_clip", event_seed(Err("disk_full".to_owned())).encode_to_vec()),
        ("manifest", "two_tracks", signed.manifest.to_vec()),
        ("signed_manifest", "two_tracks", signed.encode_to_vec()),
        ("signed_manifest", "signature_of_nobody", foreign.encode_to_vec()),
        ("fmp4", "two_gops", fmp4_seed(30, 15)),
        ("fmp4", "one_picture", fmp4_seed(1, 1)),
        ("fmp4", "head_only", fmp4_seed(0, 1)),
        ("fmp4", "cut", fmp4_seed(4, 2).split_last().unwrap().1.to_vec()),
        // Length, place and bits of the change, then what is sealed: see the target.
        ("sealed_track", "one_chunk_flipped", b"\x00\x00\x40\x00\x00\x09\x01temoin".to_vec()),
        ("sealed_track", "two_chunks_flipped", b"\x01\x00\x01\x01\x00\x05\x80road".to_vec()),
        ("sealed_track", "three_chunks_cut", b"\x03\x00\x00\x02\x00\x20\x00cabin".to_vec()),
        ("sealed_track", "empty_track", b"\x00\x00\x00\x00\x00\x00\x01".to_vec()),
        ("sealed_track", "as_a_wrapped_key", (0..80).collect()),
    ];
    seeds.extend(leak_seeds());
    seeds.extend(wire_seeds());
    seeds.extend(access_log_seeds());
    for (target, name, bytes) in seeds {
        let path = fuzz().join("corpus").join(target).join(name);
        if std::env::var_os("TEMOIN_GOLDEN").is_some_and(|v| v == "write") {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "{}: TEMOIN_GOLDEN=write", path.display());
    }
}
