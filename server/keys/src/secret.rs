//! Where a passphrase or PIN comes from: a file, a systemd credential or a person at the terminal.
//!
//! INVARIANT: never from an argument or an environment variable, which other processes can read,
//! and never quoted in an error.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Longest secret, bytes.
const MAX_LEN: usize = 1024;

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Others can read it.
    #[error("the secret {} has mode {mode:03o}: others may have read it; change it and `chmod 600` the file", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not a secret.
    #[error("the secret {0} is empty, longer than {MAX_LEN} bytes, or not text in one line")]
    Content(String),
    /// There are no credentials.
    #[error(
        "there is no CREDENTIALS_DIRECTORY: the credential `{0}` is passed by systemd \
         (`LoadCredentialEncrypted=`); to run by hand, use `file` or `prompt`"
    )]
    NoCredentials(String),
    /// Nobody is there to ask.
    #[error(
        "there is no terminal to ask for the {0} at: use `file` or `credential` in the configuration"
    )]
    NoTerminal(&'static str),
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// One line in a file that only its owner can read.
    File(PathBuf),
    /// A systemd credential of this name.
    Credential(String),
    /// Somebody types it.
    Prompt,
}

impl Secret {
    /// Reads it; `what` is the word for it in a prompt and `folder` is where relative paths begin.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(
        &self,
        what: &'static str,
        folder: &Path,
    ) -> Result<Zeroizing<String>, SecretError> {
        match self {
            Self::File(path) => {
                let path = folder.join(path);
                let failed = |source| SecretError::File { path: path.clone(), source };
                let mode = std::fs::metadata(&path).map_err(failed)?.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(SecretError::Mode { path, mode });
                }
                read_file(&path)
            }
            Self::Credential(name) => {
                // Its mode is systemd's: an access list makes it look readable by a group.
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
                    .ok_or_else(|| SecretError::NoCredentials(name.clone()))?;
                read_file(&Path::new(&folder).join(name))
            }
            Self::Prompt => ask(what),
        }
    }
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let failed = |source| SecretError::File { path: path.to_owned(), source };
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LEN + 8));
    File::open(path)
        .and_then(|file| file.take(MAX_LEN as u64 + 2).read_to_end(&mut bytes))
        .map_err(failed)?;
    one_line(&bytes, || path.display().to_string())
}

fn one_line(bytes: &[u8], name: impl Fn() -> String) -> Result<Zeroizing<String>, SecretError> {
    let text = std::str::from_utf8(bytes).map_err(|_| SecretError::Content(name()))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    if line.is_empty() || line.len() > MAX_LEN || line.contains(['\n', '\0']) {
        return Err(SecretError::Content(name()));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Asks at the terminal, without showing what is typed.
fn ask(what: &'static str) -> Result<Zeroizing<String>, SecretError> {
    let none = |_| SecretError::NoTerminal(what);
    let mut terminal =
        std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(none)?;
    let shown = tcgetattr(&terminal).map_err(|e| none(e.into()))?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    terminal.write_all(format!("{what}: ").as_bytes()).map_err(none)?;
    tcsetattr(&terminal, OptionalActions::Flush, &hidden).map_err(|e| none(e.into()))?;
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LEN + 8));
    let read = BufReader::new((&terminal).take(MAX_LEN as u64 + 2)).read_until(b'\n', &mut line);
    let restored = tcsetattr(&terminal, OptionalActions::Flush, &shown);
    terminal.write_all(b"\n").map_err(none)?;
    read.map_err(none)?;
    restored.map_err(|e| none(e.into()))?;
    one_line(&line, || format!("typed as {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_private_and_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pass");
        let secret = Secret::File("pass".into());
        let write = |text: &[u8], mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        write(b"hush hush\n", 0o600);
        assert_eq!(*secret.read("passphrase", dir.path()).unwrap(), "hush hush");
        write(b"hush hush", 0o400);
        assert_eq!(*secret.read("passphrase", dir.path()).unwrap(), "hush hush");
        std::fs::remove_file(&path).unwrap();
        write(b"hush hush", 0o640);
        assert!(matches!(
            secret.read("passphrase", dir.path()),
            Err(SecretError::Mode { mode: 0o640, .. })
        ));
        for bad in [b"".as_slice(), b"\n", b"hush\nhush\n", b"hush\xff", &[b'h'; MAX_LEN + 1]] {
            write(bad, 0o600);
            let error = secret.read("passphrase", dir.path()).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn the_configuration_names_a_place_and_holds_no_secret() {
        #[derive(Deserialize)]
        struct Of {
            pin: Secret,
        }
        for (text, expected) in [
            ("pin = { file = \"/x\" }", Secret::File("/x".into())),
            ("pin = { credential = \"x\" }", Secret::Credential("x".into())),
            ("pin = \"prompt\"", Secret::Prompt),
        ] {
            assert_eq!(toml::from_str::<Of>(text).unwrap().pin, expected);
        }
        assert!(toml::from_str::<Of>("pin = \"1234\"").is_err());
    }
}
