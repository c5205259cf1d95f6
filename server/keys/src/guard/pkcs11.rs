//! A PKCS#11 token (an HSM, a smart card): the sealing key is encrypted with AES-256-GCM by a key
//! that never leaves the token.

use std::path::{Path, PathBuf};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::Error,
    mechanism::{Mechanism, aead::GcmParams},
    object::{Attribute, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    types::AuthPin,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{CONTEXT, Guard, GuardError, SealingKey, WrappedSealingKey, sealing_key};
use crate::{sealing, secret::Secret};

const TAG_BITS: u64 = 128;
const NONCE_LEN: usize = 12;

/// Which token and key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11Config {
    /// The token's library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The label of the AES-256 key in it.
    pub key: String,
    /// Its PIN.
    pub pin: Secret,
}

/// Guards by a token. The PIN is asked for with each use and not kept.
#[derive(Debug)]
pub struct Pkcs11Guard {
    config: Pkcs11Config,
    folder: PathBuf,
}

fn refused(what: &'static str) -> impl FnOnce(Error) -> GuardError {
    move |e| GuardError::Token { what, why: e.to_string() }
}

impl Pkcs11Guard {
    /// With this configuration; relative paths begin at `folder`. Touches no token yet.
    pub fn new(config: &Pkcs11Config, folder: &Path) -> Self {
        Self { config: config.clone(), folder: folder.to_owned() }
    }

    /// Makes the AES key in the token: not extractable, for encrypting and decrypting only.
    ///
    /// # Errors
    /// [`GuardError::Token`], also where there is one of that name already.
    pub fn make_key(&self) -> Result<(), GuardError> {
        self.in_session(|session| {
            if !self.keys(session)?.is_empty() {
                let why = format!("there is a key `{}` already", self.config.key);
                return Err(GuardError::Token { what: "make a key", why });
            }
            let template = [
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
                Attribute::ValueLen(32.into()),
                Attribute::Label(self.config.key.clone().into_bytes()),
            ];
            session
                .generate_key(&Mechanism::AesKeyGen, &template)
                .map(drop)
                .map_err(refused("make a key"))
        })
    }

    /// Logs in, does something, and leaves the token as it was.
    fn in_session<T>(
        &self,
        work: impl FnOnce(&Session) -> Result<T, GuardError>,
    ) -> Result<T, GuardError> {
        let pin = self.config.pin.read("PIN", &self.folder)?;
        let module = self.folder.join(&self.config.module);
        let token = Pkcs11::new(&module).map_err(|e| GuardError::Token {
            what: "load",
            why: format!("{}: {e}", module.display()),
        })?;
        token
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(refused("start"))?;
        let slots = token.get_slots_with_initialized_token().map_err(refused("list its slots"))?;
        let mut found = None;
        for slot in slots {
            let info = token.get_token_info(slot).map_err(refused("say its label"))?;
            if info.label() == self.config.token {
                found = Some(slot);
            }
        }
        let slot = found.ok_or_else(|| GuardError::Token {
            what: "show up",
            why: format!("no token is labelled `{}`", self.config.token),
        })?;
        let session = token.open_rw_session(slot).map_err(refused("open a session"))?;
        session
            .login(UserType::User, Some(&AuthPin::new(pin.as_str().into())))
            .map_err(refused("accept the PIN"))?;
        let done = work(&session);
        // A session that does not close ends with the library below.
        drop(session.close());
        drop(token.finalize());
        done
    }

    fn keys(&self, session: &Session) -> Result<Vec<ObjectHandle>, GuardError> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Label(self.config.key.clone().into_bytes()),
        ];
        session.find_objects(&template).map_err(refused("look for the key"))
    }

    fn key(&self, session: &Session) -> Result<ObjectHandle, GuardError> {
        match self.keys(session)?.as_slice() {
            [key] => Ok(*key),
            found => Err(GuardError::Token {
                what: "find the key",
                why: format!(
                    "{} AES keys are labelled `{}`: make one with `temoin-keys make-token-key`",
                    found.len(),
                    self.config.key
                ),
            }),
        }
    }
}

fn mechanism(nonce: &mut [u8]) -> Result<Mechanism<'_>, GuardError> {
    GcmParams::new(nonce, CONTEXT.as_bytes(), TAG_BITS.into())
        .map(Mechanism::AesGcm)
        .map_err(refused("take the nonce"))
}

impl Guard for Pkcs11Guard {
    fn wrap(&self, key: &SealingKey) -> Result<WrappedSealingKey, GuardError> {
        let mut nonce = vec![0; NONCE_LEN];
        sealing::fill(&mut nonce).map_err(|_| GuardError::System)?;
        let sealed = self.in_session(|session| {
            let under = self.key(session)?;
            session
                .encrypt(&mechanism(&mut nonce)?, under, key.as_ref())
                .map_err(refused("encrypt"))
        })?;
        // Kept as it is now: some tokens choose the nonce themselves and write it there.
        Ok(WrappedSealingKey::Pkcs11 { key: self.config.key.clone(), nonce, sealed })
    }

    fn unwrap(&self, wrapped: &WrappedSealingKey) -> Result<SealingKey, GuardError> {
        let WrappedSealingKey::Pkcs11 { nonce, sealed, .. } = wrapped else {
            return Err(GuardError::OtherKind { file: wrapped.kind(), config: "a PKCS#11 token" });
        };
        if nonce.len() != NONCE_LEN {
            return Err(GuardError::Damaged);
        }
        let mut nonce = nonce.clone();
        let plain = self.in_session(|session| {
            let under = self.key(session)?;
            session
                .decrypt(&mechanism(&mut nonce)?, under, sealed)
                .map(Zeroizing::new)
                .map_err(refused("decrypt"))
        })?;
        sealing_key(&plain)
    }
}
