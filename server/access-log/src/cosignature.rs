//! Cosignatures: what a witness puts under a checkpoint once it has seen that the log only grew
//! (C2SP tlog-cosignature, `cosignature/v1`, Ed25519, key type 0x04).
//!
//! What is signed is the checkpoint's text behind two lines, so that a cosignature is never a log's
//! signature and says when it was made:
//! ```text
//! cosignature/v1
//! time 1679315147
//! example.com/behind-the-sofa
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! ```
//!
//! INVARIANT: a time leaves here only with a signature that was checked.

use std::{fmt, str::FromStr};

use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use signed_note::{Note, Signature, Verifier, VerifierList};

use crate::checkpoint::{
    Checkpoint, CheckpointError, KeyError, MAX_CHECKPOINT_LEN, PRIVATE_PREFIX, check_name,
    decode_key, encode_key,
};

const ALGORITHM_COSIGNATURE: u8 = 4;

fn message(unix_s: u64, text: &[u8]) -> Vec<u8> {
    [format!("cosignature/v1\ntime {unix_s}\n").as_bytes(), text].concat()
}

/// Time and signature of a `timestamped_signature`.
fn take_apart(signature: &[u8]) -> Option<(u64, &[u8])> {
    let (time, signature) = signature.split_first_chunk()?;
    let unix_s = u64::from_be_bytes(*time);
    (signature.len() == 64 && i64::try_from(unix_s).is_ok()).then_some((unix_s, signature))
}

/// How far a witness's clock may be ahead of that of whoever relies on it, seconds. Own choice.
pub const AHEAD_S: u64 = 300;

/// The public key of a witness, printed and parsed as `name+id+key` (a *vkey* of type 0x04).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessPublicKey {
    name: String,
    id: u32,
    key: [u8; 32],
}

impl WitnessPublicKey {
    fn new(name: String, key: [u8; 32]) -> Self {
        let id = signed_note::key_id(&name, &[&[ALGORITHM_COSIGNATURE], key.as_slice()].concat());
        Self { name, id, key }
    }

    /// The name of the witness.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When this witness cosigned this head, seconds since 1970; none where it did not.
    pub fn cosigned_at(&self, head: &Checkpoint) -> Option<u64> {
        self.signature_in(head.note()).map(|(_, unix_s)| unix_s)
    }

    /// The valid cosignature of this witness in a note, and its time.
    fn signature_in(&self, note: &str) -> Option<(Signature, u64)> {
        let note = Note::from_bytes(note.as_bytes()).ok()?;
        let (mut good, _) = note.verify(&VerifierList::new(vec![Box::new(self.clone())])).ok()?;
        let signature = good.pop()?;
        let (unix_s, _) = take_apart(signature.signature())?;
        Some((signature, unix_s))
    }
}

impl Verifier for WitnessPublicKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn verify(&self, msg: &[u8], sig: &[u8]) -> bool {
        take_apart(sig).is_some_and(|(unix_s, signature)| {
            UnparsedPublicKey::new(&ED25519, self.key)
                .verify(&message(unix_s, msg), signature)
                .is_ok()
        })
    }
}

impl fmt::Display for WitnessPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = encode_key(ALGORITHM_COSIGNATURE, &self.key);
        write!(f, "{}+{:08x}+{key}", self.name, self.id)
    }
}

impl FromStr for WitnessPublicKey {
    type Err = KeyError;
    fn from_str(s: &str) -> Result<Self, KeyError> {
        let (name, id, key) = decode_key(ALGORITHM_COSIGNATURE, s, "witness's")?;
        let public = Self::new(name, key);
        if public.id == id { Ok(public) } else { Err(KeyError::Encoding("witness's")) }
    }
}

/// The private key of a witness. Never printed.
pub struct WitnessKey {
    pair: Ed25519KeyPair,
    public: WitnessPublicKey,
}

impl WitnessKey {
    /// A fresh key for the witness of this name, and its private encoding for the key file.
    ///
    /// # Errors
    /// [`KeyError::Name`] and [`KeyError::Random`].
    pub fn generate(name: &str) -> Result<(Self, String), KeyError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyError::Random)?;
        let key = Self::from_seed(name, &seed)?;
        let encoded_seed = encode_key(ALGORITHM_COSIGNATURE, &seed);
        let encoded = format!("{PRIVATE_PREFIX}{name}+{:08x}+{encoded_seed}", key.public.id);
        Ok((key, encoded))
    }

    /// The key in this private encoding.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn decode(encoded: &str) -> Result<Self, KeyError> {
        let bad = KeyError::Encoding("witness's private");
        let encoded = encoded.strip_prefix(PRIVATE_PREFIX).ok_or(bad.clone())?;
        let (name, id, seed) = decode_key(ALGORITHM_COSIGNATURE, encoded, "witness's private")?;
        let key = Self::from_seed(&name, &seed)?;
        if key.public.id == id { Ok(key) } else { Err(bad) }
    }

    fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let bad = |_| KeyError::Encoding("witness's private");
        check_name(name)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(bad)?;
        let key = pair.public_key().as_ref().try_into();
        let key = key.map_err(|_| KeyError::Encoding("witness's private"))?;
        Ok(Self { pair, public: WitnessPublicKey::new(name.to_owned(), key) })
    }

    /// The public key.
    pub const fn public(&self) -> &WitnessPublicKey {
        &self.public
    }

    /// The line of a cosignature under this head, as of this time. Whoever calls this has checked
    /// that the log only grew, and has made the head durable.
    ///
    /// # Errors
    /// [`CheckpointError::Note`] where the time is none that can be signed.
    pub fn cosign(&self, head: &Checkpoint, unix_s: u64) -> Result<String, CheckpointError> {
        let note = |e: String| CheckpointError::Note(e);
        if i64::try_from(unix_s).is_err() {
            return Err(note(format!("`{unix_s}` is no time")));
        }
        let signature = self.pair.sign(&message(unix_s, head.text().as_bytes()));
        let bytes = [&unix_s.to_be_bytes(), signature.as_ref()].concat();
        let line = Signature::new(self.public.name.clone(), self.public.id, bytes)
            .map_err(|e| note(e.to_string()))?
            .to_bytes();
        String::from_utf8(line).map_err(|e| note(e.to_string()))
    }
}

impl fmt::Debug for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WitnessKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Puts the valid cosignatures of these witnesses, out of the lines that they answered, under a head.
/// Lines of others, and lines that do not hold, are left out.
///
/// # Errors
/// [`CheckpointError::TooLong`] where there are more than a checkpoint may have.
pub fn add_cosignatures(
    head: &Checkpoint,
    lines: &str,
    witnesses: &[WitnessPublicKey],
) -> Result<Checkpoint, CheckpointError> {
    if lines.len() > MAX_CHECKPOINT_LEN {
        return Err(CheckpointError::TooLong(lines.len()));
    }
    let note = format!("{}\n{lines}", head.text());
    let mut good = String::new();
    for witness in witnesses.iter().filter(|w| w.cosigned_at(head).is_none()) {
        if let Some((signature, _)) = witness.signature_in(&note) {
            good.push_str(&String::from_utf8_lossy(&signature.to_bytes()));
        }
    }
    let cosigned = head.with_lines(&good);
    match cosigned.note().len() {
        len if len > MAX_CHECKPOINT_LEN => Err(CheckpointError::TooLong(len)),
        _ => Ok(cosigned),
    }
}

/// How long ago a head was cosigned: the time by which `quorum` of these witnesses had done so,
/// seconds since 1970. None where fewer did.
pub fn quorum_at(head: &Checkpoint, witnesses: &[WitnessPublicKey], quorum: usize) -> Option<u64> {
    let mut times: Vec<u64> = witnesses.iter().filter_map(|w| w.cosigned_at(head)).collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    times.get(quorum.checked_sub(1)?).copied()
}

/// Whether a cosignature of this time counts, where it may be so old; all in seconds. A witness's
/// clock may be [`AHEAD_S`] ahead: a time further off would be good for ever.
pub const fn is_fresh(at_s: u64, now_s: u64, within_s: u64) -> bool {
    at_s <= now_s.saturating_add(AHEAD_S) && now_s.saturating_sub(at_s) <= within_s
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{checkpoint::LogKey, tree::leaf_hash};

    const LOG: &str = "fleet.example/access-log";

    fn witnesses() -> Vec<WitnessKey> {
        ["w.example/1", "w.example/2"].map(|name| WitnessKey::generate(name).unwrap().0).into()
    }

    #[test]
    fn there_and_back() {
        let (key, encoded) = WitnessKey::generate("w.example/1").unwrap();
        assert_eq!(WitnessKey::decode(&encoded).unwrap().public(), key.public());
        let vkey = key.public().to_string();
        assert_eq!(vkey.parse(), Ok(key.public().clone()));
        assert!(vkey.parse::<crate::LogPublicKey>().is_err(), "not a log's key");
        let log = LogKey::generate(LOG).unwrap().0.public().to_string();
        assert!(log.parse::<WitnessPublicKey>().is_err(), "not a witness's key");
        for bad in ["", "w", &encoded, &vkey.replace('w', "v"), &vkey[..vkey.len() - 4]] {
            assert!(bad.parse::<WitnessPublicKey>().is_err(), "{bad}");
            assert!(bad == encoded || WitnessKey::decode(bad).is_err(), "{bad}");
        }
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }

    /// The example of C2SP tlog-cosignature: the key is not published, but the encoding of the time
    /// is in its line.
    #[test]
    fn the_published_example_has_its_time() {
        use base64::prelude::{BASE64_STANDARD, Engine as _};
        let line = "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZ\
                    qhf5nNo0xUe+mbIUBkBIfZ+qnA==";
        let bytes = BASE64_STANDARD.decode(line).unwrap();
        let (unix_s, signature) = take_apart(&bytes[4..]).unwrap();
        assert_eq!((unix_s, signature.len()), (1_679_315_147, 64));
        assert_eq!(
            message(unix_s, b"example.com/behind-the-sofa\n"),
            b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n"
        );
    }

    #[test]
    fn only_what_the_witnesses_signed_gets_under_a_head() {
        let (log, _) = LogKey::generate(LOG).unwrap();
        let head = log.sign(3, leaf_hash(b"x")).unwrap();
        let other = log.sign(3, leaf_hash(b"y")).unwrap();
        let keys = witnesses();
        let public: Vec<WitnessPublicKey> = keys.iter().map(|k| k.public().clone()).collect();
        let (first, second) =
            (keys[0].cosign(&head, 1000).unwrap(), keys[1].cosign(&head, 2000).unwrap());
        let stranger = WitnessKey::generate("w.example/3").unwrap().0;
        let foreign = stranger.cosign(&head, 1500).unwrap();
        let of_other = keys[0].cosign(&other, 1000).unwrap();
        for (lines, times) in [
            (String::new(), [None, None]),
            (first.clone(), [Some(1000), None]),
            (format!("{foreign}{first}{second}"), [Some(1000), Some(2000)]),
            (format!("{first}{first}"), [Some(1000), None]),
            (of_other.clone(), [None, None]),
            (format!("{of_other}{second}"), [None, Some(2000)]),
            ("no lines at all\n".to_owned(), [None, None]),
            (first.trim_end().to_owned(), [None, None]),
        ] {
            let cosigned = add_cosignatures(&head, &lines, &public).unwrap();
            let found: Vec<_> = public.iter().map(|w| w.cosigned_at(&cosigned)).collect();
            assert_eq!(found, times, "{lines}");
            assert!(!cosigned.note().contains("w.example/3"));
            assert_eq!(Checkpoint::parse(cosigned.note().as_bytes(), log.public()), Ok(cosigned));
        }
        let both = add_cosignatures(&head, &format!("{first}{second}"), &public).unwrap();
        let at = |quorum| quorum_at(&both, &public, quorum);
        assert_eq!([at(0), at(1), at(2), at(3)], [None, Some(2000), Some(1000), None]);
        // Asked again, nothing is doubled.
        assert_eq!(add_cosignatures(&both, &first, &public), Ok(both));
        assert!(keys[0].cosign(&head, u64::MAX).is_err());
    }

    proptest! {
        #[test]
        fn any_change_of_a_cosignature_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let (log, _) = LogKey::generate(LOG).unwrap();
            let head = log.sign(123_456, leaf_hash(b"x")).unwrap();
            let (key, _) = WitnessKey::generate("w.example/1").unwrap();
            let mut line = key.cosign(&head, 1000).unwrap().into_bytes();
            let at = at.index(line.len());
            line[at] ^= 1 << bit;
            let line = String::from_utf8_lossy(&line);
            let cosigned = add_cosignatures(&head, &line, &[key.public().clone()]).unwrap();
            prop_assert_eq!(key.public().cosigned_at(&cosigned), None);
        }
    }
}
