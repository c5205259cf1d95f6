//! The service against a real access log, and over a real socket.

use std::sync::atomic::{AtomicI64, Ordering};

use temoin_access_log::{AccessLog, Action, WitnessKey, cosignature::add_cosignatures};
use temoin_proto::sealed::ClipKey;
use tokio::{io::AsyncWriteExt as _, net::UnixStream};

use super::*;
use crate::message::{MAX_ANSWER_LEN, Wrapped, next_len, read_body, send};
use crate::rules::WitnessRule;

const NOW_MS: i64 = 1_795_176_000_000;

struct Bench {
    service: Option<Service>,
    log: AccessLog,
    now_ms: Arc<AtomicI64>,
    terms: Terms,
    ring: Keyring,
    dir: tempfile::TempDir,
}

fn ring_like(ring: &Keyring, dir: &Path) -> Keyring {
    use crate::guard::{Cost, PassphraseGuard};
    let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
    let guard = PassphraseGuard::new("correct horse battery".to_owned().into(), cost).unwrap();
    let path = dir.join("keyring");
    ring.save(&path, &guard).unwrap();
    Keyring::open(&path, &guard).unwrap()
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = AccessLog::create(&dir.path().join("log"), "test.example/log").unwrap();
        let terms =
            Terms { log_key: log.public_key().clone(), limits: Limits::default(), witnesses: None };
        std::fs::create_dir(dir.path().join("keys")).unwrap();
        Service::create(&dir.path().join("keys")).unwrap();
        let ring = Keyring::new().unwrap();
        let now_ms = Arc::new(AtomicI64::new(NOW_MS));
        let mut bench = Self { service: None, log, now_ms, terms, ring, dir };
        bench.start();
        bench
    }

    fn start(&mut self) {
        self.service = None;
        let folder = self.dir.path().join("keys");
        let now_ms = Arc::clone(&self.now_ms);
        let clock: Clock = Arc::new(move || now_ms.load(Ordering::Relaxed));
        let ring = ring_like(&self.ring, self.dir.path());
        let service = Service::open(&folder, ring, self.terms.clone(), clock).unwrap();
        self.service = Some(service);
    }

    fn ask(&self, request: Request) -> Answer {
        self.service.as_ref().unwrap().handle(request)
    }

    fn seen(&self) -> SeenHead {
        let Answer::Head(head) = self.ask(Request::Head) else { panic!() };
        head
    }

    /// A clip with its key and the key wrapped.
    fn clip(&self) -> (ClipId, ClipKey, Wrapped) {
        let (clip, key) = (ClipId::new(), ClipKey::generate().unwrap());
        let public = self.ring.public();
        let wrapped = key.wrap(clip, &public.id, &public.x25519).unwrap();
        (clip, key, wrapped.into())
    }

    fn log(&self, action: Action, clip: ClipId) -> u64 {
        let mut leaf = Leaf::new(self.now_ms.load(Ordering::Relaxed), action);
        leaf.clip = Some(clip);
        self.log.append(leaf).unwrap().get()
    }

    fn proof(&self, index: u64) -> LogProof {
        proof_of(&self.log, index, self.seen().size)
    }

    fn unwrap(&self, clip: ClipId, wrapped: &Wrapped, proof: LogProof) -> Result<ClipKey, Refusal> {
        let answer = self.ask(Request::Unwrap { clip, wrapped: wrapped.clone(), proof });
        if let Answer::Unwrapped { key, .. } = answer { Ok(key) } else { Err(why(answer)) }
    }

    fn refusal(&self, clip: ClipId, wrapped: &Wrapped, proof: LogProof) -> Refusal {
        self.unwrap(clip, wrapped, proof).err().unwrap()
    }

    fn destroy(&self, clip: ClipId, index: u64) -> Result<(), Refusal> {
        let answer = self.ask(Request::Destroy { clip, proof: self.proof(index) });
        if let Answer::Destroyed = answer { Ok(()) } else { Err(why(answer)) }
    }
}

fn why(answer: Answer) -> Refusal {
    let Answer::Refused(why) = answer else { panic!("{answer:?}") };
    why
}

