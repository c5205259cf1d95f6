//! Views: opening one, its camera streams and its signals. Everything that decides, logs, opens
//! and marks is in [`crate::view`]; this file speaks HTTP.
//!
//! INVARIANT: a `HEAD` starts no stream and nothing is answered in ranges, so that each byte of
//! picture that leaves was asked for once, by a page that plays it.

use axum::{
    Json, RequestExt,
    body::Body,
    extract::{FromRequest, Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use temoin_proto::{
    ids::{EventId, ViewId},
    sealed::TrackName,
};

use crate::{app::App, authn::Session, error::AppError};

use super::{
    answers,
    gate::{self, SignedIn},
};

/// What opening a view needs, as JSON or as a form.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    purpose: String,
    #[serde(default)]
    csrf: String,
}

/// `POST /events/{event}/views`.
pub(crate) async fn open(
    State(app): State<App>,
    Path(event): Path<String>,
    mut request: Request,
) -> Response {
    let session = match request.extract_parts_with_state::<SignedIn, _>(&app).await {
        Ok(SignedIn(session)) => session,
        Err(refusal) => return refusal,
    };
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
    let opened = app.open_view(session, event, &fields.purpose).await?;
    Ok((StatusCode::CREATED, Json(opened)).into_response())
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
        "signals.json" => File::Signals,
        _ => return Err(AppError::NotFound),
    };
    Ok((view, file))
}

/// `GET /views/{view}/{file}`.
pub(crate) async fn file(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path((view, file)): Path<(String, String)>,
) -> Response {
    match send(&app, &session, &view, &file).await {
        Ok(answer) => answer,
        Err(error) => answers::refuse_json(&error),
    }
}

async fn send(app: &App, session: &Session, view: &str, file: &str) -> Result<Response, AppError> {
    match named(view, file)? {
        (view, File::Camera(track)) => {
            let stream = app.stream_track(session, view, track).await?;
            let mut answer = Body::from_stream(stream).into_response();
            answer
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("video/mp4"));
            answer.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
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
            let camera = matches!(track, TrackName::Road | TrackName::Cabin);
            let named = named(&view, &format!("{}.mp4", track.as_str()));
            assert_eq!(named.is_ok(), camera, "{track:?}");
        }
        for file in ["ROAD.mp4", "road_unblurred", "../road.mp4", "road_unblurred.mp4\0", ""] {
            assert!(named(&view, file).is_err(), "{file}");
        }
    }
}
