//! The fleet's certificate authority: it vouches for the server to units, and for units to the
//! server.
//!
//! The CA's key is a file, mode 0600. A unit is known by the SHA-256 of its certificate in the
//! database, so that revoking is one row and takes effect at once; the CA's signature alone lets
//! nobody in.
//!
//! A unit's clock can be wrong by years, and then every certificate with a narrow validity fails
//! exactly when the unit most needs its server. So the CA and the server's certificate towards
//! units are valid from 1970 to 2100, and the latter's key lives in memory only: it is made anew
//! at each start. The portal's certificate is for browsers and has a browser's lifetime.

use std::{
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData as _,
};
use temoin_proto::ids::UnitId;
use zeroize::Zeroizing;

use crate::authn::sha256;

/// Browsers accept at most 398 days.
const HTTPS_VALID_DAYS: i64 = 397;
/// The portal's certificate is made anew at a start after this age.
const HTTPS_RENEW_AFTER: Duration = Duration::from_secs(300 * 24 * 3600);
/// A unit's certificate: long, because the database ends it at once where need be, and a unit that
/// is away for months must still be able to hand in its clips.
const UNIT_VALID_DAYS: i64 = 10 * 365;

/// Why a certificate could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Others can read a private key.
    #[error(
        "the private key {} has mode {mode:03o}, so others may have read it: `chmod 600` it",
        path.display()
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A certificate or key is not one, or cannot be made.
    #[error("{what}: {source}")]
    Certificate {
        /// What was tried.
        what: String,
        /// Why not.
        source: rcgen::Error,
    },
    /// A unit's request cannot be signed.
    #[error("the certificate request is not usable: {0}")]
    Request(String),
}

/// A certificate chain and its private key, both PEM.
pub struct Identity {
    /// The chain.
    pub certificate_pem: String,
    /// The key.
    pub key_pem: Zeroizing<String>,
}

/// A unit's new certificate.
pub struct UnitCertificate {
    /// As the unit keeps it.
    pub pem: String,
    /// SHA-256 of its DER: how the unit is known from now on.
    pub sha256: [u8; 32],
}