fn proof_of(log: &AccessLog, index: u64, from: u64) -> LogProof {
    let hashes = log.consistency_proof(from, log.len()).unwrap_or_default();
    LogProof::new(&log.entry_proof(index).unwrap(), from, &hashes)
}

#[test]
fn a_key_opens_only_what_the_log_says() {
    let bench = Bench::new();
    let (clip, key, wrapped) = bench.clip();
    let (other, _, _) = bench.clip();
    for action in [Action::VIEW, Action::EXPORT, Action::TRACE] {
        let entry = bench.log(action, clip);
        let got = bench.unwrap(clip, &wrapped, bench.proof(entry)).unwrap();
        assert_eq!(got.expose(), key.expose());
        assert_eq!(bench.seen().size, bench.log.len(), "the head was kept");
        // Again with the same entry, as each request of a view does.
        bench.unwrap(clip, &wrapped, bench.proof(entry)).unwrap();
    }
    for (action, of) in [
        (Action::VIEW, other),
        (Action::VIEW_REFUSED, clip),
        (Action::SIGN_IN, clip),
        (Action::DELETE, clip),
    ] {
        let entry = bench.log(action.clone(), of);
        let why = bench.refusal(clip, &wrapped, bench.proof(entry));
        assert_eq!(why, Refusal::NotLogged, "{action}");
    }
    let entry = bench.log(Action::VIEW, clip);
    let foreign = Wrapped { key_id: "other".into(), ..wrapped.clone() };
    let why = bench.refusal(clip, &foreign, bench.proof(entry));
    assert_eq!(why, Refusal::UnknownKey { id: "other".into() });
    let mut damaged = wrapped.clone();
    damaged.ciphertext[0] ^= 1;
    assert_eq!(bench.refusal(clip, &damaged, bench.proof(entry)), Refusal::DoesNotOpen);
    let (_, _, of_another) = bench.clip();
    assert_eq!(bench.refusal(clip, &of_another, bench.proof(entry)), Refusal::DoesNotOpen);

    bench.now_ms.fetch_add(15 * 60 * 1000 + 1, Ordering::Relaxed);
    assert_eq!(bench.refusal(clip, &wrapped, bench.proof(entry)), Refusal::Stale);
    bench.now_ms.store(NOW_MS - 6_000, Ordering::Relaxed);
    assert_eq!(bench.refusal(clip, &wrapped, bench.proof(entry)), Refusal::Stale, "to come");
}

#[test]
fn a_views_mark_is_told_to_who_opens_the_view_and_all_marks_to_who_traces() {
    let bench = Bench::new();
    let (clip, _, wrapped) = bench.clip();
    let view = ViewId::new();
    let mut leaf = Leaf::new(NOW_MS, Action::VIEW);
    (leaf.clip, leaf.view) = (Some(clip), Some(view));
    let opened = bench.log.append(leaf).unwrap().get();
    let request = Request::Unwrap { clip, wrapped: wrapped.clone(), proof: bench.proof(opened) };
    let Answer::Unwrapped { mark: Some(mark), .. } = bench.ask(request) else { panic!() };

    let marks = |of: ClipId, views: &[ViewId], entry| {
        let proof = bench.proof(entry);
        let answer = bench.ask(Request::Marks { clip: of, views: views.to_vec(), proof });
        if let Answer::Marks(marks) = answer { Ok(marks) } else { Err(why(answer)) }
    };
    let trace = bench.log(Action::TRACE, clip);
    let other = ViewId::new();
    let told = marks(clip, &[other, view], trace).unwrap();
    assert_eq!(told.last(), Some(&mark));
    assert_ne!(told.first(), Some(&mark));
    assert_eq!(marks(clip, &vec![view; MAX_MARKS + 1], trace), Err(Refusal::Malformed));
    for action in [Action::VIEW, Action::EXPORT, Action::DELETE] {
        let entry = bench.log(action.clone(), clip);
        assert_eq!(marks(clip, &[view], entry), Err(Refusal::NotLogged), "{action}");
    }
    assert_eq!(marks(ClipId::new(), &[view], trace), Err(Refusal::NotLogged));
    bench.now_ms.fetch_add(15 * 60 * 1000 + 1, Ordering::Relaxed);
    assert_eq!(marks(clip, &[view], trace), Err(Refusal::Stale));
    let trace = bench.log(Action::TRACE, clip);
    let deleted = bench.log(Action::DELETE, clip);
    bench.destroy(clip, deleted).unwrap();
    assert_eq!(marks(clip, &[view], trace), Err(Refusal::Destroyed));
}

