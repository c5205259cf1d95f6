//! Leaks from end to end: recorded, viewed, leaked, traced. The decoder's program must be built.

use std::process::Command;

use futures::StreamExt as _;
use temoin_media::{
    fmp4::Writer,
    frame::I420Picture,
    h264::{Encoder, EncoderConfig},
    watermark::{
        Embedder,
        fingerprint::{Fingerprint, LOOK_EVERY_MS, Shape, look},
    },
};
use temoin_proto::{
    convert::EventRecord,
    mark::MarkKey,
    time::MonoTime,
    wire::{ClipSignals, UnitMark},
};

use super::{file::Incoming, report::Verdict, *};
use crate::{
    authz::Role,
    test_fleet::{START_MS, TestFleet, TestUnit, event_at},
    view::Opening,
};

const SIZE: (u32, u32) = (640, 360);
const FPS: u64 = 15;
/// As long as the units' own clips are here.
const PICTURES: u64 = 90;
const UNIT_KEY: [u8; 32] = [5; 32];
const UNIT_BEGIN: Duration = Duration::from_secs(100);

/// A made-up scene: shapes of all sizes over a ground with texture, each with a way of its own.
fn picture(scene: u64, n: u64) -> I420Picture {
    let (width, height) = (i64::from(SIZE.0), i64::from(SIZE.1));
    let mut state = scene.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = |most: i64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        i64::try_from(state % u64::try_from(most).unwrap()).unwrap()
    };
    let mut picture = I420Picture::black(SIZE.0, SIZE.1).unwrap();
    let luma = &mut picture.planes_mut().y;
    let (a, b) = (7 + next(9), 5 + next(7));
    for (i, y) in (0_i64..).zip(luma.iter_mut()) {
        let (x, row) = (i % width, i / width);
        *y = u8::try_from(90 + (x * a / 16 + row * b / 16) % 24 + (x / 9 * row / 7) % 13).unwrap();
    }
    for _ in 0..70 {
        let (x, y, side) = (next(width), next(height), 6 + next(46));
        let (dx, dy) = (next(7) - 3, next(5) - 2);
        let shade = u8::try_from(25 + next(205)).unwrap();
        let (left, top) =
            (x + dx * i64::try_from(n).unwrap() / 3, y + dy * i64::try_from(n).unwrap() / 3);
        for row in top.max(0)..(top + side).min(height) {
            for column in left.max(0)..(left + side * 3 / 2).min(width) {
                luma[usize::try_from(row * width + column).unwrap()] = shade;
            }
        }
    }
    picture
}

const fn at(n: u64) -> MonoTime {
    MonoTime::from_ns(n * 1_000_000_000 / FPS)
}

/// What a unit records of it, with its own mark.
fn recording(scene: u64) -> (Vec<u8>, Fingerprint) {
    let mut encoder = Encoder::new(EncoderConfig::new(SIZE.0, SIZE.1, 15)).unwrap();
    let mut mark = Embedder::new(&MarkKey::from_bytes(UNIT_KEY), TrackName::Road, SIZE.0, SIZE.1);
    let mut looks = Vec::new();
    let (mut units, mut last_look) = (Vec::new(), None);
    for n in 0..PICTURES {
        let mut picture = picture(scene, n);
        let at_ms = u32::try_from(n * 1000 / FPS).unwrap();
        if last_look.is_none_or(|last| at_ms - last >= LOOK_EVERY_MS) {
            looks.push(look(&picture.view(), at_ms).unwrap());
            last_look = Some(at_ms);
        }
        mark.mark(&mut picture, at(n).since(MonoTime::ZERO) + UNIT_BEGIN);
        encoder.push(picture, at(n)).unwrap();
        while let Some(unit) = encoder.try_next().unwrap() {
            units.push(unit);
        }
    }
    let stream = encoder.stream().unwrap().as_ref().clone();
    units.extend(encoder.finish().unwrap());
    let mut writer = Writer::new(stream, MonoTime::ZERO);
    let mut file = writer.init(Some(at(PICTURES).since(MonoTime::ZERO))).unwrap().to_vec();
    file.extend_from_slice(&writer.fragment(&units, at(PICTURES)).unwrap());
    let shape = Shape::of(SIZE.0, SIZE.1).unwrap();
    (file, Fingerprint { track: TrackName::Road, shape, looks })
}

