//! The Merkle tree of RFC 6962 over the leaves, through `tlog_tiles`.
//!
//! Leaves come in chunks of [`CHUNK`] neighbours, which are the tiles of level 0. In memory are only
//! the roots of whole chunks with the tree above them, and the leaves behind the last whole chunk:
//! 64 bytes for each chunk, 25 MB for a hundred million entries. Who needs a hash inside of a whole
//! chunk reads the chunk's records again and lends its leaves as a [`Chunk`].
//!
//! INVARIANT: pushing never changes a hash that is already there, so the tree of any smaller size
//! can be asked for at any time.

pub use tlog_tiles::{Hash, record_hash as leaf_hash};
use tlog_tiles::{HashReader, Tile, tlog};

/// How many levels of the tree are inside of a chunk.
pub const CHUNK_HEIGHT: u8 = 8;
/// How many leaves a whole chunk has: the width of a tile.
pub const CHUNK: u64 = 1 << CHUNK_HEIGHT;
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

/// The leaves of one chunk, as many as there were when it was read.
#[derive(Clone, Debug)]
pub struct Chunk {
    index: u64,
    leaves: Vec<Hash>,
}

impl Chunk {
    /// The chunk with this number and these leaves.
    pub const fn new(index: u64, leaves: Vec<Hash>) -> Self {
        Self { index, leaves }
    }

    /// Its leaves.
    pub fn leaves(&self) -> &[Hash] {
        &self.leaves
    }

    /// The root over its leaves, which must be [`CHUNK`].
    pub fn root(&self) -> Hash {
        subtree(&self.leaves)
    }
}

/// The root of a power of two of neighbours.
fn subtree(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => tlog::EMPTY_HASH,
        [one] => *one,
        more => {
            let (left, right) = more.split_at(more.len() / 2);
            tlog::node_hash(subtree(left), subtree(right))
        }
    }
}

/// A tree that grows, without the leaves of its whole chunks.
#[derive(Debug, Default)]
pub struct Tree {
    /// The hashes from the roots of the chunks upwards, in the order of `tlog_tiles`.
    upper: Stored,
    whole: u64,
    tail: Vec<Hash>,
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
    pub fn size(&self) -> u64 {
        self.whole * CHUNK + self.tail.len() as u64
    }

    /// How many whole chunks it has.
    pub const fn whole_chunks(&self) -> u64 {
        self.whole
    }

    /// The leaves behind the last whole chunk.
    pub fn tail(&self) -> &[Hash] {
        &self.tail
    }

    /// Adds a leaf by its hash (see [`leaf_hash`]); true where it made a chunk whole.
    ///
    /// # Errors
    /// [`TreeError::Broken`]: a fault in the program.
    pub fn push(&mut self, leaf: Hash) -> Result<bool, TreeError> {
        self.tail.push(leaf);
        let whole = self.tail.len() as u64 == CHUNK;
        if whole {
            let root = subtree(&self.tail);
            self.tail.clear();
            self.push_chunk(root)?;
        }
        Ok(whole)
    }

    /// Adds a whole chunk by its root. The caller sees to it that there is no tail.
    ///
    /// # Errors
    /// [`TreeError::Broken`]: a fault in the program.
    pub(crate) fn push_chunk(&mut self, root: Hash) -> Result<(), TreeError> {
        let new =
            tlog::stored_hashes_for_record_hash(self.whole, root, &self.upper).map_err(broken)?;
        self.upper.0.extend(new);
        self.whole += 1;
        Ok(())
    }

    /// The root of a whole chunk.
    pub fn chunk_root(&self, index: u64) -> Option<Hash> {
        let at = (index < self.whole).then(|| tlog::stored_hash_index(0, index))?;
        self.upper.0.get(usize::try_from(at).ok()?).copied()
    }

    /// The root of all its leaves.
    ///
    /// # Errors
    /// [`TreeError::Broken`]: a fault in the program.
    pub fn root(&self) -> Result<Hash, TreeError> {
        self.with(&[]).root(self.size())
    }

    /// The tree with the leaves of these chunks, which must be its own.
    pub const fn with<'a>(&'a self, chunks: &'a [Chunk]) -> TreeView<'a> {
        TreeView { tree: self, chunks }
    }
}

