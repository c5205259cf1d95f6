//! How long clips are kept, what keeps them longer, and their deletion.

use std::collections::BTreeMap;

use sqlx::{Row, sqlite::SqliteRow};
use temoin_proto::{
    events::EventKind,
    ids::{ClipId, EventId, HoldId, UnitId, UserId},
};

use super::{Db, DbError, parsed, signed, unsigned};
use crate::retention::Aged;

/// A clip that is kept for a legal ground.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its id.
    pub id: HoldId,
    /// The clip.
    pub clip: ClipId,
    /// The event through which it was held.
    pub event: EventId,
    /// The ground.
    pub ground: String,
    /// The legal ground on which the driver is not told; empty: the driver is told.
    pub not_told: String,
    /// Who holds it.
    pub by: UserId,
    /// Their name.
    pub by_name: String,
    /// Since when.
    pub at_ms: i64,
    /// When it was released.
    pub released_ms: Option<i64>,
}

/// A clip whose deletion has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleting {
    /// The clip.
    pub clip: ClipId,
    /// The first of the events that name it.
    pub event: EventId,
    /// The entry of the access log that says so.
    pub log_index: u64,
}

fn hold(row: &SqliteRow) -> Result<Hold, DbError> {
    Ok(Hold {
        id: parsed(row, "id")?,
        clip: parsed(row, "clip")?,
        event: parsed(row, "event")?,
        ground: row.try_get("ground")?,
        not_told: row.try_get("not_told")?,
        by: parsed(row, "by")?,
        by_name: row.try_get("by_name")?,
        at_ms: row.try_get("at")?,
        released_ms: row.try_get("released_at")?,
    })
}

const HOLDS: &str = "SELECT h.*, u.name AS by_name FROM holds h JOIN users u ON u.id = h.by";

