//! Sealed objects: the tracks of clips, encrypted by the units. Nothing here can open them.
//!
//! Uploads grow in [`partial`] files on this machine and become objects when they are whole and
//! verified. INVARIANT: an object is visible only as a whole; [`Objects::put_file`] returns when
//! it is durable.

pub mod disk;
pub mod partial;
pub mod s3;

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use temoin_proto::{ids::ClipId, sealed::TrackName};

/// Names one object: one track of one clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The clip.
    pub clip: ClipId,
    /// The track.
    pub track: TrackName,
}

impl fmt::Display for ObjectKey {
    /// `CLIP/TRACK.sealed`: safe as a path and as an S3 key, because ids are UUIDs and tracks are
    /// words of our own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.sealed", self.clip, self.track.as_str())
    }
}

/// Why an object could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object.
    #[error("there is no object {0}")]
    Missing(String),
    /// A file cannot be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The store with the S3 API refused.
    #[error("the object store refused to {what} {key}: {why}")]
    Store {
        /// What was tried.
        what: &'static str,
        /// The object.
        key: String,
        /// Why.
        why: String,
    },
    /// The store cannot be used as configured.
    #[error("the object store is not usable: {0}")]
    Config(String),
    /// An upload goes on at another place than where it stopped.
    #[error("the upload of {key} stands at {durable_len} bytes, not at {offset}")]
    Offset {
        /// The object.
        key: ObjectKey,
        /// Where it stands.
        durable_len: u64,
        /// Where the sender wanted to go on.
        offset: u64,
    },
    /// More bytes than the manifest says.
    #[error("the upload of {key} is longer than the {limit} bytes of its manifest")]
    TooLong {
        /// The object.
        key: ObjectKey,
        /// What the manifest says.
        limit: u64,
    },
}

impl ObjectError {
    /// Whether the disk is full.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::File { source, .. } => matches!(
                source.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            ),
            Self::Missing(_)
            | Self::Store { .. }
            | Self::Config(_)
            | Self::Offset { .. }
            | Self::TooLong { .. } => false,
        }
    }
}

/// `map_err` for a file.
pub(crate) fn file_error(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> ObjectError {
    let path = path.to_owned();
    move |source| ObjectError::File { what, path, source }
}

/// Where sealed objects are kept.
pub trait Objects: Send + Sync + fmt::Debug {
    /// Makes the file the object, durably, and takes the file away. The same object again is
    /// replaced by the same bytes.
    fn put_file<'a>(
        &'a self,
        key: ObjectKey,
        file: &'a Path,
    ) -> BoxFuture<'a, Result<(), ObjectError>>;

    /// The object's length, or none where there is no such object.
    fn len(&self, key: ObjectKey) -> BoxFuture<'_, Result<Option<u64>, ObjectError>>;

    /// Exactly these bytes of the object. The range is within its length and not empty.
    fn get_range(
        &self,
        key: ObjectKey,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Bytes, ObjectError>>;

    /// Deletes the object; one that does not exist is deleted already.
    fn delete(&self, key: ObjectKey) -> BoxFuture<'_, Result<(), ObjectError>>;
}

/// What every store must do; each of them runs it in its tests.
#[cfg(test)]
pub(crate) async fn check_store(store: &dyn Objects, scratch: &Path) {
    let key = ObjectKey { clip: ClipId::new(), track: TrackName::Road };
    let other = ObjectKey { track: TrackName::Cabin, ..key };
    let bytes: Vec<u8> = (0..200_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    assert_eq!(store.len(key).await.unwrap(), None);
    assert!(matches!(store.get_range(key, 0..1).await, Err(ObjectError::Missing(_))));
    for round in 0..2 {
        let file = scratch.join("upload");
        std::fs::write(&file, &bytes).unwrap();
        store.put_file(key, &file).await.unwrap();
        assert!(!file.exists(), "taken away, round {round}");
        assert_eq!(store.len(key).await.unwrap(), Some(200_000), "round {round}");
    }
    assert_eq!(store.len(other).await.unwrap(), None);
    for range in [0..1, 0..200_000, 65_552..131_104, 199_999..200_000] {
        let got = store.get_range(key, range.clone()).await.unwrap();
        let (start, end): (usize, usize) =
            (range.start.try_into().unwrap(), range.end.try_into().unwrap());
        let wanted = &bytes[start..end];
        assert!(got.as_ref() == wanted, "{range:?}");
    }
    store.delete(key).await.unwrap();
    store.delete(key).await.unwrap();
    assert_eq!(store.len(key).await.unwrap(), None);
}
