//! Who is asking. Extractors that a handler names to get a session, or that refuse for it.
//!
//! INVARIANT: a handler that changes something takes [`Form`], [`HalfForm`], [`Fresh`] or the
//! equivalent in `views`, which go through `check_origin` and `check_token`; a handler that shows
//! something takes `SignedIn`. A session that is not whole gets its own pages and no other
//! ([`AnyStage`], [`HalfForm`]). What is sensitive takes [`Fresh`].

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    RequestExt,
    body::{Body, Bytes},
    extract::{ConnectInfo, FromRequest, FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::{
    app::App,
    authn::{COOKIE, Client, Session, same_origin},
    binding::PROOF_HEADER,
    devices::{DEVICE_COOKIE, MAX_AGE_S},
    error::AppError,
    sessions::Stage,
    sign_in::SignInError,
};

use super::{account, answers};

/// Longest name of a browser that is looked at, bytes.
const MAX_AGENT: usize = 512;
/// Asked every second while the page of the access log is open.
const LIVE_LOG: &str = "/access-log/rows";
/// When 'not found' is answered: reading and deciding about what exists takes some hundredths of a
/// millisecond longer, which who asks often enough would see. Own choice: many times what either
/// takes.
pub(crate) const NOT_FOUND_AFTER: Duration = Duration::from_millis(10);
/// Field of a form in which password or code come again.
pub(crate) const STEP_UP: &str = "step_up";

/// The one value of a cookie; none where there are several, as only an attacker's would be.
fn cookie<'a>(headers: &'a HeaderMap, named: &str) -> Option<&'a str> {
    let mut values = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == named)
        .map(|(_, value)| value);
    let only = values.next();
    if values.next().is_some() { None } else { only }
}

fn agent(headers: &HeaderMap) -> &str {
    let text = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("");
    text.get(..MAX_AGENT).unwrap_or(text)
}

/// What is known of the other end of the line.
pub(crate) fn client(parts: &Parts) -> Client {
    // Where the listener does not say, all share one brake: safer than none.
    let address = parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    Client {
        address,
        agent: agent(&parts.headers).to_owned(),
        devices: cookie(&parts.headers, DEVICE_COOKIE).map(str::to_owned),
    }
}

/// The header that gives a browser its session; an empty token takes it away.
pub(crate) fn session_cookie(token: &str) -> Result<HeaderValue, AppError> {
    let end = if token.is_empty() { "; Max-Age=0" } else { "" };
    secret(&format!("{COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict{end}"))
}

/// The header that lets a browser be known.
pub(crate) fn device_cookie(devices: &str) -> Result<HeaderValue, AppError> {
    secret(&format!(
        "{DEVICE_COOKIE}={devices}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={MAX_AGE_S}"
    ))
}

