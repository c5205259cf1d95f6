//! The fleet's private keys, in memory and as a sealed file.
//!
//! The file is JSON: the format's name, the sealing key as the guard wrapped it, and the secret of the
//! forensic marks with the keys, sealed with AES-256-GCM under that sealing key. Each writing takes a fresh sealing key and
//! replaces the file as a whole; a crash leaves the old file or the new one.
//!
//! The secret of the marks never changes: a view of years ago can still be named by its mark.
//!
//! INVARIANT: nothing here gives out a private key, or the secret of the marks. A key's name is made of its public half, so one
//! key never has two names. The keys are wiped from memory when they are dropped.

use std::path::Path;

use serde::{Deserialize, Serialize};
use temoin_proto::{
    ids::{ClipId, ViewId},
    manifest::WrappedKey,
    mark::MarkKey,
    sealed::{ClipKey, SealedError, fleet_public_key, generate_fleet_key},
};
use zeroize::Zeroizing;

pub use crate::place::PlaceError;
use crate::{
    guard::{Guard, GuardError, WrappedSealingKey},
    message::PublicKey,
    place, sealing,
};

const FORMAT: &str = "temoin keyring v2";
/// The format before, without the secret of the marks.
const FORMAT_1: &str = "temoin keyring v1";
/// Most keys: a rotation a week for five years.
const MAX_KEYS: usize = 256;
/// Largest file, bytes.
const MAX_FILE_LEN: u64 = 128 * 1024;

/// Why the keyring did not do it. Never says a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The guard.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// No such key.
    #[error("the fleet key `{0}` is not in the keyring")]
    Unknown(String),
    /// The key that units seal for.
    #[error(
        "`{0}` is the current key, which units seal for: `temoin-keys rotate` and \
         `temoin-server rewrap` first"
    )]
    Current(String),
    /// Too many keys.
    #[error("the keyring has {MAX_KEYS} keys: rewrap the clips and forget old ones")]
    Full,
    /// It does not open, or cannot be wrapped.
    #[error(transparent)]
    Sealed(#[from] SealedError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    guard: WrappedSealingKey,
    #[serde(with = "hex::serde")]
    sealed: Vec<u8>,
}

impl File {
    /// What the sealed part is bound to.
    fn context(format: &str, guard: &WrappedSealingKey) -> Vec<u8> {
        let mut context = format!("{format}\0").into_bytes();
        // A guard is text and numbers: it always has a JSON form.
        context.extend(serde_json::to_vec(guard).unwrap_or_default());
        context
    }
}

