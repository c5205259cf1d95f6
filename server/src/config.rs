//! The server's configuration: `config.toml` in the data folder, unknown keys refused.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::retention::Retention;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not what this program understands.
    #[error("the configuration {} is not usable: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong.
        what: String,
    },
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The portal.
    pub https: Https,
    /// The units' side.
    pub grpc: Grpc,
    /// Where sealed clips are kept.
    #[serde(default)]
    pub objects: Objects,
    /// The key service.
    #[serde(default)]
    pub keys: Keys,
    /// Limits of viewing.
    #[serde(default)]
    pub views: Views,
    /// Tracing of leaks.
    #[serde(default)]
    pub trace: Trace,
    /// How long recordings are kept.
    #[serde(default)]
    pub retention: Retention,
    /// Signing in.
    #[serde(default)]
    pub sign_in: SignIn,
    /// What the witnesses of the access log must have done.
    #[serde(default, rename = "log")]
    pub log_rules: LogRules,
    /// The witnesses of the access log.
    #[serde(default, rename = "witness", skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<WitnessAt>,
    /// The data folder: where the file lies.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// The portal's listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Https {
    /// Address and port; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Names and addresses in the certificate that the fleet's CA gives the server.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// A certificate chain (PEM) of a public CA, instead of one of the fleet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its private key (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<PathBuf>,
}

/// The units' listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grpc {
    /// Address and port; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// What tickets tell units to connect to. Absent: `https://` and `listen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
}

/// Where sealed clips are kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Objects {
    /// In the data folder.
    #[default]
    Disk,
    /// In a bucket of a store with the S3 API.
    S3(S3),
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// What every key begins with, such as `clips/`.
    #[serde(default)]
    pub prefix: String,
    /// The region, or what the store calls so.
    pub region: String,
    /// The store's address, where it is not AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// A file, mode 0600, with `access_key_id = "..."` and `secret_access_key = "..."`.
    pub credentials_file: PathBuf,
}

/// The key service, a process of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// Its socket.
    pub socket: PathBuf,
}

impl Default for Keys {
    fn default() -> Self {
        Self { socket: PathBuf::from("/run/temoin-keys/socket") }
    }
}

/// Limits of viewing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Views {
    /// Streams at once in all. Each takes about one processor core while it is ahead of the viewer.
    pub max_streams: usize,
    /// Streams at once in one session: two cameras, and once more while the page is loaded again.
    pub max_streams_per_session: usize,
}

impl Default for Views {
    fn default() -> Self {
        Self { max_streams: 8, max_streams_per_session: 4 }
    }
}

/// Tracing of leaks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trace {
    /// The accepted chance that a whole trace names anybody who had no part.
    pub bound: f64,
}

impl Default for Trace {
    fn default() -> Self {
        Self { bound: crate::trace::BOUND }
    }
}

/// Signing in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignIn {
    /// Whether roles that see others need a second factor.
    pub second_factor: SecondFactor,
    /// How long after password or code sensitive acts need no other, seconds.
    pub step_up_after_s: u32,
}

/// What `sign_in.step_up_after_s` may be. Below, what somebody types would outlast it.
const STEP_UP_AFTER_S: std::ops::RangeInclusive<u32> = 10..=3600;

impl Default for SignIn {
    fn default() -> Self {
        Self { second_factor: SecondFactor::default(), step_up_after_s: 300 }
    }
}

/// Whether roles that see others need a second factor. Who has set one up always uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondFactor {
    /// All but drivers: without one they can only set it up.
    #[default]
    Required,
    /// Who wants to.
    Optional,
}

/// What the witnesses of the access log must have done before anybody is shown a recording. Of no
/// effect where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogRules {
    /// How old the newest cosigned head may be, seconds. Own choice: a day. A witness that is down over
    /// night stops nobody; a log that is not witnessed any more stops all views on the next day. A
    /// witness that refuses stops them at once, whatever this is.
    pub cosigned_within_s: u64,
    /// How many witnesses must have cosigned the same head.
    pub quorum: usize,
}

impl Default for LogRules {
    fn default() -> Self {
        Self { cosigned_within_s: 24 * 3600, quorum: 1 }
    }
}