/// A tree with the leaves of some of its chunks: of those that an answer needs, which are the one
/// of the entry and the one in which a tree of an earlier size ends.
#[derive(Clone, Copy, Debug)]
pub struct TreeView<'a> {
    tree: &'a Tree,
    chunks: &'a [Chunk],
}

impl HashReader for TreeView<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        indexes.iter().map(|&i| self.stored(i).ok_or(tlog::Error::IndexesNotInTree)).collect()
    }
}

impl TreeView<'_> {
    fn stored(&self, index: u64) -> Option<Hash> {
        let (level, n) = tlog::split_stored_hash_index(index);
        let Some(inside) = CHUNK_HEIGHT.checked_sub(level).filter(|inside| *inside > 0) else {
            let at = tlog::stored_hash_index(level - CHUNK_HEIGHT, n);
            return self.tree.upper.0.get(usize::try_from(at).ok()?).copied();
        };
        let chunk = n >> inside;
        let lent = self.chunks.iter().find(|lent| lent.index == chunk);
        let leaves = match lent {
            Some(lent) => lent.leaves(),
            None => (chunk == self.tree.whole).then(|| self.tree.tail())?,
        };
        let from = usize::try_from((n % (1 << inside)) << level).ok()?;
        leaves.get(from..from + (1 << level)).map(subtree)
    }

    /// The root of the first `size` leaves.
    ///
    /// # Errors
    /// [`TreeError::Range`] where there are fewer; [`TreeError::Broken`] where a chunk is missing
    /// that is needed.
    pub fn root(&self, size: u64) -> Result<Hash, TreeError> {
        self.within(size, || format!("size {size}"))?;
        tlog::tree_hash(size, self).map_err(broken)
    }

    /// The audit path of entry `index` in the tree of the first `size` leaves.
    ///
    /// # Errors
    /// [`TreeError::Range`] unless `index < size <= self.size()`; else as [`TreeView::root`].
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, TreeError> {
        self.within(size, || format!("size {size}"))?;
        if index >= size {
            return Err(TreeError::Range { asked: format!("entry {index}"), size });
        }
        tlog::prove_record(size, index, self).map_err(broken)
    }

    /// The proof that the first `old` leaves are a prefix of the first `new`.
    ///
    /// # Errors
    /// [`TreeError::Range`] unless `old <= new <= self.size()`; else as [`TreeView::root`].
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, TreeError> {
        self.within(new, || format!("size {new}"))?;
        if old > new {
            return Err(TreeError::Range { asked: format!("size {old}"), size: new });
        }
        if old == 0 {
            return Ok(Vec::new());
        }
        tlog::prove_tree(new, old, self).map_err(broken)
    }

    /// The bytes of a hash tile, for [`crate::tiles`].
    pub(crate) fn tile(&self, tile: &Tile) -> Result<Vec<u8>, TreeError> {
        tile.read_data(self).map_err(broken)
    }

    fn within(&self, size: u64, asked: impl Fn() -> String) -> Result<(), TreeError> {
        let have = self.tree.size();
        if size <= have { Ok(()) } else { Err(TreeError::Range { asked: asked(), size: have }) }
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

/// A tree with all its leaves.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct WholeTree {
    tree: Tree,
    chunks: Vec<Chunk>,
}

#[cfg(test)]
impl WholeTree {
    pub(crate) fn of(leaves: impl IntoIterator<Item = Hash>) -> Self {
        let leaves: Vec<Hash> = leaves.into_iter().collect();
        let mut tree = Tree::default();
        for leaf in &leaves {
            tree.push(*leaf).unwrap();
        }
        let chunks = (0..).zip(leaves.chunks(256)).map(|(i, l)| Chunk::new(i, l.to_vec()));
        Self { tree, chunks: chunks.collect() }
    }

    pub(crate) fn root(&self, size: u64) -> Result<Hash, TreeError> {
        self.tree.with(&self.chunks).root(size)
    }

    pub(crate) fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, TreeError> {
        self.tree.with(&self.chunks).inclusion_proof(index, size)
    }

    pub(crate) fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, TreeError> {
        self.tree.with(&self.chunks).consistency_proof(old, new)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(hex: &str) -> Hash {
        Hash(hex::decode(hex).unwrap().try_into().unwrap())
    }

    /// The eight leaves and the roots of Certificate Transparency's published test vectors
    /// (certificate-transparency/cpp/merkletree/merkle_tree_test.cc, used by every RFC 6962
    /// implementation since).
    pub(crate) const LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    pub(crate) const ROOTS: [&str; 9] = [
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

    fn published() -> WholeTree {
        WholeTree::of(LEAVES.iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap())))
    }

