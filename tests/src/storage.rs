//! What lies on the server's disk, seen from outside, and opened with the fleet's own key as only
//! its holder could.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Sealed objects: clip → track → file.
pub type Objects = BTreeMap<String, BTreeMap<String, PathBuf>>;

/// Every sealed object in the server's folder.
///
/// # Errors
/// Where a folder cannot be read.
pub fn objects(server: &Path) -> Result<Objects> {
    let mut objects = Objects::new();
    for file in files(server)? {
        if file.extension().is_some_and(|e| e == "sealed") {
            let name = |p: &Path| p.file_stem().map(|s| s.to_string_lossy().into_owned());
            let clip = file.parent().and_then(name).context("an object without a clip")?;
            let track = name(&file).context("an object without a name")?;
            objects.entry(clip).or_default().insert(track, file);
        }
    }
    Ok(objects)
}

/// Every file below a folder.
///
/// # Errors
/// Where a folder cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

#[derive(Deserialize)]
struct Keyring {
    key: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    id: String,
    private: String,
}

/// The fleet's private keys by id, out of the server's keyring file.
///
/// # Errors
/// Where there is not exactly one keyring.
pub fn fleet_keys(server: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut keys = BTreeMap::new();
    for file in files(server)? {
        if let Ok(text) = fs::read_to_string(&file)
            && let Ok(ring) = toml::from_str::<Keyring>(&text)
        {
            for key in ring.key {
                keys.insert(key.id, hex::decode(key.private)?);
            }
        }
    }
    ensure!(!keys.is_empty(), "no keyring below {}", server.display());
    Ok(keys)
}
