//! `POST /add-checkpoint` over HTTP, or HTTPS where a certificate is given (C2SP tlog-witness), and
//! `GET /public-key`.
//!
//! INVARIANT: whoever asks gets a bounded part of memory and time: so many connections at once, so
//! many bytes of a head and a body, so long for each.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use temoin_access_log::witness_request::MAX_REQUEST_LEN;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;

use crate::{Refusal, Witness};

/// Connections at once; beyond, new ones wait. A witness has a handful of logs.
const MAX_CONNECTIONS: usize = 64;
/// A TLS handshake, a request's head and its body must each come within this.
const PATIENCE: Duration = Duration::from_secs(10);
/// No connection is kept for longer.
const MAX_CONNECTION: Duration = Duration::from_secs(600);

/// What time it is, seconds since 1970; none before.
pub type Clock = fn() -> Option<u64>;

/// The system's wall clock.
pub fn system_clock() -> Option<u64> {
    std::time::UNIX_EPOCH.elapsed().ok().map(|since| since.as_secs())
}

#[derive(Clone)]
struct Served {
    witness: Arc<Witness>,
    clock: Clock,
    patience: Duration,
}

/// What a witness answers.
pub fn router(witness: Arc<Witness>, clock: Clock) -> Router {
    patient_router(witness, clock, PATIENCE)
}

fn patient_router(witness: Arc<Witness>, clock: Clock, patience: Duration) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/public-key", get(public_key))
        .with_state(Served { witness, clock, patience })
}

async fn public_key(State(served): State<Served>) -> String {
    format!("{}\n", served.witness.public_key())
}

async fn add_checkpoint(State(served): State<Served>, request: Request) -> Response {
    let body = match read(request.into_body(), served.patience).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let Some(unix_s) = (served.clock)() else {
        tracing::error!("the clock is before 1970: nothing is signed");
        return say(StatusCode::INTERNAL_SERVER_ERROR, "the witness cannot work");
    };
    let judged =
        tokio::task::spawn_blocking(move || served.witness.add_checkpoint(&body, unix_s)).await;
    match judged {
        Ok(Ok(line)) => line.into_response(),
        Ok(Err(refusal)) => refuse(&refusal),
        Err(error) => {
            tracing::error!(%error, "a request was not judged to its end");
            say(StatusCode::INTERNAL_SERVER_ERROR, "the witness cannot work")
        }
    }
}

