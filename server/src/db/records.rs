//! What is kept for a year rather than a month: events with what belongs to them, distances, shifts
//! and accounts; and how each is forgotten.

use sqlx::{Sqlite, Transaction, sqlite::SqliteRow};
use temoin_access_log::PersonSalt;
use temoin_proto::ids::{EventId, UserId};

use super::{Db, DbError, parsed, parsed_opt, unsigned};
use crate::score::day_of;

/// An event whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldEvent {
    /// The event.
    pub id: EventId,
    /// Who drove.
    pub driver: Option<UserId>,
}

/// Came before `?1`, and its recording is gone, so that nothing holds it either.
const OLD: &str = "e.received_at < ?1 AND NOT EXISTS (
    SELECT 1 FROM clips c WHERE (c.id = e.clip OR c.event = e.id) AND c.deleted_at IS NULL)";

/// In this order: each row goes before what it points at.
const FORGET_EVENT: [&str; 11] = [
    "DELETE FROM watched WHERE view IN (SELECT id FROM views WHERE event = ?1)",
    "DELETE FROM views WHERE event = ?1",
    "DELETE FROM contests WHERE event = ?1",
    "DELETE FROM limit_proposals WHERE event = ?1 AND decision IS NOT 'accepted'",
    "UPDATE limit_proposals SET event = NULL, driver = NULL, words = '' WHERE event = ?1",
    "UPDATE views SET grant_id = NULL WHERE grant_id IN (SELECT id FROM grants WHERE event = ?1)",
    "DELETE FROM grants WHERE event = ?1",
    "DELETE FROM holds WHERE event = ?1",
    // While another event names the recording, the row says that it is deleted.
    "UPDATE clips SET event = e.id FROM events e
     WHERE clips.event = ?1 AND e.clip = clips.id AND e.unit = clips.unit AND e.id <> ?1",
    "DELETE FROM clips WHERE event = ?1",
    "DELETE FROM events WHERE id = ?1",
];

/// What ended before `?1`.
const FORGET: [&str; 6] = [
    // A shift outlives its events: it says who drove.
    "DELETE FROM shifts WHERE to_at < ?1 AND NOT EXISTS (
         SELECT 1 FROM events e
         WHERE e.unit = shifts.unit AND e.start_at >= shifts.from_at AND e.start_at < shifts.to_at)",
    "DELETE FROM faults WHERE to_at < ?1",
    "DELETE FROM traces WHERE at < ?1",
    "DELETE FROM grants
     WHERE max(decide_by, coalesce(decided_at, asked_at) + holds_ms) < ?1
       AND NOT EXISTS (SELECT 1 FROM views v WHERE v.grant_id = grants.id)
       AND NOT EXISTS (SELECT 1 FROM traces t WHERE t.grant_id = grants.id)",
    "DELETE FROM commands WHERE created_at < ?1",
    "DELETE FROM notices WHERE at < ?1",
];

fn old_event(row: &SqliteRow) -> Result<OldEvent, DbError> {
    Ok(OldEvent { id: parsed(row, "id")?, driver: parsed_opt(row, "driver")? })
}

