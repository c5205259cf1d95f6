//! What the portal may show. Every struct here has been through the decisions of [`crate::authz`]:
//! the portal lays out what it gets and asks for nothing else.
//!
//! INVARIANT: a thing whose existence is secret gives [`AppError::NotFound`], as does one that
//! does not exist. A row that may not be seen is left out without a trace, counts included.

use serde::Serialize;
use temoin_access_log::Action;
use temoin_proto::{
    events::{EventKind, Number, Severity},
    ids::{CommandId, EventId, UnitId, UserId},
    wire,
};

use crate::{
    app::App,
    authz::{Asker, EventAct, EventFacts, GrantKind, Purpose, Role, UnitAct},
    contest::Objection,
    db::{
        acts::Act,
        commands::CommandRow,
        contests::Contest,
        events::{ClipState, EventScope, StoredEvent},
        units::{Health, Unit, UnitStatus},
        users::User,
    },
    error::AppError,
    feed::ActShown,
    limit_proposals::ProposalShown,
    retention::Kept,
    score::ContestState,
    second_person::AskShown,
};

/// Rows on one page of a list.
pub const PAGE: u32 = 100;
/// A unit that was not heard of for this long is shown as silent: four heartbeats of 30 s.
pub const SILENT_AFTER_MS: i64 = 2 * 60 * 1000;

/// Where an event's clip is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClipShown {
    /// There is none, for this reason.
    Absent(String),
    /// On its way.
    Waiting,
    /// It can be asked for.
    Ready {
        /// How long it is.
        duration_ms: u64,
    },
}

/// One event in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    /// The event.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// How bad.
    pub severity: Severity,
    /// 0 to 1.
    pub confidence: f32,
    /// When it began, milliseconds since 1970, by the unit's clock.
    pub start_ms: i64,
    /// How wrong that may be.
    pub wall_uncertainty_ms: u64,
    /// How long it took.
    pub duration_ms: i64,
    /// The unit.
    pub unit: UnitId,
    /// The depot's name.
    pub depot: String,
    /// Who drove, where a shift says so.
    pub driver: Option<String>,
    /// The rule's numbers.
    pub numbers: Vec<Number>,
    /// Its clip.
    pub clip: ClipShown,
    /// How many views of its clip this person may know of.
    pub views: u32,
    /// Where the driver's objection stands, for those who may know of it.
    pub contest: Option<ContestState>,
}

/// Which events to list.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only of this kind.
    pub kind: Option<EventKind>,
    /// Only those that began before, milliseconds since 1970: the next page.
    pub before_ms: Option<i64>,
}

/// A page of events.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventList {
    /// The newest first.
    pub rows: Vec<EventRow>,
    /// What to ask for as `before_ms` to get the next page; none where this is the last.
    pub next_before_ms: Option<i64>,
}

/// An event with all that its page shows.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// What lists show.
    pub row: EventRow,
    /// The rule with its version.
    pub rule: String,
    /// The purposes for which this person may watch. Empty: no picture for this person.
    pub purposes: Vec<Purpose>,
    /// Whether the driver's face will be blurred for this person.
    pub face_blurred: bool,
    /// Who has looked at the clip, as far as this person may know, the newest first.
    pub seen: Vec<ActShown>,
    /// Whether the viewer is the event's own driver.
    pub own: bool,
    /// The driver's objection.
    pub objection: Objection,
    /// What the driver says of the limit.
    pub limit: ProposalShown,
    /// The purposes for which this person may take the clip away as a file.
    pub exports: Vec<Purpose>,
    /// What this person can ask a second person for, and the purposes.
    pub askable: Vec<(GrantKind, Vec<Purpose>)>,
    /// What this person asked for, the newest first.
    pub asked: Vec<AskShown>,
    /// How long the clip is kept.
    pub kept: Option<Kept>,
}

