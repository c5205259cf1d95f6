//! The access log as the rest of the server sees it: async, and shared with the database.
//!
//! The log is the truth; the `acts` table is how people read it. A crash between the two leaves an
//! entry without a row: [`Log::catch_up`] makes the row at the next start, and a view of such an
//! entry shows nothing, because it belongs to no session.
//!
//! INVARIANT: what is to be logged is logged before it is done ([`Log::record`]).

use std::{path::Path, sync::Arc, time::Duration};

use temoin_access_log::{
    AccessLog, Action, Checkpoint, EntryProof, Hash, Leaf, LogIndex, LogPublicKey, PersonTag, tiles,
};
use temoin_keys::LogProof;
use temoin_proto::ids::{ClipId, UserId};

pub use temoin_access_log::LogError;

use crate::{
    app::App,
    db::{Db, acts::Act, views::StoredView},
    error::{AppError, chain},
};

/// Rows may be written out of order by acts of the same moment; this many indexes before the last
/// row are looked at again. More acts cannot be between log and row at once.
const LOOK_BACK: u64 = 1024;
/// How soon acts of the command line are in the log.
const WAITING_ROUND: Duration = Duration::from_secs(1);

/// The open access log.
#[derive(Debug, Clone)]
pub struct Log {
    inner: Arc<AccessLog>,
}

impl Log {
    /// Opens the log in this folder, and locks it.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        Ok(Self { inner: Arc::new(AccessLog::open(folder)?) })
    }

    /// How many entries it has.
    pub fn len(&self) -> u64 {
        self.inner.len()
    }

    /// Whether it has no entry yet.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// The signed head, as a note.
    pub fn checkpoint(&self) -> String {
        self.inner.checkpoint().note().to_owned()
    }

    /// The signed head.
    pub fn head(&self) -> Checkpoint {
        self.inner.checkpoint()
    }

    /// The key that checks it.
    pub fn public_key(&self) -> &LogPublicKey {
        self.inner.public_key()
    }

    /// The root of the first `size` entries.
    ///
    /// # Errors
    /// [`LogError`] where there are fewer, or the disk fails.
    pub fn root(&self, size: u64) -> Result<Hash, LogError> {
        self.inner.root(size)
    }

    /// The proof that the first `old` entries are the beginning of the first `new`.
    ///
    /// # Errors
    /// [`AppError::Log`].
    pub async fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, AppError> {
        let log = Arc::clone(&self.inner);
        Ok(blocking(move || log.consistency_proof(old, new)).await??)
    }

    /// An entry with its proof, under this head or, where it is behind it, under the present one.
    ///
    /// # Errors
    /// [`AppError::Log`].
    pub async fn entry_proof(
        &self,
        index: u64,
        head: Option<Checkpoint>,
    ) -> Result<EntryProof, AppError> {
        let log = Arc::clone(&self.inner);
        let under = head.filter(|head| index < head.size());
        Ok(blocking(move || {
            log.entry_proof_under(index, &under.unwrap_or_else(|| log.checkpoint()))
        })
        .await??)
    }

    /// A published tile, by its path behind `tile/`; none where the log has no such.
    ///
    /// # Errors
    /// [`AppError::Log`].
    pub async fn tile(&self, path: String) -> Result<Option<Vec<u8>>, AppError> {
        let log = Arc::clone(&self.inner);
        Ok(blocking(move || tiles::tile(&log, &path)).await??)
    }

    /// The log itself.
    #[cfg(test)]
    pub(crate) fn inner_for_tests(&self) -> &AccessLog {
        &self.inner
    }

    /// Whether it takes entries.
    pub fn is_healthy(&self) -> bool {
        self.inner.poisoned().is_none()
    }

    /// Writes an entry and no row, as a crash between the two leaves it; the entry is durable when
    /// this returns.
    pub(crate) async fn append_only(&self, db: &Db, act: &Act) -> Result<LogIndex, AppError> {
        self.append(leaf_of(db, act).await?).await
    }

    /// Writes an entry; it is durable when this returns.
    pub(crate) async fn append(&self, leaf: Leaf) -> Result<LogIndex, AppError> {
        let log = Arc::clone(&self.inner);
        Ok(blocking(move || log.append(leaf)).await??)
    }

    /// The proof of an entry that was written before.
    ///
    /// # Errors
    /// [`AppError::Log`].
    pub async fn recall(&self, index: u64) -> Result<LogIndex, AppError> {
        let log = Arc::clone(&self.inner);
        Ok(blocking(move || log.recall(index)).await??)
    }

    /// An entry's proof for the key service, which has seen a head of `from` entries, and the size
    /// of the head that it is proven under. Where the log is shorter than that, the proof leads
    /// nowhere and the service says so.
    ///
    /// # Errors
    /// [`AppError::Log`].
    pub async fn prove(&self, index: u64, from: u64) -> Result<(LogProof, u64), AppError> {
        let log = Arc::clone(&self.inner);
        Ok(blocking(move || {
            let entry = log.entry_proof(index)?;
            // The log's own note: its second line is its size.
            let size = entry.checkpoint.lines().nth(1).and_then(|line| line.parse().ok());
            let size: u64 = size.unwrap_or_default();
            let hashes = if from <= size { log.consistency_proof(from, size)? } else { Vec::new() };
            Ok::<_, LogError>((LogProof::new(&entry, from, &hashes), size))
        })
        .await??)
    }

    /// The deletions from this entry on: their numbers and clips.
    ///
    /// # Errors
    /// [`AppError::Log`].
    pub async fn deletions(&self, from: u64) -> Result<Vec<(u64, ClipId)>, AppError> {
        let log = Arc::clone(&self.inner);
        let found = move || {
            let mut found = Vec::new();
            for entry in log.entries(from)? {
                let entry = entry?;
                if let (true, Some(clip)) = (entry.leaf.action == Action::DELETE, entry.leaf.clip) {
                    found.push((entry.index, clip));
                }
            }
            Ok::<_, LogError>(found)
        };
        Ok(blocking(found).await??)
    }

    /// Logs an act: its entry is durable, and its row written, when this returns.
    ///
    /// # Errors
    /// [`AppError::Log`]: then the act must not happen. [`AppError::Db`]: it must not happen either;
    /// the row is made from the entry at the next start.
    pub async fn record(&self, db: &Db, act: &Act) -> Result<LogIndex, AppError> {
        let proof = self.append_only(db, act).await?;
        db.add_act(proof.get(), act).await?;
        Ok(proof)
    }

    /// Logs what was done on the command line beside the running server. A crash between an entry
    /// and the end of its waiting leaves an act that is logged twice, never one that is not.
    ///
    /// # Errors
    /// [`AppError`]: what is left waits for the next round.
    pub async fn record_waiting(&self, db: &Db) -> Result<(), AppError> {
        for (number, act) in db.acts_to_log().await? {
            self.record(db, &act).await?;
            db.is_logged(number).await?;
        }
        Ok(())
    }

    /// Makes the rows of acts whose entry is durable but whose row a crash prevented. Returns how
    /// many entries it looked at.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn catch_up(&self, db: &Db) -> Result<usize, AppError> {
        let from = db.next_act_index().await?.saturating_sub(LOOK_BACK);
        let log = Arc::clone(&self.inner);
        let entries =
            blocking(move || log.entries(from)?.collect::<Result<Vec<_>, LogError>>()).await??;
        let people = db.log_tags().await?;
        for entry in &entries {
            let act = act_of(&entry.leaf, |tag| people.get(&tag).copied());
            db.add_act(entry.index, &act).await?;
            // What was deleted stays deleted, also where the database is last week's backup.
            if act.action == Action::DELETE
                && let Some(clip) = act.clip
            {
                db.begin_deletion(clip, entry.index, "it was deleted").await?;
            }
            if let Some(view) = view_of(&act, entry.index)
                && db.clip(view.clip).await?.is_some()
                && db.event(view.event).await?.is_some()
            {
                db.add_view(&view).await?;
            }
        }
        Ok(entries.len())
    }
}

