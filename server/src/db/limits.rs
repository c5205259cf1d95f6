//! Drivers' proposals to correct a speed limit, and what was decided.
//!
//! INVARIANT: an event gives one proposal, and that one decision. Who decides is shown neither the
//! driver nor the event: [`ProposalRow`] has no such field.

use sqlx::{Row, sqlite::SqliteRow};
use temoin_proto::ids::{EventId, UserId};

use super::{Db, DbError, parsed};

/// A place on a road, as driven.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Latitude, degrees.
    pub lat_deg: f64,
    /// Longitude, degrees.
    pub lon_deg: f64,
    /// Where the vehicle drove, degrees from north over east, 0 to 360.
    pub heading_deg: f64,
}

/// A proposal.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Where.
    pub place: Place,
    /// The limit that the unit took, km/h.
    pub taken_kmh: Option<f64>,
    /// The limit that the driver proposes, km/h; none: nobody knows.
    pub proposed_kmh: Option<f64>,
    /// What the driver says.
    pub words: String,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it goes to the units.
    pub accepted: bool,
    /// Why, where somebody said so.
    pub reason: String,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
}

/// A proposal for those who decide.
#[derive(Debug, Clone, PartialEq)]
pub struct ProposalRow {
    /// Its number.
    pub id: i64,
    /// What is proposed.
    pub proposal: Proposal,
    /// The day on which it was proposed, days since 1970: the hour would tell who drove.
    pub day: i64,
    /// What was decided.
    pub decision: Option<Decision>,
}

fn proposal(row: &SqliteRow) -> Result<ProposalRow, DbError> {
    let decision: Option<String> = row.try_get("decision")?;
    Ok(ProposalRow {
        id: row.try_get("id")?,
        proposal: Proposal {
            place: Place {
                lat_deg: row.try_get("lat_deg")?,
                lon_deg: row.try_get("lon_deg")?,
                heading_deg: row.try_get("heading_deg")?,
            },
            taken_kmh: row.try_get("taken_kmh")?,
            proposed_kmh: row.try_get("proposed_kmh")?,
            words: row.try_get("words")?,
        },
        day: crate::score::day_of(row.try_get("at")?),
        decision: match decision {
            None => None,
            Some(decision) => Some(Decision {
                accepted: decision == "accepted",
                reason: row.try_get::<Option<String>, _>("reason")?.unwrap_or_default(),
                at_ms: row.try_get::<Option<i64>, _>("decided_at")?.unwrap_or_default(),
            }),
        },
    })
}

impl Db {
    /// Stores a proposal. False where the event gave one already.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn add_limit_proposal(
        &self,
        event: EventId,
        driver: UserId,
        proposal: &Proposal,
        now_ms: i64,
    ) -> Result<bool, DbError> {
        let added = sqlx::query(
            "INSERT INTO limit_proposals
             (event, driver, lat_deg, lon_deg, heading_deg, taken_kmh, proposed_kmh, words, at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event) DO NOTHING",
        )
        .bind(event.to_string())
        .bind(driver.to_string())
        .bind(proposal.place.lat_deg)
        .bind(proposal.place.lon_deg)
        .bind(proposal.place.heading_deg)
        .bind(proposal.taken_kmh)
        .bind(proposal.proposed_kmh)
        .bind(&proposal.words)
        .bind(now_ms)
        .execute(&self.pool)
        .await?;
        Ok(added.rows_affected() == 1)
    }

    /// Decides a proposal. False where there is none that waits for it.
    ///
    /// # Errors
    /// [`DbError::Sql`].
    pub async fn decide_limit_proposal(
        &self,
        id: i64,
        accepted: bool,
        reason: &str,
        by: UserId,
        now_ms: i64,
    ) -> Result<bool, DbError> {
        let decided = sqlx::query(
            "UPDATE limit_proposals SET decision = ?, reason = ?, decided_by = ?, decided_at = ?
             WHERE id = ? AND decision IS NULL",
        )
        .bind(if accepted { "accepted" } else { "refused" })
        .bind(reason)
        .bind(by.to_string())
        .bind(now_ms)
        .bind(id)
        .execute(&self.pool)
        .await?;
        Ok(decided.rows_affected() == 1)
    }

    /// The proposal that an event gave.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn limit_proposal_of(&self, event: EventId) -> Result<Option<ProposalRow>, DbError> {
        let row = sqlx::query("SELECT * FROM limit_proposals WHERE event = ?")
            .bind(event.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(proposal).transpose()
    }

    /// Who made a proposal that waits for its decision; none where it does not.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn waiting_proposal(&self, id: i64) -> Result<Option<UserId>, DbError> {
        let row =
            sqlx::query("SELECT driver FROM limit_proposals WHERE id = ? AND decision IS NULL")
                .bind(id)
                .fetch_optional(&self.pool)
                .await?;
        row.as_ref().map(|row| parsed(row, "driver")).transpose()
    }

    /// The proposals: first those that wait, then the decided ones, the latest first; at most
    /// `limit`.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn limit_proposals(&self, limit: u32) -> Result<Vec<ProposalRow>, DbError> {
        let rows = sqlx::query(
            "SELECT * FROM limit_proposals
             ORDER BY decision IS NOT NULL, COALESCE(decided_at, at) DESC, id DESC LIMIT ?",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(proposal).collect()
    }

    /// All accepted proposals, the oldest decision first, so that a later one for the same place
    /// comes after it.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn accepted_limits(&self) -> Result<Vec<ProposalRow>, DbError> {
        let rows = sqlx::query(
            "SELECT * FROM limit_proposals WHERE decision = 'accepted' ORDER BY decided_at, id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(proposal).collect()
    }
}