/// One of a driver's own events, with who looked.
#[derive(Debug, Clone, PartialEq)]
pub struct MyEvent {
    /// What lists show.
    pub row: EventRow,
    /// Who has looked at the clip, the newest first.
    pub seen: Vec<ActShown>,
}

/// A page of a driver's own events.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MyEvents {
    /// The newest first.
    pub rows: Vec<MyEvent>,
    /// What to ask for as `before_ms` to get the next page.
    pub next_before_ms: Option<i64>,
}

/// One unit in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitRow {
    /// Its name.
    pub id: UnitId,
    /// The depot's name.
    pub depot: String,
    /// Where it stands.
    pub status: UnitStatus,
    /// When it was last heard of, milliseconds since 1970.
    pub last_heartbeat_ms: Option<i64>,
    /// Enrolled, but not heard of for longer than [`SILENT_AFTER_MS`].
    pub silent: bool,
    /// The unit's clock less the server's, milliseconds.
    pub clock_error_ms: Option<i64>,
    /// The software on it.
    pub agent_version: Option<String>,
    /// `off`, `ai_without_recording` or `recording`.
    pub privacy_state: Option<String>,
    /// Clips that wait on the unit.
    pub spool_clips: u32,
    /// Bytes that wait on the unit.
    pub spool_bytes: u64,
    /// What it says about its parts.
    pub health: Vec<Health>,
    /// The latest orders, the newest first.
    pub commands: Vec<CommandRow>,
    /// Whether this person may give orders.
    pub may_command: bool,
}

/// An order to a unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// Blink and say the name.
    Identify,
    /// Record, or only alert.
    SetPrivacy {
        /// False: AI without recording.
        recording: bool,
    },
    /// The configured speed limit.
    SetSpeedLimit {
        /// None: unknown, so that no speeding event is made. Otherwise 5 to 200.
        limit_kmh: Option<f64>,
    },
}

/// Where a person's work begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Home {
    /// `/my`
    MyEvents,
    /// `/events`
    Events,
    /// `/units`
    Units,
    /// `/access-log`
    AccessLog,
}

impl Role {
    /// Where this role's work begins.
    pub const fn home(self) -> Home {
        match self {
            Self::Driver => Home::MyEvents,
            Self::Dispatcher | Self::SafetyManager => Home::Events,
            Self::FleetAdmin | Self::Installer | Self::VendorSupport => Home::Units,
            Self::PrivacyOfficer | Self::Auditor => Home::AccessLog,
        }
    }
}

impl EventRow {
    /// The event as lists show it, without what others did with it.
    pub(crate) fn without_views(event: &StoredEvent) -> Self {
        event_row(event, &[], None)
    }
}

fn event_row(e: &StoredEvent, seen: &[ActShown], contest: Option<ContestState>) -> EventRow {
    EventRow {
        contest,
        id: e.record.id,
        kind: e.record.kind,
        severity: e.record.severity,
        confidence: e.record.confidence,
        start_ms: e.record.start.unix_ms,
        wall_uncertainty_ms: e.record.start.uncertainty_ms,
        duration_ms: e.record.end_unix_ms.saturating_sub(e.record.start.unix_ms),
        unit: e.unit.clone(),
        depot: e.depot_name.clone(),
        driver: e.driver.as_ref().map(|d| d.name.clone()),
        numbers: e.record.numbers.clone(),
        clip: match &e.clip {
            ClipState::Absent(why) => ClipShown::Absent(why.clone()),
            ClipState::Waiting => ClipShown::Waiting,
            ClipState::Ready { duration_ms, .. } => ClipShown::Ready { duration_ms: *duration_ms },
        },
        views: u32::try_from(seen.len()).unwrap_or(u32::MAX),
    }
}

