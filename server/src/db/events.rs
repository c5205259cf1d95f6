//! Events, as reported and as read with their unit, driver and clip.

use sqlx::{Row, sqlite::SqliteRow};
use temoin_proto::{
    convert::EventRecord,
    events::{EventKind, Number, Severity},
    ids::{ClipId, EventId, UnitId, UserId},
    time::WallTime,
};

use super::{Db, DbError, contests, parsed, parsed_opt, signed, unsigned};
use crate::score::ContestState;

/// The driver who was on shift when an event began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDriver {
    /// The account.
    pub id: UserId,
    /// The person's name.
    pub name: String,
    /// Their safety manager, where one is named.
    pub manager: Option<UserId>,
    /// Their depot.
    pub depot: Option<String>,
}

/// Where an event's clip is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClipState {
    /// There is none and there will be none, for this reason.
    Absent(String),
    /// On its way from the unit.
    Waiting,
    /// Complete, verified and durable.
    Ready {
        /// The clip.
        clip: ClipId,
        /// How long it is.
        duration_ms: u64,
    },
}

/// An event with what is known around it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// As the unit reported it.
    pub record: EventRecord,
    /// The unit.
    pub unit: UnitId,
    /// The unit's depot.
    pub depot: String,
    /// The depot's name.
    pub depot_name: String,
    /// Who drove, where a shift says so.
    pub driver: Option<EventDriver>,
    /// Its clip.
    pub clip: ClipState,
    /// Where the driver's objection stands; none where there is no objection.
    pub contest: Option<ContestState>,
    /// When the server stored it, milliseconds since 1970.
    pub received_ms: i64,
}

/// Which events to read. It narrows the work only: the decision is made on every row.
#[derive(Debug, Clone, Default)]
pub struct EventScope {
    /// Only of this driver.
    pub driver: Option<UserId>,
    /// Only of this depot.
    pub depot: Option<String>,
    /// Only of drivers of this safety manager: named so, or of the manager's depot with none named.
    pub manager: Option<(UserId, Option<String>)>,
    /// Only of this kind.
    pub kind: Option<EventKind>,
    /// Only those that began before, milliseconds since 1970.
    pub before_ms: Option<i64>,
    /// Only those that began at this time or later, milliseconds since 1970.
    pub since_ms: Option<i64>,
}

/// What reporting an event came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// Stored now.
    New,
    /// The same unit had reported it before.
    Known,
    /// Another unit has an event with this id.
    OfAnotherUnit,
}

const SELECT: &str = "
    SELECT e.*, u.depot, d.name AS depot_name,
           v.id AS driver, v.name AS driver_name, v.manager AS driver_manager, v.depot AS driver_depot,
           c.id AS ready_clip, c.duration_ms, o.event IS NOT NULL AS contested, o.answer
    FROM events e
    JOIN units u ON u.id = e.unit
    JOIN depots d ON d.id = u.depot
    LEFT JOIN shifts s ON s.unit = e.unit AND s.from_at <= e.start_at AND e.start_at < s.to_at
    LEFT JOIN users v ON v.id = s.driver
    LEFT JOIN contests o ON o.event = e.id
    LEFT JOIN clips c ON c.id = e.clip AND c.unit = e.unit AND c.complete_at IS NOT NULL";

fn stored(row: &SqliteRow) -> Result<StoredEvent, DbError> {
    let severity: String = row.try_get("severity")?;
    let severity = [Severity::Low, Severity::Medium, Severity::High]
        .into_iter()
        .find(|s| s.as_str() == severity)
        .ok_or(DbError::Content { column: "severity", value: severity })?;
    let numbers: String = row.try_get("numbers")?;
    let numbers: Vec<Number> = serde_json::from_str(&numbers)
        .map_err(|_| DbError::Content { column: "numbers", value: numbers })?;
    let clip: Option<ClipId> = parsed_opt(row, "clip")?;
    let absent: String = row.try_get("clip_absent_because")?;
    let ready: Option<ClipId> = parsed_opt(row, "ready_clip")?;
    let driver = match parsed_opt(row, "driver")? {
        Some(id) => Some(EventDriver {
            id,
            name: row.try_get("driver_name")?,
            manager: parsed_opt(row, "driver_manager")?,
            depot: row.try_get("driver_depot")?,
        }),
        None => None,
    };
    Ok(StoredEvent {
        unit: parsed(row, "unit")?,
        depot: row.try_get("depot")?,
        depot_name: row.try_get("depot_name")?,
        driver,
        clip: match (clip, ready) {
            (_, Some(clip)) => {
                ClipState::Ready { clip, duration_ms: unsigned(row, "duration_ms")? }
            }
            (Some(_), None) if absent.is_empty() => ClipState::Waiting,
            (Some(_) | None, None) => ClipState::Absent(absent.clone()),
        },
        contest: contests::state(row)?,
        received_ms: row.try_get("received_at")?,
        record: EventRecord {
            id: parsed(row, "id")?,
            kind: parsed(row, "kind")?,
            start: WallTime {
                unix_ms: row.try_get("start_at")?,
                uncertainty_ms: unsigned(row, "wall_uncertainty_ms")?,
            },
            end_unix_ms: row.try_get("end_at")?,
            severity,
            confidence: row.try_get("confidence")?,
            rule: row.try_get("rule")?,
            numbers,
            clip: clip.ok_or(absent),
        },
    })
}

