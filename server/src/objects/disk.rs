//! Objects as files: `FOLDER/ab/CLIP/TRACK.sealed`, where `ab` are the id's last two digits, so
//! that no folder gets too full.
//!
//! INVARIANT: a file gets its name after its bytes are on the disk, and the folder is synced
//! before `put_file` returns. A crash leaves the upload where it was, or the whole object.

use std::{
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{ObjectError, ObjectKey, Objects, file_error};

/// Objects in a folder on this machine.
#[derive(Debug, Clone)]
pub struct DiskObjects {
    folder: PathBuf,
}

impl DiskObjects {
    /// In this folder, which is made where it is missing.
    ///
    /// # Errors
    /// [`ObjectError::File`].
    pub fn open(folder: &Path) -> Result<Self, ObjectError> {
        fs::create_dir_all(folder).map_err(file_error("make", folder))?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn path(&self, key: ObjectKey) -> PathBuf {
        let id = key.clip.to_string();
        let shard = id.get(id.len().saturating_sub(2)..).unwrap_or_default();
        self.folder.join(shard).join(key.to_string())
    }
}

/// Makes a folder's entries durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), ObjectError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(file_error("sync", folder))
}

fn put(file: &Path, path: &Path, top: &Path) -> Result<(), ObjectError> {
    let folder = path.parent().unwrap_or(top);
    fs::create_dir_all(folder).map_err(file_error("make", folder))?;
    File::open(file).and_then(|f| f.sync_all()).map_err(file_error("sync", file))?;
    fs::rename(file, path).map_err(file_error("move an upload to", path))?;
    // From the inside out: the object's name, the clip's folder, the shard.
    let mut folder = Some(folder);
    while let Some(dir) = folder {
        sync_folder(dir)?;
        if dir == top {
            break;
        }
        folder = dir.parent();
    }
    if let Some(from) = file.parent() {
        sync_folder(from)?;
    }
    Ok(())
}

fn missing_or(error: io::Error, key: ObjectKey, path: &Path) -> ObjectError {
    if error.kind() == io::ErrorKind::NotFound {
        ObjectError::Missing(key.to_string())
    } else {
        file_error("read", path)(error)
    }
}

async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(&Path) -> Result<T, ObjectError> + Send + 'static,
) -> Result<T, ObjectError> {
    let outer = path.clone();
    tokio::task::spawn_blocking(move || work(&path))
        .await
        .unwrap_or_else(|e| Err(file_error("work on", &outer)(io::Error::other(e))))
}

impl Objects for DiskObjects {
    fn put_file<'a>(
        &'a self,
        key: ObjectKey,
        file: &'a Path,
    ) -> BoxFuture<'a, Result<(), ObjectError>> {
        let (file, top) = (file.to_owned(), self.folder.clone());
        Box::pin(blocking(self.path(key), move |path| put(&file, path, &top)))
    }

    fn len(&self, key: ObjectKey) -> BoxFuture<'_, Result<Option<u64>, ObjectError>> {
        Box::pin(blocking(self.path(key), |path| match fs::metadata(path) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(file_error("read", path)(e)),
        }))
    }

    fn get_range(
        &self,
        key: ObjectKey,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Bytes, ObjectError>> {
        Box::pin(blocking(self.path(key), move |path| {
            let file = File::open(path).map_err(|e| missing_or(e, key, path))?;
            let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
            let have = file.metadata().map_err(file_error("read", path))?.len();
            if range.end > have {
                let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "shorter than it was");
                return Err(file_error("read", path)(cut));
            }
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, range.start).map_err(file_error("read", path))?;
            Ok(bytes.into())
        }))
    }

    fn delete(&self, key: ObjectKey) -> BoxFuture<'_, Result<(), ObjectError>> {
        Box::pin(blocking(self.path(key), |path| match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(file_error("delete", path)(e)),
            Ok(()) | Err(_) => path.parent().filter(|p| p.exists()).map_or(Ok(()), sync_folder),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::check_store;

    #[tokio::test]
    async fn does_what_a_store_must() {
        let dir = tempfile::tempdir().unwrap();
        let store = DiskObjects::open(&dir.path().join("objects")).unwrap();
        check_store(&store, dir.path()).await;
    }
}
