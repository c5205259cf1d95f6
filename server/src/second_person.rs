//! Asking for a grant, and deciding as the second person.
//!
//! ```text
//! ask ──► waiting ──► granted ──► live ──► expired
//!            │           └► ended (given back, or taken away)
//!            ├──► refused
//!            └──► lapsed
//! ```
//! INVARIANT: each step is in the access log, and so in the feed of the driver whom it touches,
//! before it counts. Who may take it is the policies' matter, and the database refuses that
//! somebody decides on their own (`grants.decided_by <> asker`).

use temoin_proto::ids::{EventId, GrantId, UnitId, UserId};

use crate::{
    app::App,
    authz::{AskAct, AskFacts, Asker, EventFacts, FleetAct, GrantKind, Purpose, Role},
    contest::written,
    db::{acts::Act, grants::GrantRow, users::User},
    error::AppError,
    grants::{Decision, Grant, GrantState, Scope},
    log::action,
};

/// Most grants on the page.
const PAGE: u32 = 500;
/// Most characters of a request's number.
const MAX_NUMBER: usize = 40;
/// Longest time that a request covers: whoever wants more asks again.
const MAX_SPAN_MS: i64 = 92 * 24 * 3_600_000;

/// A grant as somebody may know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskShown {
    /// The grant, with the names around it.
    pub row: GrantRow,
    /// Where it stands now.
    pub state: GrantState,
    /// Whether the person who is shown this asked for it.
    pub own: bool,
    /// Whether they can decide now.
    pub may_decide: bool,
    /// Whether they can end it now.
    pub may_end: bool,
}

/// What a request covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestScope {
    /// The unit, where it is about one.
    pub unit: Option<UnitId>,
    /// The login of who drove, where it is about one.
    pub driver: Option<String>,
    /// The first moment, milliseconds since 1970.
    pub from_ms: i64,
    /// The first moment that is not in it any more.
    pub to_ms: i64,
}

impl App {
    /// Asks a second person for something about an event.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Refused`], [`AppError::Invalid`].
    pub async fn ask(
        &self,
        who: &User,
        kind: GrantKind,
        event: EventId,
        purpose: Purpose,
        words: &str,
    ) -> Result<GrantId, AppError> {
        let who = self.asker(who).await?;
        // Break-glass is for what one may not see: whether there is such an event is not told.
        let event = match (kind, self.event_for(&who, event).await) {
            (_, Ok(event)) => Some(event),
            (GrantKind::BreakGlass, Err(unseen)) => unseen.event,
            (_, Err(unseen)) => return Err(unseen.error),
        };
        let event = event.ok_or(AppError::NotFound)?;
        let facts = EventFacts::from(&event);
        if !self.authz().may_ask(&who, kind, &facts, purpose)? {
            return Err(match kind {
                GrantKind::BreakGlass => AppError::NotFound,
                GrantKind::LiftBlur
                | GrantKind::Export
                | GrantKind::Retention
                | GrantKind::Deletion
                | GrantKind::Request
                | GrantKind::Diagnostics
                | GrantKind::Trace => {
                    AppError::Refused("Your role cannot have this, or you have it already.")
                }
            });
        }
        let words = written(words, "Why you need it")?;
        let scope = Scope::Event(event.record.id);
        let driver = event.driver.as_ref().map(|d| d.id);
        self.store(&who, kind, purpose, (String::new(), words), scope, driver).await
    }

    /// Registers a request of an authority, a customer or a person: what it covers can be seen and
    /// watched under its number, which is told to the driver.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for who does not work requests, [`AppError::Invalid`].
    pub async fn register_request(
        &self,
        who: &User,
        number: &str,
        scope: &RequestScope,
        words: &str,
    ) -> Result<GrantId, AppError> {
        let who = self.asker(who).await?;
        if !self.authz().fleet(&who, FleetAct::OpenRequest)? {
            return Err(AppError::NotFound);
        }
        let number = written(number, "The request's number")?;
        if number.chars().count() > MAX_NUMBER {
            return Err(AppError::Invalid(format!(
                "A request's number has at most {MAX_NUMBER} characters."
            )));
        }
        let words = written(words, "Who asks, and on which ground")?;
        if scope.unit.is_none() && scope.driver.is_none() {
            return Err(AppError::Invalid("Say which van or which driver it is about.".to_owned()));
        }
        if !(1..=MAX_SPAN_MS).contains(&scope.to_ms.saturating_sub(scope.from_ms)) {
            return Err(AppError::Invalid(
                "The time that a request covers ends after it begins, and within 92 days."
                    .to_owned(),
            ));
        }
        if let Some(unit) = &scope.unit
            && self.db().unit(unit).await?.is_none()
        {
            return Err(AppError::Invalid(format!("There is no van `{unit}`.")));
        }
        let driver = match &scope.driver {
            None => None,
            Some(login) => Some(self.driver_by_login(login).await?),
        };
        let (from_ms, to_ms) = (scope.from_ms, scope.to_ms);
        let span = Scope::Span { unit: scope.unit.clone(), driver, from_ms, to_ms };
        self.store(&who, GrantKind::Request, Purpose::Request, (number, words), span, driver).await
    }

