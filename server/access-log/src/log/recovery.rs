//! What opening makes of what a crash left: the table is at the head of [`super`].
//!
//! INVARIANT: nothing is cut or written before every entry under the signed head has been checked,
//! and nothing is signed before it is synced. So a recovery that is itself cut off leaves what the
//! next one can recover.

use super::{Committed, LogError};
use crate::{
    checkpoint::{Checkpoint, LogKey},
    files::{self, FileError, LogFiles},
    record::{HEADER, RecordError, RecordReader},
    tree::Tree,
};

/// Reads and checks all there is, and repairs what a crash left. Returns the state and the length
/// of the entries file.
pub(super) fn recover(files: &dyn LogFiles, key: &LogKey) -> Result<(Committed, u64), LogError> {
    let folder = || files.folder().to_owned();
    let entries = || files.folder().join(files::ENTRIES);
    let bad_head = |source| LogError::Checkpoint { folder: folder(), source };

    let checkpoint = Checkpoint::parse(&files.checkpoint()?, key.public()).map_err(bad_head)?;
    // The process may have died between renaming and syncing the folder.
    files.sync_folder()?;

    let mut tree = Tree::default();
    let mut offsets = Vec::new();
    let mut end = HEADER.len() as u64;
    let mut beyond = Vec::new();
    let mut reader = RecordReader::new(files.entries_from(0)?).map_err(|e| match e {
        RecordError::Io(e) => LogError::File(FileError::new("read", entries(), e)),
        e @ (RecordError::Header
        | RecordError::Cut
        | RecordError::Length(_)
        | RecordError::Hash) => {
            LogError::Damaged { folder: folder(), index: 0, reason: e.to_string() }
        }
    })?;
    let torn = loop {
        let damaged =
            |reason: String| LogError::Damaged { folder: folder(), index: tree.size(), reason };
        let under_head = tree.size() < checkpoint.size();
        match reader.next_record() {
            Ok(Some(record)) => {
                offsets.push(end);
                end += record.stored_len();
                if !under_head {
                    record.write_to(&mut beyond).map_err(|e| damaged(e.to_string()))?;
                }
                tree.push(record.hash)?;
            }
            Ok(None) if under_head => {
                let size = checkpoint.size();
                return Err(damaged(format!(
                    "the file ends before it, but {size} entries were signed"
                )));
            }
            Ok(None) => break false,
            // An unreadable sector is not a torn tail: nothing is cut for it.
            Err(RecordError::Io(e)) => return Err(FileError::new("read", entries(), e).into()),
            Err(
                e @ (RecordError::Header
                | RecordError::Cut
                | RecordError::Length(_)
                | RecordError::Hash),
            ) => {
                if under_head {
                    return Err(damaged(e.to_string()));
                }
                break true;
            }
        }
    };
    drop(reader);
    if tree.root(checkpoint.size())? != checkpoint.root() {
        return Err(LogError::Root { folder: folder(), size: checkpoint.size() });
    }

    let mut committed = Committed { tree, offsets, checkpoint };
    if torn || !beyond.is_empty() {
        files.write_entries(end - beyond.len() as u64, &beyond)?;
        files.truncate_entries(end)?;
        files.sync_entries()?;
    }
    if !beyond.is_empty() {
        let size = committed.tree.size();
        let head = key.sign(size, committed.tree.root(size)?).map_err(bad_head)?;
        publish(files, &head)?;
        committed.checkpoint = head;
    }
    Ok((committed, end))
}

/// Replaces the signed head on disk. Everything under it must be durable.
pub(super) fn publish(files: &dyn LogFiles, head: &Checkpoint) -> Result<(), FileError> {
    files.write_new_checkpoint(head.note().as_bytes())?;
    files.rename_new_checkpoint()?;
    files.sync_folder()
}