/// Logs what is done on the command line until it is dropped.
pub(crate) async fn rounds(app: App) {
    let mut ticks = tokio::time::interval(WAITING_ROUND);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = app.log().record_waiting(app.db()).await {
            tracing::error!(error = %chain(&error), "acts of the command line are not in the log yet");
        }
    }
}

/// The word of an act that only this server knows.
pub(crate) fn action(word: &str) -> Result<Action, AppError> {
    word.parse().map_err(|e| AppError::Internal(format!("access log: {e}")))
}

/// The act that an entry stands for. Who is not among the people any more is nobody.
fn act_of(leaf: &Leaf, person: impl Fn(PersonTag) -> Option<UserId>) -> Act {
    Act {
        at_ms: leaf.at_unix_ms,
        action: leaf.action.clone(),
        actor: leaf.actor.and_then(&person),
        driver: leaf.driver.and_then(&person),
        event: leaf.event,
        clip: leaf.clip,
        view: leaf.view,
        grant: leaf.grant,
        purpose: leaf.purpose.as_ref().and_then(|p| p.as_str().parse().ok()),
    }
}

/// The row of the viewing that an act began; of no session, so that it shows nothing any more.
pub(crate) fn view_of(act: &Act, log_index: u64) -> Option<StoredView> {
    if act.action != Action::VIEW && act.action != Action::EXPORT {
        return None;
    }
    Some(StoredView {
        id: act.view?,
        log_index,
        clip: act.clip?,
        event: act.event?,
        user: act.actor?,
        session: None,
        purpose: act.purpose?,
        opened_ms: act.at_ms,
        grant: act.grant,
    })
}

/// The entry of an act. People become their tags.
async fn leaf_of(db: &Db, act: &Act) -> Result<Leaf, AppError> {
    let mut leaf = Leaf::new(act.at_ms, act.action.clone());
    leaf.view = act.view;
    leaf.clip = act.clip;
    leaf.event = act.event;
    leaf.grant = act.grant;
    leaf.actor = match act.actor {
        Some(actor) => Some(db.log_tag(actor).await?.ok_or(AppError::NotFound)?),
        None => None,
    };
    leaf.driver = match act.driver {
        Some(driver) => db.log_tag(driver).await?,
        None => None,
    };
    leaf.purpose = act
        .purpose
        .map(|p| p.as_str().parse())
        .transpose()
        .map_err(|e| AppError::Internal(format!("access log: {e}")))?;
    Ok(leaf)
}

/// Runs something that waits for the disk beside the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AppError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| AppError::Internal(format!("a worker thread ended: {e}")))
}
