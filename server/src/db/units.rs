//! Units: their enrolment, certificates, health and state.

use serde::{Deserialize, Serialize};
use sqlx::{Row, sqlite::SqliteRow};
use temoin_proto::ids::{UnitId, UserId};

use super::{Db, DbError, missing_or, parsed, parsed_opt, signed, unsigned};

/// Where a unit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitStatus {
    /// Known, not enrolled yet.
    Waiting,
    /// Has a certificate.
    Enrolled,
    /// Its certificate is no longer accepted.
    Revoked,
}

impl UnitStatus {
    /// `waiting`, `enrolled` or `revoked`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Enrolled => "enrolled",
            Self::Revoked => "revoked",
        }
    }
}

impl std::str::FromStr for UnitStatus {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        [Self::Waiting, Self::Enrolled, Self::Revoked]
            .into_iter()
            .find(|status| status.as_str() == s)
            .ok_or(())
    }
}

/// One statement of device health, as the unit said it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What it is about: `camera.cabin`, `gnss`, ...
    pub part: String,
    /// `ok`, `degraded` or `failed`.
    pub state: String,
    /// Plain words for an installer.
    pub text: String,
}

/// A unit with what it last said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub id: UnitId,
    /// Its depot.
    pub depot: String,
    /// The depot's name.
    pub depot_name: String,
    /// Where it stands.
    pub status: UnitStatus,
    /// Ed25519 public key, empty before enrolment.
    pub signing_public_key: Vec<u8>,
    /// When it was last heard of, milliseconds since 1970.
    pub last_heartbeat_ms: Option<i64>,
    /// The unit's clock less the server's at that time, milliseconds.
    pub clock_error_ms: Option<i64>,
    /// The software on it.
    pub agent_version: Option<String>,
    /// `off`, `ai_without_recording` or `recording`.
    pub privacy_state: Option<String>,
    /// Clips that wait on the unit.
    pub spool_clips: u32,
    /// Bytes that wait on the unit.
    pub spool_bytes: u64,
    /// What it says about its parts.
    pub health: Vec<Health>,
    /// Who put it in.
    pub installer: Option<UserId>,
}

/// What a heartbeat says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatFacts {
    /// The software on the unit.
    pub agent_version: String,
    /// The unit's clock less the server's, milliseconds.
    pub clock_error_ms: i64,
    /// `off`, `ai_without_recording` or `recording`.
    pub privacy_state: String,
    /// Clips that wait.
    pub spool_clips: u32,
    /// Bytes that wait.
    pub spool_bytes: u64,
    /// The parts' health.
    pub health: Vec<Health>,
}

const SELECT: &str =
    "SELECT u.*, d.name AS depot_name FROM units u JOIN depots d ON d.id = u.depot";

fn unit(row: &SqliteRow) -> Result<Unit, DbError> {
    let health: String = row.try_get("health")?;
    Ok(Unit {
        id: parsed(row, "id")?,
        depot: row.try_get("depot")?,
        depot_name: row.try_get("depot_name")?,
        status: parsed(row, "status")?,
        signing_public_key: row
            .try_get::<Option<Vec<u8>>, _>("signing_public_key")?
            .unwrap_or_default(),
        last_heartbeat_ms: row.try_get("last_heartbeat_at")?,
        clock_error_ms: row.try_get("clock_error_ms")?,
        agent_version: row.try_get("agent_version")?,
        privacy_state: row.try_get("privacy_state")?,
        spool_clips: optional_count(row, "spool_clips")?,
        spool_bytes: optional_count(row, "spool_bytes")?,
        health: serde_json::from_str(&health)
            .map_err(|_| DbError::Content { column: "health", value: health })?,
        installer: parsed_opt(row, "installer")?,
    })
}

fn optional_count<T: TryFrom<i64> + Default>(
    row: &SqliteRow,
    column: &'static str,
) -> Result<T, DbError> {
    match row.try_get::<Option<i64>, _>(column)? {
        None => Ok(T::default()),
        Some(_) => unsigned(row, column),
    }
}

impl Db {
    /// Adds a unit that waits for its enrolment; a known one stays as it is.
    ///
    /// # Errors
    /// [`DbError::Missing`] where the depot is unknown, [`DbError::Sql`].
    pub async fn add_unit(
        &self,
        id: &UnitId,
        depot: &str,
        installer: Option<UserId>,
    ) -> Result<(), DbError> {
        sqlx::query(
            "INSERT INTO units (id, depot, status, installer) VALUES (?, ?, 'waiting', ?)
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(id.as_str())
        .bind(depot)
        .bind(installer.map(|id| id.to_string()))
        .execute(&self.pool)
        .await
        .map_err(|e| missing_or(e, "depot", depot))?;
        Ok(())
    }

    /// The unit of this name.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn unit(&self, id: &UnitId) -> Result<Option<Unit>, DbError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} WHERE u.id = ?")))
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(unit).transpose()
    }

