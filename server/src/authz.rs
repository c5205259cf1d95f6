//! Decisions: who may do what. The rules are the Cedar policies in `policy/`; this file turns
//! facts into requests and answers into what the callers need.
//!
//! INVARIANT: everything is denied that no policy permits. The policies are checked against their
//! schema at start, every request against it when asked, and any diagnostic of the engine denies:
//! an erring `forbid` would otherwise be skipped.
//!
//! A decision can carry an obligation, such as 'blur the driver's face'. Each obligation is the
//! absence of a further permit, so that a forgotten policy shows less, never more.

use std::{collections::HashMap, collections::HashSet, str::FromStr};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicySet, Request, RestrictedExpression, Schema, ValidationMode, Validator,
};
use temoin_proto::ids::UserId;

use crate::db::{events::StoredEvent, units::Unit, users::User, views::ViewRow};

mod driver_rights;

pub use driver_rights::ScoreFacts;

const SCHEMA: &str = include_str!("../policy/schema.cedarschema");
const POLICIES: [(&str, &str); 4] = [
    ("driver.cedar", include_str!("../policy/driver.cedar")),
    ("dispatcher.cedar", include_str!("../policy/dispatcher.cedar")),
    ("safety_manager.cedar", include_str!("../policy/safety_manager.cedar")),
    ("offices.cedar", include_str!("../policy/offices.cedar")),
];

macro_rules! named {
    ($(#[$doc:meta])* $name:ident, $what:literal, { $($(#[$vdoc:meta])* $variant:ident = $text:literal / $words:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every one, in the order in which lists show them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in policies, in the database and in forms.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The name for people.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)+ }
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(s: &str) -> Result<Self, NameError> {
                Self::ALL.iter().copied().find(|v| v.as_str() == s).ok_or_else(|| NameError {
                    what: $what,
                    given: s.to_owned(),
                    known: Self::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

/// A word that names no role or purpose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no {what}: one of {known} is needed")]
pub struct NameError {
    what: &'static str,
    given: String,
    known: String,
}

named! {
    /// What a person is in the fleet.
    Role, "role", {
        /// Drives.
        Driver = "driver" / "Driver",
        /// Sorts the events of a depot.
        Dispatcher = "dispatcher" / "Dispatcher",
        /// Answers for certain drivers.
        SafetyManager = "safety_manager" / "Safety manager",
        /// Runs users and units; sees no picture.
        FleetAdmin = "fleet_admin" / "Fleet administrator",
        /// Decides on data; sees the access log.
        PrivacyOfficer = "privacy_officer" / "Privacy officer",
        /// Checks who looked at what.
        Auditor = "auditor" / "Auditor",
    }
}

named! {
    /// Why somebody looks at a clip.
    Purpose, "purpose", {
        /// To talk with the driver about it.
        Coaching = "coaching" / "Coaching",
        /// To see whether it needs anything.
        Triage = "triage" / "Triage",
        /// To clear up a collision.
        Collision = "collision" / "Collision",
        /// To contest an event, or to answer one that is contested.
        Contest = "contest" / "Contested event",
        /// The driver looks at an own clip.
        OwnReview = "own_review" / "Own review",
    }
}

/// What may be asked of the policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    SeeEvent,
    PlayRoad,
    PlayCabin,
    SeeDriverFace,
    SeePosition,
    SeeUnit,
    CommandUnit,
    SeeLogEntry,
    SeeLogNames,
    ContestEvent,
    AnswerContest,
    ProposeLimit,
    SeeScore,
    CorrectLimits,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::SeeEvent => "see_event",
            Self::PlayRoad => "play_road",
            Self::PlayCabin => "play_cabin",
            Self::SeeDriverFace => "see_driver_face",
            Self::SeePosition => "see_position",
            Self::SeeUnit => "see_unit",
            Self::CommandUnit => "command_unit",
            Self::SeeLogEntry => "see_log_entry",
            Self::SeeLogNames => "see_log_names",
            Self::ContestEvent => "contest_event",
            Self::AnswerContest => "answer_contest",
            Self::ProposeLimit => "propose_limit",
            Self::SeeScore => "see_score",
            Self::CorrectLimits => "correct_limits",
        }
    }
}

/// What a view may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ViewGrant {
    /// The road camera.
    pub road: bool,
    /// The cabin camera.
    pub cabin: bool,
    /// The cabin camera only with the driver's face blurred.
    pub blur_driver_face: bool,
    /// Positions among the signals.
    pub position: bool,
}

impl ViewGrant {
    /// Whether it shows any picture.
    pub const fn any_picture(self) -> bool {
        self.road || self.cabin
    }
}

/// What somebody may see of one entry of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSight {
    /// Nothing, not even that there is one.
    Nothing,
    /// The entry without the driver's name.
    WithoutDriver,
    /// All of it.
    Full,
}

/// Why there is no usable decision. Always a refusal.
#[derive(Debug, thiserror::Error)]
pub enum AuthzError {
    /// The built-in policies do not fit their schema: this build must not run.
    #[error("the policies are not usable: {0}")]
    Policies(String),
    /// A request does not fit the schema.
    #[error("a request does not fit the policies' schema: {0}")]
    Request(String),
    /// The engine could not evaluate a policy.
    #[error("a policy could not be evaluated, so the answer is no: {0}")]
    Diagnostic(String),
}

/// The facts about an event that decisions rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFacts {
    /// The event's id.
    pub id: String,
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
            id: e.record.id.to_string(),
            depot: e.depot.clone(),
            start_ms: e.record.start.unix_ms,
            driver: e.driver.as_ref().map(|d| d.id),
            manager: e.driver.as_ref().and_then(|d| d.manager),
            driver_depot: e.driver.as_ref().and_then(|d| d.depot.clone()),
        }
    }
}

