//! What the portal may show. Every struct here has been through the decisions of [`crate::authz`]:
//! the portal lays out what it gets and asks for nothing else.
//!
//! INVARIANT: a thing whose existence is secret gives [`AppError::NotFound`], as does one that
//! does not exist. A row that may not be seen is left out without a trace, counts included.

use serde::Serialize;
use temoin_proto::{
    events::{EventKind, Number, Severity},
    ids::{CommandId, EventId, UnitId, ViewId},
    sealed::TrackName,
    wire,
};

use crate::{
    app::App,
    authz::{EventFacts, LogSight, Purpose, Role},
    contest::Objection,
    db::{
        commands::CommandRow,
        contests::Contest,
        events::{ClipState, EventScope, StoredEvent},
        units::{Health, Unit, UnitStatus},
        users::User,
        views::{ViewRow, ViewScope},
    },
    error::AppError,
    limit_proposals::ProposalShown,
    score::ContestState,
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
    pub seen: Vec<SeenRow>,
    /// Whether the viewer is the event's own driver.
    pub own: bool,
    /// The driver's objection.
    pub objection: Objection,
    /// What the driver says of the limit.
    pub limit: ProposalShown,
}

/// One look at a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRow {
    /// The view.
    pub view: ViewId,
    /// Its entry in the access log.
    pub log_index: u64,
    /// When, milliseconds since 1970, by the server's clock.
    pub at_ms: i64,
    /// Whether it was the person who is shown this.
    pub by_you: bool,
    /// Who.
    pub who: String,
    /// What they are in the fleet.
    pub role: Role,
    /// Why.
    pub purpose: Purpose,
    /// The tracks whose video was begun. Empty: opened, nothing watched.
    pub streamed: Vec<TrackName>,
}

/// One of a driver's own events, with who looked.
#[derive(Debug, Clone, PartialEq)]
pub struct MyEvent {
    /// What lists show.
    pub row: EventRow,
    /// Who has looked at the clip, the newest first.
    pub seen: Vec<SeenRow>,
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

/// One entry of the access log as somebody may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRow {
    /// The look.
    pub seen: SeenRow,
    /// The event whose clip it was.
    pub event: EventId,
    /// The unit.
    pub unit: UnitId,
    /// Whose clip it was; none where unknown or not to be told.
    pub driver: Option<String>,
}

/// A page of the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPage {
    /// The newest first.
    pub rows: Vec<AccessRow>,
    /// What to ask for as `before_index` to get the next page.
    pub next_before_index: Option<u64>,
    /// How many entries the log has; told to those only who may see all of it.
    pub log_size: Option<u64>,
    /// The signed head of the log, for whoever checks it.
    pub checkpoint: Option<String>,
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
            Self::FleetAdmin => Home::Units,
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

