//! Pictures of a file that strangers made, by a process that can do nothing else (`temoin-decoder`).
//!
//! Blocks. INVARIANT: it ends within [`LIMIT`], whatever the file and whatever the process does; no
//! process outlives it.

use std::{
    io::{self, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use temoin_media::leak::{LeakError, LeakPicture, LeakReader, Limits};

use super::file::LeakFile;

/// For one run of the process: more than it has processor time for.
const LIMIT: Duration = Duration::from_secs(600);
/// The process's own name; it lies beside the server.
const PROGRAM: &str = "temoin-decoder";

/// Why there are no pictures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The program is not there, or cannot be started.
    #[error("cannot start {}: {source}; install it beside temoin-server", path.display())]
    Start {
        /// Where it was looked for.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is none, or cannot be played; or the process ended in the middle.
    #[error(transparent)]
    File(#[from] LeakError),
    /// It takes too long.
    #[error("the file was not decoded within {} s: cut out the part that shows the recording", LIMIT.as_secs())]
    Late,
}

/// What is wanted of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// The longer side of the pictures, pixels.
    pub(super) side: u16,
    /// Pictures a second at most.
    pub(super) fps: u32,
    /// Where it begins, seconds.
    pub(super) from_s: f64,
    /// How long it is, seconds.
    pub(super) most_s: u32,
}

/// Where the program lies: beside this one, or for tests one folder up.
pub(crate) fn find() -> Result<PathBuf, DecodeError> {
    let own = std::env::current_exe().unwrap_or_default();
    let mut beside = own.ancestors().skip(1).take(2).map(|folder| folder.join(PROGRAM));
    beside.find(|path| path.is_file()).ok_or_else(|| DecodeError::Start {
        path: own.with_file_name(PROGRAM),
        source: io::ErrorKind::NotFound.into(),
    })
}

/// Hands each picture of this part to `sink`, in a square with black bars.
pub(super) fn decode(
    file: &LeakFile,
    part: Part,
    mut sink: impl FnMut(LeakPicture),
) -> Result<(), DecodeError> {
    let program = find()?;
    let started = |source| DecodeError::Start { path: program.clone(), source };
    let mut child = Command::new(&program)
        .args(["--side", &part.side.to_string(), "--fps", &part.fps.to_string()])
        .args(["--from-s", &format!("{:.3}", part.from_s)])
        .args(["--most-s", &part.most_s.to_string()])
        .env_clear()
        .stdin(file.to_read().map_err(started)?)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(started)?;
    let output = child.stdout.take().ok_or_else(|| started(io::ErrorKind::BrokenPipe.into()))?;
    let watched = Watched::new(child);
    let pictures = usize::try_from(part.fps * part.most_s).unwrap_or(usize::MAX).saturating_add(2);
    let limits = Limits { side: part.side, pictures };
    let mut reader = LeakReader::new(BufReader::with_capacity(1 << 20, output), limits);
    loop {
        match reader.next_picture() {
            Ok(Some(picture)) => sink(picture),
            Ok(None) => return Ok(()),
            Err(error) if watched.is_late() => {
                tracing::debug!(%error, "the decoder was ended");
                return Err(DecodeError::Late);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A process that is ended when its time is over, or when this is dropped.
struct Watched {
    child: Arc<Mutex<Child>>,
    done: Option<mpsc::Sender<()>>,
    watch: Option<std::thread::JoinHandle<bool>>,
}

impl Watched {
    fn new(child: Child) -> Self {
        let child = Arc::new(Mutex::new(child));
        let (done, ended) = mpsc::channel();
        let watch = std::thread::spawn({
            let child = Arc::clone(&child);
            move || {
                let late = ended.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout);
                if late {
                    end(&child);
                }
                late
            }
        });
        Self { child, done: Some(done), watch: Some(watch) }
    }

    fn is_late(&self) -> bool {
        self.watch.as_ref().is_some_and(std::thread::JoinHandle::is_finished)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.done.take());
        end(&self.child);
        if let Some(watch) = self.watch.take() {
            // It has no way to panic, and nothing to say any more.
            drop(watch.join());
        }
    }
}

fn end(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    // It may have ended by itself.
    drop(child.kill());
    drop(child.wait());
}
