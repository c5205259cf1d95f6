//! The portal's listener: TLS by rustls, HTTP/1 and HTTP/2 by hyper, the pages by
//! [`crate::portal`].

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, watch},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceBuilder;

use crate::pki::Identity;

/// Connections at once; beyond, new ones wait to be accepted.
const MAX_CONNECTIONS: usize = 512;
/// A handshake that takes longer is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A request's head must come within this.
const HEAD: Duration = Duration::from_secs(15);
/// How long requests that run may take to end when the server stops.
pub const DRAIN: Duration = Duration::from_secs(4);

/// TLS 1.2 and 1.3 with this identity.
///
/// # Errors
/// Where the identity is not usable.
pub fn tls_config(identity: &Identity) -> Result<ServerConfig, anyhow::Error> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Serves the portal until `stop` is ready, then gives running requests [`DRAIN`].
///
/// # Errors
/// None now; the type leaves room.
pub async fn serve(
    listener: TcpListener,
    tls: ServerConfig,
    router: Router,
    stop: impl Future<Output = ()>,
) -> Result<(), anyhow::Error> {
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let (end, ending) = watch::channel(false);
    // Closed when the last connection has dropped its sender.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
        };
        let (Ok(place), accepted) = accepted else { break };
        let (tcp, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a client that went away: neither ends the server.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (acceptor, router) = (acceptor.clone(), router.clone());
        let (mut ending, open) = (ending.clone(), open.clone());
        tokio::spawn(async move {
            let (_place, _open) = (place, open);
            let shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(tcp)).await;
            let Ok(Ok(tls)) = shaken else {
                tracing::debug!("a TLS handshake did not end well");
                return;
            };
            let mut builder = Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
            builder
                .http2()
                .timer(TokioTimer::new())
                .keep_alive_interval(Duration::from_secs(30))
                .max_concurrent_streams(64);
            let service = TowerToHyperService::new(with_address(router, from));
            let connection = builder.serve_connection(TokioIo::new(tls), service);
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = &mut connection => ended,
                // Dropped at once: what it borrows must not be held over the next await.
                () = async { drop(ending.wait_for(|end| *end).await) } => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    drop(open);
    end.send_replace(true);
    if tokio::time::timeout(DRAIN, all_closed.recv()).await.is_err() {
        tracing::info!("requests that did not end in time were cut off");
    }
    Ok(())
}

/// Puts the client's address where handlers find it, as [`ConnectInfo`].
fn with_address(
    router: Router,
    from: SocketAddr,
) -> impl tower::Service<
    hyper::Request<hyper::body::Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone {
    ServiceBuilder::new()
        .map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(ConnectInfo(from));
            request
        })
        .service(router)
}