fn secret(text: &str) -> Result<HeaderValue, AppError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| AppError::Internal("a cookie that is no header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whom the request's cookie belongs to, looked up once.
#[derive(Clone)]
struct Found(Arc<Result<Option<Session>, AppError>>);

/// The next value of the session's cookie, on its way to the answer.
#[derive(Clone, Default)]
struct NextToken(Arc<Mutex<Option<Zeroizing<String>>>>);

impl NextToken {
    fn set(&self, token: Option<Zeroizing<String>>) {
        if token.is_some() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = token;
        }
    }

    fn take(&self) -> Option<Zeroizing<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Finds the request's session, and sends its cookie's next value with the answer. 'Not found' takes
/// the same time for what is not there and for what is none of the asker's business.
pub(crate) async fn attach(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.starts_with("/static/") || path == "/healthz" {
        return next.run(request).await;
    }
    let began = Instant::now();
    let token = NextToken::default();
    let found = match cookie(request.headers(), COOKIE) {
        None => Ok(None),
        // A page that asks by itself keeps nobody signed in.
        Some(value) => {
            app.present(value, agent(request.headers()), path != LIVE_LOG).await.map(|presented| {
                presented.map(|presented| {
                    token.set(presented.token);
                    presented.session
                })
            })
        }
    };
    request.extensions_mut().insert(Found(Arc::new(found)));
    request.extensions_mut().insert(token.clone());
    let mut answer = next.run(request).await;
    let is_set = answer
        .headers()
        .get_all(header::SET_COOKIE)
        .iter()
        .any(|v| v.as_bytes().starts_with(COOKIE.as_bytes()));
    // A handler that gave or took a session has the last word.
    if let (Some(token), false) = (token.take(), is_set) {
        match session_cookie(&token) {
            Ok(value) => drop(answer.headers_mut().append(header::SET_COOKIE, value)),
            Err(error) => return answers::refuse_page(None, &error),
        }
    }
    if answer.status() == StatusCode::NOT_FOUND {
        tokio::time::sleep_until(began + NOT_FOUND_AFTER).await;
    }
    answer
}

/// The request's session at whatever stage.
fn found(parts: &Parts) -> Result<Option<Session>, Box<Response>> {
    let json = wants_json(parts);
    let missing = AppError::Internal("a route without the look-up of sessions".to_owned());
    let looked_up = parts.extensions.get::<Found>().map(|found| Arc::clone(&found.0));
    match looked_up.as_deref() {
        Some(Ok(session)) => Ok(session.clone()),
        Some(Err(error)) if json => Err(Box::new(answers::refuse_json(error))),
        Some(Err(error)) => Err(Box::new(answers::refuse_page(None, error))),
        None => Err(Box::new(answers::refuse_page(None, &missing))),
    }
}

/// Notes in the session whether this request was signed by the browser that signed in.
pub(crate) fn prove(app: &App, session: &mut Session, parts: &Parts) {
    let proof = parts.headers.get(PROOF_HEADER).and_then(|v| v.to_str().ok());
    prove_with(app, session, parts.method.as_str(), parts.uri.path(), proof);
}

/// The same with a proof that came in a form.
pub(crate) fn prove_with(
    app: &App,
    session: &mut Session,
    method: &str,
    path: &str,
    proof: Option<&str>,
) {
    session.proven = app.is_proven(session, method, path, proof);
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

/// A signed-in person. Others are sent to sign in, or told so in JSON.
pub(crate) struct SignedIn(pub(crate) Session);

impl FromRequestParts<App> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Response> {
        let page = match found(parts).map_err(|answer| *answer)? {
            None => "/sign-in",
            Some(session) => match session.stage {
                Stage::Whole => return Ok(Self(session)),
                Stage::Code => "/sign-in/code",
                Stage::SetUp => "/second-factor",
            },
        };
        Err(if wants_json(parts) {
            answers::json_error(
                StatusCode::UNAUTHORIZED,
                "Your session has ended. Reload the page and sign in again.",
            )
        } else {
            Redirect::to(page).into_response()
        })
    }
}

/// A person whose sign-in has at least begun.
pub(crate) struct AnyStage(pub(crate) Session);

impl FromRequestParts<App> for AnyStage {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Response> {
        let session = found(parts).map_err(|answer| *answer)?;
        session.map(Self).ok_or_else(|| Redirect::to("/sign-in").into_response())
    }
}

/// Whoever asks, signed in or not: for pages that anybody may get.
pub(crate) struct Asked {
    pub(crate) session: Option<Session>,
}

impl FromRequestParts<App> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Self::Rejection> {
        // Where the database fails, the page is shown as to a stranger.
        let session = found(parts).ok().flatten();
        Ok(Self { session: session.filter(|session| session.stage == Stage::Whole) })
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
    let (origin, site) = (text(parts, "origin"), text(parts, "sec-fetch-site"));
    if same_origin(origin, site, host(parts)) { Ok(()) } else { Err(FOREIGN) }
}

fn text<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name).and_then(|v| v.to_str().ok())
}

/// Where the browser believes that it is.
pub(crate) fn host(parts: &Parts) -> Option<&str> {
    // HTTP/2 has the host in the address, HTTP/1.1 in a header.
    parts.uri.authority().map(|a| a.as_str()).or_else(|| text(parts, "host"))
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
        let fields = fields(&session, request, app).await?;
        Ok(Self { session, fields })
    }
}

