//! The event list, one event, and a driver's own events.

use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use serde::Deserialize;
use temoin_proto::{events::EventKind, ids::EventId};

use crate::{
    app::App,
    authn::Session,
    authz::Role,
    error::AppError,
    show::{ClipShown, EventFilter, EventPage as Shown},
};

use super::{
    answers, cells, driver_cells,
    gate::SignedIn,
    pages::{Empty, EventPage, EventsPage, Link, MineCell, MyPage},
    requests, words,
};

/// What an address of a list may ask for.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    kind: Option<String>,
    before: Option<i64>,
}

impl Asked {
    fn kind(&self) -> Result<Option<EventKind>, AppError> {
        self.kind
            .as_deref()
            .map(|kind| {
                kind.parse()
                    .map_err(|_| AppError::Invalid("There is no such kind of event.".to_owned()))
            })
            .transpose()
    }

    /// The address of the page that begins before this time.
    fn page(&self, path: &str, before: Option<i64>) -> String {
        let kind = self.kind.as_ref().map(|k| format!("kind={k}"));
        let before = before.map(|b| format!("before={b}"));
        let query: Vec<String> = [kind, before].into_iter().flatten().collect();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
    }
}

type AskedQuery = Result<Query<Asked>, axum::extract::rejection::QueryRejection>;

fn asked(query: AskedQuery) -> Result<(Asked, EventFilter), AppError> {
    let Query(asked) = query.map_err(|_| {
        AppError::Invalid("This address asks for something that is no list of events.".to_owned())
    })?;
    let filter = EventFilter { kind: asked.kind()?, before_ms: asked.before };
    Ok((asked, filter))
}

fn answer<P: askama::Template>(session: &Session, made: Result<P, AppError>) -> Response {
    match made {
        Ok(made) => answers::page(&made),
        Err(error) => answers::refuse_page(Some(session), &error),
    }
}

/// `GET /events`.
pub(crate) async fn list(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    query: AskedQuery,
) -> Response {
    answer(&session, list_page(&app, &session, query).await)
}

async fn list_page(
    app: &App,
    session: &Session,
    query: AskedQuery,
) -> Result<EventsPage, AppError> {
    let (asked, filter) = asked(query)?;
    let list = app.events(&session.user, &filter).await?;
    let empty = match (filter.kind, asked.before) {
        (None, None) => Empty {
            heading: "Nothing to look at",
            text: "When a van flags something, it appears here within seconds.",
            action: None,
        },
        (_, _) => Empty {
            heading: "Nothing matches",
            text: "There is no such event among those that you may see.",
            action: Some(Link { href: "/events".to_owned(), label: "Show all events" }),
        },
    };
    Ok(EventsPage {
        layout: answers::layout("Events", Some(session), "/events"),
        scope: match session.user.role {
            Role::Dispatcher => "Open events of your depot, newest first.",
            Role::SafetyManager => "Events of your drivers, newest first.",
            Role::Driver => "Your own events, newest first.",
            Role::PrivacyOfficer => "What your open requests cover, newest first.",
            Role::FleetAdmin | Role::Auditor | Role::Installer | Role::VendorSupport => {
                "Newest first."
            }
        },
        chips: cells::chips(filter.kind),
        show_driver: true,
        // These roles know of their own views only: the column must not say that nobody looked.
        seen_label: if session.user.role == Role::Driver { "Seen" } else { "Seen by you" },
        events: list.rows.iter().map(cells::event).collect(),
        empty,
        newest: asked.before.map(|_| asked.page("/events", None)),
        older: list.next_before_ms.map(|before| asked.page("/events", Some(before))),
    })
}

/// `GET /my`.
pub(crate) async fn mine(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    query: AskedQuery,
) -> Response {
    answer(&session, my_page(&app, &session, query).await)
}

async fn my_page(app: &App, session: &Session, query: AskedQuery) -> Result<MyPage, AppError> {
    let (asked, filter) = asked(query)?;
    let list = app.my_events(&session.user, &filter).await?;
    let events = list
        .rows
        .iter()
        .map(|mine| MineCell {
            e: cells::event(&mine.row),
            can_watch: matches!(mine.row.clip, ClipShown::Ready { .. }),
            seen_by: mine.seen.iter().map(cells::looked).collect(),
            nobody_else: cells::nobody_else(&mine.seen),
        })
        .collect();
    Ok(MyPage {
        layout: answers::layout("My events", Some(session), "/my"),
        events,
        empty: if asked.before.is_none() {
            Empty {
                heading: "No recordings of you",
                text: "If a van flags something on your shift, it appears here at the same moment as at the fleet.",
                action: None,
            }
        } else {
            Empty {
                heading: "No earlier recordings",
                text: "There is nothing before this.",
                action: Some(Link { href: "/my".to_owned(), label: "Back to the newest" }),
            }
        },
        newest: asked.before.map(|_| asked.page("/my", None)),
        older: list.next_before_ms.map(|before| asked.page("/my", Some(before))),
    })
}

/// `GET /events/{event}`.
pub(crate) async fn page(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path(event): Path<String>,
) -> Response {
    let shown = match event.parse::<EventId>() {
        Ok(id) => app.event_page(&session.user, id).await,
        // What is no id is no event: the same answer as for one that is not to be known.
        Err(_) => Err(AppError::NotFound),
    };
    answer(&session, shown.map(|shown| event_page(&session, &shown)))
}

fn event_page(session: &Session, shown: &Shown) -> EventPage {
    let row = &shown.row;
    let (gate, closed) = match cells::gate(shown, session.user.role) {
        Ok(gate) => (Some(gate), None),
        Err(closed) => (None, Some(closed)),
    };
    let back = match session.user.role {
        Role::Driver => Link { href: "/my".to_owned(), label: "My events" },
        Role::Dispatcher
        | Role::SafetyManager
        | Role::FleetAdmin
        | Role::PrivacyOfficer
        | Role::Auditor
        | Role::Installer
        | Role::VendorSupport => Link { href: "/events".to_owned(), label: "Events" },
    };
    EventPage {
        layout: answers::layout(words::kind(row.kind), Some(session), back.href.as_str()),
        back,
        csrf: session.csrf.clone(),
        e: cells::event(row),
        own: shown.own,
        sentence: words::sentence(row.kind, &row.numbers),
        meter: cells::meter(shown),
        certainty: words::certainty(cells::start(row)),
        lasted: words::milliseconds(u64::try_from(row.duration_ms).unwrap_or(0)),
        driver_row: Some(row.driver.clone().unwrap_or_else(|| "Nobody on shift".to_owned())),
        rule: shown.rule.clone(),
        confidence: format!("{:.0} %", row.confidence * 100.0),
        numbers: cells::numbers(shown),
        threshold_g: words::threshold_g(row.kind, &row.numbers),
        limit_kmh: words::limit_kmh(&row.numbers),
        gate,
        closed,
        objection: driver_cells::objection(&shown.objection, shown.own),
        limit: driver_cells::limit(&shown.limit),
        beyond: requests::beyond(shown, session.user.role),
        kept_until: shown.kept.as_ref().map(|kept| words::stamp(kept.until_ms)),
        held: shown.kept.as_ref().and_then(|k| k.hold.as_ref()).map(|hold| hold.ground.clone()),
        seen_by: shown.seen.iter().map(cells::looked).collect(),
        nobody_else: shown.own && cells::nobody_else(&shown.seen),
    }
}
