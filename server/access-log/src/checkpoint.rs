//! The signed head of the log, and the keys that sign and check it.
//!
//! A checkpoint is a C2SP tlog-checkpoint inside a C2SP signed note with one Ed25519 signature of
//! the log; witnesses may add theirs, which are kept and passed over here:
//! ```text
//! example.com/temoin/access-log
//! 42
//! nND/nri/U0xuHUrYSy0HtMeal2vzD9V4k/BO79C+QeI=
//!
//! — example.com/temoin/access-log Az3grl...
//! ```
//! The first line, the origin, is also the name of the key. The key is made when the log is made
//! and lives in one file of mode 0600, in the encoding that signed notes use (`PRIVATE+KEY+...`).
//! A key that others can read is refused: who has it can sign a second history.

use std::{fmt, str::FromStr};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use signed_note::{Note, Signature, Verifier, VerifierList};

use crate::tree::{Hash, MAX_TREE_SIZE};

const ALGORITHM_ED25519: u8 = 1;
pub(crate) const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";
const MAX_NAME_LEN: usize = 200;
/// Longest checkpoint that is read, bytes: room for dozens of witnesses.
pub const MAX_CHECKPOINT_LEN: usize = 16 * 1024;

/// A key that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a name.
    #[error(
        "`{0}` cannot name a log: 1 to {MAX_NAME_LEN} characters without spaces, `+` and control \
         characters are needed, such as `fleet.example/access-log`"
    )]
    Name(String),
    /// Not the encoding of a key.
    #[error("not a {0} key of a signed note")]
    Encoding(&'static str),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
}

/// A checkpoint that is not one of this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Longer than any checkpoint.
    #[error("a checkpoint of {0} bytes is longer than {MAX_CHECKPOINT_LEN}")]
    TooLong(usize),
    /// Not a signed note.
    #[error("not a signed note: {0}")]
    Note(String),
    /// Not signed by the log.
    #[error("no valid signature of the log's key `{key}`: {reason}")]
    Signature {
        /// The public key that was used.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// Signed, but no checkpoint.
    #[error("not a checkpoint")]
    Text,
    /// Signed by the key for another log.
    #[error("the checkpoint is of the log `{0}`")]
    Origin(String),
}

pub(crate) fn check_name(name: &str) -> Result<(), KeyError> {
    let good = name.len() <= MAX_NAME_LEN
        && signed_note::is_key_name_valid(name)
        && !name.chars().any(char::is_control);
    if good { Ok(()) } else { Err(KeyError::Name(name.chars().take(MAX_NAME_LEN).collect())) }
}

/// The key's type and its 32 bytes, in base64.
pub(crate) fn encode_key(algorithm: u8, key: &[u8]) -> String {
    BASE64_STANDARD.encode([&[algorithm], key].concat())
}

/// Takes `name+id+key` apart. The id is not checked yet: it is of the public key.
pub(crate) fn decode_key(
    algorithm: u8,
    text: &str,
    kind: &'static str,
) -> Result<(String, u32, [u8; 32]), KeyError> {
    let bad = KeyError::Encoding(kind);
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(bad);
    };
    check_name(name)?;
    let number = u32::from_str_radix(id, 16).map_err(|_| bad.clone())?;
    if format!("{number:08x}") != id {
        return Err(bad);
    }
    match BASE64_STANDARD.decode(key).map_err(|_| bad.clone())?.split_first() {
        Some((found, key)) if *found == algorithm => {
            Ok((name.to_owned(), number, key.try_into().map_err(|_| bad)?))
        }
        Some(_) | None => Err(bad),
    }
}

/// The public key of a log, printed and parsed as `name+id+key` (the *vkey* of signed notes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPublicKey {
    name: String,
    id: u32,
    key: [u8; 32],
}

impl LogPublicKey {
    fn new(name: String, key: [u8; 32]) -> Self {
        let id = signed_note::key_id(&name, &[&[ALGORITHM_ED25519], key.as_slice()].concat());
        Self { name, id, key }
    }

    /// The name of the log: its origin.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Verifier for LogPublicKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn verify(&self, msg: &[u8], sig: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.key).verify(msg, sig).is_ok()
    }
}

impl fmt::Display for LogPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:08x}+{}", self.name, self.id, encode_key(ALGORITHM_ED25519, &self.key))
    }
}

impl FromStr for LogPublicKey {
    type Err = KeyError;
    fn from_str(s: &str) -> Result<Self, KeyError> {
        let (name, id, key) = decode_key(ALGORITHM_ED25519, s, "public")?;
        let public = Self::new(name, key);
        if public.id == id { Ok(public) } else { Err(KeyError::Encoding("public")) }
    }
}

/// The private key of a log. Never printed.
pub struct LogKey {
    pair: Ed25519KeyPair,
    public: LogPublicKey,
}

