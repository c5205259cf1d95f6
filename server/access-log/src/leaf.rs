//! One entry of the log: who did what to which recording, and for which purpose, in opaque ids.
//!
//! INVARIANT: a leaf holds no personal data. People appear as an HMAC under a random salt of their
//! own ([`PersonSalt`]), which the server keeps in its database: who deletes the salt cuts the last
//! link between the log and the person, and the log stays whole. One person has one tag, so that an
//! auditor can count the accesses of somebody without knowing who it is. There is no free text:
//! actions and purposes are short words.
//!
//! The bytes are JSON without spaces, the fields in the order of [`Leaf`], absent ones left out.
//! INVARIANT: one leaf has one spelling. Bytes that [`Leaf::to_bytes`] would not write are refused.

use std::{borrow::Cow, fmt, str::FromStr};

use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};
use temoin_proto::ids::{ClipId, EventId, GrantId, UserId, ViewId};

/// The version of the leaf that this code writes and reads.
pub const LEAF_VERSION: u32 = 1;
/// Longest leaf, bytes. A leaf of this version is below 600.
pub const MAX_LEAF_LEN: usize = 4096;
const MAX_WORD_LEN: usize = 40;
const TAG_CONTEXT: &[u8] = b"temoin access log person v1\0";

/// A leaf, or a part of one, that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Not a short word.
    #[error(
        "`{0}` is not a word of the access log: 1 to 40 of a-z, 0-9 and `_`, starting with a letter"
    )]
    Word(String),
    /// Not a person's tag.
    #[error("not a person's tag: 64 hexadecimal digits in lower case are needed")]
    Tag,
    /// Longer than any leaf.
    #[error("a leaf of {0} bytes is longer than {MAX_LEAF_LEN}")]
    TooLong(usize),
    /// A later version.
    #[error("a leaf of version {0}, but only version {LEAF_VERSION} is known: use a newer program")]
    Version(u32),
    /// Not JSON of this shape.
    #[error("not a leaf: {0}")]
    Malformed(String),
    /// The same meaning in another spelling.
    #[error("not a leaf: not in the one spelling that the log writes")]
    NotCanonical,
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
}

