//! Folders and files of the spool.

use std::{fs, path::Path};

use prost::Message as _;
use temoin_agent_core::spool_plan::RawEntry;

use super::MANIFEST;
use crate::{
    durable::{self, FileError},
    seal::SealedClip,
};

/// A clip's files in a new folder, all durable but the folder itself.
pub(super) fn write_files(sealed: &SealedClip, folder: &Path) -> Result<(), FileError> {
    durable::make_folder(folder)?;
    for (name, bytes) in &sealed.tracks {
        durable::write_new(&folder.join(name.as_str()), bytes)?;
    }
    durable::write_new(&folder.join(MANIFEST), &sealed.manifest.encode_to_vec())?;
    durable::sync_folder(folder)
}

pub(super) fn entries(folder: &Path) -> Result<Vec<RawEntry>, FileError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(FileError::new("list", folder))? {
        let entry = entry.map_err(FileError::new("list", folder))?;
        let path = entry.path();
        let meta = entry.metadata().map_err(FileError::new("look at", &path))?;
        // A clip that cannot be looked into is found out when it is uploaded.
        let bytes =
            if meta.is_dir() { folder_bytes(&path).unwrap_or_default() } else { meta.len() };
        found.push(RawEntry { name: entry.file_name().to_string_lossy().into_owned(), bytes });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn folder_bytes(folder: &Path) -> Result<u64, FileError> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(FileError::new("list", folder))? {
        let entry = entry.map_err(FileError::new("list", folder))?;
        bytes += entry.metadata().map_err(FileError::new("look at", &entry.path()))?.len();
    }
    Ok(bytes)
}

pub(super) fn remove_all(path: &Path) -> Result<(), FileError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(FileError::new("remove", path)(e))
        }
        _ => Ok(()),
    }
}
