//! Who the unit is: its key, its certificate, and the fleet that it belongs to.
//!
//! The key is made on the unit at enrolment and never leaves it. One Ed25519 key serves TLS and
//! signs manifests. Files, all readable by the owner only, under `DATA/identity/`:
//!
//! - `unit.key`, `unit.crt`: key (PKCS #8) and certificate, PEM
//! - `fleet.json`: server, name, CA, the fleet's sealing key
//! - `trusted-time.json`: the last time of day that the server told
//!
//! A crash during enrolment leaves a key without `fleet.json`, which counts as not enrolled: the
//! code is used up then, and the fleet administrator gives a new one.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ED25519};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};
use temoin_proto::ids::UnitId;

use crate::durable::{self, FileError};

/// Why there is no usable identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Never enrolled.
    #[error(
        "this unit is not enrolled: `{}` is missing. Run `temoin-agent enrol --ticket FILE` with a \
         ticket from the fleet administrator", .0.display()
    )]
    NotEnrolled(PathBuf),
    /// Already enrolled.
    #[error(
        "this unit is enrolled already as `{unit}` (`{}`). To enrol it anew, have the fleet \
         administrator revoke it, then remove that folder", path.display()
    )]
    Enrolled {
        /// Its name.
        unit: UnitId,
        /// The identity's folder.
        path: PathBuf,
    },
    /// A file cannot be used.
    #[error("`{}` cannot be used: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key could not be made or used.
    #[error("the unit's key cannot be made or used: {0}")]
    Key(String),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The fleet's public key for sealing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetKey {
    /// Its name in the fleet's keyring.
    pub key_id: String,
    /// X25519, 32 bytes.
    #[serde(with = "hex::serde")]
    pub public: Vec<u8>,
}

/// What the unit knows of its fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// gRPC address, `https://host:port`.
    pub server: String,
    /// The unit's name in the fleet.
    pub unit: UnitId,
    /// The fleet's certificate authority, PEM.
    pub ca_pem: String,
    /// The key to seal clips to.
    pub sealing_key: FleetKey,
}

/// A ticket for enrolment, as the fleet administrator gives it to an installer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// gRPC address, `https://host:port`.
    pub server: String,
    /// The name that the unit will have.
    pub unit: UnitId,
    /// One-time code.
    pub code: String,
    /// When the code ends, milliseconds since 1970.
    pub expires_unix_ms: i64,
    /// The fleet's certificate authority, PEM.
    pub ca_pem: String,
}

impl Ticket {
    /// Reads a ticket.
    ///
    /// # Errors
    /// Where the file cannot be read or is no ticket.
    pub fn read(path: &Path) -> Result<Self, IdentityError> {
        let text = fs::read_to_string(path).map_err(FileError::new("read the ticket", path))?;
        // The parser's error would quote the line, and so perhaps the code.
        toml::from_str(&text).map_err(|e| IdentityError::Malformed {
            path: path.to_owned(),
            reason: format!("not a ticket: {}", e.message()),
        })
    }
}

/// A fresh key and the request for its certificate.
pub struct KeyRequest {
    key_pem: String,
    /// PKCS #10, PEM.
    pub csr_pem: String,
    /// Ed25519 public key, 32 bytes.
    pub public_key: Vec<u8>,
}

impl KeyRequest {
    /// Makes a key on this unit.
    ///
    /// # Errors
    /// [`IdentityError::Key`].
    pub fn generate(unit: &UnitId) -> Result<Self, IdentityError> {
        let key =
            KeyPair::generate_for(&PKCS_ED25519).map_err(|e| IdentityError::Key(e.to_string()))?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, unit.as_str());
        let csr_pem = params
            .serialize_request(&key)
            .and_then(|csr| csr.pem())
            .map_err(|e| IdentityError::Key(e.to_string()))?;
        let public_key = signing_key(&key.serialize_der())?.public_key().as_ref().to_vec();
        Ok(Self { key_pem: key.serialize_pem(), csr_pem, public_key })
    }
}

fn signing_key(pkcs8: &[u8]) -> Result<Ed25519KeyPair, IdentityError> {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|e| IdentityError::Key(e.to_string()))
}

/// An enrolled unit.
pub struct Identity {
    folder: PathBuf,
    fleet: Mutex<Arc<Fleet>>,
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// The private key, PEM. Never logged.
    pub key_pem: String,
    signing: Ed25519KeyPair,
}

impl Identity {
    fn folder(data: &Path) -> PathBuf {
        data.join("identity")
    }

