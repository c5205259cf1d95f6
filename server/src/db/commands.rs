//! Orders to units: kept until the unit says what came of them.

use prost::Message as _;
use sqlx::Row;
use temoin_proto::{
    ids::{CommandId, UnitId, UserId},
    wire,
};

use super::{Db, DbError, missing_or, parsed};

/// An order as the portal shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRow {
    /// Its id.
    pub id: CommandId,
    /// What was ordered, in words.
    pub words: String,
    /// When, milliseconds since 1970.
    pub created_ms: i64,
    /// When the unit answered.
    pub done_ms: Option<i64>,
    /// Whether the unit did it.
    pub done: Option<bool>,
    /// What the unit said.
    pub result: Option<String>,
}

impl Db {
    /// Stores an order.
    ///
    /// # Errors
    /// [`DbError::Missing`], [`DbError::Sql`].
    pub async fn add_command(
        &self,
        unit: &UnitId,
        id: CommandId,
        command: &wire::Command,
        words: &str,
        user: UserId,
        now_ms: i64,
    ) -> Result<(), DbError> {
        sqlx::query(
            "INSERT INTO commands (id, unit, command, words, user, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(id.to_string())
        .bind(unit.as_str())
        .bind(command.encode_to_vec())
        .bind(words)
        .bind(user.to_string())
        .bind(now_ms)
        .execute(&self.pool)
        .await
        .map_err(|e| missing_or(e, "unit", unit.as_str()))?;
        Ok(())
    }

    /// The orders that a unit has not answered yet, the oldest first.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn open_commands(&self, unit: &UnitId) -> Result<Vec<wire::Command>, DbError> {
        let rows = sqlx::query(
            "SELECT command FROM commands WHERE unit = ? AND done_at IS NULL
             ORDER BY created_at, id LIMIT 32",
        )
        .bind(unit.as_str())
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let bytes: Vec<u8> = row.try_get("command")?;
                wire::Command::decode(bytes.as_slice())
                    .map_err(|e| DbError::Content { column: "command", value: e.to_string() })
            })
            .collect()
    }

    /// Notes what a unit says about an order of its own. Only the first word counts.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn command_result(
        &self,
        unit: &UnitId,
        id: CommandId,
        done: bool,
        text: &str,
        now_ms: i64,
    ) -> Result<(), DbError> {
        sqlx::query(
            "UPDATE commands SET done_at = ?, done = ?, result = ?
             WHERE id = ? AND unit = ? AND done_at IS NULL",
        )
        .bind(now_ms)
        .bind(done)
        .bind(text)
        .bind(id.to_string())
        .bind(unit.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The latest orders to a unit, the newest first.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn commands(&self, unit: &UnitId, limit: u32) -> Result<Vec<CommandRow>, DbError> {
        let rows = sqlx::query(
            "SELECT * FROM commands WHERE unit = ? ORDER BY created_at DESC, id DESC LIMIT ?",
        )
        .bind(unit.as_str())
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(CommandRow {
                    id: parsed(row, "id")?,
                    words: row.try_get("words")?,
                    created_ms: row.try_get("created_at")?,
                    done_ms: row.try_get("done_at")?,
                    done: row.try_get("done")?,
                    result: row.try_get("result")?,
                })
            })
            .collect()
    }
}
