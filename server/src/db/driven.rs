//! How far who drove, and when parts of a unit were faulty: what a score is set against.
//!
//! INVARIANT: a metre counts once and for one driver. A unit's marks are those of a counter that
//! never falls: what a lost mark would have told, the next one tells; what comes twice adds
//! nothing. Counter and sum are changed in one transaction, so that a crash leaves both or neither.

use sqlx::{Row, Sqlite, Transaction};
use temoin_proto::{
    convert::Mark,
    ids::{UnitId, UserId},
};

use super::{Db, DbError, parsed};
use crate::score::day_of;

/// A counter that no unit has told for so long is forgotten: longer than any unit stays away with
/// a certificate that still holds.
const FORGET_RUN_MS: i64 = 400 * 24 * 3600 * 1000;

/// A driver's distance with one unit on one day.
#[derive(Debug, Clone, PartialEq)]
pub struct Driven {
    /// The unit.
    pub unit: UnitId,
    /// Days since 1970, UTC.
    pub day: i64,
    /// Metres.
    pub driven_m: f64,
}

/// A time in which a part did not work properly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The unit.
    pub unit: UnitId,
    /// The part.
    pub part: String,
    /// Begin, milliseconds since 1970.
    pub from_ms: i64,
    /// End; none: it goes on.
    pub to_ms: Option<i64>,
}

impl Db {
    /// Takes a unit's marks, the oldest first, and adds what is new to whoever was on shift.
    ///
    /// # Errors
    /// [`DbError`]: then none of them was taken.
    pub async fn add_driven(
        &self,
        unit: &UnitId,
        marks: &[Mark],
        now_ms: i64,
    ) -> Result<(), DbError> {
        if marks.is_empty() {
            return Ok(());
        }
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for mark in marks {
            take(&mut tx, unit, mark, now_ms).await?;
        }
        sqlx::query("DELETE FROM runs WHERE unit = ? AND heard_at < ?")
            .bind(unit.as_str())
            .bind(now_ms.saturating_sub(FORGET_RUN_MS))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// How far somebody drove since the begin of this day, by unit and day.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn driven_since(&self, driver: UserId, day: i64) -> Result<Vec<Driven>, DbError> {
        let rows = sqlx::query(
            "SELECT unit, day, driven_m FROM driven WHERE driver = ? AND day >= ? ORDER BY day, unit",
        )
        .bind(driver.to_string())
        .bind(day)
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Driven {
                    unit: parsed(row, "unit")?,
                    day: row.try_get("day")?,
                    driven_m: row.try_get("driven_m")?,
                })
            })
            .collect()
    }

    /// Notes which parts of a unit are faulty now. `since_ms` is when the unit was last heard of
    /// before: a fault that is new began at some time after that.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn note_faults(
        &self,
        unit: &UnitId,
        faulty: &[&str],
        since_ms: i64,
        now_ms: i64,
    ) -> Result<(), DbError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let open = sqlx::query("SELECT part FROM faults WHERE unit = ? AND to_at IS NULL")
            .bind(unit.as_str())
            .fetch_all(&mut *tx)
            .await?;
        for row in &open {
            let part: String = row.try_get("part")?;
            if !faulty.contains(&part.as_str()) {
                sqlx::query(
                    "UPDATE faults SET to_at = ? WHERE unit = ? AND part = ? AND to_at IS NULL",
                )
                .bind(now_ms)
                .bind(unit.as_str())
                .bind(part)
                .execute(&mut *tx)
                .await?;
            }
        }
        for part in faulty {
            sqlx::query(
                "INSERT INTO faults (unit, part, from_at) VALUES (?, ?, ?)
                 ON CONFLICT (unit, part) WHERE to_at IS NULL DO NOTHING",
            )
            .bind(unit.as_str())
            .bind(*part)
            .bind(since_ms.min(now_ms))
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Faults of the units that this driver drove, as far as they reach into the time since.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn faults_since(&self, driver: UserId, since_ms: i64) -> Result<Vec<Fault>, DbError> {
        let rows = sqlx::query(
            "SELECT unit, part, from_at, to_at FROM faults
             WHERE (to_at IS NULL OR to_at >= ?1)
               AND unit IN (SELECT unit FROM shifts WHERE driver = ?2 AND to_at >= ?1)",
        )
        .bind(since_ms)
        .bind(driver.to_string())
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Fault {
                    unit: parsed(row, "unit")?,
                    part: row.try_get("part")?,
                    from_ms: row.try_get("from_at")?,
                    to_ms: row.try_get("to_at")?,
                })
            })
            .collect()
    }
}