/// A unit's clock may be wrong by years; beyond this the policies' arithmetic would overflow and
/// every decision on the event would fail. 1e15 ms are 31 000 years.
const CLOCK_BOUND_MS: i64 = 1_000_000_000_000_000;

/// The policy engine with its policies.
pub struct Authz {
    schema: Schema,
    policies: PolicySet,
    authorizer: Authorizer,
}

impl std::fmt::Debug for Authz {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authz").finish_non_exhaustive()
    }
}

impl Authz {
    /// The built-in policies, checked against their schema.
    ///
    /// # Errors
    /// [`AuthzError::Policies`] with everything that is wrong.
    pub fn load() -> Result<Self, AuthzError> {
        Self::parse(SCHEMA, &POLICIES)
    }

    fn parse(schema: &str, files: &[(&str, &str)]) -> Result<Self, AuthzError> {
        let (schema, warnings) = Schema::from_cedarschema_str(schema)
            .map_err(|e| AuthzError::Policies(format!("schema.cedarschema: {e}")))?;
        let mut problems: Vec<String> = warnings.map(|w| w.to_string()).collect();
        let mut policies = PolicySet::new();
        for (file, text) in files {
            let set = PolicySet::from_str(text)
                .map_err(|e| AuthzError::Policies(format!("{file}: {e:?}")))?;
            for policy in set.policies() {
                // The text gives ids by position; the annotation is the stable name.
                let id = policy.annotation("id").unwrap_or_default();
                if id.is_empty() {
                    problems.push(format!("{file}: policy {} has no @id", policy.id()));
                }
                if let Err(e) = policies.add(policy.new_id(cedar_policy::PolicyId::new(id))) {
                    problems.push(format!("{file}: {e}"));
                }
            }
        }
        let report = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        problems.extend(report.validation_errors().map(ToString::to_string));
        problems.extend(report.validation_warnings().map(ToString::to_string));
        if problems.is_empty() {
            Ok(Self { schema, policies, authorizer: Authorizer::new() })
        } else {
            Err(AuthzError::Policies(problems.join("; ")))
        }
    }

    /// Whether this person may know that the event happened.
    ///
    /// # Errors
    /// [`AuthzError`]: then the answer is no.
    pub fn may_see_event(
        &self,
        who: &User,
        event: &EventFacts,
        now_ms: i64,
    ) -> Result<bool, AuthzError> {
        self.ask(who, Action::SeeEvent, event_entity(event)?, now_ms, None)
    }

    /// What this person may watch of the event's clip for this purpose.
    ///
    /// # Errors
    /// [`AuthzError`]: then nothing.
    pub fn view_grant(
        &self,
        who: &User,
        event: &EventFacts,
        purpose: Purpose,
        now_ms: i64,
    ) -> Result<ViewGrant, AuthzError> {
        if !self.may_see_event(who, event, now_ms)? {
            return Ok(ViewGrant::default());
        }
        let ask = |action| self.ask(who, action, event_entity(event)?, now_ms, Some(purpose));
        Ok(ViewGrant {
            road: ask(Action::PlayRoad)?,
            cabin: ask(Action::PlayCabin)?,
            blur_driver_face: !ask(Action::SeeDriverFace)?,
            position: ask(Action::SeePosition)?,
        })
    }

    /// The purposes for which this person may watch anything of the event's clip.
    ///
    /// # Errors
    /// [`AuthzError`].
    pub fn purposes(
        &self,
        who: &User,
        event: &EventFacts,
        now_ms: i64,
    ) -> Result<Vec<Purpose>, AuthzError> {
        let mut allowed = Vec::new();
        for purpose in Purpose::ALL {
            if self.view_grant(who, event, *purpose, now_ms)?.any_picture() {
                allowed.push(*purpose);
            }
        }
        Ok(allowed)
    }

    /// Whether this person may see the unit and its health.
    ///
    /// # Errors
    /// [`AuthzError`].
    pub fn may_see_unit(&self, who: &User, unit: &Unit, now_ms: i64) -> Result<bool, AuthzError> {
        self.ask(who, Action::SeeUnit, unit_entity(unit)?, now_ms, None)
    }