async fn read(body: Body, patience: Duration) -> Result<Vec<u8>, Response> {
    match tokio::time::timeout(patience, to_bytes(body, MAX_REQUEST_LEN)).await {
        Ok(Ok(body)) => Ok(body.to_vec()),
        Ok(Err(_)) => Err(say(StatusCode::BAD_REQUEST, "the body is cut off or too long")),
        Err(_) => Err(say(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

fn say(status: StatusCode, text: &str) -> Response {
    (status, format!("{text}\n")).into_response()
}

fn refuse(refusal: &Refusal) -> Response {
    let text = refusal.to_string();
    match refusal {
        Refusal::Request(_) | Refusal::Checkpoint(_) | Refusal::OldAboveNew { .. } => {
            say(StatusCode::BAD_REQUEST, &text)
        }
        Refusal::UnknownLog(_) => say(StatusCode::NOT_FOUND, &text),
        Refusal::Signature(_) => say(StatusCode::FORBIDDEN, &text),
        Refusal::Size { size } | Refusal::Fork { size } => (
            StatusCode::CONFLICT,
            [(header::CONTENT_TYPE, "text/x.tlog.size")],
            format!("{size}\n"),
        )
            .into_response(),
        Refusal::Proof { .. } => say(StatusCode::UNPROCESSABLE_ENTITY, &text),
        Refusal::Witness(error) => {
            tracing::error!(%error, "nothing was signed");
            say(StatusCode::INTERNAL_SERVER_ERROR, "the witness cannot work: see its log")
        }
    }
}

/// TLS 1.2 and 1.3 with this certificate chain and private key, both PEM.
///
/// # Errors
/// Where they are not usable.
pub fn tls_config(certificate: &[u8], key: &[u8]) -> Result<ServerConfig, anyhow::Error> {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Serves until `stop` is ready. A request that runs is cut off then: what it leaves is what a crash
/// leaves, and its log asks again.
pub async fn serve(
    listener: TcpListener,
    tls: Option<ServerConfig>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let acceptor = tls.map(|tls| TlsAcceptor::from(Arc::new(tls)));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => return,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
        };
        let (Ok(place), accepted) = accepted else { return };
        let tcp = match accepted {
            Ok((tcp, _)) => tcp,
            Err(error) => {
                // Out of file descriptors, or a client that went away: neither ends the witness.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let _place = place;
            let served = async {
                match acceptor {
                    None => answer(tcp, router).await,
                    Some(acceptor) => {
                        if let Ok(Ok(tls)) =
                            tokio::time::timeout(PATIENCE, acceptor.accept(tcp)).await
                        {
                            answer(tls, router).await;
                        }
                    }
                }
            };
            // A client that was cut off asks again on another connection.
            drop(tokio::time::timeout(MAX_CONNECTION, served).await);
        });
    }
}

async fn answer(line: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_concurrent_streams(8);
    let service = TowerToHyperService::new(router);
    if let Err(error) = builder.serve_connection(TokioIo::new(line), service).await {
        tracing::debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;
    use crate::judge::tests::{request, witness};

    async fn send(
        router: &Router,
        method: &str,
        body: impl Into<Body>,
    ) -> (u16, Option<String>, String) {
        let request = Request::builder().method(method).uri("/add-checkpoint").body(body.into());
        let answer = router.clone().oneshot(request.unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let kind = answer.headers().get(header::CONTENT_TYPE).map(|v| v.to_str().unwrap().into());
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    /// The statuses that the specification names.
    #[tokio::test]
    async fn answers_as_the_specification_says() {
        let (_dir, witness, key) = witness();
        let stranger = temoin_access_log::LogKey::generate("other.example/log").unwrap().0;
        let forger = temoin_access_log::LogKey::generate(key.public().name()).unwrap().0;
        let public = witness.public_key().name().to_owned();
        let router = router(Arc::new(witness), || Some(1000));
        for (what, body, status) in [
            ("first", request(&key, 0, &["a", "b"]), 200),
            ("again", request(&key, 2, &["a", "b"]), 200),
            ("nonsense", b"hello".to_vec(), 400),
            ("old above new", request(&key, 9, &["a"]), 400),
            ("too long", vec![b'x'; MAX_REQUEST_LEN + 1], 400),
            ("unknown log", request(&stranger, 0, &["a"]), 404),
            ("wrong key", request(&forger, 2, &["a", "b", "c"]), 403),
            ("wrong size", request(&key, 1, &["a", "b", "c"]), 409),
            ("other root", request(&key, 2, &["a", "X"]), 409),
            ("wrong proof", request(&key, 2, &["a", "X", "c"]), 422),
            ("next", request(&key, 2, &["a", "b", "c"]), 200),
        ] {
            let (found, kind, text) = send(&router, "POST", body).await;
            assert_eq!(found, status, "{what}: {text}");
            assert!(text.ends_with('\n'), "{what}");
            match status {
                200 => assert!(text.starts_with(&format!("— {public} ")), "{text}"),
                409 => assert_eq!((kind.as_deref(), &*text), (Some("text/x.tlog.size"), "2\n")),
                _ => {}
            }
        }
        assert_eq!(send(&router, "GET", "").await.0, 405);
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_dropped() {
        let (_dir, witness, _key) = witness();
        let router = patient_router(Arc::new(witness), || Some(1000), Duration::from_millis(10));
        let never = Body::new(Never);
        let (status, _, _) = send(&router, "POST", never).await;
        assert_eq!(status, 408);
    }

    struct Never;

    impl axum::body::HttpBody for Never {
        type Data = axum::body::Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }
}
