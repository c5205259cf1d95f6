//! Second factors, recovery codes, password changes, and what a person is told about the account.

use sqlx::Row;
use temoin_proto::ids::UserId;

use super::{Db, DbError, parsed};
use crate::sessions::Notice;

/// A second factor as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFactor {
    /// The sealed secret.
    pub sealed: Vec<u8>,
    /// The time step of the last code that counted.
    pub last_step: i64,
    /// When it was set up.
    pub set_ms: i64,
    /// How many recovery codes are left.
    pub codes_left: i64,
}

impl Db {
    /// Somebody's second factor.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn second_factor(&self, user: UserId) -> Result<Option<StoredFactor>, DbError> {
        let row = sqlx::query(
            "SELECT f.*, (SELECT count(*) FROM recovery_codes c WHERE c.user = f.user) AS codes_left
             FROM second_factors f WHERE f.user = ?",
        )
        .bind(user.to_string())
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            Ok(StoredFactor {
                sealed: row.try_get("secret")?,
                last_step: row.try_get("last_step")?,
                set_ms: row.try_get("set_at")?,
                codes_left: row.try_get("codes_left")?,
            })
        })
        .transpose()
    }

    /// Whether anybody has one.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn any_second_factor(&self) -> Result<bool, DbError> {
        let row = sqlx::query("SELECT EXISTS (SELECT 1 FROM second_factors) AS any_factor")
            .fetch_one(&self.pool)
            .await?;
        Ok(row.try_get("any_factor")?)
    }

    /// Stores somebody's second factor with its recovery codes. False where there is one.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn add_second_factor(
        &self,
        user: UserId,
        sealed: &[u8],
        last_step: i64,
        codes: &[[u8; 32]],
        now_ms: i64,
    ) -> Result<bool, DbError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let done = sqlx::query(
            "INSERT INTO second_factors (user, secret, last_step, set_at)
             VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(user.to_string())
        .bind(sealed)
        .bind(last_step)
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        put_codes(&mut tx, user, codes).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// New recovery codes in place of all that are left.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn set_recovery_codes(
        &self,
        user: UserId,
        codes: &[[u8; 32]],
    ) -> Result<(), DbError> {
        let mut tx = self.pool.begin().await?;
        put_codes(&mut tx, user, codes).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes a code of this step; false where one of it or of a later one was taken before.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn take_step(&self, user: UserId, step: i64) -> Result<bool, DbError> {
        let done = sqlx::query(
            "UPDATE second_factors SET last_step = ?1 WHERE user = ?2 AND last_step < ?1",
        )
        .bind(step)
        .bind(user.to_string())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Takes a recovery code; false where there is none such.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn take_recovery_code(&self, user: UserId, code: &[u8; 32]) -> Result<bool, DbError> {
        let done = sqlx::query("DELETE FROM recovery_codes WHERE user = ? AND code_hmac = ?")
            .bind(user.to_string())
            .bind(code.as_slice())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes somebody's second factor with its codes. False where there is none.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn remove_second_factor(&self, user: UserId) -> Result<bool, DbError> {
        let mut tx = self.pool.begin().await?;
        put_codes(&mut tx, user, &[]).await?;
        let done = sqlx::query("DELETE FROM second_factors WHERE user = ?")
            .bind(user.to_string())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Replaces a password's argon2id hash.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn set_password(&self, user: UserId, hash: &str) -> Result<(), DbError> {
        sqlx::query("UPDATE users SET password_hash = ? WHERE id = ?")
            .bind(hash)
            .bind(user.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Keeps something for somebody to read.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn add_notice(
        &self,
        user: UserId,
        notice: Notice,
        now_ms: i64,
    ) -> Result<(), DbError> {
        sqlx::query("INSERT INTO notices (user, at, what) VALUES (?, ?, ?)")
            .bind(user.to_string())
            .bind(now_ms)
            .bind(notice.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// What somebody has not read yet, the newest first, with its time.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn notices(&self, user: UserId) -> Result<Vec<(i64, Notice)>, DbError> {
        let rows = sqlx::query("SELECT at, what FROM notices WHERE user = ? ORDER BY id DESC")
            .bind(user.to_string())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok((row.try_get("at")?, parsed(row, "what")?))).collect()
    }

    /// Forgets what somebody has read, up to this time.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn delete_notices(&self, user: UserId, until_ms: i64) -> Result<(), DbError> {
        sqlx::query("DELETE FROM notices WHERE user = ? AND at <= ?")
            .bind(user.to_string())
            .bind(until_ms)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

async fn put_codes(
    tx: &mut sqlx::Transaction<'_, sqlx::Sqlite>,
    user: UserId,
    codes: &[[u8; 32]],
) -> Result<(), DbError> {
    sqlx::query("DELETE FROM recovery_codes WHERE user = ?")
        .bind(user.to_string())
        .execute(&mut **tx)
        .await?;
    for code in codes {
        sqlx::query("INSERT INTO recovery_codes (user, code_hmac) VALUES (?, ?)")
            .bind(user.to_string())
            .bind(code.as_slice())
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}
