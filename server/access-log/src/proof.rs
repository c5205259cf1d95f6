//! One entry with all that is needed to check it offline, as a text: a C2SP tlog-proof with the
//! leaf in its `extra` line.
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <the leaf's bytes, base64>
//! index 42
//! <one hash of the audit path, base64, on each line>
//!
//! <the signed checkpoint>
//! ```

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::{
    checkpoint::{Checkpoint, CheckpointError, LogPublicKey, MAX_CHECKPOINT_LEN},
    leaf::{Leaf, LeafError},
    tree::{self, Hash, TreeError},
};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
const MAX_PATH_LEN: usize = 64;
/// Longest proof that is read, bytes.
pub const MAX_PROOF_LEN: usize = MAX_CHECKPOINT_LEN + 16 * 1024;

/// A proof that is none, or that does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// Not the text of a proof.
    #[error("not a proof of an access-log entry: {0}")]
    Malformed(&'static str),
    /// Its checkpoint is not of this log.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It does not lead to the signed root.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// What it proves is not a leaf.
    #[error(transparent)]
    Leaf(#[from] LeafError),
}

/// An entry, its place, its audit path and the signed head that the path leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryProof {
    /// The entry's number, from 0.
    pub index: u64,
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
    /// The audit path, from the leaf upwards.
    pub path: Vec<Hash>,
    /// The signed note of the head.
    pub checkpoint: String,
}

impl EntryProof {
    /// The proof as a text (`.tlog-proof`).
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{FIRST_LINE}\nextra {}\nindex {}\n",
            BASE64_STANDARD.encode(&self.leaf),
            self.index
        );
        for hash in &self.path {
            text.push_str(&format!("{hash}\n"));
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// The proof in this text; not checked yet.
    ///
    /// # Errors
    /// [`ProofError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let bad = ProofError::Malformed;
        if text.len() > MAX_PROOF_LEN {
            return Err(bad("too long"));
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(bad("no blank line"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(bad("another first line"));
        }
        let leaf = lines.next().and_then(|l| l.strip_prefix("extra ")).ok_or(bad("no leaf"))?;
        let leaf = BASE64_STANDARD.decode(leaf).map_err(|_| bad("the leaf is not base64"))?;
        let number = lines.next().and_then(|l| l.strip_prefix("index ")).ok_or(bad("no index"))?;
        let index: u64 = number.parse().map_err(|_| bad("the index is not a number"))?;
        if index.to_string() != number {
            return Err(bad("the index is not written as it must be"));
        }
        let path = lines
            .take(MAX_PATH_LEN + 1)
            .map(|line| Hash::parse_hash(line).map_err(|_| bad("a line is not a hash")))
            .collect::<Result<Vec<_>, _>>()?;
        if path.len() > MAX_PATH_LEN {
            return Err(bad("too many hashes"));
        }
        Ok(Self { index, leaf, path, checkpoint: checkpoint.to_owned() })
    }

    /// Checks that the entry is in the log with this key. Needs nothing but the proof and the key.
    ///
    /// # Errors
    /// [`ProofError`] where anything does not hold.
    pub fn check(&self, key: &LogPublicKey) -> Result<(Leaf, Checkpoint), ProofError> {
        let head = Checkpoint::parse(self.checkpoint.as_bytes(), key)?;
        let leaf = tree::leaf_hash(&self.leaf);
        tree::check_inclusion(&self.path, self.index, leaf, head.size(), head.root())?;
        Ok((Leaf::from_bytes(&self.leaf)?, head))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{checkpoint::LogKey, leaf::Action, tree::WholeTree};

    fn proof_of(index: u64) -> (EntryProof, LogPublicKey) {
        let (key, _) = LogKey::generate("fleet.example/access-log").unwrap();
        let leaf_of = |at| Leaf::new(at, Action::VIEW).to_bytes().unwrap();
        let tree = WholeTree::of((0..11).map(|at| tree::leaf_hash(&leaf_of(at))));
        let checkpoint = key.sign(11, tree.root(11).unwrap()).unwrap().note().to_owned();
        let leaf = leaf_of(index.try_into().unwrap());
        let path = tree.inclusion_proof(index, 11).unwrap();
        (EntryProof { index, leaf, path, checkpoint }, key.public().clone())
    }

    #[test]
    fn holds_after_a_trip_as_text() {
        for index in [0, 5, 10] {
            let (proof, key) = proof_of(index);
            let again = EntryProof::parse(&proof.to_text()).unwrap();
            assert_eq!(again, proof);
            let (leaf, head) = again.check(&key).unwrap();
            assert_eq!((leaf.at_unix_ms, head.size()), (i64::try_from(index).unwrap(), 11));
            let (_, other_key) = proof_of(index);
            assert!(again.check(&other_key).is_err(), "another log of the same name");
        }
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_refused(index in 0u64..11, at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let (proof, key) = proof_of(index);
            let mut text = proof.to_text().into_bytes();
            let at = at.index(text.len());
            text[at] ^= 1 << bit;
            let holds = |text: &[u8]| {
                let text = std::str::from_utf8(text).ok()?;
                EntryProof::parse(text).ok()?.check(&key).ok()
            };
            prop_assert!(holds(&text).is_none());
            prop_assert!(holds(&text[..at]).is_none());
        }

        #[test]
        fn random_text_never_panics(text in "(c2sp.org/tlog-proof@v1\n)?(extra .{0,9}\n)?(index [0-9]{0,22}\n)?(.{0,50}\n){0,5}") {
            let (_, key) = proof_of(0);
            if let Ok(proof) = EntryProof::parse(&text) {
                prop_assert!(proof.check(&key).is_err());
            }
        }
    }
}