/// The fleet's CA, opened.
pub struct Pki {
    folder: PathBuf,
    ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Pki {
    /// Makes a CA in a new folder.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn create(folder: &Path) -> Result<(), PkiError> {
        let failed = |source| PkiError::File { what: "make", path: folder.to_owned(), source };
        std::fs::create_dir(folder).map_err(failed)?;
        let key = KeyPair::generate().map_err(cannot("make the CA's key"))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("Temoin fleet CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = rcgen::date_time_ymd(1970, 1, 1);
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let certificate = params.self_signed(&key).map_err(cannot("sign the CA's certificate"))?;
        write_new(&folder.join("ca.key"), Zeroizing::new(key.serialize_pem()).as_bytes(), 0o600)?;
        write_new(&folder.join("ca.crt"), certificate.pem().as_bytes(), 0o644)
    }

    /// Opens the CA in this folder.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn open(folder: &Path) -> Result<Self, PkiError> {
        let path = folder.join("ca.crt");
        let ca_pem = std::fs::read_to_string(&path).map_err(|source| PkiError::File {
            what: "read",
            path,
            source,
        })?;
        let key_path = folder.join("ca.key");
        let key_pem = read_private(&key_path)?;
        let key = KeyPair::from_pem(&key_pem)
            .map_err(cannot(&format!("read the key {}", key_path.display())))?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key)
            .map_err(cannot(&format!("read the certificate in {}", folder.display())))?;
        Ok(Self { folder: folder.to_owned(), ca_pem, issuer })
    }

    /// The CA's certificate, PEM: public.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The server's identity towards units, made now, its key in memory only.
    ///
    /// # Errors
    /// [`PkiError::Certificate`].
    pub fn grpc_identity(&self, hosts: &[String]) -> Result<Identity, PkiError> {
        let mut params = server_params(hosts, "Temoin fleet server")?;
        params.not_before = rcgen::date_time_ymd(1970, 1, 1);
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        self.sign_server(params)
    }

    /// The portal's identity: kept in files, so that a browser's exception for it lasts, and made
    /// anew when it gets old or the names change.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn https_identity(&self, hosts: &[String]) -> Result<Identity, PkiError> {
        let paths = ["https.crt", "https.key", "https.hosts"].map(|n| self.folder.join(n));
        let [certificate, key, names] = &paths;
        let wanted = hosts.join("\n");
        let age = std::fs::metadata(certificate)
            .and_then(|m| m.modified())
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        let fresh = age.is_some_and(|age| age < HTTPS_RENEW_AFTER)
            && std::fs::read_to_string(names).is_ok_and(|have| have == wanted);
        if !fresh {
            let mut params = server_params(hosts, "Temoin fleet portal")?;
            set_validity(&mut params, HTTPS_VALID_DAYS);
            let identity = self.sign_server(params)?;
            // The names last: a crash before leaves names that do not fit, and all is made again.
            for path in [names, key, certificate] {
                remove(path)?;
            }
            write_new(key, identity.key_pem.as_bytes(), 0o600)?;
            write_new(certificate, identity.certificate_pem.as_bytes(), 0o644)?;
            write_new(names, wanted.as_bytes(), 0o644)?;
        }
        read_identity(certificate, key)
    }

    /// Signs a unit's request: of its wishes only the key counts, name and use are ours.
    ///
    /// # Errors
    /// [`PkiError::Request`] where it is not a request signed by an Ed25519 key that is also the
    /// one that will sign manifests.
    pub fn sign_unit(
        &self,
        unit: &UnitId,
        csr_pem: &str,
        signing_public_key: &[u8],
    ) -> Result<UnitCertificate, PkiError> {
        let request = CertificateSigningRequestParams::from_pem(csr_pem)
            .map_err(|e| PkiError::Request(e.to_string()))?;
        if request.public_key.algorithm() != &rcgen::PKCS_ED25519 {
            return Err(PkiError::Request("its key is not Ed25519".to_owned()));
        }
        if request.public_key.der_bytes() != signing_public_key {
            return Err(PkiError::Request(
                "its key is not the one that signs manifests".to_owned(),
            ));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = name(unit.as_str());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, UNIT_VALID_DAYS);
        let certificate = params
            .signed_by(&request.public_key, &self.issuer)
            .map_err(cannot("sign the unit's certificate"))?;
        Ok(UnitCertificate { pem: certificate.pem(), sha256: sha256(certificate.der()) })
    }

    fn sign_server(&self, params: CertificateParams) -> Result<Identity, PkiError> {
        let key = KeyPair::generate().map_err(cannot("make the server's key"))?;
        let certificate: Certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(cannot("sign the server's certificate"))?;
        Ok(Identity {
            certificate_pem: certificate.pem(),
            key_pem: Zeroizing::new(key.serialize_pem()),
        })
    }
}

/// A chain and its key from two files.
///
/// # Errors
/// [`PkiError::File`], [`PkiError::Mode`].
pub fn read_identity(certificate: &Path, key: &Path) -> Result<Identity, PkiError> {
    Ok(Identity {
        certificate_pem: std::fs::read_to_string(certificate).map_err(|source| PkiError::File {
            what: "read",
            path: certificate.to_owned(),
            source,
        })?,
        key_pem: read_private(key)?,
    })
}

