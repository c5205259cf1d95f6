//! Perception that is replaced while the unit runs: when the files of the model pack change, or on
//! SIGHUP.
//!
//! What may run does not change: the same manifest, built into this program, is checked again. So a
//! pack that arrives late (`make models`, `temoin-agent models install`) is taken into use without
//! a restart, and one that is damaged or removed gives way to what the program has itself.
//!
//! INVARIANT: models are loaded and run once in a thread of their own, and take over between two
//! pictures; while they load, the ones before see on. INVARIANT: models that cannot be loaded leave
//! those before in use, and device health says so.
//!
//! Files are looked at by the pictures' own time, so there is no clock here.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

use temoin_proto::{
    perception::{NotSeen, Sight},
    samples::Frame,
    time::MonoTime,
};

use crate::{
    health::{HealthBoard, State},
    journal::{self, Entry},
    model_pack::{self, PackManifest},
    perception::{
        CabinEyes, HealthStatement, PROVIDER, Perception, PerceptionError, PerceptionOptions,
        road::{RoadEyes, RoadOptions},
    },
};

/// How often the files are looked at. A `stat` of each costs microseconds.
const EVERY: Duration = Duration::from_secs(3);

/// Asks all [`Swap`]s that hold it to load their models anew.
#[derive(Clone, Debug, Default)]
pub struct Reload(Arc<AtomicU64>);

impl Reload {
    /// Asks for it.
    pub fn ask(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether something sees already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Nothing does: whatever can be had is better.
    First,
    /// Something does, and goes on where this fails.
    Again,
}

/// What a [`Swap`] loads, and from where.
pub struct Models {
    /// The part of device health that says which models are in use.
    pub part: &'static str,
    /// The folder whose files are looked at.
    pub folder: PathBuf,
    /// Their names.
    pub files: Vec<String>,
    /// Loads the models and runs each once. Works in a thread of its own.
    pub open: Box<Open>,
    /// Which models are in use and what runs them, for device health: the former's state and
    /// words, and further statements.
    pub describe: Box<Describe>,
}

/// See [`Models::open`].
pub type Open = dyn Fn(Opening) -> Result<Box<dyn Perception>, PerceptionError> + Send + Sync;
/// See [`Models::describe`].
pub type Describe = dyn Fn() -> (State, String, Vec<HealthStatement>) + Send + Sync;

impl Models {
    /// Those that see the driver.
    ///
    /// # Errors
    /// [`PerceptionError::Pack`], which a test rules out for the manifest that ships.
    pub fn of_driver(
        part: &'static str,
        options: PerceptionOptions,
    ) -> Result<Self, PerceptionError> {
        let files = PackManifest::built_in()?.models.into_iter().map(|m| m.file).collect();
        let folder = options.models.clone();
        let described = options.clone();
        Ok(Self {
            part,
            folder,
            files,
            open: Box::new(move |opening| match CabinEyes::open(&options) {
                Ok(eyes) => Ok(Box::new(eyes)),
                // The files are right and cannot be run: what ran before is better.
                Err(e @ PerceptionError::Infer(_)) if opening == Opening::Again => Err(e),
                Err(_) => Ok(super::open(&options)),
            }),
            describe: Box::new(move || {
                let (state, text) = model_pack::describe(&described.models);
                (state, text, vec![provider_health(&described)])
            }),
        })
    }

    /// Those that see the road.
    ///
    /// # Errors
    /// As [`Self::of_driver`].
    pub fn of_road(part: &'static str, options: RoadOptions) -> Result<Self, PerceptionError> {
        let files = PackManifest::built_in()?.models.into_iter().map(|m| m.file).collect();
        let folder = options.models.clone();
        let described = folder.clone();
        Ok(Self {
            part,
            folder,
            files,
            open: Box::new(move |_| Ok(Box::new(RoadEyes::open(&options)))),
            describe: Box::new(move || {
                let (state, text) = model_pack::describe(&described);
                (state, text, Vec::new())
            }),
        })
    }
}

/// What identifies a version of a file, without reading it.
type Stamp = Option<(u64, u64, i64, i64)>;

fn stamps(folder: &Path, files: &[String]) -> Vec<Stamp> {
    let stamp = |file: &String| {
        let m = fs::metadata(folder.join(file)).ok()?;
        // The time of change, not of the content: `cp -p` and `mv` keep the latter.
        Some((m.ino(), m.size(), m.ctime(), m.ctime_nsec()))
    };
    files.iter().map(stamp).collect()
}

/// Perception and what is said of it.
type Loaded = (Box<dyn Perception>, (State, String, Vec<HealthStatement>));

impl Models {
    fn load(&self, opening: Opening) -> Result<Loaded, PerceptionError> {
        // What runs them is known once they have run.
        (self.open)(opening).map(|perception| (perception, (self.describe)()))
    }
}

/// Perception that is replaced while the unit runs.
pub struct Swap {
    inner: Box<dyn Perception>,
    models: Arc<Models>,
    health: Arc<HealthBoard>,
    reload: Reload,
    asked: u64,
    /// The files as they were when they were last loaded, and as they were at the last look.
    used: Vec<Stamp>,
    last: Vec<Stamp>,
    next: MonoTime,
    loading: Option<Receiver<Result<Loaded, String>>>,
    ready: bool,
}

impl Swap {
    /// Loads the models in a thread of its own; nothing is seen until they have run once, which
    /// takes TensorRT minutes when it first builds its engines.
    pub fn start(models: Models, reload: Reload, health: Arc<HealthBoard>) -> Self {
        let starting = "starting: models are loaded and run once; until then nothing is seen";
        health.set(models.part, State::Degraded, starting);
        let mut swap = Self::with(Box::new(Starting), models, reload, health);
        swap.load(Opening::First);
        swap
    }

