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

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        sync::oneshot,
    };

    use super::*;
    use crate::pki::Pki;

    #[tokio::test]
    async fn serves_over_tls_with_the_clients_address_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        Pki::create(&dir.path().join("pki")).unwrap();
        let pki = Pki::open(&dir.path().join("pki")).unwrap();
        let identity = pki.https_identity(&["localhost".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route(
            "/",
            get(|ConnectInfo(from): ConnectInfo<SocketAddr>| async move { from.ip().to_string() }),
        );
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, tls_config(&identity).unwrap(), router, async {
            drop(stopped.await);
        }));

        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(pki.ca_pem().as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = connector.connect(name, tcp).await.unwrap();
        tls.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"127.0.0.1") {
            let mut buffer = [0; 1024];
            let n = tls.read(&mut buffer).await.unwrap();
            assert!(n > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..n]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
        // Who speaks no TLS gets nothing and takes nothing down.
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut rest = Vec::new();
        drop(plain.read_to_end(&mut rest).await);
        assert!(!rest.starts_with(b"HTTP"));
        // A connection that idles is closed, not waited for.
        stop.send(()).unwrap();
        tokio::time::timeout(DRAIN / 2, served).await.unwrap().unwrap().unwrap();
    }
}
