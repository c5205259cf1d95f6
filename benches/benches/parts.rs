//! What the parts cost: `cargo bench -p temoin-benches --bench parts`.
//!
//! Samples are few, so that all of it takes a minute; the whole line is measured by `temoin-bench`.

#![expect(clippy::unwrap_used, reason = "a part that cannot be set up has no figure")]

use std::{hint::black_box, time::Duration};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use temoin_access_log::{AccessLog, Action, Leaf, PersonSalt};
use temoin_agent_core::{
    config::CoreConfig,
    drive::{Drive, Input},
    gop_ring::{self, GopRing, RingLimits, Tail},
    policy::PrivacyState,
};
use temoin_hw::{
    Replay, ReplayItem, ReplayOptions,
    pace::{Speed, StopToken},
    replay,
    sim::Script,
    video_file::PictureSize,
};
use temoin_media::{
    burn_in::{Label, ViewMark},
    fmp4::{Units, Writer},
    frame::I420Picture,
    h264::{AccessUnit, Encoder, EncoderConfig, StreamConfig},
};
use temoin_proto::{
    ids::{ClipId, EventId, UserId, ViewId},
    samples::CameraId,
    sealed::{ClipKey, TrackCipher, TrackName, open_all},
    time::{MonoTime, WallTime},
};
use temoin_server::{
    authz::{Asker, Authz, EventAct, EventFacts, Purpose, Role},
    db::users::User,
};

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;
const NOW_MS: i64 = 1_795_269_802_000;

fn sealing(c: &mut Criterion) {
    let plain = vec![0x5a; 1 << 20];
    let cipher =
        TrackCipher::new(&ClipKey::generate().unwrap(), ClipId::new(), TrackName::Road).unwrap();
    let sealed = cipher.seal(&plain).unwrap();
    let mut group = c.benchmark_group("track of 1 MiB");
    group.throughput(Throughput::Bytes(1 << 20));
    group.bench_function("seal", |b| b.iter(|| cipher.seal(black_box(&plain)).unwrap()));
    group.bench_function("open", |b| b.iter(|| open_all(&cipher, black_box(&sealed)).unwrap()));
    group.finish();
}

/// A minute of one camera: 15 pictures a second, a key picture each second, 2 Mbit/s.
fn minute() -> Vec<gop_ring::AccessUnit> {
    let data = Bytes::from(vec![7; 16_000]);
    (0..900_u64)
        .map(|n| gop_ring::AccessUnit {
            video: CameraId::Road.into(),
            at: MonoTime::from_ns(n * 66_666_667),
            key: n.is_multiple_of(15),
            data: data.clone(),
        })
        .collect()
}