    /// Loads the identity of an enrolled unit.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load(data: &Path) -> Result<Self, IdentityError> {
        let folder = Self::folder(data);
        let fleet_path = folder.join("fleet.json");
        let fleet = match fs::read(&fleet_path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(IdentityError::NotEnrolled(fleet_path));
            }
            Err(e) => return Err(FileError::new("read", &fleet_path)(e).into()),
        };
        let malformed = |path: &Path, reason: String| IdentityError::Malformed {
            path: path.to_owned(),
            reason,
        };
        let fleet =
            serde_json::from_slice(&fleet).map_err(|e| malformed(&fleet_path, e.to_string()))?;
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(FileError::new("read", &path))
        };
        let key_pem = read("unit.key")?;
        let key = KeyPair::from_pem(&key_pem)
            .map_err(|e| malformed(&folder.join("unit.key"), e.to_string()))?;
        Ok(Self {
            fleet: Mutex::new(Arc::new(fleet)),
            certificate_pem: read("unit.crt")?,
            signing: signing_key(&key.serialize_der())?,
            key_pem,
            folder,
        })
    }

    /// Whether anything of an identity lies in the data folder, or cannot be ruled out: whoever
    /// asks before pictures may be written wants the strict answer.
    pub fn may_be_there(data: &Path) -> bool {
        match fs::symlink_metadata(Self::folder(data)) {
            Ok(_) => true,
            Err(e) => e.kind() != std::io::ErrorKind::NotFound,
        }
    }

    /// Refuses where the unit is enrolled already.
    ///
    /// # Errors
    /// [`IdentityError::Enrolled`].
    pub fn refuse_second(data: &Path) -> Result<(), IdentityError> {
        match Self::load(data) {
            Ok(identity) => Err(IdentityError::Enrolled {
                unit: identity.fleet().unit.clone(),
                path: identity.folder,
            }),
            Err(IdentityError::NotEnrolled(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Stores what enrolment gave. `fleet.json` comes last: only with it the unit is enrolled.
    ///
    /// # Errors
    /// [`IdentityError::File`].
    pub fn store(
        data: &Path,
        request: &KeyRequest,
        certificate_pem: &str,
        fleet: &Fleet,
    ) -> Result<(), IdentityError> {
        let folder = Self::folder(data);
        durable::make_folder(&folder)?;
        durable::replace(&folder.join("unit.key"), request.key_pem.as_bytes())?;
        durable::replace(&folder.join("unit.crt"), certificate_pem.as_bytes())?;
        let json =
            serde_json::to_vec_pretty(fleet).map_err(|e| IdentityError::Key(e.to_string()))?;
        Ok(durable::replace(&folder.join("fleet.json"), &json)?)
    }

    /// What the unit knows of its fleet.
    pub fn fleet(&self) -> Arc<Fleet> {
        Arc::clone(&self.fleet.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over the fleet's new sealing key, durably.
    ///
    /// # Errors
    /// [`IdentityError::File`]; the old key stays in use then.
    pub fn change_sealing_key(&self, key: FleetKey) -> Result<(), IdentityError> {
        let mut fleet = self.fleet.lock().unwrap_or_else(PoisonError::into_inner);
        if fleet.sealing_key == key {
            return Ok(());
        }
        let changed = Fleet { sealing_key: key, ..(**fleet).clone() };
        let json =
            serde_json::to_vec_pretty(&changed).map_err(|e| IdentityError::Key(e.to_string()))?;
        durable::replace(&self.folder.join("fleet.json"), &json)?;
        *fleet = Arc::new(changed);
        Ok(())
    }

    /// The key that signs manifests.
    pub const fn signing_key(&self) -> &Ed25519KeyPair {
        &self.signing
    }

    /// Where the last time of day that the server told is kept.
    pub fn trusted_time_path(&self) -> PathBuf {
        self.folder.join("trusted-time.json")
    }
}

#[cfg(test)]
mod tests {
    use temoin_proto::{
        ids::{ClipId, EventId},
        manifest::{Manifest, Track, WrappedKey},
        sealed::TrackName,
        time::WallTime,
    };

    use super::*;

    fn fleet() -> Fleet {
        Fleet {
            server: "https://127.0.0.1:1".into(),
            unit: "van-12".parse().unwrap(),
            ca_pem: "CA".into(),
            sealing_key: FleetKey { key_id: "k1".into(), public: vec![9; 32] },
        }
    }

    #[test]
    fn an_enrolled_unit_loads_and_signs_with_the_key_of_its_request() {
        let data = tempfile::tempdir().unwrap();
        assert!(matches!(Identity::load(data.path()), Err(IdentityError::NotEnrolled(_))));
        Identity::refuse_second(data.path()).unwrap();
        let request = KeyRequest::generate(&fleet().unit).unwrap();
        Identity::store(data.path(), &request, "CERT", &fleet()).unwrap();
        assert!(matches!(
            Identity::refuse_second(data.path()),
            Err(IdentityError::Enrolled { .. })
        ));

        let identity = Identity::load(data.path()).unwrap();
        let manifest = Manifest {
            clip: ClipId::new(),
            event: EventId::new(),
            unit: fleet().unit,
            start: WallTime { unix_ms: 0, uncertainty_ms: 0 },
            duration_ms: 1,
            event_ms: (0, 1),
            tracks: vec![Track {
                name: TrackName::Road,
                media_type: String::new(),
                plain_len: 0,
                sealed_len: 16,
                sealed_sha256: [0; 32],
                others_blurred: None,
            }],
            wrapped_key: WrappedKey {
                key_id: "k1".into(),
                encapsulated: vec![0; 32],
                ciphertext: vec![0; 48],
            },
            agent_version: String::new(),
            fingerprints: Vec::new(),
        };
        let signed = manifest.sign(identity.signing_key());
        assert_eq!(Manifest::verify(&signed, &request.public_key), Ok(manifest));

        let new = FleetKey { key_id: "k2".into(), public: vec![8; 32] };
        identity.change_sealing_key(new.clone()).unwrap();
        assert_eq!(Identity::load(data.path()).unwrap().fleet().sealing_key, new);
    }

    #[test]
    fn a_bad_ticket_is_refused_without_telling_its_code() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ticket.toml");
        fs::write(&path, "server = \"s\"\nunit = \"van-1\"\ncode = \"SECRET-CODE\"\nca_pem = 3\n")
            .unwrap();
        let text = Ticket::read(&path).err().unwrap().to_string();
        assert!(text.contains("ticket.toml") && !text.contains("SECRET"), "{text}");
    }
}
