//! Views: who looked at which clip, when and why. Each row follows an entry of the access log.

use sqlx::{Row, sqlite::SqliteRow};
use temoin_proto::{
    ids::{ClipId, EventId, UnitId, UserId, ViewId},
    sealed::TrackName,
};

use super::{Db, DbError, parsed, parsed_opt, unsigned};
use crate::authz::{Purpose, Role};

/// A view as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredView {
    /// Its id.
    pub id: ViewId,
    /// The index of its entry in the access log.
    pub log_index: u64,
    /// The clip.
    pub clip: ClipId,
    /// The event through which it was opened.
    pub event: EventId,
    /// Who looks.
    pub user: UserId,
    /// SHA-256 of the session's token; none where the row was made again from the log.
    pub session: Option<Vec<u8>>,
    /// Why.
    pub purpose: Purpose,
    /// When it was opened, milliseconds since 1970.
    pub opened_ms: i64,
}

/// A view with the names around it, as lists need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewRow {
    /// The view.
    pub view: StoredView,
    /// The viewer's name.
    pub user_name: String,
    /// What the viewer is in the fleet.
    pub user_role: Role,
    /// The unit.
    pub unit: UnitId,
    /// Who drove.
    pub driver: Option<UserId>,
    /// The driver's name.
    pub driver_name: Option<String>,
    /// The tracks whose stream was begun.
    pub streamed: Vec<TrackName>,
}

/// Which views to read. It narrows the work only: the decision is made on every row.
#[derive(Debug, Clone, Default)]
pub struct ViewScope {
    /// Only of this clip.
    pub clip: Option<ClipId>,
    /// Only by this person.
    pub user: Option<UserId>,
    /// Only of clips of this driver.
    pub driver: Option<UserId>,
    /// Only entries with a lower index.
    pub before_index: Option<u64>,
}

const SELECT: &str = "
    SELECT v.*, a.name AS user_name, a.role AS user_role, e.unit,
           w.id AS driver, w.name AS driver_name
    FROM views v
    JOIN users a ON a.id = v.user
    JOIN events e ON e.id = v.event
    LEFT JOIN shifts s ON s.unit = e.unit AND s.from_at <= e.start_at AND e.start_at < s.to_at
    LEFT JOIN users w ON w.id = s.driver";

fn stored(row: &SqliteRow) -> Result<StoredView, DbError> {
    Ok(StoredView {
        id: parsed(row, "id")?,
        log_index: unsigned(row, "log_index")?,
        clip: parsed(row, "clip")?,
        event: parsed(row, "event")?,
        user: parsed(row, "user")?,
        session: row.try_get("session")?,
        purpose: parsed(row, "purpose")?,
        opened_ms: row.try_get("opened_at")?,
    })
}

fn view_row(row: &SqliteRow) -> Result<ViewRow, DbError> {
    let streamed: String = row.try_get("streamed")?;
    Ok(ViewRow {
        view: stored(row)?,
        user_name: row.try_get("user_name")?,
        user_role: parsed(row, "user_role")?,
        unit: parsed(row, "unit")?,
        driver: parsed_opt(row, "driver")?,
        driver_name: row.try_get("driver_name")?,
        streamed: streamed.split(' ').filter_map(TrackName::from_name).collect(),
    })
}

impl Db {
    /// Stores a view whose log entry is durable. The same index again changes nothing.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn add_view(&self, view: &StoredView) -> Result<(), DbError> {
        sqlx::query(
            "INSERT INTO views (id, log_index, clip, event, user, session, purpose, opened_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(view.id.to_string())
        .bind(super::signed(view.log_index))
        .bind(view.clip.to_string())
        .bind(view.event.to_string())
        .bind(view.user.to_string())
        .bind(&view.session)
        .bind(view.purpose.as_str())
        .bind(view.opened_ms)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The view with this id.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn view(&self, id: ViewId) -> Result<Option<StoredView>, DbError> {
        let row = sqlx::query("SELECT * FROM views WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(stored).transpose()
    }

    /// Notes that a track's stream was begun.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn note_streamed(&self, id: ViewId, track: TrackName) -> Result<(), DbError> {
        sqlx::query(
            "UPDATE views SET streamed = trim(streamed || ' ' || ?1)
             WHERE id = ?2 AND instr(streamed, ?1) = 0",
        )
        .bind(track.as_str())
        .bind(id.to_string())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// At most `limit` views within the scope, the newest first.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn views(&self, scope: &ViewScope, limit: u32) -> Result<Vec<ViewRow>, DbError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT}
             WHERE (?1 IS NULL OR v.clip = ?1) AND (?2 IS NULL OR v.user = ?2)
               AND (?3 IS NULL OR s.driver = ?3) AND (?4 IS NULL OR v.log_index < ?4)
             ORDER BY v.log_index DESC LIMIT ?5"
        )))
        .bind(scope.clip.map(|c| c.to_string()))
        .bind(scope.user.map(|u| u.to_string()))
        .bind(scope.driver.map(|d| d.to_string()))
        .bind(scope.before_index.map(super::signed))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(view_row).collect()
    }

    /// The first index of the access log that has no row here yet.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn next_view_index(&self) -> Result<u64, DbError> {
        let row = sqlx::query("SELECT coalesce(max(log_index) + 1, 0) AS next FROM views")
            .fetch_one(&self.pool)
            .await?;
        unsigned(&row, "next")
    }
}
