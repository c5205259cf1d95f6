//! The Merkle tree of RFC 6962 over the leaves, through `tlog_tiles`.
//!
//! Kept in memory: about two hashes, 64 bytes, for each entry. A log of a million entries takes
//! 64 MB and is hashed again when it is opened; a log much beyond that wants its hashes in tiles.
//!
//! INVARIANT: pushing never changes a hash that is already there, so the tree of any smaller size
//! can be asked for at any time.

pub use tlog_tiles::{Hash, record_hash as leaf_hash};
use tlog_tiles::{HashReader, tlog};

/// Largest size that is accepted from outside: keeps the arithmetic of proofs far from overflow.
pub const MAX_TREE_SIZE: u64 = 1 << 48;

/// Why a tree could not answer, or a proof does not hold.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Beyond the tree.
    #[error("the tree has {size} entries: it has no proof for {asked}")]
    Range {
        /// What was asked for.
        asked: String,
        /// How many entries there are.
        size: u64,
    },
    /// The proof does not lead to the root.
    #[error("the proof does not hold: {0}")]
    Proof(String),
    /// A fault of the tree itself.
    #[error("the tree is broken: {0}")]
    Broken(String),
}

fn broken(e: tlog::Error) -> TreeError {
    TreeError::Broken(e.to_string())
}

fn no_proof(e: tlog::Error) -> TreeError {
    TreeError::Proof(e.to_string())
}

/// The hashes of a tree.
#[derive(Debug, Default)]
pub struct Tree {
    hashes: Stored,
    size: u64,
}

#[derive(Debug, Default)]
struct Stored(Vec<Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        indexes
            .iter()
            .map(|&i| {
                usize::try_from(i)
                    .ok()
                    .and_then(|i| self.0.get(i).copied())
                    .ok_or(tlog::Error::IndexesNotInTree)
            })
            .collect()
    }
}

impl Tree {
    /// How many leaves it has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf by its hash (see [`leaf_hash`]).
    ///
    /// # Errors
    /// [`TreeError::Broken`]: a fault in the program.
    pub fn push(&mut self, leaf: Hash) -> Result<(), TreeError> {
        let new =
            tlog::stored_hashes_for_record_hash(self.size, leaf, &self.hashes).map_err(broken)?;
        self.hashes.0.extend(new);
        self.size += 1;
        Ok(())
    }

    /// The root of the first `size` leaves.
    ///
    /// # Errors
    /// [`TreeError::Range`] where there are fewer.
    pub fn root(&self, size: u64) -> Result<Hash, TreeError> {
        self.within(size, || format!("size {size}"))?;
        tlog::tree_hash(size, &self.hashes).map_err(broken)
    }

    /// The hash of one leaf.
    ///
    /// # Errors
    /// [`TreeError::Range`] where there is none.
    pub fn leaf(&self, index: u64) -> Result<Hash, TreeError> {
        self.within(index.saturating_add(1), || format!("entry {index}"))?;
        let hashes =
            self.hashes.read_hashes(&[tlog::stored_hash_index(0, index)]).map_err(broken)?;
        hashes.first().copied().ok_or_else(|| TreeError::Broken("no hash".to_owned()))
    }

    /// The audit path of entry `index` in the tree of the first `size` leaves.
    ///
    /// # Errors
    /// [`TreeError::Range`] unless `index < size <= self.size()`.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, TreeError> {
        self.within(size, || format!("size {size}"))?;
        if index >= size {
            return Err(TreeError::Range { asked: format!("entry {index}"), size });
        }
        tlog::prove_record(size, index, &self.hashes).map_err(broken)
    }

    /// The proof that the first `old` leaves are a prefix of the first `new`.
    ///
    /// # Errors
    /// [`TreeError::Range`] unless `old <= new <= self.size()`.
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, TreeError> {
        self.within(new, || format!("size {new}"))?;
        if old > new {
            return Err(TreeError::Range { asked: format!("size {old}"), size: new });
        }
        if old == 0 {
            return Ok(Vec::new());
        }
        tlog::prove_tree(new, old, &self.hashes).map_err(broken)
    }

    /// The bytes of a hash tile, for [`crate::tiles`].
    pub(crate) fn tile(&self, tile: &tlog_tiles::Tile) -> Result<Vec<u8>, TreeError> {
        tile.read_data(&self.hashes).map_err(broken)
    }

    fn within(&self, size: u64, asked: impl Fn() -> String) -> Result<(), TreeError> {
        if size <= self.size {
            Ok(())
        } else {
            Err(TreeError::Range { asked: asked(), size: self.size })
        }
    }
}

fn plausible(size: u64) -> Result<(), TreeError> {
    if size <= MAX_TREE_SIZE {
        Ok(())
    } else {
        Err(TreeError::Proof(format!("a tree of {size} entries")))
    }
}

/// Checks that `proof` leads from the leaf at `index` to `root`, the root of `size` leaves.
///
/// # Errors
/// [`TreeError::Proof`] where it does not.
pub fn check_inclusion(
    proof: &[Hash],
    index: u64,
    leaf: Hash,
    size: u64,
    root: Hash,
) -> Result<(), TreeError> {
    plausible(size)?;
    tlog::check_record(&proof.to_vec(), size, root, index, leaf).map_err(no_proof)
}