fn cannot(what: &str) -> impl FnOnce(rcgen::Error) -> PkiError {
    let what = format!("cannot {what}");
    move |source| PkiError::Certificate { what, source }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn server_params(hosts: &[String], common: &str) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(hosts)
        .map_err(cannot(&format!("put the names {} into a certificate", hosts.join(", "))))?;
    params.distinguished_name = name(common);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// From yesterday, for clocks that are a little behind, for so many days.
fn set_validity(params: &mut CertificateParams, days: i64) {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let at = |days: i64| {
        let date = today.saturating_add(jiff::Span::new().days(days));
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        rcgen::date_time_ymd(i32::from(date.year()), month, day)
    };
    params.not_before = at(-1);
    params.not_after = at(days);
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, PkiError> {
    let failed = |source| PkiError::File { what: "read", path: path.to_owned(), source };
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(PkiError::Mode { path: path.to_owned(), mode });
    }
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(failed)
}

fn remove(path: &Path) -> Result<(), PkiError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(PkiError::File { what: "remove", path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
    let failed = |source| PkiError::File { what: "write", path: path.to_owned(), source };
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pki() -> (tempfile::TempDir, Pki) {
        let dir = tempfile::tempdir().unwrap();
        Pki::create(&dir.path().join("pki")).unwrap();
        let pki = Pki::open(&dir.path().join("pki")).unwrap();
        (dir, pki)
    }

    #[test]
    fn units_get_a_certificate_for_their_own_ed25519_key_only() {
        let (_dir, pki) = pki();
        let unit: UnitId = "van-1".parse().unwrap();
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut wishes = CertificateParams::new(vec!["admin.example".to_owned()]).unwrap();
        wishes.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let csr = wishes.serialize_request(&key).unwrap().pem().unwrap();
        let signed = pki.sign_unit(&unit, &csr, key.public_key_raw()).unwrap();
        assert!(signed.pem.contains("BEGIN CERTIFICATE"));
        assert!(matches!(pki.sign_unit(&unit, &csr, &[7; 32]), Err(PkiError::Request(_))));
        let ecdsa = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&ecdsa).unwrap().pem().unwrap();
        let refused = pki.sign_unit(&unit, &csr, ecdsa.public_key_raw());
        assert!(matches!(refused, Err(PkiError::Request(_))));
        for nonsense in ["", "-----BEGIN CERTIFICATE REQUEST-----", "\u{0}"] {
            assert!(matches!(pki.sign_unit(&unit, nonsense, &[]), Err(PkiError::Request(_))));
        }
    }

    #[test]
    fn the_portals_certificate_lasts_until_the_names_change() {
        let (_dir, pki) = pki();
        let hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let first = pki.https_identity(&hosts).unwrap();
        assert_eq!(pki.https_identity(&hosts).unwrap().certificate_pem, first.certificate_pem);
        let other = pki.https_identity(&["fleet.example".to_owned()]).unwrap();
        assert_ne!(other.certificate_pem, first.certificate_pem);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (dir, _pki) = pki();
        let key = dir.path().join("pki/ca.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Pki::open(&dir.path().join("pki")), Err(PkiError::Mode { .. })));
    }

    proptest::proptest! {
        #[test]
        fn no_request_panics(
            text in ".{0,300}",
            cut in 0usize..300,
            at in 0usize..300,
            with: u8,
        ) {
            static CA: std::sync::OnceLock<(tempfile::TempDir, Pki)> = std::sync::OnceLock::new();
            let (_, pki) = CA.get_or_init(pki);
            let unit: UnitId = "van-1".parse().unwrap();
            let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
            let csr = CertificateParams::default().serialize_request(&key).unwrap();
            let mut der = csr.der().to_vec();
            if let Some(byte) = der.get_mut(at) {
                *byte = with;
            }
            der.truncate(cut);
            let mut spoilt = String::from("-----BEGIN CERTIFICATE REQUEST-----\n");
            spoilt.push_str(&base64(&der));
            spoilt.push_str("\n-----END CERTIFICATE REQUEST-----\n");
            for request in [&text, &spoilt] {
                drop(pki.sign_unit(&unit, request, key.public_key_raw()));
            }
        }
    }

    fn base64(bytes: &[u8]) -> String {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        bytes
            .chunks(3)
            .map(|three| {
                let bits = three.iter().fold(0_u32, |bits, b| bits << 8 | u32::from(*b))
                    << (8 * (3 - three.len()));
                let mut four: Vec<char> = (0..4)
                    .map(|i| char::from(LETTERS[(bits >> (18 - 6 * i) & 63) as usize]))
                    .collect();
                four[three.len() + 1..].fill('=');
                four.into_iter().collect::<String>()
            })
            .collect()
    }
}
