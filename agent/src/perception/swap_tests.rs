//! Tests of what takes over from what, with files that change and models that cannot be loaded.

use std::{
    sync::{
        Mutex,
        mpsc::{Sender, channel},
    },
    time::Instant,
};

use temoin_media::frame::I420Picture;
use temoin_proto::{
    perception::{DriverObservation, Observation},
    samples::CameraId,
};

use super::*;
use crate::{
    infer::InferError,
    perception::{FACE, MODELS},
};

/// Says a reason of its own, by which the tests tell which one sees.
struct Says(NotSeen);

impl Perception for Says {
    fn observe(&mut self, frame: &Frame) -> Sight {
        Sight::unseen(frame.camera, frame.at, self.0)
    }

    fn health(&self) -> Vec<HealthStatement> {
        vec![HealthStatement { part: FACE, state: State::Ok, text: format!("{:?}", self.0) }]
    }
}

/// What the next load is to give.
enum Next {
    Sees(NotSeen),
    Fails,
    Panics,
}

struct Stage {
    dir: tempfile::TempDir,
    swap: Swap,
    next: Sender<Next>,
    loads: Arc<AtomicU64>,
    health: Arc<HealthBoard>,
    reload: Reload,
    now: MonoTime,
}

fn stage(start: bool) -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let (next, from) = channel::<Next>();
    let (from, loads) = (Mutex::new(from), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&loads);
    let open = move |_: Opening| -> Result<Box<dyn Perception>, PerceptionError> {
        counted.fetch_add(1, Ordering::SeqCst);
        // Let go of before the panic.
        let next = from.lock().unwrap().recv().unwrap();
        match next {
            Next::Sees(why) => Ok(Box::new(Says(why))),
            Next::Fails => Err(InferError::NoLibrary.into()),
            Next::Panics => panic!("on purpose"),
        }
    };
    let models = Models {
        part: MODELS,
        folder: dir.path().to_owned(),
        files: vec!["a.onnx".to_owned(), "b.onnx".to_owned()],
        open: Box::new(open),
        describe: Box::new(|| (State::Ok, "test models".to_owned(), Vec::new())),
    };
    let (health, reload) = (Arc::new(HealthBoard::default()), Reload::default());
    if !start {
        next.send(Next::Sees(NotSeen::NoFace)).unwrap();
    }
    let swap = if start {
        Swap::start(models, reload.clone(), Arc::clone(&health))
    } else {
        Swap::open(models, reload.clone(), Arc::clone(&health)).unwrap()
    };
    Stage { dir, swap, next, loads, health, reload, now: MonoTime::ZERO }
}

fn frame(at: MonoTime) -> Frame {
    I420Picture::black(64, 64).unwrap().into_frame(CameraId::Cabin, at)
}

impl Stage {
    /// Looks at one picture, `s` seconds after the last, and says which one saw.
    fn see(&mut self, s: f64) -> NotSeen {
        self.now = self.now + Duration::from_secs_f64(s);
        let Observation::Driver(DriverObservation { face, .. }) =
            self.swap.observe(&frame(self.now)).observation
        else {
            panic!("not the driver");
        };
        match face {
            temoin_proto::perception::Seen::Unknown(why) => why,
            known @ temoin_proto::perception::Seen::Known { .. } => panic!("{known:?}"),
        }
    }

    /// Looks at the same instant again until the load that is under way has ended.
    fn until_loaded(&mut self) -> NotSeen {
        let begun = Instant::now();
        while self.swap.loading.is_some() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the load does not end");
            let _before = self.see(0.0);
            thread::yield_now();
        }
        self.see(0.0)
    }

    fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }

    fn said(&self) -> (String, String) {
        let items = self.health.items();
        let item = items.into_iter().find(|i| i.part == MODELS).unwrap();
        (item.state, item.text)
    }
}

const LATER_S: f64 = 10.0;

#[test]
fn a_live_unit_is_not_ready_before_its_models_have_run() {
    let mut s = stage(true);
    assert_eq!(s.see(1.0), NotSeen::NoModel);
    assert!(!s.swap.is_ready());
    assert_eq!(s.said().0, "degraded");
    assert!(s.said().1.starts_with("starting"), "{:?}", s.said());
    s.next.send(Next::Sees(NotSeen::NoFace)).unwrap();
    assert_eq!(s.until_loaded(), NotSeen::NoFace);
    assert!(s.swap.is_ready());
    assert_eq!(s.said(), ("ok".to_owned(), "ready: test models".to_owned()));
}

#[test]
fn a_first_load_that_fails_is_said_and_tried_again_when_asked() {
    for bad in [Next::Fails, Next::Panics] {
        let mut s = stage(true);
        s.next.send(bad).unwrap();
        assert_eq!(s.until_loaded(), NotSeen::NoModel);
        assert_eq!(s.said().0, "failed");
        assert!(s.said().1.contains("nothing is seen"), "{:?}", s.said());
        s.reload.ask();
        s.next.send(Next::Sees(NotSeen::Blurred)).unwrap();
        assert_eq!(s.see(0.1), NotSeen::NoModel, "loading");
        assert_eq!(s.until_loaded(), NotSeen::Blurred);
    }
}