impl Db {
    /// At most `limit` events that came before this and whose recording is gone, the oldest first.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn old_events(&self, before_ms: i64, limit: u32) -> Result<Vec<OldEvent>, DbError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT e.id, s.driver FROM events e
             LEFT JOIN shifts s
                 ON s.unit = e.unit AND s.from_at <= e.start_at AND e.start_at < s.to_at
             WHERE {OLD} ORDER BY e.received_at, e.id LIMIT ?2"
        )))
        .bind(before_ms)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(old_event).collect()
    }

    /// How many events came before this and have no recording that is held.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn events_before(&self, before_ms: i64) -> Result<u64, DbError> {
        let row = sqlx::query(
            "SELECT count(*) AS events FROM events e WHERE e.received_at < ? AND NOT EXISTS (
                 SELECT 1 FROM holds h WHERE h.clip = e.clip AND h.released_at IS NULL)",
        )
        .bind(before_ms)
        .fetch_one(&self.pool)
        .await?;
        unsigned(&row, "events")
    }

    /// Forgets these events, with the objections, viewings, grants and proposals that belong to
    /// them. One whose recording has come since stays. An accepted limit stays, of nobody.
    ///
    /// # Errors
    /// [`DbError`]: then none of them is forgotten.
    pub async fn forget_events(&self, events: &[OldEvent], before_ms: i64) -> Result<(), DbError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for event in events {
            if is_old(&mut tx, event.id, before_ms).await? {
                for statement in FORGET_EVENT {
                    sqlx::query(statement).bind(event.id.to_string()).execute(&mut *tx).await?;
                }
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// Forgets distances, shifts, faults, grants, orders and notices that ended before this.
    ///
    /// # Errors
    /// [`DbError`]: then none of them is forgotten.
    pub async fn forget_before(&self, before_ms: i64) -> Result<(), DbError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for statement in FORGET {
            sqlx::query(statement).bind(before_ms).execute(&mut *tx).await?;
        }
        sqlx::query("DELETE FROM driven WHERE day < ?")
            .bind(day_of(before_ms))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Accounts that have been off since before this, and of which no shift is left.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn old_accounts(&self, before_ms: i64) -> Result<Vec<UserId>, DbError> {
        let rows = sqlx::query(
            "SELECT id FROM users u WHERE disabled AND disabled_at < ? AND erased_at IS NULL
               AND NOT EXISTS (SELECT 1 FROM shifts s WHERE s.driver = u.id) ORDER BY id",
        )
        .bind(before_ms)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }

    /// Erases what an account tells of its person: names, password, second factor, and the salt
    /// that leads from the entries of the access log to them. The row stays, for what points at it.
    /// An account that was switched on since stays as it is.
    ///
    /// # Errors
    /// [`DbError`]: then nothing is erased.
    pub async fn erase_account(&self, id: UserId, now_ms: i64) -> Result<(), DbError> {
        let salt = PersonSalt::generate().map_err(|_| DbError::Random)?;
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        // No hash is empty, so no password is right.
        let erased = sqlx::query(
            "UPDATE users SET login = 'erased-' || id, name = 'Erased account',
                    short_name = 'erased', password_hash = '', log_salt = ?1, erased_at = ?2
             WHERE id = ?3 AND disabled AND erased_at IS NULL",
        )
        .bind(salt.as_bytes().as_slice())
        .bind(now_ms)
        .bind(id.to_string())
        .execute(&mut *tx)
        .await?;
        if erased.rows_affected() == 0 {
            return Ok(());
        }
        for statement in [
            "DELETE FROM sessions WHERE user = ?",
            "DELETE FROM second_factors WHERE user = ?",
            "DELETE FROM recovery_codes WHERE user = ?",
            "DELETE FROM notices WHERE user = ?",
        ] {
            sqlx::query(statement).bind(id.to_string()).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// Whether the event is (still) one that may be forgotten.
async fn is_old(
    tx: &mut Transaction<'_, Sqlite>,
    event: EventId,
    before_ms: i64,
) -> Result<bool, DbError> {
    let sql = format!("SELECT 1 FROM events e WHERE {OLD} AND e.id = ?2");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(before_ms)
        .bind(event.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row.is_some())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use sqlx::{Row as _, SqlitePool, sqlite::SqliteConnectOptions};

    use super::*;

    /// A database of the version before is carried over with what is in it.
    #[tokio::test]
    async fn proposals_and_accounts_of_before_are_carried_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("temoin.db");
        let mut before = sqlx::migrate!("migrations/sqlite");
        before.migrations =
            Cow::Owned(before.iter().filter(|m| m.version < 7).cloned().collect::<Vec<_>>());
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await.unwrap();
        before.run(&pool).await.unwrap();
        let rows = "
            INSERT INTO users (id, login, name, short_name, role, password_hash, log_salt, disabled,
                               created_at)
            VALUES ('on', 'on', 'On', 'on', 'driver', 'h', X'00', 0, 1),
                   ('off', 'off', 'Off', 'off', 'driver', 'h', X'00', 1, 1);
            INSERT INTO depots VALUES ('d', 'd');
            INSERT INTO units (id, depot, status) VALUES ('van-1', 'd', 'enrolled');
            INSERT INTO events VALUES
                ('e', 'van-1', 'speeding', 1, 1, 1, 'low', 1.0, 'r', '[]', NULL, 'none', 1);
            INSERT INTO limit_proposals VALUES (7, 'e', 'on', 44.0, 26.0, 90.0, 50.0, NULL, 'a sign',
                2, 'accepted', 'yes', 'off', 3);";
        sqlx::raw_sql(rows).execute(&pool).await.unwrap();
        pool.close().await;

        let db = Db::open(&path).await.unwrap();
        let kept = db.accepted_limits().await.unwrap();
        let row = kept.first().unwrap();
        assert_eq!((row.id, row.proposal.words.as_str()), (7, "a sign"));
        assert_eq!((row.proposal.taken_kmh, row.proposal.proposed_kmh), (Some(50.0), None));
        let rows =
            sqlx::query("SELECT id, disabled_at > 1700000000000 AS since FROM users ORDER BY id")
                .fetch_all(&db.pool)
                .await
                .unwrap();
        let since: Vec<Option<bool>> = rows.iter().map(|row| row.get("since")).collect();
        assert_eq!(since, [Some(true), None], "off, on");
    }
}
