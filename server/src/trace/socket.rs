//! Tracing on the server's own command line: `temoin-server trace` hands the file to the server that
//! runs, which alone may write the access log.
//!
//! Over a Unix socket in the data folder that the server's user alone can open (mode 0600). Frames as the
//! key service has them. The command sends an [`Ask`] and the file in pieces, an empty one at its end; the
//! server answers with [`Told`], and after [`Told::Ended`] sends the report as a page and as a PDF.
//!
//! INVARIANT: it gives no right. What is done rests on a grant that a person of the portal asked for and
//! another one gave, and is logged under it, by nobody who is known.

use std::{
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use temoin_keys::message::{MessageError, next_len, read_body, send};
use temoin_proto::ids::{EventId, GrantId};
use tokio::net::{UnixListener, UnixStream};

use super::{
    TraceState,
    file::{Incoming, LeakFile},
    report,
};
use crate::{app::App, error::AppError};

/// Longest piece of a file, bytes.
pub(crate) const PIECE: usize = 1 << 20;
/// Longest report, bytes.
const MAX_REPORT: usize = 64 << 20;
/// How often it is looked whether the trace went on.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What is to be traced.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// Under which grant.
    pub(crate) grant: GrantId,
    /// Which event it shows, where that is known.
    pub(crate) event: Option<EventId>,
}

/// What the server says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    /// What it does now.
    Step(String),
    /// It will not, or nothing can be said of the file.
    Refused(String),
    /// What it found.
    Ended(String),
}

/// What the command has in the end.
#[derive(Debug)]
pub(crate) struct Reports {
    /// In a sentence.
    pub(crate) sentence: String,
    /// As a page.
    pub(crate) html: Vec<u8>,
    /// As a PDF.
    pub(crate) pdf: Vec<u8>,
}

/// Why the command has no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// No server runs, or it is not this user's.
    #[error(
        "cannot reach the server at {}: {source}; is it running, and are you its user?",
        path.display()
    )]
    Away {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the server went away: {0}")]
    Broken(#[from] MessageError),
    /// The file.
    #[error("cannot read the file: {0}")]
    File(io::Error),
    /// The server said no, or that nothing can be said.
    #[error("{0}")]
    Refused(String),
    /// It said something else.
    #[error("the server said something that this program does not know: are both of one version?")]
    Confused,
}

/// Asks the server that runs. `says` is told what it does.
pub(crate) async fn ask(
    path: &Path,
    ask: &Ask,
    mut file: impl io::Read,
    mut says: impl FnMut(&str),
) -> Result<Reports, AskError> {
    let away = |source| AskError::Away { path: path.to_owned(), source };
    let mut stream = UnixStream::connect(path).await.map_err(away)?;
    send(&mut stream, &serde_json::to_vec(ask).map_err(|_| AskError::Confused)?).await?;
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece).map_err(AskError::File)?;
        // The server may have refused already: its word counts, not that it does not listen.
        let sent = send(&mut stream, piece.get(..read).unwrap_or_default()).await;
        if read == 0 || sent.is_err() {
            break;
        }
    }
    loop {
        match told(&mut stream).await? {
            Told::Step(step) => says(&step),
            Told::Refused(why) => return Err(AskError::Refused(why)),
            Told::Ended(sentence) => {
                let html = frame(&mut stream, MAX_REPORT).await?;
                let pdf = frame(&mut stream, MAX_REPORT).await?;
                return Ok(Reports { sentence, html, pdf });
            }
        }
    }
}

async fn told(stream: &mut UnixStream) -> Result<Told, AskError> {
    let bytes = frame(stream, PIECE).await?;
    serde_json::from_slice(&bytes).map_err(|_| AskError::Confused)
}

async fn frame(stream: &mut UnixStream, most: usize) -> Result<Vec<u8>, MessageError> {
    let len = next_len(stream, most)
        .await?
        .ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset))?;
    Ok(read_body(stream, len).await?.to_vec())
}

/// Listens for the command line until it is dropped.
///
/// # Errors
/// Where the socket cannot be made.
pub(crate) async fn serve(app: App) -> io::Result<()> {
    let path = app.config().trace_socket();
    // Left behind by a server that was killed; two never run on one folder.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let app = app.clone();
        tokio::spawn(async move {
            let told = match answer(&app, &mut stream).await {
                Ok(told) => told,
                Err(error) => {
                    // The command was stopped. What it began goes on, and is in the portal.
                    tracing::info!(%error, "a trace's command line went away");
                    return;
                }
            };
            if let Err(error) = finish(&mut stream, told).await {
                tracing::info!(%error, "a trace's command line went away");
            }
        });
    }
}

async fn answer(
    app: &App,
    stream: &mut UnixStream,
) -> Result<Result<Reports, String>, MessageError> {
    let bytes = frame(stream, PIECE).await?;
    let Ok(ask) = serde_json::from_slice::<Ask>(&bytes) else {
        return Ok(Err("are both programs of one version?".to_owned()));
    };
    let file = match incoming(stream).await? {
        Ok(file) => file,
        Err(error) => return Ok(Err(error.client_text())),
    };
    let id = match app.begin_trace_under(ask.grant, file, ask.event).await {
        Ok(id) => id,
        Err(AppError::NotFound) => return Ok(Err("There is no such grant.".to_owned())),
        Err(error) => return Ok(Err(error.client_text())),
    };
    let mut last = String::new();
    loop {
        let state = match app.trace_begun_here(id).await {
            Ok(shown) => shown.state,
            Err(error) => return Ok(Err(error.client_text())),
        };
        match state {
            TraceState::Runs(step) => {
                if step != last {
                    say(stream, &Told::Step(step.clone())).await?;
                    last = step;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            TraceState::Lost => return Ok(Err("The server was stopped.".to_owned())),
            TraceState::Failed(why) => return Ok(Err(why)),
            TraceState::Ended(found) => {
                let written =
                    report::html(&found).and_then(|html| Ok((html, report::pdf(&found)?)));
                return Ok(match written {
                    Ok((html, pdf)) => {
                        Ok(Reports { sentence: found.sentence(), html: html.into_bytes(), pdf })
                    }
                    Err(error) => Err(format!("the report cannot be written: {error}")),
                });
            }
        }
    }
}

async fn incoming(stream: &mut UnixStream) -> Result<Result<LeakFile, AppError>, MessageError> {
    let mut incoming = match Incoming::new() {
        Ok(incoming) => incoming,
        Err(error) => return Ok(Err(error.into())),
    };
    loop {
        let piece = frame(stream, PIECE).await?;
        if piece.is_empty() {
            return Ok(incoming.finish().map_err(AppError::from));
        }
        if let Err(error) = incoming.push(&piece) {
            return Ok(Err(error.into()));
        }
    }
}

async fn finish(
    stream: &mut UnixStream,
    told: Result<Reports, String>,
) -> Result<(), MessageError> {
    match told {
        Err(why) => say(stream, &Told::Refused(why)).await,
        Ok(reports) => {
            say(stream, &Told::Ended(reports.sentence)).await?;
            send(stream, &reports.html).await?;
            send(stream, &reports.pdf).await
        }
    }
}

async fn say(stream: &mut UnixStream, told: &Told) -> Result<(), MessageError> {
    let bytes = serde_json::to_vec(told).map_err(io::Error::other)?;
    send(stream, &bytes).await
}