struct Key {
    id: String,
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Key {
    fn new(private: Zeroizing<[u8; 32]>) -> Result<Self, SealedError> {
        let public = fleet_public_key(private.as_ref())?;
        let id = hex::encode(public).chars().take(16).collect();
        Ok(Self { id, private, public })
    }

    fn generate() -> Result<Self, SealedError> {
        Self::new(Zeroizing::new(generate_fleet_key().0))
    }
}

/// The fleet's private keys. INVARIANT: never empty, and the last one is the current one.
pub struct Keyring {
    old: Vec<Key>,
    current: Key,
    marks: MarkKey,
    /// The file has no secret of marks yet.
    is_upgraded: bool,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl Keyring {
    /// One with a new key, in memory only.
    ///
    /// # Errors
    /// [`KeyringError::Sealed`].
    pub fn new() -> Result<Self, KeyringError> {
        let marks = MarkKey::generate().ok_or(KeyringError::Random)?;
        Ok(Self { old: Vec::new(), current: Key::generate()?, marks, is_upgraded: false })
    }

    /// Makes the file.
    ///
    /// # Errors
    /// [`KeyringError::Place`], also where there is one already; [`KeyringError::Guard`].
    pub fn create(&self, path: &Path, guard: &dyn Guard) -> Result<(), KeyringError> {
        place::create(path, &self.seal(guard)?)?;
        Ok(place::sync_folder_of(path)?)
    }

    /// Puts these keys in place of the file's.
    ///
    /// # Errors
    /// [`KeyringError::Place`], [`KeyringError::Guard`].
    pub fn save(&self, path: &Path, guard: &dyn Guard) -> Result<(), KeyringError> {
        Ok(place::replace(path, &self.seal(guard)?)?)
    }

    fn seal(&self, guard: &dyn Guard) -> Result<Vec<u8>, KeyringError> {
        let sealing_key = sealing::new_key().map_err(|_| KeyringError::Random)?;
        let wrapped = guard.wrap(&sealing_key)?;
        let mut plain = Zeroizing::new(Vec::with_capacity((self.old.len() + 2) * 32));
        plain.extend_from_slice(self.marks.as_bytes());
        for key in self.old.iter().chain([&self.current]) {
            plain.extend_from_slice(key.private.as_ref());
        }
        let sealed = sealing::seal(&sealing_key, &File::context(FORMAT, &wrapped), &plain)
            .map_err(|_| KeyringError::Random)?;
        let file = File { format: FORMAT.to_owned(), guard: wrapped, sealed };
        // Text, numbers and bytes: it always has a JSON form.
        Ok(serde_json::to_vec_pretty(&file).unwrap_or_default())
    }

    /// Reads the file through its guard.
    ///
    /// # Errors
    /// [`KeyringError::Place`], [`KeyringError::Guard`].
    pub fn open(path: &Path, guard: &dyn Guard) -> Result<Self, KeyringError> {
        place::check_private(path)?;
        let len = std::fs::metadata(path).map_err(place::failed("read", path))?.len();
        if len > MAX_FILE_LEN {
            return Err(place::content(path, "it is too long for a keyring").into());
        }
        let bytes = std::fs::read(path).map_err(place::failed("read", path))?;
        let file: File = serde_json::from_slice(&bytes)
            .map_err(|e| place::content(path, format!("not a keyring: {e}")))?;
        if ![FORMAT, FORMAT_1].contains(&file.format.as_str()) {
            let what = format!("it is a `{}`, and only `{FORMAT}` is known", file.format);
            return Err(place::content(path, what).into());
        }
        let sealing_key = guard.unwrap(&file.guard)?;
        let damaged = || place::content(path, "its keys are damaged: restore it from a backup");
        let context = File::context(&file.format, &file.guard);
        let plain = sealing::open(&sealing_key, &context, &file.sealed).map_err(|_| damaged())?;
        let (secrets, rest) = plain.as_chunks::<32>();
        let is_upgraded = file.format == FORMAT_1;
        let (marks, keys) = match secrets.split_first() {
            Some((marks, keys)) if !is_upgraded => (Some(MarkKey::from_bytes(*marks)), keys),
            Some(_) | None => (MarkKey::generate(), secrets),
        };
        let marks = marks.ok_or(KeyringError::Random)?;
        if !rest.is_empty() || keys.len() > MAX_KEYS {
            return Err(damaged().into());
        }
        let mut keys = keys
            .iter()
            .map(|private| Key::new(Zeroizing::new(*private)))
            .collect::<Result<Vec<_>, _>>()?;
        let current = keys.pop().ok_or_else(damaged)?;
        Ok(Self { old: keys, current, marks, is_upgraded })
    }

    /// Whether the file is of an earlier version and lacks the secret of the marks: it has to be
    /// saved before a mark is made.
    pub const fn is_upgraded(&self) -> bool {
        self.is_upgraded
    }

    /// The key of a view's mark. Only [`crate::Service`] decides whether it may be given to anybody.
    pub fn mark(&self, view: ViewId) -> MarkKey {
        self.marks.of_view(view)
    }

    /// The keys' names, the current one last.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.old.iter().chain([&self.current]).map(|key| key.id.as_str())
    }

    /// What units seal for.
    pub fn public(&self) -> PublicKey {
        PublicKey { id: self.current.id.clone(), x25519: self.current.public }
    }

    /// Makes a new current key and gives its name. The old ones stay.
    ///
    /// # Errors
    /// [`KeyringError::Full`], [`KeyringError::Sealed`].
    pub fn rotate(&mut self) -> Result<&str, KeyringError> {
        if self.old.len() + 1 >= MAX_KEYS {
            return Err(KeyringError::Full);
        }
        let before = std::mem::replace(&mut self.current, Key::generate()?);
        self.old.push(before);
        Ok(&self.current.id)
    }

    /// Drops an old key: what is still wrapped for it opens never again.
    ///
    /// # Errors
    /// [`KeyringError::Current`], [`KeyringError::Unknown`].
    pub fn forget(&mut self, id: &str) -> Result<(), KeyringError> {
        if self.current.id == id {
            return Err(KeyringError::Current(id.to_owned()));
        }
        let before = self.old.len();
        self.old.retain(|key| key.id != id);
        if self.old.len() < before { Ok(()) } else { Err(KeyringError::Unknown(id.to_owned())) }
    }

    /// The key of a clip. Only [`crate::Service`] decides whether it may be given to anybody.
    ///
    /// # Errors
    /// [`KeyringError::Unknown`], [`KeyringError::Sealed`].
    pub fn unwrap(&self, clip: ClipId, wrapped: &WrappedKey) -> Result<ClipKey, KeyringError> {
        let key = self
            .old
            .iter()
            .chain([&self.current])
            .find(|key| key.id == wrapped.key_id)
            .ok_or_else(|| KeyringError::Unknown(wrapped.key_id.clone()))?;
        Ok(ClipKey::unwrap(wrapped, clip, key.private.as_ref())?)
    }

