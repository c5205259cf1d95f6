//! Accounts, and shifts: who drove which unit when.

use std::collections::HashMap;

use sqlx::{Row, sqlite::SqliteRow};
use temoin_access_log::{PersonSalt, PersonTag};
use temoin_proto::ids::{UnitId, UserId};

use super::{Db, DbError, exists_or, missing_or, parsed, parsed_opt};
use crate::authz::Role;

/// An account, without its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// What the person types to sign in.
    pub login: String,
    /// The person's name.
    pub name: String,
    /// What stands in the mark on every viewed frame.
    pub short_name: String,
    /// What the person is in the fleet.
    pub role: Role,
    /// The depot, where the person belongs to one.
    pub depot: Option<String>,
    /// A driver's safety manager.
    pub manager: Option<UserId>,
    /// No sign-in, no running session, no running view.
    pub disabled: bool,
}

/// Most characters of a name; the mark and the tables are laid out for this.
pub const MAX_NAME: usize = 60;
/// The end of a shift that nobody has ended.
const OPEN_END_MS: i64 = i64::MAX;

fn salt(row: &SqliteRow) -> Result<PersonSalt, DbError> {
    let bytes: Vec<u8> = row.try_get("log_salt")?;
    bytes.as_slice().try_into().map(PersonSalt::from_bytes).map_err(|_| DbError::Content {
        column: "log_salt",
        // The salt itself is a secret.
        value: format!("{} bytes", bytes.len()),
    })
}

fn user(row: &SqliteRow) -> Result<User, DbError> {
    Ok(User {
        id: parsed(row, "id")?,
        login: row.try_get("login")?,
        name: row.try_get("name")?,
        short_name: row.try_get("short_name")?,
        role: parsed(row, "role")?,
        depot: row.try_get("depot")?,
        manager: parsed_opt(row, "manager")?,
        disabled: row.try_get("disabled")?,
    })
}

impl Db {
    /// Adds an account with its password's argon2id hash (PHC string).
    ///
    /// # Errors
    /// [`DbError::Exists`] where the login is taken, [`DbError::Missing`] where depot or manager
    /// is unknown, [`DbError::Sql`].
    pub async fn add_user(
        &self,
        user: &User,
        password_hash: &str,
        now_ms: i64,
    ) -> Result<(), DbError> {
        let salt = PersonSalt::generate().map_err(|_| DbError::Random)?;
        sqlx::query(
            "INSERT INTO users
             (id, login, name, short_name, role, depot, manager, password_hash, log_salt, disabled,
              created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(user.id.to_string())
        .bind(&user.login)
        .bind(&user.name)
        .bind(&user.short_name)
        .bind(user.role.as_str())
        .bind(&user.depot)
        .bind(user.manager.map(|m| m.to_string()))
        .bind(password_hash)
        .bind(salt.as_bytes().as_slice())
        .bind(user.disabled)
        .bind(now_ms)
        .execute(&self.pool)
        .await
        .map_err(|e| match e.as_database_error() {
            Some(cause) if cause.is_foreign_key_violation() => {
                DbError::Missing { what: "depot", id: user.depot.clone().unwrap_or_default() }
            }
            Some(_) | None => exists_or(e, &user.login),
        })?;
        Ok(())
    }

    /// The account with this login, and its password's hash.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn user_by_login(&self, login: &str) -> Result<Option<(User, String)>, DbError> {
        let row = sqlx::query("SELECT * FROM users WHERE login = ?")
            .bind(login)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| Ok((user(&row)?, row.try_get("password_hash")?))).transpose()
    }

    /// The account with this id.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn user(&self, id: UserId) -> Result<Option<User>, DbError> {
        let row = sqlx::query("SELECT * FROM users WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(user).transpose()
    }

    /// Every driver whose account is on, by name.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn drivers(&self) -> Result<Vec<User>, DbError> {
        let rows = sqlx::query(
            "SELECT * FROM users WHERE role = 'driver' AND NOT disabled ORDER BY name, id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(user).collect()
    }