#[test]
fn files_that_change_are_loaded_once_they_change_no_more() {
    let mut s = stage(false);
    assert_eq!((s.see(LATER_S), s.see(LATER_S), s.loads()), (NotSeen::NoFace, NotSeen::NoFace, 1));

    let file = s.dir.path().join("a.onnx");
    for content in ["h", "ha", "hal", "half"] {
        fs::write(&file, content).unwrap();
        assert_eq!((s.see(LATER_S), s.loads()), (NotSeen::NoFace, 1), "it still grows");
    }
    s.next.send(Next::Sees(NotSeen::Blurred)).unwrap();
    // Between two looks at the files nothing happens.
    assert_eq!((s.see(0.1), s.swap.loading.is_some()), (NotSeen::NoFace, false));
    assert_eq!((s.see(LATER_S), s.swap.loading.is_some()), (NotSeen::NoFace, true));
    assert_eq!(s.until_loaded(), NotSeen::Blurred);
    assert_eq!(
        (s.see(LATER_S), s.see(LATER_S), s.loads()),
        (NotSeen::Blurred, NotSeen::Blurred, 2)
    );

    // In place, of the same length, with the time of the content put back.
    let old = fs::metadata(&file).unwrap().modified().unwrap();
    let before = stamps(s.dir.path(), &s.swap.models.files);
    // Until the file system's clock has moved on.
    while stamps(s.dir.path(), &s.swap.models.files) == before {
        fs::write(&file, "HALF").unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
    }
    s.next.send(Next::Sees(NotSeen::Covered)).unwrap();
    let _settling = (s.see(LATER_S), s.see(LATER_S));
    assert_eq!(s.until_loaded(), NotSeen::Covered);

    fs::remove_file(&file).unwrap();
    s.next.send(Next::Sees(NotSeen::BadLight)).unwrap();
    let _settling = (s.see(LATER_S), s.see(LATER_S));
    assert_eq!((s.until_loaded(), s.loads()), (NotSeen::BadLight, 4));
    fs::write(s.dir.path().join("notes.txt"), "not of the pack").unwrap();
    assert_eq!(
        (s.see(LATER_S), s.see(LATER_S), s.loads()),
        (NotSeen::BadLight, NotSeen::BadLight, 4)
    );
}

#[test]
fn models_that_cannot_be_loaded_leave_those_before_in_use() {
    for bad in [Next::Fails, Next::Panics] {
        let mut s = stage(false);
        s.reload.ask();
        s.next.send(bad).unwrap();
        assert_eq!(s.see(0.1), NotSeen::NoFace);
        assert_eq!(s.until_loaded(), NotSeen::NoFace);
        let (state, text) = s.said();
        assert_eq!(state, "degraded");
        assert!(text.contains("those before stay in use"), "{text}");
        assert_eq!(
            (s.see(LATER_S), s.see(LATER_S), s.loads()),
            (NotSeen::NoFace, NotSeen::NoFace, 2)
        );
        s.reload.ask();
        s.next.send(Next::Sees(NotSeen::Blurred)).unwrap();
        let _loading = s.see(0.1);
        assert_eq!(s.until_loaded(), NotSeen::Blurred);
        assert_eq!(s.said().0, "ok");
    }
}

/// The whole way with the real pack: none, installed, damaged, repaired.
#[test]
fn a_pack_that_comes_late_is_used_without_a_restart() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/models");
    if !models.exists() {
        println!("skipped: ../shared/models is not beside the checkout");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options =
        PerceptionOptions { models: dir.path().join("models"), ..PerceptionOptions::default() };
    if let Err(e) = crate::infer::Runtime::load(&options.infer) {
        println!("skipped: {e}");
        return;
    }
    let folder = options.models.clone();
    let health = Arc::new(HealthBoard::default());
    let models_of = Models::of_driver(MODELS, options).unwrap();
    let mut swap = Swap::open(models_of, Reload::default(), Arc::clone(&health)).unwrap();
    let said = |part: &str| {
        let item = health.items().into_iter().find(|i| i.part == part).unwrap();
        (item.state, item.text)
    };
    let mut now = MonoTime::ZERO;
    let mut settle = |swap: &mut Swap| {
        for _ in 0..2 {
            now = now + Duration::from_secs(10);
            let _seen = swap.observe(&frame(now));
        }
        let begun = Instant::now();
        while swap.loading.is_some() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the load does not end");
            let _seen = swap.observe(&frame(now));
            thread::yield_now();
        }
    };
    assert!(said(MODELS).1.contains("no downloaded pack"), "{:?}", said(MODELS));
    assert_ne!(said(FACE).0, "ok");
    assert_eq!(said(PROVIDER).0, "ok");

    model_pack::install(&models, &folder).unwrap();
    settle(&mut swap);
    assert!(said(MODELS).1.contains("downloaded: cabin-1"), "{:?}", said(MODELS));
    assert_eq!(said(FACE).0, "ok", "{:?}", said(FACE));

    let file = folder.join("yunet_n_320_320.onnx");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    settle(&mut swap);
    assert!(said(MODELS).1.contains("is refused"), "{:?}", said(MODELS));
    assert_ne!(said(FACE).0, "ok", "{:?}", said(FACE));

    fs::write(&file, &whole).unwrap();
    settle(&mut swap);
    assert_eq!(said(FACE).0, "ok", "{:?}", said(FACE));
}
