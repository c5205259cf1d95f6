//! The client against the real service over a real socket.

use std::sync::{Arc, atomic::AtomicI64};

use temoin_access_log::{AccessLog, Leaf};

use super::*;
use crate::test_keys::TestKeys;

const NOW_MS: i64 = 1_795_176_000_000;

struct Scene {
    keys: Keys,
    service: TestKeys,
    log: Log,
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("log");
        drop(AccessLog::create(&folder, "test.example/log").unwrap());
        let clock = Arc::new(AtomicI64::new(NOW_MS));
        let service = TestKeys::new(&dir.path().join("keys"), &folder, &clock);
        let log = Log::open(&folder).unwrap();
        let keys = Keys::new(&dir.path().join("keys/socket"), log.clone(), Arc::default());
        Self { keys, service, log, dir }
    }

    fn other_client(&self) -> Keys {
        Keys::new(&self.dir.path().join("keys/socket"), self.log.clone(), Arc::default())
    }

    async fn clip(&self) -> (ClipId, ClipKey, WrappedKey) {
        let public = self.keys.public().await.unwrap();
        let (clip, key) = (ClipId::new(), ClipKey::generate().unwrap());
        let wrapped = key.wrap(clip, &public.key_id, &public.x25519_public_key).unwrap();
        (clip, key, wrapped)
    }

    async fn entry(&self, action: Action, clip: ClipId) -> LogIndex {
        let mut leaf = Leaf::new(NOW_MS, action);
        leaf.clip = Some(clip);
        self.log.append(leaf).await.unwrap()
    }
}

#[tokio::test]
async fn a_key_comes_only_with_the_entry_of_its_clip() {
    let scene = Scene::new();
    let (clip, key, wrapped) = scene.clip().await;
    let view = scene.entry(Action::VIEW, clip).await;
    let (got, _) = scene.keys.unwrap(clip, &wrapped, &view).await.unwrap();
    assert_eq!(got.expose(), key.expose());
    let of_another = scene.entry(Action::VIEW, ClipId::new()).await;
    let refused = scene.entry(Action::VIEW_REFUSED, clip).await;
    for entry in [of_another, refused] {
        let error = scene.keys.unwrap(clip, &wrapped, &entry).await.unwrap_err();
        assert!(matches!(error, KeyError::NotLogged(_)), "{error}");
    }
    assert!(matches!(scene.keys.destroy(clip, &view).await, Err(KeyError::NotLogged(_))));
    let delete = scene.entry(Action::DELETE, clip).await;
    scene.keys.destroy(clip, &delete).await.unwrap();
    let view = scene.entry(Action::VIEW, clip).await;
    let error = scene.keys.unwrap(clip, &wrapped, &view).await.unwrap_err();
    assert!(matches!(error, KeyError::Refused(Refusal::Destroyed)), "{error}");
}

#[tokio::test]
async fn it_is_away_and_comes_back() {
    let mut scene = Scene::new();
    let (clip, _, wrapped) = scene.clip().await;
    let view = scene.entry(Action::VIEW, clip).await;
    scene.keys.unwrap(clip, &wrapped, &view).await.unwrap();
    scene.service.stop();
    let error = scene.keys.unwrap(clip, &wrapped, &view).await.unwrap_err();
    assert!(error.is_away() && error.to_string().contains("start temoin-keys"), "{error}");
    assert!(scene.keys.head().await.unwrap_err().is_away());
    assert!(scene.keys.public().await.is_ok(), "units still hear the key that was current");
    assert!(scene.other_client().public().await.unwrap_err().is_away());
    scene.service.start();
    scene.keys.unwrap(clip, &wrapped, &view).await.unwrap();
    // Also where it broke between two calls and nobody noticed.
    scene.service.stop();
    scene.service.start();
    scene.keys.unwrap(clip, &wrapped, &view).await.unwrap();
}

#[tokio::test]
async fn many_at_once_from_two_servers() {
    let scene = Arc::new(Scene::new());
    let second = Arc::new(scene.other_client());
    let (clip, _, wrapped) = scene.clip().await;
    let tasks: Vec<_> = (0..24)
        .map(|n| {
            let (scene, second, wrapped) =
                (Arc::clone(&scene), Arc::clone(&second), wrapped.clone());
            tokio::spawn(async move {
                let view = scene.entry(Action::VIEW, clip).await;
                let keys = if n % 2 == 0 { &scene.keys } else { second.as_ref() };
                keys.unwrap(clip, &wrapped, &view).await.map(drop)
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(scene.keys.head().await.unwrap().size, 24);
}

/// As after a crash between the entry and the destroying, or with an older folder of the service.
#[tokio::test]
async fn deletions_that_the_service_missed_are_told_before_any_key_is_asked_for() {
    let scene = Scene::new();
    let (clip, _, wrapped) = scene.clip().await;
    scene.entry(Action::DELETE, clip).await;
    let view = scene.entry(Action::VIEW, clip).await;
    let error = scene.keys.unwrap(clip, &wrapped, &view).await.unwrap_err();
    assert!(matches!(error, KeyError::Refused(Refusal::Destroyed)), "{error}");
    assert_eq!(scene.keys.head().await.unwrap().destroyed, 1);
}

#[tokio::test]
async fn a_log_that_was_put_back_is_refused() {
    let mut scene = Scene::new();
    let (clip, _, wrapped) = scene.clip().await;
    let saved = scene.dir.path().join("saved");
    let folder = scene.dir.path().join("log");
    let copy = |from: &Path, to: &Path| {
        std::fs::create_dir(to).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    copy(&folder, &saved);
    for _ in 0..3 {
        let view = scene.entry(Action::VIEW, clip).await;
        scene.keys.unwrap(clip, &wrapped, &view).await.unwrap();
    }
    let old = Log::open(&saved).unwrap();
    scene.log = old.clone();
    scene.keys = Keys::new(&scene.dir.path().join("keys/socket"), old, Arc::default());
    // Another history than the one that was put away.
    scene.entry(Action::SIGN_IN, clip).await;
    let view = scene.entry(Action::VIEW, clip).await;
    let error = scene.keys.unwrap(clip, &wrapped, &view).await.unwrap_err();
    assert!(matches!(error, KeyError::Refused(Refusal::RolledBack { size: 3 })), "{error}");
    for _ in 0..4 {
        scene.entry(Action::VIEW, clip).await;
    }
    let view = scene.entry(Action::VIEW, clip).await;
    let error = scene.keys.unwrap(clip, &wrapped, &view).await.unwrap_err();
    assert!(matches!(error, KeyError::Refused(Refusal::Forked)), "{error}");
}