impl App {
    /// The events that this person may know of. Nothing at all gives [`AppError::NotFound`] for
    /// roles that have no list.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn events(&self, who: &User, filter: &EventFilter) -> Result<EventList, AppError> {
        match who.role {
            Role::Dispatcher | Role::SafetyManager | Role::Driver | Role::PrivacyOfficer => {}
            Role::FleetAdmin | Role::Auditor | Role::Installer | Role::VendorSupport => {
                return Err(AppError::NotFound);
            }
        }
        let who = self.asker(who).await?;
        let (events, next_before_ms) = self.permitted_events(&who, filter).await?;
        let mut rows = Vec::with_capacity(events.len());
        for event in &events {
            let contest = self.contest_state(&who, event)?;
            rows.push(event_row(event, &self.seen_of(&who, event).await?, contest));
        }
        Ok(EventList { rows, next_before_ms })
    }

    /// A driver's own events, with who looked at each.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for who is no driver; others as they come.
    pub async fn my_events(&self, who: &User, filter: &EventFilter) -> Result<MyEvents, AppError> {
        if who.role != Role::Driver {
            return Err(AppError::NotFound);
        }
        let who = self.asker(who).await?;
        let (events, next_before_ms) = self.permitted_events(&who, filter).await?;
        let mut rows = Vec::with_capacity(events.len());
        for event in &events {
            let seen = self.seen_of(&who, event).await?;
            let contest = self.contest_state(&who, event)?;
            rows.push(MyEvent { row: event_row(event, &seen, contest), seen });
        }
        Ok(MyEvents { rows, next_before_ms })
    }

    /// One event.
    ///
    /// # Errors
    /// [`AppError::NotFound`] where there is none or this person may not know of it.
    pub async fn event_page(&self, who: &User, id: EventId) -> Result<EventPage, AppError> {
        let who = self.asker(who).await?;
        let event = self.permitted_event(&who, id).await?;
        let facts = EventFacts::from(&event);
        let purposes = match event.clip {
            ClipState::Ready { .. } => self.authz().purposes(&who, &facts)?,
            ClipState::Absent(_) | ClipState::Waiting => Vec::new(),
        };
        let seen = self.seen_of(&who, &event).await?;
        let objection = self.objection(&who, &event).await?;
        let contest = objection.contest.as_ref().map(Contest::state);
        let mut askable = Vec::new();
        if matches!(event.clip, ClipState::Ready { .. }) {
            for kind in GrantKind::ALL {
                let may = |p: &Purpose| self.authz().may_ask(&who, *kind, &facts, *p);
                let purposes: Vec<Purpose> = Purpose::ALL
                    .iter()
                    .copied()
                    .filter_map(|p| may(&p).map(|may| may.then_some(p)).transpose())
                    .collect::<Result<_, _>>()?;
                if !purposes.is_empty() {
                    askable.push((*kind, purposes));
                }
            }
        }
        Ok(EventPage {
            limit: self.limit_shown(&who, &event).await?,
            askable,
            asked: self.asked_by(&who, id).await?,
            kept: self.kept(&event).await?,
            exports: purposes.iter().filter(|(_, p)| p.export).map(|(p, _)| *p).collect(),
            objection,
            row: event_row(&event, &seen, contest),
            rule: event.record.rule.clone(),
            face_blurred: purposes.iter().any(|(_, permit)| permit.blur_driver_face),
            purposes: purposes.into_iter().map(|(purpose, _)| purpose).collect(),
            seen,
            own: event.driver.as_ref().is_some_and(|d| d.id == who.user.id),
        })
    }

    /// Every unit that this person may see.
    ///
    /// # Errors
    /// [`AppError::NotFound`] where the role has no units; others as they come.
    pub async fn units(&self, who: &User) -> Result<Vec<UnitRow>, AppError> {
        match who.role {
            Role::FleetAdmin | Role::Installer | Role::VendorSupport => {}
            Role::Driver
            | Role::Dispatcher
            | Role::SafetyManager
            | Role::PrivacyOfficer
            | Role::Auditor => return Err(AppError::NotFound),
        }
        let who = self.asker(who).await?;
        let mut rows = Vec::new();
        for unit in self.db().units().await? {
            if !self.authz().unit(&who, UnitAct::See, &unit)? {
                continue;
            }
            let may_command = self.authz().unit(&who, UnitAct::Command, &unit)?;
            let commands = self.db().commands(&unit.id, 5).await?;
            rows.push(unit_row(unit, commands, may_command, who.now_ms));
        }
        Ok(rows)
    }

    /// Gives an order to a unit. It is carried out after the unit's next heartbeat.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Refused`], [`AppError::Invalid`].
    pub async fn command_unit(
        &self,
        who: &User,
        unit: &str,
        order: Order,
    ) -> Result<CommandId, AppError> {
        let id: UnitId = unit.parse().map_err(|_| AppError::NotFound)?;
        let unit = self.db().unit(&id).await?.ok_or(AppError::NotFound)?;
        let who = self.asker(who).await?;
        if !self.authz().unit(&who, UnitAct::See, &unit)? {
            return Err(AppError::NotFound);
        }
        if !self.authz().unit(&who, UnitAct::Command, &unit)? {
            return Err(AppError::Refused("Your role gives no orders to units."));
        }
        if unit.status != UnitStatus::Enrolled {
            return Err(AppError::Refused("This unit is not enrolled, so it takes no orders."));
        }
        let command = CommandId::new();
        let (order, words) = order_parts(order)?;
        let message = wire::Command {
            command_id: bytes::Bytes::copy_from_slice(command.as_bytes()),
            order: Some(order),
        };
        let act = Act::new(Action::COMMAND, Some(who.user.id), who.now_ms);
        // Whoever drives it now is who an order touches.
        let driver = self.db().driver_of(&id, who.now_ms).await?;
        self.log().record(self.db(), &Act { driver, ..act }).await?;
        self.db().add_command(&id, command, &message, &words, who.user.id, who.now_ms).await?;
        Ok(command)
    }

    /// Somebody as of now, with what they were granted.
    pub(crate) async fn asker(&self, who: &User) -> Result<Asker, AppError> {
        let now_ms = self.now_ms();
        let grants = match who.role {
            Role::SafetyManager | Role::PrivacyOfficer | Role::Auditor | Role::VendorSupport => {
                self.db().held_grants(who.id, now_ms).await?
            }
            Role::Driver | Role::Dispatcher | Role::FleetAdmin | Role::Installer => Vec::new(),
        };
        Ok(Asker { user: who.clone(), grants, now_ms })
    }

    /// The event, where this person may know of it. Whether there is none or it is secret takes the
    /// same work, and so about the same time.
    pub(crate) async fn event_for(&self, who: &Asker, id: EventId) -> Result<StoredEvent, Unseen> {
        let refuse = |event, error| Unseen { event, error };
        let found = self.db().event(id).await.map_err(|e| refuse(None, e.into()))?;
        let facts = found.as_ref().map_or_else(|| nowhere(id), EventFacts::from);
        let may = self.authz().event(who, EventAct::See, &facts);
        match (found, may) {
            (Some(event), Ok(true)) => Ok(event),
            (event, Ok(_)) => Err(refuse(event, AppError::NotFound)),
            (event, Err(error)) => Err(refuse(event, error.into())),
        }
    }

    /// [`Self::event_for`], without what is to be logged of a refusal.
    pub(crate) async fn permitted_event(
        &self,
        who: &Asker,
        id: EventId,
    ) -> Result<StoredEvent, AppError> {
        self.event_for(who, id).await.map_err(|unseen| unseen.error)
    }

    async fn permitted_events(
        &self,
        who: &Asker,
        filter: &EventFilter,
    ) -> Result<(Vec<StoredEvent>, Option<i64>), AppError> {
        let mut scope =
            EventScope { kind: filter.kind, before_ms: filter.before_ms, ..EventScope::default() };
        let user = &who.user;
        match user.role {
            Role::Driver => scope.driver = Some(user.id),
            Role::Dispatcher => scope.depot = Some(user.depot.clone().unwrap_or_default()),
            Role::SafetyManager => scope.manager = Some((user.id, user.depot.clone())),
            // What requests cover: each row is decided.
            Role::PrivacyOfficer => {}
            Role::FleetAdmin | Role::Auditor | Role::Installer | Role::VendorSupport => {
                return Ok((Vec::new(), None));
            }
        }
        let mut events = self.db().events(&scope, PAGE).await?;
        let full_page = events.len() >= PAGE as usize;
        let next = events.last().filter(|_| full_page).map(|e| e.record.start.unix_ms);
        let mut permitted = Vec::with_capacity(events.len());
        for event in events.drain(..) {
            if self.authz().event(who, EventAct::See, &EventFacts::from(&event))? {
                permitted.push(event);
            }
        }
        Ok((permitted, next))
    }

    async fn seen_of(&self, who: &Asker, event: &StoredEvent) -> Result<Vec<ActShown>, AppError> {
        match event.clip {
            ClipState::Ready { clip, .. } => self.seen(who, clip).await,
            ClipState::Absent(_) | ClipState::Waiting => Ok(Vec::new()),
        }
    }

    /// Where the event's objection stands, for whom it concerns.
    fn contest_state(
        &self,
        who: &Asker,
        event: &StoredEvent,
    ) -> Result<Option<ContestState>, AppError> {
        let concerned = self.is_concerned(who, &EventFacts::from(event))?;
        Ok(event.contest.filter(|_| concerned))
    }
}

