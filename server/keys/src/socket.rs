//! Who may connect, and the connections.
//!
//! The socket has mode 0660, and each connection's user is asked of the system and must be one of
//! the configuration's: neither alone lets anybody in.

use std::{os::unix::fs::PermissionsExt as _, path::Path, pin::pin, sync::Arc, time::Duration};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};

use crate::{
    keyring::PlaceError,
    message::{Answer, MAX_REQUEST_LEN, MessageError, Refusal, Request, next_len, read_body, send},
    place::{content, failed},
    service::Service,
};

/// Connections at once: more than a few servers hold.
const MAX_CONNECTIONS: usize = 64;
/// For the rest of a request whose beginning is there, and for an answer to be taken.
const MESSAGE_LIMIT: Duration = Duration::from_secs(5);
/// For a refused accept, such as for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Makes the socket. One that a crash left is removed.
///
/// # Errors
/// [`PlaceError`], also where another service listens there.
pub fn bind(path: &Path, gid: Option<u32>) -> Result<UnixListener, PlaceError> {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => return Err(content(path, "another service listens there: stop it")),
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed("remove", path))?;
        }
        // Not there, or whatever `bind` will say better.
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed("make the socket", path))?;
    if let Some(gid) = gid {
        std::os::unix::fs::chown(path, None, Some(gid))
            .map_err(failed("give its group to", path))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
        .map_err(failed("set the mode of", path))?;
    Ok(listener)
}

/// Serves connections of these users until `stop`.
pub async fn serve(
    listener: UnixListener,
    service: Arc<Service>,
    allowed_uids: &[u32],
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match stream.peer_cred() {
            Ok(peer) if allowed_uids.contains(&peer.uid()) => {}
            Ok(peer) => {
                tracing::error!(uid = peer.uid(), pid = peer.pid(), "refused: not an allowed user");
                continue;
            }
            Err(error) => {
                tracing::error!(%error, "refused: the system does not say who connects");
                continue;
            }
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!("refused: {MAX_CONNECTIONS} connections are open");
            continue;
        };
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &service).await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(place);
        });
    }
}

async fn converse(mut stream: UnixStream, service: &Service) -> Result<(), MessageError> {
    let late = |_| MessageError::Io(std::io::ErrorKind::TimedOut.into());
    while let Some(len) = next_len(&mut stream, MAX_REQUEST_LEN).await? {
        let body = tokio::time::timeout(MESSAGE_LIMIT, read_body(&mut stream, len));
        let answer = match Request::decode(&body.await.map_err(late)??) {
            // On this thread, though it may wait for the disk: those that do wait for each other
            // anyway, and handing it to another thread takes longer than most answers.
            Ok(request) => service.handle(request),
            Err(error) => {
                tracing::warn!(%error, "not a request");
                Answer::Refused(Refusal::Malformed)
            }
        };
        let answer = answer.encode()?;
        tokio::time::timeout(MESSAGE_LIMIT, send(&mut stream, &answer)).await.map_err(late)??;
    }
    Ok(())
}
