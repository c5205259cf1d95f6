//! What lies on the server's disk, seen from outside, and opened with the fleet's own keys as only
//! their holder could.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use temoin_keys::{Keyring, config::Config};
use temoin_proto::{manifest::Manifest, sealed::ClipKey};

use crate::fleet::Fleet;

/// The sealed objects of a clip: track → file.
pub type Tracks = BTreeMap<String, PathBuf>;
/// Sealed objects: clip → its tracks.
pub type Objects = BTreeMap<String, Tracks>;

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

/// The key of a clip, out of the key service's folder with its guard's passphrase, as only who has
/// both can.
///
/// # Errors
/// Where the keyring does not open, or not this clip.
pub fn clip_key(fleet: &Fleet, manifest: &Manifest) -> Result<ClipKey> {
    let config = Config::read(&fleet.keys_config())?;
    let ring = Keyring::open(&config.keyring(), config.guard()?.as_ref())?;
    Ok(ring.unwrap(manifest.clip, &manifest.wrapped_key)?)
}
