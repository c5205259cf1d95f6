//! A key service for tests: the real one behind a real socket, but in this process, so that it has
//! the test's clock.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use temoin_access_log::verify;
use temoin_keys::{
    Guard, Keyring, Service,
    guard::{Cost, PassphraseGuard},
    rules::Limits,
    service::Terms,
    socket,
};

pub(crate) struct TestKeys {
    pub(crate) service: Arc<Service>,
    keyring: PathBuf,
    socket: PathBuf,
    /// Of its own, so that ending it ends every connection, as a crash does.
    runtime: Option<tokio::runtime::Runtime>,
}

fn guard() -> impl Guard {
    let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
    PassphraseGuard::new("correct horse battery".to_owned().into(), cost).unwrap()
}

impl TestKeys {
    pub(crate) fn new(folder: &Path, log: &Path, clock: &Arc<AtomicI64>) -> Self {
        std::fs::create_dir(folder).unwrap();
        Service::create(folder).unwrap();
        let keyring = folder.join("keyring");
        Keyring::new().unwrap().create(&keyring, &guard()).unwrap();
        let log_key = verify::read_public_key(log).unwrap();
        let terms = Terms { log_key, limits: Limits::default(), witnesses: None };
        let clock = Arc::clone(clock);
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let ring = Keyring::open(&keyring, &guard()).unwrap();
        let service = Arc::new(Service::open(folder, ring, terms, clock).unwrap());
        let mut keys = Self { service, keyring, socket: folder.join("socket"), runtime: None };
        keys.start();
        keys
    }

    pub(crate) fn start(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let entered = runtime.enter();
        let listener = socket::bind(&self.socket, None).unwrap();
        drop(entered);
        let service = Arc::clone(&self.service);
        let me = [rustix::process::getuid().as_raw()];
        runtime.spawn(async move {
            socket::serve(listener, service, &me, std::future::pending()).await;
        });
        self.runtime = Some(runtime);
    }

    /// As a crash: the connections break and the socket stays.
    pub(crate) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waits until the listener is closed, on a thread that may wait.
            std::thread::spawn(move || {
                runtime.shutdown_timeout(std::time::Duration::from_secs(30))
            })
            .join()
            .unwrap();
        }
    }

    /// A new current key.
    pub(crate) fn rotate(&self) {
        let mut ring = Keyring::open(&self.keyring, &guard()).unwrap();
        ring.rotate().unwrap();
        ring.save(&self.keyring, &guard()).unwrap();
        self.service.replace_keyring(ring);
    }

    /// All but the current key are gone.
    pub(crate) fn forget_old(&self) {
        let mut ring = Keyring::open(&self.keyring, &guard()).unwrap();
        let current = ring.public().id;
        let old: Vec<String> = ring.ids().filter(|id| *id != current).map(str::to_owned).collect();
        for id in old {
            ring.forget(&id).unwrap();
        }
        self.service.replace_keyring(ring);
    }
}

impl Drop for TestKeys {
    fn drop(&mut self) {
        self.stop();
    }
}
