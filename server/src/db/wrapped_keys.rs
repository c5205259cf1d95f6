//! The wrapped keys of clips, in the order of their clips, for wrapping them anew after a rotation.

use sqlx::Row;
use temoin_proto::{ids::ClipId, manifest::WrappedKey};

use super::{Db, DbError, parsed, unsigned};

impl Db {
    /// Up to `limit` keys that are wrapped for another key than this one, of clips after `after`.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn wrapped_for_others(
        &self,
        key_id: &str,
        after: Option<ClipId>,
        limit: u32,
    ) -> Result<Vec<(ClipId, WrappedKey)>, DbError> {
        let rows = sqlx::query(
            "SELECT * FROM wrapped_keys WHERE key_id != ? AND clip > ? ORDER BY clip LIMIT ?",
        )
        .bind(key_id)
        .bind(after.map(|clip| clip.to_string()).unwrap_or_default())
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let wrapped = WrappedKey {
                    key_id: row.try_get("key_id")?,
                    encapsulated: row.try_get("encapsulated")?,
                    ciphertext: row.try_get("ciphertext")?,
                };
                Ok((parsed(row, "clip")?, wrapped))
            })
            .collect()
    }

    /// Puts keys that were wrapped anew in place, all or none. One whose clip was deleted meanwhile
    /// stays away.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn replace_wrapped_keys(&self, new: &[(ClipId, WrappedKey)]) -> Result<(), DbError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for (clip, wrapped) in new {
            sqlx::query(
                "UPDATE wrapped_keys SET key_id = ?, encapsulated = ?, ciphertext = ?
                 WHERE clip = ?",
            )
            .bind(&wrapped.key_id)
            .bind(&wrapped.encapsulated)
            .bind(&wrapped.ciphertext)
            .bind(clip.to_string())
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// How many clips are wrapped for each key.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn wrapped_counts(&self) -> Result<Vec<(String, u64)>, DbError> {
        let rows = sqlx::query(
            "SELECT key_id, COUNT(*) AS clips FROM wrapped_keys GROUP BY key_id ORDER BY key_id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok((row.try_get("key_id")?, unsigned(row, "clips")?))).collect()
    }
}