impl LogKey {
    /// A fresh key for the log of this name, and its private encoding for the key file.
    ///
    /// # Errors
    /// [`KeyError::Name`] and [`KeyError::Random`].
    pub fn generate(name: &str) -> Result<(Self, String), KeyError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyError::Random)?;
        let key = Self::from_seed(name, &seed)?;
        let encoded = format!(
            "{PRIVATE_PREFIX}{name}+{:08x}+{}",
            key.public.id,
            encode_key(ALGORITHM_ED25519, &seed)
        );
        Ok((key, encoded))
    }

    /// The key in this private encoding.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn decode(encoded: &str) -> Result<Self, KeyError> {
        let encoded = encoded.strip_prefix(PRIVATE_PREFIX).ok_or(KeyError::Encoding("private"))?;
        let (name, id, seed) = decode_key(ALGORITHM_ED25519, encoded, "private")?;
        let key = Self::from_seed(&name, &seed)?;
        if key.public.id == id { Ok(key) } else { Err(KeyError::Encoding("private")) }
    }

    fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        check_name(name)?;
        let pair =
            Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Encoding("private"))?;
        let key =
            pair.public_key().as_ref().try_into().map_err(|_| KeyError::Encoding("private"))?;
        Ok(Self { pair, public: LogPublicKey::new(name.to_owned(), key) })
    }

    /// The public key.
    pub const fn public(&self) -> &LogPublicKey {
        &self.public
    }

    /// Signs the head of a tree.
    ///
    /// # Errors
    /// None with a name that was checked; the type keeps what the note format could say.
    pub fn sign(&self, size: u64, root: Hash) -> Result<Checkpoint, CheckpointError> {
        let text = tlog_tiles::Checkpoint::new(&self.public.name, size, root, "")
            .map_err(|_| CheckpointError::Text)?
            .to_bytes();
        let signature = self.pair.sign(&text).as_ref().to_vec();
        let note = Signature::new(self.public.name.clone(), self.public.id, signature)
            .and_then(|signature| Note::new(&text, &[signature]))
            .map_err(|e| CheckpointError::Note(e.to_string()))?
            .to_bytes();
        let note = String::from_utf8(note).map_err(|e| CheckpointError::Note(e.to_string()))?;
        Ok(Checkpoint { size, root, note })
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// The signed head of a log. INVARIANT: its signature was checked or made here.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    size: u64,
    root: Hash,
    note: String,
}

