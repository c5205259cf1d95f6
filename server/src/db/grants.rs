//! Grants as stored. What is live is computed from the times: see [`crate::grants`].

use sqlx::{Row, sqlite::SqliteRow};
use temoin_proto::ids::{EventId, GrantId, UserId};

use super::{Db, DbError, parsed, parsed_opt};
use crate::{
    authz::{GrantKind, Role},
    grants::{Decision, Grant, Scope},
};

/// A grant with the names around it, as lists need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    /// The grant.
    pub grant: Grant,
    /// The name of who asked.
    pub asker_name: String,
    /// What they are in the fleet.
    pub asker_role: Role,
    /// Their depot.
    pub asker_depot: Option<String>,
    /// The name of the second person.
    pub decided_by: Option<String>,
    /// Whom the event that it is for concerns: who drove.
    pub driver: Option<UserId>,
}

const SELECT: &str = "
    SELECT g.*, a.name AS asker_name, a.role AS asker_role, a.depot AS asker_depot,
           b.name AS decided_by_name, coalesce(g.driver, s.driver) AS concerns
    FROM grants g
    JOIN users a ON a.id = g.asker
    LEFT JOIN users b ON b.id = g.decided_by
    LEFT JOIN events e ON e.id = g.event
    LEFT JOIN shifts s ON s.unit = e.unit AND s.from_at <= e.start_at AND e.start_at < s.to_at";

fn scope(row: &SqliteRow) -> Result<Scope, DbError> {
    let (from_ms, to_ms): (Option<i64>, Option<i64>) =
        (row.try_get("from_at")?, row.try_get("to_at")?);
    let unit = parsed_opt(row, "unit")?;
    Ok(match (parsed_opt(row, "event")?, unit, from_ms.zip(to_ms)) {
        (Some(event), _, _) => Scope::Event(event),
        (None, unit, Some((from_ms, to_ms))) => {
            Scope::Span { unit, driver: parsed_opt(row, "driver")?, from_ms, to_ms }
        }
        (None, Some(unit), None) => Scope::Unit(unit),
        (None, None, None) if parsed::<GrantKind>(row, "kind")? == GrantKind::Trace => Scope::Fleet,
        (None, None, None) => {
            return Err(DbError::Content { column: "event", value: "no scope".to_owned() });
        }
    })
}

fn grant(row: &SqliteRow) -> Result<Grant, DbError> {
    let decision: Option<String> = row.try_get("decision")?;
    let decided_at: Option<i64> = row.try_get("decided_at")?;
    Ok(Grant {
        id: parsed(row, "id")?,
        kind: parsed(row, "kind")?,
        asker: parsed(row, "asker")?,
        purpose: parsed(row, "purpose")?,
        number: row.try_get("number")?,
        words: row.try_get("words")?,
        scope: scope(row)?,
        asked_ms: row.try_get("asked_at")?,
        decide_by_ms: row.try_get("decide_by")?,
        holds_ms: row.try_get("holds_ms")?,
        decision: match decision.zip(decided_at) {
            None => None,
            Some((decision, at_ms)) => Some(Decision {
                granted: decision == "granted",
                by: parsed_opt(row, "decided_by")?,
                at_ms,
                reason: row.try_get("reason")?,
            }),
        },
        ended_ms: row.try_get("ended_at")?,
    })
}

fn grant_row(row: &SqliteRow) -> Result<GrantRow, DbError> {
    Ok(GrantRow {
        grant: grant(row)?,
        asker_name: row.try_get("asker_name")?,
        asker_role: parsed(row, "asker_role")?,
        asker_depot: row.try_get("asker_depot")?,
        decided_by: row.try_get("decided_by_name")?,
        driver: parsed_opt(row, "concerns")?,
    })
}

