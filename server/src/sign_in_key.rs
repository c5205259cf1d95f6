//! The server's own secret for signing in: it seals the secrets of second factors and makes
//! recovery codes, proof nonces and device cookies checkable.
//!
//! It lies in `sign-in.key`, mode 0600, apart from the database: a copy of the database alone (a
//! backup, an injection) gives argon2id hashes and sealed secrets, so nobody's code. Whoever has
//! both files has both factors.
//!
//! A crash while it is made leaves no file or a whole one under another name: `create` writes beside
//! and links into place.

use std::{
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use ring::{
    aead::{self, Aad, LessSafeKey, Nonce, UnboundKey},
    hmac,
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    authn::{fill, random},
    error::AppError,
};

/// Why the file cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SignInKeyError {
    /// It cannot be read or written.
    #[error("cannot {what} the sign-in key {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Others can read it.
    #[error(
        "the sign-in key {} has mode {mode:03o}, so others may have read it: `chmod 600` the file, \
         and have second factors set up anew where that may have happened",
        path.display()
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is not 64 hexadecimal digits.
    #[error("the sign-in key {} is damaged: restore it from a backup", .0.display())]
    Content(PathBuf),
    /// It is gone, and there are second factors under it.
    #[error(
        "the sign-in key {} is missing, and second factors are sealed under it: restore it from a \
         backup, or have them set up anew (`temoin-server user reset-second-factor`)",
        .0.display()
    )]
    Missing(PathBuf),
    /// No random bytes.
    #[error(transparent)]
    App(#[from] AppError),
}

/// What a tag is for: one of a use says nothing in another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Use {
    RecoveryCode,
    ProofNonce,
    Ticket,
    Device,
}

impl Use {
    const fn context(self) -> &'static [u8] {
        match self {
            Self::RecoveryCode => b"temoin recovery code v1",
            Self::ProofNonce => b"temoin proof nonce v1",
            Self::Ticket => b"temoin download ticket v1",
            Self::Device => b"temoin device v1",
        }
    }
}

/// The key in memory.
pub struct SignInKey {
    seal: LessSafeKey,
    root: hmac::Key,
}

impl std::fmt::Debug for SignInKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignInKey")
    }
}

impl SignInKey {
    /// Makes the file.
    ///
    /// # Errors
    /// [`SignInKeyError::File`], also where there is one already.
    pub fn create(path: &Path) -> Result<(), SignInKeyError> {
        let failed = |source| SignInKeyError::File { what: "write", path: path.to_owned(), source };
        let text = Zeroizing::new(hex::encode(*Zeroizing::new(random::<32>()?)));
        let beside = path.with_extension("key.new");
        if let Err(error) = std::fs::remove_file(&beside)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(failed(error));
        }
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        // A link, not a rename: it never replaces a key.
        std::fs::hard_link(&beside, path).map_err(failed)?;
        std::fs::remove_file(&beside).map_err(failed)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`SignInKeyError`].
    pub fn open(path: &Path) -> Result<Self, SignInKeyError> {
        let failed = |source| SignInKeyError::File { what: "read", path: path.to_owned(), source };
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SignInKeyError::Mode { path: path.to_owned(), mode });
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
        let damaged = || SignInKeyError::Content(path.to_owned());
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim_end(), bytes.as_mut_slice()).map_err(|_| damaged())?;
        Self::new(&bytes).ok_or_else(damaged)
    }

    /// Reads the file; makes it where a data folder is older than it and nothing needs it yet.
    ///
    /// # Errors
    /// [`SignInKeyError`].
    pub fn open_or_create(path: &Path, is_needed: bool) -> Result<Self, SignInKeyError> {
        if !path.exists() {
            if is_needed {
                return Err(SignInKeyError::Missing(path.to_owned()));
            }
            Self::create(path)?;
        }
        Self::open(path)
    }

    fn new(bytes: &[u8; 32]) -> Option<Self> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let mut sealing = [0; 32];
        sealing.copy_from_slice(hmac::sign(&root, b"temoin second factor v1").as_ref());
        let key = UnboundKey::new(&aead::AES_256_GCM, &sealing).ok();
        sealing.zeroize();
        Some(Self { seal: LessSafeKey::new(key?), root })
    }

    /// Seals a secret for one account: nonce, ciphertext, tag.
    pub(crate) fn seal(&self, account: &str, secret: &[u8]) -> Result<Vec<u8>, AppError> {
        let mut nonce = [0; aead::NONCE_LEN];
        // Random nonces of one key: far below 2^32 secrets are ever sealed.
        fill(&mut nonce)?;
        let mut bytes = secret.to_vec();
        self.seal
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(account.as_bytes()),
                &mut bytes,
            )
            .map_err(|_| AppError::Internal("a secret cannot be sealed".to_owned()))?;
        Ok([nonce.as_slice(), &bytes].concat())
    }

    /// Opens what [`SignInKey::seal`] made for this account.
    pub(crate) fn open_sealed(
        &self,
        account: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, AppError> {
        let broken = || {
            AppError::Internal(
                "a second factor is not sealed under this server's sign-in key".into(),
            )
        };
        let (nonce, bytes) = sealed.split_first_chunk().ok_or_else(broken)?;
        let mut bytes = Zeroizing::new(bytes.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = self
            .seal
            .open_in_place(nonce, Aad::from(account.as_bytes()), bytes.as_mut_slice())
            .map_err(|_| broken())?
            .len();
        bytes.truncate(len);
        Ok(bytes)
    }

    /// The tag of these parts for a use. The parts' lengths count: no two lists have one tag.
    pub(crate) fn tag(&self, what: Use, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.root);
        context.update(what.context());
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }

    /// Whether this is the tag's beginning, compared in a time that says nothing of where they
    /// differ.
    pub(crate) fn is_tag(&self, given: &[u8], made: &[u8]) -> bool {
        let tag = hmac::sign(&self.root, made);
        given.len() == made.len() && hmac::verify(&self.root, given, tag.as_ref()).is_ok()
    }
}

