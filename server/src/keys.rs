//! The way to the key service, a process of its own that alone holds the fleet's private keys.
//!
//! INVARIANT: a clip's key is asked for only with a [`LogIndex`] whose entry says that this clip was
//! opened; the log gives one out only after the entry is durable, and the key service checks the
//! proof of the same entry again. Before anything else, each new connection tells the service of
//! deletions in the log that it may have missed, as after its folder was put back from a backup.
//!
//! Where the service is away, views are refused and the server goes on with everything else; it
//! connects again by itself. Every call ends within [`LIMIT`].

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use temoin_access_log::{Action, LogIndex};
use temoin_keys::{
    Answer, LogProof, PublicKey, Refusal, Request,
    message::{
        MAX_ANSWER_LEN, MAX_MARKS, MessageError, SeenHead, WitnessedHead, next_len, read_body, send,
    },
};
use temoin_proto::{
    ids::{ClipId, ViewId},
    manifest::WrappedKey,
    mark::MarkKey,
    sealed::ClipKey,
    wire,
};
use tokio::{net::UnixStream, sync::Mutex as AsyncMutex};

use crate::{
    error::AppError,
    log::{Log, LogError},
    witnesses::Witnesses,
};

/// For one call, waiting for other calls included.
pub const LIMIT: Duration = Duration::from_secs(5);
/// The current key is asked for again after this long, so that units hear of a rotation.
const PUBLIC_FOR: Duration = Duration::from_secs(60);
/// How often an entry is proven anew where others move the head at the same time.
const MAX_PROOFS: usize = 16;

/// Why a key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Nobody answers.
    #[error(
        "the key service at {} is away: {source}; start temoin-keys, and look whether this \
         server's user may connect",
        path.display()
    )]
    Away {
        /// Its socket.
        path: PathBuf,
        /// Why.
        source: MessageError,
    },
    /// It takes too long.
    #[error("the key service at {} does not answer within {} s", path.display(), LIMIT.as_secs())]
    Late {
        /// Its socket.
        path: PathBuf,
    },
    /// It said no.
    #[error("the key service refused: {0}")]
    Refused(Refusal),
    /// It answered something else.
    #[error("the key service gave an answer to another question: are both of one version?")]
    Confused,
    /// The log's entry does not allow this.
    #[error("the access log's entry {0} does not say this of this clip")]
    NotLogged(u64),
    /// The entry cannot be proven.
    #[error("the access log gave no proof: {0}")]
    Log(#[from] LogError),
    /// Something inside.
    #[error("{0}")]
    Internal(String),
}

impl KeyError {
    /// Whether it is worth another try when the service is back.
    pub const fn is_away(&self) -> bool {
        match self {
            Self::Away { .. } | Self::Late { .. } => true,
            Self::Refused(_)
            | Self::Confused
            | Self::NotLogged(_)
            | Self::Log(_)
            | Self::Internal(_) => false,
        }
    }
}

/// One connection, made when it is needed.
#[derive(Debug)]
pub(crate) struct Link {
    path: PathBuf,
    stream: Option<UnixStream>,
}

impl Link {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), stream: None }
    }

    fn away(&self, source: impl Into<MessageError>) -> KeyError {
        KeyError::Away { path: self.path.clone(), source: source.into() }
    }

    async fn connect(&mut self) -> Result<(), KeyError> {
        let stream = UnixStream::connect(&self.path).await.map_err(|e| self.away(e))?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Sends and receives over the connection that is there.
    async fn exchange(&mut self, request: &Request) -> Result<Answer, KeyError> {
        let request = request.encode().map_err(|e| self.away(e))?;
        // Taken out: a call that is dropped half way leaves no connection that is out of step.
        let Some(mut stream) = self.stream.take() else {
            return Err(self.away(std::io::Error::from(std::io::ErrorKind::NotConnected)));
        };
        let exchanged = async {
            send(&mut stream, &request).await?;
            let len = next_len(&mut stream, MAX_ANSWER_LEN)
                .await?
                .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::ConnectionReset))?;
            Answer::decode(&read_body(&mut stream, len).await?)
        };
        let answer = exchanged.await.map_err(|e| self.away(e))?;
        self.stream = Some(stream);
        Ok(answer)
    }

    /// One request that needs no proof, over a new connection if the old one broke.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Answer, KeyError> {
        let path = self.path.clone();
        let asked = async {
            if self.stream.is_some()
                && let Ok(answer) = self.exchange(request).await
            {
                return Ok(answer);
            }
            self.connect().await?;
            self.exchange(request).await
        };
        tokio::time::timeout(LIMIT, asked).await.unwrap_or(Err(KeyError::Late { path }))
    }

    /// The key that units seal for.
    pub(crate) async fn public(&mut self) -> Result<PublicKey, KeyError> {
        let answer = self.ask(&Request::Public).await?;
        if let Answer::Public(key) = answer { Ok(key) } else { Err(unexpected(answer)) }
    }
}

