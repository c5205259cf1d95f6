//! The connection to the fleet server: TLS with the fleet's own CA and the unit's certificate.
//!
//! Certificates have dates, so they are checked at the [`TrustedTime`].

use std::{sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    time_provider::TimeProvider,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::{identity::Identity, trusted_time::TrustedTime};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The address is not one.
    #[error("`{0}` is not a server's address: https://HOST:PORT is needed")]
    Address(String),
    /// A certificate or key cannot be used.
    #[error("the {what} cannot be used for TLS: {reason}")]
    Certificate {
        /// Which.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The server did not answer, or not with a certificate of the fleet.
    #[error("cannot reach the server at `{address}`: {reason}")]
    Connect {
        /// Its address.
        address: String,
        /// The whole chain of causes.
        reason: String,
    },
}

#[derive(Debug)]
struct TlsTime(Arc<TrustedTime>);

impl TimeProvider for TlsTime {
    fn current_time(&self) -> Option<UnixTime> {
        let ms = u64::try_from(self.0.now_ms()).unwrap_or(0);
        Some(UnixTime::since_unix_epoch(Duration::from_millis(ms)))
    }
}

/// Where to connect, and as whom.
pub struct Connector {
    address: Uri,
    server_name: ServerName<'static>,
    tls: TlsConnector,
}

impl Connector {
    /// For an enrolled unit: with its certificate.
    ///
    /// # Errors
    /// [`NetError::Address`], [`NetError::Certificate`].
    pub fn for_unit(identity: &Identity, time: Arc<TrustedTime>) -> Result<Self, NetError> {
        let fleet = identity.fleet();
        let certificate =
            |reason: String| NetError::Certificate { what: "unit's certificate", reason };
        let chain = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| certificate(e.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
            .map_err(|e| certificate(e.to_string()))?;
        let config = trust(&fleet.ca_pem, time)?
            .with_client_auth_cert(chain, key)
            .map_err(|e| certificate(e.to_string()))?;
        Self::new(&fleet.server, config)
    }

    /// For enrolment: without a certificate yet.
    ///
    /// # Errors
    /// [`NetError::Address`], [`NetError::Certificate`].
    pub fn for_enrolment(
        server: &str,
        ca_pem: &str,
        time: Arc<TrustedTime>,
    ) -> Result<Self, NetError> {
        Self::new(server, trust(ca_pem, time)?.with_no_client_auth())
    }

    fn new(server: &str, mut tls: ClientConfig) -> Result<Self, NetError> {
        let wrong = || NetError::Address(server.to_owned());
        let address: Uri = server.parse().map_err(|_| wrong())?;
        let host = address.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        if address.scheme_str() != Some("https") || address.port_u16().is_none() {
            return Err(wrong());
        }
        let server_name = ServerName::try_from(host).map_err(|_| wrong())?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { address, server_name, tls: TlsConnector::from(Arc::new(tls)) })
    }

    /// The server's address, for messages.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Connects now.
    ///
    /// # Errors
    /// [`NetError::Connect`] with the whole chain of causes.
    pub async fn connect(&self) -> Result<Channel, NetError> {
        let tls = self.tls.clone();
        let name = self.server_name.clone();
        let connector = tower::service_fn(move |uri: Uri| {
            let (tls, name) = (tls.clone(), name.clone());
            async move {
                let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
                let tcp = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
                tcp.set_nodelay(true)?;
                Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, tcp).await?))
            }
        });
        // The connector below does TLS always; tonic's own would refuse an `https` address here.
        let authority = self.address.authority().map(ToString::to_string).unwrap_or_default();
        Endpoint::try_from(format!("http://{authority}"))
            .map_err(|_| NetError::Address(self.address()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .connect_with_connector(connector)
            .await
            .map_err(|e| NetError::Connect { address: self.address(), reason: chain(&e) })
    }
}

fn trust(
    ca_pem: &str,
    time: Arc<TrustedTime>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, NetError> {
    let unusable = |reason: String| NetError::Certificate { what: "fleet's CA", reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
        roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    Ok(ClientConfig::builder_with_details(Arc::new(default_provider()), Arc::new(TlsTime(time)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| unusable(e.to_string()))?
        .with_root_certificates(roots))
}

/// An error with all its causes, each said once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn addresses_are_checked() {
        let time = Arc::new(TrustedTime::load(Path::new("/nonexistent")));
        for bad in ["localhost:1", "http://localhost:1", "https://localhost", "nonsense"] {
            assert!(Connector::for_enrolment(bad, "", Arc::clone(&time)).is_err(), "{bad}");
        }
    }
}
