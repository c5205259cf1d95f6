//! Traces: files that leaked, and what was found.

use sqlx::{Row, sqlite::SqliteRow};
use temoin_proto::ids::{ClipId, EventId, GrantId, TraceId, UserId, ViewId};

use super::{Db, DbError, grants::GrantRow, parsed, unsigned, views::StoredView};
use crate::trace::Ended;

/// A trace as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTrace {
    /// Its id.
    pub id: TraceId,
    /// The grant that it rests on.
    pub grant: GrantId,
    /// When it began, milliseconds since 1970.
    pub at_ms: i64,
    /// The file's SHA-256.
    pub sha256: [u8; 32],
    /// The file's length, bytes.
    pub bytes: u64,
    /// How it ended; none while it runs, and where the server was stopped before.
    pub ended: Option<Ended>,
}

fn stored(row: &SqliteRow) -> Result<StoredTrace, DbError> {
    let sha256: Vec<u8> = row.try_get("sha256")?;
    let found: Option<String> = row.try_get("found")?;
    let content = |column, value| DbError::Content { column, value };
    Ok(StoredTrace {
        id: parsed(row, "id")?,
        grant: parsed(row, "grant_id")?,
        at_ms: row.try_get("at")?,
        sha256: sha256.try_into().map_err(|bytes| content("sha256", hex::encode(bytes)))?,
        bytes: unsigned(row, "bytes")?,
        ended: found
            .map(|text| serde_json::from_str(&text).map_err(|e| content("found", e.to_string())))
            .transpose()?,
    })
}

impl Db {
    /// Stores a trace that begins.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn add_trace(&self, trace: &StoredTrace) -> Result<(), DbError> {
        sqlx::query("INSERT INTO traces (id, grant_id, at, sha256, bytes) VALUES (?, ?, ?, ?, ?)")
            .bind(trace.id.to_string())
            .bind(trace.grant.to_string())
            .bind(trace.at_ms)
            .bind(trace.sha256.as_slice())
            .bind(super::signed(trace.bytes))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Stores how a trace ended.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn end_trace(&self, id: TraceId, ended: &Ended, now_ms: i64) -> Result<(), DbError> {
        let found = serde_json::to_string(ended)
            .map_err(|e| DbError::Content { column: "found", value: e.to_string() })?;
        sqlx::query("UPDATE traces SET ended_at = ?, found = ? WHERE id = ?")
            .bind(now_ms)
            .bind(found)
            .bind(id.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// A trace.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn trace(&self, id: TraceId) -> Result<Option<StoredTrace>, DbError> {
        let row = sqlx::query("SELECT * FROM traces WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(stored).transpose()
    }

    /// The newest traces with their grants, at most `limit`. The decision is made on every row.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn traces(&self, limit: u32) -> Result<Vec<(StoredTrace, GrantRow)>, DbError> {
        let rows = sqlx::query("SELECT * FROM traces ORDER BY at DESC, id DESC LIMIT ?")
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        let mut traces = Vec::with_capacity(rows.len());
        for row in &rows {
            let trace = stored(row)?;
            if let Some(grant) = self.grant(trace.grant).await? {
                traces.push((trace, grant));
            }
        }
        Ok(traces)
    }

    /// All views of a clip, exports among them, the oldest first.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn views_of(&self, clip: ClipId) -> Result<Vec<ViewId>, DbError> {
        let rows = sqlx::query("SELECT id FROM views WHERE clip = ? ORDER BY log_index")
            .bind(clip.to_string())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }

    /// What the report says of a view: the view, who opened it, and whether it is an export.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn named_view(&self, id: ViewId) -> Result<Option<(StoredView, bool)>, DbError> {
        let Some(view) = self.view(id).await? else { return Ok(None) };
        let row = sqlx::query("SELECT action FROM acts WHERE log_index = ?")
            .bind(super::signed(view.log_index))
            .fetch_optional(&self.pool)
            .await?;
        let action: Option<String> = row.map(|row| row.try_get("action")).transpose()?;
        Ok(Some((view, action.as_deref() == Some("export"))))
    }

    /// A complete clip of an event.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn clip_of(&self, event: EventId) -> Result<Option<ClipId>, DbError> {
        let row = sqlx::query(
            "SELECT c.id FROM events e JOIN clips c ON c.id = e.clip
             WHERE e.id = ? AND c.complete_at IS NOT NULL",
        )
        .bind(event.to_string())
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(|row| parsed(row, "id")).transpose()
    }

    /// The event of a clip, and who drove.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn event_of(
        &self,
        clip: ClipId,
    ) -> Result<Option<(EventId, Option<UserId>)>, DbError> {
        let row = sqlx::query("SELECT event FROM clips WHERE id = ?")
            .bind(clip.to_string())
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let id: EventId = parsed(&row, "event")?;
        let event = self.event(id).await?;
        Ok(event.map(|event| (id, event.driver.map(|driver| driver.id))))
    }
}
