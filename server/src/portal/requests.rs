//! What takes a second person, and requests that have a number: asking, deciding, ending.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use jiff::{civil::DateTime, tz::TimeZone};
use serde::Deserialize;
use temoin_proto::ids::{EventId, GrantId, HoldId};

use crate::{
    app::App,
    authn::Session,
    authz::{GrantKind, Purpose, Role},
    db::retention::Hold,
    error::AppError,
    grants::{GrantState, Scope},
    second_person::{AskShown, RequestScope},
    show::EventPage as Shown,
};

use super::{
    answers,
    gate::{Form, Fresh, HasToken, Sensitive, SignedIn},
    pages::Layout,
    words::{self, Stamp},
};

/// A grant, as its list shows it.
#[derive(Debug, Clone)]
pub(crate) struct AskCell {
    pub(crate) id: String,
    pub(crate) what: &'static str,
    pub(crate) who: String,
    pub(crate) purpose: String,
    pub(crate) words: String,
    /// What it covers.
    pub(crate) scope: String,
    /// The event's page, for who may open it.
    pub(crate) href: Option<String>,
    pub(crate) asked: Stamp,
    pub(crate) slug: &'static str,
    pub(crate) state: &'static str,
    /// When that ends by itself.
    pub(crate) until: Option<Stamp>,
    pub(crate) decided_by: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) may_end: bool,
}

/// `GET /requests`.
#[derive(Debug, Template)]
#[template(path = "requests.html")]
pub(crate) struct RequestsPage {
    pub(crate) layout: Layout,
    pub(crate) csrf: String,
    pub(crate) scope: &'static str,
    pub(crate) waiting: Vec<AskCell>,
    pub(crate) others: Vec<AskCell>,
    /// Registers requests and opens break-glass.
    pub(crate) is_privacy_officer: bool,
    /// Asks for diagnostics.
    pub(crate) is_vendor: bool,
    /// Legal holds that run.
    pub(crate) holds: Vec<HoldCell>,
}

/// A legal hold.
#[derive(Debug, Clone)]
pub(crate) struct HoldCell {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) ground: String,
    pub(crate) not_told: Option<String>,
    pub(crate) by: String,
    pub(crate) at: Stamp,
}

/// What somebody may ask for about one event.
#[derive(Debug, Clone)]
pub(crate) struct AskableCell {
    pub(crate) kind: &'static str,
    pub(crate) label: &'static str,
    pub(crate) text: &'static str,
    /// Value and label.
    pub(crate) purposes: Vec<(&'static str, &'static str)>,
}

/// The part of an event's page about what goes beyond watching. Absent where there is nothing.
#[derive(Debug, Clone)]
pub(crate) struct BeyondCell {
    pub(crate) askable: Vec<AskableCell>,
    pub(crate) asked: Vec<AskCell>,
    /// Value and label of each purpose for which it can be taken away; empty: not.
    pub(crate) exports: Vec<(&'static str, &'static str)>,
}