    /// The vendor asks to see how a unit does.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for who is not the vendor's, [`AppError::Invalid`].
    pub async fn ask_diagnostics(
        &self,
        who: &User,
        unit: &str,
        words: &str,
    ) -> Result<GrantId, AppError> {
        if who.role != Role::VendorSupport {
            return Err(AppError::NotFound);
        }
        let who = self.asker(who).await?;
        let words = written(words, "Why you need it")?;
        let no_unit = || AppError::Invalid("There is no such unit.".to_owned());
        let unit: UnitId = unit.parse().map_err(|_| no_unit())?;
        if self.db().unit(&unit).await?.is_none() {
            return Err(no_unit());
        }
        let (kind, purpose) = (GrantKind::Diagnostics, Purpose::Request);
        self.store(&who, kind, purpose, (String::new(), words), Scope::Unit(unit), None).await
    }

    /// Asks to trace leaks.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for whose office it is not, [`AppError::Refused`] where they may already,
    /// [`AppError::Invalid`].
    pub async fn ask_trace(&self, who: &User, words: &str) -> Result<GrantId, AppError> {
        let who = self.asker(who).await?;
        if self.authz().fleet(&who, FleetAct::TraceLeak)? {
            return Err(AppError::Refused("You were let do this already, and it still holds."));
        }
        if !self.authz().may_ask_trace(&who)? {
            return Err(AppError::NotFound);
        }
        let words = written(words, "What leaked, and where it was seen")?;
        let (kind, purpose) = (GrantKind::Trace, Purpose::Request);
        self.store(&who, kind, purpose, (String::new(), words), Scope::Fleet, None).await
    }

    /// Decides as the second person.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Refused`], [`AppError::Invalid`].
    pub async fn decide(
        &self,
        who: &User,
        id: GrantId,
        granted: bool,
        reason: &str,
    ) -> Result<(), AppError> {
        let who = self.asker(who).await?;
        let row = self.known_ask(&who, id).await?;
        let waits = matches!(row.grant.state(who.now_ms), GrantState::Waiting { .. });
        if !waits || !self.authz().asked(&who, AskAct::Approve, &facts(&row))? {
            return Err(AppError::Refused("This does not wait for your decision."));
        }
        // What is refused wants a reason: who asked reads it.
        let reason = if granted && reason.trim().is_empty() {
            String::new()
        } else {
            written(reason, "The reason")?
        };
        let verb = if granted { "approve" } else { "refuse" };
        self.log_step(&who, verb, &row.grant, row.driver).await?;
        let decision = Decision { granted, by: Some(who.user.id), at_ms: who.now_ms, reason };
        if !self.db().decide_grant(id, &decision).await? {
            return Err(AppError::Refused("Somebody else decided at the same time."));
        }
        // What is used up by being granted.
        match (row.grant.kind, &row.grant.scope) {
            (GrantKind::Deletion, Scope::Event(event)) if granted => {
                self.delete_early(&who, *event).await
            }
            (GrantKind::Retention, Scope::Event(event)) if granted => self.extend(*event).await,
            (_, _) => Ok(()),
        }
    }

    /// Gives a grant back, takes back what was asked, or takes away what was granted.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Refused`].
    pub async fn end(&self, who: &User, id: GrantId) -> Result<(), AppError> {
        let who = self.asker(who).await?;
        let row = self.known_ask(&who, id).await?;
        if !self.may_end(&who, &row)? {
            return Err(AppError::Refused("This has ended, or it is not yours to end."));
        }
        self.log_step(&who, "end", &row.grant, row.driver).await?;
        self.db().end_grant(id, who.now_ms).await?;
        Ok(())
    }