impl Checkpoint {
    /// The checkpoint in this signed note, checked with the log's key.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn parse(note: &[u8], key: &LogPublicKey) -> Result<Self, CheckpointError> {
        if note.len() > MAX_CHECKPOINT_LEN {
            return Err(CheckpointError::TooLong(note.len()));
        }
        let parsed = Note::from_bytes(note).map_err(|e| CheckpointError::Note(e.to_string()))?;
        parsed.verify(&VerifierList::new(vec![Box::new(key.clone())])).map_err(|e| {
            CheckpointError::Signature { key: key.to_string(), reason: e.to_string() }
        })?;
        let head =
            tlog_tiles::Checkpoint::from_bytes(parsed.text()).map_err(|_| CheckpointError::Text)?;
        if head.origin() != key.name {
            return Err(CheckpointError::Origin(head.origin().to_owned()));
        }
        if head.size() > MAX_TREE_SIZE {
            return Err(CheckpointError::Text);
        }
        let note =
            String::from_utf8(note.to_vec()).map_err(|e| CheckpointError::Note(e.to_string()))?;
        Ok(Self { size: head.size(), root: *head.hash(), note })
    }

    /// How many entries it signs.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of their tree.
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// The signed note, to publish or to keep.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// What is signed: the note without its signatures.
    pub fn text(&self) -> &str {
        let end = self.note.rfind("\n\n").map_or(self.note.len(), |blank| blank + 1);
        self.note.get(..end).unwrap_or_default()
    }

    /// The same head with these lines of signatures behind those that it has. The caller has checked
    /// them.
    pub(crate) fn with_lines(&self, lines: &str) -> Self {
        Self { note: format!("{}{lines}", self.note), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use signed_note::{Signer as _, StandardSigner, StandardVerifier};

    use super::*;
    use crate::tree::leaf_hash;

    const NAME: &str = "fleet.example/access-log";

    #[test]
    fn other_programs_read_what_we_sign() {
        let (key, encoded) = LogKey::generate(NAME).unwrap();
        let checkpoint = key.sign(7, leaf_hash(b"x")).unwrap();
        let verifier = StandardVerifier::new(&key.public().to_string()).unwrap();
        let note = Note::from_bytes(checkpoint.note().as_bytes()).unwrap();
        let (good, other) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
        assert_eq!((good.len(), other.len()), (1, 0));
        assert_eq!(StandardSigner::new(&encoded).unwrap().key_id(), key.public().id);
    }

    #[test]
    fn there_and_back() {
        let (key, encoded) = LogKey::generate(NAME).unwrap();
        let again = LogKey::decode(&encoded).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(key.public().to_string().parse(), Ok(key.public().clone()));
        let checkpoint = again.sign(3, leaf_hash(b"x")).unwrap();
        assert_eq!(Checkpoint::parse(checkpoint.note().as_bytes(), key.public()), Ok(checkpoint));
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }

    /// The key pair of the signed-note specification's own example.
    #[test]
    fn published_key() {
        let key = LogKey::decode(
            "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
        )
        .unwrap();
        assert_eq!(
            key.public().to_string(),
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
        );
    }

    /// The notes of the tests of signed notes' first library (golang.org/x/mod/sumdb/note).
    #[test]
    fn published_notes() {
        const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                            then you don't know what your problem is.\n";
        const PETER: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+\
                             AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
        let signed = |base64: &str| BASE64_STANDARD.decode(base64).unwrap();
        let by_peter = signed(
            "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=",
        );
        let key = LogKey::decode(PETER).unwrap();
        assert_eq!(by_peter[..4], key.public().id.to_be_bytes());
        assert_eq!(by_peter[4..], *key.pair.sign(TEXT.as_bytes()).as_ref());

        let enoch: LogPublicKey =
            "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop".parse().unwrap();
        let by_enoch = signed(
            "rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=",
        );
        assert_eq!(by_enoch[..4], enoch.id.to_be_bytes());
        assert!(enoch.verify(TEXT.as_bytes(), &by_enoch[4..]));
        assert!(!enoch.verify(TEXT.as_bytes(), &by_peter[4..]));
    }

    /// The example of C2SP tlog-checkpoint and tlog-cosignature, whose keys are not published: its
    /// text is what we write, and its cosignature may stand under a checkpoint of ours.
    #[test]
    fn published_checkpoint() {
        const TEXT: &str = "example.com/behind-the-sofa\n20852163\n\
                            CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        const COSIGNATURE: &str = "— witness.example.com/w1 \
            jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+\
            mbIUBkBIfZ+qnA==\n";
        let (key, _) = LogKey::generate("example.com/behind-the-sofa").unwrap();
        let root = Hash::parse_hash("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=").unwrap();
        let checkpoint = key.sign(20_852_163, root).unwrap();
        let (text, signatures) = checkpoint.note().split_once("\n\n").unwrap();
        assert_eq!(format!("{text}\n"), TEXT);
        assert!(signatures.starts_with("— example.com/behind-the-sofa "));
        let note = format!("{}{COSIGNATURE}", checkpoint.note());
        let cosigned = Checkpoint::parse(note.as_bytes(), key.public()).unwrap();
        assert_eq!((cosigned.size(), cosigned.root(), cosigned.note()), (20_852_163, root, &*note));
    }

    #[test]
    fn a_witness_may_add_its_signature() {
        let (log, _) = LogKey::generate(NAME).unwrap();
        let (witness, _) = LogKey::generate("witness.example/w1").unwrap();
        let checkpoint = log.sign(3, leaf_hash(b"x")).unwrap();
        let (text, _) = checkpoint.note().split_once("\n\n").unwrap();
        let signature = witness.pair.sign(format!("{text}\n").as_bytes()).as_ref().to_vec();
        let line = Signature::new(witness.public.name.clone(), witness.public.id, signature)
            .unwrap()
            .to_bytes();
        let cosigned = format!("{}{}", checkpoint.note(), String::from_utf8(line).unwrap());
        assert_eq!(Checkpoint::parse(cosigned.as_bytes(), log.public()).unwrap().size(), 3);
        assert!(Checkpoint::parse(cosigned.as_bytes(), witness.public()).is_err(), "not its log");
    }

    #[test]
    fn names_and_keys_that_are_none() {
        for bad in ["", "a b", "a+b", "a\nb", &"a".repeat(MAX_NAME_LEN + 1)] {
            assert!(LogKey::generate(bad).is_err(), "{bad:?}");
        }
        let (key, encoded) = LogKey::generate(NAME).unwrap();
        let public = key.public().to_string();
        for bad in [
            "",
            "x",
            &encoded,
            &public.replace('+', " "),
            &public[..public.len() - 4],
            &format!("x{public}"),
        ] {
            assert!(bad.parse::<LogPublicKey>().is_err(), "{bad}");
        }
        for bad in ["", &public, &encoded[..encoded.len() - 4], &encoded.replace("fleet", "float")]
        {
            assert!(LogKey::decode(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_change_of_a_checkpoint_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let (key, _) = LogKey::generate(NAME).unwrap();
            let checkpoint = key.sign(123_456, leaf_hash(b"x")).unwrap();
            let mut note = checkpoint.note().as_bytes().to_vec();
            let at = at.index(note.len());
            note[at] ^= 1 << bit;
            prop_assert!(Checkpoint::parse(&note, key.public()).is_err());
            prop_assert!(Checkpoint::parse(&note[..at], key.public()).is_err());
        }

        #[test]
        fn random_text_never_panics(text in "\\PC{0,20}(\n\\PC{0,20}){0,6}\n\n— .{0,40}\n?") {
            let (key, _) = LogKey::generate(NAME).unwrap();
            prop_assert!(Checkpoint::parse(text.as_bytes(), key.public()).is_err());
            prop_assert!(text.parse::<LogPublicKey>().is_err());
        }
    }
}
