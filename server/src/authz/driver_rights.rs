//! Decisions about a driver's objections, score, and corrections of limits.

use std::collections::{HashMap, HashSet};

use cedar_policy::Entity;
use temoin_proto::ids::UserId;

use super::{Action, Authz, AuthzError, EventFacts, entity, event_entity, text, user_ref};
use crate::db::users::User;

/// The facts about a driver's score that decisions rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreFacts {
    /// The driver.
    pub driver: UserId,
    /// The driver's safety manager, where one is named.
    pub manager: Option<UserId>,
    /// The driver's depot.
    pub depot: Option<String>,
}

impl From<&User> for ScoreFacts {
    fn from(driver: &User) -> Self {
        Self { driver: driver.id, manager: driver.manager, depot: driver.depot.clone() }
    }
}

impl Authz {
    /// Whether this person may contest the event.
    ///
    /// # Errors
    /// [`AuthzError`]: then the answer is no.
    pub fn may_contest(
        &self,
        who: &User,
        event: &EventFacts,
        now_ms: i64,
    ) -> Result<bool, AuthzError> {
        self.ask(who, Action::ContestEvent, event_entity(event)?, now_ms, None)
    }

    /// Whether this person may answer the driver who contests the event.
    ///
    /// # Errors
    /// [`AuthzError`]: then the answer is no.
    pub fn may_answer_contest(
        &self,
        who: &User,
        event: &EventFacts,
        now_ms: i64,
    ) -> Result<bool, AuthzError> {
        self.ask(who, Action::AnswerContest, event_entity(event)?, now_ms, None)
    }

    /// Whether this person may propose another limit for where the event took place.
    ///
    /// # Errors
    /// [`AuthzError`]: then the answer is no.
    pub fn may_propose_limit(
        &self,
        who: &User,
        event: &EventFacts,
        now_ms: i64,
    ) -> Result<bool, AuthzError> {
        self.ask(who, Action::ProposeLimit, event_entity(event)?, now_ms, None)
    }

    /// Whether this person may see the driver's score.
    ///
    /// # Errors
    /// [`AuthzError`]: then the answer is no.
    pub fn may_see_score(
        &self,
        who: &User,
        score: &ScoreFacts,
        now_ms: i64,
    ) -> Result<bool, AuthzError> {
        self.ask(who, Action::SeeScore, score_entity(score)?, now_ms, None)
    }

    /// Whether this person may decide which limits are corrected.
    ///
    /// # Errors
    /// [`AuthzError`]: then the answer is no.
    pub fn may_correct_limits(&self, who: &User, now_ms: i64) -> Result<bool, AuthzError> {
        let fleet = entity("Fleet", "fleet", HashMap::new(), HashSet::new())?;
        self.ask(who, Action::CorrectLimits, fleet, now_ms, None)
    }
}

fn score_entity(score: &ScoreFacts) -> Result<Entity, AuthzError> {
    let mut attributes = HashMap::from([("driver".to_owned(), user_ref(score.driver)?)]);
    if let Some(manager) = score.manager {
        attributes.insert("manager".to_owned(), user_ref(manager)?);
    }
    if let Some(depot) = &score.depot {
        attributes.insert("depot".to_owned(), text(depot));
    }
    entity("Score", &score.driver.to_string(), attributes, HashSet::new())
}
