//! `init`: makes a data folder, as a whole or not at all.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use temoin_access_log::AccessLog;

use super::{address, say};
use crate::{config::Config, db::Db, objects::disk::sync_folder, pki::Pki, sign_in_key::SignInKey};

/// What `init` is told.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The new data folder; must not exist yet.
    folder: PathBuf,
    /// Where the portal listens.
    #[arg(long, default_value = "127.0.0.1:8443", value_parser = address)]
    https: SocketAddr,
    /// Where the server listens for units.
    #[arg(long, default_value = "127.0.0.1:7443", value_parser = address)]
    grpc: SocketAddr,
    /// A name or address for the server's certificate, besides localhost and 127.0.0.1. Can be
    /// given several times; the first one also names the access log.
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// The socket of the key service, without: /run/temoin-keys/socket.
    #[arg(long, value_name = "SOCKET")]
    keys: Option<PathBuf>,
}

pub(super) async fn run(init: Init) -> Result<(), anyhow::Error> {
    let Init { folder, https, grpc, hosts, keys } = init;
    let config = make(folder, https, grpc, &hosts, keys).await?;
    say(&format!("made {}", config.folder.display()))?;
    let key = temoin_access_log::verify::read_public_key(&config.log())?;
    say(&format!("access log's key, for the key service: {key}"))?;
    say(&format!("CA for browsers and units: {}", config.pki().join("ca.crt").display()))
}

/// Makes the folder beside its place and moves it there when all is in it: a crash leaves a
/// `.NAME.new` that the next `init` removes, never half a data folder.
pub(crate) async fn make(
    folder: PathBuf,
    https: SocketAddr,
    grpc: SocketAddr,
    hosts: &[String],
    keys: Option<PathBuf>,
) -> Result<Config, anyhow::Error> {
    anyhow::ensure!(
        !folder.exists(),
        "{} exists already: a data folder is never made over another; choose a new name",
        folder.display()
    );
    let name = folder
        .file_name()
        .with_context(|| format!("{} is no name for a folder", folder.display()))?
        .to_string_lossy()
        .into_owned();
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let new = parent.join(format!(".{name}.new"));
    if new.exists() {
        std::fs::remove_dir_all(&new).with_context(|| {
            format!("cannot remove {}, left by an `init` that did not end", new.display())
        })?;
    }
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&new)
        .with_context(|| format!("cannot make {}", new.display()))?;
    let origin = hosts.first().map_or("localhost", String::as_str);
    let mut config = Config::new(&new, https, grpc, all_hosts(hosts, https.ip()));
    if let Some(socket) = keys {
        config.keys.socket = socket;
    }
    fill(&config, origin).await?;
    sync_folder(&new)?;
    std::fs::rename(&new, &folder)
        .with_context(|| format!("cannot move {} to {}", new.display(), folder.display()))?;
    sync_folder(parent)?;
    config.folder = folder;
    Ok(config)
}

/// localhost and 127.0.0.1 always, then the address that the portal listens on, then the given.
fn all_hosts(given: &[String], listen: IpAddr) -> Vec<String> {
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    if !listen.is_unspecified() {
        hosts.push(listen.to_string());
    }
    hosts.extend_from_slice(given);
    let mut seen = std::collections::HashSet::new();
    hosts.retain(|host| seen.insert(host.clone()));
    hosts
}

async fn fill(config: &Config, origin: &str) -> Result<(), anyhow::Error> {
    Pki::create(&config.pki())?;
    // Checks the names now rather than at the first start.
    Pki::open(&config.pki())?.https_identity(&config.https.hosts)?;
    SignInKey::create(&config.sign_in_key())?;
    Db::open(&config.database()).await?.close().await;
    drop(AccessLog::create(&config.log(), &format!("{origin}/access-log"))?);
    let path = config.path("config.toml");
    let text = toml::to_string(config).context("cannot write the configuration as TOML")?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}
