//! Reading entries, always by whole chunks, which are checked against the tree.
//!
//! INVARIANT: what leaves here is what was signed: the tree in memory was compared with the signed
//! root, and each chunk that is read is hashed again and compared with the tree. The lock is never
//! held while the disk is read.

use std::{fmt, vec};

use super::{LogError, Shared};
use crate::{
    files::{self, FileError},
    leaf::Leaf,
    record::{HEADER, Record, RecordError, RecordReader},
    tree::{CHUNK, Chunk, Hash},
};

/// What the records of a chunk must hash to.
enum Wanted {
    /// The root of all.
    Root(Hash),
    /// Each hash of a chunk that is not whole yet.
    Leaves(Vec<Hash>),
}

impl Shared {
    pub(super) fn damaged(&self, index: u64, reason: impl ToString) -> LogError {
        let folder = self.files.folder().to_owned();
        LogError::Damaged { folder, index, reason: reason.to_string() }
    }

    /// The records of one chunk, as many as are durable; none beyond the log.
    pub(super) fn records(&self, chunk: u64) -> Result<Vec<Record>, LogError> {
        let (start, wanted) = {
            let committed = self.read();
            let end_of =
                |chunk: u64| usize::try_from(chunk).ok().and_then(|i| committed.ends.get(i));
            let start = match chunk.checked_sub(1) {
                None => HEADER.len() as u64,
                Some(before) => match end_of(before) {
                    Some(end) => *end,
                    None => return Ok(Vec::new()),
                },
            };
            let wanted = match committed.tree.chunk_root(chunk) {
                Some(root) => Wanted::Root(root),
                None => Wanted::Leaves(committed.tree.tail().to_vec()),
            };
            (start, wanted)
        };
        let (first, count) = (
            chunk * CHUNK,
            match &wanted {
                Wanted::Root(_) => CHUNK,
                Wanted::Leaves(leaves) => leaves.len() as u64,
            },
        );
        let mut reader = RecordReader::at_record(self.files.entries_from(start)?);
        let mut records = Vec::new();
        for index in first..first + count {
            let record = reader
                .next_record()
                .map_err(|e| self.unreadable(index, e))?
                .ok_or_else(|| self.damaged(index, RecordError::Cut))?;
            records.push(record);
        }
        let hashes = records.iter().map(|record| record.hash);
        match wanted {
            Wanted::Root(root) => {
                if Chunk::new(chunk, hashes.collect()).root() != root {
                    let folder = self.files.folder().to_owned();
                    return Err(LogError::Replaced { folder, first, last: first + CHUNK - 1 });
                }
            }
            Wanted::Leaves(leaves) => {
                if let Some((index, _)) =
                    (first..).zip(hashes.zip(leaves)).find(|(_, (is, was))| is != was)
                {
                    return Err(self.damaged(index, "it was replaced since the log was opened"));
                }
            }
        }
        Ok(records)
    }

    fn unreadable(&self, index: u64, e: RecordError) -> LogError {
        match e {
            RecordError::Io(e) => {
                FileError::new("read", self.files.folder().join(files::ENTRIES), e).into()
            }
            RecordError::Header | RecordError::Cut | RecordError::Length(_) | RecordError::Hash => {
                self.damaged(index, e)
            }
        }
    }

    /// The chunks that these entries and tree sizes are in, as far as there are any.
    pub(super) fn chunks_of(&self, numbers: &[u64]) -> Result<Vec<Chunk>, LogError> {
        numbers
            .iter()
            .map(|number| {
                let index = number / CHUNK;
                let tail = {
                    let tree = &self.read().tree;
                    (index >= tree.whole_chunks()).then(|| tree.tail().to_vec())
                };
                let leaves = match tail {
                    Some(tail) => tail,
                    None => self.records(index)?.iter().map(|record| record.hash).collect(),
                };
                Ok(Chunk::new(index, leaves))
            })
            .collect()
    }
}

/// One entry with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The entry's number, from 0.
    pub index: u64,
    /// What was logged.
    pub leaf: Leaf,
}

/// Reads entries in order; ends after the first error.
pub struct Entries<'a> {
    shared: &'a Shared,
    chunk: vec::IntoIter<Record>,
    next: u64,
    end: u64,
}

impl<'a> Entries<'a> {
    pub(super) fn new(shared: &'a Shared, from: u64, end: u64) -> Self {
        Self { shared, chunk: Vec::new().into_iter(), next: from, end }
    }

    fn read(&mut self, index: u64) -> Result<Entry, LogError> {
        let record = match self.chunk.next() {
            Some(record) => record,
            None => {
                self.chunk = self.shared.records(index / CHUNK)?.into_iter();
                let inside = usize::try_from(index % CHUNK).unwrap_or(usize::MAX);
                self.chunk
                    .nth(inside)
                    .ok_or_else(|| self.shared.damaged(index, RecordError::Cut))?
            }
        };
        Ok(Entry { index, leaf: Leaf::from_bytes(&record.leaf)? })
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        if index >= self.end {
            return None;
        }
        let entry = self.read(index);
        self.next = if entry.is_ok() { index + 1 } else { self.end };
        Some(entry)
    }
}

impl fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries")
            .field("next", &self.next)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