macro_rules! word {
    ($(#[$doc:meta])* $name:ident { $($(#[$const_doc:meta])* $constant:ident = $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Cow<'static, str>);

        impl $name {
            $($(#[$const_doc])* pub const $constant: Self = Self(Cow::Borrowed($text));)*

            /// The word.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = LeafError;
            fn from_str(s: &str) -> Result<Self, LeafError> {
                check_word(s)?;
                Ok(Self(Cow::Owned(s.to_owned())))
            }
        }

        impl TryFrom<String> for $name {
            type Error = LeafError;
            fn try_from(s: String) -> Result<Self, LeafError> {
                check_word(&s)?;
                Ok(Self(Cow::Owned(s)))
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.0.into_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

word! {
    /// What was done. Later versions of the server may write words that are not here.
    Action {
        /// A recording was opened for viewing.
        VIEW = "view";
        /// A recording was asked for and refused.
        VIEW_REFUSED = "view_refused";
        /// A recording was exported to a file.
        EXPORT = "export";
        /// A recording, and all views of it, were compared with a file that leaked.
        TRACE = "trace";
        /// A recording is to be deleted: from now on nobody sees it.
        DELETE = "delete";
        /// A recording's key and objects are destroyed: the receipt.
        DELETED = "deleted";
        /// A recording is kept for a legal ground.
        HOLD = "hold";
        /// That has ended.
        RELEASE = "release";
        /// Somebody signed in.
        SIGN_IN = "sign_in";
        /// Somebody gave an order to a unit.
        COMMAND = "command";
        /// Somebody tried to sign in and was refused.
        SIGN_IN_REFUSED = "sign_in_refused";
    }
}
word! {
    /// What for.
    Purpose {
        /// Coaching of the driver.
        COACHING = "coaching";
        /// First look at a new event.
        TRIAGE = "triage";
        /// Clearing up of a collision.
        COLLISION = "collision";
        /// Work on what a driver contests.
        CONTEST = "contest";
        /// A driver's look at their own recording.
        OWN_REVIEW = "own_review";
        /// Work on a request that has a number.
        REQUEST = "request";
    }
}

fn check_word(s: &str) -> Result<(), LeafError> {
    let good = s.len() <= MAX_WORD_LEN
        && s.starts_with(|c: char| c.is_ascii_lowercase())
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if good { Ok(()) } else { Err(LeafError::Word(s.chars().take(MAX_WORD_LEN).collect())) }
}

impl Action {
    /// Whether an entry of this action opens the recording that it names.
    pub fn opens(&self) -> bool {
        [Self::VIEW, Self::EXPORT, Self::TRACE].contains(self)
    }
}

/// The random salt of one person, 32 bytes. Kept in the server's database, never in the log.
/// Never printed.
#[derive(Clone)]
pub struct PersonSalt([u8; 32]);

impl PersonSalt {
    /// A fresh random salt.
    ///
    /// # Errors
    /// [`LeafError::Random`].
    pub fn generate() -> Result<Self, LeafError> {
        let mut salt = [0; 32];
        SystemRandom::new().fill(&mut salt).map_err(|_| LeafError::Random)?;
        Ok(Self(salt))
    }

    /// The salt with these bytes, from the database.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for the database.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The tag of the person whose salt this is: HMAC-SHA256 under the salt.
    pub fn tag(&self, person: UserId) -> PersonTag {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        context.update(TAG_CONTEXT);
        context.update(person.as_bytes());
        let mut tag = [0; 32];
        for (to, from) in tag.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        PersonTag(tag)
    }
}

impl fmt::Debug for PersonSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonSalt(..)")
    }
}

/// A person as the log knows them. Says nothing without their [`PersonSalt`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PersonTag([u8; 32]);

impl FromStr for PersonTag {
    type Err = LeafError;
    fn from_str(s: &str) -> Result<Self, LeafError> {
        let mut tag = [0; 32];
        hex::decode_to_slice(s, &mut tag).map_err(|_| LeafError::Tag)?;
        let tag = Self(tag);
        if tag.to_string() == s { Ok(tag) } else { Err(LeafError::Tag) }
    }
}

impl TryFrom<String> for PersonTag {
    type Error = LeafError;
    fn try_from(s: String) -> Result<Self, LeafError> {
        s.parse()
    }
}

impl From<PersonTag> for String {
    fn from(tag: PersonTag) -> Self {
        hex::encode(tag.0)
    }
}

impl fmt::Display for PersonTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PersonTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PersonTag({self})")
    }
}

/// One entry. It does not hold its own index: that is its place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// Always [`LEAF_VERSION`]; set by [`Leaf::new`].
    #[serde(rename = "v")]
    version: u32,
    /// When, by the server's clock, milliseconds since 1970. Names the moment, orders nothing.
    pub at_unix_ms: i64,
    /// What was done.
    pub action: Action,
    /// The viewing session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewId>,
    /// The recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<ClipId>,
    /// The event that the recording shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// Who did it; absent where the system did, as with an expiry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<PersonTag>,
    /// Whom it concerns: who was at the wheel, where that is known, or whose account it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<PersonTag>,
    /// What for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// The grant that was asked for, decided or used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

impl Leaf {
    /// An entry with only its time and action; the caller sets the rest.
    pub const fn new(at_unix_ms: i64, action: Action) -> Self {
        Self {
            version: LEAF_VERSION,
            at_unix_ms,
            action,
            view: None,
            clip: None,
            event: None,
            actor: None,
            driver: None,
            purpose: None,
            grant: None,
        }
    }

    /// The bytes that the log stores and hashes.
    ///
    /// # Errors
    /// [`LeafError::Malformed`] and [`LeafError::TooLong`]: not with a leaf of this version.
    pub fn to_bytes(&self) -> Result<Vec<u8>, LeafError> {
        let bytes = serde_json::to_vec(self).map_err(|e| LeafError::Malformed(e.to_string()))?;
        if bytes.len() > MAX_LEAF_LEN {
            return Err(LeafError::TooLong(bytes.len()));
        }
        Ok(bytes)
    }

    /// The entry with these bytes.
    ///
    /// # Errors
    /// [`LeafError`] where they are not exactly what [`Leaf::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LeafError> {
        if bytes.len() > MAX_LEAF_LEN {
            return Err(LeafError::TooLong(bytes.len()));
        }
        let malformed = |e: serde_json::Error| LeafError::Malformed(e.to_string());
        let leaf = match serde_json::from_slice::<Self>(bytes) {
            Ok(leaf) if leaf.version == LEAF_VERSION => leaf,
            // A later version may have fields that are unknown here.
            other => {
                let VersionOnly { v } = serde_json::from_slice(bytes).map_err(malformed)?;
                return Err(match other {
                    Err(e) if v == LEAF_VERSION => malformed(e),
                    Ok(_) | Err(_) => LeafError::Version(v),
                });
            }
        };
        if leaf.to_bytes()? == bytes { Ok(leaf) } else { Err(LeafError::NotCanonical) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full() -> Leaf {
        let salt = PersonSalt::from_bytes([7; 32]);
        let mut leaf = Leaf::new(1_790_000_000_123, Action::VIEW);
        leaf.view = Some(ViewId::from_bytes([1; 16]));
        leaf.clip = Some(ClipId::from_bytes([2; 16]));
        leaf.event = Some(EventId::from_bytes([3; 16]));
        leaf.actor = Some(salt.tag(UserId::from_bytes([4; 16])));
        leaf.driver = Some(salt.tag(UserId::from_bytes([5; 16])));
        leaf.purpose = Some(Purpose::COACHING);
        leaf
    }

    /// The bytes are what old checkpoints were signed over: they must never change.
    #[test]
    fn the_spelling_is_pinned() {
        assert_eq!(
            String::from_utf8(full().to_bytes().unwrap()).unwrap(),
            concat!(
                r#"{"v":1,"at_unix_ms":1790000000123,"action":"view","#,
                r#""view":"01010101-0101-0101-0101-010101010101","#,
                r#""clip":"02020202-0202-0202-0202-020202020202","#,
                r#""event":"03030303-0303-0303-0303-030303030303","#,
                r#""actor":"d8f542572fcbcf9f9e5b5ee0fd90b1b0831c0b29af4c671e9ff245f74d069bcd","#,
                r#""driver":"0b7042f626caa4045754691e5ca5ba73c8ee2b13ad5f14a64fabb459dbbd40d0","#,
                r#""purpose":"coaching"}"#
            )
        );
        assert_eq!(
            Leaf::new(-1, Action::SIGN_IN).to_bytes().unwrap(),
            br#"{"v":1,"at_unix_ms":-1,"action":"sign_in"}"#
        );
    }

    #[test]
    fn there_and_back() {
        for leaf in [
            full(),
            Leaf::new(0, Action::DELETE),
            Leaf::new(i64::MIN, "made_up_2".parse().unwrap()),
        ] {
            assert_eq!(Leaf::from_bytes(&leaf.to_bytes().unwrap()), Ok(leaf));
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for (bad, why) in [
            (r#"{"v":1,"at_unix_ms":0,"action":"view" }"#, "a space"),
            (r#"{"at_unix_ms":0,"v":1,"action":"view"}"#, "another order"),
            (r#"{"v":1,"at_unix_ms":0,"action":"view","clip":null}"#, "null for absent"),
            (r#"{"v":1,"at_unix_ms":0,"action":"view","name":"x"}"#, "an unknown field"),
            (r#"{"v":1,"at_unix_ms":0,"action":"vi\u0065w"}"#, "an escape"),
            (r#"{"v":1,"at_unix_ms":0,"action":"Jane Doe"}"#, "free text"),
            (r#"{"v":1,"at_unix_ms":0,"action":""}"#, "no action"),
            (r#"{"v":1,"at_unix_ms":0,"action":"view","actor":"AA"}"#, "a short tag"),
            (
                r#"{"v":1,"at_unix_ms":0,"action":"view","clip":"02020202020202020202020202020202"}"#,
                "an id without dashes",
            ),
            ("", "nothing"),
            ("[]", "an array"),
        ] {
            assert!(Leaf::from_bytes(bad.as_bytes()).is_err(), "{why}: {bad}");
        }
        assert_eq!(Leaf::from_bytes(br#"{"v":2,"shape":"new"}"#), Err(LeafError::Version(2)));
        assert_eq!(
            Leaf::from_bytes(&[b' '; MAX_LEAF_LEN + 1]),
            Err(LeafError::TooLong(MAX_LEAF_LEN + 1))
        );
    }

    #[test]
    fn a_tag_needs_both_salt_and_person() {
        let (a, b) = (PersonSalt::generate().unwrap(), PersonSalt::generate().unwrap());
        let (jane, joe) = (UserId::new(), UserId::new());
        assert_eq!(a.tag(jane), PersonSalt::from_bytes(*a.as_bytes()).tag(jane));
        assert_ne!(a.tag(jane), a.tag(joe));
        assert_ne!(a.tag(jane), b.tag(jane));
        assert_eq!(format!("{a:?}"), "PersonSalt(..)");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Leaf::from_bytes(&bytes).is_err());
        }

        #[test]
        fn a_changed_leaf_is_another_leaf_or_none(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = full().to_bytes().unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(other) = Leaf::from_bytes(&bytes) {
                prop_assert_ne!(other, full());
            }
        }
    }
}
