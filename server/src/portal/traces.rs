//! Traces of leaks: asking for one, handing the file in, and what came of it.

use askama::Template;
use axum::{
    RequestExt as _,
    extract::{FromRequest as _, Multipart, Path, Request, State, multipart::Field},
    http::{HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use temoin_proto::ids::{EventId, TraceId};

use crate::{
    app::App,
    authn::Session,
    error::AppError,
    grants::GrantState,
    trace::{
        TraceShown, TraceState,
        file::{FileError, Incoming, LeakFile, MAX_FILE},
        report,
    },
};

use super::{
    answers,
    gate::{self, Fresh, HasToken, Sensitive, SignedIn},
    pages::Layout,
    words::{self, Stamp},
};

/// Longest body of the form with the file: the file and the other fields.
pub(super) const MAX_BODY: usize = (256 << 20) + 64 * 1024;
/// Longest field beside the file, bytes.
const MAX_FIELD: usize = 4096;

/// A trace, as its list shows it.
#[derive(Debug, Clone)]
pub(crate) struct TraceCell {
    pub(crate) id: String,
    pub(crate) at: Stamp,
    pub(crate) asked_by: String,
    pub(crate) words: String,
    pub(crate) slug: &'static str,
    pub(crate) state: &'static str,
    /// What was found, in a sentence.
    pub(crate) said: String,
    /// Whether there is a report.
    pub(crate) has_report: bool,
    /// Whether the report still has its pictures.
    pub(crate) has_pictures: bool,
}

/// What the person can do about tracing now.
#[derive(Debug, Clone)]
pub(crate) enum Can {
    /// Only read.
    Read,
    /// Ask a second person.
    Ask,
    /// Wait for the second person, until then.
    Wait(Stamp),
    /// Hand files in, until then.
    HandIn(Stamp),
}

/// `GET /traces`.
#[derive(Debug, Template)]
#[template(path = "traces.html")]
pub(crate) struct TracesPage {
    pub(crate) layout: Layout,
    pub(crate) csrf: String,
    pub(crate) can: Can,
    pub(crate) max_mb: u64,
    pub(crate) traces: Vec<TraceCell>,
}

/// `GET /traces/{trace}`.
#[derive(Debug, Template)]
#[template(path = "trace.html")]
pub(crate) struct TracePage {
    pub(crate) layout: Layout,
    pub(crate) t: TraceCell,
    pub(crate) runs: bool,
}

/// Asks to trace.
#[derive(Deserialize)]
pub(crate) struct AskForm {
    csrf: String,
    #[serde(default)]
    words: String,
}

impl HasToken for AskForm {
    fn csrf(&self) -> &str {
        &self.csrf
    }
}

impl Sensitive for AskForm {}

/// `GET /traces`.
pub(crate) async fn list(State(app): State<App>, SignedIn(session): SignedIn) -> Response {
    let shown = async {
        let can = can(&app, &session).await?;
        Ok((can, app.traces_shown(&session.user).await?))
    };
    match shown.await {
        Ok((can, traces)) => answers::page(&TracesPage {
            layout: answers::layout("Traces", Some(&session), "/traces"),
            csrf: session.csrf.clone(),
            can,
            max_mb: MAX_FILE >> 20,
            traces: traces.iter().map(cell).collect(),
        }),
        Err(error) => answers::refuse_page(Some(&session), &error),
    }
}

async fn can(app: &App, session: &Session) -> Result<Can, AppError> {
    Ok(match app.own_trace_grant(&session.user).await? {
        Some(GrantState::Live { until_ms }) => Can::HandIn(words::stamp(until_ms)),
        Some(GrantState::Waiting { until_ms }) => Can::Wait(words::stamp(until_ms)),
        Some(
            GrantState::Lapsed | GrantState::Refused | GrantState::Expired | GrantState::Ended,
        ) => Can::Ask,
        None => Can::Read,
    })
}

fn cell(trace: &TraceShown) -> TraceCell {
    let (slug, state, said) = match &trace.state {
        TraceState::Runs(step) => ("medium", "Runs", format!("{step}.")),
        TraceState::Lost => (
            "high",
            "Stopped",
            "The server was stopped before it ended. Hand the file in again.".to_owned(),
        ),
        TraceState::Failed(why) => ("high", "Nothing can be said", why.clone()),
        TraceState::Ended(report) => {
            let slug = match report.verdict {
                report::Verdict::None => "kept",
                report::Verdict::Views(_) | report::Verdict::NoneOfItsViews { .. } => "ok",
            };
            (slug, "Ended", report.sentence())
        }
    };
    let report = match &trace.state {
        TraceState::Ended(report) => Some(report),
        TraceState::Runs(_) | TraceState::Lost | TraceState::Failed(_) => None,
    };
    TraceCell {
        id: trace.id.to_string(),
        at: words::stamp(trace.at_ms),
        asked_by: trace.asked_by.clone(),
        words: trace.words.clone(),
        slug,
        state,
        said,
        has_report: report.is_some(),
        has_pictures: report.is_some_and(|report| !report.pictures.is_empty()),
    }
}

/// `POST /traces/ask`.
pub(crate) async fn ask(State(app): State<App>, form: Fresh<AskForm>) -> Response {
    match app.ask_trace(&form.session.user, &form.fields.words).await {
        Ok(_) => Redirect::to("/traces").into_response(),
        Err(error) => answers::refuse_page(Some(&form.session), &error),
    }
}

/// `POST /traces`: the file.
pub(crate) async fn hand_in(State(app): State<App>, mut request: Request) -> Response {
    let SignedIn(session) = match request.extract_parts_with_state::<SignedIn, _>(&app).await {
        Ok(session) => session,
        Err(answer) => return answer,
    };
    match begin(&app, &session, request).await {
        Ok(id) => Redirect::to(&format!("/traces/{id}")).into_response(),
        Err(error) => answers::refuse_page(Some(&session), &error),
    }
}

/// The token and the right come before a byte of the file is read.
async fn begin(app: &App, session: &Session, request: Request) -> Result<TraceId, AppError> {
    let (parts, body) = request.into_parts();
    gate::check_origin(&parts)?;
    app.may_trace(&session.user).await?;
    let request = Request::from_parts(parts, body);
    let mut form = Multipart::from_request(request, app).await.map_err(|_| gate::not_a_form())?;
    let (mut allowed, mut event, mut file) = (false, None, None);
    while let Some(field) = form.next_field().await.map_err(|_| broken())? {
        match field.name() {
            Some("csrf") => {
                gate::check_token(session, &short(field).await?)?;
                allowed = true;
            }
            Some("event") => event = named(short(field).await?.trim())?,
            Some("file") if allowed => file = Some(read(field).await?),
            Some(_) | None => return Err(gate::not_a_form()),
        }
    }
    let file = file.ok_or_else(|| AppError::from(FileError::Empty))?;
    app.begin_trace(&session.user, file, event).await
}

fn named(text: &str) -> Result<Option<EventId>, AppError> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong =
        || AppError::Invalid(format!("`{text}` is no event. Leave it empty if you do not know."));
    text.parse().map(Some).map_err(|_| wrong())
}

async fn short(mut field: Field<'_>) -> Result<String, AppError> {
    let mut text = Vec::new();
    while let Some(bytes) = field.chunk().await.map_err(|_| broken())? {
        text.extend_from_slice(&bytes);
        if text.len() > MAX_FIELD {
            return Err(gate::not_a_form());
        }
    }
    String::from_utf8(text).map_err(|_| gate::not_a_form())
}

async fn read(mut field: Field<'_>) -> Result<LeakFile, AppError> {
    let mut incoming = Incoming::new()?;
    while let Some(bytes) = field.chunk().await.map_err(|_| broken())? {
        incoming.push(&bytes)?;
    }
    Ok(incoming.finish()?)
}

fn broken() -> AppError {
    AppError::Invalid(
        "The file did not arrive whole, or it is too long. Go back and send it again.".to_owned(),
    )
}

/// `GET /traces/{trace}`.
pub(crate) async fn one(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path(trace): Path<String>,
) -> Response {
    match known(&app, &session, &trace).await {
        Ok(trace) => answers::page(&TracePage {
            layout: answers::layout("Trace", Some(&session), "/traces"),
            t: cell(&trace),
            runs: matches!(trace.state, TraceState::Runs(_)),
        }),
        Err(error) => answers::refuse_page(Some(&session), &error),
    }
}

async fn known(app: &App, session: &Session, trace: &str) -> Result<TraceShown, AppError> {
    let id: TraceId = trace.parse().map_err(|_| AppError::NotFound)?;
    app.trace_shown(&session.user, id).await
}

/// `GET /traces/{trace}/{file}`: `report.html` and `report.pdf`.
pub(crate) async fn file(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path((trace, file)): Path<(String, String)>,
) -> Response {
    match written(&app, &session, &trace, &file).await {
        Ok(answer) => answer,
        Err(error) => answers::refuse_page(Some(&session), &error),
    }
}

async fn written(
    app: &App,
    session: &Session,
    trace: &str,
    file: &str,
) -> Result<Response, AppError> {
    let shown = known(app, session, trace).await?;
    let TraceState::Ended(report) = shown.state else { return Err(AppError::NotFound) };
    let inside = |e: report::ReportError| AppError::Internal(format!("the report of a trace: {e}"));
    let (kind, bytes) = match file {
        "report.html" => {
            ("text/html; charset=utf-8", report::html(&report).map_err(inside)?.into_bytes())
        }
        "report.pdf" => ("application/pdf", report::pdf(&report).map_err(inside)?),
        _ => return Err(AppError::NotFound),
    };
    let mut answer = bytes.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // A download: the page's rules allow no style of its own.
    let named = format!("attachment; filename=\"trace-{}-{file}\"", shown.id);
    let named =
        HeaderValue::from_str(&named).map_err(|e| AppError::Internal(format!("file name: {e}")))?;
    headers.insert(header::CONTENT_DISPOSITION, named);
    Ok(answer)
}
