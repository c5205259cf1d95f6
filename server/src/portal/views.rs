//! Views: opening one, its camera streams and its signals. Everything that decides, logs, opens
//! and marks is in [`crate::view`]; this file speaks HTTP.
//!
//! INVARIANT: a `HEAD` starts no stream and nothing is answered in ranges, so that each byte of
//! picture that leaves was asked for once, by a page that plays it.

use axum::{
    Json, RequestExt,
    body::Body,
    extract::{FromRequest, Path, Query, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use temoin_proto::{
    ids::{EventId, ViewId},
    sealed::TrackName,
};

use crate::{app::App, authn::Session, error::AppError, view::Opening};

use super::{
    answers,
    gate::{self, Fresh, HasToken, Sensitive, SignedIn},
};

/// What opening a view needs, as JSON or as a form.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    purpose: String,
    /// `export`: to take it away as a file. Otherwise to watch.
    #[serde(default)]
    how: String,
    #[serde(default)]
    csrf: String,
}

impl Fields {
    fn how(&self) -> Result<Opening, AppError> {
        match self.how.as_str() {
            "" | "watch" => Ok(Opening::Watch),
            "export" => Ok(Opening::Export),
            _ => Err(AppError::Invalid("A recording is opened to watch or to export it.".into())),
        }
    }
}

/// `POST /events/{event}/views`.
pub(crate) async fn open(
    State(app): State<App>,
    Path(event): Path<String>,
    mut request: Request,
) -> Response {
    let mut session = match request.extract_parts_with_state::<SignedIn, _>(&app).await {
        Ok(SignedIn(session)) => session,
        Err(refusal) => return refusal,
    };
    let (parts, body) = request.into_parts();
    gate::prove(&app, &mut session, &parts);
    let request = Request::from_parts(parts, body);
    match open_view(&app, &session, &event, request).await {
        Ok(answer) => answer,
        Err(error) => answers::refuse_json(&error),
    }
}

async fn open_view(
    app: &App,
    session: &Session,
    event: &str,
    request: Request,
) -> Result<Response, AppError> {
    let (parts, body) = request.into_parts();
    gate::check_origin(&parts)?;
    let token = parts.headers.get("x-csrf-token").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let is_json = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.starts_with("application/json"));
    let request = Request::from_parts(parts, body);
    let fields = if is_json {
        Json::<Fields>::from_request(request, app).await.map(|Json(f)| f).ok()
    } else {
        axum::Form::<Fields>::from_request(request, app).await.map(|axum::Form(f)| f).ok()
    }
    .ok_or_else(gate::not_a_form)?;
    gate::check_token(session, token.as_deref().unwrap_or(&fields.csrf))?;
    let event: EventId = event.parse().map_err(|_| AppError::NotFound)?;
    let opened = app.open_view(session, event, &fields.purpose, fields.how()?).await?;
    Ok((StatusCode::CREATED, Json(opened)).into_response())
}

/// The form of an export: one camera. The script signs it, then the browser downloads the file.
#[derive(Deserialize)]
pub(crate) struct ExportForm {
    csrf: String,
    #[serde(default)]
    purpose: String,
    #[serde(default)]
    track: String,
    /// What the page's script signed.
    #[serde(default)]
    proof: String,
}

impl Sensitive for ExportForm {}

impl HasToken for ExportForm {
    fn csrf(&self) -> &str {
        &self.csrf
    }
}

/// `POST /events/{event}/export`: opens the view and goes to its file.
pub(crate) async fn export(
    State(app): State<App>,
    Path(event): Path<String>,
    form: Fresh<ExportForm>,
) -> Response {
    let Fresh { mut session, fields } = form;
    let path = format!("/events/{event}/export");
    gate::prove_with(&app, &mut session, "POST", &path, Some(&fields.proof));
    match open_export(&app, &session, &event, &fields).await {
        Ok(file) => Redirect::to(&file).into_response(),
        Err(error) => answers::refuse_page(Some(&session), &error),
    }
}