#[cfg(test)]
pub(crate) fn for_tests() -> SignInKey {
    SignInKey::new(&[7; 32]).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_open_for_their_account_and_key_only() {
        let (key, other) = (for_tests(), SignInKey::new(&[8; 32]).unwrap());
        let sealed = key.seal("ann", b"secret").unwrap();
        assert_eq!(key.open_sealed("ann", &sealed).unwrap().as_slice(), b"secret");
        assert_ne!(key.seal("ann", b"secret").unwrap(), sealed);
        assert!(key.open_sealed("bob", &sealed).is_err());
        assert!(other.open_sealed("ann", &sealed).is_err());
        for len in 0..sealed.len() {
            assert!(key.open_sealed("ann", &sealed[..len]).is_err(), "{len}");
        }
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(key.open_sealed("ann", &damaged).is_err(), "{at}");
        }
    }

    #[test]
    fn tags_differ_by_use_and_by_parts() {
        let key = for_tests();
        let all = [
            key.tag(Use::Device, &[b"ab", b"c"]),
            key.tag(Use::Device, &[b"a", b"bc"]),
            key.tag(Use::ProofNonce, &[b"ab", b"c"]),
            key.tag(Use::RecoveryCode, &[b"ab", b"c"]),
        ];
        for (n, tag) in all.iter().enumerate() {
            assert!(all[n + 1..].iter().all(|other| other != tag));
            assert!(key.is_tag(tag, tag) && !key.is_tag(&tag[1..], tag));
        }
        assert!(!key.is_tag(&all[0], &all[1]));
    }

    #[test]
    fn the_file_is_private_made_once_and_never_made_anew_under_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sign-in.key");
        let missing = SignInKey::open_or_create(&path, true).unwrap_err();
        assert!(missing.to_string().contains("restore"), "{missing}");
        let key = SignInKey::open_or_create(&path, false).unwrap();
        let again = SignInKey::open(&path).unwrap();
        assert_eq!(key.tag(Use::Device, &[b"a"]), again.tag(Use::Device, &[b"a"]));
        assert!(SignInKey::create(&path).is_err(), "there is one already");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(SignInKey::open(&path), Err(SignInKeyError::Mode { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "abc").unwrap();
        assert!(matches!(SignInKey::open(&path), Err(SignInKeyError::Content(_))));
    }
}