/// Checks that the tree of `old` leaves with `old_root` is a prefix of the one of `new` leaves.
///
/// # Errors
/// [`TreeError::Proof`] where it is not.
pub fn check_consistency(
    proof: &[Hash],
    old: u64,
    old_root: Hash,
    new: u64,
    new_root: Hash,
) -> Result<(), TreeError> {
    plausible(new)?;
    if old == 0 {
        // tlog_tiles has no proof from the empty tree: everything extends it.
        let good = proof.is_empty() && old_root == tlog::EMPTY_HASH;
        return if good { Ok(()) } else { Err(TreeError::Proof("not the empty tree".to_owned())) };
    }
    tlog::check_tree(&proof.to_vec(), new, new_root, old, old_root).map_err(no_proof)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(hex: &str) -> Hash {
        Hash(hex::decode(hex).unwrap().try_into().unwrap())
    }

    /// The eight leaves and the roots of Certificate Transparency's published test vectors
    /// (certificate-transparency/cpp/merkletree/merkle_tree_test.cc, used by every RFC 6962
    /// implementation since).
    const LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn published() -> Tree {
        let mut tree = Tree::default();
        for leaf in LEAVES {
            tree.push(leaf_hash(&hex::decode(leaf).unwrap())).unwrap();
        }
        tree
    }

    #[test]
    fn published_roots() {
        let tree = published();
        for (size, root) in ROOTS.iter().enumerate() {
            assert_eq!(tree.root(size as u64).unwrap(), hash(root), "{size}");
        }
    }

    /// Published audit paths and consistency proofs of the same tree.
    #[test]
    fn published_proofs() {
        let tree = published();
        for (index, size, path) in [
            (0, 1, vec![]),
            (
                0,
                8,
                vec![
                    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
                ],
            ),
            (
                5,
                8,
                vec![
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
            (2, 3, vec!["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
        ] {
            let path: Vec<Hash> = path.into_iter().map(hash).collect();
            assert_eq!(tree.inclusion_proof(index, size).unwrap(), path, "{index} of {size}");
        }
        for (old, new, path) in [
            (1, 1, vec![]),
            (
                1,
                8,
                vec![
                    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
                ],
            ),
            (
                6,
                8,
                vec![
                    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
            (
                2,
                5,
                vec![
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                ],
            ),
        ] {
            let path: Vec<Hash> = path.into_iter().map(hash).collect();
            assert_eq!(tree.consistency_proof(old, new).unwrap(), path, "{old} to {new}");
        }
    }

    #[test]
    fn beyond_the_tree() {
        let tree = published();
        assert!(tree.root(9).is_err());
        assert!(tree.leaf(8).is_err() && tree.leaf(u64::MAX).is_err());
        assert!(tree.inclusion_proof(8, 8).is_err() && tree.inclusion_proof(0, u64::MAX).is_err());
        assert!(tree.inclusion_proof(0, 0).is_err());
        assert!(tree.consistency_proof(8, 7).is_err() && tree.consistency_proof(1, 9).is_err());
        let h = leaf_hash(b"x");
        assert!(check_inclusion(&[], u64::MAX - 1, h, u64::MAX, h).is_err());
        assert!(check_consistency(&[], u64::MAX, h, u64::MAX, h).is_err());
        assert!(check_consistency(&[], 0, h, 8, h).is_err(), "not the root of the empty tree");
    }

    fn numbered(size: u64) -> Tree {
        let mut tree = Tree::default();
        for i in 0..size {
            tree.push(leaf_hash(&i.to_be_bytes())).unwrap();
        }
        tree
    }

    proptest! {
        #[test]
        fn proofs_hold_and_only_for_what_they_prove(
            size in 1u64..200,
            a in any::<prop::sample::Index>(),
            b in any::<prop::sample::Index>(),
            flip in any::<prop::sample::Index>(),
        ) {
            let tree = numbered(200);
            let root = tree.root(size).unwrap();
            let index = a.index(usize::try_from(size).unwrap()) as u64;
            let mut proof = tree.inclusion_proof(index, size).unwrap();
            let leaf = leaf_hash(&index.to_be_bytes());
            prop_assert_eq!(tree.leaf(index).unwrap(), leaf);
            prop_assert!(check_inclusion(&proof, index, leaf, size, root).is_ok());
            prop_assert!(check_inclusion(&proof, index, leaf_hash(b"other"), size, root).is_err());
            prop_assert!(check_inclusion(&proof, index, leaf, size, tree.root(size - 1).unwrap()).is_err());
            if size > 1 {
                let other = (index + 1) % size;
                prop_assert!(check_inclusion(&proof, other, leaf, size, root).is_err());
                let at = flip.index(proof.len());
                proof[at].0[flip.index(32)] ^= 1;
                prop_assert!(check_inclusion(&proof, index, leaf, size, root).is_err());
            }
            proof.push(leaf);
            prop_assert!(check_inclusion(&proof, index, leaf, size, root).is_err());

            let old = b.index(usize::try_from(size).unwrap() + 1) as u64;
            let old_root = tree.root(old).unwrap();
            let mut proof = tree.consistency_proof(old, size).unwrap();
            prop_assert!(check_consistency(&proof, old, old_root, size, root).is_ok());
            prop_assert!(check_consistency(&proof, old, leaf, size, root).is_err() || old_root == leaf);
            if !proof.is_empty() {
                let at = flip.index(proof.len());
                proof[at].0[flip.index(32)] ^= 1;
                prop_assert!(check_consistency(&proof, old, old_root, size, root).is_err());
            }
        }

        #[test]
        fn wild_proofs_never_panic(
            proof in prop::collection::vec(any::<[u8; 32]>(), 0..70),
            numbers in any::<(u64, u64)>(),
        ) {
            let proof: Vec<Hash> = proof.into_iter().map(Hash).collect();
            let root = leaf_hash(b"root");
            prop_assert!(check_inclusion(&proof, numbers.0, root, numbers.1, root).is_err() || numbers.1 == 1);
            prop_assert!(check_consistency(&proof, numbers.0, root, numbers.1, root).is_err()
                || numbers.0 == numbers.1);
        }
    }
}