    /// Of the test of Trillian's and Certificate Transparency's hasher (rfc6962_test.go).
    #[test]
    fn published_hashes() {
        let want = "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56";
        assert_eq!(leaf_hash(b"L123456"), hash(want));
        assert_eq!(leaf_hash(b""), hash(ROOTS[1]));
        assert_eq!(Tree::default().root().unwrap(), hash(ROOTS[0]));
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
            (
                1,
                5,
                vec![
                    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                ],
            ),
        ] {
            let path: Vec<Hash> = path.into_iter().map(hash).collect();
            assert_eq!(tree.inclusion_proof(index, size).unwrap(), path, "{index} of {size}");
            let at = |n: u64| usize::try_from(n).unwrap();
            let leaf = leaf_hash(&hex::decode(LEAVES[at(index)]).unwrap());
            check_inclusion(&path, index, leaf, size, hash(ROOTS[at(size)])).unwrap();
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
            let root = |n: u64| hash(ROOTS[usize::try_from(n).unwrap()]);
            check_consistency(&path, old, root(old), new, root(new)).unwrap();
        }
    }

    #[test]
    fn beyond_the_tree() {
        let tree = published();
        assert!(tree.root(9).is_err());
        assert!(tree.inclusion_proof(8, 8).is_err() && tree.inclusion_proof(0, u64::MAX).is_err());
        assert!(tree.inclusion_proof(0, 0).is_err());
        assert!(tree.consistency_proof(8, 7).is_err() && tree.consistency_proof(1, 9).is_err());
        let h = leaf_hash(b"x");
        assert!(check_inclusion(&[], u64::MAX - 1, h, u64::MAX, h).is_err());
        assert!(check_consistency(&[], u64::MAX, h, u64::MAX, h).is_err());
        assert!(check_consistency(&[], 0, h, 8, h).is_err(), "not the root of the empty tree");
    }

    fn numbered(size: u64) -> WholeTree {
        WholeTree::of((0..size).map(|i| leaf_hash(&i.to_be_bytes())))
    }

    /// Roots of sizes around the edges of chunks, hashed by the words of RFC 6962, section 2.1.
    #[test]
    fn roots_across_chunks_are_those_of_the_definition() {
        fn root(leaves: &[Hash]) -> Hash {
            match leaves {
                [] => tlog::EMPTY_HASH,
                [one] => *one,
                more => {
                    let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
                    tlog::node_hash(root(left), root(right))
                }
            }
        }
        let leaves: Vec<Hash> = (0..1300_u64).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        let whole = WholeTree::of(leaves.iter().copied());
        let mut growing = Tree::default();
        for (size, leaf) in leaves.iter().enumerate() {
            if size < 3 || size % 256 < 2 || size % 256 > 254 || size % 97 == 0 {
                let want = root(&leaves[..size]);
                assert_eq!(growing.root().unwrap(), want, "{size}");
                assert_eq!(whole.root(size as u64).unwrap(), want, "{size}, asked for later");
            }
            assert_eq!(growing.push(*leaf).unwrap(), size % 256 == 255, "{size}");
        }
        assert_eq!((growing.whole_chunks(), growing.tail().len()), (5, 20));
        assert_eq!(growing.chunk_root(4), Some(root(&leaves[1024..1280])));
        assert_eq!(growing.chunk_root(5), None);
        assert!(growing.with(&[]).inclusion_proof(3, 1300).is_err(), "its chunk was not lent");
    }

    const SIZE: u64 = 700;
    static NUMBERED: std::sync::LazyLock<WholeTree> = std::sync::LazyLock::new(|| numbered(SIZE));

    proptest! {
        #[test]
        fn proofs_hold_and_only_for_what_they_prove(
            size in 1u64..SIZE,
            a in any::<prop::sample::Index>(),
            b in any::<prop::sample::Index>(),
            flip in any::<prop::sample::Index>(),
        ) {
            let tree = &*NUMBERED;
            let root = tree.root(size).unwrap();
            let index = a.index(usize::try_from(size).unwrap()) as u64;
            let mut proof = tree.inclusion_proof(index, size).unwrap();
            let leaf = leaf_hash(&index.to_be_bytes());
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
