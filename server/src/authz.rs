//! Decisions: who may do what. The rules are the Cedar policies in `policy/`; this file turns
//! facts into requests and answers into what the callers need.
//!
//! | module | what |
//! |---|---|
//! | `words` | roles, purposes, kinds of grants |
//! | `facts` | who asks, about what |
//!
//! INVARIANT: everything is denied that no policy permits. The policies are checked against their
//! schema at start, every request against it when asked, and any diagnostic of the engine denies:
//! an erring `forbid` would otherwise be skipped.
//!
//! A decision can carry an obligation, such as 'blur the driver's face'. Each obligation is the
//! absence of a further permit, so that a forgotten policy shows less, never more.

use std::{collections::HashSet, str::FromStr};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, PolicySet, Request, RestrictedExpression,
    Schema, ValidationMode, Validator,
};
use temoin_proto::ids::{EventId, UserId};

use crate::{db::units::Unit, grants::Grant};

mod facts;
mod words;

pub use facts::{AskFacts, Asker, EventFacts, ScoreFacts};
pub use words::{GrantKind, NameError, Purpose, Role};

const SCHEMA: &str = include_str!("../policy/schema.cedarschema");
const POLICIES: [(&str, &str); 5] = [
    ("driver.cedar", include_str!("../policy/driver.cedar")),
    ("dispatcher.cedar", include_str!("../policy/dispatcher.cedar")),
    ("safety_manager.cedar", include_str!("../policy/safety_manager.cedar")),
    ("offices.cedar", include_str!("../policy/offices.cedar")),
    ("second_person.cedar", include_str!("../policy/second_person.cedar")),
];

macro_rules! acts {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The action's name in the policies.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

acts! {
    /// What can be done about an event without seeing a picture.
    EventAct {
        /// Know of it.
        See = "see_event",
        /// Say that it is wrong.
        Contest = "contest_event",
        /// Answer who says so.
        AnswerContest = "answer_contest",
        /// Propose another limit for its place.
        ProposeLimit = "propose_limit",
        /// Ask that its clip is deleted early.
        AskDeletion = "ask_deletion",
        /// Delete its clip early.
        DeleteClip = "delete_clip",
        /// Keep its clip beyond its time.
        ExtendRetention = "extend_retention",
        /// Keep its clip for a legal ground.
        HoldClip = "hold_clip",
    }
}
acts! {
    /// What can be done with an event's clip, for a purpose.
    ClipAct {
        /// Watch the road camera.
        PlayRoad = "play_road",
        /// Watch the cabin camera.
        PlayCabin = "play_cabin",
        /// See the driver's face in it.
        SeeDriverFace = "see_driver_face",
        /// See other people.
        LiftBlur = "lift_blur",
        /// See positions.
        SeePosition = "see_position",
        /// Take it away as a file.
        Export = "export",
        /// Ask the unit for what it did not flag.
        AskClip = "ask_clip",
    }
}
acts! {
    /// What can be done about a unit.
    UnitAct {
        /// See its health.
        See = "see_unit",
        /// Give it orders.
        Command = "command_unit",
    }
}
acts! {
    /// What concerns all of the fleet.
    FleetAct {
        /// Decide which speed limits are corrected.
        CorrectLimits = "correct_limits",
        /// Add and switch off accounts.
        ManageUsers = "manage_users",
        /// Set what units detect and record.
        ManagePolicy = "manage_policy",
        /// Set how long recordings are kept.
        ManageRetention = "manage_retention",
        /// Register a request of an authority, a customer or a person.
        OpenRequest = "open_request",
        /// Read all of the access log's hashes.
        VerifyLog = "verify_log",
        /// Compare a file that leaked with recordings and their viewings.
        TraceLeak = "trace_leak",
    }
}
acts! {
    /// What can be done about something that a second person is asked for.
    AskAct {
        /// Know of it.
        See = "see_ask",
        /// Be the second person.
        Approve = "approve",
    }
}
acts! {
    /// What a customer's link can do.
    ShareAct {
        /// See the one delivery.
        See = "see_delivery",
        /// Delete it.
        Delete = "delete_delivery",
    }
}

/// What of a clip may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permit {
    /// The road camera.
    pub road: bool,
    /// The cabin camera.
    pub cabin: bool,
    /// The cabin camera only with the driver's face blurred.
    pub blur_driver_face: bool,
    /// Other people without blur, where there is such a track.
    pub others: bool,
    /// Positions among the signals.
    pub position: bool,
    /// To take away as a file.
    pub export: bool,
}