    /// Whether this person may give orders to the unit.
    ///
    /// # Errors
    /// [`AuthzError`].
    pub fn may_command_unit(
        &self,
        who: &User,
        unit: &Unit,
        now_ms: i64,
    ) -> Result<bool, AuthzError> {
        self.ask(who, Action::CommandUnit, unit_entity(unit)?, now_ms, None)
    }

    /// What this person may see of an entry of the access log.
    ///
    /// # Errors
    /// [`AuthzError`]: then nothing.
    pub fn log_sight(
        &self,
        who: &User,
        row: &ViewRow,
        now_ms: i64,
    ) -> Result<LogSight, AuthzError> {
        self.log_sight_of(who, row.view.log_index, row.view.user, row.driver, now_ms)
    }

    fn log_sight_of(
        &self,
        who: &User,
        index: u64,
        actor: UserId,
        driver: Option<UserId>,
        now_ms: i64,
    ) -> Result<LogSight, AuthzError> {
        let resource = || {
            let mut attributes = HashMap::from([("actor".to_owned(), user_ref(actor)?)]);
            if let Some(driver) = driver {
                attributes.insert("driver".to_owned(), user_ref(driver)?);
            }
            entity("LogEntry", &index.to_string(), attributes, HashSet::new())
        };
        if !self.ask(who, Action::SeeLogEntry, resource()?, now_ms, None)? {
            return Ok(LogSight::Nothing);
        }
        if self.ask(who, Action::SeeLogNames, resource()?, now_ms, None)? {
            Ok(LogSight::Full)
        } else {
            Ok(LogSight::WithoutDriver)
        }
    }

    fn ask(
        &self,
        who: &User,
        action: Action,
        resource: Entity,
        now_ms: i64,
        purpose: Option<Purpose>,
    ) -> Result<bool, AuthzError> {
        if who.disabled {
            return Ok(false);
        }
        let principal = user_entity(who)?;
        let mut context =
            vec![("now_ms".to_owned(), RestrictedExpression::new_long(bounded(now_ms)))];
        if let Some(purpose) = purpose {
            let purpose = RestrictedExpression::new_entity_uid(uid("Purpose", purpose.as_str())?);
            context.push(("purpose".to_owned(), purpose));
        }
        let request = Request::new(
            principal.uid(),
            uid("Action", action.as_str())?,
            resource.uid(),
            Context::from_pairs(context).map_err(request_error)?,
            Some(&self.schema),
        )
        .map_err(request_error)?;
        let entities = Entities::from_entities([principal, resource], Some(&self.schema))
            .map_err(request_error)?;
        let response = self.authorizer.is_authorized(&request, &self.policies, &entities);
        let errors: Vec<String> =
            response.diagnostics().errors().map(ToString::to_string).collect();
        if !errors.is_empty() {
            return Err(AuthzError::Diagnostic(errors.join("; ")));
        }
        Ok(response.decision() == Decision::Allow)
    }
}

fn request_error(error: impl std::error::Error) -> AuthzError {
    AuthzError::Request(crate::error::chain(&error))
}

fn bounded(ms: i64) -> i64 {
    ms.clamp(-CLOCK_BOUND_MS, CLOCK_BOUND_MS)
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, AuthzError> {
    let kind = EntityTypeName::from_str(kind).map_err(request_error)?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn user_ref(id: UserId) -> Result<RestrictedExpression, AuthzError> {
    Ok(RestrictedExpression::new_entity_uid(uid("User", &id.to_string())?))
}

fn entity(
    kind: &str,
    id: &str,
    attributes: HashMap<String, RestrictedExpression>,
    parents: HashSet<EntityUid>,
) -> Result<Entity, AuthzError> {
    Entity::new(uid(kind, id)?, attributes, parents).map_err(request_error)
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn user_entity(user: &User) -> Result<Entity, AuthzError> {
    let attributes =
        user.depot.iter().map(|depot| ("depot".to_owned(), text(depot))).collect::<HashMap<_, _>>();
    let parents = HashSet::from([uid("Role", user.role.as_str())?]);
    entity("User", &user.id.to_string(), attributes, parents)
}

fn event_entity(event: &EventFacts) -> Result<Entity, AuthzError> {
    let start = RestrictedExpression::new_long(bounded(event.start_ms));
    let mut attributes =
        HashMap::from([("depot".to_owned(), text(&event.depot)), ("start_ms".to_owned(), start)]);
    if let Some(driver) = event.driver {
        attributes.insert("driver".to_owned(), user_ref(driver)?);
    }
    if let Some(manager) = event.manager {
        attributes.insert("manager".to_owned(), user_ref(manager)?);
    }
    if let Some(depot) = &event.driver_depot {
        attributes.insert("driver_depot".to_owned(), text(depot));
    }
    entity("Event", &event.id, attributes, HashSet::new())
}

fn unit_entity(unit: &Unit) -> Result<Entity, AuthzError> {
    let attributes = HashMap::from([("depot".to_owned(), text(&unit.depot))]);
    entity("Unit", unit.id.as_str(), attributes, HashSet::new())
}

#[cfg(test)]
#[path = "authz_tests.rs"]
mod tests;
