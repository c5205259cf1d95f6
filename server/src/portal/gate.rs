//! Who is asking. Extractors that a handler names to get a session, or that refuse for it.
//!
//! INVARIANT: a handler that changes something takes `Form` or the
//! equivalent in `views`, which go through `check_origin` and `check_token`; a handler that shows
//! something takes `SignedIn`.

use axum::{
    RequestExt,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use serde::de::DeserializeOwned;

use crate::{
    app::App,
    authn::{COOKIE, Session, same_origin},
    error::AppError,
};

use super::answers;

/// The one value of our cookie; none where there are several, as only an attacker's would be.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value);
    let only = values.next();
    if values.next().is_some() { None } else { only }
}

/// Whether the asker wants data, not a page.
fn wants_json(parts: &Parts) -> bool {
    let accepts = parts
        .headers
        .get(header::ACCEPT)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.contains("application/json"));
    accepts || parts.uri.path().starts_with("/views/")
}

async fn session(parts: &Parts, app: &App) -> Result<Option<Session>, AppError> {
    match cookie(&parts.headers) {
        Some(value) => app.session(value).await,
        None => Ok(None),
    }
}

/// A signed-in person. Others are sent to sign in, or told so in JSON.
pub(crate) struct SignedIn(pub(crate) Session);

impl FromRequestParts<App> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let json = wants_json(parts);
        match session(parts, app).await {
            Ok(Some(session)) => Ok(Self(session)),
            Ok(None) if json => Err(answers::json_error(
                StatusCode::UNAUTHORIZED,
                "Your session has ended. Reload the page and sign in again.",
            )),
            Ok(None) => Err(Redirect::to("/sign-in").into_response()),
            Err(error) if json => Err(answers::refuse_json(&error)),
            Err(error) => Err(answers::refuse_page(None, &error)),
        }
    }
}

/// Whoever asks, signed in or not: for pages that anybody may get.
pub(crate) struct Asked {
    pub(crate) session: Option<Session>,
}

impl FromRequestParts<App> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        // Where the database fails, the page is shown as to a stranger.
        Ok(Self { session: session(parts, app).await.ok().flatten() })
    }
}

const FOREIGN: AppError = AppError::Refused(
    "This request did not come from a page of this portal, so nothing was done. Go back, reload the page and try again.",
);
const STALE: AppError = AppError::Refused(
    "This page was made for an earlier session, so nothing was done. Go back, reload the page and try again.",
);

/// Refuses what was not sent by a page of this portal.
pub(crate) fn check_origin(parts: &Parts) -> Result<(), AppError> {
    let text = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
    // HTTP/2 has the host in the address, HTTP/1.1 in a header.
    let host = parts.uri.authority().map(|a| a.as_str()).or_else(|| text("host"));
    if same_origin(text("origin"), text("sec-fetch-site"), host) { Ok(()) } else { Err(FOREIGN) }
}

/// Refuses a form without this session's token.
pub(crate) fn check_token(session: &Session, given: &str) -> Result<(), AppError> {
    if session.csrf_matches(given) { Ok(()) } else { Err(STALE) }
}

/// Fields that every form has.
pub(crate) trait HasToken {
    /// The form's token.
    fn csrf(&self) -> &str;
}

/// A form of a signed-in person, from this portal and with the session's token.
pub(crate) struct Form<T> {
    pub(crate) session: Session,
    pub(crate) fields: T,
}

impl<T: DeserializeOwned + HasToken + Send + 'static> FromRequest<App> for Form<T> {
    type Rejection = Response;

    async fn from_request(mut request: Request, app: &App) -> Result<Self, Response> {
        let SignedIn(session) = request.extract_parts_with_state::<SignedIn, _>(app).await?;
        let (parts, body) = request.into_parts();
        let refuse = |error: &AppError| answers::refuse_page(Some(&session), error);
        check_origin(&parts).map_err(|e| refuse(&e))?;
        let axum::Form(fields) =
            axum::Form::<T>::from_request(Request::from_parts(parts, body), app)
                .await
                .map_err(|_| refuse(&not_a_form()))?;
        check_token(&session, fields.csrf()).map_err(|e| refuse(&e))?;
        Ok(Self { session, fields })
    }
}

/// What is said of a form that is not one of ours.
pub(crate) fn not_a_form() -> AppError {
    AppError::Invalid("The form is incomplete. Go back, reload the page and try again.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_once_or_not_at_all() {
        let good = "a".repeat(64);
        for (sent, found) in [
            (format!("{COOKIE}={good}"), Some(good.as_str())),
            (format!("x=1; {COOKIE}={good}; y=2"), Some(good.as_str())),
            (format!("x{COOKIE}={good}"), None),
            (format!("{COOKIE}={good}; {COOKIE}=other"), None),
            (";;=;".to_owned(), None),
            (String::new(), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, sent.parse().unwrap());
            assert_eq!(cookie(&headers), found, "{sent}");
        }
    }
}