/// The same of somebody whose sign-in has at least begun.
pub(crate) struct HalfForm<T> {
    pub(crate) session: Session,
    pub(crate) client: Client,
    pub(crate) fields: T,
}

impl<T: DeserializeOwned + HasToken + Send + 'static> FromRequest<App> for HalfForm<T> {
    type Rejection = Response;

    async fn from_request(mut request: Request, app: &App) -> Result<Self, Response> {
        let AnyStage(session) = request.extract_parts_with_state::<AnyStage, _>(app).await?;
        let (parts, body) = request.into_parts();
        let client = client(&parts);
        let fields = fields(&session, Request::from_parts(parts, body), app).await?;
        Ok(Self { session, client, fields })
    }
}

async fn fields<T: DeserializeOwned + HasToken + Send + 'static>(
    session: &Session,
    request: Request,
    app: &App,
) -> Result<T, Response> {
    let (parts, body) = request.into_parts();
    let whole = Some(session).filter(|session| session.stage == Stage::Whole);
    let refuse = |error: &AppError| answers::refuse_page(whole, error);
    check_origin(&parts).map_err(|e| refuse(&e))?;
    let axum::Form(fields) = axum::Form::<T>::from_request(Request::from_parts(parts, body), app)
        .await
        .map_err(|_| refuse(&not_a_form()))?;
    check_token(session, fields.csrf()).map_err(|e| refuse(&e))?;
    Ok(fields)
}

/// A form that does something sensitive.
pub(crate) trait Sensitive: HasToken {
    /// Whether this one does.
    fn is_sensitive(&self) -> bool {
        true
    }
}

/// A form of a person who gave password or code within the last minutes. Who did not is asked on a
/// page that holds all that was typed and sends it again, so nothing is lost and no script is needed.
pub(crate) struct Fresh<T> {
    pub(crate) session: Session,
    pub(crate) fields: T,
}

impl<T: DeserializeOwned + Sensitive + Send + 'static> FromRequest<App> for Fresh<T> {
    type Rejection = Response;

    async fn from_request(mut request: Request, app: &App) -> Result<Self, Response> {
        let SignedIn(session) = request.extract_parts_with_state::<SignedIn, _>(app).await?;
        let (parts, body) = request.into_parts();
        let refuse = |error: &AppError| answers::refuse_page(Some(&session), error);
        let again = |bytes: &Bytes| Request::from_parts(parts.clone(), Body::from(bytes.clone()));
        let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), app)
            .await
            .map_err(|_| refuse(&not_a_form()))?;
        let fields = fields::<T>(&session, again(&bytes), app).await?;
        if !fields.is_sensitive() || app.is_fresh(&session) {
            return Ok(Self { session, fields });
        }
        let axum::Form(mut all) =
            axum::Form::<Vec<(String, String)>>::from_request(again(&bytes), app)
                .await
                .map_err(|_| refuse(&not_a_form()))?;
        let given =
            all.iter().position(|(name, _)| name == STEP_UP).map(|at| all.swap_remove(at).1);
        let ask = |all, problem| account::step_up_page(&session, parts.uri.path(), all, problem);
        let Some(given) = given.map(Zeroizing::new) else { return Err(ask(all, None)) };
        match app.step_up(&session, given, &client(&parts)).await {
            Ok(proved) => {
                offer(&parts, proved.token);
                Ok(Self { session: proved.session, fields })
            }
            Err(SignInError::App(error)) => Err(refuse(&error)),
            Err(problem) => Err(ask(all, Some(problem))),
        }
    }
}

/// Puts the next value of the session's cookie on its way to the answer.
pub(crate) fn offer(parts: &Parts, token: Option<Zeroizing<String>>) {
    if let Some(next) = parts.extensions.get::<NextToken>() {
        next.set(token);
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
            assert_eq!(cookie(&headers, COOKIE), found, "{sent}");
        }
    }
}