async fn delivered(van: &mut TestUnit, scene: u64) -> EventRecord {
    use prost::Message as _;
    let begin = i64::try_from(scene).unwrap() * 60_000;
    let event = event_at(START_MS + begin);
    let (video, fingerprint) = recording(scene);
    let signals = ClipSignals {
        unit_mark: Some(UnitMark {
            key: UNIT_KEY.to_vec().into(),
            begin_ns: u64::try_from(UNIT_BEGIN.as_nanos()).unwrap(),
        }),
        ..ClipSignals::default()
    };
    let tracks = [(TrackName::Road, video), (TrackName::Signals, signals.encode_to_vec())];
    let clip = van.clip_with(&event, &tracks, &[fingerprint.to_bytes().unwrap().into()]);
    van.deliver(&event, &clip).await;
    event
}

struct Leaks {
    fleet: TestFleet,
    auditor: User,
    officer: User,
    dispatcher: User,
    driver: User,
    events: Vec<EventRecord>,
    grant: GrantId,
}

impl Leaks {
    /// Three recordings, and an auditor whom the privacy officer lets trace.
    async fn new() -> Self {
        let fleet = TestFleet::new().await;
        let mut van = fleet.unit("van-1", "north").await;
        let driver = fleet.user("ann", Role::Driver, "north").await;
        fleet.app.db().set_shift(&van.id, driver.id, START_MS - 1000).await.unwrap();
        let mut events = Vec::new();
        for scene in 1..4 {
            events.push(delivered(&mut van, scene).await);
        }
        let auditor = fleet.user("aud", Role::Auditor, "north").await;
        let officer = fleet.user("pat", Role::PrivacyOfficer, "north").await;
        let dispatcher = fleet.user("dan", Role::Dispatcher, "north").await;
        let grant = fleet.app.ask_trace(&auditor, "on a video site").await.unwrap();
        fleet.app.decide(&officer, grant, true, "").await.unwrap();
        Self { fleet, auditor, officer, dispatcher, driver, events, grant }
    }

    /// Somebody's view of an event, as their browser got it.
    async fn viewed(&self, who: &User, event: usize) -> (ViewId, Vec<u8>) {
        let app = &self.fleet.app;
        let session = self.fleet.session(who).await;
        let purpose = if who.role == Role::Driver { "own_review" } else { "triage" };
        let id = self.events[event].id;
        let opened = app.open_view(&session, id, purpose, Opening::Watch).await.unwrap();
        let stream = app.stream_track(&session, opened.view_id, TrackName::Road).await.unwrap();
        let (mut stream, mut bytes) = (stream.stream, Vec::new());
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        (opened.view_id, bytes)
    }

    async fn traced(&self, bytes: &[u8], event: Option<EventId>) -> TraceShown {
        let id = self.fleet.app.begin_trace(&self.auditor, held(bytes), event).await.unwrap();
        self.ended(id).await
    }