fn unexpected(answer: Answer) -> KeyError {
    if let Answer::Refused(why) = answer { KeyError::Refused(why) } else { KeyError::Confused }
}

struct Proving {
    link: Link,
    /// Entries of the newest head that the service has seen, as far as is known here.
    seen: u64,
}

/// The key service, as the rest of the server sees it.
pub struct Keys {
    log: Log,
    witnesses: Arc<Witnesses>,
    proving: AsyncMutex<Proving>,
    path: PathBuf,
    public: Mutex<Option<(Instant, PublicKey)>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Keys {
    /// The service behind this socket, for entries of this log. Connects when it is first asked.
    pub fn new(path: &Path, log: Log, witnesses: Arc<Witnesses>) -> Self {
        let proving = AsyncMutex::new(Proving { link: Link::new(path), seen: 0 });
        Self { log, witnesses, proving, path: path.to_owned(), public: Mutex::new(None) }
    }

    /// What units seal for: what the service says, or said before if it is away.
    ///
    /// # Errors
    /// [`KeyError::Away`] where it never answered.
    pub async fn public(&self) -> Result<wire::FleetKey, KeyError> {
        let known = self.public.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let key = match known {
            Some((at, key)) if at.elapsed() < PUBLIC_FOR => key,
            known => match (Link::new(&self.path).public().await, known) {
                (Ok(key), _) => {
                    *self.public.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some((Instant::now(), key.clone()));
                    key
                }
                (Err(error), Some((_, key))) => {
                    tracing::warn!(%error, "units are told the fleet key that was current before");
                    key
                }
                (Err(error), None) => return Err(error),
            },
        };
        Ok(wire::FleetKey {
            key_id: key.id,
            x25519_public_key: bytes::Bytes::copy_from_slice(&key.x25519),
        })
    }

    /// What the service knows of the log: whether it answers at all.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn head(&self) -> Result<SeenHead, KeyError> {
        // A connection of its own: it does not wait for those who wait for keys.
        let answer = Link::new(&self.path).ask(&Request::Head).await?;
        if let Answer::Head(head) = answer { Ok(head) } else { Err(unexpected(answer)) }
    }

    /// A clip's key, and the key of the mark of the view that the entry names, against the proof that
    /// the log says so.
    ///
    /// # Errors
    /// [`KeyError::NotLogged`] where the entry is of something else; others where the service is
    /// away or refuses.
    pub async fn unwrap(
        &self,
        clip: ClipId,
        wrapped: &WrappedKey,
        proof: &LogIndex,
    ) -> Result<(ClipKey, Option<MarkKey>), KeyError> {
        if !proof.opens(clip) {
            return Err(KeyError::NotLogged(proof.get()));
        }
        let request = |proof| {
            let wrapped = wrapped.clone().into();
            Request::Unwrap { clip, wrapped, proof }
        };
        let answer = self.proven(proof.get(), request).await?;
        if let Answer::Unwrapped { key, mark } = answer {
            Ok((key, mark))
        } else {
            Err(unexpected(answer))
        }
    }

    /// The keys of the marks of these views of a clip, in the same order, against the entry that says
    /// that the clip is compared with a leak.
    ///
    /// # Errors
    /// [`KeyError::NotLogged`] where the entry is of something else; others where the service is
    /// away or refuses.
    pub async fn marks(
        &self,
        clip: ClipId,
        views: &[ViewId],
        proof: &LogIndex,
    ) -> Result<Vec<MarkKey>, KeyError> {
        if proof.leaf().clip != Some(clip) || proof.leaf().action != Action::TRACE {
            return Err(KeyError::NotLogged(proof.get()));
        }
        let mut keys = Vec::with_capacity(views.len());
        for part in views.chunks(MAX_MARKS) {
            let request = |proof| Request::Marks { clip, views: part.to_vec(), proof };
            let answer = self.proven(proof.get(), request).await?;
            let Answer::Marks(marks) = answer else { return Err(unexpected(answer)) };
            if marks.len() != part.len() {
                return Err(KeyError::Confused);
            }
            keys.extend(marks);
        }
        Ok(keys)
    }

