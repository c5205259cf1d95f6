//! The running server's parts in one place, opened in the order in which they need each other.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::fs::FlockOperation;

use crate::{
    authn::Guard,
    authz::{Authz, AuthzError},
    config::Config,
    db::{Db, DbError},
    error::AppError,
    keys::Keys,
    log::{Log, LogError},
    objects::{ObjectError, Objects, disk::DiskObjects, partial::Partials, s3::S3Objects},
    pki::{Pki, PkiError},
    report::Report,
    sign_in_key::{SignInKey, SignInKeyError},
    trace::Traces,
    view::Streams,
    witnesses::{WitnessError, Witnesses},
};

/// Why the server does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another server runs on this folder.
    #[error("another temoin-server runs on the data folder {}: stop it, or use another folder", .0.display())]
    Locked(PathBuf),
    /// The lock file cannot be opened.
    #[error("cannot lock the data folder {}: {source}", path.display())]
    Lock {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The CA.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The sign-in key.
    #[error(transparent)]
    SignInKey(#[from] SignInKeyError),
    /// The access log.
    #[error("the access log cannot be opened: {0}")]
    Log(#[from] LogError),
    /// The witnesses of the access log.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// The policies.
    #[error(transparent)]
    Authz(#[from] AuthzError),
    /// The objects.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Something else inside.
    #[error(transparent)]
    App(#[from] AppError),
}

/// What time it is, milliseconds since 1970. Tests have their own.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The system's wall clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
    })
}

struct Parts {
    config: Config,
    db: Db,
    pki: Pki,
    keys: Keys,
    sign_in_key: SignInKey,
    log: Log,
    witnesses: Arc<Witnesses>,
    authz: Authz,
    guard: Guard,
    objects: Arc<dyn Objects>,
    partials: Partials,
    streams: Arc<Streams>,
    traces: Arc<Traces>,
    report: Report,
    clock: Clock,
    /// Held as long as the server runs.
    _lock: File,
}

/// The running server's parts. Cheap to clone.
#[derive(Clone)]
pub struct App {
    parts: Arc<Parts>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("folder", &self.parts.config.folder).finish_non_exhaustive()
    }
}

impl App {
    /// Locks the data folder and opens everything in it.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(config: Config, clock: Clock, report: Report) -> Result<Self, StartError> {
        let lock = lock_folder(&config.folder)?;
        let authz = Authz::load()?;
        let pki = Pki::open(&config.pki())?;
        let objects = open_objects(&config)?;
        let partials = Partials::open(&config.path("partial"))?;
        let db = Db::open(&config.database()).await?;
        let has_factors = db.any_second_factor().await?;
        let sign_in_key = SignInKey::open_or_create(&config.sign_in_key(), has_factors)?;
        let log = Log::open(&config.log())?;
        log.catch_up(&db).await?;
        let witnesses = Arc::new(Witnesses::open(&config, &log).await?);
        let keys = Keys::new(&config.keys_socket(), log.clone(), Arc::clone(&witnesses));
        let parts = Parts {
            streams: Arc::new(Streams::new(config.views)),
            traces: Arc::default(),
            guard: Guard::new()?,
            config,
            db,
            pki,
            keys,
            sign_in_key,
            log,
            witnesses,
            authz,
            objects,
            partials,
            report,
            clock,
            _lock: lock,
        };
        Ok(Self { parts: Arc::new(parts) })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.parts.config
    }

    /// What time it is, milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        (self.parts.clock)()
    }

    /// Whether the server can do its work: the database answers, the access log takes entries and
    /// has one history, and the key service answers.
    pub async fn healthy(&self) -> bool {
        let keys = match self.parts.keys.head().await {
            Ok(head) if head.fork_seen => {
                tracing::error!("the key service was shown two histories of the access log");
                false
            }
            Ok(_) => true,
            Err(error) => {
                tracing::error!("{}", crate::error::chain(&error));
                false
            }
        };
        keys && self.parts.log.is_healthy() && self.parts.db.ping().await.is_ok()
    }

    /// Whether recordings may be shown, as far as the access log's witnesses have a say.
    ///
    /// # Errors
    /// [`AppError::Unwitnessed`].
    pub fn witnessed(&self) -> Result<(), AppError> {
        self.parts.witnesses.check(self.now_ms())
    }

    /// Ends what runs in the background and folds the database's log into its file.
    pub async fn close(&self) {
        self.parts.streams.stop_all();
        self.parts.db.close().await;
    }

    pub(crate) fn db(&self) -> &Db {
        &self.parts.db
    }

    pub(crate) fn pki(&self) -> &Pki {
        &self.parts.pki
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.parts.keys
    }

    pub(crate) fn sign_in_key(&self) -> &SignInKey {
        &self.parts.sign_in_key
    }

    pub(crate) fn log(&self) -> &Log {
        &self.parts.log
    }

    pub(crate) fn witnesses(&self) -> &Witnesses {
        &self.parts.witnesses
    }

    pub(crate) fn authz(&self) -> &Authz {
        &self.parts.authz
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.parts.guard
    }

    pub(crate) fn objects(&self) -> &Arc<dyn Objects> {
        &self.parts.objects
    }

    pub(crate) fn partials(&self) -> &Partials {
        &self.parts.partials
    }

    pub(crate) fn streams(&self) -> &Arc<Streams> {
        &self.parts.streams
    }

    pub(crate) fn traces(&self) -> &Arc<Traces> {
        &self.parts.traces
    }

    pub(crate) fn report(&self) -> &Report {
        &self.parts.report
    }
}

fn lock_folder(folder: &Path) -> Result<File, StartError> {
    let failed = |source| StartError::Lock { path: folder.to_owned(), source };
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join("lock"))
        .map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StartError::Locked(folder.to_owned())),
        Err(e) => Err(failed(e.into())),
    }
}

/// The store that the configuration names.
///
/// # Errors
/// [`ObjectError`].
pub fn open_objects(config: &Config) -> Result<Arc<dyn Objects>, ObjectError> {
    Ok(match &config.objects {
        crate::config::Objects::Disk => Arc::new(DiskObjects::open(&config.path("objects"))?),
        crate::config::Objects::S3(s3) => Arc::new(S3Objects::open(s3, &config.folder)?),
    })
}
