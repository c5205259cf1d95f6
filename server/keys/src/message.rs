//! What goes over the socket: frames of a length (u32, big endian) and so many bytes.
//!
//! A request is JSON, at most [`MAX_REQUEST_LEN`] bytes. An answer is JSON after a byte `j`, or keys,
//! so that no JSON text ever holds one: after a byte `k` 32 bytes of a clip's key and, where the entry
//! is of a view, 32 of its mark's key; after a byte `m` 32 bytes for each mark that was asked for.
//!
//! INVARIANT: no length from outside makes this process take more memory than the limits.

use serde::{Deserialize, Serialize};
use temoin_access_log::{Checkpoint, EntryProof, Hash};
use temoin_proto::{
    ids::{ClipId, ViewId},
    manifest::WrappedKey,
    mark::MarkKey,
    sealed::ClipKey,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

/// Longest request: an entry's proof with a large checkpoint, a consistency proof and a wrapped key.
pub const MAX_REQUEST_LEN: usize = 64 * 1024;
/// Longest answer: the most marks that a request has room for.
pub const MAX_ANSWER_LEN: usize = 1 + 32 * MAX_MARKS;
/// Most marks in a request.
pub const MAX_MARKS: usize = 1000;
/// Most hashes in a consistency proof: more than any tree needs.
const MAX_HASHES: usize = 128;
const JSON: u8 = b'j';
const KEY: u8 = b'k';
const MARKS: u8 = b'm';

/// A message that is none.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The connection.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// Too long.
    #[error("a message of {0} bytes is longer than any can be")]
    TooLong(usize),
    /// Not a message.
    #[error("not a message of the key service: {0}")]
    Malformed(String),
}

/// A wrapped clip key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrapped {
    /// Which of the fleet's keys.
    pub key_id: String,
    /// HPKE encapsulated key.
    #[serde(with = "hex::serde")]
    pub encapsulated: Vec<u8>,
    /// HPKE ciphertext.
    #[serde(with = "hex::serde")]
    pub ciphertext: Vec<u8>,
}

impl From<WrappedKey> for Wrapped {
    fn from(key: WrappedKey) -> Self {
        let WrappedKey { key_id, encapsulated, ciphertext } = key;
        Self { key_id, encapsulated, ciphertext }
    }
}

impl From<Wrapped> for WrappedKey {
    fn from(wrapped: Wrapped) -> Self {
        let Wrapped { key_id, encapsulated, ciphertext } = wrapped;
        Self { key_id, encapsulated, ciphertext }
    }
}

/// The proof of an entry, and that its head continues the newest one that the key service has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogProof {
    /// The entry with its audit path and signed head (C2SP tlog-proof with the leaf).
    pub entry: String,
    /// The size of the head that `consistency` begins at.
    pub from: u64,
    /// The consistency proof from there to the entry's head, hashes in base64.
    pub consistency: Vec<String>,
}

impl LogProof {
    /// The proof for an entry and these hashes.
    pub fn new(entry: &EntryProof, from: u64, consistency: &[Hash]) -> Self {
        let consistency = consistency.iter().map(Hash::to_string).collect();
        Self { entry: entry.to_text(), from, consistency }
    }

    /// Its parts; nothing is checked yet.
    ///
    /// # Errors
    /// [`MessageError::Malformed`].
    pub fn parse(&self) -> Result<(EntryProof, Vec<Hash>), MessageError> {
        let entry = EntryProof::parse(&self.entry);
        let entry = entry.map_err(|e| MessageError::Malformed(e.to_string()))?;
        Ok((entry, hashes(&self.consistency)?))
    }
}

/// A head with the cosignatures of witnesses, and that it is of one history with the newest head
/// that the key service has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessedHead {
    /// The signed and cosigned note.
    pub checkpoint: String,
    /// The size of the newest head that the key service has seen.
    pub from: u64,
    /// The consistency proof between the two, from the smaller one, hashes in base64.
    pub consistency: Vec<String>,
}

impl WitnessedHead {
    /// This head with these hashes.
    pub fn new(head: &Checkpoint, from: u64, consistency: &[Hash]) -> Self {
        let consistency = consistency.iter().map(Hash::to_string).collect();
        Self { checkpoint: head.note().to_owned(), from, consistency }
    }

    /// The hashes; nothing is checked yet.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn hashes(&self) -> Result<Vec<Hash>, MessageError> {
        hashes(&self.consistency)
    }
}

