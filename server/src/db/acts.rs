//! Acts: the access log as people read it, one row for each entry.

use sqlx::{Row, sqlite::SqliteRow};
use temoin_access_log::Action;
use temoin_proto::{
    ids::{ClipId, EventId, GrantId, UnitId, UserId, ViewId},
    sealed::TrackName,
};

use super::{Db, DbError, parsed, parsed_opt, signed, unsigned};
use crate::authz::{GrantKind, Purpose, Role};

/// What somebody did, or the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// When, by the server's clock, milliseconds since 1970.
    pub at_ms: i64,
    /// What.
    pub action: Action,
    /// Who; none where the system did, or where nobody is known by the name that was given.
    pub actor: Option<UserId>,
    /// Whom it concerns: who drove, or whose account it is.
    pub driver: Option<UserId>,
    /// The event.
    pub event: Option<EventId>,
    /// Its clip.
    pub clip: Option<ClipId>,
    /// The viewing.
    pub view: Option<ViewId>,
    /// The grant.
    pub grant: Option<GrantId>,
    /// What for.
    pub purpose: Option<Purpose>,
}

impl Act {
    /// An act of somebody, or of the system, on nothing in particular.
    pub const fn new(action: Action, actor: Option<UserId>, at_ms: i64) -> Self {
        Self {
            at_ms,
            action,
            actor,
            driver: None,
            event: None,
            clip: None,
            view: None,
            grant: None,
            purpose: None,
        }
    }
}

/// How much of a camera was sent in a viewing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// The camera.
    pub track: TrackName,
    /// Length of the video that was sent, milliseconds.
    pub sent_ms: u64,
}

/// An act with the names around it, as lists need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActRow {
    /// Its entry's index in the access log.
    pub index: u64,
    /// The act.
    pub act: Act,
    /// Who did it: name and role.
    pub actor: Option<(String, Role)>,
    /// The driver's name.
    pub driver_name: Option<String>,
    /// The unit.
    pub unit: Option<UnitId>,
    /// What the grant is for.
    pub grant: Option<GrantKind>,
    /// The request's number; empty where there is none.
    pub number: String,
    /// What was watched in the viewing. Empty: opened, nothing watched.
    pub watched: Vec<Watched>,
}

/// Which acts to read. It narrows the work only: the decision is made on every row.
#[derive(Debug, Clone, Default)]
pub struct ActScope {
    /// Only about this clip.
    pub clip: Option<ClipId>,
    /// Only by this person, or concerning this person.
    pub concerned: Option<UserId>,
    /// Only viewings.
    pub views_only: bool,
    /// Only entries with a lower index.
    pub before_index: Option<u64>,
    /// Only entries with this index or a higher one.
    pub from_index: Option<u64>,
}

const SELECT: &str = "
    SELECT a.*, p.name AS actor_name, p.role AS actor_role, d.name AS driver_name,
           e.unit, g.kind AS grant_kind, coalesce(g.number, '') AS number,
           (SELECT group_concat(w.track || ':' || w.sent_ms, ' ') FROM watched w WHERE w.view = a.view)
               AS watched
    FROM acts a
    LEFT JOIN users p ON p.id = a.actor
    LEFT JOIN users d ON d.id = a.driver
    LEFT JOIN events e ON e.id = a.event
    LEFT JOIN grants g ON g.id = a.grant_id";

