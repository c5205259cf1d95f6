//! The access log as the rest of the server sees it: async, and shared with the database.
//!
//! The log is the truth; the `views` table is how people read it. A crash between the two leaves
//! an entry without a row: [`Log::catch_up`] makes the row at the next start, and such a view
//! shows nothing, because it belongs to no session.

use std::{path::Path, sync::Arc};

use temoin_access_log::{AccessLog, Action, Leaf, LogIndex};
use temoin_keys::LogProof;
use temoin_proto::ids::{ClipId, EventId, UserId, ViewId};

pub use temoin_access_log::LogError;

use crate::{
    authz::Purpose,
    db::{Db, views::StoredView},
    error::AppError,
};

/// Rows may be written out of order by views that are opened at the same time; this many indexes
/// before the last row are looked at again. More views cannot be between log and row at once.
const LOOK_BACK: u64 = 1024;

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

    /// Whether it takes entries.
    pub fn is_healthy(&self) -> bool {
        self.inner.poisoned().is_none()
    }

    /// Writes an entry; it is durable when this returns.
    ///
    /// # Errors
    /// [`AppError::Log`]: then nothing may be shown.
    pub async fn append(&self, leaf: Leaf) -> Result<LogIndex, AppError> {
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

    /// Makes the rows of views whose entry is durable but whose row a crash prevented. Returns how
    /// many entries it looked at.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn catch_up(&self, db: &Db) -> Result<usize, AppError> {
        let from = db.next_view_index().await?.saturating_sub(LOOK_BACK);
        let log = Arc::clone(&self.inner);
        let entries =
            blocking(move || log.entries(from)?.collect::<Result<Vec<_>, LogError>>()).await??;
        let people = db.log_tags().await?;
        for entry in &entries {
            let Some(mut view) = row_of(&entry.leaf, |tag| people.get(&tag).copied()) else {
                continue;
            };
            view.log_index = entry.index;
            if db.clip(view.clip).await?.is_some() && db.event(view.event).await?.is_some() {
                db.add_view(&view).await?;
            }
        }
        Ok(entries.len())
    }
}

/// The row that an entry about a view stands for, without its index.
fn row_of(
    leaf: &Leaf,
    person: impl FnOnce(temoin_access_log::PersonTag) -> Option<UserId>,
) -> Option<StoredView> {
    if leaf.action != Action::VIEW {
        return None;
    }
    Some(StoredView {
        id: leaf.view?,
        log_index: 0,
        clip: leaf.clip?,
        event: leaf.event?,
        user: person(leaf.actor?)?,
        session: None,
        purpose: leaf.purpose.as_ref()?.as_str().parse().ok()?,
        opened_ms: leaf.at_unix_ms,
    })
}

/// The entry that says that somebody opened a clip.
///
/// # Errors
/// [`AppError::Internal`] where the purpose is no word of the log: not with [`Purpose`].
pub async fn view_leaf(
    db: &Db,
    (view, clip, event): (ViewId, ClipId, EventId),
    actor: UserId,
    driver: Option<UserId>,
    purpose: Purpose,
    now_ms: i64,
) -> Result<Leaf, AppError> {
    let mut leaf = Leaf::new(now_ms, Action::VIEW);
    leaf.view = Some(view);
    leaf.clip = Some(clip);
    leaf.event = Some(event);
    leaf.actor = Some(db.log_tag(actor).await?.ok_or(AppError::NotFound)?);
    leaf.driver = match driver {
        Some(driver) => db.log_tag(driver).await?,
        None => None,
    };
    leaf.purpose =
        Some(purpose.as_str().parse().map_err(|e| AppError::Internal(format!("access log: {e}")))?);
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