/// Why somebody does not get an event.
pub(crate) struct Unseen {
    /// The event, where there is one.
    pub(crate) event: Option<StoredEvent>,
    /// What they are told.
    pub(crate) error: AppError,
}

/// An event that nobody may see, to ask about where there is none.
fn nowhere(id: EventId) -> EventFacts {
    EventFacts {
        id,
        unit: None,
        depot: String::new(),
        start_ms: 0,
        driver: Some(UserId::from_bytes([0; 16])),
        manager: Some(UserId::from_bytes([0; 16])),
        driver_depot: Some(String::new()),
    }
}

fn unit_row(unit: Unit, commands: Vec<CommandRow>, may_command: bool, now_ms: i64) -> UnitRow {
    UnitRow {
        silent: unit.status == UnitStatus::Enrolled
            && unit.last_heartbeat_ms.is_none_or(|at| now_ms - at > SILENT_AFTER_MS),
        id: unit.id,
        depot: unit.depot_name,
        status: unit.status,
        last_heartbeat_ms: unit.last_heartbeat_ms,
        clock_error_ms: unit.clock_error_ms,
        agent_version: unit.agent_version,
        privacy_state: unit.privacy_state,
        spool_clips: unit.spool_clips,
        spool_bytes: unit.spool_bytes,
        health: unit.health,
        commands,
        may_command,
    }
}

fn order_parts(order: Order) -> Result<(wire::command::Order, String), AppError> {
    Ok(match order {
        Order::Identify => {
            (wire::command::Order::Identify(wire::Identify {}), "Identify".to_owned())
        }
        Order::SetPrivacy { recording } => {
            let state = if recording { "recording" } else { "ai_without_recording" };
            let words = if recording { "Recording" } else { "AI without recording" };
            let order = wire::SetPrivacy { state: state.to_owned() };
            (wire::command::Order::SetPrivacy(order), words.to_owned())
        }
        Order::SetSpeedLimit { limit_kmh } => {
            let words = match limit_kmh {
                None => "Speed limit unknown".to_owned(),
                Some(limit) if (5.0..=200.0).contains(&limit) => {
                    format!("Speed limit {limit:.0} km/h")
                }
                Some(limit) => {
                    return Err(AppError::Invalid(format!(
                        "A speed limit of {limit} km/h is not possible: 5 to 200, or none."
                    )));
                }
            };
            (wire::command::Order::SetSpeedLimit(wire::SetSpeedLimit { limit_kmh }), words)
        }
    })
}