fn act_row(row: &SqliteRow) -> Result<ActRow, DbError> {
    let watched: Option<String> = row.try_get("watched")?;
    let mut watched: Vec<Watched> = watched
        .iter()
        .flat_map(|list| list.split(' '))
        .filter_map(|one| {
            let (track, sent_ms) = one.split_once(':')?;
            Some(Watched { track: TrackName::from_name(track)?, sent_ms: sent_ms.parse().ok()? })
        })
        .collect();
    watched.sort_by_key(|w| w.track);
    let actor_name: Option<String> = row.try_get("actor_name")?;
    let actor_role: Option<Role> = parsed_opt(row, "actor_role")?;
    Ok(ActRow {
        index: unsigned(row, "log_index")?,
        act: Act {
            at_ms: row.try_get("at")?,
            action: parsed(row, "action")?,
            actor: parsed_opt(row, "actor")?,
            driver: parsed_opt(row, "driver")?,
            event: parsed_opt(row, "event")?,
            clip: parsed_opt(row, "clip")?,
            view: parsed_opt(row, "view")?,
            grant: parsed_opt(row, "grant_id")?,
            purpose: parsed_opt(row, "purpose")?,
        },
        actor: actor_name.zip(actor_role),
        driver_name: row.try_get("driver_name")?,
        unit: parsed_opt(row, "unit")?,
        grant: parsed_opt(row, "grant_kind")?,
        number: row.try_get("number")?,
        watched,
    })
}

impl Db {
    /// Stores an act whose log entry is durable. The same index again changes nothing.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn add_act(&self, index: u64, act: &Act) -> Result<(), DbError> {
        sqlx::query(
            "INSERT INTO acts
             (log_index, at, action, actor, driver, event, clip, view, grant_id, purpose)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(signed(index))
        .bind(act.at_ms)
        .bind(act.action.as_str())
        .bind(act.actor.map(|id| id.to_string()))
        .bind(act.driver.map(|id| id.to_string()))
        .bind(act.event.map(|id| id.to_string()))
        .bind(act.clip.map(|id| id.to_string()))
        .bind(act.view.map(|id| id.to_string()))
        .bind(act.grant.map(|id| id.to_string()))
        .bind(act.purpose.map(Purpose::as_str))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// At most `limit` acts within the scope, the newest first.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn acts(&self, scope: &ActScope, limit: u32) -> Result<Vec<ActRow>, DbError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT}
             WHERE (?1 IS NULL OR a.clip = ?1)
               AND (?2 IS NULL OR a.driver = ?2 OR a.actor = ?2)
               AND (NOT ?3 OR a.action = 'view')
               AND (?4 IS NULL OR a.log_index < ?4) AND (?5 IS NULL OR a.log_index >= ?5)
             ORDER BY a.log_index DESC LIMIT ?6"
        )))
        .bind(scope.clip.map(|id| id.to_string()))
        .bind(scope.concerned.map(|id| id.to_string()))
        .bind(scope.views_only)
        .bind(scope.before_index.map(signed))
        .bind(scope.from_index.map(signed))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(act_row).collect()
    }

    /// Leaves an act of the command line to the server, which has the log open. Written before what
    /// it says is done.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn log_later(&self, act: &Act) -> Result<(), DbError> {
        sqlx::query("INSERT INTO acts_to_log (at, action, concerned) VALUES (?, ?, ?)")
            .bind(act.at_ms)
            .bind(act.action.as_str())
            .bind(act.driver.map(|id| id.to_string()))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The acts that wait for the server to log them, the oldest first, with their numbers.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn acts_to_log(&self) -> Result<Vec<(i64, Act)>, DbError> {
        let rows =
            sqlx::query("SELECT * FROM acts_to_log ORDER BY id").fetch_all(&self.pool).await?;
        let act = |row: &SqliteRow| {
            let driver = parsed_opt(row, "concerned")?;
            let act = Act::new(parsed(row, "action")?, None, row.try_get("at")?);
            Ok((row.try_get("id")?, Act { driver, ..act }))
        };
        rows.iter().map(act).collect()
    }

    /// An act that waited is in the log.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn is_logged(&self, number: i64) -> Result<(), DbError> {
        sqlx::query("DELETE FROM acts_to_log WHERE id = ?")
            .bind(number)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The first index of the access log that has no row here yet.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn next_act_index(&self) -> Result<u64, DbError> {
        let row = sqlx::query("SELECT coalesce(max(log_index) + 1, 0) AS next FROM acts")
            .fetch_one(&self.pool)
            .await?;
        unsigned(&row, "next")
    }
}