async fn open_export(
    app: &App,
    session: &Session,
    event: &str,
    fields: &ExportForm,
) -> Result<String, AppError> {
    let event: EventId = event.parse().map_err(|_| AppError::NotFound)?;
    let opened = app.open_view(session, event, &fields.purpose, Opening::Export).await?;
    let track = opened.tracks.iter().find(|t| t.name == fields.track).ok_or_else(|| {
        AppError::Invalid("This recording has no such camera. Go back and choose one.".to_owned())
    })?;
    // A download carries no header: this once, and soon, the address says who asked for it.
    let file = format!("/views/{}/{}.mp4", opened.view_id, track.name);
    let ticket = app.ticket(session, &file);
    Ok(format!("{file}?ticket={ticket}"))
}

/// The files of a view.
#[derive(Clone, Copy)]
enum File {
    Camera(TrackName),
    Signals,
}

fn named(view: &str, file: &str) -> Result<(ViewId, File), AppError> {
    let view = view.parse().map_err(|_| AppError::NotFound)?;
    let file = match file {
        "road.mp4" => File::Camera(TrackName::Road),
        "cabin.mp4" => File::Camera(TrackName::Cabin),
        "road_unblurred.mp4" => File::Camera(TrackName::RoadUnblurred),
        "cabin_unblurred.mp4" => File::Camera(TrackName::CabinUnblurred),
        "signals.json" => File::Signals,
        _ => return Err(AppError::NotFound),
    };
    Ok((view, file))
}

/// What may stand in the address of a file.
#[derive(Deserialize)]
pub(crate) struct Sent {
    ticket: Option<String>,
}

/// `GET /views/{view}/{file}`.
pub(crate) async fn file(
    State(app): State<App>,
    SignedIn(mut session): SignedIn,
    Path((view, file)): Path<(String, String)>,
    Query(sent): Query<Sent>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    match sent.ticket {
        None => gate::prove(&app, &mut session, &parts),
        Some(ticket) => session.proven = app.takes_ticket(&session, parts.uri.path(), &ticket),
    }
    match send(&app, &session, &view, &file).await {
        Ok(answer) => answer,
        Err(error) => answers::refuse_json(&error),
    }
}

async fn send(app: &App, session: &Session, view: &str, file: &str) -> Result<Response, AppError> {
    match named(view, file)? {
        (view, File::Camera(track)) => {
            let opened = app.stream_track(session, view, track).await?;
            let mut answer = Body::from_stream(opened.stream).into_response();
            let headers = answer.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("video/mp4"));
            headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
            if opened.how == Opening::Export {
                // A view's id and a camera's name: nothing that a header could not hold.
                let named = format!("attachment; filename=\"{view}-{}.mp4\"", track.as_str());
                let named = HeaderValue::from_str(&named)
                    .map_err(|e| AppError::Internal(format!("file name: {e}")))?;
                headers.insert(header::CONTENT_DISPOSITION, named);
            }
            Ok(answer)
        }
        (view, File::Signals) => Ok(Json(app.view_signals(session, view).await?).into_response()),
    }
}

/// `HEAD /views/{view}/{file}`: refused, whatever it is, without a look at it.
pub(crate) async fn head(SignedIn(_): SignedIn) -> Response {
    StatusCode::METHOD_NOT_ALLOWED.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_shown_has_a_name() {
        let view = ViewId::new().to_string();
        for track in TrackName::ALL {
            let camera = track != TrackName::Signals;
            let named = named(&view, &format!("{}.mp4", track.as_str()));
            assert_eq!(named.is_ok(), camera, "{track:?}");
        }
        for file in ["ROAD.mp4", "road_unblurred", "../road.mp4", "road.mp4\0", ""] {
            assert!(named(&view, file).is_err(), "{file}");
        }
    }
}
