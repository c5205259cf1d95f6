//! What opening makes of what a crash left: the table is at the head of [`super`].
//!
//! INVARIANT: nothing is cut or written before the entries under the signed head have been found to
//! be those that were signed, and nothing is signed before it is synced. So a recovery that is
//! itself cut off leaves what the next one can recover.

use super::{Committed, LogError};
use crate::{
    checkpoint::{Checkpoint, LogKey},
    chunks::{self, SavedChunk},
    files::{self, FileError, LogFiles},
    record::{HEADER, RecordError, RecordReader},
    tree::{CHUNK, Tree},
};

/// Checks what there is and repairs what a crash left. Returns the state and the length of the
/// entries file.
pub(super) fn recover(files: &dyn LogFiles, key: &LogKey) -> Result<(Committed, u64), LogError> {
    let bad_head = |source| LogError::Checkpoint { folder: files.folder().to_owned(), source };
    let checkpoint = Checkpoint::parse(&files.checkpoint()?, key.public()).map_err(bad_head)?;
    // The process may have died between renaming and syncing the folder.
    files.sync_folder()?;

    // Derived, so that a file that cannot be read is as good as none.
    let in_file = files.chunks(checkpoint.size() / CHUNK * chunks::RECORD_LEN).unwrap_or_default();
    let mut saved = chunks::read(&in_file);
    // The last whole chunk is read again: so the entries file is known to reach that far.
    saved.pop();
    let mut found = scan(files, &saved, &checkpoint);
    if found.is_err() && !saved.is_empty() {
        // Was it the chunks file, or the entries? Only all entries can tell.
        saved.clear();
        found = scan(files, &saved, &checkpoint);
    }
    let Scan { tree, ends, end, beyond, torn } = found?;

    let mut committed = Committed { tree, ends, checkpoint };
    if torn || !beyond.is_empty() {
        files.write_entries(end - beyond.len() as u64, &beyond)?;
        files.truncate_entries(end)?;
        files.sync_entries()?;
    }
    if !beyond.is_empty() {
        let head = key.sign(committed.tree.size(), committed.tree.root()?).map_err(bad_head)?;
        publish(files, &head)?;
        committed.checkpoint = head;
    }
    let first = saved.len() as u64;
    save_chunks(files, first, &committed.saved_from(first))?;
    Ok((committed, end))
}

/// What is in the entries file.
struct Scan {
    tree: Tree,
    /// Where each whole chunk ends.
    ends: Vec<u64>,
    /// Where the last whole record ends.
    end: u64,
    /// The whole records beyond the head.
    beyond: Vec<u8>,
    torn: bool,
}

/// Reads all records behind these chunks, and checks that they and the chunks are what the head
/// signs.
fn scan(files: &dyn LogFiles, saved: &[SavedChunk], head: &Checkpoint) -> Result<Scan, LogError> {
    let folder = || files.folder().to_owned();
    let unreadable =
        |e| LogError::from(FileError::new("read", files.folder().join(files::ENTRIES), e));

    let mut tree = Tree::default();
    for chunk in saved {
        tree.push_chunk(chunk.root)?;
    }
    let mut ends: Vec<u64> = saved.iter().map(|chunk| chunk.end).collect();
    let mut end = HEADER.len() as u64;
    let mut reader = RecordReader::new(files.entries_from(0)?).map_err(|e| match e {
        RecordError::Io(e) => unreadable(e),
        e @ (RecordError::Header
        | RecordError::Cut
        | RecordError::Length(_)
        | RecordError::Hash) => {
            LogError::Damaged { folder: folder(), index: 0, reason: e.to_string() }
        }
    })?;
    if let Some(last) = ends.last() {
        end = *last;
        reader = RecordReader::at_record(files.entries_from(end)?);
    }

    let mut beyond = Vec::new();
    let torn = loop {
        if tree.size() == head.size() && tree.root()? != head.root() {
            return Err(LogError::Root { folder: folder(), size: head.size() });
        }
        let damaged =
            |reason: String| LogError::Damaged { folder: folder(), index: tree.size(), reason };
        let under_head = tree.size() < head.size();
        match reader.next_record() {
            Ok(Some(record)) => {
                if !under_head {
                    record.write_to(&mut beyond).map_err(|e| damaged(e.to_string()))?;
                }
                end += record.stored_len();
                if tree.push(record.hash)? {
                    ends.push(end);
                }
            }
            Ok(None) if under_head => {
                let size = head.size();
                return Err(damaged(format!(
                    "the file ends before it, but {size} entries were signed"
                )));
            }
            Ok(None) => break false,
            // An unreadable sector is not a torn tail: nothing is cut for it.
            Err(RecordError::Io(e)) => return Err(unreadable(e)),
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
    Ok(Scan { tree, ends, end, beyond, torn })
}

/// Replaces the signed head on disk. Everything under it must be durable.
pub(super) fn publish(files: &dyn LogFiles, head: &Checkpoint) -> Result<(), FileError> {
    files.write_new_checkpoint(head.note().as_bytes())?;
    files.rename_new_checkpoint()?;
    files.sync_folder()
}

/// Writes these chunks, of which the first has this number, into the chunks file. Returns how many
/// it has then.
pub(super) fn save_chunks(
    files: &dyn LogFiles,
    first: u64,
    new: &[SavedChunk],
) -> Result<u64, FileError> {
    let mut bytes = Vec::new();
    for (index, chunk) in (first..).zip(new) {
        chunk.write_to(index, &mut bytes);
    }
    if !bytes.is_empty() {
        files.write_chunks(first * chunks::RECORD_LEN, &bytes)?;
    }
    Ok(first + new.len() as u64)
}