async fn take(
    tx: &mut Transaction<'_, Sqlite>,
    unit: &UnitId,
    mark: &Mark,
    now_ms: i64,
) -> Result<(), DbError> {
    let before = sqlx::query("SELECT driven_m FROM runs WHERE unit = ? AND run = ?")
        .bind(unit.as_str())
        .bind(mark.run.as_bytes().as_slice())
        .fetch_optional(&mut **tx)
        .await?;
    let before: f64 = before.map_or(Ok(0.0), |row| row.try_get("driven_m"))?;
    let new_m = mark.driven_m - before;
    if new_m.is_nan() || new_m <= 0.0 {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO runs (unit, run, driven_m, heard_at) VALUES (?, ?, ?, ?)
         ON CONFLICT (unit, run) DO UPDATE SET driven_m = excluded.driven_m, heard_at = excluded.heard_at",
    )
    .bind(unit.as_str())
    .bind(mark.run.as_bytes().as_slice())
    .bind(mark.driven_m)
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    // A clock that is ahead moves no distance into the shift after this one.
    let at_ms = mark.at_ms.min(now_ms);
    // Nobody on shift: the metres are nobody's, as the events are.
    sqlx::query(
        "INSERT INTO driven (driver, unit, day, driven_m)
         SELECT driver, unit, ?3, ?4 FROM shifts
         WHERE unit = ?1 AND from_at <= ?2 AND ?2 < to_at LIMIT 1
         ON CONFLICT (driver, unit, day) DO UPDATE SET driven_m = driven_m + excluded.driven_m",
    )
    .bind(unit.as_str())
    .bind(at_ms)
    .bind(day_of(at_ms))
    .bind(new_m)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use temoin_proto::ids::RunId;

    use super::*;
    use crate::{
        authz::Role,
        db::{scratch, users::User},
        score::DAY_MS,
    };

    const NOON: i64 = 20_000 * DAY_MS + DAY_MS / 2;

    async fn fleet() -> (tempfile::TempDir, Db, UnitId, [UserId; 2]) {
        let (dir, db) = scratch().await;
        db.add_depot("north", "North").await.unwrap();
        let van: UnitId = "van-1".parse().unwrap();
        db.add_unit(&van, "north", None).await.unwrap();
        let mut ids = Vec::new();
        for login in ["ann", "bob"] {
            let user = User {
                id: UserId::new(),
                login: login.into(),
                name: login.into(),
                short_name: login.into(),
                role: Role::Driver,
                depot: None,
                manager: None,
                disabled: false,
            };
            db.add_user(&user, "h", 0).await.unwrap();
            ids.push(user.id);
        }
        (dir, db, van, [ids[0], ids[1]])
    }

    fn mark(run: u8, at_ms: i64, driven_m: f64) -> Mark {
        Mark { run: RunId::from_bytes([run; 16]), at_ms, driven_m }
    }

    async fn metres(db: &Db, driver: UserId) -> f64 {
        db.driven_since(driver, 0).await.unwrap().iter().map(|d| d.driven_m).sum()
    }

    #[tokio::test]
    async fn a_metre_counts_once_whatever_is_lost_or_comes_twice() {
        let (_dir, db, van, [ann, bob]) = fleet().await;
        // Before anybody is on shift, metres are nobody's, also later.
        db.add_driven(&van, &[mark(1, NOON, 500.0)], NOON).await.unwrap();
        db.set_shift(&van, ann, NOON + 1).await.unwrap();
        let later = |s: i64| NOON + 1 + s * 1000;
        for (marks, ann_m) in [
            (vec![mark(1, later(10), 700.0)], 200.0),
            // The same again, and an older one again.
            (vec![mark(1, later(5), 600.0), mark(1, later(10), 700.0)], 200.0),
            // Several beats were lost: the next brings it all.
            (vec![mark(1, later(300), 5700.0)], 5200.0),
            // A restart begins at 0; the mark that the run before left comes first.
            (vec![mark(1, later(310), 5800.0), mark(2, later(400), 100.0)], 5400.0),
            (vec![mark(2, later(400), f64::NAN), mark(2, later(400), -9.0)], 5400.0),
        ] {
            db.add_driven(&van, &marks, later(1000)).await.unwrap();
            assert!((metres(&db, ann).await - ann_m).abs() < 1e-6, "{marks:?}");
        }
        // Marks that waited for the network go to who drove then; a clock ahead moves nothing.
        db.set_shift(&van, bob, later(2000)).await.unwrap();
        let waited = [mark(2, later(1500), 400.0), mark(2, later(9_000_000), 1400.0)];
        db.add_driven(&van, &waited, later(3000)).await.unwrap();
        assert!((metres(&db, ann).await - 5700.0).abs() < 1e-6);
        assert!((metres(&db, bob).await - 1000.0).abs() < 1e-6);
        let days: Vec<_> = db.driven_since(bob, 0).await.unwrap().iter().map(|d| d.day).collect();
        assert_eq!(days, [20_000]);
        assert_eq!(db.driven_since(bob, 20_001).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_fault_begins_with_the_last_good_word_and_ends_with_the_next() {
        let (_dir, db, van, [ann, _]) = fleet().await;
        db.set_shift(&van, ann, 0).await.unwrap();
        let faults = |since| {
            let db = db.clone();
            async move {
                let mut all: Vec<_> = db
                    .faults_since(ann, since)
                    .await
                    .unwrap()
                    .into_iter()
                    .map(|f| (f.part, f.from_ms, f.to_ms))
                    .collect();
                all.sort();
                all
            }
        };
        db.note_faults(&van, &["imu"], 100, 130).await.unwrap();
        db.note_faults(&van, &["imu", "gnss"], 130, 160).await.unwrap();
        db.note_faults(&van, &["gnss"], 160, 190).await.unwrap();
        assert_eq!(
            faults(0).await,
            [("gnss".to_owned(), 130, None), ("imu".to_owned(), 100, Some(190))]
        );
        assert_eq!(faults(191).await, [("gnss".to_owned(), 130, None)]);
        db.note_faults(&van, &[], 190, 200).await.unwrap();
        db.note_faults(&van, &["gnss"], 300, 330).await.unwrap();
        assert_eq!(faults(201).await, [("gnss".to_owned(), 300, None)], "another one");
    }
}
