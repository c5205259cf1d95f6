//! Views: who looked at which clip, when and why. Each row follows an entry of the access log.

use sqlx::{Row, sqlite::SqliteRow};
use temoin_proto::{
    ids::{ClipId, EventId, GrantId, UserId, ViewId},
    sealed::TrackName,
};

use super::{Db, DbError, parsed, parsed_opt, unsigned};
use crate::authz::Purpose;

/// A view as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredView {
    /// Its id.
    pub id: ViewId,
    /// The index of its entry in the access log.
    pub log_index: u64,
    /// The clip.
    pub clip: ClipId,
    /// The event through which it was opened.
    pub event: EventId,
    /// Who looks.
    pub user: UserId,
    /// SHA-256 of the session's token; none where the row was made again from the log.
    pub session: Option<Vec<u8>>,
    /// Why.
    pub purpose: Purpose,
    /// When it was opened, milliseconds since 1970.
    pub opened_ms: i64,
    /// The grant that it was opened under: a request, break-glass, or an export's.
    pub grant: Option<GrantId>,
}

fn stored(row: &SqliteRow) -> Result<StoredView, DbError> {
    Ok(StoredView {
        id: parsed(row, "id")?,
        log_index: unsigned(row, "log_index")?,
        clip: parsed(row, "clip")?,
        event: parsed(row, "event")?,
        user: parsed(row, "user")?,
        session: row.try_get("session")?,
        purpose: parsed(row, "purpose")?,
        opened_ms: row.try_get("opened_at")?,
        grant: parsed_opt(row, "grant_id")?,
    })
}

impl Db {
    /// Stores a view whose log entry is durable. The same index again changes nothing.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn add_view(&self, view: &StoredView) -> Result<(), DbError> {
        sqlx::query(
            "INSERT INTO views
             (id, log_index, clip, event, user, session, purpose, opened_at, grant_id)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(view.id.to_string())
        .bind(super::signed(view.log_index))
        .bind(view.clip.to_string())
        .bind(view.event.to_string())
        .bind(view.user.to_string())
        .bind(&view.session)
        .bind(view.purpose.as_str())
        .bind(view.opened_ms)
        .bind(view.grant.map(|id| id.to_string()))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The view with this id.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn view(&self, id: ViewId) -> Result<Option<StoredView>, DbError> {
        let row = sqlx::query("SELECT * FROM views WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(stored).transpose()
    }

    /// Notes how much of a camera was sent so far, milliseconds of video. The first note says when
    /// it began; a lower figure later changes nothing.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn note_watched(
        &self,
        id: ViewId,
        track: TrackName,
        sent_ms: u64,
        now_ms: i64,
    ) -> Result<(), DbError> {
        sqlx::query(
            "INSERT INTO watched (view, track, begun_at, sent_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (view, track) DO UPDATE SET sent_ms = max(sent_ms, excluded.sent_ms)",
        )
        .bind(id.to_string())
        .bind(track.as_str())
        .bind(now_ms)
        .bind(super::signed(sent_ms))
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