    /// Makes the service never give out a clip's key again. Durable when it returns; again is no
    /// harm.
    ///
    /// # Errors
    /// [`KeyError::NotLogged`] where the entry does not say that this clip was deleted; others
    /// where the service is away or refuses.
    pub async fn destroy(&self, clip: ClipId, proof: &LogIndex) -> Result<(), KeyError> {
        if proof.leaf().clip != Some(clip) || proof.leaf().action != Action::DELETE {
            return Err(KeyError::NotLogged(proof.get()));
        }
        let request = |proof| Request::Destroy { clip, proof };
        let answer = self.proven(proof.get(), request).await?;
        if let Answer::Destroyed = answer { Ok(()) } else { Err(unexpected(answer)) }
    }

    /// Asks for something against an entry.
    async fn proven(
        &self,
        index: u64,
        request: impl Fn(LogProof) -> Request,
    ) -> Result<Answer, KeyError> {
        let asked = async {
            let mut proving = self.proving.lock().await;
            if proving.link.stream.is_some() {
                match self.ask(&mut proving, index, &request).await {
                    // The service was started again: once more over a new connection.
                    Err(KeyError::Away { .. }) => {}
                    answered => return answered,
                }
            }
            self.connect(&mut proving).await?;
            self.ask(&mut proving, index, &request).await
        };
        let late = || Err(KeyError::Late { path: self.path.clone() });
        tokio::time::timeout(LIMIT, asked).await.unwrap_or_else(|_| late())
    }

    async fn ask(
        &self,
        proving: &mut Proving,
        index: u64,
        request: &impl Fn(LogProof) -> Request,
    ) -> Result<Answer, KeyError> {
        let mut shown = false;
        for _ in 0..MAX_PROOFS {
            let (proof, size) = self.log.prove(index, proving.seen).await.map_err(inside)?;
            let answer = proving.link.exchange(&request(proof)).await?;
            let Answer::Refused(why) = answer else {
                proving.seen = size;
                return Ok(answer);
            };
            if let Refusal::HeadMoved { size } = why {
                proving.seen = size;
            } else if why == Refusal::Unwitnessed && !shown {
                // The entry's head was kept before the question of witnesses came up.
                proving.seen = size;
                shown = true;
                self.show_witnessed(proving).await?;
            } else {
                return Err(KeyError::Refused(why));
            }
        }
        Err(KeyError::Refused(Refusal::HeadMoved { size: proving.seen }))
    }

    /// Shows the service the newest head that witnesses cosigned.
    async fn show_witnessed(&self, proving: &mut Proving) -> Result<(), KeyError> {
        let head = self.witnesses.cosigned().ok_or(KeyError::Refused(Refusal::Unwitnessed))?;
        for _ in 0..MAX_PROOFS {
            let seen = proving.seen;
            let (less, more) = (head.size().min(seen), head.size().max(seen));
            let hashes = self.log.consistency_proof(less, more).await.map_err(inside)?;
            let request = Request::Witnessed(WitnessedHead::new(&head, seen, &hashes));
            let answer = proving.link.exchange(&request).await?;
            if let Answer::Witnessed = answer {
                proving.seen = more;
                return Ok(());
            }
            let Answer::Refused(Refusal::HeadMoved { size }) = answer else {
                return Err(unexpected(answer));
            };
            proving.seen = size;
        }
        Err(KeyError::Refused(Refusal::HeadMoved { size: proving.seen }))
    }

    async fn connect(&self, proving: &mut Proving) -> Result<(), KeyError> {
        proving.link.connect().await?;
        let answer = proving.link.exchange(&Request::Head).await?;
        let Answer::Head(head) = answer else { return Err(unexpected(answer)) };
        proving.seen = head.size;
        for (index, clip) in self.log.deletions(proving.seen).await.map_err(inside)? {
            let request = |proof| Request::Destroy { clip, proof };
            let answer = self.ask(proving, index, &request).await?;
            let Answer::Destroyed = answer else { return Err(unexpected(answer)) };
        }
        Ok(())
    }
}

fn inside(error: AppError) -> KeyError {
    match error {
        AppError::Log(e) => KeyError::Log(e),
        AppError::Key(e) => e,
        AppError::NotFound
        | AppError::Refused(_)
        | AppError::Invalid(_)
        | AppError::TooMany { .. }
        | AppError::Busy(_)
        | AppError::Unwitnessed(_)
        | AppError::Db(_)
        | AppError::Authz(_)
        | AppError::Object(_)
        | AppError::Picture(_)
        | AppError::Internal(_) => KeyError::Internal(error.to_string()),
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