impl Permit {
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

/// The policy engine with its policies.
pub struct Authz {
    schema: Schema,
    policies: PolicySet,
    authorizer: Authorizer,
    /// Every action that was asked about, for tests.
    #[cfg(test)]
    asked: std::sync::Mutex<std::collections::BTreeSet<String>>,
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
            Ok(Self {
                schema,
                policies,
                authorizer: Authorizer::new(),
                #[cfg(test)]
                asked: std::sync::Mutex::default(),
            })
        } else {
            Err(AuthzError::Policies(problems.join("; ")))
        }
    }

    /// What was asked about since the last call.
    #[cfg(test)]
    pub(crate) fn forget_asked(&self) -> std::collections::BTreeSet<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// Whether this may be done about an event.
    ///
    /// # Errors
    /// [`AuthzError`]: then the answer is no.
    pub fn event(
        &self,
        who: &Asker,
        act: EventAct,
        event: &EventFacts,
    ) -> Result<bool, AuthzError> {
        self.event_with(who, act, event, &who.granted(|g| g.covers(event)))
    }

    fn event_with(
        &self,
        who: &Asker,
        act: EventAct,
        event: &EventFacts,
        granted: &HashSet<GrantKind>,
    ) -> Result<bool, AuthzError> {
        self.ask(who, act.as_str(), facts::event(event)?, None, granted)
    }

    /// Whether this may be done with an event's clip, for this purpose.
    ///
    /// # Errors
    /// [`AuthzError`]: then the answer is no.
    pub fn clip(
        &self,
        who: &Asker,
        act: ClipAct,
        event: &EventFacts,
        purpose: Purpose,
    ) -> Result<bool, AuthzError> {
        // A grant is for its own purpose.
        let granted = who.granted(|g| g.covers(event) && g.purpose == purpose);
        self.clip_with(who, act, event, purpose, &granted)
    }

    fn clip_with(
        &self,
        who: &Asker,
        act: ClipAct,
        event: &EventFacts,
        purpose: Purpose,
        granted: &HashSet<GrantKind>,
    ) -> Result<bool, AuthzError> {
        self.ask(who, act.as_str(), facts::event(event)?, Some(purpose), granted)
    }

    /// What this person may watch of the event's clip for this purpose.
    ///
    /// # Errors
    /// [`AuthzError`]: then nothing.
    pub fn permit(
        &self,
        who: &Asker,
        event: &EventFacts,
        purpose: Purpose,
    ) -> Result<Permit, AuthzError> {
        if !self.event(who, EventAct::See, event)? {
            return Ok(Permit::default());
        }
        let ask = |act| self.clip(who, act, event, purpose);
        Ok(Permit {
            road: ask(ClipAct::PlayRoad)?,
            cabin: ask(ClipAct::PlayCabin)?,
            blur_driver_face: !ask(ClipAct::SeeDriverFace)?,
            others: ask(ClipAct::LiftBlur)?,
            position: ask(ClipAct::SeePosition)?,
            export: ask(ClipAct::Export)?,
        })
    }

    /// The purposes for which this person may watch anything of the event's clip, and what.
    ///
    /// # Errors
    /// [`AuthzError`].
    pub fn purposes(
        &self,
        who: &Asker,
        event: &EventFacts,
    ) -> Result<Vec<(Purpose, Permit)>, AuthzError> {
        let mut allowed = Vec::new();
        for purpose in Purpose::ALL {
            let permit = self.permit(who, event, *purpose)?;
            if permit.any_picture() {
                allowed.push((*purpose, permit));
            }
        }
        Ok(allowed)
    }

    /// Whether a grant of this kind would give this person something about the event that they do
    /// not have: only then may they ask for it.
    ///
    /// # Errors
    /// [`AuthzError`]: then the answer is no.
    pub fn may_ask(
        &self,
        who: &Asker,
        kind: GrantKind,
        event: &EventFacts,
        purpose: Purpose,
    ) -> Result<bool, AuthzError> {
        let without = who.granted(|g| g.covers(event) && g.purpose == purpose);
        let mut with = without.clone();
        with.insert(kind);
        let gives = |granted: &HashSet<GrantKind>| match kind {
            GrantKind::LiftBlur => self.clip_with(who, ClipAct::LiftBlur, event, purpose, granted),
            GrantKind::Export => self.clip_with(who, ClipAct::Export, event, purpose, granted),
            GrantKind::Retention => self.event_with(who, EventAct::ExtendRetention, event, granted),
            GrantKind::BreakGlass | GrantKind::Request => {
                self.event_with(who, EventAct::See, event, granted)
            }
            GrantKind::Deletion | GrantKind::Diagnostics | GrantKind::Trace => Ok(false),
        };
        // It gives nothing to who asks: somebody else deletes.
        if kind == GrantKind::Deletion {
            return self.event(who, EventAct::AskDeletion, event);
        }
        Ok(gives(&with)? && !gives(&without)?)
    }

    /// Whether this may be done about a unit.
    ///
    /// # Errors
    /// [`AuthzError`]: then the answer is no.
    pub fn unit(&self, who: &Asker, act: UnitAct, unit: &Unit) -> Result<bool, AuthzError> {
        let granted = who.granted(|g| g.covers_unit(&unit.id));
        self.ask(who, act.as_str(), facts::unit(unit)?, None, &granted)
    }

    /// What this person may see of an entry of the access log on somebody's act and a driver.
    ///
    /// # Errors
    /// [`AuthzError`]: then nothing.
    pub fn log_sight(
        &self,
        who: &Asker,
        actor: Option<UserId>,
        driver: Option<UserId>,
    ) -> Result<LogSight, AuthzError> {
        let ask =
            |action| self.ask(who, action, facts::log_entry(actor, driver)?, None, &HashSet::new());
        if !ask("see_log_entry")? {
            return Ok(LogSight::Nothing);
        }
        Ok(if ask("see_log_names")? { LogSight::Full } else { LogSight::WithoutDriver })
    }

    /// Whether this person may see the driver's score.
    ///
    /// # Errors
    /// [`AuthzError`]: then the answer is no.
    pub fn score(&self, who: &Asker, score: &ScoreFacts) -> Result<bool, AuthzError> {
        self.ask(who, "see_score", facts::score(score)?, None, &HashSet::new())
    }

    /// Whether this person may do what concerns all of the fleet.
    ///
    /// # Errors
    /// [`AuthzError`]: then the answer is no.
    pub fn fleet(&self, who: &Asker, act: FleetAct) -> Result<bool, AuthzError> {
        self.fleet_with(who, act, &who.granted(Grant::covers_fleet))
    }

    fn fleet_with(
        &self,
        who: &Asker,
        act: FleetAct,
        granted: &HashSet<GrantKind>,
    ) -> Result<bool, AuthzError> {
        self.ask(who, act.as_str(), facts::fleet()?, None, granted)
    }

    /// Whether a grant would let this person trace leaks, who may not without.
    ///
    /// # Errors
    /// [`AuthzError`]: then the answer is no.
    pub fn may_ask_trace(&self, who: &Asker) -> Result<bool, AuthzError> {
        let with = HashSet::from([GrantKind::Trace]);
        Ok(self.fleet_with(who, FleetAct::TraceLeak, &with)?
            && !self.fleet(who, FleetAct::TraceLeak)?)
    }

    /// Whether this person may do this about something that a second person is asked for.
    ///
    /// # Errors
    /// [`AuthzError`]: then the answer is no.
    pub fn asked(&self, who: &Asker, act: AskAct, ask: &AskFacts) -> Result<bool, AuthzError> {
        self.ask(who, act.as_str(), facts::ask(ask)?, None, &HashSet::new())
    }

    /// Whether a customer's link, for one delivery and until a time, may do this about an event.
    ///
    /// # Errors
    /// [`AuthzError`]: then the answer is no.
    pub fn share_link(
        &self,
        (delivery, expires_ms): (EventId, i64),
        act: ShareAct,
        event: &EventFacts,
        now_ms: i64,
    ) -> Result<bool, AuthzError> {
        let context = vec![("now_ms".to_owned(), facts::long(now_ms))];
        let link = facts::share_link(delivery, expires_ms)?;
        self.decide(link, act.as_str(), facts::event(event)?, context)
    }

    fn ask(
        &self,
        who: &Asker,
        action: &str,
        resource: Entity,
        purpose: Option<Purpose>,
        granted: &HashSet<GrantKind>,
    ) -> Result<bool, AuthzError> {
        if who.user.disabled {
            return Ok(false);
        }
        let named = |kind, id| Ok(RestrictedExpression::new_entity_uid(facts::uid(kind, id)?));
        let granted = granted
            .iter()
            .map(|kind| named("Grant", kind.as_str()))
            .collect::<Result<Vec<_>, AuthzError>>()?;
        let mut context = vec![
            ("now_ms".to_owned(), facts::long(who.now_ms)),
            ("granted".to_owned(), RestrictedExpression::new_set(granted)),
        ];
        if let Some(purpose) = purpose {
            context.push(("purpose".to_owned(), named("Purpose", purpose.as_str())?));
        }
        self.decide(facts::user(&who.user)?, action, resource, context)
    }

    fn decide(
        &self,
        principal: Entity,
        action: &str,
        resource: Entity,
        context: Vec<(String, RestrictedExpression)>,
    ) -> Result<bool, AuthzError> {
        #[cfg(test)]
        self.asked.lock().unwrap().insert(action.to_owned());
        let request = Request::new(
            principal.uid(),
            facts::uid("Action", action)?,
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

#[cfg(test)]
#[path = "authz_tests.rs"]
mod tests;