    /// All units by name.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn units(&self) -> Result<Vec<Unit>, DbError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} ORDER BY u.id")))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(unit).collect()
    }

    /// The enrolled, unrevoked unit whose certificate this is.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn unit_by_certificate(
        &self,
        certificate_sha256: &[u8],
    ) -> Result<Option<Unit>, DbError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT} WHERE u.certificate_sha256 = ? AND u.status = 'enrolled'"
        )))
        .bind(certificate_sha256)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(unit).transpose()
    }

    /// Stores a one-time code. Earlier codes of the unit that were not used end.
    ///
    /// # Errors
    /// [`DbError::Missing`], [`DbError::Sql`].
    pub async fn add_enrolment_code(
        &self,
        unit: &UnitId,
        code_sha256: &[u8],
        expires_ms: i64,
    ) -> Result<(), DbError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("DELETE FROM enrolment_codes WHERE unit = ? AND used_at IS NULL")
            .bind(unit.as_str())
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO enrolment_codes (code_sha256, unit, expires_at) VALUES (?, ?, ?)")
            .bind(code_sha256)
            .bind(unit.as_str())
            .bind(expires_ms)
            .execute(&mut *tx)
            .await
            .map_err(|e| missing_or(e, "unit", unit.as_str()))?;
        tx.commit().await?;
        Ok(())
    }

    /// The unit that an unused, unexpired code is for.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn unit_of_code(
        &self,
        code_sha256: &[u8],
        now_ms: i64,
    ) -> Result<Option<UnitId>, DbError> {
        let row = sqlx::query(
            "SELECT unit FROM enrolment_codes
             WHERE code_sha256 = ? AND used_at IS NULL AND expires_at > ?",
        )
        .bind(code_sha256)
        .bind(now_ms)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(|row| parsed(row, "unit")).transpose()
    }

    /// Uses up the code and gives the unit its certificate, both or neither. False where the code
    /// was used in the meantime.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn enrol_unit(
        &self,
        code_sha256: &[u8],
        unit: &UnitId,
        certificate_sha256: &[u8],
        signing_public_key: &[u8],
        now_ms: i64,
    ) -> Result<bool, DbError> {
        let mut tx = self.pool.begin().await?;
        let used = sqlx::query(
            "UPDATE enrolment_codes SET used_at = ?1
             WHERE code_sha256 = ?2 AND unit = ?3 AND used_at IS NULL AND expires_at > ?1",
        )
        .bind(now_ms)
        .bind(code_sha256)
        .bind(unit.as_str())
        .execute(&mut *tx)
        .await?;
        if used.rows_affected() != 1 {
            return Ok(false);
        }
        sqlx::query(
            "UPDATE units SET status = 'enrolled', certificate_sha256 = ?, signing_public_key = ?,
             enrolled_at = ? WHERE id = ?",
        )
        .bind(certificate_sha256)
        .bind(signing_public_key)
        .bind(now_ms)
        .bind(unit.as_str())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Ends a unit's certificate and its unused codes, at once.
    ///
    /// # Errors
    /// [`DbError::Missing`], [`DbError::Sql`].
    pub async fn revoke_unit(&self, unit: &UnitId) -> Result<(), DbError> {
        let mut tx = self.pool.begin().await?;
        let changed = sqlx::query("UPDATE units SET status = 'revoked' WHERE id = ?")
            .bind(unit.as_str())
            .execute(&mut *tx)
            .await?;
        if changed.rows_affected() == 0 {
            return Err(DbError::Missing { what: "unit", id: unit.to_string() });
        }
        sqlx::query("DELETE FROM enrolment_codes WHERE unit = ? AND used_at IS NULL")
            .bind(unit.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Keeps what a unit says about itself.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn heartbeat(
        &self,
        unit: &UnitId,
        facts: &HeartbeatFacts,
        now_ms: i64,
    ) -> Result<(), DbError> {
        let health = serde_json::to_string(&facts.health)
            .map_err(|e| DbError::Content { column: "health", value: e.to_string() })?;
        sqlx::query(
            "UPDATE units SET last_heartbeat_at = ?, clock_error_ms = ?, agent_version = ?,
             privacy_state = ?, spool_clips = ?, spool_bytes = ?, health = ? WHERE id = ?",
        )
        .bind(now_ms)
        .bind(facts.clock_error_ms)
        .bind(&facts.agent_version)
        .bind(&facts.privacy_state)
        .bind(i64::from(facts.spool_clips))
        .bind(signed(facts.spool_bytes))
        .bind(health)
        .bind(unit.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::scratch;

    #[tokio::test]
    async fn a_code_enrols_once_and_a_revoked_unit_is_unknown() {
        let (_dir, db) = scratch().await;
        let van: UnitId = "van-1".parse().unwrap();
        assert!(db.add_unit(&van, "north", None).await.is_err());
        db.add_depot("north", "North").await.unwrap();
        db.add_unit(&van, "north", None).await.unwrap();
        db.add_enrolment_code(&van, b"old", 100).await.unwrap();
        db.add_enrolment_code(&van, b"code", 100).await.unwrap();
        assert_eq!(db.unit_of_code(b"old", 1).await.unwrap(), None, "replaced by the newer code");
        assert_eq!(db.unit_of_code(b"code", 100).await.unwrap(), None, "expired");
        assert_eq!(db.unit_of_code(b"code", 99).await.unwrap(), Some(van.clone()));
        assert!(db.enrol_unit(b"code", &van, b"cert", b"key", 99).await.unwrap());
        assert!(!db.enrol_unit(b"code", &van, b"cert2", b"key", 99).await.unwrap(), "used");
        let found = db.unit_by_certificate(b"cert").await.unwrap().unwrap();
        assert_eq!((found.id, found.status), (van.clone(), UnitStatus::Enrolled));
        db.revoke_unit(&van).await.unwrap();
        assert_eq!(db.unit_by_certificate(b"cert").await.unwrap(), None);
    }
}
