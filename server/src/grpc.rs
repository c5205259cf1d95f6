//! The units' side: tonic over TLS, both services on one port.
//!
//! A client certificate is asked for but not demanded by TLS, because a new unit has none. INVARIANT:
//! every call of `FleetService` begins with `caller`, which refuses whoever has no certificate of
//! an enrolled, unrevoked unit; the database is asked each time, so that revoking works at once.

use std::{future::Future, net::IpAddr, time::Duration};

use temoin_proto::wire::{
    enrolment_service_server::EnrolmentServiceServer, fleet_service_server::FleetServiceServer,
};
use tokio::net::TcpListener;
use tonic::{
    Request, Status,
    transport::{
        Certificate, Identity, Server, ServerTlsConfig,
        server::{TcpConnectInfo, TcpIncoming, TlsConnectInfo},
    },
};

use crate::{
    app::App, authn::sha256, db::units::Unit, enrol::Enrolment, error::chain, ingest::Fleet,
};

/// Longest message: 256 KiB of data and its frame.
const MAX_MESSAGE: usize = 300 * 1024;
/// A handshake that takes longer is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves units until `stop` is ready, then finishes the calls that run.
///
/// # Errors
/// Where TLS cannot be set up or the listener fails.
pub async fn serve(
    app: App,
    listener: TcpListener,
    hosts: &[String],
    stop: impl Future<Output = ()>,
) -> Result<(), anyhow::Error> {
    let identity = app.pki().grpc_identity(hosts)?;
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(&identity.certificate_pem, identity.key_pem.as_bytes()))
        .client_ca_root(Certificate::from_pem(app.pki().ca_pem()))
        .client_auth_optional(true)
        .timeout(HANDSHAKE);
    let fleet =
        FleetServiceServer::new(Fleet::new(app.clone())).max_decoding_message_size(MAX_MESSAGE);
    let enrolment =
        EnrolmentServiceServer::new(Enrolment::new(app)).max_decoding_message_size(MAX_MESSAGE);
    Server::builder()
        .tls_config(tls)?
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .concurrency_limit_per_connection(16)
        .add_service(enrolment)
        .add_service(fleet)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop)
        .await?;
    Ok(())
}

/// The address that a call comes from.
///
/// # Errors
/// `INTERNAL` where the transport does not say: not over TCP.
pub(crate) fn peer<T>(request: &Request<T>) -> Result<IpAddr, Status> {
    request
        .extensions()
        .get::<TlsConnectInfo<TcpConnectInfo>>()
        .and_then(|info| info.get_ref().remote_addr())
        .or_else(|| request.remote_addr())
        .map(|address| address.ip())
        .ok_or_else(|| Status::internal("the connection has no address"))
}

/// The unit whose certificate the call came with.
///
/// # Errors
/// `UNAUTHENTICATED` without a certificate, `PERMISSION_DENIED` with one that is not of an
/// enrolled unit.
pub(crate) async fn caller<T>(app: &App, request: &Request<T>) -> Result<Unit, Status> {
    let certificates = request
        .peer_certs()
        .ok_or_else(|| Status::unauthenticated("a unit's certificate is needed: enrol first"))?;
    let certificate = certificates
        .first()
        .ok_or_else(|| Status::unauthenticated("a unit's certificate is needed: enrol first"))?;
    app.db().unit_by_certificate(&sha256(certificate)).await.map_err(internal)?.ok_or_else(|| {
        Status::permission_denied(
            "this certificate is revoked or of no unit of this fleet: enrol again",
        )
    })
}

/// An error of the server: the chain into the log, a plain word to the unit.
pub(crate) fn internal(error: impl std::error::Error) -> Status {
    tracing::error!(error = %chain(&error), "a call of a unit failed");
    Status::internal("the server could not do this; its log says why; try again later")
}
