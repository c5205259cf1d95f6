//! A published log as somebody outside has it: the folder of an export, or the address of a server's
//! `/log`.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use temoin_access_log::{files::FileError, verify::Published};

/// A server that takes longer for one file does not answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A published log.
#[derive(Debug)]
pub enum Source {
    /// In a folder.
    Folder(PathBuf),
    /// At an address.
    Address(Address),
}

/// A published log at an address.
#[derive(Debug)]
pub struct Address {
    prefix: String,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Source {
    /// The log in this folder, or at this address (`https://fleet.example/log`). A `ca` (PEM) is
    /// what the address is checked with, instead of the certificates of the system.
    ///
    /// # Errors
    /// Where the certificate is none, or the system gives no threads.
    pub fn new(place: &str, ca: Option<&[u8]>) -> Result<Self, anyhow::Error> {
        if !place.starts_with("https://") && !place.starts_with("http://") {
            return Ok(Self::Folder(place.into()));
        }
        // A second one cannot be installed, and there is only this one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut http = reqwest::Client::builder().timeout(PATIENCE);
        if let Some(pem) = ca {
            http = http.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem)?);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let prefix = place.trim_end_matches('/').to_owned();
        Ok(Self::Address(Address { prefix, http: http.build()?, runtime }))
    }
}

impl Published for Source {
    fn place(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::Address(address) => PathBuf::from(format!("{}/{name}", address.prefix)),
        }
    }

    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
        match self {
            Self::Folder(folder) => <Path as Published>::read(folder, name, limit),
            Self::Address(address) => address
                .runtime
                .block_on(address.get(name, limit))
                .map_err(|source| FileError { doing: "read", path: self.place(name), source }),
        }
    }
}

impl Address {
    async fn get(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, io::Error> {
        let failed = |e: reqwest::Error| {
            let mut text = e.to_string();
            let mut cause = std::error::Error::source(&e);
            while let Some(next) = cause {
                text = format!("{text}: {next}");
                cause = next.source();
            }
            io::Error::other(text)
        };
        let mut answer =
            self.http.get(format!("{}/{name}", self.prefix)).send().await.map_err(failed)?;
        match answer.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            status => return Err(io::Error::other(format!("the server answers {status}"))),
        }
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&part);
            if bytes.len() as u64 > limit {
                break;
            }
        }
        Ok(Some(bytes))
    }
}