fn hashes(lines: &[String]) -> Result<Vec<Hash>, MessageError> {
    if lines.len() > MAX_HASHES {
        return Err(MessageError::TooLong(lines.len()));
    }
    let hashes = lines.iter().map(|line| Hash::parse_hash(line)).collect::<Result<_, _>>();
    hashes.map_err(|_| MessageError::Malformed("a line is not a hash".to_owned()))
}

/// What the server asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The key that units seal for.
    Public,
    /// What the service knows of the log.
    Head,
    /// A clip's key, against the entry that says that the clip was opened.
    Unwrap {
        /// The clip.
        clip: ClipId,
        /// Its wrapped key.
        wrapped: Wrapped,
        /// The entry.
        proof: LogProof,
    },
    /// The keys of the marks of these views, against the entry that says that the clip is compared
    /// with a leak.
    Marks {
        /// The clip.
        clip: ClipId,
        /// At most [`MAX_MARKS`].
        views: Vec<ViewId>,
        /// The entry.
        proof: LogProof,
    },
    /// Never to give out a clip's key again, against the entry that says that it was deleted.
    Destroy {
        /// The clip.
        clip: ClipId,
        /// The entry.
        proof: LogProof,
    },
    /// A clip's key, wrapped anew for the current key. The key itself is not given.
    Rewrap {
        /// The clip.
        clip: ClipId,
        /// Its wrapped key.
        wrapped: Wrapped,
    },
    /// To look at what witnesses signed. Asked after a [`Refusal::Unwitnessed`].
    Witnessed(WitnessedHead),
}

/// The public half of the current key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKey {
    /// Its name.
    pub id: String,
    /// The key.
    #[serde(with = "hex::serde")]
    pub x25519: [u8; 32],
}

/// What the service knows of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenHead {
    /// How many entries the newest head signs.
    pub size: u64,
    /// How many clips will never be opened again.
    pub destroyed: u64,
    /// Whether a second history was ever shown.
    pub fork_seen: bool,
}

/// Why not. Says nothing that who asked could not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Refusal {
    /// Not a request.
    #[error("the request is not one")]
    Malformed,
    /// The entry is not in the log that is pinned.
    #[error("the entry's proof does not hold under the pinned log key")]
    NotProven,
    /// The entry says something else.
    #[error("the entry does not say this of this clip")]
    NotLogged,
    /// The entry is of another time.
    #[error("the entry is too old, or of a time to come: open the clip again")]
    Stale,
    /// Proven under an older head: prove it under the present one and from this size.
    #[error("the newest head that was seen has {size} entries")]
    HeadMoved {
        /// Entries of the newest head.
        size: u64,
    },
    /// The log is shorter than it was.
    #[error("the log was put back to an older state: a head with {size} entries was seen before")]
    RolledBack {
        /// Entries of the newest head.
        size: u64,
    },
    /// The log has two histories.
    #[error("the log's head does not continue the newest one that was seen: it was forked")]
    Forked,
    /// No witness's word that is young enough was shown.
    #[error("no witness has signed the log's head lately, as far as the key service was shown")]
    Unwitnessed,
    /// The clip was deleted.
    #[error("the clip was deleted: its key is never given out again")]
    Destroyed,
    /// Wrapped for another key.
    #[error("the clip is sealed for the fleet key `{id}`, which is not in the keyring")]
    UnknownKey {
        /// The key's name.
        id: String,
    },
    /// It does not open.
    #[error("the clip's key does not unwrap: not of this clip, or damaged")]
    DoesNotOpen,
    /// The service's own disk failed.
    #[error("the key service cannot write its state: its own log says why")]
    Broken,
}

/// What the service answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`Request::Public`].
    Public(PublicKey),
    /// To [`Request::Head`].
    Head(SeenHead),
    /// To [`Request::Unwrap`].
    Unwrapped {
        /// The clip's key.
        key: ClipKey,
        /// The key of the mark of the view that the entry names, if it names one.
        mark: Option<MarkKey>,
    },
    /// To [`Request::Marks`], in the same order.
    Marks(Vec<MarkKey>),
    /// To [`Request::Destroy`]: durable.
    Destroyed,
    /// To [`Request::Rewrap`].
    Rewrapped(Wrapped),
    /// To [`Request::Witnessed`]: it holds, and counts from now on.
    Witnessed,
    /// To any.
    Refused(Refusal),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum JsonAnswer {
    Public(PublicKey),
    Head(SeenHead),
    Destroyed,
    Rewrapped(Wrapped),
    Witnessed,
    Refused(Refusal),
}

impl Request {
    /// The request's bytes, without their length.
    ///
    /// # Errors
    /// [`MessageError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        within(json(self)?, MAX_REQUEST_LEN)
    }

    /// The request in these bytes.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        if bytes.len() > MAX_REQUEST_LEN {
            return Err(MessageError::TooLong(bytes.len()));
        }
        serde_json::from_slice(bytes).map_err(|e| MessageError::Malformed(e.to_string()))
    }
}

