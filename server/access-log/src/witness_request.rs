//! What a witness is asked: the body of `POST /add-checkpoint` (C2SP tlog-witness), for those who ask
//! and for those who answer.
//! ```text
//! old 41
//! <one hash of the consistency proof, base64, on each line>
//!
//! <the signed checkpoint>
//! ```

use crate::{
    checkpoint::{Checkpoint, MAX_CHECKPOINT_LEN},
    tree::{self, Hash, MAX_TREE_SIZE, TreeError},
};

/// Most hashes of a consistency proof.
pub const MAX_PROOF_LINES: usize = 63;
/// Longest request that is read, bytes.
pub const MAX_REQUEST_LEN: usize = MAX_CHECKPOINT_LEN + 4 * 1024;

/// A request that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a request to cosign a checkpoint: {0}")]
pub struct RequestError(&'static str);

/// A checkpoint to cosign, with the proof that the log only grew since the one before.
#[derive(Clone, Debug, PartialEq)]
pub struct AddCheckpoint {
    /// How many entries the checkpoint before signs.
    pub old: u64,
    /// The consistency proof.
    pub proof: Vec<Hash>,
    /// The signed note of the new checkpoint; not checked.
    pub checkpoint: String,
}

impl AddCheckpoint {
    /// The request as a body.
    pub fn to_text(&self) -> String {
        let mut text = format!("old {}\n", self.old);
        for hash in &self.proof {
            text.push_str(&format!("{hash}\n"));
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// The request in this body. There is one spelling of each.
    ///
    /// # Errors
    /// [`RequestError`] says what is wrong.
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > MAX_REQUEST_LEN {
            return Err(RequestError("too long"));
        }
        let text = std::str::from_utf8(body).map_err(|_| RequestError("not UTF-8"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(RequestError("no empty line"))?;
        let mut lines = head.split('\n');
        let number = lines.next().and_then(|line| line.strip_prefix("old "));
        let number = number.ok_or(RequestError("the first line is not `old` and a size"))?;
        let old = number.parse().map_err(|_| RequestError("the old size is not a number"))?;
        if old > MAX_TREE_SIZE || u64::to_string(&old) != number {
            return Err(RequestError("the old size is not written as it must be"));
        }
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == MAX_PROOF_LINES {
                return Err(RequestError("the proof has more than 63 lines"));
            }
            match Hash::parse_hash(line) {
                Ok(hash) if hash.to_string() == line => proof.push(hash),
                Ok(_) | Err(_) => return Err(RequestError("a line of the proof is not a hash")),
            }
        }
        Ok(Self { old, proof, checkpoint: checkpoint.to_owned() })
    }

    /// The log that the checkpoint says it is of: its first line.
    pub fn origin(&self) -> &str {
        self.checkpoint.split('\n').next().unwrap_or_default()
    }

    /// Checks that the log of `old` entries with this root is the beginning of the one of `new`.
    ///
    /// # Errors
    /// [`TreeError::Proof`] where the proof does not say so.
    pub fn check(&self, old_root: Hash, new: &Checkpoint) -> Result<(), TreeError> {
        tree::check_consistency(&self.proof, self.old, old_root, new.size(), new.root())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::leaf_hash;

    /// The example of the specification.
    const PUBLISHED: &str = "old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
";

    #[test]
    fn published_request() {
        let request = AddCheckpoint::parse(PUBLISHED.as_bytes()).unwrap();
        assert_eq!((request.old, request.proof.len()), (20_852_014, 4));
        assert_eq!(request.origin(), "example.com/behind-the-sofa");
        assert!(request.checkpoint.starts_with("example.com/") && request.to_text() == PUBLISHED);
    }

    #[test]
    fn what_is_no_request() {
        let hash = leaf_hash(b"x").to_string();
        let lines = format!("{hash}\n").repeat(64);
        for (body, why) in [
            (String::new(), "no empty line"),
            ("old 1\n".to_owned(), "no empty line"),
            ("new 1\n\nx".to_owned(), "first line"),
            ("\n\nx".to_owned(), "first line"),
            ("old\n\nx".to_owned(), "first line"),
            ("old \n\nx".to_owned(), "number"),
            ("old -1\n\nx".to_owned(), "number"),
            ("old 01\n\nx".to_owned(), "as it must be"),
            ("old +1\n\nx".to_owned(), "as it must be"),
            (format!("old {}\n\nx", u64::MAX), "as it must be"),
            ("old 1\nx\n\nx".to_owned(), "not a hash"),
            (format!("old 1\n{hash} \n\nx"), "not a hash"),
            (format!("old 1\n{lines}\nx"), "63"),
            ("x".repeat(MAX_REQUEST_LEN + 1), "too long"),
        ] {
            let error = AddCheckpoint::parse(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{body:.40}: {error}");
        }
        assert!(AddCheckpoint::parse(b"old 1\n\n\xff").is_err());
        let most = format!("old 1\n{}\nx", format!("{hash}\n").repeat(63));
        assert_eq!(AddCheckpoint::parse(most.as_bytes()).unwrap().proof.len(), 63);
    }

    proptest! {
        #[test]
        fn there_is_one_spelling(text in "(old [0-9]{0,22}\n)?([A-Za-z0-9+/]{43}=\n){0,3}(.{0,9}\n){0,2}\n?.{0,20}") {
            if let Ok(request) = AddCheckpoint::parse(text.as_bytes()) {
                prop_assert_eq!(request.to_text(), text);
            }
        }
    }
}
