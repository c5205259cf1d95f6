//! Objections of drivers to their events, and the answers.
//!
//! INVARIANT: an event has one objection and that one answer: what was written is never changed.

use sqlx::{Row, sqlite::SqliteRow};
use temoin_proto::ids::{EventId, UserId};

use super::{Db, DbError, parsed};
use crate::score::ContestState;

/// An objection as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contest {
    /// The event.
    pub event: EventId,
    /// What the driver says.
    pub words: String,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// What became of it.
    pub answer: Option<Answer>,
}

/// The answer to an objection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether the event stands.
    pub upheld: bool,
    /// Why.
    pub reason: String,
    /// Who answered.
    pub by: String,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
}

impl Contest {
    /// Where it stands.
    pub fn state(&self) -> ContestState {
        match &self.answer {
            None => ContestState::Open,
            Some(answer) if answer.upheld => ContestState::Upheld,
            Some(_) => ContestState::Overturned,
        }
    }
}

/// Where the objection of a row of events with `contested` and `answer` stands.
pub(super) fn state(row: &SqliteRow) -> Result<Option<ContestState>, DbError> {
    let contested: bool = row.try_get("contested")?;
    let answer: Option<String> = row.try_get("answer")?;
    Ok(contested.then_some(match answer.as_deref() {
        None => ContestState::Open,
        Some(UPHELD) => ContestState::Upheld,
        Some(_) => ContestState::Overturned,
    }))
}

fn contest(row: &SqliteRow) -> Result<Contest, DbError> {
    let answer: Option<String> = row.try_get("answer")?;
    let answer = match answer {
        None => None,
        Some(answer) => Some(Answer {
            upheld: answer == UPHELD,
            reason: row.try_get::<Option<String>, _>("reason")?.unwrap_or_default(),
            by: row.try_get("answered_by_name")?,
            at_ms: row.try_get::<Option<i64>, _>("answered_at")?.unwrap_or_default(),
        }),
    };
    Ok(Contest {
        event: parsed(row, "event")?,
        words: row.try_get("words")?,
        at_ms: row.try_get("at")?,
        answer,
    })
}

/// The answer that the event stands.
const UPHELD: &str = "upheld";

const SELECT: &str = "
    SELECT c.*, a.name AS answered_by_name
    FROM contests c LEFT JOIN users a ON a.id = c.answered_by";

impl Db {
    /// Stores an objection. False where there is one already.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn add_contest(
        &self,
        event: EventId,
        driver: UserId,
        words: &str,
        now_ms: i64,
    ) -> Result<bool, DbError> {
        let added = sqlx::query(
            "INSERT INTO contests (event, driver, words, at) VALUES (?, ?, ?, ?)
             ON CONFLICT (event) DO NOTHING",
        )
        .bind(event.to_string())
        .bind(driver.to_string())
        .bind(words)
        .bind(now_ms)
        .execute(&self.pool)
        .await?;
        Ok(added.rows_affected() == 1)
    }

    /// Stores the answer. False where there is no objection that waits for one.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn answer_contest(
        &self,
        event: EventId,
        upheld: bool,
        reason: &str,
        by: UserId,
        now_ms: i64,
    ) -> Result<bool, DbError> {
        let answered = sqlx::query(
            "UPDATE contests SET answer = ?, reason = ?, answered_by = ?, answered_at = ?
             WHERE event = ? AND answer IS NULL",
        )
        .bind(if upheld { UPHELD } else { "overturned" })
        .bind(reason)
        .bind(by.to_string())
        .bind(now_ms)
        .bind(event.to_string())
        .execute(&self.pool)
        .await?;
        Ok(answered.rows_affected() == 1)
    }

    /// The objection to this event.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn contest(&self, event: EventId) -> Result<Option<Contest>, DbError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} WHERE c.event = ?")))
            .bind(event.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(contest).transpose()
    }

    /// The events whose objections wait for an answer, the oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn open_contests(&self, limit: u32) -> Result<Vec<Contest>, DbError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT} WHERE c.answer IS NULL ORDER BY c.at LIMIT ?"
        )))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(contest).collect()
    }
}