impl Answer {
    /// The answer's bytes, without their length.
    ///
    /// # Errors
    /// [`MessageError::TooLong`].
    pub fn encode(self) -> Result<Zeroizing<Vec<u8>>, MessageError> {
        let answer = match self {
            Self::Unwrapped { key, mark } => {
                let mut bytes = Zeroizing::new(Vec::with_capacity(65));
                bytes.push(KEY);
                bytes.extend_from_slice(key.expose());
                if let Some(mark) = mark {
                    bytes.extend_from_slice(mark.as_bytes());
                }
                return Ok(bytes);
            }
            Self::Marks(marks) => {
                let mut bytes = Zeroizing::new(Vec::with_capacity(1 + 32 * marks.len()));
                bytes.push(MARKS);
                for mark in &marks {
                    bytes.extend_from_slice(mark.as_bytes());
                }
                return Ok(bytes);
            }
            Self::Public(key) => JsonAnswer::Public(key),
            Self::Head(head) => JsonAnswer::Head(head),
            Self::Destroyed => JsonAnswer::Destroyed,
            Self::Rewrapped(wrapped) => JsonAnswer::Rewrapped(wrapped),
            Self::Witnessed => JsonAnswer::Witnessed,
            Self::Refused(why) => JsonAnswer::Refused(why),
        };
        let mut bytes = vec![JSON];
        bytes.extend(json(&answer)?);
        within(bytes, MAX_ANSWER_LEN).map(Zeroizing::new)
    }

    /// The answer in these bytes.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let bad = |what: String| MessageError::Malformed(what);
        match bytes.split_first() {
            Some((&KEY, keys)) => {
                let (key, mark) = match keys.as_chunks::<32>() {
                    ([key], []) => (key, None),
                    ([key, mark], []) => (key, Some(MarkKey::from_bytes(*mark))),
                    (_, _) => return Err(bad("not one or two keys".to_owned())),
                };
                Ok(Self::Unwrapped { key: ClipKey::from_exposed(*key), mark })
            }
            Some((&MARKS, marks)) => match marks.as_chunks::<32>() {
                (marks, []) => {
                    Ok(Self::Marks(marks.iter().map(|key| MarkKey::from_bytes(*key)).collect()))
                }
                (_, _) => Err(bad("not whole keys of marks".to_owned())),
            },
            Some((&JSON, text)) => {
                let answer = serde_json::from_slice(text).map_err(|e| bad(e.to_string()))?;
                Ok(match answer {
                    JsonAnswer::Public(key) => Self::Public(key),
                    JsonAnswer::Head(head) => Self::Head(head),
                    JsonAnswer::Destroyed => Self::Destroyed,
                    JsonAnswer::Rewrapped(wrapped) => Self::Rewrapped(wrapped),
                    JsonAnswer::Witnessed => Self::Witnessed,
                    JsonAnswer::Refused(why) => Self::Refused(why),
                })
            }
            Some(_) | None => Err(bad("another first byte".to_owned())),
        }
    }
}

fn json(message: &impl Serialize) -> Result<Vec<u8>, MessageError> {
    serde_json::to_vec(message).map_err(|e| MessageError::Malformed(e.to_string()))
}

fn within(bytes: Vec<u8>, most: usize) -> Result<Vec<u8>, MessageError> {
    if bytes.len() <= most { Ok(bytes) } else { Err(MessageError::TooLong(bytes.len())) }
}

/// Sends a frame.
///
/// # Errors
/// [`MessageError::Io`], [`MessageError::TooLong`].
pub async fn send(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), MessageError> {
    let len = u32::try_from(bytes.len()).map_err(|_| MessageError::TooLong(bytes.len()))?;
    // One write, so that it is one packet; wiped, as an answer may hold a key.
    let mut frame = Zeroizing::new(Vec::with_capacity(4 + bytes.len()));
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(bytes);
    to.write_all(&frame).await?;
    Ok(to.flush().await?)
}

