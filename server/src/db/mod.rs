//! The database: SQLite through sqlx, one file per table group.
//!
//! INVARIANT: `synchronous=FULL` with a write-ahead log: what was committed survives a power cut.
//! Nothing here decides who may see a row; callers outside of this crate get rows only through
//! [`crate::show`] and [`crate::view`], which decide first.
//!
//! A crash leaves either all of a transaction or nothing of it.

pub mod acts;
pub mod clips;
pub mod commands;
pub mod contests;
pub mod driven;
pub mod events;
pub mod grants;
pub mod limits;
pub mod records;
pub mod retention;
pub mod second_factors;
pub mod sessions;
pub mod traces;
pub mod units;
pub mod users;
pub mod views;
pub mod wrapped_keys;

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sqlx::{
    Row,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};

/// How long a writer waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The file could not be opened.
    #[error("cannot open the database {}: look at the folder's rights and free space", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// The tables could not be made or brought up to date.
    #[error("cannot bring the tables of {} up to date", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// A statement failed.
    #[error("the database refused a statement: {0}")]
    Sql(#[from] sqlx::Error),
    /// A row holds something that this version never writes.
    #[error(
        "column `{column}` of the database holds `{value}`: damaged, or written by a newer version"
    )]
    Content {
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// There is one already.
    #[error("`{0}` exists already")]
    Exists(String),
    /// A row that another must point at is missing.
    #[error("there is no {what} `{id}`")]
    Missing {
        /// What kind of row.
        what: &'static str,
        /// Its id as given.
        id: String,
    },
}

/// The server's database.
#[derive(Clone, Debug)]
pub struct Db {
    pool: SqlitePool,
}

impl Db {
    /// Opens the file, which is made where it is missing, and brings its tables up to date.
    ///
    /// # Errors
    /// [`DbError::Open`], [`DbError::Migrate`].
    pub async fn open(path: &Path) -> Result<Self, DbError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What is deleted is overwritten: a deleted clip's key must not be in a free page.
            .pragma("secure_delete", "ON")
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(8)
            .connect_with(options)
            .await
            .map_err(|source| DbError::Open { path: path.to_owned(), source })?;
        sqlx::migrate!("migrations/sqlite")
            .run(&pool)
            .await
            .map_err(|source| DbError::Migrate { path: path.to_owned(), source })?;
        Ok(Self { pool })
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn ping(&self) -> Result<(), DbError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes every connection; the write-ahead log is folded into the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Adds a depot.
    ///
    /// # Errors
    /// [`DbError::Exists`], [`DbError::Sql`].
    pub async fn add_depot(&self, id: &str, name: &str) -> Result<(), DbError> {
        sqlx::query("INSERT INTO depots (id, name) VALUES (?, ?)")
            .bind(id)
            .bind(name)
            .execute(&self.pool)
            .await
            .map_err(|e| exists_or(e, id))?;
        Ok(())
    }
}

/// A uniqueness failure as [`DbError::Exists`], all others as they are.
fn exists_or(error: sqlx::Error, id: &str) -> DbError {
    match error.as_database_error() {
        Some(e) if e.is_unique_violation() => DbError::Exists(id.to_owned()),
        _ => error.into(),
    }
}

/// A foreign-key failure as [`DbError::Missing`], all others as they are.
fn missing_or(error: sqlx::Error, what: &'static str, id: &str) -> DbError {
    match error.as_database_error() {
        Some(e) if e.is_foreign_key_violation() => DbError::Missing { what, id: id.to_owned() },
        _ => error.into(),
    }
}

/// The column as text, parsed.
fn parsed<T: FromStr>(row: &SqliteRow, column: &'static str) -> Result<T, DbError> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|_| DbError::Content { column, value: text })
}

/// The column as text or NULL, parsed.
fn parsed_opt<T: FromStr>(row: &SqliteRow, column: &'static str) -> Result<Option<T>, DbError> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|t| t.parse().map_err(|_| DbError::Content { column, value: t })).transpose()
}

/// The column as a count, which SQLite keeps signed.
fn unsigned<T: TryFrom<i64>>(row: &SqliteRow, column: &'static str) -> Result<T, DbError> {
    let value: i64 = row.try_get(column)?;
    value.try_into().map_err(|_| DbError::Content { column, value: value.to_string() })
}

/// A count as SQLite keeps it; what does not fit becomes the greatest.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) async fn scratch() -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("temoin.db")).await.unwrap();
    (dir, db)
}