fn ring(c: &mut Criterion) {
    let units = minute();
    let limits = RingLimits { span: Duration::from_secs(30), camera_bytes: 64 << 20 };
    let mut full = GopRing::new(limits);
    for unit in &units {
        full.push(unit.clone()).unwrap();
    }
    let mut group = c.benchmark_group("ring");
    group.throughput(Throughput::Elements(900));
    group.bench_function("push a minute", |b| {
        b.iter_batched(
            || (GopRing::new(limits), units.clone()),
            |(mut ring, units)| {
                for unit in units {
                    ring.push(unit).unwrap();
                }
                ring
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
    let (from, to) = (MonoTime::from_secs_f64(40.0), MonoTime::from_secs_f64(55.0));
    c.bench_function("ring/range of 15 s", |b| {
        b.iter(|| full.range(CameraId::Road, black_box(from), black_box(to), Tail::Closed));
    });
}

/// Every input of the scripted drive's 75 s but its pictures.
fn scripted_inputs() -> Vec<(MonoTime, Input)> {
    let options = ReplayOptions {
        speed: Speed::Max,
        size: PictureSize { width: 32, height: 32, fps: 10 },
        stop: StopToken::new(),
    };
    let drive = Replay::simulated(Script::demo(), &options).unwrap();
    let script = drive.script().unwrap();
    drive
        .filter_map(|item| match item.unwrap() {
            ReplayItem::Signal(signal) => Some((signal.at(), Input::Signal(signal))),
            ReplayItem::Frame(frame) => (frame.camera == CameraId::Cabin)
                .then(|| (frame.at, Input::Driver(script.observation(frame.at, replay::ZERO)))),
        })
        .collect()
}

fn core(c: &mut Criterion) {
    let inputs = scripted_inputs();
    let mut group = c.benchmark_group("core");
    group.throughput(Throughput::Elements(u64::try_from(inputs.len()).unwrap()));
    group.bench_function("75 s of signals and observations", |b| {
        b.iter_batched(
            || inputs.clone(),
            |inputs| {
                let mut drive = Drive::new(CoreConfig::for_recordings(), PrivacyState::Recording);
                let mut out = Vec::new();
                for (at, input) in inputs {
                    drive.step(at, input, &mut out);
                    black_box(out.drain(..).count());
                }
                drive
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// Ten seconds of a moving slope, coded.
fn coded() -> (StreamConfig, Vec<AccessUnit>) {
    let mut encoder = Encoder::new(EncoderConfig::new(WIDTH, HEIGHT, 15)).unwrap();
    let mut units = Vec::new();
    for n in 0..150_u64 {
        let mut picture = I420Picture::black(WIDTH, HEIGHT).unwrap();
        for (y, row) in (0_u64..).zip(picture.planes_mut().y.chunks_exact_mut(1280)) {
            for (x, pixel) in (0_u64..).zip(row) {
                *pixel = u8::try_from((x / 5 + y / 3 + 4 * n) % 200 + 20).unwrap();
            }
        }
        encoder.push(picture, MonoTime::from_ns(n * 66_666_667)).unwrap();
        units.extend(encoder.next_within(Duration::from_secs(10)).unwrap());
    }
    let stream = encoder.stream().unwrap().as_ref().clone();
    units.extend(encoder.finish().unwrap());
    (stream, units)
}

fn write(stream: &StreamConfig, units: &[AccessUnit]) -> Vec<u8> {
    let end = MonoTime::from_secs_f64(10.0);
    let mut writer = Writer::new(stream.clone(), MonoTime::ZERO);
    let mut file = writer.init(Some(Duration::from_secs(10))).unwrap().to_vec();
    let mut rest = units.chunks(15).peekable();
    while let Some(gop) = rest.next() {
        let end = rest.peek().and_then(|next| next.first()).map_or(end, |next| next.at);
        file.extend_from_slice(&writer.fragment(gop, end).unwrap());
    }
    file
}

fn fmp4(c: &mut Criterion) {
    let (stream, units) = coded();
    let file = write(&stream, &units);
    let mut group = c.benchmark_group("fragmented MP4 of 10 s");
    group.throughput(Throughput::Bytes(u64::try_from(file.len()).unwrap()));
    group.bench_function("write", |b| b.iter(|| write(&stream, black_box(&units))));
    group.bench_function("read", |b| b.iter(|| Units::read(black_box(&file)).unwrap()));
    group.finish();
}

fn access_log(c: &mut Criterion) {
    // Where the build lies: a folder in memory would show nothing.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = AccessLog::create(&folder.path().join("log"), "bench/access-log").unwrap();
    let salt = PersonSalt::generate().unwrap();
    c.bench_function("access log/append, durable", |b| {
        b.iter_batched(
            || {
                let mut leaf = Leaf::new(NOW_MS, Action::VIEW);
                leaf.view = Some(ViewId::new());
                leaf.clip = Some(ClipId::new());
                leaf.event = Some(EventId::new());
                leaf.actor = Some(salt.tag(UserId::new()));
                leaf
            },
            |leaf| log.append(leaf).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

fn decisions(c: &mut Criterion) {
    let authz = Authz::load().unwrap();
    let user = User {
        id: UserId::new(),
        login: "kai".to_owned(),
        name: "Kai Lindner".to_owned(),
        short_name: "K. Lindner".to_owned(),
        role: Role::Dispatcher,
        depot: Some("north".to_owned()),
        manager: None,
        disabled: false,
    };
    let dispatcher = Asker { user, grants: Vec::new(), now_ms: NOW_MS };
    let event = EventFacts {
        id: EventId::new(),
        unit: None,
        depot: "north".to_owned(),
        start_ms: NOW_MS - 60_000,
        driver: Some(UserId::new()),
        manager: None,
        driver_depot: Some("north".to_owned()),
    };
    let permit = authz.permit(&dispatcher, &event, Purpose::Triage).unwrap();
    assert!(permit.any_picture(), "a decision that permits is to be measured: {permit:?}");
    c.bench_function("decision/see an event", |b| {
        b.iter(|| authz.event(&dispatcher, EventAct::See, black_box(&event)).unwrap());
    });
    c.bench_function("decision/open a view", |b| {
        b.iter(|| authz.permit(&dispatcher, black_box(&event), Purpose::Triage).unwrap());
    });
}

fn marks(c: &mut Criterion) {
    temoin_media::limit_opencv_threads(1).unwrap();
    let mut picture = I420Picture::black(WIDTH, HEIGHT).unwrap();
    let mut label = Label::default();
    c.bench_function("burn-in/label", |b| {
        b.iter(|| label.draw(&mut picture, "van-12  2026-11-21T14:03:22Z  87 km/h").unwrap());
    });
    let mut n = 0;
    c.bench_function("burn-in/label, new text", |b| {
        b.iter(|| {
            n += 1;
            label.draw(&mut picture, &format!("van-12  2026-11-21T14:03:22Z  {n} km/h")).unwrap();
        });
    });
    let began = WallTime { unix_ms: NOW_MS, uncertainty_ms: 5 };
    let mark = ViewMark::new(&ViewId::new(), "K. Lindner", began, WIDTH, HEIGHT).unwrap();
    c.bench_function("burn-in/mark of a view", |b| {
        b.iter(|| mark.draw(&mut picture, black_box(Duration::from_secs(7)), &[]));
    });
}

criterion_group! {
    name = parts;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = sealing, ring, core, fmp4, access_log, decisions, marks
}
criterion_main!(parts);