impl Db {
    /// Stores a grant that was asked for, with its decision where it needs no second person.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn add_grant(&self, grant: &Grant) -> Result<(), DbError> {
        let (event, unit, driver, span) = match &grant.scope {
            Scope::Event(event) => (Some(event.to_string()), None, None, None),
            Scope::Unit(unit) => (None, Some(unit.to_string()), None, None),
            Scope::Fleet => (None, None, None, None),
            Scope::Span { unit, driver, from_ms, to_ms } => (
                None,
                unit.as_ref().map(ToString::to_string),
                driver.map(|d| d.to_string()),
                Some((*from_ms, *to_ms)),
            ),
        };
        let decision = grant.decision.as_ref();
        sqlx::query(
            "INSERT INTO grants
             (id, kind, asker, purpose, number, words, event, unit, driver, from_at, to_at,
              asked_at, decide_by, holds_ms, decision, decided_by, decided_at, reason)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(grant.id.to_string())
        .bind(grant.kind.as_str())
        .bind(grant.asker.to_string())
        .bind(grant.purpose.as_str())
        .bind(&grant.number)
        .bind(&grant.words)
        .bind(event)
        .bind(unit)
        .bind(driver)
        .bind(span.map(|s| s.0))
        .bind(span.map(|s| s.1))
        .bind(grant.asked_ms)
        .bind(grant.decide_by_ms)
        .bind(grant.holds_ms)
        .bind(decision.map(|d| word(d.granted)))
        .bind(decision.and_then(|d| d.by).map(|by| by.to_string()))
        .bind(decision.map(|d| d.at_ms))
        .bind(decision.map_or("", |d| d.reason.as_str()))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Stores a decision. False where the grant does not wait for one any more.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn decide_grant(&self, id: GrantId, decision: &Decision) -> Result<bool, DbError> {
        let decided = sqlx::query(
            "UPDATE grants SET decision = ?1, decided_by = ?2, decided_at = ?3, reason = ?4
             WHERE id = ?5 AND decision IS NULL AND ended_at IS NULL AND ?3 < decide_by",
        )
        .bind(word(decision.granted))
        .bind(decision.by.map(|by| by.to_string()))
        .bind(decision.at_ms)
        .bind(&decision.reason)
        .bind(id.to_string())
        .execute(&self.pool)
        .await?;
        Ok(decided.rows_affected() == 1)
    }

    /// Ends a grant. False where it has ended already.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn end_grant(&self, id: GrantId, now_ms: i64) -> Result<bool, DbError> {
        let ended = sqlx::query("UPDATE grants SET ended_at = ? WHERE id = ? AND ended_at IS NULL")
            .bind(now_ms)
            .bind(id.to_string())
            .execute(&self.pool)
            .await?;
        Ok(ended.rows_affected() == 1)
    }

    /// One grant.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn grant(&self, id: GrantId) -> Result<Option<GrantRow>, DbError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} WHERE g.id = ?")))
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(grant_row).transpose()
    }

    /// What somebody was granted and may still hold: decided within the longest time that a grant
    /// holds before `now_ms`.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn held_grants(&self, who: UserId, now_ms: i64) -> Result<Vec<Grant>, DbError> {
        let rows = sqlx::query(
            "SELECT * FROM grants
             WHERE asker = ? AND decision = 'granted' AND ended_at IS NULL
               AND decided_at + holds_ms > ?",
        )
        .bind(who.to_string())
        .bind(now_ms)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(grant).collect()
    }

    /// The newest grants that were asked for, at most `limit`; with an event only those for it. The
    /// decision is made on every row.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn grants(
        &self,
        event: Option<EventId>,
        limit: u32,
    ) -> Result<Vec<GrantRow>, DbError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT} WHERE (?1 IS NULL OR g.event = ?1)
             ORDER BY g.asked_at DESC, g.id DESC LIMIT ?2"
        )))
        .bind(event.map(|id| id.to_string()))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(grant_row).collect()
    }
}

const fn word(granted: bool) -> &'static str {
    if granted { "granted" } else { "refused" }
}
