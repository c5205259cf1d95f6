//! Views with and without the witnesses' word, and the published log.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, State},
    http::{Request, StatusCode, header},
    routing::post,
};
use temoin_access_log::{AddCheckpoint, Checkpoint, LogPublicKey, WitnessKey, tree};
use tower::ServiceExt as _;

use crate::{
    config::WitnessAt,
    error::AppError,
    portal,
    test_fleet::{Scene, scene},
    view::Opening,
};

/// A witness that does what the test says.
#[derive(Clone)]
pub(crate) struct Fake {
    key: Arc<WitnessKey>,
    /// What it answers; 200 is an honest judgement.
    status: Arc<AtomicU64>,
    /// What it says as the time, seconds.
    time_s: Arc<AtomicU64>,
    seen: Arc<Mutex<Option<Checkpoint>>>,
    log: LogPublicKey,
}

impl Fake {
    /// Says from now on that this is not the log that it cosigned.
    pub(crate) fn contradict(&self) {
        self.status.store(422, Ordering::Relaxed);
    }
}

async fn judge(State(fake): State<Fake>, body: String) -> (StatusCode, String) {
    let told = fake.status.load(Ordering::Relaxed);
    if told != 200 {
        return (StatusCode::from_u16(told.try_into().unwrap()).unwrap(), "said\n".to_owned());
    }
    let request = AddCheckpoint::parse(body.as_bytes()).unwrap();
    let head = Checkpoint::parse(request.checkpoint.as_bytes(), &fake.log).unwrap();
    let mut seen = fake.seen.lock().unwrap();
    let size = seen.as_ref().map_or(0, Checkpoint::size);
    if request.old != size {
        return (StatusCode::CONFLICT, format!("{size}\n"));
    }
    let root = seen.as_ref().map_or(tree::Tree::default().root().unwrap(), Checkpoint::root);
    if request.check(root, &head).is_err() {
        return (StatusCode::UNPROCESSABLE_ENTITY, "no\n".to_owned());
    }
    let line = fake.key.cosign(&head, fake.time_s.load(Ordering::Relaxed)).unwrap();
    *seen = Some(head);
    (StatusCode::OK, line)
}

/// A scene whose log has so many witnesses, and of which so many must sign.
pub(crate) async fn witnessed(count: usize, quorum: usize) -> (Scene, Vec<Fake>) {
    let mut s = scene().await;
    let mut fakes = Vec::new();
    for i in 0..count {
        let fake = Fake {
            key: Arc::new(WitnessKey::generate(&format!("w.example/{i}")).unwrap().0),
            status: Arc::new(AtomicU64::new(200)),
            time_s: Arc::new(AtomicU64::new(now_s(&s))),
            seen: Arc::default(),
            log: s.fleet.app.log().public_key().clone(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        s.fleet.config.witnesses.push(WitnessAt {
            name: format!("w{i}"),
            key: fake.key.public().to_string(),
            url: format!("http://{}/", listener.local_addr().unwrap()),
            ca: None,
        });
        let router = Router::new().route("/add-checkpoint", post(judge)).with_state(fake.clone());
        tokio::spawn(async move { axum_serve(listener, router).await });
        fakes.push(fake);
    }
    s.fleet.config.log_rules.quorum = quorum;
    (restart(s).await, fakes)
}

/// As `axum::serve`, which this build does not have.
async fn axum_serve(listener: tokio::net::TcpListener, router: Router) {
    while let Ok((tcp, _)) = listener.accept().await {
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let builder =
                hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
            drop(builder.serve_connection(hyper_util::rt::TokioIo::new(tcp), service).await);
        });
    }
}

fn now_s(s: &Scene) -> u64 {
    u64::try_from(s.fleet.app.now_ms() / 1000).unwrap()
}

async fn restart(s: Scene) -> Scene {
    Scene { fleet: s.fleet.restart().await, ..s }
}

pub(crate) async fn round(s: &Scene) {
    // The pause behind a failure is real time; a test does not wait for it.
    for standing in &mut s.fleet.app.witnesses().state().standings {
        standing.again = None;
    }
    s.fleet.app.witnesses().round(s.fleet.app.log(), s.fleet.app.now_ms()).await;
}

/// Opens a view and, with an earlier one, its stream.
async fn view(s: &Scene) -> Result<temoin_proto::ids::ViewId, AppError> {
    let session = s.fleet.session(&s.manager).await;
    let opened = s.fleet.app.open_view(&session, s.event.id, "coaching", Opening::Watch).await?;
    s.fleet.app.view_signals(&session, opened.view_id).await.map(|_| opened.view_id)
}