    /// Everything that this person asked for, can decide or may know of, the newest first.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn asks(&self, who: &User) -> Result<Vec<AskShown>, AppError> {
        let who = self.asker(who).await?;
        let rows = self.db().grants(None, PAGE).await?;
        self.shown_asks(&who, rows)
    }

    /// What this person asked for about an event, the newest first.
    pub(crate) async fn asked_by(
        &self,
        who: &Asker,
        event: EventId,
    ) -> Result<Vec<AskShown>, AppError> {
        let mut rows = self.db().grants(Some(event), PAGE).await?;
        rows.retain(|row| row.grant.asker == who.user.id);
        self.shown_asks(who, rows)
    }

    fn shown_asks(&self, who: &Asker, rows: Vec<GrantRow>) -> Result<Vec<AskShown>, AppError> {
        let mut shown = Vec::new();
        for row in rows {
            let facts = facts(&row);
            if !self.authz().asked(who, AskAct::See, &facts)? {
                continue;
            }
            let state = row.grant.state(who.now_ms);
            let waits = matches!(state, GrantState::Waiting { .. });
            shown.push(AskShown {
                state,
                own: row.grant.asker == who.user.id,
                may_decide: waits && self.authz().asked(who, AskAct::Approve, &facts)?,
                may_end: self.may_end(who, &row)?,
                row,
            });
        }
        Ok(shown)
    }

    fn may_end(&self, who: &Asker, row: &GrantRow) -> Result<bool, AppError> {
        let runs = matches!(
            row.grant.state(who.now_ms),
            GrantState::Waiting { .. } | GrantState::Live { .. }
        );
        let own = row.grant.asker == who.user.id;
        Ok(runs && (own || self.authz().asked(who, AskAct::Approve, &facts(row))?))
    }

    async fn known_ask(&self, who: &Asker, id: GrantId) -> Result<GrantRow, AppError> {
        let row = self.db().grant(id).await?.ok_or(AppError::NotFound)?;
        if self.authz().asked(who, AskAct::See, &facts(&row))? {
            Ok(row)
        } else {
            Err(AppError::NotFound)
        }
    }

    async fn driver_by_login(&self, login: &str) -> Result<UserId, AppError> {
        let found = self.db().user_by_login(login).await?.map(|(user, _)| user);
        found
            .filter(|user| user.role == Role::Driver)
            .map(|user| user.id)
            .ok_or_else(|| AppError::Invalid("There is no driver of this name.".to_owned()))
    }

    /// Logs and then stores a grant, decided already where it takes no second person.
    async fn store(
        &self,
        who: &Asker,
        kind: GrantKind,
        purpose: Purpose,
        (number, words): (String, String),
        scope: Scope,
        driver: Option<UserId>,
    ) -> Result<GrantId, AppError> {
        let decision = (!kind.needs_second_person()).then(|| Decision {
            granted: true,
            by: None,
            at_ms: who.now_ms,
            reason: String::new(),
        });
        let grant = Grant {
            id: GrantId::new(),
            kind,
            asker: who.user.id,
            purpose,
            number,
            words,
            scope,
            asked_ms: who.now_ms,
            decide_by_ms: who.now_ms.saturating_add(kind.decide_within_ms()),
            holds_ms: kind.holds_ms(),
            decision,
            ended_ms: None,
        };
        let verb = if kind.needs_second_person() { "ask" } else { "register" };
        self.log_step(who, verb, &grant, driver).await?;
        self.db().add_grant(&grant).await?;
        Ok(grant.id)
    }

    async fn log_step(
        &self,
        who: &Asker,
        verb: &str,
        grant: &Grant,
        driver: Option<UserId>,
    ) -> Result<(), AppError> {
        let action = action(&format!("{verb}_{}", grant.kind.as_str()))?;
        let event = match grant.scope {
            Scope::Event(event) => Some(event),
            Scope::Unit(_) | Scope::Fleet | Scope::Span { .. } => None,
        };
        let act = Act {
            driver,
            event,
            grant: Some(grant.id),
            purpose: Some(grant.purpose),
            ..Act::new(action, Some(who.user.id), who.now_ms)
        };
        self.log().record(self.db(), &act).await?;
        Ok(())
    }
}

/// What the policies are told of a grant.
pub(crate) fn facts(row: &GrantRow) -> AskFacts {
    AskFacts {
        kind: row.grant.kind,
        asker: row.grant.asker,
        asker_role: row.asker_role,
        asker_depot: row.asker_depot.clone(),
    }
}

#[cfg(test)]
#[path = "second_person_tests.rs"]
mod tests;