/// The length of the next frame, or `None` where the other side has ended between two frames.
///
/// # Errors
/// [`MessageError::Io`], [`MessageError::TooLong`].
pub async fn next_len(
    from: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> Result<Option<usize>, MessageError> {
    let mut len = [0; 4];
    if from.read(&mut len[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut len[1..]).await?;
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len <= most { Ok(Some(len)) } else { Err(MessageError::TooLong(len)) }
}

/// The bytes of a frame whose length is known.
///
/// # Errors
/// [`MessageError::Io`].
pub async fn read_body(
    from: &mut (impl AsyncRead + Unpin),
    len: usize,
) -> Result<Zeroizing<Vec<u8>>, MessageError> {
    let mut bytes = Zeroizing::new(vec![0; len]);
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn requests() -> Vec<Request> {
        let clip = ClipId::from_bytes([2; 16]);
        let wrapped =
            Wrapped { key_id: "k1".into(), encapsulated: vec![1; 32], ciphertext: vec![2; 48] };
        let proof = LogProof { entry: "e\n".into(), from: 3, consistency: vec!["h".into()] };
        vec![
            Request::Public,
            Request::Head,
            Request::Unwrap { clip, wrapped: wrapped.clone(), proof: proof.clone() },
            Request::Marks {
                clip,
                views: vec![ViewId::from_bytes([3; 16]); 2],
                proof: proof.clone(),
            },
            Request::Destroy { clip, proof },
            Request::Rewrap { clip, wrapped },
            Request::Witnessed(WitnessedHead {
                checkpoint: "c\n".into(),
                from: 3,
                consistency: vec!["h".into()],
            }),
        ]
    }

    #[test]
    fn there_and_back() {
        for request in requests() {
            assert_eq!(Request::decode(&request.encode().unwrap()).unwrap(), request);
        }
        let marked = |n: u8| MarkKey::from_bytes([n; 32]);
        for mark in [None, Some(marked(8))] {
            let key = ClipKey::from_exposed([7; 32]);
            let bytes = Answer::Unwrapped { key, mark: mark.clone() }.encode().unwrap();
            let Answer::Unwrapped { key, mark: again } = Answer::decode(&bytes).unwrap() else {
                panic!()
            };
            assert_eq!((key.expose(), again), (&[7; 32], mark));
        }
        for marks in [vec![], vec![marked(1), marked(2)], vec![marked(3); MAX_MARKS]] {
            let bytes = Answer::Marks(marks.clone()).encode().unwrap();
            assert!(bytes.len() <= MAX_ANSWER_LEN);
            let Answer::Marks(again) = Answer::decode(&bytes).unwrap() else { panic!() };
            assert_eq!(again, marks);
        }
        let refusal = Refusal::HeadMoved { size: 9 };
        let bytes = Answer::Refused(refusal.clone()).encode().unwrap();
        let Answer::Refused(again) = Answer::decode(&bytes).unwrap() else { panic!() };
        assert_eq!(again, refusal);
    }

    #[test]
    fn what_is_not_a_message() {
        for bad in ["", "{}", "\"publi\"", "{\"unwrap\":{}}", "{\"public\":1}", "[\"public\"]"] {
            assert!(Request::decode(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in
            [b"".as_slice(), b"k", b"k123", b"m123", &[b'k'; 98], b"j", b"j{}", b"x\"destroyed\""]
        {
            assert!(Answer::decode(bad).is_err(), "{bad:?}");
        }
        assert!(matches!(
            Request::decode(&vec![b' '; MAX_REQUEST_LEN + 1]),
            Err(MessageError::TooLong(_))
        ));
    }

    #[tokio::test]
    async fn frames_have_an_end() {
        let mut wire = Vec::new();
        send(&mut wire, b"abc").await.unwrap();
        send(&mut wire, b"").await.unwrap();
        let mut from = wire.as_slice();
        assert_eq!(next_len(&mut from, 3).await.unwrap(), Some(3));
        assert_eq!(read_body(&mut from, 3).await.unwrap().as_slice(), b"abc");
        assert_eq!(next_len(&mut from, 3).await.unwrap(), Some(0));
        assert_eq!(next_len(&mut from, 3).await.unwrap(), None);
        assert!(matches!(next_len(&mut wire.as_slice(), 2).await, Err(MessageError::TooLong(3))));
        assert!(next_len(&mut b"\0\0".as_slice(), 2).await.is_err(), "cut off");
        let huge = next_len(&mut [0xff; 4].as_slice(), MAX_REQUEST_LEN).await;
        assert!(matches!(huge, Err(MessageError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(Request::decode(&bytes));
            drop(Answer::decode(&bytes));
        }

        #[test]
        fn a_changed_request_is_another_or_none(
            which in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let request = which.get(&requests()).clone();
            let mut bytes = request.encode().unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(other) = Request::decode(&bytes) {
                // Hexadecimal digits may be in either case.
                let same = String::from_utf8(bytes).unwrap().to_lowercase();
                prop_assert!(other != request || same.as_bytes() == request.encode().unwrap());
            }
        }
    }
}
