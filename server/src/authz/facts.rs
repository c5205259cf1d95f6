//! What decisions rest on: who asks and with which grants, and the things that are asked about, as
//! entities of the policies' schema. Only the entities of one request are ever made.

use std::collections::{HashMap, HashSet};

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use temoin_proto::ids::{EventId, UnitId, UserId};

use super::{AuthzError, GrantKind, Role, request_error};
use crate::{
    db::{events::StoredEvent, units::Unit, users::User},
    grants::Grant,
};

/// A unit's clock may be wrong by years; beyond this the policies' arithmetic would overflow and
/// every decision on the event would fail. 1e15 ms are 31 000 years.
const CLOCK_BOUND_MS: i64 = 1_000_000_000_000_000;

/// Somebody who asks, as of now.
#[derive(Debug, Clone, PartialEq)]
pub struct Asker {
    /// Who.
    pub user: User,
    /// What they were granted beyond their role; ended ones too, which allow nothing.
    pub grants: Vec<Grant>,
    /// When, milliseconds since 1970.
    pub now_ms: i64,
}

impl Asker {
    /// The live grants that hold for a thing: `covers` says for which.
    pub(super) fn granted(&self, covers: impl Fn(&Grant) -> bool) -> HashSet<GrantKind> {
        self.grants
            .iter()
            .filter(|g| g.asker == self.user.id && g.is_live(self.now_ms) && covers(g))
            .map(|g| g.kind)
            .collect()
    }
}

/// The facts about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFacts {
    /// The event's id.
    pub id: EventId,
    /// The unit; none: of no unit of this fleet.
    pub unit: Option<UnitId>,
    /// The unit's depot.
    pub depot: String,
    /// When it began, milliseconds since 1970.
    pub start_ms: i64,
    /// Who drove.
    pub driver: Option<UserId>,
    /// The driver's safety manager, where one is named.
    pub manager: Option<UserId>,
    /// The driver's depot.
    pub driver_depot: Option<String>,
}

impl From<&StoredEvent> for EventFacts {
    fn from(e: &StoredEvent) -> Self {
        Self {
            id: e.record.id,
            unit: Some(e.unit.clone()),
            depot: e.depot.clone(),
            start_ms: e.record.start.unix_ms,
            driver: e.driver.as_ref().map(|d| d.id),
            manager: e.driver.as_ref().and_then(|d| d.manager),
            driver_depot: e.driver.as_ref().and_then(|d| d.depot.clone()),
        }
    }
}

/// The facts about a driver's score.
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

/// The facts about what somebody asks a second person for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskFacts {
    /// For what.
    pub kind: GrantKind,
    /// Who asks.
    pub asker: UserId,
    /// What they are in the fleet.
    pub asker_role: Role,
    /// Their depot.
    pub asker_depot: Option<String>,
}

/// Attributes of an entity; absent ones are left out.
#[derive(Default)]
struct Attributes(HashMap<String, RestrictedExpression>);

impl Attributes {
    fn text(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), RestrictedExpression::new_string(value.to_owned()));
        }
        self
    }

    fn time(mut self, name: &str, ms: i64) -> Self {
        self.0.insert(name.to_owned(), long(ms));
        self
    }

    fn user(self, name: &str, user: Option<UserId>) -> Result<Self, AuthzError> {
        match user {
            Some(user) => self.named(name, "User", &user.to_string()),
            None => Ok(self),
        }
    }

    fn named(mut self, name: &str, kind: &str, id: &str) -> Result<Self, AuthzError> {
        self.0.insert(name.to_owned(), RestrictedExpression::new_entity_uid(uid(kind, id)?));
        Ok(self)
    }

    fn of(self, kind: &str, id: &str) -> Result<Entity, AuthzError> {
        self.within(kind, id, HashSet::new())
    }

    fn within(
        self,
        kind: &str,
        id: &str,
        parents: HashSet<EntityUid>,
    ) -> Result<Entity, AuthzError> {
        Entity::new(uid(kind, id)?, self.0, parents).map_err(request_error)
    }
}

/// A time for the policies.
pub(super) fn long(ms: i64) -> RestrictedExpression {
    RestrictedExpression::new_long(ms.clamp(-CLOCK_BOUND_MS, CLOCK_BOUND_MS))
}

pub(super) fn uid(kind: &str, id: &str) -> Result<EntityUid, AuthzError> {
    let kind: EntityTypeName = kind.parse().map_err(request_error)?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

pub(super) fn user(user: &User) -> Result<Entity, AuthzError> {
    let parents = HashSet::from([uid("Role", user.role.as_str())?]);
    Attributes::default()
        .text("depot", user.depot.as_deref())
        .user("manager", user.manager)?
        .within("User", &user.id.to_string(), parents)
}

pub(super) fn event(event: &EventFacts) -> Result<Entity, AuthzError> {
    Attributes::default()
        .text("depot", Some(&event.depot))
        .time("start_ms", event.start_ms)
        .user("driver", event.driver)?
        .user("manager", event.manager)?
        .text("driver_depot", event.driver_depot.as_deref())
        .of("Event", &event.id.to_string())
}

/// A customer's link to the delivery that an event stands for.
pub(super) fn share_link(delivery: EventId, expires_ms: i64) -> Result<Entity, AuthzError> {
    Attributes::default()
        .named("event", "Event", &delivery.to_string())?
        .time("expires_ms", expires_ms)
        .of("ShareLink", "link")
}

pub(super) fn unit(unit: &Unit) -> Result<Entity, AuthzError> {
    Attributes::default()
        .text("depot", Some(&unit.depot))
        .user("installer", unit.installer)?
        .of("Unit", unit.id.as_str())
}

pub(super) fn log_entry(
    actor: Option<UserId>,
    driver: Option<UserId>,
) -> Result<Entity, AuthzError> {
    Attributes::default().user("actor", actor)?.user("driver", driver)?.of("LogEntry", "entry")
}

pub(super) fn score(score: &ScoreFacts) -> Result<Entity, AuthzError> {
    Attributes::default()
        .user("driver", Some(score.driver))?
        .user("manager", score.manager)?
        .text("depot", score.depot.as_deref())
        .of("Score", &score.driver.to_string())
}

pub(super) fn ask(ask: &AskFacts) -> Result<Entity, AuthzError> {
    Attributes::default()
        .named("kind", "Grant", ask.kind.as_str())?
        .user("asker", Some(ask.asker))?
        .named("asker_role", "Role", ask.asker_role.as_str())?
        .text("asker_depot", ask.asker_depot.as_deref())
        .of("Ask", "ask")
}

pub(super) fn fleet() -> Result<Entity, AuthzError> {
    Attributes::default().of("Fleet", "fleet")
}