#[test]
fn only_the_pinned_log_counts() {
    let bench = Bench::new();
    let (clip, _, wrapped) = bench.clip();
    let good = bench.log(Action::VIEW, clip);
    // Somebody with the socket and a log of their own, of the same name.
    let own = AccessLog::create(&bench.dir.path().join("own"), "test.example/log").unwrap();
    let mut leaf = Leaf::new(NOW_MS, Action::VIEW);
    leaf.clip = Some(clip);
    own.append(leaf).unwrap();
    assert_eq!(bench.refusal(clip, &wrapped, proof_of(&own, 0, 0)), Refusal::NotProven);
    let mut text = bench.proof(good);
    text.entry = text.entry.replace("index 0", "index 1");
    assert_eq!(bench.refusal(clip, &wrapped, text), Refusal::NotProven);
    let none = LogProof { entry: String::new(), from: 0, consistency: Vec::new() };
    assert_eq!(bench.refusal(clip, &wrapped, none), Refusal::Malformed);
    assert_eq!(bench.seen().size, 0, "nothing was believed");
    bench.unwrap(clip, &wrapped, bench.proof(good)).unwrap();
}

#[test]
fn a_head_that_moved_is_proven_anew_and_an_older_one_never_counts() {
    let mut bench = Bench::new();
    let (clip, _, wrapped) = bench.clip();
    let first = bench.log(Action::VIEW, clip);
    let early = bench.proof(first);
    let second = bench.log(Action::VIEW, clip);
    bench.unwrap(clip, &wrapped, bench.proof(second)).unwrap();
    // Two at once: who was slower learns what to prove from.
    let why = bench.refusal(clip, &wrapped, early.clone());
    assert_eq!(why, Refusal::HeadMoved { size: 2 });
    bench.unwrap(clip, &wrapped, bench.proof(first)).unwrap();
    // The same after a restart.
    bench.start();
    assert_eq!(bench.refusal(clip, &wrapped, early.clone()), Refusal::HeadMoved { size: 2 });
    let back = LogProof { from: 2, ..early };
    assert_eq!(bench.refusal(clip, &wrapped, back), Refusal::RolledBack { size: 2 });
    assert!(!bench.seen().fork_seen);
}

#[test]
fn a_fork_is_refused_and_kept_as_evidence() {
    let mut bench = Bench::new();
    let (clip, _, wrapped) = bench.clip();
    let entry = bench.log(Action::VIEW, clip);
    bench.unwrap(clip, &wrapped, bench.proof(entry)).unwrap();
    // A server operator puts the log back and writes another history with its own key.
    drop(std::mem::replace(
        &mut bench.log,
        AccessLog::create(&bench.dir.path().join("spare"), "spare.example/log").unwrap(),
    ));
    let log = bench.dir.path().join("log");
    let keep = |name: &str| std::fs::read(log.join(name)).unwrap();
    let (key, public, header) = (keep("key"), keep("public-key"), keep("entries")[..].to_vec());
    let fresh = AccessLog::create(&bench.dir.path().join("fresh"), "test.example/log").unwrap();
    drop(fresh);
    let forked = bench.dir.path().join("fresh");
    std::fs::write(forked.join("key"), key).unwrap();
    std::fs::write(forked.join("public-key"), public).unwrap();
    assert!(!header.is_empty());
    let log_key = temoin_access_log::LogKey::decode(
        std::fs::read_to_string(forked.join("key")).unwrap().trim(),
    )
    .unwrap();
    let empty = temoin_access_log::tree::Tree::default().root().unwrap();
    let head = log_key.sign(0, empty).unwrap();
    std::fs::write(forked.join("checkpoint"), head.note()).unwrap();
    bench.log = AccessLog::open(&forked).unwrap();

    bench.now_ms.fetch_add(1, Ordering::Relaxed);
    let other = bench.log(Action::VIEW, clip);
    assert_eq!(bench.refusal(clip, &wrapped, bench.proof(other)), Refusal::Forked, "same size");
    assert!(bench.seen().fork_seen);
    let evidence = std::fs::read_to_string(bench.dir.path().join("keys/fork")).unwrap();
    assert_eq!(evidence.matches("test.example/log\n1\n").count(), 2, "{evidence}");
    let longer = bench.log(Action::VIEW, clip);
    assert_eq!(bench.refusal(clip, &wrapped, bench.proof(longer)), Refusal::Forked, "longer");
    bench.start();
    assert_eq!(bench.refusal(clip, &wrapped, bench.proof(longer)), Refusal::Forked);
    assert_eq!(bench.seen().size, 1);
}

