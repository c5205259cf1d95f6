//! The fleet's keys: who holds them can open clips, so nothing else in the server does.
//!
//! They lie in one file, mode 0600, apart from database and objects. INVARIANT: a clip's key is
//! unwrapped only against a [`LogIndex`] whose entry says that this clip was opened; the log gives
//! one out only after the entry is durable.

use std::{
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use temoin_access_log::LogIndex;
use temoin_proto::{
    ids::ClipId,
    manifest::WrappedKey,
    sealed::{ClipKey, SealedError, fleet_public_key, generate_fleet_key},
    wire,
};
use zeroize::{Zeroize, Zeroizing};

/// Why a key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("cannot {what} the fleet's keys {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Others can read the file.
    #[error(
        "the fleet's keys {} have mode {mode:03o}, so others may have read them: \
         make new keys if that is possible, otherwise `chmod 600` the file",
        path.display()
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is not one of this program.
    #[error("the fleet's keys {} are not usable: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong; never the key itself.
        what: String,
    },
    /// The clip was sealed for a key that is not here.
    #[error("the clip is sealed for the fleet key `{0}`, which is not in the keyring")]
    Unknown(String),
    /// The log's entry does not allow this.
    #[error("the access log's entry {0} does not say that this clip was opened")]
    NotLogged(u64),
    /// It does not open.
    #[error(transparent)]
    Sealed(#[from] SealedError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The key that units seal for.
    current: String,
    key: Vec<FileKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKey {
    id: String,
    /// X25519, 64 hexadecimal digits.
    private: String,
}

impl Drop for FileKey {
    fn drop(&mut self) {
        self.private.zeroize();
    }
}

struct Key {
    id: String,
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

/// The fleet's keys in memory.
pub struct Keyring {
    current: usize,
    keys: Vec<Key>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|k| &k.id)).finish()
    }
}

impl Keyring {
    /// Makes the file with one new key.
    ///
    /// # Errors
    /// [`KeyError::File`], also where there is one already.
    pub fn create(path: &Path) -> Result<(), KeyError> {
        let (private, public) = generate_fleet_key();
        let private = Zeroizing::new(private);
        // Named by what it is: the same key never gets two names.
        let id: String = hex::encode(public).chars().take(16).collect();
        let file =
            File { current: id.clone(), key: vec![FileKey { id, private: hex::encode(*private) }] };
        let text = Zeroizing::new(
            toml::to_string(&file)
                .map_err(|e| KeyError::Content { path: path.to_owned(), what: e.to_string() })?,
        );
        let failed = |source| KeyError::File { what: "write", path: path.to_owned(), source };
        let mut out = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(failed)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File { what: "read", path: path.to_owned(), source };
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Mode { path: path.to_owned(), mode });
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
        let content = |what: String| KeyError::Content { path: path.to_owned(), what };
        // The parser's message would quote the line, and a line may hold a key.
        let file: File = toml::from_str(&text)
            .map_err(|_| content("not the TOML that `init` writes".to_owned()))?;
        let mut keys: Vec<Key> = Vec::with_capacity(file.key.len());
        for key in &file.key {
            let mut private = Zeroizing::new([0; 32]);
            hex::decode_to_slice(&key.private, private.as_mut())
                .map_err(|_| content(format!("key `{}` is not 64 hexadecimal digits", key.id)))?;
            let public = fleet_public_key(private.as_ref())?;
            if keys.iter().any(|k| k.id == key.id) {
                return Err(content(format!("key `{}` is there twice", key.id)));
            }
            keys.push(Key { id: key.id.clone(), private, public });
        }
        let current = keys
            .iter()
            .position(|k| k.id == file.current)
            .ok_or_else(|| content(format!("the current key `{}` is not there", file.current)))?;
        Ok(Self { current, keys })
    }

    /// What units seal for.
    pub fn public(&self) -> wire::FleetKey {
        self.keys.get(self.current).map_or_else(wire::FleetKey::default, |key| wire::FleetKey {
            key_id: key.id.clone(),
            x25519_public_key: bytes::Bytes::copy_from_slice(&key.public),
        })
    }

    /// A clip's key, against the proof that the log says so.
    ///
    /// # Errors
    /// [`KeyError::NotLogged`], [`KeyError::Unknown`], [`KeyError::Sealed`].
    pub fn unwrap(
        &self,
        clip: ClipId,
        wrapped: &WrappedKey,
        proof: &LogIndex,
    ) -> Result<ClipKey, KeyError> {
        if !proof.opens(clip) {
            return Err(KeyError::NotLogged(proof.get()));
        }
        let key = self
            .keys
            .iter()
            .find(|k| k.id == wrapped.key_id)
            .ok_or_else(|| KeyError::Unknown(wrapped.key_id.clone()))?;
        Ok(ClipKey::unwrap(wrapped, clip, key.private.as_ref())?)
    }
}

#[cfg(test)]
mod tests {
    use temoin_access_log::{AccessLog, Action, Leaf};

    use super::*;

    #[test]
    fn a_key_opens_only_what_the_log_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fleet.key");
        Keyring::create(&path).unwrap();
        assert!(Keyring::create(&path).is_err(), "an existing keyring is never overwritten");
        let ring = Keyring::open(&path).unwrap();
        let public = ring.public();
        let (clip, other) = (ClipId::new(), ClipId::new());
        let key = ClipKey::generate().unwrap();
        let wrapped = key.wrap(clip, &public.key_id, &public.x25519_public_key).unwrap();
        let log = AccessLog::create(&dir.path().join("log"), "test.example/log").unwrap();
        let entry = |action, clip| {
            let mut leaf = Leaf::new(0, action);
            leaf.clip = Some(clip);
            log.append(leaf).unwrap()
        };
        assert!(ring.unwrap(clip, &wrapped, &entry(Action::VIEW, clip)).is_ok());
        for refused in [entry(Action::VIEW, other), entry(Action::VIEW_REFUSED, clip)] {
            assert!(matches!(ring.unwrap(clip, &wrapped, &refused), Err(KeyError::NotLogged(_))));
        }
        let foreign = WrappedKey { key_id: "other".into(), ..wrapped };
        let proof = entry(Action::VIEW, clip);
        assert!(matches!(ring.unwrap(clip, &foreign, &proof), Err(KeyError::Unknown(_))));
    }

    #[test]
    fn a_readable_or_damaged_keyring_is_refused_without_quoting_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fleet.key");
        Keyring::create(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Keyring::open(&path), Err(KeyError::Mode { mode: 0o640, .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let secret = text.split("private = \"").nth(1).unwrap()[..64].to_owned();
        std::fs::write(&path, text.replace("private = ", "private == ")).unwrap();
        let error = Keyring::open(&path).unwrap_err().to_string();
        assert!(!error.contains(&secret[..8]), "{error}");
    }
}