    /// Switches an account off or on. Switched off, its sessions end and its running views stop,
    /// and in time it is erased; an erased one is unknown.
    ///
    /// # Errors
    /// [`DbError::Missing`], [`DbError::Sql`].
    pub async fn set_user_disabled(
        &self,
        login: &str,
        disabled: bool,
        now_ms: i64,
    ) -> Result<(), DbError> {
        let mut tx = self.pool.begin().await?;
        let changed = sqlx::query(
            "UPDATE users SET disabled = ?1, disabled_at = CASE WHEN ?1 THEN coalesce(disabled_at, ?2) END
             WHERE login = ?3 AND erased_at IS NULL",
        )
            .bind(disabled)
            .bind(now_ms)
            .bind(login)
            .execute(&mut *tx)
            .await?;
        if changed.rows_affected() == 0 {
            return Err(DbError::Missing { what: "account", id: login.to_owned() });
        }
        sqlx::query("DELETE FROM sessions WHERE user = (SELECT id FROM users WHERE login = ?)")
            .bind(login)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// How the access log knows this person.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn log_tag(&self, id: UserId) -> Result<Option<PersonTag>, DbError> {
        let row = sqlx::query("SELECT log_salt FROM users WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| Ok(salt(&row)?.tag(id))).transpose()
    }

    /// Every person and how the access log knows them.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn log_tags(&self) -> Result<HashMap<PersonTag, UserId>, DbError> {
        let rows = sqlx::query("SELECT id, log_salt FROM users").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                let id: UserId = parsed(row, "id")?;
                Ok((salt(row)?.tag(id), id))
            })
            .collect()
    }

    /// Who drives this unit at a time.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn driver_of(&self, unit: &UnitId, at_ms: i64) -> Result<Option<UserId>, DbError> {
        let row = sqlx::query(
            "SELECT driver FROM shifts WHERE unit = ?1 AND from_at <= ?2 AND ?2 < to_at",
        )
        .bind(unit.as_str())
        .bind(at_ms)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(|row| parsed(row, "driver")).transpose()
    }

    /// Says that this driver drives this unit from now on; whoever did until now stops.
    ///
    /// # Errors
    /// [`DbError::Missing`], [`DbError::Sql`].
    pub async fn set_shift(
        &self,
        unit: &UnitId,
        driver: UserId,
        now_ms: i64,
    ) -> Result<(), DbError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        // A shift that would begin now or later never took place.
        sqlx::query("DELETE FROM shifts WHERE unit = ? AND from_at >= ?")
            .bind(unit.as_str())
            .bind(now_ms)
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE shifts SET to_at = ?1 WHERE unit = ?2 AND to_at > ?1")
            .bind(now_ms)
            .bind(unit.as_str())
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO shifts (unit, driver, from_at, to_at) VALUES (?, ?, ?, ?)")
            .bind(unit.as_str())
            .bind(driver.to_string())
            .bind(now_ms)
            .bind(OPEN_END_MS)
            .execute(&mut *tx)
            .await
            .map_err(|e| missing_or(e, "unit", unit.as_str()))?;
        tx.commit().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use temoin_proto::{
        convert::EventRecord,
        events::{EventKind, Severity},
        time::WallTime,
    };

    use super::*;
    use crate::db::scratch;

    fn driver(login: &str) -> User {
        User {
            id: UserId::new(),
            login: login.into(),
            name: "A Driver".into(),
            short_name: "driver".into(),
            role: Role::Driver,
            depot: Some("north".into()),
            manager: None,
            disabled: false,
        }
    }

    #[tokio::test]
    async fn accounts_are_kept_and_their_logins_unique() {
        let (_dir, db) = scratch().await;
        let ann = driver("ann");
        assert!(matches!(db.add_user(&ann, "h", 0).await, Err(DbError::Missing { .. })));
        db.add_depot("north", "North").await.unwrap();
        assert!(matches!(db.add_depot("north", "N").await, Err(DbError::Exists(_))));
        db.add_user(&ann, "h", 0).await.unwrap();
        assert_eq!(db.user_by_login("ann").await.unwrap(), Some((ann.clone(), "h".into())));
        assert_eq!(db.user(ann.id).await.unwrap(), Some(ann.clone()));
        assert!(matches!(db.add_user(&driver("ann"), "h", 0).await, Err(DbError::Exists(_))));
        db.set_user_disabled("ann", true, 1).await.unwrap();
        assert!(db.user(ann.id).await.unwrap().unwrap().disabled);
        assert!(db.set_user_disabled("bob", true, 1).await.is_err());
    }

    #[tokio::test]
    async fn a_unit_has_one_driver_at_a_time() {
        let (_dir, db) = scratch().await;
        db.add_depot("north", "North").await.unwrap();
        let (ann, bob) = (driver("ann"), driver("bob"));
        db.add_user(&ann, "h", 0).await.unwrap();
        db.add_user(&bob, "h", 0).await.unwrap();
        let van: UnitId = "van-1".parse().unwrap();
        assert!(matches!(db.set_shift(&van, ann.id, 0).await, Err(DbError::Missing { .. })));
        db.add_unit(&van, "north", None).await.unwrap();
        for (driver, at) in [(&ann, 10), (&bob, 20), (&ann, 20), (&bob, 30)] {
            db.set_shift(&van, driver.id, at).await.unwrap();
        }
        for (at, expected) in [
            (9, None),
            (10, Some(&ann)),
            (20, Some(&ann)),
            (29, Some(&ann)),
            (30, Some(&bob)),
            (99, Some(&bob)),
        ] {
            let event = EventRecord {
                id: temoin_proto::ids::EventId::new(),
                kind: EventKind::Speeding,
                start: WallTime { unix_ms: at, uncertainty_ms: 0 },
                end_unix_ms: at,
                severity: Severity::Low,
                confidence: 1.0,
                rule: "speeding/1".into(),
                numbers: Vec::new(),
                clip: Err("none".into()),
            };
            db.report_event(&van, &event, 0).await.unwrap();
            let found = db.event(event.id).await.unwrap().unwrap();
            assert_eq!(found.record, event);
            assert_eq!(found.driver.map(|d| d.id), expected.map(|u| u.id), "{at}");
        }
    }

    #[tokio::test]
    async fn tags_are_kept_and_differ() {
        let (_dir, db) = scratch().await;
        db.add_depot("north", "North").await.unwrap();
        let (ann, bob) = (driver("ann"), driver("bob"));
        db.add_user(&ann, "h", 0).await.unwrap();
        db.add_user(&bob, "h", 0).await.unwrap();
        let tag = db.log_tag(ann.id).await.unwrap().unwrap();
        assert_eq!(db.log_tag(ann.id).await.unwrap(), Some(tag));
        assert_ne!(db.log_tag(bob.id).await.unwrap(), Some(tag));
        assert_eq!(db.log_tags().await.unwrap().get(&tag), Some(&ann.id));
        assert_eq!(db.log_tag(UserId::new()).await.unwrap(), None);
    }
}