#[test]
fn a_destroyed_clip_never_opens_again() {
    let mut bench = Bench::new();
    let (clip, _, wrapped) = bench.clip();
    let (other, _, of_other) = bench.clip();
    let view = bench.log(Action::VIEW, clip);
    bench.unwrap(clip, &wrapped, bench.proof(view)).unwrap();
    assert_eq!(bench.destroy(clip, view), Err(Refusal::NotLogged), "no deletion was logged");
    let delete = bench.log(Action::DELETE, clip);
    assert_eq!(bench.destroy(other, delete), Err(Refusal::NotLogged));
    // Made good a day later.
    bench.now_ms.fetch_add(86_400_000, Ordering::Relaxed);
    bench.destroy(clip, delete).unwrap();
    bench.destroy(clip, delete).unwrap();
    for restarted in [false, true] {
        if restarted {
            bench.start();
        }
        // The database is put back to last week's backup: the wrapped key is there again.
        let again = bench.log(Action::VIEW, clip);
        let why = bench.refusal(clip, &wrapped, bench.proof(again));
        assert_eq!(why, Refusal::Destroyed, "restarted: {restarted}");
        let rewrap = bench.ask(Request::Rewrap { clip, wrapped: wrapped.clone() });
        assert!(matches!(rewrap, Answer::Refused(Refusal::Destroyed)), "{rewrap:?}");
        assert_eq!(bench.seen().destroyed, 1);
        let entry = bench.log(Action::VIEW, other);
        bench.unwrap(other, &of_other, bench.proof(entry)).unwrap();
    }
    // Tombstones that were taken away are missed.
    bench.service = None;
    let folder = bench.dir.path().join("keys");
    std::fs::remove_file(folder.join("tombstones")).unwrap();
    Tombstones::create(&folder.join("tombstones")).unwrap();
    let ring = Keyring::new().unwrap();
    let missing = Service::open(&folder, ring, bench.terms.clone(), Arc::new(|| 0));
    assert!(missing.unwrap_err().to_string().contains("0 records, but 1 were written"));
}

#[test]
fn rotation_rewraps_without_giving_the_key() {
    let mut bench = Bench::new();
    let (clip, key, wrapped) = bench.clip();
    let before = bench.ring.public();
    bench.ring.rotate().unwrap();
    let ring = ring_like(&bench.ring, bench.dir.path());
    bench.service.as_ref().unwrap().replace_keyring(ring);
    let Answer::Public(now) = bench.ask(Request::Public) else { panic!() };
    assert_ne!(now, before);
    let Answer::Rewrapped(anew) = bench.ask(Request::Rewrap { clip, wrapped: wrapped.clone() })
    else {
        panic!()
    };
    assert_eq!(anew.key_id, now.id);
    let entry = bench.log(Action::VIEW, clip);
    for wrapped in [&wrapped, &anew] {
        let got = bench.unwrap(clip, wrapped, bench.proof(entry)).unwrap();
        assert_eq!(got.expose(), key.expose());
    }
    bench.ring.forget(&before.id).unwrap();
    bench.start();
    let why = bench.refusal(clip, &wrapped, bench.proof(entry));
    assert_eq!(why, Refusal::UnknownKey { id: before.id });
    bench.unwrap(clip, &anew, bench.proof(entry)).unwrap();
}