macro_rules! form {
    ($(#[$doc:meta])* $name:ident { $($field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Deserialize)]
        pub(crate) struct $name {
            csrf: String,
            $(#[serde(default)] $field: String,)*
        }

        impl HasToken for $name {
            fn csrf(&self) -> &str {
                &self.csrf
            }
        }
    };
}

form! {
    /// Asks about an event.
    AskForm { kind, event, purpose, words, }
}
form! {
    /// Registers a request.
    RegisterForm { number, unit, driver, from, to, words, }
}
form! {
    /// Asks about a unit.
    DiagnosticsForm { unit, words, }
}
form! {
    /// Decides.
    DecideForm { verdict, reason, }
}
form! {
    /// Ends.
    EndForm { back, }
}
form! {
    /// Keeps a clip for a legal ground.
    HoldForm { event, ground, not_told, }
}
form! {
    /// Nothing but the token.
    TokenForm { }
}

impl Sensitive for AskForm {
    /// Break-glass looks where the role may not; all else waits for somebody else.
    fn is_sensitive(&self) -> bool {
        self.kind == GrantKind::BreakGlass.as_str()
    }
}
impl Sensitive for RegisterForm {}
impl Sensitive for DecideForm {}
impl Sensitive for HoldForm {}
impl Sensitive for TokenForm {}

fn done(session: &Session, made: Result<(), AppError>, to: &str) -> Response {
    match made {
        Ok(()) => Redirect::to(to).into_response(),
        Err(error) => answers::refuse_page(Some(session), &error),
    }
}

/// `GET /requests`.
pub(crate) async fn list(State(app): State<App>, SignedIn(session): SignedIn) -> Response {
    let user = &session.user;
    let shown = async { Ok((app.asks(user).await?, app.holds(user).await?)) };
    match shown.await {
        Ok((asks, holds)) => answers::page(&page(&session, &asks, holds)),
        Err(error) => answers::refuse_page(Some(&session), &error),
    }
}

fn page(session: &Session, asks: &[AskShown], holds: Vec<Hold>) -> RequestsPage {
    let role = session.user.role;
    let (waiting, others): (Vec<_>, Vec<_>) = asks.iter().partition(|ask| ask.may_decide);
    let cells = |asks: Vec<&AskShown>| asks.into_iter().map(|ask| cell(ask, role)).collect();
    RequestsPage {
        layout: answers::layout("Requests", Some(session), "/requests"),
        csrf: session.csrf.clone(),
        scope: match role {
            Role::SafetyManager => {
                "What you asked a second person for, and what waits for you as the second person."
            }
            Role::PrivacyOfficer | Role::Auditor => {
                "Everything that somebody asked for beyond their role, and what became of it."
            }
            Role::FleetAdmin => "When the vendor asks to see how a unit does, you let them or not.",
            Role::VendorSupport => {
                "Ask the fleet to let you see how a unit does. No picture is shown."
            }
            Role::Driver | Role::Dispatcher | Role::Installer => "What you asked for.",
        },
        waiting: cells(waiting),
        others: cells(others),
        is_privacy_officer: role == Role::PrivacyOfficer,
        is_vendor: role == Role::VendorSupport,
        holds: holds
            .into_iter()
            .map(|hold| HoldCell {
                id: hold.id.to_string(),
                event: hold.event.to_string(),
                ground: hold.ground,
                not_told: Some(hold.not_told).filter(|ground| !ground.is_empty()),
                by: hold.by_name,
                at: words::stamp(hold.at_ms),
            })
            .collect(),
    }
}

fn cell(ask: &AskShown, reader: Role) -> AskCell {
    let grant = &ask.row.grant;
    let (slug, state, until_ms) = match ask.state {
        GrantState::Waiting { until_ms } => ("medium", "Waiting", Some(until_ms)),
        GrantState::Live { until_ms } => ("ok", "Holds", Some(until_ms)),
        GrantState::Refused => ("high", "Refused", None),
        GrantState::Lapsed => ("kept", "Nobody decided in time", None),
        GrantState::Expired => ("kept", "Its time is over", None),
        GrantState::Ended => ("kept", "Ended", None),
    };
    let (scope, event) = match &grant.scope {
        Scope::Event(event) => (format!("Event {event}"), Some(event)),
        Scope::Unit(unit) => (format!("Unit {unit}"), None),
        Scope::Fleet => ("Any recording that the file may show".to_owned(), None),
        Scope::Span { unit, from_ms, to_ms, driver } => {
            let unit = unit.as_ref().map_or_else(|| "every van".to_owned(), ToString::to_string);
            let driver = if driver.is_some() { ", one driver" } else { "" };
            let (from, to) = (words::stamp(*from_ms), words::stamp(*to_ms));
            (
                format!("{unit}{driver}, {} {} to {} {}", from.date, from.clock, to.date, to.clock),
                None,
            )
        }
    };
    let opens = match reader {
        Role::SafetyManager | Role::PrivacyOfficer => ask.own,
        Role::Driver
        | Role::Dispatcher
        | Role::FleetAdmin
        | Role::Auditor
        | Role::Installer
        | Role::VendorSupport => false,
    };
    let purpose = grant.purpose.words();
    AskCell {
        id: grant.id.to_string(),
        what: grant.kind.words(),
        who: if ask.own {
            "You".to_owned()
        } else {
            format!("{}, {}", ask.row.asker_name, ask.row.asker_role.words().to_lowercase())
        },
        purpose: if grant.number.is_empty() {
            purpose.to_owned()
        } else {
            format!("{purpose} {}", grant.number)
        },
        words: grant.words.clone(),
        scope,
        href: event.filter(|_| opens).map(|event| format!("/events/{event}")),
        asked: words::stamp(grant.asked_ms),
        slug,
        state,
        until: until_ms.map(words::stamp),
        decided_by: ask.row.decided_by.clone(),
        reason: grant.decision.as_ref().map(|d| d.reason.clone()).filter(|r| !r.is_empty()),
        may_end: ask.may_end,
    }
}

/// The part of an event's page about what goes beyond watching.
pub(crate) fn beyond(shown: &Shown, reader: Role) -> Option<BeyondCell> {
    let named = |purposes: &[Purpose]| purposes.iter().map(|p| (p.as_str(), p.words())).collect();
    let cell = BeyondCell {
        askable: shown
            .askable
            .iter()
            .map(|(kind, purposes)| AskableCell {
                kind: kind.as_str(),
                label: kind.words(),
                text: match kind {
                    GrantKind::LiftBlur => {
                        "Other people in the pictures, where the unit kept them."
                    }
                    GrantKind::Export => "A file, marked with your name, that leaves the fleet.",
                    GrantKind::Retention => "Thirty days more than it would be kept.",
                    GrantKind::Deletion => {
                        "Before the day on which it would go. The privacy officer decides."
                    }
                    GrantKind::Request
                    | GrantKind::BreakGlass
                    | GrantKind::Diagnostics
                    | GrantKind::Trace => "",
                },
                purposes: named(purposes),
            })
            .collect(),
        asked: shown.asked.iter().map(|ask| self::cell(ask, reader)).collect(),
        exports: named(&shown.exports),
    };
    let empty = cell.askable.is_empty() && cell.asked.is_empty() && cell.exports.is_empty();
    (!empty).then_some(cell)
}

/// `POST /requests`: asks about an event.
pub(crate) async fn ask(State(app): State<App>, form: Fresh<AskForm>) -> Response {
    let fields = &form.fields;
    let made = match asked(fields) {
        Ok((kind, event, purpose)) => {
            app.ask(&form.session.user, kind, event, purpose, &fields.words).await.map(drop)
        }
        Err(error) => Err(error),
    };
    done(&form.session, made, "/requests")
}

fn asked(fields: &AskForm) -> Result<(GrantKind, EventId, Purpose), AppError> {
    let wrong = |what: &str| AppError::Invalid(format!("{what} Go back and correct it."));
    let kind: GrantKind =
        fields.kind.parse().map_err(|_| wrong("There is no such thing to ask for."))?;
    let event: EventId = fields.event.trim().parse().map_err(|_| AppError::NotFound)?;
    let purpose = match kind {
        GrantKind::BreakGlass => Purpose::Request,
        // It is the driver's own.
        GrantKind::Deletion => Purpose::OwnReview,
        GrantKind::LiftBlur | GrantKind::Export | GrantKind::Retention => {
            fields.purpose.parse().map_err(|_| wrong("Say what you need it for."))?
        }
        GrantKind::Request | GrantKind::Diagnostics | GrantKind::Trace => {
            return Err(wrong("That is asked for in another form."));
        }
    };
    Ok((kind, event, purpose))
}

/// `POST /requests/register`.
pub(crate) async fn register(State(app): State<App>, form: Fresh<RegisterForm>) -> Response {
    let fields = &form.fields;
    let made = match request_scope(fields) {
        Ok(scope) => app
            .register_request(&form.session.user, &fields.number, &scope, &fields.words)
            .await
            .map(drop),
        Err(error) => Err(error),
    };
    done(&form.session, made, "/requests")
}

fn request_scope(fields: &RegisterForm) -> Result<RequestScope, AppError> {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|t| !t.is_empty());
    let unit = given(&fields.unit)
        .map(|unit| {
            unit.parse().map_err(|_| AppError::Invalid(format!("There is no van `{unit}`.")))
        })
        .transpose()?;
    Ok(RequestScope {
        unit,
        driver: given(&fields.driver),
        from_ms: utc_ms(&fields.from)?,
        to_ms: utc_ms(&fields.to)?,
    })
}

/// `2026-11-22T10:00`, as browsers send it, as UTC.
fn utc_ms(text: &str) -> Result<i64, AppError> {
    let time: DateTime = text.trim().parse().map_err(|_| {
        AppError::Invalid(
            "A time is missing or has another form than 2026-11-22T10:00. Go back and correct it."
                .to_owned(),
        )
    })?;
    time.to_zoned(TimeZone::UTC)
        .map(|zoned| zoned.timestamp().as_millisecond())
        .map_err(|_| AppError::Invalid("A time is outside the calendar.".to_owned()))
}

/// `POST /requests/diagnostics`.
pub(crate) async fn diagnostics(State(app): State<App>, form: Form<DiagnosticsForm>) -> Response {
    let fields = &form.fields;
    let made = app.ask_diagnostics(&form.session.user, fields.unit.trim(), &fields.words).await;
    done(&form.session, made.map(drop), "/requests")
}

/// `POST /requests/{grant}/decide`.
pub(crate) async fn decide(
    State(app): State<App>,
    Path(grant): Path<String>,
    form: Fresh<DecideForm>,
) -> Response {
    let fields = &form.fields;
    let granted = match fields.verdict.as_str() {
        "granted" => Ok(true),
        "refused" => Ok(false),
        _ => Err(AppError::Invalid("Nothing was chosen. Go back and choose.".to_owned())),
    };
    let made = match (grant.parse::<GrantId>(), granted) {
        (Ok(id), Ok(granted)) => app.decide(&form.session.user, id, granted, &fields.reason).await,
        (Ok(_), Err(error)) => Err(error),
        (Err(_), _) => Err(AppError::NotFound),
    };
    done(&form.session, made, "/requests")
}

/// `POST /requests/{grant}/end`.
pub(crate) async fn end(
    State(app): State<App>,
    Path(grant): Path<String>,
    form: Form<EndForm>,
) -> Response {
    let made = match grant.parse::<GrantId>() {
        Ok(id) => app.end(&form.session.user, id).await,
        Err(_) => Err(AppError::NotFound),
    };
    // Only back to an event's page, or to the list.
    let back = form.fields.back.parse::<EventId>();
    let to = back.map_or_else(|_| "/requests".to_owned(), |event| format!("/events/{event}"));
    done(&form.session, made, &to)
}

/// `POST /requests/holds`.
pub(crate) async fn hold(State(app): State<App>, form: Fresh<HoldForm>) -> Response {
    let fields = &form.fields;
    let made = match fields.event.trim().parse::<EventId>() {
        Ok(event) => {
            app.hold(&form.session.user, event, &fields.ground, &fields.not_told).await.map(drop)
        }
        Err(_) => Err(AppError::NotFound),
    };
    done(&form.session, made, "/requests")
}

/// `POST /requests/holds/{hold}/release`.
pub(crate) async fn release(
    State(app): State<App>,
    Path(hold): Path<String>,
    form: Fresh<TokenForm>,
) -> Response {
    let made = match hold.parse::<HoldId>() {
        Ok(id) => app.release(&form.session.user, id).await,
        Err(_) => Err(AppError::NotFound),
    };
    done(&form.session, made, "/requests")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_utc_or_refused() {
        assert_eq!(utc_ms("1970-01-02T00:00").unwrap(), 86_400_000);
        assert_eq!(utc_ms(" 2026-11-22T10:00 ").unwrap(), 1_795_341_600_000);
        for wrong in ["", "yesterday", "2026-13-01T00:00", "2026-11-22T10:00+02:00x"] {
            assert!(utc_ms(wrong).is_err(), "{wrong}");
        }
    }
}
