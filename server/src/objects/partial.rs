//! Uploads that are not whole yet: one file per track in `FOLDER/CLIP.TRACK.partial`.
//!
//! INVARIANT: a file only grows, at its end, and by one sender at a time. Its length after a sync
//! is what the unit may rely on. A crash leaves some of what was sent after the last sync or none
//! of it; whatever it leaves is checked by its hash before it becomes an object, and thrown away
//! where it is wrong.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use bytes::Bytes;
use ring::digest;
use tokio::sync::watch;

use super::{ObjectError, ObjectKey, disk::sync_folder, file_error};

/// The folder of unfinished uploads.
#[derive(Debug)]
pub struct Partials {
    folder: PathBuf,
    /// One lock per upload that somebody works on.
    turns: Mutex<HashMap<ObjectKey, Weak<Turn>>>,
}

/// Whose turn it is to work on an upload.
#[derive(Debug)]
struct Turn {
    lock: Arc<tokio::sync::Mutex<()>>,
    /// Counts those who had to wait.
    waiting: watch::Sender<u64>,
}

/// The only one who may work on an upload.
pub struct Upload {
    key: ObjectKey,
    path: PathBuf,
    wanted: watch::Receiver<u64>,
    /// Keeps the turn known to those who come later.
    _turn: Arc<Turn>,
    _guard: tokio::sync::OwnedMutexGuard<()>,
}

/// Says when somebody else wants an upload: the unit came back while an old connection of it
/// still hangs.
pub struct Wanted(watch::Receiver<u64>);

impl Wanted {
    /// Returns when somebody waits for the upload.
    pub async fn wait(&mut self) {
        // An error says that nobody can come any more.
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Partials {
    /// In this folder, which is made where it is missing.
    ///
    /// # Errors
    /// [`ObjectError::File`].
    pub fn open(folder: &Path) -> Result<Self, ObjectError> {
        fs::create_dir_all(folder).map_err(file_error("make", folder))?;
        Ok(Self { folder: folder.to_owned(), turns: Mutex::default() })
    }

    /// Waits until nobody else works on this upload, and lets whoever does know (see [`Wanted`]).
    pub async fn upload(&self, key: ObjectKey) -> Upload {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            match turns.get(&key).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn =
                        Arc::new(Turn { lock: Arc::default(), waiting: watch::Sender::new(0) });
                    turns.insert(key, Arc::downgrade(&turn));
                    turn
                }
            }
        };
        let guard = match Arc::clone(&turn.lock).try_lock_owned() {
            Ok(guard) => guard,
            Err(_) => {
                turn.waiting.send_modify(|count| *count += 1);
                Arc::clone(&turn.lock).lock_owned().await
            }
        };
        Upload {
            key,
            path: self.folder.join(format!("{}.{}.partial", key.clip, key.track.as_str())),
            wanted: turn.waiting.subscribe(),
            _turn: turn,
            _guard: guard,
        }
    }
}

/// What a whole upload came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// Its length.
    pub len: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
}

impl Upload {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says when somebody else wants it.
    pub fn wanted(&self) -> Wanted {
        Wanted(self.wanted.clone())
    }

    /// How many bytes are here, after making them durable. Blocks.
    ///
    /// # Errors
    /// [`ObjectError::File`].
    pub fn durable_len(&self) -> Result<u64, ObjectError> {
        match File::open(&self.path) {
            Ok(file) => {
                file.sync_all().map_err(file_error("sync", &self.path))?;
                Ok(file.metadata().map_err(file_error("read", &self.path))?.len())
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(e) => Err(file_error("read", &self.path)(e)),
        }
    }

    /// Opens the upload to go on at `offset`. Blocks.
    ///
    /// # Errors
    /// [`ObjectError::Offset`] where it stands elsewhere, [`ObjectError::File`].
    pub fn append_at(self, offset: u64, limit: u64) -> Result<Appender, ObjectError> {
        let durable_len = self.durable_len()?;
        if durable_len != offset {
            return Err(ObjectError::Offset { key: self.key, durable_len, offset });
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .map_err(file_error("write", &self.path))?;
        Ok(Appender { upload: self, file, len: offset, limit })
    }

    /// Length and hash of what is here. Blocks.
    ///
    /// # Errors
    /// [`ObjectError::File`].
    pub fn sum(&self) -> Result<Sum, ObjectError> {
        let mut sum = digest::Context::new(&digest::SHA256);
        let mut len = 0;
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(Sum { len: 0, sha256: crate::authn::sha256(b"") });
            }
            Err(e) => return Err(file_error("read", &self.path)(e)),
        };
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = file.read(&mut buffer).map_err(file_error("read", &self.path))?;
            let Some(read) = buffer.get(..n).filter(|read| !read.is_empty()) else { break };
            sum.update(read);
            len += read.len() as u64;
        }
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(sum.finish().as_ref());
        Ok(Sum { len, sha256 })
    }

    /// Throws away what is here. Blocks.
    ///
    /// # Errors
    /// [`ObjectError::File`].
    pub fn discard(&self) -> Result<(), ObjectError> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(file_error("delete", &self.path)(e))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// An upload that grows.