/// A witness of the access log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessAt {
    /// What messages call it.
    pub name: String,
    /// Its public key, as `temoin-witness init` printed it.
    pub key: String,
    /// Where it is; `/add-checkpoint` is put behind it.
    pub url: String,
    /// A certificate (PEM) that its address is checked with, instead of those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl Config {
    /// What `init` writes.
    pub fn new(folder: &Path, https: SocketAddr, grpc: SocketAddr, hosts: Vec<String>) -> Self {
        Self {
            https: Https { listen: https, hosts, certificate: None, private_key: None },
            grpc: Grpc { listen: grpc, public_url: None },
            objects: Objects::default(),
            keys: Keys::default(),
            views: Views::default(),
            trace: Trace::default(),
            retention: Retention::default(),
            sign_in: SignIn::default(),
            log_rules: LogRules::default(),
            witnesses: Vec::new(),
            folder: folder.to_owned(),
        }
    }

    /// Reads and checks the file; says everything that is wrong at once.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let content = |what| ConfigError::Content { path: path.to_owned(), what };
        let mut config: Self = toml::from_str(&text).map_err(|e| content(e.to_string()))?;
        config.folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        let problems = config.problems();
        if problems.is_empty() { Ok(config) } else { Err(content(problems.join("; "))) }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.https.certificate.is_some() != self.https.private_key.is_some() {
            problems.push("`https.certificate` and `https.private_key` go together".to_owned());
        }
        if self.https.listen == self.grpc.listen && self.https.listen.port() != 0 {
            problems.push(format!(
                "`https.listen` and `grpc.listen` are both {}: choose two ports",
                self.https.listen
            ));
        }
        if self.views.max_streams == 0 || self.views.max_streams_per_session == 0 {
            problems.push(
                "`views.max_streams` and `views.max_streams_per_session` are at least 1".to_owned(),
            );
        }
        if !(1e-30..=1e-3).contains(&self.trace.bound) {
            problems.push(format!(
                "`trace.bound` is {:e}: it is 1e-30 to 1e-3, and 1e-9 where nothing speaks against it",
                self.trace.bound
            ));
        }
        problems.extend(self.retention.mistakes());
        if !STEP_UP_AFTER_S.contains(&self.sign_in.step_up_after_s) {
            problems.push(format!(
                "`sign_in.step_up_after_s` is {}: it is {} to {}",
                self.sign_in.step_up_after_s,
                STEP_UP_AFTER_S.start(),
                STEP_UP_AFTER_S.end()
            ));
        }
        problems.extend(crate::witnesses::mistakes(self, &self.folder));
        if let Some(url) = &self.grpc.public_url
            && !url.starts_with("https://")
        {
            problems.push(format!("`grpc.public_url` is `{url}`: it begins with https://"));
        }
        problems
    }

    /// A path in the data folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.path("temoin.db")
    }

    /// The access log's folder.
    pub fn log(&self) -> PathBuf {
        self.path("access-log")
    }

    /// The key service's socket.
    pub fn keys_socket(&self) -> PathBuf {
        self.folder.join(&self.keys.socket)
    }

    /// Where the command line hands files in to be traced.
    pub fn trace_socket(&self) -> PathBuf {
        self.path("trace.sock")
    }

    /// The server's secret for signing in.
    pub fn sign_in_key(&self) -> PathBuf {
        self.path("sign-in.key")
    }

    /// The fleet's CA and the server's certificate.
    pub fn pki(&self) -> PathBuf {
        self.path("pki")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_writes_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let (https, grpc) = ("127.0.0.1:8443".parse().unwrap(), "127.0.0.1:7443".parse().unwrap());
        let config = Config::new(dir.path(), https, grpc, vec!["localhost".into()]);
        let path = dir.path().join("config.toml");
        std::fs::write(&path, toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(Config::read(&path).unwrap(), config);
    }

    #[test]
    fn wrong_files_say_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let base = "[https]\nlisten = \"127.0.0.1:1\"\n[grpc]\nlisten = \"127.0.0.1:2\"\n";
        for (text, expected) in [
            (format!("{base}colour = 1\n"), "colour"),
            (base.replace(":2", ":1"), "two ports"),
            (base.replace("[grpc]", "certificate = \"a\"\n[grpc]"), "go together"),
            (format!("{base}[views]\nmax_streams = 0\n"), "at least 1"),
            (format!("{base}[log]\nquorum = 0\n"), "at least 1"),
            (format!("{base}[trace]\nbound = 0.5\n"), "1e-9"),
            (format!("{base}[trace]\nbound = nan\n"), "1e-9"),
            (format!("{base}[log]\ncosigned_within_s = 0\n"), "at least 1"),
            (
                format!("{base}[[witness]]\nname = \"w\"\nkey = \"x\"\nurl = \"http://x\"\n"),
                "its key",
            ),
            (format!("{base}[objects]\nkind = \"tape\"\n"), "tape"),
            (format!("{base}[sign_in]\nsecond_factor = \"maybe\"\n"), "maybe"),
            (format!("{base}[sign_in]\nstep_up_after_s = 5\n"), "10 to 3600"),
        ] {
            std::fs::write(&path, &text).unwrap();
            let error = Config::read(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
