//! Sessions of signed-in people, and the tokens by which browsers hold them. Only the SHA-256 of
//! each token is kept.
//!
//! ```text
//! token: offered ──► seen ──► replaced      (seen_at, replaced_at)
//! ```
//! A token that was offered counts like the one before it, until the browser sends it: an answer
//! that gets lost on the way costs nobody their session.

use sqlx::{Row, sqlite::SqliteRow};
use temoin_proto::ids::UserId;

use super::{Db, DbError, parsed, users::User};
use crate::sessions::{SessionId, Stage};

/// A session as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// Its id, which stays when the token changes.
    pub id: SessionId,
    /// Whose.
    pub user: User,
    /// How far the sign-in has come.
    pub stage: Stage,
    /// When it began.
    pub created_ms: i64,
    /// When it was last used.
    pub used_ms: i64,
    /// When the person last gave password or code.
    pub proved_ms: i64,
    /// When a token was last offered.
    pub offered_ms: i64,
    /// SHA-256 of the browser's name for itself.
    pub agent_sha256: Vec<u8>,
    /// The browser in words.
    pub browser: String,
    /// The browser's public key, where it has one.
    pub public_key: Option<Vec<u8>>,
    /// A sealed TOTP secret that waits for its first code.
    pub pending_secret: Option<Vec<u8>>,
}

/// A token as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredToken {
    /// Its session.
    pub session: SessionId,
    /// When the browser first sent it.
    pub seen_ms: Option<i64>,
    /// When the browser first sent a later one.
    pub replaced_ms: Option<i64>,
}

/// 32 bytes out of a column.
fn bytes32(row: &SqliteRow, column: &'static str) -> Result<[u8; 32], DbError> {
    let bytes: Vec<u8> = row.try_get(column)?;
    bytes
        .as_slice()
        .try_into()
        .map_err(|_| DbError::Content { column, value: format!("{} bytes", bytes.len()) })
}

impl Db {
    async fn stored_session(&self, row: &SqliteRow) -> Result<Option<StoredSession>, DbError> {
        let Some(user) = self.user(parsed(row, "user")?).await? else { return Ok(None) };
        Ok(Some(StoredSession {
            id: bytes32(row, "id")?,
            user,
            stage: parsed(row, "stage")?,
            created_ms: row.try_get("created_at")?,
            used_ms: row.try_get("used_at")?,
            proved_ms: row.try_get("proved_at")?,
            offered_ms: row.try_get("offered_at")?,
            agent_sha256: row.try_get("agent_sha256")?,
            browser: row.try_get("browser")?,
            public_key: row.try_get("public_key")?,
            pending_secret: row.try_get("pending_secret")?,
        }))
    }