    async fn ended(&self, id: TraceId) -> TraceShown {
        let ended = async {
            loop {
                let shown = self.fleet.app.trace_shown(&self.auditor, id).await.unwrap();
                if !matches!(shown.state, TraceState::Runs(_)) {
                    return shown;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(240), ended).await.unwrap()
    }
}

fn held(bytes: &[u8]) -> LeakFile {
    let mut incoming = Incoming::new().unwrap();
    incoming.push(bytes).unwrap();
    incoming.finish().unwrap()
}

fn report(shown: &TraceShown) -> &report::TraceReport {
    let TraceState::Ended(report) = &shown.state else { panic!("{:?}", shown.state) };
    report
}

/// What a site makes of it: cut, mirrored, smaller, and coded anew.
fn reposted(bytes: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("a.mp4"), folder.path().join("b.mp4"));
    std::fs::write(&from, bytes).unwrap();
    let done = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&from)
        .args(["-ss", "1", "-t", "3", "-vf", "hflip,crop=iw*0.8:ih*0.9,scale=480:-2,fps=12"])
        .args(["-c:v", "libx264", "-b:v", "500k", "-pix_fmt", "yuv420p"])
        .arg(&to)
        .status()
        .unwrap();
    assert!(done.success(), "ffmpeg is installed by `scripts/setup.sh test`");
    std::fs::read(&to).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaked_view_is_named_and_no_other() {
    let leaks = Leaks::new().await;
    let app = &leaks.fleet.app;
    let second = leaks.fleet.user("dee", Role::Dispatcher, "north").await;
    leaks.viewed(&leaks.driver, 1).await;
    let (guilty, bytes) = leaks.viewed(&leaks.dispatcher, 1).await;
    leaks.viewed(&second, 1).await;
    leaks.viewed(&second, 2).await;
    let before = app.log().len();

    let leak = reposted(&bytes);
    let shown = leaks.traced(&leak, None).await;
    let report = report(&shown);
    let Verdict::Views(named) = &report.verdict else { panic!("{:?}", report.verdict) };
    assert_eq!(named.len(), 1, "{named:?}");
    assert_eq!(named[0].view, guilty.to_string());
    assert_eq!(named[0].viewer, "Name of dan, dispatcher");
    assert_eq!((named[0].purpose.as_str(), named[0].export), ("Triage", false));
    assert!(named[0].p <= 1e-9 && named[0].z > report.threshold_z, "{named:?}");
    assert!(report.others.best.is_none_or(|best| best < 6.0), "{:?}", report.others);
    assert_eq!(report.others.bins.iter().map(|(_, n)| n).sum::<u64>(), 2, "the two other views");
    assert_eq!(report.searched, 3);
    assert_eq!(report.compared[0].event, leaks.events[1].id.to_string());
    assert!(report.compared[0].ways[0].mirrored);
    assert!(!report.pictures.is_empty() && report.pictures.len() <= 3);
    assert_eq!(report.decided_by, "Name of pat");

    // That the file came is in the log, and each recording that it was compared with, for its driver.
    assert_eq!(app.log().len(), before + 1 + u64::try_from(report.compared.len()).unwrap());
    let feed = app.access_log(&leaks.driver, None).await.unwrap();
    let told = feed.rows.iter().find(|row| row.action == Action::TRACE).unwrap();
    assert_eq!(told.who.as_deref(), Some("Name of aud"));
    assert_eq!(told.event, Some(leaks.events[1].id));
    // Who may know: the auditor and the second person, and nobody else.
    assert!(app.trace_shown(&leaks.officer, shown.id).await.is_ok());
    for other in [&leaks.dispatcher, &leaks.driver] {
        let refused = app.trace_shown(other, shown.id).await;
        assert!(matches!(refused, Err(AppError::NotFound)));
        assert!(app.traces_shown(other).await.unwrap().is_empty());
    }
    // On the command line, under the same grant.
    let config = leaks.fleet.config.clone();
    let serving = tokio::spawn(socket::serve(app.clone()));
    let wanted = socket::Ask { grant: leaks.grant, event: Some(leaks.events[1].id) };
    let path = config.trace_socket();
    while !path.exists() {
        tokio::task::yield_now().await;
    }
    let told = std::cell::RefCell::new(Vec::new());
    let says = |step: &str| told.borrow_mut().push(step.to_owned());
    let reports = socket::ask(&path, &wanted, leak.as_slice(), says).await.unwrap();
    assert!(reports.sentence.contains(&guilty.to_string()), "{}", reports.sentence);
    assert!(!reports.html.is_empty() && reports.pdf.starts_with(b"%PDF-"));
    assert!(!told.borrow().is_empty());
    let of_nobody = socket::Ask { grant: GrantId::new(), event: None };
    let refused = socket::ask(&path, &of_nobody, leak.as_slice(), |_| {}).await.unwrap_err();
    assert_eq!(refused.to_string(), "There is no such grant.");
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_recordings_of_the_same_moment_the_view_is_of_either() {
    let mut leaks = Leaks::new().await;
    let mut other_van = leaks.fleet.unit("van-2", "north").await;
    leaks.events.push(delivered(&mut other_van, 1).await);
    // Whichever of the two is compared first, one of these leaks is of the other.
    for event in [0, 3] {
        let (guilty, bytes) = leaks.viewed(&leaks.dispatcher, event).await;
        let shown = leaks.traced(&reposted(&bytes), None).await;
        let Verdict::Views(named) = &report(&shown).verdict else {
            panic!("{event}: {:?}", report(&shown))
        };
        let views: Vec<_> = named.iter().map(|named| named.view.as_str()).collect();
        assert_eq!(views, [guilty.to_string()], "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_nobody_viewed_is_told_from_one_that_somebody_did() {
    let leaks = Leaks::new().await;
    leaks.viewed(&leaks.dispatcher, 0).await;
    // As from the storage of somebody who has the key, or from the unit before it was sealed.
    let (stolen, _) = recording(1);
    let shown = leaks.traced(&reposted(&stolen), None).await;
    let report = report(&shown);
    let Verdict::NoneOfItsViews { unit, event, p, .. } = &report.verdict else {
        panic!("{:?}", report.verdict)
    };
    assert_eq!((unit.as_str(), event), ("van-1", &leaks.events[0].id.to_string()));
    assert!(*p <= 1e-9);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_of_the_fleet_gets_no_verdict() {
    let leaks = Leaks::new().await;
    leaks.viewed(&leaks.dispatcher, 0).await;
    let foreign = reposted(&recording(77).0);
    let shown = leaks.traced(&foreign, None).await;
    let said = report(&shown);
    assert_eq!((&said.verdict, said.compared.len(), said.looks), (&Verdict::None, 0, 0));
    // Also where somebody says that it is of an event.
    let shown = leaks.traced(&foreign, Some(leaks.events[0].id)).await;
    let said = report(&shown);
    assert_eq!(said.verdict, Verdict::None, "{said:?}");
    assert_eq!(said.searched, 1, "no other was searched");
    // And what is no video at all.
    for (name, bytes) in [("a zip", b"PK\x03\x04 and so on".as_slice()), ("noise", &[7; 5000])] {
        let shown = leaks.traced(bytes, None).await;
        let TraceState::Failed(why) = &shown.state else { panic!("{name}: {:?}", shown.state) };
        assert!(!why.is_empty(), "{name}");
    }
    let unknown = leaks.traced(&foreign, Some(EventId::new())).await;
    assert!(matches!(unknown.state, TraceState::Failed(_)), "{:?}", unknown.state);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_traces_without_a_second_person() {
    let leaks = Leaks::new().await;
    let app = &leaks.fleet.app;
    let file = || held(b"a file");
    for other in [&leaks.dispatcher, &leaks.driver, &leaks.officer] {
        assert!(matches!(app.ask_trace(other, "why").await, Err(AppError::NotFound)));
        let refused = app.begin_trace(other, file(), None).await;
        assert!(matches!(refused, Err(AppError::NotFound)), "{refused:?}");
    }
    let alone = leaks.fleet.user("ada", Role::Auditor, "north").await;
    let refused = app.begin_trace(&alone, file(), None).await;
    assert!(matches!(refused, Err(AppError::Refused(_))), "{refused:?}");
    let asked = app.ask_trace(&alone, "why").await.unwrap();
    let refused = app.begin_trace(&alone, file(), None).await;
    assert!(matches!(refused, Err(AppError::Refused(_))), "{refused:?}");
    let refused = app.decide(&leaks.auditor, asked, true, "").await;
    assert!(matches!(refused, Err(AppError::Refused(_))), "one auditor for another: {refused:?}");
    // It ends with its time, and can be given back.
    app.end(&leaks.auditor, leaks.grant).await.unwrap();
    let refused = app.begin_trace(&leaks.auditor, file(), None).await;
    assert!(matches!(refused, Err(AppError::Refused(_))), "{refused:?}");
    let refused = app.begin_trace_under(leaks.grant, file(), None).await;
    assert!(matches!(refused, Err(AppError::Refused(_))), "{refused:?}");
    assert!(app.db().traces(10).await.unwrap().is_empty());
}

/// How many fingerprints there are, whoever may see them.
async fn kept(fleet: &TestFleet) -> i64 {
    use sqlx::Row as _;
    let path = format!("sqlite://{}", fleet.config.database().display());
    let pool = sqlx::SqlitePool::connect(&path).await.unwrap();
    let row = sqlx::query("SELECT count(*) AS n FROM fingerprints").fetch_one(&pool).await.unwrap();
    row.get("n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_recording_has_no_fingerprint() {
    let leaks = Leaks::new().await;
    let app = &leaks.fleet.app;
    let prints = app.db().fingerprints(None, None, 10).await.unwrap();
    assert_eq!(prints.len(), 3);
    // One by one, too.
    let first = (prints[0].clip, prints[0].track);
    assert_eq!(app.db().fingerprints(None, Some(first), 1).await.unwrap(), prints[1..2]);
    assert_eq!(app.db().fingerprints(Some(prints[2].clip), None, 10).await.unwrap(), prints[2..]);
    leaks.fleet.pass(Duration::from_secs(400 * 24 * 3600));
    assert_eq!(kept(&leaks.fleet).await, 3);
    assert_eq!(app.delete_due().await.unwrap(), 3);
    assert!(app.db().fingerprints(None, None, 10).await.unwrap().is_empty());
    assert_eq!(kept(&leaks.fleet).await, 0, "not only hidden");
}