impl Db {
    /// The clips that are not being deleted, with what decides how long each is kept: those that
    /// came before `came_before_ms`, and with a clip only that one.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn aged_clips(
        &self,
        came_before_ms: i64,
        only: Option<ClipId>,
    ) -> Result<Vec<Aged>, DbError> {
        let rows = sqlx::query(
            "SELECT c.id, c.event, c.unit, coalesce(c.complete_at, c.begun_at) AS came_at,
                    c.keep_until, e.kind,
                    EXISTS (SELECT 1 FROM holds h WHERE h.clip = c.id AND h.released_at IS NULL)
                        AS held
             FROM clips c JOIN events e ON e.clip = c.id AND e.unit = c.unit
             WHERE c.delete_index IS NULL AND coalesce(c.complete_at, c.begun_at) < ?1
               AND (?2 IS NULL OR c.id = ?2)
             ORDER BY came_at, c.id",
        )
        .bind(came_before_ms)
        .bind(only.map(|clip| clip.to_string()))
        .fetch_all(&self.pool)
        .await?;
        let mut clips: BTreeMap<(i64, ClipId), Aged> = BTreeMap::new();
        for row in &rows {
            let (clip, came_ms): (ClipId, i64) = (parsed(row, "id")?, row.try_get("came_at")?);
            let kind: EventKind = parsed(row, "kind")?;
            let unit: UnitId = parsed(row, "unit")?;
            let event = parsed(row, "event")?;
            let (keep_until_ms, held) = (row.try_get("keep_until")?, row.try_get("held")?);
            clips
                .entry((came_ms, clip))
                .or_insert_with(|| Aged {
                    clip,
                    event,
                    unit,
                    kinds: Vec::new(),
                    came_ms,
                    keep_until_ms,
                    held,
                })
                .kinds
                .push(kind);
        }
        Ok(clips.into_values().collect())
    }

    /// Keeps a clip at least until then. False where it is not there any more.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn keep_until(&self, clip: ClipId, until_ms: i64) -> Result<bool, DbError> {
        let kept = sqlx::query(
            "UPDATE clips SET keep_until = max(coalesce(keep_until, 0), ?)
             WHERE id = ? AND delete_index IS NULL",
        )
        .bind(until_ms)
        .bind(clip.to_string())
        .execute(&self.pool)
        .await?;
        Ok(kept.rows_affected() == 1)
    }

    /// Begins the deletion of a clip: its key and manifest are erased, nobody sees it from now on,
    /// and its events say why. False where it is held, or its deletion has begun already.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn begin_deletion(
        &self,
        clip: ClipId,
        log_index: u64,
        because: &str,
    ) -> Result<bool, DbError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let begun = sqlx::query(
            "UPDATE clips SET delete_index = ?1, complete_at = NULL, manifest = X'', signature = X''
             WHERE id = ?2 AND delete_index IS NULL
               AND NOT EXISTS (SELECT 1 FROM holds WHERE clip = ?2 AND released_at IS NULL)",
        )
        .bind(signed(log_index))
        .bind(clip.to_string())
        .execute(&mut *tx)
        .await?;
        if begun.rows_affected() == 0 {
            return Ok(false);
        }
        for statement in [
            "DELETE FROM wrapped_keys WHERE clip = ?1",
            "DELETE FROM fingerprints WHERE clip = ?1",
            "UPDATE events SET clip_absent_because = ?2 WHERE clip = ?1",
        ] {
            sqlx::query(statement).bind(clip.to_string()).bind(because).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Clips whose deletion has begun and not ended.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn deleting(&self) -> Result<Vec<Deleting>, DbError> {
        let rows = sqlx::query(
            "SELECT id, event, delete_index FROM clips
             WHERE delete_index IS NOT NULL AND deleted_at IS NULL ORDER BY delete_index",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Deleting {
                    clip: parsed(row, "id")?,
                    event: parsed(row, "event")?,
                    log_index: unsigned(row, "delete_index")?,
                })
            })
            .collect()
    }

    /// Whether the deletion of a clip has begun.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn clip_is_deleted(&self, clip: ClipId) -> Result<bool, DbError> {
        let row = sqlx::query("SELECT 1 FROM clips WHERE id = ? AND delete_index IS NOT NULL")
            .bind(clip.to_string())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.is_some())
    }

    /// Key and objects are gone.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn end_deletion(&self, clip: ClipId, now_ms: i64) -> Result<(), DbError> {
        sqlx::query("UPDATE clips SET deleted_at = ? WHERE id = ?")
            .bind(now_ms)
            .bind(clip.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Folds the write-ahead log into the database, so that what was erased is not in it either.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn fold(&self) -> Result<(), DbError> {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.pool).await?;
        Ok(())
    }

    /// Holds a clip. False where its deletion has begun.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn add_hold(&self, hold: &Hold) -> Result<bool, DbError> {
        let held = sqlx::query(
            "INSERT INTO holds (id, clip, event, ground, not_told, by, at)
             SELECT ?1, c.id, ?3, ?4, ?5, ?6, ?7 FROM clips c
             WHERE c.id = ?2 AND c.delete_index IS NULL",
        )
        .bind(hold.id.to_string())
        .bind(hold.clip.to_string())
        .bind(hold.event.to_string())
        .bind(&hold.ground)
        .bind(&hold.not_told)
        .bind(hold.by.to_string())
        .bind(hold.at_ms)
        .execute(&self.pool)
        .await?;
        Ok(held.rows_affected() == 1)
    }

    /// Releases a hold. False where it is not held.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn release_hold(&self, id: HoldId, by: UserId, now_ms: i64) -> Result<bool, DbError> {
        let released = sqlx::query(
            "UPDATE holds SET released_by = ?, released_at = ? WHERE id = ? AND released_at IS NULL",
        )
        .bind(by.to_string())
        .bind(now_ms)
        .bind(id.to_string())
        .execute(&self.pool)
        .await?;
        Ok(released.rows_affected() == 1)
    }

    /// All holds that run, the newest first.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn holds(&self) -> Result<Vec<Hold>, DbError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{HOLDS} WHERE h.released_at IS NULL ORDER BY h.at DESC, h.id DESC"
        )))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(hold).collect()
    }

    /// A hold that runs.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn hold(&self, id: HoldId) -> Result<Option<Hold>, DbError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{HOLDS} WHERE h.id = ? AND h.released_at IS NULL"
        )))
        .bind(id.to_string())
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(hold).transpose()
    }

    /// The holds of a clip, those that were released as well, the newest first.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn holds_of(&self, clip: ClipId) -> Result<Vec<Hold>, DbError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{HOLDS} WHERE h.clip = ? ORDER BY h.at DESC, h.id DESC"
        )))
        .bind(clip.to_string())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(hold).collect()
    }
}