    /// Stores a new session with its first token.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn add_session(
        &self,
        session: &StoredSession,
        token_sha256: &[u8; 32],
    ) -> Result<(), DbError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO sessions
             (id, user, created_at, used_at, stage, proved_at, offered_at, agent_sha256, browser,
              public_key, pending_secret)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(session.id.as_slice())
        .bind(session.user.id.to_string())
        .bind(session.created_ms)
        .bind(session.used_ms)
        .bind(session.stage.as_str())
        .bind(session.proved_ms)
        .bind(session.offered_ms)
        .bind(&session.agent_sha256)
        .bind(&session.browser)
        .bind(&session.public_key)
        .bind(&session.pending_secret)
        .execute(&mut *tx)
        .await?;
        sqlx::query("INSERT INTO session_tokens (token_sha256, session) VALUES (?, ?)")
            .bind(token_sha256.as_slice())
            .bind(session.id.as_slice())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The session with this id.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn session(&self, id: &SessionId) -> Result<Option<StoredSession>, DbError> {
        let row = sqlx::query("SELECT * FROM sessions WHERE id = ?")
            .bind(id.as_slice())
            .fetch_optional(&self.pool)
            .await?;
        match row {
            Some(row) => self.stored_session(&row).await,
            None => Ok(None),
        }
    }

    /// Somebody's sessions, the newest first.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn sessions_of(&self, user: UserId) -> Result<Vec<StoredSession>, DbError> {
        let rows = sqlx::query("SELECT * FROM sessions WHERE user = ? ORDER BY used_at DESC, id")
            .bind(user.to_string())
            .fetch_all(&self.pool)
            .await?;
        let mut sessions = Vec::with_capacity(rows.len());
        for row in &rows {
            sessions.extend(self.stored_session(row).await?);
        }
        Ok(sessions)
    }

    /// The token with this hash.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn session_token(
        &self,
        token_sha256: &[u8; 32],
    ) -> Result<Option<StoredToken>, DbError> {
        let row = sqlx::query(
            "SELECT session, seen_at, replaced_at FROM session_tokens WHERE token_sha256 = ?",
        )
        .bind(token_sha256.as_slice())
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            Ok(StoredToken {
                session: bytes32(&row, "session")?,
                seen_ms: row.try_get("seen_at")?,
                replaced_ms: row.try_get("replaced_at")?,
            })
        })
        .transpose()
    }

    /// The browser has sent this token for the first time: all others of its session are replaced.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn see_token(
        &self,
        session: &SessionId,
        token_sha256: &[u8; 32],
        now_ms: i64,
    ) -> Result<(), DbError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let seen = sqlx::query(
            "UPDATE session_tokens SET seen_at = ?
             WHERE token_sha256 = ? AND seen_at IS NULL AND replaced_at IS NULL",
        )
        .bind(now_ms)
        .bind(token_sha256.as_slice())
        .execute(&mut *tx)
        .await?;
        if seen.rows_affected() > 0 {
            sqlx::query(
                "UPDATE session_tokens SET replaced_at = ?
                 WHERE session = ? AND token_sha256 <> ? AND replaced_at IS NULL",
            )
            .bind(now_ms)
            .bind(session.as_slice())
            .bind(token_sha256.as_slice())
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Offers a token, where none was offered since `offered_ms`; of requests at the same time one
    /// wins.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn offer_token(
        &self,
        session: &SessionId,
        token_sha256: &[u8; 32],
        offered_ms: i64,
        now_ms: i64,
    ) -> Result<bool, DbError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let won = sqlx::query("UPDATE sessions SET offered_at = ? WHERE id = ? AND offered_at = ?")
            .bind(now_ms)
            .bind(session.as_slice())
            .bind(offered_ms)
            .execute(&mut *tx)
            .await?;
        if won.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("INSERT INTO session_tokens (token_sha256, session) VALUES (?, ?)")
            .bind(token_sha256.as_slice())
            .bind(session.as_slice())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The person gave password or code: the session is at this stage, and a token is offered.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn prove_session(
        &self,
        session: &SessionId,
        stage: Stage,
        token_sha256: &[u8; 32],
        now_ms: i64,
    ) -> Result<(), DbError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "UPDATE sessions SET stage = ?, proved_at = ?, offered_at = ?, pending_secret = NULL
             WHERE id = ?",
        )
        .bind(stage.as_str())
        .bind(now_ms)
        .bind(now_ms)
        .bind(session.as_slice())
        .execute(&mut *tx)
        .await?;
        sqlx::query("INSERT INTO session_tokens (token_sha256, session) VALUES (?, ?)")
            .bind(token_sha256.as_slice())
            .bind(session.as_slice())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Puts a session back to a stage.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn set_stage(&self, session: &SessionId, stage: Stage) -> Result<(), DbError> {
        sqlx::query("UPDATE sessions SET stage = ?, pending_secret = NULL WHERE id = ?")
            .bind(stage.as_str())
            .bind(session.as_slice())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Keeps a sealed secret that waits for its first code.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn set_pending_secret(
        &self,
        session: &SessionId,
        sealed: &[u8],
    ) -> Result<(), DbError> {
        sqlx::query("UPDATE sessions SET pending_secret = ? WHERE id = ?")
            .bind(sealed)
            .bind(session.as_slice())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Notes that a session was used.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn touch_session(&self, session: &SessionId, now_ms: i64) -> Result<(), DbError> {
        sqlx::query("UPDATE sessions SET used_at = ? WHERE id = ?")
            .bind(now_ms)
            .bind(session.as_slice())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Ends a session. False where it has ended already.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn delete_session(&self, session: &SessionId) -> Result<bool, DbError> {
        let done = sqlx::query("DELETE FROM sessions WHERE id = ?")
            .bind(session.as_slice())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Ends all of somebody's sessions but one. Returns how many.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn delete_sessions_of(
        &self,
        user: UserId,
        but: Option<&SessionId>,
    ) -> Result<u64, DbError> {
        let done = sqlx::query("DELETE FROM sessions WHERE user = ?1 AND (?2 IS NULL OR id <> ?2)")
            .bind(user.to_string())
            .bind(but.map(<[u8; 32]>::as_slice))
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
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