impl Db {
    /// Stores an event of a unit. The same event again changes nothing.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn report_event(
        &self,
        unit: &UnitId,
        event: &EventRecord,
        now_ms: i64,
    ) -> Result<Reported, DbError> {
        let numbers = serde_json::to_string(&event.numbers)
            .map_err(|e| DbError::Content { column: "numbers", value: e.to_string() })?;
        let inserted = sqlx::query(
            "INSERT INTO events
             (id, unit, kind, start_at, wall_uncertainty_ms, end_at, severity, confidence, rule,
              numbers, clip, clip_absent_because, received_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        )
        .bind(event.id.to_string())
        .bind(unit.as_str())
        .bind(event.kind.as_str())
        .bind(event.start.unix_ms)
        .bind(signed(event.start.uncertainty_ms))
        .bind(event.end_unix_ms)
        .bind(event.severity.as_str())
        .bind(event.confidence)
        .bind(&event.rule)
        .bind(numbers)
        .bind(event.clip.as_ref().ok().map(ToString::to_string))
        .bind(event.clip.as_ref().err().map_or("", String::as_str))
        .bind(now_ms)
        .execute(&self.pool)
        .await?;
        if inserted.rows_affected() == 1 {
            return Ok(Reported::New);
        }
        let row = sqlx::query("SELECT unit FROM events WHERE id = ?")
            .bind(event.id.to_string())
            .fetch_one(&self.pool)
            .await?;
        if row.try_get::<String, _>("unit")? == unit.as_str() {
            Ok(Reported::Known)
        } else {
            Ok(Reported::OfAnotherUnit)
        }
    }

    /// Notes that a clip of this unit will never come. A complete one has come, and stays. False
    /// where no event of the unit names it.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn lose_clip(
        &self,
        unit: &UnitId,
        clip: ClipId,
        reason: &str,
    ) -> Result<bool, DbError> {
        let named =
            sqlx::query("UPDATE events SET clip_absent_because = ?3 WHERE unit = ?1 AND clip = ?2")
                .bind(unit.as_str())
                .bind(clip.to_string())
                .bind(reason)
                .execute(&self.pool)
                .await?;
        Ok(named.rows_affected() > 0)
    }

    /// The event with this id.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn event(&self, id: EventId) -> Result<Option<StoredEvent>, DbError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} WHERE e.id = ?")))
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(stored).transpose()
    }

    /// At most `limit` events within the scope, the newest first.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn events(
        &self,
        scope: &EventScope,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, DbError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT}
             WHERE (?1 IS NULL OR s.driver = ?1) AND (?2 IS NULL OR u.depot = ?2)
               AND (?3 IS NULL OR v.manager = ?3 OR (v.manager IS NULL AND v.depot = ?4))
               AND (?5 IS NULL OR e.kind = ?5) AND (?6 IS NULL OR e.start_at < ?6)
               AND (?8 IS NULL OR e.start_at >= ?8)
             ORDER BY e.start_at DESC, e.id DESC LIMIT ?7"
        )))
        .bind(scope.driver.map(|d| d.to_string()))
        .bind(&scope.depot)
        .bind(scope.manager.as_ref().map(|(manager, _)| manager.to_string()))
        .bind(scope.manager.as_ref().and_then(|(_, depot)| depot.as_deref()))
        .bind(scope.kind.map(EventKind::as_str))
        .bind(scope.before_ms)
        .bind(i64::from(limit))
        .bind(scope.since_ms)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(stored).collect()
    }
}
