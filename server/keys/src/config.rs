//! The key service's configuration: `keys.toml`, unknown keys refused. It holds no secret, only
//! where secrets are.

use std::{
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use temoin_access_log::{LogPublicKey, checkpoint::KeyError};

use crate::{
    guard::{
        Cost, Guard, GuardError, KmsConfig, KmsGuard, PassphraseGuard, Pkcs11Config, Pkcs11Guard,
    },
    place::{PlaceError, content, failed},
    rules::{Limits, WitnessRule, Witnesses},
    secret::Secret,
};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the keyring, the newest head and the tombstones are kept.
    pub folder: PathBuf,
    /// The socket that the server connects to.
    pub socket: PathBuf,
    /// The group of the socket, by number; without, that of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_gid: Option<u32>,
    /// Who may connect: the server's user, by number.
    pub allowed_uids: Vec<u32>,
    /// The access log's public key, as `access-log/public-key` in the server's data folder says it.
    pub log_public_key: String,
    /// What protects the keyring file.
    pub guard: GuardConfig,
    /// How old an entry may be.
    #[serde(default)]
    pub limits: Limits,
    /// Whose cosignature the log needs; without, nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<WitnessRule>,
    /// Where the file lies: relative paths begin here.
    #[serde(skip)]
    pub base: PathBuf,
}

/// Which guard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum GuardConfig {
    /// A passphrase.
    Passphrase {
        /// Where it comes from.
        passphrase: Secret,
    },
    /// AWS KMS.
    AwsKms(KmsConfig),
    /// A PKCS#11 token.
    Pkcs11(Pkcs11Config),
}

impl Config {
    /// Reads and checks the file; says everything that is wrong at once.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn read(path: &Path) -> Result<Self, PlaceError> {
        let text = std::fs::read_to_string(path).map_err(failed("read", path))?;
        let mut config: Self = toml::from_str(&text).map_err(|e| content(path, e.to_string()))?;
        config.base = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        config.folder = config.base.join(&config.folder);
        config.socket = config.base.join(&config.socket);
        let mut problems = Vec::new();
        if let Err(e) = config.log_key() {
            problems.push(format!("`log_public_key`: {e}"));
        }
        if config.allowed_uids.is_empty() {
            problems.push("`allowed_uids` names nobody: put the server's user there".to_owned());
        }
        if config.limits.max_entry_age_s == 0 {
            problems.push("`limits.max_entry_age_s` is at least 1".to_owned());
        }
        match config.witnesses() {
            Err(e) => problems.push(format!("`witness.public_keys`: {e}")),
            Ok(_) if config.witness.as_ref().is_some_and(|rule| rule.public_keys.is_empty()) => {
                problems.push("`witness.public_keys` is empty: no clip could be opened".to_owned());
            }
            Ok(_) => {}
        }
        if config.witness.as_ref().is_some_and(|rule| rule.max_age_s == 0) {
            problems.push("`witness.max_age_s` is at least 1".to_owned());
        }
        if problems.is_empty() { Ok(config) } else { Err(content(path, problems.join("; "))) }
    }

    /// The log's key.
    ///
    /// # Errors
    /// Where it is not one.
    pub fn log_key(&self) -> Result<LogPublicKey, KeyError> {
        self.log_public_key.trim().parse()
    }

    /// Whose cosignature is needed, if anybody's.
    ///
    /// # Errors
    /// Where a key is none.
    pub fn witnesses(&self) -> Result<Option<Witnesses>, KeyError> {
        self.witness.as_ref().map(Witnesses::new).transpose()
    }

    /// The guard, ready for use. May ask at the terminal.
    ///
    /// # Errors
    /// [`GuardError`].
    pub fn guard(&self) -> Result<Box<dyn Guard>, GuardError> {
        Ok(match &self.guard {
            GuardConfig::Passphrase { passphrase } => Box::new(PassphraseGuard::new(
                passphrase.read("passphrase", &self.base)?,
                Cost::default(),
            )?),
            GuardConfig::AwsKms(kms) => Box::new(KmsGuard::new(kms, &self.base)?),
            GuardConfig::Pkcs11(token) => Box::new(Pkcs11Guard::new(token, &self.base)),
        })
    }

    /// The keyring file.
    pub fn keyring(&self) -> PathBuf {
        self.folder.join("keyring")
    }

    /// Makes the folder, for its owner only.
    ///
    /// # Errors
    /// [`PlaceError::File`].
    pub fn make_folder(&self) -> Result<(), PlaceError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(failed("make", &self.folder))
    }
}

#[cfg(test)]
mod tests {
    use temoin_access_log::LogKey;

    use super::*;

    #[test]
    fn examples_are_read_and_mistakes_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        let key = LogKey::generate("fleet.example/access-log").unwrap().0.public().to_string();
        let base = format!(
            "folder = \"data\"\nsocket = \"/run/temoin-keys/socket\"\nallowed_uids = [990]\n\
             log_public_key = \"{key}\"\n"
        );
        let passphrase = "[guard]\nkind = \"passphrase\"\npassphrase = { credential = \"p\" }\n";
        let kms = "[guard]\nkind = \"aws_kms\"\nkey = \"alias/temoin\"\nregion = \"eu-west-1\"\n\
                   credentials_file = \"kms.toml\"\n";
        let token = "[guard]\nkind = \"pkcs11\"\nmodule = \"/usr/lib/softhsm/libsofthsm2.so\"\n\
                     token = \"temoin\"\nkey = \"fleet\"\npin = { file = \"pin\" }\n";
        for guard in [passphrase, kms, token] {
            std::fs::write(&path, format!("{base}{guard}")).unwrap();
            let config = Config::read(&path).unwrap();
            assert_eq!(config.folder, dir.path().join("data"));
            assert_eq!(config.socket, Path::new("/run/temoin-keys/socket"));
            assert_eq!(config.limits.max_entry_age_s, 900);
        }
        for (text, expected) in [
            (format!("{base}colour = 1\n{passphrase}"), "colour"),
            (format!("{base}{}", passphrase.replace("{ credential = \"p\" }", "\"hush\"")), ""),
            (base.clone(), "guard"),
            (format!("{}{passphrase}", base.replace("[990]", "[]")), "allowed_uids"),
            (format!("{}{passphrase}", base.replace("fleet.example", "other")), "log_public_key"),
            (format!("{base}{passphrase}[limits]\nmax_entry_age_s = 0\n"), "max_entry_age_s"),
        ] {
            std::fs::write(&path, &text).unwrap();
            let error = Config::read(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
