//! Whose score somebody may see, and what goes into it. The sum itself is [`crate::score`].
//!
//! INVARIANT: a score is shown with every event that went in or was left out, and why. Drivers are
//! listed by name, never by score: nothing here compares one with another.

use std::collections::HashSet;

use temoin_proto::ids::{EventId, UserId};

use crate::{
    app::App,
    authz::{Asker, EventAct, EventFacts, Role, ScoreFacts},
    db::{
        driven::Fault,
        events::{EventScope, StoredEvent},
        users::User,
    },
    error::AppError,
    score::{self, Candidate, DAY_MS, LeftOut, PERIOD_DAYS, Sum},
    show::EventRow,
};

/// Most events of one driver in a period. More than 300 a day say something of the detectors.
const MOST_EVENTS: u32 = 10_000;
/// A unit's clock that may be this wrong does not say who drove, milliseconds.
const CLOCK_FAULT_MS: u64 = 10 * 60_000;
/// Most objections that are shown as waiting.
const MOST_OPEN: u32 = 1_000;

/// An event of the period.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredEvent {
    /// The event.
    pub row: EventRow,
    /// Its points, or why it has none.
    pub points: Result<u32, LeftOut>,
}

/// A driver's score with all that went in.
#[derive(Debug, Clone, PartialEq)]
pub struct DriverScore {
    /// Whose.
    pub driver: UserId,
    /// Their name.
    pub name: String,
    /// Whether it is the reader's own.
    pub own: bool,
    /// The first instant that counts, milliseconds since 1970.
    pub from_ms: i64,
    /// The sum.
    pub sum: Sum,
    /// All events of the period, the newest first.
    pub events: Vec<ScoredEvent>,
}

/// A driver whose score this person may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverRow {
    /// Who.
    pub driver: UserId,
    /// Their name.
    pub name: String,
}

/// An objection that waits for this person.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenObjection {
    /// The event.
    pub row: EventRow,
    /// What the driver says.
    pub words: String,
    /// Since when it waits, milliseconds since 1970.
    pub at_ms: i64,
}

/// What a safety manager begins with.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Drivers {
    /// Objections without an answer, the oldest first.
    pub waiting: Vec<OpenObjection>,
    /// The drivers by name.
    pub drivers: Vec<DriverRow>,
}

impl App {
    /// A driver's own score.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for who is no driver; others as they come.
    pub async fn my_score(&self, who: &User) -> Result<DriverScore, AppError> {
        if who.role != Role::Driver {
            return Err(AppError::NotFound);
        }
        self.driver_score(who, who.id).await
    }

    /// The score of a driver.
    ///
    /// # Errors
    /// [`AppError::NotFound`] where there is no such driver or this person may not know.
    pub async fn driver_score(&self, who: &User, driver: UserId) -> Result<DriverScore, AppError> {
        let driver = self.db().user(driver).await?.ok_or(AppError::NotFound)?;
        let who = self.asker(who).await?;
        let now_ms = who.now_ms;
        if driver.role != Role::Driver || !self.authz().score(&who, &ScoreFacts::from(&driver))? {
            return Err(AppError::NotFound);
        }
        let from_ms = score::period_start(now_ms);
        let driven = self.db().driven_since(driver.id, score::day_of(from_ms)).await?;
        let driven: Vec<_> =
            driven.into_iter().filter(|d| d.day <= score::day_of(now_ms)).collect();
        let days: HashSet<_> =
            driven.iter().filter(|d| d.driven_m > 0.0).map(|d| (&d.unit, d.day)).collect();
        let faults = self.db().faults_since(driver.id, from_ms).await?;
        let scope = EventScope {
            driver: Some(driver.id),
            since_ms: Some(from_ms),
            before_ms: Some(from_ms.saturating_add(PERIOD_DAYS * DAY_MS)),
            ..EventScope::default()
        };
        let mut events = Vec::new();
        let mut candidates = Vec::new();
        for event in self.db().events(&scope, MOST_EVENTS).await? {
            if !self.authz().event(&who, EventAct::See, &EventFacts::from(&event))? {
                continue;
            }
            let day = score::day_of(event.record.start.unix_ms);
            let candidate = Candidate {
                kind: event.record.kind,
                severity: event.record.severity,
                confidence: event.record.confidence,
                contest: event.contest,
                device_fault: is_faulty(&event, &faults),
                distance_known: days.contains(&(&event.unit, day)),
            };
            candidates.push(candidate);
            let row = EventRow { contest: event.contest, ..EventRow::without_views(&event) };
            events.push(ScoredEvent { row, points: candidate.points() });
        }
        let driven_m = driven.iter().map(|d| d.driven_m).sum();
        Ok(DriverScore {
            driver: driver.id,
            own: driver.id == who.user.id,
            name: driver.name,
            from_ms,
            sum: score::sum(driven_m, &candidates),
            events,
        })
    }

    /// The drivers whose scores this person may see, and the objections that wait for an answer.
    ///
    /// # Errors
    /// [`AppError::NotFound`] where the role has no drivers; others as they come.
    pub async fn drivers(&self, who: &User) -> Result<Drivers, AppError> {
        if who.role != Role::SafetyManager {
            return Err(AppError::NotFound);
        }
        let who = self.asker(who).await?;
        let mut shown = Drivers::default();
        for driver in self.db().drivers().await? {
            if self.authz().score(&who, &ScoreFacts::from(&driver))? {
                shown.drivers.push(DriverRow { driver: driver.id, name: driver.name });
            }
        }
        for contest in self.db().open_contests(MOST_OPEN).await? {
            let Some(event) = self.answerable(&who, contest.event).await? else { continue };
            shown.waiting.push(OpenObjection {
                row: EventRow { contest: Some(contest.state()), ..EventRow::without_views(&event) },
                at_ms: contest.at_ms,
                words: contest.words,
            });
        }
        Ok(shown)
    }

    /// The event, where this person may answer its driver.
    async fn answerable(&self, who: &Asker, id: EventId) -> Result<Option<StoredEvent>, AppError> {
        let Some(event) = self.db().event(id).await? else { return Ok(None) };
        let facts = EventFacts::from(&event);
        let may = self.authz().event(who, EventAct::See, &facts)?
            && self.authz().event(who, EventAct::AnswerContest, &facts)?;
        Ok(may.then_some(event))
    }
}

/// Whether a part that the event rests on did not work while it went on, or the unit's clock did
/// not say when that was.
fn is_faulty(event: &StoredEvent, faults: &[Fault]) -> bool {
    let record = &event.record;
    record.start.uncertainty_ms >= CLOCK_FAULT_MS
        || faults.iter().any(|fault| {
            fault.unit == event.unit
                && score::concerns(record.kind, &fault.part)
                && fault.from_ms <= record.end_unix_ms
                && fault.to_ms.is_none_or(|to| record.start.unix_ms <= to)
        })
}
