//! Sessions of signed-in people. Only the SHA-256 of each cookie is kept.

use sqlx::Row;

use super::{Db, DbError, parsed, users::User};

/// A session as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// Whose.
    pub user: User,
    /// When it began.
    pub created_ms: i64,
    /// When it was last used.
    pub used_ms: i64,
}

impl Db {
    /// Stores a new session.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn add_session(
        &self,
        token_sha256: &[u8; 32],
        user: &User,
        now_ms: i64,
    ) -> Result<(), DbError> {
        sqlx::query(
            "INSERT INTO sessions (token_sha256, user, created_at, used_at) VALUES (?, ?, ?, ?)",
        )
        .bind(token_sha256.as_slice())
        .bind(user.id.to_string())
        .bind(now_ms)
        .bind(now_ms)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The session with this token's hash.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn session(&self, token_sha256: &[u8; 32]) -> Result<Option<StoredSession>, DbError> {
        let row =
            sqlx::query("SELECT user, created_at, used_at FROM sessions WHERE token_sha256 = ?")
                .bind(token_sha256.as_slice())
                .fetch_optional(&self.pool)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let Some(user) = self.user(parsed(&row, "user")?).await? else { return Ok(None) };
        Ok(Some(StoredSession {
            user,
            created_ms: row.try_get("created_at")?,
            used_ms: row.try_get("used_at")?,
        }))
    }

    /// Notes that a session was used.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn touch_session(&self, token_sha256: &[u8; 32], now_ms: i64) -> Result<(), DbError> {
        sqlx::query("UPDATE sessions SET used_at = ? WHERE token_sha256 = ?")
            .bind(now_ms)
            .bind(token_sha256.as_slice())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn delete_session(&self, token_sha256: &[u8; 32]) -> Result<(), DbError> {
        sqlx::query("DELETE FROM sessions WHERE token_sha256 = ?")
            .bind(token_sha256.as_slice())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets the sessions that began or were last used before these times.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn delete_old_sessions(
        &self,
        created_before_ms: i64,
        used_before_ms: i64,
    ) -> Result<(), DbError> {
        sqlx::query("DELETE FROM sessions WHERE created_at < ? OR used_at < ?")
            .bind(created_before_ms)
            .bind(used_before_ms)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
