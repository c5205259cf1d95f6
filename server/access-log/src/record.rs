//! The entries file: a header line, then one record for each entry.
//!
//! ```text
//! temoin access log entries v1\n
//! record: length of the leaf, u32 big endian | RFC 6962 hash of the leaf, 32 bytes | the leaf
//! ```
//!
//! The hash is the record's checksum and the tree's leaf at once, so that a flipped bit is found in
//! the very entry it sits in. What a crash leaves: whole records, then perhaps a torn one.
//! [`crate::log`] decides what becomes of that.

use std::io::{self, Read};

use crate::{
    leaf::MAX_LEAF_LEN,
    tree::{Hash, leaf_hash},
};

/// How the file begins.
pub const HEADER: &[u8] = b"temoin access log entries v1\n";
const HASH_LEN: usize = 32;

/// Why the next record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file does not begin as it must.
    #[error("the file does not begin with the header of an entries file")]
    Header,
    /// The file ends inside the record.
    #[error("the file ends inside the record")]
    Cut,
    /// No leaf is that long.
    #[error("the record's length is {0}, which no leaf has")]
    Length(u32),
    /// The leaf is not the one that was written.
    #[error("the leaf does not have the hash that is written before it")]
    Hash,
    /// The disk.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
    /// Its RFC 6962 hash.
    pub hash: Hash,
}

impl Record {
    /// A record of these bytes.
    pub fn new(leaf: Vec<u8>) -> Self {
        let hash = leaf_hash(&leaf);
        Self { leaf, hash }
    }

    /// Its length in the file.
    pub fn stored_len(&self) -> u64 {
        (4 + HASH_LEN + self.leaf.len()) as u64
    }

    /// Appends its stored form to `out`.
    ///
    /// # Errors
    /// [`RecordError::Length`] where no leaf is that long or that short.
    pub fn write_to(&self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let len = u32::try_from(self.leaf.len()).unwrap_or(u32::MAX);
        if len == 0 || self.leaf.len() > MAX_LEAF_LEN {
            return Err(RecordError::Length(len));
        }
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&self.hash.0);
        out.extend_from_slice(&self.leaf);
        Ok(())
    }
}

/// Reads one record after the other.
#[derive(Debug)]
pub struct RecordReader<R> {
    input: R,
}

impl<R: Read> RecordReader<R> {
    /// Reads from the start of an entries file.
    ///
    /// # Errors
    /// [`RecordError::Header`] where it is none, and I/O.
    pub fn new(mut input: R) -> Result<Self, RecordError> {
        let mut header = Vec::with_capacity(HEADER.len());
        input.by_ref().take(HEADER.len() as u64).read_to_end(&mut header)?;
        if header == HEADER { Ok(Self { input }) } else { Err(RecordError::Header) }
    }

    /// Reads from the start of some record.
    pub const fn at_record(input: R) -> Self {
        Self { input }
    }

    /// The next record; none at the end of the file.
    ///
    /// # Errors
    /// [`RecordError`]; there is no reading on after that.
    pub fn next_record(&mut self) -> Result<Option<Record>, RecordError> {
        let mut head = [0; 4 + HASH_LEN];
        match self.fill(&mut head)? {
            0 => return Ok(None),
            n if n < head.len() => return Err(RecordError::Cut),
            _ => {}
        }
        let (len, hash) = head.split_at(4);
        let len = len.iter().fold(0_u32, |len, &byte| len << 8 | u32::from(byte));
        let wanted = match usize::try_from(len) {
            Ok(n) if (1..=MAX_LEAF_LEN).contains(&n) => n,
            Ok(_) | Err(_) => return Err(RecordError::Length(len)),
        };
        let mut leaf = vec![0; wanted];
        if self.fill(&mut leaf)? < wanted {
            return Err(RecordError::Cut);
        }
        let record = Record::new(leaf);
        if record.hash.0 == hash { Ok(Some(record)) } else { Err(RecordError::Hash) }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.input.read(rest) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_at_the_edges() {
        for (len, good) in [(0, false), (1, true), (MAX_LEAF_LEN, true), (MAX_LEAF_LEN + 1, false)]
        {
            let record = Record::new(vec![b'x'; len]);
            let mut stored = HEADER.to_vec();
            assert_eq!(record.write_to(&mut stored).is_ok(), good, "{len}");
            if good {
                assert_eq!((stored.len() - HEADER.len()) as u64, record.stored_len());
                let mut reader = RecordReader::new(stored.as_slice()).unwrap();
                assert_eq!(reader.next_record().unwrap(), Some(record));
                assert_eq!(reader.next_record().unwrap(), None);
            }
        }
    }

    proptest! {
        #[test]
        fn random_bytes_are_no_record(bytes in prop::collection::vec(any::<u8>(), 1..300)) {
            prop_assert!(RecordReader::at_record(bytes.as_slice()).next_record().is_err());
            prop_assert!(RecordReader::new(bytes.as_slice()).is_err());
        }
    }
}