    /// The key of a clip, wrapped anew for the current key.
    ///
    /// # Errors
    /// [`KeyringError::Unknown`], [`KeyringError::Sealed`].
    pub fn rewrap(&self, clip: ClipId, wrapped: &WrappedKey) -> Result<WrappedKey, KeyringError> {
        let key = self.unwrap(clip, wrapped)?;
        Ok(key.wrap(clip, &self.current.id, &self.current.public)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::guard::{Cost, PassphraseGuard};

    fn guard(passphrase: &str) -> PassphraseGuard {
        let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        PassphraseGuard::new(passphrase.to_owned().into(), cost).unwrap()
    }

    fn wrap(ring: &Keyring, clip: ClipId) -> (ClipKey, WrappedKey) {
        let key = ClipKey::generate().unwrap();
        let public = ring.public();
        let wrapped = key.wrap(clip, &public.id, &public.x25519).unwrap();
        (key, wrapped)
    }

    #[test]
    fn there_and_back_through_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring");
        let guard = guard("correct horse battery");
        let mut ring = Keyring::new().unwrap();
        let (clip, first) = (ClipId::new(), ring.public());
        let (key, wrapped) = wrap(&ring, clip);
        ring.create(&path, &guard).unwrap();
        assert!(ring.create(&path, &guard).is_err(), "an existing keyring is never overwritten");
        assert_ne!(ring.rotate().unwrap(), first.id);
        ring.save(&path, &guard).unwrap();

        let mut again = Keyring::open(&path, &guard).unwrap();
        assert_eq!(again.ids().collect::<Vec<_>>(), ring.ids().collect::<Vec<_>>());
        let view = ViewId::new();
        assert_eq!(again.mark(view), ring.mark(view));
        assert_ne!(again.mark(view), Keyring::new().unwrap().mark(view), "each has its own secret");
        assert_ne!(again.public(), first);
        assert_eq!(again.unwrap(clip, &wrapped).unwrap().expose(), key.expose());
        assert!(again.unwrap(ClipId::new(), &wrapped).is_err(), "of another clip");
        let anew = again.rewrap(clip, &wrapped).unwrap();
        assert_eq!(anew.key_id, again.public().id);

        assert!(matches!(again.forget(&again.public().id), Err(KeyringError::Current(_))));
        again.forget(&first.id).unwrap();
        assert!(matches!(again.forget(&first.id), Err(KeyringError::Unknown(_))));
        assert!(matches!(again.unwrap(clip, &wrapped), Err(KeyringError::Unknown(_))));
        assert_eq!(again.unwrap(clip, &anew).unwrap().expose(), key.expose());
    }

    #[test]
    fn the_file_alone_says_nothing_and_any_change_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring");
        let good = guard("correct horse battery");
        let ring = Keyring::new().unwrap();
        ring.create(&path, &good).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let private = ring.current.private.as_slice();
        assert!(!bytes.windows(32).any(|w| w == private));
        let hexed = hex::encode(private);
        assert!(!String::from_utf8_lossy(&bytes).contains(&hexed));

        let wrong = Keyring::open(&path, &guard("correct horse batterz")).unwrap_err();
        assert!(matches!(wrong, KeyringError::Guard(GuardError::WrongPassphrase)), "{wrong}");
        for at in (0..bytes.len()).step_by(7) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            match Keyring::open(&path, &good) {
                Err(error) => {
                    assert!(!error.to_string().contains(&hexed[..8]), "{error}");
                }
                // White space between the parts of the file.
                Ok(same) => assert_eq!(same.public(), ring.public(), "byte {at}"),
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let open = Keyring::open(&path, &good).unwrap_err();
        assert!(matches!(open, KeyringError::Place(PlaceError::Mode { mode: 0o640, .. })));
    }

    #[test]
    fn a_keyring_of_the_version_before_gets_its_secret_of_marks_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring");
        let guard = guard("correct horse battery");
        let ring = Keyring::new().unwrap();
        let sealing_key = sealing::new_key().unwrap();
        let wrapped = guard.wrap(&sealing_key).unwrap();
        let context = File::context(FORMAT_1, &wrapped);
        let sealed =
            sealing::seal(&sealing_key, &context, ring.current.private.as_slice()).unwrap();
        let file = File { format: FORMAT_1.to_owned(), guard: wrapped, sealed };
        place::create(&path, &serde_json::to_vec(&file).unwrap()).unwrap();

        let upgraded = Keyring::open(&path, &guard).unwrap();
        assert!(upgraded.is_upgraded());
        assert_eq!(upgraded.public(), ring.public());
        upgraded.save(&path, &guard).unwrap();
        let again = Keyring::open(&path, &guard).unwrap();
        assert!(!again.is_upgraded());
        let view = ViewId::new();
        assert_eq!(again.mark(view), upgraded.mark(view));
    }

    #[test]
    fn a_full_keyring_says_so() {
        let mut ring = Keyring::new().unwrap();
        while ring.rotate().is_ok() {}
        assert_eq!(ring.ids().count(), MAX_KEYS);
        assert!(matches!(ring.rotate(), Err(KeyringError::Full)));
        assert!(!format!("{ring:?}").contains(&hex::encode(ring.current.private.as_slice())));
    }
}
