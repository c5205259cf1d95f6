//! The file `chunks`: for each whole chunk of entries (see [`crate::tree`]) where its last record
//! ends and which root its leaves have. It lets a large log be opened without reading all of it.
//!
//! ```text
//! end of the chunk in the entries file, u64 big endian | its root, 32 bytes | check, 8 bytes
//! ```
//!
//! INVARIANT: derived, and never needed to be believed. The roots are believed because together
//! with the last records they give the signed root; where they do not, or where the file is
//! missing, everything is made again from the entries. The check, the first bytes of a hash of the
//! rest, is there so that a damaged place is not taken for a damaged entry.
//!
//! What a crash leaves: the file is never synced, so records may be missing at its end, or be
//! zeros. Reading stops there, and opening reads the entries from there on.

use crate::tree::{Hash, leaf_hash};

/// The length of a record, bytes.
pub(crate) const RECORD_LEN: u64 = 48;
const CHECKED_LEN: usize = 40;

/// One whole chunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SavedChunk {
    /// Where the entries file goes on behind it.
    pub(crate) end: u64,
    /// The root of its leaves.
    pub(crate) root: Hash,
}

impl SavedChunk {
    /// Appends the record of chunk number `index` to `out`.
    pub(crate) fn write_to(&self, index: u64, out: &mut Vec<u8>) {
        let mut record = self.end.to_be_bytes().to_vec();
        record.extend_from_slice(&self.root.0);
        let check = check(index, &record);
        record.extend_from_slice(&check);
        out.extend_from_slice(&record);
    }
}

fn check(index: u64, record: &[u8]) -> [u8; 8] {
    let hash = leaf_hash(&[&index.to_be_bytes(), record].concat());
    let mut check = [0; 8];
    for (to, from) in check.iter_mut().zip(hash.0) {
        *to = from;
    }
    check
}

/// The chunks up to the first that is cut off or not as it was written.
pub(crate) fn read(bytes: &[u8]) -> Vec<SavedChunk> {
    let read_one = |(index, record): (u64, &[u8])| {
        let (checked, check_bytes) = record.split_at_checked(CHECKED_LEN)?;
        if check(index, checked) != check_bytes {
            return None;
        }
        let (end, root) = checked.split_first_chunk()?;
        Some(SavedChunk { end: u64::from_be_bytes(*end), root: Hash(root.try_into().ok()?) })
    };
    (0..).zip(bytes.chunks(usize::try_from(RECORD_LEN).unwrap_or(1))).map_while(read_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_up_to_the_first_that_is_wrong() {
        let chunks: Vec<SavedChunk> = (0..4_u8)
            .map(|i| SavedChunk { end: u64::from(i) * 1000, root: leaf_hash(&[i]) })
            .collect();
        let mut bytes = Vec::new();
        for (index, chunk) in (0..).zip(&chunks) {
            chunk.write_to(index, &mut bytes);
        }
        assert_eq!(bytes.len() as u64, 4 * RECORD_LEN);
        assert_eq!(read(&bytes), chunks);
        for at in 0..bytes.len() {
            let whole = at / 48;
            assert_eq!(read(&bytes[..at]), chunks[..whole], "cut to {at}");
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(read(&bad), chunks[..whole], "{at}");
        }
        assert_eq!(read(&bytes[48..]), [], "in another place");
        assert_eq!(read(&[0; 480]), []);
    }
}
