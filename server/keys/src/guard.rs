//! What protects the keyring file at rest.
//!
//! The file is sealed under a fresh 32-byte sealing key with each change, and a guard wraps that
//! key: under a passphrase, in AWS KMS, or in a PKCS#11 token. The three protect the same file in
//! the same way: who has the file and not the guard has nothing. While the service runs, the
//! private keys are in its memory whatever the guard is.

mod kms;
mod passphrase;
mod pkcs11;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::secret::SecretError;

pub use kms::{KmsConfig, KmsGuard};
pub use passphrase::{Cost, PassphraseGuard};
pub use pkcs11::{Pkcs11Config, Pkcs11Guard};

/// What every wrapping is bound to, so that no other use of the same key opens a keyring.
const CONTEXT: &str = "temoin keyring v1";

/// The key that the keyring file is sealed under.
pub type SealingKey = Zeroizing<[u8; 32]>;

/// Why the guard did not do it. Never says a secret.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The passphrase or PIN could not be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A weak passphrase.
    #[error("a passphrase of {0} characters is too short: at least {min} are needed", min = passphrase::MIN_LEN)]
    Short(usize),
    /// It does not open.
    #[error(
        "the keyring does not open with this passphrase: a wrong passphrase, or a damaged file"
    )]
    WrongPassphrase,
    /// The keyring was sealed by another kind of guard.
    #[error(
        "the keyring is guarded by {file}, but the configuration names {config}: put the guard \
         back, or `temoin-keys reseal`"
    )]
    OtherKind {
        /// What the file says.
        file: &'static str,
        /// What the configuration says.
        config: &'static str,
    },
    /// The wrapped key is not what the guard writes.
    #[error("the guard's part of the keyring is damaged: restore the file from a backup")]
    Damaged,
    /// The system gave no random bytes, or no memory for the passphrase's hash.
    #[error("the system gave no random bytes or no memory")]
    System,
    /// AWS KMS.
    #[error("AWS KMS did not {what}: {why}")]
    Kms {
        /// What was asked.
        what: &'static str,
        /// The service's own words.
        why: String,
    },
    /// The credentials for AWS KMS.
    #[error("the credentials {} are not usable: {what}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong; never what is in it.
        what: String,
    },
    /// The token.
    #[error("the PKCS#11 token did not {what}: {why}")]
    Token {
        /// What was asked.
        what: &'static str,
        /// The token's own words.
        why: String,
    },
}

/// A wrapped sealing key with what the guard needs to unwrap it, except its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum WrappedSealingKey {
    /// Under a key that Argon2id makes of a passphrase.
    Passphrase {
        /// Memory, KiB.
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes.
        lanes: u32,
        /// 16 bytes.
        #[serde(with = "hex::serde")]
        salt: Vec<u8>,
        /// Nonce and ciphertext.
        #[serde(with = "hex::serde")]
        sealed: Vec<u8>,
    },
    /// Encrypted by AWS KMS.
    AwsKms {
        /// The key's ARN.
        key: String,
        /// The ciphertext blob.
        #[serde(with = "hex::serde")]
        sealed: Vec<u8>,
    },
    /// Encrypted by an AES key in a token.
    Pkcs11 {
        /// The key's label.
        key: String,
        /// 12 bytes.
        #[serde(with = "hex::serde")]
        nonce: Vec<u8>,
        /// The ciphertext.
        #[serde(with = "hex::serde")]
        sealed: Vec<u8>,
    },
}

impl WrappedSealingKey {
    /// The kind, in words.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Passphrase { .. } => "a passphrase",
            Self::AwsKms { .. } => "AWS KMS",
            Self::Pkcs11 { .. } => "a PKCS#11 token",
        }
    }
}

/// Wraps and unwraps sealing keys.
pub trait Guard: Send + Sync {
    /// Wraps a new sealing key.
    ///
    /// # Errors
    /// [`GuardError`].
    fn wrap(&self, key: &SealingKey) -> Result<WrappedSealingKey, GuardError>;

    /// The key behind what [`Guard::wrap`] gave.
    ///
    /// # Errors
    /// [`GuardError`].
    fn unwrap(&self, wrapped: &WrappedSealingKey) -> Result<SealingKey, GuardError>;
}

/// A sealing key out of bytes that a guard gave back.
fn sealing_key(bytes: &[u8]) -> Result<SealingKey, GuardError> {
    bytes.try_into().map(Zeroizing::new).map_err(|_| GuardError::Damaged)
}