/// The log's present head, cosigned at this time, with its place behind or before what was seen.
fn cosigned(log: &AccessLog, witness: &WitnessKey, at_ms: i64, from: u64) -> WitnessedHead {
    let head = log.checkpoint();
    let line = witness.cosign(&head, u64::try_from(at_ms / 1000).unwrap()).unwrap();
    let head = add_cosignatures(&head, &line, &[witness.public().clone()]).unwrap();
    behind(log, &head, from)
}

/// This head again, when `from` entries were seen.
fn behind(log: &AccessLog, head: &Checkpoint, from: u64) -> WitnessedHead {
    let (less, more) = (head.size().min(from), head.size().max(from));
    let hashes = log.consistency_proof(less, more).unwrap_or_default();
    WitnessedHead::new(head, from, &hashes)
}

#[test]
fn with_a_witness_rule_its_fresh_word_is_needed() {
    let mut bench = Bench::new();
    let (clip, _, wrapped) = bench.clip();
    let (witness, _) = WitnessKey::generate("council.example").unwrap();
    let (stranger, _) = WitnessKey::generate("stranger.example").unwrap();
    let rule = WitnessRule { public_keys: vec![witness.public().to_string()], max_age_s: 60 };
    bench.terms.witnesses = Some(Witnesses::new(&rule).unwrap());
    bench.start();
    let entry = bench.log(Action::VIEW, clip);
    let refusal = |bench: &Bench| bench.refusal(clip, &wrapped, bench.proof(entry));
    let opens = |bench: &Bench| bench.unwrap(clip, &wrapped, bench.proof(entry)).is_ok();
    let show = |bench: &Bench, head: &WitnessedHead| {
        let answer = bench.ask(Request::Witnessed(head.clone()));
        if let Answer::Witnessed = answer { Ok(()) } else { Err(why(answer)) }
    };
    assert_eq!(refusal(&bench), Refusal::Unwitnessed, "nothing was shown");

    let by_stranger = cosigned(&bench.log, &stranger, NOW_MS, bench.seen().size);
    assert_eq!(show(&bench, &by_stranger), Err(Refusal::Unwitnessed));
    let bare = behind(&bench.log, &bench.log.checkpoint(), bench.seen().size);
    assert_eq!(show(&bench, &bare), Err(Refusal::Unwitnessed));
    assert_eq!(refusal(&bench), Refusal::Unwitnessed);

    let head = cosigned(&bench.log, &witness, NOW_MS, bench.seen().size);
    show(&bench, &head).unwrap();
    assert!(opens(&bench));
    // Entries that came after it are under its word too.
    let later = bench.log(Action::VIEW, clip);
    bench.unwrap(clip, &wrapped, bench.proof(later)).unwrap();
    // The same head, now behind what was seen, is no second history.
    assert_eq!(show(&bench, &head), Err(Refusal::HeadMoved { size: bench.log.len() }));
    let again = Checkpoint::parse(head.checkpoint.as_bytes(), bench.log.public_key()).unwrap();
    show(&bench, &behind(&bench.log, &again, bench.log.len())).unwrap();
    let unproven = WitnessedHead { consistency: Vec::new(), ..behind(&bench.log, &again, 2) };
    assert_eq!(show(&bench, &unproven), Err(Refusal::Forked));
    assert!(bench.seen().fork_seen);

    bench.now_ms.store(NOW_MS + 60_000, Ordering::Relaxed);
    assert!(opens(&bench));
    bench.now_ms.store(NOW_MS + 61_000, Ordering::Relaxed);
    assert_eq!(refusal(&bench), Refusal::Unwitnessed, "too old");
    show(&bench, &cosigned(&bench.log, &witness, NOW_MS + 61_000, bench.log.len())).unwrap();
    assert!(opens(&bench));
    // A younger word is not made older by an older one, and none is kept over a restart.
    show(&bench, &behind(&bench.log, &again, bench.log.len())).unwrap();
    assert!(opens(&bench));
    bench.start();
    assert_eq!(refusal(&bench), Refusal::Unwitnessed);
    let to_come = cosigned(&bench.log, &witness, NOW_MS + 961_000, bench.log.len());
    show(&bench, &to_come).unwrap();
    assert_eq!(refusal(&bench), Refusal::Unwitnessed, "of a time to come");
}