fn refused<T: std::fmt::Debug>(result: Result<T, AppError>) -> &'static str {
    match result {
        Err(error @ AppError::Unwitnessed(text)) => {
            assert_eq!(error.status(), 503);
            text
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_view_needs_a_head_that_was_cosigned_in_time() {
    let (s, fakes) = witnessed(1, 1).await;
    let entries = s.fleet.app.log().len();
    assert!(refused(view(&s).await).contains("no witness has signed"));
    assert_eq!(get(&s, "/healthz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&s, "/log/checkpoint").await.0, StatusCode::SERVICE_UNAVAILABLE);
    round(&s).await;
    view(&s).await.unwrap();
    assert_eq!(get(&s, "/healthz").await.0, StatusCode::OK);
    assert!(s.fleet.app.log().len() > entries);

    // The witness is gone: a restart is not blind, but the time runs.
    fakes[0].status.store(500, Ordering::Relaxed);
    let s = restart(s).await;
    view(&s).await.unwrap();
    s.fleet.pass(Duration::from_secs(24 * 3600 - 60));
    round(&s).await;
    let session = s.fleet.session(&s.manager).await;
    let opened = s.fleet.app.open_view(&session, s.event.id, "coaching", Opening::Watch).await;
    let opened = opened.unwrap().view_id;
    s.fleet.app.view_signals(&session, opened).await.unwrap();
    s.fleet.pass(Duration::from_secs(70));
    round(&s).await;
    refused(view(&s).await);
    // Of a view that was opened before nothing more comes either.
    refused(s.fleet.app.view_signals(&session, opened).await);
    // Who tried is in the log, as after any refusal.
    let logged = s.fleet.app.db().acts(&crate::db::acts::ActScope::default(), 1).await.unwrap();
    assert_eq!(logged[0].act.action, temoin_access_log::Action::VIEW_REFUSED);
    assert_eq!(logged[0].act.event, Some(s.event.id));

    // It is back.
    fakes[0].status.store(200, Ordering::Relaxed);
    fakes[0].time_s.store(now_s(&s), Ordering::Relaxed);
    round(&s).await;
    view(&s).await.unwrap();
    // A head without new entries is shown again before its time is over, and no earlier.
    round(&s).await;
    let before = s.fleet.app.witnesses().cosigned();
    fakes[0].time_s.fetch_add(3700, Ordering::Relaxed);
    round(&s).await;
    assert_eq!(s.fleet.app.witnesses().cosigned(), before);
    s.fleet.pass(Duration::from_secs(3700));
    round(&s).await;
    assert_ne!(s.fleet.app.witnesses().cosigned(), before);
    // A time in the future would be good for ever.
    fakes[0].time_s.fetch_add(1_000_000, Ordering::Relaxed);
    view(&s).await.unwrap();
    round(&s).await;
    refused(view(&s).await);
}

/// One that answers with nonsense, one that does not know the log, one that is down.
#[tokio::test]
async fn what_is_no_cosignature_opens_nothing() {
    for status in [204, 400, 403, 404, 409, 500, 302] {
        let (s, fakes) = witnessed(1, 1).await;
        fakes[0].status.store(status, Ordering::Relaxed);
        round(&s).await;
        assert!(refused(view(&s).await).contains("no witness has signed"), "{status}");
    }
}

#[tokio::test]
async fn a_witness_that_contradicts_stops_views_at_once() {
    let (s, fakes) = witnessed(1, 1).await;
    round(&s).await;
    view(&s).await.unwrap();
    // It has seen another history: of the same size, or a longer one.
    let good = fakes[0].seen.lock().unwrap().clone();
    fakes[0].status.store(422, Ordering::Relaxed);
    round(&s).await;
    assert!(refused(view(&s).await).contains("not the one that it signed before"));
    assert_eq!(get(&s, "/healthz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    // It does not answer any more: that does not take its word back.
    fakes[0].status.store(500, Ordering::Relaxed);
    round(&s).await;
    assert!(refused(view(&s).await).contains("not the one"));
    fakes[0].status.store(200, Ordering::Relaxed);
    *fakes[0].seen.lock().unwrap() = good;
    round(&s).await;
    view(&s).await.unwrap();
}

#[tokio::test]
async fn as_many_as_the_quorum_must_sign_the_same_head() {
    let (s, fakes) = witnessed(3, 2).await;
    for fake in &fakes[1..] {
        fake.status.store(500, Ordering::Relaxed);
    }
    round(&s).await;
    refused(view(&s).await);
    fakes[1].status.store(200, Ordering::Relaxed);
    round(&s).await;
    view(&s).await.unwrap();
    let (_, _, head) = get(&s, "/log/checkpoint").await;
    assert!(head.contains("w.example/0") && head.contains("w.example/1"), "{head}");
    // One of the two turns against it: the third takes its place.
    fakes[1].status.store(422, Ordering::Relaxed);
    round(&s).await;
    refused(view(&s).await);
    fakes[2].status.store(200, Ordering::Relaxed);
    round(&s).await;
    view(&s).await.unwrap();
}

/// The kept head says that the log was put back, also where no witness answers.
#[tokio::test]
async fn a_log_without_what_was_cosigned_is_seen_at_the_start() {
    let (s, fakes) = witnessed(1, 1).await;
    round(&s).await;
    view(&s).await.unwrap();
    fakes[0].status.store(500, Ordering::Relaxed);
    // A head of this log that is longer than the log.
    let key = std::fs::read_to_string(s.fleet.config.log().join("key")).unwrap();
    let key = temoin_access_log::LogKey::decode(key.trim_end()).unwrap();
    let root = tree::leaf_hash(b"x");
    let longer = key.sign(s.fleet.app.log().len() + 1, root).unwrap();
    let line = fakes[0].key.cosign(&longer, now_s(&s)).unwrap();
    let path = s.fleet.config.log().join("cosigned");
    std::fs::write(&path, format!("{}{line}", longer.note())).unwrap();
    let s = restart(s).await;
    assert!(refused(view(&s).await).contains("not the one"));
    // What is no head is asked for anew.
    std::fs::write(&path, "nonsense").unwrap();
    let s = restart(s).await;
    assert!(refused(view(&s).await).contains("no witness has signed"));
    fakes[0].status.store(200, Ordering::Relaxed);
    round(&s).await;
    view(&s).await.unwrap();
}

async fn get(s: &Scene, path: &str) -> (StatusCode, Option<String>, String) {
    let mut request = Request::get(path).header(header::HOST, "portal.test").body(Body::empty());
    let from: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    request.as_mut().unwrap().extensions_mut().insert(ConnectInfo(from));
    let answer = portal::router(s.fleet.app.clone()).oneshot(request.unwrap()).await.unwrap();
    let cache = answer.headers().get(header::CACHE_CONTROL).map(|v| v.to_str().unwrap().to_owned());
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, cache, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn anybody_reads_the_published_log() {
    let s = scene().await;
    for _ in 0..3 {
        view(&s).await.unwrap();
    }
    let app = &s.fleet.app;
    let size = app.log().len();
    let (_, cache, note) = get(&s, "/log/checkpoint").await;
    assert_eq!(cache.as_deref(), Some("no-store"));
    let key: LogPublicKey = get(&s, "/log/key").await.2.trim().parse().unwrap();
    assert_eq!(Checkpoint::parse(note.as_bytes(), &key).unwrap().size(), size);
    for (path, status) in [
        (format!("tile/0/000.p/{size}"), 200),
        (format!("tile/entries/000.p/{size}"), 200),
        (format!("tile/entries/000.p/{}", size - 1), 200),
        (format!("tile/0/000.p/{}", size + 1), 404),
        ("tile/0/000".to_owned(), 404),
        ("tile/1/000.p/1".to_owned(), 404),
        ("tile/0/0".to_owned(), 404),
        ("tile/0/x000/000".to_owned(), 404),
        ("tile/0/000.p/0".to_owned(), 404),
        ("tile/0/000.p/256".to_owned(), 404),
        ("tile/6/000".to_owned(), 404),
        ("tile/0/x999/x999/x999/x999/x999/x999/x999/999".to_owned(), 404),
        ("tile/entries/../../../key".to_owned(), 404),
        (format!("consistency?from=1&to={size}"), 200),
        (format!("consistency?from=1&to={}", size + 1), 404),
        ("consistency?from=2&to=1".to_owned(), 400),
        ("consistency".to_owned(), 400),
    ] {
        assert_eq!(get(&s, &format!("/log/{path}")).await.0.as_u16(), status, "{path}");
    }
    let leaves = (0..256).map(|_| temoin_access_log::Leaf::new(1, "test".parse().unwrap()));
    app.log().inner_for_tests().append_all(leaves.collect()).unwrap();
    for path in ["/log/tile/0/000", "/log/tile/entries/000"] {
        let (status, cache, _) = get(&s, path).await;
        assert_eq!(status, StatusCode::OK);
        assert!(cache.unwrap().contains("immutable"), "{path}");
    }
    assert_eq!(get(&s, "/log/tile/1/000.p/1").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_proof_is_for_whoever_may_see_the_entry() {
    let (s, _fakes) = witnessed(1, 1).await;
    round(&s).await;
    let view = view(&s).await.unwrap();
    round(&s).await;
    let app = &s.fleet.app;
    let index = app.db().view(view).await.unwrap().unwrap().log_index;
    for (user, sees) in [
        (&s.driver, true),
        (&s.manager, true),
        (&s.auditor, true),
        (&s.stranger, false),
        (&s.dispatcher, false),
    ] {
        let proof = app.entry_proof(user, index).await;
        let Ok(text) = proof else {
            assert!(!sees && matches!(proof, Err(AppError::NotFound)), "{}", user.login);
            continue;
        };
        assert!(sees, "{}", user.login);
        let proof = temoin_access_log::EntryProof::parse(&text).unwrap();
        let (leaf, head) = proof.check(app.log().public_key()).unwrap();
        assert_eq!((proof.index, leaf.view), (index, Some(view)));
        assert!(head.note().contains("w.example/0"), "under the cosigned head");
        for nowhere in [app.log().len(), u64::MAX] {
            assert!(matches!(app.entry_proof(user, nowhere).await, Err(AppError::NotFound)));
        }
    }
}
