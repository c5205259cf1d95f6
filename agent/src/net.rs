//! The connection to the fleet server: TLS with the fleet's own CA and the unit's certificate.
//!
//! The unit's clock can be wrong by years, and certificates and events have dates. So both are
//! given a [`TrustedTime`]: what the server told in this run, else the system's clock where it is
//! plausible, else the last time that the server told in an earlier run (at first: at enrolment).

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    time_provider::TimeProvider,
};
use serde::{Deserialize, Serialize};
use temoin_hw::{Clock, clock::system_unix_ms};
use temoin_proto::time::{MonoTime, WallTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::{
    durable::{self, FileError},
    identity::Identity,
};

/// A unit's clock that is this far from the last trusted time is not believed: longer than any
/// unit stays away from its server with a certificate that still holds.
const PLAUSIBLE_AWAY_MS: i64 = 400 * 24 * 3600 * 1000;
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

/// What the unit believes the time of day to be.
#[derive(Debug)]
pub struct TrustedTime {
    path: PathBuf,
    /// Last time that the server told, milliseconds since 1970; 0: never.
    told_ms: AtomicI64,
    /// What the server's clock was ahead of the system's in this run, and how wrong that may be.
    offset_ms: Mutex<Option<(i64, u64)>>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    told_unix_ms: i64,
}

impl TrustedTime {
    /// Reads what the server last told; nothing told or an unreadable file counts as never.
    pub fn load(path: &Path) -> Self {
        let told_ms = fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Stored>(&bytes).ok())
            .map_or(0, |s| s.told_unix_ms);
        Self { path: path.to_owned(), told_ms: told_ms.into(), offset_ms: Mutex::default() }
    }

    /// For enrolment, when no server told anything yet: the ticket's own end is near enough to
    /// judge a clock that is wrong by years.
    pub fn of_ticket(path: &Path, ends_unix_ms: i64) -> Self {
        Self { path: path.to_owned(), told_ms: ends_unix_ms.into(), offset_ms: Mutex::default() }
    }

    /// Notes the server's time, told in an answer that took `round_trip`, and keeps it, at most
    /// once an hour. Gives what the server's clock is ahead of the system's, milliseconds.
    ///
    /// # Errors
    /// Where the file cannot be written; the time is used all the same.
    pub fn told(&self, server_unix_ms: i64, round_trip: Duration) -> Result<i64, FileError> {
        let uncertainty = u64::try_from(round_trip.as_millis()).unwrap_or(u64::MAX);
        // The answer was written at some moment of the round trip; now is its end.
        let offset = server_unix_ms.saturating_sub(system_unix_ms());
        *self.offset_ms.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((offset, uncertainty.saturating_add(1)));
        let before = self.told_ms.swap(server_unix_ms, Ordering::Relaxed);
        if server_unix_ms.abs_diff(before) >= 3_600_000 {
            self.keep()?;
        }
        Ok(offset)
    }

    /// Makes what was told last durable.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn keep(&self) -> Result<(), FileError> {
        let told = self.told_ms.load(Ordering::Relaxed);
        durable::replace(&self.path, format!("{{\"told_unix_ms\":{told}}}\n").as_bytes())
    }

    /// A reading of the system's clock, put right by what the server told in this run. Where it
    /// told nothing, a clock that is not plausible keeps its reading but loses all trust.
    pub fn correct(&self, wall: WallTime) -> WallTime {
        match *self.offset_ms.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((offset, uncertainty_ms)) => {
                WallTime { unix_ms: wall.unix_ms.saturating_add(offset), uncertainty_ms }
            }
            None if self.system_is_plausible(wall.unix_ms) => wall,
            None => WallTime { uncertainty_ms: u64::MAX, ..wall },
        }
    }

    /// Whether the system's clock is believed.
    pub fn system_is_plausible(&self, system_unix_ms: i64) -> bool {
        let told = self.told_ms.load(Ordering::Relaxed);
        told == 0
            || (-86_400_000..=PLAUSIBLE_AWAY_MS).contains(&system_unix_ms.saturating_sub(told))
    }

    fn now_ms(&self) -> i64 {
        let system = system_unix_ms();
        let told = *self.offset_ms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((offset, _)) = told {
            system.saturating_add(offset)
        } else if self.system_is_plausible(system) {
            system
        } else {
            self.told_ms.load(Ordering::Relaxed)
        }
    }
}

/// A clock whose wall time is put right by what the server tells.
pub struct CorrectedClock {
    /// Of the unit or of a replay.
    pub clock: Arc<dyn Clock>,
    /// What the server tells.
    pub time: Arc<TrustedTime>,
}

impl Clock for CorrectedClock {
    fn now(&self) -> MonoTime {
        self.clock.now()
    }

    fn wall(&self) -> WallTime {
        self.time.correct(self.clock.wall())
    }
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
    use super::*;

    #[test]
    fn a_clock_wrong_by_years_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("time.json");
        let time = TrustedTime::load(&path);
        assert!(time.system_is_plausible(0), "nothing told yet: the system is all there is");
        let told = 1_790_000_000_000;
        time.told(told, Duration::from_millis(30)).unwrap();
        // Told in this run: whatever the system says is put right.
        let right = time.correct(WallTime { unix_ms: system_unix_ms(), uncertainty_ms: u64::MAX });
        assert!((right.unix_ms - told).abs() < 5_000, "{right:?}");
        assert_eq!(right.uncertainty_ms, 31);
        let year = 365 * 86_400_000_i64;
        for (system, believed) in [
            (told + 1000, true),
            (told + year, true),
            (told + 5 * year, false),
            (told - 2 * year, false),
            (0, false),
        ] {
            assert_eq!(time.system_is_plausible(system), believed, "{system}");
        }
        let restarted = TrustedTime::load(&path);
        assert!(!restarted.system_is_plausible(0), "kept over a restart");
        let wall = WallTime { unix_ms: 0, uncertainty_ms: 500 };
        assert_eq!(restarted.correct(wall).uncertainty_ms, u64::MAX);
    }

    #[test]
    fn addresses_are_checked() {
        let time = Arc::new(TrustedTime::load(Path::new("/nonexistent")));
        for bad in ["localhost:1", "http://localhost:1", "https://localhost", "nonsense"] {
            assert!(Connector::for_enrolment(bad, "", Arc::clone(&time)).is_err(), "{bad}");
        }
    }
}