    /// Loads the models now.
    ///
    /// # Errors
    /// As [`Models::open`].
    pub fn open(
        models: Models,
        reload: Reload,
        health: Arc<HealthBoard>,
    ) -> Result<Self, PerceptionError> {
        let used = stamps(&models.folder, &models.files);
        let loaded = models.load(Opening::First)?;
        let mut swap = Self::with(Box::new(Starting), models, reload, health);
        swap.used = used;
        swap.take_over(loaded);
        Ok(swap)
    }

    fn with(
        inner: Box<dyn Perception>,
        models: Models,
        reload: Reload,
        health: Arc<HealthBoard>,
    ) -> Self {
        let last = stamps(&models.folder, &models.files);
        Self {
            inner,
            models: Arc::new(models),
            health,
            asked: reload.count(),
            reload,
            used: last.clone(),
            last,
            next: MonoTime::ZERO,
            loading: None,
            ready: false,
        }
    }

    /// Whether models are in use that have run once.
    pub const fn is_ready(&self) -> bool {
        self.ready
    }

    fn load(&mut self, opening: Opening) {
        self.used = stamps(&self.models.folder, &self.models.files);
        self.asked = self.reload.count();
        let (to, from) = sync_channel(1);
        let models = Arc::clone(&self.models);
        let started = thread::Builder::new().name("models".into()).spawn(move || {
            drop(to.send(models.load(opening).map_err(|e| e.to_string())));
        });
        match started {
            Ok(_) => self.loading = Some(from),
            Err(e) => self.say_failed(&e.to_string()),
        }
    }

    /// Takes over what was loaded, where it is there.
    fn finish(&mut self) {
        let Some(from) = &self.loading else { return };
        let loaded = match from.try_recv() {
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => {
                Err("the thread that loaded them ended by a panic".to_owned())
            }
            Ok(loaded) => loaded,
        };
        self.loading = None;
        match loaded {
            Ok(loaded) => self.take_over(loaded),
            Err(why) => self.say_failed(&why),
        }
    }

    fn take_over(&mut self, (perception, (state, text, more)): Loaded) {
        self.inner = perception;
        let again = std::mem::replace(&mut self.ready, true);
        self.health.set(self.models.part, state, format!("ready: {text}"));
        for statement in more {
            self.health.set(statement.part, statement.state, statement.text);
        }
        self.say_inner();
        journal::write(&Entry::PerceptionReady { part: self.models.part, again });
    }

    fn say_failed(&self, why: &str) {
        let text = if self.ready {
            format!("models cannot be loaded, those before stay in use: {why}")
        } else {
            format!("models cannot be loaded, nothing is seen: {why}")
        };
        let state = if self.ready { State::Degraded } else { State::Failed };
        self.health.set(self.models.part, state, text);
    }

    fn say_inner(&self) {
        for statement in self.inner.health() {
            self.health.set(statement.part, statement.state, statement.text);
        }
    }

    /// Loads the models where their files have changed and change no more, or where it was asked.
    fn look_at_files(&mut self, now: MonoTime) {
        let asked = self.reload.count() != self.asked;
        if self.loading.is_some() || (now < self.next && !asked) {
            return;
        }
        self.next = now + EVERY;
        self.say_inner();
        let found = stamps(&self.models.folder, &self.models.files);
        // Files that are still being copied would be refused.
        let settled = found == self.last;
        self.last = found;
        if asked || (settled && self.last != self.used) {
            tracing::info!(part = self.models.part, "loading models anew");
            self.load(if self.ready { Opening::Again } else { Opening::First });
        }
    }
}

/// How long the end of a unit waits for models that are being loaded. Engines may take minutes to
/// build, and then the process ends all the same.
const LAST_LOAD: Duration = Duration::from_secs(5);

impl Drop for Swap {
    fn drop(&mut self) {
        // ONNX Runtime takes itself apart at the end of the process.
        if let Some(from) = &self.loading
            && let Err(RecvTimeoutError::Timeout) = from.recv_timeout(LAST_LOAD)
        {
            tracing::warn!("models are still being loaded at the end");
        }
    }
}

impl Perception for Swap {
    fn observe(&mut self, frame: &Frame) -> Sight {
        self.finish();
        self.look_at_files(frame.at);
        self.inner.observe(frame)
    }

    fn points(&self) -> &[[f32; 2]] {
        self.inner.points()
    }

    fn health(&self) -> Vec<HealthStatement> {
        self.inner.health()
    }
}

/// While the first models are loaded.
struct Starting;

impl Perception for Starting {
    fn observe(&mut self, frame: &Frame) -> Sight {
        Sight::unseen(frame.camera, frame.at, NotSeen::NoModel)
    }

    fn health(&self) -> Vec<HealthStatement> {
        Vec::new()
    }
}

/// What runs the models, for device health.
pub fn provider_health(options: &PerceptionOptions) -> HealthStatement {
    let (state, text) = match crate::infer::Runtime::load(&options.infer) {
        Ok(runtime) => {
            let standing = runtime.standing();
            let state = if standing.is_fallback() { State::Degraded } else { State::Ok };
            (state, standing.to_string())
        }
        Err(e) => (State::Failed, format!("no model can run: {e}")),
    };
    HealthStatement { part: PROVIDER, state, text }
}

#[cfg(test)]
#[path = "swap_tests.rs"]
mod tests;