fn event_row(e: &StoredEvent, seen: &[SeenRow], contest: Option<ContestState>) -> EventRow {
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

fn seen_row(who: &User, v: &ViewRow) -> SeenRow {
    SeenRow {
        view: v.view.id,
        log_index: v.view.log_index,
        at_ms: v.view.opened_ms,
        by_you: v.view.user == who.id,
        who: v.user_name.clone(),
        role: v.user_role,
        purpose: v.view.purpose,
        streamed: v.streamed.clone(),
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
            Role::Dispatcher | Role::SafetyManager | Role::Driver => {}
            Role::FleetAdmin | Role::PrivacyOfficer | Role::Auditor => {
                return Err(AppError::NotFound);
            }
        }
        let (events, next_before_ms) = self.permitted_events(who, filter).await?;
        let mut rows = Vec::with_capacity(events.len());
        for event in &events {
            let contest = self.contest_state(who, event)?;
            rows.push(event_row(event, &self.seen(who, event).await?, contest));
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
        let (events, next_before_ms) = self.permitted_events(who, filter).await?;
        let mut rows = Vec::with_capacity(events.len());
        for event in &events {
            let seen = self.seen(who, event).await?;
            let contest = self.contest_state(who, event)?;
            rows.push(MyEvent { row: event_row(event, &seen, contest), seen });
        }
        Ok(MyEvents { rows, next_before_ms })
    }

    /// One event.
    ///
    /// # Errors
    /// [`AppError::NotFound`] where there is none or this person may not know of it.
    pub async fn event_page(&self, who: &User, id: EventId) -> Result<EventPage, AppError> {
        let event = self.permitted_event(who, id).await?;
        let now_ms = self.now_ms();
        let facts = EventFacts::from(&event);
        let purposes = match event.clip {
            ClipState::Ready { .. } => self.authz().purposes(who, &facts, now_ms)?,
            ClipState::Absent(_) | ClipState::Waiting => Vec::new(),
        };
        let mut face_blurred = false;
        for purpose in &purposes {
            face_blurred |=
                self.authz().view_grant(who, &facts, *purpose, now_ms)?.blur_driver_face;
        }
        let seen = self.seen(who, &event).await?;
        let objection = self.objection(who, &event).await?;
        let contest = objection.contest.as_ref().map(Contest::state);
        Ok(EventPage {
            limit: self.limit_shown(who, &event).await?,
            objection,
            row: event_row(&event, &seen, contest),
            rule: event.record.rule.clone(),
            purposes,
            face_blurred,
            seen,
            own: event.driver.as_ref().is_some_and(|d| d.id == who.id),
        })
    }

    /// Every unit that this person may see.
    ///
    /// # Errors
    /// [`AppError::NotFound`] where the role has no units; others as they come.
    pub async fn units(&self, who: &User) -> Result<Vec<UnitRow>, AppError> {
        if who.role != Role::FleetAdmin {
            return Err(AppError::NotFound);
        }
        let now_ms = self.now_ms();
        let mut rows = Vec::new();
        for unit in self.db().units().await? {
            if !self.authz().may_see_unit(who, &unit, now_ms)? {
                continue;
            }
            let may_command = self.authz().may_command_unit(who, &unit, now_ms)?;
            let commands = self.db().commands(&unit.id, 5).await?;
            rows.push(unit_row(unit, commands, may_command, now_ms));
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
        let now_ms = self.now_ms();
        if !self.authz().may_see_unit(who, &unit, now_ms)? {
            return Err(AppError::NotFound);
        }
        if !self.authz().may_command_unit(who, &unit, now_ms)? {
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
        self.db().add_command(&id, command, &message, &words, who.id, now_ms).await?;
        Ok(command)
    }

    /// The entries of the access log that this person may see.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn access_log(
        &self,
        who: &User,
        before_index: Option<u64>,
    ) -> Result<AccessPage, AppError> {
        let (scope, all) = match who.role {
            Role::Driver => (ViewScope { driver: Some(who.id), ..ViewScope::default() }, false),
            Role::Dispatcher | Role::SafetyManager => {
                (ViewScope { user: Some(who.id), ..ViewScope::default() }, false)
            }
            Role::FleetAdmin => (ViewScope::default(), false),
            Role::PrivacyOfficer | Role::Auditor => (ViewScope::default(), true),
        };
        let views = self.db().views(&ViewScope { before_index, ..scope }, PAGE).await?;
        let full_page = views.len() >= PAGE as usize;
        let next_before_index = views.last().filter(|_| full_page).map(|v| v.view.log_index);
        let now_ms = self.now_ms();
        let mut rows = Vec::new();
        for view in &views {
            let driver = match self.authz().log_sight(who, view, now_ms)? {
                LogSight::Nothing => continue,
                LogSight::WithoutDriver => None,
                LogSight::Full => view.driver_name.clone(),
            };
            let mut seen = seen_row(who, view);
            // Where the driver's name is not to be told, a driver who looks at an own clip has none.
            if driver.is_none() && view.user_role == Role::Driver {
                seen.who = Role::Driver.words().to_owned();
            }
            rows.push(AccessRow { seen, event: view.view.event, unit: view.unit.clone(), driver });
        }
        Ok(AccessPage {
            rows,
            next_before_index,
            log_size: all.then(|| self.log().len()),
            checkpoint: all.then(|| self.log().checkpoint()),
        })
    }

    /// The event, where this person may know of it.
    pub(crate) async fn permitted_event(
        &self,
        who: &User,
        id: EventId,
    ) -> Result<StoredEvent, AppError> {
        let event = self.db().event(id).await?.ok_or(AppError::NotFound)?;
        if self.authz().may_see_event(who, &EventFacts::from(&event), self.now_ms())? {
            Ok(event)
        } else {
            Err(AppError::NotFound)
        }
    }

    async fn permitted_events(
        &self,
        who: &User,
        filter: &EventFilter,
    ) -> Result<(Vec<StoredEvent>, Option<i64>), AppError> {
        let mut scope =
            EventScope { kind: filter.kind, before_ms: filter.before_ms, ..EventScope::default() };
        match who.role {
            Role::Driver => scope.driver = Some(who.id),
            Role::Dispatcher => scope.depot = Some(who.depot.clone().unwrap_or_default()),
            Role::SafetyManager => scope.manager = Some((who.id, who.depot.clone())),
            Role::FleetAdmin | Role::PrivacyOfficer | Role::Auditor => {
                return Ok((Vec::new(), None));
            }
        }
        let mut events = self.db().events(&scope, PAGE).await?;
        let full_page = events.len() >= PAGE as usize;
        let next = events.last().filter(|_| full_page).map(|e| e.record.start.unix_ms);
        let now_ms = self.now_ms();
        let mut permitted = Vec::with_capacity(events.len());
        for event in events.drain(..) {
            if self.authz().may_see_event(who, &EventFacts::from(&event), now_ms)? {
                permitted.push(event);
            }
        }
        Ok((permitted, next))
    }

    /// Where the event's objection stands, for whom it concerns.
    fn contest_state(
        &self,
        who: &User,
        event: &StoredEvent,
    ) -> Result<Option<ContestState>, AppError> {
        let concerned = self.is_concerned(who, &EventFacts::from(event))?;
        Ok(event.contest.filter(|_| concerned))
    }

    async fn seen(&self, who: &User, event: &StoredEvent) -> Result<Vec<SeenRow>, AppError> {
        let ClipState::Ready { clip, .. } = event.clip else { return Ok(Vec::new()) };
        let scope = ViewScope { clip: Some(clip), ..ViewScope::default() };
        let mut rows = Vec::new();
        for view in &self.db().views(&scope, PAGE).await? {
            if self.authz().log_sight(who, view, self.now_ms())? != LogSight::Nothing {
                rows.push(seen_row(who, view));
            }
        }
        Ok(rows)
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