pub struct Appender {
    upload: Upload,
    file: File,
    len: u64,
    limit: u64,
}

impl Appender {
    /// Adds bytes. Blocks.
    ///
    /// # Errors
    /// [`ObjectError::TooLong`] beyond the manifest's length, [`ObjectError::File`].
    pub fn write(&mut self, data: &Bytes) -> Result<(), ObjectError> {
        let len = self.len + data.len() as u64;
        if len > self.limit {
            return Err(ObjectError::TooLong { key: self.upload.key, limit: self.limit });
        }
        self.file.write_all(data).map_err(file_error("write", &self.upload.path))?;
        self.len = len;
        Ok(())
    }

    /// Makes all of it durable and says how long it is. Blocks.
    ///
    /// # Errors
    /// [`ObjectError::File`].
    pub fn finish(self) -> Result<u64, ObjectError> {
        self.file.sync_all().map_err(file_error("sync", &self.upload.path))?;
        if let Some(folder) = self.upload.path.parent() {
            sync_folder(folder)?;
        }
        Ok(self.len)
    }
}

#[cfg(test)]
mod tests {
    use temoin_proto::{ids::ClipId, sealed::TrackName};

    use super::*;

    #[tokio::test]
    async fn an_upload_goes_on_only_where_it_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let key = ObjectKey { clip: ClipId::new(), track: TrackName::Cabin };
        let partials = Partials::open(dir.path()).unwrap();
        let mut upload = partials.upload(key).await.append_at(0, 10).unwrap();
        upload.write(&Bytes::from_static(b"abcd")).unwrap();
        // Dropped without `finish`: the sender went away.
        drop(upload);
        // A new start of the server.
        let partials = Partials::open(dir.path()).unwrap();
        assert_eq!(partials.upload(key).await.durable_len().unwrap(), 4);
        for offset in [0, 3, 5] {
            assert!(matches!(
                partials.upload(key).await.append_at(offset, 10),
                Err(ObjectError::Offset { durable_len: 4, .. })
            ));
        }
        let mut upload = partials.upload(key).await.append_at(4, 10).unwrap();
        upload.write(&Bytes::from_static(b"efghij")).unwrap();
        assert!(matches!(
            upload.write(&Bytes::from_static(b"k")),
            Err(ObjectError::TooLong { limit: 10, .. })
        ));
        assert_eq!(upload.finish().unwrap(), 10);
        let upload = partials.upload(key).await;
        let sum = Sum { len: 10, sha256: crate::authn::sha256(b"abcdefghij") };
        assert_eq!(upload.sum().unwrap(), sum);
        upload.discard().unwrap();
        assert_eq!(upload.sum().unwrap().len, 0);
    }

    #[tokio::test]
    async fn one_sender_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let key = ObjectKey { clip: ClipId::new(), track: TrackName::Cabin };
        let partials = Partials::open(dir.path()).unwrap();
        let first = partials.upload(key).await;
        let mut wanted = first.wanted();
        assert!(futures::poll!(Box::pin(wanted.wait())).is_pending());
        let mut second = Box::pin(partials.upload(key));
        assert!(futures::poll!(&mut second).is_pending());
        wanted.wait().await;
        drop(first);
        assert!(futures::poll!(&mut second).is_ready());
    }
}