#[test]
fn what_a_witness_signed_of_another_history_is_no_word() {
    let mut bench = Bench::new();
    let (clip, _, wrapped) = bench.clip();
    let (witness, _) = WitnessKey::generate("council.example").unwrap();
    let rule = WitnessRule { public_keys: vec![witness.public().to_string()], max_age_s: 60 };
    // The beginning of the log, and what grows from it elsewhere.
    bench.log(Action::SIGN_IN, clip);
    let other = bench.dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    for file in std::fs::read_dir(bench.dir.path().join("log")).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), other.join(file.file_name())).unwrap();
        }
    }
    bench.terms.witnesses = Some(Witnesses::new(&rule).unwrap());
    bench.start();
    let entry = bench.log(Action::VIEW, clip);
    assert_eq!(bench.refusal(clip, &wrapped, bench.proof(entry)), Refusal::Unwitnessed);
    let other = AccessLog::open(&other).unwrap();
    for _ in 0..2 {
        other.append(Leaf::new(NOW_MS, Action::SIGN_IN)).unwrap();
    }
    let head = cosigned(&other, &witness, NOW_MS, bench.seen().size);
    assert_eq!(why(bench.ask(Request::Witnessed(head))), Refusal::Forked);
    assert_eq!(bench.refusal(clip, &wrapped, bench.proof(entry)), Refusal::Unwitnessed);
    assert!(bench.seen().fork_seen);
}

#[test]
fn one_service_on_a_folder() {
    let bench = Bench::new();
    let folder = bench.dir.path().join("keys");
    let again =
        Service::open(&folder, Keyring::new().unwrap(), bench.terms.clone(), Arc::new(|| 0));
    assert!(again.unwrap_err().to_string().contains("another temoin-keys"));
}

async fn answer(stream: &mut UnixStream) -> Option<Answer> {
    let len = next_len(stream, MAX_ANSWER_LEN).await.ok()??;
    Answer::decode(&read_body(stream, len).await.unwrap()).ok()
}

#[tokio::test]
async fn the_socket_lets_in_who_may_and_survives_nonsense() {
    let mut bench = Bench::new();
    let me = rustix::process::getuid().as_raw();
    let path = bench.dir.path().join("socket");
    let service = Arc::new(bench.service.take().unwrap());
    for (allowed, let_in) in [(vec![me], true), (vec![me + 1], false)] {
        let listener = crate::socket::bind(&path, None).unwrap();
        assert!(crate::socket::bind(&path, None).is_err(), "somebody listens there");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn({
            let service = Arc::clone(&service);
            async move {
                crate::socket::serve(listener, service, &allowed, async { drop(stopped.await) })
                    .await;
            }
        });
        let mut stream = UnixStream::connect(&path).await.unwrap();
        // A refused user's connection may be closed before this is written.
        drop(send(&mut stream, &Request::Public.encode().unwrap()).await);
        assert_eq!(answer(&mut stream).await.is_some(), let_in);
        if let_in {
            send(&mut stream, b"{\"nonsense\":1}").await.unwrap();
            let Some(Answer::Refused(Refusal::Malformed)) = answer(&mut stream).await else {
                panic!()
            };
            send(&mut stream, &Request::Head.encode().unwrap()).await.unwrap();
            assert!(matches!(answer(&mut stream).await, Some(Answer::Head(_))));
            // A length that is a lie: the connection ends, the service does not.
            stream.write_all(&[0xff; 64]).await.unwrap();
            assert!(answer(&mut stream).await.is_none());
        }
        drop(stop);
        serving.await.unwrap();
    }
}
